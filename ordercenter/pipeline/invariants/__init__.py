"""What must always hold, as queries that return the rows that break it (``check_invariants``)."""

from ordercenter.pipeline.invariants.book import BookUnreadable, OutsideBook, read_book
from ordercenter.pipeline.invariants.run import INVARIANTS, look_at, run_all, snapshot
from ordercenter.pipeline.invariants.shape import Invariant, Look, Outcome, Row

__all__ = [
    "INVARIANTS",
    "BookUnreadable",
    "Invariant",
    "Look",
    "Outcome",
    "OutsideBook",
    "Row",
    "look_at",
    "read_book",
    "run_all",
    "snapshot",
]
