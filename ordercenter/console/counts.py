"""Counting with a phone: scan, type what lies there, without seeing what the books say."""

from datetime import timedelta
from http import HTTPStatus
from typing import Any, Final

from django.contrib import messages
from django.db.models import Count, Q
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from inventory import counting
from inventory.accuracy import accuracy
from inventory.bins import Places, places_of
from inventory.models import CountLine, StockCount, StockPolicy
from ordercenter.catalog.models import Sku
from ordercenter.console import paper_forms as forms
from ordercenter.console.access import me, page
from ordercenter.console.listing_facts import number_of
from ordercenter.core.actor import Actor
from ordercenter.core.clock import now as clock_now
from ordercenter.core.errors import InvalidInput, OrderCenterError
from ordercenter.core.policy import Can
from ordercenter.pipeline.publishing import telling_stock

PERIODS: Final = (30, 90, 365)
"""Days over which accuracy is told."""
SHOWN: Final = 200


@require_safe
@page(Can.MOVE_STOCK)
def counts_page(request: HttpRequest) -> HttpResponse:
    """Counts, the latest first, and how true the books were found."""
    found = counting.visible_to(me(request)).select_related("virtual_warehouse").order_by("-pk")
    found = found.annotate(
        to_count=Count("lines"), counted=Count("lines", filter=Q(lines__counted__isnull=False))
    )
    days = number_of(request.GET.get("days", ""), most=365, otherwise=PERIODS[0])
    until = clock_now()
    places = [room.pk for room in forms.rooms(request)]
    context = {
        **forms.frame(request, "counts"),
        **forms.paged(request, found),
        "days": days,
        "periods": PERIODS,
        "accuracy": accuracy(until - timedelta(days=days), until, room_ids=places),
    }
    return render(request, "console/papers/counts.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@page(Can.MOVE_STOCK)
def new_page(request: HttpRequest) -> HttpResponse:
    """Begin a count."""
    number = forms.number_for(request, counting.PREFIX)
    if request.method != "POST":
        return _draw_new(request, number)
    typed = request.POST.get("goods", "").strip()
    try:
        count = counting.open_count(
            forms.id_of(request.POST, "room"), list(forms.goods_of(typed)) if typed else None,
            number=number, user=me(request), actor=Actor.of(request),
        )  # fmt: skip
    except OrderCenterError as refusal:
        if not forms.told_here(refusal):
            raise
        return _draw_new(request, number, error=str(refusal), status=refusal.http_status)
    return HttpResponseRedirect(reverse("count", args=[count.pk]))


def _draw_new(
    request: HttpRequest, number: str, *, error: str = "", status: int = HTTPStatus.OK
) -> HttpResponse:
    context = {
        **forms.frame(request, "counts"),
        "rooms": forms.rooms(request),
        "number": number,
        "typed": request.POST,
        "error": error,
    }
    return render(request, "console/papers/count_new.html", context, status=int(status))


def _mine(request: HttpRequest, pk: int) -> StockCount:
    found = counting.visible_to(me(request)).filter(pk=pk).select_related(
        "virtual_warehouse"
    ).first()  # fmt: skip
    if found is None:
        raise Http404
    return found


@require_safe
@page(Can.MOVE_STOCK)
def count_page(request: HttpRequest, pk: int) -> HttpResponse:
    """What is still to be counted; or, asked for, the differences."""
    count = _mine(request, pk)
    try:
        return _draw(request, count, code=request.GET.get("code", ""))
    except InvalidInput as refusal:
        return _draw(request, count, error=str(refusal), status=refusal.http_status)


def _draw(
    request: HttpRequest,
    count: StockCount,
    *,
    code: str = "",
    error: str = "",
    status: int = HTTPStatus.OK,
) -> HttpResponse:
    warehouse = count.virtual_warehouse.warehouse_id
    lines = list(count.lines.select_related("level__sku").order_by("level__sku__code"))
    bins = places_of(warehouse, [line.level.sku_id for line in lines])
    is_open = count.state == counting.S.OPEN
    compares = not is_open or "compare" in request.GET or "compare" in request.POST
    sku = forms.sku_named(code) if code.strip() else None
    told = sorted((_told(line, bins) for line in lines), key=lambda one: one["turn"])
    counted = [one for one in told if one["line"].counted is not None]
    context = {
        **forms.frame(request, "counts"),
        "count": count,
        "is_open": is_open,
        "compares": compares,
        "left": [one for one in told if one["line"].counted is None][:SHOWN],
        "counted": counted[:SHOWN],
        "differing": [one for one in counted if one["difference"]][:SHOWN],
        "figures": (len(counted), len(lines)),
        "limit": StockPolicy.current().two_person_units,
        "sku": sku,
        "sku_bins": places_of(warehouse, [sku.pk])[sku.pk].words if sku else "",
        "before": _counted_before(lines, sku),
        "may_agree": not _takes_part(request, count, lines),
        "error": error,
        "typed": request.POST,
    }
    return render(request, "console/papers/count.html", context, status=int(status))


def _told(line: CountLine, bins: dict[int, Places]) -> dict[str, Any]:
    place = bins[line.level.sku_id]
    return {
        "line": line,
        "bins": place.words,
        "turn": (*place.turn, line.level.sku.code),
        "difference": counting.difference_of(line),
    }


def _counted_before(lines: list[CountLine], sku: Sku | None) -> CountLine | None:
    """What was counted of it already, so that nobody counts twice unawares."""
    return next(
        (x for x in lines if sku and x.level.sku_id == sku.pk and x.counted is not None), None
    )


def _takes_part(request: HttpRequest, count: StockCount, lines: list[CountLine]) -> bool:
    who = me(request).pk
    counters = {line.counted_by_id for line in lines}
    return who in {count.created_by_id, count.submitted_by_id, *counters}


@require_POST
@page(Can.MOVE_STOCK, Can.APPROVE_STOCK)
def act(request: HttpRequest, pk: int) -> HttpResponse:
    """Count one SKU, leave one out, submit, agree, have it counted again, or give up."""
    verbs = {
        "count": _count, "leave_out": _leave_out, "submit": _submit, "approve": _approve,
        "reopen": _reopen, "cancel": _cancel,
    }  # fmt: skip
    count, verb = _mine(request, pk), verbs.get(request.POST.get("verb", ""))
    if verb is None:
        raise Http404
    try:
        with telling_stock():
            done = verb(request, count)
    except OrderCenterError as refusal:
        if not forms.told_here(refusal):
            raise
        return _draw(request, _mine(request, pk), error=str(refusal), status=refusal.http_status)
    messages.success(request, done)
    query = {"compare": 1} if "compare" in request.POST else {}
    address = reverse("count", args=[pk])
    return HttpResponseRedirect(f"{address}?{urlencode(query)}" if query else address)


def _who(request: HttpRequest) -> dict[str, Any]:
    return {"user": me(request), "actor": Actor.of(request)}


def _count(request: HttpRequest, count: StockCount) -> str:
    sku = forms.sku_named(request.POST.get("sku", ""))
    if not request.POST.get("units", "").strip():
        raise InvalidInput(what=_("请填写实盘件数，没有就填 0"))
    units = forms.units_of(request.POST["units"])
    counting.count_sku(count.pk, sku.pk, units, **_who(request))
    return _("%(sku)s 实盘 %(units)d 件") % {"sku": sku.code, "units": units}


def _leave_out(request: HttpRequest, count: StockCount) -> str:
    counting.leave_out(count.pk, forms.id_of(request.POST, "line"), **_who(request))
    return _("这一行不计入，需要时可重盘")


def _submit(request: HttpRequest, count: StockCount) -> str:
    done = counting.submit(count.pk, **_who(request))
    waits = done.state == counting.S.WAITING
    return _("已提交，差异较大，等待第二人复核") if waits else _("盘点已生效")


def _approve(request: HttpRequest, count: StockCount) -> str:
    counting.approve(count.pk, **_who(request))
    return _("盘点已生效")


def _reopen(request: HttpRequest, count: StockCount) -> str:
    counting.reopen(count.pk, reason=request.POST.get("reason", ""), **_who(request))
    return _("已退回重盘")


def _cancel(request: HttpRequest, count: StockCount) -> str:
    counting.cancel(count.pk, reason=request.POST.get("reason", ""), **_who(request))
    return _("盘点已取消，库存不变")
