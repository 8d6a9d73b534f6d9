"""Rules as data: read, checked, and judged by a pure function.

A rule is ``{"code", "name", "tier", "tag", "queue", "all": [condition, …]}``; a condition is
``{"fact", …parameters, "op", "value"}``. Every condition must hold for a hit. The worst tier
wins, whoever found it. A fact that is unknown asks for review unless another condition of the
rule fails anyway; a fact that does not apply to an order is passed over.
"""

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from functools import cached_property
from typing import Any, Final

from ordercenter.core.errors import InvalidInput
from risk.contracts import NOT_APPLICABLE, FactValue, Finding, Judgement, Seen, Subject

OPERATORS: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    ">=": operator.ge,
    ">": operator.gt,
    "<": operator.lt,
    "<=": operator.le,
    "==": operator.eq,
}
KEYS: Final[Mapping[str, str]] = {
    "buyer": "买家账号",
    "device": "设备",
    "phone": "手机号",
    "address": "收货地址",
    "ip": "IP",
}
MAX_CODE: Final = 40
MAX_WINDOW: Final = 31 * 86_400
TIERS: Final = ("0", "1", "2", "3")
_OP_WORDS: Final = {">=": "达到", ">": "超过", "<": "低于", "<=": "不高于", "==": "等于"}


@dataclass(frozen=True)
class FactSpec:
    """One fact with its parameters; equal specs are computed once a batch."""

    name: str
    keys: tuple[str, ...] = ()
    window_seconds: int = 0
    same_sku: bool = False

    @cached_property
    def label(self) -> str:
        """The fact and its parameters as one word, for the record."""
        parts = [self.name, *self.keys]
        if self.window_seconds:
            parts.append(f"{self.window_seconds}s")
        if self.same_sku:
            parts.append("same_sku")
        return ":".join(parts)

    @cached_property
    def _hash(self) -> int:
        return hash((self.name, self.keys, self.window_seconds, self.same_sku))

    def __hash__(self) -> int:
        return self._hash


@dataclass(frozen=True, slots=True)
class Condition:
    spec: FactSpec
    op: str
    limit: Fraction
    limit_decimal: Decimal
    limit_text: str


@dataclass(frozen=True, slots=True)
class Rule:
    code: str
    name: str
    tier: str
    conditions: tuple[Condition, ...]
    tag: str = ""
    queue: str = ""
    limits: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CompiledRules:
    """One version of the rules, ready to judge with."""

    version: int
    rules: tuple[Rule, ...]
    specs: tuple[FactSpec, ...] = field(default=())


FACTS: Final = frozenset(
    {
        "orders_in_window",
        "day_amount",
        "price_ratio",
        "gift_gap",
        "gift_short",
        "unlocked_available",
    }
)


def compile_rules(version: int, rules: Sequence[Mapping[str, Any]]) -> CompiledRules:
    """Check a rule set and make it ready. Raises InvalidInput naming the rule and the fault."""
    if not isinstance(rules, Sequence) or not all(isinstance(rule, Mapping) for rule in rules):
        raise InvalidInput(what="规则集必须是规则的列表")
    compiled = tuple(_rule(rule) for rule in rules if rule.get("enabled", True))
    codes = [rule.code for rule in compiled]
    if len(set(codes)) != len(codes):
        raise InvalidInput(what="规则编码重复")
    specs = dict.fromkeys(c.spec for rule in compiled for c in rule.conditions)
    return CompiledRules(version, compiled, tuple(specs))


def _rule(rule: Mapping[str, Any]) -> Rule:
    code = str(rule.get("code") or "")
    if not code or len(code) > MAX_CODE or str(rule.get("tier")) not in TIERS:
        raise InvalidInput(
            what=f"规则“{code or rule.get('name')}”缺少编码（最多 {MAX_CODE} 个字）或级别"
        )
    conditions = rule.get("all")
    if not isinstance(conditions, list) or not conditions:
        raise InvalidInput(what=f"规则“{code}”没有任何条件")
    compiled = tuple(_condition(code, condition) for condition in conditions)
    return Rule(
        code=code,
        name=str(rule.get("name") or code),
        tier=str(rule["tier"]),
        conditions=compiled,
        limits=tuple(f"{c.op} {c.limit_text}" for c in compiled),
        tag=str(rule.get("tag") or ""),
        queue=str(rule.get("queue") or ""),
    )


