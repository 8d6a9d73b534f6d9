"""Truth of three values, scopes, what speaks against acting, and judging again by what was kept."""

import json
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given

from ordercenter.core.bulk import dumps
from ordercenter.core.clock import SHANGHAI
from risk.contracts import NOT_APPLICABLE, Around, FactValue, Judgement, Seen, SubjectLine
from risk.explaining import truth_of
from risk.facts import facts_from_inputs
from risk.judging import facts_shown, findings_of, judge, judge_many
from risk.language import FactSpec, Node, Program
from risk.rows import inputs_of, plain, tags_of, texts_of
from tests.risk.tools import NOON, batches, judged, program, rule, subject

LARGE = {"fact": "amount", "op": ">", "value": "100"}
MANY = {"fact": "units", "op": ">", "value": "5"}
RUSH = {"fact": "is_rush", "op": "is", "value": True}
T, F, U = Decimal(200), Decimal(50), None


def condition(told: dict[str, Any]) -> Node:
    return program(rule(told)).rules[0].when


def truth(told: dict[str, Any], **values: FactValue) -> bool | None:
    return truth_of(condition(told), {FactSpec(n): Seen(v) for n, v in values.items()})


@pytest.mark.parametrize(
    ("one", "other", "both", "either"),
    [
        (T, 9, True, True), (T, 1, False, True), (T, U, None, True),
        (F, 9, False, True), (F, 1, False, False), (F, U, False, None),
        (U, 9, None, True), (U, 1, False, None), (U, U, None, None),
    ],
)  # fmt: skip
def test_and_and_or_know_three_values(
    one: Decimal | None, other: int | None, both: bool | None, either: bool | None
) -> None:
    assert truth({"all": [LARGE, MANY]}, amount=one, units=other) is both
    assert truth({"any": [LARGE, MANY]}, amount=one, units=other) is either


def test_not_turns_round_what_is_known_and_leaves_what_is_not() -> None:
    assert truth({"not": LARGE}, amount=T) is False
    assert truth({"not": LARGE}, amount=F) is True
    assert truth({"not": LARGE}, amount=None) is None


def test_a_fact_that_does_not_apply_makes_its_comparison_false_and_its_negation_true() -> None:
    for told in (LARGE, {**LARGE, "op": "<"}, {**LARGE, "op": "!="}):
        assert truth(told, amount=NOT_APPLICABLE) is False
        assert truth({"not": told}, amount=NOT_APPLICABLE) is True


@pytest.mark.parametrize(
    ("op", "values", "expected"),
    [
        ("in", {"江苏省"}, True), ("in", {"江苏省", "广东省"}, False), ("in", set(), False),
        ("not_in", {"江苏省"}, False), ("not_in", {"广东省"}, True), ("not_in", set(), True),
        ("has_any", {"江苏省", "广东省"}, True), ("has_any", {"广东省"}, False),
    ],
)  # fmt: skip
def test_sets_are_within_without_or_overlapping(op: str, values: set[str], expected: bool) -> None:
    told = {"fact": "province", "op": op, "value": ["江苏省", "浙江省"]}
    assert truth(told, province=frozenset(values)) is expected


def test_words_are_found_whatever_their_width_case_and_blanks() -> None:
    told = {"fact": "remark", "op": "has_any", "value": ["ＶＩＰ 客户"]}  # noqa: RUF001 - wide on purpose
    assert truth(told, remark="这是vip客户的单") is True
    assert truth(told, remark="这是客户") is False


# --- scope ----------------------------------------------------------------------------------------


def line(category: str, *, is_gift: bool = False) -> SubjectLine:
    return SubjectLine(1, "A", 1, Decimal(1), None, is_gift=is_gift, category=category)


@pytest.mark.parametrize(
    ("scope", "fits"),
    [
        ({"shops": ["TB01", "TB02"]}, True), ({"shops": ["TB02"]}, False),
        ({"channels": ["taobao"]}, True), ({"channels": ["jd"]}, False),
        ({"categories": ["家纺"]}, True), ({"categories": ["赠品"]}, False),
        ({"amount": {"from": "100"}}, True), ({"amount": {"from": "100.01"}}, False),
        ({"amount": {"below": "100.01"}}, True), ({"amount": {"below": "100"}}, False),
        ({"shops": ["TB01"], "channels": ["jd"]}, False),
    ],
)  # fmt: skip
def test_a_rule_counts_in_its_scope_only(scope: dict[str, Any], fits: bool) -> None:
    order = subject(shop="TB01", channel="taobao", lines=(line("家纺"), line("赠品", is_gift=True)))
    assert bool(judge(order, program(rule(scope=scope)), {}).hits) is fits


