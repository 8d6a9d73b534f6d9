"""Train the risk score on what people decided. Jobs and the command only: it loads scikit-learn."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from django.db import connection, transaction
from django.db.models import Max

from ordercenter.audit.models import Action
from ordercenter.audit.services import record
from ordercenter.core.actor import PIPELINE, Actor
from ordercenter.core.clock import now as clock_now
from ordercenter.pipeline.learning import decisions
from ordercenter.pipeline.tasks import plainly
from risk.models import RiskModel
from risk.sets import live_program
from risk.training import TooFew, train

LOCK: Final = 7_205_062


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a training came to: a model, or why there is none."""

    model: RiskModel | None
    words: str


@transaction.atomic
def train_model(
    *, until: datetime | None = None, actor: Actor = PIPELINE, now: datetime | None = None
) -> Outcome:
    """Train on decisions before ``until`` (default: the first 70 %), keep the model, and use it
    where it beats both the base rate and counting the rules that hit."""
    now = now or clock_now()
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
    examples = decisions(live_program(), until=now)
    try:
        trained = train(examples, until)
    except TooFew as refusal:
        return Outcome(None, f"no model: {refusal}")
    highest = RiskModel.objects.aggregate(highest=Max("version"))["highest"]
    if trained.is_better:
        RiskModel.objects.filter(is_active=True).update(is_active=False)
    row = RiskModel.objects.create(
        version=(highest or 0) + 1, is_active=trained.is_better, weights=trained.model.as_json(),
        figures=trained.figures, learned_until=trained.learned_until, made_by=actor.name[:64],
        made_at=now,
    )  # fmt: skip
    record(
        Action.MODEL_TRAINED, object_type="risk_model", object_id=row.pk, actor=actor,
        change={"version": row.version, "active": row.is_active,
                "roc_auc": trained.figures["roc_auc"], "brier": trained.figures["brier"]},
    )  # fmt: skip
    told = "is used" if row.is_active else "is kept, and not used"
    return Outcome(row, f"model v{row.version} {told}: AUC {trained.figures['roc_auc']}")


@plainly
def train_nightly() -> str:
    return train_model().words
