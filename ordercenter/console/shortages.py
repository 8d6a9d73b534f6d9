"""The shortage queue: who waits for which goods, and what is done about it."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from http import HTTPStatus
from typing import Any, Final

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from ordercenter.console import parting_facts
from ordercenter.console import shortage_facts as facts
from ordercenter.console.access import fragment_of, me, page
from ordercenter.console.orders import answer_conflict, order_in_scope
from ordercenter.core.actor import Actor
from ordercenter.core.clock import now
from ordercenter.core.errors import InvalidInput, OrderCenterError
from ordercenter.core.policy import Can, allows
from ordercenter.orders.models import SalesOrder
from ordercenter.pipeline import parting, shortage_acts
from ordercenter.pipeline.shortage_acts import MOST_AT_ONCE, Act, Outcome, Seen

STATES: Final = ("all", "open", "promised", "rest", "balance")
LONGEST_CODE: Final = 40
MOST_LINES: Final = 200


def _number(text: str, *, most: int = 2**62) -> int:
    """A whole number out of an address or a form; zero for anything else."""
    is_number = text.isascii() and text.isdigit() and len(text) < 19  # noqa: PLR2004 - a bigint
    return min(int(text), most) if is_number else 0


def _text(text: str) -> str:
    return text.replace("\0", "").strip()[:LONGEST_CODE]


@require_safe
@page(Can.WORK_SHORTAGE)
def queue_page(request: HttpRequest) -> HttpResponse:
    """The goods that are short, and the orders that wait for them in their turn."""
    state = request.GET.get("state", "all")
    state = state if state in STATES else "all"
    sku, shop = _text(request.GET.get("sku", "")), _number(request.GET.get("shop", ""))
    number = max(1, _number(request.GET.get("page", ""), most=facts.MOST_PAGES))
    moment = now()
    found = facts.queue(request.user, sku=sku, shop=shop, number=number, state=state, now=moment)
    here = {"sku": sku, "shop": shop or "", "state": "" if state == "all" else state}
    context: dict[str, Any] = {
        "queue": found, "state": state, "sku": sku, "shop": shop,
        "address": partial(_address, **here),
        "next": _address(**{**here, "page": number + 1}),
        "before": _address(**{**here, "page": number - 1}),
        "tabs": _tabs(found, here),
        "fragment": fragment_of(request),
    }  # fmt: skip
    if state == "balance":
        some = facts.balances(request.user)[: facts.A_PAGE]
        context["balances"] = [facts.balance_of(order, moment) for order in some]
    elif state == "rest":
        start = (number - 1) * facts.A_PAGE
        rests = list(
            parting_facts.rests(request.user, sku=sku, shop=shop)[start : start + facts.A_PAGE + 1]
        )
        context |= {"rests": parting_facts.rests_of(rests[: facts.A_PAGE]),
                    "queue": replace(found, has_next=len(rests) > facts.A_PAGE)}  # fmt: skip
    else:
        context["promised"] = facts.promised_to([row.order.pk for row in found.rows])
    part = "fragment" in request.GET
    name = "console/shortages/parts/queue.html" if part else "console/shortages/queue.html"
    return render(request, name, context)


def _address(**query: str | int) -> str:
    asked = {name: value for name, value in query.items() if value}
    return reverse("shortages") + ("?" + urlencode(asked) if asked else "")


def _tabs(found: facts.Queue, here: Mapping[str, Any]) -> list[dict[str, Any]]:
    rows = (
        ("all", _("全部"), found.total),
        ("open", _("未承诺"), found.total - found.promised),
        ("promised", _("已承诺到货"), found.promised),
        ("rest", _("分批待补"), found.rests),
        ("balance", _("待付尾款"), found.balances),
    )
    return [
        {"state": state, "label": label, "count": count,
         "url": _address(**{**here, "state": "" if state == "all" else state})}
        for state, label, count in rows
    ]  # fmt: skip


# --- one order ---------------------------------------------------------------------------------


@require_safe
@page(Can.WORK_SHORTAGE)
def order_page(request: HttpRequest, number: str) -> HttpResponse:
    """What one order lacks and what may be done; ``do`` shows what an act would come to."""
    return _draw(request, order_in_scope(request, number))


def _draw(
    request: HttpRequest, order: SalesOrder, *, error: str = "", status: int = HTTPStatus.OK
) -> HttpResponse:
    told = request.POST if request.method == "POST" else request.GET
    moment = now()
    lines = facts.lines_of(order)
    holds = list(facts.waiting(request.user).filter(order=order))
    line_id, code = _number(told.get("line", "")), _text(told.get("sku", ""))
    dropped = {_number(pk) for pk in told.getlist("drop")[:MOST_LINES]}
    do = told.get("do", "") or told.get("verb", "")
    drop = facts.drop_facts(order, dropped) if do == "drop" else None
    context = {
        "order": order, "lines": lines, "holds": holds, "error": error, "do": do,
        "line_id": line_id, "code": code, "dropped": dropped, "reason": told.get("reason", ""),
        "swap": facts.swap_facts(lines, line_id, code) if do == "swap" else None,
        "drop": drop,
        "may_cancel": allows(request.user, Can.CANCEL),
        "outlook": facts.outlook(order, lines, moment) if holds else None,
        "codes": {one.line.sku_id: one.line.sku for one in lines},
        "promised": facts.promised_to([order.pk]).get(order.pk, ()),
        "has_money": facts.has_money(order),
        "is_promised": any(hold.code == "presale" for hold in holds),
        "part": parting_facts.part_facts(order) if holds and order.paid_at else None,
        "rest": _rest(request, order),
        "now": moment,
    }  # fmt: skip
    return render(request, "console/shortages/order.html", context, status=int(status))


def _rest(request: HttpRequest, order: SalesOrder) -> parting_facts.Rest | None:
    """What waits of an order that leaves in parts; None where nothing does."""
    found = parting_facts.rests_of(list(parting_facts.rests(request.user).filter(pk=order.pk)))
    return found[0] if found else None


@require_POST
@page(Can.WORK_SHORTAGE)
def act(request: HttpRequest, number: str) -> HttpResponse:
    """Do what was chosen; pressed twice it is done once. 409 where the order has changed."""
    order = order_in_scope(request, number)
    try:
        verb = VERBS[request.POST.get("verb", "")]
    except KeyError:
        raise Http404 from None
    version = _number(request.POST.get("version", ""))
    reason = request.POST.get("reason", "").strip()
    it = Seen(order.pk, version, me(request), Actor.of(request), reason)
    here = reverse("shortage", args=[order.number])
    try:
        done = verb(request, it)
    except InvalidInput as refusal:
        return _draw(request, order, error=str(refusal), status=refusal.http_status)
    except OrderCenterError as refusal:
        if refusal.http_status == HTTPStatus.CONFLICT:
            return answer_conflict(request, order, refusal, here)
        raise
    messages.success(request, f"{done.number}：{done.words}")
    return HttpResponseRedirect(reverse("shortages") if done.has_stock else here)


def _swap(request: HttpRequest, it: Seen) -> Outcome:
    line = _number(request.POST.get("line", ""))
    return shortage_acts.swap_line(it, line, _text(request.POST.get("sku", "")))


def _drop(request: HttpRequest, it: Seen) -> Outcome:
    chosen = {_number(pk) for pk in request.POST.getlist("drop")[:MOST_LINES]}
    return shortage_acts.drop_lines(it, chosen)


def _part(request: HttpRequest, it: Seen) -> Outcome:
    shown = {_number(pk) for pk in request.POST.getlist("now")[:MOST_LINES]}
    return parting.ship_part(it, shown)


VERBS: Final[Mapping[str, Callable[[HttpRequest, Seen], Outcome]]] = {
    "retry": lambda _request, it: shortage_acts.try_again(it),
    "wait": lambda _request, it: shortage_acts.wait_for_goods(it),
    "swap": _swap,
    "drop": _drop,
    "part": _part,
    "rest": lambda _request, it: parting.try_rest(it),
    "whole": lambda _request, it: parting.send_whole(it),
    "drop_rest": lambda _request, it: parting.drop_rest(it),
}


# --- many orders of one SKU --------------------------------------------------------------------

BULK: Final[Mapping[str, Act]] = {
    "retry": shortage_acts.try_again,
    "wait": shortage_acts.wait_for_goods,
    "part": parting.ship_part,
}


@require_http_methods(["GET", "HEAD", "POST"])
@page(Can.WORK_SHORTAGE)
def bulk_page(request: HttpRequest) -> HttpResponse:
    """All orders that wait for one SKU: tick, act, and read what became of each."""
    if request.method != "POST":
        return _draw_bulk(request, _text(request.GET.get("sku", "")))
    sku = _text(request.POST.get("sku", ""))
    try:
        verb = BULK[request.POST.get("verb", "")]
    except KeyError:
        raise Http404 from None
    try:
        ticked = _ticked(request)
        if verb is parting.ship_part:
            verb = _as_shown(request, {it.order_id: number for number, it in ticked})
        answers = shortage_acts.act_on_each(ticked, verb)
    except InvalidInput as refusal:
        return _draw_bulk(request, sku, error=str(refusal), status=refusal.http_status)
    return _draw_bulk(request, sku, answers=answers)


def _ticked(request: HttpRequest) -> list[tuple[str, Seen]]:
    """The ticked orders as they were shown: ``pick`` holds number and version."""
    versions = {}
    for pick in request.POST.getlist("pick")[: MOST_AT_ONCE + 1]:
        number, _sep, version = pick.replace("\0", "").rpartition(":")
        versions[number] = _number(version)
    if not versions:
        raise InvalidInput(what=_("请先勾选订单"))
    orders = SalesOrder.objects.visible_to(request.user).filter(number__in=versions)
    ids = dict(orders.values_list("number", "pk"))
    user, actor = me(request), Actor.of(request)
    return [
        (number, Seen(ids[number], version, user, actor))
        for number, version in versions.items()
        if number in ids
    ]


def _as_shown(request: HttpRequest, numbers: Mapping[int, str]) -> Act:
    """Part each order as its row showed it: ``now`` holds number and lines."""
    shown: dict[str, set[int]] = {}
    for text in request.POST.getlist("now")[:MOST_AT_ONCE]:
        number, _sep, lines = text.replace("\0", "").rpartition(":")
        shown[number] = {_number(pk) for pk in lines.split(",")[:MOST_LINES]}

    def part(it: Seen) -> Outcome:
        return parting.ship_part(it, shown.get(numbers[it.order_id], ()))

    return part


def _draw_bulk(
    request: HttpRequest,
    sku: str,
    *,
    answers: Any = None,
    error: str = "",
    status: int = HTTPStatus.OK,
) -> HttpResponse:
    if not sku:
        raise Http404
    holds = list(facts.waiting(request.user, sku=sku)[:MOST_AT_ONCE])
    parts = parting_facts.parts_of_each([hold.order_id for hold in holds])
    context = {
        "sku": sku, "rows": [(hold, parts.get(hold.order_id)) for hold in holds],
        "answers": answers, "error": error, "most": MOST_AT_ONCE,
        "done": sum(one.is_done for one in answers or ()),
    }  # fmt: skip
    return render(request, "console/shortages/bulk.html", context, status=int(status))
