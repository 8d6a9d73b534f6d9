"""Both ends of the wire: polls that lose nothing, hints, trouble that shows."""

import json
import threading
from datetime import datetime, timedelta
from functools import partial
from itertools import pairwise
from typing import Any

import httpx
import pytest
from django.contrib.auth.models import User

from channels_sync import services as channels
from channels_sync.connectors.exchange import make_client
from channels_sync.contracts import (
    ErrorClass,
    Feed,
    MessageKind,
    PlatformError,
    RawMessage,
    Rejected,
    TryLater,
)
from channels_sync.line import ShopLine
from channels_sync.models import (
    FeedCursor,
    InboxMessage,
    OutboundMessage,
    ShopCredential,
    SyncCursor,
)
from fulfillment.carriers.account import speaking
from fulfillment.contracts import Contact, Goods, WaybillRequest
from fulfillment.models import CarrierAccount, Parcel, StageTask, Waybill
from ordercenter.catalog.models import Shop
from ordercenter.core.actor import Actor
from ordercenter.core.clock import now as clock_now
from ordercenter.orders.models import SalesOrder
from ordercenter.pipeline import calling, couriers, demo, intake, pulling, sending, stages
from tests.channels_sync.platforms import Taobao
from tests.factories import (
    ShopCredentialFactory,
    ShopFactory,
    SyncCursorFactory,
    WaybillFactory,
)
from tests.pipeline.lines import SELLER, URL, ask, connected, sandbox
from tests.sandbox.callers import Bench

pytestmark = pytest.mark.django_db
MINUTE = timedelta(minutes=1)


# --- polling --------------------------------------------------------------------------------------


@pytest.fixture
def shop() -> Shop:
    """A Taobao shop read ten minutes ago."""
    made: Shop = ShopFactory.create(channel="taobao")
    ShopCredentialFactory.create(shop=made, base_url="https://gateway.example")
    now = clock_now()
    SyncCursorFactory.create(shop=made, next_due_at=now, interval_seconds=60)
    for feed in ("orders", "refunds"):
        FeedCursor.objects.create(
            shop=made, feed=feed, position=now - 10 * MINUTE, deep_at=now + timedelta(days=9)
        )
    return made


def cursor() -> SyncCursor:
    return SyncCursor.objects.get()


def position(feed: str = "orders") -> datetime:
    return FeedCursor.objects.get(feed=feed).position


def poll(shop: Shop, answer: Any, now: datetime | None = None) -> str:
    """Poll with a platform that answers so; a Platform answers for itself."""
    handler = answer._handle if isinstance(answer, Taobao) else lambda request: _say(answer)
    with connected(handler):
        return pulling.poll_shop(shop.pk, now=now)


def _say(answer: Any) -> httpx.Response:
    if isinstance(answer, Exception):
        raise answer
    if isinstance(answer, httpx.Response):
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)
    return httpx.Response(200, json=answer)


def test_a_poll_stores_every_order_and_moves_the_cursor_behind_now(shop: Shop) -> None:
    before, now = position(), clock_now()
    assert poll(shop, Taobao(orders=250, refunds=3), now) == "253 new of 253 messages"
    after = cursor()
    assert before < position() < now
    assert after.next_due_at == now + MINUTE
    assert (after.failures, after.leased_until) == (0, None)
    assert after.last_ok_at is not None
    assert InboxMessage.objects.filter(kind="order", source="poll").count() == 250


def test_polling_again_stores_nothing_twice(shop: Shop) -> None:
    platform = Taobao(orders=30)
    poll(shop, platform)
    assert poll(shop, platform) == "0 new of 30 messages"


def test_windows_overlap_and_reach_from_the_cursor_to_now(shop: Shop) -> None:
    platform, now = Taobao(orders=1), clock_now()
    FeedCursor.objects.update(position=now - timedelta(days=3))
    poll(shop, platform, now)
    asked = {
        (query["start_modified"], query["end_modified"])
        for method, query in platform.calls
        if method == platform.list_method
    }
    spans = sorted(asked)
    assert len(spans) >= 72  # steps of an hour, each leaving its mark
    for (_, end), (start, _) in pairwise(spans):
        overlap = datetime.fromisoformat(end) - datetime.fromisoformat(start)
        assert overlap >= MINUTE


def test_a_window_that_ends_among_the_unsettled_leaves_no_gap_behind_it(shop: Shop) -> None:
    """Half an hour at most, read deep: the first window ends two minutes before now."""
    now = clock_now()
    feed = Feed("orders", 30 * 60, 180)
    there = now - timedelta(minutes=12)
    FeedCursor.objects.filter(feed="orders").update(position=there, deep_at=None)
    first, second = pulling._windows(shop.pk, feed, now=now)
    assert now - first.end < timedelta(seconds=feed.settle_seconds)
    settled = now - timedelta(seconds=feed.settle_seconds)
    assert settled - second.start >= MINUTE


