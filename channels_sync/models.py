"""The two ends of the wire: what came in is kept raw, what must go out is a row first."""

import hashlib
import json
import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar, Final

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from channels_sync.contracts import ShopAccess
from inventory.models import Warehouse
from ordercenter.catalog.models import Channel, Listing, Shop
from ordercenter.core.clock import now as clock_now
from ordercenter.core.policy import Scope
from ordercenter.core.sealing import seal, unseal
from ordercenter.orders.models import Interception

SECRET_PURPOSE = "shop-credential"  # noqa: S105 - what the key is bound to, no secret
TOKENS: Final = ("app_secret", "access_token", "refresh_token", "old_app_secret")
"""The secrets every platform has; what else is sealed with them is the platform's own."""
GRACED: Final = ("app_secret", "push_token", "encoding_aes_key")
"""The secrets that prove pushes: the one before each is kept as ``old_...`` for its grace."""


class ShopCredential(models.Model):
    """How to speak for a shop. Secrets are sealed, and write-only in every form."""

    shop = models.OneToOneField(
        Shop, models.CASCADE, primary_key=True, related_name="credential", verbose_name=_("店铺")
    )
    base_url = models.CharField(_("接口地址"), max_length=200)
    app_key = models.CharField(_("应用标识"), max_length=100)
    sealed = models.BinaryField(_("密钥"), editable=False)
    options = models.JSONField(_("平台参数"), default=dict, blank=True)
    expires_at = models.DateTimeField(_("令牌到期"), null=True, editable=False)
    refresh_expires_at = models.DateTimeField(_("授权到期"), null=True, editable=False)
    write_expires_at = models.DateTimeField(_("写权限到期"), null=True, editable=False)
    refreshing_until = models.DateTimeField(null=True, editable=False)
    """The lease of the one worker that renews the token."""
    old_secret_until = models.DateTimeField(null=True, editable=False)
    updated_at = models.DateTimeField(_("更新时间"), auto_now=True)

    class Meta:
        verbose_name = _("店铺授权")
        verbose_name_plural = _("店铺授权")

    def __str__(self) -> str:
        return str(self.shop)

    def set_secrets(self, *, app_secret: str, access_token: str = "", **more: str) -> None:
        """Seal what there is; ``more`` may be ``refresh_token``, ``old_app_secret`` and the
        platform's own."""
        secrets = {"app_secret": app_secret, "access_token": access_token, **more}
        self.sealed = seal({k: v for k, v in secrets.items() if v}, purpose=SECRET_PURPOSE)

    def secrets(self) -> dict[str, str]:
        """Open them; never for a screen."""
        found: dict[str, Any] = unseal(self.sealed, purpose=SECRET_PURPOSE)
        return {name: str(value) for name, value in found.items()}

    def change_secrets(self, **changes: str) -> None:
        """Seal again with ``changes``; an empty text takes a secret away."""
        secrets = {"app_secret": "", **self.secrets(), **changes}
        self.set_secrets(**secrets)

    def access(
        self, *, now: datetime | None = None, options: Mapping[str, str] | None = None
    ) -> ShopAccess:
        """Open the secrets for a connector; never for a screen. The shop's own options go
        before ``options``."""
        secrets = self.secrets()
        in_grace = self.old_secret_until is not None and self.old_secret_until > (
            now or clock_now()
        )
        together = {**(options or {}), **self.options}
        return ShopAccess(
            shop_code=self.shop.code,
            base_url=self.base_url,
            app_key=self.app_key,
            app_secret=secrets.get("app_secret", ""),
            access_token=secrets.get("access_token", ""),
            secrets={
                name: text
                for name, text in secrets.items()
                if name not in TOKENS and (in_grace or not name.startswith("old_"))
            },
            old_app_secret=secrets.get("old_app_secret", "") if in_grace else "",
            options={k: v if isinstance(v, str) else json.dumps(v) for k, v in together.items()},
        )


