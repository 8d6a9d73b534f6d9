"""Parcels that an interception stops: marked set-wise at the bench, asked back from the carrier."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.db import connection

from fulfillment.models import ParcelStop

CALL_LEASE: Final = timedelta(minutes=2)
"""Longer than a call to a carrier takes."""
CALL_AGAIN: Final = timedelta(minutes=1)
MOST_CALLS: Final = 10
CallBack = ParcelStop.CallBack


def stand_still(
    order_ids: Collection[int], *, interception_id: int, reason: str, by: str, now: datetime
) -> int:
    """Mark what has not left of these orders' parcels as stopped; return how many. Repeatable.

    The parcels stay as they are, and their labels too: they go on when the holds are lifted. The
    order rows are locked by the caller.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            'INSERT INTO fulfillment_parcelstop (parcel_id, reason, "where", outcome, asked_by, '
            "asked_at, done_at, interception_id) SELECT p.id, %(reason)s, "
            "CASE p.state WHEN 'planned' THEN 'before_pick' ELSE 'bench' END, 'stopped', %(by)s, "
            "%(now)s, %(now)s, %(pk)s FROM fulfillment_parcel p WHERE p.order_id = ANY(%(orders)s) "
            "AND p.state IN ('planned', 'picked', 'packed') ORDER BY p.id ON CONFLICT DO NOTHING",
            {"reason": reason[:300], "by": by[:150], "now": now, "pk": interception_id,
             "orders": list(order_ids)},
        )  # fmt: skip
        return int(cursor.rowcount)


def call_back(
    order_ids: Collection[int],
    *,
    interception_id: int,
    reason: str,
    by: str,
    now: datetime,
    since: datetime,
) -> int:
    """Remember to ask the carriers for what has left since then and nobody has scanned yet.

    Returns how many parcels. Repeatable: a parcel is asked back once an interception.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            'INSERT INTO fulfillment_parcelstop (parcel_id, reason, "where", outcome, asked_by, '
            "asked_at, interception_id, call_back, call_back_due_at) SELECT p.id, %(reason)s, "
            "'carrier', 'too_late', %(by)s, %(now)s, %(pk)s, 'waiting', %(now)s "
            "FROM fulfillment_parcel p JOIN fulfillment_waybill w ON w.parcel_id = p.id "
            "AND w.state = 'live' WHERE p.order_id = ANY(%(orders)s) AND p.state = 'shipped' "
            "AND p.shipped_at >= %(since)s AND NOT EXISTS "
            "(SELECT 1 FROM fulfillment_traceevent t WHERE t.waybill_id = w.id) "
            "ORDER BY p.id ON CONFLICT DO NOTHING",
            {"reason": reason[:300], "by": by[:150], "now": now, "pk": interception_id,
             "orders": list(order_ids), "since": since},
        )  # fmt: skip
        return int(cursor.rowcount)


def drop_call_backs(interception_id: int, *, now: datetime) -> int:
    """Do not ask for what nobody has asked for yet: the interception is over."""
    waiting = ParcelStop.objects.filter(interception=interception_id, call_back=CallBack.WAITING)
    return waiting.update(
        call_back=CallBack.DROPPED, call_back_words="拦截已解除，未再请求快递", done_at=now
    )


@dataclass(frozen=True, slots=True)
class Call:
    """One parcel to be asked back."""

    stop_id: int
    carrier: str
    number: str
    tries: int


def claim_calls(*, limit: int, now: datetime) -> list[Call]:
    """Take due intents for CALL_LEASE, in a transaction of their own.

    The caller asks outside it, and says how it went. A worker that dies gives them back.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "WITH mine AS (UPDATE fulfillment_parcelstop SET call_back_due_at = %(lease)s, "
            "call_back_tries = call_back_tries + 1 WHERE id IN ("
            " SELECT id FROM fulfillment_parcelstop WHERE call_back = 'waiting' "
            " AND call_back_due_at <= %(now)s ORDER BY call_back_due_at LIMIT %(limit)s "
            " FOR NO KEY UPDATE SKIP LOCKED) RETURNING id, parcel_id, call_back_tries) "
            "SELECT m.id, w.carrier, w.number, m.call_back_tries FROM mine m "
            "JOIN fulfillment_waybill w ON w.parcel_id = m.parcel_id AND w.state = 'live' "
            "ORDER BY m.id",
            {"lease": now + CALL_LEASE, "now": now, "limit": limit},
        )
        return [Call(*row) for row in cursor.fetchall()]


def answered(call: Call, *, taken: bool, words: str, now: datetime) -> None:
    """The carrier has said yes (asked, not yet turned round) or no, for good."""
    ParcelStop.objects.filter(pk=call.stop_id, call_back=CallBack.WAITING).update(
        call_back=CallBack.ASKED if taken else CallBack.REFUSED,
        call_back_words=words[:300],
        done_at=now,
    )


def unanswered(call: Call, *, words: str, now: datetime) -> None:
    """The carrier could not say: ask again in a while, and give up after ``MOST_CALLS``."""
    if call.tries >= MOST_CALLS:
        answered(call, taken=False, words=f"多次请求未得到答复：{words}", now=now)
        return
    ParcelStop.objects.filter(pk=call.stop_id, call_back=CallBack.WAITING).update(
        call_back_words=words[:300], call_back_due_at=now + CALL_AGAIN
    )
