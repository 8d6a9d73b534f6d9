"""The risk score: better than counting hits, honest about its chances, plain numbers."""

import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from statistics import mean

import pytest

from risk.scoring import probability, read_model, score
from risk.training import TooFew, train
from tests.risk.learned import AMOUNT, BUYER, RATIO, cheap_and_often, decisions, shuffled

ROOT = Path(__file__).resolve().parents[2]
LOOK = """
import os, sys
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ordercenter.settings.test")
import ordercenter.asgi
from django.urls import get_resolver
get_resolver().url_patterns
import ordercenter.pipeline.tasks, ordercenter.pipeline.path
print(sorted({name.partition(".")[0] for name in sys.modules} & {"sklearn", "scipy", "numpy"}))
"""


def test_the_score_beats_the_base_rate_and_counting_the_rules_that_hit() -> None:
    trained = train(decisions(1500, cheap_and_often))
    told = trained.figures
    assert told["roc_auc"] > 0.85
    assert told["roc_auc"] > told["hits"]["roc_auc"]
    assert told["brier"] < told["base"]["brier"]
    assert told["average_precision"] > told["base"]["average_precision"]
    assert trained.is_better
    assert (told["learned"], told["later"]) == (1050, 450)
    assert all(abs(one["said"] - one["stopped"]) < 0.2 for one in told["calibration"])


def test_of_shuffled_decisions_nothing_is_learned_and_nothing_used() -> None:
    examples = decisions(1500, cheap_and_often)
    trained = [train(shuffled(examples, seed)) for seed in range(12)]
    assert 0.47 < mean(one.figures["roc_auc"] for one in trained) < 0.53
    assert not any(one.is_better for one in trained)


def test_a_model_goes_through_json_and_says_why() -> None:
    model = train(decisions(1000, cheap_and_often)).model
    again = read_model(json.loads(json.dumps(model.as_json())))
    assert again == model
    bad, reasons = score(again, {RATIO: 0.7, BUYER: 6.0, AMOUNT: 15_000.0})
    good, _ = score(again, {RATIO: 1.0, BUYER: 1.0, AMOUNT: 15_000.0})
    assert Decimal(0) <= good < Decimal("0.2") < Decimal("0.7") < bad <= Decimal(1)
    assert any("70.0%" in one and "推高风险" in one for one in reasons)
    assert score(again, {})[1] == []
    assert 0 < probability(again, {}) < 1
    with pytest.raises(ValueError, match="unknown format"):
        read_model({"v": 2})


def test_too_few_decisions_train_nothing() -> None:
    with pytest.raises(TooFew, match="decisions"):
        train(decisions(60, cheap_and_often))
    with pytest.raises(TooFew):
        train(decisions(500, lambda _one: False, noise=0))
    with pytest.raises(TooFew):
        train([])


def test_the_web_and_the_path_do_not_load_the_library_that_trains() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOOK], cwd=ROOT, capture_output=True, text=True, check=True,
        timeout=120,
    )  # fmt: skip
    assert done.stdout.strip().splitlines()[-1] == "[]"
