"""What a rule would have caught lately, while somebody is still writing it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import OperationalError, connection, transaction
from psycopg.errors import QueryCanceled

from ordercenter.core.clock import now as clock_now
from ordercenter.core.policy import AnyUser
from ordercenter.orders.models import SalesOrder
from risk.backtesting import run_backtest

DAYS: Final = 7
BOX: Final = 3
"""Seconds a count may take."""
SHOWN: Final = 20
COUNT_LOCK: Final = 7_205_041
"""With a person's key: held while one of his counts runs."""


@dataclass(frozen=True, slots=True)
class Catch:
    """How many of the orders ``of`` the last days a rule hits, and some of them.

    ``examples`` are only those the asker may open. Of ``unknown`` orders it is not kept what
    the rule would have seen. ``ran_out``: it took too long, ``is_busy``: another count of the
    same person still runs; nothing else is known then.
    """

    orders: int = 0
    of: int = 0
    examples: Sequence[str] = ()
    unknown: int = 0
    ran_out: bool = False
    is_busy: bool = False
    days: int = DAYS


def catch_of(rule: Mapping[str, Any], *, user: AnyUser, now: datetime | None = None) -> Catch:
    """Count the orders of the last 7 days that this rule alone would have hit, off or on.

    Never longer than about ``BOX``: the database ends what takes more. One at a time for each
    person: who types fast does not keep the database from its work. Changes nothing.
    """
    until = now or clock_now()
    alone = [{**rule, "enabled": True}]
    try:
        with transaction.atomic():
            if not _is_only(user):
                return Catch(is_busy=True)
            since = until - timedelta(days=DAYS)
            report = run_backtest(alone, since, until, workers=1, seconds=BOX)
    except OperationalError as error:
        if not isinstance(error.__cause__, QueryCanceled):
            raise
        return Catch(ran_out=True)
    (found,) = report.tally.rules.values()
    newest = [number for _at, _pk, number in sorted(found.orders, reverse=True)[:SHOWN]]
    return Catch(len(found.orders), report.orders, _known(newest, user), found.unknown)


def _is_only(user: AnyUser) -> bool:
    """Whether this person has no other count running; held until the transaction ends."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s, %s)", [COUNT_LOCK, user.pk])
        return bool(cursor.fetchone()[0])


def _known(numbers: Sequence[str], user: AnyUser) -> list[str]:
    """Those of these orders this user may open, in their order."""
    found = SalesOrder.objects.visible_to(user).filter(number__in=numbers)
    known = set(found.values_list("number", flat=True))
    return [number for number in numbers if number in known]
