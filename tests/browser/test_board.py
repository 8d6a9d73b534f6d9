"""The board in a real browser: new orders within two seconds, and right again after a cut."""

import re
import subprocess
import sys
import time
from collections.abc import Callable

import pytest
from django.db import connection
from playwright.sync_api import Page, expect

from ordercenter.core.live import LISTENER_NAME
from ordercenter.core.policy import Role
from tests.browser.conftest import Visitor
from tests.factories import OrderHoldFactory, SalesOrderFactory, ShopFactory, user_with
from tests.warroom.conftest import ROOT, environment

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

WALL = (1920, 1080)
TAKE_ORDER = """
import sys, django; django.setup()
from django.db import connection, transaction
from django.utils import timezone
from ordercenter.catalog.models import Shop
from ordercenter.core.live import announce
from tests.factories import SalesOrderFactory
shop = Shop.objects.get()
connection.ensure_connection()
for number in sys.argv[1:]:
    sys.stdin.readline()
    with transaction.atomic():
        order = SalesOrderFactory.create(shop=shop, number=number, is_rush=True)
        announce("orders", order_id=order.pk)
    print(number, flush=True)
"""


class Taker:
    """Another process that takes an order each time it is told to."""

    def __init__(self, *numbers: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", TAKE_ORDER, *numbers],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment(),
            cwd=ROOT,
            text=True,
        )

    def take(self) -> str:
        """Have the next order committed; return its number the moment that is done."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def __enter__(self) -> "Taker":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.communicate(timeout=20)


def figure(page: Page, label: str) -> str:
    found = page.locator(".figure", has_text=label).locator("b").text_content()
    assert found is not None
    return found


def connected(visitor: Visitor) -> Page:
    visitor.open("/board/")
    expect(visitor.page.locator("[data-live-badge]")).to_have_text("已连接")
    return visitor.page


def cut_the_listening() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name = %s",
            [LISTENER_NAME],
        )


def test_an_order_committed_elsewhere_is_on_the_board_within_two_seconds(
    visit: Callable[..., Visitor],
) -> None:
    ShopFactory.create()
    page = connected(visit(user_with(Role.SCREEN), WALL))
    expect(page.get_by_text("没有急单")).to_be_visible()
    numbers = [f"TB{n:012}" for n in range(5)]
    took = []
    with Taker(*numbers) as taker:
        for _ in numbers:
            number = taker.take()
            began = time.monotonic()
            page.get_by_text(number).wait_for(timeout=2_000)
            took.append(time.monotonic() - began)
    assert max(took) < 2
    expect(page.locator(".figure", has_text="处理中").locator("b")).to_have_text("5")


def test_the_board_is_right_again_after_the_socket_was_cut(visit: Callable[..., Visitor]) -> None:
    shop = ShopFactory.create()
    visitor = visit(user_with(Role.SCREEN), WALL)
    page = visitor.page
    page.add_init_script(
        "const Plain = WebSocket; window.sockets = [];"
        "window.WebSocket = class extends Plain {"
        " constructor(...args) { super(...args); window.sockets.push(this); } };"
    )
    connected(visitor)
    page.route("**/board/?fragment=1", lambda route: route.abort())  # nothing gets through
    page.evaluate("window.sockets.at(-1).close()")
    expect(page.locator("[data-live-badge]")).to_have_text("正在重连")
    order = SalesOrderFactory.create(shop=shop, is_rush=True)  # and nobody is told
    page.unroute("**/board/?fragment=1")
    expect(page.locator("[data-live-badge]")).to_have_text("已连接", timeout=5_000)
    expect(page.get_by_text(order.number)).to_be_visible(timeout=2_000)
    assert page.evaluate("window.sockets.length") >= 2


def test_a_cut_listening_connection_costs_freshness_and_never_truth(
    visit: Callable[..., Visitor],
) -> None:
    shop = ShopFactory.create()
    page = connected(visit(user_with(Role.SCREEN), WALL))
    order = SalesOrderFactory.create(shop=shop, is_rush=True)  # committed and never announced
    cut_the_listening()
    expect(page.get_by_text(order.number)).to_be_visible(timeout=5_000)


def test_without_data_the_board_says_since_when(visit: Callable[..., Visitor]) -> None:
    SalesOrderFactory.create(is_rush=True)
    page = connected(visit(user_with(Role.SCREEN), WALL))
    outage = page.locator("[data-live-outage]")
    expect(outage).to_be_hidden()
    page.route("**/board/?fragment=1", lambda route: route.fulfill(status=503, body="gone"))
    cut_the_listening()  # everybody is told to look, and sees nothing
    expect(outage).to_have_text(re.compile(r"^暂无数据，自 \d\d:\d\d:\d\d 起$"), timeout=5_000)
    expect(page.locator("main")).to_have_class(re.compile("is-stale"))
    page.unroute("**/board/?fragment=1")
    expect(outage).to_be_hidden(timeout=10_000)
    expect(page.locator("main")).not_to_have_class(re.compile("is-stale"))


def test_an_ended_session_is_said_and_the_login_page_is_not_swapped_in(
    visit: Callable[..., Visitor],
) -> None:
    SalesOrderFactory.create(is_rush=True)
    page = connected(visit(user_with(Role.SCREEN), WALL))
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM django_session")
    expect(page.locator("[data-live-badge]")).to_have_text("登录已失效", timeout=8_000)
    expect(page.locator("[data-live-outage]")).to_have_text(re.compile("登录已失效"))
    expect(page.locator("input[name=password]")).to_have_count(0)


def test_words_with_markup_are_text_on_the_board(visit: Callable[..., Visitor]) -> None:
    order = SalesOrderFactory.create(shop__name="<img src=x onerror=alert(1)>", is_rush=True)
    OrderHoldFactory.create(order=order, words="<script>alert(2)</script>")
    page = connected(visit(user_with(Role.SCREEN), WALL))
    expect(page.locator("#interceptions")).to_contain_text("<script>alert(2)</script>")
    cut_the_listening()  # the same after a swap
    page.wait_for_timeout(1_500)
    expect(page.locator("#rush")).to_contain_text("<img src=x")
    assert page.locator("main img").count() == 0  # and visit() fails on any alert


@pytest.mark.parametrize("size", [WALL, (390, 844)])
def test_the_board_fits_its_screen(visit: Callable[..., Visitor], size: tuple[int, int]) -> None:
    for place in range(12):
        order = SalesOrderFactory.create(is_rush=True, shop__name=f"名字很长的家居旗舰店{place}")
        OrderHoldFactory.create(
            order=order, words="同一买家五分钟内下了三单" * 5, code=f"rule{place}"
        )
    page = connected(visit(user_with(Role.SCREEN), size))
    inner, wide, high = page.evaluate(
        "[innerWidth, document.documentElement.scrollWidth, document.documentElement.scrollHeight]"
    )
    assert wide <= inner
    if size == WALL:
        assert high <= 1080
        cut_off = page.evaluate(
            "[...document.querySelectorAll('.panel')].filter(p => p.scrollHeight > p.clientHeight)"
            ".map(p => p.id)"
        )
        assert cut_off == []
        expect(page.locator("#shops")).to_contain_text("另有 4 家店铺")
        expect(page.locator("#holds")).to_contain_text("另有 5 种原因")
