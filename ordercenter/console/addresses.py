"""Buyers who ask for another address: what they want, until when, yes or no."""

from http import HTTPStatus
from typing import Final

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST, require_safe

from fulfillment.models import AddressRequest
from ordercenter.console.access import fragment_of, me, page
from ordercenter.core.actor import Actor
from ordercenter.core.clock import now
from ordercenter.core.errors import InvalidInput
from ordercenter.core.policy import Can
from ordercenter.orders.models import SalesOrder
from ordercenter.pipeline import wishes

MOST: Final = 100
LATELY: Final = 20
VERBS: Final = {"approve": True, "refuse": False}


@require_safe
@page(Can.EDIT_RECEIVER)
def addresses_page(request: HttpRequest) -> HttpResponse:
    """The open requests of the user's orders, the next deadline first; then the last answers."""
    return _draw(request)


def _draw(
    request: HttpRequest, *, status: int = HTTPStatus.OK, refused: int = 0, refusal: str = ""
) -> HttpResponse:
    visible = SalesOrder.objects.visible_to(request.user).defer("receiver_sealed")
    mine = AddressRequest.objects.filter(order__in=visible.values("pk")).select_related(
        "shop", "order"
    )
    open_ones = mine.filter(state=AddressRequest.State.OPEN)
    context = {
        "requests": open_ones.defer("order__receiver_sealed").order_by("answer_by", "pk")[:MOST],
        "past": mine.exclude(state=AddressRequest.State.OPEN)
        .defer("order__receiver_sealed")
        .order_by("-decided_at")[:LATELY],
        "now": now(),
        "refused": refused,
        "refusal": refusal,
        "typed": request.POST.get("reason", ""),
        "back": reverse("addresses"),
        "fragment": fragment_of(request),
    }
    part = "fragment" in request.GET
    name = "console/parts/addresses.html" if part else "console/addresses.html"
    return render(request, name, context, status=int(status))


@require_POST
@page(Can.EDIT_RECEIVER)
def answer_address(request: HttpRequest, pk: int) -> HttpResponse:
    """Say yes or no; who was quicker keeps his answer (409)."""
    try:
        approve = VERBS[request.POST.get("verb", "")]
    except KeyError:
        raise Http404 from None
    try:
        answered = wishes.answer(
            pk,
            approve=approve,
            reason=request.POST.get("reason", ""),
            user=me(request),
            actor=Actor.of(request),
        )
    except InvalidInput as refusal:
        return _draw(request, status=int(refusal.http_status), refused=pk, refusal=str(refusal))
    except wishes.Answered:
        if not _mine_already(request, pk, approve=approve):
            raise
        return HttpResponseRedirect(reverse("addresses"))
    words = _("%(number)s 的改地址申请%(state)s，正在告知平台") % {
        "number": answered.channel_number, "state": answered.get_state_display(),
    }  # fmt: skip
    messages.success(request, words)
    return HttpResponseRedirect(reverse("addresses"))


def _mine_already(request: HttpRequest, pk: int, *, approve: bool) -> bool:
    """Whether this very answer came before: pressed twice."""
    state = AddressRequest.State.APPROVED if approve else AddressRequest.State.REFUSED
    name = Actor.of(request).name[:150]
    return AddressRequest.objects.filter(pk=pk, state=state, decided_by=name).exists()
