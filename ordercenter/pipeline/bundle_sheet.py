"""Bundles by spreadsheet: one row a part. A table names a bundle with all its parts."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from django.contrib.auth.models import AbstractBaseUser
from django.db import connection, transaction

from channels_sync.sheets.xlsx_writing import Column
from ordercenter.audit.models import Action
from ordercenter.audit.services import Entry, record_many
from ordercenter.catalog.models import Bundle, Sku
from ordercenter.core.actor import Actor
from ordercenter.core.errors import InvalidInput
from ordercenter.core.policy import Can, require
from ordercenter.core.readonly import read_only
from ordercenter.pipeline import recoding
from ordercenter.pipeline.bundles import (
    MOST_PARTS,
    MOST_PIECES,
    Made,
    Recipe,
    StaleBundle,
    parts_of,
    write_parts,
)
from ordercenter.pipeline.goods import GOODS_LOCK
from ordercenter.pipeline.goods_sheet import (
    MOST_ROWS,
    REASON,
    Change,
    Plan,
    Planned,
    code_problem,
    keep_export,
)
from ordercenter.pipeline.mapping_sheet import Outcome
from ordercenter.pipeline.rereading import Changed

BUNDLE: Final = "组合编码"
NAME: Final = "组合名称"
SKU: Final = "货品编码"
PIECES: Final = "数量"
NEEDED: Final = (BUNDLE, SKU, PIECES)
COLUMNS: Final = (Column(BUNDLE, 18), Column(NAME, 30), Column(SKU, 18), Column(PIECES, 8))
LONGEST_NAME: Final = 120


@dataclass(slots=True)
class _Told:
    """What a table says of one bundle."""

    number: int
    code: str
    name: str = ""
    parts: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


@transaction.atomic
def export(*, user: AbstractBaseUser, actor: Actor) -> list[list[str]]:
    """All bundles, a row for each part, in one snapshot and on record. Right: EDIT_MAPPING."""
    require(user, Can.EDIT_MAPPING)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT b.code, b.name, coalesce(s.code, ''), coalesce(p.quantity::text, '') "
            "FROM catalog_bundle b LEFT JOIN catalog_bundlepart p ON p.bundle_id = b.id "
            "LEFT JOIN catalog_sku s ON s.id = p.sku_id ORDER BY b.code, s.code"
        )
        rows = [list(row) for row in cursor.fetchall()]
    keep_export("bundles", len(rows), actor=actor)
    return rows


@read_only()
def plan(header: Sequence[str], body: Iterable[tuple[int, list[str]]]) -> Plan:
    """What these rows would do, bundle by bundle; its number is that of its first row."""
    at = {name: header.index(name) for name in (*NEEDED, NAME) if name in header}
    told: dict[str, _Told] = {}
    for number, cells in body:
        row = {name: cells[place].strip() for name, place in at.items()}
        _gather(told.setdefault(row[BUNDLE], _Told(number, row[BUNDLE])), number, row)
    known = _Known(told)
    return Plan(tuple(_judge(one, known) for one in told.values()))


class _Known:
    """What the rows of one table may speak of."""

    def __init__(self, told: Mapping[str, _Told]) -> None:
        codes = {code.replace("\0", "") for code in told}
        named = {sku.replace("\0", "") for one in told.values() for sku in one.parts} | codes
        self.bundles = {b.code: b for b in Bundle.objects.filter(code__in=codes)}
        self.skus = dict(Sku.objects.filter(code__in=named).values_list("code", "pk"))
        nested = Bundle.objects.filter(code__in=named)
        self.nested = set(nested.values_list("code", flat=True))
        self.parts = parts_of([bundle.pk for bundle in self.bundles.values()])
        wanted = {sku for parts in self.parts.values() for sku in parts} | set(self.skus.values())
        self.codes = dict(Sku.objects.filter(pk__in=wanted).values_list("pk", "code"))

    def words(self, parts: Mapping[int, int]) -> str:
        told = sorted((self.codes[sku], pieces) for sku, pieces in parts.items())
        return "、".join(f"{code} × {pieces}" for code, pieces in told)


def _gather(one: _Told, number: int, row: Mapping[str, str]) -> None:
    name, sku = row.get(NAME, ""), row[SKU]
    if name and one.name and name != one.name:
        one.problems.append(f"第 {number} 行的组合名称与前面不同")
    one.name = one.name or name
    if not sku:
        one.problems.append(f"第 {number} 行没有填货品编码")
    elif sku in one.parts:
        one.problems.append(f"第 {number} 行的货品 {sku} 在这个组合装里出现了两次")
    else:
        one.parts[sku] = row[PIECES]
    pieces = row[PIECES]
    whole = pieces.isascii() and pieces.isdigit() and len(pieces) <= len(str(MOST_PIECES))
    if not whole or not 1 <= int(pieces) <= MOST_PIECES:
        one.problems.append(f"第 {number} 行的数量应为 1 到 {MOST_PIECES} 的整数")


def _judge(one: _Told, known: _Known) -> Planned:
    bundle = known.bundles.get(one.code)
    if problems := [*one.problems, *_problems(one, known, is_new=bundle is None)]:
        return Planned(one.number, one.code, Outcome.REFUSED, "；".join(problems))
    parts = {known.skus[sku]: int(pieces) for sku, pieces in one.parts.items()}
    seen = dict(known.parts[bundle.pk]) if bundle else {}
    names = (bundle.name, one.name or bundle.name) if bundle else ("", one.name)
    changes = [
        Change(name, label, before, after)
        for name, label, before, after in (
            ("name", NAME, *names),
            ("parts", "组成", known.words(seen), known.words(parts)),
        )
        if before != after
    ]
    if not changes:
        return Planned(one.number, one.code, Outcome.SAME)
    outcome = Outcome.CHANGED if bundle else Outcome.NEW
    told = [bundle.pk if bundle else None, one.code, list(names), sorted(seen.items()),
            list(parts.items())]  # fmt: skip
    return Planned(one.number, one.code, outcome, "", tuple(changes), told)


def _problems(one: _Told, known: _Known, *, is_new: bool) -> Iterator[str]:
    """Why there can be no such bundle, in words."""
    if problem := code_problem(one.code, what=BUNDLE):
        yield problem
    if one.code in one.parts:
        yield "组合装不能包含它自己"
    elif is_new and one.code in known.skus:
        yield "已有货品用这个编码，一个编码只能指一样东西"
    for sku in one.parts:
        if sku != one.code and sku in known.nested:
            yield f"{sku} 是组合装，组合装里不能再放组合装"
        elif sku != one.code and sku not in known.skus:
            yield f"没有货品 {sku}"
    if is_new and not one.name:
        yield "没有填组合名称"
    if len(one.name) > LONGEST_NAME or "\0" in one.name:
        yield f"组合名称最多 {LONGEST_NAME} 个字，且不能含无法保存的字符"
    if len(one.parts) > MOST_PARTS:
        yield f"组合装至多 {MOST_PARTS} 种货品"


def concerned(told: Sequence[Any]) -> Changed:
    """The bundles a plan changes, and how, for a look at the open orders."""
    parts = {row[0]: {sku: pieces for sku, pieces in row[4]} for row in told if row[0]}  # noqa: C416 - pairs of a list
    return Changed(bundles=list(parts), parts=parts)


def apply(
    told: Sequence[Any], *, user: AbstractBaseUser, actor: Actor, recode: bool = False
) -> tuple[int, Made]:
    """Do what a plan told, all of it or nothing; return (made, changed). Right: EDIT_MAPPING.

    Raises StaleBundle when something is no longer as it was seen.
    """
    require(user, Can.EDIT_MAPPING)
    if not 1 <= len(told) <= MOST_ROWS:
        raise InvalidInput(what=f"一次可处理 1 到 {MOST_ROWS} 个组合装")
    fresh = [row for row in told if row[0] is None]
    changed = _write(told, fresh, actor=actor)
    made = Made(changed)
    if recode:
        what = concerned(told)
        again = recoding.recode(what, user=user, actor=actor, reason=REASON)
        made = Made(changed, again)
    return len(fresh), made


@transaction.atomic
def _write(told: Sequence[Any], fresh: Sequence[Any], *, actor: Actor) -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [GOODS_LOCK])
    codes = [row[1] for row in fresh]
    taken = {*Bundle.objects.filter(code__in=codes).values_list("code", flat=True),
             *Sku.objects.filter(code__in=codes).values_list("code", flat=True)}  # fmt: skip
    if taken:
        raise StaleBundle(code="、".join(sorted(taken)[:3]))
    made = Bundle.objects.bulk_create(Bundle(code=row[1], name=row[2][1]) for row in fresh)
    ids = {bundle.code: bundle.pk for bundle in made}
    entries = [
        Entry(Action.CATALOG_CHANGED, "bundle", ids[row[1]],
              {"code": [None, row[1]], "name": [None, row[2][1]]}, REASON)
        for row in fresh
    ]  # fmt: skip
    old = [row for row in told if row[0] is not None]
    entries += _rename([row for row in old if row[2][0] != row[2][1]])
    record_many(entries, actor=actor)
    write_parts(
        [Recipe(row[0] or ids[row[1]], dict(row[4]), dict(row[3])) for row in told],
        actor=actor, reason=REASON,
    )  # fmt: skip
    return len(old)


def _rename(rows: Sequence[Any]) -> list[Entry]:
    renamed = []
    for bundle in Bundle.objects.select_for_update(no_key=True).filter(
        pk__in=[row[0] for row in rows]
    ).order_by("pk"):  # fmt: skip
        before, after = next(row[2] for row in rows if row[0] == bundle.pk)
        if bundle.name != before:
            raise StaleBundle(code=bundle.code)
        bundle.name = after
        renamed.append(Entry(Action.CATALOG_CHANGED, "bundle", bundle.pk,
                             {"name": [before, after]}, REASON))  # fmt: skip
    Bundle.objects.bulk_update(
        [Bundle(pk=row[0], name=row[2][1]) for row in rows], ["name"], batch_size=500
    )
    return renamed
