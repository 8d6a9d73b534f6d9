"""The WeChat shop's connector against the sandbox, which reads the reference for itself."""

from collections.abc import Iterator
from dataclasses import replace
from urllib.parse import parse_qsl

import httpx
import pytest

from channels_sync.connectors.wechat.connector import WeChatConnector
from channels_sync.contracts import (
    VIRTUAL_CARRIER,
    AddressAnswer,
    Memo,
    MessageKind,
    Rejected,
    ShipLine,
    ShipNotice,
    StockFigure,
    StopAnswer,
    StopOutcome,
    TryLater,
    WebhookRequest,
)
from ordercenter.orders.contracts import ChannelStatus
from ordercenter.sandbox.book import Order
from ordercenter.sandbox.shelf import Shelf
from tests.channels_sync.sandboxed import a_bench, at, connect, draft, lately
from tests.sandbox.callers import Bench
from tests.sandbox.wires import Center, pusher_of

SHOP = "WX01"


@pytest.fixture
def bench() -> Iterator[Bench]:
    yield from a_bench()


@pytest.fixture
def shop(bench: Bench) -> WeChatConnector:
    return connect(bench, SHOP, WeChatConnector)


def pieces(bench: Bench, count: int) -> Order:
    """A paid order of one line of so many pieces."""
    order = bench.sell_paid(SHOP)[0]
    while len(order.lines) > 1:
        order = bench.sell_paid(SHOP)[0]
    order.lines[0].quantity = count
    return order


def shown(bench: Bench, sku_id: str | None) -> int:
    told = bench.shop(SHOP)
    shelf = Shelf(bench.book, "wechat")
    listed = shelf.find(told, sku_id=sku_id or "")
    assert listed is not None
    return shelf.shown(told, listed)


def test_every_order_of_the_window_is_read_and_counted(bench: Bench, shop: WeChatConnector) -> None:
    sold = bench.sell_paid(SHOP, 130)
    rows = [m for page in shop.pull("orders", lately(bench)) for m in page.messages]
    drafts = {found.channel_number: found for found in (shop.read(row.body) for row in rows)}
    assert drafts.keys() == {order.number for order in sold}
    for order in sold:
        found = drafts[order.number]
        assert sum((line.amount for line in found.lines), found.freight) == found.payable_amount
        assert [line.quantity for line in found.lines] == [line.quantity for line in order.lines]
    assert shop.census(lately(bench)).numbers == drafts.keys()


def test_a_token_that_dies_is_renewed(bench: Bench, shop: WeChatConnector) -> None:
    shop.access = replace(shop.access, access_token="over")
    shop.test()
    assert shop.access.access_token == bench.shop(SHOP).access_token


def test_an_order_whose_detail_is_late_comes_as_a_hint_and_then_whole(
    bench: Bench, shop: WeChatConnector
) -> None:
    bench.control("fault", platform="wechat", kind="late_detail", share=1.0, seconds=600)
    (order,) = bench.sell_paid(SHOP)
    window = lately(bench)
    (hint,) = [m for page in shop.pull("orders", window) for m in page.messages]
    assert (hint.kind, hint.channel_number) == (MessageKind.EVENT, order.number)
    bench.clock.pass_by(3600)
    assert draft(shop, order.number).channel_number == order.number


def test_a_sealed_push_names_the_order_that_was_paid(bench: Bench, shop: WeChatConnector) -> None:
    (order,) = bench.sell_paid(SHOP)
    center = Center()
    center.take(pusher_of(bench, "wechat.pushing").outgoing)
    assert center.heard
    for pushed in center.heard:
        request = as_request(pushed, bench)
        shop.verify(request)
        (hint,) = shop.split(request)
        assert (hint.kind, hint.channel_number) == (MessageKind.EVENT, order.number)
        assert hint.event_id.endswith(f"|{order.number}")


def as_request(pushed: httpx.Request, bench: Bench) -> WebhookRequest:
    query = dict(parse_qsl(pushed.url.query.decode()))
    headers = {name.lower(): value for name, value in pushed.headers.items()}
    return WebhookRequest("POST", pushed.url.path, query, headers, pushed.content, at(bench))


