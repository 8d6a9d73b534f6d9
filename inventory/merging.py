"""Two SKUs were one thing all along: the units of one become units of the other.

Both ledgers stay. What was promised to orders is given back on the old level and promised again
on the kept one in the same transaction, so that nobody comes between.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from django.db import connection, transaction

from inventory.ledger import LevelKey, Move, open_levels, post
from inventory.models import (
    Account,
    Adjustment,
    ClawBack,
    CountLine,
    PresalePromise,
    Reservation,
    StockLevel,
    StockMovement,
    StockSlice,
)
from inventory.moves import note_moved
from inventory.services import lock_ahead, release_from
from ordercenter.core.actor import Actor
from ordercenter.core.bulk import copy_rows, next_ids
from ordercenter.core.errors import InvalidInput

REASON = "merge"


@dataclass(frozen=True, slots=True)
class Moved:
    """What merging two SKUs' levels came to."""

    units: int
    reservations: Mapping[int, int]
    """The new reservation in the place of each old one."""


def problems(old_id: int) -> Iterator[str]:
    """Why a SKU's stock cannot be moved to another at present, in words."""
    levels = StockLevel.objects.filter(sku=old_id)
    if any(level.inbound or level.in_transit for level in levels):
        yield "还有在途的到货或调拨，请先收完或取消"
    if StockSlice.objects.filter(level__in=levels, is_active=True).exists():
        yield "还有店铺锁定，请先解除"
    if PresalePromise.objects.filter(inbound_line__sku=old_id, state="active").exists():
        yield "还有预售承诺，请等它们转为现货"
    held = Reservation.objects.filter(level__in=levels, state="active").values("line")
    if ClawBack.objects.filter(line__in=held, state="taken").exists():
        yield "有占用来自别家店的回拨，请等这些订单发出"
    counts = CountLine.objects.filter(level__in=levels, count__state__in=["open", "waiting"])
    if counts.exists():
        yield "正在盘点，请先完成或取消"
    if Adjustment.objects.filter(level__in=levels, state="waiting").exists():
        yield "有待复核的库存调整，请先处理"


@transaction.atomic
def merge_levels(old_id: int, kept_id: int, *, actor: Actor, now: datetime) -> Moved:
    """Move all units of one SKU to the other, room by room; promises follow their units.

    The orders that hold any are locked by the caller. Raises InvalidInput where ``problems``
    finds something.
    """
    rooms = list(
        StockLevel.objects.filter(sku=old_id).values_list("virtual_warehouse_id", flat=True)
    )
    held = Reservation.objects.filter(level__sku=old_id, state="active")
    orders = list(held.values_list("order_id", flat=True))
    StockLevel.objects.bulk_create(
        [StockLevel(virtual_warehouse_id=room, sku_id=kept_id) for room in rooms],
        ignore_conflicts=True,
    )
    lock_ahead(orders, rooms, [old_id, kept_id])
    levels = open_levels(rooms, [old_id, kept_id])
    if wrong := list(problems(old_id)):
        raise InvalidInput(what="；".join(wrong))
    rows = list(held.order_by("pk").select_related("level"))
    places = {levels[room, old_id].pk for room in rooms}
    release_from(orders, places, reason=REASON, actor=actor, now=now)
    moves = []
    for room in rooms:
        old, kept = levels[room, old_id], levels[room, kept_id]
        for account, units in (
            (Account.AVAILABLE, old.on_hand),
            (Account.DEFECT, old.defect),
        ):
            moves.append(Move(old.pk, account, Account.BETWEEN, units))
            moves.append(Move(kept.pk, Account.BETWEEN, account, units))
    post(moves, reason=REASON, document=f"merge:{old_id}", actor=actor, now=now)
    new = _promise_again(rows, levels, kept_id, actor=actor, now=now)
    return Moved(sum(levels[room, old_id].on_hand for room in rooms), new)


def _promise_again(
    rows: list[Reservation],
    levels: Mapping[LevelKey, StockLevel],
    kept_id: int,
    *,
    actor: Actor,
    now: datetime,
) -> dict[int, int]:
    """The same promises on the kept levels, running out when they would have."""
    pks = next_ids(Reservation, len(rows))
    places = [levels[row.level.virtual_warehouse_id, kept_id].pk for row in rows]
    units: dict[int, int] = defaultdict(int)
    for row, place in zip(rows, places, strict=True):
        units[place] += row.quantity
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE inventory_stocklevel t SET reserved = t.reserved + v.n "
            "FROM unnest(%s::bigint[], %s::int[]) AS v(id, n) WHERE t.id = v.id",
            [list(units), list(units.values())],
        )
    note_moved(units)
    copy_rows(
        Reservation,
        ("id", "line_id", "order_id", "level_id", "quantity", "slice_units", "state", "created_at",
         "expires_at", "close_reason"),
        (
            (pk, row.line_id, row.order_id, place, row.quantity, 0, "active", now, row.expires_at,
             "")
            for pk, row, place in zip(pks, rows, places, strict=True)
        ),
    )  # fmt: skip
    who = f"{actor.kind}:{actor.name}"[:80]
    copy_rows(
        StockMovement,
        ("level_id", "source", "target", "quantity", "reservation_id", "reason", "actor",
         "created_at"),
        (
            (place, "available", "reserved", row.quantity, pk, REASON, who, now)
            for pk, row, place in zip(pks, rows, places, strict=True)
        ),
    )  # fmt: skip
    return {row.pk: pk for row, pk in zip(rows, pks, strict=True)}
