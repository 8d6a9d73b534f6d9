"""The doors platforms push at: proved, kept whole, committed, answered. Nothing else."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from django.http import HttpResponse
from django.test import Client

from channels_sync.models import InboxMessage, ShopCredential, SyncCursor
from fulfillment.carriers.account import seal_secrets
from fulfillment.models import TraceEvent
from ordercenter.catalog.models import Shop
from ordercenter.core.clock import now as clock_now
from ordercenter.orders.models import SalesOrder
from ordercenter.pipeline import intake
from ordercenter.pipeline.hooks import MAX_BODY
from tests.factories import (
    CarrierAccountFactory,
    ShopCredentialFactory,
    ShopFactory,
    SyncCursorFactory,
    WaybillFactory,
)

pytestmark = pytest.mark.django_db
REFERENCE = Path(__file__).parent.parent / "data" / "reference"
PAYLOADS = REFERENCE / "payloads"
SECRET = "a-secret-of-this-shop"
TOKEN = "an-unguessable-push-token"
JSON = "application/json"


def captured(folder: str, name: str) -> Any:
    return json.loads((PAYLOADS / folder / f"{name}.json").read_text(encoding="utf-8"))


def raw(folder: str, name: str) -> bytes:
    return (PAYLOADS / folder / f"{name}.json").read_bytes()


# --- the four doors, each signed by a reading of the reference of its own -------------------------


@dataclass
class Door:
    """One platform's way in: where it knocks, what it sends, how it proves itself."""

    name: str
    body: bytes
    broken: bytes = b'{"half": '
    path: str = ""
    secret: str = SECRET
    kinds: tuple[str, ...] = ()

    def prove(self, body: bytes) -> dict[str, str]:
        raise NotImplementedError

    def open(self) -> None:
        """Set the door up."""
        shop = ShopFactory.create(code=f"{self.name}-1", channel=self.name)
        credential = ShopCredentialFactory.build(shop=shop, app_key="app-key", options={})
        credential.set_secrets(app_secret=SECRET)
        credential.save()
        SyncCursorFactory.create(shop=shop)
        self.path = f"/hooks/{self.name}/{shop.code}/"

    def push(self, body: bytes | None = None, more: Mapping[str, str] | None = None) -> Any:
        body = self.body if body is None else body
        return self.post(body, {**self.prove(body), **(more or {})})

    def post(self, body: bytes, headers: Mapping[str, str], content_type: str = JSON) -> Any:
        return Client(headers=dict(headers)).generic(
            "POST", self.path, body, content_type=content_type
        )

    def is_thanks(self, answer: HttpResponse) -> bool:
        raise NotImplementedError


@dataclass
class Douyin(Door):
    name: str = "douyin"
    body: bytes = field(default_factory=lambda: raw("douyin", "push_101_paid"))
    kinds: tuple[str, ...] = ("event",)

    def prove(self, body: bytes) -> dict[str, str]:
        digest = hashlib.md5(b"app-key" + body + self.secret.encode())  # noqa: S324 - the wire
        return {"event-sign": digest.hexdigest(), "app-id": "app-key"}

    def is_thanks(self, answer: HttpResponse) -> bool:
        return bool(json.loads(answer.content)["code"] == 0)


@dataclass
class Shopify(Door):
    name: str = "shopify"
    body: bytes = field(default_factory=lambda: raw("shopify", "webhook_orders_paid"))
    kinds: tuple[str, ...] = ("order",)

    def prove(self, body: bytes) -> dict[str, str]:
        digest = hmac.new(self.secret.encode(), body, hashlib.sha256).digest()
        return {
            "x-shopify-hmac-sha256": base64.b64encode(digest).decode(),
            "x-shopify-topic": "orders/paid",
            "x-shopify-webhook-id": "b54557e4-bdd9-4b37-8a5f-bf7d70bcd043",
        }

    def is_thanks(self, answer: HttpResponse) -> bool:
        return answer.status_code == 200


@dataclass
class MiniProgram(Door):
    name: str = "miniprogram"
    body: bytes = field(default_factory=lambda: raw("crm_webhook", "order_paid"))
    kinds: tuple[str, ...] = ("order",)
    age: int = 0

    def prove(self, body: bytes) -> dict[str, str]:
        stamp = str(int(time.time()) - self.age)
        signed = stamp.encode() + b"." + body
        digest = hmac.new(self.secret.encode(), signed, hashlib.sha256).hexdigest()
        return {"x-timestamp": stamp, "x-signature": digest, "x-event-id": "evt-1"}

    def is_thanks(self, answer: HttpResponse) -> bool:
        return json.loads(answer.content)["ok"] is True


@dataclass
class Sf(Door):
    name: str = "sf"
    body: bytes = field(
        default_factory=lambda: json.dumps(
            captured("carriers", "sf_route_push")["request"]["json"], ensure_ascii=False
        ).encode()
    )
    kinds: tuple[str, ...] = ("trace",)

    def open(self) -> None:
        CarrierAccountFactory.create(
            code="sf", sealed=seal_secrets(secret="check-word", push_token=TOKEN)
        )

    def prove(self, body: bytes) -> dict[str, str]:
        token = TOKEN if self.secret == SECRET else "another-token-of-this-length"
        self.path = f"/hooks/carrier/sf/{token}/"
        return {}

    def is_thanks(self, answer: HttpResponse) -> bool:
        return bool(json.loads(answer.content)["return_code"] == "0000")


