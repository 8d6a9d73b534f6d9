"""The traps of an admin-driven console, each walked into (``reliability.md`` 3 and 8 BA)."""

from typing import Any

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.db.models import QuerySet
from django.http import HttpRequest
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from ordercenter.audit.models import Action, AuditRecord
from ordercenter.console.admin_base import ReviewAdmin
from ordercenter.core.policy import Role
from ordercenter.orders.models import OrderHold, SalesOrder
from tests.console.conftest import AsRole, held_order
from tests.factories import (
    InboxMessageFactory,
    OrderHoldFactory,
    OrderLineFactory,
    SalesOrderFactory,
    ShopAssignmentFactory,
    SkuFactory,
    UserFactory,
    VerdictFactory,
    user_with,
)

pytestmark = pytest.mark.django_db
ORDERS = "/admin/orders/salesorder/"
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>"
BUDGET = 15


def technical_administrator() -> Client:
    """is_superuser: passes every has_perm, and stands outside the business."""
    client = Client()
    client.force_login(UserFactory.create(username="root", is_superuser=True))
    return client


def ticked(*orders: SalesOrder, action: str = "release_holds", **more: Any) -> dict[str, Any]:
    return {"action": action, "index": 0, "_selected_action": [o.pk for o in orders], **more}


def confirmed(*orders: SalesOrder, **more: Any) -> dict[str, Any]:
    """What the second page posts."""
    return ticked(
        *orders,
        confirmed=1,
        seen=[f"{order.pk}:{order.version}" for order in orders],
        reason="已逐单核实，可以放行",
        count=len(orders),
        **more,
    )


# Trap 1: the query string as an oracle


@pytest.mark.parametrize(
    "query",
    [
        "receiver_masked__startswith=王", "receiver_phone__startswith=138",
        "receiver_sealed__contains=1", "buyer_remark__contains=1", "payable_amount__gt=1",
        "evidence__phone_key__startswith=a", "evidence__ip=1.2.3.4", "shop__name__startswith=a",
        "holds__words__contains=a", "shop__credential__sealed__contains=1", "status__contains=r",
        "shop__credential__app_key__startswith=a", "lines__title=a", "id__gt=1",
    ],
)  # fmt: skip
def test_no_column_but_the_filters_offered_can_be_asked_for(as_role: AsRole, query: str) -> None:
    OrderHoldFactory.create()
    assert as_role(Role.WAREHOUSE_SUPERVISOR).get(f"{ORDERS}?{query}").status_code == 400


def test_every_list_refuses_every_column_it_does_not_offer(rf: RequestFactory) -> None:
    """Also those of admin classes that come later."""
    request = rf.get("/")
    request.user = user_with(*Role)
    for model, model_admin in admin.site._registry.items():
        offered = {str(name) for name in model_admin.list_filter}
        for field in model._meta.get_fields():
            for lookup in ("startswith", "regex", "gt", "in", "contains"):
                asked = f"{field.name}__{lookup}"
                assert not model_admin.lookup_allowed(asked, "1", request), (model, asked)
            if field.name not in offered:
                for asked in (field.name, f"{field.name}__exact", f"{field.name}__pk"):
                    assert not model_admin.lookup_allowed(asked, "1", request), (model, asked)


def test_the_offered_filters_work(as_role: AsRole) -> None:
    hold = OrderHoldFactory.create()
    client = as_role(Role.WAREHOUSE_SUPERVISOR)
    shop = hold.order.shop_id
    for query in (f"shop__id__exact={shop}", "status__exact=received", "is_rush__exact=0"):
        answer = client.get(f"{ORDERS}?{query}")
        assert answer.status_code == 200
        assert hold.order.number in answer.content.decode()


# Trap 2: an action without a right


