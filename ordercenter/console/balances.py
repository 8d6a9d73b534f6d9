"""The deposit and the balance of one purchase as two orders: tie them, look first, untie."""

from http import HTTPStatus
from typing import Final

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from ordercenter.console.access import me, page
from ordercenter.console.orders import answer_conflict, order_in_scope
from ordercenter.console.verbs import number_in
from ordercenter.core.actor import Actor
from ordercenter.core.errors import OrderCenterError
from ordercenter.core.policy import Can
from ordercenter.orders.models import SalesOrder
from ordercenter.pipeline import balances

LONGEST: Final = 64


@require_http_methods(["GET", "HEAD", "POST"])
@page(Can.LINK_BALANCE)
def balance_page(request: HttpRequest, number: str) -> HttpResponse:
    """Name the other order and look (GET), then tie the two (POST)."""
    order = order_in_scope(request, number)
    if request.method != "POST":
        return _draw(request, order)
    here = reverse("order", args=[order.number])
    try:
        balances.link(_seen(request, order), _other(request), as_balance=_is_balance(request))
    except OrderCenterError as refusal:
        if refusal.http_status == HTTPStatus.CONFLICT:
            return answer_conflict(request, order, refusal, here)
        return _draw(request, order, refusal=refusal)
    messages.success(request, _("已关联：库存只占一份，两单都付清后只发一次货"))
    return HttpResponseRedirect(here)


@require_POST
@page(Can.LINK_BALANCE)
def undo(request: HttpRequest, number: str) -> HttpResponse:
    """Untie the order from its deposit or its balance."""
    order = order_in_scope(request, number)
    here = reverse("order", args=[order.number])
    try:
        balances.unlink(_seen(request, order))
    except OrderCenterError as refusal:
        if refusal.http_status == HTTPStatus.CONFLICT:
            return answer_conflict(request, order, refusal, here)
        return _draw(request, order, refusal=refusal)
    messages.success(request, _("已撤销关联，两单各自处理"))
    return HttpResponseRedirect(here)


def _seen(request: HttpRequest, order: SalesOrder) -> balances.Seen:
    version = number_in(request.POST.get("version", ""))
    reason = request.POST.get("reason", "").strip()
    return balances.Seen(order.pk, version, me(request), Actor.of(request), reason)


def _other(request: HttpRequest) -> str:
    typed = request.POST.get("other", "") or request.GET.get("other", "")
    return typed.strip().replace("\0", "")[:LONGEST]


def _is_balance(request: HttpRequest) -> bool:
    return (request.POST.get("role") or request.GET.get("role")) != "deposit"


def _draw(
    request: HttpRequest, order: SalesOrder, *, refusal: OrderCenterError | None = None
) -> HttpResponse:
    """The form, and below it what was found; a refusal in words above both."""
    pair, status = None, HTTPStatus.OK
    other = _other(request)
    if other:
        try:
            pair = balances.preview(order, other, as_balance=_is_balance(request), user=me(request))
        except OrderCenterError as wrong:
            refusal = refusal or wrong
    if refusal is not None:
        status = HTTPStatus(refusal.http_status)
    context = {
        "order": order, "pair": pair, "other": other, "error": str(refusal or ""),
        "is_balance": _is_balance(request), "reason": request.POST.get("reason", ""),
    }  # fmt: skip
    return render(request, "console/balance.html", context, status=int(status))
