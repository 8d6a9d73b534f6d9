"""What a channel tells later: every order of telling ends in the same state, and nothing leaves
that should stay."""

import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from itertools import permutations
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, connection, transaction

from fulfillment.models import Parcel, ParcelStop, RefundRequest, StageTask, Waybill
from inventory.models import Reservation, StockLevel
from ordercenter.audit.models import AuditRecord
from ordercenter.core.actor import PIPELINE
from ordercenter.core.clock import now as clock_now
from ordercenter.core.policy import Role
from ordercenter.core.sealing import unseal
from ordercenter.orders.contracts import ChannelStatus, OrderDraft, RefundDraft
from ordercenter.orders.errors import OrderCanceled, OrderHeld
from ordercenter.orders.models import RECEIVER_PURPOSE, OrderHold, SalesOrder
from ordercenter.pipeline import decisions, jobs, shortages, stages, updates
from ordercenter.pipeline.intake import take_drafts
from tests.factories import user_with
from tests.pipeline.seller import (
    REASON,
    Carrier,
    Seller,
    again,
    as_person,
    draft,
    hold_ids,
    holds,
    line,
    paid,
    pick,
    print_label,
    promised,
    refund,
    ship,
    somebody,
    stored,
    take,
    take_one,
    take_refund,
    tasks,
    versions,
)

pytestmark = pytest.mark.django_db
Event = OrderDraft | RefundDraft


# --- any order of the same events -----------------------------------------------------------------


def history(*, closed: bool) -> list[Event]:
    """What a platform says of one order, oldest first."""
    created = draft(paid=False)
    moved = again(created, 10, receiver=somebody())
    payment = paid(moved, 10)
    asked = again(payment, 10, refund_state="in_progress")
    withdrawn = again(asked, 10, refund_state="none")
    request = refund(asked)
    told: list[Event] = [created, moved, payment, asked, request]
    told += [withdrawn, replace(request, refund_state="closed", modified_at=withdrawn.modified_at)]
    if closed:
        told.append(again(withdrawn, 10, status=ChannelStatus.CLOSED_REFUNDED))
    return told


def deliver(seller: Seller, events: Sequence[Event]) -> None:
    """One batch: these events of many orders."""
    now = clock_now()
    orders = [(seller.shop.pk, e) for e in events if isinstance(e, OrderDraft)]
    requests = [(seller.shop.pk, e) for e in events if isinstance(e, RefundDraft)]
    take_drafts(orders, actor=PIPELINE, now=now)
    updates.take_refunds(requests, actor=PIPELINE, now=now)


def final_state(order: SalesOrder) -> tuple[object, ...]:
    """What counts of an order in the end; who it went to does not, once it goes nowhere."""
    receiver = unseal(order.receiver_sealed, purpose=RECEIVER_PURPOSE)
    gone = order.status == "canceled"
    return (
        order.status,
        order.channel_status,
        order.refund_state,
        order.paid_amount,
        order.paid_at is not None,
        frozenset(holds(order)),
        frozenset(tasks(order)),
        tuple(promised(order).items()),
        None if gone else receiver["address"] == ADDRESSES[order.channel_number],
        tuple(order.parcels.exclude(state="canceled").values_list("state", flat=True)),
        tuple(order.refunds.values_list("state", flat=True)),
    )


ADDRESSES: dict[str, str] = {}


def arrivals(count: int, events: int, seed: int) -> list[list[int]]:
    """So many orders of arrival, each with some events told twice."""
    chance = random.Random(seed)  # noqa: S311 - repeatable on purpose
    found = []
    for _ in range(count):
        order = list(range(events)) + chance.sample(range(events), 3)
        chance.shuffle(order)
        found.append(order)
    return found


@pytest.mark.parametrize("closed", [False, True], ids=["still open", "closed in the end"])
def test_any_order_of_the_same_events_with_repeats_ends_in_one_state(
    seller: Seller, closed: bool
) -> None:
    seller.receive("SOFA", 10_000)
    plans = arrivals(250, 8 if closed else 7, seed=20_260_301)
    told = [history(closed=closed) for _ in plans]
    for events in told:
        moved = events[1]
        assert isinstance(moved, OrderDraft)
        assert moved.receiver is not None
        ADDRESSES[moved.channel_number] = moved.receiver.address
    for step in range(len(plans[0])):
        deliver(seller, [events[plan[step]] for events, plan in zip(told, plans, strict=True)])
    states = {final_state(order) for order in SalesOrder.objects.all()}
    assert SalesOrder.objects.count() == 250
    assert len(states) == 1
    (state,) = states
    assert state[0] == ("canceled" if closed else "routed")
    assert state[5] == frozenset()
    level = StockLevel.objects.get(virtual_warehouse=seller.near, sku=seller.skus["SOFA"])
    assert level.reserved == (0 if closed else 250)


