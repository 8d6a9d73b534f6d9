"""From a row of the outbox to what a connector is told."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Final

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from channels_sync.contracts import (
    AddressAnswer,
    Memo,
    ShipLine,
    ShipNotice,
    StockFigure,
    StopAnswer,
    StopOutcome,
    Told,
)
from channels_sync.models import OutboundMessage
from ordercenter.pipeline import publishing


class Moot(Exception):
    """What was to be said is not true any more; something newer says it."""


def read(message: OutboundMessage) -> Told:
    """What the platform is to be told, of any kind but stock. Raises Moot."""
    return READERS[message.kind](message)


def _ship_notice(message: OutboundMessage) -> ShipNotice:
    told = message.payload
    if not (told["whole"] or told["lines"]):  # without lines it would mean the whole order
        raise Moot("包裹里没有平台订单中的商品")
    lines = () if told["whole"] else tuple(
        ShipLine(line["channel_line_id"], line["quantity"]) for line in told["lines"]
    )  # fmt: skip
    return ShipNotice(
        key=message.key,
        channel_number=told["channel_number"],
        carrier=told["carrier"],
        tracking_number=told["tracking_number"],
        shipped_at=datetime.fromisoformat(told["shipped_at"]),
        lines=lines,
        others=tuple(told.get("others", ())),
        is_last=told.get("last", False),
    )


def stock_figures(messages: Sequence[OutboundMessage]) -> dict[int, StockFigure]:
    """The figures of the versions these messages are for, by message; moot ones are left out.

    A rise is set: the platform may have given canceled pieces back by itself, and a difference
    would count them twice. A fall is told as a difference where what is shown is known.
    """
    books = publishing.booked([message.payload["listing"] for message in messages])
    found = {}
    for message in messages:
        told, now = message.payload, books.get(message.payload["listing"])
        if now is None or now.version != told["version"]:
            continue
        shown = None if message.is_doubtful else now.shown
        found[message.pk] = StockFigure(
            key=message.key,
            platform_sku_id=told["platform_sku_id"],
            platform_item_id=told["platform_item_id"],
            outer_code=told["outer_code"],
            quantity=told["quantity"],
            believed=shown if shown is not None and told["quantity"] < shown else None,
        )
    return found


def _stop_answer(message: OutboundMessage) -> StopAnswer:
    told = message.payload
    return StopAnswer(
        key=message.key,
        channel_number=told["channel_number"],
        refund_id=told["refund_id"],
        outcome=StopOutcome(told["outcome"]),
        words=told["words"],
        amount=Decimal(told["amount"]),
        channel_line_id=told["channel_line_id"],
        version=told["version"],
        tracking_number=told["tracking_number"],
        carrier=told["carrier"],
    )


def _memo(message: OutboundMessage) -> Memo:
    told = message.payload
    return Memo(message.key, told["channel_number"], told["text"], told["flag"])


def _address_answer(message: OutboundMessage) -> AddressAnswer:
    told = message.payload
    return AddressAnswer(message.key, told["channel_number"], told["approve"], told["words"])


READERS: Final[Mapping[str, Callable[[OutboundMessage], Told]]] = {
    OutboundMessage.Kind.SHIP: _ship_notice,
    OutboundMessage.Kind.STOP: _stop_answer,
    OutboundMessage.Kind.MEMO: _memo,
    OutboundMessage.Kind.ADDRESS: _address_answer,
}

OUTCOMES: Final[Mapping[str, Promise]] = {
    StopOutcome.STOPPED: _("已拦下"),
    StopOutcome.NOT_SYNCED: _("订单未同步"),
    StopOutcome.LABEL_PRINTED: _("面单已打印"),
    StopOutcome.SHIPPED: _("已发货"),
}


def in_words(message: OutboundMessage) -> str:
    """What a message tells its platform, for a page; no receiver is in any of them."""
    told = message.payload
    match message.kind:
        case OutboundMessage.Kind.SHIP:
            return f"{told.get('carrier', '')} {told.get('tracking_number', '')}".strip()
        case OutboundMessage.Kind.STOCK:
            code = told.get("outer_code") or told.get("platform_sku_id", "")
            return f"{code} = {told.get('quantity', '')}"
        case OutboundMessage.Kind.STOP:
            return str(OUTCOMES.get(told.get("outcome", ""), ""))
        case OutboundMessage.Kind.MEMO:
            return str(told.get("text", ""))
        case _:
            return str(_("同意") if told.get("approve") else _("拒绝"))
