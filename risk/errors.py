"""What can be refused about rules, lists and exemptions."""

from django.utils.translation import gettext_lazy as _

from ordercenter.core.errors import NotAllowed, OrderCenterError


class StaleRules(OrderCenterError):
    code = "stale_rules"
    message = _("规则集 v%(version)s 已被 %(who)s 修改，请先看过新内容再保存")


class WrongRuleState(OrderCenterError):
    code = "wrong_rule_state"
    message = _("规则集 v%(version)s 当前为“%(state)s”，不能%(what)s")


class NoFreshReport(OrderCenterError):
    code = "no_fresh_report"
    message = _("规则集 v%(version)s 没有 24 小时内按现有内容完成的回测，请先回测再启用")


class SelfActivation(NotAllowed):
    code = "self_approval"
    message = _("规则集须由编写人和申请人以外的人批准")
