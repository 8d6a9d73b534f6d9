"""Class BS: what the stock is asked that makes no sense, and what it answers.

Every row leaves levels, reservations and the ledger as they were, but for BS07, which is served
once, and BS08, whose first time counts.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any

import pytest

from inventory import services as inventory
from inventory.contracts import Demand, Grant, StockRequest
from inventory.models import Reservation, StockLevel, StockMovement
from ordercenter.core.actor import PIPELINE, Actor
from ordercenter.core.errors import OrderCenterError
from ordercenter.core.policy import Role
from ordercenter.pipeline import shortage_acts
from tests.factories import (
    OrderLineFactory,
    ShopAssignmentFactory,
    SkuFactory,
    StockLevelFactory,
    user_with,
)

pytestmark = pytest.mark.django_db


@dataclass
class Shelf:
    """Five units, one of them promised to an order, and another order that wants one."""

    level: StockLevel
    held: StockRequest
    reservations: tuple[int, ...]
    wish: StockRequest


def request(level: StockLevel, quantity: int = 1) -> StockRequest:
    line = OrderLineFactory.create(sku=level.sku, quantity=max(quantity, 1))
    demand = Demand(line.pk, level.sku_id, quantity)
    return StockRequest(line.order_id, (demand,), (level.virtual_warehouse_id,))


@pytest.fixture
def shelf() -> Shelf:
    level = StockLevelFactory.create(on_hand=0)
    inventory.receive([(level.virtual_warehouse_id, level.sku_id, 5)], actor=PIPELINE)
    held = request(level)
    (grant,) = reserve(held)
    return Shelf(level, held, grant.reservations, request(level))


def reserve(*requests: StockRequest) -> list[Grant]:
    return inventory.reserve_many(requests, actor=PIPELINE)


def wanting(shelf: Shelf, **changes: Any) -> StockRequest:
    return replace(shelf.wish, demands=(replace(shelf.wish.demands[0], **changes),))


def release_of_another(shelf: Shelf) -> None:
    """By somebody of another shop: stock is given back by its order, and his is another."""
    clerk = user_with(Role.CLERK)
    ShopAssignmentFactory.create(user=clerk)
    seen = shortage_acts.Seen(
        shelf.held.order_id, 1, clerk, Actor.person(clerk), reason="买家不要了"
    )
    shortage_acts.drop_lines(seen, [demand.line_id for demand in shelf.held.demands])


def ship(shelf: Shelf, *reservations: int) -> None:
    inventory.consume(reservations, order_id=shelf.held.order_id, reason="ship", actor=PIPELINE)


def ship_never_reserved(shelf: Shelf) -> None:
    inventory.consume([], order_id=shelf.wish.order_id, reason="ship", actor=PIPELINE)


def reserve_in_closed_warehouse(shelf: Shelf) -> None:
    warehouse = shelf.level.virtual_warehouse.warehouse
    warehouse.is_active = False
    warehouse.save()
    reserve(shelf.wish)


def state() -> tuple[object, ...]:
    """All there is of the stock."""
    return (
        list(StockLevel.objects.order_by("pk").values_list()),
        list(Reservation.objects.order_by("pk").values_list()),
        StockMovement.objects.count(),
    )


WRONG, GONE, CLASH = HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT
REFUSED: list[tuple[str, Callable[[Shelf], object], HTTPStatus]] = [
    ("BS01 zero", lambda s: reserve(wanting(s, quantity=0)), WRONG),
    ("BS01 negative", lambda s: reserve(wanting(s, quantity=-3)), WRONG),
    ("BS02 unknown SKU", lambda s: reserve(wanting(s, sku_id=987_654)), WRONG),
    ("BS03 unknown warehouse", lambda s: reserve(replace(s.wish, sources=(987_654,))), WRONG),
    (
        "BS03 unknown beside a known one",
        lambda s: reserve(replace(s.wish, sources=(*s.wish.sources, 987_654))),
        WRONG,
    ),
    ("BS03 closed warehouse", reserve_in_closed_warehouse, WRONG),
    ("BS09 release of another order", release_of_another, GONE),
    ("BS10 shipped, never reserved", ship_never_reserved, CLASH),
    ("BS10 shipped by a made-up number", lambda s: ship(s, 987_654), CLASH),
    ("BS11 shipped more than reserved", lambda s: ship(s, *s.reservations, 987_654), CLASH),
    ("BS11 shipped twice at once", lambda s: ship(s, *s.reservations, *s.reservations), CLASH),
]  # fmt: skip


@pytest.mark.parametrize(("act", "status"), [row[1:] for row in REFUSED],
                         ids=[row[0] for row in REFUSED])  # fmt: skip
def test_what_makes_no_sense_is_refused_and_moves_nothing(
    shelf: Shelf, act: Callable[[Shelf], object], status: HTTPStatus
) -> None:
    before = state()
    with pytest.raises(OrderCenterError) as refusal:
        act(shelf)
    assert refusal.value.http_status == status
    assert str(refusal.value)
    assert state() == before


def test_one_that_makes_no_sense_moves_nothing_of_its_whole_batch(shelf: Shelf) -> None:
    before = state()
    with pytest.raises(OrderCenterError):
        reserve(shelf.wish, wanting(shelf, quantity=0))
    assert state() == before


def test_bs02_a_known_sku_that_lies_nowhere_is_short_and_not_wrong(shelf: Shelf) -> None:
    sku = SkuFactory.create()
    (grant,) = reserve(wanting(shelf, sku_id=sku.pk))
    assert [(s.wanted, s.available) for s in grant.shortages] == [(1, 0)]


def test_bs06_more_than_there_is_moves_nothing_and_is_named(shelf: Shelf) -> None:
    before = state()
    (grant,) = reserve(wanting(shelf, quantity=5))
    assert not grant.granted
    assert [(s.wanted, s.available) for s in grant.shortages] == [(5, 4)]
    assert state() == before


def test_bs07_a_line_reserved_twice_is_reserved_once_with_the_same_reply(shelf: Shelf) -> None:
    first, second = reserve(shelf.wish, shelf.wish)
    (third,) = reserve(shelf.wish)
    assert first == second
    assert third.reservations == first.reservations
    assert Reservation.objects.filter(order_id=shelf.wish.order_id).count() == 1


def test_bs08_what_is_released_twice_is_released_once(shelf: Shelf) -> None:
    def give_back() -> int:
        return inventory.release([shelf.held.order_id], reason="canceled", actor=PIPELINE)

    assert give_back() == 1
    after = state()
    assert give_back() == 0
    assert state() == after
