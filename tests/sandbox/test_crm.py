"""The private CRM's stand-in: its own shop's webhooks and rows, and tables in a database."""

import asyncio
import hashlib
import hmac
import json
from collections.abc import Awaitable, Callable, Iterator
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

import httpx
import psycopg
import pytest
from django.db import connection

from ordercenter.sandbox.book import DONE
from ordercenter.sandbox.platforms.crm_tables import Tables
from tests.sandbox.callers import Bench
from tests.sandbox.wires import Center, call, gaps, pusher_of, sample

LONG_AGO = "2020-01-01 00:00:00"


def rows(bench: Bench, path: str = "/crm_order", **query: Any) -> httpx.Response:
    wish = {"updated_at": LONG_AGO, "id": 0} | query
    url = f"/crm{path}?{urlencode(wish)}"
    at = str(int(bench.clock.now))
    secret = bench.shop("CR01").app_secret
    signature = hmac.new(secret.encode(), f"{at}.{url}".encode(), hashlib.sha256).hexdigest()
    return call(bench, "GET", url, headers={"X-Timestamp": at, "X-Signature": signature})


def heard(bench: Bench) -> list[httpx.Request]:
    center = Center({"ok": True, "duplicate": False})
    center.take(pusher_of(bench, "crm").outgoing)
    return center.heard


# Webhooks and rows


def test_its_shop_is_told_and_read_by_its_own_secret(bench: Bench) -> None:
    order = bench.sell("CR01", 1, "low_price")[0]
    bench.sell("MP01", 1, "low_price")
    told = [r for r in heard(bench) if str(r.url).endswith("/hooks/crm_webhook/CR01/")]
    assert [json.loads(r.content)["event"] for r in told] == ["order.created", "order.paid"]
    secret = bench.shop("CR01").app_secret.encode()
    signed = told[0].headers["X-Timestamp"].encode() + b"." + told[0].content
    expected = hmac.new(secret, signed, hashlib.sha256).hexdigest()
    assert told[0].headers["X-Signature"] == expected
    page = rows(bench).json()
    assert [row["order_no"] for row in page["rows"]] == [order.number]
    assert not gaps(sample("crm_webhook/db_rows_page.json"), page)


def test_a_sku_is_named_by_the_sellers_code_only(bench: Bench) -> None:
    bench.sell("CR01", 1, "low_price")
    items = json.loads(rows(bench).json()["rows"][0]["items_json"])
    assert items[0]["sku_code"].startswith("SY-")
    assert items[0]["sku_id"] is None


def test_the_secret_of_another_shop_reads_nothing(bench: Bench) -> None:
    bench.shop("CR01").app_secret, right = "wrong", bench.shop("CR01").app_secret
    at, url = str(int(bench.clock.now)), f"/crm/crm_order?updated_at={LONG_AGO.replace(' ', '+')}"
    signature = hmac.new(right.encode(), f"{at}.{url}".encode(), hashlib.sha256).hexdigest()
    reply = call(bench, "GET", url, headers={"X-Timestamp": at, "X-Signature": signature})
    assert reply.status_code == 401


def test_refunds_are_told_whole_and_listed(bench: Bench) -> None:
    order = bench.sell_paid("CR01")[0]
    bench.market.ask_refund(order)
    bench.book.settle_refund(order, order.refunds[0], DONE)
    told = [json.loads(request.content) for request in heard(bench)]
    refunds = [event["refund"] for event in told if "refund" in event]
    assert [refund["status"] for refund in refunds] == ["pending", "success"]
    assert not gaps(sample("crm_webhook/refund_created.json")["refund"], refunds[0])
    listed = rows(bench, "/crm_refund").json()["rows"]
    assert [row["status"] for row in listed] == ["success"]


