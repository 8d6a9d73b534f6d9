"""The last unit that is to come is promised once; goods that come meet an order that goes."""

from functools import partial
from typing import Any

import pytest
from django.db import DatabaseError, IntegrityError, transaction

from inventory.models import InboundLine, PresalePromise
from ordercenter.core.actor import PIPELINE
from ordercenter.core.clock import now as clock_now
from ordercenter.orders.contracts import OrderDraft
from ordercenter.orders.models import SalesOrder
from ordercenter.pipeline import intake, promises, updates, work
from risk import services as risk
from tests.pipeline.arrivals import announce, arrive
from tests.pipeline.seller import (
    Seller,
    draft,
    holds,
    open_seller,
    promised,
    refund,
    stored,
)
from tests.races.tools import Gap, meeting, red, unlocked, without

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def seller() -> Seller:
    return open_seller(stock=0)


def take(seller: Seller, told: OrderDraft) -> None:
    with transaction.atomic():
        intake.take_drafts([(seller.shop.pk, told)], actor=PIPELINE, now=clock_now())


def two_want_the_last(
    seller: Seller, run_together: Any, patch: pytest.MonkeyPatch
) -> tuple[list[Any], list[OrderDraft]]:
    """Both look at what is to come before either is promised anything.

    They are not kept apart by the queue before the judges: the stock's own locks are looked at.
    """
    meet, look = meeting(2), promises.look_ahead

    def look_ahead(*args: Any, **facts: Any) -> Any:
        found = look(*args, **facts)
        meet()
        return found

    patch.setattr(promises, "look_ahead", look_ahead)
    patch.setattr(risk, "queue_up", lambda: None)
    drafts = [draft(is_presale=True), draft(is_presale=True)]
    results: list[Any] = run_together(*(partial(take, seller, told) for told in drafts))
    return results, drafts


def test_the_last_unit_to_come_is_promised_to_one_of_two(
    seller: Seller, run_together: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    coming = announce(seller, units=1)
    results, drafts = two_want_the_last(seller, run_together, monkeypatch)
    assert results == [None, None]
    found = sorted(holds(stored(seller.shop, told)) == {"shortage:presale"} for told in drafts)
    assert found == [False, True]
    coming.refresh_from_db()
    assert coming.promised == 1


def test_without_the_locks_the_check_refuses_the_second_promise(
    seller: Seller, run_together: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    announce(seller, units=1)
    unlocked(monkeypatch, "inventory_stocklevel")
    unlocked(monkeypatch, "inventory_inboundline")
    results, _ = two_want_the_last(seller, run_together, monkeypatch)
    assert sorted(isinstance(result, IntegrityError) for result in results) == [False, True]
    assert PresalePromise.objects.filter(state="active").count() == 1


def test_control_without_locks_and_check_the_last_unit_is_promised_twice(
    seller: Seller, run_together: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    coming = announce(seller, units=1)
    with without(walls=["presale_never_oversold"]):
        unlocked(monkeypatch, "inventory_stocklevel")
        unlocked(monkeypatch, "inventory_inboundline")
        results, _ = two_want_the_last(seller, run_together, monkeypatch)
        assert results == [None, None]
        assert InboundLine.objects.get(pk=coming.pk).promised == 2


# --- arrival against cancel --------------------------------------------------------------------


def goods_meet_a_cancellation(
    seller: Seller, run_together: Any, patch: pytest.MonkeyPatch
) -> tuple[SalesOrder, list[Any]]:
    """Goods for an order are put on the shelf while its cancellation is under way."""
    coming = announce(seller, units=1)
    told = draft(is_presale=True)
    take(seller, told)
    order = stored(seller.shop, told)
    gap, plain = Gap(), work.load

    def slow_load(order_ids: Any) -> Any:
        found = plain(order_ids)
        gap.happened("in hand")
        gap.wait_for("met")
        return found

    def cancel() -> None:
        with transaction.atomic():
            updates.take_refunds(
                [(seller.shop.pk, refund(told, "refunded"))], actor=PIPELINE, now=clock_now()
            )

    def come() -> None:
        assert gap.event("in hand").wait(20)
        try:
            arrive(coming, 1)
        finally:
            gap.happened("met")

    patch.setattr(updates, "load", slow_load)
    patch.setattr(risk, "queue_up", lambda: None)
    results: list[Any] = run_together(come, cancel)
    order.refresh_from_db()
    return order, results


def test_goods_for_an_order_that_is_canceled_meanwhile_end_up_free(
    seller: Seller, run_together: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    order, results = goods_meet_a_cancellation(seller, run_together, monkeypatch)
    assert results == [None, None]
    assert order.status == "canceled"
    assert promised(order) == {}
    assert not PresalePromise.objects.filter(state="active").exists()
    assert red() == set()
    told = draft()
    take(seller, told)
    assert promised(stored(seller.shop, told)) == {"SOFA": 1}


def test_control_without_the_order_lock_the_cancellation_is_made_on_an_older_picture(
    seller: Seller, run_together: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    unlocked(monkeypatch, "orders_salesorder")
    order, (come, canceled) = goods_meet_a_cancellation(seller, run_together, monkeypatch)
    assert come is None
    assert isinstance(canceled, DatabaseError)
    assert order.status == "routed"
