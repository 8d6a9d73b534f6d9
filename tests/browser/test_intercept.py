"""The command box in a real browser: type, choose, confirm by the count, see held, undo."""

import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import transaction
from playwright.sync_api import Page, expect

from channels_sync.models import WarningFeed
from ordercenter.core.clock import now
from ordercenter.core.policy import Role
from ordercenter.orders.models import Interception, OrderHold
from ordercenter.pipeline.interception import feeds, lookup
from ordercenter.pipeline.interception.warned import Warned
from tests.browser.conftest import DESK, PHONE, Visitor
from tests.factories import user_with
from tests.pipeline.seller import Seller, draft, holds, line, open_seller, pick, somebody, take

pytestmark = pytest.mark.browser
Visit = Callable[..., Visitor]


def fits(visitor: Visitor) -> bool:
    """Whether nothing makes the page wider than the screen."""
    width: bool = visitor.page.evaluate(
        "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
    )
    return width


def keep(page: Page, name: str) -> None:
    """A picture for whoever wants to look, where ``SCREENSHOTS`` names a folder."""
    if folder := os.environ.get("SCREENSHOTS"):
        page.screenshot(path=str(Path(folder) / f"{name}.png"), full_page=True)


@transaction.atomic
def busy_seller() -> Seller:
    """Orders to Jilin, one of them packed; others to Jiangsu."""
    lookup.forget()
    seller = open_seller()
    jilin: dict[str, Any] = {"province": "吉林省", "city": "吉林市", "district": "船营区"}
    changchun: dict[str, Any] = {"province": "吉林省", "city": "长春市", "district": "朝阳区"}
    orders = take(
        seller.shop,
        draft(line(amount="1299.00"), receiver=somebody(**jilin)),
        draft(line("LAMP"), receiver=somebody(**changchun)),
        draft(line("RUG"), receiver=somebody(**changchun)),
        draft(),
        draft(),
    )
    pick(orders[1], user_with(Role.PICKER, Role.WAREHOUSE_SUPERVISOR, username="picker"))
    return seller


@pytest.mark.parametrize("size", [PHONE, DESK])
def test_a_province_is_chosen_confirmed_held_and_let_go(
    visit: Visit, size: tuple[int, int]
) -> None:
    name = "phone" if size == PHONE else "desk"
    busy_seller()
    visitor = visit(user_with(Role.CEO), size)
    page = visitor.page
    visitor.open("/intercept/")
    expect(page.get_by_text("现在没有拦截，一切照常发货")).to_be_visible()
    assert fits(visitor)
    keep(page, f"intercept-empty-{name}")
    box = page.locator("[data-command]")
    box.press_sequentially("吉林停发 到明早8点 顺丰")
    expect(page.locator("#parsed")).to_contain_text("顺丰")
    box.fill("吉林停发 到明早8点")
    choice = page.get_by_role("link", name="吉林省", exact=True)
    expect(choice).to_be_visible()
    keep(page, f"intercept-choices-{name}")
    choice.click()
    expect(box).to_have_value("吉林省 停发 到明早8点")
    expect(page.locator(".amounts")).to_contain_text("3")
    expect(page.locator(".split")).to_contain_text("待打包 1")
    assert fits(visitor)
    keep(page, f"intercept-preview-{name}")
    page.get_by_role("button", name="台风暴雨，物流停运").click()
    page.locator("[data-count]").fill("2")
    stop = page.get_by_role("button", name="立即拦截")
    stop.click()
    assert not Interception.objects.exists()
    page.locator("[data-count]").fill("3")
    stop.dblclick()
    expect(page.get_by_role("heading", name="吉林省暂停发货 拦截中")).to_be_visible()
    expect(page.locator(".tracked")).to_contain_text("打包台拦下")
    expect(page.locator(".tracked tr")).to_have_count(4)
    assert fits(visitor)
    keep(page, f"intercept-one-{name}")
    row = Interception.objects.get()
    assert OrderHold.objects.open().filter(interception=row).count() == 3
    visitor.open("/wall/")
    expect(page.locator(".stops")).to_contain_text("吉林省暂停发货")
    keep(page, f"intercept-banner-{name}")
    visitor.open("/intercept/")
    expect(page.locator(".progress")).to_contain_text("现挂 3 单")
    assert fits(visitor)
    keep(page, f"intercept-running-{name}")
    page.get_by_role("button", name="撤销").click()
    expect(page.locator(".messages")).to_contain_text("已解除")
    assert not OrderHold.objects.open().filter(interception=row).exists()
    expect(page.locator(".tracked")).to_contain_text("已恢复")


