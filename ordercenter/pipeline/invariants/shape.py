"""What an invariant is, and what one look at it came to."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from itertools import islice
from typing import Any

from django.db.backends.utils import CursorWrapper
from django.utils.functional import Promise

from ordercenter.pipeline.invariants.book import OutsideBook

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Look:
    """One look at the database: everything is read through ``cursor``, in one snapshot."""

    cursor: CursorWrapper
    now: datetime
    limit: int
    book: OutsideBook | None = None

    def rows(self, sql: str, **facts: Any) -> list[Row]:
        """Run a query of the shape (why, kind, id, facts) and flatten what it found."""
        self.cursor.execute(
            f"SELECT * FROM ({sql}) broken LIMIT {self.limit}",  # noqa: S608 - own constant text
            {"now": self.now, **facts},
        )
        return [
            {"why": why, "kind": kind, "id": pk, **json.loads(told, parse_float=Decimal)}
            for why, kind, pk, told in self.cursor.fetchall()
        ]


Check = Callable[[Look], Iterable[Row]]


@dataclass(frozen=True, slots=True)
class Invariant:
    """Something that is always true, in every committed state.

    ``sql`` selects (why, kind, id, facts) of what breaks it; ``also`` looks where SQL alone
    cannot. Empty means it holds. ``params`` are what the query needs beside ``now``.
    """

    code: str
    words: Promise
    sql: str = ""
    also: Check | None = None
    params: Mapping[str, Any] = field(default_factory=dict)

    def broken(self, look: Look) -> list[Row]:
        found = look.rows(self.sql, **self.params) if self.sql else []
        if self.also is not None and len(found) < look.limit:
            found.extend(islice(self.also(look), look.limit - len(found)))
        return found


@dataclass(frozen=True, slots=True)
class Outcome:
    """One invariant and the rows that break it, at most as many as were asked for."""

    code: str
    words: str
    broken: list[Row]
    seconds: float

    @property
    def holds(self) -> bool:
        return not self.broken
