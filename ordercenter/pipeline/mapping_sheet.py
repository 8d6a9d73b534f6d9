"""Mapping by spreadsheet: the queue as a table to fill in, and what a filled table would do.

A table is read as a whole, judged row by row, and changes nothing until somebody has seen what it
would do. What is applied is what was seen: a listing changed in between refuses all of it.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from django.db import connection
from django.db.models import TextChoices
from django.utils.translation import gettext_lazy as _

from channels_sync.sheets.rows import Dialect
from channels_sync.sheets.xlsx_writing import Column, workbook
from ordercenter.catalog.matching import Matcher, Proposal, fold
from ordercenter.catalog.models import Bundle, CodeType, Shop, Sku
from ordercenter.core.readonly import read_only
from ordercenter.pipeline import tables
from ordercenter.pipeline.mapping import MOST_AT_ONCE, code_problem, wanted_of
from ordercenter.pipeline.unmapped import UnmappedCode, Wish, queue

SHOP: Final = "店铺编码"
KIND: Final = "编码类型"
CODE: Final = "平台编码"
TITLE: Final = "平台标题"
FILLED: Final = "货品编码"
NEEDED: Final = (SHOP, KIND, CODE, FILLED)
COLUMNS: Final = (
    Column(SHOP, 14), Column(KIND, 16), Column(CODE, 26), Column(FILLED, 22),
    Column("建议货品编码", 22), Column("建议依据", 44), Column(TITLE, 48), Column("等待订单", 10),
    Column("等待金额", 14),
)  # fmt: skip


class Outcome(TextChoices):
    """What one row would come to."""

    NEW = "new", _("新建")
    CHANGED = "changed", _("修改")
    SAME = "same", _("已是如此")
    SKIPPED = "skipped", _("未填写，跳过")
    REFUSED = "refused", _("不能应用")


@dataclass(frozen=True, slots=True)
class Row:
    """One row as somebody filled it in."""

    number: int
    shop: str
    kind: str
    code: str
    target: str
    title: str = ""


@dataclass(frozen=True, slots=True)
class Planned:
    """One row and what it would do."""

    row: Row
    outcome: Outcome
    words: str = ""
    was: str = ""
    """The code of what it stands for now."""
    wish: Wish | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What a whole table would do."""

    rows: tuple[Planned, ...]

    def having(self, outcome: Outcome) -> list[Planned]:
        return [planned for planned in self.rows if planned.outcome == outcome]

    @property
    def wishes(self) -> list[Wish]:
        """What is to be made or changed."""
        changing = {Outcome.NEW, Outcome.CHANGED}
        return [p.wish for p in self.rows if p.wish is not None and p.outcome in changing]


# --- out ------------------------------------------------------------------------------------------


def table(*, shop_id: int = 0) -> Iterator[list[str]]:
    """The queue, row by row, with a proposal beside each code; the column to fill in is empty."""
    waiting = [code for code in queue(shop_id=shop_id, limit=MOST_AT_ONCE) if code.is_mappable]
    matcher = Matcher.for_codes([wanted_of(code) for code in waiting])
    for code in waiting:
        proposals = matcher.propose(wanted_of(code))
        yield _cells(code, proposals[0] if proposals else None)


def _cells(code: UnmappedCode, proposal: Proposal | None) -> list[str]:
    kind = CodeType(code.code_type).label
    hint = [proposal.target.code, proposal.reason] if proposal else ["", ""]
    money = f"{code.money:.2f}"
    return [code.shop_code, str(kind), code.code, "", *hint, code.title, str(code.orders), money]


def as_workbook(*, shop_id: int = 0) -> bytes:
    return workbook("未匹配编码", COLUMNS, table(shop_id=shop_id))


def as_csv(*, shop_id: int = 0) -> bytes:
    return tables.as_csv(COLUMNS, table(shop_id=shop_id))


# --- in -------------------------------------------------------------------------------------------


def read(path: Path, dialect: Dialect) -> list[Row]:
    """Read a filled table. Raises as ``tables.table_of`` does."""
    header, body = tables.table_of(path, dialect, most=MOST_AT_ONCE)
    tables.need(header, NEEDED)
    at = {name: header.index(name) for name in (*NEEDED, TITLE) if name in header}
    found: list[Row] = []
    for number, cells in body:
        told = {name: cells[place] for name, place in at.items()}
        found.append(
            Row(
                number, told[SHOP].strip(), told[KIND].strip(), told[CODE], told[FILLED].strip(),
                told.get(TITLE, ""),
            )
        )  # fmt: skip
    return found


