"""Writes to the stock: reserve, release, consume, receive. Each writes the ledger with it.

Locks: stock levels in primary-key order, after the order rows and before the audit
(``design.md`` section 3). READ COMMITTED: lock first, then read.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from django.db import connection, transaction

from inventory.contracts import Grant, Shortage, StockRequest
from inventory.models import Account, Reservation, StockLevel, StockMovement
from inventory.moves import note_moved
from ordercenter.core.actor import Actor
from ordercenter.core.bulk import copy_rows, next_ids, update_rows
from ordercenter.core.clock import now as clock_now
from ordercenter.core.errors import InvalidInput

LevelKey = tuple[int, int]
_MOVEMENT: Final = (
    "level_id", "source", "target", "quantity", "reservation_id", "reason", "actor", "created_at",
)  # fmt: skip
_RESERVATION: Final = (
    "id", "line_id", "order_id", "level_id", "quantity", "state", "created_at", "expires_at",
    "close_reason",
)  # fmt: skip


class _Level:
    """A locked level while a batch is being granted."""

    __slots__ = ("available", "pk", "taken")

    def __init__(self, pk: int, available: int) -> None:
        self.pk = pk
        self.available = available
        self.taken = 0


def lock_levels(
    virtual_warehouse_ids: Collection[int], sku_ids: Collection[int]
) -> dict[LevelKey, _Level]:
    """Lock the levels of these SKUs in primary-key order and tell what each has left."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT id, virtual_warehouse_id, sku_id, on_hand - reserved "
            "FROM inventory_stocklevel "
            "WHERE virtual_warehouse_id = ANY(%s) AND sku_id = ANY(%s) "
            "ORDER BY id FOR NO KEY UPDATE",
            [list(virtual_warehouse_ids), list(sku_ids)],
        )
        return {(vw, sku): _Level(pk, left) for pk, vw, sku, left in cursor.fetchall()}


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


def _choose(
    wanted: Mapping[int, int], sources: Sequence[int], levels: Mapping[LevelKey, _Level]
) -> int | None:
    """The first source that has everything."""
    for source in sources:
        for sku, quantity in wanted.items():
            level = levels.get((source, sku))
            if level is None or level.available < quantity:
                break
        else:
            return source
    return None


def _shortages(
    wanted: Mapping[int, int], sources: Sequence[int], levels: Mapping[LevelKey, _Level]
) -> tuple[Shortage, ...]:
    """What is missing, told for the source that misses least."""

    def missing(source: int) -> list[Shortage]:
        found = []
        for sku, quantity in wanted.items():
            level = levels.get((source, sku))
            left = level.available if level else 0
            if left < quantity:
                found.append(Shortage(sku, quantity, left))
        return found

    options = [missing(source) for source in sources] or [
        [Shortage(sku, quantity, 0) for sku, quantity in wanted.items()]
    ]
    return tuple(min(options, key=lambda m: sum(s.wanted - s.available for s in m)))


@transaction.atomic
def reserve_many(
    requests: Sequence[StockRequest],
    *,
    actor: Actor,
    now: datetime | None = None,
    new_orders: bool = False,
) -> list[Grant]:
    """Hold stock for every request that can be filled whole, first come first served.

    Answers in the order of ``requests``; a request that cannot be filled changes nothing and
    names its shortages. Safe to repeat: an order that holds stock already gets its first
    answer again. ``new_orders`` says that no other transaction can know these orders yet.
    """
    now = now or clock_now()
    sources = {source for request in requests for source in request.sources}
    skus = {demand.sku_id for request in requests for demand in request.demands}
    levels = lock_levels(sources, skus)
    # Ask who already holds only after the lock: before it, a twin call could be half-way.
    held = {} if new_orders else _already_held([request.order_id for request in requests])
    grants: list[Grant] = []
    taking: list[tuple[StockRequest, int, int]] = []
    for request in requests:
        if request.order_id in held:
            vw, pks = held[request.order_id]
            grants.append(Grant(request.order_id, vw, reservations=pks))
            continue
        wanted = Counter[int]()  # two lines may want one SKU: it is the sum that must fit
        for demand in request.demands:
            wanted[demand.sku_id] += demand.quantity
        source = _choose(wanted, request.sources, levels)
        if source is None:
            seen = {
                sku: sum(
                    level.available for s in request.sources if (level := levels.get((s, sku)))
                )
                for sku in wanted
            }
            short = _shortages(wanted, request.sources, levels)
            grants.append(Grant(request.order_id, None, short, seen=seen))
            continue
        for sku, quantity in wanted.items():
            level = levels[source, sku]
            level.available -= quantity
            level.taken += quantity
        taking.append((request, source, len(grants)))
        grants.append(Grant(request.order_id, source))
    _write_reservations(taking, grants, levels, actor=actor, now=now)
    return grants


