"""K01 and K02: buyers and the last unit, a promise that runs out while it is wanted."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest
from django.db import IntegrityError

from inventory import closing, granting, slices
from inventory import services as inventory
from inventory.contracts import Demand, Grant, StockRequest
from inventory.models import ClawBack, Reservation, StockLevel, StockSlice
from ordercenter.catalog.models import Shop
from ordercenter.core.actor import PIPELINE
from ordercenter.core.policy import Role
from ordercenter.orders.models import OrderLine
from tests.factories import (
    OrderLineFactory,
    ShopFactory,
    SkuFactory,
    VirtualWarehouseFactory,
    user_with,
)
from tests.races.tools import Gap, meeting, red, stock_up, unlocked, without

pytestmark = pytest.mark.django_db(transaction=True)
BUYERS = 8
STOCK = ["S1", "S2", "S3", "S4", "S5", "S9", "S10"]


def shelf(units: int) -> StockLevel:
    """A level with so many units, explained by its ledger."""
    level = StockLevel(virtual_warehouse=VirtualWarehouseFactory.create(), sku=SkuFactory.create())
    stock_up(level, units)
    return StockLevel.objects.get(sku=level.sku)


def wish(level: StockLevel) -> OrderLine:
    """Somebody's order line for one unit of it."""
    shop = ShopFactory.create()
    return OrderLineFactory.create(order__shop=shop, sku=level.sku)


def buy(line: OrderLine, level: StockLevel) -> Grant:
    demand = Demand(line.pk, level.sku_id, 1)
    request = StockRequest(line.order_id, (demand,), (level.virtual_warehouse_id,))
    (grant,) = inventory.reserve_many([request], actor=PIPELINE)
    return grant


def crowd(level: StockLevel, run_together: Any) -> list[Any]:
    """Everybody wants one unit at the same moment."""
    calls = [partial(buy, wish(level), level) for _ in range(BUYERS)]
    results: list[Any] = run_together(*calls)
    return results


def everybody_looks_before_anybody_takes(patch: pytest.MonkeyPatch) -> None:
    meet, look = meeting(BUYERS), granting.lock_levels

    def lock_levels(*args: Any) -> Any:
        levels = look(*args)
        meet()
        return levels

    patch.setattr("inventory.services.lock_levels", lock_levels)


def stock_red() -> set[str]:
    """What of the stock does not hold; these lines belong to orders no path has taken in."""
    return red() & set(STOCK)


