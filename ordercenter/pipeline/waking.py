"""The sender sleeps a moment at a time; what commits in its own process wakes it at once.

What other processes queue it finds with its next look.
"""

import threading

from django.db import transaction

_due = threading.Event()


def wake_sender() -> None:
    """Wake the sender of this process, if it has one, once the transaction has committed."""
    transaction.on_commit(_due.set)


def wake() -> None:
    """Wake the sender of this process now."""
    _due.set()


def sleep(seconds: float) -> None:
    """Wait for so long, or until something was queued."""
    _due.wait(seconds)
    _due.clear()
