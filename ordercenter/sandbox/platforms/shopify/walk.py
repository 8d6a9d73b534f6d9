"""The walk over Shopify's orders: what is searched for, and where a page stands (5b)."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Final

from ordercenter.sandbox.platforms.shopify.wire import GraphqlError

if TYPE_CHECKING:
    from ordercenter.sandbox.book import Order

TERM: Final = re.compile(r"""(\w+):(>=|<=|>|<|)(?:'([^']*)'|"([^"]*)"|(\S+))\s*(?:AND\s+)?""")
COMPARE: Final[dict[str, Callable[[float, float], bool]]] = {
    ">=": lambda a, b: a >= b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    "<": lambda a, b: a < b,
    "": lambda a, b: a == b,
}


EVER: Final = (0.0, 4_102_444_800.0)


@dataclass(slots=True)
class Search:
    """What ``query`` asks for, and between which moments it may be found."""

    tests: list[Callable[[Order], bool]] = field(default_factory=list)
    spans: dict[str, tuple[float, float]] = field(default_factory=dict)

    def fits(self, order: Order) -> bool:
        return all(test(order) for test in self.tests)

    def narrow(self, name: str, way: str, bound: float) -> None:
        low, high = self.spans.get(name, EVER)
        low = max(low, bound) if way in {">", ">=", ""} else low
        high = min(high, bound) if way in {"<", "<=", ""} else high
        self.spans[name] = (low, high)


def search(text: str) -> Search:
    """Read ``query``. GraphqlError for what this sandbox cannot search by."""
    found = Search()
    at = 0
    text = text.strip()
    while at < len(text):
        match = TERM.match(text, at)
        if match is None:
            raise GraphqlError(f"cannot search by {text[at:]!r}")
        at = match.end()
        term(found, match[1], match[2], match[3] or match[4] or match[5] or "")
    return found


def term(found: Search, name: str, way: str, value: str) -> None:
    if name in {"updated_at", "created_at"}:
        try:
            bound = datetime.fromisoformat(value).timestamp()
        except ValueError as error:
            raise GraphqlError(f"Invalid timestamp {value!r} for {name}") from error
        compare = COMPARE[way]
        found.narrow(name, way, bound)
        if name == "updated_at":
            found.tests.append(lambda order: compare(int(order.modified), bound))
        else:
            found.tests.append(lambda order: compare(int(order.created), bound))
    elif name == "id" and not way:
        found.tests.append(lambda order: order.number == value)
    elif name == "name" and not way:
        wanted = value.removeprefix("#")
        found.tests.append(lambda order: str(order.extra.get("name")) == wanted)
    else:
        raise GraphqlError(f"cannot search by {name}{way}")


Place = tuple[int, int]


def sort_place(key: str) -> Callable[[Order], Place]:
    if key == "UPDATED_AT":
        return lambda order: (int(order.modified), int(order.number))
    if key in {"CREATED_AT", "PROCESSED_AT"}:
        return lambda order: (int(order.created), int(order.number))
    if key == "ID":
        return lambda order: (int(order.number), 0)
    raise GraphqlError(f"sortKey {key} is not known here", "argumentLiteralsIncompatible")


def cursor(place: Place) -> str:
    text = json.dumps({"last_value": place[0], "last_id": place[1]}, separators=(",", ":"))
    return base64.b64encode(text.encode()).decode()


def read_cursor(text: object) -> Place:
    try:
        facts = json.loads(base64.b64decode(str(text), validate=True))
        return int(facts["last_value"]), int(facts["last_id"])
    except (ValueError, KeyError, TypeError) as error:
        raise GraphqlError(f"`{text}` is not a valid cursor.") from error


def place_after(mark: Place, *, reverse: bool) -> Callable[[Place], bool]:
    return lambda place: place < mark if reverse else place > mark
