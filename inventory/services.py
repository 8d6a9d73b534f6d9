"""Writes to the stock: reserve, release, consume, receive. Each writes the ledger with it.

Locks: stock levels in primary-key order, after the order rows and before the audit
(``design.md`` section 3); slices after their levels. READ COMMITTED: lock first, then read.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime

from django.db import connection, transaction

from inventory import clawback
from inventory.caps import Caps
from inventory.closing import MOVEMENT, active, close
from inventory.contracts import Clawed, Grant, Immovable, StockRequest
from inventory.errors import NotReserved
from inventory.granting import (
    Clawing,
    Level,
    LevelKey,
    check_requests,
    choose,
    lock_levels,
    shortages,
    spread,
    wanted_by,
)
from inventory.models import Account, StockLevel, StockMovement
from inventory.moves import note_moved
from inventory.promising import Promise, write_promises
from ordercenter.core.actor import Actor
from ordercenter.core.bulk import array_text, copy_rows
from ordercenter.core.clock import now as clock_now


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


def _already_held(
    order_ids: Sequence[int],
) -> dict[int, tuple[tuple[int, ...], tuple[int, ...]]]:
    """Orders that hold stock already: (virtual warehouses, reservations)."""
    with connection.cursor() as cursor:
        # Joined to the list and not "= ANY", so that it is one index probe an order whatever
        # the planner believes of a table that has just grown; and planned anew each time.
        cursor.execute(
            "SELECT v.order_id, r.id, r.level_id FROM unnest(%s::bigint[]) AS v(order_id) "
            "CROSS JOIN LATERAL (SELECT id, level_id FROM inventory_reservation "
            "WHERE order_id = v.order_id AND state = 'active' OFFSET 0) r",
            [array_text(order_ids)],
        )
        rows = cursor.fetchall()
        if not rows:
            return {}
        cursor.execute(
            "SELECT id, virtual_warehouse_id FROM inventory_stocklevel "
            "WHERE id = ANY(%s::bigint[])",
            [array_text({level for _, _, level in rows})],
        )
        source_of = dict(cursor.fetchall())
    held: dict[int, list[int]] = defaultdict(list)
    sources: dict[int, dict[int, None]] = defaultdict(dict)
    for order_id, pk, level in rows:
        held[order_id].append(pk)
        sources[order_id][source_of[level]] = None
    return {order_id: (tuple(sources[order_id]), tuple(pks)) for order_id, pks in held.items()}


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
    placed: list[tuple[StockRequest, tuple[int, ...], list[Clawed]]] = []
    promises: list[Promise] = []
    for order_id, request in asked.items():
        if order_id in held and not request.beside:
            (vw, *also), pks = held[order_id]
            grants[order_id] = Grant(order_id, vw, reservations=pks, also=tuple(also))
            continue
        wanted = wanted_by(request.demands)
        if capped := caps.over(request, wanted):
            grants[order_id] = Grant(order_id, None, capped=capped)
            continue
        source = choose(wanted, request.sources, levels, request.shop_id)
        helper = clawing if source is None and clawing.may_help(request) else None
        if helper:
            source = helper.choose(wanted, request)
        if source is not None:
            laid = {demand.line_id: source for demand in request.demands}
        elif (found := spread(request, levels)) is not None:
            laid, helper = found, None
        else:
            grants[order_id] = _refusal(request, wanted, levels)
            continue
        caps.count(request, wanted)
        clawed = _take(request, laid, levels, promises, clawing=helper)
        placed.append((request, tuple(dict.fromkeys(laid.values())), clawed))
    written = write_promises(promises, levels.values(), actor=actor, now=now)
    for request, (source, *also), clawed in placed:
        own = tuple(written[demand.line_id] for demand in request.demands)
        grants[request.order_id] = Grant(
            request.order_id, source, reservations=own, clawed=tuple(clawed), also=tuple(also)
        )
    if taken_back := [(request, one) for request, _, clawed in placed for one in clawed]:
        clawback.keep(taken_back, actor=actor, now=now)
    return [grants[request.order_id] for request in requests]


def _take(
    request: StockRequest,
    laid: Mapping[int, int],
    levels: Mapping[LevelKey, Level],
    promises: list[Promise],
    *,
    clawing: Clawing | None,
) -> list[Clawed]:
    """Take every line's units at its place; return what came from other shops."""
    clawed: list[Clawed] = []
    for demand in request.demands:
        level = levels[laid[demand.line_id], demand.sku_id]
        if clawing:
            clawed += clawing.claw(demand, level, request)
        slice_id, units = level.take(request.shop_id, demand.quantity)
        promises.append(
            Promise(demand.line_id, request.order_id, level.pk, demand.quantity, slice_id, units,
                    request.expires_at)
        )  # fmt: skip
    return clawed


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
def release_from(
    order_ids: Collection[int],
    level_ids: Collection[int],
    *,
    reason: str,
    actor: Actor,
    now: datetime | None = None,
) -> int:
    """Give back what these orders hold of these levels; return how many reservations ended."""
    rows = [row for row in active(order_ids) if row.level_id in level_ids]
    close(
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
