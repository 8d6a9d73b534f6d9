"""A province stops: until it is exact, until every order carries its hold, and what it costs.

* ``exact``: from the second person's click to the commit of the gate, while eight processes make
  labels. ``leak`` counts the labels of the province that came alive after that commit: anything
  but 0 makes the figures void.
* ``held``: from that click until the last order inside has its hold row, parcels are marked,
  to-dos and notice written; beside the eight, and once more with nobody at work.
* ``orm``: a hold created and an order saved one by one in one transaction, without any record:
  measured on a sample of the same orders in the same run and scaled to all.
* ``gate``: the CPU of one transition, a label from its intent to its second check, with the lock
  and the look at the gates and without them, in turns.
"""

import multiprocessing
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

from django.contrib.auth.models import User
from django.db import connection, transaction

from fulfillment.contracts import Issued
from fulfillment.models import Parcel, Waybill
from inventory.models import Warehouse
from ordercenter.catalog.models import Shop, Sku
from ordercenter.core.actor import Actor
from ordercenter.core.clock import now as clock_now
from ordercenter.core.errors import OrderCenterError
from ordercenter.orders.models import Interception, OrderHold, SalesOrder
from ordercenter.orders.states import HoldKind
from ordercenter.pipeline import stages
from ordercenter.pipeline.interception import acts, filling, gates
from ordercenter.pipeline.interception.gates import Condition

CLIENTS: Final = 8
INSIDE: Final = "江苏省"
JIANGSU: Final = Condition.read({"places": [[INSIDE, "", ""]]})
SAMPLE: Final = 2_000
WARM_UP: Final = 1.0
LABELS_A_ROUND: Final = 50
GATE_ROUNDS: Final = 8
_ORDERS: Final = """
    INSERT INTO orders_salesorder (shop_id, channel_number, number, status, version,
        channel_status, channel_modified_at, refund_state, currency, payable_amount, paid_amount,
        freight, placed_at, paid_at, received_at, province, city, district, receiver_masked,
        receiver_sealed, buyer_remark, seller_memo, has_gift, is_rush, is_test, is_presale,
        priority)
    SELECT (%(shops)s::bigint[])[1 + n %% cardinality(%(shops)s::bigint[])],
        'B' || n, 'BENCH' || n,
        CASE WHEN n %% 10 < 2 THEN 'routed' WHEN n %% 10 < 4 THEN 'cleared'
             WHEN n %% 10 < 9 THEN 'reserved' ELSE 'mapped' END,
        1, 'wait_ship', %(now)s, 'none', 'CNY', 99, 99, 0, %(now)s, %(now)s, %(now)s,
        CASE (n / 10) %% 4 WHEN 0 THEN '江苏省' WHEN 1 THEN '浙江省' WHEN 2 THEN '广东省'
             ELSE '四川省' END,
        '某市', '某区', '王**，199****0001，某省某市某区虚构路*号',
        convert_to(repeat(md5(n::text), 10), 'UTF8'), '', '', false, false, false, false, 0
    FROM generate_series(1, %(orders)s) AS n
"""
_LINES: Final = """
    INSERT INTO orders_orderline (order_id, line_no, channel_line_id, platform_sku_id, outer_code,
        title, sku_id, quantity, unit_price, amount, is_gift, refund_state)
    SELECT id, 1, '', '', '', '家居用品',
        (%(skus)s::bigint[])[1 + id %% cardinality(%(skus)s::bigint[])], 1, 99, 99, false, 'none'
    FROM orders_salesorder WHERE number LIKE 'BENCH%%'
"""
_PARCELS: Final = """
    INSERT INTO fulfillment_parcel (order_id, number, warehouse_id, state, created_at)
    SELECT id, number || '-1', %(place)s, 'picked', %(now)s FROM orders_salesorder
    WHERE status = 'routed' AND number LIKE 'BENCH%%'
"""


def _fill(orders: int) -> None:
    """So many open orders, a quarter of them inside, a fifth of them at the bench."""
    facts: dict[str, Any] = {
        "orders": orders,
        "now": clock_now(),
        "shops": list(Shop.objects.order_by("pk").values_list("pk", flat=True)),
        "skus": list(Sku.objects.order_by("pk").values_list("pk", flat=True)),
        "place": Warehouse.objects.order_by("pk").values_list("pk", flat=True)[0],
    }
    with connection.cursor() as cursor:
        for statement in (_ORDERS, _LINES, _PARCELS):
            cursor.execute(statement, facts)
        cursor.execute("VACUUM ANALYZE")


