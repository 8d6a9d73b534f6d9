"""Stage pages in a real browser: a thumb, a scanner gun, and a stop nobody overlooks."""

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client

from fulfillment.models import Parcel, Stage, StageTask
from ordercenter.core.live import announce
from ordercenter.core.policy import Role
from ordercenter.orders.states import OrderStatus
from tests.browser.conftest import DESK, PHONE, Visitor
from tests.console.conftest import decision, held_order
from tests.factories import (
    OrderHoldFactory,
    SkuFactory,
    WarehouseAssignmentFactory,
    WaybillFactory,
    user_with,
)

pytestmark = pytest.mark.browser
Visit = Callable[..., Visitor]


def routed_parcel() -> Parcel:
    """A parcel the path made, of a pink cushion."""
    hold = held_order()
    line = hold.order.lines.get()
    SkuFactory._meta.model.objects.filter(pk=line.sku_id).update(
        color_name="豆沙粉", color_hex="#D8A7A0"
    )
    client = Client()
    client.force_login(user_with(Role.REVIEWER))
    client.post(f"/orders/{hold.order.number}/decide/", decision(hold, "release"))
    parcel: Parcel = Parcel.objects.get(order=hold.order)
    return parcel


def worker(role: Role, parcel: Parcel) -> User:
    user = user_with(role)
    WarehouseAssignmentFactory.create(user=user, warehouse=parcel.warehouse)
    return user


def scan(visitor: Visitor, code: str) -> None:
    """What a scanner gun does: it types, wherever the eye is, and ends with Enter."""
    visitor.page.keyboard.type(code)
    visitor.page.keyboard.press("Enter")


def test_a_picker_takes_the_task_sees_the_color_and_is_done_with_one_button(visit: Visit) -> None:
    parcel = routed_parcel()
    visitor = visit(worker(Role.PICKER, parcel), PHONE)
    page = visitor.page
    visitor.open("/work/")
    assert "剩余" in page.locator("[data-due]").inner_text()
    page.get_by_role("link", name="去处理").tap()
    assert "豆沙粉" in page.locator(".goods").inner_text()
    assert page.locator(".swatch rect").get_attribute("fill") == "#D8A7A0"
    page.get_by_role("button", name="已拣齐，交打包").tap()
    page.get_by_text("没有待办任务").wait_for()
    parcel.refresh_from_db()
    assert parcel.state == Parcel.State.PICKED
    assert StageTask.objects.filter(parcel=parcel, stage=Stage.PACK, state="open").exists()


def test_a_scanner_gun_alone_packs_and_ships(visit: Visit) -> None:
    parcel = routed_parcel()
    StageTask.objects.filter(parcel=parcel).delete()
    Parcel.objects.filter(pk=parcel.pk).update(state=Parcel.State.PACKED)
    waybill = WaybillFactory.create(parcel=parcel)
    visitor = visit(worker(Role.PACKER, parcel), DESK)
    visitor.open("/work/scan/")
    scan(visitor, parcel.number)
    visitor.page.get_by_text("扫描快递单号出库").wait_for()
    scan(visitor, waybill.number)
    visitor.page.get_by_text(f"{parcel.number} 已出库").wait_for()
    parcel.order.refresh_from_db()
    assert parcel.order.status == OrderStatus.SHIPPED
    focused = visitor.page.evaluate("document.activeElement.hasAttribute('data-scanner')")
    assert focused  # ready for the next


def test_a_held_parcel_fills_the_bench_with_a_stop_and_beeps(visit: Visit) -> None:
    parcel = routed_parcel()
    Parcel.objects.filter(pk=parcel.pk).update(state=Parcel.State.PICKED)
    OrderHoldFactory.create(order=parcel.order, words="买家已申请退款")
    packer = worker(Role.PACKER, parcel)
    for size in (DESK, PHONE):
        visitor = visit(packer, size)
        page = visitor.page
        visitor.open("/work/scan/")
        scan(visitor, parcel.number)
        stop = page.locator("[data-stop]")
        stop.wait_for()
        assert "买家已申请退款" in stop.inner_text()
        box = stop.bounding_box()
        assert box is not None
        assert (box["width"], box["height"]) == (float(size[0]), float(size[1]))
        color = stop.evaluate("e => getComputedStyle(e).backgroundColor")
        assert color == "rgb(176, 13, 13)"
        assert page.evaluate("document.documentElement.dataset.beeped") == "1"
        assert page.get_by_text("取面单").count() == 0


def test_a_stop_that_comes_in_the_middle_of_a_scan_does_not_cut_the_number(visit: Visit) -> None:
    parcel = routed_parcel()
    Parcel.objects.filter(pk=parcel.pk).update(state=Parcel.State.PACKED)
    waybill = WaybillFactory.create(parcel=parcel)
    visitor = visit(worker(Role.PACKER, parcel), DESK)
    with visitor.page.expect_response(lambda answer: "fragment=1" in answer.url):
        visitor.open(f"/work/scan/?code={parcel.number}")  # it looks once when it is connected
    half = len(waybill.number) // 2
    visitor.page.keyboard.type(waybill.number[:half])
    with visitor.page.expect_response(lambda answer: "fragment=1" in answer.url):
        OrderHoldFactory.create(order=parcel.order, words="江苏省暂停发货")
        announce("orders")
        for _ in range(20):  # a slow gun: its keys come while the page asks what is new
            visitor.page.keyboard.press("Shift", delay=50)
    visitor.page.keyboard.type(waybill.number[half:], delay=100)
    visitor.page.keyboard.press("Enter")
    visitor.page.locator("[data-stop]").wait_for()
    assert "江苏省暂停发货" in visitor.page.locator("[data-stop]").inner_text()


def test_a_stop_that_comes_after_the_scan_is_caught_at_the_label(visit: Visit) -> None:
    parcel = routed_parcel()
    Parcel.objects.filter(pk=parcel.pk).update(state=Parcel.State.PACKED)
    waybill = WaybillFactory.create(parcel=parcel)
    visitor = visit(worker(Role.PACKER, parcel), DESK)
    visitor.open("/work/scan/")
    scan(visitor, parcel.number)
    visitor.page.get_by_text("扫描快递单号出库").wait_for()
    OrderHoldFactory.create(order=parcel.order, words="江苏省暂停发货")
    scan(visitor, waybill.number)
    visitor.page.locator("[data-stop]").wait_for()
    assert "江苏省暂停发货" in visitor.page.locator("[data-stop]").inner_text()
    parcel.refresh_from_db()
    assert parcel.state == Parcel.State.PACKED
