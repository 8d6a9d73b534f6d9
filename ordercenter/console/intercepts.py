"""The command box: type what is to stop, see what it would do, confirm by the count, undo."""

from collections.abc import Mapping
from datetime import datetime
from http import HTTPStatus
from typing import Any, Final
from uuid import uuid4

from django.contrib import messages
from django.core import signing
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from ordercenter.console import intercept_facts as facts
from ordercenter.console import stops
from ordercenter.console.access import fragment_of, me, page
from ordercenter.console.reasons import LONGEST, checked_reason
from ordercenter.core.actor import Actor
from ordercenter.core.clock import now as clock_now
from ordercenter.core.errors import InvalidInput, OrderCenterError
from ordercenter.core.policy import Can, allows
from ordercenter.orders.models import Interception
from ordercenter.pipeline.interception import acts
from ordercenter.pipeline.interception.commands import LONGEST as LONGEST_COMMAND
from ordercenter.pipeline.interception.commands import Kind
from ordercenter.pipeline.interception.gates import Condition

SALT: Final = "intercept.box"
GOOD_FOR: Final = 900
"""Seconds for which a preview may be confirmed."""
DRIFT: Final = 20
"""Orders by which the count may have changed since; above a tenth of it, it is asked again."""
EXAMPLES: Final = (
    "江苏省暂停发货 到明早8点 顺丰除外",
    "明天0点起江苏停发 到后天8点",
    "SKU JZ-1001 全部拦截",
    "抖音店暂停打单 3小时",
    "解除江苏",
)
QUICK: Final = (
    "台风暴雨，物流停运",
    "供应商断货，暂停发货",
    "商品质量问题，先停发货",
    "价格设置错误，停发核对",
)
ALL_WORDS: Final = "全部停发"


@require_safe
@page(Can.VIEW_ORDERS, Can.PICK, Can.PACK)
def box_page(request: HttpRequest) -> HttpResponse:
    """The box and what runs; who may not command reads what runs."""
    may = allows(request.user, Can.INTERCEPT)
    if "fragment" in request.GET:
        return render(request, "console/intercept/parts/running.html", _running(request))
    text = _typed(request.GET) if may else ""
    context = {**_running(request), **_box(request, text)}
    return render(request, "console/intercept/page.html", context)


def _running(request: HttpRequest) -> dict[str, Any]:
    user = request.user
    return {
        "may": allows(user, Can.INTERCEPT),
        "sees": allows(user, Can.VIEW_ORDERS),
        "running": facts.rows(user, list(facts.running()[: facts.A_PAGE])),
        "asked": facts.rows(user, list(facts.asked()[: facts.A_PAGE])),
        "planned": facts.rows(user, list(facts.planned()[: facts.A_PAGE])),
        "fragment": fragment_of(request),
        "quick": QUICK,
        "longest_reason": LONGEST,
    }


def _typed(told: Mapping[str, str]) -> str:
    return told.get("q", "").replace("\0", "").strip()[: LONGEST_COMMAND + 1]


@require_safe
@page(Can.INTERCEPT)
def parse_part(request: HttpRequest) -> HttpResponse:
    """What the box holds, as it is read; ``light=1`` without counting."""
    text = _typed(request.GET)
    context = _box(request, text, is_light="light" in request.GET)
    return render(request, "console/intercept/parts/parsed.html", context)


def _box(
    request: HttpRequest,
    text: str,
    *,
    is_light: bool = False,
    error: str = "",
    refill: bool = False,
) -> dict[str, Any]:
    now = clock_now()
    read = facts.read_box(text, now=now, is_light=is_light) if text else None
    post = request.POST if refill else {}
    reason = post.get("reason", "") or (read.command.reason if read and read.command else "")
    return {
        "text": text, "read": read, "error": error, "examples": EXAMPLES, "quick": QUICK,
        "plan": _sign(request, read) if read and read.preview else "",
        "reason": reason, "longest": LONGEST_COMMAND, "longest_reason": LONGEST,
        "is_stop": bool(read and read.command and read.command.kind is Kind.STOP),
        "is_light": is_light, "all_words": ALL_WORDS,
    }  # fmt: skip


