"""WeChat's pushes: plain or sealed, JSON or XML; what does not prove itself is not let in."""

import base64
import hashlib
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CBC

from channels_sync.connectors.wechat import pushes
from channels_sync.connectors.wechat.connector import WeChatConnector
from channels_sync.contracts import (
    BadSignature,
    MessageKind,
    ShopAccess,
    Unreadable,
    WebhookRequest,
)
from tests.channels_sync.platforms import REFERENCE

NOW = datetime(2026, 3, 1, 1, 8, 7, tzinfo=UTC)
STAMP = str(int(NOW.timestamp()))
NONCE = "486234"
TOKEN = "pamtest"
AES_KEY = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"
APP_ID = "wx0000000000000001"
PLAIN = WeChatConnector(ShopAccess("WX01", "", APP_ID, "", secrets={"push_token": TOKEN}))
SECURE = WeChatConnector(
    ShopAccess(
        "WX01", "", APP_ID, "", secrets={"push_token": TOKEN, "encoding_aes_key": AES_KEY}
    )
)  # fmt: skip
BODY = (REFERENCE / "payloads" / "wechat" / "event_order_pay.json").read_bytes()
EVENT_ID = "oSandboxOpenId000101|1772323221|channels_ec_order_pay|3700000000000000101"
XML = b"""<xml><ToUserName><![CDATA[gh_1]]></ToUserName>
<FromUserName><![CDATA[oSandboxOpenId000101]]></FromUserName>
<CreateTime>1772323221</CreateTime><MsgType><![CDATA[event]]></MsgType>
<Event><![CDATA[channels_ec_order_pay]]></Event>
<order_info><order_id>3700000000000000101</order_id><pay_time>1772323220</pay_time></order_info>
</xml>"""


def sha1(*parts: str) -> str:
    return hashlib.sha1("".join(sorted(parts)).encode()).hexdigest()  # noqa: S324


def seal(message: bytes, app_id: str = APP_ID) -> str:
    """An own reading of the scheme, so that ours is not checked by itself."""
    key = base64.b64decode(AES_KEY + "=")
    text = b"0123456789abcdef" + len(message).to_bytes(4, "big") + message + app_id.encode()
    pad = 32 - len(text) % 32
    sealer = Cipher(AES256(key), CBC(key[:16])).encryptor()
    sealed = sealer.update(text + bytes([pad]) * pad) + sealer.finalize()
    return base64.b64encode(sealed).decode()


def push(body: bytes = BODY, **query: str) -> WebhookRequest:
    found = {"timestamp": STAMP, "nonce": NONCE, "signature": sha1(TOKEN, STAMP, NONCE)} | query
    return WebhookRequest("POST", "/hooks/wechat/WX01/", found, {}, body, NOW)


def sealed(message: bytes = BODY, *, app_id: str = APP_ID, **query: str) -> WebhookRequest:
    encrypted = seal(message, app_id)
    body = json.dumps({"ToUserName": "gh_1", "Encrypt": encrypted}).encode()
    signature = sha1(TOKEN, STAMP, NONCE, encrypted)
    return push(body, **({"msg_signature": signature} | query))


def test_a_plain_push_becomes_a_hint_with_the_id_the_reference_gives_it() -> None:
    PLAIN.verify(push())
    (message,) = PLAIN.split(push())
    assert (message.kind, message.body) == (MessageKind.EVENT, BODY)
    assert (message.event_id, message.channel_number) == (EVENT_ID, "3700000000000000101")
    assert message.occurred_at == datetime(2026, 3, 1, 0, 0, 21, tzinfo=UTC)
    reply = PLAIN.acknowledge(push(), duplicate=False)
    assert (reply.status, reply.body) == (200, b"success")


def test_a_sealed_push_is_kept_in_the_clear_and_reads_without_a_key() -> None:
    SECURE.verify(sealed())
    (message,) = SECURE.split(sealed())
    assert (message.kind, message.body, message.event_id) == (MessageKind.EVENT, BODY, EVENT_ID)
    reader = WeChatConnector(ShopAccess("", "", "", ""))
    assert reader.read_event(message.body).channel_number == "3700000000000000101"


