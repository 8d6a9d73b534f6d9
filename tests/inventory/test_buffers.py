"""Safety stock: each way it comes out, what bounds it, and that figures follow it."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.utils import timezone

from inventory import buffers, moves
from inventory.buffers import Rule, Sales, compute_buffers, in_words, units_of
from inventory.models import SafetyStock, StockBuffer, StockPolicy
from ordercenter.catalog.models import Sku
from ordercenter.core.clock import SHANGHAI
from tests.factories import OrderLineFactory, SkuFactory, StockLevelFactory

NOW = datetime(2026, 11, 22, 12, tzinfo=SHANGHAI)
DAY = timedelta(days=1)
STEADY = Sales("2026-11-22", mean=10.0, sigma=4.0, sold_days=28)
SLOW = Sales("2026-11-22", mean=0.1, sigma=0.4, sold_days=3)


def rule(method: str = "volatility", **changes: Any) -> Rule:
    facts: dict[str, Any] = {
        "sku_id": 1, "method": method, "value": Decimal(0), "floor": 0, "cap": None,
        "hot_until": None, "on_hand": 101,
    }  # fmt: skip
    return Rule(**{**facts, **changes})


@pytest.mark.parametrize(
    ("given", "sales", "units", "way"),
    [
        (rule(), STEADY, 7, "volatility"),  # 1.65 times 4 is 6.6
        (rule(), SLOW, 6, "slow"),  # 5 % of 101
        (rule(hot_until=NOW + DAY), STEADY, 16, "hot"),  # 15 % of 101
        (rule(hot_until=NOW), STEADY, 7, "volatility"),
        (rule("units", value=Decimal(8), hot_until=NOW + DAY), STEADY, 16, "hot"),
        (rule("units", value=Decimal(8)), STEADY, 8, "units"),
        (rule("percent", value=Decimal("2.5")), STEADY, 3, "percent"),
        (rule(floor=9), STEADY, 9, "volatility"),
        (rule(cap=5), STEADY, 5, "volatility"),
        (rule(on_hand=0), SLOW, 0, "slow"),
    ],
)
def test_each_way_a_safety_stock_comes_out(given: Rule, sales: Sales, units: int, way: str) -> None:
    found, basis = units_of(given, sales, StockPolicy(), now=NOW)
    assert (found, basis["way"]) == (units, way)


@pytest.mark.parametrize(
    ("given", "sales", "words"),
    [
        (rule(), STEADY, "近 28 天日均售 10.0 件，标准差 4.0，取 1.65 倍标准差，保留 7 件"),
        (rule(cap=5), STEADY,
         "近 28 天日均售 10.0 件，标准差 4.0，取 1.65 倍标准差，超过上限，按上限 5 件"),
        (rule(), SLOW, "近 28 天只有 3 天有销量，按慢销：现有 101 件的 5%，保留 6 件"),
        (rule(hot_until=NOW + DAY), SLOW, "大促热销，现有 101 件的 15%，保留 16 件"),
        (rule("units", floor=4), SLOW, "固定件数，不足下限，按下限 4 件"),
    ],
)  # fmt: skip
def test_it_is_explained_in_words(given: Rule, sales: Sales, words: str) -> None:
    units, basis = units_of(given, sales, StockPolicy(), now=NOW)
    assert in_words(StockBuffer(units=units, basis=basis)) == words


@pytest.fixture
def sku() -> Sku:
    made: Sku = SkuFactory.create()
    return made


def sell(sku: Sku, units: int, at: datetime, **order: Any) -> None:
    changes = {f"order__{name}": value for name, value in order.items()}
    OrderLineFactory.create(sku=sku, quantity=units, order__placed_at=at, **changes)


@pytest.mark.django_db
def test_volatility_is_measured_on_whole_days_of_shanghai(sku: Sku) -> None:
    """Four days of 14 and 24 of none: mean 2, deviation 4.9, of which 1.65 are 8.08."""
    SafetyStock.objects.create(method="volatility")
    for n in range(1, 5):
        sell(sku, 14, NOW - n * DAY)
    sell(sku, 100, NOW)  # today is not over
    sell(sku, 100, NOW - 40 * DAY)
    sell(sku, 100, NOW - 2 * DAY, status="canceled")
    compute_buffers(now=NOW)
    row = StockBuffer.objects.get()
    assert (row.units, row.basis["mean"], row.basis["sigma"]) == (9, 2.0, 4.9)
    assert row.basis["sold_days"] == 4


@pytest.mark.django_db
def test_a_rule_of_its_own_goes_before_the_default_and_no_rule_keeps_nothing(sku: Sku) -> None:
    other = SkuFactory.create()
    StockLevelFactory.create(sku=sku, on_hand=100)
    StockLevelFactory.create(sku=other, on_hand=100)
    own = SafetyStock.objects.create(sku=sku, method="units", value=12)
    assert compute_buffers(now=NOW) == 1
    default = SafetyStock.objects.create(method="percent", value=30)
    assert compute_buffers(now=NOW) == 1
    kept = dict(StockBuffer.objects.values_list("sku", "units"))
    assert kept == {sku.pk: 12, other.pk: 30}
    assert compute_buffers(now=NOW) == 0
    SafetyStock.objects.filter(pk=own.pk).update(is_active=False)
    compute_buffers([sku.pk], now=NOW)
    default.delete()
    assert compute_buffers(now=NOW) == 2
    assert not StockBuffer.objects.exists()


@pytest.mark.django_db
def test_sales_are_counted_once_a_day(sku: Sku, monkeypatch: pytest.MonkeyPatch) -> None:
    SafetyStock.objects.create(method="volatility", hot_until=NOW + DAY)
    compute_buffers(now=NOW)
    monkeypatch.setattr(buffers, "_sold_by_day", lambda *_: pytest.fail("counted again"))
    compute_buffers(now=NOW + timedelta(hours=11))
    with pytest.raises(pytest.fail.Exception, match="counted again"):
        compute_buffers(now=NOW + timedelta(hours=13))


@pytest.mark.django_db
def test_what_changed_is_noted_so_that_figures_follow(sku: Sku) -> None:
    level = StockLevelFactory.create(sku=sku, on_hand=100)
    SafetyStock.objects.create(sku=sku, method="units", value=12)
    with moves.collecting() as moved:
        compute_buffers(now=timezone.now())
    assert moved == {level.pk}
    with moves.collecting() as moved:
        compute_buffers(now=timezone.now())
    assert moved == set()
