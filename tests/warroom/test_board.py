"""The board's figures against rows, its price in queries, and what it never shows."""

import itertools
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from fulfillment.models import Parcel, ParcelStop, Stage, StageTask
from ordercenter.core.policy import Role
from ordercenter.orders.models import SalesOrder
from ordercenter.orders.states import HoldKind, OrderStatus, Tier
from ordercenter.pipeline.health import Level
from ordercenter.warroom import access, selectors
from ordercenter.warroom.selectors import Board, board
from ordercenter.warroom.shared import Shared
from tests.factories import (
    InboxMessageFactory,
    OrderHoldFactory,
    OutboundMessageFactory,
    ParcelFactory,
    ParcelStopFactory,
    RuleSetFactory,
    SalesOrderFactory,
    ShopFactory,
    StageTaskFactory,
    SyncCursorFactory,
    user_with,
)

pytestmark = pytest.mark.django_db
NOW = datetime(2025, 11, 11, 4, 0, tzinfo=UTC)  # noon in Shanghai
QUERY_BUDGET = 15


def order_of_age(age: timedelta, **fields: Any) -> SalesOrder:
    return SalesOrderFactory.create(placed_at=NOW - age, **fields)


def status_row(label: str) -> selectors.StatusRow:
    return next(row for row in board(NOW).statuses if row.label == label)


def stage_row(stage: Stage) -> selectors.StageRow:
    return next(row for row in board(NOW).stages if row.label == str(stage.label))


def log_in(client: Client, role: Role) -> None:
    client.force_login(user_with(role), backend="django.contrib.auth.backends.ModelBackend")


def test_open_orders_are_counted_by_status_with_the_oldest_age() -> None:
    order_of_age(timedelta(minutes=10))
    order_of_age(timedelta(minutes=50))
    order_of_age(timedelta(minutes=5), status=OrderStatus.ROUTED)
    order_of_age(timedelta(minutes=5), status=OrderStatus.SHIPPED)
    drawn = board(NOW)
    counts = {row.label: row.count for row in drawn.statuses if row.count}
    assert counts == {"已接收": 2, "已分仓": 1}
    assert status_row("已接收").oldest == timedelta(minutes=50)
    assert drawn.open_count == 3


@pytest.mark.parametrize(
    ("age", "expected"),
    [
        (timedelta(hours=2), Level.GOOD),
        (timedelta(hours=2, seconds=1), Level.WARN),
        (timedelta(hours=6), Level.WARN),
        (timedelta(hours=6, seconds=1), Level.BAD),
    ],
)
def test_an_order_turns_yellow_after_two_hours_and_red_after_six(
    age: timedelta, expected: Level
) -> None:
    order_of_age(age)
    assert status_row("已接收").level is expected


def test_the_clock_of_an_unprocessed_order_starts_when_it_was_paid_and_known() -> None:
    long_ago = NOW - timedelta(days=5)
    SalesOrderFactory.create(placed_at=long_ago, paid_at=None, received_at=long_ago)
    SalesOrderFactory.create(placed_at=long_ago, paid_at=NOW, received_at=long_ago)
    SalesOrderFactory.create(placed_at=long_ago, paid_at=long_ago, received_at=NOW)
    row = status_row("已接收")
    assert (row.count, row.unpaid, row.late) == (3, 1, 0)


def test_an_order_in_the_warehouse_is_late_by_its_stage_and_not_by_its_age() -> None:
    order_of_age(timedelta(hours=9), status=OrderStatus.ROUTED)
    assert status_row("已分仓").level is Level.GOOD


@pytest.mark.parametrize(
    ("minutes_ago", "expected"),
    [(60, Level.GOOD), (61, Level.WARN), (120, Level.WARN), (121, Level.BAD)],
)
def test_a_task_is_yellow_past_its_time_and_red_past_twice_its_time(
    minutes_ago: int, expected: Level
) -> None:
    opened = NOW - timedelta(minutes=minutes_ago)
    StageTaskFactory.create(
        stage=Stage.PICK, opened_at=opened, due_at=opened + timedelta(minutes=60)
    )
    assert stage_row(Stage.PICK).level is expected


def test_finished_tasks_are_not_counted() -> None:
    StageTaskFactory.create(stage=Stage.PACK, state=StageTask.State.DONE)
    StageTaskFactory.create(stage=Stage.PACK, state=StageTask.State.WITHDRAWN)
    assert stage_row(Stage.PACK).count == 0


