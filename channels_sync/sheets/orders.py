"""From rows to one document an order: the raw message of a sheet.

Two passes keep the memory at one entry an order: the first counts the rows of each order and
proves that the whole file can be read, the second gives each order out with its last row,
however far apart its rows stand.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from channels_sync.connectors.spreadsheet.connector import FORMAT, decimal_text
from channels_sync.contracts import MessageKind, RawMessage
from channels_sync.sheets.mapping import NotAnOrder, SheetMapping
from channels_sync.sheets.rows import Meter, SheetError, rows

NO_NUMBER: Final = ""
MAX_SEEN_PRICES: Final = 10_000


@dataclass(slots=True)
class CodeSeen:
    """What the rows tell of one code."""

    title: str = ""
    prices: Counter[Decimal] = field(default_factory=Counter)
    """Unit prices above zero, and how many rows have them, first seen first."""


@dataclass(slots=True)
class Survey:
    """What the first pass found."""

    rows: int = 0
    header: list[str] = field(default_factory=list)
    rows_of: Counter[str] = field(default_factory=Counter)
    codes: dict[str, CodeSeen] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SheetDocument:
    """One order, or something else that stands among them, ready for the inbox."""

    message: RawMessage
    rows: int
    first_row: int
    not_an_order: str = ""
    """The reason, where it is none."""

    @property
    def is_order(self) -> bool:
        return not self.not_an_order


class Sheet:
    """One file under one mapping."""

    def __init__(self, path: Path, mapping: SheetMapping) -> None:
        self.path = path
        self.mapping = mapping
        self.meter = Meter()

    def survey(self) -> Iterator[Survey]:
        """Read the whole file once; yield the same growing survey now and then, and at the end.

        Raises SheetError; nothing was handed on by then.
        """
        found = Survey()
        with rows(self.path, self.mapping.dialect, self.meter) as (header, body):
            found.header = header
            self._check_header(header)
            cells_of = _Cells(header, self.mapping)
            for _, cells in body:
                found.rows += 1
                found.rows_of[cells_of.number(cells)] += 1
                if self.mapping.catalog is not None:
                    self._note_code(found, cells_of, cells)
                if found.rows % 2000 == 0:
                    yield found
        yield found

    def _check_header(self, header: Sequence[str]) -> None:
        missing = self.mapping.missing_columns(header)
        if not missing:
            return
        words = f"表头缺少列：{'、'.join(missing)}"
        other = next((d for d in ";\t," if len(header) == 1 and d in header[0]), None)
        if other:
            name = {";": "分号", "\t": "制表符", ",": "逗号"}[other]
            words += f"；分隔符似乎是{name}，请在映射文件中声明 delimiter"
        raise SheetError(words)

    def _note_code(self, found: Survey, cells_of: "_Cells", cells: Sequence[str]) -> None:
        code, row = cells_of.code(cells), cells_of.named(cells)
        if not code or len(cells) != len(found.header) or self.mapping.not_an_order(row):
            return
        if self.mapping.rules.freight.matches(row):
            return
        seen = found.codes.setdefault(code, CodeSeen())
        seen.title = seen.title or cells_of.title(cells)
        price = cells_of.price(cells)
        if price and price > 0 and len(seen.prices) < MAX_SEEN_PRICES:
            seen.prices[price] += 1

    def documents(self, survey: Survey) -> Iterator[SheetDocument]:
        """Read the file again; yield each order when its last row has come.

        Raises SheetError if the file is not the one that was surveyed.
        """
        make = _Maker(self.mapping, survey.header)
        left = Counter(survey.rows_of)
        waiting: dict[str, list[tuple[int, list[str]]]] = {}
        with rows(self.path, self.mapping.dialect, self.meter) as (header, body):
            cells_of = _Cells(header, self.mapping)
            for row, cells in body:
                number = cells_of.number(cells)
                mine = waiting.setdefault(number, [])
                mine.append((row, cells))
                left[number] -= 1
                if left[number] < 0 or header != survey.header:
                    raise SheetError("文件在导入过程中被改动，请重新导入")
                if number == NO_NUMBER or not left[number]:
                    del waiting[number]
                    yield make(number, mine)
        if waiting or +left:
            raise SheetError("文件在导入过程中被改动，请重新导入")


class _Cells:
    """Picks the cells the survey needs out of a row, whatever its length."""

    def __init__(self, header: Sequence[str], mapping: SheetMapping) -> None:
        columns = mapping.rules.columns
        self._header = header
        self._numbers = mapping.rules.numbers
        self._at = {name: header.index(column.name) for name, column in columns.items()}
        self._upper = columns["sku"].upper
        self._number_at = self._at["order_number"]

    def _get(self, field_name: str, cells: Sequence[str]) -> str:
        at = self._at.get(field_name)
        return cells[at] if at is not None and at < len(cells) else ""

    def number(self, cells: Sequence[str]) -> str:
        """The order's number verbatim; empty where it is blank."""
        text = cells[self._number_at] if self._number_at < len(cells) else ""
        return text if text.strip() else NO_NUMBER

    def code(self, cells: Sequence[str]) -> str:
        text = self._get("sku", cells)
        return text.upper() if self._upper else text

    def title(self, cells: Sequence[str]) -> str:
        return self._get("title", cells).strip()

    def price(self, cells: Sequence[str]) -> Decimal | None:
        text = decimal_text(self._get("unit_price", cells), self._numbers)
        return Decimal(text) if text else None

    def named(self, cells: Sequence[str]) -> dict[str, str]:
        return dict(zip(self._header, cells, strict=False))


class _Maker:
    """Writes documents. The bytes depend on nothing but the mapping and the rows."""

    def __init__(self, mapping: SheetMapping, header: Sequence[str]) -> None:
        self._mapping = mapping
        self._header = header
        self._head = {"sheet": FORMAT, "rules": mapping.reading, "columns": list(header)}

    def __call__(self, number: str, told: Sequence[tuple[int, list[str]]]) -> SheetDocument:
        reasons = [self._mapping.not_an_order(self._named(cells)) for _, cells in told]
        if reasons[0] and all(reason == reasons[0] for reason in reasons):
            return self._document(number, told, MessageKind.NOTE, reasons[0])
        return self._document(number, told, MessageKind.ORDER, None, _faults(told, reasons))

    def _named(self, cells: Sequence[str]) -> Mapping[str, str]:
        return dict(zip(self._header, cells, strict=False))

    def _document(
        self,
        number: str,
        told: Sequence[tuple[int, list[str]]],
        kind: MessageKind,
        why: NotAnOrder | None,
        faults: Mapping[str, str] | None = None,
    ) -> SheetDocument:
        body: dict[str, Any] = {**self._head, "number": number}
        if why:
            body["not_an_order"] = {"reason": why.reason, "words": why.words}
        if faults:
            body["faults"] = faults
        body["rows"] = [[row, *(cell.replace("\0", "\ufffd") for cell in cells)]
                        for row, cells in told]  # fmt: skip
        text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
        message = RawMessage(kind, text.encode(), number)
        return SheetDocument(message, len(told), told[0][0], why.reason if why else "")


def _faults(
    told: Sequence[tuple[int, list[str]]], reasons: Sequence[NotAnOrder | None]
) -> dict[str, str]:
    """Faults only this pass can see, by row: what is no order among orders, and NUL."""
    found = {}
    for (row, cells), reason in zip(told, reasons, strict=True):
        if reason:
            found[str(row)] = f"“{reason.words}”的行与其他行同在一张订单里"
        elif any("\0" in cell for cell in cells):
            found[str(row)] = "单元格里有 NUL 字符"
    return found
