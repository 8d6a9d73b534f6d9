"""A stretch of the past is read again, behind live orders, with its progress to be seen."""

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError

from channels_sync import services as channels
from channels_sync.contracts import (
    ErrorClass,
    Feed,
    MessageKind,
    Page,
    PlatformError,
    RawMessage,
    Rejected,
    TryLater,
    Window,
)
from channels_sync.models import Backfill, FeedCursor, InboxMessage
from ordercenter.audit.models import Action, AuditRecord
from ordercenter.catalog.models import Shop
from ordercenter.core.actor import Actor
from ordercenter.core.clock import now as clock_now
from ordercenter.core.errors import InvalidInput, NotAllowed
from ordercenter.core.policy import Role
from ordercenter.pipeline import backfills, lines
from tests.factories import ShopCredentialFactory, ShopFactory, SyncCursorFactory, user_with

pytestmark = pytest.mark.django_db
NOW = clock_now()
MINUTE = timedelta(minutes=1)


class Platform:
    """One order every ten minutes; fails as it is told, call by call."""

    feeds = (Feed("orders", 86_400, 60), Feed("refunds", 86_400, 60))

    def __init__(self) -> None:
        self.windows: list[tuple[str, Window]] = []
        self.failures: list[Exception] = []

    def pull(self, feed: str, window: Window) -> Iterator[Page]:
        self.windows.append((feed, window))
        if self.failures:
            raise self.failures.pop(0)
        if feed == "orders":
            stamp = json.dumps({"at": window.start.isoformat()}).encode()
            yield Page((RawMessage(MessageKind.ORDER, stamp, window.start.isoformat()),), 1)


@pytest.fixture
def platform(monkeypatch: pytest.MonkeyPatch) -> Platform:
    made = Platform()
    monkeypatch.setattr(backfills, "connector_for", lambda *_: made)
    return made


@pytest.fixture
def shop() -> Shop:
    made: Shop = ShopFactory.create()
    ShopCredentialFactory.create(shop=made)
    SyncCursorFactory.create(shop=made)
    return made


def ask(shop: Shop, minutes: int = 90) -> Backfill:
    user = user_with(Role.IT)
    end = NOW - timedelta(hours=5)
    return lines.ask_backfill(
        shop.pk, start=end - minutes * MINUTE, end=end, user=user, actor=Actor.person(user),
        reason="昨晚断线",
    )  # fmt: skip


def run_all() -> Backfill:
    for turn in range(20):
        backfills.work_backfills(now=clock_now() + turn * timedelta(minutes=10))
    return Backfill.objects.get()


def test_the_stretch_is_read_slice_by_slice_and_its_progress_shows(
    shop: Shop, platform: Platform
) -> None:
    row = ask(shop)
    seen = []
    for _ in range(3):
        backfills.work_backfills()
        row.refresh_from_db()
        seen.append((row.state, row.percent, row.messages, row.new))
    assert seen == [("running", 33, 1, 1), ("running", 66, 2, 2), ("done", 100, 3, 3)]
    starts = [window.start for feed, window in platform.windows if feed == "orders"]
    assert starts[0] == row.start
    assert platform.windows[-1][1].end == row.end
    assert backfills.work_backfills() == "nothing to read again"


def test_what_it_brings_waits_behind_live_orders(shop: Shop, platform: Platform) -> None:
    ask(shop, minutes=30)
    backfills.work_backfills()
    live = RawMessage(MessageKind.ORDER, b"{}", "live")
    channels.store([live], source=InboxMessage.Source.PUSH, shop_id=shop.pk)
    first, second = channels.claim([MessageKind.ORDER], limit=2)
    assert (first.channel_number, second.lane) == ("live", InboxMessage.Lane.BULK)


def test_read_again_it_says_that_nothing_was_new(shop: Shop, platform: Platform) -> None:
    ask(shop, minutes=30)
    run_all()
    Backfill.objects.update(state="waiting", position=NOW - timedelta(hours=5, minutes=30), new=0)
    assert run_all().new == 0
    assert InboxMessage.objects.count() == 1


