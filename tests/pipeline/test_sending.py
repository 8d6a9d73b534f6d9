"""The outbox: what a platform must be told arrives, and has its effect once."""

import threading
from datetime import timedelta
from typing import Any

import pytest

from channels_sync import outbox
from channels_sync.contracts import (
    ErrorClass,
    PlatformError,
    Rejected,
    ShipNotice,
    TryLater,
    Unsupported,
)
from channels_sync.models import OutboundMessage
from fulfillment.models import StageTask
from ordercenter.audit.models import AuditRecord
from ordercenter.catalog.models import Shop
from ordercenter.core.clock import now as clock_now
from ordercenter.orders.models import SalesOrder
from ordercenter.pipeline import sending
from ordercenter.pipeline.calling import SideBySide
from ordercenter.pipeline.failing import UNKNOWN
from tests.factories import (
    OutboundMessageFactory,
    SalesOrderFactory,
    ShopCredentialFactory,
    ShopFactory,
    StageTaskFactory,
    SyncCursorFactory,
)
from tests.pipeline.one_by_one import OneByOne
from tests.pipeline.seller import versions

pytestmark = pytest.mark.django_db


class Line(OneByOne):
    """A connector that answers what the test says; ``calls`` is what it was told.

    Its platform keeps what took effect in ``book``. ``cut`` answers let the effect happen and
    lose the answer.
    """

    repeatable: frozenset[type] = frozenset()

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.calls: list[Any] = []
        self.asked: list[Any] = []
        self.book: list[str] = []
        self.memory: Any = True
        """Whether the platform can be asked; False: it never knows; an exception: it refuses."""

    def _tell(self, told: Any) -> None:
        self.calls.append(told)
        answer = self.answers.pop(0) if self.answers else None
        if answer is None or getattr(answer, "applied", False):
            self.book.append(told.key)
        if isinstance(answer, Exception):
            raise answer

    ship = publish_stock = answer_stop = write_memo = answer_address = _tell

    def knows(self, told: Any) -> bool | None:
        self.asked.append(told)
        if isinstance(self.memory, Exception):
            raise self.memory
        return told.key in self.book if self.memory else None


@pytest.fixture
def shop() -> Shop:
    made: Shop = ShopFactory.create(channel="taobao")
    ShopCredentialFactory.create(shop=made, base_url="https://gateway.example")
    return made


@pytest.fixture
def line(monkeypatch: pytest.MonkeyPatch) -> Line:
    made = Line()
    monkeypatch.setattr(sending, "connector_for", lambda *_: made)
    return made


def later(message: str = "busy", **more: Any) -> TryLater:
    wait = more.pop("wait", None)
    fault = PlatformError(ErrorClass.PLATFORM, "50", message, retry_after_seconds=wait)
    return TryLater(fault, **more)


def cut() -> TryLater:
    """It took effect, and the line broke before the answer."""
    made = later("cut", outcome_unknown=True)
    made.applied = True  # type: ignore[attr-defined]
    return made


def no(message: str = "发货失败") -> Rejected:
    return Rejected(PlatformError(ErrorClass.BUSINESS, "60", message))


def notice(shop: Shop, key: str = "ship:1", **changes: Any) -> OutboundMessage:
    order = SalesOrderFactory.create(shop=shop, status="shipped")
    StageTaskFactory.create(order=order, stage="notify")
    AuditRecord.objects.create(
        object_type="order", object_id=order.pk, version=1, action="order_taken", change={},
        created_at=clock_now(), actor_kind="job", actor_id="x", actor_name="x",
    )  # fmt: skip
    payload = {
        "channel_number": order.channel_number, "carrier": "sf", "tracking_number": "SF1",
        "shipped_at": clock_now().isoformat(), "whole": True, "lines": [],
    }  # fmt: skip
    made: OutboundMessage = OutboundMessageFactory.create(
        shop=shop, key=key, order_id=order.pk, payload=payload, **changes
    )
    return made


def test_a_notice_that_arrived_ends_the_stage_and_is_on_record(shop: Shop, line: Line) -> None:
    message = notice(shop)
    assert sending.send_out() == "1 messages delivered"
    message.refresh_from_db()
    order = SalesOrder.objects.get(shop=shop)
    assert (message.state, message.tries, message.error) == ("done", 1, "")
    assert StageTask.objects.get(order=order).state == "done"
    assert versions(order) == [1, 2]
    assert sending.send_out() == "0 messages delivered"
    (sent,) = line.calls
    assert (sent.key, sent.tracking_number, sent.lines) == ("ship:1", "SF1", ())


