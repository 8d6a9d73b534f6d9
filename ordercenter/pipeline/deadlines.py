"""When an order has to leave: what it was promised, or so many hours after its payment."""

from datetime import datetime, timedelta
from typing import Final, Protocol

from django.conf import settings

PROMISE_SQL: Final = (
    "coalesce(o.promised_at, coalesce(o.paid_at, o.placed_at) + %(ship_within)s::interval)"
)
"""The same of a row ``o``; ``ship_within`` comes from ``ship_within()``."""


class Promised(Protocol):
    promised_at: datetime | None
    paid_at: datetime | None
    placed_at: datetime


def ship_within() -> timedelta:
    return timedelta(hours=settings.SHIP_WITHIN_HOURS)


def promise_of(order: Promised) -> datetime:
    """The moment by which the order is to have left."""
    return order.promised_at or (order.paid_at or order.placed_at) + ship_within()
