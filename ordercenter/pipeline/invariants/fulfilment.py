"""Holds, releases, labels and parcels, joined by the order's own versions, never by clocks."""

import json
from collections.abc import Iterator
from datetime import timedelta
from itertools import pairwise
from typing import Final

from django.utils.translation import gettext_lazy as _

from ordercenter.core.policy import ALLOWED, Can, Role
from ordercenter.orders.states import NEXT, SELF_CLEARING
from ordercenter.pipeline import telling
from ordercenter.pipeline.invariants.shape import Invariant, Look, Row

PATIENCE: Final = timedelta(minutes=10)

HELD_THEN: Final = (
    "h.opened_version <= {version} AND (h.closed_version IS NULL OR h.closed_version > {version})"
)

R1: Final = f"""
    SELECT '挂起期间取得了面单' AS why, 'order' AS kind, o.id,
           jsonb_build_object('number', o.number, 'waybill', w.number, 'hold', h.id,
                              'version', w.order_version, 'opened', h.opened_version,
                              'closed', h.closed_version) AS facts
    FROM fulfillment_waybill w
    JOIN fulfillment_parcel p ON p.id = w.parcel_id
    JOIN orders_salesorder o ON o.id = p.order_id
    JOIN orders_orderhold h ON h.order_id = o.id
    WHERE {HELD_THEN.format(version="w.order_version")}
    UNION ALL
    SELECT '挂起期间发出了包裹', 'order', o.id,
           jsonb_build_object('number', o.number, 'parcel', p.number, 'hold', h.id,
                              'version', p.shipped_version, 'opened', h.opened_version,
                              'closed', h.closed_version)
    FROM fulfillment_parcel p
    JOIN orders_salesorder o ON o.id = p.order_id
    JOIN orders_orderhold h ON h.order_id = o.id
    WHERE {HELD_THEN.format(version="p.shipped_version")}
    UNION ALL
    SELECT '有效面单没有记下订单版本', 'waybill', w.id, jsonb_build_object('waybill', w.number)
    FROM fulfillment_waybill w WHERE w.state = 'live' AND w.order_version IS NULL
    UNION ALL
    SELECT '已发出的包裹没有记下订单版本', 'parcel', p.id, jsonb_build_object('parcel', p.number)
    FROM fulfillment_parcel p
    WHERE (p.shipped_at IS NOT NULL OR p.state IN ('shipped', 'signed'))
      AND p.shipped_version IS NULL
"""  # noqa: S608 - own constant text

# Holds that end by a fact are not released; a hold may also end with its order, and a missing
# receiver or a buyer's wish for another one by the platform's own word, what had an end at that
# end, and what was wrong with the money by the money, or by the other order it was paid with.
# Every other release has a person behind it, of the role or lent its right.
R2: Final = """
    SELECT CASE WHEN r.actor_kind IS DISTINCT FROM 'person' THEN '解除挂起的不是人'
                WHEN h.asked_by = h.released_by THEN '申请人与批准人是同一人'
                WHEN h.tier = '3' AND h.asked_by = '' THEN '三级冻结未经申请就解除'
                ELSE '解除人的角色无权解除该级挂起' END AS why,
           'order' AS kind, h.order_id AS id,
           jsonb_build_object('hold', h.id, 'hold_kind', h.kind, 'tier', h.tier,
                              'released_by', h.released_by, 'role', r.actor_role,
                              'asked_by', h.asked_by) AS facts
    FROM orders_orderhold h LEFT JOIN audit_auditrecord r
      ON r.object_type = 'order' AND r.object_id = h.order_id AND r.version = h.closed_version
    WHERE h.released_at IS NOT NULL AND NOT h.kind = ANY(%(by_fact)s)
      AND (r.change -> 'status' ->> -1) IS DISTINCT FROM 'canceled'
      AND NOT (r.action = 'order_canceled' AND r.change -> 'status' ->> -1 = 'routed')
      AND NOT (h.kind = 'incomplete' AND h.code = 'receiver'
               AND r.actor_kind IS DISTINCT FROM 'person')
      AND NOT (h.kind = 'address_change' AND starts_with(h.code, 'asked')
               AND r.actor_kind IS DISTINCT FROM 'person')
      AND NOT (h.kind = 'payment' AND h.code IN ('amount', 'underpaid', 'deposit')
               AND r.actor_kind IN ('job', 'platform'))
      AND NOT (h.kind = 'payment' AND h.code IN ('amount', 'deposit', 'balance')
               AND r.action = 'orders_paired')
      AND NOT (r.action = 'hold_expired' AND r.actor_kind = 'job' AND h.tier < '3'
               AND h.expires_at <= h.released_at)
      AND NOT (h.tier = '3' AND h.asked_by <> '' AND h.asked_by <> h.released_by
               AND r.actor_kind = 'person' AND EXISTS (
                   SELECT 1 FROM orders_delegation d
                   WHERE h.released_by = left('person:' || d.taker_id, 64)
                     AND d.starts_at <= h.released_at AND d.ends_at > h.released_at
                     AND (d.revoked_at IS NULL OR d.revoked_at > h.released_at)))
      AND (r.actor_kind IS DISTINCT FROM 'person'
           OR h.released_by <> left('person:' || r.actor_id, 64)
           OR h.asked_by = h.released_by
           OR h.tier = '3' AND h.asked_by = ''
           OR NOT string_to_array(r.actor_role, ',') && CASE
                WHEN h.tier = '3' THEN %(freeze)s::text[]
                WHEN h.kind = 'payment' THEN %(payment)s::text[]
                WHEN h.kind = 'incomplete' THEN %(incomplete)s::text[]
                WHEN h.kind = 'address_change' AND starts_with(h.code, 'asked')
                    THEN %(incomplete)s::text[]
                ELSE %(review)s::text[] END)
"""

