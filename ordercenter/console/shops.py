"""The page of one shop: how its line is, and what people do to it."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any, Final

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from channels_sync.contracts import ConnectorError, PlatformError
from channels_sync.models import Backfill, Reconciliation, SyncCursor
from ordercenter.catalog.models import Shop
from ordercenter.console import shop_facts
from ordercenter.console.access import me, page
from ordercenter.console.reasons import checked_reason
from ordercenter.console.shop_forms import ModeForm, SpanForm
from ordercenter.console.shop_steps import (
    advise,
    credential_of,
    lists_of,
    platform_of,
    push_address,
    shop_named,
    steps_of,
)
from ordercenter.core.actor import Actor
from ordercenter.core.clock import now
from ordercenter.core.errors import InvalidInput
from ordercenter.core.policy import Can, allows
from ordercenter.pipeline import completeness, lines
from ordercenter.pipeline.health import health_of, is_unfinished
from ordercenter.pipeline.shops import start_shop

FRAGMENTS: Final[Mapping[str, str]] = {
    "1": "console/shops/parts/line.html",
    "records": "console/shops/parts/records.html",
    "backfill": "console/shops/parts/backfill.html",
}
OLDEST_HOUR: Final = timedelta(days=90)
LONGEST_BIGINT: Final = 18


@require_safe
@page(Can.VIEW_HEALTH)
def shop_page(request: HttpRequest, code: str) -> HttpResponse:
    """One shop in full, or the part of it that a script asks for again."""
    shop = shop_named(code)
    if is_unfinished(shop) and allows(request.user, Can.EDIT_SHOPS):
        return HttpResponseRedirect(reverse("shop_setup", args=[shop.code]))
    return _draw(request, shop)


def _draw(
    request: HttpRequest, shop: Shop, *, status: int = HTTPStatus.OK, **more: Any
) -> HttpResponse:
    part = FRAGMENTS.get(request.GET.get("fragment", "")) if request.method == "GET" else None
    context = {
        "shop": shop,
        "may_edit": allows(request.user, Can.EDIT_SHOPS),
        "may_replay": allows(request.user, Can.REPLAY_DEAD),
        "has_line": has_line(shop),
        "here": reverse("shop", args=[shop.code]),
        "feeds_to_read": lists_of(shop),
        **more,
    }
    context |= _facts_of_part(request, shop, part)
    name = part or "console/shops/shop.html"
    return render(request, name, context, status=int(status))


def has_line(shop: Shop) -> bool:
    """Whether the shop can be spoken for."""
    return hasattr(shop, "cursor") and credential_of(shop) is not None


def _facts_of_part(request: HttpRequest, shop: Shop, part: str | None) -> dict[str, Any]:
    moment = now()
    facts: dict[str, Any] = {"now": moment}
    if part in {None, FRAGMENTS["1"]}:
        facts["row"] = health_of(shop, moment)
        facts["pulled"] = shop_facts.pulled(request.user, shop, request.GET.get("pulled", ""))
    if part in {None, FRAGMENTS["records"]}:
        facts |= {
            "feeds": shop_facts.feeds_of(shop, lists_of(shop)),
            "hours": shop_facts.hours_of(shop, moment),
            "budgets": shop_facts.budgets_of(shop),
            "past_alarms": shop_facts.past_alarms_of(shop),
        }
    if part in {None, FRAGMENTS["backfill"]}:
        facts["backfills"] = shop_facts.backfills_of(shop)
    if part is None:
        facts |= _settings(request, shop)
    return facts


def _settings(request: HttpRequest, shop: Shop) -> dict[str, Any]:
    cursor: SyncCursor | None = getattr(shop, "cursor", None)
    feeds = lists_of(shop)
    return {
        "platform": platform_of(shop),
        "credential": credential_of(shop),
        "push": push_address(request, shop),
        "authorizes": "authorize" in steps_of(platform_of(shop)),
        "mode_form": ModeForm(None, row=cursor, feeds=feeds) if cursor else None,
    }


# --- what people do ------------------------------------------------------------------------------


def _test(request: HttpRequest, shop: Shop) -> str:
    tested = lines.test_connection(shop.pk, user=me(request))
    if tested.error is not None:
        raise Failed(tested.error)
    return _("连接正常，平台在 %(seconds).1f 秒内答复") % {"seconds": tested.seconds}


def _poll(request: HttpRequest, shop: Shop) -> str:
    lines.poll_now(shop.pk, user=me(request))
    return _("已安排立即读取，几秒后刷新")


def _pause(request: HttpRequest, shop: Shop) -> str:
    reason = checked_reason(request.POST.get("reason", ""))
    lines.pause(shop.pk, user=me(request), actor=Actor.of(request), reason=reason)
    return _("已暂停：不读取、不回传，推送照常收下")


def _resume(request: HttpRequest, shop: Shop) -> str:
    lines.resume(shop.pk, user=me(request), actor=Actor.of(request))
    return _("已恢复，暂停期间的变化会先补读")


def _start(request: HttpRequest, shop: Shop) -> str:
    cursor: SyncCursor | None = getattr(shop, "cursor", None)
    start_shop(
        shop.pk,
        user=me(request),
        actor=Actor.of(request),
        mode=cursor.mode if cursor else "",
        interval_seconds=cursor.interval_seconds if cursor else 0,
    )
    return _("店铺已启用")


def _mode(request: HttpRequest, shop: Shop) -> str:
    cursor: SyncCursor = shop.cursor
    form = ModeForm(request.POST, row=cursor, feeds=lists_of(shop))
    if not form.is_valid():
        raise InvalidInput(what=_("请选择同步方式和轮询间隔"))
    lines.set_mode(
        shop.pk,
        user=me(request),
        actor=Actor.of(request),
        mode=form.cleaned_data["mode"],
        interval_seconds=form.interval_seconds(cursor.interval_seconds),
    )
    return _("同步方式已保存")


def _pull(request: HttpRequest, shop: Shop) -> str:
    number = request.POST.get("number", "").strip()
    if "\0" in number:
        raise InvalidInput(what=_("请填写平台单号"))
    is_news = lines.pull_one(shop.pk, number, user=me(request), actor=Actor.of(request))
    if is_news:
        return _("已从平台取得 %(number)s，正在处理") % {"number": number}
    return _("平台上的 %(number)s 没有变化") % {"number": number}


def _backfill(request: HttpRequest, shop: Shop) -> str:
    form = SpanForm(request.POST)
    if not form.is_valid():
        wrong = next(iter(form.errors))
        label = form.fields[wrong].label if wrong in form.fields else ""
        raise InvalidInput(what=f"{label}：{next(iter(form.errors.values()))[0]}")
    lines.ask_backfill(
        shop.pk,
        start=form.cleaned_data["start"],
        end=form.cleaned_data["end"],
        user=me(request),
        actor=Actor.of(request),
        reason=form.cleaned_data["reason"],
    )
    return _("已开始补拉，新订单仍然优先")


def _cancel_backfill(request: HttpRequest, shop: Shop) -> str:
    told = request.POST.get("backfill", "")
    if not (told.isascii() and told.isdigit() and len(told) <= LONGEST_BIGINT):
        raise Http404
    if not Backfill.objects.filter(pk=int(told), shop=shop).exists():
        raise Http404
    lines.cancel_backfill(int(told), user=me(request), actor=Actor.of(request))
    return _("补拉已取消，已读到的订单保留")


def _reset(request: HttpRequest, shop: Shop) -> str:
    form = SpanForm({"start": request.POST.get("to", ""), "end": request.POST.get("to", "")})
    if not form.is_valid():
        raise InvalidInput(what=_("请填写读取进度要移到的时间"))
    lines.reset_cursor(
        shop.pk,
        request.POST.get("feed", "").replace("\0", ""),
        form.cleaned_data["start"],
        user=me(request),
        actor=Actor.of(request),
        reason=checked_reason(request.POST.get("reason", "")),
    )
    return _("读取进度已移动，下一次读取从那里开始")


def _reconcile(request: HttpRequest, shop: Shop) -> str:
    hour = _hour(request.POST.get("hour", ""))
    row = completeness.reconcile_now(shop.pk, hour, user=me(request))
    facts = {"theirs": row.theirs, "ours": row.ours, "missing": len(row.missing)}
    if row.state == Reconciliation.State.EVEN:
        return _("核对一致：平台 %(theirs)d 单，本系统 %(ours)d 单") % facts
    return _("平台 %(theirs)d 单，本系统 %(ours)d 单，缺的 %(missing)d 单正在补拉") % facts


def _hour(text: str) -> datetime:
    moment = now()
    hour = _moment(text)
    if hour is None or not moment - OLDEST_HOUR <= hour <= moment:
        raise InvalidInput(what=_("要核对的时段不对，请刷新后重试"))
    return hour


def _moment(text: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo else None


VERBS: Final[Mapping[str, Callable[[HttpRequest, Shop], str]]] = {
    "test": _test,
    "poll": _poll,
    "pause": _pause,
    "resume": _resume,
    "start": _start,
    "mode": _mode,
    "pull": _pull,
    "backfill": _backfill,
    "cancel_backfill": _cancel_backfill,
    "reset": _reset,
    "reconcile": _reconcile,
}


class Failed(ConnectorError):
    """The platform's answer to a question asked for a person."""


