"""What was bought by the same key before: counts and sums over windows, for a batch at once.

A window [t - w, t] holds both ends and the order itself. That is the definition. Live orders may
come in late, after younger ones that overtook them: for them (``late``) the fullest window counts
that the order lies in and that ends at it or later, for that is the one that would have caught it.

A key may be a pair (``buyer+address``: both equal). ``sku`` in a key, like ``same_sku``, means
orders that share a SKU with this one; of several SKUs the one with the most counts.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from ordercenter.core.clock import SHANGHAI
from risk.contracts import Seen, Subject
from risk.facts.lists import Lists
from risk.facts.peers import DAY, NO_GOODS, SKU, Group, Peer, Peers, base_of, grouped
from risk.facts.told import NO_MATTER, Column
from risk.language import FactSpec

Measure = Callable[[Sequence[Peer], int | None], Any]
"""Of these orders, and of which SKU where the key names goods."""


@dataclass(frozen=True, slots=True)
class By:
    """One key of a fact, taken apart."""

    groups: Sequence[Group | None]
    """Of each order of the batch; nothing where the key is of goods alone."""
    more: tuple[str, ...]
    """What else has to be equal."""
    names_goods: bool
    same_sku: bool

    @property
    def is_plain(self) -> bool:
        """Whether its groups are taken as they are."""
        return not (self.more or self.names_goods or self.same_sku)


class History:
    """Windows over the orders that share a key with one of the batch."""

    def __init__(
        self, subjects: Sequence[Subject], peers: Peers, lists: Lists, *, late: bool
    ) -> None:
        self._subjects, self._peers, self._lists, self._late = subjects, peers, lists, late

    def orders(self, spec: FactSpec) -> Column:
        """How many orders, or how many different values of another key among them."""
        distinct = spec.param("distinct")
        return self._column(spec, _count if distinct == "orders" else self._different(distinct))

    def money(self, spec: FactSpec) -> Column:
        """What the orders of the window come to."""
        return self._column(spec, _money)

    def units(self, spec: FactSpec) -> Column:
        """How many pieces were bought, of these goods where any are named."""
        named = frozenset(spec.param("skus", ()))
        code = spec.param("list", "")
        goods = self._peers.goods
        keys, window = self._keys(spec), timedelta(seconds=spec.window_seconds)

        def counted(sku: str, at: datetime) -> bool:
            return (not named or sku in named) and (not code or self._lists.holds(code, sku, at))

        def pieces_at(at: datetime) -> Measure:
            return lambda peers, only: sum(
                [
                    count
                    for peer in peers
                    for pk, (sku, count) in goods.get(peer.order_id, NO_GOODS).pieces.items()
                    if (only is None or pk == only) and counted(sku, at)
                ]
            )

        return [
            self._best(n, keys, window, pieces_at(subject.listed_at))
            for n, subject in enumerate(self._subjects)
        ]

    def day_amounts(self, spec: FactSpec) -> Column:
        """Money of the key on the order's calendar day in Shanghai, up to the order itself."""
        keys = self._keys(spec)
        return [self._day_amount(n, keys) for n in range(len(self._subjects))]

    def _different(self, key: str) -> Measure:
        if key == SKU:
            goods = self._peers.goods
            return lambda peers, _only: len(
                {sku for p in peers for sku in goods.get(p.order_id, NO_GOODS).skus}
            )
        return lambda peers, _only: len({getattr(p, key) for p in peers} - {""})

    def _keys(self, spec: FactSpec) -> list[By]:
        same_sku = bool(spec.param("same_sku"))
        found = []
        for key in spec.keys:
            base, parts = base_of(key), key.split("+")
            more = tuple(part for part in parts if part not in {base, SKU})
            groups = () if base == SKU else self._peers.of(base)
            found.append(By(groups, more, SKU in parts, same_sku))
        return found

    def _column(self, spec: FactSpec, measure: Measure) -> Column:
        keys, window = self._keys(spec), timedelta(seconds=spec.window_seconds)
        return [self._best(n, keys, window, measure) for n in range(len(self._subjects))]

    def _best(self, n: int, keys: Sequence[By], window: timedelta, measure: Measure) -> Seen:
        """The largest figure of all keys, and the orders it was counted from."""
        subject = self._subjects[n]
        best: Any = None
        members: Sequence[Peer] = ()
        for by in keys:
            for only, group in self._groups(n, by):
                for peers in self._windows(group, subject.placed_at, window):
                    figure = measure(peers, only)
                    if best is None or figure > best:
                        best, members = figure, peers
        return _seen(best, members, subject)

    def _groups(self, n: int, by: By) -> Iterable[tuple[int | None, Group]]:
        """Those that share the key; one group for each SKU where goods are part of it."""
        subject, goods = self._subjects[n], self._peers.goods
        if by.names_goods and not by.groups:
            return [(pk, self._peers.of_sku(pk)) for pk in sorted(goods[subject.order_id].skus)]
        group = by.groups[n]
        if group is None:
            return ()
        if by.is_plain:
            return ((None, group),)
        if not all(map(subject.key, by.more)):
            return ()
        if by.more:
            told = [(part, subject.key(part)) for part in by.more]
            group = grouped([p for p in group.peers if all(getattr(p, k) == v for k, v in told)])
        skus = goods[subject.order_id].skus
        if not by.names_goods and (not by.same_sku or (skus and len(group.peers) == 1)):
            return ((None, group),)
        return [
            (pk, grouped([p for p in group.peers if pk in goods.get(p.order_id, NO_GOODS).skus]))
            for pk in sorted(skus)
        ]

    def _windows(self, group: Group, at: datetime, window: timedelta) -> Iterable[Sequence[Peer]]:
        """The window that ends at the order; where it may be late, those that end later, too."""
        peers, times = group.peers, group.times
        if len(peers) == 1:
            return (peers,)
        ends = [at]
        if self._late:
            ends = sorted(set(times[bisect_left(times, at) : bisect_right(times, at + window)]))
        return [peers[bisect_left(times, end - window) : bisect_right(times, end)] for end in ends]

    def _day_amount(self, n: int, keys: Sequence[By]) -> Seen:
        subject = self._subjects[n]
        best: Decimal | None = None
        members: Sequence[Peer] = ()
        for by in keys:
            for _, group in self._groups(n, by):
                same = group.peers if len(group.peers) == 1 else self._of_day(group, subject)
                if best is None or _money(same) > best:
                    best, members = _money(same), same
        return _seen(best, members, subject)

    def _of_day(self, group: Group, subject: Subject) -> Sequence[Peer]:
        at, day = subject.placed_at, subject.placed_at.astimezone(SHANGHAI).date()
        low = bisect_left(group.times, at - DAY)
        high = bisect_right(group.times, at + DAY if self._late else at)
        return [
            p for p in group.peers[low:high]
            if p.order_id == subject.order_id or p.placed_at.astimezone(SHANGHAI).date() == day
        ]  # fmt: skip


def _seen(best: Any, members: Sequence[Peer], subject: Subject) -> Seen:
    if best is None:
        return NO_MATTER
    if len(members) == 1:
        return Seen(best)
    return Seen(best, tuple([p.order_id for p in members if p.order_id != subject.order_id]))


def _count(peers: Sequence[Peer], _only: int | None) -> int:
    return len(peers)


def _money(peers: Sequence[Peer], _only: int | None = None) -> Decimal:
    return sum([p.amount for p in peers], Decimal(0))
