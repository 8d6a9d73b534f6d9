"""Facts of stored orders: every window recounted in another way, lists, likeness, prices."""

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from ordercenter.core.addresses import normalize_region
from ordercenter.core.clock import SHANGHAI
from ordercenter.orders.identity import place_keys
from risk.contracts import NOT_APPLICABLE, FactValue, Subject, SubjectLine
from risk.facts import compute
from risk.language import FactSpec, compares
from risk.models import RuleList, RuleListEntry
from tests.factories import (
    OrderEvidenceFactory,
    OrderLineFactory,
    SalesOrderFactory,
    ShopFactory,
    SkuFactory,
)
from tests.risk.tools import NOON, program, rule, subject

pytestmark = pytest.mark.django_db
Measure = Callable[[Sequence[Subject], int | None], Any]
KEYS = ("buyer", "device", "phone", "address", "ip")


def spec(fact: str, **params: Any) -> FactSpec:
    """The fact as a rule would ask it."""
    value: Any = {"bool": True, "set": ["a"], "text": ["a"]}.get(_type(fact), "1")
    op = {"bool": "is", "set": "has_any", "text": "has_any"}.get(_type(fact), ">=")
    asked = program(rule({"fact": fact, **params, "op": op, "value": value}))
    return next(iter(compares(asked.rules[0].when))).spec


def _type(fact: str) -> str:
    return FactSpec(fact).kind.type


def one(asked: FactSpec, order: Subject, **more: Any) -> FactValue:
    (found,) = compute([order], [asked], **more)
    return found[asked].value


# --- windows, recounted ---------------------------------------------------------------------------


class Past:
    """Orders of a few people and goods within two days, stored and as subjects."""

    def __init__(self, seed: int, size: int) -> None:
        chance = random.Random(seed)  # noqa: S311 - orders, no secrets
        shops = [ShopFactory.create() for _ in range(2)]
        skus = [SkuFactory.create(code=f"S{n}") for n in range(4)]
        self.subjects: list[Subject] = []
        for _ in range(size):
            at = NOON + timedelta(
                seconds=chance.choice((1, 60, 300, 3_600)) * chance.randint(0, 40)
            )
            amount = Decimal(chance.randint(1, 900_000)) / 100
            keys = {key: chance.choice(("", "a", "b", "c")) for key in KEYS}
            order = SalesOrderFactory.create(
                shop=chance.choice(shops), placed_at=at, payable_amount=amount
            )
            columns = {"ip" if key == "ip" else f"{key}_key": keys[key] for key in KEYS}
            OrderEvidenceFactory.create(order=order, **columns)
            lines = []
            for sku in chance.sample(skus, chance.randint(1, 3)):
                row: dict[str, Any] = {
                    "quantity": chance.randint(1, 5),
                    "is_gift": chance.random() < 0.2,
                    "is_dropped": chance.random() < 0.1,
                    "amount": Decimal(chance.randint(1, 90_000)) / 100,
                }
                OrderLineFactory.create(order=order, sku=sku, **row)
                if not row.pop("is_dropped"):
                    lines.append(
                        SubjectLine(sku.pk, sku.code, row["quantity"], row["amount"],
                                    sku.base_price, row["is_gift"])
                    )  # fmt: skip
            self.subjects.append(
                subject(order_id=order.pk, placed_at=at, amount=amount, lines=tuple(lines),
                        shop_id=order.shop_id, **keys)
            )  # fmt: skip

    def share(self, order: Subject, key: str, sku: int | None) -> list[Subject]:
        """Orders that are equal in every part of the key; sharing this SKU where it names goods."""
        parts = [part for part in key.split("+") if part != "sku"]
        if any(not order.key(part) for part in parts):
            return []
        return [
            other for other in self.subjects
            if all(other.key(part) == order.key(part) for part in parts)
            and (sku is None or sku in {line.sku_id for line in other.lines})
        ]  # fmt: skip

    def recount(
        self,
        asked: FactSpec,
        order: Subject,
        measure: Callable[[Sequence[Subject], int | None], Any],
    ) -> Any:
        """The definition, word by word: the largest of the keys' figures over [t - w, t]."""
        found = []
        low = order.placed_at - timedelta(seconds=asked.window_seconds)
        for key in asked.keys:
            by_goods = "sku" in key or asked.param("same_sku")
            skus: list[Any] = sorted({ln.sku_id for ln in order.lines}) if by_goods else [None]
            for sku in skus:
                mine = self.share(order, key, sku)
                near = [o for o in mine if low <= o.placed_at <= order.placed_at]
                if near:
                    found.append(measure(near, sku if "sku" in key else None))
        return max(found) if found else NOT_APPLICABLE


