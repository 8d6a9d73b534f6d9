"""The outbox: what a platform must be told is a row first, and is sent until it is known.

A message is taken twice: ``claim_out`` sets it aside for one worker, ``begin`` marks the moment
before the call. From there until its end is written the outcome is in doubt, so whoever finds
the message of a worker that died asks the platform first.
"""

import random
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import connection
from django.db.models import Q, QuerySet

from channels_sync.models import OutboundMessage
from channels_sync.services import storable
from ordercenter.core.bulk import dumps

State = OutboundMessage.State
LEASE: Final = timedelta(seconds=60)
"""How long a claimed message waits for its turn."""
CALL_LEASE: Final = timedelta(minutes=4)
"""Longer than a call with all its questions: three of them at 30 s, a token, the line's turn."""
FIRST_WAIT: Final = timedelta(seconds=5)
LONGEST_WAIT: Final = timedelta(minutes=30)
JITTER: Final = 0.2
SOONEST: Final = timedelta(seconds=2)
A_SHOP: Final = 50
"""So many messages of one shop a claim takes, so that one full shop leaves room for others."""


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


def supersede(subjects: Collection[str], *, now: datetime) -> int:
    """A newer word takes the place of what has not gone, or has been given up; return how many.

    What may have had its effect stays: its own end decides.
    """
    old = OutboundMessage.objects.filter(
        Q(state=State.WAITING, is_doubtful=False) | Q(state=State.DEAD), subject__in=subjects
    )
    return in_turn(old).update(state=State.SUPERSEDED, done_at=now)


def in_turn(messages: QuerySet[OutboundMessage]) -> QuerySet[OutboundMessage]:
    """The same messages, locked in the order of their keys before they are changed.

    Two who change many of them at once queue up instead of deadlocking.
    """
    held = messages.order_by("pk").select_for_update(no_key=True).values("pk")
    return messages.filter(pk__in=held)


def claim_out(*, limit: int, now: datetime, busy: Collection[int] = ()) -> list[OutboundMessage]:
    """Set due messages aside for LEASE, a share for every shop.

    Shops that are paused, and the ``busy`` ones, are passed over.
    Of one order's messages of a kind, and of one subject's, only the oldest is given out: what
    follows waits until that one has come to an end. Nearing deadlines go first, stock last.
    """
    due = OutboundMessage.objects.raw(
        _CLAIM,
        {
            "lease": now + LEASE, "now": now, "busy": list(busy), "share": A_SHOP,
            "limit": limit,
        },
    )  # fmt: skip
    return sorted(due, key=_turn)


_CLAIM: Final = """
    UPDATE channels_sync_outboundmessage SET due_at = %(lease)s WHERE id IN (
        SELECT m.id FROM channels_sync_outboundmessage m WHERE m.id IN (
            SELECT id FROM (
                SELECT d.id, d.due_at, row_number() OVER (
                    PARTITION BY d.shop_id
                    ORDER BY d.kind = 'stock', d.answer_by NULLS LAST, d.due_at, d.id) AS place
                FROM channels_sync_outboundmessage d
                WHERE d.state = 'waiting' AND d.due_at <= %(now)s AND d.shop_id <> ALL(%(busy)s)
                  AND NOT EXISTS (SELECT 1 FROM channels_sync_synccursor c
                    WHERE c.shop_id = d.shop_id AND c.paused_at IS NOT NULL)
                  AND NOT EXISTS (SELECT 1 FROM channels_sync_outboundmessage e
                    WHERE e.order_id = d.order_id AND e.kind = d.kind AND e.state = 'waiting'
                    AND e.id < d.id)
                  AND (d.subject = '' OR NOT EXISTS (
                    SELECT 1 FROM channels_sync_outboundmessage e
                    WHERE e.subject = d.subject AND e.subject <> '' AND e.state = 'waiting'
                    AND e.id < d.id))) q
            WHERE place <= %(share)s ORDER BY due_at LIMIT %(limit)s)
        AND m.state = 'waiting' AND m.due_at <= %(now)s FOR NO KEY UPDATE SKIP LOCKED)
    RETURNING *
"""


def _turn(message: OutboundMessage) -> tuple[bool, bool, float, int]:
    late = message.answer_by.timestamp() if message.answer_by else 0.0
    stock = message.kind == OutboundMessage.Kind.STOCK
    return stock, message.answer_by is None, late, message.pk


def begin(message: OutboundMessage, *, now: datetime) -> bool:
    """As ``begin_all``, of one."""
    return bool(begin_all([message], now=now))


