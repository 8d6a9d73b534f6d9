"""An interception from the command to its end: what stands still, what goes on, who may."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User

from fulfillment.contracts import CarrierErrorClass, CarrierFault, CarrierRejected, CarrierTryLater
from fulfillment.models import Parcel, ParcelStop, StageTask, Waybill
from ordercenter.audit.models import AuditRecord
from ordercenter.console.wall_facts import WallFilter, wall
from ordercenter.core.actor import Actor
from ordercenter.core.clock import now as clock_now
from ordercenter.core.errors import InvalidInput, NotAllowed, NotFound
from ordercenter.core.policy import Role
from ordercenter.notices.models import Notice
from ordercenter.orders.errors import BadReason, NothingToRelease, OrderHeld, SelfApproval
from ordercenter.orders.models import Interception, InterceptionPolicy, OrderHold, SalesOrder
from ordercenter.pipeline import decisions, stages
from ordercenter.pipeline.interception import acts, carriers, filling, tracking
from ordercenter.pipeline.interception.gates import Condition
from tests.factories import CarrierAccountFactory, RobotFactory, user_with
from tests.pipeline.seller import (
    Carrier,
    Seller,
    as_person,
    draft,
    holds,
    pick,
    print_label,
    ship,
    somebody,
    take,
    take_one,
    versions,
)

pytestmark = pytest.mark.django_db
WORDS = "江苏省暂停发货"
JIANGSU = Condition.read({"places": [["江苏省", "", ""]]})
REASON = "台风预警，暂停发货"


def wish(**changes: Any) -> acts.Wish:
    values: dict[str, Any] = {
        "text": WORDS, "condition": JIANGSU, "words": WORDS, "reason": REASON, **changes
    }  # fmt: skip
    return acts.Wish(**values)


def start(boss: User, **changes: Any) -> Interception:
    return acts.ask(wish(**changes), user=boss, actor=as_person(boss))


@pytest.fixture
def ceo() -> User:
    return user_with(Role.CEO)


def end(row: Interception, ceo: User) -> Interception:
    return acts.end(row.pk, user=ceo, actor=as_person(ceo), reason="台风已过，恢复发货")


def elsewhere() -> Any:
    return somebody(province="浙江省", city="杭州市", district="余杭区")


# --- in ---------------------------------------------------------------------------------------


def test_every_open_order_inside_is_held_and_no_other(seller: Seller, boss: User) -> None:
    inside, paid_later = take(seller.shop, draft(), draft(paid=False))
    outside = take_one(seller.shop, draft(receiver=elsewhere()))
    row = start(boss)
    assert row.state == "active"
    assert row.held_at is not None
    assert holds(inside) == holds(paid_later) == {f"intercept:i{row.pk}"}
    assert holds(outside) == set()


def test_orders_are_not_rewritten_and_one_record_names_them_all(seller: Seller, boss: User) -> None:
    orders = take(seller.shop, draft(), draft(), draft())
    before = {order.pk: order.version for order in orders}
    row = start(boss)
    for order in orders:
        order.refresh_from_db()
        assert order.version == before[order.pk]
        assert versions(order) == list(range(1, order.version + 1))
        hold = OrderHold.objects.get(order=order)
        assert (hold.opened_version, hold.disposition) == (order.version + 1, "standing")
    told = AuditRecord.objects.filter(object_type="interception", object_id=row.pk)
    assert list(told.order_by("pk").values_list("action", flat=True)) == [
        "intercept_started", "hold_opened"
    ]  # fmt: skip
    assert told.get(action="hold_opened").change["orders"] == 3


def test_an_order_that_comes_later_is_held_on_its_way_and_keeps_its_stock(
    seller: Seller, boss: User
) -> None:
    row = start(boss)
    order = take_one(seller.shop, draft())
    assert (order.status, holds(order)) == ("reserved", {f"intercept:i{row.pk}"})
    assert OrderHold.objects.get(order=order).interception_id == row.pk


def test_a_sku_is_known_as_soon_as_its_line_is_mapped(seller: Seller, boss: User) -> None:
    row = start(boss, condition=Condition.read({"skus": ["SOFA"]}), words="SOFA 停发")
    order = take_one(seller.shop, draft())
    assert holds(order) == {f"intercept:i{row.pk}"}


def test_an_order_that_moves_out_of_the_place_goes_on(seller: Seller, boss: User) -> None:
    order = take_one(seller.shop, draft())
    start(boss)
    moved = {
        "name": "王小明", "phone": "13900139000", "province": "浙江省", "city": "杭州市",
        "district": "余杭区", "address": "文一路9号",
    }  # fmt: skip
    decisions.edit_receiver(
        order.pk, user=boss, actor=as_person(boss), seen_version=order.version, receiver=moved
    )
    assert holds(order) == set()


def test_nobody_releases_it_by_a_click(seller: Seller, boss: User) -> None:
    order = take_one(seller.shop, draft())
    start(boss)
    hold = OrderHold.objects.get(order=order)
    with pytest.raises(NothingToRelease):
        decisions.release_order(
            order.pk, [hold.pk], user=boss, actor=as_person(boss), seen_version=order.version,
            reason=REASON,
        )  # fmt: skip


def test_a_canceled_order_ends_its_hold(seller: Seller, boss: User) -> None:
    order = take_one(seller.shop, draft())
    start(boss)
    decisions.cancel_order(
        order.pk, user=boss, actor=as_person(boss), seen_version=order.version, reason=REASON
    )
    hold = OrderHold.objects.get(order=order)
    assert (holds(order), hold.closed_version) == (set(), hold.opened_version)


def test_what_a_command_stops_is_a_card_of_nobody(seller: Seller, boss: User) -> None:
    standing, frozen = take(seller.shop, draft(), draft())
    start(boss)
    decisions.freeze_order(frozen.pk, user=boss, actor=as_person(boss), reason=REASON)
    seen = wall(boss, WallFilter())
    assert (holds(standing) != set(), seen.total) == (True, 1)
    assert "指令拦截中" not in {chip.label for chip in seen.places}


# --- at the bench -----------------------------------------------------------------------------


def behind_the_gate(patch: pytest.MonkeyPatch, boss: User) -> Interception:
    """The gate has just been committed; no hold has been written yet."""
    with patch.context() as patched:
        patched.setattr(filling, "hold_all", lambda *_args, **_kwargs: 0)
        return start(boss)


def test_every_step_at_the_bench_stops_at_the_gate_before_its_hold_is_written(
    seller: Seller, boss: User, carrier: Carrier, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned, picked, packed = take(seller.shop, draft(), draft(), draft())
    parcel, waybill = pick(picked, boss), print_label(packed, boss)
    task = StageTask.objects.get(order=planned, stage="pick", state="open")
    row = behind_the_gate(monkeypatch, boss)
    assert not OrderHold.objects.exists()
    person = as_person(boss)
    scanned = stages.scan(waybill.number, user=boss)
    assert (scanned.stopped, scanned.words) == (True, (WORDS,))
    with pytest.raises(OrderHeld, match=WORDS):
        stages.finish_task(task.pk, user=boss, actor=person)
    with pytest.raises(OrderHeld, match=WORDS):
        stages.request_label(parcel.pk, user=boss, actor=person)
    with pytest.raises(OrderHeld, match=WORDS):
        stages.ship_parcel(
            waybill.parcel_id, user=boss, actor=person, tracking_number=waybill.number
        )
    stopped = dict(ParcelStop.objects.values_list("parcel__order_id", "where"))
    assert stopped == {planned.pk: "before_pick", picked.pk: "bench", packed.pk: "bench"}
    for order in (planned, picked, packed):
        assert holds(order) == {f"intercept:i{row.pk}"}
    assert filling.hold_all(row.pk) == 0
    assert ParcelStop.objects.count() == 3


def test_a_number_that_comes_for_an_order_behind_a_gate_is_void(
    seller: Seller, boss: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = take_one(seller.shop, draft())
    parcel = pick(order, boss)
    number = Carrier()

    def while_the_carrier_thinks(waybill: Waybill, *_: object) -> Any:
        behind_the_gate(monkeypatch, boss)
        return number(waybill)

    monkeypatch.setattr(stages, "_ask_carrier", while_the_carrier_thinks)
    waybill = stages.request_label(parcel.pk, user=boss, actor=as_person(boss))
    assert waybill.state == Waybill.State.VOID


def test_a_carrier_that_is_spared_is_not_stopped(
    seller: Seller, boss: User, carrier: Carrier
) -> None:
    order = take_one(seller.shop, draft())
    spared = Condition.read({"places": [["江苏省", "", ""]], "not_carriers": ["sf"]})
    start(boss, condition=spared)
    assert ship(order, boss).state == Parcel.State.SHIPPED


# --- out --------------------------------------------------------------------------------------


def test_the_end_lifts_its_own_holds_only_and_the_orders_go_on(
    seller: Seller, boss: User, ceo: User
) -> None:
    free, frozen, later = take(seller.shop, draft(), draft(), draft(paid=False))
    decisions.freeze_order(frozen.pk, user=boss, actor=as_person(boss), reason=REASON)
    row = start(boss)
    came = take_one(seller.shop, draft())
    over = end(row, ceo)
    assert over.state == "lifted"
    assert holds(free) == holds(came) == holds(later) == set()
    assert holds(frozen) == {"person:person"}
    assert filling.go_on(row.pk) == 1
    came.refresh_from_db()
    assert came.status == "routed"
    assert filling.go_on(row.pk) == 0
    row.refresh_from_db()
    assert row.freed_at is not None


def test_of_two_interceptions_the_other_holds_on(seller: Seller, boss: User, ceo: User) -> None:
    order = take_one(seller.shop, draft())
    place = start(boss)
    goods = start(boss, condition=Condition.read({"skus": ["SOFA"]}), words="SOFA 停发")
    assert len(holds(order)) == 2
    end(place, ceo)
    filling.go_on(place.pk)
    assert holds(order) == {f"intercept:i{goods.pk}"}


def test_it_ends_by_itself_when_its_time_is_over(seller: Seller, boss: User) -> None:
    order = take_one(seller.shop, draft())
    row = start(boss, ends_at=clock_now() + timedelta(hours=3))
    assert acts.expire_due() == "0 interceptions have run their time"
    acts.expire_due(now=clock_now() + timedelta(hours=3))
    row.refresh_from_db()
    assert (row.state, holds(order)) == ("expired", set())


def test_a_parcel_that_stood_goes_on_with_its_label(
    seller: Seller, boss: User, ceo: User, carrier: Carrier
) -> None:
    order = take_one(seller.shop, draft())
    waybill = print_label(order, boss)
    row = start(boss)
    end(row, ceo)
    stages.ship_parcel(
        waybill.parcel_id, user=boss, actor=as_person(boss), tracking_number=waybill.number
    )
    order.refresh_from_db()
    assert order.status == "shipped"


# --- who may ----------------------------------------------------------------------------------


def test_above_the_limit_a_second_person_starts_it(seller: Seller, boss: User) -> None:
    InterceptionPolicy(most_orders=1).save()
    orders = take(seller.shop, draft(), draft())
    row = start(boss)
    assert (row.state, row.preview["orders"]) == ("asked", 2)
    assert holds(orders[0]) == set()
    with pytest.raises(SelfApproval):
        acts.approve(row.pk, user=boss, actor=as_person(boss))
    second = user_with(Role.OPERATIONS_SUPERVISOR)
    for _ in range(2):  # a second click changes nothing
        running = acts.approve(row.pk, user=second, actor=as_person(second))
        assert running.state == "active"
    assert all(holds(order) == {f"intercept:i{row.pk}"} for order in orders)


def test_the_value_counts_as_well_and_so_does_everything(seller: Seller, boss: User) -> None:
    InterceptionPolicy(most_value=150).save()
    take(seller.shop, draft(), draft())
    assert start(boss).state == "asked"
    take_nothing = Condition.read({"all": True, "not_shops": [seller.shop.code]})
    assert start(boss, condition=take_nothing).state == "asked"


def test_what_was_refused_does_not_start(seller: Seller, boss: User) -> None:
    InterceptionPolicy(most_orders=0).save()
    take_one(seller.shop, draft())
    row = start(boss)
    second = user_with(Role.CEO)
    acts.refuse(row.pk, user=second, actor=as_person(second), reason="范围太大，先确认")
    with pytest.raises(acts.InterceptionOver):
        acts.approve(row.pk, user=second, actor=as_person(second))


def test_a_supervisor_asks_for_the_end_and_the_ceo_ends(
    seller: Seller, boss: User, ceo: User
) -> None:
    row = start(boss)
    asked = acts.lift(row.pk, user=boss, actor=as_person(boss), reason="台风已过，请解除")
    assert (asked.state, asked.end_asked_by) == ("active", f"person:{boss.pk}")
    with pytest.raises(NotAllowed):
        acts.end(row.pk, user=boss, actor=as_person(boss), reason=REASON)
    assert acts.lift(row.pk, user=ceo, actor=as_person(ceo), reason=REASON).state == "lifted"


@pytest.mark.parametrize("role", [Role.CLERK, Role.PACKER, Role.REVIEWER, Role.IT, Role.FINANCE])
def test_others_start_nothing(role: Role) -> None:
    user = user_with(role)
    with pytest.raises(NotAllowed):
        acts.ask(wish(), user=user, actor=as_person(user))


def test_a_feed_starts_and_ends_its_own_and_tells_a_warning_once(
    seller: Seller, boss: User
) -> None:
    feed = Actor.job("feed:weather")
    told = wish(source=Interception.Source.FEED, source_key="typhoon-12")
    first = acts.ask(told, user=None, actor=feed)
    assert acts.ask(told, user=None, actor=feed).pk == first.pk
    assert Interception.objects.count() == 1
    acts.end(first.pk, user=None, actor=feed, reason="气象台解除预警")
    by_hand = start(boss)
    with pytest.raises(NotAllowed):
        acts.end(by_hand.pk, user=None, actor=feed, reason="气象台解除预警")
    with pytest.raises(NotAllowed):
        acts.ask(wish(), user=None, actor=feed)


def test_a_proposal_waits_for_a_person_however_small(seller: Seller, boss: User) -> None:
    told = wish(source=Interception.Source.FEED, source_key="typhoon-13")
    row = acts.ask(told, user=None, actor=Actor.job("feed:weather"), propose=True)
    assert row.state == "asked"
    assert acts.approve(row.pk, user=boss, actor=as_person(boss)).state == "active"


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"reason": "短"}, BadReason), ({"words": " "}, InvalidInput),
        ({"ends_at": clock_now() - timedelta(minutes=1)}, InvalidInput),
        ({"text": "x" * 301}, InvalidInput), ({"source_key": "k" * 101}, InvalidInput),
    ],
)  # fmt: skip
def test_a_wish_that_cannot_be_meant_is_refused(
    changes: dict[str, Any], refusal: type[Exception], boss: User
) -> None:
    with pytest.raises(refusal):
        start(boss, **changes)


# --- told, and tracked ------------------------------------------------------------------------


def test_each_shop_gets_one_to_do_and_the_groups_one_notice(
    seller: Seller, boss: User, ceo: User
) -> None:
    RobotFactory.create()
    orders = take(seller.shop, draft(), draft(), draft())
    row = start(boss)
    (task,) = StageTask.objects.filter(stage="after_sales", state="open")
    assert task.order_id in {order.pk for order in orders}
    assert "本店 3 单" in task.note
    assert Notice.objects.filter(key=f"intercept:{row.pk}:held").count() == 1
    end(row, ceo)
    filling.go_on(row.pk)
    task.refresh_from_db()
    assert task.state == "withdrawn"
    assert Notice.objects.filter(key=f"intercept:{row.pk}:freed").count() == 1


class Speaking:
    """Stands in for the carrier's line."""

    def __init__(self, *answers: Exception | None) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    def intercept(self, number: str) -> None:
        self.asked.append(number)
        if error := self.answers.pop(0):
            raise error


