"""A warehouse, its people and what their papers left behind."""

from typing import Any

from django.contrib.auth.models import User
from django.db import connection

from inventory import services as inventory
from inventory.contracts import Demand, StockRequest
from inventory.models import StockLevel, StockPolicy, VirtualWarehouse
from ordercenter.catalog.models import Sku
from ordercenter.core.actor import PIPELINE, Actor
from ordercenter.core.clock import now as clock_now
from ordercenter.core.policy import Role
from ordercenter.orders.models import SalesOrder
from ordercenter.pipeline.invariants import INVARIANTS, Look, look_at
from tests.factories import (
    OrderLineFactory,
    SkuFactory,
    VirtualWarehouseFactory,
    WarehouseAssignmentFactory,
    user_with,
)

LEDGER = {"S1", "S2", "S3", "S6", "S10"}
"""Invariants that hold over orders no path has taken in."""


class Shelves:
    """One SKU in one virtual warehouse, a picker who works there and two supervisors."""

    def __init__(self, units: int = 0, *, limit: int = 20) -> None:
        self.room: VirtualWarehouse = VirtualWarehouseFactory.create()
        self.other: VirtualWarehouse = VirtualWarehouseFactory.create()
        self.sku: Sku = SkuFactory.create()
        self.picker: User = user_with(Role.PICKER)
        for room in (self.room, self.other):
            WarehouseAssignmentFactory.create(user=self.picker, warehouse=room.warehouse)
        self.boss: User = user_with(Role.WAREHOUSE_SUPERVISOR)
        self.second: User = user_with(Role.OPERATIONS_SUPERVISOR)
        StockPolicy(two_person_units=limit).save()
        if units:
            inventory.receive([(self.room.pk, self.sku.pk, units)], actor=PIPELINE)

    def level(self, room: VirtualWarehouse | None = None, sku: Sku | None = None) -> StockLevel:
        return StockLevel.objects.get(virtual_warehouse=room or self.room, sku=sku or self.sku)

    def figures(self, room: VirtualWarehouse | None = None) -> dict[str, int]:
        """What the level has of every kind, but for kinds of which there is nothing."""
        level = self.level(room)
        names = ("on_hand", "reserved", "locked", "inbound", "in_transit", "defect")
        return {name: value for name in names if (value := getattr(level, name))}

    def order(self, units: int = 1) -> SalesOrder:
        """An order that was promised so many units of the room."""
        line = OrderLineFactory.create(sku=self.sku, quantity=units)
        request = StockRequest(
            line.order_id, (Demand(line.pk, self.sku.pk, units),), (self.room.pk,)
        )
        (grant,) = inventory.reserve_many([request], actor=PIPELINE)
        assert grant.granted
        return line.order

    def ship(self, order: SalesOrder) -> None:
        held = order.lines.get().reservations.get()
        inventory.consume([held.pk], order_id=order.pk, reason="ship", actor=PIPELINE)


def by(user: User) -> dict[str, Any]:
    """Who acts, as services want to know it."""
    return {"user": user, "actor": Actor.person(user)}


def ledger_red() -> set[str]:
    """What of the ledger does not hold."""
    with connection.cursor() as cursor:
        told = look_at(Look(cursor, clock_now(), 20), [i for i in INVARIANTS if i.code in LEDGER])
    return {one.code for one in told if not one.holds}
