"""Presale: promised from what is to come, served in order of payment, never promised twice."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext

from fulfillment.models import StageTask
from inventory.models import InboundLine, PresalePromise
from ordercenter.audit.models import AuditRecord
from ordercenter.core.clock import now as clock_now
from ordercenter.orders.contracts import ChannelStatus, OrderDraft
from ordercenter.orders.models import OrderHold, SalesOrder
from ordercenter.pipeline import jobs, presale, shortages
from ordercenter.pipeline.promises import day
from tests.pipeline.arrivals import announce, arrive, call_off, put_off
from tests.pipeline.seller import (
    Seller,
    again,
    draft,
    holds,
    line,
    open_seller,
    paid,
    promised,
    refund,
    stored,
    take,
    take_one,
    take_refund,
    tasks,
    versions,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def seller() -> Seller:
    """Nothing lies on the shelves."""
    return open_seller(stock=0)


def ahead(*lines: object, **changes: object) -> OrderDraft:
    """An order for goods that are sold before they are there."""
    return draft(*lines, is_presale=True, **changes)  # type: ignore[arg-type]


def waits_for(order: SalesOrder) -> dict[str, int]:
    """Units this order is promised, by the number of the arrival."""
    rows = PresalePromise.objects.filter(order_id=order.pk, state="active")
    return {row.inbound_line.inbound.number: row.quantity for row in rows}


def words(order: SalesOrder) -> str:
    return OrderHold.objects.open().get(order=order, kind="shortage").words


def books_agree() -> bool:
    """Whether every line of an arrival has promised what its open promises add up to."""
    return all(
        one.promised == sum(p.quantity for p in one.promises.filter(state="active"))
        for one in InboundLine.objects.all()
    )


# --- promising ---------------------------------------------------------------------------------


def test_a_paid_presale_order_is_promised_the_next_arrival_with_a_date(seller: Seller) -> None:
    coming = announce(seller, units=10)
    order = take_one(seller.shop, ahead(line(quantity=4)))
    assert holds(order) == {"shortage:presale"}
    assert waits_for(order) == {coming.inbound.number: 4}
    ready = coming.inbound.expected_at + timedelta(hours=24)
    assert order.promised_at == ready
    assert words(order) == f"预售，预计 {day(ready)} 发货"
    coming.refresh_from_db()
    assert coming.promised == 4


def test_an_unpaid_order_is_promised_nothing_and_a_deposit_is_enough(seller: Seller) -> None:
    coming = announce(seller)
    told = ahead(paid=False)
    order = take_one(seller.shop, told)
    assert holds(order) == {"shortage:shortage"}
    assert waits_for(order) == {}
    some = again(told, status=ChannelStatus.DEPOSIT_PAID, paid_amount=Decimal(20))
    order = take_one(seller.shop, some)
    assert waits_for(order) == {coming.inbound.number: 1}
    assert (order.deposit_amount, order.deposit_paid_at) == (Decimal(20), some.modified_at)
    assert order.paid_at is None


def test_promises_come_out_of_the_earliest_arrivals_and_the_last_one_tells_the_date(
    seller: Seller,
) -> None:
    later, sooner = announce(seller, units=5, days=9), announce(seller, units=3, days=2)
    order = take_one(seller.shop, ahead(line(quantity=5)))
    assert waits_for(order) == {sooner.inbound.number: 3, later.inbound.number: 2}
    assert order.promised_at == later.inbound.expected_at + timedelta(hours=24)


def test_what_is_not_to_come_is_not_promised(seller: Seller) -> None:
    announce(seller, units=3)
    first, second = take(seller.shop, ahead(line(quantity=2)), ahead(line(quantity=2)))
    assert holds(first) == {"shortage:presale"}
    assert holds(second) == {"shortage:shortage"}
    assert books_agree()


def test_the_database_refuses_to_promise_more_than_is_expected(seller: Seller) -> None:
    coming = announce(seller, units=3)
    with pytest.raises(IntegrityError, match="presale_never_oversold"), transaction.atomic():
        InboundLine.objects.filter(pk=coming.pk).update(promised=4)


def test_an_ordinary_order_waits_for_arrivals_only_where_its_shop_allows_it(
    seller: Seller,
) -> None:
    announce(seller)
    order = take_one(seller.shop, draft())
    assert holds(order) == {"shortage:shortage"}
    seller.shop.sells_ahead = True
    seller.shop.save()
    order = take_one(seller.shop, draft())
    assert holds(order) == {"shortage:presale"}
    assert words(order).startswith("缺货，等待到货，预计")


def test_all_of_an_order_has_to_come_together_in_one_place(seller: Seller) -> None:
    announce(seller, "SOFA", place=seller.near)
    announce(seller, "LAMP", place=seller.far)
    order = take_one(seller.shop, ahead(line("SOFA"), line("LAMP")))
    assert holds(order) == {"shortage:shortage"}
    seller.receive("SOFA", 1, seller.far)
    (other,) = take(seller.shop, ahead(line("SOFA"), line("LAMP")))
    waiting = PresalePromise.objects.filter(order_id=other.pk)
    assert list(waiting.values_list("line__sku__code", flat=True)) == ["LAMP"]


def test_a_bundle_is_promised_part_by_part(seller: Seller) -> None:
    lamps, rugs = announce(seller, "LAMP", 4), announce(seller, "RUG", 4, days=5)
    order = take_one(seller.shop, ahead(line("SET", 2, "600.00")))
    assert waits_for(order) == {lamps.inbound.number: 4, rugs.inbound.number: 2}


# --- goods come --------------------------------------------------------------------------------


def test_arrived_goods_go_to_those_who_paid_first(seller: Seller) -> None:
    coming = announce(seller, units=3)
    at = clock_now() - timedelta(hours=3)
    late, early, middle = take(
        seller.shop,
        *(ahead(at=at + timedelta(minutes=m)) for m in (30, 10, 20)),
    )
    arrive(coming, 2)
    assert [promised(o) for o in (early, middle, late)] == [{"SOFA": 1}, {"SOFA": 1}, {}]
    assert holds(late) == {"shortage:presale"}
    early.refresh_from_db()
    assert early.status == "routed"
    assert {p.state for p in PresalePromise.objects.filter(order_id=early.pk)} == {"met"}
    assert books_agree()


def test_a_deposit_counts_as_the_first_money_and_a_higher_priority_goes_before(
    seller: Seller,
) -> None:
    coming = announce(seller, units=2)
    at = clock_now() - timedelta(hours=3)
    whole = ahead(at=at + timedelta(minutes=10))
    ahead_of_it = ahead(
        paid=False, at=at, status=ChannelStatus.DEPOSIT_PAID, paid_amount=Decimal(20)
    )
    first, second = take(seller.shop, whole, ahead_of_it)
    arrive(coming, 1)
    assert (promised(first), promised(second)) == ({}, {"SOFA": 1})
    second.refresh_from_db()
    assert second.status == "cleared"  # kept for it, and not shipped before the balance is paid
    rush = ahead(buyer_remark="加急")
    announce(seller, units=1, days=1)
    (third,) = take(seller.shop, rush)
    arrive(coming, 1)
    assert (promised(first), promised(third)) == ({}, {"SOFA": 1})


def test_a_paid_deposit_keeps_its_stock_and_the_balance_sends_it(seller: Seller) -> None:
    coming = announce(seller)
    told = ahead(paid=False, status=ChannelStatus.DEPOSIT_PAID, paid_amount=Decimal(20))
    order = take_one(seller.shop, told)
    arrive(coming, 1)
    jobs.expire_reservations(now=clock_now() + timedelta(days=30))
    order.refresh_from_db()
    assert promised(order) == {"SOFA": 1}
    assert order.status == "cleared"
    take_one(seller.shop, paid(told))
    order.refresh_from_db()
    assert order.status == "routed"
    assert order.deposit_amount == Decimal(20)


def test_nobody_takes_promised_units_between_the_arrival_and_the_promise(seller: Seller) -> None:
    coming = announce(seller, units=2)
    waiting = take(seller.shop, ahead(), ahead())
    arrive(coming, 2)
    newcomer = take_one(seller.shop, draft())
    assert [promised(order) for order in waiting] == [{"SOFA": 1}] * 2
    assert promised(newcomer) == {}


def test_an_arrival_that_falls_short_moves_the_last_to_the_next_and_tells_somebody(
    seller: Seller,
) -> None:
    coming, following = announce(seller, units=3), announce(seller, units=1, days=8)
    at = clock_now() - timedelta(hours=3)
    drafts = [ahead(at=at + timedelta(minutes=m)) for m in range(3)]
    orders = take(seller.shop, *drafts)
    arrive(coming, 1, defect=1, closed=True)
    first, second, third = orders
    assert waits_for(second) == {following.inbound.number: 1}
    second.refresh_from_db()
    assert second.promised_at == following.inbound.expected_at + timedelta(hours=24)
    assert holds(third) == {"shortage:shortage"}
    third.refresh_from_db()
    assert third.promised_at is None
    assert tasks(first) == {"pick"}
    assert tasks(second) == tasks(third) == {"after_sales"}
    note = StageTask.objects.get(order=second, stage="after_sales").note
    assert f"现预计 {day(second.promised_at)} 发货" in note
    record = AuditRecord.objects.filter(object_type="order", object_id=second.pk).latest("pk")
    assert record.action == "presale_promised"
    assert record.change["promised_at"][1] is not None
    assert books_agree()
    for order in orders:
        order.refresh_from_db()
        assert versions(order) == list(range(1, order.version + 1))


def test_stock_that_comes_another_way_ends_the_promise(seller: Seller) -> None:
    coming = announce(seller)
    order = take_one(seller.shop, ahead())
    seller.receive("SOFA", 1)
    shortages.work_shortages()
    assert promised(order) == {"SOFA": 1}
    assert waits_for(order) == {}
    coming.refresh_from_db()
    assert coming.promised == 0


# --- arrivals change ---------------------------------------------------------------------------


def test_an_arrival_put_off_moves_the_date_and_tells_customer_service_once(seller: Seller) -> None:
    coming = announce(seller, days=3)
    order = take_one(seller.shop, ahead())
    was = order.promised_at
    put_off(coming, clock_now() + timedelta(days=6))
    assert presale.follow_arrivals() == "1 promises follow their arrivals"
    order.refresh_from_db()
    assert was is not None
    assert order.promised_at is not None
    assert order.promised_at - was > timedelta(days=2)
    assert day(order.promised_at) in words(order)
    assert tasks(order) == {"after_sales"}
    assert presale.follow_arrivals() == "0 promises follow their arrivals"


def test_an_arrival_brought_forward_moves_the_date_and_bothers_nobody(seller: Seller) -> None:
    coming = announce(seller, days=6)
    order = take_one(seller.shop, ahead())
    put_off(coming, clock_now() + timedelta(days=2))
    presale.follow_arrivals()
    order.refresh_from_db()
    coming.inbound.refresh_from_db()
    assert order.promised_at == coming.inbound.expected_at + timedelta(hours=24)
    assert tasks(order) == set()


def test_an_overdue_arrival_gives_way_to_a_dated_one_and_else_has_no_date(seller: Seller) -> None:
    coming = announce(seller, units=2, days=1)
    first, second = take(seller.shop, *(ahead() for _ in range(2)))
    other = announce(seller, units=1, days=7)
    presale.follow_arrivals(now=clock_now() + timedelta(days=3))
    assert waits_for(first) == {other.inbound.number: 1}
    assert waits_for(second) == {coming.inbound.number: 1}
    second.refresh_from_db()
    assert second.promised_at is None
    assert "逾期" in words(second)
    assert tasks(second) == {"after_sales"}
    later = clock_now() + timedelta(days=3, minutes=1)
    assert presale.follow_arrivals(now=later) == "0 promises follow their arrivals"


def test_a_canceled_arrival_leaves_nobody_promised_anything(seller: Seller) -> None:
    coming = announce(seller)
    order = take_one(seller.shop, ahead())
    call_off(coming)
    assert holds(order) == {"shortage:shortage"}
    assert waits_for(order) == {}
    assert books_agree()


# --- orders change -----------------------------------------------------------------------------


def test_a_canceled_order_gives_its_promise_back_in_the_same_transaction(seller: Seller) -> None:
    coming = announce(seller, units=1)
    told = ahead()
    order = take_one(seller.shop, told)
    take_refund(seller.shop, refund(told, "refunded"))
    order.refresh_from_db()
    assert order.status == "canceled"
    assert waits_for(order) == {}
    coming.refresh_from_db()
    assert coming.promised == 0
    assert holds(take_one(seller.shop, ahead())) == {"shortage:presale"}


@pytest.mark.django_db(transaction=True)
def test_the_database_refuses_a_canceled_order_that_is_promised_something(seller: Seller) -> None:
    announce(seller)
    with transaction.atomic():
        order = take_one(seller.shop, ahead())
    with pytest.raises(IntegrityError, match="still holds stock"), transaction.atomic():
        SalesOrder.objects.filter(pk=order.pk).update(status="canceled")


def test_what_a_platform_says_was_shipped_is_promised_nothing_any_more(seller: Seller) -> None:
    announce(seller)
    told = ahead()
    order = take_one(seller.shop, told)
    take_one(seller.shop, again(told, status=ChannelStatus.SHIPPED))
    assert waits_for(order) == {}
    assert holds(stored(seller.shop, told)) == {"channel:shipped_elsewhere"}


def test_a_batch_without_a_shortage_asks_nothing_about_presale(seller: Seller) -> None:
    seller.receive("SOFA", 5)
    with CaptureQueriesContext(connection) as asked:
        orders = take(seller.shop, draft(), draft(paid=False))
    assert [promised(order) for order in orders] == [{"SOFA": 1}] * 2
    told = [query["sql"] for query in asked]
    assert not [sql for sql in told if "inbound" in sql or "SELECT id, sells_ahead" in sql]