class CarrierCode(models.Model):
    """A platform's name of one of our carriers, where it differs from the packaged one.

    The carrier ``virtual`` stands for goods that need no parcel.
    """

    channel = models.CharField(_("平台"), max_length=16, choices=Channel)
    carrier = models.SlugField(_("快递公司"), max_length=16)
    code = models.CharField(_("平台编码"), max_length=40)

    class Meta:
        verbose_name = _("平台快递编码")
        verbose_name_plural = _("平台快递编码")
        ordering = ["channel", "carrier"]
        constraints = [
            models.UniqueConstraint(fields=["channel", "carrier"], name="carrier_code_once")
        ]

    def __str__(self) -> str:
        return f"{self.get_channel_display()} {self.carrier}={self.code}"


class FieldMap(models.Model):
    """One version of the table that ties a channel's field names to ours.

    Without a live row the packaged table counts. A row for a shop goes before its channel's.
    Rows are never changed: an edit is a new version.
    """

    channel = models.CharField(_("平台"), max_length=16, choices=Channel)
    shop = models.ForeignKey(Shop, models.CASCADE, null=True, blank=True, verbose_name=_("店铺"))
    version = models.PositiveIntegerField(_("版本"))
    mapping = models.JSONField(_("字段对照"))
    is_live = models.BooleanField(_("生效"), default=False)
    note = models.CharField(_("说明"), max_length=200, blank=True)
    created_by = models.CharField(_("编辑人"), max_length=150, default="")
    created_at = models.DateTimeField(_("编辑时间"))

    class Meta:
        verbose_name = _("字段对照表")
        verbose_name_plural = _("字段对照表")
        ordering = ["channel", "-version"]
        constraints = [
            models.UniqueConstraint(
                fields=["channel", "shop", "version"], nulls_distinct=False, name="field_map_once"
            ),
            models.UniqueConstraint(
                fields=["channel", "shop"],
                condition=Q(is_live=True),
                nulls_distinct=False,
                name="field_map_one_live",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_channel_display()} v{self.version}"


class SyncCursor(models.Model):
    """How one shop's line is doing: how it is read, when next, and what went wrong last."""

    class Mode(models.TextChoices):
        """How fresh the shop's orders and stock are to be (Q118)."""

        EVENT = "event", _("实时（推送与轮询）")
        TIMED = "timed", _("定时轮询")
        MANUAL = "manual", _("手动")

    shop = models.OneToOneField(
        Shop, models.CASCADE, primary_key=True, related_name="cursor", verbose_name=_("店铺")
    )
    mode = models.CharField(_("同步方式"), max_length=8, choices=Mode, default=Mode.EVENT)
    interval_seconds = models.PositiveIntegerField(_("轮询间隔（秒）"), default=60)
    next_due_at = models.DateTimeField(_("下次轮询"))
    paused_at = models.DateTimeField(_("暂停时间"), null=True, editable=False)
    paused_by = models.CharField(_("暂停人"), max_length=150, default="", editable=False)
    leased_until = models.DateTimeField(null=True, editable=False)
    listening_until = models.DateTimeField(null=True, editable=False)
    """The lease of the one process that holds the platform's message line."""
    last_ok_at = models.DateTimeField(_("上次成功"), null=True)
    last_push_at = models.DateTimeField(_("上次推送"), null=True)
    failures = models.PositiveIntegerField(_("连续失败"), default=0)
    broken = models.PositiveSmallIntegerField(_("连续无响应"), default=0)
    """Calls in a row that met no platform at all; at ``line.BREAKS_AFTER`` the breaker opens."""
    open_until = models.DateTimeField(_("熔断至"), null=True)
    """Until then nobody calls the platform for this shop."""
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

    @property
    def is_polled(self) -> bool:
        """Whether it is read by itself."""
        return self.paused_at is None and self.mode != self.Mode.MANUAL


class FeedCursor(models.Model):
    """How far one list of a shop has been read.

    ``position`` moves forward only, in the transaction that stores the last page of a window;
    an audited reset is the exception.
    """

    shop = models.ForeignKey(Shop, models.CASCADE, related_name="feeds", verbose_name=_("店铺"))
    feed = models.CharField(_("接口"), max_length=16)
    position = models.DateTimeField(_("已读到"))
    last_ok_at = models.DateTimeField(_("上次成功"), null=True)
    deep_at = models.DateTimeField(null=True)
    """When a long stretch behind ``position`` was last read again, against crooked clocks."""

    class Meta:
        verbose_name = _("接口进度")
        verbose_name_plural = _("接口进度")
        constraints = [models.UniqueConstraint(fields=["shop", "feed"], name="feed_once")]

    def __str__(self) -> str:
        return f"{self.shop} {self.feed}"


class SyncWindow(models.Model):
    """The log of what moved a feed's cursor: one row a window read whole, or a reset."""

    shop = models.ForeignKey(Shop, models.CASCADE, db_index=False)
    feed = models.CharField(max_length=16)
    start = models.DateTimeField()
    end = models.DateTimeField()
    pages = models.PositiveIntegerField(default=0)
    messages = models.PositiveIntegerField(default=0)
    was = models.DateTimeField()
    position = models.DateTimeField()
    reset_by = models.CharField(max_length=150, default="")
    """Who moved the cursor by hand; empty for windows."""
    at = models.DateTimeField()

    class Meta:
        verbose_name = _("读取记录")
        verbose_name_plural = _("读取记录")
        indexes = [models.Index(fields=["shop", "feed", "id"], name="window_of_feed")]

    def __str__(self) -> str:
        return f"{self.shop_id} {self.feed} {self.position:%F %T}"


class CallBudget(models.Model):
    """How many calls of one interface a shop may still make: a bucket that fills by itself.

    ``per_second`` and ``burst`` start as the connector says and follow what the platform says.
    """

    shop = models.ForeignKey(Shop, models.CASCADE, verbose_name=_("店铺"))
    interface = models.CharField(_("接口"), max_length=80)
    per_second = models.FloatField(_("每秒次数"))
    burst = models.FloatField(_("突发上限"))
    tokens = models.FloatField(_("余量"))
    counted_at = models.DateTimeField(_("统计时间"))
    blocked_until = models.DateTimeField(_("限流至"), null=True)

    class Meta:
        verbose_name = _("调用额度")
        verbose_name_plural = _("调用额度")
        constraints = [models.UniqueConstraint(fields=["shop", "interface"], name="budget_once")]

    def __str__(self) -> str:
        return f"{self.shop_id} {self.interface}"


class Backfill(models.Model):
    """One wish to read a stretch of the past again, and how far it has come."""

    class State(models.TextChoices):
        WAITING = "waiting", _("排队")
        RUNNING = "running", _("进行中")
        DONE = "done", _("完成")
        FAILED = "failed", _("失败")
        CANCELED = "canceled", _("已取消")

    shop = models.ForeignKey(Shop, models.CASCADE, related_name="backfills", verbose_name=_("店铺"))
    start = models.DateTimeField(_("从"))
    end = models.DateTimeField(_("到"))
    position = models.DateTimeField(_("已补到"))
    state = models.CharField(_("状态"), max_length=8, choices=State, default=State.WAITING)
    pages = models.PositiveIntegerField(_("页数"), default=0)
    messages = models.PositiveIntegerField(_("读到"), default=0)
    new = models.PositiveIntegerField(_("新增"), default=0)
    asked_by = models.CharField(_("发起人"), max_length=150)
    reason = models.CharField(_("原因"), max_length=500, default="")
    created_at = models.DateTimeField(_("发起时间"))
    done_at = models.DateTimeField(_("完成时间"), null=True)
    leased_until = models.DateTimeField(null=True)
    failures = models.PositiveSmallIntegerField(default=0)
    error = models.CharField(_("错误"), max_length=300, default="")

    class Meta:
        verbose_name = _("补拉任务")
        verbose_name_plural = _("补拉任务")
        ordering = ["-pk"]
        constraints = [
            models.CheckConstraint(condition=Q(end__gt=models.F("start")), name="backfill_span"),
            models.UniqueConstraint(
                fields=["shop"], condition=Q(state__in=["waiting", "running"]),
                name="backfill_one_at_a_time",
            ),
        ]  # fmt: skip

    def __str__(self) -> str:
        return f"{self.shop} {self.start:%F %T} ~ {self.end:%F %T}"

    @property
    def percent(self) -> int:
        """How much of the stretch is done, 0 to 100."""
        done = (self.position - self.start) / (self.end - self.start)
        return 100 if self.state == self.State.DONE else max(0, min(99, int(done * 100)))


class Reconciliation(models.Model):
    """One shop's hour compared with its platform: both counts, and the ids only they have."""

    class State(models.TextChoices):
        EVEN = "even", _("一致")
        PULLING = "pulling", _("补拉中")
        SHORT = "short", _("仍有缺单")

    shop = models.ForeignKey(Shop, models.CASCADE, verbose_name=_("店铺"))
    hour = models.DateTimeField(_("时段"))
    """Its first instant; by the time the order was placed."""
    theirs = models.PositiveIntegerField(_("平台单数"))
    ours = models.PositiveIntegerField(_("本系统单数"))
    missing = models.JSONField(_("缺少的单号"), default=list)
    """What the platform lists and we do not have now."""
    pulled = models.PositiveIntegerField(_("已补拉"), default=0)
    """How many orders this comparison has brought in."""
    extra = models.JSONField(_("平台没有的单号"), default=list)
    state = models.CharField(_("结果"), max_length=8, choices=State)
    checked_at = models.DateTimeField(_("核对时间"))

    class Meta:
        verbose_name = _("对单")
        verbose_name_plural = _("对单")
        constraints = [models.UniqueConstraint(fields=["shop", "hour"], name="reconciled_once")]
        indexes = [models.Index(fields=["-hour"], name="reconciled_recent")]

    def __str__(self) -> str:
        return f"{self.shop} {self.hour:%F %H:00}"


class LineAlarm(models.Model):
    """Something is wrong with a shop's line until somebody or something has put it right."""

    class Kind(models.TextChoices):
        LAG = "lag", _("数据延迟")
        SILENCE = "silence", _("长时间没有新订单")
        NO_PUSH = "no_push", _("推送中断")
        MISSING = "missing", _("缺单")
        AUTH = "auth", _("授权失效或将到期")
        BREAKER = "breaker", _("平台无响应")
        DEAD = "dead", _("死信")
        CLOCK = "clock", _("时钟偏差")

    class Level(models.TextChoices):
        WARN = "warn", _("提醒")
        ALARM = "alarm", _("告警")

    shop = models.ForeignKey(Shop, models.CASCADE, related_name="alarms", verbose_name=_("店铺"))
    kind = models.CharField(_("种类"), max_length=10, choices=Kind)
    level = models.CharField(_("级别"), max_length=6, choices=Level)
    words = models.CharField(_("说明"), max_length=300)
    opened_at = models.DateTimeField(_("开始"))
    seen_at = models.DateTimeField(_("最近一次"))
    closed_at = models.DateTimeField(_("解除"), null=True)

    class Meta:
        verbose_name = _("线路告警")
        verbose_name_plural = _("线路告警")
        constraints = [
            models.UniqueConstraint(
                fields=["shop", "kind"], condition=Q(closed_at=None), name="alarm_open_once"
            )
        ]
        indexes = [models.Index(fields=["-opened_at"], name="alarm_recent")]

    def __str__(self) -> str:
        return f"{self.shop} {self.get_kind_display()}"


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
        BACKFILL = "backfill", _("补拉")

    class Lane(models.IntegerChoices):
        """Who goes first: what happens now, then what is told again of the past."""

        LIVE = 0, _("实时")
        BULK = 1, _("补拉与重放")

    MAX_ATTEMPTS = 8

    shop = models.ForeignKey(
        Shop, models.PROTECT, null=True, verbose_name=_("店铺"), db_index=False
    )
    carrier = models.CharField(_("快递公司"), max_length=16, default="")
    """Set instead of the shop where a carrier pushed."""
    source = models.CharField(_("来源"), max_length=8, choices=Source)
    lane = models.PositiveSmallIntegerField(_("队列"), choices=Lane, default=Lane.LIVE)
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
                fields=["lane", "id"],
                name="message_open",
                condition=Q(state__in=["new", "leased"]),
            ),
            models.Index(fields=["id"], name="message_dead", condition=Q(state="dead")),
            models.Index(
                fields=["shop", "channel_number"],
                name="message_of_order",
                condition=Q(kind="order"),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.shop} {self.channel_number}"