def fault(words: str) -> CarrierFault:
    return CarrierFault(CarrierErrorClass.BUSINESS, "8252", words)


def test_what_has_just_left_is_asked_back_and_the_answer_is_shown(
    seller: Seller, boss: User, carrier: Carrier, monkeypatch: pytest.MonkeyPatch
) -> None:
    CarrierAccountFactory.create(code="sf")
    fresh, old, refused = take(seller.shop, draft(), draft(), draft())
    parcels = [ship(order, boss) for order in (fresh, old, refused)]
    Parcel.objects.filter(pk=parcels[1].pk).update(shipped_at=clock_now() - timedelta(hours=3))
    row = start(boss)
    late = ParcelStop.objects.filter(interception=row, where="carrier")
    assert {stop.parcel_id for stop in late} == {parcels[0].pk, parcels[2].pk}
    line = Speaking(None, CarrierTryLater(fault("系统繁忙")), CarrierRejected(fault("已派送")))
    monkeypatch.setattr(carriers, "speaking", lambda *_: line)
    now = clock_now()
    assert carriers.ask_carriers(now=now) == "1 of 2 parcels are to come back"
    assert carriers.ask_carriers(now=now) == "no parcel is to be called back"
    carriers.ask_carriers(now=now + timedelta(minutes=2))
    shown = {one.order_id: one for one in tracking.tracked(row.pk, user=boss, place="late")}
    assert shown[fresh.pk].call_back == "asked"
    assert (shown[refused.pk].call_back, shown[refused.pk].words) == ("refused", "已派送")
    assert len(line.asked) == 3
    figures = tracking.figures([row.pk])[row.pk]
    assert (figures.late, figures.asked, figures.refused, figures.waiting) == (2, 1, 1, 0)


