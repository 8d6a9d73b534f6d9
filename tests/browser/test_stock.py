"""The stock under a thumb and at a desk, in a real browser."""

import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import transaction
from django.utils import timezone
from playwright.sync_api import expect

from inventory import arrivals
from inventory.models import StockLevel, StockProof
from ordercenter.core.actor import PIPELINE
from ordercenter.core.policy import Role
from tests.browser.conftest import DESK, PHONE, Visitor
from tests.factories import ShopCredentialFactory, SyncCursorFactory, user_with
from tests.pipeline.seller import Seller, draft, line, open_seller, take

pytestmark = pytest.mark.browser
Visit = Callable[..., Visitor]


@transaction.atomic
def stocked_seller() -> Seller:
    """Four goods in two places: plenty, some, few, next to none; orders hold some of them."""
    seller = open_seller(stock=0)
    ShopCredentialFactory.create(shop=seller.shop, options={"push_stock": "on"})
    SyncCursorFactory.create(shop=seller.shop)
    for code, near, far in (("SOFA", 90, 60), ("LAMP", 20, 9), ("RUG", 8, 0), ("VASE", 2, 0)):
        for units, place in ((near, seller.near), (far, seller.far)):
            if units:
                seller.receive(code, units, place)
    take(seller.shop, draft(line("SOFA", 3)), draft(line("LAMP", 2)), draft(line("RUG")))
    arrivals.announce(
        seller.near.pk, {seller.skus["VASE"].pk: 120},
        expected_at=timezone.now() + timedelta(days=3),
        user=user_with(Role.WAREHOUSE_SUPERVISOR, username="announcer"), actor=PIPELINE,
    )  # fmt: skip
    return seller


def fits(visitor: Visitor) -> bool:
    """Whether nothing makes the page wider than the screen."""
    width: bool = visitor.page.evaluate(
        "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
    )
    return width


@pytest.mark.parametrize("size", [PHONE, DESK])
def test_the_stock_is_read_filtered_and_explained(visit: Visit, size: tuple[int, int]) -> None:
    seller = stocked_seller()
    visitor = visit(user_with(Role.WAREHOUSE_SUPERVISOR), size)
    page = visitor.page
    visitor.open("/stock/")
    assert fits(visitor)
    expect(page.locator("tbody.sku")).to_have_count(5)
    expect(page.locator("tbody.sku").first.locator(".alarm")).to_have_text("缺货高风险")
    page.get_by_role("link", name=re.compile("仅剩少量")).click()
    expect(page.locator("tbody.sku")).to_have_count(1)
    expect(page.locator("tbody.sku")).to_contain_text("RUG")
    page.get_by_label("仓库").select_option(label=seller.far.warehouse.name)
    expect(page).to_have_url(re.compile("warehouse="))
    expect(page).not_to_have_url(re.compile("region="))
    visitor.open("/stock/")
    page.get_by_role("link", name="SOFA", exact=True).click()
    expect(page.get_by_text("✓ 与流水相符").first).to_be_visible()
    expect(page.locator("#ledger tbody tr").first).to_contain_text("订单占用")
    assert fits(visitor)


@pytest.mark.parametrize("size", [PHONE, DESK])
def test_a_to_do_is_put_off_with_one_press(visit: Visit, size: tuple[int, int]) -> None:
    stocked_seller()
    visitor = visit(user_with(Role.OPERATIONS_SUPERVISOR), size)
    page = visitor.page
    visitor.open("/stock/low/")
    assert fits(visitor)
    first = page.locator(".todo").filter(has_text="RUG")
    first.get_by_text("推迟提醒").click()
    first.get_by_role("button", name="推迟").dblclick()
    expect(page.get_by_text("前不再提醒")).to_be_visible()
    expect(page.locator(".todo").filter(has_text="RUG")).to_have_count(0)


def test_the_page_follows_the_stock_without_a_reload(visit: Visit) -> None:
    seller = stocked_seller()
    visitor = visit(user_with(Role.WAREHOUSE_SUPERVISOR), DESK)
    page = visitor.page
    visitor.open("/stock/?q=RUG")
    available = page.locator("tbody.sku .total td[data-label='可用']")
    expect(available).to_have_text("7")
    expect(page.locator("[data-live-badge]")).to_have_text("已连接")
    with transaction.atomic():
        take(seller.shop, draft(line("RUG", 2)))
    expect(available).to_have_text("5", timeout=15_000)


def test_a_red_badge_leads_to_what_is_broken(visit: Visit) -> None:
    seller = stocked_seller()
    StockLevel.objects.filter(sku=seller.skus["RUG"]).update(on_hand=70)
    StockProof.objects.create(
        ran_at=timezone.now(), seconds=0.4, levels=9, movements=12, broken={"S2": 1}
    )
    visitor = visit(user_with(Role.WAREHOUSE_SUPERVISOR), PHONE)
    page = visitor.page
    visitor.open("/stock/")
    page.get_by_role("link", name=re.compile("库存核对不符 S2")).click()
    assert fits(visitor)
    page.get_by_role("link", name=re.compile("^RUG")).click()
    expect(page.get_by_text("✗ 与流水不符")).to_be_visible()
