"""A label request whose answer was lost is settled by itself: adopted, or let go."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import User

from fulfillment.contracts import CarrierErrorClass, CarrierFault, CarrierUnknown, Issued
from fulfillment.models import CarrierAccount, Waybill
from ordercenter.core.clock import now
from ordercenter.pipeline import stages
from ordercenter.pipeline.decisions import freeze_order
from tests.pipeline.seller import Seller, as_person, draft, print_label, take_one

pytestmark = pytest.mark.django_db


class Book:
    """The carrier's own book: numbers by our reference."""

    def __init__(self, *, number: str = "") -> None:
        self.number = number

    def find(self, reference: str) -> Issued | None:
        return Issued(self.number, reference) if self.number else None


@pytest.fixture
def lost(seller: Seller, boss: User, monkeypatch: pytest.MonkeyPatch) -> Waybill:
    """A request the carrier never answered."""
    CarrierAccount.objects.create(
        code="sf", name="顺丰", base_url="http://127.0.0.1:9", account="A", sealed=b"x"
    )
    order = take_one(seller.shop, draft())

    def silence(*_: object) -> Issued:
        raise CarrierUnknown(CarrierFault(CarrierErrorClass.PLATFORM, "timeout", "无应答"))

    monkeypatch.setattr(stages, "_ask_carrier", silence)
    with pytest.raises(CarrierUnknown):
        print_label(order, boss)
    return Waybill.objects.get(state=Waybill.State.INTENT)


def settle(monkeypatch: pytest.MonkeyPatch, book: Book, *, minutes: int = 3) -> None:
    monkeypatch.setattr(stages, "speaking", lambda *_: book)
    stages.settle_intents(now=now() + timedelta(minutes=minutes))


def test_a_number_the_carrier_did_give_is_adopted(
    lost: Waybill, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle(monkeypatch, Book(number="SF1"))
    lost.refresh_from_db()
    assert (lost.state, lost.number) == (Waybill.State.LIVE, "SF1")


def test_a_request_the_carrier_never_saw_is_let_go(
    lost: Waybill, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle(monkeypatch, Book())
    lost.refresh_from_db()
    assert lost.state == Waybill.State.FAILED


def test_a_number_found_for_a_stopped_order_is_void_and_never_live(
    lost: Waybill, boss: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    freeze_order(lost.parcel.order_id, user=boss, actor=as_person(boss), reason="买家来电要求暂停")
    settle(monkeypatch, Book(number="SF2"))
    lost.refresh_from_db()
    assert (lost.state, lost.number) == (Waybill.State.VOID, "SF2")


def test_a_request_just_made_is_left_to_the_packer(
    lost: Waybill, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle(monkeypatch, Book(number="SF3"), minutes=1)
    lost.refresh_from_db()
    assert lost.state == Waybill.State.INTENT
