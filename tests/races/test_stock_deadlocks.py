"""Buyers of mixed baskets, cancellations, shipping, corrections and transfers, all at once:
nobody waits for each other in a circle, and the books add up."""

import random
import time
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError, connection, transaction

from inventory import adjustments, transfers
from inventory import services as inventory
from inventory.adjustments import Kind
from inventory.contracts import Demand, StockRequest
from inventory.models import Reservation, StockLevel, StockPolicy, VirtualWarehouse
from ordercenter.catalog.models import Shop, Sku
from ordercenter.core.actor import PIPELINE, Actor
from ordercenter.core.errors import OrderCenterError
from ordercenter.core.policy import Role
from tests.factories import (
    OrderLineFactory,
    SalesOrderFactory,
    ShopFactory,
    SkuFactory,
    VirtualWarehouseFactory,
    user_with,
)
from tests.races.tools import meeting, red

pytestmark = pytest.mark.django_db(transaction=True)
BOOKS = {"S1", "S2", "S3", "S4", "S9", "S10", "S13", "S14"}
"""What must add up; these orders belong to no path and ship without parcels."""
Writer = Callable[[random.Random], None]


class Market:
    """Six SKUs in two places, and everything that is done with them."""

    def __init__(self) -> None:
        StockPolicy(two_person_units=1_000_000).save()
        self.user: User = user_with(Role.WAREHOUSE_SUPERVISOR)
        self.shop: Shop = ShopFactory.create()
        self.places: list[VirtualWarehouse] = [VirtualWarehouseFactory.create() for _ in range(2)]
        self.skus: list[Sku] = [SkuFactory.create() for _ in range(6)]
        rows = [(place.pk, sku.pk, 400) for place in self.places for sku in self.skus]
        inventory.receive(rows, actor=PIPELINE)
        self.by: dict[str, Any] = {"user": self.user, "actor": Actor.person(self.user)}

    def buy(self, chance: random.Random) -> None:
        """A batch of orders, their lines and places in any order."""
        requests = []
        for _ in range(chance.randint(1, 4)):
            order = SalesOrderFactory.create(shop=self.shop)
            lines = [
                OrderLineFactory.create(order=order, sku=sku, line_no=place)
                for place, sku in enumerate(chance.sample(self.skus, chance.randint(1, 4)), 1)
            ]
            demands = tuple(Demand(ln.pk, ln.sku_id, 1, Decimal(100)) for ln in lines if ln.sku_id)
            sources = tuple(p.pk for p in chance.sample(self.places, 2))
            requests.append(StockRequest(order.pk, demands, sources, shop_id=self.shop.pk))
        inventory.reserve_many(requests, actor=PIPELINE)

    def cancel(self, chance: random.Random) -> None:
        if orders := self._held(chance, 5):
            inventory.release(orders, reason="canceled", actor=PIPELINE)

    def ship(self, chance: random.Random) -> None:
        for order in self._held(chance, 1):
            mine = Reservation.objects.filter(order_id=order, state="active")
            held = list(mine.values_list("pk", flat=True))
            inventory.consume(held, order_id=order, reason="ship", actor=PIPELINE)

    def correct(self, chance: random.Random) -> None:
        place, sku = chance.choice(self.places), chance.choice(self.skus)
        kind = chance.choice([Kind.FOUND, Kind.GONE, Kind.TO_DEFECT])
        adjustments.adjust(place.pk, sku.pk, 1, kind, reason="盘点", **self.by)

    def transfer(self, chance: random.Random) -> None:
        here, there = chance.sample(self.places, 2)
        goods = {sku.pk: 1 for sku in chance.sample(self.skus, 3)}
        paper = transfers.draft(here.pk, there.pk, goods, **self.by)
        transfers.send(paper.pk, **self.by)
        arrivals = [transfers.Arrival(line.pk, 1, 0, 0) for line in paper.lines.all()]
        transfers.receive(paper.pk, arrivals, **self.by)

    def _held(self, chance: random.Random, most: int) -> list[int]:
        active = Reservation.objects.filter(state="active").values_list("order_id", flat=True)
        found = sorted(set(active.order_by("-pk")[:50]))
        return chance.sample(found, min(most, len(found)))


def work(writer: Writer, seed: int, until: float) -> int:
    """Do it over and over; return how often it was done. A refusal is an answer."""
    chance, done = random.Random(seed), 0  # noqa: S311 - a repeatable mix
    while time.monotonic() < until:
        try:
            writer(chance)
        except OrderCenterError:
            continue
        done += 1
    return done


def hunt(run_together: Any, *, writers: int, seconds: float) -> None:
    market = Market()
    kinds = [market.buy, market.cancel, market.ship, market.correct, market.transfer]
    crew = [market.buy] * (writers // 2) + kinds * writers
    before, until = deadlocks(), time.monotonic() + seconds
    done = run_together(
        *(partial(work, writer, seed, until) for seed, writer in enumerate(crew[:writers]))
    )
    assert [one for one in done if isinstance(one, BaseException)] == []
    assert deadlocks() == before
    assert sum(done) > writers
    assert red() & BOOKS == set()


def deadlocks() -> int:
    """How many this database has ever had to break."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_force_next_flush()")
        cursor.execute("SELECT pg_stat_clear_snapshot()")
        cursor.execute("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
        return int(cursor.fetchone()[0])


def test_sixteen_writers_never_wait_for_each_other_in_a_circle(run_together: Any) -> None:
    hunt(run_together, writers=16, seconds=4)


@pytest.mark.nightly
def test_sixteen_writers_never_do_for_a_longer_while(run_together: Any) -> None:
    hunt(run_together, writers=16, seconds=40)


def test_control_levels_locked_in_any_order_are_a_deadlock_and_it_is_counted(
    run_together: Any,
) -> None:
    market, meet = Market(), meeting(2)
    first, second = StockLevel.objects.order_by("pk")[:2]
    before = deadlocks()

    @transaction.atomic
    def lock(*levels: StockLevel) -> None:
        for level in levels:
            StockLevel.objects.locked([level.pk])
            meet()

    results = run_together(partial(lock, first, second), partial(lock, second, first))
    assert sum(isinstance(one, OperationalError) for one in results) == 1
    assert deadlocks() == before + 1
    assert market.places
