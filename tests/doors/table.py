"""The named bad inputs of ``reliability.md`` 8, and who shows them where.

``at`` makes one test a row of the table at several doors; its pytest ids are ``BG14-douyin``,
so ``pytest -k BG14`` runs everything there is about one input. A row that means nothing at a
door says why in ``but``; ``test_every_row.py`` holds both against the table.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

import pytest

ROWS: Final = {"BH": 20, "BG": 23, "BJ": 27, "BD": 17, "BO": 24}
IDS: Final = [f"{name}{n:02}" for name, count in ROWS.items() for n in range(1, count + 1)]

CHANNELS: Final = (
    "douyin", "shopify", "wechat_plain", "wechat_aes", "miniprogram", "crm_webhook", "openjson",
)  # fmt: skip
PUSHED: Final = (*CHANNELS, "sf")
POLLED: Final = (
    "taobao", "jd", "pinduoduo", "douyin", "shopify", "wechat", "crm_webhook", "miniprogram",
    "openjson",
)  # fmt: skip

SHOWN: Final[dict[str, set[str]]] = defaultdict(set)
"""The doors at which a test shows a row; ``""`` where a row has no door of its own."""
EXPLAINED: Final[dict[str, dict[str, str]]] = defaultdict(dict)
"""Why a row means nothing at a door."""


def at(
    row: str,
    doors: Sequence[str] = PUSHED,
    *,
    but: Mapping[str, str] | None = None,
    by_day: Collection[str] | None = None,
) -> pytest.MarkDecorator:
    """Run the test with ``door`` at each of ``doors`` that ``but`` does not excuse.

    Where ``by_day`` is given, the others have their turn at night.
    """
    _known(row)
    excused = but or {}
    EXPLAINED[row] |= excused
    shown = [door for door in doors if door not in excused]
    SHOWN[row] |= set(shown)
    return pytest.mark.parametrize(
        "door",
        [pytest.param(door, id=f"{row}-{door}", marks=_when(door, by_day)) for door in shown],
        indirect=True,
    )


def _when(door: str, by_day: Collection[str] | None) -> Sequence[pytest.MarkDecorator]:
    return () if by_day is None or door in by_day else (pytest.mark.nightly,)


def row(*ids: str) -> pytest.MarkDecorator:
    """Mark a test that shows these rows where there is no door to name."""
    for one in ids:
        _known(one)
        SHOWN[one].add("")
    return pytest.mark.parametrize("row", [pytest.param("-".join(ids), id="-".join(ids))])


def not_here(row: str, why: str, doors: Iterable[str] = ("",)) -> None:
    """Say why a row means nothing at these doors, or anywhere yet."""
    _known(row)
    for door in doors:
        EXPLAINED[row][door] = why


def _known(row: str) -> None:
    if row not in IDS:
        raise ValueError(row)
