"""Interceptions: what runs has stopped everything inside, and what is over stops nothing."""

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from django.utils.translation import gettext_lazy as _

from ordercenter.pipeline.interception.gates import OPEN_VALUES, where
from ordercenter.pipeline.invariants.shape import Invariant, Look, Row

PATIENCE: Final = timedelta(minutes=10)

R9: Final = """
    SELECT '已结束的拦截仍有挂起' AS why, 'order' AS kind, h.order_id AS id,
           jsonb_build_object('interception', i.id, 'hold', h.id) AS facts
    FROM orders_orderhold h JOIN orders_interception i ON i.id = h.interception_id
    WHERE h.released_at IS NULL AND i.freed_at IS NOT NULL
    UNION ALL
    SELECT '指令拦截的挂起与拦截对不上', 'order', h.order_id,
           jsonb_build_object('hold', h.id, 'hold_kind', h.kind, 'code', h.code,
                              'interception', h.interception_id)
    FROM orders_orderhold h
    WHERE (h.kind = 'intercept') <> (h.interception_id IS NOT NULL)
       OR h.interception_id IS NOT NULL AND h.code <> 'i' || h.interception_id
    UNION ALL
    SELECT '拦截到期 10 分钟仍未结束', 'interception', i.id,
           jsonb_build_object('words', i.words, 'ends_at', i.ends_at)
    FROM orders_interception i
    WHERE i.state = 'active' AND i.ends_at < %(now)s - %(patience)s
"""


def orders_let_through(look: Look) -> Iterator[Row]:
    """Open orders inside a running interception that carry none of its holds."""
    look.cursor.execute(
        "SELECT id, words, condition::text FROM orders_interception "
        "WHERE state = 'active' AND held_at IS NOT NULL ORDER BY id"
    )
    for pk, words, condition in look.cursor.fetchall():
        sql, params = where(json.loads(condition))
        look.cursor.execute(
            "SELECT o.id, o.number, o.status FROM orders_salesorder o "  # noqa: S608 - own text
            f"WHERE o.status = ANY(%s) AND ({sql}) AND NOT EXISTS (SELECT 1 "
            "FROM orders_orderhold h WHERE h.interception_id = %s AND h.order_id = o.id "
            "AND h.released_at IS NULL) ORDER BY o.id LIMIT %s",
            [OPEN_VALUES, *params, pk, look.limit],
        )
        for order, number, status in look.cursor.fetchall():
            yield {"why": "拦截范围内的订单没有挂起", "kind": "order", "id": order,
                   "number": number, "status": status, "interception": words}  # fmt: skip


INVARIANTS: Final = (
    Invariant(
        "R9",
        _("拦截生效后范围内的订单全部挂起，结束后不留挂起，到期即结束"),
        R9,
        also=orders_let_through,
        params={"patience": PATIENCE},
    ),
)
