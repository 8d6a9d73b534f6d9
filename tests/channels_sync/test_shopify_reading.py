"""Shopify's odd but legal documents: each reads, exactly."""

import json
from copy import deepcopy
from decimal import Decimal
from typing import Any

import pytest

from channels_sync.connectors.shopify.connector import ShopifyConnector
from channels_sync.connectors.strict_json import dump_compact
from channels_sync.contracts import Document, ErrorClass, ShopAccess
from ordercenter.orders.contracts import ChannelStatus, OrderDraft
from tests.channels_sync.platforms import payload

READER = ShopifyConnector(ShopAccess("", "", "", ""))


def detail(**changes: Any) -> dict[str, Any]:
    found: dict[str, Any] = payload("shopify", "order_detail_discounts_gift")["data"]["order"]
    return deepcopy({**found, **changes})


def rest(**changes: Any) -> dict[str, Any]:
    return deepcopy({**payload("shopify", "webhook_orders_paid"), **changes})


def as_sent(document: Any) -> bytes:
    """Numbers with their digits, as they stand on the wire."""
    return dump_compact(json.loads(json.dumps(document), parse_float=Decimal))


def read(order: dict[str, Any]) -> OrderDraft:
    return READER.read(as_sent(order))


def document(found: Any) -> Document:
    return READER.read_document(as_sent(found))


def in_currency(order: Any, code: str, *, digits: int) -> Any:
    """Every shop amount in another currency, its amount cut to so many decimals."""
    if isinstance(order, list):
        return [in_currency(one, code, digits=digits) for one in order]
    if not isinstance(order, dict):
        return order
    if "shopMoney" in order:
        amount = f"{Decimal(order['shopMoney']['amount']):.{digits}f}"
        shop = {"amount": amount, "currencyCode": code}
        return {"shopMoney": shop, "presentmentMoney": {"amount": "1.23", "currencyCode": "USD"}}
    return {key: in_currency(value, code, digits=digits) for key, value in order.items()}


@pytest.mark.parametrize(("code", "digits", "payable"), [
    ("JPY", 0, "430"), ("JPY", 1, "430"), ("KWD", 3, "430.000"), ("USD", 4, "430.00"),
])  # fmt: skip
def test_the_shops_currency_counts_with_its_own_decimals(
    code: str, digits: int, payable: str
) -> None:
    found = in_currency(detail(), code, digits=digits)
    draft = read({**found, "currencyCode": code, "presentmentCurrencyCode": "USD"})
    assert (draft.currency, str(draft.payable_amount)) == (code, payable)
    assert sum((line.amount for line in draft.lines), draft.freight) == draft.payable_amount


def test_edges_read_like_nodes() -> None:
    page = payload("shopify", "orders_page")
    orders = page["data"]["orders"]
    nodes = document(page).orders
    orders["edges"] = [{"cursor": "c", "node": node} for node in orders.pop("nodes")]
    for edge in orders["edges"]:
        items = edge["node"]["lineItems"]
        items["edges"] = [{"node": node} for node in items.pop("nodes")]
    assert document(page).orders == nodes
    assert len(nodes) == 2


def test_an_empty_page_is_a_page() -> None:
    found = document({"data": {"orders": {"nodes": [], "pageInfo": {"hasNextPage": False}}}})
    assert (found.kind, found.orders) == ("order_list", ())
    assert found.facts["page"] == {"has_next": False, "next_cursor": None}


def test_an_order_may_come_as_a_node_or_not_at_all() -> None:
    assert document({"data": {"node": detail()}}).orders == (read(detail()),)
    missing = document({"data": {"order": None}})
    assert missing.error is not None
    assert missing.error.code == "no_such_order"


def test_rest_wraps_orders_and_refunds_or_not() -> None:
    single = document(rest())
    assert document({"order": rest()}).orders == single.orders
    assert document({"orders": [rest()]}).kind == "order_list"
    refund = payload("shopify", "webhook_refunds_create")
    assert document({"refunds": [refund]}).refunds == document(refund).refunds


