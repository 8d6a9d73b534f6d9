"""Papers that move stock: arrivals, transfers, adjustments, counts, and the promises on them."""

from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from inventory.models.levels import StockLevel
from inventory.models.places import VirtualWarehouse
from ordercenter.catalog.models import Sku
from ordercenter.orders.models import OrderLine


class Inbound(models.Model):
    """Goods announced by a supplier: when they are to come, and where to."""

    class State(models.TextChoices):
        EXPECTED = "expected", _("待到货")
        PARTLY = "partly", _("部分到货")
        RECEIVED = "received", _("已收货")
        CANCELED = "canceled", _("已取消")

    number = models.CharField(_("到货单号"), max_length=40, unique=True)
    virtual_warehouse = models.ForeignKey(
        VirtualWarehouse, models.PROTECT, verbose_name=_("虚拟仓")
    )
    supplier = models.CharField(_("供应商"), max_length=100, blank=True)
    expected_at = models.DateTimeField(_("预计到货"))
    state = models.CharField(_("状态"), max_length=8, choices=State, default=State.EXPECTED)
    note = models.CharField(_("备注"), max_length=200, blank=True)
    created_by = models.CharField(_("登记人"), max_length=80)
    created_at = models.DateTimeField(_("登记时间"))

    class Meta:
        verbose_name = _("到货单")
        verbose_name_plural = _("到货单")
        ordering = ["expected_at", "pk"]

    def __str__(self) -> str:
        return self.number


