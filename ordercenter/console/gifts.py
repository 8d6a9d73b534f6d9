"""Which gifts are given to whom, why an order earned none, and what of them was really sent."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from ordercenter.catalog import gifts
from ordercenter.catalog.models import GiftStrategy, Shop, Sku
from ordercenter.console.access import me, page
from ordercenter.core.clock import SHANGHAI
from ordercenter.core.clock import now as clock_now
from ordercenter.core.errors import NotFound
from ordercenter.core.policy import Can, allows, sees_all
from ordercenter.orders.models import SalesOrder
from ordercenter.orders.states import OPEN, OrderStatus
from ordercenter.pipeline import gift_facts, gifting
from ordercenter.pipeline.gift_rate import GiftMatch, gift_rates

DAYS: Final = 7
MOST_GIFTS: Final = 200


@dataclass(frozen=True, slots=True)
class Row:
    """One strategy as a supervisor reads it; ``given`` orders have its gift."""

    pk: int
    name: str
    kind: str
    is_active: bool
    sentence: str
    given: int


@dataclass(frozen=True, slots=True)
class Sent:
    """What one shop owed and sent in gifts on one day."""

    day: Any
    shop: str
    match: GiftMatch


@require_safe
@page(Can.VIEW_ORDERS)
def gifts_page(request: HttpRequest) -> HttpResponse:
    """The strategies, a box to try them on an order, and the last days' gifts."""
    number = request.GET.get("order", "").replace("\0", "").strip()[:32]
    context: dict[str, Any] = {
        "rows": _rows(),
        "sent": _sent() if sees_all(request.user) else None,
        "days": DAYS,
        "number": number,
        "may_edit": allows(request.user, Can.EDIT_MAPPING),
    }
    if number:
        try:
            context["order"], context["tried"] = gifting.try_on(number, user=me(request))
        except NotFound as refusal:
            context["refusal"] = str(refusal)
    return render(request, "console/gifts.html", context)


def _rows() -> list[Row]:
    strategies = gifts.read_strategies()
    given = gift_facts.given_by([row.code for row in strategies])
    stored = GiftStrategy.objects.prefetch_related("shops", "main_skus").in_bulk()
    found = []
    for row in strategies:
        shops = [shop.name for shop in stored[row.id].shops.all()]
        skus = [sku.name for sku in stored[row.id].main_skus.all()]
        words = gifts.sentence(row, shops=shops, main_skus=skus)
        kind = stored[row.id].get_kind_display()
        found.append(Row(row.id, row.name, kind, row.is_active, words, given[row.code]))
    return sorted(found, key=lambda one: (not one.is_active, one.name))


def _sent() -> list[Sent]:
    today = clock_now().astimezone(SHANGHAI).replace(hour=0, minute=0, second=0, microsecond=0)
    rates = gift_rates(today - timedelta(days=DAYS - 1), today + timedelta(days=1))
    names = dict(Shop.objects.values_list("pk", "name"))
    found = [Sent(rate.day, names[rate.shop_id], GiftMatch(rate.owed, rate.sent)) for rate in rates]
    return sorted(found, key=lambda one: one.day, reverse=True)


# --- on the order's page --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Desk:
    """An order's gifts, and what this user may do about them now."""

    lines: Sequence[gifting.GiftLine]
    strategies: Sequence[gifts.Strategy] = ()
    skus: Sequence[Sku] = ()
    may_give: bool = False
    may_drop: bool = False

    @property
    def is_shown(self) -> bool:
        return bool(self.lines) or self.may_give


def gift_desk(request: HttpRequest, order: SalesOrder) -> Desk:
    """What the order's page shows of gifts."""
    lines = gifting.gift_lines(order.pk)
    is_open = OrderStatus(order.status) in OPEN - {OrderStatus.RECEIVED}
    if not is_open:
        return Desk(lines)
    may_give = allows(request.user, Can.REVIEW)
    by_hand = [row for row in gifts.strategies() if row.is_active and row.is_manual]
    return Desk(
        lines,
        by_hand if may_give else (),
        list(Sku.objects.filter(is_gift=True, is_active=True)[:MOST_GIFTS]) if may_give else (),
        may_give,
        may_drop=allows(request.user, Can.WORK_SHORTAGE),
    )
