"""A platform's message line is held by one process; what it brings is stored before it is
confirmed."""

import threading
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest

from channels_sync.contracts import ErrorClass, MessageKind, PlatformError, RawMessage, TryLater
from channels_sync.models import InboxMessage, SyncCursor
from ordercenter.catalog.models import Shop
from ordercenter.core.clock import now as clock_now
from ordercenter.pipeline import listening
from tests.factories import ShopCredentialFactory, ShopFactory, SyncCursorFactory

pytestmark = pytest.mark.django_db


class Platform:
    """Has messages to give, and notes whether each was stored when it was confirmed."""

    def __init__(self, *numbers: str) -> None:
        self.numbers = list(numbers)
        self.stored_when_confirmed: list[bool] = []

    def listen(
        self, take: Callable[[Sequence[RawMessage]], None], stop: Callable[[], bool]
    ) -> None:
        while self.numbers and not stop():
            number = self.numbers.pop(0)
            take([RawMessage(MessageKind.EVENT, number.encode(), number, f"e{number}")])
            stored = InboxMessage.objects.filter(channel_number=number).exists()
            self.stored_when_confirmed.append(stored)


@pytest.fixture
def shop() -> Shop:
    made: Shop = ShopFactory.create(channel=listening.LISTENED[0])
    ShopCredentialFactory.create(shop=made)
    SyncCursorFactory.create(shop=made)
    return made


@pytest.fixture
def platform(monkeypatch: pytest.MonkeyPatch) -> Platform:
    made = Platform("1", "2")
    monkeypatch.setattr(listening, "connector_for", lambda *_: made)
    return made


def test_taobao_and_pinduoduo_have_a_line() -> None:
    assert set(listening.LISTENED) >= {"taobao", "pinduoduo"}


def test_what_comes_is_stored_before_it_is_confirmed(shop: Shop, platform: Platform) -> None:
    listening.listen_once(shop.pk, lambda: False)
    assert platform.stored_when_confirmed == [True, True]
    assert SyncCursor.objects.get().last_push_at is not None
    rows = InboxMessage.objects.filter(kind="event", source="push", state="new")
    assert list(rows.order_by("pk").values_list("channel_number", flat=True)) == ["1", "2"]


def test_a_message_that_comes_again_is_one_message(shop: Shop, platform: Platform) -> None:
    platform.numbers = ["1", "1", "1"]
    listening.listen_once(shop.pk, lambda: False)
    assert InboxMessage.objects.count() == 1


def test_of_two_processes_one_holds_the_line(shop: Shop) -> None:
    now = clock_now()
    assert listening._free_shops(now=now) == [shop.pk]
    assert [listening._take(shop.pk, now=now) for _ in range(2)] == [True, False]
    assert listening._free_shops(now=now) == []
    late = now + listening.LEASE
    assert listening._free_shops(now=late) == [shop.pk]
    assert listening._take(shop.pk, now=late)


@pytest.mark.parametrize("off", [{"paused_at": clock_now()}, {"mode": "timed"}, {"mode": "manual"}])
def test_a_paused_shop_or_one_that_is_only_polled_is_not_listened_to(
    shop: Shop, off: dict[str, Any]
) -> None:
    SyncCursor.objects.update(**off)
    assert listening._free_shops(now=clock_now()) == []


def test_a_line_is_let_go_when_the_shop_is_paused(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper = listening._Keeper(shop.pk, threading.Event())
    later = clock_now() + listening.RENEW + timedelta(seconds=1)
    monkeypatch.setattr(listening, "clock_now", lambda: later)
    assert not keeper.is_over()
    assert SyncCursor.objects.get().listening_until == later + listening.LEASE
    SyncCursor.objects.update(paused_at=later)
    much_later = later + listening.RENEW
    monkeypatch.setattr(listening, "clock_now", lambda: much_later)
    assert keeper.is_over()


def test_a_line_that_breaks_is_taken_up_again(
    shop: Shop, platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three tries: two break, the third brings the messages and the process is told to stop."""
    stop = threading.Event()
    tries: list[int] = []
    whole = platform.listen

    def listen(take: Any, over: Any) -> None:
        tries.append(1)
        if len(tries) < 3:
            raise TryLater(PlatformError(ErrorClass.PLATFORM, "network", "gone"))
        whole(take, over)
        stop.set()

    monkeypatch.setattr(platform, "listen", listen)
    monkeypatch.setattr(stop, "wait", lambda _timeout: None)
    monkeypatch.setattr(listening, "close_old_connections", lambda: None)
    listening._hold(shop.pk, stop)
    assert len(tries) == 3
    assert InboxMessage.objects.count() == 2
    assert SyncCursor.objects.get().listening_until is None
