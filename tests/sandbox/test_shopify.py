"""Shopify's stand-in: the queries a center may send, shipping, webhooks over raw bytes."""

import base64
import hashlib
import hmac
import json
from typing import Any

import httpx
import pytest

from ordercenter.sandbox.book import DONE, SHIPPED, Order
from ordercenter.sandbox.platforms.graphql import SyntaxProblem, read_operation
from ordercenter.sandbox.platforms.shopify import bodies, wire
from tests.sandbox.callers import Bench
from tests.sandbox.wires import Center, call, gaps, graphql, pusher_of, sample, vector

LIST = """query($q: String!, $first: Int!, $after: String) {
  orders(first: $first, after: $after, sortKey: UPDATED_AT, query: $q) {
    nodes { id name updatedAt } pageInfo { hasNextPage endCursor } } }"""
CREATE = """mutation Ship($fulfillment: FulfillmentInput!) {
  fulfillmentCreate(fulfillment: $fulfillment) { fulfillment { id } userErrors { message } } }"""
LONG_AGO = "updated_at:>='2020-01-01T00:00:00Z'"


def listed(bench: Bench, **variables: Any) -> dict[str, Any]:
    facts = graphql(bench, LIST, **{"q": LONG_AGO, "first": 50, "after": None} | variables)
    found: dict[str, Any] = facts["data"]["orders"]
    return found


def one(bench: Bench, order: Order) -> dict[str, Any]:
    gid = f"gid://shopify/Order/{order.number}"
    facts = graphql(bench, "query($id: ID!) { order(id: $id) { id } }", id=gid)
    found: dict[str, Any] = facts["data"]["order"]
    return found


def ship(bench: Bench, order: Order, number: str = "SF1", **group: Any) -> dict[str, Any]:
    gid = one(bench, order)["fulfillmentOrders"]["nodes"][0]["id"]
    wish = {
        "lineItemsByFulfillmentOrder": [{"fulfillmentOrderId": gid, **group}],
        "trackingInfo": {"company": "SF Express", "number": number},
    }
    return graphql(bench, CREATE, fulfillment=wish)


def test_a_wrong_token_is_an_http_refusal(bench: Bench) -> None:
    path = "/shopify/admin/api/2026-04/graphql.json"
    for headers in ({}, {"X-Shopify-Access-Token": "another"}):
        reply = call(bench, "POST", path, json={"query": "{ shop { id } }"}, headers=headers)
        assert reply.status_code == 401


def test_orders_have_the_shape_of_the_captured_page(bench: Bench) -> None:
    bench.sell("SH01", 8)
    wanted = sample("shopify/orders_page.json")
    given = graphql(bench, LIST, q=LONG_AGO, first=4, after=None)
    assert not gaps(wanted, given)
    assert given["data"]["orders"]["pageInfo"]["hasNextPage"] is True


def test_a_gift_is_a_line_discounted_by_all_of_its_price(bench: Bench) -> None:
    order = bench.sell("SH01", 1, "gift_short")[0]
    given = {"data": {"order": one(bench, order)}}
    wanted = sample("shopify/order_detail_discounts_gift.json")
    del wanted["extensions"]
    for application in wanted["data"]["order"]["discountApplications"]["nodes"]:
        del application["value"]
    wanted["data"]["order"]["discountApplications"]["nodes"].pop(0)
    assert not gaps(wanted, given)
    gift = given["data"]["order"]["lineItems"]["nodes"][-1]
    price = gift["originalUnitPriceSet"]["shopMoney"]["amount"]
    off = gift["discountAllocations"][0]["allocatedAmountSet"]["shopMoney"]["amount"]
    assert float(off) == float(price) * gift["quantity"] > 0


def test_the_money_of_the_lines_adds_up_to_the_order(bench: Bench) -> None:
    for order in bench.sell("SH01", 12):
        node = one(bench, order)

        def fen(bag: dict[str, Any]) -> int:
            return round(float(bag["shopMoney"]["amount"]) * 100)

        goods = sum(
            fen(line["originalUnitPriceSet"]) * line["quantity"]
            - sum(fen(cut["allocatedAmountSet"]) for cut in line["discountAllocations"])
            for line in node["lineItems"]["nodes"]
        )
        assert goods + fen(node["totalShippingPriceSet"]) == fen(node["totalPriceSet"])


