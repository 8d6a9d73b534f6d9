"""Pinduoduo's connector against the sandbox, which reads the reference for itself."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
import uvicorn

from channels_sync.connectors.pinduoduo.connector import PinduoduoConnector
from channels_sync.contracts import (
    DecryptRequest,
    Memo,
    MessageKind,
    RawMessage,
    Rejected,
    ShipLine,
    ShipNotice,
    StockFigure,
    StopAnswer,
    StopOutcome,
)
from ordercenter.orders.contracts import ChannelStatus
from ordercenter.sandbox.book import Order, Refund
from tests.channels_sync.sandboxed import a_bench, at, connect, draft, lately
from tests.sandbox.callers import Bench

SHOP = "PD01"


@pytest.fixture
def bench() -> Iterator[Bench]:
    yield from a_bench()


@pytest.fixture
def shop(bench: Bench) -> PinduoduoConnector:
    return connect(bench, SHOP, PinduoduoConnector)


def asked(bench: Bench, order: Order) -> Refund:
    now = float(int(bench.clock.now))
    refund = Refund(f"91{int(order.created):09d}", None, order.payable_fen, "asked", now, now)
    bench.book.ask_refund(order, refund)
    return refund


def test_a_renewed_token_is_one_the_platform_takes(bench: Bench, shop: PinduoduoConnector) -> None:
    tokens = shop.refresh(bench.shop(SHOP).refresh_token)
    assert tokens.access_token == bench.shop(SHOP).access_token
    assert tokens.expires_at is not None
    assert tokens.expires_at > at(bench)
    connect(bench, SHOP, PinduoduoConnector).test()


def test_a_token_that_dies_is_replaced_in_the_middle_of_a_list(
    bench: Bench, shop: PinduoduoConnector, monkeypatch: pytest.MonkeyPatch
) -> None:
    sold = {order.number for order in bench.sell_paid(SHOP, 120)}
    token = bench.shop(SHOP).refresh_token
    monkeypatch.setattr(shop.line, "renew", lambda stale: shop.refresh(token).access_token)
    seen: set[str] = set()
    for page in shop.pull("orders", lately(bench)):
        seen |= {message.channel_number for message in page.messages}
        bench.book.kill_token(SHOP)
    assert seen == sold


def test_a_census_names_every_order_confirmed(bench: Bench, shop: PinduoduoConnector) -> None:
    sold = bench.sell_paid(SHOP, 120)
    bench.clock.pass_by(2)  # an order is confirmed a second after it was paid
    census = shop.census(lately(bench))
    assert census.numbers == {order.number for order in sold}
    assert census.counted == 120


def test_the_parcels_of_an_order_are_told_each_once(bench: Bench, shop: PinduoduoConnector) -> None:
    (order,) = bench.sell_paid(SHOP)
    line = draft(shop, order.number).lines[0].channel_line_id
    first = ShipNotice("k1", order.number, "sf", "SF100", at(bench), (ShipLine(line, 1),))
    second = replace(first, key="k2", tracking_number="SF200", others=("SF100",))
    assert shop.knows(first) is False
    for notice in (first, first, second, second):
        shop.ship(notice)
    assert [one.tracking_number for one in order.shipments] == ["SF100", "SF200"]
    assert shop.knows(second) is True
    assert draft(shop, order.number).status is ChannelStatus.SHIPPED
    with pytest.raises(Rejected):
        shop.ship(replace(first, key="k3", tracking_number="SF300", lines=()))


def test_a_shop_may_have_open_refunds_asked_for_first(
    bench: Bench, shop: PinduoduoConnector
) -> None:
    (order,) = bench.sell_paid(SHOP)
    asked(bench, order)
    shop.access = replace(shop.access, options={**shop.access.options, "check_refunds": "on"})
    with pytest.raises(Rejected, match="open_refund"):
        shop.ship(ShipNotice("k", order.number, "sf", "SF100", at(bench)))
    assert order.shipments == []


def test_stock_goes_down_by_difference_unless_it_is_promoted(
    bench: Bench, shop: PinduoduoConnector
) -> None:
    (order,) = bench.sell_paid(SHOP)
    line = draft(shop, order.number).lines[0]
    sku, item = line.platform_sku_id or "", line.platform_item_id or ""
    figure = StockFigure("s", sku, item, line.outer_code or "", 50, None)
    shop.publish_stock(figure)
    shop.publish_stock(replace(figure, quantity=47, believed=50))
    bench.book.promote(SHOP, sku, on=True)
    with pytest.raises(Rejected) as locked:
        shop.publish_stock(replace(figure, quantity=40, believed=47))
    assert locked.value.error.code == "stock_locked"
    shop.publish_stock(replace(figure, quantity=60, believed=47))


@pytest.mark.parametrize("outcome", list(StopOutcome))
def test_a_refund_asked_for_before_shipping_is_answered(
    bench: Bench, shop: PinduoduoConnector, outcome: StopOutcome
) -> None:
    (order,) = bench.sell_paid(SHOP)
    refund = asked(bench, order)
    (told,) = {
        shop.read_refund(row.body)
        for page in shop.pull("refunds", lately(bench))
        for row in page.messages
    }
    assert told.intercept_shipping
    answer = StopAnswer("k", order.number, told.refund_id, outcome, "话", told.amount)
    for _ in range(2):
        shop.answer_stop(answer)
    assert len(order.stops) == 1
    assert order.stops[0]["stopped"] is (outcome is StopOutcome.STOPPED)
    assert (refund.state == "done") is (outcome is StopOutcome.STOPPED)


def test_a_note_keeps_what_was_there(bench: Bench, shop: PinduoduoConnector) -> None:
    (order,) = bench.sell_paid(SHOP)
    bench.book.write_memo(order, "老客户", 4)
    for _ in range(2):
        shop.write_memo(Memo("m", order.number, "加急"))
    told = draft(shop, order.number)
    assert (told.seller_memo, told.seller_flag) == ("老客户\n加急", 4)
    assert shop.knows(Memo("m", order.number, "加急")) is True


def test_receivers_come_in_the_clear_one_by_one(bench: Bench, shop: PinduoduoConnector) -> None:
    first, second = bench.sell_paid(SHOP, 2)
    requests = [
        DecryptRequest(order.number, "", "label", shop.fetch(order.number).body)
        for order in (first, second)
    ]
    strange = replace(requests[0], channel_number=second.number)
    one, two, three = shop.decrypt([*requests, strange])
    assert (one.name, one.address) == (first.receiver.name, first.receiver.address)
    assert two.name == second.receiver.name
    assert three.error is not None


@contextmanager
def served(bench: Bench) -> Iterator[str]:
    """The sandbox on loopback: a WebSocket needs a socket."""
    config = uvicorn.Config(
        bench.sandbox.app, host="127.0.0.1", port=0, log_level="error", lifespan="off", ws="auto"
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    yield f"ws://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/pinduoduo"
    server.should_exit = True
    thread.join(10)


def test_messages_come_over_the_line_until_they_are_confirmed(
    bench: Bench, shop: PinduoduoConnector
) -> None:
    rows: list[RawMessage] = []
    with served(bench) as url:
        shop.access = replace(shop.access, options={**shop.access.options, "message_url": url})
        order, other = bench.sell_paid(SHOP, 2)
        until = time.monotonic() + 10
        shop.listen(rows.extend, lambda: len(rows) >= 2 or time.monotonic() > until)
        assert {row.channel_number for row in rows} == {order.number, other.number}
        assert {row.kind for row in rows} == {MessageKind.EVENT}
        bench.clock.pass_by(60)  # what was not confirmed would come again by now
        again: list[RawMessage] = []
        until = time.monotonic() + 1
        shop.listen(again.extend, lambda: time.monotonic() > until)
        assert again == []
    event = shop.read_event(rows[0].body)
    assert event.topic == "pdd_trade_TradeConfirmed"


def test_a_wrong_secret_opens_no_line(bench: Bench, shop: PinduoduoConnector) -> None:
    with served(bench) as url:
        shop.access = replace(shop.access, app_secret="another", options={"message_url": url})
        with pytest.raises(Rejected, match="http_403"):
            shop.listen(lambda messages: None, lambda: False)


def test_odd_shapes_read_like_the_ordinary_ones(bench: Bench, shop: PinduoduoConnector) -> None:
    """Ids in numbers or figures in text, and what is empty left out."""
    for order in bench.sell_paid(SHOP, 30)[::3]:
        asked(bench, order)

    def read() -> list[object]:
        orders = [m for page in shop.pull("orders", lately(bench)) for m in page.messages]
        refunds = [m for page in shop.pull("refunds", lately(bench)) for m in page.messages]
        return [
            *(shop.read(message.body) for message in orders),
            *(shop.read_refund(message.body) for message in refunds),
        ]

    plain = read()
    bench.control("fault", platform="pinduoduo", kind="odd_shapes", share=1, seconds=600)
    assert read() == plain
    assert bench.book.weather.served["pinduoduo", "odd_shapes"] > 0
