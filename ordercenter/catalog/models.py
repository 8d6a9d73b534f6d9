"""What we sell and where: shops, SKUs, bundles, listings, gift strategies."""

import re
from decimal import Decimal
from typing import Final

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils.translation import gettext_lazy as _


class Channel(models.TextChoices):
    TAOBAO = "taobao", _("淘宝/天猫")
    JD = "jd", _("京东")
    DOUYIN = "douyin", _("抖音小店")
    PINDUODUO = "pinduoduo", _("拼多多")
    SHOPIFY = "shopify", _("Shopify 独立站")
    WECHAT = "wechat", _("微信小店")
    MINIPROGRAM = "miniprogram", _("自有小程序")
    CRM = "crm_webhook", _("私域 CRM")
    OPENJSON = "openjson", _("通用 JSON 接口")
    FILE = "file", _("表格导入")


COLOR_HEX: Final = re.compile(r"#[0-9A-F]{6}")

NUMBER_PREFIX = {
    Channel.TAOBAO: "TB",
    Channel.JD: "JD",
    Channel.DOUYIN: "DY",
    Channel.PINDUODUO: "PD",
    Channel.SHOPIFY: "SH",
    Channel.WECHAT: "WX",
    Channel.MINIPROGRAM: "MP",
    Channel.CRM: "CR",
    Channel.OPENJSON: "OJ",
    Channel.FILE: "XL",
}


class Shop(models.Model):
    """One authorized store on a channel. Its secrets stay in ``channels_sync``."""

    code = models.SlugField(_("店铺编码"), max_length=32, unique=True)
    name = models.CharField(_("店铺名称"), max_length=100)
    channel = models.CharField(_("平台"), max_length=16, choices=Channel)
    currency = models.CharField(_("币种"), max_length=3, default="CNY")
    is_active = models.BooleanField(_("启用"), default=True)
    unpaid_hold_minutes = models.PositiveSmallIntegerField(_("未付款占库存（分钟）"), default=30)
    sells_ahead = models.BooleanField(
        _("缺货时按到货预售"),
        default=False,
        db_default=False,
        help_text=_("已付款但缺货的订单自动承诺到货单里尚未承诺的件数"),
    )
    handling_hours = models.PositiveSmallIntegerField(
        _("到货后发货时限（小时）"), default=24, db_default=24
    )
    shortage_days = models.PositiveSmallIntegerField(
        _("缺货几天后提醒联系买家"), default=7, db_default=7
    )
    balance_days = models.PositiveSmallIntegerField(
        _("尾款几天未付视为逾期"), default=7, db_default=7
    )
    most_parcels = models.PositiveSmallIntegerField(
        _("一单最多分几个仓发出"),
        default=1,
        db_default=1,
        validators=[MinValueValidator(1), MaxValueValidator(5)],
        help_text=_("没有一个仓有全部货品、而几个仓合起来有时，分仓各发一个包裹；1 为不分"),
    )

    class Meta:
        verbose_name = _("店铺")
        verbose_name_plural = _("店铺")
        ordering = ["code"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(most_parcels__range=(1, 5)), name="shop_most_parcels"
            )
        ]

    def __str__(self) -> str:
        return self.name


