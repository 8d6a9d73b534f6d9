"""Douyin: the signature, lists that lose nothing, reading, shipping and pushes."""

import hashlib
import hmac
import json
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest

from channels_sync.connectors.base import dump_compact, make_client
from channels_sync.connectors.douyin.connector import DouyinConnector, canonical, push_sign, sign
from channels_sync.contracts import (
    BadSignature,
    ErrorClass,
    MessageKind,
    Page,
    Rejected,
    ShipLine,
    ShipNotice,
    ShopAccess,
    TryLater,
    Unreadable,
    WebhookRequest,
    Window,
)
from ordercenter.orders.contracts import ChannelStatus
from tests.channels_sync.platforms import REFERENCE, payload

NOW = datetime(2026, 3, 1, 1, 8, 7, tzinfo=UTC)
WINDOW = Window(NOW - timedelta(minutes=30), NOW - timedelta(minutes=2))
ACCESS = ShopAccess(
    shop_code="DY01",
    base_url="https://openapi.example",
    app_key="7000000000000000001",
    app_secret="sandbox-douyin-secret",
    access_token="sandbox-douyin-token",
)
VECTORS = {
    one["id"]: one
    for one in json.loads((REFERENCE / "signing_vectors.json").read_text(encoding="utf-8"))
    if one["platform"] == "douyin"
}
SIGNED_CALLS = ("douyin-hmac-searchlist", "douyin-hmac-cjk-html", "douyin-hmac-nested")
PUSHES = ("douyin-push-event-sign", "douyin-push-verify")
OK = {"code": 10000, "msg": "success", "sub_code": "", "sub_msg": ""}


class Gateway:
    """Answers lists as Douyin does: from page 0, newest first unless asked otherwise."""

    def __init__(self, orders: int = 0, refunds: int = 0) -> None:
        first = payload("douyin", "order_searchList_page")["data"]["shop_order_list"][0]
        refund = payload("douyin", "afterSale_List_page")["data"]["items"][0]
        self.orders = [
            {**deepcopy(first), "order_id": f"69{n:017d}", "update_time": 1772323800 + n}
            for n in range(orders)
        ]
        self.refunds = [deepcopy(refund) for _ in range(refunds)]
        for n, one in enumerate(self.refunds):
            one["aftersale_info"]["aftersale_id"] = f"70{n:016d}"
        self.requests: list[httpx.Request] = []
        self.answers: dict[str, Any] = {}
        self.after_list: Any = lambda page: None

    def connector(self, **options: str) -> DouyinConnector:
        access = ShopAccess(**{**fields(ACCESS), "options": options})
        client = make_client(transport=httpx.MockTransport(self._handle))
        return DouyinConnector(access, client, lambda: NOW)

    def params(self, at: int = -1) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.requests[at].content)
        return found

    def paths(self) -> list[str]:
        return [request.url.path for request in self.requests]

    def _handle(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        check_signature(request)
        params = json.loads(request.content)
        answer = self.answers.get(request.url.path)
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, httpx.Response):
            return answer
        if answer is None:
            answer = self._list(request.url.path, params)
        return httpx.Response(200, json=answer)

    def _list(self, path: str, params: dict[str, Any]) -> dict[str, Any]:
        page, size = params["page"], params["size"]
        if path == "/order/searchList":
            rows = sorted(
                self.orders, key=lambda row: row["update_time"], reverse=not params["order_asc"]
            )
            found = rows[page * size : (page + 1) * size]
            data = {"page": page, "size": size, "total": len(rows), "shop_order_list": found}
            self.after_list(page)
        else:
            found = self.refunds[page * size : (page + 1) * size]
            more = (page + 1) * size < len(self.refunds)
            data = {"items": found, "has_more": more, "total": len(self.refunds)}
        return {**OK, "data": data}


def fields(access: ShopAccess) -> dict[str, Any]:
    names = ("shop_code", "base_url", "app_key", "app_secret", "access_token", "options")
    return {name: getattr(access, name) for name in names}


