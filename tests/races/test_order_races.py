"""K03, K05, K11, K27: payment and expiry, freeze and label, two ways in, a form and a freeze."""

import json
import threading
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest
from django.contrib.auth.models import User
from django.db import DatabaseError, IntegrityError, transaction

from channels_sync import services as channels
from channels_sync.contracts import MessageKind, RawMessage
from channels_sync.models import InboxMessage
from fulfillment.contracts import Issued
from fulfillment.models import Waybill
from ordercenter.catalog.models import Shop
from ordercenter.core.actor import PIPELINE, Actor
from ordercenter.core.clock import now as clock_now
from ordercenter.core.policy import Role
from ordercenter.orders.contracts import ChannelStatus, OrderDraft
from ordercenter.orders.errors import OrderHeld, StaleOrder
from ordercenter.orders.models import OrderHold, SalesOrder
from ordercenter.pipeline import decisions, intake, jobs, stages, work
from tests.factories import ShopFactory, user_with
from tests.invariants.world import (
    COUNTER,
    REASON,
    draft,
    line,
    pick,
    stocked_shop,
    take_in,
    told_again,
)
from tests.races.tools import SURE, Gap, meeting, red, unlocked, without

pytestmark = pytest.mark.django_db(transaction=True)
TAOBAO: Final = (
    Path(__file__).parents[1]
    / "data/reference/payloads/taobao/trade_fullinfo_get_discount_gift_oaid.json"
)


@pytest.fixture
def shop() -> Shop:
    return stocked_shop()


@pytest.fixture
def boss() -> User:
    return user_with(Role.WAREHOUSE_SUPERVISOR)


def pausing_load(patch: pytest.MonkeyPatch, pauses: dict[str, Callable[[], None]]) -> None:
    """Let the sides named by their thread pause once they have their orders in hand."""
    plain = work.load

    def load(order_ids: Any) -> Any:
        works = plain(order_ids)
        if works and (pause := pauses.get(threading.current_thread().name)):
            pause()
        return works

    for module in (intake, jobs, decisions):
        patch.setattr(module, "load", load)


def as_side(name: str, act: Callable[[], Any]) -> Callable[[], Any]:
    """Give the thread that runs ``act`` a name its pauses are found by."""

    def side() -> Any:
        threading.current_thread().name = name
        return act()

    return side


# --- K03: payment against expiry -------------------------------------------------------------


def paid(told: OrderDraft) -> OrderDraft:
    return told_again(
        told, status=ChannelStatus.WAIT_SHIP, paid_at=clock_now(), paid_amount=told.payable_amount
    )


def pay(shop: Shop, told: OrderDraft) -> None:
    with transaction.atomic():
        intake.take_drafts([(shop.pk, paid(told))], actor=PIPELINE, now=clock_now())


def expire() -> str:
    return jobs.expire_reservations(now=clock_now() + timedelta(minutes=31))


def race_payment(
    shop: Shop, told: OrderDraft, run_together: Any, patch: pytest.MonkeyPatch
) -> list[Any]:
    """Both have the order in hand before either writes; the payment writes first."""
    gap, meet = Gap(), meeting(2)

    def expiry_pauses() -> None:
        meet()
        gap.wait_for("paid")

    pausing_load(patch, {"expiry": expiry_pauses, "payment": meet})

    def payment() -> None:
        try:
            pay(shop, told)
        finally:
            gap.happened("paid")

    results: list[Any] = run_together(as_side("payment", payment), as_side("expiry", expire))
    return results


def settled(order: SalesOrder) -> bool:
    """Paid and reserved, or paid and seen to be short."""
    order.refresh_from_db()
    short = OrderHold.objects.open().filter(order=order, kind="shortage").exists()
    return order.paid_at is not None and (order.status == "routed" or short)


