"""Writes to the stock: reserve, release, consume, receive. Each writes the ledger with it.

Locks: stock levels in primary-key order, after the order rows and before the audit
(``design.md`` section 3); slices after their levels. READ COMMITTED: lock first, then read.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final, NamedTuple

from django.db import connection, transaction

from inventory import clawback
from inventory.caps import Caps
from inventory.closing import MOVEMENT, active, close
from inventory.contracts import Clawed, Demand, Grant, Immovable, StockRequest
from inventory.errors import NotReserved
from inventory.granting import (
    Clawing,
    Level,
    LevelKey,
    check_requests,
    choose,
    column,
    lock_levels,
    shortages,
    wanted_by,
)
from inventory.models import Account, Reservation, StockLevel, StockMovement
from inventory.moves import note_moved
from ordercenter.core.actor import Actor
from ordercenter.core.bulk import copy_rows, next_ids
from ordercenter.core.clock import now as clock_now
from ordercenter.core.errors import NotFound

_RESERVATION: Final = (
    "id", "line_id", "order_id", "level_id", "quantity", "slice_id", "slice_units", "state",
    "created_at", "expires_at", "close_reason",
)  # fmt: skip


def lock_ahead(
    order_ids: Collection[int], virtual_warehouse_ids: Collection[int], sku_ids: Collection[int]
) -> None:
    """Lock, in primary-key order, what these orders hold and whatever may be reserved after it."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT id FROM inventory_stocklevel WHERE id IN ("
            "SELECT id FROM inventory_stocklevel "
            "WHERE virtual_warehouse_id = ANY(%s) AND sku_id = ANY(%s) "
            "UNION SELECT level_id FROM inventory_reservation "
            "WHERE order_id = ANY(%s) AND state = 'active') ORDER BY id FOR NO KEY UPDATE",
            [list(virtual_warehouse_ids), list(sku_ids), list(order_ids)],
        )


def _already_held(order_ids: Sequence[int]) -> dict[int, tuple[int, tuple[int, ...]]]:
    """Orders that hold stock already: (virtual warehouse, reservations)."""
    with connection.cursor() as cursor:
        # Joined to the list and not "= ANY", so that it is one index probe an order whatever
        # the planner believes of a table that has just grown.
        cursor.execute(
            "SELECT v.order_id, r.id, r.level_id FROM unnest(%s::bigint[]) AS v(order_id) "
            "CROSS JOIN LATERAL (SELECT id, level_id FROM inventory_reservation "
            "WHERE order_id = v.order_id AND state = 'active' OFFSET 0) r",
            [list(order_ids)],
        )
        rows = cursor.fetchall()
        if not rows:
            return {}
        cursor.execute(
            "SELECT id, virtual_warehouse_id FROM inventory_stocklevel WHERE id = ANY(%s)",
            [list({level for _, _, level in rows})],
        )
        source_of = dict(cursor.fetchall())
    held: dict[int, list[int]] = defaultdict(list)
    sources: dict[int, int] = {}
    for order_id, pk, level in rows:
        held[order_id].append(pk)
        sources[order_id] = source_of[level]
    return {order_id: (sources[order_id], tuple(pks)) for order_id, pks in held.items()}


@transaction.atomic
def reserve_many(
    requests: Sequence[StockRequest],
    *,
    actor: Actor,
    now: datetime | None = None,
    new_orders: bool = False,
    immovable: Immovable | None = None,
) -> list[Grant]:
    """Hold stock for every request that can be filled whole, first come first served.

    Answers in the order of ``requests``; a request that cannot be filled changes nothing and
    names its shortages. Safe to repeat: an order that holds stock already gets its first
    answer again. ``new_orders`` says that no other transaction can know these orders yet.
    ``immovable`` tells what cannot be taken back from other shops' slices. Raises InvalidInput,
    having changed nothing, where a request makes no sense.
    """
    now = now or clock_now()
    asked: dict[int, StockRequest] = {}
    for request in requests:
        asked.setdefault(request.order_id, request)
    sources = {source for request in requests for source in request.sources}
    skus = {demand.sku_id for request in requests for demand in request.demands}
    levels = lock_levels(sources, skus)
    check_requests(requests, levels)
    # Ask who already holds only after the lock: before it, a twin call could be half-way.
    held = {} if new_orders else _already_held(list(asked))
    caps, clawing = Caps(requests, levels, now=now), Clawing(levels, immovable)
    grants: dict[int, Grant] = {}
    taking: list[_Taking] = []
    for order_id, request in asked.items():
        if order_id in held:
            vw, pks = held[order_id]
            grants[order_id] = Grant(order_id, vw, reservations=pks)
            continue
        wanted = wanted_by(request.demands)
        if capped := caps.over(request, wanted):
            grants[order_id] = Grant(order_id, None, capped=capped)
            continue
        source = choose(wanted, request.sources, levels, request.shop_id)
        claws = source is None and clawing.may_help(request)
        if claws:
            source = clawing.choose(wanted, request)
        if source is None:
            grants[order_id] = _refusal(request, wanted, levels)
            continue
        caps.count(request, wanted)
        clawed: list[Clawed] = []
        for demand in request.demands:
            level = levels[source, demand.sku_id]
            if claws:
                clawed += clawing.claw(demand, level, request)
            own = level.take(request.shop_id, demand.quantity)
            taking.append(_Taking(demand, request, level, *own))
        grants[order_id] = Grant(order_id, source, clawed=tuple(clawed))
    _write_reservations(taking, grants, levels, actor=actor, now=now)
    return [grants[request.order_id] for request in requests]


