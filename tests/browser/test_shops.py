"""A shop is connected with a thumb and its back-fill watched, in a real browser."""

import re
from collections.abc import Callable
from datetime import timedelta

import httpx
import pytest
from django.utils import timezone
from playwright.sync_api import expect

from channels_sync.connectors.exchange import make_client
from channels_sync.models import Backfill, ShopCredential, SyncCursor
from ordercenter.catalog.models import Shop
from ordercenter.core.policy import Role
from ordercenter.pipeline import lines
from tests.browser.conftest import DESK, PHONE, Visitor
from tests.factories import ShopCredentialFactory, ShopFactory, SyncCursorFactory, user_with

pytestmark = pytest.mark.browser
Visit = Callable[..., Visitor]
TAP = 44


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> list[httpx.Response]:
    """What the platform answers, one after the other; the last one for ever."""
    answers = [httpx.Response(200, json={"trades_sold_increment_get_response": {
        "total_results": 0, "trades": {}}})]  # fmt: skip

    def client() -> httpx.Client:
        def answer(_request: httpx.Request) -> httpx.Response:
            found = answers.pop(0) if len(answers) > 1 else answers[0]
            return httpx.Response(found.status_code, content=found.content)

        return make_client(transport=httpx.MockTransport(answer))

    monkeypatch.setattr(lines, "make_client", client)
    return answers


def read_shop() -> Shop:
    shop: Shop = ShopFactory.create(code="TB01", name="暖屿家居旗舰店")
    ShopCredentialFactory.create(shop=shop)
    SyncCursorFactory.create(shop=shop, last_ok_at=timezone.now())
    return shop


def fits(visitor: Visitor) -> bool:
    """Whether nothing makes the page wider than the screen."""
    width: bool = visitor.page.evaluate(
        "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
    )
    return width


def test_a_shop_is_connected_with_a_thumb(visit: Visit, gateway: list[httpx.Response]) -> None:
    refusal = {"error_response": {"code": 25, "msg": "Invalid signature"}}
    gateway.insert(0, httpx.Response(200, json=refusal))
    visitor = visit(user_with(Role.IT), PHONE)
    page = visitor.page
    visitor.open("/shops/")
    page.get_by_role("link", name="接入第一家").tap()
    expect(page.get_by_text("先选平台")).to_be_visible()
    assert fits(visitor)
    page.get_by_role("link", name="接入淘宝/天猫").tap()
    page.get_by_label("店铺名称").fill("暖屿家居旗舰店")
    page.get_by_label("店铺编码").fill("TB01")
    page.get_by_role("button", name="下一步").tap()

    page.get_by_label("App Key").fill("23000001")
    page.get_by_label("App Secret").fill("the-secret")
    page.get_by_label("接口地址").fill("http://gateway.example/")
    page.get_by_role("button", name="保存，下一步").tap()
    expect(page.get_by_text("平台地址必须以 https:// 开头")).to_be_visible()
    assert page.get_by_label("App Key").input_value() == "23000001"
    assert page.get_by_label("App Secret").input_value() == ""
    assert fits(visitor)
    page.get_by_label("接口地址").fill("https://gateway.example/")
    page.get_by_label("App Secret").fill("the-secret")
    page.get_by_role("button", name="保存，下一步").tap()

    page.get_by_label("访问令牌").fill("the-token")
    page.get_by_role("button", name="保存令牌").tap()

    page.get_by_role("button", name="测试连接").tap()
    expect(page.get_by_text("签名不正确", exact=False)).to_be_visible()
    page.get_by_role("button", name="再测一次").tap()
    expect(page.get_by_text("连接正常", exact=False)).to_be_visible()
    page.get_by_role("link", name="下一步").tap()

    page.get_by_text("最近 7 天").tap()
    page.get_by_role("button", name="启用店铺").tap()
    expect(page.get_by_text("暖屿家居旗舰店 已接入")).to_be_visible()
    assert fits(visitor)
    shop = Shop.objects.get()
    assert shop.is_active
    backfill = Backfill.objects.get()
    assert backfill.end - backfill.start == timedelta(days=7)
    assert ShopCredential.objects.get().secrets()["access_token"] == "the-token"
    assert "the-token" not in page.content()


def test_somebody_who_leaves_goes_on_where_he_was(visit: Visit) -> None:
    visitor = visit(user_with(Role.IT), DESK)
    page = visitor.page
    ShopFactory.create(code="JD01", name="京东二店", channel="jd", is_active=False)
    visitor.open("/shops/")
    expect(page.get_by_text("接入未完成")).to_be_visible()
    page.get_by_role("link", name="继续接入").click()
    expect(page).to_have_url(re.compile(r"/shops/JD01/setup/access/$"))
    expect(page.locator(".steps [aria-current]")).to_have_text("接口凭据")


def test_the_bar_moves_by_itself_to_the_end_and_no_reload_is_needed(visit: Visit) -> None:
    shop = read_shop()
    visitor = visit(user_with(Role.IT), PHONE)
    page = visitor.page
    visitor.open("/shops/TB01/")
    page.evaluate("window.notReloaded = true")
    page.locator("#backfill input[name=start]").fill("2025-11-01T00:00")
    page.locator("#backfill input[name=end]").fill("2025-11-02T00:00")
    page.get_by_role("button", name="开始补拉").tap()
    expect(page.locator("#backfill progress")).to_have_attribute("value", "0")
    page.evaluate("window.notReloaded = true")
    page.locator("#pull input[name=number]").fill("26000")
    half = Backfill.objects.get(shop=shop)
    Backfill.objects.update(
        state="running", position=half.start + timedelta(hours=12), messages=30, new=20
    )
    expect(page.locator("#backfill progress")).to_have_attribute("value", "50", timeout=6_000)
    expect(page.locator("#backfill")).to_contain_text("新增 20 条")
    Backfill.objects.update(state="done", position=half.end, done_at=timezone.now())
    expect(page.locator("#backfill progress")).to_have_count(0, timeout=6_000)
    expect(page.locator("#backfill")).to_contain_text("完成")
    assert page.evaluate("window.notReloaded") is True
    assert page.locator("#pull input[name=number]").input_value() == "26000"


def test_a_double_click_acts_once_and_a_thumb_hits_every_button(visit: Visit) -> None:
    read_shop()
    visitor = visit(user_with(Role.IT), PHONE)
    page = visitor.page
    visitor.open("/shops/TB01/")
    assert fits(visitor)
    for button in page.locator(".quick-verbs .button, .acts .button:visible").all():
        box = button.bounding_box()
        assert box is not None
        assert box["height"] >= TAP, button.inner_text()
    page.locator("#pause summary").tap()
    page.locator("#pause input[name=reason]").fill("平台维护，先停一停")
    page.locator("#pause button").dblclick()
    page.get_by_role("button", name="恢复读取").wait_for()
    assert SyncCursor.objects.get().paused_at is not None


def test_an_address_is_copied_with_one_press(visit: Visit) -> None:
    shop = ShopFactory.create(code="DY01", channel="douyin")
    ShopCredentialFactory.create(shop=shop)
    SyncCursorFactory.create(shop=shop)
    visitor = visit(user_with(Role.IT), DESK)
    page = visitor.page
    page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=visitor.site)
    visitor.open("/shops/DY01/")
    page.get_by_role("button", name="复制").click()
    expect(page.get_by_role("button", name="已复制")).to_be_visible()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == f"{visitor.site}/hooks/douyin/DY01/"
