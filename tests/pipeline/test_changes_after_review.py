"""What a platform changes late is judged and counted again, and nothing closed is held."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection

from fulfillment.models import StageTask, Waybill
from ordercenter.catalog.models import Shop
from ordercenter.core.actor import Actor
from ordercenter.core.clock import now as clock_now
from ordercenter.core.policy import Role
from ordercenter.orders.contracts import ChannelStatus, OrderDraft, ReceiverDraft
from ordercenter.orders.models import OrderHold, SalesOrder
from ordercenter.pipeline import decisions
from ordercenter.pipeline.invariants import Look, look_at
from tests.factories import user_with
from tests.invariants.world import (
    a_carrier_that_answers,
    draft,
    label,
    line,
    release,
    stocked_shop,
    take_in,
    told_again,
)

pytestmark = pytest.mark.django_db
ELSEWHERE = ReceiverDraft("李晓红", "19900009999", "浙江省", "杭州市", "西湖区", "", "文三路9号")


@pytest.fixture
def shop() -> Shop:
    return stocked_shop()


@pytest.fixture
def boss() -> User:
    return user_with(Role.WAREHOUSE_SUPERVISOR)


def red() -> set[str]:
    with connection.cursor() as cursor:
        outcomes = look_at(Look(cursor, clock_now(), 20))
    return {one.code for one in outcomes if not one.holds}


def paid(told: OrderDraft) -> OrderDraft:
    return told_again(
        told, status=ChannelStatus.WAIT_SHIP, paid_at=clock_now(), paid_amount=told.payable_amount
    )


@pytest.mark.parametrize(
    "change",
    [{"receiver": None}, {"payable_amount": Decimal("1.00")}],
    ids=["no receiver", "odd total"],
)
def test_an_order_that_comes_closed_is_held_by_nothing(shop: Shop, change: dict[str, Any]) -> None:
    (order,) = take_in(shop, draft(status=ChannelStatus.CLOSED, **change))
    assert order.status == "canceled"
    assert not OrderHold.objects.filter(order=order).exists()
    assert not StageTask.objects.filter(order=order).exists()
    assert red() == set()


def test_an_underpaid_order_that_closes_is_held_no_more(shop: Shop) -> None:
    told = draft(paid_amount=Decimal("60.00"))
    (order,) = take_in(shop, told)
    assert OrderHold.objects.open().get(order=order).code == "underpaid"
    take_in(shop, told_again(told, status=ChannelStatus.CLOSED_REFUNDED))
    assert not OrderHold.objects.open().filter(order=order).exists()
    assert red() == set()


def test_finance_can_let_an_underpaid_order_go(shop: Shop) -> None:
    (order,) = take_in(shop, draft(paid_amount=Decimal("60.00")))
    release(order, user_with(Role.FINANCE))
    order.refresh_from_db()
    assert order.status == "routed"
    assert red() == set()


def test_a_new_price_before_payment_is_added_up_and_judged_again(shop: Shop) -> None:
    told = draft(paid=False)
    (order,) = take_in(shop, told)
    cheap = replace(told.lines[0], amount=Decimal("50.00"))
    take_in(shop, paid(told_again(told, payable_amount=Decimal("50.00"), lines=(cheap,))))
    order.refresh_from_db()
    assert order.payable_amount == Decimal("50.00")
    assert "half_price_60" in set(
        OrderHold.objects.open().filter(order=order).values_list("code", flat=True)
    )
    assert red() == set()


def test_a_new_price_that_does_not_add_up_waits_for_finance(shop: Shop) -> None:
    told = draft(paid=False)
    (order,) = take_in(shop, told)
    take_in(shop, paid(told_again(told, payable_amount=Decimal("90.00"))))
    assert OrderHold.objects.open().filter(order=order, kind="payment", code="amount").exists()
    assert red() == set()


def test_an_address_changed_after_routing_is_judged_and_the_old_label_is_void(
    shop: Shop, boss: User
) -> None:
    told = draft()
    (order,) = take_in(shop, told)
    with a_carrier_that_answers():
        printed = label(order, boss)
    take_in(shop, told_again(told, receiver=ELSEWHERE))
    printed.refresh_from_db()
    assert printed.state == Waybill.State.VOID
    release(order, boss)
    assert order.verdicts.count() == 2
    assert red() == set()


def test_a_receiver_edited_after_routing_is_judged_again(shop: Shop, boss: User) -> None:
    (order,) = take_in(shop, draft(line(quantity=2, amount="200.00")))
    decisions.edit_receiver(
        order.pk, user=boss, actor=Actor.person(boss), seen_version=order.version,
        receiver={"name": "李晓红", "phone": "19900009999", "province": "江苏省",
                  "city": "苏州市", "district": "姑苏区", "address": "平江路9号"},
    )  # fmt: skip
    assert SalesOrder.objects.get(pk=order.pk).verdicts.count() == 2
    assert red() == set()
