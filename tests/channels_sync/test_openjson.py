"""The eighth channel: a shop system nobody wrote a connector for, by options and a field map."""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest

from channels_sync.connectors.exchange import make_client
from channels_sync.connectors.field_map import FieldMap
from channels_sync.connectors.openjson.connector import OpenJsonConnector
from channels_sync.connectors.openjson.templates import filled
from channels_sync.connectors.stamped import stamp_sign
from channels_sync.contracts import (
    BadSignature,
    ErrorClass,
    Memo,
    MessageKind,
    Page,
    Rejected,
    ShipLine,
    ShipNotice,
    ShopAccess,
    StockFigure,
    TryLater,
    Unreadable,
    Unsupported,
    WebhookRequest,
    Window,
)
from ordercenter.orders.contracts import ChannelStatus
from tests.channels_sync.platforms import NOW, WINDOW

ORDER: dict[str, Any] = {
    "order_no": "A-1001",
    "status": "paid",
    "currency": "CNY",
    "total_amount": "120.00",
    "discount_amount": "20.00",
    "freight_amount": 8,
    "paid_amount": "108.00",
    "created_at": "2026-03-01T09:00:00+08:00",
    "updated_at": 1772327287,
    "paid_at": "2026-03-01 09:01:00",
    "items": [
        {
            "line_no": "1",
            "sku_code": "CUP-1",
            "title": "杯子",
            "qty": 2,
            "unit_price": "60.00",
            "discount_amount": "20.00",
        }
    ],
    "receiver": {"province": "江苏省", "name": "林**"},
}
OPTIONS = {
    "orders_url": "/api/orders",
    "orders_query": '{"since":"{start}","until":"{end}","cursor":"{cursor}","limit":"2"}',
    "order_url": "/api/orders/{number}",
    "ship_url": "/api/orders/{number}/ship",
    "ship_body": '{"company":"{carrier}","no":"{tracking_number}","items":"{lines}"}',
    "ship_line": '{"id":"{line}","n":"{quantity}"}',
    "carrier.sf": "SFEXPRESS",
}
NOTICE = ShipNotice("key-1", "A-1001", "sf", "SF100", NOW, lines=(ShipLine("1", 2),))
STRANGER: dict[str, Any] = {
    "page": {"orders": {"from": ["result.list"]}, "next_cursor": {"from": ["result.next"]}},
    "order": {
        "channel_number": {"from": ["sn"]},
        "status": {"from": ["state"], "values": {"20": "wait_ship", "30": "shipped"}},
        "payable_amount": {"from": ["pay_fen"], "as": "fen"},
        "placed_at": {"from": ["ctime"], "as": "unix_milliseconds"},
        "modified_at": {"from": ["mtime"], "as": "unix_milliseconds"},
        "lines": {"from": ["goods.row?"]},
    },
    "line": {
        "outer_code": {"from": ["code"]},
        "quantity": {"from": ["num"]},
        "unit_price": {"from": ["fen"], "as": "fen"},
    },
    "receiver": {"name": {"from": ["receiver_name", "customer.first_name"]}},
}


class Shop:
    """A shop system: answers by path, remembers what it was asked."""

    def __init__(self, answers: Mapping[str, Any]) -> None:
        self.answers = dict(answers)
        self.asked: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        answer = self.answers[request.url.path]
        answer = answer(request) if callable(answer) else answer
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, httpx.Response) else httpx.Response(200, json=answer)

    def connector(self, field_map: FieldMap | None = None, **options: str) -> OpenJsonConnector:
        access = ShopAccess(
            "t1", "https://shop.example", "app", "a-secret", "a-token",
            options={**OPTIONS, **options},
        )  # fmt: skip
        client = make_client(transport=httpx.MockTransport(self))
        return OpenJsonConnector(access, client, lambda: NOW, field_map=field_map)


def push(body: bytes, *, at: datetime = NOW, event_id: str = "") -> WebhookRequest:
    timestamp = str(int(at.timestamp()))
    headers = {"x-timestamp": timestamp, "x-signature": stamp_sign("a-secret", timestamp, body)}
    return WebhookRequest("POST", "/hook", {}, headers | {"x-event-id": event_id}, body, NOW)


