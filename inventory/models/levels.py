"""What there is of each SKU, what of it is promised or set aside, and every movement."""

from collections.abc import Collection
from typing import ClassVar

from django.contrib.postgres.indexes import BrinIndex
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from inventory.models.places import VirtualWarehouse
from ordercenter.catalog.models import Shop, Sku
from ordercenter.orders.models import OrderLine


class StockLevelQuerySet(models.QuerySet["StockLevel"]):
    def locked(self, level_ids: Collection[int]) -> dict[int, "StockLevel"]:
        """Lock levels in primary-key order, so that orders wanting the same SKUs queue up.

        NO KEY lets others insert rows that point here.
        """
        rows = self.filter(pk__in=level_ids).order_by("pk").select_for_update(no_key=True)
        return {row.pk: row for row in rows}


class StockLevel(models.Model):
    """What one virtual warehouse has of one SKU, in units, by kind.

    ``on_hand`` can be sold and lies on the shelf; ``reserved`` of it is promised to orders and
    ``locked`` of it is set aside for single shops and not promised yet. ``inbound`` is announced,
    ``in_transit`` on its way here from another warehouse, ``defect`` here but not to be sold.
    The running sum of its movements, always; ``locked`` that of its slices.
    """

    virtual_warehouse = models.ForeignKey(
        VirtualWarehouse, models.PROTECT, verbose_name=_("虚拟仓"), db_index=False
    )
    sku = models.ForeignKey(Sku, models.PROTECT, verbose_name=_("货品"))
    on_hand = models.PositiveIntegerField(_("现有"), default=0)
    reserved = models.PositiveIntegerField(_("占用"), default=0)
    locked = models.PositiveIntegerField(_("店铺锁定"), db_default=0)
    inbound = models.PositiveIntegerField(_("在途到货"), db_default=0)
    in_transit = models.PositiveIntegerField(_("调拨在途"), db_default=0)
    defect = models.PositiveIntegerField(_("残次"), db_default=0)

    objects: ClassVar[StockLevelQuerySet] = StockLevelQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        verbose_name = _("库存")
        verbose_name_plural = _("库存")
        constraints = [
            models.UniqueConstraint(fields=["virtual_warehouse", "sku"], name="stock_level_once"),
            models.CheckConstraint(condition=Q(reserved__lte=F("on_hand")), name="never_oversold"),
            models.CheckConstraint(
                condition=Q(on_hand__gte=F("reserved") + F("locked")), name="slices_fit"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.virtual_warehouse} {self.sku}"

    @property
    def available(self) -> int:
        """Units that are promised to no order; the locked ones among them."""
        return self.on_hand - self.reserved


class StockSlice(models.Model):
    """Units of a level that one shop alone may sell. ``unsold`` of ``quantity`` are left.

    Orders of the shop take from its slice first. What is given back by an order goes back to
    the slice while it is active.
    """

    level = models.ForeignKey(StockLevel, models.PROTECT, verbose_name=_("库存"))
    shop = models.ForeignKey(Shop, models.PROTECT, verbose_name=_("店铺"))
    quantity = models.PositiveIntegerField(_("锁定数量"))
    unsold = models.PositiveIntegerField(_("未售"))
    priority = models.PositiveSmallIntegerField(_("优先级"), default=10)
    """A claw-back takes from the highest number first."""
    is_active = models.BooleanField(_("启用"), default=True)
    changed_at = models.DateTimeField(_("变更时间"), auto_now=True)

    class Meta:
        verbose_name = _("店铺锁定库存")
        verbose_name_plural = _("店铺锁定库存")
        constraints = [
            models.UniqueConstraint(fields=["level", "shop"], name="stock_slice_once"),
            models.CheckConstraint(
                condition=Q(unsold__lte=F("quantity")), name="slice_unsold_fits"
            ),
            models.CheckConstraint(
                condition=Q(is_active=True) | Q(unsold=0), name="slice_ended_is_empty"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.shop} {self.level} {self.unsold}/{self.quantity}"


class Reservation(models.Model):
    """A promise of so many units of a level to one order line. Ends exactly once."""

    class State(models.TextChoices):
        ACTIVE = "active", _("占用中")
        CONSUMED = "consumed", _("已出库")
        RELEASED = "released", _("已释放")

    line = models.ForeignKey(OrderLine, models.PROTECT, related_name="reservations", db_index=False)
    order_id = models.BigIntegerField(_("订单"))
    level = models.ForeignKey(
        StockLevel, models.PROTECT, verbose_name=_("库存"), db_index=False, db_constraint=False
    )
    """Guarded by triggers that look once a statement (ADR 0035), as the ledger's."""
    quantity = models.PositiveIntegerField(_("数量"))
    slice = models.ForeignKey(
        StockSlice,
        models.PROTECT,
        null=True,
        blank=True,
        verbose_name=_("店铺锁定"),
        db_index=False,
    )
    slice_units = models.PositiveIntegerField(_("其中来自锁定"), db_default=0)
    """So many of the units came out of the shop's slice."""
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
            models.CheckConstraint(
                condition=Q(slice_units=0) | Q(slice__isnull=False, slice_units__lte=F("quantity")),
                name="reservation_slice_units",
            ),
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
    """Where units are; every movement takes from one and gives to another.

    A transfer goes by ``BETWEEN``, which belongs to no level: what left one for it and has not
    come into the other is zero for every document.
    """

    OUTSIDE = "outside", _("库外")
    AVAILABLE = "available", _("可用")
    RESERVED = "reserved", _("占用")
    SHIPPED = "shipped", _("已出库")
    INBOUND = "inbound", _("在途到货")
    BETWEEN = "between", _("调拨中转")
    TRANSIT = "transit", _("调拨在途")
    DEFECT = "defect", _("残次")


class StockMovement(models.Model):
    """One double-entry line of the ledger: append-only at the database."""

    level = models.ForeignKey(
        StockLevel, models.PROTECT, verbose_name=_("库存"), db_index=False, db_constraint=False
    )
    source = models.CharField(_("从"), max_length=10, choices=Account)
    target = models.CharField(_("到"), max_length=10, choices=Account)
    quantity = models.PositiveIntegerField(_("数量"))
    reservation_id = models.BigIntegerField(_("占用"), null=True)
    reason = models.CharField(_("原因"), max_length=32)
    document = models.CharField(_("单据"), max_length=40, db_default="")
    """The paper behind it: ``inbound:12``, ``transfer:3``, ``adjustment:9``, ``count:4``."""
    actor = models.CharField(_("操作者"), max_length=80)
    created_at = models.DateTimeField(_("时间"))

    class Meta:
        verbose_name = _("库存流水")
        verbose_name_plural = _("库存流水")
        constraints = [
            models.CheckConstraint(condition=Q(quantity__gt=0), name="movement_positive"),
            models.CheckConstraint(condition=~Q(source=F("target")), name="movement_moves"),
        ]
        indexes = [
            models.Index(fields=["level", "id"], name="movement_by_level"),
            # Rows come in the order of time: a few pages say where a day begins.
            BrinIndex(fields=["created_at"], name="movement_by_time"),
        ]

    def __str__(self) -> str:
        return f"{self.get_source_display()} → {self.get_target_display()} {self.quantity}"
