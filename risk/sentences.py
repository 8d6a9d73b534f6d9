"""A rule as people read it, and what was seen of an order beside the limit."""

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Final

from ordercenter.catalog.models import Channel
from risk.contracts import NOT_APPLICABLE, FactValue, Seen
from risk.language import (
    FILLABLE,
    TOLD,
    All,
    Compare,
    FactSpec,
    Node,
    Not,
    Outcome,
    Rule,
    Scope,
)
from risk.registry import FIELDS, KEYS, OP_WORDS

SHOWN: Final = 20
"""So many texts of a set are shown."""
_TIERS: Final = {"0": "只打标签", "1": "自动处理后放行", "2": "挂起待人工审核", "3": "冻结"}
_FILLED: Final = dict(zip(FILLABLE, ("买家留言", "卖家备注"), strict=True))


def show(value: FactValue) -> str:
    """A value as people read it: ratios in per cent, money and counts as they are."""
    if isinstance(value, bool):
        return "是" if value else "否"
    if isinstance(value, Fraction):
        return f"{float(value):.1%}"
    if isinstance(value, frozenset):
        return _texts(sorted(value)) or "无"
    return "未知" if value is None else str(value)


def _texts(texts: Sequence[str]) -> str:
    more = f"等 {len(texts)} 个" if len(texts) > SHOWN else ""
    return "、".join(texts[:SHOWN]) + more


def window_words(seconds: int) -> str:
    """So many seconds in the largest whole unit."""
    for size, unit in ((86_400, "天"), (3_600, "小时"), (60, "分钟")):
        if seconds % size == 0:
            return f"{seconds // size} {unit}"
    return f"{seconds} 秒"


def limit_text(one: Compare) -> str:
    """The limit as it is written down beside a value."""
    value = one.value
    if isinstance(value, bool):
        return f"{one.op} {show(value)}"
    return f"{one.op} {_texts(value) if isinstance(value, tuple) else value}"


def _limit_words(one: Compare) -> str:
    value, unit = one.value, one.spec.kind.unit
    if isinstance(value, Decimal):
        plain = f"{value * 100:.6f}".rstrip("0").rstrip(".") + "%"
        text = plain if one.spec.kind.type == "ratio" else f"{value} {unit}".strip()
        return f"{OP_WORDS[one.op]} {text}"
    if isinstance(value, bool):
        return f"{OP_WORDS[one.op]}{show(value)}"
    labels = one.spec.kind.choices
    return f"{OP_WORDS[one.op]} {_texts([str(labels.get(text, text)) for text in value])}"


def keys_words(keys: Sequence[str]) -> str:
    """买家账号或设备; a pair is 买家账号+货品."""
    return "或".join("+".join(KEYS[part] for part in key.split("+")) for key in keys)


def fact_words(spec: FactSpec) -> str:
    """What is measured, with its parameters."""
    label = spec.kind.label
    if spec.name == "orders_in_window":
        goods = "相同货品" if spec.param("same_sku") else ""
        distinct = spec.param("distinct")
        what = "下单次数" if distinct == "orders" else f"不同{KEYS[distinct]}数"
        return (
            f"同一{keys_words(spec.keys)} {window_words(spec.window_seconds)}内{goods}{what}"
            "（含本单）"
        )
    if spec.keys:
        within = f" {window_words(spec.window_seconds)}内" if spec.window_seconds else ""
        goods = _texts(spec.param("skus", ())) or _listed(spec.param("list", ""))
        return f"同一{keys_words(spec.keys)}{within}{goods}{label}（含本单）"
    if spec.name == "price_ratio" and spec.param("base") == "running":
        return f"成交价与前 {window_words(spec.window_seconds)}均价之比"
    if spec.name == "likeness":
        return f"{window_words(spec.window_seconds)}内{label}"
    if spec.name == "in_list":
        return f"在名单“{spec.param('list')}”上"
    return label


def _listed(code: str) -> str:
    return f"名单“{code}”内货品" if code else ""


def sentence_of(node: Node) -> str:
    """A condition in words; groups within groups stand in brackets."""
    return _said(node, top=True)


def _said(node: Node, *, top: bool = False) -> str:
    if isinstance(node, Compare):
        if isinstance(node.value, bool):
            return fact_words(node.spec) if node.value else f"不{_negated(node.spec)}"
        return f"{fact_words(node.spec)}{_limit_words(node)}"
    if isinstance(node, Not):
        return f"并非（{_said(node.part, top=True)}）"
    if not node.parts:
        return "任何订单"
    if len(node.parts) == 1:
        return _said(node.parts[0], top=top)
    joined = ("，且" if isinstance(node, All) else "，或").join(_said(one) for one in node.parts)
    return joined if top else f"（{joined}）"


def _negated(spec: FactSpec) -> str:
    words = fact_words(spec)
    return words if spec.name == "in_list" else f"属于“{words}”"