@pytest.mark.parametrize("number", [5500000000101, "5500000000101", 9223372036854775807])
def test_a_number_keeps_every_digit(number: Any) -> None:
    assert read(rest(id=number)).channel_number == str(number)
    gid = f"gid://shopify/Order/{number}"
    assert read(detail(legacyResourceId=None, id=gid)).channel_number == str(number)


@pytest.mark.parametrize(
    ("financial", "fulfillment", "status"),
    [
        ("paid", None, ChannelStatus.WAIT_SHIP),
        ("paid", "partial", ChannelStatus.PART_SHIPPED),
        ("paid", "fulfilled", ChannelStatus.SHIPPED),
        ("paid", "restocked", ChannelStatus.ON_HOLD),
        ("partially_refunded", None, ChannelStatus.WAIT_SHIP),
        ("authorized", None, ChannelStatus.WAIT_PAY),
        ("partially_paid", None, ChannelStatus.DEPOSIT_PAID),
        ("refunded", None, ChannelStatus.CLOSED_REFUNDED),
        ("voided", None, ChannelStatus.CLOSED),
        ("new_word", None, ChannelStatus.UNKNOWN),
        ("paid", "new_word", ChannelStatus.UNKNOWN),
        (None, None, ChannelStatus.UNKNOWN),
    ],
)
def test_webhooks_spell_the_statuses_small(
    financial: Any, fulfillment: Any, status: ChannelStatus
) -> None:
    draft = read(rest(financial_status=financial, fulfillment_status=fulfillment))
    assert draft.status is status
    assert draft.status_raw == f"{financial or ''}/{fulfillment or 'null'}"


@pytest.mark.parametrize(
    ("changes", "paid"),
    [
        ({"total_outstanding": "128.50"}, "0.00"),
        ({"total_outstanding": "28.5"}, "100.00"),
        ({"total_outstanding": "-10.00"}, "138.50"),
        ({"total_outstanding": None}, "128.50"),
        ({"total_outstanding": None, "financial_status": "pending"}, "0.00"),
        ({"total_price": 128.5, "total_outstanding": 0}, "128.50"),
    ],
)
def test_what_came_in_is_the_price_less_what_is_open(changes: dict[str, Any], paid: str) -> None:
    draft = read(rest(**changes))
    assert draft.paid_amount == Decimal(paid)
    assert (draft.paid_at is not None) is (draft.paid_amount > 0)


def test_a_list_without_what_was_received_goes_by_the_status() -> None:
    assert read(detail(totalReceivedSet=None)).paid_amount == Decimal("430.00")
    waiting = detail(totalReceivedSet=None, displayFinancialStatus="AUTHORIZED")
    assert read(waiting).paid_amount == Decimal("0.00")


def test_pieces_given_back_are_told_by_the_refunds_of_older_payloads() -> None:
    order = rest()
    order["line_items"][0] |= {"quantity": 3, "current_quantity": None, "price": "39.50"}
    item = {"line_item_id": 13000000000101, "quantity": 1}
    assert read(order).lines[0].refund_state == "none"
    order["refunds"] = [{"id": 1, "refund_line_items": [item]}]
    assert read(order).lines[0].refund_state == "partial"
    order["refunds"] *= 3
    assert read(order).refund_state == "full"


def test_tax_on_top_is_part_of_what_a_line_costs() -> None:
    order = rest(taxes_included=False, total_price="136.50")
    order["line_items"][0]["tax_lines"] = [{"price": "8.00", "rate": 0.08}]
    draft = read(order)
    assert draft.lines[0].amount == Decimal("126.50")
    assert draft.lines[0].unit_price == Decimal("118.50")
    assert sum((line.amount for line in draft.lines), draft.freight) == draft.payable_amount
    assert read({**order, "taxes_included": True}).lines[0].amount == Decimal("118.50")


def test_a_shipping_line_may_be_discounted() -> None:
    lines = [{"price": "10.00", "discounted_price": "4.00"}, {"price": "1.00"}]
    assert read(rest(shipping_lines=lines)).freight == Decimal("5.00")
    assert read(rest(shipping_lines=[])).freight == Decimal("0.00")


