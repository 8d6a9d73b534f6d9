"""K07, K08 and N05: a command that stops a province, against everybody who packs for it."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction

from fulfillment.contracts import Issued
from fulfillment.models import Parcel, Waybill
from inventory.models import StockLevel
from ordercenter.core.actor import PIPELINE, Actor
from ordercenter.core.clock import now as clock_now
from ordercenter.core.errors import OrderCenterError
from ordercenter.core.policy import Role
from ordercenter.orders.models import Interception, InterceptionPolicy, OrderHold, SalesOrder
from ordercenter.pipeline import decisions, intake, stages
from ordercenter.pipeline.interception import acts, filling, gates
from ordercenter.pipeline.interception.gates import Condition
from tests.factories import user_with
from tests.invariants.world import (
    COUNTER,
    REASON,
    draft,
    label,
    line,
    pick,
    stocked_shop,
    take_in,
)
from tests.races.tools import SURE, Gap, red, stock_up

pytestmark = pytest.mark.django_db(transaction=True)
JIANGSU = Condition.read({"places": [["江苏省", "", ""]]})
PACKERS = 8


@pytest.fixture
def boss() -> User:
    return user_with(Role.WAREHOUSE_SUPERVISOR)


def start(boss: User) -> Interception:
    wish = acts.Wish("江苏省暂停发货", JIANGSU, "江苏省暂停发货", "台风预警，暂停发货")
    return acts.ask(wish, user=boss, actor=Actor.person(boss))


def a_number(waybill: Waybill, *_: object) -> Issued:
    return Issued(f"SF{COUNTER.next():013}", waybill.client_reference)


def gates_do_not_wait(patch: pytest.MonkeyPatch) -> None:
    """Take the shared lock away from every transition."""
    patch.setattr(gates, "share", lambda: None)
    patch.setattr(gates, "locked_order", lambda pk: SalesOrder.objects.locked([pk]).get())
    patch.setattr(filling, "share", lambda: None)


# --- K07: one label, one shipment, to the point --------------------------------------------------


@dataclass
class Met:
    """What one transition saw of the answer to the command before it committed."""

    result: Any = None
    after_the_answer: bool = False


def race(
    act: Callable[[], Any], boss: User, run_together: Any, patch: pytest.MonkeyPatch, gap: Gap
) -> Met:
    """The transition has looked at the gates and found none when the command comes."""
    met, look = Met(), gates.words_for

    def slow_look(order_id: int) -> tuple[str, ...]:
        words = look(order_id)
        if threading.current_thread().name == "packer":
            gap.happened("looked")
            met.after_the_answer = gap.wait_for("answered")
        return words

    def packer() -> None:
        threading.current_thread().name = "packer"
        met.result = act()

    def commander() -> None:
        assert gap.event("looked").wait(10)
        start(boss)
        gap.happened("answered")

    patch.setattr(gates, "words_for", slow_look)
    results = run_together(packer, commander)
    assert results == [None, None], results
    return met


def packed_order(boss: User, patch: pytest.MonkeyPatch) -> tuple[SalesOrder, Waybill]:
    patch.setattr(stages, "_ask_carrier", a_number)
    (order,) = take_in(stocked_shop(), draft())
    return order, label(order, boss)


def ship(waybill: Waybill, boss: User) -> None:
    stages.ship_parcel(
        waybill.parcel_id, user=boss, actor=Actor.person(boss), tracking_number=waybill.number
    )


def test_k07_the_answer_waits_for_a_parcel_that_is_leaving(
    boss: User, run_together: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    order, waybill = packed_order(boss, monkeypatch)
    met = race(partial(ship, waybill, boss), boss, run_together, monkeypatch, Gap())
    assert not met.after_the_answer
    order.refresh_from_db()
    assert order.status == "shipped"
    assert not OrderHold.objects.filter(order=order).exists()
    assert red() == set()


def test_k07_control_without_the_shared_lock_a_parcel_leaves_after_the_answer(
    boss: User, run_together: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    order, waybill = packed_order(boss, monkeypatch)
    gates_do_not_wait(monkeypatch)
    met = race(partial(ship, waybill, boss), boss, run_together, monkeypatch, Gap(SURE))
    assert met.after_the_answer
    order.refresh_from_db()
    assert order.status == "shipped"


def issue(boss: User) -> tuple[SalesOrder, Callable[[], Waybill]]:
    """An order whose number the carrier has given, and the check that makes it a label."""
    (order,) = take_in(stocked_shop(), draft())
    parcel = pick(order, boss)
    waybill = stages._intend(parcel, actor=Actor.person(boss))
    return order, partial(stages._issue, waybill.pk, a_number(waybill), actor=PIPELINE)


def test_k07_the_answer_waits_for_a_label_that_is_being_made(
    boss: User, run_together: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    order, act = issue(boss)
    met = race(act, boss, run_together, monkeypatch, Gap())
    assert not met.after_the_answer
    hold = OrderHold.objects.get(order=order)
    assert met.result.order_version < hold.opened_version
    assert red() == set()


def test_k07_control_without_the_shared_lock_a_label_is_made_after_the_answer(
    boss: User, run_together: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, act = issue(boss)
    gates_do_not_wait(monkeypatch)
    met = race(act, boss, run_together, monkeypatch, Gap(SURE))
    assert met.after_the_answer
    assert met.result.state == Waybill.State.LIVE


# --- an order on its way in, and the end ---------------------------------------------------------


def take_alone(shop_id: int, told: Any) -> None:
    with transaction.atomic():
        intake.take_drafts([(shop_id, told)], actor=PIPELINE, now=clock_now())


def race_end(
    boss: User, run_together: Any, patch: pytest.MonkeyPatch, gap: Gap
) -> tuple[Interception, bool]:
    """An order has read the gate as running when the interception ends."""
    shop, row, ceo = stocked_shop(), start(boss), user_with(Role.CEO)
    look, met = gates.active_gates, Met()

    def slow_look() -> Sequence[gates.Gate]:
        found = look()
        if threading.current_thread().name == "intake":
            gap.happened("looked")
            met.after_the_answer = gap.wait_for("ended")
        return found

    def arrive() -> None:
        threading.current_thread().name = "intake"
        take_alone(shop.pk, draft())

    def finish() -> None:
        assert gap.event("looked").wait(10)
        acts.end(row.pk, user=ceo, actor=Actor.person(ceo), reason=REASON)
        gap.happened("ended")

    patch.setattr(gates, "active_gates", slow_look)
    assert run_together(arrive, finish) == [None, None]
    return row, met.after_the_answer


def test_nothing_is_held_by_an_interception_that_is_over(
    boss: User, run_together: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    row, after = race_end(boss, run_together, monkeypatch, Gap())
    assert not after
    assert not OrderHold.objects.open().filter(interception=row).exists()
    filling.go_on(row.pk)
    assert set(SalesOrder.objects.values_list("status", flat=True)) == {"routed"}
    assert red() == set()


def test_control_without_the_shared_lock_an_order_is_held_after_the_end(
    boss: User, run_together: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    gates_do_not_wait(monkeypatch)
    row, after = race_end(boss, run_together, monkeypatch, Gap(SURE))
    assert after
    assert OrderHold.objects.open().filter(interception=row).exists()


def test_k08_the_end_against_a_freeze_leaves_the_freeze(boss: User, run_together: Any) -> None:
    shop, ceo = stocked_shop(), user_with(Role.CEO)
    for _ in range(10):
        (order,) = take_in(shop, draft(line("LAMP")))
        row = start(boss)
        results = run_together(
            partial(acts.end, row.pk, user=ceo, actor=Actor.person(ceo), reason=REASON),
            partial(
                decisions.freeze_order, order.pk, user=boss, actor=Actor.person(boss),
                reason=REASON,
            ),
        )  # fmt: skip
        assert not any(isinstance(result, Exception) for result in results), results
        filling.sweep()
        kinds = OrderHold.objects.open().filter(order=order).values_list("kind", flat=True)
        assert set(kinds) == {"person"}
    assert red() == set()


def test_two_clicks_at_one_moment_are_one_interception(boss: User, run_together: Any) -> None:
    take_in(stocked_shop(), draft())
    wish = acts.Wish(
        "江苏省暂停发货", JIANGSU, "江苏省暂停发货", "台风预警，暂停发货", source_key="click-1"
    )
    results = run_together(
        *[partial(acts.ask, wish, user=boss, actor=Actor.person(boss)) for _ in range(4)]
    )
    assert {row.pk for row in results} == {Interception.objects.get().pk}
    assert OrderHold.objects.open().count() == 1
    assert red() == set()


# --- eight packers ------------------------------------------------------------------------------


@dataclass
class Shift:
    """Packers at work on their own share of the parcels, until they have tried them all or the
    shift is over."""

    boss: User
    parcels: list[int]
    done: int = 0
    refused: int = 0
    odd: list[Exception] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    over: threading.Event = field(default_factory=threading.Event)

    def pack(self, share: int) -> None:
        actor = Actor.person(self.boss)
        for pk in self.parcels[share::PACKERS]:
            if self.over.is_set():
                return
            try:
                waybill = stages.request_label(pk, user=self.boss, actor=actor)
                stages.ship_parcel(pk, user=self.boss, actor=actor, tracking_number=waybill.number)
            except OrderCenterError:
                with self.lock:
                    self.refused += 1
            except Exception as error:  # noqa: BLE001 - the test judges it
                self.odd.append(error)
            else:
                with self.lock:
                    self.done += 1


def gone() -> tuple[set[int], set[int], set[int]]:
    """(labels that are live, parcels that have left, orders shipped) of what is stored now."""
    return (
        set(Waybill.objects.filter(state="live").values_list("pk", flat=True)),
        set(Parcel.objects.filter(state="shipped").values_list("pk", flat=True)),
        set(SalesOrder.objects.filter(status="shipped").values_list("pk", flat=True)),
    )


@dataclass
class Stop:
    """What the command found at its commit, and how long it took."""

    at_commit: tuple[set[int], set[int], set[int]] | None = None
    seconds_to_exact: float = 0.0
    seconds_to_held: float = 0.0


def stop_the_province(boss: User, shift: Shift, *, after: int, patch: pytest.MonkeyPatch) -> Stop:
    """Let so many parcels leave, then stop all; remember what had left when the gate committed."""
    stop, fill = Stop(), filling.hold_all

    def hold_all(pk: int, **facts: Any) -> int:
        stop.seconds_to_exact = time.monotonic() - began
        stop.at_commit = gone()
        return fill(pk, **facts)

    patch.setattr(filling, "hold_all", hold_all)
    until = time.monotonic() + SURE
    while shift.done < after and time.monotonic() < until:
        time.sleep(0.005)
    began = time.monotonic()
    start(boss)
    stop.seconds_to_held = time.monotonic() - began
    time.sleep(1)  # they go on trying
    shift.over.set()
    return stop


BATCH = 160


def picked_parcels(count: int) -> list[int]:
    """So many orders of the province whose goods wait at the bench."""
    shop = stocked_shop()
    level = StockLevel.objects.get(virtual_warehouse__code="EAST", sku__code="LAMP")
    stock_up(level, count)
    for start_at in range(0, count, BATCH):
        take_in(shop, *[draft(line("LAMP")) for _ in range(min(BATCH, count - start_at))])
    Parcel.objects.update(state="picked")
    return list(Parcel.objects.order_by("pk").values_list("pk", flat=True))


def pack_against_stop(
    boss: User, run_together: Any, patch: pytest.MonkeyPatch, *, parcels: int, after: int
) -> tuple[Shift, Stop]:
    patch.setattr(stages, "_ask_carrier", a_number)
    shift = Shift(boss, picked_parcels(parcels))
    *_, stop = run_together(
        *[partial(shift.pack, share) for share in range(PACKERS)],
        partial(stop_the_province, boss, shift, after=after, patch=patch),
    )
    assert isinstance(stop, Stop), stop
    assert not shift.odd, shift.odd
    return shift, stop


def test_k07_eight_packers_make_no_label_and_ship_nothing_after_the_commit(
    boss: User, run_together: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    shift, stop = pack_against_stop(boss, run_together, monkeypatch, parcels=160, after=20)
    assert stop.at_commit == gone()
    assert shift.refused > 0
    assert shift.done >= 20
    assert red() == set()
    assert not unheld()


@pytest.mark.nightly
def test_n05_ten_thousand_orders_stop_while_eight_packers_work(
    boss: User, run_together: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    InterceptionPolicy(most_orders=20_000, most_value=100_000_000).save()
    shift, stop = pack_against_stop(boss, run_together, monkeypatch, parcels=10_000, after=200)
    assert stop.at_commit == gone()
    assert shift.refused > 0
    assert stop.seconds_to_exact < 3
    assert stop.seconds_to_held < 30
    assert red() == set()
    assert not unheld()


def unheld() -> list[int]:
    """Open orders of the province that carry no hold."""
    sql, params = gates.where(JIANGSU)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT o.id FROM orders_salesorder o WHERE o.status = ANY(%s) "  # noqa: S608
            f"AND ({sql}) AND NOT EXISTS (SELECT 1 FROM orders_orderhold h "
            "WHERE h.order_id = o.id AND h.kind = 'intercept' AND h.released_at IS NULL)",
            [gates.OPEN_VALUES, *params],
        )
        return [pk for (pk,) in cursor.fetchall()]