def test_an_empty_window_moves_the_cursor(shop: Shop) -> None:
    before = position()
    assert poll(shop, Taobao()) == "0 new of 0 messages"
    assert position() > before


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that fails is repeated at once; test_line.py shows how long it waits."""
    monkeypatch.setattr(calling, "ShopLine", partial(ShopLine, sleep=lambda _seconds: None))


TROUBLES = {
    "an error in a 200": (
        {"error_response": {"code": 15, "msg": "Remote service error",
                            "sub_code": "isp.top-remote-connection-timeout", "sub_msg": "超时"}},
        "platform",
    ),
    "a token that has run out": (
        {"error_response": {"code": 27, "msg": "Invalid session",
                            "sub_code": "invalid-sessionkey", "sub_msg": "SessionKey非法"}},
        "auth",
    ),
    "too many calls": (
        {"error_response": {"code": 7, "msg": "App Call Limited",
                            "sub_code": "accesscontrol.limited-by-api-access-count",
                            "sub_msg": "This ban will last for 1 more seconds"}},
        "rate_limited",
    ),
    "half a body": (httpx.Response(200, content=b'{"trades_sold_increment_get_resp'), "platform"),
    "a page of HTML": (httpx.Response(200, text="<html>系统繁忙</html>"), "platform"),
    "nothing": (httpx.Response(200, content=b""), "platform"),
    "an empty object": ({}, "platform"),
    "a list": (httpx.Response(200, content=b"[]"), "platform"),
    "a broken gateway": (httpx.Response(502, text="bad gateway"), "platform"),
    "silence": (httpx.ReadTimeout("silence"), "platform"),
    "no line": (httpx.ConnectError("refused"), "platform"),
    "a redirect": (httpx.Response(302, headers={"location": "http://evil.example"}), "platform"),
}  # fmt: skip


@pytest.mark.usefixtures("no_pauses")
@pytest.mark.parametrize("trouble", TROUBLES)
def test_a_poll_that_fails_leaves_the_cursor_and_shows_why(shop: Shop, trouble: str) -> None:
    answer, klass = TROUBLES[trouble]
    before, now = position(), clock_now()
    poll(shop, answer, now)
    after = cursor()
    assert position() == before
    assert after.failures == 1
    assert after.error_class == klass
    assert after.error_code
    assert after.error_message
    assert after.last_error_at == now
    assert after.next_due_at > now
    assert after.leased_until is None
    assert not InboxMessage.objects.exists()


@pytest.mark.usefixtures("no_pauses")
def test_failures_wait_longer_each_time_and_a_success_forgets_them(shop: Shop) -> None:
    now, waits = clock_now(), []
    for _ in range(8):
        poll(shop, TROUBLES["an error in a 200"][0], now)
        waits.append((cursor().next_due_at - now).total_seconds())
        assert not pulling.is_stale(shop.pk, now=now)
        now = cursor().next_due_at
    assert waits == [60, 120, 240, 480, 600, 600, 600, 600]
    poll(shop, Taobao(orders=1), now)
    after = cursor()
    assert (after.failures, after.error_class, after.error_code) == (0, "", "")
    assert after.next_due_at == now + MINUTE


def test_a_page_that_breaks_leaves_what_was_read_and_the_cursor(shop: Shop) -> None:
    platform, before = Taobao(orders=250), position()

    def break_the_last(method: str, query: dict[str, str]) -> None:
        if query.get("page_no") == "1" and query.get("use_has_next") == "true":
            raise httpx.ReadTimeout("silence")

    platform.before = break_the_last
    poll(shop, platform)
    assert position() == before
    platform.before = lambda method, query: None
    poll(shop, platform)
    assert position() > before
    assert InboxMessage.objects.count() == 250


def test_rows_that_will_not_stand_still_are_read_behind_a_frozen_end(shop: Shop) -> None:
    """A platform whose clock is behind ours keeps changed rows inside a window up to now."""
    platform, now, before = Taobao(orders=250), clock_now(), position()
    ordinary = platform.answer

    def restless(method: str, query: Any) -> dict[str, Any]:
        """Up to now a page hides what moved off it; behind it all stand still."""
        end = datetime.fromisoformat(query["end_modified"] + "+08:00")
        if method == platform.list_method and query["page_no"] == "2" and now - end < MINUTE:
            kept, platform.orders = platform.orders, platform.orders[:100] + platform.orders[160:]
            try:
                return ordinary(method, query)
            finally:
                platform.orders = kept
        return ordinary(method, query)

    platform.answer = restless  # type: ignore[method-assign]
    poll(shop, platform, now)
    assert (cursor().failures, cursor().error_code) == (0, "")
    assert InboxMessage.objects.filter(kind="order").count() == 250
    assert before < position() <= now - 3 * MINUTE


def test_a_fault_of_our_own_shows_on_the_shop_as_well(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channels, "store", lambda *_, **__: 1 / 0)
    assert poll(shop, Taobao(orders=1)) == "TryLater ZeroDivisionError"
    assert (cursor().error_code, cursor().failures) == ("ZeroDivisionError", 1)


def test_a_shop_without_credentials_says_so(shop: Shop) -> None:
    ShopCredential.objects.all().delete()
    poll(shop, Taobao())
    assert (cursor().error_class, cursor().error_code) == ("auth", "no_credential")


def test_a_shop_is_read_by_one_worker_at_a_time(shop: Shop) -> None:
    now = clock_now()
    assert pulling._lease(shop.pk, now=now)
    assert poll(shop, Taobao(orders=3), now) == "another worker reads this shop"
    assert pulling.due_shops(now=now) == []
    late = now + pulling.POLL_LEASE
    assert pulling.due_shops(now=late) == [shop.pk]
    assert poll(shop, Taobao(orders=3), late) == "3 new of 3 messages"


@pytest.mark.parametrize("ahead", [timedelta(0), timedelta(hours=1)])
def test_the_cursor_never_goes_back(shop: Shop, ahead: timedelta) -> None:
    there = clock_now() + ahead
    FeedCursor.objects.update(position=there)
    poll(shop, Taobao(orders=1))
    assert position() == there
    assert cursor().failures == 0


def test_a_nudge_too_many_reads_nothing(shop: Shop) -> None:
    now = clock_now()
    poll(shop, Taobao(), now)
    assert not pulling.is_stale(shop.pk, now=now + timedelta(seconds=59))
    assert pulling.is_stale(shop.pk, now=now + timedelta(seconds=60))
    Shop.objects.update(is_active=False)
    assert pulling.due_shops(now=now + timedelta(hours=1)) == []


# --- hints ----------------------------------------------------------------------------------------


class Line:
    """A connector that answers what the test says; ``calls`` is what it was asked."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.calls: list[Any] = []

    def _next(self, asked: Any) -> Any:
        self.calls.append(asked)
        answer = self.answers.pop(0) if self.answers else None
        if isinstance(answer, Exception):
            raise answer
        return answer

    def fetch(self, number: str) -> RawMessage:
        body = self._next(number) or json.dumps({"order": number}).encode()
        return RawMessage(MessageKind.ORDER, body, number)


