"""Which tests one process takes together, and in which order two processes come to them."""

from collections.abc import Sequence
from typing import Any, Final

import pytest
from xdist.scheduler import LoadScopeScheduling

BROWSER: Final = "tests/browser"
LONGEST: Final = (
    BROWSER,
    "tests/test_permissions.py",
    "tests/api/test_doors_to_stock.py",
    "tests/doors/test_bh_wire.py",
    "tests/inventory/test_machine.py",
    "tests/doors/test_bj_replies.py",
    "tests/pipeline/test_pulling.py",
    "tests/doors/test_bg_signatures.py",
    "tests/pipeline/test_path.py",
)
"""What takes longest comes first: begun last, it would keep one process long after the other."""


def group_of(nodeid: str) -> str:
    """What one process takes as a whole: a file, whose tests may share a world, or the browser."""
    file = nodeid.partition("::")[0]
    return BROWSER if file.startswith(f"{BROWSER}/") else file


def longest_first(items: Sequence[pytest.Item]) -> list[pytest.Item]:
    """These tests group by group."""
    rank = {group: place for place, group in enumerate(LONGEST)}
    for item in items:
        rank.setdefault(group_of(item.nodeid), len(rank))
    return sorted(items, key=lambda item: rank[group_of(item.nodeid)])


def by_group(config: pytest.Config, log: Any) -> Any:
    """Return what hands out groups in the order of the tests, to the process that is free first.

    ``--dist loadgroup`` would have every test go on its own: it writes the group into the name of
    the test, which pytest has taken no notice of since 9.2.
    """
    config.option.loadscopereorder = False
    scheduler = LoadScopeScheduling(config, log)
    scheduler._split_scope = group_of
    return scheduler
