"""The stock: never oversold, always explained by its ledger, every promise ended once."""

from collections.abc import Sequence
from typing import Final

from django.utils.translation import gettext_lazy as _

from inventory.models import Account
from ordercenter.core.actor import ActorKind
from ordercenter.pipeline.invariants.shape import Invariant

COVERED: Final = """
    SELECT line_id, sum(quantity) FILTER (WHERE state = 'active') AS active,
           sum(quantity) FILTER (WHERE state = 'consumed') AS consumed,
           sum(quantity) AS held
    FROM inventory_reservation WHERE state IN ('active', 'consumed') GROUP BY line_id
"""

S1: Final = """
    SELECT '现有与占用不得为负，占用不得超过现有' AS why, 'stock_level' AS kind, l.id,
           jsonb_build_object('warehouse', v.code, 'sku', s.code, 'on_hand', l.on_hand,
                              'reserved', l.reserved) AS facts
    FROM inventory_stocklevel l
    JOIN inventory_virtualwarehouse v ON v.id = l.virtual_warehouse_id
    JOIN catalog_sku s ON s.id = l.sku_id
    WHERE l.on_hand < 0 OR l.reserved < 0 OR l.reserved > l.on_hand
"""

MOVED: Final = """
    SELECT level_id, source, target, sum(quantity) AS units
    FROM inventory_stockmovement GROUP BY level_id, source, target
"""
"""The ledger added up before it is looked at: a few rows a level."""

_TYPED: Final = {
    "on_hand": ("available", "reserved"), "reserved": ("reserved",), "inbound": ("inbound",),
    "in_transit": ("transit",), "defect": ("defect",),
}  # fmt: skip
"""Every figure of a level, and the accounts of the ledger it is the sum of."""


def _net(accounts: Sequence[str]) -> str:
    """What came into these accounts and did not leave them."""
    among = ", ".join(f"'{account}'" for account in accounts)
    return (
        f"sum(CASE WHEN target IN ({among}) THEN units ELSE 0 END "
        f"- CASE WHEN source IN ({among}) THEN units ELSE 0 END)"
    )


_BOOKED: Final = ", ".join(f"{_net(accounts)} AS {name}" for name, accounts in _TYPED.items())
_OFF: Final = " OR ".join(f"coalesce(b.{name}, 0) <> l.{name}" for name in _TYPED)
_BOTH: Final = ", ".join(
    f"'{name}', l.{name}, 'ledger_{name}', coalesce(b.{name}, 0)" for name in _TYPED
)
_ACCOUNTS: Final = ", ".join(f"'{account}'" for account in Account.values)

