"""Reservations of one hot SKU: callers awaiting their own answers, against the plain UPDATE.

* ``product``: 256 callers, each awaiting its own durable grant through ``ReserveBatcher``:
  reservation row, ledger row and level in one commit a batch. Idempotent.
* ``plain_update``: 8 clients, each ``UPDATE … WHERE on_hand - reserved >= 1`` with a commit of
  its own, prepared, nothing else written: the baseline everybody knows.
"""

import asyncio
import statistics
import threading
import time
from decimal import Decimal
from typing import Any, Final

import psycopg
from django.db import connection

from inventory.batcher import ReserveBatcher
from inventory.contracts import Demand, StockRequest
from inventory.models import Reservation, StockLevel
from ordercenter.catalog.models import Shop
from ordercenter.core.actor import Actor
from ordercenter.core.bulk import copy_rows
from ordercenter.core.clock import now as clock_now
from ordercenter.core.live import connection_parameters
from ordercenter.orders.models import OrderLine, SalesOrder
from ordercenter.pipeline.bench.scratch import PLENTY

CALLERS: Final = 256
CLIENTS: Final = 8


def _orders(count: int, level: StockLevel, *, start: int) -> list[StockRequest]:
    """Orders with one line of the hot SKU each; made before the clock starts."""
    shop = Shop.objects.values_list("pk", flat=True)[0]
    now = clock_now()
    low = 10_000_000 + start
    keys = range(low, low + count)
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
            for k in keys
        ),
    )  # fmt: skip
    copy_rows(
        OrderLine,
        ("id", "order_id", "line_no", "channel_line_id", "platform_sku_id", "outer_code", "title",
         "sku_id", "quantity", "unit_price", "amount", "is_gift", "refund_state"),
        ((k, k, 1, "", "", "", "", level.sku_id, 1, Decimal(1), Decimal(1), False, "none")
         for k in keys),
    )  # fmt: skip
    source = (level.virtual_warehouse_id,)
    return [StockRequest(k, (Demand(k, level.sku_id, 1),), source) for k in keys]


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


def _plain(level: StockLevel, seconds: float) -> float:
    """Updates/s of 8 clients, each committing its own."""
    parameters = connection_parameters() | {"autocommit": True, "prepare_threshold": 1}
    stop = threading.Event()
    counts = [0] * CLIENTS
    ready = threading.Barrier(CLIENTS + 1, timeout=30)

    def client(index: int) -> None:
        with psycopg.connect(**parameters) as line:
            ready.wait()
            while not stop.is_set():
                done = line.execute(
                    "UPDATE inventory_stocklevel SET reserved = reserved + 1 "
                    "WHERE id = %s AND on_hand - reserved >= 1",
                    [level.pk],
                )
                counts[index] += done.rowcount

    threads = [threading.Thread(target=client, args=(n,)) for n in range(CLIENTS)]
    for thread in threads:
        thread.start()
    ready.wait()
    began = time.perf_counter()
    stop.wait(seconds)
    stop.set()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.perf_counter() - began)


def run(*, orders: int, rounds: int) -> dict[str, Any]:
    """Alternate both shapes; medians, the ratio, and what the ledger says of it."""
    hot, other = StockLevel.objects.filter(on_hand__gte=PLENTY)[:2]
    each = orders // rounds
    product, plain, waits = [], [], []
    for index in range(rounds):
        requests = _orders(each, hot, start=index * each)
        seconds, waited = asyncio.run(_callers(requests))
        product.append((each - 1) / seconds)
        waits += waited
        plain.append(_plain(other, 2.0))
    hot.refresh_from_db()
    kept = Reservation.objects.filter(level=hot, state="active").count()
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM inventory_stockmovement WHERE level_id = %s "
            "AND target = 'reserved'",
            [hot.pk],
        )
        moved = cursor.fetchone()[0]
    if not kept == moved == hot.reserved == each * rounds:
        message = f"figure void: {kept} reservations, {moved} movements, {hot.reserved} reserved"
        raise RuntimeError(message)
    rate, base = statistics.median(product), statistics.median(plain)
    ordered = sorted(waits)
    return {
        "reservations": kept,
        "callers": CALLERS,
        "product_per_second": round(rate),
        "plain_update_per_second": round(base),
        "against_plain_update": round(rate / base, 2),
        "wait_ms_median": round(statistics.median(ordered), 1),
        "wait_ms_p99": round(ordered[int(len(ordered) * 0.99)], 1),
        "rounds": [round(x) for x in product],
        "plain_rounds": [round(x) for x in plain],
    }
