"""Short readable rules, mined from what people decided and proven on what they decided later.

Two kinds: ``stop`` describes orders that people mostly stopped, ``looser`` what they mostly let go
of the orders that one rule holds. A rule has at most three conditions with round limits. The
search sees the older decisions only; whatever does not hold on the later ones is not proposed.
"""

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from operator import attrgetter
from typing import Any, Final

from risk.examples import Example
from risk.language import FactSpec, digest_of

STOP: Final = "stop"
LOOSER: Final = "looser"
BEAM: Final = 40
FEW_VALUES: Final = 8
STEPS: Final = 20
SHOWN: Final = 10
BETTER: Final = 1.03
"""A further condition has to make a rule so many times better to be worth reading."""
SURE: Final = 2.576
"""Standard deviations of 99 %: of many rules tried, some look good by luck."""
_TURNED: Final = {">=": "<", "<": ">="}


@dataclass(frozen=True, slots=True)
class Limits:
    """What a rule has to show on the later decisions to be proposed."""

    support: int = 20
    precision: float = 0.8
    pass_precision: float = 0.95
    lift: float = 1.25
    conditions: int = 3
    most: int = 5


@dataclass(frozen=True, slots=True)
class Condition:
    """One comparison: ``>=`` or ``<`` a round number, or ``is`` yes or no."""

    spec: FactSpec
    op: str
    limit: Decimal | bool

    def holds(self, example: Example) -> bool:
        value = example.values.get(self.spec)
        if value is None:
            return False
        if isinstance(self.limit, bool):
            return bool(value) is self.limit
        return value >= float(self.limit) if self.op == ">=" else value < float(self.limit)

    def as_json(self) -> dict[str, Any]:
        """As the rule language writes it."""
        params = {
            name: list(told) if isinstance(told, tuple) else told for name, told in self.spec.params
        }
        value = self.limit if isinstance(self.limit, bool) else f"{self.limit:f}"
        return {"fact": self.spec.name, **params, "op": self.op, "value": value}