def check_signature(request: httpx.Request) -> None:
    """The gateway's own reading of ``channels.md`` 3a."""
    query = dict(request.url.params)
    body = request.content.decode()
    assert body == json.dumps(
        json.loads(body), ensure_ascii=False, sort_keys=True, separators=(",", ":")
    )
    secret = ACCESS.app_secret
    text = (
        secret + "app_key" + query["app_key"] + "method" + query["method"] + "param_json" + body
    ) + ("timestamp" + query["timestamp"] + "v" + query["v"] + secret)
    found = hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()
    assert query["sign"] == found
    assert query["sign_method"] == "hmac-sha256"
    assert query["access_token"] == ACCESS.access_token
    assert query["method"] == request.url.path.strip("/").replace("/", ".")


def numbers(pages: list[Page], kind: MessageKind = MessageKind.ORDER) -> list[str]:
    return [m.channel_number for page in pages for m in page.messages if m.kind is kind]


def order(**changes: Any) -> bytes:
    row = payload("douyin", "order_searchList_page")["data"]["shop_order_list"][0]
    return dump_compact({**row, **changes})


def order_with_line(**changes: Any) -> bytes:
    row = json.loads(order())
    row["sku_order_list"][0] |= changes
    return dump_compact(row)


def refund(**changes: Any) -> bytes:
    row = payload("douyin", "afterSale_List_page")["data"]["items"][0]
    row["aftersale_info"] |= changes
    return dump_compact(row)


READER = DouyinConnector(ACCESS)


# --- signatures -----------------------------------------------------------------------------


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


# --- lists ----------------------------------------------------------------------------------


def test_a_list_is_asked_from_page_zero_and_read_from_its_last_page() -> None:
    gateway = Gateway(orders=250, refunds=3)
    pages = list(gateway.connector().pull(WINDOW))
    asked = [
        json.loads(request.content)["page"]
        for request in gateway.requests
        if request.url.path == "/order/searchList"
    ]
    assert asked == [0, 2, 1, 0]
    assert len(set(numbers(pages))) == 250
    assert numbers(pages)[-1] > numbers(pages)[0]
    assert len(numbers(pages, MessageKind.REFUND)) == 3
    assert gateway.params(0)["update_time_start"] == int(WINDOW.start.timestamp())
    assert gateway.params(0)["update_time_end"] == int(WINDOW.end.timestamp())


def test_a_list_of_one_page_is_asked_for_once() -> None:
    gateway = Gateway(orders=3)
    assert len(numbers(list(gateway.connector().pull(WINDOW)))) == 3
    assert gateway.paths() == ["/order/searchList", "/afterSale/List"]


def test_an_order_that_changes_while_paging_hides_no_other() -> None:
    gateway = Gateway(orders=250)
    everyone = {row["order_id"] for row in gateway.orders}
    gone: list[str] = []

    def leave(page: int) -> None:
        if page == 2:
            gone.append(gateway.orders.pop(120)["order_id"])

    gateway.after_list = leave
    assert set(numbers(list(gateway.connector().pull(WINDOW)))) >= everyone - set(gone)
    assert gone


def test_both_ends_of_a_window_differ_even_when_it_is_a_moment() -> None:
    gateway = Gateway()
    list(gateway.connector().pull(Window(NOW, NOW)))
    params = gateway.params(0)
    assert params["update_time_end"] == params["update_time_start"] + 1


def test_one_broken_order_does_not_cost_its_page() -> None:
    gateway = Gateway()
    good = order(order_id="6900000000000000999").decode()
    broken = order().decode().replace('"pay_amount":11900', '"pay_amount":NaN', 1)
    page = '{"code":10000,"data":{"page":0,"size":100,"total":2,"shop_order_list":['
    text = f"{page}{broken},{good}]}}}}"
    gateway.answers["/order/searchList"] = httpx.Response(200, text=text)
    pages = list(gateway.connector().pull(WINDOW))
    bad, fine = (message.body for page in pages for message in page.messages)
    assert READER.read(fine).payable_amount == Decimal("119.00")
    with pytest.raises(Unreadable):
        READER.read(bad)


