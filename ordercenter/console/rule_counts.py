"""What a rule would have caught lately, while somebody is still writing it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import OperationalError
from psycopg.errors import QueryCanceled

from ordercenter.core.clock import now as clock_now
from ordercenter.core.policy import AnyUser
from ordercenter.orders.models import SalesOrder
from risk.backtesting import run_backtest

DAYS: Final = 7
BOX: Final = 3
"""Seconds a count may take."""
SHOWN: Final = 20


@dataclass(frozen=True, slots=True)
class Catch:
    """How many of the orders ``of`` the last days a rule hits, and some of them.

    ``examples`` are only those the asker may open. Of ``unknown`` orders it is not kept what
    the rule would have seen. ``ran_out``: it took too long, and nothing else is known.
    """

    orders: int = 0
    of: int = 0
    examples: Sequence[str] = ()
    unknown: int = 0
    ran_out: bool = False
    days: int = DAYS


def catch_of(rule: Mapping[str, Any], *, user: AnyUser, now: datetime | None = None) -> Catch:
    """Count the orders of the last 7 days that this rule alone would have hit, off or on.

    Never longer than about ``BOX``: the database ends what takes more. Changes nothing.
    """
    until = now or clock_now()
    alone = [{**rule, "enabled": True}]
    try:
        report = run_backtest(alone, until - timedelta(days=DAYS), until, workers=1, seconds=BOX)
    except OperationalError as error:
        if not isinstance(error.__cause__, QueryCanceled):
            raise
        return Catch(ran_out=True)
    (found,) = report.tally.rules.values()
    newest = [number for _at, _pk, number in sorted(found.orders, reverse=True)[:SHOWN]]
    return Catch(len(found.orders), report.orders, _known(newest, user), found.unknown)


def _known(numbers: Sequence[str], user: AnyUser) -> list[str]:
    """Those of these orders this user may open, in their order."""
    found = SalesOrder.objects.visible_to(user).filter(number__in=numbers)
    known = set(found.values_list("number", flat=True))
    return [number for number in numbers if number in known]