def scope_words(scope: Scope) -> str:
    """Where a rule counts; empty for everywhere."""
    parts = []
    if scope.shops:
        parts.append(f"店铺 {_texts(sorted(scope.shops))}")
    if scope.channels:
        labels = [str(Channel(one).label) for one in sorted(scope.channels)]
        parts.append(f"平台 {_texts(labels)}")
    if scope.categories:
        parts.append(f"类目 {_texts(sorted(scope.categories))}")
    if scope.amount_from is not None:
        parts.append(f"应付金额 ¥{scope.amount_from} 起")
    if scope.amount_below is not None:
        parts.append(f"应付金额 ¥{scope.amount_below} 以下")
    if scope.hours:
        start, end = scope.hours
        parts.append(f"{start:%H:%M} 至{'次日' if start > end else ''} {end:%H:%M} 下单")
    return "，".join(parts)


def outcome_words(outcome: Outcome) -> str:
    """What follows of a hit."""
    parts = [_TIERS[outcome.tier]]
    if outcome.tier >= "2" and outcome.queue == "shortage":
        parts = ["打标签，由缺货流程处理"]
    if outcome.tag:
        parts.append(f"标签“{outcome.tag}”")
    if outcome.queue and outcome.queue != "shortage":
        parts.append(f"进入队列“{outcome.queue}”")
    parts += [f"{_FILLED[name]}填为“{text}”" for name, text in outcome.fill]
    if outcome.priority:
        parts.append(f"优先级至少 {outcome.priority}")
    if outcome.warehouse:
        parts.append(f"优先从“{outcome.warehouse}”发货")
    if outcome.notify:
        parts.append(f"通知{'、'.join(TOLD[one.to] for one in outcome.notify)}")
    return "，".join(parts)


def sentence(rule: Rule) -> str:
    """A whole rule in one sentence."""
    where = scope_words(rule.scope)
    only = f"仅限{where}：" if where else ""
    most = f"；每单最多挂起 {rule.budget} 次" if rule.budget else ""
    return f"{only}{sentence_of(rule.when)} → {outcome_words(rule.outcome)}{most}"


def missing_words(fields: frozenset[str]) -> str:
    """The missing fields by their names."""
    return "、".join(label for name, label in FIELDS.items() if name in fields) or "无"


def describe(one: Compare, seen: Seen) -> str:
    """One comparison with the value seen."""
    spec, value = one.spec, show(seen.value)
    limit = _limit_words(one)
    if seen.value is None or seen.value is NOT_APPLICABLE:
        state = "未知" if seen.value is None else "不适用"
        return f"{fact_words(spec)}{state}"
    said = _DESCRIBED.get(spec.name)
    if said is not None:
        return said(one, seen, value, limit)
    if isinstance(one.value, bool):
        words = fact_words(spec)
        told = f"（{seen.detail}）" if seen.detail else ""
        return f"{words}：{value}{told}"
    if spec.name == "missing" and isinstance(seen.value, frozenset):
        return f"缺少{missing_words(seen.value)}"
    if isinstance(one.value, tuple):
        return f"{spec.kind.label} {_held(one, seen)}，规则为{limit}"
    told = f"{seen.detail} " if seen.detail else ""
    return f"{told}{fact_words(spec)} {value} {spec.kind.unit}".strip() + f"，规则为{limit}"


def _held(one: Compare, seen: Seen) -> str:
    """Of a text only the words that were asked for; of a set all it has."""
    value = seen.value
    if isinstance(value, str) and isinstance(one.value, tuple):
        return "含“" + _texts([word for word in one.value if word in value]) + "”"
    return show(value)


def _speed(one: Compare, _seen: Seen, value: str, limit: str) -> str:
    spec = one.spec
    goods = "相同货品" if spec.param("same_sku") else ""
    window, keys = window_words(spec.window_seconds), keys_words(spec.keys)
    distinct = spec.param("distinct")
    if distinct != "orders":
        return f"同一{keys} {window}内{goods}有 {value} 个不同{KEYS[distinct]}，规则为{limit}"
    return f"同一{keys} {window}内{goods}下单 {value} 次（含本单），规则为{limit}"


def _day(one: Compare, _seen: Seen, value: str, limit: str) -> str:
    return f"同一{keys_words(one.spec.keys)}当日累计 ¥{value}，规则为{limit}"


def _price(one: Compare, seen: Seen, value: str, limit: str) -> str:
    base = "前期均价" if one.spec.param("base") == "running" else "基准价"
    return f"{seen.detail} 成交价为{base}的 {value}，规则为{limit}"


def _gift(_one: Compare, seen: Seen, _value: str, _limit: str) -> str:
    return f"含赠品 {seen.detail}"


def _short(_one: Compare, seen: Seen, value: str, _limit: str) -> str:
    return f"赠品 {seen.detail} 库存不足，缺 {value} 件"


def _left(_one: Compare, seen: Seen, value: str, limit: str) -> str:
    return f"{seen.detail} 可用库存仅 {value} 件且未锁定，规则为{limit}"


_DESCRIBED: Final = {
    "orders_in_window": _speed,
    "day_amount": _day,
    "price_ratio": _price,
    "gift_gap": _gift,
    "gift_short": _short,
    "unlocked_available": _left,
}
