"""What Douyin sends by itself: pushes of hints (channels.md 3e)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from ordercenter.sandbox.book import AGREED, ASKED, DONE, REFUSED, WITHDRAWN
from ordercenter.sandbox.outgoing import Push, Teller, hook
from ordercenter.sandbox.platforms.douyin.bodies import (
    REFUNDS,
    aftersale_type,
    place,
    sealed,
    shop_id,
    status_of,
    wished,
)
from ordercenter.sandbox.platforms.douyin.wire import event_sign
from ordercenter.sandbox.wire import beijing, digest

if TYPE_CHECKING:
    import httpx

    from ordercenter.sandbox.book import Order, Refund, ShopConfig

REFUND_TAGS: Final = {ASKED: "200", AGREED: "201", REFUSED: "204", DONE: "206", WITHDRAWN: "207"}
ORDER_TAGS: Final = {
    "created": "100",
    "paid": "101",
    "shipped": "102",
    "finished": "103",
    "address_changed": "105",
    "address_asked": "111",
    "waybill_changed": "104",
    "memo_changed": "113",
}
PART_SHIPPED_TAG, CANCELED_TAG = "108", "106"
ADDRESS_TAGS: Final = frozenset({"105", "111"})


class Pusher(Teller):
    """Tells the center of every change by a push of hints (3e)."""

    def _changed(self, order: Order, event: str) -> None:
        shop = self.book.shops[order.shop]
        if shop.channel != "douyin":
            return
        if (tag := order_tag(order, event)) is not None:
            self._put(shop, order, tag, order.number, order_message(shop, order, tag))
        for refund in order.refunds:
            if self._is_news(refund.refund_id, refund.state):
                message = refund_message(shop, order, refund)
                self._put(shop, order, REFUND_TAGS[refund.state], refund.refund_id, message)

    def _put(
        self, shop: ShopConfig, order: Order, tag: str, about: str, message: Mapping[str, Any]
    ) -> None:
        mark = f"{about}:{tag}:{int(self.book.clock())}"
        self.outgoing.put(self._push(order, tag, mark, compact(message)))

    def _push(self, order: Order, tag: str, mark: str, data: str) -> Push:
        """The push of ``data`` as the event ``mark``."""
        shop = self.book.shops[order.shop]
        msg_id = f"{mark}:{shop.app_key}"
        body = compact([{"tag": tag, "msg_id": msg_id, "data": data}]).encode()
        headers = {
            "Content-Type": "application/json",
            "app-id": shop.app_key,
            "event-sign": event_sign(shop.app_key, body, shop.app_secret),
        }
        facts = {"shop": shop.code, "number": order.number, "topic": tag, "id": msg_id}

        def renewed(again: str) -> Push:
            return self._push(order, tag, f"{mark}-{digest(again, length=8)}", data)

        url = hook(self.center_url, "douyin", shop.code)
        return Push(url, body, lambda: headers, taken, facts, renewed)


def compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def taken(response: httpx.Response) -> bool:
    """``{"code":0,...}`` and nothing else stops the platform from repeating (3e)."""
    said = response.json()
    return response.is_success and isinstance(said, dict) and said.get("code") == 0


def order_tag(order: Order, event: str) -> str | None:
    if event == "shipped" and order.is_part_shipped:
        return PART_SHIPPED_TAG
    if event == "closed":
        return CANCELED_TAG
    return ORDER_TAGS.get(event)


def order_message(shop: ShopConfig, order: Order, tag: str) -> dict[str, Any]:
    """Ids as 19-digit numbers, times as numbers; an address is a JSON text in itself (3e)."""
    told: dict[str, Any] = {
        "p_id": int(order.number),
        "s_ids": [int(line.line_id) for line in order.lines],
        "shop_id": shop_id(shop),
        "order_status": status_of(order)[0],
        "order_type": 0,
        "pay_type": 2,
        "pay_time": int(order.paid or 0),
        "pay_amount": order.payable_fen,
        "biz": 2,
        "create_time": int(order.created),
        "update_time": int(order.modified),
    }
    wish = wished(order) if tag == ORDER_TAGS["address_asked"] else order.receiver
    if tag in ADDRESS_TAGS and wish is not None:
        name, phone, address = sealed(order, wish)
        told["receiver_msg"] = {
            "name": name,
            "tel": phone,
            "addr": compact(place(wish, {"encrypt_detail": address})),
        }
    return told


def refund_message(shop: ShopConfig, order: Order, refund: Refund) -> dict[str, Any]:
    """Here ``update_time`` is a date text (3e)."""
    return {
        "aftersale_id": int(refund.refund_id),
        "p_id": int(order.number),
        "s_id": int(refund.line_id or order.number),
        "shop_id": shop_id(shop),
        "aftersale_status": REFUNDS[refund.state][0],
        "aftersale_type": aftersale_type(order, refund),
        "refund_amount": refund.amount_fen,
        "reason_text": refund.reason,
        "update_time": beijing(refund.modified),
    }
