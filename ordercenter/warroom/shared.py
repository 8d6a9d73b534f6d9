"""One reading for all who ask at the same time."""

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Shared(Generic[Value]):
    """Lets everybody who asked before a reading began have that reading.

    After one nudge every screen asks at once; the database answers once. What is handed out
    was always read after the question, so a page never misses the change it was nudged for.
    """

    def __init__(self, read: Callable[[], Value]) -> None:
        self._read = read
        self._lock = threading.Lock()
        self._latest: tuple[float, Value] | None = None

    def get(self) -> Value:
        asked = time.monotonic()
        with self._lock:
            if self._latest is None or self._latest[0] <= asked:
                began = time.monotonic()
                self._latest = (began, self._read())
            return self._latest[1]