def _answer(waybill: Waybill, *_: object) -> Issued:
    return Issued(f"SF{waybill.pk:013}", waybill.client_reference)


def _label(parcel_id: int, user: User) -> bool:
    try:
        waybill = stages.request_label(parcel_id, user=user, actor=Actor.person(user))
    except OrderCenterError:
        return False
    return waybill.state == Waybill.State.LIVE


# --- eight clients ------------------------------------------------------------------------------


def _client(parcels: Sequence[int], user_id: int, start: Any, stop: Any, answers: Any) -> None:
    connection.close()
    user = User.objects.get(pk=user_id)
    made = tried = 0
    start.wait()
    with patch.object(stages, "_ask_carrier", _answer):
        for pk in parcels:
            if stop.is_set():
                break
            tried += 1
            made += _label(pk, user)
    answers.put((tried, made))


def _live_inside() -> set[int]:
    rows = Waybill.objects.filter(state="live", parcel__order__province=INSIDE)
    return set(rows.values_list("pk", flat=True))


def _stop_the_province(row: Interception, second: User, parcels: Sequence[int],
                       packer: User) -> dict[str, Any]:  # fmt: skip
    """Start it while eight processes make labels; what it took, and what slipped through."""
    fork = multiprocessing.get_context("fork")
    start, stop, answers = fork.Barrier(CLIENTS + 1), fork.Event(), fork.Queue()
    connection.close()
    crew = [
        fork.Process(
            target=_client, args=(parcels[n::CLIENTS], packer.pk, start, stop, answers),
            daemon=True,
        )
        for n in range(CLIENTS)
    ]  # fmt: skip
    for member in crew:
        member.start()
    connection.ensure_connection()
    start.wait()
    time.sleep(WARM_UP)
    found: dict[str, Any] = {}
    fill = filling.hold_all

    def hold_all(pk: int, **facts: Any) -> int:
        found["exact_ms"] = (time.perf_counter() - began) * 1000
        found["alive"] = _live_inside()
        found["looked"] = time.perf_counter()
        return fill(pk, **facts)

    with patch.object(filling, "hold_all", hold_all):
        began = time.perf_counter()
        acts.approve(row.pk, user=second, actor=Actor.person(second))
        found["held_beside_s"] = time.perf_counter() - found.pop("looked")
    time.sleep(WARM_UP / 2)
    stop.set()
    done = [answers.get(timeout=120) for _ in crew]
    for member in crew:
        member.join(timeout=30)
    found["tried"], found["made"] = (sum(figures) for figures in zip(*done, strict=True))
    found["leak"] = len(_live_inside() - found.pop("alive"))
    return found


# --- what it is held against --------------------------------------------------------------------


def _orm_loop(row: Interception, sample: int) -> float:
    """Seconds an order of the plain way; undone."""
    orders = list(SalesOrder.objects.filter(province=INSIDE).order_by("pk")[:sample])
    with transaction.atomic():
        began = time.perf_counter()
        for order in orders:
            OrderHold.objects.create(
                order=order, kind=HoldKind.INTERCEPT, code="orm", tier="2", words=row.words,
                placed_by={}, opened_at=clock_now(), opened_version=order.version + 1,
            )  # fmt: skip
            order.version += 1
            order.save()
        seconds = time.perf_counter() - began
        transaction.set_rollback(True)
    return seconds / len(orders)


@contextmanager
def _without_gates() -> Iterator[None]:
    with (
        patch.object(gates, "locked_order", lambda pk: SalesOrder.objects.locked([pk]).get()),
        patch.object(gates, "active_gates", tuple),
    ):
        yield


def _gate_cost(parcels: Sequence[int], packer: User, rounds: int) -> dict[str, float]:
    """Milliseconds of CPU, ours and the server's, of a label with the gates and without.

    In turns, the median of each. CPU and not time: what else runs on the machine is not in it.
    """
    left = iter(parcels)
    took: dict[str, list[float]] = {"with": [], "without": []}
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        server = Path(f"/proc/{cursor.fetchone()[0]}/schedstat")

    def spent() -> int:
        return time.process_time_ns() + int(server.read_text().split()[0])

    def some(name: str) -> None:
        began = spent()
        for _ in range(LABELS_A_ROUND):
            if not _label(next(left), packer):
                raise RuntimeError("figure void: no label")
        took[name].append((spent() - began) / LABELS_A_ROUND / 1e6)

    with patch.object(stages, "_ask_carrier", _answer):
        for turn in range(rounds * 2):
            if turn % 2:
                some("with")
            else:
                with _without_gates():
                    some("without")
    return {name: statistics.median(times) for name, times in took.items()}