class ShopAssignment(models.Model):
    """A clerk works for this shop; without one a clerk sees no order."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, related_name="shop_assignments"
    )
    shop = models.ForeignKey(Shop, models.CASCADE, verbose_name=_("店铺"))

    class Meta:
        verbose_name = _("店铺分工")
        verbose_name_plural = _("店铺分工")
        constraints = [models.UniqueConstraint(fields=["user", "shop"], name="shop_assigned_once")]

    def __str__(self) -> str:
        return f"{self.user} · {self.shop}"


class Sku(models.Model):
    """One thing we stock: the only identifier downstream.

    ``base_price`` holds wherever no dated price (``SkuPrice``) covers the moment.
    """

    class Size(models.TextChoices):
        SMALL = "small", _("小件")
        MEDIUM = "medium", _("中件")
        LARGE = "large", _("大件")
        BULKY = "bulky", _("超大件")

    code = models.CharField(_("货品编码"), max_length=40, unique=True)
    name = models.CharField(_("名称"), max_length=120)
    category = models.CharField(_("类目"), max_length=40, blank=True)
    base_price = models.DecimalField(_("基准价"), max_digits=12, decimal_places=2)
    currency = models.CharField(_("币种"), max_length=3, default="CNY")
    barcode = models.CharField(_("条码"), max_length=40, blank=True)
    cost = models.DecimalField(_("成本"), max_digits=12, decimal_places=2, null=True, blank=True)
    weight_grams = models.PositiveIntegerField(_("重量（克）"), default=0)
    size_class = models.CharField(
        _("体积等级"), max_length=6, choices=Size, default=Size.SMALL, db_default=Size.SMALL
    )
    picture = models.URLField(_("主图地址"), max_length=500, blank=True, db_default="")
    color_name = models.CharField(_("颜色"), max_length=20, blank=True)
    color_hex = models.CharField(_("色值"), max_length=7, blank=True)
    is_gift = models.BooleanField(_("赠品"), default=False)
    is_active = models.BooleanField(_("启用"), default=True)

    class Meta:
        verbose_name = _("货品")
        verbose_name_plural = _("货品")
        ordering = ["code"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(base_price__gte=Decimal(0)), name="sku_price_not_negative"
            ),
            models.CheckConstraint(
                condition=models.Q(cost__isnull=True) | models.Q(cost__gte=Decimal(0)),
                name="sku_cost_not_negative",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.code} {self.name}"

    def clean(self) -> None:
        self.color_hex = self.color_hex.strip().upper()
        problems = {}
        if self.color_hex and not COLOR_HEX.fullmatch(self.color_hex):
            problems["color_hex"] = _("色值应为 #RRGGBB，例如 #C0392B")
        # Nothing said yet is no text but the database's own default.
        picture = self.picture if isinstance(self.picture, str) else ""
        if picture and not picture.startswith("https://"):
            problems["picture"] = _("主图地址应以 https:// 开头")
        if _is_new(self) and Bundle.objects.filter(code=self.code).exists():
            problems["code"] = _("已有组合装用这个编码，请换一个：一个编码只能指一样东西")
        if problems:
            raise ValidationError(problems)


class SkuPrice(models.Model):
    """What a SKU is worth from one moment on, and until another (or for good).

    Of several that cover a moment the one that began last counts.
    """

    sku = models.ForeignKey(Sku, models.CASCADE, verbose_name=_("货品"), related_name="prices")
    base_price = models.DecimalField(_("基准价"), max_digits=12, decimal_places=2)
    starts_at = models.DateTimeField(_("生效时间"))
    ends_at = models.DateTimeField(_("失效时间"), null=True, blank=True)
    reason = models.CharField(_("说明"), max_length=100, blank=True)

    class Meta:
        verbose_name = _("分时基准价")
        verbose_name_plural = _("分时基准价")
        ordering = ["sku", "-starts_at"]
        constraints = [
            models.UniqueConstraint(fields=["sku", "starts_at"], name="sku_price_once"),
            models.CheckConstraint(
                condition=models.Q(base_price__gte=Decimal(0)),
                name="dated_price_not_negative",
            ),
            models.CheckConstraint(
                condition=models.Q(ends_at__isnull=True)
                | models.Q(ends_at__gt=models.F("starts_at")),
                name="dated_price_ends_later",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.sku} {self.base_price}"


class Bundle(models.Model):
    """Several SKUs sold as one."""

    code = models.CharField(_("组合编码"), max_length=40, unique=True)
    name = models.CharField(_("名称"), max_length=120)
    parts = models.ManyToManyField(Sku, through="BundlePart", verbose_name=_("组成"))

    class Meta:
        verbose_name = _("组合装")
        verbose_name_plural = _("组合装")
        ordering = ["code"]

    def __str__(self) -> str:
        return f"{self.code} {self.name}"

    def clean(self) -> None:
        if _is_new(self) and Sku.objects.filter(code=self.code).exists():
            raise ValidationError({"code": _("已有货品用这个编码，请换一个：组合装不能包含它自己")})


def _is_new(row: Sku | Bundle) -> bool:
    """Whether its code is new: an old row may stay as it is."""
    return not type(row).objects.filter(pk=row.pk, code=row.code).exists()


class BundlePart(models.Model):
    """So many pieces of a SKU in one bundle."""

    bundle = models.ForeignKey(Bundle, models.CASCADE, related_name="bundle_parts")
    sku = models.ForeignKey(Sku, models.PROTECT, verbose_name=_("货品"))
    quantity = models.PositiveIntegerField(_("数量"), default=1)

    class Meta:
        verbose_name = _("组合装组成")
        verbose_name_plural = _("组合装组成")
        constraints = [
            models.UniqueConstraint(fields=["bundle", "sku"], name="bundle_part_once"),
            models.CheckConstraint(condition=models.Q(quantity__gt=0), name="bundle_part_positive"),
        ]

    def __str__(self) -> str:
        return f"{self.sku} × {self.quantity}"

    def clean(self) -> None:
        if self.sku_id and Bundle.objects.filter(code=self.sku.code).exists():
            raise ValidationError({"sku": _("这个编码是组合装，组合装里不能再放组合装")})


class CodeType(models.TextChoices):
    SKU_ID = "sku_id", _("平台 SKU 编号")
    OUTER_CODE = "outer_code", _("商家编码")


class Listing(models.Model):
    """A shop's code tied to our SKU or bundle. Order lines keep the version they were read by."""

    shop = models.ForeignKey(Shop, models.PROTECT, verbose_name=_("店铺"), related_name="listings")
    code_type = models.CharField(_("编码类型"), max_length=12, choices=CodeType)
    code = models.CharField(_("平台编码"), max_length=100)
    platform_sku_id = models.CharField(_("平台 SKU 编号"), max_length=64, blank=True, default="")
    platform_item_id = models.CharField(_("平台商品编号"), max_length=64, blank=True, default="")
    """What a stock figure is addressed to; learned from orders, or typed."""
    title = models.CharField(_("平台标题"), max_length=200, blank=True)
    sku = models.ForeignKey(Sku, models.PROTECT, null=True, blank=True, verbose_name=_("货品"))
    bundle = models.ForeignKey(
        Bundle, models.PROTECT, null=True, blank=True, verbose_name=_("组合装")
    )
    version = models.PositiveIntegerField(_("版本"), default=1, editable=False)

    class Meta:
        verbose_name = _("平台商品映射")
        verbose_name_plural = _("平台商品映射")
        constraints = [
            models.UniqueConstraint(fields=["shop", "code_type", "code"], name="listing_once"),
            models.CheckConstraint(
                condition=models.Q(sku__isnull=False, bundle__isnull=True)
                | models.Q(sku__isnull=True, bundle__isnull=False),
                name="listing_sku_or_bundle",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.shop} {self.code}"


class ListingVersion(models.Model):
    """What a listing stood for, version by version. The newest is what it stands for now."""

    listing = models.ForeignKey(Listing, models.CASCADE, related_name="versions")
    version = models.PositiveIntegerField(_("版本"))
    sku = models.ForeignKey(Sku, models.PROTECT, null=True, verbose_name=_("货品"))
    bundle = models.ForeignKey(Bundle, models.PROTECT, null=True, verbose_name=_("组合装"))
    reason = models.CharField(_("原因"), max_length=200, blank=True)
    changed_by = models.CharField(_("操作者"), max_length=80)
    changed_at = models.DateTimeField(_("时间"))

    class Meta:
        verbose_name = _("映射版本")
        verbose_name_plural = _("映射版本")
        ordering = ["listing", "-version"]
        constraints = [
            models.UniqueConstraint(fields=["listing", "version"], name="listing_version_once")
        ]

    def __str__(self) -> str:
        return f"{self.listing} v{self.version}"


class GiftStrategy(models.Model):
    """Who may have a gift, and which.

    ``min_amount`` and ``min_quantity`` are reached by the main goods of the order: those of
    ``main_skus`` where any are named, else all that are no gifts. ``tiers`` replace gift and
    thresholds: the highest tier that is reached counts. ``shops`` empty: every shop.
    """

    class Kind(models.TextChoices):
        AUTOMATIC = "automatic", _("系统自动加赠")
        PLATFORM = "platform", _("平台赠送（只核对）")
        MANUAL = "manual", _("人工赠送")

    code = models.SlugField(_("策略编码"), max_length=40, unique=True)
    name = models.CharField(_("名称"), max_length=100)
    kind = models.CharField(
        _("来源"), max_length=9, choices=Kind, default=Kind.PLATFORM, db_default=Kind.PLATFORM
    )
    gift_sku = models.ForeignKey(Sku, models.PROTECT, verbose_name=_("赠品"))
    quantity = models.PositiveIntegerField(_("赠送件数"), default=1, db_default=1)
    min_amount = models.DecimalField(
        _("主商品金额门槛"), max_digits=12, decimal_places=2, default=Decimal(0)
    )
    min_quantity = models.PositiveIntegerField(_("主商品件数门槛"), default=0, db_default=0)
    shops = models.ManyToManyField(Shop, blank=True, verbose_name=_("适用店铺"))
    main_skus = models.ManyToManyField(
        Sku, blank=True, related_name="earns_gifts", verbose_name=_("主商品")
    )
    starts_at = models.DateTimeField(_("开始"), null=True, blank=True)
    ends_at = models.DateTimeField(_("结束"), null=True, blank=True)
    first_orders = models.PositiveIntegerField(_("前 N 单"), null=True, blank=True)
    per_buyer = models.PositiveIntegerField(_("每位买家限几单"), null=True, blank=True)
    substitute = models.ForeignKey(
        Sku, models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("替代赠品")
    )
    """Given when the gift is out of stock; without one the order is held."""
    is_active = models.BooleanField(_("启用"), default=True)

    class Meta:
        verbose_name = _("赠品策略")
        verbose_name_plural = _("赠品策略")
        ordering = ["code"]
        constraints = [
            models.CheckConstraint(condition=models.Q(quantity__gt=0), name="gift_gives"),
            models.CheckConstraint(
                condition=models.Q(starts_at__isnull=True)
                | models.Q(ends_at__isnull=True)
                | models.Q(ends_at__gt=models.F("starts_at")),
                name="gift_ends_later",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class GiftTier(models.Model):
    """One step of a tiered strategy."""

    strategy = models.ForeignKey(GiftStrategy, models.CASCADE, related_name="tiers")
    min_amount = models.DecimalField(
        _("主商品金额门槛"), max_digits=12, decimal_places=2, default=Decimal(0)
    )
    min_quantity = models.PositiveIntegerField(_("主商品件数门槛"), default=0)
    gift_sku = models.ForeignKey(Sku, models.PROTECT, verbose_name=_("赠品"))
    quantity = models.PositiveIntegerField(_("赠送件数"), default=1)

    class Meta:
        verbose_name = _("赠品阶梯")
        verbose_name_plural = _("赠品阶梯")
        ordering = ["strategy", "min_amount", "min_quantity"]
        constraints = [
            models.UniqueConstraint(
                fields=["strategy", "min_amount", "min_quantity"], name="gift_tier_once"
            ),
            models.CheckConstraint(condition=models.Q(quantity__gt=0), name="gift_tier_gives"),
        ]

    def __str__(self) -> str:
        return f"{self.strategy} ≥ {self.min_amount} / {self.min_quantity}"
