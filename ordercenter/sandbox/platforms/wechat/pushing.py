"""What WeChat sends by itself (channels.md 6e): plain or encrypted, JSON or XML.

The shop's options choose: ``push_mode`` ``plain`` or ``aes``, ``push_format`` ``json`` or
``xml``. Its secrets hold ``push_token`` and ``encoding_aes_key``.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode
from xml.sax.saxutils import escape

import httpx
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from ordercenter.sandbox.outgoing import PATIENCE, Push, Teller, hook
from ordercenter.sandbox.platforms.wechat.bodies import REFUNDS, openid
from ordercenter.sandbox.wire import digest

if TYPE_CHECKING:
    from ordercenter.sandbox.book import Order, Refund, ShopConfig

BLOCK: Final = 32
"""The padding goes to blocks of 32 bytes, not to those of AES (6e)."""
CHECK_AGAIN: Final = 3.0  # seconds between two checks of an address that does not answer
PAUSES: Final = (1.0, 3.0, 10.0)
"""Seconds before each of the three repeats (6e)."""
# type of channels_ec_order_ext_info_update, as public integrations list them
ADDRESS_CHANGED, MEMO_CHANGED, ADDRESS_ASKED = 2, 3, 4
ORDER_EVENTS: Final = {
    "created": "channels_ec_order_new",
    "paid": "channels_ec_order_pay",
    "shipped": "channels_ec_order_deliver",
    "finished": "channels_ec_order_confirm",
    "closed": "channels_ec_order_cancel",
    "address_changed": "channels_ec_order_ext_info_update",
    "address_asked": "channels_ec_order_ext_info_update",
    "memo_changed": "channels_ec_order_ext_info_update",
}
EXT_TYPES: Final = {
    "address_changed": ADDRESS_CHANGED,
    "address_asked": ADDRESS_ASKED,
    "memo_changed": MEMO_CHANGED,
}
AFTERSALE_EVENT: Final = "channels_ec_aftersale_update"


def signature(*parts: str) -> str:
    """Lower-case SHA1 of the parts, sorted and joined (6e)."""
    return hashlib.sha1("".join(sorted(parts)).encode(), usedforsecurity=False).hexdigest()


def encrypt(message: bytes, *, aes_key: str, appid: str, salt: bytes) -> str:
    """AES-256-CBC of 16 random bytes, the length, the message and the appid (6e)."""
    key = base64.b64decode(aes_key + "=")
    plain = salt + len(message).to_bytes(4, "big") + message + appid.encode()
    pad = BLOCK - len(plain) % BLOCK
    sealer = Cipher(algorithms.AES(key), modes.CBC(key[:16])).encryptor()
    sealed = sealer.update(plain + bytes([pad]) * pad) + sealer.finalize()
    return base64.b64encode(sealed).decode()


def xml(name: str, value: Any) -> str:
    """One element; texts in CDATA as WeChat writes them, numbers bare."""
    if isinstance(value, Mapping):
        inner = "".join(xml(key, inside) for key, inside in value.items())
    elif isinstance(value, int):
        inner = str(value)
    else:
        text = str(value)
        inner = escape(text) if "]]>" in text else f"<![CDATA[{text}]]>"
    return f"<{name}>{inner}</{name}>"


class Pusher(Teller):
    """Tells the center of every change of a WeChat shop's orders."""

    pauses = PAUSES

    async def run(self) -> None:
        """Check the addresses, and send whatever is due, until canceled."""
        async with (
            httpx.AsyncClient(timeout=PATIENCE, trust_env=False) as client,
            asyncio.TaskGroup() as tasks,
        ):
            tasks.create_task(self.outgoing.run())
            for shop in self._shops():
                tasks.create_task(self._check_until_good(client, shop))

    def _shops(self) -> list[ShopConfig]:
        return [shop for shop in self.book.shops.values() if shop.channel == "wechat"]

    async def _check_until_good(self, client: httpx.AsyncClient, shop: ShopConfig) -> None:
        while True:
            if await self.check_address(client, shop):
                return
            await asyncio.sleep(CHECK_AGAIN)

    async def check_address(self, client: httpx.AsyncClient, shop: ShopConfig) -> bool:
        """Ask the center's address to echo, as when it is saved (6e); whether it did."""
        echo = digest("echo", shop.code, self.book.clock(), length=19)
        query = self._query(shop) | {"echostr": echo}
        try:
            reply = await client.get(f"{hook(self.center_url, 'wechat', shop.code)}", params=query)
        except httpx.HTTPError:
            return False
        good = reply.status_code == 200 and reply.text == echo
        self.book.record("wechat_check", {"shop": shop.code, "good": good})
        return good

    def _query(self, shop: ShopConfig) -> dict[str, str]:
        timestamp = str(int(self.book.now(shop.code)))
        nonce = str(int(digest("nonce", shop.code, self.book.clock(), length=8), 16))
        given = signature(shop.secrets["push_token"], timestamp, nonce)
        return {"signature": given, "timestamp": timestamp, "nonce": nonce}

    # Events

    def _changed(self, order: Order, event: str) -> None:
        shop = self.book.shops[order.shop]
        if shop.channel != "wechat":
            return
        if (name := ORDER_EVENTS.get(event)) is not None:
            self._put(shop, order, name, {"order_info": order_info(order, event)})
        for refund in order.refunds:
            if self._is_news(refund.refund_id, refund.state):
                said = {"finder_shop_aftersale_status_update": refund_info(order, refund)}
                self._put(shop, order, AFTERSALE_EVENT, said)

    def _put(self, shop: ShopConfig, order: Order, event: str, said: Mapping[str, Any]) -> None:
        self.outgoing.put(self._push(shop, order, event, said))

    def _push(self, shop: ShopConfig, order: Order, event: str, said: Mapping[str, Any]) -> Push:
        """The event as of now: pushed again later it is another one, by its CreateTime."""
        now = int(self.book.now(shop.code))
        message = {
            "ToUserName": str(shop.options.get("gh_id", "gh_000000000001")),
            "FromUserName": openid(shop, order),
            "CreateTime": now,
            "MsgType": "event",
            "Event": event,
            **said,
        }
        in_xml = shop.options.get("push_format") == "xml"
        text = xml("xml", message) if in_xml else compact(message)
        query = self._query(shop) | {"openid": openid(shop, order)}
        if shop.options.get("push_mode") == "aes":
            text, more = self._sealed(shop, order, text, query, in_xml=in_xml)
            query |= more
        headers = {"Content-Type": "text/xml" if in_xml else "application/json"}
        mark = f"{message['FromUserName']}|{now}|{event}|{order.number}"
        facts = {"shop": shop.code, "number": order.number, "topic": event, "id": mark}
        url = f"{hook(self.center_url, 'wechat', shop.code)}?{urlencode(query)}"

        def renewed(_word: str) -> Push:
            return self._push(shop, order, event, said)

        return Push(url, text.encode(), lambda: headers, said_success, facts, renewed)

    def _sealed(
        self, shop: ShopConfig, order: Order, text: str, query: Mapping[str, str], *, in_xml: bool
    ) -> tuple[str, dict[str, str]]:
        """The message in secure mode, and what the query says besides."""
        salt = digest("salt", order.number, self.book.clock(), text, length=16).encode()
        sealed = encrypt(
            text.encode(),
            aes_key=shop.secrets["encoding_aes_key"],
            appid=shop.app_key,
            salt=salt,
        )
        outer = {"ToUserName": shop.options.get("gh_id", "gh_000000000001"), "Encrypt": sealed}
        token = shop.secrets["push_token"]
        given = signature(token, query["timestamp"], query["nonce"], sealed)
        wrapped = xml("xml", outer) if in_xml else compact(outer)
        return wrapped, {"encrypt_type": "aes", "msg_signature": given}


