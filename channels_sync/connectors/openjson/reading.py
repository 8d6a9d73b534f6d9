"""What a shop system's JSON says, wholly by its field map: nothing here knows a field's name.

The packaged map speaks the vocabulary of our own webhook (``channels.md`` 7).
"""

from decimal import Decimal
from typing import Any, Final

from channels_sync.connectors.field_map import FieldMap, Fields
from channels_sync.connectors.receivers import plain_receiver
from channels_sync.connectors.values import (
    Node,
    line_ids,
    order_refund_state,
    quantum_of,
)
from channels_sync.contracts import Document, ErrorClass, PlatformError, Unreadable
from ordercenter.orders.contracts import (
    ChannelStatus,
    EventDraft,
    EvidenceDraft,
    LineDraft,
    OrderDraft,
    ReceiverDraft,
    RefundDraft,
)

CHANNEL: Final = "openjson"
ZERO: Final = Decimal("0.00")
_UNPAID: Final = frozenset(
    {ChannelStatus.WAIT_PAY, ChannelStatus.DEPOSIT_PAID, ChannelStatus.CLOSED_UNPAID}
)


def error_of(answer: Node, fields: FieldMap) -> PlatformError | None:
    """The refusal in an answer, as the map's words class it; None where there is none."""
    told = fields.section("answer").over(answer)
    word = told.word("code")
    if word in {None, "ok"}:
        return None
    klass = ErrorClass(word) if word in set(ErrorClass) else ErrorClass.BUSINESS
    return PlatformError(klass, told.text("code")[:80], told.text("message")[:300])


def order_node(document: Node, fields: FieldMap) -> Node | None:
    """The order in a push or an answer: what ``push.order`` names, or the document itself."""
    return _holder(document, fields, "order", ("channel_number", "lines"))


def refund_node(document: Node, fields: FieldMap) -> Node | None:
    return _holder(document, fields, "refund", ("refund_id", "amount"))


def _holder(document: Node, fields: FieldMap, section: str, needed: tuple[str, ...]) -> Node | None:
    inner = fields.section("push").over(document).node_or_empty(section)
    for node in (inner, document):
        found = fields.section(section).over(node)
        if all(found.given(name) for name in needed):
            return node
    return None


def read_document(document: Node, fields: FieldMap) -> Document:
    """Tell what any document says. Raises Unreadable."""
    # A refund names its order as well, so it is looked for first.
    if refund := refund_node(document, fields):
        return Document("refund_list", refunds=(read_refund(refund, fields),))
    if order := order_node(document, fields):
        return Document("order", orders=(read_order(order, fields),))
    if error := error_of(document, fields):
        return Document("error", error=error)
    page = fields.section("page").over(document)
    if any(isinstance(page.raw(name), list) for name in ("orders", "refunds")):
        return _page(page, fields)
    if fields.section("push").over(document).given("channel_number"):
        return Document("event_list", events=(read_event(document, fields),))
    if fields.section("answer").over(document).word("code") == "ok":
        return Document("ack", facts={"ok": True})
    raise Unreadable("按字段对照表认不出这是哪一种报文")


def _page(page: Fields, fields: FieldMap) -> Document:
    facts = {
        "page": {
            "has_next": page.boolean("has_next") if page.given("has_next") else None,
            "next_cursor": page.given_text("next_cursor"),
            "total": page.optional_whole("total"),
        }
    }
    orders = tuple(read_order(row, fields) for row in page.nodes("orders"))
    refunds = tuple(read_refund(row, fields) for row in page.nodes("refunds"))
    kind = "refund_list" if refunds and not orders else "order_list"
    return Document(kind, orders=orders, refunds=refunds, facts=facts)


# --- orders -------------------------------------------------------------------------------------


def read_order(node: Node, fields: FieldMap) -> OrderDraft:
    """Normalise one order. Raises Unreadable."""
    order = fields.section("order").over(node)
    currency = order.id("currency")
    coin = quantum_of(currency)
    freight = order.amount("freight", default=ZERO, quantum=coin)
    lines = _lines(order, fields, coin)
    payable = _payable(order, lines, freight, coin)
    status = ChannelStatus(order.word("status") or ChannelStatus.UNKNOWN)
    status, paid = _settled(order, status, payable, coin)
    return OrderDraft(
        channel=CHANNEL,
        channel_number=order.id("channel_number"),
        status=status,
        status_raw=order.text("status"),
        currency=currency,
        payable_amount=payable,
        paid_amount=paid,
        freight=freight,
        placed_at=order.claimed_time("placed_at"),
        modified_at=order.required_time("modified_at"),
        lines=lines,
        paid_at=order.time("paid_at"),
        receiver=_receiver(fields.section("receiver").over(node)),
        evidence=_evidence(fields.section("evidence").over(node)),
        buyer_remark=order.given_text("buyer_remark"),
        seller_memo=order.given_text("seller_memo"),
        refund_state=order_refund_state(lines),
        is_test=order.boolean("is_test"),
        is_presale=order.boolean("is_presale"),
        is_deposit=order.boolean("is_deposit"),
        deposit_number=order.given_text("deposit_number") or "",
    )


