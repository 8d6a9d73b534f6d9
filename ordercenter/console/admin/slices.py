"""Units set aside for single shops, and what was taken back out of them."""

from typing import Any

from django import forms
from django.contrib import admin
from django.db import transaction
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from inventory import slices
from inventory.models import ClawBack, StockSlice
from ordercenter.audit.models import Action
from ordercenter.console.admin.quotas import RuleAdmin
from ordercenter.console.admin_base import ReviewAdmin
from ordercenter.core.actor import Actor
from ordercenter.core.errors import OrderCenterError
from ordercenter.core.policy import Can


class SliceForm(forms.ModelForm[StockSlice]):
    """How many units are the shop's from now on; the service decides, and writes."""

    request: HttpRequest
    units = forms.IntegerField(
        label=_("锁定件数（未售）"),
        min_value=0,
        max_value=slices.MOST_UNITS,
        help_text=_("从现在起只供该店的件数，不含以前卖掉的；0 表示结束锁定，未售的回到空闲"),
    )
    seen = forms.IntegerField(widget=forms.HiddenInput, required=False)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk:
            self.fields["units"].initial = self.instance.unsold
        self.fields["seen"].initial = self.instance.quantity if self.instance.pk else 0

    def _post_clean(self) -> None:
        """Nothing of the form is put on the row here: a refusal of the service is its error."""
        if self.errors:
            return
        try:
            with transaction.atomic():
                self.instance = self._written(self.cleaned_data)
        except OrderCenterError as refusal:
            self.add_error(None, str(refusal))

    def _written(self, said: dict[str, Any]) -> StockSlice:
        user, actor = self.request.user, Actor.of(self.request)
        assert not user.is_anonymous
        if self.instance.pk and not said["units"]:
            return slices.end_slice(
                self.instance.pk, user=user, actor=actor, expected=said.get("seen") or 0
            )
        known = bool(self.instance.pk)
        return slices.set_slice(
            self.instance.level_id if known else said["level"].pk,
            self.instance.shop_id if known else said["shop"].pk,
            said["units"],
            user=user,
            actor=actor,
            priority=said["priority"],
            expected=said.get("seen") or 0,
        )


@admin.register(StockSlice)
class StockSliceAdmin(RuleAdmin):
    form = SliceForm
    audit_action = Action.STOCK_POLICY_CHANGED
    list_display = ("shop", "level", "quantity", "unsold", "priority", "is_active", "changed_at")
    list_filter = ("shop", "is_active", "level__virtual_warehouse")
    list_select_related = ("shop", "level__sku", "level__virtual_warehouse")
    search_fields = ("level__sku__code",)
    search_help_text = _("按货品编码搜索")
    autocomplete_fields = ("level",)
    fields = ("shop", "level", "units", "priority", "seen")
    ordering = ("-is_active", "level__sku__code")

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> Any:
        made: Any = super().get_form(request, obj, change, **kwargs)
        made.request = request
        return made

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """Whose it is and where it lies is never changed: end it, and set another."""
        return ("shop", "level") if obj else ()

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """The service has written and recorded it while the form was checked."""

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """A slice has nothing that belongs to it."""


@admin.register(ClawBack)
class ClawBackAdmin(ReviewAdmin[ClawBack]):
    """Which paid orders were saved by other shops' unsold units, and how it ended."""

    view_rights = (Can.EDIT_STOCK_POLICY,)
    list_display = (
        "taken_at", "order_number", "slice", "quantity", "amount", "currency", "state", "words",
    )  # fmt: skip
    list_filter = ("state", "slice__shop", "taken_at")
    list_select_related = ("slice__shop", "slice__level__sku", "line__order")
    search_fields = ("slice__level__sku__code",)
    search_help_text = _("按货品编码搜索")
    fields = (
        "order_number", "slice", "quantity", "amount", "currency", "state", "taken_at",
        "closed_at", "words",
    )  # fmt: skip
    readonly_fields = ("order_number",)

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).defer("line__order__receiver_sealed")

    @admin.display(description=_("订单"))
    def order_number(self, row: ClawBack) -> str:
        return row.line.order.number
