"""Orders that leave in parts: the parts against each other, and against whoever takes them back."""

import threading
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, transaction

from fulfillment.models import Parcel, StageTask, Waybill
from inventory.models import Reservation, StockLevel
from ordercenter.catalog.models import Shop
from ordercenter.core.actor import PIPELINE, Actor
from ordercenter.core.clock import now as clock_now
from ordercenter.core.policy import Role
from ordercenter.orders.contracts import OrderDraft
from ordercenter.orders.errors import StaleOrder, WrongState
from ordercenter.orders.models import SalesOrder
from ordercenter.pipeline import parting, shortages, stages, updates
from ordercenter.pipeline.interception import filling
from ordercenter.pipeline.shortage_acts import Seen
from ordercenter.pipeline.work import load
from tests.factories import user_with
from tests.invariants.world import a_carrier_that_answers, draft, line, stocked_shop, take_in
from tests.pipeline.seller import refund
from tests.races.test_interception_races import start
from tests.races.tools import meeting, red, stock_up, unlocked, without

pytestmark = pytest.mark.django_db(transaction=True)
REASON = "买家不愿再等"
ROUNDS = 5


@pytest.fixture
def shop() -> Shop:
    return stocked_shop()


@pytest.fixture
def boss() -> User:
    return user_with(Role.WAREHOUSE_SUPERVISOR)


def seen(order: SalesOrder, user: User) -> Seen:
    order.refresh_from_db()
    return Seen(order.pk, order.version, user, Actor.person(user), REASON)


def short(shop: Shop) -> tuple[OrderDraft, SalesOrder]:
    """An order whose sofa is there and whose rare goods are one piece short."""
    left = rare().on_hand - rare().reserved
    told = draft(line("SOFA"), line("RARE", left + 1, f"{100 * (left + 1)}.00"))
    (order,) = take_in(shop, told)
    assert order.status == "mapped"
    return told, order


def rare() -> StockLevel:
    return StockLevel.objects.get(virtual_warehouse__code="EAST", sku__code="RARE")


def parted(shop: Shop, boss: User) -> tuple[OrderDraft, SalesOrder]:
    told, order = short(shop)
    parting.ship_part(seen(order, boss))
    return told, order


def labeled(parcel: Parcel, boss: User) -> Waybill:
    task = StageTask.objects.get(parcel=parcel, stage="pick", state="open")
    stages.finish_task(task.pk, user=boss, actor=Actor.person(boss))
    with a_carrier_that_answers():
        return stages.request_label(parcel.pk, user=boss, actor=Actor.person(boss))


def scan(bill: Waybill, boss: User) -> None:
    stages.ship_parcel(
        bill.parcel_id, user=boss, actor=Actor.person(boss), tracking_number=bill.number
    )


def two_parcels(shop: Shop, boss: User) -> tuple[SalesOrder, list[Waybill]]:
    """Both parts are packed and labeled."""
    _, order = parted(shop, boss)
    stock_up(rare(), 1)
    shortages.work_shortages()
    bills = [labeled(parcel, boss) for parcel in order.parcels.order_by("pk")]
    assert len(bills) == 2
    return order, bills


def test_of_two_parcels_scanned_at_once_one_ends_the_order(
    shop: Shop, boss: User, run_together: Any
) -> None:
    for turn in range(ROUNDS):
        order, bills = two_parcels(shop, boss)
        assert run_together(*(partial(scan, bill, boss) for bill in bills)) == [None, None], turn
        order.refresh_from_db()
        assert order.status == "shipped"
    assert red() == set()


