"""Deposit and balance as two orders: the stock is held once, the goods leave once, paid twice."""

from collections import Counter
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, transaction

from fulfillment.models import Parcel
from inventory.models import PresalePromise, StockLevel
from ordercenter.audit.models import Action, AuditRecord
from ordercenter.core.clock import now as clock_now
from ordercenter.core.errors import InvalidInput, NotAllowed, NotFound
from ordercenter.core.policy import Role
from ordercenter.orders.contracts import ChannelStatus, OrderDraft
from ordercenter.orders.errors import BadReason, StaleOrder
from ordercenter.orders.models import SalesOrder
from ordercenter.pipeline import balances, jobs
from tests.factories import ShopFactory, user_with
from tests.pipeline.arrivals import announce, arrive
from tests.pipeline.seller import (
    REASON,
    Seller,
    again,
    as_person,
    buyer,
    draft,
    holds,
    line,
    open_seller,
    paid,
    refund,
    ship,
    take_one,
    take_refund,
    tasks,
    versions,
)

pytestmark = pytest.mark.django_db
MARY = buyer("mary")
TWO: Any = Decimal(200)


@pytest.fixture
def seller() -> Seller:
    return open_seller(stock=10)


@pytest.fixture
def clerk(db: None) -> User:
    return user_with(Role.OPERATIONS_SUPERVISOR, username="clerk")


def deposit_of(seller: Seller, **changes: Any) -> SalesOrder:
    """Paid, and known as a deposit: it keeps the goods and waits."""
    facts = {"evidence": MARY, "is_deposit": True, "at": yesterday(), **changes}
    return take_one(seller.shop, draft(line(quantity=2), **facts))


def yesterday() -> datetime:
    """The rules ask about two orders of one buyer for one thing within minutes."""
    return clock_now() - timedelta(days=1)


def balance_draft(**changes: Any) -> OrderDraft:
    return draft(line(quantity=2), **{"paid": False, "evidence": MARY, **changes})


def fresh(order: SalesOrder) -> SalesOrder:
    return SalesOrder.objects.get(pk=order.pk)


def link(
    balance: SalesOrder, deposit: SalesOrder, user: User, *, as_balance: bool = True, **changes: Any
) -> None:
    here, other = (balance, deposit) if as_balance else (deposit, balance)
    facts = {"version": fresh(here).version, "reason": REASON, **changes}
    seen = balances.Seen(here.pk, facts["version"], user, as_person(user), facts["reason"])
    balances.link(seen, other.number, as_balance=as_balance)


def unlink(order: SalesOrder, user: User) -> None:
    seen = balances.Seen(order.pk, fresh(order).version, user, as_person(user), REASON)
    balances.unlink(seen)


def held(seller: Seller) -> dict[str, int]:
    """Units held, by order."""
    found = Counter[str]()
    for level in StockLevel.objects.all():
        for row in level.reservation_set.filter(state="active"):
            found[SalesOrder.objects.get(pk=row.order_id).number] += row.quantity
    assert sum(found.values()) == sum(level.reserved for level in StockLevel.objects.all())
    return dict(found)


# --- tied ----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("carrier")
def test_the_balance_takes_over_the_stock_and_both_have_to_be_paid(
    seller: Seller, clerk: User
) -> None:
    deposit = deposit_of(seller)
    assert (deposit.status, holds(deposit)) == ("cleared", {"payment:balance"})
    told = balance_draft()
    balance = take_one(seller.shop, told)
    assert held(seller) == {deposit.number: 2, balance.number: 2}
    link(balance, deposit, clerk)
    deposit, balance = fresh(deposit), fresh(balance)
    assert held(seller) == {balance.number: 2}
    assert (deposit.status, holds(deposit)) == ("mapped", {"shortage:deposit"})
    assert (balance.balance_of_id, balance.status) == (deposit.pk, "cleared")
    assert (balance.deposit_amount, balance.deposit_paid_at) == (TWO, deposit.paid_at)
    # What is kept does not run out, and nothing leaves before the balance is paid, too.
    jobs.expire_reservations(now=clock_now() + timedelta(days=9))
    assert held(seller) == {balance.number: 2}
    assert not Parcel.objects.exists()
    balance = take_one(seller.shop, paid(told))
    assert balance.status == "routed"
    ship(balance, clerk)
    balances.follow_balances()
    assert (fresh(balance).status, fresh(deposit).status) == ("shipped", "mapped")
    assert Parcel.objects.filter(state="shipped").count() == 1
    assert sum(StockLevel.objects.values_list("on_hand", flat=True)) == 98
    for order in (deposit, balance):
        assert versions(order) == list(range(1, fresh(order).version + 1))


