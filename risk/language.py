"""The language of rules: what a rule set says, read from its data and checked.

A rule has a scope (where it counts at all), a condition (``when``: and, or, not over typed facts)
and an outcome. Reading is strict: a key that nobody knows, a number that is none or a region that
does not exist is refused by name, so that a typing error never makes a rule silent.

Truth has three values. A fact that is unknown leaves its comparison unknown; a fact that does
not apply to an order makes it false, so that ``not`` of it is true. There are no patterns and no
expressions: words are found as plain text (``docs/adr/0031``).
"""

import hashlib
import json
import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import time
from decimal import Decimal
from functools import cached_property
from typing import Any, Final, Self, cast
from weakref import WeakValueDictionary

from ordercenter.catalog.models import Channel
from ordercenter.core.addresses import normalize_region
from ordercenter.core.errors import InvalidInput
from ordercenter.notices.models import Addressee
from risk.reading import (
    LONGEST_TEXT,
    PARAMS,
    Fault,
    read_flag,
    read_mapping,
    read_number,
    read_text,
    read_texts,
    read_whole,
)
from risk.registry import FACTS, NUMBERS, FactKind, ParamValue
from risk.words import normal

MAX_RULES: Final = 1_000
"""More would take too long for every order: they are refused when they are saved."""
MAX_CODE: Final = 40
MAX_NAME: Final = 60
MAX_NODES: Final = 100
MAX_DEPTH: Final = 6
MAX_PRIORITY: Final = 100
MAX_BUDGET: Final = 1_000
TIERS: Final = ("0", "1", "2", "3")
FILLABLE: Final = ("buyer_remark", "seller_memo")
"""Fields of an order that tier 1 may fill where they are empty."""
TOLD: Final[Mapping[str, str]] = dict(Addressee.choices)
TEMPLATES: Final[Mapping[str, str]] = {
    "rule_hit": "规则命中通知",
    "confirm_order": "请客服与买家确认订单",
}
_CODE: Final = re.compile(r"[0-9A-Za-z_\-\u4e00-\u9fff]{1,40}")
_HOUR: Final = re.compile(r"(?:[01]\d|2[0-3]):[0-5]\d")
LONGEST_SKU_WINDOW: Final = 3_600
"""Seconds in which a SKU alone may be counted: a hot one has thousands of orders an hour."""


_SPECS_LOCK: Final = threading.Lock()
_SPECS: Final[WeakValueDictionary[tuple[str, tuple[tuple[str, ParamValue], ...]], "FactSpec"]] = (
    WeakValueDictionary()
)


@dataclass(frozen=True, eq=False)
class FactSpec:
    """One fact with its parameters. Equal ones are one object, computed once a batch.

    ``params`` are in the order of the registry, and those at their default are left out. Facts
    are looked up by their specs more often than anything else is done: being one object, they
    are hashed and compared by identity.
    """

    name: str
    params: tuple[tuple[str, ParamValue], ...] = ()

    def __new__(cls, name: str, params: tuple[tuple[str, ParamValue], ...] = ()) -> Self:
        with _SPECS_LOCK:
            found = _SPECS.get((name, params))
            if found is None:
                found = _SPECS[name, params] = super().__new__(cls)
        return cast("Self", found)

    def __getnewargs__(self) -> tuple[str, tuple[tuple[str, ParamValue], ...]]:
        return self.name, self.params

    def param(self, name: str, default: Any = None) -> Any:
        """The parameter, its registered default, or ``default`` where it has none."""
        for key, value in self.params:
            if key == name:
                return value
        kind = FACTS[self.name].param(name)
        return default if kind is None or kind.default is None else kind.default

    @property
    def keys(self) -> tuple[str, ...]:
        found: tuple[str, ...] = self.param("keys", ())
        return found

    @property
    def window_seconds(self) -> int:
        return int(self.param("window_seconds", 0))

    @property
    def kind(self) -> FactKind:
        return FACTS[self.name]

    @property
    def is_stateless(self) -> bool:
        """Whether the order and the catalog are all it needs."""
        return self.kind.is_stateless and self.param("base") != "running"

    @cached_property
    def label(self) -> str:
        """The fact and its parameters as one word, for the record. No two specs share one."""
        parts = [self.name]
        for key, value in self.params:
            if isinstance(value, tuple):
                parts += value if key == "keys" else [f"{key}={'|'.join(value)}"]
            elif key == "window_seconds":
                parts.append(f"{value}s")
            else:
                parts.append(key if value is True else f"{key}={value}")
        return ":".join(parts)


@dataclass(frozen=True, slots=True)
class All:
    """Every part holds; nothing at all holds always."""

    parts: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """At least one part holds."""

    parts: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Not:
    part: "Node"


