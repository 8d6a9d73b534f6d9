"""Refusals of the TOP gateway, and parameters read strictly (channels.md 1a)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ordercenter.sandbox.book import ShopConfig
from ordercenter.sandbox.wire import read_beijing, whole

Serve = Callable[[ShopConfig, Mapping[str, str]], dict[str, Any]]
"""A method of the gateway: what it answers a shop to these parameters."""


@dataclass(slots=True)
class TopError(Exception):
    """An ``error_response``: code, message, and the sub code that tells the cause."""

    code: int
    msg: str
    sub_code: str = ""
    sub_msg: str = ""

    def body(self) -> dict[str, Any]:
        facts: dict[str, Any] = {"code": self.code, "msg": self.msg}
        if self.sub_code:
            facts |= {"sub_code": self.sub_code, "sub_msg": self.sub_msg}
        return {"error_response": facts | {"request_id": f"16sandbox{self.code:04d}"}}


def missing(name: str) -> TopError:
    return TopError(40, "Missing required arguments:" + name)


def invalid(name: str, why: str) -> TopError:
    return TopError(41, "Invalid arguments:" + name, f"isv.invalid-parameter:{name}", why)


def business(sub_code: str, sub_msg: str) -> TopError:
    return TopError(15, "Remote service error", sub_code, sub_msg)


def required(params: Mapping[str, str], *names: str) -> None:
    for name in names:
        if not params.get(name):
            raise missing(name)


def fields_of(params: Mapping[str, str]) -> frozenset[str]:
    names = frozenset(name.strip() for name in params.get("fields", "").split(",") if name.strip())
    if not names:
        raise missing("fields")
    return names


def moment(params: Mapping[str, str], name: str) -> float:
    try:
        return read_beijing(params[name])
    except ValueError as error:
        raise invalid(name, "时间格式应为 yyyy-MM-dd HH:mm:ss") from error


def window(params: Mapping[str, str], first: str, last: str) -> tuple[float, float]:
    required(params, first, last)
    start, end = moment(params, first), moment(params, last)
    if start > end:
        raise invalid(first, "开始时间不能晚于结束时间")
    return start, end


def number(params: Mapping[str, str], name: str, default: int) -> int:
    try:
        return whole(params.get(name) or str(default))
    except ValueError as error:
        raise invalid(name, "应为整数") from error


def objects(params: Mapping[str, str], name: str, most: int) -> list[dict[str, Any]]:
    """A list of objects, sent as one JSON text, of one to ``most`` entries."""
    required(params, name)
    try:
        found = json.loads(params[name])
    except ValueError as error:
        raise invalid(name, "不是合法的JSON") from error
    if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
        raise invalid(name, "应为对象列表")
    if not 1 <= len(found) <= most:
        raise invalid(name, f"最多支持{most}个")
    return found
