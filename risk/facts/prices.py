"""Prices: what was paid beside what the goods are worth, exact."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction

from django.db import connection

from risk.contracts import NOT_APPLICABLE, Seen, Subject
from risk.language import FactSpec

Paid = tuple[Decimal, int]
"""Money and pieces."""


def price_ratio(subject: Subject) -> Seen:
    """The lowest deal price over base price of the main lines, exact."""
    low_paid = low_full = 0
    detail = ""
    for line in subject.lines:
        if line.is_gift:
            continue
        if not line.base_price:
            return Seen(None, detail=line.sku_code)
        # In whole fen, compared crosswise: exact, and without a fraction for every line.
        paid, full = int(line.amount * 100), int(line.base_price * 100) * line.quantity
        if not low_full or paid * low_full < low_paid * full:
            low_paid, low_full, detail = paid, full, line.sku_code
    return Seen(Fraction(low_paid, low_full) if low_full else NOT_APPLICABLE, detail=detail)


def discount_ratio(subject: Subject) -> Seen:
    """What was taken off the base prices of all main lines together; below zero for dearer."""
    paid = full = 0
    for line in subject.lines:
        if line.is_gift:
            continue
        if not line.base_price:
            return Seen(None, detail=line.sku_code)
        paid += int(line.amount * 100)
        full += int(line.base_price * 100) * line.quantity
    return Seen(Fraction(full - paid, full) if full else NOT_APPLICABLE)


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
        for n, subject in enumerate(self._subjects):
            own = {line.sku_id for line in subject.lines if not line.is_gift}
            for other in self._subjects:
                is_before = subject.placed_at - window <= other.placed_at < subject.placed_at
                if not is_before or other.currency != subject.currency:
                    continue
                for line in other.lines:
                    if line.sku_id in own and not line.is_gift:
                        money, units = found.get((n, line.sku_id), (Decimal(0), 0))
                        found[n, line.sku_id] = (money + line.amount, units + line.quantity)

    def ratio(self, n: int, spec: FactSpec) -> Seen:
        """The lowest deal price over its running price of the main lines."""
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
