"""Nobody holds a shop's stock without paying for it beyond a cap, and nobody is turned away."""

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from inventory import services as inventory
from inventory.models import StockPolicy
from ordercenter.core.actor import PIPELINE
from ordercenter.orders.contracts import OrderDraft
from ordercenter.orders.models import OrderHold, SalesOrder
from ordercenter.orders.states import OrderStatus
from tests.pipeline.seller import (
    Seller,
    buyer,
    draft,
    holds,
    line,
    open_seller,
    paid,
    promised,
    somebody,
    take,
    take_one,
)

pytestmark = pytest.mark.django_db
CAPPED = "shortage:capped"


@pytest.fixture
def seller() -> Seller:
    return open_seller(stock=200)


def unpaid(units: int = 1, *, who: str = "", ip: str = "", **changes: Any) -> OrderDraft:
    return draft(line("SOFA", units), paid=False, evidence=buyer(who, ip=ip), **changes)


def capped(orders: list[SalesOrder]) -> int:
    return sum(CAPPED in holds(order) for order in orders)


def test_a_buyer_holds_twenty_units_unpaid_and_not_one_more(seller: Seller) -> None:
    orders = take(seller.shop, *(unpaid(5, who="hoarder") for _ in range(5)))
    assert [promised(order) for order in orders] == [{"SOFA": 5}] * 4 + [{}]
    assert CAPPED in holds(orders[4])
    (late,) = take(seller.shop, unpaid(1, who="hoarder"))
    assert CAPPED in holds(late)
    words = OrderHold.objects.get(order=late, code="capped").words
    assert "同一买家未付款已占 SOFA 20 件" in words
    assert "上限 20 件" in words


def test_another_buyer_and_another_good_are_not_concerned(seller: Seller) -> None:
    take(seller.shop, *(unpaid(5, who="hoarder") for _ in range(4)))
    other = take_one(seller.shop, unpaid(5, who="somebody else"))
    lamp = take_one(seller.shop, draft(line("LAMP", 5), paid=False, evidence=buyer("hoarder")))
    assert promised(other) == {"SOFA": 5}
    assert promised(lamp) == {"LAMP": 5}


def test_an_address_holds_fifty_whoever_buys(seller: Seller) -> None:
    home = somebody(7)
    orders = take(seller.shop, *(unpaid(10, who=f"buyer{n}", receiver=home) for n in range(6)))
    assert capped(orders) == 1
    assert CAPPED in holds(orders[5])


def test_an_ip_holds_a_share_of_the_shelf(seller: Seller) -> None:
    share = 120  # 30 % of the 400 on both shelves
    orders = take(seller.shop, *(unpaid(20, who=f"bot{n}", ip="203.0.113.7") for n in range(8)))
    assert sum(promised(order).get("SOFA", 0) for order in orders) == share
    assert capped(orders) == 2


def test_behind_one_ip_ten_units_can_always_be_held() -> None:
    seller = open_seller(stock=6)
    orders = take(seller.shop, *(unpaid(1, who=f"office{n}", ip="203.0.113.7") for n in range(12)))
    assert capped(orders) == 2


def test_what_is_paid_for_is_never_capped(seller: Seller) -> None:
    orders = take(
        seller.shop,
        *(draft(line("SOFA", 30), evidence=buyer("wholesaler", ip="203.0.113.7")) for _ in "abc"),
    )
    assert [promised(order) for order in orders] == [{"SOFA": 30}] * 3


def test_once_paid_a_capped_order_is_tried_like_any_other(seller: Seller) -> None:
    take(seller.shop, *(unpaid(5, who="hoarder") for _ in range(4)))
    told = unpaid(5, who="hoarder")
    assert CAPPED in holds(take_one(seller.shop, told))
    order = take_one(seller.shop, paid(told))
    assert CAPPED not in holds(order)
    assert promised(order) == {"SOFA": 5}


def test_paid_and_gone_the_order_is_short_and_no_longer_capped() -> None:
    seller = open_seller(stock=0)
    seller.receive("SOFA", 22)
    take(seller.shop, *(unpaid(10, who="hoarder") for _ in range(2)))
    told = unpaid(5, who="hoarder")
    assert CAPPED in holds(take_one(seller.shop, told))
    order = take_one(seller.shop, paid(told))
    assert {code for code in holds(order) if code.startswith("shortage")} == {"shortage:shortage"}


def test_what_ran_out_counts_no_more(seller: Seller) -> None:
    orders = take(seller.shop, *(unpaid(10, who="hoarder") for _ in range(2)))
    inventory.release([orders[0].pk], reason="expired", actor=PIPELINE)
    assert promised(take_one(seller.shop, unpaid(10, who="hoarder"))) == {"SOFA": 10}


def test_the_caps_are_the_sellers_to_set(seller: Seller) -> None:
    StockPolicy(unpaid_units_per_buyer=3).save()
    orders = take(seller.shop, *(unpaid(2, who="hoarder") for _ in range(2)))
    assert [promised(order) for order in orders] == [{"SOFA": 2}, {}]


def test_a_thousand_strangers_may_want_thirty_seven_units() -> None:
    seller = open_seller(stock=0)
    seller.receive("SOFA", 37)
    strangers = [unpaid(1, who=f"buyer{n}", ip=f"198.51.100.{n % 250}") for n in range(100)]
    orders = take(seller.shop, *strangers)
    assert sum(order.status != OrderStatus.MAPPED for order in orders) == 37
    assert capped(orders) == 0


def test_the_caps_cost_one_statement_and_none_where_all_is_paid(seller: Seller) -> None:
    def statements(*drafts: OrderDraft) -> int:
        with CaptureQueriesContext(connection) as seen:
            take(seller.shop, *drafts)
        return sum("unpaid_units_per_buyer" in query["sql"] for query in seen)

    assert statements(*(unpaid(1, who=f"b{n}") for n in range(5))) == 1
    assert statements(*(draft(line("SOFA"), evidence=buyer(f"c{n}")) for n in range(5))) == 0
