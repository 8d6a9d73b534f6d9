"""Rules are data: what is not one is refused, what cannot be told is reviewed, edits count."""

import time
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import given
from hypothesis import strategies as st

from ordercenter.catalog import gifts
from ordercenter.core.actor import PIPELINE
from ordercenter.core.clock import now as clock_now
from ordercenter.core.errors import InvalidInput
from ordercenter.orders.models import OrderHold
from ordercenter.pipeline.intake import take_drafts
from risk.contracts import NOT_APPLICABLE, FactValue, Seen, Subject
from risk.defaults import default_rules
from risk.judging import judge
from risk.language import MAX_RULES, FactSpec, compares, read_rules
from risk.models import RuleSet, Verdict
from risk.sentences import show
from tests.factories import RuleSetFactory
from tests.pipeline.seller import Seller, draft, holds, line, open_seller, take

CHEAP = {"fact": "price_ratio", "op": "<", "value": "0.85"}
OFTEN = {"fact": "orders_in_window", "keys": ["buyer"], "window_seconds": 300, "op": ">=",
         "value": "2"}  # fmt: skip
NO_DATE: Any = None


def rule(*conditions: dict[str, Any], code: str = "r", tier: str = "2") -> dict[str, Any]:
    return {"code": code, "name": code, "when": {"all": list(conditions)},
            "outcome": {"tier": tier}}  # fmt: skip


def verdict_of(rules: list[dict[str, Any]], **facts: FactValue) -> tuple[str, set[str]]:
    """(tier, codes hit) when the facts of these names have these values."""
    compiled = read_rules(1, rules)
    subject = Subject(1, "n", NO_DATE, Decimal(0), "", "", "", "", "", ())
    seen = {spec: Seen(facts[spec.name]) for spec in compiled.specs}
    found = judge(subject, compiled, seen)
    return found.tier, {finding.code for finding in found.hits}


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "broken",
    [
        {"name": "no code", "when": {"all": [CHEAP]}, "outcome": {"tier": "2"}},
        {"code": "flat", "tier": "2", "all": [CHEAP]},
        {**rule(CHEAP), "outcome": {"tier": "4"}},
        {**rule(CHEAP), "outcome": {"tier": None}},
        {**rule(CHEAP), "outcome": {"tier": "2", "color": "red"}},
        {**rule(CHEAP), "outcome": {"tier": "2", "fill": {"buyer_remark": "x"}}},
        {**rule(CHEAP), "outcome": {"tier": "1", "fill": {"payable_amount": "0"}}},
        {**rule(OFTEN), "outcome": {"tier": "2", "warehouse": "east"}},
        {**rule(CHEAP), "outcome": {"tier": "2", "notify": [{"to": "everybody"}]}},
        {**rule(CHEAP), "when": {"all": "everything"}},
        {**rule(CHEAP), "when": {"any": []}},
        {**rule(CHEAP), "when": {"all": [{"all": []}]}},
        {**rule(CHEAP), "when": {"all": [CHEAP], "any": [CHEAP]}},
        {**rule(CHEAP), "budget": -1},
        {**rule(CHEAP), "scope": {"shop": ["TB01"]}},
        {**rule(CHEAP), "scope": {"channels": ["myspace"]}},
        {**rule(CHEAP), "scope": {"amount": {"from": "500", "below": "500"}}},
        {**rule(CHEAP), "scope": {"hours": {"from": "22:00", "to": "22:00"}}},
        {**rule(CHEAP), "scope": {"hours": {"from": "25:00", "to": "06:00"}}},
        rule({"fact": "province", "op": "in", "value": ["江南省"]}),
        rule({"fact": "province", "op": "in", "value": []}),
        rule({"fact": "missing", "op": "has_any", "value": ["shoe_size"]}),
        rule({"fact": "remark", "op": "matches", "value": ["(a+)+$"]}),
        rule({"fact": "in_list", "op": "is", "value": True}),
        rule({"fact": "is_rush", "op": "is", "value": "yes"}),
        rule({**CHEAP, "threshold": "1"}),
        rule({**CHEAP, "value": "1e9"}),
        rule({**CHEAP, "fact": "__import__('os').system"}),
        rule({**CHEAP, "op": "in"}),
        rule({**CHEAP, "value": "a little"}),
        rule({**CHEAP, "value": "NaN"}),
        rule({**CHEAP, "value": "Infinity"}),
        rule({**CHEAP, "value": "-1"}),
        rule({**CHEAP, "value": None}),
        rule({**CHEAP, "keys": ["buyer"]}),
        rule({**CHEAP, "window_seconds": 60}),
        rule({**OFTEN, "keys": []}),
        rule({**OFTEN, "keys": ["shoe_size"]}),
        rule({**OFTEN, "window_seconds": 0}),
        rule({**OFTEN, "window_seconds": -5}),
        rule({**OFTEN, "window_seconds": "five minutes"}),
        rule({**OFTEN, "keys": "buyer"}),
        rule({**OFTEN, "window_seconds": 10**12}),
        rule({**OFTEN, "window_seconds": True}),
        rule(CHEAP, code="c" * 41),
        rule("price_ratio < 0.85"),  # type: ignore[arg-type]
        "not even a rule",
    ],
)
def test_what_is_not_a_rule_is_refused_in_words(broken: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput) as refused:
        read_rules(1, [broken])
    assert str(refused.value)


