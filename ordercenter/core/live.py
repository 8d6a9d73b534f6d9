"""Live hints: a page is nudged, never fed.

``announce`` sends topic names and ids when the transaction commits; whoever listens asks the
database again with its own rights. A lost nudge costs freshness, never truth.

With ``REDIS_URL`` the nudge goes through Channels' Redis layer. Without it, it is a NOTIFY:
sent by the database itself at commit, heard by one listening connection in each web process
and handed to that process's sockets. PgBouncer must leave that one connection alone
(session mode), because LISTEN belongs to a session.
"""

import asyncio
import contextlib
import json
import logging
import time
from typing import Any, Final

import psycopg
from asgiref.sync import async_to_sync
from channels.layers import InMemoryChannelLayer, get_channel_layer
from django.db import connection, transaction

NOTIFY_CHANNEL: Final = "ordercenter_live"
LISTENER_NAME: Final = "ordercenter live hints"
PUSH_SECONDS: Final = 0.2
PUSH_PAUSE_SECONDS: Final = 10.0
PROBE_SECONDS: Final = 10.0
FOR_EVER: Final = 100 * 366 * 86_400
logger = logging.getLogger(__name__)


def announce(topic: str, **facts: int | str) -> None:
    """Nudge every page that listens to ``topic`` once the current transaction commits.

    One nudge a batch: NOTIFY takes a lock of the whole database at commit. Ids only, never what
    they stand for; a nudge of 8,000 bytes or more is refused by the database.
    """
    message = {"type": "live.nudge", "topic": topic, **facts}
    layer = get_channel_layer()
    if isinstance(layer, PostgresChannelLayer):
        text = json.dumps({"group": topic, "message": message})
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_notify(%s, %s)", [NOTIFY_CHANNEL, text])
        return
    if layer is not None:
        transaction.on_commit(lambda: _pusher.push(layer, topic, message), robust=True)


class Pusher:
    """Hand nudges to a layer outside the database, at most ``PUSH_SECONDS`` for each.

    A layer that is down or does not answer is left alone for a while: nobody's work waits for
    a hint, and the pages look again by themselves.
    """

    def __init__(self) -> None:
        self.paused_until = 0.0

    def push(self, layer: Any, topic: str, message: dict[str, Any]) -> None:
        if time.monotonic() < self.paused_until:
            return
        try:
            async_to_sync(_push)(layer, topic, message)
        except Exception as error:  # noqa: BLE001 - whatever a layer's client library raises
            self.paused_until = time.monotonic() + PUSH_PAUSE_SECONDS
            logger.warning("live hints are not being taken: %s", type(error).__name__)


async def _push(layer: Any, topic: str, message: dict[str, Any]) -> None:
    async with asyncio.timeout(PUSH_SECONDS):
        await layer.group_send(topic, message)


_pusher: Final = Pusher()


class PostgresChannelLayer(InMemoryChannelLayer):  # type: ignore[misc]
    """Groups of this process's sockets, told by NOTIFY what any process announced."""

    def __init__(self, **options: Any) -> None:
        # A socket leaves its groups when it closes. By time they would lose it after a day,
        # and a screen hangs on the wall for months.
        super().__init__(**{"group_expiry": FOR_EVER, **options})
        self._listener: asyncio.Task[None] | None = None

    async def group_add(self, group: str, channel: str) -> None:
        self._listen()
        await super().group_add(group, channel)

    def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        listener = self._listener
        if listener is None or listener.done() or listener.get_loop() is not loop:
            self._listener = loop.create_task(self._hear())

    async def _hear(self) -> None:
        """Listen for ever; after a lost connection tell every group to look again."""
        while True:
            try:
                async with await psycopg.AsyncConnection.connect(
                    **{**connection_parameters(), "application_name": LISTENER_NAME},
                    autocommit=True,
                ) as listening:
                    await self._pass_on_from(listening)
            except (psycopg.Error, OSError) as error:  # a time-out is an OSError
                logger.warning("live hints are cut off, trying again: %s", type(error).__name__)
                await asyncio.sleep(1)

    async def _pass_on_from(self, listening: psycopg.AsyncConnection[Any]) -> None:
        await listening.execute(f"LISTEN {NOTIFY_CHANNEL}")
        await self._tell_everybody()
        while True:
            async for notice in listening.notifies(timeout=PROBE_SECONDS):
                await self._pass_on(notice.payload)
            # A peer that vanished without a word looks like silence: ask.
            async with asyncio.timeout(PROBE_SECONDS):
                await listening.execute("SELECT 1")

    async def _pass_on(self, payload: str) -> None:
        # Whoever may connect may NOTIFY; nonsense must not end the listening.
        with contextlib.suppress(ValueError, KeyError, TypeError, AssertionError):
            told = json.loads(payload)
            await self.group_send(told["group"], told["message"])

    async def _tell_everybody(self) -> None:
        for group in list(self.groups):
            await self.group_send(group, {"type": "live.nudge", "topic": group})


def connection_parameters() -> dict[str, Any]:
    """How Django itself would connect, for a connection outside its pool."""
    parameters: dict[str, Any] = connection.get_connection_params()
    for name in ("cursor_factory", "context", "client_encoding"):
        parameters.pop(name, None)
    return parameters
