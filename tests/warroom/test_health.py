"""Shop health says what is wrong and what to do; quarantine shows bytes that do nothing."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from channels_sync.connectors import CONNECTORS
from channels_sync.contracts import ErrorClass
from channels_sync.models import InboxMessage, OutboundMessage
from ordercenter.audit.models import Action, AuditRecord
from ordercenter.catalog.models import Channel, Shop
from ordercenter.core.policy import Role
from ordercenter.warroom.advice import BY_CLASS, BY_CODE, UNKNOWN, advice
from ordercenter.warroom.health import SHOWN_BYTES, ShopHealth, health, inert
from ordercenter.warroom.selectors import Level
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
    fields = {"last_ok_at": NOW - timedelta(seconds=30), "position": NOW, **fields}
    SyncCursorFactory.create(shop=shop, **fields)
    return shop


def log_in(client: Client, role: Role) -> None:
    client.force_login(user_with(role), backend="django.contrib.auth.backends.ModelBackend")


def test_a_shop_that_is_read_in_time_is_good_and_needs_no_advice() -> None:
    row = line(shop_with_cursor(interval_seconds=60, last_push_at=NOW - timedelta(seconds=5)))
    assert (row.level, row.troubles) == (Level.GOOD, [])
    assert row.last_ok == timedelta(seconds=30)
    assert "60 秒" in row.mode
    assert "推送" in row.mode


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
    assert (row.level, row.troubles, row.mode) == (Level.GOOD, [], "表格导入")


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
    assert asked[0] == asked[1] <= 12


def test_words_of_a_platform_are_shown_as_text(client: Client) -> None:
    log_in(client, Role.IT)
    shop_with_cursor(failures=1, error_class="auth", error_message="<img src=x onerror=alert(1)>")
    text = client.get(reverse("warroom:health")).content.decode()
    assert "&lt;img src=x" in text
    assert "<img src=x" not in text


def test_only_who_may_replay_sees_the_way_to_the_bytes(client: Client) -> None:
    log_in(client, Role.IT)
    assert reverse("warroom:quarantine") not in client.get("/shops/").content.decode()
    log_in(client, Role.OPERATIONS_SUPERVISOR)
    assert reverse("warroom:quarantine") in client.get("/shops/").content.decode()


def test_quarantined_bytes_are_inert_text_with_their_reason(client: Client) -> None:
    log_in(client, Role.WAREHOUSE_SUPERVISOR)
    InboxMessageFactory.create(
        state="dead",
        body=b'{"remark": "<script>alert(1)</script>\x00\xff\xe2\x80\xae"}',
        error="字段 pay_time 不是时间",
    )
    text = client.get(reverse("warroom:quarantine")).content.decode()
    assert "字段 pay_time 不是时间" in text
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert(1)" in text
    assert "\\u0000" in text
    assert "\\u202e" in text  # right-to-left override must not turn the text around
    assert "\x00" not in text


def test_only_the_first_four_kilobytes_are_read_and_shown(client: Client) -> None:
    log_in(client, Role.WAREHOUSE_SUPERVISOR)
    body = b"a" * (SHOWN_BYTES - 1) + "汉字".encode() + b"END"
    InboxMessageFactory.create(state="dead", body=body)
    text = client.get(reverse("warroom:quarantine")).content.decode()
    assert "a" * (SHOWN_BYTES - 1) in text
    assert "END" not in text
    assert f"{len(body)} 字节" in text
    assert inert(body[:SHOWN_BYTES]) == "a" * (SHOWN_BYTES - 1)


def test_pages_of_quarantine_follow_each_other_without_a_gap(client: Client) -> None:
    log_in(client, Role.WAREHOUSE_SUPERVISOR)
    made = {InboxMessageFactory.create(state="dead").pk for _ in range(51)}
    first = client.get(reverse("warroom:quarantine"))
    before = first.context["quarantine"].before
    second = client.get(reverse("warroom:quarantine"), {"before": str(before)})
    shown = [
        message.id for page in (first, second) for message in page.context["quarantine"].messages
    ]
    assert shown == sorted(made, reverse=True)
    assert client.get(reverse("warroom:quarantine"), {"before": "9" * 40}).status_code == 200


def test_a_replayed_message_goes_back_to_the_inbox_with_a_record(client: Client) -> None:
    log_in(client, Role.OPERATIONS_SUPERVISOR)
    message = InboxMessageFactory.create(state="dead", attempts=8, error="坏了")
    address = reverse("warroom:replay", args=[message.pk])
    answer = client.post(address, {"reason": "商品映射已补好"})
    assert answer.status_code == 302
    message.refresh_from_db()
    assert (message.state, message.attempts) == (InboxMessage.State.NEW, 0)
    record = AuditRecord.objects.get(action=Action.MESSAGE_REPLAYED)
    assert record.reason == "商品映射已补好"
    assert client.post(address, {"reason": "商品映射已补好"}).status_code == 302  # pressed twice
    assert AuditRecord.objects.filter(action=Action.MESSAGE_REPLAYED).count() == 1
    nowhere = reverse("warroom:replay", args=[message.pk + 1])
    assert client.post(nowhere, {"reason": "商品映射已补好"}).status_code == 404


@pytest.mark.parametrize("reason", ["", "太短了", " 短短 \n", "长" * 501])
def test_a_replay_without_a_proper_reason_is_refused_beside_its_field(
    client: Client, reason: str
) -> None:
    log_in(client, Role.OPERATIONS_SUPERVISOR)
    message = InboxMessageFactory.create(state="dead")
    answer = client.post(reverse("warroom:replay", args=[message.pk]), {"reason": reason})
    assert answer.status_code == 422
    assert f'id="refusal-{message.pk}"' in answer.content.decode()
    message.refresh_from_db()
    assert message.state == InboxMessage.State.DEAD


def test_a_replay_from_another_site_is_refused() -> None:
    client = Client(enforce_csrf_checks=True)
    log_in(client, Role.OPERATIONS_SUPERVISOR)
    message = InboxMessageFactory.create(state="dead")
    answer = client.post(reverse("warroom:replay", args=[message.pk]), {"reason": "五个字以上"})
    assert answer.status_code == 403
    message.refresh_from_db()
    assert message.state == InboxMessage.State.DEAD