def test_a_notice_that_did_not_arrive_waits_longer_each_time(shop: Shop, line: Line) -> None:
    message, now, waits = notice(shop), clock_now(), []
    line.answers = [later()] * 6
    for _ in range(6):
        sending.send_out(now=now)
        message.refresh_from_db()
        waits.append(round((message.due_at - clock_now()).total_seconds()))
        now = message.due_at
    assert all(
        0.8 * n - 1 <= wait <= 1.2 * n
        for wait, n in zip(waits, (5, 10, 20, 40, 80, 160), strict=True)
    )
    assert (message.state, message.tries) == ("waiting", 6)
    assert "busy" in message.error
    sending.send_out(now=now)
    message.refresh_from_db()
    assert message.state == "done"


def test_a_platform_that_says_when_is_not_asked_before(shop: Shop, line: Line) -> None:
    message = notice(shop)
    line.answers = [later(wait=300)]
    sending.send_out()
    message.refresh_from_db()
    assert message.due_at > clock_now() + timedelta(seconds=290)


def test_while_a_platform_is_down_its_other_notices_are_not_tried(shop: Shop, line: Line) -> None:
    for n in range(5):
        notice(shop, f"ship:{n}")
    line.answers = [later()]
    assert sending.send_out() == "0 messages delivered"
    assert len(line.calls) == 1


def due_again(message: OutboundMessage) -> None:
    message.refresh_from_db()
    sending.send_out(now=message.due_at)
    message.refresh_from_db()


def test_an_effect_whose_answer_was_lost_is_asked_for_and_not_repeated(
    shop: Shop, line: Line
) -> None:
    message = notice(shop)
    line.answers = [cut()]
    assert sending.send_out() == "0 messages delivered"
    message.refresh_from_db()
    assert (message.state, message.is_doubtful) == ("waiting", True)
    due_again(message)
    assert (message.state, message.is_doubtful) == ("done", False)
    assert line.book == ["ship:1"]
    assert len(line.asked) == 1


def test_without_the_question_the_effect_would_come_twice(
    shop: Shop, line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "_ask", lambda *_: False)
    message = notice(shop)
    line.answers = [cut()]
    sending.send_out()
    due_again(message)
    assert line.book == ["ship:1", "ship:1"]


def test_what_the_platform_does_not_know_of_is_sent_again(shop: Shop, line: Line) -> None:
    message = notice(shop)
    line.answers = [later(outcome_unknown=True)]
    sending.send_out()
    due_again(message)
    assert (message.state, line.book) == ("done", ["ship:1"])


def test_where_nobody_can_be_asked_only_what_may_be_repeated_is(shop: Shop, line: Line) -> None:
    line.memory = False
    message = notice(shop)
    line.answers = [cut()]
    sending.send_out()
    due_again(message)
    assert (message.state, message.error, message.is_doubtful) == ("dead", UNKNOWN, True)
    assert line.book == ["ship:1"]
    line.repeatable = frozenset({ShipNotice})
    other = notice(shop, "ship:2")
    line.answers = [later(outcome_unknown=True)]
    sending.send_out()
    due_again(other)
    assert (other.state, line.book) == ("done", ["ship:1", "ship:2"])


def test_a_doubt_outlives_a_question_that_was_not_answered(shop: Shop, line: Line) -> None:
    message = notice(shop)
    line.answers = [cut()]
    sending.send_out()
    line.memory = later("still down")
    due_again(message)
    assert (message.state, message.is_doubtful) == ("waiting", True)
    line.memory = True
    due_again(message)
    assert (message.state, line.book) == ("done", ["ship:1"])


def test_what_a_dead_worker_had_begun_is_in_doubt(shop: Shop, line: Line) -> None:
    message = notice(shop)
    now = clock_now()
    (held,) = outbox.claim_out(limit=10, now=now)
    assert outbox.begin(held, now=now)
    line.book.append(message.key)  # and there it died
    assert sending.send_out(now=now + outbox.LEASE) == "0 messages delivered"
    assert sending.send_out(now=now + outbox.CALL_LEASE) == "1 messages delivered"
    assert line.book == ["ship:1"]
    assert line.calls == []


