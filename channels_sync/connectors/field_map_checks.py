"""What is wrong with a field map, in words that name section, field and reason."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from channels_sync.connectors.field_paths import steps_of
from ordercenter.orders.contracts import ChannelStatus

MAX_SECTIONS: Final = 20
MAX_FIELDS: Final = 200
MAX_PATHS: Final = 10
MAX_VALUES: Final = 500
MAX_TEXT: Final = 200

FAMILIES: Final[Mapping[str, str]] = {
    "text": "text",
    "id": "text",
    "yuan": "money",
    "fen": "money",
    "whole": "number",
    "quantity": "number",
    "boolean": "boolean",
    "word": "word",
    "list": "list",
    "object": "object",
    "china_time": "time",
    "iso_time": "time",
    "unix_seconds": "time",
    "unix_milliseconds": "time",
    "any_time": "time",
}
"""By ``as``: what may be exchanged for what in an edited map."""
OUR_WORDS: Final[Mapping[str, frozenset[str]]] = {
    "status": frozenset(ChannelStatus),
    "refund_state": frozenset({"none", "in_progress", "refunded", "partial", "closed", "done"}),
}
"""What ``values`` may say even where the default has no use for it (``channels.md`` 0.2)."""
KEYS: Final = frozenset(
    {"from", "as", "values", "otherwise", "default", "join", "required", "note"}
)
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,40}")


def shape_problems(source: Any) -> Iterator[str]:
    if not isinstance(source, Mapping):
        yield "对照表应为 JSON 对象：分组 → 字段 → 取值方法"
        return
    if len(source) > MAX_SECTIONS:
        yield f"分组超过 {MAX_SECTIONS} 个"
    for name, fields in source.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            yield f"分组名 {str(name)[:40]!r} 只能用小写字母、数字和下划线"
        elif not isinstance(fields, Mapping):
            yield f"{name}：分组应为 JSON 对象"
        elif len(fields) > MAX_FIELDS:
            yield f"{name}：字段超过 {MAX_FIELDS} 个"
        else:
            yield from _entry_shapes(name, fields)


def _entry_shapes(section: str, fields: Mapping[str, Any]) -> Iterator[str]:
    for key, entry in fields.items():
        if not isinstance(key, str) or not _NAME.fullmatch(key):
            yield f"{section}.{str(key)[:40]}：字段名只能用小写字母、数字和下划线"
        elif not isinstance(entry, Mapping):
            yield f'{section}.{key}：应为 JSON 对象，例如 {{"from": ["payment"]}}'
        else:
            if unknown := sorted(map(str, entry.keys() - KEYS)):
                yield f"{section}.{key}：不认识的设置 {'、'.join(unknown)[:80]}"
            yield from (f"{section}.{key}：{why}" for why in _entry_values(entry))


def _entry_values(entry: Mapping[str, Any]) -> Iterator[str]:
    """Judge every key that is there by itself."""
    yield from _path_problems(entry.get("from", []))
    if "as" in entry and not (isinstance(entry["as"], str) and entry["as"] in FAMILIES):
        yield f"as 应为 {'、'.join(FAMILIES)} 之一"
    for key in ("join", "note"):
        text = entry.get(key)
        if text is not None and not (isinstance(text, str) and len(text) <= MAX_TEXT):
            yield f"{key} 应为 {MAX_TEXT} 字以内的文本"
    if not isinstance(entry.get("required", False), bool):
        yield "required 应为 true 或 false"
    for key in ("otherwise", "default"):
        if not _is_plain(entry.get(key)):
            yield f"{key} 应为文本、整数、true 或 false"
    words = {} if entry.get("values") is None else entry["values"]
    if not isinstance(words, Mapping) or len(words) > MAX_VALUES:
        yield f"values 应为 JSON 对象，至多 {MAX_VALUES} 个词"
    elif not all(isinstance(k, str) and _is_plain(v) for k, v in words.items()):
        yield "values 里的值应为文本、整数、true 或 false"


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, str | int)


def _path_problems(paths: Any) -> Iterator[str]:
    if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
        yield 'from 应为路径的列表，例如 ["payment"]'
        return
    if len(paths) > MAX_PATHS:
        yield f"from 至多 {MAX_PATHS} 条路径"
    for path in paths:
        try:
            if len(path) > MAX_TEXT:
                raise ValueError(path)  # noqa: TRY301 - one answer for both
            steps_of(path)
        except ValueError:
            yield f"路径 {path[:40]!r} 写法不对，应如 receiver.name 或 items[0].price"


def problems_of(source: Any) -> Iterator[str]:
    """What is wrong with a whole map."""
    shape = list(shape_problems(source))
    yield from shape
    if shape:
        return
    for section, fields in source.items():
        for key, entry in fields.items():
            yield from (f"{section}.{key}：{why}" for why in _whole_entry(entry))


def _whole_entry(entry: Mapping[str, Any]) -> Iterator[str]:
    if "as" not in entry:
        yield "缺少 as"
        return
    if entry["as"] == "word" and not entry.get("values"):
        yield "as 为 word 时必须有 values"
    if "join" in entry and entry["as"] != "text":
        yield "join 只能用于 text"
    if entry.get("required") and not entry.get("from") and entry.get("default") is None:
        yield "必填字段没有来源"


def misfits(edited: Mapping[str, Any], base: Mapping[str, Any]) -> Iterator[str]:
    for section, fields in edited.items():
        if section not in base:
            yield f"{section}：该平台没有这个分组，可用：{'、'.join(base)}"
            continue
        for key, entry in fields.items():
            if key not in base[section]:
                yield f"{section}.{key}：该平台没有这个字段"
                continue
            was = base[section][key]["as"]
            if FAMILIES[entry.get("as", was)] != FAMILIES[was]:
                yield f"{section}.{key}：类型只能在与 {was} 同类的读法之间更换"
            required = base[section][key].get("required", False)
            if entry.get("required", required) is not required:
                yield f"{section}.{key}：required 不能更改"


def made_up_words(whole_map: Mapping[str, Any], base: Mapping[str, Any]) -> Iterator[str]:
    """Our words that the edited map makes up: a value no reader of ours knows."""
    for section, fields in whole_map.items():
        for key, entry in fields.items():
            if entry["as"] != "word":
                continue
            known = {*base[section][key]["values"].values(), base[section][key].get("otherwise")}
            known |= OUR_WORDS.get(key, frozenset())
            ours = {*entry.get("values", {}).values(), entry.get("otherwise")}
            if made_up := sorted(map(str, ours - known - {None})):
                yield f"{section}.{key}：不认识的取值 {'、'.join(made_up)[:80]}"
