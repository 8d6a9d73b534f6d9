"""The tables that tie a platform's field names to ours: versions, tried before they count."""

import json
from http import HTTPStatus
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from channels_sync import field_maps
from channels_sync.connectors import CONNECTORS
from channels_sync.models import FieldMap
from ordercenter.catalog.models import Channel, Shop
from ordercenter.console.access import may_any
from ordercenter.console.admin_base import ReviewAdmin
from ordercenter.console.field_map_form import FieldMapForm, tried
from ordercenter.core.actor import Actor
from ordercenter.core.clock import now as clock_now
from ordercenter.core.errors import OrderCenterError
from ordercenter.core.policy import Can

EDIT = (Can.EDIT_SHOPS,)


@admin.register(FieldMap)
class FieldMapAdmin(ReviewAdmin[FieldMap]):
    """A saved form is the next version; which version counts is an action of its own."""

    view_rights = (Can.VIEW_HEALTH, Can.EDIT_SHOPS)
    list_display = ("__str__", "shop", "is_live", "note", "created_by", "created_at")
    list_filter = ("channel", "is_live")
    list_select_related = ("shop",)
    ordering = ("channel", "shop", "-version")
    actions = ("make_live", "back_to_packaged")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return may_any(request.user, EDIT)

    def has_edit_permission(self, request: HttpRequest) -> bool:
        return may_any(request.user, EDIT)

    @admin.action(description=_("设为生效"), permissions=["edit"])
    def make_live(self, request: HttpRequest, queryset: QuerySet[FieldMap]) -> HttpResponse | None:
        return self.act_on_each(request, queryset, _make_live, title=_("让所选版本生效"))

    @admin.action(description=_("恢复为出厂对照表"), permissions=["edit"])
    def back_to_packaged(
        self, request: HttpRequest, queryset: QuerySet[FieldMap]
    ) -> HttpResponse | None:
        return self.act_on_each(request, queryset, _back, title=_("不再使用自定义对照表"))

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """One page for both: a new version starts from the row it is opened on."""
        may_edit = self.has_edit_permission(request)
        if object_id is None:
            if not may_edit:
                raise PermissionDenied
            return self._new(request)
        if not self.has_view_permission(request) or (request.method == "POST" and not may_edit):
            raise PermissionDenied
        row = self.get_object(request, object_id)
        if row is None:
            raise Http404
        return self._page(request, row.channel, row.shop, start=row, may_edit=may_edit)

    def _new(self, request: HttpRequest) -> HttpResponse:
        channel = request.GET.get("channel", "")
        shop = None
        if shop_code := request.GET.get("shop", ""):
            shop = Shop.objects.filter(code=shop_code).first()
            channel = shop.channel if shop else ""
        if channel not in mapped_channels():
            return self._choose(request)
        start = _newest(channel, shop)
        return self._page(request, channel, shop, start=start, may_edit=True)

    def _choose(self, request: HttpRequest) -> HttpResponse:
        channels = [(code, Channel(code).label) for code in mapped_channels()]
        shops = Shop.objects.filter(channel__in=mapped_channels())
        context = {
            **self.admin_site.each_context(request),
            "title": _("新建字段对照表"),
            "opts": self.opts,
            "channels": channels,
            "shops": shops,
        }
        return TemplateResponse(request, "admin/field_map_choose.html", context)

    def _page(
        self,
        request: HttpRequest,
        channel: str,
        shop: Shop | None,
        *,
        start: FieldMap | None,
        may_edit: bool,
    ) -> HttpResponse:
        form = FieldMapForm(
            request.POST if request.method == "POST" else None,
            base=field_maps.packaged(channel),
            current=start.mapping if start else {},
        )
        newest = _newest(channel, shop)
        follows = request.POST.get("follows", str(newest.version if newest else 0))
        context: dict[str, Any] = {
            **self.admin_site.each_context(request),
            "title": f"{Channel(channel).label} {shop or _('全部店铺')}",
            "opts": self.opts,
            "form": form,
            "start": start,
            "follows": follows,
            "may_edit": may_edit,
        }
        status = HTTPStatus.OK
        if form.is_bound and form.is_valid():
            try:
                if "save" in request.POST:
                    return self._saved(request, channel, shop, form, follows)
                fields = field_maps.checked(channel, form.mapping())
                read = tried(channel, fields, form.cleaned_data["payload"])
                context["read"] = json.dumps(read, ensure_ascii=False, indent=1)
            except OrderCenterError as refusal:
                context["refusal"] = str(refusal)
                status = HTTPStatus.UNPROCESSABLE_ENTITY
        return TemplateResponse(request, "admin/field_map.html", context, status=status)

    def _saved(
        self,
        request: HttpRequest,
        channel: str,
        shop: Shop | None,
        form: FieldMapForm,
        follows: str,
    ) -> HttpResponse:
        row = field_maps.save_version(
            channel,
            shop,
            form.mapping(),
            follows=int(follows) if follows.isascii() and follows.isdecimal() else -1,
            note=form.cleaned_data["note"],
            user=request.user,  # type: ignore[arg-type]
            actor=Actor.of(request),
            now=clock_now(),
        )
        messages.success(request, _("已保存为 %(row)s，尚未生效；确认无误后请在列表中“设为生效”")
                         % {"row": row})  # fmt: skip
        return HttpResponseRedirect(reverse("admin:channels_sync_fieldmap_changelist"))


def mapped_channels() -> list[str]:
    """The channels that have a field map."""
    return [code for code, made in CONNECTORS.items() if made.default_map is not None]


def _newest(channel: str, shop: Shop | None) -> FieldMap | None:
    return FieldMap.objects.filter(channel=channel, shop=shop).order_by("-version").first()


def _make_live(request: HttpRequest, row: FieldMap, version: int, reason: str) -> None:
    field_maps.make_live(row.pk, user=request.user, actor=Actor.of(request), reason=reason)  # type: ignore[arg-type]


def _back(request: HttpRequest, row: FieldMap, version: int, reason: str) -> None:
    field_maps.back_to_packaged(row.pk, user=request.user, actor=Actor.of(request), reason=reason)  # type: ignore[arg-type]
