"""How the stock stands: per SKU and place, what it sells, how long it lasts, and how bad that is.

Read in one statement a page, whatever the number of SKUs, and the ledger of the chosen days once.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, Final

from django.db import connection
from django.db.models import Min, TextChoices
from django.utils.translation import gettext_lazy as _

from inventory.models import (
    Inbound,
    InboundLine,
    StockMovement,
    StockPolicy,
    Warehouse,
)
from inventory.told import LastTold, last_told

PERIODS: Final = (7, 14, 30, 60)
DAYS: Final = 14
"""The period where none is chosen."""
PER_PAGE: Final = 25
MOST_EXPORTED: Final = 50_000
"""Rows of one export."""


class Alarm(TextChoices):
    """How little is left of a SKU: three lines of the policy, the worst first."""

    DANGER = "danger", _("缺货高风险")
    FEW = "few", _("仅剩少量")
    REPLENISH = "replenish", _("需补货")
    ENOUGH = "enough", _("正常")


class Sort(TextChoices):
    ALARM = "alarm", _("最紧急")
    COVER = "cover", _("可售天数")
    AVAILABLE = "available", _("可用")
    SOLD = "sold", _("日均销量")
    CODE = "code", _("货品编码")


_ORDERS: Final[Mapping[str, str]] = {
    Sort.ALARM: "rank, cover NULLS LAST, available, code",
    Sort.COVER: "cover NULLS LAST, available, code",
    Sort.AVAILABLE: "available, code",
    Sort.SOLD: "sold DESC, code",
    Sort.CODE: "code",
}
_RANKS: Final = tuple(Alarm)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which part of the stock is looked at. Empty: all of it."""

    region: str = ""
    """A province: the places of warehouses there."""
    warehouse_id: int = 0
    shop_id: int = 0
    """What this shop lists, in the places that serve it."""
    category: str = ""
    alarm: str = ""
    search: str = ""
    """Part of a code or a name, or a whole barcode."""
    days: int = DAYS
    sort: str = Sort.ALARM.value
    page: int = 1

    @property
    def is_everywhere(self) -> bool:
        """Whether all places are looked at, so that a SKU that lies nowhere counts, too."""
        return not (self.region or self.warehouse_id or self.shop_id)


@dataclass(frozen=True, slots=True)
class Units:
    """What there is, in units. ``available`` is promised to no order, ``locked`` of it is set
    aside for single shops; ``sold`` were ordered in the period less what was given back."""

    on_hand: int = 0
    reserved: int = 0
    locked: int = 0
    inbound: int = 0
    in_transit: int = 0
    defect: int = 0
    sold: int = 0

    @property
    def available(self) -> int:
        return self.on_hand - self.reserved


@dataclass(frozen=True, slots=True)
class PlaceRow:
    """One SKU in one virtual warehouse."""

    level_id: int
    place: str
    warehouse: str
    units: Units
    days: Decimal
    next_at: datetime | None = None
    """When the next announced goods are to come."""
    kind: str = Warehouse.Kind.OWN.value
    told: LastTold | None = None
    """What a warehouse of others last told of itself; None before the first time."""

    @property
    def is_own(self) -> bool:
        return self.kind == Warehouse.Kind.OWN

    @property
    def daily(self) -> Decimal:
        return daily(self.units.sold, self.days)

    @property
    def cover(self) -> Decimal | None:
        return cover(self.units.available, self.units.sold, self.days)


@dataclass(slots=True)
class SkuRow:
    """One SKU over the places looked at."""

    sku_id: int
    code: str
    name: str
    category: str
    is_gift: bool
    buffer: int
    """Units kept back from all shops at present."""
    units: Units
    days: Decimal
    alarm: Alarm
    places: list[PlaceRow] = field(default_factory=list)

    @property
    def daily(self) -> Decimal:
        return daily(self.units.sold, self.days)

    @property
    def cover(self) -> Decimal | None:
        return cover(self.units.available, self.units.sold, self.days)

    @property
    def next_at(self) -> datetime | None:
        return min((p.next_at for p in self.places if p.next_at), default=None)


