"""What was bought before by the same key: counts and sums over windows that end at the order.

A window [t - w, t] holds both ends and everybody who ordered at the same moment: RANGE counts
the peers of the last row. One part a key sorts once, whatever the number of windows.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Final

from risk.language import FactSpec
from risk.setwise.statement import Statement, Told

SKU: Final = "sku"
KEYS: Final = frozenset({"buyer", "device", "phone", "address", "ip", SKU})
DAY: Final = timedelta(days=1)
COUNT: Final = "count(*)"
DAY_OF: Final = "(placed_at AT TIME ZONE 'Asia/Shanghai')::date"
Key = tuple[str, ...]
"""Columns that have to be equal, in order."""


def keys_of(spec: FactSpec) -> list[Key]:
    """The keys a fact counts by, each a tuple of columns; ``same_sku`` adds the goods to each."""
    shared = {SKU} if spec.param("same_sku", False) else set()
    found = []
    for text in spec.keys:
        columns = {*text.split("+"), *shared}
        if not columns <= KEYS:  # the language has seen to it; an identifier is never taken over
            message = f"unknown key {text}"
            raise ValueError(message)
        found.append(tuple(sorted(columns)))
    return found


@dataclass(slots=True)
class Frames:
    """The figures counted over one kind of rows, side by side: a join for each would cost more."""

    source: str
    is_by_sku: bool
    figures: dict[str, str] = field(default_factory=dict)

    def add(self, key: Key, figure: str) -> str:
        """A figure for orders that have the key; NULL for the others."""
        told = given(key)
        text = figure if told == "true" else f"CASE WHEN {told} THEN {figure} END"
        return self.figures.setdefault(text, f"f{len(self.figures)}")

    def body(self, statement: Statement) -> str:
        """One row an order; of its several goods the one with the most counts."""
        inner = ", ".join(f"{text} AS {name}" for text, name in self.figures.items())
        names = self.figures.values()
        outer = ", ".join(f"max({name}) AS {name}" if self.is_by_sku else name for name in names)
        per_order = " GROUP BY order_id" if self.is_by_sku else ""
        return (
            f"SELECT order_id, {outer} FROM (SELECT order_id, placed_at, {inner} "  # noqa: S608 - own columns
            f"FROM {self.source}) AS run WHERE placed_at >= {statement.since_sql()}{per_order}"
        )


def given(key: Key, rows: str = "") -> str:
    """Where every column of the key says something: empty text matches nothing."""
    of = f"{rows}." if rows else ""
    return " AND ".join(f"{of}{column} <> ''" for column in key if column != SKU) or "true"


def by(key: Key, *more: str) -> str:
    return "PARTITION BY " + ", ".join((*key, *more))


def within(seconds: int) -> str:
    window = f"INTERVAL '{int(seconds)} seconds' PRECEDING"
    return f"ORDER BY placed_at RANGE BETWEEN {window} AND CURRENT ROW"


class Windows:
    """The window facts of one statement."""

    def __init__(self, statement: Statement) -> None:
        self._statement = statement
        self._frames: dict[str, Frames] = {}

    def orders(self, spec: FactSpec) -> Told:
        """How many orders, or how many different values of another key among them."""
        distinct = str(spec.param("distinct"))
        if distinct == "orders":
            return self._figure(spec, COUNT)
        back = timedelta(seconds=spec.window_seconds)
        self._statement.history(back)
        return _most([self._different(key, distinct, spec) for key in keys_of(spec)])

    def money(self, spec: FactSpec) -> Told:
        """What the orders of the window come to."""
        return self._figure(spec, "sum(amount)")

    def day(self, spec: FactSpec) -> Told:
        """What the orders of the day in Shanghai come to, up to and including this moment."""
        self._statement.history(DAY)
        figures = []
        for key in keys_of(spec):
            frame = f"{by(key, DAY_OF)} ORDER BY placed_at RANGE UNBOUNDED PRECEDING"
            rows = self._rows(key, DAY)
            figures.append(self._add(rows, key, f"sum(amount) OVER ({frame})"))
        return _most(figures)

    def units(self, spec: FactSpec, wanted: str) -> Told:
        """How many pieces were bought; ``wanted`` is a condition on the lines that count."""
        statement = self._statement
        back = timedelta(seconds=spec.window_seconds)
        statement.history(back)
        statement.lines(back)
        figures = []
        for key in keys_of(spec):
            rows = self._rows(key, back)
            body = partial(_pieces, rows, key, wanted)
            bought = statement.part(("pieces", rows, wanted), body, joined=False)
            frame = f"sum(pieces) OVER ({by(key)} {within(spec.window_seconds)})"
            figures.append(self._add(bought, key, frame))
        return _most(figures)

    def units_listed(self, spec: FactSpec, wanted: str) -> Told:
        """The same where ``wanted`` depends on the order judged, ``s``: order by order."""
        statement = self._statement
        back = timedelta(seconds=spec.window_seconds)
        statement.history(back)
        statement.lines(back)
        figures = []
        for key in keys_of(spec):
            body = partial(_pieces_seen, self._rows(key, back), key, wanted, spec.window_seconds)
            name = statement.part(("pieces seen", key, wanted, spec.window_seconds), body)
            figures.append(f"{name}.pieces")
        return _most(figures)

    def _figure(self, spec: FactSpec, what: str) -> Told:
        back = timedelta(seconds=spec.window_seconds)
        self._statement.history(back)
        frame = within(spec.window_seconds)
        figures = []
        for key in keys_of(spec):
            if what == COUNT and SKU in key and len(key) > 1:
                figures.append(self._count_by_goods(key, spec.window_seconds))
            else:
                figures.append(
                    self._add(self._rows(key, back), key, f"{what} OVER ({by(key)} {frame})")
                )
        return _most(figures)

    def _count_by_goods(self, key: Key, seconds: int) -> str:
        """Orders of the same goods. Most have nobody near them who shares the rest of the key:
        of these each is the only one, and only the others are taken apart by their goods."""
        back = timedelta(seconds=seconds)
        self._statement.lines(back)
        whose = tuple(column for column in key if column != SKU)
        part = partial(self._statement.part, joined=False)
        near = part(("near", whose, seconds), partial(_near, whose, seconds))
        rows = part(("near by sku", near), partial(_orders_by_sku, of=near))
        count = self._add(rows, key, f"{COUNT} OVER ({by(key)} {within(seconds)})")
        counts = f"{given(whose, self._statement.keys())} AND {self._statement.goods(COUNT)} > 0"
        return f"CASE WHEN {counts} THEN COALESCE({count}, 1) END"

    def _rows(self, key: Key, back: timedelta) -> str:
        """Orders, or orders by SKU: each SKU of an order once."""
        if SKU not in key:
            return "e"
        self._statement.lines(back)
        return self._statement.part("orders by sku", _orders_by_sku, joined=False)

    def _add(self, rows: str, key: Key, figure: str) -> str:
        frames = self._frames.setdefault(rows, Frames(rows, SKU in key))
        body = partial(frames.body, self._statement)
        return f"{self._statement.part(('frames', rows), body)}.{frames.add(key, figure)}"

    def _different(self, key: Key, other: str, spec: FactSpec) -> str:
        """How many different values of ``other`` lie in the window.

        A value that came at s is seen until s + w. Moments closer than w are one stretch, the
        stretches of one value never overlap, and so the values seen at t are the stretches
        begun up to t less those that ended before it: one running sum, however full the window.
        """
        back = timedelta(seconds=spec.window_seconds)
        asks = self._rows(key, back)
        rows, told = self._rows((*key, other), back), other
        if other == SKU and SKU in key:
            body = partial(_pairs_of_skus, rows)
            rows, told = self._statement.part("pairs of skus", body, joined=False), "other_sku"
        if rows != "e":
            body = partial(
                _stretches, rows, asks, key, told,
                seconds=spec.window_seconds, since=self._statement.since_sql(),
            )  # fmt: skip
            name = self._statement.part(("different", key, other, spec.window_seconds), body)
            return f"{name}.n"
        return self._different_of_orders(key, other, spec.window_seconds)

    def _different_of_orders(self, key: Key, other: str, seconds: int) -> str:
        """The same where neither is of goods. Who shares a key mostly shares the other one, too:
        of these each sees its own, and only where there are several they are counted."""
        mixed = self._statement.part(
            ("mixed", key, other), partial(_mixed, key, other), joined=False
        )
        body = partial(
            _stretches, mixed, mixed, key, other,
            seconds=seconds, since=self._statement.since_sql(),
        )  # fmt: skip
        name = self._statement.part(("different", key, other, seconds), body)
        keys = self._statement.keys()
        own = f"({keys}.{other} <> '')::int"
        return f"CASE WHEN {given(key, keys)} THEN COALESCE({name}.n, {own}) END"


def _most(figures: Sequence[str]) -> Told:
    """The largest of several keys' figures; no key given, and the fact does not apply."""
    value = figures[0] if len(figures) == 1 else f"GREATEST({', '.join(figures)})"
    return Told(value, f"{value} IS NOT NULL")


