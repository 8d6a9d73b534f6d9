"""How true the books are: what counts found, over a period."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final

from django.db import connection

_FOUND: Final = """
    SELECT count(*), count(*) FILTER (WHERE l.counted = l.snapshot),
           coalesce(sum(abs(l.counted - l.snapshot)), 0), coalesce(sum(l.snapshot), 0)
    FROM inventory_countline l JOIN inventory_stockcount c ON c.id = l.count_id
    WHERE c.state = 'applied' AND c.closed_at >= %(since)s AND c.closed_at < %(until)s
      AND l.counted IS NOT NULL
      AND (%(all)s OR c.virtual_warehouse_id = ANY(%(rooms)s))
"""


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Lines counted, how many of them exactly as the books said, and how far off in units."""

    lines: int
    exact: int
    off: int
    book: int

    @property
    def by_line(self) -> Decimal | None:
        """Share of lines that were exact, 0 to 1; None where nothing was counted."""
        return Decimal(self.exact) / self.lines if self.lines else None

    @property
    def by_unit(self) -> Decimal | None:
        """One less the units off by those in the books, not below 0; None without any."""
        return max(Decimal(0), 1 - Decimal(self.off) / self.book) if self.book else None


def accuracy(since: datetime, until: datetime, *, room_ids: list[int] | None = None) -> Accuracy:
    """Over the counts applied in ``[since, until)``, of these virtual warehouses (None: all)."""
    with connection.cursor() as cursor:
        cursor.execute(
            _FOUND,
            {"since": since, "until": until, "all": room_ids is None, "rooms": room_ids or []},
        )
        lines, exact, off, book = cursor.fetchone()
    return Accuracy(lines, exact, int(off), int(book))
