"""BJ at the doors: what is authentic but broken is thanked for, kept whole, parked and seen.

A 4xx would make the platform repeat it for hours and then drop the subscription.
"""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest
from django.test import Client

from channels_sync.contracts import RawMessage
from channels_sync.models import InboxMessage, LineAlarm
from ordercenter.core.policy import Role, Scope
from ordercenter.orders.models import SalesOrder
from ordercenter.pipeline import intake, pulling, watch
from tests.channels_sync.contract_cases import OPEN_ORDER
from tests.doors.doors import Door
from tests.doors.raw_orders import GONE, put
from tests.doors.table import CHANNELS, at, not_here, row
from tests.factories import key_for, user_with

pytestmark = pytest.mark.django_db
LETTERS: Final = "老客户🎁"


class Nobody:
    """A platform that is never to be asked."""

    def fetch(self, number: str) -> RawMessage:
        raise AssertionError(f"asked for {number}")


@pytest.fixture(autouse=True)
def _no_questions(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(pulling, "connector_for", lambda *_: Nobody())
    yield
    monkeypatch.undo()


def worked_off() -> list[InboxMessage]:
    pulling.fetch_hints()
    while intake.run().messages:
        pass
    return list(InboxMessage.objects.order_by("pk"))


def assert_quarantined(door: Door, body: bytes, *, whole: bool = True, kind: str = "") -> None:
    """200 as the platform wants it, the bytes kept, the row parked with a reason, no order."""
    answer = door.push(body).post(kind or "application/json")
    assert answer.status_code == 200
    assert door.is_thanks(answer)
    rows = worked_off()
    assert [row.state for row in rows] == ["dead"]
    assert rows[0].error
    if whole:
        assert bytes(rows[0].body) == body
    assert not SalesOrder.objects.exists()
    if rows[0].shop_id is not None:  # an alarm belongs to a shop's line; scans have none
        watch.watch_lines()
        assert LineAlarm.objects.filter(kind=LineAlarm.Kind.DEAD, closed_at=None).exists()


def more(body: bytes, member: str) -> bytes:
    """The document with one more member, wherever it is an object."""
    at = body.rstrip().rfind(b"}")
    return body[:at] + b"," + member.encode() + body[at:]


@at("BJ01")
def test_json_cut_in_the_middle(door: Door) -> None:
    assert_quarantined(door, door.body()[: len(door.body()) // 2])


@at("BJ02")
def test_garbage_behind_the_json(door: Door) -> None:
    assert_quarantined(door, door.body().rstrip() + b"x")


@at("BJ03")
def test_a_bom_is_cut_off(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = door.push(b"\xef\xbb\xbf" + door.body()).post()
    assert answer.status_code == 200
    monkeypatch.setattr(pulling, "fetch_hints", lambda **_: "")
    assert {row.state for row in worked_off()} <= {"new", "done"}


@at("BJ04")
@pytest.mark.parametrize("token", ["NaN", "Infinity", "-Infinity"])
def test_numbers_json_does_not_have(door: Door, token: str) -> None:
    assert_quarantined(door, more(door.body(), f'"zz": {token}'), whole=door.name != "douyin")


@at("BJ05")
def test_a_key_given_twice(door: Door) -> None:
    assert_quarantined(door, more(door.body(), '"zz": 1, "zz": 2'))


@at("BJ06")
@pytest.mark.parametrize("deep", [b"[" * 100_000, b'{"a":' * 50_000])
def test_a_hundred_thousand_brackets(door: Door, deep: bytes) -> None:
    assert_quarantined(door, deep)


@at("BJ07")
def test_an_array_of_a_million(door: Door) -> None:
    body = b"[" + b"0," * 999_999 + b"0]"
    if door.name == "wechat_aes":  # as ciphertext it is over the cap
        assert door.push(body).post().status_code == 413
    else:
        assert_quarantined(door, body)


@at("BJ08")
def test_a_key_of_a_megabyte(door: Door) -> None:
    assert_quarantined(door, b'{"' + b"k" * 1_000_000 + b'": 1}')


@at("BJ09")
def test_a_number_of_five_thousand_digits(door: Door) -> None:
    assert_quarantined(door, more(door.body(), '"zz": ' + "9" * 5000))


@at("BJ10")
@pytest.mark.parametrize("root", [b"[1]", b"null", b'"text"', b"17"])
def test_a_root_that_is_no_object(door: Door, root: bytes) -> None:
    assert_quarantined(door, root, whole=door.name != "douyin")


@at("BJ11")
def test_json_in_json_is_decoded_once(door: Door) -> None:
    assert_quarantined(door, json.dumps(door.body().decode()).encode())


@at("BJ12")
def test_what_we_do_not_know_is_kept_word_for_word_and_ignored(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = more(door.body(), f'"zz_new": {{"a": [1, "{LETTERS}", null, 1.50]}}')
    assert door.push(body).post().status_code == 200
    monkeypatch.setattr(pulling, "fetch_hints", lambda **_: "")
    (kept,) = worked_off()
    assert kept.state in {"new", "done"}
    words = f'"zz_new":{{"a":[1,"{LETTERS}",null,1.50]}}'.encode()
    assert words in bytes(kept.body).replace(b": ", b":").replace(b", ", b",")


# --- fields that have to be there -----------------------------------------------------------------

NUMBER: Final = {
    "shopify": ("id",),
    "wechat_plain": ("order_info", "order_id"),
    "wechat_aes": ("order_info", "order_id"),
    "miniprogram": ("order", "order_no"),
    "crm_webhook": ("order", "order_no"),
    "openjson": ("order", "order_no"),
    "sf": ("Body", "WaybillRoute", 0, "mailno"),
}


def with_number(door: Door, new: Any) -> bytes:
    told = json.loads(door.body())
    if door.name != "douyin":
        return json.dumps(put(told, NUMBER[door.name], new)).encode()
    data = put(json.loads(told[0]["data"]), ("p_id",), new)
    return json.dumps([{**told[0], "data": json.dumps(data)}]).encode()


@at("BJ14")
def test_a_number_that_is_missing(door: Door) -> None:
    assert_quarantined(door, with_number(door, GONE), whole=door.name != "douyin")


@at("BJ15")
def test_a_number_that_is_null(door: Door) -> None:
    assert_quarantined(door, with_number(door, None), whole=door.name != "douyin")


@at("BJ16")
@pytest.mark.parametrize("odd", [{"a": 1}, [], True, " "])
def test_an_object_where_a_text_is_due(door: Door, odd: Any) -> None:
    assert_quarantined(door, with_number(door, odd), whole=door.name != "douyin")


# --- lists that are pushed --------------------------------------------------------------------

NO_LISTS: Final = dict.fromkeys(
    ("shopify", "wechat_plain", "wechat_aes", "miniprogram", "crm_webhook"),
    "it pushes one thing at a time",
)


def many(door: Door, count: int) -> list[Any]:
    if door.name == "douyin":
        (first,) = json.loads(door.body())
        return [{**first, "msg_id": f"m-{n}"} for n in range(count)]
    if door.name == "sf":
        (first, *_) = json.loads(door.body())["Body"]["WaybillRoute"]
        return [{**first, "id": f"{n}"} for n in range(count)]
    return [{**OPEN_ORDER, "order_no": f"A-{n}"} for n in range(count)]


def listed(door: Door, rows: list[Any]) -> bytes:
    told: Any = rows
    if door.name == "sf":
        told = {"Body": {"WaybillRoute": rows}}
    elif door.name == "openjson":
        told = {"event_id": "e-9", "orders": rows}
    return json.dumps(told).encode()


@at(
    "BJ17",
    but=NO_LISTS | {"sf": "a push of no scans says nothing; SF sends none (carriers.md)",
                    "openjson": "a push of no orders is no push of its vocabulary: parked"},
)  # fmt: skip
def test_an_empty_list_is_thanked_for_and_is_nothing(door: Door) -> None:
    answer = door.push(listed(door, [])).post()
    assert answer.status_code == 200
    assert door.is_thanks(answer)
    assert not InboxMessage.objects.exists()


@at("BJ18", but=NO_LISTS | {"sf": "a push of scans is one row: it is parked whole (BJ14)"})
def test_one_broken_entry_of_a_hundred_costs_itself_alone(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = many(door, 100)
    rows[41] = {**rows[41], "msg_id": None, "order_no": None}
    assert door.push(listed(door, rows)).post().status_code == 200
    monkeypatch.setattr(pulling, "fetch_hints", lambda **_: "")
    states = [row.state for row in worked_off()]
    assert len(states) == 100
    assert states.count("dead") == 1
    if door.name == "openjson":
        assert SalesOrder.objects.count() == 99


PULLED: Final = "it belongs to a list we ask for: test_bj_replies"
for _row in ("BJ19", "BJ20", "BJ21"):
    not_here(_row, PULLED, (*CHANNELS, "sf"))


# --- other languages than JSON ----------------------------------------------------------------

ENTITY: Final = (
    b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b SYSTEM "http://127.0.0.1:9/x">]>'
    b"<xml><MsgType>event</MsgType><Event>channels_ec_order_pay</Event><order_id>&b;</order_id></xml>"
)
BOMB: Final = (
    b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY a0 "lol">'
    + b"".join(b'<!ENTITY a%d "%s">' % (n, b"&a%d;" % (n - 1) * 10) for n in range(1, 11))
    + b"]><xml><Event>&a10;</Event></xml>"
)
LIES: Final = (
    '<?xml version="1.0" encoding="utf-16"?><xml><MsgType>事件</MsgType></xml>'.encode(),
    '<?xml version="1.0" encoding="utf-8"?><xml><MsgType>事件</MsgType></xml>'.encode("gbk"),
    b'<?xml version="1.0" encoding="x-nothing"?><xml><MsgType>event</MsgType></xml>',
)


def xml_type(door: Door) -> str:
    return "text/xml" if door.name in {"wechat_plain", "sf"} else "application/json"


@at("BJ22")
def test_xml_that_would_fetch_something(door: Door) -> None:
    assert_quarantined(door, ENTITY, kind=xml_type(door))


@at("BJ23")
def test_xml_that_would_expand_to_gigabytes(door: Door) -> None:
    began = time.monotonic()
    assert_quarantined(door, BOMB, kind=xml_type(door))
    assert time.monotonic() - began < 2


@at("BJ24")
@pytest.mark.parametrize("lie", LIES, ids=["utf-16", "gbk", "nothing"])
def test_xml_that_lies_about_its_encoding(door: Door, lie: bytes) -> None:
    assert_quarantined(door, lie, kind=xml_type(door))


@at("BJ25")
@pytest.mark.parametrize("junk", [b"\x00\x01\xfe\xff" * 20, b"\x1f\x8b\x08\x00junk", b"\n\n"])
def test_binary_junk(door: Door, junk: bytes) -> None:
    assert_quarantined(door, junk)


@at("BJ26")
def test_a_form_is_signed_over_its_raw_bytes_and_parked(door: Door) -> None:
    body = b'param_json={"order":"a#b+c d"}&sign=a+b#c%2'
    assert_quarantined(door, body, kind="application/x-www-form-urlencoded")
    assert door.proof(door.push(body)) or door.name == "sf"


# --- yes and no -------------------------------------------------------------------------------

NO_FLAGS: Final = dict.fromkeys(
    ("douyin", "wechat_plain", "wechat_aes", "sf"),
    "nothing that is yes or no is read of its pushes",
)
FLAG: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "shopify": lambda told, flag: put(told, ("test",), flag),
    "miniprogram": lambda told, flag: put(told, ("order", "items", 0, "is_gift"), flag),
    "crm_webhook": lambda told, flag: put(told, ("order", "items", 0, "is_gift"), flag),
    "openjson": lambda told, flag: put(told, ("order", "items", 0, "is_gift"), flag),
}


@at("BJ27", but=NO_FLAGS)
@pytest.mark.parametrize("flag", ["0", 1, 0, "yes", "False"])
def test_what_is_neither_true_nor_false_is_not_guessed(door: Door, flag: Any) -> None:
    assert_quarantined(door, json.dumps(FLAG[door.name](json.loads(door.body()), flag)).encode())


@at("BJ27", but=NO_FLAGS)
def test_true_as_a_text_is_true(door: Door) -> None:
    """Some gateways make texts of everything; ``base.boolean`` declares it."""
    body = json.dumps(FLAG[door.name](json.loads(door.body()), "false")).encode()
    assert door.push(body).post().status_code == 200
    assert [row.state for row in worked_off()] == ["done"]


# --- our own API ------------------------------------------------------------------------------


@row("BJ13")
def test_a_field_our_own_api_does_not_know_is_refused(row: str) -> None:
    key = key_for(user_with(Role.FINANCE), Scope.ORDERS_READ)
    api = Client(headers={"Authorization": f"Token {key}"})
    for name in ("zz_new", "receiver_phone__startswith", "Status"):
        answer = api.get("/api/orders/", {name: "1"})
        assert (answer.status_code, answer.json()["code"]) == (400, "unknown_parameter")
