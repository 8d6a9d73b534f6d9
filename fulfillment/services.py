"""Tasks, parcels, waybills and stops: each write one verb, under the caller's order lock."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import connection, transaction

from fulfillment.models import Parcel, ParcelLine, ParcelStop, Stage, StageClock, StageTask, Waybill
from ordercenter.core.bulk import copy_rows, next_ids, prepared_cursor
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
BEFORE_HAND_OVER: Final = frozenset(
    {Parcel.State.PLANNED, Parcel.State.PICKED, Parcel.State.PACKED}
)


@dataclass(frozen=True, slots=True)
class ParcelPlan:
    """Ship what this order holds from this warehouse."""

    order_id: int
    order_number: str
    warehouse_id: int
    priority: int = 0
    is_part: bool = False
    """It holds more elsewhere, or some of it lies in another parcel."""


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
    """Make a parcel of each plan out of the stock its order holds, and open its pick task."""
    if not plans:
        return []
    ids = next_ids(Parcel, len(plans))
    attempts = Counter(_parcel_counts([plan.order_id for plan in plans]))
    numbers = []
    for plan in plans:
        attempts[plan.order_id] += 1
        numbers.append(f"{plan.order_number}-{attempts[plan.order_id]}")
    copy_rows(
        Parcel,
        ("id", "order_id", "number", "warehouse_id", "state", "created_at"),
        (
            (pk, p.order_id, number, p.warehouse_id, "planned", now)
            for pk, p, number in zip(ids, plans, numbers, strict=True)
        ),
    )
    _fill([(pk, p) for pk, p in zip(ids, plans, strict=True) if not p.is_part])
    _fill_part([(pk, p) for pk, p in zip(ids, plans, strict=True) if p.is_part])
    open_tasks(
        [
            TaskRequest(p.order_id, Stage.PICK, "", p.priority, p.warehouse_id, pk)
            for pk, p in zip(ids, plans, strict=True)
        ],
        now=now,
    )
    return ids


IN_NO_PARCEL: Final = (
    "NOT EXISTS (SELECT 1 FROM fulfillment_parcelline x JOIN fulfillment_parcel p "
    "ON p.id = x.parcel_id AND p.state IN ('planned', 'picked', 'packed') "
    "WHERE x.reservation_id = r.id)"
)


def _fill(parcels: Sequence[tuple[int, ParcelPlan]]) -> None:
    """Put all that their orders hold into these parcels."""
    if not parcels:
        return
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO fulfillment_parcelline (parcel_id, line_id, sku_id, reservation_id, "
            "quantity) SELECT v.parcel, r.line_id, l.sku_id, r.id, r.quantity "
            "FROM unnest(%s::bigint[], %s::bigint[]) AS v(parcel, order_id) "
            "JOIN inventory_reservation r ON r.order_id = v.order_id AND r.state = 'active' "
            "JOIN inventory_stocklevel l ON l.id = r.level_id",
            [[pk for pk, _ in parcels], [plan.order_id for _, plan in parcels]],
        )


def _fill_part(parcels: Sequence[tuple[int, ParcelPlan]]) -> None:
    """Put what their orders hold in these warehouses, and no other parcel has, into them."""
    if not parcels:
        return
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO fulfillment_parcelline (parcel_id, line_id, sku_id, reservation_id, "  # noqa: S608 - own constant text
            "quantity) SELECT v.parcel, r.line_id, l.sku_id, r.id, r.quantity "
            "FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[]) AS v(parcel, order_id, house) "
            "JOIN inventory_reservation r ON r.order_id = v.order_id AND r.state = 'active' "
            "JOIN inventory_stocklevel l ON l.id = r.level_id "
            "JOIN inventory_virtualwarehouse w ON w.id = l.virtual_warehouse_id "
            f"AND w.warehouse_id = v.house WHERE {IN_NO_PARCEL}",
            [[pk for pk, _ in parcels], [plan.order_id for _, plan in parcels],
             [plan.warehouse_id for _, plan in parcels]],
        )  # fmt: skip


def unplanned(order_ids: Collection[int]) -> dict[int, list[int]]:
    """The warehouses where these orders hold stock that lies in no parcel yet."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT r.order_id, array_agg(DISTINCT w.warehouse_id) FROM inventory_reservation r "  # noqa: S608 - own constant text
            "JOIN inventory_stocklevel l ON l.id = r.level_id "
            "JOIN inventory_virtualwarehouse w ON w.id = l.virtual_warehouse_id "
            f"WHERE r.order_id = ANY(%s) AND r.state = 'active' AND {IN_NO_PARCEL} "
            "GROUP BY r.order_id",
            [list(order_ids)],
        )
        return dict(cursor.fetchall())


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
    with prepared_cursor() as cursor:
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
def stop_many(
    reasons: Mapping[int, str], *, by: str, now: datetime | None = None, final: bool
) -> dict[int, Stopped]:
    """Stop what has not left of these orders' parcels, each order for its reason; say so for
    what has. Return what it came to by order. The order rows are locked by the caller.

    Before hand-over nothing can go wrong any more: labels are void at once and the goods that
    were picked get a task to be put back. ``final``: the parcels are taken apart for good;
    otherwise they only stand still until the holds are closed, and keep their labels.
    """
    now = now or clock_now()
    gone = [Parcel.State.CANCELED, Parcel.State.STOPPED]
    parcels = _parcels(reasons, but=gone)
    early = [parcel for parcel in parcels if parcel.state in BEFORE_HAND_OVER]
    late = [parcel for parcel in parcels if parcel.state not in BEFORE_HAND_OVER]
    _write_stops(parcels, reasons, by=by, now=now)
    if final:
        _take_apart(early, reasons, now=now)
    cases = sorted({parcel.order_id for parcel in late})
    open_tasks(
        [TaskRequest(pk, Stage.AFTER_SALES, f"{reasons[pk]}：包裹已发出") for pk in cases], now=now
    )
    stopped, missed = (Counter(parcel.order_id for parcel in some) for some in (early, late))
    return {pk: Stopped(stopped[pk], missed[pk]) for pk in reasons}


