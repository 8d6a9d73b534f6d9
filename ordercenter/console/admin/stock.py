"""Where goods lie. Levels change by movements alone; here they are read."""

from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from inventory.models import (
    Reservation,
    StockLevel,
    StockMovement,
    VirtualWarehouse,
    Warehouse,
    WarehouseAssignment,
)
from ordercenter.audit.models import Action
from ordercenter.console.admin_base import ReferenceAdmin, ReviewAdmin
from ordercenter.core.policy import Can
from ordercenter.orders.models import SalesOrder

LOOKS = (Can.EDIT_MAPPING, Can.VIEW_HEALTH)


@admin.register(Warehouse)
class WarehouseAdmin(ReferenceAdmin[Warehouse]):
    view_rights = LOOKS
    edit_rights = (Can.EDIT_MAPPING,)
    audit_action = Action.CATALOG_CHANGED
    list_display = ("code", "name", "kind", "province", "city", "rank", "is_active")
    list_filter = ("kind", "is_active")
    search_fields = ("code", "name")


@admin.register(VirtualWarehouse)
class VirtualWarehouseAdmin(ReferenceAdmin[VirtualWarehouse]):
    view_rights = LOOKS
    edit_rights = (Can.EDIT_MAPPING,)
    audit_action = Action.CATALOG_CHANGED
    list_display = ("code", "name", "warehouse")
    list_filter = ("warehouse",)
    list_select_related = ("warehouse",)
    search_fields = ("code", "name")
    filter_horizontal = ("shops",)


@admin.register(WarehouseAssignment)
class WarehouseAssignmentAdmin(ReferenceAdmin[WarehouseAssignment]):
    edit_rights = (Can.EDIT_MAPPING,)
    may_delete = True
    audit_action = Action.CATALOG_CHANGED
    list_display = ("user", "warehouse")
    list_filter = ("warehouse",)
    list_select_related = ("user", "warehouse")
    search_fields = ("user__username", "warehouse__code")


class _BySku(ReviewAdmin[Any]):
    """Rows of a level, found by the code of its SKU."""

    view_rights = LOOKS
    sku_path = "level__sku"
    search_fields = ("pk",)
    search_help_text = _("按货品编码搜索")
    ordering = ("-pk",)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        wanted = self.wanted(search_term.strip())
        return (queryset.filter(wanted) if wanted else queryset), False

    def wanted(self, term: str) -> Q | None:
        return Q(**{f"{self.sku_path}__code__startswith": term}) if term else None


@admin.register(StockLevel)
class StockLevelAdmin(_BySku):
    sku_path = "sku"
    list_display = ("sku", "virtual_warehouse", "on_hand", "reserved", "free")
    list_filter = ("virtual_warehouse",)
    list_select_related = ("sku", "virtual_warehouse")
    ordering = ("sku__code",)

    @admin.display(description=_("可用"))
    def free(self, level: StockLevel) -> int:
        return level.available


@admin.register(Reservation)
class ReservationAdmin(_BySku):
    list_display = (
        "level", "quantity", "state", "order_number", "created_at", "expires_at", "close_reason",
    )  # fmt: skip
    list_filter = ("state", "created_at")
    list_select_related = ("level__sku", "level__virtual_warehouse", "line__order")
    search_help_text = _("按货品编码或系统单号搜索")
    fields = (
        "level", "order_number", "quantity", "state", "created_at", "expires_at", "closed_at",
        "close_reason",
    )  # fmt: skip
    readonly_fields = ("order_number",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).defer("line__order__receiver_sealed")

    def wanted(self, term: str) -> Q | None:
        found = super().wanted(term)
        order = SalesOrder.objects.filter(number=term.upper()).values_list("pk", flat=True).first()
        return Q(order_id=order) if order else found

    @admin.display(description=_("订单"))
    def order_number(self, row: Reservation) -> str:
        return row.line.order.number


@admin.register(StockMovement)
class StockMovementAdmin(_BySku):
    list_display = ("created_at", "level", "source", "target", "quantity", "reason", "actor")
    list_filter = ("source", "target", "reason", "created_at")
    list_select_related = ("level__sku", "level__virtual_warehouse")
