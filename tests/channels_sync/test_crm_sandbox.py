"""The CRM's and the mini-program's connectors against the sandbox."""

from collections.abc import Iterator
from datetime import datetime

import pytest

from channels_sync.connectors.crm.connector import CrmConnector
from channels_sync.connectors.miniprogram.connector import MiniProgramConnector
from channels_sync.contracts import (
    VIRTUAL_CARRIER,
    MessageKind,
    ShipLine,
    ShipNotice,
    WebhookRequest,
)
from tests.channels_sync.sandboxed import a_bench, at, connect, draft, lately
from tests.sandbox.callers import Bench
from tests.sandbox.wires import Center, pusher_of

MAKERS = [
    pytest.param("CR01", CrmConnector, id="crm"),
    pytest.param("MP01", MiniProgramConnector, id="miniprogram"),
]


@pytest.fixture
def bench() -> Iterator[Bench]:
    yield from a_bench()


@pytest.mark.parametrize(("code", "make"), MAKERS)
def test_every_row_of_the_window_is_read_and_counted(
    bench: Bench, code: str, make: type[CrmConnector]
) -> None:
    shop = connect(bench, code, make)
    sold = bench.sell_paid(code, 250)
    rows = [m for page in shop.pull("orders", lately(bench)) for m in page.messages]
    drafts = {found.channel_number: found for found in (shop.read(row.body) for row in rows)}
    assert drafts.keys() == {order.number for order in sold}
    for order in sold:
        found = drafts[order.number]
        assert sum((line.amount for line in found.lines), found.freight) == found.payable_amount
    assert shop.census(lately(bench)).numbers == drafts.keys()
    shop.test()


@pytest.mark.parametrize(("code", "make"), MAKERS)
def test_a_webhook_proves_itself_and_reads_like_the_row(
    bench: Bench, code: str, make: type[CrmConnector]
) -> None:
    shop = connect(bench, code, make)
    (order,) = bench.sell_paid(code)
    bench.market.ask_refund(order)
    center = Center()
    center.take(pusher_of(bench, "platforms.crm").outgoing)
    kinds = set()
    last: datetime | None = None
    for pushed in center.heard:
        headers = {name.lower(): value for name, value in pushed.headers.items()}
        request = WebhookRequest("POST", "/", {}, headers, pushed.content, at(bench))
        shop.verify(request)
        (message,) = shop.split(request)
        kinds.add(message.kind)
        assert message.channel_number == order.number
        if message.kind is MessageKind.ORDER:
            told, last = shop.read(message.body), message.occurred_at
    assert kinds == {MessageKind.ORDER, MessageKind.REFUND}
    assert last is not None
    assert told.lines == draft(shop, order.number).lines


@pytest.fixture
def mini(bench: Bench) -> MiniProgramConnector:
    return connect(bench, "MP01", MiniProgramConnector)


def test_wechat_hears_of_every_parcel_once(bench: Bench, mini: MiniProgramConnector) -> None:
    order = next(one for one in bench.sell_paid("MP01", 40) if len(one.lines) > 1)
    line = draft(mini, order.number).lines[0]
    some = (ShipLine(line.channel_line_id, line.quantity),)
    first = ShipNotice("1", order.number, "sf", "SF100", at(bench), some)
    assert mini.knows(first) is False
    for _ in range(2):
        mini.ship(first)
    assert mini.knows(first) is True
    mini.ship(ShipNotice("2", order.number, "zto", "ZT100", at(bench), (), ("SF100",)))
    assert [parcel.tracking_number for parcel in order.shipments] == ["SF100", "ZT100"]


def test_virtual_goods_are_told_without_a_parcel(bench: Bench, mini: MiniProgramConnector) -> None:
    (order,) = bench.sell_paid("MP01")
    told = ShipNotice("1", order.number, VIRTUAL_CARRIER, "", at(bench))
    mini.ship(told)
    assert len(order.shipments) == 1
