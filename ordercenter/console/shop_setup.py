"""Connecting a shop step by step. Each step is kept when it is left; nothing is read before the
last one."""

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Final

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_http_methods, require_safe

from channels_sync.connectors import CONNECTORS
from channels_sync.models import SyncCursor
from ordercenter.catalog.models import Channel, Shop
from ordercenter.console.access import me, page
from ordercenter.console.platforms import PLATFORMS, Platform
from ordercenter.console.shop_authorize import authorize_step
from ordercenter.console.shop_forms import AccessForm, FirstForm, NameForm
from ordercenter.console.shop_steps import (
    REFUSED,
    advise,
    callback_address,
    credential_of,
    draw_step,
    following,
    lists_of,
    platform_of,
    push_address,
    shop_named,
    steps_of,
    to_step,
)
from ordercenter.core.actor import Actor
from ordercenter.core.clock import now
from ordercenter.core.errors import InvalidInput
from ordercenter.core.policy import Can
from ordercenter.pipeline import lines
from ordercenter.pipeline.health import health_of, is_unfinished
from ordercenter.pipeline.shops import open_shop, start_shop

CHANGING: Final = ["GET", "HEAD", "POST"]


# --- 1 and 2: the platform and the name ----------------------------------------------------------


@require_http_methods(CHANGING)
@page(Can.EDIT_SHOPS)
def new_page(request: HttpRequest) -> HttpResponse:
    """Choose the platform, then name the shop; the shop exists from then on and does nothing."""
    offered = {name: one for name, one in PLATFORMS.items() if name in CONNECTORS}
    chosen = offered.get(request.GET.get("channel", ""))
    if chosen is None:
        return render(request, "console/shops/new.html", {"platforms": list(offered.values())})
    form = NameForm(request.POST or None)
    status = HTTPStatus.OK
    if request.method == "POST":
        shop = _opened(request, form, chosen)
        if shop is not None:
            return HttpResponseRedirect(reverse("shop_setup", args=[shop.code]))
        status = REFUSED
    context = {"platform": chosen, "form": form}
    return render(request, "console/shops/name.html", context, status=status)


def _opened(request: HttpRequest, form: NameForm, platform: Platform) -> Shop | None:
    if not form.is_valid():
        return None
    try:
        return open_shop(
            user=me(request),
            actor=Actor.of(request),
            channel=platform.channel.value,
            code=form.cleaned_data["code"],
            name=form.cleaned_data["name"],
            currency=form.cleaned_data["currency"],
        )
    except InvalidInput as refusal:
        form.add_error("code", str(refusal))
        return None


@require_safe
@page(Can.EDIT_SHOPS)
def continue_page(request: HttpRequest, code: str) -> HttpResponse:
    """On with the first step that is not done."""
    shop = shop_named(code)
    if shop.is_active:
        return HttpResponseRedirect(reverse("shop", args=[shop.code]))
    platform = platform_of(shop)
    if platform.channel is Channel.FILE:
        return to_step("done", shop)
    row = credential_of(shop)
    if row is None:
        return to_step("access", shop)
    if "authorize" in steps_of(platform) and "access_token" not in row.secrets():
        return to_step("authorize", shop)
    return to_step("test", shop)


@require_http_methods(CHANGING)
@page(Can.EDIT_SHOPS)
def step_page(request: HttpRequest, code: str, step: str) -> HttpResponse:
    """One step of a shop; the steps of one that runs are its settings."""
    shop = shop_named(code)
    if step not in steps_of(platform_of(shop)):
        raise Http404
    if credential_of(shop) is None and step not in {"access", "done"}:
        return HttpResponseRedirect(reverse("shop_step", args=[shop.code, "access"]))
    return _VIEWS[step](request, shop)


# --- 3: credentials ------------------------------------------------------------------------------


def _access(request: HttpRequest, shop: Shop) -> HttpResponse:
    row = credential_of(shop)
    posted = request.POST if request.method == "POST" else None
    form = AccessForm(posted, platform=platform_of(shop), row=row)
    status = HTTPStatus.OK
    if posted is not None:
        if form.is_valid():
            _keep(request, shop, form)
            return to_step(following("access", shop), shop)
        status = REFUSED
    return draw_step(request, shop, "access", form=form, row=row, now=now(), status=status)


def _keep(request: HttpRequest, shop: Shop, form: AccessForm) -> None:
    options = form.options()
    if "authorize" in steps_of(platform_of(shop)):
        options.setdefault("redirect_uri", callback_address(request, shop))
    lines.keep_access(
        shop.pk,
        user=me(request),
        actor=Actor.of(request),
        base_url=form.cleaned_data["base_url"],
        app_key=form.cleaned_data["app_key"],
        options=options,
        secrets=form.secrets(),
    )
    messages.success(request, _("凭据已保存"))


# --- 5 to 7: test, mode, done --------------------------------------------------------------------


def _test(request: HttpRequest, shop: Shop) -> HttpResponse:
    tested = lines.test_connection(shop.pk, user=me(request)) if request.method == "POST" else None
    error = tested.error if tested else None
    found = error and advise(error, shop.channel)
    return draw_step(request, shop, "test", tested=tested, advice=found)


def _mode(request: HttpRequest, shop: Shop) -> HttpResponse:
    cursor = SyncCursor.objects.get(pk=shop.pk)
    posted = request.POST if request.method == "POST" else None
    form = FirstForm(posted, row=cursor, feeds=lists_of(shop))
    status = HTTPStatus.OK
    if posted is not None:
        if form.is_valid():
            start_shop(
                shop.pk,
                user=me(request),
                actor=Actor.of(request),
                mode=form.cleaned_data["mode"],
                interval_seconds=form.interval_seconds(cursor.interval_seconds),
                backfill_days=int(form.cleaned_data.get("backfill", 0)),
            )
            return HttpResponseRedirect(reverse("shop_step", args=[shop.code, "done"]))
        status = REFUSED
    if not is_unfinished(shop):
        return HttpResponseRedirect(reverse("shop", args=[shop.code]))
    return draw_step(request, shop, "mode", form=form, status=status)


def _done(request: HttpRequest, shop: Shop) -> HttpResponse:
    is_file = shop.channel == Channel.FILE
    if is_file and request.method == "POST":
        start_shop(shop.pk, user=me(request), actor=Actor.of(request))
        return HttpResponseRedirect(reverse("shop_step", args=[shop.code, "done"]))
    if not shop.is_active and not is_file:
        return HttpResponseRedirect(reverse("shop_setup", args=[shop.code]))
    return draw_step(
        request, shop, "done", push=push_address(request, shop), line=health_of(shop, now())
    )


_VIEWS: Final[Mapping[str, Callable[[HttpRequest, Shop], HttpResponse]]] = {
    "access": _access,
    "authorize": authorize_step,
    "test": _test,
    "mode": _mode,
    "done": _done,
}
