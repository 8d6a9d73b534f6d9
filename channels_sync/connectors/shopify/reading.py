"""What Shopify's documents say (``channels.md`` 5c): one order reads the same from GraphQL and
from the REST shape of webhooks. Amounts are the shop's currency, exact to its smallest coin."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, TypeGuard

from channels_sync.connectors.field_map import FieldMap, Fields
from channels_sync.connectors.shopify.queries import DETAIL_METHOD, LIST_METHOD
from channels_sync.connectors.shopify.wire import error_of, no_such_order, number_of, rows_of
from channels_sync.connectors.values import Node, order_refund_state, quantum_of, yuan
from channels_sync.contracts import Document, Unreadable
from ordercenter.orders.contracts import (
    ChannelStatus,
    EvidenceDraft,
    LineDraft,
    OrderDraft,
    ReceiverDraft,
    RefundDraft,
)

CHANNEL: Final = "shopify"
_S: Final = ChannelStatus
_PAID: Final = frozenset({"PAID", "PARTIALLY_REFUNDED"})
_MONEY_CAME: Final = _PAID | {"REFUNDED"}
_REFUND_UNDER_WAY: Final = frozenset({"pending", "processing", "awaiting_response"})
_REFUND_FAILED: Final = frozenset({"failure", "error"})


# --- documents ---------------------------------------------------------------------------------


def read_document(document: Node, fields: FieldMap) -> Document:
    """Tell what any document of the platform says. Raises Unreadable."""
    if "data" not in document.data and "errors" not in document.data:
        return _read_rest(document, fields)
    error = error_of(document)
    if error is not None:
        return Document("error", error=error)
    data = document.node("data")
    if "orders" in data.data:
        return _read_page(data.node("orders"), fields)
    for key in ("order", "node"):
        if key in data.data:
            return _read_detail(data, key, fields)
    return Document("ack", facts={"ok": True})


def _read_detail(data: Node, key: str, fields: FieldMap) -> Document:
    found = data.get(key)
    if found is None:
        return Document("error", error=no_such_order().error)
    return _orders("order", [Node.of(found, key)], fields, method=DETAIL_METHOD)


def _orders(kind: str, orders: Sequence[Node], fields: FieldMap, **facts: Any) -> Document:
    found = tuple(read_order(order, fields) for order in orders)
    section = fields.section("order")
    names = {
        draft.channel_number: {"name": section.over(order).text("name")}
        for draft, order in zip(found, orders, strict=True)
    }
    return Document(kind, orders=found, facts={**facts, "order_facts": names})


def _read_page(orders: Node, fields: FieldMap) -> Document:
    info = orders.node_or_empty("pageInfo")
    page = {"has_next": info.boolean("hasNextPage"), "next_cursor": info.given_text("endCursor")}
    rows = _nodes(orders.data, "orders")
    return _orders("order_list", rows, fields, method=LIST_METHOD, page=page)


def _read_rest(payload: Node, fields: FieldMap) -> Document:
    """The body of a webhook, or what the REST interface wraps one in."""
    if "refund_line_items" in payload.data:
        return Document("refund_list", refunds=(read_refund(payload, fields),))
    if "line_items" in payload.data or "lineItems" in payload.data:
        return _orders("order", [payload], fields)
    for key, kind in (("order", "order"), ("orders", "order_list")):
        if key in payload.data:
            return _orders(kind, payload.nodes(key), fields)
    for key in ("refund", "refunds"):
        if key in payload.data:
            found = tuple(read_refund(one, fields) for one in payload.nodes(key))
            return Document("refund_list", refunds=found)
    if "access_token" in payload.data:
        return _read_token(payload)
    raise Unreadable("认不出这是 Shopify 的哪一种报文")


def _read_token(answer: Node) -> Document:
    facts = {
        "access_token": answer.text("access_token"),
        "expires_in": answer.optional_whole("expires_in"),
        "shop_id": None,
        "shop_name": None,
    }
    return Document("token", facts=facts)


def _nodes(connection: Any, path: str) -> list[Node]:
    return [Node.of(row, f"{path}[{index}]") for index, row in enumerate(rows_of(connection))]


# --- orders ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Money:
    """Reads amounts of one currency, exact to its smallest coin."""

    currency: str
    quantum: Decimal

    @classmethod
    def of(cls, currency: str) -> "_Money":
        return cls(currency, quantum_of(currency))

    @property
    def zero(self) -> Decimal:
        return Decimal(0).quantize(self.quantum)

    def read(self, fields: Fields, name: str, *, default: Decimal | None = None) -> Decimal:
        return fields.amount(name, default=default, quantum=self.quantum)

    def bag(self, node: Node, key: str) -> Decimal:
        """An amount as GraphQL's MoneyBag or as plain text, whichever is there."""
        value = node.get(key)
        inner = value.get("shopMoney", value.get("shop_money")) if _is(value) else None
        amount = inner.get("amount") if _is(inner) else value
        return yuan(amount, node.name(key), quantum=self.quantum) if amount else self.zero

    def check(self, currency: str, name: str) -> None:
        """Refuse an amount in another currency than the order's."""
        if currency and currency != self.currency:
            raise Unreadable(f"字段 {name} 的币种与订单不一致")