def dumped(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


READER = OpenJsonConnector(ShopAccess("", "", "", ""))


# --- reading --------------------------------------------------------------------------------------


def test_an_order_in_our_own_vocabulary_needs_no_map() -> None:
    order = READER.read(dumped(ORDER))
    assert (order.channel_number, order.status) == ("A-1001", ChannelStatus.WAIT_SHIP)
    assert (order.payable_amount, order.paid_amount) == (Decimal("108.00"), Decimal("108.00"))
    assert order.lines[0].amount == Decimal("100.00")
    assert order.modified_at == datetime(2026, 3, 1, 1, 8, 7, tzinfo=UTC)
    assert order.receiver is not None
    assert order.receiver.is_masked


def test_a_strange_system_is_read_by_its_map_alone() -> None:
    fields = FieldMap.packaged("openjson").changed(STRANGER)
    reader = OpenJsonConnector(ShopAccess("", "", "", ""), field_map=fields)
    body = {
        "sn": 90071992547409931, "state": 20, "pay_fen": 1990, "ctime": 1772327287000,
        "mtime": 1772327287500, "goods": {"row": {"code": "X", "num": "1", "fen": 1990}},
        "customer": {"first_name": "乙"},
    }  # fmt: skip
    order = reader.read(dumped(body))
    assert order.channel_number == "90071992547409931"
    assert (order.status, order.payable_amount) == (ChannelStatus.WAIT_SHIP, Decimal("19.90"))
    assert order.receiver is not None
    assert order.receiver.name == "乙"
    document = reader.read_document(dumped({"result": {"list": [body], "next": "c2"}}))
    assert document.orders == (order,)
    assert document.facts["page"] == {"has_next": None, "next_cursor": "c2", "total": None}


def test_a_status_nobody_mapped_is_unknown_not_guessed() -> None:
    order = READER.read(dumped({**ORDER, "status": "weird"}))
    assert (order.status, order.status_raw) == (ChannelStatus.UNKNOWN, "weird")


@pytest.mark.parametrize(
    ("changes", "status", "paid"),
    [
        ({"status": "unpaid", "paid_amount": "0.00", "paid_at": None}, "wait_pay", "0.00"),
        ({"status": "cancelled", "paid_amount": 0, "paid_at": None}, "closed_unpaid", "0.00"),
        ({"status": "cancelled"}, "closed", "108.00"),
        ({"status": "deposit_paid", "paid_amount": "10.00"}, "deposit_paid", "10.00"),
        ({"paid_amount": None}, "wait_ship", "108.00"),
    ],
)
def test_what_was_paid_follows_the_status(changes: Any, status: str, paid: str) -> None:
    order = READER.read(dumped({**ORDER, **changes}))
    assert (order.status, order.paid_amount) == (status, Decimal(paid))


def test_a_system_that_makes_two_orders_of_a_presale_says_which_is_which() -> None:
    plain = READER.read(dumped(ORDER))
    assert (plain.is_deposit, plain.deposit_number) == (False, "")
    first = READER.read(dumped({**ORDER, "is_deposit": True}))
    last = READER.read(dumped({**ORDER, "deposit_order": "A-1000"}))
    assert (first.is_deposit, last.deposit_number) == (True, "A-1000")


def test_money_is_exact_to_the_currencys_own_coin() -> None:
    dinar = {**ORDER, "currency": "KWD", "total_amount": "1.234", "discount_amount": "0",
             "freight_amount": 0, "paid_amount": "1.234"}  # fmt: skip
    dinar["items"] = [{"qty": 1, "unit_price": "1.234"}]
    assert READER.read(dumped(dinar)).payable_amount == Decimal("1.234")
    with pytest.raises(Unreadable, match="小数位"):
        READER.read(dumped({**dinar, "currency": "CNY"}))


def test_two_lines_with_one_line_id_are_refused() -> None:
    line = ORDER["items"][0]
    with pytest.raises(Unreadable, match="行号相同"):
        READER.read(dumped({**ORDER, "items": [line, line]}))


def test_a_refund_and_an_exchange_are_told_apart() -> None:
    refund = {"refund_no": "R1", "order_no": "A-1001", "amount": "10.00", "type": "refund_only",
              "status": "pending", "version": 3}  # fmt: skip
    read = READER.read_refund(dumped({"event_id": "e1", "refund": refund}))
    assert (read.intercept_shipping, read.return_goods, read.version) == (True, False, "3")
    exchange = READER.read_refund(dumped({**refund, "type": "exchange", "status": "success"}))
    assert (exchange.refund_state, exchange.intercept_shipping) == ("done", False)


@pytest.mark.parametrize(
    ("body", "kind", "klass"),
    [
        ({"ok": True}, "ack", None),
        ({"code": 0, "data": {"list": []}}, "order_list", None),
        ({"code": 401, "message": "no"}, "error", ErrorClass.AUTH),
        ({"errcode": "429"}, "error", ErrorClass.RATE_LIMITED),
        ({"success": False}, "error", ErrorClass.BUSINESS),
        ({"code": 503, "data": {"list": []}}, "error", ErrorClass.PLATFORM),
        ({"refunds": [], "total": 0}, "order_list", None),
        ({"event_id": "e", "event": "paid", "order_no": "A-1"}, "event_list", None),
    ],
)
def test_every_kind_of_document_is_known(body: Any, kind: str, klass: ErrorClass | None) -> None:
    document = READER.read_document(dumped(body))
    assert document.kind == kind
    assert (document.error.klass if document.error else None) == klass


# --- pulling --------------------------------------------------------------------------------------


def paged(*pages: Any) -> Any:
    """Answers in turn, whatever the cursor."""
    left = list(pages)
    return lambda _request: left.pop(0)


def rows(*numbers: int) -> list[dict[str, Any]]:
    return [{**ORDER, "order_no": f"A-{n}"} for n in numbers]


def pulled(connector: OpenJsonConnector, feed: str = "orders") -> list[Page]:
    return list(connector.pull(feed, WINDOW))


def test_a_list_is_walked_by_its_cursor_to_the_end() -> None:
    shop = Shop({"/api/orders": paged(
        {"orders": rows(1, 2), "next_cursor": "c2"}, {"orders": rows(3), "next_cursor": ""},
    )})  # fmt: skip
    pages = pulled(shop.connector())
    assert [m.channel_number for page in pages for m in page.messages] == ["A-1", "A-2", "A-3"]
    first, second = (dict(request.url.params) for request in shop.asked)
    assert first == {
        "since": "2026-03-01T08:43:07+08:00", "until": "2026-03-01T09:03:07+08:00", "limit": "2",
    }  # fmt: skip
    assert second["cursor"] == "c2"
    assert shop.asked[0].headers["authorization"] == "Bearer a-token"


def test_a_list_is_walked_by_page_numbers_until_a_page_is_empty() -> None:
    shop = Shop({"/api/orders": paged({"orders": rows(1)}, {"orders": rows(2)}, {"orders": []})})
    pages = pulled(shop.connector(orders_query='{"p":"{page}"}', time_format="unix"))
    assert [dict(request.url.params)["p"] for request in shop.asked] == ["1", "2", "3"]
    assert len([m for page in pages for m in page.messages]) == 2


def test_a_bare_list_is_a_page() -> None:
    pages = pulled(Shop({"/api/orders": rows(1, 2)}).connector())
    assert [len(page.messages) for page in pages] == [2]


def test_what_is_pulled_reads_as_what_was_sent() -> None:
    [page] = pulled(Shop({"/api/orders": {"orders": [ORDER]}}).connector())
    assert READER.read(page.messages[0].body) == READER.read(dumped(ORDER))


def test_one_broken_order_does_not_cost_its_neighbors() -> None:
    [page] = pulled(
        Shop({"/api/orders": {"orders": [*rows(1), 7, {"order_no": None}]}}).connector()
    )
    assert [m.channel_number for m in page.messages] == ["A-1", "", ""]


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ({"orders": rows(1), "next_cursor": "same"}, "cursor_repeats"),
        ({"orders": rows(1), "has_next": True}, "cursor_repeats"),
        ({"orders": rows(1), "total": 300}, "incomplete"),
        ({"orders": "?"}, "bad_body"),
        (httpx.Response(200, text="<html>"), "bad_body"),
        (httpx.Response(200, content=b'{"orders": [{"a'), "bad_body"),
        (httpx.Response(503), "http_503"),
        (httpx.Response(429, headers={"retry-after": "7"}), "http_429"),
        (httpx.ReadTimeout("slow"), "timeout"),
        ({"code": 429, "msg": "slow down"}, "429"),
    ],
)
def test_a_list_that_does_not_add_up_is_fetched_again(answer: Any, code: str) -> None:
    with pytest.raises(TryLater) as refused:
        pulled(Shop({"/api/orders": answer}).connector())
    assert refused.value.error.code == code


