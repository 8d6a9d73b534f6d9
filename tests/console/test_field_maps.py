"""The page of field maps: a table to edit, a payload to try it on, versions that count later."""

import json
from typing import Any

import pytest
from django.test import Client

from channels_sync.connectors.field_map_checks import FAMILIES
from channels_sync.models import FieldMap
from ordercenter.console.field_map_words import READINGS
from ordercenter.core.clock import now as clock_now
from ordercenter.core.policy import Role
from tests.console.conftest import AsRole
from tests.factories import ShopFactory

pytestmark = pytest.mark.django_db
ADD = "/admin/channels_sync/fieldmap/add/?channel=openjson"
LIST = "/admin/channels_sync/fieldmap/"
ORDER = {
    "order_no": "A-1", "status": "paid", "total_amount": "9.90", "created_at": 1772327287,
    "updated_at": 1772327287, "items": [{"qty": 1, "unit_price": "9.90"}],
    "customer": {"first_name": "欧阳娜"}, "receiver": {"phone": "13912345678"},
}  # fmt: skip
NAME = {"receiver.name.from": "receiver.name, customer.first_name"}


def form_of(client: Client, path: str = ADD) -> dict[str, Any]:
    """The form as the browser would post it back."""
    page = client.get(path)
    assert page.status_code == 200
    posted = {bound.html_name: bound.value() or "" for bound in page.context["form"]}
    return {**posted, "follows": page.context["follows"]}


def test_a_form_saved_as_it_is_changes_nothing_of_the_packaged_map(as_role: AsRole) -> None:
    client = as_role(Role.IT)
    client.post(ADD, form_of(client) | {"save": "1", "note": "原样"})
    row = FieldMap.objects.get()
    assert (row.mapping, row.is_live, row.version, row.note) == ({}, False, 1, "原样")


@pytest.mark.parametrize("channel", ["taobao", "douyin", "shopify", "openjson"])
def test_every_channels_table_can_be_opened(as_role: AsRole, channel: str) -> None:
    client = as_role(Role.IT)
    path = f"/admin/channels_sync/fieldmap/add/?channel={channel}"
    client.post(path, form_of(client, path) | {"save": "1"})
    assert FieldMap.objects.get().mapping == {}


def test_what_the_form_changes_is_kept_as_the_difference(as_role: AsRole) -> None:
    client = as_role(Role.IT)
    changes = NAME | {
        "order.payable_amount.as": "fen",
        "order.currency.more": "",
        "order.seller_memo.from": "",
    }
    assert client.post(ADD, form_of(client) | changes | {"save": "1"}).status_code == 302
    assert FieldMap.objects.get().mapping == {
        "receiver": {"name": {"from": ["receiver.name", "customer.first_name"]}},
        "order": {
            "payable_amount": {"as": "fen"},
            "currency": {"default": None},
            "seller_memo": {"from": []},
        },
    }


def test_an_edit_starts_from_the_version_it_is_opened_on(as_role: AsRole) -> None:
    client = as_role(Role.IT)
    client.post(ADD, form_of(client) | NAME | {"save": "1"})
    first = FieldMap.objects.get()
    path = f"{LIST}{first.pk}/change/"
    client.post(path, form_of(client, path) | {"line.title.from": "name", "save": "1"})
    second = FieldMap.objects.get(version=2)
    assert second.mapping == {**first.mapping, "line": {"title": {"from": ["name"]}}}
    client.post(path, form_of(client, path) | {"receiver.name.from": "receiver.name", "save": "1"})
    assert FieldMap.objects.get(version=3).mapping == {}


def test_a_payload_is_tried_before_anything_counts(as_role: AsRole) -> None:
    client = as_role(Role.IT)
    page = client.post(ADD, form_of(client) | NAME | {"payload": json.dumps(ORDER), "try": "1"})
    [order] = json.loads(page.context["read"])["orders"]
    assert order["receiver"]["name"] == "欧**"
    assert "13912345678" not in page.context["read"]
    assert not FieldMap.objects.exists()
    without = client.post(ADD, form_of(client) | {"payload": json.dumps(ORDER), "try": "1"})
    assert json.loads(without.context["read"])["orders"][0]["receiver"]["name"] == ""


