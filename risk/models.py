"""Rules as data and what they found."""

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from ordercenter.orders.models import SalesOrder
from ordercenter.orders.states import Tier


class RuleSet(models.Model):
    """One version of all rules. One is live; a verdict names the version that gave it."""

    version = models.PositiveIntegerField(_("版本"), unique=True)
    is_live = models.BooleanField(_("生效"), default=False)
    rules = models.JSONField(_("规则"))
    note = models.CharField(_("说明"), max_length=200, blank=True)
    created_at = models.DateTimeField(_("创建时间"), auto_now_add=True)

    class Meta:
        verbose_name = _("规则集")
        verbose_name_plural = _("规则集")
        constraints = [
            models.UniqueConstraint(
                fields=["is_live"], condition=Q(is_live=True), name="one_live_rule_set"
            )
        ]

    def __str__(self) -> str:
        return f"v{self.version}"


class Verdict(models.Model):
    """What the rules said of one order at one version, with every value they saw."""

    order = models.ForeignKey(SalesOrder, models.PROTECT, related_name="verdicts")
    order_version = models.PositiveIntegerField(_("订单版本"))
    rule_set_version = models.PositiveIntegerField(_("规则版本"))
    tier = models.CharField(_("级别"), max_length=1, choices=Tier)
    tags = models.JSONField(_("标签"), default=list)
    findings = models.JSONField(_("命中明细"))
    facts = models.JSONField(_("事实"))
    created_at = models.DateTimeField(_("判定时间"))

    class Meta:
        verbose_name = _("判定")
        verbose_name_plural = _("判定")

    def __str__(self) -> str:
        return f"{self.order_id} {self.tier}"
