"""Every shipped rule at its threshold, below it and above it, with the ends of its window."""

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from importlib import import_module
from itertools import permutations
from typing import Any

import pytest
from django.db import connection

from fulfillment.models import ParcelStop
from ordercenter.core.clock import SHANGHAI
from ordercenter.core.clock import now as clock_now
from ordercenter.orders.identity import phone_key
from ordercenter.orders.models import OrderHold, SalesOrder
from ordercenter.orders.states import HoldKind
from ordercenter.pipeline import jobs
from risk.defaults import default_rules
from risk.models import RuleList, RuleListEntry, Verdict
from tests.factories import GiftStrategyFactory, RuleSetFactory, ShopFactory, SkuFactory
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


# --- lists, likeness, structure, words ------------------------------------------------------------


@pytest.mark.parametrize(("last", "is_hit"), [(86_400, True), (86_400.001, False)])
def test_three_orders_of_one_buyer_within_a_day_are_looked_at(
    seller: Seller, last: float, is_hit: bool
) -> None:
    drafts = [
        draft(line(code), at=after(at), evidence=buyer("b1"))
        for code, at in zip(("SOFA", "LAMP", "RUG"), (0, 40_000, last), strict=True)
    ]
    orders = take(seller.shop, *drafts)
    assert rules_hit(orders[2]) == ({"buyer_3_in_24h"} if is_hit else set())


@pytest.mark.parametrize(
    ("accounts", "last", "is_hit"), [(2, 600, False), (3, 600, True), (3, 600.001, False)]
)
def test_several_accounts_on_one_ip_within_ten_minutes_are_looked_at(
    seller: Seller, accounts: int, last: float, is_hit: bool
) -> None:
    drafts = [
        draft(line(code), at=after(at), evidence=buyer(f"b{n % accounts}", ip="203.0.113.7"))
        for n, (code, at) in enumerate(zip(("SOFA", "LAMP", "RUG"), (0, 300, last), strict=True))
    ]
    orders = take(seller.shop, *drafts)
    assert rules_hit(orders[2]) == ({"ip_accounts_10m"} if is_hit else set())


def twice(seller: Seller, detail: str, **changes: Any) -> set[str]:
    """The rules that hold the second of two orders of one person in two shops."""
    other = ShopFactory.create(code="other")
    for code, sku in seller.skus.items():
        listing = {"shop": other, "code": code, "sku": sku, "code_type": "outer_code"}
        seller.shop.listings.model.objects.create(**listing)
    person = somebody(7, address="科技城星湖街1号3栋501室")
    take(seller.shop, draft(at=NOON, receiver=person))
    told = draft(line("LAMP"), at=after(600), receiver=replace(person, address=detail, **changes))
    (second,) = take(other, told)
    return rules_hit(second)


def test_the_same_phone_and_nearly_the_same_place_in_two_shops_are_one_customer(
    seller: Seller,
) -> None:
    assert twice(seller, "科技城星湖街1号3-502") == {"likeness_85"}


def test_a_place_alone_is_no_customer(seller: Seller) -> None:
    assert twice(seller, "科技城星湖街1号3栋501室", phone="19900009999") == set()


def test_the_same_phone_at_another_place_is_no_double(seller: Seller) -> None:
    assert twice(seller, "木渎镇金山路88号") == set()


def listed(code: str, key: str, value: str) -> None:
    found, _ = RuleList.objects.get_or_create(code=code, defaults={"name": code, "key": key})
    RuleListEntry.objects.create(
        rule_list=found, value=value, shown="x", added_by="t", added_at=NOON - timedelta(days=400)
    )


@pytest.mark.parametrize(
    ("code", "expected"),
    [("restricted_regions", "restricted_region"), ("no_service", "no_carrier")],
)
def test_a_listed_place_is_held_with_everything_in_it(
    seller: Seller, code: str, expected: str
) -> None:
    listed(code, "region", "江苏省苏州市")
    inside, outside = take(
        seller.shop,
        draft(),
        draft(line("LAMP"), receiver=somebody(city="无锡市", district="锡山区")),
    )
    assert (rules_hit(inside), rules_hit(outside)) == ({expected}, set())


