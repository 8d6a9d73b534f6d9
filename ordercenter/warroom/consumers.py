"""Sockets that nudge: "something about orders changed, look again". Never what changed."""

import asyncio
import json
import logging
import time
from collections import deque
from typing import Any, Final

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from django.db import Error as DatabaseTrouble

from ordercenter.warroom.standing import close_codes

GROUPS: Final = ("orders", "shops")
GAP_SECONDS: Final = 0.25
WATCH_SECONDS: Final = 4.0
MAX_FRAME: Final = 4_096
FRAMES: Final = 20
PER_SECONDS: Final = 10.0
NOT_TEXT: Final = 1003
TOO_BIG: Final = 1009
TOO_MANY: Final = 1008

logger = logging.getLogger(__name__)


class LiveConsumer(AsyncWebsocketConsumer):  # type: ignore[misc]
    """One page's socket. Speaks ``{"seq": n, "topic": "orders"}`` and listens to nothing.

    ``seq`` counts this socket's frames without a gap, so a page that misses one looks again.
    Accepts before it refuses: a socket closed before that shows the browser no code.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.session_key = ""
        self._seq = 0
        self._due: set[str] = set()
        self._told_at = 0.0
        self._telling: asyncio.Task[None] | None = None
        self._heard: deque[float] = deque(maxlen=FRAMES)
        self._ended = False

    async def connect(self) -> None:
        await self.accept()
        session = self.scope.get("session")
        self.session_key = getattr(session, "session_key", None) or ""
        codes = await database_sync_to_async(close_codes)([self.session_key])
        if code := codes.get(self.session_key):
            await self.end(code)
            return
        for group in GROUPS:
            await self.channel_layer.group_add(group, self.channel_name)
        _watch.add(self)

    async def disconnect(self, code: int) -> None:
        self._ended = True
        _watch.discard(self)
        if self._telling is not None:
            self._telling.cancel()
        for group in GROUPS:
            await self.channel_layer.group_discard(group, self.channel_name)

    async def end(self, code: int) -> None:
        """Close once; whoever comes later finds it done."""
        if not self._ended:
            self._ended = True
            await self.close(code)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Ignore what a page says, and hang up on one that will not stop."""
        now = time.monotonic()
        if text_data is None:
            await self.end(NOT_TEXT)
        elif len(text_data) > MAX_FRAME:
            await self.end(TOO_BIG)
        elif len(self._heard) == FRAMES and now - self._heard[0] < PER_SECONDS:
            logger.info("a socket was closed for talking too much")
            await self.end(TOO_MANY)
        self._heard.append(now)

    async def live_nudge(self, event: dict[str, Any]) -> None:
        self._due.add(str(event["topic"]))
        if self._telling is None or self._telling.done():
            self._telling = asyncio.create_task(self._tell())

    async def _tell(self) -> None:
        """Send one frame a topic, at most every ``GAP_SECONDS``, until nothing is due."""
        while self._due and not self._ended:
            await asyncio.sleep(max(0.0, self._told_at + GAP_SECONDS - time.monotonic()))
            topics, self._due = sorted(self._due), set()
            self._told_at = time.monotonic()
            for topic in topics:
                self._seq += 1
                await self.send(json.dumps({"seq": self._seq, "topic": topic}))


class Watch:
    """Asks every few seconds, once for all sockets of this process, who may still look."""

    def __init__(self) -> None:
        self._sockets: set[LiveConsumer] = set()
        self._task: asyncio.Task[None] | None = None

    def add(self, socket: LiveConsumer) -> None:
        self._sockets.add(socket)
        loop = asyncio.get_running_loop()
        if self._task is None or self._task.done() or self._task.get_loop() is not loop:
            self._task = loop.create_task(self._run())

    def discard(self, socket: LiveConsumer) -> None:
        self._sockets.discard(socket)

    async def _run(self) -> None:
        while self._sockets:
            await asyncio.sleep(WATCH_SECONDS)
            try:
                await self._look()
            except DatabaseTrouble as error:
                # Nothing can be read while it is down, so an open socket tells nobody anything.
                logger.warning("sockets could not be checked: %s", type(error).__name__)

    async def _look(self) -> None:
        keys = {socket.session_key for socket in self._sockets}
        codes = await database_sync_to_async(close_codes)(keys)
        for socket in list(self._sockets):
            if code := codes.get(socket.session_key):
                self._sockets.discard(socket)
                await socket.end(code)


_watch: Final = Watch()
