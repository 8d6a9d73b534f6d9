"""What was bought by the same key before: counts and sums over windows, for a batch at once.

A window [t - w, t] holds both ends and the order itself. That is the definition. Live orders may
come in late, after younger ones that overtook them: for them (``late``) the fullest window counts
that the order lies in and that ends at it or later, for that is the one that would have caught it.

A key may be a pair (``buyer+address``: both equal). ``sku`` in a key, like ``same_sku``, means
orders that share a SKU with this one; of several SKUs the one with the most counts.
"""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from django.db import connection

from ordercenter.core.clock import SHANGHAI
from risk.contracts import NOT_APPLICABLE, Seen, Subject
from risk.facts.lists import Lists
from risk.language import FactSpec

DAY: Final = timedelta(days=1)
SKU: Final = "sku"
EVIDENCE: Final = ("buyer", "device", "phone", "address", "ip")
_COLUMNS: Final = {key: key if key == "ip" else f"{key}_key" for key in EVIDENCE}
_PEER: Final = "e.order_id, e.placed_at, e.amount, " + ", ".join(
    f"e.{column}" for column in _COLUMNS.values()
)


@dataclass(slots=True)
class Peer:
    """Another order, or this one, as the windows see it."""

    order_id: int
    placed_at: datetime
    amount: Decimal
    buyer: str
    device: str
    phone: str
    address: str
    ip: str


@dataclass(frozen=True, slots=True)
class Goods:
    """What an order is of: all its SKUs, and the pieces bought of each (gifts are not bought)."""

    skus: frozenset[int]
    pieces: Mapping[int, tuple[str, int]]
    """(code, pieces) by SKU."""


_NO_GOODS: Final = Goods(frozenset(), {})
Measure = Callable[[Sequence[Peer], int | None], Any]
"""Of these orders, and of which SKU where the key names goods."""


