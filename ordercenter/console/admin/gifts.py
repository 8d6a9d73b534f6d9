"""Gift strategies: kept by the supervisors, each readable as one sentence."""

from collections.abc import Mapping
from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from ordercenter.audit.models import Action
from ordercenter.catalog import gifts
from ordercenter.catalog.models import GiftStrategy, GiftTier
from ordercenter.console.access import may_any
from ordercenter.console.admin_base import ReferenceAdmin, TabularInline
from ordercenter.core.policy import Can


class GiftTierInline(TabularInline[GiftTier, GiftStrategy]):
    """The steps of a strategy; the right is the strategy's own."""

    model = GiftTier
    extra = 0
    max_num = 20
    autocomplete_fields = ("gift_sku",)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return may_any(request.user, GiftStrategyAdmin.edit_rights)

    has_add_permission = has_change_permission = has_delete_permission = has_view_permission


@admin.register(GiftStrategy)
class GiftStrategyAdmin(ReferenceAdmin[GiftStrategy]):
    """What is given to whom. A change counts within seconds, for orders that come after it."""

    edit_rights = (Can.EDIT_MAPPING,)
    audit_action = Action.CATALOG_CHANGED
    fields = (
        "sentence", "code", "name", "kind", "is_active", "gift_sku", "quantity", "min_amount",
        "min_quantity", "main_skus", "shops", "starts_at", "ends_at", "first_orders",
        "per_buyer", "substitute", "page",
    )  # fmt: skip
    readonly_fields = ("sentence", "page")
    list_display = ("code", "sentence", "kind", "is_active")
    list_filter = ("kind", "is_active")
    list_select_related = ("gift_sku", "substitute")
    search_fields = ("code", "name", "gift_sku__code")
    autocomplete_fields = ("gift_sku", "substitute", "main_skus")
    inlines = (GiftTierInline,)

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).prefetch_related("shops", "main_skus")

    def more_facts(self, row: GiftStrategy) -> Mapping[str, Any]:
        tiers = row.tiers.values_list("min_amount", "min_quantity", "gift_sku__code", "quantity")
        return {"tiers": [[str(amount), pieces, code, n] for amount, pieces, code, n in tiers]}

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        super().save_related(request, form, formsets, change)
        gifts.forget()

    @admin.display(description=_("一句话"))
    def sentence(self, row: GiftStrategy) -> str:
        known = {one.id: one for one in gifts.strategies()}
        if row.pk not in known:
            return str(_("保存后显示"))
        return gifts.sentence(
            known[row.pk],
            shops=[shop.name for shop in row.shops.all()],
            main_skus=[sku.name for sku in row.main_skus.all()],
        )

    @admin.display(description=_("试算"))
    def page(self, row: GiftStrategy) -> str:
        return format_html('<a href="{}">{}</a>', reverse("gifts"), _("用订单试一试"))
