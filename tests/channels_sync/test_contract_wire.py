"""What every connector keeps against a platform that answers: the sandbox at the other end.

The same notice twice has one effect, and after an outcome nobody knows the platform is asked.
"""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from channels_sync.connectors import CONNECTORS
from channels_sync.connectors.exchange import make_client
from channels_sync.contracts import (
    Connector,
    Memo,
    MessageKind,
    Rejected,
    ShipLine,
    ShipNotice,
    ShopAccess,
    TryLater,
    Unsupported,
    Window,
)
from ordercenter.orders.contracts import ChannelStatus, OrderDraft
from tests.pipeline.lines import ask
from tests.sandbox.callers import Bench, Clock

URL = "http://127.0.0.1:1"
HERE = {"taobao": "TB01", "jd": "JD01", "douyin": "DY01", "pinduoduo": "PD01", "shopify": "SH01",
        "miniprogram": "MP01", "wechat": "WX01", "crm_webhook": "CR01"}  # fmt: skip
SHIPS = sorted(set(HERE) - {"crm_webhook"})
"""The private CRM has no door to be told of parcels by."""


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench(clock=Clock(time.time() - 300))
    yield made
    made.book.close()


class Line:
    """One shop of the sandbox, and everything it was asked."""

    def __init__(self, bench: Bench, channel: str) -> None:
        self.bench = bench
        self.channel = channel
        self.shop = bench.shop(HERE[channel])
        self.order = bench.sell_paid(HERE[channel])[0]
        bench.clock.pass_by(250)
        self.requests: list[httpx.Request] = []
        self.cut_after_shipping = False
        self.handle = ask(bench)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        """Hand the request on; once, the line is cut after a parcel has taken effect."""
        self.requests.append(request)
        told = len(self.order.shipments)
        answer = self.handle(request)
        if self.cut_after_shipping and len(self.order.shipments) > told:
            self.cut_after_shipping = False
            raise httpx.ReadError("cut")
        return answer

    def connector(self) -> Connector:
        told = self.shop
        access = ShopAccess(
            shop_code=told.code,
            base_url=URL + told.base_url,
            app_key=told.app_key,
            app_secret=told.app_secret,
            access_token=told.access_token,
            secrets=dict(told.secrets),
            options={key: str(value) for key, value in told.options.items()}
            | {name: URL + path for name, path in told.urls.items()},
        )
        client = make_client(transport=httpx.MockTransport(self._answer))
        now = datetime.fromtimestamp(self.bench.clock.now, UTC)
        return CONNECTORS[self.channel](access, client, lambda: now)

    def window(self) -> Window:
        now = datetime.fromtimestamp(self.bench.clock.now, UTC)
        return Window(now - timedelta(minutes=20), now)

    def pulled(self) -> dict[str, OrderDraft]:
        one = self.connector()
        messages = [m for page in one.pull("orders", self.window()) for m in page.messages]
        assert all(m.kind in {MessageKind.ORDER, MessageKind.REFUND} for m in messages)
        drafts = [one.read(m.body) for m in messages if m.kind is MessageKind.ORDER]
        return {draft.channel_number: draft for draft in drafts}

    def draft(self) -> OrderDraft:
        [draft] = self.pulled().values()
        return draft

    def notice(self, draft: OrderDraft, tracking_number: str = "SF1000000001") -> ShipNotice:
        lines = tuple(ShipLine(line.channel_line_id, line.quantity) for line in draft.lines)
        shipped_at = datetime.fromtimestamp(self.bench.clock.now, UTC)
        return ShipNotice("key-1", draft.channel_number, "sf", tracking_number, shipped_at, lines)


@pytest.fixture(params=sorted(HERE))
def line(request: pytest.FixtureRequest, bench: Bench) -> Line:
    return Line(bench, request.param)


@pytest.fixture(params=SHIPS)
def shipping(request: pytest.FixtureRequest, bench: Bench) -> Line:
    return Line(bench, request.param)


def test_what_was_sold_is_pulled_and_reads_whole(line: Line) -> None:
    draft = line.draft()
    assert draft.status is ChannelStatus.WAIT_SHIP
    assert sum((one.amount for one in draft.lines), draft.freight) == draft.payable_amount


def test_one_order_asked_for_by_its_number_is_the_one_that_was_listed(line: Line) -> None:
    draft = line.draft()
    message = line.connector().fetch(draft.channel_number)
    assert message.channel_number == draft.channel_number
    assert line.connector().read(message.body) == draft


def test_an_order_nobody_sold_is_refused_or_not_there_yet(line: Line) -> None:
    with pytest.raises((Rejected, TryLater)):
        line.connector().fetch("999999999999")


def test_the_census_names_what_was_created(line: Line) -> None:
    draft = line.draft()
    assert draft.channel_number in line.connector().census(line.window()).numbers


def test_the_connection_can_be_tested(line: Line) -> None:
    line.connector().test()
    assert line.requests


def test_the_same_notice_twice_ships_once(shipping: Line) -> None:
    notice = shipping.notice(shipping.draft())
    shipping.connector().ship(notice)
    told = list(shipping.order.shipments)
    shipping.connector().ship(notice)
    assert shipping.order.shipments == told
    assert {parcel.tracking_number for parcel in told} == {notice.tracking_number}
    assert shipping.order.unshipped == []
    shipping.bench.clock.pass_by(250)
    assert shipping.draft().status in {ChannelStatus.SHIPPED, ChannelStatus.FINISHED}


def test_after_an_unknown_outcome_the_platform_knows_what_took_effect(shipping: Line) -> None:
    notice = shipping.notice(shipping.draft())
    assert shipping.connector().knows(notice) in {False, None}
    shipping.cut_after_shipping = True
    with pytest.raises(TryLater) as failure:
        shipping.connector().ship(notice)
    assert failure.value.outcome_unknown
    told = shipping.connector().knows(notice)
    assert told in {True, None}
    if told is None:
        assert ShipNotice in shipping.connector().repeatable
    parcels = list(shipping.order.shipments)
    shipping.connector().ship(notice)
    assert shipping.order.shipments == parcels


def test_a_memo_twice_is_noted_once_and_leaves_what_was_there(line: Line) -> None:
    draft = line.draft()
    memo = Memo("key-2", draft.channel_number, "加急发货")
    try:
        line.connector().write_memo(memo)
    except Unsupported:
        return
    line.connector().write_memo(memo)
    line.bench.clock.pass_by(5)
    message = line.connector().fetch(draft.channel_number)
    noted = line.connector().read(message.body).seller_memo
    if line.channel != "shopify":  # a Shopify order's one note is the buyer's and the seller's
        assert (noted or "").count("加急发货") == 1
