"""Many callers, one statement: reservations gathered for a moment and granted together.

A commit costs as much as fifteen to twenty rows, and on one hot SKU callers queue for its row
lock one commit at a time. Gathered, a batch takes the lock once. Each caller awaits its own
answer, which is given only after the commit that makes it durable.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from django.db import connection

from inventory import services
from inventory.contracts import Grant, StockRequest
from ordercenter.core.actor import Actor

MOST: Final = 256
"""More would hardly be cheaper a request, and the level is locked as long as a batch takes. Who
comes later than so many waits for two batches."""

Reserve = Callable[[Sequence[StockRequest]], list[Grant]]


class ReserveBatcher:
    """Collects requests of one event loop and answers each when its batch has committed.

    A batch leaves as soon as the one before it is done, with whoever has come by then: nobody
    waits for company, and under load there is plenty. Order of arrival is kept. When a batch
    raises, each of its requests is tried alone, so that one caller's fault is nobody else's.
    """

    def __init__(self, *, actor: Actor, most: int = MOST, reserve: Reserve | None = None) -> None:
        self._most = most
        self._reserve = reserve or (lambda requests: services.reserve_many(requests, actor=actor))
        self._waiting: list[tuple[StockRequest, asyncio.Future[Grant]]] = []
        self._wake = asyncio.Event()
        self._line = ThreadPoolExecutor(max_workers=1, thread_name_prefix="reserve")
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "ReserveBatcher":
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *error: object) -> None:
        assert self._task is not None
        self._task.cancel()
        for _, waiting in self._waiting:
            waiting.cancel()
        self._line.submit(connection.close)
        self._line.shutdown(wait=True)

    async def reserve(self, request: StockRequest) -> Grant:
        """Hold stock for one order; the answer is durable. Raises what the reservation raised."""
        future: asyncio.Future[Grant] = asyncio.get_running_loop().create_future()
        self._waiting.append((request, future))
        self._wake.set()
        return await future

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._wake.wait()
            await asyncio.sleep(0)  # whoever is about to ask in this turn of the loop comes along
            batch = self._waiting[: self._most]
            self._waiting = self._waiting[self._most :]
            if not self._waiting:
                self._wake.clear()
            try:
                grants = await loop.run_in_executor(
                    self._line, self._reserve, [request for request, _ in batch]
                )
            except Exception:  # noqa: BLE001 - whose fault it was shows when each goes alone
                await self._one_by_one(batch)
                continue
            for (_, future), grant in zip(batch, grants, strict=True):
                if not future.done():
                    future.set_result(grant)

    async def _one_by_one(
        self, batch: Sequence[tuple[StockRequest, "asyncio.Future[Grant]"]]
    ) -> None:
        loop = asyncio.get_running_loop()
        for request, answer in batch:
            try:
                (grant,) = await loop.run_in_executor(self._line, self._reserve, [request])
            except Exception as error:  # noqa: BLE001 - it is the caller's
                if not answer.done():
                    answer.set_exception(error)
            else:
                if not answer.done():
                    answer.set_result(grant)
