"""The private CRM: signed both ways, rows by keyset, one order from two shapes."""

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest

from channels_sync.connectors.crm import wire
from channels_sync.connectors.crm.connector import CrmConnector
from channels_sync.connectors.crm.wire import PAGE_SIZE
from channels_sync.connectors.exchange import make_client
from channels_sync.connectors.stamped import stamp_sign
from channels_sync.connectors.strict_json import dump_compact
from channels_sync.contracts import (
    BadSignature,
    ErrorClass,
    MessageKind,
    Rejected,
    ShopAccess,
    TryLater,
    Unreadable,
    WebhookRequest,
    Window,
)
from ordercenter.orders.contracts import ChannelStatus
from tests.channels_sync.platforms import REFERENCE, payload

NOW = datetime(2026, 3, 1, 1, 8, 7, tzinfo=UTC)
STAMP = str(int(NOW.timestamp()))
WINDOW = Window(NOW - timedelta(hours=1), NOW - timedelta(minutes=1))
SECRET = "sandbox-crm-secret"
READER = CrmConnector(ShopAccess("CRM1", "https://crm.example/shop", "crm", SECRET))
VECTOR = next(
    one
    for one in json.loads((REFERENCE / "signing_vectors.json").read_text(encoding="utf-8"))
    if one["id"] == "crm-webhook-own"
)


def row(n: int = 0, **changes: Any) -> dict[str, Any]:
    first: dict[str, Any] = payload("crm_webhook", "db_rows_page")["rows"][0]
    return {**first, "id": 101 + n, "order_no": f"PD{n:012d}", **changes}


class Shop:
    """The CRM and WeChat in one; checks every signature over the very bytes it was sent."""

    def __init__(self, orders: int = 0, refunds: int = 0) -> None:
        self.rows = {
            "crm_order": [row(n) for n in range(orders)],
            "crm_refund": [refund_row(n) for n in range(refunds)],
        }
        self.requests: list[httpx.Request] = []
        self.answers: dict[str, list[Any]] = {}

    def connector(self, **options: str) -> CrmConnector:
        access = ShopAccess("CRM1", "https://crm.example/shop", "crm", SECRET, options=options)
        client = make_client(transport=httpx.MockTransport(self._handle))
        return CrmConnector(access, client, lambda: NOW)

    def _handle(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        path = request.url.path.removeprefix("/shop/")
        if request.method == "GET":
            text = request.headers["x-timestamp"].encode() + b"." + request.url.raw_path
            expected = hmac.new(SECRET.encode(), text, hashlib.sha256).hexdigest()
            assert request.headers["x-signature"] == expected
        if planned := self.answers.get(path):
            answer = planned.pop(0) if len(planned) > 1 else planned[0]
            if isinstance(answer, Exception):
                raise answer
            return (
                answer if isinstance(answer, httpx.Response) else httpx.Response(200, json=answer)
            )
        return httpx.Response(200, json=self._page(path, dict(request.url.params)))

    def _page(self, table: str, query: dict[str, str]) -> dict[str, Any]:
        after = (query["updated_at"], int(query["id"]))
        found = sorted(
            (one for one in self.rows[table] if (one["updated_at"], one["id"]) > after),
            key=lambda one: (one["updated_at"], one["id"]),
        )
        found = [one for one in found if one["updated_at"] <= query["until"]]
        return {"table": table, "rows": found[: int(query["limit"])], "next_cursor": None}


def refund_row(n: int, **changes: Any) -> dict[str, Any]:
    found = {
        "id": n + 1,
        "refund_no": f"RF{n}",
        "order_no": "PD1",
        "line_no": 2,
        "type": "refund_only",
        "status": "pending",
        "amount": "8.00",
        "updated_at": "2026-03-01 08:30:00",
    }
    return found | changes


# --- asking ---------------------------------------------------------------------------------


def test_rows_are_walked_by_keyset_even_when_many_share_one_second() -> None:
    shop = Shop(orders=PAGE_SIZE * 2 + 3, refunds=2)
    for n, one in enumerate(shop.rows["crm_order"]):
        one["updated_at"] = "2026-03-01 08:20:00" if n < 300 else "2026-03-01 08:21:00"
    orders = [
        message.channel_number
        for page in shop.connector().pull("orders", WINDOW)
        for message in page.messages
    ]
    assert len(orders) == len(set(orders)) == PAGE_SIZE * 2 + 3
    refunds = [
        message for page in shop.connector().pull("refunds", WINDOW) for message in page.messages
    ]
    assert {one.kind for one in refunds} == {MessageKind.REFUND}
    assert [READER.read_refund(one.body).refund_id for one in refunds] == ["RF0", "RF1"]


def test_a_row_at_the_windows_very_start_is_seen() -> None:
    shop = Shop(orders=1)
    shop.rows["crm_order"][0]["updated_at"] = "2026-03-01 08:08:07"
    pages = list(shop.connector().pull("orders", WINDOW))
    assert sum(len(page.messages) for page in pages) == 1


def test_a_page_that_does_not_move_on_ends_the_walk_with_an_error() -> None:
    shop = Shop()
    stuck = {"rows": [row(updated_at="2026-03-01 08:00:00")] * PAGE_SIZE}
    shop.answers["crm_order"] = [stuck]
    with pytest.raises(TryLater):
        list(shop.connector().pull("orders", WINDOW))


def test_rows_without_an_end_are_left_at_a_cap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "MAX_PAGES", 3)
    shop = Shop(orders=PAGE_SIZE * 4)
    with pytest.raises(TryLater) as failure:
        list(shop.connector().pull("orders", WINDOW))
    assert failure.value.error.code == "page_cap"
    assert len(shop.requests) == 3


