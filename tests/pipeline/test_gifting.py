"""What people do about gifts, why an order earned none, and how many lie in the parcels."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import User

from fulfillment.models import ParcelLine
from ordercenter.audit.models import Action, AuditRecord
from ordercenter.core.actor import Actor
from ordercenter.core.clock import SHANGHAI
from ordercenter.core.clock import now as clock_now
from ordercenter.core.errors import InvalidInput, NotAllowed, NotFound
from ordercenter.core.policy import Role
from ordercenter.orders.errors import BadReason, StaleOrder, WrongState
from ordercenter.orders.models import OrderLine, SalesOrder
from ordercenter.pipeline import gifting
from ordercenter.pipeline.gift_rate import GiftMatch, gift_match, gift_rates
from tests.factories import SkuFactory, user_with
from tests.pipeline.seller import (
    REASON,
    Carrier,
    Seller,
    buyer,
    draft,
    holds,
    line,
    pick,
    promised,
    ship,
    take,
    take_one,
)
from tests.pipeline.test_gifts import automatic, gift_lines, given, red

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _nothing_broken() -> Any:
    yield
    assert red() == set()


def give(order: SalesOrder, user: User, choice: str = "TOWEL", **changes: Any) -> None:
    order.refresh_from_db()
    facts: dict[str, Any] = {"seen_version": order.version, "reason": REASON, **changes}
    gifting.give_by_hand(order.pk, choice, user=user, actor=Actor.person(user), **facts)
    order.refresh_from_db()


def drop(order: SalesOrder, user: User, **changes: Any) -> None:
    gift = gift_lines(order)[0]
    facts: dict[str, Any] = {"reason": REASON, **changes}
    gifting.drop_gift(order.pk, gift.pk, user=user, actor=Actor.person(user), **facts)
    order.refresh_from_db()


# --- by hand --------------------------------------------------------------------------------


def test_a_gift_given_by_hand_is_held_recorded_and_packed(seller: Seller, boss: User) -> None:
    order = take_one(seller.shop, draft())
    give(order, boss, quantity=3)
    assert promised(order) == {"SOFA": 1, "TOWEL": 3}
    assert (order.status, holds(order), order.has_gift) == ("routed", set(), True)
    record = AuditRecord.objects.get(object_id=order.pk, action=Action.GIFTS_GIVEN)
    assert (record.actor_name, record.reason) == (boss.username, REASON)
    parcel = pick(order, boss) if order.parcels.count() == 1 else None
    assert parcel is None  # the first was taken apart
    live = ParcelLine.objects.filter(parcel__order=order, parcel__state="planned")
    assert dict(live.values_list("sku__code", "quantity")) == {"SOFA": 1, "TOWEL": 3}


def test_a_strategy_for_people_has_its_conditions(seller: Seller, boss: User) -> None:
    automatic(seller, code="sorry", kind="manual", quantity=2, per_buyer=1)
    ada = buyer("ada")
    small = take_one(seller.shop, draft())
    large, again_ = take(
        seller.shop,
        draft(line("SOFA", 2), evidence=ada),
        draft(line("LAMP", 2), evidence=ada),
    )
    with pytest.raises(InvalidInput, match=r"还差 ¥99\.00"):
        give(small, boss, "sorry")
    give(large, boss, "sorry")
    assert [(ln.gift_strategy, ln.quantity) for ln in gift_lines(large)] == [("sorry", 2)]
    with pytest.raises(InvalidInput, match="该买家已得 1 单"):
        give(again_, boss, "sorry")


def test_by_hand_nothing_is_given_that_is_not_there_or_no_gift_or_too_late(
    seller: Seller, boss: User
) -> None:
    SkuFactory.create(code="MUG", is_gift=True)
    order = take_one(seller.shop, draft())
    with pytest.raises(gifting.GiftShort):
        give(order, boss, "MUG")
    for choice, pieces in (("SOFA", 1), ("NONE", 1), ("TOWEL", 100), ("TOWEL", -1)):
        with pytest.raises(InvalidInput):
            give(order, boss, choice, quantity=pieces)
    with pytest.raises(BadReason):
        give(order, boss, reason="好")
    with pytest.raises(StaleOrder):
        give(order, boss, seen_version=order.version + 1)
    assert (given(order), promised(order)) == ({}, {"SOFA": 1})
    pick(order, boss)
    with pytest.raises(WrongState):
        give(order, boss)


def test_only_who_may_review_gives_and_only_who_may_work_shortages_takes(
    seller: Seller,
) -> None:
    automatic(seller)
    order = take_one(seller.shop, draft(line("SOFA", 2)))
    with pytest.raises(NotAllowed):
        give(order, user_with(Role.FINANCE))
    with pytest.raises(NotAllowed):
        drop(order, user_with(Role.FINANCE))
    with pytest.raises(NotFound):
        drop(order, user_with(Role.CLERK))


# --- without --------------------------------------------------------------------------------


def test_an_order_short_of_its_gift_goes_on_without_it_by_a_decision(
    seller: Seller, boss: User
) -> None:
    automatic(seller, gift_sku=SkuFactory.create(code="MUG", is_gift=True))
    order = take_one(seller.shop, draft(line("SOFA", 2)))
    assert holds(order) == {"shortage:shortage"}
    drop(order, boss)
    assert (order.status, holds(order)) == ("routed", set())
    assert promised(order) == {"SOFA": 2}
    drop(order, boss)  # a second press changes nothing
    assert AuditRecord.objects.filter(object_id=order.pk, action=Action.GIFTS_GIVEN).count() == 1


def test_what_was_declined_does_not_come_back_by_itself(seller: Seller, boss: User) -> None:
    automatic(seller)
    order = take_one(seller.shop, draft(line("SOFA", 2), line("LAMP")))
    drop(order, boss)
    assert promised(order) == {"SOFA": 2, "LAMP": 1}
    give(order, boss, "TOWEL")  # a person may, and counting again leaves it alone
    (first, second) = gift_lines(order)
    assert (first.is_dropped, second.gift_strategy) == (True, "manual")


def test_an_order_of_nothing_but_a_gift_is_not_emptied(seller: Seller, boss: User) -> None:
    order = take_one(seller.shop, draft(line("TOWEL", 1, "0.00", is_gift=True)))
    with pytest.raises(InvalidInput):
        drop(order, boss)


# --- why ------------------------------------------------------------------------------------


def test_every_strategy_says_what_it_gives_or_what_is_missing_the_nearest_first(
    seller: Seller, boss: User
) -> None:
    automatic(seller, code="far", min_amount=Decimal(1000))
    automatic(seller, code="near", min_amount=Decimal(210))
    automatic(seller, code="hit")
    automatic(seller, code="gone", min_amount=0, first_orders=0)
    order = take_one(seller.shop, draft(line("SOFA", 2)))
    found, tried = gifting.try_on(f" {order.number} ", user=boss)
    assert found == order
    assert [one.strategy.code for one in tried] == ["hit", "near", "far", "gone"]
    assert [one.words for one in tried][1:] == [
        "主商品金额还差 ¥10.00", "主商品金额还差 ¥800.00", "前 0 单已送完",
    ]  # fmt: skip
    with pytest.raises(NotFound):
        gifting.try_on("nothing", user=boss)


def test_each_gift_line_tells_its_strategy_and_why(seller: Seller, boss: User) -> None:
    automatic(seller, name="双十一满赠")
    order = take_one(seller.shop, draft(line("SOFA", 2), line("VASE", 1, "0.00", is_gift=True)))
    told = {one.code: one for one in gifting.gift_lines(order.pk)}
    assert told["TOWEL"].strategy == "双十一满赠"
    assert told["TOWEL"].why == ("主商品实付 ¥200.00，满 ¥199.00",)
    assert told["VASE"].strategy == "平台赠送"
    assert gifting.gift_lines(take_one(seller.shop, draft(line("LAMP"))).pk) == []


# --- counted from parcels -------------------------------------------------------------------


def today() -> tuple[Any, Any]:
    start = clock_now().astimezone(SHANGHAI).replace(hour=0, minute=0, second=0, microsecond=0)
    return start, start + timedelta(days=1)


def test_gifts_are_counted_in_parcels_that_left(
    seller: Seller, boss: User, carrier: Carrier
) -> None:
    automatic(seller, quantity=2)
    assert gift_match(*today()).share is None
    orders = take(seller.shop, *[draft(line("SOFA", 2)) for _ in range(3)])
    assert gift_match(*today()).owed == 0  # nothing has left
    for order in orders[:2]:
        ship(order, boss)
    assert gift_match(*today()) == GiftMatch(owed=4, sent=4)
    assert not gift_match(*today()).is_red
    (rate,) = gift_rates(*today())
    assert (rate.shop_id, rate.day, rate.owed) == (seller.shop.pk, today()[0].date(), 4)


def test_a_gift_that_is_not_in_the_parcel_is_missing_and_more_than_a_twentieth_is_red(
    seller: Seller, boss: User, carrier: Carrier
) -> None:
    automatic(seller)
    (order,) = take(seller.shop, draft(line("SOFA", 2)))
    ship(order, boss)
    gift = OrderLine.objects.get(order=order, is_gift=True)
    row = ParcelLine.objects.get(line=gift)
    row.delete()
    match = gift_match(*today())
    assert (match.owed, match.sent, match.share, match.is_red) == (1, 0, 0.0, True)
    row.save()  # put back what was taken: the books are checked after every test
    assert not GiftMatch(owed=100, sent=95).is_red
    assert GiftMatch(owed=100, sent=94).is_red
