"""Look at everything in one snapshot."""

import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Final

from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper
from django.utils.translation import gettext_lazy as _

from ordercenter.core.clock import now as clock_now
from ordercenter.core.errors import InvalidInput
from ordercenter.pipeline.invariants import (
    catalog,
    fulfilment,
    ingest,
    interception,
    slices,
    stock,
    trail,
)
from ordercenter.pipeline.invariants.book import OutsideBook
from ordercenter.pipeline.invariants.shape import Invariant, Look, Outcome

INVARIANTS: Final[tuple[Invariant, ...]] = (
    *stock.INVARIANTS,
    *slices.INVARIANTS,
    *ingest.INVARIANTS,
    *fulfilment.INVARIANTS,
    *interception.INVARIANTS,
    *trail.INVARIANTS,
    *catalog.INVARIANTS,
)
LIMIT: Final = 20


def chosen(only: Collection[str] | None) -> list[Invariant]:
    """The invariants of these codes in their own order, or all. Raises InvalidInput."""
    if only is None:
        return list(INVARIANTS)
    wanted = {code.strip().upper() for code in only if code.strip()}
    known = {one.code for one in INVARIANTS}
    if strange := sorted(wanted - known) or not wanted:
        what = _("没有这样的不变量：%(strange)s；可用：%(known)s") % {
            "strange": "、".join(strange) if isinstance(strange, list) else "",
            "known": "、".join(one.code for one in INVARIANTS),
        }
        raise InvalidInput(what=what)
    return [one for one in INVARIANTS if one.code in wanted]


@contextmanager
def snapshot() -> Iterator[CursorWrapper]:
    """One REPEATABLE READ, READ ONLY transaction: writers go on, and this sees none of it."""
    if connection.in_atomic_block:
        message = "a snapshot cannot begin inside another transaction"
        raise RuntimeError(message)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        # Compiling these queries takes longer than running them; sorts fit into memory.
        cursor.execute("SET LOCAL jit = off")
        cursor.execute("SET LOCAL work_mem = '64MB'")
        cursor.execute("SET LOCAL statement_timeout = '120s'")
        yield cursor


def look_at(look: Look, invariants: Sequence[Invariant] = INVARIANTS) -> list[Outcome]:
    """Check these invariants through one cursor."""
    outcomes = []
    for one in invariants:
        began = time.perf_counter()
        broken = one.broken(look)
        seconds = round(time.perf_counter() - began, 3)
        outcomes.append(Outcome(one.code, str(one.words), broken, seconds))
    return outcomes


def run_all(
    only: Collection[str] | None = None,
    limit: int = LIMIT,
    *,
    book: OutsideBook | None = None,
    now: datetime | None = None,
) -> list[Outcome]:
    """Check every invariant (or ``only`` these) in one snapshot; at most ``limit`` rows each.

    Changes nothing. Raises InvalidInput for a code there is not.
    """
    invariants = chosen(only)
    with snapshot() as cursor:
        return look_at(Look(cursor, now or clock_now(), limit, book), invariants)
