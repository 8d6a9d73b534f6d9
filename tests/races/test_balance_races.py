"""Two orders are tied while the balance is paid, and while somebody else ties another."""

from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, transaction

from fulfillment.models import Parcel
from inventory.models import Reservation, StockLevel
from ordercenter.core.actor import PIPELINE
from ordercenter.core.clock import now as clock_now
from ordercenter.core.errors import OrderCenterError
from ordercenter.core.policy import Role
from ordercenter.orders.contracts import OrderDraft
from ordercenter.orders.models import SalesOrder
from ordercenter.pipeline import balances, intake, path
from tests.factories import user_with
from tests.pipeline.seller import (
    REASON,
    Seller,
    as_person,
    buyer,
    draft,
    holds,
    line,
    open_seller,
    paid,
    stored,
)
from tests.races.tools import meeting, red, unlocked, without

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def seller() -> Seller:
    return open_seller(stock=10)


@pytest.fixture
def clerk(transactional_db: None) -> User:
    return user_with(Role.OPERATIONS_SUPERVISOR)


def take(seller: Seller, told: OrderDraft) -> None:
    with transaction.atomic():
        intake.take_drafts([(seller.shop.pk, told)], actor=PIPELINE, now=clock_now())


def opened(seller: Seller, *balance: bool) -> tuple[SalesOrder, list[OrderDraft]]:
    """A paid deposit, and as many balances that are not paid."""
    lately = clock_now() - timedelta(days=1)  # no rule asks about two orders within minutes
    first = draft(line(quantity=2), evidence=buyer("mary"), is_deposit=True, at=lately)
    told = [draft(line(quantity=2), evidence=buyer("mary"), paid=False) for _ in balance]
    for one in (first, *told):
        take(seller, one)
    return stored(seller.shop, first), told


def tie(balance: SalesOrder, deposit: SalesOrder, user: User) -> None:
    seen = balances.Seen(balance.pk, balance.version, user, as_person(user), REASON)
    balances.link(seen, deposit.number, as_balance=True)


def both_take(patch: pytest.MonkeyPatch) -> None:
    """Let both sides have their orders in hand before either decides."""
    meet, plain = meeting(2), path.take

    def take_together(works: Any, **facts: Any) -> Any:
        meet()
        return plain(works, **facts)

    patch.setattr(path, "take", take_together)
    patch.setattr("ordercenter.pipeline.intake.take", take_together)


def tied_while_paid(
    seller: Seller, clerk: User, run_together: Any, patch: pytest.MonkeyPatch
) -> tuple[SalesOrder, SalesOrder, list[Any]]:
    deposit, (told,) = opened(seller, True)
    balance = stored(seller.shop, told)
    both_take(patch)
    results = run_together(partial(tie, balance, deposit, clerk), partial(take, seller, paid(told)))
    return deposit, stored(seller.shop, told), results


def test_tied_and_paid_at_once_the_goods_are_held_once(
    seller: Seller, clerk: User, run_together: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who comes second sees what the first did: tied and paid, or paid and its page is stale."""
    deposit, balance, results = tied_while_paid(seller, clerk, run_together, monkeypatch)
    bugs = [r for r in results if r is not None and not isinstance(r, OrderCenterError)]
    assert bugs == []
    assert balance.is_paid
    if balance.balance_of_id is None:
        monkeypatch.undo()
        tie(balance, deposit, clerk)
        balance.refresh_from_db()
    assert (balance.balance_of_id, balance.status) == (deposit.pk, "routed")
    assert holds(deposit) == {"shortage:deposit"}
    active = Reservation.objects.filter(state="active")
    assert {(row.order_id, row.quantity) for row in active} == {(balance.pk, 2)}
    assert sum(StockLevel.objects.values_list("reserved", flat=True)) == 2
    assert Parcel.objects.exclude(state="canceled").count() == 1
    assert red() == set()


def test_control_without_the_lock_on_orders_one_of_the_two_is_lost(
    seller: Seller, clerk: User, run_together: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both act on the order as it was: one version is written twice, and its wall refuses."""
    unlocked(monkeypatch, "orders_salesorder")
    deposit, balance, results = tied_while_paid(seller, clerk, run_together, monkeypatch)
    lost = any(isinstance(r, IntegrityError) for r in results)
    assert lost or not (balance.is_paid and balance.balance_of_id == deposit.pk)


def two_balances(
    seller: Seller, clerk: User, run_together: Any, patch: pytest.MonkeyPatch
) -> list[Any]:
    """Two balances are tied to one deposit at once; both look before either is written."""
    deposit, told = opened(seller, True, True)
    found = [stored(seller.shop, one) for one in told]
    both_take(patch)
    results: list[Any] = run_together(*(partial(tie, one, deposit, clerk) for one in found))
    return results


def test_a_deposit_is_tied_to_one_of_two_balances(
    seller: Seller, clerk: User, run_together: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = two_balances(seller, clerk, run_together, monkeypatch)
    assert sorted(isinstance(r, OrderCenterError) for r in results) == [False, True]
    assert SalesOrder.objects.exclude(balance_of=None).count() == 1


def test_without_the_lock_the_wall_refuses_the_second_balance(
    seller: Seller, clerk: User, run_together: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    unlocked(monkeypatch, "orders_salesorder")
    results = two_balances(seller, clerk, run_together, monkeypatch)
    assert sorted(isinstance(r, IntegrityError) for r in results) == [False, True]
    assert SalesOrder.objects.exclude(balance_of=None).count() == 1


def test_control_without_lock_and_walls_a_deposit_has_two_balances(
    seller: Seller, clerk: User, run_together: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with without(walls=["balance_once", "audit_version_once", "hold_open_once"]):
        unlocked(monkeypatch, "orders_salesorder")
        results = two_balances(seller, clerk, run_together, monkeypatch)
        assert results == [None, None]
        assert SalesOrder.objects.exclude(balance_of=None).count() == 2
