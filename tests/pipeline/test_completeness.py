"""Each hour is compared with the platform's own list; what is missing comes in or is said."""

import json
from collections.abc import Sequence
from datetime import timedelta

import pytest

from channels_sync import services as channels
from channels_sync.contracts import (
    Census,
    ErrorClass,
    MessageKind,
    PlatformError,
    RawMessage,
    Rejected,
    TryLater,
    Unsupported,
    Window,
)
from channels_sync.models import InboxMessage, LineAlarm, Reconciliation
from ordercenter.catalog.models import Shop
from ordercenter.core.clock import now as clock_now
from ordercenter.core.errors import NotAllowed
from ordercenter.core.policy import Role
from ordercenter.pipeline import completeness, watch
from tests.factories import (
    InboxMessageFactory,
    SalesOrderFactory,
    ShopCredentialFactory,
    ShopFactory,
    SyncCursorFactory,
    UserFactory,
    user_with,
)

pytestmark = pytest.mark.django_db
NOW = clock_now().replace(minute=20, second=0, microsecond=0)
HOUR = timedelta(hours=1)
LAST = NOW.replace(minute=0) - HOUR
"""The youngest hour that is over for a quarter of an hour."""


class Platform:
    """Lists the numbers it is given for every hour; ``gone`` cannot be fetched."""

    def __init__(self, *numbers: str, gone: Sequence[str] = ()) -> None:
        self.numbers = numbers
        self.gone = gone
        self.asked: list[Window] = []
        self.fetched: list[str] = []
        self.failure: Exception | None = None

    def census(self, window: Window) -> Census:
        self.asked.append(window)
        if self.failure:
            raise self.failure
        return Census(frozenset(self.numbers if window.start == LAST else ()))

    def fetch(self, number: str) -> RawMessage:
        self.fetched.append(number)
        if number in self.gone:
            raise Rejected(PlatformError(ErrorClass.BUSINESS, "404", "no such order"))
        return RawMessage(MessageKind.ORDER, json.dumps({"order": number}).encode(), number)


@pytest.fixture
def shop() -> Shop:
    """Connected since yesterday morning."""
    made: Shop = ShopFactory.create()
    ShopCredentialFactory.create(shop=made)
    SyncCursorFactory.create(shop=made, last_ok_at=NOW)
    InboxMessageFactory.create(shop=made, received_at=NOW - timedelta(days=2), state="done",
                               done_at=NOW)  # fmt: skip
    return made


@pytest.fixture
def platform(monkeypatch: pytest.MonkeyPatch) -> Platform:
    made = Platform("1", "2", "3")
    monkeypatch.setattr(completeness, "connector_for", lambda *_: made)
    monkeypatch.setattr(completeness, "in_parallel", lambda jobs: sum(job() for job in jobs))
    return made


def have(shop: Shop, *numbers: str) -> None:
    for number in numbers:
        SalesOrderFactory.create(shop=shop, channel_number=number, placed_at=LAST)


def last_hour() -> Reconciliation:
    return Reconciliation.objects.get(hour=LAST)


def test_an_hour_that_agrees_is_even_and_not_asked_for_again(
    shop: Shop, platform: Platform
) -> None:
    have(shop, "1", "2", "3")
    assert completeness.reconcile_due(now=NOW) == "6 hours compared"
    row = last_hour()
    assert (row.theirs, row.ours, row.missing, row.state) == (3, 3, [], "even")
    assert platform.asked[0] == Window(LAST, LAST + HOUR)
    platform.asked.clear()
    completeness.reconcile_due(now=NOW)
    assert LAST not in {window.start for window in platform.asked}


def test_a_missing_order_is_pulled_and_then_the_hour_is_even(
    shop: Shop, platform: Platform
) -> None:
    have(shop, "1", "3")
    completeness.reconcile_due(now=NOW)
    row = last_hour()
    assert (row.theirs, row.ours, row.missing, row.pulled, row.state) == (
        3, 2, ["2"], 1, "pulling",
    )  # fmt: skip
    assert InboxMessage.objects.get(source="fetch").channel_number == "2"
    have(shop, "2")
    completeness.reconcile_now(shop.pk, LAST, user=user_with(Role.IT))
    assert last_hour().state == "even"
    assert last_hour().pulled == 1


def test_what_cannot_be_pulled_is_an_alarm_until_it_is_there(
    shop: Shop, platform: Platform
) -> None:
    have(shop, "1", "3")
    platform.gone = ["2"]
    it = user_with(Role.IT)
    for expected in ("pulling", "short"):
        completeness.reconcile_now(shop.pk, LAST, user=it)
        assert last_hour().state == expected
    watch.watch_lines(now=NOW)
    assert LineAlarm.objects.get(kind="missing").level == "alarm"
    have(shop, "2")
    completeness.reconcile_now(shop.pk, LAST, user=it)
    watch.watch_lines(now=NOW)
    assert LineAlarm.objects.get(kind="missing").closed_at == NOW


def test_an_order_the_platform_does_not_list_is_named(shop: Shop, platform: Platform) -> None:
    have(shop, "1", "2", "3", "9")
    completeness.reconcile_due(now=NOW)
    assert (last_hour().extra, last_hour().state) == (["9"], "even")


def test_an_order_placed_just_before_the_hour_by_our_book_is_not_missing(
    shop: Shop, platform: Platform
) -> None:
    have(shop, "1", "2")
    SalesOrderFactory.create(shop=shop, channel_number="3", placed_at=LAST - timedelta(seconds=1))
    completeness.reconcile_due(now=NOW)
    assert last_hour().state == "even"
    assert platform.fetched == []


def test_no_hour_before_the_shop_was_connected_is_asked_for(shop: Shop, platform: Platform) -> None:
    InboxMessage.objects.update(received_at=NOW - timedelta(minutes=70))
    assert completeness.reconcile_due(now=NOW) == "0 hours compared"


@pytest.mark.parametrize(
    "failure",
    [
        Unsupported("核对"),
        TryLater(PlatformError(ErrorClass.PLATFORM, "50", "busy")),
        Rejected(PlatformError(ErrorClass.AUTH, "27", "token")),
    ],
)
def test_a_platform_that_cannot_say_leaves_no_row(
    shop: Shop, platform: Platform, failure: Exception
) -> None:
    platform.failure = failure
    assert completeness.reconcile_due(now=NOW) == "0 hours compared"
    assert not Reconciliation.objects.exists()


def test_one_order_pulled_twice_is_one_message(shop: Shop, platform: Platform) -> None:
    it = user_with(Role.IT)
    completeness.reconcile_now(shop.pk, LAST, user=it)
    completeness.reconcile_now(shop.pk, LAST, user=it)
    assert InboxMessage.objects.filter(source="fetch").count() == 3
    assert last_hour().pulled == 3


def test_comparing_needs_the_right(shop: Shop, platform: Platform) -> None:
    with pytest.raises(NotAllowed):
        completeness.reconcile_now(shop.pk, LAST, user=UserFactory.create())
    assert platform.asked == []
    assert channels.claim([MessageKind.ORDER], limit=1) == []
