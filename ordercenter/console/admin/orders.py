"""Orders and what happens to them: to read, and to act on many at once."""

from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import Prefetch, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from fulfillment.models import Parcel, StageTask, Waybill
from ordercenter.audit.models import AuditRecord
from ordercenter.catalog.models import Shop
from ordercenter.console.admin_base import ReviewAdmin
from ordercenter.console.selectors import ORDER
from ordercenter.console.words import money, plain
from ordercenter.core.actor import Actor
from ordercenter.core.masking import mask_numbers
from ordercenter.core.policy import Can, allows
from ordercenter.orders.models import OrderHold, SalesOrder
from ordercenter.orders.states import Tier
from ordercenter.pipeline import decisions
from ordercenter.pipeline.bulk_deciding import FrozenOrder
from risk.models import Verdict


def order_link(order: SalesOrder) -> str:
    """The order's number, leading to its own page."""
    return format_html(
        '<a class="text-link" href="{}">{}</a>', reverse("order", args=[order.number]), order.number
    )


def by_order_number(term: str) -> Q | None:
    """Rows of the orders whose number begins like this, by the index on numbers."""
    term = term.strip().upper()
    return Q(order__number__startswith=term) if term else None


class OfOrderAdmin(ReviewAdmin[Any]):
    """Rows that belong to an order: known to whoever knows the order, found by its number."""

    view_rights = (Can.VIEW_ORDERS,)
    order_path = "order"
    search_fields = ("order__number",)
    search_help_text = _("按系统单号搜索")
    ordering = ("-pk",)
    list_select_related: ClassVar[tuple[str, ...]] = ("order",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).defer("order__receiver_sealed")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        wanted = by_order_number(search_term)
        return (queryset.filter(wanted) if wanted else queryset), False

    @admin.display(description=_("订单"))
    def of_order(self, row: Any) -> str:
        return order_link(row.order)


@admin.register(SalesOrder)
class SalesOrderAdmin(ReviewAdmin[SalesOrder]):
    view_rights = (Can.VIEW_ORDERS,)
    list_display = ("link", "shop", "status", "total", "place", "held", "placed_at")
    list_display_links = None
    list_filter = ("status", "shop", "is_rush", "refund_state", "placed_at")
    list_select_related = ("shop",)
    ordering = ("-placed_at",)
    search_fields = ("number",)
    search_help_text = _("按系统单号或平台单号搜索")
    fields = (
        "number", "channel_number", "shop", "status", "version", "channel_status", "refund_state",
        "total", "paid", "place", "remark", "memo", "placed_at", "paid_at", "received_at",
    )  # fmt: skip
    readonly_fields = ("total", "paid", "place", "remark", "memo")
    actions = ("release_holds", "freeze")

    def get_queryset(self, request: HttpRequest) -> QuerySet[SalesOrder]:
        open_holds = OrderHold.objects.open().order_by("-tier")
        return (
            super()
            .get_queryset(request)
            .defer("receiver_sealed")
            .prefetch_related(Prefetch("holds", queryset=open_holds, to_attr="held_by"))
        )

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[SalesOrder], search_term: str
    ) -> tuple[QuerySet[SalesOrder], bool]:
        """By our number or the platform's, each by its index."""
        term = search_term.strip()
        if not term:
            return queryset, False
        shops = list(Shop.objects.values_list("pk", flat=True))
        found = Q(number__startswith=term.upper()) | Q(shop_id__in=shops, channel_number=term)
        return queryset.filter(found), False

    def has_review_permission(self, request: HttpRequest) -> bool:
        return allows(request.user, Can.REVIEW)

    def has_freeze_permission(self, request: HttpRequest) -> bool:
        return allows(request.user, Can.FREEZE)

    @admin.action(description=_("放行（一、二级）"), permissions=["review"])
    def release_holds(
        self, request: HttpRequest, queryset: QuerySet[SalesOrder]
    ) -> HttpResponse | None:
        return self.act_on_each(request, queryset, _release, title=_("放行所选订单"))

    @admin.action(description=_("冻结"), permissions=["freeze"])
    def freeze(self, request: HttpRequest, queryset: QuerySet[SalesOrder]) -> HttpResponse | None:
        return self.act_on_each(request, queryset, _freeze, title=_("冻结所选订单"))

    @admin.display(description=_("系统单号"), ordering="number")
    def link(self, order: SalesOrder) -> str:
        return order_link(order)

    @admin.display(description=_("应付金额"), ordering="payable_amount")
    def total(self, order: SalesOrder) -> str:
        return money(order.payable_amount, order.currency)

    @admin.display(description=_("已付金额"))
    def paid(self, order: SalesOrder) -> str:
        return money(order.paid_amount, order.currency)

    @admin.display(description=_("收货人"))
    def place(self, order: SalesOrder) -> str:
        return f"{order.province}{order.city} {order.receiver_masked}"

    @admin.display(description=_("挂起"))
    def held(self, order: SalesOrder) -> str:
        return "；".join(hold.words for hold in getattr(order, "held_by", ()))

    @admin.display(description=_("买家留言"))
    def remark(self, order: SalesOrder) -> str:
        return mask_numbers(order.buyer_remark)

    @admin.display(description=_("卖家备注"))
    def memo(self, order: SalesOrder) -> str:
        return mask_numbers(order.seller_memo)


def _release(request: HttpRequest, order: SalesOrder, version: int, reason: str) -> None:
    holds = list(OrderHold.objects.open().filter(order=order))
    if any(hold.tier == Tier.FREEZE for hold in holds):
        raise FrozenOrder
    decisions.release_order(
        order.pk,
        [hold.pk for hold in holds],
        user=request.user,  # type: ignore[arg-type]
        actor=Actor.of(request),
        seen_version=version,
        reason=reason,
    )


