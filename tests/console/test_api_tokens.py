"""Tokens of other systems are made by the CEO, shown once, and on record without their key."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from channels_sync.models import ApiToken
from inventory.models import Warehouse
from ordercenter.audit.models import Action, AuditRecord
from ordercenter.core.clock import SHANGHAI
from ordercenter.core.policy import Role, Scope
from tests.console.conftest import AsRole
from tests.factories import ShopFactory, WarehouseFactory, user_with

pytestmark = pytest.mark.django_db
ADD = "/admin/channels_sync/apitoken/add/"


@pytest.fixture
def ceo(as_role: AsRole) -> Client:
    return as_role(Role.CEO, username="boss")


def typed(**changes: Any) -> dict[str, Any]:
    ends = (timezone.now() + timedelta(days=90)).astimezone(SHANGHAI)
    facts = {
        "user": user_with(Role.FINANCE).pk, "name": "ERP 取单", "scopes": [Scope.ORDERS_READ.value],
        "all_shops": "on", "expires_at_0": f"{ends:%Y-%m-%d}", "expires_at_1": "00:00:00",
        "is_active": "on",
    }  # fmt: skip
    return {**facts, **changes}


def key_on(answer: Any) -> str:
    found = re.search(r'id="made-key"[^>]*value="([0-9a-f]{40})"', answer.content.decode())
    assert found, answer.content.decode()[:2000]
    return found[1]


def test_the_key_is_shown_once_and_opens_what_was_ticked(ceo: Client) -> None:
    made = ceo.post(ADD, typed())
    key = key_on(made)
    assert "no-store" in made.headers["Cache-Control"]
    api = Client(headers={"Authorization": f"Token {key}"})
    assert api.get("/api/orders/").status_code == 200
    assert api.get("/api/rule-sets/").status_code == 403
    token = ApiToken.objects.get()
    assert (token.created_by, token.hint) == ("boss", key[:6])
    for page in ("", f"{token.pk}/change/"):
        shown = ceo.get(f"/admin/channels_sync/apitoken/{page}")
        assert shown.status_code == 200
        assert key not in shown.content.decode()
        assert token.digest not in shown.content.decode()
    kept = AuditRecord.objects.get(action=Action.ACCESS_CHANGED, object_type="apitoken")
    assert kept.change["scopes"] == [None, ["orders:read"]]
    assert key not in str(kept.change)
    assert token.digest not in str(kept.change)


def test_a_second_click_makes_no_second_token(ceo: Client) -> None:
    facts = typed()
    assert key_on(ceo.post(ADD, facts))
    again = ceo.post(ADD, facts)
    assert "这个账号已有同名的令牌" in again.content.decode()
    assert ApiToken.objects.count() == 1


def wrong(ceo: Client, words: str, **changes: Any) -> None:
    answer = ceo.post(ADD, typed(**changes))
    assert answer.status_code == 200
    assert words in answer.content.decode()
    assert not ApiToken.objects.exists()


def test_what_its_account_may_not_is_not_given(ceo: Client) -> None:
    wrong(
        ceo, "账号自己没有这些权限：写风控规则草稿并申请启用", scopes=["orders:read", "rules:write"]
    )


def test_a_token_needs_shops_an_end_and_a_scope(ceo: Client) -> None:
    wrong(ceo, "请选择店铺", all_shops="")
    wrong(ceo, "到期时间应在 400 天以内", expires_at_0="2099-01-01")
    wrong(ceo, "到期时间应在 400 天以内", expires_at_0="2020-01-01")
    wrong(ceo, "必填", scopes=[])
    supervisor = user_with(Role.OPERATIONS_SUPERVISOR)
    wrong(ceo, "规则与拦截不分店铺", user=supervisor.pk, scopes=["rules:read"], all_shops="",
          shops=[ShopFactory.create().pk])  # fmt: skip


def test_a_token_of_a_warehouse_names_a_warehouse_of_others(ceo: Client) -> None:
    partner = user_with(Role.PARTNER)
    own = WarehouseFactory.create()
    cloud = WarehouseFactory.create(kind=Warehouse.Kind.THIRD_PARTY)
    facts = {"user": partner.pk, "scopes": ["stock:figures"], "all_shops": ""}
    wrong(ceo, "报送件数的令牌要选仓库", **facts)
    wrong(ceo, "选择一个有效的选项", **facts, warehouses=[own.pk])
    assert key_on(ceo.post(ADD, typed(**facts, warehouses=[cloud.pk])))
    assert list(ApiToken.objects.get().warehouses.all()) == [cloud]


def test_a_token_is_switched_off_and_that_is_on_record(ceo: Client) -> None:
    key = key_on(ceo.post(ADD, typed()))
    token = ApiToken.objects.get()
    facts = typed()
    del facts["is_active"], facts["user"]
    assert ceo.post(f"/admin/channels_sync/apitoken/{token.pk}/change/", facts).status_code == 302
    api = Client(headers={"Authorization": f"Token {key}"})
    assert api.get("/api/orders/").status_code == 401
    kept = AuditRecord.objects.filter(object_type="apitoken").order_by("pk").last()
    assert kept is not None
    assert kept.change["is_active"] == [True, False]
