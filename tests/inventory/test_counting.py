"""Shelves are counted while orders move; only what people found is corrected."""

from datetime import timedelta
from decimal import Decimal
from functools import partial
from typing import Any

import pytest

from inventory import counting
from inventory import services as inventory
from inventory.accuracy import Accuracy, accuracy
from inventory.models import StockCount, StockMovement
from inventory.papers import HeldByOrders, PaperClosed
from ordercenter.audit.models import Action, AuditRecord
from ordercenter.core.actor import PIPELINE
from ordercenter.core.clock import now as clock_now
from ordercenter.core.errors import InvalidInput, NotAllowed, NotFound
from ordercenter.core.policy import Role
from tests.factories import SkuFactory, user_with
from tests.inventory.shelves import Shelves, by, ledger_red
from tests.races.tools import meeting, unlocked

pytestmark = pytest.mark.django_db


def begin(shelves: Shelves, skus: Any = None, **more: Any) -> StockCount:
    return counting.open_count(shelves.room.pk, skus, **{**by(shelves.picker), **more})


def tally(shelves: Shelves, count: StockCount, units: int, **more: Any) -> None:
    counting.count_sku(count.pk, shelves.sku.pk, units, **{**by(shelves.picker), **more})


def submit(shelves: Shelves, count: StockCount) -> StockCount:
    return counting.submit(count.pk, **by(shelves.picker))


def test_a_difference_found_is_applied() -> None:
    shelves = Shelves(10)
    count = begin(shelves)
    tally(shelves, count, 8)
    assert shelves.figures() == {"on_hand": 10}
    assert submit(shelves, count).state == "applied"
    assert shelves.figures() == {"on_hand": 8}
    assert StockMovement.objects.get(reason="count").document == f"count:{count.pk}"
    assert submit(shelves, count).state == "applied"
    assert shelves.figures() == {"on_hand": 8}
    told = AuditRecord.objects.filter(object_type="stock_count", object_id=count.pk)
    assert set(told.values_list("action", flat=True)) == {Action.STOCK_COUNTED}
    assert ledger_red() == set()


def test_what_moved_since_it_was_counted_is_no_difference() -> None:
    shelves = Shelves(10)
    leaving = shelves.order(3)
    count = begin(shelves)
    tally(shelves, count, 9)  # the books say 10: one is missing
    shelves.ship(leaving)
    inventory.receive([(shelves.room.pk, shelves.sku.pk, 5)], actor=PIPELINE)
    submit(shelves, count)
    assert shelves.figures() == {"on_hand": 10 - 3 + 5 - 1}
    assert ledger_red() == set()


def test_what_moved_before_it_was_counted_is_no_difference_either() -> None:
    shelves = Shelves(10)
    count = begin(shelves)
    shelves.ship(shelves.order(3))
    tally(shelves, count, 7)
    submit(shelves, count)
    assert shelves.figures() == {"on_hand": 7}
    assert not StockMovement.objects.filter(reason="count").exists()


def test_counted_again_the_last_word_stands_at_its_own_moment() -> None:
    shelves = Shelves(10)
    count = begin(shelves)
    tally(shelves, count, 4)
    shelves.ship(shelves.order(2))
    tally(shelves, count, 8)
    submit(shelves, count)
    assert shelves.figures() == {"on_hand": 8}


def test_what_was_not_to_be_counted_and_is_found_is_counted_too() -> None:
    shelves = Shelves(10)
    stray = SkuFactory.create()
    count = begin(shelves, [shelves.sku.pk])
    counting.count_sku(count.pk, stray.pk, 2, **by(shelves.picker))
    submit(shelves, count)
    assert shelves.level(sku=stray).on_hand == 2
    assert shelves.figures() == {"on_hand": 10}  # not counted, not touched


def test_a_large_difference_waits_for_somebody_who_did_not_count() -> None:
    shelves = Shelves(100, limit=20)
    count = begin(shelves)
    tally(shelves, count, 70, **by(shelves.boss))
    assert submit(shelves, count).state == "waiting"
    assert shelves.figures() == {"on_hand": 100}
    with pytest.raises(NotAllowed, match="自己参与"):
        counting.approve(count.pk, **by(shelves.boss))
    with pytest.raises(NotAllowed):
        counting.approve(count.pk, **by(shelves.picker))
    assert counting.approve(count.pk, **by(shelves.second)).state == "applied"
    assert counting.approve(count.pk, **by(shelves.second)).state == "applied"
    assert shelves.figures() == {"on_hand": 70}


