"""Taobao / Tmall as its open platform answers (channels.md 1a): the one door for every method.

One form POST for every method; errors come with HTTP 200; a field that is not asked for does
not come; lists run from the trade changed last to the one changed first.
"""

from __future__ import annotations

import copy
import hashlib
import hmac
import itertools
from collections.abc import Mapping
from random import Random
from typing import TYPE_CHECKING, Any, Final

from starlette.responses import Response
from starlette.routing import Route

from ordercenter.sandbox.platforms.taobao.errors import Serve, TopError, invalid, required
from ordercenter.sandbox.platforms.taobao.messages import Messages
from ordercenter.sandbox.platforms.taobao.oauth import Authorization
from ordercenter.sandbox.platforms.taobao.privacy import Privacy
from ordercenter.sandbox.platforms.taobao.reading import Reading
from ordercenter.sandbox.platforms.taobao.telling import Telling
from ordercenter.sandbox.wire import answer, form, read_beijing

if TYPE_CHECKING:
    from starlette.requests import Request

    from ordercenter.sandbox.book import Book, ShopConfig

CLOCK_TOLERANCE: Final = 600  # 1a
# Lists are wrapped twice; ``simplify`` takes the inner name away (1a).
WRAPPED: Final = {
    "trades": "trade",
    "orders": "order",
    "promotion_details": "promotion_detail",
    "refunds": "refund",
    "messages": "tmc_message",
    "receiver_list": "receiver",
    "tid_list": "string",
    "logistics_companies": "logistics_company",
    "skus": "sku",
}
# Of these no seller is asked for: they belong to the application.
WITHOUT_SESSION: Final = frozenset(
    {"taobao.tmc.messages.consume", "taobao.tmc.messages.confirm", "taobao.logistics.companies.get"}
)


def sign(params: Mapping[str, str], secret: str, method: str) -> str:
    """The TOP signature over ``params`` (1a): md5 is wrapped in the secret, hmac is not."""
    names = sorted(name for name in params if name != "sign")
    text = "".join(name + params[name] for name in names if name and params[name])
    if method == "md5":
        return hashlib.md5(f"{secret}{text}{secret}".encode()).hexdigest().upper()
    hashed = {"hmac": hashlib.md5, "hmac-sha256": hashlib.sha256}[method]
    return hmac.new(secret.encode(), text.encode(), hashed).hexdigest().upper()


def routes(book: Book) -> list[Route]:
    gateway = Gateway(book)
    return [
        Route("/taobao/router/rest", gateway.handle, methods=["GET", "POST"]),
        *Authorization(book).routes(),
    ]


class Gateway:
    def __init__(self, book: Book) -> None:
        self.book = book
        self._requests = itertools.count(1)
        reading = Reading(book)
        self.methods: dict[str, Serve] = {
            **reading.methods(),
            **Telling(book, reading).methods(),
            **Privacy(book).methods(),
            **Messages(book).methods(),
        }

    async def handle(self, request: Request) -> Response:
        params = await form(request)
        if params.get("format") != "json":
            # Whoever does not ask for JSON gets XML, and cannot read it.
            return Response(
                '<?xml version="1.0" encoding="utf-8" ?><error_response><code>41</code>'
                "<msg>Invalid arguments:format</msg></error_response>",
                media_type="text/xml;charset=UTF-8",
            )
        try:
            shop = self._admit(params)
            body = self._method(params["method"])(shop, params)
        except TopError as error:
            return answer(error.body())
        body = self._shaped(body) | {"request_id": f"16sandbox{next(self._requests):08d}"}
        if params.get("simplify") == "true":
            return answer(simplified(body))
        key = params["method"].removeprefix("taobao.").replace(".", "_") + "_response"
        return answer({key: body})

    def _admit(self, params: Mapping[str, str]) -> ShopConfig:
        """Who is calling, proven by signature and token; TopError when not."""
        required(params, "app_key", "method", "timestamp", "v", "sign_method", "sign")
        shop = self.book.shop_by_key("taobao", params["app_key"])
        if shop is None:
            raise TopError(29, "Invalid app Key")
        try:
            skew = abs(self.book.now(shop.code) - read_beijing(params["timestamp"]))
        except ValueError as error:
            raise invalid("timestamp", "时间格式应为 yyyy-MM-dd HH:mm:ss") from error
        if skew > CLOCK_TOLERANCE:
            raise invalid("timestamp", "时间戳与服务器相差超过10分钟")
        if params["sign_method"] not in {"md5", "hmac", "hmac-sha256"}:
            raise invalid("sign_method", "不支持的签名方法")
        if params["sign"] != sign(params, shop.app_secret, params["sign_method"]):
            raise TopError(25, "Invalid Signature")
        if not params.get("session"):
            if params["method"] in WITHOUT_SESSION:
                return shop
            raise TopError(26, "Missing session")
        if not self.book.takes_token(shop, params["session"]):
            raise TopError(27, "Invalid session", "invalid-sessionkey", "session不存在或已过期")
        return shop

    def _method(self, name: str) -> Serve:
        if name not in self.methods:
            raise TopError(22, "Invalid method")
        return self.methods[name]

    def _shaped(self, body: dict[str, Any]) -> dict[str, Any]:
        """``body``, or under ``odd_shapes`` as some old proxies give it (1a)."""
        weather = self.book.weather
        if not weather.strikes("taobao", "odd_shapes"):
            return body
        odd: dict[str, Any] = odd_shape(copy.deepcopy(body), weather.dice("taobao", "shapes"))
        return odd


def simplified(value: Any) -> Any:
    """Without root and inner wrappers: ``trades.trade[]`` becomes ``trades[]``."""
    if isinstance(value, list):
        return [simplified(entry) for entry in value]
    if not isinstance(value, dict):
        return value
    flat = {}
    for name, inner in value.items():
        wrapper = WRAPPED.get(name)
        bare = inner.get(wrapper, inner) if wrapper and isinstance(inner, dict) else inner
        flat[name] = simplified(bare)
    return flat


def odd_shape(value: Any, dice: Random) -> Any:
    """Numbers and booleans as text, and now and then a list of one as that one."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, list):
        return [odd_shape(entry, dice) for entry in value]
    if not isinstance(value, dict):
        return value
    odd = {}
    for name, inner in value.items():
        shaped = odd_shape(inner, dice)
        if name in WRAPPED.values() and isinstance(shaped, list) and len(shaped) == 1:
            shaped = shaped[0] if dice.random() < 0.5 else shaped
        odd[name] = shaped
    return odd
