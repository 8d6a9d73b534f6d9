"""Reads that may be a moment old go to the read replica, where there is one.

Whoever may read late says so: ``with from_replica(): …``. Everything else, and every write,
goes to the primary: a lock, a decision or a right must never rest on yesterday's row.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

REPLICA: Final = "replica"
_late_is_fine: ContextVar[bool] = ContextVar("late_is_fine", default=False)


@contextmanager
def from_replica() -> Iterator[None]:
    """Read from the replica in here; without ``REPLICA_URL`` nothing changes."""
    token = _late_is_fine.set(True)
    try:
        yield
    finally:
        _late_is_fine.reset(token)


def reading_alias() -> str:
    """The database a read goes to just now."""
    return REPLICA if _late_is_fine.get() and REPLICA in connections.databases else "default"


def reading() -> BaseDatabaseWrapper:
    """The connection for a read in plain SQL."""
    return connections[reading_alias()]


class ReplicaRouter:
    """Tells Django what ``reading_alias`` says, and keeps migrations off the replica."""

    def db_for_read(self, model: Any, **hints: Any) -> str | None:
        return reading_alias()

    def db_for_write(self, model: Any, **hints: Any) -> str | None:
        return "default"

    def allow_relation(self, obj1: Any, obj2: Any, **hints: Any) -> bool:
        return True

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool:
        return db != REPLICA