def notice(bench: Bench, order: Order, number: str, *lines: ShipLine) -> ShipNotice:
    return ShipNotice(number, order.number, "sf", number, at(bench), lines)


def test_a_line_goes_in_two_parcels_and_each_is_told_once(
    bench: Bench, shop: WeChatConnector
) -> None:
    order = pieces(bench, 3)
    (line,) = draft(shop, order.number).lines
    first = notice(bench, order, "SF100", ShipLine(line.channel_line_id, 1))
    assert shop.knows(first) is False
    for _ in range(2):
        shop.ship(first)
    assert shop.knows(first) is True
    with pytest.raises(Rejected):
        shop.ship(notice(bench, order, "SF101", ShipLine(line.channel_line_id, 3)))
    assert draft(shop, order.number).status is ChannelStatus.PART_SHIPPED
    shop.ship(notice(bench, order, "SF101"))
    assert [parcel.tracking_number for parcel in order.shipments] == ["SF100", "SF101"]
    assert draft(shop, order.number).status is ChannelStatus.SHIPPED


def test_virtual_goods_are_given_once(bench: Bench, shop: WeChatConnector) -> None:
    (order,) = bench.sell_paid(SHOP)
    told = ShipNotice("k", order.number, VIRTUAL_CARRIER, "", at(bench))
    assert shop.knows(told) is False
    for _ in range(2):
        shop.ship(told)
    assert len(order.shipments) == 1
    assert shop.knows(told) is True


def test_stock_is_told_by_difference(bench: Bench, shop: WeChatConnector) -> None:
    (order,) = bench.sell_paid(SHOP)
    line = draft(shop, order.number).lines[0]
    before = shown(bench, line.platform_sku_id)
    for quantity, believed, after in ((12, 10, before + 2), (7, 10, before - 1), (40, None, 40)):
        figure = StockFigure(
            "k", line.platform_sku_id or "", line.platform_item_id or "", "", quantity, believed
        )
        shop.publish_stock(figure)
        assert shown(bench, line.platform_sku_id) == after


def test_a_note_keeps_what_stands_there(bench: Bench, shop: WeChatConnector) -> None:
    (order,) = bench.sell_paid(SHOP)
    bench.book.write_memo(order, "老客户")
    for _ in range(2):
        shop.write_memo(Memo("k", order.number, "加急"))
    assert draft(shop, order.number).seller_memo == "老客户\n加急"


@pytest.mark.parametrize(
    ("outcome", "state"), [(StopOutcome.STOPPED, "refunded"), (StopOutcome.SHIPPED, "closed")]
)
def test_a_refund_is_answered_once(
    bench: Bench, shop: WeChatConnector, outcome: StopOutcome, state: str
) -> None:
    (order,) = bench.sell_paid(SHOP)
    bench.market.ask_refund(order)
    (row,) = [m for page in shop.pull("refunds", lately(bench)) for m in page.messages]
    refund = shop.read_refund(row.body)
    assert refund.refund_state == "in_progress"
    answer = StopAnswer("k", order.number, refund.refund_id, outcome, "已发货", refund.amount)
    assert shop.knows(answer) is False
    for _ in range(2):
        shop.answer_stop(answer)
    assert shop.knows(answer) is True
    (row,) = [m for page in shop.pull("refunds", lately(bench)) for m in page.messages]
    assert shop.read_refund(row.body).refund_state == state


@pytest.mark.parametrize("approve", [True, False])
def test_a_wish_for_another_address_is_read_and_answered(
    bench: Bench, shop: WeChatConnector, approve: bool
) -> None:
    first, other = bench.sell_paid(SHOP, 2)
    bench.book.ask_address(first, other.receiver, answer_by=bench.clock.now + 43_200)
    change = draft(shop, first.number).address_change
    assert change is not None
    assert change.answer_by is not None
    assert abs(change.answer_by.timestamp() - bench.clock.now - 43_200) <= 2
    with pytest.raises(TryLater):
        shop.ship(notice(bench, first, "SF100"))
    answer = AddressAnswer("k", first.number, approve)
    for _ in range(2):
        shop.answer_address(answer)
    assert shop.knows(answer) is True
    assert draft(shop, first.number).address_change is None
    assert (first.receiver.address == other.receiver.address) is approve