def count(orders: Sequence[Subject], _sku: int | None) -> int:
    return len({o.order_id for o in orders})


def money(orders: Sequence[Subject], _sku: int | None) -> Decimal:
    return sum((o.amount for o in orders), Decimal(0))


def different(key: str) -> Callable[[Sequence[Subject], int | None], int]:
    if key == "sku":
        return lambda orders, _sku: len({ln.sku_id for o in orders for ln in o.lines})
    return lambda orders, _sku: len({o.key(key) for o in orders} - {""})


def pieces(codes: frozenset[str]) -> Callable[[Sequence[Subject], int | None], int]:
    return lambda orders, sku: sum(
        ln.quantity
        for o in orders
        for ln in o.lines
        if not ln.is_gift and sku in {None, ln.sku_id} and (not codes or ln.sku_code in codes)
    )


ASKED: list[tuple[str, dict[str, Any], Any]] = [
    ("orders_in_window", {"keys": ["buyer", "device"], "window_seconds": 300}, count),
    ("orders_in_window", {"keys": ["buyer"], "window_seconds": 3_600, "same_sku": True}, count),
    ("orders_in_window", {"keys": ["phone+address"], "window_seconds": 7_200}, count),
    ("orders_in_window", {"keys": ["ip+sku", "buyer"], "window_seconds": 600}, count),
    ("orders_in_window", {"keys": ["sku"], "window_seconds": 60}, count),
    ("orders_in_window", {"keys": ["ip"], "window_seconds": 3_600, "distinct": "buyer"},
     different("buyer")),
    ("orders_in_window", {"keys": ["address"], "window_seconds": 900, "distinct": "sku"},
     different("sku")),
    ("money_in_window", {"keys": ["address", "phone"], "window_seconds": 3_600}, money),
    ("units_in_window", {"keys": ["buyer"], "window_seconds": 3_600}, pieces(frozenset())),
    ("units_in_window", {"keys": ["buyer"], "window_seconds": 3_600, "skus": ["S1", "S2"]},
     pieces(frozenset({"S1", "S2"}))),
    ("units_in_window", {"keys": ["phone+sku"], "window_seconds": 3_600}, pieces(frozenset())),
]  # fmt: skip


@pytest.mark.parametrize("seed", [1, 2])
def test_every_window_equals_a_recount_by_its_definition(seed: int) -> None:
    past = Past(seed, 60)
    specs = [spec(fact, **params) for fact, params, _ in ASKED]
    batch = past.subjects[::4]  # the others are read from the database
    for order, found in zip(batch, compute(batch, specs), strict=True):
        for asked, (_, _, measure) in zip(specs, ASKED, strict=True):
            expected = past.recount(asked, order, measure)
            assert found[asked].value == expected, (asked.label, order.number, seed)


def test_alone_in_a_batch_or_among_all_others_an_order_sees_the_same() -> None:
    past = Past(3, 40)
    specs = [spec(fact, **params) for fact, params, _ in ASKED]
    together = compute(past.subjects, specs)
    for order, found in zip(past.subjects, together, strict=True):
        (alone,) = compute([order], specs)
        assert {s: v.value for s, v in alone.items()} == {s: v.value for s, v in found.items()}


def test_a_batch_of_many_orders_and_facts_asks_the_database_as_often_as_one_order() -> None:
    past = Past(4, 30)
    specs = [spec(fact, **params) for fact, params, _ in ASKED]
    asked = []
    for batch in (past.subjects[:8], past.subjects[:20]):
        with CaptureQueriesContext(connection) as seen:
            compute(batch, specs)
        asked.append(len(seen))
    assert asked[0] == asked[1] <= 3


def test_facts_of_a_stretched_batch_are_those_of_each_order_alone() -> None:
    """A group of the batch reaches as far as its first and last order; a window never does."""
    past = Past(5, 50)
    specs = [spec(fact, **params) for fact, params, _ in ASKED]
    specs += [spec("day_amount", keys=["address", "ip"]), spec("likeness", window_seconds=600)]
    batch = past.subjects[::3]
    for late in (False, True):
        together = compute(batch, specs, late=late)
        for order, found in zip(batch, together, strict=True):
            assert compute([order], specs, late=late) == [found], (order.number, late)


