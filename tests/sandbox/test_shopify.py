"""Shopify's stand-in: the queries a center may send, shipping, webhooks over raw bytes."""

import base64
import hashlib
import hmac
import json
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx
import pytest

from ordercenter.sandbox.book import DONE, SHIPPED, Order
from ordercenter.sandbox.platforms.graphql import SyntaxProblem, read_operation
from ordercenter.sandbox.platforms.shopify import bodies, wire
from ordercenter.sandbox.platforms.shopify.oauth import query_hmac
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


# Pieces, pages and notes


def three_pieces(bench: Bench) -> Order:
    """A paid order of one line of three pieces."""
    order = bench.sell_paid("SH01")[0]
    while len(order.lines) > 1:
        order = bench.sell_paid("SH01")[0]
    order.lines[0].quantity = 3
    bench.book.keep(order)
    return order


def pieces(bench: Bench, order: Order, count: int) -> list[dict[str, Any]]:
    rows = one(bench, order)["fulfillmentOrders"]["nodes"][0]["lineItems"]["nodes"]
    return [{"id": rows[0]["id"], "quantity": count}]


def errors(answer: dict[str, Any], name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = answer["data"][name]["userErrors"]
    return found


def test_a_line_goes_in_several_parcels_and_never_more_than_was_bought(bench: Bench) -> None:
    order = three_pieces(bench)
    two = ship(bench, order, fulfillmentOrderLineItems=pieces(bench, order, 2))
    assert not errors(two, "fulfillmentCreate")
    assert one(bench, order)["lineItems"]["nodes"][0]["unfulfilledQuantity"] == 1
    more = ship(bench, order, "SF2", fulfillmentOrderLineItems=pieces(bench, order, 2))
    assert errors(more, "fulfillmentCreate")
    ship(bench, order, "SF2", fulfillmentOrderLineItems=pieces(bench, order, 1))
    assert order.state == SHIPPED
    assert [list(s.quantities.values()) for s in order.shipments] == [[2], [1]]


def test_goods_without_a_parcel_need_no_number(bench: Bench) -> None:
    order = three_pieces(bench)
    gid = one(bench, order)["fulfillmentOrders"]["nodes"][0]["id"]
    wish = {"lineItemsByFulfillmentOrder": [{"fulfillmentOrderId": gid}]}
    assert not errors(graphql(bench, CREATE, fulfillment=wish), "fulfillmentCreate")
    assert (order.state, order.shipments[0].is_virtual) == (SHIPPED, True)


def test_a_tracking_number_is_changed_by_its_fulfillment(bench: Bench) -> None:
    order = three_pieces(bench)
    made = ship(bench, order)["data"]["fulfillmentCreate"]["fulfillment"]["id"]
    change = """mutation($id: ID!, $info: FulfillmentTrackingInput!) {
      fulfillmentTrackingInfoUpdate(fulfillmentId: $id, trackingInfoInput: $info) {
        userErrors { message } } }"""
    info = {"company": "SF Express", "number": "SF9"}
    done = graphql(bench, change, id=made, info=info)
    assert not errors(done, "fulfillmentTrackingInfoUpdate")
    assert [s.tracking_number for s in order.shipments] == ["SF9"]
    unknown = graphql(bench, change, id="gid://shopify/Fulfillment/1", info=info)
    assert errors(unknown, "fulfillmentTrackingInfoUpdate")


def test_lines_are_turned_in_the_pages_asked_for(bench: Bench) -> None:
    order = bench.sell_paid("SH01")[0]
    while len(order.lines) < 3:
        order = bench.sell_paid("SH01")[0]
    query = """query($id: ID!, $after: String) { order(id: $id) {
      ... on Order { lineItems(first: 2, after: $after) { nodes { id } pageInfo { endCursor } } }
      fulfillmentOrders(first: 5) { nodes { id lineItems(first: 1) { nodes { id } } } } } }"""
    gid = f"gid://shopify/Order/{order.number}"
    first = graphql(bench, query, id=gid, after=None)["data"]["order"]
    assert len(first["lineItems"]["nodes"]) == 2
    assert first["lineItems"]["pageInfo"]["hasNextPage"] is True
    inner = first["fulfillmentOrders"]["nodes"][0]["lineItems"]
    assert (len(inner["nodes"]), inner["pageInfo"]["hasNextPage"]) == (1, True)
    after = first["lineItems"]["pageInfo"]["endCursor"]
    rest = graphql(bench, query, id=gid, after=after)["data"]["order"]["lineItems"]
    assert len(rest["nodes"]) == len(order.lines) - 2
    bench.shop("SH01").options["inner_page"] = "1"
    short = graphql(bench, query, id=gid, after=None)["data"]["order"]["lineItems"]
    assert (len(short["nodes"]), short["pageInfo"]["hasNextPage"]) == (1, True)


def test_an_answer_comes_under_its_alias(bench: Bench) -> None:
    order = bench.sell("SH01")[0]
    query = 'query { mine: order(id: "%s") { id } other: shop { name } }'
    gid = f"gid://shopify/Order/{order.number}"
    assert set(graphql(bench, query % gid)["data"]) == {"mine", "other"}


def test_orders_are_found_by_their_creation(bench: Bench) -> None:
    old = bench.sell("SH01")[0]
    bench.clock.pass_by(3600)
    bench.book.touch(old)
    new = bench.sell("SH01")[0]
    bound = bodies.zulu(new.created)
    found = listed(bench, q=f"created_at:>='2020-01-01T00:00:00Z' created_at:<'{bound}'")
    assert [node["legacyResourceId"] for node in found["nodes"]] == [old.number]


NOTE = """mutation($input: OrderInput!) { orderUpdate(input: $input) {
  order { id note tags } userErrors { message } } }"""


def test_note_and_tags_are_replaced(bench: Bench) -> None:
    order = bench.sell_paid("SH01")[0]
    gid = f"gid://shopify/Order/{order.number}"
    done = graphql(bench, NOTE, input={"id": gid, "note": "客服备注", "tags": ["加急"]})
    assert not gaps(sample("shopify/orderUpdate_ok.json"), done)
    assert one(bench, order)["note"] == order.memo == "客服备注"
    graphql(bench, NOTE, input={"id": gid, "tags": []})
    assert (one(bench, order)["note"], one(bench, order)["tags"]) == ("客服备注", [])
    unknown = graphql(bench, NOTE, input={"id": "gid://shopify/Order/1", "note": "x"})
    assert errors(unknown, "orderUpdate")


# Stock

SET = """mutation Set($input: InventorySetQuantitiesInput!, $key: String!) {
  inventorySetQuantities(input: $input) @idempotent(key: $key) {
    inventoryAdjustmentGroup { id } userErrors { code message } } }"""
SET_OLD = """mutation($input: InventorySetQuantitiesInput!) {
  inventorySetQuantities(input: $input) { userErrors { code message } } }"""
LOCATION = f"gid://shopify/Location/{bodies.LOCATION}"


def item(bench: Bench) -> str:
    sku = next(x.platform_sku_id for x in bench.shop("SH01").listed if x.platform_sku_id)
    return f"gid://shopify/InventoryItem/{bodies.inventory_item(sku)}"


def shown(bench: Bench) -> int:
    query = "query($id: ID!) { inventoryItem(id: $id) { inventoryLevels { nodes { id } } } }"
    levels = graphql(bench, query, id=item(bench))["data"]["inventoryItem"]["inventoryLevels"]
    quantities = {row["name"]: row["quantity"] for row in levels["nodes"][0]["quantities"]}
    assert levels["nodes"][0]["location"]["id"] == LOCATION
    return int(quantities["available"])


def wish(bench: Bench, quantity: int, **row: Any) -> dict[str, Any]:
    told = {"inventoryItemId": item(bench), "locationId": LOCATION, "quantity": quantity}
    return {
        "name": "available",
        "reason": "correction",
        "referenceDocumentUri": "gid://order-center/StockPush/1",
        "quantities": [told | row],
    }


def test_stock_is_set_where_it_is_as_believed(bench: Bench) -> None:
    done = graphql(bench, SET, input=wish(bench, 997, changeFromQuantity=1000), key="k1")
    assert not gaps(sample("shopify/inventorySetQuantities_ok.json")["data"], done["data"])
    changes = done["data"]["inventorySetQuantities"]["inventoryAdjustmentGroup"]["changes"]
    assert ([change["delta"] for change in changes], shown(bench)) == ([-3], 997)
    stale = graphql(bench, SET, input=wish(bench, 5, changeFromQuantity=1000), key="k2")
    codes = [error["code"] for error in errors(stale, "inventorySetQuantities")]
    assert (codes, shown(bench)) == (["CHANGE_FROM_QUANTITY_STALE"], 997)
    graphql(bench, SET, input=wish(bench, 5, changeFromQuantity=None), key="k3")
    assert shown(bench) == 5


def test_a_key_has_its_effect_once(bench: Bench) -> None:
    told = wish(bench, 997, changeFromQuantity=1000)
    first = graphql(bench, SET, input=told, key="k1")["data"]
    graphql(bench, SET, input=wish(bench, 990, changeFromQuantity=997), key="k2")
    assert graphql(bench, SET, input=told, key="k1")["data"] == first
    assert shown(bench) == 990
    other = graphql(bench, SET, input=wish(bench, 1, changeFromQuantity=990), key="k1")
    assert [e["code"] for e in errors(other, "inventorySetQuantities")] == [
        "IDEMPOTENCY_KEY_PARAMETER_MISMATCH"
    ]
    stale = wish(bench, 1, changeFromQuantity=1000)
    graphql(bench, SET, input=stale, key="k3")
    again = graphql(bench, SET, input=stale, key="k3")
    assert [e["code"] for e in errors(again, "inventorySetQuantities")] == [
        "IDEMPOTENCY_PREVIOUS_ATTEMPT_FAILED"
    ]
    writes = bench.http.get("/book/writes", kind="stock").json()["writes"]
    assert [(row["key"], row["asked"], row["effects"]) for row in writes] == [
        ("k1", 2, 1), ("k2", 1, 1),
    ]  # fmt: skip


def test_each_version_has_its_own_way_to_compare(bench: Bench) -> None:
    without = graphql(bench, SET_OLD, input=wish(bench, 1, changeFromQuantity=1000))
    assert "@idempotent" in without["errors"][0]["message"]
    old_word = graphql(bench, SET, input=wish(bench, 1, compareQuantity=1000), key="k1")
    assert "compareQuantity" in old_word["errors"][0]["message"]
    missing = graphql(bench, SET, input=wish(bench, 1), key="k1")
    assert "changeFromQuantity" in missing["errors"][0]["message"]

    def old(sent: dict[str, Any]) -> dict[str, Any]:
        reply = call(
            bench, "POST", "/shopify/admin/api/2026-01/graphql.json",
            json={"query": SET_OLD, "variables": {"input": sent}},
            headers={"X-Shopify-Access-Token": bench.shop("SH01").access_token},
        )  # fmt: skip
        assert reply.headers["X-Shopify-API-Version"] == "2026-01"
        facts: dict[str, Any] = reply.json()
        return facts

    assert not errors(old(wish(bench, 8, compareQuantity=1000)), "inventorySetQuantities")
    stale = errors(old(wish(bench, 8, compareQuantity=1000)), "inventorySetQuantities")
    assert [error["code"] for error in stale] == ["COMPARE_QUANTITY_STALE"]
    assert not errors(old(wish(bench, 9) | {"ignoreCompareQuantity": True}),
                      "inventorySetQuantities")  # fmt: skip
    assert "changeFromQuantity" in old(wish(bench, 1, changeFromQuantity=1))["errors"][0]["message"]
    assert shown(bench) == 9


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ({"inventoryItemId": "gid://shopify/InventoryItem/1"}, "INVALID_INVENTORY_ITEM"),
        ({"locationId": "gid://shopify/Location/1"}, "INVALID_LOCATION"),
        ({"quantity": -1}, "INVALID_QUANTITY_NEGATIVE"),
    ],
)
def test_a_bad_figure_is_refused(bench: Bench, row: dict[str, Any], code: str) -> None:
    sent = wish(bench, 5, changeFromQuantity=None)
    sent["quantities"][0] |= row
    answer = graphql(bench, SET, input=sent, key="k1")
    assert [e["code"] for e in errors(answer, "inventorySetQuantities")] == [code]
    assert shown(bench) == 1000


