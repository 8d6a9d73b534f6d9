"""A shop's figures go out together: few questions to the database, and each its own end."""

import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from channels_sync import outbox
from channels_sync.contracts import (
    ErrorClass,
    PlatformError,
    Rejected,
    StockAnswer,
    StockCall,
    StockEcho,
    StockFigure,
    TryLater,
)
from channels_sync.models import OutboundMessage, PublishedStock
from ordercenter.core.clock import now as clock_now
from ordercenter.pipeline import publishing, sending, waking
from ordercenter.pipeline.calling import SideBySide
from tests.factories import ShopCredentialFactory
from tests.pipeline.one_by_one import OneByOne
from tests.pipeline.seller import Seller, open_seller

pytestmark = pytest.mark.django_db
MINUTE = timedelta(minutes=1)
BROKEN = Rejected(PlatformError(ErrorClass.BUSINESS, "isv.item-not-exist", "商品不存在"))


class Platform(OneByOne):
    """Takes figures two in a call, and shows them by listing code."""

    repeatable: frozenset[type] = frozenset()

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.told: list[StockFigure] = []
        self.refuses: dict[str, Exception] = {}
        self.breaks: Exception | None = None
        self.turns: list[int | Exception] = []
        self.before: Callable[[], object] = lambda: None

    def stock_calls(self, figures: Sequence[StockFigure]) -> list[StockCall]:
        pairs = [tuple(figures[at : at + 2]) for at in range(0, len(figures), 2)]
        return [StockCall("stock", pair) for pair in pairs]

    def stock_turns(self, calls: Sequence[StockCall]) -> int:
        turn = self.turns.pop(0) if self.turns else len(calls)
        if isinstance(turn, Exception):
            raise turn
        return turn

    def publish_figures(self, figures: Sequence[StockFigure]) -> list[StockAnswer]:
        self.before()
        self.calls.append([figure.outer_code for figure in figures])
        self.told += figures
        if self.breaks is not None:
            raise self.breaks
        return [self.refuses.get(one.outer_code) or StockEcho() for one in figures]  # type: ignore[misc]


@pytest.fixture
def platform(monkeypatch: pytest.MonkeyPatch) -> Platform:
    made = Platform()
    monkeypatch.setattr(sending, "connector_for", lambda *_: made)
    return made


@pytest.fixture
def seller(platform: Platform) -> Seller:
    """A shop of six listings, none of whose figures has been told."""
    made = open_seller(channel="jd", stock=40)
    ShopCredentialFactory.create(shop=made.shop, options={"push_stock": "on"})
    publishing.publish_stock()
    return made


def states() -> dict[str, str]:
    rows = OutboundMessage.objects.filter(kind="stock").order_by("pk")
    return {row.payload["outer_code"]: row.state for row in rows}


def books(code: str) -> PublishedStock:
    return PublishedStock.objects.get(listing__code=code)


def queries(send: Callable[[], object]) -> int:
    with CaptureQueriesContext(connection) as seen:
        send()
    return len(seen)


def test_six_figures_are_three_calls_and_no_more_queries_than_one(
    seller: Seller, platform: Platform
) -> None:
    many = queries(sending.send_out)
    assert [len(call) for call in platform.calls] == [2, 2, 2]
    assert set(states().values()) == {"done"}
    assert {row.told for row in PublishedStock.objects.all()} == {80, 40}
    seller.receive("SOFA", 1)
    publishing.publish_stock(now=clock_now() + MINUTE)
    assert queries(lambda: sending.send_out(now=clock_now() + MINUTE)) == many


def test_a_figure_that_is_refused_ends_alone(seller: Seller, platform: Platform) -> None:
    platform.refuses = {"SOFA": BROKEN}
    assert sending.send_out() == "5 messages delivered"
    found = states()
    assert found.pop("SOFA") == "dead"
    assert set(found.values()) == {"done"}
    dead = OutboundMessage.objects.get(state="dead")
    assert "商品不存在" in dead.error
    assert (books("SOFA").told, books("SOFA").refusal) == (None, "商品不存在")


def test_no_more_is_begun_than_there_are_turns_for(seller: Seller, platform: Platform) -> None:
    platform.turns = [1, 2]
    begun: list[int] = []
    waiting = OutboundMessage.objects.filter(state="waiting", is_doubtful=True)
    platform.before = lambda: begun.append(waiting.count())
    assert sending.send_out() == "6 messages delivered"
    assert begun == [2, 4, 4]


def test_where_no_turn_comes_the_figures_wait_as_long_as_the_limit_says(
    seller: Seller, platform: Platform
) -> None:
    limited = PlatformError(ErrorClass.RATE_LIMITED, "turn", "等待", retry_after_seconds=7)
    platform.turns = [1, TryLater(limited)]
    now = clock_now()
    assert sending.send_out(now=now) == "2 messages delivered"
    rest = OutboundMessage.objects.filter(state="waiting")
    assert rest.count() == 4
    assert not rest.filter(is_doubtful=True).exists()
    assert all(7 <= (one.due_at - now).total_seconds() < 20 for one in rest)
    assert sending.send_out(now=now + timedelta(seconds=30)) == "4 messages delivered"


