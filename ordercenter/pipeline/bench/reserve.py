"""Reservations: one hot SKU, a thousand of them, and one order at a time in its own path.

* ``product``: 256 callers, each awaiting its own durable grant through ``ReserveBatcher``:
  reservation row, ledger row and level in one commit a batch. Idempotent.
* ``plain_update``: 8 clients, each ``UPDATE … WHERE on_hand - reserved >= 1`` with a commit of
  its own, prepared, nothing else written: the baseline everybody knows.
* ``one_call``: 8 clients, each one call of a function that does UPDATE and INSERT, with a commit
  of its own, prepared: the plain form where orders spread over many SKUs.
* ``durable_redis``: the same 256 callers and a Lua script with ``appendfsync always``, where
  there is a redis-server.
"""

import asyncio
import random
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import partial
from typing import Any, Final

import psycopg
from django.db import connection

from channels_sync import services as channels
from channels_sync.models import InboxMessage
from inventory import services as inventory
from inventory.batcher import ReserveBatcher
from inventory.contracts import Demand, StockRequest
from inventory.models import StockLevel, VirtualWarehouse
from ordercenter.catalog.models import Shop, Sku
from ordercenter.core.actor import Actor
from ordercenter.core.bulk import collect_seldom, copy_rows
from ordercenter.core.clock import now as clock_now
from ordercenter.core.live import connection_parameters
from ordercenter.orders.models import OrderLine, SalesOrder
from ordercenter.pipeline import intake
from ordercenter.pipeline.bench import ingest, redis
from ordercenter.pipeline.bench.scratch import PLENTY

CALLERS: Final = 256
CLIENTS: Final = 8
SKUS: Final = 1000
PLAIN_SECONDS: Final = 2.0
ONE_CALL: Final = """
    CREATE TABLE IF NOT EXISTS bench_reservation (
        id bigserial PRIMARY KEY, ref bigint NOT NULL UNIQUE, level_id bigint NOT NULL,
        quantity int NOT NULL, created_at timestamptz NOT NULL);
    CREATE SEQUENCE IF NOT EXISTS bench_ref;
    CREATE OR REPLACE FUNCTION bench_reserve(wanted bigint, units int) RETURNS boolean
    LANGUAGE plpgsql AS $$
    BEGIN
        UPDATE inventory_stocklevel SET reserved = reserved + units
        WHERE id = wanted AND on_hand - reserved >= units;
        IF NOT FOUND THEN RETURN false; END IF;
        INSERT INTO bench_reservation (ref, level_id, quantity, created_at)
        VALUES (nextval('bench_ref'), wanted, units, now());
        RETURN true;
    END $$;
"""
PLAIN_UPDATE: Final = (
    "UPDATE inventory_stocklevel SET reserved = reserved + 1 "
    "WHERE id = %s AND on_hand - reserved >= 1"
)
_numbers = iter(range(10_000_000, 1_000_000_000))


def _orders(count: int, levels: Sequence[StockLevel]) -> list[StockRequest]:
    """Orders with one line of one of these SKUs each; made before the clock starts."""
    shop = Shop.objects.values_list("pk", flat=True)[0]
    now = clock_now()
    dice = random.Random(count)  # noqa: S311 - made-up orders
    chosen = [(next(_numbers), dice.choice(levels)) for _ in range(count)]
    copy_rows(
        SalesOrder,
        ("id", "shop_id", "channel_number", "number", "status", "version", "channel_status",
         "channel_modified_at", "refund_state", "currency", "payable_amount", "paid_amount",
         "freight", "placed_at", "paid_at", "received_at", "province", "city", "district",
         "receiver_masked", "receiver_sealed", "buyer_remark", "seller_memo", "has_gift",
         "is_rush", "is_test", "is_presale", "priority"),
        (
            (k, shop, f"hot{k}", f"HOT{k}", "mapped", 1, "wait_ship", now, "none", "CNY",
             Decimal(1), Decimal(1), Decimal(0), now, now, now, "", "", "", "", b"", "", "",
             False, False, False, False, 0)
            for k, _ in chosen
        ),
    )  # fmt: skip
    copy_rows(
        OrderLine,
        ("id", "order_id", "line_no", "channel_line_id", "platform_sku_id", "outer_code", "title",
         "sku_id", "quantity", "unit_price", "amount", "is_gift", "refund_state"),
        ((k, k, 1, "", "", "", "", level.sku_id, 1, Decimal(1), Decimal(1), False, "none")
         for k, level in chosen),
    )  # fmt: skip
    return [
        StockRequest(
            k, (Demand(k, level.sku_id, 1),), (level.virtual_warehouse_id,), shop_id=shop,
            is_paid=True,
        )
        for k, level in chosen
    ]  # fmt: skip


