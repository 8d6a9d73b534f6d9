"""The inbox: keep what came, and hand it out to be worked."""

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.db import connection, transaction
from django.db.models import F

from channels_sync.contracts import ConnectorError, MessageKind, RawMessage
from channels_sync.models import InboxMessage, SyncCursor
from ordercenter.core.bulk import prepared_cursor
from ordercenter.core.clock import now as clock_now

LEASE: Final = timedelta(seconds=60)
OLD: Final = timedelta(minutes=10)
"""What happened longer ago waits behind what happens now."""


def storable(text: str, limit: int) -> str:
    """Somebody else's words as a column takes them: no NUL, no half of a surrogate pair."""
    return text.replace("\0", "").encode(errors="replace").decode()[:limit]


def digest(message: RawMessage) -> bytes:
    """What makes two messages the same message: kind and bytes, or the event they announce."""
    told = message.event_id.encode(errors="replace") if message.event_id else message.body
    return hashlib.blake2b(message.kind.encode() + b"\0" + told, digest_size=16).digest()


@transaction.atomic
def store(
    messages: Sequence[RawMessage],
    *,
    source: InboxMessage.Source,
    shop_id: int | None = None,
    carrier: str = "",
    lane: InboxMessage.Lane = InboxMessage.Lane.LIVE,
    now: datetime | None = None,
) -> int:
    """Keep messages as they came; return how many were new. The same bytes twice are one row.

    What a push says happened long ago waits in the bulk lane, whatever ``lane`` says.
    """
    if not messages:
        return 0
    now = now or clock_now()
    rows = [
        (shop_id, carrier, source.value, m.kind.value, storable(m.channel_number, 64),
         storable(m.event_id, 100), digest(m), m.body, now, _lane(m, lane, now))
        for m in messages
    ]  # fmt: skip
    with prepared_cursor() as cursor:
        cursor.execute(
            "INSERT INTO channels_sync_inboxmessage (shop_id, carrier, source, kind, "
            "channel_number, event_id, digest, body, received_at, lane, state, attempts, error, "
            "done_at) "
            "SELECT *, CASE kind WHEN 'unreadable' THEN 'dead' WHEN 'note' THEN 'done' "
            "ELSE 'new' END, 0, CASE kind WHEN 'unreadable' THEN '无法识别的报文' ELSE '' END, "
            "CASE kind WHEN 'note' THEN received_at END "
            "FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::text[], %s::text[], "
            "%s::text[], %s::bytea[], %s::bytea[], %s::timestamptz[], %s::smallint[]) "
            "AS v(shop_id, carrier, source, kind, channel_number, event_id, digest, body, "
            "received_at, lane) "
            "ON CONFLICT DO NOTHING",
            [list(column) for column in zip(*rows, strict=True)],
        )
        return int(cursor.rowcount)


def lane_of(moment: datetime, *, now: datetime) -> InboxMessage.Lane:
    """Where a message of this moment waits: what is told again of the past yields."""
    return InboxMessage.Lane.BULK if now - moment > OLD else InboxMessage.Lane.LIVE


def _lane(message: RawMessage, lane: InboxMessage.Lane, now: datetime) -> int:
    told_of = message.occurred_at
    return int(lane if told_of is None else max(lane, lane_of(told_of, now=now)))


@dataclass(frozen=True, slots=True)
class Claimed:
    """One message in hand, locked until the transaction ends."""

    id: int
    shop_id: int | None
    channel: str
    carrier: str
    kind: str
    channel_number: str
    body: bytes
    received_at: datetime
    lane: int


