"""Goods are announced, come in parts, damaged, too many or too few, and count once."""

from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from inventory import arrivals
from inventory.arrivals import Receipt
from inventory.models import Inbound, StockMovement
from inventory.papers import PaperClosed, StalePaper
from ordercenter.audit.models import Action, AuditRecord
from ordercenter.core.clock import now as clock_now
from ordercenter.core.errors import InvalidInput, NotAllowed, NotFound
from ordercenter.core.policy import Role
from tests.factories import SkuFactory, VirtualWarehouseFactory, user_with
from tests.inventory.shelves import Shelves, by, ledger_red
from tests.races.tools import meeting, unlocked

pytestmark = pytest.mark.django_db


@pytest.fixture
def shelves() -> Shelves:
    return Shelves()


def announce(shelves: Shelves, units: int = 10, **more: Any) -> Inbound:
    wanted = more.pop("goods", {shelves.sku.pk: units})
    return arrivals.announce(
        shelves.room.pk, wanted, expected_at=clock_now() + timedelta(days=3),
        **{**by(shelves.picker), **more},
    )  # fmt: skip


def receive(
    shelves: Shelves, inbound: Inbound, good: int, defect: int = 0, *, seen: int = 0,
    surplus: bool = False,
) -> Any:  # fmt: skip
    receipt = Receipt(inbound.lines.get().pk, good, defect, seen)
    return arrivals.receive(inbound.pk, [receipt], surplus=surplus, **by(shelves.picker))


def test_announced_goods_are_inbound_and_cannot_be_sold(shelves: Shelves) -> None:
    inbound = announce(shelves)
    assert shelves.figures() == {"inbound": 10}
    assert (inbound.state, inbound.number[:2]) == ("expected", "RK")
    assert StockMovement.objects.get().document == f"inbound:{inbound.pk}"
    assert ledger_red() == set()


def test_goods_come_in_parts_good_and_damaged(shelves: Shelves) -> None:
    inbound = announce(shelves)
    done = receive(shelves, inbound, 5, 1)
    assert (done.good, done.room_id) == ({shelves.sku.pk: 5}, shelves.room.pk)
    assert shelves.figures() == {"on_hand": 5, "defect": 1, "inbound": 4}
    inbound.refresh_from_db()
    assert inbound.state == "partly"
    receive(shelves, inbound, 4, seen=6)
    inbound.refresh_from_db()
    assert inbound.state == "received"
    assert shelves.figures() == {"on_hand": 9, "defect": 1}
    assert ledger_red() == set()


def test_more_than_announced_is_taken_when_somebody_says_so(shelves: Shelves) -> None:
    inbound = announce(shelves)
    with pytest.raises(InvalidInput, match="多 3 件"):
        receive(shelves, inbound, 12, 1)
    assert shelves.figures() == {"inbound": 10}
    receive(shelves, inbound, 12, 1, surplus=True)
    assert shelves.figures() == {"on_hand": 12, "defect": 1}
    came = StockMovement.objects.filter(reason="receive").values_list(
        "source", "target", "quantity"
    )
    assert set(came) == {
        ("inbound", "available", 10), ("outside", "available", 2), ("outside", "defect", 1),
    }  # fmt: skip
    assert ledger_red() == set()


def test_what_does_not_come_is_expected_no_longer(shelves: Shelves) -> None:
    inbound = announce(shelves)
    receive(shelves, inbound, 7)
    closed = arrivals.close(inbound.pk, reason="供应商缺货", **by(shelves.picker))
    assert closed.state == "received"
    assert shelves.figures() == {"on_hand": 7}
    again = arrivals.close(inbound.pk, reason="供应商缺货", **by(shelves.picker))
    assert again.state == "received"
    assert StockMovement.objects.filter(reason="shortfall").count() == 1
    assert ledger_red() == set()


def test_an_arrival_of_which_nothing_came_is_canceled(shelves: Shelves) -> None:
    inbound = announce(shelves)
    assert arrivals.close(inbound.pk, reason="订单取消", **by(shelves.picker)).state == "canceled"
    assert shelves.figures() == {}
    with pytest.raises(PaperClosed):
        receive(shelves, inbound, 1)


