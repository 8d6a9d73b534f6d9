"""What the CRM says (``channels.md`` 7): an order reads the same from a webhook and a row."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Final

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
    RefundDraft,
)

NO_MONEY: Final = Decimal("0.00")
_HOME: Final = "CNY"
"""What the tables mean: they name no currency."""
_ORDERS: Final = frozenset({"order", "items", "items_json", "pay_amount"})
"""What tells an order from the other documents."""
_S: Final = ChannelStatus
_UNPAID: Final = frozenset({_S.WAIT_PAY, _S.DEPOSIT_PAID, _S.CLOSED_UNPAID})
_EXCHANGE: Final = "exchange"
_REFUND_ONLY: Final = "refund_only"
ERRORS: Final[Mapping[str, ErrorClass]] = {
    "bad_signature": ErrorClass.AUTH,
    "stale_timestamp": ErrorClass.AUTH,
    "unknown_key": ErrorClass.AUTH,
    "rate_limited": ErrorClass.RATE_LIMITED,
    "busy": ErrorClass.PLATFORM,
}


def crm_error(answer: Node) -> PlatformError | None:
    """The refusal in an answer, if it is one."""
    error = answer.get("error")
    if answer.get("ok") is not False and error is None:
        return None
    found = Node(error) if isinstance(error, Mapping) else Node({})
    code = found.text("code") or "refused"
    return PlatformError(ERRORS.get(code, ErrorClass.BUSINESS), code, found.text("message"))


# --- documents ---------------------------------------------------------------------------------


def read_document(document: Node, fields: FieldMap, channel: str) -> Document:
    """Tell what any document of the CRM says. Raises Unreadable."""
    if "rows" in document.data:
        return _read_page(document, fields, channel)
    if _ORDERS & document.data.keys():
        return Document("order", orders=(read_order(document, fields, channel),))
    if "refund" in document.data or "refund_no" in document.data:
        return Document("refund_list", refunds=(read_refund(document, fields, channel),))
    error = crm_error(document)
    if error is not None:
        return Document("error", error=error)
    if document.get("ok") is True:
        return Document("ack", facts={"ok": True})
    raise Unreadable("认不出这是商城的哪一种报文")


def _read_page(page: Node, fields: FieldMap, channel: str) -> Document:
    facts = {"page": {"next_cursor": page.get("next_cursor")}}
    rows = page.nodes("rows")
    if page.text("table") == "crm_refund" or any("refund_no" in row.data for row in rows):
        refunds = tuple(read_refund(row, fields, channel) for row in rows)
        return Document("refund_list", refunds=refunds, facts=facts)
    orders = tuple(read_order(row, fields, channel) for row in rows)
    return Document("order_list", orders=orders, facts=facts)


# --- orders ------------------------------------------------------------------------------------


def read_order(document: Node, fields: FieldMap, channel: str) -> OrderDraft:
    """Normalize an order, of a webhook or a row of ``crm_order``. Raises Unreadable."""
    node = document.node("order") if "order" in document.data else document
    order = fields.section("order").over(node)
    is_row = order.given("payable_amount")
    currency = _HOME if is_row and not order.given("currency") else order.id("currency")
    quantum = quantum_of(currency)
    nothing = Decimal(0).quantize(quantum)
    payable = _payable(order, quantum)
    paid_at = order.time("paid_at")
    paid = _paid(order, payable, quantum, is_row=is_row)
    status = _status(order, has_paid=bool(paid_at) if is_row else bool(paid))
    lines = _lines(order, fields, quantum)
    evidence = fields.section("evidence").over(node)
    return OrderDraft(
        channel=channel,
        channel_number=order.id("channel_number"),
        status=status,
        status_raw=order.text("status_raw"),
        currency=currency,
        payable_amount=payable,
        paid_amount=nothing if status is _S.WAIT_PAY else paid,
        freight=order.amount("freight", default=nothing, quantum=quantum),
        placed_at=order.claimed_time("placed_at"),
        modified_at=order.required_time("modified_at"),
        paid_at=paid_at,
        lines=lines,
        receiver=plain_receiver(fields.section("receiver").over(node)),
        evidence=EvidenceDraft(
            buyer_id=evidence.text("buyer_id"),
            device_id=evidence.text("device_id"),
            ip=evidence.text("ip"),
        ),
        buyer_remark=order.given_text("buyer_remark"),
        seller_memo=order.given_text("seller_memo"),
        refund_state=order_refund_state(lines),
    )


def _payable(order: Fields, quantum: Decimal) -> Decimal:
    """What a row says, or a webhook's goods less discount plus freight."""
    if order.given("payable_amount"):
        return order.amount("payable_amount", quantum=quantum)
    nothing = Decimal(0).quantize(quantum)
    payable = (
        order.amount("goods_amount", quantum=quantum)
        - order.amount("discount_amount", default=nothing, quantum=quantum)
        + order.amount("freight", default=nothing, quantum=quantum)
    )
    if payable < 0:
        raise Unreadable("优惠大于订单金额")
    return payable


