"""A platform replays a whole day while the shop goes on selling: duplicates, and live delay.

The sandbox sells a day, hour by hour of its platforms' clocks; it is taken in once, by pushes
and a back-fill of every shop. Then live orders come at a steady rate: first alone, then while
every push of the day comes again as a new event and a back-fill reads the whole day again.

* ``alone`` and ``beside_replay``: seconds from the first message of a live order (its push, its
  hint, its row of a poll) to its order row, as another connection sees it.
* ``duplicates``: orders that are there twice, and whatever else the sandbox's books and ours do
  not agree on.
"""

import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final

import psycopg
from django.contrib.auth.models import User
from django.db import connection
from django.db.models import Max

from channels_sync.connectors import CONNECTORS
from channels_sync.models import Backfill, InboxMessage
from ordercenter.catalog.models import Shop
from ordercenter.core.actor import Actor
from ordercenter.core.clock import now as clock_now
from ordercenter.core.live import connection_parameters
from ordercenter.core.policy import Role
from ordercenter.orders.models import SalesOrder
from ordercenter.pipeline import lines
from ordercenter.pipeline.bench.crew import SETTLE_SECONDS, Crew, Desk, crew, settle
from ordercenter.pipeline.bench.lean import spread
from ordercenter.pipeline.bench.scratch import durability
from ordercenter.pipeline.drill import books
from ordercenter.pipeline.invariants.run import run_all

SKEWED: Final = ("taobao", "jd", "pinduoduo", "douyin", "shopify")
"""Platforms whose lists can be asked for the past; the others' orders are all of now."""
LOOK: Final = 0.1
SAY_EVERY: Final = 15
REPLAY_RATE: Final = 25.0
"""Messages a second of each platform, so that its live ones still find their way between them."""
LOOKS: Final = 10
BETWEEN_LOOKS: Final = 15.0
LULL: Final = timedelta(seconds=10)
ID_SLACK: Final = 2000
Say = Callable[[str], object]
WORKERS: Final = ("intake", "work", "queue", "listen")


def run(*, orders: int, hours: int, rate: float, seconds: float, say: Say) -> dict[str, Any]:
    """Take ``orders`` of so many hours in, replay them; live orders at ``rate``, alone for
    ``seconds``.

    It takes many minutes: ``say`` hears how far it has come.
    """
    with crew() as hands:
        hands.start("sandbox", "web")
        desk = Desk(hands.sandbox)
        try:
            found = _measure(
                hands, desk, orders=orders, hours=hours, rate=rate, seconds=seconds, say=say
            )
        finally:
            desk.close()
        return found | {"settings": durability()}


def _measure(
    hands: Crew, desk: Desk, *, orders: int, hours: int, rate: float, seconds: float, say: Say
) -> dict[str, Any]:
    span = timedelta(hours=hours + 1)
    since = time.time() - span.total_seconds()
    _sell_a_day(desk, orders, hours)
    say(f"{orders} orders sold")
    began = time.perf_counter()
    hands.start(*WORKERS)
    _read_again(span)
    settle(hands, _open_work)
    taken_in = time.perf_counter() - began
    before = SalesOrder.objects.count()
    say(f"{before} orders taken in after {taken_in:.0f} s")
    alone = _live(desk, hands, rate=rate, seconds=seconds, over=_at_once, say=say)
    say(f"alone: {alone['delay_seconds']}")
    known = InboxMessage.objects.count()
    began = time.perf_counter()
    told = desk.post("/control/replay", shop="*", since=since, as_is=False, rate=REPLAY_RATE)
    _read_again(span)
    beside = _live(desk, hands, rate=rate, seconds=seconds, over=_replayed, say=say)
    replayed = time.perf_counter() - began
    say(f"beside the replay: {beside['delay_seconds']}")
    settle(hands, _open_work)
    twice, lasting = _compare(hands)
    broken = [f"{one.code}: {one.broken[0]}" for one in run_all() if one.broken]
    return {
        "orders_of_the_day": before,
        "taken_in_seconds": round(taken_in, 1),
        "live_rate_per_second": rate,
        "replayed_messages": told,
        "replay_seconds": round(replayed, 1),
        "inbox_messages_of_the_replay": InboxMessage.objects.count() - known,
        "alone": alone,
        "beside_replay": beside,
        "duplicates": twice,
        "books_equal": not lasting,
        "books_differ_in": sorted(lasting)[: books.SHOWN],
        "invariants_broken": broken,
    }


