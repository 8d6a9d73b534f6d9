"""One interception: its progress, every order it met, and what may be done about it."""

import csv
import io
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Final

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from channels_sync.sheets.cells import quoted
from ordercenter.console import intercept_facts as facts
from ordercenter.console.access import fragment_of, me, page
from ordercenter.console.intercepts import QUICK
from ordercenter.console.reasons import LONGEST
from ordercenter.core.actor import Actor
from ordercenter.core.errors import OrderCenterError
from ordercenter.core.policy import Can, allows
from ordercenter.orders.models import Interception, SalesOrder
from ordercenter.pipeline.interception import acts, tracking
from ordercenter.pipeline.interception.tracking import Place

MOST_ROWS: Final = 200_000
"""Orders of one downloaded report; a longer one says that it is cut."""
REPORT: Final = (
    "系统单号", "店铺", "订单状态", "结果", "包裹", "开始", "结束", "快递答复", "说明"
)  # fmt: skip
UNDO: Final = "撤销拦截，恢复发货"
"""The reason an undo has where nobody writes another."""


def _number(text: str, most: int) -> int:
    return max(1, min(int(text), most)) if text.isascii() and text.isdigit() else 1


@require_safe
@page(Can.VIEW_ORDERS)
def one_page(request: HttpRequest, pk: int) -> HttpResponse:
    """How far it is and what became of each order, narrowed to one outcome."""
    return _draw(request, get_object_or_404(Interception, pk=pk))


def _draw(
    request: HttpRequest, it: Interception, *, error: str = "", status: int = HTTPStatus.OK
) -> HttpResponse:
    place = request.GET.get("place", "")
    place = place if place in Place.values else ""
    number = _number(request.GET.get("page", "")[:6], facts.MOST_PAGES)
    found = tracking.tracked(
        it.pk, user=request.user, place=place, page=number, size=facts.A_PAGE + 1
    )
    row = facts.rows(request.user, [it])[0]
    context = {
        "row": row, "it": it, "place": place, "tabs": _tabs(row, place), "error": error,
        "orders": found[: facts.A_PAGE], "number": number, "quick": QUICK,
        "next": _address(place, number + 1) if len(found) > facts.A_PAGE else "",
        "before": _address(place, number - 1) if number > 1 else "",
        "fragment": fragment_of(request), "longest_reason": LONGEST, "undo": UNDO,
        "ends": allows(request.user, Can.END_INTERCEPT), "reason": request.POST.get("reason", ""),
    }  # fmt: skip
    part = "fragment" in request.GET
    name = "console/intercept/parts/one.html" if part else "console/intercept/one.html"
    return render(request, name, context, status=int(status))


def _address(place: str, number: int) -> str:
    asked = {"place": place, "page": number if number > 1 else ""}
    return "?" + urlencode({name: value for name, value in asked.items() if value})


def _tabs(row: facts.Row, place: str) -> list[dict[str, Any]]:
    figures = row.figures
    counts = {
        "": row.met + figures.late,
        Place.HELD: figures.held - min(figures.held, figures.at_bench),
        Place.BENCH: figures.at_bench,
        Place.LATE: figures.late,
        Place.FREE: figures.free,
    }
    labels: Mapping[str, str] = {"": _("全部"), **{one: str(one.label) for one in Place}}
    return [
        {"label": labels[value], "count": count, "url": _address(value, 1), "is_on": value == place}
        for value, count in counts.items()
    ]


@require_safe
@page(Can.VIEW_ORDERS)
def order_page(request: HttpRequest, pk: int, number: str) -> HttpResponse:
    """What happened between an interception and one order, step by step."""
    it = get_object_or_404(Interception, pk=pk)
    order = get_object_or_404(SalesOrder.objects.visible_to(request.user), number=number)
    steps = tracking.trail(it.pk, order.pk, user=request.user)
    context = {"it": it, "order": order, "steps": steps}
    return render(request, "console/intercept/trail.html", context)


@require_safe
@page(Can.VIEW_ORDERS)
def report(request: HttpRequest, pk: int) -> HttpResponse:
    """Every order of it as a table, as far as the reader may know of them."""
    it = get_object_or_404(Interception, pk=pk)
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow(REPORT)
    found = tracking.tracked(it.pk, user=request.user, size=MOST_ROWS + 1)
    for one in found[:MOST_ROWS]:
        times = [at.isoformat(timespec="seconds") if at else "" for at in (one.since, one.until)]
        cells = [one.number, one.shop, one.status_label, str(one.place.label), one.parcel, *times,
                 one.call_back_label, one.words]  # fmt: skip
        writer.writerow([quoted(cell) for cell in cells])
    if len(found) > MOST_ROWS:
        writer.writerow([_("只列出前 %(most)d 行") % {"most": MOST_ROWS}])
    answer = HttpResponse(
        out.getvalue().encode("utf-8-sig"), content_type="text/csv; charset=utf-8"
    )
    answer["Content-Disposition"] = f'attachment; filename="interception-{it.pk}.csv"'
    return answer


@require_POST
@page(Can.INTERCEPT)
def act(request: HttpRequest, pk: int) -> HttpResponse:
    """Agree, refuse, or end; pressed twice it is done once."""
    it = get_object_or_404(Interception, pk=pk)
    try:
        verb = VERBS[request.POST.get("verb", "")]
    except KeyError:
        raise Http404 from None
    try:
        done = verb(request, pk)
    except OrderCenterError as refusal:
        if refusal.http_status == HTTPStatus.FORBIDDEN:
            raise
        it.refresh_from_db()
        return _draw(request, it, error=str(refusal), status=refusal.http_status)
    messages.success(request, _said(done))
    return HttpResponseRedirect(reverse("intercept", args=[pk]))


def _said(it: Interception) -> str:
    words = {
        Interception.State.ACTIVE: _("已生效：%(words)s"),
        Interception.State.PLANNED: _("已确认，到时开始：%(words)s"),
        Interception.State.REFUSED: _("已驳回：%(words)s"),
        Interception.State.LIFTED: _("已解除，只恢复本条拦截挂起的订单：%(words)s"),
        Interception.State.EXPIRED: _("已到期：%(words)s"),
    }
    if it.state == Interception.State.ACTIVE and it.end_asked_by:
        return _("已申请解除，等待总经理确认：%(words)s") % {"words": it.words}
    return words[Interception.State(it.state)] % {"words": it.words}


def _approve(request: HttpRequest, pk: int) -> Interception:
    return acts.approve(pk, user=me(request), actor=Actor.of(request))


def _refuse(request: HttpRequest, pk: int) -> Interception:
    reason = request.POST.get("reason", "")
    return acts.refuse(pk, user=me(request), actor=Actor.of(request), reason=reason)


def _lift(request: HttpRequest, pk: int) -> Interception:
    reason = request.POST.get("reason", "").strip() or UNDO
    return acts.lift(pk, user=me(request), actor=Actor.of(request), reason=reason)


VERBS: Final[Mapping[str, Callable[[HttpRequest, int], Interception]]] = {
    "approve": _approve,
    "refuse": _refuse,
    "lift": _lift,
}
