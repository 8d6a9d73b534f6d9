"""Connecting a shop step by step. Each step is kept when it is left; nothing is read before the
last one."""

import secrets
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Final

from django.contrib import messages
from django.core import signing
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.crypto import constant_time_compare
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_GET, require_http_methods, require_safe

from channels_sync.connectors import CONNECTORS
from channels_sync.connectors.base import WithoutPush
from channels_sync.contracts import ConnectorError, Feed, PlatformError
from channels_sync.models import ShopCredential, SyncCursor
from ordercenter.catalog.models import Channel, Shop
from ordercenter.console.access import me, page
from ordercenter.console.platforms import PLATFORMS, Platform
from ordercenter.console.shop_forms import AccessForm, FirstForm, NameForm, TokenForm
from ordercenter.core.actor import Actor
from ordercenter.core.clock import now
from ordercenter.core.errors import InvalidInput
from ordercenter.core.policy import Can
from ordercenter.pipeline import lines
from ordercenter.pipeline.advice import Advice, advice
from ordercenter.pipeline.health import health_of, is_unfinished
from ordercenter.pipeline.shops import open_shop, start_shop

STEPS: Final[Mapping[str, str | Promise]] = {
    "access": _("接口凭据"),
    "authorize": _("店主授权"),
    "test": _("测试连接"),
    "mode": _("同步方式"),
    "done": _("完成"),
}
STATE_SALT: Final = "shop-authorize"
STATE_SECONDS: Final = 1800
AUTHORIZING: Final = "shop_authorizing"
LONGEST_CODE: Final = 1_000
REFUSED: Final = HTTPStatus.UNPROCESSABLE_ENTITY
CHANGING: Final = ["GET", "HEAD", "POST"]


# --- which shop, which step ----------------------------------------------------------------------


def shop_named(code: str) -> Shop:
    """The shop of this code, with its line; 404 where there is none."""
    shop = Shop.objects.select_related("cursor", "credential").filter(code=code).first()
    if shop is None:
        raise Http404
    return shop


def platform_of(shop: Shop) -> Platform:
    try:
        return PLATFORMS[shop.channel]
    except KeyError:
        raise Http404 from None


def credential_of(shop: Shop) -> ShopCredential | None:
    found: ShopCredential | None = getattr(shop, "credential", None)
    return found


def steps_of(platform: Platform) -> list[str]:
    """The steps after the name, in their order."""
    if platform.channel is Channel.FILE:
        return ["done"]
    authorizes = platform.has_tokens or platform.own_tokens
    return [name for name in STEPS if authorizes or name != "authorize"]


def lists_of(shop: Shop) -> tuple[Feed, ...]:
    """The lists this shop's platform offers to be read."""
    connector = CONNECTORS.get(shop.channel)
    return connector.feeds if connector else ()


def push_address(request: HttpRequest, shop: Shop) -> str:
    """Where the platform is to push; empty where it pushes no HTTP."""
    connector = CONNECTORS.get(shop.channel)
    if connector is None or (isinstance(connector, type) and issubclass(connector, WithoutPush)):
        return ""
    return request.build_absolute_uri(reverse("channel-hook", args=[shop.channel, shop.code]))


def callback_address(request: HttpRequest, shop: Shop) -> str:
    return request.build_absolute_uri(reverse("shop_authorized", args=[shop.code]))


def advise(error: PlatformError, channel: str) -> Advice:
    code = error.sub_code or error.code
    return advice(error.klass, code, channel=channel, message=error.message)


def _to(step: str, shop: Shop) -> HttpResponse:
    """On to a step; back to its page for a shop that runs."""
    if not is_unfinished(shop) and step not in {"test", "done"}:
        return HttpResponseRedirect(reverse("shop", args=[shop.code]))
    return HttpResponseRedirect(reverse("shop_step", args=[shop.code, step]))


def _following(step: str, shop: Shop) -> str:
    steps = steps_of(platform_of(shop))
    return steps[steps.index(step) + 1]


