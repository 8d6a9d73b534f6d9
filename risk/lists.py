"""Named lists that rules ask: who or what stands on them, since when, until when, and why.

Nothing is ever deleted: who is taken off keeps his row, so that a verdict of last month can be
understood. An entry counts from ``added_at`` until it expires or is removed, that moment not
included. Whoever is listed again gets a row of his own.
"""

import csv
import io
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils.dateparse import parse_date, parse_datetime

from ordercenter.audit.models import Action
from ordercenter.audit.services import record
from ordercenter.core.actor import Actor
from ordercenter.core.clock import SHANGHAI
from ordercenter.core.clock import now as clock_now
from ordercenter.core.errors import InvalidInput, NotFound
from ordercenter.core.policy import Can, require
from risk.listing import LONGEST_VALUE, Listed, Reader, Unreadable
from risk.models import RuleList, RuleListEntry

RULE_LIST: Final = "rule_list"
MOST_ROWS: Final = 5_000
"""Rows taken in at once."""
LONGEST_REASON: Final = 500
_CODE: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,39}")
VALUE: Final = "值"
REASON: Final = "原因"
EXPIRES: Final = "到期"
COLUMNS: Final = (VALUE, REASON, EXPIRES)
SHIPPED: Final = (
    ("blacklist", "黑名单", RuleList.Kind.BLACK, RuleList.Key.PHONE),
    ("blacklist_freeze", "黑名单（冻结）", RuleList.Kind.BLACK, RuleList.Key.PHONE),
    ("restricted_regions", "限制地区", RuleList.Kind.OTHER, RuleList.Key.REGION),
    ("regional_limit_regions", "限购地区", RuleList.Kind.OTHER, RuleList.Key.REGION),
    ("no_service", "快递不可达地区", RuleList.Kind.OTHER, RuleList.Key.REGION),
    ("trusted", "信任买家", RuleList.Kind.TRUSTED, RuleList.Key.PHONE),
)
"""The lists the shipped rules ask: code, name, use, what they are of."""


