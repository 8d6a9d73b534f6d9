"""Units that go from one account to another: the ledger, and the levels it explains.

Everything that moves stock, reserving apart, writes through ``post``.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from django.db import connection

from inventory.models import Account, StockLevel, StockMovement
from inventory.moves import note_moved
from ordercenter.core.actor import Actor
from ordercenter.core.bulk import copy_rows

LevelKey = tuple[int, int]
"""(virtual warehouse, SKU)."""
COLUMN: Final[Mapping[Account, str]] = {
    Account.AVAILABLE: "on_hand",
    Account.INBOUND: "inbound",
    Account.TRANSIT: "in_transit",
    Account.DEFECT: "defect",
}
"""Accounts that a level counts; what is reserved moves by reservations alone."""
_COLUMNS: Final = tuple(COLUMN.values())
_MOVEMENT: Final = (
    "level_id", "source", "target", "quantity", "reservation_id", "reason", "document", "actor",
    "created_at",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Move:
    """So many units of a level from one account to another. None at all is no movement."""

    level_id: int
    source: Account
    target: Account
    quantity: int
    document: str = ""
    """The paper behind it, where it is another one than that of its companions."""


def open_levels(room_ids: Collection[int], sku_ids: Collection[int]) -> dict[LevelKey, StockLevel]:
    """Lock every level of these SKUs in these virtual warehouses, making those that are missing.

    Missing ones are made first and in one order, so that nobody waits for them while he holds
    a level.
    """
    wanted = sorted((room, sku) for room in set(room_ids) for sku in set(sku_ids))
    rows = StockLevel.objects.filter(virtual_warehouse_id__in=room_ids, sku_id__in=sku_ids)
    there = set(rows.values_list("virtual_warehouse_id", "sku_id"))
    StockLevel.objects.bulk_create(
        [
            StockLevel(virtual_warehouse_id=room, sku_id=sku)
            for room, sku in wanted
            if (room, sku) not in there
        ],
        ignore_conflicts=True,
    )
    locked = rows.order_by("pk").select_for_update(no_key=True)
    return {(level.virtual_warehouse_id, level.sku_id): level for level in locked}


def free_of(level: StockLevel) -> int:
    """Units that are promised to nobody and set aside for no shop."""
    return level.on_hand - level.reserved - level.locked


def post(
    moves: Iterable[Move], *, reason: str, document: str = "", actor: Actor, now: datetime
) -> int:
    """Write these movements and move the figures of their levels, which the caller has locked.

    Returns how many movements. Raises IntegrityError where a figure would become negative or
    what is promised would not be there: the caller has looked before.
    """
    moving = [move for move in moves if move.quantity]
    deltas: dict[int, dict[str, int]] = defaultdict(lambda: dict.fromkeys(_COLUMNS, 0))
    for move in moving:
        for account, units in ((move.source, -move.quantity), (move.target, move.quantity)):
            if column := COLUMN.get(account):
                deltas[move.level_id][column] += units
    if not moving:
        return 0
    rows = [(level, *(delta[name] for name in _COLUMNS)) for level, delta in sorted(deltas.items())]
    changes = ", ".join(f"{name} = t.{name} + v.{name}" for name in _COLUMNS)
    arrays = ", ".join("%s::int[]" for _ in _COLUMNS)
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE inventory_stocklevel t SET {changes} "  # noqa: S608 - names come from code
            f"FROM unnest(%s::bigint[], {arrays}) AS v(id, {', '.join(_COLUMNS)}) "
            "WHERE t.id = v.id",
            [list(column) for column in zip(*rows, strict=True)],
        )
    note_moved(deltas)
    who = f"{actor.kind}:{actor.name}"[:80]
    return copy_rows(
        StockMovement,
        _MOVEMENT,
        [
            (m.level_id, m.source.value, m.target.value, m.quantity, None, reason,
             m.document or document, who, now)
            for m in moving
        ],
    )  # fmt: skip