def test_xml_reads_like_json() -> None:
    (message,) = PLAIN.split(push(XML))
    assert (message.kind, message.event_id) == (MessageKind.EVENT, EVENT_ID)
    assert PLAIN.read_event(XML) == PLAIN.read_event(BODY)
    assert PLAIN.read_document(XML).events == PLAIN.read_document(BODY).events
    encrypted = seal(XML)
    envelope = f"<xml><Encrypt><![CDATA[{encrypted}]]></Encrypt></xml>".encode()
    request = push(envelope, msg_signature=sha1(TOKEN, STAMP, NONCE, encrypted))
    SECURE.verify(request)
    assert SECURE.split(request)[0].event_id == EVENT_ID


@pytest.mark.parametrize(
    ("event", "number", "event_id"),
    [
        ({"order_info": {"order_id": "3700000000000000101", "pay_time": "1"}},
         "3700000000000000101", "u|7|e|3700000000000000101"),
        ({"finder_shop_aftersale_status_update": {"order_id": 37, "after_sale_order_id": 99}},
         "37", "u|7|e|37"),
        ({"finder_shop_aftersale_status_update": {"after_sale_order_id": 99}}, None, "u|7|e|99"),
        ({}, None, "u|7|e|"),
        ({"order_info": {"order_id": 0}}, None, "u|7|e|"),
    ],
)  # fmt: skip
def test_an_event_names_its_order_wherever_it_stands(
    event: dict[str, Any], number: str | None, event_id: str
) -> None:
    body = json.dumps({"FromUserName": "u", "CreateTime": 7, "Event": "e", **event})
    changed = body.replace('"CreateTime": 7', '"CreateTime": 1772323221').encode()
    found = PLAIN.read_event(changed)
    assert found.channel_number == number
    assert found.event_id == event_id.replace("|7|", "|1772323221|")


# --- proving ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "query",
    [
        {"signature": ""},
        {"signature": sha1(TOKEN, STAMP, NONCE)[:-1]},
        {"signature": sha1(TOKEN, STAMP, NONCE).upper()},
        {"signature": sha1("another", STAMP, NONCE)},
        {"signature": sha1(TOKEN, STAMP)},
        {"signature": "签名"},
        {"nonce": "other"},
        {"timestamp": ""},
        {"timestamp": "now"},
        {"timestamp": f"{STAMP}000"},
    ],
)
def test_a_plain_push_that_does_not_prove_itself_is_refused(query: dict[str, str]) -> None:
    with pytest.raises(BadSignature):
        PLAIN.verify(push(BODY, **query))


@pytest.mark.parametrize("seconds", [-301, 301, -3600, 30 * 86_400])
def test_a_push_of_another_time_is_refused_though_signed(seconds: int) -> None:
    stamp = str(int(STAMP) + seconds)
    request = push(timestamp=stamp, signature=sha1(TOKEN, stamp, NONCE))
    with pytest.raises(BadSignature, match="stale"):
        PLAIN.verify(request)
    access = ShopAccess("", "", APP_ID, "", secrets={"push_token": TOKEN},
                        options={"push_skew_seconds": "0"})  # fmt: skip
    WeChatConnector(access).verify(request)


def test_milliseconds_are_refused_though_signed() -> None:
    stamp = f"{STAMP}000"
    with pytest.raises(BadSignature):
        PLAIN.verify(push(timestamp=stamp, signature=sha1(TOKEN, stamp, NONCE)))


