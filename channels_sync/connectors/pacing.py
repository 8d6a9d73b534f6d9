"""An end to answers that drip: a read that brings one byte is no silence, so nothing else ends it.

httpx limits each read, never the whole of an answer, and its headers not even from outside.
"""

import ssl
import time
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any, Final

import httpcore
import httpx

TOTAL_SECONDS: Final = 30.0
SLOW_AFTER: Final = 5.0
KEPT_SECONDS: Final = 2.0
"""An idle connection is not used again after so long: servers hang up after five, and what is
said into a connection just closed has an unknown outcome."""
SLOWEST: Final = 1024
"""Bytes a second an answer has to bring, on average, once it has taken ``SLOW_AFTER``."""

LIMITS: Final = httpx.Limits(
    max_connections=20, max_keepalive_connections=20, keepalive_expiry=KEPT_SECONDS
)


class PacedStream(httpcore.NetworkStream):
    """A connection that hangs up on an answer slower than ``SLOWEST``."""

    def __init__(
        self, stream: httpcore.NetworkStream, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream = stream
        self._clock = clock
        self._since: float | None = None
        self._got = 0

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._since, self._got = None, 0
        self._stream.write(buffer, timeout)

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        found = self._stream.read(max_bytes, timeout)
        now = self._clock()
        self._since = now if self._since is None else self._since
        self._got += len(found)
        took = now - self._since
        drips = took >= SLOW_AFTER and self._got < took * SLOWEST
        if found and (drips or took > TOTAL_SECONDS):
            raise httpcore.ReadTimeout("reply too slow")
        return found

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        return PacedStream(self._stream.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class PacedBackend(httpcore.SyncBackend):
    """Connects as httpcore does."""

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        return PacedStream(super().connect_tcp(host, port, timeout, local_address, socket_options))


@cache
def _trust() -> ssl.SSLContext:
    """Whom TLS connections trust; read once, since reading all authorities takes 20 ms."""
    return httpx.create_ssl_context(trust_env=False)


class PacedTransport(httpx.HTTPTransport):
    """httpx's own transport over ``PacedBackend``; blind to proxies of the environment."""

    def __init__(self) -> None:
        super().__init__(verify=_trust(), trust_env=False, limits=LIMITS)
        # httpx has no argument for it; tests/doors/test_bj_replies.py fails if this moves.
        self._pool._network_backend = PacedBackend()
