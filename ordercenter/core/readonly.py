"""A preview that could write by mistake is no preview: the database sees to it."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection, transaction


@contextmanager
def read_only() -> Iterator[None]:
    """Let nothing in here change, lock or number a row: the database refuses (InternalError).

    A context manager, or a decorator for what only says what something would do. Inside a
    transaction it holds until the block ends, and what was written before stays.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION READ ONLY")
        yield