class OutboundMessage(models.Model):
    """One thing a platform must be told. ``key`` is the same for every try: one effect.

    ``subject`` names what it is about, so that a newer word about the same thing (a stock
    figure) takes the place of one that has not gone yet.
    """

    class State(models.TextChoices):
        WAITING = "waiting", _("待发送")
        DONE = "done", _("已送达")
        DEAD = "dead", _("死信")
        UNSUPPORTED = "unsupported", _("平台不支持")
        SUPERSEDED = "superseded", _("已被更新的消息取代")
        SETTLED = "settled", _("已人工处理")

    class Kind(models.TextChoices):
        SHIP = "ship", _("发货回传")
        STOCK = "stock", _("库存")
        STOP = "stop", _("退款拦截答复")
        MEMO = "memo", _("备注")
        ADDRESS = "address", _("改地址答复")

    GIVE_UP_AFTER_HOURS = 72

    shop = models.ForeignKey(Shop, models.PROTECT, verbose_name=_("店铺"))
    kind = models.CharField(_("种类"), max_length=8, choices=Kind)
    key = models.CharField(max_length=100, unique=True)
    subject = models.CharField(_("对象"), max_length=120, default="")
    order_id = models.BigIntegerField(_("订单"), null=True)
    payload = models.JSONField(_("内容"))
    state = models.CharField(_("状态"), max_length=12, choices=State, default=State.WAITING)
    created_at = models.DateTimeField(_("产生时间"))
    due_at = models.DateTimeField(_("应发时间"))
    answer_by = models.DateTimeField(_("平台时限"), null=True)
    done_at = models.DateTimeField(_("完成时间"), null=True)
    tries = models.PositiveIntegerField(_("次数"), default=0)
    is_doubtful = models.BooleanField(_("结果不明"), default=False)
    """A try may have taken effect: ask the platform before the next one."""
    error = models.CharField(_("错误"), max_length=300, default="")
    settled_by = models.CharField(_("处理人"), max_length=150, default="")
    settled_reason = models.CharField(_("处理说明"), max_length=500, default="")

    class Meta:
        verbose_name = _("发件箱")
        verbose_name_plural = _("发件箱")
        indexes = [
            models.Index(fields=["due_at"], name="outbound_due", condition=Q(state="waiting")),
            models.Index(
                fields=["subject"], name="outbound_subject",
                condition=Q(state="waiting") & ~Q(subject=""),
            ),
            models.Index(fields=["order_id"], name="outbound_of_order"),
            models.Index(fields=["id"], name="outbound_dead", condition=Q(state="dead")),
        ]  # fmt: skip

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.key}"