# --- refusals -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "error", "klass"),
    [
        ({"code": 60000, "msg": "x"}, TryLater, ErrorClass.RATE_LIMITED),
        ({"code": 20000, "msg": "x"}, TryLater, ErrorClass.PLATFORM),
        ({"code": 10001, "msg": "x"}, TryLater, ErrorClass.PLATFORM),
        ({"code": 30001, "msg": "x"}, Rejected, ErrorClass.AUTH),
        ({"code": 40003, "sub_code": "isv.access-token-expired"}, Rejected, ErrorClass.AUTH),
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
        list(gateway.connector().pull(WINDOW))


def test_no_error_carries_a_secret_or_a_token() -> None:
    gateway = Gateway()
    gateway.answers["/order/searchList"] = httpx.ConnectError("refused")
    with pytest.raises(TryLater) as failure:
        gateway.connector().test()
    assert ACCESS.app_secret not in repr(ACCESS)
    assert ACCESS.access_token not in repr(ACCESS) + str(failure.value) + str(failure.value.error)


# --- reading --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "status", "paid"),
    [
        ({"order_status": 1, "main_status": 1, "pay_time": 0}, ChannelStatus.WAIT_PAY, "0.00"),
        ({"order_status": 105, "main_status": 105}, ChannelStatus.ON_HOLD, "119.00"),
        ({"order_status": 2}, ChannelStatus.WAIT_SHIP, "119.00"),
        ({"order_status": 101, "main_status": 101}, ChannelStatus.PART_SHIPPED, "119.00"),
        ({"order_status": 3, "main_status": 3}, ChannelStatus.SHIPPED, "119.00"),
        ({"order_status": 5, "main_status": 5}, ChannelStatus.FINISHED, "119.00"),
        ({"order_status": 4, "main_status": 21}, ChannelStatus.CLOSED_REFUNDED, "119.00"),
        ({"order_status": 4, "main_status": 4}, ChannelStatus.CLOSED, "119.00"),
        ({"order_status": 4, "main_status": 4, "pay_time": 0}, ChannelStatus.CLOSED_UNPAID, "0.00"),
        ({"order_status": 77, "main_status": 77}, ChannelStatus.UNKNOWN, "119.00"),
        ({"order_status": 2, "pay_type": 0}, ChannelStatus.WAIT_SHIP, "0.00"),
        ({"order_status": 5, "main_status": 5, "pay_type": 0}, ChannelStatus.FINISHED, "119.00"),
    ],
)
def test_a_status_says_what_has_been_paid(
    changes: dict[str, Any], status: ChannelStatus, paid: str
) -> None:
    draft = READER.read(order(**changes))
    assert draft.status is status
    assert draft.paid_amount == Decimal(paid)


def test_a_deposit_is_money_in_and_goods_not_out() -> None:
    phases = [
        {"phase_order_id": "1", "pay_success": 1, "phase_pay_amount": 2000},
        {"phase_order_id": "2", "pay_success": 0, "phase_pay_amount": 0},
    ]
    draft = READER.read(order(order_status=1, main_status=103, order_phase_list=phases))
    assert draft.status is ChannelStatus.DEPOSIT_PAID
    assert draft.paid_amount == Decimal("20.00")
    assert draft.is_presale
    assert not draft.is_paid


def test_freight_is_taken_out_of_the_lines() -> None:
    page = payload("douyin", "order_searchList_page")["data"]["shop_order_list"][1]
    draft = READER.read(dump_compact(page))
    assert [line.amount for line in draft.lines] == [Decimal("119.80"), Decimal("24.90")]
    assert sum(line.amount for line in draft.lines) + draft.freight == draft.payable_amount


