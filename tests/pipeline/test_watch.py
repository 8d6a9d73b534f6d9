"""What is wrong with a line is said before anybody asks, once, and taken back when it is over."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from channels_sync import services as channels
from channels_sync.contracts import MessageKind, RawMessage
from channels_sync.models import InboxMessage, LineAlarm, Reconciliation, SyncCursor
from ordercenter.catalog.models import Shop
from ordercenter.core.clock import now as clock_now
from ordercenter.notices.models import Notice
from ordercenter.pipeline import watch
from tests.factories import (
    RobotFactory,
    SalesOrderFactory,
    ShopCredentialFactory,
    ShopFactory,
    SyncCursorFactory,
)

pytestmark = pytest.mark.django_db
MINUTE = timedelta(minutes=1)
NOW = clock_now().replace(minute=30, second=0, microsecond=0)


@pytest.fixture(autouse=True)
def _fresh() -> None:
    watch._usual.cache_clear()


@pytest.fixture
def shop() -> Shop:
    """A JD shop that is read every minute and was read just now."""
    made: Shop = ShopFactory.create(channel="jd", name="京东旗舰店")
    ShopCredentialFactory.create(shop=made)
    SyncCursorFactory.create(shop=made, last_ok_at=NOW, interval_seconds=60)
    return made


def alarms(now: datetime = NOW) -> dict[str, str]:
    watch.watch_lines(now=now)
    return dict(LineAlarm.objects.filter(closed_at=None).values_list("kind", "level"))


def sold(shop: Shop, *ago: float, **more: Any) -> None:
    """Orders placed and received so many minutes ago."""
    for minutes in ago:
        at = NOW - minutes * MINUTE
        SalesOrderFactory.create(
            shop=shop, placed_at=at, received_at=at, channel_modified_at=at, **more
        )


def test_a_line_that_is_read_in_time_has_no_alarm(shop: Shop) -> None:
    assert alarms() == {}


@pytest.mark.parametrize(
    ("late", "expected"),
    [(59, {}), (60, {"lag": "warn"}), (299, {"lag": "warn"}), (300, {"lag": "alarm"})],
)
def test_a_poll_that_is_late_is_lag(shop: Shop, late: int, expected: dict[str, str]) -> None:
    SyncCursor.objects.update(last_ok_at=NOW - timedelta(seconds=60 + late))
    assert alarms() == expected


def test_a_message_that_waits_is_lag_and_one_of_the_past_is_none(shop: Shop) -> None:
    for number, lane in (("1", InboxMessage.Lane.BULK), ("2", InboxMessage.Lane.LIVE)):
        channels.store(
            [RawMessage(MessageKind.ORDER, number.encode(), number)],
            source=InboxMessage.Source.POLL, shop_id=shop.pk, lane=lane, now=NOW - 6 * MINUTE,
        )  # fmt: skip
        assert alarms() == ({} if lane == InboxMessage.Lane.BULK else {"lag": "alarm"})


def test_a_paused_line_owes_nobody_a_poll(shop: Shop) -> None:
    SyncCursor.objects.update(last_ok_at=NOW - timedelta(hours=2), paused_at=NOW)
    assert alarms() == {}


def test_jd_quiet_for_seven_minutes_is_said_in_words(shop: Shop) -> None:
    sold(shop, *[7 + n / 2 for n in range(60)])  # two a minute, then nothing for seven
    assert alarms() == {"silence": "alarm"}
    assert "京东旗舰店 已 7 分钟没有新订单" in LineAlarm.objects.get().words


def test_a_shop_that_sells_little_may_be_quiet_for_long(shop: Shop) -> None:
    sold(shop, 20, 50, 80, 110)
    assert alarms() == {}


def test_the_small_hours_are_usually_quiet(shop: Shop) -> None:
    """Two a minute lately, but at this hour of the day the shop usually sells one in an hour."""
    for day in range(1, 8):
        sold(shop, day * 24 * 60)
    sold(shop, *[7 + n / 2 for n in range(60)])
    assert alarms() == {}


def pushed(shop: Shop, source: InboxMessage.Source, count: int, *, ago: float) -> None:
    messages = [
        RawMessage(MessageKind.ORDER, f"{source}{n}".encode(), str(n)) for n in range(count)
    ]
    channels.store(messages, source=source, shop_id=shop.pk, now=NOW - ago * MINUTE)
    InboxMessage.objects.update(state="done", done_at=NOW)


def test_pushes_that_stop_without_a_word_are_missed_within_ten_minutes(shop: Shop) -> None:
    SyncCursor.objects.update(last_push_at=NOW - 9 * MINUTE)
    pushed(shop, InboxMessage.Source.POLL, 5, ago=2)
    assert alarms() == {"no_push": "alarm"}


@pytest.mark.parametrize("why", ["still pushed", "never pushed", "nothing sold", "timed"])
def test_pushes_are_not_missed_where_none_are_due(shop: Shop, why: str) -> None:
    SyncCursor.objects.update(last_push_at=NOW - 9 * MINUTE)
    if why != "nothing sold":
        pushed(shop, InboxMessage.Source.POLL, 5, ago=2)
    if why == "still pushed":
        pushed(shop, InboxMessage.Source.PUSH, 1, ago=9)
    if why == "never pushed":
        SyncCursor.objects.update(last_push_at=None)
    if why == "timed":
        SyncCursor.objects.update(mode="timed")
    assert alarms() == {}


def test_an_authorization_that_ends_is_said_days_before(shop: Shop) -> None:
    credential = shop.credential
    for left, expected in (
        (timedelta(days=4), {}),
        (timedelta(days=2), {"auth": "warn"}),
        (timedelta(hours=5), {"auth": "alarm"}),
    ):
        credential.refresh_expires_at = NOW + left
        credential.save()
        assert alarms() == expected


def test_dead_letters_missing_orders_the_breaker_and_crooked_clocks_are_said(shop: Shop) -> None:
    channels.store(
        [RawMessage(MessageKind.UNREADABLE, b"?")], source=InboxMessage.Source.PUSH, shop_id=shop.pk
    )
    Reconciliation.objects.create(
        shop=shop, hour=NOW, theirs=3, ours=2, missing=["7"], state="short", checked_at=NOW
    )
    SyncCursor.objects.update(broken=9, open_until=NOW + MINUTE)
    sold(shop, 1)
    shop.salesorder_set.update(channel_modified_at=NOW + 5 * MINUTE)
    assert alarms() == {"dead": "warn", "missing": "alarm", "breaker": "warn", "clock": "warn"}


def test_people_are_told_when_an_alarm_opens_and_when_it_rises_and_not_in_between(
    shop: Shop,
) -> None:
    RobotFactory.create(min_tier="2")
    told = []
    for late in (70, 80, 400, 420):
        SyncCursor.objects.update(last_ok_at=NOW - timedelta(seconds=60 + late))
        alarms()
        told.append(Notice.objects.count())
    assert told == [1, 1, 2, 2]


def test_an_alarm_closes_by_itself_and_a_new_one_is_another(shop: Shop) -> None:
    for late in (400, 0, 400):
        SyncCursor.objects.update(last_ok_at=NOW - timedelta(seconds=late + 60 * (late > 0)))
        alarms()
    first, second = LineAlarm.objects.order_by("pk")
    assert first.closed_at == NOW
    assert second.closed_at is None