def _is(value: Any) -> TypeGuard[Mapping[str, Any]]:
    return isinstance(value, Mapping)


def read_order(node: Node, fields: FieldMap) -> OrderDraft:
    """Normalize an order of either shape. Raises Unreadable."""
    order = fields.section("order").over(node)
    money = _Money.of(order.id("currency"))
    money.check(order.text("payable_currency"), "totalPriceSet")
    lines = _lines(order, money, fields)
    financial = order.text("financial").upper()
    payable = money.read(order, "payable_amount")
    paid = _paid(order, money, payable, financial)
    evidence = fields.section("evidence").over(node)
    return OrderDraft(
        channel=CHANNEL,
        channel_number=_number(order, "channel_number"),
        status=_status(order, paid=paid),
        status_raw=f"{order.text('financial')}/{order.text('fulfillment') or 'null'}",
        currency=money.currency,
        payable_amount=payable,
        paid_amount=paid,
        freight=_freight(node, order, money),
        placed_at=order.claimed_time("placed_at"),
        modified_at=order.required_time("modified_at"),
        # When an order was processed is when it was paid, if it was.
        paid_at=order.time("processed_at") if paid > 0 else None,
        lines=lines,
        receiver=_receiver(order, fields),
        evidence=EvidenceDraft(
            buyer_id=number_of(evidence.raw("buyer_id")) or "", ip=evidence.text("ip")
        ),
        buyer_remark=order.given_text("buyer_remark"),
        refund_state=_order_refund(financial, lines, node),
        is_test=order.boolean("is_test"),
    )


def _number(fields: Fields, name: str) -> str:
    found = number_of(fields.raw(name))
    return found or fields.id(name)  # raises with the field's own name


def _lines(order: Fields, money: _Money, fields: FieldMap) -> tuple[LineDraft, ...]:
    connection = order.raw("lines")
    info = connection.get("pageInfo") if _is(connection) else None
    if _is(info) and Node(info).boolean("hasNextPage"):
        raise Unreadable("订单的商品行没有读全")
    section = fields.section("line")
    gone = _refunded(order.node)
    taxed = order.boolean("taxes_included", default=True)
    lines = tuple(
        _line(section.over(row), money, gone, taxed=taxed)
        for row in _nodes(connection, "line_items")
    )
    if not lines:
        raise Unreadable("订单没有商品行")
    return lines


def _refunded(order: Node) -> Mapping[str, int]:
    """How many pieces of each line were given back, for payloads without a current quantity."""
    found: dict[str, int] = {}
    for refund in _nodes(order.get("refunds"), "refunds"):
        items = refund.get("refund_line_items") or refund.get("refundLineItems")
        for item in _nodes(items, "refund_line_items"):
            line = number_of(item.get("line_item_id")) or number_of(
                item.node_or_empty("lineItem").get("id")
            )
            if line:
                found[line] = found.get(line, 0) + item.whole("quantity", default=0)
    return found


def _line(line: Fields, money: _Money, gone: Mapping[str, int], *, taxed: bool) -> LineDraft:
    money.check(line.text("unit_currency"), f"{line.node.path}.originalUnitPriceSet")
    unit, quantity = money.read(line, "unit_price"), line.quantity("quantity")
    gross = unit * quantity
    amount = gross - _discount(line.node, money)
    if amount < 0:
        raise Unreadable(f"{line.node.path} 的优惠大于商品金额")
    line_id = _number(line, "channel_line_id")
    left = line.whole("left", default=max(0, quantity - gone.get(line_id, 0)))
    state = "none" if left >= quantity else "partial"
    return LineDraft(
        channel_line_id=line_id,
        platform_sku_id=number_of(line.raw("platform_sku_id")),
        platform_item_id=number_of(line.raw("platform_item_id")),
        outer_code=line.some_text("outer_code"),
        title=line.text("title"),
        quantity=quantity,
        unit_price=unit,
        amount=amount if taxed else amount + _tax(line.node, money),
        is_gift=gross > 0 and amount == 0,
        refund_state=state if left > 0 else "refunded",
    )


def _discount(line: Node, money: _Money) -> Decimal:
    if rows := line.nodes("discountAllocations"):
        return sum((money.bag(row, "allocatedAmountSet") for row in rows), money.zero)
    if rows := line.nodes("discount_allocations"):
        return sum((money.bag(row, "amount") for row in rows), money.zero)
    return money.bag(line, "total_discount")


def _tax(line: Node, money: _Money) -> Decimal:
    """What comes on top of a line where prices are without tax."""
    if rows := line.nodes("taxLines"):
        return sum((money.bag(row, "priceSet") for row in rows), money.zero)
    return sum((money.bag(row, "price") for row in line.nodes("tax_lines")), money.zero)