# An interception does not rewrite its orders: its holds count, and end, from the version that
# comes next.
R3: Final = """
    SELECT '挂起记录不完整' AS why, 'hold' AS kind, h.id,
           jsonb_build_object('order', h.order_id, 'code', h.code, 'opened', h.opened_version,
                              'closed', h.closed_version, 'version', o.version) AS facts
    FROM orders_orderhold h JOIN orders_salesorder o ON o.id = h.order_id
    WHERE (h.released_at IS NULL) <> (h.closed_version IS NULL)
       OR (h.released_at IS NULL) <> (h.released_by = '')
       OR h.opened_version < 1 OR h.opened_version > o.version + CASE
              WHEN h.interception_id IS NULL THEN 0 ELSE 1 END
       OR h.closed_version < h.opened_version + CASE
              WHEN h.interception_id IS NULL THEN 1 ELSE 0 END
       OR h.closed_version > o.version + CASE WHEN h.interception_id IS NULL THEN 0 ELSE 1 END
    UNION ALL
    SELECT '同一原因重复挂起', 'order', h.order_id,
           jsonb_build_object('hold_kind', h.kind, 'code', h.code, 'count', count(*))
    FROM orders_orderhold h WHERE h.released_at IS NULL
    GROUP BY h.order_id, h.kind, h.code HAVING count(*) > 1
    UNION ALL
    SELECT '已取消的订单仍有挂起', 'order', h.order_id,
           jsonb_build_object('number', o.number, 'hold', h.id, 'code', h.code)
    FROM orders_orderhold h JOIN orders_salesorder o ON o.id = h.order_id
    WHERE h.released_at IS NULL AND o.status = 'canceled'
"""

R5: Final = """
    SELECT '一个包裹有多张有效面单' AS why, 'parcel' AS kind, w.parcel_id AS id,
           jsonb_build_object('numbers', array_agg(w.number), 'count', count(*)) AS facts
    FROM fulfillment_waybill w WHERE w.state IN ('intent', 'live')
    GROUP BY w.parcel_id HAVING count(*) > 1
    UNION ALL
    SELECT '同一快递单号出现两次', 'waybill', max(w.id),
           jsonb_build_object('carrier', w.carrier, 'number', w.number, 'count', count(*))
    FROM fulfillment_waybill w WHERE w.number <> ''
    GROUP BY w.carrier, w.number HAVING count(*) > 1
    UNION ALL
    SELECT '有效面单没有单号', 'waybill', w.id, jsonb_build_object('reference', w.client_reference)
    FROM fulfillment_waybill w WHERE w.state = 'live' AND w.number = ''
    UNION ALL
    SELECT '面单申请超过 10 分钟没有结果', 'waybill', w.id,
           jsonb_build_object('reference', w.client_reference, 'since', w.created_at,
                              'error', w.error)
    FROM fulfillment_waybill w
    WHERE w.state = 'intent' AND w.created_at < %(now)s - %(patience)s
    UNION ALL
    SELECT '作废的单号超过 10 分钟没有退还快递公司', 'waybill', w.id,
           jsonb_build_object('number', w.number, 'since', w.voided_at, 'error', w.error)
    FROM fulfillment_waybill w
    WHERE w.state = 'void' AND w.number <> '' AND w.void_done_at IS NULL
      AND w.voided_at < %(now)s - %(patience)s
"""

