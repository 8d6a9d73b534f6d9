"""Train the risk score on what people decided, and judge it on what they decided later.

The only module that needs scikit-learn; the web and the path never import it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

from risk.examples import Example, split
from risk.language import FactSpec
from risk.mining import SURE
from risk.scoring import Feature, Model, flat, hit_counts, probability, words_of

FEWEST: Final = 50
"""Decisions to learn from, and as many to be judged on; of each kind a tenth of them."""
CALIBRATED: Final = 20
"""Per cent of the learned decisions, the last, that the calibration is fitted on."""
BINS: Final = 5
_LOGS: Final = frozenset({"count", "money"})


@dataclass(frozen=True, slots=True)
class Trained:
    """A model and how it did on decisions it had never seen."""

    model: Model
    figures: dict[str, Any]
    learned_until: datetime

    @property
    def is_better(self) -> bool:
        """Whether it surely beats counting the rules that hit, a coin, and the base rate."""
        told = self.figures
        rival = max(0.5, told["hits"]["roc_auc"])
        return bool(told["roc_auc_at_least"] > rival and told["brier"] < told["base"]["brier"])


class TooFew(Exception):
    """There are not enough decisions of both kinds, before or after the split."""


def train(examples: Sequence[Example], until: datetime | None = None) -> Trained:
    """Learn from decisions before ``until`` (default: the first 70 %), judge on the others.

    Raises TooFew.
    """
    learn, later = split(examples, until)
    for part, name in ((learn, "before"), (later, "after")):
        stopped = sum(one.stopped for one in part)
        if min(stopped, len(part) - stopped) < FEWEST // 10 or len(part) < FEWEST:
            raise TooFew(f"{len(part)} decisions {name} the split, {stopped} of them stopped")
    model = _fit(learn)
    return Trained(model, _judge(model, learn, later), later[0].at)


def _fit(learn: Sequence[Example]) -> Model:
    cut = len(learn) * (100 - CALIBRATED) // 100
    fitted, rest = learn[:cut], learn[cut:]
    if len({one.stopped for one in fitted}) < 2:  # noqa: PLR2004
        fitted, rest = learn, []
    specs = sorted({spec for one in fitted for spec in one.values}, key=lambda spec: spec.label)
    features = [found for spec in specs if (found := _feature(spec, fitted))]
    table = np.array([_row(features, one) for one in fitted]).reshape(len(fitted), -1)
    if not features:
        raise TooFew("no fact varies among the decisions")
    regression = LogisticRegression(C=1.0, max_iter=1000)
    regression.fit(table, [one.stopped for one in fitted])
    weights = regression.coef_[0]
    model = Model(
        tuple(
            Feature(one.label, one.words, one.log, one.mean, one.scale, float(weight))
            for one, weight in zip(features, weights, strict=True)
        ),
        float(regression.intercept_[0]), 1.0, 0.0,
    )  # fmt: skip
    return _calibrated(model, rest)


def _calibrated(model: Model, rest: Sequence[Example]) -> Model:
    """Platt's two numbers, on decisions the weights have not seen; as it is where they are few."""
    stopped = sum(one.stopped for one in rest)
    if min(stopped, len(rest) - stopped) < FEWEST // 10:
        return model
    odds = np.array([[_odds(model, one)] for one in rest])
    platt = LogisticRegression(C=1.0, max_iter=1000).fit(odds, [one.stopped for one in rest])
    slope = float(platt.coef_[0][0])
    if slope <= 0:
        return model
    return Model(model.features, model.intercept, slope, float(platt.intercept_[0]))


def _odds(model: Model, one: Example) -> float:
    p = probability(model, _labeled(one))
    return float(np.log(p / (1 - p)))


def _labeled(one: Example) -> dict[str, float]:
    return {spec.label: value for spec, value in one.values.items()}


def _feature(spec: FactSpec, fitted: Sequence[Example]) -> Feature | None:
    """How a fact is measured; None where it is the same for every order."""
    log = spec.kind.type in _LOGS
    values = [flat(one.values[spec], log=log) for one in fitted if spec in one.values]
    scale = float(np.std(values))
    if not np.isfinite(scale) or scale < 1e-9:  # noqa: PLR2004
        return None
    return Feature(spec.label, words_of(spec), log, float(np.mean(values)), scale, 1.0)


def _row(features: Sequence[Feature], one: Example) -> list[float]:
    values = _labeled(one)
    return [feature.contribution(values.get(feature.label)) for feature in features]


def _judge(model: Model, learn: Sequence[Example], later: Sequence[Example]) -> dict[str, Any]:
    truth = np.array([one.stopped for one in later])
    told = np.array([probability(model, _labeled(one)) for one in later])
    counts = hit_counts([one.hits for one in later])
    base = sum(one.stopped for one in learn) / len(learn)
    auc, stopped = float(roc_auc_score(truth, told)), int(truth.sum())
    return {
        "learned": len(learn),
        "learned_stopped": sum(one.stopped for one in learn),
        "later": len(later),
        "later_stopped": stopped,
        "roc_auc": round(auc, 4),
        "roc_auc_at_least": round(auc - SURE * _auc_error(auc, stopped, len(later) - stopped), 4),
        "average_precision": round(float(average_precision_score(truth, told)), 4),
        "brier": round(float(brier_score_loss(truth, told)), 4),
        "base": {
            "rate": round(base, 4),
            "average_precision": round(float(truth.mean()), 4),
            "brier": round(float(brier_score_loss(truth, np.full(len(later), base))), 4),
        },
        "hits": {
            "roc_auc": round(float(roc_auc_score(truth, counts)), 4),
            "average_precision": round(float(average_precision_score(truth, counts)), 4),
        },
        "calibration": _calibration(told, truth),
    }


def _auc_error(auc: float, stopped: int, passed: int) -> float:
    """Standard error of an AUC (Hanley and McNeil)."""
    both = auc / (2 - auc) - auc * auc, 2 * auc * auc / (1 + auc) - auc * auc
    spread = auc * (1 - auc) + (stopped - 1) * both[0] + (passed - 1) * both[1]
    return math.sqrt(max(0.0, spread) / (stopped * passed))


def _calibration(told: Any, truth: Any) -> list[dict[str, Any]]:
    """By fifths of the score: what it said and what came of it."""
    order = np.argsort(told, kind="stable")
    return [
        {"orders": len(part), "said": round(float(told[part].mean()), 4),
         "stopped": round(float(truth[part].mean()), 4)}
        for part in np.array_split(order, BINS)
        if len(part)
    ]  # fmt: skip
