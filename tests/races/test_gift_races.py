"""The last gift of a strategy is given once, however many orders come at the same moment."""

from functools import partial
from typing import Any

import pytest
from django.db import transaction

from ordercenter.core.clock import now as clock_now
from ordercenter.orders.models import OrderLine, SalesOrder
from ordercenter.pipeline import gift_facts
from risk import services as risk
from tests.pipeline.seller import Seller, buyer, draft, line, open_seller, take_one
from tests.pipeline.test_gifts import automatic
from tests.races.tools import meeting, red, unlocked

pytestmark = pytest.mark.django_db(transaction=True)
ORDERS = 4


@pytest.fixture
def seller() -> Seller:
    return open_seller()


def everybody_counts_before_anybody_gives(patch: pytest.MonkeyPatch) -> None:
    """Batches are judged one at a time anyhow; without that, only the strategy's lock is left."""
    patch.setattr(risk, "queue_up", lambda: None)
    meet, count = meeting(ORDERS), gift_facts.given_by

    def given_by(codes: Any) -> Any:
        found = count(codes)
        meet()
        return found

    patch.setattr(gift_facts, "given_by", given_by)


def crowd(seller: Seller, run_together: Any, buyers: int) -> int:
    """So many orders at one moment; return how many got the gift."""
    drafts = [draft(line("SOFA", 2), evidence=buyer(f"buyer {n % buyers}")) for n in range(ORDERS)]
    take = transaction.atomic(take_one)
    outcomes = run_together(*[partial(take, seller.shop, told, clock_now()) for told in drafts])
    assert [type(one) for one in outcomes] == [SalesOrder] * ORDERS
    return OrderLine.objects.filter(is_gift=True).count()


@pytest.mark.parametrize(
    ("limits", "buyers"), [({"first_orders": 2}, ORDERS), ({"per_buyer": 1}, 2)]
)
def test_no_more_are_given_than_there_are(
    seller: Seller,
    run_together: Any,
    monkeypatch: pytest.MonkeyPatch,
    limits: dict[str, int],
    buyers: int,
) -> None:
    automatic(seller, **limits)
    everybody_counts_before_anybody_gives(monkeypatch)
    assert crowd(seller, run_together, buyers) == 2
    assert red() == set()


@pytest.mark.parametrize(
    ("limits", "buyers"), [({"first_orders": 2}, ORDERS), ({"per_buyer": 1}, 2)]
)
def test_without_the_lock_every_order_gets_one(
    seller: Seller,
    run_together: Any,
    monkeypatch: pytest.MonkeyPatch,
    limits: dict[str, int],
    buyers: int,
) -> None:
    automatic(seller, **limits)
    unlocked(monkeypatch, "catalog_giftstrategy")
    everybody_counts_before_anybody_gives(monkeypatch)
    assert crowd(seller, run_together, buyers) == ORDERS