def test_a_page_whose_last_row_has_no_place_is_not_taken_as_complete() -> None:
    shop = Shop()
    shop.answers["crm_order"] = [{"rows": [row(id=None)] * PAGE_SIZE}]
    with pytest.raises(TryLater):
        list(shop.connector().pull("orders", WINDOW))


@pytest.mark.parametrize(
    "wrapped", [lambda one: one, lambda one: {"row": one}, lambda one: {"rows": [one]}]
)
def test_one_order_is_fetched_by_its_number(wrapped: Any) -> None:
    shop = Shop()
    shop.answers["crm_order/PD000000000000"] = [wrapped(row())]
    message = shop.connector().fetch("PD000000000000")
    assert READER.read(message.body).channel_number == "PD000000000000"


@pytest.mark.parametrize("answer", [row(), {"rows": []}, {"rows": [row(), row()]}, {"row": None}])
def test_another_order_than_asked_for_is_refused(answer: dict[str, Any]) -> None:
    shop = Shop()
    shop.answers["crm_order/PD9"] = [answer]
    with pytest.raises(Rejected):
        shop.connector().fetch("PD9")


@pytest.mark.parametrize(
    ("answer", "error", "klass"),
    [
        (
            httpx.Response(401, json=payload("crm_webhook", "error_reply_bad_signature")),
            Rejected,
            ErrorClass.AUTH,
        ),
        (payload("crm_webhook", "error_reply_bad_signature"), Rejected, ErrorClass.AUTH),
        (httpx.Response(404, json={}), Rejected, ErrorClass.BUSINESS),
        (httpx.Response(429, json={}), TryLater, ErrorClass.RATE_LIMITED),
        (httpx.Response(500), TryLater, ErrorClass.PLATFORM),
        (httpx.Response(200, text="<html>"), TryLater, ErrorClass.PLATFORM),
        ({"table": "crm_order"}, TryLater, ErrorClass.PLATFORM),
        ([], TryLater, ErrorClass.PLATFORM),
        (httpx.ConnectError("refused"), TryLater, ErrorClass.PLATFORM),
    ],
)
def test_a_refusal_of_the_crm_is_told_apart(
    answer: Any, error: type[Any], klass: ErrorClass
) -> None:
    shop = Shop()
    shop.answers["crm_order"] = [answer]
    with pytest.raises(error) as refusal:
        list(shop.connector().pull("orders", WINDOW))
    assert refusal.value.error.klass is klass


