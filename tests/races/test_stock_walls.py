"""Drop every lock in the code: the database still promises no unit twice.

Each pair of writers looks at the same stock before either acts. With the constraints in place
one of them is refused; the control without them promises more than there is.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, connection

from inventory import adjustments, counting, slices, transfers
from inventory import services as inventory
from inventory.adjustments import Kind
from inventory.contracts import Demand, StockRequest
from inventory.models import StockLevel, StockSlice
from ordercenter.catalog.models import Shop
from ordercenter.core.actor import PIPELINE, Actor
from ordercenter.core.policy import Role
from tests.factories import (
    OrderLineFactory,
    ShopFactory,
    SkuFactory,
    VirtualWarehouseFactory,
    user_with,
)
from tests.races.tools import nobody_locks, red, stock_up, without

pytestmark = pytest.mark.django_db(transaction=True)
UNITS = 3
STOCK = {"S1", "S2", "S3", "S4", "S5", "S9", "S10", "S13", "S14"}
Call = Callable[[], Any]


@dataclass
class Room:
    """Three units of one SKU, two shops, and somebody who may do everything with them."""

    level: StockLevel
    one: Shop
    two: Shop
    user: User

    @property
    def by(self) -> dict[str, Any]:
        return {"user": self.user, "actor": Actor.person(self.user)}

    def buy(self, shop: Shop, units: int = UNITS) -> Call:
        """A paid order of this shop."""
        line = OrderLineFactory.create(
            order__shop=shop, sku=self.level.sku, quantity=units, amount=Decimal("300.00")
        )
        request = StockRequest(
            line.order_id,
            (Demand(line.pk, self.level.sku_id, units, Decimal("300.00")),),
            (self.level.virtual_warehouse_id,),
            shop_id=shop.pk,
            is_paid=True,
        )
        return partial(inventory.reserve_many, [request], actor=PIPELINE)

    def set_aside(self, shop: Shop) -> Call:
        return partial(slices.set_slice, self.level.pk, shop.pk, UNITS, **self.by)

    def write_off(self) -> Call:
        return partial(
            adjustments.adjust, self.level.virtual_warehouse_id, self.level.sku_id, UNITS,
            Kind.GONE, reason="遗失", **self.by,
        )  # fmt: skip

    def send_away(self) -> Call:
        elsewhere = VirtualWarehouseFactory.create()
        paper = transfers.draft(
            self.level.virtual_warehouse_id, elsewhere.pk, {self.level.sku_id: UNITS}, **self.by
        )
        return partial(transfers.send, paper.pk, **self.by)

    def count_none(self) -> Call:
        paper = counting.open_count(self.level.virtual_warehouse_id, [self.level.sku_id], **self.by)
        counting.count_sku(paper.pk, self.level.sku_id, 0, **self.by)
        return partial(counting.submit, paper.pk, **self.by)


@pytest.fixture
def room() -> Room:
    level = StockLevel(virtual_warehouse=VirtualWarehouseFactory.create(), sku=SkuFactory.create())
    stock_up(level, UNITS)
    level = StockLevel.objects.get(sku=level.sku)
    user = user_with(Role.WAREHOUSE_SUPERVISOR)
    return Room(level, ShopFactory.create(), ShopFactory.create(), user)


def two_orders(room: Room) -> list[Call]:
    return [room.buy(room.one), room.buy(room.two)]


def an_order_and_a_slice(room: Room) -> list[Call]:
    return [room.buy(room.one), room.set_aside(room.two)]


def two_slices(room: Room) -> list[Call]:
    return [room.set_aside(room.one), room.set_aside(room.two)]


def a_sale_from_a_slice_and_a_claw_back(room: Room) -> list[Call]:
    room.set_aside(room.two)()
    return [room.buy(room.two), room.buy(room.one)]


def two_claw_backs(room: Room) -> list[Call]:
    room.set_aside(room.two)()
    return [room.buy(room.one), room.buy(ShopFactory.create())]


def an_order_and_a_transfer(room: Room) -> list[Call]:
    return [room.buy(room.one), room.send_away()]


def two_transfers(room: Room) -> list[Call]:
    return [room.send_away(), room.send_away()]


def an_order_and_a_correction(room: Room) -> list[Call]:
    return [room.buy(room.one), room.write_off()]


def an_order_and_a_count(room: Room) -> list[Call]:
    return [room.buy(room.one), room.count_none()]


PAIRS = (
    two_orders,
    an_order_and_a_slice,
    two_slices,
    a_sale_from_a_slice_and_a_claw_back,
    two_claw_backs,
    an_order_and_a_transfer,
    two_transfers,
    an_order_and_a_correction,
    an_order_and_a_count,
)


def walls() -> Iterator[str]:
    """Every check on the figures of levels and slices, by name."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT conname FROM pg_constraint WHERE contype = 'c' AND conrelid IN "
            "('inventory_stocklevel'::regclass, 'inventory_stockslice'::regclass)"
        )
        yield from (name for (name,) in cursor.fetchall())


def claimed(room: Room) -> int:
    """Units promised to orders, set aside for shops, or taken off what there was."""
    room.level.refresh_from_db()
    aside = sum(max(0, units) for units in StockSlice.objects.values_list("unsold", flat=True))
    return room.level.reserved + aside + UNITS - room.level.on_hand


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.__name__)
def test_with_the_locks_one_of_two_gets_it_and_the_other_is_refused(
    pair: Callable[[Room], list[Call]], room: Room, run_together: Any
) -> None:
    run_together(*pair(room))
    assert claimed(room) == UNITS
    assert red() & STOCK == set()


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.__name__)
def test_without_any_lock_a_constraint_refuses_the_second(
    pair: Callable[[Room], list[Call]],
    room: Room,
    run_together: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = pair(room)
    nobody_locks(monkeypatch, sides=len(calls))
    results = run_together(*calls)
    assert sum(isinstance(result, IntegrityError) for result in results) == 1
    assert claimed(room) == UNITS
    assert red() & STOCK == set()


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.__name__)
def test_control_without_locks_and_constraints_more_is_claimed_than_there_is(
    pair: Callable[[Room], list[Call]],
    room: Room,
    run_together: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = pair(room)
    with without(walls=list(walls())):
        nobody_locks(monkeypatch, sides=len(calls))
        results = run_together(*calls)
        assert not any(isinstance(result, BaseException) for result in results)
        assert claimed(room) > UNITS
        monkeypatch.undo()