def test_every_permutation_of_payment_refund_and_closing_one_by_one(seller: Seller) -> None:
    """All 120, each event in a batch of its own; the refund's end is told by its own feed."""
    seller.receive("SOFA", 1000)
    plans = list(permutations(range(5)))
    told: list[list[Event]] = []
    for _ in plans:
        created = draft(paid=False)
        payment = paid(created, 10)
        request = refund(again(payment, 10))
        given = replace(
            request,
            refund_state="refunded",
            modified_at=payment.modified_at + timedelta(seconds=20),
        )
        closed = again(payment, 30, status=ChannelStatus.CLOSED_REFUNDED)
        told.append([created, payment, request, given, closed])
    for step in range(5):
        deliver(seller, [events[plan[step]] for events, plan in zip(told, plans, strict=True)])
    orders = SalesOrder.objects.all()
    assert set(orders.values_list("status", "channel_status")) == {("canceled", "closed_refunded")}
    assert not OrderHold.objects.open().exists()
    assert not Reservation.objects.filter(state="active").exists()
    assert not StageTask.objects.filter(state="open").exists()
    assert set(RefundRequest.objects.values_list("state", "order__status")) == {
        ("refunded", "canceled")
    }


def test_versions_of_an_order_count_without_a_gap_whatever_happens(seller: Seller) -> None:
    plans = arrivals(20, 8, seed=7)
    told = [history(closed=True) for _ in plans]
    for step in range(len(plans[0])):
        deliver(seller, [events[plan[step]] for events, plan in zip(told, plans, strict=True)])
    for order in SalesOrder.objects.all():
        assert versions(order) == list(range(1, order.version + 1))


def test_an_older_word_changes_nothing_and_leaves_no_trace(seller: Seller) -> None:
    told = draft()
    order = take_one(seller.shop, told)
    late = again(told, -5, status=ChannelStatus.CLOSED, paid_amount=told.paid_amount * 2)
    assert take_one(seller.shop, late).version == order.version
    assert stored(seller.shop, told).status == "routed"


def test_the_last_of_two_words_of_one_moment_counts(seller: Seller) -> None:
    told = draft(paid=False)
    take(seller.shop, told)
    assert take_one(seller.shop, paid(told, 0)).status == "routed"


# --- the address ----------------------------------------------------------------------------------


def address_of(order: SalesOrder) -> str:
    order.refresh_from_db()
    return str(unseal(order.receiver_sealed, purpose=RECEIVER_PURPOSE)["address"])


def test_a_new_address_after_routing_voids_the_label_and_holds_the_order(
    seller: Seller, boss: User, carrier: Carrier
) -> None:
    told = draft()
    order = take_one(seller.shop, told)
    waybill = print_label(order, boss)
    order = take_one(seller.shop, again(told, receiver=somebody(address="平江路9号")))
    waybill.refresh_from_db()
    assert (waybill.state, holds(order)) == ("void", {"address_change:address"})
    assert order.parcels.get().state == "picked"
    with pytest.raises(OrderHeld):
        stages.request_label(waybill.parcel_id, user=boss, actor=as_person(boss))
    assert ParcelStop.objects.get().where == "bench"


def test_another_house_in_the_same_street_is_another_address(seller: Seller) -> None:
    receiver = somebody(1)
    told = draft(receiver=receiver)
    order = take_one(seller.shop, told)
    take(seller.shop, again(told, receiver=replace(receiver, address="星湖街2号")))
    assert address_of(order) == "星湖街2号"
    assert holds(order) == {"address_change:address"}


@pytest.mark.parametrize(
    "same",
    [
        {"province": "江苏"},
        {"town": "某某街道"},
        {"oaid": "another-week"},
        {"address": "星湖街1号 "},
    ],
)
def test_the_same_place_in_other_words_is_no_change(seller: Seller, same: dict[str, Any]) -> None:
    receiver = somebody(1)
    told = draft(receiver=receiver)
    take(seller.shop, told)
    order = take_one(seller.shop, again(told, receiver=replace(receiver, **same)))
    assert (holds(order), order.status) == (set(), "routed")


