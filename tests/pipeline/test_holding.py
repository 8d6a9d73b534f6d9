"""Holds that end by themselves, cards put off, questions to the buyer."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import User

from fulfillment.models import StageTask
from ordercenter.audit.models import Action, AuditRecord
from ordercenter.core.clock import now as clock_now
from ordercenter.core.errors import InvalidInput, NotAllowed
from ordercenter.core.policy import Role
from ordercenter.orders.errors import StaleOrder, WrongState
from ordercenter.orders.models import OrderHold, SalesOrder
from ordercenter.orders.states import Disposition, OrderStatus
from ordercenter.pipeline import asking, decisions, holding, stages
from ordercenter.pipeline.deadlines import promise_of
from tests.factories import OrderHoldFactory, user_with
from tests.pipeline.seller import (
    REASON,
    Seller,
    as_person,
    draft,
    hold_ids,
    holds,
    line,
    take,
    take_one,
    tasks,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def order(seller: Seller) -> SalesOrder:
    """Routed and free."""
    return take_one(seller.shop, draft())


@pytest.fixture
def flagged(seller: Seller) -> SalesOrder:
    return take_one(seller.shop, draft(line(amount="80.00")))


def fresh(order: SalesOrder) -> SalesOrder:
    return SalesOrder.objects.get(pk=order.pk)


def hold(order: SalesOrder, user: User, **facts: Any) -> None:
    seen = facts.pop("seen", fresh(order).version)
    holding.hold_until(
        order.pk, user=user, actor=as_person(user), seen_version=seen, reason=REASON, **facts
    )


def put_off(order: SalesOrder, user: User, until: datetime) -> None:
    holding.snooze(
        order.pk, until, user=user, actor=as_person(user), seen_version=fresh(order).version,
        reason=REASON,
    )  # fmt: skip


# --- holds with an end ----------------------------------------------------------------------------


def test_a_hold_ends_at_its_time_and_not_before(order: SalesOrder, boss: User) -> None:
    until = clock_now() + timedelta(hours=2)
    hold(order, boss, until=until)
    assert holds(order) == {"person:until"}
    assert holding.expire_holds(now=until - timedelta(seconds=1)) == ("no hold has come to its end")
    assert holds(order) == {"person:until"}
    holding.expire_holds(now=until)
    assert holds(order) == set()
    record = AuditRecord.objects.get(object_id=order.pk, action=Action.HOLD_EXPIRED)
    assert record.actor_kind == "job"
    assert record.change["released"] == ["person:until"]
    assert holding.expire_holds(now=until) == "no hold has come to its end"


def test_ahead_of_the_promise_means_the_promise_as_it_is_then(
    order: SalesOrder, boss: User
) -> None:
    assert order.paid_at is not None
    assert promise_of(order) == order.paid_at + timedelta(hours=settings.SHIP_WITHIN_HOURS)
    hold(order, boss, ahead=timedelta(hours=6))
    due = promise_of(order) - timedelta(hours=6)
    assert OrderHold.objects.open().get(order=order).expires_at == due
    SalesOrder.objects.filter(pk=order.pk).update(promised_at=due + timedelta(days=3))
    holding.expire_holds(now=due)
    assert holds(order) == {"person:until"}, "the promise has moved, and the end with it"
    holding.expire_holds(now=due + timedelta(days=3) - timedelta(hours=6))
    assert holds(order) == set()


def test_what_was_held_goes_first_afterwards_where_it_was_asked(seller: Seller, boss: User) -> None:
    plain, rushed = take(seller.shop, draft(), draft())
    until = clock_now() + timedelta(hours=1)
    hold(plain, boss, until=until)
    hold(rushed, boss, until=until, rush_after=True)
    holding.expire_holds(now=until)
    assert (fresh(plain).is_rush, fresh(plain).priority) == (False, 0)
    assert (fresh(rushed).is_rush, fresh(rushed).priority) == (True, 20)


def test_one_hold_that_ends_leaves_the_others(flagged: SalesOrder, boss: User) -> None:
    standing = holds(flagged)
    until = clock_now() + timedelta(hours=1)
    hold(flagged, boss, until=until)
    holding.expire_holds(now=until)
    assert holds(flagged) == standing
    assert fresh(flagged).status != OrderStatus.ROUTED


def test_tier_three_and_what_a_fact_ends_never_run_out(seller: Seller) -> None:
    past = clock_now() - timedelta(hours=1)
    order = take_one(seller.shop, draft())
    OrderHoldFactory.create(order=order, tier="3", code="frozen", expires_at=past)
    OrderHoldFactory.create(order=order, kind="channel", code="wait", expires_at=past)
    assert holding.expire_holds() == "no hold has come to its end"
    assert holds(order) == {"rule:frozen", "channel:wait"}


def test_a_parcel_under_way_stands_still_until_the_hold_ends(order: SalesOrder, boss: User) -> None:
    until = clock_now() + timedelta(hours=1)
    hold(order, boss, until=until)
    assert stages.stop_words(fresh(order))
    holding.expire_holds(now=until)
    assert stages.stop_words(fresh(order)) == ()


@pytest.mark.parametrize(
    "facts",
    [
        {},
        {"until": timedelta(hours=-1)},
        {"until": timedelta(days=91)},
        {"until": timedelta(hours=1), "ahead": timedelta(hours=1)},
        {"ahead": timedelta(hours=-1)},
        {"ahead": timedelta(days=31)},
        {"ahead": timedelta(hours=49)},
    ],
)
def test_an_end_that_is_none_is_refused(
    order: SalesOrder, boss: User, facts: dict[str, timedelta]
) -> None:
    asked: dict[str, Any] = dict(facts)
    if "until" in asked:
        asked["until"] = clock_now() + asked["until"]
    with pytest.raises(InvalidInput):
        hold(order, boss, **asked)
    assert holds(order) == set()


def test_a_second_hold_with_an_end_is_refused_and_a_freeze_stands_beside_it(
    order: SalesOrder, boss: User
) -> None:
    until = clock_now() + timedelta(hours=1)
    hold(order, boss, until=until)
    with pytest.raises(WrongState):
        hold(order, boss, until=until)
    decisions.freeze_order(order.pk, user=boss, actor=as_person(boss), reason=REASON)
    holding.expire_holds(now=until)
    assert holds(order) == {"person:person"}


def test_a_hold_on_an_older_picture_is_refused(order: SalesOrder, boss: User) -> None:
    with pytest.raises(StaleOrder):
        hold(order, boss, until=clock_now() + timedelta(hours=1), seen=99)


# --- put off --------------------------------------------------------------------------------------


def test_a_card_is_put_off_and_holds_all_the_same(flagged: SalesOrder, boss: User) -> None:
    until = clock_now() + timedelta(days=7, seconds=-5)
    put_off(flagged, boss, until)
    assert set(
        OrderHold.objects.open().filter(order=flagged).values_list("snoozed_until", flat=True)
    ) == {until}
    assert holds(flagged)
    record = AuditRecord.objects.get(object_id=flagged.pk, action=Action.HOLD_SNOOZED)
    assert record.version == fresh(flagged).version


@pytest.mark.parametrize("span", [timedelta(seconds=-1), timedelta(days=7, minutes=1)])
def test_a_card_is_put_off_seven_days_at_most(
    flagged: SalesOrder, boss: User, span: timedelta
) -> None:
    with pytest.raises(InvalidInput):
        put_off(flagged, boss, clock_now() + span)


def test_tier_three_is_not_put_off(seller: Seller, boss: User) -> None:
    frozen = take_one(seller.shop, draft(line(amount="50.00")))
    with pytest.raises(WrongState):
        put_off(frozen, boss, clock_now() + timedelta(hours=1))


# --- ask the buyer --------------------------------------------------------------------------------


def test_a_question_is_a_task_with_the_words_and_the_answer_comes_back(
    flagged: SalesOrder, boss: User
) -> None:
    words = asking.question_for("price", flagged)
    assert flagged.channel_number in words
    asking.ask_customer(
        flagged.pk, words, user=boss, actor=as_person(boss), seen_version=flagged.version
    )
    assert "after_sales" in tasks(flagged)
    task = StageTask.objects.get(order=flagged, stage="after_sales", state="open")
    assert task.note == f"请询问买家：{words}"
    open_holds = OrderHold.objects.open().filter(order=flagged)
    assert set(open_holds.values_list("disposition", flat=True)) == {Disposition.AFTER_SALES}
    asked = AuditRecord.objects.get(object_id=flagged.pk, action=Action.CUSTOMER_ASKED)
    assert asked.reason == words
    stages.finish_task(
        task.pk, user=boss, actor=as_person(boss),
        answer={"outcome": "resume", "note": "活动页下的单"},
    )  # fmt: skip
    answered = AuditRecord.objects.filter(object_id=flagged.pk).latest("pk")
    assert answered.change["answer"] == "买家确认继续发货 活动页下的单"
    assert set(open_holds.values_list("disposition", flat=True)) == {Disposition.WAITING}


def test_asked_again_the_new_question_takes_the_place_of_the_old(
    flagged: SalesOrder, boss: User
) -> None:
    for words in ("请问是否重复下单？", "请问要发两件吗？"):
        asking.ask_customer(
            flagged.pk, words, user=boss, actor=as_person(boss),
            seen_version=fresh(flagged).version,
        )  # fmt: skip
    (task,) = StageTask.objects.filter(order=flagged, stage="after_sales", state="open")
    assert task.note.endswith("请问要发两件吗？")


@pytest.mark.parametrize("words", ["", "  ", "在吗", "长" * 301])
def test_a_question_that_says_nothing_or_too_much_is_refused(
    flagged: SalesOrder, boss: User, words: str
) -> None:
    with pytest.raises(InvalidInput):
        asking.ask_customer(
            flagged.pk, words, user=boss, actor=as_person(boss), seen_version=flagged.version
        )


def test_who_does_not_review_asks_nobody(flagged: SalesOrder) -> None:
    clerk = user_with(Role.FINANCE)
    with pytest.raises(NotAllowed):
        asking.ask_customer(
            flagged.pk, "请问是否重复下单？", user=clerk, actor=as_person(clerk),
            seen_version=flagged.version,
        )  # fmt: skip
    assert hold_ids(flagged)
