"""A program as SQL: for every order of a stretch, which rules hit and how.

An order comes back once, with its hits as small numbers (``unpack``); what no rule hits does not
come back at all.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from risk.language import Program, Rule
from risk.setwise.conditions import Conditions
from risk.setwise.facts import Facts
from risk.setwise.statement import FALSE, Statement

RULES_A_STATEMENT: Final = 200
"""More in one expression cost the planner more than they save in sorting."""
_UNKNOWN: Final = 4
_STEP: Final = 8


@dataclass(frozen=True, slots=True)
class Query:
    """One statement over a stretch of orders; ``back`` is how far before it anything is read."""

    text: str
    values: dict[str, object]
    rules: tuple[Rule, ...]
    back: timedelta


@dataclass(frozen=True, slots=True, eq=False)
class Hit:
    """One rule that hit an order. ``is_unknown``: it could not be judged, and asks for review.

    Orders that are hit alike have the same hits in common, the very objects.
    """

    rule: Rule
    tier: str
    is_unknown: bool


def hits_sql(program: Program, since: datetime, until: datetime) -> list[Query]:
    """The statements that judge every order placed in [since, until).

    Rows are (order id, number, placed at, channel, amount, currency, hits). Run it in one snapshot.
    """
    rules = program.rules
    slices = range(0, len(rules), RULES_A_STATEMENT)
    return [_query(rules[low : low + RULES_A_STATEMENT], since, until) for low in slices]


def unpack(query: Query, packed: str) -> tuple[Hit, ...]:
    """What the hits of a row say."""
    return tuple([_unpacked(query, int(number)) for number in packed[1:-1].split(",")])


def _unpacked(query: Query, number: int) -> Hit:
    place, told = divmod(number, _STEP)
    is_unknown = told >= _UNKNOWN
    return Hit(query.rules[place], str(told - _UNKNOWN if is_unknown else told), is_unknown)


def _query(rules: Sequence[Rule], since: datetime, until: datetime) -> Query:
    statement = Statement(since, until)
    conditions = Conditions(statement, Facts(statement))
    said = [_said(place, rule, conditions) for place, rule in enumerate(rules)]
    packed = ", ".join(text for text in said if text)
    columns = (
        "s.id, s.number, s.placed_at, s.channel, s.amount, s.currency, "
        f"array_remove(ARRAY[{packed}]::smallint[], NULL)::text AS hits"
    )
    text = statement.render(columns, "hits <> '{}'")
    return Query(text, statement.values, tuple(rules), statement.back)


def _said(place: int, rule: Rule, conditions: Conditions) -> str:
    """The rule's number where it hits or cannot be judged, else NULL; empty where it never does."""
    hit = place * _STEP + int(rule.outcome.tier)
    unknown = place * _STEP + _UNKNOWN + 2
    holds = conditions.holds(rule.when)
    if holds == FALSE:
        return ""
    judged = f"CASE ({holds}) WHEN true THEN {hit} WHEN false THEN NULL ELSE {unknown} END"
    if rule.scope.is_everywhere:
        return judged
    return f"CASE WHEN {conditions.fits(rule.scope)} THEN {judged} END"
