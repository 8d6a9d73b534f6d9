"""Goods under a thumb and at a desk: the list, a bundle's change in sight of its orders."""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import transaction
from playwright.sync_api import expect

from ordercenter.catalog.models import Sku, SkuPrice
from ordercenter.core.clock import now as clock_now
from ordercenter.core.policy import Role
from ordercenter.orders.models import SalesOrder
from tests.browser.conftest import DESK, PHONE, Visitor
from tests.factories import SkuFactory, user_with
from tests.pipeline.seller import Seller, draft, line, open_seller, promised, take

pytestmark = pytest.mark.browser
Visit = Callable[..., Visitor]
HOSTILE = "<img src=x onerror=alert(1)>买一送一<script>alert(2)</script>"


@transaction.atomic
def a_seller() -> Seller:
    seller = open_seller()
    Sku.objects.filter(code="SOFA").update(
        cost=Decimal("61.50"), color_name="雾霾蓝", color_hex="#7B9BB5", barcode="6901234567892",
        weight_grams=1800, picture="https://img.example/sofa.jpg",
    )  # fmt: skip
    SkuFactory.create(code="JZ-" + "9" * 30, name=HOSTILE, cost=Decimal(120))
    SkuPrice.objects.create(
        sku=seller.skus["SOFA"], base_price=Decimal(79), starts_at=clock_now() - timedelta(hours=1),
        ends_at=clock_now() + timedelta(days=2),
    )  # fmt: skip
    take(seller.shop, *(draft(line("SET", 1, "300")) for _ in range(3)))
    return seller


@pytest.mark.parametrize("size", [PHONE, DESK])
def test_goods_are_looked_through_and_a_bundle_changed(visit: Visit, size: tuple[int, int]) -> None:
    seller = a_seller()
    assert seller.bundle is not None
    visitor = visit(user_with(Role.OPERATIONS_SUPERVISOR), size)
    page = visitor.page

    def fits() -> bool:
        fitting: bool = page.evaluate(
            "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
        )
        return fitting

    visitor.open("/goods/")
    expect(page.get_by_text("¥17.50 22%")).to_be_visible()
    assert fits()
    page.get_by_role("link", name="没有条码").click()
    expect(page.get_by_text("RUG").first).to_be_visible()
    page.get_by_role("link", name="组合装", exact=True).click()
    page.get_by_role("link", name="组成").click()
    page.locator("input[name=code]").nth(1).fill("VASE")
    page.get_by_role("button", name="先看影响").click()
    expect(page.get_by_text("同时改写 3 张未打包的在途订单")).to_be_visible()
    assert fits()
    page.get_by_text("同时改写 3 张").click()
    page.get_by_placeholder("为什么改").fill("供应商换了配件")
    page.get_by_role("button", name="确认修改").click()
    expect(page.get_by_text("组成已修改；已改写 3 张在途订单")).to_be_visible()
    assert [promised(order) for order in SalesOrder.objects.all()] == [{"LAMP": 2, "VASE": 1}] * 3
    visitor.open("/goods/sheet/")
    assert fits()
    key = f"/listings/map/?shop={seller.shop.pk}&type=outer_code&code=SET&to=sku:"
    visitor.open(f"{key}{seller.skus['RUG'].pk}")
    expect(page.get_by_text("同时改写 3 张")).to_be_visible()
    assert fits()