def test_two_rules_of_one_code_are_refused() -> None:
    with pytest.raises(InvalidInput, match="重复"):
        read_rules(1, [rule(CHEAP), rule(OFTEN)])


def test_a_rule_that_is_switched_off_asks_nothing_and_is_still_checked() -> None:
    program = read_rules(1, [{**rule(CHEAP), "enabled": False}])
    assert (program.rules, program.specs) == ((), ())
    assert [one.code for one in program.off] == ["r"]
    with pytest.raises(InvalidInput):
        read_rules(1, [{**rule(CHEAP), "enabled": False, "outcome": {"tier": "9"}}])


def test_ten_thousand_rules_are_refused_with_the_limit_named() -> None:
    many = [rule(CHEAP, code=f"r{n}") for n in range(10_000)]
    with pytest.raises(InvalidInput, match=str(MAX_RULES)):
        read_rules(1, many)


def test_the_most_rules_there_may_be_judge_an_order_in_fifty_milliseconds() -> None:
    many = [
        rule(OFTEN, {"any": [CHEAP, {"fact": "amount", "op": ">", "value": str(n)}]}, code=f"r{n}")
        for n in range(MAX_RULES)
    ]
    program = read_rules(1, many)
    subject = Subject(1, "n", NO_DATE, Decimal(0), "", "", "", "", "", ())
    seen = {spec: Seen(2 if spec.name == "orders_in_window" else Decimal(500))
            for spec in program.specs}  # fmt: skip
    took = []
    for _ in range(5):
        began = time.process_time()
        found = judge(subject, program, seen)
        took.append(time.process_time() - began)
        assert len(found.hits) == MAX_RULES / 2
    assert min(took) < 0.05


def test_a_rule_without_any_condition_is_read_and_needs_a_second_person() -> None:
    program = read_rules(1, [rule(), rule(CHEAP, code="asks")])
    assert [one.needs_second for one in program.rules] == [True, False]
    assert verdict_of([rule()]) == ("2", {"r"})


def test_a_refusal_says_which_rule_and_where_in_it() -> None:
    broken = rule({"any": [CHEAP, {**CHEAP, "value": "-1"}]}, code="second")
    with pytest.raises(InvalidInput, match="规则“second”：阈值不能为负数") as refused:
        read_rules(1, [rule(CHEAP), broken])
    facts = refused.value.facts
    assert (facts["rule"], facts["path"]) == (1, "when.all.0.any.1.value")


def test_a_province_may_be_written_short_and_is_kept_in_full() -> None:
    program = read_rules(1, [rule({"fact": "province", "op": "in", "value": ["江苏", "江苏省"]})])
    (asked,) = compares(program.rules[0].when)
    assert asked.value == ("江苏省",)


def test_the_shipped_rules_are_rules() -> None:
    program = read_rules(0, default_rules())
    assert len(program.rules) == 24
    assert not any(one.needs_second for one in program.rules)


# --- how it is judged -----------------------------------------------------------------------------


def test_an_unknown_fact_asks_for_review_whatever_the_tier_of_its_rule() -> None:
    assert verdict_of([rule(CHEAP, tier="3")], price_ratio=None) == ("2", {"r"})
    assert verdict_of([rule(CHEAP, tier="0")], price_ratio=None) == ("2", {"r"})


def test_an_unknown_fact_does_not_matter_where_another_condition_fails() -> None:
    both = [rule(CHEAP, OFTEN)]
    assert verdict_of(both, price_ratio=None, orders_in_window=1) == ("0", set())
    assert verdict_of(both, price_ratio=None, orders_in_window=2) == ("2", {"r"})


def test_a_fact_that_does_not_apply_is_passed_over() -> None:
    assert verdict_of([rule(CHEAP)], price_ratio=NOT_APPLICABLE) == ("0", set())
    assert verdict_of([rule(OFTEN)], orders_in_window=NOT_APPLICABLE) == ("0", set())


def test_the_worst_tier_wins_whoever_found_it() -> None:
    rules = [rule(CHEAP, code="a", tier="1"), rule(OFTEN, code="b", tier="3"),
             rule({**CHEAP, "value": "0.9"}, code="c", tier="2")]  # fmt: skip
    assert verdict_of(rules, price_ratio=Fraction(1, 2), orders_in_window=2) == (
        "3",
        {"a", "b", "c"},
    )
    assert verdict_of(rules, price_ratio=Fraction(1, 2), orders_in_window=1) == ("2", {"a", "c"})


