"""What a sheet's columns mean: the mapping file, read strictly (``docs/import.md``).

The reading part goes into every inbox row made of the sheet, so that an old row reads the same
after the mapping was changed. Everything here raises ``MappingError`` with words.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from channels_sync.sheets.rows import Dialect
from ordercenter.orders.contracts import ChannelStatus

ENCODINGS: Final = {"utf-8": "utf-8", "utf8": "utf-8", "gbk": "gbk"}
DELIMITERS: Final = (",", ";", "\t")
REQUIRED: Final = ("order_number", "sku", "quantity", "placed_at")
RECEIVER_PARTS: Final = ("name", "phone", "province", "city", "district", "town", "address")
ORDER_FIELDS: Final = (
    "order_number", "placed_at", "paid_at", "modified_at", "status", "currency", "buyer_id",
    "buyer_remark", "seller_memo", "payable_amount", "paid_amount", "freight",
    *(f"receiver_{part}" for part in RECEIVER_PARTS),
)  # fmt: skip
LINE_FIELDS: Final = ("sku", "title", "quantity", "unit_price", "amount", "line_id")
READING: Final = (
    "name", "columns", "time", "currency", "status", "numbers", "round_line_amounts", "receiver",
    "freight_rows", "gift_rows",
)  # fmt: skip
TOP: Final = frozenset(
    {"about", "attribution", "encoding", "delimiter", "not_orders", "catalog", *READING}
)


class MappingError(Exception):
    """The mapping file is wrong; the words say where."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the sheet. ``upper``: codes differ in case only by accident."""

    name: str
    upper: bool = False


@dataclass(frozen=True, slots=True)
class Where:
    """Rows whose named cells all match their patterns in full."""

    patterns: tuple[tuple[str, re.Pattern[str]], ...]

    def columns(self) -> list[str]:
        return [name for name, _ in self.patterns]

    def matches(self, row: Mapping[str, str]) -> bool:
        return bool(self.patterns) and all(
            pattern.fullmatch(row.get(name, "")) for name, pattern in self.patterns
        )


@dataclass(frozen=True, slots=True)
class NotAnOrder:
    """Rows that are no order, and why, as a code for machines and words for people."""

    reason: str
    words: str
    where: Where


@dataclass(frozen=True, slots=True)
class Numbers:
    """How the sheet writes numbers; anything else is refused."""

    decimal: str = "."
    thousands: str = ""
    prefix: str = ""


@dataclass(frozen=True, slots=True)
class Rules:
    """All that reading one order needs."""

    name: str
    columns: Mapping[str, Column]
    time_format: str
    zone: ZoneInfo
    currency: str
    statuses: Mapping[str, ChannelStatus]
    """By the cell's word; the one of the empty word counts where there is no status column."""
    numbers: Numbers = field(default_factory=Numbers)
    round_line_amounts: bool = False
    receiver: str = "none"
    """none, columns or pickup."""
    pickup: Mapping[str, str] = field(default_factory=dict)
    freight: Where = Where(())
    gifts: Where = Where(())

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> "Rules":
        """Read the reading part of a mapping. Raises MappingError."""
        columns = _columns(_object(told, "columns"))
        time = _object(told, "time", default={})
        _known(time, {"format", "zone"}, "time")
        kind, pickup = _receiver(told.get("receiver", "none"), columns)
        return cls(
            name=_text(told, "name", default="sheet"),
            columns=columns,
            time_format=_text(time, "format", default="%Y-%m-%d %H:%M:%S"),
            zone=_zone(_text(time, "zone", default="Asia/Shanghai")),
            currency=_currency(told.get("currency", "CNY")),
            statuses=_statuses(told.get("status", "wait_ship"), columns),
            numbers=_numbers(_object(told, "numbers", default={})),
            round_line_amounts=_flag(told, "round_line_amounts"),
            receiver=kind,
            pickup=pickup,
            freight=_where(told.get("freight_rows", {}), "freight_rows"),
            gifts=_where(told.get("gift_rows", {}), "gift_rows"),
        )

    def wanted_columns(self) -> list[str]:
        """Every column of the sheet the rules name."""
        names = [column.name for column in self.columns.values()]
        return [*names, *self.freight.columns(), *self.gifts.columns()]


@dataclass(frozen=True, slots=True)
class Place:
    """The warehouse to make where there is none."""

    code: str
    name: str
    province: str
    city: str


@dataclass(frozen=True, slots=True)
class Catalog:
    """Whether codes first seen become goods, and how."""

    pattern: re.Pattern[str]
    """Only codes that match it in full."""
    base_price: str
    """median_unit_price or first."""
    stock: int
    place: Place | None


