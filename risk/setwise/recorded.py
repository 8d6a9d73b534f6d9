"""Facts that cannot be counted again, as they were seen when the order was first judged.

What stock was left, which gifts were promised, what the receiver lacked: the present says
nothing of it. An order whose first verdict did not ask the same fact has no record of it, and
the fact is unknown.
"""

from functools import partial
from typing import Final

from risk.language import FactSpec
from risk.setwise.prices import DECIMALS
from risk.setwise.statement import Statement, Told

RECORDED: Final = frozenset({"gift_gap", "gift_short", "unlocked_available", "missing"})
FORMAT: Final = 1
"""The way of writing that ``risk/facts/inputs.py`` uses."""


def recorded(statement: Statement, spec: FactSpec) -> Told:
    """The fact as the first verdict kept it."""
    label = statement.bind(spec.label, "text")
    name = statement.part(("recorded", spec), partial(_body, spec, label))
    return Told(f"{name}.value", f"({name}.is_other IS NOT TRUE)")


def _body(spec: FactSpec, label: str) -> str:
    value = _SET if spec.kind.type == "set" else _NUMBER
    return (
        f"SELECT order_id, told = '\"-\"' AS is_other, {value} AS value FROM ("  # noqa: S608 - values are bound
        "SELECT order_id, told, told #>> '{}' AS text FROM (SELECT order_id, "
        "CASE jsonb_typeof(told) WHEN 'object' THEN told -> 'v' ELSE told END AS told FROM ("
        f"SELECT DISTINCT ON (v.order_id) v.order_id, v.inputs -> 'facts' -> {label} AS told "
        "FROM s JOIN risk_verdict v ON v.order_id = s.id "
        f"WHERE v.inputs ->> 'v' = '{FORMAT}' ORDER BY v.order_id, v.id) AS kept) AS bare) AS read"
    )


_SET: Final = (
    "CASE jsonb_typeof(told) WHEN 'array' THEN ARRAY(SELECT jsonb_array_elements_text(told)) END"
)
_NUMBER: Final = (
    "CASE WHEN jsonb_typeof(told) = 'number' THEN text::numeric "
    "WHEN text LIKE 'd:%%' THEN substr(text, 3)::numeric "
    f"WHEN text LIKE 'r:%%' THEN round(split_part(substr(text, 3), '/', 1)::numeric, {DECIMALS}) "
    "/ COALESCE(NULLIF(split_part(text, '/', 2), ''), '1')::numeric END"
)
