"""Who has an order now and until when; its parcels, waybills, traces and refunds."""

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from inventory.models import Reservation, Warehouse
from ordercenter.catalog.models import Shop, Sku
from ordercenter.orders.models import Interception, OrderLine, SalesOrder


class CarrierAccount(models.Model):
    """How to speak to a carrier. Secrets are sealed."""

    code = models.SlugField(_("快递公司"), max_length=16, unique=True)
    name = models.CharField(_("名称"), max_length=60)
    base_url = models.URLField(_("接口地址"))
    account = models.CharField(_("客户编码"), max_length=64)
    sealed = models.BinaryField(_("密钥"), editable=False)
    options = models.JSONField(_("参数"), default=dict, blank=True)
    is_active = models.BooleanField(_("启用"), default=True)

    class Meta:
        verbose_name = _("快递账号")
        verbose_name_plural = _("快递账号")

    def __str__(self) -> str:
        return self.name


class Parcel(models.Model):
    """What leaves one warehouse in one box for one order."""

    class State(models.TextChoices):
        PLANNED = "planned", _("待拣货")
        PICKED = "picked", _("待打包")
        PACKED = "packed", _("已打包")
        SHIPPED = "shipped", _("已发出")
        SIGNED = "signed", _("已签收")
        STOPPED = "stopped", _("已拦截")
        CANCELED = "canceled", _("已取消")

    order = models.ForeignKey(SalesOrder, models.PROTECT, related_name="parcels")
    number = models.CharField(_("包裹号"), max_length=40, unique=True)
    warehouse = models.ForeignKey(Warehouse, models.PROTECT, verbose_name=_("仓库"), db_index=False)
    state = models.CharField(_("状态"), max_length=10, choices=State, default=State.PLANNED)
    created_at = models.DateTimeField(_("建立时间"))
    shipped_at = models.DateTimeField(_("发出时间"), null=True)
    shipped_version = models.PositiveIntegerField(null=True)
    signed_at = models.DateTimeField(_("签收时间"), null=True)

    class Meta:
        verbose_name = _("包裹")
        verbose_name_plural = _("包裹")
        indexes = [
            models.Index(
                fields=["shipped_at"],
                name="parcel_shipped",
                condition=Q(shipped_at__isnull=False),
            )
        ]

    def __str__(self) -> str:
        return self.number


class ParcelLine(models.Model):
    """Units of one reservation in one parcel."""

    parcel = models.ForeignKey(Parcel, models.PROTECT, related_name="parcel_lines")
    line = models.ForeignKey(OrderLine, models.PROTECT, db_index=False)
    sku = models.ForeignKey(Sku, models.PROTECT, db_index=False)
    reservation = models.ForeignKey(Reservation, models.PROTECT, related_name="parcel_lines")
    quantity = models.PositiveIntegerField(_("数量"))

    class Meta:
        verbose_name = _("包裹明细")
        verbose_name_plural = _("包裹明细")
        constraints = [
            models.UniqueConstraint(fields=["parcel", "reservation"], name="parcel_line_once")
        ]

    def __str__(self) -> str:
        return f"{self.sku} × {self.quantity}"


class Waybill(models.Model):
    """A label asked of a carrier. The intent is a row before the call is made.

    ``order_version`` is the order's version when the number went live.
    """

    class State(models.TextChoices):
        INTENT = "intent", _("申请中")
        LIVE = "live", _("有效")
        VOID = "void", _("已作废")
        FAILED = "failed", _("失败")

    parcel = models.ForeignKey(Parcel, models.PROTECT, related_name="waybills")
    client_reference = models.CharField(_("客户单号"), max_length=64, unique=True)
    carrier = models.CharField(_("快递公司"), max_length=16)
    state = models.CharField(_("状态"), max_length=8, choices=State, default=State.INTENT)
    number = models.CharField(_("快递单号"), max_length=40, default="")
    order_version = models.PositiveIntegerField(null=True)
    facts = models.JSONField(_("面单数据"), default=dict)
    created_at = models.DateTimeField(_("申请时间"))
    issued_at = models.DateTimeField(_("取得时间"), null=True)
    voided_at = models.DateTimeField(_("作废时间"), null=True)
    void_done_at = models.DateTimeField(_("快递确认作废"), null=True)
    error = models.CharField(_("错误"), max_length=300, default="")

    class Meta:
        verbose_name = _("面单")
        verbose_name_plural = _("面单")
        constraints = [
            models.UniqueConstraint(
                fields=["carrier", "number"], condition=~Q(number=""), name="tracking_number_once"
            ),
            models.UniqueConstraint(
                fields=["parcel"],
                condition=Q(state__in=["intent", "live"]),
                name="one_live_waybill",
            ),
        ]

    def __str__(self) -> str:
        return self.number or self.client_reference


