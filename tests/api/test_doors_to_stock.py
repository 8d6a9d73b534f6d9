"""No door but those of the stock writes to it, whoever calls it and however (S10)."""

from typing import Final

import pytest
from django.db import transaction

from tests.api.recording import writes_to_stock
from tests.test_permissions import ADMIN_DOORS, DOORS, PEOPLE, Door, World, enter, world

__all__ = ["world"]
pytestmark = pytest.mark.django_db
METHODS: Final = ("get", "post", "put", "patch", "delete")

MAY_MOVE_STOCK: Final = {
    "orders/<str:number>/balance/": "the balance's order takes over what its deposit's holds",
    "orders/<str:number>/balance/undo/": "each of the two holds its own again",
    "orders/<str:number>/decide/": "a person lets an order go on, or cancels it",
    "orders/<str:number>/receiver/": "a corrected order goes on",
    "addresses/<int:pk>/answer/": "an answered order goes on",
    "listings/map/": "orders that waited for a code go on",
    "listings/accept/": "orders that waited for a code go on",
    "listings/sheet/apply/": "orders that waited for a code go on",
    "goods/merge/": "the units of two SKUs that are one come together",
    "work/<int:pk>/done/": "a reviewed order goes on",
    "work/parcels/<int:pk>/ship/": "the goods leave",
}
"""Doors that may, and why; those of the stock itself begin with one of ``STOCK_DOORS``."""
STOCK_DOORS: Final = ("stock/", "shortages/", "admin/inventory/")


def is_stock_door(route: str) -> bool:
    return route in MAY_MOVE_STOCK or route.startswith(STOCK_DOORS)


CLOSED: Final = {
    route: doors for route, doors in {**DOORS, **ADMIN_DOORS}.items() if not is_stock_door(route)
}


def tried(door: Door, person: str, method: str, world: World) -> set[str]:
    """The stock tables that this call writes to."""
    if method == door.method:
        with writes_to_stock() as found:
            enter(door, person, world)
        return found
    browser = world.browser_of(person)
    body = {"content_type": "application/json"} if method != "get" else {}
    with writes_to_stock() as found, transaction.atomic():
        getattr(browser, method)(
            door.path(world), {"sku": "SOFA", "quantity": 1, "verb": "reserve"}, **body
        )
        transaction.set_rollback(True)
    return found


@pytest.mark.parametrize("route", CLOSED)
def test_no_other_door_writes_to_the_stock_however_it_is_called(route: str, world: World) -> None:
    """By those whom the table lets in farthest: a supervisor, the office, and a stranger."""
    calls = {
        door.label: [
            *((person, door.method) for person in ("it", "packer", "anon")),
            *(("operations_supervisor", method) for method in METHODS),
        ]
        for door in CLOSED[route]
    }
    found = {
        (door.label, person, method): written
        for door in CLOSED[route]
        for person, method in calls[door.label]
        if (written := tried(door, person, method, world))
    }
    assert found == {}


@pytest.mark.nightly
@pytest.mark.parametrize("route", CLOSED)
def test_no_other_door_writes_to_the_stock_for_anybody(route: str, world: World) -> None:
    found = {
        (door.label, person, method): written
        for door in CLOSED[route]
        for person in PEOPLE
        for method in METHODS
        if (written := tried(door, person, method, world))
    }
    assert found == {}
