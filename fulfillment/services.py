"""Tasks, parcels, waybills and stops: each write one verb, under the caller's order lock."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import connection, transaction

from fulfillment.models import Parcel, ParcelLine, ParcelStop, Stage, StageClock, StageTask, Waybill
from ordercenter.core.bulk import copy_rows, next_ids
from ordercenter.core.clock import now as clock_now

CARRIER: Final = "sf"
"""Who carries what has no label yet."""
DEFAULT_MINUTES: Final = {
    Stage.FIRST_REVIEW: 30,
    Stage.FINANCE_CHECK: 60,
    Stage.PICK: 120,
    Stage.PACK: 240,
    Stage.NOTIFY: 5,
    Stage.AFTER_SALES: 240,
    Stage.PUT_BACK: 240,
}
"""The clocks of the requirements (Q133 to Q137); ``StageClock`` rows override them."""


@dataclass(frozen=True, slots=True)
class ParcelPlan:
    """Ship this order whole from this warehouse."""

    order_id: int
    order_number: str
    warehouse_id: int
    priority: int = 0


@dataclass(frozen=True, slots=True)
class TaskRequest:
    """Somebody has to do this with that order."""

    order_id: int
    stage: Stage
    note: str = ""
    priority: int = 0
    warehouse_id: int | None = None
    parcel_id: int | None = None


def clocks() -> dict[str, timedelta]:
    """How long each stage may take."""
    minutes: dict[str, int] = {stage.value: m for stage, m in DEFAULT_MINUTES.items()}
    minutes |= dict(StageClock.objects.values_list("stage", "minutes"))
    return {stage: timedelta(minutes=m) for stage, m in minutes.items()}


def plan_parcels(plans: Sequence[ParcelPlan], *, now: datetime) -> list[int]:
    """Make one parcel an order out of the stock it holds, and open its pick task."""
    if not plans:
        return []
    ids = next_ids(Parcel, len(plans))
    attempts = _parcel_counts([plan.order_id for plan in plans])
    copy_rows(
        Parcel,
        ("id", "order_id", "number", "warehouse_id", "state", "created_at"),
        (
            (pk, p.order_id, f"{p.order_number}-{attempts.get(p.order_id, 0) + 1}", p.warehouse_id,
             "planned", now)
            for pk, p in zip(ids, plans, strict=True)
        ),
    )  # fmt: skip
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO fulfillment_parcelline (parcel_id, line_id, sku_id, reservation_id, "
            "quantity) SELECT v.parcel, r.line_id, l.sku_id, r.id, r.quantity "
            "FROM unnest(%s::bigint[], %s::bigint[]) AS v(parcel, order_id) "
            "JOIN inventory_reservation r ON r.order_id = v.order_id AND r.state = 'active' "
            "JOIN inventory_stocklevel l ON l.id = r.level_id",
            [ids, [plan.order_id for plan in plans]],
        )
    open_tasks(
        [
            TaskRequest(p.order_id, Stage.PICK, "", p.priority, p.warehouse_id, pk)
            for pk, p in zip(ids, plans, strict=True)
        ],
        now=now,
    )
    return ids


def _parcel_counts(order_ids: Collection[int]) -> dict[int, int]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT order_id, count(*) FROM fulfillment_parcel WHERE order_id = ANY(%s) "
            "GROUP BY order_id",
            [list(order_ids)],
        )
        return dict(cursor.fetchall())


def open_tasks(requests: Sequence[TaskRequest], *, now: datetime) -> int:
    """Open tasks with their clocks; one that is open already stays as it is."""
    if not requests:
        return 0
    limits = clocks()
    columns: list[list[Any]] = [list(column) for column in zip(
        *[
            (r.order_id, r.parcel_id, r.warehouse_id, r.stage.value, r.priority, r.note[:500],
             now + limits[r.stage.value])
            for r in requests
        ],
        strict=True,
    )]  # fmt: skip
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO fulfillment_stagetask (order_id, parcel_id, warehouse_id, stage, "
            "priority, note, due_at, opened_at, state, done_by, escalation) "
            "SELECT o, p, w, s, pr, n, d, %s, 'open', '', 0 FROM unnest(%s::bigint[], "
            "%s::bigint[], %s::bigint[], %s::text[], %s::smallint[], %s::text[], "
            "%s::timestamptz[]) AS v(o, p, w, s, pr, n, d) ON CONFLICT DO NOTHING",
            [now, *columns],
        )
        return int(cursor.rowcount)


def close_tasks(
    order_ids: Collection[int],
    *,
    state: str,
    by: str,
    now: datetime,
    stages: Iterable[Stage] | None = None,
) -> int:
    """End the open tasks of these orders (of these stages); return how many."""
    tasks = StageTask.objects.filter(order_id__in=order_ids, state=StageTask.State.OPEN)
    if stages is not None:
        tasks = tasks.filter(stage__in=[stage.value for stage in stages])
    return tasks.update(state=state, done_at=now, done_by=by[:150])


def begun(order_ids: Collection[int]) -> set[int]:
    """Those of these orders whose goods somebody has gone for, or which have a label."""
    if not order_ids:
        return set()
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT DISTINCT p.order_id FROM fulfillment_parcel p WHERE p.order_id = ANY(%s) "
            "AND (p.state IN ('picked', 'packed', 'shipped', 'signed') "
            "OR EXISTS (SELECT 1 FROM fulfillment_waybill w WHERE w.parcel_id = p.id "
            "AND w.state IN ('intent', 'live')) "
            "OR EXISTS (SELECT 1 FROM fulfillment_stagetask t WHERE t.parcel_id = p.id "
            "AND t.stage = 'pick' AND t.state = 'open' AND t.assignee_id IS NOT NULL))",
            [list(order_ids)],
        )
        return {row[0] for row in cursor.fetchall()}


def had_task(order_id: int, stage: Stage) -> bool:
    """Whether somebody has, or had, this to do with the order."""
    return StageTask.objects.filter(order_id=order_id, stage=stage.value).exists()


@dataclass(frozen=True, slots=True)
class Stopped:
    """What stopping the parcels of an order came to."""

    parcels: int
    too_late: int
    """Parcels that had left already: they are after-sales' now."""