def test_it_is_on_record_and_a_second_press_changes_nothing(seller: Seller, clerk: User) -> None:
    deposit, balance = deposit_of(seller), take_one(seller.shop, balance_draft())
    link(balance, deposit, clerk)
    kept = AuditRecord.objects.filter(action=Action.ORDERS_PAIRED)
    told = {row.object_id: row for row in kept}
    assert told[balance.pk].change["balance_of"] == [None, deposit.number]
    assert told[deposit.pk].change["balance"] == [None, balance.number]
    assert (told[balance.pk].actor_id, told[balance.pk].reason) == (str(clerk.pk), REASON)
    before = fresh(balance).version
    link(balance, deposit, clerk, version=1)
    assert fresh(balance).version == before
    assert kept.count() == 2


def test_it_may_be_named_from_the_deposits_side(seller: Seller, clerk: User) -> None:
    deposit, balance = deposit_of(seller), take_one(seller.shop, balance_draft())
    link(balance, deposit, clerk, as_balance=False)
    assert fresh(balance).balance_of_id == deposit.pk


def test_a_deposit_alone_never_ships(seller: Seller) -> None:
    deposit = deposit_of(seller)
    jobs.expire_reservations(now=clock_now() + timedelta(days=9))
    balances.follow_balances()
    assert (fresh(deposit).status, held(seller)) == ("cleared", {deposit.number: 2})
    assert not Parcel.objects.exists()


def test_a_deposit_nobody_knew_as_one_is_taken_apart_before_it_is_packed(
    seller: Seller, clerk: User
) -> None:
    deposit = take_one(seller.shop, draft(line(quantity=2), evidence=MARY, at=yesterday()))
    assert deposit.status == "routed"
    balance = take_one(seller.shop, balance_draft())
    link(balance, deposit, clerk)
    assert fresh(deposit).status == "mapped"
    assert held(seller) == {balance.number: 2}
    assert {parcel.state for parcel in Parcel.objects.filter(order=deposit)} == {"canceled"}


def test_the_last_units_go_over_with_nobody_between(clerk: User) -> None:
    seller = open_seller(stock=0)
    seller.receive("SOFA", 2)
    deposit, balance = deposit_of(seller), take_one(seller.shop, balance_draft())
    assert holds(balance) == {"shortage:shortage"}
    link(balance, deposit, clerk)
    assert held(seller) == {balance.number: 2}
    assert holds(fresh(balance)) == set()


def test_what_was_promised_of_an_arrival_goes_over_and_is_promised_once(clerk: User) -> None:
    seller = open_seller(stock=0)
    coming = announce(seller, units=2)
    deposit = deposit_of(seller, is_presale=True)
    assert holds(deposit) == {"shortage:presale", "payment:balance"}
    balance = take_one(seller.shop, balance_draft(is_presale=True))
    link(balance, deposit, clerk)
    assert holds(fresh(deposit)) == {"shortage:deposit"}
    assert holds(fresh(balance)) == {"shortage:presale"}
    live = PresalePromise.objects.filter(state="active")
    assert [(row.order_id, row.quantity) for row in live] == [(balance.pk, 2)]
    coming.refresh_from_db()
    assert coming.promised == 2
    arrive(coming, 2)
    assert held(seller) == {balance.number: 2}


def test_money_has_to_add_up_with_the_deposit_or_without_it(seller: Seller, clerk: User) -> None:
    deposit = deposit_of(seller, payable_amount=Decimal(40), paid_amount=Decimal(40))
    told = balance_draft(payable_amount=Decimal(160))
    balance = take_one(seller.shop, told)
    assert "payment:amount" in holds(balance)
    link(balance, deposit, clerk)
    assert holds(fresh(balance)) == set()
    assert holds(fresh(deposit)) == {"shortage:deposit"}
    assert take_one(seller.shop, paid(told)).status == "routed"


# --- by itself -----------------------------------------------------------------------------------


