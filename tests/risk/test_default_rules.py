"""Every shipped rule at its threshold, below it and above it, with the ends of its window."""

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import permutations

import pytest

from fulfillment.models import ParcelStop
from ordercenter.core.clock import SHANGHAI
from ordercenter.orders.models import OrderHold, SalesOrder
from ordercenter.orders.states import HoldKind
from ordercenter.pipeline import jobs
from risk.models import Verdict
from tests.factories import GiftStrategyFactory, ShopFactory, SkuFactory
from tests.pipeline.seller import (
    Seller,
    buyer,
    draft,
    holds,
    line,
    open_seller,
    somebody,
    stored,
    take,
)

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 3, 1, 12, 0, 0, tzinfo=SHANGHAI)
PRECISELY = timedelta(microseconds=1)


@pytest.fixture
def seller() -> Seller:
    return open_seller()


def after(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def rules_hit(order: SalesOrder) -> set[str]:
    """Rules that hold this order."""
    return {code.removeprefix("rule:") for code in holds(order) if code.startswith("rule:")}


def tags(order: SalesOrder) -> list[str]:
    found: list[str] = Verdict.objects.filter(order=order).latest("pk").tags
    return found


# --- the same goods twice within five minutes -----------------------------------------------------


@pytest.mark.parametrize(
    ("gap", "is_hit"),
    [
        (timedelta(0), True),
        (timedelta(seconds=299), True),
        (timedelta(minutes=5), True),
        (timedelta(minutes=5) + PRECISELY, False),
        (timedelta(seconds=301), False),
    ],
)
@pytest.mark.parametrize("by", ["buyer", "device"])
def test_the_same_goods_twice_within_five_minutes_are_a_suspected_duplicate(
    seller: Seller, by: str, gap: timedelta, is_hit: bool
) -> None:
    who = buyer("b1") if by == "buyer" else buyer(device="d1")
    first, second = take(
        seller.shop, draft(at=NOON, evidence=who), draft(at=NOON + gap, evidence=who)
    )
    assert rules_hit(second) == ({"same_sku_5m"} if is_hit else set())
    assert rules_hit(first) == rules_hit(second)


def test_other_goods_of_the_same_buyer_are_no_duplicate(seller: Seller) -> None:
    orders = take(
        seller.shop,
        draft(line("SOFA"), at=NOON, evidence=buyer("b1")),
        draft(line("LAMP"), at=after(60), evidence=buyer("b1")),
    )
    assert [rules_hit(order) for order in orders] == [set(), set()]


def test_one_of_several_goods_in_common_is_enough(seller: Seller) -> None:
    orders = take(
        seller.shop,
        draft(line("SOFA"), line("RUG"), at=NOON, evidence=buyer("b1")),
        draft(line("LAMP"), line("RUG"), at=after(60), evidence=buyer("b1")),
    )
    assert [rules_hit(order) for order in orders] == [{"same_sku_5m"}, {"same_sku_5m"}]


def test_a_set_and_its_part_are_the_same_goods(seller: Seller) -> None:
    orders = take(
        seller.shop,
        draft(line("SET", 1, "300.00"), at=NOON, evidence=buyer("b1")),
        draft(line("RUG"), at=after(60), evidence=buyer("b1")),
    )
    assert [rules_hit(order) for order in orders] == [{"same_sku_5m"}, {"same_sku_5m"}]


def test_two_buyers_of_the_same_number_in_two_shops_are_two_people(seller: Seller) -> None:
    other = ShopFactory.create(code="other")
    for code, sku in seller.skus.items():
        from_other = {"shop": other, "code": code, "sku": sku}
        seller.shop.listings.model.objects.create(code_type="outer_code", **from_other)
    (first,) = take(seller.shop, draft(at=NOON, evidence=buyer("b1")))
    (second,) = take(other, draft(at=after(10), evidence=buyer("b1")))
    assert rules_hit(first) == rules_hit(second) == set()


def test_a_blank_buyer_matches_nobody(seller: Seller) -> None:
    orders = take(seller.shop, draft(at=NOON), draft(at=after(1)))
    assert [rules_hit(order) for order in orders] == [set(), set()]


# --- two orders from one address of the internet within ten seconds -------------------------------


@pytest.mark.parametrize(
    ("gap", "is_hit"),
    [(timedelta(seconds=10), True), (timedelta(seconds=10) + PRECISELY, False)],
)
def test_two_orders_from_one_ip_within_ten_seconds_are_looked_at(
    seller: Seller, gap: timedelta, is_hit: bool
) -> None:
    _, second = take(
        seller.shop,
        draft(line("SOFA"), at=NOON, evidence=buyer("b1", ip="203.0.113.7")),
        draft(line("LAMP"), at=NOON + gap, evidence=buyer("b2", ip="203.0.113.7")),
    )
    assert rules_hit(second) == ({"same_ip_10s"} if is_hit else set())


# --- more than three orders by one phone within ten minutes ---------------------------------------


@pytest.mark.parametrize(
    ("seconds", "is_hit"),
    [((0, 200, 400), False), ((0, 200, 400, 600), True), ((0, 200, 400, 601), False)],
)
def test_more_than_three_orders_of_one_phone_within_ten_minutes_are_frozen(
    seller: Seller, seconds: tuple[int, ...], is_hit: bool
) -> None:
    codes = ("SOFA", "LAMP", "RUG", "VASE")
    drafts = [
        draft(
            line(code), at=after(at), receiver=somebody(phone="13800138000", address=f"{code}路1号")
        )
        for at, code in zip(seconds, codes, strict=False)
    ]
    orders = take(seller.shop, *drafts)
    assert [rules_hit(order) == {"phone_burst_10m"} for order in orders] == [is_hit] * len(orders)
    if is_hit:
        assert set(OrderHold.objects.open().values_list("tier", flat=True)) == {"3"}


def test_a_masked_phone_is_nobodys_phone(seller: Seller) -> None:
    masked = [
        somebody(phone="138****8000", is_masked=True, address=f"幸福路{n}号") for n in range(4)
    ]
    orders = take(seller.shop, *(draft(at=after(n), receiver=one) for n, one in enumerate(masked)))
    assert [rules_hit(order) for order in orders] == [set()] * 4


# --- money of one address and day -----------------------------------------------------------------


@pytest.mark.parametrize(("last", "is_hit"), [("2000.00", False), ("2000.01", True)])
def test_more_than_five_thousand_yuan_for_one_address_and_day_are_flagged(
    seller: Seller, last: str, is_hit: bool
) -> None:
    place = somebody(1)
    drafts = [
        draft(line("SOFA", 30), at=NOON, receiver=place),
        draft(line("LAMP", 10, last), at=after(7200), receiver=somebody(2, address=place.address)),
    ]
    orders = take(seller.shop, *drafts)
    assert rules_hit(orders[1]) == ({"address_day_5000"} if is_hit else set())


def test_the_day_of_an_address_ends_at_midnight_in_shanghai(seller: Seller) -> None:
    place = somebody(1)
    before = datetime(2026, 3, 1, 23, 59, 59, tzinfo=SHANGHAI)
    _, second = take(
        seller.shop,
        draft(line("SOFA", 30), at=before, receiver=place),
        draft(line("LAMP", 30), at=before + timedelta(seconds=1), receiver=place),
    )
    assert rules_hit(second) == set()


# --- prices ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("amount", "found"),
    [
        ("85.00", set()),
        ("84.99", {"low_price_85"}),
        ("60.00", {"low_price_85"}),
        ("59.99", {"low_price_85", "half_price_60"}),
        ("0.00", {"low_price_85", "half_price_60"}),
    ],
)
def test_a_price_is_low_below_85_and_frozen_below_60_percent(
    seller: Seller, amount: str, found: set[str]
) -> None:
    (order,) = take(seller.shop, draft(line(amount=amount)))
    assert rules_hit(order) == found


