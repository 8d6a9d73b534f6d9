"""Why a rule hit an order or did not, and the smallest change that would turn it round.

What is suggested is tried before it is said: with these values the rule really says the
opposite. Nothing is suggested where nothing would do (a rule without conditions).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Final

from risk.conditions import Truth, fits_of, test_of
from risk.contracts import NOT_APPLICABLE, NOTHING_AROUND, Around, Facts, FactValue, Seen, Subject
from risk.judging import UNKNOWN, judge, shown
from risk.language import All, Compare, FactSpec, Node, Not, Program, Rule, compares
from risk.registry import NUMBERS
from risk.sentences import fact_words, limit_text, scope_words, show

KEPT: Final = 40
"""So many half-made suggestions are followed up at a time, the nearest first."""
OFF, SCOPE = "off", "scope"
SKIPPED: Final[Mapping[str, str]] = {
    OFF: "规则已停用",
    SCOPE: "不在规则适用范围内",
    "history": "接收前已完结的历史订单",
    "exempt": "客户已豁免",
    "budget": "已达到本单挂起次数上限",
}
_STEPS: Final[Mapping[str, Fraction]] = {
    "count": Fraction(1),
    "number": Fraction(1),
    "money": Fraction(1, 100),
    "ratio": Fraction(1, 10_000),
}
"""The next value a fact can have; of ratios one that can still be read."""
_OTHER: Final = "（其他）"


@dataclass(frozen=True, slots=True)
class Condition:
    """One comparison with the value seen. ``truth`` is None where it is unknown.

    ``distance`` is how far the value lies from the limit, for numbers that are known.
    """

    words: str
    seen: str
    limit: str
    truth: Truth
    distance: Fraction | None = None
    is_negated: bool = False


@dataclass(frozen=True, slots=True)
class Change:
    """One fact, as it is and as it would have to be."""

    spec: FactSpec
    now: FactValue
    then: FactValue
    words: str


@dataclass(frozen=True, slots=True)
class Explained:
    """One rule and one order. ``fired``: it hit and counted; ``skipped`` says why it did not
    count, or was not asked; ``flip`` is the smallest change that turns the condition round."""

    code: str
    name: str
    tier: str
    fired: bool
    truth: Truth
    skipped: str
    words: str
    conditions: tuple[Condition, ...]
    flip: tuple[Change, ...]

    @property
    def skipped_words(self) -> str:
        return SKIPPED.get(self.skipped, "")


def explain(
    subject: Subject, program: Program, facts: Facts, around: Around = NOTHING_AROUND
) -> list[Explained]:
    """Every rule of the program, those switched off too, with what it saw of this order."""
    found = {one.code: one for one in judge(subject, program, facts, around).found}
    told = []
    for rule in (*program.rules, *program.off):
        fits = fits_of(rule.scope)
        finding = found.get(rule.code)
        skipped = finding.skipped if finding else ""
        if not rule.enabled:
            skipped = OFF
        elif fits is not None and not fits(subject):
            skipped = SCOPE
        truth = truth_of(rule.when, facts)
        told.append(
            Explained(
                rule.code,
                rule.name,
                finding.tier if finding else rule.outcome.tier,
                finding is not None and not skipped,
                truth,
                skipped,
                finding.words if finding else _why_not(rule, skipped),
                tuple(_conditions(rule.when, facts)),
                flip_of(rule.when, facts),
            )
        )
    return told


def _why_not(rule: Rule, skipped: str) -> str:
    if skipped == SCOPE:
        return f"仅限{scope_words(rule.scope)}"
    return SKIPPED[skipped] if skipped else ""


def truth_of(node: Node, facts: Facts) -> Truth:
    """Whether a condition holds of these facts; a fact that is not there is unknown."""
    specs = list(dict.fromkeys(one.spec for one in compares(node)))
    places = {spec: place for place, spec in enumerate(specs)}
    return test_of(node, places)([facts.get(spec, UNKNOWN).value for spec in specs])


def _conditions(node: Node, facts: Facts, *, negated: bool = False) -> Iterable[Condition]:
    if isinstance(node, Not):
        yield from _conditions(node.part, facts, negated=not negated)
    elif isinstance(node, Compare):
        seen = facts.get(node.spec, UNKNOWN)
        yield Condition(
            fact_words(node.spec), shown(node, seen), limit_text(node), truth_of(node, facts),
            _distance(node, seen.value), negated,
        )  # fmt: skip
    else:
        for part in node.parts:
            yield from _conditions(part, facts, negated=negated)


def _number(value: FactValue) -> Fraction | None:
    is_number = isinstance(value, int | Decimal | Fraction) and not isinstance(value, bool)
    return Fraction(value) if is_number else None  # type: ignore[arg-type]


def _distance(one: Compare, value: FactValue) -> Fraction | None:
    seen = _number(value)
    return abs(Fraction(one.value) - seen) if seen is not None and _is_number(one) else None  # type: ignore[arg-type]


def _is_number(one: Compare) -> bool:
    return one.spec.kind.type in NUMBERS


# --- the smallest change --------------------------------------------------------------------------

Changes = Mapping[FactSpec, FactValue]


@dataclass(frozen=True, slots=True)
class Goal:
    """What a condition is to become."""

    truth: bool
    or_unknown: bool

    def reached(self, truth: Truth) -> bool:
        return self.or_unknown if truth is None else truth is self.truth

    @property
    def opposite(self) -> "Goal":
        return Goal(not self.truth, self.or_unknown)


def flip_of(node: Node, facts: Facts) -> tuple[Change, ...]:
    """The smallest change of facts that turns a condition round; none where nothing does.

    A condition that is unknown fires: what makes a false one unknown turns it round as well,
    and what makes it false turns it back.
    """
    fires = truth_of(node, facts) is not False
    goal = Goal(truth=not fires, or_unknown=not fires)
    for changes in _ways(node, facts, _possible(node, facts), goal):
        changed = {**facts, **{spec: Seen(value) for spec, value in changes.items()}}
        if changes and goal.reached(truth_of(node, changed)):
            return tuple(_told(spec, facts, value) for spec, value in changes.items())
    return ()


def _told(spec: FactSpec, facts: Facts, value: FactValue) -> Change:
    now = facts.get(spec, UNKNOWN).value
    was = "不适用" if now is NOT_APPLICABLE else show(now)
    unit = spec.kind.unit if spec.kind.type in NUMBERS else ""
    words = f"{fact_words(spec)}现为 {was}，变为 {show(value)} {unit}".strip()
    return Change(spec, now, value, words)


def _possible(node: Node, facts: Facts) -> Mapping[FactSpec, Sequence[FactValue]]:
    """For each fact the values at which some comparison turns, the nearest first."""
    found: dict[FactSpec, list[FactValue]] = {}
    for one in compares(node):
        now = facts.get(one.spec, UNKNOWN).value
        found.setdefault(one.spec, []).extend(_turns(one, now))
    return {
        spec: sorted(
            dict.fromkeys(values),
            key=lambda value, spec=spec: _cost(facts.get(spec, UNKNOWN).value, value),  # type: ignore[misc]
        )
        for spec, values in found.items()
    }


def _turns(one: Compare, now: FactValue) -> Iterable[FactValue]:
    """Values on both sides of a comparison's limit."""
    if isinstance(one.value, bool):
        return (True, False)
    if isinstance(one.value, tuple):
        return _texts(one, one.value, now)
    step = _STEPS[one.spec.kind.type]
    limit = Fraction(one.value)
    if one.spec.kind.type in {"count", "number"}:
        low = Fraction(limit.numerator // limit.denominator)
        sides = {low - 1, low, low + 1, low + 2}
    else:
        sides = {limit - step, limit, limit + step}
    return [_as_fact(one, side) for side in sorted(sides) if side >= 0]


def _as_fact(one: Compare, value: Fraction) -> FactValue:
    kind = one.spec.kind.type
    if kind == "money":
        return Decimal(value.numerator) / Decimal(value.denominator)
    return value if kind == "ratio" else int(value)


def _texts(one: Compare, texts: tuple[str, ...], now: FactValue) -> Iterable[FactValue]:
    if one.spec.kind.type == "text":
        text = now if isinstance(now, str) else ""
        without = text
        for word in texts:
            without = without.replace(word, "")
        # Taking words out may join others: what still holds one is of no use.
        return [text + texts[0], without if not any(w in without for w in texts) else ""]
    has = now if isinstance(now, frozenset) else frozenset()
    return [has | {texts[0]}, has - set(texts), frozenset({texts[0]}), frozenset({_OTHER})]


def _cost(now: FactValue, then: FactValue) -> Fraction:
    """How far a fact has to go: of numbers the part of the larger, of all else one."""
    if now == then and type(now) is type(then):
        return Fraction(0)
    one, other = _number(now), _number(then)
    if one is None or other is None:
        return Fraction(1)
    return min(abs(one - other) / max(abs(one), abs(other), Fraction(1)), Fraction(1))


def _total(changes: Changes, facts: Facts) -> tuple[int, Fraction]:
    """Fewer changes come first, then the shorter way."""
    far = sum((_cost(facts.get(s, UNKNOWN).value, v) for s, v in changes.items()), Fraction(0))
    return len(changes), far


def _ways(
    node: Node,
    facts: Facts,
    values: Mapping[FactSpec, Sequence[FactValue]],
    goal: Goal,
) -> list[Changes]:
    """Ways to bring a condition there, the smallest first."""
    if isinstance(node, Not):
        return _ways(node.part, facts, values, goal.opposite)
    if isinstance(node, Compare):
        # As it is may do; other values may be needed by another comparison of the fact.
        kept: list[Changes] = [{}] if goal.reached(truth_of(node, facts)) else []
        fitting = [
            value for value in values[node.spec]
            if truth_of(node, {node.spec: Seen(value)}) is goal.truth
        ]  # fmt: skip
        return [*kept, *({node.spec: value} for value in fitting)]
    parts = [_ways(part, facts, values, goal) for part in node.parts]
    if isinstance(node, All) is not goal.truth:
        return _nearest([way for ways in parts for way in ways], facts)
    joined: list[Changes] = [{}]
    for ways in parts:
        joined = _nearest(
            [{**one, **other} for one in joined for other in ways if _agree(one, other)], facts
        )
    return joined


def _agree(one: Changes, other: Changes) -> bool:
    return all(one[spec] == value for spec, value in other.items() if spec in one)


def _nearest(ways: Iterable[Changes], facts: Facts) -> list[Changes]:
    return sorted(ways, key=lambda way: _total(way, facts))[:KEPT]