def _condition(code: str, condition: Mapping[str, Any]) -> Condition:
    if not isinstance(condition, Mapping):
        raise InvalidInput(what=f"规则“{code}”的条件写法不认识：{condition}")
    name, op = str(condition.get("fact")), str(condition.get("op"))
    if name not in FACTS or op not in OPERATORS:
        raise InvalidInput(what=f"规则“{code}”的条件写法不认识：{name} {op}")
    keys = tuple(map(str, condition.get("keys", ())))
    window = condition.get("window_seconds", 0)
    if not isinstance(window, int) or isinstance(window, bool) or not 0 <= window <= MAX_WINDOW:
        raise InvalidInput(what=f"规则“{code}”的时间窗口不对：{window}")
    needs_key = name in {"orders_in_window", "day_amount"}
    if any(key not in KEYS for key in keys) or needs_key != bool(keys):
        raise InvalidInput(what=f"规则“{code}”的识别依据写法不对")
    if (name == "orders_in_window") != (window > 0):
        raise InvalidInput(what=f"规则“{code}”的时间窗口必须大于 0 秒")
    text = str(condition.get("value"))
    try:
        decimal = Decimal(text)
        limit = Fraction(decimal)
    except (InvalidOperation, ValueError, OverflowError) as error:
        raise InvalidInput(what=f"规则“{code}”的阈值不是数字：{text}") from error
    if limit < 0:
        raise InvalidInput(what=f"规则“{code}”的阈值不能为负数：{text}")
    spec = FactSpec(name, keys, window, bool(condition.get("same_sku", False)))
    return Condition(spec, op, limit, decimal, text)


def judge(subject: Subject, rules: CompiledRules, facts: Mapping[FactSpec, Seen]) -> Judgement:
    """Apply every rule to one order. Pure: the same facts give the same judgement."""
    shown = {spec: show(seen.value) for spec, seen in facts.items()}
    findings = tuple([_apply(rule, facts, shown) for rule in rules.rules])
    tier = max([f.tier for f in findings if f.hit], default="0")
    by_name = {spec.label: text for spec, text in shown.items()}
    return Judgement(subject.order_id, rules.version, tier, findings, by_name)


def _apply(rule: Rule, facts: Mapping[FactSpec, Seen], shown: Mapping[FactSpec, str]) -> Finding:
    values = tuple([shown[condition.spec] for condition in rule.conditions])
    told = [(condition, facts[condition.spec].value) for condition in rule.conditions]
    if not all(value is None or _holds(condition, value) for condition, value in told):
        return Finding(rule.code, hit=False, tier=rule.tier, words="", seen=values,
                       limits=rule.limits)  # fmt: skip
    if any(value is None for _, value in told):
        return Finding(
            rule.code, hit=True, tier="2",
            words=f"{rule.name}：缺少判断依据{_unknown(rule, facts)}，需人工确认",
            seen=values, limits=rule.limits, error="unknown fact", tag=rule.tag,
        )  # fmt: skip
    said = "；".join(describe(c, facts[c.spec]) for c in rule.conditions)
    orders = tuple(dict.fromkeys(o for c in rule.conditions for o in facts[c.spec].orders))
    return Finding(
        rule.code, hit=True, tier=rule.tier, words=f"{rule.name}：{said}", seen=values,
        limits=rule.limits, orders=orders, queue=rule.queue, tag=rule.tag,
    )  # fmt: skip


def _unknown(rule: Rule, facts: Mapping[FactSpec, Seen]) -> str:
    """What nothing is known of, in brackets; empty where the fact does not say."""
    seen = [facts[condition.spec] for condition in rule.conditions]
    said = "；".join(one.detail for one in seen if one.value is None and one.detail)
    return f"（{said}）" if said else ""


def _holds(condition: Condition, value: FactValue) -> bool:
    if value is NOT_APPLICABLE:
        return False
    # Decimal does not compare with Fraction; both limits are the same exact number.
    limit = condition.limit_decimal if isinstance(value, Decimal) else condition.limit
    return OPERATORS[condition.op](value, limit)


def show(value: FactValue) -> str:
    """A value as people read it: ratios in per cent, money and counts as they are."""
    if isinstance(value, Fraction):
        return f"{float(value):.1%}"
    return "未知" if value is None else str(value)


def _window_words(seconds: int) -> str:
    for size, unit in ((86_400, "天"), (3_600, "小时"), (60, "分钟")):
        if seconds % size == 0:
            return f"{seconds // size} {unit}"
    return f"{seconds} 秒"


def describe(condition: Condition, seen: Seen) -> str:
    """One condition that held, in a sentence with the value seen."""
    spec, value = condition.spec, show(seen.value)
    limit = f"{_OP_WORDS[condition.op]} {condition.limit_text}"
    keys = "或".join(KEYS[key] for key in spec.keys)
    if spec.name == "orders_in_window":
        goods = "相同货品" if spec.same_sku else ""
        window = _window_words(spec.window_seconds)
        return f"同一{keys} {window}内{goods}下单 {value} 次（含本单），规则为{limit} 次"
    if spec.name == "day_amount":
        return f"同一{keys}当日累计 ¥{value}，规则为{limit} 元"
    if spec.name == "price_ratio":
        percent = f"{float(condition.limit):.0%}"
        return f"{seen.detail} 成交价为基准价的 {value}，规则为{_OP_WORDS[condition.op]} {percent}"
    if spec.name == "gift_gap":
        return f"含赠品 {seen.detail}"
    if spec.name == "gift_short":
        return f"赠品 {seen.detail} 库存不足，缺 {value} 件"
    return f"{seen.detail} 可用库存仅 {value} 件且未锁定，规则为{limit} 件"
