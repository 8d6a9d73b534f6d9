"""What came in: nothing twice, nothing lost in silence, money exact to the fen."""

from collections.abc import Iterator
from datetime import timedelta
from hashlib import blake2b
from typing import Final

import psycopg
from django.utils.translation import gettext_lazy as _

from channels_sync.connectors import CONNECTORS
from ordercenter.pipeline.invariants.shape import Invariant, Look, Row

LAG: Final = timedelta(minutes=15)
CHUNK: Final = 2_000
PAID_ONLY: Final = frozenset({"jd", "pinduoduo"})
"""Platforms that show an order only once it is paid or confirmed (``channels.md`` 2b, 4b)."""

I1: Final = """
    SELECT '同一平台单号有多张订单' AS why, 'order' AS kind, max(o.id) AS id,
           jsonb_build_object('shop', min(s.code), 'channel_number', btrim(o.channel_number),
                              'count', count(*)) AS facts
    FROM orders_salesorder o JOIN catalog_shop s ON s.id = o.shop_id
    GROUP BY o.shop_id, btrim(o.channel_number) HAVING count(*) > 1
    UNION ALL
    SELECT '报文已处理却没有订单', 'inbox_message', m.id,
           jsonb_build_object('shop', m.shop_id, 'channel_number', m.channel_number)
    FROM channels_sync_inboxmessage m LEFT JOIN orders_salesorder o
      ON o.shop_id = m.shop_id AND o.channel_number = m.channel_number
    WHERE m.kind = 'order' AND m.state = 'done' AND m.channel_number <> '' AND o.id IS NULL
"""

# Silence is measured against the last sign of life of the whole line, not against the clock
# on the wall: a center that was switched off owes nobody a poll.
I3: Final = """
    WITH alive AS (
        SELECT greatest(
            (SELECT max(last_ok_at) FROM channels_sync_synccursor),
            (SELECT max(last_error_at) FROM channels_sync_synccursor),
            (SELECT max(received_at) FROM channels_sync_inboxmessage WHERE source <> 'file')) AS at
    )
    SELECT '店铺该轮询而 15 分钟没有轮询，也没有记录错误' AS why, 'shop' AS kind, s.id,
           jsonb_build_object('shop', s.code, 'due', c.next_due_at,
                              'last_ok_at', c.last_ok_at) AS facts
    FROM channels_sync_synccursor c JOIN catalog_shop s ON s.id = c.shop_id, alive
    WHERE s.is_active AND c.paused_at IS NULL AND c.mode <> 'manual'
      AND c.failures = 0 AND c.next_due_at < alive.at - %(lag)s
      AND coalesce(c.leased_until < alive.at, true)
    UNION ALL
    SELECT '最近一次轮询失败却没有记录在案', 'shop', s.id,
           jsonb_build_object('shop', s.code, 'last_error_at', c.last_error_at,
                              'last_ok_at', c.last_ok_at)
    FROM channels_sync_synccursor c JOIN catalog_shop s ON s.id = c.shop_id
    WHERE c.failures = 0 AND c.last_error_at > coalesce(c.last_ok_at, '-infinity')
"""

I4: Final = """
    SELECT '读取位置超前：该时刻的订单可能尚未稳定' AS why, 'shop' AS kind, s.id,
           jsonb_build_object('shop', s.code, 'feed', c.feed, 'position', c.position,
                              'settle_seconds', coalesce(k.seconds, 0)) AS facts
    FROM channels_sync_feedcursor c JOIN catalog_shop s ON s.id = c.shop_id
    LEFT JOIN unnest(%(channels)s::text[], %(feeds)s::text[], %(settles)s::int[])
      AS k(channel, feed, seconds) ON k.channel = s.channel AND k.feed = c.feed
    WHERE c.position > %(now)s - coalesce(k.seconds, 0) * interval '1 second'
    UNION ALL
    SELECT '读取位置与窗口日志不符', 'shop', c.shop_id,
           jsonb_build_object('feed', c.feed, 'position', c.position, 'logged', w.position)
    FROM channels_sync_feedcursor c JOIN LATERAL (
        SELECT position FROM channels_sync_syncwindow w
        WHERE w.shop_id = c.shop_id AND w.feed = c.feed ORDER BY w.id DESC LIMIT 1
    ) AS w ON true
    WHERE w.position <> c.position
    UNION ALL
    SELECT '读取位置后退，或跳过了没有读完的窗口', 'shop', w.shop_id,
           jsonb_build_object('feed', w.feed, 'window', w.id, 'was', w.was,
                              'position', w.position, 'start', w.start, 'end', w."end")
    FROM (SELECT *, lag(position) OVER (PARTITION BY shop_id, feed ORDER BY id) AS before
          FROM channels_sync_syncwindow) AS w
    WHERE w.reset_by = '' AND (w.position < w.was OR w.position > w."end"
       OR w.start > w.was - interval '60 seconds' OR w.before <> w.was)
"""

