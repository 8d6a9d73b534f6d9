"""What Douyin's orders, refunds and messages say (``channels.md`` 3c to 3e).

Integers in fen, times in Unix seconds with 0 for none. The receiver comes encrypted: what a
person reads is masked, and no key may be made of it. Which field is which is data
(``field_map.json``); what follows from several of them is here.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from channels_sync.connectors.douyin.wire import DouyinWire
from channels_sync.connectors.field_map import FieldMap, Fields
from channels_sync.connectors.strict_json import loads_strict
from channels_sync.connectors.values import Node, is_masked_text, order_refund_state, text_of
from channels_sync.contracts import Unreadable
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

NO_MONEY: Final = Decimal("0.00")
ADDRESS_CHECK: Final = "0"
"""The tag of the platform's check of our address."""
ADDRESS_CHANGE_ASKED: Final = "111"

_S: Final = ChannelStatus
_CASH_ON_DELIVERY: Final = 0
_GIFT: Final = "FREE"
_PRESALE_GIFT: Final = 102
_DEPOSIT_PRESALE: Final = 2
_MONEY_NOT_GIVEN: Final = frozenset({1, 2, 4})
"""refund_status: waiting, on its way, failed."""

# after_sale_type; 4 and 5 are orders cancelled by the platform and by the buyer
_MONEY_ONLY: Final = frozenset({1, 2, 4, 5})
_GOODS_COME_BACK: Final = frozenset({0, 3, 8})
_NO_MONEY_MOVES: Final = frozenset({3, 7, 8})
"""Exchange, re-shipment, repair."""
_PRICE_PROTECTION: Final = 6


# --- orders ---------------------------------------------------------------------------------


def read_order(order: Node, fields: FieldMap) -> OrderDraft:
    """Normalize one ``shop_order_detail`` (``channels.md`` 3c). Raises Unreadable."""
    top = fields.section("order").over(order)
    line_fields = [fields.section("line").over(row) for row in top.nodes("lines")]
    lines = tuple(_read_line(line) for line in line_fields)
    if not lines:
        raise Unreadable("订单没有商品行")
    if len({line.channel_line_id for line in lines}) < len(lines):
        raise Unreadable("两个商品行的子订单号相同")
    phases = [fields.section("phase").over(row) for row in top.nodes("phases")]
    paid_at = top.time("paid_at")
    status = _read_status(top, phases, lines, paid=paid_at is not None)
    payable = top.amount("payable_amount")
    return OrderDraft(
        channel=DouyinWire.channel,
        channel_number=top.id("channel_number"),
        status=status,
        status_raw=str(top.whole("status_raw")),
        currency="CNY",
        payable_amount=payable,
        paid_amount=_paid_amount(top, status, phases, payable),
        freight=top.amount("freight", default=NO_MONEY),
        placed_at=top.claimed_time("placed_at"),
        modified_at=top.time("modified_at") or top.required_time("placed_at"),
        paid_at=paid_at,
        lines=lines,
        receiver=_read_receiver(fields.section("receiver").over(order)),
        evidence=EvidenceDraft(buyer_id=fields.section("evidence").over(order).text("buyer_id")),
        buyer_remark=top.given_text("buyer_remark"),
        seller_memo=top.given_text("seller_memo"),
        seller_flag=top.optional_whole("seller_flag"),
        refund_state=order_refund_state(lines),
        is_presale=len(phases) > 1 or any(_is_presale(line) for line in line_fields),
        deposit_amount=_deposit(phases),
    )