class _Watch:
    """Notes when each new order row could first be seen from outside."""

    def __init__(self) -> None:
        self.seen: dict[int, datetime] = {}
        self._floor: int = SalesOrder.objects.aggregate(last=Max("pk"))["last"] or 0
        self._parameters = connection_parameters() | {"autocommit": True}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        with psycopg.connect(**self._parameters) as line:
            while not self._stop.wait(LOOK):
                # Rows do not come to light in the order of their ids.
                low = max([self._floor, *self.seen]) - ID_SLACK
                rows = line.execute(
                    "SELECT id FROM orders_salesorder WHERE id > %s", [max(self._floor, low)]
                ).fetchall()
                now = clock_now()
                for (pk,) in rows:
                    self.seen.setdefault(pk, now)

    def delays(self, *, until: datetime) -> list[float]:
        """Seconds from an order's first message to its row; of those told of by ``until``."""
        was_there = self._thread.is_alive()
        time.sleep(2 * LOOK)
        self._stop.set()
        self._thread.join()
        if not was_there:
            raise RuntimeError("figure void: nobody watched the rows")
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT o.id, min(m.received_at) FROM orders_salesorder o "
                "JOIN channels_sync_inboxmessage m ON m.shop_id = o.shop_id "
                "AND m.channel_number = o.channel_number WHERE o.id = ANY(%s) GROUP BY o.id",
                [list(self.seen)],
            )
            told = cursor.fetchall()
        return [(self.seen[pk] - at).total_seconds() for pk, at in told if at <= until]


def _live(
    desk: Desk, hands: Crew, *, rate: float, seconds: float, over: Callable[[], bool], say: Say
) -> dict[str, Any]:
    """Sell at ``rate`` for ``seconds`` and until it is ``over``; how long the orders took."""
    watch, said = _Watch(), 0
    began = time.monotonic()
    desk.post("/control/rate", rate=rate, trouble=0.0)
    while (gone := time.monotonic() - began) < seconds or not over():
        hands.check()
        if int(gone) > said:
            said = int(gone) + SAY_EVERY
            say(f"{gone:.0f} s: {_open_work()} messages and back-fills wait")
        if gone > SETTLE_SECONDS:
            message = f"figure void: {_open_work()} messages and back-fills still wait"
            raise RuntimeError(message)
        time.sleep(LOOK * 5)
    desk.post("/control/rate", rate=0.0)
    end = clock_now()
    while _live_ones_waiting(end):  # the slowest of them belong into the figure
        hands.check()
        time.sleep(LOOK)
    waited = watch.delays(until=end)
    return {"orders": len(waited), "seconds": round(gone, 1), "delay_seconds": spread(waited)}


def _live_ones_waiting(until: datetime) -> bool:
    """Whether an order of now that we were told of by ``until`` still has to be worked."""
    told = InboxMessage.objects.filter(lane=InboxMessage.Lane.LIVE, state__in=["new", "leased"])
    return told.filter(received_at__lte=until).exists()


def _compare(hands: Crew) -> tuple[int, set[str]]:
    """(orders that are there twice, what the books do not agree on look after look).

    Buyers go on paying and closing what they had ordered, and the next poll tells: what differs
    once need not differ.
    """
    lasting: set[str] | None = None
    for look in range(LOOKS):
        time.sleep(BETWEEN_LOOKS if look else 0.0)
        found = books.compare(hands.sandbox)
        told = {f"{name}: {row}" for name, rows in found.findings().items() for row in rows}
        lasting = told if lasting is None else lasting & told
        if not lasting:
            break
    return len(found.doubled), lasting or set()


def _sell_a_day(desk: Desk, orders: int, hours: int) -> None:
    """Sell it in hourly lots, each when the platforms' clocks stood so many hours ago."""
    each = -(-orders // hours)
    for hour in range(hours, 0, -1):
        for channel in SKEWED:
            desk.post(
                "/control/fault", platform=channel, kind="clock_skew", share=1.0,
                offset=-3600 * hour,
            )  # fmt: skip
        desk.sell(min(each, orders - each * (hours - hour)), at_once=True)
    desk.post("/control/fault", platform="*", kind="none")


def _read_again(span: timedelta) -> None:
    """Ask for a back-fill of the whole day (``span``), of every shop that can be asked."""
    user = User.objects.filter(groups__name=Role.IT.value, is_active=True)[0]
    now = clock_now()
    for shop in Shop.objects.all():
        if CONNECTORS[shop.channel].feeds:
            lines.ask_backfill(
                shop.pk, start=now - span, end=now, user=user,
                actor=Actor.person(user), reason="bench replay",
            )  # fmt: skip


def _open_work() -> int:
    inbox = InboxMessage.objects.filter(state__in=["new", "leased"]).count()
    return inbox + Backfill.objects.filter(state__in=["waiting", "running"]).count()


def _at_once() -> bool:
    return True


def _replayed() -> bool:
    """Whether the back-fills are through, nothing told again waits, and no more of it comes."""
    told_again = InboxMessage.objects.filter(lane=InboxMessage.Lane.BULK)
    return not (
        Backfill.objects.filter(state__in=["waiting", "running"]).exists()
        or told_again.filter(state__in=["new", "leased"]).exists()
        or told_again.filter(received_at__gt=clock_now() - LULL).exists()
    )
