"""The two ends of the wire, and the accounts and secrets to speak over it."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from django import forms
from django.contrib import admin
from django.db.models import QuerySet, URLField
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext_lazy as _

from channels_sync.models import CarrierCode, InboxMessage, OutboundMessage
from fulfillment.carriers.account import SECRET_PURPOSE as CARRIER_PURPOSE
from fulfillment.models import CarrierAccount
from ordercenter.audit.models import Action
from ordercenter.console.admin_base import ReferenceAdmin, ReviewAdmin
from ordercenter.console.words import plain
from ordercenter.core.actor import Actor
from ordercenter.core.errors import OrderCenterError
from ordercenter.core.policy import Can, allows
from ordercenter.core.sealing import seal, unseal
from ordercenter.notices.models import Addressee, Robot
from ordercenter.notices.services import SECRET_PURPOSE as ROBOT_PURPOSE
from ordercenter.orders.models import SalesOrder
from ordercenter.pipeline import dead, intake
from ordercenter.pipeline.veil import veiled

if TYPE_CHECKING:
    from django.forms import PasswordInput
else:
    from unfold.widgets import UnfoldAdminPasswordWidget as PasswordInput

MOST_SHOWN: Final = 4_000


class SecretForm(forms.ModelForm[Any]):
    """Fields for secrets: what is typed is sealed, what is stored never comes back.

    ``secrets`` names them; left empty, a secret stays as it is.
    """

    secrets: Mapping[str, Any] = {}
    purpose = ""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, label in self.secrets.items():
            widget = PasswordInput(attrs={"autocomplete": "new-password"}, render_value=False)
            self.fields[name] = forms.CharField(
                label=label,
                required=False,
                max_length=500,
                widget=widget,
                help_text=_("只写不读；留空保持不变"),
            )

    def seal_typed(self) -> list[str]:
        """Seal what was typed over what is stored; return the names of what changed."""
        typed = {name: text for name in self.secrets if (text := self.cleaned_data.get(name))}
        stored: Mapping[str, Any] = dict.fromkeys(self.secrets, "")
        if self.instance.sealed:
            stored = {**stored, **unseal(self.instance.sealed, purpose=self.purpose)}
        if typed or not self.instance.sealed:
            self.instance.sealed = seal({**stored, **typed}, purpose=self.purpose)
        return sorted(typed)


class SecretAdmin(ReferenceAdmin[Any]):
    """Accounts with sealed secrets. A record says that one changed, never to what."""

    edit_rights = (Can.EDIT_SHOPS,)
    audit_action = Action.SHOP_CHANGED

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if isinstance(db_field, URLField):
            kwargs["assume_scheme"] = "https"
        return super().formfield_for_dbfield(db_field, request, **kwargs)

    def before_save(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> Sequence[str]:
        names: list[str] = form.seal_typed()
        return names

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """The secrets are no columns: they are asked for beside the form's own fields."""
        secrets = getattr(self.form, "secrets", {})
        return [(None, {"fields": [*(self.fields or ()), *secrets]})]

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
                 ) -> Any:  # fmt: skip
        kwargs["fields"] = self.fields
        return super().get_form(request, obj, change, **kwargs)


@admin.register(CarrierCode)
class CarrierCodeAdmin(ReferenceAdmin[CarrierCode]):
    """Where a platform names a carrier otherwise than the packaged table does."""

    edit_rights = (Can.EDIT_SHOPS,)
    may_delete = True
    audit_action = Action.SHOP_CHANGED
    list_display = ("channel", "carrier", "code")
    list_filter = ("channel",)
    search_fields = ("carrier", "code")


class CarrierAccountForm(SecretForm):
    purpose = CARRIER_PURPOSE
    secrets = {"secret": _("校验密钥"), "push_token": _("推送令牌")}


@admin.register(CarrierAccount)
class CarrierAccountAdmin(SecretAdmin):
    form = CarrierAccountForm
    fields = ("code", "name", "base_url", "account", "options", "is_active")
    list_display = ("code", "name", "base_url", "account", "is_active")
    search_fields = ("code", "name")


class RobotForm(SecretForm):
    purpose = ROBOT_PURPOSE
    secrets = {"access_token": _("机器人令牌"), "secret": _("加签密钥"), "keyword": _("关键词")}
    addressees = forms.MultipleChoiceField(
        label=_("群里是谁"), choices=Addressee, required=False,
        widget=forms.CheckboxSelectMultiple, help_text=_("只收发给他们的告警；都不选则全收"),
    )  # fmt: skip


@admin.register(Robot)
class RobotAdmin(SecretAdmin):
    form = RobotForm
    fields = (
        "code", "name", "kind", "base_url", "min_tier", "addressees", "quiet_from", "quiet_to",
        "is_active",
    )  # fmt: skip
    list_display = ("code", "name", "kind", "base_url", "min_tier", "is_active")
    list_filter = ("kind", "is_active")
    search_fields = ("code", "name")


