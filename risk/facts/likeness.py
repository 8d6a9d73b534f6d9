"""How like an order is to those of other shops: the same person may have ordered twice.

The same phone is half of it, the likeness of the addresses the other half; without the same
phone an address makes 0.84 at most, which by itself never reaches the shipped limit. It is a weak
signal: it may hold an order for review, and nothing is ever merged or canceled by it
(``docs/adr/0031``).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Any, Final

from django.db import connection

from risk.contracts import NOT_APPLICABLE, Seen, Subject
from risk.language import FactSpec

SAME_PHONE: Final = Fraction(1, 2)
ADDRESS_ALONE: Final = Fraction(84, 100)
Shingles = Sequence[int] | None
_OTHERS: Final = "e.order_id, e.shop_id, e.placed_at, e.phone_key, e.address_shingles"


@dataclass(frozen=True, slots=True)
class Other:
    """An order that may be of the same person."""

    order_id: int
    shop_id: int
    placed_at: datetime
    phone: str
    shingles: Shingles


def dice(one: Shingles, other: Shingles) -> Fraction:
    """How many of their shingles two addresses share; zero where one is not known."""
    if not one or not other:
        return Fraction(0)
    mine, theirs = set(one), set(other)
    return Fraction(2 * len(mine & theirs), len(mine) + len(theirs))


class Likeness:
    """Candidates of other shops for every order of the batch."""

    def __init__(
        self, subjects: Sequence[Subject], specs: Iterable[FactSpec], *, late: bool
    ) -> None:
        self._subjects, self._late = subjects, late
        self._others: dict[FactSpec, list[dict[int, Other]]] = {
            spec: self._read(spec) for spec in specs
        }

    def _read(self, spec: FactSpec) -> list[dict[int, Other]]:
        found: list[dict[int, Other]] = [{} for _ in self._subjects]
        span = timedelta(seconds=spec.window_seconds)
        after = span if self._late else timedelta()
        by_phone = [
            (n, s.shop_id, s.phone, s.placed_at - span, s.placed_at + after)
            for n, s in enumerate(self._subjects)
            if s.phone
        ]
        if by_phone:
            self._keep(
                found,
                f"SELECT b.n, {_OTHERS} FROM unnest(%s::int[], %s::bigint[], %s::text[], "  # noqa: S608 - own columns
                "%s::timestamptz[], %s::timestamptz[]) AS b(n, shop, phone, low, high) "
                "JOIN orders_orderevidence e ON e.phone_key = b.phone AND e.phone_key <> '' "
                "AND e.placed_at BETWEEN b.low AND b.high AND e.shop_id <> b.shop",
                by_phone,
            )
        if spec.param("address_alone"):
            self._read_places(found, span, after)
        for n, subject in enumerate(self._subjects):
            for other in self._subjects:
                is_near = subject.placed_at - span <= other.placed_at <= subject.placed_at + after
                if other.shop_id == subject.shop_id or not is_near:
                    continue
                same_phone = subject.phone and subject.phone == other.phone
                same_city = subject.city and (subject.province, subject.city) == (
                    other.province, other.city)  # fmt: skip
                if same_phone or (spec.param("address_alone") and same_city):
                    found[n][other.order_id] = Other(
                        other.order_id, other.shop_id, other.placed_at, other.phone, other.shingles
                    )
        return found

    def _read_places(
        self, found: list[dict[int, Other]], span: timedelta, after: timedelta
    ) -> None:
        rows = [
            (n, s.shop_id, s.province, s.city, "{" + ",".join(map(str, s.shingles)) + "}",
             s.placed_at - span, s.placed_at + after)
            for n, s in enumerate(self._subjects) if s.shingles and s.city
        ]  # fmt: skip
        if rows:
            self._keep(
                found,
                f"SELECT b.n, {_OTHERS} FROM unnest(%s::int[], %s::bigint[], %s::text[], "  # noqa: S608 - own columns
                "%s::text[], %s::text[], %s::timestamptz[], %s::timestamptz[]) "
                "AS b(n, shop, province, city, shingles, low, high) "
                "JOIN orders_salesorder o ON o.placed_at BETWEEN b.low AND b.high "
                "AND o.city = b.city AND o.province = b.province AND o.shop_id <> b.shop "
                "JOIN orders_orderevidence e ON e.order_id = o.id "
                "AND e.address_shingles && b.shingles::bigint[]",
                rows,
            )

    def _keep(
        self, found: list[dict[int, Other]], statement: str, rows: Sequence[tuple[Any, ...]]
    ) -> None:
        batch = {s.order_id for s in self._subjects}
        with connection.cursor() as cursor:
            cursor.execute(statement, list(map(list, zip(*rows, strict=True))))
            for n, *other in cursor.fetchall():
                if other[0] not in batch:
                    found[n][other[0]] = Other(*other)

    def likeness(self, n: int, spec: FactSpec) -> Seen:
        """The best likeness to an order of another shop, and that order."""
        subject = self._subjects[n]
        if not subject.phone and not subject.shingles:
            return Seen(NOT_APPLICABLE)
        best, order_id = Fraction(0), 0
        for other in sorted(self._others[spec][n].values(), key=lambda o: o.order_id):
            alike = dice(subject.shingles, other.shingles)
            if subject.phone and subject.phone == other.phone:
                alike = SAME_PHONE + alike / 2
            else:
                alike = min(alike, ADDRESS_ALONE)
            if alike > best:
                best, order_id = alike, other.order_id
        return Seen(best, (order_id,) if order_id else ())
