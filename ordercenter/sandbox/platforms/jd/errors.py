"""Refusals of JD's gateway, and its one JSON parameter read strictly (channels.md 2a)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ordercenter.sandbox.book import ShopConfig
from ordercenter.sandbox.wire import read_beijing, whole

Serve = Callable[[ShopConfig, Mapping[str, Any]], dict[str, Any]]
"""A method of the gateway: what it answers a shop to this wish."""


@dataclass(slots=True)
class JosError(Exception):
    """An ``error_response``; the code is text."""

    code: str
    zh_desc: str
    en_desc: str

    def body(self) -> dict[str, Any]:
        facts = {"code": self.code, "zh_desc": self.zh_desc, "en_desc": self.en_desc}
        return {"error_response": facts}


def bad(name: str) -> JosError:
    return JosError("61", f"参数{name}不合法", f"Invalid parameter {name}")


def missing(name: str) -> JosError:
    return JosError("60", f"缺少参数{name}", f"Missing parameter {name}")


def required(wish: Mapping[str, Any], *fields: str) -> None:
    for name in fields:
        if wish.get(name) in {None, ""}:
            raise missing(name)


def wanted(params: Mapping[str, str]) -> Mapping[str, Any]:
    """The business parameter: a JSON object as text."""
    try:
        wish = json.loads(params.get("360buy_param_json") or "{}")
    except ValueError as error:
        raise JosError("68", "参数JSON格式错误", "Invalid JSON") from error
    if not isinstance(wish, dict):
        raise JosError("68", "参数JSON格式错误", "Invalid JSON")
    return wish


def names(wish: Mapping[str, Any], name: str) -> frozenset[str]:
    found = frozenset(part.strip() for part in str(wish.get(name) or "").split(",") if part.strip())
    if not found:
        raise missing(name)
    return found


def number(wish: Mapping[str, Any], name: str, default: int) -> int:
    try:
        return whole(str(wish.get(name, default)))
    except ValueError as error:
        raise bad(name) from error


def window(wish: Mapping[str, Any], first: str, last: str) -> tuple[float, float]:
    try:
        start, end = read_beijing(str(wish.get(first))), read_beijing(str(wish.get(last)))
    except ValueError as error:
        raise bad(first) from error
    if start > end:
        raise bad(first)
    return start, end


def bound(wish: Mapping[str, Any], name: str, default: float) -> float:
    if not wish.get(name):
        return default
    try:
        return read_beijing(str(wish[name]))
    except ValueError as error:
        raise bad(name) from error
