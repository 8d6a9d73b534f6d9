"""Transfers: drafted at one end, received at the other."""

from http import HTTPStatus
from typing import Any

from django.contrib import messages
from django.db.models import F, Sum
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from inventory import papers, transfers
from inventory.bins import places_of
from inventory.models import Transfer
from inventory.transfers import Arrival
from ordercenter.console import paper_forms as forms
from ordercenter.console.access import me, page
from ordercenter.core.actor import Actor
from ordercenter.core.errors import OrderCenterError
from ordercenter.core.policy import Can
from ordercenter.pipeline.publishing import telling_stock

OPEN = (transfers.S.DRAFT, transfers.S.SENT)


@require_safe
@page(Can.MOVE_STOCK)
def transfers_page(request: HttpRequest) -> HttpResponse:
    """What is to go or on its way; or all there was."""
    everything = request.GET.get("state") == "all"
    found = transfers.visible_to(me(request)).select_related("source", "target").order_by("-pk")
    found = found if everything else found.filter(state__in=OPEN)
    found = found.annotate(
        units=Sum("lines__quantity"), settled=Sum(F("lines__received") + F("lines__lost"))
    )
    context = {
        **forms.frame(request, "transfers"),
        **forms.paged(request, found),
        "everything": everything,
    }
    return render(request, "console/papers/transfers.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@page(Can.MOVE_STOCK)
def new_page(request: HttpRequest) -> HttpResponse:
    """Write down what is to go where."""
    number = forms.number_for(request, transfers.PREFIX)
    if request.method != "POST":
        return _draw_new(request, number)
    try:
        transfer = transfers.draft(
            forms.id_of(request.POST, "source"),
            forms.id_of(request.POST, "target"),
            forms.goods_of(request.POST.get("goods", "")),
            note=request.POST.get("note", ""),
            number=number, user=me(request), actor=Actor.of(request),
        )  # fmt: skip
    except OrderCenterError as refusal:
        if not forms.told_here(refusal):
            raise
        return _draw_new(request, number, error=str(refusal), status=refusal.http_status)
    messages.success(request, _("已登记调拨 %(number)s，尚未发出") % {"number": transfer.number})
    return HttpResponseRedirect(reverse("transfer", args=[transfer.pk]))


def _draw_new(
    request: HttpRequest, number: str, *, error: str = "", status: int = HTTPStatus.OK
) -> HttpResponse:
    context = {
        **forms.frame(request, "transfers"),
        "rooms": forms.rooms(request),
        "all_rooms": papers.all_rooms().order_by("code"),
        "number": number,
        "typed": request.POST,
        "error": error,
    }
    return render(request, "console/papers/transfer_new.html", context, status=int(status))


def _mine(request: HttpRequest, pk: int) -> Transfer:
    found = (
        transfers.visible_to(me(request)).filter(pk=pk).select_related("source", "target").first()
    )
    if found is None:
        raise Http404
    return found


@require_safe
@page(Can.MOVE_STOCK)
def transfer_page(request: HttpRequest, pk: int) -> HttpResponse:
    return _draw(request, _mine(request, pk))


def _draw(
    request: HttpRequest, transfer: Transfer, *, error: str = "", status: int = HTTPStatus.OK
) -> HttpResponse:
    lines = list(transfer.lines.select_related("sku").order_by("sku__code"))
    sent = transfer.state != transfers.S.DRAFT
    place = transfer.target if sent else transfer.source
    bins = places_of(place.warehouse_id, [line.sku_id for line in lines])
    conflict = status == HTTPStatus.CONFLICT
    mine = papers.rooms_of(me(request))
    context = {
        **forms.frame(request, "transfers"),
        "transfer": transfer,
        "may_send": not sent and mine.filter(pk=transfer.source_id).exists(),
        "may_receive": transfer.state == transfers.S.SENT
        and mine.filter(pk=transfer.target_id).exists(),
        "lines": [
            {
                "line": line,
                "rest": transfers.rest_of(line),
                "seen": line.received + line.lost,
                "bins": bins[line.sku_id].words,
                "received": "" if conflict else request.POST.get(f"received-{line.pk}", ""),
                "lost": "" if conflict else request.POST.get(f"lost-{line.pk}", ""),
            }
            for line in sorted(lines, key=lambda one: bins[one.sku_id].turn)
        ],
        "typed": request.POST,
        "error": error,
    }
    return render(request, "console/papers/transfer.html", context, status=int(status))


@require_POST
@page(Can.MOVE_STOCK)
def act(request: HttpRequest, pk: int) -> HttpResponse:
    """Send, receive, or cancel."""
    verbs = {"send": _send, "receive": _receive, "rest": _receive, "cancel": _cancel}
    transfer, verb = _mine(request, pk), verbs.get(request.POST.get("verb", ""))
    if verb is None:
        raise Http404
    try:
        with telling_stock():
            done = verb(request, transfer)
    except OrderCenterError as refusal:
        if not forms.told_here(refusal):
            raise
        return _draw(request, _mine(request, pk), error=str(refusal), status=refusal.http_status)
    messages.success(request, done)
    return HttpResponseRedirect(reverse("transfer", args=[pk]))


def _who(request: HttpRequest) -> dict[str, Any]:
    return {"user": me(request), "actor": Actor.of(request)}


def _send(request: HttpRequest, transfer: Transfer) -> str:
    transfers.send(transfer.pk, **_who(request))
    return _("已发出")


def _cancel(request: HttpRequest, transfer: Transfer) -> str:
    transfers.cancel(transfer.pk, **_who(request))
    return _("已取消")


def _receive(request: HttpRequest, transfer: Transfer) -> str:
    told, everything = request.POST, request.POST.get("verb") == "rest"
    arrived = []
    for line in transfer.lines.order_by("pk"):
        seen = forms.units_of(told.get(f"seen-{line.pk}", ""))
        received = forms.units_of(told.get(f"received-{line.pk}", ""))
        lost = forms.units_of(told.get(f"lost-{line.pk}", ""))
        if everything:
            received, lost = max(0, line.quantity - seen), 0
        arrived.append(Arrival(line.pk, received, lost, seen))
    transfers.receive(transfer.pk, arrived, reason=told.get("reason", ""), **_who(request))
    came, lost = sum(a.received for a in arrived), sum(a.lost for a in arrived)
    return _("已收 %(came)d 件，短少 %(lost)d 件") % {"came": came, "lost": lost}