def test_what_a_buyer_typed_is_shown_as_text(as_role: AsRole) -> None:
    client = as_role(Role.IT)
    order = {**ORDER, "buyer_remark": "<script>alert(1)</script>"}
    page = client.post(ADD, form_of(client) | {"payload": json.dumps(order), "try": "1"})
    assert b"<script>alert(1)" not in page.content
    assert "&lt;script&gt;alert(1)" in page.content.decode()


@pytest.mark.parametrize("payload", ["", "{", "[]", "x", '{"order_no":"A"}', '{"a":"\\ud800"}'])
def test_a_payload_that_says_nothing_is_told_so(as_role: AsRole, payload: str) -> None:
    client = as_role(Role.IT)
    page = client.post(ADD, form_of(client) | {"payload": payload, "try": "1"})
    assert page.status_code == 200
    assert json.loads(page.context["read"])["refused"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"order.channel_number.from": ""}, "order.channel_number：必填字段没有来源"),
        ({"order.channel_number.from": "a..b"}, "order.channel_number：路径"),
        ({"order.status.more": '{"values":{"x":"shiped"}}'}, "order.status：不认识的取值"),
    ],
)
def test_a_table_that_cannot_work_is_refused_in_words(
    as_role: AsRole, change: dict[str, str], words: str
) -> None:
    client = as_role(Role.IT)
    for button in ("save", "try"):
        page = client.post(ADD, form_of(client) | change | {button: "1"})
        assert page.status_code == 422
        assert words in page.context["refusal"]
    assert not FieldMap.objects.exists()


@pytest.mark.parametrize(
    "change",
    [
        {"order.status.more": "{"},
        {"order.status.more": '{"from":["x"]}'},
        {"order.status.more": "[]"},
        {"order.payable_amount.as": "china_time"},
        {"note": "a\0b"},
    ],
)
def test_a_field_typed_wrong_keeps_the_form_open(as_role: AsRole, change: dict[str, str]) -> None:
    client = as_role(Role.IT)
    page = client.post(ADD, form_of(client) | change | {"save": "1"})
    assert page.status_code == 200
    assert page.context["form"].errors
    assert not FieldMap.objects.exists()


def test_who_saves_over_a_newer_version_is_told(as_role: AsRole) -> None:
    client = as_role(Role.IT)
    opened = form_of(client)
    client.post(ADD, opened | NAME | {"save": "1"})
    page = client.post(ADD, opened | {"save": "1"})
    assert (page.status_code, FieldMap.objects.count()) == (422, 1)


def test_a_version_is_made_live_and_taken_back_with_a_reason(as_role: AsRole) -> None:
    client = as_role(Role.IT)
    client.post(ADD, form_of(client) | NAME | {"save": "1"})
    row = FieldMap.objects.get()
    for action, is_live in (("make_live", True), ("back_to_packaged", False)):
        post = {"action": action, "_selected_action": row.pk, "index": 0}
        assert client.post(LIST, post).status_code == 200
        row.refresh_from_db()
        assert row.is_live is not is_live
        client.post(LIST, post | {"confirmed": "1", "reason": "平台换了字段名"})
        row.refresh_from_db()
        assert row.is_live is is_live


def test_a_shop_may_have_a_table_of_its_own(as_role: AsRole) -> None:
    shop = ShopFactory.create(channel="openjson")
    client = as_role(Role.IT)
    assert shop.name in client.get("/admin/channels_sync/fieldmap/add/").content.decode()
    path = f"/admin/channels_sync/fieldmap/add/?shop={shop.code}"
    client.post(path, form_of(client, path) | NAME | {"save": "1"})
    assert FieldMap.objects.get().shop == shop


def test_who_may_only_look_sees_the_table_and_saves_nothing(as_role: AsRole) -> None:
    row = FieldMap.objects.create(
        channel="openjson", version=1, mapping={}, created_at=clock_now()
    )  # fmt: skip
    client = as_role(Role.WAREHOUSE_SUPERVISOR)
    path = f"{LIST}{row.pk}/change/"
    page = client.get(path)
    assert page.status_code == 200
    assert b'name="save"' not in page.content
    assert client.post(path, {"save": "1"}).status_code == 403
    assert client.get(ADD).status_code == 403
    post = {"action": "make_live", "_selected_action": row.pk, "index": 0, "confirmed": "1",
            "reason": "试一试能否生效"}  # fmt: skip
    assert client.post(LIST, post).status_code == 403
    assert as_role(Role.CLERK).get(path).status_code == 403


def test_every_way_of_reading_has_words() -> None:
    assert set(READINGS) == set(FAMILIES)