class TraceEvent(models.Model):
    """One scan of a parcel as its carrier tells it; told twice, kept once."""

    waybill = models.ForeignKey(Waybill, models.PROTECT, related_name="traces")
    event_id = models.CharField(max_length=100)
    code = models.CharField(_("代码"), max_length=16)
    status = models.CharField(_("状态"), max_length=24)
    text = models.CharField(_("说明"), max_length=500)
    place = models.CharField(_("地点"), max_length=100)
    occurred_at = models.DateTimeField(_("发生时间"))

    class Meta:
        verbose_name = _("物流轨迹")
        verbose_name_plural = _("物流轨迹")
        ordering = ["occurred_at"]
        constraints = [models.UniqueConstraint(fields=["waybill", "event_id"], name="trace_once")]

    def __str__(self) -> str:
        return self.text


class Stage(models.TextChoices):
    FIRST_REVIEW = "first_review", _("订单初审")
    FINANCE_CHECK = "finance_check", _("财务核款")
    PICK = "pick", _("拣货分配")
    PACK = "pack", _("打包出库")
    NOTIFY = "notify", _("客户通知")
    AFTER_SALES = "after_sales", _("售后沟通")
    PUT_BACK = "put_back", _("退回货位")


class StageClock(models.Model):
    """How long a stage may take, in minutes; business staff change it."""

    stage = models.CharField(_("环节"), max_length=16, choices=Stage, unique=True)
    minutes = models.PositiveIntegerField(_("时限（分钟）"))

    class Meta:
        verbose_name = _("环节时限")
        verbose_name_plural = _("环节时限")

    def __str__(self) -> str:
        return f"{self.get_stage_display()} {self.minutes}"


class StageTask(models.Model):
    """One piece of work on one order: who has it now and until when."""

    class State(models.TextChoices):
        OPEN = "open", _("待办")
        DONE = "done", _("完成")
        WITHDRAWN = "withdrawn", _("撤回")

    order = models.ForeignKey(SalesOrder, models.PROTECT, related_name="tasks")
    parcel = models.ForeignKey(Parcel, models.PROTECT, null=True, related_name="tasks")
    warehouse = models.ForeignKey(Warehouse, models.PROTECT, null=True, db_index=False)
    stage = models.CharField(_("环节"), max_length=16, choices=Stage)
    state = models.CharField(_("状态"), max_length=10, choices=State, default=State.OPEN)
    priority = models.PositiveSmallIntegerField(_("优先级"), default=0)
    note = models.CharField(_("说明"), max_length=500, default="")
    assignee = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, verbose_name=_("经办人")
    )
    opened_at = models.DateTimeField(_("开始时间"))
    due_at = models.DateTimeField(_("时限"))
    done_at = models.DateTimeField(_("完成时间"), null=True)
    done_by = models.CharField(_("完成人"), max_length=150, default="")
    escalation = models.PositiveSmallIntegerField(_("升级次数"), default=0)

    class Meta:
        verbose_name = _("环节任务")
        verbose_name_plural = _("环节任务")
        constraints = [
            models.UniqueConstraint(
                fields=["order", "stage", "parcel"],
                condition=Q(state="open"),
                nulls_distinct=False,
                name="task_open_once",
            )
        ]
        indexes = [
            models.Index(
                fields=["stage", "-priority", "due_at"],
                name="task_queue",
                condition=Q(state="open"),
            ),
            models.Index(fields=["due_at"], name="task_due", condition=Q(state="open")),
        ]

    def __str__(self) -> str:
        return f"{self.get_stage_display()} {self.order_id}"