def _paid(order: Fields, payable: Decimal, quantum: Decimal, *, is_row: bool) -> Decimal:
    """What came in. A row may leave it to its status and its time of payment."""
    if not is_row or order.given("paid_amount"):
        return order.amount("paid_amount", quantum=quantum)
    has_paid = order.time("paid_at") is not None
    status = _status(order, has_paid=has_paid)
    settled = has_paid if status is _S.UNKNOWN else status not in _UNPAID
    return payable if settled else Decimal(0).quantize(quantum)


def _status(order: Fields, *, has_paid: bool) -> ChannelStatus:
    order.id("status_raw")
    status = ChannelStatus(order.word("status") or _S.UNKNOWN)
    return _S.CLOSED_UNPAID if status is _S.CLOSED and not has_paid else status


def _lines(order: Fields, fields: FieldMap, quantum: Decimal) -> tuple[LineDraft, ...]:
    section = fields.section("line")
    rows = [section.over(row) for row in order.nodes("lines")]
    if not rows:
        raise Unreadable("订单没有商品行")
    told = [row.optional_id("channel_line_id") for row in rows]
    if len({one for one in told if one}) < sum(one is not None for one in told):
        raise Unreadable("两行商品的行号相同")
    keys = line_ids(one or str(at) for at, one in enumerate(told, 1))
    return tuple(_line(row, key, quantum) for row, key in zip(rows, keys, strict=True))


def _line(line: Fields, line_id: str, quantum: Decimal) -> LineDraft:
    quantity, unit = line.quantity("quantity"), line.amount("unit_price", quantum=quantum)
    nothing = Decimal(0).quantize(quantum)
    off = line.amount("discount_amount", default=nothing, quantum=quantum)
    if off > unit * quantity:
        raise Unreadable(f"{line.node.path} 的优惠大于商品金额")
    return LineDraft(
        channel_line_id=line_id,
        platform_sku_id=None,
        outer_code=line.some_text("outer_code"),
        title=line.text("title"),
        quantity=quantity,
        unit_price=unit,
        amount=line.amount("paid_amount", default=unit * quantity - off, quantum=quantum),
        is_gift=line.boolean("is_gift"),
    )


# --- refunds and events ------------------------------------------------------------------------


def read_refund(document: Node, fields: FieldMap, channel: str) -> RefundDraft:
    """Normalize a refund, of a webhook or a row of ``crm_refund``. Raises Unreadable."""
    node = document.node("refund") if "refund" in document.data else document
    refund = fields.section("refund").over(node)
    kind, state = refund.word("type"), refund.word("refund_state")
    if kind is None or state is None:
        raise Unreadable("不认识的退款类型或状态")
    if kind == _EXCHANGE and state == "refunded":
        state = "done"
    return RefundDraft(
        channel=channel,
        refund_id=refund.id("refund_id"),
        channel_number=refund.id("channel_number"),
        channel_line_id=refund.optional_id("channel_line_id"),
        amount=refund.amount("amount", quantum=quantum_of(refund.text("currency"))),
        state_raw=refund.id("state_raw"),
        refund_state=state,
        return_goods=kind != _REFUND_ONLY,
        intercept_shipping=kind == _REFUND_ONLY and state != "closed",
        modified_at=_refund_time(document, refund, fields),
    )


def _refund_time(document: Node, refund: Fields, fields: FieldMap) -> datetime | None:
    event = fields.section("event").over(document)
    return refund.time("modified_at") or event.time("occurred_at") or refund.time("created_at")


def read_event(document: Node, fields: FieldMap, channel: str) -> EventDraft:
    """Normalize what a webhook announces. Raises Unreadable."""
    event = fields.section("event").over(document)
    return EventDraft(
        channel=channel,
        event_id=event.id("event_id"),
        topic=event.id("topic"),
        channel_number=event.optional_id("channel_number"),
        occurred_at=event.time("occurred_at"),
    )