def test_a_list_without_end_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("channels_sync.connectors.openjson.connector.MAX_PAGES", 5)
    shop = Shop({"/api/orders": lambda request: {"orders": rows(int(request.url.params["p"]))}})
    with pytest.raises(TryLater) as refused:
        pulled(shop.connector(orders_query='{"p":"{page}"}'))
    assert (refused.value.error.code, len(shop.asked)) == ("page_cap", 5)


def test_a_shop_that_only_pushes_has_nothing_to_pull() -> None:
    shop = Shop({})
    assert pulled(shop.connector(orders_url="")) == []
    assert shop.asked == []


def test_one_order_is_asked_for_by_its_number_whatever_is_in_it() -> None:
    shop = Shop({"/api/orders/A/1 x": {"data": {**ORDER, "order_no": "A/1 x"}}})
    message = shop.connector().fetch("A/1 x")
    assert (message.kind, message.channel_number) == (MessageKind.ORDER, "A/1 x")
    assert shop.asked[0].url.raw_path == b"/api/orders/A%2F1%20x"


def test_another_order_than_the_one_asked_for_is_not_taken() -> None:
    with pytest.raises(TryLater):
        Shop({"/api/orders/A-1": {"order": ORDER}}).connector().fetch("A-1")


def test_an_order_the_shop_does_not_have_is_refused() -> None:
    with pytest.raises(Rejected) as refused:
        Shop({"/api/orders/A-1": httpx.Response(404, json={})}).connector().fetch("A-1")
    assert refused.value.error.code == "http_404"


