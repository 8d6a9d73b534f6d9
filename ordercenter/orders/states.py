"""How far an order has come, and who may follow whom.

Only ``ordercenter.orders.services`` and the pipeline's set-wise writer assign a status, both
by this table; a trigger in the database holds the same edges (orders migration 0002).
"""

from collections.abc import Mapping
from typing import Final

from django.db.models import TextChoices
from django.utils.translation import gettext_lazy as _


class OrderStatus(TextChoices):
    RECEIVED = "received", _("已接收")
    MAPPED = "mapped", _("已匹配")
    RESERVED = "reserved", _("已占库存")
    CLEARED = "cleared", _("审核通过")
    ROUTED = "routed", _("已分仓")
    SHIPPED = "shipped", _("已发货")
    SIGNED = "signed", _("已签收")
    CANCELED = "canceled", _("已取消")


S = OrderStatus

NEXT: Final[Mapping[OrderStatus, frozenset[OrderStatus]]] = {
    S.RECEIVED: frozenset({S.MAPPED, S.CANCELED}),
    S.MAPPED: frozenset({S.RESERVED, S.CANCELED}),
    S.RESERVED: frozenset({S.CLEARED, S.MAPPED, S.CANCELED}),
    S.CLEARED: frozenset({S.ROUTED, S.RESERVED, S.MAPPED, S.CANCELED}),
    S.ROUTED: frozenset({S.SHIPPED, S.CLEARED, S.CANCELED}),
    S.SHIPPED: frozenset({S.SIGNED}),
    S.SIGNED: frozenset(),
    S.CANCELED: frozenset(),
}
"""Back edges: an expired promise (→ mapped), a changed order judged again (→ reserved),
a parcel taken apart (→ cleared)."""

OPEN: Final = frozenset({S.RECEIVED, S.MAPPED, S.RESERVED, S.CLEARED, S.ROUTED})


class HoldKind(TextChoices):
    """Why an order may not go further. Each is closed only by its own kind of release."""

    UNMAPPED = "unmapped", _("商品未匹配")
    SHORTAGE = "shortage", _("缺货")
    RULE = "rule", _("风控命中")
    CHANNEL = "channel", _("平台暂缓发货")
    REFUND = "refund", _("退款处理中")
    PAYMENT = "payment", _("核款异常")
    INCOMPLETE = "incomplete", _("信息不完整")
    ADDRESS_CHANGE = "address_change", _("审核后改地址")
    CHANGED = "changed", _("平台改单")
    PERSON = "person", _("人工冻结")
    INTERCEPT = "intercept", _("指令拦截")
    FAULT = "fault", _("处理异常")


SELF_CLEARING: Final = frozenset(
    {HoldKind.UNMAPPED, HoldKind.SHORTAGE, HoldKind.CHANNEL, HoldKind.REFUND, HoldKind.INTERCEPT}
)
"""Holds that end by a fact (a mapping, stock, the platform's word, the end of an
interception), never by a click on the order."""


class Leaves(TextChoices):
    """When a line of an order that leaves in parts leaves; empty: with the whole order."""

    WHOLE = "", _("随整单")
    FIRST = "first", _("先发")
    LATER = "later", _("待补发")
    GONE = "gone", _("已发出")


class Tier(TextChoices):
    """Kept as text so that ``max`` and ``order by`` agree."""

    TAG = "0", _("标记")
    FILL = "1", _("一级")
    REVIEW = "2", _("二级")
    FREEZE = "3", _("三级")


class Disposition(TextChoices):
    """Where a held order is being looked at."""

    WAITING = "waiting", _("待审核")
    RETURNED = "returned", _("退回修改中")
    AFTER_SALES = "after_sales", _("售后沟通中")
    ESCALATED = "escalated", _("待总经理批准")
    STANDING = "standing", _("指令拦截中")
    """Nobody looks at it: it waits for the end of an interception."""
