"""Back-tests that somebody asked for: queued, run once, kept with their report or their failure."""

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Final

from django.db import DatabaseError, OperationalError, connection, transaction
from django_q.tasks import async_task

from ordercenter.core.actor import Actor
from ordercenter.core.clock import now as clock_now
from ordercenter.core.errors import InvalidInput
from risk.backtesting import run_backtest
from risk.language import digest_of
from risk.models import Backtest, RuleSet

logger = logging.getLogger(__name__)
RUN_LOCK: Final = 7_205
"""With the back-test's key: held by whoever runs it, and lost with him."""
MOST_SECONDS: Final = 90
"""A job of django-q2 ends after 120."""
MOST_NUMBERS: Final = 20_000
"""Order numbers of one rule that are kept, the newest; the command gives them all."""
State = Backtest.State


@transaction.atomic
def ask(rule_set: RuleSet, since: datetime, until: datetime, *, actor: Actor) -> Backtest:
    """Queue a back-test of the rules as they are now. Raises InvalidInput for an empty stretch."""
    if since >= until:
        raise InvalidInput(what="回测的开始时间应早于结束时间")
    row = Backtest.objects.create(
        rule_set=rule_set,
        digest=digest_of(rule_set.rules),
        since=since,
        until=until,
        asked_by=actor.name,
        asked_at=clock_now(),
    )
    async_task("ordercenter.pipeline.tasks.run_backtest", row.pk, q_options={"save": False})
    return row


def run_waiting() -> str:
    """Run the oldest back-test whose nudge was lost, or whose worker died."""
    waiting = Backtest.objects.filter(state__in=[State.WAITING, State.RUNNING])
    for pk in waiting.order_by("asked_at").values_list("pk", flat=True)[:10]:
        told = run_stored(pk)
        if told:
            return told
    return "no back-test waits"


def run_stored(pk: int) -> str:
    """Run one back-test to its end, whatever that is; say what came of it.

    May be called twice or by two workers at once: whoever is second does nothing and says
    nothing. One that failed stays failed, with the reason.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s, %s)", [RUN_LOCK, pk])
        if not cursor.fetchone()[0]:
            return ""
    try:
        row = Backtest.objects.select_related("rule_set").filter(pk=pk).first()
        if row is None or row.state not in {State.WAITING, State.RUNNING}:
            return ""
        return _run(row)
    finally:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_unlock(%s, %s)", [RUN_LOCK, pk])


def _run(row: Backtest) -> str:
    if row.rule_set is None or digest_of(row.rule_set.rules) != row.digest:
        return _failed(row.pk, "规则已经改过，请重新回测")
    _save(row.pk, state=State.RUNNING, progress=0)
    try:
        with _Progress(row.pk) as progress:
            report = run_backtest(
                row.rule_set.rules, row.since, row.until, seconds=MOST_SECONDS, progress=progress
            )
        told = report.as_json(most_numbers=MOST_NUMBERS)
        _save(row.pk, state=State.DONE, progress=100, report=told, done_at=clock_now())
    except InvalidInput as error:
        return _failed(row.pk, str(error))
    except OperationalError:
        logger.exception("back-test %s failed", row.pk)
        return _failed(row.pk, "计算超过时限，请缩短时间范围或减少规则")
    except DatabaseError:
        logger.exception("back-test %s failed", row.pk)
        return _failed(row.pk, "数据库拒绝了这次计算，技术日志里有原因")
    return f"back-test {row.pk}: {told['hit_orders']} of {told['orders']} orders are hit"


def _failed(pk: int, words: str) -> str:
    _save(pk, state=State.FAILED, error=words[:300], done_at=clock_now())
    return f"back-test {pk} failed"


def _save(pk: int, **values: object) -> None:
    Backtest.objects.filter(pk=pk).update(**values)


class _Progress:
    """Keeps the progress on a connection of its own: the other one may write nothing now.

    Within a transaction of the caller there is no other connection that sees the row.
    """

    def __init__(self, pk: int) -> None:
        self._pk, self._told = pk, 0
        self._scribe = None if connection.in_atomic_block else ThreadPoolExecutor(1)

    def __enter__(self) -> Callable[[int, int], None]:
        return self._tell

    def __exit__(self, *_error: object) -> None:
        if self._scribe:
            self._scribe.submit(connection.close)
            self._scribe.shutdown(wait=True)

    def _tell(self, done: int, total: int) -> None:
        percent = min(99, done * 100 // total) if total else 0
        if self._scribe and percent > self._told:
            self._told = percent
            self._scribe.submit(_save, self._pk, progress=percent)