def test_a_carrier_that_never_answers_is_given_up(
    seller: Seller, boss: User, carrier: Carrier, monkeypatch: pytest.MonkeyPatch
) -> None:
    CarrierAccountFactory.create(code="sf")
    ship(take_one(seller.shop, draft()), boss)
    start(boss)
    line = Speaking(*[CarrierTryLater(fault("系统繁忙"))] * 20)
    monkeypatch.setattr(carriers, "speaking", lambda *_: line)
    for turn in range(15):
        carriers.ask_carriers(now=clock_now() + timedelta(minutes=5 * turn))
    stop = ParcelStop.objects.get(where="carrier")
    assert (stop.call_back, len(line.asked)) == ("refused", 10)


def test_what_nobody_has_asked_for_yet_is_not_asked_after_the_end(
    seller: Seller, boss: User, ceo: User, carrier: Carrier
) -> None:
    ship(take_one(seller.shop, draft()), boss)
    row = start(boss)
    end(row, ceo)
    filling.go_on(row.pk)
    assert ParcelStop.objects.get(where="carrier").call_back == "dropped"


def test_every_order_of_it_is_tracked_with_what_happened(
    seller: Seller, boss: User, ceo: User, carrier: Carrier
) -> None:
    standing, packed = take(seller.shop, draft(), draft())
    print_label(packed, boss)
    row = start(boss)
    places = {one.order_id: one.place for one in tracking.tracked(row.pk, user=boss)}
    assert places == {standing.pk: "held", packed.pk: "bench"}
    assert tracking.figures([row.pk])[row.pk].at_bench == 1
    assert [one.pk for one in tracking.running()] == [row.pk]
    end(row, ceo)
    steps = [step.what for step in tracking.trail(row.pk, packed.pk, user=boss)]
    assert steps[0] == "启动拦截"
    assert any(what.startswith("包裹") for what in steps)
    assert any(what.startswith("恢复") for what in steps)
    assert tracking.running() == []


def test_a_clerk_of_another_shop_sees_none_of_its_orders(seller: Seller, boss: User) -> None:
    order = take_one(seller.shop, draft())
    row = start(boss)
    clerk = user_with(Role.CLERK)
    assert not tracking.tracked(row.pk, user=clerk)
    with pytest.raises(NotFound):
        tracking.trail(row.pk, order.pk, user=clerk)


# --- what a killed one left -------------------------------------------------------------------


def test_the_sweep_finishes_what_was_begun(
    seller: Seller, boss: User, ceo: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = take_one(seller.shop, draft())
    row = behind_the_gate(monkeypatch, boss)
    later = clock_now() + timedelta(minutes=1)
    filling.sweep(now=later)
    assert holds(order) == {f"intercept:i{row.pk}"}
    with monkeypatch.context() as patched:
        patched.setattr(filling, "release_all", lambda *_args, **_kwargs: 0)
        end(row, ceo)
    assert holds(order) == {f"intercept:i{row.pk}"}
    filling.sweep(now=later)
    assert holds(order) == set()
    row.refresh_from_db()
    assert row.freed_at is not None
    assert SalesOrder.objects.get(pk=order.pk).status == "routed"