@pytest.fixture
def line(monkeypatch: pytest.MonkeyPatch) -> Line:
    made = Line()
    monkeypatch.setattr(pulling, "connector_for", lambda *_: made)
    return made


def later(message: str = "busy", **more: Any) -> TryLater:
    wait = more.pop("wait", None)
    fault = PlatformError(ErrorClass.PLATFORM, "50", message, retry_after_seconds=wait)
    return TryLater(fault, **more)


def no(message: str = "发货失败") -> Rejected:
    return Rejected(PlatformError(ErrorClass.BUSINESS, "60", message))


def hint(shop: Shop, number: str, event: str) -> None:
    message = RawMessage(MessageKind.EVENT, event.encode(), number, event)
    channels.store([message], source=InboxMessage.Source.PUSH, shop_id=shop.pk)


def test_many_hints_at_one_order_are_one_question(shop: Shop, line: Line) -> None:
    for event in ("e1", "e2", "e3"):
        hint(shop, "7", event)
    hint(shop, "8", "e4")
    assert pulling.fetch_hints() == "2 orders fetched for 4 hints"
    assert line.calls == ["7", "8"]
    assert InboxMessage.objects.filter(kind="event", state="done").count() == 4
    assert InboxMessage.objects.filter(kind="order", source="fetch", state="new").count() == 2


def test_an_order_the_platform_does_not_show_yet_is_asked_for_again(shop: Shop, line: Line) -> None:
    hint(shop, "7", "e1")
    line.answers = [no("not found"), None]
    now = clock_now()
    pulling.fetch_hints(now=now)
    message = InboxMessage.objects.get(kind="event")
    assert (message.state, message.attempts) == ("new", 1)
    assert "not found" in message.error
    pulling.fetch_hints(now=now + MINUTE)
    assert InboxMessage.objects.get(kind="event").state == "done"