def test_new_ciphertext_for_the_same_receiver_is_no_change(seller: Seller) -> None:
    def secret(letter: str) -> dict[str, Any]:
        text = f"~AgAAAA{letter * 40}~1~"
        return {"name": text, "phone": text, "address": text, "is_masked": True, "oaid": "1Sbx"}

    receiver = somebody(1, **secret("a"))
    told = draft(receiver=receiver)
    take(seller.shop, told)
    order = take_one(seller.shop, again(told, receiver=replace(receiver, **secret("b"))))
    assert holds(order) == set()


def test_masked_text_never_replaces_a_clear_address_of_the_same_district(seller: Seller) -> None:
    receiver = somebody(1)
    told = draft(receiver=receiver)
    order = take_one(seller.shop, told)
    masked = replace(
        receiver, name="王**", phone="199****0001", address="星湖街***", is_masked=True
    )
    take(seller.shop, again(told, receiver=masked))
    assert address_of(order) == receiver.address
    assert holds(order) == set()


def test_masked_text_of_another_city_is_a_change(seller: Seller) -> None:
    receiver = somebody(1)
    told = draft(receiver=receiver)
    order = take_one(seller.shop, told)
    moved = somebody(1, name="王**", city="南京市", district="鼓楼区", is_masked=True, oaid="1S")
    take(seller.shop, again(told, receiver=moved))
    assert holds(order) == {"address_change:address"}


def test_what_we_put_right_is_not_undone_when_the_platform_repeats_itself(
    seller: Seller, boss: User
) -> None:
    receiver = somebody(1, phone="")
    told = draft(receiver=receiver)
    order = take_one(seller.shop, told)
    decisions.edit_receiver(
        order.pk, user=boss, actor=as_person(boss), seen_version=order.version,
        receiver={"name": "王小明", "phone": "13800138000", "province": "江苏省",
                  "city": "苏州市", "district": "姑苏区", "address": "平江路9号"},
    )  # fmt: skip
    assert (address_of(order), order.status) == ("平江路9号", "routed")
    take(seller.shop, again(told, 5, seller_memo="催发货"))
    assert (address_of(order), holds(order)) == ("平江路9号", set())
    take(seller.shop, again(told, 9, receiver=somebody(1, address="观前街1号")))
    assert address_of(order) == "观前街1号"
    assert holds(order) == {"address_change:address"}


def test_a_buyer_who_moves_before_paying_holds_up_nobody(seller: Seller) -> None:
    told = draft(paid=False)
    take(seller.shop, told)
    moved = again(told, receiver=somebody(address="平江路9号"))
    order = take_one(seller.shop, moved)
    assert (holds(order), order.verdicts.count()) == (set(), 2)
    order = take_one(seller.shop, paid(moved))
    assert (order.status, address_of(order)) == ("routed", "平江路9号")


# --- the lines ------------------------------------------------------------------------------------


@pytest.mark.parametrize("change", ["more", "less", "other", "gone"])
def test_goods_changed_after_the_picking_stop_the_order_for_a_person(
    seller: Seller, change: str
) -> None:
    first, second = line("SOFA", 2), line("LAMP")
    told = draft(first, second)
    pick(take_one(seller.shop, told), user_with(Role.WAREHOUSE_SUPERVISOR))
    lines = {
        "more": (replace(first, quantity=3), second),
        "less": (replace(first, quantity=1), second),
        "other": (first, replace(second, outer_code="RUG")),
        "gone": (first,),
    }[change]
    order = take_one(seller.shop, again(told, lines=lines))
    assert holds(order) == {"changed:lines"}
    assert ParcelStop.objects.get().parcel.order == order


def test_the_same_goods_in_another_order_are_no_change(seller: Seller) -> None:
    told = draft(line("SOFA", 2), line("LAMP"))
    take(seller.shop, told)
    order = take_one(seller.shop, again(told, lines=tuple(reversed(told.lines))))
    assert holds(order) == set()


def test_a_set_told_again_is_no_change(seller: Seller) -> None:
    told = draft(line("SET", 1, "300.00"))
    take(seller.shop, told)
    assert holds(take_one(seller.shop, again(told))) == set()


