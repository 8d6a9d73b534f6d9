"""How the pipeline calls platforms: a shop's connector, shops side by side, our own faults."""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from typing import Final, TypeVar

import httpx
from django.db import close_old_connections

from channels_sync.connectors import CONNECTORS
from channels_sync.connectors.exchange import make_client
from channels_sync.contracts import (
    Connector,
    ConnectorError,
    ErrorClass,
    PlatformError,
    Rejected,
    Unreadable,
)
from channels_sync.field_maps import live_field_map
from channels_sync.line import PATIENCE, ShopLine
from channels_sync.models import CarrierCode, ShopCredential

logger = logging.getLogger(__name__)
A = TypeVar("A")
R = TypeVar("R")
LINES: Final = 8
CALLERS: Final = 8
"""So many calls of shops' figures are on their way at a time."""
KEPT_SECONDS: Final = 5.0
"""For so long a shop is spoken for by what was read of its settings."""
LIST_PATIENCE: Final = 20.0
"""For readers of lists: giving up costs them every page of the window that they have read. One
page of Shopify may take 15 seconds of its limit to be asked for."""


def connector_for(shop_id: int, client: httpx.Client, patience: float = PATIENCE) -> Connector:
    """Speak for a shop over this client, on the line it shares with every worker.

    ``patience``: the seconds it waits for a turn before it gives up; see ``LIST_PATIENCE``.
    """
    return _speak(shop_id, client, patience)[0]


def renew_token(shop_id: int, client: httpx.Client) -> None:
    """Have the shop's token renewed before it runs out. Raises ConnectorError."""
    _, line, token = _speak(shop_id, client, PATIENCE)
    line.renew(token)


def _speak(shop_id: int, client: httpx.Client, patience: float) -> tuple[Connector, ShopLine, str]:
    """(the connector, its line, the token it starts with). Raises Rejected for a shop whose
    field map no longer fits: its lists would seem to be empty."""
    credential = ShopCredential.objects.select_related("shop").get(pk=shop_id)
    codes = CarrierCode.objects.filter(channel=credential.shop.channel)
    access = credential.access(options={f"carrier.{row.carrier}": row.code for row in codes})
    line = ShopLine(shop_id, patience=patience)
    channel = credential.shop.channel
    try:
        field_map = live_field_map(channel, shop_id)
    except Unreadable as reason:
        fault = PlatformError(ErrorClass.BUSINESS, "field_map", str(reason))
        raise Rejected(fault) from reason
    connector = CONNECTORS[channel](access, client, line=line, field_map=field_map)
    line.refresh = connector.refresh
    return connector, line, access.access_token


def _with_connection(job: Callable[[], int]) -> int:
    """Run a job of a thread; the connection it opened goes with it."""
    try:
        return job()
    finally:
        close_old_connections()


def _with_connection_of(call: Callable[[A], R], argument: A) -> R:
    try:
        return call(argument)
    finally:
        close_old_connections()


@dataclass(slots=True)
class _Kept:
    """A shop's client with its open connections, and the connector that speaks over it."""

    client: httpx.Client
    connector: Connector | None = None
    until: float = 0.0


Make = Callable[[int, httpx.Client], Connector]


class SideBySide:
    """Runs one job a shop in threads; a shop that takes long is left to itself meanwhile.

    ``on_done`` is called, in a thread, whenever a shop's job has ended.
    """

    def __init__(self, patience: float, *, on_done: Callable[[], object] = lambda: None) -> None:
        self.patience = patience
        self._on_done = on_done
        self._pool = ThreadPoolExecutor(max_workers=LINES, thread_name_prefix="shop")
        self._callers = ThreadPoolExecutor(max_workers=CALLERS, thread_name_prefix="call")
        self._running: dict[int, Future[int]] = {}
        self._kept: dict[int, _Kept] = {}

    def busy(self) -> list[int]:
        """The shops whose last job has not come back."""
        for pk, job in list(self._running.items()):
            if job.done():
                del self._running[pk]
                if error := job.exception():
                    logger.error("the job of shop %s failed", pk, exc_info=error)
        return list(self._running)

    def run(self, jobs: Mapping[int, Callable[[], int]]) -> int:
        """Start every shop's job, wait a while, add up what came back by then."""
        started = {pk: self._pool.submit(_with_connection, job) for pk, job in jobs.items()}
        self._running |= started
        for job in started.values():
            job.add_done_callback(lambda _job: self._on_done())
        done, _ = wait(started.values(), timeout=self.patience)
        for pk, job in started.items():
            if job in done:
                self._running.pop(pk)
        return sum(job.result() for job in done)

    def close(self) -> None:
        """Let what runs come to its end, and hang up."""
        for pool in (self._pool, self._callers):
            pool.shutdown()
        for kept in self._kept.values():
            kept.client.close()

    def at_once(self, call: Callable[[A], R], arguments: Sequence[A]) -> list[R]:
        """Call with each argument, some at a time; a thread may use the database."""
        return list(self._callers.map(partial(_with_connection_of, call), arguments))

    def connector(self, shop_id: int, make: Make) -> Connector:
        """The shop's connector, made anew every few seconds; its connections are kept open.

        One job a shop: nobody else asks for it meanwhile.
        """
        kept = self._kept.get(shop_id) or self._kept.setdefault(shop_id, _Kept(make_client()))
        if kept.connector is None or kept.until <= time.monotonic():
            kept.connector = make(shop_id, kept.client)
            kept.until = time.monotonic() + KEPT_SECONDS
        return kept.connector


@contextmanager
def speaking_for(
    shop_id: int, make: Make, lines: SideBySide | None
) -> Iterator[Callable[[], Connector]]:
    """What gives a shop's connector when it is first needed, and the same from then on."""
    if lines is not None:
        yield cache(partial(lines.connector, shop_id, make))
        return
    with make_client() as client:
        yield cache(partial(make, shop_id, client))


def in_parallel(jobs: Sequence[Callable[[], int]]) -> int:
    """Run the jobs side by side, each with its own database connection; add up their answers."""
    if len(jobs) < 2:  # noqa: PLR2004 - nothing to run beside
        return sum(job() for job in jobs)
    with ThreadPoolExecutor(max_workers=LINES) as pool:
        return sum(pool.map(_with_connection, jobs))


def own_fault(error: Exception) -> PlatformError:
    """A failure that is ours, in the shape the health page shows; no value of the message."""
    if isinstance(error, ShopCredential.DoesNotExist):
        return PlatformError(ErrorClass.AUTH, "no_credential", "店铺没有授权信息，请先填写")
    if isinstance(error, ConnectorError):
        return error.error
    return PlatformError(ErrorClass.PLATFORM, type(error).__name__, "程序处理出错，请联系 IT")