class _Catalog:
    """What the rows of one table may mean, read in four statements."""

    def __init__(self, rows: Collection[Row]) -> None:
        self.shops = dict(Shop.objects.filter(code__in={_kept(r.shop) for r in rows}).values_list(
            "code", "pk"))  # fmt: skip
        wanted = {_kept(row.target) for row in rows}
        self.skus = {code: (pk, active) for code, pk, active in Sku.objects.filter(
            code__in=wanted).values_list("code", "pk", "is_active")}  # fmt: skip
        self.bundles = dict(
            Bundle.objects.filter(code__in=wanted, bundle_parts__isnull=False)
            .distinct()
            .values_list("code", "pk")
        )
        self._hollow = set(Bundle.objects.filter(code__in=wanted).values_list("code", flat=True))
        self.listings = self._listings(rows)
        self._folded: dict[str, str] | None = None

    def _listings(
        self, rows: Collection[Row]
    ) -> dict[tuple[int, str, str], tuple[int, int | None, int | None, str]]:
        """(version, SKU, bundle, code of either) by (shop, type, code)."""
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT c.shop_id, c.code_type, c.code, c.version, c.sku_id, c.bundle_id, "
                "coalesce(s.code, b.code) FROM catalog_listing c "
                "LEFT JOIN catalog_sku s ON s.id = c.sku_id "
                "LEFT JOIN catalog_bundle b ON b.id = c.bundle_id "
                "WHERE c.shop_id = ANY(%s) AND c.code = ANY(%s)",
                [list(self.shops.values()), list({_kept(row.code) for row in rows})],
            )
            return {tuple(key): (version, sku, bundle, name)
                    for *key, version, sku, bundle, name in cursor.fetchall()}  # fmt: skip

    def target(self, code: str) -> tuple[int | None, int | None] | str:
        """(SKU, bundle) this code names, or why it names none."""
        sku, bundle = self.skus.get(code), self.bundles.get(code)
        if sku and code in self._hollow:
            return "货品与组合装都用这个编码，请在页面上选择"
        if sku and not sku[1]:
            return "货品已停用"
        if sku or bundle:
            return (sku[0] if sku else None, bundle)
        if code in self._hollow:
            return "组合装还没有组成"
        near = self._near(code)
        return f"没有这个货品编码；是否指 {near}" if near else "没有这个货品编码"

    def _near(self, code: str) -> str:
        if self._folded is None:
            codes = [*Sku.objects.filter(is_active=True).values_list("code", flat=True),
                     *Bundle.objects.values_list("code", flat=True)]  # fmt: skip
            self._folded = {fold(one): one for one in codes}
        return self._folded.get(fold(code), "")


def _kept(text: str) -> str:
    """What the database can be asked for."""
    return text.replace("\0", "")


@read_only()
def plan(rows: Sequence[Row]) -> Plan:
    """What these rows would do. Two rows that disagree about one code are both refused."""
    catalog = _Catalog(rows)
    planned = [_judge(row, catalog) for row in rows]
    return Plan(tuple(_without_disputes(planned)))


def _judge(row: Row, catalog: _Catalog) -> Planned:
    if not row.target:
        return Planned(row, Outcome.SKIPPED)
    kind, shop_id = _kind_of(row.kind), catalog.shops.get(row.shop, 0)
    target = catalog.target(row.target)
    problem = _problem(row, kind, shop_id) or (target if isinstance(target, str) else "")
    if problem or isinstance(target, str):
        return Planned(row, Outcome.REFUSED, problem)
    version, sku, bundle, was = catalog.listings.get((shop_id, kind, row.code), (0, None, None, ""))
    wish = Wish(shop_id, kind, row.code, *target, seen_version=version, title=row.title)
    if not version:
        return Planned(row, Outcome.NEW, wish=wish)
    outcome = Outcome.SAME if (sku, bundle) == target else Outcome.CHANGED
    return Planned(row, outcome, was=was, wish=wish)


def _problem(row: Row, kind: str, shop_id: int) -> str:
    """What is wrong with the code a row speaks of, in words; empty when nothing is."""
    if not shop_id:
        return f"没有店铺 {row.shop}" if row.shop else "没有填店铺编码"
    if not kind:
        return f"编码类型应为“{'”或“'.join(_labels())}”"
    return code_problem(kind, row.code)


def _kind_of(text: str) -> str:
    """The type of code a cell names, by its label or its own word."""
    return next((k.value for k in CodeType if text in {k.value, str(k.label)}), "")


def _labels() -> list[str]:
    return [str(kind.label) for kind in CodeType]


def _without_disputes(planned: Iterable[Planned]) -> Iterator[Planned]:
    rows = list(planned)
    told: Mapping[tuple[int, str, str], list[Planned]] = defaultdict(list)
    for one in rows:
        if one.wish:
            told[one.wish.key].append(one)
    for one in rows:
        same = told[one.wish.key] if one.wish else []
        if len({p.wish.target for p in same if p.wish}) > 1:
            others = "、".join(str(p.row.number) for p in same if p is not one)
            yield Planned(one.row, Outcome.REFUSED, f"与第 {others} 行对同一编码填了不同货品")
        elif same and one is not same[0]:
            yield Planned(one.row, Outcome.SAME, f"与第 {same[0].row.number} 行相同")
        else:
            yield one