def next_step(order: SalesOrder, user: User) -> None:
    """What a warehouse would do next."""
    parcel = order.parcels.get()
    if parcel.state == "planned":
        pick(order, user)
    elif parcel.state == "picked":
        stages.request_label(parcel.pk, user=user, actor=as_person(user))
    else:
        number = parcel.waybills.get().number
        stages.ship_parcel(parcel.pk, user=user, actor=as_person(user), tracking_number=number)


# --- refunds --------------------------------------------------------------------------------------


def test_a_refund_stops_the_order_and_its_withdrawal_lets_it_go(seller: Seller) -> None:
    told = draft()
    order = take_one(seller.shop, told)
    take_refund(seller.shop, refund(told))
    assert holds(order) == {"refund:refund"}
    take_refund(seller.shop, refund(again(told, 5), "closed"))
    order.refresh_from_db()
    assert (order.status, holds(order)) == ("routed", set())


def test_an_order_that_does_not_speak_of_a_refund_does_not_end_it(seller: Seller) -> None:
    told = draft()
    take(seller.shop, told)
    take_refund(seller.shop, refund(told))
    order = take_one(seller.shop, again(told, 5, refund_state="none"))
    assert holds(order) == {"refund:refund"}


def test_of_two_refunds_each_must_end(seller: Seller) -> None:
    told = draft()
    order = take_one(seller.shop, told)
    first, second = refund(told), refund(told, refund_id="R-2")
    take_refund(seller.shop, first, second)
    take_refund(seller.shop, replace(first, refund_state="closed"))
    assert holds(order) == {"refund:refund"}
    take_refund(seller.shop, replace(second, refund_state="closed"))
    assert holds(order) == set()


def test_a_refund_that_comes_before_its_order_waits_for_it(seller: Seller) -> None:
    told = draft()
    take_refund(seller.shop, refund(told))
    order = take_one(seller.shop, told)
    assert (order.status, holds(order)) == ("cleared", {"refund:refund"})
    take_refund(seller.shop, refund(again(told), "closed"))
    order.refresh_from_db()
    assert order.status == "routed"


def test_a_refund_paid_out_before_the_order_comes_leaves_nothing_to_ship(seller: Seller) -> None:
    told = draft()
    take_refund(seller.shop, refund(told, "refunded"))
    order = take_one(seller.shop, told)
    assert (order.status, promised(order), tasks(order)) == ("canceled", {}, set())


def test_a_withdrawn_refund_that_comes_before_its_order_does_not_stop_it(seller: Seller) -> None:
    told = draft()
    take_refund(seller.shop, refund(told, "closed"))
    assert take_one(seller.shop, told).status == "routed"


def test_a_refund_that_crossed_its_order_on_the_way_in_finds_it(seller: Seller) -> None:
    """Two workers took the two in at one moment: neither saw the other."""
    told = draft()
    take_refund(seller.shop, refund(told))
    RefundRequest.objects.update(refund_id="hidden", channel_number="elsewhere")
    order = take_one(seller.shop, told)
    RefundRequest.objects.update(channel_number=told.channel_number)
    assert (order.status, holds(order)) == ("routed", set())
    assert jobs.tie_refunds() == "1 refunds found their order"
    assert holds(order) == {"refund:refund"}
    assert jobs.tie_refunds() == "0 refunds found their order"


def test_a_full_refund_before_shipping_cancels_and_gives_everything_back(seller: Seller) -> None:
    told = draft()
    order = take_one(seller.shop, told)
    take_refund(seller.shop, refund(told, "refunded"))
    order.refresh_from_db()
    assert (order.status, promised(order), tasks(order)) == ("canceled", {}, set())
    assert order.parcels.get().state == "canceled"
    assert Reservation.objects.get().close_reason == "canceled"


@pytest.mark.parametrize("word", ["refunded", "partial"])
def test_part_of_the_money_back_is_a_persons_question(seller: Seller, word: str) -> None:
    told = draft(line("SOFA"), line("LAMP"))
    order = take_one(seller.shop, told)
    one = refund(told, amount=told.payable_amount / 2)
    take_refund(seller.shop, one)
    take_refund(seller.shop, replace(one, refund_state=word))
    assert holds(order) == {"changed:part_refund"}


