"""A risk score by plain arithmetic: how likely people would stop an order. It decides nothing.

A model is numbers in JSON; how they are found is ``risk/training.py``.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any, Final

from risk.language import FactSpec
from risk.sentences import fact_words

FORMAT: Final = 1
REASONS: Final = 3
SMALLEST: Final = 0.1
"""Contributions (log odds) below say nothing worth reading."""
FARTHEST: Final = 30.0
_FOUR: Final = Decimal("0.0001")


@dataclass(frozen=True, slots=True)
class Feature:
    """One fact of the model. A missing value counts as ``mean``: it speaks for neither side."""

    label: str
    words: str
    log: bool
    mean: float
    scale: float
    weight: float

    def contribution(self, value: float | None) -> float:
        if value is None:
            return 0.0
        return self.weight * (flat(value, log=self.log) - self.mean) / self.scale


@dataclass(frozen=True, slots=True)
class Model:
    """Logistic: the sum of contributions, then calibrated (``slope``, ``shift``)."""

    features: tuple[Feature, ...]
    intercept: float
    slope: float
    shift: float

    def as_json(self) -> dict[str, Any]:
        return {"v": FORMAT, **asdict(self), "features": [asdict(one) for one in self.features]}


def read_model(data: Mapping[str, Any]) -> Model:
    """A model out of its JSON. Raises ValueError for another format."""
    if data.get("v") != FORMAT:
        raise ValueError(f"unknown format of weights: {data.get('v')}")
    features = tuple(Feature(**one) for one in data["features"])
    return Model(features, data["intercept"], data["slope"], data["shift"])


def flat(value: float, *, log: bool) -> float:
    """Counts and money by their order of magnitude."""
    return math.copysign(math.log1p(abs(value)), value) if log else value


def probability(model: Model, values: Mapping[str, float]) -> float:
    total = model.intercept + sum(one.contribution(values.get(one.label)) for one in model.features)
    odds = max(-FARTHEST, min(FARTHEST, model.slope * total + model.shift))
    return 1 / (1 + math.exp(-odds))


def score(model: Model, values: Mapping[FactSpec, float]) -> tuple[Decimal, list[str]]:
    """The score, 0 to 1 to four places, and what speaks most for and against it, in words."""
    told = {spec.label: value for spec, value in values.items()}
    weighed = [(one.contribution(told.get(one.label)), one) for one in model.features]
    weighed.sort(key=lambda pair: -abs(pair[0]))
    kinds = {spec.label: spec for spec in values}
    reasons = [
        f"{one.words} {_shown(kinds[one.label], told[one.label])}：{_way(part)}"
        for part, one in weighed[:REASONS]
        if abs(part) >= SMALLEST
    ]
    return Decimal(probability(model, told)).quantize(_FOUR), reasons


def words_of(spec: FactSpec) -> str:
    return fact_words(spec)


def _way(part: float) -> str:
    return "推高风险" if part > 0 else "拉低风险"


def _shown(spec: FactSpec, value: float) -> str:
    kind = spec.kind
    if kind.type == "bool":
        return "是" if value else "否"
    if kind.type == "ratio":
        return f"{value:.1%}"
    return f"{value:.2f}".rstrip("0").rstrip(".") + (f" {kind.unit}" if kind.unit else "")


def hit_counts(hits: Sequence[frozenset[str]]) -> list[float]:
    """The plainest score there is, to be beaten: how many rules hit."""
    return [float(len(one)) for one in hits]
