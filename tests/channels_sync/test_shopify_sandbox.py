"""Shopify's connector against the sandbox, which reads the reference for itself."""

from collections.abc import Iterator
from urllib.parse import parse_qsl, urlsplit

import pytest

from channels_sync.connectors.shopify.connector import ShopifyConnector
from channels_sync.contracts import (
    VIRTUAL_CARRIER,
    BadSignature,
    ErrorClass,
    Memo,
    MessageKind,
    ShipLine,
    ShipNotice,
    StockFigure,
    TryLater,
    WebhookRequest,
)
from ordercenter.orders.contracts import ChannelStatus, LineDraft
from ordercenter.sandbox.book import Order
from ordercenter.sandbox.shelf import Shelf
from tests.channels_sync.sandboxed import a_bench, at, connect, draft, lately
from tests.sandbox.callers import Bench
from tests.sandbox.wires import Center, call, pusher_of

SHOP = "SH01"


@pytest.fixture
def bench() -> Iterator[Bench]:
    yield from a_bench()


@pytest.fixture
def shop(bench: Bench) -> ShopifyConnector:
    return connect(bench, SHOP, ShopifyConnector)


def shown(bench: Bench, sku_id: str | None) -> int:
    told = bench.shop(SHOP)
    shelf = Shelf(bench.book, "shopify")
    listed = shelf.find(told, sku_id=sku_id or "")
    assert listed is not None
    return shelf.shown(told, listed)


@pytest.mark.parametrize("inner", [100, 1])
def test_every_order_of_the_window_is_read_with_all_its_lines(bench: Bench, inner: int) -> None:
    bench.shop(SHOP).options["inner_page"] = inner
    shop = connect(bench, SHOP, ShopifyConnector)
    sold = bench.sell_paid(SHOP, 60)
    rows = [m for page in shop.pull("orders", lately(bench)) for m in page.messages]
    orders = [shop.read(row.body) for row in rows if row.kind is MessageKind.ORDER]
    assert {found.channel_number for found in orders} == {order.number for order in sold}
    counts = {order.number: len(order.lines) for order in sold}
    assert {found.channel_number: len(found.lines) for found in orders} == counts
    assert max(counts.values()) > 1
    assert shop.census(lately(bench)).numbers == counts.keys()


def test_the_platforms_own_limit_is_told_with_the_wait(
    bench: Bench, shop: ShopifyConnector
) -> None:
    bench.control("fault", platform="shopify", kind="throttle", share=1.0, seconds=60)
    with pytest.raises(TryLater) as failure:
        shop.test()
    assert failure.value.error.klass is ErrorClass.RATE_LIMITED


def notice(bench: Bench, order: Order, number: str, *lines: ShipLine) -> ShipNotice:
    return ShipNotice(number, order.number, "sf", number, at(bench), lines)


def several_pieces(bench: Bench, shop: ShopifyConnector) -> tuple[Order, LineDraft]:
    for order in bench.sell_paid(SHOP, 40):
        for line in draft(shop, order.number).lines:
            if line.quantity > 1 and line.platform_sku_id:
                return order, line
    raise AssertionError("the market sold nothing twice")


def test_a_line_goes_in_two_parcels_and_each_is_told_once(
    bench: Bench, shop: ShopifyConnector
) -> None:
    order, line = several_pieces(bench, shop)
    first = notice(bench, order, "SF100", ShipLine(line.channel_line_id, 1))
    assert shop.knows(first) is False
    for _ in range(2):
        shop.ship(first)
    assert shop.knows(first) is True
    assert draft(shop, order.number).status is ChannelStatus.PART_SHIPPED
    for _ in range(2):
        shop.ship(notice(bench, order, "SF101"))
    assert [parcel.tracking_number for parcel in order.shipments] == ["SF100", "SF101"]
    assert draft(shop, order.number).status is ChannelStatus.SHIPPED


def test_virtual_goods_are_given_once(bench: Bench, shop: ShopifyConnector) -> None:
    (order,) = bench.sell_paid(SHOP)
    told = ShipNotice("k", order.number, VIRTUAL_CARRIER, "", at(bench))
    assert shop.knows(told) is False
    for _ in range(2):
        shop.ship(told)
    assert len(order.shipments) == 1
    assert shop.knows(told) is True


@pytest.mark.parametrize("version", ["2026-04", "2026-01"])
def test_stock_is_set_by_comparison(bench: Bench, version: str) -> None:
    bench.shop(SHOP).options["api_version"] = version
    shop = connect(bench, SHOP, ShopifyConnector)
    (order,) = bench.sell_paid(SHOP)
    line = draft(shop, order.number).lines[0]
    sku = line.platform_sku_id
    before = shown(bench, sku)
    known = StockFigure("k1", sku or "", "", "", before - 3, before)
    assert shop.knows(known) is False
    assert shop.publish_stock(known).quantity == before - 3 == shown(bench, sku)
    assert shop.knows(known) is True
    unknown = StockFigure("k2", "", "", line.outer_code or "", 5, None)
    assert shop.publish_stock(unknown).quantity == 5 == shown(bench, sku)
    sold_two_unseen = StockFigure("k3", sku or "", "", "", 9, 7)
    assert shop.publish_stock(sold_two_unseen).quantity == 7 == shown(bench, sku)


def test_a_note_keeps_what_the_buyer_wrote(bench: Bench, shop: ShopifyConnector) -> None:
    (order,) = bench.sell_paid(SHOP)
    wrote = draft(shop, order.number).buyer_remark or ""
    for _ in range(2):
        shop.write_memo(Memo("k", order.number, "已电话确认"))
    note = draft(shop, order.number).buyer_remark or ""
    assert note.startswith(wrote)
    assert note.splitlines()[-1] == "已电话确认"
    assert note.count("已电话确认") == 1


def test_webhooks_prove_themselves_and_read_like_the_list(
    bench: Bench, shop: ShopifyConnector
) -> None:
    (order,) = bench.sell_paid(SHOP)
    center = Center()
    center.take(pusher_of(bench, "shopify.webhooks").outgoing)
    assert center.heard
    for pushed in center.heard:
        headers = {name.lower(): value for name, value in pushed.headers.items()}
        request = WebhookRequest("POST", "/", {}, headers, pushed.content, at(bench))
        shop.verify(request)
        (message,) = shop.split(request)
        assert (message.kind, message.channel_number) == (MessageKind.ORDER, order.number)
        assert message.occurred_at is not None
    pushed_draft = shop.read(message.body)
    listed = draft(shop, order.number)
    assert [one.channel_line_id for one in pushed_draft.lines] == [
        one.channel_line_id for one in listed.lines
    ]
    assert pushed_draft.payable_amount == listed.payable_amount


def test_a_merchant_lets_the_application_in(bench: Bench, shop: ShopifyConnector) -> None:
    url = shop.authorize_url("http://127.0.0.1:9/back", "state-1")
    answer = call(bench, "GET", url.removeprefix("http://127.0.0.1:1"))
    back = dict(parse_qsl(urlsplit(answer.headers["location"]).query))
    shop.check_callback(back)
    with pytest.raises(BadSignature):
        shop.check_callback({**back, "shop": "another.myshopify.com"})
    tokens = shop.exchange_code(back["code"])
    assert tokens.access_token == bench.shop(SHOP).access_token