def test_a_masked_receiver_is_no_evidence() -> None:
    receiver = READER.read(order()).receiver
    assert receiver is not None
    assert receiver.is_masked
    assert receiver.phone == "1********01"
    assert (receiver.province, receiver.city) == ("浙江省", "宁波市")
    assert (receiver.district, receiver.town) == ("鄞州区", "示例街道")
    assert receiver.oaid == "#sandboxOpenAddressId101"
    assert READER.read(order()).evidence.buyer_id == "1@#sandboxDoudianOpenId101"


@pytest.mark.parametrize(
    ("info", "state"),
    [
        ({"after_sale_status": 0}, "none"),
        ({"after_sale_status": 6, "refund_status": 1}, "in_progress"),
        ({"after_sale_status": 7}, "in_progress"),
        ({"after_sale_status": 12, "refund_status": 1}, "in_progress"),
        ({"after_sale_status": 12, "refund_status": 3}, "refunded"),
        ({"after_sale_status": 12, "refund_status": 4}, "in_progress"),
        ({"after_sale_status": 28}, "closed"),
        ({"after_sale_status": 99}, "in_progress"),
    ],
)
def test_what_is_not_known_to_be_over_is_under_way(info: dict[str, Any], state: str) -> None:
    draft = READER.read(order_with_line(after_sale_info=info))
    assert draft.lines[0].refund_state == state


@pytest.mark.parametrize(
    "body",
    [
        order(pay_amount=-1),
        order(pay_amount="119.00"),
        order(pay_amount=True),
        order(create_time=1772323200000),
        order(create_time=0),
        order(sku_order_list=[]),
        order(order_id=" "),
        order_with_line(item_num=0),
        order_with_line(item_num=Decimal("1.5")),
        order_with_line(item_num="1_000"),
        b'{"order_id":"1","order_id":"2"}',
        order()[:-5],
    ],
)
def test_a_broken_order_is_refused_with_words(body: bytes) -> None:
    with pytest.raises(Unreadable) as reason:
        READER.read(body)
    assert str(reason.value)


def test_a_number_above_two_to_the_53_keeps_its_digits() -> None:
    draft = READER.read(order(order_id=6900000000000000101))
    assert draft.channel_number == "6900000000000000101"


@pytest.mark.parametrize(
    ("changes", "state", "returns", "intercept"),
    [
        ({"aftersale_type": 2, "aftersale_status": 6}, "in_progress", False, True),
        (
            {"aftersale_type": 2, "aftersale_status": 12, "refund_status": 3},
            "refunded",
            False,
            True,
        ),
        ({"aftersale_type": 1, "aftersale_status": 7}, "in_progress", False, True),
        ({"aftersale_type": 2, "aftersale_status": 28}, "closed", False, False),
        ({"aftersale_type": 0, "aftersale_status": 7}, "in_progress", True, False),
        ({"aftersale_type": 3, "aftersale_status": 14}, "done", True, False),
        ({"aftersale_type": 6, "aftersale_status": 6}, "in_progress", False, False),
        ({"aftersale_type": 7, "aftersale_status": 8}, "in_progress", False, False),
    ],
)
def test_only_money_without_goods_stops_a_parcel(
    changes: dict[str, Any], state: str, returns: bool, intercept: bool
) -> None:
    draft = READER.read_refund(refund(**changes))
    assert draft.refund_state == state
    assert draft.return_goods is returns
    assert draft.intercept_shipping is intercept


def test_a_refund_of_less_than_the_line_is_partial() -> None:
    changes = {"aftersale_status": 12, "refund_status": 3, "refund_amount": 100}
    assert READER.read_refund(refund(**changes)).refund_state == "partial"


# --- shipping -------------------------------------------------------------------------------


def notice(*lines: ShipLine, carrier: str = "sf") -> ShipNotice:
    return ShipNotice("ship-1", "6900000000000000101", carrier, "SF100", NOW, lines)


def shipped(number: str) -> dict[str, Any]:
    detail = payload("douyin", "order_orderDetail_discount_gift_encrypted")
    detail["data"]["shop_order_detail"]["logistics_info"] = [{"tracking_no": number}]
    return detail