def test_an_admin_class_with_a_rightless_action_cannot_be_written() -> None:
    def let_go(self: Any, request: HttpRequest, queryset: QuerySet[SalesOrder]) -> None:
        raise AssertionError

    with pytest.raises(TypeError, match="without a right"):
        type("Careless", (ReviewAdmin,), {"actions": ("let_go",), "let_go": let_go})


@pytest.mark.parametrize("role", [Role.CLERK, Role.FINANCE])
def test_who_only_looks_cannot_post_an_action(as_role: AsRole, role: Role) -> None:
    hold = held_order()
    client = as_role(role, username="looker")
    ShopAssignmentFactory.create(user=User.objects.get(username="looker"), shop=hold.order.shop)
    several: tuple[dict[str, Any], ...] = ({}, {"select_across": 1})
    for more in several:
        for post in (ticked(hold.order, **more), confirmed(hold.order, **more)):
            assert client.post(ORDERS, post).status_code == 403
    for name in ("delete_selected", "no_such_action"):
        assert client.post(ORDERS, ticked(hold.order, action=name)).status_code == 403
    hold.refresh_from_db()
    assert hold.released_at is None


def test_an_action_reaches_only_rows_in_scope(as_role: AsRole) -> None:
    mine, theirs = held_order(), held_order()
    client = as_role(Role.CLERK, username="clerk")
    ShopAssignmentFactory.create(user=User.objects.get(username="clerk"), shop=mine.order.shop)
    client.post(ORDERS, confirmed(mine.order, theirs.order, action="freeze"))
    assert OrderHold.objects.filter(order=mine.order, kind="person").exists()
    assert not OrderHold.objects.filter(order=theirs.order, kind="person").exists()


def test_an_action_asks_how_many_and_why_before_it_acts(as_role: AsRole) -> None:
    first, second = held_order(), held_order()
    client = as_role(Role.REVIEWER)
    page = client.post(ORDERS, ticked(first.order, second.order))
    assert page.status_code == 200
    assert f'value="{first.order.pk}:1"' in page.content.decode()
    for wrong in ({"count": 3}, {"count": ""}, {"reason": "好"}, {"reason": "  \n "}):
        post = confirmed(first.order, second.order) | wrong
        assert client.post(ORDERS, post).status_code == 422
    first.refresh_from_db()
    assert first.released_at is None
    assert client.post(ORDERS, confirmed(first.order, second.order)).status_code == 302
    for hold in (first, second):
        hold.refresh_from_db()
        assert hold.released_at is not None


def test_frozen_orders_in_a_bulk_release_are_refused_one_by_one(as_role: AsRole) -> None:
    plain, frozen = held_order(), held_order(tier="3")
    answer = as_role(Role.REVIEWER).post(ORDERS, confirmed(plain.order, frozen.order), follow=True)
    page = answer.content.decode()
    assert f"{frozen.order.number}：三级冻结" in page
    assert "已处理 1 行" in page
    plain.refresh_from_db()
    frozen.refresh_from_db()
    assert plain.released_at is not None
    assert frozen.released_at is None


def test_a_row_that_changed_since_the_second_page_is_refused(as_role: AsRole) -> None:
    hold = held_order()
    post = confirmed(hold.order)
    SalesOrder.objects.filter(pk=hold.order_id).update(version=7)
    answer = as_role(Role.REVIEWER).post(ORDERS, post, follow=True)
    assert "已被他人更新" in answer.content.decode()
    hold.refresh_from_db()
    assert hold.released_at is None


def test_more_rows_than_anybody_has_looked_at_are_refused_as_a_whole(as_role: AsRole) -> None:
    pattern = held_order()
    shop = pattern.order.shop
    for _ in range(200):
        SalesOrderFactory.create(shop=shop)
    client = as_role(Role.REVIEWER)
    answer = client.post(ORDERS, ticked(pattern.order, select_across=1), follow=True)
    assert answer.status_code == 200
    assert "一次可处理 1 到 200 行" in answer.content.decode()
    many = ticked(action="release_holds") | {"_selected_action": list(range(1, 5001))}
    answer = client.post(ORDERS, many, follow=True)
    assert answer.status_code == 200
    pattern.refresh_from_db()
    assert pattern.released_at is None


