"""What WeChat's documents say (``channels.md`` 6c, 6d): integers in fen, times in seconds."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from channels_sync.connectors.field_map import FieldMap, Fields
from channels_sync.connectors.values import (
    Node,
    is_masked_text,
    line_ids,
    optional_id,
    order_refund_state,
)
from channels_sync.connectors.wechat.wire import wechat_error
from channels_sync.contracts import Document, Unreadable
from ordercenter.orders.contracts import (
    AddressChangeDraft,
    ChannelStatus,
    EventDraft,
    EvidenceDraft,
    LineDraft,
    OrderDraft,
    ReceiverDraft,
    RefundDraft,
)

CHANNEL: Final = "wechat"
NO_MONEY: Final = Decimal("0.00")
_S: Final = ChannelStatus
_UNPAID: Final = frozenset({_S.WAIT_PAY, _S.CLOSED_UNPAID})
_PRESALE: Final = "1"
_A_YEAR: Final = 365 * 24
_REFUND_ONLY: Final = "REFUND"


# --- documents ---------------------------------------------------------------------------------


def read_document(document: Node, fields: FieldMap) -> Document:
    """Tell what any document of WeChat says. Raises Unreadable."""
    error = wechat_error(document)
    if error is not None:
        return Document("error", error=error)
    for key, read in _KINDS.items():
        if key in document.data:
            return read(document, fields)
    if "errcode" in document.data:
        return Document("ack", facts={"ok": True})
    if "Encrypt" in document.data:
        raise Unreadable("加密的推送，要有 EncodingAESKey 才能读")
    raise Unreadable("认不出这是微信的哪一种报文")


def _order(document: Node, fields: FieldMap) -> Document:
    """One order of a shop, or one payment of a mini-program, both under ``order``."""
    node = document.node("order") if "order" in document.data else document
    if "order_id" not in node.data and "merchant_trade_no" in node.data:
        return _payments("order", [node], fields, method="POST /wxa/sec/order/get_order")
    order = fields.section("order").over(node)
    draft = read_order(node, fields)
    facts = {draft.channel_number: {"transaction_id": order.text("transaction_id") or None}}
    return Document(
        "order",
        orders=(draft,),
        facts={"method": "POST /channels/ec/order/get", "order_facts": facts},
    )


def _payment_list(document: Node, fields: FieldMap) -> Document:
    page = {
        "has_next": document.boolean("has_more"),
        "next_cursor": document.first_text("last_index"),
    }
    method = "POST /wxa/sec/order/get_order_list"
    return _payments("order_list", document.nodes("order_list"), fields, method=method, page=page)


def _payments(kind: str, rows: list[Node], fields: FieldMap, **facts: Any) -> Document:
    section = fields.section("payment")
    found = [section.over(row) for row in rows]
    more = {
        one.id("channel_number"): {"transaction_id": one.text("transaction_id") or None}
        for one in found
    }
    orders = tuple(_read_payment(one) for one in found)
    return Document(kind, orders=orders, facts={**facts, "order_facts": more})


def _refund(document: Node, fields: FieldMap) -> Document:
    key = "after_sale_order"
    node = document.node(key) if key in document.data else document
    draft = read_refund(node, fields)
    sku = fields.section("refund").over(node).optional_id("platform_sku_id")
    return Document(
        "refund_list",
        refunds=(draft,),
        facts={
            "method": "POST /channels/ec/aftersale/getaftersaleorder",
            "refund_facts": {draft.refund_id: {"platform_sku_id": sku}},
        },
    )


def _order_ids(document: Node, fields: FieldMap) -> Document:
    if "after_sale_order_id_list" in document.data:
        return _ids(
            "refund_id_list",
            "POST /channels/ec/aftersale/getaftersalelist",
            {"refund_ids": ids(document, "after_sale_order_id_list")},
            document,
        )
    orders = {"order_nos": ids(document, "order_id_list")}
    return _ids("order_id_list", "POST /channels/ec/order/list/get", orders, document)


def _ids(kind: str, method: str, found: Mapping[str, Any], document: Node) -> Document:
    page = {
        "has_next": document.boolean("has_more"),
        "next_cursor": document.first_text("next_key"),
    }
    return Document(kind, facts={"method": method, "page": page, **found})


def _token(document: Node, fields: FieldMap) -> Document:
    facts = {
        "access_token": document.text("access_token"),
        "expires_in": document.whole("expires_in"),
        "shop_id": None,
        "shop_name": None,
    }
    return Document("token", facts=facts)


def _event(document: Node, fields: FieldMap) -> Document:
    return Document("event_list", events=(read_event(document, fields),))


_KINDS: Final[Mapping[str, Callable[[Node, FieldMap], Document]]] = {
    "MsgType": _event,
    "Event": _event,
    "order": _order,
    "order_detail": _order,
    "after_sale_order": _refund,
    "after_sale_order_id": _refund,
    "order_list": _payment_list,
    "last_index": _payment_list,
    "order_id_list": _order_ids,
    "after_sale_order_id_list": _order_ids,
    "has_more": _order_ids,
    "access_token": _token,
}
"""What a document is told by, the first that is there. An empty list may come as no key."""


def ids(answer: Node, key: str) -> list[str]:
    """The ids of a list, each as its digits; none where the key is absent. Raises Unreadable."""
    rows = answer.get(key)
    if rows in (None, "", {}):
        return []
    if not isinstance(rows, list):
        raise Unreadable(f"字段 {answer.name(key)} 不是列表")
    found = [optional_id(row) for row in rows]
    if None in found:
        raise Unreadable(f"字段 {answer.name(key)} 里有不是单号的内容")
    return [one for one in found if one is not None]


# --- orders ------------------------------------------------------------------------------------


def read_order(node: Node, fields: FieldMap) -> OrderDraft:
    """Normalize an order of a shop. Raises Unreadable."""
    order = fields.section("order").over(node)
    lines = _lines(order, fields)
    receiver = _receiver(order, "receiver", fields)
    paid_at = order.time("paid_at")
    status = _status(order, receiver, is_paid=paid_at is not None)
    payable = order.amount("payable_amount")
    settled = paid_at is not None if status is _S.UNKNOWN else status not in _UNPAID
    return OrderDraft(
        channel=CHANNEL,
        channel_number=order.id("channel_number"),
        status=status,
        status_raw=order.text("status_raw"),
        currency="CNY",
        payable_amount=payable,
        paid_amount=payable if settled else NO_MONEY,
        freight=_freight(order),
        placed_at=order.claimed_time("placed_at"),
        modified_at=order.time("modified_at") or order.required_time("placed_at"),
        paid_at=paid_at,
        lines=lines,
        receiver=receiver,
        evidence=EvidenceDraft(
            buyer_id=fields.section("evidence").over(node).optional_id("buyer_id") or ""
        ),
        buyer_remark=order.given_text("buyer_remark"),
        seller_memo=order.given_text("seller_memo"),
        refund_state=order_refund_state(lines),
        is_presale=_is_presale(order, fields),
        address_change=_address_change(order, fields),
    )


def _status(order: Fields, receiver: ReceiverDraft, *, is_paid: bool) -> ChannelStatus:
    """The platform's number, its closing told apart by the payment; a present nobody has
    accepted must not ship."""
    status = ChannelStatus(order.word("status") or _S.UNKNOWN)
    if status is _S.CLOSED and not is_paid:
        return _S.CLOSED_UNPAID
    waits = order.whole("is_present", default=0) and receiver == ReceiverDraft()
    return _S.ON_HOLD if status is _S.WAIT_SHIP and waits else status


def _freight(order: Fields) -> Decimal:
    if order.boolean("is_freight_changed") and order.given("changed_freight"):
        return order.amount("changed_freight")
    return order.amount("freight", default=NO_MONEY)


def _is_presale(order: Fields, fields: FieldMap) -> bool:
    section = fields.section("line")
    return any(section.over(row).text("stock_type") == _PRESALE for row in order.nodes("lines"))


def _lines(order: Fields, fields: FieldMap) -> tuple[LineDraft, ...]:
    section = fields.section("line")
    rows = [section.over(row) for row in order.nodes("lines")]
    if not rows:
        raise Unreadable("订单没有商品行")
    keys = line_ids(line_key(row, at) for at, row in enumerate(rows, 1))
    return tuple(_line(row, key) for row, key in zip(rows, keys, strict=True))


def line_key(line: Fields, at: int) -> str:
    """What we call a line: WeChat names none, so it is its SKU, its product, or its place."""
    return line.optional_id("platform_sku_id") or line.optional_id("platform_item_id") or str(at)


def _line(line: Fields, line_id: str) -> LineDraft:
    quantity, unit = line.quantity("quantity"), line.amount("unit_price")
    return LineDraft(
        channel_line_id=line_id,
        platform_sku_id=line.optional_id("platform_sku_id"),
        platform_item_id=line.optional_id("platform_item_id"),
        outer_code=line.some_text("outer_code"),
        title=line.text("title"),
        quantity=quantity,
        unit_price=unit,
        amount=_amount(line, unit * quantity),
        is_gift=line.boolean("is_gift"),
        refund_state=_line_refund(line, quantity),
    )


def _amount(line: Fields, gross: Decimal) -> Decimal:
    """What the line costs: as changed by the merchant, as discounted, as told, or as listed.

    Each figure counts only with its flag; where the flag is absent, only if it is not zero.
    """
    for flag, name in (
        ("is_price_changed", "changed_price"),
        ("is_discounted", "discounted_price"),
    ):
        amount = line.optional_amount(name)
        flagged = line.boolean(flag) if line.given(flag) else bool(amount)
        if flagged and amount is not None:
            return amount
    return line.amount("real_price", default=gross)


def _line_refund(line: Fields, quantity: int) -> str:
    if line.whole("in_aftersale", default=0) > 0:
        return "in_progress"
    back = line.whole("given_back", default=0)
    if back >= quantity:
        return "refunded"
    return "partial" if back > 0 else "none"


def _receiver(order: Fields, name: str, fields: FieldMap) -> ReceiverDraft:
    """Who gets the parcel; all empty for virtual goods and presents nobody has accepted."""
    to = fields.section("receiver").over(order.node_or_empty(name))
    person, phone, street = to.text("name"), _phone(to), to.text("address")
    return ReceiverDraft(
        name=person,
        phone=phone,
        province=to.text("province"),
        city=to.text("city"),
        district=to.text("district"),
        address=street,
        is_masked=is_masked_text(person, phone, street),
        oaid=to.text("oaid"),
    )


def _phone(to: Fields) -> str:
    """The virtual number where the buyer hides his own behind one."""
    hidden = to.text("uses_virtual_phone") in {"1", "true"}
    return (to.some_text("virtual_phone") if hidden else None) or to.text("phone")


def _address_change(order: Fields, fields: FieldMap) -> AddressChangeDraft | None:
    if not order.given("asked_receiver"):
        return None
    asked_at = order.time("address_asked_at")
    return AddressChangeDraft(
        asked_at=asked_at,
        answer_by=_hours_after(asked_at, order.whole("address_answer_hours", default=0)),
        receiver=_receiver(order, "asked_receiver", fields),
    )


def _hours_after(asked_at: datetime | None, hours: int) -> datetime | None:
    """When silence becomes consent (X7); None where nobody knows since when."""
    if asked_at is None or not 0 < hours < _A_YEAR:
        return None
    return asked_at + timedelta(hours=hours)


def _read_payment(payment: Fields) -> OrderDraft:
    """A mini-program's own order as WeChat knows it: the payment, no lines, no receiver."""
    paid = payment.amount("paid_amount")
    status = ChannelStatus(payment.word("status") or _S.UNKNOWN)
    paid_at = payment.time("paid_at")
    return OrderDraft(
        channel=CHANNEL,
        channel_number=payment.id("channel_number"),
        status=status,
        status_raw=payment.text("status_raw"),
        currency="CNY",
        payable_amount=paid,
        paid_amount=paid,
        freight=NO_MONEY,
        placed_at=payment.claimed_time("placed_at"),
        modified_at=paid_at or payment.required_time("placed_at"),
        paid_at=paid_at,
        lines=(),
        receiver=ReceiverDraft(),
        evidence=EvidenceDraft(buyer_id=payment.optional_id("buyer_id") or ""),
        refund_state="full" if status is _S.CLOSED_REFUNDED else "none",
    )