def _freight(node: Node, order: Fields, money: _Money) -> Decimal:
    """REST names each shipping line, after its discount; GraphQL the sum."""
    rows = node.nodes("shipping_lines")
    if not rows:
        return money.read(order, "freight", default=money.zero)
    keys = ("discounted_price" if row.get("discounted_price") else "price" for row in rows)
    return sum((money.bag(row, key) for row, key in zip(rows, keys, strict=True)), money.zero)


def _paid(order: Fields, money: _Money, payable: Decimal, financial: str) -> Decimal:
    """What has come in: told as such, or as what is still open, or by the status alone."""
    if order.given("received"):
        return money.read(order, "received")
    if order.given("outstanding"):
        still_open = order.amount("outstanding", signed=True, quantum=money.quantum)
        return max(payable - still_open, money.zero)
    return payable if financial in _MONEY_CAME else money.zero


def _status(order: Fields, *, paid: Decimal) -> ChannelStatus:
    """One status of Shopify's two. What no table names is UNKNOWN and will be held."""
    financial = order.text("financial").upper()
    if financial == "REFUNDED":
        return _S.CLOSED_REFUNDED
    if financial == "VOIDED" or order.given("canceled_at"):
        return _S.CLOSED if paid else _S.CLOSED_UNPAID
    if financial not in _PAID:
        return _word(order, "unpaid_status")
    status = _word(order, "shipping_status")
    return _S.FINISHED if status is _S.SHIPPED and order.given("archived_at") else status


def _word(order: Fields, name: str) -> ChannelStatus:
    return ChannelStatus(order.word(name) or _S.UNKNOWN)


def _order_refund(financial: str, lines: Sequence[LineDraft], order: Node) -> str | None:
    """A refund the bank has not settled is under way, whatever the lines say."""
    if financial == "REFUNDED":
        return "full"
    moves = [
        move.text("status").lower()
        for refund in _nodes(order.get("refunds"), "refunds")
        for move in _nodes(refund.get("transactions"), "transactions")
    ]
    if any(status in _REFUND_UNDER_WAY for status in moves):
        return "in_progress"
    state = order_refund_state(lines)
    return "partial" if state == "none" and financial == "PARTIALLY_REFUNDED" else state


def _receiver(order: Fields, fields: FieldMap) -> ReceiverDraft | None:
    """None for digital goods. Shopify encrypts nothing."""
    if not order.given("receiver"):
        return None
    to = fields.section("receiver").over(order.node_or_empty("receiver"))
    return ReceiverDraft(
        name=to.some_text("name") or to.text("full_name"),
        phone=to.text("phone"),
        province=to.text("province"),
        city=to.text("city"),
        district=to.text("district"),
        address=to.text("address"),
    )


# --- refunds -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Move:
    """One movement of money back to the buyer; ``status`` in lower case."""

    amount: Decimal
    status: str


def read_refund(node: Node, fields: FieldMap) -> RefundDraft:
    """Normalize a refund of either shape. Raises Unreadable.

    Its money is in ``transactions``; the subtotals of its lines only inform.
    """
    refund = fields.section("refund").over(node)
    moves = _moves(refund, fields)
    raw = next((one.status for one in moves if one.status != "success"), "success")
    amount = sum((one.amount for one in moves if one.status not in _REFUND_FAILED), Decimal("0.00"))
    state = "refunded"
    if raw in _REFUND_UNDER_WAY:
        state = "in_progress"
    elif raw in _REFUND_FAILED and not amount:
        state = "closed"
    lines, back = _given_back(refund, fields)
    return RefundDraft(
        channel=CHANNEL,
        refund_id=_number(refund, "refund_id"),
        channel_number=_number(refund, "channel_number"),
        channel_line_id=next(iter(lines)) if len(lines) == 1 else None,
        amount=amount,
        state_raw=raw,
        refund_state=state,
        return_goods=back,
        intercept_shipping=not back and state != "closed",
        modified_at=refund.time("modified_at"),
    )


def _moves(refund: Fields, fields: FieldMap) -> list[_Move]:
    section = fields.section("transaction")
    found = []
    for node in _nodes(refund.raw("transactions"), "transactions"):
        one = section.over(node)
        if one.text("kind").lower() == "refund":
            quantum = quantum_of(one.text("currency"))
            found.append(_Move(one.amount("amount", quantum=quantum), one.text("status").lower()))
    whole = refund.node.node_or_empty("totalRefundedSet").node_or_empty("shopMoney")
    if not found and whole.data:
        money = _Money.of(whole.text("currencyCode"))
        found.append(_Move(money.bag(refund.node, "totalRefundedSet"), "success"))
    return found


def _given_back(refund: Fields, fields: FieldMap) -> tuple[set[str], bool]:
    """Which lines a refund names, and whether the goods come back."""
    section = fields.section("refund_line")
    rows = [section.over(node) for node in _nodes(refund.raw("items"), "refund_line_items")]
    lines = {line for row in rows if (line := number_of(row.raw("channel_line_id")))}
    return lines, any(row.text("restock").lower() == "return" for row in rows)
