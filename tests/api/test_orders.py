"""The read-only API of orders: scope, masks, and every question it refuses."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from ordercenter.core.policy import Role, Scope
from ordercenter.orders.models import SalesOrder
from tests.factories import (
    OrderHoldFactory,
    OrderLineFactory,
    ParcelFactory,
    SalesOrderFactory,
    ShopAssignmentFactory,
    ShopFactory,
    WaybillFactory,
    key_for,
    user_with,
)

pytestmark = pytest.mark.django_db
ORDERS = "/api/orders/"
NOW = datetime(2025, 11, 11, 4, 0, tzinfo=UTC)


def speaking_for(user: User, *scopes: Scope) -> Client:
    key = key_for(user, *(scopes or (Scope.ORDERS_READ,)))
    return Client(headers={"Authorization": f"Token {key}"})


@pytest.fixture
def api() -> Client:
    """A token of somebody who sees every order."""
    return speaking_for(user_with(Role.FINANCE))


def numbers(answer: Any) -> list[str]:
    return [row["number"] for row in answer.json()["results"]]


def refused(answer: Any, code: str, status: int = 400) -> None:
    assert answer.status_code == status, answer.content
    assert set(answer.json()) == {"code", "message"}
    assert answer.json()["code"] == code


def walk(client: Client, address: str) -> Iterator[list[str]]:
    """Follow ``next`` from page to page."""
    following: str | None = address
    while following:
        answer = client.get(following)
        assert answer.status_code == 200
        yield numbers(answer)
        following = answer.json()["next"]


def test_an_order_is_read_with_ids_and_money_as_text_and_the_receiver_masked(api: Client) -> None:
    order = SalesOrderFactory.create(
        name="欧阳娜娜",
        phone="13912345678",
        address="人民路1号",
        payable_amount=Decimal("9007199254740993.10") % Decimal(10**11),
        buyer_remark="13912345678",
    )
    answer = api.get(f"{ORDERS}{order.number}/")
    found = answer.json()
    assert found["id"] == str(order.pk)
    assert found["channel_number"] == order.channel_number
    assert found["payable_amount"] == str(order.payable_amount)
    assert found["currency"] == "CNY"
    assert found["receiver"] == order.receiver_masked
    text = answer.content.decode()
    for secret in ("欧阳娜娜", "13912345678", "人民路"):
        assert secret not in text


def test_the_detail_holds_lines_open_holds_and_parcels(api: Client) -> None:
    parcel = ParcelFactory.create()
    order = parcel.order
    OrderLineFactory.create(order=order, sku__code="SKU-A", amount=Decimal("59.90"))
    waybill = WaybillFactory.create(parcel=parcel, state="live")
    OrderHoldFactory.create(order=order, words="人工冻结")
    OrderHoldFactory.create(order=order, code="old", released_at=NOW, words="已解除的")
    found = api.get(f"{ORDERS}{order.number}/").json()
    assert [(row["sku"], row["amount"]) for row in found["lines"]] == [("SKU-A", "59.90")]
    assert [row["words"] for row in found["holds"]] == ["人工冻结"]
    assert found["parcels"][0]["tracking_number"] == waybill.number
    assert found["held"] is True


def test_a_clerk_sees_the_orders_of_his_shops_and_the_others_do_not_exist() -> None:
    clerk = user_with(Role.CLERK)
    mine = SalesOrderFactory.create(shop=ShopAssignmentFactory.create(user=clerk).shop)
    other = SalesOrderFactory.create()
    client = speaking_for(clerk)
    assert numbers(client.get(ORDERS)) == [mine.number]
    assert client.get(f"{ORDERS}{mine.number}/").status_code == 200
    refused(client.get(f"{ORDERS}{other.number}/"), "not_found", 404)
    assert numbers(client.get(ORDERS, {"number": other.number})) == []


def test_a_stranger_gets_401_with_a_challenge_and_a_wrong_role_403() -> None:
    stranger = Client().get(ORDERS)
    refused(stranger, "not_authenticated", 401)
    assert stranger.headers["WWW-Authenticate"] == "Token"
    for role in (Role.PACKER, Role.SCREEN, Role.IT):
        refused(speaking_for(user_with(role)).get(ORDERS), "permission_denied", 403)


def test_a_disabled_users_token_is_worth_nothing() -> None:
    user = user_with(Role.CEO)
    client = speaking_for(user)
    user.is_active = False
    user.save()
    refused(client.get(ORDERS), "authentication_failed", 401)


def test_a_session_reads_as_well_as_a_token(client: Client) -> None:
    client.force_login(
        user_with(Role.REVIEWER), backend="django.contrib.auth.backends.ModelBackend"
    )
    assert client.get(ORDERS).status_code == 200


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete", "options"])
def test_nothing_is_written_and_nothing_described(api: Client, method: str) -> None:
    order = SalesOrderFactory.create()
    for address in (ORDERS, f"{ORDERS}{order.number}/"):
        answer = getattr(api, method)(address, {"status": "shipped"}, "application/json")
        refused(answer, "method_not_allowed", 405)
    order.refresh_from_db()
    assert order.status == "received"


@pytest.mark.parametrize("page", ["0", "-1", "abc", "1000000000"])
def test_bq01_there_are_no_page_numbers(api: Client, page: str) -> None:
    refused(api.get(ORDERS, {"page": page}), "unknown_parameter")


def test_bq02_a_page_has_at_most_two_hundred_rows(api: Client) -> None:
    shop = ShopFactory.create()
    SalesOrder.objects.bulk_create(SalesOrderFactory.build_batch(201, shop=shop))
    assert len(numbers(api.get(ORDERS, {"page_size": "1000000000"}))) == 200


@pytest.mark.parametrize("size", ["0", "-1", "abc", "1_0", "１０", "1.0", "", "9" * 30])  # noqa: RUF001
def test_a_page_size_is_a_plain_number(api: Client, size: str) -> None:
    refused(api.get(ORDERS, {"page_size": size}), "invalid")


@pytest.mark.parametrize("ordering", ["password", "payable_amount", "shop__name", "-", "id,number"])
def test_bq03_only_listed_orderings_are_taken(api: Client, ordering: str) -> None:
    refused(api.get(ORDERS, {"ordering": ordering}), "invalid")


@pytest.mark.parametrize(
    "parameter",
    ["no_such", "format", "id", "number__startswith", "shop__name", "Status", "token", "fragment"],
)
def test_bq04_an_unknown_parameter_is_refused_and_never_ignored(
    api: Client, parameter: str
) -> None:
    refused(api.get(ORDERS, {parameter: "x"}), "unknown_parameter")


@pytest.mark.parametrize(
    "parameter",
    [
        "receiver_masked",
        "receiver_masked__startswith",
        "receiver_sealed",
        "evidence__phone_key",
        "buyer_remark__contains",
        "province",
    ],
)
def test_bq05_a_hidden_column_is_no_filter(api: Client, parameter: str) -> None:
    refused(api.get(ORDERS, {parameter: "1"}), "unknown_parameter")


def test_bq06_five_hundred_ids_are_taken_and_not_one_more(api: Client) -> None:
    order = SalesOrderFactory.create()
    many = [str(order.pk), *(str(n) for n in range(9_000_000, 9_000_499))]
    assert numbers(api.get(ORDERS, {"id__in": ",".join(many)})) == [order.number]
    refused(api.get(ORDERS, {"id__in": ",".join([*many, "7"])}), "too_many")
    refused(api.get(ORDERS, {"id__in": ",".join(["1"] * 10_000)}), "query_too_long", 414)


@pytest.mark.parametrize("ids", ["1,", ",", "a", "1_0", "１", "-1", "1;2", "9" * 19])  # noqa: RUF001
def test_ids_are_plain_numbers(api: Client, ids: str) -> None:
    refused(api.get(ORDERS, {"id__in": ids}), "invalid")


def test_bq07_a_parameter_given_twice_is_refused(api: Client) -> None:
    refused(api.get(f"{ORDERS}?status=received&status=shipped"), "repeated_parameter")
    refused(api.get(f"{ORDERS}?page_size=1&page_size=1"), "repeated_parameter")


def test_bq08_a_range_upside_down_is_refused(api: Client) -> None:
    upside_down = {"placed_from": "2025-11-12T00:00:00Z", "placed_to": "2025-11-11T00:00:00Z"}
    refused(api.get(ORDERS, upside_down), "upside_down_range")


def test_bq09_a_query_string_of_sixteen_kilobytes_is_refused(api: Client) -> None:
    refused(api.get(ORDERS, {"number": "x" * 16_384}), "query_too_long", 414)


def test_bq10_a_cursor_altered_by_one_character_is_refused(api: Client) -> None:
    for _ in range(3):
        SalesOrderFactory.create()
    following = api.get(ORDERS, {"page_size": "1"}).json()["next"]
    assert api.get(following).status_code == 200
    start = following.index("cursor=") + len("cursor=")
    for place in range(start, start + 60, 7):
        other = "A" if following[place] != "A" else "B"
        altered = following[:place] + other + following[place + 1 :]
        refused(api.get(altered), "invalid")


def test_a_cursor_of_another_ordering_is_refused(api: Client) -> None:
    for _ in range(2):
        SalesOrderFactory.create()
    following = api.get(ORDERS, {"page_size": "1", "ordering": "id"}).json()["next"]
    refused(api.get(following.replace("ordering=id", "ordering=-id")), "invalid")


def test_bq19_the_answer_is_json_whatever_is_accepted(api: Client) -> None:
    SalesOrderFactory.create()
    for accepted in ("text/html", "application/xml", "*/*;q=0", "nonsense"):
        answer = api.get(ORDERS, headers={"Accept": accepted})
        assert answer.status_code == 200
        assert answer.headers["Content-Type"] == "application/json"


def test_bq20_a_token_in_the_address_is_worth_nothing() -> None:
    key = key_for(user_with(Role.CEO), Scope.ORDERS_READ)
    for name in ("token", "auth_token", "access_token", "key"):
        refused(Client().get(ORDERS, {name: key}), "not_authenticated", 401)


@pytest.mark.parametrize("ordering", ["-placed_at", "placed_at", "-id", "id"])
def test_pages_follow_each_other_without_a_gap_or_a_repeat(api: Client, ordering: str) -> None:
    shop = ShopFactory.create()
    for minute in (3, 1, 1, 1, 2, 1):
        SalesOrderFactory.create(shop=shop, placed_at=NOW + timedelta(minutes=minute))
    column = ordering.lstrip("-").replace("id", "pk")
    wanted = [
        order.number
        for order in sorted(
            SalesOrder.objects.all(),
            key=lambda order: (getattr(order, column), order.pk),
            reverse=ordering.startswith("-"),
        )
    ]
    pages = list(walk(api, f"{ORDERS}?ordering={ordering}&page_size=2"))
    assert [len(page) for page in pages] == [2, 2, 2]
    assert [number for page in pages for number in page] == wanted


def test_the_newest_orders_come_first(api: Client) -> None:
    old = SalesOrderFactory.create(placed_at=NOW)
    new = SalesOrderFactory.create(placed_at=NOW + timedelta(seconds=1))
    assert numbers(api.get(ORDERS)) == [new.number, old.number]


def test_filters_find_what_they_name(api: Client) -> None:
    wanted = SalesOrderFactory.create(
        shop=ShopFactory.create(code="jd-1", channel="jd"), status="routed", placed_at=NOW
    )
    OrderHoldFactory.create(order=wanted)
    SalesOrderFactory.create(placed_at=NOW - timedelta(days=1))
    for name, value in {
        "number": wanted.number,
        "channel_number": wanted.channel_number,
        "shop": "jd-1",
        "channel": "jd",
        "status": "routed",
        "held": "true",
        "placed_from": "2025-11-11T12:00:00+08:00",
        "id__in": str(wanted.pk),
    }.items():
        assert numbers(api.get(ORDERS, {name: value})) == [wanted.number], name


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("status", "RECEIVED"),
        ("status", "frozen"),
        ("channel", "amazon"),
        ("held", "1"),
        ("held", "True"),
        ("is_rush", "yes"),
        ("placed_from", "2025-11-11"),
        ("placed_from", "2025-11-11T00:00:00"),
        ("placed_to", "2025-13-11T00:00:00Z"),
        ("placed_to", "２０２５-11-11T00:00:00Z"),  # noqa: RUF001
        ("number", "x" * 65),
        ("number", "a\x00b"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused(api: Client, name: str, value: str) -> None:
    answer = api.get(ORDERS, {name: value})
    assert answer.status_code == 400
    assert set(answer.json()) == {"code", "message"}
    assert name in answer.json()["message"]


def test_an_address_with_odd_characters_finds_nothing(api: Client) -> None:
    for number in ("%00", "..%2F", "a%20b", "%E8%AE%A2"):
        assert api.get(f"{ORDERS}{number}/").status_code == 404


def test_the_detail_takes_no_parameters(api: Client) -> None:
    order = SalesOrderFactory.create()
    refused(api.get(f"{ORDERS}{order.number}/", {"expand": "receiver"}), "unknown_parameter")


def test_the_list_asks_the_same_number_of_queries_for_many_orders(api: Client) -> None:
    asked: list[int] = []
    api.get(ORDERS)  # the first use of a token is noted
    for _ in range(2):
        OrderHoldFactory.create(order=SalesOrderFactory.create())
        with CaptureQueriesContext(connection) as queries:
            api.get(ORDERS)
        asked.append(len(queries))
    assert asked[0] == asked[1] <= 4