# --- reading --------------------------------------------------------------------------------


def webhook(**changes: Any) -> bytes:
    document = payload("crm_webhook", "order_paid_discount_gift")
    document["order"] |= changes
    return dump_compact(document)


def test_a_row_reads_like_the_webhook_of_the_same_order() -> None:
    document = payload("crm_webhook", "order_paid")
    pushed = READER.read(dump_compact(document))
    more: dict[str, Any] = {
        "order_no": "PD202603010101",
        "seller_memo": "",
        "buyer_member_no": "M000101",
    }
    listed = READER.read(dump_compact(row(**more)))
    assert pushed == listed


def test_who_bought_is_kept_as_evidence_from_both_shapes() -> None:
    buyer = {"member_no": "M1", "nickname": "x", "ip": "203.0.113.9", "device_id": "d-1"}
    pushed = READER.read(webhook(buyer=buyer)).evidence
    columns: dict[str, Any] = {
        "buyer_member_no": "M1",
        "buyer_ip": "203.0.113.9",
        "buyer_device_id": "d-1",
    }
    assert pushed == READER.read(dump_compact(row(**columns))).evidence
    assert (pushed.buyer_id, pushed.ip, pushed.device_id) == ("M1", "203.0.113.9", "d-1")


def test_what_the_order_costs_is_goods_less_discount_plus_freight() -> None:
    draft = READER.read(webhook())
    assert draft.payable_amount == Decimal("141.00")
    assert sum(line.amount for line in draft.lines) + draft.freight == draft.payable_amount
    assert [line.channel_line_id for line in draft.lines] == ["1", "2"]
    assert draft.receiver is not None
    assert not draft.receiver.is_masked


def test_a_rows_items_carry_their_own_gift_and_discount() -> None:
    items = [
        {"line_no": 7, "sku_code": "A", "title": "a", "qty": 2, "unit_price": "50.00",
         "discount_amount": "10.00"},
        {"line_no": 8, "sku_code": "G", "title": "g", "qty": 1, "unit_price": "0.00",
         "is_gift": True, "paid_amount": "0.00"},
    ]  # fmt: skip
    draft = READER.read(dump_compact(row(items_json=json.dumps(items), pay_amount="90.00")))
    assert [line.channel_line_id for line in draft.lines] == ["7", "8"]
    assert [str(line.amount) for line in draft.lines] == ["90.00", "0.00"]
    assert draft.has_gift


@pytest.mark.parametrize(
    ("word", "paid", "status", "money"),
    [
        ("unpaid", None, ChannelStatus.WAIT_PAY, "0.00"),
        ("deposit_paid", "2026-03-01 08:01:00", ChannelStatus.DEPOSIT_PAID, "0.00"),
        ("paid", "2026-03-01 08:01:00", ChannelStatus.WAIT_SHIP, "88.00"),
        ("shipped", "2026-03-01 08:01:00", ChannelStatus.SHIPPED, "88.00"),
        ("finished", "2026-03-01 08:01:00", ChannelStatus.FINISHED, "88.00"),
        ("cancelled", None, ChannelStatus.CLOSED_UNPAID, "0.00"),
        ("cancelled", "2026-03-01 08:01:00", ChannelStatus.CLOSED, "88.00"),
        ("frozen", "2026-03-01 08:01:00", ChannelStatus.UNKNOWN, "88.00"),
    ],
)
def test_a_rows_status_says_what_has_been_paid(
    word: str, paid: str | None, status: ChannelStatus, money: str
) -> None:
    draft = READER.read(dump_compact(row(status=word, pay_time=paid)))
    assert draft.status is status
    assert draft.paid_amount == Decimal(money)