# Trap 3: a stale form


@pytest.mark.parametrize("role", list(Role))
def test_no_form_changes_adds_or_deletes_an_order(as_role: AsRole, role: Role) -> None:
    order = held_order().order
    client = as_role(role)
    whole = {"number": "X", "status": "shipped", "version": 99, "_save": "1"}
    for path in (f"{ORDERS}{order.pk}/change/", f"{ORDERS}add/", f"{ORDERS}{order.pk}/delete/"):
        assert client.post(path, whole).status_code in {403, 404}
    order.refresh_from_db()
    assert (order.status, order.version) == ("received", 1)


def test_not_even_a_technical_administrator_gets_at_orders() -> None:
    hold = held_order()
    root = technical_administrator()
    for path in (ORDERS, f"{ORDERS}{hold.order.pk}/change/", f"{ORDERS}{hold.order.pk}/delete/"):
        assert root.get(path).status_code == 403
    assert root.post(ORDERS, confirmed(hold.order)).status_code == 403
    assert root.get("/wall/").status_code == 403
    assert root.get(f"/orders/{hold.order.number}/").status_code == 403
    assert root.get("/admin/").status_code == 200
    hold.refresh_from_db()
    assert hold.released_at is None


def test_a_permission_row_opens_nothing() -> None:
    user = user_with(username="permitted")
    user.user_permissions.set(Permission.objects.all())
    client = Client()
    client.force_login(user)
    for model in admin.site._registry:
        path = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
        assert client.get(path).status_code == 403, path


# Traps 4 and 5: the pages of the libraries


@pytest.mark.parametrize("app_label", ["django_q", "axes"])
def test_the_pages_of_the_libraries_are_not_there(app_label: str) -> None:
    client = Client()
    client.force_login(user_with(*Role, username="all", is_superuser=True))
    for model in apps.get_app_config(app_label).get_models():
        assert model not in admin.site._registry
        path = f"/admin/{app_label}/{model._meta.model_name}/"
        for tail in ("", "add/", "1/change/"):
            assert client.get(path + tail).status_code == 404


def test_groups_are_made_by_code_and_have_no_page(as_role: AsRole) -> None:
    assert as_role(Role.CEO).get("/admin/auth/group/").status_code == 404


# BA10 and the like: nothing typed into the address is a 500


@pytest.mark.parametrize(
    "query",
    [
        "o=99.99", "o=-99", "o=abc", "o=1.-2.x", "o=", "p=-1", "p=0", "p=999999", "p=abc", "p=",
        "p=99999999999999999999999", "all=", "all=1", "q=%00", "q=" + "x" * 3000, "q=\"'((", "e=1",
        "status__exact=%00", "%00=1", "placed_at__gte=never", "placed_at__gte=0001-01-01",
        "shop__id__exact=abc", "shop__id__exact=99999999999999999999", "_facets=True", "_popup=1",
    ],
)  # fmt: skip
def test_no_address_breaks_a_list(as_role: AsRole, query: str) -> None:
    OrderHoldFactory.create()
    client = as_role(Role.WAREHOUSE_SUPERVISOR)
    for path in (ORDERS, "/admin/orders/orderhold/", "/admin/audit/auditrecord/"):
        assert client.get(f"{path}?{query}", follow=True).status_code in {200, 400}, path


@pytest.mark.parametrize("path", ["", "/admin/auth/user/", ORDERS])
def test_a_popup_cannot_ask_by_another_column(as_role: AsRole, path: str) -> None:
    answer = as_role(Role.CEO).get(f"{path or ORDERS}?_popup=1&_to_field=password")
    assert answer.status_code == 400