def test_k01_one_of_many_buyers_gets_the_last_unit(
    run_together: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    level = shelf(1)
    everybody_looks_before_anybody_takes(monkeypatch)
    grants = crowd(level, run_together)
    assert sorted(grant.granted for grant in grants) == [False] * (BUYERS - 1) + [True]
    assert stock_red() == set()


def test_k01_no_round_of_twenty_sells_more_than_there_is(run_together: Any) -> None:
    for units in (1, 2, 3, 5) * 5:
        level = shelf(units)
        grants = crowd(level, run_together)
        assert sum(grant.granted for grant in grants) == units
    assert stock_red() == set()


def test_k01_without_the_lock_the_check_refuses_what_two_have_taken(
    run_together: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    level = shelf(1)
    unlocked(monkeypatch, "inventory_stocklevel")
    everybody_looks_before_anybody_takes(monkeypatch)
    results = crowd(level, run_together)
    assert sum(isinstance(result, IntegrityError) for result in results) == BUYERS - 1
    assert stock_red() == set()


def test_k01_control_without_lock_and_check_the_last_unit_is_sold_many_times(
    run_together: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    level = shelf(1)
    with without(walls=["never_oversold", "slices_fit"]):
        unlocked(monkeypatch, "inventory_stocklevel")
        everybody_looks_before_anybody_takes(monkeypatch)
        grants = crowd(level, run_together)
        assert sum(grant.granted for grant in grants) > 1
        assert red() >= {"S1", "S6"}


# --- K02 -------------------------------------------------------------------------------------


def promise_runs_out(level: StockLevel, run_together: Any, patch: pytest.MonkeyPatch) -> list[Any]:
    """Two workers end one promise; between their acts a buyer takes the unit that came free."""
    first, second = wish(level), wish(level)
    assert buy(first, level).granted
    gap, look = Gap(), closing.active

    def slow_look(order_ids: Any) -> Any:
        found = look(order_ids)
        if found and not gap.event("looked").is_set():
            gap.happened("looked")
            gap.wait_for("bought")
        return found

    def expire(*, after: str | None = None) -> int:
        if after:
            assert gap.event(after).wait(5)
        ended = inventory.release([first.order_id], reason="expired", actor=PIPELINE)
        gap.happened("expired")
        return ended

    def buyer() -> Grant:
        assert gap.event("expired").wait(5)
        try:
            return buy(second, level)
        finally:
            gap.happened("bought")

    patch.setattr("inventory.services.active", slow_look)
    results: list[Any] = run_together(expire, partial(expire, after="looked"), buyer)
    return results


def test_k02_a_promise_ends_once_and_the_next_buyer_keeps_the_unit(
    run_together: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    level = shelf(1)
    slow, quick, grant = promise_runs_out(level, run_together, monkeypatch)
    assert sorted([slow, quick]) == [0, 1]
    assert grant.granted
    assert Reservation.objects.filter(state="active").count() == 1
    assert stock_red() == set()


def test_k02_control_without_the_lock_a_promise_ends_twice_and_takes_the_next_ones_unit(
    run_together: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    level = shelf(1)
    unlocked(monkeypatch, "inventory_stocklevel")
    slow, quick, grant = promise_runs_out(level, run_together, monkeypatch)
    assert [slow, quick] == [1, 1]
    assert grant.granted
    level.refresh_from_db()
    assert level.reserved == 0  # while the second buyer was promised the unit
    assert stock_red() >= {"S3", "S5"}


def test_k02_twenty_rounds_of_buying_and_running_out_add_up(run_together: Any) -> None:
    for _ in range(20):
        level = shelf(2)
        lines = [wish(level) for _ in range(4)]
        for line in lines[:2]:
            assert buy(line, level).granted
        expiring = [
            partial(inventory.release, [line.order_id], reason="expired", actor=PIPELINE)
            for line in (lines[0], lines[0], lines[1])
        ]
        run_together(*expiring, *(partial(buy, line, level) for line in lines[2:]))
        held = Reservation.objects.filter(level=level, state="active").count()
        level.refresh_from_db()
        assert level.reserved == held <= 2
    assert stock_red() == set()


# --- a claw-back against a sale out of the same slice ---------------------------------------------


def shared_slice(units: int) -> tuple[StockLevel, Shop, Shop]:
    """A level all of which is one shop's slice; that shop, and another."""
    level, owner, other = shelf(units), ShopFactory.create(), ShopFactory.create()
    boss = user_with(Role.OPERATIONS_SUPERVISOR)
    slices.set_slice(level.pk, owner.pk, units, user=boss, actor=PIPELINE)
    return level, owner, other


def paid_order(level: StockLevel, shop: Shop) -> StockRequest:
    line = OrderLineFactory.create(order__shop=shop, sku=level.sku)
    demand = Demand(line.pk, level.sku_id, 1)
    place = (level.virtual_warehouse_id,)
    return StockRequest(line.order_id, (demand,), place, shop_id=shop.pk, is_paid=True)


def sell_and_claw(units: int, run_together: Any) -> list[Any]:
    """The slice's own shop and another want the same units at the same moment."""
    level, owner, other = shared_slice(units)
    wishes = [paid_order(level, shop) for shop in (owner, other) * (BUYERS // 2)]
    reserve = partial(inventory.reserve_many, actor=PIPELINE)
    results: list[Any] = run_together(*(partial(reserve, [wish]) for wish in wishes))
    return results


def granted(results: Sequence[Any]) -> int:
    return sum(1 for one in results if isinstance(one, list) and one[0].granted)


def test_a_claw_back_and_a_sale_never_take_the_same_unit_of_a_slice(
    run_together: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    everybody_looks_before_anybody_takes(monkeypatch)
    assert granted(sell_and_claw(3, run_together)) == 3
    row = StockSlice.objects.get()
    clawed = sum(ClawBack.objects.values_list("quantity", flat=True))
    sold = sum(Reservation.objects.values_list("slice_units", flat=True))
    assert (row.unsold, row.quantity, sold + clawed) == (0, sold, 3)
    assert red() & {"S1", "S2", "S3", "S13", "S14"} == set()


def test_without_the_locks_the_checks_refuse_the_second_taker_of_a_slice(
    run_together: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    unlocked(monkeypatch, "inventory_stocklevel")
    unlocked(monkeypatch, "inventory_stockslice")
    everybody_looks_before_anybody_takes(monkeypatch)
    results = sell_and_claw(1, run_together)
    assert granted(results) == 1
    assert any(isinstance(one, IntegrityError) for one in results)
    assert red() & {"S1", "S2", "S3", "S13", "S14"} == set()


def test_control_without_locks_and_checks_one_unit_of_a_slice_is_taken_many_times(
    run_together: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    walls = [
        "never_oversold", "slices_fit", "slice_unsold_fits",
        "inventory_stocklevel_locked_check", "inventory_stockslice_unsold_check",
        "inventory_stockslice_quantity_check",
    ]  # fmt: skip
    with without(walls=walls):
        unlocked(monkeypatch, "inventory_stocklevel")
        unlocked(monkeypatch, "inventory_stockslice")
        everybody_looks_before_anybody_takes(monkeypatch)
        assert granted(sell_and_claw(1, run_together)) > 1
        assert red() >= {"S1", "S6"}
        assert StockSlice.objects.get().unsold < 0
