"""Dead letters on their page and in the admin: sent again, settled, once each."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.test import Client

from channels_sync.models import OutboundMessage, PublishedStock
from fulfillment.models import StageTask
from ordercenter.audit.models import AuditRecord
from ordercenter.core.actor import Actor
from ordercenter.core.clock import now
from ordercenter.core.errors import NotAllowed
from ordercenter.core.policy import Role
from ordercenter.orders.errors import BadReason
from ordercenter.pipeline import dead, sending
from ordercenter.pipeline.failing import UNKNOWN
from tests.factories import (
    ListingFactory,
    OutboundMessageFactory,
    SalesOrderFactory,
    StageTaskFactory,
    user_with,
)

REASON = "平台已恢复，重新发送"
PAGE = "/shops/outbox/"


def letter(**fields: object) -> OutboundMessage:
    facts = {
        "state": "dead", "error": "订单已退款", "tries": 7,
        "created_at": now() - timedelta(days=3),
        "payload": {"carrier": "sf", "tracking_number": "SF1"},
    } | fields  # fmt: skip
    made: OutboundMessage = OutboundMessageFactory.create(**facts)
    return made


@pytest.fixture
def boss(db: None) -> User:
    return user_with(Role.OPERATIONS_SUPERVISOR)


@pytest.fixture
def browser(boss: User) -> Client:
    client = Client()
    client.force_login(boss)
    return client


def post(browser: Client, verb: str, *messages: OutboundMessage, reason: str = REASON) -> int:
    data = {"verb": verb, "message": [m.pk for m in messages], "reason": reason}
    return browser.post(f"{PAGE}act/", data).status_code


def test_the_page_tells_what_why_since_when_and_how_often(browser: Client) -> None:
    order = SalesOrderFactory.create()
    letter(order_id=order.pk)
    letter(state="waiting", is_doubtful=True, error="timeout")
    letter(state="waiting")
    letter(state="done")
    page = browser.get(PAGE).content.decode()
    for words in (order.number, "sf SF1", "订单已退款", "3 天", "试过 7 次", "结果不明"):
        assert words in page
    assert page.count('name="message"') == 2
    assert page.index("订单已退款") < page.index("timeout")


def test_it_shows_figures_a_platform_does_not_take(browser: Client) -> None:
    PublishedStock.objects.create(
        listing=ListingFactory.create(code="SOFA-9"), version=2, quantity=3, told=5,
        refused_until=now() + timedelta(minutes=9), refusal="活动商品不能减库存",
    )  # fmt: skip
    page = browser.get(PAGE).content.decode()
    assert "SOFA-9" in page
    assert "活动商品不能减库存" in page


def test_sent_again_it_has_all_its_time_and_the_record_says_who(
    browser: Client, boss: User
) -> None:
    first, second = letter(), letter(is_doubtful=True)
    assert post(browser, "resend", first, second) == 302
    first.refresh_from_db()
    assert (first.state, first.tries, first.error) == ("waiting", 0, "")
    assert first.created_at > now() - timedelta(minutes=1)
    assert first.due_at <= now()
    assert post(browser, "resend", first, second) == 302
    assert AuditRecord.objects.filter(action="message_replayed").count() == 2
    record = AuditRecord.objects.filter(object_id=first.pk).get()
    assert (record.object_type, record.reason) == ("outbound", REASON)
    assert record.change["was"]["tries"] == 7


def test_a_settled_notice_ends_the_stage(browser: Client) -> None:
    order = SalesOrderFactory.create(status="shipped")
    task = StageTaskFactory.create(order=order, stage="notify")
    message = letter(order_id=order.pk)
    assert post(browser, "settle", message) == 302
    message.refresh_from_db()
    assert (message.state, message.settled_reason) == ("settled", REASON)
    assert StageTask.objects.get(pk=task.pk).state == "done"
    assert post(browser, "settle", message) == 302
    assert AuditRecord.objects.filter(action="message_settled").count() == 1


def test_what_was_delivered_meanwhile_stays_delivered(browser: Client) -> None:
    message = letter(state="done", error="")
    for verb in ("resend", "settle"):
        assert post(browser, verb, message) == 302
    message.refresh_from_db()
    assert message.state == "done"
    assert not AuditRecord.objects.filter(object_id=message.pk, object_type="outbound").exists()


def test_without_a_reason_or_a_tick_nothing_happens(browser: Client) -> None:
    message = letter()
    assert post(browser, "resend", message, reason="短") == 422
    assert post(browser, "resend") == 422
    message.refresh_from_db()
    assert message.state == "dead"


def test_who_only_looks_has_no_buttons(db: None) -> None:
    letter()
    client = Client()
    client.force_login(user_with(Role.IT))
    page = client.get(PAGE).content.decode()
    assert "订单已退款" in page
    assert "重发所选" not in page


def test_the_right_is_asked_for_in_the_service_too(db: None) -> None:
    user = user_with(Role.IT)
    for act in (dead.resend, dead.settle):
        with pytest.raises(NotAllowed):
            act([letter().pk], user=user, actor=Actor.person(user), reason=REASON)
        boss = user_with(Role.WAREHOUSE_SUPERVISOR)
        with pytest.raises(BadReason):
            act([letter().pk], user=boss, actor=Actor.person(boss), reason="短")


class Platform:
    """Cannot be asked; counts what it was told."""

    repeatable: frozenset[type] = frozenset()

    def __init__(self) -> None:
        self.told = 0

    def write_memo(self, _memo: object) -> None:
        self.told += 1

    def knows(self, _told: object) -> None:
        return None


def test_a_doubt_a_person_has_looked_into_is_sent_once(
    boss: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The platform cannot say; the person's word counts for one try."""
    platform = Platform()
    monkeypatch.setattr(sending, "connector_for", lambda *_: platform)
    message = letter(
        kind="memo", order_id=None, is_doubtful=True,
        payload={"channel_number": "1", "text": "好", "flag": None},
    )  # fmt: skip
    dead.resend([message.pk], user=boss, actor=Actor.person(boss), reason=REASON)
    assert sending.send_out() == "1 messages delivered"
    assert platform.told == 1
    OutboundMessage.objects.filter(pk=message.pk).update(
        state="waiting", is_doubtful=True, due_at=now()
    )
    sending.send_out()
    message.refresh_from_db()
    assert (message.state, message.error, platform.told) == ("dead", UNKNOWN, 1)


def test_in_the_admin_a_letter_is_sent_again_by_an_action(browser: Client) -> None:
    first, second = letter(), letter(state="done")
    data = {
        "action": "resend", "_selected_action": [first.pk, second.pk], "confirmed": "1",
        "reason": REASON, "count": "2", "index": "0",
    }  # fmt: skip
    page = browser.post("/admin/channels_sync/outboundmessage/", data, follow=True)
    first.refresh_from_db()
    assert first.state == "waiting"
    assert "无需再操作" in page.content.decode()


@pytest.mark.django_db(transaction=True)
def test_two_people_who_click_at_once_send_it_once(
    run_together: Callable[..., list[int]],
) -> None:
    """K29: the second waits for the first, and finds nothing dead."""
    users = [user_with(role) for role in (Role.WAREHOUSE_SUPERVISOR, Role.OPERATIONS_SUPERVISOR)]
    message = letter()
    calls = [
        lambda user=user: dead.resend(
            [message.pk], user=user, actor=Actor.person(user), reason=REASON
        )
        for user in users
    ]
    assert sorted(run_together(*calls)) == [0, 1]
    assert AuditRecord.objects.filter(action="message_replayed").count() == 1
