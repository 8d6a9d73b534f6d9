"""The measurements: what they rest on, and that each runs through at a small size."""

import asyncio
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import connection

from channels_sync import services as channels
from channels_sync.contracts import MessageKind, RawMessage, WebhookRequest
from channels_sync.models import InboxMessage
from ordercenter.pipeline.bench import crew, hooks, lean
from ordercenter.settings.base import database_from_url
from tests.factories import ShopFactory

BASE = Path(__file__).resolve().parents[2]


class Server:
    """Answers every request with the next status, in a thread of its own; 0 hangs up."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = iter(statuses)
        self.asked: list[bytes] = []
        self.port = 0
        self._up = threading.Event()
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_until_complete, args=(self._run(),)).start()
        self._up.wait(10)

    async def _run(self) -> None:
        self._over = asyncio.Event()
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._up.set()
        async with server:
            await self._over.wait()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                head = await reader.readuntil(lean.HEAD_END)
            except (asyncio.IncompleteReadError, ConnectionError):
                return
            length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
            self.asked.append(await reader.readexactly(length))
            if not (status := next(self.statuses, 200)):
                writer.close()
                return
            writer.write(f"HTTP/1.1 {status} x\r\nContent-Length: 2\r\n\r\nok".encode())

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._over.set)


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server(200, 401, 0)
    yield made
    made.stop()


def shots(count: int) -> list[bytes]:
    return [lean.Shot("/x/", {"A": "b"}, str(n).encode()).wire() for n in range(count)]


def test_every_push_of_a_pace_is_sent_once_and_its_answer_told(server: Server) -> None:
    answers = asyncio.run(lean.at_pace(server.port, shots(5), rate=50))
    assert sorted(server.asked) == [b"0", b"1", b"2", b"3", b"4"]
    assert [answer.status for answer in answers] == [200, 401, 0, 200, 200]
    assert all(answer.waited > 0 for answer in answers)


def test_what_is_sent_flat_out_ends_with_its_time_or_with_what_there_is(server: Server) -> None:
    answers, took = asyncio.run(lean.flat_out(server.port, shots(9), seconds=60, callers=3))
    assert len(answers) == 9
    assert took < 30
    none, _ = asyncio.run(lean.flat_out(server.port, shots(9), seconds=0, callers=3))
    assert none == []


def test_the_spread_names_the_middle_the_tail_and_the_worst() -> None:
    assert lean.spread(range(1, 101)) == {"p50": 50.5, "p95": 96, "p99": 100, "max": 100}
    assert lean.spread([3.0]) == {"p50": 3.0, "p95": 3.0, "p99": 3.0, "max": 3.0}
    assert lean.spread([]) == {}


@pytest.mark.django_db
def test_the_processes_beside_a_measurement_find_the_database_in_use() -> None:
    found = database_from_url(crew.database_url())
    chosen = connection.settings_dict
    assert {name: found[name] for name in ("NAME", "USER", "HOST", "PORT")} == {
        name: chosen[name] for name in ("NAME", "USER", "HOST", "PORT")
    }


class Reader:
    """Takes a push for one message with the push's own body as its event."""

    def split(self, request: WebhookRequest) -> tuple[RawMessage, ...]:
        return (message(request.body.decode()),)


def message(event: str) -> RawMessage:
    return RawMessage(MessageKind.EVENT, b"{}", "7", event)


@pytest.mark.django_db
def test_an_acknowledged_push_that_is_not_in_the_inbox_is_found() -> None:
    shop, other = ShopFactory.create(), ShopFactory.create()
    doors: dict[str, Any] = {"x": hooks._Shop(shop.pk, shop.code, Reader())}  # type: ignore[arg-type]
    pushed = [lean.Shot("/hooks/x/s/", {}, event) for event in (b"e1", b"e2")]
    channels.store([message("e1")], source=InboxMessage.Source.PUSH, shop_id=shop.pk)
    channels.store([message("e2")], source=InboxMessage.Source.PUSH, shop_id=other.pk)
    assert hooks.lost_of(pushed, doors) == 1
    channels.store([message("e2")], source=InboxMessage.Source.PUSH, shop_id=shop.pk)
    assert hooks.lost_of(pushed, doors) == 0


def run_bench(*arguments: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "manage.py", "bench", *arguments, "--quick", "--json"],
        cwd=BASE, capture_output=True, text=True, timeout=600, check=False,
        env={**os.environ, "ORDERCENTER_DATA": str(settings.DATA_DIR),
             "DJANGO_SETTINGS_MODULE": "ordercenter.settings.base"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, Any] = json.loads(done.stdout)[arguments[0]]
    assert found["settings"]["fsync"] == "on"
    return found


def test_a_shop_is_polled_beside_its_bare_pages() -> None:
    found = run_bench("poll", "--channels", "jd")
    assert found["jd"]["seconds"] > found["jd"]["pages_only_seconds"] > 0
    assert found["jd"]["calls"] >= 5  # 250 orders, 100 a page, their count and the refunds'


@pytest.mark.nightly
def test_signed_pushes_are_acknowledged_beside_a_bare_insert() -> None:
    found = run_bench("push")
    assert found["by_channel"] == dict.fromkeys(hooks.CHANNELS, 20)
    assert found["not_acknowledged"] == {}
    assert found["acknowledged"] > found["pushes"] == 80


@pytest.mark.nightly
def test_a_day_told_again_makes_no_order_twice() -> None:
    found = run_bench("replay")
    assert found["duplicates"] == 0
    assert found["books_equal"], found["books_differ_in"]
    assert found["invariants_broken"] == []
    assert found["replayed_messages"]["renewed"] > 100
    assert found["beside_replay"]["orders"] > 20


@pytest.mark.nightly
def test_one_hot_sku_a_thousand_and_a_single_order_are_measured_with_their_books() -> None:
    hot = run_bench("reserve_hot")
    assert hot["reservations"] == 1_000
    assert hot["product_per_second"] > hot["plain_update_per_second"] > 0
    assert hot["against_durable_redis"]
    spread = run_bench("reserve_spread")
    assert (spread["skus"], spread["one_call_per_second"] > 0) == (1_000, True)
    path = run_bench("reserve_path")
    assert path["orders"] == 60
    assert path["hot_row_per_second"] > 0
    assert path["wait_ms_worst"] >= path["wait_ms_p99"] >= path["wait_ms_median"] > 0


@pytest.mark.nightly
def test_a_province_is_stopped_beside_an_orm_loop() -> None:
    found = run_bench("intercept")
    assert (found["orders"], found["inside"], found["leak"]) == (20_000, 5_000, 0)
    assert found["labels_made"] > 0
    assert found["orm_loop_seconds_scaled"] > found["held_seconds"] > 0
    assert found["transition_cpu_ms"] > found["transition_without_gates_cpu_ms"] > 0


@pytest.mark.nightly
def test_rules_are_measured_in_both_forms_over_stored_orders() -> None:
    found = run_bench("screen")
    assert found["stateless"]["judged_per_cpu_second"] > found["stateless"]["rules"] > 3
    assert found["windows"]["per_second"] > found["windows"]["one_by_one_per_second"] > 0
    assert 0 < found["path"]["share_of_rules"] < 1
    assert found["rejudged"]["compared_hits"] > 10
