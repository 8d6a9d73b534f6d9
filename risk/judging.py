"""Judging by rules: a pure function of facts, compiled once for each program.

Truth has three values (``None`` is unknown). A rule whose condition cannot be told asks for
review; so does one that fails with an error, for that order alone. The worst tier wins, whoever
found it, and every rule that hit is kept.
"""

import logging
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import time
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Any, Final

from ordercenter.core.clock import SHANGHAI
from risk.contracts import (
    EXEMPT,
    HISTORY,
    NOT_APPLICABLE,
    NOTHING_AROUND,
    SPENT,
    Around,
    Facts,
    FactValue,
    Finding,
    Judgement,
    Seen,
    Subject,
)
from risk.language import (
    All,
    Compare,
    FactSpec,
    Node,
    Not,
    Outcome,
    Program,
    Rule,
    Scope,
    compares,
)
from risk.sentences import describe, limit_text, sentence_of, show

logger = logging.getLogger(__name__)
REVIEW: Final = "2"
UNKNOWN: Final = Seen(None)
SHOWN_WORDS: Final = 10
Truth = bool | None
Values = Sequence[FactValue]
Test = Callable[[Values], Truth]
Fits = Callable[[Subject], bool]
_OPERATORS: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    ">=": operator.ge,
    ">": operator.gt,
    "<": operator.lt,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
}


@dataclass(frozen=True, slots=True)
class Ready:
    """One rule ready to judge with, and everything of it that every order shares."""

    rule: Rule
    fits: Fits | None
    test: Test
    compares: tuple[Compare, ...]
    """Every comparison, from left to right."""
    speaking: tuple[tuple[Compare, Test], ...]
    """Those that are not negated: where they hold they speak for the hit."""
    limits: tuple[str, ...]
    unsure: Outcome
    """What follows where nobody can tell: a review, whatever the rule would have done."""


@dataclass(frozen=True, slots=True)
class Compiled:
    """A program ready to judge with."""

    run: Callable[[Subject, Facts, Around], Judgement]
    rules: tuple[Ready, ...]


def judge(
    subject: Subject, program: Program, facts: Facts, around: Around = NOTHING_AROUND
) -> Judgement:
    """Apply every rule to one order. Pure: the same facts give the same judgement."""
    return compiled(program).run(subject, facts, around)


def judge_many(
    subjects: Sequence[Subject],
    program: Program,
    facts: Sequence[Facts],
    around: Mapping[int, Around],
) -> list[Judgement]:
    """Judge a batch; ``around`` by order, where there is anything."""
    run = compiled(program).run
    return [
        run(subject, told, around.get(subject.order_id, NOTHING_AROUND))
        for subject, told in zip(subjects, facts, strict=True)
    ]


def findings_of(judgement: Judgement) -> list[Finding]:
    """What every rule of the program said, those that did not hit with the values they saw."""
    found = {finding.code: finding for finding in judgement.found}
    return [
        found.get(ready.rule.code)
        or Finding(
            ready.rule.code, hit=False, tier=ready.rule.outcome.tier, words="",
            seen=_seen_by(ready, judgement.facts), limits=ready.limits,
        )
        for ready in compiled(judgement.program).rules
    ]  # fmt: skip


def facts_shown(judgement: Judgement) -> dict[str, str]:
    """Every fact by its label, as people read it; typed text only as far as it is asked for."""
    asked = {one.spec: one for ready in compiled(judgement.program).rules for one in ready.compares}
    return {
        spec.label: shown(asked[spec], judgement.facts.get(spec, UNKNOWN))
        for spec in judgement.program.specs
    }


def shown(one: Compare, seen: Seen) -> str:
    """The value a comparison saw; of typed text the words it was asked for."""
    if isinstance(seen.value, str) and isinstance(one.value, tuple):
        return "、".join([w for w in one.value if w in seen.value][:SHOWN_WORDS]) or "无"
    return show(seen.value)


def _seen_by(ready: Ready, facts: Facts) -> tuple[str, ...]:
    return tuple([shown(one, facts.get(one.spec, UNKNOWN)) for one in ready.compares])


# --- compiling ------------------------------------------------------------------------------------


@lru_cache(maxsize=16)
def compiled(program: Program) -> Compiled:
    """One function for the whole program, made of closures: no text is ever evaluated."""
    specs = program.specs
    places = {spec: place for place, spec in enumerate(specs)}
    rules = tuple(_ready(rule, places) for rule in program.rules)

    def run(subject: Subject, facts: Facts, around: Around) -> Judgement:
        values = [facts[spec].value if spec in facts else None for spec in specs]
        found: list[Finding] = []
        tier = "0"
        for ready in rules:
            try:
                if ready.fits is not None and not ready.fits(subject):
                    continue
                truth = ready.test(values)
                if truth is False:
                    continue
                if truth:
                    finding = _hit(ready, values, facts, around)
                else:
                    finding = _unsure(ready, facts, around)
            except Exception as failed:
                logger.exception("rule %s failed for order %s", ready.rule.code, subject.order_id)
                finding = _unsure(ready, facts, around, type(failed).__name__)
            found.append(finding)
            if finding.tier > tier and not finding.skipped:
                tier = finding.tier
        return Judgement(subject, tier, tuple(found), program, facts, around)

    return Compiled(run, rules)


def _ready(rule: Rule, places: Mapping[FactSpec, int]) -> Ready:
    asked = tuple(compares(rule.when))
    outcome = rule.outcome
    return Ready(
        rule,
        fits_of(rule.scope),
        test_of(rule.when, places),
        asked,
        tuple((one, _comparison(one, places[one.spec])) for one in _plain_parts(rule.when)),
        tuple(limit_text(one) for one in asked),
        Outcome(REVIEW, tag=outcome.tag, notify=outcome.notify),
    )


