"""Why an order was stopped, and new rules for the orders inside, under a thumb and at a desk."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import transaction
from playwright.sync_api import expect

from ordercenter.core.clock import SHANGHAI
from ordercenter.core.policy import Role
from ordercenter.orders.models import SalesOrder
from risk.models import RuleSet
from tests.browser.conftest import DESK, PHONE, Visitor
from tests.browser.test_gifts import keep
from tests.browser.test_listings import fits
from tests.factories import user_with
from tests.pipeline.seller import buyer, draft, line, open_seller, take
from tests.risk.rule_life import a_rule, live

pytestmark = pytest.mark.browser
Visit = Callable[..., Visitor]
HOSTILE = "<script>alert(1)</script>当天必须发"
NAMES = {"dear": "大额订单", "cross": "超大额订单"}


@transaction.atomic
def held_orders() -> list[SalesOrder]:
    """Two held orders of one buyer; a third is not held, and nearly would be."""
    seller = open_seller()
    often = {"fact": "orders_in_window", "keys": ["buyer"], "window_seconds": 300, "op": ">=",
             "value": "2"}  # fmt: skip
    live(
        a_rule("dear", value="500", name=NAMES["dear"]),
        a_rule("cross", value="5000", name=NAMES["cross"], tier="3"),
        a_rule("often", when={"all": [often]}, name="短时间多单"),
        a_rule("off", enabled=False, name="停用的规则"),
    )
    told = [
        draft(line(amount="600.00"), evidence=buyer("b1"), buyer_remark=HOSTILE),
        draft(line(amount="800.00"), evidence=buyer("b1")),
        draft(line(amount="499.99")),
    ]
    return take(seller.shop, *told)


@pytest.mark.parametrize("size", [PHONE, DESK])
def test_a_reviewer_reads_what_hit_what_was_near_and_how_it_was_before(
    visit: Visit, size: tuple[int, int]
) -> None:
    first, _, near = held_orders()
    visitor = visit(user_with(Role.REVIEWER), size)
    page = visitor.page
    visitor.open(f"/orders/{first.number}/")
    page.get_by_role("link", name="为什么命中").click()
    assert fits(visitor)
    fired = page.locator("#fired")
    expect(fired.get_by_text(NAMES["dear"], exact=False).first).to_be_visible()
    expect(page.get_by_text("结果完全一致")).to_be_visible()
    passed = page.locator("#passed")
    passed.get_by_text(NAMES["cross"]).click()
    expect(passed.get_by_text(">= 5000").first).to_be_visible()
    keep(visitor, f"why-{size[0]}")
    before = first.received_at.astimezone(SHANGHAI) - timedelta(hours=1)
    page.locator("input[name=at]").fill(f"{before:%Y-%m-%dT%H:%M:%S}")
    page.get_by_role("button", name="查看", exact=True).click()
    expect(page.get_by_text("还没有进入系统")).to_be_visible()
    page.get_by_role("link", name="回到现在").click()
    visitor.open(f"/orders/{near.number}/why/")
    expect(page.get_by_text("没有规则命中")).to_be_visible()
    expect(page.locator("#passed summary").first).to_contain_text("就会命中")
    assert fits(visitor)


@pytest.mark.parametrize("size", [PHONE, DESK])
def test_a_supervisor_sees_what_new_rules_mean_inside_and_has_them_applied(
    visit: Visit, size: tuple[int, int]
) -> None:
    held_orders()
    with transaction.atomic():
        RuleSet.objects.update(is_live=False)
        live(a_rule("dear", value="700", name="大额订单"), a_rule("mid", value="400"), version=2)
    visitor = visit(user_with(Role.OPERATIONS_SUPERVISOR), size)
    page = visitor.page
    visitor.open("/rules/inside/")
    assert fits(visitor)
    keep(visitor, f"inside-{size[0]}")
    page.locator("input[value=dear]").check()
    page.locator("input[name=reason]").fill("阈值调整，适用在途")
    page.locator("input[name=count]").fill("3")
    page.get_by_role("button", name="重新判定").dblclick()
    expect(page.get_by_text("已交给后台重新判定")).to_be_visible()
    expect(page.get_by_text("正在判定")).to_be_visible()