def test_it_moves_no_cursor(shop: Shop, platform: Platform) -> None:
    cursor = FeedCursor.objects.create(shop=shop, feed="orders", position=NOW)
    ask(shop)
    run_all()
    cursor.refresh_from_db()
    assert cursor.position == NOW


def later() -> TryLater:
    return TryLater(PlatformError(ErrorClass.PLATFORM, "50", "平台繁忙"))


def test_a_platform_that_is_away_is_waited_for_and_the_slice_read_again(
    shop: Shop, platform: Platform
) -> None:
    ask(shop)
    platform.failures = [later(), later()]
    backfills.work_backfills()
    row = Backfill.objects.get()
    assert (row.state, row.error, row.percent) == ("running", "平台繁忙", 0)
    assert backfills.work_backfills() == "nothing to read again"
    row = run_all()
    assert (row.state, row.error, row.messages) == ("done", "", 3)


def test_what_the_platform_refuses_for_good_ends_it_in_words(
    shop: Shop, platform: Platform
) -> None:
    ask(shop)
    platform.failures = [Rejected(PlatformError(ErrorClass.AUTH, "27", "授权已失效"))]
    backfills.work_backfills()
    row = Backfill.objects.get()
    assert (row.state, row.error) == ("failed", "授权已失效")
    assert row.done_at is not None


def test_a_worker_that_died_gives_its_slice_back(shop: Shop, platform: Platform) -> None:
    ask(shop)
    assert backfills._take(NOW) is not None
    assert backfills._take(NOW) is None
    assert backfills._take(NOW + backfills.LEASE) is not None


def test_a_full_inbox_is_not_filled_further(
    shop: Shop, platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backfills, "MOST_WAITING", 1)
    ask(shop)
    backfills.work_backfills()
    assert backfills.work_backfills() == "the inbox has enough to work on"
    InboxMessage.objects.update(state="done", done_at=NOW)
    backfills.work_backfills()
    assert Backfill.objects.get().percent == 66


def test_canceled_it_stops_and_keeps_what_it_has(shop: Shop, platform: Platform) -> None:
    row = ask(shop)
    backfills.work_backfills()
    user = user_with(Role.IT)
    for _ in range(2):  # a second click changes nothing
        lines.cancel_backfill(row.pk, user=user, actor=Actor.person(user))
    assert run_all().state == "canceled"
    assert InboxMessage.objects.count() == 1
    assert AuditRecord.objects.filter(action=Action.LINE_CHANGED).count() == 2


def test_one_at_a_time_a_shop(shop: Shop, platform: Platform) -> None:
    row = ask(shop)
    with pytest.raises(InvalidInput, match="已有补拉任务"):
        ask(shop)
    with pytest.raises(IntegrityError):
        Backfill.objects.create(
            shop=shop, start=row.start, end=row.end, position=row.start, created_at=NOW
        )


@pytest.mark.parametrize(
    "span", [(NOW, NOW - MINUTE), (NOW, NOW), (NOW + timedelta(days=1), NOW + timedelta(days=2)),
             (NOW - timedelta(days=200), NOW)],
)  # fmt: skip
def test_a_span_that_makes_no_sense_is_refused(shop: Shop, span: tuple[Any, Any]) -> None:
    user = user_with(Role.IT)
    with pytest.raises(InvalidInput):
        lines.ask_backfill(shop.pk, start=span[0], end=span[1], user=user, actor=Actor.person(user))


def test_who_may_not_touch_shops_may_not_ask(shop: Shop) -> None:
    user = user_with(Role.OPERATIONS_SUPERVISOR)
    with pytest.raises(NotAllowed):
        lines.ask_backfill(
            shop.pk, start=NOW - MINUTE, end=NOW, user=user, actor=Actor.person(user)
        )
