"""Two people at one wall: who has which card is seen at once, by thumb and by keyboard."""

import os
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from django.conf import settings
from django.utils import timezone

from ordercenter.core.policy import Role
from ordercenter.orders.models import CardClaim, OrderHold
from tests.browser.conftest import DESK, PHONE, Visitor, session_of
from tests.console.conftest import held_order
from tests.factories import OrderEvidenceFactory, SalesOrderFactory, VerdictFactory, user_with

pytestmark = pytest.mark.browser
Visit = Callable[..., Visitor]
SHOTS = os.environ.get("SCREENSHOTS", "")
"""A folder; where it is named, pictures are kept for people to look at."""


def shoot(visitor: Visitor, name: str) -> None:
    if SHOTS:
        visitor.page.screenshot(path=Path(SHOTS) / f"{name}.png", full_page=True)


def is_released(hold: OrderHold) -> bool:
    return not OrderHold.objects.open().filter(pk=hold.pk).exists()


def rich_card() -> OrderHold:
    """A card with a cluster, an address-day and findings."""
    noon = (timezone.now() - timedelta(days=1)).replace(hour=4, minute=0)
    hold = held_order(payable_amount=Decimal(880), buyer_remark="尽快发货，放门口", placed_at=noon)
    VerdictFactory.create(
        order=hold.order,
        rule_set_version=0,
        findings=[
            {"code": "same_sku_5m", "hit": True, "tier": "2", "seen": ["3 单"], "limit": ["≥ 2"]},
            {"code": "low_price_85", "hit": False, "seen": ["100%"], "limit": ["< 85%"]},
        ],
    )
    keys = {"buyer_key": "b", "phone_key": "p", "address_key": "a"}
    OrderEvidenceFactory.create(order=hold.order, **keys)
    for n in range(6):
        at = hold.order.placed_at - timedelta(minutes=20 * n)
        kin = SalesOrderFactory.create(shop=hold.order.shop, placed_at=at)
        OrderEvidenceFactory.create(order=kin, **keys)
    return hold


def test_a_claim_is_seen_by_the_other_within_two_seconds(visit: Visit) -> None:
    hold = held_order()
    ann = visit(user_with(Role.REVIEWER, username="ann"), PHONE)
    bob = visit(user_with(Role.REVIEWER, username="bob"), DESK)
    for visitor in (ann, bob):
        visitor.open("/wall/")
        visitor.page.locator("[data-live-badge][data-state=live]").wait_for()
    ann.page.locator("[data-reason]").first.fill("正")
    bob.page.locator(f"#order-{hold.order.number} [data-taken]").wait_for(timeout=2_000)
    assert "ann" in bob.page.locator("[data-taken]").inner_text()
    assert bob.page.locator("[data-reason]").count() == 0
    assert ann.page.locator("[data-reason]").input_value() == "正"
    shoot(bob, "wall-taken-desk")
    shoot(ann, "wall-mine-phone")


def test_a_claim_falls_to_the_next_when_its_time_is_up(visit: Visit) -> None:
    hold = held_order()
    ann = user_with(Role.REVIEWER, username="ann")
    CardClaim.objects.create(
        order=hold.order, user=ann, claimed_at=timezone.now() - timedelta(minutes=6),
        expires_at=timezone.now() - timedelta(minutes=1),
    )  # fmt: skip
    bob = visit(user_with(Role.REVIEWER, username="bob"), DESK)
    bob.open("/wall/")
    bob.page.get_by_role("button", name="开始逐单处理").click()
    bob.page.wait_for_url(f"**/wall/{hold.order.number}/**")
    bob.page.locator(".standing [data-mine]").wait_for()
    assert CardClaim.objects.get().user.username == "bob"


def test_by_keyboard_one_card_follows_the_other(visit: Visit) -> None:
    first, second = rich_card(), held_order(payable_amount=Decimal(50))
    visitor = visit(user_with(Role.WAREHOUSE_SUPERVISOR), DESK)
    page = visitor.page
    visitor.open("/wall/")
    shoot(visitor, "wall-desk")
    page.locator("[data-start]").click()
    page.wait_for_url(f"**/wall/{first.order.number}/**")
    shoot(visitor, "card-desk")
    page.keyboard.press("?")
    assert page.locator("[data-keys]").get_attribute("open") is not None
    page.keyboard.press("?")
    page.keyboard.press("a")
    page.keyboard.type("价格已与运营核对")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/wall/{second.order.number}/**")
    assert is_released(first)
    page.keyboard.press("z")
    assert page.locator("[data-fold=z]").get_attribute("open") is not None
    page.keyboard.press("Escape")
    page.keyboard.press("e")
    page.keyboard.type("地址不完整，请补充")
    page.keyboard.press("Enter")
    page.get_by_text(f"{second.order.number} 已退回修改").wait_for()
    second.refresh_from_db()
    assert second.disposition == "returned"


def test_by_thumb_a_card_with_its_evidence_is_decided(visit: Visit) -> None:
    hold = rich_card()
    visitor = visit(user_with(Role.WAREHOUSE_SUPERVISOR), PHONE)
    page = visitor.page
    visitor.open(f"/wall/{hold.order.number}/")
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE[0]
    shoot(visitor, "card-phone")
    assert page.locator("svg.dayplan rect").count() == 7
    page.locator("[data-fill]").first.tap()
    page.locator("button[name=verb][value=release]").first.tap()
    page.get_by_text(f"{hold.order.number} 已放行").wait_for()
    assert is_released(hold)


def test_ticked_cards_are_decided_together(visit: Visit) -> None:
    holds = [held_order(), held_order()]
    visitor = visit(user_with(Role.REVIEWER), PHONE)
    page = visitor.page
    visitor.open("/wall/")
    for box in page.locator("input[name=pick]").all():
        box.tap()
    assert page.locator("[data-ticked]").inner_text() == "（2）"
    page.locator("[data-bulk]").tap()
    page.locator("[name=reason]").fill("老客户批量复购")
    page.locator("[name=count]").fill("2")
    shoot(visitor, "bulk-phone")
    page.locator("button[value=release]").tap()
    page.get_by_text("2 单已处理，共 2 单").wait_for()
    assert all(is_released(hold) for hold in holds)


def test_without_scripts_every_button_does_what_it_says(visit: Visit) -> None:
    first, second = held_order(payable_amount=Decimal(900)), held_order()
    visitor = visit(user_with(Role.REVIEWER, username="plain"), DESK)
    browser = visitor.page.context.browser
    assert browser is not None
    context = browser.new_context(java_script_enabled=False, locale="zh-CN")
    user = user_with(Role.REVIEWER, username="plain")
    name = settings.SESSION_COOKIE_NAME
    context.add_cookies([{"name": name, "value": session_of(user), "url": visitor.site}])
    page = context.new_page()
    page.goto(visitor.site + "/wall/")
    page.locator("[data-start]").click()
    assert f"/wall/{first.order.number}/" in page.url
    page.locator("[name=reason]").first.fill("查过了，没有问题")
    page.locator("button[name=verb][value=release]").first.click()
    assert f"/wall/{second.order.number}/" in page.url
    assert is_released(first)
    page.get_by_role("button", name="放回队列").click()
    assert not CardClaim.objects.exists()
    context.close()