def test_a_hint_is_given_up_after_eight_tries_and_seen(shop: Shop, line: Line) -> None:
    hint(shop, "7", "e1")
    line.answers = [no("not found")] * 20
    now = clock_now()
    for _ in range(12):
        pulling.fetch_hints(now=now)
        now += 10 * MINUTE
    message = InboxMessage.objects.get()
    assert (message.state, message.attempts, len(line.calls)) == ("dead", 8, 8)


def test_a_platform_that_is_away_for_a_day_costs_no_hint(shop: Shop, line: Line) -> None:
    hint(shop, "7", "e1")
    line.answers = [later()] * 20
    now = clock_now()
    for _ in range(20):
        pulling.fetch_hints(now=now)
        now += 72 * MINUTE
    assert (InboxMessage.objects.get().state, InboxMessage.objects.get().attempts) == ("new", 0)
    pulling.fetch_hints(now=now)
    assert InboxMessage.objects.get(kind="event").state == "done"


def test_a_platform_that_names_a_wait_is_asked_nothing_more_before_it(
    shop: Shop, line: Line
) -> None:
    hint(shop, "7", "e1")
    hint(shop, "8", "e2")
    line.answers = [later(wait=30)]
    now = clock_now()
    pulling.fetch_hints(now=now)
    assert line.calls == ["7"]
    pulling.fetch_hints(now=now + timedelta(seconds=20))
    assert line.calls == ["7"]
    pulling.fetch_hints(now=now + MINUTE)
    assert line.calls == ["7", "7", "8"]


def test_what_is_told_again_of_the_past_waits_behind_what_happens_now(
    shop: Shop, line: Line
) -> None:
    now = clock_now()
    old = RawMessage(MessageKind.EVENT, b"old", "7", "e1", now - timedelta(hours=9))
    channels.store([old], source=InboxMessage.Source.PUSH, shop_id=shop.pk)
    hint(shop, "8", "e2")
    assert pulling.fetch_hints() == "2 orders fetched for 2 hints"
    assert line.calls == ["8", "7"]
    lanes = dict(InboxMessage.objects.filter(kind="order").values_list("channel_number", "lane"))
    assert lanes == {"8": InboxMessage.Lane.LIVE, "7": InboxMessage.Lane.BULK}


