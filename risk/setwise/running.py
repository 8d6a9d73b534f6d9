"""Judging a long stretch of stored orders: in pieces, side by side, all of one moment.

The pieces are cut by time so that each sorts in memory; each reads as far before its first order
as the rules' windows reach, so that the cuts cannot be seen in what comes out.
"""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final, NamedTuple

from django.db import OperationalError, connection, transaction
from psycopg.errors import QueryCanceled

from ordercenter.core.readonly import read_only
from risk.language import Program
from risk.setwise.compiling import Hit, Query, hits_sql, unpack
from risk.setwise.statement import HIGH_ID, LOW_ID

ORDERS_A_PIECE: Final = 125_000
MEMORY: Final = "192MB"
"""For one sort of one worker."""
MOST_SECONDS: Final = 600
Progress = Callable[[int, int], None]
"""Called with (orders done, orders in all)."""


class Judged(NamedTuple):
    """One order that some rule hit."""

    order_id: int
    number: str
    placed_at: datetime
    channel: str
    amount: Decimal
    currency: str
    hits: tuple[Hit, ...]


@dataclass(frozen=True, slots=True)
class Piece:
    since: datetime
    until: datetime
    orders: int


def judge_stored(
    program: Program,
    since: datetime,
    until: datetime,
    take: Callable[[list[Judged]], None],
    *,
    workers: int = 2,
    seconds: int = MOST_SECONDS,
    progress: Progress | None = None,
) -> None:
    """Judge every order placed in [since, until); give ``take`` those that were hit, in pieces.

    Changes nothing: the database refuses every write in here, of ``take``, too. All pieces see
    one moment, whatever happens meanwhile. ``workers`` connections share the work; within a
    transaction of the caller, whose rows nobody else sees, it is this one alone. What would take
    longer than ``seconds`` in all is broken off with OperationalError.
    """
    deadline = time.monotonic() + seconds
    alone = connection.in_atomic_block or workers < 2  # noqa: PLR2004 - one is alone
    with read_only(), connection.cursor() as cursor:
        if not alone:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        _settle(cursor)
        cuts = _pieces(cursor, program, since, until, workers=1 if alone else workers)
        total, done = sum(piece.orders for piece in cuts), 0
        told = progress or _quiet
        told(0, total)
        if alone or len(cuts) < 2:  # noqa: PLR2004 - nothing to share
            found = _one_by_one(cursor, program, cuts, deadline)
        else:
            cursor.execute("SELECT pg_export_snapshot()")
            snapshot = cursor.fetchone()[0]
            found = _side_by_side(program, cuts, snapshot, workers=workers, deadline=deadline)
        for piece, judged in found:
            done += piece.orders
            told(done, total)
            take(judged)
        # Nothing was written; what was set above must not outlive this in a caller's transaction.
        transaction.set_rollback(True)


def count_stored(since: datetime, until: datetime) -> int:
    """How many orders were placed in [since, until)."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM orders_salesorder WHERE placed_at >= %s AND placed_at < %s",
            [since, until],
        )
        return int(cursor.fetchone()[0])


def _quiet(_done: int, _total: int) -> None:
    """Nobody wants to know."""


def _settle(cursor: Any) -> None:
    # Compiling an expression of hundreds of comparisons takes longer than it ever saves. Of the
    # parts of a statement the planner knows no sizes, and what it thinks a row or two it would
    # join by going round and round. And this transaction is idle while its helpers work.
    for name, value in (
        ("idle_in_transaction_session_timeout", "0"),
        ("work_mem", MEMORY),
        ("jit", "off"),
        ("enable_nestloop", "off"),
    ):
        cursor.execute("SELECT set_config(%s, %s, true)", [name, value])


def _pieces(
    cursor: Any, program: Program, since: datetime, until: datetime, *, workers: int
) -> list[Piece]:
    """Cut by whole hours: none much larger than memory likes, nor much shorter than it re-reads."""
    cursor.execute(
        "SELECT date_trunc('hour', placed_at, 'UTC') AS hour, count(*) FROM orders_salesorder "
        "WHERE placed_at >= %s AND placed_at < %s GROUP BY hour ORDER BY hour",
        [since, until],
    )
    hours: list[tuple[datetime, int]] = cursor.fetchall()
    total = sum(count for _, count in hours)
    queries = hits_sql(program, since, until)
    back = max((query.back for query in queries), default=timedelta())
    share = max(1, min(ORDERS_A_PIECE, -(-total // workers)))
    found: list[Piece] = []
    begin, count = since, 0
    for hour, more in hours:
        start = max(hour, since)
        if count >= share and start - begin >= back / 2:
            found.append(Piece(begin, start, count))
            begin, count = start, 0
        count += more
    return [*found, Piece(begin, until, count)] if count else found


def _judge(cursor: Any, program: Program, piece: Piece, deadline: float) -> list[Judged]:
    known: dict[int, Judged] = {}
    for query in hits_sql(program, piece.since, piece.until):
        left = round((deadline - time.monotonic()) * 1000)
        if left <= 0:
            message = "the time for judging is over"
            raise OperationalError(message) from QueryCanceled()
        cursor.execute("SELECT set_config('statement_timeout', %s, true)", [str(left)])
        cursor.execute(query.text, {**query.values, **_ids(cursor, query, piece)})
        said: dict[str, tuple[Hit, ...]] = {}
        for *order, packed in cursor.fetchall():
            hits = said.get(packed)
            if hits is None:
                hits = said[packed] = unpack(query, packed)
            judged = Judged._make((*order, hits))
            before = known.get(judged.order_id)
            known[judged.order_id] = judged._replace(hits=before.hits + hits) if before else judged
    return list(known.values())


def _ids(cursor: Any, query: Query, piece: Piece) -> dict[str, object]:
    """The keys of all orders that the statement reads."""
    cursor.execute(
        "SELECT coalesce(min(id), 0), coalesce(max(id), 0) FROM (SELECT id FROM orders_salesorder "
        "WHERE placed_at >= %s AND placed_at < %s OFFSET 0) AS read",
        [piece.since - query.back, piece.until],
    )
    return dict(zip((LOW_ID, HIGH_ID), cursor.fetchone(), strict=True))


def _one_by_one(
    cursor: Any, program: Program, cuts: list[Piece], deadline: float
) -> Iterator[tuple[Piece, list[Judged]]]:
    for piece in cuts:
        yield piece, _judge(cursor, program, piece, deadline)


def _judge_apart(program: Program, piece: Piece, snapshot: str, deadline: float) -> list[Judged]:
    """The same on a connection of this thread alone, as of the snapshot."""
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            cursor.execute("SET TRANSACTION SNAPSHOT %s", [snapshot])
            _settle(cursor)
            # This thread is one of several at work; the server's own helpers would only compete.
            cursor.execute("SET LOCAL max_parallel_workers_per_gather = 0")
            return _judge(cursor, program, piece, deadline)
    finally:
        connection.close()


def _side_by_side(
    program: Program, cuts: list[Piece], snapshot: str, *, workers: int, deadline: float
) -> Iterator[tuple[Piece, list[Judged]]]:
    crew = ThreadPoolExecutor(workers, thread_name_prefix="judging")
    try:
        running: dict[Future[list[Judged]], Piece] = {
            crew.submit(_judge_apart, program, piece, snapshot, deadline): piece for piece in cuts
        }
        while running:
            ready, _ = wait(running, return_when=FIRST_COMPLETED)
            for one in ready:
                yield running.pop(one), one.result()
    finally:
        crew.shutdown(wait=True, cancel_futures=True)
