"""One rule as a form: what somebody typed, kept whole until it is a rule the language reads."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

from django.http import QueryDict
from django.utils.translation import gettext as _

from ordercenter.console import rule_boxes as boxes
from ordercenter.console.rule_boxes import Wrong
from ordercenter.console.rule_conditions import as_typed, node_of, refuse
from ordercenter.console.rule_tree import Part, clean, root_of, root_typed, step, texts
from ordercenter.core.errors import InvalidInput
from risk.language import MAX_NAME, Program, read_rules

_T = TypeVar("_T")
NAME: Final = MAX_NAME
TAG: Final = 20
SIMPLE: Final = ("name", "tier", "tag", "queue", "priority", "warehouse", "budget")
SCOPE: Final = ("shops", "channels", "categories", "from", "below", "hours_from", "hours_to")
ROWS: Final = ("fill_field", "fill_value", "notify_to", "notify_template")
"""Fields that come in rows: the first of each name belongs to the first row."""
FORM: Final = "form"
"""What is wrong with no field of its own."""
NO_CODE: Final = "new"
"""Stands for the code of a rule that has none yet."""
DEFAULT_TEMPLATE: Final = "rule_hit"
_FIELDS: Final = (
    ("name", "name"),
    ("budget", "budget"),
    ("scope.amount.from", "from"),
    ("scope.amount", "below"),
    ("scope.hours.from", "hours_from"),
    ("scope.hours", "hours_to"),
    ("scope.shops", "shops"),
    ("scope.channels", "channels"),
    ("scope.categories", "categories"),
    ("outcome.fill", "fill_field"),
    ("outcome.notify", "notify_to"),
    *((f"outcome.{name}", name) for name in ("tier", "tag", "queue", "priority", "warehouse")),
)
"""Where the language finds fault, and the field that is about it."""
_KNOWN_SCOPE: Final = frozenset({"shops", "channels", "categories", "amount", "hours"})
_KNOWN_OUTCOME: Final = frozenset(
    {"tier", "tag", "queue", "priority", "warehouse", "fill", "notify"}
)


class RuleForm:
    """What the fields hold and what is wrong with them, by field name.

    ``base`` is the stored rule, empty for a new one: what the form does not show of it stays.
    """

    def __init__(
        self, fields: Mapping[str, list[str]], root: Part, base: Mapping[str, Any]
    ) -> None:
        self.fields = dict(fields)
        self.root = root
        self.base = base
        self.errors: dict[str, str] = {}

    @classmethod
    def of(cls, rule: Mapping[str, Any]) -> "RuleForm":
        """The form of a stored rule."""
        scope, outcome = _part_of(rule, "scope"), _part_of(rule, "outcome")
        amount, hours = _part_of(scope, "amount"), _part_of(scope, "hours")
        fill, notify = _part_of(outcome, "fill"), outcome.get("notify") or []
        fields = {
            "name": texts(rule.get("name")),
            "enabled": ["true"] if rule.get("enabled", True) else [],
            "budget": texts(rule.get("budget") or None),
            **{name: texts(scope.get(name)) for name in ("shops", "channels", "categories")},
            "from": texts(amount.get("from")),
            "below": texts(amount.get("below")),
            "hours_from": texts(hours.get("from")),
            "hours_to": texts(hours.get("to")),
            **{name: texts(outcome.get(name)) for name in ("tier", "tag", "queue", "warehouse")},
            "priority": texts(outcome.get("priority") or None),
            "fill_field": list(fill),
            "fill_value": [str(value) for value in fill.values()],
            "notify_to": [str(one.get("to", "")) for one in notify],
            "notify_template": [str(one.get("template", "")) for one in notify],
        }
        return cls(fields, as_typed(root_of(_part_of(rule, "when"))), rule)

    @classmethod
    def typed(cls, post: QueryDict, base: Mapping[str, Any]) -> "RuleForm":
        """The form as it was posted."""
        names = (*SIMPLE, "enabled", *SCOPE, *ROWS)
        fields = {name: [clean(text) for text in post.getlist(name)] for name in names}
        return cls(fields, root_typed(post), base)

    def take_step(self, what: str) -> None:
        """Do what a button of the form said: a row more, a row less."""
        step(self.root, what)

    def first(self, name: str) -> str:
        values = self.fields.get(name, [])
        return values[0] if values else ""

    @property
    def tier(self) -> str:
        return self.first("tier") or "2"

    @property
    def has_errors(self) -> bool:
        return bool(self.errors) or any(part.errors for part in self.root.walk())

    def problems(self) -> list[str]:
        """Everything that is wrong, in the order of the form."""
        rows = [words for part in self.root.walk() for words in part.errors.values()]
        return [*self.errors.values(), *rows]

    def rule(self) -> dict[str, Any]:
        """The rule the fields come to; what is wrong stands in ``errors`` afterwards.

        With errors the rule lacks what could not be read, and is good for nothing but to be
        looked at.
        """
        self.errors = {}
        name = self.first("name")
        if not name:
            self.errors["name"] = _("请给规则起个名字")
        elif len(name) > NAME:
            self.errors["name"] = _("名称最多 %(most)d 个字") % {"most": NAME}
        return {
            **self.base,
            "code": self.base.get("code") or NO_CODE,
            "name": name,
            "enabled": bool(self.fields["enabled"]),
            "scope": self._scope(),
            "when": node_of(self.root),
            "outcome": self._outcome(),
            "budget": self._read("budget", boxes.whole_of) or 0,
        }

    def _scope(self) -> dict[str, Any]:
        stored = _part_of(self.base, "scope")
        scope = {key: value for key, value in stored.items() if key not in _KNOWN_SCOPE}
        for name in ("shops", "channels", "categories"):
            if picked := [value for value in self.fields[name] if value]:
                scope[name] = picked
        amount = {name: boxes.plain(number) for name in ("from", "below")
                  if (number := self._read(name, boxes.number_of)) is not None}  # fmt: skip
        if amount:
            scope["amount"] = amount
        start, end = self.first("hours_from"), self.first("hours_to")
        if bool(start) != bool(end):
            missing = "hours_to" if start else "hours_from"
            self.errors[missing] = _("时段要填开始和结束")
        elif start:
            scope["hours"] = {"from": start[:5], "to": end[:5]}
        return scope

    def _outcome(self) -> dict[str, Any]:
        stored = _part_of(self.base, "outcome")
        outcome = {key: value for key, value in stored.items() if key not in _KNOWN_OUTCOME}
        outcome["tier"] = tier = self.tier
        tag = self.first("tag")
        if len(tag) > TAG:
            self.errors["tag"] = _("标签最多 %(most)d 个字") % {"most": TAG}
        outcome |= {"tag": tag, "queue": self.first("queue"), "warehouse": self.first("warehouse"),
                    "priority": self._read("priority", boxes.whole_of) or 0}  # fmt: skip
        fill = {name: value for name, value in self.rows("fill_field", "fill_value")
                if name and value}  # fmt: skip
        if fill and tier == "1":  # of another tier the fields are not even shown
            outcome["fill"] = fill
        told = [{"to": to, "template": template or DEFAULT_TEMPLATE}
                for to, template in self.rows("notify_to", "notify_template") if to]  # fmt: skip
        if told:
            outcome["notify"] = told
        return outcome

    def program(self) -> Program | None:
        """The rule alone, as the language reads it; None where it is refused.

        Why is then in ``errors``, beside the field it is about where that can be told.
        """
        rule = self.rule()
        if self.has_errors:
            return None
        try:
            return read_rules(0, [rule])
        except InvalidInput as refusal:
            self.refuse(refusal)
            return None

    def refuse(self, refusal: InvalidInput) -> None:
        """Put a refusal of the language beside the field it is about."""
        path = str(refusal.facts.get("path", ""))
        words = str(refusal).partition("：")[2] or str(refusal)
        if path.startswith("when") and refuse(self.root, path, words):
            return
        name = next((field for head, field in _FIELDS if path.startswith(head)), FORM)
        self.errors[name] = words

    def rows(self, first: str, second: str) -> Sequence[tuple[str, str]]:
        """The rows of two fields that belong together."""
        left, right = self.fields.get(first, []), self.fields.get(second, [])
        most = max(len(left), len(right))
        padded = [[*side, *[""] * (most - len(side))] for side in (left, right)]
        return list(zip(*padded, strict=True))

    def _read(self, name: str, read: Callable[[str], _T]) -> _T | None:
        """A field that may be empty, read; None where it is or cannot be."""
        text = self.first(name)
        if not text:
            return None
        try:
            return read(text)
        except Wrong as wrong:
            self.errors[name] = str(wrong)
            return None


def _part_of(rule: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = rule.get(name)
    return part if isinstance(part, Mapping) else {}