def test_holds_are_grouped_by_reason_with_the_name_of_the_live_rule() -> None:
    RuleSetFactory.create(is_live=True, rules=[{"code": "low_price_85", "name": "低价异常"}])
    for _ in range(2):
        OrderHoldFactory.create(code="low_price_85", opened_at=NOW - timedelta(minutes=5))
    OrderHoldFactory.create(kind=HoldKind.SHORTAGE, code="stock", opened_at=NOW)
    OrderHoldFactory.create(code="low_price_85", opened_at=NOW, released_at=NOW)
    drawn = board(NOW)
    assert [(row.label, row.count) for row in drawn.holds] == [("低价异常", 2), ("缺货", 1)]
    assert drawn.held_count == 3


def test_an_order_with_two_holds_is_one_held_order() -> None:
    order = order_of_age(timedelta(minutes=1))
    OrderHoldFactory.create(order=order, code="one", opened_at=NOW)
    OrderHoldFactory.create(order=order, code="two", opened_at=NOW)
    assert board(NOW).held_count == 1


def test_a_frozen_order_makes_the_holds_red() -> None:
    OrderHoldFactory.create(tier=Tier.FREEZE, opened_at=NOW)
    assert board(NOW).held_level is Level.BAD


def test_today_is_the_calendar_day_of_shanghai() -> None:
    order_of_age(timedelta(hours=12))  # midnight sharp
    order_of_age(timedelta(hours=12, seconds=1))
    for shipped in (timedelta(hours=12), timedelta(hours=12, seconds=1)):
        ParcelFactory.create(
            order=order_of_age(timedelta(days=3), status=OrderStatus.ROUTED),
            state=Parcel.State.SHIPPED,
            shipped_at=NOW - shipped,
            shipped_version=1,
        )
    drawn = board(NOW)
    assert (drawn.placed_today, drawn.lines.shipped_today) == (1, 1)


def test_a_shop_is_red_when_it_has_not_been_read_and_yellow_when_it_fails() -> None:
    SyncCursorFactory.create(shop__name="安静", last_ok_at=NOW - timedelta(minutes=20))
    SyncCursorFactory.create(shop__name="失败", last_ok_at=NOW - timedelta(minutes=1), failures=1)
    SyncCursorFactory.create(shop__name="正常", last_ok_at=NOW - timedelta(minutes=1))
    ShopFactory.create(name="停用", is_active=False)
    rows = [(row.name, row.level) for row in board(NOW).shops]
    assert rows == [("安静", Level.BAD), ("失败", Level.WARN), ("正常", Level.GOOD)]


def test_a_shop_shows_its_orders_of_today_and_when_the_last_came() -> None:
    shop = ShopFactory.create()
    order_of_age(timedelta(minutes=30), shop=shop)
    order_of_age(timedelta(minutes=7), shop=shop, status=OrderStatus.CANCELED)
    drawn = board(NOW)
    assert [(row.today, row.last_order) for row in drawn.shops] == [(2, timedelta(minutes=7))]
    assert drawn.canceled_today == 1


def test_the_newest_interceptions_come_first_and_mix_parcels_and_holds() -> None:
    for minutes in range(10):
        OrderHoldFactory.create(words=f"挂起 {minutes}", opened_at=NOW - timedelta(minutes=minutes))
    OrderHoldFactory.create(tier=Tier.FILL, words="补默认值", opened_at=NOW)
    ParcelStopFactory.create(
        reason="退款", outcome=ParcelStop.Outcome.TOO_LATE, asked_at=NOW - timedelta(seconds=30)
    )
    rows = board(NOW).interceptions
    assert [row.words for row in rows][:3] == ["挂起 0", "退款", "挂起 1"]
    assert len(rows) == 8
    assert rows[1].level is Level.BAD


def test_rush_orders_come_by_priority_and_then_by_age_at_most_ten() -> None:
    for minutes in range(12):
        order_of_age(timedelta(minutes=minutes), is_rush=True)
    first = order_of_age(timedelta(), is_rush=True, priority=9)
    order_of_age(timedelta(hours=5))
    rows = board(NOW).rush
    assert len(rows) == 10
    assert rows[0].number == first.number
    assert rows[1].waiting == timedelta(minutes=11)


def test_what_waits_at_the_two_ends_is_counted() -> None:
    OutboundMessageFactory.create(created_at=NOW - timedelta(minutes=9))
    OutboundMessageFactory.create(state="dead")
    OutboundMessageFactory.create(state="done")
    InboxMessageFactory.create(received_at=NOW - timedelta(minutes=3))
    InboxMessageFactory.create(state="dead")
    lines = board(NOW).lines
    assert (lines.write_back_waiting, lines.write_back_dead) == (1, 1)
    assert lines.write_back_oldest == timedelta(minutes=9)
    assert (lines.inbox_waiting, lines.inbox_dead) == (1, 1)