R6: Final = """
    WITH gone AS (
        SELECT o.id, o.number, min(r.version) AS version
        FROM orders_salesorder o JOIN audit_auditrecord r
          ON r.object_type = 'order' AND r.object_id = o.id
         AND r.change -> 'status' ->> -1 = 'canceled'
        WHERE o.status = 'canceled' GROUP BY o.id
    )
    SELECT '取消之后取得了面单或发出了包裹' AS why, 'order' AS kind, g.id,
           jsonb_build_object('number', g.number, 'parcel', p.number, 'canceled', g.version,
                              'label_version', w.order_version,
                              'shipped_version', p.shipped_version) AS facts
    FROM gone g JOIN fulfillment_parcel p ON p.order_id = g.id
    LEFT JOIN fulfillment_waybill w ON w.parcel_id = p.id
    WHERE w.order_version >= g.version OR p.shipped_version >= g.version
    UNION ALL
    SELECT '已取消的订单还有在途的包裹或有效面单', 'order', o.id,
           jsonb_build_object('number', o.number, 'parcel', p.number, 'state', p.state,
                              'label', w.state)
    FROM orders_salesorder o JOIN fulfillment_parcel p ON p.order_id = o.id
    LEFT JOIN fulfillment_waybill w ON w.parcel_id = p.id AND w.state IN ('intent', 'live')
    WHERE o.status = 'canceled' AND p.shipped_at IS NULL
      AND (p.state IN ('planned', 'picked', 'packed') OR w.id IS NOT NULL)
    UNION ALL
    SELECT '退款进行中，订单却没有退款挂起', 'order', o.id,
           jsonb_build_object('number', o.number, 'refund', f.refund_id, 'status', o.status)
    FROM fulfillment_refundrequest f JOIN orders_salesorder o ON o.id = f.order_id
    WHERE f.state = 'in_progress' AND f.intercept_shipping
      AND o.status IN ('received', 'mapped', 'reserved', 'cleared', 'routed')
      AND NOT EXISTS (SELECT 1 FROM orders_orderhold h WHERE h.order_id = o.id
                      AND h.kind = 'refund' AND h.released_at IS NULL)
    UNION ALL
    SELECT '发货后的退款没有售后任务，也没有拦截', 'order', o.id,
           jsonb_build_object('number', o.number, 'refund', f.refund_id, 'status', o.status)
    FROM fulfillment_refundrequest f JOIN orders_salesorder o ON o.id = f.order_id
    WHERE f.state = 'in_progress' AND o.status IN ('shipped', 'signed')
      AND f.created_at > (SELECT max(p.shipped_at) FROM fulfillment_parcel p
                          WHERE p.order_id = o.id)
      AND NOT EXISTS (SELECT 1 FROM fulfillment_stagetask t
                      WHERE t.order_id = o.id AND t.stage = 'after_sales')
      AND NOT EXISTS (SELECT 1 FROM fulfillment_parcelstop s JOIN fulfillment_parcel p
                      ON p.id = s.parcel_id WHERE p.order_id = o.id)
"""

JUDGED: Final = ["province", "city", "district", "receiver_sealed", "payable_amount"]
"""What the rules look at and a platform or a person may still change."""

R8: Final = """
    WITH judged AS (
        SELECT o.id, o.number, o.status, max(v.order_version) AS version
        FROM orders_salesorder o LEFT JOIN risk_verdict v ON v.order_id = o.id
        WHERE o.status IN ('cleared', 'routed', 'shipped', 'signed')
          AND (o.status IN ('shipped', 'signed') OR NOT EXISTS (
               SELECT 1 FROM orders_orderhold h
               WHERE h.order_id = o.id AND h.released_at IS NULL))
        GROUP BY o.id
    )
    SELECT '没有判定就放行' AS why, 'order' AS kind, j.id,
           jsonb_build_object('number', j.number, 'status', j.status) AS facts
    FROM judged j WHERE j.version IS NULL
    UNION ALL
    SELECT '收货信息或金额变更后没有重新判定', 'order', j.id,
           jsonb_build_object('number', j.number, 'judged', j.version, 'changed', max(r.version))
    FROM judged j JOIN audit_auditrecord r
      ON r.object_type = 'order' AND r.object_id = j.id AND r.version > j.version
     AND r.change ?| %(judged)s
    GROUP BY j.id, j.number, j.version
"""

R10: Final = """
    SELECT '发出的包裹没有发货回传' AS why, 'parcel' AS kind, p.id,
           jsonb_build_object('parcel', p.number, 'order', p.order_id) AS facts
    FROM fulfillment_parcel p JOIN orders_salesorder o ON o.id = p.order_id
    JOIN catalog_shop s ON s.id = o.shop_id AND s.channel <> 'file'
    WHERE p.shipped_at IS NOT NULL AND NOT EXISTS (
        SELECT 1 FROM channels_sync_outboundmessage m WHERE m.order_id = p.order_id
          AND m.kind = 'ship' AND starts_with(m.key, 'ship:' || p.number || ':'))
      -- Some platforms hear of all parcels of an order when the last one leaves.
      AND NOT (s.channel = ANY(%(at_the_end)s) AND (
        o.status NOT IN ('shipped', 'signed') OR EXISTS (
        SELECT 1 FROM channels_sync_outboundmessage m LEFT JOIN fulfillment_waybill w
          ON w.parcel_id = p.id AND w.state = 'live' AND w.number <> ''
        WHERE m.order_id = p.order_id AND m.kind = 'ship'
          AND (w.id IS NULL OR m.payload -> 'others' ? w.number))))
"""