def test_a_whole_order_is_shipped_without_turning_down_a_refund() -> None:
    gateway = Gateway()
    gateway.answers["/order/logisticsAdd"] = payload("douyin", "order_logisticsAdd_ok")
    gateway.connector().ship(notice())
    assert gateway.params() == {
        "order_id": "6900000000000000101",
        "company_code": "shunfeng",
        "logistics_code": "SF100",
        "is_reject_refund": False,
    }


def test_a_part_is_shipped_under_the_key_of_its_notice() -> None:
    gateway = Gateway()
    answer = payload("douyin", "order_logisticsAddSinglePack_ok")
    gateway.answers["/order/logisticsAddSinglePack"] = answer
    gateway.connector().ship(notice(ShipLine("6900000000000000102", 1)))
    params = gateway.params()
    assert params["request_id"] == "ship-1"
    assert params["shipped_order_info"] == [
        {"shipped_order_id": "6900000000000000102", "shipped_num": 1}
    ]
    assert not params.get("is_reject_refund")


@pytest.mark.parametrize(
    "refusal",
    [
        {"code": 40003, "sub_code": "isv.idempotent-id-existed", "msg": "x"},
        {"code": 50002, "sub_code": "isv.business-failed", "sub_msg": "订单已发货"},
    ],
)
def test_the_same_notice_twice_is_a_success(refusal: dict[str, Any]) -> None:
    gateway = Gateway()
    gateway.answers = {"/order/logisticsAdd": refusal, "/order/orderDetail": shipped("SF100")}
    gateway.connector().ship(notice())


def test_another_parcel_on_a_shipped_order_is_refused() -> None:
    gateway = Gateway()
    refusal = {"code": 50002, "sub_code": "isv.business-failed", "sub_msg": "订单已发货"}
    gateway.answers = {"/order/logisticsAdd": refusal, "/order/orderDetail": shipped("SF999")}
    with pytest.raises(Rejected):
        gateway.connector().ship(notice())


@pytest.mark.parametrize(
    "answer",
    [
        {"code": 20001, "msg": "timeout"},
        httpx.ReadTimeout("slow"),
        httpx.Response(502),
        httpx.Response(200, text="{"),
    ],
)
def test_a_lost_answer_leaves_the_outcome_unknown(answer: Any) -> None:
    gateway = Gateway()
    gateway.answers["/order/logisticsAdd"] = answer
    with pytest.raises(TryLater) as failure:
        gateway.connector().ship(notice())
    assert failure.value.outcome_unknown


def test_a_call_that_never_left_is_known_not_to_have_worked() -> None:
    gateway = Gateway()
    gateway.answers["/order/logisticsAdd"] = httpx.ConnectError("refused")
    with pytest.raises(TryLater) as failure:
        gateway.connector().ship(notice())
    assert not failure.value.outcome_unknown


def test_a_carrier_nobody_named_is_refused_before_any_call() -> None:
    gateway = Gateway()
    with pytest.raises(Rejected):
        gateway.connector().ship(notice(carrier="pigeon"))
    assert not gateway.requests


def test_an_order_that_is_not_there_is_refused() -> None:
    gateway = Gateway()
    gateway.answers["/order/orderDetail"] = {**OK, "data": {}}
    with pytest.raises(Rejected):
        gateway.connector().fetch("1")


def test_a_fetched_order_reads_like_a_pulled_one() -> None:
    gateway = Gateway()
    detail = payload("douyin", "order_orderDetail_discount_gift_encrypted")
    gateway.answers["/order/orderDetail"] = detail
    message = gateway.connector().fetch("6900000000000000401")
    draft = READER.read(message.body)
    assert draft.channel_number == message.channel_number
    assert draft.has_gift


# --- pushes ---------------------------------------------------------------------------------


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
    reply = READER.acknowledge(push(paid_push(), ""))
    assert reply.status == 200
    assert json.loads(reply.body) == {"code": 0, "msg": "success"}
