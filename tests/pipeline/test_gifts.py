"""Gifts follow the order: given with its stock, taken back with its goods, named and counted."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection

from fulfillment.models import Parcel, ParcelLine
from inventory.models import Reservation, StockLevel
from ordercenter.audit.models import AuditRecord
from ordercenter.catalog.models import GiftStrategy
from ordercenter.core.clock import now as clock_now
from ordercenter.orders.models import OrderHold, OrderLine, SalesOrder
from ordercenter.pipeline.invariants import Look, look_at
from tests.factories import GiftStrategyFactory, GiftTierFactory, ShopFactory, SkuFactory
from tests.pipeline.seller import (
    Carrier,
    Seller,
    again,
    buyer,
    draft,
    holds,
    line,
    paid,
    pick,
    promised,
    refund,
    ship,
    take,
    take_one,
    take_refund,
)

pytestmark = pytest.mark.django_db


def automatic(seller: Seller, **changes: Any) -> GiftStrategy:
    """A towel from 199 yuan on."""
    values: dict[str, Any] = {
        "kind": "automatic",
        "gift_sku": seller.skus["TOWEL"],
        "min_amount": Decimal("199.00"),
    }
    strategy: GiftStrategy = GiftStrategyFactory.create(**{**values, **changes})
    return strategy


def given(order: SalesOrder) -> dict[str, int]:
    """Units of each gift the order is to have."""
    rows = OrderLine.objects.filter(order=order, is_gift=True, is_dropped=False)
    return dict(rows.values_list("sku__code", "quantity"))


def gift_lines(order: SalesOrder) -> list[OrderLine]:
    return list(OrderLine.objects.filter(order=order, is_gift=True).order_by("line_no"))


def told_why(order: SalesOrder) -> list[str]:
    rows = AuditRecord.objects.filter(object_type="order", object_id=order.pk).order_by("pk")
    return [entry["words"] for row in rows for entry in row.change.get("gifts", ())]


def red() -> set[str]:
    with connection.cursor() as cursor:
        return {one.code for one in look_at(Look(cursor, clock_now(), 20)) if not one.holds}


@pytest.fixture(autouse=True)
def _nothing_broken() -> Any:
    """Whatever a test does to gifts, every invariant holds in the end."""
    yield
    assert red() == set()


# --- given ----------------------------------------------------------------------------------


def test_a_gift_from_a_threshold_on_is_a_line_that_holds_stock_and_says_why(
    seller: Seller,
) -> None:
    strategy = automatic(seller, quantity=2)
    order = take_one(seller.shop, draft(line("SOFA", 2)))
    (gift,) = gift_lines(order)
    assert (gift.sku, gift.quantity, gift.amount) == (seller.skus["TOWEL"], 2, Decimal(0))
    assert (gift.gift_strategy, gift.channel_line_id, gift.line_no) == (strategy.code, "", 2)
    assert promised(order) == {"SOFA": 2, "TOWEL": 2}
    assert told_why(order) == ["主商品实付 ¥200.00，满 ¥199.00"]
    assert (order.status, order.has_gift, holds(order)) == ("routed", True, set())
    inside = ParcelLine.objects.filter(parcel__order=order).values_list("sku__code", "quantity")
    assert dict(inside) == {"SOFA": 2, "TOWEL": 2}


@pytest.mark.parametrize(
    ("changes", "bought", "expected"),
    [
        ({"min_amount": Decimal("200.00")}, ("SOFA", 2, "200.00"), True),
        ({"min_amount": Decimal("200.01")}, ("SOFA", 2, "200.00"), False),
        ({"min_amount": 0, "min_quantity": 3}, ("SOFA", 3, "30.00"), True),
        ({"min_amount": 0, "min_quantity": 4}, ("SOFA", 3, "30.00"), False),
        ({"min_amount": Decimal(20), "min_quantity": 3}, ("SOFA", 2, "200.00"), False),
        ({"min_amount": 0, "min_quantity": 3}, ("SET", 1, "300.00"), True),
        ({"is_active": False}, ("SOFA", 2, "200.00"), False),
        ({"kind": "platform"}, ("SOFA", 2, "200.00"), False),
        ({"kind": "manual"}, ("SOFA", 2, "200.00"), False),
    ],
    ids=[
        "just enough", "a fen short", "pieces", "a piece short", "money and pieces",
        "the parts of a set", "switched off", "the platform gives", "a person gives",
    ],
)  # fmt: skip
def test_who_reaches_a_threshold_gets_the_gift(
    seller: Seller, changes: dict[str, Any], bought: tuple[str, int, str], expected: bool
) -> None:
    automatic(seller, **changes)
    order = take_one(seller.shop, draft(line(*bought)))
    assert given(order) == ({"TOWEL": 1} if expected else {})


def test_of_tiers_the_highest_that_is_reached_counts(seller: Seller) -> None:
    strategy = automatic(seller)
    mug = SkuFactory.create(code="MUG", is_gift=True)
    seller.skus["MUG"] = mug
    seller.receive("MUG", 10)
    GiftTierFactory.create(strategy=strategy, gift_sku=seller.skus["TOWEL"], min_amount=100)
    GiftTierFactory.create(strategy=strategy, gift_sku=mug, min_amount=300, quantity=2)
    none, low, high = take(
        seller.shop, draft(line(amount="99.99")), draft(line()), draft(line("LAMP", 3))
    )
    assert [given(order) for order in (none, low, high)] == [{}, {"TOWEL": 1}, {"MUG": 2}]


def test_only_main_goods_count_where_some_are_named(seller: Seller) -> None:
    strategy = automatic(seller)
    strategy.main_skus.add(seller.skus["LAMP"])
    other, right = take(seller.shop, draft(line("SOFA", 5)), draft(line("LAMP", 2), line("SOFA")))
    assert (given(other), given(right)) == ({}, {"TOWEL": 1})


def test_a_strategy_is_for_its_shops_and_its_time(seller: Seller) -> None:
    now = clock_now()
    strategy = automatic(seller, starts_at=now, ends_at=now + timedelta(hours=1))
    strategy.shops.add(seller.shop)
    elsewhere = automatic(seller, code="elsewhere")
    elsewhere.shops.add(ShopFactory.create())
    early = take_one(seller.shop, draft(line("SOFA", 2), at=now - timedelta(seconds=1)))
    first = take_one(seller.shop, draft(line("SOFA", 2), at=now))
    late = take_one(seller.shop, draft(line("SOFA", 2), at=now + timedelta(hours=1)))
    assert [given(order) for order in (early, first, late)] == [{}, {"TOWEL": 1}, {}]


def test_what_the_platform_gives_is_not_given_twice(seller: Seller) -> None:
    automatic(seller)
    order = take_one(seller.shop, draft(line("SOFA", 2), line("TOWEL", 1, "0.00", is_gift=True)))
    (gift,) = gift_lines(order)
    assert (gift.gift_strategy, gift.channel_line_id != "") == ("platform", True)
    assert holds(order) == set()


def test_a_platform_gift_names_the_strategy_that_stands_behind_it(seller: Seller) -> None:
    strategy = automatic(seller, kind="platform")
    gift = line("TOWEL", 1, "0.00", is_gift=True)
    right = take_one(seller.shop, draft(line("SOFA", 2), gift))
    wrong = take_one(seller.shop, draft(line("SOFA"), line("TOWEL", 1, "0.00", is_gift=True)))
    assert [ln.gift_strategy for ln in gift_lines(right)] == [strategy.code]
    assert [ln.gift_strategy for ln in gift_lines(wrong)] == ["platform"]
    assert (holds(right), holds(wrong)) == (set(), {"rule:gift_dependency"})
    said = OrderHold.objects.get(order=wrong).words
    assert said == "赠品异常：含赠品 TOWEL，主商品金额还差 ¥99.00"


def test_a_platform_gift_out_of_its_time_or_shop_is_looked_at(seller: Seller) -> None:
    automatic(seller, kind="platform", ends_at=clock_now() - timedelta(days=1))
    gift = line("TOWEL", 1, "0.00", is_gift=True)
    order = take_one(seller.shop, draft(line("SOFA", 2), gift))
    assert holds(order) == {"rule:gift_dependency"}
    assert "活动已结束" in OrderHold.objects.get(order=order).words


# --- limits ---------------------------------------------------------------------------------


def test_the_first_orders_get_it_and_a_canceled_one_makes_room(seller: Seller, boss: User) -> None:
    automatic(seller, first_orders=2)
    drafts = [draft(line("SOFA", 2)) for _ in range(3)]
    first, second, third = take(seller.shop, *drafts)
    assert [given(o) for o in (first, second, third)] == [{"TOWEL": 1}, {"TOWEL": 1}, {}]
    take_refund(seller.shop, refund(drafts[0], "refunded"))
    fourth, fifth = take(seller.shop, draft(line("SOFA", 2)), draft(line("SOFA", 2)))
    assert [given(order) for order in (fourth, fifth)] == [{"TOWEL": 1}, {}]


def test_a_buyer_gets_it_so_often_and_buyers_are_told_apart_by_shop(seller: Seller) -> None:
    automatic(seller, per_buyer=1)
    ada = buyer("ada")
    one = take_one(seller.shop, draft(line("SOFA", 2), evidence=ada))
    two, other = take(
        seller.shop,
        draft(line("LAMP", 2), evidence=ada),
        draft(line("LAMP", 2), evidence=buyer("bob")),
    )
    assert [given(order) for order in (one, two, other)] == [{"TOWEL": 1}, {}, {"TOWEL": 1}]


# --- stock ----------------------------------------------------------------------------------


def test_an_order_whose_gift_is_out_of_stock_is_held_by_name_and_goes_on_with_it(
    seller: Seller,
) -> None:
    automatic(seller, gift_sku=SkuFactory.create(code="MUG", is_gift=True))
    order = take_one(seller.shop, draft(line("SOFA", 2)))
    assert (order.status, promised(order)) == ("mapped", {})
    assert holds(order) == {"shortage:shortage"}
    words = OrderHold.objects.get(order=order).words
    assert words == "缺货：赠品 MUG 需 1 件，可用 0 件"


def test_a_substitute_goes_instead_of_a_gift_that_is_out_of_stock(seller: Seller) -> None:
    mug = SkuFactory.create(code="MUG", is_gift=True)
    automatic(seller, gift_sku=mug, substitute=seller.skus["TOWEL"])
    order = take_one(seller.shop, draft(line("SOFA", 2)))
    assert (given(order), holds(order)) == ({"TOWEL": 1}, set())
    assert promised(order) == {"SOFA": 2, "TOWEL": 1}
    assert any("改送" in words for words in told_why(order))


def test_where_the_substitute_is_out_too_the_gift_is_what_is_waited_for(seller: Seller) -> None:
    mug, cup = (SkuFactory.create(code=code, is_gift=True) for code in ("MUG", "CUP"))
    automatic(seller, gift_sku=mug, substitute=cup)
    order = take_one(seller.shop, draft(line("SOFA", 2)))
    assert (given(order), holds(order)) == ({"MUG": 1}, {"shortage:shortage"})


# --- counted again --------------------------------------------------------------------------


def test_a_price_lowered_before_payment_takes_the_gift_back(seller: Seller) -> None:
    automatic(seller)
    told = draft(line("SOFA", 2), paid=False)
    order = take_one(seller.shop, told)
    assert promised(order) == {"SOFA": 2, "TOWEL": 1}
    until = set(Reservation.objects.filter(state="active").values_list("expires_at", flat=True))
    cheaper = line("SOFA", 2, "198.00", channel_line_id=told.lines[0].channel_line_id)
    order = take_one(
        seller.shop,
        again(told, lines=(cheaper,), payable_amount=Decimal(198)),
        now=clock_now() + timedelta(minutes=5),
    )
    assert (given(order), promised(order)) == ({}, {"SOFA": 2})
    kept = Reservation.objects.filter(state="active").values_list("expires_at", flat=True)
    assert set(kept) == until  # a promise is not made longer by it
    assert told_why(order)[-1] == "主商品金额还差 ¥1.00"
    dearer = line("SOFA", 2, "199.00", channel_line_id=told.lines[0].channel_line_id)
    order = take_one(
        seller.shop, paid(told, 2, lines=(dearer,), payable_amount=Decimal(199),
                          paid_amount=Decimal(199))
    )  # fmt: skip
    assert (given(order), promised(order)) == ({"TOWEL": 1}, {"SOFA": 2, "TOWEL": 1})
    assert (order.status, holds(order)) == ("routed", set())


def test_a_partial_refund_changes_the_parcel_that_nobody_has_picked(seller: Seller) -> None:
    automatic(seller, min_amount=Decimal(299))
    told = draft(line("SOFA", 2), line("LAMP"))
    order = take_one(seller.shop, told)
    assert (order.status, given(order)) == ("routed", {"TOWEL": 1})
    part = refund(told, "partial", amount=Decimal("60.00"))
    take_refund(seller.shop, part)
    order.refresh_from_db()
    assert (given(order), promised(order)) == ({}, {"SOFA": 2, "LAMP": 1})
    assert (order.status, holds(order)) == ("cleared", {"changed:part_refund"})
    assert set(Parcel.objects.filter(order=order).values_list("state", flat=True)) == {"canceled"}


def test_a_picked_parcel_is_stopped_and_the_hold_says_what_lies_in_it(
    seller: Seller, boss: User
) -> None:
    automatic(seller)
    told = draft(line("SOFA", 2))
    order = take_one(seller.shop, told)
    parcel = pick(order, boss)
    take_refund(seller.shop, refund(told, "partial", amount=Decimal("1.50")))
    assert holds(order) == {"changed:part_refund", "changed:gift"}
    said = OrderHold.objects.get(order=order, code="gift").words
    assert "应撤回" in said
    assert parcel.number in said
    assert f"{seller.skus['TOWEL'].name}×1" in said
    assert given(order) == {"TOWEL": 1}
    assert promised(order) == {"SOFA": 2, "TOWEL": 1}


def test_what_is_owed_later_and_out_of_stock_holds_the_order_but_not_its_goods(
    seller: Seller,
) -> None:
    automatic(seller, gift_sku=SkuFactory.create(code="MUG", is_gift=True))
    told = draft(line("SOFA", 2, "198.00"), paid=False)
    order = take_one(seller.shop, told)
    assert (order.status, holds(order)) == ("cleared", set())
    dearer = line("SOFA", 2, "199.00", channel_line_id=told.lines[0].channel_line_id)
    later = paid(told, lines=(dearer,), payable_amount=Decimal(199), paid_amount=Decimal(199))
    order = take_one(seller.shop, later)
    assert holds(order) == {"changed:gift"}
    assert promised(order) == {"SOFA": 2}
    assert given(order) == {}


def test_no_gift_of_ours_is_missed_in_what_the_platform_tells_or_told_to_it(
    seller: Seller, boss: User, carrier: Carrier
) -> None:
    automatic(seller)
    told = draft(line("SOFA", 2))
    order = take_one(seller.shop, told)
    assert holds(take_one(seller.shop, again(told))) == set()
    ship(order, boss)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT payload -> 'lines' FROM channels_sync_outboundmessage WHERE kind = 'ship'"
        )
        ((lines,),) = cursor.fetchall()
    assert str(told.lines[0].channel_line_id) in str(lines)
    assert str(lines).count("channel_line_id") == 1
    assert StockLevel.objects.get(
        sku=seller.skus["TOWEL"], virtual_warehouse=seller.near
    ).on_hand == 99  # fmt: skip
