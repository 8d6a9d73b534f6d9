"""Which shop a page is about, which steps it has, and how a step is drawn."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from channels_sync.connectors import CONNECTORS
from channels_sync.connectors.base import WithoutPush
from channels_sync.contracts import Feed, PlatformError
from channels_sync.models import ShopCredential
from ordercenter.catalog.models import Channel, Shop
from ordercenter.console.platforms import PLATFORMS, Platform
from ordercenter.pipeline.advice import Advice, advice
from ordercenter.pipeline.health import is_unfinished

STEPS: Final[Mapping[str, str | Promise]] = {
    "access": _("接口凭据"),
    "authorize": _("店主授权"),
    "test": _("测试连接"),
    "mode": _("同步方式"),
    "done": _("完成"),
}
REFUSED: Final = HTTPStatus.UNPROCESSABLE_ENTITY


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
    """Where the platform sends the owner back to: as stored, for some want the same words with
    the code, else as this person reaches us."""
    row = credential_of(shop)
    stored = str(row.options.get("redirect_uri", "")) if row else ""
    return stored or request.build_absolute_uri(reverse("shop_authorized", args=[shop.code]))


def advise(error: PlatformError, channel: str) -> Advice:
    code = error.sub_code or error.code
    return advice(error.klass, code, channel=channel, message=error.message)


def to_step(step: str, shop: Shop) -> HttpResponse:
    """On to a step; back to its page for a shop that runs."""
    if not is_unfinished(shop) and step not in {"test", "done"}:
        return HttpResponseRedirect(reverse("shop", args=[shop.code]))
    return HttpResponseRedirect(reverse("shop_step", args=[shop.code, step]))


def following(step: str, shop: Shop) -> str:
    steps = steps_of(platform_of(shop))
    return steps[steps.index(step) + 1]


def draw_step(
    request: HttpRequest, shop: Shop, step: str, *, status: int = HTTPStatus.OK, **more: Any
) -> HttpResponse:
    platform = platform_of(shop)
    context = {
        "shop": shop,
        "platform": platform,
        "step": step,
        "unfinished": is_unfinished(shop),
        "steps": [(name, STEPS[name]) for name in steps_of(platform)],
        "next": None if step == "done" else following(step, shop),
        **more,
    }
    return render(request, f"console/shops/{step}.html", context, status=status)
