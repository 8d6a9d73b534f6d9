"""What we sell and where: kept by the supervisors, the shops by IT."""

from collections.abc import Mapping
from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from ordercenter.audit.models import Action
from ordercenter.catalog.models import (
    Bundle,
    BundlePart,
    GiftStrategy,
    Listing,
    Shop,
    ShopAssignment,
    Sku,
)
from ordercenter.console.access import may_any
from ordercenter.console.admin_base import ReferenceAdmin, TabularInline
from ordercenter.console.listing_facts import address_of
from ordercenter.core.policy import Can
from ordercenter.pipeline.schedules import sync_schedules


@admin.register(Sku)
class SkuAdmin(ReferenceAdmin[Sku]):
    edit_rights = (Can.EDIT_MAPPING,)
    audit_action = Action.CATALOG_CHANGED
    list_display = ("code", "name", "category", "base_price", "currency", "color_name", "is_active")
    list_filter = ("category", "is_gift", "is_active")
    search_fields = ("code", "name", "barcode")


class BundlePartInline(TabularInline[BundlePart, Bundle]):
    """The parts of a bundle; the right is the bundle's own."""

    model = BundlePart
    extra = 0
    min_num = 1
    max_num = 50
    autocomplete_fields = ("sku",)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return may_any(request.user, BundleAdmin.edit_rights)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return may_any(request.user, BundleAdmin.edit_rights)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return may_any(request.user, BundleAdmin.edit_rights)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return may_any(request.user, BundleAdmin.edit_rights)


@admin.register(Bundle)
class BundleAdmin(ReferenceAdmin[Bundle]):
    edit_rights = (Can.EDIT_MAPPING,)
    audit_action = Action.CATALOG_CHANGED
    list_display = ("code", "name")
    search_fields = ("code", "name")
    inlines = (BundlePartInline,)

    def more_facts(self, row: Bundle) -> Mapping[str, Any]:
        parts = row.bundle_parts.values_list("sku__code", "quantity").order_by("sku__code")
        return {"parts": {code: quantity for code, quantity in parts}}  # noqa: C416 - a row is no pair to mypy


@admin.register(Listing)
class ListingAdmin(ReferenceAdmin[Listing]):
    """What there is, and the platform's ids of it. What a code stands for changes on its page,
    where what that does to open orders is seen first."""

    edit_rights = (Can.EDIT_MAPPING,)
    audit_action = Action.CATALOG_CHANGED
    fields = (
        "shop", "code_type", "code", "sku", "bundle", "version", "page", "title",
        "platform_sku_id", "platform_item_id",
    )  # fmt: skip
    readonly_fields = ("shop", "code_type", "code", "sku", "bundle", "version", "page")
    list_display = ("shop", "code_type", "code", "sku", "bundle", "version", "title", "page")
    list_display_links = ("code",)
    list_filter = ("shop", "code_type")
    list_select_related = ("shop", "sku", "bundle")
    search_fields = ("code", "title", "sku__code", "bundle__code")

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Codes are mapped one by one or by spreadsheet: ``console/listings.py``."""
        return False

    @admin.display(description=_("对应关系"))
    def page(self, listing: Listing) -> str:
        address = address_of(listing.shop_id, listing.code_type, listing.code)
        return format_html('<a href="{}">{}</a>', address, _("查看与修改"))


@admin.register(GiftStrategy)
class GiftStrategyAdmin(ReferenceAdmin[GiftStrategy]):
    edit_rights = (Can.EDIT_MAPPING,)
    audit_action = Action.CATALOG_CHANGED
    list_display = ("code", "name", "gift_sku", "min_amount", "is_active")
    list_filter = ("is_active",)
    list_select_related = ("gift_sku",)
    search_fields = ("code", "name")
    autocomplete_fields = ("gift_sku",)


@admin.register(Shop)
class ShopAdmin(ReferenceAdmin[Shop]):
    """Names and switches. A shop is connected, and its line kept, on its own pages."""

    view_rights = (Can.VIEW_HEALTH,)
    edit_rights = (Can.EDIT_SHOPS,)
    audit_action = Action.SHOP_CHANGED
    fields = (
        "code", "channel", "name", "currency", "is_active", "unpaid_hold_minutes", "sells_ahead",
        "handling_hours", "shortage_days", "balance_days", "line",
    )  # fmt: skip
    readonly_fields = ("code", "channel", "line")
    list_display = (
        "code", "name", "channel", "currency", "is_active", "unpaid_hold_minutes", "line",
    )  # fmt: skip
    list_filter = ("channel", "is_active")
    search_fields = ("code", "name")

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Shops are connected step by step: ``console/shop_setup.py``."""
        return False

    def save_model(self, request: HttpRequest, obj: Shop, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        sync_schedules()

    @admin.display(description=_("线路"))
    def line(self, shop: Shop) -> str:
        return format_html('<a href="{}">{}</a>', reverse("shop", args=[shop.code]), _("店铺页"))


@admin.register(ShopAssignment)
class ShopAssignmentAdmin(ReferenceAdmin[ShopAssignment]):
    edit_rights = (Can.EDIT_MAPPING,)
    may_delete = True
    audit_action = Action.SHOP_CHANGED
    list_display = ("user", "shop")
    list_filter = ("shop",)
    list_select_related = ("user", "shop")
    search_fields = ("user__username", "shop__code")