@transaction.atomic
def stop_parcels(
    order_id: int, *, reason: str, by: str, now: datetime | None = None, final: bool
) -> Stopped:
    """Stop what has not left yet; say so for what has. The order row is locked by the caller.

    Before hand-over nothing can go wrong any more: labels are void at once and the goods that
    were picked get a task to be put back. ``final``: the order is canceled; otherwise the
    parcel only stands still until its holds are closed, and keeps its label.
    """
    now = now or clock_now()
    parcels = list(
        Parcel.objects.filter(order_id=order_id)
        .exclude(state__in=[Parcel.State.CANCELED, Parcel.State.STOPPED])
        .order_by("pk")
        .select_for_update()
    )
    late = [p for p in parcels if p.state in {Parcel.State.SHIPPED, Parcel.State.SIGNED}]
    early = [p for p in parcels if p not in late]
    stops = []
    for parcel in early:
        touched = parcel.state in {Parcel.State.PICKED, Parcel.State.PACKED}
        where = ParcelStop.Where.BENCH if touched else ParcelStop.Where.BEFORE_PICK
        stops.append(_stop(parcel, reason, where, ParcelStop.Outcome.STOPPED, by=by, now=now))
        if final:
            _take_apart(parcel, touched=touched, reason=reason, now=now)
    gone, missed = ParcelStop.Where.CARRIER, ParcelStop.Outcome.TOO_LATE
    stops += [_stop(p, reason, gone, missed, by=by, now=now) for p in late]
    ParcelStop.objects.bulk_create(stops)
    if late:
        open_tasks([TaskRequest(order_id, Stage.AFTER_SALES, f"{reason}：包裹已发出")], now=now)
    return Stopped(len(early), len(late))