async def _callers(requests: list[StockRequest]) -> tuple[float, list[float]]:
    """(seconds, milliseconds each caller waited)."""
    queue = iter(requests)
    waits: list[float] = []
    async with ReserveBatcher(actor=Actor.job("bench")) as batcher:

        async def caller() -> None:
            for request in queue:
                at = time.perf_counter()
                grant = await batcher.reserve(request)
                waits.append((time.perf_counter() - at) * 1000)
                if not grant.granted:
                    raise RuntimeError("figure void: not granted")

        await batcher.reserve(next(queue))  # the worker's connection is opened before the clock
        began = time.perf_counter()
        await asyncio.gather(*(caller() for _ in range(CALLERS)))
        return time.perf_counter() - began, waits


def _clients(statement: str, levels: Sequence[int]) -> float:
    """Calls/s of 8 clients with this statement, each committing its own."""
    parameters = connection_parameters() | {"autocommit": True, "prepare_threshold": 1}
    stop = threading.Event()
    counts = [0] * CLIENTS
    ready = threading.Barrier(CLIENTS + 1, timeout=30)

    def client(index: int) -> None:
        dice = random.Random(index)  # noqa: S311 - which SKU
        with psycopg.connect(**parameters) as line:
            ready.wait()
            while not stop.is_set():
                done = line.execute(statement, [dice.choice(levels)])
                counts[index] += done.rowcount

    threads = [threading.Thread(target=client, args=(n,)) for n in range(CLIENTS)]
    for thread in threads:
        thread.start()
    ready.wait()
    began = time.perf_counter()
    stop.wait(PLAIN_SECONDS)
    stop.set()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.perf_counter() - began)