def test_a_third_of_a_fen_does_not_hide_in_a_ratio(seller: Seller) -> None:
    """254.99 for three is 84.996… per cent: rounded it would pass."""
    cheap, fair = take(
        seller.shop, draft(line(quantity=3, amount="254.99")), draft(line("LAMP", 3, "255.00"))
    )
    assert rules_hit(cheap) == {"low_price_85"}
    assert rules_hit(fair) == set()


def test_a_set_is_priced_against_the_sum_of_its_parts(seller: Seller) -> None:
    fair, cheap = take(
        seller.shop, draft(line("SET", 1, "255.00")), draft(line("SET", 1, "254.99"))
    )
    assert rules_hit(fair) == set()
    assert rules_hit(cheap) == {"low_price_85"}


def test_goods_without_a_base_price_are_a_persons_decision(seller: Seller) -> None:
    seller.skus["SOFA"].base_price = Decimal(0)
    seller.skus["SOFA"].save()
    (order,) = take(seller.shop, draft())
    assert rules_hit(order) == {"low_price_85", "half_price_60"}
    assert "缺少判断依据" in OrderHold.objects.filter(order=order).latest("pk").words
    assert set(OrderHold.objects.filter(order=order).values_list("tier", flat=True)) == {"2"}


def test_a_price_in_another_currency_is_not_compared(seller: Seller) -> None:
    (order,) = take(seller.shop, draft(currency="USD"))
    assert {"low_price_85", "half_price_60"} <= rules_hit(order)
    assert "payment:amount" in holds(order)


