"""What a call writes to the stock, whichever way it writes it."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import psycopg
import pytest
from django.db import connection

STOCK: Final = (
    "inventory_stocklevel",
    "inventory_stockslice",
    "inventory_reservation",
    "inventory_stockmovement",
    "inventory_presalepromise",
    "inventory_clawback",
)
WRITES: Final = re.compile(
    r"\b(?:INSERT\s+INTO|UPDATE|DELETE\s+FROM|COPY|TRUNCATE)\s+\"?(" + "|".join(STOCK) + r")\b",
    re.IGNORECASE,
)


@contextmanager
def writes_to_stock() -> Iterator[set[str]]:
    """Collect the stock tables written in here."""
    found: set[str] = set()
    plain = psycopg.Cursor.copy

    def look(statement: object) -> None:
        found.update(name.lower() for name in WRITES.findall(str(statement)))

    def execute(run: Callable[..., Any], sql: str, *rest: Any) -> Any:
        look(sql)
        return run(sql, *rest)

    def copy(cursor: Any, statement: Any, *args: Any, **facts: Any) -> Any:
        look(statement)
        return plain(cursor, statement, *args, **facts)

    with pytest.MonkeyPatch.context() as patch, connection.execute_wrapper(execute):
        patch.setattr(psycopg.Cursor, "copy", copy)
        yield found


def sums(*tables: str) -> dict[str, tuple[int, str]]:
    """(rows, checksum over all of them) of each table."""
    found = {}
    with connection.cursor() as cursor:
        for table in tables:
            cursor.execute(
                "SELECT count(*), coalesce(md5(string_agg(md5(t::text), '' ORDER BY t::text)), '') "  # noqa: S608
                f"FROM {table} t"
            )
            found[table] = cursor.fetchone()
    return found
