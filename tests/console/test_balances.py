"""Tying a deposit's order to its balance on the order page: looked at first, done once, undone."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from ordercenter.core.clock import now as clock_now
from ordercenter.core.policy import Role
from ordercenter.orders.models import SalesOrder
from tests.console.conftest import AsRole
from tests.pipeline.seller import Seller, buyer, draft, line, open_seller, take_one

pytestmark = pytest.mark.django_db
WHY = "平台后台显示同一预售活动"


@pytest.fixture
def seller() -> Seller:
    return open_seller(stock=10)


@pytest.fixture
def pair(seller: Seller) -> tuple[SalesOrder, SalesOrder]:
    lately = clock_now() - timedelta(days=1)
    told: dict[str, Any] = {"evidence": buyer("mary")}
    deposit = take_one(seller.shop, draft(line(quantity=2), at=lately, is_deposit=True, **told))
    return deposit, take_one(seller.shop, draft(line(quantity=2), paid=False, **told))


@pytest.fixture
def desk(as_role: AsRole) -> Client:
    return as_role(Role.OPERATIONS_SUPERVISOR)


def address(order: SalesOrder, tail: str = "") -> str:
    return f"/orders/{order.number}/balance/{tail}"


def form(order: SalesOrder, other: SalesOrder, **changes: Any) -> dict[str, Any]:
    version = SalesOrder.objects.get(pk=order.pk).version
    return {"other": other.number, "version": version, "reason": WHY, **changes}


def test_it_is_looked_at_tied_and_shown_on_both_pages(
    desk: Client, pair: tuple[SalesOrder, SalesOrder]
) -> None:
    deposit, balance = pair
    shown = desk.get(address(balance), {"other": deposit.channel_number}).content.decode()
    assert "2 件，由尾款单占用" in shown
    assert "确认关联" in shown
    facts = form(balance, deposit)
    for _press in range(2):
        assert desk.post(address(balance), facts).status_code == 302
    balance.refresh_from_db()
    assert balance.balance_of_id == deposit.pk
    page = desk.get(f"/orders/{balance.number}/").content.decode()
    assert deposit.number in page
    assert "本单占库存，两单都付清后发货" in page
    assert "关联定金与尾款" in page  # on the time line
    page = desk.get(f"/orders/{deposit.number}/").content.decode()
    assert balance.number in page
    assert "货随尾款单发出" in page


def test_what_stands_in_the_way_is_said_before_anything_is_pressed(
    desk: Client, seller: Seller, pair: tuple[SalesOrder, SalesOrder]
) -> None:
    deposit, _balance = pair
    eve = take_one(seller.shop, draft(line("RUG"), paid=False, evidence=buyer("eve")))
    shown = desk.get(address(eve), {"other": deposit.number}).content.decode()
    assert "不是同一位买家" in shown
    assert "货品或件数不同" in shown
    assert "确认关联" not in shown
    refused = desk.post(address(eve), form(eve, deposit))
    assert refused.status_code == 422
    assert "不是同一位买家" in refused.content.decode()


def test_an_older_page_is_refused_and_a_short_reason_too(
    desk: Client, pair: tuple[SalesOrder, SalesOrder]
) -> None:
    deposit, balance = pair
    assert desk.post(address(balance), form(balance, deposit, version=99)).status_code == 409
    assert desk.post(address(balance), form(balance, deposit, reason="ok")).status_code == 422
    balance.refresh_from_db()
    assert balance.balance_of_id is None


def test_it_is_undone_from_either_page(desk: Client, pair: tuple[SalesOrder, SalesOrder]) -> None:
    deposit, balance = pair
    desk.post(address(deposit), form(deposit, balance, role="deposit"))
    assert "撤销关联" in desk.get(f"/orders/{deposit.number}/").content.decode()
    facts = form(deposit, balance)
    assert desk.post(address(deposit, "undo/"), facts).status_code == 302
    balance.refresh_from_db()
    assert balance.balance_of_id is None
    assert desk.post(address(deposit, "undo/"), facts).status_code in {302, 409}


def test_hostile_numbers_are_only_text(desk: Client, pair: tuple[SalesOrder, SalesOrder]) -> None:
    _deposit, balance = pair
    for odd in ("<script>alert(1)</script>", "%00", "\0", "'; DROP TABLE x", "x" * 500):
        answer = desk.get(address(balance), {"other": odd})
        assert answer.status_code in {200, 404}
        assert "<script>alert" not in answer.content.decode()


def test_who_may_not_sees_the_pair_and_no_way_to_change_it(
    as_role: AsRole, desk: Client, pair: tuple[SalesOrder, SalesOrder]
) -> None:
    deposit, balance = pair
    desk.post(address(balance), form(balance, deposit))
    finance = as_role(Role.FINANCE)
    page = finance.get(f"/orders/{balance.number}/").content.decode()
    assert deposit.number in page
    assert "撤销关联" not in page
    assert finance.post(address(balance, "undo/"), form(balance, deposit)).status_code == 403