def begin_all(messages: Sequence[OutboundMessage], *, now: datetime) -> list[OutboundMessage]:
    """Calls are about to be made: count the tries, and hold the outcomes in doubt until they end.

    Returns those that still are this worker's. They keep what was known before
    (``is_doubtful``, ``settled_by``), for the caller to act on; a person's word counts once.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "WITH mine AS MATERIALIZED (SELECT m.id FROM channels_sync_outboundmessage m "
            "JOIN unnest(%s::bigint[], %s::timestamptz[]) AS v(id, due) "
            "ON v.id = m.id AND v.due = m.due_at WHERE m.state = 'waiting' "
            "ORDER BY m.id FOR NO KEY UPDATE OF m) "
            "UPDATE channels_sync_outboundmessage m SET due_at = %s, tries = tries + 1, "
            "is_doubtful = true, settled_by = '' FROM mine WHERE m.id = mine.id RETURNING m.id",
            [[m.pk for m in messages], [m.due_at for m in messages], now + CALL_LEASE],
        )
        mine = {row[0] for row in cursor.fetchall()}
    found = [message for message in messages if message.pk in mine]
    for message in found:
        message.due_at, message.tries = now + CALL_LEASE, message.tries + 1
    return found


def end_all(messages: Sequence[OutboundMessage], *, now: datetime) -> set[int]:
    """These were delivered; return the keys of those that had not ended before."""
    with connection.cursor() as cursor:
        cursor.execute(
            "WITH mine AS MATERIALIZED (SELECT id FROM channels_sync_outboundmessage "
            "WHERE id = ANY(%s) AND state = 'waiting' ORDER BY id FOR NO KEY UPDATE) "
            "UPDATE channels_sync_outboundmessage m SET state = 'done', error = '', "
            "done_at = %s, is_doubtful = false FROM mine WHERE m.id = mine.id RETURNING m.id",
            [[m.pk for m in messages], now],
        )
        return {row[0] for row in cursor.fetchall()}


def end(
    message: OutboundMessage, state: OutboundMessage.State, *, error: str = "", now: datetime
) -> bool:
    """Write how a message ended; False where it has ended already."""
    return bool(
        OutboundMessage.objects.filter(pk=message.pk, state=State.WAITING).update(
            state=state,
            error=storable(error, 300),
            done_at=now,
            is_doubtful=state == State.DEAD and message.is_doubtful,
        )
    )


def put_off(
    message: OutboundMessage,
    error: str,
    *,
    wait: float | None,
    now: datetime,
    doubtful: bool = False,
) -> datetime | None:
    """It did not go through: try later, at the latest until 72 h are over.

    Returns when it is due again; None once its time is over, and then nothing is changed.
    """
    if now - message.created_at > timedelta(hours=OutboundMessage.GIVE_UP_AFTER_HOURS):
        return None
    due = now + (timedelta(seconds=wait) if wait else _backoff(message, now))
    OutboundMessage.objects.filter(
        pk=message.pk, state=State.WAITING, due_at=message.due_at
    ).update(due_at=due, error=storable(error, 300), is_doubtful=doubtful)
    return due


def _backoff(message: OutboundMessage, now: datetime) -> timedelta:
    """Twice as long each time, a little uneven so that a shop's messages do not come back as
    one; never past half of what is left of a platform's deadline."""
    wait: timedelta = min(LONGEST_WAIT, FIRST_WAIT * 2 ** min(max(message.tries - 1, 0), 10))
    wait *= random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 - no secret
    if message.answer_by and message.answer_by > now:
        wait = max(SOONEST, min(wait, (message.answer_by - now) / 2))
    return wait


def postpone(shop_id: int, *, until: datetime, kind: str = "") -> int:
    """Leave what else waits of a shop (of one kind) alone until then; return how many.

    What is in doubt, or in a call just now, keeps its own time.
    """
    rest = OutboundMessage.objects.filter(
        shop_id=shop_id, state=State.WAITING, due_at__lt=until, is_doubtful=False
    )
    if kind:
        rest = rest.filter(kind=kind)
    return in_turn(rest).update(due_at=until)


def give_back(messages: Sequence[OutboundMessage], *, until: datetime) -> None:
    """These were claimed and will not be told now: they are due then."""
    mine = OutboundMessage.objects.filter(
        pk__in=[m.pk for m in messages], due_at__in={m.due_at for m in messages}
    )
    in_turn(mine).update(due_at=until)
