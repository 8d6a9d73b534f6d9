"""The review wall: every held order in one queue, what is most at risk first; and one card."""

from http import HTTPStatus
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from ordercenter.catalog.models import Shop
from ordercenter.console import selectors
from ordercenter.console.access import back_of, fragment_of, me, page, refused
from ordercenter.console.alarms import shown_to
from ordercenter.console.evidence import evidence_of
from ordercenter.console.navigation import home_of
from ordercenter.console.order_stock import lines_with_stock
from ordercenter.console.orders import order_in_scope, receiver_fields
from ordercenter.console.reasons import quick_words
from ordercenter.console.told import memo_form
from ordercenter.console.verbs import SNOOZES
from ordercenter.console.wall_facts import WallFilter, wall
from ordercenter.console.wall_next import address_of_next, filter_in
from ordercenter.core.errors import OrderCenterError
from ordercenter.core.policy import Can, allows
from ordercenter.orders.models import OrderEvidence, SalesOrder
from ordercenter.pipeline import claims
from ordercenter.pipeline.asking import QUESTIONS, question_for
from ordercenter.pipeline.trusting import DAYS
from risk.listing import OF_ORDERS

LONGEST_NUMBER = 64


@require_safe
@page()
def home(request: HttpRequest) -> HttpResponse:
    """Send everybody to the page with his first duty."""
    return HttpResponseRedirect(home_of(request))


@require_safe
@page(Can.VIEW_ORDERS)
def wall_page(request: HttpRequest) -> HttpResponse:
    """The queue; with ``?fragment=1`` only its changing part, by the same rights."""
    wanted = WallFilter.read(request.GET)
    context = {
        "wall": wall(request.user, wanted),
        "alarms": shown_to(request.user),
        "quick": quick_words(),
        "back": request.path + wanted.query(),
        "fragment": fragment_of(request),
        "reviews": allows(request.user, Can.REVIEW),
    }
    part = "fragment" in request.GET
    return render(request, "console/parts/wall.html" if part else "console/wall.html", context)


@require_safe
@page(Can.VIEW_ORDERS)
def card_page(request: HttpRequest, number: str) -> HttpResponse:
    """One order with everything that helps to decide; ``?fragment=1`` says who has it now."""
    order = order_in_scope(request, number)
    (card,) = selectors.cards(request.user, [order.pk])
    context: dict[str, Any] = {
        "card": card, "order": card.order, "offer": card.offer, "quick": quick_words(),
        "reviews": allows(request.user, Can.REVIEW),
        "back": reverse("wall") + WallFilter.read(request.GET).query(),
        "here": request.get_full_path(),
        "fragment": fragment_of(request),
    }  # fmt: skip
    if "fragment" in request.GET:
        seen = request.GET.get("version", "")
        context["is_stale"] = seen.isdecimal() and int(seen[:12]) != card.order.version
        return render(request, "console/wall/parts/claim.html", context)
    context["fragment"] += f"&version={card.order.version}"
    return render(request, "console/wall/card.html", context | _beside(request, card))


def _beside(request: HttpRequest, card: selectors.Card) -> dict[str, Any]:
    order = card.order
    return {
        "lines": lines_with_stock(request.user, order, card.lines),
        "sees_stock": allows(request.user, Can.VIEW_STOCK),
        "checks": selectors.checks_by_order([order.pk])[order.pk],
        "evidence": evidence_of(request.user, order),
        "receiver_fields": receiver_fields(request, card),
        "memo": memo_form(request, order),
        "questions": [(code, question_for(code, order)) for code in QUESTIONS],
        "trusts": _keys_of(order) if allows(request.user, Can.EDIT_LISTS) else (),
        "trust_days": DAYS,
        "snoozes": [(code, label) for code, (label, _span) in SNOOZES.items()],
    }


def _keys_of(order: SalesOrder) -> list[tuple[str, Promise | str]]:
    """By what the customer behind an order can be recognized: (key, label)."""
    row = OrderEvidence.objects.filter(order=order).first()
    return [(key.value, key.label) for key, column in OF_ORDERS.items() if getattr(row, column, "")]


@require_POST
@page(Can.REVIEW)
def claim(request: HttpRequest, number: str) -> HttpResponse:
    """Take a card, or keep it; a script gets the status alone. 409 says who has it."""
    order = order_in_scope(request, number)
    by_script = request.headers.get("X-Requested-With") == "fetch"
    try:
        claims.claim_card(order.pk, user=me(request))
    except OrderCenterError as refusal:
        if by_script:
            status = int(refusal.http_status)
            return HttpResponse(str(refusal), status=status, content_type="text/plain")
        return refused(request, refusal)
    if by_script:
        return HttpResponse(status=HTTPStatus.NO_CONTENT)
    card = reverse("wall_card", args=[order.number])
    return HttpResponseRedirect(card + filter_in(back_of(request)).query(pages=1))


@require_POST
@page(Can.REVIEW)
def leave(request: HttpRequest, number: str) -> HttpResponse:
    """Give a card back to the others; pressed twice it is given back once."""
    claims.leave_card(order_in_scope(request, number).pk, user=me(request))
    return HttpResponseRedirect(back_of(request) or reverse("wall"))


@require_POST
@page(Can.REVIEW)
def start(request: HttpRequest) -> HttpResponse:
    """Take the card at the head of the queue that nobody has."""
    back = back_of(request) or reverse("wall")
    found = address_of_next(request, back)
    if found == back:
        messages.info(request, _("没有可领取的订单"))
    return HttpResponseRedirect(found)


@require_safe
@page(Can.VIEW_ORDERS)
def search(request: HttpRequest) -> HttpResponse:
    """Find an order by its whole number, ours or the platform's, and open its card."""
    number = request.GET.get("number", "").replace("\0", "").strip()[:LONGEST_NUMBER]
    seen = SalesOrder.objects.visible_to(request.user)
    found = list(seen.filter(number=number.upper()).values_list("number", flat=True))
    if not found and number:
        shops = list(Shop.objects.values_list("pk", flat=True))  # what the index begins with
        rows = seen.filter(shop_id__in=shops, channel_number=number)
        found = list(rows.values_list("number", flat=True)[:2])
    if len(found) != 1:
        messages.warning(request, _("没有找到单号 %(number)s") % {"number": number or "—"})
        return HttpResponseRedirect(reverse("wall"))
    return HttpResponseRedirect(reverse("wall_card", args=found))
