"""Changed orders of one shop into the inbox, against fetching the same pages and no more.

* ``product``: ``pulling.poll_shop`` against the sandbox on a socket of its own: signed calls in
  their turn, pages parsed, cut into orders, stored and committed, the cursor moved.
* ``pages_only``: the very requests the product sent, by one HTTP client, answers thrown away.

What the platform's own limit alone makes of the calls stands beside it: no program may be
faster than that.
"""

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import httpx
from django.db import connection

from channels_sync.connectors import CONNECTORS
from channels_sync.connectors.exchange import make_client
from channels_sync.contracts import Budget, Limit, MessageKind, Window
from channels_sync.line import ShopLine
from channels_sync.models import (
    CallBudget,
    FeedCursor,
    InboxMessage,
    ShopCredential,
    SyncCursor,
)
from ordercenter.catalog.models import Shop
from ordercenter.core.bulk import collect_seldom
from ordercenter.core.clock import now as clock_now
from ordercenter.pipeline import pulling
from ordercenter.pipeline.bench.crew import Desk, crew
from ordercenter.pipeline.bench.scratch import durability

CHANNELS: Final = ("taobao", "jd", "pinduoduo", "douyin", "shopify", "wechat")
MOST_POLLS: Final = 20
SPARE_PERCENT: Final = 3


class _Counting(ShopLine):
    """A line that never waits, and knows what the calls took out of the platform's limits."""

    def __init__(self, shop_id: int) -> None:
        super().__init__(shop_id)
        self._asked: dict[str, tuple[float, Limit]] = {}
        self._left: dict[str, tuple[float, float]] = {}

    def enter(self, interface: str, limit: Limit | None, *, cost: float = 1.0) -> None:
        if interface not in self._left:
            self._add(interface, limit or Limit(50, 50), cost)

    def passed(self, interface: str, budget: Budget | None = None) -> None:
        """A platform that says what is left is believed: its queries may cost less than asked."""
        if budget is None:
            return
        now = time.monotonic()
        limit = Limit(budget.restore_per_second, budget.maximum)
        before, at = self._left.get(interface, (budget.maximum, now))
        full = min(budget.maximum, before + (now - at) * budget.restore_per_second)
        if interface not in self._left:
            self._asked.pop(interface, None)
        self._left[interface] = (budget.available, now)
        self._add(interface, limit, full - budget.available)

    def _add(self, interface: str, limit: Limit, cost: float) -> None:
        before, _ = self._asked.get(interface, (0.0, limit))
        self._asked[interface] = (before + cost, limit)

    def floor(self) -> float:
        """The seconds so many calls take at the least, by the limits they keep to."""
        return max(
            max(0.0, (cost - limit.burst) / limit.per_second)
            for cost, limit in self._asked.values()
        )


class _Noting(httpx.HTTPTransport):
    """Sends requests, and keeps them."""

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[httpx.Request] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return super().handle_request(request)


@dataclass(frozen=True, slots=True)
class _Reading:
    """One unmeasured look at everything a shop lists."""

    requests: list[httpx.Request]
    orders: int
    floor: float


def run(*, channels: list[str], orders: int, rounds: int) -> dict[str, Any]:
    """Poll ``orders`` changed orders of each channel's shop, ``rounds`` times; medians."""
    collect_seldom()
    found: dict[str, Any] = {"orders": orders}
    with crew() as hands:
        hands.start("sandbox")
        desk = Desk(hands.sandbox)
        try:
            for channel in channels:
                found[channel] = _measure(channel, desk, orders=orders, rounds=rounds)
                hands.check()
        finally:
            desk.close()
        found["settings"] = durability()
    return found


