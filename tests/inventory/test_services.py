"""Stock is promised whole or not at all, once, from the nearest place, and the books agree."""

from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext

from inventory import services as inventory
from inventory.contracts import Demand, Grant, Shortage, StockRequest
from inventory.errors import NotReserved
from inventory.models import Reservation, StockLevel, StockMovement, VirtualWarehouse
from inventory.selectors import SourceMap
from ordercenter.catalog.models import Sku
from ordercenter.core.actor import PIPELINE
from ordercenter.core.clock import now as clock_now
from tests.factories import (
    OrderLineFactory,
    SalesOrderFactory,
    ShopFactory,
    SkuFactory,
    StockLevelFactory,
    VirtualWarehouseFactory,
    WarehouseFactory,
)

pytestmark = pytest.mark.django_db


def place(**units: int) -> tuple[VirtualWarehouse, dict[str, Sku]]:
    """A virtual warehouse with so many units of each SKU."""
    room = VirtualWarehouseFactory.create()
    return room, fill(room, **units)


def fill(room: VirtualWarehouse, **units: int) -> dict[str, Sku]:
    skus = {}
    for code in units:
        skus[code] = Sku.objects.filter(code=code).first() or SkuFactory.create(code=code)
    inventory.receive([(room.pk, skus[c].pk, n) for c, n in units.items()], actor=PIPELINE)
    return skus


def wish(
    skus: dict[str, Sku], *rooms: VirtualWarehouse, expires_in: int = 0, **units: int
) -> StockRequest:
    """A new order that wants so many units, to be tried in these places."""
    order = SalesOrderFactory.create()
    demands = tuple(
        Demand(
            OrderLineFactory.create(order=order, sku=skus[code], quantity=n).pk, skus[code].pk, n
        )
        for code, n in units.items()
    )
    expires = clock_now() + timedelta(minutes=expires_in) if expires_in else None
    return StockRequest(order.pk, demands, tuple(room.pk for room in rooms), expires)


def reserve(*wishes: StockRequest) -> list[Grant]:
    return inventory.reserve_many(wishes, actor=PIPELINE)


def release(*wishes: StockRequest) -> int:
    return inventory.release([w.order_id for w in wishes], reason="test", actor=PIPELINE)


def consume(told: StockRequest, reservations: Any) -> None:
    inventory.consume(reservations, order_id=told.order_id, reason="ship", actor=PIPELINE)


def level(room: VirtualWarehouse, sku: Sku) -> tuple[int, int]:
    """(on hand, reserved)."""
    row = StockLevel.objects.get(virtual_warehouse=room, sku=sku)
    return row.on_hand, row.reserved


def books_agree() -> bool:
    """Whether every level is the sum of its movements and of its promises."""
    for row in StockLevel.objects.all():
        moves = StockMovement.objects.filter(level=row).values_list("source", "target", "quantity")
        sums = Counter[str]()
        for source, target, quantity in moves:
            sums[source] -= quantity
            sums[target] += quantity
        active = Reservation.objects.filter(level=row, state="active")
        promised = sum(active.values_list("quantity", flat=True))
        if (row.available, row.reserved) != (sums["available"], sums["reserved"]):
            return False
        if promised != row.reserved or sums.total() != 0:
            return False
    return True


# --- reserving ------------------------------------------------------------------------------------


def test_an_order_gets_everything_or_nothing() -> None:
    room, skus = place(SOFA=5, LAMP=1)
    told = wish(skus, room, SOFA=2, LAMP=2)
    (answer,) = reserve(told)
    assert not answer.granted
    assert answer.shortages == (Shortage(skus["LAMP"].pk, 2, 1),)
    assert answer.seen == {skus["SOFA"].pk: 5, skus["LAMP"].pk: 1}
    assert level(room, skus["SOFA"]) == (5, 0)
    assert not Reservation.objects.exists()
    assert StockMovement.objects.count() == 2  # the two receipts


def test_the_last_unit_can_be_had_and_not_one_more() -> None:
    room, skus = place(SOFA=3)
    answers = reserve(*(wish(skus, room, SOFA=1) for _ in range(5)))
    assert [answer.granted for answer in answers] == [True, True, True, False, False]
    assert level(room, skus["SOFA"]) == (3, 3)
    assert books_agree()


def test_two_lines_of_one_sku_are_added_up() -> None:
    room, skus = place(SOFA=3)
    order = SalesOrderFactory.create()
    lines = [OrderLineFactory.create(order=order, sku=skus["SOFA"], quantity=2) for _ in range(2)]
    demands = tuple(Demand(one.pk, skus["SOFA"].pk, 2) for one in lines)
    (short,) = reserve(StockRequest(order.pk, demands, (room.pk,)))
    assert short.shortages == (Shortage(skus["SOFA"].pk, 4, 3),)
    fill(room, SOFA=1)
    (enough,) = reserve(StockRequest(order.pk, demands, (room.pk,)))
    assert len(enough.reservations) == 2
    assert books_agree()


