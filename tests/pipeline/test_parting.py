"""Shipping in parts: what is there goes now, the rest when there is stock, nothing twice."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection

from channels_sync.models import OutboundMessage
from fulfillment.models import Parcel, StageTask, Waybill
from ordercenter.catalog.models import Sku
from ordercenter.core.clock import now as clock_now
from ordercenter.core.errors import InvalidInput, NotFound
from ordercenter.core.policy import Role
from ordercenter.orders.contracts import ChannelStatus, OrderDraft
from ordercenter.orders.errors import OrderHeld, StaleOrder, WrongState
from ordercenter.orders.models import SalesOrder
from ordercenter.pipeline import catching, decisions, parting, shortages, stages
from ordercenter.pipeline.invariants import INVARIANTS, Look, look_at
from ordercenter.pipeline.shortage_acts import Seen
from ordercenter.pipeline.virtual import ship_virtual
from tests.factories import user_with
from tests.pipeline.seller import (
    Carrier,
    Seller,
    again,
    as_person,
    draft,
    holds,
    line,
    open_seller,
    promised,
    refund,
    somebody,
    take,
    take_one,
    take_refund,
    tasks,
)

pytestmark = pytest.mark.django_db
AGREED = "买家电话同意分开发"


@pytest.fixture
def seller() -> Seller:
    """Sofas lie in the near warehouse; of lamps and rugs there are none."""
    seller = open_seller(stock=0)
    seller.receive("SOFA", 10)
    return seller


def seen(order: SalesOrder, user: User, reason: str = AGREED) -> Seen:
    order.refresh_from_db()
    return Seen(order.pk, order.version, user, as_person(user), reason)


def two_lines(**changes: Any) -> OrderDraft:
    return draft(line("SOFA", 2), line("LAMP", 1), **changes)


def parted(seller: Seller, boss: User, told: OrderDraft | None = None) -> SalesOrder:
    """An order whose sofas go now and whose lamp waits."""
    order = take_one(seller.shop, told or two_lines())
    parting.ship_part(seen(order, boss))
    order.refresh_from_db()
    return order


def broken() -> dict[str, object]:
    """What does not hold of stock, parcels and the trail."""
    checked = [one for one in INVARIANTS if one.code[0] in "SRA"]
    with connection.cursor() as cursor:
        outcomes = look_at(Look(cursor, clock_now(), 5), checked)
    return {one.code: one.broken for one in outcomes if not one.holds}


def leaves(order: SalesOrder) -> dict[str, str]:
    goods = order.lines.filter(sku__isnull=False, is_dropped=False)
    return dict(goods.values_list("sku__code", "leaves"))


def send(parcel: Parcel, user: User) -> None:
    """Pick, label and hand over one parcel."""
    task = StageTask.objects.get(parcel=parcel, stage="pick", state="open")
    stages.finish_task(task.pk, user=user, actor=as_person(user))
    bill = stages.request_label(parcel.pk, user=user, actor=as_person(user))
    stages.ship_parcel(parcel.pk, user=user, actor=as_person(user), tracking_number=bill.number)


def live(order: SalesOrder) -> list[Parcel]:
    return list(order.parcels.filter(state__in=["planned", "picked", "packed"]).order_by("pk"))


def inside(parcel: Parcel) -> dict[str, int]:
    return dict(parcel.parcel_lines.values_list("sku__code", "quantity"))


def told_of(order: SalesOrder) -> list[OutboundMessage]:
    return list(OutboundMessage.objects.filter(order_id=order.pk, kind="ship").order_by("pk"))


def test_what_is_there_goes_now_and_the_rest_waits(seller: Seller, boss: User) -> None:
    order = take_one(seller.shop, two_lines())
    assert holds(order) == {"shortage:shortage"}
    done = parting.ship_part(seen(order, boss))
    order.refresh_from_db()
    assert (order.status, holds(order)) == ("routed", set())
    assert leaves(order) == {"SOFA": "first", "LAMP": "later"}
    assert promised(order) == {"SOFA": 2}
    (parcel,) = live(order)
    assert inside(parcel) == {"SOFA": 2}
    assert "先发" in done.words
    assert "待补" in done.words
    assert broken() == {}


def test_the_rest_leaves_in_a_parcel_of_its_own_once_it_is_there(
    seller: Seller, boss: User, carrier: Carrier
) -> None:
    order = parted(seller, boss)
    (first,) = live(order)
    send(first, boss)
    order.refresh_from_db()
    assert order.status == "routed"
    assert leaves(order) == {"SOFA": "gone", "LAMP": "later"}
    assert broken() == {}
    seller.receive("LAMP", 1)
    shortages.work_shortages()
    order.refresh_from_db()
    assert order.status == "routed"
    (second,) = live(order)
    assert inside(second) == {"LAMP": 1}
    assert second.number != first.number
    assert broken() == {}
    send(second, boss)
    order.refresh_from_db()
    assert order.status == "shipped"
    assert promised(order) == {}
    assert broken() == {}


def test_the_rest_may_come_before_the_first_parcel_has_left(
    seller: Seller, boss: User, carrier: Carrier
) -> None:
    order = parted(seller, boss)
    seller.receive("LAMP", 1)
    shortages.work_shortages()
    first, second = live(order)
    assert (inside(first), inside(second)) == ({"SOFA": 2}, {"LAMP": 1})
    send(second, boss)
    order.refresh_from_db()
    assert order.status == "routed"
    assert broken() == {}
    send(first, boss)
    order.refresh_from_db()
    assert order.status == "shipped"
    assert broken() == {}


def test_the_rest_keeps_its_turn_among_the_shortages(seller: Seller, boss: User) -> None:
    order = parted(seller, boss)
    later = take_one(seller.shop, draft(line("LAMP")))
    seller.receive("LAMP", 1)
    shortages.work_shortages()
    assert promised(order) == {"SOFA": 2, "LAMP": 1}
    assert promised(later) == {}


def test_the_platform_hears_of_each_parcel_by_its_lines(
    seller: Seller, boss: User, carrier: Carrier
) -> None:
    told = two_lines()
    order = parted(seller, boss, told)
    send(live(order)[0], boss)
    seller.receive("LAMP", 1)
    shortages.work_shortages()
    send(live(order)[0], boss)
    first, second = told_of(order)
    sofa, lamp = (one.channel_line_id for one in told.lines)
    assert first.payload["lines"] == [{"channel_line_id": sofa, "quantity": 2}]
    assert (first.payload["whole"], first.payload["last"]) == (False, False)
    assert second.payload["lines"] == [{"channel_line_id": lamp, "quantity": 1}]
    assert (second.payload["whole"], second.payload["last"]) == (False, True)
    assert second.payload["others"] == [first.payload["tracking_number"]]


def test_a_platform_that_takes_orders_whole_hears_at_the_end(boss: User, carrier: Carrier) -> None:
    seller = open_seller(channel="jd", stock=0)
    seller.receive("SOFA", 10)
    order = parted(seller, boss, two_lines(channel="jd"))
    send(live(order)[0], boss)
    assert told_of(order) == []
    assert broken() == {}
    seller.receive("LAMP", 1)
    shortages.work_shortages()
    send(live(order)[0], boss)
    (message,) = told_of(order)
    numbers = set(Waybill.objects.filter(parcel__order=order).values_list("number", flat=True))
    assert {message.payload["tracking_number"], *message.payload["others"]} == numbers
    assert message.payload["whole"]
    assert broken() == {}


def test_without_the_rest_that_platform_hears_when_it_is_canceled(
    boss: User, carrier: Carrier
) -> None:
    seller = open_seller(channel="jd", stock=0)
    seller.receive("SOFA", 10)
    order = parted(seller, boss, two_lines(channel="jd"))
    send(live(order)[0], boss)
    parting.drop_rest(seen(order, boss))
    (message,) = told_of(order)
    assert message.payload["whole"]
    assert broken() == {}


def test_a_bundle_never_comes_apart(seller: Seller, boss: User) -> None:
    seller.receive("RUG", 5)
    order = take_one(seller.shop, draft(line("SOFA"), line("SET")))
    parting.ship_part(seen(order, boss))
    assert leaves(order) == {"SOFA": "first", "LAMP": "later", "RUG": "later"}
    assert promised(order) == {"SOFA": 1}
    assert broken() == {}


def test_the_place_with_the_most_worth_sends_first(seller: Seller, boss: User) -> None:
    seller.receive("LAMP", 1, seller.far)
    seller.receive("RUG", 1, seller.far)
    order = take_one(seller.shop, draft(line("SOFA"), line("LAMP"), line("RUG"), line("VASE")))
    parting.ship_part(seen(order, boss))
    assert leaves(order) == {"SOFA": "later", "LAMP": "first", "RUG": "first", "VASE": "later"}
    (parcel,) = live(order)
    assert parcel.warehouse == seller.far.warehouse


def test_another_warehouse_sends_what_waits_when_it_has_it(
    seller: Seller, boss: User, carrier: Carrier
) -> None:
    seller.receive("LAMP", 1, seller.far)
    order = parted(seller, boss)
    assert shortages.work_shortages().startswith("1 of 1")
    near, far = live(order)
    assert {near.warehouse, far.warehouse} == {seller.near.warehouse, seller.far.warehouse}
    for parcel in (near, far):
        send(parcel, boss)
    order.refresh_from_db()
    assert order.status == "shipped"
    assert broken() == {}


def test_what_cannot_be_parted_is_refused_in_words(seller: Seller, boss: User) -> None:
    nothing = take_one(seller.shop, draft(line("LAMP")))
    with pytest.raises(InvalidInput, match="整行现货"):
        parting.ship_part(seen(nothing, boss))
    unpaid = take_one(seller.shop, two_lines(paid=False))
    with pytest.raises(InvalidInput, match="付清"):
        parting.ship_part(seen(unpaid, boss))
    order = take_one(seller.shop, two_lines())
    with pytest.raises(InvalidInput, match="预览"):
        parting.ship_part(seen(order, boss), [order.lines.get(sku__code="LAMP").pk])
    old = seen(order, boss)
    parting.ship_part(seen(order, boss))
    with pytest.raises(StaleOrder):
        parting.ship_part(old)
    with pytest.raises(WrongState):
        parting.ship_part(seen(order, boss))


def test_gifts_alone_are_no_part(seller: Seller, boss: User) -> None:
    seller.receive("TOWEL", 5)
    order = take_one(seller.shop, draft(line("LAMP"), line("TOWEL", amount="0", is_gift=True)))
    with pytest.raises(InvalidInput, match="整行现货"):
        parting.ship_part(seen(order, boss))


def test_the_decision_can_be_taken_back_until_somebody_goes_for_the_goods(
    seller: Seller, boss: User
) -> None:
    order = parted(seller, boss)
    parting.send_whole(seen(order, boss))
    order.refresh_from_db()
    assert (order.status, holds(order)) == ("mapped", {"shortage:shortage"})
    assert leaves(order) == {"SOFA": "", "LAMP": ""}
    assert promised(order) == {}
    assert live(order) == []
    assert broken() == {}
    parting.ship_part(seen(order, boss))
    task = StageTask.objects.get(order=order, stage="pick", state="open")
    stages.claim_task(task.pk, user=boss)
    with pytest.raises(WrongState, match="拣货"):
        parting.send_whole(seen(order, boss))


def test_the_rest_is_dropped_before_the_first_parcel_leaves(
    seller: Seller, boss: User, carrier: Carrier
) -> None:
    order = parted(seller, boss)
    parting.drop_rest(seen(order, boss))
    order.refresh_from_db()
    assert order.status == "routed"
    assert "after_sales" in tasks(order)
    send(live(order)[0], boss)
    order.refresh_from_db()
    assert order.status == "shipped"
    assert broken() == {}


def test_the_rest_is_dropped_after_the_first_parcel_has_left(
    seller: Seller, boss: User, carrier: Carrier
) -> None:
    order = parted(seller, boss)
    send(live(order)[0], boss)
    parting.drop_rest(seen(order, boss))
    order.refresh_from_db()
    assert (order.status, leaves(order)) == ("shipped", {"SOFA": "gone"})
    assert "after_sales" in tasks(order)
    seller.receive("LAMP", 1)
    shortages.work_shortages()
    assert live(order) == []
    assert broken() == {}


def test_a_hold_keeps_both_parts_where_they_are(
    seller: Seller, boss: User, carrier: Carrier
) -> None:
    order = parted(seller, boss)
    send(live(order)[0], boss)
    decisions.freeze_order(order.pk, user=boss, actor=as_person(boss), reason="买家来电要求等等")
    seller.receive("LAMP", 1)
    shortages.work_shortages()
    assert live(order) == []
    assert promised(order) == {"LAMP": 1}
    assert broken() == {}
    order.refresh_from_db()
    decisions.release_order(
        order.pk, [h.pk for h in order.holds.filter(released_at=None)],
        user=boss, actor=as_person(boss), seen_version=order.version, reason="买家确认继续",
    )  # fmt: skip
    (second,) = live(order)
    assert inside(second) == {"LAMP": 1}
    assert broken() == {}


def test_a_hold_while_the_first_parcel_lies_there_stops_it_and_the_rest(
    seller: Seller, boss: User, carrier: Carrier
) -> None:
    order = parted(seller, boss)
    (first,) = live(order)
    decisions.freeze_order(order.pk, user=boss, actor=as_person(boss), reason="买家来电要求等等")
    seller.receive("LAMP", 1)
    shortages.work_shortages()
    assert promised(order) == {"SOFA": 2, "LAMP": 1}
    with pytest.raises(OrderHeld):
        send(first, boss)
    order.refresh_from_db()
    decisions.release_order(
        order.pk, [h.pk for h in order.holds.filter(released_at=None)],
        user=boss, actor=as_person(boss), seen_version=order.version, reason="买家确认继续",
    )  # fmt: skip
    assert [inside(parcel) for parcel in live(order)] == [{"SOFA": 2}, {"LAMP": 1}]
    assert broken() == {}


def test_a_full_refund_takes_back_what_has_not_left(
    seller: Seller, boss: User, carrier: Carrier
) -> None:
    told = two_lines()
    order = parted(seller, boss, told)
    send(live(order)[0], boss)
    seller.receive("LAMP", 1)
    shortages.work_shortages()
    (second,) = live(order)
    take_refund(seller.shop, refund(told))
    assert holds(order) == {"refund:refund"}
    with pytest.raises(OrderHeld):
        send(second, boss)
    take_refund(seller.shop, refund(told, "refunded"))
    order.refresh_from_db()
    assert order.status == "shipped"
    assert (promised(order), live(order), holds(order)) == ({}, [], set())
    assert "after_sales" in tasks(order)
    assert broken() == {}


def test_the_platform_closes_an_order_of_which_a_part_has_left(
    seller: Seller, boss: User, carrier: Carrier
) -> None:
    told = two_lines()
    order = parted(seller, boss, told)
    send(live(order)[0], boss)
    take(seller.shop, again(told, 5, status=ChannelStatus.CLOSED_REFUNDED))
    order.refresh_from_db()
    assert (order.status, leaves(order)) == ("shipped", {"SOFA": "gone"})
    assert broken() == {}


def test_an_order_of_which_nothing_has_left_is_canceled_as_ever(seller: Seller, boss: User) -> None:
    told = two_lines()
    order = parted(seller, boss, told)
    take(seller.shop, again(told, 5, status=ChannelStatus.CLOSED_REFUNDED))
    order.refresh_from_db()
    assert (order.status, promised(order), live(order)) == ("canceled", {}, [])
    assert broken() == {}


def test_a_platform_that_shows_the_order_as_shipped_was_told_of_the_first_part(
    seller: Seller, boss: User, carrier: Carrier
) -> None:
    told = two_lines()
    order = parted(seller, boss, told)
    send(live(order)[0], boss)
    take(seller.shop, again(told, 5, status=ChannelStatus.SHIPPED))
    assert holds(order) == set()
    seller.receive("LAMP", 1)
    shortages.work_shortages()
    assert len(live(order)) == 1


def test_a_moved_buyer_voids_no_label_of_what_has_left(
    seller: Seller, boss: User, carrier: Carrier
) -> None:
    told = two_lines()
    order = parted(seller, boss, told)
    send(live(order)[0], boss)
    take(seller.shop, again(told, 5, receiver=somebody(city="南京市", district="鼓楼区")))
    assert Waybill.objects.get(parcel__order=order).state == "live"


def test_buyers_who_wait_for_the_rest_are_called(seller: Seller, boss: User) -> None:
    parted(seller, boss)
    later = clock_now() + timedelta(days=8)
    assert shortages.remind_shortages(now=later).startswith("1 ")


def test_somebody_of_another_shop_parts_nothing(seller: Seller, boss: User) -> None:
    order = parted(seller, boss)
    stranger = user_with(Role.CLERK)
    for act in (parting.ship_part, parting.send_whole, parting.drop_rest, parting.try_rest):
        with pytest.raises(NotFound):
            act(seen(order, stranger))


def test_what_was_caught_for_a_refund_is_planned_anew_without_what_has_left(
    seller: Seller, boss: User, carrier: Carrier
) -> None:
    told = two_lines()
    order = parted(seller, boss, told)
    send(live(order)[0], boss)
    seller.receive("LAMP", 1)
    shortages.work_shortages()
    (second,) = live(order)
    task = StageTask.objects.get(parcel=second, stage="pick", state="open")
    stages.finish_task(task.pk, user=boss, actor=as_person(boss))
    take_refund(seller.shop, refund(told))
    catching.catch_parcel(second.pk, user=boss, actor=as_person(boss))
    assert live(order) == []
    assert broken() == {}
    take_refund(seller.shop, refund(told, "closed"))
    (third,) = live(order)
    assert inside(third) == {"LAMP": 1}
    assert promised(order) == {"LAMP": 1}
    send(third, boss)
    order.refresh_from_db()
    assert order.status == "shipped"
    assert broken() == {}


def test_a_refund_of_a_line_that_waits_is_told_as_stopped(
    seller: Seller, boss: User, carrier: Carrier
) -> None:
    told = two_lines()
    order = parted(seller, boss, told)
    send(live(order)[0], boss)
    for place, outcome in ((1, "stopped"), (0, "shipped")):
        line_id = told.lines[place].channel_line_id
        wish = refund(told, refund_id=f"R{place}", channel_line_id=line_id)
        take_refund(seller.shop, wish)
        said = OutboundMessage.objects.filter(kind="stop").order_by("pk").last()
        assert said is not None
        assert said.payload["outcome"] == outcome


def test_a_changed_order_is_held_once_a_part_has_left(
    seller: Seller, boss: User, carrier: Carrier
) -> None:
    told = two_lines()
    order = parted(seller, boss, told)
    send(live(order)[0], boss)
    more = replace(told.lines[1], quantity=3, amount=told.lines[1].amount * 3)
    payable = told.lines[0].amount + more.amount
    take(
        seller.shop,
        again(told, 5, lines=(told.lines[0], more), payable_amount=payable, paid_amount=payable),
    )
    assert "changed:lines" in holds(order)
    assert leaves(order) == {"SOFA": "gone", "LAMP": "later"}
    assert broken() == {}


def test_a_changed_order_is_held_while_a_part_lies_packed_and_the_rest_is_stopped(
    seller: Seller, boss: User, carrier: Carrier
) -> None:
    told = two_lines()
    order = parted(seller, boss, told)
    (first,) = live(order)
    task = StageTask.objects.get(parcel=first, stage="pick", state="open")
    stages.finish_task(task.pk, user=boss, actor=as_person(boss))
    decisions.freeze_order(order.pk, user=boss, actor=as_person(boss), reason="买家来电要求等等")
    seller.receive("LAMP", 1)
    shortages.work_shortages()
    order.refresh_from_db()
    assert order.status == "cleared"  # the rest has its stock, and no parcel while it is held
    paid = told.lines[0].amount
    take(seller.shop, again(told, 5, lines=told.lines[:1], payable_amount=paid, paid_amount=paid))
    assert "changed:lines" in holds(order)
    assert [inside(parcel) for parcel in live(order)] == [{"SOFA": 2}]
    assert broken() == {}


def test_a_changed_order_is_whole_again_before_anybody_goes_for_it(
    seller: Seller, boss: User
) -> None:
    told = two_lines()
    order = parted(seller, boss, told)
    paid = told.lines[0].amount
    take(
        seller.shop,
        again(told, 5, lines=told.lines[:1], payable_amount=paid, paid_amount=paid),
    )
    order.refresh_from_db()
    assert (order.status, leaves(order)) == ("routed", {"SOFA": ""})
    assert [inside(parcel) for parcel in live(order)] == [{"SOFA": 2}]
    assert broken() == {}


def test_parts_without_weight_are_handed_over_one_after_the_other(
    seller: Seller, boss: User
) -> None:
    Sku.objects.update(weight_grams=0)
    order = parted(seller, boss)
    ship_virtual(order.pk, user=boss, actor=as_person(boss))
    order.refresh_from_db()
    assert (order.status, leaves(order)) == ("routed", {"SOFA": "gone", "LAMP": "later"})
    seller.receive("LAMP", 1)
    shortages.work_shortages()
    ship_virtual(order.pk, user=boss, actor=as_person(boss))
    order.refresh_from_db()
    assert order.status == "shipped"
    assert broken() == {}
