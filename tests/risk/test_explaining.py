"""What would have to be otherwise: a suggestion that is followed really turns a rule round."""

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction

from hypothesis import given, settings

from risk.contracts import NOT_APPLICABLE, Around, FactValue, Seen
from risk.explaining import Explained, explain
from risk.judging import judge
from risk.language import FactSpec, Program
from tests.risk.tools import judged, program, rule, subject

AMOUNT, UNITS, RATIO = FactSpec("amount"), FactSpec("units"), FactSpec("price_ratio")
LARGE = {"fact": "amount", "op": ">", "value": "5000"}
MANY = {"fact": "units", "op": ">=", "value": "3"}
CHEAP = {"fact": "price_ratio", "op": "<", "value": "0.85"}


def explained(asked: Program, facts: dict[FactSpec, Seen], **more: Around) -> Explained:
    (found,) = explain(subject(), asked, facts, **more)
    return found


@settings(max_examples=300, deadline=None)
@given(judged())
def test_following_a_suggestion_turns_the_rule_round(
    told: tuple[Program, dict[FactSpec, Seen]],
) -> None:
    asked, facts = told
    for found in explain(subject(), asked, facts):
        if not found.flip:
            continue
        changed = {**facts, **{one.spec: Seen(one.then) for one in found.flip}}
        hits = {one.code for one in judge(subject(), asked, changed).hits}
        assert (found.code in hits) is not found.fired


@settings(max_examples=200, deadline=None)
@given(judged())
def test_whatever_a_single_fact_can_turn_round_has_a_suggestion(
    told: tuple[Program, dict[FactSpec, Seen]],
) -> None:
    """Found another way: every fact is set to many values, one at a time."""
    asked, facts = told
    for found in explain(subject(), asked, facts):
        if len(found.flip) == 1:
            continue
        for spec in asked.specs:
            for value in tries(spec):
                hits = judge(subject(), asked, {**facts, spec: Seen(value)}).hits
                is_turned = (found.code in {one.code for one in hits}) is not found.fired
                assert not is_turned, (spec, value, found)


def tries(spec: FactSpec) -> Sequence[FactValue]:
    kind = spec.kind.type
    if kind == "bool":
        return [True, False]
    if kind == "ratio":
        return [Fraction(n, 200) for n in range(402)]
    if kind == "money":
        return [Decimal(n) / 4 for n in range(801)]
    if kind in {"set", "text"}:
        return []  # of words and places any other will do; the first test follows them
    return list(range(12))


def test_the_nearest_limit_is_named_with_its_distance() -> None:
    found = explained(program(rule(LARGE, MANY)), {AMOUNT: Seen(Decimal(4880)), UNITS: Seen(3)})
    assert not found.fired
    assert [(c.seen, c.limit, c.truth, c.distance) for c in found.conditions] == [
        ("4880", "> 5000", False, Fraction(120)), ("3", ">= 3", True, Fraction(0)),
    ]  # fmt: skip
    (change,) = found.flip
    assert (change.spec, change.then) == (AMOUNT, Decimal("5000.01"))
    assert change.words == "应付金额现为 4880，变为 5000.01 元"


def test_of_two_ways_the_shorter_is_named() -> None:
    asked = program(rule({"any": [LARGE, MANY]}))
    (change,) = explained(asked, {AMOUNT: Seen(Decimal(10)), UNITS: Seen(2)}).flip
    assert (change.spec, change.then) == (UNITS, 3)


def test_what_fired_says_what_would_have_kept_it_quiet() -> None:
    asked = program(rule(LARGE, CHEAP))
    facts = {AMOUNT: Seen(Decimal(9000)), RATIO: Seen(Fraction(84, 100))}
    (change,) = explained(asked, facts).flip
    assert (change.spec, change.then) == (RATIO, Fraction(85, 100))


def test_several_changes_are_named_where_one_is_not_enough() -> None:
    facts = {AMOUNT: Seen(Decimal(10)), UNITS: Seen(1)}
    flip = explained(program(rule(LARGE, MANY)), facts).flip
    assert {one.spec: one.then for one in flip} == {AMOUNT: Decimal("5000.01"), UNITS: 3}


def test_a_rule_without_conditions_cannot_be_turned_round() -> None:
    found = explained(program(rule()), {})
    assert (found.fired, found.flip) == (True, ())


def test_a_fact_that_does_not_apply_or_is_unknown_is_shown_so() -> None:
    facts = {AMOUNT: Seen(NOT_APPLICABLE), UNITS: Seen(None)}
    found = explained(program(rule({"any": [LARGE, MANY]})), facts)
    assert (found.fired, found.tier) == (True, "2")
    assert [c.truth for c in found.conditions] == [False, None]


def test_why_a_rule_was_not_asked_or_did_not_count_is_said() -> None:
    everywhere = {"shops": ["TB09"]}
    asked = program(
        rule(code="off", enabled=False), rule(code="elsewhere", scope=everywhere),
        rule(code="exempt"), rule(code="spent"),
    )  # fmt: skip
    around = Around(frozenset({"spent"}), frozenset({"exempt"}))
    found = {one.code: one for one in explain(subject(), asked, {}, around)}
    assert {code: one.skipped for code, one in found.items()} == {
        "elsewhere": "scope", "exempt": "exempt", "spent": "budget", "off": "off",
    }  # fmt: skip
    assert not any(one.fired for one in found.values())
    assert found["elsewhere"].words == "仅限店铺 TB09"
    assert found["off"].skipped_words == "规则已停用"
