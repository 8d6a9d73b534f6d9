"""Callers who await their own reservation while many are granted in one commit."""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any

import pytest
from django.db import IntegrityError

from inventory.batcher import Reserve, ReserveBatcher
from inventory.contracts import Demand, Grant, StockRequest
from inventory.models import Reservation, StockLevel
from inventory.services import reserve_many
from ordercenter.core.actor import PIPELINE
from tests.factories import OrderLineFactory, StockLevelFactory

pytestmark = pytest.mark.django_db(transaction=True)


def requests_for(level: StockLevel, count: int) -> list[StockRequest]:
    lines = [OrderLineFactory.create(sku=level.sku, quantity=1) for _ in range(count)]
    return [
        StockRequest(
            line.order_id, (Demand(line.pk, level.sku_id, 1),), (level.virtual_warehouse_id,)
        )
        for line in lines
    ]


def answers(
    requests: Sequence[StockRequest], *, reserve: Reserve | None = None
) -> list[Grant | BaseException]:
    """Every caller's own answer, all of them asking at once."""

    async def all_at_once() -> list[Grant | BaseException]:
        async with ReserveBatcher(actor=PIPELINE, reserve=reserve) as batcher:
            asking: list[Coroutine[Any, Any, Grant]] = [batcher.reserve(r) for r in requests]
            return await asyncio.gather(*asking, return_exceptions=True)

    return asyncio.run(all_at_once())


def granted(outcomes: Sequence[Grant | BaseException]) -> int:
    return sum(1 for one in outcomes if isinstance(one, Grant) and one.granted)


def test_of_fifty_callers_thirty_seven_get_the_thirty_seven_units() -> None:
    level = StockLevelFactory.create(on_hand=37)
    outcomes = answers(requests_for(level, 50))
    level.refresh_from_db()
    assert granted(outcomes) == level.reserved == Reservation.objects.count() == 37
    short = [one for one in outcomes if isinstance(one, Grant) and not one.granted]
    assert [one.shortages[0].available for one in short] == [0] * 13


def test_callers_are_served_in_the_order_they_came() -> None:
    level = StockLevelFactory.create(on_hand=2)
    outcomes = answers(requests_for(level, 4))
    assert [isinstance(one, Grant) and one.granted for one in outcomes] == [
        True,
        True,
        False,
        False,
    ]


def test_asked_again_a_caller_gets_his_first_answer() -> None:
    level = StockLevelFactory.create(on_hand=5)
    (request,) = requests_for(level, 1)
    (first,), (second,) = answers([request]), answers([request])
    assert isinstance(first, Grant)
    assert isinstance(second, Grant)
    assert first.reservations == second.reservations
    assert Reservation.objects.count() == 1


def test_one_callers_fault_is_nobody_elses() -> None:
    level = StockLevelFactory.create(on_hand=5)
    good = requests_for(level, 2)
    stranger = StockRequest(
        good[0].order_id, (Demand(0, level.sku_id, 1),), (level.virtual_warehouse_id,)
    )
    broken = StockRequest(987_654_321, stranger.demands, stranger.sources)
    outcomes = answers([good[0], broken, good[1]])
    assert granted(outcomes) == 2
    assert isinstance(outcomes[1], IntegrityError)


def test_many_callers_share_one_commit() -> None:
    level = StockLevelFactory.create(on_hand=100)
    batches: list[int] = []

    def counting(batch: Sequence[StockRequest]) -> list[Grant]:
        batches.append(len(batch))
        return reserve_many(batch, actor=PIPELINE)

    outcomes = answers(requests_for(level, 60), reserve=counting)
    assert granted(outcomes) == 60
    assert len(batches) <= 3