class PublishedStock(models.Model):
    """What one listing's channel was last told it may sell, and what it shows by our books.

    ``version`` counts computed figures; an older one never replaces a newer one.
    """

    TURN_SECONDS: ClassVar[float] = 1.5

    listing = models.OneToOneField(
        Listing, models.CASCADE, primary_key=True, related_name="published"
    )
    version = models.PositiveBigIntegerField(_("版本"), default=0)
    quantity = models.IntegerField(_("应显示"), default=0)
    computed_at = models.DateTimeField(_("计算时间"), null=True)
    told = models.IntegerField(_("已告知"), null=True)
    told_version = models.PositiveBigIntegerField(default=0)
    told_at = models.DateTimeField(_("告知时间"), null=True)
    """The moment ``told`` is true of; carried forward with it, see ``pushed_at``."""
    pushed_at = models.DateTimeField(_("上次推送"), null=True)
    """When the channel last took a figure."""
    turns_until = models.DateTimeField(null=True)
    """How often it was told lately, as a leaky bucket: a telling is a turn of TURN_SECONDS, and
    up to this moment the turns are used. Never more than a minute ahead."""
    drift = models.IntegerField(_("平台差异"), null=True)
    """By how much the channel last was found to show more (or less) than it was told."""
    drift_at = models.DateTimeField(_("发现差异"), null=True)
    refused_until = models.DateTimeField(_("平台暂不接受至"), null=True)
    refusal = models.CharField(_("拒绝原因"), max_length=200, default="")

    class Meta:
        verbose_name = _("平台库存")
        verbose_name_plural = _("平台库存")
        constraints = [
            models.CheckConstraint(
                condition=Q(told_version__lte=models.F("version")), name="told_what_was_computed"
            )
        ]

    def __str__(self) -> str:
        return f"{self.listing_id}: {self.told}"


