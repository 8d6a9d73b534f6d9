"""Orders of every channel: how far each has come, and why one stands still."""

from collections.abc import Collection
from typing import Any, ClassVar

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from ordercenter.catalog.models import Bundle, Shop, Sku
from ordercenter.core.policy import AnyUser, Role, roles_of, sees_all
from ordercenter.core.sealing import unseal
from ordercenter.orders.states import Disposition, HoldKind, Leaves, OrderStatus, Tier

RECEIVER_PURPOSE = "receiver"


class SalesOrderQuerySet(models.QuerySet["SalesOrder"]):
    def visible_to(self, user: AnyUser) -> "SalesOrderQuerySet":
        """What this user may know of; everything else does not exist."""
        if sees_all(user):
            return self
        if Role.CLERK in roles_of(user):
            return self.filter(shop__shopassignment__user=user.pk)
        return self.none()

    def locked(self, order_ids: Collection[int]) -> "SalesOrderQuerySet":
        """Lock orders in primary-key order, so that two batches queue up instead of deadlocking."""
        return self.filter(pk__in=order_ids).order_by("pk").select_for_update(no_key=True)


class SalesOrder(models.Model):
    """One order of one shop. ``version`` counts its changes; an audit record goes with each."""

    shop = models.ForeignKey(Shop, models.PROTECT, verbose_name=_("店铺"), db_index=False)
    channel_number = models.CharField(_("平台单号"), max_length=64)
    number = models.CharField(_("系统单号"), max_length=32, unique=True)
    status = models.CharField(_("状态"), max_length=10, choices=OrderStatus)
    version = models.PositiveIntegerField(_("版本"), default=1)
    channel_status = models.CharField(_("平台状态"), max_length=20)
    channel_modified_at = models.DateTimeField(_("平台更新时间"))
    refund_state = models.CharField(_("退款状态"), max_length=12, default="none")
    currency = models.CharField(_("币种"), max_length=3)
    payable_amount = models.DecimalField(_("应付金额"), max_digits=18, decimal_places=2)
    paid_amount = models.DecimalField(_("已付金额"), max_digits=18, decimal_places=2)
    freight = models.DecimalField(_("运费"), max_digits=18, decimal_places=2)
    placed_at = models.DateTimeField(_("下单时间"))
    paid_at = models.DateTimeField(_("付款时间"), null=True)
    received_at = models.DateTimeField(_("接收时间"))
    province = models.CharField(_("省"), max_length=32)
    city = models.CharField(_("市"), max_length=32)
    district = models.CharField(_("区县"), max_length=32)
    receiver_masked = models.CharField(_("收货人（脱敏）"), max_length=200)
    receiver_sealed = models.BinaryField(_("收货人（加密）"))
    buyer_remark = models.TextField(_("买家留言"))
    seller_memo = models.TextField(_("卖家备注"))
    has_gift = models.BooleanField(_("含赠品"))
    is_rush = models.BooleanField(_("加急"))
    is_test = models.BooleanField(_("测试单"))
    is_presale = models.BooleanField(_("预售"))
    priority = models.PositiveSmallIntegerField(_("优先级"), default=0)
    deposit_amount = models.DecimalField(
        _("定金"), max_digits=18, decimal_places=2, db_default=0, default=0
    )
    deposit_paid_at = models.DateTimeField(_("定金付款时间"), null=True)
    promised_at = models.DateTimeField(_("承诺发货时间"), null=True)
    """When the goods are to leave, as the platform or a presale's arrivals promise it."""
    balance_of = models.ForeignKey(
        "self", models.PROTECT, null=True, related_name="balances", verbose_name=_("定金单"),
        db_index=False,
    )  # fmt: skip
    """The deposit's own order, where a channel makes two of one purchase."""

    objects: ClassVar[SalesOrderQuerySet] = SalesOrderQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        verbose_name = _("订单")
        verbose_name_plural = _("订单")
        constraints = [
            models.UniqueConstraint(fields=["shop", "channel_number"], name="order_once"),
            models.UniqueConstraint(
                fields=["balance_of"],
                condition=Q(balance_of__isnull=False) & ~Q(status="canceled"),
                name="balance_once",
            ),
            models.CheckConstraint(
                condition=Q(payable_amount__gte=0) & Q(paid_amount__gte=0) & Q(freight__gte=0),
                name="order_money_not_negative",
            ),
        ]
        indexes = [
            models.Index(fields=["placed_at"], name="order_by_time"),
            models.Index(
                fields=["balance_of"],
                name="order_balances",
                condition=Q(balance_of__isnull=False),
            ),
            models.Index(
                fields=["status", "placed_at"],
                name="order_open",
                condition=~Q(status__in=["shipped", "signed", "canceled"]),
            ),
        ]

    def __str__(self) -> str:
        return self.number

    @property
    def is_paid(self) -> bool:
        return self.paid_at is not None

    def receiver(self) -> dict[str, Any]:
        """The receiver as the platform gave it. Callers see to the right to look."""
        return unseal(self.receiver_sealed, purpose=RECEIVER_PURPOSE)