def test_the_orders_of_an_hour_can_be_counted() -> None:
    shop = Shop({"/api/orders": {"orders": rows(1, 2)}})
    census = shop.connector(census_query='{"created_from":"{start}"}').census(WINDOW)
    assert census.numbers == {"A-1", "A-2"}
    with pytest.raises(Unsupported):
        shop.connector().census(WINDOW)


# --- telling --------------------------------------------------------------------------------------


def test_a_parcel_is_told_as_the_template_says() -> None:
    shop = Shop({"/api/orders/A-1001/ship": {"ok": True}})
    shop.connector().ship(NOTICE)
    request = shop.asked[0]
    assert json.loads(request.content) == {
        "company": "SFEXPRESS", "no": "SF100", "items": [{"id": "1", "n": 2}],
    }  # fmt: skip
    assert request.headers["idempotency-key"] == "key-1"
    stamp = request.headers["x-timestamp"]
    assert request.headers["x-signature"] == stamp_sign("a-secret", stamp, request.content)


@pytest.mark.parametrize(
    ("answer", "error", "unknown"),
    [
        ({"ok": False, "error": {"code": "no_order"}}, Rejected, None),
        (httpx.Response(422, json={}), Rejected, None),
        (httpx.Response(500), TryLater, True),
        (httpx.ReadTimeout("slow"), TryLater, True),
        (httpx.ConnectError("away"), TryLater, False),
        ({"code": 503}, TryLater, True),
    ],
)
def test_a_refused_parcel_is_told_apart_from_one_nobody_knows_of(
    answer: Any, error: type[Exception], unknown: bool | None
) -> None:
    with pytest.raises(error) as refused:
        Shop({"/api/orders/A-1001/ship": answer}).connector().ship(NOTICE)
    assert getattr(refused.value, "outcome_unknown", None) is unknown


@pytest.mark.parametrize(
    ("told", "known"), [("SF99,SF100", True), ("SF99", False), ("", False), (None, None)]
)
def test_after_an_unknown_outcome_the_order_is_asked(told: str | None, known: bool | None) -> None:
    order = {**ORDER, "tracking_number": told}
    assert Shop({"/api/orders/A-1001": {"order": order}}).connector().knows(NOTICE) is known


