"""Likeness to orders of other shops in SQL, by the same phone.

Comparing addresses alone would pair every order of a city with every other; a rule that does is
judged by what was seen when the order came (``recorded``).
"""

from datetime import timedelta
from fractions import Fraction
from functools import partial
from typing import Final

from risk.language import FactSpec
from risk.setwise.prices import DECIMALS
from risk.setwise.recorded import recorded
from risk.setwise.statement import Statement, Told

SAME_PHONE: Final = Fraction(1, 2)


def likeness(statement: Statement, spec: FactSpec) -> Told:
    """The best likeness; 0 for nobody like it, and not for an order without phone and address."""
    if spec.param("address_alone"):
        return recorded(statement, spec)
    seconds = spec.window_seconds
    statement.reads(timedelta(seconds=seconds))
    name = statement.part(("likeness", seconds), partial(_body, statement, seconds))
    return Told(f"{name}.likeness", f"{name}.likeness IS NOT NULL")


def _body(statement: Statement, seconds: int) -> str:
    window = f"INTERVAL '{int(seconds)} seconds'"
    low, until = statement.since_sql(timedelta(seconds=seconds)), statement.until_sql()
    half = f"{SAME_PHONE.numerator}::numeric / {SAME_PHONE.denominator}"
    return (
        "SELECT x.order_id, COALESCE(max(y.alike), 0) AS likeness "  # noqa: S608 - own columns, values are bound
        "FROM orders_orderevidence x LEFT JOIN ("
        f"SELECT a.order_id, {half} + round(COALESCE(d.alike, 0), {DECIMALS}) / 2 AS alike "
        "FROM orders_orderevidence a JOIN orders_orderevidence b ON b.phone_key = a.phone_key "
        "AND b.phone_key <> '' AND b.shop_id <> a.shop_id "
        f"AND b.placed_at BETWEEN a.placed_at - {window} AND a.placed_at "
        f"LEFT JOIN LATERAL ({_DICE}) AS d ON true "
        f"WHERE a.placed_at >= {statement.since_sql()} AND a.placed_at < {until} "
        f"AND b.placed_at >= {low} AND b.placed_at < {until}) AS y ON y.order_id = x.order_id "
        f"WHERE x.placed_at >= {statement.since_sql()} AND x.placed_at < {until} "
        "AND (x.phone_key <> '' OR cardinality(x.address_shingles) > 0) GROUP BY x.order_id"
    )


_DICE = (
    "SELECT round(2 * (SELECT count(*) FROM (SELECT unnest(a.address_shingles) INTERSECT "
    "SELECT unnest(b.address_shingles)) AS both_have), 40) / NULLIF("
    "(SELECT count(DISTINCT one) FROM unnest(a.address_shingles) AS one) + "
    "(SELECT count(DISTINCT one) FROM unnest(b.address_shingles) AS one), 0) AS alike "
    "WHERE cardinality(a.address_shingles) > 0 AND cardinality(b.address_shingles) > 0"
)
