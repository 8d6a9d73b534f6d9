"""Rules as data and what they found."""

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from ordercenter.orders.models import SalesOrder
from ordercenter.orders.states import Tier


class RuleSet(models.Model):
    """One version of all rules. One is live; a verdict names the version that gave it."""

    class State(models.TextChoices):
        DRAFT = "draft", _("草稿")
        COMMITTED = "committed", _("已定稿")
        ASKED = "asked", _("待第二人批准")
        LIVE = "live", _("生效中")
        RETIRED = "retired", _("已停用")

    version = models.PositiveIntegerField(_("版本"), unique=True)
    is_live = models.BooleanField(_("生效"), default=False)
    rules = models.JSONField(_("规则"))
    note = models.CharField(_("说明"), max_length=200, blank=True)
    created_at = models.DateTimeField(_("创建时间"), auto_now_add=True)
    edits = models.PositiveIntegerField(_("修改次数"), default=0, db_default=0)
    """Counts the saves of a draft: who saves must have seen the last one."""
    author = models.CharField(_("编写人"), max_length=64, default="", db_default="")
    based_on = models.PositiveIntegerField(_("基于版本"), null=True, blank=True)
    committed_at = models.DateTimeField(_("定稿时间"), null=True, blank=True)
    """Null while it is a draft; from then on its rules never change (trigger)."""
    is_shadow = models.BooleanField(_("试运行"), default=False, db_default=False)
    """It judges every arriving order beside the live one, and writes what it would do."""
    asked_by = models.CharField(_("启用申请人"), max_length=64, default="", db_default="")
    asked_at = models.DateTimeField(_("申请时间"), null=True, blank=True)
    activated_by = models.CharField(_("启用人"), max_length=64, default="", db_default="")
    activated_at = models.DateTimeField(_("启用时间"), null=True, blank=True)

    class Meta:
        verbose_name = _("规则集")
        verbose_name_plural = _("规则集")
        constraints = [
            models.UniqueConstraint(
                fields=["is_live"], condition=Q(is_live=True), name="one_live_rule_set"
            ),
            models.UniqueConstraint(
                fields=["is_shadow"], condition=Q(is_shadow=True), name="one_shadow_rule_set"
            ),
        ]

    def __str__(self) -> str:
        return f"v{self.version}"

    @property
    def state(self) -> "RuleSet.State":
        if self.is_live:
            return self.State.LIVE
        if self.asked_at is not None:
            return self.State.ASKED
        if self.activated_at is not None:
            return self.State.RETIRED
        return self.State.DRAFT if self.committed_at is None else self.State.COMMITTED


class Verdict(models.Model):
    """What the rules said of one order at one version, with every value they saw."""

    order = models.ForeignKey(SalesOrder, models.PROTECT, related_name="verdicts")
    order_version = models.PositiveIntegerField(_("订单版本"))
    rule_set_version = models.PositiveIntegerField(_("规则版本"))
    tier = models.CharField(_("级别"), max_length=1, choices=Tier)
    tags = models.JSONField(_("标签"), default=list)
    findings = models.JSONField(_("命中明细"))
    facts = models.JSONField(_("事实"))
    inputs = models.JSONField(_("输入"), default=dict, db_default={})
    """Every fact exactly, to judge again by: the same version gives the same verdict."""
    created_at = models.DateTimeField(_("判定时间"))

    class Meta:
        verbose_name = _("判定")
        verbose_name_plural = _("判定")

    def __str__(self) -> str:
        return f"{self.order_id} {self.tier}"


class RuleList(models.Model):
    """A named list that rules ask: who or what stands on it, since when and until when."""

    class Kind(models.TextChoices):
        BLACK = "black", _("黑名单")
        WHITE = "white", _("白名单")
        TRUSTED = "trusted", _("信任名单")
        OTHER = "other", _("其他名单")

    class Key(models.TextChoices):
        BUYER = "buyer", _("买家账号")
        PHONE = "phone", _("手机号")
        ADDRESS = "address", _("收货地址")
        DEVICE = "device", _("设备")
        IP = "ip", _("IP")
        SKU = "sku", _("货品")
        REGION = "region", _("地区")
        WORD = "word", _("词语")

    code = models.SlugField(_("编码"), max_length=40, unique=True)
    name = models.CharField(_("名称"), max_length=60)
    kind = models.CharField(_("用途"), max_length=8, choices=Kind, default=Kind.OTHER)
    key = models.CharField(_("按"), max_length=8, choices=Key)
    note = models.CharField(_("说明"), max_length=200, blank=True)

    class Meta:
        verbose_name = _("名单")
        verbose_name_plural = _("名单")
        ordering = ["code"]

    def __str__(self) -> str:
        return self.name


