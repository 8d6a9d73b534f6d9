"""What the platforms send by themselves: at least once, in no promised order.

A push that is not taken is repeated with growing pauses and then given up: whoever missed it
asks the lists. Now and then one that was taken is sent again, as all platforms do. Weather
(``duplicates``, ``shuffle``, ``silent_webhooks``) makes it worse, and what was sent can be
sent again, as it was or as new events of the same content.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any, Final

import httpx

if TYPE_CHECKING:
    from ordercenter.sandbox.book import Book, Order

PAUSES: Final = (1.0, 3.0, 10.0, 30.0, 90.0)  # seconds before each repeat
PATIENCE: Final = 5.0  # seconds a receiver has to answer; Shopify and WeChat give as much
TWICE: Final = 0.03  # of what was taken
AT_A_TIME: Final = 16
LOOK: Final = 0.05  # seconds between two looks for something due
REMEMBERED: Final = 100_000  # pushes that can be replayed


@dataclass(frozen=True, slots=True)
class Push:
    """One message. ``headers`` is asked at every attempt: some signatures hold the time."""

    url: str
    body: bytes
    headers: Callable[[], Mapping[str, str]]
    taken: Callable[[httpx.Response], bool]
    facts: Mapping[str, Any]
    """What is written to the book when the push has been taken or given up: ``shop``, the
    order's ``number``, the event's ``id``."""
    renewed: Callable[[str], Push] | None = None
    """The same content as another event: its id made of the word given, signed anew."""


@dataclass(order=True, slots=True)
class _Due:
    at: float
    turn: int
    attempt: int = field(compare=False)
    push: Push = field(compare=False)


class Outgoing:
    """The pushes of one platform that are still to be sent."""

    def __init__(
        self,
        book: Book,
        *,
        client: httpx.AsyncClient | None = None,
        twice: float = TWICE,
        seed: int = 1,
        pauses: tuple[float, ...] = PAUSES,
    ) -> None:
        self.book = book
        self.twice = twice
        self.pauses = pauses
        self._client = client
        self._random = Random(seed)
        self._due: list[_Due] = []
        self._turn = 0
        self._sent: deque[tuple[float, Push]] = deque(maxlen=REMEMBERED)
        book.outlets.append(self)

    def put(self, push: Push) -> None:
        """Let ``push`` go out: at once, unless the weather is against it."""
        at = self.book.clock()
        shop = self.book.shops.get(str(push.facts.get("shop", "")))
        if shop is None:
            self._enter(push, at, 1)
            return
        if self.book.weather.strikes(shop.channel, "silent_webhooks"):
            return
        self._sent.append((at, push))
        for late in delays(self.book, shop.channel):
            self._enter(push, at + late, 1)

    def replay(
        self, shop: str | None, since: float, until: float, *, rate: float, as_is: bool
    ) -> dict[str, int]:
        """Send again what was put in [since, until], ``rate`` a second (0: all at once).

        ``as_is`` under the old event ids; else as new events, where the platform's pusher knows
        how to make one (``as_they_were`` counts those where it does not).
        """
        chosen = [
            push
            for at, push in self._sent
            if since <= at <= until and shop in {None, push.facts["shop"]}
        ]
        told = {"renewed": 0, "as_they_were": 0}
        now = self.book.clock()
        for turn, push in enumerate(chosen):
            again = push
            if not as_is and push.renewed is not None:
                again = push.renewed(f"replay-{now}-{turn}")
            told["as_they_were" if again is push else "renewed"] += 1
            self._enter(again, now + (turn / rate if rate else 0.0), 1)
        return told

    @property
    def waiting(self) -> int:
        return len(self._due)

    async def run(self) -> None:
        """Send whatever is due, until canceled."""
        running: set[asyncio.Task[None]] = set()
        async with self._client or httpx.AsyncClient(timeout=PATIENCE, trust_env=False) as client:
            while True:
                while len(running) < AT_A_TIME and (due := self._take()) is not None:
                    task = asyncio.create_task(self._send(client, due))
                    running.add(task)
                    task.add_done_callback(running.discard)
                await asyncio.sleep(LOOK)

    async def send_due(self, client: httpx.AsyncClient) -> int:
        """Send what is due now, one after another; return how many attempts that were."""
        attempts = 0
        while (due := self._take()) is not None:
            await self._send(client, due)
            attempts += 1
        return attempts

    def _take(self) -> _Due | None:
        if self._due and self._due[0].at <= self.book.clock():
            return heapq.heappop(self._due)
        return None

    def _enter(self, push: Push, at: float, attempt: int) -> None:
        self._turn += 1
        heapq.heappush(self._due, _Due(at, self._turn, attempt, push))

    async def _send(self, client: httpx.AsyncClient, due: _Due) -> None:
        push, attempt, status, taken = due.push, due.attempt, 0, False
        try:
            response = await client.post(push.url, content=push.body, headers=push.headers())
            status, taken = response.status_code, push.taken(response)
        except (httpx.HTTPError, ValueError):  # not there, too slow, or no readable answer
            taken = False
        now = self.book.clock()
        if taken or attempt > len(self.pauses):
            facts = {"attempts": attempt, "taken": taken, "status": status}
            self.book.record("push", {**push.facts, **facts})
        else:
            self._enter(push, now + self.pauses[attempt - 1], attempt + 1)
        if taken and self._random.random() < self.twice:
            self._enter(push, now + self._random.uniform(0.1, 5.0), attempt)


def delays(book: Book, channel: str) -> list[float]:
    """How late each copy of a message of ``channel`` is to come, in seconds: one, or more."""
    twice = book.weather.strikes(channel, "duplicates")
    copies = 1 if twice is None else max(1, int(twice.number("times")))
    found = []
    for _ in range(copies):
        shuffled = book.weather.strikes(channel, "shuffle")
        late = 0.0 if shuffled is None else shuffled.number("late")
        found.append(book.weather.dice(channel, "shuffle").uniform(0.0, late))
    return found


class Teller:
    """Hears of every change in the book and pushes what its platform says of it.

    A platform says how in ``_changed``.
    """

    pauses: tuple[float, ...] = PAUSES

    def __init__(self, book: Book, center_url: str, outgoing: Outgoing | None = None) -> None:
        self.book = book
        self.center_url = center_url
        self.outgoing = outgoing or Outgoing(book, pauses=self.pauses)
        self._told: dict[str, str] = {}
        book.on_change(self._changed)

    async def run(self) -> None:
        await self.outgoing.run()

    def _changed(self, order: Order, event: str) -> None:
        raise NotImplementedError

    def _is_news(self, refund_id: str, word: str) -> bool:
        """Whether a refund has come to another word than the one told last; it is told now."""
        was, self._told[refund_id] = self._told.get(refund_id), word
        return was != word


def said_ok(response: httpx.Response) -> bool:
    """Any 2xx will do."""
    return response.is_success


def hook(center_url: str, channel: str, shop_code: str) -> str:
    """Where the center listens for ``shop_code``."""
    return f"{center_url.rstrip('/')}/hooks/{channel}/{shop_code}/"
