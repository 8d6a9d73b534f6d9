"""Take a lock or a wall away, and stop threads at the gap between the look and the act."""

import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import pytest
from django.core.management import call_command
from django.db import connection
from django.db.backends.utils import CursorWrapper

from inventory import services as inventory
from ordercenter.core.actor import PIPELINE
from ordercenter.pipeline.invariants import run_all

LOCKS: Final = re.compile(
    r"\s+FOR (NO KEY )?UPDATE( OF \S+)?( NOWAIT| SKIP LOCKED)?", re.IGNORECASE
)
PATIENCE = 1.0
"""How long one side waits at the gap for the other, in seconds. With the lock in place it waits
in vain, and must be done before the other's ``lock_timeout``."""
LOOK: Final = 0.02
SURE: Final = 20.0
"""How long it waits where nothing keeps the other from coming."""


@dataclass
class Gap:
    """A place between a look and an act where sides may wait for each other, for a while."""

    patience: float = field(default_factory=lambda: PATIENCE)
    reached: dict[str, threading.Event] = field(default_factory=dict)

    def event(self, name: str) -> threading.Event:
        return self.reached.setdefault(name, threading.Event())

    def happened(self, name: str) -> None:
        self.event(name).set()

    def wait_for(self, name: str) -> bool:
        return self.event(name).wait(self.patience)


class Meeting:
    """A barrier for the threads of a race; what the test does by itself passes by.

    Nobody waits there for somebody who has ended and comes no more.
    """

    def __init__(self, sides: int, seconds: float) -> None:
        self.sides = sides
        self.seconds = seconds
        self._told = threading.Condition()
        self._rounds = 0
        self._waiting = 0
        self._seen: set[threading.Thread] = set()
        self._given_up = False

    def meet(self) -> None:
        """Wait for all sides, for as long as they may still come and patience lasts."""
        if threading.current_thread() is threading.main_thread():
            return
        with self._told:
            if not any(one.is_alive() for one in self._seen):
                self._seen.clear()  # another race
            self._seen.add(threading.current_thread())
            self._waiting += 1
            if self._waiting == self.sides:
                self._rounds, self._waiting = self._rounds + 1, 0
                self._told.notify_all()
                return
            self._wait(self._rounds, time.monotonic() + self.seconds)

    def _wait(self, here: int, until: float) -> None:
        while self._rounds == here:
            late = time.monotonic() > until
            self._given_up = self._given_up or late
            if self._given_up or not all(one.is_alive() for one in self._seen):
                self._waiting -= 1
                return
            self._told.wait(LOOK)


def meeting(sides: int, seconds: float | None = None) -> Callable[[], None]:
    """Return what holds every side back until all have come, or patience runs out.

    Whoever has a lock that holds the others up waits in vain, as he should.
    """
    return Meeting(sides, seconds or PATIENCE).meet


def unlocked(patch: pytest.MonkeyPatch, table: str) -> None:
    """Let every statement that would lock rows of ``table`` only look at them."""
    plain = CursorWrapper.execute

    def execute(self: CursorWrapper, sql: Any, params: Any = None) -> Any:
        text = str(sql)
        if table in text:
            sql = LOCKS.sub("", text)
        return plain(self, sql, params)

    patch.setattr(CursorWrapper, "execute", execute)
    patch.setattr(f"{__name__}.PATIENCE", SURE)


@contextmanager
def without(
    *, walls: Sequence[str] = (), triggers: Sequence[tuple[str, str]] = ()
) -> Iterator[None]:
    """Take constraints (by name) and triggers (table, name) away, and put them back.

    The database is emptied before they are put back: they would not stand over what happened.
    """
    with connection.cursor() as cursor:
        put_back = [_take_down(cursor, name) for name in walls]
        for table, trigger in triggers:
            cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER {trigger}")
            put_back.append(f"ALTER TABLE {table} ENABLE TRIGGER {trigger}")
    try:
        yield
    finally:
        call_command("flush", verbosity=0, interactive=False)
        with connection.cursor() as cursor:
            for statement in put_back:
                cursor.execute(statement)


def _take_down(cursor: CursorWrapper, name: str) -> str:
    cursor.execute(
        "SELECT conrelid::regclass::text, pg_get_constraintdef(oid) FROM pg_constraint "
        "WHERE conname = %s",
        [name],
    )
    if found := cursor.fetchone():
        table, definition = found
        cursor.execute(f"ALTER TABLE {table} DROP CONSTRAINT {name}")
        return f"ALTER TABLE {table} ADD CONSTRAINT {name} {definition}"
    cursor.execute("SELECT indexdef FROM pg_indexes WHERE indexname = %s", [name])
    (definition,) = cursor.fetchone()
    cursor.execute(f"DROP INDEX {name}")
    return str(definition)


def red(*, but: Sequence[str] = ()) -> set[str]:
    """The codes of all invariants that do not hold now, without those ``but`` named."""
    return {one.code for one in run_all() if not one.holds} - set(but)


def stock_up(level: Any, quantity: int) -> None:
    """Put units on a shelf the way they come: through the ledger."""
    inventory.receive([(level.virtual_warehouse_id, level.sku_id, quantity)], actor=PIPELINE)


def nobody_locks(patch: pytest.MonkeyPatch, *, sides: int) -> None:
    """Drop every row lock there is, and let each side look at stock before any of them acts.

    Where a side's first look that would have locked stock is over, it waits for the others.
    """
    plain = CursorWrapper.execute
    meet, met = meeting(sides, SURE), threading.local()

    def execute(self: CursorWrapper, sql: Any, params: Any = None) -> Any:
        text = str(sql)
        bare = LOCKS.sub("", text)
        result = plain(self, sql if bare == text else bare, params)
        locks_stock = bare != text and "inventory_stocklevel" in text
        if locks_stock and not getattr(met, "done", False):
            met.done = True
            meet()
        return result

    patch.setattr(CursorWrapper, "execute", execute)