def _draw(
    request: HttpRequest, shop: Shop, step: str, *, status: int = HTTPStatus.OK, **more: Any
) -> HttpResponse:
    platform = platform_of(shop)
    context = {
        "shop": shop,
        "platform": platform,
        "step": step,
        "unfinished": is_unfinished(shop),
        "steps": [(name, STEPS[name]) for name in steps_of(platform)],
        "next": None if step == "done" else _following(step, shop),
        **more,
    }
    return render(request, f"console/shops/{step}.html", context, status=status)


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
        start_shop(shop.pk, user=me(request), actor=Actor.of(request))
        return _to("done", shop)
    row = credential_of(shop)
    if row is None:
        return _to("access", shop)
    if "authorize" in steps_of(platform) and "access_token" not in row.secrets():
        return _to("authorize", shop)
    return _to("test", shop)


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
            return _to(_following("access", shop), shop)
        status = REFUSED
    return _draw(request, shop, "access", form=form, row=row, now=now(), status=status)


def _keep(request: HttpRequest, shop: Shop, form: AccessForm) -> None:
    lines.keep_access(
        shop.pk,
        user=me(request),
        actor=Actor.of(request),
        base_url=form.cleaned_data["base_url"],
        app_key=form.cleaned_data["app_key"],
        options=form.options(),
        secrets=form.secrets(),
    )
    messages.success(request, _("凭据已保存"))


# --- 4: authorization ----------------------------------------------------------------------------


def _authorize(request: HttpRequest, shop: Shop) -> HttpResponse:
    act = _AUTHORIZE.get(request.POST.get("verb", "")) if request.method == "POST" else None
    if request.method == "POST" and act is None:
        raise Http404
    row = credential_of(shop)
    form = TokenForm(None, row=row)
    refusal: PlatformError | None = None
    if act is not None:
        form, refusal, done = act(request, shop)
        if done:
            messages.success(request, _("授权已保存"))
            return _to(_following("authorize", shop), shop)
    return _draw(
        request, shop, "authorize",
        form=form, refusal=refusal, advice=refusal and advise(refusal, shop.channel),
        has_token=row is not None and "access_token" in row.secrets(),
        has_page=_has_page(request, shop), callback=callback_address(request, shop),
        line=health_of(shop, now()), status=HTTPStatus.OK if act is None else REFUSED,
    )  # fmt: skip


Attempt = tuple[TokenForm, PlatformError | None, bool]


def _by_code(request: HttpRequest, shop: Shop) -> Attempt:
    code = request.POST.get("code", "").strip()
    if not 1 <= len(code) <= LONGEST_CODE or "\0" in code:
        raise InvalidInput(what=_("请粘贴平台给出的授权码"))
    return _traded(request, shop, TokenForm(None, row=credential_of(shop)), code)


def _by_own_secret(request: HttpRequest, shop: Shop) -> Attempt:
    return _traded(request, shop, TokenForm(None, row=credential_of(shop)), "")


def _traded(request: HttpRequest, shop: Shop, form: TokenForm, code: str) -> Attempt:
    try:
        lines.authorize(shop.pk, user=me(request), actor=Actor.of(request), code=code)
    except ConnectorError as error:
        return form, error.error, False
    return form, None, True


def _by_tokens(request: HttpRequest, shop: Shop) -> Attempt:
    row = credential_of(shop)
    form = TokenForm(request.POST, row=row)
    if row is None or not form.is_valid():
        return form, None, False
    lines.keep_access(
        shop.pk, user=me(request), actor=Actor.of(request), base_url=row.base_url,
        app_key=row.app_key, options=row.options,
        secrets={name: text for name, text in form.cleaned_data.items() if text},
    )  # fmt: skip
    return form, None, True


_AUTHORIZE: Final[Mapping[str, Callable[[HttpRequest, Shop], Attempt]]] = {
    "code": _by_code,
    "own": _by_own_secret,
    "tokens": _by_tokens,
}


def _has_page(request: HttpRequest, shop: Shop) -> bool:
    """Whether the platform has a page where the owner allows us in."""
    try:
        return bool(_address(request, shop, state=""))
    except ConnectorError:
        return False