@transaction.atomic
def take_apart(reasons: Mapping[int, str], *, by: str, now: datetime | None = None) -> int:
    """Take apart what has not left of these orders' parcels, each for its reason: they are to be
    planned anew. Return how many.

    Set-wise, and else like ``stop_parcels`` for good. The order rows are locked by the caller.
    """
    now = now or clock_now()
    early = [Parcel.State.PLANNED, Parcel.State.PICKED, Parcel.State.PACKED]
    parcels = list(
        Parcel.objects.filter(order_id__in=reasons, state__in=early)
        .order_by("pk").select_for_update()
    )  # fmt: skip
    touched = [p for p in parcels if p.state != Parcel.State.PLANNED]
    ids = [parcel.pk for parcel in parcels]
    Parcel.objects.filter(pk__in=ids).update(state=Parcel.State.CANCELED)
    Parcel.objects.filter(pk__in=[p.pk for p in touched]).update(state=Parcel.State.STOPPED)
    Waybill.objects.filter(
        parcel__in=ids, state__in=[Waybill.State.INTENT, Waybill.State.LIVE]
    ).update(state=Waybill.State.VOID, voided_at=now)
    StageTask.objects.filter(parcel__in=ids, state=StageTask.State.OPEN).update(
        state=StageTask.State.WITHDRAWN, done_at=now, done_by="system"
    )
    places, done = ParcelStop.Where, ParcelStop.Outcome.STOPPED
    ParcelStop.objects.bulk_create(
        _stop(p, reasons[p.order_id], places.BENCH if p in touched else places.BEFORE_PICK, done,
              by=by, now=now)
        for p in parcels
    )  # fmt: skip
    open_tasks(
        [
            TaskRequest(p.order_id, Stage.PUT_BACK, reasons[p.order_id], 0, p.warehouse_id, p.pk)
            for p in touched
        ],
        now=now,
    )
    return len(parcels)


def _stop(
    parcel: Parcel,
    reason: str,
    where: ParcelStop.Where,
    outcome: ParcelStop.Outcome,
    *,
    by: str,
    now: datetime,
) -> ParcelStop:
    return ParcelStop(
        parcel=parcel, reason=reason[:300], where=where, outcome=outcome, asked_by=by[:150],
        asked_at=now, done_at=now,
    )  # fmt: skip


def _take_apart(parcel: Parcel, *, touched: bool, reason: str, now: datetime) -> None:
    parcel.state = Parcel.State.STOPPED if touched else Parcel.State.CANCELED
    parcel.save(update_fields=["state"])
    Waybill.objects.filter(
        parcel=parcel, state__in=[Waybill.State.INTENT, Waybill.State.LIVE]
    ).update(state=Waybill.State.VOID, voided_at=now)
    StageTask.objects.filter(parcel=parcel, state=StageTask.State.OPEN).update(
        state=StageTask.State.WITHDRAWN, done_at=now, done_by="system"
    )
    if touched:
        open_tasks(
            [
                TaskRequest(
                    parcel.order_id, Stage.PUT_BACK, reason, 0, parcel.warehouse_id, parcel.pk
                )
            ],
            now=now,
        )


def parcel_lines(parcel_id: int) -> list[ParcelLine]:
    return list(
        ParcelLine.objects.filter(parcel_id=parcel_id).select_related("sku", "line").order_by("pk")
    )


def void_labels(order_id: int, *, now: datetime) -> int:
    """The address on these labels is no longer true: void them, the parcels need new ones."""
    voided = Waybill.objects.filter(
        parcel__order_id=order_id, state__in=[Waybill.State.INTENT, Waybill.State.LIVE]
    ).update(state=Waybill.State.VOID, voided_at=now)
    Parcel.objects.filter(order_id=order_id, state=Parcel.State.PACKED).update(
        state=Parcel.State.PICKED
    )
    return voided
