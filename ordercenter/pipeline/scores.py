"""Score orders as they were judged. The score is shown beside the rules; nothing decides by it."""

import json
from datetime import datetime
from typing import Any, Final

from django.db import connection, transaction

from ordercenter.core.clock import now as clock_now
from risk.examples import values_of
from risk.language import Program
from risk.models import RiskModel, RiskScore
from risk.scoring import read_model, score
from risk.sets import live_program, program_of

MOST: Final = 2_000
"""The newest verdicts looked at in one go."""
_DUE: Final = """
    SELECT DISTINCT ON (v.order_id) v.order_id, v.rule_set_version, v.inputs
    FROM (SELECT id, order_id, rule_set_version, inputs, created_at FROM risk_verdict
          ORDER BY id DESC LIMIT %(most)s) v
    LEFT JOIN risk_riskscore s ON s.order_id = v.order_id
    WHERE s.order_id IS NULL OR s.model_version <> %(version)s OR s.scored_at < v.created_at
    ORDER BY v.order_id, v.id DESC
"""


@transaction.atomic
def score_new(*, now: datetime | None = None) -> str:
    """Score the newest judged orders that have no score of the model in use, or an older one.

    May run twice at once: the score of an order is one row, and the same for both.
    """
    now = now or clock_now()
    used = RiskModel.objects.filter(is_active=True).first()
    if used is None:
        return "no risk model is in use"
    model, live = read_model(used.weights), live_program()
    programs: dict[int, Program] = {live.version: live}
    with connection.cursor() as cursor:
        cursor.execute(_DUE, {"most": MOST, "version": used.version})
        rows = cursor.fetchall()
    scores = []
    for order_id, version, inputs in rows:
        if version not in programs:
            programs[version] = program_of(version)
        values = values_of(programs[version], json.loads(inputs))
        if values is not None:
            told, reasons = score(model, values)
            scores.append((order_id, told, reasons))
    _write(scores, used.version, now)
    return f"{len(scores)} orders are scored by model v{used.version}"


def _write(scores: list[tuple[int, Any, list[str]]], version: int, now: datetime) -> None:
    RiskScore.objects.bulk_create(
        [
            RiskScore(order_id=pk, model_version=version, score=told, reasons=reasons,
                      scored_at=now)
            for pk, told, reasons in scores
        ],
        update_conflicts=True,
        unique_fields=["order"],
        update_fields=["model_version", "score", "reasons", "scored_at"],
    )  # fmt: skip
