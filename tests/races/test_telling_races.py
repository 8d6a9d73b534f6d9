"""K28, K29 and two workers at one outbox: a word has one effect, and the newest one stays."""

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db.backends.utils import CursorWrapper

from channels_sync import outbox
from channels_sync.contracts import ShipNotice, StockEcho, StockFigure
from channels_sync.models import OutboundMessage, PublishedStock
from ordercenter.core.clock import now as clock_now
from ordercenter.pipeline import publishing, sending
from tests.factories import OutboundMessageFactory, ShopCredentialFactory, ShopFactory
from tests.pipeline.one_by_one import OneByOne
from tests.pipeline.seller import Seller, open_seller
from tests.races.tools import SURE, Gap

pytestmark = pytest.mark.django_db(transaction=True)
MINUTE = timedelta(minutes=1)
TAKEN, CALLING, TOLD = "taken", "calling", "told"


class Platform(OneByOne):
    """Keeps what it was told in the order of the effects."""

    repeatable: frozenset[type] = frozenset()

    def __init__(self) -> None:
        self.effects: list[str] = []
        self.shown: list[int] = []
        self.before: Callable[[Any], None] = lambda _told: None

    def ship(self, notice: ShipNotice) -> None:
        self.before(notice)
        self.effects.append(notice.key)

    def publish_stock(self, figure: StockFigure) -> StockEcho:
        self.before(figure)
        self.shown.append(figure.quantity)
        return StockEcho()

    def knows(self, told: ShipNotice | StockFigure) -> bool:
        return told.key in self.effects


@pytest.fixture
def platform(monkeypatch: pytest.MonkeyPatch) -> Platform:
    made = Platform()
    monkeypatch.setattr(sending, "connector_for", lambda *_: made)
    return made


def a_notice() -> OutboundMessage:
    made: OutboundMessage = OutboundMessageFactory.create(
        shop=ShopFactory.create(), order_id=None,
        payload={"channel_number": "1", "carrier": "sf", "tracking_number": "SF1",
                 "shipped_at": clock_now().isoformat(), "whole": True, "lines": []},
    )  # fmt: skip
    return made


def test_two_workers_tell_a_thing_once(
    run_together: Callable[..., list[Any]], platform: Platform
) -> None:
    a_notice()
    outcomes = run_together(*[sending.send_out] * 3)
    assert sorted(outcomes) == ["0 messages delivered"] * 2 + ["1 messages delivered"]
    assert len(platform.effects) == 1


def overtake(
    run_together: Callable[..., list[Any]], patch: pytest.MonkeyPatch, platform: Platform
) -> None:
    """A worker takes a message and sleeps past its lease; another one takes it and tells it."""
    a_notice()
    now, gap = clock_now(), Gap(patience=SURE)
    plain = outbox.begin

    def begin(message: OutboundMessage, *, now: Any) -> bool:
        if threading.current_thread() in slow:
            gap.happened(TAKEN)
            gap.wait_for(TOLD)
        return plain(message, now=now)

    slow: set[threading.Thread] = set()
    patch.setattr(outbox, "begin", begin)

    def sleeper() -> str:
        slow.add(threading.current_thread())
        return sending.send_out(now=now)

    def other() -> str:
        gap.wait_for(TAKEN)
        try:
            return sending.send_out(now=now + outbox.LEASE)
        finally:
            gap.happened(TOLD)

    run_together(sleeper, other)


def test_a_worker_that_slept_past_its_lease_tells_nothing(
    run_together: Callable[..., list[Any]],
    monkeypatch: pytest.MonkeyPatch,
    platform: Platform,
) -> None:
    overtake(run_together, monkeypatch, platform)
    assert len(platform.effects) == 1


def test_without_looking_again_before_the_call_it_would(
    run_together: Callable[..., list[Any]],
    monkeypatch: pytest.MonkeyPatch,
    platform: Platform,
) -> None:
    monkeypatch.setattr(outbox, "begin", lambda *_args, **_facts: True)
    overtake(run_together, monkeypatch, platform)
    assert len(platform.effects) == 2


def two_figures(
    run_together: Callable[..., list[Any]], platform: Platform, *, patience: float
) -> Seller:
    """An older figure is in its call while a newer one is computed and another worker sends."""
    seller = open_seller(channel="jd", stock=40)
    ShopCredentialFactory.create(shop=seller.shop, options={"push_stock": "on"})
    publishing.publish_stock()
    sending.send_out()
    platform.shown.clear()
    gap, now = Gap(patience=patience), clock_now() + MINUTE
    seller.receive("SOFA", 5)
    publishing.publish_stock(now=now)

    def before(figure: StockFigure) -> None:
        if figure.quantity == 85:
            gap.happened(CALLING)
            gap.wait_for(TOLD)

    platform.before = before

    def newer() -> None:
        gap.wait_for(CALLING)
        seller.receive("SOFA", 2)
        publishing.publish_stock(now=now)
        sending.send_out(now=now)
        gap.happened(TOLD)

    run_together(lambda: sending.send_out(now=now), newer)
    sending.send_out(now=now + MINUTE)
    return seller


def test_a_newer_figure_is_the_one_that_stays(
    run_together: Callable[..., list[Any]], platform: Platform
) -> None:
    two_figures(run_together, platform, patience=1.0)
    assert platform.shown == [85, 87]
    assert PublishedStock.objects.get(listing__code="SOFA").told == 87


def test_without_waiting_for_the_older_one_it_would_stay(
    run_together: Callable[..., list[Any]],
    monkeypatch: pytest.MonkeyPatch,
    platform: Platform,
) -> None:
    plain = CursorWrapper.execute

    def execute(self: CursorWrapper, sql: Any, params: Any = None) -> Any:
        return plain(self, str(sql).replace("AND e.id < d.id", "AND false"), params)

    monkeypatch.setattr(CursorWrapper, "execute", execute)
    two_figures(run_together, platform, patience=SURE)
    assert platform.shown == [87, 85]
    # The books know better: the version told last is the newer one.
    assert PublishedStock.objects.get(listing__code="SOFA").told == 87


def test_two_looks_at_the_stock_count_one_version(
    run_together: Callable[..., list[Any]], platform: Platform
) -> None:
    seller = open_seller(channel="jd", stock=40)
    ShopCredentialFactory.create(shop=seller.shop, options={"push_stock": "on"})
    assert sum(run_together(*[publishing.publish_stock] * 3)) == 6
    assert set(PublishedStock.objects.values_list("version", flat=True)) == {1}
    assert OutboundMessage.objects.filter(state="waiting").count() == 6