def test_the_windows_hold_both_ends_and_a_late_order_sees_those_that_overtook_it() -> None:
    often = spec("orders_in_window", keys=["buyer"], window_seconds=300)
    for seconds in (0, 300):
        order = SalesOrderFactory.create(placed_at=NOON + timedelta(seconds=seconds))
        OrderEvidenceFactory.create(order=order, buyer_key="b")
    late = subject(order_id=-1, buyer="b")
    assert one(often, replace(late, placed_at=NOON + timedelta(seconds=300))) == 3
    tick = timedelta(microseconds=1)
    assert one(often, replace(late, placed_at=NOON + timedelta(seconds=300) + tick)) == 2
    assert one(often, replace(late, placed_at=NOON - tick)) == 1
    assert one(often, replace(late, placed_at=NOON), late=True) == 3
    assert one(often, replace(late, placed_at=NOON - tick), late=True) == 2


def test_the_day_ends_at_midnight_in_shanghai_and_at_the_order_itself() -> None:
    day = spec("day_amount", keys=["address"])
    for at, amount in (("00:00:00", 10), ("11:59:59", 20), ("12:00:01", 40)):
        moment = datetime.fromisoformat(f"2026-03-01T{at}").replace(tzinfo=SHANGHAI)
        order = SalesOrderFactory.create(placed_at=moment, payable_amount=Decimal(amount))
        OrderEvidenceFactory.create(order=order, address_key="a")
    yesterday = NOON.replace(hour=0) - timedelta(seconds=1)
    OrderEvidenceFactory.create(
        order=SalesOrderFactory.create(placed_at=yesterday), address_key="a"
    )
    judged = subject(order_id=-1, address="a", amount=Decimal(1))
    assert one(day, judged) == 31
    assert one(day, judged, late=True) == 71
    assert one(day, replace(judged, address="")) is NOT_APPLICABLE


# --- prices ---------------------------------------------------------------------------------------


def line(code: str = "S1", quantity: int = 1, amount: str = "100", **more: Any) -> SubjectLine:
    values: dict[str, Any] = {"base_price": Decimal(100), "is_gift": False}
    return SubjectLine(more.pop("sku_id", 1), code, quantity, Decimal(amount), **{**values, **more})


def sold(sku: Any, seconds: float, quantity: int, amount: str, **more: Any) -> None:
    order = SalesOrderFactory.create(
        placed_at=NOON - timedelta(seconds=seconds), currency=more.pop("currency", "CNY")
    )
    OrderLineFactory.create(order=order, sku=sku, quantity=quantity, amount=Decimal(amount), **more)


def test_the_running_price_is_what_the_goods_went_for_before_weighted_by_pieces() -> None:
    sku = SkuFactory.create()
    running = spec("price_ratio", base="running", window_seconds=3_600)
    order = subject(order_id=-1, lines=(line(quantity=2, amount="150", sku_id=sku.pk),))
    assert one(running, order) is NOT_APPLICABLE
    sold(sku, 3_600, 1, "130")  # the far end counts
    sold(sku, 10, 3, "270")
    sold(sku, 0, 1, "1")  # the moment itself does not
    sold(sku, 3_600.001, 1, "1")
    sold(sku, 10, 1, "1", is_dropped=True)
    sold(sku, 10, 1, "0", is_gift=True)
    sold(sku, 10, 1, "1", currency="GBP")
    assert one(running, order) == Fraction(75, 100)
    before = subject(order_id=-2, placed_at=NOON - timedelta(seconds=1),
                     lines=(line(quantity=4, amount="800", sku_id=sku.pk),))  # fmt: skip
    found = compute([order, before], [running])
    assert found[0][running].value == Fraction(75, 150)


def test_a_discount_is_told_of_all_main_lines_together() -> None:
    gift = line(amount="0", is_gift=True)
    order = subject(lines=(line(amount="50"), line(quantity=3, amount="270"), gift))
    assert one(spec("discount_ratio"), order) == Fraction(80, 400)
    assert one(spec("discount_ratio"), subject(lines=(gift,))) is NOT_APPLICABLE
    assert one(spec("discount_ratio"), subject(lines=(line(base_price=None),))) is None


