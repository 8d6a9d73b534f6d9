"""How a shop's owner lets us in: on the platform's page, by a code, by tokens typed in."""

import secrets
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Final

from django.contrib import messages
from django.core import signing
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.crypto import constant_time_compare
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_GET

from channels_sync.contracts import ConnectorError, PlatformError, Tokens
from ordercenter.catalog.models import Shop
from ordercenter.console.access import me, page
from ordercenter.console.shop_forms import TokenForm
from ordercenter.console.shop_steps import (
    REFUSED,
    advise,
    callback_address,
    credential_of,
    draw_step,
    following,
    platform_of,
    shop_named,
    to_step,
)
from ordercenter.core.actor import Actor
from ordercenter.core.clock import now
from ordercenter.core.errors import InvalidInput
from ordercenter.core.policy import Can
from ordercenter.pipeline import lines
from ordercenter.pipeline.health import health_of

STATE_SALT: Final = "shop-authorize"
STATE_SECONDS: Final = 1800
AUTHORIZING: Final = "shop_authorizing"
LONGEST_CODE: Final = 1_000
SHOP_ID: Final = "shop_id"


def authorize_step(request: HttpRequest, shop: Shop) -> HttpResponse:
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
            return to_step(following("authorize", shop), shop)
    return draw_step(
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


def _traded(
    request: HttpRequest, shop: Shop, form: TokenForm, code: str, *, came_back: bool = False
) -> Attempt:
    callback = request.GET.dict() if came_back else None
    try:
        tokens = lines.authorize(
            shop.pk, user=me(request), actor=Actor.of(request), code=code, callback=callback
        )
    except ConnectorError as error:
        return form, error.error, False
    _compare_shops(request, shop, tokens)
    return form, None, True


def _compare_shops(request: HttpRequest, shop: Shop, tokens: Tokens) -> None:
    """Keep the platform's number of the shop, or say that the owner let us into another one."""
    row = credential_of(shop)
    knows = any(field.name == SHOP_ID for field in platform_of(shop).fields)
    if row is None or not knows or not tokens.shop_id:
        return
    stored = str(row.options.get(SHOP_ID, ""))
    if not stored:
        lines.keep_access(
            shop.pk, user=me(request), actor=Actor.of(request), base_url=row.base_url,
            app_key=row.app_key, options={**row.options, SHOP_ID: tokens.shop_id}, secrets={},
        )  # fmt: skip
    elif stored != tokens.shop_id:
        messages.error(
            request,
            _("店主授权的是另一家店（编号 %(theirs)s %(name)s），这里填的编号是 %(ours)s。"
              "请马上核对并重新授权，否则订单会记到错的店铺")
            % {"theirs": tokens.shop_id, "name": tokens.shop_name, "ours": stored},
        )  # fmt: skip


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
    _form, refusal, done = _traded(request, shop, TokenForm(None, row=None), given, came_back=True)
    if not done and refusal is not None:
        found = advise(refusal, shop.channel)
        messages.error(
            request, _("平台没有给出令牌：%(words)s。%(cure)s")
            % {"words": refusal.message, "cure": found.cure},
        )  # fmt: skip
        return HttpResponseRedirect(reverse("shop_step", args=[shop.code, "authorize"]))
    messages.success(request, _("授权成功"))
    return to_step("test", shop)


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