S2: Final = f"""
    WITH booked AS (SELECT level_id, {_BOOKED} FROM ({MOVED}) m GROUP BY level_id),
    papers AS (
        SELECT document,
               coalesce(sum(quantity) FILTER (WHERE target = 'between'), 0)
                 - coalesce(sum(quantity) FILTER (WHERE source = 'between'), 0) AS between,
               coalesce(sum(quantity) FILTER (WHERE target = 'transit'), 0)
                 - coalesce(sum(quantity) FILTER (WHERE source = 'transit'), 0) AS transit,
               coalesce(sum(quantity) FILTER (WHERE target = 'inbound'), 0)
                 - coalesce(sum(quantity) FILTER (WHERE source = 'inbound'), 0) AS inbound
        FROM inventory_stockmovement
        WHERE source IN ('between', 'transit', 'inbound')
           OR target IN ('between', 'transit', 'inbound') GROUP BY document
    )
    SELECT '库存与流水合计不符' AS why, 'stock_level' AS kind, l.id,
           jsonb_build_object({_BOTH}) AS facts
    FROM inventory_stocklevel l LEFT JOIN booked b ON b.level_id = l.id
    WHERE {_OFF}
    UNION ALL
    SELECT '流水两端不平', 'stock_movement', m.id,
           jsonb_build_object('source', m.source, 'target', m.target, 'quantity', m.quantity)
    FROM inventory_stockmovement m
    WHERE m.quantity <= 0 OR m.source = m.target
       OR m.source NOT IN ({_ACCOUNTS}) OR m.target NOT IN ({_ACCOUNTS})
    UNION ALL
    SELECT '调拨单与流水不符：中转须为零，在途须等于未收数', 'transfer', t.id,
           jsonb_build_object('number', t.number, 'state', t.state, 'on_the_way', w.units,
                              'ledger_between', coalesce(p.between, 0),
                              'ledger_transit', coalesce(p.transit, 0))
    FROM inventory_transfer t
    JOIN (SELECT transfer_id, sum(quantity - received - lost) AS units
          FROM inventory_transferline GROUP BY transfer_id) w ON w.transfer_id = t.id
    LEFT JOIN papers p ON p.document = 'transfer:' || t.id
    WHERE coalesce(p.between, 0) <> 0
       OR coalesce(p.transit, 0) <> CASE WHEN t.state = 'sent' THEN w.units ELSE 0 END
       OR t.state = 'received' AND w.units <> 0
    UNION ALL
    SELECT '到货单与流水不符：在途须等于未到数', 'inbound', i.id,
           jsonb_build_object('number', i.number, 'state', i.state, 'to_come', w.units,
                              'ledger_inbound', coalesce(p.inbound, 0))
    FROM inventory_inbound i
    JOIN (SELECT inbound_id, sum(greatest(0, expected - received - defect)) AS units
          FROM inventory_inboundline GROUP BY inbound_id) w ON w.inbound_id = i.id
    LEFT JOIN papers p ON p.document = 'inbound:' || i.id
    WHERE coalesce(p.inbound, 0)
          <> CASE WHEN i.state IN ('expected', 'partly') THEN w.units ELSE 0 END
    UNION ALL
    SELECT '中转、在途的流水没有单据', 'stock_movement', m.id,
           jsonb_build_object('document', m.document, 'source', m.source, 'target', m.target)
    FROM inventory_stockmovement m
    WHERE (m.source IN ('between', 'transit') OR m.target IN ('between', 'transit'))
      AND NOT EXISTS (SELECT 1 FROM inventory_transfer t WHERE m.document = 'transfer:' || t.id)
      AND ('transit' IN (m.source, m.target) OR NOT EXISTS (
          SELECT 1 FROM catalog_sku k WHERE m.document = 'merge:' || k.id))
    UNION ALL
    SELECT '合并货品的中转须为零', 'sku', split_part(p.document, ':', 2)::bigint,
           jsonb_build_object('ledger_between', p.between)
    FROM papers p WHERE starts_with(p.document, 'merge:') AND p.between <> 0
"""  # noqa: S608 - own constant text

S3: Final = """
    SELECT '占用数与有效占用记录合计不符' AS why, 'stock_level' AS kind, l.id,
           jsonb_build_object('reserved', l.reserved, 'promised', coalesce(r.promised, 0)) AS facts
    FROM inventory_stocklevel l LEFT JOIN (
        SELECT level_id, sum(quantity) AS promised FROM inventory_reservation
        WHERE state = 'active' GROUP BY level_id
    ) r ON r.level_id = l.id
    WHERE l.reserved <> coalesce(r.promised, 0)
"""

S4: Final = f"""
    SELECT '占用超过下单数量' AS why, 'order_line' AS kind, l.id,
           jsonb_build_object('order', l.order_id, 'ordered', l.quantity, 'held', c.held) AS facts
    FROM ({COVERED}) c JOIN orders_orderline l ON l.id = c.line_id
    WHERE c.held > l.quantity
    UNION ALL
    SELECT '同一订单行在同一仓库有多条有效占用', 'order_line', r.line_id,
           jsonb_build_object('order', min(r.order_id), 'warehouse', v.warehouse_id,
                              'count', count(*))
    FROM inventory_reservation r
    JOIN inventory_stocklevel l ON l.id = r.level_id
    JOIN inventory_virtualwarehouse v ON v.id = l.virtual_warehouse_id
    WHERE r.state = 'active' GROUP BY r.line_id, v.warehouse_id HAVING count(*) > 1
"""  # noqa: S608 - own constant text

