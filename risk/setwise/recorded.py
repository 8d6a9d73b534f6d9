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


class Recorded:
    """The recorded facts of one statement: one part, a column for each."""

    def __init__(self, statement: Statement) -> None:
        self._statement = statement
        self._columns: dict[FactSpec, str] = {}

    def told(self, spec: FactSpec) -> Told:
        """The fact as the first verdict kept it. What it says is read where a rule asks."""
        name = self._statement.part("recorded", self._body)
        column = f"{name}.{self._columns.setdefault(spec, f'r{len(self._columns)}')}"
        applies = f"({column} = '\"-\"') IS NOT TRUE"
        if spec.kind.type == "set":
            return Told("", applies, partial(_against_set, column))
        return Told(f"({_NUMBER.format(column)})", applies)

    def _body(self) -> str:
        """The first verdict of each order, and of what it says of a fact the bare value."""
        bind, ids = self._statement.bind, self._statement.ids("v.order_id")
        kept = bare = ""
        for spec, name in self._columns.items():
            kept += f", v.inputs -> 'facts' -> {bind(spec.label, 'text')} AS {name}"
            bare += (
                f", CASE jsonb_typeof({name}) WHEN 'object' THEN {name} -> 'v' "
                f"ELSE {name} END AS {name}"
            )
        return (
            f"SELECT order_id{bare} FROM ("  # noqa: S608 - own columns, values are bound
            f"SELECT DISTINCT ON (v.order_id) v.order_id{kept} FROM s "
            f"JOIN risk_verdict v ON v.order_id = s.id AND {ids} "
            f"WHERE v.inputs ->> 'v' = '{FORMAT}' ORDER BY v.order_id, v.id) AS kept"
        )


def _against_set(column: str, op: str, texts: str) -> str:
    """A list of texts against others; NULL for what is no list."""
    if op == "in":
        holds = f"jsonb_array_length({column}) > 0 AND {column} <@ to_jsonb({texts})"
    else:
        holds = f"{'NOT ' if op == 'not_in' else ''}{column} ?| {texts}"
    return f"(CASE jsonb_typeof({column}) WHEN 'array' THEN {holds} END)"


_TEXT: Final = "({0} #>> '{{}}')"
_NUMBER: Final = (
    "CASE WHEN jsonb_typeof({0}) = 'number' THEN {0}::numeric "
    f"WHEN {_TEXT} LIKE 'd:%%' THEN substr({_TEXT}, 3)::numeric "
    f"WHEN {_TEXT} LIKE 'r:%%' THEN "
    f"round(split_part(substr({_TEXT}, 3), '/', 1)::numeric, {DECIMALS}) "
    f"/ COALESCE(NULLIF(split_part({_TEXT}, '/', 2), ''), '1')::numeric END"
)
"""The exact number as ``risk/facts/inputs.py`` writes it."""
