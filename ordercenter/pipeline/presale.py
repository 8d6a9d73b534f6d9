"""Presale: goods that come turn promises into stock; arrivals that change move the promises.

Who is served first: the higher priority, then whose first money (a deposit counts) came
earlier, then the older order. Orders that were promised go before all others; what they leave
is tried for the rest by ``shortages.work_shortages``, in the same order.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from django.db import connection

from inventory.models import StockLevel
from ordercenter.core.actor import PIPELINE, Actor
from ordercenter.core.clock import now as clock_now
from ordercenter.core.live import announce
from ordercenter.orders.models import OrderLine, SalesOrder
from ordercenter.pipeline.interception import gates
from ordercenter.pipeline.path import take
from ordercenter.pipeline.promises import OVERDUE, WAITS
from ordercenter.pipeline.publishing import telling_stock
from ordercenter.pipeline.work import load
from risk import services as risk

BATCH: Final = 200

# Promises whose arrival is over or full, has another date than the order was told, or is overdue.
# What this finds is put right by planning anew, so that it is not found again.
_MOVED: Final = """
    SELECT p.order_id FROM inventory_presalepromise p
    JOIN inventory_inboundline l ON l.id = p.inbound_line_id
    JOIN inventory_inbound i ON i.id = l.inbound_id
    JOIN orders_salesorder o ON o.id = p.order_id
    JOIN catalog_shop s ON s.id = o.shop_id
    WHERE p.state = 'active'
    GROUP BY p.order_id, o.promised_at
    HAVING bool_or(i.state NOT IN ('expected', 'partly')
                   OR l.promised > l.expected - l.received - l.defect)
        OR o.promised_at IS DISTINCT FROM CASE
            WHEN min(i.expected_at) < %s THEN NULL
            ELSE max(i.expected_at + s.handling_hours * interval '1 hour') END
    ORDER BY p.order_id LIMIT %s
"""

# Lines on which more is promised than can still come.
_OVERFULL: Final = """
    SELECT l.id, l.promised - CASE WHEN i.state IN ('expected', 'partly')
        THEN greatest(l.expected - l.received - l.defect, 0) ELSE 0 END AS too_many
    FROM inventory_inboundline l JOIN inventory_inbound i ON i.id = l.inbound_id
    WHERE l.promised > 0 AND i.virtual_warehouse_id = %s AND l.sku_id = ANY(%s)
    ORDER BY l.id FOR NO KEY UPDATE OF l
