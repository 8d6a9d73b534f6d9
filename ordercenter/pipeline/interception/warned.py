"""The contract of warning feeds: what one warning says, and how JSON and tables say it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from django.utils.dateparse import parse_datetime

from channels_sync.sheets.rows import Dialect
from ordercenter.core.clock import SHANGHAI
from ordercenter.core.errors import InvalidInput
from ordercenter.pipeline import tables

MOST_AT_ONCE: Final = 200
MOST_BYTES: Final = 256 * 1024
MOST_NAMES: Final = 200
LONGEST_KEY: Final = 64
LONGEST_WORDS: Final = 300
LONGEST_NAME: Final = 60
LEVELS: Final[Mapping[str, int]] = {
    "blue": 1, "yellow": 2, "orange": 3, "red": 4,
    "蓝": 1, "蓝色": 1, "黄": 2, "黄色": 2, "橙": 3, "橙色": 3, "红": 4, "红色": 4,
    "1": 1, "2": 2, "3": 3, "4": 4,
}  # fmt: skip
COLUMNS: Final[Mapping[str, str]] = {
    "编号": "key", "地区": "places", "货品": "skus", "快递": "carriers", "级别": "level",
    "开始": "starts", "结束": "ends", "内容": "words", "状态": "state",
}  # fmt: skip
"""The columns of a table; JSON has the English names."""
OVER: Final = frozenset({"over", "ended", "lifted", "cancel", "canceled", "解除", "结束", "取消"})


@dataclass(frozen=True, slots=True)
class Warned:
    """One warning. ``key`` is the feed's own: told again it is the same warning."""

    key: str
    level: int
    """1 blue to 4 red."""
    words: str
    places: tuple[str, ...] = ()
    skus: tuple[str, ...] = ()
    carriers: tuple[str, ...] = ()
    starts: datetime | None = None
    ends: datetime | None = None
    is_over: bool = False
    """The feed takes it back: what it began ends."""

    def body(self) -> dict[str, list[str]]:
        return {
            "places": [*self.places], "skus": [*self.skus], "carriers": [*self.carriers]
        }  # fmt: skip


def from_json(data: bytes) -> list[Warned]:
    """Read one warning, a list of them, or ``{"warnings": […]}``. Raises InvalidInput."""
    if len(data) > MOST_BYTES:
        raise InvalidInput(what=f"预警报文超过 {MOST_BYTES // 1024} KiB")
    try:
        told = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError):
        raise InvalidInput(what="预警报文不是有效的 JSON（UTF-8）") from None
    if isinstance(told, dict) and "warnings" in told:
        told = told["warnings"]
    rows = told if isinstance(told, list) else [told]
    return _many(rows)


def from_table(path: Path) -> list[Warned]:
    """Read a CSV file or workbook, a warning a row. Raises InvalidInput with the row."""
    header, body = tables.table_of(path, Dialect(max_bytes=MOST_BYTES), most=MOST_AT_ONCE)
    names = [COLUMNS.get(name.strip(), name.strip().lower()) for name in header]
    tables.need(names, ("key", "level", "words"))
    rows = [
        {**dict(zip(names, cells, strict=True)), "row": number} for number, cells in body
    ]  # fmt: skip
    return _many(rows)


def _many(rows: Sequence[Any]) -> list[Warned]:
    if not 0 < len(rows) <= MOST_AT_ONCE:
        raise InvalidInput(what=f"一次 1 到 {MOST_AT_ONCE} 条预警")
    found: dict[str, Warned] = {}
    for place, row in enumerate(rows, 1):
        number = row.get("row", place) if isinstance(row, dict) else place
        try:
            one = _one(row)
        except InvalidInput as fault:
            raise InvalidInput(what=f"第 {number} 条：{fault}") from fault
        found[one.key] = one  # the last word of one message counts
    return list(found.values())


def _one(row: Any) -> Warned:
    if not isinstance(row, dict):
        raise InvalidInput(what="不是一条预警")
    starts, ends = (_moment(row.get(name), name) for name in ("starts", "ends"))
    is_over = str(row.get("state") or "").strip().lower() in OVER
    if starts and ends and ends <= starts:
        raise InvalidInput(what="结束早于开始")
    return Warned(
        key=_text(row, "key", LONGEST_KEY),
        level=_level(row.get("level")),
        words=_text(row, "words", LONGEST_WORDS),
        places=_names(row, "places"),
        skus=_names(row, "skus"),
        carriers=_names(row, "carriers"),
        starts=starts,
        ends=ends,
        is_over=is_over,
    )


def _text(row: Mapping[str, Any], name: str, longest: int) -> str:
    value = row.get(name)
    text = str(value).strip() if isinstance(value, str | int) else ""
    if not 0 < len(text) <= longest or any(ord(sign) < ord(" ") for sign in text):
        raise InvalidInput(what=f"{name} 应是 1 到 {longest} 个字的文本")
    return text


def _level(value: Any) -> int:
    level = LEVELS.get(str(value).strip().lower())
    if level is None:
        raise InvalidInput(what="level 应是 1 到 4，或 blue、yellow、orange、red")
    return level


def _names(row: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """A list of texts; a table has them in one cell, parted by 、 or ;."""
    value = row.get(name) or []
    if isinstance(value, str):
        value = value.replace("；", "、").replace(";", "、").replace("，", "、").split("、")
    if not isinstance(value, list) or len(value) > MOST_NAMES:
        raise InvalidInput(what=f"{name} 应是不超过 {MOST_NAMES} 项的列表")
    found = [one.strip() for one in value if isinstance(one, str) and one.strip()]
    if any(len(one) > LONGEST_NAME or "\0" in one for one in found):
        raise InvalidInput(what=f"{name} 里有过长或无效的名称")
    return tuple(dict.fromkeys(found))


def _moment(value: Any, name: str) -> datetime | None:
    """ISO 8601; without a zone it is Shanghai."""
    if value in {None, ""}:
        return None
    try:
        moment = parse_datetime(value.strip()) if isinstance(value, str) else None
    except ValueError:
        moment = None
    if moment is None:
        raise InvalidInput(what=f"{name} 不是有效的时间，例如 2026-11-23T08:00:00+08:00")
    return moment if moment.tzinfo else moment.replace(tzinfo=SHANGHAI)