def _payable(
    order: Fields, lines: tuple[LineDraft, ...], freight: Decimal, coin: Decimal
) -> Decimal:
    if order.given("payable_amount"):
        return order.amount("payable_amount", quantum=coin)
    if not order.given("goods_amount"):
        return sum((line.amount for line in lines), freight)
    goods = order.amount("goods_amount", quantum=coin)
    payable = goods - order.amount("discount_amount", default=ZERO, quantum=coin) + freight
    if payable < 0:
        raise Unreadable("优惠大于订单金额")
    return payable


def _settled(
    order: Fields, status: ChannelStatus, payable: Decimal, coin: Decimal
) -> tuple[ChannelStatus, Decimal]:
    """The status and what was paid; a closed order that took no money was closed unpaid."""
    given = order.optional_amount("paid_amount", quantum=coin)
    if status is ChannelStatus.CLOSED and not given and order.time("paid_at") is None:
        return ChannelStatus.CLOSED_UNPAID, ZERO
    if status is ChannelStatus.WAIT_PAY:
        return status, ZERO
    if given is not None:
        return status, given
    unsure = status in {ChannelStatus.UNKNOWN, ChannelStatus.ON_HOLD}
    unpaid = status in _UNPAID or (unsure and order.time("paid_at") is None)
    return status, ZERO if unpaid else payable


def _lines(order: Fields, fields: FieldMap, coin: Decimal) -> tuple[LineDraft, ...]:
    section = fields.section("line")
    rows = [section.over(row) for row in order.nodes("lines")]
    if not rows:
        raise Unreadable("订单没有商品行")
    given = [row.optional_id("channel_line_id") for row in rows]
    if len(named := [one for one in given if one]) != len(set(named)):
        raise Unreadable("两行商品的行号相同")
    ids = line_ids(one or str(at) for at, one in enumerate(given, 1))
    return tuple(_line(row, line_id, coin) for row, line_id in zip(rows, ids, strict=True))


def _line(row: Fields, line_id: str, coin: Decimal) -> LineDraft:
    quantity, unit = row.quantity("quantity"), row.amount("unit_price", quantum=coin)
    off = row.amount("discount_amount", default=ZERO, quantum=coin)
    amount = row.amount("amount", default=unit * quantity - off, quantum=coin)
    if amount < 0:
        raise Unreadable(f"{row.node.path} 的优惠大于商品金额")
    return LineDraft(
        channel_line_id=line_id,
        platform_sku_id=row.optional_id("platform_sku_id"),
        outer_code=row.some_text("outer_code"),
        title=row.text("title"),
        quantity=quantity,
        unit_price=unit,
        amount=amount,
        is_gift=row.boolean("is_gift"),
        refund_state=row.word("refund_state") or "none",
        platform_item_id=row.optional_id("platform_item_id"),
    )


def _receiver(receiver: Fields) -> ReceiverDraft | None:
    found = plain_receiver(receiver)
    return None if found == ReceiverDraft() else found


def _evidence(evidence: Fields) -> EvidenceDraft:
    return EvidenceDraft(
        buyer_id=evidence.text("buyer_id"),
        device_id=evidence.text("device_id"),
        ip=evidence.text("ip"),
    )


def tracking_numbers(node: Node, fields: FieldMap) -> set[str] | None:
    """The parcels the shop system knows of; None where the order does not say."""
    told: Any = fields.section("order").over(node).raw("tracking_numbers")
    if told is None:
        return None
    parcels = told if isinstance(told, list) else str(told).split(",")
    return {str(parcel).strip() for parcel in parcels} - {""}


# --- refunds and hints ----------------------------------------------------------------------------


def read_refund(node: Node, fields: FieldMap) -> RefundDraft:
    """Normalise one refund. Raises Unreadable."""
    refund = fields.section("refund").over(node)
    kind = refund.word("kind")
    state = refund.word("refund_state")
    if kind is None or state is None:
        raise Unreadable("退款缺少类型或状态")
    if kind == "exchange" and state == "refunded":
        state = "done"
    return RefundDraft(
        channel=CHANNEL,
        refund_id=refund.id("refund_id"),
        channel_number=refund.id("channel_number"),
        channel_line_id=refund.optional_id("channel_line_id"),
        amount=refund.amount("amount"),
        state_raw=refund.text("state_raw"),
        refund_state=state,
        return_goods=kind != "money",
        intercept_shipping=kind == "money" and state in {"in_progress", "refunded", "partial"},
        modified_at=refund.time("modified_at"),
        version=refund.text("version"),
    )


def read_event(node: Node, fields: FieldMap) -> EventDraft:
    """Read a hint: something happened to this order. Raises Unreadable."""
    push = fields.section("push").over(node)
    return EventDraft(
        channel=CHANNEL,
        event_id=push.id("event_id"),
        topic=push.text("topic"),
        channel_number=push.optional_id("channel_number"),
        occurred_at=push.time("occurred_at"),
    )
