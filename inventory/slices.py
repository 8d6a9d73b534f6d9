"""Units of a level that one shop alone may sell: set aside, changed, given back to everybody."""

from typing import Final

from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction
from django.db.models import F

from inventory.errors import StaleStock
from inventory.models import StockLevel, StockSlice, VirtualWarehouse
from inventory.moves import note_moved
from ordercenter.audit.models import Action
from ordercenter.audit.services import record
from ordercenter.catalog.models import Shop
from ordercenter.core.actor import Actor
from ordercenter.core.errors import InvalidInput, NotFound
from ordercenter.core.policy import Can, require

MOST_UNITS: Final = 10_000_000


@transaction.atomic
def set_slice(
    level_id: int,
    shop_id: int,
    units: int,
    *,
    user: AbstractBaseUser,
    actor: Actor,
    priority: int | None = None,
    expected: int | None = None,
) -> StockSlice:
    """From now on so many unsold units of a level are the shop's alone.

    What it has sold out of its slice before does not count. Repeatable. ``expected`` is the
    slice's ``quantity`` as the caller saw it (0 where there was none): StaleStock if somebody
    else has changed it since; sales do not. Raises NotAllowed, NotFound, and InvalidInput naming
    what is free, so that slices never add up to more than can be sold.
    """
    require(user, Can.EDIT_STOCK_POLICY)
    if not 0 < units <= MOST_UNITS:
        raise InvalidInput(what=f"锁定数量必须在 1 到 {MOST_UNITS} 之间：{units}")
    level = StockLevel.objects.locked([level_id]).get(level_id)
    if level is None:
        raise NotFound(what=f"库存 {level_id}")
    _must_be_served(level, shop_id)
    row = StockSlice.objects.select_for_update(no_key=True).filter(
        level=level, shop_id=shop_id
    ).first() or StockSlice(level=level, shop_id=shop_id, quantity=0, unsold=0, is_active=False)
    rank = row.priority if priority is None else priority
    if row.is_active and (row.unsold, row.priority) == (units, rank):
        return row
    _must_be_fresh(row, expected)
    room = level.on_hand - level.reserved - level.locked + row.unsold
    if units > room:
        raise InvalidInput(what=f"最多可锁定 {room} 件：其余已被订单占用或锁定给其他店铺")
    before = _facts(row) if row.pk else None
    more = units - row.unsold
    row.quantity, row.unsold, row.priority, row.is_active = row.quantity + more, units, rank, True
    row.save()
    _lock(level, more)
    note_moved([level.pk])
    _record(row, before, actor=actor)
    return row


@transaction.atomic
def end_slice(
    slice_id: int, *, user: AbstractBaseUser, actor: Actor, expected: int | None = None
) -> StockSlice:
    """The shop's unsold units belong to everybody again. Repeatable.

    ``expected`` as in ``set_slice``. Raises NotAllowed, NotFound, StaleStock.
    """
    require(user, Can.EDIT_STOCK_POLICY)
    level_id = StockSlice.objects.filter(pk=slice_id).values_list("level_id", flat=True).first()
    if level_id is None:
        raise NotFound(what=f"店铺锁定 {slice_id}")
    level = StockLevel.objects.locked([level_id])[level_id]
    row = StockSlice.objects.select_for_update(no_key=True).get(pk=slice_id)
    if not row.is_active:
        return row
    _must_be_fresh(row, expected)
    before, unsold = _facts(row), row.unsold
    row.quantity, row.unsold, row.is_active = row.quantity - unsold, 0, False
    row.save()
    _lock(level, -unsold)
    note_moved([level.pk])
    _record(row, before, actor=actor)
    return row


def _lock(level: StockLevel, units: int) -> None:
    """By the difference, so that the constraint sees what two would take who did not wait."""
    StockLevel.objects.filter(pk=level.pk).update(locked=F("locked") + units)


def _must_be_served(level: StockLevel, shop_id: int) -> None:
    place = VirtualWarehouse.objects.get(pk=level.virtual_warehouse_id)
    if not Shop.objects.filter(pk=shop_id).exists():
        raise NotFound(what=f"店铺 {shop_id}")
    served = set(place.shops.values_list("pk", flat=True))
    if served and shop_id not in served:
        raise InvalidInput(what=f"虚拟仓“{place}”不供应该店铺，不能为它锁定库存")


def _must_be_fresh(row: StockSlice, expected: int | None) -> None:
    if expected is not None and expected != row.quantity:
        raise StaleStock(what="店铺锁定库存")


def _facts(row: StockSlice) -> dict[str, object]:
    return {
        "quantity": row.quantity, "unsold": row.unsold, "priority": row.priority,
        "is_active": row.is_active,
    }  # fmt: skip


def _record(row: StockSlice, before: dict[str, object] | None, *, actor: Actor) -> None:
    after = _facts(row)
    change: dict[str, object] = {
        name: [before[name] if before else None, value]
        for name, value in after.items()
        if before is None or before[name] != value
    }
    record(
        Action.STOCK_POLICY_CHANGED, object_type="stock_slice", object_id=row.pk, actor=actor,
        change={"level": row.level_id, "shop": row.shop_id, **change},
    )  # fmt: skip