@require_POST
@page(Can.VIEW_HEALTH)
def act(request: HttpRequest, code: str) -> HttpResponse:
    """Do one thing to a shop's line. What is refused is said beside what was typed."""
    shop = shop_named(code)
    verb = request.POST.get("verb", "")
    if verb not in VERBS:
        raise Http404
    try:
        _need_line(shop, verb)
        done = VERBS[verb](request, shop)
    except InvalidInput as refusal:
        return _refuse(request, shop, verb, words=str(refusal))
    except ConnectorError as error:
        return _refuse(request, shop, verb, error=error.error)
    messages.success(request, done)
    there = reverse("shop", args=[shop.code])
    if verb == "pull":
        there += "?" + urlencode({"pulled": request.POST.get("number", "").strip()})
    return HttpResponseRedirect(there)


def _need_line(shop: Shop, verb: str) -> None:
    if verb != "start" and not has_line(shop):
        raise InvalidInput(what=_("这家店铺还没有填写接口凭据"))


def _refuse(
    request: HttpRequest, shop: Shop, verb: str, *, words: str = "",
    error: PlatformError | None = None,
) -> HttpResponse:  # fmt: skip
    context = {
        "refused": verb,
        "refusal": words,
        "platform_error": error,
        "advice": error and advise(error, shop.channel),
        "typed": request.POST,
    }
    return _draw(request, shop, status=HTTPStatus.UNPROCESSABLE_ENTITY, **context)
