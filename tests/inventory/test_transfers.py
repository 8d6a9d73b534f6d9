"""Goods go from one warehouse to another, are somewhere all the time, and none is sold twice."""

from functools import partial
from typing import Any

import pytest

from inventory import transfers
from inventory.models import StockMovement, Transfer, VirtualWarehouse
from inventory.papers import HeldByOrders, PaperClosed, StalePaper
from inventory.transfers import Arrival
from ordercenter.core.errors import InvalidInput, NotAllowed, NotFound
from ordercenter.core.policy import Role
from tests.factories import VirtualWarehouseFactory, user_with
from tests.inventory.shelves import Shelves, by, ledger_red

pytestmark = pytest.mark.django_db


def draft(shelves: Shelves, units: int, **more: Any) -> Transfer:
    ends: tuple[VirtualWarehouse, VirtualWarehouse] = more.pop(
        "ends", (shelves.room, shelves.other)
    )
    return transfers.draft(
        ends[0].pk, ends[1].pk, {shelves.sku.pk: units}, **{**by(shelves.picker), **more}
    )


def sent(shelves: Shelves, units: int) -> Transfer:
    return transfers.send(draft(shelves, units).pk, **by(shelves.picker))


def receive(
    shelves: Shelves, transfer: Transfer, good: int, lost: int = 0, *, seen: int = 0
) -> Transfer:
    arrival = Arrival(transfer.lines.get().pk, good, lost, seen)
    reason = "运输途中破损" if lost else ""
    return transfers.receive(transfer.pk, [arrival], reason=reason, **by(shelves.picker))


def test_a_draft_moves_nothing_and_can_be_canceled() -> None:
    shelves = Shelves(10)
    transfer = draft(shelves, 4)
    assert shelves.figures() == {"on_hand": 10}
    assert transfers.cancel(transfer.pk, **by(shelves.picker)).state == "canceled"
    assert transfers.cancel(transfer.pk, **by(shelves.picker)).state == "canceled"
    with pytest.raises(PaperClosed):
        transfers.send(transfer.pk, **by(shelves.picker))
    assert shelves.figures() == {"on_hand": 10}


def test_goods_sent_are_in_transit_where_they_go_to() -> None:
    shelves = Shelves(10)
    transfer = sent(shelves, 4)
    assert shelves.figures() == {"on_hand": 6}
    assert shelves.figures(shelves.other) == {"in_transit": 4}
    assert ledger_red() == set()
    assert transfers.send(transfer.pk, **by(shelves.picker)).state == "sent"
    assert shelves.figures() == {"on_hand": 6}


def test_goods_arrive_in_parts_and_what_is_lost_is_gone_for_a_reason() -> None:
    shelves = Shelves(10)
    transfer = receive(shelves, sent(shelves, 4), 2)
    assert transfer.state == "sent"
    assert shelves.figures(shelves.other) == {"on_hand": 2, "in_transit": 2}
    with pytest.raises(StalePaper):
        receive(shelves, transfer, 2)
    transfer = receive(shelves, transfer, 1, 1, seen=2)
    assert transfer.state == "received"
    assert shelves.figures(shelves.other) == {"on_hand": 3}
    between = StockMovement.objects.filter(document=f"transfer:{transfer.pk}")
    assert between.filter(source="between").get().quantity == 4
    assert between.filter(target="between").get().quantity == 4
    assert ledger_red() == set()


def test_a_loss_needs_a_reason_and_more_than_was_sent_cannot_come() -> None:
    shelves = Shelves(10)
    transfer = sent(shelves, 4)
    line = transfer.lines.get().pk
    with pytest.raises(InvalidInput, match="说明"):
        transfers.receive(transfer.pk, [Arrival(line, 3, 1, 0)], **by(shelves.picker))
    with pytest.raises(InvalidInput, match="在途只有 4 件"):
        receive(shelves, transfer, 5)
    with pytest.raises(InvalidInput):
        receive(shelves, transfer, -1, 1)


def test_promised_goods_do_not_leave_and_the_refusal_names_the_orders() -> None:
    shelves = Shelves(10)
    order = shelves.order(7)
    with pytest.raises(HeldByOrders) as refusal:
        sent(shelves, 4)
    assert refusal.value.facts["orders"] == [order.number]
    assert "只有 3 件未占用" in str(refusal.value)
    assert sent(shelves, 3).state == "sent"


def test_a_transfer_to_the_same_warehouse_is_refused() -> None:
    shelves = Shelves(10)
    with pytest.raises(InvalidInput, match="同一个仓") as refusal:
        draft(shelves, 1, ends=(shelves.room, shelves.room))
    assert refusal.value.http_status == 422


def test_the_same_form_sent_twice_makes_one_transfer() -> None:
    shelves = Shelves(10)
    first, second = (draft(shelves, 1, number="DB251122-AAAAA") for _ in range(2))
    assert first.pk == second.pk


def test_who_works_at_neither_end_finds_no_such_transfer() -> None:
    shelves = Shelves(10)
    transfer = draft(shelves, 1)
    stranger = user_with(Role.PICKER, username="stranger")
    with pytest.raises(NotFound):
        transfers.send(transfer.pk, **by(stranger))
    with pytest.raises(NotAllowed):
        transfers.send(transfer.pk, **by(user_with(Role.PACKER)))
    far = draft(shelves, 1, ends=(shelves.room, VirtualWarehouseFactory.create()))
    transfers.send(far.pk, **by(shelves.picker))
    with pytest.raises(NotFound):  # he sends, but does not work where they go to
        receive(shelves, far, 1)


def test_closed_warehouses_neither_send_nor_receive() -> None:
    shelves = Shelves(10)
    shelves.other.warehouse.is_active = False
    shelves.other.warehouse.save()
    with pytest.raises(InvalidInput, match="已停用"):
        draft(shelves, 1)


@pytest.mark.django_db(transaction=True)
def test_a_transfer_sent_by_two_at_once_leaves_once(run_together: Any) -> None:
    shelves = Shelves(10)
    transfer = draft(shelves, 4)
    send = partial(transfers.send, transfer.pk, **by(shelves.picker))
    assert {result.state for result in run_together(*[send] * 4)} == {"sent"}
    assert shelves.figures() == {"on_hand": 6}
    assert shelves.figures(shelves.other) == {"in_transit": 4}
    assert ledger_red() == set()
