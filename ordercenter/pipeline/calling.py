"""How the pipeline calls platforms: a shop's connector, shops side by side, our own faults."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Final

import httpx
from django.db import close_old_connections

from channels_sync.connectors import CONNECTORS
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

LINES: Final = 8
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


class SideBySide:
    """Runs one job a shop in threads; a shop that takes long is left to itself meanwhile."""

    def __init__(self, patience: float) -> None:
        self.patience = patience
        self._pool = ThreadPoolExecutor(max_workers=LINES, thread_name_prefix="shop")
        self._running: dict[int, Future[int]] = {}

    def busy(self) -> list[int]:
        """The shops whose last job has not come back."""
        self._running = {pk: job for pk, job in self._running.items() if not job.done()}
        return list(self._running)

    def run(self, jobs: Mapping[int, Callable[[], int]]) -> int:
        """Start every shop's job, wait a while, add up what came back by then."""
        started = {pk: self._pool.submit(_with_connection, job) for pk, job in jobs.items()}
        self._running |= started
        done, _ = wait(started.values(), timeout=self.patience)
        return sum(job.result() for job in done)


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
