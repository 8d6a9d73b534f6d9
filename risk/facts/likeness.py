"""How like an order is to those of other shops: the same person may have ordered twice.

The same phone is half of it, the likeness of the addresses the other half; without the same
phone an address makes 0.84 at most, which by itself never reaches the shipped limit. It is a weak
signal: it may hold an order for review, and nothing is ever merged or canceled by it
(``docs/adr/0031``).
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from fractions import Fraction
from typing import Final

from django.db import connection

from ordercenter.core.bulk import array_text
from risk.contracts import Seen, Subject
from risk.facts.peers import Peers
from risk.facts.told import NO_MATTER, Column
from risk.language import FactSpec

SAME_PHONE: Final = Fraction(1, 2)
ADDRESS_ALONE: Final = Fraction(84, 100)
Shingles = Sequence[int] | None
_OTHERS: Final = "e.order_id, e.phone_key, e.address_shingles"


def dice(one: Shingles, other: Shingles) -> Fraction:
    """How many of their shingles two addresses share; zero where one is not known."""
    if not one or not other:
        return Fraction(0)
    mine, theirs = set(one), set(other)
    return Fraction(2 * len(mine & theirs), len(mine) + len(theirs))


@dataclass(frozen=True, slots=True)
class Other:
    """An order of another shop that may be of the same person."""

    phone: str
    shingles: Shingles


class Likeness:
    """Candidates of other shops for every order of the batch: those of the same phone, and of
    the same city where addresses alone are compared."""

    def __init__(self, subjects: Sequence[Subject], peers: Peers, *, late: bool) -> None:
        self._subjects, self._peers, self._late = subjects, peers, late

    def column(self, spec: FactSpec) -> Column:
        """The best likeness to an order of another shop, and that order."""
        span = timedelta(seconds=spec.window_seconds)
        after = span if self._late else timedelta()
        near: list[dict[int, Other]] = [{} for _ in self._subjects]
        if spec.param("address_alone"):
            near = self._read_places(span, after)
        return [
            self._likeness(subject, self._of_phone(n, span, after) | near[n])
            for n, subject in enumerate(self._subjects)
        ]

    def _of_phone(self, n: int, span: timedelta, after: timedelta) -> dict[int, Other]:
        subject, group = self._subjects[n], self._peers.of("phone")[n]
        if group is None or len(group.peers) == 1:
            return {}
        return {
            peer.order_id: Other(peer.phone, peer.shingles)
            for peer in group.peers
            if peer.shop_id != subject.shop_id
            and subject.placed_at - span <= peer.placed_at <= subject.placed_at + after
        }

    def _read_places(self, span: timedelta, after: timedelta) -> list[dict[int, Other]]:
        found: list[dict[int, Other]] = [{} for _ in self._subjects]
        batch = {s.order_id for s in self._subjects}
        rows = [
            (n, s.shop_id, s.province, s.city, array_text(s.shingles),
             s.placed_at - span, s.placed_at + after)
            for n, s in enumerate(self._subjects) if s.shingles and s.city
        ]  # fmt: skip
        if rows:
            with connection.cursor() as cursor:
                cursor.execute(_IN_CITY, list(map(list, zip(*rows, strict=True))))
                for n, order_id, phone, shingles in cursor.fetchall():
                    if order_id not in batch:
                        found[n][order_id] = Other(phone, shingles)
        self._mix_in_batch(found, span, after)
        return found

    def _mix_in_batch(
        self, found: list[dict[int, Other]], span: timedelta, after: timedelta
    ) -> None:
        by_city: dict[tuple[str, str], list[Subject]] = defaultdict(list)
        for subject in self._subjects:
            if subject.city:
                by_city[subject.province, subject.city].append(subject)
        for n, subject in enumerate(self._subjects):
            for other in by_city.get((subject.province, subject.city), ()):
                is_near = subject.placed_at - span <= other.placed_at <= subject.placed_at + after
                if is_near and other.shop_id != subject.shop_id:
                    found[n][other.order_id] = Other(other.phone, other.shingles)

    @staticmethod
    def _likeness(subject: Subject, others: Mapping[int, Other]) -> Seen:
        if not subject.phone and not subject.shingles:
            return NO_MATTER
        best, order_id = Fraction(0), 0
        for pk, other in sorted(others.items()):
            alike = dice(subject.shingles, other.shingles)
            if subject.phone and subject.phone == other.phone:
                alike = SAME_PHONE + alike / 2
            else:
                alike = min(alike, ADDRESS_ALONE)
            if alike > best:
                best, order_id = alike, pk
        return Seen(best, (order_id,)) if order_id else _LIKE_NOBODY


_LIKE_NOBODY: Final = Seen(Fraction(0))
_IN_CITY: Final = (
    f"SELECT b.n, {_OTHERS} FROM unnest(%s::int[], %s::bigint[], %s::text[], "  # noqa: S608 - own columns
    "%s::text[], %s::text[], %s::timestamptz[], %s::timestamptz[]) "
    "AS b(n, shop, province, city, shingles, low, high) "
    "JOIN orders_salesorder o ON o.placed_at BETWEEN b.low AND b.high "
    "AND o.city = b.city AND o.province = b.province AND o.shop_id <> b.shop "
    "JOIN orders_orderevidence e ON e.order_id = o.id "
    "AND e.address_shingles && b.shingles::bigint[]"
)
