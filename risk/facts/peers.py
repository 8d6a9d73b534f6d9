"""Orders that share a key with those of a batch: stored ones, read at once, and the batch itself.

What a key has in common is one group. A group may reach further than one order's window does;
who counts looks where his window begins and ends.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from operator import attrgetter
from typing import Any, Final

from django.db import connection

from ordercenter.core.bulk import array_text, text_array
from risk.contracts import Subject
from risk.language import FactSpec

DAY: Final = timedelta(days=1)
SKU: Final = "sku"
EVIDENCE: Final[Sequence[str]] = ("buyer", "device", "phone", "address", "ip")
_COLUMNS: Final = {key: key if key == "ip" else f"{key}_key" for key in EVIDENCE}
_STORED: Final = "e.order_id, e.placed_at, e.amount, e.shop_id, " + ", ".join(
    f"e.{column}" for column in _COLUMNS.values()
)
_SHINGLES: Final = "e.address_shingles"
_NOBODY: Final[Mapping[int, "Stored"]] = {}


@dataclass(slots=True)
class Stored:
    """A stored order as the windows see it."""

    order_id: int
    placed_at: datetime
    amount: Decimal
    shop_id: int
    buyer: str
    device: str
    phone: str
    address: str
    ip: str
    shingles: Sequence[int] | None
    """Read of those that share a phone only."""


Peer = Subject | Stored


@dataclass(frozen=True, slots=True)
class Group:
    """Orders that have something in common, by time and number; ``times`` are theirs."""

    peers: Sequence[Peer]
    times: Sequence[datetime]


@dataclass(frozen=True, slots=True)
class Goods:
    """What an order is of: all its SKUs, and the pieces bought of each (gifts are not bought)."""

    skus: frozenset[int]
    pieces: Mapping[int, tuple[str, int]]
    """(code, pieces) by SKU."""


NO_GOODS: Final = Goods(frozenset(), {})


def base_of(key: str) -> str:
    """The part of a key that orders are looked up by; the goods only where there is no other."""
    return next((part for part in key.split("+") if part != SKU), SKU)


def grouped(peers: Sequence[Peer]) -> Group:
    """These orders as a group; they need not be in order."""
    ordered = sorted(peers, key=_by_time)
    return Group(ordered, [peer.placed_at for peer in ordered])


def _by_time(peer: Peer) -> tuple[datetime, int]:
    return peer.placed_at, peer.order_id


class Peers:
    """The groups that the window facts of a batch are counted over."""

    def __init__(
        self, subjects: Sequence[Subject], specs: Sequence[FactSpec], *, late: bool
    ) -> None:
        """``specs``: those with keys, and likeness. ``late``: reach as far after an order, too."""
        self._subjects, self._late = subjects, late
        self._batch = {s.order_id for s in subjects}
        keyed = [spec for spec in specs if spec.keys]
        self.goods = {s.order_id: _goods_of(s) for s in subjects} if keyed else {}
        spans = _spans(specs)
        stored = self._read(spans)
        alone = [Group((s,), (s.placed_at,)) for s in subjects]
        self._groups = {
            key: self._of(key, alone, stored.get(key, {})) for key in EVIDENCE if key in spans
        }
        by_sku = self._read_by_sku(spans[SKU]) if SKU in spans else {}
        self._by_sku = self._of_goods(by_sku) if SKU in spans else {}
        self._read_goods(
            {peer for key in _of_which_goods(keyed) for found in stored.get(key, {}).values()
             for peer in found}
            | {peer for found in by_sku.values() for peer in found}
        )  # fmt: skip

    def of(self, key: str) -> Sequence[Group | None]:
        """Each order's group by one kind of evidence; None for an order without it."""
        return self._groups[key]

    def of_sku(self, sku_id: int) -> Group:
        """Orders of the batch and around it that are of this SKU."""
        return self._by_sku[sku_id]

    def _of(
        self, key: str, alone: Sequence[Group], stored: Mapping[str, Mapping[int, Stored]]
    ) -> Sequence[Group | None]:
        places: dict[str, list[int]] = defaultdict(list)
        for n, value in enumerate(map(attrgetter(key), self._subjects)):
            places[value].append(n)
        places.pop("", None)
        found: list[Group | None] = [None] * len(self._subjects)
        for value, members in places.items():
            others = stored.get(value, _NOBODY)
            if len(members) == 1 and not others:
                found[members[0]] = alone[members[0]]
                continue
            group = grouped([*[self._subjects[n] for n in members], *others.values()])
            for n in members:
                found[n] = group
        return found

    def _of_goods(self, stored: Mapping[int, Mapping[int, Stored]]) -> Mapping[int, Group]:
        together: dict[int, list[Peer]] = defaultdict(list)
        for subject in self._subjects:
            for sku in self.goods[subject.order_id].skus:
                together[sku].append(subject)
        return {
            sku: grouped([*members, *stored.get(sku, _NOBODY).values()])
            for sku, members in together.items()
        }

    # --- reading ----------------------------------------------------------------------------------

    def _read(self, spans: Mapping[str, timedelta]) -> dict[str, dict[str, dict[int, Stored]]]:
        """One statement for all keys; by key, its value and the order."""
        asked = [
            key for key in EVIDENCE if key in spans and any(map(attrgetter(key), self._subjects))
        ]
        if not asked:
            return {}
        parts = [
            f"SELECT '{key}', {_STORED}, {_SHINGLES if key == 'phone' else 'NULL::bigint[]'} "  # noqa: S608 - columns of a fixed table
            f"FROM b JOIN orders_orderevidence e ON e.{_COLUMNS[key]} = b.{key} "
            f"AND e.{_COLUMNS[key]} <> '' AND e.order_id <> b.id AND e.placed_at "
            "BETWEEN b.at - make_interval(secs => %s) AND b.at + make_interval(secs => %s)"
            for key in asked
        ]
        texts = ", ".join(["%s::text[]"] * len(asked))
        values: list[Any] = [
            array_text([s.order_id for s in self._subjects]),
            array_text([s.placed_at for s in self._subjects]),
            *[text_array(map(attrgetter(key), self._subjects)) for key in asked],
        ]
        for key in asked:
            seconds = spans[key].total_seconds()
            values += [seconds, seconds if self._late else 0]
        found: dict[str, dict[str, dict[int, Stored]]] = {key: defaultdict(dict) for key in asked}
        with connection.cursor() as cursor:
            cursor.execute(
                f"WITH b AS MATERIALIZED (SELECT * FROM unnest(%s::bigint[], %s::timestamptz[], "  # noqa: S608 - columns of a fixed table
                f"{texts}) AS b(id, at, {', '.join(asked)})) {' UNION ALL '.join(parts)}",
                values,
            )
            for key, *row in cursor.fetchall():
                one = Stored(*row)
                # Of the orders in hand only the batch knows what they have become.
                if one.order_id not in self._batch:
                    found[key][getattr(one, key)][one.order_id] = one
        return found

    def _read_by_sku(self, span: timedelta) -> dict[int, dict[int, Stored]]:
        found: dict[int, dict[int, Stored]] = defaultdict(dict)
        after = span if self._late else timedelta()
        wanted = [
            (sku, s.placed_at - span, s.placed_at + after)
            for s in self._subjects
            for sku in self.goods[s.order_id].skus
        ]
        if not wanted:
            return found
        with connection.cursor() as cursor:
            cursor.execute(
                f"SELECT DISTINCT b.sku, {_STORED}, NULL::bigint[] "  # noqa: S608 - columns of a fixed table
                "FROM unnest(%s::bigint[], %s::timestamptz[], %s::timestamptz[]) "
                "AS b(sku, low, high) JOIN orders_salesorder o "
                "ON o.placed_at BETWEEN b.low AND b.high JOIN orders_orderline l "
                "ON l.order_id = o.id AND l.sku_id = b.sku AND NOT l.is_dropped "
                "JOIN orders_orderevidence e ON e.order_id = o.id",
                list(map(list, zip(*wanted, strict=True))),
            )
            for sku, *row in cursor.fetchall():
                one = Stored(*row)
                if one.order_id not in self._batch:
                    found[sku][one.order_id] = one
        return found

    def _read_goods(self, order_ids: set[int]) -> None:
        wanted = order_ids - self.goods.keys()
        if not wanted:
            return
        found: dict[int, dict[int, tuple[str, int]]] = defaultdict(dict)
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT l.order_id, l.sku_id, k.code, coalesce(sum(l.quantity) FILTER "
                "(WHERE NOT (l.is_gift OR (k.is_gift AND l.amount = 0))), 0) "
                "FROM orders_orderline l JOIN catalog_sku k ON k.id = l.sku_id "
                "WHERE l.order_id = ANY(%s::bigint[]) AND NOT l.is_dropped "
                "GROUP BY l.order_id, l.sku_id, k.code",
                [array_text(wanted)],
            )
            for order_id, sku, code, pieces in cursor.fetchall():
                found[order_id][sku] = (code, int(pieces))
        for order_id, pieces in found.items():
            self.goods[order_id] = Goods(frozenset(pieces), pieces)


def _spans(specs: Sequence[FactSpec]) -> dict[str, timedelta]:
    """How far around an order each kind of evidence is read."""
    spans: dict[str, timedelta] = {}
    for spec in specs:
        span = DAY if spec.name == "day_amount" else timedelta(seconds=spec.window_seconds)
        for base in map(base_of, spec.keys or ("phone",)):
            spans[base] = max(span, spans.get(base, timedelta()))
    return spans


def _of_which_goods(specs: Sequence[FactSpec]) -> set[str]:
    """The evidence of those whose goods are asked."""
    return {
        base_of(key)
        for spec in specs
        for key in spec.keys
        if SKU in key.split("+") or _asks_goods(spec)
    }


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
