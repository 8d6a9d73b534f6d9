"""Frozen orders: somebody asks, somebody else with the right answers."""

import pytest

from ordercenter.audit.models import Action, AuditRecord
from ordercenter.core.policy import Role
from ordercenter.orders.models import OrderHold
from ordercenter.orders.states import Disposition, OrderStatus
from tests.console.conftest import AsRole, decision, held_order

pytestmark = pytest.mark.django_db


@pytest.fixture
def asked(as_role: AsRole) -> OrderHold:
    """A frozen order for which the supervisor has asked."""
    hold = held_order(tier="3")
    supervisor = as_role(Role.WAREHOUSE_SUPERVISOR, username="supervisor")
    post = decision(hold, "ask", reason="电话核实为企业团购")
    assert supervisor.post(f"/orders/{hold.order.number}/decide/", post).status_code == 302
    hold.refresh_from_db()
    hold.order.refresh_from_db()
    assert hold.disposition == Disposition.ESCALATED
    return hold


def path_of(hold: OrderHold) -> str:
    return f"/orders/{hold.order.number}/decide/"


def test_the_ceo_sees_who_asked_and_why_and_lets_it_go(as_role: AsRole, asked: OrderHold) -> None:
    ceo = as_role(Role.CEO)
    page = ceo.get("/approvals/").content.decode()
    assert "supervisor" in page
    assert "电话核实为企业团购" in page
    assert 'value="approve"' in page
    post = decision(asked, "approve", reason="已核对依据，同意放行", back="/approvals/")
    answer = ceo.post(path_of(asked), post)
    assert answer["Location"] == "/approvals/"
    asked.order.refresh_from_db()
    assert asked.order.status == OrderStatus.ROUTED
    assert not OrderHold.objects.open().filter(order=asked.order).exists()


def test_a_refusal_sends_the_card_back_to_the_wall(as_role: AsRole, asked: OrderHold) -> None:
    post = decision(asked, "refuse", reason="依据不足，不予放行")
    assert as_role(Role.CEO).post(path_of(asked), post).status_code == 302
    asked.refresh_from_db()
    assert asked.disposition == Disposition.WAITING
    assert asked.released_at is None
    assert AuditRecord.objects.filter(action=Action.RELEASE_REFUSED).exists()


@pytest.mark.parametrize(
    "role",
    [Role.WAREHOUSE_SUPERVISOR, Role.OPERATIONS_SUPERVISOR, Role.REVIEWER],
)
def test_others_look_and_may_not_answer(as_role: AsRole, asked: OrderHold, role: Role) -> None:
    client = as_role(role, username="other")
    page = client.get("/approvals/")
    assert page.status_code == 200
    assert 'value="approve"' not in page.content.decode()
    for verb in ("approve", "refuse"):
        answer = client.post(path_of(asked), decision(asked, verb))
        assert answer.status_code == 403
    asked.refresh_from_db()
    assert asked.released_at is None
    assert asked.disposition == Disposition.ESCALATED


def test_who_asked_cannot_approve_even_as_ceo(as_role: AsRole) -> None:
    hold = held_order(tier="3")
    ceo = as_role(Role.CEO)
    assert ceo.post(path_of(hold), decision(hold, "ask")).status_code == 302
    hold.order.refresh_from_db()
    page = ceo.get("/approvals/").content.decode()
    assert 'value="approve"' not in page
    assert "须由他人批准" in page
    answer = ceo.post(path_of(hold), decision(hold, "approve"))
    assert answer.status_code == 403
    assert "不能批准自己提出的申请" in answer.content.decode()


def test_a_request_that_changed_since_it_was_shown_is_not_approved(
    as_role: AsRole, asked: OrderHold
) -> None:
    stale = decision(asked, "approve")
    post = decision(asked, "return", reason="地址还要补充")
    assert as_role(Role.REVIEWER).post(path_of(asked), post).status_code == 302
    assert as_role(Role.CEO).post(path_of(asked), stale).status_code == 409
    asked.refresh_from_db()
    assert asked.released_at is None


def test_a_frozen_order_nobody_asked_for_has_no_buttons(as_role: AsRole) -> None:
    held_order(tier="3")
    page = as_role(Role.CEO).get("/approvals/").content.decode()
    assert "尚无人申请解冻" in page
    assert 'value="approve"' not in page


def test_no_frozen_orders_is_said(as_role: AsRole) -> None:
    assert "没有冻结的订单" in as_role(Role.CEO).get("/approvals/").content.decode()
