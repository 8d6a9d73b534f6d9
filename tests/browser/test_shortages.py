"""The shortage queue under a thumb and at a desk, in a real browser."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import transaction
from playwright.sync_api import expect

from ordercenter.core.clock import now as clock_now
from ordercenter.core.policy import Role
from ordercenter.orders.models import SalesOrder
from tests.browser.conftest import DESK, PHONE, Visitor
from tests.factories import user_with
from tests.pipeline.arrivals import announce
from tests.pipeline.seller import Seller, draft, line, open_seller, promised, take

pytestmark = pytest.mark.browser
Visit = Callable[..., Visitor]


def fits(visitor: Visitor) -> bool:
    """Whether nothing makes the page wider than the screen."""
    width: bool = visitor.page.evaluate(
        "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
    )
    return width


@transaction.atomic
def short_seller() -> tuple[Seller, list[SalesOrder]]:
    """Sofas are short and some are on their way; lamps lie on the shelf."""
    seller = open_seller(stock=0)
    at = clock_now() - timedelta(hours=5)
    orders = take(
        seller.shop,
        draft(line("SOFA", 2, "3998.00", title="北欧布艺沙发 三人位 雾霾蓝"), paid_at=at),
        draft(line("SOFA"), line("LAMP"), paid_at=at + timedelta(hours=1)),
        draft(line("SOFA"), paid_at=at + timedelta(hours=2)),
        draft(line("VASE", 3, "300.00"), paid=False),
    )
    announce(seller, "SOFA", 3)
    seller.receive("LAMP", 5)
    return seller, orders


@pytest.mark.parametrize("size", [PHONE, DESK])
def test_an_order_is_promised_the_next_arrival(visit: Visit, size: tuple[int, int]) -> None:
    _, orders = short_seller()
    visitor = visit(user_with(Role.WAREHOUSE_SUPERVISOR), size)
    page = visitor.page
    visitor.open("/shortages/")
    assert fits(visitor)
    expect(page.locator(".short-group.missing")).to_have_count(2)
    expect(page.locator(".card .number").first).to_have_text(orders[0].number)
    page.get_by_role("link", name=orders[0].number).click()
    assert fits(visitor)
    button = page.get_by_role("button", name="承诺这批到货")
    button.dblclick()
    expect(page.get_by_text("已承诺的到货")).to_be_visible()
    expect(page.locator(".messages")).to_contain_text("等待到货，预计")
    visitor.open("/shortages/?state=promised")
    expect(page.locator(".card")).to_have_count(1)


def test_a_line_is_swapped_with_a_thumb(visit: Visit) -> None:
    _, orders = short_seller()
    order = orders[0]
    visitor = visit(user_with(Role.REVIEWER), PHONE)
    page = visitor.page
    visitor.open(f"/shortages/{order.number}/")
    page.locator("#act-swap input[name=sku]").fill("LAMP")
    page.get_by_role("button", name="先看换后怎样").tap()
    expect(page.get_by_text("将立即占用并重新审核")).to_be_visible()
    page.get_by_placeholder("原因（5 字以上），例如：买家电话同意换色").fill("买家电话同意换货")
    page.get_by_role("button", name="确认换货").tap()
    expect(page.locator(".messages")).to_contain_text(order.number)
    assert promised(order) == {"LAMP": 2}


@pytest.mark.parametrize("size", [PHONE, DESK])
def test_what_is_there_is_sent_and_the_rest_waits(visit: Visit, size: tuple[int, int]) -> None:
    _, orders = short_seller()
    order = orders[1]  # a sofa that is short, and a lamp
    visitor = visit(user_with(Role.WAREHOUSE_SUPERVISOR), size)
    page = visitor.page
    visitor.open(f"/shortages/{order.number}/")
    expect(page.locator("#act-part")).to_contain_text("平台按商品行显示部分发货")
    assert fits(visitor)
    page.get_by_role("button", name="先发这些").dblclick()
    expect(page.locator(".messages")).to_contain_text("待补")
    assert promised(order) == {"LAMP": 1}
    visitor.open("/shortages/?state=rest")
    expect(page.locator(".card")).to_have_count(1)
    assert fits(visitor)
    page.get_by_role("link", name=order.number).click()
    expect(page.get_by_role("button", name="改回整单发货")).to_be_visible()
    assert fits(visitor)
    visitor.open(f"/orders/{order.number}/")
    expect(page.locator("#to-come")).to_contain_text("待补发")
    visitor.open("/shortages/bulk/?sku=SOFA")
    expect(page.get_by_text("没有可先发的整行现货").first).to_be_visible()
    assert fits(visitor)