def test_the_cursor_walks_over_all_orders_once_in_the_order_of_change(bench: Bench) -> None:
    sold = [order.number for order in bench.sell("SH01", 7)]
    after, seen = None, []
    while True:
        page = listed(bench, first=3, after=after)
        seen += [node["legacyResourceId"] for node in page["nodes"]]
        if not page["pageInfo"]["hasNextPage"]:
            break
        after = page["pageInfo"]["endCursor"]
    assert seen == sold


def test_an_order_that_changes_while_paging_comes_again_and_hides_none(bench: Bench) -> None:
    bench.sell_paid("SH01", 4)
    before = [node["legacyResourceId"] for node in listed(bench)["nodes"]]
    first = listed(bench, first=2)
    bench.clock.pass_by(5)
    moved = bench.book.get("SH01", before[0])
    assert moved is not None
    bench.book.touch(moved)
    rest = listed(bench, first=9, after=first["pageInfo"]["endCursor"])
    assert [node["legacyResourceId"] for node in rest["nodes"]] == [*before[2:], before[0]]


def test_the_search_text_bounds_the_change(bench: Bench) -> None:
    old = bench.sell("SH01")[0]
    bench.clock.pass_by(3600)
    new = bench.sell("SH01")[0]
    bound = bodies.zulu(new.modified)
    later = listed(bench, q=f"updated_at:>='{bound}'")["nodes"]
    earlier = listed(bench, q=f"{LONG_AGO} AND updated_at:<'{bound}'")["nodes"]
    assert [n["legacyResourceId"] for n in later] == [new.number]
    assert [n["legacyResourceId"] for n in earlier] == [old.number]


def test_arguments_may_be_literals_and_variables_may_have_other_names(bench: Bench) -> None:
    bench.sell("SH01", 3)
    literal = graphql(
        bench,
        "query Pull($seit: String) { orders(first: 2 after: $seit, sortKey:UPDATED_AT,\n"
        "# a remark\n query: \"updated_at:>='2020-01-01T00:00:00Z'\") { nodes { id } } }",
    )
    assert len(literal["data"]["orders"]["nodes"]) == 2


@pytest.mark.parametrize(
    "query",
    ["query {", "{ orders(first: ) { id } }", "subscription { orders { id } }", "{ a(b: %) }"],
)
def test_a_query_that_cannot_be_read_is_an_error(query: str) -> None:
    with pytest.raises(SyntaxProblem):
        read_operation(query, {})


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("{ products(first: 1) { nodes { id } } }", "doesn't exist"),
        ("{ orders(first: 251) { nodes { id } } }", "between 1 and 250"),
        ("{ orders { nodes { id } } }", "between 1 and 250"),
        ('{ orders(first: 1, query: "email:x") { nodes { id } } }', "cannot search"),
        ('{ orders(first: 1, after: "x") { nodes { id } } }', "cursor"),
        ('{ order(id: "gid://shopify/Product/1") { id } }', "Invalid global id"),
    ],
)
def test_what_the_platform_does_not_know_is_an_error_with_http_200(
    bench: Bench, query: str, said: str
) -> None:
    answer = graphql(bench, query)
    assert said in answer["errors"][0]["message"]
    assert "data" not in answer


def test_too_dear_a_run_of_queries_is_throttled_and_says_for_how_long(bench: Bench) -> None:
    bench.sell("SH01", 10)
    for _ in range(400):
        answer = graphql(bench, LIST, q=LONG_AGO, first=250, after=None)
        if "errors" in answer:
            break
    assert not gaps(sample("shopify/error_throttled.json")["extensions"], answer["extensions"])
    assert answer["errors"][0]["extensions"]["code"] == "THROTTLED"
    bench.clock.pass_by(10)
    assert "data" in graphql(bench, LIST, q=LONG_AGO, first=250, after=None)


# Shipping


def test_a_whole_order_ships_by_its_fulfillment_order_and_only_once(bench: Bench) -> None:
    order = bench.sell_paid("SH01")[0]
    assert not gaps(sample("shopify/fulfillmentCreate_ok.json"), ship(bench, order))
    assert order.state == SHIPPED
    again = ship(bench, order, "SF2")
    assert not gaps(sample("shopify/fulfillmentCreate_user_errors.json"), again)
    assert again["data"]["fulfillmentCreate"]["userErrors"]
    assert [s.tracking_number for s in order.shipments] == ["SF1"]
    assert one(bench, order)["displayFulfillmentStatus"] == "FULFILLED"