def test_variants_items_and_locations_can_be_asked_for(bench: Bench) -> None:
    known = next(x for x in bench.shop("SH01").listed if x.platform_sku_id and x.outer_code)
    query = "query($q: String) { %s(first: 5, query: $q) { nodes { id } } }"
    items = graphql(bench, query % "inventoryItems", q=f"sku:{known.outer_code}")["data"]
    assert items["inventoryItems"]["nodes"][0]["variant"]["id"].endswith(known.platform_sku_id)
    variants = graphql(bench, query % "productVariants", q=f"sku:'{known.outer_code}'")["data"]
    node = variants["productVariants"]["nodes"][0]
    assert node["inventoryItem"]["id"] == items["inventoryItems"]["nodes"][0]["id"]
    places = graphql(bench, "{ locations(first: 1) { nodes { id isActive } } }")["data"]
    assert [row["id"] for row in places["locations"]["nodes"]] == [LOCATION]
    bad = graphql(bench, query % "inventoryItems", q="vendor:x")
    assert "cannot search" in bad["errors"][0]["message"]


# Limits, versions, authorization


def test_a_small_bucket_runs_dry_and_fills_again(bench: Bench) -> None:
    bench.shop("SH01").options |= {"bucket": "60", "restore_rate": "10"}
    bench.sell("SH01", 50)
    assert "data" in graphql(bench, LIST, q=LONG_AGO, first=50, after=None)
    dry = graphql(bench, LIST, q=LONG_AGO, first=50, after=None)
    status = dry["extensions"]["cost"]["throttleStatus"]
    assert (dry["errors"][0]["extensions"]["code"], status["maximumAvailable"]) == ("THROTTLED", 60)
    bench.clock.pass_by(5)
    assert "data" in graphql(bench, LIST, q=LONG_AGO, first=50, after=None)


