"""What a connector read, spelled for people and programs in the vocabulary of ``EXPECTED.json``.

Names, phones and streets are left out: what is printed may stay in a terminal's history.
"""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from channels_sync.contracts import Document, ErrorClass, PlatformError
from ordercenter.orders.contracts import (
    AddressChangeDraft,
    EventDraft,
    GiftDraft,
    LineDraft,
    OrderDraft,
    ReceiverDraft,
    RefundDraft,
)

PRIVATE_FACTS: Final = ("order_facts", "refund_facts", "event_facts")
"""Facts about one order, refund or event, by its id; they are printed beside it."""


def document_json(document: Document) -> dict[str, Any]:
    """Spell a document in the vocabulary of ``EXPECTED.json``; money and ids are text."""
    facts = dict(document.facts)
    orders, refunds, events = (facts.pop(key, {}) for key in PRIVATE_FACTS)
    result: dict[str, Any] = {"kind": document.kind, **_plain(facts)}
    if document.orders or document.kind in {"order", "order_list"}:
        result["orders"] = [_with(order_json(one), orders) for one in document.orders]
    if document.refunds or document.kind == "refund_list":
        result["refunds"] = [_with(refund_json(one), refunds) for one in document.refunds]
    if document.events or document.kind == "event_list":
        result["events"] = [_with(event_json(one), events) for one in document.events]
    if document.error is not None:
        result["error"] = error_json(document.error)
    return result


def _with(row: dict[str, Any], facts: Any) -> dict[str, Any]:
    identity = row.get("refund_id") or row.get("event_id") or row.get("platform_order_no")
    return {**row, **_plain(facts.get(identity, {}))}


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def order_json(order: OrderDraft) -> dict[str, Any]:
    return _plain_dict(
        channel=order.channel,
        platform_order_no=order.channel_number,
        status_raw=order.status_raw,
        status=order.status.value,
        currency=order.currency,
        payable_amount=order.payable_amount,
        paid_amount=order.paid_amount,
        freight=order.freight,
        placed_at=order.placed_at,
        paid_at=order.paid_at,
        modified_at=order.modified_at,
        line_count=len(order.lines),
        lines=[line_json(line) for line in order.lines],
        gifts_outside_lines=[gift_json(gift) for gift in order.gifts_outside_lines],
        receiver=None if order.receiver is None else receiver_json(order.receiver),
        buyer_id=order.evidence.buyer_id or None,
        buyer_remark=order.buyer_remark,
        seller_memo=order.seller_memo,
        seller_flag=order.seller_flag,
        has_gift=order.has_gift,
        refund_state=order.refund_state,
        is_test=order.is_test,
        is_presale=order.is_presale,
        address_change=_change_json(order.address_change),
    )


def _change_json(change: AddressChangeDraft | None) -> dict[str, Any] | None:
    """That a buyer asks for another address, and until when; not which."""
    if change is None:
        return None
    return _plain_dict(asked_at=change.asked_at, answer_by=change.answer_by)


def _plain_dict(**values: Any) -> dict[str, Any]:
    return {key: _plain(value) for key, value in values.items()}


def line_json(line: LineDraft) -> dict[str, Any]:
    return _plain_dict(
        platform_line_no=line.channel_line_id,
        platform_sku_id=line.platform_sku_id,
        platform_item_id=line.platform_item_id,
        outer_code=line.outer_code,
        title=line.title,
        qty=line.quantity,
        unit_price=line.unit_price,
        amount=line.amount,
        is_gift=line.is_gift,
        refund_state=line.refund_state,
    )


def gift_json(gift: GiftDraft) -> dict[str, Any]:
    return _plain_dict(
        name=gift.name,
        platform_item_id=gift.platform_item_id,
        platform_sku_id=gift.platform_sku_id,
        outer_code=gift.outer_code,
        qty=gift.quantity,
    )


def receiver_json(receiver: ReceiverDraft) -> dict[str, Any]:
    """The region only: a name, a phone or a street has no business in a terminal's history."""
    return _plain_dict(
        province=receiver.province or None,
        city=receiver.city or None,
        district=receiver.district or None,
        town=receiver.town or None,
        is_masked=receiver.is_masked,
        oaid=receiver.oaid or None,
    )


def refund_json(refund: RefundDraft) -> dict[str, Any]:
    return _plain_dict(
        refund_id=refund.refund_id,
        platform_order_no=refund.channel_number,
        platform_line_no=refund.channel_line_id,
        amount=refund.amount,
        state_raw=refund.state_raw,
        refund_state=refund.refund_state,
        return_goods=refund.return_goods,
        phase=refund.phase,
        intercept_shipping=refund.intercept_shipping,
        modified_at=refund.modified_at,
        version=refund.version or None,
    )


def event_json(event: EventDraft) -> dict[str, Any]:
    return _plain_dict(
        event_id=event.event_id,
        topic=event.topic,
        platform_order_no=event.channel_number,
        occurred_at=event.occurred_at,
    )


def error_json(error: PlatformError) -> dict[str, Any]:
    return {
        "klass": error.klass.value,
        "code": error.code,
        "sub_code": error.sub_code,
        "message": error.message,
        "retry": error.klass in {ErrorClass.RATE_LIMITED, ErrorClass.PLATFORM},
        "retry_after_s": error.retry_after_seconds,
    }