def test_what_the_channel_names_is_tied_whichever_comes_first(seller: Seller) -> None:
    first = draft(line(quantity=2), evidence=MARY, is_deposit=True, at=yesterday())
    told = balance_draft(paid=True, deposit_number=first.channel_number)
    balance = take_one(seller.shop, told)
    assert holds(balance) == {"payment:deposit"}
    assert balance.status == "cleared"  # paid, and does not leave before its deposit is known
    balances.follow_balances()
    assert holds(fresh(balance)) == {"payment:deposit"}
    deposit = take_one(seller.shop, first)
    balances.follow_balances()
    assert (fresh(balance).balance_of_id, fresh(balance).status) == (deposit.pk, "routed")
    assert holds(fresh(deposit)) == {"shortage:deposit"}
    assert held(seller) == {balance.number: 2}


def test_what_does_not_fit_is_not_tied_and_stays_held(seller: Seller) -> None:
    deposit = deposit_of(seller)
    other = balance_draft(evidence=buyer("eve"), deposit_number=deposit.channel_number)
    balance = take_one(seller.shop, other)
    balances.follow_balances()
    assert fresh(balance).balance_of_id is None
    assert holds(fresh(balance)) == {"payment:deposit"}


# --- canceled and asked back ---------------------------------------------------------------------


def tied(seller: Seller, clerk: User, **changes: Any) -> tuple[SalesOrder, SalesOrder, OrderDraft]:
    deposit, told = deposit_of(seller), balance_draft(**changes)
    balance = take_one(seller.shop, told)
    link(balance, deposit, clerk)
    return fresh(deposit), fresh(balance), told


def deposit_told(deposit: SalesOrder, **changes: Any) -> OrderDraft:
    values = {"channel_number": deposit.channel_number, "evidence": MARY, **changes}
    return draft(line(quantity=2), at=clock_now() + timedelta(seconds=9), **values)


def test_a_deposit_asked_back_stops_the_balance_until_it_is_withdrawn(
    seller: Seller, clerk: User
) -> None:
    deposit, balance, told = tied(seller, clerk)
    take_refund(seller.shop, refund(deposit_told(deposit)))
    assert holds(fresh(deposit)) == {"shortage:deposit", "refund:refund"}
    # Paid in the same moment, before any job has looked: nothing leaves.
    assert take_one(seller.shop, paid(told)).status == "cleared"
    assert holds(fresh(balance)) == {"payment:deposit"}
    assert "finance_check" in tasks(fresh(balance))
    take_refund(seller.shop, refund(deposit_told(deposit), "closed"))
    balances.follow_balances()
    assert (fresh(balance).status, holds(fresh(balance))) == ("routed", set())


def test_a_deposit_canceled_holds_the_balance_for_finance(seller: Seller, clerk: User) -> None:
    deposit, balance, told = tied(seller, clerk)
    closed = deposit_told(deposit, status=ChannelStatus.CLOSED)
    assert take_one(seller.shop, closed).status == "canceled"
    balances.follow_balances()
    assert holds(fresh(balance)) == {"payment:deposit"}
    assert take_one(seller.shop, paid(told)).status == "cleared"
    assert held(seller) == {balance.number: 2}
    before = fresh(balance).version
    balances.follow_balances()
    assert fresh(balance).version == before


def test_a_balance_canceled_gives_the_stock_back_and_leaves_the_deposit_standing(
    seller: Seller, clerk: User
) -> None:
    deposit, balance, told = tied(seller, clerk)
    take_one(seller.shop, again(told, status=ChannelStatus.CLOSED_UNPAID))
    balances.follow_balances()
    balances.follow_balances()
    assert held(seller) == {}
    assert (fresh(deposit).status, holds(fresh(deposit))) == ("mapped", {"shortage:deposit"})
    assert tasks(fresh(deposit)) == {"after_sales"}
    assert fresh(balance).balance_of_id is None
    assert not Parcel.objects.exists()
    again_bought = take_one(seller.shop, balance_draft())
    link(again_bought, deposit, clerk)
    assert held(seller) == {again_bought.number: 2}


# --- undone --------------------------------------------------------------------------------------


