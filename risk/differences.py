"""What sets of rules say otherwise than others, rule by rule."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Rules = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class RuleChange:
    """One rule, before and after; None where it is not there."""

    code: str
    name: str
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None

    @property
    def fields(self) -> tuple[str, ...]:
        """What of the rule differs, by the names of the rule language."""
        if self.before is None or self.after is None:
            return ()
        names = dict.fromkeys((*self.before, *self.after))
        return tuple(n for n in names if self.before.get(n) != self.after.get(n))


@dataclass(frozen=True, slots=True)
class Difference:
    """Every rule in which two sets differ, in the order of the newer one."""

    added: tuple[RuleChange, ...] = ()
    changed: tuple[RuleChange, ...] = ()
    removed: tuple[RuleChange, ...] = ()
    same: int = 0

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self.removed)

    @property
    def codes(self) -> tuple[str, ...]:
        """Of every rule that is not the same in both."""
        return tuple(one.code for one in (*self.added, *self.changed, *self.removed))

    def summary(self) -> dict[str, Any]:
        """In plain words for a record: codes, and what changed of which."""
        return {
            "added": [one.code for one in self.added],
            "changed": {one.code: list(one.fields) for one in self.changed},
            "removed": [one.code for one in self.removed],
        }


def difference(before: Rules, after: Rules) -> Difference:
    """What ``after`` says otherwise than ``before``; rules are told apart by their codes.

    The order of the rules decides nothing and is no difference.
    """
    was = {str(rule.get("code", "")): rule for rule in before}
    now = {str(rule.get("code", "")): rule for rule in after}
    added, changed = [], []
    for code, rule in now.items():
        if code not in was:
            added.append(RuleChange(code, _name(rule), None, rule))
        elif was[code] != rule:
            changed.append(RuleChange(code, _name(rule), was[code], rule))
    removed = [
        RuleChange(code, _name(rule), rule, None) for code, rule in was.items() if code not in now
    ]
    same = len(now) - len(added) - len(changed)
    return Difference(tuple(added), tuple(changed), tuple(removed), same)


def _name(rule: Mapping[str, Any]) -> str:
    return str(rule.get("name") or rule.get("code") or "")


def is_on(rule: Mapping[str, Any] | None) -> bool:
    """Whether the rule is there and not switched off."""
    return rule is not None and bool(rule.get("enabled", True))


def stops(rule: Mapping[str, Any] | None) -> bool:
    """Whether a hit of this rule would hold an order: it is on, and of tier 2 or 3."""
    if rule is None or not is_on(rule):
        return False
    return str((rule.get("outcome") or {}).get("tier", "2")) >= "2"


def has_conditions(rule: Mapping[str, Any]) -> bool:
    """Whether anything at all has to hold for a hit, beside the scope."""
    return _leaves(rule.get("when")) > 0


def _leaves(node: Any) -> int:
    """Comparisons below a node of a rule."""
    if not isinstance(node, Mapping):
        return 0
    if "fact" in node:
        return 1
    if "not" in node:
        return _leaves(node["not"])
    parts = node.get("all") or node.get("any") or ()
    return sum(_leaves(part) for part in parts) if isinstance(parts, Sequence) else 0
