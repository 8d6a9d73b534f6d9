"""K17 and K19: corrections against buyers, transfers that cross."""

from functools import partial
from typing import Any

import pytest
from django.db import IntegrityError, OperationalError, transaction

from inventory import adjustments, ledger, transfers
from inventory.adjustments import Kind
from inventory.models import StockLevel
from inventory.papers import HeldByOrders
from ordercenter.core.errors import OrderCenterError
from tests.inventory.shelves import Shelves, by, ledger_red
from tests.races.test_stock_races import buy, wish
from tests.races.tools import Gap, meeting, unlocked, without

pytestmark = pytest.mark.django_db(transaction=True)
ROUNDS = 10


def correct(shelves: Shelves, units: int) -> Any:
    return adjustments.adjust(
        shelves.room.pk, shelves.sku.pk, units, Kind.GONE, reason="盘亏", **by(shelves.picker)
    )


def outcomes(results: list[Any]) -> tuple[bool, bool]:
    """Whether the correction was made, and whether the buyer got his unit."""
    made, grant = results
    return not isinstance(made, BaseException), not isinstance(grant, BaseException) and bool(
        getattr(grant, "granted", False)
    )


# --- K17 ------------------------------------------------------------------------------------------


def test_k17_the_last_unit_is_either_sold_or_written_off(run_together: Any) -> None:
    for _ in range(ROUNDS):
        shelves = Shelves(1)
        line = wish(shelves.level())
        results = run_together(partial(correct, shelves, 1), partial(buy, line, shelves.level()))
        assert sum(outcomes(results)) == 1
        if isinstance(results[0], BaseException):
            assert isinstance(results[0], HeldByOrders)
            assert results[0].facts["orders"] == [line.order.number]
    assert ledger_red() == set()


def buyer_comes_in_between(shelves: Shelves, run_together: Any, patch: pytest.MonkeyPatch) -> Any:
    """The corrector has looked; before he writes, a buyer takes the unit."""
    gap, look, line = Gap(), adjustments._refuse_if_held, wish(shelves.level())
    level = shelves.level()

    def slow_look(*args: Any) -> None:
        look(*args)
        gap.happened("looked")
        gap.wait_for("bought")

    def buyer() -> Any:
        assert gap.event("looked").wait(5)
        try:
            return buy(line, level)
        finally:
            gap.happened("bought")

    patch.setattr(adjustments, "_refuse_if_held", slow_look)
    return run_together(partial(correct, shelves, 1), buyer)


def test_k17_a_buyer_waits_for_a_correction_that_has_looked(
    run_together: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelves = Shelves(1)
    results = buyer_comes_in_between(shelves, run_together, monkeypatch)
    assert outcomes(results) == (True, False)
    assert ledger_red() == set()


def test_k17_without_the_lock_the_check_refuses_the_correction(
    run_together: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelves = Shelves(1)
    unlocked(monkeypatch, "inventory_stocklevel")
    results = buyer_comes_in_between(shelves, run_together, monkeypatch)
    assert isinstance(results[0], IntegrityError)
    assert outcomes(results) == (False, True)
    assert ledger_red() == set()


def test_k17_control_without_lock_and_check_a_promised_unit_is_written_off(
    run_together: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelves = Shelves(1)
    with without(walls=["never_oversold", "slices_fit"]):
        unlocked(monkeypatch, "inventory_stocklevel")
        results = buyer_comes_in_between(shelves, run_together, monkeypatch)
        assert outcomes(results) == (True, True)
        assert ledger_red() >= {"S1", "S6"}


# --- K19 ------------------------------------------------------------------------------------------


def crossing(shelves: Shelves) -> list[Any]:
    """One transfer there and one back, both about to be sent."""
    goods = {shelves.sku.pk: 5}
    ends = [(shelves.room.pk, shelves.other.pk), (shelves.other.pk, shelves.room.pk)]
    drafts = [transfers.draft(*pair, goods, **by(shelves.picker)) for pair in ends]
    return [partial(transfers.send, one.pk, **by(shelves.picker)) for one in drafts]


def both_ways(units: int) -> Shelves:
    shelves = Shelves(units)
    there = transfers.draft(
        shelves.room.pk, shelves.other.pk, {shelves.sku.pk: units // 2}, **by(shelves.picker)
    )
    transfers.send(there.pk, **by(shelves.picker))
    arrival = transfers.Arrival(there.lines.get().pk, units // 2, 0, 0)
    transfers.receive(there.pk, [arrival], **by(shelves.picker))
    return shelves


def test_k19_transfers_there_and_back_both_leave(run_together: Any) -> None:
    for _ in range(ROUNDS):
        shelves = both_ways(20)
        results = run_together(*crossing(shelves))
        assert [result.state for result in results] == ["sent", "sent"]
        assert shelves.figures() == {"on_hand": 5, "in_transit": 5}
        assert shelves.figures(shelves.other) == {"on_hand": 5, "in_transit": 5}
    assert ledger_red() == set()


def test_k19_control_levels_locked_from_ones_own_end_are_a_deadlock(
    run_together: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelves = both_ways(20)
    meet = meeting(2)

    def from_my_end(room_ids: list[int], sku_ids: list[int]) -> Any:
        found: dict[Any, StockLevel] = {}
        for room in room_ids:
            rows = StockLevel.objects.filter(virtual_warehouse_id=room, sku_id__in=sku_ids)
            for level in rows.select_for_update(no_key=True):
                found[level.virtual_warehouse_id, level.sku_id] = level
            meet()
        return found

    monkeypatch.setattr(transfers, "open_levels", from_my_end)
    results = run_together(*crossing(shelves))
    lost = [one for one in results if isinstance(one, OperationalError)]
    assert len(lost) == 1
    assert "deadlock" in str(lost[0])


def test_k19_one_level_is_never_emptied_twice(run_together: Any) -> None:
    """Two transfers of all there is: one leaves, the other is told what is free."""
    for _ in range(ROUNDS):
        shelves = Shelves(5)
        drafts = [
            transfers.draft(
                shelves.room.pk, shelves.other.pk, {shelves.sku.pk: 5}, **by(shelves.picker)
            )
            for _ in range(2)
        ]
        calls = [partial(transfers.send, one.pk, **by(shelves.picker)) for one in drafts]
        results = run_together(*calls)
        assert sum(isinstance(one, OrderCenterError) for one in results) == 1
        assert shelves.figures(shelves.other) == {"in_transit": 5}
    assert ledger_red() == set()


def test_levels_that_are_missing_are_made_by_one_of_many(run_together: Any) -> None:
    shelves = Shelves()

    def make() -> int:
        return len(ledger.open_levels([shelves.room.pk, shelves.other.pk], [shelves.sku.pk]))

    assert run_together(*[transaction.atomic(make)] * 6) == [2] * 6
    assert StockLevel.objects.count() == 2