S5: Final = """
    SELECT '占用记录的状态、结束时间与原因不一致' AS why, 'reservation' AS kind, r.id,
           jsonb_build_object('order', r.order_id, 'state', r.state,
                              'reason', r.close_reason) AS facts
    FROM inventory_reservation r
    WHERE r.state NOT IN ('active', 'consumed', 'released')
       OR (r.state = 'active') <> (r.closed_at IS NULL)
       OR (r.state = 'active') <> (r.close_reason = '')
    UNION ALL
    SELECT '占用的流水不是恰好一进一出', 'reservation', r.id,
           jsonb_build_object('order', r.order_id, 'state', r.state,
                              'entries', coalesce(m.entries, 0))
    FROM inventory_reservation r LEFT JOIN (
        SELECT reservation_id, count(*) AS entries,
               count(*) FILTER (WHERE source = 'available' AND target = 'reserved') AS opened,
               count(*) FILTER (WHERE source = 'reserved' AND target = 'shipped') AS shipped,
               count(*) FILTER (WHERE source = 'reserved' AND target = 'available') AS freed,
               min(quantity) AS least, max(quantity) AS most
        FROM inventory_stockmovement WHERE reservation_id IS NOT NULL GROUP BY reservation_id
    ) m ON m.reservation_id = r.id
    WHERE coalesce(m.entries, 0) <> CASE WHEN r.state = 'active' THEN 1 ELSE 2 END
       OR m.opened <> 1 OR m.least <> r.quantity OR m.most <> r.quantity
       OR m.shipped <> CASE WHEN r.state = 'consumed' THEN 1 ELSE 0 END
       OR m.freed <> CASE WHEN r.state = 'released' THEN 1 ELSE 0 END
    UNION ALL
    SELECT '占用须由恰好一个已发出的包裹用掉，释放的不得发出', 'reservation', r.id,
           jsonb_build_object('order', r.order_id, 'state', r.state,
                              'parcels', coalesce(p.parcels, 0))
    FROM inventory_reservation r LEFT JOIN (
        SELECT pl.reservation_id, count(*) AS parcels FROM fulfillment_parcelline pl
        JOIN fulfillment_parcel p ON p.id = pl.parcel_id AND p.shipped_at IS NOT NULL
        GROUP BY pl.reservation_id
    ) p ON p.reservation_id = r.id
    WHERE coalesce(p.parcels, 0) <> CASE WHEN r.state = 'consumed' THEN 1 ELSE 0 END
"""

S6: Final = f"""
    SELECT '承诺与已发合计超过入库总数' AS why, 'sku' AS kind, s.id,
           jsonb_build_object('sku', s.code, 'received', coalesce(m.received, 0),
                              'shipped', coalesce(m.shipped, 0),
                              'promised', coalesce(r.promised, 0)) AS facts
    FROM catalog_sku s LEFT JOIN (
        SELECT l.sku_id, {_net(("available", "reserved", "shipped"))} AS received,
               sum(CASE WHEN m.target = 'shipped' THEN m.units
                        WHEN m.source = 'shipped' THEN -m.units ELSE 0 END) AS shipped
        FROM ({MOVED}) m JOIN inventory_stocklevel l ON l.id = m.level_id
        GROUP BY l.sku_id
    ) m ON m.sku_id = s.id LEFT JOIN (
        SELECT l.sku_id, sum(r.quantity) AS promised
        FROM inventory_reservation r JOIN inventory_stocklevel l ON l.id = r.level_id
        WHERE r.state = 'active' GROUP BY l.sku_id
    ) r ON r.sku_id = s.id
    WHERE coalesce(r.promised, 0) + coalesce(m.shipped, 0) > coalesce(m.received, 0)
    UNION ALL
    SELECT '订单已占库存或已发货，却没有足额的占用记录', 'order', o.id,
           jsonb_build_object('number', o.number, 'status', o.status, 'line', l.line_no,
                              'ordered', l.quantity, 'held', coalesce(c.held, 0))
    FROM orders_salesorder o
    JOIN orders_orderline l ON l.order_id = o.id AND l.sku_id IS NOT NULL AND NOT l.is_dropped
    LEFT JOIN ({COVERED}) c ON c.line_id = l.id
    WHERE o.status IN ('reserved', 'cleared', 'routed') AND coalesce(c.held, 0) < l.quantity
          AND l.leaves <> 'later'
       OR o.status IN ('shipped', 'signed') AND coalesce(c.consumed, 0) < l.quantity
"""  # noqa: S608 - own constant text