class InboundLine(models.Model):
    """So many units of a SKU announced, and what came of them.

    ``promised`` of what is still to come is sold ahead (presale).
    """

    inbound = models.ForeignKey(Inbound, models.CASCADE, related_name="lines")
    sku = models.ForeignKey(Sku, models.PROTECT, verbose_name=_("货品"))
    expected = models.PositiveIntegerField(_("应到"))
    received = models.PositiveIntegerField(_("实收良品"), default=0)
    defect = models.PositiveIntegerField(_("实收残次"), default=0)
    promised = models.PositiveIntegerField(_("预售已承诺"), default=0)

    class Meta:
        verbose_name = _("到货明细")
        verbose_name_plural = _("到货明细")
        constraints = [
            models.UniqueConstraint(fields=["inbound", "sku"], name="inbound_line_once"),
            models.CheckConstraint(condition=Q(expected__gt=0), name="inbound_line_positive"),
            models.CheckConstraint(
                condition=Q(promised__lte=F("expected")), name="presale_never_oversold"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.sku} × {self.expected}"


class PresalePromise(models.Model):
    """Units still to come that one order line was promised. Ends exactly once."""

    class State(models.TextChoices):
        ACTIVE = "active", _("等待到货")
        MET = "met", _("已转现货")
        RELEASED = "released", _("已释放")

    line = models.ForeignKey(OrderLine, models.PROTECT, related_name="presale_promises")
    order_id = models.BigIntegerField(_("订单"), db_index=True)
    inbound_line = models.ForeignKey(InboundLine, models.PROTECT, related_name="promises")
    quantity = models.PositiveIntegerField(_("数量"))
    state = models.CharField(_("状态"), max_length=8, choices=State, default=State.ACTIVE)
    created_at = models.DateTimeField(_("承诺时间"))
    closed_at = models.DateTimeField(_("结束时间"), null=True)
    close_reason = models.CharField(_("结束原因"), max_length=32, default="")

    class Meta:
        verbose_name = _("预售承诺")
        verbose_name_plural = _("预售承诺")
        constraints = [
            models.UniqueConstraint(
                fields=["line", "inbound_line"],
                condition=Q(state="active"),
                name="presale_promise_once",
            ),
            models.CheckConstraint(condition=Q(quantity__gt=0), name="presale_promise_positive"),
        ]

    def __str__(self) -> str:
        return f"{self.line_id} × {self.quantity}"


class Transfer(models.Model):
    """Goods on their way from one virtual warehouse to another."""

    class State(models.TextChoices):
        DRAFT = "draft", _("待发出")
        SENT = "sent", _("在途")
        RECEIVED = "received", _("已收货")
        CANCELED = "canceled", _("已取消")

    number = models.CharField(_("调拨单号"), max_length=40, unique=True)
    source = models.ForeignKey(
        VirtualWarehouse, models.PROTECT, related_name="transfers_out", verbose_name=_("调出")
    )
    target = models.ForeignKey(
        VirtualWarehouse, models.PROTECT, related_name="transfers_in", verbose_name=_("调入")
    )
    state = models.CharField(_("状态"), max_length=8, choices=State, default=State.DRAFT)
    note = models.CharField(_("备注"), max_length=200, blank=True)
    created_by = models.CharField(_("登记人"), max_length=80)
    created_at = models.DateTimeField(_("登记时间"))
    sent_at = models.DateTimeField(_("发出时间"), null=True)
    received_at = models.DateTimeField(_("收货时间"), null=True)

    class Meta:
        verbose_name = _("调拨单")
        verbose_name_plural = _("调拨单")
        ordering = ["-pk"]
        constraints = [
            models.CheckConstraint(condition=~Q(source=F("target")), name="transfer_moves"),
        ]

    def __str__(self) -> str:
        return self.number


class TransferLine(models.Model):
    """So many units of a SKU in a transfer; ``lost`` did not arrive."""

    transfer = models.ForeignKey(Transfer, models.CASCADE, related_name="lines")
    sku = models.ForeignKey(Sku, models.PROTECT, verbose_name=_("货品"))
    quantity = models.PositiveIntegerField(_("数量"))
    received = models.PositiveIntegerField(_("实收"), default=0)
    lost = models.PositiveIntegerField(_("短少"), default=0)

    class Meta:
        verbose_name = _("调拨明细")
        verbose_name_plural = _("调拨明细")
        constraints = [
            models.UniqueConstraint(fields=["transfer", "sku"], name="transfer_line_once"),
            models.CheckConstraint(condition=Q(quantity__gt=0), name="transfer_line_positive"),
            models.CheckConstraint(
                condition=Q(quantity__gte=F("received") + F("lost")), name="transfer_line_fits"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.sku} × {self.quantity}"


class Adjustment(models.Model):
    """A correction of what a level has; above the policy's limit a second person decides."""

    class State(models.TextChoices):
        WAITING = "waiting", _("待复核")
        APPLIED = "applied", _("已生效")
        REFUSED = "refused", _("已驳回")

    level = models.ForeignKey(StockLevel, models.PROTECT, verbose_name=_("库存"))
    delta = models.IntegerField(_("增减"))
    to_defect = models.BooleanField(_("转残次"), default=False)
    """The units taken off are not gone: they are here and cannot be sold."""
    from_defect = models.BooleanField(_("残次品"), db_default=False)
    """Defect units are corrected: those added to the good ones, or those that are gone."""
    key = models.UUIDField(null=True, unique=True, editable=False)
    """Made with the form: the same form sent twice asks once."""
    reason = models.CharField(_("原因"), max_length=200)
    state = models.CharField(_("状态"), max_length=8, choices=State, default=State.WAITING)
    asked_by = models.CharField(_("申请人"), max_length=80)
    asked_by_id = models.BigIntegerField(null=True)
    asked_at = models.DateTimeField(_("申请时间"))
    decided_by = models.CharField(_("复核人"), max_length=80, blank=True)
    decided_at = models.DateTimeField(_("复核时间"), null=True)
    decision_note = models.CharField(_("复核说明"), max_length=200, blank=True)

    class Meta:
        verbose_name = _("库存调整")
        verbose_name_plural = _("库存调整")
        ordering = ["-pk"]
        constraints = [
            models.CheckConstraint(condition=~Q(delta=0), name="adjustment_adjusts"),
            models.CheckConstraint(
                condition=Q(to_defect=False) | Q(delta__lt=0), name="adjustment_defect_takes"
            ),
            models.CheckConstraint(
                condition=Q(to_defect=False) | Q(from_defect=False), name="adjustment_one_way"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.level} {self.delta:+d}"


class StockCount(models.Model):
    """A count of the shelves. What moved while people counted is no difference."""

    class State(models.TextChoices):
        OPEN = "open", _("盘点中")
        WAITING = "waiting", _("待复核")
        APPLIED = "applied", _("已生效")
        CANCELED = "canceled", _("已取消")

    number = models.CharField(_("盘点单号"), max_length=40, unique=True)
    virtual_warehouse = models.ForeignKey(
        VirtualWarehouse, models.PROTECT, verbose_name=_("虚拟仓")
    )
    state = models.CharField(_("状态"), max_length=8, choices=State, default=State.OPEN)
    created_by = models.CharField(_("发起人"), max_length=80)
    created_by_id = models.BigIntegerField(null=True)
    created_at = models.DateTimeField(_("发起时间"))
    submitted_by = models.CharField(_("提交人"), max_length=80, blank=True, db_default="")
    submitted_by_id = models.BigIntegerField(null=True)
    submitted_at = models.DateTimeField(_("提交时间"), null=True)
    closed_by = models.CharField(_("结束人"), max_length=80, blank=True)
    closed_at = models.DateTimeField(_("结束时间"), null=True)

    class Meta:
        verbose_name = _("盘点单")
        verbose_name_plural = _("盘点单")
        ordering = ["-pk"]

    def __str__(self) -> str:
        return self.number


class CountLine(models.Model):
    """What was on the shelf by the books at the moment it was counted, and what was found.

    ``counted - snapshot`` is the difference, whatever moves between counting and applying.
    """

    count = models.ForeignKey(StockCount, models.CASCADE, related_name="lines")
    level = models.ForeignKey(StockLevel, models.PROTECT, verbose_name=_("库存"))
    snapshot = models.PositiveIntegerField(_("账面"))
    counted = models.PositiveIntegerField(_("实盘"), null=True)
    counted_by = models.CharField(_("盘点人"), max_length=80, blank=True)
    counted_by_id = models.BigIntegerField(null=True)
    counted_at = models.DateTimeField(_("盘点时间"), null=True)

    class Meta:
        verbose_name = _("盘点明细")
        verbose_name_plural = _("盘点明细")
        constraints = [models.UniqueConstraint(fields=["count", "level"], name="count_line_once")]

    def __str__(self) -> str:
        return f"{self.level} {self.snapshot} → {self.counted}"


class StockFile(models.Model):
    """What a warehouse of others told of itself at one time, by table or through the API.

    The same again is refused, or answered as it was.
    """

    class Source(models.TextChoices):
        SHEET = "sheet", _("表格")
        API = "api", _("接口")

    virtual_warehouse = models.ForeignKey(
        VirtualWarehouse, models.PROTECT, verbose_name=_("虚拟仓")
    )
    as_of = models.DateTimeField(_("数据时间"))
    digest = models.CharField(_("文件摘要"), max_length=64)
    applied_by = models.CharField(_("导入人"), max_length=80)
    applied_at = models.DateTimeField(_("导入时间"))
    source = models.CharField(
        _("来源"), max_length=5, choices=Source, default=Source.SHEET, db_default=Source.SHEET
    )
    reference = models.CharField(_("对方编号"), max_length=80, default="", db_default="")
    """The teller's own number of it; of one virtual warehouse there is each one once."""
    answer = models.JSONField(_("逐行结果"), null=True)
    """What each row came to, as it was answered."""

    class Meta:
        verbose_name = _("库存导入")
        verbose_name_plural = _("库存导入")
        constraints = [
            models.UniqueConstraint(fields=["virtual_warehouse", "digest"], name="stock_file_once"),
            models.UniqueConstraint(
                fields=["virtual_warehouse", "reference"], condition=~Q(reference=""),
                name="stock_file_referred_once",
            ),
        ]  # fmt: skip

    def __str__(self) -> str:
        return f"{self.virtual_warehouse} {self.as_of:%Y-%m-%d %H:%M}"


class ToldFigure(models.Model):
    """The last that the warehouse of others said it has of one level, whatever came of it."""

    level = models.OneToOneField(
        StockLevel, models.CASCADE, primary_key=True, verbose_name=_("库存")
    )
    units = models.PositiveIntegerField(_("报数（件）"))
    as_of = models.DateTimeField(_("数据时间"))
    file = models.ForeignKey(StockFile, models.PROTECT, verbose_name=_("来自"), db_index=False)

    class Meta:
        verbose_name = _("对方报数")
        verbose_name_plural = _("对方报数")

    def __str__(self) -> str:
        return f"{self.level_id} {self.units} {self.as_of:%Y-%m-%d %H:%M}"


class StockProof(models.Model):
    """One full check of the stock's invariants: when, how long it took, what it found."""

    ran_at = models.DateTimeField(_("核对时间"), db_index=True)
    seconds = models.FloatField(_("用时（秒）"))
    levels = models.PositiveIntegerField(_("库存行数"))
    movements = models.PositiveBigIntegerField(_("流水行数"))
    broken = models.JSONField(_("不符"), default=dict)
    """Invariant code to the number of rows that break it; empty when all hold."""

    class Meta:
        verbose_name = _("库存核对")
        verbose_name_plural = _("库存核对")
        ordering = ["-ran_at"]

    def __str__(self) -> str:
        return f"{self.ran_at:%Y-%m-%d %H:%M} {self.broken or 'OK'}"
