"""SKUs by spreadsheet: all there are as a table, what a table would change, and changing it.

What is applied is what was seen: a SKU changed in between refuses all of it. A column that is not
there is not touched; an empty cell says that the thing is empty.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from django.contrib.auth.models import AbstractBaseUser
from django.db import connection, transaction
from django.utils.translation import gettext_lazy as _

from channels_sync.sheets.xlsx_writing import Column
from ordercenter.audit.models import Action
from ordercenter.audit.services import Entry, record_many
from ordercenter.catalog.models import Bundle, BundlePart, Sku, SkuPrice
from ordercenter.core.actor import Actor
from ordercenter.core.bulk import update_rows
from ordercenter.core.errors import InvalidInput, OrderCenterError
from ordercenter.core.live import announce
from ordercenter.core.policy import Can, require
from ordercenter.core.readonly import read_only
from ordercenter.pipeline.goods import GOODS_LOCK
from ordercenter.pipeline.goods_fields import BY_LABEL, BY_NAME, CODE, DEFAULTS, FIELDS, PRICES
from ordercenter.pipeline.mapping_sheet import Outcome

MOST_ROWS: Final = 5_000
LONGEST_CODE: Final = 40
REASON: Final = "表格导入"
COLUMNS: Final = (Column(CODE, 18), *(Column(field.label, field.width) for field in FIELDS))
_TYPES: Final = {
    "base_price": "numeric", "cost": "numeric", "weight_grams": "int", "is_gift": "boolean",
    "is_active": "boolean",
}  # fmt: skip
_WRITTEN: Final = tuple(field.name for field in FIELDS if field.name != PRICES)
# One statement is one snapshot: what is exported belongs together (BF20).
_ALL: Final = """
    SELECT s.id, s.code, s.name, s.category, s.base_price, s.currency, s.cost, s.weight_grams,
           s.size_class, s.barcode, s.color_name, s.color_hex, s.picture, s.is_gift, s.is_active,
           p.starts_at, p.ends_at, p.base_price, p.reason
    FROM catalog_sku s LEFT JOIN catalog_skuprice p ON p.sku_id = s.id
    WHERE %(all)s OR s.code = ANY(%(codes)s) ORDER BY s.code, p.starts_at
"""


class StaleGoods(OrderCenterError):
    code = "stale_goods"
    message = _("“%(codes)s”在预览之后被他人改动，请重新上传表格")


@dataclass(frozen=True, slots=True)
class Shown:
    """A SKU as a table shows it: texts by the model's names."""

    id: int
    code: str
    cells: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Change:
    """One field, before and after, as texts."""

    name: str
    label: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Planned:
    """What one row would do."""

    number: int
    code: str
    outcome: Outcome
    words: str = ""
    changes: tuple[Change, ...] = ()
    told: Any = None
    """What a form carries of it, in plain values."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a whole table would do."""

    rows: tuple[Planned, ...]

    def having(self, outcome: Outcome) -> list[Planned]:
        return [planned for planned in self.rows if planned.outcome == outcome]

    @property
    def told(self) -> list[Any]:
        """What is to be made or changed."""
        return [p.told for p in self.rows if p.outcome in {Outcome.NEW, Outcome.CHANGED}]


def shown(codes: Collection[str] | None = None) -> list[Shown]:
    """These SKUs, or all, with their dated prices; in one statement."""
    with connection.cursor() as cursor:
        cursor.execute(_ALL, {"all": codes is None, "codes": list(codes or ())})
        rows = cursor.fetchall()
    found: dict[int, tuple[str, dict[str, Any]]] = {}
    for row in rows:
        pk, code, *values = row[:15]
        _code, cells = found.setdefault(
            pk, (code, {**dict(zip(_WRITTEN, values, strict=True)), PRICES: []})
        )
        starts_at, ends_at, price, reason = row[15:]
        if starts_at is not None:
            cells[PRICES].append((starts_at, ends_at, price, reason))
    return [
        Shown(pk, code, {field.name: field.show(cells[field.name]) for field in FIELDS})
        for pk, (code, cells) in found.items()
    ]