"""


@dataclass(frozen=True, slots=True)
class Met:
    """What an arrival came to for those who waited for it."""

    reserved: int
    """Orders that hold stock now."""
    moved: int
    """Orders whose promise went to a later arrival, or was lost."""


def queue_up(virtual_warehouse_id: int, sku_ids: Collection[int]) -> list[int]:
    """Lock who was promised these SKUs there, and the levels they are to be served from.

    To be called before the levels are touched: order rows and the queue to be judged come before
    stock levels, and levels go by primary key. Returns the orders, for ``meet``.
    """
    found = _promised(virtual_warehouse_id, sku_ids)
    if not found:
        return []
    gates.share()
    list(SalesOrder.objects.locked(found).values_list("pk", flat=True))
    risk.queue_up()
    wanted = set(sku_ids) | set(
        OrderLine.objects.filter(order_id__in=found, sku__isnull=False).values_list(
            "sku_id", flat=True
        )
    )
    levels = StockLevel.objects.filter(sku_id__in=wanted).values_list("pk", flat=True)
    StockLevel.objects.locked(list(levels))
    return found


def _promised(virtual_warehouse_id: int, sku_ids: Collection[int]) -> list[int]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT DISTINCT p.order_id FROM inventory_presalepromise p "
            "JOIN inventory_inboundline l ON l.id = p.inbound_line_id AND l.sku_id = ANY(%s) "
            "JOIN inventory_inbound i ON i.id = l.inbound_id AND i.virtual_warehouse_id = %s "
            "WHERE p.state = 'active'",
            [list(sku_ids), virtual_warehouse_id],
        )
        return [row[0] for row in cursor.fetchall()]


@telling_stock()
def meet(
    queued: Sequence[int],
    *,
    virtual_warehouse_id: int,
    sku_ids: Collection[int],
    actor: Actor,
    now: datetime | None = None,
) -> Met:
    """Give what has just been put on the shelf to those it was promised to, in their turn.

    In the transaction that received the goods, after the levels and the lines of the arrival
    were written: nobody else can take a unit in between. ``queued`` is what ``queue_up`` gave.
    Those the goods do not reach are promised the next arrival, or told that there is none.
    """
    now = now or clock_now()
    works = load([*queued, *_late(queued, virtual_warehouse_id, sku_ids)]) if queued else []
    if not works:
        return Met(0, 0)
    works.sort(key=lambda work: work.rank)
    for work in works:
        work.reason = "预售到货转现货"
    take(works, actor=actor, now=now)
    reserved = sum(1 for work in works if work.passed)
    losers = _overfull(virtual_warehouse_id, sku_ids, [work.id for work in works])
    return Met(reserved, plan_anew(losers, reason="到货不足", actor=actor, now=now))


def _late(queued: Sequence[int], virtual_warehouse_id: int, sku_ids: Collection[int]) -> list[int]:
    """Who was promised something between the queue and the lock on the levels.

    Whoever holds one of these rows waits for our levels, and whoever wants other goods as well
    would have us lock out of turn: they are passed over, and found by ``follow_arrivals``.
    """
    missed = set(_promised(virtual_warehouse_id, sku_ids)) - set(queued)
    if not missed:
        return []
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT o.id FROM orders_salesorder o WHERE o.id = ANY(%s) AND NOT EXISTS ("
            "SELECT 1 FROM orders_orderline l WHERE l.order_id = o.id AND l.sku_id <> ALL(%s)) "
            "ORDER BY o.id FOR NO KEY UPDATE OF o SKIP LOCKED",
            [list(missed), list(sku_ids)],
        )
        return [row[0] for row in cursor.fetchall()]


def _overfull(
    virtual_warehouse_id: int, sku_ids: Collection[int], among: Collection[int]
) -> list[int]:
    """Who (``among`` these) has to be planned anew where more is promised than can still come.

    The last in turn lose their place; whoever comes after the first of them is planned anew,
    too, so that nobody keeps a later arrival that one before him would need.
    """
    with connection.cursor() as cursor:
        cursor.execute(_OVERFULL, [virtual_warehouse_id, list(sku_ids)])
        too_many = {pk: n for pk, n in cursor.fetchall() if n > 0}
        if not too_many:
            return []
        cursor.execute(
            "SELECT p.order_id, p.inbound_line_id, p.quantity FROM inventory_presalepromise p "
            "JOIN orders_salesorder o ON o.id = p.order_id "
            "JOIN inventory_inboundline l ON l.id = p.inbound_line_id AND l.sku_id = ANY(%s) "
            "WHERE p.state = 'active' AND p.order_id = ANY(%s) "
            "ORDER BY o.priority DESC, coalesce(o.deposit_paid_at, o.paid_at, o.placed_at), o.id",
            [list(sku_ids), list(among)],
        )
        rows = cursor.fetchall()
    turn = list(dict.fromkeys(order_id for order_id, _, _ in rows))
    first = len(turn)
    for order_id, line, units in reversed(rows):
        if too_many.get(line, 0) > 0:
            too_many[line] -= units
            first = turn.index(order_id)
    return turn[first:]


@telling_stock()
def plan_anew(
    order_ids: Collection[int], *, reason: str, actor: Actor, now: datetime | None = None
) -> int:
    """Take these orders' promises back and give them the best that is to come; return how many.

    Stock that is there by now is taken at once. Whose date got worse is told to customer
    service; the earlier in turn chooses first.
    """
    now = now or clock_now()
    works = [work for work in load(order_ids) if WAITS in work.open_holds]
    if not works:
        return 0
    works.sort(key=lambda work: work.rank)
    for work in works:
        work.closing[WAITS] = reason
        work.reason = reason
    take(works, actor=actor, now=now)
    announce("orders", planned=len(works))
    return len(works)


def follow_arrivals(*, now: datetime | None = None) -> str:
    """Let promises follow their arrivals: put off, canceled, closed short, or overdue."""
    now = now or clock_now()
    with telling_stock():
        with connection.cursor() as cursor:
            cursor.execute(_MOVED, [now - OVERDUE, BATCH])
            moved = [row[0] for row in cursor.fetchall()]
        count = plan_anew(moved, reason="到货时间有变", actor=PIPELINE, now=now)
    return f"{count} promises follow their arrivals"
