"""Douyin: signatures, lists that lose nothing, tokens and pushes."""

import hashlib
import hmac
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest

from channels_sync.connectors.douyin.connector import DouyinConnector
from channels_sync.connectors.douyin.wire import canonical, push_sign, sign, spi_sign
from channels_sync.connectors.strict_json import dump_compact
from channels_sync.contracts import (
    BadSignature,
    ErrorClass,
    MessageKind,
    Page,
    Rejected,
    ShopAccess,
    TryLater,
    Unreadable,
    WebhookRequest,
    Window,
)
from tests.channels_sync.douyin_gateway import ACCESS, NOW, OK, WINDOW, Gateway, detail
from tests.channels_sync.platforms import REFERENCE, payload

VECTORS = {
    one["id"]: one
    for one in json.loads((REFERENCE / "signing_vectors.json").read_text(encoding="utf-8"))
    if one["platform"] == "douyin"
}
SIGNED_CALLS = ("douyin-hmac-searchlist", "douyin-hmac-cjk-html", "douyin-hmac-nested")
PUSHES = ("douyin-push-event-sign", "douyin-push-verify")
READER = DouyinConnector(ACCESS)


def numbers(pages: list[Page]) -> list[str]:
    return [message.channel_number for page in pages for message in page.messages]


def order(**changes: Any) -> bytes:
    row = payload("douyin", "order_searchList_page")["data"]["shop_order_list"][0]
    return dump_compact({**row, **changes})


# --- signatures -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SIGNED_CALLS)
def test_a_call_is_signed_as_the_vector_says(name: str) -> None:
    vector = VECTORS[name]
    params = vector["params"]
    found = sign(
        vector["secret"], params["app_key"], params["method"], vector["body"], params["timestamp"]
    )
    assert found == vector["expected_signature"]
    assert found not in {wrong["value"] for wrong in vector.get("wrong_variants", ())}


@pytest.mark.parametrize("name", SIGNED_CALLS)
def test_parameters_are_written_in_the_one_form_that_is_signed(name: str) -> None:
    body = VECTORS[name]["body"]
    scrambled = dict(reversed(list(json.loads(body).items())))
    assert canonical(scrambled) == body


@pytest.mark.parametrize("name", PUSHES)
def test_a_push_of_the_vectors_proves_itself(name: str) -> None:
    vector = VECTORS[name]
    body = vector["body"].encode()
    assert push_sign(ACCESS.app_key, body, vector["secret"]) == vector["expected_signature"]
    READER.verify(push(body, vector["expected_signature"]))


@pytest.mark.parametrize("name", ["douyin-spi-md5", "douyin-spi-hmac"])
def test_what_the_platform_asks_of_us_is_signed_as_the_vector_says(name: str) -> None:
    vector = VECTORS[name]
    params = vector["params"]
    found = spi_sign(
        vector["secret"],
        params["app_key"],
        vector["body"],
        params["timestamp"],
        params["sign_method"],
    )
    assert found == vector["expected_signature"]
    assert found not in {wrong["value"] for wrong in vector.get("wrong_variants", ())}


# --- lists ----------------------------------------------------------------------------------------


def test_a_list_is_asked_from_page_zero_and_read_from_its_last_page() -> None:
    gateway = Gateway(orders=250)
    pages = list(gateway.connector().pull("orders", WINDOW))
    asked = [json.loads(request.content)["page"] for request in gateway.requests]
    assert asked == [0, 2, 1, 0]
    assert len(set(numbers(pages))) == 250
    assert numbers(pages)[-1] > numbers(pages)[0]
    assert gateway.params(0)["update_time_start"] == int(WINDOW.start.timestamp())
    assert gateway.params(0)["update_time_end"] == int(WINDOW.end.timestamp())


def test_a_list_of_one_page_is_asked_for_once() -> None:
    gateway = Gateway(orders=3, refunds=3)
    pages = [list(gateway.connector().pull(feed, WINDOW)) for feed in ("orders", "refunds")]
    assert [len(numbers(found)) for found in pages] == [3, 3]
    assert {message.kind for message in pages[1][0].messages} == {MessageKind.REFUND}
    assert gateway.paths() == ["/order/searchList", "/afterSale/List"]


