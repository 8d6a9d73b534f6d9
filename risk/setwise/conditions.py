"""Scope, condition and outcome of a rule as SQL expressions over one order.

SQL's own logic of three values is the language's: unknown is NULL, and what does not apply is
false before any ``not`` sees it.
"""

from datetime import time
from decimal import Decimal
from typing import Final

from risk.language import All, AnyOf, Compare, Node, Not, Scope
from risk.registry import FACTS, NUMBERS
from risk.setwise.facts import Facts
from risk.setwise.statement import Statement

_OPS: Final = {">=": ">=", ">": ">", "<": "<", "<=": "<=", "==": "=", "!=": "<>"}
_CLOCK: Final = "(s.placed_at AT TIME ZONE 'Asia/Shanghai')::time"


class Conditions:
    """Turns the conditions of one statement's rules into text."""

    def __init__(self, statement: Statement, facts: Facts) -> None:
        self._statement, self._facts = statement, facts

    def holds(self, node: Node) -> str:
        """True, false, or NULL where it cannot be said."""
        if isinstance(node, Compare):
            return self._compare(node)
        if isinstance(node, Not):
            return f"(NOT {self.holds(node.part)})"
        parts = [self.holds(part) for part in node.parts]
        if isinstance(node, All):
            return f"({' AND '.join(parts)})" if parts else "true"
        assert isinstance(node, AnyOf)
        return f"({' OR '.join(parts)})" if parts else "false"

    def fits(self, scope: Scope) -> str:
        """Whether the order lies in the scope; never NULL."""
        bind = self._statement.bind
        parts = []
        if scope.shops:
            parts.append(f"s.shop = ANY({bind(sorted(scope.shops), 'text[]')})")
        if scope.channels:
            parts.append(f"s.channel = ANY({bind(sorted(scope.channels), 'text[]')})")
        if scope.categories:
            texts = bind(sorted(scope.categories), "text[]")
            one = f"bool_or(NOT is_gift AND category = ANY({texts}))"
            parts.append(f"COALESCE({self._statement.goods(one)}, false)")
        if scope.amount_from is not None:
            parts.append(f"s.amount >= {bind(scope.amount_from, 'numeric')}")
        if scope.amount_below is not None:
            parts.append(f"s.amount < {bind(scope.amount_below, 'numeric')}")
        if scope.hours is not None:
            parts.append(self._within(*scope.hours))
        return " AND ".join(parts) or "true"

    def _within(self, begin: time, end: time) -> str:
        low, high = (self._statement.bind(one, "time") for one in (begin, end))
        joint = "AND" if begin < end else "OR"
        return f"({_CLOCK} >= {low} {joint} {_CLOCK} < {high})"

    def _compare(self, node: Compare) -> str:
        told = self._facts.told(node.spec)
        text = self._against(node, told.value)
        return f"(CASE WHEN {told.applies} THEN {text} ELSE false END)" if told.applies else text

    def _against(self, node: Compare, value: str) -> str:
        bind, kind = self._statement.bind, FACTS[node.spec.name].type
        if kind in NUMBERS:
            assert isinstance(node.value, Decimal)
            # Counts are compared as what they are: turning each into a decimal takes its time.
            is_whole = kind == "count" and node.value == int(node.value)
            limit = bind(int(node.value), "bigint") if is_whole else bind(node.value, "numeric")
            return f"({value} {_OPS[node.op]} {limit})"
        if kind == "bool":
            return f"({value})" if node.value else f"(NOT {value})"
        assert isinstance(node.value, tuple)
        if kind == "text":
            found = [f"strpos({value}, {bind(word, 'text')}) > 0" for word in node.value]
            return f"({' OR '.join(found)})"
        texts = bind(list(node.value), "text[]")
        if node.op == "in":
            return f"(cardinality({value}) > 0 AND {value} <@ {texts})"
        return f"({value} && {texts})" if node.op == "has_any" else f"(NOT {value} && {texts})"
