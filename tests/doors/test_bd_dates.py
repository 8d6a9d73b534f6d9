"""BD: times that are missing, impossible, crooked or twofold, from the platform's bytes on."""

import json
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, Final

import pytest

from channels_sync import services as channels
from channels_sync.connectors.strict_json import dump_compact, loads_page
from channels_sync.contracts import MessageKind, RawMessage
from channels_sync.models import FeedCursor, InboxMessage
from inventory.models import Reservation
from ordercenter.audit.models import AuditRecord
from ordercenter.core.clock import now as clock_now
from ordercenter.orders.models import SalesOrder
from ordercenter.pipeline import intake, pulling
from tests.channels_sync.contract_cases import BY_CHANNEL
from tests.doors.polls import Polled
from tests.doors.raw_orders import put, taken
from tests.doors.table import POLLED, at, row
from tests.factories import ShopFactory
from tests.pipeline.seller import Seller, again, buyer, draft, holds, open_seller, somebody, take

pytestmark = pytest.mark.django_db
PLACED: Final = {
    "taobao": ("created",),
    "jd": ("orderStartTime",),
    "pinduoduo": ("created_time",),
    "douyin": ("create_time",),
    "shopify": ("created_at",),
    "wechat": ("create_time",),
    "crm_webhook": ("order", "created_at"),
    "miniprogram": ("order", "created_at"),
    "openjson": ("created_at",),
}
SECOND: Final = {"pinduoduo": ("confirm_time",)}
"""What stands in for it where the platform has another name."""
UNIX: Final = dict.fromkeys(("douyin", "wechat"), "it counts seconds: there is no text to be wrong")
NAIVE: Final = dict.fromkeys(
    ("taobao", "jd", "pinduoduo", "douyin", "wechat"), "it names no zone, ever"
)


@pytest.fixture
def seller() -> Seller:
    return open_seller()


