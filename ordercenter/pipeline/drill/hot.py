"""N03: most orders of a day want one SKU. What is that to the row, and to all other SKUs?"""

import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import cycle
from typing import Final

from django.db import connection

from inventory import services as inventory
from inventory.models import VirtualWarehouse
from ordercenter.catalog.models import Sku
from ordercenter.core.actor import Actor
from ordercenter.core.clock import now as clock_now
from ordercenter.pipeline.drill.center import Center
from ordercenter.pipeline.drill.desk import Desk, Pace, Placed, Say, known, wait_for
from ordercenter.pipeline.invariants.run import run_all

CODE: Final = "JZ-1084"
SHOPS: Final = ("DY01", "SH01", "WX01")
"""Shops that push: what a poll waits for is not measured here."""
SHARE: Final = 0.68
UNITS: Final = 100_000
SETTLE: Final = timedelta(minutes=10)
WARM_UP: Final = 60
"""Orders that a center just started takes its time with; not measured."""
TIMES: Final = 2.0
"""So much longer may the others take beside the hot one."""
ACTOR: Final = Actor.job("drill")


@dataclass(slots=True)
class Result:
    """What came of it. Seconds are from placed to taken in, p95, of orders for other goods."""

    orders: int = 0
    rate: float = 0.0
    hot: int = 0
    taken: int = 0
    calm_p95: float = 0.0
    beside_p95: float = 0.0
    burst: int = 0
    burst_reservations_per_second: float = 0.0
    broken: list[str] = field(default_factory=list)

    @property
    def times(self) -> float:
        return round(self.beside_p95 / self.calm_p95, 2) if self.calm_p95 else 0.0

    @property
    def is_good(self) -> bool:
        whole = self.taken == self.orders and not self.broken
        return whole and 0 < self.times <= TIMES and self.burst_reservations_per_second > 0


def rehearse(center: Center, *, orders: int, rate: float, say: Say) -> Result:
    """A quarter of the orders without the hot SKU, half with it, a quarter of it all at once."""
    place = VirtualWarehouse.objects.order_by("pk").first()
    assert place is not None
    sku = Sku.objects.get(code=CODE)
    inventory.receive([(place.pk, sku.pk, UNITS)], actor=ACTOR, reason="drill")
    desk, result = Desk(center.sandbox), Result(rate=rate)
    wait_for(_sell(desk, WARM_UP, rate=rate, share=0.0), at_most=SETTLE, say=say)
    warm = _next_second()
    calm = _sell(desk, orders // 4, rate=rate, share=0.0)
    wait_for(calm, at_most=SETTLE, say=say)
    began = _next_second()
    say(f"平静时 {len(calm)} 单")
    beside = _sell(desk, orders // 2, rate=rate, share=SHARE)
    wait_for(beside, at_most=SETTLE, say=say)
    say(f"热卖时 {len(beside)} 单")
    burst_at = _next_second()
    each = orders // 4 // len(SHOPS)
    burst = [one for shop in SHOPS for one in desk.sell(shop, count=each, code=CODE)]
    wait_for(burst, at_most=SETTLE, say=say)
    placed = [*calm, *beside, *burst]
    result.orders, result.burst = len(placed), len(burst)
    result.calm_p95 = _p95(until=began, since=warm)
    result.beside_p95 = _p95(until=burst_at, since=began)
    result.hot, result.taken = _hot(), known(placed)
    result.burst_reservations_per_second = _a_second(burst_at)
    result.broken = [f"{one.code}: {one.broken[0]}" for one in run_all() if one.broken]
    return result


def _next_second() -> datetime:
    """The whole second that begins now: platforms tell no more of a time than that."""
    time.sleep(1)
    return clock_now().replace(microsecond=0)


def _sell(desk: Desk, count: int, *, rate: float, share: float) -> list[Placed]:
    """Sell at ``rate``; ``share`` of the orders, evenly among them, are for the hot SKU."""
    placed: list[Placed] = []
    shops, pace, hot = cycle(SHOPS), Pace.of(1 / rate), 0.0
    for turn in range(count):
        pace.wait(turn)
        hot += share
        code = CODE if hot >= 1 else None
        hot -= bool(code)
        placed += desk.sell(next(shops), count=1, code=code)
    return placed


def _p95(*, since: datetime, until: datetime) -> float:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT percentile_cont(0.95) WITHIN GROUP "
            "(ORDER BY extract(epoch FROM o.received_at - o.placed_at)) "
            "FROM orders_salesorder o WHERE o.placed_at >= %s AND o.placed_at < %s "
            "AND NOT EXISTS (SELECT 1 FROM orders_orderline l JOIN catalog_sku s "
            "ON s.id = l.sku_id WHERE l.order_id = o.id AND s.code = %s)",
            [since, until, CODE],
        )
        return round(float(cursor.fetchone()[0] or 0), 3)


def _hot() -> int:
    """Orders that hold the hot SKU."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(DISTINCT r.order_id) FROM inventory_reservation r "
            "JOIN inventory_stocklevel l ON l.id = r.level_id JOIN catalog_sku s "
            "ON s.id = l.sku_id WHERE s.code = %s AND r.state IN ('active', 'consumed')",
            [CODE],
        )
        return int(cursor.fetchone()[0])


def _a_second(since: datetime) -> float:
    """Reservations a second on the hot row, from the first of the burst to its last."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*), extract(epoch FROM max(o.received_at) - min(o.placed_at)) "
            "FROM inventory_reservation r JOIN inventory_stocklevel l ON l.id = r.level_id "
            "JOIN catalog_sku s ON s.id = l.sku_id AND s.code = %s "
            "JOIN orders_salesorder o ON o.id = r.order_id WHERE o.placed_at >= %s",
            [CODE, since],
        )
        count, seconds = cursor.fetchone()
        return round(count / float(seconds), 1) if seconds else 0.0
