"""The end of a promise: units leave the shelf, or go back to it and to the slices they came from.

For ``services``; everything under the locks of the levels.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple

from django.db import connection

from inventory import clawback
from inventory.granting import column
from inventory.models import Account, StockMovement
from inventory.moves import note_moved
from ordercenter.core.actor import Actor
from ordercenter.core.bulk import copy_rows, update_rows

MOVEMENT: Final = (
    "level_id", "source", "target", "quantity", "reservation_id", "reason", "actor", "created_at",
)  # fmt: skip


class Held(NamedTuple):
    """An active reservation. ``is_clawed``: units of other shops' slices went into it."""

    pk: int
    order_id: int
    line_id: int
    level_id: int
    quantity: int
    slice_id: int | None
    slice_units: int
    is_clawed: bool


def active(order_ids: Collection[int]) -> list[Held]:
    """The active reservations of these orders, their levels locked first."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT id FROM inventory_stocklevel WHERE id IN ("
            "SELECT level_id FROM inventory_reservation WHERE order_id = ANY(%s) "
            "AND state = 'active') ORDER BY id FOR NO KEY UPDATE",
            [list(order_ids)],
        )
        cursor.execute(
            "SELECT id, order_id, line_id, level_id, quantity, slice_id, slice_units, "
            "EXISTS (SELECT 1 FROM inventory_clawback c WHERE c.order_id = r.order_id "
            "AND c.line_id = r.line_id AND c.state = 'taken') FROM inventory_reservation r "
            "WHERE order_id = ANY(%s) AND state = 'active' ORDER BY id",
            [list(order_ids)],
        )
        return [Held(*row) for row in cursor.fetchall()]


def close(
    rows: Sequence[Held],
    *,
    state: str,
    target: Account,
    reason: str,
    actor: Actor,
    now: datetime,
    refused: Mapping[int, str] | None = None,
) -> None:
    """End these reservations: their units go to ``target``, and on the books."""
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
        [(row.pk, state, now, reason) for row in rows],
        where="t.state = 'active'",
    )
    gone = target == Account.SHIPPED
    back: dict[int, int] = defaultdict(int)
    for row in rows:
        back[row.level_id] += row.quantity
    locked = {} if gone else _back_to_slices(rows, refused or {}, actor=actor, now=now)
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE inventory_stocklevel t SET reserved = t.reserved - v.n, "
            "locked = t.locked + v.locked, "
            "on_hand = t.on_hand - CASE WHEN %s THEN v.n ELSE 0 END "
            "FROM unnest(%s::bigint[], %s::int[], %s::int[]) AS v(id, n, locked) "
            "WHERE t.id = v.id",
            [gone, *column([(level, n, locked.get(level, 0)) for level, n in back.items()])],
        )
    note_moved(back)
    who = f"{actor.kind}:{actor.name}"[:80]
    copy_rows(
        StockMovement,
        MOVEMENT,
        [
            (row.level_id, "reserved", target.value, row.quantity, row.pk, reason[:32], who, now)
            for row in rows
        ],
    )


def _back_to_slices(
    rows: Sequence[Held], refused: Mapping[int, str], *, actor: Actor, now: datetime
) -> dict[int, int]:
    """Give slices back what came out of them; return the units locked again by level.

    A slice that has ended gets nothing back, and has sold that much less.
    """
    sold: dict[int, int] = defaultdict(int)
    clawed: dict[int, int] = defaultdict(int)
    for row in rows:
        if row.slice_id is not None:
            sold[row.slice_id] += row.slice_units
    lines = [row.line_id for row in rows if row.is_clawed]
    for one in clawback.end(lines, refused=refused, actor=actor, now=now) if lines else ():
        clawed[one.slice_id] += one.quantity
    if not sold and not clawed:
        return {}
    locked: dict[int, int] = defaultdict(int)
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE inventory_stockslice t SET "
            "unsold = t.unsold + CASE WHEN t.is_active THEN v.sold + v.clawed ELSE 0 END, "
            "quantity = t.quantity + CASE WHEN t.is_active THEN v.clawed ELSE -v.sold END "
            "FROM unnest(%s::bigint[], %s::int[], %s::int[]) AS v(id, sold, clawed) "
            "WHERE t.id = v.id "
            "RETURNING t.level_id, CASE WHEN t.is_active THEN v.sold + v.clawed ELSE 0 END",
            column([(pk, sold[pk], clawed[pk]) for pk in sorted({*sold, *clawed})]),
        )
        for level, units in cursor.fetchall():
            locked[level] += units
    return locked