@pytest.mark.parametrize(
    "request_",
    [
        push(),
        sealed(app_id="wx0000000000000002"),
        sealed(app_id=""),
        sealed(msg_signature=""),
        sealed(msg_signature=sha1(TOKEN, STAMP, NONCE)),
        sealed(msg_signature=sha1("another", STAMP, NONCE, seal(BODY))),
        push(b"{", msg_signature="x"),
        push(b'{"Encrypt": 7}', msg_signature=sha1(TOKEN, STAMP, NONCE, "7")),
        push(b'{"Encrypt": ""}', msg_signature=sha1(TOKEN, STAMP, NONCE, "")),
        push(b'{"Encrypt": "AAAA"}', msg_signature=sha1(TOKEN, STAMP, NONCE, "AAAA")),
    ],
)
def test_a_shop_with_a_key_takes_sealed_pushes_of_its_own_only(request_: WebhookRequest) -> None:
    with pytest.raises(BadSignature):
        SECURE.verify(request_)
    assert SECURE.split(request_)[0].kind is MessageKind.UNREADABLE


def test_a_shop_without_a_token_takes_no_push() -> None:
    nobody = WeChatConnector(ShopAccess("", "", APP_ID, ""))
    with pytest.raises(BadSignature):
        nobody.verify(push(signature=sha1("", STAMP, NONCE)))


# --- the address check ------------------------------------------------------------------------


def echo(text: str = "4417013906372341882", **query: str) -> WebhookRequest:
    found = push(BODY, echostr=text, **query)
    return WebhookRequest("GET", found.path, found.query, {}, b"", NOW)


def test_the_address_check_is_answered_by_its_own_words() -> None:
    reply = PLAIN.challenge(echo())
    assert reply is not None
    assert (reply.body, reply.content_type) == (b"4417013906372341882", "text/plain")
    assert SECURE.challenge(echo()) == reply
    assert PLAIN.challenge(push()) is None


@pytest.mark.parametrize(
    "request_",
    [echo(signature="x"), echo("<script>"), echo(""), echo("a b"), echo("9" * 65), echo("é")],
)
def test_the_address_check_echoes_nothing_strange(request_: WebhookRequest) -> None:
    with pytest.raises(BadSignature):
        PLAIN.challenge(request_)


# --- broken bodies ----------------------------------------------------------------------------

BOMB = b"""<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY lol "lol">
<!ENTITY lol2 "&lol;&lol;&lol;&lol;&lol;&lol;&lol;&lol;">]><xml><Event>&lol2;</Event></xml>"""
FETCH = b"""<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/passwd">]><xml><Event>&f;</Event></xml>"""


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff",
        b'{"Event": "x", "Event": "y"}',
        b'{"CreateTime": 1}',
        b'{"Event": "x", "CreateTime": 1772323221000}',
        BOMB,
        FETCH,
        b"<xml>",
        b"<xml></xml>",
        b"<xml>text</xml>",
        b"<xml><Event>&nbsp;</Event></xml>",
        b"<xml><!doctype x><Event>e</Event></xml>",
        b'<?xml version="1.0" encoding="GBK"?><xml><Event>e</Event></xml>',
        '<?xml version="1.0" encoding="UTF-8"?><xml><Event>支付</Event></xml>'.encode("gbk"),
        "<xml><Event>e</Event></xml>".encode("utf-16"),
        b"<xml>" + b"<a>" * 30_000 + b"</a>" * 30_000 + b"</xml>",
        b"<xml>" + b"<a>" * 40_000,
        b"<xml><Event>" + b"e" * pushes.MAX_XML_BYTES + b"</Event></xml>",
    ],
)
def test_an_authentic_push_that_is_broken_is_kept_whole(body: bytes) -> None:
    PLAIN.verify(push(body))
    (message,) = PLAIN.split(push(body))
    assert (message.kind, message.body) == (MessageKind.UNREADABLE, body)
    with pytest.raises(Unreadable):
        PLAIN.read_event(body)


def test_text_that_looks_like_a_declaration_is_only_text() -> None:
    body = XML.replace(b"gh_1", b"<!DOCTYPE harmless>")
    assert PLAIN.read_event(body).event_id == EVENT_ID


def test_a_sealed_document_needs_its_key() -> None:
    with pytest.raises(Unreadable, match="EncodingAESKey"):
        PLAIN.read_document(sealed().body)
