"""Which levels have moved in this piece of work: whoever tells the shops' figures asks it.

What the inventory changes, it names here; nobody has to listen. Kept by thread and task.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_moved: ContextVar[set[int] | None] = ContextVar("moved_levels", default=None)


def note_moved(level_ids: Iterable[int]) -> None:
    """What a shop may sell of these levels has changed: units, promises, slices.

    To be called by every service that writes a level or a slice, in the same transaction.
    """
    if (moved := _moved.get()) is not None:
        moved.update(level_ids)


def is_collecting() -> bool:
    """Whether somebody further out wants to know what moves."""
    return _moved.get() is not None


@contextmanager
def collecting() -> Iterator[set[int]]:
    """Gather the levels that move inside; what is rolled back inside stays named."""
    moved: set[int] = set()
    token = _moved.set(moved)
    try:
        yield moved
    finally:
        _moved.reset(token)