def said_success(response: httpx.Response) -> bool:
    """``success`` and nothing else stops the platform from repeating (6e)."""
    return response.is_success and response.text.strip() == "success"


def compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def number_or_text(order: Order, value: str) -> int | str:
    """Ids come as numbers above 2^53 or as texts (6e): of one order always in the same way."""
    return value if int(digest("as text", order.number, length=2), 16) % 2 else int(value)


def order_info(order: Order, event: str) -> dict[str, Any]:
    info: dict[str, Any] = {"order_id": number_or_text(order, order.number)}
    if event == "paid":
        paid = int(order.paid or 0)
        # Text and number the other way round than the id, to have every mixture.
        info["pay_time"] = paid if isinstance(info["order_id"], str) else str(paid)
    elif event == "shipped":
        info["finish_delivery"] = 0 if order.is_part_shipped else 1
    elif event == "finished":
        info["confirm_type"] = 1
    elif event == "closed":
        info["cancel_type"] = 2 if order.paid is None else 3
    elif event in EXT_TYPES:
        info["type"] = EXT_TYPES[event]
    return info


def refund_info(order: Order, refund: Refund) -> dict[str, Any]:
    return {
        "status": REFUNDS[refund.state],
        "after_sale_order_id": refund.refund_id,
        "order_id": str(order.number),
    }
