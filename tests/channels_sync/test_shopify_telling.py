"""Shopify's line: its limits, its authorization, its inner pages, and what it is told."""

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import pytest

from channels_sync.connectors.exchange import make_client
from channels_sync.connectors.shopify import connector as shopify
from channels_sync.connectors.shopify.connector import ShopifyConnector
from channels_sync.connectors.shopify.wire import oauth_sign
from channels_sync.contracts import (
    AddressAnswer,
    BadSignature,
    Budget,
    ConnectorError,
    ErrorClass,
    Limit,
    Memo,
    MessageKind,
    OpenLine,
    Rejected,
    ShipLine,
    ShipNotice,
    ShopAccess,
    StockFigure,
    TryLater,
    Unsupported,
    WebhookRequest,
    Window,
)
from tests.channels_sync.platforms import payload

NOW = datetime(2026, 3, 1, 1, 8, 7, tzinfo=UTC)
WINDOW = Window(datetime(2026, 3, 1, tzinfo=UTC), NOW)
SECRET = "sandbox-shopify-secret"
BASE = "https://sandbox-store.myshopify.com"
ACCESS = ShopAccess("SH01", BASE, "client", SECRET, "token-1", old_app_secret="the-one-before")
NUMBER = "5500000000101"
DONE = {"hasNextPage": False, "endCursor": None}


class Turns(OpenLine):
    def __init__(self) -> None:
        self.entered: list[tuple[str, Limit | None, float]] = []
        self.budgets: list[Budget | None] = []
        self.failures: list[ConnectorError] = []
        self.renewed: list[str] = []

    def enter(self, interface: str, limit: Limit | None, *, cost: float = 1.0) -> None:
        self.entered.append((interface, limit, cost))

    def passed(self, interface: str, budget: Budget | None = None) -> None:
        self.budgets.append(budget)

    def failed(self, interface: str, error: ConnectorError) -> None:
        self.failures.append(error)

    def renew(self, stale_token: str) -> str:
        self.renewed.append(stale_token)
        return "token-2"


