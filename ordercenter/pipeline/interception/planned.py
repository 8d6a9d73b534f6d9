"""Interceptions that are to start at a time: agreed on before, and started then by the worker."""

from datetime import datetime
from typing import Final

from django.db import transaction

from ordercenter.audit.models import Action
from ordercenter.audit.services import record
from ordercenter.core.clock import now as clock_now
from ordercenter.core.live import announce
from ordercenter.orders.models import Interception
from ordercenter.pipeline.interception import acts, filling
from ordercenter.pipeline.interception.filling import OBJECT
from ordercenter.pipeline.interception.gates import GATEKEEPER

State: Final = Interception.State
MISSED: Final = "预约的时间已经过去，没有开始"


def start_due(*, now: datetime | None = None) -> str:
    """Start what has come to its time, each once however many look; tell what came too late.

    From the commit on every transition meets the gate; the holds follow within seconds.
    """
    now = now or clock_now()
    due = Interception.objects.filter(state=State.PLANNED, begins_at__lte=now).order_by("begins_at")
    started = [pk for pk in list(due.values_list("pk", flat=True)) if _start(pk, now)]
    for pk in started:
        filling.hold_all(pk)
    return f"{len(started)} planned interceptions started"


def _start(interception_id: int, now: datetime) -> bool:
    with transaction.atomic(durable=True):
        acts.take_turn()
        row = acts.locked_row(interception_id)
        if row.state != State.PLANNED:
            return False
        if row.ends_at is not None and row.ends_at <= now:
            row.state, row.ended_at, row.freed_at = State.EXPIRED, now, now
            row.ended_by, row.end_reason = f"{GATEKEEPER.kind}:{GATEKEEPER.id}", MISSED
            row.save(update_fields=["state", "ended_at", "freed_at", "ended_by", "end_reason"])
            record(
                Action.INTERCEPT_ENDED, object_type=OBJECT, object_id=row.pk, actor=GATEKEEPER,
                change={"state": [State.PLANNED.value, row.state]}, reason=MISSED,
            )  # fmt: skip
            announce("orders", interception=row.pk)
            return False
        row.state, row.started_at = State.ACTIVE, now
        row.save(update_fields=["state", "started_at"])
        acts.told_started(row, actor=GATEKEEPER)
    return True
