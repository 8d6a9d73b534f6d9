"""What every robot and mailbox we send through has in common.

A sender speaks HTTP and plain text and never meets a model. It fails in two ways: ``SendLater``
and ``SendRefused``. Neither carries a token, a secret or an address.
"""

import logging
from typing import Protocol

import httpx


class SendError(Exception):
    """Base of the two ways a notice stays unsent. ``code`` is the robot's, or ours."""

    def __init__(self, code: str, words: str) -> None:
        super().__init__(f"{code} {words}")
        self.code = code
        self.words = words


class SendLater(SendError):
    """The same notice may go through later; ``wait`` says in how many seconds.

    After a lost answer the group may have seen it already: a notice twice beats none.
    """

    def __init__(self, code: str, words: str, *, wait: int) -> None:
        super().__init__(code, words)
        self.wait = wait


class SendRefused(SendError):
    """The robot said no, or is set up wrongly: repeating changes nothing, a person must look."""


class Sender(Protocol):
    """One robot's line to its group. Keeps no state; the caller keeps count and order."""

    def send(self, title: str, text: str, *, link: str = "") -> None:
        """Show ``title`` and the lines of ``text`` to the group, all of it as typed.

        Nothing in either is taken for markup; ``link`` is our own page, shown as a button of
        words below. Raises SendLater or SendRefused.
        """


def make_client(*, transport: httpx.BaseTransport | None = None) -> httpx.Client:
    """Make the client senders share: short time-outs, no redirects, no proxy by environment."""
    # httpx logs every URL at INFO, and a robot's token stands in the URL.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    return httpx.Client(
        timeout=httpx.Timeout(10.0, connect=5.0),
        follow_redirects=False,
        trust_env=False,
        transport=transport,
    )