def test_control_without_locks_and_wall_both_parcels_leave_and_the_order_stays(
    shop: Shop, boss: User, run_together: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order's row, and behind it the levels: a parcel locks those of all its order holds."""
    order, bills = two_parcels(shop, boss)
    with without(walls=["audit_version_once"]):
        for table in ("orders_salesorder", "inventory_stocklevel"):
            unlocked(monkeypatch, table)
        meet, look = meeting(2, 20.0), stages.leaves_last

        def slow_look(of: SalesOrder, parcel: Parcel) -> bool:
            is_last = look(of, parcel)
            meet()
            return is_last

        monkeypatch.setattr(stages, "leaves_last", slow_look)
        results = run_together(*(partial(scan, bill, boss) for bill in bills))
        assert results == [None, None]
        order.refresh_from_db()
        assert order.status == "routed"
        assert not order.parcels.exclude(state="shipped").exists()


def test_what_arrives_while_it_is_given_up_is_sent_or_given_up_never_both(
    shop: Shop, boss: User, run_together: Any
) -> None:
    for _ in range(ROUNDS):
        _, order = parted(shop, boss)
        stock_up(rare(), 1)
        results = run_together(
            shortages.work_shortages, partial(parting.drop_rest, seen(order, boss))
        )
        dropped = not isinstance(results[1], Exception)
        assert dropped or isinstance(results[1], StaleOrder | WrongState), results
        held = Reservation.objects.filter(
            order_id=order.pk, state="active", line__outer_code="RARE"
        ).exists()
        assert held is not dropped
    assert red() == set()


def test_a_refund_that_is_given_while_an_order_is_parted_leaves_nothing_under_way(
    shop: Shop, boss: User, run_together: Any
) -> None:
    def pay_back(told: OrderDraft) -> None:
        wish = refund(told, "refunded", modified_at=told.modified_at + timedelta(seconds=1))
        with transaction.atomic():
            updates.take_refunds([(shop.pk, wish)], actor=PIPELINE, now=clock_now())

    for _ in range(ROUNDS):
        told, order = short(shop)
        results = run_together(
            partial(parting.ship_part, seen(order, boss)), partial(pay_back, told)
        )
        assert results[1] is None
        order.refresh_from_db()
        assert order.status == "canceled"
        assert not Reservation.objects.filter(order_id=order.pk, state="active").exists()
        assert not order.parcels.filter(state__in=["planned", "picked", "packed"]).exists()
    assert red() == set()


def test_two_people_part_an_order_once(shop: Shop, boss: User, run_together: Any) -> None:
    for _ in range(ROUNDS):
        _, order = short(shop)
        it = seen(order, boss)
        results = run_together(*(partial(parting.ship_part, it) for _ in range(2)))
        assert [type(one) for one in results].count(StaleOrder) == 1
        assert order.parcels.count() == 1
    assert red() == set()


def test_a_province_that_is_stopped_stops_an_order_that_is_just_parted(
    shop: Shop, boss: User, run_together: Any
) -> None:
    _, order = short(shop)
    results = run_together(partial(parting.ship_part, seen(order, boss)), partial(start, boss))
    assert not isinstance(results[1], Exception), results
    filling.hold_all(results[1].pk)
    assert order.holds.filter(kind="intercept", released_at=None).exists()
    assert red() == set()


def test_the_rest_is_reserved_once_by_two_workers(
    shop: Shop, boss: User, run_together: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, order = parted(shop, boss)
    stock_up(rare(), 100)
    run_together(shortages.work_shortages, shortages.work_shortages)
    assert Reservation.objects.filter(order_id=order.pk, line__outer_code="RARE").count() == 1
    assert order.parcels.count() == 2
    assert red() == set()


def test_control_without_the_order_lock_the_database_refuses_the_second(
    shop: Shop, boss: User, run_together: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both have seen that the rest waits; the promise of a line to a level is made once."""
    _, order = parted(shop, boss)
    stock_up(rare(), 100)
    unlocked(monkeypatch, "orders_salesorder")

    together = meeting(2, 20.0)

    def slow_load(ids: Any) -> Any:
        works = load(ids)
        if threading.current_thread() is not threading.main_thread():
            together()
        return works

    monkeypatch.setattr(shortages, "load", slow_load)
    results = run_together(shortages.work_shortages, shortages.work_shortages)
    assert sum(isinstance(one, IntegrityError) for one in results) == 1
    assert Reservation.objects.filter(order_id=order.pk, line__outer_code="RARE").count() == 1
