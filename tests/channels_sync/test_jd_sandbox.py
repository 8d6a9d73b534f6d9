"""JD's connector against the sandbox, which reads the reference for itself."""

from collections.abc import Iterator

import pytest

from channels_sync.connectors.jd.connector import JdConnector
from channels_sync.contracts import (
    Memo,
    Rejected,
    ShipNotice,
    StockFigure,
    StopAnswer,
    StopOutcome,
    Unsupported,
)
from ordercenter.orders.contracts import ChannelStatus
from ordercenter.sandbox.book import Refund
from tests.channels_sync.sandboxed import a_bench, at, connect, draft, lately
from tests.sandbox.callers import Bench

SHOP = "JD01"


@pytest.fixture
def bench() -> Iterator[Bench]:
    yield from a_bench()


@pytest.fixture
def shop(bench: Bench) -> JdConnector:
    return connect(bench, SHOP, JdConnector)


def test_a_renewed_token_is_one_the_platform_takes(bench: Bench, shop: JdConnector) -> None:
    tokens = shop.refresh(bench.shop(SHOP).refresh_token)
    assert tokens.access_token == bench.shop(SHOP).access_token
    connect(bench, SHOP, JdConnector).test()


def test_a_census_names_every_order_that_reached_production(
    bench: Bench, shop: JdConnector
) -> None:
    sold = bench.sell_paid(SHOP, 120)
    assert shop.census(lately(bench)).numbers == {order.number for order in sold}


def test_the_parcels_of_an_order_are_told_together_and_once(
    bench: Bench, shop: JdConnector
) -> None:
    (order,) = bench.sell_paid(SHOP)
    both = ShipNotice("k", order.number, "sf", "SF101", at(bench), (), ("SF100",))
    shop.ship(both)
    shop.ship(both)
    assert [parcel.tracking_number for parcel in order.shipments] == ["SF100", "SF101"]
    assert shop.knows(both) is True
    late = ShipNotice("l", order.number, "sf", "SF102", at(bench), (), ("SF100", "SF101"))
    with pytest.raises(Unsupported):
        shop.ship(late)
    assert draft(shop, order.number).status is ChannelStatus.SHIPPED


def test_stock_is_set_unless_it_is_promoted(bench: Bench, shop: JdConnector) -> None:
    (order,) = bench.sell_paid(SHOP)
    line = draft(shop, order.number).lines[0]
    sku = line.platform_sku_id or ""
    shop.publish_stock(StockFigure("s", sku, "", line.outer_code or "", 50, None))
    bench.book.promote(SHOP, sku, on=True)
    with pytest.raises(Rejected) as locked:
        shop.publish_stock(StockFigure("s", sku, "", line.outer_code or "", 40, 50))
    assert locked.value.error.code == "stock_locked"


def test_a_note_keeps_what_was_there(bench: Bench, shop: JdConnector) -> None:
    (order,) = bench.sell_paid(SHOP)
    bench.book.write_memo(order, "老客户", 1)
    for _ in range(2):
        shop.write_memo(Memo("m", order.number, "加急"))
    told = draft(shop, order.number)
    assert (told.seller_memo, told.seller_flag) == ("老客户\n加急", 1)
    assert shop.knows(Memo("m", order.number, "加急")) is True


@pytest.mark.parametrize("outcome", [StopOutcome.STOPPED, StopOutcome.LABEL_PRINTED])
def test_a_cancellation_is_reviewed(bench: Bench, shop: JdConnector, outcome: StopOutcome) -> None:
    (order,) = bench.sell_paid(SHOP)
    now = bench.clock.now
    refund = Refund("900000009", None, order.payable_fen, "asked", now, now)
    bench.book.ask_refund(order, refund)
    asked = {
        row.body: shop.read_refund(row.body)
        for page in shop.pull("refunds", lately(bench))
        for row in page.messages
    }
    (told,) = asked.values()
    assert told.intercept_shipping
    shop.answer_stop(StopAnswer("k", order.number, told.refund_id, outcome, "", told.amount))
    assert refund.answer != ""
