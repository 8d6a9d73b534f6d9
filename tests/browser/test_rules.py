"""A supervisor writes a rule from nothing, sees its catch, and a second person lets it live."""

import time
from collections.abc import Callable

import pytest
from django.db import transaction
from playwright.sync_api import Page, Route, expect

from ordercenter.core.clock import now
from ordercenter.core.policy import Role
from ordercenter.pipeline import backtests
from risk import lists
from risk.models import Backtest, RuleSet
from tests.browser.conftest import DESK, PHONE, Visitor
from tests.factories import user_with
from tests.pipeline.seller import draft, line, open_seller, take

pytestmark = pytest.mark.browser
Visit = Callable[..., Visitor]
HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script>"


@transaction.atomic
def a_seller() -> None:
    """Two orders of many pieces among four, and a live set with a hostile name in it."""
    seller = open_seller()
    lists.ensure_lists()
    RuleSet.objects.create(
        version=1, is_live=True, committed_at=now(), activated_at=now(),
        rules=[{"code": "words", "name": HOSTILE[:60], "outcome": {"tier": "0", "tag": "x"},
                "when": {"all": [{"fact": "remark", "op": "has_any", "value": [HOSTILE]}]}}],
    )  # fmt: skip
    take(
        seller.shop,
        *(draft(line("SOFA", 6)) for _ in range(2)),
        *(draft(line("LAMP", 1)) for _ in range(2)),
    )


def fits(page: Page) -> bool:
    fitting: bool = page.evaluate(
        "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
    )
    return fitting


@pytest.mark.parametrize("size", [PHONE, DESK])
def test_a_rule_is_built_counted_reported_and_made_live(
    visit: Visit, size: tuple[int, int]
) -> None:
    a_seller()
    visitor = visit(user_with(Role.OPERATIONS_SUPERVISOR, username="boss"), size)
    page = visitor.page
    visitor.open("/rules/")
    assert fits(page)
    page.get_by_role("button", name="修改规则").click()
    page.get_by_role("link", name="新规则").click()
    page.get_by_label("规则名称").fill("江苏大单")
    page.locator("select[name='fact-0.0']").select_option("province")
    page.get_by_text("江苏省", exact=True).click()
    page.get_by_role("button", name="+ 加一个条件").click()
    second = page.locator("select[name='fact-0.1']")
    expect(second).to_be_focused()
    second.select_option("units")
    page.locator("select[name='op-0.1']").select_option(">")
    page.locator("input[name='value-0.1']").fill("5")
    expect(page.locator("[data-aside]")).to_contain_text("近 7 天会命中 2 单")
    expect(page.locator("[data-sentence]")).to_contain_text("收货省份属于 江苏省，且件数超过 5 件")
    assert page.get_by_label("规则名称").input_value() == "江苏大单"
    assert fits(page)
    number = page.locator("[data-aside] .related a").first.inner_text()
    page.get_by_placeholder("系统单号").fill(number)
    page.get_by_placeholder("系统单号").press("Enter")
    expect(page.locator(".trial")).to_contain_text("会命中")
    page.get_by_role("button", name="保存到草稿").click()
    expect(page.get_by_text("“江苏大单”已保存到草稿")).to_be_visible()
    assert fits(page)
    page.get_by_role("button", name="定稿").click()
    page.get_by_role("button", name="开始回测").click()
    expect(page.get_by_text("回测已排队")).to_be_visible()
    backtests.run_stored(Backtest.objects.get().pk)
    page.get_by_role("link", name="看结果").click()
    assert fits(page)
    page.get_by_role("button", name="申请启用").click()
    expect(page.get_by_text("等第二个人批准").first).to_be_visible()
    second_visitor = visit(user_with(Role.WAREHOUSE_SUPERVISOR, username="second"), size)
    second_visitor.open("/rules/")
    second_visitor.page.get_by_role("link", name="去批准").click()
    second_visitor.page.get_by_role("button", name="批准并启用").click()
    expect(second_visitor.page.get_by_text("已启用").first).to_be_visible()
    assert RuleSet.objects.get(is_live=True).rules[-1]["name"] == "江苏大单"


@pytest.mark.parametrize("size", [PHONE, DESK])
def test_the_other_pages_fit_and_groups_nest(visit: Visit, size: tuple[int, int]) -> None:
    a_seller()
    visitor = visit(user_with(Role.OPERATIONS_SUPERVISOR), size)
    page = visitor.page
    for path in ("/lists/", "/lists/blacklist/", "/exemptions/", "/rules/import/"):
        visitor.open(path)
        assert fits(page), path
    visitor.open("/rules/")
    page.get_by_role("button", name="修改规则").click()
    page.get_by_role("link", name="新规则").click()
    page.get_by_role("button", name="+ 加一组").click()
    expect(page.locator("fieldset.group fieldset.group")).to_have_count(1)
    page.get_by_role("button", name="+ 加一组").first.click()
    expect(page.locator("fieldset.group fieldset.group fieldset.group")).to_have_count(1)
    assert fits(page)


def test_what_is_typed_while_the_form_is_drawn_anew_stays(visit: Visit) -> None:
    a_seller()
    visitor = visit(user_with(Role.OPERATIONS_SUPERVISOR))
    page = visitor.page
    visitor.open("/rules/")
    page.get_by_role("button", name="修改规则").click()
    page.get_by_role("link", name="新规则").click()

    def slowly(route: Route) -> None:
        time.sleep(0.4)
        route.continue_()

    page.route("**/add/", slowly)
    add = page.get_by_role("button", name="+ 加一个条件")
    add.click(no_wait_after=True)
    add.click(no_wait_after=True)
    page.get_by_label("规则名称").fill("手快的人")
    expect(page.locator("[data-condition]")).to_have_count(3)
    assert page.get_by_label("规则名称").input_value() == "手快的人"


def test_a_lost_connection_keeps_what_was_typed(visit: Visit) -> None:
    a_seller()
    visitor = visit(user_with(Role.OPERATIONS_SUPERVISOR))
    page = visitor.page
    visitor.open("/rules/")
    page.get_by_role("button", name="修改规则").click()
    page.get_by_role("link", name="新规则").click()
    page.context.set_offline(True)
    page.get_by_label("规则名称").fill("断网时写的")
    expect(page.locator("[data-lost]")).to_be_visible()
    page.context.set_offline(False)
    page.locator("select[name='fact-0.0']").select_option("units")
    expect(page.locator("input[name='value-0.0']")).to_be_visible()
    assert page.get_by_label("规则名称").input_value() == "断网时写的"