S8: Final = f"""
    SELECT '未付款订单的占用超过时限 60 秒仍未释放' AS why, 'order' AS kind, o.id,
           jsonb_build_object('number', o.number, 'reservation', r.id,
                              'expires_at', r.expires_at) AS facts
    FROM inventory_reservation r JOIN orders_salesorder o ON o.id = r.order_id
    WHERE r.state = 'active' AND o.paid_at IS NULL
      AND (r.expires_at < %(now)s - interval '60 seconds'
           OR r.expires_at IS NULL AND o.channel_status = 'wait_pay')
    UNION ALL
    SELECT '占用未到期就按到期释放', 'order', o.id,
           jsonb_build_object('number', o.number, 'reservation', r.id,
                              'expires_at', r.expires_at, 'closed_at', r.closed_at)
    FROM inventory_reservation r JOIN orders_salesorder o ON o.id = r.order_id
    WHERE r.close_reason = 'expired' AND r.closed_at < r.expires_at
    UNION ALL
    SELECT '已付款订单的占用仍会到期', 'order', o.id,
           jsonb_build_object('number', o.number, 'reservation', r.id,
                              'expires_at', r.expires_at)
    FROM inventory_reservation r JOIN orders_salesorder o ON o.id = r.order_id
    WHERE r.state = 'active' AND r.expires_at IS NOT NULL AND o.paid_at IS NOT NULL
    UNION ALL
    SELECT '已付款订单既无足额库存也无缺货挂起', 'order', o.id,
           jsonb_build_object('number', o.number, 'status', o.status, 'line', l.line_no,
                              'ordered', l.quantity, 'held', coalesce(c.held, 0))
    FROM orders_salesorder o
    JOIN orders_orderline l ON l.order_id = o.id AND l.sku_id IS NOT NULL AND NOT l.is_dropped
    LEFT JOIN ({COVERED}) c ON c.line_id = l.id
    WHERE o.paid_at IS NOT NULL AND o.status IN ('mapped', 'reserved', 'cleared', 'routed')
      AND coalesce(c.held, 0) < l.quantity
      AND NOT (l.leaves = 'later' AND o.status <> 'mapped')
      AND NOT EXISTS (SELECT 1 FROM orders_orderhold h WHERE h.order_id = o.id
                      AND h.released_at IS NULL AND h.kind IN ('shortage', 'unmapped', 'fault'))
"""  # noqa: S608 - own constant text

# What leaves in parts: what waits holds nothing, what has left has left, and both are told of
# orders only that are still under way.
S15: Final = f"""
    SELECT '待补发的订单行却占着库存' AS why, 'order_line' AS kind, l.id,
           jsonb_build_object('order', l.order_id, 'held', c.held) AS facts
    FROM orders_orderline l JOIN ({COVERED}) c ON c.line_id = l.id
    WHERE l.leaves = 'later' AND NOT l.is_dropped AND c.held > 0
    UNION ALL
    SELECT '待补发的订单行所在的订单没有在途', 'order_line', l.id,
           jsonb_build_object('order', l.order_id, 'status', o.status)
    FROM orders_orderline l JOIN orders_salesorder o ON o.id = l.order_id
    WHERE l.leaves = 'later' AND NOT l.is_dropped
      AND (o.status NOT IN ('reserved', 'cleared', 'routed', 'canceled') OR o.paid_at IS NULL)
    UNION ALL
    SELECT '标为已发出的订单行没有全部出库', 'order_line', l.id,
           jsonb_build_object('order', l.order_id, 'quantity', l.quantity,
                              'consumed', coalesce(c.consumed, 0))
    FROM orders_orderline l LEFT JOIN ({COVERED}) c ON c.line_id = l.id
    WHERE l.leaves = 'gone' AND coalesce(c.consumed, 0) <> l.quantity
    UNION ALL
    SELECT '已随包裹发出，订单还在途，却没有标为已发出', 'order_line', l.id,
           jsonb_build_object('order', l.order_id, 'status', o.status)
    FROM orders_salesorder o
    JOIN fulfillment_parcel p ON p.order_id = o.id AND p.state IN ('shipped', 'signed')
    JOIN fulfillment_parcelline pl ON pl.parcel_id = p.id
    JOIN orders_orderline l ON l.id = pl.line_id AND l.leaves <> 'gone'
    WHERE o.status IN ('received', 'mapped', 'reserved', 'cleared', 'routed')
"""  # noqa: S608 - own constant text

