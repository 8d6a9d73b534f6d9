"""Orders of a spreadsheet: one inbox row an order, with its rows as they stood in the file.

The document is our own (``docs/import.md``): the reading part of the mapping, the header, and
the rows, each with its number in the file. An order with one bad row is refused whole, naming
the row. There is nobody to call: the network methods say so.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from functools import lru_cache
from typing import Any, ClassVar, Final, NoReturn
from zoneinfo import ZoneInfo

from channels_sync.connectors.base import BaseConnector, WithoutPush
from channels_sync.connectors.strict_json import loads_strict
from channels_sync.connectors.values import (
    FIRST_YEAR,
    LAST_YEAR,
    MAX_MONEY,
    Node,
    id_text,
    is_masked_text,
    quantity,
    yuan,
)
from channels_sync.contracts import (
    Document,
    ErrorClass,
    PlatformError,
    Rejected,
    Unreadable,
)
from channels_sync.sheets.mapping import RECEIVER_PARTS, MappingError, Numbers, Rules
from ordercenter.core.money import FEN
from ordercenter.orders.contracts import (
    ChannelStatus,
    EventDraft,
    EvidenceDraft,
    LineDraft,
    OrderDraft,
    ReceiverDraft,
    RefundDraft,
)

FORMAT: Final = 1
"""Of the document. A later one gets a reader beside this one: old rows stay readable."""
MAX_LINES: Final = 5_000
MAX_ORDER_MONEY: Final = Decimal(10) ** 12
_SCIENTIFIC: Final = re.compile(r"[0-9](?:[.,][0-9]+)?[eE]\+?[0-9]+")
_PLAIN: Final = re.compile(r"-?[0-9]{1,30}(?:\.[0-9]{1,30})?")
_NO_MONEY: Final = Decimal("0.00")


def decimal_text(text: str, numbers: Numbers) -> str:
    """Spell a number of the sheet with a decimal point and nothing else; empty if it is none."""
    if numbers.prefix:
        text = text.removeprefix(numbers.prefix)
    if numbers.thousands:
        text = _without_thousands(text, numbers)
    if numbers.decimal != ".":
        if "." in text:
            return ""
        text = text.replace(numbers.decimal, ".")
    return text if _PLAIN.fullmatch(text) else ""


def _without_thousands(text: str, numbers: Numbers) -> str:
    mark, point = re.escape(numbers.thousands), re.escape(numbers.decimal)
    grouped = rf"-?[0-9]{{1,3}}(?:{mark}[0-9]{{3}})+(?:{point}[0-9]+)?"
    return text.replace(numbers.thousands, "") if re.fullmatch(grouped, text) else text


@lru_cache(maxsize=8192)
def local_time(text: str, form: str, zone: ZoneInfo) -> datetime | str:
    """Read a time of the sheet; return it aware, or the words that say what is wrong.

    Without an offset of its own it is the zone's: of an hour that comes twice the first is
    meant, an hour that is left out does not exist.
    """
    if not text.isascii():
        return "的时间格式不对"
    try:
        moment = datetime.strptime(text, form)  # noqa: DTZ007 - the zone follows
    except ValueError:
        return f"的时间不存在或格式不对（应为 {form}）"
    if moment.tzinfo is None:
        aware = moment.replace(tzinfo=zone)
        if aware.astimezone(UTC).astimezone(zone).replace(tzinfo=None) != moment:
            return "的时间不存在（夏令时跳过了这一小时）"
        moment = aware
    if not FIRST_YEAR <= moment.year < LAST_YEAR:
        return f"的年份超出 {FIRST_YEAR} 至 {LAST_YEAR}"
    return moment


@dataclass(frozen=True, slots=True)
class _Row:
    """One row and its number in the file."""

    number: int
    cells: Mapping[str, str]
    """By the name of the column in the sheet."""
    rules: Rules

    def refuse(self, words: str) -> NoReturn:
        raise Unreadable(f"第 {self.number} 行：{words}")

    def text(self, field: str) -> str:
        column = self.rules.columns.get(field)
        if column is None:
            return ""
        text = self.cells[column.name]
        return text.upper() if column.upper else text

    def name(self, field: str) -> str:
        return self.rules.columns[field].name

    def money(self, field: str) -> Decimal:
        """An amount exact to the fen. A third decimal is rounded where the mapping says so."""
        value = self._decimal(field)
        try:
            return yuan(_even(value) if self.rules.round_line_amounts else value, self.name(field))
        except Unreadable as error:
            self.refuse(str(error))

    def exact(self, field: str) -> Decimal:
        """An amount with every digit it has."""
        value = self._decimal(field)
        if value < 0 or value >= MAX_MONEY:
            self.refuse(f"字段 {self.name(field)} 的金额是负数或超出范围")
        return value

    def _decimal(self, field: str) -> Decimal:
        text = decimal_text(self.text(field), self.rules.numbers)
        if not text:
            self.refuse(f"字段 {self.name(field)} 不是金额")
        return Decimal(text)

    def quantity(self) -> int:
        try:
            return quantity(self.text("quantity"), self.name("quantity"))
        except Unreadable as error:
            self.refuse(str(error))

    def time(self, field: str) -> datetime | None:
        text = self.text(field)
        if not text:
            return None
        found = local_time(text, self.rules.time_format, self.rules.zone)
        if isinstance(found, str):
            self.refuse(f"字段 {self.name(field)} {found}")
        return found


def _even(value: Decimal) -> Decimal:
    return value.quantize(FEN, rounding=ROUND_HALF_EVEN)


class SpreadsheetConnector(WithoutPush, BaseConnector):
    """A file's line to nobody: it reads, and has no network."""

    channel: ClassVar[str] = "file"
    # --- the network there is not -------------------------------------------------------------

    def test(self) -> None:
        raise _no_network()

    # --- reading ------------------------------------------------------------------------------

    def read(self, body: bytes) -> OrderDraft:
        document = Node.of(loads_strict(body))
        if document.get("sheet") != FORMAT:
            raise Unreadable("不是表格订单，或由更新的版本写成")
        if "not_an_order" in document.data:
            raise Unreadable("表格中的这些行不是订单")
        return _read_order(document)

    def read_refund(self, body: bytes) -> RefundDraft:
        raise Unreadable("表格导入没有退款报文")

    def read_event(self, body: bytes) -> EventDraft:
        raise Unreadable("表格导入没有消息推送")

    def read_document(self, body: bytes) -> Document:
        return Document("order", orders=(self.read(body),))


