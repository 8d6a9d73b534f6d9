"""Orders of every channel: how far each has come, and why one stands still."""

from collections.abc import Collection
from typing import Any, ClassVar

from django.db import models
from django.db.models import Exists, F, OuterRef, Q
from django.utils.translation import gettext_lazy as _

from ordercenter.catalog.models import Bundle, Shop, Sku
from ordercenter.core.policy import AnyUser, Role, roles_of, sees_all
from ordercenter.core.sealing import unseal
from ordercenter.orders.states import Disposition, HoldKind, OrderStatus, Tier

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

    def without_open_holds(self) -> "SalesOrderQuerySet":
        return self.filter(~Exists(OrderHold.objects.open().filter(order=OuterRef("pk"))))


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
            models.CheckConstraint(
                condition=Q(payable_amount__gte=0) & Q(paid_amount__gte=0) & Q(freight__gte=0),
                name="order_money_not_negative",
            ),
        ]
        indexes = [
            models.Index(fields=["placed_at"], name="order_by_time"),
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
            )
        ]

    def __str__(self) -> str:
        return f"{self.title} × {self.quantity}"


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
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.words}"
