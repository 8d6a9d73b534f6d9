"""K08, K09, K10, K24: a release and a new hold, two at one card, approve and withdraw, a role lost.

Every race has a control: with its guard taken away the rule is broken, or the next wall holds.
"""

import threading
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError

from ordercenter.catalog.models import Shop
from ordercenter.core.actor import Actor
from ordercenter.core.clock import now as clock_now
from ordercenter.core.errors import NotAllowed
from ordercenter.core.policy import Role
from ordercenter.orders.errors import NothingToRelease, StaleOrder
from ordercenter.orders.models import CardClaim, OrderHold, SalesOrder
from ordercenter.orders.states import OrderStatus
from ordercenter.pipeline import claims, decisions, delegation, holding, path, work
from ordercenter.pipeline.claims import CardTaken, Claim, claim_card
from tests.factories import user_with
from tests.invariants.world import REASON, draft, line, stocked_shop, take_in
from tests.races.tools import SURE, Gap, meeting, red, unlocked, without

pytestmark = pytest.mark.django_db(transaction=True)
ROUNDS = 20


@pytest.fixture
def shop() -> Shop:
    return stocked_shop()


@pytest.fixture
def ann() -> User:
    return user_with(Role.REVIEWER, username="ann")


@pytest.fixture
def bob() -> User:
    return user_with(Role.REVIEWER, username="bob")


@pytest.fixture
def ceo() -> User:
    return user_with(Role.CEO, username="ceo")


def flagged(shop: Shop) -> SalesOrder:
    """Held by rules of tier 2."""
    (order,) = take_in(shop, draft(line(amount="80.00")))
    return order


def asked(shop: Shop, asker: User) -> SalesOrder:
    """Frozen, and somebody has asked to let it go."""
    (order,) = take_in(shop, draft(line(amount="50.00")))
    decisions.ask_release(order.pk, reason=REASON, **seen_by(asker, order))
    order.refresh_from_db()
    return order


def seen_by(user: User, order: SalesOrder) -> dict[str, Any]:
    return {"user": user, "actor": Actor.person(user), "seen_version": order.version}


def release(order: SalesOrder, user: User) -> None:
    ids = list(OrderHold.objects.open().filter(order=order).values_list("pk", flat=True))
    decisions.release_order(order.pk, ids, reason=REASON, **seen_by(user, order))


def freeze(order: SalesOrder, user: User) -> None:
    decisions.freeze_order(order.pk, user=user, actor=Actor.person(user), reason=REASON)


def approve(order: SalesOrder, user: User) -> None:
    decisions.approve_release(order.pk, reason=REASON, **seen_by(user, order))


def withdraw(order: SalesOrder, user: User) -> None:
    decisions.withdraw_request(order.pk, reason=REASON, **seen_by(user, order))


def as_side(name: str, act: Callable[[], Any]) -> Callable[[], Any]:
    def side() -> Any:
        threading.current_thread().name = name
        return act()

    return side


def both_in_hand(patch: pytest.MonkeyPatch, *sides: str) -> None:
    """Let these sides meet once each has its order in hand."""
    plain, meet = work.load, meeting(len(sides))

    def load(order_ids: Any) -> Any:
        works = plain(order_ids)
        if works and threading.current_thread().name in sides:
            meet()
        return works

    patch.setattr(decisions, "load", load)


def test_a_hold_that_ended_by_itself_leaves_the_books_in_order(shop: Shop, ann: User) -> None:
    (order,) = take_in(shop, draft())
    until = clock_now() + timedelta(hours=1)
    holding.hold_until(order.pk, until=until, rush_after=True, reason=REASON, **seen_by(ann, order))
    assert red() == set()
    holding.expire_holds(now=until)
    assert not OrderHold.objects.open().filter(order=order).exists()
    assert red() == set()
    OrderHold.objects.filter(order=order).update(expires_at=until + timedelta(hours=1))
    assert red() == {"R2"}  # a job that lifts what had not ended yet is found


# --- K08: release of one hold against a new hold ---------------------------------------------


def race_hold(
    order: SalesOrder, ann: User, bob: User, run_together: Any, patch: pytest.MonkeyPatch
) -> list[Any]:
    both_in_hand(patch, "release", "freeze")
    results: list[Any] = run_together(
        as_side("release", partial(release, order, ann)),
        as_side("freeze", partial(freeze, order, bob)),
    )
    return results


def stands(order: SalesOrder) -> bool:
    """A hold is open, and the order has not gone on past it."""
    order.refresh_from_db()
    held = OrderHold.objects.open().filter(order=order)
    return held.exists() and order.status != OrderStatus.SHIPPED


