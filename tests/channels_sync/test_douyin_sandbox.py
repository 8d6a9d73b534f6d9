"""Douyin's connector against the sandbox, which reads the reference for itself."""

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal

import pytest

from channels_sync.connectors.douyin.connector import DouyinConnector
from channels_sync.contracts import (
    AddressAnswer,
    DecryptRequest,
    Memo,
    Rejected,
    ShipLine,
    ShipNotice,
    StockFigure,
    StopAnswer,
    StopOutcome,
)
from ordercenter.orders.contracts import ChannelStatus, LineDraft
from ordercenter.sandbox.book import Order, Refund
from tests.channels_sync.sandboxed import a_bench, at, connect, draft, lately
from tests.sandbox.callers import Bench

SHOP = "DY01"


@pytest.fixture
def bench() -> Iterator[Bench]:
    yield from a_bench()


@pytest.fixture
def shop(bench: Bench) -> DouyinConnector:
    return connect(bench, SHOP, DouyinConnector)


def several_pieces(bench: Bench, shop: DouyinConnector) -> tuple[Order, LineDraft]:
    """An order that has a line of more than one piece."""
    for order in bench.sell_paid(SHOP, 40):
        for line in draft(shop, order.number).lines:
            if line.quantity > 1:
                return order, line
    raise AssertionError("the market sold nothing twice")


def asked(bench: Bench, order: Order) -> Refund:
    refund = Refund(
        f"7{int(order.created * 1000):017d}", None, order.payable_fen, "asked", at_now(bench), 0.0
    )
    refund.modified = refund.created
    bench.book.ask_refund(order, refund)
    return refund


def at_now(bench: Bench) -> float:
    return float(int(bench.clock.now))


def test_tokens_are_traded_and_taken(bench: Bench, shop: DouyinConnector) -> None:
    own = shop.exchange_code("")
    assert own.access_token == bench.shop(SHOP).access_token
    assert own.shop_id == bench.shop(SHOP).options["shop_id"]
    tokens = shop.refresh(own.refresh_token)
    assert tokens.expires_at is not None
    assert tokens.expires_at > at(bench)
    with pytest.raises(Rejected):
        shop.refresh("another")


def test_a_token_that_dies_is_replaced_in_the_middle_of_a_list(
    bench: Bench, shop: DouyinConnector, monkeypatch: pytest.MonkeyPatch
) -> None:
    sold = {order.number for order in bench.sell_paid(SHOP, 120)}
    refresh_token = shop.exchange_code("").refresh_token
    monkeypatch.setattr(shop.line, "renew", lambda stale: shop.refresh(refresh_token).access_token)
    seen: set[str] = set()
    for page in shop.pull("orders", lately(bench)):
        seen |= {message.channel_number for message in page.messages}
        bench.book.kill_token(SHOP)
    assert seen == sold


def test_a_census_names_every_order_made(bench: Bench, shop: DouyinConnector) -> None:
    sold = bench.sell(SHOP, 120)
    census = shop.census(lately(bench))
    assert census.numbers == {order.number for order in sold}
    assert census.counted == 120


def test_one_line_goes_in_two_parcels_by_pieces_and_each_once(
    bench: Bench, shop: DouyinConnector
) -> None:
    order, line = several_pieces(bench, shop)
    first = ShipNotice(
        "k1", order.number, "sf", "SF100", at(bench), (ShipLine(line.channel_line_id, 1),)
    )
    rest = ShipLine(line.channel_line_id, line.quantity - 1)
    second = replace(first, key="k2", tracking_number="SF200", lines=(rest,), others=("SF100",))
    for notice in (first, first, second, second):
        shop.ship(notice)
    assert [one.tracking_number for one in order.shipments] == ["SF100", "SF200"]
    assert [one.quantities[line.channel_line_id] for one in order.shipments] == [
        1,
        line.quantity - 1,
    ]
    assert shop.knows(first) is True
    assert shop.knows(replace(second, tracking_number="SF300")) is False


def test_a_whole_order_goes_once(bench: Bench, shop: DouyinConnector) -> None:
    (order,) = bench.sell_paid(SHOP)
    notice = ShipNotice("k", order.number, "sf", "SF100", at(bench))
    assert shop.knows(notice) is False
    for _ in range(2):
        shop.ship(notice)
    assert len(order.shipments) == 1
    assert draft(shop, order.number).status is ChannelStatus.SHIPPED