class ParcelStop(models.Model):
    """A parcel that had to be stopped: who said so, where it was caught, and how it ended."""

    class Where(models.TextChoices):
        BEFORE_PICK = "before_pick", _("拣货前")
        BENCH = "bench", _("打包台")
        CARRIER = "carrier", _("已交快递")

    class Outcome(models.TextChoices):
        PENDING = "pending", _("待执行")
        STOPPED = "stopped", _("已拦下")
        TOO_LATE = "too_late", _("已发出，转售后")

    class CallBack(models.TextChoices):
        WAITING = "waiting", _("待请求快递")
        ASKED = "asked", _("快递已受理")
        REFUSED = "refused", _("快递未受理")
        DROPPED = "dropped", _("不再请求")

    parcel = models.ForeignKey(Parcel, models.PROTECT, related_name="stops")
    reason = models.CharField(_("原因"), max_length=300)
    where = models.CharField(_("环节"), max_length=12, choices=Where)
    outcome = models.CharField(_("结果"), max_length=10, choices=Outcome)
    asked_by = models.CharField(_("发起人"), max_length=150)
    asked_at = models.DateTimeField(_("发起时间"))
    done_at = models.DateTimeField(_("完成时间"), null=True)
    interception = models.ForeignKey(
        Interception, models.PROTECT, null=True, related_name="stops", db_index=False,
        verbose_name=_("拦截指令"),
    )  # fmt: skip
    call_back = models.CharField(
        _("快递召回"), max_length=8, choices=CallBack, default="", db_default="", blank=True
    )
    """Whether the carrier is to turn round what has left; the intent comes before the call."""
    call_back_words = models.CharField(_("快递答复"), max_length=300, default="", db_default="")
    call_back_due_at = models.DateTimeField(_("下次询问"), null=True)
    call_back_tries = models.PositiveSmallIntegerField(_("询问次数"), default=0, db_default=0)

    class Meta:
        verbose_name = _("包裹拦截")
        verbose_name_plural = _("包裹拦截")
        constraints = [
            models.UniqueConstraint(
                fields=["interception", "parcel"],
                condition=Q(interception__isnull=False),
                name="stop_of_interception_once",
            )
        ]
        indexes = [
            models.Index(fields=["-asked_at"], name="stop_recent"),
            models.Index(
                fields=["call_back_due_at"],
                name="stop_call_back",
                condition=Q(call_back="waiting"),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.parcel} {self.get_outcome_display()}"


class RefundRequest(models.Model):
    """One refund as its channel tells it. May come before its order."""

    shop = models.ForeignKey(Shop, models.PROTECT, verbose_name=_("店铺"))
    refund_id = models.CharField(_("退款单号"), max_length=64)
    channel_number = models.CharField(_("平台单号"), max_length=64)
    channel_line_id = models.CharField(_("平台子单号"), max_length=64)
    order = models.ForeignKey(
        SalesOrder, models.PROTECT, null=True, related_name="refunds", verbose_name=_("订单")
    )
    amount = models.DecimalField(_("金额"), max_digits=18, decimal_places=2)
    state = models.CharField(_("状态"), max_length=12)
    state_raw = models.CharField(_("平台状态"), max_length=40)
    return_goods = models.BooleanField(_("退货"))
    intercept_shipping = models.BooleanField(_("需拦截"))
    modified_at = models.DateTimeField(_("平台更新时间"), null=True)
    version = models.CharField(_("平台版本"), max_length=40, default="")
    answer = models.CharField(_("拦截答复"), max_length=16, default="")
    """What the platform was told of the parcel, a ``StopOutcome``; empty while it was not."""
    created_at = models.DateTimeField(_("接收时间"))

    class Meta:
        verbose_name = _("退款")
        verbose_name_plural = _("退款")
        constraints = [models.UniqueConstraint(fields=["shop", "refund_id"], name="refund_once")]
        indexes = [models.Index(fields=["shop", "channel_number"], name="refund_of_number")]

    def __str__(self) -> str:
        return self.refund_id


class AddressRequest(models.Model):
    """A buyer asks for another address; the platform waits for the seller's word until a time."""

    class State(models.TextChoices):
        OPEN = "open", _("待答复")
        APPROVED = "approved", _("已同意")
        REFUSED = "refused", _("已拒绝")
        LAPSED = "lapsed", _("逾时，平台视为同意")
        GONE = "gone", _("买家已撤回")

    shop = models.ForeignKey(Shop, models.PROTECT, verbose_name=_("店铺"))
    channel_number = models.CharField(_("平台单号"), max_length=64)
    order = models.ForeignKey(
        SalesOrder, models.PROTECT, related_name="address_requests", verbose_name=_("订单")
    )
    asked_at = models.DateTimeField(_("申请时间"))
    answer_by = models.DateTimeField(_("答复时限"), null=True)
    shown = models.CharField(_("新地址（脱敏）"), max_length=200, default="")
    state = models.CharField(_("状态"), max_length=8, choices=State, default=State.OPEN)
    decided_by = models.CharField(_("答复人"), max_length=150, default="")
    decided_at = models.DateTimeField(_("答复时间"), null=True)
    reason = models.CharField(_("说明"), max_length=500, default="")

    class Meta:
        verbose_name = _("改地址申请")
        verbose_name_plural = _("改地址申请")
        constraints = [
            models.UniqueConstraint(
                fields=["order"], condition=Q(state="open"), name="address_request_open_once"
            )
        ]
        indexes = [
            models.Index(fields=["answer_by"], name="address_due", condition=Q(state="open"))
        ]

    def __str__(self) -> str:
        return f"{self.shop} {self.channel_number}"
