"""What a warehouse of others has, by spreadsheet: read whole, judged row by row, then applied."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Final

from django.db.models import TextChoices
from django.utils.translation import gettext_lazy as _

from channels_sync.sheets.rows import Dialect
from channels_sync.sheets.xlsx_writing import Column
from inventory import papers, statements
from inventory.models import StockLevel, StockPolicy
from ordercenter.catalog.models import Sku
from ordercenter.pipeline import tables

CODE: Final = "货品编码"
UNITS: Final = "件数"
COLUMNS: Final = (Column(CODE, 22), Column("名称", 40), Column(UNITS, 10))
MOST_ROWS: Final = papers.MOST_LINES


class Outcome(TextChoices):
    """What one row would come to."""

    REFUSED = "refused", _("不能应用")
    WAITS = "waits", _("待复核")
    CHANGED = "changed", _("调整")
    SAME = "same", _("相符")


@dataclass(frozen=True, slots=True)
class Row:
    """One row as somebody filled it in."""

    number: int
    code: str
    units: str


@dataclass(frozen=True, slots=True)
class Planned:
    """One row and what it would do."""

    row: Row
    outcome: Outcome
    words: str = ""
    sku_id: int = 0
    told: int = 0
    book: int = 0

    @property
    def delta(self) -> int:
        return self.told - self.book


@dataclass(frozen=True, slots=True)
class Plan:
    """What a whole table would do."""

    rows: tuple[Planned, ...]
    digest: str

    def having(self, outcome: Outcome) -> list[Planned]:
        return [planned for planned in self.rows if planned.outcome == outcome]

    @property
    def told(self) -> dict[int, int]:
        """Units by SKU of the rows that can be applied."""
        return {p.sku_id: p.told for p in self.rows if p.outcome != Outcome.REFUSED}


def template(room_id: int) -> Iterable[list[str]]:
    """The SKUs a virtual warehouse has, to fill in; the figures are left to who counts them."""
    levels = StockLevel.objects.filter(virtual_warehouse_id=room_id).order_by("sku__code")
    for code, name in levels.values_list("sku__code", "sku__name"):
        yield [code, name, ""]


def read(path: Path, dialect: Dialect) -> tuple[list[Row], str]:
    """The rows of a table and the mark of its bytes. Raises InvalidInput naming the row."""
    header, body = tables.table_of(path, dialect, most=MOST_ROWS)
    tables.need(header, (CODE, UNITS))
    code, units = header.index(CODE), header.index(UNITS)
    rows = [Row(number, cells[code].strip(), cells[units].strip()) for number, cells in body]
    return [row for row in rows if row.code or row.units], sha256(path.read_bytes()).hexdigest()


def plan(rows: Sequence[Row], digest: str, *, room_id: int, as_of: datetime) -> Plan:
    """What these rows would do to this virtual warehouse."""
    skus = dict(
        Sku.objects.filter(code__in=[row.code.replace("\0", "") for row in rows]).values_list(
            "code", "pk"
        )
    )
    times = Counter(row.code for row in rows)
    problems = {row.number: _problem(row, skus, times) for row in rows}
    told = {skus[row.code]: int(row.units) for row in rows if not problems[row.number]}
    found = {one.sku_id: one for one in statements.differences(room_id, told, as_of=as_of)}
    limit = StockPolicy.current().two_person_units
    planned = []
    for row in rows:
        if words := problems[row.number]:
            planned.append(Planned(row, Outcome.REFUSED, words))
        else:
            planned.append(_planned(row, found[skus[row.code]], limit))
    return Plan(tuple(planned), digest)


def _planned(row: Row, one: statements.Difference, limit: int) -> Planned:
    outcome, words = Outcome.CHANGED, ""
    if one.problem:
        outcome, words = Outcome.REFUSED, one.problem
    elif not one.delta:
        outcome = Outcome.SAME
    elif abs(one.delta) > limit:
        outcome, words = Outcome.WAITS, f"超过 {limit} 件，须第二人复核"
    return Planned(row, outcome, words, one.sku_id, one.told, one.book)


def _problem(row: Row, skus: dict[str, int], times: Counter[str]) -> str:
    """What is wrong with a row, in words; empty when nothing is."""
    if not row.code:
        return "没有填货品编码"
    if row.code not in skus:
        return f"没有货品 {row.code[:40]}"
    if times[row.code] > 1:
        return "同一货品填了多行"
    plain = row.units.isascii() and row.units.isdigit() and len(row.units) < 8  # noqa: PLR2004
    if not plain or int(row.units) > papers.MOST_UNITS:
        return f"件数应为 0 到 {papers.MOST_UNITS} 的整数：{row.units[:20] or '空'}"
    return ""
