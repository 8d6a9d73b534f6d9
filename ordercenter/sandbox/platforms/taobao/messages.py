"""Taobao's message service, pulled (channels.md 1e): consume, confirm, and again if not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from ordercenter.sandbox.book import (
    AGREED,
    ASKED,
    CLOSED_REFUNDED,
    DONE,
    REFUSED,
    WITHDRAWN,
    Order,
    Refund,
)
from ordercenter.sandbox.mailbox import Mailbox, Message
from ordercenter.sandbox.platforms.taobao.bodies import item_id, status_of
from ordercenter.sandbox.platforms.taobao.errors import Serve, invalid, number, required
from ordercenter.sandbox.wire import beijing, mask_name, yuan

if TYPE_CHECKING:
    from ordercenter.sandbox.book import Book, ShopConfig

AGAIN_AFTER: Final = 30.0  # seconds; minutes on the platform
FEWEST, MOST, AT_FIRST = 10, 200, 100
CONFIRMED_AT_A_TIME: Final = 200
NOTHING: Final = frozenset({""})
TOPICS: Final = {
    "created": "TradeCreate",
    "paid": "TradeBuyerPay",
    "finished": "TradeSuccess",
    "closed": "TradeClose",
    "changed": "TradeChanged",
    "memo_changed": "TradeMemoModified",
    "address_changed": "TradeLogisticsAddressChanged",
}
REFUND_TOPICS: Final = {
    ASKED: "RefundCreated",
    AGREED: "RefundSellerAgreeAgreement",
    REFUSED: "RefundSellerRefuseAgreement",
    WITHDRAWN: "RefundClosed",
    DONE: "RefundSuccess",
}


class Messages:
    """What each shop of Taobao is told. Every shop of the sandbox has been permitted already;
    ``permit`` narrows the topics, ``cancel`` ends it."""

    def __init__(self, book: Book) -> None:
        self.book = book
        self.box = Mailbox(book, "taobao", again_after=AGAIN_AFTER)
        self._topics: dict[str, frozenset[str]] = {}
        """By shop, the topics permitted; every one where none was named."""
        self._told: dict[str, str] = {}
        book.on_change(self._changed)

    def methods(self) -> dict[str, Serve]:
        return {
            "taobao.tmc.user.permit": self.permit,
            "taobao.tmc.user.cancel": self.cancel,
            "taobao.tmc.messages.consume": self.consume,
            "taobao.tmc.messages.confirm": self.confirm,
        }

    def permit(self, shop: ShopConfig, params: Mapping[str, str]) -> dict[str, Any]:
        """tmc.user.permit: the topics named replace the former; none named means all."""
        names = frozenset(name for name in params.get("topics", "").split(",") if name)
        self._topics[shop.code] = names
        return {"is_success": True}

    def cancel(self, shop: ShopConfig, params: Mapping[str, str]) -> dict[str, Any]:
        self._topics[shop.code] = NOTHING
        return {"is_success": True}

    def consume(self, shop: ShopConfig, params: Mapping[str, str]) -> dict[str, Any]:
        quantity = number(params, "quantity", AT_FIRST)
        if not FEWEST <= quantity <= MOST:
            raise invalid("quantity", "每批消息数量为10到200")
        rows = [self._row(shop, message) for message in self.box.take(shop.code, quantity)]
        return {"messages": {"tmc_message": rows} if rows else {}}

    def confirm(self, shop: ShopConfig, params: Mapping[str, str]) -> dict[str, Any]:
        required(params, "s_message_ids")
        ids = params["s_message_ids"].split(",")
        if len(ids) > CONFIRMED_AT_A_TIME or not all(text.isdigit() for text in ids):
            raise invalid("s_message_ids", "最多200个消息ID，逗号分隔")
        for text in ids:
            self.box.confirm(shop.code, int(text))
        return {"is_success": True}

    def _row(self, shop: ShopConfig, message: Message) -> dict[str, Any]:
        return {
            "id": message.id,
            "topic": message.topic,
            "user_id": int(shop.options.get("user_id", 2200000000001)),
            "user_nick": seller(shop),
            "content": message.content,
            "pub_time": beijing(message.at),
            "pub_app_key": "12497914",
        }

    # What is told

    def _changed(self, order: Order, event: str) -> None:
        shop = self.book.shops[order.shop]
        if shop.channel != "taobao":
            return
        for refund in order.refunds:
            if self._told.get(refund.refund_id) != refund.state:
                self._told[refund.refund_id] = refund.state
                topic = f"taobao_refund_{REFUND_TOPICS[refund.state]}"
                self._post(shop, order, topic, refund_content(shop, order, refund))
        topic = trade_topic(order, event)
        if topic:
            self._post(shop, order, f"taobao_trade_{topic}", trade_content(shop, order))

    def _post(self, shop: ShopConfig, order: Order, topic: str, content: dict[str, Any]) -> None:
        named = self._topics.get(shop.code, frozenset())
        if not named or topic in named:
            self.box.post(shop.code, order.number, topic, content)


def trade_topic(order: Order, event: str) -> str:
    if event == "paid" and "deposit_fen" in order.extra:
        return "TradeBuyerStepPay"
    if event == "shipped":
        return "TradePartlySellerShip" if order.is_part_shipped else "TradeSellerShip"
    if event == "refund_changed" and any(refund.state == DONE for refund in order.refunds):
        return "" if order.state == CLOSED_REFUNDED else "TradePartlyRefund"
    return TOPICS.get(event, "")


def seller(shop: ShopConfig) -> str:
    return str(shop.options.get("seller_nick", shop.name))


def trade_content(shop: ShopConfig, order: Order) -> dict[str, Any]:
    return {
        "buyer_nick": mask_name(order.buyer.nick),
        "payment": yuan(order.payable_fen),
        "status": status_of(order),
        "iid": item_id(order.lines[0]),
        "oid": int(order.lines[0].line_id),
        "tid": int(order.number),
        "type": "guarantee_trade",
        "post_fee": yuan(order.freight_fen),
        "seller_nick": seller(shop),
    }


def refund_content(shop: ShopConfig, order: Order, refund: Refund) -> dict[str, Any]:
    return {
        "buyer_nick": mask_name(order.buyer.nick),
        "refund_fee": yuan(refund.amount_fen),
        "oid": int(refund.line_id or order.lines[0].line_id),
        "tid": int(order.number),
        "refund_id": int(refund.refund_id),
        "refund_phase": "onsale",
        "bill_type": "refund_bill",
        "seller_nick": seller(shop),
        "modified": beijing(refund.modified),
    }