def test_a_discount_may_stand_on_the_line_alone() -> None:
    order = rest()
    order["line_items"][0] |= {"discount_allocations": [], "total_discount": "118.50"}
    (line,) = read(order).lines
    assert (line.amount, line.is_gift) == (Decimal("0.00"), True)


def test_a_name_in_two_parts_is_one_name() -> None:
    order = detail()
    order["shippingAddress"] |= {"name": None, "firstName": "明", "lastName": "李"}
    receiver = read(order).receiver
    assert receiver is not None
    assert receiver.name == "明 李"
    order["shippingAddress"] = dict.fromkeys(order["shippingAddress"])
    hidden = read(order).receiver
    assert hidden is not None
    assert (hidden.name, hidden.province) == ("", "")


@pytest.mark.parametrize("gone", ["discountApplications", "customAttributes", "taxesIncluded"])
def test_what_we_do_not_need_may_be_missing(gone: str) -> None:
    order = detail()
    del order[gone]
    assert read(order) == read(detail())


def test_fields_nobody_knows_change_nothing() -> None:
    assert read(detail(brandNew={"a": [1]})) == read(detail())


@pytest.mark.parametrize(
    ("errors", "klass", "code"),
    [
        ([{"message": "m", "extensions": {"code": "ACCESS_DENIED"}}], "auth", "ACCESS_DENIED"),
        ([{"message": "m", "extensions": {"code": "MAX_COST_EXCEEDED"}}], "business",
         "MAX_COST_EXCEEDED"),
        ([{"message": "m", "extensions": {"code": "INTERNAL_SERVER_ERROR"}}], "platform",
         "INTERNAL_SERVER_ERROR"),
        ([{"message": "m"}], "business", "errors"),
        ("Not Found", "business", "errors"),
        ("[API] Invalid API key or access token (unrecognized login)", "auth", "errors"),
        ([{"message": "a"}, {"message": "b", "extensions": {"code": "THROTTLED"}}],
         "rate_limited", "THROTTLED"),
    ],
)  # fmt: skip
def test_errors_are_told_by_their_code(errors: Any, klass: str, code: str) -> None:
    error = document({"errors": errors}).error
    assert error is not None
    assert (error.klass, error.code) == (ErrorClass(klass), code)


def test_half_an_answer_is_an_error_of_the_platform() -> None:
    found = document({"data": {"order": detail()}, "errors": [{"message": "m"}]}).error
    assert found is not None
    assert found.klass is ErrorClass.PLATFORM


def test_a_mistake_of_ours_keeps_its_own_code_beside() -> None:
    stale = {"message": "m", "code": "CHANGE_FROM_QUANTITY_STALE"}
    found = document({"data": {"inventorySetQuantities": {"userErrors": [stale]}}}).error
    assert found is not None
    assert (found.code, found.sub_code) == ("userErrors", "CHANGE_FROM_QUANTITY_STALE")


@pytest.mark.parametrize(
    ("changes", "state", "raw", "amount"),
    [
        ({}, "refunded", "success", "118.50"),
        ({"transactions": []}, "refunded", "success", "0.00"),
        ({"refund_line_items": []}, "refunded", "success", "118.50"),
    ],
)
def test_a_refund_is_what_its_money_is(
    changes: dict[str, Any], state: str, raw: str, amount: str
) -> None:
    refund = payload("shopify", "webhook_refunds_create") | changes
    (draft,) = document(refund).refunds
    assert (draft.refund_state, draft.state_raw, draft.amount) == (state, raw, Decimal(amount))


def test_a_refund_over_two_lines_names_neither() -> None:
    refund = payload("shopify", "webhook_refunds_create")
    item = refund["refund_line_items"][0]
    refund["refund_line_items"] = [item, {**item, "line_item_id": 7}]
    (draft,) = document(refund).refunds
    assert draft.channel_line_id is None