def test_who_asks_first_is_served_first_and_who_wants_less_may_still_get_it() -> None:
    room, skus = place(SOFA=3)
    answers = reserve(*(wish(skus, room, SOFA=n) for n in (2, 2, 1)))
    assert [answer.granted for answer in answers] == [True, False, True]


def test_goods_come_from_one_place_even_if_another_is_nearer_for_some() -> None:
    near, skus = place(SOFA=5, LAMP=0)
    far, _ = place()
    fill(far, SOFA=5, LAMP=5)
    (answer,) = reserve(wish(skus | fill(far, LAMP=1), near, far, SOFA=1, LAMP=1))
    assert answer.virtual_warehouse_id == far.pk
    assert level(near, skus["SOFA"]) == (5, 0)


def test_a_shortage_is_told_for_the_place_that_lacks_least() -> None:
    near, skus = place(SOFA=1)
    far, _ = place()
    fill(far, SOFA=7)
    (answer,) = reserve(wish(skus, near, far, SOFA=9))
    assert answer.shortages == (Shortage(skus["SOFA"].pk, 9, 7),)
    assert answer.seen == {skus["SOFA"].pk: 8}


def test_nothing_can_be_had_from_nowhere() -> None:
    _, skus = place(SOFA=5)
    (answer,) = reserve(wish(skus, SOFA=1))
    assert answer.shortages == (Shortage(skus["SOFA"].pk, 1, 0),)


def test_asking_twice_for_one_order_changes_nothing_and_answers_the_same() -> None:
    room, skus = place(SOFA=5)
    told = wish(skus, room, SOFA=2)
    first, second = reserve(told)[0], reserve(told)[0]
    assert second.virtual_warehouse_id == first.virtual_warehouse_id
    assert set(second.reservations) == set(first.reservations)
    assert level(room, skus["SOFA"]) == (5, 2)
    assert books_agree()


def test_a_promise_names_its_line_its_order_and_its_end() -> None:
    room, skus = place(SOFA=5)
    told = wish(skus, room, expires_in=30, SOFA=2)
    reserve(told)
    promise = Reservation.objects.get()
    assert promise.line_id == told.demands[0].line_id
    assert (promise.order_id, promise.quantity) == (told.order_id, 2)
    assert promise.expires_at == told.expires_at


# --- ending ---------------------------------------------------------------------------------------


def test_what_is_given_back_can_be_had_again_and_giving_back_twice_is_once() -> None:
    room, skus = place(SOFA=2)
    told = wish(skus, room, SOFA=2)
    reserve(told)
    assert (release(told), release(told)) == (1, 0)
    assert level(room, skus["SOFA"]) == (2, 0)
    promise = Reservation.objects.get()
    assert (promise.state, promise.close_reason) == ("released", "test")
    assert reserve(wish(skus, room, SOFA=2))[0].granted
    assert books_agree()


def test_what_has_left_leaves_the_shelf_and_the_promise() -> None:
    room, skus = place(SOFA=5, LAMP=5)
    told = wish(skus, room, SOFA=2, LAMP=1)
    (answer,) = reserve(told)
    consume(told, answer.reservations)
    assert level(room, skus["SOFA"]) == (3, 0)
    assert level(room, skus["LAMP"]) == (4, 0)
    assert set(Reservation.objects.values_list("state", flat=True)) == {"consumed"}
    assert books_agree()


def test_what_was_never_promised_cannot_leave() -> None:
    room, skus = place(SOFA=5)
    told, other = wish(skus, room, SOFA=1), wish(skus, room, SOFA=1)
    reserve(told)
    (theirs,) = reserve(other)
    for wrong in ([0], theirs.reservations):
        with pytest.raises(NotReserved):
            consume(told, wrong)
    assert level(room, skus["SOFA"]) == (5, 2)


def test_what_has_left_cannot_leave_again_nor_come_back_by_a_release() -> None:
    room, skus = place(SOFA=5)
    told = wish(skus, room, SOFA=2)
    (answer,) = reserve(told)
    consume(told, answer.reservations)
    with pytest.raises(NotReserved):
        consume(told, answer.reservations)
    assert release(told) == 0
    assert level(room, skus["SOFA"]) == (3, 0)


def test_what_is_paid_for_does_not_run_out() -> None:
    room, skus = place(SOFA=5)
    told = wish(skus, room, expires_in=30, SOFA=1)
    reserve(told)
    assert (inventory.keep([told.order_id]), inventory.keep([told.order_id])) == (1, 0)
    assert Reservation.objects.get().expires_at is None


def test_releasing_one_order_leaves_the_others_alone() -> None:
    room, skus = place(SOFA=5)
    mine, theirs = wish(skus, room, SOFA=1), wish(skus, room, SOFA=2)
    reserve(mine, theirs)
    release(mine)
    assert level(room, skus["SOFA"]) == (5, 2)
    assert Reservation.objects.get(order_id=theirs.order_id).state == "active"


# --- receiving ------------------------------------------------------------------------------------


