"""Pushes: repeated until taken, given up at last, now and then sent twice."""

import asyncio
from dataclasses import replace
from itertools import pairwise

import httpx

from ordercenter.sandbox.book import Book
from ordercenter.sandbox.outgoing import PAUSES, Outgoing, Push, said_ok
from tests.sandbox.callers import Bench, Clock
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


def of_shop(book: Book, name: str = "p", shop: str = "SH01") -> Push:
    """A push that knows how to be another event."""

    def again(word: str) -> Push:
        return replace(push(f"{name}+{word}"), facts={"shop": shop, "id": word})

    return replace(push(name), facts={"shop": shop, "id": name}, renewed=again)


def heard(outgoing: Outgoing, clock: Clock, seconds: int = 40) -> list[tuple[float, str]]:
    """What arrives within ``seconds``, and when."""
    center, found = Center(), []
    for _ in range(seconds * 2):
        center.heard.clear()
        center.take(outgoing)
        found += [(clock.now, request.content.decode()) for request in center.heard]
        clock.pass_by(0.5)
    return found


def test_under_duplicates_a_push_comes_as_often_as_is_told(bench: Bench) -> None:
    bench.book.weather.order("shopify", "duplicates", share=1, times=4)
    outgoing = Outgoing(bench.book, twice=0)
    outgoing.put(of_shop(bench.book, "a"))
    outgoing.put(of_shop(bench.book, "b", "DY01"))
    assert [name for _, name in heard(outgoing, bench.clock)].count("a") == 4
    assert bench.book.weather.served["shopify", "duplicates"] == 1


def test_under_shuffle_pushes_come_late_and_in_another_order(bench: Bench) -> None:
    bench.book.weather.order("shopify", "shuffle", share=1, late=20)
    outgoing = Outgoing(bench.book, twice=0)
    names = [f"{turn:02d}" for turn in range(30)]
    start = bench.clock.now
    for name in names:
        outgoing.put(of_shop(bench.book, name))
    arrived = heard(outgoing, bench.clock)
    assert sorted(name for _, name in arrived) == names
    assert [name for _, name in arrived] != names
    assert max(at for at, _ in arrived) - start > 10


def test_silent_webhooks_stop_without_a_word_and_the_lists_go_on(bench: Bench) -> None:
    bench.book.weather.order("shopify", "silent_webhooks", seconds=60)
    outgoing = Outgoing(bench.book, twice=0)
    outgoing.put(of_shop(bench.book))
    assert heard(outgoing, bench.clock) == []
    bench.clock.pass_by(30)
    outgoing.put(of_shop(bench.book))
    assert len(heard(outgoing, bench.clock)) == 1


def test_what_was_sent_is_sent_again_as_new_events_or_as_it_was(bench: Bench) -> None:
    outgoing = Outgoing(bench.book, twice=0)
    since = bench.clock.now
    for name, shop in (("a", "SH01"), ("b", "SH01"), ("c", "DY01")):
        outgoing.put(of_shop(bench.book, name, shop))
        bench.clock.pass_by(10)
    outgoing.put(push("courier"))  # of no shop: never replayed
    heard(outgoing, bench.clock, 5)
    told = bench.control("replay", shop="*", since=since, as_is=True)
    assert (told["as_they_were"], told["renewed"]) == (3, 0)
    assert [name for _, name in heard(outgoing, bench.clock, 5)] == ["a", "b", "c"]
    told = bench.control("replay", shop="SH01", since=since, until=since + 5, rate=1)
    assert (told["as_they_were"], told["renewed"]) == (0, 1)
    ((_, name),) = heard(outgoing, bench.clock, 5)
    assert name.startswith("a+replay-")


def test_a_replay_keeps_to_its_rate(bench: Bench) -> None:
    outgoing = Outgoing(bench.book, twice=0)
    since = bench.clock.now
    for turn in range(10):
        outgoing.put(of_shop(bench.book, str(turn)))
    heard(outgoing, bench.clock, 2)
    bench.control("replay", since=since, rate=2)
    start = bench.clock.now
    times = [at - start for at, _ in heard(outgoing, bench.clock, 10)]
    assert times == [turn / 2 for turn in range(10)]
