"""What the contract tests know of each channel: raw rows as the inbox holds them, and how a
platform signs a push. Our own reading of ``channels.md``, nothing of the connectors."""

import base64
import hashlib
import hmac
import json
import os
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

import httpx
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from channels_sync.connectors import CONNECTORS
from channels_sync.connectors.strict_json import dump_compact, loads_page
from channels_sync.contracts import OPEN_LINE, Connector, Line, ShopAccess, WebhookRequest
from tests.channels_sync.platforms import NOW, PAYLOADS

SECRET: Final = "the-secret-of-this-shop"
TOKEN: Final = "the-token-of-this-shop"
PUSH_TOKEN: Final = "the-push-token"
AES_KEY: Final = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"
APP_KEY: Final = "20000001"
Path = tuple[str | int, ...]
Signer = Callable[[bytes, ShopAccess, datetime], WebhookRequest]

OPEN_ORDER: Final[Mapping[str, Any]] = {
    "order_no": "A-1001",
    "status": "paid",
    "currency": "CNY",
    "total_amount": "120.00",
    "discount_amount": "20.00",
    "freight_amount": "8.00",
    "paid_amount": "108.00",
    "created_at": "2026-03-01T09:00:00+08:00",
    "updated_at": 1772327287,
    "paid_at": "2026-03-01 09:01:00",
    "items": [
        {"line_no": "1", "sku_code": "CUP-1", "title": "杯子", "qty": 2, "unit_price": "60.00",
         "discount_amount": "20.00"},
    ],
    "receiver": {"province": "江苏省", "city": "南京市", "district": "玄武区", "name": "林**"},
}  # fmt: skip
OPEN_REFUND: Final[Mapping[str, Any]] = {
    "refund_no": "R-1", "order_no": "A-1001", "type": "refund_only", "status": "pending",
    "amount": "10.00", "updated_at": 1772327287,
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """One channel."""

    channel: str
    order: tuple[str, Path] | Mapping[str, Any]
    """Where a raw order lies in the payloads, or the order itself."""
    refund: tuple[str, Path] | Mapping[str, Any]
    id_key: str = ""
    """The top-level key of the order's number; empty where it is not at the top."""
    text_ids: bool = True
    folder: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    signer: Signer | None = None
    signature: tuple[str, str] = ("", "")
    """Where the signature stands: ``headers`` or ``query``, and its name."""
    stamped: bool = False

    def payloads(self) -> list[tuple[str, bytes]]:
        folder = PAYLOADS / (self.folder or self.channel)
        files = sorted(folder.glob("*.json")) if folder.exists() else []
        return [(f.name, f.read_bytes()) for f in files if f.name != "EXPECTED.json"]

    def access(self, **changes: Any) -> ShopAccess:
        made = ShopAccess(
            shop_code="t1",
            base_url="https://gateway.example",
            app_key=APP_KEY,
            app_secret=SECRET,
            access_token=TOKEN,
            secrets={"push_token": PUSH_TOKEN, "encoding_aes_key": AES_KEY},
            options=self.options,
        )
        return replace(made, **changes)

    def connector(
        self, client: httpx.Client | None = None, line: Line = OPEN_LINE, **changes: Any
    ) -> Connector:
        return CONNECTORS[self.channel](self.access(**changes), client, lambda: NOW, line=line)

    def reader(self) -> Connector:
        return CONNECTORS[self.channel](ShopAccess("", "", "", ""))

    def order_body(self) -> bytes:
        return self._row(self.order)

    def refund_body(self) -> bytes:
        return self._row(self.refund)

    def _row(self, where: tuple[str, Path] | Mapping[str, Any]) -> bytes:
        if isinstance(where, Mapping):
            return dump_compact(where)
        name, path = where
        found = loads_page((PAYLOADS / (self.folder or self.channel) / name).read_bytes())
        for step in path:
            found = found[step]
        return dump_compact(found)

    def push(self, body: bytes | None = None, at: datetime = NOW, **access: Any) -> WebhookRequest:
        """A push the platform signed with this shop's secrets."""
        assert self.signer is not None
        return self.signer(self.order_body() if body is None else body, self.access(**access), at)


# --- signers ----------------------------------------------------------------------------------


def request(
    body: bytes, headers: Mapping[str, str], query: Mapping[str, str] | None = None
) -> WebhookRequest:
    return WebhookRequest("POST", "/hooks/x/t1/", query or {}, headers, body, NOW)


def stamped(body: bytes, access: ShopAccess, at: datetime) -> WebhookRequest:
    """``channels.md`` 7."""
    timestamp = str(int(at.timestamp()))
    signed = f"{timestamp}.".encode() + body
    signature = hmac.new(access.app_secret.encode(), signed, hashlib.sha256).hexdigest()
    return request(
        body, {"x-event-id": "e-1", "x-timestamp": timestamp, "x-signature": signature}
    )  # fmt: skip


def shopify(body: bytes, access: ShopAccess, at: datetime) -> WebhookRequest:
    """``channels.md`` 5e."""
    digest = hmac.new(access.app_secret.encode(), body, hashlib.sha256).digest()
    return request(body, {
        "x-shopify-hmac-sha256": base64.b64encode(digest).decode(),
        "x-shopify-topic": "orders/paid",
        "x-shopify-shop-domain": "this-shop.myshopify.com",
        "x-shopify-webhook-id": "w-1",
        "x-shopify-triggered-at": at.isoformat(),
    })  # fmt: skip


def douyin(body: bytes, access: ShopAccess, at: datetime) -> WebhookRequest:
    """``channels.md`` 3e. A body that is no push is put into one."""
    if not body.lstrip().startswith(b"["):
        inner = json.dumps({"p_id": 6900000000000000101, "shop_id": 4463000001})
        body = json.dumps([{"tag": "101", "msg_id": "m-1", "data": inner}]).encode()
    signed = access.app_key.encode() + body + access.app_secret.encode()
    signature = hashlib.md5(signed, usedforsecurity=False).hexdigest()
    return request(body, {"app-id": access.app_key, "event-sign": signature})


def wechat(body: bytes, access: ShopAccess, at: datetime) -> WebhookRequest:
    """``channels.md`` 6e, secure mode: what is pushed is encrypted and the ciphertext signed."""
    if b"MsgType" not in body:
        event = {"ToUserName": "gh_1", "FromUserName": "o1", "CreateTime": int(at.timestamp()),
                 "MsgType": "event", "Event": "channels_ec_order_pay",
                 "order_info": {"order_id": 3700000000000000101}}  # fmt: skip
        body = json.dumps(event).encode()
    key = base64.b64decode(access.secrets["encoding_aes_key"] + "=")
    plain = os.urandom(16) + struct.pack(">I", len(body)) + body + access.app_key.encode()
    pad = 32 - len(plain) % 32
    box = Cipher(algorithms.AES(key), modes.CBC(key[:16])).encryptor()
    cipher = base64.b64encode(box.update(plain + bytes([pad]) * pad) + box.finalize()).decode()
    timestamp, nonce = str(int(at.timestamp())), "n1"
    parts = sorted([access.secrets["push_token"], timestamp, nonce, cipher])
    query = {
        "timestamp": timestamp,
        "nonce": nonce,
        "encrypt_type": "aes",
        "msg_signature": hashlib.sha1("".join(parts).encode(), usedforsecurity=False).hexdigest(),
    }
    outer = json.dumps({"ToUserName": "gh_1", "Encrypt": cipher}).encode()
    return request(outer, {"content-type": "application/json"}, query)


# --- the channels -----------------------------------------------------------------------------

CASES: Final = (
    Case(
        "taobao",
        ("trades_sold_increment_get_page.json",
         ("trades_sold_increment_get_response", "trades", "trade", 0)),
        ("refunds_receive_get_page.json",
         ("refunds_receive_get_response", "refunds", "refund", 0)),
        id_key="tid",
    ),
    Case(
        "jd",
        ("pop_order_search_page.json",
         ("jingdong_pop_order_search_responce", "searchorderinfo_result", "orderInfoList", 0)),
        ("afs_refundapply_queryPageList.json",
         ("jingdong_pop_afs_soa_refundapply_queryPageList_responce", "queryResult", "result", 0)),
        id_key="orderId",
    ),
    Case(
        "pinduoduo",
        ("order_number_list_increment_page.json",
         ("order_sn_increment_get_response", "order_sn_list", 0)),
        ("refund_list_increment_page.json",
         ("refund_increment_get_response", "refund_list", 0)),
        id_key="order_sn",
    ),
    Case(
        "douyin",
        ("order_searchList_page.json", ("data", "shop_order_list", 0)),
        ("afterSale_List_page.json", ("data", "items", 0)),
        id_key="order_id",
        options={"shop_id": "4463000001"},
        signer=douyin,
        signature=("headers", "event-sign"),
    ),
    Case(
        "shopify",
        ("webhook_orders_paid.json", ()),
        ("webhook_refunds_create.json", ()),
        id_key="id",
        text_ids=False,
        options={"shop_domain": "this-shop.myshopify.com"},
        signer=shopify,
        signature=("headers", "x-shopify-hmac-sha256"),
    ),
    Case(
        "wechat",
        ("ec_order_get_discount_gift_masked.json", ("order",)),
        ("ec_getaftersaleorder.json", ("after_sale_order",)),
        id_key="order_id",
        signer=wechat,
        signature=("query", "msg_signature"),
    ),
    Case(
        "crm_webhook",
        ("order_paid.json", ()),
        ("refund_created.json", ()),
        signer=stamped,
        signature=("headers", "x-signature"),
        stamped=True,
    ),
    Case(
        "miniprogram",
        ("order_paid.json", ()),
        ("refund_created.json", ()),
        folder="crm_webhook",
        signer=stamped,
        signature=("headers", "x-signature"),
        stamped=True,
    ),
    Case(
        "openjson",
        OPEN_ORDER,
        OPEN_REFUND,
        id_key="order_no",
        options={"orders_url": "/orders", "refunds_url": "/refunds", "order_url": "/o/{number}",
                 "ship_url": "/ship", "ship_body": "{}"},
        signer=stamped,
        signature=("headers", "x-signature"),
        stamped=True,
    ),
)  # fmt: skip
READING_ONLY: Final = frozenset({"file"})
"""Rows of spreadsheets: they have neither a line nor JSON of a platform."""

BY_CHANNEL: Final = {case.channel: case for case in CASES}
DOCUMENTS: Final = [(case, name, body) for case in CASES for name, body in case.payloads()]