class Reveal(models.Model):
    """One look at a receiver in the clear: who, of which order, for what. Append-only.

    Written before the platform is asked, so that no look goes unrecorded.
    """

    class Scene(models.TextChoices):
        LABEL = "label", _("打印面单")
        SERVICE = "service", _("客服联系买家")
        AFTER_SALES = "after_sales", _("售后处理")
        CHECK = "check", _("核对地址")

    shop = models.ForeignKey(Shop, models.PROTECT, db_index=False, verbose_name=_("店铺"))
    order_id = models.BigIntegerField(_("订单"))
    scene = models.CharField(_("场景"), max_length=12, choices=Scene)
    reason = models.CharField(_("事由"), max_length=500)
    seen_by = models.CharField(_("查看人"), max_length=150)
    seen_by_id = models.CharField(max_length=64)
    asked_platform = models.BooleanField(_("调用平台解密"))
    outcome = models.CharField(_("结果"), max_length=80, default="")
    at = models.DateTimeField(_("时间"))

    class Meta:
        verbose_name = _("明文查看记录")
        verbose_name_plural = _("明文查看记录")
        indexes = [
            models.Index(fields=["seen_by_id", "at"], name="reveal_by_person"),
            models.Index(fields=["shop", "at"], name="reveal_by_shop"),
        ]

    def __str__(self) -> str:
        return f"{self.seen_by} {self.order_id}"


