"""N07 as a race: a refund against the last scan, with its controls."""

import threading
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import DatabaseError, transaction

from channels_sync.models import OutboundMessage
from fulfillment.models import Parcel, StageTask
from ordercenter.catalog.models import Shop
from ordercenter.core.actor import PIPELINE, Actor
from ordercenter.core.clock import now as clock_now
from ordercenter.core.policy import Role
from ordercenter.orders.contracts import OrderDraft
from ordercenter.orders.errors import OrderCanceled, OrderHeld
from ordercenter.orders.models import OrderHold, SalesOrder
from ordercenter.pipeline import stages, updates
from tests.factories import user_with
from tests.invariants.world import a_carrier_that_answers, draft, label, stocked_shop, take_in
from tests.pipeline.seller import refund
from tests.races.test_order_races import as_side
from tests.races.tools import Gap, red, unlocked, without

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def shop() -> Shop:
    return stocked_shop()


@pytest.fixture
def boss() -> User:
    return user_with(Role.WAREHOUSE_SUPERVISOR)


def ask_back(shop: Shop, told: OrderDraft, state: str = "in_progress") -> None:
    at = told.modified_at + timedelta(seconds=1)
    with transaction.atomic():
        wish = refund(told, state, modified_at=at)
        updates.take_refunds([(shop.pk, wish)], actor=PIPELINE, now=clock_now())


def last_scan(parcel: Parcel, number: str, boss: User) -> None:
    stages.ship_parcel(parcel.pk, user=boss, actor=Actor.person(boss), tracking_number=number)


@dataclass(frozen=True)
class Sold:
    """An order whose parcel is packed and labeled."""

    shop: Shop
    told: OrderDraft
    order: SalesOrder
    parcel: Parcel
    number: str


def labeled(shop: Shop, boss: User) -> Sold:
    told = draft()
    (order,) = take_in(shop, told)
    with a_carrier_that_answers():
        waybill = label(order, boss)
    return Sold(shop, told, order, waybill.parcel, waybill.number)


def race(sold: Sold, boss: User, run_together: Any, patch: pytest.MonkeyPatch) -> list[Any]:
    """The scan has seen no stop when the refund comes; only then does the parcel leave."""
    gap, look = Gap(), stages._guard

    def slow_look(seen: SalesOrder) -> None:
        look(seen)
        if threading.current_thread().name == "scan":
            gap.happened("looked")
            gap.wait_for("refunded")

    def refunding() -> None:
        assert gap.event("looked").wait(5)
        ask_back(sold.shop, sold.told)
        gap.happened("refunded")

    patch.setattr(stages, "_guard", slow_look)
    scan = partial(last_scan, sold.parcel, sold.number, boss)
    results: list[Any] = run_together(as_side("scan", scan), refunding)
    return results


def nothing_is_locked(patch: pytest.MonkeyPatch) -> None:
    """Neither the order nor its parcel: both sides lock both."""
    for table in ("orders_salesorder", "fulfillment_parcel"):
        unlocked(patch, table)


def answered() -> list[str]:
    return [m.payload["outcome"] for m in OutboundMessage.objects.filter(kind="stop")]


def test_a_refund_that_comes_with_the_last_scan_waits_and_is_told_that_it_left(
    shop: Shop, boss: User, run_together: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sold = labeled(shop, boss)
    results = race(sold, boss, run_together, monkeypatch)
    assert results == [None, None]
    sold.order.refresh_from_db()
    assert sold.order.status == "shipped"
    assert answered() == ["shipped"]
    assert StageTask.objects.filter(order=sold.order, stage="after_sales", state="open").exists()
    assert not OrderHold.objects.open().filter(order=sold.order).exists()
    assert red() == set()


def test_control_without_the_lock_the_database_refuses_the_parcel(
    shop: Shop, boss: User, run_together: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sold = labeled(shop, boss)
    nothing_is_locked(monkeypatch)
    scan, refunded = race(sold, boss, run_together, monkeypatch)
    assert refunded is None
    assert isinstance(scan, DatabaseError)
    sold.parcel.refresh_from_db()
    assert sold.parcel.state == "packed"
    assert red() == set()


def test_control_without_lock_and_walls_a_refunded_parcel_leaves(
    shop: Shop, boss: User, run_together: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sold = labeled(shop, boss)
    with without(
        walls=["audit_version_once"],
        triggers=[("fulfillment_parcel", "guard_shipped"), ("orders_salesorder", "guard_status")],
    ):
        nothing_is_locked(monkeypatch)
        scan, refunded = race(sold, boss, run_together, monkeypatch)
        assert (scan, refunded) == (None, None)
        sold.parcel.refresh_from_db()
        assert sold.parcel.state == "shipped"
        assert OrderHold.objects.open().filter(order=sold.order, kind="refund").exists()
        assert red(but=["W1"]) & {"R1", "R6", "A1"}


@pytest.mark.parametrize("state", ["in_progress", "refunded"])
def test_twenty_free_rounds_never_ship_what_was_refunded_before(
    shop: Shop, boss: User, run_together: Any, state: str
) -> None:
    for turn in range(20):
        sold = labeled(shop, boss)
        scan, refunded = run_together(
            partial(last_scan, sold.parcel, sold.number, boss),
            partial(ask_back, shop, sold.told, state),
        )
        assert refunded is None, (turn, refunded)
        assert scan is None or isinstance(scan, OrderHeld | OrderCanceled), (turn, scan)
        sold.order.refresh_from_db()
        sold.parcel.refresh_from_db()
        if scan is None:
            assert (sold.order.status, sold.parcel.state) == ("shipped", "shipped")
        else:
            assert sold.parcel.state in {"packed", "stopped"}
    assert red() == set()
