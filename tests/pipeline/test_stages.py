"""The hands' work: one task at a time, a stop at every scan, one parcel, one number."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, connection, transaction

from channels_sync.models import OutboundMessage
from fulfillment.contracts import Issued, TraceEventDraft, TraceStatus
from fulfillment.models import Parcel, StageTask, TraceEvent, Waybill
from fulfillment.traces import take_events
from inventory.models import StockLevel
from ordercenter.audit.models import AuditRecord
from ordercenter.core.actor import PIPELINE
from ordercenter.core.clock import now as clock_now
from ordercenter.core.errors import InvalidInput, NotAllowed, NotFound
from ordercenter.core.policy import ALLOWED, Role
from ordercenter.notices.models import Notice
from ordercenter.orders.errors import OrderCanceled, OrderHeld, WrongState
from ordercenter.orders.models import OrderHold, SalesOrder
from ordercenter.pipeline import decisions, demo, jobs, stages
from tests.factories import (
    CarrierAccountFactory,
    OrderHoldFactory,
    RobotFactory,
    ShopAssignmentFactory,
    StageClockFactory,
    WarehouseAssignmentFactory,
    user_with,
)
from tests.pipeline.lines import SELLER, URL, ask, connected, sandbox
from tests.pipeline.seller import (
    REASON,
    Carrier,
    Seller,
    as_person,
    draft,
    holds,
    line,
    pick,
    print_label,
    ship,
    somebody,
    take_one,
    tasks,
    versions,
)

pytestmark = pytest.mark.django_db


def freeze(order: SalesOrder, user: User) -> None:
    decisions.freeze_order(order.pk, user=user, actor=as_person(user), reason=REASON)


def cancel(order: SalesOrder, user: User) -> None:
    order.refresh_from_db()
    decisions.cancel_order(
        order.pk, user=user, actor=as_person(user), seen_version=order.version, reason=REASON
    )


def label(parcel: Parcel, user: User) -> Waybill:
    return stages.request_label(parcel.pk, user=user, actor=as_person(user))


def hand_over(parcel: Parcel, user: User, number: str) -> None:
    stages.ship_parcel(parcel.pk, user=user, actor=as_person(user), tracking_number=number)


def task_of(order: SalesOrder, stage: str) -> StageTask:
    return StageTask.objects.get(order=order, stage=stage, state="open")


def finish(task: StageTask, user: User, **answer: str) -> None:
    stages.finish_task(task.pk, user=user, actor=as_person(user), answer=answer)


def packer_at(seller: Seller, role: Role = Role.PACKER) -> User:
    user = user_with(role)
    WarehouseAssignmentFactory.create(user=user, warehouse=seller.near.warehouse)
    return user


# --- whose work it is -----------------------------------------------------------------------------


def every_stage(seller: Seller) -> None:
    """Leave one task of each stage open, each on an order of its own."""
    for stage in ("first_review", "finance_check", "pick", "pack", "notify", "after_sales",
                  "put_back"):  # fmt: skip
        order = take_one(seller.shop, draft(line("SOFA")))
        StageTask.objects.filter(order=order).update(stage=stage)


@pytest.mark.parametrize("role", Role)
def test_everybody_sees_the_stages_of_their_role_and_no_other(seller: Seller, role: Role) -> None:
    every_stage(seller)
    user = packer_at(seller, role)
    ShopAssignmentFactory.create(user=user, shop=seller.shop)
    found = set(stages.tasks_for(user).values_list("stage", flat=True))
    assert found == {
        stage.value for stage, right in stages.RIGHTS.items() if role in ALLOWED[right]
    }


def test_a_packer_without_a_warehouse_and_a_clerk_without_a_shop_have_nothing_to_do(
    seller: Seller,
) -> None:
    every_stage(seller)
    for role in (Role.PACKER, Role.PICKER, Role.CLERK):
        assert not stages.tasks_for(user_with(role)).exists()


def test_a_picker_works_in_their_own_warehouse_only(seller: Seller) -> None:
    picker = packer_at(seller, Role.PICKER)
    near = take_one(seller.shop, draft())
    far = take_one(seller.shop, draft(receiver=somebody(province="广东省", city="深圳市",
                                                        district="南山区")))  # fmt: skip
    assert [task.order for task in stages.tasks_for(picker)] == [near]
    with pytest.raises(NotFound):
        finish(task_of(far, "pick"), picker)


def test_what_is_urgent_comes_first_and_then_what_is_due_first(seller: Seller) -> None:
    picker = packer_at(seller, Role.PICKER)
    plain = take_one(seller.shop, draft())
    second = take_one(seller.shop, draft(line("LAMP")))
    StageTask.objects.filter(order=second).update(due_at=clock_now() - timedelta(hours=1))
    hurry = take_one(seller.shop, draft(line("RUG"), buyer_remark="今天必须发"))
    assert [task.order for task in stages.tasks_for(picker)] == [hurry, second, plain]


def test_a_task_somebody_has_in_hand_stays_theirs(seller: Seller) -> None:
    mine, theirs = packer_at(seller, Role.PICKER), user_with(Role.WAREHOUSE_SUPERVISOR)
    task = task_of(take_one(seller.shop, draft()), "pick")
    assert stages.claim_task(task.pk, user=mine).assignee == mine
    assert stages.claim_task(task.pk, user=mine).assignee == mine
    with pytest.raises(InvalidInput):
        stages.claim_task(task.pk, user=theirs)


def test_a_task_is_finished_once(seller: Seller, boss: User) -> None:
    order = take_one(seller.shop, draft())
    task = task_of(order, "pick")
    finish(task, boss)
    with pytest.raises(NotFound):
        finish(task, boss)
    assert versions(order) == [1, 2]


# --- clocks ---------------------------------------------------------------------------------------


def test_each_stage_has_its_clock_and_business_people_set_it(seller: Seller) -> None:
    now = clock_now()
    order = take_one(seller.shop, draft(), now=now)
    assert task_of(order, "pick").due_at == now + timedelta(hours=2)
    StageClockFactory.create(stage="pick", minutes=15)
    order = take_one(seller.shop, draft(), now=now)
    assert task_of(order, "pick").due_at == now + timedelta(minutes=15)


def test_what_is_overdue_is_told_louder_each_time_the_clock_runs_out_again(seller: Seller) -> None:
    RobotFactory.create()
    now = clock_now()
    take_one(seller.shop, draft(), now=now)
    told = []
    for minutes in (119, 120, 121, 240, 360, 480, 600, 720):
        jobs.escalate(now=now + timedelta(minutes=minutes, seconds=1))
        told.append(Notice.objects.count())
    assert told == [0, 1, 1, 2, 3, 4, 4, 4]
    assert list(Notice.objects.order_by("pk").values_list("urgency", flat=True)) == [
        "2", "3", "3", "3",
    ]  # fmt: skip


# --- picking and packing --------------------------------------------------------------------------


def test_picking_passes_the_order_to_the_packer(seller: Seller, boss: User) -> None:
    order = take_one(seller.shop, draft())
    parcel = pick(order, boss)
    assert (parcel.state, tasks(order)) == ("picked", {"pack"})
    record = AuditRecord.objects.latest("pk")
    assert (record.action, record.change["stage"]) == ("stage_done", "pick")


@pytest.mark.parametrize("stop", [freeze, cancel])
def test_what_must_stop_is_not_picked(
    seller: Seller, boss: User, stop: Callable[[SalesOrder, User], None]
) -> None:
    order = take_one(seller.shop, draft())
    task = task_of(order, "pick")
    stop(order, boss)
    with pytest.raises((OrderHeld, NotFound)):
        finish(task, boss)
    assert order.parcels.get().state in {"planned", "canceled"}


@pytest.mark.parametrize("stop", [freeze, cancel])
def test_what_must_stop_gets_no_label(
    seller: Seller, boss: User, carrier: Carrier, stop: Callable[[SalesOrder, User], None]
) -> None:
    parcel = pick(take_one(seller.shop, draft()), boss)
    stop(parcel.order, boss)
    with pytest.raises((OrderHeld, OrderCanceled)):
        label(parcel, boss)
    assert carrier.asked == []
    assert not Waybill.objects.exists()


def test_what_is_not_picked_gets_no_label(seller: Seller, boss: User, carrier: Carrier) -> None:
    order = take_one(seller.shop, draft())
    with pytest.raises(WrongState):
        label(order.parcels.get(), boss)


def test_packing_is_finished_by_the_scan_and_by_nothing_else(seller: Seller, boss: User) -> None:
    order = take_one(seller.shop, draft())
    pick(order, boss)
    with pytest.raises(InvalidInput):
        finish(task_of(order, "pack"), boss)


# --- the scan -------------------------------------------------------------------------------------


def test_a_scan_knows_parcel_tracking_and_order_number(
    seller: Seller, boss: User, carrier: Carrier
) -> None:
    order = take_one(seller.shop, draft())
    waybill = print_label(order, boss)
    for code in (waybill.number, waybill.parcel.number, order.number, f"  {order.number}\n"):
        found = stages.scan(code, user=boss)
        assert (found.order, found.parcel, found.stopped) == (order, waybill.parcel, False)
    with pytest.raises(NotFound):
        stages.scan("", user=boss)
    with pytest.raises(NotFound):
        stages.scan("SF999", user=boss)


def test_a_scan_says_stop_and_why(seller: Seller, boss: User, carrier: Carrier) -> None:
    order = take_one(seller.shop, draft())
    waybill = print_label(order, boss)
    freeze(order, boss)
    found = stages.scan(waybill.number, user=boss)
    assert found.stopped
    assert REASON in found.words[0]
    cancel(order, boss)
    assert stages.scan(waybill.number, user=boss).words == ("订单已取消",)


def test_a_scan_tells_nothing_of_other_warehouses_or_to_others(seller: Seller) -> None:
    order = take_one(seller.shop, draft(receiver=somebody(province="广东省", city="深圳市",
                                                          district="南山区")))  # fmt: skip
    with pytest.raises(NotFound):
        stages.scan(order.number, user=packer_at(seller))
    with pytest.raises(NotAllowed):
        stages.scan(order.number, user=user_with(Role.FINANCE))


# --- the number -----------------------------------------------------------------------------------


def test_asking_twice_for_a_label_is_one_number(
    seller: Seller, boss: User, carrier: Carrier
) -> None:
    order = take_one(seller.shop, draft())
    first = print_label(order, boss)
    second = label(first.parcel, boss)
    assert (second.pk, second.number) == (first.pk, first.number)
    assert carrier.asked == [first.client_reference]
    assert first.order_version == 3
    assert versions(order) == [1, 2, 3]


def sf_that_times_out(handler: Callable[[httpx.Request], httpx.Response], lost: list[str]) -> Any:
    """SF takes the order and its answer is lost, once for each entry of ``lost``."""

    def line(request: httpx.Request) -> httpx.Response:
        answer = handler(request)
        if "EXP_RECE_CREATE_ORDER" in request.content.decode() and lost:
            lost.pop()
            raise httpx.ReadTimeout("lost")
        return answer

    return line


@pytest.fixture
def demo_boss() -> User:
    demo.load(SELLER, sandbox_url=URL, password="a-password")
    return User.objects.get(username="zhuguan")


def test_a_number_given_before_the_line_went_dead_is_found_again(
    seller: Seller, demo_boss: User
) -> None:
    """One parcel, one number, one bill, though the answer was lost."""
    bench = sandbox()
    order = take_one(seller.shop, draft())
    parcel = pick(order, demo_boss)
    with connected(sf_that_times_out(ask(bench), ["once"])):
        waybill = label(parcel, demo_boss)
    assert waybill.state == "live"
    assert waybill.number.startswith("SF")
    assert Waybill.objects.count() == 1


def test_when_even_the_question_is_lost_the_next_request_finds_the_first_number(
    seller: Seller, demo_boss: User
) -> None:
    bench = sandbox()
    order = take_one(seller.shop, draft())
    parcel = pick(order, demo_boss)
    handler = ask(bench)

    def silent(request: httpx.Request) -> httpx.Response:
        handler(request)
        raise httpx.ReadTimeout("lost")

    with connected(silent), pytest.raises(stages.CarrierRefused):
        label(parcel, demo_boss)
    intent = Waybill.objects.get()
    assert (intent.state, intent.number) == ("intent", "")
    with connected(handler):
        waybill = label(parcel, demo_boss)
        assert label(parcel, demo_boss).number == waybill.number
    assert waybill.pk == intent.pk
    assert parcel.waybills.count() == 1


def test_a_carrier_that_says_no_leaves_its_words_and_a_way_to_try_again(
    seller: Seller, demo_boss: User
) -> None:
    order = take_one(seller.shop, draft())
    parcel = pick(order, demo_boss)
    refusal = {"success": False, "errorCode": "8006", "errorMsg": "月结卡号不匹配",
               "msgData": None}  # fmt: skip
    answer = {"apiResultCode": "A1000", "apiErrorMsg": "", "apiResponseID": "1",
              "apiResultData": json.dumps(refusal)}  # fmt: skip
    with (
        connected(lambda _: httpx.Response(200, json=answer)),
        pytest.raises(stages.CarrierRefused, match="月结卡号不匹配"),
    ):
        label(parcel, demo_boss)
    assert Waybill.objects.get().state == "failed"
    with connected(ask(sandbox())):
        assert label(parcel, demo_boss).state == "live"


def test_without_a_carrier_account_nobody_is_asked(seller: Seller, boss: User) -> None:
    parcel = pick(take_one(seller.shop, draft()), boss)
    CarrierAccountFactory.create(is_active=False)
    with pytest.raises(stages.CarrierRefused):
        label(parcel, boss)


def test_a_freeze_that_lands_while_the_carrier_is_asked_makes_the_number_void(
    seller: Seller, boss: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = take_one(seller.shop, draft())
    parcel = pick(order, boss)

    def slow(waybill: Waybill, *_: object) -> Issued:
        freeze(order, boss)
        return Issued("SF1", waybill.client_reference)

    monkeypatch.setattr(stages, "_ask_carrier", slow)
    waybill = label(parcel, boss)
    assert (waybill.state, waybill.number) == ("void", "SF1")
    parcel.refresh_from_db()
    assert parcel.state == "picked"
    assert AuditRecord.objects.latest("pk").action == "waybill_voided"


def test_a_cancel_that_lands_while_the_carrier_is_asked_makes_the_number_void(
    seller: Seller, boss: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = take_one(seller.shop, draft())
    parcel = pick(order, boss)

    def slow(waybill: Waybill, *_: object) -> Issued:
        cancel(order, boss)
        return Issued("SF1", waybill.client_reference)

    monkeypatch.setattr(stages, "_ask_carrier", slow)
    assert label(parcel, boss).state == "void"


@pytest.mark.parametrize(
    "issued",
    [Issued("", "r"), Issued("   ", "r"), Issued("TAKEN", "r"),
     Issued("SF2", "r", needs_check=True)],
    ids=["no number", "blank", "another parcel's", "still checked by hand"],
)  # fmt: skip
def test_a_doubtful_number_never_becomes_a_label(
    seller: Seller, boss: User, monkeypatch: pytest.MonkeyPatch, issued: Issued
) -> None:
    monkeypatch.setattr(stages, "_ask_carrier", lambda *_: Issued("TAKEN", "x"))
    print_label(take_one(seller.shop, draft()), boss)
    parcel = pick(take_one(seller.shop, draft(line("LAMP"))), boss)
    monkeypatch.setattr(stages, "_ask_carrier", lambda *_: issued)
    with pytest.raises(stages.CarrierRefused):
        label(parcel, boss)
    assert not parcel.waybills.filter(state="live").exists()
    monkeypatch.setattr(stages, "_ask_carrier", lambda *_: Issued("SF3", "x"))
    assert label(parcel, boss).number == "SF3"


def test_a_label_is_made_by_packers_and_supervisors_in_their_own_warehouse(
    seller: Seller, boss: User, carrier: Carrier
) -> None:
    parcel = pick(take_one(seller.shop, draft()), boss)
    for role in (Role.CLERK, Role.FINANCE, Role.REVIEWER, Role.CEO, Role.PICKER, Role.IT):
        with pytest.raises(NotAllowed):
            label(parcel, user_with(role))
    with pytest.raises(NotFound):
        label(parcel, user_with(Role.PACKER, username="elsewhere"))
    assert label(parcel, packer_at(seller)).state == "live"


# --- leaving --------------------------------------------------------------------------------------


def test_a_parcel_that_leaves_takes_its_goods_off_the_shelf_and_tells_the_platform(
    seller: Seller, boss: User, carrier: Carrier
) -> None:
    order = take_one(seller.shop, draft(line("SOFA", 2)))
    parcel = ship(order, boss)
    order.refresh_from_db()
    assert (order.status, parcel.state, tasks(order)) == ("shipped", "shipped", {"notify"})
    assert parcel.shipped_version == order.version
    level = StockLevel.objects.get(virtual_warehouse=seller.near, sku=seller.skus["SOFA"])
    assert (level.on_hand, level.reserved) == (98, 0)
    message = OutboundMessage.objects.get()
    assert message.payload["channel_number"] == order.channel_number
    assert message.payload["tracking_number"] == parcel.waybills.get().number
    assert versions(order) == [1, 2, 3, 4]


def test_leaving_twice_is_leaving_once(seller: Seller, boss: User, carrier: Carrier) -> None:
    order = take_one(seller.shop, draft())
    parcel = ship(order, boss)
    number = parcel.waybills.get().number
    hand_over(parcel, boss, number)
    assert OutboundMessage.objects.count() == 1
    assert versions(order) == [1, 2, 3, 4]
    sign(order)
    hand_over(parcel, boss, number)


@pytest.mark.parametrize("scanned", ["", "SF0", "the other's"])
def test_a_parcel_leaves_under_its_own_label_only(
    seller: Seller, boss: User, carrier: Carrier, scanned: str
) -> None:
    other = print_label(take_one(seller.shop, draft(line("LAMP"))), boss)
    mine = print_label(take_one(seller.shop, draft()), boss)
    number = other.number if scanned == "the other's" else scanned
    with pytest.raises(InvalidInput):
        hand_over(mine.parcel, boss, number)
    mine.parcel.refresh_from_db()
    assert mine.parcel.state == "packed"


@pytest.mark.parametrize("stop", [freeze, cancel])
def test_what_was_stopped_after_the_label_does_not_leave(
    seller: Seller, boss: User, carrier: Carrier, stop: Callable[[SalesOrder, User], None]
) -> None:
    order = take_one(seller.shop, draft())
    waybill = print_label(order, boss)
    stop(order, boss)
    with pytest.raises((OrderHeld, OrderCanceled)):
        hand_over(waybill.parcel, boss, waybill.number)
    assert not OutboundMessage.objects.exists()
    level = StockLevel.objects.get(virtual_warehouse=seller.near, sku=seller.skus["SOFA"])
    assert level.on_hand == 100


def test_goods_of_a_stopped_parcel_are_put_back_by_a_task(
    seller: Seller, boss: User, carrier: Carrier
) -> None:
    order = take_one(seller.shop, draft())
    print_label(order, boss)
    cancel(order, boss)
    task = task_of(order, "put_back")
    assert task.warehouse == seller.near.warehouse
    finish(task, boss)
    assert tasks(order) == set()


# --- the database's own walls ---------------------------------------------------------------------


def refused(statement: str, *values: int | str) -> bool:
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement, values)
    except IntegrityError as error:
        return "is held" in str(error) or "is canceled" in str(error)
    return False


@pytest.mark.parametrize("stop", ["held", "canceled"])
def test_raw_sql_cannot_label_or_ship_what_must_stand_still(
    seller: Seller, boss: User, carrier: Carrier, stop: str
) -> None:
    order = take_one(seller.shop, draft())
    waybill = print_label(order, boss)
    if stop == "held":
        OrderHoldFactory.create(order=order, code="planted")
    else:
        cancel(order, boss)
    parcel = waybill.parcel_id
    assert refused("UPDATE fulfillment_parcel SET state = 'shipped' WHERE id = %s", parcel)
    Waybill.objects.filter(pk=waybill.pk).update(state="void")
    assert refused("UPDATE fulfillment_waybill SET state = 'live' WHERE id = %s", waybill.pk)
    for state in ("intent", "live"):
        insert = (
            "INSERT INTO fulfillment_waybill (parcel_id, client_reference, carrier, state, number, "
            "facts, created_at, error) VALUES (%s, 'x', 'sf', %s, 'X1', '{}', now(), '')"
        )
        assert refused(insert, parcel, state)
    OrderHold.objects.filter(code="planted").update(
        released_at=clock_now(), released_by="person:1", closed_version=9
    )
    if stop == "held":
        assert not refused("UPDATE fulfillment_parcel SET state = 'shipped' WHERE id = %s", parcel)


def test_one_parcel_has_one_live_label(seller: Seller, boss: User, carrier: Carrier) -> None:
    waybill = print_label(take_one(seller.shop, draft()), boss)
    twin = Waybill(
        parcel=waybill.parcel, client_reference="twin", carrier="sf", state="intent",
        created_at=clock_now(),
    )  # fmt: skip
    with pytest.raises(IntegrityError, match="one_live_waybill"), transaction.atomic():
        twin.save()


# --- on its way -----------------------------------------------------------------------------------


def scan(number: str, status: TraceStatus, *, minutes: int = 0, event: str = "") -> TraceEventDraft:
    return TraceEventDraft(
        number, "80", status, "已签收", clock_now() + timedelta(minutes=minutes),
        event_id=event or f"{number}-{status}-{minutes}",
    )  # fmt: skip


def sign(order: SalesOrder) -> int:
    number = Waybill.objects.get(parcel__order=order, state="live").number
    return take_events("sf", [scan(number, TraceStatus.DELIVERED)], actor=PIPELINE, now=clock_now())


def test_the_last_scan_signs_the_order_once(seller: Seller, boss: User, carrier: Carrier) -> None:
    order = take_one(seller.shop, draft())
    ship(order, boss)
    sign(order)
    order.refresh_from_db()
    assert (order.status, order.parcels.get().state) == ("signed", "signed")
    sign(order)
    assert versions(order) == [1, 2, 3, 4, 5]


def test_a_scan_told_fifty_times_is_kept_once(seller: Seller, boss: User, carrier: Carrier) -> None:
    order = take_one(seller.shop, draft())
    ship(order, boss)
    number = Waybill.objects.get().number
    event = scan(number, TraceStatus.IN_TRANSIT, event="e1")
    news = [take_events("sf", [event], actor=PIPELINE, now=clock_now()) for _ in range(50)]
    assert sum(news) == TraceEvent.objects.count() == 1


def test_a_scan_of_a_strangers_or_another_carriers_number_is_ignored(
    seller: Seller, boss: User, carrier: Carrier
) -> None:
    order = take_one(seller.shop, draft())
    ship(order, boss)
    number = Waybill.objects.get().number
    done = scan(number, TraceStatus.DELIVERED)
    assert take_events("zto", [done], actor=PIPELINE, now=clock_now()) == 0
    stranger = scan("SF-nobody", TraceStatus.DELIVERED)
    assert take_events("sf", [stranger], actor=PIPELINE, now=clock_now()) == 0
    order.refresh_from_db()
    assert order.status == "shipped"


def test_a_void_label_that_travels_signs_nothing(
    seller: Seller, boss: User, carrier: Carrier
) -> None:
    order = take_one(seller.shop, draft())
    first = print_label(order, boss)
    decisions.edit_receiver(
        order.pk, user=boss, actor=as_person(boss), seen_version=3,
        receiver={"name": "李", "phone": "19900009999", "province": "江苏省", "city": "苏州市",
                  "district": "姑苏区", "address": "平江路9号"},
    )  # fmt: skip
    second = label(first.parcel, boss)
    hand_over(second.parcel, boss, second.number)
    done = scan(first.number, TraceStatus.DELIVERED)
    assert take_events("sf", [done], actor=PIPELINE, now=clock_now()) == 0
    order.refresh_from_db()
    assert order.status == "shipped"
    assert holds(order) == set()
