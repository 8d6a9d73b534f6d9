"""What every rehearsal does at the sandbox's desk and reads in our own book."""

import json
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import httpx
from django.db import close_old_connections, connection

from channels_sync.models import InboxMessage, SyncCursor
from ordercenter.core.clock import now as clock_now

LOOK: Final = 0.5
Say = Callable[[str], None]
Placed = tuple[str, str]
"""(shop code, channel number) of an order placed in the sandbox."""


class Desk:
    """The desk of the sandbox; loopback, and not part of its weather."""

    def __init__(self, base: str) -> None:
        self.client = httpx.Client(base_url=base, timeout=60, trust_env=False)

    def post(self, path: str, wish: Mapping[str, Any]) -> Any:
        """What the desk answers. Raises httpx.HTTPStatusError on a refusal."""
        return self.client.post(path, content=json.dumps(wish)).raise_for_status().json()

    def sell(self, shop: str, *, count: int, code: str | None = None) -> list[Placed]:
        """Buyers who have never bought before buy now: anything, or one piece of ``code``."""
        wish: dict[str, Any] = {"shop": shop, "count": count}
        if code is not None:
            wish["code"] = code
        rows = self.post("/control/sell", wish)["orders"]
        return [(row["shop"], row["number"]) for row in rows]


@dataclass(frozen=True, slots=True)
class Pace:
    """So many steps a second, however long a step takes; late steps follow at once."""

    began: float
    every: float

    @classmethod
    def of(cls, every: float) -> "Pace":
        return cls(time.monotonic(), every)

    def wait(self, step: int) -> None:
        time.sleep(max(0.0, self.began + step * self.every - time.monotonic()))


def poll_at_once(shops: Collection[str]) -> None:
    """Have these shops read now, beside whatever they push."""
    SyncCursor.objects.filter(shop__code__in=shops).update(
        next_due_at=clock_now(), open_until=None, broken=0
    )


def wait_for(placed: Sequence[Placed], *, at_most: timedelta, say: Say) -> float:
    """Wait until our book has all of these orders and the inbox is empty; return the seconds."""
    began, said = time.monotonic(), 0.0
    while time.monotonic() - began < at_most.total_seconds():
        missing = len(placed) - known(placed)
        waiting = InboxMessage.objects.filter(state__in=["new", "leased"]).count()
        if not missing and not waiting:
            break
        if time.monotonic() - said > 10:  # noqa: PLR2004 - seconds between two words
            said = time.monotonic()
            say(f"还差 {missing} 单，待处理 {waiting}")
            poll_at_once({shop for shop, _ in placed})
        time.sleep(LOOK)
        close_old_connections()
    return round(time.monotonic() - began, 1)


def known(placed: Sequence[Placed]) -> int:
    """How many rows our book has for these orders; more than there are would be doubles."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM unnest(%s::text[], %s::text[]) AS v(shop, number) "
            "JOIN catalog_shop s ON s.code = v.shop "
            "JOIN orders_salesorder o ON o.shop_id = s.id "
            "AND btrim(o.channel_number) = v.number",
            [[shop for shop, _ in placed], [number for _, number in placed]],
        )
        return int(cursor.fetchone()[0])
