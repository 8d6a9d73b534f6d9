"""Pinduoduo as its open platform answers (channels.md 4a): the one door for every method.

Flat parameters as JSON or form, lists of at most half an hour, answers under keys that cannot
be derived from the method, money now as numbers and now as text, and a receiver in ciphertext
that is there only while the order may be shipped.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from starlette.routing import BaseRoute, Route

from ordercenter.sandbox.platforms.pinduoduo.errors import (
    REQUEST_ID,
    PopError,
    Serve,
    flat,
    invalid,
)
from ordercenter.sandbox.platforms.pinduoduo.messages import Messages
from ordercenter.sandbox.platforms.pinduoduo.oauth import Authorization
from ordercenter.sandbox.platforms.pinduoduo.privacy import Privacy
from ordercenter.sandbox.platforms.pinduoduo.reading import Reading
from ordercenter.sandbox.platforms.pinduoduo.telling import Telling
from ordercenter.sandbox.wire import answer, whole

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from ordercenter.sandbox.book import Book, ShopConfig

CLOCK_TOLERANCE: Final = 600  # 4a
COMMON: Final = ("type", "client_id", "timestamp", "sign")


def sign(params: Mapping[str, str], secret: str) -> str:
    """Upper-case MD5 over everything sent but ``sign``, wrapped in the secret (4a)."""
    text = "".join(name + params[name] for name in sorted(params) if name != "sign")
    return hashlib.md5(f"{secret}{text}{secret}".encode()).hexdigest().upper()


def routes(book: Book) -> list[BaseRoute]:
    messages = Messages(book)
    gateway = Gateway(book, messages)
    return [
        Route("/pinduoduo/api/router", gateway.handle, methods=["POST"]),
        *messages.routes(),
    ]


class Gateway:
    def __init__(self, book: Book, messages: Messages) -> None:
        self.book = book
        reading = Reading(book)
        self.granting = Authorization(book).methods()
        self.methods: dict[str, Serve] = {
            **reading.methods(),
            **Telling(book, reading).methods(),
            **Privacy(book).methods(),
            **messages.methods(),
            **self.granting,
        }

    async def handle(self, request: Request) -> Response:
        now = self.book.clock()
        try:
            params = await flat(request)
            shop = self._admit(params)
            key, body = self._method(params["type"])(shop, params)
        except PopError as error:
            return answer(error.body(now))
        body = self._shaped(body) | {"request_id": f"{int(now)}{REQUEST_ID}"}
        return answer({key: body} if key else body)

    def _admit(self, params: Mapping[str, str]) -> ShopConfig:
        """Who is calling, proven by signature and token; PopError when not."""
        for name in COMMON:
            if not params.get(name):
                raise invalid(f"公共参数错误:{name}")
        if params.get("data_type", "JSON") != "JSON":
            raise invalid("公共参数错误:data_type")
        shop = self.book.shop_by_key("pinduoduo", params["client_id"])
        if shop is None:
            raise invalid("公共参数错误:client_id")
        try:
            skew = abs(self.book.now(shop.code) - whole(params["timestamp"]))
        except ValueError as error:
            raise invalid("公共参数错误:timestamp") from error
        if skew > CLOCK_TOLERANCE:
            raise invalid("公共参数错误:timestamp已过期")
        if params["sign"] != sign(params, shop.app_secret):
            raise PopError(20004, "签名sign校验失败")
        known = self.book.takes_token(shop, params.get("access_token"))
        if not known and params["type"] not in self.granting:
            raise PopError(10019, "access_token已过期", "10019")
        return shop

    def _method(self, name: str) -> Serve:
        if name not in self.methods:
            raise invalid("公共参数错误:type")
        return self.methods[name]

    def _shaped(self, body: dict[str, Any]) -> dict[str, Any]:
        """``body``, or under ``odd_shapes`` in the forms the two known clients expect (4c)."""
        if not self.book.weather.strikes("pinduoduo", "odd_shapes"):
            return body
        odd: dict[str, Any] = odd_shape(copy.deepcopy(body))
        return odd


def odd_shape(value: Any) -> Any:
    """Numbers as text, and of lists that are empty or null now the one and now no key."""
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, list):
        return [odd_shape(entry) for entry in value]
    if not isinstance(value, dict):
        return value
    odd = {name: odd_shape(inner) for name, inner in value.items()}
    return {
        name: ([] if name == "gift_list" and inner is None else inner)
        for name, inner in odd.items()
        if inner != []
    }
