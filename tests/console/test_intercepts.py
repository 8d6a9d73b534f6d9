"""The command box: read, previewed, confirmed by the count, undone; who may, and who reads."""

import re
from typing import Any

import pytest
from django.test import Client

from ordercenter.core.policy import Role
from ordercenter.orders.models import Interception, InterceptionPolicy, OrderHold, SalesOrder
from ordercenter.pipeline.interception import lookup
from tests.console.conftest import AsRole
from tests.factories import OrderHoldFactory, user_with
from tests.pipeline.seller import (
    Seller,
    draft,
    holds,
    line,
    open_seller,
    pick,
    somebody,
    take,
    take_one,
)

pytestmark = pytest.mark.django_db
REASON = "台风暴雨，物流停运"
JIANGSU = "江苏省暂停发货"


@pytest.fixture(autouse=True)
def _names_read_anew() -> None:
    lookup.forget()


@pytest.fixture
def seller() -> Seller:
    return open_seller()


@pytest.fixture
def boss(as_role: AsRole) -> Client:
    return as_role(Role.WAREHOUSE_SUPERVISOR, username="boss")


@pytest.fixture
def ceo(as_role: AsRole) -> Client:
    return as_role(Role.CEO, username="ceo")


def text_of(answer: Any, status: int = 200) -> str:
    assert answer.status_code == status, answer.content.decode()[:2000]
    return str(answer.content.decode())


def read(who: Client, text: str, status: int = 200) -> str:
    return text_of(who.get("/intercept/parse/", {"q": text}), status)


def plan_of(who: Client, text: str) -> str:
    found = re.search(r'name="plan" value="([^"]+)"', read(who, text))
    assert found, "nothing to confirm"
    return found[1]


def confirm(who: Client, text: str, count: int, **more: str) -> Any:
    form = {"plan": plan_of(who, text), "q": text, "reason": REASON, "count": str(count), **more}
    return who.post("/intercept/start/", form)


def started(who: Client, text: str = JIANGSU, count: int = 1) -> Interception:
    answer = confirm(who, text, count)
    assert answer.status_code == 302, answer.content.decode()[:3000]
    return Interception.objects.latest("pk")


def test_the_box_shows_what_it_understood_and_what_it_would_stop(
    seller: Seller, boss: Client
) -> None:
    take(seller.shop, draft(line(amount="300.00")), draft(line(amount="200.00")))
    take_one(seller.shop, draft(receiver=somebody(province="浙江省", city="杭州市")))
    shown = read(boss, "江苏停发 到明早8点 顺丰除外 抖音除外")
    for words in ("江苏省", "顺丰 除外", "抖音小店 除外", "到 "):
        assert words in shown
    shown = read(boss, JIANGSU)
    assert "<dd>2</dd>" in shown
    assert "¥500.00" in shown
    assert seller.shop.name in shown
    assert "输入订单数 2 以确认" in shown


def test_a_light_reading_counts_nothing(seller: Seller, boss: Client) -> None:
    shown = text_of(boss.get("/intercept/parse/", {"q": JIANGSU, "light": "1"}))
    assert "正在统计" in shown
    assert 'name="plan"' not in shown


def test_the_ambiguous_is_asked_and_the_unknown_says_what_was_read(boss: Client) -> None:
    shown = read(boss, "吉林停发")
    assert "吉林省吉林市" in shown
    assert 'name="plan"' not in shown
    shown = read(boss, "江苏停发到昨天")
    assert "<mark>到昨天</mark>" in shown
    assert "江苏省" in shown


def test_what_is_typed_is_never_markup(boss: Client) -> None:
    shown = read(boss, "<script>alert(1)</script>停发")
    assert "<script>" not in shown
    shown = text_of(boss.get("/intercept/", {"q": '"><img src=x onerror=alert(1)> 停发'}))
    assert "<img" not in shown


def test_the_count_confirms_and_everything_inside_is_held(seller: Seller, boss: Client) -> None:
    inside = take_one(seller.shop, draft())
    row = started(boss)
    assert row.state == "active"
    assert (row.words, row.text, row.reason) == ("江苏省暂停发货", JIANGSU, REASON)
    assert row.preview["count"] == 1
    assert holds(inside) == {f"intercept:i{row.pk}"}
    page = text_of(boss.get(f"/intercept/{row.pk}/"))
    assert inside.number in page
    assert "已挂起" in page
    assert inside.number in text_of(boss.get(f"/intercept/{row.pk}/?place=held"))
    assert inside.number not in text_of(boss.get(f"/intercept/{row.pk}/?place=late"))
    assert inside.number in text_of(boss.get(f"/intercept/{row.pk}/orders.csv"))
    assert "挂起" in text_of(boss.get(f"/intercept/{row.pk}/{inside.number}/"))


