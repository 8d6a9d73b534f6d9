"""The sandbox on the other end of every line, without a network."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from channels_sync.connectors.exchange import make_client
from ordercenter.pipeline import (
    backfills,
    calling,
    completeness,
    couriers,
    demo,
    lines,
    listening,
    merging,
    privacy,
    pulling,
    stages,
    tokens,
)
from tests.sandbox.callers import Bench, Clock

SELLER = Path(demo.__file__).parent.parent / "sandbox" / "seller.json"
URL = "http://127.0.0.1:1"
Handler = Callable[[httpx.Request], httpx.Response]


def ask(bench: Bench) -> Handler:
    """Hand every request to the sandbox's application, one at a time."""

    async def call(request: httpx.Request) -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(bench.sandbox.app)) as line:
            answer = await line.request(
                request.method, request.url, headers=request.headers, content=request.content
            )
            return httpx.Response(
                answer.status_code, headers=answer.headers, content=answer.content
            )

    return lambda request: asyncio.run(call(request))


@contextmanager
def connected(handler: Handler) -> Iterator[None]:
    """Everything that goes out goes to ``handler``."""

    def client() -> httpx.Client:
        return make_client(transport=httpx.MockTransport(handler))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pulling, "make_client", client)
        for module in (
            backfills,
            calling,
            completeness,
            couriers,
            lines,
            listening,
            merging,
            privacy,
            tokens,
        ):
            patch.setattr(module, "make_client", client)
        patch.setattr(stages, "make_client", client)
        yield


def sandbox() -> Bench:
    """A sandbox a little behind our clock, so that what it sells lies in the past."""
    return Bench(clock=Clock(time.time() - 300))