@dataclass(frozen=True, slots=True)
class Compare:
    """One fact against one value.

    ``value`` is exact: Decimal for numbers, bool for ``is``, texts for the others. Of a set,
    ``has_any`` and ``not_in`` mean that some, or none, of its texts are listed; ``in`` that it
    has some and all are. Words (``has_any`` of a text) are normal (``risk/words.py``).
    """

    spec: FactSpec
    op: str
    value: Decimal | bool | tuple[str, ...]


Node = All | AnyOf | Not | Compare


@dataclass(frozen=True, slots=True)
class Scope:
    """Where a rule counts: whatever is given must fit, and of each list any one.

    ``amount_from`` is inclusive, ``amount_below`` exclusive; ``hours`` are [from, to) in
    Shanghai, over midnight where ``from`` is the later one.
    """

    shops: frozenset[str] = frozenset()
    channels: frozenset[str] = frozenset()
    categories: frozenset[str] = frozenset()
    amount_from: Decimal | None = None
    amount_below: Decimal | None = None
    hours: tuple[time, time] | None = None

    @property
    def is_everywhere(self) -> bool:
        return self == _EVERYWHERE


_EVERYWHERE: Final = Scope()


@dataclass(frozen=True, slots=True)
class Tell:
    """Whom to tell of a hit, and by which template."""

    to: str
    template: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What follows of a hit. Tiers: "0" tag, "1" fill and go on, "2" hold, "3" freeze.

    ``queue`` "shortage": seen, but what stops is the shortage itself. ``priority`` is the least
    the order gets; ``warehouse`` the virtual warehouse that is tried first.
    """

    tier: str
    tag: str = ""
    queue: str = ""
    priority: int = 0
    warehouse: str = ""
    fill: tuple[tuple[str, str], ...] = ()
    notify: tuple[Tell, ...] = ()


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. ``budget``: so many holds of it an order gets in its life; 0 for any number."""

    code: str
    name: str
    scope: Scope
    when: Node
    outcome: Outcome
    budget: int = 0
    enabled: bool = True

    @property
    def needs_second(self) -> bool:
        """Whether it asks nothing, and so hits every order in scope."""
        return not any(True for _ in compares(self.when))


@dataclass(frozen=True, eq=False, slots=True, weakref_slot=True)
class Program:
    """One version of the rules, read; each reading is a thing of its own.

    ``rules`` are those switched on, ``off`` the others; ``specs`` every fact the former ask,
    each once.
    """

    version: int
    rules: tuple[Rule, ...]
    specs: tuple[FactSpec, ...]
    digest: str
    off: tuple[Rule, ...] = ()

    @property
    def lists(self) -> frozenset[str]:
        """The codes of the lists it asks."""
        found = {str(spec.param("list", "")) for spec in self.specs}
        return frozenset(found - {""})


def compares(node: Node) -> Sequence[Compare]:
    """Every comparison of a condition, from left to right."""
    if isinstance(node, Compare):
        return (node,)
    parts = (node.part,) if isinstance(node, Not) else node.parts
    return [one for part in parts for one in compares(part)]


