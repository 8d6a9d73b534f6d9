"""What has to happen by itself: promises that run out, shortages that end, clocks that do.

Each job finds its own work, may run twice or on two workers at once, and returns one line
saying what it did.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from django.db import connection, transaction
from django.db.models import F, Q

from fulfillment.models import StageTask
from inventory import buffers
from inventory import services as inventory
from ordercenter.audit.chain import link_pending
from ordercenter.audit.models import Action
from ordercenter.core.actor import PIPELINE
from ordercenter.core.clock import now as clock_now
from ordercenter.core.live import announce
from ordercenter.notices import alarms
from ordercenter.notices import services as notices
from ordercenter.orders.models import OrderHold
from ordercenter.orders.states import OPEN, HoldKind, OrderStatus
from ordercenter.pipeline import unmapped, updates
from ordercenter.pipeline.path import take
from ordercenter.pipeline.publishing import telling_stock
from ordercenter.pipeline.work import load, write

BATCH: Final = 200
MOST_ESCALATIONS: Final = 4


def expire_reservations(*, now: datetime | None = None) -> str:
    """Give back stock promised to buyers who did not pay in time.

    Payment and expiry meet at the order row: who comes second sees what the first did.
    """
    now = now or clock_now()
    with telling_stock():
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT DISTINCT order_id FROM inventory_reservation "
                "WHERE state = 'active' AND expires_at <= %s LIMIT %s",
                [now, BATCH],
            )
            due = [row[0] for row in cursor.fetchall()]
        works = [work for work in load(due) if not work.has_money]
        if not works:
            return "no promise has run out"
        ids = [work.id for work in works]
        for work in works:
            work.action, work.reason = Action.ORDER_MOVED, "未付款，占用到期释放"
            if work.status in {OrderStatus.RESERVED, OrderStatus.CLEARED}:
                work.move(OrderStatus.MAPPED)
            work.row_changed = True
        inventory.release(ids, reason="expired", actor=PIPELINE, now=now)
        for work in works:
            work.source_ids = ()
        write(works, actor=PIPELINE, now=now)
        announce("orders", expired=len(works))
    return f"{len(works)} promises ran out"


def work_unmapped(*, now: datetime | None = None) -> str:
    """Try held orders again all of whose codes have got a listing since.

    One that still waits for another code is left alone: tried for ever, it would take the place
    of those that can go on.
    """
    with telling_stock():
        return _again(unmapped.ready(limit=BATCH), now=now, what="unmapped orders")


def look_again(*, now: datetime | None = None) -> str:
    """Judge orders again that a younger order was found together with.

    Of two orders of one buyer the first was alone when it was judged; both are to be looked
    at, as if they had come in one batch.
    """
    now = now or clock_now()
    with telling_stock():
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT DISTINCT p.id FROM orders_orderhold h "
                "CROSS JOIN LATERAL jsonb_array_elements_text(h.evidence -> 'orders') AS e(pk) "
                "JOIN orders_salesorder p ON p.id = e.pk::bigint AND p.status = ANY(%s) "
                "WHERE h.kind = 'rule' AND h.released_at IS NULL AND h.opened_at >= %s "
                "AND NOT EXISTS (SELECT 1 FROM orders_orderhold x WHERE x.order_id = p.id "
                "AND x.kind = 'rule' AND x.code = h.code) "
                "AND NOT EXISTS (SELECT 1 FROM risk_verdict v WHERE v.order_id = p.id "
                "AND v.created_at >= h.opened_at) LIMIT %s",
                [[status.value for status in OPEN - {OrderStatus.RECEIVED}],
                 now - timedelta(hours=1), BATCH],
            )  # fmt: skip
            found = [row[0] for row in cursor.fetchall()]
        works = load(found)
        for work in works:
            work.must_judge, work.reason = True, "与后来的订单一并复核"
        take(works, actor=PIPELINE, now=now)
        updates.follow_up([w for w in works if w.touched], actor=PIPELINE, now=now)
        held = sum(1 for work in works if work.opening)
    return f"{held} of {len(works)} earlier orders are held, too"


def compute_buffers(*, now: datetime | None = None) -> str:
    """Bring the safety stock up to date, and the figures of what it changed."""
    with telling_stock():
        return f"{buffers.compute_buffers(now=now)} safety stocks changed"


def tie_refunds(*, now: datetime | None = None) -> str:
    """Act on refunds that were taken in beside their orders and missed them."""
    return (
        f"{updates.tie_refunds(actor=PIPELINE, now=now or clock_now())} refunds found their order"
    )


def _again(order_ids: Sequence[int], *, now: datetime | None, what: str) -> str:
    """Take these orders along the path once more, in this order."""
    works = load(order_ids)
    first = {pk: n for n, pk in enumerate(order_ids)}
    works.sort(key=lambda work: first[work.id])
    take(works, actor=PIPELINE, now=now or clock_now())
    moved = sum(1 for work in works if work.passed)
    return f"{moved} of {len(works)} {what} go on"


def escalate(*, now: datetime | None = None) -> str:
    """Tell people about overdue tasks, louder each time the clock runs out again."""
    now = now or clock_now()
    with transaction.atomic():
        late = list(
            StageTask.objects.filter(
                state=StageTask.State.OPEN,
                escalation__lt=MOST_ESCALATIONS,
                due_at__lte=now,
            )
            .select_related("order")
            .select_for_update(skip_locked=True, of=("self",))
            .order_by("due_at")[:BATCH]
        )
        due = [t for t in late if now >= t.due_at + (t.due_at - t.opened_at) * t.escalation]
        if not due:
            return "nothing is newly overdue"
        StageTask.objects.filter(pk__in=[t.pk for t in due]).update(escalation=F("escalation") + 1)
        for stage in sorted({t.stage for t in due}):
            tasks = [t for t in due if t.stage == stage]
            worst = max(t.escalation + 1 for t in tasks)
            notices.tell(
                key=f"overdue:{stage}:{now:%Y%m%d%H%M}",
                urgency="2" if worst == 1 else "3",
                title=f"{tasks[0].get_stage_display()}超时 {len(tasks)} 单",
                lines=[t.order.number for t in tasks[:10]],
                now=now,
            )
        announce("orders", overdue=len(due))
    return f"{len(due)} tasks are newly overdue"


def tell_alarms(*, now: datetime | None = None) -> str:
    """End the alarms whose time is over, and tell how many orders have come to be looked at.

    A freeze has an alarm of its own (``alarming``); the others are one digest every five minutes.
    """
    now = now or clock_now()
    over = alarms.close_due(now=now)
    told = 0
    minute = now.replace(second=0, microsecond=0)
    flagged = OrderHold.objects.filter(
        ~Q(kind=HoldKind.INTERCEPT),
        tier="2", opened_at__gte=minute - timedelta(minutes=5), opened_at__lt=minute,
    ).count()  # fmt: skip
    if flagged and minute.minute % 5 == 0:
        told += notices.tell(
            key=f"flagged:{minute:%Y%m%d%H%M}",
            urgency="2",
            title=f"5 分钟内新增待审核 {flagged} 单",
            lines=[],
            now=now,
        )
    return f"{over}, {told} digests queued"


def link_audit() -> str:
    """Hang new audit records onto the chain."""
    total = 0
    while linked := link_pending():
        total += linked
    return f"{total} records linked"