@pytest.mark.parametrize(
    ("at", "fits"),
    [("21:59:59", False), ("22:00:00", True), ("00:00:00", True), ("05:59:59", True),
     ("06:00:00", False), ("12:00:00", False)],
)  # fmt: skip
def test_a_window_of_the_night_goes_over_midnight(at: str, fits: bool) -> None:
    night = program(rule(scope={"hours": {"from": "22:00", "to": "06:00"}}))
    placed = datetime.fromisoformat(f"2026-03-01T{at}").replace(tzinfo=SHANGHAI)
    assert bool(judge(subject(placed_at=placed), night, {}).hits) is fits


def test_an_unknown_fact_out_of_scope_asks_for_nothing() -> None:
    asked = program(rule(LARGE, scope={"shops": ["TB02"]}))
    assert judge(subject(shop="TB01"), asked, {FactSpec("amount"): Seen(None)}).tier == "0"


# --- what goes wrong, and what does not count -----------------------------------------------------


def test_a_rule_that_fails_asks_for_review_and_the_others_are_still_judged() -> None:
    asked = program(rule(LARGE, code="fails", tier="3"), rule(MANY, code="works", tier="0"))
    facts = {FactSpec("amount"): Seen("text"), FactSpec("units"): Seen(9)}
    found = judge(subject(), asked, facts)
    assert found.tier == "2"
    assert [(f.code, f.tier, f.error) for f in found.hits] == [
        ("fails", "2", "TypeError"), ("works", "0", ""),
    ]  # fmt: skip


def test_a_fact_nobody_computed_is_unknown() -> None:
    assert judge(subject(), program(rule(LARGE, tier="3")), {}).tier == "2"


def test_of_two_rules_that_contradict_the_stricter_counts_and_both_are_shown() -> None:
    asked = program(rule(LARGE, code="pass", tier="0"), rule(LARGE, code="freeze", tier="3"))
    found = judge(subject(), asked, {FactSpec("amount"): Seen(T)})
    assert (found.tier, [f.code for f in found.hits]) == ("3", ["pass", "freeze"])


def hit(around: Around, tier: str = "2", value: Decimal | None = T) -> Judgement:
    return judge(subject(), program(rule(LARGE, tier=tier)), {FactSpec("amount"): Seen(value)},
                 around)  # fmt: skip


@pytest.mark.parametrize(
    ("around", "why"),
    [(Around(exempt=frozenset({"r"})), "exempt"), (Around(exempt=frozenset({""})), "exempt"),
     (Around(spent=frozenset({"r"})), "budget"), (Around(is_history=True), "history")],
)  # fmt: skip
def test_a_hit_that_is_skipped_is_kept_with_its_reason_and_counts_for_nothing(
    around: Around, why: str
) -> None:
    found = hit(around)
    assert (found.tier, found.hits) == ("0", ())
    assert [f.skipped for f in findings_of(found)] == [why]
    assert plain(found.found[0])["skipped"] == why


def test_nobody_is_exempt_from_a_freeze_or_from_what_could_not_be_judged() -> None:
    everything = Around(exempt=frozenset({""}))
    assert hit(everything, tier="3").tier == "3"
    assert hit(everything, value=None).tier == "2"


def test_a_finding_speaks_of_what_held_and_shows_every_value() -> None:
    asked = program({**rule({"any": [LARGE, MANY]}), "name": "大单"})
    found = judge(subject(), asked, {FactSpec("amount"): Seen(T), FactSpec("units"): Seen(1)})
    (finding,) = found.hits
    assert finding.words == "大单：应付金额 200 元，规则为超过 100 元"
    assert (finding.seen, finding.limits) == (("200", "1"), ("> 100", "> 5"))


def test_a_text_is_shown_by_the_words_asked_for_and_never_whole() -> None:
    told = {"fact": "remark", "op": "has_any", "value": ["加急"]}
    found = judge(subject(), program(rule(told)), {FactSpec("remark"): Seen("电话13800138000加急")})
    everything = json.dumps([facts_shown(found), inputs_of(found), plain(found.hits[0])])
    assert "13800138000" not in everything
    assert facts_shown(found) == {"remark": "加急"}


def test_what_tier_1_puts_right_by_itself_is_no_tag_unless_its_rule_gives_one() -> None:
    facts = {FactSpec("amount"): Seen(T)}
    quiet, loud = rule(LARGE, tier="1"), rule(LARGE, tier="1", outcome={"tag": "大单"})
    assert tags_of(judge(subject(), program(quiet), facts)) == []
    assert tags_of(judge(subject(), program(loud), facts)) == ["大单"]
    assert tags_of(judge(subject(), program(rule(LARGE, tier="0")), facts)) == ["r"]


# --- again ----------------------------------------------------------------------------------------


def stored(found: Judgement) -> str:
    """A verdict as it is kept."""
    rows = [plain(finding) for finding in findings_of(found)]
    return json.dumps([found.tier, rows, facts_shown(found)], default=str)


def again(found: Judgement) -> Judgement:
    """Judged by what was kept of it, through JSON and back."""
    kept = json.loads(json.dumps(inputs_of(found)))
    told = facts_from_inputs(found.order_id, found.program, kept)
    assert told is not None
    order, facts, around = told
    return judge(order, found.program, facts, around)