_KEYED: Final = "order_id, placed_at, amount, buyer, device, phone, address, ip"


def _orders_by_sku(of: str = "e") -> str:
    columns = ", ".join(f"e.{one}" for one in _KEYED.split(", "))
    only = "" if of == "e" else f" WHERE order_id IN (SELECT order_id FROM {of})"  # noqa: S608 - own names
    return (
        f"SELECT {columns}, l.sku FROM {of} AS e "  # noqa: S608 - own columns
        f"JOIN (SELECT DISTINCT order_id, sku_id AS sku FROM l{only}) AS l "
        "ON l.order_id = e.order_id"
    )


def _near(key: Key, seconds: int) -> str:
    """Orders that have another of the same key within so many seconds, before or after."""
    run = f"({by(key)} ORDER BY placed_at)"
    window = f"INTERVAL '{int(seconds)} seconds'"
    return (
        "SELECT e.* FROM e JOIN (SELECT order_id, "  # noqa: S608 - own columns
        f"placed_at - lag(placed_at) OVER {run} AS before, "
        f"lead(placed_at) OVER {run} - placed_at AS after FROM e WHERE {given(key)}) AS n "
        f"ON n.order_id = e.order_id WHERE n.before <= {window} OR n.after <= {window}"
    )


def _mixed(key: Key, other: str) -> str:
    """Orders whose key comes with several values of another one; none is a value here, too."""
    columns = ", ".join(key)
    return (
        f"SELECT e.* FROM e JOIN (SELECT {columns} FROM e WHERE {given(key)} GROUP BY {columns} "  # noqa: S608 - own columns
        f"HAVING min({other}) <> max({other})) AS m USING ({columns})"
    )


