"""What lies where, what of it is promised, and every movement that made it so."""

from collections.abc import Collection
from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from ordercenter.catalog.models import Shop, Sku
from ordercenter.orders.models import OrderLine


class Warehouse(models.Model):
    """A building goods leave from. ``covers`` lists the provinces it is nearest to."""

    code = models.SlugField(_("仓库编码"), max_length=32, unique=True)
    name = models.CharField(_("仓库名称"), max_length=60)
    province = models.CharField(_("省"), max_length=32)
    city = models.CharField(_("市"), max_length=32)
    district = models.CharField(_("区县"), max_length=32, blank=True)
    address = models.CharField(_("地址"), max_length=200, blank=True)
    contact = models.CharField(_("联系人"), max_length=40, blank=True)
    phone = models.CharField(_("电话"), max_length=32, blank=True)
    covers = models.JSONField(_("覆盖省份"), default=list)
    rank = models.PositiveSmallIntegerField(_("默认次序"), default=10)
    is_active = models.BooleanField(_("启用"), default=True)

    class Meta:
        verbose_name = _("仓库")
        verbose_name_plural = _("仓库")
        ordering = ["rank", "code"]

    def __str__(self) -> str:
        return self.name


class WarehouseAssignment(models.Model):
    """A picker or packer works here; without one the stage pages are empty."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, related_name="warehouse_assignments"
    )
    warehouse = models.ForeignKey(Warehouse, models.CASCADE, verbose_name=_("仓库"))

    class Meta:
        verbose_name = _("仓库分工")
        verbose_name_plural = _("仓库分工")
        constraints = [
            models.UniqueConstraint(fields=["user", "warehouse"], name="warehouse_assigned_once")
        ]

    def __str__(self) -> str:
        return f"{self.user} · {self.warehouse}"


class VirtualWarehouse(models.Model):
    """Stock of a warehouse set aside for some shops; without shops it serves all."""

    code = models.SlugField(_("虚拟仓编码"), max_length=32, unique=True)
    name = models.CharField(_("名称"), max_length=60)
    warehouse = models.ForeignKey(Warehouse, models.PROTECT, verbose_name=_("仓库"))
    shops = models.ManyToManyField(Shop, blank=True, verbose_name=_("专属店铺"))

    class Meta:
        verbose_name = _("虚拟仓")
        verbose_name_plural = _("虚拟仓")
        ordering = ["code"]

    def __str__(self) -> str:
        return self.name


class StockLevelQuerySet(models.QuerySet["StockLevel"]):
    def locked(self, level_ids: Collection[int]) -> dict[int, "StockLevel"]:
        """Lock levels in primary-key order, so that orders wanting the same SKUs queue up.

        NO KEY lets others insert rows that point here.
        """
        rows = self.filter(pk__in=level_ids).order_by("pk").select_for_update(no_key=True)
        return {row.pk: row for row in rows}


class StockLevel(models.Model):
    """What one virtual warehouse has of one SKU, and how much of it is promised.

    ``available`` is ``on_hand - reserved``. The running sum of its movements, always.
    """

    virtual_warehouse = models.ForeignKey(
        VirtualWarehouse, models.PROTECT, verbose_name=_("虚拟仓"), db_index=False
    )
    sku = models.ForeignKey(Sku, models.PROTECT, verbose_name=_("货品"))
    on_hand = models.PositiveIntegerField(_("现有"), default=0)
    reserved = models.PositiveIntegerField(_("占用"), default=0)

    objects: ClassVar[StockLevelQuerySet] = StockLevelQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        verbose_name = _("库存")
        verbose_name_plural = _("库存")
        constraints = [
            models.UniqueConstraint(fields=["virtual_warehouse", "sku"], name="stock_level_once"),
            models.CheckConstraint(condition=Q(reserved__lte=F("on_hand")), name="never_oversold"),
        ]

    def __str__(self) -> str:
        return f"{self.virtual_warehouse} {self.sku}"

    @property
    def available(self) -> int:
        return self.on_hand - self.reserved


class Reservation(models.Model):
    """A promise of so many units of a level to one order line. Ends exactly once."""

    class State(models.TextChoices):
        ACTIVE = "active", _("占用中")
        CONSUMED = "consumed", _("已出库")
        RELEASED = "released", _("已释放")

    line = models.ForeignKey(OrderLine, models.PROTECT, related_name="reservations", db_index=False)
    order_id = models.BigIntegerField(_("订单"))
    level = models.ForeignKey(StockLevel, models.PROTECT, verbose_name=_("库存"), db_index=False)
    quantity = models.PositiveIntegerField(_("数量"))
    state = models.CharField(_("状态"), max_length=8, choices=State, default=State.ACTIVE)
    created_at = models.DateTimeField(_("占用时间"))
    expires_at = models.DateTimeField(_("到期"), null=True)
    """Set while unpaid; payment takes it away."""
    closed_at = models.DateTimeField(_("结束时间"), null=True)
    close_reason = models.CharField(_("结束原因"), max_length=32, default="")

    class Meta:
        verbose_name = _("库存占用")
        verbose_name_plural = _("库存占用")
        constraints = [
            models.UniqueConstraint(
                fields=["line", "level"], condition=Q(state="active"), name="reservation_once"
            ),
            models.CheckConstraint(condition=Q(quantity__gt=0), name="reservation_positive"),
        ]
        indexes = [
            models.Index(
                fields=["order_id"], name="reservation_of_order", condition=Q(state="active")
            ),
            models.Index(
                fields=["expires_at"],
                name="reservation_expiry",
                condition=Q(state="active", expires_at__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.line_id} × {self.quantity}"


class Account(models.TextChoices):
    """Where units are; every movement takes from one and gives to another."""

    OUTSIDE = "outside", _("库外")
    AVAILABLE = "available", _("可用")
    RESERVED = "reserved", _("占用")
    SHIPPED = "shipped", _("已出库")


class StockMovement(models.Model):
    """One double-entry line of the ledger: append-only at the database."""

    level = models.ForeignKey(StockLevel, models.PROTECT, verbose_name=_("库存"))
    source = models.CharField(_("从"), max_length=10, choices=Account)
    target = models.CharField(_("到"), max_length=10, choices=Account)
    quantity = models.PositiveIntegerField(_("数量"))
    reservation_id = models.BigIntegerField(_("占用"), null=True)
    reason = models.CharField(_("原因"), max_length=32)
    actor = models.CharField(_("操作者"), max_length=80)
    created_at = models.DateTimeField(_("时间"))

    class Meta:
        verbose_name = _("库存流水")
        verbose_name_plural = _("库存流水")
        constraints = [
            models.CheckConstraint(condition=Q(quantity__gt=0), name="movement_positive"),
            models.CheckConstraint(condition=~Q(source=F("target")), name="movement_moves"),
        ]

    def __str__(self) -> str:
        return f"{self.get_source_display()} → {self.get_target_display()} {self.quantity}"