def test_what_is_out_of_scope_is_not_found_on_any_page(as_role: AsRole) -> None:
    mine, theirs = OrderHoldFactory.create(), OrderHoldFactory.create()
    verdict = VerdictFactory.create(order=theirs.order)
    client = as_role(Role.CLERK, username="clerk")
    ShopAssignmentFactory.create(user=User.objects.get(username="clerk"), shop=mine.order.shop)
    assert client.get(f"{ORDERS}{mine.order_id}/change/").status_code == 200
    for path in (
        f"{ORDERS}{theirs.order_id}/change/",
        f"{ORDERS}{theirs.order_id}/history/",
        f"{ORDERS}{mine.order_id}/history/",
        f"/admin/orders/orderhold/{theirs.pk}/change/",
        f"/admin/risk/verdict/{verdict.pk}/change/",
        f"{ORDERS}999999999/change/",
        f"{ORDERS}abc/change/",
    ):
        assert client.get(path).status_code == 404, path
    for path in ("/admin/orders/orderhold/", "/admin/risk/verdict/", ORDERS):
        assert theirs.order.number not in client.get(path).content.decode()


def test_an_autocomplete_needs_the_right_to_see_what_it_completes(as_role: AsRole) -> None:
    SkuFactory.create(code="SKU-SECRET")
    query = "?app_label=catalog&model_name=listing&field_name=sku&term=SKU"
    assert as_role(Role.CLERK).get(f"/admin/autocomplete/{query}").status_code == 403
    answer = as_role(Role.WAREHOUSE_SUPERVISOR).get(f"/admin/autocomplete/{query}")
    assert "SKU-SECRET" in answer.content.decode()


def test_a_form_without_its_token_is_refused(as_role: AsRole) -> None:
    hold = held_order()
    guarded = Client(enforce_csrf_checks=True)
    guarded.cookies = as_role(Role.REVIEWER).cookies
    assert guarded.post(ORDERS, confirmed(hold.order)).status_code == 403


def test_the_log_in_page_stays_on_the_site() -> None:
    user_with(Role.REVIEWER, username="reviewer")
    answer = Client().post(
        "/admin/login/?next=//evil.example",
        {"username": "reviewer", "password": "four-words-make-a-password",
         "next": "//evil.example"},
    )  # fmt: skip
    assert answer.status_code == 302
    assert "evil" not in answer["Location"]


def test_guessing_a_password_ends_and_shuts_out_nobody_else() -> None:
    user_with(Role.REVIEWER, username="reviewer")
    user_with(Role.CEO, username="ceo")
    client = Client()
    tries = [
        client.post("/admin/login/", {"username": "reviewer", "password": f"guess-{n}"})
        for n in range(6)
    ]
    assert tries[0].status_code == 200
    assert tries[-1].status_code == 429
    right = {"username": "ceo", "password": "four-words-make-a-password"}
    assert client.post("/admin/login/", right).status_code == 302


# What a buyer typed, and what nobody may read


def test_what_a_buyer_typed_is_text_in_every_list_and_page(as_role: AsRole) -> None:
    hold = OrderHoldFactory.create(
        order__buyer_remark=HOSTILE, words=HOSTILE, evidence={"said": HOSTILE}
    )
    OrderLineFactory.create(order=hold.order, title=HOSTILE)
    verdict = VerdictFactory.create(
        order=hold.order, tags=[HOSTILE], findings=[{"code": HOSTILE, "seen": [HOSTILE]}]
    )
    client = as_role(Role.WAREHOUSE_SUPERVISOR)
    for path in (
        ORDERS,
        f"{ORDERS}{hold.order_id}/change/",
        "/admin/orders/orderhold/",
        f"/admin/orders/orderhold/{hold.pk}/change/",
        "/admin/risk/verdict/",
        f"/admin/risk/verdict/{verdict.pk}/change/",
    ):
        page = client.get(path)
        assert page.status_code == 200, path
        text = page.content.decode()
        assert "alert(1)" in text, path
        assert "<script>alert" not in text, path
        assert "<img src=x" not in text, path