class OrderEvidence(models.Model):
    """Who may be behind an order: keys to match on, never to read. Follows a moved receiver.

    Empty text is "not given" and matches nothing. Clear phones and addresses are stored as
    keyed blind indexes only; masked text never becomes a key.
    """

    order = models.OneToOneField(
        SalesOrder, models.PROTECT, primary_key=True, related_name="evidence"
    )
    shop_id = models.BigIntegerField()
    placed_at = models.DateTimeField()
    amount = models.DecimalField(max_digits=18, decimal_places=2)
    buyer_key = models.CharField(max_length=64)
    device_key = models.CharField(max_length=64)
    phone_key = models.CharField(max_length=64)
    address_key = models.CharField(max_length=64)
    ip = models.CharField(max_length=45)
    address_shingles = ArrayField(models.BigIntegerField(), null=True)
    """Keyed hashes of the pairs of signs of a clear address, sorted: what is alike shares many.
    Null where no clear address is known."""

    class Meta:
        verbose_name = _("识别依据")
        verbose_name_plural = _("识别依据")
        indexes = [
            models.Index(
                fields=[key, "placed_at"],
                name=f"evidence_{key.removesuffix('_key')}",
                condition=~Q(**{key: ""}),
            )
            for key in ("buyer_key", "device_key", "phone_key", "address_key", "ip")
        ]

    def __str__(self) -> str:
        return str(self.order_id)


