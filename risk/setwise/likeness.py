"""Likeness to orders of other shops in SQL, by the same phone.

Comparing addresses alone would pair every order of a city with every other; a rule that does is
judged by what was seen when the order came (``recorded``).
"""

from datetime import timedelta
from functools import partial

from risk.facts.likeness import SAME_PHONE
from risk.language import FactSpec
from risk.setwise.prices import DECIMALS
from risk.setwise.recorded import Recorded
from risk.setwise.statement import Statement, Told


def likeness(statement: Statement, spec: FactSpec, recorded: Recorded) -> Told:
    """The best likeness; 0 for nobody like it, and not for an order without phone and address."""
    if spec.param("address_alone"):
        return recorded.told(spec)
    statement.history(timedelta(seconds=spec.window_seconds))
    keys = statement.keys()
    body = partial(_body, statement, spec.window_seconds)
    name = statement.part(("likeness", spec.window_seconds), body)
    applies = f"COALESCE({keys}.phone <> '' OR {keys}.is_placed, false)"
    return Told(f"COALESCE({name}.alike, 0)", applies)


def _body(statement: Statement, seconds: int) -> str:
    half = f"{SAME_PHONE.numerator}::numeric / {SAME_PHONE.denominator}"
    ids = statement.ids
    return (
        f"SELECT p.order_id, max({half} + round(COALESCE(d.alike, 0), {DECIMALS}) / 2) AS alike "  # noqa: S608 - own columns, values are bound
        # The few pairs first: OFFSET keeps the addresses out until they are known.
        "FROM (SELECT a.order_id, b.order_id AS other FROM e AS a "
        "JOIN e AS b ON b.phone = a.phone AND b.shop_id <> a.shop_id "
        f"AND b.placed_at BETWEEN a.placed_at - INTERVAL '{int(seconds)} seconds' AND a.placed_at "
        f"WHERE a.phone <> '' AND a.placed_at >= {statement.since_sql()} OFFSET 0) AS p "
        f"JOIN orders_orderevidence x ON x.order_id = p.order_id AND {ids('x.order_id')} "
        f"JOIN orders_orderevidence y ON y.order_id = p.other AND {ids('y.order_id')} "
        f"LEFT JOIN LATERAL ({_DICE}) AS d ON true GROUP BY p.order_id"
    )


_DICE = (
    "SELECT round(2 * (SELECT count(*) FROM (SELECT unnest(x.address_shingles) INTERSECT "
    "SELECT unnest(y.address_shingles)) AS both_have), 40) / NULLIF("
    "(SELECT count(DISTINCT one) FROM unnest(x.address_shingles) AS one) + "
    "(SELECT count(DISTINCT one) FROM unnest(y.address_shingles) AS one), 0) AS alike "
    "WHERE cardinality(x.address_shingles) > 0 AND cardinality(y.address_shingles) > 0"
)
"""Shared shingles twice, over all of both; nothing where one address is not known."""