I6: Final = """
    SELECT '报文状态、次数与时间不一致' AS why, 'inbox_message' AS kind, m.id,
           jsonb_build_object('state', m.state, 'attempts', m.attempts, 'done_at', m.done_at,
                              'error', m.error) AS facts
    FROM channels_sync_inboxmessage m
    WHERE m.state NOT IN ('new', 'leased', 'done', 'dead') OR m.attempts < 0 OR m.attempts > 8
       OR m.state = 'done' AND m.done_at IS NULL
       OR m.state = 'dead' AND m.error = ''
       OR m.state IN ('new', 'leased') AND m.attempts >= 8
       OR m.state = 'leased' AND m.leased_until IS NULL
"""

I8: Final = """
    SELECT '应付金额不等于商品加运费，也没有核款挂起' AS why, 'order' AS kind, o.id,
           jsonb_build_object('number', o.number, 'payable', o.payable_amount,
                              'goods', coalesce(l.goods, 0), 'freight', o.freight) AS facts
    FROM orders_salesorder o LEFT JOIN (
        SELECT order_id, sum(amount) AS goods FROM orders_orderline
        WHERE bundle_line_id IS NULL GROUP BY order_id
    ) l ON l.order_id = o.id
    WHERE coalesce(l.goods, 0) + o.freight <> o.payable_amount AND o.status <> 'canceled'
      AND NOT EXISTS (SELECT 1 FROM orders_orderhold h
                      WHERE h.order_id = o.id AND h.kind = 'payment')
    UNION ALL
    SELECT '付款不足却没有核款挂起', 'order', o.id,
           jsonb_build_object('number', o.number, 'payable', o.payable_amount,
                              'paid', o.paid_amount)
    FROM orders_salesorder o
    WHERE o.paid_at IS NOT NULL AND o.paid_amount > 0 AND o.paid_amount < o.payable_amount
      AND o.status IN ('reserved', 'cleared', 'routed', 'shipped', 'signed')
      AND NOT EXISTS (SELECT 1 FROM orders_orderhold h
                      WHERE h.order_id = o.id AND h.kind = 'payment')
    UNION ALL
    SELECT '组合装分摊金额不等于原行金额', 'order', b.order_id,
           jsonb_build_object('line', b.line_no, 'amount', b.amount, 'shared', sum(p.amount))
    FROM orders_orderline b JOIN orders_orderline p ON p.bundle_line_id = b.id
        AND (b.is_dropped OR NOT p.is_dropped)
    GROUP BY b.id HAVING sum(p.amount) <> b.amount
    UNION ALL
    SELECT '金额为负', 'order', o.id,
           jsonb_build_object('number', o.number, 'payable', o.payable_amount,
                              'paid', o.paid_amount, 'freight', o.freight)
    FROM orders_salesorder o
    WHERE o.payable_amount < 0 OR o.paid_amount < 0 OR o.freight < 0
"""


def hasty_cursors(look: Look) -> list[Row]:
    """Cursors beyond what their platform calls settled."""
    feeds = [(channel, feed) for channel, made in CONNECTORS.items() for feed in made.feeds]
    return look.rows(
        I4,
        channels=[channel for channel, _ in feeds],
        feeds=[feed.code for _, feed in feeds],
        settles=[feed.settle_seconds for _, feed in feeds],
    )


