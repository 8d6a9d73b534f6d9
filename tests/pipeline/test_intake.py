"""The inbox is worked off whole: a poisoned message stands alone, everything else goes on."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, OperationalError, transaction

from channels_sync import services as channels
from channels_sync.connectors.strict_json import dump_compact
from channels_sync.contracts import MessageKind, RawMessage
from channels_sync.models import InboxMessage
from ordercenter.audit.models import AuditRecord
from ordercenter.core.clock import now as clock_now
from ordercenter.core.errors import InvalidInput, NotAllowed, NotFound
from ordercenter.core.policy import Role
from ordercenter.orders.models import SalesOrder
from ordercenter.pipeline import drafts, intake, path
from ordercenter.pipeline.work import Work
from tests.channels_sync.platforms import Taobao
from tests.factories import ShopFactory, user_with
from tests.pipeline.seller import Seller, as_person

pytestmark = pytest.mark.django_db
POISON = f"{2600000000000000000 + 77}"


def trade(n: int) -> dict[str, Any]:
    """One paid Taobao order; number 77 is the one the tests poison."""
    order = Taobao().order(n)
    order["tid"] = 2600000000000000000 + n
    order["tid_str"] = str(order["tid"])
    for line in order["orders"]["order"]:
        line["outer_sku_id"] = "SOFA"
        line["sku_id"] = ""
    return order


def fill(seller: Seller, count: int) -> None:
    messages = [
        RawMessage(MessageKind.ORDER, dump_compact(trade(n)), str(2600000000000000000 + n))
        for n in range(count)
    ]
    channels.store(messages, source=InboxMessage.Source.POLL, shop_id=seller.shop.pk)


def poisoned() -> InboxMessage:
    return InboxMessage.objects.get(channel_number=POISON)


def when(number: str, error: Callable[[], Exception], real: Callable[..., Any]) -> Any:
    """Something that fails for one order only, wherever it stands in the batch."""

    def step(works: list[Work], *args: Any, **kwargs: Any) -> Any:
        if any(work.channel_number == number for work in works):
            raise error()
        return real(works, *args, **kwargs)

    return step


def states() -> dict[str, int]:
    found: dict[str, int] = {}
    for state in InboxMessage.objects.values_list("state", flat=True):
        found[state] = found.get(state, 0) + 1
    return found


def test_a_batch_of_two_hundred_is_one_pass(seller: Seller) -> None:
    seller.receive("SOFA", 1000)
    fill(seller, 200)
    passed = intake.run()
    assert (passed.messages, passed.orders, passed.parked) == (200, 200, 0)
    assert states() == {"done": 200}
    assert SalesOrder.objects.count() == 200


def test_one_poisoned_message_is_parked_and_the_199_others_go_on(
    seller: Seller, monkeypatch: pytest.MonkeyPatch
) -> None:
    seller.receive("SOFA", 1000)
    fill(seller, 200)
    monkeypatch.setattr(path, "check", when(POISON, lambda: ValueError("a bug"), path.check))
    passed = intake.run()
    assert passed.parked == 1
    assert states() == {"done": 199, "dead": 1}
    assert SalesOrder.objects.count() == 199
    assert not SalesOrder.objects.filter(channel_number=POISON).exists()
    message = poisoned()
    assert message.error == "处理失败：ValueError"
    assert json.loads(bytes(message.body))["tid"] == int(POISON)


def test_a_bug_in_reading_parks_its_message_alone(
    seller: Seller, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(seller, 80)
    real = intake.reader("taobao").read

    class Reader:
        def read(self, body: bytes) -> Any:
            if POISON.encode() in body:
                raise KeyError("a bug")
            return real(body)

    monkeypatch.setattr(intake, "reader", lambda *_: Reader())
    intake.run()
    assert states() == {"done": 79, "dead": 1}
    assert poisoned().error == "处理失败：KeyError"


def test_what_cannot_be_read_is_parked_with_the_reason_and_its_bytes(seller: Seller) -> None:
    fill(seller, 3)
    broken = RawMessage(MessageKind.ORDER, b'{"tid": 12', "12")
    channels.store([broken], source=InboxMessage.Source.POLL, shop_id=seller.shop.pk)
    passed = intake.run()
    assert (passed.messages, passed.orders, passed.parked) == (4, 3, 1)
    message = InboxMessage.objects.get(state="dead")
    assert bytes(message.body) == broken.body
    assert message.error
    assert message.done_at is not None


@pytest.mark.parametrize("error", [OperationalError, IntegrityError])
def test_a_passing_trouble_of_the_database_is_tried_again_at_once(
    seller: Seller, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    fill(seller, 20)
    real, failures = path.check, [error("deadlock detected")]

    def check(works: Any) -> None:
        if failures:
            raise failures.pop()
        real(works)

    monkeypatch.setattr(path, "check", check)
    passed = intake.run()
    assert (passed.orders, states()) == (20, {"done": 20})


def test_a_trouble_that_stays_waits_longer_each_time_and_is_dead_after_eight_tries(
    seller: Seller, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(seller, 78)
    monkeypatch.setattr(
        path, "check", when(POISON, lambda: OperationalError("lock timeout"), path.check)
    )
    now, waits = clock_now(), []
    for attempt in range(1, 12):
        monkeypatch.setattr(intake, "clock_now", lambda at=now: at)
        monkeypatch.setattr(channels, "clock_now", lambda at=now: at)
        intake.run()
        message = poisoned()
        assert message.attempts == min(attempt, 8)
        if message.state == "dead":
            break
        assert message.leased_until is not None
        waits.append((message.leased_until - now).total_seconds())
        now = message.leased_until + timedelta(seconds=1)
    assert poisoned().state == "dead"
    assert poisoned().error == "处理失败：OperationalError"
    assert waits == [1, 2, 4, 8, 16, 32, 64]
    assert states() == {"done": 77, "dead": 1}


def test_a_waiting_message_is_not_taken_before_its_time(
    seller: Seller, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(seller, 78)
    monkeypatch.setattr(path, "check", when(POISON, lambda: OperationalError(""), path.check))
    intake.run()
    assert intake.run().messages == 0
    assert poisoned().attempts == 1


def test_text_the_database_cannot_keep_ends_in_quarantine_not_in_a_loop(seller: Seller) -> None:
    order = trade(1)
    order["orders"]["order"][0]["oid_str"] = "1\x002"
    order["buyer_message"] = "a\x00b"
    body = json.dumps(order).encode()
    channels.store(
        [RawMessage(MessageKind.ORDER, body)], source=InboxMessage.Source.POLL,
        shop_id=seller.shop.pk,
    )  # fmt: skip
    intake.run()
    message = InboxMessage.objects.get()
    assert message.state in {"dead", "done"} or message.attempts == 1


def test_the_same_bytes_twice_are_one_message(seller: Seller) -> None:
    fill(seller, 10)
    fill(seller, 20)
    assert InboxMessage.objects.count() == 20


def test_the_same_bytes_in_two_shops_are_two(seller: Seller) -> None:
    message = RawMessage(MessageKind.ORDER, b"{}")
    for shop in (seller.shop, ShopFactory.create()):
        assert channels.store([message], source=InboxMessage.Source.POLL, shop_id=shop.pk) == 1


def test_a_quarantined_message_can_be_played_again_by_a_supervisor(
    seller: Seller, monkeypatch: pytest.MonkeyPatch
) -> None:
    seller.receive("SOFA", 1000)
    fill(seller, 78)
    with monkeypatch.context() as broken:
        broken.setattr(path, "check", when(POISON, lambda: ValueError(""), path.check))
        intake.run()
    message = poisoned()
    clerk, boss = user_with(Role.CLERK), user_with(Role.WAREHOUSE_SUPERVISOR)
    with pytest.raises(NotAllowed):
        intake.replay(message.pk, user=clerk, actor=as_person(clerk), reason="程序已修复")
    intake.replay(message.pk, user=boss, actor=as_person(boss), reason="程序已修复")
    assert (poisoned().state, poisoned().attempts) == ("new", 0)
    intake.run()
    assert SalesOrder.objects.filter(channel_number=POISON).exists()
    assert AuditRecord.objects.get(action="message_replayed").object_id == message.pk
    with pytest.raises(NotFound):
        intake.replay(message.pk, user=boss, actor=as_person(boss), reason="再来一次")


def test_a_failure_is_logged_without_a_receiver(
    seller: Seller, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fill(seller, 1)
    receiver = trade(0)["receiver_address"]
    real = drafts.fresh_work

    def broken(*args: Any, **kwargs: Any) -> Work:
        real(*args, **kwargs)
        raise ValueError

    monkeypatch.setattr(intake, "fresh_work", broken)
    intake.run()
    assert "ValueError" in caplog.text
    assert receiver not in caplog.text


def test_the_bytes_of_a_message_never_change(seller: Seller) -> None:
    fill(seller, 1)
    with pytest.raises(IntegrityError), transaction.atomic():
        InboxMessage.objects.update(body=b"x")


# --- replays --------------------------------------------------------------------------------


def replayed(message: InboxMessage) -> None:
    user = user_with(Role.OPERATIONS_SUPERVISOR)
    intake.replay(message.pk, user=user, actor=as_person(user), reason="字段已改好")


def unreadable(body: bytes) -> InboxMessage:
    shop = ShopFactory.create(channel="crm_webhook")
    pushed = RawMessage(MessageKind.UNREADABLE, body)
    channels.store([pushed], source=InboxMessage.Source.PUSH, shop_id=shop.pk)
    return InboxMessage.objects.get()


def test_a_push_nobody_could_read_is_cut_again_once_it_can_be() -> None:
    body = json.dumps({"event": "order.paid", "event_id": "e1", "order": {"order_no": "P1"}})
    message = unreadable(body.encode())
    replayed(message)
    assert InboxMessage.objects.get(pk=message.pk).state == "done"
    cut = InboxMessage.objects.exclude(pk=message.pk).get()
    assert (cut.kind, cut.state, cut.channel_number, cut.event_id) == ("order", "new", "P1", "e1")


def test_a_push_that_still_says_nothing_stays_where_it_is() -> None:
    message = unreadable(b"{")
    with pytest.raises(InvalidInput, match="仍无法识别"):
        replayed(message)
    assert InboxMessage.objects.get().state == "dead"


def test_batches_get_smaller_while_they_are_slow_and_grow_again() -> None:
    pace = intake.Pace()
    for _ in range(12):
        pace.took(pace.limit, pace.limit * 0.01)  # a hundred a second
    assert 40 <= pace.limit <= 60
    for _ in range(12):
        pace.took(pace.limit, pace.limit * 0.0005)  # two thousand a second
    assert pace.limit == intake.BATCH
    pace.took(1, 60.0)
    assert pace.limit >= intake.SMALLEST
    was = pace.limit
    pace.took(0, 60.0)
    assert pace.limit == was
