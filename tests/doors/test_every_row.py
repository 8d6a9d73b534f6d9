"""No named bad input is missing: each has a test, or a reason, at every door it is for."""

import importlib
from pathlib import Path

import pytest

from tests.doors.table import EXPLAINED, IDS, POLLED, PUSHED, SHOWN

for _path in sorted(Path(__file__).parent.glob("test_b*.py")):
    importlib.import_module(f"tests.doors.{_path.stem}")

POLLS = tuple(f"poll {name}" for name in POLLED)
PULLED_ONLY = {f"BJ{n:02}" for n in (19, 20, 21)}
OURS = {"BJ13": "the platform's own fields are BJ12; this is about our API"}
PARTS_OF = {"BJ14": "BJ15", "BJ16": "BJ15"}
"""Shown for what is polled by one test with the row it belongs to."""


def doors_of(row: str) -> tuple[str, ...]:
    """Where ``reliability.md`` wants the row shown."""
    if row in OURS or row.startswith(("BD", "BO")):
        return ()
    if row.startswith("BJ"):
        return (*PUSHED, *POLLS)
    return (*PUSHED, "api") if row.startswith("BH") else PUSHED


@pytest.mark.parametrize("row", IDS)
def test_every_row_is_shown_or_explained_at_every_door(row: str) -> None:
    shown = SHOWN[row] | SHOWN[PARTS_OF.get(row, row)]
    assert shown or EXPLAINED[row], "neither a test nor a reason"
    if "" in SHOWN[row] | set(EXPLAINED[row]) and not row.startswith("BJ"):
        return  # shown where every door is behind it, or no door has it
    missing = [door for door in doors_of(row) if door not in shown and door not in EXPLAINED[row]]
    assert missing == []


@pytest.mark.parametrize("row", IDS)
def test_every_reason_says_something_and_excuses_nothing_that_is_shown(row: str) -> None:
    for door, why in EXPLAINED[row].items():
        assert len(why) > 15
        assert door not in SHOWN[row]
