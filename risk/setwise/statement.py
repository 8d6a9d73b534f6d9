"""One SELECT in the making: who is judged, what was bought before, and which facts are joined.

Values are always bound; every identifier is written in this package. The parts, by name:

* ``s``  the orders to be judged, placed in [since, until);
* ``e``  the evidence of these orders and of those before them, as far back as a window reaches;
* ``l``  the goods of orders (no line that is dropped or nobody has mapped), as far back likewise;
* ``g``  what the goods of each order to be judged come to;
* ``p0`` and on: what single facts need, joined by ``order_id``.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

NOTHING: Final = timedelta()
TRUE: Final = "true"
FALSE: Final = "false"
LOW_ID, HIGH_ID = "low_id", "high_id"
"""Values that may be narrowed to the keys of all orders a statement reads: keys grow with time,
and a range of them is read much faster than a time is looked for."""


@dataclass(frozen=True, slots=True)
class Told:
    """A fact in SQL. ``value`` is NULL where it is unknown.

    ``applies`` says where the fact has a meaning at all; empty for everywhere. It is never NULL.
    """

    value: str
    applies: str = ""
    against: Callable[[str, str], str] | None = None
    """Compares it with the limit (operator, value), where that takes less than the value does."""


_IN_FORCE: Final = (
    "COALESCE(CASE WHEN EXISTS (SELECT 1 FROM catalog_skuprice) THEN "
    "(SELECT d.base_price FROM catalog_skuprice d WHERE d.sku_id = n.sku_id "
    "AND d.starts_at <= o.placed_at AND COALESCE(o.placed_at < d.ends_at, true) "
    "ORDER BY d.starts_at DESC LIMIT 1) END, k.base_price)"
)
"""The base price when the order was placed: of those that cover the moment the one that began
last (``ordercenter/catalog/selectors.py``). Whether there are any dated ones is asked once."""


class Statement:
    """Collects parts, joins and values; ``render`` gives the text that goes with ``values``."""

    def __init__(self, since: datetime, until: datetime) -> None:
        self.since, self.until = since, until
        self.values: dict[str, object] = {LOW_ID: 0, HIGH_ID: 2**63 - 1}
        self._places: dict[tuple[type, str], str] = {}
        self._parts: dict[str, Callable[[], str]] = {}
        self._joined: list[str] = []
        self._known: dict[Hashable, str] = {}
        self._goods: dict[str, str] = {}
        self._needs_history = self._needs_lines = False
        self._back = self._lines_back = NOTHING

    def bind(self, value: object, kind: str) -> str:
        """The place of a value in the text, cast to the SQL type ``kind``."""
        key = (type(value), repr(value))
        if key not in self._places:
            self._places[key] = f"v{len(self.values)}"
            self.values[self._places[key]] = value
        return f"%({self._places[key]})s::{kind}"

    def history(self, back: timedelta) -> None:
        """Have ``e`` reach so far back."""
        self._needs_history = True
        self._back = max(self._back, back)

    def lines(self, back: timedelta = NOTHING) -> None:
        """Have ``l`` reach so far back."""
        self._needs_lines = True
        self._lines_back = max(self._lines_back, back)

    @property
    def back(self) -> timedelta:
        """How far before the first order judged anything is read."""
        return max(self._back, self._lines_back)

    def keys(self) -> str:
        """The part with the keys of every order judged."""
        self.history(NOTHING)
        return self.part("keys", lambda: f"SELECT * FROM e WHERE placed_at >= {self.since_sql()}")  # noqa: S608 - values are bound

    def part(self, what: Hashable, body: Callable[[], str], *, joined: bool = True) -> str:
        """The name of the part that ``what`` describes, made at the end and once.

        ``body`` may ask for nothing more: what it reads must have been asked for before. It has
        one row an order, with ``order_id``, where it is joined.
        """
        if what not in self._known:
            self._known[what] = name = f"p{len(self._parts)}"
            self._parts[name] = body
            if joined:
                self._joined.append(name)
        return self._known[what]

    def goods(self, expression: str) -> str:
        """A figure over the goods of one order, as a column of ``g``; NULL for no goods."""
        self.lines()
        return f"g.{self._goods.setdefault(expression, f'c{len(self._goods)}')}"

    def render(self, columns: str, where: str) -> str:
        """The whole statement. ``columns`` may use ``s``, ``g`` and the parts."""
        parts = [f"s AS MATERIALIZED ({self._subjects()})"]
        joins = []
        if self._needs_history:
            parts.append(f"e AS MATERIALIZED ({self._evidence()})")
        if self._needs_lines:
            parts.append(f"l AS ({self._lines()})")
        if self._goods:
            parts.append(f"g AS ({self._sums()})")
            joins.append("LEFT JOIN g ON g.order_id = s.id")
        parts += [f"{name} AS ({body()})" for name, body in self._parts.items()]
        joins += [f"LEFT JOIN {name} ON {name}.order_id = s.id" for name in self._joined]
        return (
            f"WITH {', '.join(parts)} SELECT * FROM "  # noqa: S608 - values are bound
            # OFFSET keeps the hits from being worked out twice: to be told, and for the condition.
            f"(SELECT {columns} FROM s {' '.join(joins)} OFFSET 0) AS judged WHERE {where}"
        )

    @staticmethod
    def ids(column: str) -> str:
        """That a column lies among the keys of the orders read."""
        return f"{column} BETWEEN %({LOW_ID})s AND %({HIGH_ID})s"

    def since_sql(self, back: timedelta = NOTHING) -> str:
        return self.bind(self.since - back, "timestamptz")

    def until_sql(self) -> str:
        return self.bind(self.until, "timestamptz")

    def _subjects(self) -> str:
        return (
            "SELECT o.id, o.number, o.placed_at, o.received_at, o.payable_amount AS amount, "  # noqa: S608 - values are bound
            "o.freight, o.currency, o.province, o.city, o.district, o.buyer_remark, "
            "o.seller_memo, o.is_presale, o.is_test, o.is_rush, "
            "h.code AS shop, h.channel FROM orders_salesorder o "
            "JOIN catalog_shop h ON h.id = o.shop_id "
            f"WHERE o.placed_at >= {self.since_sql()} AND o.placed_at < {self.until_sql()}"
        )

    def _evidence(self) -> str:
        # Keys are compared byte by byte: they are hashes, and the words of a language sort slowly.
        return (
            "SELECT v.order_id, v.shop_id, v.placed_at, v.amount, "  # noqa: S608 - values are bound
            'v.buyer_key COLLATE "C" AS buyer, v.device_key COLLATE "C" AS device, '
            'v.phone_key COLLATE "C" AS phone, v.address_key COLLATE "C" AS address, '
            'v.ip COLLATE "C" AS ip, COALESCE(cardinality(v.address_shingles), 0) > 0 AS is_placed '
            f"FROM orders_orderevidence v WHERE {self.ids('v.order_id')} "
            f"AND v.placed_at >= {self.since_sql(self._back)} "
            f"AND v.placed_at < {self.until_sql()}"
        )

    def _lines(self) -> str:
        return (
            "SELECT n.order_id, o.placed_at, o.currency, n.sku_id, k.code AS sku, k.category, "  # noqa: S608 - values are bound
            "n.quantity, n.amount, n.bundle_line_id IS NOT NULL AS is_part, "
            "n.is_gift OR (k.is_gift AND n.amount = 0) AS is_gift, "
            f"n.quantity * CASE WHEN k.currency = o.currency THEN {_IN_FORCE} END AS full_price "
            "FROM orders_salesorder o JOIN orders_orderline n ON n.order_id = o.id "
            "JOIN catalog_sku k ON k.id = n.sku_id "
            f"WHERE o.placed_at >= {self.since_sql(self._lines_back)} "
            f"AND o.placed_at < {self.until_sql()} AND {self.ids('n.order_id')} "
            "AND NOT n.is_dropped OFFSET 0"
        )

    def _sums(self) -> str:
        columns = ", ".join(f"{text} AS {name}" for text, name in self._goods.items())
        return (
            f"SELECT order_id, {columns} FROM l "  # noqa: S608 - own expressions
            f"WHERE placed_at >= {self.since_sql()} GROUP BY order_id"
        )