def test_an_order_that_changes_while_paging_hides_no_other() -> None:
    gateway = Gateway(orders=250)
    everyone = {row["order_id"] for row in gateway.orders}
    gone: list[str] = []

    def leave(page: int) -> None:
        if page == 2:
            gone.append(gateway.orders.pop(120)["order_id"])

    gateway.after_list = leave
    assert set(numbers(list(gateway.connector().pull("orders", WINDOW)))) >= everyone - set(gone)
    assert gone


def test_both_ends_of_a_window_differ_even_when_it_is_a_moment() -> None:
    gateway = Gateway()
    list(gateway.connector().pull("orders", Window(NOW, NOW)))
    params = gateway.params(0)
    assert params["update_time_end"] == params["update_time_start"] + 1


def test_one_broken_order_does_not_cost_its_page() -> None:
    gateway = Gateway()
    good = order(order_id="6900000000000000999").decode()
    broken = order().decode().replace('"pay_amount":11900', '"pay_amount":NaN', 1)
    page = '{"code":10000,"data":{"page":0,"size":100,"total":2,"shop_order_list":['
    text = f"{page}{broken},{good}]}}}}"
    gateway.answers["/order/searchList"] = httpx.Response(200, text=text)
    pages = list(gateway.connector().pull("orders", WINDOW))
    bad, fine = (message.body for page in pages for message in page.messages)
    assert READER.read(fine).payable_amount == Decimal("119.00")
    with pytest.raises(Unreadable):
        READER.read(bad)


def test_an_empty_list_may_come_without_its_key() -> None:
    gateway = Gateway()
    gateway.answers["/order/searchList"] = {**OK, "data": {"page": 0, "size": 100, "total": 0}}
    assert numbers(list(gateway.connector().pull("orders", WINDOW))) == []


@pytest.mark.parametrize("data", [{}, None, {"shop_order_list": []}, {"total": "many"}])
def test_a_list_without_a_total_is_no_empty_list(data: Any) -> None:
    gateway = Gateway()
    gateway.answers["/order/searchList"] = {**OK, "data": data}
    with pytest.raises(TryLater, match="bad_body"):
        list(gateway.connector().pull("orders", WINDOW))


def test_a_census_asks_by_creation_and_counts_with_the_platform() -> None:
    gateway = Gateway(orders=150)
    found = gateway.connector().census(WINDOW)
    assert found.numbers == {row["order_id"] for row in gateway.orders}
    assert found.counted == 150
    for at in range(len(gateway.requests)):
        assert gateway.params(at)["order_by"] == "create_time"
        assert gateway.params(at)["create_time_start"] == int(WINDOW.start.timestamp())


def test_an_order_that_is_not_there_is_refused() -> None:
    gateway = Gateway()
    gateway.answers["/order/orderDetail"] = {"code": 50002, "sub_msg": "订单不存在"}
    with pytest.raises(Rejected):
        gateway.connector().fetch("1")


def test_an_order_without_a_detail_yet_is_asked_for_later() -> None:
    gateway = Gateway()
    gateway.answers["/order/orderDetail"] = {**OK, "data": {}}
    with pytest.raises(TryLater, match="no_detail_yet"):
        gateway.connector().fetch("1")


def test_an_answer_about_another_order_is_not_taken() -> None:
    gateway = Gateway()
    gateway.answers["/order/orderDetail"] = detail()
    with pytest.raises(TryLater, match="bad_body"):
        gateway.connector().fetch("1")