def _write_reservations(
    taking: Sequence[tuple[StockRequest, int, int]],
    grants: list[Grant],
    levels: Mapping[LevelKey, _Level],
    *,
    actor: Actor,
    now: datetime,
) -> None:
    ids = iter(next_ids(Reservation, sum(len(request.demands) for request, _, _ in taking)))
    reservations: list[tuple[Any, ...]] = []
    movements: list[tuple[Any, ...]] = []
    who = f"{actor.kind}:{actor.name}"[:80]
    for request, source, index in taking:
        pks = []
        for demand in request.demands:
            pk = next(ids)
            pks.append(pk)
            level = levels[source, demand.sku_id].pk
            reservations.append(
                (pk, demand.line_id, request.order_id, level, demand.quantity, "active", now,
                 request.expires_at, "")
            )  # fmt: skip
            movements.append(
                (level, "available", "reserved", demand.quantity, pk, "reserve", who, now)
            )
        grants[index] = Grant(request.order_id, source, reservations=tuple(pks))
    update_rows_reserved = sorted(
        (level.pk, level.taken) for level in levels.values() if level.taken
    )
    if not update_rows_reserved:
        return
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE inventory_stocklevel t SET reserved = t.reserved + v.taken "
            "FROM unnest(%s::bigint[], %s::int[]) AS v(id, taken) WHERE t.id = v.id",
            [list(column) for column in zip(*update_rows_reserved, strict=True)],
        )
    note_moved(pk for pk, _ in update_rows_reserved)
    copy_rows(Reservation, _RESERVATION, reservations)
    copy_rows(StockMovement, _MOVEMENT, movements)


def _active(order_ids: Collection[int]) -> list[tuple[int, int, int, int]]:
    """(reservation, order, level, quantity) that are active, their levels locked first."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT id FROM inventory_stocklevel WHERE id IN ("
            "SELECT level_id FROM inventory_reservation WHERE order_id = ANY(%s) "
            "AND state = 'active') ORDER BY id FOR NO KEY UPDATE",
            [list(order_ids)],
        )
        cursor.execute(
            "SELECT id, order_id, level_id, quantity FROM inventory_reservation "
            "WHERE order_id = ANY(%s) AND state = 'active' ORDER BY id",
            [list(order_ids)],
        )
        return [(pk, order, level, n) for pk, order, level, n in cursor.fetchall()]


def _close(
    rows: Sequence[tuple[int, int, int, int]],
    *,
    state: str,
    target: Account,
    reason: str,
    actor: Actor,
    now: datetime,
) -> None:
    if not rows:
        return
    update_rows(
        "inventory_reservation",
        [
            ("id", "bigint"),
            ("state", "text"),
            ("closed_at", "timestamptz"),
            ("close_reason", "text"),
        ],
        [(pk, state, now, reason) for pk, *_ in rows],
        where="t.state = 'active'",
    )
    back: dict[int, int] = defaultdict(int)
    for _, _, level, quantity in rows:
        back[level] += quantity
    gone = target == Account.SHIPPED
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE inventory_stocklevel t SET reserved = t.reserved - v.n, "
            "on_hand = t.on_hand - CASE WHEN %s THEN v.n ELSE 0 END "
            "FROM unnest(%s::bigint[], %s::int[]) AS v(id, n) WHERE t.id = v.id",
            [gone, list(back), list(back.values())],
        )
    note_moved(back)
    who = f"{actor.kind}:{actor.name}"[:80]
    copy_rows(
        StockMovement,
        _MOVEMENT,
        [
            (level, "reserved", target.value, quantity, pk, reason[:32], who, now)
            for pk, _, level, quantity in rows
        ],
    )


@transaction.atomic
def release(
    order_ids: Collection[int], *, reason: str, actor: Actor, now: datetime | None = None
) -> int:
    """Give back all stock these orders hold; return how many reservations ended. Repeatable."""
    rows = _active(order_ids)
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
    """The units left the shelf. Raises InvalidInput unless every reservation was active."""
    rows = [row for row in _active([order_id]) if row[0] in set(reservation_ids)]
    if len(rows) != len(set(reservation_ids)):
        raise InvalidInput(what="出库数量与占用不符，请刷新后重试")
    _close(
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
        _MOVEMENT,
        [(pk, "outside", "available", n, None, reason, who, now) for pk, n in amounts],
    )