class MergeGroup(models.Model):
    """Orders of one shop that its platform says may share a parcel, as of ``asked_at``."""

    shop = models.ForeignKey(Shop, models.CASCADE, db_index=False, verbose_name=_("店铺"))
    order_ids = models.JSONField(_("订单"))
    asked_at = models.DateTimeField(_("查询时间"))
    valid_until = models.DateTimeField(_("有效至"))

    class Meta:
        verbose_name = _("可合单组")
        verbose_name_plural = _("可合单组")
        indexes = [models.Index(fields=["shop", "-asked_at"], name="merge_group_recent")]

    def __str__(self) -> str:
        return f"{self.shop_id} {self.order_ids}"


class WarningFeed(models.Model):
    """Somebody outside who warns: of the weather, of a supplier, of a carrier.

    Its secret is sealed and proves what is pushed; a file needs none.
    """

    class Kind(models.TextChoices):
        WEATHER = "weather", _("天气")
        SUPPLIER = "supplier", _("供应商")
        LOGISTICS = "logistics", _("物流")

    class Policy(models.TextChoices):
        PROPOSE = "propose", _("只提议，由人确认")
        START = "start", _("界限以内自动拦截")

    code = models.SlugField(_("编码"), max_length=32, unique=True)
    name = models.CharField(_("名称"), max_length=60)
    kind = models.CharField(_("种类"), max_length=10, choices=Kind)
    policy = models.CharField(_("处理"), max_length=8, choices=Policy, default=Policy.PROPOSE)
    least_level = models.PositiveSmallIntegerField(_("最低级别"), default=3)
    """1 blue, 2 yellow, 3 orange, 4 red; what is below is only written down."""
    sealed = models.BinaryField(_("密钥"), editable=False, default=b"")
    is_active = models.BooleanField(_("启用"), default=True)
    heard_at = models.DateTimeField(_("上次收到"), null=True)

    class Meta:
        verbose_name = _("预警来源")
        verbose_name_plural = _("预警来源")
        ordering = ["code"]

    def __str__(self) -> str:
        return self.name


