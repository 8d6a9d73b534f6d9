"""People of every role, and an order that stands on the wall with goods on the shelf."""

from collections.abc import Callable

import pytest
from django.test import Client

from ordercenter.core.policy import Role
from ordercenter.orders.models import OrderHold, SalesOrder
from ordercenter.orders.states import HoldKind, OrderStatus
from tests.factories import (
    OrderHoldFactory,
    OrderLineFactory,
    SalesOrderFactory,
    StockLevelFactory,
    VirtualWarehouseFactory,
    WarehouseFactory,
    user_with,
)

AsRole = Callable[..., Client]


@pytest.fixture
def as_role(db: None) -> AsRole:
    """Log somebody in who has these roles; without any, somebody who has none."""

    def logged_in(*roles: Role, username: str = "") -> Client:
        client = Client()
        client.force_login(user_with(*roles, username=username))
        return client

    return logged_in


def shelved_order(**fields: object) -> SalesOrder:
    """An order of one piece that lies on the shelf of a warehouse near the receiver."""
    order = SalesOrderFactory.create(**fields)
    line = OrderLineFactory.create(order=order, line_no=1)
    place = VirtualWarehouseFactory.create(warehouse=WarehouseFactory.create(covers=["江苏省"]))
    StockLevelFactory.create(virtual_warehouse=place, sku=line.sku, on_hand=5)
    return order


def held_order(*, tier: str = "2", kind: HoldKind = HoldKind.RULE, **fields: object) -> OrderHold:
    """The one open hold of an order that could go on without it."""
    order = shelved_order(status=OrderStatus.RECEIVED, **fields)
    return OrderHoldFactory.create(order=order, tier=tier, kind=kind)


def decision(hold: OrderHold, verb: str, **changes: object) -> dict[str, object]:
    """What the form of a card posts."""
    return {
        "verb": verb,
        "version": hold.order.version,
        "hold": hold.pk,
        "reason": "已电话核实，客户确认下单",
        "back": "/wall/",
        **changes,
    }
