"""The sender sleeps a moment at a time; whatever is queued for it wakes it at the commit.

The database says so itself (NOTIFY), to the senders of every process. A call that is lost costs
a moment: the sender looks by itself, too.
"""

import logging
import threading
from typing import Final

import psycopg
from django.db import connection

from ordercenter.core.live import connection_parameters

logger = logging.getLogger(__name__)
CHANNEL: Final = "ordercenter_outbox"
LISTENER_NAME: Final = "ordercenter sender"
LOOK_SECONDS: Final = 1.0
PAUSE_SECONDS: Final = 5.0
_due = threading.Event()


def wake_sender() -> None:
    """Wake every sender once the transaction has committed; many wishes of one are one."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_notify(%s, '')", [CHANNEL])


def wake() -> None:
    """Wake the sender of this process now."""
    _due.set()


def woken(seconds: float) -> bool:
    """Wait for so long, or until something was queued; return whether something was."""
    was = _due.wait(seconds)
    _due.clear()
    return was


def listen(stop: threading.Event) -> None:
    """Wake this process's sender whenever something was queued anywhere, until ``stop``."""
    while not stop.is_set():
        try:
            _listen(stop)
        except psycopg.Error as error:
            logger.warning("the sender is not being woken: %s", type(error).__name__)
            stop.wait(PAUSE_SECONDS)


def _listen(stop: threading.Event) -> None:
    parameters = connection_parameters() | {"application_name": LISTENER_NAME}
    with psycopg.connect(**parameters, autocommit=True) as line:
        line.execute(f"LISTEN {CHANNEL}")
        wake()
        while not stop.is_set():
            for _ in line.notifies(timeout=LOOK_SECONDS, stop_after=1):
                wake()
