"""Messages a platform keeps until the merchant's program confirms them (TMC, PMC).

At least once, in no order: what was handed out and not confirmed comes again. The box lives
in memory: what was not confirmed when the sandbox stopped is lost, as such messages may be.
"""

from __future__ import annotations

import heapq
import json
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any, Final

from ordercenter.sandbox.outgoing import REMEMBERED, delays

if TYPE_CHECKING:
    from ordercenter.sandbox.book import Book

FIRST_ID: Final = 7_000_000_000_000_000_000  # int64, far beyond 2^53


@dataclass(slots=True)
class Message:
    """One message to one shop. ``content`` is JSON text; ``at`` is when it was sent."""

    id: int
    shop: str
    number: str
    topic: str
    content: str
    at: float
    copies: int = 1
    """Confirmations after which it comes no more."""


class Mailbox:
    """What the shops of ``channel`` have not confirmed yet."""

    def __init__(self, book: Book, channel: str, *, again_after: float) -> None:
        self.book = book
        self.channel = channel
        self.again_after = again_after
        self._open: dict[str, dict[int, Message]] = {}
        self._due: dict[str, list[tuple[float, int, int]]] = {}
        self._sent: deque[Message] = deque(maxlen=REMEMBERED)
        # A sandbox started again must not give out an id that was used before.
        self._ids = count(FIRST_ID + int(book.clock() * 1_000_000))
        self._turns = count()
        book.outlets.append(self)

    def post(self, shop: str, number: str, topic: str, content: Mapping[str, Any]) -> None:
        """Put a message of order ``number`` into the box, unless the webhooks have gone silent."""
        if self.book.weather.strikes(self.channel, "silent_webhooks"):
            return
        text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
        message = Message(next(self._ids), shop, number, topic, text, self.book.now(shop))
        self._sent.append(message)
        late = delays(self.book, self.channel)
        message.copies = len(late)
        for seconds in late:
            self._enter(message, self.book.clock() + seconds)

    def take(self, shop: str, limit: int) -> list[Message]:
        """Up to ``limit`` due messages; each comes again unless it is confirmed in time."""
        now, due = self.book.clock(), self._due.setdefault(shop, [])
        taken: list[Message] = []
        while due and due[0][0] <= now and len(taken) < limit:
            _, _, message_id = heapq.heappop(due)
            message = self._open.get(shop, {}).get(message_id)
            if message is not None:
                taken.append(message)
                self._enter(message, now + self.again_after)
        return taken

    def confirm(self, shop: str, message_id: int) -> bool:
        """Whether there was such a message to confirm; each confirmation is written down."""
        message = self._open.get(shop, {}).get(message_id)
        if message is None:
            return False
        facts = {"shop": shop, "number": message.number, "topic": message.topic}
        kept = {"id": str(message_id), "taken": True, "status": 200, "attempts": 1}
        self.book.record("push", facts | kept)
        message.copies -= 1
        if message.copies <= 0:
            del self._open[shop][message_id]
        return True

    def waiting(self, shop: str) -> int:
        return len(self._open.get(shop, {}))

    def replay(
        self, shop: str | None, since: float, until: float, *, rate: float, as_is: bool
    ) -> dict[str, int]:
        """See ``outgoing.Outgoing.replay``."""
        chosen = [
            message
            for message in self._sent
            if since <= message.at <= until and shop in {None, message.shop}
        ]
        now = self.book.clock()
        for turn, old in enumerate(chosen):
            number = old.id if as_is else next(self._ids)
            again = Message(number, old.shop, old.number, old.topic, old.content, old.at)
            self._enter(again, now + (turn / rate if rate else 0.0))
        renewed = 0 if as_is else len(chosen)
        return {"renewed": renewed, "as_they_were": len(chosen) - renewed}

    def _enter(self, message: Message, at: float) -> None:
        self._open.setdefault(message.shop, {})[message.id] = message
        due = self._due.setdefault(message.shop, [])
        heapq.heappush(due, (at, next(self._turns), message.id))