def test_k03_payment_and_expiry_end_paid_and_reserved(
    shop: Shop, run_together: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = draft(paid=False)
    (order,) = take_in(shop, told)
    results = race_payment(shop, told, run_together, monkeypatch)
    assert not any(isinstance(result, Exception) for result in results), results
    assert settled(order)
    assert red() == set()


def test_k03_control_without_the_order_lock_the_trail_refuses_the_second_writer(
    shop: Shop, run_together: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = draft(paid=False)
    take_in(shop, told)
    unlocked(monkeypatch, "orders_salesorder")
    _, expiry = race_payment(shop, told, run_together, monkeypatch)
    assert isinstance(expiry, IntegrityError)  # version 2 has been written already
    assert red() == set()


def test_k03_control_without_lock_and_walls_the_payment_is_lost(
    shop: Shop, run_together: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = draft(paid=False)
    (order,) = take_in(shop, told)
    with without(walls=["audit_version_once"], triggers=[("orders_salesorder", "guard_status")]):
        unlocked(monkeypatch, "orders_salesorder")
        assert None in race_payment(shop, told, run_together, monkeypatch)
        order.refresh_from_db()
        assert order.paid_at is None
        assert red(but=["W1"]) >= {"A1"}


def test_k03_twenty_free_rounds_lose_no_payment_and_no_stock(shop: Shop, run_together: Any) -> None:
    for turn in range(20):
        scarce = draft(line("RARE", 5, "500.00"), paid=False)
        (order,) = take_in(shop, scarce)
        rival = draft(line("RARE", 1, "100.00"))
        buy = partial(take_in_alone, shop, rival)
        results = run_together(partial(pay, shop, scarce), expire, buy)
        assert not any(isinstance(result, Exception) for result in results), (turn, results)
        assert settled(order)
        finish_off(shop, paid(scarce), rival)
    assert red() == set()


def take_in_alone(shop: Shop, told: OrderDraft) -> None:
    with transaction.atomic():
        intake.take_drafts([(shop.pk, told)], actor=PIPELINE, now=clock_now())


def finish_off(shop: Shop, *drafts: OrderDraft) -> None:
    """Close the orders of a round, so that the next finds the shelf as the first did."""
    for told in drafts:
        take_in_alone(shop, told_again(told, status=ChannelStatus.CLOSED_REFUNDED))


# --- K05: freeze against label ----------------------------------------------------------------


def freeze(order: SalesOrder, boss: User) -> None:
    decisions.freeze_order(order.pk, user=boss, actor=Actor.person(boss), reason=REASON)


def ask_for_label(parcel_id: int, boss: User) -> Waybill:
    return stages.request_label(parcel_id, user=boss, actor=Actor.person(boss))


def a_number(waybill: Waybill, *_: object) -> Issued:
    return Issued(f"SF{COUNTER.next():013}", waybill.client_reference)


def race_label(
    order: SalesOrder, boss: User, run_together: Any, patch: pytest.MonkeyPatch
) -> list[Any]:
    """The second check has seen no hold when the freeze comes; the label goes live after it."""
    parcel, gap, look = pick(order, boss), Gap(), stages.stop_words

    def slow_look(seen: SalesOrder) -> tuple[str, ...]:
        words = look(seen)
        if threading.current_thread().name == "label" and gap.event("called").is_set():
            gap.happened("checked")
            gap.wait_for("frozen")
        return words

    def call(waybill: Waybill, *_: object) -> Issued:
        gap.happened("called")
        return a_number(waybill)

    def freezer() -> None:
        assert gap.event("checked").wait(5)
        freeze(order, boss)
        gap.happened("frozen")

    patch.setattr(stages, "stop_words", slow_look)
    patch.setattr(stages, "_ask_carrier", call)
    label = partial(ask_for_label, parcel.pk, boss)
    results: list[Any] = run_together(as_side("label", label), freezer)
    return results


def test_k05_a_freeze_waits_for_the_label_and_both_are_told_in_order(
    shop: Shop, boss: User, run_together: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (order,) = take_in(shop, draft())
    label, frozen = race_label(order, boss, run_together, monkeypatch)
    assert frozen is None
    hold = OrderHold.objects.get(order=order)
    assert label.state == Waybill.State.LIVE
    assert label.order_version < hold.opened_version
    with pytest.raises(OrderHeld):
        stages.ship_parcel(
            label.parcel_id, user=boss, actor=Actor.person(boss), tracking_number=label.number
        )
    assert red() == set()


def test_k05_a_number_that_comes_for_a_frozen_order_is_void(
    shop: Shop, boss: User, run_together: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (order,) = take_in(shop, draft())
    parcel, gap = pick(order, boss), Gap(patience=5)

    def call(waybill: Waybill, *_: object) -> Issued:
        gap.happened("called")
        assert gap.wait_for("frozen")
        return a_number(waybill)

    def freezer() -> None:
        assert gap.wait_for("called")
        freeze(order, boss)
        gap.happened("frozen")

    monkeypatch.setattr(stages, "_ask_carrier", call)
    label, frozen = run_together(partial(ask_for_label, parcel.pk, boss), freezer)
    assert frozen is None
    assert label.state == Waybill.State.VOID
    assert red() == set()


def test_k05_control_without_the_lock_the_database_refuses_the_label(
    shop: Shop, boss: User, run_together: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (order,) = take_in(shop, draft())
    unlocked(monkeypatch, "orders_salesorder")
    label, frozen = race_label(order, boss, run_together, monkeypatch)
    assert frozen is None
    assert isinstance(label, DatabaseError)
    assert not Waybill.objects.filter(state=Waybill.State.LIVE).exists()
    assert red() == set()


def test_k05_control_without_lock_and_walls_a_frozen_order_gets_its_label(
    shop: Shop, boss: User, run_together: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (order,) = take_in(shop, draft())
    with without(
        walls=["audit_version_once"], triggers=[("fulfillment_waybill", "guard_live_update")]
    ):
        unlocked(monkeypatch, "orders_salesorder")
        label, frozen = race_label(order, boss, run_together, monkeypatch)
        assert frozen is None
        assert label.state == Waybill.State.LIVE
        assert red(but=["W1"]) >= {"R1"}


def test_k05_twenty_free_rounds_never_label_a_frozen_order(
    shop: Shop, boss: User, run_together: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stages, "_ask_carrier", a_number)
    states = []
    for _ in range(20):
        (order,) = take_in(shop, draft())
        parcel = pick(order, boss)
        label, frozen = run_together(
            partial(ask_for_label, parcel.pk, boss), partial(freeze, order, boss)
        )
        assert frozen is None
        assert isinstance(label, OrderHeld | Waybill)
        states.append(getattr(label, "state", "refused"))
    assert states
    assert red() == set()


# --- K11: webhook against poll ----------------------------------------------------------------


def told_twice(shop: Shop) -> str:
    """One real order of Taobao in the inbox twice, as polled and as pushed."""
    reply = json.loads(TAOBAO.read_text())
    trade = reply["trade_fullinfo_get_response"]["trade"]
    number = str(trade["tid"])
    for source, body in (
        (InboxMessage.Source.POLL, json.dumps(trade)),
        (InboxMessage.Source.PUSH, json.dumps(trade, indent=1)),
    ):
        message = RawMessage(MessageKind.ORDER, body.encode(), number)
        assert channels.store([message], source=source, shop_id=shop.pk) == 1
    return number


def two_ways_in(run_together: Any, patch: pytest.MonkeyPatch) -> list[Any]:
    """Both workers have asked whether the order is known before either writes it."""
    meet, met, look = meeting(2, SURE), set[int](), intake._known

    def known(keys: Any) -> Any:
        found = look(keys)
        if (worker := threading.get_ident()) not in met:  # the second look is nobody's business
            met.add(worker)
            meet()
        return found

    patch.setattr(intake, "_known", known)
    results: list[Any] = run_together(*[partial(intake.run, limit=1)] * 2)
    return results


def test_k11_an_order_polled_and_pushed_at_once_is_one_order(
    run_together: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = ShopFactory.create(code="TB01")
    number = told_twice(shop)
    results = two_ways_in(run_together, monkeypatch)
    assert [result.messages for result in results] == [1, 1]
    assert SalesOrder.objects.get(shop=shop).channel_number == number
    assert set(InboxMessage.objects.values_list("state", flat=True)) == {"done"}
    assert red() == set()


def test_k11_control_without_the_constraint_it_is_two(
    run_together: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = ShopFactory.create(code="TB01")
    told_twice(shop)
    with without(walls=["order_once"]):
        two_ways_in(run_together, monkeypatch)
        assert SalesOrder.objects.filter(shop=shop).count() == 2
        assert red(but=["W1"]) >= {"I1"}


def test_k11_ten_rounds_on_four_workers_make_each_order_once(shop: Shop, run_together: Any) -> None:
    for turn in range(10):
        drafts = [draft() for _ in range(10)]
        run_together(*[partial(take_some, shop, drafts[start:] + drafts[:start])
                       for start in (0, 3, 5, 8)])  # fmt: skip
        assert SalesOrder.objects.count() == 10 * (turn + 1)
    assert red() == set()


def take_some(shop: Shop, drafts: list[OrderDraft]) -> None:
    """Each order as a batch of one, twice if another worker was quicker, as the intake does."""
    for told in drafts:
        try:
            take_in_alone(shop, told)
        except IntegrityError:
            take_in_alone(shop, told)


# --- K27: a form against a freeze -------------------------------------------------------------

MOVED: Final = {
    "name": "王小明", "phone": "13900139000", "province": "江苏省", "city": "苏州市",
    "district": "姑苏区", "address": "平江路9号",
}  # fmt: skip


def save_form(order: SalesOrder, boss: User, seen_version: int) -> None:
    decisions.edit_receiver(
        order.pk, user=boss, actor=Actor.person(boss), seen_version=seen_version, receiver=MOVED
    )


def race_form(
    order: SalesOrder, boss: User, run_together: Any, patch: pytest.MonkeyPatch
) -> list[Any]:
    """The form has the order in hand when the freeze comes, and is written after it."""
    gap = Gap()

    def form_pauses() -> None:
        gap.happened("loaded")
        gap.wait_for("frozen")

    pausing_load(patch, {"form": form_pauses})

    def freezer() -> None:
        assert gap.event("loaded").wait(5)
        freeze(order, boss)
        gap.happened("frozen")

    form = partial(save_form, order, boss, order.version)
    results: list[Any] = run_together(as_side("form", form), freezer)
    return results


def test_k27_a_form_and_a_freeze_both_count_and_the_order_stands(
    shop: Shop, boss: User, run_together: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (order,) = take_in(shop, draft())
    results = race_form(order, boss, run_together, monkeypatch)
    assert results == [None, None]
    order.refresh_from_db()
    assert (order.district, order.version) == ("姑苏区", 3)
    assert OrderHold.objects.open().get(order=order, kind="person").opened_version == 3
    assert red() == set()


def test_k27_a_form_opened_before_the_freeze_is_refused(shop: Shop, boss: User) -> None:
    (order,) = take_in(shop, draft())
    freeze(order, boss)
    with pytest.raises(StaleOrder):
        save_form(order, boss, order.version)
    assert red() == set()


def test_k27_control_without_the_lock_the_trail_refuses_the_form(
    shop: Shop, boss: User, run_together: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (order,) = take_in(shop, draft())
    unlocked(monkeypatch, "orders_salesorder")
    form, frozen = race_form(order, boss, run_together, monkeypatch)
    assert frozen is None
    assert isinstance(form, IntegrityError)
    order.refresh_from_db()
    assert order.district == "虎丘区"
    assert red() == set()


def test_k27_control_without_lock_and_trail_the_form_is_written_over_the_freeze(
    shop: Shop, boss: User, run_together: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (order,) = take_in(shop, draft())
    with without(walls=["audit_version_once"]):
        unlocked(monkeypatch, "orders_salesorder")
        results = race_form(order, boss, run_together, monkeypatch)
        assert results == [None, None]
        order.refresh_from_db()
        assert order.version == 2  # two changes, one version: neither saw the other
        assert red(but=["W1"]) >= {"A1"}


def test_k27_twenty_free_rounds_leave_every_order_frozen_and_whole(
    shop: Shop, boss: User, run_together: Any
) -> None:
    for _ in range(20):
        (order,) = take_in(shop, draft())
        form, frozen = run_together(
            partial(save_form, order, boss, order.version), partial(freeze, order, boss)
        )
        assert frozen is None
        assert form is None or isinstance(form, StaleOrder)
        assert OrderHold.objects.open().filter(order=order, kind="person").exists()
    assert red() == set()