@dataclass(frozen=True, slots=True)
class HealthPage:
    """One page of SKUs, and how many there are of each alarm whatever alarm is chosen."""

    rows: Sequence[SkuRow]
    counts: Mapping[Alarm, int]
    wanted: Wanted
    days: Decimal
    """What the daily figures were divided by: the period, or less where the ledger is younger."""

    @property
    def total(self) -> int:
        if self.wanted.alarm:
            return self.counts.get(Alarm(self.wanted.alarm), 0)
        return sum(self.counts.values())

    @property
    def pages(self) -> int:
        return max(1, -(-self.total // PER_PAGE))


def daily(sold: int, days: Decimal) -> Decimal:
    """Units a day, to a tenth."""
    return (sold / days).quantize(Decimal("0.1"), ROUND_HALF_UP)


def cover(available: int, sold: int, days: Decimal) -> Decimal | None:
    """For how many days what is available lasts at this pace; None while nothing is sold."""
    return (available * days / sold).quantize(Decimal("0.1"), ROUND_HALF_UP) if sold else None


def days_on_record(period: int, *, now: datetime) -> Decimal:
    """The days to divide by: the period, or the age of the ledger where it is younger; not
    below one day."""
    first = StockMovement.objects.order_by("pk").values_list("created_at", flat=True).first()
    age = Decimal((now - first).total_seconds()) / 86_400 if first else Decimal(1)
    return max(Decimal(1), min(Decimal(period), age)).quantize(Decimal("0.01"))


DEMAND: Final = """
    demand AS (
        SELECT level_id, sum(CASE target WHEN 'reserved' THEN quantity ELSE -quantity END) AS units
        FROM inventory_stockmovement
        WHERE created_at >= %(since)s AND created_at < %(now)s
          AND (source = 'available' AND target = 'reserved'
               OR source = 'reserved' AND target = 'available')
        GROUP BY level_id
    )
"""
"""Units promised to orders in the period less those given back: ``demand (level_id, units)``."""

_FOUND: Final = f"""
    WITH {DEMAND}, place AS (
        SELECT v.id, v.name AS place, w.name AS warehouse, w.rank, v.code, w.kind
        FROM inventory_virtualwarehouse v JOIN inventory_warehouse w ON w.id = v.warehouse_id
        WHERE (%(region)s = '' OR w.province = %(region)s)
          AND (%(warehouse)s = 0 OR w.id = %(warehouse)s)
          AND (%(shop)s = 0 OR NOT EXISTS (
                SELECT 1 FROM inventory_virtualwarehouse_shops x WHERE x.virtualwarehouse_id = v.id)
            OR EXISTS (
                SELECT 1 FROM inventory_virtualwarehouse_shops x
                WHERE x.virtualwarehouse_id = v.id AND x.shop_id = %(shop)s))
    ), shelf AS (
        SELECT l.*, p.place, p.warehouse, p.rank, p.code AS place_code, p.kind,
               coalesce(d.units, 0)::int AS sold
        FROM inventory_stocklevel l JOIN place p ON p.id = l.virtual_warehouse_id
        LEFT JOIN demand d ON d.level_id = l.id
    ), here AS (
        SELECT sku_id, sum(on_hand)::int AS on_hand, sum(reserved)::int AS reserved,
               sum(locked)::int AS locked, sum(inbound)::int AS inbound,
               sum(in_transit)::int AS in_transit, sum(defect)::int AS defect,
               greatest(sum(sold), 0)::int AS sold
        FROM shelf GROUP BY sku_id
    ), found AS (
        SELECT s.id, s.code, s.name, s.color_name, s.category, s.is_gift,
               coalesce(b.units, 0) AS buffer, coalesce(h.on_hand, 0) AS on_hand,
               coalesce(h.reserved, 0) AS reserved, coalesce(h.locked, 0) AS locked,
               coalesce(h.inbound, 0) AS inbound, coalesce(h.in_transit, 0) AS in_transit,
               coalesce(h.defect, 0) AS defect, coalesce(h.sold, 0) AS sold,
               coalesce(h.on_hand - h.reserved, 0) AS available,
               coalesce(h.on_hand - h.reserved, 0)::numeric / nullif(h.sold, 0) AS cover,
               CASE WHEN coalesce(h.on_hand - h.reserved, 0) < %(danger)s THEN 0
                    WHEN coalesce(h.on_hand - h.reserved, 0) < %(few)s THEN 1
                    WHEN coalesce(h.on_hand - h.reserved, 0) < %(replenish)s THEN 2
                    ELSE 3 END AS rank
        FROM catalog_sku s LEFT JOIN here h ON h.sku_id = s.id
        LEFT JOIN inventory_stockbuffer b ON b.sku_id = s.id
        WHERE (s.is_active OR h.on_hand > 0 OR h.inbound > 0 OR h.in_transit > 0 OR h.defect > 0)
          AND (%(everywhere)s OR h.sku_id IS NOT NULL)
          AND (%(sku)s = 0 OR s.id = %(sku)s)
          AND (%(category)s = '' OR s.category = %(category)s)
          AND (%(search)s = '' OR s.code ILIKE %(like)s OR s.name ILIKE %(like)s
               OR s.barcode = %(search)s)
          AND (%(shop)s = 0 OR s.id IN (
                SELECT coalesce(c.sku_id, p.sku_id) FROM catalog_listing c
                LEFT JOIN catalog_bundlepart p ON p.bundle_id = c.bundle_id
                WHERE c.shop_id = %(shop)s))
    )
"""  # noqa: S608 - own constant text
_PAGE: Final = """
    , page AS (
        SELECT *, row_number() OVER (ORDER BY {order}) AS place_in FROM found
        WHERE %(alarm)s < 0 OR rank = %(alarm)s
        ORDER BY {order} LIMIT %(limit)s OFFSET %(offset)s
    )
    SELECT (SELECT jsonb_object_agg(rank, n) FROM (
                SELECT rank, count(*) AS n FROM found GROUP BY rank) c),
           g.id, g.code, g.name, g.color_name, g.category, g.is_gift, g.buffer, g.rank,
           g.on_hand, g.reserved, g.locked, g.inbound, g.in_transit, g.defect, g.sold,
           l.id, l.place, l.warehouse, l.on_hand, l.reserved, l.locked, l.inbound, l.in_transit,
           l.defect, l.sold, l.virtual_warehouse_id, l.kind
    FROM (SELECT 1) one LEFT JOIN page g ON true LEFT JOIN shelf l ON l.sku_id = g.id
    ORDER BY g.place_in, l.rank, l.place_code
"""


def health(wanted: Wanted, *, now: datetime, limit: int = PER_PAGE) -> HealthPage:
    """One page of the stock as it stands, with the pace of the period before ``now``."""
    return _read(wanted, now=now, limit=limit, skip=(wanted.page - 1) * limit)


def everything(wanted: Wanted, *, now: datetime) -> HealthPage:
    """All that is wanted, whatever page; at most ``MOST_EXPORTED`` SKUs."""
    return _read(wanted, now=now, limit=MOST_EXPORTED, skip=0)


def one_sku(sku_id: int, *, days: int, now: datetime) -> SkuRow | None:
    """One SKU over all places; None where there is no such SKU in use."""
    rows = _read(Wanted(days=days), now=now, limit=1, skip=0, sku_id=sku_id).rows
    return rows[0] if rows else None


def _read(wanted: Wanted, *, now: datetime, limit: int, skip: int, sku_id: int = 0) -> HealthPage:
    days = days_on_record(wanted.days, now=now)
    order = _ORDERS[wanted.sort]
    with connection.cursor() as cursor:
        cursor.execute(
            _FOUND + _PAGE.format(order=order),
            {**_facts(wanted, now), "limit": limit, "offset": skip, "sku": sku_id},
        )
        told = cursor.fetchall()
    counts = _counts(told[0][0])
    rows = _rows([row[1:] for row in told if row[1] is not None], days, now)
    return HealthPage(rows, counts, wanted, days)


def _facts(wanted: Wanted, now: datetime) -> dict[str, Any]:
    policy = StockPolicy.current()
    text = wanted.search.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return {
        "since": now - timedelta(days=wanted.days),
        "now": now,
        "region": wanted.region,
        "warehouse": wanted.warehouse_id,
        "shop": wanted.shop_id,
        "everywhere": wanted.is_everywhere,
        "category": wanted.category,
        "search": wanted.search,
        "like": f"%{text}%",
        "danger": policy.danger_below,
        "few": policy.few_below,
        "replenish": policy.replenish_below,
        "alarm": _RANKS.index(Alarm(wanted.alarm)) if wanted.alarm else -1,
    }


def _counts(told: Any) -> dict[Alarm, int]:
    found: Mapping[str, int] = json.loads(told) if told else {}
    return {_RANKS[int(rank)]: n for rank, n in found.items()}


def _rows(told: Sequence[tuple[Any, ...]], days: Decimal, now: datetime) -> list[SkuRow]:
    arriving = _next_arrivals({row[0] for row in told})
    others = {row[15]: row[-2] for row in told if row[-1] not in {None, Warehouse.Kind.OWN}}
    theirs = last_told(others, now=now)
    found: dict[int, SkuRow] = {}
    for row in told:
        sku_id, code, name, color, category, is_gift, buffer, rank = row[:8]
        if sku_id not in found:
            full = name if color in name else f"{name} {color}"
            found[sku_id] = SkuRow(
                sku_id, code, full, category, is_gift, buffer, Units(*row[8:15]), days,
                _RANKS[rank],
            )  # fmt: skip
        level_id, place, warehouse, *units, sold, place_id, kind = row[15:]
        if level_id is not None:
            here = Units(*[*units, max(0, sold)])  # orders that moved elsewhere took theirs along
            found[sku_id].places.append(
                PlaceRow(
                    level_id, place, warehouse, here, days, arriving.get((place_id, sku_id)),
                    kind, theirs.get(level_id),
                )
            )  # fmt: skip
    return list(found.values())


def _next_arrivals(sku_ids: set[int]) -> dict[tuple[int, int], datetime]:
    """When goods are to come next, by (virtual warehouse, SKU)."""
    coming = InboundLine.objects.filter(
        sku_id__in=sku_ids, inbound__state__in=[Inbound.State.EXPECTED, Inbound.State.PARTLY]
    )
    rows = coming.values_list("inbound__virtual_warehouse_id", "sku_id").annotate(
        at=Min("inbound__expected_at")
    )
    return {(place, sku): at for place, sku, at in rows}
