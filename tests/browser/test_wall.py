"""The wall in a real browser: with one thumb, with the keyboard, and with a hostile buyer."""

from collections.abc import Callable

import pytest
from django.conf import settings

from ordercenter.core.policy import Role
from ordercenter.orders.models import OrderHold
from tests.browser.conftest import DESK, PHONE, Visitor
from tests.console.conftest import held_order
from tests.factories import PASSWORD, OrderHoldFactory, OrderLineFactory, user_with

pytestmark = pytest.mark.browser

HOSTILE = (
    "<script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\">"
    '" onmouseover="document.title=\'taken\'" {{7*7}} javascript:alert(1)'
)
Visit = Callable[..., Visitor]


def first_card(visitor: Visitor) -> str:
    return visitor.page.locator("[data-card]").first.get_attribute("data-key") or ""


def is_released(hold: OrderHold) -> bool:
    hold.refresh_from_db()
    return hold.released_at is not None


def test_a_supervisor_releases_a_card_with_his_thumb_and_sees_the_next(visit: Visit) -> None:
    worse, milder = held_order(is_rush=True), held_order()
    visitor = visit(user_with(Role.WAREHOUSE_SUPERVISOR), PHONE)
    page = visitor.page
    visitor.open("/wall/")
    assert first_card(visitor) == worse.order.number
    card = page.locator(f"#order-{worse.order.number}")
    card.locator("[data-fill]").first.tap()
    assert card.locator("[data-reason]").input_value() == "已电话核实，客户确认下单"
    card.get_by_role("button", name="放行").tap()
    page.get_by_text(f"{worse.order.number} 已放行").wait_for()
    assert first_card(visitor) == milder.order.number
    assert page.locator("[data-card]").count() == 1
    assert is_released(worse)
    assert not is_released(milder)


def test_everything_on_a_phone_is_in_reach_of_a_thumb(visit: Visit) -> None:
    hold = held_order(buyer_remark="长" * 300 + "x" * 300)
    OrderLineFactory.create(order=hold.order, title="W" * 200)
    OrderHoldFactory.create(order=hold.order, code="long", words="原因" * 100, tier="3")
    visitor = visit(user_with(Role.WAREHOUSE_SUPERVISOR, Role.CEO), PHONE)
    number = hold.order.number
    for path in ("/wall/", f"/wall/{number}/", f"/orders/{number}/", "/approvals/",
                 "/approvals/delegations/", "/work/", "/work/scan/"):  # fmt: skip
        visitor.open(path)
        width = visitor.page.evaluate("document.documentElement.scrollWidth")
        assert width <= PHONE[0], path
        small = visitor.page.evaluate(
            """() => [...document.querySelectorAll("button, .chip, .button, main input, .menu a")]
                .filter((e) => e.checkVisibility() && e.type !== "hidden")
                .map((e) => [e.textContent, e.getBoundingClientRect().height])
                .filter(([, height]) => height < 44)"""
        )
        assert small == [], path


def test_no_release_without_a_reason(visit: Visit) -> None:
    hold = held_order()
    visitor = visit(user_with(Role.REVIEWER), PHONE)
    visitor.open("/wall/")
    visitor.page.get_by_role("button", name="放行").tap()
    assert visitor.page.url.endswith("/wall/")
    assert visitor.page.locator("[data-reason]:invalid").count() == 1
    assert not is_released(hold)


def test_the_keyboard_goes_through_the_queue(visit: Visit) -> None:
    first, second = held_order(is_rush=True), held_order()
    visitor = visit(user_with(Role.REVIEWER), DESK)
    page = visitor.page
    visitor.open("/wall/")
    for key, expected in (("j", first), ("j", second), ("k", first)):
        page.keyboard.press(key)
        assert page.locator(".current").get_attribute("data-key") == expected.order.number
    page.keyboard.press("r")
    page.keyboard.type("价格已与运营核对")
    page.keyboard.press("Enter")
    page.get_by_text(f"{first.order.number} 已放行").wait_for()
    assert is_released(first)
    assert not is_released(second)


