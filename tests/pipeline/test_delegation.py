"""Whom the CEO lets approve, from when to when, and never his own request."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User

from ordercenter.audit.models import Action, AuditRecord
from ordercenter.core.clock import now as clock_now
from ordercenter.core.errors import InvalidInput, NotAllowed
from ordercenter.core.policy import Role
from ordercenter.orders.errors import NothingToRelease, SelfApproval, StaleOrder
from ordercenter.orders.models import Delegation, SalesOrder
from ordercenter.pipeline import decisions
from ordercenter.pipeline.delegation import AlreadyDelegated, delegate, may_approve, take_back
from tests.factories import user_with
from tests.pipeline.seller import REASON, Seller, as_person, draft, holds, line, take_one

pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)


@pytest.fixture
def ceo() -> User:
    return user_with(Role.CEO, username="ceo")


@pytest.fixture
def asker() -> User:
    return user_with(Role.REVIEWER, username="asker")


@pytest.fixture
def asked(seller: Seller, asker: User) -> SalesOrder:
    """A frozen order for which the reviewer has asked; held by tier 3 alone."""
    order = take_one(seller.shop, draft(line(amount="50.00")))
    decisions.ask_release(
        order.pk, user=asker, actor=as_person(asker), seen_version=order.version, reason=REASON
    )
    order.refresh_from_db()
    return order


def lend(ceo: User, taker: User, **changes: Any) -> Delegation:
    now = clock_now()
    facts = {"starts_at": now - HOUR, "ends_at": now + HOUR, "reason": "总经理出差三天", **changes}
    return delegate(taker, user=ceo, actor=as_person(ceo), **facts)


def approve(order: SalesOrder, user: User) -> None:
    decisions.approve_release(
        order.pk, user=user, actor=as_person(user), seen_version=order.version, reason=REASON
    )


def frozen(order: SalesOrder) -> bool:
    return order.holds.filter(released_at=None, tier="3").exists()


def test_the_taker_approves_meanwhile_in_his_own_name(
    ceo: User, boss: User, asked: SalesOrder
) -> None:
    with pytest.raises(NotAllowed):
        approve(asked, boss)
    made = lend(ceo, boss)
    approve(asked, boss)
    assert not frozen(asked)
    record = AuditRecord.objects.get(object_type="delegation", object_id=made.pk)
    assert (record.action, record.reason) == (Action.APPROVAL_DELEGATED, "总经理出差三天")
    released = AuditRecord.objects.filter(object_id=asked.pk, action=Action.HOLD_RELEASED).get()
    assert released.actor_id == str(boss.pk)


def test_nobody_approves_his_own_request_by_delegation(
    ceo: User, asker: User, asked: SalesOrder
) -> None:
    lend(ceo, asker)
    with pytest.raises(SelfApproval):
        approve(asked, asker)
    assert frozen(asked)


def test_before_after_and_taken_back_it_does_not_count(
    ceo: User, boss: User, asked: SalesOrder
) -> None:
    now = clock_now()
    made = lend(ceo, boss, starts_at=now + HOUR, ends_at=now + 3 * HOUR)
    for moment, counts in ((now, False), (now + 2 * HOUR, True), (now + 3 * HOUR, False)):
        assert may_approve(boss, now=moment) is counts
    with pytest.raises(NotAllowed):
        approve(asked, boss)
    assert take_back(made.pk, user=ceo, actor=as_person(ceo))
    assert not take_back(made.pk, user=ceo, actor=as_person(ceo))
    assert not may_approve(boss, now=now + 2 * HOUR)


def test_it_ends_with_the_givers_office(ceo: User, boss: User, asked: SalesOrder) -> None:
    lend(ceo, boss)
    ceo.groups.clear()
    assert not may_approve(User.objects.get(pk=boss.pk))
    with pytest.raises(NotAllowed):
        approve(asked, boss)


@pytest.mark.parametrize(
    ("starts", "ends"), [(-HOUR, -HOUR / 2), (HOUR, HOUR), (-HOUR, timedelta(days=31))]
)
def test_a_time_that_is_past_empty_or_too_long_is_refused(
    ceo: User, boss: User, starts: timedelta, ends: timedelta
) -> None:
    now: datetime = clock_now()
    with pytest.raises(InvalidInput):
        lend(ceo, boss, starts_at=now + starts, ends_at=now + ends)


def test_only_the_ceo_lends_and_not_to_anybody(ceo: User, boss: User, asker: User) -> None:
    with pytest.raises(NotAllowed):
        lend(boss, asker)
    for taker in (ceo, user_with(Role.PACKER), user_with(Role.CLERK)):
        with pytest.raises(InvalidInput):
            lend(ceo, taker)
    lend(ceo, boss)
    with pytest.raises(AlreadyDelegated):
        lend(ceo, boss)
    assert Delegation.objects.count() == 1


def test_a_request_that_changed_is_not_approved(ceo: User, boss: User, asked: SalesOrder) -> None:
    decisions.freeze_order(asked.pk, user=boss, actor=as_person(boss), reason=REASON)
    with pytest.raises(StaleOrder):
        approve(asked, ceo)
    assert frozen(asked)


def test_the_asker_takes_his_request_back_and_nobody_else_does(
    ceo: User, boss: User, asker: User, asked: SalesOrder
) -> None:
    def withdraw(user: User) -> None:
        decisions.withdraw_request(
            asked.pk, user=user, actor=as_person(user), seen_version=asked.version, reason=REASON
        )

    with pytest.raises(NothingToRelease):
        withdraw(boss)
    withdraw(asker)
    asked.refresh_from_db()
    with pytest.raises(NothingToRelease):
        approve(asked, ceo)
    assert holds(asked)
