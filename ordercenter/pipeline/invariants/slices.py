"""Slices: what is set aside for a shop is counted on its level, and sold to nobody else."""

from typing import Final

from django.utils.translation import gettext_lazy as _

from ordercenter.pipeline.invariants.shape import Invariant

S13: Final = """
    SELECT '锁定数与各店铺锁定未售之和不符' AS why, 'stock_level' AS kind, l.id,
           jsonb_build_object('locked', l.locked, 'unsold', coalesce(s.unsold, 0)) AS facts
    FROM inventory_stocklevel l LEFT JOIN (
        SELECT level_id, sum(unsold) AS unsold FROM inventory_stockslice GROUP BY level_id
    ) s ON s.level_id = l.id
    WHERE l.locked <> coalesce(s.unsold, 0)
    UNION ALL
    SELECT '占用与锁定之和超过现有', 'stock_level', l.id,
           jsonb_build_object('on_hand', l.on_hand, 'reserved', l.reserved, 'locked', l.locked)
    FROM inventory_stocklevel l WHERE l.locked > 0 AND l.reserved + l.locked > l.on_hand
    UNION ALL
    SELECT '店铺锁定的已售数与其占用记录不符', 'stock_slice', s.id,
           jsonb_build_object('quantity', s.quantity, 'unsold', s.unsold,
                              'sold', coalesce(r.sold, 0))
    FROM inventory_stockslice s LEFT JOIN (
        SELECT slice_id, sum(slice_units) AS sold FROM inventory_reservation
        WHERE slice_id IS NOT NULL AND state IN ('active', 'consumed') GROUP BY slice_id
    ) r ON r.slice_id = s.id
    WHERE s.quantity - s.unsold <> coalesce(r.sold, 0)
    UNION ALL
    SELECT '已结束的店铺锁定仍有未售', 'stock_slice', s.id,
           jsonb_build_object('unsold', s.unsold)
    FROM inventory_stockslice s WHERE NOT s.is_active AND s.unsold <> 0
"""

S14: Final = """
    SELECT '占用取自别的店铺或别处的锁定' AS why, 'reservation' AS kind, r.id,
           jsonb_build_object('order', r.order_id, 'slice', s.id, 'shop', s.shop_id) AS facts
    FROM inventory_reservation r JOIN inventory_stockslice s ON s.id = r.slice_id
    JOIN orders_salesorder o ON o.id = r.order_id
    WHERE s.shop_id <> o.shop_id OR s.level_id <> r.level_id
    UNION ALL
    SELECT '回拨没有对应的占用，或多于占用', 'claw_back', min(c.id),
           jsonb_build_object('order', c.order_id, 'line', c.line_id, 'clawed', sum(c.quantity),
                              'held', coalesce(max(r.held), 0))
    FROM inventory_clawback c LEFT JOIN (
        SELECT line_id, sum(quantity - slice_units) AS held FROM inventory_reservation
        WHERE state IN ('active', 'consumed') GROUP BY line_id
    ) r ON r.line_id = c.line_id
    WHERE c.state = 'taken' GROUP BY c.order_id, c.line_id
    HAVING sum(c.quantity) > coalesce(max(r.held), 0)
    UNION ALL
    SELECT '回拨自本店，或已结束却没有时间', 'claw_back', c.id,
           jsonb_build_object('order', c.order_id, 'state', c.state)
    FROM inventory_clawback c JOIN inventory_stockslice s ON s.id = c.slice_id
    JOIN orders_salesorder o ON o.id = c.order_id
    WHERE s.shop_id = o.shop_id OR (c.state = 'taken') <> (c.closed_at IS NULL)
"""

INVARIANTS: Final = (
    Invariant("S13", _("每仓的锁定数等于各店铺锁定未售之和，且不超过可用"), S13),
    Invariant("S14", _("店铺锁定只供本店订单；回拨都有占用，且只取自别的店铺"), S14),
)