class Store:
    """Answers in the order the test laid out; the last answer stays."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []
        self.line = Turns()

    def connector(self, **options: str) -> ShopifyConnector:
        client = make_client(transport=httpx.MockTransport(self._handle))
        access = ShopAccess("SH01", BASE, "client", SECRET, "token-1", options=options)
        return ShopifyConnector(access, client, lambda: NOW, line=self.line)

    def sent(self, at: int = -1) -> Any:
        return json.loads(self.requests[at].content)

    def _handle(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, httpx.Response) else httpx.Response(200, json=answer)


def data(**fields: Any) -> dict[str, Any]:
    return {"data": fields}


def orders(*nodes: Any, cursor: str | None = None) -> dict[str, Any]:
    info = {"hasNextPage": cursor is not None, "endCursor": cursor}
    return data(orders={"nodes": list(nodes), "pageInfo": info})


# --- the shop's line --------------------------------------------------------------------------


def test_what_the_platform_says_is_left_reaches_the_line() -> None:
    store = Store(payload("shopify", "orderUpdate_ok"))
    store.connector().test()
    assert store.line.budgets == [
        Budget(available=1989.0, restore_per_second=100.0, maximum=2000.0)
    ]
    interface, limit, cost = store.line.entered[0]
    assert (interface, limit, cost) == ("graphql", Limit(100, 2000), 10.0)


def test_a_list_costs_what_it_may_bring() -> None:
    store = Store(orders())
    list(store.connector().pull("orders", WINDOW))
    assert [cost for _, _, cost in store.line.entered] == [750.0]


def test_a_limit_reached_is_told_to_the_line_with_its_wait() -> None:
    store = Store(payload("shopify", "error_throttled"))
    with pytest.raises(TryLater):
        store.connector().test()
    (failure,) = store.line.failures
    assert failure.error.retry_after_seconds == 6


def test_a_smaller_page_stays_small_for_the_rest_of_the_walk() -> None:
    dear = {"errors": [{"message": "x", "extensions": {"code": "MAX_COST_EXCEEDED"}}]}
    store = Store(dear, orders(cursor="c1"), orders())
    list(store.connector().pull("orders", WINDOW))
    assert [store.sent(at)["variables"]["first"] for at in range(3)] == [50, 25, 25]


def test_430_is_a_limit_too() -> None:
    with pytest.raises(TryLater) as refusal:
        Store(httpx.Response(430, text="x")).connector().test()
    assert refusal.value.error.klass is ErrorClass.RATE_LIMITED


def test_a_token_that_ended_is_renewed_once() -> None:
    store = Store(httpx.Response(401, json={"errors": "x"}), data(shop={"id": "x"}))
    store.connector().test()
    assert store.line.renewed == ["token-1"]
    tokens = [request.headers["x-shopify-access-token"] for request in store.requests]
    assert tokens == ["token-1", "token-2"]
    store = Store(httpx.Response(401, json={"errors": "x"}))
    with pytest.raises(Rejected):
        store.connector().test()
    assert len(store.requests) == 2


# --- inner pages ------------------------------------------------------------------------------


def node(**changes: Any) -> dict[str, Any]:
    return {**payload("shopify", "orders_page")["data"]["orders"]["nodes"][0], **changes}


def test_a_long_order_is_asked_on_to_its_last_line() -> None:
    first = node()
    line = first["lineItems"]["nodes"][0]
    first["lineItems"] = {
        "nodes": [line],
        "pageInfo": {"hasNextPage": True, "endCursor": "l1"},
    }
    second = {"nodes": [{**line, "id": "gid://shopify/LineItem/2"}],
              "pageInfo": {"hasNextPage": True, "endCursor": "l2"}}  # fmt: skip
    third = {"edges": [{"node": {**line, "id": "gid://shopify/LineItem/3"}}], "pageInfo": DONE}
    rest = [data(order={"lineItems": one}) for one in (second, third)]
    store = Store(orders(first), *rest)
    connector = store.connector()
    (page,) = connector.pull("orders", WINDOW)
    found = connector.read(page.messages[0].body)
    assert [one.channel_line_id for one in found.lines] == ["13000000000101", "2", "3"]
    assert [store.sent(at)["variables"]["after"] for at in (1, 2)] == ["l1", "l2"]
    store = Store(data(order=first), *rest)
    assert len(connector.read(store.connector().fetch(NUMBER).body).lines) == 3


def test_an_inner_page_that_does_not_move_on_costs_the_page() -> None:
    first = node()
    first["lineItems"]["pageInfo"] = {"hasNextPage": True, "endCursor": "l1"}
    with pytest.raises(TryLater):
        list(
            Store(orders(first), data(order={"lineItems": first["lineItems"]}))
            .connector()
            .pull("orders", WINDOW)
        )


def test_a_list_without_an_end_is_left_at_a_cap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shopify, "MAX_PAGES", 3)
    store = Store(*(orders(node(), cursor=f"c{n}") for n in range(9)))
    with pytest.raises(TryLater) as failure:
        list(store.connector().pull("orders", WINDOW))
    assert failure.value.error.code == "page_cap"
    assert len(store.requests) == 3


def test_one_broken_order_does_not_cost_its_neighbors() -> None:
    broken = [None, "x", {}, node(lineItems="x"), node(lineItems={"pageInfo": "x"})]
    store = Store(orders(node(), *broken))
    connector = store.connector()
    (page,) = connector.pull("orders", WINDOW)
    assert len(page.messages) == 6
    assert connector.read(page.messages[0].body).channel_number == NUMBER


def test_the_orders_of_an_hour_are_counted_by_their_creation() -> None:
    rows = [{"id": f"gid://shopify/Order/{n}"} for n in (1, 2)]
    store = Store(orders(*rows, cursor="c"), orders({"id": "gid://shopify/Order/3"}))
    assert store.connector().census(WINDOW).numbers == {"1", "2", "3"}
    assert store.sent(0)["variables"]["q"] == (
        "created_at:>='2026-03-01T00:00:00Z' AND created_at:<='2026-03-01T01:08:07Z'"
    )
    with pytest.raises(TryLater):
        Store(orders({"id": None})).connector().census(WINDOW)


# --- shipping ---------------------------------------------------------------------------------


def fulfillment_order(at: int, *lines: tuple[int, int], **more: Any) -> dict[str, Any]:
    """A fulfillment order with (line, remaining) pairs."""
    nodes = [
        {"id": f"f{at}-{line}", "remainingQuantity": left, "lineItem": {"id": f"x/{line}"}}
        for line, left in lines
    ]
    info = more.pop("info", DONE)
    return {"id": f"fo{at}", "status": "OPEN", "lineItems": {"nodes": nodes, "pageInfo": info},
            **more}  # fmt: skip


def parcels(*found: dict[str, Any], gone: Any = (), cursor: str | None = None) -> dict[str, Any]:
    sent = [
        {"id": f"p-{number}", "status": "SUCCESS", "trackingInfo": [{"number": number}]}
        for number in gone
    ]
    info = {"hasNextPage": cursor is not None, "endCursor": cursor}
    return data(
        order={"fulfillments": sent, "fulfillmentOrders": {"nodes": found, "pageInfo": info}}
    )


SHIPPED = payload("shopify", "fulfillmentCreate_ok")


def notice(*lines: Any, others: tuple[str, ...] = ()) -> ShipNotice:
    return ShipNotice("ship-1", NUMBER, "sf", "SF100", NOW, lines, others)


def test_fulfillment_orders_and_their_lines_are_read_to_the_end() -> None:
    info = {"hasNextPage": True, "endCursor": "i1"}
    more = data(order={"fulfillmentOrders": {"nodes": [fulfillment_order(2, (1, 1))],
                                             "pageInfo": DONE}})  # fmt: skip
    inner = data(fulfillmentOrder={"lineItems": fulfillment_order(1, (9, 2))["lineItems"]})
    store = Store(
        parcels(fulfillment_order(1, (1, 1), info=info), cursor="o1"), inner, more, SHIPPED
    )
    store.connector().ship(notice(ShipLine("9", 2), ShipLine("1", 2)))
    groups = store.sent()["variables"]["fulfillment"]["lineItemsByFulfillmentOrder"]
    assert groups == [
        {
            "fulfillmentOrderId": "fo1",
            "fulfillmentOrderLineItems": [
                {"id": "f1-1", "quantity": 1},
                {"id": "f1-9", "quantity": 2},
            ],
        },
        {
            "fulfillmentOrderId": "fo2",
            "fulfillmentOrderLineItems": [{"id": "f2-1", "quantity": 1}],
        },
    ]


def test_a_further_parcel_of_an_order_told_whole_joins_the_first() -> None:
    update = data(fulfillmentTrackingInfoUpdate={"fulfillment": {}, "userErrors": []})
    store = Store(parcels(gone=["SF099"]), update)
    store.connector().ship(notice(others=("SF099",)))
    sent = store.sent()["variables"]
    assert sent["id"] == "p-SF099"
    assert sent["tracking"] == {"company": "SF Express", "numbers": ["SF099", "SF100"]}


def test_an_order_shipped_by_somebody_else_is_no_success() -> None:
    with pytest.raises(Rejected):
        Store(parcels(gone=["ZZ1"])).connector().ship(notice(others=("SF099",)))


# --- stock ------------------------------------------------------------------------------------


def level(shown: int | None) -> dict[str, Any]:
    quantities = (
        None if shown is None else {"quantities": [{"name": "available", "quantity": shown}]}
    )
    item = {"id": "gid://shopify/InventoryItem/7", "inventoryLevel": quantities}
    return data(productVariant={"id": "x", "inventoryItem": item})


def refusal(code: str) -> dict[str, Any]:
    errors = [{"field": None, "message": "no", "code": code}]
    return data(inventorySetQuantities={"userErrors": errors})


SET = payload("shopify", "inventorySetQuantities_ok")


def figure(quantity: int, believed: int | None) -> StockFigure:
    return StockFigure("stock-1", "13", "", "", quantity, believed)


def published(store: Store, *told: Any, **options: str) -> int | None:
    return store.connector(location_id="5", **options).publish_stock(figure(*told)).quantity


def test_a_figure_names_what_it_changes_from_and_a_key_of_its_own() -> None:
    store = Store(level(10), SET)
    assert published(store, 8, 10) == 8
    sent = store.sent()
    (row,) = sent["variables"]["input"]["quantities"]
    assert row == {
        "inventoryItemId": "gid://shopify/InventoryItem/7",
        "locationId": "gid://shopify/Location/5",
        "quantity": 8,
        "changeFromQuantity": 10,
    }
    assert sent["variables"]["key"] == "stock-1:10:8"
    assert "@idempotent(key: $key)" in sent["query"]


def test_older_versions_compare_by_the_older_name_and_have_no_key() -> None:
    store = Store(level(10), SET)
    assert published(store, 8, 10, api_version="2026-01") == 8
    sent = store.sent()
    assert sent["variables"]["input"]["quantities"][0]["compareQuantity"] == 10
    assert "key" not in sent["variables"]
    assert "@idempotent" not in sent["query"]
    assert store.requests[-1].url.path.startswith("/admin/api/2026-01/")


@pytest.mark.parametrize(
    ("shown", "quantity", "believed", "told"),
    [(8, 9, 10, 7), (12, 9, 10, 9), (1, 2, 8, 0), (-3, 5, None, 5), (10, 4, None, 4)],
)
def test_what_was_sold_unseen_is_not_offered_again(
    shown: int, quantity: int, believed: int | None, told: int
) -> None:
    store = Store(level(shown), SET)
    assert published(store, quantity, believed) == told
    assert store.sent()["variables"]["input"]["quantities"][0]["quantity"] == told


def test_a_figure_that_is_shown_already_is_not_told() -> None:
    store = Store(level(8))
    assert published(store, 8, 8) == 8
    assert len(store.requests) == 1


@pytest.mark.parametrize("code", ["CHANGE_FROM_QUANTITY_STALE", "COMPARE_QUANTITY_STALE"])
def test_a_stale_figure_is_read_again_once_and_never_resent_blindly(code: str) -> None:
    store = Store(level(10), refusal(code), level(9), SET)
    assert published(store, 8, 10) == 7
    assert store.sent()["variables"]["input"]["quantities"][0]["changeFromQuantity"] == 9
    store = Store(level(10), refusal(code), level(9), refusal(code))
    with pytest.raises(TryLater) as failure:
        published(store, 8, 10)
    assert not failure.value.outcome_unknown
    assert len(store.requests) == 4


def test_each_word_on_the_key_is_taken_as_it_is_meant() -> None:
    with pytest.raises(TryLater):
        published(Store(level(10), refusal("IDEMPOTENCY_CONCURRENT_REQUEST")), 8, 10)
    store = Store(level(10), refusal("IDEMPOTENCY_PREVIOUS_ATTEMPT_FAILED"), SET)
    assert published(store, 8, 10) == 8
    assert store.sent(1)["variables"]["key"] != store.sent(2)["variables"]["key"]
    with pytest.raises(Rejected) as refused:
        published(Store(level(10), refusal("IDEMPOTENCY_KEY_PARAMETER_MISMATCH")), 8, 10)
    assert refused.value.error.sub_code == "IDEMPOTENCY_KEY_PARAMETER_MISMATCH"


@pytest.mark.parametrize(
    "answer", [level(None), data(productVariant=None), data(productVariant={"inventoryItem": None})]
)
def test_goods_that_are_not_stocked_there_are_refused(answer: Any) -> None:
    with pytest.raises(Rejected):
        published(Store(answer), 8, 10)


def test_the_first_active_location_shows_the_stock() -> None:
    rows = [{"id": "gid://shopify/Location/1", "isActive": False},
            {"id": "gid://shopify/Location/2", "isActive": True}]  # fmt: skip
    store = Store(data(locations={"nodes": rows}), level(10), SET)
    store.connector().publish_stock(figure(8, 10))
    assert store.sent(1)["variables"]["location"] == "gid://shopify/Location/2"
    with pytest.raises(Rejected):
        Store(data(locations={"nodes": []})).connector().publish_stock(figure(8, 10))


def test_a_code_used_twice_names_nothing() -> None:
    twice = data(productVariants={"nodes": [{"id": "1"}, {"id": "2"}]})
    store = Store(twice)
    with pytest.raises(Rejected):
        store.connector(location_id="5").publish_stock(StockFigure("k", "", "", 'A"B\\', 1, None))
    assert store.sent()["variables"]["q"] == 'sku:"A\\"B\\\\"'


# --- notes and what there is no way to say ------------------------------------------------------


def test_a_note_that_is_there_is_not_written_again() -> None:
    store = Store(data(order={"id": "x", "note": "买家的话\n已确认"}))
    store.connector().write_memo(Memo("k", NUMBER, "已确认"))
    assert store.connector().knows(Memo("k", NUMBER, "已确认")) is True
    assert store.connector().knows(Memo("k", NUMBER, "加急")) is False
    assert all("mutation" not in store.sent(at)["query"] for at in range(3))


def test_what_shopify_cannot_hear_is_said_to_be_so() -> None:
    with pytest.raises(Unsupported):
        Store({}).connector().answer_address(AddressAnswer("k", NUMBER, approve=True))


# --- authorization ----------------------------------------------------------------------------


def callback(**changes: str) -> dict[str, str]:
    query = {"code": "c d", "shop": "sandbox-store.myshopify.com", "state": "é",
             "timestamp": str(int(NOW.timestamp()))} | changes  # fmt: skip
    signed = urlencode(sorted(query.items()))
    return {**query, "hmac": hmac.new(SECRET.encode(), signed.encode(), hashlib.sha256).hexdigest()}


def test_a_callback_of_this_store_is_let_in() -> None:
    store = Store({})
    store.connector().check_callback(callback())
    found = callback()
    assert oauth_sign(SECRET, {**found, "signature": "x"}) == found["hmac"]


@pytest.mark.parametrize(
    "query",
    [
        {},
        {**callback(), "hmac": ""},
        {**callback(), "hmac": callback()["hmac"].upper()},
        {**callback(), "code": "another"},
        callback(timestamp=str(int(NOW.timestamp()) - 91)),
        callback(timestamp=f"{int(NOW.timestamp())}000"),
        callback(timestamp="now"),
        callback(shop="evil.myshopify.com"),
    ],
)
def test_any_other_callback_is_refused(query: dict[str, str]) -> None:
    with pytest.raises(BadSignature):
        Store({}).connector().check_callback(query)


def test_the_merchant_is_sent_to_his_own_store() -> None:
    url = Store({}).connector(scopes="read_orders").authorize_url("https://us/back", "s t")
    assert url.startswith(f"{BASE}/admin/oauth/authorize?")
    query = parse_qs(urlsplit(url).query)
    assert query == {
        "client_id": ["client"],
        "scope": ["read_orders"],
        "redirect_uri": ["https://us/back"],
        "state": ["s t"],
    }


def test_a_code_is_traded_for_a_token_that_may_have_no_end() -> None:
    store = Store({"access_token": "t-9", "scope": "read_orders"})
    tokens = store.connector().exchange_code("code-1")
    assert (tokens.access_token, tokens.expires_at, tokens.refresh_token) == ("t-9", None, "")
    assert store.sent() == {"client_id": "client", "client_secret": SECRET, "code": "code-1"}
    store = Store({"access_token": "t-9", "expires_in": 3600, "refresh_token": "r-9"})
    tokens = store.connector().refresh("r-8")
    assert tokens.expires_at is not None
    assert (tokens.expires_at - NOW).total_seconds() == 3600
    assert store.sent()["refresh_token"] == "r-8"


@pytest.mark.parametrize(
    ("answer", "error"),
    [(httpx.Response(400, json={"error": "invalid_request"}), Rejected),
     (httpx.Response(401), Rejected), (httpx.Response(503), TryLater), ({}, TryLater)],
)  # fmt: skip
def test_a_refused_code_asks_for_a_new_authorization(answer: Any, error: type[Any]) -> None:
    with pytest.raises(error) as refusal:
        Store(answer).connector().exchange_code("code-1")
    if error is Rejected and isinstance(answer, httpx.Response) and answer.content:
        assert refusal.value.error.klass is ErrorClass.AUTH


def test_a_token_without_an_end_cannot_be_renewed() -> None:
    with pytest.raises(Rejected) as refusal:
        Store({}).connector().refresh("")
    assert refusal.value.error.klass is ErrorClass.AUTH


# --- pushes -----------------------------------------------------------------------------------


def hook(body: bytes = b'{"id":1}', secret: str = SECRET, **headers: str) -> WebhookRequest:
    signature = base64.b64encode(hmac.new(secret.encode(), body, hashlib.sha256).digest()).decode()
    found = {
        "x-shopify-hmac-sha256": signature,
        "x-shopify-topic": "orders/delete",
        "x-shopify-shop-domain": "sandbox-store.myshopify.com",
        "x-shopify-webhook-id": "w-1",
    } | {f"x-shopify-{name.replace('_', '-')}": value for name, value in headers.items()}
    return WebhookRequest("POST", "/", {}, found, body, NOW)


def test_the_old_secret_counts_within_its_grace_only() -> None:
    ShopifyConnector(ACCESS).verify(hook(secret="the-one-before"))
    after = ShopAccess("SH01", BASE, "client", SECRET)
    with pytest.raises(BadSignature):
        ShopifyConnector(after).verify(hook(secret="the-one-before"))
    with pytest.raises(BadSignature):
        ShopifyConnector(after).verify(hook(secret=""))


@pytest.mark.parametrize("name", ["topic", "shop_domain"])
def test_a_push_without_its_topic_or_store_is_refused(name: str) -> None:
    with pytest.raises(BadSignature):
        ShopifyConnector(ACCESS).verify(hook(b'{"id":1}', **{name: ""}))


@pytest.mark.parametrize(
    ("headers", "body", "at"),
    [
        ({"triggered_at": "2026-03-01T01:08:07.123456789Z"}, b'{"id":1}',
         NOW.replace(microsecond=123456)),
        ({}, b'{"id":1,"updated_at":"2026-03-01T09:08:07+08:00"}', NOW),
        ({"triggered_at": "soon"}, b'{"id":1}', None),
    ],
)  # fmt: skip
def test_a_push_says_when_it_was_set_off(
    headers: dict[str, str], body: bytes, at: datetime | None
) -> None:
    (message,) = ShopifyConnector(ACCESS).split(hook(body, **headers))
    assert (message.kind, message.occurred_at) == (MessageKind.EVENT, at)
    event = ShopifyConnector(ACCESS).read_event(message.body)
    assert (event.channel_number, event.occurred_at) == ("1", at)


def test_an_edited_order_is_named_within() -> None:
    body = b'{"order_edit":{"id":7,"order_id":5500000000101}}'
    (message,) = ShopifyConnector(ACCESS).split(hook(body, topic="orders/edited"))
    assert message.channel_number == NUMBER
