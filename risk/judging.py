"""Judging by rules: a pure function of facts, compiled once for each program.

Truth has three values (``None`` is unknown). A rule whose condition cannot be told asks for
review; so does one that fails with an error, for that order alone. The worst tier wins, whoever
found it, and every rule that hit is kept.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from risk.conditions import (
    Columns,
    Fits,
    Sieve,
    Test,
    Values,
    comparison,
    fits_of,
    sieve_of,
    test_of,
)
from risk.contracts import (
    EXEMPT,
    HISTORY,
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
from risk.language import Compare, FactSpec, Node, Not, Outcome, Program, Rule, compares
from risk.sentences import describe, limit_text, sentence_of, show

logger = logging.getLogger(__name__)
REVIEW: Final = "2"
UNKNOWN: Final = Seen(None)
SHOWN_WORDS: Final = 10


@dataclass(frozen=True, slots=True)
class Ready:
    """One rule ready to judge with, and everything of it that every order shares."""

    rule: Rule
    fits: Fits | None
    test: Test
    sieve: Sieve
    compares: tuple[Compare, ...]
    """Every comparison, from left to right."""
    speaking: tuple[tuple[Compare, Test], ...]
    """Those that are not negated: where they hold they speak for the hit."""
    limits: tuple[str, ...]
    unsure: Outcome
    """What follows where nobody can tell: a review, whatever the rule would have done."""
    said: dict[Seen, Finding] | None
    """Of a rule that asks nothing but one yes or no what it has said: always the same."""

    def may_hit(self, subjects: Sequence[Subject], columns: Columns) -> Sequence[int]:
        """The places that are to be looked at: no other order is hit, or unknown to the rule."""
        among: Sequence[int] = range(len(subjects))
        try:
            if self.fits is not None:
                among = [n for n in among if self.fits(subjects[n])]
            return self.sieve(columns, among)
        except Exception:  # noqa: BLE001 - one by one it is told of which order
            return range(len(subjects))


@dataclass(frozen=True, slots=True)
class Compiled:
    """A program ready to judge with."""

    run: Callable[[Sequence[Subject], Sequence[Facts], Mapping[int, Around]], list[Judgement]]
    rules: tuple[Ready, ...]


def judge(
    subject: Subject, program: Program, facts: Facts, around: Around = NOTHING_AROUND
) -> Judgement:
    """Apply every rule to one order. Pure: the same facts give the same judgement."""
    (judgement,) = compiled(program).run((subject,), (facts,), {subject.order_id: around})
    return judgement


def judge_many(
    subjects: Sequence[Subject],
    program: Program,
    facts: Sequence[Facts],
    around: Mapping[int, Around],
) -> list[Judgement]:
    """Judge a batch; ``around`` by order, where there is anything."""
    return compiled(program).run(subjects, facts, around)


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
    """One function for the whole program, made of closures: no text is ever evaluated.

    A batch is judged rule by rule: most orders are ruled out by one look at a column of values,
    and only the others are looked at one by one.
    """
    specs = program.specs
    places = {spec: place for place, spec in enumerate(specs)}
    rules = tuple(_ready(rule, places) for rule in program.rules)

    def run(
        subjects: Sequence[Subject], facts: Sequence[Facts], around: Mapping[int, Around]
    ) -> list[Judgement]:
        columns = [_column(spec, facts) for spec in specs]
        beside = [around.get(subject.order_id, NOTHING_AROUND) for subject in subjects]
        batch = _Batch(subjects, columns, facts, beside)
        found: list[list[Finding]] = [[] for _ in subjects]
        for ready in rules:
            for n in ready.may_hit(subjects, columns):
                finding = _finding(ready, batch, n)
                if finding is not None:
                    found[n].append(finding)
        return [
            Judgement(subject, _worst(said), tuple(said), program, told, near)
            for subject, said, told, near in zip(subjects, found, facts, beside, strict=True)
        ]

    return Compiled(run, rules)


@dataclass(frozen=True, slots=True)
class _Batch:
    """The orders that are judged together; all are lists with a place for each order."""

    subjects: Sequence[Subject]
    columns: Columns
    facts: Sequence[Facts]
    around: Sequence[Around]


def _column(spec: FactSpec, facts: Sequence[Facts]) -> list[FactValue]:
    try:
        return [told[spec].value for told in facts]
    except KeyError:
        return [told.get(spec, UNKNOWN).value for told in facts]


def _worst(found: Sequence[Finding]) -> str:
    """The worst tier of what counts."""
    if not found:
        return "0"
    return max((finding.tier for finding in found if not finding.skipped), default="0")


def _ready(rule: Rule, places: Mapping[FactSpec, int]) -> Ready:
    asked = tuple(compares(rule.when))
    outcome = rule.outcome
    return Ready(
        rule,
        fits_of(rule.scope),
        test_of(rule.when, places),
        sieve_of(rule.when, places),
        asked,
        tuple((one, comparison(one, places[one.spec])) for one in _plain_parts(rule.when)),
        tuple(limit_text(one) for one in asked),
        Outcome(REVIEW, tag=outcome.tag, notify=outcome.notify),
        {} if len(asked) == 1 and asked[0].spec.kind.type == "bool" else None,
    )


def _plain_parts(node: Node) -> list[Compare]:
    if isinstance(node, Compare):
        return [node]
    return [] if isinstance(node, Not) else [one for p in node.parts for one in _plain_parts(p)]


# --- what is said of a hit ------------------------------------------------------------------------


def _finding(ready: Ready, batch: _Batch, n: int) -> Finding | None:
    """What one rule says of one order; None where it does not hit."""
    subject, facts, around = batch.subjects[n], batch.facts[n], batch.around[n]
    said = ready.said if around is NOTHING_AROUND else None
    seen = UNKNOWN
    try:
        if ready.fits is not None and not ready.fits(subject):
            return None
        if said is not None:
            seen = facts.get(ready.compares[0].spec, UNKNOWN)
            if seen in said:
                return said[seen]
        values = [column[n] for column in batch.columns]
        truth = ready.test(values)
        if truth is False:
            return None
        finding = _hit(ready, values, facts, around) if truth else _unsure(ready, facts, around)
    except Exception as failed:
        logger.exception("rule %s failed for order %s", ready.rule.code, subject.order_id)
        return _unsure(ready, facts, around, type(failed).__name__)
    if said is not None and not (seen.orders or seen.detail):
        said[seen] = finding
    return finding


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
