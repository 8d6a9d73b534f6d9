"""The command and its snapshot."""

import json
from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import InternalError
from django.utils.functional import lazystr

from inventory.models import StockLevel
from ordercenter.pipeline.invariants import INVARIANTS, Invariant, Look, Row, run, run_all
from tests.factories import StockLevelFactory


@pytest.fixture
def ledgerless() -> StockLevel:
    """A committed break: stock that no movement explains."""
    return StockLevelFactory.create(on_hand=3)


# --- the command ---------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_green_ends_with_zero_and_one_json_document() -> None:
    out = StringIO()
    call_command("check_invariants", "--json", stdout=out)
    told = json.loads(out.getvalue())
    assert told["green"] is True
    assert [row["code"] for row in told["invariants"]] == [i.code for i in INVARIANTS]
    assert all(row["holds"] and row["broken"] == [] for row in told["invariants"])


@pytest.mark.django_db(transaction=True)
def test_red_ends_with_one_line_and_names_the_row(ledgerless: StockLevel) -> None:
    out = StringIO()
    with pytest.raises(CommandError, match=r"^有 1 项不变量被违反：S2$"):
        call_command("check_invariants", "--json", stdout=out)
    told = {row["code"]: row for row in json.loads(out.getvalue())["invariants"]}
    assert told["S2"]["broken"][0]["id"] == ledgerless.pk


@pytest.mark.django_db(transaction=True)
def test_a_person_reads_a_table_and_the_rows(ledgerless: StockLevel) -> None:
    out = StringIO()
    with pytest.raises(CommandError):
        call_command("check_invariants", stdout=out)
    assert f"S2 库存与流水合计不符：stock_level {ledgerless.pk}" in out.getvalue()


@pytest.mark.django_db(transaction=True)
def test_only_the_chosen_are_checked(ledgerless: StockLevel) -> None:
    assert ledgerless.pk
    out = StringIO()
    call_command("check_invariants", "--only", "r1, S1", "--json", stdout=out)
    assert [row["code"] for row in json.loads(out.getvalue())["invariants"]] == ["S1", "R1"]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("only", ["S1,X9", "", " , "])
def test_a_code_there_is_not_is_refused(only: str) -> None:
    with pytest.raises(CommandError, match="没有这样的不变量"):
        call_command("check_invariants", "--only", only)


@pytest.mark.django_db(transaction=True)
def test_no_more_rows_are_told_than_asked_for() -> None:
    StockLevelFactory.create_batch(3, on_hand=1)
    (outcome,) = run_all(["S2"], 2)
    assert len(outcome.broken) == 2


# --- one snapshot ----------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_all_look_at_one_moment_while_others_go_on_writing(
    monkeypatch: pytest.MonkeyPatch, run_together: Any
) -> None:
    def count(look: Look) -> Iterator[Row]:
        look.cursor.execute("SELECT count(*) FROM inventory_stocklevel")
        yield {"why": "count", "kind": "count", "id": look.cursor.fetchone()[0]}

    def meanwhile(_look: Look) -> list[Row]:
        (made,) = run_together(StockLevelFactory.create)
        assert isinstance(made, StockLevel)
        return []

    words = lazystr("")
    watched = [Invariant("A", words, also=count), Invariant("B", words, also=meanwhile),
               Invariant("C", words, also=count)]  # fmt: skip
    monkeypatch.setattr(run, "INVARIANTS", tuple(watched))
    first, _, last = run_all()
    assert first.broken == last.broken
    assert StockLevel.objects.count() == first.broken[0]["id"] + 1


@pytest.mark.django_db(transaction=True)
def test_a_look_cannot_change_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    def meddle(look: Look) -> list[Row]:
        look.cursor.execute("UPDATE inventory_stocklevel SET on_hand = 0")
        return []

    monkeypatch.setattr(run, "INVARIANTS", (Invariant("A", lazystr(""), also=meddle),))
    with pytest.raises(InternalError, match="read-only"):
        run_all()


@pytest.mark.django_db
def test_no_snapshot_begins_inside_a_transaction() -> None:
    with pytest.raises(RuntimeError, match="another transaction"):
        run_all()