def test_an_old_version_falls_forward(bench: Bench) -> None:
    headers = {"X-Shopify-Access-Token": bench.shop("SH01").access_token}
    path = "/shopify/admin/api/2020-01/graphql.json"
    reply = call(bench, "POST", path, json={"query": "{ shop { id } }"}, headers=headers)
    assert (reply.status_code, reply.headers["X-Shopify-API-Version"]) == (200, "2025-07")
    nonsense = path.replace("2020-01", "soon")
    assert call(bench, "POST", nonsense, json={}, headers=headers).status_code == 404


def test_a_page_with_errors_beside_it_is_not_complete(bench: Bench) -> None:
    bench.sell("SH01", 3)
    bench.book.weather.order("shopify", "odd_shapes", share=1.0)
    given = graphql(bench, LIST, q=LONG_AGO, first=3, after=None)
    assert given["data"]["orders"]["nodes"][-1] is None
    assert given["errors"]


def test_an_authorization_is_signed_and_its_code_is_good_once(bench: Bench) -> None:
    shop = bench.shop("SH01")
    asked = {"client_id": shop.app_key, "redirect_uri": "http://127.0.0.1/back", "state": "s 1"}
    url = f"/shopify/admin/oauth/authorize?{urlencode(asked)}"
    reply = call(bench, "GET", url)
    items = dict(parse_qsl(urlsplit(reply.headers["location"]).query))
    kept = sorted((name, text) for name, text in items.items() if name != "hmac")
    signed = hmac.new(shop.app_secret.encode(), urlencode(kept).encode(), hashlib.sha256)
    assert (items["hmac"], items["state"]) == (signed.hexdigest(), "s 1")
    grant = {"client_id": shop.app_key, "client_secret": shop.app_secret, "code": items["code"]}
    path, old = "/shopify/admin/oauth/access_token", shop.access_token
    wrong = call(bench, "POST", path, json=grant | {"client_secret": "x"})
    assert (wrong.status_code, wrong.json()["error"]) == (400, "invalid_client")
    token = call(bench, "POST", path, json=grant).json()["access_token"]
    assert token == shop.access_token != old
    assert call(bench, "POST", path, json=grant).status_code == 400


def test_the_signature_of_an_authorization_is_the_vectors() -> None:
    facts = vector("shopify-oauth-query")
    assert query_hmac(facts["params"], facts["secret"]) == facts["expected_signature"]