class History:
    """Orders that share a key with the batch: stored ones, and the batch itself."""

    def __init__(
        self, subjects: Sequence[Subject], specs: Sequence[FactSpec], lists: Lists, *, late: bool
    ) -> None:
        self._subjects, self._lists, self._late = subjects, lists, late
        self._batch = {s.order_id for s in subjects}
        self._peers: dict[tuple[str, int], dict[int, Peer]] = defaultdict(dict)
        self._sorted: dict[tuple[str, int], list[Peer]] = {}
        self._goods = {s.order_id: _goods_of(s) for s in subjects} if specs else {}
        spans: dict[str, timedelta] = {}
        for spec in specs:
            span = DAY if spec.name == "day_amount" else timedelta(seconds=spec.window_seconds)
            for key in spec.keys:
                base = _base(key)
                spans[base] = max(span, spans.get(base, timedelta()))
        self._read(spans)
        if SKU in spans:
            self._read_by_sku(spans[SKU])
        self._mix_in_batch(spans)
        for at, found in self._peers.items():
            self._sorted[at] = sorted(found.values(), key=lambda p: (p.placed_at, p.order_id))
        goods = {_base(key) for spec in specs if _asks_goods(spec) for key in spec.keys}
        goods |= {_base(key) for spec in specs for key in spec.keys if SKU in key}
        self._read_goods(goods)

    # --- reading ----------------------------------------------------------------------------------

    def _read(self, spans: Mapping[str, timedelta]) -> None:
        """One statement for all keys."""
        parts, values = [], []
        for key in EVIDENCE:
            span = spans.get(key)
            wanted = [(n, s.key(key), s.placed_at) for n, s in enumerate(self._subjects)
                      if span is not None and s.key(key)]  # fmt: skip
            if span is None or not wanted:
                continue
            parts.append(
                f"SELECT '{key}', b.n, {_PEER} "  # noqa: S608 - columns of a fixed table
                "FROM unnest(%s::int[], %s::text[], %s::timestamptz[], %s::timestamptz[]) "
                "AS b(n, key, low, high) JOIN orders_orderevidence e "
                f"ON e.{_COLUMNS[key]} = b.key AND e.{_COLUMNS[key]} <> '' "
                "AND e.placed_at BETWEEN b.low AND b.high"
            )
            values += [
                [n for n, _, _ in wanted],
                [value for _, value, _ in wanted],
                [at - span for _, _, at in wanted],
                [at + (span if self._late else timedelta()) for _, _, at in wanted],
            ]
        if parts:
            self._keep(" UNION ALL ".join(parts), values)

    def _read_by_sku(self, span: timedelta) -> None:
        wanted = [
            (n, sku, s.placed_at - span, s.placed_at + (span if self._late else timedelta()))
            for n, s in enumerate(self._subjects)
            for sku in self._goods[s.order_id].skus
        ]
        if wanted:
            self._keep(
                f"SELECT DISTINCT 'sku', b.n, {_PEER} "  # noqa: S608 - columns of a fixed table
                "FROM unnest(%s::int[], %s::bigint[], %s::timestamptz[], %s::timestamptz[]) "
                "AS b(n, sku, low, high) JOIN orders_salesorder o "
                "ON o.placed_at BETWEEN b.low AND b.high JOIN orders_orderline l "
                "ON l.order_id = o.id AND l.sku_id = b.sku AND NOT l.is_dropped "
                "JOIN orders_orderevidence e ON e.order_id = o.id",
                list(map(list, zip(*wanted, strict=True))),
            )

    def _keep(self, statement: str, values: Sequence[Any]) -> None:
        with connection.cursor() as cursor:
            cursor.execute(statement, values)
            for key, n, order_id, *rest in cursor.fetchall():
                # Of the orders in hand only the batch knows what they have become.
                if order_id not in self._batch:
                    self._peers[key, n][order_id] = Peer(order_id, *rest)

    def _mix_in_batch(self, spans: Mapping[str, timedelta]) -> None:
        batch = [
            Peer(s.order_id, s.placed_at, s.amount, s.buyer, s.device, s.phone, s.address, s.ip)
            for s in self._subjects
        ]
        for key, span in spans.items():
            together: dict[str | int, list[int]] = defaultdict(list)
            for n, subject in enumerate(self._subjects):
                own = self._goods[subject.order_id].skus if key == SKU else {subject.key(key)}
                for value in own:
                    if value:
                        together[value].append(n)
            for members in together.values():
                for n in members:
                    mine, at = self._peers[key, n], batch[n].placed_at
                    for other in members:
                        if abs(batch[other].placed_at - at) <= span:
                            mine[batch[other].order_id] = batch[other]

    def _read_goods(self, keys: Iterable[str]) -> None:
        wanted = {
            order_id
            for key in keys
            for n in range(len(self._subjects))
            for order_id in self._peers.get((key, n), ())
        } - self._goods.keys()
        if not wanted:
            return
        found: dict[int, dict[int, tuple[str, int]]] = defaultdict(dict)
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT l.order_id, l.sku_id, k.code, coalesce(sum(l.quantity) FILTER "
                "(WHERE NOT (l.is_gift OR (k.is_gift AND l.amount = 0))), 0) "
                "FROM orders_orderline l JOIN catalog_sku k ON k.id = l.sku_id "
                "WHERE l.order_id = ANY(%s) AND NOT l.is_dropped "
                "GROUP BY l.order_id, l.sku_id, k.code",
                [list(wanted)],
            )
            for order_id, sku, code, pieces in cursor.fetchall():
                found[order_id][sku] = (code, int(pieces))
        for order_id, pieces in found.items():
            self._goods[order_id] = Goods(frozenset(pieces), pieces)

    # --- counting ---------------------------------------------------------------------------------

    def orders(self, n: int, spec: FactSpec) -> Seen:
        """How many orders, or how many different values of another key among them."""
        distinct = spec.param("distinct")
        return self._best(n, spec, _count if distinct == "orders" else self._different(distinct))

    def money(self, n: int, spec: FactSpec) -> Seen:
        """What the orders of the window come to."""
        return self._best(n, spec, _money)

    def units(self, n: int, spec: FactSpec) -> Seen:
        """How many pieces were bought, of these goods where any are named."""
        named = frozenset(spec.param("skus", ()))
        code = spec.param("list", "")
        at = self._subjects[n].listed_at

        def pieces(peers: Sequence[Peer], only: int | None) -> int:
            return sum(
                count
                for peer in peers
                for pk, (sku, count) in self._goods.get(peer.order_id, _NO_GOODS).pieces.items()
                if (only is None or pk == only)
                and (not named or sku in named)
                and (not code or self._lists.holds(code, sku, at))
            )

        return self._best(n, spec, pieces)

    def _different(self, key: str) -> Measure:
        if key == SKU:
            goods = self._goods
            return lambda peers, _only: len(
                {sku for p in peers for sku in goods.get(p.order_id, _NO_GOODS).skus}
            )
        return lambda peers, _only: len({getattr(p, key) for p in peers} - {""})

    def _best(self, n: int, spec: FactSpec, measure: Measure) -> Seen:
        """The largest figure of all keys, and the orders it was counted from."""
        subject = self._subjects[n]
        window = timedelta(seconds=spec.window_seconds)
        best: Any = None
        members: Sequence[Peer] = ()
        for key in spec.keys:
            for only, group in self._groups(n, key, same_sku=bool(spec.param("same_sku"))):
                for peers in self._windows(group, subject.placed_at, window):
                    figure = measure(peers, only)
                    if best is None or figure > best:
                        best, members = figure, peers
        if best is None:
            return Seen(NOT_APPLICABLE)
        return Seen(best, tuple([p.order_id for p in members if p.order_id != subject.order_id]))

    def _groups(
        self, n: int, key: str, *, same_sku: bool
    ) -> Iterable[tuple[int | None, Sequence[Peer]]]:
        """Those that share the key; one group for each SKU where goods are part of it."""
        peers: Sequence[Peer] = self._sorted.get((_base(key), n), ())
        subject = self._subjects[n]
        parts = set(key.split("+")) - {_base(key), SKU}
        if not peers or any(not subject.key(part) for part in parts):
            return []
        if parts:
            told = {part: subject.key(part) for part in parts}
            peers = [p for p in peers if all(getattr(p, k) == v for k, v in told.items())]
        if SKU not in key and (not same_sku or len(peers) == 1):
            return [(None, peers)]
        goods = self._goods
        return [
            (sku, [p for p in peers if sku in goods.get(p.order_id, _NO_GOODS).skus])
            for sku in sorted(goods[subject.order_id].skus)
        ]

    def _windows(
        self, peers: Sequence[Peer], at: datetime, window: timedelta
    ) -> Iterable[Sequence[Peer]]:
        """The window that ends at the order; where it may be late, those that end later, too."""
        if len(peers) == 1:
            yield peers
            return
        times = [p.placed_at for p in peers]
        ends = {at}
        if self._late:
            ends |= {one for one in times[bisect_left(times, at) :] if one <= at + window}
        for end in sorted(ends):
            yield peers[bisect_left(times, end - window) : bisect_right(times, end)]

    def day_amount(self, n: int, spec: FactSpec) -> Seen:
        """Money of the key on the order's calendar day in Shanghai, up to the order itself."""
        subject = self._subjects[n]
        day = subject.placed_at.astimezone(SHANGHAI).date()
        best: Decimal | None = None
        members: Sequence[Peer] = ()
        for key in spec.keys:
            for _sku, group in self._groups(n, key, same_sku=False):
                same = [
                    p for p in group
                    if (self._late or p.placed_at <= subject.placed_at)
                    and (p.order_id == subject.order_id
                         or p.placed_at.astimezone(SHANGHAI).date() == day)
                ]  # fmt: skip
                if best is None or _money(same) > best:
                    best, members = _money(same), same
        if best is None:
            return Seen(NOT_APPLICABLE)
        return Seen(best, tuple([p.order_id for p in members if p.order_id != subject.order_id]))


def _base(key: str) -> str:
    """The part of a key that orders are looked up by; the goods only where there is no other."""
    return next((part for part in key.split("+") if part != SKU), SKU)


def _asks_goods(spec: FactSpec) -> bool:
    return (
        bool(spec.param("same_sku"))
        or spec.name == "units_in_window"
        or spec.param("distinct") == SKU
    )


def _goods_of(subject: Subject) -> Goods:
    pieces: dict[int, tuple[str, int]] = {}
    for line in subject.lines:
        before = pieces.get(line.sku_id, (line.sku_code, 0))[1]
        pieces[line.sku_id] = (line.sku_code, before + (0 if line.is_gift else line.quantity))
    return Goods(frozenset(pieces), pieces)


def _count(peers: Sequence[Peer], _only: int | None) -> int:
    return len(peers)


def _money(peers: Sequence[Peer], _only: int | None = None) -> Decimal:
    return sum((p.amount for p in peers), Decimal(0))