def _read_status(
    top: Fields, phases: Sequence[Fields], lines: Sequence[LineDraft], *, paid: bool
) -> ChannelStatus:
    """``order_status``, and ``main_status`` where it tells more."""
    finer = top.word("main_status")
    if finer == _S.CLOSED_REFUNDED:
        return _S.CLOSED_REFUNDED
    status = _S(top.word("status") or _S.UNKNOWN)
    if status is _S.WAIT_PAY and (finer == _S.DEPOSIT_PAID or _deposit_paid(phases)):
        return _S.DEPOSIT_PAID
    if status is _S.CLOSED and not paid and not any(_phase_paid(phase) for phase in phases):
        return _S.CLOSED_UNPAID
    if status is _S.CLOSED and order_refund_state(lines) == "full":
        return _S.CLOSED_REFUNDED
    return status


def _deposit_paid(phases: Sequence[Fields]) -> bool:
    paid = [_phase_paid(phase) for phase in phases]
    return any(paid) and not all(paid)


def _phase_paid(phase: Fields) -> bool:
    """Seen as true or 1, and as either in text."""
    return phase.raw("is_paid") in (True, 1, "1", "true")


def _deposit(phases: Sequence[Fields]) -> Decimal:
    """The first of several phases, once it is paid."""
    if len(phases) > 1 and _phase_paid(phases[0]):
        return phases[0].amount("paid")
    return NO_MONEY


def _paid_amount(
    top: Fields, status: ChannelStatus, phases: Sequence[Fields], payable: Decimal
) -> Decimal:
    """What has been paid so far: the paid phases of a presale; cash on delivery at the end."""
    if phases:
        paid = [phase for phase in phases if _phase_paid(phase)]
        return sum((phase.amount("paid") for phase in paid), NO_MONEY)
    if status in {_S.WAIT_PAY, _S.CLOSED_UNPAID}:
        return NO_MONEY
    if top.optional_whole("pay_type") == _CASH_ON_DELIVERY and status is not _S.FINISHED:
        return NO_MONEY
    if status is _S.UNKNOWN and top.time("paid_at") is None:
        return NO_MONEY
    return payable


def _read_line(line: Fields) -> LineDraft:
    freight = line.amount("freight", default=NO_MONEY)
    return LineDraft(
        channel_line_id=line.id("channel_line_id"),
        platform_sku_id=line.optional_id("platform_sku_id"),
        platform_item_id=line.optional_id("platform_item_id"),
        outer_code=line.some_text("outer_code"),
        title=line.text("title"),
        quantity=line.quantity("quantity"),
        unit_price=line.amount("unit_price"),
        amount=max(line.amount("paid") - freight, NO_MONEY),
        is_gift=_is_gift(line),
        refund_state=_line_refund(line),
    )


def _is_gift(line: Fields) -> bool:
    """By the platform's own word: a list price of 0 is neither needed nor enough."""
    return line.text("gift_kind") == _GIFT or line.optional_whole("trade_type") == _PRESALE_GIFT


def _is_presale(line: Fields) -> bool:
    kinds = {_DEPOSIT_PRESALE, _PRESALE_GIFT}
    return line.whole("presale_type", default=0) != 0 or line.optional_whole("trade_type") in kinds


def _line_refund(line: Fields) -> str:
    state = line.word("refund_state") or "none"
    if state != "refunded":
        return state
    kind = line.optional_whole("refund_kind")
    if kind in _NO_MONEY_MOVES:
        return "closed"  # exchanged or sent again: the goods stay sold
    if line.whole("refund_money", default=0) in _MONEY_NOT_GIVEN:
        return "in_progress"
    return "partial" if kind == _PRICE_PROTECTION else "refunded"


def _read_receiver(found: Fields) -> ReceiverDraft | None:
    """Clear text where the platform gives it, else the mask; the id tells same receivers."""
    name, phone, address = (_clear(found.text(key)) for key in ("name", "phone", "address"))
    shown = ReceiverDraft(
        name=name or found.text("masked_name"),
        phone=phone or found.text("masked_phone"),
        address=address or found.text("masked_address"),
        province=found.text("province"),
        city=found.text("city"),
        district=found.text("district"),
        town=found.text("town"),
        is_masked=not (name and phone and address) or is_masked_text(name, phone, address),
        oaid=found.text("oaid"),
    )
    return None if shown == ReceiverDraft(is_masked=True) else shown


