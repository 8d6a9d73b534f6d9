"""Arrivals: announced at a desk, received with a thumb."""

from datetime import timedelta
from http import HTTPStatus
from typing import Any

from django.contrib import messages
from django.db.models import F, Sum
from django.db.models.functions import Greatest
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from inventory import arrivals
from inventory.arrivals import Receipt
from inventory.bins import places_of
from inventory.models import Inbound
from ordercenter.console import paper_forms as forms
from ordercenter.console.access import me, page
from ordercenter.core.actor import Actor
from ordercenter.core.clock import SHANGHAI
from ordercenter.core.clock import now as clock_now
from ordercenter.core.errors import OrderCenterError
from ordercenter.core.policy import Can
from ordercenter.pipeline import receiving


@require_safe
@page(Can.MOVE_STOCK)
def inbounds_page(request: HttpRequest) -> HttpResponse:
    """What is to come, the next first; or all there was, the latest first."""
    everything = request.GET.get("state") == "all"
    found = arrivals.visible_to(me(request)).select_related("virtual_warehouse")
    found = (
        found.order_by("-pk")
        if everything
        else found.filter(state__in=arrivals.OPEN).order_by("expected_at", "pk")
    )
    found = found.annotate(
        units=Sum("lines__expected"),
        came=Sum(F("lines__received") + F("lines__defect")),
        rest=Sum(Greatest(0, F("lines__expected") - F("lines__received") - F("lines__defect"))),
    )
    context = {
        **forms.frame(request, "inbounds"),
        **forms.paged(request, found),
        "everything": everything,
    }
    return render(request, "console/papers/inbounds.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@page(Can.MOVE_STOCK)
def new_page(request: HttpRequest) -> HttpResponse:
    """Announce goods."""
    number = forms.number_for(request, arrivals.PREFIX)
    if request.method != "POST":
        return _draw_new(request, number)
    try:
        inbound = arrivals.announce(
            forms.id_of(request.POST, "room"),
            forms.goods_of(request.POST.get("goods", "")),
            expected_at=forms.day_of(request.POST.get("expected", "")),
            supplier=request.POST.get("supplier", ""),
            note=request.POST.get("note", ""),
            number=number, user=me(request), actor=Actor.of(request),
        )  # fmt: skip
    except OrderCenterError as refusal:
        if not forms.told_here(refusal):
            raise
        return _draw_new(request, number, error=str(refusal), status=refusal.http_status)
    messages.success(request, _("已登记到货 %(number)s") % {"number": inbound.number})
    return HttpResponseRedirect(reverse("inbound", args=[inbound.pk]))


def _draw_new(
    request: HttpRequest, number: str, *, error: str = "", status: int = HTTPStatus.OK
) -> HttpResponse:
    wanted = request.GET.get("sku", "")[:40].replace("\0", "")
    units = request.GET.get("units", "")[:7]
    typed = request.POST or {
        "goods": f"{wanted} {units if units.isdecimal() else 1}" if wanted else "",
        "expected": f"{clock_now().astimezone(SHANGHAI) + timedelta(days=7):%Y-%m-%d}",
        "room": request.GET.get("room", ""),
    }
    context = {
        **forms.frame(request, "inbounds"),
        "rooms": forms.rooms(request),
        "number": number,
        "typed": typed,
        "error": error,
    }
    return render(request, "console/papers/inbound_new.html", context, status=int(status))


def _mine(request: HttpRequest, pk: int) -> Inbound:
    return forms.mine(arrivals.visible_to(me(request)).select_related("virtual_warehouse"), pk)


@require_safe
@page(Can.MOVE_STOCK)
def inbound_page(request: HttpRequest, pk: int) -> HttpResponse:
    """One arrival: what came of it, and the fields for what comes now."""
    return _draw(request, _mine(request, pk))


def _draw(
    request: HttpRequest, inbound: Inbound, *, error: str = "", status: int = HTTPStatus.OK
) -> HttpResponse:
    lines = list(inbound.lines.select_related("sku").order_by("sku__code"))
    bins = places_of(inbound.virtual_warehouse.warehouse_id, [line.sku_id for line in lines])
    conflict = status == HTTPStatus.CONFLICT
    context = {
        **forms.frame(request, "inbounds"),
        "inbound": inbound,
        "is_open": inbound.state in arrivals.OPEN,
        "lines": [
            {
                "line": line,
                "rest": arrivals.rest_of(line),
                "seen": line.received + line.defect,
                "bins": bins[line.sku_id].words,
                # Figures typed over what is no longer so are not offered again.
                "good": "" if conflict else request.POST.get(f"good-{line.pk}", ""),
                "defect": "" if conflict else request.POST.get(f"defect-{line.pk}", ""),
            }
            for line in lines
        ],
        "typed": request.POST,
        "error": error,
    }
    return render(request, "console/papers/inbound.html", context, status=int(status))


@require_POST
@page(Can.MOVE_STOCK)
def act(request: HttpRequest, pk: int) -> HttpResponse:
    """Receive, close what is short, or put off."""
    verbs = {"receive": _receive, "rest": _receive, "close": _close, "reschedule": _reschedule}
    inbound, verb = _mine(request, pk), verbs.get(request.POST.get("verb", ""))
    if verb is None:
        raise Http404
    try:
        messages.success(request, verb(request, inbound))
    except OrderCenterError as refusal:
        if not forms.told_here(refusal):
            raise
        return _draw(request, _mine(request, pk), error=str(refusal), status=refusal.http_status)
    return HttpResponseRedirect(reverse("inbound", args=[pk]))


def _who(request: HttpRequest) -> dict[str, Any]:
    return {"user": me(request), "actor": Actor.of(request)}


def _receive(request: HttpRequest, inbound: Inbound) -> str:
    told, everything = request.POST, request.POST.get("verb") == "rest"
    receipts = []
    for line in inbound.lines.order_by("pk"):
        seen = forms.units_of(told.get(f"seen-{line.pk}", ""))
        good = forms.units_of(told.get(f"good-{line.pk}", ""))
        defect = forms.units_of(told.get(f"defect-{line.pk}", ""))
        if everything:
            good, defect = max(0, line.expected - seen), 0
        receipts.append(Receipt(line.pk, good, defect, seen))
    receiving.receive_inbound(inbound.pk, receipts, surplus="surplus" in told, **_who(request))
    good, bad = sum(r.good for r in receipts), sum(r.defect for r in receipts)
    return _("已收良品 %(good)d 件、残次 %(bad)d 件") % {"good": good, "bad": bad}


def _close(request: HttpRequest, inbound: Inbound) -> str:
    receiving.close_inbound(inbound.pk, reason=request.POST.get("reason", ""), **_who(request))
    return _("已结束，未到的不再等")


def _reschedule(request: HttpRequest, inbound: Inbound) -> str:
    receiving.reschedule_inbound(
        inbound.pk, forms.day_of(request.POST.get("expected", "")),
        reason=request.POST.get("reason", ""), **_who(request),
    )  # fmt: skip
    return _("预计到货时间已修改")
