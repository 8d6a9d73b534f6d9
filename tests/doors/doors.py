"""The eight doors platforms and a carrier push at, signed by a reading of ours of the wires.

Nothing of the connectors is used to sign: ``channels.md`` 3e, 5e, 6e and 7 a second time.
"""

import base64
import hashlib
import hmac
import json
import os
import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Final
from urllib.parse import urlencode

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from django.test import Client

from fulfillment.carriers.account import seal_secrets
from ordercenter.catalog.models import Shop
from tests.channels_sync.contract_cases import OPEN_ORDER
from tests.factories import (
    CarrierAccountFactory,
    ShopCredentialFactory,
    ShopFactory,
    SyncCursorFactory,
)

PAYLOADS: Final = Path(__file__).parent.parent / "data" / "reference" / "payloads"
SECRET: Final = "a-secret-of-this-shop"
APP_KEY: Final = "7000000000000000001"
PUSH_TOKEN: Final = "an-unguessable-push-token"
AES_KEY: Final = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"
SHOP_DOMAIN: Final = "this-shop.myshopify.com"


@dataclass(frozen=True)
class Pushed:
    """One push as it goes over the wire."""

    path: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)

    @property
    def target(self) -> str:
        return f"{self.path}?{urlencode(self.query)}" if self.query else self.path

    def post(self, content_type: str = "application/json") -> Any:
        """Hand it to the center without a network."""
        return Client(headers=dict(self.headers)).generic(
            "POST", self.target, self.body, content_type=content_type
        )


@dataclass
class Door:
    """One way in."""

    name: ClassVar[str] = ""
    channel: ClassVar[str] = ""
    signature: ClassVar[str] = ""
    """The header or query parameter that holds it; empty where nothing is signed."""
    stamp: ClassVar[str] = ""
    """The one that holds the time, where the scheme has one."""
    secret: str = SECRET
    app_key: str = APP_KEY
    path: str = ""

    @property
    def code(self) -> str:
        return f"{self.name.replace('_', '-')}-1"

    def open(self) -> "Door":
        """Set up the shop whose door this is."""
        shop = ShopFactory.create(code=self.code, channel=self.channel)
        credential = ShopCredentialFactory.build(shop=shop, app_key=APP_KEY, options=self.options())
        credential.set_secrets(app_secret=SECRET, **self.more_secrets())
        credential.save()
        SyncCursorFactory.create(shop=shop)
        self.path = f"/hooks/{self.channel}/{self.code}/"
        return self

    def options(self) -> dict[str, str]:
        return {}

    def more_secrets(self) -> dict[str, str]:
        return {}

    @property
    def shop(self) -> Shop:
        return Shop.objects.get(code=self.code)

    def body(self) -> bytes:
        """Something the platform really pushes."""
        raise NotImplementedError

    def another(self) -> bytes:
        """The same words as a new event."""
        raise NotImplementedError

    def push(self, body: bytes | None = None, *, at: float | None = None) -> Pushed:
        """Sign ``body`` as the platform does."""
        moment = str(int(time.time() if at is None else at))
        return self.sign(self.body() if body is None else body, moment)

    def sign(self, body: bytes, moment: str) -> Pushed:
        raise NotImplementedError

    def know_only(self, secret: str) -> None:
        """From now on sign with this secret."""
        self.secret = secret

    def proof(self, pushed: Pushed) -> str:
        """What the push proves itself by."""
        return {**pushed.query, **pushed.headers}[self.signature]

    def forged(self, pushed: Pushed, proof: str | None) -> Pushed:
        """The same push with another proof; None leaves it out."""
        in_header = self.signature in pushed.headers
        held = dict(pushed.headers if in_header else pushed.query)
        held.pop(self.signature)
        held |= {} if proof is None else {self.signature: proof}
        return replace(pushed, headers=held) if in_header else replace(pushed, query=held)

    def is_thanks(self, answer: Any) -> bool:
        """Whether this is the answer that keeps the platform from repeating."""
        raise NotImplementedError


def raw(folder: str, name: str) -> bytes:
    return (PAYLOADS / folder / name).read_bytes()


def _hmac(secret: str, text: bytes, digest: str = "sha256") -> bytes:
    return hmac.digest(secret.encode(), text, digest)


class Douyin(Door):
    name = channel = "douyin"
    signature = "event-sign"

    def options(self) -> dict[str, str]:
        return {"shop_id": "4463000001"}

    def body(self) -> bytes:
        return raw("douyin", "push_101_paid.json")

    def another(self) -> bytes:
        return self.body().replace(b"6900000000000000101:101", b"6900000000000000101:again")

    def sign(self, body: bytes, moment: str) -> Pushed:
        text = self.app_key.encode() + body + self.secret.encode()
        digest = hashlib.md5(text, usedforsecurity=False).hexdigest()
        return Pushed(self.path, body, {"event-sign": digest, "app-id": self.app_key})

    def is_thanks(self, answer: Any) -> bool:
        return bool(json.loads(answer.content)["code"] == 0)