def test_a_template_cannot_be_broken_out_of() -> None:
    facts = {"text": '"},"admin":true,{"{carrier}', "carrier": "sf"}
    assert filled({"memo": "{text}", "x": ["a {carrier} {other}"]}, facts) == {
        "memo": '"},"admin":true,{"{carrier}', "x": ["a sf {other}"],
    }  # fmt: skip


def test_what_no_option_names_is_unsupported() -> None:
    bare = Shop({}).connector(ship_url="", order_url="")
    figure = StockFigure("k", "", "", "CUP-1", 5, None)
    calls: list[Callable[[], object]] = [
        lambda: bare.ship(NOTICE),
        lambda: bare.publish_stock(figure),
        lambda: bare.write_memo(Memo("k", "A-1", "备注")),
        lambda: bare.fetch("A-1"),
    ]
    for call in calls:
        with pytest.raises(Unsupported):
            call()


def test_a_template_that_is_no_json_is_refused_in_words() -> None:
    with pytest.raises(Rejected, match="ship_body"):
        Shop({}).connector(ship_body="{").ship(NOTICE)


def test_a_figure_is_set_by_our_code() -> None:
    shop = Shop({"/stock": {"ok": True}})
    connector = shop.connector(
        stock_url="/stock", stock_body='{"code":"{sku_code}","n":"{quantity}"}'
    )
    connector.publish_stock(StockFigure("k", "", "", "CUP-1", 5, None))
    assert json.loads(shop.asked[0].content) == {"code": "CUP-1", "n": 5}


# --- being pushed to ------------------------------------------------------------------------------


def test_a_push_is_proved_over_its_raw_bytes() -> None:
    connector = Shop({}).connector()
    body = dumped({"event_id": "e1", "order": ORDER})
    connector.verify(push(body))
    tampered = push(body)
    with pytest.raises(BadSignature):
        connector.verify(WebhookRequest("POST", "/", {}, tampered.headers, body + b" ", NOW))
    for at in (NOW - timedelta(minutes=6), NOW + timedelta(minutes=6)):
        with pytest.raises(BadSignature):
            connector.verify(push(body, at=at))


def test_a_pushed_order_is_kept_whole_with_its_signed_event() -> None:
    body = dumped({"event_id": "e1", "event": "paid", "order": ORDER})
    [message] = READER.split(push(body, event_id="unsigned"))
    assert (message.kind, message.channel_number, message.event_id) == (
        MessageKind.ORDER, "A-1001", "e1",
    )  # fmt: skip
    assert message.body == body
    assert READER.read(message.body) == READER.read(dumped(ORDER))


def test_a_push_of_several_orders_is_a_row_each() -> None:
    body = dumped({"event_id": "e1", "orders": rows(1, 2)})
    messages = READER.split(push(body))
    assert [(m.channel_number, m.event_id) for m in messages] == [("A-1", "e1#0"), ("A-2", "e1#1")]


def test_a_push_with_a_number_alone_is_a_hint() -> None:
    body = dumped({"event_id": "e1", "event": "paid", "order_no": "A-1"})
    [message] = READER.split(push(body))
    assert (message.kind, message.channel_number) == (MessageKind.EVENT, "A-1")
    assert READER.read_event(message.body).channel_number == "A-1"


@pytest.mark.parametrize("body", [b"{", b"[]", b"{}", b"7", b'{"order":7}', b"\x80", b'{"a":NaN}'])
def test_an_authentic_push_that_says_nothing_is_kept(body: bytes) -> None:
    [message] = READER.split(push(body))
    assert (message.kind, message.body) == (MessageKind.UNREADABLE, body)


def test_the_test_of_a_connection_asks_the_list_once() -> None:
    shop = Shop({"/api/orders": {"orders": [], "next_cursor": "more"}})
    shop.connector().test()
    assert len(shop.asked) == 1
    with pytest.raises(Rejected):
        Shop({"/api/orders": httpx.Response(401)}).connector().test()


def test_an_empty_window_is_an_empty_page() -> None:
    window = Window(NOW, NOW + timedelta(seconds=1))
    pages = list(Shop({"/api/orders": {"orders": []}}).connector().pull("orders", window))
    assert [page.messages for page in pages] == [()]