@admin.register(InboxMessage)
class InboxMessageAdmin(ReviewAdmin[InboxMessage]):
    """The bytes are shown for quarantined messages only, to who may replay them."""

    view_rights = (Can.VIEW_HEALTH,)
    shop_path = "shop"
    list_display = (
        "id", "shop", "source", "kind", "channel_number", "state", "attempts", "received_at",
        "error",
    )  # fmt: skip
    list_filter = ("state", "shop", "source", "kind")
    list_select_related = ("shop",)
    ordering = ("-id",)
    search_fields = ("channel_number",)
    search_help_text = _("按平台单号搜索")
    fields = (
        "shop", "source", "kind", "channel_number", "event_id", "state", "attempts",
        "received_at", "done_at", "error", "text",
    )  # fmt: skip
    readonly_fields = ("text",)
    actions = ("replay",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[InboxMessage]:
        return super().get_queryset(request).defer("body")

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        shown = obj is not None and obj.state == InboxMessage.State.DEAD
        may = shown and self.has_replay_permission(request)
        return [name for name in self.fields or () if name != "text" or may]

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[InboxMessage], search_term: str
    ) -> tuple[QuerySet[InboxMessage], bool]:
        term = search_term.strip()
        return (queryset.filter(channel_number=term) if term else queryset), False

    def has_replay_permission(self, request: HttpRequest) -> bool:
        return allows(request.user, Can.REPLAY_DEAD)

    @admin.action(description=_("重放隔离消息"), permissions=["replay"])
    def replay(self, request: HttpRequest, queryset: QuerySet[InboxMessage]) -> HttpResponse | None:
        return self.act_on_each(request, queryset, _replay, title=_("重放所选消息"))

    @admin.display(description=_("原文（节选，收件人信息已隐去）"))
    def text(self, message: InboxMessage) -> str:
        channel = message.shop.channel if message.shop else ""
        head = bytes(message.body)[:MOST_SHOWN]
        return veiled(head, channel=channel, shop_id=message.shop_id)


def _replay(request: HttpRequest, message: InboxMessage, version: int, reason: str) -> None:
    intake.replay(
        message.pk,
        user=request.user,  # type: ignore[arg-type]
        actor=Actor.of(request),
        reason=reason,
    )


class NotDead(OrderCenterError):
    code = "not_dead"
    message = _("已送达或已处理，无需再操作")


def _each(
    do: Callable[..., int],
    request: HttpRequest,
    message: OutboundMessage,
    _version: int,
    reason: str,
) -> None:
    if not do([message.pk], user=request.user, actor=Actor.of(request), reason=reason):
        raise NotDead


@admin.register(OutboundMessage)
class OutboundMessageAdmin(ReviewAdmin[OutboundMessage]):
    view_rights = (Can.VIEW_HEALTH,)
    shop_path = "shop"
    list_display = (
        "id",
        "shop",
        "kind",
        "order_id",
        "state",
        "tries",
        "due_at",
        "done_at",
        "error",
    )
    list_filter = ("state", "shop", "kind")
    list_select_related = ("shop",)
    ordering = ("-id",)
    search_fields = ("order_id",)
    search_help_text = _("按系统单号搜索")
    fields = (
        "shop", "kind", "key", "order_id", "told", "state", "is_doubtful", "tries", "created_at",
        "due_at", "answer_by", "done_at", "error", "settled_by", "settled_reason",
    )  # fmt: skip
    readonly_fields = ("told",)
    actions = ("resend", "settle")

    def has_replay_permission(self, request: HttpRequest) -> bool:
        return allows(request.user, Can.REPLAY_DEAD)

    @admin.action(description=_("重发死信"), permissions=["replay"])
    def resend(self, request: HttpRequest, queryset: QuerySet[OutboundMessage]
               ) -> HttpResponse | None:  # fmt: skip
        return self.act_on_each(
            request, queryset, partial(_each, dead.resend), title=_("重发所选死信")
        )

    @admin.action(description=_("标记为已人工处理"), permissions=["replay"])
    def settle(self, request: HttpRequest, queryset: QuerySet[OutboundMessage]
               ) -> HttpResponse | None:  # fmt: skip
        return self.act_on_each(
            request, queryset, partial(_each, dead.settle), title=_("标记所选消息为已人工处理")
        )

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[OutboundMessage], search_term: str
    ) -> tuple[QuerySet[OutboundMessage], bool]:
        term = search_term.strip().upper()
        if not term:
            return queryset, False
        orders = SalesOrder.objects.filter(number=term).values_list("pk", flat=True)
        return queryset.filter(order_id__in=list(orders)), False

    @admin.display(description=_("内容"))
    def told(self, message: OutboundMessage) -> str:
        return plain(message.payload)