def test_a_fetched_order_reads_like_a_pulled_one() -> None:
    gateway = Gateway()
    gateway.answers["/order/orderDetail"] = detail()
    message = gateway.connector().fetch("6900000000000000101")
    assert message.kind is MessageKind.ORDER
    assert READER.read(message.body) == READER.read(order())
    assert message.channel_number == READER.read(message.body).channel_number


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "error", "klass"),
    [
        ({"code": 60000, "msg": "x"}, TryLater, ErrorClass.RATE_LIMITED),
        ({"code": 20000, "msg": "x"}, TryLater, ErrorClass.PLATFORM),
        ({"code": 10001, "msg": "x"}, TryLater, ErrorClass.PLATFORM),
        ({"code": 30001, "msg": "x"}, Rejected, ErrorClass.AUTH),
        ({"code": 40003, "sub_code": "isv.access-token-expired"}, Rejected, ErrorClass.AUTH),
        ({"code": 40001, "sub_code": "isv.signature-invalid"}, Rejected, ErrorClass.AUTH),
        ({"code": 40004, "msg": "x"}, Rejected, ErrorClass.BUSINESS),
        ({"code": 50002, "msg": "x"}, Rejected, ErrorClass.BUSINESS),
        ({"code": 70000, "msg": "x"}, Rejected, ErrorClass.BUSINESS),
        ({"msg": "no code"}, TryLater, ErrorClass.PLATFORM),
        ({"code": True}, TryLater, ErrorClass.PLATFORM),
        ([], TryLater, ErrorClass.PLATFORM),
    ],
)
def test_a_refusal_is_told_by_its_code(answer: Any, error: type[Any], klass: ErrorClass) -> None:
    gateway = Gateway()
    gateway.answers["/order/searchList"] = httpx.Response(200, json=answer)
    with pytest.raises(error) as refusal:
        gateway.connector().test()
    assert refusal.value.error.klass is klass


def test_a_page_that_is_html_is_asked_again_later() -> None:
    gateway = Gateway()
    gateway.answers["/order/searchList"] = httpx.Response(200, text="<html>login</html>")
    with pytest.raises(TryLater):
        list(gateway.connector().pull("orders", WINDOW))


def test_no_error_carries_a_secret_or_a_token() -> None:
    gateway = Gateway()
    gateway.answers["/order/searchList"] = httpx.ConnectError("refused")
    with pytest.raises(TryLater) as failure:
        gateway.connector().test()
    assert ACCESS.app_secret not in repr(ACCESS)
    assert ACCESS.access_token not in repr(ACCESS) + str(failure.value) + str(failure.value.error)


# --- tokens ---------------------------------------------------------------------------------

STALE = {"code": 40003, "sub_code": "isv.access-token-expired", "msg": "x"}


@pytest.mark.parametrize("kind", ["isv.access-token-expired", "isv.access-token-no-existed"])
def test_a_stale_token_is_renewed_and_the_call_signed_anew(kind: str) -> None:
    gateway = Gateway()
    gateway.answers["/order/orderDetail"] = [{**STALE, "sub_code": kind}, detail()]
    gateway.connector().fetch("6900000000000000101")
    tokens = [request.url.params["access_token"] for request in gateway.requests]
    assert tokens == ["sandbox-douyin-token", "sandbox-douyin-token-renewed"]
    assert gateway.line.stale == ["sandbox-douyin-token"]


def test_a_wrong_signature_renews_nothing() -> None:
    gateway = Gateway()
    gateway.answers["/order/searchList"] = {"code": 40001, "sub_code": "isv.signature-invalid"}
    with pytest.raises(Rejected):
        gateway.connector().test()
    assert gateway.line.stale == []
    assert len(gateway.requests) == 1


def test_a_code_is_traded_for_tokens_without_a_token() -> None:
    gateway = Gateway()
    gateway.answers["/token/create"] = payload("douyin", "token_create_ok")
    tokens = gateway.connector().exchange_code("a-code")
    assert gateway.params() == {"code": "a-code", "grant_type": "authorization_code"}
    assert "access_token" not in gateway.requests[-1].url.params
    assert tokens.access_token == "sandbox-douyin-token"
    assert tokens.refresh_token == "sandbox-douyin-refresh"
    assert tokens.expires_at == NOW + timedelta(days=7)
    assert tokens.refresh_expires_at == NOW + timedelta(days=14)
    assert (tokens.shop_id, tokens.shop_name) == ("4463000001", "虚构抖店")
    assert "sandbox-douyin" not in repr(tokens)


