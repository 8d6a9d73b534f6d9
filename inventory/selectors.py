"""Where an order's goods may come from, nearest first."""

import json
from dataclasses import dataclass

from django.db import connection


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
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT v.id, w.id, w.covers, w.rank, "
                "coalesce(array_agg(s.shop_id) FILTER (WHERE s.shop_id IS NOT NULL), '{}') "
                "FROM inventory_virtualwarehouse v "
                "JOIN inventory_warehouse w ON w.id = v.warehouse_id AND w.is_active "
                "LEFT JOIN inventory_virtualwarehouse_shops s ON s.virtualwarehouse_id = v.id "
                "GROUP BY v.id, w.id"
            )
            rows = cursor.fetchall()
        self._sources = [
            Source(vw, w, frozenset(_as_list(covers)), rank, frozenset(shops))
            for vw, w, covers, rank, shops in rows
        ]
        self.all = tuple(s.virtual_warehouse_id for s in self._sources)
        self.warehouse_of = {s.virtual_warehouse_id: s.warehouse_id for s in self._sources}
        self._orders: dict[tuple[int, str], tuple[int, ...]] = {}

    def for_order(self, shop_id: int, province: str) -> tuple[int, ...]:
        """Own stock of the shop first, then the nearest warehouse, then the others by rank."""
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
        return self._orders[key]


def _as_list(value: object) -> list[str]:
    if isinstance(value, list):
        return value
    return list(json.loads(str(value)))