@given(judged())
def test_a_verdict_is_the_same_when_it_is_judged_again_by_its_inputs(
    told: tuple[Program, dict[FactSpec, Seen]],
) -> None:
    found = judge(subject(), *told)
    assert stored(again(found)) == stored(found)


def test_scope_orders_details_and_exemptions_are_kept_for_judging_again() -> None:
    scope = {"shops": ["TB01"], "categories": ["家纺"], "hours": {"from": "11:00", "to": "13:00"}}
    cheap = {"fact": "price_ratio", "op": "<", "value": "0.85"}
    asked = program(rule(cheap, scope=scope), rule(cheap, code="spent"), rule(cheap, code="free"))
    order = subject(shop="TB01", lines=(line("家纺"),))
    facts = {FactSpec("price_ratio"): Seen(Fraction(1, 3), (7, 8), "SOFA")}
    around = Around(frozenset({"spent"}), frozenset({"free"}))
    found = judge(order, asked, facts, around)
    assert [f.skipped for f in found.found] == ["", "budget", "exempt"]
    assert stored(again(found)) == stored(found)
    assert again(found).hits[0].orders == (7, 8)


def test_a_verdict_from_before_inputs_were_kept_cannot_be_judged_again() -> None:
    assert facts_from_inputs(1, program(rule(LARGE)), {}) is None


@given(batches())
def test_a_batch_is_judged_as_each_of_its_orders_alone(
    told: tuple[Program, list[dict[FactSpec, Seen]]],
) -> None:
    asked, facts = told
    orders = [subject(order_id=n) for n in range(1, len(facts) + 1)]
    around = {2: Around(exempt=frozenset({""})), 3: Around(is_history=True)}
    together = judge_many(orders, asked, facts, around)
    alone = [
        judge(order, asked, seen, around.get(order.order_id, Around()))
        for order, seen in zip(orders, facts, strict=True)
    ]
    assert [(one.order_id, one.tier, one.found) for one in together] == [
        (one.order_id, one.tier, one.found) for one in alone
    ]
    for one in together:
        truths = {r.code: truth_of(r.when, one.facts) for r in asked.rules}
        assert {f.code for f in one.found} == {
            c for c, truth in truths.items() if truth is not False
        }


def test_in_a_batch_a_rule_fails_for_the_order_alone_that_it_cannot_judge() -> None:
    asked = program(
        rule(LARGE, code="fails", scope={"shops": ["TB01"]}), rule(MANY, code="works", tier="0")
    )
    facts = [
        {FactSpec("amount"): Seen(value), FactSpec("units"): Seen(9)} for value in ("text", T, F, T)
    ]
    shops = ("TB01", "TB01", "TB01", "TB02")
    orders = [subject(order_id=n, shop=shop) for n, shop in enumerate(shops)]
    found = judge_many(orders, asked, facts, {})
    assert [[(f.code, f.error) for f in one.hits] for one in found] == [
        [("fails", "TypeError"), ("works", "")], [("fails", ""), ("works", "")],
        [("works", "")], [("works", "")],
    ]  # fmt: skip


def test_what_a_rule_says_of_a_plain_yes_is_not_said_of_a_yes_with_a_reason() -> None:
    asked = program(rule({"fact": "in_list", "list": "b", "op": "is", "value": True}))
    (spec,) = asked.specs
    told = [Seen(value=True), Seen(value=True, detail="代拍"), Seen(value=True), Seen(None)]
    orders = [subject(order_id=n) for n in range(4)]
    found = judge_many(
        orders, asked, [{spec: seen} for seen in told], {0: Around(frozenset({"r"}))}
    )
    assert [one.found[0].skipped for one in found] == ["budget", "", "", ""]
    assert ["代拍" in one.found[0].words for one in found] == [False, True, False, False]
    assert [one.found[0].error for one in found] == ["", "", "", "unknown fact"]


@given(judged())
def test_the_text_of_a_verdict_says_what_its_parts_say(
    told: tuple[Program, dict[FactSpec, Seen]],
) -> None:
    asked, facts = told
    spec = next(iter(facts))
    facts = {**facts, spec: facts[spec]._replace(orders=(7, 8), detail='"a\\b"\n')}
    found = judge(subject(shop='T"B'), asked, facts, Around(spent=frozenset({"r0"})))
    texts = texts_of(found)
    assert json.loads(texts.findings) == json.loads(dumps([plain(f) for f in findings_of(found)]))
    assert json.loads(texts.facts) == facts_shown(found)
    assert json.loads(texts.inputs) == json.loads(dumps(inputs_of(found)))


def test_judging_changes_nothing_of_what_it_is_given() -> None:
    asked, order = program(rule(LARGE)), subject(placed_at=NOON)
    facts = {FactSpec("amount"): Seen(T)}
    before = (dict(facts), replace(order))
    judge(order, asked, facts)
    assert (facts, order) == before
