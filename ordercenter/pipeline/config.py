"""The configuration as one JSON document, and what such a document would change here.

Rules come in as a draft, which goes live like any other. Everything else is written as it is
told, by rows, with the rights of whoever imports it. Rows this installation has and the document
has not are left alone. Lists of persons are told by keyed indexes, and only when asked for: they
mean something only where ``ORDERCENTER_INDEX_KEY`` is the same.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction

from channels_sync import field_maps
from channels_sync.models import FieldMap
from ordercenter.audit.services import record
from ordercenter.catalog.models import Bundle, Listing, Shop, Sku
from ordercenter.core.actor import Actor
from ordercenter.core.clock import now as clock_now
from ordercenter.core.errors import InvalidInput, OrderCenterError
from ordercenter.core.policy import Can, require
from ordercenter.core.readonly import read_only
from ordercenter.pipeline import mapping
from ordercenter.pipeline.config_tables import BY_NAME, Key, Table
from ordercenter.pipeline.publishing import telling_stock
from ordercenter.pipeline.unmapped import Wish
from risk import lists, sets
from risk.gate import live_rules
from risk.listing import OF_ORDERS
from risk.models import RuleList, RuleListEntry

FORMAT: Final = "ordercenter-config"
REASON: Final = "导入配置"
RULES: Final = "rules"
LISTS: Final = "lists"
FIELD_MAPS: Final = "field_maps"
LISTINGS: Final = "listings"
SECTIONS: Final = (RULES, LISTS, FIELD_MAPS, LISTINGS, *BY_NAME)
PERSONS: Final = frozenset(key.value for key in OF_ORDERS)
"""Kinds of lists that name somebody."""
AT_ONCE: Final = 1_000


@dataclass
class Section:
    """What one part of a document would change, by the keys of its rows."""

    added: list[str] = field(default_factory=list)
    changed: dict[str, dict[str, list[Any]]] = field(default_factory=dict)
    """``{key: {field: [before, after]}}``."""
    same: int = 0
    only_here: int = 0
    refused: dict[str, str] = field(default_factory=dict)
    """Rows that cannot be taken, and why."""

    @property
    def changes(self) -> int:
        return len(self.added) + len(self.changed)


def collect(*, with_persons: bool = False, sections: Sequence[str] = SECTIONS) -> dict[str, Any]:
    """The document. Receivers and secrets are never in it; keys of persons only when asked for."""
    readers = {RULES: _rules, FIELD_MAPS: _field_maps, LISTINGS: _listings}
    document: dict[str, Any] = {"format": FORMAT, "format_version": 1}
    with read_only():
        for name in sections:
            if name == LISTS:
                document[name] = _lists(with_persons=with_persons)
            elif name in readers:
                document[name] = readers[name]()
            else:
                document[name] = list(_table(name).read().values())
    return document


def _rules() -> dict[str, Any]:
    return sets.export_set(live_rules()[0])


def _lists(*, with_persons: bool) -> list[dict[str, Any]]:
    entries: dict[int, list[dict[str, Any]]] = {}
    for one in RuleListEntry.objects.filter(lists.standing(clock_now())).order_by("pk"):
        ends = one.expires_at.isoformat() if one.expires_at else None
        entries.setdefault(one.rule_list_id, []).append(
            {"value": one.value, "shown": one.shown, "reason": one.reason, "expires_at": ends}
        )
    found = []
    for row in RuleList.objects.order_by("code"):
        told: dict[str, Any] = {
            name: getattr(row, name) for name in ("code", "name", "kind", "key", "note")
        }
        if with_persons or row.key not in PERSONS:
            told["entries"] = entries.get(row.pk, [])
        found.append(told)
    return found


def _field_maps() -> list[dict[str, Any]]:
    rows = FieldMap.objects.filter(is_live=True).select_related("shop").order_by("channel", "pk")
    return [
        {"channel": row.channel, "shop": row.shop.code if row.shop else None,
         "mapping": row.mapping, "note": row.note}
        for row in rows
    ]  # fmt: skip


def _listings() -> list[dict[str, Any]]:
    rows = Listing.objects.order_by("shop__code", "code_type", "code").values_list(
        "shop__code", "code_type", "code", "sku__code", "bundle__code", "title"
    )
    names = ("shop", "code_type", "code", "sku", "bundle", "title")
    return [dict(zip(names, row, strict=True)) for row in rows]


def _table(name: str) -> Table:
    if name not in BY_NAME:
        raise InvalidInput(what=f"没有配置项 {name[:40]}；可用：{'、'.join(SECTIONS)}")
    return BY_NAME[name]


# --- what a document would change -----------------------------------------------------------------


def plan(document: Any) -> dict[str, Section]:
    """What would change here, section by section; changes nothing. Raises InvalidInput."""
    told = _checked(document)
    found: dict[str, Section] = {}
    with read_only():
        for name in (one for one in SECTIONS if one in told):
            if name == RULES:
                found[name] = _plan_rules(told[name])
            else:
                here = _here(name)
                found[name] = _compared(here, _keyed(name, told[name]))
    return found


def _checked(document: Any) -> Mapping[str, Any]:
    if not isinstance(document, Mapping) or document.get("format") != FORMAT:
        raise InvalidInput(what="这不是配置的导出文件")
    if document.get("format_version") != 1:
        raise InvalidInput(what="配置文件的版本不认识，请用同一版本的程序导出")
    if unknown := sorted(set(document) - {"format", "format_version", *SECTIONS}):
        raise InvalidInput(what=f"没有配置项 {unknown[0][:40]}；可用：{'、'.join(SECTIONS)}")
    for name in SECTIONS:
        if name in document and name != RULES and not isinstance(document[name], list):
            raise InvalidInput(what=f"配置项 {name} 应为列表")
    return document


def _plan_rules(told: Any) -> Section:
    difference = sets.plan_import(told)
    return Section(
        added=[one.code for one in difference.added],
        changed={
            one.code: {
                name: [(one.before or {}).get(name), (one.after or {}).get(name)]
                for name in one.fields
            }
            for one in difference.changed
        },
        same=difference.same,
        only_here=len(difference.removed),
    )


_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    LISTS: ("code",), FIELD_MAPS: ("channel", "shop"), LISTINGS: ("shop", "code_type", "code"),
}  # fmt: skip


def _here(name: str) -> dict[Key, dict[str, Any]]:
    if name in BY_NAME:
        return BY_NAME[name].read()
    rows = {LISTS: lambda: _lists(with_persons=True), FIELD_MAPS: _field_maps,
            LISTINGS: _listings}[name]()  # fmt: skip
    return _keyed(name, rows)


def _keyed(name: str, rows: Sequence[Any]) -> dict[Key, dict[str, Any]]:
    """Rows of a document by their keys. Raises InvalidInput for what is no row, or is twice."""
    names = BY_NAME[name].key if name in BY_NAME else _KEYS[name]
    found: dict[Key, dict[str, Any]] = {}
    for place, row in enumerate(rows, 1):
        if not isinstance(row, dict) or any(one not in row for one in names):
            raise InvalidInput(what=f"配置项 {name} 的第 {place} 条写法不认识")
        key = tuple(str(row[one] or "") for one in names)
        if key in found:
            raise InvalidInput(what=f"配置项 {name} 的 {_shown(key)} 出现了两次")
        found[key] = row
    return found


def _compared(here: Mapping[Key, Mapping[str, Any]], told: Mapping[Key, Any]) -> Section:
    found = Section(only_here=len(here.keys() - told.keys()))
    for key, row in told.items():
        if key not in here:
            found.added.append(_shown(key))
            continue
        before = here[key]
        changed = {name: [before.get(name), value] for name, value in row.items()
                   if name in before and before[name] != value}  # fmt: skip
        if changed:
            found.changed[_shown(key)] = changed
        else:
            found.same += 1
    return found


def _shown(key: Key) -> str:
    return " ".join(part for part in key if part) or "*"


# --- taking it in ---------------------------------------------------------------------------------


def apply(
    document: Any, *, user: AbstractBaseUser, actor: Actor | None = None
) -> dict[str, Section]:
    """Take a document in with this user's rights; return what changed, and what was refused.

    Rules become a draft. A section the user has no right to, and a row that does not fit here,
    is refused and the others are taken; each section is one transaction, and what changed is on
    record. The same document again changes nothing but makes another draft where rules differ.
    """
    told, who = _checked(document), actor or Actor.person(user)
    done = plan(document)
    for name, section in done.items():
        if not section.changes and not (name == RULES and section.only_here):
            continue
        try:
            if name == RULES:
                sets.import_set(told[name], user, note=REASON, actor=who)
                continue
            due = {*section.changed, *section.added}
            rows = _keyed(name, told[name])
            wanted = {key: row for key, row in rows.items() if _shown(key) in due}
            _WRITERS.get(name, _write_table)(name, wanted, section, user, who)
        except OrderCenterError as refusal:
            section.refused["*"] = str(refusal)
            section.added, section.changed = [], {}
    return done


def _refuse(section: Section, key: Key, error: Exception) -> None:
    shown = _shown(key)
    section.refused[shown] = str(error)
    section.changed.pop(shown, None)
    if shown in section.added:
        section.added.remove(shown)


def _write_table(
    name: str, rows: Mapping[Key, Any], section: Section, user: AbstractBaseUser, who: Actor
) -> None:
    table = BY_NAME[name]
    require(user, table.right)
    with telling_stock():
        for key, row in rows.items():
            try:
                with transaction.atomic():
                    written = table.write(row)
            except InvalidInput as error:
                _refuse(section, key, error)
                continue
            change = section.changed.get(_shown(key)) or {
                one: [None, value] for one, value in row.items()
            }
            record(table.action, object_type=str(table.model._meta.model_name),
                   object_id=written.pk, actor=who, change=change, reason=REASON)  # fmt: skip
        if section.changes:
            table.follow()


def _write_lists(
    _name: str, rows: Mapping[Key, Any], section: Section, user: AbstractBaseUser, who: Actor
) -> None:
    require(user, Can.EDIT_LISTS)
    for key, row in rows.items():
        try:
            with transaction.atomic():
                lists.take_over(row, user=user, actor=who)
        except InvalidInput as error:
            _refuse(section, key, error)


def _write_field_maps(
    _name: str, rows: Mapping[Key, Any], section: Section, user: AbstractBaseUser, who: Actor
) -> None:
    require(user, Can.EDIT_SHOPS)
    for key, row in rows.items():
        try:
            with transaction.atomic():
                _write_field_map(row, user, who)
        except InvalidInput as error:
            _refuse(section, key, error)


def _write_field_map(row: Mapping[str, Any], user: AbstractBaseUser, who: Actor) -> None:
    channel = str(row["channel"])
    shop = _named(Shop, row["shop"]) if row["shop"] else None
    newest = FieldMap.objects.filter(channel=channel, shop=shop).order_by("-version").first()
    saved = field_maps.save_version(
        channel, shop, row.get("mapping") or {}, follows=newest.version if newest else 0,
        note=str(row.get("note") or REASON)[:200], user=user, actor=who, now=clock_now(),
    )  # fmt: skip
    field_maps.make_live(saved.pk, user=user, actor=who, reason=REASON)


def _named(model: Any, code: Any) -> Any:
    found = model.objects.filter(code=str(code)).first()
    if found is None:
        raise InvalidInput(what=f"这里没有{model._meta.verbose_name} {str(code)[:40]}")
    return found


def _write_listings(
    _name: str, rows: Mapping[Key, Any], section: Section, user: AbstractBaseUser, who: Actor
) -> None:
    require(user, Can.EDIT_MAPPING)
    known = _Codes()
    wishes = []
    for key, row in rows.items():
        try:
            wishes.append(known.wish(row))
        except InvalidInput as error:
            _refuse(section, key, error)
    for start in range(0, len(wishes), AT_ONCE):
        mapping.map_codes(wishes[start : start + AT_ONCE], user=user, actor=who, reason=REASON)


class _Codes:
    """What codes stand for here, in three statements."""

    def __init__(self) -> None:
        self._shops = dict(Shop.objects.values_list("code", "pk"))
        self._skus = dict(Sku.objects.values_list("code", "pk"))
        self._bundles = dict(Bundle.objects.values_list("code", "pk"))

    def wish(self, row: Mapping[str, Any]) -> Wish:
        """Raises InvalidInput for what is not there."""
        sku = self._skus.get(str(row.get("sku")))
        bundle = self._bundles.get(str(row.get("bundle")))
        shop, kind, code = (
            self._shops.get(str(row["shop"])),
            str(row["code_type"]),
            str(row["code"]),
        )
        if shop is None:
            raise InvalidInput(what=f"这里没有店铺 {str(row['shop'])[:40]}")
        if (sku is None) == (bundle is None):
            told = str(row.get("sku") or row.get("bundle"))
            raise InvalidInput(what=f"这里没有货品或组合装 {told[:40]}")
        if problem := mapping.code_problem(kind, code):
            raise InvalidInput(what=problem)
        return Wish(shop, kind, code, sku, bundle, title=str(row.get("title") or "")[:200])


_WRITERS: Final = {
    LISTS: _write_lists, FIELD_MAPS: _write_field_maps, LISTINGS: _write_listings,
}  # fmt: skip


def as_plain(found: Mapping[str, Section]) -> dict[str, Any]:
    """For ``--json``."""
    return {name: asdict(section) for name, section in found.items()}
