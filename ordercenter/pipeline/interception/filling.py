"""The rows behind a gate: every order inside gets its hold set-wise, and loses it the same way.

The gate alone makes an interception exact; the rows say so on every page and at every scan.
Orders are locked but not rewritten, and keep their version: the hold counts from the version
that comes next, and so does its end. One record of the interception names how many orders were
held and the SHA-256 of their keys, instead of one record an order.

Each function finds its own work in chunks of a transaction each, may run twice or beside
itself, and goes on where a killed one stopped.
"""

import logging
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

from django.db import connection, transaction

from fulfillment import services as fulfillment
from fulfillment import stops
from fulfillment.models import Stage, StageTask
from ordercenter.audit.models import Action
from ordercenter.audit.services import record
from ordercenter.core.bulk import array_text, dumps
from ordercenter.core.clock import SHANGHAI
from ordercenter.core.clock import now as clock_now
from ordercenter.core.live import announce
from ordercenter.notices import services as notices
from ordercenter.orders.models import Interception, InterceptionPolicy
from ordercenter.pipeline.interception.gates import (
    GATEKEEPER,
    OPEN_VALUES,
    code_of,
    share,
    where,
)
from ordercenter.pipeline.path import take
from ordercenter.pipeline.publishing import telling_stock
from ordercenter.pipeline.work import load

logger = logging.getLogger(__name__)
OBJECT: Final = "interception"
"""What the audit calls an interception."""
CHUNK: Final = 10_000
LINES: Final = 2
"""Connections that work side by side on what is more than a chunk."""
TRIES: Final = 5
"""How often rows that somebody has in hand are looked at again before the sweep takes over."""
BETWEEN_TRIES: Final = 0.1
"""Seconds."""
GO_ON: Final = 200
GO_ON_SECONDS: Final = 2.0
OWN_TIME: Final = timedelta(seconds=10)
"""So long the sweep leaves an interception to whoever started it."""
State = Interception.State


# --- in -------------------------------------------------------------------------------------


def hold_all(interception_id: int, *, now: datetime | None = None) -> int:
    """Give every open order inside its hold, and its parcels their stop; return how many.

    Orders that come or change later are held on their own way, by the gate.
    """
    now = now or clock_now()
    row = Interception.objects.get(pk=interception_id)
    left, held = _unheld(row), 0
    for attempt in range(TRIES):
        held += _side_by_side(partial(_hold, row, now=now), left)
        left = _unheld(row, left) if left else left
        if not left:
            _tell_held(row.pk, now=now)
            return held
        if attempt + 1 < TRIES:
            time.sleep(BETWEEN_TRIES)
    logger.warning("interception %s: %s orders in hand, left to the sweep", row.pk, len(left))
    return held


def _side_by_side(work: Callable[[Sequence[int]], int], ids: Sequence[int]) -> int:
    """Do this to all of these orders, a chunk at a time on a few connections; return the sum."""
    chunks = [ids[start : start + CHUNK] for start in range(0, len(ids), CHUNK)]
    if len(chunks) < 2:  # noqa: PLR2004 - nobody to stand beside
        return sum(map(work, chunks))

    def on_its_own(chunk: Sequence[int]) -> int:
        try:
            return work(chunk)
        finally:
            connection.close()

    with ThreadPoolExecutor(LINES) as crew:
        return sum(crew.map(on_its_own, chunks))


def _unheld(row: Interception, among: Collection[int] | None = None) -> list[int]:
    """The open orders inside that have no hold of it, of these or of all, by primary key."""
    sql, params = where(row.condition)
    narrowed = "" if among is None else "o.id = ANY(%s::bigint[]) AND "
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT o.id FROM orders_salesorder o WHERE {narrowed} o.status = ANY(%s) "  # noqa: S608 - own text
            f"AND ({sql}) AND NOT EXISTS (SELECT 1 FROM orders_orderhold h "
            "WHERE h.interception_id = %s AND h.order_id = o.id AND h.released_at IS NULL) "
            "ORDER BY o.id",
            [*([] if among is None else [array_text(among)]), OPEN_VALUES, *params, row.pk],
        )
        return [pk for (pk,) in cursor.fetchall()]


@transaction.atomic
def _hold(row: Interception, order_ids: Sequence[int], *, now: datetime) -> int:
    """Hold a chunk, while the interception runs; rows somebody has in hand are passed over."""
    share()
    if not Interception.objects.filter(pk=row.pk, state=State.ACTIVE).exists():
        return 0
    sql, params = where(row.condition)
    with connection.cursor() as cursor:
        cursor.execute(
            "WITH mine AS MATERIALIZED (SELECT o.id, o.version FROM orders_salesorder o "  # noqa: S608 - own text
            f"WHERE o.id = ANY(%s::bigint[]) AND o.status = ANY(%s) AND ({sql}) "
            "ORDER BY o.id FOR NO KEY UPDATE OF o SKIP LOCKED), "
            "held AS (INSERT INTO orders_orderhold (order_id, kind, code, tier, words, evidence, "
            "disposition, placed_by, opened_at, opened_version, asked_by, released_by, "
            "release_reason, interception_id) "
            "SELECT id, 'intercept', %s, '2', %s, '{}', 'standing', %s::jsonb, %s, version + 1, "
            "'', '', '', %s FROM mine ORDER BY id ON CONFLICT DO NOTHING RETURNING order_id) "
            "SELECT array_agg(order_id) FROM held",
            [array_text(order_ids), OPEN_VALUES, *params, code_of(row.pk), row.words,
             dumps(GATEKEEPER.facts()), now, row.pk],
        )  # fmt: skip
        held = cursor.fetchone()[0] or []
    announce("orders", interception=row.pk)
    stops.stand_still(held, interception_id=row.pk, reason=row.words, by=GATEKEEPER.name, now=now)
    return len(held)


