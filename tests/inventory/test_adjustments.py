"""Small corrections at once, large ones by two people, none of what is promised."""

import uuid
from typing import Any

import pytest

from inventory import adjustments
from inventory.adjustments import DecidedAlready, Kind
from inventory.models import Adjustment, StockMovement
from inventory.papers import HeldByOrders, NotEnough
from ordercenter.audit.models import Action, AuditRecord
from ordercenter.core.errors import InvalidInput, NotAllowed, NotFound
from ordercenter.core.policy import Role
from tests.factories import user_with
from tests.inventory.shelves import Shelves, by, ledger_red

pytestmark = pytest.mark.django_db


def adjust(shelves: Shelves, units: int, kind: Kind = Kind.GONE, **more: Any) -> Adjustment:
    return adjustments.adjust(
        shelves.room.pk, shelves.sku.pk, units, kind,
        **{"reason": "货架破损", **by(shelves.picker), **more},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "figures"),
    [
        (Kind.FOUND, {"on_hand": 13, "defect": 5}),
        (Kind.GONE, {"on_hand": 7, "defect": 5}),
        (Kind.TO_DEFECT, {"on_hand": 7, "defect": 8}),
        (Kind.MENDED, {"on_hand": 13, "defect": 2}),
        (Kind.SCRAPPED, {"on_hand": 10, "defect": 2}),
    ],
)
def test_a_small_correction_is_made_at_once(kind: Kind, figures: dict[str, int]) -> None:
    shelves = Shelves(15)
    adjust(shelves, 5, Kind.TO_DEFECT)
    made = adjust(shelves, 3, kind)
    assert (made.state, adjustments.kind_of(made)) == ("applied", kind)
    assert shelves.figures() == figures
    assert StockMovement.objects.filter(document=f"adjustment:{made.pk}").count() == 1
    assert ledger_red() == set()


def test_a_large_correction_waits_for_a_second_person() -> None:
    shelves = Shelves(100, limit=20)
    asked = adjust(shelves, 21)
    assert asked.state == "waiting"
    assert shelves.figures() == {"on_hand": 100}
    made = adjustments.decide(asked.pk, agree=True, **by(shelves.boss))
    assert (made.state, made.decided_by) == ("applied", shelves.boss.username)
    assert shelves.figures() == {"on_hand": 79}
    assert adjustments.decide(asked.pk, agree=True, **by(shelves.boss)).state == "applied"
    assert shelves.figures() == {"on_hand": 79}
    told = AuditRecord.objects.filter(object_type="adjustment", object_id=asked.pk)
    assert set(told.values_list("action", flat=True)) == {Action.STOCK_ADJUSTED}
    assert told.count() == 2
    assert ledger_red() == set()


def test_nobody_agrees_to_his_own_correction() -> None:
    shelves = Shelves(100)
    asked = adjust(shelves, 50, **by(shelves.boss))
    with pytest.raises(NotAllowed, match="自己提交"):
        adjustments.decide(asked.pk, agree=True, **by(shelves.boss))
    with pytest.raises(NotAllowed):
        adjustments.decide(asked.pk, agree=True, **by(shelves.picker))
    assert shelves.figures() == {"on_hand": 100}


def test_a_refusal_needs_words_and_ends_it() -> None:
    shelves = Shelves(100)
    asked = adjust(shelves, 50)
    with pytest.raises(InvalidInput):
        adjustments.decide(asked.pk, agree=False, **by(shelves.boss))
    ended = adjustments.decide(asked.pk, agree=False, note="请重新清点", **by(shelves.boss))
    assert (ended.state, ended.decision_note) == ("refused", "请重新清点")
    with pytest.raises(DecidedAlready):
        adjustments.decide(asked.pk, agree=True, **by(shelves.second))
    assert shelves.figures() == {"on_hand": 100}


def test_a_large_correction_cannot_go_as_many_small_ones() -> None:
    shelves = Shelves(100, limit=20)
    states = [adjust(shelves, 8).state for _ in range(3)]
    assert states == ["applied", "applied", "waiting"]
    assert adjust(shelves, 8, **by(shelves.boss)).state == "applied"  # the limit is each person's
    assert shelves.figures() == {"on_hand": 76}


def test_what_is_promised_cannot_be_corrected_away_and_the_orders_are_named() -> None:
    shelves = Shelves(10)
    orders = [shelves.order(4), shelves.order(4)]
    with pytest.raises(HeldByOrders) as refusal:
        adjust(shelves, 3)
    assert refusal.value.http_status == 409
    told = refusal.value.facts["orders"]
    assert isinstance(told, list)
    assert set(told) == {order.number for order in orders}
    assert not Adjustment.objects.exists()
    assert adjust(shelves, 2).state == "applied"
    assert shelves.figures() == {"on_hand": 8, "reserved": 8}


def test_what_was_promised_while_it_waited_is_named_when_somebody_agrees() -> None:
    shelves = Shelves(100)
    asked = adjust(shelves, 60)
    order = shelves.order(50)
    with pytest.raises(HeldByOrders, match=order.number):
        adjustments.decide(asked.pk, agree=True, **by(shelves.boss))
    asked.refresh_from_db()
    assert asked.state == "waiting"
    assert shelves.figures() == {"on_hand": 100, "reserved": 50}


def test_more_defect_units_than_there_are_cannot_be_mended() -> None:
    shelves = Shelves(10)
    with pytest.raises(NotEnough):
        adjust(shelves, 1, Kind.MENDED)


@pytest.mark.parametrize("units", [0, -1])
def test_a_correction_of_nothing_is_refused(units: int) -> None:
    with pytest.raises(InvalidInput):
        adjust(Shelves(10), units)


def test_the_same_form_sent_twice_corrects_once() -> None:
    shelves, key = Shelves(10), uuid.uuid4()
    first, second = (adjust(shelves, 2, key=key) for _ in range(2))
    assert first.pk == second.pk
    assert shelves.figures() == {"on_hand": 8}


def test_who_works_elsewhere_corrects_nothing_here() -> None:
    shelves = Shelves(10)
    with pytest.raises(NotFound):
        adjust(shelves, 1, **by(user_with(Role.PICKER, username="stranger")))
    with pytest.raises(NotAllowed):
        adjust(shelves, 1, **by(user_with(Role.PACKER)))