@transaction.atomic
def export(*, user: AbstractBaseUser, actor: Actor) -> list[list[str]]:
    """All SKUs as rows under ``COLUMNS``; that they were handed out is on record.

    Right: EDIT_MAPPING.
    """
    require(user, Can.EDIT_MAPPING)
    rows = [[one.code, *(one.cells[field.name] for field in FIELDS)] for one in shown()]
    keep_export("skus", len(rows), actor=actor)
    return rows


def keep_export(what: str, rows: int, *, actor: Actor) -> None:
    """Put on record that so many rows were handed out."""
    entry = Entry(Action.CATALOG_EXPORTED, what, 0, {"rows": [None, rows]})
    record_many([entry], actor=actor)


@read_only()
def plan(header: Sequence[str], body: Iterable[tuple[int, list[str]]]) -> Plan:
    """What these rows would do. Rows that disagree about one SKU are all refused."""
    places = {name: at for at, name in enumerate(header) if name in BY_LABEL}
    at = header.index(CODE)
    rows = [
        (number, cells[at].strip(), {name: cells[place].strip() for name, place in places.items()})
        for number, cells in body
    ]
    codes = {code.replace("\0", "") for _, code, _ in rows}
    known = _Known(codes)
    told = [_judge(number, code, cells, known) for number, code, cells in rows]
    return Plan(tuple(_without_twins(told)))


class _Known:
    """What the rows of one table may speak of, in three statements."""

    def __init__(self, codes: Collection[str]) -> None:
        self.there = {one.code: one for one in shown(codes)}
        bundles = Bundle.objects.filter(code__in=codes)
        self.bundles = set(bundles.values_list("code", flat=True))
        parts = BundlePart.objects.filter(sku__code__in=codes)
        self.used = Counter(parts.values_list("sku__code", flat=True))
        """In how many bundles each SKU is."""


def code_problem(code: str, *, what: str = "货品编码") -> str:
    """Why nothing can go by this code, in words; empty when it can."""
    if not code:
        return f"没有填{what}"
    if len(code) > LONGEST_CODE:
        return f"{what}最多 {LONGEST_CODE} 个字"
    return f"{what}含有无法保存的字符" if "\0" in code else ""


def _judge(number: int, code: str, cells: Mapping[str, str], known: _Known) -> Planned:
    there = known.there.get(code)
    problem = code_problem(code)
    if there is None and code in known.bundles:
        problem = "已有组合装用这个编码，一个编码只能指一样东西"
    if problem:
        return Planned(number, code, Outcome.REFUSED, problem)
    changes, problems = _compared(cells, there)
    if problems:
        return Planned(number, code, Outcome.REFUSED, "；".join(problems))
    if not changes:
        return Planned(number, code, Outcome.SAME)
    outcome = Outcome.CHANGED if there else Outcome.NEW
    told = [there.id if there else None, code, {c.name: [c.before, c.after] for c in changes}]
    ends = any(c.name == "is_active" and c.after != DEFAULTS["is_active"] for c in changes)
    used = known.used[code] if ends else 0
    words = f"用在 {used} 个组合装里，停用后这些组合装的新订单会挂起" if used else ""
    return Planned(number, code, outcome, words, tuple(changes), told)


def _compared(cells: Mapping[str, str], there: Shown | None) -> tuple[list[Change], list[str]]:
    """(what a row changes field by field, what is wrong with it)."""
    wanted: dict[str, str] = {} if there else dict(DEFAULTS)
    wanted |= {BY_LABEL[label].name: cell for label, cell in cells.items() if there or cell}
    if there is None:
        wanted = {"name": "", "base_price": ""} | wanted
    changes, problems = [], []
    for name, cell in wanted.items():
        field = BY_NAME[name]
        try:
            after = field.show(field.read(cell))
        except ValueError as error:
            problems.append(f"{field.label}：{error}")
            continue
        before = there.cells[name] if there else ""
        if before != after or there is None:
            changes.append(Change(name, field.label, before, after))
    return changes, problems


