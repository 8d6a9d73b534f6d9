"""What the sandbox plants is found by the rule that is there for it, and nothing else is stopped.

The great run is ``manage.py drill --scenario truth``; these are its kinds a few times each, read
through every platform's own line.
"""

import time
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User

from channels_sync.models import InboxMessage
from fulfillment.models import Parcel, Waybill
from ordercenter.catalog.models import Shop
from ordercenter.core.clock import now as clock_now
from ordercenter.orders.models import OrderHold, SalesOrder
from ordercenter.pipeline import demo, intake, pulling
from ordercenter.pipeline.drill import truth
from risk.lists import Told, add_entries
from tests.pipeline.lines import SELLER, URL, ask, connected, sandbox
from tests.sandbox.callers import Bench

pytestmark = pytest.mark.django_db
LATE = frozenset({"refund_before_ship"})
"""Kinds that only a later day of the order shows."""
TIMES = 3


@pytest.fixture
def bench() -> Bench:
    demo.load(SELLER, sandbox_url=URL, password="a-password")
    bench = sandbox()
    user = User.objects.get(username="yunying")
    for code, values in told(bench)["lists"].items():
        added = add_entries(code, [Told(value) for value in values], user=user, reason="演练")
        assert not added.bad
    return bench


def told(bench: Bench) -> Any:
    return bench.http.get("/book/truth").json()


def read(bench: Bench, on_commit: Callable[..., Any]) -> None:
    # Callers whose clock is five minutes off are refused, and selling takes its time.
    bench.clock.now = max(bench.clock.now, time.time() - 60)
    with connected(ask(bench)), on_commit(execute=True):
        for shop in Shop.objects.all():
            pulling.poll_shop(shop.pk, now=clock_now())
        while intake.run().messages:
            pass
    assert not InboxMessage.objects.exclude(state="done").exists()


def result_of(bench: Bench) -> truth.Result:
    result = truth.Result()
    truth.compare(truth.shown_of(told(bench)["orders"]), truth.found_of(), result)
    return result


def test_every_kind_is_found_by_its_rule_and_clean_orders_go_on(
    bench: Bench, django_capture_on_commit_callbacks: Callable[..., Any]
) -> None:
    kinds = sorted(truth.EXPECTED.keys() - LATE)
    for kind in kinds:
        for _ in range(TIMES):
            bench.market.sell(kind, at_once=True)
    for _ in range(100):
        bench.market.sell()
    read(bench, django_capture_on_commit_callbacks)
    result = result_of(bench)
    assert not result.missing
    assert {name: kind.missed for name, kind in result.kinds.items() if kind.missed} == {}
    assert {name: kind.planted for name, kind in result.kinds.items()} == dict.fromkeys(
        kinds, TIMES
    )
    assert result.shown == []
    assert result.clean > 80  # all but those nobody has paid on platforms that show none such
    assert result.openers > TIMES


def test_a_trouble_that_its_own_rule_does_not_find_is_missed() -> None:
    place = {"shop": "MP01", "number": "1", "cluster": "", "refunds": 0}
    rows = [
        {**place, "kinds": ["duplicate"]},
        {**place, "number": "2", "kinds": []},
        {**place, "number": "3", "kinds": []},
    ]
    found = {
        ("MP01", "1"): frozenset({"rule:low_price_85", "mark:low_price_85"}),
        ("MP01", "2"): frozenset({"rule:same_ip_10s"}),
    }
    result = truth.Result()
    truth.compare(rows, found, result)
    assert (result.troubled, result.caught, result.missing) == (1, 0, ["MP01 3"])
    assert result.kinds["duplicate"].missed == ["MP01 1: mark:low_price_85 rule:low_price_85"]
    assert (result.clean, result.stopped_by) == (1, {"rule:same_ip_10s": 1})
    assert not result.is_good


def test_an_opener_is_held_beside_the_order_that_completes_its_pattern_and_by_nothing_else() -> (
    None
):
    place = {"shop": "TB01", "cluster": "duplicate-1", "refunds": 0}
    rows = [{**place, "number": "1", "kinds": []}, {**place, "number": "2", "kinds": ["duplicate"]}]
    second = frozenset({"rule:same_sku_5m"})
    for first, held, stopped in (
        (frozenset(), 0, {}),
        (second, 1, {}),
        (second | {"rule:low_price_85"}, 1, {"rule:low_price_85": 1}),
    ):
        result = truth.Result()
        truth.compare(rows, {("TB01", "1"): first, ("TB01", "2"): second}, result)
        assert (result.openers, result.openers_held, result.stopped_by) == (1, held, stopped)
        assert (result.clean, result.stopped) == (0, len(stopped))


def test_136_orders_at_half_price_are_all_held_before_any_waybill(
    bench: Bench, django_capture_on_commit_callbacks: Callable[..., Any]
) -> None:
    for _ in range(136):
        bench.market.sell("half_price")
    read(bench, django_capture_on_commit_callbacks)
    held = OrderHold.objects.open().filter(kind="rule", code="half_price_60", tier="3")
    assert held.values("order").distinct().count() == SalesOrder.objects.count() == 136
    assert not Waybill.objects.exists()
    assert not Parcel.objects.exists()


def test_of_176_pairs_within_five_minutes_no_second_order_goes_on(
    bench: Bench, django_capture_on_commit_callbacks: Callable[..., Any]
) -> None:
    for _ in range(176):
        bench.market.sell("duplicate", at_once=True)
    read(bench, django_capture_on_commit_callbacks)
    result = result_of(bench)
    assert not result.missing
    assert result.kinds["duplicate"] == truth.Kind(planted=176, caught=176)
    assert (result.openers, result.shown) == (176, [])
