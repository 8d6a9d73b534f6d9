"""Orders along the whole path, against one transaction an order and against bare rows.

* ``product``: inbox bytes to ROUTED or held, in batches, as ``manage.py work`` does it.
* ``one_by_one``: the same code, a batch of one: one transaction an order.
* ``rows_only``: the very rows the product wrote, by COPY into tables of the same shape and
  indexes, one transaction a batch, no logic: the limit.
"""

import json
import multiprocessing
import random
import statistics
import time
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from django.db import connection, transaction

from channels_sync import services as channels
from channels_sync.contracts import MessageKind, RawMessage
from channels_sync.models import InboxMessage
from ordercenter.catalog.models import Listing, Shop
from ordercenter.core.bulk import collect_seldom
from ordercenter.core.clock import SHANGHAI
from ordercenter.core.clock import now as clock_now
from ordercenter.pipeline import intake

STORE: Final = 1000
TABLES: Final = (
    "channels_sync_inboxmessage",
    "orders_salesorder",
    "orders_orderevidence",
    "orders_orderline",
    "orders_orderhold",
    "inventory_reservation",
    "inventory_stockmovement",
    "risk_verdict",
    "fulfillment_parcel",
    "fulfillment_parcelline",
    "fulfillment_stagetask",
    "audit_auditrecord",
)
CITIES: Final = (
    ("江苏省", "南京市", "鼓楼区"),
    ("浙江省", "杭州市", "余杭区"),
    ("广东省", "深圳市", "南山区"),
    ("四川省", "成都市", "武侯区"),
    ("北京", "北京市", "朝阳区"),
    ("山东省", "青岛市", "市南区"),
)


def trades(
    count: int, *, start: int, seed: int = 7, kinds: int | None = None
) -> Iterator[RawMessage]:
    """Taobao trades as the list gives them (``channels.md`` 1c); every hundredth is too cheap.

    Of all goods that are listed, or of ``kinds`` of them.
    """
    rng = random.Random(seed + start)  # noqa: S311 - made-up orders
    listed = list(
        Listing.objects.filter(shop__channel="taobao", code_type="sku_id", sku__is_gift=False)
        .exclude(sku=None)
        .order_by("pk")
        .values_list("code", "sku__base_price")[:kinds]
    )
    now = clock_now().astimezone(SHANGHAI)
    for n in range(start, start + count):
        placed = now - timedelta(days=20) + timedelta(seconds=n)
        lines = []
        for index in range(rng.choices((1, 2, 3), (55, 30, 15))[0]):
            code, price = rng.choice(listed)
            lines.append(_line(n, index, code, price, cheap=n % 100 == 0))
        body = json.dumps(_trade(n, placed, lines, rng), ensure_ascii=False).encode()
        yield RawMessage(MessageKind.ORDER, body, str(10**18 + n))


def _line(n: int, index: int, code: str, price: Decimal, *, cheap: bool) -> dict[str, Any]:
    paid = (price * (Decimal("0.5") if cheap else Decimal("0.95"))).quantize(Decimal("0.01"))
    return {
        "oid": 10**18 + n if index == 0 else 2 * 10**18 + n * 10 + index,
        "sku_id": code, "outer_sku_id": "", "title": "家居用品", "num": 1, "price": str(price),
        "payment": str(paid), "divide_order_fee": str(paid), "total_fee": str(price),
        "status": "WAIT_SELLER_SEND_GOODS", "refund_status": "NO_REFUND",
        "num_iid": 690000000000 + n,
    }  # fmt: skip


def _trade(
    n: int, placed: datetime, lines: Sequence[dict[str, Any]], rng: random.Random
) -> dict[str, Any]:
    province, city, district = rng.choice(CITIES)
    total = sum((Decimal(line["divide_order_fee"]) for line in lines), Decimal(0))
    stamp = f"{placed:%Y-%m-%d %H:%M:%S}"
    return {
        "tid": 10**18 + n, "status": "WAIT_SELLER_SEND_GOODS", "type": "fixed",
        "payment": str(total), "post_fee": "0.00", "total_fee": str(total),
        "created": stamp, "pay_time": stamp, "modified": stamp,
        "buyer_open_uid": f"bench-buyer-{n}", "buyer_nick": "b**",
        "receiver_name": "林**", "receiver_mobile": "*******0101", "receiver_address": "虚构路*号",
        "receiver_state": province, "receiver_city": city, "receiver_district": district,
        "oaid": f"bench-oaid-{n}", "seller_flag": 0, "orders": {"order": list(lines)},
    }  # fmt: skip


def fill(count: int, *, start: int) -> None:
    """Put raw orders into the inbox; not part of any figure."""
    shop = Shop.objects.filter(channel="taobao").values_list("pk", flat=True)[0]
    chunk: list[RawMessage] = []
    for message in trades(count, start=start):
        chunk.append(message)
        if len(chunk) == STORE:
            channels.store(chunk, source=InboxMessage.Source.POLL, shop_id=shop)
            chunk = []
    channels.store(chunk, source=InboxMessage.Source.POLL, shop_id=shop)