# --- all of it ----------------------------------------------------------------------------------


def _asked(asker: User) -> Interception:
    wish = acts.Wish("江苏省暂停发货", JIANGSU, "江苏省暂停发货", "测量拦截速度")
    return acts.ask(wish, user=asker, actor=Actor.person(asker), propose=True)


def _release(row: Interception, boss: User) -> tuple[float, float]:
    """(milliseconds until the end counts, seconds until the last hold is lifted)."""
    found: dict[str, float] = {}
    lift = filling.release_all

    def release_all(pk: int, **facts: Any) -> int:
        found["ends_ms"] = (time.perf_counter() - began) * 1000
        return lift(pk, **facts)

    with patch.object(filling, "release_all", release_all):
        began = time.perf_counter()
        acts.end(row.pk, user=boss, actor=Actor.person(boss), reason="测量已经结束")
        seconds = time.perf_counter() - began
    return found["ends_ms"], seconds


def run(*, orders: int, rounds: int) -> dict[str, Any]:
    """Stop a quarter of so many open orders, and let them go again, ``rounds`` times; medians."""
    _fill(orders)
    packer, second, boss = (
        User.objects.get(username=name) for name in ("zhuguan", "yunying", "zongjingli")
    )
    parcels = list(
        Parcel.objects.filter(state="picked").order_by("pk").values_list("pk", flat=True)
    )
    apart = GATE_ROUNDS * 2 * LABELS_A_ROUND
    cost = _gate_cost(parcels[-apart:], packer, GATE_ROUNDS)
    share = (len(parcels) - apart) // rounds
    each = []
    for turn in range(rounds):
        row = _asked(packer)
        figures = _stop_the_province(
            row, second, parcels[turn * share : (turn + 1) * share], packer
        )
        _must_hold_all(row, figures)
        _release(row, boss)
        row = _asked(packer)
        began = time.perf_counter()
        acts.approve(row.pk, user=second, actor=Actor.person(second))
        figures["held_s"] = time.perf_counter() - began
        figures["held"] = _must_hold_all(row, figures)
        figures["orm_s"] = _orm_loop(row, min(SAMPLE, figures["held"])) * figures["held"]
        figures["ends_ms"], figures["released_s"] = _release(row, boss)
        each.append(figures)
    return _told(each, cost, orders)


def _must_hold_all(row: Interception, figures: dict[str, Any]) -> int:
    """How many orders it holds. Raises RuntimeError where one slipped through."""
    held = OrderHold.objects.open().filter(interception=row).count()
    inside = acts.size_of(JIANGSU).orders
    if figures["leak"] or held != inside:
        message = f"figure void: {figures}, {held} of {inside} held"
        raise RuntimeError(message)
    return held


def _told(each: Sequence[dict[str, Any]], cost: dict[str, float], orders: int) -> dict[str, Any]:
    def median(name: str) -> float:
        return float(statistics.median(one[name] for one in each))

    return {
        "orders": orders,
        "inside": each[0]["held"],
        "clients": CLIENTS,
        "exact_ms": round(median("exact_ms"), 1),
        "exact_ms_rounds": [round(one["exact_ms"], 1) for one in each],
        "leak": max(one["leak"] for one in each),
        "labels_tried": sum(one["tried"] for one in each),
        "labels_made": sum(one["made"] for one in each),
        "held_beside_clients_seconds": round(median("held_beside_s"), 2),
        "held_seconds": round(median("held_s"), 2),
        "held_seconds_rounds": [round(one["held_s"], 2) for one in each],
        "orm_loop_seconds_scaled": round(median("orm_s"), 1),
        "against_orm_loop": round(median("orm_s") / median("held_s"), 1),
        "end_counts_ms": round(median("ends_ms"), 1),
        "released_seconds": round(median("released_s"), 2),
        "transition_cpu_ms": round(cost["with"], 3),
        "transition_without_gates_cpu_ms": round(cost["without"], 3),
        "gate_costs_percent": round((cost["with"] / cost["without"] - 1) * 100, 1),
    }