def test_the_line_of_orders_a_minute_has_sixty_whole_minutes() -> None:
    order_of_age(timedelta(seconds=1))
    order_of_age(timedelta(seconds=59))
    order_of_age(timedelta(minutes=60))
    order_of_age(timedelta(minutes=60, seconds=1))
    minutes = board(NOW).minutes
    assert len(minutes) == 60
    assert (minutes[0], minutes[-1], sum(minutes)) == (1, 2, 3)


def test_test_orders_are_kept_out_of_every_figure() -> None:
    order = order_of_age(timedelta(hours=7), is_test=True, is_rush=True)
    OrderHoldFactory.create(order=order, opened_at=NOW)
    StageTaskFactory.create(order=order)
    parcel = ParcelFactory.create(
        order=order, state=Parcel.State.SHIPPED, shipped_at=NOW, shipped_version=1
    )
    ParcelStopFactory.create(parcel=parcel)
    drawn = board(NOW)
    assert drawn.open_count == drawn.held_count == drawn.placed_today == 0
    assert not drawn.holds
    assert not drawn.rush
    assert not drawn.interceptions
    assert drawn.lines.shipped_today == sum(row.count for row in drawn.stages) == 0
    assert sum(drawn.minutes) == 0


def test_the_page_takes_at_most_fifteen_queries_however_much_there_is(client: Client) -> None:
    log_in(client, Role.SCREEN)
    asked = []
    for _ in range(2):
        for status in OrderStatus:
            order = order_of_age(timedelta(), status=status, is_rush=True)
            OrderHoldFactory.create(order=order)
            StageTaskFactory.create(order=order)
            SyncCursorFactory.create(shop=order.shop)
        with CaptureQueriesContext(
            connection,
        ) as queries:
            assert client.get(reverse("warroom:board")).status_code == 200
        asked.append(len(queries))
    assert asked[0] == asked[1] <= QUERY_BUDGET


def test_the_board_never_shows_a_receiver_or_what_a_buyer_wrote(client: Client) -> None:
    log_in(client, Role.SCREEN)
    order = SalesOrderFactory.create(
        name="欧阳娜娜",
        phone="13912345678",
        address="人民路1号",
        buyer_remark="今天必须发 <b>13912345678</b>",
        is_rush=True,
    )
    OrderHoldFactory.create(order=order, words="<script>alert(1)</script>")
    text = client.get(reverse("warroom:board")).content.decode()
    assert order.number in text
    for secret in (
        "欧阳",
        "139",
        "5678",
        "人民路",
        "今天必须发",
        order.receiver_masked,
        "<script>alert",
    ):
        assert secret not in text


def test_the_fragment_is_the_changing_part_alone(client: Client) -> None:
    log_in(client, Role.PACKER)
    response = client.get(reverse("warroom:board"), {"fragment": "1"})
    text = response.content.decode()
    assert "数据截至" in text
    assert "<html" not in text
    assert response.headers["Cache-Control"] == "no-store"


def test_without_a_database_the_page_says_since_when_and_nothing_else(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    log_in(client, Role.SCREEN)
    order = SalesOrderFactory.create(is_rush=True)

    def gone(now: datetime) -> Board:
        raise OperationalError("the server closed the connection")

    with monkeypatch.context() as patch:
        patch.setattr(selectors, "board", gone)
        first = client.get(reverse("warroom:board"))
        fragment = client.get(reverse("warroom:board"), {"fragment": "1"})
    assert first.status_code == fragment.status_code == 503
    since = access.outage.since
    assert since is not None
    for response in (first, fragment):
        text = response.content.decode()
        assert "暂无数据，自 " in text
        assert order.number not in text
    assert client.get(reverse("warroom:board")).status_code == 200
    assert access.outage.since is None


class CountedLock:
    """A lock that says when so many have come to it."""

    def __init__(self, expected: int, arrived: threading.Event) -> None:
        self._lock = threading.Lock()
        self._expected = expected
        self._arrived = arrived
        self._count = itertools.count(1)

    def __enter__(self) -> None:
        if next(self._count) == self._expected:
            self._arrived.set()
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def test_everybody_who_asks_together_shares_one_reading_begun_after_the_question(
    run_together: Callable[..., list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    began = itertools.count(1)
    reading = threading.Event()
    everybody_asked = threading.Event()

    def read() -> int:
        number = next(began)
        reading.set()
        everybody_asked.wait(20)
        return number

    shared = Shared(read)
    monkeypatch.setattr(shared, "_lock", CountedLock(9, everybody_asked))
    first = threading.Thread(target=shared.get)
    first.start()
    reading.wait(20)
    answers = run_together(*[shared.get] * 8)
    first.join()
    assert set(answers) == {2}  # not the reading that had begun before they asked
    assert next(began) == 3
