"""Quarantine shows bytes that do nothing, and puts a message back with a reason on record."""

import pytest
from django.test import Client
from django.urls import reverse

from channels_sync.models import InboxMessage
from ordercenter.audit.models import Action, AuditRecord
from ordercenter.core.policy import Role
from ordercenter.warroom.quarantine import SHOWN_BYTES, inert
from tests.factories import InboxMessageFactory, user_with

pytestmark = pytest.mark.django_db


def log_in(client: Client, role: Role) -> None:
    client.force_login(user_with(role), backend="django.contrib.auth.backends.ModelBackend")


def test_only_who_may_replay_sees_the_way_to_the_bytes(client: Client) -> None:
    log_in(client, Role.IT)
    assert reverse("warroom:quarantine") not in client.get("/shops/").content.decode()
    log_in(client, Role.OPERATIONS_SUPERVISOR)
    assert reverse("warroom:quarantine") in client.get("/shops/").content.decode()


def test_quarantined_bytes_are_inert_text_with_their_reason(client: Client) -> None:
    log_in(client, Role.WAREHOUSE_SUPERVISOR)
    InboxMessageFactory.create(
        state="dead",
        shop__channel="taobao",
        body=b'{"title": "x <script>alert(1)</script>\x00\xff\xe2\x80\xae"}',
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
