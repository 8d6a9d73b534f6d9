"""Reservations and ledger lines name levels that are there: what a foreign key would refuse.

The looking is done once a statement (ADR 0035), and is to be as strict as a key of its own.
"""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction

from inventory.models import Reservation, StockLevel, StockMovement
from ordercenter.core.actor import PIPELINE
from ordercenter.core.bulk import copy_rows
from ordercenter.core.clock import now as clock_now
from tests.factories import OrderLineFactory, StockLevelFactory
from tests.races.tools import Gap, without

pytestmark = pytest.mark.django_db(transaction=True)
NOWHERE = 987_654_321
LOOKS = [("inventory_reservation", "levels_named"), ("inventory_stockmovement", "levels_named")]
KEEPS = [("inventory_stocklevel", "levels_stay"), ("inventory_stocklevel", "levels_stay_truncate")]


def book(*level_ids: int) -> None:
    """Ledger lines as every service writes them."""
    rows = [(pk, "outside", "available", 1, "test", PIPELINE.name, clock_now()) for pk in level_ids]
    columns = ("level_id", "source", "target", "quantity", "reason", "actor", "created_at")
    with transaction.atomic():
        copy_rows(StockMovement, columns, rows)


def promise(level_id: int) -> Reservation:
    line = OrderLineFactory.create()
    return Reservation.objects.create(
        line=line, order_id=line.order_id, level_id=level_id, quantity=1, created_at=clock_now()
    )


def run(statement: str, *values: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)


def delete(level_id: int) -> None:
    run("DELETE FROM inventory_stocklevel WHERE id = %s", level_id)


def orphans() -> int:
    levels = StockLevel.objects.values("pk")
    return sum(
        model.objects.exclude(level_id__in=levels).count() for model in (Reservation, StockMovement)
    )


@pytest.mark.parametrize("write", [book, promise])
def test_nothing_is_written_for_a_level_that_is_not_there(write: Callable[[int], Any]) -> None:
    with pytest.raises(IntegrityError, match="not there"):
        write(NOWHERE)
    assert orphans() == 0
    with without(triggers=LOOKS):
        write(NOWHERE)
        assert orphans() == 1


def test_of_many_rows_a_single_strange_one_is_found() -> None:
    levels = [StockLevelFactory.create().pk for _ in range(3)]
    before = StockMovement.objects.count()
    with pytest.raises(IntegrityError, match="not there"):
        book(*levels, *levels, NOWHERE, *levels)
    assert StockMovement.objects.count() == before
    book(*levels, *levels)
    assert StockMovement.objects.count() == before + 6


def renumber(level_id: int) -> None:
    run("UPDATE inventory_stocklevel SET id = id + 1000000 WHERE id = %s", level_id)


def empty(_level_id: int) -> None:
    run("TRUNCATE inventory_stocklevel CASCADE")


@pytest.mark.parametrize(
    ("name", "change"),
    # Reservations hang by their slices on what CASCADE empties with the levels.
    [(book, delete), (book, renumber), (book, empty), (promise, delete), (promise, renumber)],
)
def test_a_level_that_is_named_stays(
    name: Callable[[int], Any], change: Callable[[int], None]
) -> None:
    level = bare_level()
    name(level)
    with pytest.raises(IntegrityError, match="still named"):
        change(level)
    assert orphans() == 0
    with without(triggers=KEEPS):
        change(level)
        assert orphans() == 1


def bare_level() -> int:
    """A level nothing has ever happened to."""
    return StockLevelFactory.create(on_hand=0).pk


def test_a_level_nobody_names_can_go() -> None:
    level = bare_level()
    delete(level)
    assert not StockLevel.objects.filter(pk=level).exists()


def test_a_reservation_is_moved_only_to_a_level_that_is_there() -> None:
    kept = promise(bare_level())
    other = bare_level()
    Reservation.objects.filter(pk=kept.pk).update(level=other)
    with pytest.raises(IntegrityError, match="not there"):
        Reservation.objects.filter(pk=kept.pk).update(level=NOWHERE)
    with without(triggers=[("inventory_reservation", "level_named_anew")]):
        Reservation.objects.filter(pk=kept.pk).update(level=NOWHERE)
        assert orphans() == 1


def test_from_an_older_snapshot_no_level_is_deleted() -> None:
    level = bare_level()
    with transaction.atomic():
        run("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        with pytest.raises(DatabaseError, match="READ COMMITTED"), transaction.atomic():
            delete(level)
    assert StockLevel.objects.filter(pk=level).exists()


def first_one_then_the_other(
    level: int, first: Callable[[int], Any], second: Callable[[int], Any]
) -> list[Callable[[], Any]]:
    """The second comes while what the first did is not committed yet."""
    gap = Gap()

    def one() -> None:
        with transaction.atomic():
            first(level)
            gap.happened("done")
            gap.wait_for("over")

    def other() -> None:
        gap.wait_for("done")
        try:
            second(level)
        finally:
            gap.happened("over")

    return [one, other]


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [(book, delete, "still named"), (delete, book, "not there")],
    ids=["written-then-deleted", "deleted-then-written"],
)
def test_writing_and_deleting_at_once_the_second_waits_and_is_refused(
    first: Callable[[int], Any], second: Callable[[int], Any], told: str, run_together: Any
) -> None:
    level = bare_level()
    calm, refused = run_together(*first_one_then_the_other(level, first, second))
    assert calm is None
    assert isinstance(refused, IntegrityError)
    assert told in str(refused)
    assert orphans() == 0


@pytest.mark.parametrize(
    ("first", "second"), [(book, delete), (delete, book)],
    ids=["written-then-deleted", "deleted-then-written"],
)  # fmt: skip
def test_control_where_nobody_looks_a_ledger_line_names_nothing(
    first: Callable[[int], Any], second: Callable[[int], Any], run_together: Any
) -> None:
    level = bare_level()
    with without(triggers=LOOKS):
        assert run_together(*first_one_then_the_other(level, first, second)) == [None, None]
        assert orphans() == 1
