"""Kill a step in the middle: an error at a statement, or the line to the database gone."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import psycopg
import pytest
from django.db import Error as DatabaseTrouble
from django.db import connection

How = Literal["error", "line"]


class Killed(Exception):
    """The process died here, as far as the step can tell."""


@dataclass
class Blow:
    """Strikes at the ``at``-th statement from now; ``struck`` tells whether it came to that."""

    at: int
    how: How
    struck: bool = False

    def __call__(
        self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any
    ) -> Any:
        self.strike()
        return execute(sql, params, many, context)

    def strike(self) -> None:
        if self.at == 0 and not self.struck:
            self.struck = True
            if self.how == "error":
                raise Killed
            connection.connection.close()  # the server rolls back, as when a process dies
        self.at -= 1


@contextmanager
def struck_by(blow: Blow) -> Iterator[None]:
    """Run a step under a blow; what it raises because of it ends here."""
    plain = psycopg.Cursor.copy

    def copy(cursor: Any, *args: Any, **facts: Any) -> Any:
        blow.strike()  # COPY does not pass by Django's wrappers
        return plain(cursor, *args, **facts)

    try:
        with connection.execute_wrapper(blow), pytest.MonkeyPatch.context() as patch:
            patch.setattr(psycopg.Cursor, "copy", copy)
            yield
    except (Killed, DatabaseTrouble):
        if not blow.struck:
            raise
    if blow.struck and blow.how == "line":
        connection.close()
