"""Shopify: both shapes of an order read the same, refusals inside 200, shipping and webhooks."""

import base64
import hashlib
import hmac
import json
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest

from channels_sync.connectors.exchange import make_client
from channels_sync.connectors.shopify.connector import ShopifyConnector
from channels_sync.connectors.shopify.wire import webhook_sign
from channels_sync.connectors.strict_json import dump_compact
from channels_sync.contracts import (
    BadSignature,
    ErrorClass,
    MessageKind,
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
WINDOW = Window(datetime(2026, 3, 1, tzinfo=UTC), NOW)
SECRET = "sandbox-shopify-secret"
ACCESS = ShopAccess(
    shop_code="SH01",
    base_url="https://sandbox-store.example",
    app_key="client",
    app_secret=SECRET,
    access_token="sandbox-shopify-token",
    options={"shop_domain": "sandbox-store.myshopify.com"},
)
READER = ShopifyConnector(ACCESS)
VECTORS = [
    one
    for one in json.loads((REFERENCE / "signing_vectors.json").read_text(encoding="utf-8"))
    if one["id"].startswith("shopify-webhook")
]


def money(amount: str, currency: str = "CNY") -> dict[str, Any]:
    bag = {"amount": amount, "currencyCode": currency}
    return {"shopMoney": bag, "presentmentMoney": bag}


def node(**changes: Any) -> dict[str, Any]:
    first: dict[str, Any] = payload("shopify", "orders_page")["data"]["orders"]["nodes"][0]
    return {**deepcopy(first), **changes}


def order(**changes: Any) -> bytes:
    return dump_compact(node(**changes))


def line(**changes: Any) -> bytes:
    found = node()
    found["lineItems"]["nodes"][0] |= changes
    return dump_compact(found)


def rest(**changes: Any) -> bytes:
    return dump_compact({**payload("shopify", "webhook_orders_paid"), **changes})


class Store:
    """Answers GraphQL with what the test laid out, one answer a call; the last one stays."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []

    def connector(self, **options: str) -> ShopifyConnector:
        client = make_client(transport=httpx.MockTransport(self._handle))
        access = ShopAccess("SH01", ACCESS.base_url, "client", SECRET, ACCESS.access_token, options)
        return ShopifyConnector(access, client, lambda: NOW)

    def variables(self, at: int = -1) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.requests[at].content)["variables"]
        return found

    def _handle(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, httpx.Response) else httpx.Response(200, json=answer)


def page(*nodes: dict[str, Any], cursor: str | None = None) -> dict[str, Any]:
    info = {"hasNextPage": cursor is not None, "endCursor": cursor}
    return {"data": {"orders": {"nodes": list(nodes), "pageInfo": info}}}


# --- asking ---------------------------------------------------------------------------------


def test_the_list_is_walked_by_cursor_from_the_windows_start() -> None:
    store = Store(page(node(), cursor="c1"), page(node(legacyResourceId="2")))
    pages = list(store.connector().pull("orders", WINDOW))
    assert [one.number for one in pages] == [1, 2]
    numbers = [message.channel_number for one in pages for message in one.messages]
    assert numbers == ["5500000000101", "2"]
    assert store.variables(0)["q"] == "updated_at:>='2026-03-01T00:00:00Z'"
    assert [store.variables(0)["after"], store.variables(1)["after"]] == [None, "c1"]
    request = store.requests[0]
    assert request.url.path == "/admin/api/2026-04/graphql.json"
    assert request.headers["x-shopify-access-token"] == ACCESS.access_token
    query = json.loads(request.content)["query"]
    assert "sortKey: UPDATED_AT" in query
    assert "lineItems(first: 50)" in query


def test_the_walk_stops_behind_the_window() -> None:
    late = node(updatedAt=(NOW + timedelta(seconds=1)).isoformat())
    store = Store(page(late, cursor="c1"))
    assert len(list(store.connector().pull("orders", WINDOW))) == 1


def test_a_cursor_that_stands_still_ends_the_walk_with_an_error() -> None:
    store = Store(page(node(), cursor="c1"))
    with pytest.raises(TryLater):
        list(store.connector().pull("orders", WINDOW))


def test_a_query_too_dear_is_asked_again_at_half_the_size() -> None:
    dear = {"errors": [{"message": "x", "extensions": {"code": "MAX_COST_EXCEEDED"}}]}
    store = Store(dear, dear, page(node()))
    list(store.connector().pull("orders", WINDOW))
    assert [store.variables(n)["first"] for n in range(3)] == [50, 25, 12]


def test_refunds_are_drawn_out_of_their_order() -> None:
    refund = {
        "id": "gid://shopify/Refund/88",
        "createdAt": "2026-03-01T01:00:00Z",
        "totalRefundedSet": money("18.5"),
        "refundLineItems": {
            "nodes": [{"restockType": "CANCEL", "lineItem": {"id": "gid://shopify/LineItem/7"}}]
        },
    }
    store = Store(page(node(refunds=[refund])))
    (found,) = store.connector().pull("orders", WINDOW)
    first, second = found.messages
    assert (first.kind, second.kind) == (MessageKind.ORDER, MessageKind.REFUND)
    draft = READER.read_refund(second.body)
    assert (draft.refund_id, draft.channel_number) == ("88", "5500000000101")
    assert (draft.channel_line_id, draft.amount) == ("7", Decimal("18.50"))
    assert draft.intercept_shipping
    assert not draft.return_goods


@pytest.mark.parametrize(
    ("status", "state"),
    [("PENDING", "in_progress"), ("SUCCESS", "refunded"), ("FAILURE", "closed")],
)
def test_a_refund_is_as_far_as_its_money(status: str, state: str) -> None:
    move = {"kind": "REFUND", "status": status, "amountSet": money("18.50")}
    refund = {
        "orderId": "gid://shopify/Order/1",
        "currency": "CNY",
        "id": "gid://shopify/Refund/88",
        "createdAt": "2026-03-01T01:00:00Z",
        "totalRefundedSet": money("0.00"),
        "refundLineItems": {"nodes": []},
        "transactions": {"nodes": [move]},
    }
    draft = READER.read_refund(dump_compact(refund))
    assert draft.refund_state == state
    assert draft.amount == (Decimal("0.00") if state == "closed" else Decimal("18.50"))
    under_way = READER.read(order(refunds=[refund])).refund_state
    assert under_way == ("in_progress" if status == "PENDING" else "none")


def test_an_order_with_more_lines_than_asked_for_is_not_read_as_whole() -> None:
    items = node()["lineItems"]
    items["pageInfo"]["hasNextPage"] = True
    with pytest.raises(Unreadable):
        READER.read(order(lineItems=items))


def test_an_order_that_is_not_there_is_refused() -> None:
    with pytest.raises(Rejected):
        Store({"data": {"order": None}}).connector().fetch("1")


def test_a_fetched_order_reads() -> None:
    store = Store(payload("shopify", "order_detail_discounts_gift"))
    message = store.connector().fetch("5500000000401")
    assert READER.read(message.body).has_gift
    assert store.variables() == {"id": "gid://shopify/Order/5500000000401"}


# --- refusals -------------------------------------------------------------------------------


def test_throttled_inside_200_waits_until_the_bucket_is_full_enough() -> None:
    with pytest.raises(TryLater) as refusal:
        Store(payload("shopify", "error_throttled")).connector().test()
    assert refusal.value.error.klass is ErrorClass.RATE_LIMITED
    assert refusal.value.wait == 6


def test_half_an_answer_counts_as_none() -> None:
    answer = {**page(node()), "errors": [{"message": "x", "extensions": {"code": "TIMEOUT"}}]}
    with pytest.raises(TryLater) as refusal:
        list(Store(answer).connector().pull("orders", WINDOW))
    assert refusal.value.error.klass is ErrorClass.PLATFORM


@pytest.mark.parametrize(
    ("answer", "error", "klass"),
    [
        ({"errors": [{"extensions": {"code": "ACCESS_DENIED"}}]}, Rejected, ErrorClass.AUTH),
        ({"errors": "[API] Invalid API key or access token"}, Rejected, ErrorClass.AUTH),
        ({"errors": "Not Found"}, Rejected, ErrorClass.BUSINESS),
        (
            {"errors": [{"extensions": {"code": "INTERNAL_SERVER_ERROR"}}]},
            TryLater,
            ErrorClass.PLATFORM,
        ),
        ({"errors": [{"message": "syntax"}]}, Rejected, ErrorClass.BUSINESS),
        (httpx.Response(401, json={"errors": "x"}), Rejected, ErrorClass.AUTH),
        (httpx.Response(402, text="x"), Rejected, ErrorClass.BUSINESS),
        (httpx.Response(404, text="x"), Rejected, ErrorClass.BUSINESS),
        (httpx.Response(423, text="x"), Rejected, ErrorClass.BUSINESS),
        (httpx.Response(429, text="x"), TryLater, ErrorClass.RATE_LIMITED),
        (httpx.Response(503, text="x"), TryLater, ErrorClass.PLATFORM),
        (httpx.Response(200, text="<html>"), TryLater, ErrorClass.PLATFORM),
        ({"data": None}, TryLater, ErrorClass.PLATFORM),
        ([], TryLater, ErrorClass.PLATFORM),
    ],
)
def test_a_refusal_is_told_by_its_shape(answer: Any, error: type[Any], klass: ErrorClass) -> None:
    with pytest.raises(error) as refusal:
        Store(answer).connector().test()
    assert refusal.value.error.klass is klass


# --- reading --------------------------------------------------------------------------------


def test_a_webhook_reads_like_the_list() -> None:
    pushed = READER.read(rest())
    product = {"id": "gid://shopify/Product/13000000003101"}
    listed = READER.read(line(product=product))
    assert listed.lines[0].platform_item_id == "13000000003101"
    for name in ("channel_number", "status", "payable_amount", "paid_amount", "freight"):
        assert getattr(listed, name) == getattr(pushed, name)
    for name in ("lines", "receiver", "placed_at", "modified_at", "paid_at", "buyer_remark"):
        assert getattr(listed, name) == getattr(pushed, name)


@pytest.mark.parametrize(
    ("financial", "fulfillment", "more", "status"),
    [
        ("PENDING", "UNFULFILLED", {}, ChannelStatus.WAIT_PAY),
        ("AUTHORIZED", "UNFULFILLED", {}, ChannelStatus.WAIT_PAY),
        ("PARTIALLY_PAID", "UNFULFILLED", {}, ChannelStatus.DEPOSIT_PAID),
        ("PAID", "UNFULFILLED", {}, ChannelStatus.WAIT_SHIP),
        ("PAID", "ON_HOLD", {}, ChannelStatus.ON_HOLD),
        ("PAID", "SCHEDULED", {}, ChannelStatus.ON_HOLD),
        ("PAID", "PARTIALLY_FULFILLED", {}, ChannelStatus.PART_SHIPPED),
        ("PAID", "FULFILLED", {}, ChannelStatus.SHIPPED),
        ("PAID", "FULFILLED", {"closedAt": "2026-03-02T00:00:00Z"}, ChannelStatus.FINISHED),
        ("PARTIALLY_REFUNDED", "UNFULFILLED", {}, ChannelStatus.WAIT_SHIP),
        ("REFUNDED", "UNFULFILLED", {}, ChannelStatus.CLOSED_REFUNDED),
        ("PAID", "UNFULFILLED", {"cancelledAt": "2026-03-02T00:00:00Z"}, ChannelStatus.CLOSED),
        ("NEW_WORD", "UNFULFILLED", {}, ChannelStatus.UNKNOWN),
        ("PAID", "NEW_WORD", {}, ChannelStatus.UNKNOWN),
    ],
)
def test_two_statuses_become_one(
    financial: str, fulfillment: str, more: dict[str, Any], status: ChannelStatus
) -> None:
    body = order(displayFinancialStatus=financial, displayFulfillmentStatus=fulfillment, **more)
    draft = READER.read(body)
    assert draft.status is status
    assert draft.status_raw == f"{financial}/{fulfillment}"


def test_a_voided_order_nobody_paid_is_closed_unpaid() -> None:
    body = order(displayFinancialStatus="VOIDED", totalReceivedSet=money("0.00"))
    assert READER.read(body).status is ChannelStatus.CLOSED_UNPAID


def test_a_test_order_says_so_in_both_shapes() -> None:
    assert READER.read(order(test=True)).is_test
    assert READER.read(rest(test=True)).is_test


def test_who_ordered_from_where_is_kept_as_evidence() -> None:
    body = order(customer={"id": "gid://shopify/Customer/42"}, clientIp="203.0.113.9")
    evidence = READER.read(body).evidence
    assert (evidence.buyer_id, evidence.ip) == ("42", "203.0.113.9")
    evidence = READER.read(rest(customer={"id": 42}, browser_ip="203.0.113.9")).evidence
    assert (evidence.buyer_id, evidence.ip) == ("42", "203.0.113.9")
    assert READER.read(order()).evidence.buyer_id == ""


def test_a_gift_is_a_line_discounted_to_nothing() -> None:
    detail = payload("shopify", "order_detail_discounts_gift")["data"]["order"]
    draft = READER.read(dump_compact(loads(detail)))
    assert [one.is_gift for one in draft.lines] == [False, False, True]
    assert [str(one.amount) for one in draft.lines] == ["270.00", "135.00", "0.00"]
    assert sum(one.amount for one in draft.lines) + draft.freight == draft.payable_amount


def test_digital_goods_have_no_receiver() -> None:
    assert READER.read(order(shippingAddress=None)).receiver is None


def test_a_removed_line_counts_as_refunded() -> None:
    assert READER.read(line(currentQuantity=0)).lines[0].refund_state == "refunded"
    assert READER.read(line(currentQuantity=0)).refund_state == "full"


def test_a_deleted_variant_and_an_empty_sku_are_none() -> None:
    (found,) = READER.read(line(variant=None, sku="")).lines
    assert found.platform_sku_id is None
    assert found.outer_code is None


def test_a_currency_without_cents_has_none() -> None:
    found = node(currencyCode="JPY", discountApplications={"nodes": []})
    for name in ("totalPriceSet", "totalReceivedSet", "totalShippingPriceSet"):
        found[name] = money("1500.0", "JPY")
    found["lineItems"]["nodes"][0]["originalUnitPriceSet"] = money("1500", "JPY")
    draft = READER.read(dump_compact(found))
    assert str(draft.payable_amount) == "1500"


@pytest.mark.parametrize(
    "body",
    [
        order(totalPriceSet=money("128.50", "USD")),
        order(totalPriceSet=money("128.505")),
        order(totalPriceSet=money("1,128.50")),
        order(totalPriceSet=money("¥128.50")),
        order(currencyCode=""),
        order(updatedAt="yesterday"),
        order(lineItems={"nodes": [], "pageInfo": {"hasNextPage": False}}),
        line(quantity=0),
        line(quantity="\N{ARABIC-INDIC DIGIT ONE}"),
        line(discountAllocations=[{"allocatedAmountSet": money("999.00")}]),
        rest(total_price="-1"),
        rest(line_items=[]),
        rest(currency=None),
        rest(id=None),
        order()[:-9],
    ],
)
def test_a_broken_order_is_refused_with_words(body: bytes) -> None:
    with pytest.raises(Unreadable) as reason:
        READER.read(body)
    assert str(reason.value)


def refund(**changes: Any) -> bytes:
    return dump_compact(loads({**payload("shopify", "webhook_refunds_create"), **changes}))


def loads(value: dict[str, Any]) -> Any:
    return json.loads(json.dumps(value), parse_float=Decimal)


@pytest.mark.parametrize(
    ("status", "kind", "state", "intercept"),
    [
        ("success", "return", "refunded", False),
        ("success", "cancel", "refunded", True),
        ("success", "no_restock", "refunded", True),
        ("pending", "no_restock", "in_progress", True),
        ("failure", "no_restock", "closed", False),
    ],
)
def test_money_back_without_goods_stops_the_parcel(
    status: str, kind: str, state: str, intercept: bool
) -> None:
    base = payload("shopify", "webhook_refunds_create")
    items = [{**base["refund_line_items"][0], "restock_type": kind}]
    moves = [{**base["transactions"][0], "status": status}]
    draft = READER.read_refund(refund(refund_line_items=items, transactions=moves))
    assert (draft.refund_state, draft.intercept_shipping) == (state, intercept)
    assert draft.state_raw == status


# --- shipping -------------------------------------------------------------------------------


def parcels(*tracking: str, orders: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    detail = payload("shopify", "order_detail_discounts_gift")["data"]["order"]
    found = detail["fulfillmentOrders"]["nodes"] if orders is None else orders
    sent = [
        {"status": "SUCCESS", "trackingInfo": [{"number": number, "company": "x"}]}
        for number in tracking
    ]
    info = {"hasNextPage": False}
    nodes = {"nodes": found, "pageInfo": info}
    return {"data": {"order": {"id": "x", "fulfillments": sent, "fulfillmentOrders": nodes}}}


def notice(*lines: ShipLine) -> ShipNotice:
    return ShipNotice("ship-1", "5500000000401", "sf", "SF100", NOW, lines)


SHIPPED = payload("shopify", "fulfillmentCreate_ok")
REFUSED = payload("shopify", "fulfillmentCreate_user_errors")


def test_a_whole_order_is_shipped_by_its_fulfillment_orders() -> None:
    store = Store(parcels(), SHIPPED)
    store.connector().ship(notice())
    assert store.variables()["fulfillment"] == {
        "lineItemsByFulfillmentOrder": [
            {"fulfillmentOrderId": "gid://shopify/FulfillmentOrder/6600000000401"}
        ],
        "trackingInfo": {"company": "SF Express", "number": "SF100"},
        "notifyCustomer": False,
    }


def test_a_part_names_the_fulfillment_orders_own_lines() -> None:
    store = Store(parcels(), SHIPPED)
    store.connector().ship(notice(ShipLine("13000000000402", 1)))
    (entry,) = store.variables()["fulfillment"]["lineItemsByFulfillmentOrder"]
    assert entry["fulfillmentOrderLineItems"] == [
        {"id": "gid://shopify/FulfillmentOrderLineItem/66000000004011", "quantity": 1}
    ]


def test_more_than_is_open_is_refused_before_anything_is_written() -> None:
    store = Store(parcels())
    with pytest.raises(Rejected):
        store.connector().ship(notice(ShipLine("13000000000402", 3)))
    assert len(store.requests) == 1


def test_each_location_is_told_for_itself() -> None:
    first = parcels()["data"]["order"]["fulfillmentOrders"]["nodes"][0]
    other = {
        **first,
        "id": "gid://shopify/FulfillmentOrder/2",
        "assignedLocation": {"location": {"id": "gid://shopify/Location/2"}},
    }
    closed = {**first, "id": "gid://shopify/FulfillmentOrder/3", "status": "CLOSED"}
    store = Store(parcels(orders=[first, other, closed]), SHIPPED)
    store.connector().ship(notice())
    assert len(store.requests) == 3


@pytest.mark.parametrize("lines", [(), (ShipLine("13000000000402", 1),)])
def test_a_parcel_the_order_carries_already_is_done(lines: tuple[ShipLine, ...]) -> None:
    store = Store(parcels("SF100", orders=[]))
    store.connector().ship(notice(*lines))
    assert len(store.requests) == 1


def test_a_race_lost_to_ourselves_is_a_success() -> None:
    store = Store(parcels(), REFUSED, parcels("SF100", orders=[]))
    store.connector().ship(notice())


def test_a_refusal_with_another_parcel_on_the_order_stays_one() -> None:
    store = Store(parcels(), REFUSED, parcels("SF999", orders=[]))
    with pytest.raises(Rejected) as refusal:
        store.connector().ship(notice())
    assert refusal.value.error.code == "userErrors"


def test_an_order_with_nothing_open_is_refused() -> None:
    with pytest.raises(Rejected):
        Store(parcels(orders=[])).connector().ship(notice())


@pytest.mark.parametrize("answer", [httpx.ReadTimeout("slow"), httpx.Response(502), []])
def test_a_lost_answer_to_a_write_leaves_the_outcome_unknown(answer: Any) -> None:
    with pytest.raises(TryLater) as failure:
        Store(parcels(), answer).connector().ship(notice())
    assert failure.value.outcome_unknown


# --- webhooks -------------------------------------------------------------------------------

BODY = (REFERENCE / "payloads" / "shopify" / "webhook_orders_paid.json").read_bytes()


def hook(body: bytes = BODY, **headers: str | None) -> WebhookRequest:
    found: dict[str, str | None] = {
        "x-shopify-hmac-sha256": good_sign(body),
        "x-shopify-topic": "orders/paid",
        "x-shopify-shop-domain": "sandbox-store.myshopify.com",
        "x-shopify-webhook-id": "w-1",
    }
    found |= {f"x-shopify-{name.replace('_', '-')}": value for name, value in headers.items()}
    given = {name: value for name, value in found.items() if value is not None}
    return WebhookRequest("POST", "/hooks/shopify/SH01/", {}, given, body, NOW)


def digest(body: bytes, secret: str = SECRET) -> bytes:
    return hmac.new(secret.encode(), body, hashlib.sha256).digest()


def good_sign(body: bytes) -> str:
    return base64.b64encode(digest(body)).decode()


@pytest.mark.parametrize("vector", VECTORS, ids=[one["id"] for one in VECTORS])
def test_a_webhook_is_signed_as_the_vector_says(vector: dict[str, Any]) -> None:
    found = webhook_sign(vector["secret"], vector["body"].encode())
    assert found == vector["expected_signature"]
    assert found not in {wrong["value"] for wrong in vector["wrong_variants"]}


def test_an_authentic_webhook_is_let_in() -> None:
    READER.verify(hook())


@pytest.mark.parametrize(
    "signature",
    [
        None,
        "",
        good_sign(BODY)[:-2],
        good_sign(BODY).lower(),
        digest(BODY).hex(),
        base64.b64encode(digest(BODY).hex().encode()).decode(),
        base64.b64encode(digest(BODY, "another-secret")).decode(),
        good_sign(json.dumps(json.loads(BODY), ensure_ascii=False).encode()),
        f"{good_sign(BODY)}, {good_sign(BODY)}",
        "签名",
    ],
)
def test_a_webhook_with_a_bad_signature_is_refused(signature: str | None) -> None:
    with pytest.raises(BadSignature):
        READER.verify(hook(hmac_sha256=signature))


def test_a_webhook_of_another_shop_or_for_a_shop_without_a_secret_is_refused() -> None:
    with pytest.raises(BadSignature):
        READER.verify(hook(shop_domain="evil.myshopify.com"))
    signature = base64.b64encode(digest(BODY, "")).decode()
    with pytest.raises(BadSignature):
        ShopifyConnector(ShopAccess("x", "", "", "")).verify(hook(hmac_sha256=signature))


def test_an_order_or_a_refund_is_kept_as_it_came() -> None:
    (message,) = READER.split(hook())
    assert (message.kind, message.body) == (MessageKind.ORDER, BODY)
    assert (message.channel_number, message.event_id) == ("5500000000101", "w-1")
    body = (REFERENCE / "payloads" / "shopify" / "webhook_refunds_create.json").read_bytes()
    (message,) = READER.split(hook(body, topic="refunds/create"))
    assert (message.kind, message.channel_number) == (MessageKind.REFUND, "5500000000101")
    assert READER.read_refund(message.body).amount == Decimal("118.50")


def test_any_other_topic_is_a_hint() -> None:
    body = b'{"id":7700,"order_id":5500000000101,"status":"success"}'
    (message,) = READER.split(hook(body, topic="fulfillments/create"))
    assert message.kind is MessageKind.EVENT
    event = READER.read_event(message.body)
    assert (event.topic, event.channel_number) == ("fulfillments/create", "5500000000101")
    (message,) = READER.split(hook(b'{"id":5500000000101}', topic="orders/delete"))
    assert READER.read_event(message.body).channel_number == "5500000000101"


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff", b'{"id":NaN}'])
def test_an_authentic_webhook_that_is_broken_is_kept_whole(body: bytes) -> None:
    READER.verify(hook(body))
    (message,) = READER.split(hook(body))
    assert (message.kind, message.body) == (MessageKind.UNREADABLE, body)
    assert READER.acknowledge(hook(body), duplicate=False).status == 200