class RuleListEntry(models.Model):
    """One value on a list from ``added_at`` until it expires or is removed; never deleted.

    Phones and addresses are keyed blind indexes; ``shown`` is what people may read of them.
    """

    rule_list = models.ForeignKey(RuleList, models.PROTECT, related_name="entries")
    value = models.CharField(_("值"), max_length=100)
    shown = models.CharField(_("显示"), max_length=100)
    reason = models.CharField(_("原因"), max_length=500, blank=True)
    added_by = models.CharField(_("添加人"), max_length=64)
    added_at = models.DateTimeField(_("添加时间"))
    expires_at = models.DateTimeField(_("到期"), null=True, blank=True)
    removed_at = models.DateTimeField(_("移除时间"), null=True, blank=True)
    removed_by = models.CharField(_("移除人"), max_length=64, default="")

    class Meta:
        verbose_name = _("名单条目")
        verbose_name_plural = _("名单条目")
        constraints = [
            models.UniqueConstraint(
                fields=["rule_list", "value"],
                condition=Q(removed_at=None),
                name="listed_once",
            )
        ]

    def __str__(self) -> str:
        return self.shown


class Exemption(models.Model):
    """A customer whom one rule, or every rule of tier 2, lets pass until ``expires_at``."""

    key = models.CharField(_("按"), max_length=8, choices=RuleList.Key)
    value = models.CharField(_("值"), max_length=100)
    shown = models.CharField(_("显示"), max_length=100)
    rule_code = models.CharField(_("规则"), max_length=40, blank=True)
    """Empty for every rule of tier 2. Tier 3 is never exempt."""
    reason = models.CharField(_("原因"), max_length=500)
    order = models.ForeignKey(SalesOrder, models.PROTECT, null=True, db_index=False)
    """The order it was decided on."""
    made_by = models.CharField(_("设置人"), max_length=64)
    made_at = models.DateTimeField(_("设置时间"))
    expires_at = models.DateTimeField(_("到期"))
    ended_at = models.DateTimeField(_("结束时间"), null=True, blank=True)
    ended_by = models.CharField(_("结束人"), max_length=64, default="")

    class Meta:
        verbose_name = _("豁免")
        verbose_name_plural = _("豁免")
        indexes = [
            models.Index(fields=["value"], name="exemption_open", condition=Q(ended_at=None))
        ]

    def __str__(self) -> str:
        return self.shown


class Backtest(models.Model):
    """What a rule set would have found in the stored orders of a time; changes nothing."""

    class State(models.TextChoices):
        WAITING = "waiting", _("排队中")
        RUNNING = "running", _("计算中")
        DONE = "done", _("完成")
        FAILED = "failed", _("失败")

    rule_set = models.ForeignKey(
        RuleSet, models.PROTECT, null=True, blank=True, related_name="backtests"
    )
    digest = models.CharField(_("规则摘要"), max_length=64)
    """SHA-256 of the rules it was made of: a report of other rules proves nothing."""
    since = models.DateTimeField(_("自"))
    until = models.DateTimeField(_("至"))
    state = models.CharField(_("状态"), max_length=8, choices=State, default=State.WAITING)
    progress = models.PositiveSmallIntegerField(_("进度（%）"), default=0)
    report = models.JSONField(_("报告"), default=dict)
    error = models.CharField(_("错误"), max_length=300, default="")
    asked_by = models.CharField(_("发起人"), max_length=64)
    asked_at = models.DateTimeField(_("发起时间"))
    done_at = models.DateTimeField(_("完成时间"), null=True)

    class Meta:
        verbose_name = _("回测")
        verbose_name_plural = _("回测")
        ordering = ["-asked_at"]

    def __str__(self) -> str:
        return f"{self.since:%Y-%m-%d} 至 {self.until:%Y-%m-%d}"


