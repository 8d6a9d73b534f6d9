"""A comparison of a rule as fields, by what the registry says of its fact; and read back."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from typing import Any, Final

from django.utils.translation import gettext as _

from ordercenter.console import rule_boxes as boxes
from ordercenter.console.rule_boxes import Box, Choices, Wrong
from ordercenter.console.rule_tree import FACT, GROUPS, Part
from risk.registry import FACTS, KEYS, NUMBERS, OP_WORDS, FactKind, Param

MINUTES: Final = "60"
UNIT: Final = ".unit"
"""Behind the name of a span of time: the field of its unit."""
NO_KIND: Final = FactKind("", "", "", "count", "", "")


@dataclass(frozen=True, slots=True)
class Offers:
    """What there is to pick from, by code."""

    shops: Choices = ()
    categories: Choices = ()
    lists: Choices = ()
    warehouses: Choices = ()
    templates: Choices = ()
    audiences: Choices = ()

    def of_fact(self, kind: FactKind) -> Choices:
        """The values a set may have; empty where anything may be written."""
        stored = {"shop": self.shops, "category": self.categories}
        return stored.get(kind.name) or list(kind.choices.items())


@dataclass(frozen=True, slots=True)
class Row:
    """A comparison as it is drawn."""

    part: Part
    fact: Box
    args: Sequence[Box]
    op: Box
    value: Box
    words: str


@dataclass(frozen=True, slots=True)
class Group:
    """A group as it is drawn."""

    part: Part
    kind: Box
    rows: Sequence["Row | Group"]

    @property
    def is_group(self) -> bool:
        return True


def drawn(part: Part, offers: Offers) -> "Group | Row":
    """What the form shows of a row and all below it."""
    if part.is_group:
        kind = Box("one", f"kind-{part.path}", _("满足方式"), [part.kind], GROUPS,
                   error=part.errors.get("kind", ""))  # fmt: skip
        return Group(part, kind, [drawn(below, offers) for below in part.parts])
    kind_of = FACTS.get(part.fact, NO_KIND)
    return Row(
        part,
        _fact_box(part),
        [_arg_box(part, param, offers) for param in asked(part, kind_of)],
        Box("one", f"op-{part.path}", _("比较"), [part.op],
            [(op, OP_WORDS[op]) for op in kind_of.ops], error=part.errors.get("op", "")),
        _value_box(part, kind_of, offers),
        kind_of.words,
    )  # fmt: skip


def as_typed(root: Part) -> Part:
    """The rows of a stored rule as somebody would have typed them: per cent, minutes, hours."""
    for part in root.walk():
        kind = FACTS.get(part.fact, NO_KIND)
        if kind.type == "ratio":
            part.values = [boxes.to_percent(text) for text in part.values]
        for param in kind.params:
            if param.kind == "texts" and param.name in part.args:
                part.args[param.name] = [boxes.lines(part.args[param.name])]
            elif param.kind == "seconds" and (stored := part.args.get(param.name)):
                amount, unit = boxes.window_shown(stored[0])
                part.args[param.name], part.args[param.name + UNIT] = [amount], [unit]
    return root


def asked(part: Part, kind: FactKind) -> Sequence[Param]:
    """The settings that mean something: a price list has no window."""
    base = part.args.get("base", ["list"])
    if kind.name == "price_ratio" and base != ["running"]:
        return [param for param in kind.params if param.name != "window_seconds"]
    return kind.params


def _fact_box(part: Part) -> Box:
    groups: dict[str, list[tuple[str, str]]] = {}
    for kind in FACTS.values():
        groups.setdefault(kind.group, []).append((kind.name, kind.label))
    return Box(
        "one", f"fact-{part.path}", _("条件"), [part.fact], groups=list(groups.items()),
        error=part.errors.get("fact", ""), redraws=True,
    )  # fmt: skip


def _arg_box(part: Part, param: Param, offers: Offers) -> Box:
    name = f"arg-{part.path}-{param.name}"
    typed = part.args.get(param.name, _default_of(param))
    error = part.errors.get(param.name, "")
    if param.kind == "seconds":
        unit = part.args.get(param.name + UNIT, [MINUTES])[0]
        if param.name not in part.args and typed:
            amount, unit = boxes.window_shown(typed[0])
            typed = [amount]
        return Box("window", name, param.label, typed, boxes.WINDOW_UNITS, unit_value=unit,
                   error=error)  # fmt: skip
    if param.kind == "keys":
        pairs = [(f"{a}+{b}", _("%(a)s且%(b)s") % {"a": KEYS[a], "b": KEYS[b]})
                 for a, b in combinations(KEYS, 2)]  # fmt: skip
        return Box("many", name, param.label, typed, list(param.choices.items()), error=error,
                   groups=[(_("两项都相同"), pairs)])  # fmt: skip
    if param.kind == "flag":
        return Box("check", name, param.label, typed, error=error)
    if param.kind == "choice":
        return Box("one", name, param.label, typed, list(param.choices.items()), error=error,
                   redraws=param.name == "base")  # fmt: skip
    if param.kind == "code":
        nothing = [("", _("（不限）"))] if param.default == "" else []
        return Box("one", name, param.label, typed, [*nothing, *offers.lists], error=error)
    return Box("words", name, param.label, typed, error=error)


def _default_of(param: Param) -> list[str]:
    """What a field starts with: the fact's default; a required one starts empty."""
    if param.kind == "flag" or param.default in {None, ""} or isinstance(param.default, tuple):
        return []
    return [str(param.default)]