def _address(request: HttpRequest, shop: Shop, *, state: str) -> str | None:
    return lines.authorize_url(
        shop.pk, user=me(request), redirect_uri=callback_address(request, shop), state=state
    )


@require_GET
@page(Can.EDIT_SHOPS)
def go_authorize(request: HttpRequest, code: str) -> HttpResponse:
    """Send the owner to the platform's page, with a word only this session can bring back."""
    shop = shop_named(code)
    if credential_of(shop) is None:
        raise InvalidInput(what=_("请先填写接口凭据"))
    nonce = secrets.token_urlsafe(16)
    state = signing.dumps([shop.code, me(request).pk, nonce], salt=STATE_SALT)
    try:
        address = _address(request, shop, state=state)
    except ConnectorError as error:
        raise InvalidInput(what=error.error.message) from error
    if not address:
        raise InvalidInput(what=_("该平台没有授权页面，请粘贴授权码或填写令牌"))
    request.session[AUTHORIZING] = {**request.session.get(AUTHORIZING, {}), shop.code: nonce}
    return HttpResponseRedirect(address)


@require_GET
@page(Can.EDIT_SHOPS)
def authorized(request: HttpRequest, code: str) -> HttpResponse:
    """Where the platform sends the owner back: trade his code for tokens, once."""
    shop = shop_named(code)
    _check_state(request, shop)
    given = request.GET.get("code", "")
    if not 1 <= len(given) <= LONGEST_CODE or "\0" in given:
        messages.error(request, _("店主没有同意授权，或平台没有给出授权码，请再试一次"))
        return HttpResponseRedirect(reverse("shop_step", args=[shop.code, "authorize"]))
    _form, refusal, done = _traded(request, shop, TokenForm(None, row=None), given)
    if not done and refusal is not None:
        found = advise(refusal, shop.channel)
        messages.error(
            request, _("平台没有给出令牌：%(words)s。%(cure)s")
            % {"words": refusal.message, "cure": found.cure},
        )  # fmt: skip
        return HttpResponseRedirect(reverse("shop_step", args=[shop.code, "authorize"]))
    messages.success(request, _("授权成功"))
    return _to("test", shop)


def _check_state(request: HttpRequest, shop: Shop) -> None:
    """Refuse an answer to a question this person did not ask in this session just now."""
    waiting = dict(request.session.get(AUTHORIZING, {}))
    nonce = waiting.pop(shop.code, "")
    request.session[AUTHORIZING] = waiting
    try:
        told = signing.loads(request.GET.get("state", ""), salt=STATE_SALT, max_age=STATE_SECONDS)
    except signing.BadSignature:
        told = None
    wanted = [shop.code, me(request).pk, nonce]
    known = isinstance(told, list) and len(told) == len(wanted) and told[:2] == wanted[:2]
    if not nonce or not known or not constant_time_compare(str(told[2]), nonce):
        raise InvalidInput(what=_("授权会话已过期或不是从这里发起的，请回到店铺页重新授权"))


# --- 5 to 7: test, mode, done --------------------------------------------------------------------


def _test(request: HttpRequest, shop: Shop) -> HttpResponse:
    tested = lines.test_connection(shop.pk, user=me(request)) if request.method == "POST" else None
    error = tested.error if tested else None
    return _draw(request, shop, "test", tested=tested, advice=error and advise(error, shop.channel))


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
    return _draw(request, shop, "mode", form=form, status=status)


def _done(request: HttpRequest, shop: Shop) -> HttpResponse:
    if not shop.is_active:
        return HttpResponseRedirect(reverse("shop_setup", args=[shop.code]))
    return _draw(
        request, shop, "done", push=push_address(request, shop), line=health_of(shop, now())
    )


_VIEWS: Final[Mapping[str, Callable[[HttpRequest, Shop], HttpResponse]]] = {
    "access": _access,
    "authorize": _authorize,
    "test": _test,
    "mode": _mode,
    "done": _done,
}
