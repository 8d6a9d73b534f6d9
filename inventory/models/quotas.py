"""How much of the pool each shop shows, and what is kept back."""

from decimal import Decimal
from typing import Any

from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from inventory.models.levels import StockSlice
from inventory.models.places import Warehouse
from ordercenter.catalog.models import Shop, Sku
from ordercenter.orders.models import OrderLine


class ChannelQuota(models.Model):
    """How much of what is free a shop shows: of one SKU, or of all that have no rule of their own.

    ``percent`` of the free units, ``plus`` or minus a fixed number, not below ``minimum`` nor
    above ``maximum``, and never more than there is. ``warehouses`` empty: from everywhere.
    """

    shop = models.ForeignKey(Shop, models.CASCADE, verbose_name=_("店铺"))
    sku = models.ForeignKey(Sku, models.CASCADE, null=True, blank=True, verbose_name=_("货品"))
    percent = models.DecimalField(
        _("比例（%）"), max_digits=5, decimal_places=2, default=Decimal(100)
    )
    plus = models.IntegerField(_("加减"), default=0)
    minimum = models.PositiveIntegerField(_("最少"), null=True, blank=True)
    maximum = models.PositiveIntegerField(_("最多"), null=True, blank=True)
    warehouses = models.ManyToManyField(Warehouse, blank=True, verbose_name=_("指定仓库"))
    priority = models.PositiveSmallIntegerField(_("优先级"), default=10)
    is_active = models.BooleanField(_("启用"), default=True)
    version = models.PositiveIntegerField(_("版本"), default=1, editable=False)

    class Meta:
        verbose_name = _("店铺库存配额")
        verbose_name_plural = _("店铺库存配额")
        ordering = ["shop", "sku"]
        constraints = [
            models.UniqueConstraint(
                fields=["shop", "sku"], nulls_distinct=False, name="channel_quota_once"
            ),
            models.CheckConstraint(
                condition=Q(percent__gte=0) & Q(percent__lte=100), name="channel_quota_percent"
            ),
            models.CheckConstraint(
                condition=Q(minimum__isnull=True)
                | Q(maximum__isnull=True)
                | Q(minimum__lte=F("maximum")),
                name="channel_quota_bounds",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.shop} {self.sku or _('全部货品')}"


class SafetyStock(models.Model):
    """What is kept back from all shops of a SKU; the row without one is the default."""

    class Method(models.TextChoices):
        UNITS = "units", _("固定件数")
        PERCENT = "percent", _("现有库存比例")
        VOLATILITY = "volatility", _("按销量波动")

    sku = models.ForeignKey(Sku, models.CASCADE, null=True, blank=True, verbose_name=_("货品"))
    method = models.CharField(_("方法"), max_length=10, choices=Method, default=Method.VOLATILITY)
    value = models.DecimalField(_("件数或比例"), max_digits=9, decimal_places=2, default=Decimal(0))
    floor = models.PositiveIntegerField(_("下限（件）"), default=0)
    cap = models.PositiveIntegerField(_("上限（件）"), null=True, blank=True)
    hot_until = models.DateTimeField(_("大促热销至"), null=True, blank=True)
    is_active = models.BooleanField(_("启用"), default=True)

    class Meta:
        verbose_name = _("安全库存")
        verbose_name_plural = _("安全库存")
        ordering = ["sku"]
        constraints = [
            models.UniqueConstraint(fields=["sku"], nulls_distinct=False, name="safety_stock_once"),
            models.CheckConstraint(condition=Q(value__gte=0), name="safety_stock_not_negative"),
            models.CheckConstraint(
                condition=~Q(method="percent") | Q(value__lte=100), name="safety_stock_percent"
            ),
            models.CheckConstraint(
                condition=Q(cap__isnull=True) | Q(cap__gte=F("floor")), name="safety_stock_bounds"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.sku or _('默认')} {self.get_method_display()}"


class StockBuffer(models.Model):
    """Units of a SKU kept back at present, and how that came out."""

    sku = models.OneToOneField(Sku, models.CASCADE, primary_key=True, verbose_name=_("货品"))
    units = models.PositiveIntegerField(_("安全库存（件）"))
    basis = models.JSONField(_("依据"), default=dict)
    computed_at = models.DateTimeField(_("计算时间"))

    class Meta:
        verbose_name = _("安全库存结果")
        verbose_name_plural = _("安全库存结果")

    def __str__(self) -> str:
        return f"{self.sku_id} {self.units}"


class StockPolicy(models.Model):
    """The one row of settings of the stock (``StockPolicy.current``)."""

    hot_percent = models.DecimalField(
        _("热销缓冲（%）"), max_digits=5, decimal_places=2, default=Decimal(15)
    )
    slow_percent = models.DecimalField(
        _("慢销缓冲（%）"), max_digits=5, decimal_places=2, default=Decimal(5)
    )
    replenish_below = models.PositiveIntegerField(_("补货提醒线（件）"), default=50)
    few_below = models.PositiveIntegerField(_("仅剩提示线（件）"), default=10)
    danger_below = models.PositiveIntegerField(_("缺货高风险线（件）"), default=3)
    few_most_per_order = models.PositiveIntegerField(_("仅剩时每单限购（件）"), default=2)
    lead_days = models.PositiveSmallIntegerField(_("补货在途天数"), default=7, db_default=7)
    """From the order at the supplier to the goods on the shelf."""
    two_person_units = models.PositiveIntegerField(_("调整需双人复核（件）"), default=20)
    told_hours = models.PositiveSmallIntegerField(
        _("第三方报数多久算过时（小时）"), default=24, db_default=24
    )
    unpaid_units_per_buyer = models.PositiveIntegerField(
        _("同一买家未付款占用上限（件）"), default=20
    )
    unpaid_units_per_address = models.PositiveIntegerField(
        _("同一地址未付款占用上限（件）"), default=50
    )
    unpaid_ip_percent = models.DecimalField(
        _("同一 IP 未付款占用份额上限（%）"), max_digits=5, decimal_places=2, default=Decimal(30)
    )

    class Meta:
        verbose_name = _("库存策略")
        verbose_name_plural = _("库存策略")
        constraints = [
            models.CheckConstraint(condition=Q(pk=1), name="stock_policy_once"),
            models.CheckConstraint(
                condition=Q(hot_percent__lte=100)
                & Q(slow_percent__lte=100)
                & Q(unpaid_ip_percent__lte=100),
                name="stock_policy_percent",
            ),
        ]

    def __str__(self) -> str:
        return str(_("库存策略"))

    def save(self, *args: Any, **kwargs: Any) -> None:
        self.pk = 1
        super().save(*args, **kwargs)

    @classmethod
    def current(cls) -> "StockPolicy":
        """The settings, or their defaults while nobody has saved any."""
        return cls.objects.first() or cls(pk=1)


class ClawBack(models.Model):
    """Unsold units taken out of one shop's slice for a paid order of another."""

    class State(models.TextChoices):
        TAKEN = "taken", _("已回拨")
        REFUSED = "refused", _("平台拒绝")
        RETURNED = "returned", _("已归还")

    line = models.ForeignKey(OrderLine, models.PROTECT, verbose_name=_("订单行"))
    order_id = models.BigIntegerField(_("订单"), db_index=True)
    slice = models.ForeignKey(StockSlice, models.PROTECT, verbose_name=_("回拨自"))
    quantity = models.PositiveIntegerField(_("数量"))
    amount = models.DecimalField(_("挽回金额"), max_digits=18, decimal_places=2)
    currency = models.CharField(_("币种"), max_length=3)
    state = models.CharField(_("状态"), max_length=8, choices=State, default=State.TAKEN)
    taken_at = models.DateTimeField(_("回拨时间"))
    closed_at = models.DateTimeField(_("结束时间"), null=True)
    words = models.CharField(_("说明"), max_length=200, blank=True)

    class Meta:
        verbose_name = _("库存回拨")
        verbose_name_plural = _("库存回拨")
        ordering = ["-pk"]
        constraints = [
            models.CheckConstraint(condition=Q(quantity__gt=0), name="claw_back_positive")
        ]

    def __str__(self) -> str:
        return f"{self.slice} {self.quantity}"
