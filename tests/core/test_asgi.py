"""A request goes to a thread and comes back; it is not handed to and fro in between."""

import asyncio
from typing import Any

import pytest
from asgiref.sync import AsyncToSync
from asgiref.testing import ApplicationCommunicator
from django.core.handlers.asgi import ASGIHandler

from ordercenter.asgi import OneThread

SCOPE = {
    "type": "http", "method": "GET", "path": "/healthz", "query_string": b"",
    "headers": [(b"host", b"localhost")],
}  # fmt: skip


async def _ask(handler: ASGIHandler) -> int:
    caller: Any = ApplicationCommunicator(handler, SCOPE)  # type: ignore[no-untyped-call]
    await caller.send_input({"type": "http.request", "body": b""})
    status: int = (await caller.receive_output(5))["status"]
    await caller.receive_output(5)
    await caller.wait(5)
    return status


@pytest.fixture
def returns(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Each time a thread in the middle of a request waits for the loop."""
    found: list[Any] = []
    plain = AsyncToSync.__call__

    def waiting(self: Any, *args: Any, **kwargs: Any) -> Any:
        found.append(self)
        return plain(self, *args, **kwargs)

    monkeypatch.setattr(AsyncToSync, "__call__", waiting)
    return found


def test_middleware_and_view_run_in_one_go(returns: list[Any]) -> None:
    assert asyncio.run(_ask(OneThread())) == 200
    assert returns == []


def test_djangos_own_handler_goes_back_to_the_loop_in_between(returns: list[Any]) -> None:
    """The control."""
    assert asyncio.run(_ask(ASGIHandler())) == 200
    assert returns
