"""Prices in SQL: what was paid beside what the goods are worth, exact.

A ratio to the base price is compared crosswise: a product of decimals is exact, and much faster
than a quotient. Other quotients are kept to forty decimals. Two different ones of money in fen
lie further apart than that, and so does one from any limit that can be written (six decimals):
comparing them is exact.
"""

from datetime import timedelta
from functools import partial
from typing import Final

from risk.language import FactSpec
from risk.setwise.statement import Statement, Told

DECIMALS: Final = 40
MAIN: Final = "FILTER (WHERE NOT is_gift)"
PIECES: Final = f"sum(quantity) {MAIN}"
BARE: Final = "bool_or(NOT is_gift AND COALESCE(full_price, 0) = 0)"
_OF_THE_LEAST: Final = {"<": "or", "<=": "or", ">": "and", ">=": "and"}
"""The least is below a limit where any line is, and above it where all lines are."""


def price_ratio(statement: Statement, spec: FactSpec) -> Told:
    """The lowest deal price over base price of the main lines."""
    if spec.param("base") == "running":
        return _running(statement, spec.window_seconds)

    def against(op: str, limit: str) -> str:
        if op in {"=", "<>"}:
            is_met = f"({against('>=', limit)} AND {against('<=', limit)})"
            return is_met if op == "=" else f"(NOT {is_met})"
        figure = f"bool_{_OF_THE_LEAST[op]}(amount {op} full_price * {limit}) {MAIN}"
        return _where_priced(statement, statement.goods(figure))

    return Told("", _applies(statement), against)


def discount_ratio(statement: Statement) -> Told:
    """What was taken off the base prices of all main lines together."""

    def against(op: str, limit: str) -> str:
        full = statement.goods(f"sum(full_price) {MAIN}")
        paid = statement.goods(f"sum(amount) {MAIN}")
        return _where_priced(statement, f"{full} - {paid} {op} {full} * {limit}")

    return Told("", _applies(statement), against)


def _applies(statement: Statement) -> str:
    return f"{statement.goods(PIECES)} IS NOT NULL"


def _where_priced(statement: Statement, holds: str) -> str:
    """Unknown where one main line has no base price; for no main lines it does not apply."""
    return f"(CASE WHEN NOT {statement.goods(BARE)} THEN {holds} END)"


def over(part: str, whole: str) -> str:
    """A quotient to forty decimals; NULL for nothing below the line."""
    return f"round({part}, {DECIMALS}) / NULLIF({whole}, 0)"


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