def test_another_page_sees_it_without_a_reload_and_a_second_person_agrees(visit: Visit) -> None:
    seller = busy_seller()
    visitor = visit(user_with(Role.OPERATIONS_SUPERVISOR), DESK)
    page = visitor.page
    visitor.open("/intercept/")
    asker = visit(user_with(Role.WAREHOUSE_SUPERVISOR), DESK)
    asker.open("/intercept/?q=全部停发")
    asker.page.locator("input[name=reason]").fill("系统价格异常，全部停发")
    asker.page.locator("input[name=all_words]").fill("全部停发")
    asker.page.locator("[data-count]").fill("5")
    keep(asker.page, "intercept-all-desk")
    asker.page.get_by_role("button", name="提交，等第二人确认").click()
    expect(asker.page.get_by_text("已提交，等待第二人确认")).to_be_visible()
    agree = page.get_by_role("button", name="确认，立即生效")
    expect(agree).to_be_visible()
    keep(page, "intercept-second-desk")
    agree.click()
    expect(page.locator(".progress")).to_contain_text("现挂 5 单")
    assert all(holds(order) for order in seller.shop.salesorder_set.all())


def test_hostile_text_is_inert(visit: Visit) -> None:
    visitor = visit(user_with(Role.CEO), DESK)
    visitor.open("/intercept/")
    box = visitor.page.locator("[data-command]")
    box.fill('<img src=x onerror=alert(1)> "><script>alert(2)</script> 江苏停发')
    expect(visitor.page.locator("#parsed mark").first).to_be_visible()
    assert visitor.page.locator("#parsed img, #parsed script").count() == 0


def test_a_press_is_not_lost_when_the_page_redraws_in_the_middle_of_it(visit: Visit) -> None:
    busy_seller()
    feed = WarningFeed.objects.create(code="cma", name="气象台", kind="weather")
    ends = now() + timedelta(hours=6)
    feeds.hear(feed, [Warned("W-1", 4, "吉林暴雪红色预警", ("吉林省",), ends=ends)])
    visitor = visit(user_with(Role.CEO), DESK)
    page = visitor.page
    visitor.open("/intercept/")
    page.get_by_placeholder("驳回或撤回的原因（5 字以上）").fill("天气已经转好")
    place = page.get_by_role("button", name="驳回").bounding_box()
    assert place
    with page.expect_response(lambda answer: "fragment=1" in answer.url):
        page.mouse.move(place["x"] + place["width"] / 2, place["y"] + place["height"] / 2)
        page.mouse.down()
        feeds.hear(feed, [Warned("W-2", 4, "江苏台风红色预警", ("江苏省",), ends=ends)])
    page.wait_for_timeout(300)
    page.mouse.up()
    expect(page.locator(".messages")).to_contain_text("已驳回")


@pytest.mark.parametrize("size", [PHONE, DESK])
def test_feeds_limits_and_history_fit_the_screen(visit: Visit, size: tuple[int, int]) -> None:
    name = "phone" if size == PHONE else "desk"
    busy_seller()
    feed = WarningFeed.objects.create(code="cma", name="气象台", kind="weather")
    told = [
        Warned(
            "W-1", 4, "吉林暴雪红色预警，部分高速封闭", ("吉林省",), ends=now() + timedelta(hours=6)
        ),
        Warned("W-2", 4, "海啸预警", ("亚特兰蒂斯",)),
        Warned("W-3", 1, "小雨", ("江苏省",)),
    ]
    feeds.hear(feed, told)
    visitor = visit(user_with(Role.CEO), size)
    page = visitor.page
    visitor.open("/intercept/feeds/")
    expect(page.get_by_text("认不出地区“亚特兰蒂斯”")).to_be_visible()
    assert fits(visitor)
    keep(page, f"intercept-feeds-{name}")
    visitor.open("/intercept/")
    page.get_by_placeholder("驳回或撤回的原因（5 字以上）").fill("天气已经转好")
    page.get_by_role("button", name="驳回").click()
    expect(page.locator(".messages")).to_contain_text("已驳回")
    visitor.open("/intercept/history/")
    expect(page.locator(".card")).to_contain_text("天气已经转好")
    assert fits(visitor)
    keep(page, f"intercept-history-{name}")
    visitor.open("/intercept/policy/")
    assert fits(visitor)
    keep(page, f"intercept-policy-{name}")
