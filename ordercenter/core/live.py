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
from typing import Any, Final

import psycopg
from asgiref.sync import async_to_sync
from channels.layers import InMemoryChannelLayer, get_channel_layer
from django.db import connection, transaction

NOTIFY_CHANNEL: Final = "ordercenter_live"
MAX_BYTES: Final = 7_900  # NOTIFY takes less than 8,000
logger = logging.getLogger(__name__)


def announce(topic: str, **facts: int | str) -> None:
    """Nudge every page that listens to ``topic`` once the current transaction commits.

    One nudge a batch: NOTIFY takes a lock of the whole database at commit.
    """
    message = {"type": "live.nudge", "topic": topic, **facts}
    layer = get_channel_layer()
    if isinstance(layer, PostgresChannelLayer):
        text = json.dumps({"group": topic, "message": message})
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_notify(%s, %s)", [NOTIFY_CHANNEL, text])
        return
    if layer is not None:
        transaction.on_commit(lambda: _send(topic, message), robust=True)


def _send(topic: str, message: dict[str, Any]) -> None:
    layer = get_channel_layer()
    assert layer is not None
    async_to_sync(layer.group_send)(topic, message)


class PostgresChannelLayer(InMemoryChannelLayer):  # type: ignore[misc]
    """Groups of this process's sockets, told by NOTIFY what any process announced."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._listener: asyncio.Task[None] | None = None

    async def group_add(self, group: str, channel: str) -> None:
        self._listen()
        await super().group_add(group, channel)

    def _listen(self) -> None:
        if self._listener is None or self._listener.done():
            self._listener = asyncio.get_running_loop().create_task(self._hear())

    async def _hear(self) -> None:
        """Listen for ever; after a lost connection tell every group to look again."""
        while True:
            try:
                async with await psycopg.AsyncConnection.connect(
                    **connection_parameters(), autocommit=True
                ) as listening:
                    await listening.execute(f"LISTEN {NOTIFY_CHANNEL}")
                    await self._tell_everybody()
                    async for notice in listening.notifies():
                        with contextlib.suppress(ValueError, KeyError):
                            told = json.loads(notice.payload)
                            await self.group_send(told["group"], told["message"])
            except psycopg.Error as error:
                logger.warning("live hints are cut off, trying again: %s", type(error).__name__)
                await asyncio.sleep(1)

    async def _tell_everybody(self) -> None:
        for group in list(self.groups):
            await self.group_send(group, {"type": "live.nudge", "topic": group})


def connection_parameters() -> dict[str, Any]:
    """How Django itself would connect, for a connection outside its pool."""
    parameters: dict[str, Any] = connection.get_connection_params()
    for name in ("cursor_factory", "context", "client_encoding"):
        parameters.pop(name, None)
    return parameters