def test_a_call_that_is_cut_off_leaves_its_figures_in_doubt_and_they_are_set_again(
    seller: Seller, platform: Platform
) -> None:
    cut = PlatformError(ErrorClass.PLATFORM, "timeout", "没有答复")
    platform.breaks = TryLater(cut, outcome_unknown=True)
    sending.send_out()
    doubtful = OutboundMessage.objects.filter(state="waiting", is_doubtful=True)
    assert doubtful.count() == 6
    platform.breaks = None
    platform.told.clear()
    sending.send_out(now=clock_now() + 2 * MINUTE)
    assert [figure.believed for figure in platform.told] == [None] * 6
    assert set(states().values()) == {"done"}


def test_after_two_calls_cut_off_the_shop_is_left_alone(seller: Seller, platform: Platform) -> None:
    cut = PlatformError(ErrorClass.PLATFORM, "timeout", "没有答复")
    platform.breaks = TryLater(cut, outcome_unknown=True)
    platform.turns = [2]
    now = clock_now()
    sending.send_out(now=now)
    assert len(platform.calls) == 2
    untried = OutboundMessage.objects.filter(state="waiting", tries=0)
    assert untried.count() == 2
    assert all(one.due_at > now + timedelta(seconds=50) for one in untried)


def test_figures_of_a_worker_that_died_in_the_call_are_set_not_moved(
    seller: Seller, platform: Platform
) -> None:
    sending.send_out()
    publishing.publish_stock()
    other = seller.skus["SOFA"]
    PublishedStock.objects.filter(listing__sku=other).update(quantity=77, version=2)
    now = clock_now()
    OutboundMessage.objects.filter(payload__outer_code="SOFA").update(
        state="waiting", due_at=now, payload={**_payload("SOFA"), "version": 2, "quantity": 77}
    )
    held = outbox.claim_out(limit=9, now=now)
    assert outbox.begin_all(held, now=now) == held
    platform.told.clear()
    assert sending.send_out(now=now + outbox.LEASE) == "0 messages delivered"
    assert sending.send_out(now=now + outbox.CALL_LEASE) == "1 messages delivered"
    (figure,) = platform.told
    assert (figure.quantity, figure.believed) == (77, None)


def _payload(code: str) -> dict[str, Any]:
    found: dict[str, Any] = OutboundMessage.objects.get(payload__outer_code=code).payload
    return found


def test_without_the_doubt_it_would_be_moved_and_count_twice(
    seller: Seller, platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control of the test above."""
    monkeypatch.setattr(OutboundMessage, "is_doubtful", property(lambda _: False, lambda *_: None))
    test = test_figures_of_a_worker_that_died_in_the_call_are_set_not_moved
    with pytest.raises(AssertionError, match="77, 80"):
        test(seller, platform)


def test_what_was_superseded_since_it_was_claimed_is_not_told(
    seller: Seller, platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = outbox.begin_all

    def begin_all(messages: Sequence[OutboundMessage], **named: Any) -> list[OutboundMessage]:
        outbox.supersede([one.subject for one in messages[:1]], now=clock_now())
        return plain(messages, **named)

    monkeypatch.setattr(outbox, "begin_all", begin_all)
    assert sending.send_out() == "5 messages delivered"
    assert len(platform.told) == 5


def test_a_row_that_cannot_be_read_holds_up_no_other(seller: Seller, platform: Platform) -> None:
    OutboundMessage.objects.filter(payload__outer_code="SOFA").update(payload={})
    assert sending.send_out() == "5 messages delivered"
    (broken,) = OutboundMessage.objects.filter(state="waiting")
    assert broken.error
    assert broken.due_at > clock_now()


# --- side by side ---------------------------------------------------------------------------------


@pytest.fixture
def lines() -> Iterator[SideBySide]:
    made = SideBySide(patience=20)
    yield made
    made.close()


@pytest.mark.django_db(transaction=True)
def test_the_calls_of_a_shop_are_on_their_way_at_the_same_time(
    seller: Seller, platform: Platform, lines: SideBySide, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []

    def make(*who: Any) -> Platform:
        made.append(who)
        return platform

    monkeypatch.setattr(sending, "connector_for", make)
    together = threading.Barrier(3, timeout=20)
    platform.before = together.wait
    assert sending.send_out(lines=lines) == "6 messages delivered"
    platform.before = lambda: None
    seller.receive("SOFA", 1)
    publishing.publish_stock(now=clock_now() + MINUTE)
    assert sending.send_out(now=clock_now() + MINUTE, lines=lines) == "1 messages delivered"
    assert len(made) == 1  # and speaks over the connections it has


@pytest.mark.django_db(transaction=True)
def test_whoever_queues_a_figure_wakes_the_sender_of_another_process_at_the_commit(
    seller: Seller,
) -> None:
    stop = threading.Event()
    listener = threading.Thread(target=waking.listen, args=(stop,), daemon=True)
    listener.start()
    try:
        assert waking.woken(10)  # it listens
        with transaction.atomic():
            seller.receive("SOFA", 1)
            publishing.publish_stock(now=clock_now() + MINUTE)
            assert not waking.woken(0.3)
        assert waking.woken(10)
        with transaction.atomic():
            seller.receive("SOFA", 1)
            publishing.publish_stock(now=clock_now() + 2 * MINUTE)
            transaction.set_rollback(True)
        assert not waking.woken(0.3)
    finally:
        stop.set()
        listener.join(timeout=10)
