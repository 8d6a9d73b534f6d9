"""Prices in SQL: what was paid beside what the goods are worth, exact.

A quotient is kept to forty decimals. Two different ones of money in fen lie further apart than
that, and so does one from any limit that can be written (six decimals): comparing them is exact.
"""

from datetime import timedelta
from functools import partial
from typing import Final

from risk.language import FactSpec
from risk.setwise.statement import Statement, Told

DECIMALS: Final = 40
MAIN: Final = "FILTER (WHERE NOT is_gift)"
PIECES: Final = f"sum(quantity) {MAIN}"
BARE: Final = "bool_or(NOT is_gift AND COALESCE(base_price, 0) = 0)"


def price_ratio(statement: Statement, spec: FactSpec) -> Told:
    """The lowest deal price over base price of the main lines."""
    if spec.param("base") == "running":
        return _running(statement, spec.window_seconds)
    return _priced(statement, f"min({over('amount', 'base_price * quantity')}) {MAIN}")


def discount_ratio(statement: Statement) -> Told:
    """What was taken off the base prices of all main lines together."""
    full = f"sum(base_price * quantity) {MAIN}"
    return _priced(statement, over(f"{full} - sum(amount) {MAIN}", full))


def over(part: str, whole: str) -> str:
    """A quotient to forty decimals; NULL for nothing below the line."""
    return f"round({part}, {DECIMALS}) / NULLIF({whole}, 0)"


def _priced(statement: Statement, figure: str) -> Told:
    """Unknown where one main line has no base price; for no main lines it does not apply."""
    value, bare = statement.goods(figure), statement.goods(BARE)
    applies = f"{statement.goods(PIECES)} IS NOT NULL"
    return Told(f"(CASE WHEN NOT {bare} THEN {value} END)", applies)


def _running(statement: Statement, seconds: int) -> Told:
    """Against the mean unit price of the window before; a SKU without one is not compared."""
    statement.lines(timedelta(seconds=seconds))
    name = statement.part(("running", seconds), partial(_before, statement, seconds))
    return Told(f"{name}.ratio", f"{name}.ratio IS NOT NULL")


def _before(statement: Statement, seconds: int) -> str:
    # Who ordered at the same moment is not before: the frame ends a microsecond earlier.
    frame = (
        "(PARTITION BY sku_id, currency ORDER BY placed_at RANGE BETWEEN "
        f"INTERVAL '{int(seconds)} seconds' PRECEDING AND INTERVAL '1 microsecond' PRECEDING)"
    )
    return (
        f"SELECT order_id, min({over('amount * pieces', 'money * quantity')}) AS ratio "  # noqa: S608 - own columns
        f"FROM (SELECT order_id, placed_at, amount, quantity, sum(amount) OVER {frame} AS money, "
        f"sum(quantity) OVER {frame} AS pieces FROM l WHERE NOT is_gift) AS sold "
        f"WHERE placed_at >= {statement.since_sql()} GROUP BY order_id"
    )