def claim(
    kinds: Iterable[MessageKind | str],
    *,
    limit: int,
    only: Collection[int] | None = None,
    busy: Collection[int] = (),
    now: datetime | None = None,
) -> list[Claimed]:
    """Lock open messages of these kinds for the caller's transaction: the live ones first, the
    oldest of a lane first.

    A worker that dies gives them back by itself: the lock goes with its connection.
    ``only`` narrows to these ids; the shops in ``busy`` are passed over.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT m.id, m.shop_id, coalesce(s.channel, ''), m.carrier, m.kind, "
            "m.channel_number, m.body, m.received_at, m.lane FROM channels_sync_inboxmessage m "
            "LEFT JOIN catalog_shop s ON s.id = m.shop_id "
            "WHERE m.state IN ('new', 'leased') AND m.kind = ANY(%s) "
            "AND (m.leased_until IS NULL OR m.leased_until <= %s) "
            "AND (%s OR m.id = ANY(%s)) AND (m.shop_id <> ALL(%s)) IS NOT false "
            "ORDER BY m.lane, m.id LIMIT %s FOR NO KEY UPDATE OF m SKIP LOCKED",
            [
                [str(k) for k in kinds],
                now or clock_now(),
                only is None,
                list(only or ()),
                list(busy),
                limit,
            ],
        )
        rows = cursor.fetchall()
    return [
        Claimed(pk, shop, channel, carrier, kind, number, bytes(body), received_at, lane)
        for pk, shop, channel, carrier, kind, number, body, received_at, lane in rows
    ]


def lease(message_ids: Collection[int], *, now: datetime) -> None:
    """Keep claimed messages for LEASE beyond the transaction that claimed them."""
    InboxMessage.objects.filter(pk__in=message_ids).update(
        state=InboxMessage.State.LEASED, leased_until=now + LEASE
    )


def told_since(shop_id: int, numbers: Collection[str]) -> dict[str, datetime]:
    """When each of these orders was last told by its platform, whole; those never told are not
    in it."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT channel_number, max(received_at) FROM channels_sync_inboxmessage "
            "WHERE shop_id = %s AND kind = 'order' AND channel_number = ANY(%s) GROUP BY 1",
            [shop_id, list(numbers)],
        )
        return dict(cursor.fetchall())


def give_back(message_ids: Collection[int]) -> None:
    """Messages that were leased and not come to: anybody may take them at once."""
    InboxMessage.objects.filter(pk__in=message_ids).update(
        state=InboxMessage.State.NEW, leased_until=None
    )


def postpone(message_ids: Collection[int], reason: str, *, until: datetime) -> None:
    """Let messages wait until then; it is no failure of theirs."""
    InboxMessage.objects.filter(pk__in=message_ids).update(
        state=InboxMessage.State.NEW, leased_until=until, error=storable(reason, 500)
    )


def done(message_ids: Collection[int], *, now: datetime) -> None:
    """These messages have had their effect."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE channels_sync_inboxmessage SET state = 'done', done_at = %s, error = '', "
            "leased_until = NULL WHERE id = ANY(%s)",
            [now, list(message_ids)],
        )


def park(reasons: Mapping[int, str], *, now: datetime) -> None:
    """Quarantine messages that can't be worked, each with its reason; the bytes stay."""
    InboxMessage.objects.filter(pk__in=reasons).update(
        state=InboxMessage.State.DEAD, done_at=now, leased_until=None
    )
    for pk, reason in reasons.items():
        InboxMessage.objects.filter(pk=pk).update(error=storable(reason, 500))


def try_again(message_ids: Collection[int], reason: str, *, now: datetime) -> None:
    """Count a failed attempt and wait longer each time; the eighth failure parks the message."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE channels_sync_inboxmessage SET attempts = attempts + 1, error = %s, "
            "state = CASE WHEN attempts + 1 >= %s THEN 'dead' ELSE 'new' END, "
            "leased_until = %s + least(interval '5 minutes', interval '1 second' * (2 ^ attempts)) "
            "WHERE id = ANY(%s)",
            [storable(reason, 500), InboxMessage.MAX_ATTEMPTS, now, list(message_ids)],
        )


def cursor_failed(shop_id: int, error: ConnectorError, *, now: datetime) -> None:
    """A poll failed: the cursor stands still, the health page shows why, the next try waits."""
    row = SyncCursor.objects.get(pk=shop_id)
    wait = error.error.retry_after_seconds or min(
        600, row.interval_seconds * 2 ** min(row.failures, 6)
    )
    if error.error.code == "breaker" and row.error_code:
        # Nobody was asked: what the platform said last stays the reason.
        SyncCursor.objects.filter(pk=shop_id).update(
            next_due_at=now + timedelta(seconds=wait), leased_until=None
        )
        return
    SyncCursor.objects.filter(pk=shop_id).update(
        failures=F("failures") + 1,
        last_error_at=now,
        error_class=error.error.klass.value,
        error_code=storable(error.error.sub_code or error.error.code, 80),
        error_message=storable(error.error.message, 300),
        next_due_at=now + timedelta(seconds=wait),
        leased_until=None,
    )
