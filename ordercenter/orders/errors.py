"""What can be refused about an order."""

from django.utils.translation import gettext_lazy as _

from ordercenter.core.errors import InvalidInput, NotAllowed, OrderCenterError


class StaleOrder(OrderCenterError):
    code = "stale_order"
    message = _("订单 %(number)s 已被他人更新，请刷新后重试")


class OrderHeld(OrderCenterError):
    code = "held"
    message = _("订单 %(number)s 已被拦下：%(words)s")


class OrderCanceled(OrderCenterError):
    code = "canceled"
    message = _("订单 %(number)s 已取消")


class WrongState(OrderCenterError):
    code = "wrong_state"
    message = _("订单 %(number)s 当前为“%(status)s”，不能%(what)s")


class TooLate(OrderCenterError):
    code = "too_late"
    message = _("订单 %(number)s 的包裹已发出，来不及拦下；已转售后，请联系快递")


class NothingToRelease(OrderCenterError):
    code = "nothing_to_release"
    message = _("订单 %(number)s 没有您可以解除的挂起")


class SelfApproval(NotAllowed):
    code = "self_approval"
    message = _("不能批准自己提出的申请")


class OwnOrder(NotAllowed):
    code = "own_order"
    message = _("订单 %(number)s 由您本人录入，须由他人审核")


class RuleAuthor(NotAllowed):
    code = "rule_author"
    message = _("规则 %(rules)s 今天由您改动，须由他人放行")


class BadReason(InvalidInput):
    code = "bad_reason"
    message = _("请填写 5 到 500 个字的原因")