def test_a_shop_with_an_application_of_its_own_needs_no_code() -> None:
    gateway = Gateway()
    gateway.answers["/token/create"] = payload("douyin", "token_create_ok")
    gateway.connector(shop_id="4463000001").exchange_code("")
    assert gateway.params() == {
        "code": "",
        "grant_type": "authorization_self",
        "shop_id": "4463000001",
    }


def test_a_refresh_whose_expiry_is_a_moment_is_that_moment() -> None:
    gateway = Gateway()
    answer = payload("douyin", "token_create_ok")
    answer["data"]["expires_in"] = 1775000000
    gateway.answers["/token/refresh"] = answer
    tokens = gateway.connector().refresh("sandbox-douyin-refresh")
    assert gateway.params()["grant_type"] == "refresh_token"
    assert tokens.expires_at == datetime.fromtimestamp(1775000000, UTC)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ({"code": 50001, "msg": "refresh token 失效"}, Rejected),
        ({**OK, "data": {}}, TryLater),
        ({**OK, "data": {"access_token": {"x": 1}}}, TryLater),
    ],
)
def test_a_refresh_that_gives_no_token_is_an_error(answer: Any, error: type[Any]) -> None:
    gateway = Gateway()
    gateway.answers["/token/refresh"] = answer
    with pytest.raises(error):
        gateway.connector().refresh("sandbox-douyin-refresh")


# --- pushes ---------------------------------------------------------------------------------------


def push(body: bytes, signature: str | None, **headers: str) -> WebhookRequest:
    found = {"app-id": ACCESS.app_key, **{k.replace("_", "-"): v for k, v in headers.items()}}
    if signature is not None:
        found["event-sign"] = signature
    return WebhookRequest("POST", "/hooks/douyin/DY01/", {}, found, body, NOW)


def paid_push() -> bytes:
    return (REFERENCE / "payloads" / "douyin" / "push_101_paid.json").read_bytes()


def good_sign(body: bytes) -> str:
    text = ACCESS.app_key.encode() + body + ACCESS.app_secret.encode()
    return hashlib.md5(text).hexdigest()  # noqa: S324 - the wire


def test_an_authentic_push_is_let_in() -> None:
    READER.verify(push(paid_push(), good_sign(paid_push())))


@pytest.mark.parametrize(
    "signature",
    [
        None,
        "",
        good_sign(paid_push())[:-1],
        good_sign(paid_push()).upper(),
        good_sign(paid_push()) + "," + good_sign(paid_push()),
        push_sign(ACCESS.app_key, paid_push(), "another-secret"),
        push_sign("another-key", paid_push(), ACCESS.app_secret),
        good_sign(json.dumps(json.loads(paid_push())).encode()),
        hmac.new(ACCESS.app_secret.encode(), paid_push(), hashlib.sha256).hexdigest(),
        "签名",
    ],
)
def test_a_push_with_a_bad_signature_is_refused(signature: str | None) -> None:
    with pytest.raises(BadSignature):
        READER.verify(push(paid_push(), signature))


def test_a_push_for_another_application_or_shop_is_refused() -> None:
    body = paid_push()
    with pytest.raises(BadSignature):
        READER.verify(push(body, good_sign(body), app_id="1"))
    with pytest.raises(BadSignature):
        Gateway().connector(shop_id="1").verify(push(body, good_sign(body)))
    Gateway().connector(shop_id="4463000001").verify(push(body, good_sign(body)))


def test_a_shop_without_a_secret_takes_no_push() -> None:
    nobody = DouyinConnector(ShopAccess("x", "https://x.example", ACCESS.app_key, ""))
    with pytest.raises(BadSignature):
        nobody.verify(push(b"[]", push_sign(ACCESS.app_key, b"[]", "")))


