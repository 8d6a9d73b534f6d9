"""Refusals of Pinduoduo's gateway, and its flat parameters read strictly (channels.md 4a)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from starlette.requests import Request

from ordercenter.sandbox.book import ShopConfig
from ordercenter.sandbox.wire import form, whole

LARGEST_PAGE: Final = 100
REQUEST_ID: Final = "sandbox"
Serve = Callable[[ShopConfig, Mapping[str, str]], tuple[str, dict[str, Any]]]
"""A method of the gateway: under which key, and what, it answers a shop to these parameters."""


@dataclass(slots=True)
class PopError(Exception):
    """An ``error_response``."""

    error_code: int
    error_msg: str
    sub_code: str | None = None

    def body(self, now: float) -> dict[str, Any]:
        return {
            "error_response": {
                "error_msg": self.error_msg,
                "sub_msg": self.error_msg,
                "sub_code": self.sub_code,
                "error_code": self.error_code,
                "request_id": f"{int(now)}{REQUEST_ID}{self.error_code}",
            }
        }


def invalid(why: str) -> PopError:
    return PopError(10001, why)


async def flat(request: Request) -> dict[str, str]:
    """The parameters of a JSON or a form body, each as the text that is signed."""
    if not request.headers.get("content-type", "").startswith("application/json"):
        return await form(request)
    try:
        facts = json.loads(await request.body(), parse_int=str, parse_float=str)
    except ValueError as error:
        raise invalid("请求不是JSON") from error
    if not isinstance(facts, dict):
        raise invalid("请求不是JSON对象")
    texts = {}
    for name, value in facts.items():
        if isinstance(value, bool):
            texts[name] = str(value).lower()
        elif isinstance(value, str):
            texts[name] = value
        elif value is not None:
            raise invalid(f"参数{name}须为JSON文本")
    return texts


def number(params: Mapping[str, str], name: str) -> int:
    try:
        return whole(params.get(name, ""))
    except ValueError as error:
        raise invalid(f"参数{name}不合法") from error


def signed(params: Mapping[str, str], name: str) -> int:
    """A whole number, which may be below nothing."""
    text = params.get(name, "")
    try:
        return -whole(text[1:]) if text.startswith("-") else whole(text)
    except ValueError as error:
        raise invalid(f"参数{name}不合法") from error


def window(params: Mapping[str, str], first: str, last: str, longest: int) -> tuple[int, int]:
    start, end = number(params, first), number(params, last)
    if not 0 <= end - start <= longest:
        raise invalid(f"时间跨度不能超过{longest // 60}分钟")
    return start, end


def paged(found: list[Any], params: Mapping[str, str]) -> tuple[list[Any], bool]:
    page = number(params, "page") if "page" in params else 1
    size = number(params, "page_size") if "page_size" in params else LARGEST_PAGE
    if page < 1 or not 1 <= size <= LARGEST_PAGE:
        raise invalid("page或page_size不合法")
    return found[(page - 1) * size : page * size], page * size < len(found)


def listed(params: Mapping[str, str], name: str, most: int) -> list[dict[str, Any]]:
    """A list of objects as JSON text, of one to ``most`` entries."""
    try:
        found = json.loads(params.get(name, ""))
    except ValueError as error:
        raise invalid(f"参数{name}须为JSON文本") from error
    if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
        raise invalid(f"参数{name}应为对象列表")
    if not 1 <= len(found) <= most:
        raise invalid(f"参数{name}最多{most}个")
    return found