@pytest.mark.parametrize(("pieces", "is_hit"), [(5, False), (6, True)])
def test_more_than_five_pieces_a_day_to_a_limited_place_are_held(
    seller: Seller, pieces: int, is_hit: bool
) -> None:
    listed("regional_limit_regions", "region", "江苏省")
    place = somebody(3)
    _, second = take(
        seller.shop,
        draft(line("SOFA", 2), at=NOON, receiver=place),
        draft(line("LAMP", pieces - 2), at=after(7_200), receiver=place),
    )
    assert rules_hit(second) == ({"regional_limit"} if is_hit else set())


@pytest.mark.parametrize(("code", "tier"), [("blacklist", "2"), ("blacklist_freeze", "3")])
def test_who_is_on_the_black_list_is_held_and_frozen_where_the_list_says_so(
    seller: Seller, code: str, tier: str
) -> None:
    person = somebody(9)
    listed(code, "phone", phone_key(person.phone))
    (order,) = take(seller.shop, draft(receiver=person))
    assert rules_hit(order) == {code}
    assert OrderHold.objects.get(order=order).tier == tier


def test_a_parcel_over_the_customs_keeps_its_human_review(seller: Seller) -> None:
    there = somebody(province="香港特别行政区", city="", district="油尖旺区")
    (order,) = take(seller.shop, draft(receiver=there))
    assert "cross_border" in rules_hit(order)


@pytest.mark.parametrize(("amount", "is_hit"), [("10000.00", False), ("10000.01", True)])
def test_a_large_order_goes_the_way_of_review(seller: Seller, amount: str, is_hit: bool) -> None:
    masked = somebody(is_masked=True, name="王**", phone="138****8000", address="星**", oaid="o1")
    seller.receive("SOFA", 100)
    (order,) = take(seller.shop, draft(line("SOFA", 100, amount), receiver=masked))
    assert ("high_value" in rules_hit(order)) is is_hit


def test_what_is_missing_is_tagged(seller: Seller) -> None:
    (order,) = take(seller.shop, draft(receiver=somebody(phone="")))
    assert holds(order) == {"incomplete:receiver"}
    assert tags(order) == ["资料不完整"]


def test_a_rush_is_tagged_and_goes_first(seller: Seller) -> None:
    rush, rest = take(seller.shop, draft(buyer_remark="今天必须发！"), draft(line("LAMP")))
    assert (tags(rush), rush.priority, rush.status) == (["加急"], 20, "routed")
    assert (tags(rest), rest.priority) == ([], 0)


def test_an_empty_remark_is_filled_and_nobody_is_bothered(seller: Seller) -> None:
    (order,) = take(seller.shop, draft())
    assert (order.buyer_remark, order.status, holds(order), tags(order)) == (
        "无", "routed", set(), [],
    )  # fmt: skip


def test_a_large_discount_on_a_set_is_tagged(seller: Seller) -> None:
    fair, cheap = take(
        seller.shop, draft(line("SET", 1, "255.00")), draft(line("SET", 1, "254.00"))
    )
    assert tags(fair) == []
    assert set(tags(cheap)) == {"低价异常", "优惠叠加"}


def test_stored_sets_that_are_or_may_come_live_get_whom_the_shipped_rules_tell() -> None:
    told = import_module("risk.migrations.0006_shipped_rules_tell")
    shipped = {rule["code"]: rule["outcome"] for rule in default_rules()}
    assert {code for code, outcome in shipped.items() if "notify" in outcome} == set(told.TOLD)
    silent = {"code": "half_price_60", "outcome": {"tier": "3"}}
    own = {"code": "same_sku_5m", "outcome": {"tier": "2", "notify": [{"to": "ceo"}]}}
    other = {"code": "half_price_60", "outcome": {"tier": "2"}}
    now = clock_now()
    live = RuleSetFactory.create(is_live=True, rules=[silent, own], committed_at=now)
    draft = RuleSetFactory.create(rules=[other])
    over = RuleSetFactory.create(rules=[silent], committed_at=now, activated_at=now)
    with connection.schema_editor() as editor:
        told.forward(None, editor)
    for row in (live, draft, over):
        row.refresh_from_db()
    supervisors = {**silent, "outcome": {"tier": "3", "notify": [{"to": "supervisors"}]}}
    assert (live.rules, draft.rules, over.rules) == ([supervisors, own], [other], [silent])
