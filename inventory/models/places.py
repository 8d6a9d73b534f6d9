"""Where goods lie: buildings, the shares of them that shops sell from, and the bins."""

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _

from ordercenter.catalog.models import Shop, Sku


class Warehouse(models.Model):
    """A building goods leave from. ``covers`` lists the provinces it is nearest to."""

    class Kind(models.TextChoices):
        OWN = "own", _("自营仓")
        THIRD_PARTY = "third_party", _("第三方仓")
        DROP_SHIP = "drop_ship", _("代发仓")

    code = models.SlugField(_("仓库编码"), max_length=32, unique=True)
    name = models.CharField(_("仓库名称"), max_length=60)
    kind = models.CharField(
        _("类型"), max_length=12, choices=Kind, default=Kind.OWN, db_default=Kind.OWN
    )
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


class Bin(models.Model):
    """A place on the shelves. ``walk_order`` is where the picker's path comes by it."""

    warehouse = models.ForeignKey(Warehouse, models.PROTECT, verbose_name=_("仓库"))
    code = models.CharField(_("库位编码"), max_length=32)
    walk_order = models.PositiveIntegerField(_("拣货顺序"), default=0)
    is_active = models.BooleanField(_("启用"), default=True)

    class Meta:
        verbose_name = _("库位")
        verbose_name_plural = _("库位")
        ordering = ["warehouse", "walk_order", "code"]
        constraints = [
            models.UniqueConstraint(fields=["warehouse", "code"], name="bin_once"),
        ]

    def __str__(self) -> str:
        return self.code


class BinPlace(models.Model):
    """A SKU is found in this bin."""

    bin = models.ForeignKey(Bin, models.CASCADE, verbose_name=_("库位"), related_name="places")
    sku = models.ForeignKey(Sku, models.CASCADE, verbose_name=_("货品"))

    class Meta:
        verbose_name = _("库位货品")
        verbose_name_plural = _("库位货品")
        constraints = [models.UniqueConstraint(fields=["bin", "sku"], name="bin_place_once")]

    def __str__(self) -> str:
        return f"{self.bin} {self.sku}"
