"""Set-wise writing: ids in blocks, rows by COPY, updates by one joined statement.

Only for the hot paths (``performance.md``: COPY costs a sixtieth of ``bulk_create``). Every
row still passes the table's constraints and triggers.
"""

import gc
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from typing import Any

import psycopg
from django.db import connection, models
from django.db.backends.utils import CursorWrapper


def next_ids(model: type[models.Model], count: int) -> list[int]:
    """Take ``count`` primary keys from the model's sequence; gaps are nobody's business."""
    if not count:
        return []
    table = model._meta.db_table
    with prepared_cursor() as cursor:
        cursor.execute(
            "SELECT nextval(q.s) FROM (SELECT pg_get_serial_sequence(%s::text, 'id')::regclass "
            "AS s OFFSET 0) q, generate_series(1, %s::int)",
            [table, count],
        )
        return [row[0] for row in cursor.fetchall()]


class _Preparing(psycopg.Cursor[Any]):
    """Prepares what it executes, where the connection allows it at all."""

    def execute(self, query: Any, params: Any = None, **_: Any) -> "_Preparing":
        return super().execute(query, params, prepare=True)


@contextmanager
def prepared_cursor() -> Iterator[CursorWrapper]:
    """A cursor for statements of the hot paths: parsed and planned once a connection.

    Planning a statement of a few tables costs as much as fifty of its rows. Values are sent
    beside the statement: they need a cast where the place does not tell their type. Not for what
    reads a table that grows: it would be read to its end, as was right when it was small, until
    it is analyzed.
    """
    with connection.cursor() as cursor:
        if not connection.queries_logged:  # the log can only tell what a usual cursor has sent
            cursor.cursor = _Preparing(connection.connection)
        yield cursor


def array_text(values: Iterable[int | datetime | None]) -> str:
    """Numbers and instants as the text of an SQL array, to be cast: cheaper than a list."""
    return "{" + ",".join(["NULL" if one is None else str(one) for one in values]) + "}"


def text_array(values: Iterable[str]) -> str:
    """Texts as the text of an SQL array, to be cast: cheaper than a list of many."""
    told = list(values)
    if any('"' in one or "\\" in one for one in told):
        told = [one.replace("\\", "\\\\").replace('"', '\\"') for one in told]
    return '{"' + '","'.join(told) + '"}' if told else "{}"


def copy_rows(
    model: type[models.Model], columns: Sequence[str], rows: Iterable[Sequence[Any]]
) -> int:
    """Insert rows by COPY into ``columns`` (database names); return how many.

    JSON values must come as text. Raises IntegrityError like any insert.
    """
    names = ", ".join(f'"{name}"' for name in columns)
    statement = f'COPY "{model._meta.db_table}" ({names}) FROM STDIN'
    written = 0
    with (
        connection.cursor() as cursor,
        connection.wrap_database_errors,
        cursor.cursor.copy(statement) as copy,
    ):
        write_row = copy.write_row
        for row in rows:
            write_row(row)
            written += 1
    return written


def update_rows(
    table: str,
    columns: Sequence[tuple[str, str]],
    rows: Sequence[Sequence[Any]],
    *,
    where: str = "",
) -> int:
    """Update many rows by primary key in one statement; return how many matched.

    ``columns`` are (name, SQL type) of the values in each row, the first being the key.
    ``where`` may narrow by the old row ``t`` and the new values ``v``.
    """
    if not rows:
        return 0
    arrays = ", ".join(f"%s::{kind}[]" for _, kind in columns)
    names = ", ".join(name for name, _ in columns)
    assignments = ", ".join(f"{name} = v.{name}" for name, _ in columns[1:])
    key = columns[0][0]
    condition = f"AND {where}" if where else ""
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {table} t SET {assignments} FROM unnest({arrays}) AS v({names}) "  # noqa: S608 - names come from code
            f"WHERE t.{key} = v.{key} {condition}",
            [list(values) for values in zip(*rows, strict=True)],
        )
        return int(cursor.rowcount)


def _plain(value: object) -> object:
    if isinstance(value, Decimal):
        return str(value)
    if hasattr(value, "isoformat"):
        return value.isoformat()
    return str(value)


_encoder = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=_plain)


def dumps(value: Any) -> str:
    """JSON text for a column: Chinese as it is, money as text."""
    return _encoder.encode(value)


def collect_seldom() -> None:
    """For processes that work in batches: look for circular garbage less often.

    A batch makes objects by the hundred thousand and drops them whole; walking them every 700
    costs it a fifth of its time (measured by ``bench ingest``).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