@pytest.fixture(params=[Douyin, Shopify, MiniProgram, Sf], ids=lambda kind: kind.name)
def door(request: pytest.FixtureRequest) -> Door:
    made: Door = request.param()
    made.open()
    return made


channels_only = pytest.mark.parametrize(
    "door", [Douyin, Shopify, MiniProgram], indirect=True, ids=lambda kind: kind.name
)


def inbox() -> list[InboxMessage]:
    return list(InboxMessage.objects.order_by("pk"))


# --- taken ----------------------------------------------------------------------------------------


def test_a_proved_push_is_kept_byte_for_byte_and_answered_as_the_platform_wants(door: Door) -> None:
    answer = door.push()
    assert answer.status_code == 200
    assert door.is_thanks(answer)
    (message,) = inbox()
    assert message.kind in door.kinds
    assert (message.state, message.source) == ("new", "push")
    if message.kind != "event":
        assert bytes(message.body) == door.body


def test_a_push_told_a_hundred_times_is_answered_each_time_and_kept_once(door: Door) -> None:
    answers = [door.push() for _ in range(100)]
    assert {answer.status_code for answer in answers} == {200}
    assert all(door.is_thanks(answer) for answer in answers)
    assert len(inbox()) == 1


@channels_only
def test_the_health_page_can_tell_when_the_last_push_came(door: Door) -> None:
    before = clock_now()
    door.push()
    stamp = SyncCursor.objects.get().last_push_at
    assert stamp is not None
    assert stamp >= before


def test_a_pushed_order_is_worked_off_and_told_again_has_no_second_effect() -> None:
    door = Shopify()
    door.open()
    Shop.objects.update(currency="USD")
    door.push()
    assert intake.run().messages == 1
    order = SalesOrder.objects.get()
    door.push()
    assert intake.run().messages == 0
    door.push(more={"x-shopify-webhook-id": "another-delivery"})
    assert intake.run().messages == 1
    assert SalesOrder.objects.get().version == order.version


def test_a_pushed_scan_reaches_its_parcel() -> None:
    door = Sf()
    door.open()
    waybill = WaybillFactory.create(number="SF7550000001014")
    door.push()
    intake.run()
    assert TraceEvent.objects.filter(waybill=waybill).count() == 2


# --- not proved -----------------------------------------------------------------------------------


def test_a_push_with_another_secret_is_refused_and_nothing_is_stored(door: Door) -> None:
    door.secret = "somebody-elses-secret"
    answer = door.push()
    assert answer.status_code == 401
    assert json.loads(answer.content)["code"] in {"bad_signature", "bad_push"}
    assert inbox() == []


@channels_only
def test_one_shops_signature_opens_no_other_shop(door: Door) -> None:
    other = ShopFactory.create(code="other", channel=door.name)
    credential = ShopCredentialFactory.build(shop=other, app_key="app-key", options={})
    credential.set_secrets(app_secret="the-secret-of-the-other")
    credential.save()
    door.path = f"/hooks/{door.name}/other/"
    assert door.push().status_code == 401
    assert inbox() == []


@channels_only
def test_without_a_signature_nothing_is_taken(door: Door) -> None:
    assert door.post(door.body, {}).status_code == 401
    assert inbox() == []


@channels_only
def test_a_signature_over_other_bytes_with_the_same_meaning_is_refused(door: Door) -> None:
    same = json.dumps(json.loads(door.body), ensure_ascii=False, separators=(", ", ": ")).encode()
    assert same != door.body
    assert door.post(door.body, door.prove(same)).status_code == 401
    assert door.post(door.body + b" ", door.prove(door.body)).status_code == 401
    assert inbox() == []


@pytest.mark.parametrize("age", [310, -310])
def test_a_stale_or_future_push_of_our_own_shop_is_refused(age: int) -> None:
    door = MiniProgram(age=age)
    door.open()
    assert door.push().status_code == 401
    assert inbox() == []


