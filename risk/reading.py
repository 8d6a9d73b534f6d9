"""Reading the plain parts of a rule: texts, numbers, flags, and the settings of a fact.

Everything is refused that is not exactly what it should be; a refusal says where it stands.
"""

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final

from risk.registry import KEYS, MAX_KEYS, MAX_TEXTS, Param, ParamValue

LONGEST_TEXT: Final = 100
_NUMBER: Final = re.compile(r"\d{1,15}(?:\.\d{1,6})?")
_KEY: Final = re.compile(r"[a-z]+(?:\+[a-z]+)?")
_LIST_CODE: Final = re.compile(r"[-a-zA-Z0-9_]{1,40}")


class Fault(Exception):
    """What is wrong, in words, and where."""

    def __init__(self, words: str, path: str) -> None:
        super().__init__(words)
        self.path = path


def read_mapping(data: Any, path: str, known: set[str]) -> Mapping[str, Any]:
    if not isinstance(data, Mapping):
        raise Fault(f"写法不认识：{str(data)[:60]}", path)
    if unknown := [key for key in data if key not in known]:
        raise Fault(f"不认识的项目：{str(unknown[0])[:40]}", f"{path}.{unknown[0]}".lstrip("."))
    return data


def read_number(value: Any, path: str) -> Decimal:
    """An exact number of at most fifteen digits and six decimals, not negative."""
    text = str(value).strip() if isinstance(value, str | int | float | Decimal) else ""
    if isinstance(value, bool) or not _NUMBER.fullmatch(text):
        if _NUMBER.fullmatch(text.removeprefix("-")) and not isinstance(value, bool):
            raise Fault(f"阈值不能为负数：{text}", path)
        raise Fault(f"阈值不是数字：{str(value)[:40]}", path)
    return Decimal(text)


def read_whole(value: Any, path: str, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise Fault(f"应为 {low} 到 {high} 的整数：{str(value)[:20]}", path)
    return value


def read_flag(value: Any, path: str) -> bool:
    if not isinstance(value, bool):
        raise Fault(f"应为 true 或 false：{str(value)[:20]}", path)
    return value


def read_text(value: Any, path: str, longest: int) -> str:
    if not isinstance(value, str) or len(value) > longest or not value.isprintable():
        raise Fault(f"应为最多 {longest} 个字的文字：{str(value)[:20]!r}", path)
    return value.strip()


def read_texts(value: Any, path: str) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or len(value) > MAX_TEXTS:
        raise Fault(f"应为文字的列表（最多 {MAX_TEXTS} 个）", path)
    found = [read_text(one, path, LONGEST_TEXT) for one in value]
    if any(not one for one in found):
        raise Fault("列表里有空的文字", path)
    return tuple(dict.fromkeys(found))


def _keys(param: Param, value: Any, path: str) -> ParamValue:
    if not isinstance(value, list) or not 0 < len(value) <= MAX_KEYS:
        raise Fault(f"识别依据应为列表（1 到 {MAX_KEYS} 个）", path)
    order = list(KEYS)
    found = []
    for one in value:
        parts = one.split("+") if isinstance(one, str) and _KEY.fullmatch(one) else []
        if not parts or len(set(parts)) < len(parts) or any(part not in KEYS for part in parts):
            raise Fault(f"识别依据不认识：{str(one)[:40]}", path)
        found.append("+".join(sorted(parts, key=order.index)))
    return tuple(
        sorted(set(found), key=lambda one: (one.count("+"), *map(order.index, one.split("+"))))
    )


def _seconds(param: Param, value: Any, path: str) -> ParamValue:
    if isinstance(value, bool) or not isinstance(value, int):
        raise Fault(f"{param.label}应为整数秒：{str(value)[:20]}", path)
    if not param.min <= value <= param.max:
        raise Fault(f"{param.label}应在 {param.min} 到 {param.max} 秒之间：{value}", path)
    return value


def _param_flag(_param: Param, value: Any, path: str) -> ParamValue:
    return read_flag(value, path)


def _choice(param: Param, value: Any, path: str) -> ParamValue:
    if not isinstance(value, str) or value not in param.choices:
        raise Fault(f"{param.label}不认识：{str(value)[:40]}", path)
    return value


def _list_code(param: Param, value: Any, path: str) -> ParamValue:
    if value == "" and not param.required:
        return ""
    if not isinstance(value, str) or not _LIST_CODE.fullmatch(value):
        raise Fault(f"{param.label}应写名单编码：{str(value)[:40]}", path)
    return value


def _param_texts(_param: Param, value: Any, path: str) -> ParamValue:
    return read_texts(value, path)


PARAMS: Final[Mapping[str, Callable[[Param, Any, str], ParamValue]]] = {
    "keys": _keys,
    "seconds": _seconds,
    "flag": _param_flag,
    "choice": _choice,
    "code": _list_code,
    "texts": _param_texts,
}
