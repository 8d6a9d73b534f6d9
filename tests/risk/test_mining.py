"""What is mined from decisions: short, round, and true of later decisions as well."""

from dataclasses import replace
from decimal import Decimal

import pytest

from risk.contracts import Seen
from risk.examples import Example, split
from risk.judging import judge
from risk.language import read_rules
from risk.mining import (
    LOOSER,
    Candidate,
    Condition,
    Figures,
    Limits,
    loosened,
    mine_passes,
    mine_stops,
    round_limit,
    stop_rule,
)
from tests.risk.learned import (
    AMOUNT,
    BUYER,
    RATIO,
    RUSH,
    cheap_and_often,
    decisions,
    shuffled,
)
from tests.risk.tools import subject

LIMITS = Limits()
HIGH = {"code": "high_value", "when": {"all": [{"fact": "amount", "op": ">", "value": "10000"}]},
        "outcome": {"tier": "2"}}  # fmt: skip


def found_in(examples: list[Example]) -> list[Candidate]:
    learn, later = split(examples)
    return mine_stops(learn, later, LIMITS)


def test_the_hidden_truth_is_found_and_holds_on_later_decisions() -> None:
    best = found_in(decisions(1500, cheap_and_often))[0]
    assert {one.spec for one in best.conditions} == {RATIO, BUYER}
    assert best.later.precision >= 0.9
    assert best.later.covered >= 100
    assert best.later.decisions == 450
    rule = stop_rule(best)
    (read,) = read_rules(1, [rule]).rules
    assert read.outcome.tier == "2"
    told = {RATIO: Seen(Decimal("0.80")), BUYER: Seen(3)}
    assert judge(subject(), read_rules(1, [rule]), told).tier == "2"
    assert judge(subject(), read_rules(1, [rule]), told | {BUYER: Seen(2)}).tier == "0"


@pytest.mark.parametrize("seed", range(5))
def test_shuffled_decisions_propose_nothing(seed: int) -> None:
    dealt = shuffled(decisions(1000, cheap_and_often), seed)
    learn, later = split(dealt)
    assert mine_stops(learn, later, LIMITS) == []
    assert mine_passes(learn, later, ["high_value", "low"], LIMITS) == []


def test_what_held_only_before_is_not_proposed() -> None:
    """The control of the test on later decisions: learned alone it looks perfect."""
    examples = decisions(1000, cheap_and_often)
    learn, later = split(examples)
    turned = [replace(one, stopped=one.values[RUSH] > 0) for one in later]
    assert all(
        {one.spec for one in found.conditions} != {RATIO, BUYER}
        for found in mine_stops(learn, turned, LIMITS)
    )
    assert mine_stops(learn, later, LIMITS)


def test_fewer_decisions_than_the_support_propose_nothing() -> None:
    assert found_in(decisions(40, cheap_and_often, noise=0)) == []
    assert found_in([]) == []


def test_a_rule_gets_a_tighter_limit_where_people_let_its_holds_go() -> None:
    examples = decisions(1500, lambda one: one.values[AMOUNT] >= 20_000, noise=0.01)
    learn, later = split(examples)
    (found,) = mine_passes(learn, later, ["high_value"], LIMITS)
    assert found.rule == "high_value"
    rule = loosened(HIGH, found)
    (part,) = rule["when"]["all"]
    assert (part["fact"], part["op"]) == ("amount", ">=")
    assert 19_000 <= Decimal(part["value"]) <= 20_000
    assert rule["code"] == "high_value"


def test_another_fact_becomes_an_exception_and_the_unknown_is_still_held() -> None:
    condition = Condition(RATIO, ">=", Decimal("0.85"))
    figures = Figures(10, 10, 10, 1.0)
    rule = loosened(HIGH, Candidate(LOOSER, "high_value", (condition,), figures, figures, (), ()))
    program = read_rules(1, [rule])
    dear = {AMOUNT: Seen(Decimal(12_000))}
    assert judge(subject(), program, dear | {RATIO: Seen(Decimal("0.9"))}).tier == "0"
    assert judge(subject(), program, dear | {RATIO: Seen(Decimal("0.8"))}).tier == "2"
    assert judge(subject(), program, dear | {RATIO: Seen(None)}).tier == "2"


def test_limits_are_round() -> None:
    assert round_limit(0.84712, "ratio") == Decimal("0.85")
    assert round_limit(12_345.67, "money") == Decimal(12_000)
    assert round_limit(2.6, "count") == Decimal(3)
    assert Condition(AMOUNT, ">=", round_limit(12_345.67, "money")).as_json() == {
        "fact": "amount", "op": ">=", "value": "12000",
    }  # fmt: skip
    assert Condition(BUYER, ">=", Decimal(3)).as_json() == {
        "fact": "orders_in_window", "keys": ["buyer"], "window_seconds": 86400, "op": ">=",
        "value": "3",
    }  # fmt: skip


def test_decisions_of_one_moment_stay_on_one_side_of_the_split() -> None:
    examples = decisions(100, cheap_and_often)
    same = [replace(one, at=examples[65].at) if 65 <= n < 80 else one
            for n, one in enumerate(examples)]  # fmt: skip
    learn, later = split(same)
    assert (len(learn), len(later)) == (65, 35)
