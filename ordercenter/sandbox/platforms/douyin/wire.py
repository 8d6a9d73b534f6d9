"""Douyin's wire: signatures, the envelope and its refusals, and how parameters are read (3a).

Fen, Unix seconds, pages from 0, one envelope with a code for everything.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any, Final

from ordercenter.sandbox.book import ShopConfig

LONGEST_WINDOW: Final = 90 * 86_400  # 3b
LARGEST_PAGE: Final = 100
DEEPEST_ROW: Final = 50_000  # 3b: the documents disagree, 10 000 or 50 000
LOG_IDS: Final = count(1)
Wish = Mapping[str, Any]
Serve = Callable[[ShopConfig, Wish], Any]


class PartlyFailed(dict[str, Any]):
    """An answer of which some entries failed: the envelope says 10001."""


@dataclass(slots=True)
class DoudianError(Exception):
    """A refusal in the platform's envelope; HTTP stays 200."""

    code: int
    sub_code: str
    sub_msg: str

    def body(self) -> dict[str, Any]:
        return envelope(self.code, MESSAGES[self.code], {}, self.sub_code, self.sub_msg)


MESSAGES: Final = {
    40001: "系统参数错误",
    40002: "业务参数缺失",
    40003: "参数错误",
    40004: "业务参数错误",
    50001: "授权失败",
    50002: "业务处理失败",
    70000: "接口已下线",
}


def envelope(
    code: int, msg: str, data: Any, sub_code: str = "", sub_msg: str = ""
) -> dict[str, Any]:
    log_id = f"sandbox{next(LOG_IDS):013d}"
    said = {"code": code, "msg": msg, "sub_code": sub_code, "sub_msg": sub_msg}
    return said | {"log_id": log_id, "data": data}


def canonical(params: Any) -> str:
    """``param_json``: keys sorted at every level, compact, nothing escaped (3a)."""
    return json.dumps(params, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def sign(query: Mapping[str, str], body: str, secret: str) -> str:
    """Lower-case HMAC-SHA256, or MD5 where no ``sign_method`` is named, of the wrapped text (3a).

    The secret is the key and stands round the text as well.
    """
    text = (
        f"{secret}app_key{query['app_key']}method{query['method']}param_json{body}"
        f"timestamp{query['timestamp']}v{query['v']}{secret}"
    )
    if query.get("sign_method", "md5") == "md5":
        return hashlib.md5(text.encode()).hexdigest()
    return hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()


def event_sign(app_key: str, body: bytes, secret: str) -> str:
    """Lower-case MD5 over the raw body between key and secret (3e)."""
    return hashlib.md5(app_key.encode() + body + secret.encode()).hexdigest()


def missing(name: str) -> DoudianError:
    return DoudianError(40002, f"isv.parameter-invalid:{name}", f"缺少参数{name}")


def bad(name: str) -> DoudianError:
    return DoudianError(40004, f"isv.parameter-invalid:{name}", f"参数{name}不合法")


def failed(why: str) -> DoudianError:
    return DoudianError(50002, "isv.business-failed", why)


# Reading parameters


def only_known(wish: Wish, known: frozenset[str]) -> None:
    """A filter passed over in silence would be a wrong answer."""
    for name in wish:
        if name not in known:
            raise bad(name)


def number(wish: Wish, name: str) -> int:
    value = wish.get(name)
    if value is None:
        raise missing(name)
    if not isinstance(value, int) or isinstance(value, bool):
        raise bad(name)
    return value


def flag(wish: Wish, name: str) -> bool:
    value = wish.get(name, False)
    if not isinstance(value, bool):
        raise bad(name)
    return value


def one_of(wish: Wish, name: str, known: tuple[str, ...]) -> str:
    """One of ``known``; the first where nothing is said."""
    value = wish.get(name, known[0])
    if value not in known:
        raise bad(name)
    return str(value)


def paging(wish: Wish) -> tuple[int, int]:
    page, size = number(wish, "page"), number(wish, "size")
    if page < 0:
        raise bad("page")
    if not 1 <= size <= LARGEST_PAGE or (page + 1) * size > DEEPEST_ROW:
        raise bad("size")
    return page, size


def window(wish: Wish, first: str, last: str, now: float) -> tuple[int, int] | None:
    """Both ends or none, not equal, within the last 90 days (3b)."""
    if first not in wish and last not in wish:
        return None
    start, end = number(wish, first), number(wish, last)
    if start >= end or end - start > LONGEST_WINDOW or start < now - LONGEST_WINDOW - 86_400:
        raise bad(first)
    return start, end


def within(span: tuple[int, int] | None, at: float) -> bool:
    return span is None or span[0] <= int(at) <= span[1]