class Shopify(Door):
    name = channel = "shopify"
    signature = "x-shopify-hmac-sha256"
    event: str = "b54557e4-bdd9-4b37-8a5f-bf7d70bcd043"

    def options(self) -> dict[str, str]:
        return {"shop_domain": SHOP_DOMAIN}

    def body(self) -> bytes:
        return raw("shopify", "webhook_orders_paid.json")

    def another(self) -> bytes:
        self.event = "another-event"
        return self.body()

    def sign(self, body: bytes, moment: str) -> Pushed:
        return Pushed(self.path, body, {
            "x-shopify-hmac-sha256": base64.b64encode(_hmac(self.secret, body)).decode(),
            "x-shopify-topic": "orders/paid",
            "x-shopify-shop-domain": SHOP_DOMAIN,
            "x-shopify-webhook-id": self.event,
        })  # fmt: skip

    def is_thanks(self, answer: Any) -> bool:
        return bool(answer.status_code == 200)


class WechatPlain(Door):
    name, channel = "wechat_plain", "wechat"
    signature, stamp = "signature", "timestamp"
    token: str = PUSH_TOKEN
    number = 3700000000000000101

    def more_secrets(self) -> dict[str, str]:
        return {"push_token": PUSH_TOKEN}

    def body(self, made: int = 1_772_327_287) -> bytes:
        return json.dumps({
            "ToUserName": "gh_1", "FromUserName": "o1", "CreateTime": made, "MsgType": "event",
            "Event": "channels_ec_order_pay", "order_info": {"order_id": self.number},
        }).encode()  # fmt: skip

    def another(self) -> bytes:
        return self.body(1_772_327_288)

    def know_only(self, secret: str) -> None:
        self.token = secret

    def sign(self, body: bytes, moment: str) -> Pushed:
        return Pushed(self.path, body, query=self.query("signature", moment))

    def query(self, name: str, moment: str, *more: str) -> dict[str, str]:
        parts = sorted([self.token, moment, "n1", *more])
        digest = hashlib.sha1("".join(parts).encode(), usedforsecurity=False).hexdigest()
        return {"timestamp": moment, "nonce": "n1", name: digest}

    def is_thanks(self, answer: Any) -> bool:
        return bool(answer.content == b"success")


class WechatAes(WechatPlain):
    name = "wechat_aes"
    signature = "msg_signature"
    aes_key: str = AES_KEY
    app: str = APP_KEY

    def more_secrets(self) -> dict[str, str]:
        return {"push_token": PUSH_TOKEN, "encoding_aes_key": AES_KEY}

    def sign(self, body: bytes, moment: str) -> Pushed:
        key = base64.b64decode(self.aes_key + "=")
        plain = os.urandom(16) + struct.pack(">I", len(body)) + body + self.app.encode()
        pad = 32 - len(plain) % 32
        box = Cipher(algorithms.AES(key), modes.CBC(key[:16])).encryptor()
        sealed = base64.b64encode(box.update(plain + bytes([pad]) * pad) + box.finalize()).decode()
        outer = json.dumps({"ToUserName": "gh_1", "Encrypt": sealed}).encode()
        query = {"encrypt_type": "aes", **self.query("msg_signature", moment, sealed)}
        return Pushed(self.path, outer, query=query)


class Crm(Door):
    name = channel = "crm_webhook"
    signature, stamp = "x-signature", "x-timestamp"

    def body(self) -> bytes:
        return raw("crm_webhook", "order_paid.json")

    def another(self) -> bytes:
        return self.body().replace(b"evt_20260301_000101", b"evt_again")

    def sign(self, body: bytes, moment: str) -> Pushed:
        digest = _hmac(self.secret, f"{moment}.".encode() + body).hex()
        return Pushed(self.path, body, {
            "x-timestamp": moment, "x-signature": digest, "x-event-id": "evt-of-the-header",
        })  # fmt: skip

    def is_thanks(self, answer: Any) -> bool:
        return json.loads(answer.content)["ok"] is True


class MiniProgram(Crm):
    name = channel = "miniprogram"


class OpenJson(Crm):
    name = channel = "openjson"
    event = "e-1"

    def body(self) -> bytes:
        return json.dumps({"event_id": self.event, "order": OPEN_ORDER}).encode()

    def another(self) -> bytes:
        self.event = "e-2"
        return self.body()


class Sf(Door):
    name = "sf"
    token: str = PUSH_TOKEN

    def open(self) -> Door:
        sealed = seal_secrets(secret="check-word", push_token=PUSH_TOKEN)
        CarrierAccountFactory.create(code="sf", sealed=sealed)
        return self

    def body(self) -> bytes:
        told = json.loads(raw("carriers", "sf_route_push.json"))["request"]["json"]
        return json.dumps(told, ensure_ascii=False).encode()

    def another(self) -> bytes:
        return self.body() + b" "

    def know_only(self, secret: str) -> None:
        self.token = secret

    def proof(self, pushed: Pushed) -> str:
        return self.token

    def forged(self, pushed: Pushed, proof: str | None) -> Pushed:
        return replace(
            pushed, path=f"/hooks/carrier/sf/{proof}/" if proof else "/hooks/carrier/sf/"
        )

    def sign(self, body: bytes, moment: str) -> Pushed:
        return self.forged(Pushed("", body), self.token)

    def is_thanks(self, answer: Any) -> bool:
        return bool(json.loads(answer.content)["return_code"] == "0000")


DOORS: Final[Mapping[str, type[Door]]] = {
    kind.name: kind
    for kind in (
        Douyin, Shopify, WechatPlain, WechatAes, MiniProgram, Crm, OpenJson, Sf,
    )
}  # fmt: skip
