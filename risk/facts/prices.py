"""Prices: what was paid beside what the goods are worth, exact."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from functools import cached_property, lru_cache

from django.db import connection

from risk.contracts import NOT_APPLICABLE, Seen, Subject
from risk.facts.told import NO_MATTER, Column
from risk.language import FactSpec

Paid = tuple[Decimal, int]
"""Money and pieces."""
Priced = list[tuple[int, int, str]]
"""Paid and full price in fen, and the code, of each main line."""


class ListPrices:
    """The main lines of a batch beside the base prices of their SKUs."""

    def __init__(self, subjects: Sequence[Subject]) -> None:
        self._subjects = subjects

    @cached_property
    def _priced(self) -> list[Priced | str]:
        """Of an order with a line that has no base price only the code of that line."""
        return [_priced(subject) for subject in self._subjects]

    def ratios(self, _: FactSpec) -> Column:
        """The lowest deal price over base price of the main lines, exact."""
        return [
            Seen(None, detail=lines) if isinstance(lines, str) else _lowest(lines)
            for lines in self._priced
        ]

    def discounts(self, _: FactSpec) -> Column:
        """What was taken off the base prices of all main lines together; below zero for dearer."""
        return [
            Seen(None, detail=lines) if isinstance(lines, str) else _discount(lines)
            for lines in self._priced
        ]


def _priced(subject: Subject) -> Priced | str:
    found = []
    for line in subject.lines:
        if line.is_gift:
            continue
        if not line.base_price:
            return line.sku_code
        full = int(line.base_price * 100) * line.quantity
        found.append((int(line.amount * 100), full, line.sku_code))
    return found


def _lowest(lines: Priced) -> Seen:
    if not lines:
        return NO_MATTER
    low_paid, low_full, detail = lines[0]
    for paid, full, code in lines[1:]:
        # In whole fen, compared crosswise: exact, and without a fraction for every line.
        if not low_full or paid * low_full < low_paid * full:
            low_paid, low_full, detail = paid, full, code
    return Seen(_quotient(low_paid, low_full) if low_full else NOT_APPLICABLE, detail=detail)


def _discount(lines: Priced) -> Seen:
    full = sum([line[1] for line in lines])
    return Seen(_quotient(full - sum([line[0] for line in lines]), full)) if full else NO_MATTER


@lru_cache(maxsize=8_192)
def _quotient(part: int, whole: int) -> Fraction:
    """The same goods go for the same money again and again."""
    return Fraction(part, whole)


class RunningPrices:
    """What each SKU went for before: the mean unit price of a window that ends before an order.

    Weighted by pieces, gifts and dropped lines left out, the order's currency only. A SKU that
    was never sold in the window has none, and is not compared.
    """

    def __init__(self, subjects: Sequence[Subject], specs: Iterable[FactSpec]) -> None:
        self._subjects = subjects
        self._paid: dict[int, Mapping[tuple[int, int], Paid]] = {}
        for seconds in {spec.window_seconds for spec in specs}:
            self._paid[seconds] = self._read(seconds)

    def _read(self, seconds: int) -> Mapping[tuple[int, int], Paid]:
        window = timedelta(seconds=seconds)
        wanted = [
            (n, sku, s.placed_at, s.placed_at - window, s.currency)
            for n, s in enumerate(self._subjects)
            for sku in sorted({line.sku_id for line in s.lines if not line.is_gift})
        ]
        if not wanted:
            return {}
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT b.n, b.sku, sum(l.amount), sum(l.quantity) FROM unnest(%s::int[], "
                "%s::bigint[], %s::timestamptz[], %s::timestamptz[], %s::text[]) "
                "AS b(n, sku, at, low, currency) JOIN orders_salesorder o "
                "ON o.placed_at >= b.low AND o.placed_at < b.at AND o.currency = b.currency "
                "AND o.id <> ALL(%s) JOIN orders_orderline l ON l.order_id = o.id "
                "AND l.sku_id = b.sku AND NOT l.is_dropped JOIN catalog_sku k ON k.id = l.sku_id "
                "WHERE NOT (l.is_gift OR (k.is_gift AND l.amount = 0)) GROUP BY b.n, b.sku",
                [*map(list, zip(*wanted, strict=True)), [s.order_id for s in self._subjects]],
            )
            found = {(n, sku): (money, int(units)) for n, sku, money, units in cursor.fetchall()}
        self._mix_in_batch(found, window)
        return found

    def _mix_in_batch(self, found: dict[tuple[int, int], Paid], window: timedelta) -> None:
        sold = _sold(self._subjects)
        for n, subject in enumerate(self._subjects):
            for sku in {line.sku_id for line in subject.lines if not line.is_gift}:
                times, paid = sold[sku, subject.currency]
                low = paid[bisect_left(times, subject.placed_at - window)]
                high = paid[bisect_left(times, subject.placed_at)]
                money, units = found.get((n, sku), (Decimal(0), 0))
                found[n, sku] = (money + high[0] - low[0], units + high[1] - low[1])

    def ratios(self, spec: FactSpec) -> Column:
        """The lowest deal price over its running price of the main lines."""
        return [self._ratio(n, spec) for n in range(len(self._subjects))]

    def _ratio(self, n: int, spec: FactSpec) -> Seen:
        paid = self._paid[spec.window_seconds]
        lowest: Fraction | None = None
        detail = ""
        for line in self._subjects[n].lines:
            money, units = paid.get((n, line.sku_id), (Decimal(0), 0))
            if line.is_gift or not money or not line.quantity:
                continue
            ratio = Fraction(line.amount) * units / (Fraction(money) * line.quantity)
            if lowest is None or ratio < lowest:
                lowest, detail = ratio, line.sku_code
        return Seen(NOT_APPLICABLE if lowest is None else lowest, detail=detail)


def _sold(
    subjects: Sequence[Subject],
) -> Mapping[tuple[int, str], tuple[list[datetime], list[Paid]]]:
    """By SKU and currency: when it was sold in the batch, and what had come in before each
    of these moments and after the last."""
    sales: dict[tuple[int, str], list[tuple[datetime, Decimal, int]]] = defaultdict(list)
    for subject in subjects:
        for line in subject.lines:
            if not line.is_gift:
                one = (subject.placed_at, line.amount, line.quantity)
                sales[line.sku_id, subject.currency].append(one)
    found = {}
    for key, rows in sales.items():
        rows.sort(key=_when)
        money, units = Decimal(0), 0
        paid = [(money, units)]
        for _, amount, quantity in rows:
            money, units = money + amount, units + quantity
            paid.append((money, units))
        found[key] = ([at for at, _, _ in rows], paid)
    return found


def _when(sale: tuple[datetime, Decimal, int]) -> datetime:
    return sale[0]
