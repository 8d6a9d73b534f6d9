"""How many of the gifts that shipped orders owe lie in their parcels. Counted, never assumed."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

from ordercenter.core.replica import reading

RED_FROM: Final = 0.05
"""More than this share missing is red (Q176)."""

_RATES: Final = """
    WITH sent AS (
        SELECT p.order_id, max(p.shipped_at) AS shipped_at FROM fulfillment_parcel p
        WHERE p.shipped_at >= %(start)s AND p.shipped_at < %(end)s GROUP BY p.order_id
    ), inside AS (
        SELECT pl.line_id, sum(pl.quantity) AS units FROM sent s
        JOIN fulfillment_parcel p ON p.order_id = s.order_id AND p.shipped_at IS NOT NULL
        JOIN fulfillment_parcelline pl ON pl.parcel_id = p.id GROUP BY pl.line_id
    )
    SELECT (s.shipped_at AT TIME ZONE 'Asia/Shanghai')::date AS day, o.shop_id,
           sum(l.quantity), sum(least(l.quantity, coalesce(i.units, 0)))
    FROM sent s
    JOIN orders_salesorder o ON o.id = s.order_id AND o.status IN ('shipped', 'signed')
        AND NOT o.is_test
    JOIN orders_orderline l ON l.order_id = o.id AND l.is_gift AND NOT l.is_dropped
        AND l.sku_id IS NOT NULL
    LEFT JOIN inside i ON i.line_id = l.id
    GROUP BY 1, 2 ORDER BY 1, 2
"""


@dataclass(frozen=True, slots=True)
class GiftRate:
    """Units of gifts owed by the orders of a shop that were shipped on a day, and units sent."""

    day: date
    shop_id: int
    owed: int
    sent: int


def gift_rates(start: datetime, end: datetime) -> Sequence[GiftRate]:
    """By day (Shanghai) and shop, for orders of which a parcel left in [start, end).

    A gift is owed by a line that nobody dropped; it is sent when it lies in a parcel that left.
    Days and shops without a gift owed are left out.
    """
    with reading().cursor() as cursor:
        cursor.execute(_RATES, {"start": start, "end": end})
        return [GiftRate(day, shop, int(owed), int(sent)) for day, shop, owed, sent in cursor]


@dataclass(frozen=True, slots=True)
class GiftMatch:
    """Gifts owed and sent, over all shops."""

    owed: int
    sent: int

    @property
    def share(self) -> float | None:
        """The part of what was owed that was sent; None where nothing was owed."""
        return self.sent / self.owed if self.owed else None

    @property
    def percent(self) -> str:
        """The share as people read it: never rounded up to all of it."""
        if self.share is None:
            return "—"
        if self.sent >= self.owed:
            return "100%"
        return f"{self.sent * 1000 // self.owed / 10:.1f}%"

    @property
    def is_red(self) -> bool:
        return (self.owed - self.sent) > RED_FROM * self.owed


def gift_match(start: datetime, end: datetime) -> GiftMatch:
    """All shops together."""
    rates = gift_rates(start, end)
    return GiftMatch(sum(rate.owed for rate in rates), sum(rate.sent for rate in rates))