def skipped_steps(look: Look) -> Iterator[Row]:
    """Records whose statuses are not a walk along the published graph.

    There are few different walks, so each is judged once.
    """
    look.cursor.execute(
        "SELECT DISTINCT coalesce(change ->> 'status', '') FROM audit_auditrecord "
        "WHERE object_type = 'order' AND version IS NOT NULL"
    )
    wrong = [text for (text,) in look.cursor.fetchall() if not _is_walk(text)]
    if wrong:
        yield from look.rows(
            "SELECT '状态变化不在流程图上' AS why, 'order' AS kind, object_id AS id, "
            "jsonb_build_object('version', version, 'status', change -> 'status') AS facts "
            "FROM audit_auditrecord WHERE object_type = 'order' AND version IS NOT NULL "
            "AND coalesce(change ->> 'status', '') = ANY(%(wrong)s)",
            wrong=wrong,
        )


def _is_walk(text: str) -> bool:
    try:
        walk = json.loads(text)
    except ValueError:
        return False
    if not isinstance(walk, list) or not walk:
        return False
    edges = {(None, "received")} | {
        (was.value, to.value) for was, follow in NEXT.items() for to in follow
    }
    known = {status.value for status in NEXT} | {None}
    return set(walk) <= known and all(edge in edges for edge in pairwise(walk))


def strange_bills(look: Look) -> Iterator[Row]:
    """Carriers' bills we know nothing of, and our live numbers no carrier knows."""
    if look.book is None:
        return
    look.cursor.execute(
        "SELECT w.id, w.client_reference, w.number, w.state, w.issued_at FROM fulfillment_waybill w"
    )
    ours = look.cursor.fetchall()
    references = {reference for _pk, reference, *_rest in ours}
    numbers = {number for _pk, _reference, number, *_rest in ours if number}
    waiting = {
        reference for _pk, reference, number, state, _at in ours if not number and state == "intent"
    }
    billed = {number for bill in look.book.waybills for number in bill.numbers}
    for bill in look.book.waybills:
        if bill.is_void or bill.reference in waiting or not bill.numbers:
            continue
        if bill.reference not in references or not set(bill.numbers) & numbers:
            yield {"why": "快递公司的账单我们没有", "kind": "waybill", "id": None,
                   "reference": bill.reference, "numbers": list(bill.numbers)}  # fmt: skip
    for pk, reference, number, state, issued_at in ours:
        if state == "live" and number not in billed and issued_at < look.book.read_at:
            yield {"why": "快递公司不认识的单号", "kind": "waybill", "id": pk,
                   "reference": reference, "number": number}  # fmt: skip


def _roles(*rights: Can) -> list[str]:
    return sorted({role.value for right in rights for role in ALLOWED[right]})


INVARIANTS: Final = (
    Invariant("R1", _("挂起的订单拿不到面单、发不出包裹（按订单版本比对）"), R1),
    Invariant(
        "R2",
        _("每次解除都有够级别的人：三级只有总经理，申请人不得批准自己"),
        R2,
        params={
            "by_fact": [kind.value for kind in SELF_CLEARING],
            "freeze": [Role.CEO.value],
            "payment": _roles(Can.RELEASE_PAYMENT),
            "review": _roles(Can.REVIEW),
            "incomplete": _roles(Can.REVIEW, Can.EDIT_RECEIVER),
        },
    ),
    Invariant("R3", _("挂起逐条计数：开立与解除记录完整，同一原因只挂一条，取消即无挂起"), R3),
    Invariant("R4", _("每次状态变化都是流程图上的一条边，不跳步"), also=skipped_steps),
    Invariant(
        "R5",
        _(
            "每个包裹一张有效面单，单号不重复，申请与作废 10 分钟内了结"
            "（加 --book 时与快递账本比对）"
        ),
        R5,
        also=strange_bills,
        params={"patience": PATIENCE},
    ),
    Invariant("R6", _("取消或退款之后不再出面单、不再发货；发货后的退款都有售后"), R6),
    Invariant(
        "R8",
        _("放行的订单都有判定，地址或金额变更后重新判定"),
        R8,
        params={"judged": JUDGED},
    ),
    Invariant(
        "R10",
        _("每个发出的包裹都有发货回传（整单回传的平台：最后一个包裹发出之后）"),
        R10,
        params={"at_the_end": sorted(telling.AT_THE_END)},
    ),
)
