"""The platforms' message lines: one process holds each, whoever is first, until it lets go.

What comes is stored and committed before it is confirmed; what is confirmed is never lost.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Final

from django.db import close_old_connections, transaction
from django.db.models import Q

from channels_sync import services as channels
from channels_sync.connectors import CONNECTORS
from channels_sync.connectors.exchange import make_client
from channels_sync.contracts import ConnectorError, RawMessage
from channels_sync.models import InboxMessage, ShopCredential, SyncCursor
from ordercenter.core.clock import now as clock_now
from ordercenter.pipeline.calling import connector_for

logger = logging.getLogger(__name__)
LEASE: Final = timedelta(seconds=30)
RENEW: Final = timedelta(seconds=10)
LOOK: Final = 5.0
FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 60.0
LISTENED: Final = [channel for channel, connector in CONNECTORS.items() if connector.listens]


def listen_to_all(stop: threading.Event) -> None:
    """Hold the message line of every shop that has one and is not held, until ``stop``."""
    held: dict[int, threading.Thread] = {}
    while not stop.is_set():
        held = {shop: thread for shop, thread in held.items() if thread.is_alive()}
        try:
            for shop_id in _free_shops(now=clock_now()):
                if shop_id not in held and _take(shop_id, now=clock_now()):
                    held[shop_id] = threading.Thread(
                        target=_hold, args=(shop_id, stop), name=f"listen-{shop_id}", daemon=True
                    )
                    held[shop_id].start()
        except Exception:
            logger.exception("looking for message lines failed, trying again")
        close_old_connections()
        stop.wait(LOOK)
    for thread in held.values():
        thread.join(timeout=10)


def _free_shops(*, now: datetime) -> list[int]:
    able = ShopCredential.objects.values("shop_id")
    return list(
        SyncCursor.objects.filter(
            shop__is_active=True, shop__channel__in=LISTENED, shop__in=able, paused_at=None,
            mode=SyncCursor.Mode.EVENT,
        )
        .filter(Q(listening_until=None) | Q(listening_until__lte=now))
        .values_list("shop_id", flat=True)
    )  # fmt: skip


def _take(shop_id: int, *, now: datetime) -> bool:
    """Take the line; of two processes one gets it."""
    free = Q(listening_until=None) | Q(listening_until__lte=now)
    return bool(SyncCursor.objects.filter(free, pk=shop_id).update(listening_until=now + LEASE))


def _hold(shop_id: int, stop: threading.Event) -> None:
    """Listen until the process stops, the shop is paused, or the line is lost for good."""
    pause = FIRST_PAUSE
    keeps = _Keeper(shop_id, stop)
    try:
        while not keeps.is_over():
            began = clock_now()
            try:
                listen_once(shop_id, keeps.is_over)
            except ConnectorError as error:
                logger.warning("message line of shop %s: %s", shop_id, error.error.code)
            except Exception:
                logger.exception("message line of shop %s broke", shop_id)
            pause = FIRST_PAUSE if clock_now() - began > LEASE else min(pause * 2, LONGEST_PAUSE)
            stop.wait(pause)
    finally:
        SyncCursor.objects.filter(pk=shop_id).update(listening_until=None)
        close_old_connections()


def listen_once(shop_id: int, stop: Callable[[], bool]) -> None:
    """Receive one shop's messages until the platform closes the line. Raises ConnectorError."""

    def take(messages: Sequence[RawMessage]) -> None:
        now = clock_now()
        with transaction.atomic():
            channels.store(messages, source=InboxMessage.Source.PUSH, shop_id=shop_id, now=now)
            SyncCursor.objects.filter(pk=shop_id).update(last_push_at=now)

    with make_client() as client:
        connector_for(shop_id, client).listen(take, stop)


class _Keeper:
    """Keeps the lease of one line while it is listened to."""

    def __init__(self, shop_id: int, stop: threading.Event) -> None:
        self.shop_id = shop_id
        self.stop = stop
        self.renewed_at = clock_now()
        self.over = False

    def is_over(self) -> bool:
        """Whether to let go; renews the lease on the way."""
        if self.stop.is_set() or self.over:
            return True
        now = clock_now()
        if now - self.renewed_at >= RENEW:
            mine = SyncCursor.objects.filter(
                pk=self.shop_id, shop__is_active=True, paused_at=None, mode=SyncCursor.Mode.EVENT
            ).update(listening_until=now + LEASE)
            self.over = not mine
            self.renewed_at = now
        return self.over