class ShadowVerdict(models.Model):
    """Where a rule set on trial judged an order otherwise than the live one."""

    order = models.ForeignKey(SalesOrder, models.PROTECT, related_name="+", db_index=False)
    rule_set_version = models.PositiveIntegerField(_("试运行版本"))
    live_version = models.PositiveIntegerField(_("生效版本"))
    tier = models.CharField(_("试运行级别"), max_length=1, choices=Tier)
    live_tier = models.CharField(_("生效级别"), max_length=1, choices=Tier)
    hits = models.JSONField(_("试运行命中"), default=list)
    live_hits = models.JSONField(_("生效命中"), default=list)
    label = models.CharField(_("人工判断"), max_length=8, default="")
    """``right`` or ``wrong``, as a person saw the trial's verdict; empty where nobody has."""
    labeled_by = models.CharField(_("判断人"), max_length=64, default="")
    created_at = models.DateTimeField(_("判定时间"))

    class Meta:
        verbose_name = _("试运行差异")
        verbose_name_plural = _("试运行差异")
        constraints = [
            models.UniqueConstraint(
                fields=["rule_set_version", "order"], name="shadow_verdict_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.order_id} {self.live_tier} → {self.tier}"


class RuleProposal(models.Model):
    """A readable rule learned from what people decided; a person makes a draft of it, or not."""

    class State(models.TextChoices):
        OPEN = "open", _("待处理")
        TAKEN = "taken", _("已采用")
        REFUSED = "refused", _("已放弃")

    rule = models.JSONField(_("规则"))
    words = models.CharField(_("说明"), max_length=500)
    figures = models.JSONField(_("依据"), default=dict)
    """Orders covered, right and wrong among them, on learned and on later decisions."""
    backtest = models.ForeignKey(Backtest, models.PROTECT, null=True, blank=True)
    state = models.CharField(_("状态"), max_length=8, choices=State, default=State.OPEN)
    made_at = models.DateTimeField(_("提出时间"))
    decided_by = models.CharField(_("处理人"), max_length=64, default="")
    decided_at = models.DateTimeField(_("处理时间"), null=True)

    class Meta:
        verbose_name = _("规则建议")
        verbose_name_plural = _("规则建议")
        ordering = ["-made_at"]

    def __str__(self) -> str:
        return self.words


class RiskModel(models.Model):
    """A model trained on what people decided. Its score stands beside the rules."""

    version = models.PositiveIntegerField(_("版本"), unique=True)
    is_active = models.BooleanField(_("使用中"), default=False)
    weights = models.JSONField(_("参数"))
    """Everything it takes to score: plain numbers, no pickle."""
    figures = models.JSONField(_("评估"))
    learned_until = models.DateTimeField(_("学习截止"))
    """It was judged on decisions after this moment."""
    made_by = models.CharField(_("训练人"), max_length=64)
    made_at = models.DateTimeField(_("训练时间"))

    class Meta:
        verbose_name = _("风险模型")
        verbose_name_plural = _("风险模型")
        constraints = [
            models.UniqueConstraint(
                fields=["is_active"], condition=Q(is_active=True), name="one_active_risk_model"
            )
        ]

    def __str__(self) -> str:
        return f"v{self.version}"


class RiskScore(models.Model):
    """How likely people would stop an order, by one model, and what speaks for it."""

    order = models.OneToOneField(
        SalesOrder, models.PROTECT, primary_key=True, related_name="risk_score"
    )
    model_version = models.PositiveIntegerField(_("模型版本"))
    score = models.DecimalField(_("风险分"), max_digits=5, decimal_places=4)
    """0 to 1."""
    reasons = models.JSONField(_("主要因素"), default=list)
    scored_at = models.DateTimeField(_("评分时间"))

    class Meta:
        verbose_name = _("风险分")
        verbose_name_plural = _("风险分")

    def __str__(self) -> str:
        return f"{self.order_id} {self.score}"
