"""The outbox: what a platform must be told arrives, and has its effect once."""

from datetime import timedelta
from typing import Any

import pytest

from channels_sync import outbox
from channels_sync.contracts import ErrorClass, PlatformError, Rejected, ShipNotice, TryLater
from channels_sync.models import OutboundMessage
from fulfillment.models import StageTask
from ordercenter.audit.models import AuditRecord
from ordercenter.catalog.models import Shop
from ordercenter.core.clock import now as clock_now
from ordercenter.orders.models import SalesOrder
from ordercenter.pipeline import sending
from tests.factories import (
    OutboundMessageFactory,
    SalesOrderFactory,
    ShopCredentialFactory,
    ShopFactory,
    StageTaskFactory,
)
from tests.pipeline.seller import versions

pytestmark = pytest.mark.django_db


class Line:
    """A connector that answers what the test says; ``calls`` is what it was told."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.calls: list[Any] = []

    def ship(self, notice: ShipNotice) -> None:
        self.calls.append(notice)
        answer = self.answers.pop(0) if self.answers else None
        if isinstance(answer, Exception):
            raise answer


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
    order = SalesOrder.objects.get(pk=message.order_id)
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
    assert waits == [5, 10, 20, 40, 80, 160]
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


def test_an_outcome_nobody_knows_is_told_again_with_the_same_key(shop: Shop, line: Line) -> None:
    message = notice(shop)
    notice(shop, "ship:2")
    line.answers = [later(outcome_unknown=True)]
    assert sending.send_out() == "1 messages delivered"
    message.refresh_from_db()
    sending.send_out(now=message.due_at)
    assert [sent.key for sent in line.calls] == ["ship:1", "ship:2", "ship:1"]
    assert AuditRecord.objects.filter(action="write_back_done").count() == 2


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
    line.answers = [later(outcome_unknown=True)] * 2
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