class FeedWarning(models.Model):
    """One warning as its feed told it, and what was made of it. Told twice it is one row."""

    class State(models.TextChoices):
        WAITING = "waiting", _("未到开始时间")
        HEARD = "heard", _("处理中")
        ASKED = "asked", _("待人确认")
        STARTED = "started", _("已拦截")
        NOTED = "noted", _("仅记录")
        FAILED = "failed", _("无法处理")
        ENDED = "ended", _("已结束")

    feed = models.ForeignKey(WarningFeed, models.PROTECT, related_name="warnings")
    key = models.CharField(_("预警编号"), max_length=64)
    level = models.PositiveSmallIntegerField(_("级别"))
    words = models.CharField(_("内容"), max_length=300)
    body = models.JSONField(_("范围"), default=dict)
    """``places``, ``skus`` and ``carriers`` as the feed names them."""
    starts_at = models.DateTimeField(_("开始"), null=True)
    ends_at = models.DateTimeField(_("结束"), null=True)
    state = models.CharField(_("状态"), max_length=8, choices=State, default=State.HEARD)
    note = models.CharField(_("说明"), max_length=300, default="")
    interception = models.ForeignKey(
        Interception, models.PROTECT, null=True, related_name="+", verbose_name=_("拦截指令")
    )
    heard_at = models.DateTimeField(_("收到时间"))

    class Meta:
        verbose_name = _("外部预警")
        verbose_name_plural = _("外部预警")
        constraints = [
            models.UniqueConstraint(fields=["feed", "key"], name="warning_told_once"),
        ]
        indexes = [
            models.Index(fields=["-heard_at"], name="warning_recent"),
            models.Index(
                fields=["starts_at"],
                name="warning_due",
                condition=Q(state__in=["waiting", "heard"]),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.feed_id} {self.key}"


class ApiToken(models.Model):
    """A key by which another system speaks to our API for an account, as far as its scopes go.

    Only the digest of the key is kept: it is shown once, when it is made. What a token may is
    what both its scopes and the rights of its account allow.
    """

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, verbose_name=_("账号"), related_name="api_tokens"
    )
    name = models.CharField(_("用途"), max_length=60)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    hint = models.CharField(_("开头"), max_length=8, editable=False)
    """The first signs of the key, to tell one from another by."""
    scopes = ArrayField(
        models.CharField(max_length=32, choices=Scope.choices), verbose_name=_("权限范围"),
        default=list,
    )  # fmt: skip
    all_shops = models.BooleanField(_("账号能看到的所有店铺"), default=False)
    shops = models.ManyToManyField(Shop, blank=True, verbose_name=_("只限这些店铺"))
    warehouses = models.ManyToManyField(Warehouse, blank=True, verbose_name=_("可报送件数的仓库"))
    expires_at = models.DateTimeField(_("到期时间"), null=True)
    """Null only for keys from before there were scopes."""
    is_active = models.BooleanField(_("启用"), default=True)
    created_by = models.CharField(_("创建人"), max_length=80, editable=False)
    created_at = models.DateTimeField(_("创建时间"), editable=False)
    used_at = models.DateTimeField(_("最近使用"), null=True, editable=False)
    """To the nearest ten minutes."""
    key: str = ""
    """No column: the key itself, in hand only where it has just been made."""

    class Meta:
        verbose_name = _("接口令牌")
        verbose_name_plural = _("接口令牌")
        ordering = ["-pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["user", "name"], name="token_name_once",
                violation_error_message=_("这个账号已有同名的令牌"),
            ),
        ]  # fmt: skip

    def __str__(self) -> str:
        return f"{self.name}（{self.hint}…）"

    @staticmethod
    def digest_of(key: str) -> str:
        """What is kept of a key: its entropy makes a plain hash enough."""
        return hashlib.sha256(key.encode()).hexdigest()

    def mint(self) -> str:
        """Give this unsaved token a new key, and return it: nobody can read it again."""
        self.key = secrets.token_hex(20)
        self.digest, self.hint = self.digest_of(self.key), self.key[:6]
        return self.key

    def has(self, scope: Scope) -> bool:
        return scope.value in self.scopes

    def is_good(self, now: datetime) -> bool:
        """Whether it is neither revoked nor past its time."""
        return self.is_active and (self.expires_at is None or now < self.expires_at)
