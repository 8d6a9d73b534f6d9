"""What a token opens: its scopes, its shops, until its end, and nothing it was not given."""

from datetime import timedelta
from importlib import import_module
from typing import Any, Final

import pytest
from django.apps import apps
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.urls import URLPattern, get_resolver
from django.utils import timezone

from channels_sync.models import ApiToken
from ordercenter.audit.models import Action, AuditRecord
from ordercenter.core.policy import PASSED_ON, Can, Role, Scope, allows
from ordercenter.notices.models import Notice
from ordercenter.orders.models import Interception
from tests.api.recording import writes_to_stock
from tests.api.test_orders import numbers, refused
from tests.factories import (
    RobotFactory,
    RuleSetFactory,
    SalesOrderFactory,
    ShopFactory,
    key_for,
    user_with,
)

pytestmark = pytest.mark.django_db
EVERY: Final = tuple(Scope)
METHODS: Final = ("get", "post", "put", "patch", "delete")


def with_key(key: str) -> Client:
    return Client(headers={"Authorization": f"Token {key}"})


def everybody() -> User:
    """An account that may all there is to be passed on."""
    user = user_with(Role.OPERATIONS_SUPERVISOR, Role.CEO, Role.IT, Role.PARTNER, Role.FINANCE)
    assert all(allows(user, right) for right in PASSED_ON.values())
    return user


def doors() -> dict[str, str]:
    """An address behind every route of the API, with rows that are there."""
    order, shop = SalesOrderFactory.create(), ShopFactory.create(code="own-shop")
    stop = Interception.objects.create(
        text="江苏停发", condition={}, words="", reason="", state="asked", asked_by="person:0",
        asked_at=timezone.now(),
    )  # fmt: skip
    values = {
        "<slug:number>": order.number, "<slug:code>": shop.code, "<int:pk>": str(stop.pk),
        "<int:version>": str(RuleSetFactory.create().version), "<path:rest>": "stock/reserve/",
    }  # fmt: skip
    found = {}
    for route in api_routes():
        path = route
        for name, value in values.items():
            path = path.replace(name, value)
        found[route] = f"/api/{path}"
    return found


def api_routes() -> list[str]:
    (api,) = (p for p in get_resolver().url_patterns if str(p.pattern) == "api/")
    assert not isinstance(api, URLPattern)
    return [str(pattern.pattern) for pattern in api.url_patterns]


OPENS: Final[dict[Scope, set[tuple[str, str]]]] = {
    Scope.ORDERS_READ: {
        ("get", "orders/"), ("get", "orders/<slug:number>/"), ("any", "<path:rest>"),
    },
    Scope.STOCK_READ: {("get", "window/<slug:code>/")},
    Scope.STOCK_FIGURES: {("post", "stock-figures/")},
    Scope.RULES_READ: {("get", "rule-sets/"), ("get", "rule-sets/<int:version>/")},
    Scope.RULES_WRITE: {
        ("post", "rule-sets/"), ("put", "rule-sets/<int:version>/"),
        ("post", "rule-sets/<int:version>/commit/"), ("post", "rule-sets/<int:version>/ask/"),
    },
    Scope.INTERCEPTIONS_READ: {("get", "interceptions/"), ("get", "interceptions/<int:pk>/")},
    Scope.INTERCEPTIONS_WRITE: {
        ("post", "interceptions/"), ("post", "interceptions/<int:pk>/lift/"),
    },
}  # fmt: skip
"""The whole answer: a scope opens these doors, by these methods, and is refused at all others."""


def is_open(scope: Scope, method: str, route: str) -> bool:
    return {(method, route), ("any", route)} & OPENS[scope] != set()


@pytest.mark.parametrize("scope", EVERY)
def test_each_scope_opens_its_own_doors_and_no_other(scope: Scope) -> None:
    """The account may everything: only the scope stands between the token and the doors."""
    api, wrong = with_key(key_for(everybody(), scope)), []
    for route, path in doors().items():
        for method in METHODS:
            status = getattr(api, method)(path, {}, content_type="application/json").status_code
            # 405 says no more than that there is no such way in; 403 is for who may not.
            if is_open(scope, method, route) == (status in {403, 405}):
                wrong.append((method, route, status))
    assert wrong == []


def test_a_token_without_a_scope_opens_nothing_and_moves_nothing() -> None:
    """The incident behind N04: a courier's token opens no stock, whoever's it is."""
    RobotFactory.create()
    api = with_key(key_for(everybody()))
    with writes_to_stock() as written:
        found = {
            (method, route): getattr(api, method)(
                path, {"sku": "SOFA", "quantity": 1}, content_type="application/json"
            ).status_code
            for route, path in doors().items()
            for method in METHODS
        }
    assert set(found.values()) <= {403, 405}
    assert 403 in found.values()
    assert written == set()
    told = AuditRecord.objects.get(action=Action.ACCESS_REFUSED)
    assert told.change["scopes"] == []
    assert Notice.objects.get().urgency == "3"