def test_receiving_makes_the_level_where_there_is_none_and_adds_where_there_is_one() -> None:
    room, skus = place(SOFA=5)
    sofa = skus["SOFA"].pk
    inventory.receive([(room.pk, sofa, 2), (room.pk, sofa, 3), (room.pk, sofa, 0)], actor=PIPELINE)
    assert level(room, skus["SOFA"]) == (10, 0)
    assert list(StockMovement.objects.order_by("pk").values_list("quantity", flat=True)) == [
        5,
        2,
        3,
    ]
    assert books_agree()


def test_receiving_nothing_changes_nothing() -> None:
    assert inventory.receive([], actor=PIPELINE) == 0
    assert not StockLevel.objects.exists()


# --- where it comes from --------------------------------------------------------------------------


def test_the_nearest_warehouse_comes_first_then_the_others_by_rank() -> None:
    near = VirtualWarehouseFactory.create(warehouse__covers=["江苏省"], warehouse__rank=9)
    second = VirtualWarehouseFactory.create(warehouse__covers=["广东省"], warehouse__rank=2)
    third = VirtualWarehouseFactory.create(warehouse__covers=[], warehouse__rank=3)
    shop = ShopFactory.create()
    assert SourceMap().for_order(shop.pk, "江苏省") == (near.pk, second.pk, third.pk)
    assert SourceMap().for_order(shop.pk, "广东省") == (second.pk, third.pk, near.pk)
    assert SourceMap().for_order(shop.pk, "") == (second.pk, third.pk, near.pk)


def test_stock_set_aside_for_a_shop_comes_first_for_it_and_never_for_others() -> None:
    shop, other = ShopFactory.create(), ShopFactory.create()
    common = VirtualWarehouseFactory.create(warehouse__covers=["江苏省"])
    own = VirtualWarehouseFactory.create(warehouse__covers=[], warehouse__rank=99)
    own.shops.add(shop)
    assert SourceMap().for_order(shop.pk, "江苏省") == (own.pk, common.pk)
    assert SourceMap().for_order(other.pk, "江苏省") == (common.pk,)


def test_nothing_comes_from_a_closed_warehouse() -> None:
    VirtualWarehouseFactory.create(warehouse=WarehouseFactory.create(is_active=False))
    assert SourceMap().for_order(ShopFactory.create().pk, "江苏省") == ()


# --- the database's own walls ---------------------------------------------------------------------


def refused(statement: str, *values: int | str) -> bool:
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            cursor.execute(statement, values)
    except IntegrityError:
        return True
    return False


def test_the_database_refuses_to_promise_what_is_not_there_whatever_the_code_says() -> None:
    row = StockLevelFactory.create(on_hand=1, reserved=1)
    assert refused("UPDATE inventory_stocklevel SET reserved = 2 WHERE id = %s", row.pk)
    assert refused("UPDATE inventory_stocklevel SET on_hand = 0 WHERE id = %s", row.pk)
    assert refused("UPDATE inventory_stocklevel SET reserved = -1 WHERE id = %s", row.pk)
    assert not refused("UPDATE inventory_stocklevel SET reserved = 0 WHERE id = %s", row.pk)


def test_wrong_code_that_forgets_to_look_is_stopped_by_the_constraint(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    room, skus = place(SOFA=1)
    monkeypatch.setattr(inventory, "choose", lambda *_: room.pk)
    with pytest.raises(IntegrityError, match="never_oversold"), transaction.atomic():
        reserve(wish(skus, room, SOFA=2))
    assert level(room, skus["SOFA"]) == (1, 0)


def test_one_line_holds_one_active_promise_in_one_place() -> None:
    room, skus = place(SOFA=5)
    told = wish(skus, room, SOFA=1)
    reserve(told)
    twin = Reservation.objects.get()
    twin.pk = None
    with pytest.raises(IntegrityError, match="reservation_once"), transaction.atomic():
        twin.save()


@pytest.mark.parametrize("statement", [
    "UPDATE inventory_stockmovement SET quantity = 1",
    "DELETE FROM inventory_stockmovement",
    "TRUNCATE inventory_stockmovement",
])  # fmt: skip
def test_the_ledger_cannot_be_rewritten(statement: str) -> None:
    place(SOFA=5)
    assert refused(statement)


def test_a_movement_moves_something_from_somewhere_to_somewhere_else() -> None:
    row = StockLevelFactory.create(on_hand=5)
    insert = (
        "INSERT INTO inventory_stockmovement (level_id, source, target, quantity, reason, actor, "
        "created_at) VALUES (%s, %s, %s, %s, 'x', 'x', now())"
    )
    assert refused(insert, row.pk, "available", "available", 1)
    assert refused(insert, row.pk, "available", "reserved", 0)
    assert not refused(insert, row.pk, "available", "reserved", 1)


# --- budgets --------------------------------------------------------------------------------------


def test_a_hundred_orders_cost_as_many_statements_as_two() -> None:
    room, skus = place(SOFA=1000)
    counts = []
    for size in (2, 100):
        wishes = [wish(skus, room, SOFA=1) for _ in range(size)]
        with CaptureQueriesContext(connection) as seen:
            reserve(*wishes)
            release(*wishes)
        counts.append(len(seen))
    assert counts[0] == counts[1] <= 14
