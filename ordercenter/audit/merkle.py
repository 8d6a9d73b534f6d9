"""One hash over many, and a short way from one of them to it. Pure.

Leaves and inner nodes are hashed apart, so that no node can be passed off as a leaf; an odd
one at the end of a row goes up as it is.
"""

import hashlib
from collections.abc import Sequence
from typing import Final

EMPTY: Final = hashlib.sha256(b"\2").digest()
Step = tuple[str, bytes]
"""On which side the other hash stands, ``left`` or ``right``, and that hash."""


def _leaf(value: bytes) -> bytes:
    return hashlib.sha256(b"\0" + value).digest()


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\1" + left + right).digest()


def _rows(values: Sequence[bytes]) -> list[list[bytes]]:
    row = [_leaf(value) for value in values]
    rows = [row]
    while len(row) > 1:
        pairs = [_node(row[n], row[n + 1]) for n in range(0, len(row) - 1, 2)]
        row = pairs if len(row) % 2 == 0 else [*pairs, row[-1]]
        rows.append(row)
    return rows


def root_of(values: Sequence[bytes]) -> bytes:
    """The root over these values, in this order."""
    return _rows(values)[-1][0] if values else EMPTY


def way_up(values: Sequence[bytes], place: int) -> list[Step]:
    """What has to be hashed in to come from ``values[place]`` to the root."""
    steps: list[Step] = []
    for row in _rows(values)[:-1]:
        other = place ^ 1
        if other < len(row):
            steps.append(("left" if other < place else "right", row[other]))
        place //= 2
    return steps


def climb(value: bytes, steps: Sequence[Step]) -> bytes:
    """The root that these steps lead to from ``value``."""
    here = _leaf(value)
    for side, other in steps:
        here = _node(other, here) if side == "left" else _node(here, other)
    return here
