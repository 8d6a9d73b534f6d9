"""Taobao's connector against the sandbox, which reads the reference for itself."""

from collections.abc import Iterator, Sequence

import pytest

from channels_sync.connectors.taobao.connector import TaobaoConnector
from channels_sync.contracts import (
    VIRTUAL_CARRIER,
    DecryptRequest,
    MessageKind,
    RawMessage,
    Rejected,
    ShipLine,
    ShipNotice,
    StockFigure,
    StopAnswer,
    StopOutcome,
)
from ordercenter.orders.contracts import ChannelStatus, LineDraft
from ordercenter.sandbox.book import Refund
from tests.channels_sync.sandboxed import a_bench, at, connect, draft, lately
from tests.sandbox.callers import Bench

SHOP = "TB01"


@pytest.fixture
def bench() -> Iterator[Bench]:
    yield from a_bench()


@pytest.fixture
def shop(bench: Bench) -> TaobaoConnector:
    return connect(bench, SHOP, TaobaoConnector)


def several_pieces(bench: Bench, shop: TaobaoConnector) -> tuple[str, LineDraft]:
    """An order that has a line of more than one piece."""
    for order in bench.sell_paid(SHOP, 40):
        for line in draft(shop, order.number).lines:
            if line.quantity > 1:
                return order.number, line
    raise AssertionError("the market sold nothing twice")


def test_a_renewed_token_is_one_the_platform_takes(bench: Bench, shop: TaobaoConnector) -> None:
    tokens = shop.refresh(bench.shop(SHOP).refresh_token)
    assert tokens.access_token == bench.shop(SHOP).access_token
    assert tokens.expires_at is not None
    assert tokens.expires_at > at(bench)
    connect(bench, SHOP, TaobaoConnector).test()


def test_a_census_names_every_order_made(bench: Bench, shop: TaobaoConnector) -> None:
    sold = bench.sell(SHOP, 120)
    census = shop.census(lately(bench))
    assert census.numbers == {order.number for order in sold}
    assert census.counted == 120


def test_what_happens_is_heard_once_it_is_confirmed(bench: Bench, shop: TaobaoConnector) -> None:
    (order,) = bench.sell_paid(SHOP)
    heard: list[RawMessage] = []

    def take(rows: Sequence[RawMessage]) -> None:
        heard.extend(rows)

    shop.listen(take, lambda: bool(heard))
    assert {row.kind for row in heard} == {MessageKind.EVENT}
    assert order.number in {row.channel_number for row in heard}
    bench.clock.pass_by(600)
    again = shop.call("taobao.tmc.messages.consume", {"group_name": "default", "quantity": "100"})
    assert again.nodes("messages", "tmc_message") == []


def test_receivers_come_in_the_clear_one_by_one(bench: Bench, shop: TaobaoConnector) -> None:
    first, second = bench.sell_paid(SHOP, 2)
    receivers = [draft(shop, order.number).receiver for order in (first, second)]
    asked = [
        DecryptRequest(order.number, receiver.oaid, "1001", b"")
        for order, receiver in zip((first, second), receivers, strict=True)
        if receiver is not None
    ]
    clear, stale = shop.decrypt([asked[0], DecryptRequest(second.number, "old", "1001", b"")])
    assert (clear.name, clear.address) == (first.receiver.name, first.receiver.address)
    assert clear.is_virtual
    assert stale.error is not None
    assert stale.error.code == "stale_oaid"
    groups = shop.merge_groups(asked)
    together = first.receiver.phone == second.receiver.phone
    assert bool(groups) == together


def test_one_line_goes_in_two_parcels_by_pieces(bench: Bench, shop: TaobaoConnector) -> None:
    number, line = several_pieces(bench, shop)
    for tracking, pieces in (("SF100", 1), ("SF101", line.quantity - 1)):
        told = ShipNotice(
            tracking, number, "sf", tracking, at(bench), (ShipLine(line.channel_line_id, pieces),)
        )
        shop.ship(told)
    order = bench.book.get(SHOP, number)
    assert order is not None
    assert [parcel.tracking_number for parcel in order.shipments] == ["SF100", "SF101"]
    assert line.channel_line_id not in {left.line_id for left in order.unshipped}


def test_goods_without_a_parcel_are_shipped(bench: Bench, shop: TaobaoConnector) -> None:
    (order,) = bench.sell_paid(SHOP)
    for _ in range(2):
        shop.ship(ShipNotice("k", order.number, VIRTUAL_CARRIER, "", at(bench)))
    assert len(order.shipments) == 1
    assert draft(shop, order.number).status is ChannelStatus.SHIPPED


def test_stock_goes_down_by_difference_unless_it_is_promoted(
    bench: Bench, shop: TaobaoConnector
) -> None:
    (order,) = bench.sell_paid(SHOP)
    line = draft(shop, order.number).lines[0]

    def told(quantity: int, believed: int | None) -> StockFigure:
        sku, item = line.platform_sku_id or "", line.platform_item_id or ""
        return StockFigure("s", sku, item, line.outer_code or "", quantity, believed)

    assert shop.publish_stock(told(50, None)).quantity == 50
    assert shop.publish_stock(told(47, 50)).quantity == 47
    bench.book.promote(SHOP, line.platform_sku_id or line.outer_code or "", on=True)
    with pytest.raises(Rejected) as locked:
        shop.publish_stock(told(40, 47))
    assert locked.value.error.code == "stock_locked"
    assert shop.publish_stock(told(48, 47)).quantity == 48


def test_a_stop_is_answered_once_however_often_it_is_told(
    bench: Bench, shop: TaobaoConnector
) -> None:
    (order,) = bench.sell_paid(SHOP)
    now = bench.clock.now
    refund = Refund("260000000009", None, order.payable_fen, "asked", now, now)
    bench.book.ask_refund(order, refund)
    (page,) = shop.pull("refunds", lately(bench))
    (asked,) = [shop.read_refund(row.body) for row in page.messages]
    answer = StopAnswer("k", order.number, asked.refund_id, StopOutcome.STOPPED, "已拦截",
                        asked.amount, version=asked.version)  # fmt: skip
    shop.answer_stop(answer)
    shop.answer_stop(answer)
    assert refund.answer != ""
