"""How much of the stock each shop shows, and what is kept back from all of them.

A change and the figures it changes are one transaction.
"""

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext_lazy as _

from inventory import buffers, quotas
from inventory.models import ChannelQuota, SafetyStock, StockBuffer, StockPolicy
from ordercenter.audit.models import Action
from ordercenter.console.admin_base import ReferenceAdmin, ReviewAdmin
from ordercenter.core.errors import OrderCenterError
from ordercenter.core.policy import Can
from ordercenter.pipeline.publishing import telling_stock


class RuleAdmin(ReferenceAdmin[Any]):
    """A rule about stock: kept by EDIT_STOCK_POLICY, told to the shops as it is saved."""

    view_rights = (Can.VIEW_STOCK,)
    edit_rights = (Can.EDIT_STOCK_POLICY,)
    audit_action = Action.STOCK_POLICY_CHANGED

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        with telling_stock():
            return super().changeform_view(request, object_id, form_url, extra_context)

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        with telling_stock():
            return super().delete_view(request, object_id, extra_context)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        super().save_related(request, form, formsets, change)
        self.follow(form.instance, form.was)

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        super().delete_model(request, obj)
        self.follow(obj, {})

    def follow(self, row: Any, was: Any) -> None:
        """Have the shops' figures looked at again that the row decides about.

        ``was`` are the row's columns before; empty for a new row and one that is gone.
        """
        raise NotImplementedError


class QuotaForm(forms.ModelForm[ChannelQuota]):
    """A quota as it was seen: saved over another's change it is refused."""

    seen = forms.IntegerField(widget=forms.HiddenInput, required=False)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["seen"].initial = self.instance.version if self.instance.pk else 0

    def clean(self) -> dict[str, Any]:
        found = super().clean() or {}
        if self.errors:
            return found
        row = ChannelQuota(pk=self.instance.pk)
        for name in ("shop", "sku", "percent", "plus", "minimum", "maximum", "is_active"):
            setattr(row, name, found.get(name))
        try:
            quotas.check_quota(row)
            if self.instance.pk and self.has_changed():
                quotas.take_version(self.instance, seen=found.get("seen") or 0)
        except OrderCenterError as refusal:
            raise forms.ValidationError(str(refusal)) from refusal
        return found


@admin.register(ChannelQuota)
class ChannelQuotaAdmin(RuleAdmin):
    form = QuotaForm
    may_delete = True
    list_display = (
        "shop", "sku", "percent", "plus", "minimum", "maximum", "priority", "is_active",
    )  # fmt: skip
    list_filter = ("shop", "is_active")
    list_select_related = ("shop", "sku")
    search_fields = ("sku__code", "shop__code")
    search_help_text = _("按货品编码或店铺编码搜索")
    autocomplete_fields = ("sku",)
    filter_horizontal = ("warehouses",)
    fields = (
        "shop", "sku", "percent", "plus", "minimum", "maximum", "warehouses", "priority",
        "is_active", "seen",
    )  # fmt: skip

    def follow(self, row: Any, was: Any) -> None:
        skus = {row.sku_id, was.get("sku", row.sku_id)}
        buffers.note_moved_skus(None if None in skus else skus)


class SafetyForm(forms.ModelForm[SafetyStock]):
    def clean(self) -> dict[str, Any]:
        found = super().clean() or {}
        if self.errors:
            return found
        row = SafetyStock(pk=self.instance.pk)
        for name in ("sku", "method", "value", "floor", "cap", "is_active"):
            setattr(row, name, found.get(name))
        try:
            quotas.check_safety(row)
        except OrderCenterError as refusal:
            raise forms.ValidationError(str(refusal)) from refusal
        return found


@admin.register(SafetyStock)
class SafetyStockAdmin(RuleAdmin):
    form = SafetyForm
    may_delete = True
    list_display = ("sku", "method", "value", "floor", "cap", "hot_until", "is_active")
    list_filter = ("method", "is_active")
    list_select_related = ("sku",)
    search_fields = ("sku__code",)
    search_help_text = _("按货品编码搜索")
    autocomplete_fields = ("sku",)

    def follow(self, row: Any, was: Any) -> None:
        skus = {row.sku_id, was.get("sku", row.sku_id)}
        buffers.compute_buffers(None if None in skus else skus)


@admin.register(StockPolicy)
class StockPolicyAdmin(RuleAdmin):
    list_display = ("__str__", "hot_percent", "slow_percent", "replenish_below", "few_below")

    def has_add_permission(self, request: HttpRequest) -> bool:
        """There is one row; it is made once and then changed."""
        return super().has_add_permission(request) and not StockPolicy.objects.exists()

    def follow(self, row: Any, was: Any) -> None:
        buffers.compute_buffers()


@admin.register(StockBuffer)
class StockBufferAdmin(ReviewAdmin[StockBuffer]):
    """What is kept back at present, and why, in words."""

    view_rights = (Can.VIEW_STOCK, Can.EDIT_STOCK_POLICY)
    list_display = ("sku", "units", "explained", "computed_at")
    list_select_related = ("sku",)
    search_fields = ("sku__code",)
    search_help_text = _("按货品编码搜索")
    fields = ("sku", "units", "explained", "computed_at")
    readonly_fields = ("explained",)

    @admin.display(description=_("依据"))
    def explained(self, row: StockBuffer) -> str:
        return buffers.in_words(row)