# --- what an order says by itself -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("fact", "changes", "expected"),
    [
        ("amount", {"amount": Decimal("9.90")}, Decimal("9.90")),
        ("goods_amount", {"lines": (line(amount="5"), line(amount="7", is_gift=True))}, Decimal(5)),
        ("freight", {"freight": Decimal(8)}, Decimal(8)),
        ("units", {"lines": (line(quantity=2), line(quantity=3))}, 5),
        ("lines", {"lines": (line(), line(is_gift=True))}, 1),
        ("max_line_units", {"lines": (line(quantity=2), line(quantity=9, is_gift=True))}, 2),
        ("province", {"province": "江苏省"}, frozenset({"江苏省"})),
        ("province", {}, None),
        ("category", {"lines": (line(category="家纺"), line())}, frozenset({"家纺"})),
        ("sku", {"lines": (line("A"), line("B", is_gift=True))}, frozenset({"A", "B"})),
        ("is_bundle", {"lines": (line(is_part=True),)}, True),
        ("is_bundle", {"lines": (line(),)}, False),
        ("has_gift", {"lines": (line(is_gift=True),)}, True),
        ("remark_empty", {"remark": " \n"}, True),
        ("remark", {"remark": "今天 必须\n发 ＶＩＰ"}, "今天必须发vip"),  # noqa: RUF001 - wide on purpose
        ("missing", {"missing": frozenset({"phone"})}, frozenset({"phone"})),
        ("missing", {"missing": None}, None),
        ("is_cross_border", {"province": "香港特别行政区"}, True),
        ("is_cross_border", {"province": "Bavaria"}, True),
        ("is_cross_border", {"province": "西藏自治区"}, False),
        ("is_cross_border", {"province": "火星省"}, False),
        ("is_cross_border", {}, NOT_APPLICABLE),
        ("hour", {"placed_at": NOON.replace(hour=23, minute=59)}, 23),
    ],
)
def test_what_an_order_says_by_itself(
    fact: str, changes: dict[str, Any], expected: FactValue
) -> None:
    assert one(FactSpec(fact), subject(**changes)) == expected


def test_a_stateless_fact_asks_the_database_nothing() -> None:
    names = ("amount", "discount_ratio", "price_ratio", "remark", "missing", "is_cross_border")
    with CaptureQueriesContext(connection) as seen:
        compute([subject(lines=(line(),))], [FactSpec(name) for name in names])
    assert len(seen) == 0


# --- lists ----------------------------------------------------------------------------------------


def put(code: str, key: str, *values: str, **changes: Any) -> None:
    found, _ = RuleList.objects.get_or_create(code=code, defaults={"name": code, "key": key})
    for value in values:
        RuleListEntry.objects.create(
            rule_list=found, value=value, shown="x", added_by="t",
            **{"added_at": NOON - timedelta(days=1), **changes},
        )  # fmt: skip


def listed(code: str, order: Subject) -> FactValue:
    return one(spec("in_list", list=code), order)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, True),
        ({"added_at": NOON}, True),
        ({"added_at": NOON + timedelta(seconds=1)}, False),
        ({"expires_at": NOON}, False),
        ({"expires_at": NOON + timedelta(seconds=1)}, True),
        ({"removed_at": NOON}, False),
        ({"removed_at": NOON + timedelta(days=9)}, True),
    ],
)
def test_a_list_counts_as_it_stood_when_the_order_came_in(
    changes: dict[str, Any], expected: bool
) -> None:
    put("some_phones", "phone", "p", **changes)
    order = subject(phone="p", placed_at=NOON - timedelta(days=9), received_at=NOON)
    assert listed("some_phones", order) is expected


def test_a_list_of_places_holds_everything_within_them() -> None:
    put("some_places", "region", "江苏省苏州市", "新疆维吾尔自治区")
    suzhou = subject(province="江苏省", city="苏州市", district="虎丘区")
    assert listed("some_places", suzhou) is True
    assert listed("some_places", replace(suzhou, city="无锡市")) is False
    assert listed("some_places", subject(province="新疆维吾尔自治区", city="和田地区")) is True
    assert listed("some_places", subject()) is None
    reach = spec("carrier_reach", list="some_places")
    assert [one(reach, order) for order in (suzhou, subject())] == [False, None]