def _must_agree(levels: Sequence[StockLevel], granted: int) -> None:
    """Reservations, ledger and counters of these levels say the same, or the figure is void."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT (SELECT count(*) FROM inventory_reservation WHERE level_id = ANY(%(levels)s) "
            "AND state = 'active'), (SELECT count(*) FROM inventory_stockmovement "
            "WHERE level_id = ANY(%(levels)s) AND target = 'reserved'), "
            "(SELECT sum(reserved) FROM inventory_stocklevel WHERE id = ANY(%(levels)s))",
            {"levels": [level.pk for level in levels]},
        )
        kept, moved, counted = cursor.fetchone()
    if not kept == moved == counted == granted:
        message = f"figure void: {granted} granted, {kept} kept, {moved} booked, {counted} counted"
        raise RuntimeError(message)


def _measure(
    levels: Sequence[StockLevel],
    *,
    orders: int,
    rounds: int,
    plain: Callable[[], float],
    other: Callable[[], float] | None = None,
) -> dict[str, Any]:
    """Alternate the product with its baselines; medians, and what callers waited."""
    each = orders // rounds
    product, base, third, waits = [], [], [], []
    collect_seldom()  # as every process of ours does that works in batches
    for _ in range(rounds):
        requests = _orders(each, levels)
        seconds, waited = asyncio.run(_callers(requests))
        product.append((each - 1) / seconds)
        waits += waited
        base.append(plain())
        if other:
            third.append(other())
    _must_agree(levels, each * rounds)
    ordered = sorted(waits)
    return {
        "reservations": each * rounds,
        "callers": CALLERS,
        "product_per_second": round(statistics.median(product)),
        "baseline": statistics.median(base),
        "third": statistics.median(third) if third else None,
        "wait_ms_median": round(statistics.median(ordered), 1),
        "wait_ms_p99": round(ordered[int(len(ordered) * 0.99)], 1),
        "rounds": [round(x) for x in product],
        "baseline_rounds": [round(x) for x in base],
    }


def run_hot(*, orders: int, rounds: int) -> dict[str, Any]:
    """One SKU that everybody wants. Goals: 6 times the plain UPDATE, p99 below 20 ms, 1.5 times
    a durable Redis."""
    hot, other = StockLevel.objects.filter(on_hand__gte=PLENTY)[:2]
    with redis.durable() as server:
        found = _measure(
            [hot], orders=orders, rounds=rounds,
            plain=lambda: _clients(PLAIN_UPDATE, [other.pk]),
            other=partial(server.grants_per_second, CALLERS, PLAIN_SECONDS) if server else None,
        )  # fmt: skip
    rate, base, durable = found["product_per_second"], found.pop("baseline"), found.pop("third")
    return found | {
        "plain_update_per_second": round(base),
        "against_plain_update": round(rate / base, 2),
        "durable_redis_per_second": round(durable) if durable else "not present",
        "against_durable_redis": round(rate / durable, 2) if durable else "not present",
    }


def run_spread(*, orders: int, rounds: int) -> dict[str, Any]:
    """A thousand SKUs, drawn at random. Goal: twice one function call a request."""
    levels, others = _shelves(), _shelves()
    with connection.cursor() as cursor:
        cursor.execute(ONE_CALL)
    keys = [level.pk for level in others]
    found = _measure(
        levels, orders=orders, rounds=rounds,
        plain=lambda: _clients("SELECT bench_reserve(%s, 1)", keys),
    )  # fmt: skip
    base = found.pop("baseline")
    del found["third"]
    return found | {
        "skus": SKUS,
        "one_call_per_second": round(base),
        "against_one_call": round(found["product_per_second"] / base, 2),
    }


def _shelves() -> list[StockLevel]:
    """A thousand SKUs nobody has seen, with plenty of each."""
    place = VirtualWarehouse.objects.values_list("pk", flat=True)[0]
    skus = Sku.objects.bulk_create(
        Sku(code=f"SPREAD-{next(_numbers)}", name="货品", base_price=1) for _ in range(SKUS)
    )
    inventory.receive(
        [(place, sku.pk, PLENTY) for sku in skus], actor=Actor.job("bench"), reason="bench"
    )
    return list(StockLevel.objects.filter(sku__in=skus).order_by("pk"))


def run_path(*, seconds: float, rate: float) -> dict[str, Any]:
    """One order at a time, from bytes to reserved and committed, so many a second.

    Waits count from the moment an order was due, so a slow one is not forgiven those behind it.
    Goal: p99 below 100 ms at 20 orders a second. Then as many again that all want one SKU and
    lie in the inbox already: how many a second its row takes by the whole path. Goal: 100.
    """
    shop = Shop.objects.filter(channel="taobao").values_list("pk", flat=True)[0]
    count = int(seconds * rate)
    messages = list(ingest.trades(count + 1, start=0))
    waits = []
    began = time.perf_counter()
    for place, message in enumerate(messages):
        due = began + (place - 1) / rate
        if place == 1:  # the first has warmed the caches, and is not counted
            began, due = time.perf_counter(), time.perf_counter()
        time.sleep(max(0.0, due - time.perf_counter()))
        channels.store([message], source=InboxMessage.Source.POLL, shop_id=shop)
        passed = intake.run()
        if passed.orders != 1:
            message_ = f"figure void: {passed}"
            raise RuntimeError(message_)
        if place:
            waits.append((time.perf_counter() - due) * 1000)
    ordered = sorted(waits)
    return {
        "orders": count,
        "per_second": rate,
        "wait_ms_median": round(statistics.median(ordered), 1),
        "wait_ms_p99": round(ordered[int(len(ordered) * 0.99)], 1),
        "wait_ms_worst": round(ordered[-1], 1),
        "hot_row_per_second": _hot_row(shop, count, start=count + 1),
    }


def _hot_row(shop: int, count: int, *, start: int) -> float:
    """Reservations/s on the busiest row while orders for one SKU are taken off the inbox."""
    messages = list(ingest.trades(count, start=start, kinds=1))
    channels.store(messages, source=InboxMessage.Source.POLL, shop_id=shop)
    since = clock_now()
    began, taken = time.perf_counter(), 0
    while (passed := intake.run()).orders:
        taken += passed.orders
    seconds = time.perf_counter() - began
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM inventory_reservation WHERE created_at >= %s "
            "GROUP BY level_id ORDER BY 1 DESC LIMIT 1",
            [since],
        )
        (busiest,) = cursor.fetchone()
    if taken != count:
        message = f"figure void: {taken} of {count} orders taken in"
        raise RuntimeError(message)
    return round(float(busiest) / seconds, 1)
