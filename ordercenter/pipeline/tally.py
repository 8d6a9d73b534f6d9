"""What the doors refuse or get twice, counted: one line in the log a minute, never one a push."""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Final

logger = logging.getLogger(__name__)
EVERY: Final = 60.0
"""Seconds."""
MOST: Final = 1_000
"""Kinds told apart; whoever makes up more of them is counted as one."""


class Tally:
    """Counts by what happened and where, for this process. Safe from many threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._since = clock() - EVERY
        self._counts: Counter[tuple[str, str]] = Counter()
        self.totals: Counter[str] = Counter()

    def count(self, what: str, where: str) -> None:
        """Count one; say what has come together when the last word is a minute old."""
        with self._lock:
            self.totals[what] += 1
            is_known = (what, where) in self._counts or len(self._counts) < MOST
            self._counts[what, where if is_known else "*"] += 1
            now = self._clock()
            if now - self._since < EVERY:
                return
            self._since = now
            counts, self._counts = self._counts, Counter()
        said = ", ".join(f"{kind} {place}: {n}" for (kind, place), n in counts.most_common(20))
        logger.warning("at the doors: %s", said)


DOORS: Final = Tally()