@pytest.mark.parametrize(
    "stamp", ["", "soon", "\uff11\uff17\uff17\uff12", "1772327287000", "-1", "1e9"]
)
def test_a_time_that_is_none_is_refused_and_breaks_nothing(stamp: str) -> None:
    door = MiniProgram()
    door.open()
    body = door.body
    digest = hmac.new(SECRET.encode(), stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    headers = {"x-signature": digest, "x-timestamp": stamp.encode().decode("latin-1")}
    assert door.post(body, headers).status_code == 401


def test_a_shop_without_a_secret_takes_no_push() -> None:
    door = Shopify()
    door.open()
    credential = ShopCredential.objects.get()
    credential.set_secrets(app_secret="")
    credential.save()
    door.secret = ""
    assert door.push().status_code == 401


# --- nobody there ---------------------------------------------------------------------------------


def test_a_shop_nobody_knows_is_not_found(door: Door) -> None:
    headers = door.prove(door.body)
    for path in ("/hooks/shopify/nobody/", "/hooks/taobao-x/TB01/", "/hooks/carrier/zto/token/"):
        door.path = path
        assert door.post(door.body, headers).status_code == 404
    assert inbox() == []


@channels_only
def test_a_shop_that_is_switched_off_takes_nothing(door: Door) -> None:
    Shop.objects.update(is_active=False)
    assert door.push().status_code == 401
    assert inbox() == []


@channels_only
def test_a_shop_knocked_at_by_another_platforms_name_is_not_found(door: Door) -> None:
    headers = door.prove(door.body)
    door.path = f"/hooks/taobao/{door.name}-1/"
    assert door.post(door.body, headers).status_code == 404


# --- authentic but broken -------------------------------------------------------------------------


def test_what_is_authentic_but_broken_is_kept_whole_dead_and_seen(door: Door) -> None:
    answer = door.push(door.broken)
    assert answer.status_code == 200
    intake.run()
    (message,) = inbox()
    assert message.state == "dead"
    assert message.error
    assert bytes(message.body) == door.broken


@pytest.mark.parametrize(
    "body",
    [
        b"[]", b"null", b"\"text\"", b"17", b"{}", b"\xff\xfe\x00binary", b"{" * 100_000,
        b'{"a": NaN}', b'{"order": {"order_no": "\\u0000"}, "event_id": "\\u0000"}',
        b'{"order": {"order_no": "\\ud800"}, "event_id": "\\ud800"}',
        b'{"order": {"order_no": "1", "order_no": "2"}}', b'{"a": ' + b"9" * 5000 + b"}",
        b'{"line_items": [], "total_price": "1", "id": "\\u0000"}',
        b'[{"tag": "101", "msg_id": "\\u0000", "data": {"p_id": "\\u0000"}}]',
    ],
    ids=lambda body: repr(body[:40]),
)  # fmt: skip
def test_no_authentic_push_however_odd_breaks_the_door(door: Door, body: bytes) -> None:
    answer = door.push(body)
    assert answer.status_code == 200
    passed = intake.run()
    for message in inbox():
        assert message.state in {"dead", "done", "new"}
        assert message.state != "new" or message.kind == "event"
    assert passed.parked <= 1
    assert not SalesOrder.objects.exists()


@channels_only
def test_a_broken_push_holds_up_none_of_the_others(door: Door) -> None:
    door.push(door.broken)
    door.push()
    assert sorted(message.state for message in inbox()) == ["dead", "new"]


# --- transport ------------------------------------------------------------------------------------


def test_an_empty_body_is_refused_and_not_stored(door: Door) -> None:
    assert door.push(b"").status_code == 400
    assert inbox() == []


def test_a_body_one_byte_over_the_cap_is_refused(door: Door) -> None:
    assert door.push(b"x" * (MAX_BODY + 1)).status_code == 413
    assert inbox() == []


def test_a_body_that_lies_about_its_length_is_refused_before_it_is_read(door: Door) -> None:
    headers = door.prove(door.body)
    answer = Client(headers=headers).generic(
        "POST", door.path, door.body, content_type=JSON, CONTENT_LENGTH=str(MAX_BODY + 1)
    )
    assert answer.status_code == 413


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "x-what", "gzip, gzip"])
def test_a_packed_body_is_refused_unopened(door: Door, encoding: str) -> None:
    headers = {**door.prove(door.body), "content-encoding": encoding}
    assert door.post(door.body, headers).status_code == 415
    assert inbox() == []


@pytest.mark.parametrize("kind", ["text/html", "image/png", "multipart/form-data"])
def test_another_kind_of_content_is_refused(door: Door, kind: str) -> None:
    assert door.post(door.body, door.prove(door.body), content_type=kind).status_code == 415
    assert inbox() == []


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD", "OPTIONS"])
def test_a_door_for_pushes_takes_pushes_only(door: Door, method: str) -> None:
    headers = door.prove(door.body)
    answer = Client(headers=headers).generic(method, door.path, door.body)
    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")
    assert inbox() == []


def test_an_override_of_the_method_is_ignored(door: Door) -> None:
    assert door.push(more={"x-http-method-override": "DELETE"}).status_code == 200
    assert len(inbox()) == 1


def test_a_push_needs_no_token_against_forgery_and_makes_no_session(door: Door) -> None:
    body = door.body
    headers = door.prove(body)
    strict = Client(enforce_csrf_checks=True, headers=headers)
    answer = strict.generic("POST", door.path, body, content_type=JSON)
    assert answer.status_code == 200
    assert not answer.cookies


def test_a_push_costs_a_few_statements_and_reads_nothing(
    door: Door, django_assert_max_num_queries: Any
) -> None:
    # Seven, and every few seconds an eighth: which field map counts now.
    with django_assert_max_num_queries(8):
        door.push()