def _plain_parts(node: Node) -> list[Compare]:
    if isinstance(node, Compare):
        return [node]
    return [] if isinstance(node, Not) else [one for p in node.parts for one in _plain_parts(p)]


def test_of(node: Node, places: Mapping[FactSpec, int]) -> Test:
    """The condition as a function of the facts' values, in the order of ``places``."""
    if isinstance(node, Compare):
        return _comparison(node, places[node.spec])
    if isinstance(node, Not):
        inner = test_of(node.part, places)

        def negated(values: Values) -> Truth:
            truth = inner(values)
            return None if truth is None else not truth

        return negated
    tests = tuple(test_of(part, places) for part in node.parts)
    decides = not isinstance(node, All)  # a false part decides "and", a true one "or"

    def joined(values: Values) -> Truth:
        result: Truth = not decides
        for test in tests:
            truth = test(values)
            if truth is decides:
                return decides
            if truth is None:
                result = None
        return result

    return tests[0] if len(tests) == 1 else joined


def _comparison(one: Compare, place: int) -> Test:
    if isinstance(one.value, tuple):
        return _texts(one, place)
    limit = _exact(one)
    compare = operator.eq if one.op == "is" else _OPERATORS[one.op]

    def test(values: Values) -> Truth:
        value = values[place]
        if value is None:
            return None
        return value is not NOT_APPLICABLE and compare(value, limit)

    return test


def _exact(one: Compare) -> Decimal | Fraction | int | bool:
    """The limit as the kind of number the fact is of; they compare exactly."""
    assert not isinstance(one.value, tuple)
    if isinstance(one.value, bool) or one.spec.kind.type == "money":
        return one.value
    exact = Fraction(one.value)
    is_whole = one.spec.kind.type != "ratio" and exact.denominator == 1
    return exact.numerator if is_whole else exact


def _texts(one: Compare, place: int) -> Test:
    assert isinstance(one.value, tuple)
    texts, op = frozenset(one.value), one.op

    def test(values: Values) -> Truth:
        value = values[place]
        if value is None or value is NOT_APPLICABLE:
            return None if value is None else False
        if isinstance(value, str):
            return any(word in value for word in texts)
        assert isinstance(value, frozenset)
        if op == "in":
            return bool(value) and value <= texts
        return value.isdisjoint(texts) is (op == "not_in")

    return test


def fits_of(scope: Scope) -> Fits | None:
    """Whether an order lies in a scope; None where every order does."""
    parts: list[Fits] = []
    if scope.shops:
        parts.append(lambda s: s.shop in scope.shops)
    if scope.channels:
        parts.append(lambda s: s.channel in scope.channels)
    if scope.categories:
        parts.append(lambda s: not s.categories.isdisjoint(scope.categories))
    low, below = scope.amount_from, scope.amount_below
    if low is not None:
        parts.append(lambda s: s.amount >= low)
    if below is not None:
        parts.append(lambda s: s.amount < below)
    if scope.hours is not None:
        begin, end = scope.hours
        parts.append(lambda s: _within(s, begin, end))
    if len(parts) <= 1:
        return parts[0] if parts else None
    return lambda s: all(part(s) for part in parts)


def _within(subject: Subject, begin: time, end: time) -> bool:
    at = subject.placed_at.astimezone(SHANGHAI).time()
    return begin <= at < end if begin < end else at >= begin or at < end


# --- what is said of a hit ------------------------------------------------------------------------


def _unsure(ready: Ready, facts: Facts, around: Around, error: str = "") -> Finding:
    """The rule could not be judged; nobody is exempt from being looked at."""
    rule = ready.rule
    seen = [facts.get(one.spec, UNKNOWN) for one in ready.compares]
    told = "；".join(dict.fromkeys(one.detail for one in seen if one.value is None and one.detail))
    why = f"规则执行出错（{error}）" if error else f"缺少判断依据{f'（{told}）' if told else ''}"
    return Finding(
        rule.code, hit=True, tier=REVIEW, words=f"{rule.name}：{why}，需人工确认",
        seen=_seen_by(ready, facts), limits=ready.limits, outcome=ready.unsure,
        error=error or "unknown fact", skipped=_skipped(rule, around, may_exempt=False),
    )  # fmt: skip


def _hit(ready: Ready, values: Values, facts: Facts, around: Around) -> Finding:
    rule = ready.rule
    told = [(one, facts[one.spec]) for one, test in ready.speaking if test(values)]
    said = "；".join([describe(one, seen) for one, seen in told]) or sentence_of(rule.when)
    return Finding(
        rule.code, hit=True, tier=rule.outcome.tier, words=f"{rule.name}：{said}",
        seen=_seen_by(ready, facts), limits=ready.limits,
        orders=tuple(dict.fromkeys([pk for _, seen in told for pk in seen.orders])),
        outcome=rule.outcome, skipped=_skipped(rule, around, may_exempt=True),
    )  # fmt: skip


def _skipped(rule: Rule, around: Around, *, may_exempt: bool) -> str:
    if around is NOTHING_AROUND:
        return ""
    if around.is_history:
        return HISTORY
    if rule.code in around.spent:
        return SPENT
    is_exempt = rule.code in around.exempt or "" in around.exempt
    return EXEMPT if is_exempt and may_exempt and rule.outcome.tier == REVIEW else ""