def test_the_same_confirmation_twice_is_one_interception(seller: Seller, boss: Client) -> None:
    take_one(seller.shop, draft())
    form = {"plan": plan_of(boss, JIANGSU), "reason": REASON, "count": "1"}
    answers = [boss.post("/intercept/start/", form) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [302, 302]
    assert Interception.objects.count() == 1


@pytest.mark.parametrize(
    "wrong", [{"count": "2"}, {"count": ""}, {"reason": "短"}, {"plan": "nonsense"}, {"plan": ""}]
)
def test_nothing_starts_without_the_count_and_a_reason(
    seller: Seller, boss: Client, wrong: dict[str, str]
) -> None:
    take_one(seller.shop, draft())
    form = {"plan": plan_of(boss, JIANGSU), "reason": REASON, "count": "1", "q": JIANGSU, **wrong}
    page = text_of(boss.post("/intercept/start/", form), 422)
    assert 'role="alert"' in page
    assert "江苏省" in page
    assert not Interception.objects.exists()


def test_a_preview_is_for_its_reader_alone(seller: Seller, boss: Client, ceo: Client) -> None:
    form = {"plan": plan_of(boss, JIANGSU), "reason": REASON, "count": "0"}
    assert ceo.post("/intercept/start/", form).status_code == 422
    assert not Interception.objects.exists()


def test_when_the_count_has_grown_it_is_asked_again(
    seller: Seller, boss: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_one(seller.shop, draft())
    form = {"plan": plan_of(boss, JIANGSU), "reason": REASON, "count": "1", "q": JIANGSU}
    monkeypatch.setattr("ordercenter.console.intercepts.DRIFT", 0)
    take_one(seller.shop, draft())
    page = text_of(boss.post("/intercept/start/", form), 422)
    assert "订单数已从 1 变为 2" in page
    assert "输入订单数 2 以确认" in page


def limit(orders: int) -> None:
    InterceptionPolicy.objects.create(pk=1, most_orders=orders)


def test_above_the_limit_a_second_person_starts_it(
    seller: Seller, boss: Client, as_role: AsRole
) -> None:
    limit(0)
    order = take_one(seller.shop, draft())
    assert "须第二人确认" in read(boss, JIANGSU)
    row = started(boss)
    assert (row.state, holds(order)) == ("asked", set())
    act = f"/intercept/{row.pk}/act/"
    assert "确认，立即生效" not in text_of(boss.get("/intercept/"))
    assert boss.post(act, {"verb": "approve"}).status_code in {403, 409}
    second = as_role(Role.OPERATIONS_SUPERVISOR, username="second")
    assert "确认，立即生效" in text_of(second.get("/intercept/"))
    assert second.post(act, {"verb": "approve"}).status_code == 302
    assert second.post(act, {"verb": "approve"}).status_code == 302
    row.refresh_from_db()
    assert (row.state, holds(order)) == ("active", {f"intercept:i{row.pk}"})


def test_a_proposal_is_refused_with_a_reason(seller: Seller, boss: Client, ceo: Client) -> None:
    limit(0)
    take_one(seller.shop, draft())
    row = started(boss)
    act = f"/intercept/{row.pk}/act/"
    assert ceo.post(act, {"verb": "refuse", "reason": "短"}).status_code == 422
    assert ceo.post(act, {"verb": "refuse", "reason": "天气已经转好"}).status_code == 302
    assert "已驳回" in text_of(ceo.get("/intercept/history/"))


def test_everything_is_stopped_only_by_two_and_by_its_words(seller: Seller, boss: Client) -> None:
    take_one(seller.shop, draft())
    assert "停掉全部订单" in read(boss, "全部停发")
    assert confirm(boss, "全部停发", 1).status_code == 422
    answer = confirm(boss, "全部停发", 1, all_words="全部停发")
    assert answer.status_code == 302
    assert Interception.objects.get().state == "asked"


def test_undo_lifts_its_own_holds_and_no_other(seller: Seller, boss: Client, ceo: Client) -> None:
    order = take_one(seller.shop, draft())
    row = started(boss)
    OrderHoldFactory.create(order=order, kind="person", code="person")
    act = f"/intercept/{row.pk}/act/"
    assert boss.post(act, {"verb": "lift"}).status_code == 302
    row.refresh_from_db()
    assert (row.state, bool(row.end_asked_by)) == ("active", True)
    assert "等总经理确认" in text_of(boss.get("/intercept/"))
    assert ceo.post(act, {"verb": "lift"}).status_code == 302
    assert ceo.post(act, {"verb": "lift"}).status_code == 302
    row.refresh_from_db()
    assert row.state == "lifted"
    assert holds(order) == {"person:person"}


def test_a_lifting_command_finds_what_it_means(seller: Seller, boss: Client) -> None:
    take_one(seller.shop, draft())
    row = started(boss)
    assert f"#{row.pk}" in read(boss, "解除江苏")
    assert f"#{row.pk}" in read(boss, f"解除 #{row.pk}")
    assert "没有只拦这些的指令" in read(boss, "解除苏州")
    assert "没有正在生效的拦截" in read(boss, "解除广东")


def test_packed_parcels_and_promises_are_counted(seller: Seller, boss: Client) -> None:
    order = take_one(seller.shop, draft())
    pick(order, user_with(Role.WAREHOUSE_SUPERVISOR))
    SalesOrder.objects.filter(pk=order.pk).update(promised_at=order.placed_at)
    shown = read(boss, "江苏停发 3小时")
    assert "待打包 <b>1</b>" in shown
    assert re.search(r"到期前应发</dt><dd>1</dd>", shown)


def test_others_read_what_runs_and_command_nothing(
    seller: Seller, boss: Client, as_role: AsRole
) -> None:
    take_one(seller.shop, draft())
    row = started(boss, "江苏停发 3小时")
    for role in (Role.CLERK, Role.PACKER, Role.PICKER, Role.FINANCE):
        who = as_role(role)
        page = text_of(who.get("/intercept/"))
        assert row.words in page
        assert "data-command" not in page
        assert who.post("/intercept/start/", {}).status_code == 403
        assert who.post(f"/intercept/{row.pk}/act/", {"verb": "lift"}).status_code == 403
        home = "/work/scan/" if role is Role.PACKER else "/work/"
        assert row.words in text_of(who.get(home))
    assert row.words in text_of(boss.get("/wall/"))
    row.refresh_from_db()
    assert row.state == "active"


def test_a_clerk_sees_the_orders_of_his_shops_only(
    seller: Seller, boss: Client, as_role: AsRole
) -> None:
    order = take_one(seller.shop, draft())
    row = started(boss)
    clerk = as_role(Role.CLERK)
    assert order.number not in text_of(clerk.get(f"/intercept/{row.pk}/"))
    assert clerk.get(f"/intercept/{row.pk}/{order.number}/").status_code == 404
    assert order.number not in text_of(clerk.get(f"/intercept/{row.pk}/orders.csv"))


def test_a_report_that_is_cut_says_so(
    seller: Seller, boss: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    take(seller.shop, draft(), draft())
    row = started(boss, count=2)
    path = f"/intercept/{row.pk}/orders.csv"
    assert "只列出前" not in text_of(boss.get(path))
    monkeypatch.setattr("ordercenter.console.intercept_one.MOST_ROWS", 1)
    assert text_of(boss.get(path)).strip().endswith("只列出前 1 行")


def test_nothing_running_says_so(boss: Client) -> None:
    page = text_of(boss.get("/intercept/"))
    assert "现在没有拦截，一切照常发货" in page
    assert "还没有结束的拦截" in text_of(boss.get("/intercept/history/"))


def test_nonsense_in_an_address_is_no_error(boss: Client) -> None:
    for path in ("/intercept/?q=%00", "/intercept/history/?page=x", "/intercept/history/?page=-1",
                 "/intercept/parse/?q=" + "江" * 900, "/intercept/parse/"):  # fmt: skip
        text_of(boss.get(path))
    assert boss.get("/intercept/9999999/").status_code == 404
    assert boss.post("/intercept/1/act/", {"verb": "lift"}).status_code == 404


def test_the_ceo_sets_the_limits_and_supervisors_read_them(boss: Client, ceo: Client) -> None:
    new = {
        "most_orders": "50",
        "most_value": "20,000",
        "call_back_hours": "0",
        "reason": "旺季收紧",
    }
    assert "由总经理修改" in text_of(boss.get("/intercept/policy/"))
    assert boss.post("/intercept/policy/", {**new, "reason": "旺季收紧界限"}).status_code == 403
    assert ceo.post("/intercept/policy/", {**new, "reason": "短"}).status_code == 422
    assert ceo.post("/intercept/policy/", {**new, "most_orders": "-1"}).status_code == 422
    assert ceo.post("/intercept/policy/", {**new, "most_value": "NaN"}).status_code == 422
    assert ceo.post("/intercept/policy/", {**new, "reason": "旺季收紧界限"}).status_code == 302
    now = InterceptionPolicy.current()
    assert (now.most_orders, str(now.most_value), now.call_back_hours) == (50, "20000.00", 0)


def test_an_interception_does_not_touch_holds_before_it(seller: Seller, boss: Client) -> None:
    order = take_one(seller.shop, draft())
    OrderHoldFactory.create(order=order)
    assert "已因别的原因挂起" in read(boss, JIANGSU)
    started(boss)
    assert OrderHold.objects.open().filter(order=order).count() == 2
