"""The wall shows what is held, worst first, and takes each decision once."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from fulfillment.models import Stage, StageTask
from ordercenter.audit.models import Action, AuditRecord
from ordercenter.core.policy import Role
from ordercenter.orders.models import OrderHold
from ordercenter.orders.states import Disposition, HoldKind, OrderStatus
from tests.console.conftest import AsRole, decision, held_order
from tests.factories import (
    OrderHoldFactory,
    OrderLineFactory,
    SalesOrderFactory,
    ShopAssignmentFactory,
    VerdictFactory,
)

pytestmark = pytest.mark.django_db
BUDGET = 15
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'{{7*7}}"


def numbers_on(page: str, *orders: str) -> list[str]:
    """These numbers in the order in which their cards stand on the page."""
    at = {number: page.find(f'id="order-{number}"') for number in orders}
    return sorted((number for number in orders if at[number] >= 0), key=at.__getitem__)


def test_the_worst_order_stands_first_then_the_rushed_then_the_oldest(as_role: AsRole) -> None:
    now = timezone.now()
    late = OrderHoldFactory.create(opened_at=now - timedelta(hours=9))
    young = OrderHoldFactory.create(opened_at=now)
    rushed = OrderHoldFactory.create(order__is_rush=True, opened_at=now)
    frozen = OrderHoldFactory.create(tier="3", opened_at=now)
    page = as_role(Role.WAREHOUSE_SUPERVISOR).get("/wall/").content.decode()
    expected = [hold.order.number for hold in (frozen, rushed, late, young)]
    assert numbers_on(page, *reversed(expected)) == expected


def test_a_card_tells_the_reason_with_the_values_seen_and_the_other_orders(
    as_role: AsRole,
) -> None:
    other = SalesOrderFactory.create()
    hold = OrderHoldFactory.create(evidence={"orders": [other.pk]}, words="5 分钟内 3 单")
    VerdictFactory.create(
        order=hold.order,
        rule_set_version=0,
        findings=[
            {"code": "same_sku_5m", "hit": True, "tier": "2", "seen": ["3 单"], "limit": ["≥ 2"]},
            {"code": "low_price_85", "hit": False, "seen": ["100%"], "limit": ["< 85%"]},
        ],
    )
    page = as_role(Role.REVIEWER).get("/wall/").content.decode()
    assert "5 分钟内 3 单" in page
    assert f'href="/orders/{other.number}/"' in page
    assert "疑似重复" in page
    assert "≥ 2" in page
    assert "低价异常" not in page


def test_what_a_buyer_typed_stays_text_and_his_identity_number_is_hidden(as_role: AsRole) -> None:
    hold = OrderHoldFactory.create(
        order__buyer_remark=f"{HOSTILE} 110101199003078515", words=f"留言含 {HOSTILE}"
    )
    OrderLineFactory.create(order=hold.order, title=HOSTILE)
    client = as_role(Role.WAREHOUSE_SUPERVISOR)
    for path in ("/wall/", f"/orders/{hold.order.number}/"):
        page = client.get(path).content.decode()
        assert "<script>alert" not in page
        assert "<img" not in page
        assert "&lt;script&gt;alert(1)" in page
        assert "110101199003078515" not in page
        assert "110101****15" in page


def test_the_wall_asks_as_little_for_sixty_cards_as_for_one(as_role: AsRole) -> None:
    client = as_role(Role.WAREHOUSE_SUPERVISOR)
    for _ in range(60):
        hold = OrderHoldFactory.create(evidence={"orders": [1]})
        OrderLineFactory.create(order=hold.order)
        VerdictFactory.create(order=hold.order, findings=[{"code": "a", "hit": True}])
    with CaptureQueriesContext(connection) as asked:
        page = client.get("/wall/?pages=2").content.decode()
    assert page.count("data-card") == 60
    assert len(asked) <= BUDGET


def test_five_thousand_open_cards_are_no_burden(as_role: AsRole) -> None:
    pattern = held_order().order
    columns = ", ".join(
        column
        for field in pattern._meta.concrete_fields
        if (column := str(field.column)) not in {"id", "number", "channel_number"}
    )
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO orders_salesorder (number, channel_number, {columns}) "  # noqa: S608
            f"SELECT 'X' || n, n, {columns} FROM orders_salesorder, "
            "generate_series(1, 5000) n WHERE id = %s",
            [pattern.pk],
        )
        cursor.execute(
            "INSERT INTO orders_orderhold (order_id, kind, code, tier, words, evidence, "
            "disposition, placed_by, opened_at, opened_version, asked_by, released_by, "
            "release_reason) SELECT id, 'rule', 'x', (1 + id %% 3)::text, 'x', '{}', 'waiting', "
            "'{}', now(), 1, '', '', '' FROM orders_salesorder WHERE id <> %s",
            [pattern.pk],
        )
        cursor.execute("ANALYZE orders_salesorder, orders_orderhold")
    client = as_role(Role.WAREHOUSE_SUPERVISOR)
    with CaptureQueriesContext(connection) as asked:
        page = client.get("/wall/").content.decode()
    assert "<b>5001</b>" in page
    assert page.count("data-card") == 30
    assert len(asked) <= BUDGET
    assert sum(float(query["time"]) for query in asked) < 1.0


def test_more_cards_come_on_request_and_the_fragment_draws_the_same_part(as_role: AsRole) -> None:
    for _ in range(31):
        OrderHoldFactory.create()
    client = as_role(Role.REVIEWER)
    first = client.get("/wall/").content.decode()
    assert 'href="?place=waiting&amp;pages=2"' in first
    more = client.get("/wall/?pages=2&fragment=1").content.decode()
    assert more.count("data-card") == 31
    assert "<html" not in more


@pytest.mark.parametrize(
    "query",
    ["?tier=9", "?kind=%00", "?shop=-1", "?shop=99999999999999999999", "?pages=-3", "?pages=x",
     "?pages=9999", "?place=nowhere", "?tier__startswith=1"],
)  # fmt: skip
def test_a_nonsense_filter_shows_the_queue_as_it_is(as_role: AsRole, query: str) -> None:
    hold = OrderHoldFactory.create()
    answer = as_role(Role.REVIEWER).get(f"/wall/{query}")
    assert answer.status_code == 200
    assert hold.order.number in answer.content.decode()


def test_an_empty_wall_says_so(as_role: AsRole) -> None:
    assert "没有待处理的订单" in as_role(Role.REVIEWER).get("/wall/").content.decode()


def test_a_clerk_sees_the_orders_of_his_shops_only(as_role: AsRole) -> None:
    mine, theirs = OrderHoldFactory.create(), OrderHoldFactory.create()
    client = as_role(Role.CLERK, username="clerk")
    ShopAssignmentFactory.create(user=User.objects.get(username="clerk"), shop=mine.order.shop)
    page = client.get("/wall/").content.decode()
    assert mine.order.number in page
    assert theirs.order.number not in page
    assert client.get(f"/orders/{mine.order.number}/").status_code == 200
    assert client.get(f"/orders/{theirs.order.number}/").status_code == 404
    answer = client.post(f"/orders/{theirs.order.number}/decide/", decision(theirs, "freeze"))
    assert answer.status_code == 404


def test_a_release_lets_the_order_go_on_and_is_on_record(as_role: AsRole) -> None:
    hold = held_order()
    client = as_role(Role.WAREHOUSE_SUPERVISOR, username="boss")
    answer = client.post(f"/orders/{hold.order.number}/decide/", decision(hold, "release"))
    assert answer.status_code == 302
    assert answer["Location"] == "/wall/"
    hold.refresh_from_db()
    assert hold.released_at is not None
    hold.order.refresh_from_db()
    assert hold.order.status == OrderStatus.ROUTED
    record = AuditRecord.objects.get(object_id=hold.order_id, action=Action.HOLD_RELEASED)
    assert record.actor_name == "boss"
    assert record.reason == "已电话核实，客户确认下单"


@pytest.mark.parametrize("reason", ["", "    ", "好", "    好    ", "长" * 501, "好" * 10_000])
def test_a_reason_that_says_too_little_or_too_much_changes_nothing(
    as_role: AsRole, reason: str
) -> None:
    hold = held_order()
    answer = as_role(Role.REVIEWER).post(
        f"/orders/{hold.order.number}/decide/", decision(hold, "release", reason=reason)
    )
    assert answer.status_code == 422
    assert "5 到 500 个字" in answer.content.decode()
    hold.refresh_from_db()
    assert hold.released_at is None
    assert not AuditRecord.objects.filter(object_id=hold.order_id).exists()


def test_pressing_twice_is_one_release_and_no_error(as_role: AsRole) -> None:
    hold = held_order()
    client = as_role(Role.REVIEWER)
    path, post = f"/orders/{hold.order.number}/decide/", decision(hold, "release")
    assert [client.post(path, post).status_code for _ in range(2)] == [302, 302]
    records = AuditRecord.objects.filter(object_id=hold.order_id, action=Action.HOLD_RELEASED)
    assert records.count() == 1


def test_who_comes_second_learns_who_was_first_and_with_what(as_role: AsRole) -> None:
    hold = held_order()
    path = f"/orders/{hold.order.number}/decide/"
    first = as_role(Role.REVIEWER, username="first")
    second = as_role(Role.REVIEWER, username="second")
    post = decision(hold, "release", reason="查过了，没有问题")
    assert first.post(path, post).status_code == 302
    answer = second.post(path, decision(hold, "cancel", reason="买家说不要了"))
    assert answer.status_code == 409
    page = answer.content.decode()
    assert "<b>first</b>" in page
    assert "解除挂起" in page
    assert "买家说不要了" in page
    hold.order.refresh_from_db()
    assert hold.order.status != OrderStatus.CANCELED


@pytest.mark.parametrize(
    ("verb", "disposition", "stage"),
    [
        ("return", Disposition.RETURNED, Stage.FIRST_REVIEW),
        ("after_sales", Disposition.AFTER_SALES, Stage.AFTER_SALES),
    ],
)
def test_an_order_handed_over_leaves_the_queue_and_becomes_a_task(
    as_role: AsRole, verb: str, disposition: Disposition, stage: Stage
) -> None:
    hold = held_order()
    client = as_role(Role.WAREHOUSE_SUPERVISOR)
    client.post(f"/orders/{hold.order.number}/decide/", decision(hold, verb))
    hold.refresh_from_db()
    assert hold.disposition == disposition
    assert StageTask.objects.filter(order=hold.order, stage=stage, state="open").exists()
    assert hold.order.number not in client.get("/wall/?fragment=1").content.decode()
    elsewhere = client.get(f"/wall/?place={disposition.value}&fragment=1").content.decode()
    assert hold.order.number in elsewhere


def test_a_canceled_order_leaves_the_wall(as_role: AsRole) -> None:
    hold = held_order()
    client = as_role(Role.REVIEWER)
    client.post(f"/orders/{hold.order.number}/decide/", decision(hold, "cancel"))
    hold.order.refresh_from_db()
    assert hold.order.status == OrderStatus.CANCELED
    assert not OrderHold.objects.open().filter(order=hold.order).exists()


def test_a_payment_hold_waits_for_finance(as_role: AsRole) -> None:
    hold = held_order(kind=HoldKind.PAYMENT)
    path, post = f"/orders/{hold.order.number}/decide/", decision(hold, "release")
    assert as_role(Role.WAREHOUSE_SUPERVISOR).post(path, post).status_code == 403
    hold.refresh_from_db()
    assert hold.released_at is None
    assert as_role(Role.FINANCE).post(path, post).status_code == 302
    hold.refresh_from_db()
    assert hold.released_at is not None


def test_a_frozen_order_offers_to_ask_and_cannot_be_released_here(as_role: AsRole) -> None:
    hold = held_order(tier="3")
    client = as_role(Role.WAREHOUSE_SUPERVISOR)
    page = client.get("/wall/").content.decode()
    assert 'value="ask"' in page
    assert 'value="release"' not in page
    path = f"/orders/{hold.order.number}/decide/"
    assert client.post(path, decision(hold, "release")).status_code == 403
    hold.refresh_from_db()
    assert hold.released_at is None


def test_a_decision_needs_its_token(as_role: AsRole) -> None:
    hold = held_order()
    client = as_role(Role.REVIEWER)
    guarded = Client(enforce_csrf_checks=True)
    guarded.cookies = client.cookies
    path = f"/orders/{hold.order.number}/decide/"
    assert guarded.post(path, decision(hold, "release")).status_code == 403
    assert client.get(path).status_code == 405
    hold.refresh_from_db()
    assert hold.released_at is None


@pytest.mark.parametrize("back", ["//evil.example/", "https://evil.example", "javascript:alert(1)"])
def test_a_decision_never_leads_off_the_site(as_role: AsRole, back: str) -> None:
    hold = held_order()
    answer = as_role(Role.REVIEWER).post(
        f"/orders/{hold.order.number}/decide/", decision(hold, "release", back=back)
    )
    assert answer["Location"] == f"/orders/{hold.order.number}/"


@pytest.mark.parametrize("version", ["", "x", "-1", "1" * 40, "\uff19"])
def test_a_mangled_post_is_refused_in_words(as_role: AsRole, version: str) -> None:
    hold = held_order()
    answer = as_role(Role.REVIEWER).post(
        f"/orders/{hold.order.number}/decide/", decision(hold, "release", version=version)
    )
    assert answer.status_code == 422
    hold.refresh_from_db()
    assert hold.released_at is None


def test_a_freeze_puts_a_free_order_on_the_wall(as_role: AsRole) -> None:
    hold = held_order()
    order = hold.order
    client = as_role(Role.CLERK, username="clerk")
    ShopAssignmentFactory.create(user=User.objects.get(username="clerk"), shop=order.shop)
    post = decision(hold, "freeze", reason="买家来电要求改款")
    assert client.post(f"/orders/{order.number}/decide/", post).status_code == 302
    placed = OrderHold.objects.open().get(order=order, kind=HoldKind.PERSON)
    assert "买家来电要求改款" in placed.words


def test_a_receiver_is_put_right_without_being_shown(as_role: AsRole) -> None:
    hold = held_order(kind=HoldKind.INCOMPLETE, name="王小明", address="")
    order = hold.order
    OrderHold.objects.filter(pk=hold.pk).update(code="receiver")
    client = as_role(Role.REVIEWER)
    page = client.get(f"/orders/{order.number}/").content.decode()
    assert 'name="address"' in page
    assert "王小明" not in page
    post = {"version": order.version, "address": "星湖街328号5幢", "back": "/wall/"}
    assert client.post(f"/orders/{order.number}/receiver/", post).status_code == 302
    order.refresh_from_db()
    told = order.receiver()
    assert told["address"] == "星湖街328号5幢"
    assert told["name"] == "王小明"
    record = AuditRecord.objects.get(object_id=order.pk, action=Action.RECEIVER_EDITED)
    assert "星湖街" not in str(record.change) + record.reason


def test_an_empty_receiver_form_is_refused_beside_the_form(as_role: AsRole) -> None:
    hold = held_order(kind=HoldKind.INCOMPLETE)
    answer = as_role(Role.REVIEWER).post(
        f"/orders/{hold.order.number}/receiver/", {"version": hold.order.version, "name": "  "}
    )
    assert answer.status_code == 422
    assert "请至少填写一项" in answer.content.decode()


def test_the_page_of_an_order_tells_its_story_to_who_may_read_the_audit(as_role: AsRole) -> None:
    hold = held_order()
    path = f"/orders/{hold.order.number}/"
    as_role(Role.REVIEWER).post(f"{path}decide/", decision(hold, "release"))
    assert "全程记录" in as_role(Role.WAREHOUSE_SUPERVISOR).get(path).content.decode()
    assert "全程记录" not in as_role(Role.REVIEWER).get(path).content.decode()


def test_an_unmapped_line_leads_to_where_it_is_mapped(as_role: AsRole) -> None:
    hold = held_order(kind=HoldKind.UNMAPPED)
    link = f'href="/listings/?shop={hold.order.shop_id}"'
    client = as_role(Role.WAREHOUSE_SUPERVISOR)
    assert link in client.get("/wall/").content.decode()
    assert link not in as_role(Role.REVIEWER).get("/wall/").content.decode()
    assert client.get(f"/listings/?shop={hold.order.shop_id}").status_code == 200