def _sign(request: HttpRequest, read: facts.Read) -> str:
    """What was shown, for this person's confirmation and nobody else's; good once."""
    assert read.command is not None
    assert read.preview is not None
    told = {
        "user": me(request).pk, "text": read.text, "once": uuid4().hex,
        "condition": read.command.condition, "words": read.command.words,
        "ends_at": read.command.ends_at.isoformat() if read.command.ends_at else "",
        "begins_at": read.command.begins_at.isoformat() if read.command.begins_at else "",
        "count": read.preview.count, "preview": read.preview.stored(),
    }  # fmt: skip
    return signing.dumps(told, salt=SALT, compress=True)


def _signed_by(request: HttpRequest) -> dict[str, Any]:
    try:
        told: dict[str, Any] = signing.loads(
            request.POST.get("plan", ""), salt=SALT, max_age=GOOD_FOR
        )
    except signing.BadSignature:
        told = {}
    if told.get("user") != me(request).pk:
        raise InvalidInput(what=_("预览已过期，请重新查看后再确认"))
    return told


@require_POST
@page(Can.INTERCEPT)
def start(request: HttpRequest) -> HttpResponse:
    """Start what was shown, or leave it for a second person. Pressed twice it is one."""
    told: dict[str, Any] = {}
    try:
        told = _signed_by(request)
        wish = _wish(request, told)
        row = acts.ask(wish, user=me(request), actor=Actor.of(request))
    except OrderCenterError as refusal:
        if refusal.http_status == HTTPStatus.FORBIDDEN:
            raise
        text = told.get("text", "") or _typed(request.POST)
        context = {**_running(request),
                   **_box(request, text, error=str(refusal), refill=True)}  # fmt: skip
        return render(
            request, "console/intercept/page.html", context, status=int(refusal.http_status)
        )
    if row.state == Interception.State.ASKED:
        messages.success(request, _("已提交，等待第二人确认：%(words)s") % {"words": row.words})
    else:
        messages.success(request, _("已生效：%(words)s") % {"words": row.words})
    return HttpResponseRedirect(reverse("intercept", args=[row.pk]))


def _wish(request: HttpRequest, told: Mapping[str, Any]) -> acts.Wish:
    """What the form confirms. Raises InvalidInput where it does not, or not any more."""
    condition = Condition.read(told["condition"])
    _confirmed(request, told["count"], is_all=condition.all)
    count = acts.size_of(condition).orders
    if abs(count - told["count"]) > max(DRIFT, told["count"] // 10):
        changed = {"was": told["count"], "now": count}
        raise InvalidInput(what=_("订单数已从 %(was)d 变为 %(now)d，请重新核对") % changed)
    return acts.Wish(
        text=told["text"], condition=condition, words=told["words"],
        reason=checked_reason(request.POST.get("reason", "")),
        ends_at=datetime.fromisoformat(told["ends_at"]) if told["ends_at"] else None,
        begins_at=datetime.fromisoformat(told["begins_at"]) if told["begins_at"] else None,
        preview=told["preview"], source_key=f"{told['user']}:{told['once']}",
    )  # fmt: skip


def _confirmed(request: HttpRequest, count: int, *, is_all: bool) -> None:
    typed = request.POST.get("count", "").strip().replace(",", "").replace("，", "")
    if typed != str(count):
        raise InvalidInput(what=_("请输入订单数 %(count)d 以确认") % {"count": count})
    if is_all and request.POST.get("all_words", "").strip() != ALL_WORDS:
        raise InvalidInput(what=_("停掉全部订单需再输入“%(words)s”") % {"words": ALL_WORDS})


@require_safe
@page(Can.VIEW_ORDERS, Can.PICK, Can.PACK)
def banner(request: HttpRequest) -> HttpResponse:
    """What is stopped just now, for the top of other pages."""
    lines, more = stops.banner()
    return render(request, "console/intercept/parts/banner.html", {"lines": lines, "more": more})


@require_safe
@page(Can.VIEW_ORDERS)
def history_page(request: HttpRequest) -> HttpResponse:
    """What is over, the latest first: who, when, why, how many."""
    text = request.GET.get("page", "")
    number = min(int(text), facts.MOST_PAGES) if text.isascii() and text.isdigit() else 1
    number = max(1, number)
    start_at = (number - 1) * facts.HISTORY
    found = list(facts.over()[start_at : start_at + facts.HISTORY + 1])
    context = {
        "rows": facts.rows(request.user, found[: facts.HISTORY]),
        "number": number,
        "next": "?" + urlencode({"page": number + 1}) if len(found) > facts.HISTORY else "",
        "before": "?" + urlencode({"page": number - 1}) if number > 1 else "",
    }
    return render(request, "console/intercept/history.html", context)
