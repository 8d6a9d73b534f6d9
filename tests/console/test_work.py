"""Stage pages: what is mine, one button, and the stop at the scan."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from fulfillment.models import Parcel, Stage, StageTask, Waybill
from ordercenter.audit.models import Action, AuditRecord
from ordercenter.core.policy import Role
from ordercenter.orders.models import OrderHold, SalesOrder
from ordercenter.orders.states import Disposition, HoldKind, OrderStatus
from ordercenter.pipeline import stages
from tests.console.conftest import AsRole, decision, held_order
from tests.factories import (
    OrderHoldFactory,
    SalesOrderFactory,
    ShopAssignmentFactory,
    StageTaskFactory,
    WarehouseAssignmentFactory,
    WaybillFactory,
)

pytestmark = pytest.mark.django_db
BUDGET = 15


@pytest.fixture
def parcel(as_role: AsRole) -> Parcel:
    """A parcel on its way through the warehouse, as the path made it."""
    hold = held_order(number="TB900")
    path, post = f"/orders/{hold.order.number}/decide/", decision(hold, "release")
    as_role(Role.REVIEWER, username="releaser").post(path, post)
    return Parcel.objects.get(order=hold.order)


@pytest.fixture
def picker(as_role: AsRole, parcel: Parcel) -> Client:
    client = as_role(Role.PICKER, username="picker")
    user = User.objects.get(username="picker")
    WarehouseAssignmentFactory.create(user=user, warehouse=parcel.warehouse)
    return client


@pytest.fixture
def packer(as_role: AsRole, parcel: Parcel) -> Client:
    client = as_role(Role.PACKER, username="packer")
    user = User.objects.get(username="packer")
    WarehouseAssignmentFactory.create(user=user, warehouse=parcel.warehouse)
    return client


def pick_task(parcel: Parcel) -> StageTask:
    return StageTask.objects.get(parcel=parcel, stage=Stage.PICK)


def picked(parcel: Parcel, picker: Client) -> Parcel:
    assert picker.post(f"/work/{pick_task(parcel).pk}/done/").status_code == 302
    parcel.refresh_from_db()
    assert parcel.state == Parcel.State.PICKED
    return parcel


def test_a_picker_sees_his_task_its_goods_and_its_clock(picker: Client, parcel: Parcel) -> None:
    page = picker.get("/work/").content.decode()
    assert parcel.number in page
    assert "data-due=" in page
    detail = picker.get(f"/work/{pick_task(parcel).pk}/").content.decode()
    line = parcel.parcel_lines.get()
    assert line.sku.code in detail
    assert "×1" in detail
    assert "王小明" not in detail


def test_a_task_of_another_warehouse_does_not_exist(as_role: AsRole, parcel: Parcel) -> None:
    stranger = as_role(Role.PICKER, username="stranger")
    task = pick_task(parcel)
    assert parcel.number not in stranger.get("/work/").content.decode()
    assert stranger.get(f"/work/{task.pk}/").status_code == 404
    assert stranger.post(f"/work/{task.pk}/done/").status_code == 404
    assert stranger.post(f"/work/{task.pk}/claim/").status_code == 404


def test_picked_twice_by_the_same_thumb_is_picked_once(picker: Client, parcel: Parcel) -> None:
    path = f"/work/{pick_task(parcel).pk}/done/"
    assert [picker.post(path).status_code for _ in range(2)] == [302, 302]
    done = AuditRecord.objects.filter(object_id=parcel.order_id, action=Action.STAGE_DONE)
    assert done.count() == 1
    assert StageTask.objects.filter(parcel=parcel, stage=Stage.PACK, state="open").count() == 1


def test_a_task_taken_in_hand_stays_with_who_took_it(
    as_role: AsRole, picker: Client, parcel: Parcel
) -> None:
    path = f"/work/{pick_task(parcel).pk}/claim/"
    assert picker.post(path).status_code == 302
    assert as_role(Role.WAREHOUSE_SUPERVISOR).post(path).status_code == 422
    assert pick_task(parcel).assignee == User.objects.get(username="picker")


def test_an_overdue_task_is_told_apart(as_role: AsRole) -> None:
    now = timezone.now()
    late = StageTaskFactory.create(stage=Stage.PICK, due_at=now - timedelta(minutes=1))
    page = as_role(Role.WAREHOUSE_SUPERVISOR).get("/work/").content.decode()
    assert f'id="task-{late.pk}"' in page
    assert 'class="task late"' in page


def test_a_held_order_is_not_picked(picker: Client, parcel: Parcel) -> None:
    OrderHoldFactory.create(order=parcel.order, words="买家申请退款")
    task = pick_task(parcel)
    assert "买家申请退款" in picker.get(f"/work/{task.pk}/").content.decode()
    assert picker.post(f"/work/{task.pk}/done/").status_code == 409
    parcel.refresh_from_db()
    assert parcel.state == Parcel.State.PLANNED


def test_a_scan_shows_what_goes_into_the_box(
    picker: Client, packer: Client, parcel: Parcel
) -> None:
    picked(parcel, picker)
    page = packer.get("/work/scan/", {"code": parcel.number}).content.decode()
    assert parcel.parcel_lines.get().sku.code in page
    assert "取面单" in page
    assert "data-stop" not in page


def test_a_scanned_parcel_that_must_stop_fills_the_screen_with_why(
    picker: Client, packer: Client, parcel: Parcel
) -> None:
    picked(parcel, picker)
    OrderHoldFactory.create(order=parcel.order, words="买家申请退款，<b>速停</b>")
    for code in (parcel.number, parcel.order.number):
        page = packer.get("/work/scan/", {"code": code}).content.decode()
        assert "data-stop" in page
        assert "买家申请退款，&lt;b&gt;速停&lt;/b&gt;" in page
        assert "取面单" not in page


def test_a_label_already_there_is_shipped_by_scanning_it(
    picker: Client, packer: Client, parcel: Parcel
) -> None:
    picked(parcel, picker)
    waybill = WaybillFactory.create(parcel=parcel)
    Parcel.objects.filter(pk=parcel.pk).update(state=Parcel.State.PACKED)
    ship = f"/work/parcels/{parcel.pk}/ship/"
    wrong = packer.post(ship, {"tracking_number": "SF-OTHER"})
    assert wrong.status_code == 422
    assert "扫描的面单与本包裹不符" in wrong.content.decode()
    for _ in range(2):
        assert packer.post(ship, {"tracking_number": waybill.number}).status_code == 302
    order = SalesOrder.objects.get(pk=parcel.order_id)
    assert order.status == OrderStatus.SHIPPED
    shipped = AuditRecord.objects.filter(object_id=order.pk, action=Action.PARCEL_SHIPPED)
    assert shipped.count() == 1


def test_a_stop_between_scan_and_shipping_is_shown_at_the_bench(
    picker: Client, packer: Client, parcel: Parcel
) -> None:
    picked(parcel, picker)
    waybill = WaybillFactory.create(parcel=parcel)
    Parcel.objects.filter(pk=parcel.pk).update(state=Parcel.State.PACKED)
    OrderHoldFactory.create(order=parcel.order, words="江苏省暂停发货")
    path = f"/work/parcels/{parcel.pk}/ship/"
    answer = packer.post(path, {"tracking_number": waybill.number})
    assert answer.status_code == 409
    assert "data-stop" in answer.content.decode()
    assert "江苏省暂停发货" in answer.content.decode()
    parcel.refresh_from_db()
    assert parcel.state == Parcel.State.PACKED


def test_no_carrier_account_is_said_in_words(
    picker: Client, packer: Client, parcel: Parcel
) -> None:
    picked(parcel, picker)
    answer = packer.post(f"/work/parcels/{parcel.pk}/label/")
    assert answer.status_code == 409
    assert "没有可用的快递账号" in answer.content.decode()


def test_a_label_comes_from_the_service_and_is_shown(
    picker: Client, packer: Client, parcel: Parcel, monkeypatch: pytest.MonkeyPatch
) -> None:
    picked(parcel, picker)

    def issue(parcel_id: int, **_: object) -> Waybill:
        waybill: Waybill = WaybillFactory.create(parcel_id=parcel_id, number="SF1234567890123")
        return waybill

    monkeypatch.setattr(stages, "request_label", issue)
    answer = packer.post(f"/work/parcels/{parcel.pk}/label/", follow=True)
    assert answer.redirect_chain == [(f"/work/scan/?code={parcel.number}", 302)]
    assert "SF1234567890123" in answer.content.decode()


@pytest.mark.parametrize("code", ["无此包裹", "a\0b", "x" * 5000, "'; drop table--"])
def test_an_unknown_code_is_said_and_the_field_waits_for_the_next(
    packer: Client, code: str
) -> None:
    answer = packer.get("/work/scan/", {"code": code})
    assert answer.status_code == 404
    assert "data-scanner" in answer.content.decode()


def test_a_parcel_of_another_warehouse_does_not_exist_at_the_bench(
    as_role: AsRole, parcel: Parcel
) -> None:
    stranger = as_role(Role.PACKER, username="stranger")
    assert stranger.get("/work/scan/", {"code": parcel.number}).status_code == 404
    for act in ("label", "ship"):
        answer = stranger.post(f"/work/parcels/{parcel.pk}/{act}/", {"tracking_number": "1"})
        assert answer.status_code == 404


def test_finance_sees_the_amounts_side_by_side_and_confirms(as_role: AsRole) -> None:
    hold = held_order(
        kind=HoldKind.PAYMENT, payable_amount=Decimal("100.00"), paid_amount=Decimal("99.00")
    )
    task = StageTaskFactory.create(order=hold.order, stage=Stage.FINANCE_CHECK)
    client = as_role(Role.FINANCE)
    page = client.get(f"/work/{task.pk}/").content.decode()
    assert "¥100.00" in page
    assert "¥99.00" in page
    assert "-¥1.00" in page
    assert client.post(f"/work/{task.pk}/done/").status_code == 302
    task.refresh_from_db()
    assert task.state == StageTask.State.DONE
    hold.refresh_from_db()
    assert hold.released_at is not None


def test_a_clerk_puts_a_returned_order_right_and_it_is_judged_again(as_role: AsRole) -> None:
    hold = held_order()
    boss = as_role(Role.WAREHOUSE_SUPERVISOR)
    post = decision(hold, "return", reason="门牌号缺失，请补充")
    boss.post(f"/orders/{hold.order.number}/decide/", post)
    clerk = as_role(Role.CLERK, username="clerk")
    user = User.objects.get(username="clerk")
    ShopAssignmentFactory.create(user=user, shop=hold.order.shop)
    task = StageTask.objects.get(order=hold.order, stage=Stage.FIRST_REVIEW)
    page = clerk.get(f"/work/{task.pk}/").content.decode()
    assert "门牌号缺失，请补充" in page
    assert 'name="address"' in page
    hold.order.refresh_from_db()
    edit = {"version": hold.order.version, "address": "星湖街328号5幢", "back": "/work/"}
    assert clerk.post(f"/orders/{hold.order.number}/receiver/", edit).status_code == 302
    task.refresh_from_db()
    assert task.state == StageTask.State.DONE


def test_a_clerk_writes_down_what_the_buyer_said(as_role: AsRole) -> None:
    hold = held_order()
    boss = as_role(Role.WAREHOUSE_SUPERVISOR)
    boss.post(f"/orders/{hold.order.number}/decide/", decision(hold, "after_sales"))
    clerk = as_role(Role.CLERK, username="clerk")
    user = User.objects.get(username="clerk")
    ShopAssignmentFactory.create(user=user, shop=hold.order.shop)
    task = StageTask.objects.get(order=hold.order, stage=Stage.AFTER_SALES)
    path = f"/work/{task.pk}/done/"
    assert clerk.post(path, {"outcome": "resume", "reason": "好"}).status_code == 422
    assert clerk.post(path, {"outcome": "explode", "reason": "买家说不要了"}).status_code == 404
    told = {"outcome": "resume", "reason": "买家确认要两件"}
    assert clerk.post(path, told).status_code == 302
    hold.refresh_from_db()
    assert hold.disposition == Disposition.WAITING
    assert "买家确认要两件" in boss.get("/wall/").content.decode()


def test_the_list_of_tasks_asks_as_little_for_many_as_for_one(as_role: AsRole) -> None:
    for _ in range(40):
        StageTaskFactory.create(stage=Stage.PICK, order=SalesOrderFactory.create())
    client = as_role(Role.WAREHOUSE_SUPERVISOR)
    with CaptureQueriesContext(connection) as asked:
        assert client.get("/work/").content.decode().count('id="task-') == 40
    assert len(asked) <= BUDGET


def test_no_tasks_is_said(as_role: AsRole) -> None:
    assert "没有待办任务" in as_role(Role.FINANCE).get("/work/").content.decode()


def test_who_has_no_stage_has_no_work_page(as_role: AsRole) -> None:
    assert as_role(Role.IT).get("/work/").status_code == 404
    assert OrderHold.objects.count() == 0