@given(st.integers(0, 10_000), st.integers(1, 10_000))
def test_a_ratio_is_compared_exactly(paid: int, full: int) -> None:
    _, hit = verdict_of([rule(CHEAP)], price_ratio=Fraction(paid, full))
    assert bool(hit) == (paid * 100 < full * 85)


@pytest.mark.parametrize(
    ("op", "expected"),
    [("<", [1, 0, 0]), ("<=", [1, 1, 0]), ("==", [0, 1, 0]), (">=", [0, 1, 1]), (">", [0, 0, 1])],
)
def test_every_operator_at_below_and_above_its_value(op: str, expected: list[int]) -> None:
    day = {"fact": "day_amount", "keys": ["address"], "op": op, "value": "5000"}
    values = [Decimal("4999.99"), Decimal(5000), Decimal("5000.01")]
    found = [len(verdict_of([rule(day)], day_amount=value)[1]) for value in values]
    assert found == expected


def test_facts_are_shown_as_people_read_them() -> None:
    values = (Fraction(17, 20), Decimal("5000.01"), 3, None, True, frozenset(("b", "a")))
    assert [show(value) for value in values] == ["85.0%", "5000.01", "3", "未知", "是", "a、b"]


def test_equal_facts_are_computed_once() -> None:
    rules = read_rules(1, [rule(CHEAP, code="a"), rule(CHEAP, OFTEN, code="b")])
    often = FactSpec("orders_in_window", (("keys", ("buyer",)), ("window_seconds", 300)))
    assert rules.specs == (FactSpec("price_ratio"), often)
    said_otherwise = {**OFTEN, "same_sku": False, "distinct": "orders"}
    assert read_rules(1, [rule(said_otherwise)]).specs == (often,)


# --- the live set ---------------------------------------------------------------------------------


@pytest.fixture
def seller() -> Seller:
    return open_seller()


@pytest.mark.django_db
def test_an_edited_rule_counts_from_the_next_batch_and_the_verdict_names_its_version(
    seller: Seller,
) -> None:
    RuleSetFactory.create(version=7, is_live=True, rules=[rule(CHEAP)])
    (before,) = take(seller.shop, draft(line(amount="84.00")))
    RuleSet.objects.update(is_live=False)
    RuleSetFactory.create(version=8, is_live=True, rules=[rule({**CHEAP, "value": "0.5"})])
    (after,) = take(seller.shop, draft(line("LAMP", 1, "84.00")))
    assert (holds(before), holds(after)) == ({"rule:r"}, set())
    found = Verdict.objects.order_by("pk").values_list("rule_set_version", flat=True)
    assert list(found) == [7, 8]


@pytest.mark.django_db
def test_a_rule_switched_off_leaves_the_cards_it_has_opened(seller: Seller) -> None:
    RuleSetFactory.create(version=1, is_live=True, rules=[rule(CHEAP)])
    (order,) = take(seller.shop, draft(line(amount="84.00")))
    RuleSet.objects.update(rules=[])
    assert holds(order) == {"rule:r"}


@pytest.mark.django_db
def test_rules_of_a_set_that_is_not_live_decide_nothing(seller: Seller) -> None:
    RuleSetFactory.create(version=3, is_live=False, rules=[])
    (order,) = take(seller.shop, draft(line(amount="84.00")))
    assert holds(order) == {"rule:low_price_85"}
    assert Verdict.objects.get(order=order).rule_set_version == 0


@pytest.mark.django_db
def test_a_hit_of_tier_0_or_1_is_kept_in_the_verdict_and_stops_nobody(seller: Seller) -> None:
    rules = [rule(CHEAP, code="low", tier="1"), rule({**CHEAP, "value": "0.9"}, code="tag")]
    rules[1]["outcome"]["tier"] = "0"
    RuleSetFactory.create(version=1, is_live=True, rules=rules)
    (order,) = take(seller.shop, draft(line(amount="84.00")))
    assert order.status == "routed"
    verdict = Verdict.objects.get(order=order)
    assert (verdict.tier, verdict.tags) == ("1", ["tag"])
    assert [one["code"] for one in verdict.findings if one["hit"]] == ["low", "tag"]
    assert not OrderHold.objects.exists()


@pytest.mark.django_db
def test_a_verdict_keeps_every_value_it_saw_even_where_no_rule_hit(seller: Seller) -> None:
    (order,) = take(seller.shop, draft(line(amount="85.00")))
    verdict = Verdict.objects.get(order=order)
    assert verdict.facts["price_ratio"] == "85.0%"
    assert len(verdict.findings) == 24
    assert verdict.order_version == order.version == 1


@pytest.mark.django_db
def test_a_large_batch_asks_the_database_as_often_as_a_small_one(seller: Seller) -> None:
    counts = []
    gifts.strategies()  # asked for every few seconds, whatever the batch
    for size in (2, 60):
        drafts = [(seller.shop.pk, draft()) for _ in range(size)]
        with CaptureQueriesContext(connection) as seen:
            take_drafts(drafts, actor=PIPELINE, now=clock_now())
        counts.append(len(seen))
    assert counts[0] == counts[1] <= 40