# --- gifts ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("paid_for_goods", "is_hit"), [("200.00", False), ("199.99", True)])
def test_a_gift_goes_along_from_its_threshold_on(
    seller: Seller, paid_for_goods: str, is_hit: bool
) -> None:
    GiftStrategyFactory.create(gift_sku=seller.skus["TOWEL"], min_amount=Decimal("200.00"))
    gift = line("TOWEL", 1, "0.00", is_gift=True)
    (order,) = take(seller.shop, draft(line("SOFA", 2, paid_for_goods), gift))
    assert rules_hit(order) == ({"gift_dependency"} if is_hit else set())


def test_of_two_strategies_the_kinder_one_counts_and_a_switched_off_one_does_not(
    seller: Seller,
) -> None:
    towel = seller.skus["TOWEL"]
    GiftStrategyFactory.create(gift_sku=towel, min_amount=Decimal("300.00"))
    GiftStrategyFactory.create(gift_sku=towel, min_amount=Decimal("100.00"))
    GiftStrategyFactory.create(gift_sku=towel, min_amount=Decimal("1.00"), is_active=False)
    gift = line("TOWEL", 1, "0.00", is_gift=True)
    enough, short = take(
        seller.shop,
        draft(line(), gift),
        draft(line("LAMP", 1, "99.99"), replace(gift, channel_line_id="again")),
    )
    assert rules_hit(enough) == set()
    assert rules_hit(short) == {"gift_dependency"}


def test_a_gift_without_any_strategy_or_goods_is_held(seller: Seller) -> None:
    (order,) = take(seller.shop, draft(line("TOWEL", 1, "0.00", is_gift=True)))
    assert rules_hit(order) == {"gift_dependency"}


def test_a_gift_that_is_short_is_tagged_and_stands_in_the_shortage_queue(seller: Seller) -> None:
    GiftStrategyFactory.create(gift_sku=seller.skus["TOWEL"], min_amount=Decimal(1))
    gift = line("TOWEL", 101, "0.00", is_gift=True)
    (order,) = take(seller.shop, draft(line(), gift))
    assert holds(order) == {"shortage:shortage"}
    assert tags(order) == []  # 100 in each of two places: enough, only not in one


def test_a_gift_that_is_nowhere_is_tagged_as_short(seller: Seller) -> None:
    GiftStrategyFactory.create(gift_sku=seller.skus["TOWEL"], min_amount=Decimal(1))
    gift = line("TOWEL", 201, "0.00", is_gift=True)
    (order,) = take(seller.shop, draft(line(), gift))
    assert tags(order) == ["赠品缺货"]


# --- stock ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("left", "expected"), [(2, ["缺货高风险"]), (3, [])])
def test_fewer_than_three_left_and_not_locked_is_a_stock_risk(
    left: int, expected: list[str]
) -> None:
    seller = open_seller(stock=0)
    seller.receive("SOFA", left)
    (order,) = take(seller.shop, draft(line("SOFA", left + 1)))
    assert holds(order) == {"shortage:shortage"}
    assert tags(order) == expected


def test_goods_the_order_holds_are_no_risk_however_few_are_left() -> None:
    seller = open_seller(stock=0)
    seller.receive("SOFA", 2)
    (order,) = take(seller.shop, draft(line("SOFA", 2)))
    assert tags(order) == []
    assert order.status == "routed"


# --- together -------------------------------------------------------------------------------------