def digest_of(data: Any) -> str:
    """SHA-256 of the rules as canonical JSON: the same rules, however they were written down."""
    text = json.dumps(data, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def read_rules(version: int, data: Any) -> Program:
    """Read and check a rule set.

    Raises InvalidInput naming the rule and the fault; its ``facts`` say ``rule`` (place in the
    list) and ``path`` (``when.all.0.value``) for a form to point at.
    """
    if not isinstance(data, Sequence) or isinstance(data, str | bytes):
        raise InvalidInput(what="规则集必须是规则的列表")
    if len(data) > MAX_RULES:
        raise InvalidInput(what=f"规则最多 {MAX_RULES} 条，这里有 {len(data)} 条，请合并或停用")
    rules = [_rule(rule, place) for place, rule in enumerate(data)]
    seen: set[str] = set()
    for place, rule in enumerate(rules):
        if rule.code in seen:
            raise InvalidInput(what=f"规则编码重复：{rule.code}", rule=place, path="code")
        seen.add(rule.code)
    on = tuple(rule for rule in rules if rule.enabled)
    specs = dict.fromkeys(one.spec for rule in on for one in compares(rule.when))
    off = tuple(rule for rule in rules if not rule.enabled)
    return Program(version, on, tuple(specs), digest_of(data), off)


def _rule(data: Any, place: int) -> Rule:
    code = str(data.get("code") or "") if isinstance(data, Mapping) else ""
    try:
        return _read_rule(data)
    except Fault as fault:
        name = code or (str(data.get("name") or "") if isinstance(data, Mapping) else "")
        named = f"规则“{name[:MAX_CODE]}”" if name else f"第 {place + 1} 条规则"
        raise InvalidInput(what=f"{named}：{fault}", rule=place, path=fault.path) from fault


def _read_rule(data: Any) -> Rule:
    known = {"code", "name", "enabled", "scope", "when", "outcome", "budget", "note"}
    data = read_mapping(data, "", known)
    code = data.get("code")
    if not isinstance(code, str) or not _CODE.fullmatch(code):
        raise Fault(f"编码应为 1 到 {MAX_CODE} 个字母、数字、汉字或 _ -", "code")
    name = read_text(data.get("name", code), "name", MAX_NAME) or code
    enabled = read_flag(data.get("enabled", True), "enabled")
    outcome = _outcome(data.get("outcome"))
    budget = read_whole(data.get("budget", 0), "budget", 0, MAX_BUDGET)
    scope = _scope(data.get("scope") or {})
    if "when" not in data:
        raise Fault("没有写条件（when）", "when")
    counted = [0]
    when = _node(data["when"], "when", 1, counted)
    if outcome.warehouse and any(not one.spec.is_stateless for one in compares(when)):
        # Goods are reserved before the rules can look around.
        raise Fault("指定发货仓的规则只能用订单自身的事实", "outcome.warehouse")
    return Rule(code, name, scope, when, outcome, budget, enabled)


# --- parts of a rule ------------------------------------------------------------------------------


def _scope(data: Any) -> Scope:
    data = read_mapping(data, "scope", {"shops", "channels", "categories", "amount", "hours"})
    channels = read_texts(data.get("channels", []), "scope.channels")
    if unknown := [one for one in channels if one not in Channel.values]:
        raise Fault(f"没有这个平台：{unknown[0]}", "scope.channels")
    amount = read_mapping(data.get("amount") or {}, "scope.amount", {"from", "below"})
    low = _bound(amount.get("from"), "scope.amount.from")
    below = _bound(amount.get("below"), "scope.amount.below")
    if low is not None and below is not None and low >= below:
        raise Fault(f"金额范围是空的：从 {low} 到 {below}", "scope.amount.below")
    hours = read_mapping(data.get("hours") or {}, "scope.hours", {"from", "to"})
    return Scope(
        frozenset(read_texts(data.get("shops", []), "scope.shops")),
        frozenset(channels),
        frozenset(read_texts(data.get("categories", []), "scope.categories")),
        low,
        below,
        _hours(hours) if hours else None,
    )


def _bound(value: Any, path: str) -> Decimal | None:
    return None if value is None or value == "" else read_number(value, path)


def _hours(data: Mapping[str, Any]) -> tuple[time, time]:
    ends = []
    for name in ("from", "to"):
        text = data.get(name)
        if not isinstance(text, str) or not _HOUR.fullmatch(text):
            raise Fault(f"时间应写成 22:00：{text}", f"scope.hours.{name}")
        ends.append(time.fromisoformat(text))
    if ends[0] == ends[1]:
        raise Fault("时段的开始和结束相同", "scope.hours.to")
    return ends[0], ends[1]


def _outcome(data: Any) -> Outcome:
    known = {"tier", "tag", "queue", "priority", "warehouse", "fill", "notify"}
    data = read_mapping(data, "outcome", known)
    tier = data.get("tier")
    if tier not in TIERS:
        raise Fault(f"级别应为 0、1、2 或 3：{tier}", "outcome.tier")
    fill = read_mapping(data.get("fill") or {}, "outcome.fill", set(FILLABLE))
    if fill and tier != "1":
        raise Fault("只有 1 级规则可以补全资料", "outcome.fill")
    filled = [
        (name, read_text(text, f"outcome.fill.{name}", LONGEST_TEXT)) for name, text in fill.items()
    ]
    if any(not text for _, text in filled):
        raise Fault("补全的内容不能为空", "outcome.fill")
    return Outcome(
        tier,
        read_text(data.get("tag", ""), "outcome.tag", 20),
        read_text(data.get("queue", ""), "outcome.queue", 20),
        read_whole(data.get("priority", 0), "outcome.priority", 0, MAX_PRIORITY),
        read_text(data.get("warehouse", ""), "outcome.warehouse", MAX_CODE),
        tuple(sorted(filled)),
        _notify(data.get("notify") or []),
    )


def _notify(data: Any) -> tuple[Tell, ...]:
    path = "outcome.notify"
    if not isinstance(data, list) or len(data) > len(TOLD):
        raise Fault("通知应为列表", path)
    found = []
    for place, one in enumerate(data):
        where = f"{path}.{place}"
        told = read_mapping(one, where, {"to", "template"})
        to, template = str(told.get("to")), str(told.get("template", "rule_hit"))
        if to not in TOLD:
            raise Fault(f"没有这类通知对象：{to}", f"{where}.to")
        if template not in TEMPLATES:
            raise Fault(f"没有这个通知模板：{template}", f"{where}.template")
        found.append(Tell(to, template))
    return tuple(dict.fromkeys(found))


# --- conditions -----------------------------------------------------------------------------------


def _node(data: Any, path: str, depth: int, counted: list[int]) -> Node:
    counted[0] += 1
    if counted[0] > MAX_NODES or depth > MAX_DEPTH:
        raise Fault(f"条件太多（最多 {MAX_NODES} 个）或嵌套太深（最多 {MAX_DEPTH} 层）", path)
    if not isinstance(data, Mapping):
        raise Fault(f"条件写法不认识：{str(data)[:60]}", path)
    for name, make in (("all", All), ("any", AnyOf)):
        if name in data:
            parts = read_mapping(data, path, {name})[name]
            if not isinstance(parts, list):
                raise Fault(f"{name} 应为条件的列表", f"{path}.{name}")
            if not parts and (name == "any" or depth > 1):
                raise Fault("这一组没有任何条件", f"{path}.{name}")
            return make(
                tuple(
                    _node(part, f"{path}.{name}.{place}", depth + 1, counted)
                    for place, part in enumerate(parts)
                )
            )
    if "not" in data:
        return Not(
            _node(read_mapping(data, path, {"not"})["not"], f"{path}.not", depth + 1, counted)
        )
    return _compare(data, path)


def _compare(data: Mapping[str, Any], path: str) -> Compare:
    name, op = data.get("fact"), data.get("op")
    kind = FACTS.get(name) if isinstance(name, str) else None
    if kind is None:
        raise Fault(f"没有这个事实：{str(name)[:60]}", f"{path}.fact")
    if op not in kind.ops:
        raise Fault(f"“{kind.label}”不能用 {str(op)[:20]} 比较", f"{path}.op")
    read_mapping(data, path, {"fact", "op", "value", *(param.name for param in kind.params)})
    spec = _spec(kind, data, path)
    return Compare(spec, str(op), _value(kind, data.get("value"), f"{path}.value"))


def _spec(kind: FactKind, data: Mapping[str, Any], path: str) -> FactSpec:
    found: list[tuple[str, ParamValue]] = []
    for param in kind.params:
        where = f"{path}.{param.name}"
        if param.name not in data or data[param.name] is None:
            if param.required:
                raise Fault(f"“{kind.label}”要写{param.label}", where)
            continue
        value = PARAMS[param.kind](param, data[param.name], where)
        if value != param.default:
            found.append((param.name, value))
    spec = FactSpec(kind.name, tuple(found))
    if kind.name == "price_ratio" and spec.param("base") == "list" and "window_seconds" in data:
        raise Fault("只有“前期均价”有均价窗口", f"{path}.window_seconds")
    if "sku" in spec.keys and spec.window_seconds > LONGEST_SKU_WINDOW:
        raise Fault(f"只按货品统计时，时间窗口最长 {LONGEST_SKU_WINDOW} 秒", f"{path}.keys")
    if kind.name == "day_amount" and "sku" in spec.keys:
        raise Fault("当日累计不能只按货品", f"{path}.keys")
    return spec


def _value(kind: FactKind, value: Any, path: str) -> Decimal | bool | tuple[str, ...]:
    if kind.type in NUMBERS:
        return read_number(value, path)
    if kind.type == "bool":
        return read_flag(value, path)
    texts = read_texts(value, path)
    if not texts:
        raise Fault(f"“{kind.label}”要写至少一个值", path)
    if kind.type == "text":
        return tuple(dict.fromkeys(_word(one, path) for one in texts))
    if kind.name in _REGIONS:
        return tuple(dict.fromkeys(_region(kind.name, one, path) for one in texts))
    if unknown := [one for one in texts if kind.choices and one not in kind.choices]:
        raise Fault(f"没有这个{kind.label}：{unknown[0]}", path)
    return texts


_REGIONS: Final = ("province", "city", "district")


def _word(text: str, path: str) -> str:
    found = normal(text)
    if not found:
        raise Fault(f"词语不能只有空格：{text!r}", path)
    return found


def _region(level: str, text: str, path: str) -> str:
    """The full name of a province, or a city or district as it is written (“苏州市”)."""
    if level != "province":
        return text
    region = normalize_region(text)
    if region is None or region.conflict or region.city:
        raise Fault(f"没有这个省份：{text}", path)
    return region.province