def _pairs_of_skus(rows: str) -> str:
    return (
        f"SELECT a.*, b.sku AS other_sku FROM {rows} AS a "  # noqa: S608 - own columns
        f"JOIN {rows} AS b ON b.order_id = a.order_id"
    )


def _pieces(rows: str, key: Key, wanted: str) -> str:
    """Orders with their pieces; by SKU, each with the pieces of that SKU."""
    group, same = ("order_id, sku_id", "AND c.sku_id = r.sku") if SKU in key else ("order_id", "")
    return (
        f"SELECT r.*, COALESCE(c.pieces, 0) AS pieces FROM {rows} AS r LEFT JOIN "  # noqa: S608 - own columns, values are bound
        f"(SELECT {group}, sum(quantity) AS pieces FROM l WHERE NOT is_gift AND {wanted} "
        f"GROUP BY {group}) AS c ON c.order_id = r.order_id {same}"
    )


def _pieces_seen(rows: str, key: Key, wanted: str, seconds: int) -> str:
    same = " AND ".join(f"y.{one} = x.{one}" for one in key)
    told = " AND ".join(f"x.{one} <> ''" for one in key if one != SKU) or "true"
    groups = ", ".join(f"x.{one}" for one in key)
    sku = "AND l.sku_id = y.sku " if SKU in key else ""
    return (
        "SELECT order_id, max(pieces) AS pieces FROM (SELECT x.order_id, "  # noqa: S608 - own columns, values are bound
        f"COALESCE(sum(l.quantity) FILTER (WHERE NOT l.is_gift AND {wanted}), 0) AS pieces "
        f"FROM s JOIN {rows} AS x ON x.order_id = s.id JOIN {rows} AS y ON {same} "
        f"AND y.placed_at BETWEEN x.placed_at - INTERVAL '{int(seconds)} seconds' AND x.placed_at "
        f"LEFT JOIN l ON l.order_id = y.order_id {sku}WHERE {told} "
        f"GROUP BY x.order_id, {groups}) AS seen GROUP BY order_id"
    )


def _stretches(rows: str, asks: str, key: Key, other: str, *, seconds: int, since: str) -> str:
    columns = ", ".join(key)
    window = f"INTERVAL '{int(seconds)} seconds'"
    run = f"({by(key, other)} ORDER BY placed_at)"
    told = given(key) if other.endswith(SKU) else given((*key, other))
    return (
        "SELECT order_id, max(n) AS n FROM (SELECT order_id, "  # noqa: S608 - own columns
        f"sum(step) OVER ({by(key)} ORDER BY at, turn ROWS UNBOUNDED PRECEDING) AS n FROM ("
        f"WITH seen AS (SELECT {columns}, placed_at, lag(placed_at) OVER {run} AS before, "
        f"lead(placed_at) OVER {run} AS after FROM {rows} WHERE {told}) "
        # Of what happens at one moment a stretch begins first and ends last: both ends count.
        f"SELECT {columns}, placed_at AS at, 0 AS turn, 1 AS step, NULL::bigint AS order_id "
        f"FROM seen WHERE before IS NULL OR before < placed_at - {window} UNION ALL "
        f"SELECT {columns}, placed_at + {window}, 2, -1, NULL FROM seen "
        f"WHERE after IS NULL OR after > placed_at + {window} UNION ALL "
        f"SELECT {columns}, placed_at, 1, 0, order_id FROM {asks} "
        f"WHERE {given(key)} AND placed_at >= {since}) AS moments) AS counted "
        "WHERE order_id IS NOT NULL GROUP BY order_id"
    )