class _Taking(NamedTuple):
    """One line's units, decided and not yet written."""

    demand: Demand
    request: StockRequest
    level: Level
    slice_id: int | None
    slice_units: int


def _refusal(
    request: StockRequest, wanted: Mapping[int, int], levels: Mapping[LevelKey, Level]
) -> Grant:
    shop = request.shop_id
    seen = {
        sku: sum(level.left_for(shop) for s in request.sources if (level := levels.get((s, sku))))
        for sku in wanted
    }
    short = shortages(wanted, request.sources, levels, shop)
    return Grant(request.order_id, None, short, seen=seen)


def _write_reservations(
    taking: Sequence[_Taking],
    grants: dict[int, Grant],
    levels: Mapping[LevelKey, Level],
    *,
    actor: Actor,
    now: datetime,
) -> None:
    """Write what was decided, and name the reservations in the grants."""
    if not taking:
        return
    who = f"{actor.kind}:{actor.name}"[:80]
    pks = next_ids(Reservation, len(taking))
    of_order: dict[int, list[int]] = defaultdict(list)
    for pk, one in zip(pks, taking, strict=True):
        of_order[one.request.order_id].append(pk)
    _count_taken(levels.values())
    copy_rows(
        Reservation,
        _RESERVATION,
        (
            (pk, t.demand.line_id, t.request.order_id, t.level.pk, t.demand.quantity, t.slice_id,
             t.slice_units, "active", now, t.request.expires_at, "")
            for pk, t in zip(pks, taking, strict=True)
        ),
    )  # fmt: skip
    copy_rows(
        StockMovement,
        MOVEMENT,
        (
            (t.level.pk, "available", "reserved", t.demand.quantity, pk, "reserve", who, now)
            for pk, t in zip(pks, taking, strict=True)
        ),
    )
    clawed = [
        (one.request, claw)
        for one in taking
        for claw in grants[one.request.order_id].clawed
        if claw.line_id == one.demand.line_id
    ]
    if clawed:
        clawback.keep(clawed, actor=actor, now=now)
    for order_id, own in of_order.items():
        grants[order_id] = replace(grants[order_id], reservations=tuple(own))


def _count_taken(levels: Iterable[Level]) -> None:
    """Bring the locked levels and slices to what has been taken out of them."""
    touched = sorted((lv.pk, lv.taken, lv.unlocked) for lv in levels if lv.taken)
    sold = [
        (one.pk, one.sold, one.clawed)
        for level in levels
        for one in level.slices.values()
        if one.sold or one.clawed
    ]
    with connection.cursor() as cursor:
        if sold:
            cursor.execute(
                "UPDATE inventory_stockslice t SET unsold = t.unsold - v.sold - v.clawed, "
                "quantity = t.quantity - v.clawed "
                "FROM unnest(%s::bigint[], %s::int[], %s::int[]) AS v(id, sold, clawed) "
                "WHERE t.id = v.id",
                column(sold),
            )
        cursor.execute(
            "UPDATE inventory_stocklevel t SET reserved = t.reserved + v.taken, "
            "locked = t.locked - v.unlocked "
            "FROM unnest(%s::bigint[], %s::int[], %s::int[]) AS v(id, taken, unlocked) "
            "WHERE t.id = v.id",
            column(touched),
        )
    note_moved(pk for pk, _, _ in touched)