class OrderLine(models.Model):
    """One line as bought, or one part of a bundle line (``bundle_line`` set, amount shared out)."""

    order = models.ForeignKey(SalesOrder, models.PROTECT, related_name="lines")
    line_no = models.PositiveSmallIntegerField(_("行号"))
    bundle_line = models.ForeignKey(
        "self", models.PROTECT, null=True, related_name="parts", db_index=False
    )
    channel_line_id = models.CharField(_("平台子单号"), max_length=64)
    platform_sku_id = models.CharField(_("平台 SKU"), max_length=64)
    outer_code = models.CharField(_("商家编码"), max_length=100)
    title = models.CharField(_("标题"), max_length=300)
    sku = models.ForeignKey(Sku, models.PROTECT, null=True, verbose_name=_("货品"), db_index=False)
    bundle = models.ForeignKey(
        Bundle, models.PROTECT, null=True, verbose_name=_("组合装"), db_index=False
    )
    listing_version = models.PositiveIntegerField(_("映射版本"), null=True)
    quantity = models.PositiveIntegerField(_("数量"))
    unit_price = models.DecimalField(_("单价"), max_digits=18, decimal_places=2)
    amount = models.DecimalField(_("实付"), max_digits=18, decimal_places=2)
    is_gift = models.BooleanField(_("赠品"))
    gift_strategy = models.CharField(_("赠品策略"), max_length=40, default="", db_default="")
    """Which strategy gave it; ``platform`` when the channel sent it so."""
    is_dropped = models.BooleanField(_("不再发货"), default=False, db_default=False)
    """The seller canceled this line; the rest of the order goes on."""
    leaves = models.CharField(
        _("分批发货"), max_length=5, choices=Leaves, default="", db_default="", blank=True
    )
    """``later`` holds no stock and waits for it; ``gone`` was in a parcel that left before
    others (of an order that is shipped whole this is empty)."""
    refund_state = models.CharField(_("退款状态"), max_length=12)

    class Meta:
        verbose_name = _("订单行")
        verbose_name_plural = _("订单行")
        ordering = ["order_id", "line_no"]
        constraints = [
            models.UniqueConstraint(fields=["order", "line_no"], name="line_once"),
            models.CheckConstraint(condition=Q(quantity__gt=0), name="line_quantity_positive"),
            models.CheckConstraint(
                condition=Q(sku__isnull=True) | Q(bundle__isnull=True), name="line_sku_or_bundle"
            ),
        ]
        indexes = [
            models.Index(
                fields=["gift_strategy", "order"],
                name="line_given",
                condition=~Q(gift_strategy__in=["", "platform"]) & Q(is_dropped=False),
            ),
            models.Index(
                fields=["order"],
                name="line_to_come",
                condition=Q(leaves="later", is_dropped=False),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.title} × {self.quantity}"


class Interception(models.Model):
    """One command that stops orders: a gate every transition reads, from start to end.

    ``condition`` is what was understood of ``text``. Its holds carry its key, and end with it.
    """

    class State(models.TextChoices):
        ASKED = "asked", _("待第二人确认")
        PLANNED = "planned", _("待开始")
        ACTIVE = "active", _("拦截中")
        LIFTED = "lifted", _("已解除")
        EXPIRED = "expired", _("已到期")
        REFUSED = "refused", _("已驳回")

    class Source(models.TextChoices):
        PERSON = "person", _("人工")
        API = "api", _("接口")
        FEED = "feed", _("外部预警")

    text = models.CharField(_("指令"), max_length=300)
    condition = models.JSONField(_("条件"))
    words = models.CharField(_("说明"), max_length=500)
    reason = models.CharField(_("原因"), max_length=500)
    state = models.CharField(_("状态"), max_length=8, choices=State)
    source = models.CharField(_("来源"), max_length=8, choices=Source, default=Source.PERSON)
    source_key = models.CharField(_("来源编号"), max_length=100, default="")
    """The feed's or caller's own key: the same warning told twice is one interception."""
    preview = models.JSONField(_("预览"), default=dict)
    """What the asker was shown: counts, value, stages, parcels."""
    asked_by = models.CharField(_("发起人"), max_length=64)
    asked_at = models.DateTimeField(_("发起时间"))
    approved_by = models.CharField(_("确认人"), max_length=64, default="")
    begins_at = models.DateTimeField(_("预约开始"), null=True, blank=True)
    """Before this moment it stops nothing; null: as soon as nobody else has to agree."""
    started_at = models.DateTimeField(_("生效时间"), null=True)
    ends_at = models.DateTimeField(_("到期时间"), null=True)
    held_at = models.DateTimeField(_("全部挂起时间"), null=True)
    """When the last order that stood inside had its hold."""
    end_asked_by = models.CharField(_("申请解除人"), max_length=64, default="")
    ended_at = models.DateTimeField(_("结束时间"), null=True)
    ended_by = models.CharField(_("解除人"), max_length=64, default="")
    end_reason = models.CharField(_("解除原因"), max_length=500, default="")
    freed_at = models.DateTimeField(_("全部恢复时间"), null=True)
    """When, after its end, its last hold was lifted and the last order had gone on."""

    class Meta:
        verbose_name = _("拦截指令")
        verbose_name_plural = _("拦截指令")
        ordering = ["-asked_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["source", "source_key"],
                condition=~Q(source_key=""),
                name="interception_told_once",
            ),
            models.CheckConstraint(
                condition=Q(approved_by="") | ~Q(approved_by=F("asked_by")),
                name="interception_not_approved_by_asker",
            ),
        ]
        indexes = [
            models.Index(fields=["id"], name="interception_gate", condition=Q(state="active")),
            models.Index(
                fields=["begins_at"], name="interception_planned", condition=Q(state="planned")
            ),
        ]

    def __str__(self) -> str:
        return self.words


class InterceptionPolicy(models.Model):
    """The one row of settings of interceptions (``InterceptionPolicy.current``)."""

    most_orders = models.PositiveIntegerField(_("超过多少单需第二人确认"), default=1_000)
    most_value = models.DecimalField(
        _("超过多少金额需第二人确认（元）"), max_digits=18, decimal_places=2, default=500_000
    )
    call_back_hours = models.PositiveSmallIntegerField(_("召回几小时内交快递的包裹"), default=2)
    """Parcels handed over within so long, and scanned by no carrier, are asked back; 0: none."""

    class Meta:
        verbose_name = _("拦截策略")
        verbose_name_plural = _("拦截策略")
        constraints = [
            models.CheckConstraint(condition=Q(pk=1), name="interception_policy_once"),
        ]

    def __str__(self) -> str:
        return str(self._meta.verbose_name)

    def save(self, *args: Any, **kwargs: Any) -> None:
        self.pk = 1
        super().save(*args, **kwargs)

    @classmethod
    def current(cls) -> "InterceptionPolicy":
        """The settings in force; the defaults where nobody has set any."""
        return cls.objects.first() or cls(pk=1)


class OrderHoldQuerySet(models.QuerySet["OrderHold"]):
    def open(self) -> "OrderHoldQuerySet":
        return self.filter(released_at=None)


