"""Back-tests: what a rule set would have hit among the orders that are stored.

Counters and lists are as they were when each order came: windows end at the order, an entry of
a list counts from when it was added to when it was removed or ran out. What cannot be counted
again (gifts, stock, likeness, what the receiver lacked) is taken as it was seen when the order
was first judged; an order of which that is not kept cannot be judged by such a rule, and is
counted as unknown, apart from the hits. A customer trusted at the time is hit all the same, but
makes no card. Nothing is changed.
"""

import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from django.conf import settings
from django.db import connection

from ordercenter.core.bulk import array_text
from ordercenter.core.clock import now as clock_now
from risk.exemptions import exempt_then
from risk.language import Program, read_rules
from risk.reports import UNDECIDED, Report, Staff, Tally
from risk.setwise.running import MOST_SECONDS, Judged, Progress, count_stored, judge_stored

_MOMENT: Final = timedelta(microseconds=1)
# Who was stopped for good, frozen or sent to after-sales was stopped rightly; whom a person let
# pass wrongly. What only ran out, or nobody has looked at, says nothing.
_DECIDED: Final = """
    SELECT o.id, CASE
        WHEN o.status = 'canceled' OR h.is_right THEN 'right'
        WHEN h.is_wrong THEN 'wrong' END
    FROM orders_salesorder o LEFT JOIN (
        SELECT order_id,
               bool_or(disposition IN ('after_sales', 'escalated')
                       OR (released_at IS NULL AND (tier = '3' OR kind = 'person'))) AS is_right,
               bool_or(kind = 'rule' AND released_by LIKE 'person:%%') AS is_wrong
        FROM orders_orderhold WHERE order_id = ANY(%(orders)s::bigint[]) GROUP BY order_id
    ) h ON h.order_id = o.id
    WHERE o.id = ANY(%(orders)s::bigint[]) AND (o.status = 'canceled' OR h.order_id IS NOT NULL)
"""


def run_backtest(
    rules: Program | Sequence[Any] | Mapping[str, Any],
    since: datetime | None = None,
    until: datetime | None = None,
    *,
    workers: int = 2,
    seconds: int = MOST_SECONDS,
    progress: Progress | None = None,
) -> Report:
    """Judge the orders placed in [since, until) by ``rules``; from the first to the last order
    where an end is not given.

    ``rules`` is a list of rules, or an object that holds one under ``rules``. ``progress`` is
    called with (orders done, orders in all), within a read-only transaction. Changes nothing.
    Raises InvalidInput for rules that cannot be read, OperationalError where it would
    take longer than ``seconds``.
    """
    program = as_program(rules)
    began = time.monotonic()
    first, last = _stretch()
    since, until = since or first, until or last
    tally = Tally(program)

    def take(judged: Sequence[Judged]) -> None:
        decisions = _decisions(judged)
        trusted = exempt_then([one.order_id for one in judged if tally.may_excuse(one)])
        for one in judged:
            exempt_from = trusted.get(one.order_id, frozenset())
            tally.add(one, decisions.get(one.order_id, UNDECIDED), exempt_from)

    judge_stored(program, since, until, take, workers=workers, seconds=seconds, progress=progress)
    staff = Staff(settings.REVIEWERS, settings.CARDS_AN_HOUR)
    orders = count_stored(since, until)
    took = time.monotonic() - began
    return Report(since, until, orders, program.digest, tally, staff, took)


def as_program(rules: Program | Sequence[Any] | Mapping[str, Any]) -> Program:
    """The rules read, whichever way they are given. Raises InvalidInput."""
    if isinstance(rules, Program):
        return rules
    return read_rules(0, rules.get("rules") if isinstance(rules, Mapping) else rules)


def _stretch() -> tuple[datetime, datetime]:
    """From the first order to just behind the last; an empty hour where there is none."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT min(placed_at), max(placed_at) FROM orders_salesorder")
        first, last = cursor.fetchone()
    if first is None:
        now = clock_now()
        return now, now
    return first, last + _MOMENT


def _decisions(judged: Sequence[Judged]) -> dict[int, str]:
    """What people decided of these orders; those they did not decide on are missing."""
    if not judged:
        return {}
    with connection.cursor() as cursor:
        cursor.execute(_DECIDED, {"orders": array_text([one.order_id for one in judged])})
        return {pk: told for pk, told in cursor.fetchall() if told}