def test_untied_each_is_an_order_of_its_own_again(seller: Seller, clerk: User) -> None:
    deposit, balance, _told = tied(seller, clerk)
    unlink(deposit, clerk)
    deposit, balance = fresh(deposit), fresh(balance)
    assert balance.balance_of_id is None
    assert balance.deposit_amount == 0
    assert balance.deposit_paid_at is None
    assert held(seller) == {deposit.number: 2, balance.number: 2}
    # Its channel called it a deposit: on its own it keeps the goods and does not leave.
    assert holds(deposit) == {"payment:balance"}
    jobs.expire_reservations(now=clock_now() + timedelta(hours=1))
    assert held(seller) == {deposit.number: 2}


def test_nothing_is_untied_once_it_is_routed(seller: Seller, clerk: User) -> None:
    deposit, balance, told = tied(seller, clerk)
    take_one(seller.shop, paid(told))
    for order in (deposit, balance):
        with pytest.raises(InvalidInput, match="已分仓"):
            unlink(order, clerk)


def test_a_deposit_without_its_balance_can_be_made_an_ordinary_order(
    seller: Seller, clerk: User
) -> None:
    deposit = take_one(seller.shop, draft(line(quantity=2), evidence=MARY, at=yesterday()))
    told = balance_draft()
    balance = take_one(seller.shop, told)
    link(balance, deposit, clerk)
    take_one(seller.shop, again(told, status=ChannelStatus.CLOSED_UNPAID))
    balances.follow_balances()
    unlink(deposit, clerk)
    assert fresh(deposit).status == "routed"
    with pytest.raises(InvalidInput, match="没有关联"):
        unlink(deposit, clerk)


# --- refused -------------------------------------------------------------------------------------


def refusal(balance: SalesOrder, deposit: SalesOrder, user: User) -> str:
    before = {order.pk: fresh(order).version for order in (balance, deposit)}
    with pytest.raises(InvalidInput) as caught:
        link(balance, deposit, user)
    assert {pk: SalesOrder.objects.get(pk=pk).version for pk in before} == before
    found = balances.preview(fresh(balance), deposit.number, as_balance=True, user=user)
    assert "；".join(found.problems) == str(caught.value)
    return str(caught.value)


def test_what_cannot_be_one_purchase_is_refused_in_words(seller: Seller, clerk: User) -> None:
    deposit, balance = deposit_of(seller), take_one(seller.shop, balance_draft())
    eve = take_one(seller.shop, balance_draft(evidence=buyer("eve")))
    assert "不是同一位买家" in refusal(eve, deposit, clerk)
    nobody = take_one(seller.shop, balance_draft(evidence=buyer()))
    assert "没有可以核对的买家标识" in refusal(nobody, deposit, clerk)
    elsewhere = take_one(ShopFactory.create(), balance_draft())
    assert "不是同一家店铺" in refusal(elsewhere, deposit, clerk)
    assert "请填写另一张订单" in refusal(deposit, deposit, clerk)
    early = take_one(seller.shop, balance_draft(at=deposit.placed_at - timedelta(hours=1)))
    assert "早于定金单" in refusal(early, deposit, clerk)
    unpaid = take_one(seller.shop, balance_draft())
    later = take_one(seller.shop, balance_draft())
    assert "定金单还没有付款" in refusal(later, unpaid, clerk)
    link(balance, deposit, clerk)
    assert "已经关联了别的订单" in refusal(later, deposit, clerk)
    third = deposit_of(seller)
    assert "已经关联了别的订单" in refusal(balance, third, clerk)
    assert "不能既是定金单又是尾款单" in refusal(later, balance, clerk)


def test_who_may_not_and_who_saw_an_older_picture_are_refused(seller: Seller, clerk: User) -> None:
    deposit, balance = deposit_of(seller), take_one(seller.shop, balance_draft())
    with pytest.raises(NotAllowed):
        link(balance, deposit, user_with(Role.FINANCE))
    with pytest.raises(StaleOrder):
        link(balance, deposit, clerk, version=99)
    with pytest.raises(BadReason):
        link(balance, deposit, clerk, reason="ok")
    with pytest.raises(NotFound):
        link(balance, deposit, user_with(Role.CLERK))  # not of his shops
    assert fresh(balance).balance_of_id is None


def test_the_database_lets_a_deposit_have_one_balance(seller: Seller, clerk: User) -> None:
    deposit, _balance, _told = tied(seller, clerk)
    other = take_one(seller.shop, balance_draft())
    with pytest.raises(IntegrityError, match="balance_once"), transaction.atomic():
        SalesOrder.objects.filter(pk=other.pk).update(balance_of=deposit)