# --- refunds and events ------------------------------------------------------------------------


def read_refund(node: Node, fields: FieldMap) -> RefundDraft:
    """Normalize an after-sale order. Raises Unreadable."""
    refund = fields.section("refund").over(node)
    raw = refund.id("state_raw")
    state = refund.word("refund_state") or "in_progress"
    only_money = refund.text("type") == _REFUND_ONLY
    return RefundDraft(
        channel=CHANNEL,
        refund_id=refund.id("refund_id"),
        channel_number=refund.id("channel_number"),
        channel_line_id=None,
        amount=refund.amount("amount", default=NO_MONEY),
        state_raw=raw,
        refund_state=state,
        return_goods=not only_money,
        intercept_shipping=only_money and state in {"in_progress", "refunded"},
        modified_at=refund.time("modified_at"),
    )


def read_event(node: Node, fields: FieldMap) -> EventDraft:
    """Normalize a push. It has no id of its own: who, when, what and which order make one.

    Raises Unreadable.
    """
    event = fields.section("event").over(node)
    number = event.optional_id("channel_number")
    about = number or event.optional_id("refund_id") or ""
    parts = (event.text("from_user"), event.text("created"), event.id("topic"), about)
    return EventDraft(
        channel=CHANNEL,
        event_id="|".join(parts),
        topic=event.id("topic"),
        channel_number=number,
        occurred_at=event.time("occurred_at"),
    )
