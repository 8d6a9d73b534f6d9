"""What people decide: by right, on what they saw, with a reason, and on record."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, transaction

from fulfillment.models import ParcelStop, StageTask
from ordercenter.audit.models import AuditRecord
from ordercenter.core.errors import InvalidInput, NotAllowed, NotFound
from ordercenter.core.policy import ALLOWED, Can, Role
from ordercenter.orders.errors import (
    BadReason,
    NothingToRelease,
    SelfApproval,
    StaleOrder,
    TooLate,
    WrongState,
)
from ordercenter.orders.models import OrderHold, SalesOrder
from ordercenter.pipeline import decisions, stages
from tests.factories import OrderHoldFactory, ShopAssignmentFactory, user_with
from tests.pipeline.seller import (
    REASON,
    Carrier,
    Seller,
    as_person,
    draft,
    hold_ids,
    holds,
    line,
    pick,
    print_label,
    promised,
    ship,
    somebody,
    take_one,
    tasks,
    versions,
)

pytestmark = pytest.mark.django_db
PLACE = {"name": "李晓红", "phone": "19900009999", "province": "江苏省", "city": "苏州市",
         "district": "姑苏区", "address": "平江路9号"}  # fmt: skip
Act = Callable[[SalesOrder, User], None]


def release(order: SalesOrder, user: User, *, reason: str = REASON, seen: int = 0) -> None:
    decisions.release_order(
        order.pk, hold_ids(order), user=user, actor=as_person(user),
        seen_version=seen or fresh(order).version, reason=reason,
    )  # fmt: skip


def decide(
    what: Callable[..., None], order: SalesOrder, user: User, *, reason: str = REASON, seen: int = 0
) -> None:
    what(
        order.pk, user=user, actor=as_person(user), seen_version=seen or fresh(order).version,
        reason=reason,
    )  # fmt: skip


def freeze(order: SalesOrder, user: User, *, reason: str = REASON) -> None:
    decisions.freeze_order(order.pk, user=user, actor=as_person(user), reason=reason)


def edit(order: SalesOrder, user: User, *, seen: int = 0, **changes: str) -> None:
    decisions.edit_receiver(
        order.pk, user=user, actor=as_person(user), seen_version=seen or fresh(order).version,
        receiver={**PLACE, **changes},
    )  # fmt: skip


def fresh(order: SalesOrder) -> SalesOrder:
    return SalesOrder.objects.get(pk=order.pk)


ask = partial(decide, decisions.ask_release)
approve = partial(decide, decisions.approve_release)
refuse = partial(decide, decisions.refuse_release)
cancel = partial(decide, decisions.cancel_order)
give_back = partial(decide, decisions.return_for_edit)
hand_over = partial(decide, decisions.hand_to_after_sales)


@pytest.fixture
def flagged(seller: Seller) -> SalesOrder:
    """An order held by a rule of tier 2."""
    return take_one(seller.shop, draft(line(amount="80.00")))


@pytest.fixture
def frozen(seller: Seller) -> SalesOrder:
    """An order frozen by a rule of tier 3, and held by one of tier 2."""
    return take_one(seller.shop, draft(line(amount="50.00")))


@pytest.fixture
def reviewer() -> User:
    return user_with(Role.REVIEWER)


@pytest.fixture
def ceo() -> User:
    return user_with(Role.CEO)


# --- rights ---------------------------------------------------------------------------------------


RIGHTS: dict[str, tuple[Act, Can]] = {
    "release": (release, Can.REVIEW),
    "return for edit": (give_back, Can.REVIEW),
    "hand to after-sales": (hand_over, Can.REVIEW),
    "freeze": (freeze, Can.FREEZE),
    "cancel": (cancel, Can.CANCEL),
    "edit the receiver": (edit, Can.EDIT_RECEIVER),
}


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("act", RIGHTS)
def test_each_act_is_open_to_its_roles_and_to_no_other(
    flagged: SalesOrder, act: str, role: Role
) -> None:
    do, right = RIGHTS[act]
    user = user_with(role)
    ShopAssignmentFactory.create(user=user, shop=flagged.shop)
    before = fresh(flagged).version
    if role in ALLOWED[right]:
        do(flagged, user)
        assert fresh(flagged).version == before + 1
        return
    with pytest.raises(NotAllowed):
        do(flagged, user)
    assert fresh(flagged).version == before


@pytest.mark.parametrize("role", Role)
def test_a_freeze_is_asked_for_by_deciders_and_approved_by_the_ceo_alone(
    frozen: SalesOrder, role: Role
) -> None:
    user = user_with(role, username="the-one")
    if role in ALLOWED[Can.ASK_TIER3]:
        ask(frozen, user)
    else:
        with pytest.raises(NotAllowed):
            ask(frozen, user)
        ask(frozen, user_with(Role.REVIEWER, username="another"))
    for act in (approve, refuse):
        if role is Role.CEO:
            with pytest.raises(SelfApproval):
                act(frozen, user)
        else:
            with pytest.raises(NotAllowed):
                act(frozen, user)


@pytest.mark.parametrize("act", [*RIGHTS, "approve"])
def test_a_technical_administrator_decides_nothing(frozen: SalesOrder, act: str) -> None:
    admin = user_with(username="root", is_superuser=True)
    do = approve if act == "approve" else RIGHTS[act][0]
    with pytest.raises(NotAllowed):
        do(frozen, admin)


def test_a_user_who_is_switched_off_decides_nothing(flagged: SalesOrder, reviewer: User) -> None:
    reviewer.is_active = False
    with pytest.raises(NotAllowed):
        release(flagged, reviewer)


def test_a_clerk_finds_the_orders_of_their_own_shops_only(flagged: SalesOrder) -> None:
    stranger = user_with(Role.CLERK)
    for act in (freeze, edit):
        with pytest.raises(NotFound):
            act(flagged, stranger)


def test_a_hold_of_finance_is_lifted_by_finance_alone(seller: Seller, reviewer: User) -> None:
    order = take_one(seller.shop, draft(payable_amount=1, paid_amount=1))
    assert holds(order) == {"payment:amount"}
    with pytest.raises(NotAllowed):
        release(order, reviewer)
    release(order, user_with(Role.FINANCE))
    assert fresh(order).status == "routed"


def test_finance_lifts_its_own_hold_and_leaves_the_others(seller: Seller) -> None:
    order = take_one(seller.shop, draft(line(amount="80.00"), payable_amount=1, paid_amount=1))
    release(order, user_with(Role.FINANCE))
    assert holds(order) == {"rule:low_price_85"}
    assert fresh(order).status == "reserved"


# --- what was seen --------------------------------------------------------------------------------


@pytest.mark.parametrize("act", [release, ask, cancel, give_back, hand_over, edit])
def test_a_decision_on_an_older_picture_is_refused(
    frozen: SalesOrder, boss: User, act: Callable[..., None]
) -> None:
    seen = fresh(frozen).version
    freeze(frozen, boss)
    with pytest.raises(StaleOrder):
        act(frozen, boss, seen=seen)
    assert "rule:half_price_60" in holds(frozen)


def test_an_approval_of_what_has_changed_since_is_refused(
    frozen: SalesOrder, boss: User, ceo: User
) -> None:
    ask(frozen, boss)
    seen = fresh(frozen).version
    freeze(frozen, boss)
    with pytest.raises(StaleOrder):
        approve(frozen, ceo, seen=seen)


def test_of_two_clicks_the_second_changes_nothing(flagged: SalesOrder, reviewer: User) -> None:
    seen = fresh(flagged).version
    release(flagged, reviewer, seen=seen)
    with pytest.raises(StaleOrder):
        release(flagged, reviewer, seen=seen)


@pytest.mark.parametrize("reason", ["", "    ", "好", "四个字吧", " 四个字吧 ", "长" * 501])
@pytest.mark.parametrize("act", [release, ask, cancel, give_back, hand_over, freeze])
def test_a_reason_has_five_to_five_hundred_letters(
    frozen: SalesOrder, boss: User, act: Callable[..., None], reason: str
) -> None:
    with pytest.raises(BadReason):
        act(frozen, boss, reason=reason)


@pytest.mark.parametrize("reason", ["五个字够了", "长" * 500])
def test_five_letters_are_enough_and_five_hundred_not_too_many(
    flagged: SalesOrder, reviewer: User, reason: str
) -> None:
    release(flagged, reviewer, reason=reason)
    assert AuditRecord.objects.filter(action="hold_released").get().reason == reason


# --- releasing ------------------------------------------------------------------------------------


def test_releasing_the_last_hold_sends_the_order_to_the_shelf(
    flagged: SalesOrder, reviewer: User
) -> None:
    release(flagged, reviewer)
    order = fresh(flagged)
    assert (order.status, tasks(order), holds(order)) == ("routed", {"pick"}, set())
    hold = OrderHold.objects.get()
    assert (hold.released_by, hold.release_reason) == (f"person:{reviewer.pk}", REASON)
    assert hold.closed_version == order.version
    record = AuditRecord.objects.latest("pk")
    assert (record.action, record.actor_role) == ("hold_released", "reviewer")
    assert record.change["released"] == ["rule:low_price_85"]
    assert versions(order) == [1, 2]


def test_releasing_one_of_two_holds_leaves_the_other(seller: Seller, reviewer: User) -> None:
    order = take_one(seller.shop, draft(line(amount="80.00"), receiver=None))
    chosen = OrderHold.objects.filter(order=order, kind="rule").values_list("pk", flat=True)
    decisions.release_order(
        order.pk, list(chosen), user=reviewer, actor=as_person(reviewer),
        seen_version=order.version, reason=REASON,
    )  # fmt: skip
    assert holds(order) == {"incomplete:receiver"}
    assert fresh(order).status == "reserved"


@pytest.mark.parametrize("kind", ["unmapped", "shortage", "channel", "refund"])
def test_what_ends_by_a_fact_is_lifted_by_no_click(
    seller: Seller, reviewer: User, kind: str
) -> None:
    order = take_one(seller.shop, draft())
    OrderHoldFactory.create(order=order, kind=kind, code=kind)
    with pytest.raises(NothingToRelease):
        release(order, reviewer)
    assert holds(order) == {f"{kind}:{kind}"}


def test_a_freeze_of_tier_3_is_lifted_by_no_release_not_even_the_ceos(
    frozen: SalesOrder, ceo: User
) -> None:
    chosen = OrderHold.objects.filter(order=frozen, tier="3").values_list("pk", flat=True)
    with pytest.raises((NothingToRelease, NotAllowed)):
        decisions.release_order(
            frozen.pk, list(chosen), user=ceo, actor=as_person(ceo),
            seen_version=frozen.version, reason=REASON,
        )  # fmt: skip
    assert "rule:half_price_60" in holds(frozen)


def test_a_hold_of_another_order_is_not_lifted_by_its_number(
    seller: Seller, flagged: SalesOrder, reviewer: User
) -> None:
    other = take_one(seller.shop, draft(line("LAMP", 1, "80.00")))
    with pytest.raises(NothingToRelease):
        decisions.release_order(
            other.pk, hold_ids(flagged), user=reviewer, actor=as_person(reviewer),
            seen_version=other.version, reason=REASON,
        )  # fmt: skip
    assert holds(flagged) == {"rule:low_price_85"}


def test_a_return_for_edit_is_a_task_of_first_review_and_comes_back_to_the_wall(
    flagged: SalesOrder, reviewer: User
) -> None:
    give_back(flagged, reviewer)
    assert OrderHold.objects.get().disposition == "returned"
    task = StageTask.objects.get(stage="first_review", state="open")
    assert task.note == REASON
    clerk = user_with(Role.CLERK)
    ShopAssignmentFactory.create(user=clerk, shop=flagged.shop)
    edit(flagged, clerk)
    assert OrderHold.objects.get().disposition == "waiting"
    assert tasks(flagged) == set()
    assert holds(flagged) == {"rule:low_price_85"}


def test_after_sales_asks_the_buyer_and_the_answer_is_on_the_card(
    flagged: SalesOrder, reviewer: User
) -> None:
    hand_over(flagged, reviewer)
    clerk = user_with(Role.CLERK)
    ShopAssignmentFactory.create(user=clerk, shop=flagged.shop)
    task = StageTask.objects.get(stage="after_sales", state="open")
    with pytest.raises(InvalidInput):
        stages.finish_task(task.pk, user=clerk, actor=as_person(clerk))
    stages.finish_task(
        task.pk, user=clerk, actor=as_person(clerk),
        answer={"outcome": "resume", "note": "价格是对的"},
    )  # fmt: skip
    hold = OrderHold.objects.get()
    assert hold.disposition == "waiting"
    assert hold.evidence["after_sales"] == "买家确认继续发货 价格是对的"


# --- the freeze of tier 3 -------------------------------------------------------------------------


def test_the_ceo_approves_what_somebody_else_asked_for(
    frozen: SalesOrder, reviewer: User, ceo: User
) -> None:
    with pytest.raises(NothingToRelease):
        approve(frozen, ceo)
    ask(frozen, reviewer)
    hold = OrderHold.objects.get(tier="3")
    assert (hold.disposition, hold.asked_by) == ("escalated", f"person:{reviewer.pk}")
    approve(frozen, ceo)
    assert holds(frozen) == {"rule:low_price_85"}
    release(frozen, reviewer)
    assert fresh(frozen).status == "routed"
    assert versions(frozen) == [1, 2, 3, 4]


def test_the_ceo_refuses_and_the_card_goes_back_to_the_wall(
    frozen: SalesOrder, reviewer: User, ceo: User
) -> None:
    ask(frozen, reviewer)
    refuse(frozen, ceo)
    hold = OrderHold.objects.get(tier="3")
    assert (hold.disposition, hold.asked_by, hold.released_at) == ("waiting", "", None)
    with pytest.raises(NothingToRelease):
        approve(frozen, ceo)


def test_nobody_approves_their_own_request_not_even_the_ceo(frozen: SalesOrder, ceo: User) -> None:
    ask(frozen, ceo)
    with pytest.raises(SelfApproval):
        approve(frozen, ceo)


def test_the_database_refuses_an_unasked_or_a_self_approved_release(
    frozen: SalesOrder, reviewer: User
) -> None:
    mine = OrderHold.objects.filter(order=frozen, tier="3")
    wrong: list[dict[str, Any]] = [
        {"released_by": "person:1"},
        {"released_by": "person:1", "asked_by": "person:1"},
    ]
    for facts in wrong:
        with pytest.raises(IntegrityError), transaction.atomic():
            mine.update(released_at=frozen.received_at, **facts)


def test_asking_where_nothing_is_frozen_is_refused(flagged: SalesOrder, reviewer: User) -> None:
    with pytest.raises(NothingToRelease):
        ask(flagged, reviewer)


# --- freezing -------------------------------------------------------------------------------------


def test_a_freeze_stops_the_parcel_and_freezing_twice_is_once(seller: Seller, boss: User) -> None:
    order = take_one(seller.shop, draft())
    freeze(order, boss)
    freeze(order, boss)
    assert holds(order) == {"person:person"}
    assert ParcelStop.objects.count() == 1
    assert fresh(order).version == 2


def test_a_freeze_that_comes_too_late_says_so(seller: Seller, boss: User, carrier: Carrier) -> None:
    order = take_one(seller.shop, draft())
    ship(order, boss)
    for _ in range(2):
        with pytest.raises(TooLate, match="已发出"):
            freeze(order, boss)
    assert [stop.outcome for stop in ParcelStop.objects.all()] == ["too_late"]
    assert "after_sales" in tasks(order)


def test_lifting_a_freeze_lets_the_parcel_go_on_where_it_stood(
    seller: Seller, boss: User, carrier: Carrier
) -> None:
    order = take_one(seller.shop, draft())
    parcel = pick(order, boss)
    freeze(order, boss)
    release(order, boss)
    stages.request_label(parcel.pk, user=boss, actor=as_person(boss))
    parcel.refresh_from_db()
    assert parcel.state == "packed"


# --- canceling ------------------------------------------------------------------------------------


def test_canceling_gives_everything_back_at_once(
    seller: Seller, boss: User, carrier: Carrier
) -> None:
    order = take_one(seller.shop, draft(line("SOFA", 2)))
    print_label(order, boss)
    cancel(order, boss)
    assert (fresh(order).status, promised(order), tasks(order)) == ("canceled", {}, {"put_back"})
    with pytest.raises(WrongState):
        cancel(order, boss)
    record = AuditRecord.objects.latest("pk")
    assert (record.action, record.reason) == ("order_canceled", REASON)


def test_canceling_ends_every_hold_of_the_order(flagged: SalesOrder, reviewer: User) -> None:
    cancel(flagged, reviewer)
    assert holds(flagged) == set()
    assert OrderHold.objects.get().release_reason == REASON


def test_a_frozen_order_is_not_canceled_away(frozen: SalesOrder, boss: User) -> None:
    with pytest.raises(WrongState):
        cancel(frozen, boss)
    assert fresh(frozen).status != "canceled"


# --- the receiver ---------------------------------------------------------------------------------


def test_a_corrected_receiver_is_judged_again_and_goes_on(seller: Seller, boss: User) -> None:
    order = take_one(seller.shop, draft(receiver=somebody(phone="")))
    edit(order, boss)
    order = fresh(order)
    assert (order.status, order.verdicts.count(), tasks(order)) == ("routed", 2, {"pick"})
    assert order.receiver_masked.startswith("李")
    assert order.district == "姑苏区"


def test_a_receiver_edited_after_the_label_needs_a_new_label(
    seller: Seller, boss: User, carrier: Carrier
) -> None:
    order = take_one(seller.shop, draft())
    waybill = print_label(order, boss)
    edit(order, boss)
    waybill.refresh_from_db()
    assert waybill.state == "void"
    again = stages.request_label(waybill.parcel_id, user=boss, actor=as_person(boss))
    assert again.pk != waybill.pk
    assert again.client_reference != waybill.client_reference


@pytest.mark.parametrize(
    "wrong",
    [{"phone": ""}, {"province": "火星"}, {"city": "杭州市", "district": ""}, {"name": "长" * 201}],
)
def test_a_correction_that_corrects_nothing_is_refused_in_words(
    seller: Seller, boss: User, wrong: dict[str, str]
) -> None:
    order = take_one(seller.shop, draft(receiver=somebody(phone="")))
    with pytest.raises(InvalidInput) as refused:
        edit(order, boss, seen=order.version, **wrong)
    assert str(refused.value)
    assert holds(order) == {"incomplete:receiver"}


def test_no_trace_of_the_receiver_is_in_the_record_of_the_edit(seller: Seller, boss: User) -> None:
    order = take_one(seller.shop, draft(receiver=somebody(phone="")))
    edit(order, boss)
    record = AuditRecord.objects.latest("pk")
    assert record.action == "receiver_edited"
    assert all(secret not in str(record.change) for secret in ("李晓红", "19900009999", "平江路"))


def test_a_returned_order_that_was_put_right_is_judged_again(
    flagged: SalesOrder, boss: User
) -> None:
    decide(decisions.return_for_edit, flagged, boss)
    judged = flagged.verdicts.count()
    task = StageTask.objects.get(order=flagged, stage="first_review", state="open")
    stages.finish_task(task.pk, user=boss, actor=as_person(boss))
    assert flagged.verdicts.count() == judged + 1
    assert holds(flagged)
    assert set(flagged.holds.values_list("disposition", flat=True)) == {"waiting"}


def test_what_was_released_on_the_buyers_word_stops_the_order_no_second_time(
    flagged: SalesOrder, boss: User
) -> None:
    decide(decisions.hand_to_after_sales, flagged, boss)
    task = StageTask.objects.get(order=flagged, stage="after_sales", state="open")
    answer = {"outcome": "resume", "note": "价格是对的"}
    stages.finish_task(task.pk, user=boss, actor=as_person(boss), answer=answer)
    release(flagged, boss)
    assert not holds(flagged)
    edit(flagged, boss)
    assert flagged.verdicts.latest("pk").tier == "2"
    assert not holds(flagged)