@pytest.mark.parametrize(
    "value",
    ["2026-03-01T09:08:07+08:00", "2026-03-01T01:08:07Z", "2026-03-01 09:08:07", 1772327287,
     "1772327287"],
)  # fmt: skip
def test_every_way_to_write_a_time_is_the_same_moment(value: Any) -> None:
    assert READER.read(webhook(updated_at=value)).modified_at == NOW


def test_a_number_for_money_is_read_by_its_digits() -> None:
    body = webhook().replace(b'"total_amount":"150.00"', b'"total_amount":150.00')
    assert READER.read(body).payable_amount == Decimal("141.00")


@pytest.mark.parametrize(
    "body",
    [
        webhook(currency=None),
        webhook(updated_at=None),
        webhook(updated_at=1772327287000),
        webhook(updated_at="01/03/2026"),
        webhook(total_amount="150.001"),
        webhook(total_amount="1,150.00"),
        webhook(total_amount="-1.00"),
        webhook(discount_amount="999.00"),
        webhook(items=[]),
        webhook(items=[{"sku_code": "A", "qty": 0, "unit_price": "1.00"}]),
        webhook(items=[{"sku_code": "A", "qty": True, "unit_price": "1.00"}]),
        webhook(order_no="  "),
        webhook().replace(b'"150.00"', b"NaN"),
        dump_compact(row(items_json="[")),
        dump_compact(row(items_json="{}")),
        dump_compact(row(items_json=json.dumps(json.dumps([])))),
        dump_compact(row(pay_amount=None)),
        webhook()[:-7],
    ],
)
def test_a_broken_order_is_refused_with_words(body: bytes) -> None:
    with pytest.raises(Unreadable) as reason:
        READER.read(body)
    assert str(reason.value)


@pytest.mark.parametrize(
    ("kind", "raw", "state", "returns", "intercept"),
    [
        ("refund_only", "pending", "in_progress", False, True),
        ("refund_only", "success", "refunded", False, True),
        ("refund_only", "refused", "closed", False, False),
        ("refund_only", "cancelled", "closed", False, False),
        ("return_refund", "pending", "in_progress", True, False),
        ("return_refund", "success", "refunded", True, False),
        ("exchange", "success", "done", True, False),
    ],
)
def test_only_money_without_goods_stops_a_parcel(
    kind: str, raw: str, state: str, returns: bool, intercept: bool
) -> None:
    draft = READER.read_refund(dump_compact(refund_row(1, type=kind, status=raw)))
    assert (draft.refund_state, draft.return_goods) == (state, returns)
    assert draft.intercept_shipping is intercept
    assert draft.channel_line_id == "2"


@pytest.mark.parametrize("change", [{"type": "gift"}, {"status": "?"}, {"amount": "x"}])
def test_a_refund_of_no_known_kind_is_unreadable(change: dict[str, str]) -> None:
    with pytest.raises(Unreadable):
        READER.read_refund(dump_compact(refund_row(1, **change)))


# --- webhooks -------------------------------------------------------------------------------

BODY = (REFERENCE / "payloads" / "crm_webhook" / "order_paid.json").read_bytes()


def digest(body: bytes, stamp: str = STAMP, secret: str = SECRET) -> bytes:
    return hmac.new(secret.encode(), stamp.encode() + b"." + body, hashlib.sha256).digest()


def hook(
    body: bytes = BODY, *, stamp: str | None = STAMP, signature: str | None = "right", **more: str
) -> WebhookRequest:
    headers = {"x-event-id": "evt-header"} | more
    if stamp is not None:
        headers["x-timestamp"] = stamp
    if signature is not None:
        right = digest(body, stamp or "").hex()
        headers["x-signature"] = right if signature == "right" else signature
    return WebhookRequest("POST", "/hooks/crm_webhook/CRM1/", {}, headers, body, NOW)


def test_the_vector_is_reproduced() -> None:
    found = stamp_sign(VECTOR["secret"], VECTOR["headers"]["X-Timestamp"], VECTOR["body"].encode())
    assert found == VECTOR["expected_signature"]
    READER.verify(hook(VECTOR["body"].encode(), stamp=VECTOR["headers"]["X-Timestamp"]))


