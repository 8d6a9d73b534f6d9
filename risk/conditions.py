"""A rule's condition and scope as functions: of one order, and as a sieve for a whole batch.

Made of closures: no text is ever evaluated. Truth has three values, ``None`` is unknown.
"""

import operator
from collections.abc import Callable, Mapping, Sequence
from datetime import time
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

from ordercenter.core.clock import SHANGHAI
from risk.contracts import NOT_APPLICABLE, FactValue, Subject
from risk.language import All, Compare, FactSpec, Node, Not, Scope

Truth = bool | None
Values = Sequence[FactValue]
Test = Callable[[Values], Truth]
Columns = Sequence[Sequence[FactValue]]
"""The values of each fact, an order's at its place in the batch."""
Sieve = Callable[[Columns, Sequence[int]], Sequence[int]]
"""Of these places those at which a condition is not surely false."""
Fits = Callable[[Subject], bool]
_OPERATORS: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    ">=": operator.ge,
    ">": operator.gt,
    "<": operator.lt,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
}


def test_of(node: Node, places: Mapping[FactSpec, int]) -> Test:
    """The condition as a function of the facts' values, in the order of ``places``."""
    if isinstance(node, Compare):
        return comparison(node, places[node.spec])
    if isinstance(node, Not):
        inner = test_of(node.part, places)

        def negated(values: Values) -> Truth:
            truth = inner(values)
            return None if truth is None else not truth

        return negated
    tests = tuple(test_of(part, places) for part in node.parts)
    decides = not isinstance(node, All)  # a false part decides "and", a true one "or"

    def joined(values: Values) -> Truth:
        result: Truth = not decides
        for test in tests:
            truth = test(values)
            if truth is decides:
                return decides
            if truth is None:
                result = None
        return result

    return tests[0] if len(tests) == 1 else joined


def comparison(one: Compare, place: int) -> Test:
    if isinstance(one.value, tuple):
        return _texts(one, place)
    limit = _exact(one)
    compare = operator.eq if one.op == "is" else _OPERATORS[one.op]

    def test(values: Values) -> Truth:
        value = values[place]
        if value is None:
            return None
        return value is not NOT_APPLICABLE and compare(value, limit)

    return test


def _exact(one: Compare) -> Decimal | Fraction | int | bool:
    """The limit as the kind of number the fact is of; they compare exactly."""
    assert not isinstance(one.value, tuple)
    if isinstance(one.value, bool) or one.spec.kind.type == "money":
        return one.value
    exact = Fraction(one.value)
    is_whole = one.spec.kind.type != "ratio" and exact.denominator == 1
    return exact.numerator if is_whole else exact


def _texts(one: Compare, place: int) -> Test:
    assert isinstance(one.value, tuple)
    texts, op = frozenset(one.value), one.op

    def test(values: Values) -> Truth:
        value = values[place]
        if value is None or value is NOT_APPLICABLE:
            return None if value is None else False
        if isinstance(value, str):
            return any(word in value for word in texts)
        assert isinstance(value, frozenset)
        if op == "in":
            return bool(value) and value <= texts
        return value.isdisjoint(texts) is (op == "not_in")

    return test


def sieve_of(node: Node, places: Mapping[FactSpec, int]) -> Sieve:
    """The condition as a sieve for a whole batch."""
    if isinstance(node, Compare):
        return _sieve(node, places[node.spec])
    if isinstance(node, Not):
        test = test_of(node, places)
        return lambda columns, among: [
            n for n in among if test([column[n] for column in columns]) is not False
        ]
    parts = tuple(sieve_of(part, places) for part in node.parts)
    if len(parts) == 1:
        return parts[0]
    if isinstance(node, All):

        def every(columns: Columns, among: Sequence[int]) -> Sequence[int]:
            for sieve in parts:
                among = sieve(columns, among)
            return among

        return every
    return lambda columns, among: sorted({n for sieve in parts for n in sieve(columns, among)})


def _sieve(one: Compare, place: int) -> Sieve:
    if one.spec.kind.type == "ratio":
        return _sieve_of_ratios(one, place)
    if isinstance(one.value, tuple):
        return _sieve_of_texts(one, place)
    limit = _exact(one)
    compare = operator.eq if one.op == "is" else _OPERATORS[one.op]

    def sieve(columns: Columns, among: Sequence[int]) -> Sequence[int]:
        column = columns[place]
        return [
            n
            for n in among
            if (value := column[n]) is None
            or (value is not NOT_APPLICABLE and compare(value, limit))
        ]

    return sieve


def _sieve_of_texts(one: Compare, place: int) -> Sieve:
    test = _texts(one, 0)
    if one.op == "not_in":  # true of an empty set; of nothing else that is empty anything is true
        return lambda columns, among: [n for n in among if test((columns[place][n],)) is not False]

    def sieve(columns: Columns, among: Sequence[int]) -> Sequence[int]:
        column = columns[place]
        return [
            n for n in among if (value := column[n]) is None or (value and test((value,)) is True)
        ]

    return sieve


def _sieve_of_ratios(one: Compare, place: int) -> Sieve:
    """Two fractions compared crosswise: in whole numbers, which is exact and much faster."""
    assert isinstance(one.value, Decimal)
    limit, compare = Fraction(one.value), _OPERATORS[one.op]
    over, under = limit.numerator, limit.denominator

    def sieve(columns: Columns, among: Sequence[int]) -> Sequence[int]:
        column: Any = columns[place]
        return [
            n
            for n in among
            if (value := column[n]) is None
            or (
                value is not NOT_APPLICABLE
                and compare(value.numerator * under, over * value.denominator)
            )
        ]

    return sieve


def fits_of(scope: Scope) -> Fits | None:
    """Whether an order lies in a scope; None where every order does."""
    parts: list[Fits] = []
    if scope.shops:
        parts.append(lambda s: s.shop in scope.shops)
    if scope.channels:
        parts.append(lambda s: s.channel in scope.channels)
    if scope.categories:
        parts.append(lambda s: not s.categories.isdisjoint(scope.categories))
    low, below = scope.amount_from, scope.amount_below
    if low is not None:
        parts.append(lambda s: s.amount >= low)
    if below is not None:
        parts.append(lambda s: s.amount < below)
    if scope.hours is not None:
        begin, end = scope.hours
        parts.append(lambda s: _within(s, begin, end))
    if len(parts) <= 1:
        return parts[0] if parts else None
    return lambda s: all(part(s) for part in parts)


def _within(subject: Subject, begin: time, end: time) -> bool:
    at = subject.placed_at.astimezone(SHANGHAI).time()
    return begin <= at < end if begin < end else at >= begin or at < end
