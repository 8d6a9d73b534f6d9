"""N07: a refund meets the parcel in every state until hand-over, and after it.

Everything goes through the doors people and platforms use: the platform's message, the pages of
the bench, the task on the picker's list.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import pytest
from django.contrib.auth.models import User
from django.db import transaction
from django.http import HttpResponse
from django.test import Client

from channels_sync.models import OutboundMessage
from fulfillment import traces
from fulfillment.contracts import Issued, TraceEventDraft, TraceStatus
from fulfillment.models import Parcel, ParcelStop, StageTask, Waybill
from ordercenter.audit.models import AuditRecord
from ordercenter.core.actor import PIPELINE
from ordercenter.core.clock import now as clock_now
from ordercenter.orders.contracts import OrderDraft, RefundDraft
from ordercenter.orders.models import SalesOrder
from ordercenter.pipeline import decisions, stages
from tests.pipeline.seller import (
    NUMBERS,
    REASON,
    Carrier,
    Seller,
    again,
    as_person,
    draft,
    hold_ids,
    holds,
    pick,
    print_label,
    promised,
    refund,
    ship,
    take_one,
    take_refund,
    tasks,
)
from tests.races.tools import red

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def bench(boss: User, carrier: Carrier) -> Client:
    """The browser at the packing bench, and a carrier that answers."""
    client = Client()
    client.force_login(boss)
    return client


def planned(order: SalesOrder, boss: User) -> None:
    assert order.parcels.get().state == "planned"


def claimed(order: SalesOrder, boss: User) -> None:
    stages.claim_task(StageTask.objects.get(order=order, stage="pick").pk, user=boss)


def picked(order: SalesOrder, boss: User) -> None:
    pick(order, boss)


def label_asked(order: SalesOrder, boss: User) -> None:
    """The carrier was asked for a number and has not answered yet."""
    parcel = pick(order, boss)
    stages._intend(stages.reachable(parcel.pk, boss), actor=as_person(boss))


@transaction.atomic
def arrives(seller: Seller, told: OrderDraft) -> SalesOrder:
    return take_one(seller.shop, told)


@transaction.atomic
def asked_back(seller: Seller, told: RefundDraft) -> None:
    take_refund(seller.shop, told)


def packed(order: SalesOrder, boss: User) -> None:
    print_label(order, boss)


def packed_and_frozen(order: SalesOrder, boss: User) -> None:
    print_label(order, boss)
    decisions.freeze_order(order.pk, user=boss, actor=as_person(boss), reason=REASON)


def shipped(order: SalesOrder, boss: User) -> None:
    ship(order, boss)


def signed(order: SalesOrder, boss: User) -> None:
    parcel = ship(order, boss)
    event = TraceEventDraft(
        parcel.waybills.get().number, "80", TraceStatus.DELIVERED, "已签收", clock_now(),
        event_id="signed",
    )  # fmt: skip
    with transaction.atomic():
        traces.take_events("sf", [event], actor=PIPELINE, now=clock_now())
    order.refresh_from_db()
    assert order.status == "signed"


Bring = Callable[[SalesOrder, User], None]
BEFORE: Final[tuple[Bring, ...]] = (
    planned, claimed, picked, label_asked, packed, packed_and_frozen,
)  # fmt: skip
AFTER: Final[tuple[Bring, ...]] = (shipped, signed)
IN_HAND: Final = {"picked", "label_asked", "packed", "packed_and_frozen"}
LABELED: Final = {"packed", "packed_and_frozen"}


def named(bring: Bring) -> str:
    return bring.__name__


@dataclass
class Sold:
    """An order brought to some state, and what the platform told of it."""

    told: OrderDraft
    order: SalesOrder
    parcel: Parcel
    state: str

    @classmethod
    def brought(cls, seller: Seller, boss: User, bring: Bring) -> "Sold":
        told = draft()
        order = arrives(seller, told)
        bring(order, boss)
        order.refresh_from_db()
        return cls(told, order, order.parcels.get(), named(bring))

    def refunds(self, seller: Seller, state: str, seconds: int = 1, **changes: Any) -> None:
        at = self.told.modified_at + timedelta(seconds=seconds)
        asked_back(seller, refund(self.told, state, modified_at=at, **changes))
        self.order.refresh_from_db()
        self.parcel.refresh_from_db()


def answers() -> list[str]:
    """What the platform is to be told of the parcel, the latest word only."""
    live = OutboundMessage.objects.filter(kind="stop").exclude(state="superseded")
    return [message.payload["outcome"] for message in live.order_by("pk")]


def looks_at(bench: Client, code: str) -> HttpResponse:
    return bench.get("/work/scan/", {"code": code})  # type: ignore[return-value]


def every_button(bench: Client, sold: Sold) -> set[int]:
    """Press whatever would move the parcel on; return the answers."""
    found = {bench.post(f"/work/parcels/{sold.parcel.pk}/label/").status_code}
    label = sold.parcel.waybills.exclude(number="").first()
    number = label.number if label else "SF0"
    post = {"tracking_number": number}
    found.add(bench.post(f"/work/parcels/{sold.parcel.pk}/ship/", post).status_code)
    stages_on = StageTask.objects.filter(order=sold.order, stage__in=["pick", "pack"], state="open")
    for task in stages_on:
        found.add(bench.post(f"/work/{task.pk}/done/").status_code)
    return found


@pytest.mark.parametrize("bring", BEFORE, ids=named)
def test_a_refund_asked_for_stops_the_parcel_in_every_state_before_hand_over(
    seller: Seller, boss: User, bench: Client, bring: Bring
) -> None:
    sold = Sold.brought(seller, boss, bring)
    before = sold.parcel.state
    sold.refunds(seller, "in_progress")

    assert "refund:refund" in holds(sold.order)
    stop = ParcelStop.objects.filter(parcel=sold.parcel).latest("pk")
    assert "退款" in stop.reason
    assert (stop.where, stop.outcome) == (
        "bench" if sold.state in IN_HAND else "before_pick", "stopped",
    )  # fmt: skip
    assert answers() == ["label_printed" if sold.state in LABELED else "stopped"]

    page = looks_at(bench, sold.parcel.number).content.decode()
    assert "data-stop" in page
    assert "买家申请退款" in page
    assert ("已拦下，退回货位" in page) == (sold.state in IN_HAND)
    assert every_button(bench, sold) <= {404, 409, 422}
    sold.parcel.refresh_from_db()
    assert sold.parcel.state == before
    assert not Waybill.objects.filter(parcel=sold.parcel, order_version__gt=sold.order.version)
    assert red() == set()


@pytest.mark.parametrize("bring", BEFORE, ids=named)
def test_a_refund_given_takes_the_parcel_apart_in_every_state_before_hand_over(
    seller: Seller, boss: User, bench: Client, bring: Bring
) -> None:
    sold = Sold.brought(seller, boss, bring)
    sold.refunds(seller, "in_progress")
    sold.refunds(seller, "refunded", 2)

    in_hand = sold.state in IN_HAND
    assert sold.order.status == "canceled"
    assert sold.parcel.state == ("stopped" if in_hand else "canceled")
    assert not Waybill.objects.filter(parcel=sold.parcel, state__in=["intent", "live"])
    assert promised(sold.order) == {}
    assert tasks(sold.order) == ({"put_back"} if in_hand else set())
    page = looks_at(bench, sold.parcel.number).content.decode()
    assert "data-stop" in page
    assert "订单已取消" in page
    assert every_button(bench, sold) <= {404, 409, 422}
    if in_hand:
        task = StageTask.objects.get(order=sold.order, stage="put_back")
        assert bench.post(f"/work/{task.pk}/done/").status_code == 302
        assert tasks(sold.order) == set()
    assert red() == set()


@pytest.mark.parametrize("bring", BEFORE, ids=named)
def test_a_refund_taken_back_lets_the_parcel_go_on_from_every_state(
    seller: Seller, boss: User, bench: Client, bring: Bring
) -> None:
    sold = Sold.brought(seller, boss, bring)
    sold.refunds(seller, "in_progress")
    sold.refunds(seller, "closed", 2)
    assert "refund:refund" not in holds(sold.order)
    if sold.state == "packed_and_frozen":
        assert holds(sold.order) == {"person:person"}
        decisions.release_order(
            sold.order.pk, hold_ids(sold.order), user=boss, actor=as_person(boss),
            seen_version=sold.order.version, reason=REASON,
        )  # fmt: skip
    if sold.state in {"planned", "claimed"}:
        pick(sold.order, boss)
    assert bench.post(f"/work/parcels/{sold.parcel.pk}/label/").status_code == 302
    post = {"tracking_number": sold.parcel.waybills.get(state="live").number}
    assert bench.post(f"/work/parcels/{sold.parcel.pk}/ship/", post).status_code == 302
    sold.order.refresh_from_db()
    assert sold.order.status == "shipped"
    assert red() == set()


@pytest.mark.parametrize("bring", BEFORE, ids=named)
def test_a_part_of_the_money_back_stops_the_parcel_for_a_person(
    seller: Seller, boss: User, bench: Client, bring: Bring
) -> None:
    sold = Sold.brought(seller, boss, bring)
    sold.refunds(seller, "in_progress", amount=sold.told.payable_amount / 2)
    sold.refunds(seller, "partial", 2, amount=sold.told.payable_amount / 2)
    assert "changed:part_refund" in holds(sold.order)
    assert "data-stop" in looks_at(bench, sold.parcel.number).content.decode()
    assert every_button(bench, sold) <= {404, 409, 422}
    assert red() == set()


@pytest.mark.parametrize("state", ["in_progress", "refunded"])
@pytest.mark.parametrize("bring", AFTER, ids=named)
def test_a_refund_after_hand_over_is_answered_so_and_is_a_case(
    seller: Seller, boss: User, bench: Client, bring: Bring, state: str
) -> None:
    sold = Sold.brought(seller, boss, bring)
    was = sold.order.status
    sold.refunds(seller, state)
    assert (sold.order.status, holds(sold.order)) == (was, set())
    assert "after_sales" in tasks(sold.order)
    assert answers() == (["shipped"] if state == "in_progress" else [])
    assert "data-stop" not in looks_at(bench, sold.parcel.number).content.decode()
    assert red() == set()


# --- caught at the bench --------------------------------------------------------------------


@pytest.mark.parametrize("bring", [b for b in BEFORE if named(b) in IN_HAND], ids=named)
def test_a_parcel_caught_at_the_bench_goes_back_to_the_shelf_and_the_platform_hears_it(
    seller: Seller, boss: User, bench: Client, bring: Bring
) -> None:
    sold = Sold.brought(seller, boss, bring)
    sold.refunds(seller, "in_progress")
    for _press in range(2):
        assert bench.post(f"/work/parcels/{sold.parcel.pk}/caught/").status_code == 302
    sold.parcel.refresh_from_db()
    sold.order.refresh_from_db()
    assert (sold.parcel.state, sold.order.status) == ("stopped", "cleared")
    assert not Waybill.objects.filter(parcel=sold.parcel, state__in=["intent", "live"])
    assert answers() == ["stopped"]
    assert tasks(sold.order) == {"put_back"}
    assert AuditRecord.objects.filter(action="parcel_stopped").count() == 1
    assert "refund:refund" in holds(sold.order)
    assert promised(sold.order) == {"SOFA": 1}, "until the money is back the goods stay promised"
    assert red() == set()


def test_a_buyer_who_thinks_better_of_it_gets_a_new_parcel(
    seller: Seller, boss: User, bench: Client
) -> None:
    sold = Sold.brought(seller, boss, packed)
    sold.refunds(seller, "in_progress")
    bench.post(f"/work/parcels/{sold.parcel.pk}/caught/")
    sold.refunds(seller, "closed", 2)
    assert sold.order.status == "routed"
    second = sold.order.parcels.exclude(pk=sold.parcel.pk).get()
    assert (second.state, tasks(sold.order)) == ("planned", {"put_back", "pick"})
    assert red() == set()


def test_only_a_parcel_of_an_open_refund_is_caught(
    seller: Seller, boss: User, bench: Client
) -> None:
    sold = Sold.brought(seller, boss, packed)
    path = f"/work/parcels/{sold.parcel.pk}/caught/"
    assert bench.post(path).status_code == 409
    sold.refunds(seller, "in_progress")
    sold.refunds(seller, "closed", 2)
    assert bench.post(path).status_code == 409
    sold.parcel.refresh_from_db()
    assert sold.parcel.state == "packed"
    late = Sold.brought(seller, boss, shipped)
    late.refunds(seller, "in_progress")
    assert bench.post(f"/work/parcels/{late.parcel.pk}/caught/").status_code == 409
    assert red() == set()


def test_the_bench_hears_of_the_stop_while_the_parcel_lies_on_it(
    seller: Seller, boss: User, bench: Client
) -> None:
    """The page asks for this fragment at every nudge; where it speaks, it is drawn as a stop."""
    sold = Sold.brought(seller, boss, packed)
    page = looks_at(bench, sold.parcel.number).content.decode()
    asked = f"/work/scan/?code={sold.parcel.number}&fragment=1"
    assert f'data-live="orders" data-live-src="{asked.replace("&", "&amp;")}"' in page
    assert "data-halt" not in bench.get(asked).content.decode()
    sold.refunds(seller, "in_progress")
    assert "data-halt" in bench.get(asked).content.decode()
    assert bench.get("/work/scan/?code=nothing&fragment=1").status_code == 404


def test_a_number_the_carrier_gives_after_the_refund_is_void(
    seller: Seller, boss: User, bench: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The refund comes while the carrier is being asked."""
    told = draft()
    order = arrives(seller, told)
    parcel = pick(order, boss)

    def answer(waybill: Waybill, *_: object) -> Issued:
        asked_back(seller, refund(again(told)))
        return Issued(f"SF{next(NUMBERS):013}", waybill.client_reference)

    monkeypatch.setattr(stages, "_ask_carrier", answer)
    waybill = stages.request_label(parcel.pk, user=boss, actor=as_person(boss))
    assert waybill.state == "void"
    assert answers() == ["stopped"]
    assert "data-stop" in looks_at(bench, parcel.number).content.decode()
    assert red() == set()