@pytest.mark.parametrize("seconds", [-300, 0, 300])
def test_a_webhook_within_five_minutes_is_let_in(seconds: int) -> None:
    READER.verify(hook(stamp=str(int(STAMP) + seconds)))


@pytest.mark.parametrize(
    "stamp",
    [
        None,
        "",
        str(int(STAMP) - 360),
        str(int(STAMP) + 360),
        str(int(STAMP) - 301),
        str(int(STAMP) + 301),
        f"{STAMP}000",
        f"{STAMP}.0",
        f" {STAMP}",
        f"+{STAMP}",
        "-1",
        "now",
        "".join(chr(ord(digit) + 0xFEE0) for digit in STAMP),
        "9" * 400,
    ],
)
def test_a_stale_or_senseless_time_is_refused_though_signed(stamp: str | None) -> None:
    with pytest.raises(BadSignature):
        READER.verify(hook(stamp=stamp))


@pytest.mark.parametrize(
    "signature",
    [
        None,
        "",
        digest(BODY).hex()[:-1],
        digest(BODY).hex().upper(),
        f"{digest(BODY).hex()},{digest(BODY).hex()}",
        digest(BODY, secret="another-secret").hex(),
        digest(BODY, stamp=str(int(STAMP) - 1)).hex(),
        digest(dump_compact(json.loads(BODY))).hex(),
        hmac.new(SECRET.encode(), BODY, hashlib.sha256).hexdigest(),
        hashlib.md5(STAMP.encode() + BODY + SECRET.encode()).hexdigest(),  # noqa: S324
        base64.b64encode(digest(BODY)).decode(),
        "签名",
    ],
)
def test_a_webhook_with_a_bad_signature_is_refused(signature: str | None) -> None:
    with pytest.raises(BadSignature):
        READER.verify(hook(signature=signature))


def test_a_shop_without_a_secret_takes_no_webhook() -> None:
    nobody = CrmConnector(ShopAccess("x", "", "", ""))
    with pytest.raises(BadSignature):
        nobody.verify(hook(signature=digest(BODY, secret="").hex()))


def test_the_signed_event_id_goes_before_the_header() -> None:
    (message,) = READER.split(hook())
    assert (message.kind, message.body) == (MessageKind.ORDER, BODY)
    assert message.event_id == "evt_20260301_000101"
    assert message.channel_number == "PD202603010101"
    event = READER.read_event(BODY)
    assert (event.topic, event.channel_number) == ("order.paid", "PD202603010101")


def test_a_refund_is_told_from_an_order() -> None:
    body = (REFERENCE / "payloads" / "crm_webhook" / "refund_created.json").read_bytes()
    (message,) = READER.split(hook(body))
    assert message.kind is MessageKind.REFUND
    assert READER.read_refund(message.body).refund_id == "RF000101"


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff", b'{"event":"x"}'])
def test_an_authentic_webhook_that_is_broken_is_kept_whole(body: bytes) -> None:
    READER.verify(hook(body))
    (message,) = READER.split(hook(body))
    assert (message.kind, message.body) == (MessageKind.UNREADABLE, body)
    assert message.event_id == "evt-header"


@pytest.mark.parametrize("duplicate", [False, True])
def test_the_crm_hears_whether_we_had_it_before(duplicate: bool) -> None:
    reply = READER.acknowledge(hook(), duplicate=duplicate)
    expected = {**payload("crm_webhook", "reply_ok"), "duplicate": duplicate}
    assert reply.status == 200
    assert json.loads(reply.body) == expected


