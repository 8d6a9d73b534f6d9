"""What the sandbox plants is found by the rule that is there for it, and nothing else is stopped.

The great run is ``manage.py drill --scenario truth``; these are its kinds a few times each, read
through every platform's own line.
"""

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from datetime import time as dt_time
from typing import Any

import httpx
import pytest
import time_machine
from django.contrib.auth.models import User
from django.test import Client

from channels_sync.models import InboxMessage
from fulfillment.models import Parcel, Waybill
from ordercenter.catalog.models import Shop
from ordercenter.core.clock import SHANGHAI
from ordercenter.core.clock import now as clock_now
from ordercenter.notices import services as notices
from ordercenter.notices.models import Alarm
from ordercenter.notices.services import seal_secrets
from ordercenter.orders.models import OrderHold, SalesOrder
from ordercenter.pipeline import demo, intake, jobs, pulling
from ordercenter.pipeline.drill import truth
from risk.lists import Told, add_entries
from tests.factories import RobotFactory
from tests.pipeline.lines import SELLER, URL, ask, connected, sandbox
from tests.sandbox.callers import Bench

pytestmark = pytest.mark.django_db
LATE = frozenset({"refund_before_ship"})
"""Kinds that only a later day of the order shows."""
TIMES = 3


@pytest.fixture
def bench() -> Bench:
    return open_bench()


def open_bench() -> Bench:
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
        while not jobs.look_again().startswith("0 of 0 "):
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
        [*kinds, *truth.BOTH.values()], TIMES
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
        assert (result.kinds["duplicate_first"].caught, result.caught) == (held, 1 + held)
        assert (result.clean, result.stopped) == (0, len(stopped))


def test_136_orders_at_half_price_at_two_in_the_night_are_frozen_and_raise_one_alarm(
    django_capture_on_commit_callbacks: Callable[..., Any], client: Client
) -> None:
    """N06: before any waybill, and in the group within the minute however quiet its hours are."""
    two = datetime.now(SHANGHAI).replace(hour=2, minute=0, second=0, microsecond=0)
    shown: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        shown.append(request.content.decode())
        return httpx.Response(200, json={"errcode": 0, "errmsg": "ok"})

    with time_machine.travel(two + timedelta(days=1)):
        bench = open_bench()
        RobotFactory.create(
            sealed=seal_secrets(access_token="t0ken", secret="SECsecret"),
            quiet_from=dt_time(22), quiet_to=dt_time(8),
        )  # fmt: skip
        for _ in range(136):
            bench.market.sell("half_price")
        read(bench, django_capture_on_commit_callbacks)
        assert clock_now().astimezone(SHANGHAI).hour == 2
        with httpx.Client(transport=httpx.MockTransport(answer)) as group:
            notices.send_due(group, now=clock_now())
        log_in = "django.contrib.auth.backends.ModelBackend"
        client.force_login(User.objects.get(username="zhuguan"), backend=log_in)
        wall = client.get("/wall/").content.decode()
        board = client.get("/board/").content.decode()
    held = OrderHold.objects.open().filter(kind="rule", code="half_price_60", tier="3")
    assert held.values("order").distinct().count() == SalesOrder.objects.count() == 136
    assert not Waybill.objects.exists()
    assert not Parcel.objects.exists()
    (alarm,) = Alarm.objects.filter(urgency="3")
    assert (alarm.count, alarm.title) == (136, "价格严重异常")
    frozen = [text for text in shown if "价格严重异常" in text]
    assert 1 <= len(frozen) <= 3
    for page in (wall, board):
        assert "价格严重异常" in page
        assert "136 单" in page


def test_of_176_pairs_within_five_minutes_both_are_held(
    bench: Bench, django_capture_on_commit_callbacks: Callable[..., Any]
) -> None:
    """N08, and BO22: both are flagged."""
    for _ in range(176):
        bench.market.sell("duplicate", at_once=True)
    read(bench, django_capture_on_commit_callbacks)
    result = result_of(bench)
    assert not result.missing
    assert result.kinds["duplicate"] == truth.Kind(planted=176, caught=176)
    assert result.kinds["duplicate_first"] == truth.Kind(planted=176, caught=176)
    assert (result.openers, result.shown) == (176, [])
