"""Scope, condition and outcome of a rule as SQL expressions over one order.

SQL's own logic of three values is the language's: unknown is NULL, and what does not apply is
false before any ``not`` sees it.
"""

from datetime import time
from decimal import Decimal
from functools import partial
from typing import Final

from risk.language import All, Compare, Node, Not, Scope, compares
from risk.setwise.facts import Facts
from risk.setwise.statement import FALSE, TRUE, Statement, Told

_OPS: Final = {">=": ">=", ">": ">", "<": "<", "<=": "<=", "==": "=", "!=": "<>"}
_LISTS: Final = frozenset({"in_list", "carrier_reach"})
_CLOCK: Final = "(s.placed_at AT TIME ZONE 'Asia/Shanghai')::time"


class Conditions:
    """Turns the conditions of one statement's rules into text."""

    def __init__(self, statement: Statement, facts: Facts) -> None:
        self._statement, self._facts = statement, facts

    def holds(self, node: Node) -> str:
        """True, false, or NULL where it cannot be said.

        What is surely so is told as TRUE or FALSE; what it makes needless is not even read.
        """
        if isinstance(node, Compare):
            return self._compare(node)
        if isinstance(node, Not):
            return _negated(self.holds(node.part))
        decides, other = (FALSE, TRUE) if isinstance(node, All) else (TRUE, FALSE)
        texts = []
        for part in sorted(node.parts, key=_reads_much):
            text = self.holds(part)
            if text == decides:
                return decides
            if text != other:
                texts.append(text)
        joint = " AND " if isinstance(node, All) else " OR "
        return f"({joint.join(texts)})" if texts else other

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
        if told.value in {FALSE, TRUE}:
            is_so = (told.value == TRUE) is node.value
            return (told.applies or TRUE) if is_so else FALSE
        text = self._against(node, told)
        return f"(CASE WHEN {told.applies} THEN {text} ELSE false END)" if told.applies else text

    def _against(self, node: Compare, told: Told) -> str:
        value, bind = told.value, self._statement.bind
        if node.spec.kind.type == "bool":
            return f"({value})" if node.value else f"(NOT {value})"
        if isinstance(node.value, Decimal):
            # Counts are compared as what they are: turning each into a decimal takes its time.
            is_whole = node.spec.kind.type == "count" and node.value == int(node.value)
            limit = bind(int(node.value), "bigint") if is_whole else bind(node.value, "numeric")
            op = _OPS[node.op]
            return told.against(op, limit) if told.against else f"({value} {op} {limit})"
        assert isinstance(node.value, tuple)
        if node.spec.kind.type == "text":
            found = [f"strpos({value}, {bind(word, 'text')}) > 0" for word in node.value]
            return f"({' OR '.join(found)})"
        texts = bind(list(node.value), "text[]")
        return (told.against or partial(_against_array, value))(node.op, texts)


def _against_array(value: str, op: str, texts: str) -> str:
    if op == "in":
        return f"(cardinality({value}) > 0 AND {value} <@ {texts})"
    return f"({value} && {texts})" if op == "has_any" else f"(NOT {value} && {texts})"


def _negated(text: str) -> str:
    return {TRUE: FALSE, FALSE: TRUE}.get(text, f"(NOT {text})")


def _reads_much(node: Node) -> bool:
    """Whether a part asks more than lists: those are looked at first, for they may be empty."""
    return any(one.spec.name not in _LISTS for one in compares(node))
