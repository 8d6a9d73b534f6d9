"""Pinduoduo's messages over a WebSocket (channels.md 4e): framed, kept until acknowledged.

``/pinduoduo/message/{client_id}/{ms}/{digest}``. On the platform a frame that is not
acknowledged comes again after ten minutes; here after a few seconds.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocketDisconnect

from ordercenter.sandbox.book import (
    AGREED,
    ASKED,
    DONE,
    REFUSED,
    WITHDRAWN,
    Order,
    Refund,
)
from ordercenter.sandbox.mailbox import Mailbox, Message
from ordercenter.sandbox.wire import beijing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.websockets import WebSocket

    from ordercenter.sandbox.book import Book, ShopConfig
    from ordercenter.sandbox.platforms.pinduoduo.errors import Serve
    from ordercenter.sandbox.platforms.pinduoduo.reading import Answer

CLOCK_TOLERANCE: Final = 600
AGAIN_AFTER: Final = 5.0  # seconds
HEARTBEAT: Final = 10.0
LOOK: Final = 0.05
AT_A_TIME: Final = 50
TOPICS: Final = {
    "paid": "TradeConfirmed",
    "shipped": "TradeSellerShip",
    "finished": "TradeSuccess",
    "memo_changed": "TradeMemoModified",
    "address_changed": "TradeLogisticsAddressChanged",
}
REFUND_TOPICS: Final = {
    ASKED: "RefundCreated",
    AGREED: "RefundAgreeAgreement",
    REFUSED: "RefundClosed",
    WITHDRAWN: "RefundClosed",
    DONE: "RefundAgreeAgreement",
}


def digest_of(client_id: str, ms: str, secret: str) -> str:
    """Base64 of the 32 characters of the lower-case MD5 (4e)."""
    said = hashlib.md5(f"{client_id}{ms}{secret}".encode()).hexdigest()
    return base64.b64encode(said.encode()).decode()


class Messages:
    """What each shop of Pinduoduo is told. Every shop of the sandbox has been permitted."""

    def __init__(self, book: Book, *, heartbeat: float = HEARTBEAT) -> None:
        self.book = book
        self.heartbeat = heartbeat
        self.box = Mailbox(book, "pinduoduo", again_after=AGAIN_AFTER)
        self._told: dict[str, str] = {}
        book.on_change(self._changed)

    def methods(self) -> dict[str, Serve]:
        return {"pdd.pmc.user.permit": self.permit}

    def routes(self) -> list[WebSocketRoute]:
        return [WebSocketRoute("/pinduoduo/message/{client_id}/{ms}/{digest}", self.serve)]

    def permit(self, shop: ShopConfig, params: Mapping[str, str]) -> Answer:
        return "pmc_user_permit_response", {"is_success": True}

    # The line

    async def serve(self, socket: WebSocket) -> None:
        """Talk to one program until it leaves; refused without a word when not proven."""
        shop = self._admit(**socket.path_params)
        if shop is None:
            await socket.close(1008)  # before it was accepted: HTTP 403
            return
        await socket.accept()
        talking = asyncio.create_task(self._talk(socket, shop))
        try:
            await self._listen(socket, shop)
        except (WebSocketDisconnect, RuntimeError):
            pass  # gone, or hung up by ourselves
        finally:
            talking.cancel()
            with suppress(asyncio.CancelledError):
                await talking

    def _admit(self, client_id: str, ms: str, digest: str) -> ShopConfig | None:
        shop = self.book.shop_by_key("pinduoduo", client_id)
        if shop is None or not ms.isdigit():
            return None
        skew = abs(self.book.now(shop.code) - int(ms) / 1000)
        right = digest_of(client_id, ms, shop.app_secret)
        return shop if skew <= CLOCK_TOLERANCE and digest == right else None

    async def _listen(self, socket: WebSocket, shop: ShopConfig) -> None:
        while True:
            text = await socket.receive_text()
            try:
                frame = json.loads(text)
            except ValueError:
                continue
            if isinstance(frame, dict) and frame.get("commandType") == "Ack":
                self.box.confirm(shop.code, int(frame.get("id") or 0))

    async def _talk(self, socket: WebSocket, shop: ShopConfig) -> None:
        """Send what is due, and a heartbeat now and then; the line may break any time."""
        loop = asyncio.get_running_loop()
        beat = loop.time() + self.heartbeat
        while True:
            for message in self.box.take(shop.code, AT_A_TIME):
                await socket.send_text(self._frame(shop, message))
            if loop.time() >= beat:
                beat = loop.time() + self.heartbeat
                await socket.send_text(self._heartbeat(shop))
            if self.book.weather.strikes("pinduoduo", "reset_socket"):
                await socket.close(1011)
                return
            await asyncio.sleep(LOOK)

    def _frame(self, shop: ShopConfig, message: Message) -> str:
        told = {
            "id": message.id,
            "commandType": "Common",
            "time": int(message.at * 1000),
            "sendTime": int(self.book.now(shop.code) * 1000),
            "message": {
                "type": message.topic,
                "mallID": mall(shop),
                "content": message.content,
            },
        }
        return json.dumps(told, ensure_ascii=False)

    def _heartbeat(self, shop: ShopConfig) -> str:
        now = int(self.book.now(shop.code) * 1000)
        return json.dumps({"id": now, "commandType": "HeartBeat", "time": now, "sendTime": now})

    # What is told

    def _changed(self, order: Order, event: str) -> None:
        shop = self.book.shops[order.shop]
        if shop.channel != "pinduoduo":
            return
        for refund in order.refunds:
            if self._told.get(refund.refund_id) != refund.state:
                self._told[refund.refund_id] = refund.state
                topic = f"pdd_refund_{REFUND_TOPICS[refund.state]}"
                content = refund_content(shop, order, refund)
                self.box.post(shop.code, order.number, topic, content)
        topic = TOPICS.get(event, "")
        if event == "changed" and "platform_hold" in order.truth:
            topic = "TradeRiskChanged"
        if topic and order.paid is not None:
            content = {"mall_id": mall(shop), "tid": order.number}
            self.box.post(shop.code, order.number, f"pdd_trade_{topic}", content)


def mall(shop: ShopConfig) -> int:
    return int(shop.options.get("mall_id", 600000001))


def refund_content(shop: ShopConfig, order: Order, refund: Refund) -> dict[str, Any]:
    """Fen and milliseconds here, unlike the API (4e)."""
    return {
        "mall_id": mall(shop),
        "tid": order.number,
        "refund_id": int(refund.refund_id),
        "refund_fee": refund.amount_fen,
        "bill_type": "2",
        "operation": refund.state,
        "modified": int(refund.modified * 1000),
        "created": beijing(refund.created),
    }
