"""Advisory locks are told apart by their numbers alone: two alike would wait for each other."""

import re
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("ordercenter", "risk", "inventory", "channels_sync", "fulfillment")
LOCK = re.compile(r"^([A-Z_]*LOCK): Final = (7_?205[_\d]*)", re.MULTILINE)


def test_no_two_locks_have_the_same_number() -> None:
    found = [
        int(number.replace("_", ""))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        for _name, number in LOCK.findall(path.read_text(encoding="utf-8"))
    ]
    assert len(found) >= 10  # the pattern still finds them
    assert [number for number, count in Counter(found).items() if count > 1] == []