@dataclass(frozen=True, slots=True)
class Figures:
    """How a rule did on some decisions: ``right`` of ``covered``, where ``base`` of all are."""

    decisions: int
    covered: int
    right: int
    base: float

    @property
    def precision(self) -> float:
        return self.right / self.covered if self.covered else 0.0

    @property
    def lift(self) -> float:
        return self.precision / self.base if self.base else 0.0

    @property
    def at_least(self) -> float:
        """The precision that is 99 % sure (Wilson)."""
        if not self.covered:
            return 0.0
        n, p, z2 = self.covered, self.precision, SURE * SURE
        middle = p + z2 / (2 * n)
        reach = SURE * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
        return (middle - reach) / (1 + z2 / n)

    def as_json(self) -> dict[str, Any]:
        return {
            "decisions": self.decisions, "covered": self.covered, "right": self.right,
            "wrong": self.covered - self.right, "precision": round(self.precision, 4),
            "base": round(self.base, 4), "lift": round(self.lift, 2),
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Candidate:
    """A rule that held on later decisions. ``rule``: of a ``looser`` one the rule it loosens."""

    kind: str
    rule: str
    conditions: tuple[Condition, ...]
    learned: Figures
    later: Figures
    examples: tuple[int, ...]
    """Later orders that it covers, rightly."""
    wrong: tuple[int, ...]
    """Later orders of which people decided otherwise."""


def mine_stops(
    learn: Sequence[Example], later: Sequence[Example], limits: Limits
) -> list[Candidate]:
    """Rules for orders that people stop."""
    return _mine(learn, later, limits, kind=STOP)


def mine_passes(
    learn: Sequence[Example], later: Sequence[Example], codes: Iterable[str], limits: Limits
) -> list[Candidate]:
    """What each of these rules might let pass: it stopped it, and people let it go."""
    found = []
    for code in codes:
        parts = [[one for one in part if code in one.hits] for part in (learn, later)]
        found += _mine(parts[0], parts[1], limits, kind=LOOSER, code=code)[:1]
    return found


def _mine(
    learn: Sequence[Example], later: Sequence[Example], limits: Limits, *, kind: str, code: str = ""
) -> list[Candidate]:
    if min(len(learn), len(later)) < limits.support:
        return []
    asked = limits.precision if kind == STOP else limits.pass_precision
    # Enough orders above the base rate leave room for a lift only where the base is low; of a
    # rule whose holds are nearly all let go, the rule itself is what is wrong.
    found = []
    for conditions in _search(learn, _wanted(learn, kind), limits, asked):
        figures = _figures(later, conditions, kind)
        lift = limits.lift if kind == STOP else 1.0
        if (
            figures.covered >= limits.support
            and figures.precision >= asked
            and figures.lift >= lift
            and figures.at_least > figures.base
        ):
            hit = [one for one in later if all(part.holds(one) for part in conditions)]
            found.append(
                Candidate(
                    kind, code, conditions, _figures(learn, conditions, kind), figures,
                    tuple(one.order_id for one in hit if _is(one, kind))[:SHOWN],
                    tuple(one.order_id for one in hit if not _is(one, kind))[:SHOWN],
                )
            )  # fmt: skip
    return found


def _is(one: Example, kind: str) -> bool:
    return one.stopped is (kind == STOP)


def _wanted(examples: Sequence[Example], kind: str) -> int:
    return _bits(examples, lambda one: _is(one, kind))


def _figures(examples: Sequence[Example], conditions: Sequence[Condition], kind: str) -> Figures:
    hit = [one for one in examples if all(part.holds(one) for part in conditions)]
    right = sum(_is(one, kind) for one in hit)
    base = sum(_is(one, kind) for one in examples) / len(examples)
    return Figures(len(examples), len(hit), right, base)


# --- the search -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Tried:
    """Some conditions and the decisions they cover, a bit each."""

    conditions: tuple[Condition, ...]
    bits: int
    gain: float
    """Weighted relative accuracy: how much likelier than all, times how many."""
    precision: float


def _search(
    examples: Sequence[Example], wanted: int, limits: Limits, precision: float
) -> Iterator[tuple[Condition, ...]]:
    """The best rule, then the best for what it left, and so on."""
    singles = [
        (condition, bits)
        for condition in _conditions(examples)
        if (bits := _bits(examples, condition.holds)).bit_count() >= limits.support
    ]
    left = wanted
    for _turn in range(limits.most):
        best = _best(
            singles, wanted=wanted, left=left, total=len(examples), limits=limits,
            precision=precision,
        )  # fmt: skip
        if best is None or (best.bits & left).bit_count() < limits.support // 2:
            return
        yield best.conditions
        left &= ~best.bits


def _best(
    singles: Sequence[tuple[Condition, int]],
    *,
    wanted: int,
    left: int,
    total: int,
    limits: Limits,
    precision: float,
) -> _Tried | None:
    best: _Tried | None = None
    beam = [_Tried((), (1 << total) - 1, 0.0, 0.0)]
    for _length in range(limits.conditions):
        tried: dict[int, _Tried] = {}
        for short in beam:
            for condition, bits in singles:
                both = short.bits & bits
                covered = both.bit_count()
                if both == short.bits or covered < limits.support or both in tried:
                    continue
                rate = left.bit_count() / total
                gain = covered / total * ((both & left).bit_count() / covered - rate)
                right = (both & wanted).bit_count() / covered
                tried[both] = _Tried((*short.conditions, condition), both, gain, right)
        beam = sorted(tried.values(), key=attrgetter("gain"), reverse=True)[:BEAM]
        good = [one for one in tried.values() if one.precision >= precision]
        longer = max(good, key=attrgetter("gain"), default=None)
        if longer and longer.gain > 0 and (best is None or longer.gain > best.gain * BETTER):
            best = longer
    return best


def _bits(examples: Sequence[Example], test: Callable[[Example], bool]) -> int:
    return int("".join("1" if test(one) else "0" for one in reversed(examples)) or "0", 2)


def _conditions(examples: Sequence[Example]) -> Iterator[Condition]:
    specs = {spec: None for one in examples for spec in one.values}
    for spec in sorted(specs, key=attrgetter("label")):
        values = sorted(one.values[spec] for one in examples if spec in one.values)
        if spec.kind.type == "bool":
            yield from (Condition(spec, "is", told) for told in (True, False))
            continue
        for limit in sorted({round_limit(value, spec.kind.type) for value in _steps(values)}):
            yield from (Condition(spec, op, limit) for op in _TURNED)


def _steps(values: Sequence[float]) -> list[float]:
    distinct = sorted(set(values))
    if len(distinct) <= FEW_VALUES:
        return distinct
    return [values[len(values) * step // STEPS] for step in range(1, STEPS)]


def round_limit(value: float, kind: str) -> Decimal:
    """A limit people would write: two digits of money, whole counts, whole per cent."""
    if kind == "ratio":
        return Decimal(f"{value:.2f}")
    if kind == "money" and value:
        digits = 1 - math.floor(math.log10(abs(value)))
        return Decimal(f"{round(value, digits):.2f}").normalize()
    return Decimal(round(value))


# --- as rules of the language ---------------------------------------------------------------------


def stop_rule(candidate: Candidate) -> dict[str, Any]:
    """A rule that holds for review what people stopped."""
    parts = [one.as_json() for one in candidate.conditions]
    return {
        "code": f"learned_{_short(parts)}",
        "name": "学自人工判断",
        "when": {"all": parts},
        "outcome": {"tier": "2", "tag": "多被取消"},
    }


def loosened(rule: Mapping[str, Any], candidate: Candidate) -> dict[str, Any]:
    """A rule that lets pass what people let go: a tighter limit where it is its own, else
    an exception. What is unknown is held as before."""
    when = rule["when"]
    parts = list(when["all"]) if set(when) == {"all"} else [when]
    if len(candidate.conditions) == 1:
        (only,) = candidate.conditions
        told = only.as_json()
        for place, part in enumerate(parts):
            if _asks_the_same(part, told):
                tighter = {**told, "op": _TURNED[only.op]}
                return {**rule, "when": {"all": [*parts[:place], tighter, *parts[place + 1 :]]}}
    told_all: dict[str, Any] = {"all": [one.as_json() for one in candidate.conditions]}
    inner = told_all["all"][0] if len(candidate.conditions) == 1 else told_all
    return {**rule, "when": {"all": [*parts, {"not": inner}]}}


def _asks_the_same(part: Mapping[str, Any], told: Mapping[str, Any]) -> bool:
    """Whether a part of the rule is a limit of the same fact in the way that is tightened."""
    if "fact" not in part or told["op"] not in _TURNED:
        return False
    ways = {">", ">="} if told["op"] == "<" else {"<", "<="}
    apart = {"op", "value"}
    same = {k: v for k, v in part.items() if k not in apart} == {
        k: v for k, v in told.items() if k not in apart
    }
    return same and part["op"] in ways


def _short(parts: Sequence[Mapping[str, Any]]) -> str:
    return hashlib.sha256(digest_of(list(parts)).encode()).hexdigest()[:8]
