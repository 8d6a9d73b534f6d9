"""Orders that wait for stock: tried again in their turn, promised what is announced, remembered.

Their turn: the higher priority, then whose first money (a deposit counts) came earlier, then
the older order; ``Work.rank``. An order is tried only where one place has all it wants, so that
one that cannot be filled never takes the turn of those that can.
"""

from collections.abc import Collection
from datetime import datetime
from typing import Final

from django.db import connection

from fulfillment import services as fulfillment
from fulfillment.models import Stage
from inventory.models import StockSlice
from ordercenter.core.actor import PIPELINE
from ordercenter.core.clock import now as clock_now
from ordercenter.notices import services as notices
from ordercenter.pipeline.path import take
from ordercenter.pipeline.publishing import telling_stock
from ordercenter.pipeline.work import load

BATCH: Final = 200
MOST_BATCHES: Final = 10

# Every step narrows: orders that wait and have money in, or a part of which does, what they want,
# where there is some of it, where there is all of it. With ``claws`` what is locked for others
# counts for the paid.
_FITTING: Final = """
    WITH place AS MATERIALIZED (
        SELECT l.virtual_warehouse_id AS vw, l.sku_id, l.id AS level,
               l.on_hand - l.reserved - l.locked AS free, l.locked
        FROM inventory_stocklevel l
        JOIN inventory_virtualwarehouse v ON v.id = l.virtual_warehouse_id
        JOIN inventory_warehouse w ON w.id = v.warehouse_id AND w.is_active
        WHERE l.on_hand > l.reserved
    ), short AS (
        SELECT o.id, o.shop_id, o.priority, o.paid_at IS NOT NULL AS is_paid,
               coalesce(o.deposit_paid_at, o.paid_at, o.placed_at) AS since, '' AS leaves
        FROM orders_orderhold h
        JOIN orders_salesorder o ON o.id = h.order_id AND o.status = 'mapped'
        WHERE h.kind = 'shortage' AND h.code <> 'deposit' AND h.released_at IS NULL
          AND (o.paid_at IS NOT NULL OR o.channel_status = 'deposit_paid'
            OR o.balance_of_id IS NOT NULL)
          AND EXISTS (SELECT 1 FROM place)
        UNION ALL
        SELECT o.id, o.shop_id, o.priority, o.paid_at IS NOT NULL,
               coalesce(o.deposit_paid_at, o.paid_at, o.placed_at), 'later'
        FROM (SELECT DISTINCT order_id FROM orders_orderline
              WHERE leaves = 'later' AND NOT is_dropped) r
        JOIN orders_salesorder o ON o.id = r.order_id
            AND o.status IN ('reserved', 'cleared', 'routed')
        WHERE EXISTS (SELECT 1 FROM place)
    ), wanted AS (
        SELECT s.id, s.shop_id, s.is_paid, l.sku_id, sum(l.quantity) AS units,
               count(*) OVER (PARTITION BY s.id) AS kinds
        FROM short s JOIN orders_orderline l
            ON l.order_id = s.id AND l.sku_id IS NOT NULL AND NOT l.is_dropped
            AND l.leaves = s.leaves
        GROUP BY s.id, s.shop_id, s.is_paid, l.sku_id
    ), had AS (
        SELECT w.id, w.shop_id, w.kinds, w.sku_id, p.vw
        FROM wanted w JOIN place p ON p.sku_id = w.sku_id
        LEFT JOIN inventory_stockslice mine
            ON mine.level_id = p.level AND mine.shop_id = w.shop_id AND mine.is_active
        WHERE p.free + CASE WHEN %(claws)s AND w.is_paid THEN p.locked
                            ELSE coalesce(mine.unsold, 0) END >= w.units
          AND (NOT EXISTS (SELECT 1 FROM inventory_virtualwarehouse_shops x
                           WHERE x.virtualwarehouse_id = p.vw)
            OR EXISTS (SELECT 1 FROM inventory_virtualwarehouse_shops x
                       WHERE x.virtualwarehouse_id = p.vw AND x.shop_id = w.shop_id))
    ), fitting AS (
        SELECT id FROM had GROUP BY id, kinds, vw HAVING count(*) = kinds
        UNION
        -- What may be divided is tried where each of its goods lies somewhere whole.
        SELECT h.id FROM had h JOIN catalog_shop s ON s.id = h.shop_id AND s.most_parcels > 1
        WHERE NOT %(claws)s GROUP BY h.id, h.kinds HAVING count(DISTINCT h.sku_id) = h.kinds
    )
    SELECT s.id FROM short s JOIN fitting f ON f.id = s.id
    WHERE s.id <> ALL(%(tried)s) AND NOT EXISTS (
        SELECT 1 FROM orders_orderhold h WHERE h.order_id = s.id AND h.kind = 'channel'
        AND h.code = 'shipped_elsewhere' AND h.released_at IS NULL)
    ORDER BY s.priority DESC, s.since, s.id LIMIT %(limit)s
"""