@transaction.atomic
def release(
    order_ids: Collection[int],
    *,
    reason: str,
    actor: Actor,
    now: datetime | None = None,
    refused: Mapping[int, str] | None = None,
) -> int:
    """Give back all stock these orders hold; return how many reservations ended. Repeatable.

    Units go back to the slices they came out of, those taken back from other shops too, while
    these are active. ``refused`` names claw-backs (with words) that a platform has undone.
    """
    rows = active(order_ids)
    close(
        rows, state="released", target=Account.AVAILABLE, reason=reason, actor=actor,
        now=now or clock_now(), refused=refused,
    )  # fmt: skip
    return len(rows)


@transaction.atomic
def release_some(
    reservation_ids: Collection[int],
    *,
    order_id: int,
    reason: str,
    actor: Actor,
    now: datetime | None = None,
) -> int:
    """Give back these reservations of one order; return how many ended now. Repeatable.

    Raises NotFound, having changed nothing, where one of them is not the order's own.
    """
    wanted = set(reservation_ids)
    own = Reservation.objects.filter(pk__in=wanted, order_id=order_id).count()
    if own != len(wanted):
        raise NotFound(what="该订单的库存占用")
    rows = [row for row in active([order_id]) if row.pk in wanted]
    close(
        rows, state="released", target=Account.AVAILABLE, reason=reason, actor=actor,
        now=now or clock_now(),
    )  # fmt: skip
    return len(rows)


@transaction.atomic
def release_from(
    order_ids: Collection[int],
    level_ids: Collection[int],
    *,
    reason: str,
    actor: Actor,
    now: datetime | None = None,
) -> int:
    """Give back what these orders hold of these levels; return how many reservations ended."""
    rows = [row for row in _active(order_ids) if row.level_id in level_ids]
    _close(
        rows, state="released", target=Account.AVAILABLE, reason=reason, actor=actor,
        now=now or clock_now(),
    )  # fmt: skip
    return len(rows)


@transaction.atomic
def consume(
    reservation_ids: Collection[int],
    *,
    order_id: int,
    reason: str,
    actor: Actor,
    now: datetime | None = None,
) -> None:
    """The units left the shelf. Raises NotReserved unless every reservation was active."""
    wanted = set(reservation_ids)
    rows = [row for row in active([order_id]) if row.pk in wanted]
    if not wanted or len(rows) != len(reservation_ids):
        raise NotReserved
    close(
        rows, state="consumed", target=Account.SHIPPED, reason=reason, actor=actor,
        now=now or clock_now(),
    )  # fmt: skip


@transaction.atomic
def keep(order_ids: Collection[int]) -> int:
    """The buyer has paid: the promise no longer runs out. Return how many reservations."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE inventory_reservation SET expires_at = NULL "
            "WHERE order_id = ANY(%s) AND state = 'active' AND expires_at IS NOT NULL",
            [list(order_ids)],
        )
        return int(cursor.rowcount)


@transaction.atomic
def receive(
    rows: Iterable[tuple[int, int, int]],
    *,
    actor: Actor,
    reason: str = "receive",
    now: datetime | None = None,
) -> int:
    """Put (virtual warehouse, SKU, units) on the shelf, making levels where there are none."""
    now = now or clock_now()
    wanted = [(vw, sku, quantity) for vw, sku, quantity in rows if quantity > 0]
    StockLevel.objects.bulk_create(
        [StockLevel(virtual_warehouse_id=vw, sku_id=sku) for vw, sku, _ in wanted],
        ignore_conflicts=True,
    )
    levels = lock_levels({vw for vw, _, _ in wanted}, {sku for _, sku, _ in wanted})
    amounts = [(levels[vw, sku].pk, quantity) for vw, sku, quantity in wanted]
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE inventory_stocklevel t SET on_hand = t.on_hand + v.n FROM ("
            "SELECT id, sum(n)::int AS n FROM unnest(%s::bigint[], %s::int[]) AS u(id, n) "
            "GROUP BY id) v WHERE t.id = v.id",
            [[pk for pk, _ in amounts], [n for _, n in amounts]],
        )
    note_moved(pk for pk, _ in amounts)
    who = f"{actor.kind}:{actor.name}"[:80]
    return copy_rows(
        StockMovement,
        MOVEMENT,
        [(pk, "outside", "available", n, None, reason, who, now) for pk, n in amounts],
    )