def test_odd_but_legal_shapes_are_numbers_and_seconds(bench: Bench) -> None:
    bench.book.weather.order("crm_webhook", "odd_shapes", share=1.0)
    order = bench.sell("CR01", 1, "low_price")[0]
    told = json.loads(heard(bench)[0].content)["order"]
    assert told["total_amount"] * 100 == pytest.approx(order.goods_fen)
    assert told["created_at"] == int(order.created)


def test_a_replay_is_another_event_of_the_same_content(bench: Bench) -> None:
    bench.sell("CR01", 1, "low_price")
    first = heard(bench)
    said = bench.control("replay", shop="CR01", since=0, until=bench.clock.now + 1)
    assert said["renewed"] == 2
    again = heard(bench)

    def content(request: httpx.Request) -> Any:
        facts = json.loads(request.content)
        return {k: v for k, v in facts.items() if k not in {"event_id", "occurred_at"}}

    assert [content(r) for r in again] == [content(r) for r in first]
    ids = {r.headers["X-Event-Id"] for r in first} | {r.headers["X-Event-Id"] for r in again}
    assert len(ids) == 4


# Tables


@pytest.fixture
def dsn(transactional_db: None) -> Iterator[str]:
    """The test database, left without the CRM's tables."""
    told = connection.get_connection_params()
    names = ("host", "port", "user", "password", "dbname")
    yield psycopg.conninfo.make_conninfo(**{n: told[n] for n in names if told.get(n)})
    with connection.cursor() as line:
        line.execute("DROP TABLE IF EXISTS crm_order, crm_refund")


def in_tables(
    tables: Tables, watch: Callable[[psycopg.AsyncConnection[Any]], Awaitable[None]]
) -> None:
    """Let the tables be written while ``watch`` looks on."""

    async def look() -> None:
        running = asyncio.create_task(tables.run())
        async with await psycopg.AsyncConnection.connect(tables.dsn, autocommit=True) as line:
            await watch(line)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(asyncio.wait_for(look(), timeout=30))


async def until(line: psycopg.AsyncConnection[Any], query: str, wanted: Any) -> None:
    """Wait until ``query`` gives ``wanted``."""
    found: Any = None
    for _ in range(200):
        try:
            found = await (await line.execute(query.encode())).fetchall()
        except psycopg.errors.UndefinedTable:
            found = None
        if found == wanted:
            return
        await asyncio.sleep(0.05)
    pytest.fail(f"{query}: {found!r} is not {wanted!r}")


def test_orders_and_refunds_become_rows_that_change(bench: Bench, dsn: str) -> None:
    order = bench.sell_paid("CR01")[0]
    bench.sell("MP01")
    tables = Tables(bench.book, dsn, late=0.0)

    async def watch(line: psycopg.AsyncConnection[Any]) -> None:
        query = "SELECT order_no, status, pay_amount FROM crm_order"
        pay = Decimal(order.payable_fen) / 100
        await until(line, query, [(order.number, "paid", pay)])
        bench.market.ask_refund(order)
        for refund in list(order.refunds):
            bench.book.settle_refund(order, refund, DONE)
        await until(line, query, [(order.number, "cancelled", pay)])
        await until(line, "SELECT status, order_no FROM crm_refund", [("success", order.number)])

    in_tables(tables, watch)


def test_a_late_row_appears_behind_younger_ones(bench: Bench, dsn: str) -> None:
    tables = Tables(bench.book, dsn, late=1.0, held=(1.0, 1.0))

    async def watch(line: psycopg.AsyncConnection[Any]) -> None:
        query = "SELECT order_no FROM crm_order ORDER BY updated_at"
        await until(line, query, [])
        old = bench.sell_paid("CR01")[0]
        await asyncio.sleep(0.5)
        tables.late = 0.0
        young = bench.sell_paid("CR01")[0]
        await until(line, query, [(young.number,)])
        await until(line, query, [(old.number,), (young.number,)])
        assert old.modified < young.modified

    in_tables(tables, watch)
    assert bench.book.weather.served["crm_webhook", "late_commit"] == 1
