"""Trust a customer from his card, and who may not let his own rule's cards go."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from ordercenter.audit.models import Action, AuditRecord
from ordercenter.core.policy import Role
from ordercenter.orders.models import OrderHold, SalesOrder
from risk.models import Exemption
from risk.set_rows import RULE_SET
from tests.console.conftest import AsRole, decision, held_order
from tests.factories import OrderEvidenceFactory, RuleSetFactory

pytestmark = pytest.mark.django_db
SUPERVISOR = Role.OPERATIONS_SUPERVISOR


@pytest.fixture
def hold() -> OrderHold:
    found = held_order()
    OrderEvidenceFactory.create(order=found.order, buyer_key="buyer-1")
    return found


def trust(as_role: AsRole, role: Role, hold: OrderHold, **changes: str) -> int:
    post = decision(hold, "trust", **{"key": "buyer", "days": "30", **changes})
    return as_role(role).post(f"/orders/{hold.order.number}/decide/", post).status_code


def is_open(hold: OrderHold) -> bool:
    return OrderHold.objects.open().filter(pk=hold.pk).exists()


def test_the_order_goes_and_the_customer_is_exempt_for_so_long(
    as_role: AsRole, hold: OrderHold
) -> None:
    assert "信任并通过" in as_role(SUPERVISOR).get(f"/wall/{hold.order.number}/").content.decode()
    assert trust(as_role, SUPERVISOR, hold) == 302
    assert not is_open(hold)
    made = Exemption.objects.get(order=hold.order)
    assert (made.key, made.value, made.rule_code) == ("buyer", "buyer-1", "")
    assert timedelta(days=29) < made.expires_at - timezone.now() <= timedelta(days=30)
    assert AuditRecord.objects.filter(action=Action.EXEMPTION_MADE).count() == 1


@pytest.mark.parametrize(
    ("changes", "status"),
    [({"key": "phone"}, 422), ({"key": "name"}, 422), ({"days": "365"}, 422), ({"days": ""}, 422),
     ({"version": "9"}, 409)],
)  # fmt: skip
def test_both_happen_or_neither(
    as_role: AsRole, hold: OrderHold, changes: dict[str, str], status: int
) -> None:
    assert trust(as_role, SUPERVISOR, hold, **changes) == status
    assert is_open(hold)
    assert not Exemption.objects.exists()


def test_who_keeps_no_lists_trusts_nobody(as_role: AsRole, hold: OrderHold) -> None:
    page = as_role(Role.REVIEWER).get(f"/wall/{hold.order.number}/").content.decode()
    assert 'value="trust"' not in page
    assert trust(as_role, Role.REVIEWER, hold) == 403
    assert is_open(hold)


def test_who_changed_a_rule_today_lets_nothing_go_that_it_held(
    as_role: AsRole, hold: OrderHold
) -> None:
    author = as_role(SUPERVISOR, username="author")
    rules = RuleSetFactory.create(activated_at=timezone.now())
    mark = f"person:{User.objects.get(username='author').pk}"
    change = {"people": [mark], "added": [], "changed": [hold.code], "removed": []}
    AuditRecord.objects.create(
        object_type=RULE_SET, object_id=rules.pk, action=Action.RULES_ACTIVATED,
        actor_kind="person", change=change, created_at=timezone.now(),
    )  # fmt: skip
    path, post = f"/orders/{hold.order.number}/decide/", decision(hold, "release")
    answer = author.post(path, post)
    assert answer.status_code == 403
    assert hold.code in answer.content.decode()
    assert is_open(hold)
    assert SalesOrder.objects.get(pk=hold.order_id).version == hold.order.version
    assert as_role(Role.REVIEWER).post(path, post).status_code == 302
    assert not is_open(hold)