# Orders that may be promised what is to come, once something they lack is announced that
# nobody has been promised.
_PROMISABLE: Final = """
    SELECT o.id FROM orders_orderhold h
    JOIN orders_salesorder o ON o.id = h.order_id AND o.status = 'mapped' AND NOT o.is_test
    JOIN catalog_shop s ON s.id = o.shop_id AND (o.is_presale OR s.sells_ahead)
    WHERE h.kind = 'shortage' AND h.code = 'shortage' AND h.released_at IS NULL
      AND (o.paid_at IS NOT NULL OR o.channel_status = 'deposit_paid'
            OR o.balance_of_id IS NOT NULL)
      AND EXISTS (
        SELECT 1 FROM orders_orderline l
        JOIN inventory_inboundline c ON c.sku_id = l.sku_id
            AND c.expected - c.received - c.defect - c.promised >= l.quantity
        JOIN inventory_inbound i ON i.id = c.inbound_id AND i.state IN ('expected', 'partly')
        WHERE l.order_id = o.id AND NOT l.is_dropped)
      AND o.id <> ALL(%s)
    ORDER BY o.priority DESC, coalesce(o.deposit_paid_at, o.paid_at, o.placed_at), o.id LIMIT %s
"""

# Waiting for so many days without a date that still holds, and nobody was told of it lately.
_FORGOTTEN: Final = """
    SELECT DISTINCT o.id, o.number, o.priority, s.shortage_days
    FROM (SELECT order_id FROM orders_orderhold
          WHERE kind = 'shortage' AND code <> 'deposit' AND released_at IS NULL
          UNION SELECT order_id FROM orders_orderline WHERE leaves = 'later' AND NOT is_dropped) w
    JOIN orders_salesorder o ON o.id = w.order_id
        AND o.status IN ('mapped', 'reserved', 'cleared', 'routed')
    JOIN catalog_shop s ON s.id = o.shop_id
    WHERE coalesce(o.deposit_paid_at, o.paid_at) <= %(now)s - s.shortage_days * interval '1 day'
      AND (o.promised_at IS NULL OR o.promised_at <= %(now)s)
      AND NOT EXISTS (
        SELECT 1 FROM fulfillment_stagetask t WHERE t.order_id = o.id AND t.stage = 'after_sales'
        AND (t.state = 'open' OR t.opened_at > %(now)s - s.shortage_days * interval '1 day'))
    ORDER BY o.id LIMIT %(limit)s
"""


def work_shortages(*, now: datetime | None = None) -> str:
    """Try short orders again, in their turn, where one place has all that they want.

    First from what is free and the shop's own; then one batch of those that only another
    shop's locked units could fill.
    """
    now = now or clock_now()
    tried: list[int] = []
    moved = 0
    for _ in range(MOST_BATCHES):
        found, went = _try_batch(tried, claws=False, now=now)
        tried, moved = tried + found, moved + went
        if len(found) < BATCH:
            break
    if StockSlice.objects.filter(is_active=True, unsold__gt=0).exists():
        found, went = _try_batch(tried, claws=True, now=now)
        tried, moved = tried + found, moved + went
    return f"{moved} of {len(tried)} shortages go on"


def _try_batch(tried: Collection[int], *, claws: bool, now: datetime) -> tuple[list[int], int]:
    """(orders tried, how many moved) of the next that fit and were not tried before."""
    with telling_stock():
        with connection.cursor() as cursor:
            cursor.execute(_FITTING, {"claws": claws, "tried": list(tried), "limit": BATCH})
            found = [row[0] for row in cursor.fetchall()]
        return found, _along(found, now=now)


def _along(order_ids: Collection[int], *, now: datetime) -> int:
    """Take these orders along the path in their turn; return how many moved."""
    if not order_ids:
        return 0
    works = sorted(load(order_ids), key=lambda work: work.rank)
    for work in works:
        work.fills_rest = bool(work.rest)
    take(works, actor=PIPELINE, now=now)
    return sum(1 for work in works if work.passed)


def promise_waiting(*, now: datetime | None = None) -> str:
    """Promise short presale orders what has been announced since they came, in their turn."""
    now = now or clock_now()
    tried: list[int] = []
    promised = 0
    for _ in range(MOST_BATCHES):
        with telling_stock():
            with connection.cursor() as cursor:
                cursor.execute(_PROMISABLE, [tried, BATCH])
                found = [row[0] for row in cursor.fetchall()]
            if not found:
                break
            works = sorted(load(found), key=lambda work: work.rank)
            take(works, actor=PIPELINE, now=now)
            promised += sum(1 for work in works if work.opening)
        tried += found
    return f"{promised} of {len(tried)} waiting orders are promised what is to come"


def remind_shortages(*, now: datetime | None = None) -> str:
    """Have customer service talk to buyers who have waited too long; nothing is canceled.

    After the shop's ``shortage_days``, and again after as many more, unless a date holds.
    """
    now = now or clock_now()
    with telling_stock():
        with connection.cursor() as cursor:
            cursor.execute(_FORGOTTEN, {"now": now, "limit": BATCH})
            rows = cursor.fetchall()
        opened = fulfillment.open_tasks(
            [
                fulfillment.TaskRequest(
                    pk, Stage.AFTER_SALES,
                    f"缺货已超过 {days} 天，请联系买家：继续等待、换货，或退款", priority,
                )
                for pk, _, priority, days in rows
            ],
            now=now,
        )  # fmt: skip
        if opened:
            notices.tell(
                key=f"shortage:{now:%Y%m%d%H}",
                urgency="2",
                title=f"缺货超期 {opened} 单，请联系买家",
                lines=[number for _, number, _, _ in rows[:10]],
                now=now,
            )
    return f"{opened} buyers are to be told of a shortage"