def changed_bytes(look: Look) -> Iterator[Row]:
    """Messages whose bytes no longer give the digest they came with.

    A push that names its event is known by the event, not by its bytes
    (``channels_sync.services.digest``); the trigger alone guards those.
    """
    last = 0
    # A cursor of psycopg's own takes bytes as they lie there, not spelled out in hex.
    with psycopg.Cursor(look.cursor.db.connection) as cursor:
        while True:
            rows = cursor.execute(
                "SELECT id, kind, digest, body FROM channels_sync_inboxmessage "
                "WHERE id > %s AND event_id = '' ORDER BY id LIMIT %s",
                [last, CHUNK],
                binary=True,
            ).fetchall()
            for pk, kind, told, body in rows:
                if blake2b(kind.encode() + b"\0" + body, digest_size=16).digest() != told:
                    yield {"why": "报文原文被改动", "kind": "inbox_message", "id": pk}
                last = pk
            if len(rows) < CHUNK:
                return


def missing_orders(look: Look) -> Iterator[Row]:
    """Orders of closed windows that the platform's own book has and we have not."""
    if look.book is None:
        return
    look.cursor.execute(
        "SELECT s.id, s.code, s.channel, c.position FROM channels_sync_feedcursor c "
        "JOIN catalog_shop s ON s.id = c.shop_id WHERE c.feed = 'orders'"
    )
    for shop_id, code, channel, position in look.cursor.fetchall():
        closed = min(position, look.book.read_at - LAG)
        told = [
            order.number
            for order in look.book.orders_of(code)
            if order.modified_at <= closed and (order.is_paid or channel not in PAID_ONLY)
        ]
        look.cursor.execute(
            "SELECT number FROM unnest(%s::text[]) AS v(number) WHERE NOT EXISTS ("
            "SELECT 1 FROM orders_salesorder o WHERE o.shop_id = %s "
            "AND o.channel_number = v.number) AND NOT EXISTS ("
            "SELECT 1 FROM channels_sync_inboxmessage m WHERE m.shop_id = %s "
            "AND m.channel_number = v.number AND m.state <> 'done')",
            [told, shop_id, shop_id],
        )
        for (number,) in look.cursor.fetchall():
            yield {"why": "平台有而我们没有的订单", "kind": "shop", "id": shop_id,
                   "shop": code, "channel_number": number}  # fmt: skip


def differing_totals(look: Look) -> Iterator[Row]:
    """Orders whose total is not the platform's, as of the same version of the order."""
    if look.book is None:
        return
    for code in look.book.shops:
        told = {o.number: o for o in look.book.orders_of(code)}
        look.cursor.execute(
            "SELECT o.id, o.channel_number, o.payable_amount, o.channel_modified_at "
            "FROM orders_salesorder o JOIN catalog_shop s ON s.id = o.shop_id "
            "WHERE s.code = %s AND o.channel_number = ANY(%s)",
            [code, list(told)],
        )
        for pk, number, payable, modified_at in look.cursor.fetchall():
            theirs = told[number]
            if modified_at >= theirs.modified_at and payable != theirs.payable:
                yield {"why": "应付金额与平台账本不符", "kind": "order", "id": pk, "shop": code,
                       "channel_number": number, "payable": payable,
                       "platform": theirs.payable}  # fmt: skip


INVARIANTS: Final = (
    Invariant("I1", _("每个平台单号恰好一张订单：不重复，处理过的报文都有订单"), I1),
    Invariant(
        "I3",
        _("没有店铺被悄悄落下：该读的都在读，或有错误记录（加 --book 时与平台账本逐单比对）"),
        I3,
        also=missing_orders,
        params={"lag": LAG},
    ),
    Invariant(
        "I4",
        _("读取位置只进不退、不超过平台数据稳定的时刻，窗口首尾相叠至少 60 秒"),
        also=hasty_cursors,
    ),
    Invariant(
        "I6",
        _("每条报文恰在一种状态，至多 8 次，原文不变，隔离的都写明原因"),
        I6,
        also=changed_bytes,
    ),
    Invariant(
        "I8",
        _("金额分毫不差：应付 = 商品 + 运费，不符的都经过核款（加 --book 时与平台应付比对）"),
        I8,
        also=differing_totals,
    ),
)