def test_a_second_click_is_refused_and_counts_nothing(shelves: Shelves) -> None:
    inbound = announce(shelves)
    receive(shelves, inbound, 4)
    with pytest.raises(StalePaper):
        receive(shelves, inbound, 4)
    assert shelves.figures() == {"on_hand": 4, "inbound": 6}


def test_the_same_form_sent_twice_announces_once(shelves: Shelves) -> None:
    first, second = (announce(shelves, number="RK251122-AAAAA") for _ in range(2))
    assert first.pk == second.pk
    assert shelves.figures() == {"inbound": 10}


@pytest.mark.parametrize("units", [0, -3, 1_000_001])
def test_no_or_senseless_units_are_refused(shelves: Shelves, units: int) -> None:
    with pytest.raises(InvalidInput, match="件数"):
        announce(shelves, units)
    inbound = announce(shelves)
    with pytest.raises(InvalidInput):
        receive(shelves, inbound, units, surplus=True)
    assert shelves.figures() == {"inbound": 10}


def test_goods_and_warehouses_that_are_not_there_are_refused(shelves: Shelves) -> None:
    with pytest.raises(InvalidInput, match="没有这个货品"):
        announce(shelves, goods={0: 1})
    shelves.room.warehouse.is_active = False
    shelves.room.warehouse.save()
    with pytest.raises(InvalidInput, match="已停用"):
        announce(shelves)


def test_who_works_elsewhere_finds_no_such_paper(shelves: Shelves) -> None:
    inbound = announce(shelves)
    stranger = user_with(Role.PICKER, username="stranger")
    with pytest.raises(NotFound):
        arrivals.receive(inbound.pk, [], **by(stranger))
    with pytest.raises(NotFound):
        arrivals.announce(
            VirtualWarehouseFactory.create().pk, {shelves.sku.pk: 1}, expected_at=clock_now(),
            **by(shelves.picker),
        )  # fmt: skip
    with pytest.raises(NotAllowed):
        announce(shelves, **by(user_with(Role.CLERK)))


def test_every_act_leaves_a_record(shelves: Shelves) -> None:
    inbound = announce(shelves, goods={shelves.sku.pk: 10, SkuFactory.create().pk: 2})
    line = inbound.lines.get(sku=shelves.sku)
    arrivals.receive(inbound.pk, [Receipt(line.pk, 10, 0, 0)], **by(shelves.picker))
    arrivals.reschedule(
        inbound.pk, clock_now() + timedelta(days=9), reason="船期延误", **by(shelves.picker)
    )
    arrivals.close(inbound.pk, reason="余下不来了", **by(shelves.picker))
    told = AuditRecord.objects.filter(object_type="inbound", object_id=inbound.pk)
    assert set(told.values_list("action", flat=True)) == {Action.STOCK_RECEIVED}
    assert told.count() == 4


@pytest.mark.django_db(transaction=True)
def test_two_people_who_receive_the_same_goods_at_once_count_them_once(run_together: Any) -> None:
    shelves = Shelves()
    inbound = announce(shelves)
    results = run_together(*[partial(receive, shelves, inbound, 10)] * 4)
    refused = (StalePaper, PaperClosed)
    assert sum(isinstance(result, refused) for result in results) == 3
    assert shelves.figures() == {"on_hand": 10}
    assert ledger_red() == set()


@pytest.mark.django_db(transaction=True)
def test_control_without_its_locks_goods_are_received_twice(
    run_together: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelves = Shelves()
    inbound = announce(shelves)
    unlocked(monkeypatch, "inventory_inbound")
    unlocked(monkeypatch, "inventory_stocklevel")
    together(monkeypatch)
    run_together(*[partial(receive, shelves, inbound, 4)] * 2)
    assert shelves.figures()["on_hand"] == 8
    assert inbound.lines.get().received == 4
    assert "S2" in ledger_red()


def together(patch: pytest.MonkeyPatch) -> None:
    """Everybody looks at the paper before anybody receives of it."""
    meet, check = meeting(2), arrivals._check

    def slow_check(*args: Any, **kwargs: Any) -> None:
        check(*args, **kwargs)
        meet()

    patch.setattr(arrivals, "_check", slow_check)