@dataclass(frozen=True, slots=True)
class SheetMapping:
    """A mapping file."""

    rules: Rules
    reading: Mapping[str, Any]
    """The part that goes into the inbox rows, as told."""
    dialect: Dialect
    not_orders: tuple[NotAnOrder, ...] = ()
    catalog: Catalog | None = None

    @classmethod
    def of(cls, told: Any, *, max_bytes: int = Dialect().max_bytes) -> "SheetMapping":
        """Read a mapping file's JSON. Raises MappingError."""
        if not isinstance(told, Mapping):
            raise MappingError("映射文件应为一个 JSON 对象")
        _known(told, TOP, "映射文件")
        return cls(
            rules=Rules.of(told),
            reading={key: told[key] for key in READING if key in told},
            dialect=_dialect(told, max_bytes),
            not_orders=tuple(map(_not_an_order, _list(told, "not_orders"))),
            catalog=_catalog(_object(told, "catalog", default={})),
        )

    def missing_columns(self, header: Iterable[str]) -> list[str]:
        """Columns the mapping names and the sheet has not."""
        wanted = self.rules.wanted_columns()
        for rule in self.not_orders:
            wanted += rule.where.columns()
        there = set(header)
        return [name for name in dict.fromkeys(wanted) if name not in there]

    def not_an_order(self, row: Mapping[str, str]) -> NotAnOrder | None:
        """The rule that says this row is no order; None where it is one."""
        return next((rule for rule in self.not_orders if rule.where.matches(row)), None)


# --- values -----------------------------------------------------------------------------------


def _known(told: Mapping[str, Any], names: Iterable[str], where: str) -> None:
    if extra := sorted(set(told) - set(names)):
        raise MappingError(f"{where} 里有不认识的项：{'、'.join(extra)}")


def _object(
    told: Mapping[str, Any], key: str, *, default: Mapping[str, Any] | None = None
) -> Mapping[str, Any]:
    value = told.get(key, default)
    if not isinstance(value, Mapping):
        raise MappingError(f"{key} 应为一个 JSON 对象")
    return value


def _list(told: Mapping[str, Any], key: str) -> Sequence[Any]:
    value = told.get(key, [])
    if not isinstance(value, list):
        raise MappingError(f"{key} 应为一个列表")
    return value


def _text(told: Mapping[str, Any], key: str, *, default: str | None = None) -> str:
    value = told.get(key, default)
    if not isinstance(value, str) or (default is None and not value):
        raise MappingError(f"{key} 应为文本")
    return value


def _flag(told: Mapping[str, Any], key: str) -> bool:
    value = told.get(key, False)
    if not isinstance(value, bool):
        raise MappingError(f"{key} 应为 true 或 false")
    return value


def _pattern(text: Any, where: str) -> re.Pattern[str]:
    if not isinstance(text, str):
        raise MappingError(f"{where} 应为正则表达式")
    try:
        return re.compile(text)
    except re.error as error:
        raise MappingError(f"{where} 不是正则表达式：{error}") from error


def _where(told: Any, name: str) -> Where:
    if not isinstance(told, Mapping):
        raise MappingError(f"{name} 应为 {{列名: 正则}}")
    return Where(tuple((key, _pattern(text, f"{name}.{key}")) for key, text in told.items()))


def _columns(told: Mapping[str, Any]) -> dict[str, Column]:
    _known(told, {*ORDER_FIELDS, *LINE_FIELDS}, "columns")
    found = {}
    for name, value in told.items():
        spec = {"column": value} if isinstance(value, str) else value
        if not isinstance(spec, Mapping):
            raise MappingError(f"columns.{name} 应为列名")
        _known(spec, {"column", "upper"}, f"columns.{name}")
        if name != "sku" and "upper" in spec:
            raise MappingError("只有商品编码（sku）可以统一成大写；单号与其他内容原样保留")
        found[name] = Column(_text(spec, "column"), _flag(spec, "upper"))
    missing = [name for name in REQUIRED if name not in found]
    if not {"unit_price", "amount"} & found.keys():
        missing.append("unit_price")
    if missing:
        raise MappingError(f"columns 缺少：{'、'.join(missing)}")
    return found


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise MappingError(f"time.zone 不是时区：{name}") from error


