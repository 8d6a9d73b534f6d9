"""One card, one person: taken, kept, run out, decided."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import User

from ordercenter.core.clock import now as clock_now
from ordercenter.core.errors import NotAllowed, NotFound
from ordercenter.core.policy import Role
from ordercenter.orders.models import CardClaim, SalesOrder
from ordercenter.pipeline import claims, decisions
from ordercenter.pipeline.claims import CardTaken, claim_card, claims_of, leave_card
from tests.factories import user_with
from tests.pipeline.seller import REASON, Seller, as_person, draft, hold_ids, holds, line, take_one

pytestmark = pytest.mark.django_db


@pytest.fixture
def card(seller: Seller) -> SalesOrder:
    """An order held by a rule of tier 2."""
    return take_one(seller.shop, draft(line(amount="80.00")))


@pytest.fixture
def ann() -> User:
    return user_with(Role.REVIEWER, username="ann")


@pytest.fixture
def bob() -> User:
    return user_with(Role.REVIEWER, username="bob")


def release(order: SalesOrder, user: User) -> None:
    decisions.release_order(
        order.pk, hold_ids(order), user=user, actor=as_person(user), seen_version=order.version,
        reason=REASON,
    )  # fmt: skip


def test_a_card_is_one_persons_until_the_time_is_up(card: SalesOrder, ann: User, bob: User) -> None:
    now = clock_now()
    assert claim_card(card.pk, user=ann, now=now).claimed_at == now
    with pytest.raises(CardTaken, match="ann") as refused:
        claim_card(card.pk, user=bob, now=now + claims.LASTS - timedelta(seconds=1))
    assert refused.value.http_status == 409
    taken = claim_card(card.pk, user=bob, now=now + claims.LASTS)
    assert (taken.user_id, taken.claimed_at) == (bob.pk, now + claims.LASTS)


def test_a_claim_that_is_renewed_keeps_its_beginning_and_moves_its_end(
    card: SalesOrder, ann: User, bob: User
) -> None:
    now = clock_now()
    claim_card(card.pk, user=ann, now=now)
    later = now + timedelta(minutes=4)
    again = claim_card(card.pk, user=ann, now=later)
    assert (again.claimed_at, again.expires_at) == (now, later + claims.LASTS)
    with pytest.raises(CardTaken):
        claim_card(card.pk, user=bob, now=now + timedelta(minutes=6))


def test_who_comes_back_after_his_time_begins_anew(card: SalesOrder, ann: User) -> None:
    now = clock_now()
    claim_card(card.pk, user=ann, now=now)
    again = claim_card(card.pk, user=ann, now=now + timedelta(minutes=9))
    assert again.claimed_at == now + timedelta(minutes=9)


def test_a_card_given_back_is_anybodys(card: SalesOrder, ann: User, bob: User) -> None:
    claim_card(card.pk, user=ann)
    assert not leave_card(card.pk, user=bob)
    assert leave_card(card.pk, user=ann)
    assert not leave_card(card.pk, user=ann)
    assert claim_card(card.pk, user=bob).user_id == bob.pk


def test_a_decision_by_somebody_else_says_who_has_the_card_and_since_when(
    card: SalesOrder, ann: User, bob: User
) -> None:
    since = claim_card(card.pk, user=ann).claimed_at
    with pytest.raises(CardTaken, match=f"ann 从 {claims._clock(since)} 起"):
        release(card, bob)
    assert holds(card)
    release(card, ann)
    assert not holds(card)
    assert not CardClaim.objects.filter(order=card).exists()


def test_a_claim_that_ran_out_stops_nobody(card: SalesOrder, ann: User, bob: User) -> None:
    claim_card(card.pk, user=ann, now=clock_now() - claims.LASTS)
    release(card, bob)
    assert not holds(card)
    assert not CardClaim.objects.filter(order=card).exists()


def test_a_freeze_waits_for_no_claim(card: SalesOrder, ann: User, bob: User) -> None:
    claim_card(card.pk, user=ann)
    decisions.freeze_order(card.pk, user=bob, actor=as_person(bob), reason=REASON)
    assert "person:person" in holds(card)


def test_only_who_reviews_takes_a_card_and_only_one_that_is_held(
    seller: Seller, card: SalesOrder, ann: User
) -> None:
    with pytest.raises(NotAllowed):
        claim_card(card.pk, user=user_with(Role.FINANCE))
    free = take_one(seller.shop, draft())
    with pytest.raises(NotFound):
        claim_card(free.pk, user=ann)


def test_claims_that_ran_out_are_not_shown(card: SalesOrder, ann: User) -> None:
    now = clock_now()
    claim_card(card.pk, user=ann, now=now)
    assert claims_of([card.pk], now=now)[card.pk].who == "ann"
    assert claims_of([card.pk], now=now + claims.LASTS) == {}