@pytest.fixture
def door(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def ordered(channel: str, placed: Any, **more: Any) -> bytes:
    """The channel's own order, placed at such a time; ``more`` are top fields."""
    told = loads_page(BY_CHANNEL[channel].order_body())
    told = put(told, PLACED[channel], placed)
    if channel in SECOND:
        told = put(told, SECOND[channel], None)
    return dump_compact({**told, **more})


def assert_parked(channel: str, placed: Any) -> None:
    (message,) = taken(channel, ordered(channel, placed))
    assert message.state == "dead"
    assert message.error
    assert not SalesOrder.objects.exists()


def assert_held(channel: str, placed: Any) -> None:
    """The order is there, may not go, and does not stand in a year that was not."""
    (message,) = taken(channel, ordered(channel, placed))
    assert message.state == "done", message.error
    order = SalesOrder.objects.get()
    assert "incomplete:placed_at" in holds(order)
    assert abs(clock_now() - order.placed_at) < timedelta(minutes=1)


@at("BD01", POLLED)
@pytest.mark.parametrize("placed", [None, ""])
def test_an_order_without_its_time_is_parked(door: str, placed: Any) -> None:
    assert_parked(door, placed)


@at("BD02", POLLED)
def test_an_order_of_epoch_zero_is_held(door: str) -> None:
    assert_held(door, 0 if door in UNIX else "1970-01-01 08:00:00")


@at("BD03", POLLED, but=UNIX)
def test_an_order_of_the_year_9999_is_held(door: str) -> None:
    assert_held(door, "9999-12-31 23:59:59")


@at("BD04", POLLED, but=UNIX)
def test_an_order_of_the_30th_of_february_is_parked(door: str) -> None:
    assert_parked(door, "2026-02-30 10:00:00")


@at("BD05", POLLED, but=UNIX)
def test_24_o_clock_is_parked(door: str) -> None:
    assert_parked(door, "2026-03-01 24:00:00")


@pytest.fixture
def _elsewhere() -> Iterator[None]:
    """A server whose own zone is another."""
    was = os.environ.get("TZ")
    os.environ["TZ"] = "America/New_York"
    time.tzset()
    yield
    if was is None:
        del os.environ["TZ"]
    else:
        os.environ["TZ"] = was
    time.tzset()


@at("BD06", POLLED, but=UNIX)
@pytest.mark.usefixtures("_elsewhere")
def test_a_time_without_a_zone_is_beijings_wherever_the_server_stands(door: str) -> None:
    body = ordered(door, "2026-03-01 08:00:00")
    assert BY_CHANNEL[door].reader().read(body).placed_at == datetime(2026, 3, 1, tzinfo=UTC)


@at("BD07", POLLED, but=NAIVE)
def test_z_and_an_offset_of_eight_hours_are_one_moment(door: str) -> None:
    one = BY_CHANNEL[door].reader()
    spellings = ("2026-03-01T00:00:00Z", "2026-03-01T08:00:00+08:00")
    first, other = (one.read(ordered(door, placed)) for placed in spellings)
    assert first == other


@at(
    "BD08",
    POLLED,
    but=dict.fromkeys(
        ("taobao", "jd", "pinduoduo", "shopify"), "it counts nothing: times are text"
    ),
)
def test_milliseconds_where_seconds_are_due_are_no_year_58000(door: str) -> None:
    assert_parked(door, 1_772_327_287_000)


@at("BD14", POLLED, but=UNIX)
@pytest.mark.parametrize("placed", ["2026-06-30 23:59:60", "2026-12-31T23:59:60+08:00"])
def test_a_leap_second_crashes_nothing(door: str, placed: str) -> None:
    assert_parked(door, placed)


@at("BD15", POLLED, but=UNIX)
@pytest.mark.parametrize("year", ["2569", "0115"], ids=["Buddhist", "Minguo"])
def test_a_year_of_another_calendar_is_held(door: str, year: str) -> None:
    assert_held(door, f"{year}-03-01 08:00:00")


# --- crooked --------------------------------------------------------------------------------------


def flags(order: SalesOrder) -> list[str]:
    """What was found odd; what a rule filled in is none of it."""
    rows = AuditRecord.objects.filter(object_type="order", object_id=order.pk)
    found = [flag for record in rows for flag in record.change.get("flags", [])]
    return [flag for flag in found if not flag.startswith("filled:")]


@row("BD09")
def test_an_order_modified_before_it_was_made_goes_on_and_is_flagged(
    row: str, seller: Seller
) -> None:
    now = clock_now()
    told = draft(at=now, modified_at=now - timedelta(hours=1))
    (order,) = take(seller.shop, told)
    assert (order.status, holds(order)) == ("routed", set())
    assert flags(order) == ["修改时间早于下单时间"]
    (order,) = take(seller.shop, again(told, 1, seller_memo="later by the platform's own field"))
    assert order.seller_memo.startswith("later")
    (order,) = take(seller.shop, again(told, -1, seller_memo="earlier"))
    assert order.seller_memo.startswith("later")


@row("BD10")
def test_an_order_paid_before_it_was_made_is_flagged(row: str, seller: Seller) -> None:
    now = clock_now()
    (order,) = take(seller.shop, draft(at=now, paid_at=now - timedelta(minutes=3)))
    assert (order.status, flags(order)) == ("routed", ["付款时间早于下单时间"])


@row("BD11")
def test_an_order_made_tomorrow_is_flagged_and_keeps_its_goods_by_our_own_clock(
    row: str, seller: Seller
) -> None:
    now = clock_now()
    (order,) = take(seller.shop, draft(paid=False, at=now + timedelta(days=1)))
    assert flags(order) == ["下单时间晚于收到时间"]
    expires = Reservation.objects.get(order_id=order.pk).expires_at
    assert expires is not None
    assert abs(expires - now - timedelta(minutes=30)) < timedelta(seconds=5)


@row("BD09", "BD10", "BD11")
def test_an_order_in_order_has_no_flag(row: str, seller: Seller) -> None:
    assert flags(take(seller.shop, draft())[0]) == []


# --- twofold --------------------------------------------------------------------------------------


class Truth:
    """A platform that knows which of two words of one second was the last."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.asked = 0

    def fetch(self, number: str) -> RawMessage:
        self.asked += 1
        return RawMessage(MessageKind.ORDER, self.body, number)


@row("BD12")
@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("true_one", [0, 1])
def test_of_two_words_of_one_second_the_platform_says_which_holds(
    row: str, monkeypatch: pytest.MonkeyPatch, *, together: bool, true_one: int
) -> None:
    """Both are read; whichever came last, the order ends as the platform has it."""
    told = json.loads(BY_CHANNEL["openjson"].order_body())
    words = [dump_compact({**told, "status": status}) for status in ("paid", "on_hold")]
    shop = ShopFactory.create(channel="openjson")
    truth = Truth(words[true_one])
    monkeypatch.setattr(pulling, "connector_for", lambda *_, **__: truth)
    for batch in [words] if together else [[one] for one in words]:
        rows = [RawMessage(MessageKind.ORDER, body, told["order_no"]) for body in batch]
        channels.store(rows, source=InboxMessage.Source.PUSH, shop_id=shop.pk)
        intake.run()
    for _ in range(5):
        pulling.fetch_hints()
        intake.run()
    assert InboxMessage.objects.filter(source="push", state="done").count() == 2
    assert 1 <= truth.asked <= 2
    assert not InboxMessage.objects.exclude(state="done").exists()
    order = SalesOrder.objects.get()
    assert order.channel_status == ("on_hold" if true_one else "wait_ship")
    assert ("channel:on_hold" in holds(order)) is bool(true_one)


@row("BD12")
def test_a_word_told_twice_asks_nobody(row: str, seller: Seller) -> None:
    told = draft()
    take(seller.shop, told)
    take(seller.shop, told, told)
    assert not InboxMessage.objects.exists()


@row("BD13")
@pytest.mark.parametrize("channel", ["taobao", "crm_webhook"])
def test_what_changes_on_the_edge_of_a_window_is_seen(row: str, channel: str) -> None:
    polled = Polled(channel)
    try:
        polled.sell(1)
        polled.poll()
        order = SalesOrder.objects.first() or (intake.run() and SalesOrder.objects.get())
        assert isinstance(order, SalesOrder)
        edge = order.channel_modified_at
        InboxMessage.objects.all().delete()
        FeedCursor.objects.filter(feed="orders").update(position=edge)
        polled.poll()
        assert polled.kept() == 1
        windows = list(pulling._windows(polled.shop.pk, _feed(), now=edge + timedelta(hours=5)))
        for one, following in pairwise(windows):
            assert one.end - following.start >= timedelta(seconds=60)
    finally:
        polled.close()


def _feed() -> Any:
    return next(feed for feed in BY_CHANNEL["taobao"].reader().feeds if feed.code == "orders")


@row("BD16")
def test_the_hour_that_comes_twice_in_autumn_loses_and_doubles_no_order(row: str) -> None:
    """A Shopify store in New York: half past one in summer time, and again an hour later."""
    bodies = []
    for number, placed in enumerate(("2026-11-01T01:30:00-04:00", "2026-11-01T01:30:00-05:00")):
        told = {"id": 5_000_000_000_000 + number, "updated_at": placed}
        bodies.append(ordered("shopify", placed, **told))
    assert [message.state for message in taken("shopify", *bodies)] == ["done", "done"]
    first, second = SalesOrder.objects.order_by("placed_at")
    assert second.placed_at - first.placed_at == timedelta(hours=1)
    assert second.channel_modified_at - first.channel_modified_at == timedelta(hours=1)


@row("BD17")
def test_a_new_receivers_id_after_a_week_makes_no_new_customer(row: str, seller: Seller) -> None:
    """Taobao's OAID changes with the week: the buyer and the order are the same ones."""
    receiver = somebody(1, is_masked=True, name="林**", phone="199****0101", address="虚构路***")
    told = draft(receiver=replace(receiver, oaid="week-1"), evidence=buyer("b1"))
    (order,) = take(seller.shop, told)
    before = (order.status, holds(order))
    (order,) = take(seller.shop, again(told, 600_000, receiver=replace(receiver, oaid="week-2")))
    assert (order.status, holds(order)) == before
    other = draft(receiver=replace(receiver, oaid="week-2"), evidence=buyer("b1"))
    (second,) = take(seller.shop, other)
    keys = {one.evidence.buyer_key for one in SalesOrder.objects.select_related("evidence")}
    assert len(keys) == 1
    assert "rule:same_sku_5m" in holds(second)  # known as the same buyer, week or no week
