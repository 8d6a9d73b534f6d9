"""What people are told: robots, and the notices waiting to go to them."""

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _


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
    is_active = models.BooleanField(_("启用"), default=True)

    class Meta:
        verbose_name = _("群机器人")
        verbose_name_plural = _("群机器人")

    def __str__(self) -> str:
        return self.name


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
