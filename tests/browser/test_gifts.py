"""A gift given by hand, and taken out again, under a thumb and at a desk."""

import os
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
from django.db import transaction
from playwright.sync_api import expect

from ordercenter.core.policy import Role
from ordercenter.orders.models import OrderLine, SalesOrder
from tests.browser.conftest import DESK, PHONE, Visitor
from tests.browser.test_listings import fits
from tests.factories import user_with
from tests.pipeline.seller import Seller, draft, line, open_seller, take_one
from tests.pipeline.test_gifts import automatic

pytestmark = pytest.mark.browser
Visit = Callable[..., Visitor]
REASON = "客户投诉补偿，送一条毛巾"
HOSTILE = "<script>alert(1)</script>满赠"


@transaction.atomic
def giving_seller() -> tuple[Seller, SalesOrder]:
    """A seller who gives a towel from 199 yuan on, and an order that earns it."""
    seller = open_seller()
    automatic(seller, name=HOSTILE, per_buyer=1, first_orders=500)
    automatic(seller, name="满五百", code="far", min_amount=Decimal(500), quantity=2)
    return seller, take_one(seller.shop, draft(line("SOFA", 2)))


def keep(visitor: Visitor, name: str) -> None:
    """Leave a picture where somebody asks for pictures."""
    if folder := os.environ.get("SCREENSHOTS"):
        visitor.page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


@pytest.mark.parametrize("size", [PHONE, DESK])
def test_a_gift_is_given_by_hand_and_another_left_out(visit: Visit, size: tuple[int, int]) -> None:
    _seller, order = giving_seller()
    visitor = visit(user_with(Role.WAREHOUSE_SUPERVISOR), size)
    page = visitor.page
    visitor.open(f"/orders/{order.number}/")
    assert fits(visitor)
    gifts = page.locator("#gifts")
    expect(gifts.get_by_text("主商品实付 ¥200.00，满 ¥199.00")).to_be_visible()
    gifts.get_by_text("加赠", exact=True).first.click()
    form = gifts.locator("form", has=page.locator("select"))
    form.locator("select").select_option("TOWEL")
    form.locator("input[name=quantity]").fill("2")
    form.locator("input[name=reason]").fill(REASON)
    keep(visitor, f"order-{size[0]}")
    form.get_by_role("button", name="加赠").dblclick()
    expect(page.get_by_text(f"{order.number} 已加赠")).to_be_visible()
    assert OrderLine.objects.filter(order=order, gift_strategy="manual").count() == 1
    gifts.get_by_text("不发这件赠品").first.click()
    drop = gifts.locator("form", has=page.get_by_role("button", name="不发赠品")).first
    drop.locator("input[name=reason]").fill("买家说不要赠品")
    drop.get_by_role("button", name="不发赠品").click()
    expect(gifts.get_by_text("不再发货")).to_be_visible()
    rows = OrderLine.objects.filter(order=order, is_gift=True).order_by("line_no")
    assert list(rows.values_list("is_dropped", "quantity")) == [(True, 1), (False, 2)]


@pytest.mark.parametrize("size", [PHONE, DESK])
def test_an_order_is_tried_against_every_strategy(visit: Visit, size: tuple[int, int]) -> None:
    _seller, order = giving_seller()
    visitor = visit(user_with(Role.REVIEWER), size)
    page = visitor.page
    visitor.open("/gifts/")
    expect(page.get_by_text("这几天没有发出带赠品的订单")).to_be_visible()
    page.get_by_placeholder("系统单号").fill(order.number)
    page.get_by_role("button", name="试算").click()
    expect(page.get_by_text("主商品金额还差 ¥300.00")).to_be_visible()
    expect(page.get_by_text("每人限 1 单，前 500 单")).to_be_visible()
    assert fits(visitor)
    keep(visitor, f"gifts-{size[0]}")
    page.get_by_placeholder("系统单号").fill("NOTHING")
    page.get_by_role("button", name="试算").click()
    expect(page.get_by_role("alert")).to_be_visible()


def test_a_strategy_reads_as_a_sentence_where_it_is_kept(visit: Visit) -> None:
    giving_seller()
    visitor = visit(user_with(Role.WAREHOUSE_SUPERVISOR), DESK)
    visitor.open("/admin/catalog/giftstrategy/")
    expect(visitor.page.get_by_text("实付满 500 送 棉麻靠垫")).to_be_visible()
    keep(visitor, "admin-list")
    visitor.page.get_by_role("link", name="far").click()
    expect(visitor.page.get_by_text("实付满 500 送 棉麻靠垫")).to_be_visible()
    keep(visitor, "admin-form")