def test_an_older_word_about_a_refund_is_ignored(seller: Seller) -> None:
    told = draft()
    order = take_one(seller.shop, told)
    take_refund(seller.shop, refund(again(told, 10), "closed"))
    take_refund(seller.shop, refund(told, "in_progress"))
    assert (holds(order), RefundRequest.objects.get().state) == (set(), "closed")


def test_a_refund_that_sends_goods_back_stops_no_parcel(seller: Seller) -> None:
    told = draft()
    order = take_one(seller.shop, told)
    take_refund(seller.shop, refund(told, return_goods=True, intercept_shipping=False))
    assert holds(order) == set()


@pytest.mark.parametrize("state", ["planned", "picked", "packed"])
def test_a_refund_asked_for_stops_the_parcel_wherever_it_is(
    seller: Seller, boss: User, carrier: Carrier, state: str
) -> None:
    told = draft()
    order = take_one(seller.shop, told)
    if state == "picked":
        pick(order, boss)
    if state == "packed":
        print_label(order, boss)
    take_refund(seller.shop, refund(told))
    parcel = order.parcels.get()
    assert (parcel.state, holds(order)) == (state, {"refund:refund"})
    stop = parcel.stops.get()
    assert stop.where == ("before_pick" if state == "planned" else "bench")
    assert stop.outcome == "stopped"
    with pytest.raises(OrderHeld):
        next_step(order, boss)


@pytest.mark.parametrize("state", ["planned", "picked", "packed"])
def test_a_refund_given_takes_the_parcel_apart_and_puts_goods_back(
    seller: Seller, boss: User, carrier: Carrier, state: str
) -> None:
    told = draft()
    order = take_one(seller.shop, told)
    if state == "picked":
        pick(order, boss)
    if state == "packed":
        print_label(order, boss)
    take_refund(seller.shop, refund(told, "refunded"))
    order.refresh_from_db()
    touched = state != "planned"
    assert order.status == "canceled"
    assert order.parcels.get().state == ("stopped" if touched else "canceled")
    assert tasks(order) == ({"put_back"} if touched else set())
    assert not Waybill.objects.filter(state__in=["intent", "live"]).exists()
    assert promised(order) == {}
    with pytest.raises(OrderCanceled):
        stages.request_label(order.parcels.get().pk, user=boss, actor=as_person(boss))


@pytest.mark.parametrize("how", ["in_progress", "refunded"])
def test_a_refund_after_the_parcel_left_is_a_case_for_after_sales(
    seller: Seller, boss: User, carrier: Carrier, how: str
) -> None:
    told = draft()
    order = take_one(seller.shop, told)
    ship(order, boss)
    take_refund(seller.shop, refund(told, how))
    order.refresh_from_db()
    assert (order.status, holds(order)) == ("shipped", set())
    assert "after_sales" in tasks(order)
    assert ParcelStop.objects.get().outcome == "too_late"


def test_a_case_that_was_closed_is_not_opened_again_when_the_money_goes_back(
    seller: Seller, boss: User, carrier: Carrier
) -> None:
    told = draft()
    order = take_one(seller.shop, told)
    ship(order, boss)
    take_refund(seller.shop, refund(told))
    StageTask.objects.filter(stage="after_sales").update(state="done")
    take_refund(seller.shop, refund(again(told), "refunded"))
    assert "after_sales" not in tasks(order)


def test_goods_coming_back_after_delivery_are_a_case_without_a_stop(
    seller: Seller, boss: User, carrier: Carrier
) -> None:
    told = draft()
    order = take_one(seller.shop, told)
    ship(order, boss)
    take_refund(seller.shop, refund(told, return_goods=True, intercept_shipping=False))
    assert "after_sales" in tasks(order)
    assert not ParcelStop.objects.exists()


# --- closing --------------------------------------------------------------------------------------


def test_a_platform_that_closes_an_order_gets_it_undone_in_one_go(
    seller: Seller, boss: User, carrier: Carrier
) -> None:
    told = draft(line("SOFA", 3))
    order = take_one(seller.shop, told)
    print_label(order, boss)
    take(seller.shop, again(told, status=ChannelStatus.CLOSED))
    order.refresh_from_db()
    assert (order.status, promised(order)) == ("canceled", {})
    assert tasks(order) == {"put_back"}
    level = StockLevel.objects.get(virtual_warehouse=seller.near, sku=seller.skus["SOFA"])
    assert (level.on_hand, level.reserved) == (100, 0)
    assert Waybill.objects.get().state == "void"
    assert versions(order) == list(range(1, order.version + 1))


