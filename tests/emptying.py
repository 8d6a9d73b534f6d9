"""Empty the database between two tests that commit: down to what the migrations laid down."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import psycopg
from django.db import connection, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg import sql

from ordercenter.run.database import is_embedded

NAMES: Final = re.compile(r'"(\w+)"')
DIGEST: Final = "count(*) || '/' || coalesce(sum(hashtextextended(one::text, 0)), 0)"


@dataclass(frozen=True)
class Ground:
    """The rows a fresh database has: those of the migrations, and what Django adds to them.

    Django makes its content types and permissions anew after each emptying, which takes longer
    than most tests. Here they stay, and what a test changed of them is copied back.
    """

    rows: Mapping[str, bytes]
    digests: Mapping[str, str]

    @classmethod
    def found(cls) -> "Ground":
        """Take what is there now for the ground. Called before the first test."""
        tables = connection.introspection.django_table_names(only_existing=True)
        with connection.cursor() as cursor:
            full = _full(cursor, " UNION ALL ".join(map(_if_full, tables)))
            digests = {}
            for table in full:
                cursor.execute(f"SELECT {DIGEST} FROM {table} one")  # noqa: S608 - our own tables
                (digests[table],) = cursor.fetchone()
            return cls({table: _copy_out(cursor, table) for table in full}, digests)

    def empty(self, target: BaseDatabaseWrapper, statements: Sequence[str]) -> None:
        """Empty every table these statements would, past the guards of the append-only ones.

        They refuse to be emptied, as they must; no trigger fires in this one transaction. Only
        what has rows is emptied: to truncate every table takes longer than most tests.
        """
        tables = [name for one in statements for name in NAMES.findall(one)]
        chosen = target.settings_dict
        _let_triggers_rest(chosen["HOST"], chosen["PORT"], chosen["USER"])
        with transaction.atomic(using=target.alias), target.cursor() as cursor:
            cursor.execute("SET LOCAL session_replication_role = replica")
            for table in _full(cursor, " UNION ALL ".join(map(self._if_to_empty, tables))):
                cursor.execute(f"DELETE FROM {table}")  # noqa: S608 - our own tables
                if table in self.rows:
                    _copy_in(cursor, table, self.rows[table])

    def _if_to_empty(self, table: str) -> str:
        if table not in self.digests:
            return _if_full(table)
        found = f"SELECT {DIGEST} FROM {table} one"  # noqa: S608 - our own tables
        return f"SELECT '{table}' WHERE ({found}) <> '{self.digests[table]}'"


def _if_full(table: str) -> str:
    return f"SELECT '{table}' WHERE EXISTS (SELECT FROM {table})"  # noqa: S608 - our own tables


def _full(cursor: Any, question: str) -> list[str]:
    cursor.execute(question)
    return [name for (name,) in cursor.fetchall()]


def _copy_out(cursor: Any, table: str) -> bytes:
    with cursor.copy(f"COPY {table} TO STDOUT") as copy:
        return b"".join(bytes(part) for part in copy)


def _copy_in(cursor: Any, table: str, rows: bytes) -> None:
    with cursor.copy(f"COPY {table} FROM STDIN") as copy:
        copy.write(rows)


@cache
def _let_triggers_rest(host: str, port: str, role: str) -> None:
    """Allow the role of the tests to set what only a superuser may.

    A server elsewhere has to allow it by itself.
    """
    if not is_embedded():
        return
    with psycopg.connect(host=host, port=port, user="postgres", dbname="postgres") as admin:
        grant = sql.SQL("GRANT SET ON PARAMETER session_replication_role TO {}")
        admin.execute(grant.format(sql.Identifier(role)))
