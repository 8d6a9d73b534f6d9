"""Trusted customers: what lets them pass, for how long, and what never does."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext

from ordercenter.audit.models import Action, AuditRecord
from ordercenter.core.clock import now as clock_now
from ordercenter.core.errors import InvalidInput, NotAllowed
from ordercenter.core.policy import Role
from ordercenter.orders.errors import BadReason
from ordercenter.orders.models import SalesOrder
from risk import exemptions, lists
from risk.contracts import Subject
from risk.exemptions import end_exemption, exempt, exempt_orders, is_exempt
from risk.models import Exemption, RuleList
from tests.factories import user_with
from tests.pipeline.seller import Seller, buyer, draft, holds, line, open_seller, take_one
from tests.risk.rule_life import a_rule, live

pytestmark = pytest.mark.django_db
REASON = "老客户，多年无纠纷"
MONTH = timedelta(days=30)


@pytest.fixture
def seller() -> Seller:
    return open_seller()


@pytest.fixture
def keeper() -> User:
    return user_with(Role.WAREHOUSE_SUPERVISOR)


def trust(order: SalesOrder, user: User, **more: Any) -> Exemption:
    values = {"key": "buyer", "until": clock_now() + MONTH, "reason": REASON, **more}
    return exempt(order.pk, user=user, **values)


def as_subject(order: SalesOrder) -> Subject:
    keys = order.evidence
    return Subject(
        order.pk, order.number, order.placed_at, order.payable_amount, keys.buyer_key,
        keys.device_key, keys.phone_key, keys.address_key, keys.ip, (),
    )  # fmt: skip


def test_a_trusted_customer_passes_rules_of_tier_2_from_his_next_order_on(
    seller: Seller, keeper: User
) -> None:
    live(a_rule(value="100"))
    first = take_one(seller.shop, draft(evidence=buyer("b1")))
    assert holds(first) == {"rule:dear"}
    trust(first, keeper)
    second = take_one(seller.shop, draft(evidence=buyer("b1")))
    stranger = take_one(seller.shop, draft(evidence=buyer("b2")))
    assert (holds(second), holds(stranger)) == (set(), {"rule:dear"})


def test_tier_3_stops_a_trusted_customer_like_anybody(seller: Seller, keeper: User) -> None:
    live(a_rule("frozen", value="100", tier="3"), a_rule("held", value="100"))
    first = take_one(seller.shop, draft(evidence=buyer("b1")))
    trust(first, keeper)
    second = take_one(seller.shop, draft(evidence=buyer("b1")))
    assert holds(second) == {"rule:frozen"}


def test_one_rule_alone_may_be_meant(seller: Seller, keeper: User) -> None:
    live(a_rule("a", value="100"), a_rule("b", value="100"))
    first = take_one(seller.shop, draft(evidence=buyer("b1")))
    trust(first, keeper, rule_code="a")
    assert holds(take_one(seller.shop, draft(evidence=buyer("b1")))) == {"rule:b"}


def test_a_customer_on_a_trusted_list_needs_no_exemption(seller: Seller, keeper: User) -> None:
    live(a_rule(value="100"))
    first = take_one(seller.shop, draft(evidence=buyer("b1")))
    RuleList.objects.create(code="vip", name="vip", kind="trusted", key="buyer")
    lists.add_entries("vip", [lists.Told(first.number, REASON)], user=keeper)
    assert holds(take_one(seller.shop, draft(evidence=buyer("b1")))) == set()


def test_an_exemption_counts_from_its_making_to_its_end(seller: Seller, keeper: User) -> None:
    order = take_one(seller.shop, draft(evidence=buyer("b1")))
    start = clock_now()
    made = trust(order, keeper, now=start, until=start + MONTH)
    subject = as_subject(order)

    def passes(at: datetime) -> bool:
        return is_exempt(exempt_orders([subject], at), order.pk, "any")

    tick = timedelta(microseconds=1)
    moments = (start - tick, start, start + MONTH - tick, start + MONTH)
    assert [passes(at) for at in moments] == [False, True, True, False]
    end_exemption(made.pk, user=keeper, reason=REASON)
    end_exemption(made.pk, user=keeper, reason=REASON)
    assert not passes(start)
    acts = AuditRecord.objects.filter(object_type="exemption").values_list("action", flat=True)
    assert sorted(acts) == [Action.EXEMPTION_ENDED, Action.EXEMPTION_MADE]


def test_the_same_again_moves_the_end(seller: Seller, keeper: User) -> None:
    order = take_one(seller.shop, draft(evidence=buyer("b1")))
    trust(order, keeper)
    trust(order, keeper, until=clock_now() + 2 * MONTH)
    assert Exemption.objects.count() == 2
    assert exemptions.open_exemptions().count() == 1


def test_nobody_is_trusted_for_more_than_half_a_year_or_for_nothing(
    seller: Seller, keeper: User
) -> None:
    order = take_one(seller.shop, draft(evidence=buyer("b1")))
    now = clock_now()
    trust(order, keeper, now=now, until=now + timedelta(days=180))
    for until in (now, now + timedelta(days=180, seconds=1)):
        with pytest.raises(InvalidInput):
            trust(order, keeper, now=now, until=until)
    for key in ("device", "sku", "nonsense"):
        with pytest.raises(InvalidInput):
            trust(order, keeper, key=key)
    with pytest.raises(BadReason):
        trust(order, keeper, reason="好")


@pytest.mark.parametrize("role", [Role.REVIEWER, Role.CLERK, Role.CEO])
def test_only_who_keeps_lists_trusts_customers(seller: Seller, role: Role) -> None:
    order, user = take_one(seller.shop, draft(evidence=buyer("b1"))), user_with(role)
    with pytest.raises(NotAllowed):
        trust(order, user)
    with pytest.raises(NotAllowed):
        end_exemption(1, user=user, reason=REASON)


def test_a_batch_is_asked_about_in_one_statement(seller: Seller, keeper: User) -> None:
    orders = [take_one(seller.shop, draft(line(), evidence=buyer(f"b{n}"))) for n in range(5)]
    trust(orders[0], keeper)
    subjects = [as_subject(order) for order in orders]
    with CaptureQueriesContext(connection) as seen:
        found = exempt_orders(subjects, clock_now())
    assert len(seen) == 1
    assert found == {orders[0].pk: frozenset({exemptions.EVERY_RULE})}