def _without_twins(rows: Sequence[Planned]) -> Iterable[Planned]:
    """Rows of one code: the same said twice counts once, two that disagree count for nothing."""
    by_code: dict[str, list[Planned]] = {}
    for one in rows:
        by_code.setdefault(one.code, []).append(one)
    for one in rows:
        twins = by_code[one.code]
        if len(twins) == 1 or one.outcome == Outcome.REFUSED:
            yield one
        elif any((t.outcome, t.changes) != (one.outcome, one.changes) for t in twins):
            others = "、".join(str(t.number) for t in twins if t is not one)
            yield Planned(one.number, one.code, Outcome.REFUSED, f"与第 {others} 行说法不一")
        elif one is not twins[0]:
            yield Planned(one.number, one.code, Outcome.SAME, f"与第 {twins[0].number} 行相同")
        else:
            yield one


@transaction.atomic
def apply(told: Sequence[Any], *, user: AbstractBaseUser, actor: Actor) -> tuple[int, int]:
    """Do what a plan told, all of it or nothing; return (made, changed). Right: EDIT_MAPPING.

    Raises StaleGoods when something is no longer as it was seen.
    """
    require(user, Can.EDIT_MAPPING)
    if not 1 <= len(told) <= MOST_ROWS:
        raise InvalidInput(what=f"一次可处理 1 到 {MOST_ROWS} 行")
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [GOODS_LOCK])
    codes = [code for _, code, _ in told]
    list(Sku.objects.select_for_update(no_key=True).filter(code__in=codes).order_by("pk")
         .values_list("pk", flat=True))  # fmt: skip
    there = {one.code: one for one in shown(codes)}
    taken = set(Bundle.objects.filter(code__in=codes).values_list("code", flat=True))
    stale = [row[1] for row in told if _is_stale(row, there.get(row[1]), row[1] in taken)]
    if stale:
        raise StaleGoods(codes="、".join(stale[:3]) + ("等" if len(stale) > 3 else ""))  # noqa: PLR2004
    fresh = [row for row in told if row[0] is None]
    made = dict(zip((row[1] for row in fresh), _insert(fresh), strict=True))
    old = [row for row in told if row[0] is not None]
    _update(old, there)
    ids = {code: one.id for code, one in there.items()} | made
    _write_prices([(ids[code], changes[PRICES][1]) for _, code, changes in told
                   if PRICES in changes])  # fmt: skip
    record_many(
        [
            Entry(Action.CATALOG_CHANGED, "sku", ids[code],
                  changes if pk else {"code": [None, code], **changes}, REASON)
            for pk, code, changes in told
        ],
        actor=actor,
    )  # fmt: skip
    announce("orders", skus=len(told))
    return len(fresh), len(old)


def _is_stale(row: Sequence[Any], there: Shown | None, is_bundle: bool) -> bool:
    pk, _, changes = row
    if pk is None:
        return there is not None or is_bundle
    if there is None or there.id != pk:
        return True
    return any(there.cells[name] != before for name, (before, _after) in changes.items())


def _insert(rows: Sequence[Any]) -> list[int]:
    skus = [
        Sku(code=code, **{name: BY_NAME[name].read(after)
                          for name, (_, after) in changes.items() if name != PRICES})
        for _, code, changes in rows
    ]  # fmt: skip
    return [sku.pk for sku in Sku.objects.bulk_create(skus, batch_size=1000)]


def _update(rows: Sequence[Any], there: Mapping[str, Shown]) -> None:
    """Whole rows: they are locked, and what is not to be changed is written as it stands."""
    values = []
    for pk, code, changes in rows:
        cells = {**there[code].cells, **{name: after for name, (_, after) in changes.items()}}
        values.append((pk, *(BY_NAME[name].read(cells[name]) for name in _WRITTEN)))
    update_rows(
        "catalog_sku",
        [("id", "bigint"), *((name, _TYPES.get(name, "text")) for name in _WRITTEN)],
        values,
    )


def _write_prices(rows: Sequence[tuple[int, str]]) -> None:
    """The dated prices of these SKUs, in place of those there are."""
    SkuPrice.objects.filter(sku__in=[pk for pk, _ in rows]).delete()
    read: list[tuple[int, tuple[datetime, datetime | None, Decimal, str]]] = [
        (pk, price) for pk, cell in rows for price in BY_NAME[PRICES].read(cell)
    ]
    SkuPrice.objects.bulk_create(
        [
            SkuPrice(sku_id=pk, starts_at=starts, ends_at=ends, base_price=price, reason=reason)
            for pk, (starts, ends, price, reason) in read
        ],
        batch_size=1000,
    )
