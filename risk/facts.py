"""Facts for a batch of orders, computed set-wise: a few statements whatever the batch size.

A window [t - w, t] counts distinct orders of the same key, both ends and the order itself
included. An order that comes in late also sees the younger ones that overtook it: the window
that would have caught it ends at theirs.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Final

from django.db import connection

from ordercenter.catalog.gifts import MANUAL, Basket, Missed, Piece, Strategy, judge, matching
from ordercenter.core.clock import SHANGHAI
from risk.contracts import NOT_APPLICABLE, Seen, Subject, SubjectLine
from risk.rules import FactSpec

DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class _Peer:
    order_id: int
    placed_at: datetime
    amount: Decimal


class History:
    """Orders that share a key with the batch: stored ones, and the batch itself."""

    def __init__(self, subjects: Sequence[Subject], specs: Iterable[FactSpec]) -> None:
        self._subjects = subjects
        self._peers: dict[tuple[str, int], dict[int, _Peer]] = defaultdict(dict)
        self._skus: dict[int, frozenset[int]] = {
            s.order_id: frozenset(line.sku_id for line in s.lines) for s in subjects
        }
        spans: dict[str, timedelta] = {}
        needs_skus: set[str] = set()
        for spec in specs:
            span = DAY if spec.name == "day_amount" else timedelta(seconds=spec.window_seconds)
            for key in spec.keys:
                spans[key] = max(span, spans.get(key, timedelta()))
                if spec.same_sku:
                    needs_skus.add(key)
        for key, span in spans.items():
            self._read(key, span)
            self._mix_in_batch(key, span)
        self._read_skus(needs_skus)

    def _read(self, key: str, span: timedelta) -> None:
        wanted = [(n, s.key(key), s.placed_at) for n, s in enumerate(self._subjects) if s.key(key)]
        if not wanted:
            return
        column = "ip" if key == "ip" else f"{key}_key"
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT b.n, e.order_id, e.placed_at, e.amount "  # noqa: S608 - column of a fixed table
                "FROM unnest(%s::int[], %s::text[], %s::timestamptz[], %s::timestamptz[]) "
                "AS b(n, key, low, high) JOIN orders_orderevidence e "
                f"ON e.{column} = b.key AND e.{column} <> '' "
                "AND e.placed_at BETWEEN b.low AND b.high",
                [
                    [n for n, _, _ in wanted],
                    [value for _, value, _ in wanted],
                    [at - span for _, _, at in wanted],
                    [at + span for _, _, at in wanted],
                ],
            )
            for n, order_id, placed_at, amount in cursor.fetchall():
                self._peers[key, n][order_id] = _Peer(order_id, placed_at, amount)

    def _mix_in_batch(self, key: str, span: timedelta) -> None:
        by_key: dict[str, list[tuple[int, _Peer]]] = defaultdict(list)
        for n, subject in enumerate(self._subjects):
            if value := subject.key(key):
                peer = _Peer(subject.order_id, subject.placed_at, subject.amount)
                by_key[value].append((n, peer))
        for members in by_key.values():
            for n, peer in members:
                mine = self._peers[key, n]
                for _, other in members:
                    if abs(other.placed_at - peer.placed_at) <= span:
                        mine[other.order_id] = other

    def _read_skus(self, keys: Iterable[str]) -> None:
        wanted = {
            order_id
            for key in keys
            for n in range(len(self._subjects))
            for order_id in self._peers.get((key, n), ())
        } - self._skus.keys()
        if not wanted:
            return
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT order_id, array_agg(sku_id) FROM orders_orderline "
                "WHERE order_id = ANY(%s) AND sku_id IS NOT NULL GROUP BY order_id",
                [list(wanted)],
            )
            for order_id, skus in cursor.fetchall():
                self._skus[order_id] = frozenset(skus)

    def in_window(self, n: int, spec: FactSpec) -> Seen:
        """The fullest window of the spec's length that this order lies in."""
        subject = self._subjects[n]
        window = timedelta(seconds=spec.window_seconds)
        best: tuple[int, ...] = (subject.order_id,)
        found_key = False
        for key in spec.keys:
            peers = self._peers.get((key, n))
            if not peers:
                continue
            found_key = True
            if len(peers) == 1:
                continue  # nobody but the order itself
            near = [p for p in peers.values() if abs(p.placed_at - subject.placed_at) <= window]
            for group in self._groups(n, near, same_sku=spec.same_sku):
                members = _fullest(subject.placed_at, group, window)
                if len(members) > len(best):
                    best = members
        if not found_key:
            return Seen(NOT_APPLICABLE)
        return Seen(len(best), tuple(pk for pk in best if pk != subject.order_id))

    def _groups(
        self, n: int, peers: Sequence[_Peer], *, same_sku: bool
    ) -> Iterable[Sequence[_Peer]]:
        if not same_sku or len(peers) == 1:
            return [peers]
        own = self._skus[self._subjects[n].order_id]
        nothing: frozenset[int] = frozenset()
        return [[p for p in peers if sku in self._skus.get(p.order_id, nothing)] for sku in own]

    def day_amount(self, n: int, spec: FactSpec) -> Seen:
        """Money of the key on the order's calendar day in Shanghai, up to the order itself."""
        subject = self._subjects[n]
        day = subject.placed_at.astimezone(SHANGHAI).date()
        best = Seen(NOT_APPLICABLE)
        for key in spec.keys:
            peers = self._peers.get((key, n))
            if not peers:
                continue
            if len(peers) == 1 and not isinstance(best.value, Decimal):
                best = Seen(subject.amount)
                continue
            same = [p for p in peers.values() if p.placed_at.astimezone(SHANGHAI).date() == day]
            total = sum((p.amount for p in same), Decimal(0))
            if not isinstance(best.value, Decimal) or total > best.value:
                orders = tuple(p.order_id for p in same if p.order_id != subject.order_id)
                best = Seen(total, orders)
        return best


