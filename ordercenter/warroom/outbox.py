"""Dead letters on a page: what a platform could not be told, why, and what to do about it."""

from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST, require_safe

from channels_sync.models import OutboundMessage, PublishedStock
from ordercenter.core.actor import Actor
from ordercenter.core.errors import InvalidInput
from ordercenter.core.policy import Can, allows
from ordercenter.orders.models import SalesOrder
from ordercenter.pipeline import dead
from ordercenter.pipeline.wording import in_words
from ordercenter.warroom.access import page, person

PER_PAGE: Final = 50
MOST: Final = 200
VERBS: Final = {
    "resend": (dead.resend, _("已重新发送 %(n)d 条")),
    "settle": (dead.settle, _("已标记 %(n)d 条为人工处理")),
}


@dataclass(frozen=True, slots=True)
class Letter:
    """One message and what it says, fit for a screen."""

    message: OutboundMessage
    order_number: str
    words: str


def letters(request: HttpRequest, rows: Sequence[OutboundMessage]) -> list[Letter]:
    """The rows with their orders' numbers, as far as this user may know of them."""
    orders = SalesOrder.objects.visible_to(request.user).filter(
        pk__in=[row.order_id for row in rows if row.order_id]
    )
    numbers = dict(orders.values_list("pk", "number"))
    return [Letter(row, numbers.get(row.order_id or 0, ""), in_words(row)) for row in rows]


@require_safe
@page(Can.VIEW_HEALTH)
def outbox_page(request: HttpRequest) -> HttpResponse:
    """What waits for people, the dead first; buttons for who may."""
    return _draw(request)


def _draw(
    request: HttpRequest, *, status: int = HTTPStatus.OK, refusal: str = "", typed: str = ""
) -> HttpResponse:
    found = dead.needs_people().select_related("shop")
    kind, shop = request.GET.get("kind", ""), request.GET.get("shop", "")
    if kind in OutboundMessage.Kind.values:
        found = found.filter(kind=kind)
    if shop and "\0" not in shop:
        found = found.filter(shop__code=shop)
    rows = list(found[: PER_PAGE + 1])
    context = {
        "letters": letters(request, rows[:PER_PAGE]),
        "has_more": len(rows) > PER_PAGE,
        "kinds": OutboundMessage.Kind.choices,
        "kind": kind,
        "locked": PublishedStock.objects.exclude(refused_until=None)
        .exclude(refusal="")
        .select_related("listing__shop")
        .order_by("refused_until")[:PER_PAGE],
        "may": allows(request.user, Can.REPLAY_DEAD),
        "refusal": refusal,
        "typed": typed,
    }
    return render(request, "warroom/outbox.html", context, status=status)


@require_POST
@page(Can.REPLAY_DEAD)
def act(request: HttpRequest) -> HttpResponse:
    """Send the ticked letters again, or put them away. Pressed twice it happens once."""
    try:
        do, done = VERBS[request.POST.get("verb", "")]
    except KeyError:
        raise Http404 from None
    ids = [int(pk) for pk in request.POST.getlist("message")[:MOST] if _is_key(pk)]
    reason = request.POST.get("reason", "")
    if not ids:
        words = str(_("请先勾选要处理的消息"))
        return _draw(request, status=HTTPStatus.UNPROCESSABLE_ENTITY, refusal=words, typed=reason)
    try:
        count = do(ids, user=person(request), actor=Actor.of(request), reason=reason)
    except InvalidInput as refusal:
        return _draw(request, status=int(refusal.http_status), refusal=str(refusal), typed=reason)
    messages.success(request, done % {"n": count})
    return HttpResponseRedirect(reverse("warroom:outbox"))


def _is_key(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 19  # noqa: PLR2004 - a bigint
