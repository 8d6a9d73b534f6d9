"""Shop health says what is wrong and what to do."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from channels_sync.connectors import CONNECTORS
from channels_sync.contracts import ErrorClass
from channels_sync.line import BREAKS_AFTER
from channels_sync.models import LineAlarm, OutboundMessage, SyncCursor
from ordercenter.catalog.models import Channel, Shop
from ordercenter.core.policy import Role
from ordercenter.pipeline.advice import BY_CLASS, BY_CODE, UNKNOWN, advice
from ordercenter.pipeline.health import Level, ShopHealth, health
from tests.factories import (
    InboxMessageFactory,
    OutboundMessageFactory,
    ShopCredentialFactory,
    ShopFactory,
    SyncCursorFactory,
    user_with,
)

pytestmark = pytest.mark.django_db
NOW = datetime(2025, 11, 11, 4, 0, tzinfo=UTC)


def line(shop: Shop) -> ShopHealth:
    return next(row for row in health(NOW).shops if row.shop == shop)


def shop_with_cursor(**fields: Any) -> Shop:
    shop = ShopFactory.create()
    ShopCredentialFactory.create(shop=shop)
    fields = {"last_ok_at": NOW - timedelta(seconds=30), "next_due_at": NOW, **fields}
    SyncCursorFactory.create(shop=shop, **fields)
    return shop


def log_in(client: Client, role: Role) -> None:
    client.force_login(user_with(role), backend="django.contrib.auth.backends.ModelBackend")


def test_a_shop_that_is_read_in_time_is_good_and_needs_no_advice() -> None:
    row = line(shop_with_cursor(interval_seconds=60, last_push_at=NOW - timedelta(seconds=5)))
    assert (row.level, row.troubles) == (Level.GOOD, [])
    assert row.last_ok == timedelta(seconds=30)
    assert row.mode.words == "实时推送，每 1 分钟轮询"
    assert (row.lag, row.lag_level) == (timedelta(), Level.GOOD)


@pytest.mark.parametrize("klass", list(ErrorClass))
def test_every_class_of_failure_has_its_cause_and_cure(klass: ErrorClass) -> None:
    row = line(
        shop_with_cursor(
            failures=1,
            error_class=klass.value,
            error_code="isv.never-heard-of",
            error_message="unknown",
            last_error_at=NOW,
        )
    )
    (trouble,) = row.troubles
    assert trouble.advice == BY_CLASS[klass] != UNKNOWN
    assert trouble.code == "isv.never-heard-of"
    assert row.level is Level.WARN


def test_a_known_code_says_more_than_its_class() -> None:
    assert advice("platform", "bad_body") == BY_CODE["bad_body"]
    assert advice("no such class", "no such code") == UNKNOWN


def test_three_failures_in_a_row_are_red() -> None:
    row = line(shop_with_cursor(failures=3, error_class="auth", error_code="http_401"))
    assert row.level is Level.BAD


def test_a_shop_that_went_quiet_without_an_error_is_red_and_says_so() -> None:
    row = line(shop_with_cursor(last_ok_at=NOW - timedelta(minutes=20)))
    assert row.level is Level.BAD
    assert "很久没有读取成功" in str(row.troubles[0].advice.cause)


def test_a_shop_without_credentials_says_who_fills_them_in() -> None:
    row = line(ShopFactory.create())
    assert "授权" in str(row.troubles[0].advice.cause)


def test_a_shop_of_spreadsheets_has_no_line_to_be_unwell() -> None:
    row = line(ShopFactory.create(channel=Channel.FILE))
    assert (row.level, row.troubles, row.mode.words) == (Level.GOOD, [], "表格导入")


def test_what_waits_and_what_was_given_up_is_counted_at_both_ends() -> None:
    shop = shop_with_cursor()
    InboxMessageFactory.create(shop=shop, received_at=NOW - timedelta(minutes=2))
    InboxMessageFactory.create(shop=shop, state="leased", received_at=NOW)
    InboxMessageFactory.create(shop=shop, state="done")
    InboxMessageFactory.create(shop=shop, state="dead")
    OutboundMessageFactory.create(shop=shop, created_at=NOW - timedelta(minutes=1))
    OutboundMessageFactory.create(
        shop=shop, state=OutboundMessage.State.DEAD, error="订单已退款，不能发货"
    )
    InboxMessageFactory.create(shop=None, carrier="sf", state="dead")
    drawn = health(NOW)
    row = drawn.shops[0]
    assert (row.inbox.count, row.inbox.oldest) == (2, timedelta(minutes=2))
    assert (row.inbox.dead, row.outbox.count, row.outbox.dead) == (1, 1, 1)
    assert row.troubles[0].message == "订单已退款，不能发货"
    assert row.level is Level.BAD
    assert drawn.carriers["sf"].dead == 1
    assert drawn.quarantined == 2


def test_every_channel_that_is_polled_has_a_name_on_the_page() -> None:
    for channel in Channel:
        ShopFactory.create(channel=channel)
    assert {str(row.channel) for row in health(NOW).shops} == {str(c.label) for c in Channel}
    assert set(Channel.values) - {Channel.FILE} <= set(CONNECTORS)


def test_the_page_asks_the_same_number_of_queries_for_many_shops(client: Client) -> None:
    log_in(client, Role.IT)
    asked = []
    for _ in range(2):
        shop = shop_with_cursor(failures=1, error_class="auth")
        InboxMessageFactory.create(shop=shop, state="dead")
        OutboundMessageFactory.create(shop=shop, state="dead")
        with CaptureQueriesContext(connection) as queries:
            assert client.get(reverse("warroom:health")).status_code == 200
        asked.append(len(queries))
    assert asked[0] == asked[1] <= 13


def test_words_of_a_platform_are_shown_as_text(client: Client) -> None:
    log_in(client, Role.IT)
    shop_with_cursor(failures=1, error_class="auth", error_message="<img src=x onerror=alert(1)>")
    text = client.get(reverse("warroom:health")).content.decode()
    assert "&lt;img src=x" in text
    assert "<img src=x" not in text


@pytest.mark.parametrize(
    ("mode", "words", "risk"),
    [
        (SyncCursor.Mode.EVENT, "实时推送，每 30 分钟轮询", Level.GOOD),
        (SyncCursor.Mode.TIMED, "定时，每 30 分钟轮询", Level.WARN),
        (SyncCursor.Mode.MANUAL, "手动读取", Level.BAD),
    ],
)
def test_a_mode_is_named_with_what_it_risks(mode: SyncCursor.Mode, words: str, risk: Level) -> None:
    row = line(shop_with_cursor(mode=mode, interval_seconds=1800))
    assert (row.mode.words, row.mode.level) == (words, risk)
    assert "超卖风险" in str(row.mode.risk)


@pytest.mark.parametrize(
    ("late", "expected"),
    [(59, Level.GOOD), (61, Level.WARN), (299, Level.WARN), (301, Level.BAD)],
)
def test_data_that_is_a_minute_old_is_amber_and_five_minutes_red(
    late: int, expected: Level
) -> None:
    shop = shop_with_cursor(interval_seconds=600, last_ok_at=NOW - timedelta(seconds=600 + late))
    assert line(shop).lag_level is expected


def test_a_shop_nobody_is_to_read_is_neither_late_nor_silent() -> None:
    long_ago = NOW - timedelta(days=2)
    row = line(shop_with_cursor(last_ok_at=long_ago, mode=SyncCursor.Mode.MANUAL))
    assert (row.lag, row.troubles, row.level) == (None, [], Level.GOOD)
    paused = {"paused_at": long_ago, "paused_by": "郑工程师"}
    row = line(shop_with_cursor(last_ok_at=long_ago, **paused))
    assert (row.lag, row.troubles, row.level) == (None, [], Level.WARN)
    assert (row.paused_at, row.paused_by) == (long_ago, "郑工程师")


def test_the_right_that_runs_out_first_is_the_one_counted_down() -> None:
    shop = shop_with_cursor()
    credential = shop.credential
    credential.refresh_expires_at = NOW + timedelta(days=30)
    credential.expires_at = NOW + timedelta(hours=1)  # renews itself: nobody has to act
    credential.save()
    row = line(shop)
    assert row.expiry is not None
    assert (str(row.expiry.label), row.expiry.level) == ("授权", Level.GOOD)
    credential.write_expires_at = NOW + timedelta(days=2)
    credential.save()
    row = line(shop)
    assert row.expiry is not None
    assert (str(row.expiry.label), row.expiry.left) == ("写权限", timedelta(days=2))
    assert row.level is Level.WARN
    credential.change_secrets(refresh_token="renews-both")
    credential.save()
    row = line(shop)
    assert row.expiry is not None
    assert str(row.expiry.label) == "授权"  # the right to write is renewed by a worker
    credential.write_expires_at = NOW - timedelta(seconds=1)
    credential.save()
    row = line(shop)
    assert row.expiry is not None
    assert row.expiry.is_over
    assert row.level is Level.BAD


def test_an_open_breaker_shows_until_it_tries_again() -> None:
    shop = shop_with_cursor(broken=BREAKS_AFTER, open_until=NOW + timedelta(seconds=40))
    assert line(shop).broken_until == NOW + timedelta(seconds=40)
    SyncCursor.objects.filter(shop=shop).update(open_until=NOW - timedelta(seconds=1))
    assert line(shop).broken_until is None


def test_an_alarm_shows_on_its_shop_and_colors_it_until_it_is_over(client: Client) -> None:
    shop, other = shop_with_cursor(), shop_with_cursor()
    alarm = LineAlarm.objects.create(
        shop=shop, kind=LineAlarm.Kind.MISSING, level=LineAlarm.Level.ALARM,
        words="对单后仍缺 3 单", opened_at=NOW, seen_at=NOW,
    )  # fmt: skip
    assert line(shop).level is Level.BAD
    assert line(other).level is Level.GOOD
    log_in(client, Role.IT)
    assert "对单后仍缺 3 单" in client.get("/shops/").content.decode()
    LineAlarm.objects.filter(pk=alarm.pk).update(closed_at=NOW)
    assert line(shop).level is Level.GOOD


def test_a_shop_begun_and_not_started_comes_first_and_waits_for_nothing() -> None:
    shop_with_cursor(failures=9, error_class="auth")
    begun = ShopFactory.create(is_active=False)
    gone = shop_with_cursor()
    Shop.objects.filter(pk=gone.pk).update(is_active=False)
    rows = health(NOW).shops
    assert line(begun).is_unfinished
    assert not line(gone).is_unfinished
    assert [row.shop for row in rows][1:] == [begun, gone]


# What channels.md 3a and X12 tell apart: (code, message) of a Douyin refusal, word of the cause.
DOUYIN_REFUSALS = [
    ("isv.access-token-expired", "access_token已过期", "授权已过期"),
    ("30001", "授权已关闭或不存在", "授权已关闭"),
    ("30002", "IP不在白名单", "IP"),
    ("isv.app-permissions-insufficient", "应用无接口权限，请申请", "没有这个接口的权限"),
    ("isv.signature-invalid", "签名不合法", "签名"),
    ("isv.timestamp-invalid", "时间戳不合法", "时间戳"),
]


def test_refusals_of_an_authorization_are_told_apart() -> None:
    found = [
        (advice("auth", code, channel="douyin", message=message), word)
        for code, message, word in DOUYIN_REFUSALS
    ]
    assert [word for one, word in found if word not in str(one.cause)] == []
    assert len({str(one.cure) for one, _word in found}) == len(DOUYIN_REFUSALS)


@pytest.mark.parametrize(
    ("message", "word"),
    [
        ("店铺授权过期，请重新授权", "已过期"),
        ("店铺已关闭对应用的授权", "已关闭"),
        ("请求IP不受信任", "IP"),
        ("缺少该接口权限", "权限"),
    ],
)
def test_a_refusal_with_an_unknown_code_is_understood_by_its_words(message: str, word: str) -> None:
    found = advice("auth", "isv.new-code", channel="douyin", message=message)
    assert word in str(found.cause)
    assert (
        advice("business", "isv.new-code", channel="douyin", message=message)
        == (BY_CLASS[ErrorClass.BUSINESS])
    )


def test_one_number_means_different_things_on_different_platforms() -> None:
    causes = {
        channel: str(advice("auth", "25", channel=channel).cause) for channel in ("taobao", "jd")
    }
    assert "签名" in causes["taobao"]
    assert "权限" in causes["jd"]
    assert "额度" in str(
        advice("rate_limited", "accesscontrol.limited-by-app-access-count", channel="taobao").cause
    )
    busy = advice("platform", "isp.top-remote-connection-timeout", channel="taobao")
    assert busy == BY_CLASS[ErrorClass.PLATFORM]


def test_the_list_leads_into_each_shop_and_only_it_is_offered_a_new_one(client: Client) -> None:
    log_in(client, Role.IT)
    assert "接入第一家" in client.get("/shops/").content.decode()
    shop = shop_with_cursor()
    begun = ShopFactory.create(is_active=False)
    text = client.get("/shops/").content.decode()
    assert f'href="/shops/{shop.code}/"' in text
    assert f'href="/shops/{begun.code}/setup/"' in text
    assert 'href="/shops/new/"' in text
    log_in(client, Role.CEO)
    text = client.get("/shops/").content.decode()
    assert "/shops/new/" not in text
    assert "/setup/" not in text
