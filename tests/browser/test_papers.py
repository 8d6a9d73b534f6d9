"""Goods are received, counted and corrected with a thumb, in a real browser."""

import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import transaction
from playwright.sync_api import expect

from inventory import arrivals
from inventory.models import Bin, BinPlace, Inbound, StockPolicy
from ordercenter.core.clock import now as clock_now
from tests.browser.conftest import DESK, PHONE, Visitor
from tests.browser.test_listings import fits
from tests.inventory.shelves import Shelves, by, ledger_red

pytestmark = pytest.mark.browser
Visit = Callable[..., Visitor]


@transaction.atomic
def shelves_and_arrival() -> tuple[Shelves, Inbound]:
    """Thirty units on the shelf, in a bin, and twelve to come."""
    shelves = Shelves(30)
    shelves.sku.name = "全棉水洗四件套 1.8米床 雾霾蓝 裸睡亲肤"
    shelves.sku.barcode, shelves.sku.color_hex = "6901234567892", "#8ba3b8"
    shelves.sku.save()
    place = Bin.objects.create(warehouse=shelves.room.warehouse, code="A-03-12", walk_order=3)
    BinPlace.objects.create(bin=place, sku=shelves.sku)
    inbound = arrivals.announce(
        shelves.room.pk, {shelves.sku.pk: 12}, expected_at=clock_now() + timedelta(days=1),
        supplier="绍兴柯桥纺织厂", **by(shelves.boss),
    )  # fmt: skip
    return shelves, inbound


def shot(visitor: Visitor, name: str, folder: Path) -> None:
    visitor.page.screenshot(path=folder / f"papers-{name}.png", full_page=True)


def test_goods_are_received_counted_and_corrected_by_phone(visit: Visit, tmp_path: Path) -> None:
    shelves, inbound = shelves_and_arrival()
    visitor = visit(shelves.picker, PHONE)
    page = visitor.page

    visitor.open("/stock/inbound/")
    assert fits(visitor)
    shot(visitor, "inbounds", tmp_path)
    page.get_by_text(inbound.number).tap()
    expect(page.get_by_role("button", name="余下全部收齐")).to_be_visible()
    assert fits(visitor)
    page.get_by_label("本次良品").fill("10")
    page.get_by_label("本次残次").fill("1")
    shot(visitor, "inbound", tmp_path)
    page.get_by_role("button", name="按所填收货").dblclick()
    expect(page.get_by_text("已收良品 10 件、残次 1 件")).to_be_visible()
    assert shelves.figures() == {"on_hand": 40, "inbound": 1, "defect": 1}

    page.get_by_role("link", name="盘点", exact=True).tap()
    page.get_by_role("link", name="开始盘点").tap()
    page.locator("select[name=room]").select_option(str(shelves.room.pk))
    page.get_by_role("button", name="开始", exact=True).tap()
    page.locator("[data-scanner]").fill("6901234567892")
    page.keyboard.press("Enter")
    expect(page.get_by_text("A-03-12").first).to_be_visible()
    words = page.locator("main").inner_text()
    assert not re.search(r"(?<![\d:])40(?!\d)", words)  # blind
    shot(visitor, "count", tmp_path)
    page.get_by_label("货架上实际有几件").fill("38")
    page.get_by_role("button", name="记下").tap()
    page.get_by_role("link", name="核对差异").tap()
    expect(page.locator(".delta")).to_have_text("-2")
    assert fits(visitor)
    shot(visitor, "compare", tmp_path)
    page.get_by_role("button", name="提交，按差异调整").tap()
    expect(page.get_by_text("盘点已生效")).to_be_visible()
    assert shelves.figures() == {"on_hand": 38, "inbound": 1, "defect": 1}

    page.get_by_role("link", name="调整", exact=True).tap()
    page.locator("select[name=room]").select_option(str(shelves.room.pk))
    page.get_by_label("货品编码或条码").fill("6901234567892")
    page.get_by_label("类型").select_option("to_defect")
    page.get_by_label("件数").fill("3")
    page.get_by_label("原因").fill("外箱进水")
    assert fits(visitor)
    shot(visitor, "adjust", tmp_path)
    page.get_by_role("button", name="提交调整").dblclick()
    expect(page.get_by_text("已调整")).to_be_visible()
    shot(visitor, "adjusted", tmp_path)
    assert shelves.figures() == {"on_hand": 35, "inbound": 1, "defect": 4}
    assert ledger_red() == set()
    assert visitor.complaints == []


def test_a_large_correction_is_agreed_to_at_a_desk(visit: Visit, tmp_path: Path) -> None:
    shelves, inbound = shelves_and_arrival()
    StockPolicy(two_person_units=5).save()
    asker = visit(shelves.picker, PHONE)
    asker.open(f"/stock/adjust/?room={shelves.room.pk}&sku={shelves.sku.code}")
    asker.page.get_by_label("类型").select_option("gone")
    asker.page.get_by_label("件数").fill("9")
    asker.page.get_by_label("原因").fill("盘点后确认遗失")
    asker.page.get_by_role("button", name="提交调整").tap()
    expect(asker.page.get_by_text("等待第二人复核")).to_be_visible()
    visitor = visit(shelves.boss, DESK)
    visitor.open("/stock/adjust/")
    shot(visitor, "desk-adjust", tmp_path)
    assert fits(visitor)
    visitor.page.get_by_role("button", name="同意，生效").click()
    expect(visitor.page.get_by_text("没有待复核的调整")).to_be_visible()
    assert shelves.figures() == {"on_hand": 21, "inbound": 12}
    for name, path in (
        ("desk-inbound", f"/stock/inbound/{inbound.pk}/"), ("desk-new", "/stock/inbound/new/"),
        ("desk-counts", "/stock/counts/"), ("desk-sheet", "/stock/sheet/"),
    ):  # fmt: skip
        visitor.open(path)
        assert fits(visitor)
        shot(visitor, name, tmp_path)
    assert visitor.complaints == []
