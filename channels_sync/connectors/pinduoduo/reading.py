"""What Pinduoduo's orders, refunds and messages say (``channels.md`` 4c to 4e).

The API speaks yuan, as number or text; messages and ``refund.information.get`` speak fen.
Receivers are ciphertext and are emptied after shipping and under risk review. Which field is
which is data (``field_map.json``); what follows from several of them is here.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from channels_sync.connectors.field_map import FieldMap, Fields, Section
from channels_sync.connectors.pinduoduo.wire import PinduoduoWire
from channels_sync.connectors.strict_json import loads_strict
from channels_sync.connectors.values import Node, is_masked_text, line_ids, order_refund_state
from channels_sync.contracts import Unreadable
from ordercenter.core.money import share_out
from ordercenter.orders.contracts import (
    ChannelStatus,
    EventDraft,
    GiftDraft,
    LineDraft,
    OrderDraft,
    ReceiverDraft,
    RefundDraft,
)

ZERO: Final = Decimal("0.00")
_S: Final = ChannelStatus
_CANCELED: Final = 2
_GROUP_FAILED: Final = 2
_REFUNDED: Final = 4
_REFUNDING: Final = frozenset({2, 3})
_ORDINARY: Final = {
    "confirm_status": 1,
    "group_status": 1,
    "refund_status": 1,
    "risk_control_status": 0,
}
"""What each axis says of an order that may go, and where it says nothing."""


# --- orders ---------------------------------------------------------------------------------


def read_order(order: Node, fields: FieldMap) -> OrderDraft:
    """Normalize one order (``channels.md`` 4c). Raises Unreadable."""
    top = fields.section("order").over(order)
    payable = top.amount("payable_amount")
    freight = top.amount("freight", default=ZERO)
    status = _status(top)
    lines = _lines(top, fields.section("line"), payable - freight)
    return OrderDraft(
        channel=PinduoduoWire.channel,
        channel_number=top.id("channel_number"),
        status=status,
        status_raw=_status_raw(top),
        currency="CNY",
        payable_amount=payable,
        paid_amount=_paid(top, status, payable),
        freight=freight,
        placed_at=top.claimed_time("placed_at"),
        modified_at=top.required_time("modified_at"),
        lines=lines,
        paid_at=top.time("paid_at"),
        receiver=_receiver(fields.section("receiver").over(order)),
        gifts_outside_lines=_gifts(top, fields.section("gift")),
        buyer_remark=top.given_text("buyer_remark"),
        seller_memo=top.given_text("seller_memo"),
        seller_flag=top.optional_whole("seller_flag") or None,
        refund_state=order_refund_state(lines),
        is_presale=top.optional_whole("is_presale") == 1 or top.optional_whole("trade_type") == 1,
        deposit_amount=_deposit(top),
    )


def _axis(top: Fields, name: str) -> int:
    return top.whole(name, default=_ORDINARY[name])


def _status(top: Fields) -> ChannelStatus:
    """May ship: confirmed, group complete, order_status 1, no risk review, not refunded."""
    order_status = _S(top.word("status") or _S.UNKNOWN)
    refunded = _axis(top, "refund_status") == _REFUNDED
    confirm, group = _axis(top, "confirm_status"), _axis(top, "group_status")
    paid = top.time("paid_at") is not None
    if confirm == _CANCELED or group == _GROUP_FAILED:
        return _closed(top, refunded=refunded, paid=paid)
    step = top.optional_whole("step")
    if step in {0, 1}:
        return _S.DEPOSIT_PAID if step else _S.WAIT_PAY
    if confirm == 0 and not paid:
        return _S.WAIT_PAY
    if order_status is not _S.WAIT_SHIP:
        return order_status
    if refunded:
        return _S.CLOSED_REFUNDED
    held = ("confirm_status", "group_status", "risk_control_status")
    return _S.ON_HOLD if any(_axis(top, one) != _ORDINARY[one] for one in held) else _S.WAIT_SHIP


def _closed(top: Fields, *, refunded: bool, paid: bool) -> ChannelStatus:
    """Cancelled, or the group came to nothing."""
    if refunded:
        return _S.CLOSED_REFUNDED
    deposit = top.optional_whole("step") in {1, 2}
    return _S.CLOSED if paid or deposit else _S.CLOSED_UNPAID


def _status_raw(top: Fields) -> str:
    """``order_status`` and every axis that is not at its ordinary value."""
    parts = [f"order_status={top.whole('order_status')}"]
    for key, value in _ORDINARY.items():
        if (found := _axis(top, key)) != value:
            parts.append(f"{key}={found}")
    if (step := top.optional_whole("step")) is not None:
        parts.append(f"step_trade_status={step}")
    return ",".join(parts)


def _paid(top: Fields, status: ChannelStatus, payable: Decimal) -> Decimal:
    if status in {_S.WAIT_PAY, _S.CLOSED_UNPAID}:
        return ZERO
    if top.optional_whole("step") in {0, 1}:
        return top.amount("step_paid", default=ZERO)
    closed_unpaid = status is _S.CLOSED and top.time("paid_at") is None
    return ZERO if closed_unpaid else payable


def _deposit(top: Fields) -> Decimal:
    """What is paid while the balance is open; later the same field holds all of it."""
    return top.amount("step_paid", default=ZERO) if top.optional_whole("step") == 1 else ZERO


def _lines(top: Fields, section: Section, goods: Decimal) -> tuple[LineDraft, ...]:
    """The lines with what was paid for the goods shared out: the platform gives no shares."""
    rows = [section.over(row) for row in top.nodes("lines")]
    if not rows:
        raise Unreadable("订单没有商品行")
    # Less paid than the freight costs: the sum will not fit, and finance sees it.
    goods = max(goods, ZERO)
    ids = line_ids(row.optional_id("platform_sku_id") or row.id("platform_item_id") for row in rows)
    weights = [row.amount("unit_price") * row.quantity("quantity") for row in rows]
    amounts = [goods] if len(rows) == 1 else share_out(goods, weights)
    state = _line_refund_state(top)
    return tuple(
        LineDraft(
            channel_line_id=line_id,
            platform_sku_id=row.optional_id("platform_sku_id"),
            platform_item_id=row.optional_id("platform_item_id"),
            outer_code=row.some_text("outer_code"),
            title=row.text("title"),
            quantity=row.quantity("quantity"),
            unit_price=row.amount("unit_price"),
            amount=amount,
            refund_state=state,
        )
        for line_id, row, amount in zip(ids, rows, amounts, strict=True)
    )


def _line_refund_state(top: Fields) -> str:
    refund = _axis(top, "refund_status")
    if refund == _REFUNDED:
        return "refunded"
    if refund in _REFUNDING:
        return "in_progress"
    return top.word("after_sales_state") or "none"


def _receiver(found: Fields) -> ReceiverDraft | None:
    """Show the masked text while the ciphertext is given; empty ciphertext is "not given"."""
    name, phone = _shown(found, "name"), _shown(found, "phone")
    address = _shown(found, "address")
    receiver = ReceiverDraft(
        name=name,
        phone=phone,
        province=found.text("province"),
        city=found.text("city"),
        district=found.text("district"),
        address=address,
        is_masked=is_masked_text(name, phone, address) or _is_ciphertext(name, phone, address),
        oaid=found.text("oaid"),
    )
    return None if receiver == ReceiverDraft() else receiver


def _shown(found: Fields, key: str) -> str:
    given = found.text(key)
    return found.some_text(f"masked_{key}") or given if given.strip() else ""


def _is_ciphertext(*texts: str) -> bool:
    return any(text.startswith(("~", "$")) for text in texts)


def _gifts(top: Fields, section: Section) -> tuple[GiftDraft, ...]:
    rows = [section.over(row) for row in top.nodes("gifts")]
    return tuple(
        GiftDraft(
            name=gift.text("title"),
            quantity=gift.quantity("quantity"),
            platform_item_id=gift.optional_id("platform_item_id"),
            platform_sku_id=gift.optional_id("platform_sku_id"),
            outer_code=gift.some_text("outer_code"),
        )
        for gift in rows
    )


# --- refunds --------------------------------------------------------------------------------

_MARKS_OF_A_DETAIL: Final = ("after_sales_reason", "express_no", "shipping_status", "recreated_at")
_GOODS_COME_BACK: Final = frozenset({"return", "exchange", "repair"})


def is_refund_detail(refund: Node) -> bool:
    """Whether it is of ``refund.information.get`` and not a row of the list (4d)."""
    return any(mark in refund.data for mark in _MARKS_OF_A_DETAIL)


def read_refund(refund: Node, fields: FieldMap, *, detail: bool | None = None) -> RefundDraft:
    """Read a row of the refund list, or a detail: fen, and types one lower.

    ``detail`` None: told by the fields it has. Raises Unreadable.
    """
    top = fields.section("refund").over(refund)
    if detail is None:
        detail = is_refund_detail(refund)
    own = fields.section("refund_detail").over(refund) if detail else top
    state = top.word("state") or "in_progress"  # an unknown word holds the parcel
    kind = own.word("kind")
    if kind is None:
        raise Unreadable(f"缺少字段 {refund.name('after_sales_type')}")
    return RefundDraft(
        channel=PinduoduoWire.channel,
        refund_id=top.id("refund_id"),
        channel_number=top.id("channel_number"),
        channel_line_id=None,
        amount=own.amount("amount"),
        state_raw=str(top.whole("status")),
        refund_state=state,
        return_goods=kind in _GOODS_COME_BACK,
        intercept_shipping=kind == "refund" and state in {"in_progress", "refunded"},
        modified_at=top.time("modified_at"),
        version=top.text("version"),
    )


# --- messages -------------------------------------------------------------------------------


def read_event(frame: Node, fields: FieldMap) -> EventDraft:
    """Read one message frame; ``content`` is JSON inside a text and is decoded once."""
    message = frame.node("message")
    Node.of(loads_strict(message.text("content").encode()), message.name("content"))
    found = fields.section("event").over(frame)
    try:
        occurred_at = found.time("occurred_at")
    except Unreadable:  # a hint may have none
        occurred_at = None
    return EventDraft(
        channel=PinduoduoWire.channel,
        event_id=found.id("event_id"),
        topic=found.id("topic"),
        channel_number=found.optional_id("channel_number"),
        occurred_at=occurred_at,
    )


def refunded_skus(refunds: Sequence[Node], fields: FieldMap) -> dict[str, object]:
    """The SKU each refund is about, by its id; the platform names no line."""
    found = [fields.section("refund").over(refund) for refund in refunds]
    return {
        one.id("refund_id"): {"platform_sku_id": one.optional_id("platform_sku_id")}
        for one in found
    }
