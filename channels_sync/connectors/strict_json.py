"""Strict JSON: what two readers could understand differently is refused, in words.

What is broken inside one row of a list page costs that row only.
"""

import json
import re
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from channels_sync.contracts import (
    Unreadable,
)

MAX_MESSAGE_BYTES: Final = 2 * 1024 * 1024

MAX_REPLY_BYTES: Final = 20 * 1024 * 1024

MAX_DEPTH: Final = 64

MAX_DIGITS: Final = 100


class _Literal:
    """A token strict JSON refuses, kept as written so that its own row is refused later."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text


class _Repeated(dict[str, Any]):
    """An object with a key given twice; remembers every pair so that it dumps as it came."""

    pairs: list[tuple[str, Any]]


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Unreadable("报文里同一个字段出现了两次")
    return found


def _object_or_repeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    repeated = _Repeated(found)
    repeated.pairs = pairs
    return repeated


def _constant(token: str) -> Any:
    raise Unreadable(f"报文里有 JSON 不允许的数值 {token}")


def _integer(token: str) -> int:
    if len(token) > MAX_DIGITS:
        raise Unreadable(f"报文里有超过 {MAX_DIGITS} 位的整数")
    return int(token)


def _decimal(token: str) -> Decimal:
    if len(token) > MAX_DIGITS:
        raise Unreadable(f"报文里有超过 {MAX_DIGITS} 位的小数")
    try:
        value = Decimal(token)
    except InvalidOperation:
        raise Unreadable("报文里有无法表示的小数") from None
    if value and abs(value.adjusted()) > MAX_DIGITS:
        raise Unreadable("报文里有大小超出范围的小数")
    return value


def _or_literal(reader: Callable[[str], Any]) -> Callable[[str], Any]:
    def read(token: str) -> Any:
        try:
            return reader(token)
        except Unreadable:
            return _Literal(token)

    return read


_STRICT: Final = json.JSONDecoder(
    object_pairs_hook=_object,
    parse_float=_decimal,
    parse_int=_integer,
    parse_constant=_constant,
)
_KEEPING: Final = json.JSONDecoder(
    object_pairs_hook=_object_or_repeated,
    parse_float=_or_literal(_decimal),
    parse_int=_or_literal(_integer),
    parse_constant=_Literal,
)
_plain: Final = json.JSONEncoder(ensure_ascii=False).encode
_escaped: Final = json.JSONEncoder(ensure_ascii=True).encode
_SUSPECT_ESCAPE: Final = re.compile(r"\\u(?:[dD][89a-fA-F]|0000)")
_BAD_CHARACTER: Final = re.compile("[\x00\ud800-\udfff]")


def loads_strict(body: bytes, *, max_bytes: int = MAX_MESSAGE_BYTES) -> Any:
    """Parse one message; refuse everything two readers could understand differently.

    UTF-8 (a BOM is cut), floats as ``Decimal``. Refuses NaN and Infinity, duplicate keys, lone
    surrogates, NUL, nesting over 64, numbers over 100 digits, and bodies over ``max_bytes``.
    Raises Unreadable with the reason.
    """
    text = _decode(body, max_bytes)
    value = _parse(_STRICT, text)
    _walk(value, look_at_text=bool(_SUSPECT_ESCAPE.search(text)))
    return value


def loads_page(body: bytes) -> Any:
    """Parse a list page, up to 20 MiB, so that one broken order does not cost its neighbors.

    What ``loads_strict`` refuses inside an order is kept, comes out of ``dump_compact`` as it
    was, and is refused when that order is read. A page that is no JSON raises Unreadable.
    """
    value = _parse(_KEEPING, _decode(body, MAX_REPLY_BYTES))
    _walk(value, look_at_text=False)
    return value


def _decode(body: bytes, max_bytes: int) -> str:
    if len(body) > max_bytes:
        raise Unreadable(f"报文超过 {max_bytes // (1024 * 1024)} MiB")
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Unreadable("报文不是 UTF-8 编码") from None


def _parse(decoder: json.JSONDecoder, text: str) -> Any:
    try:
        return decoder.decode(text)
    except RecursionError:
        raise Unreadable(f"报文嵌套超过 {MAX_DEPTH} 层") from None
    except ValueError as error:
        where = getattr(error, "pos", None)
        at = "" if where is None else f"（第 {where} 个字符处）"
        raise Unreadable(f"报文不是完整的 JSON{at}") from None


def _walk(value: Any, *, look_at_text: bool) -> None:
    """Refuse what is nested too deep; with ``look_at_text`` also NUL and lone surrogates."""
    level: list[Any] = [value]
    depth = 0
    while level:
        below: list[Any] = []
        for one in level:
            if isinstance(one, dict):
                below.extend(one.values())
                if look_at_text:
                    below.extend(one)
            elif isinstance(one, list):
                below.extend(one)
            elif look_at_text and isinstance(one, str) and _BAD_CHARACTER.search(one):
                raise Unreadable("报文里有 NUL 或被截断的字符（孤立的代理项）")
        if below:
            depth += 1
        if depth > MAX_DEPTH:
            raise Unreadable(f"报文嵌套超过 {MAX_DEPTH} 层")
        level = below


def dump_compact(value: Any) -> bytes:
    """Write parsed JSON back, compact, CJK raw, numbers with their digits (never a float).

    Keys stay in their order. Used to cut one order out of a list page.
    """
    return _dump(value).encode()


def _dump(value: Any) -> str:
    if isinstance(value, str):
        return _dump_text(value)
    if isinstance(value, Mapping):
        pairs = value.pairs if isinstance(value, _Repeated) else value.items()
        return "{" + ",".join(f"{_dump_text(key)}:{_dump(item)}" for key, item in pairs) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(_dump, value)) + "]"
    return _dump_token(value)


def _dump_token(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | Decimal):
        return str(value)
    if isinstance(value, _Literal):
        return value.text
    raise TypeError(f"not JSON: {type(value).__name__}")


def _dump_text(text: str) -> str:
    # A lone surrogate has no UTF-8 form; escaped it stays what the platform sent.
    return (_escaped if _BAD_CHARACTER.search(text) else _plain)(text)