@transaction.atomic
def _tell_held(interception_id: int, *, now: datetime) -> None:
    """Once, when the last order is held: the record, the to-dos, the notice, the carriers."""
    row = Interception.objects.select_for_update(no_key=True).get(pk=interception_id)
    if row.held_at is not None or row.state != State.ACTIVE:
        return
    row.held_at = clock_now()
    row.save(update_fields=["held_at"])
    held, digest = _digest(row.pk, "released_at IS NULL")
    late = _call_back(row, now=now)
    shops = _by_shop(row.pk)
    record(
        Action.HOLD_OPENED, object_type=OBJECT, object_id=row.pk, actor=GATEKEEPER,
        change={"orders": held, "sha256": digest, "called_back": late}, reason=row.words,
    )  # fmt: skip
    _give_to_service(row, shops, now=now)
    notices.tell(
        key=f"intercept:{row.pk}:held",
        urgency="3",
        title=f"拦截生效：{row.words}",
        lines=[
            f"已拦下 {held} 单，请求快递召回 {late} 件",
            f"原因：{row.reason}",
            *(f"{name} {count} 单" for name, count, _ in shops[:10]),
        ],
        now=now,
    )
    announce("orders", interception=row.pk)


def _digest(interception_id: int, which: str) -> tuple[int, str]:
    """How many of its holds, and the SHA-256 of their orders' keys in order, with commas."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*), encode(sha256(coalesce(string_agg(order_id::text, ',' "  # noqa: S608 - own text
            "ORDER BY order_id), '')::bytea), 'hex') FROM orders_orderhold "
            f"WHERE interception_id = %s AND {which}",
            [interception_id],
        )
        count, digest = cursor.fetchone()
    return count, digest


def _call_back(row: Interception, *, now: datetime) -> int:
    """Have the carriers asked for what left shortly before and has not been scanned yet."""
    hours = InterceptionPolicy.current().call_back_hours
    if not hours:
        return 0
    since = now - timedelta(hours=hours)
    sql, params = where(row.condition)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT DISTINCT o.id FROM fulfillment_parcel q JOIN orders_salesorder o "  # noqa: S608 - own text
            f"ON o.id = q.order_id WHERE q.shipped_at >= %s AND q.state = 'shipped' AND ({sql})",
            [since, *params],
        )
        ids = [pk for (pk,) in cursor.fetchall()]
    return stops.call_back(
        ids, interception_id=row.pk, reason=row.words, by=GATEKEEPER.name, now=now, since=since
    )


Shops = Sequence[tuple[str, int, int | None]]
"""(name, orders held, the order a to-do hangs on), the most orders first."""


def _by_shop(interception_id: int) -> Shops:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT s.name, q.held, q.eldest FROM (SELECT o.shop_id, count(*) AS held, "
            "min(o.id) FILTER (WHERE NOT EXISTS (SELECT 1 FROM fulfillment_stagetask t "
            "WHERE t.order_id = o.id AND t.stage = 'after_sales' AND t.state = 'open')) AS eldest "
            "FROM orders_orderhold h JOIN orders_salesorder o ON o.id = h.order_id "
            "WHERE h.interception_id = %s AND h.released_at IS NULL GROUP BY o.shop_id) q "
            "JOIN catalog_shop s ON s.id = q.shop_id ORDER BY q.held DESC, s.name",
            [interception_id],
        )
        return [(name, count, order) for name, count, order in cursor.fetchall()]


def _mark(interception_id: int) -> str:
    """What the to-dos of an interception begin with."""
    return f"拦截 {interception_id}："


def _give_to_service(row: Interception, shops: Shops, *, now: datetime) -> None:
    """One to-do a shop for whoever looks after its buyers, on its oldest held order."""
    ends_at = row.ends_at and row.ends_at.astimezone(SHANGHAI)
    until = f"，至 {ends_at:%m-%d %H:%M}" if ends_at else ""
    requests: list[Any] = [
        fulfillment.TaskRequest(
            order, Stage.AFTER_SALES,
            f"{_mark(row.pk)}{row.words[:300]}{until}。本店 {count} 单已拦下，请告知买家并记录答复",
        )
        for _, count, order in shops
        if order is not None
    ]  # fmt: skip
    fulfillment.open_tasks(requests, now=now)


# --- out ------------------------------------------------------------------------------------


def release_all(interception_id: int, *, now: datetime | None = None) -> int:
    """Lift the holds of an interception that is over, and no others; return how many.

    The orders are taken on by ``go_on``, the worker's.
    """
    now = now or clock_now()
    row = Interception.objects.get(pk=interception_id)
    if row.state not in {State.LIFTED, State.EXPIRED}:
        return 0
    lifted = 0
    for attempt in range(TRIES):
        left = _held(row.pk)
        if not left:
            break
        if attempt:
            time.sleep(BETWEEN_TRIES)
        lifted += _side_by_side(partial(_release, row, now=now), left)
    return lifted


def _held(interception_id: int) -> list[int]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT order_id FROM orders_orderhold WHERE interception_id = %s "
            "AND released_at IS NULL ORDER BY order_id",
            [interception_id],
        )
        return [pk for (pk,) in cursor.fetchall()]


@transaction.atomic
def _release(row: Interception, order_ids: Sequence[int], *, now: datetime) -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "WITH mine AS MATERIALIZED (SELECT o.id, o.version FROM orders_salesorder o "
            "WHERE o.id = ANY(%s::bigint[]) ORDER BY o.id FOR NO KEY UPDATE SKIP LOCKED) "
            "UPDATE orders_orderhold h SET released_at = %s, released_by = %s, "
            "release_reason = %s, closed_version = mine.version + 1 FROM mine "
            "WHERE h.order_id = mine.id AND h.interception_id = %s AND h.released_at IS NULL",
            [array_text(order_ids), now, row.ended_by, row.end_reason, row.pk],
        )
        lifted = int(cursor.rowcount)
    announce("orders", interception=row.pk)
    return lifted


def go_on(interception_id: int, *, now: datetime | None = None) -> int:
    """Take the freed orders on along the path, the most urgent first; return how many moved.

    For a while; what is left, and ``freed_at``, comes with the next call.
    """
    now = now or clock_now()
    moved, until = 0, time.monotonic() + GO_ON_SECONDS
    while time.monotonic() < until:
        with telling_stock():
            works = load(_freed(interception_id))
            if works:
                for work in works:
                    work.reason = "拦截已解除"
                take(works, actor=GATEKEEPER, now=now)
        moved += sum(1 for work in works if work.passed)
        if not works:
            _tell_freed(interception_id, now=now)
            break
    return moved


def _freed(interception_id: int) -> list[int]:
    """Orders this interception kept from being cleared or routed, and nothing keeps now."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT o.id FROM orders_orderhold h JOIN orders_salesorder o ON o.id = h.order_id "
            "WHERE h.interception_id = %s AND h.released_at IS NOT NULL AND (o.status = 'reserved' "
            "OR o.status = 'cleared' AND o.paid_at IS NOT NULL) "
            "AND NOT EXISTS (SELECT 1 FROM orders_orderhold x WHERE x.order_id = o.id "
            "AND x.released_at IS NULL) "
            "ORDER BY o.priority DESC, o.promised_at NULLS LAST, o.placed_at, o.id LIMIT %s",
            [interception_id, GO_ON],
        )
        return [pk for (pk,) in cursor.fetchall()]


