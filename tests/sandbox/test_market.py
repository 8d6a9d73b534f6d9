"""What the market plants is there, at the rate it says, and everything else is clean."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import pairwise

import pytest

from ordercenter.sandbox.book import CLOSED_REFUNDED, WAIT_PAY, WAIT_SHIP, Line, Order
from ordercenter.sandbox.cheats import BLACK
from ordercenter.sandbox.market import CLEAR, HOSTILE, MIX, TROUBLES
from ordercenter.sandbox.seller import ALWAYS_IN_STOCK, SELLER_FILE, Seller
from tests.sandbox.callers import Bench

HOURS = 3
TROUBLE = 0.12


@pytest.fixture(scope="module")
def day() -> Iterator[Bench]:
    """Three hours of business at half an order a second; nothing is shipped."""
    bench = Bench(rate=0.5, trouble=TROUBLE, seed=7)
    for _ in range(HOURS * 3600):
        bench.clock.pass_by(1)
        bench.market.tick()
    yield bench
    bench.book.close()


def clean(bench: Bench) -> list[Order]:
    return [o for o in bench.book.all_orders() if not o.truth and not o.cluster]


def main_lines(order: Order) -> list[Line]:
    return [line for line in order.lines if not line.is_gift]


def ratio(bench: Bench, line: Line) -> float:
    return line.amount_fen / (bench.seller.goods[line.sku_code].price_fen * line.quantity)


def test_orders_come_at_the_rate(day: Bench) -> None:
    expected = HOURS * 3600 * 0.5
    assert 0.9 * expected < day.book.count() < 1.35 * expected  # clusters bring more than one


def test_the_share_of_troubled_orders_is_the_one_ordered(day: Bench) -> None:
    every = day.book.all_orders()
    share = sum(1 for order in every if order.truth) / len(every)
    assert share == pytest.approx(TROUBLE, abs=0.02)


def test_every_kind_is_planted_about_as_often_as_its_weight_says(day: Bench) -> None:
    planted = Counter(kind for order in day.book.all_orders() for kind in order.truth)
    whole = sum(trouble.weight for trouble in TROUBLES.values())
    for kind, trouble in TROUBLES.items():
        expected = sum(planted.values()) * trouble.weight / whole
        assert abs(planted[kind] - expected) <= 4 * max(expected, 1) ** 0.5, kind


def test_the_platforms_share_the_orders_as_the_mix_says(day: Bench) -> None:
    channels = Counter(day.book.shops[order.shop].channel for order in clean(day))
    for channel, weight in MIX.items():
        assert channels[channel] / channels.total() == pytest.approx(weight / 100, abs=0.03)


def test_clean_orders_share_no_buyer_phone_ip_or_door(day: Bench) -> None:
    orders = clean(day)
    for key in ("buyer_id", "phone", "ip", "device_id"):
        assert len({getattr(order.buyer, key) for order in orders}) == len(orders), key
    doors = {(o.receiver.province, o.receiver.city, o.receiver.address) for o in orders}
    assert len(doors) == len(orders)


def test_clean_orders_are_small_fairly_priced_and_in_stock(day: Bench) -> None:
    for order in clean(day):
        assert order.payable_fen < 300_000
        assert order.receiver.phone
        assert order.receiver.province
        for line in main_lines(order):
            assert ratio(day, line) >= 0.88
            assert day.seller.stock[line.sku_code] >= ALWAYS_IN_STOCK


def test_the_parts_of_a_clean_bundle_are_fairly_priced_too(day: Bench) -> None:
    parts = bundle_parts(day)
    sold = [x for o in clean(day) for x in main_lines(o) if x.sku_code in parts]
    assert len(sold) > 50
    for line in sold:
        assert line.amount_fen >= 0.88 * parts[line.sku_code] * line.quantity


def bundle_parts(bench: Bench) -> dict[str, int]:
    """What the parts of each bundle cost one by one."""
    facts = json.loads(SELLER_FILE.read_text(encoding="utf-8"))
    return {
        row["code"]: sum(
            bench.seller.goods[part["sku"]].price_fen * part["quantity"] for part in row["parts"]
        )
        for row in facts["bundles"]
    }


def test_every_clean_line_has_a_code_that_its_shop_lists_for_it(day: Bench) -> None:
    codes = known_codes(day.seller)
    for order in clean(day):
        for line in order.lines + order.gifts_outside:
            found = {codes[order.shop].get(("sku_id", line.platform_sku_id))} | {
                codes[order.shop].get(("outer_code", line.outer_code))
            }
            assert found - {None} == {line.sku_code}


def known_codes(seller: Seller) -> dict[str, dict[tuple[str, str | None], str]]:
    known: dict[str, dict[tuple[str, str | None], str]] = {}
    for shop, offers in seller.offers.items():
        known[shop] = {}
        for code, pairs in offers.items():
            for offer in pairs:
                known[shop]["sku_id", offer.platform_sku_id] = code
                known[shop]["outer_code", offer.outer_code] = code
        known[shop].pop(("sku_id", None), None)
        known[shop].pop(("outer_code", None), None)
    return known


def test_a_clean_gift_is_earned_and_in_stock(day: Bench) -> None:
    gifts = [(o, g) for o in clean(day) for g in o.lines + o.gifts_outside if g.is_gift]
    assert 0.08 < len(gifts) / len(clean(day)) < 0.22
    limits = {strategy.gift_sku: strategy.min_fen for strategy in day.seller.strategies}
    for order, gift in gifts:
        assert sum(line.amount_fen for line in main_lines(order)) >= limits[gift.sku_code]
        assert day.seller.stock[gift.sku_code] >= ALWAYS_IN_STOCK


def test_some_orders_come_unpaid_and_most_of_those_are_paid_within_minutes(day: Bench) -> None:
    late = [o for o in clean(day) if o.paid is None or o.paid > o.created + 1]
    assert 0.06 < len(late) / len(clean(day)) < 0.14
    paid = [o.paid - o.created for o in late if o.paid is not None]
    assert 0.55 < len(paid) / len(late) < 0.85
    assert max(paid) < 300
    assert {o.state for o in late if o.paid is None} <= {WAIT_PAY, "closed_unpaid"}


def test_remarks_hold_rush_words_and_hostile_text_now_and_then(day: Bench) -> None:
    remarks = Counter(order.remark for order in day.book.all_orders() if order.remark)
    assert sum(count for text, count in remarks.items() if "今天必须发" in text) > 20
    assert set(HOSTILE) <= remarks.keys()


def clusters(bench: Bench, kind: str) -> list[list[Order]]:
    found: defaultdict[str, list[Order]] = defaultdict(list)
    for order in bench.book.all_orders():
        if order.cluster.startswith(f"{kind}-"):
            found[order.cluster].append(order)
    whole = [orders for orders in found.values() if len(orders) == TROUBLES[kind].orders]
    assert len(whole) >= 5, kind
    return whole


def test_only_the_order_that_completes_a_pattern_carries_its_kind(day: Bench) -> None:
    for kind in ("duplicate", "same_ip", "phone_burst", "address_day"):
        for orders in clusters(day, kind):
            assert [order.truth for order in orders] == [[]] * (len(orders) - 1) + [[kind]]


def test_a_duplicate_is_one_buyer_and_one_sku_within_five_minutes(day: Bench) -> None:
    for first, second in clusters(day, "duplicate"):
        assert first.buyer.buyer_id == second.buyer.buyer_id
        assert first.lines[0].sku_code == second.lines[0].sku_code
        assert 0 < second.created - first.created <= 300
        assert day.book.shops[first.shop].channel != "pinduoduo"  # it never tells who bought


def test_one_ip_is_two_buyers_within_ten_seconds_where_it_can_be_seen(day: Bench) -> None:
    for first, second in clusters(day, "same_ip"):
        assert first.buyer.ip == second.buyer.ip
        assert first.buyer.buyer_id != second.buyer.buyer_id
        assert 0 < second.created - first.created <= 10
        assert day.book.shops[first.shop].channel in CLEAR


def test_a_phone_burst_is_four_buyers_on_one_phone_within_ten_minutes(day: Bench) -> None:
    for orders in clusters(day, "phone_burst"):
        assert len({order.receiver.phone for order in orders}) == 1
        assert len({order.buyer.buyer_id for order in orders}) == 4
        assert orders[-1].created - orders[0].created <= 600


def test_one_door_takes_over_5000_yuan_only_with_the_last_order(day: Bench) -> None:
    for orders in clusters(day, "address_day"):
        assert len({order.receiver.address for order in orders}) == 1
        before = sum(order.payable_fen for order in orders[:-1])
        assert before <= 500_000 < before + orders[-1].payable_fen
        assert max(order.payable_fen for order in orders) < 300_000


def test_prices_lie_where_their_kind_says(day: Bench) -> None:
    for kind, low, high in (("low_price", 0.60, 0.85), ("half_price", 0.30, 0.60)):
        orders = [order for order in day.book.all_orders() if kind in order.truth]
        assert orders
        assert all(low <= ratio(day, line) < high for o in orders for line in main_lines(o))


def test_gift_troubles_are_what_they_say(day: Bench) -> None:
    limits = {strategy.gift_sku: strategy.min_fen for strategy in day.seller.strategies}
    for order in day.book.all_orders():
        for gift in (g for g in order.lines + order.gifts_outside if g.is_gift):
            worth = order.goods_fen
            if "gift_without_main" in order.truth:
                assert worth < limits[gift.sku_code]
            if "gift_short" in order.truth:
                assert worth >= limits[gift.sku_code]
                assert gift.quantity > day.seller.stock[gift.sku_code]
    kinds = {kind for order in day.book.all_orders() for kind in order.truth}
    assert {"gift_without_main", "gift_short"} <= kinds


def test_the_other_troubles_are_what_they_say(day: Bench) -> None:
    codes = known_codes(day.seller)
    seen = Counter[str]()
    for order in day.book.all_orders():
        line = order.lines[0]
        if "stock_short" in order.truth:
            assert line.quantity > day.seller.stock[line.sku_code]
        if "unmapped" in order.truth:
            assert ("sku_id", line.platform_sku_id) not in codes[order.shop]
            assert ("outer_code", line.outer_code) not in codes[order.shop]
        if "invalid_receiver" in order.truth:
            assert not order.receiver.phone or not order.receiver.province
        seen.update(order.truth)
    assert min(seen[kind] for kind in ("stock_short", "unmapped", "invalid_receiver")) > 5


def test_a_refund_before_shipping_is_asked_in_time_and_paid_back_unanswered(day: Bench) -> None:
    asked = [
        order for order in day.book.all_orders()
        if "refund_before_ship" in order.truth and order.refunds
    ]  # fmt: skip
    assert len(asked) > 20
    for order in asked:
        assert order.paid is not None
        assert 20 <= order.refunds[0].created - order.paid <= 122
    assert CLOSED_REFUNDED in {order.state for order in asked}
    assert not [o for o in day.book.all_orders() if o.refunds and not o.truth]


def test_the_same_seed_sells_the_same() -> None:
    def numbers(seed: int) -> list[str]:
        bench = Bench(rate=1.0, trouble=0.2, seed=seed)
        for _ in range(60):
            bench.clock.pass_by(1)
            bench.market.tick()
        return [order.number for order in bench.book.all_orders()]

    assert numbers(3) == numbers(3) != numbers(4)


def test_no_rate_sells_nothing_but_keeps_appointments(bench: Bench) -> None:
    orders = bench.market.sell("duplicate", shop="TB01")
    assert bench.book.get("TB01", orders[1].number) is None
    bench.clock.pass_by(300)
    bench.market.tick()
    assert [o.number for o in bench.book.orders("TB01")] == [o.number for o in orders]
    assert bench.book.get("TB01", orders[1].number).state == WAIT_SHIP  # type: ignore[union-attr]


@pytest.mark.parametrize("kind", sorted(TROUBLES))
def test_each_kind_can_be_had_on_demand(bench: Bench, kind: str) -> None:
    sold = bench.control("sell", count=2, trouble=kind)["orders"]
    assert len(sold) == 2 * TROUBLES[kind].orders
    assert Counter(k for order in sold for k in order["kinds"]) == {kind: 2}


def test_a_trouble_a_platform_cannot_show_is_refused(bench: Bench) -> None:
    assert "平台看不出" in bench.control("sell", trouble="same_ip", shop="TB01")["error"]


def test_two_orders_of_one_second_have_two_numbers(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = iter(["000001", "000001", "000001", "000002"])
    monkeypatch.setattr(type(bench.market), "_digits", lambda *_: next(drawn))
    numbers = [bench.market.sell("", shop="CR01")[0].number[-6:] for _ in range(2)]
    assert numbers == ["000001", "000002"]


def test_a_mix_weighs_what_the_market_does_not_plant_by_itself(bench: Bench) -> None:
    weights = dict.fromkeys(TROUBLES, 0) | {"blacklisted": 1}
    bench.control("rate", rate=0, trouble=0.99, mix=weights)
    for _ in range(30):
        bench.market.sell("mix")
    planted = Counter(kind for order in bench.book.all_orders() for kind in order.truth)
    assert set(planted) == {"blacklisted"}
    assert planted["blacklisted"] > 20
    assert {o.receiver.phone for o in bench.book.all_orders() if o.truth} <= set(BLACK)
    assert "error" in bench.control("rate", mix={"nothing": 1})


def test_two_shops_see_one_phone_and_two_spellings_of_one_door(bench: Bench) -> None:
    for _ in range(20):
        first, second = bench.market.sell("two_shops", at_once=True)
        assert first.shop != second.shop
        assert first.receiver.phone == second.receiver.phone
        assert first.receiver.address != second.receiver.address
        assert first.buyer.buyer_id != second.buyer.buyer_id


def test_three_accounts_on_one_ip_are_never_two_within_ten_seconds(bench: Bench) -> None:
    for _ in range(20):
        orders = bench.market.sell("accounts_on_ip", at_once=True)
        assert len({order.buyer.ip for order in orders}) == 1
        assert len({order.buyer.buyer_id for order in orders}) == 3
        at = [order.created for order in orders]
        assert min(later - sooner for sooner, later in pairwise(at)) > 10
        assert at[-1] - at[0] < 600
