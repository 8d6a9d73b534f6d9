"""Rows of class BA and BR that no other file shows, each through the page itself."""

from datetime import timedelta
from urllib.parse import urlencode

import pytest
from django.test import Client
from django.utils import timezone

from ordercenter.audit.models import AuditRecord
from ordercenter.core.policy import Role
from ordercenter.orders.models import OrderHold
from ordercenter.orders.states import HoldKind
from risk.models import RuleSet, Verdict
from tests.console.conftest import AsRole, decision, held_order
from tests.factories import OrderHoldFactory, VerdictFactory

pytestmark = pytest.mark.django_db


def test_ba06_a_form_sent_after_a_freeze_landed_changes_nothing(as_role: AsRole) -> None:
    """The receiver's form was drawn before; the order stays frozen and the form is told so."""
    hold = held_order(kind=HoldKind.INCOMPLETE)
    order, version = hold.order, hold.order.version
    path = f"/orders/{order.number}/"
    supervisor = as_role(Role.WAREHOUSE_SUPERVISOR, username="editor")
    freezer = as_role(Role.OPERATIONS_SUPERVISOR, username="freezer")
    post = {"verb": "freeze", "version": version, "reason": "疑似盗刷，先停下来"}
    assert freezer.post(f"{path}decide/", post).status_code == 302
    form = {"version": version, "name": "李四", "phone": "13900001111"}
    assert supervisor.post(f"{path}receiver/", form).status_code == 409
    order.refresh_from_db()
    assert OrderHold.objects.open().filter(order=order, kind="person").exists()
    assert not AuditRecord.objects.filter(object_id=order.pk, action="receiver_edited").exists()


def test_ba07_approve_pressed_twice_is_one_approval(as_role: AsRole) -> None:
    hold = held_order(tier="3")
    path = f"/orders/{hold.order.number}/decide/"
    assert as_role(Role.REVIEWER).post(path, decision(hold, "ask")).status_code == 302
    hold.order.refresh_from_db()
    ceo, post = as_role(Role.CEO), decision(hold, "approve")
    assert [ceo.post(path, post).status_code for _ in range(2)] == [302, 302]
    assert AuditRecord.objects.filter(object_id=hold.order_id, action="hold_released").count() == 1


def test_ba21_of_two_reviewers_the_second_is_told_who_and_when(as_role: AsRole) -> None:
    hold = held_order()
    path = f"/orders/{hold.order.number}/decide/"
    first = as_role(Role.REVIEWER, username="first")
    second = as_role(Role.REVIEWER, username="second")
    assert first.post(path, decision(hold, "release")).status_code == 302
    answer = second.post(path, decision(hold, "return", reason="地址请再核对"))
    page = answer.content.decode()
    assert answer.status_code == 409
    assert "first" in page
    assert timezone.localtime().strftime("%m-%d") in page
    assert AuditRecord.objects.filter(object_id=hold.order_id).count() == 1


def test_ba22_a_card_left_open_through_lunch_leads_to_log_in_and_the_fresh_wall(
    as_role: AsRole,
) -> None:
    hold = held_order()
    client = as_role(Role.REVIEWER, username="hungry")
    client.cookies.clear()
    answer = client.post(f"/orders/{hold.order.number}/decide/", decision(hold, "release"))
    assert answer.status_code == 302
    assert answer["Location"] == "/admin/login/?next=/wall/"
    hold.refresh_from_db()
    assert hold.released_at is None
    again = Client().get(answer["Location"])
    assert again.status_code == 200
    assert "decide" not in again.content.decode()


def test_br15_cards_of_a_rule_that_was_switched_off_stay_with_their_version(
    as_role: AsRole,
) -> None:
    hold = OrderHoldFactory.create(code="velocity", words="3 小时内 5 单")
    verdict = VerdictFactory.create(
        order=hold.order, rule_set_version=7,
        findings=[{"code": "velocity", "hit": True, "tier": "2", "words": "3 小时内 5 单"}],
    )  # fmt: skip
    at = timezone.now() - timedelta(hours=1)
    RuleSet.objects.create(version=7, rules=[{"code": "velocity", "name": "下单太快"}],
                           committed_at=at)  # fmt: skip
    RuleSet.objects.create(version=8, rules=[], is_live=True, committed_at=at)
    client = as_role(Role.WAREHOUSE_SUPERVISOR)
    assert "3 小时内 5 单" in client.get("/wall/").content.decode()
    page = client.get(f"/orders/{hold.order.number}/").content.decode()
    assert "下单太快" in page
    assert Verdict.objects.get(pk=verdict.pk).rule_set_version == 7
    assert OrderHold.objects.open().filter(pk=hold.pk).exists()


@pytest.mark.parametrize("path", ["/admin/django_q/schedule/add/", "/admin/django_q/schedule/"])
def test_br12_br13_no_page_schedules_a_job(as_role: AsRole, path: str) -> None:
    post = {"name": "evil", "func": "os.system", "args": "'id'", "schedule_type": "C",
            "cron": "* * * * * *"}  # fmt: skip
    client = as_role(*Role)
    assert client.get(path).status_code == 404
    assert client.post(path, post).status_code == 404


def test_x12_releasing_by_hand_posted_by_the_warehouse_is_refused(as_role: AsRole) -> None:
    hold = held_order()
    for role in (Role.PICKER, Role.PACKER, Role.FINANCE):
        path = f"/orders/{hold.order.number}/decide/"
        assert as_role(role).post(path, decision(hold, "release")).status_code in {403, 404}
    hold.refresh_from_db()
    assert hold.released_at is None


def test_x64_no_decision_is_made_by_a_link(as_role: AsRole) -> None:
    hold = held_order(tier="3")
    path = f"/orders/{hold.order.number}/decide/"
    client = as_role(*Role)
    query = urlencode(decision(hold, "approve"))
    assert client.get(f"{path}?{query}").status_code == 405
    assert client.get(f"/orders/{hold.order.number}/proof/").status_code == 405
    assert not AuditRecord.objects.exists()


def test_x65_no_page_can_be_framed_by_another_site(as_role: AsRole) -> None:
    client = as_role(*Role)
    for path in ("/wall/", "/approvals/", "/work/", "/admin/"):
        answer = client.get(path)
        assert answer["X-Frame-Options"] == "DENY"
        assert "frame-ancestors 'none'" in answer["Content-Security-Policy"]
