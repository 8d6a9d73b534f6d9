"""Tokens of other systems: made with scopes and an end, shown once, switched off, never deleted."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.translation import gettext_lazy as _

from channels_sync.models import ApiToken
from inventory.models import Warehouse
from ordercenter.audit.models import Action
from ordercenter.console.admin_base import ReferenceAdmin
from ordercenter.core.actor import Actor
from ordercenter.core.clock import now as clock_now
from ordercenter.core.policy import OF_ALL_SHOPS, PASSED_ON, Can, Scope, allows

if TYPE_CHECKING:
    from django.forms import CheckboxSelectMultiple
else:
    from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget as CheckboxSelectMultiple

LONGEST: Final = timedelta(days=400)
BY_SHOP: Final = frozenset({Scope.ORDERS_READ, Scope.STOCK_READ})


class TokenForm(forms.ModelForm[ApiToken]):
    """What a token is for. Refused is what its account could not use, and what has no end."""

    scopes = forms.MultipleChoiceField(
        label=_("权限范围"), choices=Scope.choices, widget=CheckboxSelectMultiple,
        help_text=_("没有勾选的一律拒绝；勾选了账号自己没有的权限也不会生效，所以不能保存"),
    )  # fmt: skip

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "warehouses" in self.fields:
            others = Warehouse.objects.exclude(kind=Warehouse.Kind.OWN)
            self.fields["warehouses"].queryset = others  # type: ignore[attr-defined]
        if "expires_at" in self.fields:
            self.fields["expires_at"].required = self.instance.expires_at is not None or (
                self.instance.pk is None
            )

    def clean(self) -> dict[str, Any]:
        found = super().clean() or {}
        if self.errors or not found.get("is_active", True):
            return found
        scopes = {Scope(scope) for scope in found["scopes"]}
        user = found.get("user") or self.instance.user
        missing = [s.label for s in sorted(scopes) if not allows(user, PASSED_ON[s])]
        if missing:
            self.add_error("scopes", _("账号自己没有这些权限：%(names)s") % {
                "names": "、".join(str(label) for label in missing)
            })  # fmt: skip
        if not found.get("all_shops"):
            if scopes & OF_ALL_SHOPS:
                self.add_error("all_shops", _("规则与拦截不分店铺，只能给所有店铺的令牌"))
            if scopes & BY_SHOP and not found.get("shops"):
                self.add_error("shops", _("请选择店铺，或勾选所有店铺"))
        if (Scope.STOCK_FIGURES in scopes) != bool(found.get("warehouses")):
            self.add_error("warehouses", _("报送件数的令牌要选仓库，其余令牌不能选"))
        return found

    def clean_expires_at(self) -> Any:
        ends_at, now = self.cleaned_data["expires_at"], clock_now()
        if "expires_at" in self.changed_data and not (ends_at and now < ends_at <= now + LONGEST):
            raise forms.ValidationError(
                _("到期时间应在 %(days)d 天以内，且晚于现在") % {"days": LONGEST.days}
            )
        return ends_at


@admin.register(ApiToken)
class ApiTokenAdmin(ReferenceAdmin[ApiToken]):
    """Kept by KEEP_TOKENS. Making one shows its key on that one answer and nowhere else."""

    form = TokenForm
    edit_rights = (Can.KEEP_TOKENS,)
    audit_action = Action.ACCESS_CHANGED
    never_told = frozenset({"digest", "used_at"})
    fields = (
        "user", "name", "scopes", "all_shops", "shops", "warehouses", "expires_at", "is_active",
    )  # fmt: skip
    list_display = ("name", "hint", "user", "may", "expires_at", "is_active", "used_at")
    list_filter = ("is_active",)
    list_select_related = ("user",)
    search_fields = ("name", "hint", "user__username")
    filter_horizontal = ("shops", "warehouses")

    def get_readonly_fields(
        self, request: HttpRequest, obj: ApiToken | None = None
    ) -> tuple[str, ...]:
        """A token stays its account's."""
        return ("user", "hint", "created_by", "created_at", "used_at") if obj else ()

    def get_fields(self, request: HttpRequest, obj: ApiToken | None = None) -> Any:
        more = ("hint", "created_by", "created_at", "used_at") if obj else ()
        return (*self.fields, *more)

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "user":
            people = db_field.remote_field.model.objects
            kwargs["queryset"] = people.filter(is_active=True, is_superuser=False)
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def before_save(
        self, request: HttpRequest, obj: ApiToken, form: Any, change: bool
    ) -> Sequence[str]:
        if not change:
            obj.mint()
            obj.created_by, obj.created_at = Actor.of(request).name[:80], clock_now()
        return ()

    def response_add(
        self, request: HttpRequest, obj: ApiToken, post_url_continue: str | None = None
    ) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "title": _("新令牌"), "opts": self.opts, "token": obj, "key": obj.key,
            "scopes": [Scope(scope).label for scope in obj.scopes],
        }  # fmt: skip
        return TemplateResponse(request, "admin/api_token_made.html", context)

    def more_facts(self, row: ApiToken) -> Mapping[str, Any]:
        return {"account": row.user.get_username()}

    def get_queryset(self, request: HttpRequest) -> QuerySet[ApiToken]:
        return super().get_queryset(request).prefetch_related("shops", "warehouses")

    @admin.display(description=_("权限范围"))
    def may(self, token: ApiToken) -> str:
        return "、".join(str(Scope(scope).label) for scope in token.scopes)