def _clear(text: str) -> str:
    """Nothing for a ciphertext (``##...##``, ``$$...$$``) where a clear text would stand."""
    return "" if text.startswith(("#", "$", "~")) else text


# --- refunds --------------------------------------------------------------------------------


def read_refund(item: Node, fields: FieldMap) -> RefundDraft:
    """Normalize one entry of ``/afterSale/List`` or a whole ``/afterSale/Detail``.

    ``channels.md`` 3d. Raises Unreadable.
    """
    top = fields.section("refund").over(item)
    lines = [fields.section("refund_line").over(row) for row in top.nodes("lines")]
    kind = top.whole("kind")
    state = _refund_state(top, lines, kind)
    return RefundDraft(
        channel=DouyinWire.channel,
        refund_id=top.id("refund_id"),
        channel_number=top.id("channel_number"),
        channel_line_id=_refunded_line(top, lines),
        amount=top.amount("amount"),
        state_raw=str(top.whole("status")),
        refund_state=state,
        return_goods=kind in _GOODS_COME_BACK,
        intercept_shipping=kind in _MONEY_ONLY and state in {"in_progress", "refunded", "partial"},
        modified_at=top.time("modified_at"),
        version=top.text("version"),
    )


def _refund_state(top: Fields, lines: Sequence[Fields], kind: int) -> str:
    state = top.word("state") or "in_progress"
    if state != "refunded":
        return state
    if kind in _NO_MONEY_MOVES:
        return "done"
    if top.whole("money", default=0) in _MONEY_NOT_GIVEN:
        return "in_progress"
    paid = sum((line.amount("paid", default=NO_MONEY) for line in lines), NO_MONEY)
    freight = sum((line.amount("freight", default=NO_MONEY) for line in lines), NO_MONEY)
    return "refunded" if top.amount("amount") >= paid - freight else "partial"


def _refunded_line(top: Fields, lines: Sequence[Fields]) -> str | None:
    ids = [line.id("channel_line_id") for line in lines]
    if len(ids) == 1:
        return ids[0]
    one = top.optional_id("related_id")
    return one if one in ids else None


# --- messages -------------------------------------------------------------------------------


def read_event(entry: Node, fields: FieldMap) -> EventDraft:
    """One entry of a push. ``data`` is JSON text inside JSON. Raises Unreadable."""
    data = message_data(entry)
    topic = entry.id("tag")
    found = fields.section("event").over(data)
    asked = read_address_change(data, fields) if topic == ADDRESS_CHANGE_ASKED else None
    return EventDraft(
        channel=DouyinWire.channel,
        event_id=entry.id("msg_id"),
        topic=topic,
        channel_number=found.optional_id("channel_number"),
        occurred_at=_moment(found, "occurred_at"),
        address_change=asked,
    )


def message_data(entry: Node) -> Node:
    """What an entry carries: JSON in a text, decoded once; an object is taken as it is."""
    data = entry.get("data")
    if isinstance(data, Mapping):
        return Node(data, "data")
    return Node.of(loads_strict(text_of(data).encode(errors="surrogatepass")), "data")


def _moment(found: Fields, name: str) -> Any:
    """A number in order messages, a date text in refund messages; a hint may have none."""
    try:
        return found.time(name)
    except Unreadable:
        return None


def read_address_change(data: Node, fields: FieldMap) -> AddressChangeDraft:
    """A buyer's wish for another address; the platform names no time by which to answer."""
    found = fields.section("address_change").over(data)
    try:
        receiver = _read_receiver(found)
    except Unreadable:  # ``addr`` is JSON in a text once more
        receiver = None
    return AddressChangeDraft(_moment(found, "asked_at"), None, receiver)


def is_address_check(entry: Any) -> bool:
    return isinstance(entry, Mapping) and text_of(entry.get("tag")) == ADDRESS_CHECK
