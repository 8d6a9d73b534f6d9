"""Our book held against those of the platforms and carriers."""

import json
import time
from dataclasses import asdict
from datetime import timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest
from django.db import connection, transaction

from fulfillment.models import Waybill
from ordercenter.core.clock import now as clock_now
from ordercenter.orders.models import SalesOrder
from ordercenter.pipeline.invariants import (
    INVARIANTS,
    BookUnreadable,
    Look,
    OutsideBook,
    Row,
    look_at,
    read_book,
)
from ordercenter.pipeline.invariants.book import OutsideOrder, OutsideWaybill
from ordercenter.sandbox import book as sandbox
from tests.factories import InboxMessageFactory
from tests.invariants.world import World


def outside(**changes: Any) -> OutsideBook:
    """The books as they should be: every order of ours, every live number."""
    orders = [
        OutsideOrder(order.channel_number, order.channel_modified_at, order.payable_amount)
        for order in SalesOrder.objects.filter(shop__code="TB01")
    ]
    bills = [
        OutsideWaybill(w.client_reference, (w.number,), w.state == Waybill.State.VOID)
        for w in Waybill.objects.exclude(number="")
    ]
    values = {
        "read_at": clock_now(),
        "shops": {"TB01": orders, "JD01": []},
        "waybills": bills,
        **changes,
    }
    return OutsideBook(**values)


def red(book: OutsideBook) -> dict[str, list[Row]]:
    with connection.cursor() as cursor:
        outcomes = look_at(Look(cursor, clock_now(), 20, book), INVARIANTS)
    return {one.code: one.broken for one in outcomes if not one.holds}


def with_order(number: str, *, minutes_ago: int, payable: str = "1.00") -> OutsideBook:
    book = outside()
    extra = OutsideOrder(number, clock_now() - timedelta(minutes=minutes_ago), Decimal(payable))
    return outside(shops={**book.shops, "TB01": [*book.orders_of("TB01"), extra]})


def test_equal_books_are_green(world: World) -> None:
    assert world.shop
    assert red(outside()) == {}


def test_an_order_the_platform_has_and_we_missed_is_told(world: World) -> None:
    with transaction.atomic():
        found = red(with_order("missed", minutes_ago=20))
        transaction.set_rollback(True)
    assert set(found) == {"I3"}
    assert found["I3"][0]["channel_number"] == "missed"


def test_an_order_of_a_window_not_yet_closed_is_not_missed(world: World) -> None:
    assert world.shop
    assert red(with_order("young", minutes_ago=10)) == {}


@pytest.mark.parametrize(("shop", "missed"), [("TB01", {"I3"}), ("JD01", set())])
def test_an_unpaid_order_is_missed_only_where_the_platform_shows_it(
    world: World, shop: str, missed: set[str]
) -> None:
    unpaid = OutsideOrder(
        "unpaid", clock_now() - timedelta(minutes=20), Decimal("1.00"), is_paid=False
    )
    book = outside()
    with transaction.atomic():
        found = red(outside(shops={**book.shops, shop: [*book.orders_of(shop), unpaid]}))
        transaction.set_rollback(True)
    assert set(found) == missed


def test_an_order_in_quarantine_is_not_missed(world: World) -> None:
    with transaction.atomic():
        InboxMessageFactory.create(
            shop=world.shop, channel_number="odd", state="dead", error="无法识别",
            event_id="e-1",
        )  # fmt: skip
        found = red(with_order("odd", minutes_ago=20))
        transaction.set_rollback(True)
    assert found == {}


def test_a_total_that_differs_from_the_platforms_is_told(world: World) -> None:
    book = outside()
    theirs = [
        OutsideOrder(o.number, o.modified_at, o.payable + Decimal("0.01"))
        if o.number == world.routed.channel_number
        else o
        for o in book.orders_of("TB01")
    ]
    found = red(outside(shops={"TB01": theirs}))
    assert set(found) == {"I8"}
    assert found["I8"][0]["id"] == world.routed.pk