def _currency(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[A-Z]{3}", value):
        raise MappingError("currency 应为三个大写字母，如 CNY")
    return value


def _status(word: Any) -> ChannelStatus:
    try:
        return ChannelStatus(word)
    except ValueError:
        known = "、".join(status.value for status in ChannelStatus)
        raise MappingError(f"status 不认识 {word}，可用：{known}") from None


def _statuses(told: Any, columns: Mapping[str, Column]) -> dict[str, ChannelStatus]:
    if isinstance(told, str):
        if "status" in columns:
            raise MappingError("有状态列时，status 应为 {单元格文字: 状态}")
        return {"": _status(told)}
    if not isinstance(told, Mapping) or "status" not in columns:
        raise MappingError("status 应为一个状态，或者 columns.status 连同 {单元格文字: 状态}")
    return {word: _status(value) for word, value in told.items()}


def _numbers(told: Mapping[str, Any]) -> Numbers:
    _known(told, {"decimal", "thousands", "prefix"}, "numbers")
    numbers = Numbers(
        decimal=_text(told, "decimal", default="."),
        thousands=_text(told, "thousands", default=""),
        prefix=_text(told, "prefix", default=""),
    )
    if numbers.decimal not in {".", ","} or numbers.thousands not in {"", ",", ".", " ", "'"}:
        raise MappingError("numbers 的小数点或千分位符不可用")
    if numbers.decimal == numbers.thousands:
        raise MappingError("numbers 的小数点与千分位符不能相同")
    return numbers


def _receiver(told: Any, columns: Mapping[str, Column]) -> tuple[str, Mapping[str, str]]:
    given = [part for part in RECEIVER_PARTS if f"receiver_{part}" in columns]
    if told in ("none", "columns"):
        if (told == "columns") != bool(given):
            raise MappingError('有收货人列时 receiver 应为 "columns"，没有时应为 "none"')
        return str(told), {}
    if not isinstance(told, Mapping) or set(told) != {"pickup"}:
        raise MappingError('receiver 应为 "none"、"columns" 或 {"pickup": {…}}')
    pickup = _object(told, "pickup")
    _known(pickup, RECEIVER_PARTS, "receiver.pickup")
    needed = [part for part in ("name", "phone", "province", "address") if not pickup.get(part)]
    if needed:
        raise MappingError(f"receiver.pickup 缺少：{'、'.join(needed)}")
    return "pickup", {part: _text(pickup, part) for part in pickup}


def _dialect(told: Mapping[str, Any], max_bytes: int) -> Dialect:
    encoding = ENCODINGS.get(_text(told, "encoding", default="utf-8").lower())
    delimiter = _text(told, "delimiter", default=",")
    if encoding is None:
        raise MappingError("encoding 只能是 utf-8 或 gbk")
    if delimiter not in DELIMITERS:
        raise MappingError("delimiter 只能是逗号、分号或制表符")
    return Dialect(encoding, delimiter, max_bytes)


def _not_an_order(told: Any) -> NotAnOrder:
    if not isinstance(told, Mapping):
        raise MappingError("not_orders 的每一项应为 {reason, words, where}")
    _known(told, {"reason", "words", "where"}, "not_orders")
    where = _where(told.get("where"), "not_orders.where")
    if not where.patterns:
        raise MappingError("not_orders.where 不能为空")
    return NotAnOrder(_text(told, "reason"), _text(told, "words"), where)


def _catalog(told: Mapping[str, Any]) -> Catalog | None:
    names = {"create_missing_skus", "sku_pattern", "base_price", "stock", "warehouse"}
    _known(told, names, "catalog")
    if not _flag(told, "create_missing_skus"):
        return None
    price = _text(told, "base_price", default="median_unit_price")
    if price not in {"median_unit_price", "first"}:
        raise MappingError("catalog.base_price 应为 median_unit_price 或 first")
    stock = told.get("stock", 0)
    if not isinstance(stock, int) or isinstance(stock, bool) or not 0 <= stock <= 10**8:
        raise MappingError("catalog.stock 应为 0 至 100000000 的整数")
    return Catalog(
        pattern=_pattern(told.get("sku_pattern", ".+"), "catalog.sku_pattern"),
        base_price=price,
        stock=stock,
        place=_place(_object(told, "warehouse")) if "warehouse" in told else None,
    )


def _place(told: Mapping[str, Any]) -> Place:
    _known(told, {"code", "name", "province", "city"}, "catalog.warehouse")
    code = _text(told, "code")
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,32}", code):
        raise MappingError("catalog.warehouse.code 只能用字母、数字、- 和 _")
    return Place(code, _text(told, "name"), _text(told, "province"), _text(told, "city"))