def _no_network() -> Rejected:
    return Rejected(
        PlatformError(
            ErrorClass.BUSINESS, "no_network", "表格导入的店铺没有平台接口，请自行告知买家"
        )
    )


def _read_order(document: Node) -> OrderDraft:
    try:
        rules = Rules.of(document.node("rules").data)
    except MappingError as error:
        raise Unreadable(str(error)) from error
    rows = _rows(document, rules)
    number = _number(rows[0])
    placed_at = min(_placed_at(row) for row in rows)
    lines, freight = _lines(rows)
    freight += _optional_money(rows, "freight") or _NO_MONEY
    payable = _optional_money(rows, "payable_amount")
    if payable is None:
        payable = sum((line.amount for line in lines), _NO_MONEY) + freight
    if payable >= MAX_ORDER_MONEY:
        raise Unreadable("订单金额超出范围")
    status_raw, status = _status(rows)
    paid = _optional_money(rows, "paid_amount")
    draft = OrderDraft(
        channel=SpreadsheetConnector.channel,
        channel_number=number,
        status=status,
        status_raw=status_raw,
        currency=_currency(rows),
        payable_amount=payable,
        paid_amount=_NO_MONEY,
        freight=freight,
        placed_at=placed_at,
        modified_at=max(_times(rows, "modified_at"), default=placed_at),
        lines=lines,
        paid_at=min(_times(rows, "paid_at"), default=None),
        receiver=_receiver(rows),
        evidence=EvidenceDraft(buyer_id=_one(rows, "buyer_id")),
        buyer_remark=_one(rows, "buyer_remark") or None,
        seller_memo=_one(rows, "seller_memo") or None,
    )
    if paid is None:
        paid = payable if draft.is_paid else _NO_MONEY
    return replace(draft, paid_amount=paid)


def _rows(document: Node, rules: Rules) -> list[_Row]:
    header, told = document.get("columns"), document.get("rows")
    if not isinstance(header, list) or not isinstance(told, list) or not told:
        raise Unreadable("表格订单没有表头或行")
    missing = set(rules.wanted_columns()) - set(header)
    if missing:
        raise Unreadable(f"表头缺少列：{'、'.join(sorted(missing))}")
    if len(told) > MAX_LINES:
        raise Unreadable(f"第 {told[0][0]} 行起：一张订单超过 {MAX_LINES} 行")
    rows = [_row(row, header, rules) for row in told]
    faults = document.node_or_empty("faults").data
    for row in rows:
        if words := faults.get(str(row.number)):
            row.refuse(str(words))
    return rows


def _row(told: Any, header: Sequence[str], rules: Rules) -> _Row:
    if not isinstance(told, list) or not told or not isinstance(told[0], int):
        raise Unreadable("表格订单的行不成形")
    number, *cells = told
    if len(cells) != len(header) or not all(isinstance(cell, str) for cell in cells):
        raise Unreadable(f"第 {number} 行：列数不对，应为 {len(header)} 列，实为 {len(cells)} 列")
    return _Row(number, dict(zip(header, cells, strict=True)), rules)