def test_k08_whoever_comes_second_a_new_hold_stands(
    shop: Shop, ann: User, bob: User, run_together: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = flagged(shop)
    released, frozen = race_hold(order, ann, bob, run_together, monkeypatch)
    assert frozen is None
    assert released is None or isinstance(released, StaleOrder)
    assert stands(order)
    assert OrderHold.objects.open().get(order=order, kind="person")
    assert red() == set()


def test_k08_control_without_the_lock_the_trail_refuses_one(
    shop: Shop, ann: User, bob: User, run_together: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = flagged(shop)
    unlocked(monkeypatch, "orders_salesorder")
    results = race_hold(order, ann, bob, run_together, monkeypatch)
    assert [type(result) for result in results].count(IntegrityError) == 1
    assert red() == set()


def test_k08_control_without_lock_and_trail_two_changes_are_one_version(
    shop: Shop, ann: User, bob: User, run_together: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = flagged(shop)
    with without(walls=["audit_version_once"]):
        unlocked(monkeypatch, "orders_salesorder")
        assert race_hold(order, ann, bob, run_together, monkeypatch) == [None, None]
        assert red(but=["W1"]) >= {"A1"}


# --- K09: two reviewers, one card ------------------------------------------------------------


def take_card(order: SalesOrder, user: User) -> Claim:
    return claim_card(order.pk, user=user)


def test_k09_one_of_many_gets_the_card_and_the_others_learn_who(
    shop: Shop, run_together: Any
) -> None:
    people = [user_with(Role.REVIEWER, username=f"reviewer{n}") for n in range(6)]
    for _round in range(ROUNDS):
        order = flagged(shop)
        results = run_together(*(partial(take_card, order, user) for user in people))
        got = [one for one in results if isinstance(one, Claim)]
        assert len(got) == 1, results
        assert all(isinstance(one, CardTaken) for one in results if one not in got)
        assert CardClaim.objects.get(order=order).user_id == got[0].user_id
        CardClaim.objects.all().delete()


def test_k09_a_card_that_ran_out_goes_to_one(shop: Shop, run_together: Any) -> None:
    people = [user_with(Role.REVIEWER, username=f"reviewer{n}") for n in range(4)]
    late = user_with(Role.REVIEWER, username="late")
    for _round in range(ROUNDS):
        order = flagged(shop)
        claim_card(order.pk, user=late)
        CardClaim.objects.update(expires_at=clock_now())
        results = run_together(*(partial(take_card, order, user) for user in people))
        assert sum(isinstance(one, Claim) for one in results) == 1, results
        CardClaim.objects.all().delete()


def test_k09_control_without_its_condition_two_believe_to_have_the_card(
    shop: Shop, ann: User, bob: User, run_together: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = flagged(shop)
    bare = claims._CLAIM.replace(
        "WHERE c.user_id = excluded.user_id OR c.expires_at <= %(now)s", ""
    )
    assert bare != claims._CLAIM
    monkeypatch.setattr(claims, "_CLAIM", bare)
    results = run_together(partial(take_card, order, ann), partial(take_card, order, bob))
    assert all(isinstance(one, Claim) for one in results)


def test_k09_two_decisions_on_one_card_are_one(
    shop: Shop, ann: User, bob: User, run_together: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = flagged(shop)
    both_in_hand(monkeypatch, "ann", "bob")
    results = run_together(
        as_side("ann", partial(release, order, ann)), as_side("bob", partial(release, order, bob))
    )
    assert sorted(type(one).__name__ for one in results) == ["NoneType", "StaleOrder"]
    assert red() == set()


# --- K10: the CEO approves while the asker withdraws -----------------------------------------


def race_request(
    order: SalesOrder, ceo: User, asker: User, run_together: Any, patch: pytest.MonkeyPatch
) -> list[Any]:
    """The approval has seen the request when that is withdrawn, and is written after it."""
    gap, plain = Gap(), path.take

    def take(works: Any, **facts: Any) -> Any:
        if threading.current_thread().name == "approve":
            gap.happened("seen")
            gap.wait_for("withdrawn")
        return plain(works, **facts)

    def withdrawing() -> None:
        assert gap.event("seen").wait(SURE)
        try:
            withdraw(order, asker)
        finally:
            gap.happened("withdrawn")

    patch.setattr(decisions, "take", take)
    results: list[Any] = run_together(as_side("approve", partial(approve, order, ceo)), withdrawing)
    return results


def test_k10_a_request_is_approved_or_withdrawn_never_both(
    shop: Shop, ann: User, ceo: User, run_together: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = asked(shop, ann)
    approved, withdrawn = race_request(order, ceo, ann, run_together, monkeypatch)
    assert approved is None
    assert isinstance(withdrawn, StaleOrder)
    assert not OrderHold.objects.open().filter(order=order, tier="3").exists()
    assert red() == set()


def test_k10_whichever_is_first_the_other_is_refused(
    shop: Shop, ann: User, ceo: User, run_together: Any
) -> None:
    for _round in range(ROUNDS // 2):
        order = asked(shop, ann)
        approved, withdrawn = run_together(
            partial(approve, order, ceo), partial(withdraw, order, ann)
        )
        assert {type(approved), type(withdrawn)} <= {type(None), StaleOrder, NothingToRelease}
        assert (approved is None) != (withdrawn is None)
        frozen = OrderHold.objects.open().filter(order=order, tier="3").exists()
        assert frozen == (withdrawn is None)
    assert red() == set()


def test_k10_an_edit_in_between_refuses_the_approval(shop: Shop, ann: User, ceo: User) -> None:
    order = asked(shop, ann)
    freeze(order, ann)
    with pytest.raises(StaleOrder):
        approve(order, ceo)
    assert OrderHold.objects.open().filter(order=order, tier="3").exists()


def test_k10_control_without_the_lock_the_trail_refuses_one(
    shop: Shop, ann: User, ceo: User, run_together: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = asked(shop, ann)
    unlocked(monkeypatch, "orders_salesorder")
    results = race_request(order, ceo, ann, run_together, monkeypatch)
    assert [type(result) for result in results].count(IntegrityError) == 1
    assert red() == set()


def test_k10_control_without_lock_and_trail_both_happen(
    shop: Shop, ann: User, ceo: User, run_together: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = asked(shop, ann)
    with without(walls=["audit_version_once", "tier3_release_was_asked"]):
        unlocked(monkeypatch, "orders_salesorder")
        assert race_request(order, ceo, ann, run_together, monkeypatch) == [None, None]
        assert red(but=["W1"]) >= {"A1"}


# --- K24: a role is taken away against an approval -------------------------------------------


def race_role(
    order: SalesOrder,
    ceo: User,
    revoke: Callable[[], Any],
    run_together: Any,
    patch: pytest.MonkeyPatch,
) -> tuple[Any, list[str]]:
    """The approval has seen its right when that is taken away. Return its end, and the order
    in which the two were over."""
    gap, over = Gap(), list[str]()
    plain = delegation.require_approval

    def require(user: User, **facts: Any) -> None:
        plain(user, **facts)
        gap.happened("seen")
        gap.wait_for("revoked")

    def approving() -> None:
        approve(order, ceo)
        over.append("approved")

    def revoking() -> None:
        assert gap.event("seen").wait(SURE)
        revoke()
        over.append("revoked")
        gap.happened("revoked")

    patch.setattr(decisions, "require_approval", require)
    approved, revoked = run_together(approving, revoking)
    assert revoked is None
    return approved, over


def test_k24_a_role_is_lost_after_the_approval_or_before_it(
    shop: Shop, ann: User, ceo: User, run_together: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = asked(shop, ann)
    approved, over = race_role(order, ceo, ceo.groups.clear, run_together, monkeypatch)
    assert approved is None
    assert over == ["approved", "revoked"]
    again = asked(shop, ann)
    with pytest.raises(NotAllowed):
        approve(again, ceo)  # his session still believes in the role; the table does not


def test_k24_control_without_the_lock_the_approval_commits_after_the_role_was_lost(
    shop: Shop, ann: User, ceo: User, run_together: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = asked(shop, ann)
    unlocked(monkeypatch, "auth_user")
    approved, over = race_role(order, ceo, ceo.groups.clear, run_together, monkeypatch)
    assert approved is None
    assert over == ["revoked", "approved"]


@pytest.fixture
def lent(shop: Shop, ann: User, bob: User, ceo: User) -> tuple[SalesOrder, Callable[[], Any]]:
    """An order Ann asked for, which Bob may approve in the CEO's stead, and what ends that."""
    now = clock_now()
    ends_at = now + delegation.LONGEST
    actor = Actor.person(ceo)
    made = delegation.delegate(
        bob, starts_at=now, ends_at=ends_at, reason=REASON, user=ceo, actor=actor
    )
    return asked(shop, ann), partial(delegation.take_back, made.pk, user=ceo, actor=actor)


def test_k24_a_delegation_is_taken_back_after_the_approval_or_before_it(
    lent: tuple[SalesOrder, Any], bob: User, run_together: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    order, back = lent
    approved, over = race_role(order, bob, back, run_together, monkeypatch)
    assert approved is None
    assert over == ["approved", "revoked"]
    assert red() == set()


def test_k24_control_without_the_lock_a_delegation_outlives_its_end(
    lent: tuple[SalesOrder, Any], bob: User, run_together: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    order, back = lent
    unlocked(monkeypatch, "orders_delegation")
    approved, over = race_role(order, bob, back, run_together, monkeypatch)
    assert approved is None
    assert over == ["revoked", "approved"]
    assert red() == {"R2"}
