"""Interceptions for programs: by sentence or condition, once a key, read and lifted."""

from typing import Any

import pytest
from django.test import Client

from ordercenter.core.policy import Role, Scope
from ordercenter.orders.models import Interception, InterceptionPolicy
from ordercenter.pipeline.interception import lookup
from tests.api.test_orders import refused, speaking_for
from tests.factories import user_with
from tests.pipeline.seller import Seller, draft, holds, open_seller, take_one

pytestmark = pytest.mark.django_db
URL = "/api/interceptions/"
STOPS = (Scope.INTERCEPTIONS_READ, Scope.INTERCEPTIONS_WRITE)
TEXT = {"text": "江苏省暂停发货", "reason": "台风停运，暂停发货"}


@pytest.fixture(autouse=True)
def _names_read_anew() -> None:
    lookup.forget()


@pytest.fixture
def seller() -> Seller:
    return open_seller()


@pytest.fixture
def api() -> Client:
    return speaking_for(user_with(Role.WAREHOUSE_SUPERVISOR), *STOPS)


def post(who: Client, data: Any, key: str = "k-1", path: str = URL) -> Any:
    headers = {"Idempotency-Key": key} if key else {}
    return who.post(path, data, content_type="application/json", headers=headers)


def test_a_sentence_begins_one_and_the_same_key_begins_it_once(seller: Seller, api: Client) -> None:
    order = take_one(seller.shop, draft())
    answer = post(api, TEXT)
    assert answer.status_code == 201, answer.content
    told = answer.json()
    assert (told["state"], told["words"], told["orders_held"]) == ("active", "江苏省暂停发货", 1)
    again = post(api, TEXT)
    assert (again.status_code, again.json()["id"]) == (200, told["id"])
    assert Interception.objects.count() == 1
    assert holds(order) == {f"intercept:i{told['id']}"}
    one = api.get(f"{URL}{told['id']}/?orders=held").json()
    assert [row["number"] for row in one["orders"]] == [order.number]
    assert api.get(URL).json()["results"][0]["id"] == told["id"]


def test_a_condition_begins_one_with_its_end(seller: Seller, api: Client) -> None:
    data = {"condition": {"skus": ["SOFA"], "not_places": [["浙江省", "", ""]]},
            "reason": TEXT["reason"], "ends_at": "2099-01-01T00:00:00+08:00"}  # fmt: skip
    told = post(api, data).json()
    assert told["words"].startswith("SOFA ")
    assert told["ends_at"].startswith("2098-12-31T16:00") or "2099-01-01" in told["ends_at"]


def test_a_dry_run_previews(seller: Seller, api: Client) -> None:
    take_one(seller.shop, draft())
    answer = post(api, {**TEXT, "dry_run": True}, key="")
    assert (answer.status_code, answer.json()["preview"]["count"]) == (200, 1)
    assert not Interception.objects.exists()


def test_above_the_limit_it_waits_for_a_second_person(seller: Seller, api: Client) -> None:
    InterceptionPolicy.objects.create(pk=1, most_orders=0)
    take_one(seller.shop, draft())
    answer = post(api, TEXT)
    assert (answer.status_code, answer.json()["state"]) == (202, "asked")


@pytest.mark.parametrize(
    ("data", "code"),
    [
        ({**TEXT, "text": "吉林停发"}, "ambiguous"),
        ({**TEXT, "text": "江苏停发到昨天"}, "not_understood"),
        ({**TEXT, "text": "解除江苏"}, "not_a_stop"),
        ({**TEXT, "condition": {"all": True}}, "invalid_input"),
        ({"reason": "没有说拦什么"}, "invalid_input"),
        ({**TEXT, "surprise": 1}, "invalid_input"),
        ({"condition": {"not_carriers": ["sf"]}, "reason": TEXT["reason"]}, "invalid_input"),
        ({"condition": {}, "reason": TEXT["reason"]}, "invalid_input"),
        (
            {"condition": {"skus": ["A"]}, "ends_at": "soon", "reason": "五个字以上"},
            "invalid_input",
        ),
        ([1], "invalid_input"),
    ],
)
def test_what_is_not_one_clear_command_is_refused(api: Client, data: Any, code: str) -> None:
    answer = post(api, data)
    assert answer.status_code == 422, answer.content
    assert answer.json()["code"] == code
    if code == "ambiguous":
        assert [one["label"] for one in answer.json()["choices"]] == ["吉林省", "吉林省吉林市"]
    assert not Interception.objects.exists()


def test_a_key_is_needed(api: Client) -> None:
    refused(post(api, TEXT, key=""), "invalid_input", 422)


def test_a_supervisor_asks_for_the_end_and_the_ceo_ends(seller: Seller, api: Client) -> None:
    pk = post(api, TEXT).json()["id"]
    path = f"{URL}{pk}/lift/"
    asked = post(api, {"reason": "台风已过境"}, path=path)
    assert (asked.status_code, asked.json()["end_asked"]) == (202, True)
    ceo = speaking_for(user_with(Role.CEO), *STOPS)
    ended = post(ceo, {"reason": "台风已过境"}, path=path)
    assert (ended.status_code, ended.json()["state"]) == (200, "lifted")


def test_who_may_not_is_refused(seller: Seller, api: Client) -> None:
    pk = post(api, TEXT).json()["id"]
    clerk = speaking_for(user_with(Role.CLERK), *STOPS)
    assert clerk.get(f"{URL}{pk}/").status_code == 200
    assert post(clerk, TEXT, key="c").status_code == 403
    assert post(clerk, {"reason": "台风已过境"}, path=f"{URL}{pk}/lift/").status_code == 403
    picker = speaking_for(user_with(Role.PICKER), *STOPS)
    assert picker.get(URL).status_code == 403
    assert api.get(f"{URL}999999/").status_code == 404
    assert api.get(f"{URL}{pk}/?orders=x").status_code == 422