def _number(row: _Row) -> str:
    text = row.text("order_number")
    if not text.strip():
        row.refuse("没有单号")
    if _SCIENTIFIC.fullmatch(text):
        row.refuse("单号被表格软件改成了科学计数法，末尾的数字已丢失")
    try:
        return id_text(text, row.name("order_number"))
    except Unreadable as error:
        row.refuse(str(error))


def _placed_at(row: _Row) -> datetime:
    moment = row.time("placed_at")
    if moment is None:
        row.refuse(f"缺少字段 {row.name('placed_at')}")
    return moment


def _times(rows: Sequence[_Row], field: str) -> list[datetime]:
    if field not in rows[0].rules.columns:
        return []
    return [moment for row in rows if (moment := row.time(field)) is not None]


def _one(rows: Sequence[_Row], field: str) -> str:
    """What all rows of the order say; a blank says nothing, two answers are a fault."""
    if field not in rows[0].rules.columns:
        return ""
    first: _Row | None = None
    for row in rows:
        if not row.text(field):
            continue
        if first is None:
            first = row
        elif row.text(field) != first.text(field):
            row.refuse(f"字段 {row.name(field)} 与同一订单的第 {first.number} 行不同")
    return first.text(field) if first else ""


def _optional_money(rows: Sequence[_Row], field: str) -> Decimal | None:
    if not _one(rows, field):
        return None
    row = next(row for row in rows if row.text(field))
    return row.money(field)


def _currency(rows: Sequence[_Row]) -> str:
    rules = rows[0].rules
    told = _one(rows, "currency")
    if "currency" in rules.columns and told != rules.currency:
        rows[0].refuse(f"币种应为 {rules.currency}，表中是“{told[:10]}”")
    return rules.currency


def _status(rows: Sequence[_Row]) -> tuple[str, ChannelStatus]:
    rules = rows[0].rules
    told = _one(rows, "status")
    status = rules.statuses.get(told, ChannelStatus.UNKNOWN)
    return told or status.value, status


def _lines(rows: Sequence[_Row]) -> tuple[tuple[LineDraft, ...], Decimal]:
    """(goods, freight); a freight row's money is freight and no line."""
    rules = rows[0].rules
    lines: list[LineDraft] = []
    freight = _NO_MONEY
    ids: dict[str, int] = {}
    for row in rows:
        amount, unit_price, count = _price(row)
        if rules.freight.matches(row.cells):
            freight += amount
            continue
        line_id = row.text("line_id") or str(len(lines) + 1)
        if line_id in ids:
            row.refuse(f"行号 {line_id[:40]} 与第 {ids[line_id]} 行重复")
        ids[line_id] = row.number
        lines.append(_line(row, line_id, count, unit_price, amount))
    return tuple(lines), freight


def _line(row: _Row, line_id: str, count: int, unit_price: Decimal, amount: Decimal) -> LineDraft:
    code = row.text("sku")
    if len(line_id) > 64 or len(code) > 100:  # noqa: PLR2004 - what the order line keeps
        row.refuse("行号或商品编码过长")
    return LineDraft(
        channel_line_id=line_id,
        platform_sku_id=None,
        outer_code=code or None,
        title=row.text("title").strip() or code,
        quantity=count,
        unit_price=unit_price,
        amount=amount,
        is_gift=row.rules.gifts.matches(row.cells),
    )


def _price(row: _Row) -> tuple[Decimal, Decimal, int]:
    """(amount, unit price, quantity). Nothing is rounded unless the mapping says so."""
    count = row.quantity()
    columns = row.rules.columns
    if "amount" in columns:
        amount = row.money("amount")
        unit = row.money("unit_price") if "unit_price" in columns else _even(amount / count)
        return amount, unit, count
    unit = row.money("unit_price")
    if row.rules.round_line_amounts:
        return _even(row.exact("unit_price") * count), unit, count
    return unit * count, unit, count


def _receiver(rows: Sequence[_Row]) -> ReceiverDraft | None:
    rules = rows[0].rules
    if rules.receiver == "none":
        return None
    if rules.receiver == "pickup":
        # Everybody collects there: its phone and address tell nothing about who ordered.
        return ReceiverDraft(**rules.pickup, is_masked=True)
    told = {part: _one(rows, f"receiver_{part}").strip() for part in RECEIVER_PARTS}
    if not any(told.values()):
        return None
    return ReceiverDraft(
        **told, is_masked=is_masked_text(told["name"], told["phone"], told["address"])
    )