def test_what_a_dead_worker_had_not_begun_is_no_doubt(shop: Shop, line: Line) -> None:
    notice(shop)
    now = clock_now()
    outbox.claim_out(limit=10, now=now)
    assert sending.send_out(now=now + outbox.LEASE) == "1 messages delivered"
    assert line.asked == []


def test_a_message_another_worker_has_taken_is_not_begun(shop: Shop) -> None:
    notice(shop)
    now = clock_now()
    (mine,) = outbox.claim_out(limit=10, now=now)
    (theirs,) = outbox.claim_out(limit=10, now=now + outbox.LEASE)
    assert outbox.begin(theirs, now=now)
    assert not outbox.begin(mine, now=now)


def test_an_unknown_outcome_stops_a_shop_only_when_it_comes_twice(shop: Shop, line: Line) -> None:
    for n in range(4):
        notice(shop, f"ship:{n}")
    line.answers = [cut(), None, cut(), cut()]
    assert sending.send_out() == "1 messages delivered"
    assert len(line.calls) == 4
    line.answers = [cut(), cut(), None]
    for n in range(4, 7):
        notice(shop, f"ship:{n}")
    sending.send_out()
    assert len(line.calls) == 6


def test_a_platform_without_a_way_to_be_told_is_no_trouble(shop: Shop, line: Line) -> None:
    message = notice(shop)
    line.answers = [Unsupported("发货回传")]
    sending.send_out()
    message.refresh_from_db()
    assert (message.state, message.error) == ("unsupported", "该平台不支持发货回传")
    assert StageTask.objects.get().state == "withdrawn"


def test_a_lost_authorization_kills_no_message(shop: Shop, line: Line) -> None:
    first, second = notice(shop), notice(shop, "ship:2")
    line.answers = [Rejected(PlatformError(ErrorClass.AUTH, "27", "授权已失效"))]
    sending.send_out()
    first.refresh_from_db()
    second.refresh_from_db()
    assert (first.state, second.state, len(line.calls)) == ("waiting", "waiting", 1)
    assert second.due_at > clock_now() + timedelta(seconds=30)
    assert second.tries == 0


def test_a_shop_that_has_to_wait_is_left_alone_whole(shop: Shop, line: Line) -> None:
    messages = [notice(shop, f"ship:{n}") for n in range(3)]
    line.answers = [later(wait=300)]
    sending.send_out()
    for message in messages:
        message.refresh_from_db()
        assert message.due_at > clock_now() + timedelta(seconds=290)
    assert [message.tries for message in messages] == [1, 0, 0]


def test_a_limited_interface_holds_up_its_own_kind_only(shop: Shop, line: Line) -> None:
    notice(shop)
    memo = OutboundMessageFactory.create(
        shop=shop, kind="memo", order_id=None,
        payload={"channel_number": "1", "text": "好", "flag": None},
    )  # fmt: skip
    fault = PlatformError(ErrorClass.RATE_LIMITED, "7", "限流", retry_after_seconds=900)
    line.answers = [TryLater(fault)]
    assert sending.send_out() == "1 messages delivered"
    memo.refresh_from_db()
    assert memo.state == "done"


def test_another_shop_goes_on(shop: Shop, line: Line) -> None:
    notice(shop)
    other = notice(ShopFactory.create(channel="jd"), "ship:2")
    line.answers = [later()]
    assert sending.send_out() == "1 messages delivered"
    other.refresh_from_db()
    assert other.state == "done"


def test_a_paused_shop_is_told_nothing(shop: Shop, line: Line) -> None:
    SyncCursorFactory.create(shop=shop, paused_at=clock_now())
    notice(shop)
    assert sending.send_out() == "0 messages delivered"
    assert line.calls == []


def test_of_one_order_the_second_parcel_waits_for_the_first(shop: Shop, line: Line) -> None:
    first = notice(shop)
    second = notice(shop, "ship:2")
    OutboundMessage.objects.filter(pk=second.pk).update(
        order_id=first.order_id, due_at=first.due_at - timedelta(hours=1)
    )
    line.answers = [later(), None, None]
    sending.send_out()
    assert [told.key for told in line.calls] == ["ship:1"]
    due_again(first)
    second.refresh_from_db()
    sending.send_out(now=second.due_at)
    assert [told.key for told in line.calls] == ["ship:1", "ship:1", "ship:2"]


