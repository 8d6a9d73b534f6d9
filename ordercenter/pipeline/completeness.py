"""The proof that nothing was missed: each shop's hours compared with its platform's own list.

The comparison goes by the time an order was placed, over another list than the polls read, so
that a fault of the one does not hide in the other.
"""

import logging
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from django.contrib.auth.models import AbstractBaseUser
from django.db import connection, transaction
from django.db.models import F

from channels_sync import services as channels
from channels_sync.connectors.exchange import make_client
from channels_sync.contracts import Connector, ConnectorError, Rejected, Unsupported, Window
from channels_sync.models import InboxMessage, Reconciliation, SyncCursor
from ordercenter.core.clock import now as clock_now
from ordercenter.core.live import announce
from ordercenter.core.policy import Can, require
from ordercenter.orders.models import SalesOrder
from ordercenter.pipeline.calling import connector_for, in_parallel
from ordercenter.pipeline.pulling import POLLED

logger = logging.getLogger(__name__)
HOUR: Final = timedelta(hours=1)
CLOSED: Final = timedelta(minutes=15)
"""An hour is compared once it has been over for so long (I3)."""
LOOK_BACK: Final = timedelta(hours=24)
AGAIN: Final = timedelta(minutes=10)
MOST_HOURS: Final = 6
"""Hours of one shop in one go; the newest first."""
MOST_PULLED: Final = 500


def reconcile_due(*, now: datetime | None = None) -> str:
    """Compare the hours of every shop that have not been compared, or did not agree."""
    now = now or clock_now()
    shops = list(
        SyncCursor.objects.filter(
            shop__is_active=True, shop__channel__in=POLLED, paused_at=None
        ).values_list("shop_id", flat=True)
    )
    jobs = [partial(_reconcile_shop, shop, now=now) for shop in shops]
    return f"{in_parallel(jobs)} hours compared"


def _reconcile_shop(shop_id: int, *, now: datetime) -> int:
    hours = _due_hours(shop_id, now=now)
    compared = 0
    with make_client() as client:
        for hour in hours[:MOST_HOURS]:
            try:
                _compare(shop_id, hour, connector_for(shop_id, client))
            except Unsupported:
                return compared
            except ConnectorError as error:
                logger.warning("shop %s cannot be compared: %s", shop_id, error.error.code)
                return compared
            compared += 1
    return compared


def _due_hours(shop_id: int, *, now: datetime) -> list[datetime]:
    """Closed hours of the last day to compare, the newest first."""
    last = (now - CLOSED).replace(minute=0, second=0, microsecond=0) - HOUR
    first = _known_since(shop_id, now=now)
    hours = [last - n * HOUR for n in range(int(LOOK_BACK / HOUR)) if last - n * HOUR >= first]
    over = {
        row.hour
        for row in Reconciliation.objects.filter(shop_id=shop_id, hour__in=hours)
        if row.state == Reconciliation.State.EVEN or row.checked_at > now - AGAIN
    }
    return [hour for hour in hours if hour not in over]


def _known_since(shop_id: int, *, now: datetime) -> datetime:
    """The first whole hour since the shop was connected: what came before was never promised."""
    first = (
        InboxMessage.objects.filter(shop_id=shop_id)
        .order_by("pk")
        .values_list("received_at", flat=True)
        .first()
    )
    return (first or now).replace(minute=0, second=0, microsecond=0) + HOUR


def reconcile_now(shop_id: int, hour: datetime, *, user: AbstractBaseUser) -> Reconciliation:
    """Compare one hour now, however old. Right: VIEW_HEALTH. Raises ConnectorError."""
    require(user, Can.VIEW_HEALTH)
    start = hour.replace(minute=0, second=0, microsecond=0)
    with make_client() as client:
        return _compare(shop_id, start, connector_for(shop_id, client))


def _compare(shop_id: int, hour: datetime, connector: Connector) -> Reconciliation:
    """Compare one hour; pull what is missing. What is still missing next time is an alarm."""
    window = Window(hour, hour + HOUR)
    census = connector.census(window)
    known = _known(shop_id, census.numbers)
    missing = sorted(census.numbers - known)
    ours = set(
        SalesOrder.objects.filter(
            shop_id=shop_id, placed_at__gte=window.start, placed_at__lt=window.end
        ).values_list("channel_number", flat=True)
    )
    pulled = _pull(shop_id, missing[:MOST_PULLED], connector)
    before = Reconciliation.objects.filter(shop_id=shop_id, hour=hour).first()
    if not missing:
        state = Reconciliation.State.EVEN
    elif before is not None and set(before.missing) & set(missing):
        state = Reconciliation.State.SHORT
    else:
        state = Reconciliation.State.PULLING
    row, _ = Reconciliation.objects.update_or_create(
        shop_id=shop_id,
        hour=hour,
        defaults={
            "theirs": len(census.numbers),
            "ours": len(census.numbers & known),
            "missing": missing,
            "extra": sorted(ours - census.numbers)[:100],
            "state": state,
            "checked_at": clock_now(),
        },
    )
    Reconciliation.objects.filter(pk=row.pk).update(pulled=F("pulled") + pulled)
    row.refresh_from_db()
    if missing:
        with transaction.atomic():
            announce("shops", missing=len(missing))
    return row


def _known(shop_id: int, numbers: Iterable[str]) -> set[str]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT v.number FROM unnest(%s::text[]) AS v(number) JOIN orders_salesorder o "
            "ON o.shop_id = %s AND o.channel_number = v.number",
            [list(numbers), shop_id],
        )
        return {row[0] for row in cursor.fetchall()}


def _pull(shop_id: int, numbers: Sequence[str], connector: Connector) -> int:
    """Fetch missing orders into the inbox; one that cannot be had does not keep the others."""
    pulled = 0
    for number in numbers:
        try:
            message = connector.fetch(number)
        except Rejected as refusal:
            logger.warning("shop %s: order not to be had: %s", shop_id, refusal.error.code)
            continue
        pulled += channels.store(
            [message],
            source=InboxMessage.Source.FETCH,
            shop_id=shop_id,
            lane=InboxMessage.Lane.LIVE,
        )
    return pulled
