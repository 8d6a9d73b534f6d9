"""Whoever reads much waits for the platform's limit and is let finish, and holds nobody up."""

import ast
import time
from datetime import timedelta

import pytest
from django_q.models import OrmQ, Schedule

from channels_sync import services as channels
from channels_sync.contracts import MessageKind, RawMessage
from channels_sync.models import InboxMessage, SyncCursor
from ordercenter.catalog.models import Shop
from ordercenter.core.clock import now as clock_now
from ordercenter.pipeline import pulling
from ordercenter.pipeline.management.commands.work import nudge_polls
from ordercenter.pipeline.schedules import sync_schedules
from tests.factories import ShopFactory

pytestmark = pytest.mark.django_db
BULK, LIVE = InboxMessage.Lane.BULK, InboxMessage.Lane.LIVE
FEW = 8
"""So few orders that one line asks for them."""


class Platform:
    """Answers after a while, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def fetch(self, number: str) -> RawMessage:
        time.sleep(0.02)
        self.asked.append(number)
        return RawMessage(MessageKind.ORDER, number.encode(), number)


@pytest.fixture
def shop() -> Shop:
    made: Shop = ShopFactory.create(channel="douyin")
    SyncCursor.objects.create(shop=made, next_due_at=clock_now())
    return made


@pytest.fixture
def platform(monkeypatch: pytest.MonkeyPatch) -> Platform:
    made = Platform()
    monkeypatch.setattr(pulling, "connector_for", lambda *_: made)
    return made


def hint(shop: Shop, number: str, lane: InboxMessage.Lane) -> None:
    message = RawMessage(MessageKind.EVENT, number.encode(), number, f"event {number}")
    channels.store([message], source=InboxMessage.Source.PUSH, shop_id=shop.pk, lane=lane)


def live_place(shop: Shop, platform: Platform) -> int:
    """How many orders of the past were asked for before the live one that came meanwhile."""
    for number in range(FEW):
        hint(shop, f"old{number}", BULK)
    pulling.fetch_hints()
    hint(shop, "live", LIVE)
    for _ in range(2 * FEW):
        pulling.fetch_hints()
    assert sorted(platform.asked) == sorted([f"old{n}" for n in range(FEW)] + ["live"])
    assert not InboxMessage.objects.filter(kind="event").exclude(state="done").exists()
    return platform.asked.index("live")


def test_a_live_hint_waits_for_one_turn_of_the_past_and_no_more(
    shop: Shop, platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pulling, "TURN_SECONDS", 0.05)
    assert 1 <= live_place(shop, platform) < FEW


def test_without_turns_a_live_hint_waits_for_all_of_the_past(
    shop: Shop, platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pulling, "TURN_SECONDS", 1e9)
    assert live_place(shop, platform) == FEW


def test_a_turn_that_is_over_at_once_still_asks_for_one_order(
    shop: Shop, platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pulling, "TURN_SECONDS", 0.001)
    hint(shop, "1", BULK)
    hint(shop, "2", BULK)
    assert pulling.fetch_hints() == "1 orders fetched for 2 hints"
    assert InboxMessage.objects.get(channel_number="2", kind="event").state == "new"


def test_a_reader_of_lists_waits_out_what_a_page_costs(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    patience: list[float] = []

    class Nothing:
        feeds = ()

    def speak(_shop: int, _client: object, seconds: float) -> Nothing:
        patience.append(seconds)
        return Nothing()

    monkeypatch.setattr(pulling, "connector_for", speak)
    pulling.poll_shop(shop.pk)
    assert patience[0] > 15  # 750 points of a plan that restores 50 a second


def test_a_queued_poll_is_given_longer_than_other_jobs(shop: Shop) -> None:
    SyncCursor.objects.update(next_due_at=clock_now() - timedelta(seconds=1))
    assert nudge_polls() == "1 polls queued"
    assert OrmQ.objects.get().task["timeout"] == pulling.POLL_SECONDS > 120
    sync_schedules()
    kwargs = Schedule.objects.get(name=f"oc:poll:{shop.code}").kwargs
    assert ast.literal_eval(kwargs) == {"q_options": {"timeout": pulling.POLL_SECONDS}}
