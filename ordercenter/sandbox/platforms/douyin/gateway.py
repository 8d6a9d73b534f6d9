"""Douyin's gateway: who is calling, and what is asked for (channels.md 3a)."""

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from starlette.routing import Route

from ordercenter.sandbox.platforms.douyin.answers import Answers
from ordercenter.sandbox.platforms.douyin.reading import Reading
from ordercenter.sandbox.platforms.douyin.receivers import Receivers
from ordercenter.sandbox.platforms.douyin.shipping import Shipping
from ordercenter.sandbox.platforms.douyin.stock import Stock
from ordercenter.sandbox.platforms.douyin.tokens import Tokens
from ordercenter.sandbox.platforms.douyin.wire import (
    DoudianError,
    PartlyFailed,
    Serve,
    canonical,
    envelope,
    sign,
)
from ordercenter.sandbox.wire import answer, whole

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from ordercenter.sandbox.book import Book, ShopConfig

NUMBERS_TOO: Final = frozenset({"order_id", "parent_order_id", "aftersale_id", "related_id"})
CLOCK_TOLERANCE: Final = 600  # ours: no page states Douyin's


def routes(book: Book) -> list[Route]:
    return [Route("/douyin/{path:path}", Gateway(book).handle, methods=["POST"])]


class Gateway:
    def __init__(self, book: Book) -> None:
        self.book = book
        self.tokens = Tokens(book)
        self._unsigned: dict[str, Serve] = {
            "token.create": self.tokens.create,
            "token.refresh": self.tokens.refresh,
        }
        self._methods: dict[str, Serve] = {
            **Reading(book).methods(),
            **Receivers(book).methods(),
            **Shipping(book).methods(),
            **Stock(book).methods(),
            **Answers(book).methods(),
        }

    async def handle(self, request: Request) -> Response:
        body = (await request.body()).decode("utf-8", errors="replace")
        method = request.path_params["path"].strip("/").replace("/", ".")
        try:
            shop = self._admit(method, request.query_params, body)
            serve = self._unsigned.get(method) or self._methods[method]
            data = serve(shop, json.loads(body))
        except DoudianError as error:
            return answer(error.body())
        if self.book.weather.strikes("douyin", "odd_shapes"):
            data = odd_shape(data)
        if isinstance(data, PartlyFailed):
            return answer(envelope(10001, "部分失败", data))
        return answer(envelope(10000, "success", data))

    def _admit(self, method: str, query: Mapping[str, str], body: str) -> ShopConfig:
        """Who is calling, proven by signature and token; DoudianError when not."""
        for name in ("app_key", "method", "timestamp", "v", "sign"):
            if not query.get(name):
                raise DoudianError(40001, f"isv.{name}-missing", f"缺少系统参数{name}")
        shop = self.book.shop_by_key("douyin", query["app_key"])
        if shop is None:
            raise DoudianError(40001, "isv.app-key-invalid", "app_key不存在")
        if query["method"] != method or query["v"] != "2":
            raise DoudianError(40001, "isv.method-invalid", "method或v与请求不符")
        if query.get("sign_method", "md5") not in {"md5", "hmac-sha256"}:
            raise DoudianError(40001, "isv.sign-method-invalid", "sign_method不支持")
        self._check_time(shop, query["timestamp"])
        expected = sign(query, body, shop.app_secret)
        if not hmac.compare_digest(query["sign"].encode(), expected.encode()):
            raise DoudianError(40001, "isv.signature-invalid", "签名校验失败")
        self._check_body(body)
        if method in self._unsigned:
            return shop
        self.tokens.check(shop, query.get("access_token", ""))
        if method not in self._methods:
            raise DoudianError(70000, "isv.method-retired", f"接口{method}不存在或已下线")
        return shop

    def _check_time(self, shop: ShopConfig, text: str) -> None:
        try:
            skew = abs(self.book.now(shop.code) - whole(text))
        except ValueError:
            skew = CLOCK_TOLERANCE + 1.0
        if skew > CLOCK_TOLERANCE:
            raise DoudianError(40001, "isv.timestamp-invalid", "timestamp无效")

    def _check_body(self, body: str) -> None:
        """The gateway signs the parameters it has read, so other spellings do not verify (3a)."""
        try:
            params = json.loads(body)
        except ValueError as error:
            raise DoudianError(40001, "isv.param-json-invalid", "param_json不是JSON") from error
        if not isinstance(params, dict) or canonical(params) != body:
            raise DoudianError(40001, "isv.signature-invalid", "签名校验失败")


def odd_shape(value: Any) -> Any:
    """Without what is empty, and ids in numbers where they were text, as is legal too (3c)."""
    if isinstance(value, list):
        return [odd_shape(entry) for entry in value]
    if not isinstance(value, dict):
        return value
    odd = type(value)()
    for name, inner in value.items():
        if inner is None or inner == []:
            continue
        number = name in NUMBERS_TOO and isinstance(inner, str) and inner.isdigit()
        odd[name] = int(inner) if number else odd_shape(inner)
    return odd