def test_closing_after_the_parcel_left_changes_the_record_only(
    seller: Seller, boss: User, carrier: Carrier
) -> None:
    told = draft()
    order = take_one(seller.shop, told)
    ship(order, boss)
    order = take_one(seller.shop, again(told, status=ChannelStatus.CLOSED_REFUNDED))
    assert (order.status, order.channel_status) == ("shipped", "closed_refunded")


def test_an_order_stays_canceled_whatever_is_told_of_it_later(seller: Seller) -> None:
    told = draft()
    take(seller.shop, told)
    take(seller.shop, again(told, 1, status=ChannelStatus.CLOSED))
    order = take_one(seller.shop, again(told, 2))
    assert (order.status, promised(order), holds(order)) == ("canceled", {}, set())


def test_the_database_refuses_a_canceled_order_that_still_holds_goods(seller: Seller) -> None:
    order = take_one(seller.shop, draft())
    statement = "UPDATE orders_salesorder SET status = 'canceled' WHERE id = %s"
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement, [order.pk])
        with pytest.raises(IntegrityError, match="still holds stock"):
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        transaction.set_rollback(True)


def test_a_channel_never_lifts_what_a_rule_or_a_person_has_placed(
    seller: Seller, boss: User
) -> None:
    told = draft(line(amount="50.00"))
    order = take_one(seller.shop, told)
    decisions.freeze_order(order.pk, user=boss, actor=as_person(boss), reason=REASON)
    before = holds(order)
    take(seller.shop, again(told, receiver=somebody(), seller_memo="ok"))
    assert before <= holds(order)
    assert "person:person" in before


def test_what_a_person_let_pass_does_not_stop_the_order_again(seller: Seller, boss: User) -> None:
    """The goods were short; a reviewer accepted the price; the goods come."""
    told = draft(line("SOFA", 101, "8000.00"))
    order = take_one(seller.shop, told)
    assert {"rule:low_price_85", "shortage:shortage"} < holds(order)
    order.refresh_from_db()
    decisions.release_order(
        order.pk, hold_ids(order), user=boss, actor=as_person(boss),
        seen_version=order.version, reason=REASON,
    )  # fmt: skip
    assert holds(order) == {"shortage:shortage"}
    seller.receive("SOFA", 50)
    shortages.work_shortages()
    order.refresh_from_db()
    assert (order.status, holds(order)) == ("routed", set())


def test_a_worse_finding_than_the_one_let_pass_stops_the_order_again(
    seller: Seller, boss: User
) -> None:
    told = draft(line(amount="80.00"), paid=False)
    order = take_one(seller.shop, told)
    decisions.release_order(
        order.pk, hold_ids(order), user=boss, actor=as_person(boss),
        seen_version=order.version, reason=REASON,
    )  # fmt: skip
    cheaper = replace(told.lines[0], amount=told.lines[0].amount - 5)
    order = take_one(
        seller.shop,
        again(told, lines=(cheaper,), payable_amount=cheaper.amount),
    )
    assert holds(order) == {"rule:low_price_85"}


def test_the_record_of_an_update_says_what_changed_and_hides_the_receiver(seller: Seller) -> None:
    told = draft(paid=False)
    order = take_one(seller.shop, told)
    take(seller.shop, paid(again(told, 5, receiver=somebody(), seller_memo="加急")))
    record = AuditRecord.objects.filter(object_id=order.pk).latest("pk")
    assert record.action == "order_paid"
    assert record.change["seller_memo"] == ["", "加急"]
    assert record.change["receiver_sealed"] == record.change["receiver_masked"] == "***"
    assert record.change["status"] == ["cleared", "reserved", "cleared", "routed"]


def test_every_statement_of_an_update_is_made_for_the_whole_batch(
    seller: Seller, django_assert_max_num_queries: Any
) -> None:
    seller.receive("SOFA", 500)
    told = [draft(paid=False) for _ in range(100)]
    take_drafts([(seller.shop.pk, one) for one in told], actor=PIPELINE, now=clock_now())
    with django_assert_max_num_queries(45):
        payments = [(seller.shop.pk, paid(one)) for one in told]
        take_drafts(payments, actor=PIPELINE, now=clock_now())
    assert Parcel.objects.count() == 100