def test_a_total_the_platform_changed_later_is_not_compared(world: World) -> None:
    later = [
        OutsideOrder(o.number, o.modified_at + timedelta(seconds=9), o.payable + 1)
        for o in outside().orders_of("TB01")
    ]
    assert world.shop
    assert red(outside(shops={"TB01": later})) == {}


def test_a_bill_we_know_nothing_of_is_told(world: World) -> None:
    assert world.shop
    orphan = OutsideWaybill("nobody-W1", ("SF999",), is_void=False)
    found = red(outside(waybills=[*outside().waybills, orphan]))
    assert set(found) == {"R5"}
    assert found["R5"][0]["reference"] == "nobody-W1"


def test_a_second_number_for_one_reference_is_told(world: World) -> None:
    label = Waybill.objects.get(parcel__order=world.labelled)
    bills = [b for b in outside().waybills if b.reference != label.client_reference]
    twin = OutsideWaybill(label.client_reference, ("SF998",), is_void=False)
    assert set(red(outside(waybills=[*bills, twin]))) == {"R5"}


def test_a_number_no_carrier_knows_is_told(world: World) -> None:
    label = Waybill.objects.get(parcel__order=world.labelled)
    bills = [b for b in outside().waybills if b.reference != label.client_reference]
    found = red(outside(waybills=bills))
    assert found["R5"][0]["id"] == label.pk


# --- reading the sandbox's books ------------------------------------------------------------


def sandbox_book() -> sandbox.Book:
    """A real book of the sandbox with one order and one waybill."""
    shop = sandbox.ShopConfig("TB01", "店", "taobao", "/taobao", "k", "s", "t")
    book = sandbox.Book([shop])
    book.add(
        sandbox.Order(
            shop="TB01", number="9007199254740993", state=sandbox.WAIT_SHIP, created=time.time(),
            paid=None, modified=time.time(), lines=[], freight_fen=0, discount_fen=0,
            payable_fen=10_005, paid_fen=0,
            buyer=sandbox.Buyer("b", "nick", "王小明", "19900001111"),
            receiver=sandbox.Receiver("王小明", "19900001111", "江苏省", "苏州市", "", "", ""),
        )
    )  # fmt: skip
    book.record("waybill", {"order_id": "P-1-W1", "numbers": ["SF1"], "state": "ordered"})
    return book


def serve(monkeypatch: pytest.MonkeyPatch, handler: Any) -> None:
    client = httpx.Client
    monkeypatch.setattr(
        httpx, "Client",
        lambda **options: client(transport=httpx.MockTransport(handler), **options),
    )  # fmt: skip


def test_the_books_of_the_sandbox_can_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    book = sandbox_book()

    def desk(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/book/waybills":
            return httpx.Response(200, json={"waybills": book.records["waybill"]})
        rows = [asdict(order) for order in book.orders(request.url.params["shop"])]
        return httpx.Response(200, content=json.dumps({"orders": rows}))

    serve(monkeypatch, desk)
    before = clock_now() - timedelta(seconds=10)
    found = read_book("http://127.0.0.1:8100/", ["TB01"])
    (order,) = found.orders_of("TB01")
    assert order.number == "9007199254740993"
    assert order.payable == Decimal("100.05")
    assert not order.is_paid
    assert before <= order.modified_at <= clock_now()
    assert found.waybills == [OutsideWaybill("P-1-W1", ("SF1",), is_void=False)]


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(500),
        httpx.Response(200, content=b"<html>"),
        httpx.Response(200, json={"orders": [{"number": "1"}]}),
    ],
    ids=["error", "html", "other shape"],
)
def test_a_book_that_cannot_be_read_is_said_so(
    monkeypatch: pytest.MonkeyPatch, answer: httpx.Response
) -> None:
    serve(monkeypatch, lambda _request: answer)
    with pytest.raises(BookUnreadable, match="读不到外部账本"):
        read_book("http://127.0.0.1:8100", ["TB01"])