@transaction.atomic
def _tell_freed(interception_id: int, *, now: datetime) -> None:
    row = Interception.objects.select_for_update(no_key=True).get(pk=interception_id)
    if row.freed_at is not None or _held(row.pk):
        return
    row.freed_at = clock_now()
    row.save(update_fields=["freed_at"])
    dropped = stops.drop_call_backs(row.pk, now=now)
    StageTask.objects.filter(
        stage=Stage.AFTER_SALES, state=StageTask.State.OPEN, note__startswith=_mark(row.pk)
    ).update(state=StageTask.State.WITHDRAWN, done_at=now, done_by=GATEKEEPER.name)
    count, digest = _digest(row.pk, "released_at IS NOT NULL")
    record(
        Action.HOLD_RELEASED, object_type=OBJECT, object_id=row.pk, actor=GATEKEEPER,
        change={"orders": count, "sha256": digest, "not_called_back": dropped},
        reason=row.end_reason,
    )  # fmt: skip
    notices.tell(
        key=f"intercept:{row.pk}:freed",
        urgency="2",
        title=f"拦截解除：{row.words}",
        lines=[f"共 {count} 单恢复", f"原因：{row.end_reason}"],
        now=now,
    )
    announce("orders", interception=row.pk)


# --- what a killed one left -----------------------------------------------------------------


def sweep(*, now: datetime | None = None) -> str:
    """Finish what is begun: holds that are missing, holds to be lifted, orders to be taken on."""
    now = now or clock_now()
    held = lifted = moved = 0
    running = Interception.objects.filter(
        state=State.ACTIVE, held_at=None, started_at__lte=now - OWN_TIME
    )
    for pk in list(running.order_by("pk").values_list("pk", flat=True)):
        held += hold_all(pk, now=now)
    over = Interception.objects.filter(state__in=[State.LIFTED, State.EXPIRED], freed_at=None)
    for pk in list(over.order_by("pk").values_list("pk", flat=True)):
        lifted += release_all(pk, now=now)
        moved += go_on(pk, now=now)
    return f"{held} orders held, {lifted} holds lifted, {moved} orders go on"