def test_an_open_refund_is_never_turned_down_by_a_parcel(
    bench: Bench, shop: DouyinConnector
) -> None:
    (order,) = bench.sell_paid(SHOP)
    refund = asked(bench, order)
    with pytest.raises(Rejected, match="售后"):
        shop.ship(ShipNotice("k", order.number, "sf", "SF100", at(bench)))
    assert (refund.state, order.shipments) == ("asked", [])


def test_stock_moves_by_difference_once(bench: Bench, shop: DouyinConnector) -> None:
    (order,) = bench.sell_paid(SHOP)
    line = next(one for one in draft(shop, order.number).lines if one.platform_sku_id)
    item, sku = line.platform_item_id or "", line.platform_sku_id or ""
    shop.publish_stock(StockFigure("s1", sku, item, line.outer_code or "", 50, None))
    down = StockFigure("s2", sku, item, line.outer_code or "", 47, 50)
    for _ in range(2):
        shop.publish_stock(down)
    told = [row for row in bench.book.records["write"] if row["kind"] == "stock"]
    assert sum(1 for row in told if row["effect"]) == 2


@pytest.mark.parametrize("outcome", [StopOutcome.STOPPED, StopOutcome.SHIPPED])
def test_a_refund_asked_for_before_shipping_is_answered(
    bench: Bench, shop: DouyinConnector, outcome: StopOutcome
) -> None:
    (order,) = bench.sell_paid(SHOP)
    if outcome is StopOutcome.SHIPPED:
        shop.ship(ShipNotice("k", order.number, "sf", "SF100", at(bench)))
    refund = asked(bench, order)
    (told,) = {
        shop.read_refund(row.body)
        for page in shop.pull("refunds", lately(bench))
        for row in page.messages
    }
    assert told.intercept_shipping
    assert told.version == str(int(refund.modified))
    answer = StopAnswer(
        "k", order.number, told.refund_id, outcome, "", told.amount,
        version=told.version, tracking_number="SF100", carrier="sf",
    )  # fmt: skip
    shop.answer_stop(answer)
    if outcome is StopOutcome.STOPPED:
        assert refund.state == "done"
        assert draft(shop, order.number).status is ChannelStatus.CLOSED_REFUNDED


def test_a_note_keeps_what_was_there(bench: Bench, shop: DouyinConnector) -> None:
    (order,) = bench.sell_paid(SHOP)
    bench.book.write_memo(order, "老客户", 4)
    for _ in range(2):
        shop.write_memo(Memo("m", order.number, "加急"))
    told = draft(shop, order.number)
    assert (told.seller_memo, told.seller_flag) == ("老客户\n加急", 4)
    assert shop.knows(Memo("m", order.number, "加急")) is True


@pytest.mark.parametrize("approve", [True, False])
def test_a_wish_for_another_address_is_answered(
    bench: Bench, shop: DouyinConnector, approve: bool
) -> None:
    (order,) = bench.sell_paid(SHOP)
    before = order.receiver.address
    wish = replace(order.receiver, address="虚构新路1号")
    bench.book.ask_address(order, wish, answer_by=bench.clock.now + 3600)
    shop.answer_address(AddressAnswer("a", order.number, approve))
    assert order.receiver.address == ("虚构新路1号" if approve else before)


def test_receivers_come_in_the_clear_one_by_one(bench: Bench, shop: DouyinConnector) -> None:
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
    assert three.name == ""


def test_what_is_pulled_adds_up(bench: Bench, shop: DouyinConnector) -> None:
    bench.sell_paid(SHOP, 60)
    for page in shop.pull("orders", lately(bench)):
        for message in page.messages:
            order = shop.read(message.body)
            total = sum((line.amount for line in order.lines), Decimal("0.00"))
            assert total + order.freight == order.payable_amount


def test_odd_shapes_read_like_the_ordinary_ones(bench: Bench, shop: DouyinConnector) -> None:
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
    bench.control("fault", platform="douyin", kind="odd_shapes", share=1, seconds=600)
    assert read() == plain
    assert bench.book.weather.served["douyin", "odd_shapes"] > 0
