"""What the stock asks people to do: goods to order, and figures that do not add up."""

from http import HTTPStatus
from typing import Any, Final

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from inventory import replenishing
from inventory.models import Reservation, StockLevel, StockMovement, StockPolicy, StockProof
from ordercenter.console.access import me, page
from ordercenter.console.listing_facts import number_of
from ordercenter.console.navigation import address_of
from ordercenter.console.selectors import numbers_of
from ordercenter.core.actor import Actor
from ordercenter.core.errors import OrderCenterError
from ordercenter.core.policy import AnyUser, Can, allows
from ordercenter.orders.models import OrderLine
from ordercenter.pipeline import proof
from ordercenter.pipeline.invariants import Row, run_all

TODOS_A_PAGE: Final = 50
SPANS: Final = (1, 3, 7, 14, 30)
PROOFS: Final = 48
MOST_ROWS: Final = 50
LONGEST_REASON: Final = 200


@require_safe
@page(Can.VIEW_STOCK)
def low_page(request: HttpRequest) -> HttpResponse:
    """What is running low, with how much to order."""
    return _draw_low(request)


def _draw_low(
    request: HttpRequest, *, status: int = HTTPStatus.OK, error: str = ""
) -> HttpResponse:
    snoozed = request.GET.get("snoozed") == "1"
    todos = Paginator(replenishing.to_dos(snoozed=snoozed), TODOS_A_PAGE)
    context = {
        "todos": todos.get_page(request.GET.get("page")),
        "total": todos.count,
        "snoozed": snoozed,
        "policy": StockPolicy.current(),
        "pace": replenishing.PACE_DAYS,
        "spans": SPANS,
        "may_snooze": allows(request.user, Can.EDIT_STOCK_POLICY),
        "inbound_url": address_of("inbound_new") if allows(request.user, Can.MOVE_STOCK) else "",
        "error": error,
        "longest": LONGEST_REASON,
    }
    return render(request, "console/stock/low.html", context, status=int(status))


@require_POST
@page(Can.EDIT_STOCK_POLICY)
def snooze(request: HttpRequest, sku_id: int) -> HttpResponse:
    """Put one to-do off; pressed twice it is put off once."""
    days = number_of(request.POST.get("days", ""), most=10**6, otherwise=10**6)
    reason = request.POST.get("reason", "").replace("\0", "").strip()[:LONGEST_REASON]
    try:
        row = replenishing.snooze(
            sku_id, days=days, reason=reason, user=me(request), actor=Actor.of(request)
        )
    except OrderCenterError as refusal:
        if refusal.http_status != HTTPStatus.UNPROCESSABLE_ENTITY:
            raise
        return _draw_low(request, status=refusal.http_status, error=str(refusal))
    words = _("已推迟，%(at)s 前不再提醒") if days else _("已恢复提醒")
    messages.success(request, words % {"at": f"{row.until:%m-%d %H:%M}"} if days else words)
    return HttpResponseRedirect(reverse("stock_low"))


@require_safe
@page(Can.VIEW_STOCK)
def proof_page(request: HttpRequest) -> HttpResponse:
    """The last full checks, and what breaks them now where they found something."""
    badge = proof.badge()
    past = StockProof.objects.order_by("-ran_at")[:PROOFS]
    context = {
        "badge": badge,
        "broken": _look_again(request.user, badge),
        "checks": proof.stock_invariants(),
        "past": [(one, proof.broken_codes(one.broken)) for one in past],
    }
    return render(request, "console/stock/proof.html", context)


def _look_again(user: AnyUser, badge: proof.Badge) -> list[dict[str, Any]]:
    """The rows that break what the last check found broken, as they are at this moment."""
    if not badge.broken:
        return []
    known = {one.code for one in proof.stock_invariants()}
    codes = [one.code for one in badge.broken if one.code in known]
    outcomes = run_all(codes, MOST_ROWS) if codes else []
    rows = [row for one in outcomes for row in one.broken]
    links = _links(user, rows)
    return [
        {"code": one.code, "words": one.words, "holds": one.holds,
         "rows": [_told(row, links.get((row["kind"], row["id"]))) for row in one.broken]}
        for one in outcomes
    ]  # fmt: skip


def _told(row: Row, link: tuple[str, str] | None) -> dict[str, Any]:
    facts = {key: value for key, value in row.items() if key not in {"why", "kind", "id"}}
    label, url = link or (f"{row['kind']} {row['id']}", "")
    return {"why": row["why"], "label": label, "url": url, "facts": facts}


Links = dict[tuple[str, Any], tuple[str, str]]


def _links(user: AnyUser, rows: list[Row]) -> Links:
    """Where each kind of row is explained: a SKU's page, or the order's for who may know of it."""
    ids: dict[str, set[Any]] = {}
    for row in rows:
        ids.setdefault(row["kind"], set()).add(row["id"])
    found: Links = {}
    for kind, model in (("stock_movement", StockMovement), ("reservation", Reservation)):
        pairs = model._default_manager.filter(pk__in=ids.get(kind, ())).values_list(
            "pk", "level__sku_id", "level__sku__code"
        )
        found |= {(kind, pk): (code, reverse("stock_sku", args=[sku])) for pk, sku, code in pairs}
    levels = StockLevel.objects.filter(pk__in=ids.get("stock_level", ()))
    found |= {
        ("stock_level", pk): (f"{code} {place}", reverse("stock_sku", args=[sku]))
        for pk, sku, code, place in levels.values_list(
            "pk", "sku_id", "sku__code", "virtual_warehouse__name"
        )
    }
    lines = dict(
        OrderLine.objects.filter(pk__in=ids.get("order_line", ())).values_list("pk", "order_id")
    )
    numbers = numbers_of(user, ids.get("order", set()) | set(lines.values()))
    orders = {("order", pk): pk for pk in ids.get("order", ())}
    for key, order_id in {**orders, **{("order_line", pk): o for pk, o in lines.items()}}.items():
        if number := numbers.get(order_id):
            found[key] = (number, reverse("order", args=[number]))
    return found
