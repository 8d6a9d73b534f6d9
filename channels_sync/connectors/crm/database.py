"""The CRM's own tables, read straight from its PostgreSQL (``channels.md`` 7).

Read-only, a transaction a page, every statement timed out. The DSN is a secret: it says which
encryption the connection asks for, and no message ever repeats it or the driver's words.
Naive times in the tables are Beijing time, and so is the session.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import psycopg
from psycopg import sql

from channels_sync.connectors.exchange import platform_error
from channels_sync.contracts import ErrorClass, PlatformError, Rejected, TryLater, Window

PAGE_SIZE: Final = 500
CONNECT_SECONDS: Final = 5
STATEMENT_MILLISECONDS: Final = 15_000
_SETTINGS: Final = sql.SQL(
    "SET LOCAL statement_timeout = {}; SET LOCAL lock_timeout = 2000; "
    "SET LOCAL TimeZone = 'Asia/Shanghai'"
).format(sql.Literal(STATEMENT_MILLISECONDS))
_PAGE: Final = (
    "SELECT t.updated_at, t.id, t.order_no::text, row_to_json(t)::text FROM ("
    "SELECT * FROM {table} WHERE updated_at <= %(until)s AND {behind} "
    "ORDER BY updated_at, id LIMIT %(limit)s) t ORDER BY t.updated_at, t.id"
)
_FIRST: Final = sql.SQL("updated_at >= %(start)s")
_BEHIND: Final = sql.SQL("(updated_at, id) > (%(updated_at)s, %(id)s)")


@dataclass(frozen=True, slots=True)
class Row:
    """One row as JSON text, its numbers digit for digit."""

    order_no: str
    body: bytes


def walk(dsn: str, table: str, start: datetime, until: datetime) -> Iterator[list[Row]]:
    """Yield the rows changed from ``start`` to ``until`` by keyset, oldest first, in pages.

    A row that is committed late appears behind the cursor: the next poll's overlap reads it.
    Raises TryLater or Rejected.
    """
    place: dict[str, Any] = {}
    with _connected(dsn) as connection:
        while True:
            query = sql.SQL(_PAGE).format(
                table=sql.Identifier(table), behind=_BEHIND if place else _FIRST
            )
            asked = {"start": start, "until": until, "limit": PAGE_SIZE, **place}
            rows = _asked(connection, query, asked)
            yield [Row(order_no or "", body.encode()) for _at, _id, order_no, body in rows]
            if len(rows) < PAGE_SIZE:
                return
            place = {"updated_at": rows[-1][0], "id": rows[-1][1]}


def one(dsn: str, order_no: str) -> list[Row]:
    """The rows of one order number: one, or none."""
    query = sql.SQL(
        "SELECT order_no::text, row_to_json(t)::text FROM crm_order t "
        "WHERE order_no::text = %(number)s LIMIT 2"
    )
    with _connected(dsn) as connection:
        rows = _asked(connection, query, {"number": order_no})
    return [Row(number, body.encode()) for number, body in rows]


def created(dsn: str, window: Window) -> frozenset[str]:
    """The numbers of the orders created within ``window``."""
    query = sql.SQL(
        "SELECT order_no::text FROM crm_order "
        "WHERE created_at >= %(start)s AND created_at <= %(end)s"
    )
    with _connected(dsn) as connection:
        rows = _asked(connection, query, {"start": window.start, "end": window.end})
    return frozenset(number for (number,) in rows)


def try_out(dsn: str) -> None:
    """Raise unless the table of orders can be read."""
    query = sql.SQL("SELECT updated_at, id, order_no, created_at FROM crm_order LIMIT 1")
    with _connected(dsn) as connection:
        _asked(connection, query, {})


@contextmanager
def _connected(dsn: str) -> Iterator[psycopg.Connection[Any]]:
    with _in_our_words():
        connection = psycopg.connect(dsn, connect_timeout=CONNECT_SECONDS)
    with connection:
        connection.read_only = True
        yield connection


def _asked(
    connection: psycopg.Connection[Any], query: sql.SQL | sql.Composed, asked: dict[str, Any]
) -> list[Any]:
    with _in_our_words(), connection.transaction():
        connection.execute(_SETTINGS)
        rows: list[Any] = connection.execute(query, asked).fetchall()
        return rows


@contextmanager
def _in_our_words() -> Iterator[None]:
    """Within it, what the driver raises becomes TryLater or Rejected, its words left out."""
    try:
        yield
    except psycopg.Error as error:
        state = error.sqlstate or ""
        name = type(error).__name__
    else:
        return
    raise _failure(state, name)


def _failure(state: str, name: str) -> TryLater | Rejected:
    if state.startswith("28") or state == "42501":
        words = "商城数据库拒绝访问，请检查账号和权限"
        return Rejected(PlatformError(ErrorClass.AUTH, f"sql_{state}", words))
    if state.startswith(("42", "22", "3D")):
        words = f"商城的表结构与约定不符（{name}）"
        return Rejected(PlatformError(ErrorClass.BUSINESS, f"sql_{state}", words))
    if state == "57014":
        return TryLater(platform_error("timeout", "商城数据库没有在时限内答复"))
    if name == "ProgrammingError":
        words = "商城数据库的连接地址写法不对"
        return Rejected(PlatformError(ErrorClass.BUSINESS, "bad_dsn", words))
    return TryLater(platform_error("network", f"连接商城数据库失败（{name}）"))
