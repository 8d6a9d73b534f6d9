"""Units one shop alone may sell: its orders take them first, and get them back."""

from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext

from inventory import services as inventory
from inventory import slices
from inventory.contracts import Demand, Grant, StockRequest
from inventory.errors import StaleStock
from inventory.models import ClawBack, Reservation, StockLevel, StockSlice
from ordercenter.audit.models import Action, AuditRecord
from ordercenter.catalog.models import Shop
from ordercenter.core.actor import PIPELINE, Actor
from ordercenter.core.errors import InvalidInput, NotAllowed, NotFound
from ordercenter.core.policy import Role
from ordercenter.pipeline.invariants import Look, look_at
from ordercenter.pipeline.invariants import slices as watched
from tests.factories import (
    OrderLineFactory,
    SalesOrderFactory,
    ShopFactory,
    StockLevelFactory,
    user_with,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def boss() -> User:
    return user_with(Role.OPERATIONS_SUPERVISOR)


def shelf(units: int) -> StockLevel:
    level = StockLevelFactory.create(on_hand=0)
    inventory.receive([(level.virtual_warehouse_id, level.sku_id, units)], actor=PIPELINE)
    return level


def set_aside(level: StockLevel, shop: Shop, units: int, user: User, **more: Any) -> StockSlice:
    return slices.set_slice(
        level.pk, shop.pk, units, user=user, actor=Actor.person(user), **more
    )  # fmt: skip


def wish(level: StockLevel, shop: Shop, *units: int, is_paid: bool = False) -> StockRequest:
    """An order of the shop, one line for each number."""
    order = SalesOrderFactory.create(shop=shop)
    demands = tuple(
        Demand(
            OrderLineFactory.create(order=order, sku=level.sku, quantity=n).pk,
            level.sku_id,
            n,
            Decimal("10.00"),
        )
        for n in units
    )
    return StockRequest(
        order.pk, demands, (level.virtual_warehouse_id,), shop_id=shop.pk, is_paid=is_paid
    )


def reserve(*wishes: StockRequest, **more: Any) -> list[Grant]:
    return inventory.reserve_many(wishes, actor=PIPELINE, **more)


def release(told: StockRequest) -> int:
    return inventory.release([told.order_id], reason="canceled", actor=PIPELINE)


def figures(level: StockLevel) -> tuple[int, int, int]:
    """(on hand, reserved, locked)."""
    level.refresh_from_db()
    return level.on_hand, level.reserved, level.locked


def left(row: StockSlice) -> tuple[int, int]:
    """(unsold, quantity)."""
    row.refresh_from_db()
    return row.unsold, row.quantity


def books_agree() -> bool:
    with connection.cursor() as cursor:
        return all(one.holds for one in look_at(Look(cursor, _now(), 5), watched.INVARIANTS))


def _now() -> Any:
    with connection.cursor() as cursor:
        cursor.execute("SELECT now()")
        return cursor.fetchone()[0]


# --- selling --------------------------------------------------------------------------------------


def test_an_order_takes_from_its_shops_slice_first_and_then_from_what_is_everybodys(
    boss: User,
) -> None:
    level, shop = shelf(10), ShopFactory.create()
    row = set_aside(level, shop, 4, boss)
    assert reserve(wish(level, shop, 6))[0].granted
    promise = Reservation.objects.get()
    assert (promise.slice_id, promise.slice_units) == (row.pk, 4)
    assert figures(level) == (10, 6, 0)
    assert left(row) == (0, 4)
    assert books_agree()


def test_what_is_set_aside_for_one_shop_no_other_can_have(boss: User) -> None:
    level, mine, other = shelf(10), ShopFactory.create(), ShopFactory.create()
    set_aside(level, mine, 7, boss)
    (short,) = reserve(wish(level, other, 4))
    assert [s.available for s in short.shortages] == [3]
    assert short.seen == {level.sku_id: 3}
    assert reserve(wish(level, other, 3))[0].granted
    assert reserve(wish(level, mine, 7))[0].granted
    assert figures(level) == (10, 10, 0)
    assert books_agree()


def test_an_order_of_nobodys_shop_has_what_is_everybodys(boss: User) -> None:
    level = shelf(10)
    set_aside(level, ShopFactory.create(), 7, boss)
    line = OrderLineFactory.create(sku=level.sku)
    demand = Demand(line.pk, level.sku_id, 4)
    (short,) = reserve(StockRequest(line.order_id, (demand,), (level.virtual_warehouse_id,)))
    assert [s.available for s in short.shortages] == [3]


def test_two_lines_of_one_order_share_the_slice(boss: User) -> None:
    level, shop = shelf(10), ShopFactory.create()
    row = set_aside(level, shop, 3, boss)
    assert reserve(wish(level, shop, 2, 2))[0].granted
    assert list(Reservation.objects.order_by("pk").values_list("slice_units", flat=True)) == [2, 1]
    assert left(row) == (0, 3)
    assert books_agree()


def test_a_batch_takes_every_units_out_once(boss: User) -> None:
    level, mine, other = shelf(10), ShopFactory.create(), ShopFactory.create()
    row = set_aside(level, mine, 4, boss)
    wishes = [wish(level, shop, 1) for shop in (mine, other) * 6]
    assert sum(grant.granted for grant in reserve(*wishes)) == 10
    assert figures(level) == (10, 10, 0)
    assert left(row) == (0, 4)
    assert books_agree()


def test_what_an_order_gives_back_is_its_shops_again(boss: User) -> None:
    level, shop = shelf(10), ShopFactory.create()
    row = set_aside(level, shop, 4, boss)
    told = wish(level, shop, 6)
    reserve(told)
    assert (release(told), release(told)) == (1, 0)
    assert figures(level) == (10, 0, 4)
    assert left(row) == (4, 4)
    assert books_agree()


def test_a_slice_that_has_ended_gets_nothing_back(boss: User) -> None:
    level, shop = shelf(10), ShopFactory.create()
    row = set_aside(level, shop, 4, boss)
    told = wish(level, shop, 3)
    reserve(told)
    slices.end_slice(row.pk, user=boss, actor=PIPELINE)
    assert left(row) == (0, 3)
    release(told)
    assert figures(level) == (10, 0, 0)
    assert left(row) == (0, 0)
    assert books_agree()


def test_what_was_shipped_out_of_a_slice_stays_sold(boss: User) -> None:
    level, shop = shelf(10), ShopFactory.create()
    row = set_aside(level, shop, 4, boss)
    told = wish(level, shop, 3)
    (grant,) = reserve(told)
    inventory.consume(grant.reservations, order_id=told.order_id, reason="ship", actor=PIPELINE)
    assert figures(level) == (7, 0, 1)
    assert left(row) == (1, 4)
    assert books_agree()


def test_nobody_pays_for_slices_where_there_are_none(boss: User) -> None:
    level, shop = shelf(10), ShopFactory.create()
    row = set_aside(level, shop, 4, boss)
    with CaptureQueriesContext(connection) as with_slices:
        reserve(wish(level, shop, 1))
    slices.end_slice(row.pk, user=boss, actor=PIPELINE)
    with CaptureQueriesContext(connection) as without:
        reserve(wish(level, shop, 1))
    slice_statements = [q for q in without if "stockslice" in q["sql"]]
    assert slice_statements == []
    assert len(with_slices) == len(without) + 2


# --- setting and ending ---------------------------------------------------------------------------


def test_a_slice_is_raised_and_lowered_within_what_is_free(boss: User) -> None:
    level, shop = shelf(10), ShopFactory.create()
    row = set_aside(level, shop, 4, boss)
    set_aside(level, shop, 10, boss, expected=4)
    assert (figures(level), left(row)) == ((10, 0, 10), (10, 10))
    set_aside(level, shop, 1, boss, expected=10)
    assert (figures(level), left(row)) == ((10, 0, 1), (1, 1))
    assert books_agree()


def test_a_slice_counts_from_now_on_whatever_it_has_sold_before(boss: User) -> None:
    level, shop = shelf(10), ShopFactory.create()
    row = set_aside(level, shop, 4, boss)
    reserve(wish(level, shop, 3))
    set_aside(level, shop, 4, boss, expected=4)
    assert left(row) == (4, 7)
    slices.end_slice(row.pk, user=boss, actor=PIPELINE, expected=7)
    set_aside(level, shop, 2, boss, expected=3)
    assert left(row) == (2, 5)
    assert books_agree()


def test_slices_never_add_up_to_more_than_can_be_sold(boss: User) -> None:
    level, one, two = shelf(10), ShopFactory.create(), ShopFactory.create()
    set_aside(level, one, 6, boss)
    reserve(wish(level, two, 1))
    with pytest.raises(InvalidInput, match="最多可锁定 3 件"):
        set_aside(level, two, 4, boss)
    with pytest.raises(InvalidInput, match="最多可锁定 9 件"):
        set_aside(level, one, 10, boss)
    assert figures(level) == (10, 1, 6)


@pytest.mark.parametrize("units", [0, -1, 10_000_001])
def test_a_slice_of_no_units_is_refused(boss: User, units: int) -> None:
    with pytest.raises(InvalidInput):
        set_aside(shelf(10), ShopFactory.create(), units, boss)


def test_who_has_not_seen_the_last_change_is_told_so(boss: User) -> None:
    level, shop = shelf(10), ShopFactory.create()
    row = set_aside(level, shop, 4, boss, expected=0)
    set_aside(level, shop, 5, boss, expected=4)
    for stale in (0, 4):
        with pytest.raises(StaleStock):
            set_aside(level, shop, 6, boss, expected=stale)
        with pytest.raises(StaleStock):
            slices.end_slice(row.pk, user=boss, actor=PIPELINE, expected=stale)
    assert left(row) == (5, 5)


def test_a_second_click_changes_nothing_and_is_not_recorded(boss: User) -> None:
    level, shop = shelf(10), ShopFactory.create()
    for _ in range(2):
        row = set_aside(level, shop, 4, boss, expected=0)
    for _ in range(2):
        slices.end_slice(row.pk, user=boss, actor=PIPELINE, expected=4)
    kept = AuditRecord.objects.filter(action=Action.STOCK_POLICY_CHANGED, object_id=row.pk)
    assert [record.change["unsold"] for record in kept.order_by("pk")] == [[None, 4], [4, 0]]


def test_only_who_keeps_the_stock_policy_may() -> None:
    level, shop = shelf(10), ShopFactory.create()
    picker = user_with(Role.PICKER)
    with pytest.raises(NotAllowed):
        set_aside(level, shop, 4, picker)
    with pytest.raises(NotAllowed):
        slices.end_slice(1, user=picker, actor=PIPELINE)


def test_what_there_is_not_cannot_be_set_aside(boss: User) -> None:
    level, shop = shelf(10), ShopFactory.create()
    with pytest.raises(NotFound):
        slices.set_slice(0, shop.pk, 1, user=boss, actor=PIPELINE)
    with pytest.raises(NotFound):
        slices.set_slice(level.pk, 0, 1, user=boss, actor=PIPELINE)
    with pytest.raises(NotFound):
        slices.end_slice(0, user=boss, actor=PIPELINE)
    level.virtual_warehouse.shops.add(ShopFactory.create())
    with pytest.raises(InvalidInput, match="不供应"):
        set_aside(level, shop, 1, boss)


def test_the_database_refuses_to_lock_what_is_not_there(boss: User) -> None:
    level, shop = shelf(10), ShopFactory.create()
    set_aside(level, shop, 4, boss)
    with pytest.raises(IntegrityError, match="slices_fit"), transaction.atomic():
        StockLevel.objects.filter(pk=level.pk).update(reserved=7)


# --- taking back ----------------------------------------------------------------------------------


def test_a_paid_order_takes_what_it_lacks_out_of_other_shops_slices(boss: User) -> None:
    level, mine, other = shelf(10), ShopFactory.create(), ShopFactory.create()
    row = set_aside(level, other, 8, boss)
    told = wish(level, mine, 3, is_paid=True)
    (grant,) = reserve(told)
    assert grant.granted
    assert [(c.slice_id, c.shop_id, c.quantity) for c in grant.clawed] == [(row.pk, other.pk, 1)]
    kept = ClawBack.objects.get()
    assert (kept.slice_id, kept.quantity, kept.order_id) == (row.pk, 1, told.order_id)
    assert (kept.amount, kept.currency, kept.state) == (Decimal("3.33"), "CNY", "taken")
    assert figures(level) == (10, 3, 7)
    assert left(row) == (7, 7)
    assert AuditRecord.objects.get(action=Action.STOCK_CLAWED_BACK).change["amount"] == "3.33"
    assert books_agree()


def test_an_unpaid_order_takes_nothing_from_anybody(boss: User) -> None:
    level, mine, other = shelf(10), ShopFactory.create(), ShopFactory.create()
    set_aside(level, other, 8, boss)
    assert not reserve(wish(level, mine, 3))[0].granted
    assert not ClawBack.objects.exists()


def test_the_highest_number_gives_first_and_the_lines_money_is_shared_to_the_fen(
    boss: User,
) -> None:
    level, mine = shelf(9), ShopFactory.create()
    low, high = ShopFactory.create(), ShopFactory.create()
    keeps = set_aside(level, low, 4, boss, priority=1)
    gives = set_aside(level, high, 5, boss, priority=90)
    (grant,) = reserve(wish(level, mine, 7, is_paid=True))
    assert [(c.slice_id, c.quantity) for c in grant.clawed] == [(gives.pk, 5), (keeps.pk, 2)]
    assert sum(c.amount for c in grant.clawed) == Decimal("10.00")
    assert (left(gives), left(keeps)) == ((0, 0), (2, 2))
    assert books_agree()


def test_shops_whose_platform_takes_no_lower_figure_are_passed_over(boss: User) -> None:
    level, mine = shelf(8), ShopFactory.create()
    stuck, free = ShopFactory.create(), ShopFactory.create()
    set_aside(level, stuck, 4, boss, priority=90)
    gives = set_aside(level, free, 4, boss)
    asked: list[set[int]] = []

    def immovable(skus: Any) -> set[tuple[int, int]]:
        asked.append(set(skus))
        return {(stuck.pk, level.sku_id)}

    first, second = reserve(
        wish(level, mine, 3, is_paid=True), wish(level, mine, 3, is_paid=True), immovable=immovable
    )
    assert [c.slice_id for c in first.clawed] == [gives.pk]
    assert not second.granted
    assert asked == [{level.sku_id}]
    assert books_agree()


def test_nothing_is_taken_back_where_it_would_not_be_enough(boss: User) -> None:
    level, mine, other = shelf(5), ShopFactory.create(), ShopFactory.create()
    row = set_aside(level, other, 5, boss)
    assert not reserve(wish(level, mine, 6, is_paid=True))[0].granted
    assert left(row) == (5, 5)


def test_an_order_that_gives_up_what_was_taken_back_gives_it_back_to_its_slice(
    boss: User,
) -> None:
    level, mine, other = shelf(10), ShopFactory.create(), ShopFactory.create()
    row = set_aside(level, other, 8, boss)
    told = wish(level, mine, 3, is_paid=True)
    reserve(told)
    release(told)
    kept = ClawBack.objects.get()
    assert (kept.state, kept.closed_at is None) == ("returned", False)
    assert figures(level) == (10, 0, 8)
    assert left(row) == (8, 8)
    assert books_agree()


def test_what_a_platform_undid_is_kept_as_refused_with_its_words(boss: User) -> None:
    level, mine, other = shelf(10), ShopFactory.create(), ShopFactory.create()
    set_aside(level, other, 8, boss)
    told = wish(level, mine, 3, is_paid=True)
    reserve(told)
    claw = ClawBack.objects.get()
    inventory.release(
        [told.order_id], reason="claw refused", actor=PIPELINE, refused={claw.pk: "活动商品"}
    )
    claw.refresh_from_db()
    assert (claw.state, claw.words) == ("refused", "活动商品")
    assert books_agree()


def test_its_own_slice_and_what_it_took_from_others_go_back_each_to_its_own(boss: User) -> None:
    level, mine, other = shelf(10), ShopFactory.create(), ShopFactory.create()
    own, theirs = set_aside(level, mine, 2, boss), set_aside(level, other, 8, boss)
    told = wish(level, mine, 2, 2, is_paid=True)
    assert reserve(told)[0].granted
    assert (left(own), left(theirs)) == ((0, 2), (6, 6))
    assert books_agree()
    release(told)
    assert (left(own), left(theirs)) == ((2, 2), (8, 8))
    assert books_agree()
