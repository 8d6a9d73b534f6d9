"""The outbox: what a platform must be told is a row first, and is sent until it is known."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import connection, transaction
from django.db.models import F

from channels_sync.models import OutboundMessage
from channels_sync.services import storable
from ordercenter.core.bulk import dumps

LEASE: Final = timedelta(seconds=60)
FIRST_WAIT: Final = timedelta(seconds=5)
LONGEST_WAIT: Final = timedelta(minutes=30)


def queue_out(
    kind: OutboundMessage.Kind,
    *,
    shop_id: int,
    key: str,
    payload: Mapping[str, Any],
    now: datetime,
    order_id: int | None = None,
    subject: str = "",
    answer_by: datetime | None = None,
) -> bool:
    """Remember, in the caller's transaction, that a platform must be told. Once a key.

    Returns whether it is new.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO channels_sync_outboundmessage (shop_id, kind, key, subject, order_id, "
            "payload, state, created_at, due_at, answer_by, tries, is_doubtful, error, "
            "settled_by, settled_reason) "
            "VALUES (%s, %s, %s, %s, %s, %s, 'waiting', %s, %s, %s, 0, false, '', '', '') "
            "ON CONFLICT (key) DO NOTHING",
            [shop_id, kind.value, key, subject, order_id, dumps(payload), now, now, answer_by],
        )
        return bool(cursor.rowcount)


def claim_out(*, limit: int, now: datetime) -> list[OutboundMessage]:
    """Take due messages for LEASE. A worker that dies gives them back by itself."""
    with transaction.atomic():
        due = OutboundMessage.objects.filter(
            state=OutboundMessage.State.WAITING, due_at__lte=now
        ).order_by("due_at")
        mine = list(
            due.select_related("shop").select_for_update(skip_locked=True, of=("self",))[:limit]
        )
        OutboundMessage.objects.filter(pk__in=[m.pk for m in mine]).update(
            due_at=now + LEASE, tries=F("tries") + 1
        )
    return mine


def put_off(message: OutboundMessage, error: str, *, wait: float | None, now: datetime) -> None:
    """It did not go through: try later, at the latest until 72 h are over, then it is dead."""
    backoff = min(LONGEST_WAIT, FIRST_WAIT * 2 ** min(message.tries, 10))
    due = now + (timedelta(seconds=wait) if wait else backoff)
    age = now - message.created_at
    given_up = age > timedelta(hours=OutboundMessage.GIVE_UP_AFTER_HOURS)
    OutboundMessage.objects.filter(pk=message.pk).update(
        state=OutboundMessage.State.DEAD if given_up else OutboundMessage.State.WAITING,
        due_at=due,
        error=storable(error, 300),
    )
