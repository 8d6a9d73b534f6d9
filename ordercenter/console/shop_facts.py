"""What the page of one shop shows beside its line."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.db.models import F
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from channels_sync.contracts import Feed
from channels_sync.models import (
    Backfill,
    CallBudget,
    FeedCursor,
    InboxMessage,
    LineAlarm,
    Reconciliation,
    SyncWindow,
)
from ordercenter.catalog.models import Shop
from ordercenter.core.policy import AnyUser, Can, allows
from ordercenter.orders.models import SalesOrder
from ordercenter.pipeline.completeness import CLOSED, HOUR

HOURS: Final = 48
WINDOWS: Final = 5
BACKFILLS: Final = 10
PAST_ALARMS: Final = 20
BUDGETS: Final = 60
SHOWN_NUMBERS: Final = 50
FEEDS: Final = {"orders": _("订单"), "refunds": _("退款")}


@dataclass(frozen=True, slots=True)
class FeedRow:
    """One list a platform offers, how far it is read, and the last windows that moved it."""

    code: str
    label: str | Promise
    position: datetime | None
    last_ok_at: datetime | None
    windows: Sequence[SyncWindow]


@dataclass(frozen=True, slots=True)
class HourRow:
    """One closed hour; ``row`` is None while nobody has compared it."""

    hour: datetime
    row: Reconciliation | None

    @property
    def missing(self) -> Sequence[str]:
        return self.row.missing[:SHOWN_NUMBERS] if self.row else ()

    @property
    def not_shown(self) -> int:
        return max(0, len(self.row.missing) - SHOWN_NUMBERS) if self.row else 0


@dataclass(frozen=True, slots=True)
class Pulled:
    """What became of one order that was asked for by its number."""

    channel_number: str
    message: InboxMessage | None
    order: SalesOrder | None
    may_open: bool


def feeds_of(shop: Shop, feeds: Sequence[Feed]) -> list[FeedRow]:
    cursors = {row.feed: row for row in FeedCursor.objects.filter(shop=shop)}
    return [_feed(shop, feed.code, cursors.get(feed.code)) for feed in feeds]


def _feed(shop: Shop, code: str, cursor: FeedCursor | None) -> FeedRow:
    return FeedRow(
        code=code,
        label=FEEDS.get(code, code),
        position=cursor.position if cursor else None,
        last_ok_at=cursor.last_ok_at if cursor else None,
        windows=list(SyncWindow.objects.filter(shop=shop, feed=code).order_by("-id")[:WINDOWS]),
    )


def hours_of(shop: Shop, now: datetime) -> list[HourRow]:
    """The closed hours of the last two days, the newest first."""
    last = (now - CLOSED).replace(minute=0, second=0, microsecond=0) - HOUR
    first = now - timedelta(hours=HOURS)
    rows = {r.hour: r for r in Reconciliation.objects.filter(shop=shop, hour__gte=first)}
    hours = [last - n * HOUR for n in range(HOURS) if last - n * HOUR >= first]
    return [HourRow(hour, rows.get(hour)) for hour in hours]


def budgets_of(shop: Shop) -> Sequence[CallBudget]:
    """The interfaces that were called, those that are held back first."""
    rows = CallBudget.objects.filter(shop=shop)
    return list(rows.order_by(F("blocked_until").desc(nulls_last=True), "interface")[:BUDGETS])


def backfills_of(shop: Shop) -> Sequence[Backfill]:
    return list(Backfill.objects.filter(shop=shop).order_by("-pk")[:BACKFILLS])


def past_alarms_of(shop: Shop) -> Sequence[LineAlarm]:
    rows = LineAlarm.objects.filter(shop=shop).exclude(closed_at=None)
    return list(rows.order_by("-opened_at")[:PAST_ALARMS])


def pulled(user: AnyUser, shop: Shop, channel_number: str) -> Pulled | None:
    """How far an order that was asked for has come; None for what cannot be a number."""
    if not 1 <= len(channel_number) <= 64 or "\0" in channel_number:  # noqa: PLR2004
        return None
    message = (
        InboxMessage.objects.filter(shop=shop, channel_number=channel_number)
        .defer("body")
        .order_by("-pk")
        .first()
    )
    order = SalesOrder.objects.filter(shop=shop, channel_number=channel_number)
    may_open = allows(user, Can.VIEW_ORDERS)
    if may_open:
        order = order.visible_to(user)
    return Pulled(channel_number, message, order.only("number", "status").first(), may_open)