def drain(limit: int) -> tuple[int, float, list[tuple[int, float]]]:
    """Work the inbox off; (orders, seconds, [(orders, seconds) of each batch])."""
    began = time.perf_counter()
    done = 0
    batches: list[tuple[int, float]] = []
    while True:
        at = time.perf_counter()
        passed = intake.run(limit=limit)
        if not passed.messages:
            return done, time.perf_counter() - began, batches
        if passed.parked or passed.orders != passed.messages:
            message = f"figure void: {passed}"
            raise RuntimeError(message)
        done += passed.orders
        batches.append((passed.orders, time.perf_counter() - at))


def _worker(limit: int, start: Any, answers: Any) -> None:
    connection.close()
    connection.ensure_connection()
    start.wait()
    answers.put(drain(limit)[2])


def _drain_together(limit: int, workers: int) -> tuple[int, float, list[tuple[int, float]]]:
    """The same by several worker processes at once, as ``WORKERS`` of them would."""
    if workers == 1:
        return drain(limit)
    fork = multiprocessing.get_context("fork")
    start, answers = fork.Barrier(workers + 1), fork.Queue()
    connection.close()
    crew = [
        fork.Process(target=_worker, args=(limit, start, answers), daemon=True)
        for _ in range(workers)
    ]
    for member in crew:
        member.start()
    start.wait()
    began = time.perf_counter()
    batches = [batch for _ in crew for batch in answers.get(timeout=600)]
    seconds = time.perf_counter() - began
    for member in crew:
        member.join(timeout=30)
    return sum(orders for orders, _ in batches), seconds, batches


def _copied_rows() -> dict[str, bytes]:
    """Everything the product wrote, as COPY would take it."""
    found = {}
    with connection.cursor() as cursor:
        for table in TABLES:
            with cursor.cursor.copy(f'COPY "{table}" TO STDOUT') as copy:
                found[table] = b"".join(bytes(block) for block in copy)
    return found


def _rows_only(rows: dict[str, bytes], orders: int, batch: int) -> float:
    """Orders/s of the same rows by COPY into like tables with like indexes, batch by batch."""
    slices = max(1, orders // batch)
    split = {table: text.splitlines(keepends=True) for table, text in rows.items()}
    with connection.cursor() as cursor:
        for table in TABLES:
            cursor.execute(f'CREATE TABLE bare_{table} (LIKE "{table}" INCLUDING ALL)')
        began = time.perf_counter()
        for index in range(slices):
            with transaction.atomic():
                for table, lines in split.items():
                    low, high = len(lines) * index // slices, len(lines) * (index + 1) // slices
                    with cursor.cursor.copy(f"COPY bare_{table} FROM STDIN") as copy:
                        copy.write(b"".join(lines[low:high]))
        seconds = time.perf_counter() - began
        for table in TABLES:
            cursor.execute(f"DROP TABLE bare_{table}")
    return orders / seconds


def run(*, orders: int, batch: int, rounds: int, workers: int) -> dict[str, Any]:
    """Alternate the shapes ``rounds`` times; medians and ratios. ``orders`` in all."""
    collect_seldom()  # as `manage.py work` does; the worker processes inherit it
    each = orders // rounds
    few = max(50, min(300, each // 20))
    product, single, bare = [], [], []
    curve: list[tuple[int, float]] = []
    start = 0
    for _ in range(rounds):
        fill(each, start=start)
        done, seconds, batches = _drain_together(batch, workers)
        product.append(done / seconds)
        curve += batches
        start += each
        fill(few, start=start)
        done, seconds, _ = drain(1)
        single.append(done / seconds)
        start += few
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM orders_salesorder")
        total = cursor.fetchone()[0]
    rows = _copied_rows()
    bare = [_rows_only(rows, total, batch) for _ in range(min(rounds, 3))]
    rate, one, limit = (statistics.median(x) for x in (product, single, bare))
    return {
        "orders": total,
        "batch": batch,
        "workers": workers,
        "product_per_second": round(rate),
        "one_transaction_an_order_per_second": round(one),
        "rows_only_per_second": round(limit),
        "against_one_by_one": round(rate / one, 2),
        "against_rows_only": round(rate / limit, 3),
        "rounds": [round(x) for x in product],
        "first_ms_per_order": _cost(curve[: max(1, 10_000 // batch)]),
        "last_ms_per_order": _cost(curve[-max(1, 10_000 // batch) :]),
    }


def _cost(batches: Sequence[tuple[int, float]]) -> float:
    return round(statistics.median(seconds * 1000 / orders for orders, seconds in batches), 4)