def _freeze(request: HttpRequest, order: SalesOrder, version: int, reason: str) -> None:
    decisions.freeze_order(
        order.pk,
        user=request.user,  # type: ignore[arg-type]
        actor=Actor.of(request),
        reason=reason,
    )


@admin.register(OrderHold)
class OrderHoldAdmin(OfOrderAdmin):
    list_display = (
        "of_order", "kind", "tier", "words", "disposition", "opened_at", "released_at",
    )  # fmt: skip
    list_display_links = ("words",)
    list_filter = ("kind", "tier", "disposition", "opened_at")
    ordering = ("-opened_at",)
    fields = (
        "of_order", "kind", "code", "tier", "words", "seen", "disposition", "opened_at",
        "expires_at", "release_ahead", "rush_after", "snoozed_until", "released_at",
        "release_reason",
    )  # fmt: skip
    readonly_fields = ("of_order", "seen")

    @admin.display(description=_("依据"))
    def seen(self, hold: OrderHold) -> str:
        return plain(hold.evidence)


@admin.register(StageTask)
class StageTaskAdmin(OfOrderAdmin):
    list_display = ("of_order", "stage", "state", "due_at", "assignee", "warehouse", "done_at")
    list_display_links = ("stage",)
    list_filter = ("stage", "state", "warehouse", "due_at")
    list_select_related = ("order", "assignee", "warehouse")
    fields = (
        "of_order", "parcel", "warehouse", "stage", "state", "priority", "note", "assignee",
        "opened_at", "due_at", "done_at", "done_by", "escalation",
    )  # fmt: skip
    readonly_fields = ("of_order",)


@admin.register(Parcel)
class ParcelAdmin(OfOrderAdmin):
    list_display = ("number", "of_order", "warehouse", "state", "created_at", "shipped_at")
    list_filter = ("state", "warehouse", "created_at")
    list_select_related = ("order", "warehouse")
    search_help_text = _("按包裹号或系统单号搜索")
    fields = (
        "number", "of_order", "warehouse", "state", "goods", "created_at", "shipped_at",
        "signed_at",
    )  # fmt: skip
    readonly_fields = ("of_order", "goods")

    @admin.display(description=_("明细"))
    def goods(self, parcel: Parcel) -> str:
        return "；".join(
            f"{line.sku.code} {line.sku.name} × {line.quantity}"
            for line in parcel.parcel_lines.select_related("sku")
        )


@admin.register(Waybill)
class WaybillAdmin(OfOrderAdmin):
    order_path = "parcel__order"
    list_display = ("number", "of_parcel", "carrier", "state", "created_at", "issued_at", "error")
    list_display_links = ("number", "of_parcel")
    list_filter = ("state", "carrier", "created_at")
    list_select_related = ("parcel__order",)
    search_fields = ("number",)
    search_help_text = _("按快递单号或系统单号搜索")
    fields = (
        "number", "client_reference", "of_parcel", "carrier", "state", "created_at", "issued_at",
        "voided_at", "void_done_at", "error",
    )  # fmt: skip
    readonly_fields = ("of_parcel",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows = super(OfOrderAdmin, self).get_queryset(request)
        return rows.defer("parcel__order__receiver_sealed", "facts")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        found = Q(number=term) | Q(parcel__order__number__startswith=term.upper())
        return queryset.filter(found), False

    @admin.display(description=_("包裹"))
    def of_parcel(self, waybill: Waybill) -> str:
        return waybill.parcel.number


@admin.register(Verdict)
class VerdictAdmin(OfOrderAdmin):
    list_display = ("of_order", "order_version", "rule_set_version", "tier", "hits", "created_at")
    list_display_links = ("order_version",)
    list_filter = ("tier", "rule_set_version", "created_at")
    fields = (
        "of_order", "order_version", "rule_set_version", "tier", "checks", "created_at",
    )  # fmt: skip
    readonly_fields = ("of_order", "checks")

    @admin.display(description=_("命中"))
    def hits(self, verdict: Verdict) -> str:
        return "、".join(str(tag) for tag in verdict.tags)

    @admin.display(description=_("判定明细"))
    def checks(self, verdict: Verdict) -> str:
        return "\n".join(
            f"{'✕' if finding.get('hit') else '✓'} {finding.get('code', '')}："
            f"{plain(finding.get('seen', ()))}（{plain(finding.get('limit', ()))}）"
            for finding in verdict.findings
        )


@admin.register(AuditRecord)
class AuditRecordAdmin(ReviewAdmin[AuditRecord]):
    view_rights = (Can.READ_AUDIT,)
    list_display = (
        "created_at", "action", "object_type", "object_id", "version", "actor_name", "reason",
    )  # fmt: skip
    list_filter = ("action", "object_type", "actor_kind", "created_at")
    ordering = ("-id",)
    search_fields = ("object_id",)
    search_help_text = _("按系统单号搜索")
    fields = (
        "created_at", "action", "object_type", "object_id", "version", "actor_name", "actor_role",
        "actor_kind", "request_id", "reason", "changes",
    )  # fmt: skip
    readonly_fields = ("changes",)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[AuditRecord], search_term: str
    ) -> tuple[QuerySet[AuditRecord], bool]:
        """The history of one order, by the index of objects."""
        term = search_term.strip().upper()
        if not term:
            return queryset, False
        orders = SalesOrder.objects.visible_to(request.user).filter(number=term)
        found = list(orders.values_list("pk", flat=True))
        return queryset.filter(object_type=ORDER, object_id__in=found), False

    @admin.display(description=_("变化"))
    def changes(self, row: AuditRecord) -> str:
        return plain(row.change)
