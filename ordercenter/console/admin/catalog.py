"""What we sell and where: kept by the supervisors, the shops by IT."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final, Generic, TypeVar

from django.contrib import admin
from django.db import models
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.timezone import localtime
from django.utils.translation import gettext_lazy as _

from ordercenter.audit.models import Action
from ordercenter.catalog.models import (
    Bundle,
    BundlePart,
    Listing,
    Shop,
    ShopAssignment,
    Sku,
    SkuPrice,
)
from ordercenter.console.access import may_any
from ordercenter.console.admin_base import ReferenceAdmin, TabularInline
from ordercenter.console.listing_facts import address_of
from ordercenter.console.words import money
from ordercenter.core.policy import Can
from ordercenter.pipeline.goods_fields import show_prices
from ordercenter.pipeline.schedules import sync_schedules

_M = TypeVar("_M", bound=models.Model)
_P = TypeVar("_P", bound=models.Model)
EDIT: Final = (Can.EDIT_MAPPING,)
OVERLAP: Final = _(
    "%(begins)s 至 %(until)s 有两个价：%(earlier)s 与 %(later)s，按后开始的 %(later)s"
)


class Refusing(ReferenceAdmin[_M], Generic[_M]):
    """Answers 422 where a form is refused: who saves by program is told as well (BS04)."""

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any,
                           **kwargs: Any) -> HttpResponse:  # fmt: skip
        answer = super().render_change_form(request, context, *args, **kwargs)
        if context.get("errors"):
            answer.status_code = HTTPStatus.UNPROCESSABLE_ENTITY
        return answer


class Part(TabularInline[_M, _P], Generic[_M, _P]):
    """Rows that belong to a SKU or a bundle; the right is its own."""

    extra = 0
    max_num = 50

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return may_any(request.user, EDIT)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return may_any(request.user, EDIT)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return may_any(request.user, EDIT)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return may_any(request.user, EDIT)


class SkuPriceInline(Part[SkuPrice, Sku]):
    """Prices that hold for a time."""

    model = SkuPrice
    fields = ("base_price", "starts_at", "ends_at", "reason")


@admin.register(Sku)
class SkuAdmin(Refusing[Sku]):
    edit_rights = EDIT
    audit_action = Action.CATALOG_CHANGED
    fields = (
        "code", "name", "category", "base_price", "currency", "overlaps", "cost", "barcode",
        "weight_grams", "size_class", "color_name", "color_hex", "picture", "is_gift", "is_active",
    )  # fmt: skip
    readonly_fields = ("overlaps",)
    list_display = (
        "code", "name", "category", "base_price", "currency", "cost", "margin", "color_name",
        "is_active",
    )  # fmt: skip
    list_filter = ("category", "is_gift", "is_active")
    search_fields = ("code", "name", "barcode")
    inlines = (SkuPriceInline,)

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "picture":
            kwargs["assume_scheme"] = "https"
        return super().formfield_for_dbfield(db_field, request, **kwargs)

    @admin.display(description=_("毛利"))
    def margin(self, sku: Sku) -> str:
        """Base price less cost."""
        return "—" if sku.cost is None else money(sku.base_price - sku.cost, sku.currency)

    @admin.display(description=_("分时价重叠"))
    def overlaps(self, sku: Sku) -> str:
        return overlap_words(list(sku.prices.order_by("starts_at"))) if sku.pk else "—"

    def more_facts(self, row: Sku) -> Mapping[str, Any]:
        prices = row.prices.values_list("starts_at", "ends_at", "base_price", "reason")
        return {"prices": show_prices(prices)}


def overlap_words(prices: Sequence[SkuPrice]) -> str:
    """Which dated prices cover one moment, and which of them counts then."""
    said = []
    for at, earlier in enumerate(prices):
        for later in prices[at + 1 :]:
            if earlier.ends_at is None or later.starts_at < earlier.ends_at:
                ends = [one for one in (earlier.ends_at, later.ends_at) if one]
                until = f"{localtime(min(ends)):%Y-%m-%d %H:%M}" if ends else _("长期")
                told = {
                    "begins": f"{localtime(later.starts_at):%Y-%m-%d %H:%M}", "until": until,
                    "earlier": earlier.base_price, "later": later.base_price,
                }  # fmt: skip
                said.append(OVERLAP % told)
    return "；".join(said) or str(_("没有重叠"))


class BundlePartInline(Part[BundlePart, Bundle]):
    """The parts of a new bundle. Those of an old one change on its page, where what that does
    to open orders is seen first."""

    model = BundlePart
    min_num = 1
    autocomplete_fields = ("sku",)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return obj is None and super().has_add_permission(request, obj)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return obj is None and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return obj is None and super().has_delete_permission(request, obj)


@admin.register(Bundle)
class BundleAdmin(Refusing[Bundle]):
    edit_rights = EDIT
    audit_action = Action.CATALOG_CHANGED
    fields = ("code", "name", "page")
    readonly_fields = ("page",)
    list_display = ("code", "name", "page")
    search_fields = ("code", "name")
    inlines = (BundlePartInline,)

    @admin.display(description=_("组成"))
    def page(self, bundle: Bundle) -> str:
        if not bundle.pk:
            return "—"
        address = reverse("goods_bundle", args=[bundle.pk])
        return format_html('<a href="{}">{}</a>', address, _("查看与修改"))

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


@admin.register(Shop)
class ShopAdmin(ReferenceAdmin[Shop]):
    """Names and switches. A shop is connected, and its line kept, on its own pages."""

    view_rights = (Can.VIEW_HEALTH,)
    edit_rights = (Can.EDIT_SHOPS,)
    audit_action = Action.SHOP_CHANGED
    fields = (
        "code", "channel", "name", "currency", "is_active", "unpaid_hold_minutes", "sells_ahead",
        "handling_hours", "shortage_days", "balance_days", "most_parcels", "line",
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