def test_low_price_one_address_and_speed_together_are_frozen(seller: Seller) -> None:
    place = somebody(1)
    drafts = [
        draft(line("SOFA", 30, "2520.00"), at=after(n), receiver=place, evidence=buyer("b1"))
        for n in range(2)
    ]
    orders = take(seller.shop, *drafts)
    expected = {"low_price_85", "address_day_5000", "same_sku_5m", "price_address_velocity"}
    assert [rules_hit(order) for order in orders] == [expected] * 2
    assert Verdict.objects.filter(order=orders[0]).latest("pk").tier == "3"


def test_two_of_the_three_are_looked_at_but_not_frozen(seller: Seller) -> None:
    place = somebody(1)
    drafts = [
        draft(line("SOFA", 30, "2520.00"), at=after(n * 301), receiver=place, evidence=buyer("b1"))
        for n in range(2)
    ]
    orders = take(seller.shop, *drafts)
    assert rules_hit(orders[1]) == {"low_price_85", "address_day_5000"}
    assert Verdict.objects.filter(order=orders[1]).latest("pk").tier == "2"


def test_the_same_orders_are_judged_alike_in_one_batch_or_in_several_in_any_order(
    seller: Seller,
) -> None:
    """Three orders of five minutes, in every order of arrival, and cut into two batches."""
    outcomes = set()
    for number, arrival in enumerate(permutations(range(3))):
        for cut in (1, 2, 3):
            who = buyer(f"b{number}-{cut}")
            drafts = [draft(at=after(n * 150), evidence=who, lines=(line(),)) for n in range(3)]
            batch = [drafts[n] for n in arrival]
            take(seller.shop, *batch[:cut])
            take(seller.shop, *batch[cut:])
            jobs.look_again()
            orders = [stored(seller.shop, told) for told in drafts]
            outcomes.add(tuple(frozenset(rules_hit(order)) for order in orders))
    assert outcomes == {(frozenset({"same_sku_5m", "buyer_3_in_24h"}),) * 3}


def test_an_earlier_order_is_judged_again_once_and_then_left_alone(seller: Seller) -> None:
    (first,) = take(seller.shop, draft(at=NOON, evidence=buyer("b1")))
    take(seller.shop, draft(at=after(60), evidence=buyer("b1")))
    assert jobs.look_again() == "1 of 1 earlier orders are held, too"
    assert rules_hit(first) == {"same_sku_5m"}
    assert ParcelStop.objects.get().parcel.order == first
    assert jobs.look_again() == "0 of 0 earlier orders are held, too"


def test_an_earlier_order_without_a_fault_of_its_own_is_looked_at_once(seller: Seller) -> None:
    """The cheap one is frozen with the dear one in its findings; the dear one is not cheap."""
    place = somebody(1)
    take(seller.shop, draft(line("SOFA", 40), at=NOON, receiver=place, evidence=buyer("b1")))
    cheap = draft(line("SOFA", 30, "2520.00"), at=after(1), receiver=place, evidence=buyer("b1"))
    take(seller.shop, cheap)
    assert jobs.look_again().startswith("1 of 1")
    assert jobs.look_again().startswith("0 of 0")


def test_an_order_that_comes_in_late_sees_the_younger_ones_that_overtook_it(
    seller: Seller,
) -> None:
    (younger,) = take(seller.shop, draft(at=after(200), evidence=buyer("b1")))
    (older,) = take(seller.shop, draft(at=NOON, evidence=buyer("b1")))
    assert rules_hit(younger) == set()  # it is on its way to the shelf already
    assert rules_hit(older) == {"same_sku_5m"}
    hold = OrderHold.objects.get(order=older)
    assert hold.evidence["orders"] == [younger.pk]
    assert hold.kind == HoldKind.RULE


def test_words_name_what_was_seen_and_what_the_rule_says(seller: Seller) -> None:
    (order,) = take(seller.shop, draft(line(amount="84.50")))
    words = OrderHold.objects.get(order=order).words
    assert words == "低价异常：SOFA 成交价为基准价的 84.5%，规则为低于 85%"


def test_another_sku_at_its_own_price_does_not_dilute_a_cheap_one(seller: Seller) -> None:
    dear = SkuFactory.create(code="DEAR", base_price=Decimal(10_000))
    seller.shop.listings.create(code_type="outer_code", code="DEAR", sku=dear)
    seller.receive("SOFA", 1)
    (order,) = take(seller.shop, draft(line("DEAR", 1, "10000.00"), line(amount="50.00")))
    assert "half_price_60" in rules_hit(order)