def test_the_second_person_may_have_it_counted_again() -> None:
    shelves = Shelves(100)
    count = begin(shelves)
    tally(shelves, count, 10)
    submit(shelves, count)
    with pytest.raises(PaperClosed):
        tally(shelves, count, 100)
    counting.reopen(count.pk, reason="差异过大，请复盘", **by(shelves.boss))
    tally(shelves, count, 100)
    assert submit(shelves, count).state == "applied"
    assert shelves.figures() == {"on_hand": 100}


def test_a_difference_that_takes_what_is_promised_is_refused_and_names_the_orders() -> None:
    shelves = Shelves(10)
    order = shelves.order(9)
    count = begin(shelves)
    tally(shelves, count, 5)
    with pytest.raises(HeldByOrders) as refusal:
        submit(shelves, count)
    assert refusal.value.facts["orders"] == [order.number]
    count.refresh_from_db()
    assert count.state == "open"
    assert shelves.figures() == {"on_hand": 10, "reserved": 9}
    counting.leave_out(count.pk, count.lines.get().pk, **by(shelves.picker))
    with pytest.raises(InvalidInput, match="还没有盘"):
        submit(shelves, count)


def test_a_count_that_is_given_up_changes_nothing() -> None:
    shelves = Shelves(10)
    count = begin(shelves)
    tally(shelves, count, 4)
    counting.cancel(count.pk, reason="改期再盘", **by(shelves.picker))
    assert shelves.figures() == {"on_hand": 10}
    with pytest.raises(PaperClosed):
        submit(shelves, count)


@pytest.mark.parametrize("units", [-1, 1_000_001])
def test_senseless_figures_are_refused(units: int) -> None:
    shelves = Shelves(10)
    with pytest.raises(InvalidInput):
        tally(shelves, begin(shelves), units)


def test_an_empty_warehouse_and_unknown_goods_cannot_be_counted() -> None:
    shelves = Shelves()
    with pytest.raises(InvalidInput):
        begin(shelves)
    with pytest.raises(InvalidInput):
        begin(shelves, [0])
    with pytest.raises(NotFound):
        begin(shelves, [shelves.sku.pk], **by(user_with(Role.PICKER, username="stranger")))


def test_accuracy_is_the_share_counted_exactly_and_the_units_off() -> None:
    shelves = Shelves(90)
    exact = SkuFactory.create()
    inventory.receive([(shelves.room.pk, exact.pk, 10)], actor=PIPELINE)
    count = begin(shelves)
    tally(shelves, count, 88)
    counting.count_sku(count.pk, exact.pk, 10, **by(shelves.picker))
    submit(shelves, count)
    now = clock_now()
    found = accuracy(now - timedelta(days=30), now)
    assert found == Accuracy(lines=2, exact=1, off=2, book=100)
    assert (found.by_line, found.by_unit) == (Decimal("0.5"), Decimal("0.98"))
    assert accuracy(now, now + timedelta(days=1)).by_line is None
    assert accuracy(now - timedelta(days=30), now, room_ids=[shelves.other.pk]).lines == 0


# --- K18 ------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_k18_goods_ship_while_a_count_is_applied(run_together: Any) -> None:
    for _ in range(8):
        shelves = Shelves(10)
        leaving = shelves.order(3)
        count = begin(shelves)
        tally(shelves, count, 9)
        done = run_together(
            partial(submit, shelves, count),
            partial(shelves.ship, leaving),
            partial(submit, shelves, count),
        )
        assert not [one for one in done if isinstance(one, BaseException)]
        assert shelves.figures() == {"on_hand": 6}
    assert ledger_red() == set()


@pytest.mark.django_db(transaction=True)
def test_k18_control_without_the_papers_lock_the_difference_is_applied_twice(
    run_together: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelves = Shelves(10)
    leaving = shelves.order(3)
    count = begin(shelves)
    tally(shelves, count, 9)
    unlocked(monkeypatch, "inventory_stockcount")
    meet, look = meeting(2), counting._counted

    def slow_look(paper: StockCount) -> Any:
        found = look(paper)
        meet()
        return found

    monkeypatch.setattr(counting, "_counted", slow_look)
    run_together(*[partial(submit, shelves, count)] * 2)
    shelves.ship(leaving)
    assert shelves.figures() == {"on_hand": 5}  # one unit was missing, and two are written off