# --- odd but legal ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("currency", "payable"), [("KWD", "140.875"), ("USD", "135.88"), ("JPY", "136")]
)
def test_each_currency_keeps_its_own_decimals(currency: str, payable: str) -> None:
    amounts = {"KWD": ("150.000", "15.125"), "USD": ("150.00", "20.12"), "JPY": ("150", "20")}
    total, discount = amounts[currency]
    body = webhook(
        currency=currency, total_amount=total, discount_amount=discount, freight_amount=6,
        items=[{"sku_code": "A", "qty": 1, "unit_price": total, "discount_amount": discount}],
    )  # fmt: skip
    draft = READER.read(body)
    assert str(draft.payable_amount) == payable
    assert sum((line.amount for line in draft.lines), draft.freight) == draft.payable_amount


def test_a_rows_items_may_be_text_or_a_list() -> None:
    items = json.loads(row()["items_json"])
    assert READER.read(dump_compact(row(items_json=items))) == READER.read(dump_compact(row()))


def test_a_rows_amounts_and_times_may_be_numbers() -> None:
    found = row(pay_amount=88, updated_at=1772323800, id=9007199254740993)
    assert READER.read(dump_compact(found)) == READER.read(dump_compact(row()))


def test_nobody_as_receiver_or_buyer_is_nobody() -> None:
    draft = READER.read(webhook(receiver=None, buyer=None, buyer_remark=None))
    assert draft.receiver is not None
    assert (draft.receiver.name, draft.evidence.buyer_id) == ("", "")
    assert draft.buyer_remark is None


def test_a_masked_receiver_is_told_from_a_clear_one() -> None:
    draft = READER.read(webhook(receiver={"name": "张**", "phone": "199****0101"}))
    assert draft.receiver is not None
    assert draft.receiver.is_masked


def test_a_deposit_is_what_has_been_paid() -> None:
    draft = READER.read(webhook(status="deposit_paid", paid_amount="20.00"))
    assert (draft.status, draft.paid_amount) == (ChannelStatus.DEPOSIT_PAID, Decimal("20.00"))


def test_an_order_may_come_without_its_envelope() -> None:
    inner = json.loads(webhook())["order"]
    assert READER.read_document(dump_compact(inner)).orders == (READER.read(webhook()),)


def test_an_empty_page_of_either_table_is_a_page() -> None:
    page: dict[str, Any] = {"table": "crm_order", "rows": [], "next_cursor": None}
    assert READER.read_document(dump_compact(page)).kind == "order_list"
    assert READER.read_document(dump_compact({**page, "table": "crm_refund"})).kind == "refund_list"
    found = READER.read_document(dump_compact({"rows": [refund_row(1)]}))
    assert [one.refund_id for one in found.refunds] == ["RF1"]


def test_orders_are_counted_by_their_creation_whenever_they_changed() -> None:
    shop = Shop(orders=4)
    first, second, third, fourth = shop.rows["crm_order"]
    first |= {"created_at": "2026-03-01 08:10:00", "updated_at": "2026-03-01 09:08:00"}
    second |= {"created_at": "2026-03-01 08:08:06", "updated_at": "2026-03-01 08:30:00"}
    third |= {"created_at": "2026-03-01 09:07:07", "updated_at": "2026-03-01 09:07:30"}
    fourth |= {"created_at": "2026-03-01 09:07:08", "updated_at": "2026-03-01 09:07:08"}
    assert shop.connector().census(WINDOW).numbers == {first["order_no"], third["order_no"]}


def test_the_old_secret_counts_within_its_grace_only() -> None:
    request = hook(signature=digest(BODY, secret="the-one-before").hex())
    access = ShopAccess("CRM1", "", "", SECRET, old_app_secret="the-one-before")
    CrmConnector(access).verify(request)
    with pytest.raises(BadSignature):
        READER.verify(request)
    CrmConnector(access).verify(hook())


def test_a_push_says_when_it_happened() -> None:
    (message,) = READER.split(hook())
    assert message.occurred_at == datetime(2026, 3, 1, 0, 1, tzinfo=UTC)
    (message,) = READER.split(hook(BODY.replace(b"2026-03-01T08:01:00+08:00", b"whenever")))
    assert message.occurred_at is None