class OrderHold(models.Model):
    """One reason why one order may not go further. Shippable means: no open row here.

    ``evidence`` holds the facts and ``words`` the sentence a reviewer reads. The versions are
    the order's own, counted under its row lock: they are the true order of events.
    """

    order = models.ForeignKey(SalesOrder, models.PROTECT, related_name="holds", db_index=False)
    kind = models.CharField(_("种类"), max_length=16, choices=HoldKind)
    code = models.CharField(_("规则"), max_length=40)
    tier = models.CharField(_("级别"), max_length=1, choices=Tier)
    words = models.CharField(_("原因"), max_length=500)
    evidence = models.JSONField(_("依据"), default=dict)
    disposition = models.CharField(
        _("处理"), max_length=12, choices=Disposition, default=Disposition.WAITING
    )
    placed_by = models.JSONField(_("挂起人"))
    opened_at = models.DateTimeField(_("挂起时间"))
    opened_version = models.PositiveIntegerField()
    expires_at = models.DateTimeField(_("到期"), null=True, blank=True)
    """When it is released by itself; null for never."""
    release_ahead = models.DurationField(_("承诺前自动解除"), null=True, blank=True)
    """It is released this long before the order's promised time instead."""
    rush_after = models.BooleanField(_("解除后加急"), default=False, db_default=False)
    snoozed_until = models.DateTimeField(_("暂缓至"), null=True, blank=True)
    """It is not shown on the wall before; it holds all the same."""
    interception = models.ForeignKey(
        Interception, models.PROTECT, null=True, blank=True, related_name="holds",
        verbose_name=_("拦截指令"), db_index=False,
    )  # fmt: skip
    asked_by = models.CharField(_("申请人"), max_length=64, default="")
    released_at = models.DateTimeField(_("解除时间"), null=True, blank=True)
    released_by = models.CharField(_("解除人"), max_length=64, default="")
    release_reason = models.CharField(_("解除原因"), max_length=500, default="")
    closed_version = models.PositiveIntegerField(null=True)

    objects: ClassVar[OrderHoldQuerySet] = OrderHoldQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        verbose_name = _("挂起")
        verbose_name_plural = _("挂起")
        constraints = [
            models.UniqueConstraint(
                fields=["order", "kind", "code"],
                condition=Q(released_at=None),
                name="hold_open_once",
            ),
            models.CheckConstraint(
                condition=Q(released_at=None) | Q(asked_by="") | ~Q(asked_by=F("released_by")),
                name="hold_not_released_by_asker",
            ),
            models.CheckConstraint(
                condition=~Q(tier="3")
                | Q(released_at=None)
                | ~Q(asked_by="")
                | Q(released_by__startswith="job:"),
                name="tier3_release_was_asked",
            ),
        ]
        indexes = [
            models.Index(
                fields=["disposition", "-tier", "opened_at"],
                name="hold_wall",
                condition=Q(released_at=None),
            ),
            models.Index(fields=["order"], name="hold_of_order"),
            models.Index(fields=["-opened_at"], name="hold_recent"),
            models.Index(
                fields=["expires_at"],
                name="hold_expiring",
                condition=Q(released_at=None, expires_at__isnull=False),
            ),
            models.Index(
                fields=["released_by", "released_at"],
                name="hold_released_by_person",
                condition=Q(released_by__startswith="person:", interception=None),
            ),
            models.Index(
                fields=["interception", "order"],
                name="hold_of_interception",
                condition=Q(interception__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.words}"


class CardClaim(models.Model):
    """Who looks at a held order now; ends by itself at ``expires_at``."""

    order = models.OneToOneField(SalesOrder, models.PROTECT, primary_key=True, related_name="claim")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE)
    claimed_at = models.DateTimeField(_("领取时间"))
    expires_at = models.DateTimeField(_("超时"))

    class Meta:
        verbose_name = _("卡片领取")
        verbose_name_plural = _("卡片领取")

    def __str__(self) -> str:
        return f"{self.order_id} {self.user_id}"


class Delegation(models.Model):
    """The CEO lets somebody else approve tier 3 from one moment to another."""

    giver = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, related_name="delegations_given"
    )
    taker = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, related_name="delegations_taken"
    )
    starts_at = models.DateTimeField(_("开始"))
    ends_at = models.DateTimeField(_("结束"))
    reason = models.CharField(_("原因"), max_length=500)
    made_at = models.DateTimeField(_("授权时间"))
    revoked_at = models.DateTimeField(_("收回时间"), null=True)

    class Meta:
        verbose_name = _("审批授权")
        verbose_name_plural = _("审批授权")
        constraints = [
            models.CheckConstraint(
                condition=Q(ends_at__gt=F("starts_at")), name="delegation_ends_after_start"
            ),
            models.CheckConstraint(
                condition=~Q(giver=F("taker")), name="delegation_not_to_oneself"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.giver_id} → {self.taker_id}"
