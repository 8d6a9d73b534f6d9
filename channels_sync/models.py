"""The two ends of the wire: what came in is kept raw, what must go out is a row first."""

import json
from typing import Any

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from channels_sync.contracts import ShopAccess
from ordercenter.catalog.models import Shop
from ordercenter.core.sealing import seal, unseal

SECRET_PURPOSE = "shop-credential"  # noqa: S105 - what the key is bound to, no secret


class ShopCredential(models.Model):
    """How to speak for a shop. Secrets are sealed, and write-only in every form."""

    shop = models.OneToOneField(
        Shop, models.CASCADE, primary_key=True, related_name="credential", verbose_name=_("店铺")
    )
    base_url = models.URLField(_("接口地址"))
    app_key = models.CharField(_("应用标识"), max_length=100)
    sealed = models.BinaryField(_("密钥"), editable=False)
    options = models.JSONField(_("平台参数"), default=dict, blank=True)
    updated_at = models.DateTimeField(_("更新时间"), auto_now=True)

    class Meta:
        verbose_name = _("店铺授权")
        verbose_name_plural = _("店铺授权")

    def __str__(self) -> str:
        return str(self.shop)

    def set_secrets(self, *, app_secret: str, access_token: str = "") -> None:
        self.sealed = seal(
            {"app_secret": app_secret, "access_token": access_token}, purpose=SECRET_PURPOSE
        )

    def access(self) -> ShopAccess:
        """Open the secrets for a connector; never for a screen."""
        secrets: dict[str, Any] = unseal(self.sealed, purpose=SECRET_PURPOSE)
        return ShopAccess(
            shop_code=self.shop.code,
            base_url=self.base_url,
            app_key=self.app_key,
            app_secret=secrets["app_secret"],
            access_token=secrets["access_token"],
            options={
                k: v if isinstance(v, str) else json.dumps(v) for k, v in self.options.items()
            },
        )


class SyncCursor(models.Model):
    """How far one shop has been read, when next, and how its line is doing.

    ``position`` moves forward only, in the transaction that stores the last page of a window.
    """

    shop = models.OneToOneField(
        Shop, models.CASCADE, primary_key=True, related_name="cursor", verbose_name=_("店铺")
    )
    position = models.DateTimeField(_("已读到"))
    interval_seconds = models.PositiveIntegerField(_("轮询间隔（秒）"), default=60)
    next_due_at = models.DateTimeField(_("下次轮询"))
    leased_until = models.DateTimeField(null=True)
    last_ok_at = models.DateTimeField(_("上次成功"), null=True)
    last_push_at = models.DateTimeField(_("上次推送"), null=True)
    failures = models.PositiveIntegerField(_("连续失败"), default=0)
    last_error_at = models.DateTimeField(_("上次失败"), null=True)
    error_class = models.CharField(_("错误类别"), max_length=16, default="")
    error_code = models.CharField(_("错误代码"), max_length=80, default="")
    error_message = models.CharField(_("错误说明"), max_length=300, default="")

    class Meta:
        verbose_name = _("同步进度")
        verbose_name_plural = _("同步进度")
        constraints = [
            models.CheckConstraint(
                condition=Q(interval_seconds__gte=10), name="poll_not_faster_than_10s"
            )
        ]

    def __str__(self) -> str:
        return str(self.shop)


class InboxMessage(models.Model):
    """One order, refund or hint exactly as it came. The bytes never change.

    In exactly one of the states; a leased row whose lease has run out is taken again.
    """

    class State(models.TextChoices):
        NEW = "new", _("待处理")
        LEASED = "leased", _("处理中")
        DONE = "done", _("已处理")
        DEAD = "dead", _("已隔离")

    class Source(models.TextChoices):
        POLL = "poll", _("轮询")
        PUSH = "push", _("推送")
        FILE = "file", _("文件")
        FETCH = "fetch", _("单查")

    MAX_ATTEMPTS = 8

    shop = models.ForeignKey(
        Shop, models.PROTECT, null=True, verbose_name=_("店铺"), db_index=False
    )
    carrier = models.CharField(_("快递公司"), max_length=16, default="")
    """Set instead of the shop where a carrier pushed."""
    source = models.CharField(_("来源"), max_length=8, choices=Source)
    kind = models.CharField(_("种类"), max_length=12)
    channel_number = models.CharField(_("平台单号"), max_length=64)
    event_id = models.CharField(_("事件编号"), max_length=100)
    digest = models.BinaryField(max_length=16)
    body = models.BinaryField(_("原文"))
    received_at = models.DateTimeField(_("接收时间"))
    state = models.CharField(_("状态"), max_length=8, choices=State, default=State.NEW)
    attempts = models.PositiveSmallIntegerField(_("次数"), default=0)
    leased_until = models.DateTimeField(null=True)
    done_at = models.DateTimeField(_("处理时间"), null=True)
    error = models.CharField(_("错误"), max_length=500, default="")

    class Meta:
        verbose_name = _("收件箱")
        verbose_name_plural = _("收件箱")
        constraints = [
            models.UniqueConstraint(
                fields=["shop", "carrier", "digest"], nulls_distinct=False, name="message_once"
            ),
            models.CheckConstraint(
                condition=Q(state__in=["new", "leased", "done", "dead"]), name="message_state"
            ),
            models.CheckConstraint(condition=Q(attempts__lte=8), name="message_attempts"),
        ]
        indexes = [
            models.Index(
                fields=["id"], name="message_open", condition=Q(state__in=["new", "leased"])
            ),
            models.Index(fields=["id"], name="message_dead", condition=Q(state="dead")),
        ]

    def __str__(self) -> str:
        return f"{self.shop} {self.channel_number}"


class OutboundMessage(models.Model):
    """One thing a platform must be told. ``key`` is the same for every try: one effect."""

    class State(models.TextChoices):
        WAITING = "waiting", _("待发送")
        DONE = "done", _("已送达")
        DEAD = "dead", _("死信")

    class Kind(models.TextChoices):
        SHIP = "ship", _("发货回传")

    GIVE_UP_AFTER_HOURS = 72

    shop = models.ForeignKey(Shop, models.PROTECT, verbose_name=_("店铺"))
    kind = models.CharField(_("种类"), max_length=8, choices=Kind)
    key = models.CharField(max_length=100, unique=True)
    order_id = models.BigIntegerField(_("订单"))
    payload = models.JSONField(_("内容"))
    state = models.CharField(_("状态"), max_length=8, choices=State, default=State.WAITING)
    created_at = models.DateTimeField(_("产生时间"))
    due_at = models.DateTimeField(_("应发时间"))
    done_at = models.DateTimeField(_("送达时间"), null=True)
    tries = models.PositiveIntegerField(_("次数"), default=0)
    error = models.CharField(_("错误"), max_length=300, default="")

    class Meta:
        verbose_name = _("发件箱")
        verbose_name_plural = _("发件箱")
        indexes = [
            models.Index(fields=["due_at"], name="outbound_due", condition=Q(state="waiting")),
            models.Index(fields=["order_id"], name="outbound_of_order"),
            models.Index(fields=["id"], name="outbound_dead", condition=Q(state="dead")),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.key}"