def test_a_full_shop_leaves_room_for_another(shop: Shop) -> None:
    now = clock_now()
    for n in range(outbox.A_SHOP + 5):
        OutboundMessageFactory.create(shop=shop, order_id=n, due_at=now - timedelta(hours=1))
    OutboundMessageFactory.create(order_id=None, due_at=now)
    taken = outbox.claim_out(limit=outbox.A_SHOP + 3, now=now)
    assert len({message.shop_id for message in taken}) == 2


def test_nearing_deadlines_go_first_and_stock_goes_last(shop: Shop) -> None:
    now = clock_now()
    make = OutboundMessageFactory.create
    stock = make(shop=shop, kind="stock", order_id=None, due_at=now - timedelta(minutes=9))
    plain = make(shop=shop, order_id=1, due_at=now - timedelta(minutes=5))
    late = make(shop=shop, kind="address", order_id=2, answer_by=now + timedelta(hours=2))
    later_ = make(shop=shop, kind="address", order_id=3, answer_by=now + timedelta(hours=5))
    taken = outbox.claim_out(limit=9, now=clock_now())
    assert [m.pk for m in taken] == [late.pk, later_.pk, plain.pk, stock.pk]


def test_what_has_a_deadline_is_tried_again_before_it(shop: Shop, line: Line) -> None:
    now = clock_now()
    message = OutboundMessageFactory.create(
        shop=shop, kind="address", order_id=None, tries=9, answer_by=now + timedelta(minutes=10),
        payload={"channel_number": "1", "approve": True, "words": ""},
    )  # fmt: skip
    line.answers = [later()]
    sending.send_out()
    message.refresh_from_db()
    assert message.due_at <= now + timedelta(minutes=5, seconds=1)


def test_a_slow_shop_is_left_to_itself(shop: Shop) -> None:
    gate, lines = threading.Event(), SideBySide(patience=0.2)
    try:
        assert lines.run({shop.pk: lambda: gate.wait(10) and 1, shop.pk + 1: lambda: 2}) == 2
        assert lines.busy() == [shop.pk]
        notice(shop)
        assert outbox.claim_out(limit=9, now=clock_now(), busy=lines.busy()) == []
    finally:
        gate.set()


def test_a_no_is_final_and_seen(shop: Shop, line: Line) -> None:
    message = notice(shop)
    line.answers = [no("订单已\x00关闭")]
    sending.send_out()
    message.refresh_from_db()
    assert message.state == "dead"
    assert "订单已关闭" in message.error
    assert sending.send_out(now=clock_now() + timedelta(days=1)) == "0 messages delivered"
    assert StageTask.objects.get().state == "open"


def test_after_three_days_a_notice_is_given_up_and_seen(shop: Shop, line: Line) -> None:
    young = notice(shop, created_at=clock_now() - timedelta(hours=71))
    old = notice(shop, "ship:2", created_at=clock_now() - timedelta(hours=73))
    line.answers = [later(outcome_unknown=True), later()]
    sending.send_out()
    young.refresh_from_db()
    old.refresh_from_db()
    assert (young.state, old.state) == ("waiting", "dead")


def test_a_fault_of_our_own_puts_a_notice_off_and_holds_up_no_other(shop: Shop, line: Line) -> None:
    first, second = notice(shop), notice(shop, "ship:2")
    line.answers = [KeyError("bug")]
    assert sending.send_out() == "1 messages delivered"
    first.refresh_from_db()
    second.refresh_from_db()
    assert (first.state, second.state) == ("waiting", "done")
    assert "KeyError" in first.error


def test_a_notice_in_hand_is_given_back_by_time_when_its_worker_dies(shop: Shop) -> None:
    notice(shop)
    now = clock_now()
    assert len(outbox.claim_out(limit=10, now=now)) == 1
    assert outbox.claim_out(limit=10, now=now) == []
    assert len(outbox.claim_out(limit=10, now=now + outbox.LEASE)) == 1


def test_one_thing_is_queued_once_whoever_asks(shop: Shop) -> None:
    for _ in range(3):
        outbox.queue_out(
            OutboundMessage.Kind.SHIP, shop_id=shop.pk, order_id=1, key="ship:P:W", payload={},
            now=clock_now(),
        )  # fmt: skip
    assert OutboundMessage.objects.count() == 1