def _value_box(part: Part, kind: FactKind, offers: Offers) -> Box:
    name, error = f"value-{part.path}", part.errors.get("value", "")
    label = _("值")
    if kind.type == "bool":
        yes_no = [("true", _("是")), ("false", _("否"))]
        return Box("one", name, label, part.values or ["true"], yes_no, error=error)
    if kind.type in NUMBERS:
        unit = "%" if kind.type == "ratio" else kind.unit
        return Box("number", name, label, part.values, unit=unit, error=error)
    if choices := offers.of_fact(kind):
        return Box("many", name, label, part.values, choices, error=error)
    text = part.words or boxes.lines(part.values)
    return Box("words", f"words-{part.path}", label, [text], error=error)


# --- read back ----------------------------------------------------------------------------------


def node_of(root: Part) -> dict[str, Any]:
    """The conditions the rows come to; what is wrong stands in the rows' ``errors`` after.

    The outermost group is always ``all``, as a rule has it. Every row is told where in the
    rule it came to stand, for the language's own refusals to find it.
    """
    if root.kind == "all":
        return _node(root, "when")
    return {"all": [_node(root, "when.all.0")]}


def _node(part: Part, where: str) -> dict[str, Any]:
    part.errors, part.where = {}, where
    if not part.is_group:
        return _compare(part)
    if not part.parts and part.path != "0":
        part.errors["kind"] = _("这一组里还没有条件")
    if part.kind in {"all", "any"}:
        return {part.kind: _nodes(part, f"{where}.{part.kind}")}
    if len(part.parts) == 1:
        return {"not": _node(part.parts[0], f"{where}.not")}
    kind = "any" if part.kind == "not_any" else "all"
    return {"not": {kind: _nodes(part, f"{where}.not.{kind}")}}


def _nodes(part: Part, where: str) -> list[dict[str, Any]]:
    return [_node(below, f"{where}.{n}") for n, below in enumerate(part.parts)]


def refuse(root: Part, where: str, words: str) -> bool:
    """Put a refusal of the language beside the field it is about; False where there is none."""
    parts = [part for part in root.walk() if f"{where}.".startswith(f"{part.where}.")]
    if not parts:
        return False
    part = max(parts, key=lambda one: len(one.where))
    field = where.removeprefix(part.where).lstrip(".").partition(".")[0]
    part.errors["kind" if part.is_group else field or "fact"] = words
    return True


def _compare(part: Part) -> dict[str, Any]:
    kind = FACTS.get(part.fact)
    if kind is None:
        part.errors["fact"] = _("请选择条件")
        return {FACT: part.fact, "op": part.op, "value": ""}
    node: dict[str, Any] = {FACT: kind.name}
    for param in asked(part, kind):
        value = _checked(part, param.name, partial(_arg, part, param))
        if value not in {None, "", ()} and value != param.default:
            node[param.name] = list(value) if isinstance(value, tuple) else value
    if part.op not in kind.ops:
        if len(kind.ops) > 1 and part.op:
            part.errors["op"] = _("请重新选择比较方式")
        part.op = kind.ops[0]
    return {**node, "op": part.op, "value": _checked(part, "value", partial(_value, part, kind))}


def _checked(part: Part, name: str, read: Callable[[], Any]) -> Any:
    try:
        return read()
    except Wrong as wrong:
        part.errors[name] = str(wrong)
        return None


def _arg(part: Part, param: Param) -> Any:
    """A parameter as a rule has it; None for its default. Raises Wrong."""
    typed = [text for text in part.args.get(param.name, ()) if text]
    if param.kind == "flag":
        return "true" in typed
    if param.kind == "texts":
        return tuple(boxes.words_of("".join(typed)))
    if not typed:
        if param.required:
            raise Wrong(_("请选择%(what)s") % {"what": param.label})
        return None
    if param.kind == "keys":
        return tuple(typed)
    if param.kind == "seconds":
        return _seconds(part, param, typed[0])
    if param.choices and typed[0] not in param.choices:
        raise Wrong(_("请重新选择%(what)s") % {"what": param.label})
    return typed[0]


def _seconds(part: Part, param: Param, amount: str) -> int:
    unit = part.args.get(param.name + UNIT, [MINUTES])[0]
    seconds = boxes.window_of(amount, unit)
    if not param.min <= seconds <= (param.max or seconds):
        raise Wrong(
            _("%(what)s应在 %(low)s 到 %(high)s 之间")
            % {"what": param.label, "low": span(param.min), "high": span(param.max)}
        )
    return seconds


def span(seconds: int) -> str:
    amount, unit = boxes.window_shown(str(seconds))
    return f"{amount} {dict(boxes.WINDOW_UNITS)[unit]}"


def _value(part: Part, kind: FactKind) -> Any:
    typed = [text for text in part.values if text]
    if kind.type == "bool":
        return typed[:1] != ["false"]
    if kind.type == "ratio":
        return boxes.from_percent(typed[0] if typed else "")
    if kind.type in NUMBERS:
        return boxes.plain(boxes.number_of(typed[0] if typed else ""))
    found = list(dict.fromkeys([*typed, *boxes.words_of(part.words)]))
    if not found:
        raise Wrong(_("请至少选择或填写一个"))
    return found


def facts_by_group() -> Mapping[str, list[FactKind]]:
    """Every fact there is, for people to read what it measures."""
    found: dict[str, list[FactKind]] = {}
    for kind in FACTS.values():
        found.setdefault(kind.group, []).append(kind)
    return found
