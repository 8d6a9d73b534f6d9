"""The columns of a table of SKUs: how each is read, shown, and refused in words."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from zoneinfo import ZoneInfo

from ordercenter.catalog.models import COLOR_HEX, Sku

BEIJING: Final = ZoneInfo("Asia/Shanghai")
YES: Final = ("是", "否")
_MONEY: Final = re.compile(r"[0-9]{1,10}(\.[0-9]{1,2})?")
_WHOLE: Final = re.compile(r"[0-9]{1,9}")
_CURRENCY: Final = re.compile(r"[A-Z]{3}")
_STAMP: Final = r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}(?::[0-9]{2})?"
_DATED: Final = re.compile(rf"({_STAMP})\s*~\s*({_STAMP})?\s*=\s*([0-9.]+)(?:\s+(.{{1,100}}))?")
Price = tuple[datetime, datetime | None, Decimal, str]
"""(from, until, price, reason)."""


@dataclass(frozen=True, slots=True)
class Field:
    """One column: the model's name for it, the words above it, and how a cell is read."""

    name: str
    label: str
    width: int
    read: Callable[[str], Any]
    """Raises ValueError with the reason in words."""
    show: Callable[[Any], str]


def _text(most: int, *, needed: bool = False) -> Callable[[str], str]:
    def read(cell: str) -> str:
        if needed and not cell:
            raise ValueError("不能为空")
        if len(cell) > most:
            raise ValueError(f"最多 {most} 个字")
        if "\0" in cell:
            raise ValueError("含有无法保存的字符")
        return cell

    return read


def _money(cell: str) -> Decimal:
    if not _MONEY.fullmatch(cell):
        raise ValueError("应为不小于 0 的金额，至多两位小数")
    return Decimal(cell).quantize(Decimal("0.01"))


def _money_or_none(cell: str) -> Decimal | None:
    return _money(cell) if cell else None


def _whole(cell: str) -> int:
    if not _WHOLE.fullmatch(cell):
        raise ValueError("应为不小于 0 的整数")
    return int(cell)


def _size(cell: str) -> str:
    found = next((s.value for s in Sku.Size if cell in {s.value, str(s.label)}), "")
    if not found:
        raise ValueError(f"应为{'、'.join(str(s.label) for s in Sku.Size)}之一")
    return found


def _color(cell: str) -> str:
    if cell and not COLOR_HEX.fullmatch(cell.upper()):
        raise ValueError("应为 #RRGGBB，例如 #C0392B")
    return cell.upper()


def _picture(cell: str) -> str:
    if cell and (not cell.startswith("https://") or re.search(r"\s", cell)):
        raise ValueError("应以 https:// 开头")
    return _text(500)(cell)


def _yes(cell: str) -> bool:
    if cell not in YES:
        raise ValueError("应为“是”或“否”")
    return cell == YES[0]


def _currency(cell: str) -> str:
    if not _CURRENCY.fullmatch(cell):
        raise ValueError("应为三个大写字母，例如 CNY")
    return cell


def read_prices(cell: str) -> tuple[Price, ...]:
    """Dated prices out of ``2026-11-10 20:00 ~ 2026-11-12 00:00 = 59.00 双十一 | …``."""
    found: list[Price] = []
    for piece in (part.strip() for part in cell.split("|")):
        if not piece:
            continue
        told = _DATED.fullmatch(piece)
        if told is None:
            raise ValueError(f"“{piece[:30]}”应写成“开始 ~ 结束 = 价格 说明”，时间为北京时间")
        begins, ends, price, reason = told.groups()
        starts_at, ends_at = _moment(begins), _moment(ends) if ends else None
        if ends_at is not None and ends_at <= starts_at:
            raise ValueError(f"“{piece[:30]}”的结束要晚于开始")
        found.append((starts_at, ends_at, _money(price), (reason or "").strip()))
    if len({one[0] for one in found}) < len(found):
        raise ValueError("两段分时价的开始时间相同")
    return tuple(sorted(found, key=lambda one: one[0]))


def _moment(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text).replace(tzinfo=BEIJING)
    except ValueError as error:
        raise ValueError(f"“{text}”不是日期时间") from error


def show_prices(prices: Iterable[Price]) -> str:
    return " | ".join(
        f"{_stamp(starts)} ~ {_stamp(ends) if ends else ''} = {price:.2f} {reason}".strip()
        for starts, ends, price, reason in sorted(prices, key=lambda one: one[0])
    )


def _stamp(at: datetime) -> str:
    local = at.astimezone(BEIJING)
    return f"{local:%Y-%m-%d %H:%M:%S}" if local.second else f"{local:%Y-%m-%d %H:%M}"


def _as_money(value: Decimal | None) -> str:
    return "" if value is None else f"{value:.2f}"


CODE: Final = "货品编码"
PRICES: Final = "prices"
FIELDS: Final = (
    Field("name", "名称", 30, _text(120, needed=True), str),
    Field("category", "类目", 12, _text(40), str),
    Field("base_price", "基准价", 10, _money, _as_money),
    Field("currency", "币种", 8, _currency, str),
    Field("cost", "成本", 10, _money_or_none, _as_money),
    Field("weight_grams", "重量（克）", 10, _whole, str),
    Field("size_class", "体积等级", 10, _size, lambda value: str(Sku.Size(value).label)),
    Field("barcode", "条码", 18, _text(40), str),
    Field("color_name", "颜色", 10, _text(20), str),
    Field("color_hex", "色值", 10, _color, str),
    Field("picture", "主图地址", 30, _picture, str),
    Field("is_gift", "赠品", 8, _yes, lambda value: YES[0] if value else YES[1]),
    Field("is_active", "启用", 8, _yes, lambda value: YES[0] if value else YES[1]),
    Field(PRICES, "分时价", 50, read_prices, show_prices),
)
BY_LABEL: Final = {one.label: one for one in FIELDS}
BY_NAME: Final = {one.name: one for one in FIELDS}
DEFAULTS: Final = {
    "category": "", "currency": "CNY", "cost": "", "weight_grams": "0",
    "size_class": str(Sku.Size.SMALL.label), "barcode": "", "color_name": "", "color_hex": "",
    "picture": "", "is_gift": YES[1], "is_active": YES[0], PRICES: "",
}  # fmt: skip
"""What a new SKU gets where the table has no such column, or an empty cell."""