def test_a_double_click_is_one_release(visit: Visit) -> None:
    hold = held_order()
    visitor = visit(user_with(Role.REVIEWER), DESK)
    posts: list[str] = []
    visitor.page.on("request", lambda r: posts.append(r.url) if "/decide/" in r.url else None)
    visitor.open("/wall/")
    visitor.page.locator("[data-fill]").first.click()
    visitor.page.get_by_role("button", name="放行").dblclick()
    visitor.page.get_by_text("已放行").wait_for()
    assert len(posts) == 1
    assert is_released(hold)


def test_a_card_decided_elsewhere_says_who_was_first(visit: Visit) -> None:
    hold = held_order()
    first = visit(user_with(Role.REVIEWER, username="first"), DESK)
    second = visit(user_with(Role.REVIEWER, username="second"), DESK)
    second.page.route("**/ws/**", lambda route: route.abort())
    for visitor in (first, second):
        visitor.page.add_init_script("window.WebSocket = class { addEventListener() {} };")
        visitor.open("/wall/")
    for visitor in (first, second):
        visitor.page.locator("[data-fill]").first.click()
    first.page.get_by_role("button", name="放行").click()
    first.page.get_by_text("已放行").wait_for()
    second.page.get_by_role("button", name="放行").click()
    second.page.locator("[data-stale]").wait_for()
    assert "first" in second.page.locator("[data-stale]").inner_text()
    assert OrderHold.objects.open().filter(pk=hold.pk).count() == 0


def test_what_a_buyer_typed_runs_nowhere(visit: Visit) -> None:
    hold = held_order(buyer_remark=HOSTILE)
    OrderHold.objects.filter(pk=hold.pk).update(words=HOSTILE, evidence={"said": HOSTILE})
    OrderLineFactory.create(order=hold.order, title=HOSTILE)
    visitor = visit(user_with(Role.WAREHOUSE_SUPERVISOR), DESK)
    for path in (
        "/wall/",
        f"/wall/{hold.order.number}/",
        f"/orders/{hold.order.number}/",
        "/admin/orders/salesorder/",
        f"/admin/orders/salesorder/{hold.order_id}/change/",
        "/admin/orders/orderhold/",
        f"/admin/orders/orderhold/{hold.pk}/change/",
    ):
        visitor.open(path)
        page = visitor.page
        page.wait_for_timeout(200)  # an onerror would have run by now
        assert page.title() != "taken", path
        assert page.locator("img[src=x]").count() == 0, path
        assert "document.title='taken'" in page.locator("body").inner_text(), path


def test_the_wall_draws_a_new_order_by_itself_and_keeps_what_is_typed(visit: Visit) -> None:
    held_order()
    visitor = visit(user_with(Role.REVIEWER), DESK)
    page = visitor.page
    visitor.open("/wall/")
    page.locator("[data-live-badge][data-state=live]").wait_for()
    page.locator("[data-reason]").first.fill("正在和买家通话")
    new = held_order(tier="3")
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    page.locator(f"#order-{new.order.number}").wait_for()
    assert first_card(visitor) == new.order.number
    assert page.locator("[data-reason]").last.input_value() == "正在和买家通话"


def test_after_the_session_ended_the_page_leads_through_the_log_in_to_fresh_cards(
    visit: Visit,
) -> None:
    hold = held_order()
    visitor = visit(user_with(Role.REVIEWER, username="lunch"), DESK)
    page = visitor.page
    visitor.open("/wall/")
    page.locator("[data-fill]").first.click()
    page.context.clear_cookies(name=settings.SESSION_COOKIE_NAME)
    page.get_by_role("button", name="放行").click()
    page.locator("input[name=username]").fill("lunch")
    page.locator("input[name=password]").fill(PASSWORD)
    page.locator("#login-form button").first.click()
    page.locator(f"#order-{hold.order.number}").wait_for()
    assert page.locator("[data-reason]").first.input_value() == ""
    assert not is_released(hold)