@dataclass(frozen=True, slots=True)
class Told:
    """One row as it was handed in: a value as people type it."""

    value: str
    reason: str = ""
    expires_at: datetime | None = None
    number: int = 0
    """The row of the table or the line of the text it stood in."""


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that was not taken, by its number, and why."""

    number: int
    value: str
    words: str


@dataclass(frozen=True, slots=True)
class Added:
    """What became of the rows that were handed in."""

    added: int
    known: int
    """On the list already, with the same end."""
    bad: tuple[BadRow, ...] = ()


def standing(at: datetime) -> Q:
    """Entries that count at a moment."""
    return (
        Q(added_at__lte=at)
        & (Q(removed_at=None) | Q(removed_at__gt=at))
        & (Q(expires_at=None) | Q(expires_at__gt=at))
    )


def entries_of(code: str, *, at: datetime | None = None) -> QuerySet[RuleListEntry]:
    """Who is on a list now, or as of a moment; the newest first."""
    found = RuleListEntry.objects.filter(standing(at or clock_now()), rule_list__code=code)
    return found.order_by("-added_at", "-pk")


def on_list(code: str, values: Collection[str], at: datetime) -> frozenset[str]:
    """Those of these values that stand on a list at a moment; none where there is no list."""
    wanted = set(values) - {""}
    if not wanted:
        return frozenset()
    found = RuleListEntry.objects.filter(standing(at), rule_list__code=code, value__in=wanted)
    return frozenset(found.values_list("value", flat=True))


# --- keeping lists --------------------------------------------------------------------------------


@transaction.atomic
def ensure_lists() -> int:
    """See to it that the lists the shipped rules ask are there; return how many were made."""
    have = set(RuleList.objects.values_list("code", flat=True))
    rows = [RuleList(code=code, name=name, kind=kind, key=key)
            for code, name, kind, key in SHIPPED if code not in have]  # fmt: skip
    return len(RuleList.objects.bulk_create(rows, ignore_conflicts=True))


@transaction.atomic
def make_list(
    code: str,
    name: str,
    *,
    kind: str,
    key: str,
    user: AbstractBaseUser,
    note: str = "",
    actor: Actor | None = None,
) -> RuleList:
    """A new list for rules to ask. Its code and what it is of never change."""
    require(user, Can.EDIT_LISTS)
    if kind not in RuleList.Kind.values or key not in RuleList.Key.values:
        raise InvalidInput(what="请选择名单的用途和依据")
    name, note = _text(name, 60, "名称"), _text(note, 200, "说明", may_be_empty=True)
    if not _CODE.fullmatch(code):
        raise InvalidInput(what="名单编码须以字母开头，只含字母、数字、- 和 _，最多 40 个")
    made, is_new = RuleList.objects.get_or_create(
        code=code, defaults={"name": name, "kind": kind, "key": key, "note": note}
    )
    if not is_new:
        raise InvalidInput(what=f"已有名单 {code}")
    _keep(made, actor or Actor.person(user), {"code": [None, code], "key": [None, key]})
    return made


def add_entries(
    code: str,
    told: Iterable[Told],
    *,
    user: AbstractBaseUser,
    reason: str = "",
    expires_at: datetime | None = None,
    actor: Actor | None = None,
    now: datetime | None = None,
) -> Added:
    """Put these on a list; rows that cannot be read are returned by number, the others count.

    A row without reason or end takes the given one. Who is listed already and ends otherwise is
    listed anew, and the old entry ends. Raises InvalidInput for a list without rows or too many.
    """
    require(user, Can.EDIT_LISTS)
    rows = list(told)
    if not 1 <= len(rows) <= MOST_ROWS:
        raise InvalidInput(what=f"一次可加入 1 到 {MOST_ROWS} 条")
    now = now or clock_now()
    rule_list = list_of(code)
    read = Reader(rule_list.key, [row.value for row in rows])
    wanted: dict[str, tuple[Listed, Told]] = {}
    bad = []
    for row in rows:
        full = Told(row.value, (row.reason or reason).strip(), row.expires_at or expires_at,
                    row.number)  # fmt: skip
        try:
            listed = read.read(full.value)
            _check(full, now)
        except Unreadable as error:
            bad.append(BadRow(row.number, row.value.strip()[:40], str(error)))
            continue
        wanted[listed.value] = (listed, full)
    return _list(rule_list, wanted, bad, who=actor or Actor.person(user), now=now)


@transaction.atomic
def _list(
    rule_list: RuleList,
    wanted: Mapping[str, tuple[Listed, Told]],
    bad: Sequence[BadRow],
    *,
    who: Actor,
    now: datetime,
) -> Added:
    """Write what was read. One list is written by one at a time."""
    RuleList.objects.select_for_update(no_key=True).get(pk=rule_list.pk)
    there = {
        entry.value: entry
        for entry in RuleListEntry.objects.filter(
            rule_list=rule_list, value__in=wanted, removed_at=None
        )
    }
    same = {
        value for value, entry in there.items()
        if (entry.expires_at is None or entry.expires_at > now)
        and entry.expires_at == wanted[value][1].expires_at
    }  # fmt: skip
    over = [entry for value, entry in there.items() if value not in same]
    for entry in over:
        ended = entry.expires_at is not None and entry.expires_at <= now
        entry.removed_at = entry.expires_at if ended else now
        entry.removed_by = "到期" if ended else who.name[:64]
    RuleListEntry.objects.bulk_update(over, ["removed_at", "removed_by"], batch_size=1000)
    made = RuleListEntry.objects.bulk_create(
        [
            RuleListEntry(
                rule_list=rule_list, value=listed.value, shown=listed.shown[:100],
                reason=told.reason, added_by=who.name[:64], added_at=now,
                expires_at=told.expires_at,
            )
            for value, (listed, told) in wanted.items()
            if value not in same
        ],
        batch_size=1000,
    )  # fmt: skip
    if made:
        _keep(rule_list, who, {"added": [entry.pk for entry in made[:100]], "count": len(made)})
    return Added(len(made), len(same), tuple(bad))


@transaction.atomic
def take_over(
    told: Mapping[str, Any], *, user: AbstractBaseUser, actor: Actor | None = None
) -> Added:
    """Make a list of another installation be here, with the entries it was told with.

    Entries are stored as they are told: keys mean the same only under the same index key. Who is
    on the list here stays on it. Raises InvalidInput for what is no list, or one of another kind.
    """
    require(user, Can.EDIT_LISTS)
    code, now = str(told.get("code", "")), clock_now()
    there = RuleList.objects.filter(code=code).first()
    if there is None:
        there = make_list(
            code, str(told.get("name", "")), kind=str(told.get("kind", "")),
            key=str(told.get("key", "")), note=str(told.get("note", "")), user=user, actor=actor,
        )  # fmt: skip
    if there.key != told.get("key"):
        raise InvalidInput(what=f"名单 {code} 在这里按{RuleList.Key(there.key).label}，不能合并")
    entries = told.get("entries") or []
    if not isinstance(entries, list):
        raise InvalidInput(what=f"名单 {code} 的条目应为列表")
    wanted = {listed.value: (listed, full) for listed, full in map(_told_entry, entries)
              if full.expires_at is None or full.expires_at > now}  # fmt: skip
    return _list(there, wanted, (), who=actor or Actor.person(user), now=now)


def _told_entry(entry: Any) -> tuple[Listed, Told]:
    if not isinstance(entry, Mapping) or not isinstance(entry.get("value"), str):
        raise InvalidInput(what="名单条目的写法不认识")
    value, shown = entry["value"], str(entry.get("shown") or "")
    reason, ends = str(entry.get("reason") or "导入"), entry.get("expires_at")
    if not value or max(len(value), len(shown)) > LONGEST_VALUE or "\0" in value + shown + reason:
        raise InvalidInput(what="名单条目太长或含有无法保存的字符")
    expires_at = read_end(str(ends)) if ends else None
    if expires_at == NO_DATE:
        raise InvalidInput(what="名单条目的到期时间看不懂")
    return Listed(value, shown or value), Told(value, reason[:LONGEST_REASON], expires_at)


@transaction.atomic
def remove_entry(
    pk: int,
    *,
    user: AbstractBaseUser,
    reason: str,
    actor: Actor | None = None,
    now: datetime | None = None,
) -> RuleListEntry:
    """Take somebody off a list from now on; what was, stays. A second time changes nothing."""
    require(user, Can.EDIT_LISTS)
    reason = _text(reason, LONGEST_REASON, "原因")
    entry = RuleListEntry.objects.select_for_update(no_key=True).filter(pk=pk).first()
    if entry is None:
        raise NotFound(what=f"名单条目 {pk}")
    if entry.removed_at is not None:
        return entry
    who = actor or Actor.person(user)
    entry.removed_at, entry.removed_by = now or clock_now(), who.name[:64]
    entry.save(update_fields=["removed_at", "removed_by"])
    _keep(entry.rule_list, who, {"removed": [entry.pk], "count": 1}, reason)
    return entry


def list_of(code: str) -> RuleList:
    """Raises NotFound."""
    found = RuleList.objects.filter(code=code).first()
    if found is None:
        raise NotFound(what=f"名单 {code[:40]}")
    return found


# --- rows people hand in --------------------------------------------------------------------------


def pasted(text: str) -> list[Told]:
    """The lines of a text: a value, and behind a comma or a tab its reason and its end.

    Empty lines are none; a heading of ``COLUMNS`` is none. Raises InvalidInput with the line.
    """
    if "\0" in text:
        raise InvalidInput(what="粘贴的内容含有无法保存的字符")
    delimiter = "\t" if "\t" in text else ","
    plain = text if delimiter == "\t" else text.replace("，", ",")
    rows = csv.reader(io.StringIO(plain), delimiter=delimiter)
    numbered = [(rows.line_num, row) for row in rows if any(cell.strip() for cell in row)]
    if numbered and numbered[0][1][0].strip() == VALUE:
        del numbered[0]
    return list(from_table(COLUMNS, ((n, [*row, "", ""][: len(COLUMNS)]) for n, row in numbered)))


def from_table(header: Sequence[str], body: Iterable[tuple[int, Sequence[str]]]) -> Iterator[Told]:
    """Rows of a table with a column ``值`` and perhaps ``原因`` and ``到期``, by their numbers.

    An end that cannot be read makes its row a bad one, told by ``add_entries`` like any other.
    """
    if VALUE not in header:
        raise InvalidInput(what=f"表头缺少列：{VALUE}")
    places = {name: header.index(name) for name in COLUMNS if name in header}
    for number, cells in body:
        told = {name: cells[place].strip() for name, place in places.items()}
        ends = told.get(EXPIRES, "")
        yield Told(told[VALUE], told.get(REASON, ""), read_end(ends) if ends else None, number)


NO_DATE: Final = datetime.min.replace(tzinfo=SHANGHAI)
"""Stands for an end that could not be read."""


def read_end(text: str) -> datetime:
    """The end of a day in Shanghai (``2026-12-31``), or a moment; ``NO_DATE`` for neither."""
    plain = text.strip().replace("/", "-")
    try:
        day, moment = parse_date(plain), parse_datetime(plain)
    except ValueError:
        return NO_DATE
    if day is not None:
        start = datetime(day.year, day.month, day.day, tzinfo=SHANGHAI)
        return start + timedelta(days=1)
    if moment is None:
        return NO_DATE
    return moment if moment.tzinfo else moment.replace(tzinfo=SHANGHAI)


def _check(row: Told, now: datetime) -> None:
    if row.expires_at == NO_DATE:
        raise Unreadable("到期时间看不懂，请写成 2026-12-31")
    if row.expires_at is not None and row.expires_at <= now:
        raise Unreadable("到期时间已过")
    if not row.reason:
        raise Unreadable("没有填原因")
    if len(row.reason) > LONGEST_REASON or "\0" in row.reason:
        raise Unreadable(f"原因最多 {LONGEST_REASON} 个字")


def _text(text: str, longest: int, what: str, *, may_be_empty: bool = False) -> str:
    text = text.strip()
    if len(text) > longest or "\0" in text or not (text or may_be_empty):
        raise InvalidInput(what=f"请填写{what}，最多 {longest} 个字")
    return text


def _keep(rule_list: RuleList, who: Actor, change: Mapping[str, Any], reason: str = "") -> None:
    """Put on record what was done; entries by their keys, never by what they are of."""
    record(
        Action.LIST_CHANGED, object_type=RULE_LIST, object_id=rule_list.pk, actor=who,
        change={"list": rule_list.code, **change}, reason=reason,
    )  # fmt: skip
