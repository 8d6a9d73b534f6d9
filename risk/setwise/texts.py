"""Typed text made comparable in SQL as ``risk/words.py`` does it in Python."""

from typing import Final

from django.db import connection

from risk.setwise.statement import Statement

BLANKS: Final = "".join(one for one in map(chr, range(0x3001)) if one.isspace())
_FOLDS: Final = 180_000
"""The first PostgreSQL that folds case. Older ones write small, which tells some ten letters that
no order is written with (ß, ς) apart from their folded form."""


def normal_text(statement: Statement, column: str) -> str:
    """A text of the order in its normal form, made once an order; NULL where there is none."""

    def body() -> str:
        normal = normal_sql(statement, column)
        # Not to be worked out again for every word: OFFSET keeps it in a place of its own.
        return f"SELECT id AS order_id, {normal} AS text FROM s WHERE {column} <> '' OFFSET 0"  # noqa: S608 - own columns

    return f"{statement.part(('normal', column), body)}.text"


def normal_sql(statement: Statement, column: str) -> str:
    """NFKC, case-folded, without any white space."""
    text = f"normalize({column}, NFKC)"
    if _server() >= _FOLDS:
        text = f'casefold({text} COLLATE "pg_unicode_fast")'
    else:
        text = f"lower({text})"
    return f"translate({text}, {statement.bind(BLANKS, 'text')}, '')"


def _server() -> int:
    """The database's version, as 180004 for 18.4."""
    connection.ensure_connection()
    assert connection.connection is not None
    return int(connection.connection.info.server_version)
