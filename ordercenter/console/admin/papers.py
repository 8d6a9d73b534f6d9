"""Papers of the warehouse, to be read; and the bins, to be kept."""

from collections.abc import Mapping
from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from inventory import papers
from inventory.models import (
    Adjustment,
    Bin,
    BinPlace,
    Inbound,
    InboundLine,
    StockCount,
    StockFile,
    Transfer,
    TransferLine,
)
from ordercenter.audit.models import Action
from ordercenter.console.access import may_any
from ordercenter.console.admin_base import ReferenceAdmin, ReviewAdmin, TabularInline
from ordercenter.core.policy import SCOPED, Can, roles_of

KEEPS_BINS = (Can.APPROVE_STOCK,)


class _BinPlaceInline(TabularInline[BinPlace, Bin]):
    """The SKUs of a bin; the right is the bin's own."""

    model = BinPlace
    extra = 0
    max_num = 200
    autocomplete_fields = ("sku",)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return may_any(request.user, KEEPS_BINS)

    has_add_permission = has_view_permission
    has_change_permission = has_view_permission
    has_delete_permission = has_view_permission


@admin.register(Bin)
class BinAdmin(ReferenceAdmin[Bin]):
    edit_rights = KEEPS_BINS
    audit_action = Action.CATALOG_CHANGED
    list_display = ("warehouse", "code", "walk_order", "is_active")
    list_display_links = ("code",)
    list_filter = ("warehouse", "is_active")
    list_select_related = ("warehouse",)
    search_fields = ("code", "places__sku__code")
    inlines = (_BinPlaceInline,)

    def more_facts(self, row: Bin) -> Mapping[str, Any]:
        codes = row.places.values_list("sku__code", flat=True)
        return {"skus": sorted(codes)}


class _Paper(ReviewAdmin[Any]):
    """Papers of the warehouses this person works in; written on their own pages."""

    view_rights = (Can.VIEW_STOCK,)
    room_path = "virtual_warehouse"
    list_filter: ClassVar[tuple[str, ...]] = ("state",)
    search_fields: ClassVar[tuple[str, ...]] = ("number",)
    ordering = ("-pk",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows = super().get_queryset(request)
        if roles_of(request.user) <= SCOPED:
            return rows.filter(**{f"{self.room_path}__in": papers.rooms_of(request.user)})
        return rows


class _LinesInline(TabularInline[Any, Any]):
    """What a paper names; to be read."""

    extra = 0
    can_delete = False

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return may_any(request.user, _Paper.view_rights)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class _InboundLines(_LinesInline):
    model = InboundLine


class _TransferLines(_LinesInline):
    model = TransferLine


@admin.register(Inbound)
class InboundAdmin(_Paper):
    list_display = ("number", "virtual_warehouse", "supplier", "expected_at", "state", "created_by")
    list_filter = ("state", "virtual_warehouse")
    list_select_related = ("virtual_warehouse",)
    inlines = (_InboundLines,)


@admin.register(Transfer)
class TransferAdmin(_Paper):
    room_path = "source"
    list_display = ("number", "source", "target", "state", "created_by", "sent_at", "received_at")
    list_select_related = ("source", "target")
    inlines = (_TransferLines,)


@admin.register(Adjustment)
class AdjustmentAdmin(_Paper):
    room_path = "level__virtual_warehouse"
    list_display = ("pk", "level", "delta", "state", "reason", "asked_by", "decided_by")
    list_select_related = ("level__sku", "level__virtual_warehouse")
    search_fields = ("level__sku__code",)


@admin.register(StockCount)
class StockCountAdmin(_Paper):
    list_display = ("number", "virtual_warehouse", "state", "created_by", "closed_by", "closed_at")
    list_select_related = ("virtual_warehouse",)


@admin.register(StockFile)
class StockFileAdmin(_Paper):
    list_display = (
        "virtual_warehouse", "as_of", "source", "reference", "applied_by", "applied_at",
    )  # fmt: skip
    list_filter = ("virtual_warehouse", "source")
    list_select_related = ("virtual_warehouse",)
    search_fields = ("digest",)
