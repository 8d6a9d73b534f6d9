"""Bugs planted under the machine, each of which it has to find."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection

from inventory import services as inventory
from ordercenter.pipeline import jobs, work


@contextmanager
def _trigger(table: str, moment: str, when: str, act: str) -> Iterator[None]:
    """A trigger that does what code that forgets something would do."""
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE FUNCTION sabotage() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN {act} END $$; "
            f"CREATE TRIGGER sabotage BEFORE {moment} ON {table} FOR EACH ROW WHEN ({when}) "
            "EXECUTE FUNCTION sabotage()"
        )
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP FUNCTION sabotage() CASCADE")


@contextmanager
def a_release_that_forgets_the_level() -> Iterator[None]:
    when = "NEW.reserved < OLD.reserved AND NEW.on_hand = OLD.on_hand"
    with _trigger(
        "inventory_stocklevel", "UPDATE", when, "NEW.reserved := OLD.reserved; RETURN NEW;"
    ):
        yield


@contextmanager
def a_reservation_without_its_movement() -> Iterator[None]:
    with _trigger("inventory_stockmovement", "INSERT", "NEW.target = 'reserved'", "RETURN NULL;"):
        yield


@contextmanager
def a_reservation_that_leaves_its_slice_as_it_was() -> Iterator[None]:
    when = "NEW.unsold < OLD.unsold AND NEW.is_active"
    with _trigger("inventory_stockslice", "UPDATE", when, "RETURN OLD;"):
        yield


@contextmanager
def an_expiry_that_ignores_payment() -> Iterator[None]:
    """Payment does not take the end of a promise away, and nobody asks who has paid."""
    plain = work.load

    def load(order_ids: Sequence[int]) -> list[work.Work]:
        works = plain(order_ids)
        for one in works:
            one.paid_at = None
        return works

    def keep(order_ids: Any) -> int:
        return 0

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jobs, "load", load)
        patch.setattr(inventory, "keep", keep)
        yield


@contextmanager
def levels_committed_before_the_rest() -> Iterator[None]:
    """Only a step that is killed between the two shows it."""

    def execute(run: Callable[..., Any], sql: str, *rest: Any) -> Any:
        result = run(sql, *rest)
        if connection.in_atomic_block and "UPDATE inventory_stocklevel" in sql:
            connection.connection.commit()
        return result

    with connection.execute_wrapper(execute):
        yield


BREAKS = (
    a_release_that_forgets_the_level,
    a_reservation_without_its_movement,
    a_reservation_that_leaves_its_slice_as_it_was,
    an_expiry_that_ignores_payment,
    levels_committed_before_the_rest,
)