@pytest.mark.django_db(transaction=True)
def test_many_waiting_orders_of_one_shop_are_asked_for_side_by_side(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Four lines meet at a barrier that one line alone would wait at for ever."""
    shop = ShopFactory.create(channel="taobao")
    ShopCredentialFactory.create(shop=shop)
    gate = threading.Barrier(pulling.LINES_A_SHOP, timeout=20)
    asked: list[str] = []

    class Slow(Line):
        def fetch(self, number: str) -> RawMessage:
            if len(asked) < pulling.LINES_A_SHOP:
                asked.append(number)
                gate.wait()
            return super().fetch(number)

    monkeypatch.setattr(pulling, "connector_for", lambda *_: Slow())
    for n in range(40):
        hint(shop, str(n), f"e{n}")
    assert pulling.fetch_hints() == "40 orders fetched for 40 hints"
    assert InboxMessage.objects.filter(kind="order", state="new").count() == 40


def test_a_hint_that_breaks_our_code_holds_up_no_other(shop: Shop, line: Line) -> None:
    hint(shop, "7", "e1")
    hint(shop, "8", "e2")
    line.answers = [KeyError("bug"), None]
    assert pulling.fetch_hints() == "1 orders fetched for 2 hints"
    assert InboxMessage.objects.get(channel_number="7", kind="event").attempts == 1


def test_what_a_poll_has_told_since_is_not_asked_for_again(shop: Shop, line: Line) -> None:
    now = clock_now()
    for number, seconds in (("7", 41), ("8", 39), ("9", -60)):
        told = RawMessage(MessageKind.ORDER, f"order {number}".encode(), number)
        hinted = RawMessage(MessageKind.EVENT, number.encode(), number, f"e{number}")
        at = now + timedelta(seconds=seconds)
        for message, source, when in (
            (hinted, InboxMessage.Source.PUSH, now), (told, InboxMessage.Source.POLL, at),
        ):  # fmt: skip
            channels.store([message], source=source, shop_id=shop.pk, now=when)
    assert pulling.fetch_hints() == "2 orders fetched for 3 hints"
    assert line.calls == ["8", "9"]
    assert InboxMessage.objects.filter(kind="event", state="done").count() == 3


def test_a_hint_nobody_can_read_is_parked(shop: Shop, line: Line) -> None:
    hint(shop, "", "not json")
    pulling.fetch_hints()
    message = InboxMessage.objects.get()
    assert message.state == "dead"
    assert message.error


# --- everything, over the wire of the sandbox -----------------------------------------------------


def test_an_order_of_each_platform_is_sold_read_packed_shipped_told_and_signed() -> None:
    """Eight platforms and a courier, each with a book of its own that must agree in the end."""
    demo.load(SELLER, sandbox_url=URL, password="a-password")
    bench = sandbox()
    sold = {code: bench.sell_paid(code, 2) for code in bench.book.shops}
    now = clock_now()
    with connected(ask(bench)):
        for shop in Shop.objects.all():
            pulling.poll_shop(shop.pk, now=now)
        assert not SyncCursor.objects.exclude(failures=0).exists()
        while intake.run().messages:
            pass
        assert not InboxMessage.objects.exclude(state="done").exists()
        assert SalesOrder.objects.count() == 16
        for order in SalesOrder.objects.filter(status="routed"):
            send(order)
        sending.send_out()
        messages = OutboundMessage.objects.exclude(kind="stock")  # figures go at their own pace
        deaf = messages.filter(shop__channel="crm_webhook")
        assert set(deaf.values_list("state", flat=True)) <= {"unsupported"}  # no wire to be told by
        told_ones = messages.exclude(pk__in=deaf)
        assert set(told_ones.values_list("state", flat=True)) == {"done"}
        shipped = SalesOrder.objects.filter(status="shipped").exclude(shop__channel="crm_webhook")
        assert shipped.count() >= 8
        channels_seen = set(shipped.values_list("shop__channel", flat=True))
        assert len(channels_seen) >= 5
        for order in shipped.select_related("shop"):
            told = bench.book.get(order.shop.code, order.channel_number)
            assert told is not None
            number = Waybill.objects.get(parcel__order=order).number
            assert [one.tracking_number for one in told.shipments] == [number]
        assert {len(orders) for orders in sold.values()} == {2}
        bench.clock.pass_by(540)  # the courier's whole way takes eight minutes
        later = clock_now() + 20 * MINUTE
        while couriers.ask_traces(now=later, quiet=timedelta(0)) != "0 new scans":
            pass
    heard = SalesOrder.objects.exclude(shop__channel="crm_webhook")
    assert set(heard.exclude(status="signed").values_list("status", flat=True)) <= {
        "received", "mapped", "reserved", "cleared",
    }  # fmt: skip
    assert heard.filter(status="signed").count() >= 8
    assert not Parcel.objects.filter(order__in=heard).exclude(state="signed").exists()


def send(order: SalesOrder) -> None:
    """Pick, label and ship one order as the demo's supervisor."""
    boss = User.objects.get(username="zhuguan")
    actor = Actor.person(boss)
    task = StageTask.objects.get(order=order, stage="pick", state="open")
    stages.finish_task(task.pk, user=boss, actor=actor)
    parcel = order.parcels.get()
    waybill = stages.request_label(parcel.pk, user=boss, actor=actor)
    stages.ship_parcel(parcel.pk, user=boss, actor=actor, tracking_number=waybill.number)


def test_a_void_number_goes_back_to_its_carrier_even_if_we_never_heard_it() -> None:
    demo.load(SELLER, sandbox_url=URL, password="a-password")
    bench = sandbox()
    Waybill.objects.all().delete()
    told = WaybillFactory.create(
        state="void", number="", client_reference="P1-W1", voided_at=clock_now() - 3 * MINUTE
    )
    never = WaybillFactory.create(
        state="void", number="", client_reference="P2-W1", voided_at=clock_now() - 3 * MINUTE
    )
    fresh = WaybillFactory.create(
        state="void", number="", client_reference="P3-W1", voided_at=clock_now()
    )
    with connected(ask(bench)):
        order_at_sf(told, bench)
        assert couriers.void_waybills() == "1 waybills given back"
        assert couriers.void_waybills() == "0 waybills given back"
    for waybill in (told, never, fresh):
        waybill.refresh_from_db()
    assert told.number.startswith("SF")
    assert told.void_done_at is not None
    assert never.void_done_at is not None
    assert fresh.void_done_at is None  # its call may still be on its way


def order_at_sf(waybill: Waybill, bench: Bench) -> None:
    """The call that went through although its answer was lost."""
    who = Contact("王小明", "19900000001", "江苏省", "苏州市", "虎丘区", "星湖街1号")
    request = WaybillRequest(waybill.client_reference, who, who, (Goods("靠垫", 1),), 500)
    with make_client(transport=httpx.MockTransport(ask(bench))) as client:
        speaking(CarrierAccount.objects.get(), client).create(request)