@pytest.mark.parametrize("scope", EVERY)
def test_a_scope_gives_no_right_its_account_has_not(scope: Scope) -> None:
    api = with_key(key_for(user_with(Role.PACKER), *EVERY))
    for route, path in doors().items():
        for method in METHODS:
            status = getattr(api, method)(path, {}, content_type="application/json").status_code
            assert status in {403, 405}, (method, route)


def test_a_token_sees_the_orders_of_its_shops_only() -> None:
    mine, other = ShopFactory.create(), ShopFactory.create()
    order, foreign = SalesOrderFactory.create(shop=mine), SalesOrderFactory.create(shop=other)
    key = key_for(user_with(Role.FINANCE), Scope.ORDERS_READ, all_shops=False)
    ApiToken.objects.get().shops.add(mine)
    api = with_key(key)
    assert numbers(api.get("/api/orders/")) == [order.number]
    assert api.get(f"/api/orders/{order.number}/").status_code == 200
    assert api.get(f"/api/orders/{foreign.number}/").status_code == 404
    assert numbers(api.get(f"/api/orders/?shop={other.code}")) == []


def test_a_token_of_no_shop_sees_no_order_and_no_window() -> None:
    shop = SalesOrderFactory.create().shop
    scopes = (Scope.ORDERS_READ, Scope.STOCK_READ)
    api = with_key(key_for(user_with(Role.FINANCE), *scopes, all_shops=False))
    assert numbers(api.get("/api/orders/")) == []
    assert api.get(f"/api/window/{shop.code}/").status_code == 404
    ApiToken.objects.get().shops.add(shop)
    assert api.get(f"/api/window/{shop.code}/").status_code == 200


def test_what_knows_no_shops_is_shut_to_a_token_of_some_shops() -> None:
    RobotFactory.create()
    api = with_key(key_for(everybody(), *EVERY, all_shops=False))
    for path in ("/api/rule-sets/", "/api/interceptions/"):
        assert api.get(path).status_code == 403
    assert with_key(key_for(everybody(), *EVERY)).get("/api/rule-sets/").status_code == 200


def test_a_token_ends_and_is_revoked_from_the_next_request_on() -> None:
    user = user_with(Role.FINANCE)
    api = with_key(key_for(user, Scope.ORDERS_READ, expires_at=timezone.now() + timedelta(days=1)))
    token = ApiToken.objects.get()
    assert api.get("/api/orders/").status_code == 200
    token.refresh_from_db()
    assert token.used_at is not None
    ApiToken.objects.update(expires_at=timezone.now())
    refused(api.get("/api/orders/"), "token_expired", 401)
    ApiToken.objects.update(expires_at=None)
    assert api.get("/api/orders/").status_code == 200
    ApiToken.objects.update(is_active=False)
    refused(api.get("/api/orders/"), "authentication_failed", 401)
    ApiToken.objects.update(is_active=True)
    User.objects.filter(pk=user.pk).update(is_active=False)
    refused(api.get("/api/orders/"), "authentication_failed", 401)


def test_the_key_is_nowhere_in_the_database() -> None:
    key = key_for(user_with(Role.FINANCE), Scope.ORDERS_READ)
    with connection.cursor() as cursor:
        cursor.execute("SELECT t::text FROM channels_sync_apitoken t")
        ((row,),) = cursor.fetchall()
    assert key not in row
    assert ApiToken.digest_of(key) in row


def test_tokens_from_before_scopes_keep_what_their_roles_let_them_do() -> None:
    """Their keys were kept in the clear; they work on, and the clear keys are gone."""
    supervisor, courier = user_with(Role.WAREHOUSE_SUPERVISOR), user_with(username="courier")
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE authtoken_token (key text, user_id int, created timestamptz)")
        cursor.execute(
            "INSERT INTO authtoken_token VALUES ('k1', %s, now()), ('k2', %s, now())",
            [supervisor.pk, courier.pk],
        )
    migration: Any = import_module("channels_sync.migrations.0011_scopes_of_old_tokens")
    with connection.schema_editor() as editor:
        migration.take_over(apps, editor)
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM authtoken_token")
        assert cursor.fetchone() == (0,)
    known = {token.user_id: token for token in ApiToken.objects.all()}
    had = {s for s, can in PASSED_ON.items() if allows(supervisor, can)}
    assert set(known[supervisor.pk].scopes) == had
    assert known[courier.pk].scopes == []
    assert with_key("k1").get("/api/orders/").status_code == 200
    assert with_key("k1").get("/api/rule-sets/").status_code == 200
    assert with_key("k2").get("/api/orders/").status_code == 403


@pytest.mark.parametrize("role", [role for role in Role if role is not Role.PARTNER])
def test_the_scopes_implied_by_a_role_are_those_it_had(role: Role) -> None:
    migration: Any = import_module("channels_sync.migrations.0011_scopes_of_old_tokens")
    user = user_with(role)
    had = {s.value for s, can in PASSED_ON.items() if allows(user, can) and can != Can.TELL_STOCK}
    assert set(migration.IMPLIED.get(role.value, ())) == had