def test_words_and_goods_may_be_listed_too() -> None:
    put("some_words", "word", "代付")
    put("some_goods", "sku", "S7")
    assert listed("some_words", subject(memo="朋友 代 付")) is True
    assert listed("some_words", subject(remark="自己付")) is False
    assert listed("some_goods", subject(lines=(line("S7"),))) is True
    assert listed("some_goods", subject(lines=(line("S8"),))) is False


def test_nobody_is_on_an_empty_list_or_on_one_that_is_not_there() -> None:
    assert listed("no_such_list", subject(phone="p")) is False
    assert listed("restricted_regions", subject()) is False
    assert one(spec("carrier_reach"), subject()) is True


def test_an_order_without_the_key_is_none_of_the_lists_business() -> None:
    put("some_phones", "phone", "p")
    assert listed("some_phones", subject()) is NOT_APPLICABLE


def test_pieces_of_listed_goods_are_counted_over_a_window() -> None:
    put("limited", "sku", "S1")
    limited = spec("units_in_window", keys=["buyer"], window_seconds=60, list="limited")
    order = subject(buyer="b", lines=(line("S1", 2), line("S2", 5, sku_id=2)))
    assert one(limited, order) == 2


# --- likeness -------------------------------------------------------------------------------------


def shingles(detail: str) -> tuple[int, ...]:
    region = normalize_region("江苏省", "苏州市", "虎丘区")
    assert region is not None
    found = place_keys(region, detail)[1]
    assert found
    return found


def other_order(detail: str, **changes: Any) -> int:
    values = {"placed_at": NOON - timedelta(hours=1), **changes.pop("order", {})}
    order = SalesOrderFactory.create(**values)
    keys = {"phone_key": "p", "address_shingles": list(shingles(detail)), **changes}
    OrderEvidenceFactory.create(order=order, **keys)
    return int(order.pk)


def person(**changes: Any) -> Subject:
    values: dict[str, Any] = {
        "order_id": -1, "shop_id": -1, "phone": "p", "province": "江苏省", "city": "苏州市",
        "shingles": shingles("科技城星湖街1号3栋501室"),
    }  # fmt: skip
    return subject(**{**values, **changes})


LIKENESS = FactSpec("likeness")


def test_the_same_phone_and_place_in_another_shop_are_wholly_alike() -> None:
    pk = other_order("科技城星湖街1号3-501")
    (found,) = compute([person()], [LIKENESS])
    assert (found[LIKENESS].value, found[LIKENESS].orders) == (1, (pk,))


def test_a_place_that_is_nearly_the_same_reaches_the_limit_with_the_phone_only() -> None:
    other_order("科技城星湖街1号3栋502室")
    alike = one(LIKENESS, person())
    assert isinstance(alike, Fraction)
    assert Fraction(85, 100) <= alike < 1
    alone = spec("likeness", address_alone=True)
    assert one(LIKENESS, person(phone="q")) == 0
    assert one(alone, person(phone="q")) == Fraction(84, 100)
    assert one(alone, person(phone="q", city="无锡市")) == 0


def test_the_same_phone_far_from_there_is_half_alike() -> None:
    other_order("木渎镇金山路88号", address_shingles=None)
    assert one(LIKENESS, person()) == Fraction(1, 2)


@pytest.mark.parametrize(
    "changes",
    [
        {"order": {"placed_at": NOON - timedelta(days=1, seconds=1)}},
        {"order": {"placed_at": NOON + timedelta(seconds=1)}},
        {"phone_key": ""},
    ],
)
def test_other_times_and_other_people_are_not_alike(changes: dict[str, Any]) -> None:
    other_order("科技城星湖街1号3-501", **changes)
    assert one(LIKENESS, person()) == 0


def test_orders_of_the_same_shop_are_left_to_the_other_rules() -> None:
    pk = other_order("科技城星湖街1号3-501")
    shop = SalesOrderFactory._meta.model.objects.get(pk=pk).shop_id
    assert one(LIKENESS, person(shop_id=shop)) == 0


def test_a_masked_receiver_is_not_compared() -> None:
    other_order("科技城星湖街1号3-501")
    assert one(LIKENESS, person(phone="", shingles=None)) is NOT_APPLICABLE


def test_two_orders_of_one_batch_see_each_other() -> None:
    mine, theirs = person(), person(order_id=-2, shop_id=-2)
    found = compute([mine, theirs], [LIKENESS])
    assert [one_[LIKENESS].value for one_ in found] == [1, 1]