def test_lines_ship_one_after_another(bench: Bench) -> None:
    order = bench.sell_paid("SH01")[0]
    while len(order.lines) < 2:
        order = bench.sell_paid("SH01")[0]
    rows = one(bench, order)["fulfillmentOrders"]["nodes"][0]["lineItems"]["nodes"]
    first = [{"id": rows[0]["id"], "quantity": rows[0]["remainingQuantity"]}]
    too_many = [{"id": rows[0]["id"], "quantity": rows[0]["remainingQuantity"] + 1}]
    refused = ship(bench, order, fulfillmentOrderLineItems=too_many)
    assert refused["data"]["fulfillmentCreate"]["userErrors"]
    ship(bench, order, fulfillmentOrderLineItems=first)
    assert one(bench, order)["displayFulfillmentStatus"] == "PARTIALLY_FULFILLED"
    ship(bench, order, "SF2")
    assert order.state == SHIPPED
    assert order.shipments[0].line_ids == [order.lines[0].line_id]


def test_an_unpaid_order_is_not_open_for_shipping(bench: Bench) -> None:
    order = bench.sell("SH01")[0]
    while order.paid is not None:
        order = bench.sell("SH01")[0]
    assert ship(bench, order)["data"]["fulfillmentCreate"]["userErrors"]


# Webhooks


def heard(bench: Bench) -> list[httpx.Request]:
    center = Center()
    center.take(pusher_of(bench, "shopify.webhooks").outgoing)
    return center.heard


def test_the_hmac_is_the_published_one() -> None:
    for name in ("shopify-webhook-official", "shopify-webhook-cjk-escaped-slash"):
        facts = vector(name)
        given = wire.webhook_hmac(facts["body"].encode(), facts["secret"])
        assert given == facts["expected_signature"]
        assert given not in {wrong["value"] for wrong in facts["wrong_variants"]}


def test_a_payment_is_told_in_the_captured_shape_with_phone_and_ip(bench: Bench) -> None:
    order = bench.sell("SH01", 1, "low_price")[0]
    paid = next(r for r in heard(bench) if r.headers["X-Shopify-Topic"] == "orders/paid")
    given = json.loads(paid.content)
    assert not gaps(sample("shopify/webhook_orders_paid.json"), given)
    assert given["id"] == int(order.number)
    assert given["browser_ip"] == given["client_details"]["browser_ip"] == order.buyer.ip
    assert given["shipping_address"]["phone"] == f"+86{order.receiver.phone}"
    assert isinstance(given["customer"]["id"], int)


def test_the_signature_covers_the_raw_bytes_and_their_escaped_slashes(bench: Bench) -> None:
    bench.sell("SH01", 1, "low_price")
    request = heard(bench)[0]
    secret = bench.shop("SH01").app_secret.encode()

    def signed(body: bytes) -> str:
        return base64.b64encode(hmac.new(secret, body, hashlib.sha256).digest()).decode()

    assert request.headers["X-Shopify-Hmac-SHA256"] == signed(request.content)
    again = json.dumps(json.loads(request.content), ensure_ascii=False, separators=(",", ":"))
    assert request.headers["X-Shopify-Hmac-SHA256"] != signed(again.encode())
    assert request.headers["X-Shopify-Shop-Domain"] == "sandbox-store.myshopify.com"


def test_a_refund_before_shipping_is_told_pending_and_then_done(bench: Bench) -> None:
    order = bench.sell("SH01", 1, "low_price")[0]
    heard(bench)
    bench.market.ask_refund(order)
    bench.clock.pass_by(60)
    bench.book.settle_refund(order, order.refunds[0], DONE)
    told = heard(bench)
    refunds = [r for r in told if r.headers["X-Shopify-Topic"] == "refunds/create"]
    bodies = [json.loads(request.content) for request in refunds]
    assert [b["transactions"][0]["status"] for b in bodies] == ["pending", "success"]
    assert {b["refund_line_items"][0]["restock_type"] for b in bodies} == {"cancel"}
    assert len({b["id"] for b in bodies}) == 1
    assert len({r.headers["X-Shopify-Webhook-Id"] for r in told}) == len(told)
    assert not gaps(sample("shopify/webhook_refunds_create.json"), bodies[0])
    topics = [r.headers["X-Shopify-Topic"] for r in told]
    assert "orders/cancelled" in topics
    assert one(bench, order)["displayFinancialStatus"] == "REFUNDED"


def test_orders_are_named_in_a_row(bench: Bench) -> None:
    sold = bench.sell("SH01", 3)
    assert [one(bench, order)["name"] for order in sold] == ["#1001", "#1002", "#1003"]