def test_a_refusal_that_quotes_a_buyer_is_text(as_role: AsRole) -> None:
    hold = held_order(number="X<b>")
    SalesOrder.objects.filter(pk=hold.order_id).update(version=7)
    post = confirmed(hold.order)
    answer = as_role(Role.REVIEWER).post(ORDERS, post, follow=True)
    assert "X&lt;b&gt;" in answer.content.decode()
    assert "X<b>" not in answer.content.decode()


def test_receivers_are_masked_on_every_page(as_role: AsRole) -> None:
    hold = held_order(name="欧阳娜娜", phone="13812345678", address="星湖街328号")
    client = as_role(*Role)
    for path in (
        ORDERS, f"{ORDERS}{hold.order_id}/change/", "/wall/", f"/orders/{hold.order.number}/",
        "/admin/orders/orderhold/",
    ):  # fmt: skip
        page = client.get(path).content.decode()
        for secret in ("欧阳娜娜", "13812345678", "星湖街328号"):
            assert secret not in page, path


def test_raw_bytes_are_for_who_may_replay_them_and_without_people(as_role: AsRole) -> None:
    dead = InboxMessageFactory.create(
        state="dead", body=b'{"phone": "13812345678", "x": "<script>"}', error="not JSON"
    )
    done = InboxMessageFactory.create(state="done", body=b"only-for-machines")
    path = "/admin/channels_sync/inboxmessage/{}/change/"
    page = as_role(Role.WAREHOUSE_SUPERVISOR).get(path.format(dead.pk)).content.decode()
    assert "&quot;phone&quot;: &quot;***&quot;" in page
    assert "13812345678" not in page
    assert "&lt;script&gt;" in page
    page = as_role(Role.IT).get(path.format(dead.pk)).content.decode()
    assert "&quot;phone&quot;" not in page
    for role in (Role.WAREHOUSE_SUPERVISOR, Role.IT):
        assert "only-for-machines" not in as_role(role).get(path.format(done.pk)).content.decode()


def test_a_quarantined_message_is_replayed_with_a_reason(as_role: AsRole) -> None:
    dead = InboxMessageFactory.create(state="dead")
    path = "/admin/channels_sync/inboxmessage/"
    post = {
        "action": "replay", "index": 0, "_selected_action": [dead.pk], "confirmed": 1,
        "reason": "平台已修复数据", "seen": f"{dead.pk}:0",
    }  # fmt: skip
    assert as_role(Role.IT).post(path, post).status_code == 403
    assert as_role(Role.WAREHOUSE_SUPERVISOR).post(path, post).status_code == 302
    dead.refresh_from_db()
    assert dead.state == "new"
    assert AuditRecord.objects.get(action=Action.MESSAGE_REPLAYED).reason == "平台已修复数据"


def test_lists_ask_as_little_for_forty_rows_as_for_one(as_role: AsRole) -> None:
    for _ in range(40):
        hold = OrderHoldFactory.create()
        VerdictFactory.create(order=hold.order)
    client = as_role(Role.WAREHOUSE_SUPERVISOR)
    for path in (ORDERS, "/admin/orders/orderhold/", "/admin/risk/verdict/"):
        with CaptureQueriesContext(connection) as asked:
            assert client.get(path).status_code == 200
        assert len(asked) <= BUDGET, path


def test_an_order_is_found_by_either_number_through_an_index(as_role: AsRole) -> None:
    order = SalesOrderFactory.create(number="TB2511FOUND", channel_number="987654321012345678")
    SalesOrderFactory.create()
    client = as_role(Role.REVIEWER)
    for term in ("tb2511found", "TB2511FO", "987654321012345678"):
        page = client.get(ORDERS, {"q": term}).content.decode()
        assert order.number in page
        assert page.count("/orders/TB") == 1
