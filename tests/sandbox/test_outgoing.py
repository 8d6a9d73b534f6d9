"""Pushes: repeated until taken, given up at last, now and then sent twice."""

import asyncio
from itertools import pairwise

import httpx

from ordercenter.sandbox.book import Book
from ordercenter.sandbox.outgoing import PAUSES, Outgoing, Push, said_ok
from tests.sandbox.callers import Clock
from tests.sandbox.wires import Center


def push(name: str = "p") -> Push:
    return Push("http://center/hooks/x/", name.encode(), dict, said_ok, {"topic": name})


def test_a_push_nobody_takes_is_repeated_with_growing_pauses_and_given_up() -> None:
    book = Book([], clock=(clock := Clock()))
    outgoing = Outgoing(book, twice=0)
    outgoing.put(push())
    center, times = Center(status=503), []
    for _ in range(1000):
        times += [clock.now] * center.take(outgoing)
        clock.pass_by(0.5)
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert gaps == list(PAUSES)
    assert outgoing.waiting == 0
    [kept] = book.records["push"]
    assert (kept["taken"], kept["attempts"], kept["status"]) == (False, len(PAUSES) + 1, 503)


def test_a_center_that_is_not_there_is_tried_again() -> None:
    book = Book([], clock=(clock := Clock()))
    outgoing = Outgoing(book, twice=0)
    outgoing.put(push())

    def away(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    async def try_once() -> int:
        async with httpx.AsyncClient(transport=httpx.MockTransport(away)) as client:
            return await outgoing.send_due(client)

    assert asyncio.run(try_once()) == 1
    clock.pass_by(5)
    center = Center()
    center.take(outgoing)
    assert [request.content for request in center.heard] == [b"p"]
    assert book.records["push"][0]["taken"] is True


def test_now_and_then_a_push_that_was_taken_comes_again() -> None:
    book = Book([], clock=(clock := Clock()))
    outgoing = Outgoing(book, twice=0.2)
    for turn in range(200):
        outgoing.put(push(str(turn)))
    center = Center()
    for _ in range(30):
        center.take(outgoing)
        clock.pass_by(1)
    assert len({request.content for request in center.heard}) == 200
    assert 215 < len(center.heard) < 300


def test_the_task_sends_by_itself_until_it_is_canceled() -> None:
    book = Book([])

    async def run() -> None:
        heard = asyncio.Event()

        async def answer(request: httpx.Request) -> httpx.Response:
            heard.set()
            return httpx.Response(200)

        client = httpx.AsyncClient(transport=httpx.MockTransport(answer))
        outgoing = Outgoing(book, client=client, twice=0)
        task = asyncio.create_task(outgoing.run())
        outgoing.put(push())
        await asyncio.wait_for(heard.wait(), 5)
        await asyncio.sleep(0.1)
        task.cancel()

    asyncio.run(run())
    assert book.records["push"][0]["attempts"] == 1