def _measure(channel: str, desk: Desk, *, orders: int, rounds: int) -> dict[str, Any]:
    shop = Shop.objects.get(channel=channel)
    reading = _sell(desk, shop, orders)
    product, cpu, bare = [], [], []
    polls = 0
    for _ in range(rounds):
        bare.append(_fetch_only(reading.requests))
        _forget(shop.pk)
        began = time.process_time()
        seconds, tries = _poll(shop.pk, orders)
        product.append(seconds)
        cpu.append(time.process_time() - began)
        polls += tries
    seconds, pages = statistics.median(product), statistics.median(bare)
    return {
        "seconds": round(seconds, 2),
        "orders_per_second": round(orders / seconds),
        "own_cpu_seconds": round(statistics.median(cpu), 2),
        "pages_only_seconds": round(pages, 2),
        "against_pages_only": round(seconds / pages, 2),
        "platform_limit_seconds": round(reading.floor, 1),
        "calls": len(reading.requests),
        "polls": polls,
        "rounds": [round(x, 2) for x in product],
    }


def _sell(desk: Desk, shop: Shop, orders: int) -> _Reading:
    """Sell until the platform lists so many orders; return the last look at them.

    Some more, for the buyers who pay while a poll is under way: their orders leave its window.
    """
    wanted = orders * (100 + SPARE_PERCENT) // 100
    missing = wanted
    with _without_pushes(desk, shop.channel):
        while True:
            desk.sell(missing, shop=shop.code)
            reading = _read_once(shop)
            if reading.orders >= wanted:
                return reading
            missing = (wanted - reading.orders) * 5 // 4  # some platforms show no unpaid order


@contextmanager
def _without_pushes(desk: Desk, channel: str) -> Iterator[None]:
    """Nobody hears of what is sold within: it is there to be polled."""
    desk.post("/control/fault", platform=channel, kind="silent_webhooks", share=1.0)
    try:
        yield
    finally:
        desk.post("/control/fault", platform=channel, kind="none")


def _read_once(shop: Shop) -> _Reading:
    """Read the last half hour by the shop's own connector; the sandbox is warm afterwards."""
    now = clock_now()
    numbers = set()
    line, wire = _Counting(shop.pk), _Noting()
    with make_client(transport=wire) as client:
        credential = ShopCredential.objects.select_related("shop").get(pk=shop.pk)
        connector = CONNECTORS[shop.channel](credential.access(), client, line=line)
        for feed in connector.feeds:
            for page in connector.pull(feed.code, Window(now - timedelta(minutes=30), now)):
                numbers |= {m.channel_number for m in page.messages if m.kind is MessageKind.ORDER}
    return _Reading(wire.requests, len(numbers), line.floor())


def _fetch_only(requests: list[httpx.Request]) -> float:
    """Seconds to send the requests again and read what comes."""
    with httpx.Client(timeout=60, trust_env=False) as client:
        began = time.perf_counter()
        for request in requests:
            client.send(request).raise_for_status()
        return time.perf_counter() - began


def _poll(shop_id: int, orders: int) -> tuple[float, int]:
    """(seconds until every order is in the inbox, how many polls that took).

    Raises RuntimeError where they do not come.
    """
    began = time.perf_counter()
    said = ""
    for tries in range(1, MOST_POLLS + 1):
        said = pulling.poll_shop(shop_id)
        if _stored(shop_id) >= orders:
            return time.perf_counter() - began, tries
        time.sleep(0.2)
    message = f"figure void: {_stored(shop_id)} of {orders} orders came: {said}"
    raise RuntimeError(message)


def _stored(shop_id: int) -> int:
    rows = InboxMessage.objects.filter(shop_id=shop_id, kind="order").exclude(channel_number="")
    return rows.values("channel_number").distinct().count()


def _forget(shop_id: int) -> None:
    """Put the shop back to where it has read nothing, its turns full; not part of a figure."""
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE channels_sync_inboxmessage")
    FeedCursor.objects.filter(shop_id=shop_id).delete()
    CallBudget.objects.filter(shop_id=shop_id).delete()
    SyncCursor.objects.filter(shop_id=shop_id).update(
        leased_until=None, failures=0, last_ok_at=None, next_due_at=clock_now()
    )
