"""Corrections: asked for by one person, and the large ones agreed to by another."""

from http import HTTPStatus
from typing import Any, Final
from uuid import UUID, uuid4

from django.contrib import messages
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from inventory import adjustments
from inventory.adjustments import Kind
from inventory.ledger import free_of
from inventory.models import Adjustment, StockLevel, StockPolicy
from ordercenter.console import paper_forms as forms
from ordercenter.console.access import me, page
from ordercenter.core.actor import Actor
from ordercenter.core.errors import InvalidInput, OrderCenterError
from ordercenter.core.policy import Can
from ordercenter.pipeline.publishing import telling_stock

RECENT: Final = 30


@require_http_methods(["GET", "HEAD", "POST"])
@page(Can.MOVE_STOCK)
def adjustments_page(request: HttpRequest) -> HttpResponse:
    """The form, what waits for a second person, and what was decided lately."""
    if request.method != "POST":
        return _draw(request)
    try:
        made = _adjust(request)
    except OrderCenterError as refusal:
        if not forms.told_here(refusal):
            raise
        return _draw(request, error=str(refusal), status=refusal.http_status)
    words = (
        _("已调整：%(level)s %(delta)+d")
        if made.state == Adjustment.State.APPLIED
        else _("已提交，等待第二人复核：%(level)s %(delta)+d")
    )
    messages.success(request, words % {"level": made.level.sku.code, "delta": made.delta})
    return HttpResponseRedirect(reverse("adjustments"))


@telling_stock()
def _adjust(request: HttpRequest) -> Adjustment:
    told = request.POST
    kind = told.get("kind", "")
    if kind not in Kind.values:
        raise InvalidInput(what=_("请选择调整类型"))
    return adjustments.adjust(
        forms.id_of(told, "room"),
        forms.sku_named(told.get("sku", "")).pk,
        forms.units_of(told.get("units", "")),
        Kind(kind),
        reason=told.get("reason", ""), key=_key_of(told.get("key", "")),
        user=me(request), actor=Actor.of(request),
    )  # fmt: skip


def _key_of(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _draw(request: HttpRequest, *, error: str = "", status: int = HTTPStatus.OK) -> HttpResponse:
    typed = request.POST or request.GET
    mine: QuerySet[Adjustment] = adjustments.visible_to(me(request)).select_related(
        "level__sku", "level__virtual_warehouse"
    )
    waiting = list(mine.filter(state=Adjustment.State.WAITING).order_by("pk")[:RECENT])
    context = {
        **forms.frame(request, "adjustments"),
        "rooms": forms.rooms(request),
        "kinds": Kind.choices,
        "typed": typed,
        "key": _key_of(typed.get("key", "")) or uuid4(),
        "level": _level(request),
        "limit": StockPolicy.current().two_person_units,
        "waiting": [_told(one, request) for one in waiting],
        "decided": [
            _told(one, request) for one in mine.exclude(state=Adjustment.State.WAITING)[:RECENT]
        ],
        "error": error,
    }
    return render(request, "console/papers/adjustments.html", context, status=int(status))


def _told(one: Adjustment, request: HttpRequest) -> dict[str, Any]:
    return {
        "row": one,
        "kind": adjustments.kind_of(one).label,
        "is_mine": one.asked_by_id == me(request).pk,
    }


def _level(request: HttpRequest) -> dict[str, Any] | None:
    """The figures of the level that is typed, where there is one of mine."""
    typed = request.POST or request.GET
    name = typed.get("sku", "").strip()
    sku_id = forms.skus_named([name]).get(name)
    room_id = forms.id_of(typed, "room")
    if not sku_id or room_id not in {room.pk for room in forms.rooms(request)}:
        return None
    row = StockLevel.objects.filter(virtual_warehouse_id=room_id, sku_id=sku_id).first()
    return {"row": row, "free": free_of(row)} if row else None


@require_POST
@page(Can.APPROVE_STOCK)
def decide(request: HttpRequest, pk: int) -> HttpResponse:
    """Agree, or refuse with a note."""
    verb = request.POST.get("verb", "")
    if verb not in {"agree", "refuse"}:
        raise Http404
    try:
        with telling_stock():
            done = adjustments.decide(
                pk, agree=verb == "agree", note=request.POST.get("note", ""),
                user=me(request), actor=Actor.of(request),
            )  # fmt: skip
    except OrderCenterError as refusal:
        if not forms.told_here(refusal):
            raise
        return _draw(request, error=str(refusal), status=refusal.http_status)
    messages.success(request, done.get_state_display())
    return HttpResponseRedirect(reverse("adjustments"))