S9: Final = """
    SELECT '已取消的订单仍占用库存' AS why, 'order' AS kind, o.id,
           jsonb_build_object('number', o.number, 'reservation', r.id,
                              'quantity', r.quantity) AS facts
    FROM inventory_reservation r JOIN orders_salesorder o ON o.id = r.order_id
    WHERE r.state = 'active' AND o.status = 'canceled'
    UNION ALL
    SELECT '不再发货的订单行仍占用库存', 'order', r.order_id,
           jsonb_build_object('reservation', r.id, 'line', l.line_no, 'quantity', r.quantity)
    FROM inventory_reservation r JOIN orders_orderline l ON l.id = r.line_id AND l.is_dropped
    WHERE r.state = 'active'
"""

S10: Final = """
    SELECT '占用没有对应的订单行，或货品不符' AS why, 'reservation' AS kind, r.id,
           jsonb_build_object('order', r.order_id, 'line', r.line_id,
                              'line_order', l.order_id) AS facts
    FROM inventory_reservation r
    LEFT JOIN orders_orderline l ON l.id = r.line_id
    LEFT JOIN inventory_stocklevel s ON s.id = r.level_id
    -- A line may stand for other goods once its promise has been given back (recoding, swaps).
    WHERE l.order_id IS DISTINCT FROM r.order_id
       OR (r.state <> 'released' AND l.sku_id IS DISTINCT FROM s.sku_id)
       OR NOT EXISTS (SELECT 1 FROM orders_salesorder o WHERE o.id = r.order_id)
    UNION ALL
    SELECT '占用流水不属于任何占用', 'stock_movement', m.id,
           jsonb_build_object('level', m.level_id, 'reservation', m.reservation_id)
    FROM inventory_stockmovement m LEFT JOIN inventory_reservation r ON r.id = m.reservation_id
    WHERE r.id IS NULL AND 'reserved' IN (m.source, m.target)
    UNION ALL
    SELECT '占用流水没有写明谁做的', 'stock_movement', max(m.id),
           jsonb_build_object('actor', m.actor, 'count', count(*))
    FROM inventory_stockmovement m WHERE 'reserved' IN (m.source, m.target) GROUP BY m.actor
    HAVING NOT split_part(m.actor, ':', 1) = ANY(%(actors)s) OR split_part(m.actor, ':', 2) = ''
"""

S11: Final = f"""
    SELECT '组合装只占到一部分' AS why, 'order' AS kind, l.order_id AS id,
           jsonb_build_object('bundle_line', l.bundle_line_id, 'parts', count(*),
                              'held', count(*) FILTER (WHERE c.held >= l.quantity)) AS facts
    FROM orders_orderline l LEFT JOIN ({COVERED}) c ON c.line_id = l.id
    WHERE l.bundle_line_id IS NOT NULL AND NOT l.is_dropped
    GROUP BY l.order_id, l.bundle_line_id
    HAVING bool_or(coalesce(c.held, 0) > 0) AND NOT bool_and(coalesce(c.held, 0) >= l.quantity)
"""  # noqa: S608 - own constant text

INVARIANTS: Final = (
    Invariant("S1", _("每个货品在每个仓：现有、占用不为负，占用不超过现有"), S1),
    Invariant("S2", _("每个货品在每个仓：各类库存等于流水合计，流水两端相等，单据与在途相符"), S2),
    Invariant("S3", _("占用数等于有效占用记录之和"), S3),
    Invariant("S4", _("订单行的占用不超过下单数量，每行每仓至多一条有效占用"), S4),
    Invariant("S5", _("每条占用恰好结束一次：由一个包裹出库，或因一个原因释放"), S5),
    Invariant("S6", _("各平台合计不超卖；已占库存的订单必有足额占用记录"), S6),
    Invariant("S8", _("未付款占用到期即释放；已付款订单要么有货，要么挂缺货"), S8),
    Invariant("S9", _("已取消的订单、不再发货的订单行不占库存"), S9),
    Invariant(
        "S10",
        _("占用只由订单产生：有同单同货品的订单行，流水写明操作者"),
        S10,
        params={"actors": [kind.value for kind in ActorKind]},
    ),
    Invariant("S11", _("组合装整套占用，或完全不占"), S11),
    Invariant("S15", _("分批发货：待补发的不占库存且订单在途，已发出的确已出库，不会再发"), S15),
)