def stop_parcels(
    order_id: int, *, reason: str, by: str, now: datetime | None = None, final: bool
) -> Stopped:
    """``stop_many`` of one order."""
    return stop_many({order_id: reason}, by=by, now=now, final=final)[order_id]


@transaction.atomic
def take_apart(reasons: Mapping[int, str], *, by: str, now: datetime | None = None) -> int:
    """Take apart what has not left of these orders' parcels, each for its reason: they are to be
    planned anew. Return how many. What has left is nobody's concern here.

    The order rows are locked by the caller.
    """
    now = now or clock_now()
    parcels = _parcels(reasons, but=set(Parcel.State) - BEFORE_HAND_OVER)
    _write_stops(parcels, reasons, by=by, now=now)
    _take_apart(parcels, reasons, now=now)
    return len(parcels)


def _parcels(order_ids: Iterable[int], *, but: Iterable[Parcel.State]) -> list[Parcel]:
    return list(
        Parcel.objects.filter(order_id__in=list(order_ids)).exclude(state__in=list(but))
        .order_by("pk").select_for_update()
    )  # fmt: skip


def _write_stops(
    parcels: Sequence[Parcel], reasons: Mapping[int, str], *, by: str, now: datetime
) -> None:
    """Where each parcel was caught, or that it had left."""
    places, outcomes = ParcelStop.Where, ParcelStop.Outcome
    found = {
        Parcel.State.PLANNED: (places.BEFORE_PICK, outcomes.STOPPED),
        Parcel.State.PICKED: (places.BENCH, outcomes.STOPPED),
        Parcel.State.PACKED: (places.BENCH, outcomes.STOPPED),
        Parcel.State.SHIPPED: (places.CARRIER, outcomes.TOO_LATE),
        Parcel.State.SIGNED: (places.CARRIER, outcomes.TOO_LATE),
    }
    stops = []
    for parcel in parcels:
        where, outcome = found[Parcel.State(parcel.state)]
        stops.append(
            ParcelStop(
                parcel=parcel, reason=reasons[parcel.order_id][:300], where=where,
                outcome=outcome, asked_by=by[:150], asked_at=now, done_at=now,
            )
        )  # fmt: skip
    ParcelStop.objects.bulk_create(stops)


def _take_apart(parcels: Sequence[Parcel], reasons: Mapping[int, str], *, now: datetime) -> None:
    """End these parcels: labels void, tasks withdrawn, what was picked to be put back."""
    if not parcels:
        return
    ids = [parcel.pk for parcel in parcels]
    touched = [parcel for parcel in parcels if parcel.state != Parcel.State.PLANNED]
    Parcel.objects.filter(pk__in=ids).update(state=Parcel.State.CANCELED)
    Parcel.objects.filter(pk__in=[p.pk for p in touched]).update(state=Parcel.State.STOPPED)
    Waybill.objects.filter(
        parcel__in=ids, state__in=[Waybill.State.INTENT, Waybill.State.LIVE]
    ).update(state=Waybill.State.VOID, voided_at=now)
    StageTask.objects.filter(parcel__in=ids, state=StageTask.State.OPEN).update(
        state=StageTask.State.WITHDRAWN, done_at=now, done_by="system"
    )
    open_tasks(
        [
            TaskRequest(p.order_id, Stage.PUT_BACK, reasons[p.order_id], 0, p.warehouse_id, p.pk)
            for p in touched
        ],
        now=now,
    )


def parcel_lines(parcel_id: int) -> list[ParcelLine]:
    return list(
        ParcelLine.objects.filter(parcel_id=parcel_id).select_related("sku", "line").order_by("pk")
    )


def void_labels(order_id: int, *, now: datetime) -> int:
    """The address on the labels of what has not left is no longer true: void them, the parcels
    need new ones."""
    voided = Waybill.objects.filter(
        parcel__order_id=order_id, parcel__state__in=BEFORE_HAND_OVER,
        state__in=[Waybill.State.INTENT, Waybill.State.LIVE],
    ).update(state=Waybill.State.VOID, voided_at=now)  # fmt: skip
    Parcel.objects.filter(order_id=order_id, state=Parcel.State.PACKED).update(
        state=Parcel.State.PICKED
    )
    return voided
