"""Where an order's goods may come from, nearest first."""

import json
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from django.db import connection

from ordercenter.core.bulk import prepared_cursor


@dataclass(frozen=True, slots=True)
class Source:
    """One virtual warehouse an order may be filled from."""

    virtual_warehouse_id: int
    warehouse_id: int
    covers: frozenset[str]
    rank: int
    shop_ids: frozenset[int]
    """Empty: serves every shop."""


class SourceMap:
    """All active sources, read once a batch; answers the trying order for a shop and province."""

    def __init__(self) -> None:
        with prepared_cursor() as cursor:
            cursor.execute(
                "SELECT v.code, v.id, w.id, w.covers, w.rank, "
                "coalesce(array_agg(s.shop_id) FILTER (WHERE s.shop_id IS NOT NULL), '{}') "
                "FROM inventory_virtualwarehouse v "
                "JOIN inventory_warehouse w ON w.id = v.warehouse_id AND w.is_active "
                "LEFT JOIN inventory_virtualwarehouse_shops s ON s.virtualwarehouse_id = v.id "
                "GROUP BY v.id, w.id"
            )
            rows = cursor.fetchall()
        self._sources = [
            Source(vw, w, frozenset(_as_list(covers)), rank, frozenset(shops))
            for _code, vw, w, covers, rank, shops in rows
        ]
        self.by_code = {code: vw for code, vw, *_rest in rows}
        self.all = tuple(s.virtual_warehouse_id for s in self._sources)
        self.warehouse_of = {s.virtual_warehouse_id: s.warehouse_id for s in self._sources}
        self._orders: dict[tuple[int, str], tuple[int, ...]] = {}

    def for_order(
        self, shop_id: int, province: str, *, first: int | None = None
    ) -> tuple[int, ...]:
        """Own stock of the shop first, then the nearest warehouse, then the others by rank.

        ``first`` comes before all of them, if it serves the shop.
        """
        key = (shop_id, province)
        if key not in self._orders:
            usable = [s for s in self._sources if not s.shop_ids or shop_id in s.shop_ids]
            usable.sort(
                key=lambda s: (
                    not s.shop_ids,
                    province not in s.covers,
                    s.rank,
                    s.virtual_warehouse_id,
                )
            )
            self._orders[key] = tuple(s.virtual_warehouse_id for s in usable)
        found = self._orders[key]
        if first in found:
            return (first, *(place for place in found if place != first))
        return found


def _as_list(value: object) -> list[str]:
    if isinstance(value, list):
        return value
    return list(json.loads(str(value)))


def promisable(shop_id: int, sku_ids: Collection[int]) -> dict[tuple[int, int], int]:
    """Units an order of this shop could take now, by (virtual warehouse, SKU): what is free for
    everybody and what is left of the shop's own slice."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT l.virtual_warehouse_id, l.sku_id, "
            "l.on_hand - l.reserved - l.locked + coalesce(s.unsold, 0) "
            "FROM inventory_stocklevel l LEFT JOIN inventory_stockslice s "
            "ON s.level_id = l.id AND s.shop_id = %s AND s.is_active WHERE l.sku_id = ANY(%s)",
            [shop_id, list(sku_ids)],
        )
        return {(place, sku): units for place, sku, units in cursor.fetchall()}


@dataclass(frozen=True, slots=True)
class Arrival:
    """Goods that are to come next."""

    at: datetime
    units: int


def next_arrivals(sku_ids: Collection[int], places: Collection[int]) -> dict[int, Arrival]:
    """The next announced goods of each SKU in one of these virtual warehouses."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT DISTINCT ON (n.sku_id) n.sku_id, i.expected_at, "
            "n.expected - n.received - n.defect FROM inventory_inboundline n "
            "JOIN inventory_inbound i ON i.id = n.inbound_id AND i.state IN ('expected', 'partly') "
            "WHERE n.sku_id = ANY(%s) AND i.virtual_warehouse_id = ANY(%s) "
            "AND n.expected > n.received + n.defect ORDER BY n.sku_id, i.expected_at, i.id",
            [list(sku_ids), list(places)],
        )
        return {sku: Arrival(at, units) for sku, at, units in cursor.fetchall()}
