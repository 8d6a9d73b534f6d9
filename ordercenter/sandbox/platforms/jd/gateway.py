"""JD as its merchant API answers (channels.md 2a): the one door for every method.

One gateway, one JSON text as parameter, ``responce`` for a key, and a success flag of its own
inside an outer ``"0"`` that says nothing. Unpaid orders are not there.
"""

from __future__ import annotations

import copy
import hashlib
import re
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from starlette.routing import Route

from ordercenter.sandbox.platforms.jd.errors import JosError, Serve, bad, wanted
from ordercenter.sandbox.platforms.jd.oauth import Authorization
from ordercenter.sandbox.platforms.jd.reading import Reading
from ordercenter.sandbox.platforms.jd.telling import Telling
from ordercenter.sandbox.wire import answer, form, read_beijing

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from ordercenter.sandbox.book import Book, ShopConfig

CLOCK_TOLERANCE: Final = 360  # 2a
# What must be sent, with the code that says it is missing (2a).
REQUIRED: Final = {
    "method": "14",
    "app_key": "20",
    "timestamp": "7",
    "v": "60",
    "sign": "11",
    "access_token": "18",
}


def sign(params: Mapping[str, str], secret: str) -> str:
    """Upper-case MD5 over everything sent but ``sign``, wrapped in the secret (2a)."""
    text = "".join(name + params[name] for name in sorted(params) if name != "sign")
    return hashlib.md5(f"{secret}{text}{secret}".encode()).hexdigest().upper()


def read_time(text: str) -> float:
    """``yyyy-MM-dd HH:mm:ss`` in UTC+8, or with milliseconds and zone; ValueError if neither."""
    if re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", text):
        return read_beijing(text)
    return datetime.strptime(text, "%Y-%m-%d %H:%M:%S.%f%z").timestamp()


def routes(book: Book) -> list[Route]:
    return [
        Route("/jd/routerjson", Gateway(book).handle, methods=["GET", "POST"]),
        *Authorization(book).routes(),
    ]


class Gateway:
    def __init__(self, book: Book) -> None:
        self.book = book
        reading = Reading(book)
        telling = Telling(book, reading)
        self.methods: dict[str, Serve] = {**reading.methods(), **telling.methods()}

    async def handle(self, request: Request) -> Response:
        params = await form(request)
        try:
            shop = self._admit(params)
            body = self._method(params["method"])(shop, wanted(params))
        except JosError as error:
            return answer(error.body())
        key = params["method"].replace(".", "_") + "_responce"
        return answer({key: {"code": "0"} | self._shaped(body)})

    def _admit(self, params: Mapping[str, str]) -> ShopConfig:
        """Who is calling, proven by signature and token; JosError when not."""
        for name, code in REQUIRED.items():
            if not params.get(name):
                raise JosError(code, f"缺少{name}参数", f"Missing {name}")
        shop = self.book.shop_by_key("jd", params["app_key"])
        if shop is None:
            raise JosError("21", "无效app_key", "Invalid app_key")
        try:
            skew = abs(self.book.now(shop.code) - read_time(params["timestamp"]))
        except ValueError:
            skew = CLOCK_TOLERANCE + 1.0
        if skew > CLOCK_TOLERANCE:
            raise JosError("8", "无效的时间戳参数", "Invalid timestamp")
        if params["v"] != "2.0":
            raise bad("v")
        if params["sign"] != sign(params, shop.app_secret):
            raise JosError("12", "无效签名", "Invalid sign")
        if not self.book.takes_token(shop, params["access_token"]):
            raise JosError("19", "无效access_token", "Invalid access_token")
        return shop

    def _method(self, name: str) -> Serve:
        if name not in self.methods:
            raise JosError("15", "无效的方法名参数", "Invalid method")
        return self.methods[name]

    def _shaped(self, body: dict[str, Any]) -> dict[str, Any]:
        """``body``, or under ``odd_shapes`` in the forms JD was seen to use besides (2a, 2c)."""
        if not self.book.weather.strikes("jd", "odd_shapes"):
            return body
        odd: dict[str, Any] = odd_shape(copy.deepcopy(body))
        return odd


def odd_shape(value: Any) -> Any:
    """Flags and numbers as text, coupons in a list in a list, a merchant's code that is missing."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return str(value)
    if isinstance(value, list):
        return [odd_shape(entry) for entry in value]
    if not isinstance(value, dict):
        return value
    odd = {name: odd_shape(inner) for name, inner in value.items()}
    if odd.get("couponDetailList"):
        odd["couponDetailList"] = [odd["couponDetailList"]]
    return odd
