"""One order: everything known of it, and the decisions people take about it."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Final

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST, require_safe

from fulfillment.models import Parcel
from ordercenter.audit.models import AuditRecord
from ordercenter.console import selectors
from ordercenter.console.access import back_of, me, page
from ordercenter.console.balance_facts import pair_desk
from ordercenter.console.gifts import gift_desk
from ordercenter.console.order_stock import lines_with_stock
from ordercenter.console.reasons import QUICK
from ordercenter.console.reveal_forms import may_restrict, reveal_form
from ordercenter.console.selectors import ORDER
from ordercenter.console.shortage_facts import balance_of, promised_to
from ordercenter.console.step_up import LoginTooOld, ask_again, require_fresh
from ordercenter.console.timeline import timeline_of
from ordercenter.console.told import memo_form, told_of
from ordercenter.console.verbs import OF_CEO, number_in, read_decision, reason_of, verb_of
from ordercenter.console.wall_next import address_of_next
from ordercenter.core.actor import Actor, ActorKind
from ordercenter.core.clock import now
from ordercenter.core.errors import InvalidInput, OrderCenterError
from ordercenter.core.policy import AnyUser, Can, allows
from ordercenter.orders.models import OrderHold, SalesOrder
from ordercenter.orders.states import OPEN, Disposition, HoldKind, Leaves, OrderStatus
from ordercenter.pipeline import approval_proof, decisions, merging, telling

RECEIVER_FIELDS: Final = (
    ("name", _("收货人"), 64),
    ("phone", _("电话"), 32),
    ("province", _("省"), 32),
    ("city", _("市"), 32),
    ("district", _("区县"), 32),
    ("address", _("详细地址"), 200),
)


def order_in_scope(request: HttpRequest, number: str) -> SalesOrder:
    """The order of this number; 404 where it does not exist for this user."""
    if "\0" in number:
        raise Http404
    order = (
        SalesOrder.objects.visible_to(request.user)
        .select_related("shop")
        .defer("receiver_sealed")
        .filter(number=number)
        .first()
    )
    if order is None:
        raise Http404
    return order


@require_safe
@page(Can.VIEW_ORDERS)
def order_page(request: HttpRequest, number: str) -> HttpResponse:
    return _draw(request, order_in_scope(request, number))


@require_POST
@page(Can.VIEW_ORDERS)
def decide(request: HttpRequest, number: str) -> HttpResponse:
    """Carry out one decision; a second press of the same button changes nothing.

    422 shows the order again with the reason as typed, 409 who was quicker and with what.
    """
    order = order_in_scope(request, number)
    act, done = verb_of(request)
    back = _back(request, order)
    try:
        if request.POST["verb"] in OF_CEO:
            require_fresh(request)
        act(read_decision(request, order))
    except LoginTooOld as refusal:
        return ask_again(request, refusal, back)
    except OrderCenterError as refusal:
        return _answer_refusal(request, order, refusal, back)
    messages.success(request, done % {"number": order.number})
    if "next" in request.POST:
        back = address_of_next(request, back, but=order.pk)
    return HttpResponseRedirect(back)


def _back(request: HttpRequest, order: SalesOrder) -> str:
    """Where the user came from, as long as that is here."""
    return back_of(request) or reverse("order", args=[order.number])


def _answer_refusal(
    request: HttpRequest, order: SalesOrder, refusal: OrderCenterError, back: str
) -> HttpResponse:
    status = int(refusal.http_status)
    if status == HTTPStatus.UNPROCESSABLE_ENTITY:
        return _draw(request, order, error=str(refusal), status=status, back=back)
    if status == HTTPStatus.CONFLICT:
        return answer_conflict(request, order, refusal, back)
    context = {"refusal": refusal, "back": back}
    return render(request, "console/refused.html", context, status=status)


def answer_conflict(
    request: HttpRequest, order: SalesOrder, refusal: OrderCenterError, back: str
) -> HttpResponse:
    """Who pressed twice goes on; who was late reads what changed and by whom (409)."""
    if _done_already(request, order):
        return HttpResponseRedirect(back)
    return _draw_stale(request, order, refusal, back)


def _done_already(request: HttpRequest, order: SalesOrder) -> bool:
    """Whether this very post came before: the same person, words and page as shown."""
    version = request.POST.get("version", "")
    return (
        version.isdecimal()
        and AuditRecord.objects.filter(
            object_type=ORDER,
            object_id=order.pk,
            version=int(version) + 1,
            actor_kind=ActorKind.PERSON,
            actor_id=str(request.user.pk),
            reason=reason_of(request, order),
        ).exists()
    )


def _draw_stale(
    request: HttpRequest, order: SalesOrder, refusal: OrderCenterError, back: str
) -> HttpResponse:
    version = request.POST.get("version", "")
    seen = int(version) if version.isdecimal() else 0
    context = {
        "order": order,
        "refusal": refusal,
        "changes": selectors.since(order.pk, seen),
        "typed": request.POST.get("reason", ""),
        "back": back,
    }
    return render(request, "console/stale.html", context, status=HTTPStatus.CONFLICT)


def _draw(
    request: HttpRequest,
    order: SalesOrder,
    *,
    error: str = "",
    receiver_error: str = "",
    memo_error: str = "",
    status: int = HTTPStatus.OK,
    back: str = "",
) -> HttpResponse:
    user = request.user
    (card,) = selectors.cards(user, [order.pk])
    parcels = selectors.parcels_of(order.pk)
    context = {
        "card": card,
        "lines": lines_with_stock(user, card.order, card.lines),
        "sees_stock": allows(user, Can.VIEW_STOCK),
        "order": card.order,
        "offer": card.offer,
        "quick": QUICK,
        "error": error,
        "receiver_error": receiver_error,
        "reason": request.POST.get("reason", ""),
        "back": back or reverse("order", args=[order.number]),
        "checks": selectors.checks_by_order([order.pk])[order.pk],
        "past_holds": OrderHold.objects.filter(order=order).exclude(released_at=None)[:50],
        "parcels": parcels,
        "to_come": _to_come(user, card.order, parcels),
        **_on_record(request, card.order),
        "receiver_fields": receiver_fields(request, card),
        "told": told_of(order.pk),
        "memo": memo_form(request, card.order),
        "memo_error": memo_error,
        "scenes": reveal_form(user),
        "may_restrict": may_restrict(user, card.order),
        "merge": merging.group_of(card.order, user),
        **_waiting(user, card),
        "pair": pair_desk(request, card.order),
        "gift": gift_desk(request, card.order),
    }
    return render(request, "console/order.html", context, status=int(status))


def _to_come(user: AnyUser, order: SalesOrder, parcels: Sequence[Parcel]) -> dict[str, Any]:
    """What is still to leave of an order that leaves in parts."""
    is_open = order.status in OPEN
    lines = order.lines.filter(leaves=Leaves.LATER, is_dropped=False).select_related("sku")
    return {
        "lines": list(lines) if is_open else [],
        "is_begun": is_open and any(parcel.state in telling.GONE for parcel in parcels),
        "may_work": allows(user, Can.WORK_SHORTAGE),
    }


def _on_record(request: HttpRequest, order: SalesOrder) -> dict[str, Any]:
    """The time line, for who may read the audit, and whether a proof may be taken along."""
    user = request.user
    return {
        "timeline": timeline_of(order.pk, wanted=request.GET.get("log", ""))
        if allows(user, Can.READ_AUDIT)
        else None,
        "may_prove": allows(user, Can.EXPORT_PROOF) and approval_proof.was_frozen(order.pk),
    }


def _waiting(user: AnyUser, card: selectors.Card) -> dict[str, Any]:
    """What is still to come for the order: goods, and the rest of the money."""
    order = card.order
    short = [hold for hold in card.holds if hold.kind == HoldKind.SHORTAGE]
    has_balance = order.deposit_paid_at and not order.paid_at and OrderStatus(order.status) in OPEN
    return {
        "is_short": bool(short) and allows(user, Can.WORK_SHORTAGE),
        "promised": promised_to([order.pk]).get(order.pk, ()) if short else (),
        "balance": balance_of(order, now()) if has_balance else None,
    }


def receiver_fields(request: HttpRequest, card: selectors.Card) -> list[dict[str, Any]]:
    """The fields of the form for the receiver, empty: what is stored is not shown again."""
    needs_it = any(
        hold.disposition == Disposition.RETURNED
        or hold.kind in {HoldKind.INCOMPLETE, HoldKind.ADDRESS_CHANGE}
        for hold in card.holds
    )
    if not (
        needs_it
        and allows(request.user, Can.EDIT_RECEIVER)
        and OrderStatus(card.order.status) in OPEN
    ):
        return []
    return [
        {"name": name, "label": label, "longest": longest, "typed": request.POST.get(name, "")}
        for name, label, longest in RECEIVER_FIELDS
    ]


@require_POST
@page(Can.WRITE_MEMO)
def write_memo(request: HttpRequest, number: str) -> HttpResponse:
    """Queue a note on the order for its platform; the same press twice is one note."""
    order = order_in_scope(request, number)
    back = _back(request, order)
    flag = request.POST.get("flag", "")
    try:
        telling.write_memo(
            order.pk,
            request.POST.get("text", ""),
            number_in(flag) if flag else None,
            user=me(request),
            actor=Actor.of(request),
            seen_version=number_in(request.POST.get("version", "")),
        )
    except InvalidInput as refusal:
        status = int(refusal.http_status)
        return _draw(request, order, memo_error=str(refusal), status=status, back=back)
    messages.success(request, _("%(number)s 的备注已排队回写平台") % {"number": order.number})
    return HttpResponseRedirect(back)


@require_POST
@page(Can.VIEW_ORDERS)
def edit_receiver(request: HttpRequest, number: str) -> HttpResponse:
    """Change where the parcel goes. Fields left empty stay as they are."""
    order = order_in_scope(request, number)
    back = _back(request, order)
    try:
        decisions.edit_receiver(
            order.pk,
            user=me(request),
            actor=Actor.of(request),
            seen_version=number_in(request.POST.get("version", "")),
            receiver=_receiver(request, order),
        )
    except InvalidInput as refusal:
        status = int(refusal.http_status)
        return _draw(request, order, receiver_error=str(refusal), status=status, back=back)
    except OrderCenterError as refusal:
        return _answer_refusal(request, order, refusal, back)
    messages.success(request, _("%(number)s 的收货信息已更新") % {"number": order.number})
    return HttpResponseRedirect(back)


def _receiver(request: HttpRequest, order: SalesOrder) -> dict[str, str]:
    """What is stored with what was typed over it. What is stored is shown to nobody."""
    found = {}
    for name, label, longest in RECEIVER_FIELDS:
        value = " ".join(request.POST.get(name, "").split())
        if len(value) > longest or "\0" in value:
            raise InvalidInput(what=_("%(label)s太长或含有无法保存的字符") % {"label": label})
        if value:
            found[name] = value
    if not found:
        raise InvalidInput(what=_("请至少填写一项要修改的收货信息"))
    stored = order.receiver()
    names = (name for name, _label, _longest in RECEIVER_FIELDS)
    return {name: found.get(name) or str(stored.get(name) or "") for name in names}