def test_a_push_is_cut_into_hints() -> None:
    entries = json.loads(paid_push())
    refunded = {
        "tag": "206",
        "msg_id": "m-2",
        "data": '{"p_id":6900000000000000201,"update_time":"2026-03-01 09:00:00"}',
    }
    body = dump_compact([*entries, refunded, {"tag": "0", "msg_id": "0", "data": "x"}])
    paid, refund_done = READER.split(push(body, good_sign(body)))
    assert {paid.kind, refund_done.kind} == {MessageKind.EVENT}
    assert paid.channel_number == "6900000000000000101"
    assert paid.event_id == "6900000000000000101:101:1772323230:7000000000000000001"
    assert paid.occurred_at == datetime.fromtimestamp(1772323230, UTC)
    event = READER.read_event(refund_done.body)
    assert (event.topic, event.channel_number) == ("206", "6900000000000000201")
    assert event.occurred_at == datetime(2026, 3, 1, 1, 0, tzinfo=UTC)


def test_the_check_of_our_address_leaves_no_row() -> None:
    body = VECTORS["douyin-push-verify"]["body"].encode()
    assert READER.split(push(body, good_sign(body))) == ()


@pytest.mark.parametrize("body", [b"", b"{", b"{}", b"null", b"\xff", b"[" * 5000])
def test_an_authentic_push_that_is_broken_is_kept_whole(body: bytes) -> None:
    READER.verify(push(body, good_sign(body)))
    (message,) = READER.split(push(body, good_sign(body)))
    assert message.kind is MessageKind.UNREADABLE
    assert message.body == body


def test_one_broken_entry_does_not_cost_its_neighbors() -> None:
    body = dump_compact([7, {"tag": "101", "msg_id": "m", "data": "{"}, *json.loads(paid_push())])
    kinds = [message.kind for message in READER.split(push(body, good_sign(body)))]
    assert kinds == [MessageKind.UNREADABLE, MessageKind.UNREADABLE, MessageKind.EVENT]


def test_the_platform_hears_what_stops_it_repeating() -> None:
    reply = READER.acknowledge(push(paid_push(), ""), duplicate=False)
    assert reply.status == 200
    assert json.loads(reply.body) == {"code": 0, "msg": "success"}


def test_the_old_secret_counts_while_it_is_in_grace() -> None:
    body = paid_push()
    signed = push_sign(ACCESS.app_key, body, "the-secret-before")
    with pytest.raises(BadSignature):
        READER.verify(push(body, signed))
    in_grace = replace(ACCESS, old_app_secret="the-secret-before")
    DouyinConnector(in_grace).verify(push(body, signed))
    DouyinConnector(in_grace).verify(push(body, good_sign(body)))


def test_the_check_of_our_address_is_answered_once_it_proves_itself() -> None:
    body = VECTORS["douyin-push-verify"]["body"].encode()
    reply = READER.challenge(push(body, good_sign(body)))
    assert reply is not None
    assert (reply.status, json.loads(reply.body)) == (200, {"code": 0, "msg": "success"})
    with pytest.raises(BadSignature):
        READER.challenge(push(body, "0" * 32))
    for other in (paid_push(), b"[]", b"{", b"{}", b""):
        assert READER.challenge(push(other, good_sign(other))) is None


def test_a_check_among_messages_is_no_check() -> None:
    entries = [{"tag": "0", "msg_id": "0", "data": "x"}, *json.loads(paid_push())]
    body = dump_compact(entries)
    assert READER.challenge(push(body, good_sign(body))) is None
    assert len(READER.split(push(body, good_sign(body)))) == 1


def test_a_push_with_one_entry_for_another_shop_is_refused_whole() -> None:
    stranger = {"tag": "101", "msg_id": "m", "data": '{"p_id":1,"shop_id":99}'}
    body = dump_compact([*json.loads(paid_push()), stranger])
    with pytest.raises(BadSignature):
        Gateway().connector(shop_id="4463000001").verify(push(body, good_sign(body)))


def test_a_message_about_goods_is_kept_and_asks_for_nothing() -> None:
    goods = {"tag": "400", "msg_id": "g-1", "data": '{"product_id":35,"shop_id":4463000001}'}
    body = dump_compact([goods])
    (row,) = READER.split(push(body, good_sign(body)))
    assert (row.kind, row.channel_number) == (MessageKind.NOTE, "")


def test_a_repeated_push_gives_the_same_rows() -> None:
    body = paid_push()
    assert READER.split(push(body, good_sign(body))) == READER.split(push(body, good_sign(body)))
