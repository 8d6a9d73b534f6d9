"""What the platforms send by themselves: at least once, in no promised order.

A push that is not taken is repeated with growing pauses and then given up: whoever missed it
asks the lists. Now and then one that was taken is sent again, as all platforms do.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any, Final

import httpx

if TYPE_CHECKING:
    from ordercenter.sandbox.book import Book

PAUSES: Final = (1.0, 3.0, 10.0, 30.0, 90.0)  # seconds before each repeat
PATIENCE: Final = 5.0  # seconds a receiver has to answer; Shopify and WeChat give as much
TWICE: Final = 0.03  # of what was taken
AT_A_TIME: Final = 16
LOOK: Final = 0.05  # seconds between two looks for something due


@dataclass(frozen=True, slots=True)
class Push:
    """One message. ``headers`` is asked at every attempt: some signatures hold the time."""

    url: str
    body: bytes
    headers: Callable[[], Mapping[str, str]]
    taken: Callable[[httpx.Response], bool]
    facts: Mapping[str, Any]
    """What is written to the book when the push has been taken or given up."""


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
    ) -> None:
        self.book = book
        self.twice = twice
        self._client = client
        self._random = Random(seed)
        self._due: list[_Due] = []
        self._turn = 0

    def put(self, push: Push) -> None:
        self._enter(push, self.book.clock(), 1)

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
        if taken or attempt > len(PAUSES):
            facts = {"attempts": attempt, "taken": taken, "status": status}
            self.book.record("push", {**push.facts, **facts})
        else:
            self._enter(push, now + PAUSES[attempt - 1], attempt + 1)
        if taken and self._random.random() < self.twice:
            self._enter(push, now + self._random.uniform(0.1, 5.0), attempt)


def said_ok(response: httpx.Response) -> bool:
    """Any 2xx will do."""
    return response.is_success


def hook(center_url: str, channel: str, shop_code: str) -> str:
    """Where the center listens for ``shop_code``."""
    return f"{center_url.rstrip('/')}/hooks/{channel}/{shop_code}/"