def _fullest(at: datetime, peers: Sequence[_Peer], window: timedelta) -> tuple[int, ...]:
    """Of all windows of this length that end at ``at`` or later and hold it, the fullest."""
    ends = {p.placed_at for p in peers if p.placed_at >= at} | {at}
    best: tuple[int, ...] = ()
    for end in ends:
        members = tuple(p.order_id for p in peers if end - window <= p.placed_at <= end)
        if len(members) > len(best):
            best = members
    return best


def price_ratio(subject: Subject) -> Seen:
    """The lowest deal price over base price of the main lines, exact."""
    lowest: tuple[int, int] | None = None
    detail = ""
    for line in subject.lines:
        if line.is_gift:
            continue
        if not line.base_price:
            return Seen(None, detail=line.sku_code)
        # In whole fen, compared crosswise: exact, and without a fraction for every line.
        paid, full = int(line.amount * 100), int(line.base_price * 100) * line.quantity
        if lowest is None or paid * lowest[1] < lowest[0] * full:
            lowest, detail = (paid, full), line.sku_code
    return Seen(NOT_APPLICABLE if lowest is None else Fraction(*lowest), detail=detail)


def gift_gap(subject: Subject, strategies: Sequence[Strategy]) -> Seen:
    """How much the main goods lack to the gifts, in money or else in pieces.

    Every gift needs a strategy that fits the shop, the time and the goods, unless a person gave
    it. Unknown where there is none at all.
    """
    present = [line for line in subject.lines if line.is_gift]
    if not present:
        return Seen(NOT_APPLICABLE)
    basket = Basket(
        subject.shop_id,
        subject.placed_at,
        tuple(
            Piece(line.sku_id, line.quantity, line.amount)
            for line in subject.lines
            if not line.is_gift
        ),
    )
    worst = Seen(Decimal(0), detail=present[0].sku_code)
    for line in present:
        missed = _missed(line, basket, strategies)
        if missed is None:
            continue
        gap = missed.amount or Decimal(missed.quantity)
        seen = Seen(gap or None, detail=f"{line.sku_code}，{missed.words}")
        if seen.value is None:
            return seen
        worst = max(worst, seen, key=lambda one: Decimal(str(one.value)))
    return worst


def _missed(line: SubjectLine, basket: Basket, strategies: Sequence[Strategy]) -> Missed | None:
    """What the line's gift misses; None where it is earned, or a person's own decision."""
    if line.gift_strategy == MANUAL:
        return None
    found = matching(strategies, line.sku_id, line.gift_strategy)
    verdicts = [judge(one, basket, gift_sku_id=line.sku_id) for one in found]
    missed = [one for one in verdicts if isinstance(one, Missed)]
    if any(one.is_manual for one in found) or len(missed) < len(verdicts):
        return None
    return min(missed, key=lambda m: m.distance, default=Missed("没有对应的赠品策略", 9))


def gift_short(subject: Subject) -> Seen:
    """Units of gifts that could not be reserved because there are not enough."""
    gifts = [line for line in subject.lines if line.is_gift]
    if not gifts:
        return Seen(NOT_APPLICABLE)
    short = [
        (line.quantity - line.available, line.sku_code)
        for line in gifts
        if line.available is not None and line.available < line.quantity
    ]
    if not short:
        return Seen(0)
    return Seen(sum(n for n, _ in short), detail="、".join(code for _, code in short))


def unlocked_available(subject: Subject) -> Seen:
    """The least that is left of a SKU this order wants and does not hold."""
    left = [(ln.available, ln.sku_code) for ln in subject.lines if ln.available is not None]
    if not left:
        return Seen(NOT_APPLICABLE)
    value, code = min(left)
    return Seen(value, detail=code)


def compute(
    subjects: Sequence[Subject], specs: Sequence[FactSpec], gifts: Sequence[Strategy]
) -> list[dict[FactSpec, Seen]]:
    """Every fact of every order of the batch."""
    history = History(subjects, [s for s in specs if s.keys])
    results: list[dict[FactSpec, Seen]] = []
    for n, subject in enumerate(subjects):
        facts: dict[FactSpec, Seen] = {}
        for spec in specs:
            if spec.name == "orders_in_window":
                facts[spec] = history.in_window(n, spec)
            elif spec.name == "day_amount":
                facts[spec] = history.day_amount(n, spec)
            elif spec.name == "price_ratio":
                facts[spec] = price_ratio(subject)
            elif spec.name == "gift_gap":
                facts[spec] = gift_gap(subject, gifts)
            elif spec.name == "gift_short":
                facts[spec] = gift_short(subject)
            else:
                facts[spec] = unlocked_available(subject)
        results.append(facts)
    return results
