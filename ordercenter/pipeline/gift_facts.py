"""What the gifts of orders are counted from: what was bought, and what others got already."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from decimal import Decimal
from typing import Final

from django.db import connection
from django.db.models import Sum

from fulfillment.models import RefundRequest
from ordercenter.catalog.gifts import Basket, Piece, Strategy
from ordercenter.orders.models import OrderLine, SalesOrder
from ordercenter.pipeline.work import Line, Work

# --- what an order has bought ---------------------------------------------------------------


def baskets(works: Sequence[Work], rows: Iterable[Strategy]) -> dict[int, Basket]:
    free = frozenset(sku for row in rows for sku in row.gifts)
    refunded = refunded_of([work.id for work in works if not work.fresh])
    return {
        work.id: basket_of(
            work, work.lines, free, work.refunded if work.fresh else refunded.get(work.id, ())
        )
        for work in works
    }


def basket_of(
    order: Work | SalesOrder,
    lines: Iterable[Line | OrderLine],
    free: Collection[int],
    refunded: Sequence[tuple[str, Decimal]] = (),
) -> Basket:
    """The main goods: no gift, nothing dropped, nothing paid back.

    ``free``: SKUs that are a gift where they cost nothing, whatever the channel calls them.
    """
    goods = [ln for ln in lines if ln.sku_id is not None and not ln.is_dropped]
    known = {ln.channel_line_id for ln in goods if ln.channel_line_id}
    pieces = _pieces(goods, free, _by_line(refunded))
    rest = sum((money for line, money in refunded if line not in known), Decimal(0))
    return Basket(order.shop_id, order.placed_at, pieces, rest)


def _by_line(refunded: Sequence[tuple[str, Decimal]]) -> dict[str, Decimal]:
    found: dict[str, Decimal] = {}
    for line, money in refunded:
        found[line] = found.get(line, Decimal(0)) + money
    return found


def _pieces(
    goods: Iterable[Line | OrderLine], free: Collection[int], left: dict[str, Decimal]
) -> tuple[Piece, ...]:
    """``left``: what was paid back by the channel's line; parts of a bundle share it in turn."""
    found = []
    for line in goods:
        assert line.sku_id is not None
        if line.is_gift or (not line.amount and line.sku_id in free):
            continue
        back = min(left.get(line.channel_line_id, Decimal(0)), line.amount)
        if back:
            left[line.channel_line_id] -= back
            if back == line.amount:
                continue  # paid back whole: not bought any more
        found.append(Piece(line.sku_id, line.quantity, line.amount - back))
    return tuple(found)


def refunded_of(order_ids: Collection[int]) -> dict[int, list[tuple[str, Decimal]]]:
    """(the channel's line or "", money) given back of each stored order."""
    found: dict[int, list[tuple[str, Decimal]]] = {}
    if not order_ids:
        return found
    rows = RefundRequest.objects.filter(order_id__in=order_ids, state__in=["refunded", "partial"])
    for order_id, line, money in rows.values_list("order_id", "channel_line_id").annotate(
        Sum("amount")
    ):
        found.setdefault(order_id, []).append((line, money))
    return found


# --- what others got already ----------------------------------------------------------------


def lock_limits(strategy_ids: Sequence[int]) -> dict[int, tuple[int | None, int | None]]:
    """Lock strategies in primary-key order; (first orders, orders a buyer) of each, as of now."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT id, first_orders, per_buyer FROM catalog_giftstrategy WHERE id = ANY(%s) "
            "ORDER BY id FOR NO KEY UPDATE",
            [list(strategy_ids)],
        )
        found = {pk: (first, each) for pk, first, each in cursor.fetchall()}
    # One that was deleted a moment ago gives nothing any more.
    return {pk: found.get(pk, (0, 0)) for pk in strategy_ids}


GIVEN: Final = (
    "l.gift_strategy = ANY(%s) AND l.gift_strategy NOT IN ('', 'platform') "
    "AND NOT l.is_dropped AND o.status <> 'canceled'"
)
"""A canceled order, and one that lost its gift, make room for the next."""


def given_by(codes: Collection[str]) -> Counter[str]:
    """How many orders have a gift of each strategy."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT l.gift_strategy, count(DISTINCT l.order_id) FROM orders_orderline l "  # noqa: S608 - own constant text
            f"JOIN orders_salesorder o ON o.id = l.order_id WHERE {GIVEN} GROUP BY 1",
            [list(codes)],
        )
        return Counter(dict(cursor.fetchall()))


def given_to(codes: Collection[str], buyers: Collection[str]) -> Counter[tuple[str, str]]:
    """How many orders of each buyer have a gift of each strategy. A buyer is one shop's."""
    if not buyers:
        return Counter()
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT l.gift_strategy, e.buyer_key, count(DISTINCT l.order_id) "  # noqa: S608 - own constant text
            "FROM orders_orderevidence e JOIN orders_orderline l ON l.order_id = e.order_id "
            "JOIN orders_salesorder o ON o.id = l.order_id "
            f"WHERE {GIVEN} AND e.buyer_key = ANY(%s) AND e.buyer_key <> '' GROUP BY 1, 2",
            [list(codes), list(buyers)],
        )
        return Counter({(code, buyer): count for code, buyer, count in cursor.fetchall()})
