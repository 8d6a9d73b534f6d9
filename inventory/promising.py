"""Promises written: reservations, their ledger lines and the counters of their levels.

One statement for a whole batch (``performance.md``: a row inside a batch costs a few
microseconds, a statement as much as five rows). For ``services``; under the locks of the levels.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final, NamedTuple

from django.db import connection

from inventory.granting import Level, column
from inventory.moves import note_moved
from ordercenter.core.actor import Actor
from ordercenter.core.bulk import array_text, prepared_cursor


class Promise(NamedTuple):
    """So many units of a level for one line, decided and not yet written."""

    line_id: int
    order_id: int
    level_id: int
    quantity: int
    slice_id: int | None
    slice_units: int
    expires_at: datetime | None


_WRITE: Final = """
    WITH counted AS (
        UPDATE inventory_stocklevel t
        SET reserved = t.reserved + v.taken, locked = t.locked - v.unlocked
        FROM unnest(%s::bigint[], %s::int[], %s::int[]) AS v(id, taken, unlocked)
        WHERE t.id = v.id
    ), promised AS (
        INSERT INTO inventory_reservation (line_id, order_id, level_id, quantity, slice_id,
            slice_units, expires_at, state, created_at, close_reason)
        SELECT v.*, 'active', %s, '' FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[],
            %s::int[], %s::bigint[], %s::int[], %s::timestamptz[]) AS v
        RETURNING id, line_id, level_id, quantity
    ), booked AS (
        INSERT INTO inventory_stockmovement (level_id, source, target, quantity, reservation_id,
            reason, actor, created_at)
        SELECT level_id, 'available', 'reserved', quantity, id, 'reserve', %s, %s FROM promised
    )
    SELECT line_id, id FROM promised
"""


def write_promises(
    promises: Sequence[Promise], levels: Iterable[Level], *, actor: Actor, now: datetime
) -> dict[int, int]:
    """Write these promises and bring levels and slices to it; return reservations by line."""
    if not promises:
        return {}
    touched = [(lv.pk, lv.taken, lv.unlocked) for lv in levels if lv.taken]
    _count_slices(levels)
    with prepared_cursor() as cursor:
        cursor.execute(
            _WRITE,
            [
                *(array_text(values) for values in zip(*touched, strict=True)),
                now,
                *(array_text(values) for values in zip(*promises, strict=True)),
                f"{actor.kind}:{actor.name}"[:80],
                now,
            ],
        )
        written = dict(cursor.fetchall())
    note_moved(pk for pk, _, _ in touched)
    return written


def _count_slices(levels: Iterable[Level]) -> None:
    """Take out of the slices what was sold and what was taken back."""
    touched = [
        (one.pk, one.sold, one.clawed)
        for level in levels
        for one in level.slices.values()
        if one.sold or one.clawed
    ]
    if not touched:
        return
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE inventory_stockslice t SET unsold = t.unsold - v.sold - v.clawed, "
            "quantity = t.quantity - v.clawed "
            "FROM unnest(%s::bigint[], %s::int[], %s::int[]) AS v(id, sold, clawed) "
            "WHERE t.id = v.id",
            column(touched),
        )
