"""What people are told: robots, and the notices waiting to go to them."""

from datetime import datetime
from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from ordercenter.core.clock import SHANGHAI


class Addressee(models.TextChoices):
    """Whom a rule, or the program, can tell of something; a group is of one or several of them."""

    SUPERVISORS = "supervisors", "仓储主管"
    CUSTOMER_SERVICE = "customer_service", "客服"
    FINANCE = "finance", "财务"
    WAREHOUSE = "warehouse", "仓库"
    CEO = "ceo", "CEO"


class Robot(models.Model):
    """A chat robot of one group. Its secrets are sealed and never shown again."""

    class Kind(models.TextChoices):
        DINGTALK = "dingtalk", _("钉钉机器人")

    code = models.SlugField(_("编码"), unique=True)
    name = models.CharField(_("名称"), max_length=100)
    kind = models.CharField(_("类型"), max_length=16, choices=Kind)
    base_url = models.URLField(_("地址"))
    sealed = models.BinaryField(_("密钥"), editable=False)
    min_tier = models.CharField(_("最低级别"), max_length=1, default="2")
    addressees = ArrayField(
        models.CharField(max_length=16, choices=Addressee), verbose_name=_("群里是谁"),
        default=list, blank=True,
    )  # fmt: skip
    is_active = models.BooleanField(_("启用"), default=True)
    quiet_from = models.TimeField(_("免打扰开始"), null=True, blank=True)
    quiet_to = models.TimeField(_("免打扰结束"), null=True, blank=True)
    """Between the two, in Shanghai and over midnight where ``from`` is later, only tier 3 is
    sent; the rest waits for the end. Both or neither."""

    class Meta:
        verbose_name = _("群机器人")
        verbose_name_plural = _("群机器人")
        constraints = [
            models.CheckConstraint(
                condition=Q(quiet_from=None, quiet_to=None)
                | Q(quiet_from__isnull=False, quiet_to__isnull=False),
                name="robot_quiet_from_and_to",
                violation_error_message=_("免打扰的开始和结束要么都填，要么都不填"),
            )
        ]

    def __str__(self) -> str:
        return self.name

    def is_quiet(self, now: datetime) -> bool:
        """Whether only tier 3 may be sent now."""
        if self.quiet_from is None or self.quiet_to is None:
            return False
        at = now.astimezone(SHANGHAI).time()
        if self.quiet_from <= self.quiet_to:
            return self.quiet_from <= at < self.quiet_to
        return at >= self.quiet_from or at < self.quiet_to


class Notice(models.Model):
    """One message to one robot; ``key`` makes a repeated event one notice."""

    class State(models.TextChoices):
        WAITING = "waiting", _("待发送")
        SENT = "sent", _("已发送")
        DEAD = "dead", _("发送失败")

    robot = models.ForeignKey(Robot, models.CASCADE, verbose_name=_("机器人"))
    key = models.CharField(max_length=100)
    urgency = models.CharField(_("级别"), max_length=1)
    title = models.CharField(_("标题"), max_length=100)
    text = models.TextField(_("内容"))
    state = models.CharField(_("状态"), max_length=8, choices=State, default=State.WAITING)
    created_at = models.DateTimeField(_("产生时间"))
    due_at = models.DateTimeField(_("应发时间"))
    sent_at = models.DateTimeField(_("发送时间"), null=True)
    tries = models.PositiveSmallIntegerField(_("次数"), default=0)
    error = models.CharField(_("错误"), max_length=300, default="")

    class Meta:
        verbose_name = _("通知")
        verbose_name_plural = _("通知")
        constraints = [
            models.UniqueConstraint(fields=["robot", "key"], name="notice_once"),
        ]
        indexes = [models.Index(fields=["due_at"], name="notice_due", condition=Q(state="waiting"))]

    def __str__(self) -> str:
        return self.title


class AlarmQuerySet(models.QuerySet["Alarm"]):
    def unseen(self) -> "AlarmQuerySet":
        """Those nobody has acknowledged since they were last told."""
        return self.filter(Q(seen_at=None) | Q(seen_at__lt=F("told_at")))


class Alarm(models.Model):
    """What happened under one topic within one stretch of time: one thing, however often.

    It stands here whether or not a robot could be told. ``told`` is the count people were last
    told; they are told again when it has grown tenfold, and at the end of the stretch.
    """

    topic = models.CharField(max_length=100)
    urgency = models.CharField(_("级别"), max_length=1)
    title = models.CharField(_("标题"), max_length=80)
    note = models.CharField(_("说明"), max_length=80)
    addressee = models.CharField(
        _("告知"), max_length=16, choices=Addressee, default="", blank=True
    )
    count = models.PositiveIntegerField(_("次数"))
    examples = models.JSONField(_("例子"), default=list)
    """The first few in words, without receivers."""
    told = models.PositiveIntegerField(_("已告知次数"))
    opened_at = models.DateTimeField(_("开始时间"))
    last_at = models.DateTimeField(_("最近一次"))
    told_at = models.DateTimeField(_("最近告知"))
    ends_at = models.DateTimeField(_("汇总至"))
    closed_at = models.DateTimeField(_("结束时间"), null=True)
    seen_by = models.CharField(_("知悉人"), max_length=64, default="")
    seen_at = models.DateTimeField(_("知悉时间"), null=True)

    objects: ClassVar[AlarmQuerySet] = AlarmQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        verbose_name = _("告警")
        verbose_name_plural = _("告警")
        constraints = [
            models.UniqueConstraint(
                fields=["topic"], condition=Q(closed_at=None), name="alarm_one_open"
            ),
        ]
        indexes = [
            models.Index(fields=["ends_at"], name="alarm_due", condition=Q(closed_at=None)),
            models.Index(fields=["-last_at"], name="alarm_latest"),
        ]

    def __str__(self) -> str:
        return f"{self.title} {self.count}"
