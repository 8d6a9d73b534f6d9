"""Unmapped codes under a thumb and at a desk, in a real browser."""

from collections.abc import Callable
from pathlib import Path

import pytest
from django.db import transaction
from playwright.sync_api import expect

from channels_sync.sheets.xlsx_reading import workbook_rows
from channels_sync.sheets.xlsx_writing import Column, workbook
from ordercenter.catalog.models import Listing
from ordercenter.core.policy import Role
from ordercenter.orders.models import SalesOrder
from ordercenter.pipeline import jobs
from tests.browser.conftest import DESK, PHONE, Visitor
from tests.factories import ShopFactory, SkuFactory, user_with
from tests.pipeline.seller import Seller, draft, line, open_seller, take

pytestmark = pytest.mark.browser
Visit = Callable[..., Visitor]
TAP = 44
HOSTILE = "<img src=x onerror=alert(1)>买一送一<script>alert(2)</script>"


def fits(visitor: Visitor) -> bool:
    """Whether nothing makes the page wider than the screen."""
    width: bool = visitor.page.evaluate(
        "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
    )
    return width


@transaction.atomic
def waiting_seller() -> Seller:
    """Orders wait for a code another shop spells alike, one nobody knows, and a hostile one."""
    seller = open_seller()
    SkuFactory.create(code="JZ-1001", name="全棉水洗四件套 1.8米床 雾霾蓝", color_name="雾霾蓝")
    SkuFactory.create(code="JZ-1002", name="全棉水洗四件套 1.8米床 米白", color_name="米白")
    title = "新疆长绒棉全棉水洗四件套 1.8米床 雾霾蓝 裸睡亲肤"
    take(
        seller.shop,
        *(draft(line("sofa", title="棉麻沙发")) for _ in range(3)),
        *(draft(line("", platform_sku_id="4890012345678901234", title=title)) for _ in range(2)),
        draft(line("9007199254740993001", title=HOSTILE)),
    )
    return seller


@pytest.mark.parametrize("size", [PHONE, DESK])
def test_proposals_are_ticked_and_accepted_together(visit: Visit, size: tuple[int, int]) -> None:
    waiting_seller()
    visitor = visit(user_with(Role.WAREHOUSE_SUPERVISOR), size)
    page = visitor.page
    visitor.open("/listings/")
    assert fits(visitor)
    expect(page.locator(".code-card")).to_have_count(3)
    expect(page.get_by_text("采纳勾选的建议")).to_be_hidden()
    for box in page.locator("input[name=pick]").all():
        box.check()
    expect(page.get_by_text("已勾选 2 个")).to_be_visible()
    bar = page.get_by_role("button", name="采纳勾选的建议")
    box_of_bar = bar.bounding_box()
    assert box_of_bar is not None
    assert box_of_bar["height"] >= (TAP if size == PHONE else 38)
    bar.dblclick()
    expect(page.get_by_text("新建 2 个对应关系；5 张等待的订单自动继续")).to_be_visible()
    expect(page.locator(".code-card")).to_have_count(1)
    assert SalesOrder.objects.filter(status="received").count() == 1
    assert Listing.objects.filter(version=1, code__in=["sofa", "4890012345678901234"]).count() == 2


def test_a_code_is_searched_looked_at_and_mapped_with_a_thumb(visit: Visit) -> None:
    waiting_seller()
    visitor = visit(user_with(Role.OPERATIONS_SUPERVISOR), PHONE)
    page = visitor.page
    visitor.open("/listings/")
    card = page.locator(".code-card", has_text="9007199254740993001")
    card.get_by_role("link", name="选择货品").tap()
    page.get_by_placeholder("编码、名称或条码").fill("lamp")
    page.get_by_role("button", name="搜索").tap()
    page.get_by_role("link", name="看影响").first.tap()
    expect(page.locator("#preview")).to_contain_text("1 单 ¥100.00")
    assert fits(visitor)
    for button in page.locator("main .button:visible").all():
        box = button.bounding_box()
        assert box is not None
        assert box["height"] >= TAP, button.inner_text()
    page.get_by_role("button", name="确认匹配").tap()
    expect(page.get_by_text("1 张等待的订单自动继续")).to_be_visible()
    assert Listing.objects.get(code="9007199254740993001").title == HOSTILE


def test_the_bar_moves_by_itself_until_all_have_gone_on(
    visit: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "BATCH", 1)
    waiting_seller()
    visitor = visit(user_with(Role.WAREHOUSE_SUPERVISOR), PHONE)
    page = visitor.page
    visitor.open("/listings/")
    page.locator(".code-card", has_text="sofa").get_by_role("button", name="采纳").first.tap()
    expect(page.locator(".going progress")).to_have_attribute("value", "1")
    page.evaluate("window.notReloaded = true")
    jobs.work_unmapped()
    expect(page.locator(".going progress")).to_have_attribute("value", "2", timeout=6_000)
    jobs.work_unmapped()
    expect(page.get_by_text("3 张等待的订单已继续")).to_be_visible(timeout=6_000)
    assert page.evaluate("window.notReloaded") is True


def test_a_sheet_is_taken_away_filled_in_and_brought_back(visit: Visit, tmp_path: Path) -> None:
    seller = waiting_seller()
    visitor = visit(user_with(Role.WAREHOUSE_SUPERVISOR), DESK)
    page = visitor.page
    visitor.open("/listings/sheet/")
    with page.expect_download() as taken:
        page.get_by_role("link", name="下载 Excel").click()
    assert taken.value.suggested_filename == "unmapped-codes.xlsx"
    header, body = workbook_rows(taken.value.path(), max_rows=10)
    rows = [cells for _, cells in body]
    fill = header.index("货品编码")
    for cells, code in zip(rows, ("SOFA", "JZ-1001", "没有的货"), strict=True):
        cells[fill] = code
    filled = tmp_path / "填好.xlsx"
    filled.write_bytes(workbook("表", [Column(name) for name in header], rows))
    page.locator("input[type=file]").set_input_files(filled)
    page.get_by_role("button", name="先看会改什么").click()
    expect(page.get_by_text("没有这个货品编码")).to_be_visible()
    assert fits(visitor)
    assert not Listing.objects.filter(code="sofa").exists()
    page.get_by_role("button", name="只应用没有问题的 2 行").dblclick()
    expect(page.get_by_text("新建 2 个对应关系；5 张等待的订单自动继续")).to_be_visible()
    assert Listing.objects.get(shop=seller.shop, code="sofa").sku == seller.skus["SOFA"]


def test_the_wall_leads_to_the_shops_codes(visit: Visit) -> None:
    seller = waiting_seller()
    ShopFactory.create()
    visitor = visit(user_with(Role.WAREHOUSE_SUPERVISOR), PHONE)
    visitor.open("/wall/")
    visitor.page.get_by_role("link", name="去匹配商品").first.tap()
    expect(visitor.page).to_have_url(f"{visitor.site}/listings/?shop={seller.shop.pk}")
    expect(visitor.page.locator(".code-card")).to_have_count(3)
