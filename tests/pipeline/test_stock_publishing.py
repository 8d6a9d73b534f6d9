"""Stock figures: true when computed, told when they differ from what is shown, never backwards."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import time_machine

from channels_sync.contracts import (
    ErrorClass,
    PlatformError,
    Rejected,
    StockCall,
    StockEcho,
    StockFigure,
    TryLater,
    Unsupported,
)
from channels_sync.models import OutboundMessage, PublishedStock
from inventory import services as inventory
from inventory.models import StockLevel
from ordercenter.catalog.models import CodeType, Listing
from ordercenter.core.actor import PIPELINE
from ordercenter.core.clock import SHANGHAI
from ordercenter.core.clock import now as clock_now
from ordercenter.orders.contracts import ChannelStatus
from ordercenter.pipeline import publishing, sending, stock_watch
from tests.factories import ListingFactory, ShopCredentialFactory, ShopFactory
from tests.pipeline.one_by_one import OneByOne
from tests.pipeline.seller import Seller, again, draft, line, open_seller, take_one

pytestmark = pytest.mark.django_db
MINUTE = timedelta(minutes=1)


class Channel(OneByOne):
    """A platform that shows figures by listing code, and what it was told in what order."""

    repeatable: frozenset[type] = frozenset()

    def __init__(self) -> None:
        self.told: list[StockFigure] = []
        self.answers: list[Any] = []
        self.asked = 0
        self.takes_figures = True

    def stock_calls(self, figures: Sequence[StockFigure]) -> list[StockCall]:
        self.asked += 1
        if not self.takes_figures:
            raise Unsupported("库存同步")
        return super().stock_calls(figures)

    def publish_stock(self, figure: StockFigure) -> StockEcho:
        self.told.append(figure)
        answer = self.answers.pop(0) if self.answers else StockEcho()
        if isinstance(answer, Exception):
            raise answer
        assert isinstance(answer, StockEcho)
        return answer

    def knows(self, _told: StockFigure) -> bool | None:
        return None

    def last(self, code: str) -> StockFigure:
        return next(f for f in reversed(self.told) if code in {f.platform_sku_id, f.outer_code})


@pytest.fixture
def channel(monkeypatch: pytest.MonkeyPatch) -> Channel:
    made = Channel()
    monkeypatch.setattr(sending, "connector_for", lambda *_: made)
    return made


@pytest.fixture
def seller() -> Seller:
    """Every good lies 40 in the near and 40 in the far warehouse."""
    made = open_seller(stock=40)
    ShopCredentialFactory.create(shop=made.shop, options={"push_stock": "on"})
    Listing.objects.update(platform_item_id="70")
    return made


def publish(*, minutes: float = 0) -> None:
    """Compute, and send everything due, so much later."""
    now = clock_now() + minutes * MINUTE
    publishing.publish_stock(now=now)
    sending.send_out(now=now)


def listing(code: str) -> Listing:
    found: Listing = Listing.objects.get(code=code)
    return found


def books(code: str) -> PublishedStock:
    return PublishedStock.objects.get(listing__code=code)


def waiting() -> set[str]:
    rows = OutboundMessage.objects.filter(kind="stock", state="waiting")
    return set(rows.values_list("subject", flat=True))


def lose(seller: Seller, code: str, units: int) -> None:
    """Pieces sold by another shop: they are promised, and no platform of ours knows."""
    other = ShopFactory.create()
    ListingFactory.create(shop=other, code=code, sku=seller.skus[code])
    take_one(other, draft(line(code, units)))


def test_every_listing_is_told_what_its_warehouses_have(seller: Seller, channel: Channel) -> None:
    publish()
    told = {f.platform_sku_id or f.outer_code: f.quantity for f in channel.told}
    assert told == {"SOFA": 80, "LAMP": 80, "RUG": 80, "VASE": 80, "TOWEL": 80, "SET": 40}
    assert all(f.believed is None for f in channel.told)
    assert {p.told for p in PublishedStock.objects.all()} == {80, 40}


def test_a_bundle_counts_only_what_lies_together(seller: Seller, channel: Channel) -> None:
    """Two lamps and a rug: with 5 lamps near and 40 rugs, and far no rugs at all."""
    levels = StockLevel.objects.filter(sku=seller.skus["LAMP"], virtual_warehouse=seller.near)
    levels.update(on_hand=5)
    StockLevel.objects.filter(sku=seller.skus["RUG"], virtual_warehouse=seller.far).update(
        on_hand=0
    )
    publish()
    assert channel.last("SET").quantity == 2


def test_stock_set_aside_for_other_shops_is_not_offered(seller: Seller, channel: Channel) -> None:
    seller.far.shops.add(ShopFactory.create())
    publish()
    assert channel.last("SOFA").quantity == 40


def test_a_closed_warehouse_offers_nothing(seller: Seller, channel: Channel) -> None:
    seller.far.warehouse.is_active = False
    seller.far.warehouse.save()
    publish()
    assert channel.last("SOFA").quantity == 40


def test_a_shop_that_did_not_ask_for_it_is_told_nothing(seller: Seller, channel: Channel) -> None:
    seller.shop.credential.options = {}
    seller.shop.credential.save()
    publish()
    assert channel.told == []
    assert stock_watch.StockWatch().step() == "no shop is told figures"


def test_nothing_is_said_twice(seller: Seller, channel: Channel) -> None:
    publish()
    channel.told.clear()
    publish(minutes=1)
    assert channel.told == []


def test_what_the_shop_sold_itself_the_channel_knows_already(
    seller: Seller, channel: Channel
) -> None:
    publish()
    channel.told.clear()
    take_one(seller.shop, draft(line("SOFA", 3)))
    publish(minutes=1)
    assert channel.told == []
    assert publishing.shown_now(books("SOFA")) == 77


def test_what_another_shop_sold_is_told_as_a_difference(seller: Seller, channel: Channel) -> None:
    publish()
    take_one(seller.shop, draft(line("SOFA", 3)))
    lose(seller, "SOFA", 5)
    publish(minutes=1)
    figure = channel.last("SOFA")
    assert (figure.quantity, figure.believed) == (72, 77)


def test_a_rise_is_set(seller: Seller, channel: Channel) -> None:
    publish()
    seller.receive("SOFA", 10)
    publish(minutes=1)
    figure = channel.last("SOFA")
    assert (figure.quantity, figure.believed) == (90, None)


def test_what_the_platform_says_it_shows_is_believed(seller: Seller, channel: Channel) -> None:
    channel.answers = [StockEcho(33)] * 6
    publish()
    assert books("SOFA").told == 33
    publish(minutes=1)
    assert channel.last("SOFA").quantity == 80


def test_drift_against_the_platform_is_seen_and_mended(seller: Seller, channel: Channel) -> None:
    channel.answers = [StockEcho(33)] * 6
    publish()
    row = books("SOFA")
    assert (row.drift, row.drift_at) == (33 - 80, row.pushed_at)
    publish(minutes=1)
    assert channel.last("SOFA").quantity == 80
    assert books("SOFA").told == 80


@pytest.mark.parametrize(
    ("hour", "told_at", "again"),
    [
        (3, timedelta(hours=21), {"SOFA", "LAMP", "RUG", "VASE", "TOWEL", "SET"}),
        (12, timedelta(hours=21), set()),
        (3, timedelta(hours=19), set()),
    ],
)
def test_figures_nobody_took_for_a_day_are_set_anew_at_night(
    hour: int, told_at: timedelta, again: set[str], seller: Seller, channel: Channel
) -> None:
    publish()
    channel.told.clear()
    night = clock_now().astimezone(SHANGHAI).replace(hour=hour) + timedelta(days=2)
    PublishedStock.objects.update(pushed_at=night - told_at, told_at=night - MINUTE)
    stock_watch.tell_again(now=night)
    publishing.publish_stock(now=night)
    sending.send_out(now=night)
    assert {f.outer_code for f in channel.told} == again
    assert all(f.believed is None for f in channel.told)


def test_the_last_push_stays_on_the_books_when_they_are_carried_forward(
    seller: Seller, channel: Channel
) -> None:
    publish()
    then = clock_now() - 40 * MINUTE
    PublishedStock.objects.update(told_at=then, pushed_at=then)
    publishing.carry_forward(now=clock_now())
    row = books("SOFA")
    assert row.pushed_at == then
    assert row.told_at != then


def test_many_changes_are_one_figure(seller: Seller, channel: Channel, settings: Any) -> None:
    settings.STOCK_WINDOW_SECONDS = 2.0
    publish()
    channel.told.clear()
    for _ in range(5):
        seller.receive("SOFA", 1)
        publishing.publish_stock()
    assert waiting() == {f"stock:{listing('SOFA').pk}"}
    assert OutboundMessage.objects.filter(kind="stock", state="superseded").count() == 4
    sending.send_out()
    assert channel.told == []  # the window of two seconds is not over
    sending.send_out(now=clock_now() + timedelta(seconds=2))
    assert [f.quantity for f in channel.told] == [85]


@pytest.mark.parametrize(
    ("option", "waits"), [("300", 300), ("0.5", 0.5), ("soon", 2), ("", 2), ("99999", 3600)]
)
def test_a_shop_may_ask_for_a_pace_of_its_own(
    option: str, waits: float, seller: Seller, channel: Channel, settings: Any
) -> None:
    settings.STOCK_WINDOW_SECONDS = 2.0
    seller.shop.credential.options = {"push_stock": "on", "stock_window": option}
    seller.shop.credential.save()
    publish()
    seller.receive("SOFA", 1)
    publishing.publish_stock()
    told_at = books("SOFA").told_at
    assert told_at is not None
    (message,) = OutboundMessage.objects.filter(kind="stock", state="waiting")
    assert (message.due_at - told_at).total_seconds() == waits


@pytest.mark.parametrize(("counts", "told"), [(True, 3 + 6), (False, 20)])
def test_a_platform_that_counts_figures_by_listing_is_told_some_quickly_and_then_slowly(
    counts: bool, told: int, seller: Seller, channel: Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten seconds of two changes a second: three at once, and one every second and a half."""
    if counts:
        monkeypatch.setitem(publishing.TURNS_AT_ONCE, seller.shop.channel, 3)
    publish()
    PublishedStock.objects.update(turns_until=None)
    channel.told.clear()
    began = clock_now()
    for step in range(20):
        with time_machine.travel(began + timedelta(seconds=60 + step / 2), tick=False):
            seller.receive("SOFA", 1)
            publishing.publish_stock()
            sending.send_out()
    assert len(channel.told) == told


def test_a_change_that_was_taken_back_is_not_told(seller: Seller, channel: Channel) -> None:
    publish()
    seller.receive("SOFA", 5)
    publishing.publish_stock()
    lose(seller, "SOFA", 5)
    publishing.publish_stock()
    assert waiting() == set()


def test_goods_on_promotion_are_tried_again_later(seller: Seller, channel: Channel) -> None:
    publish()
    lose(seller, "SOFA", 5)
    fault = PlatformError(ErrorClass.BUSINESS, "stock_locked", "活动商品不能减库存")
    channel.answers = [Rejected(fault)]
    publish(minutes=1)
    row = books("SOFA")
    assert row.refused_until is not None
    assert row.refused_until > clock_now() + 9 * MINUTE
    assert row.refusal == "活动商品不能减库存"
    assert row.told == 80
    asked = len(channel.told)
    lose(seller, "SOFA", 1)
    publish(minutes=2)
    assert len(channel.told) == asked
    publish(minutes=12)
    assert (channel.last("SOFA").quantity, books("SOFA").refused_until) == (74, None)


def test_a_broken_listing_leaves_one_dead_letter(seller: Seller, channel: Channel) -> None:
    no = Rejected(PlatformError(ErrorClass.BUSINESS, "isv.item-not-exist", "商品不存在"))
    channel.answers = [no] * 6
    publish()
    assert OutboundMessage.objects.filter(state="dead").count() == 6
    channel.answers = [no] * 6
    for code in seller.skus:
        seller.receive(code, 1)
    publish(minutes=11)
    assert OutboundMessage.objects.filter(state="dead").count() == 6
    assert len(channel.told) == 12


def test_a_platform_without_figures_is_asked_once_a_day(seller: Seller, channel: Channel) -> None:
    channel.takes_figures = False
    publish()
    assert OutboundMessage.objects.filter(state="unsupported").count() == 1
    assert channel.asked == 1
    seller.receive("SOFA", 1)
    publish(minutes=60)
    assert channel.asked == 1
    assert waiting() == set()
    channel.takes_figures = True
    publish(minutes=25 * 60)
    assert len(channel.told) == 6


def test_a_platform_that_is_found_to_take_none_is_left_alone_for_a_day_too(
    seller: Seller, channel: Channel
) -> None:
    channel.answers = [Unsupported("库存同步")] * 6
    publish()
    assert set(OutboundMessage.objects.values_list("state", flat=True)) == {"unsupported"}
    seller.receive("SOFA", 1)
    publish(minutes=60)
    assert len(channel.told) == 6


def test_a_listing_without_the_item_its_platform_asks_for_is_not_told(
    seller: Seller, channel: Channel
) -> None:
    Listing.objects.filter(code="SOFA").update(platform_item_id="")
    publish()
    assert "SOFA" not in {f.outer_code for f in channel.told}
    assert len(channel.told) == 5


def test_after_an_unknown_end_the_figure_is_set(seller: Seller, channel: Channel) -> None:
    publish()
    lose(seller, "SOFA", 5)
    fault = PlatformError(ErrorClass.PLATFORM, "timeout", "没有答复")
    channel.answers = [TryLater(fault, outcome_unknown=True)]
    publish(minutes=1)
    assert books("SOFA").told is None
    publish(minutes=3)
    first, second = channel.told[-2:]
    assert (first.believed, second.believed, second.quantity) == (80, None, 75)
    assert books("SOFA").told == 75


def test_a_newer_figure_waits_while_an_older_one_is_in_its_call(
    seller: Seller, channel: Channel
) -> None:
    publish()
    lose(seller, "SOFA", 5)

    def meanwhile(figure: StockFigure) -> StockEcho:
        channel.told.append(figure)
        lose(seller, "SOFA", 1)
        publishing.publish_stock(now=clock_now() + MINUTE)
        assert sending.send_out(now=clock_now() + MINUTE) == "0 messages delivered"
        channel.publish_stock = plain  # type: ignore[method-assign]
        return StockEcho()

    plain = channel.publish_stock
    channel.publish_stock = meanwhile  # type: ignore[method-assign]
    publish(minutes=1)
    publish(minutes=2)
    assert [f.quantity for f in channel.told[-2:]] == [75, 74]
    assert books("SOFA").told == 74


def test_a_listing_known_by_both_codes_is_told_once(seller: Seller, channel: Channel) -> None:
    ListingFactory.create(shop=seller.shop, code="880", sku=seller.skus["SOFA"],
                          code_type=CodeType.SKU_ID, platform_item_id="70")  # fmt: skip
    Listing.objects.filter(code="SOFA").update(code_type=CodeType.OUTER_CODE, platform_sku_id="880")
    publish()
    assert [f.platform_sku_id for f in channel.told].count("880") == 1
    assert "SOFA" not in {f.outer_code for f in channel.told}


def test_a_code_beside_an_id_of_the_same_goods_is_not_told_too(
    seller: Seller, channel: Channel
) -> None:
    ListingFactory.create(shop=seller.shop, code="880", sku=seller.skus["SOFA"],
                          code_type=CodeType.SKU_ID, platform_item_id="70")  # fmt: skip
    publish()
    addresses = {(f.platform_sku_id, f.outer_code) for f in channel.told}
    assert ("880", "") in addresses
    assert ("", "SOFA") not in addresses


def test_orders_tell_what_a_figure_is_addressed_to(
    seller: Seller, channel: Channel, django_capture_on_commit_callbacks: Any
) -> None:
    Listing.objects.filter(code="SOFA").update(platform_item_id="")
    told = line("SOFA", platform_sku_id="881", platform_item_id="71")
    with django_capture_on_commit_callbacks(execute=True):
        take_one(seller.shop, draft(told))
    publish()
    figure = channel.last("SOFA")
    assert (figure.platform_sku_id, figure.platform_item_id) == ("881", "71")
    with django_capture_on_commit_callbacks() as asked:
        take_one(seller.shop, draft(replace(told, channel_line_id="another")))
    assert asked == []


def test_sales_under_the_merchants_code_count_too(seller: Seller, channel: Channel) -> None:
    publish()
    channel.told.clear()
    take_one(seller.shop, draft(line("SET", 2)))
    publish(minutes=1)
    assert {f.outer_code for f in channel.told} == {"LAMP", "RUG"}


def test_a_canceled_order_was_not_sold(seller: Seller, channel: Channel) -> None:
    publish()
    told = draft(line("SOFA", 3))
    take_one(seller.shop, told)
    take_one(seller.shop, again(told, status=ChannelStatus.CLOSED))
    assert publishing.shown_now(books("SOFA")) == 80


def test_old_books_are_carried_forward(seller: Seller, channel: Channel) -> None:
    publish()
    then = clock_now() - 40 * MINUTE
    PublishedStock.objects.update(told_at=then)
    take_one(seller.shop, draft(line("SOFA", 3), at=clock_now() - 20 * MINUTE))
    take_one(seller.shop, draft(line("SOFA", 2)))
    assert publishing.shown_now(books("SOFA")) == 75
    publishing.carry_forward(now=clock_now())
    row = books("SOFA")
    assert row.told == 77
    assert row.told_at is not None
    assert row.told_at > clock_now() - 16 * MINUTE
    assert publishing.shown_now(row) == 75


def test_the_ledger_tells_what_to_look_at(seller: Seller, channel: Channel) -> None:
    watch = stock_watch.StockWatch()
    assert watch.step() == "6 figures queued, all looked at"
    sending.send_out()
    StockLevel.objects.filter(sku=seller.skus["VASE"]).update(on_hand=7)  # no movement says so
    seller.receive("SOFA", 1)
    soon = clock_now() + MINUTE
    assert watch.step(now=soon) == "1 figures queued"
    assert waiting() == {f"stock:{listing('SOFA').pk}"}
    assert watch.step(now=soon) == "0 figures queued"


def test_an_older_word_never_takes_a_newer_ones_place(seller: Seller, channel: Channel) -> None:
    publish()
    message = OutboundMessage.objects.get(subject=f"stock:{listing('SOFA').pk}")
    PublishedStock.objects.filter(listing=listing("SOFA")).update(
        version=9, told_version=9, told=11
    )
    OutboundMessage.objects.filter(pk=message.pk).update(state="waiting", due_at=clock_now())
    sending.send_out(now=clock_now() + MINUTE)
    message.refresh_from_db()
    assert message.state == "superseded"
    assert books("SOFA").told == 11


def test_what_is_told_was_true_when_it_was_computed(seller: Seller, channel: Channel) -> None:
    """S7: never more than what is free, at the moment of its version."""
    publish()
    for step in range(1, 6):
        lose(seller, "SOFA", step)
        publishing.publish_stock(now=clock_now() + step * MINUTE)
        levels = StockLevel.objects.filter(sku=seller.skus["SOFA"])
        assert books("SOFA").quantity == sum(level.available for level in levels)
        sending.send_out(now=clock_now() + step * MINUTE)
    assert channel.last("SOFA").quantity == 65
    inventory.receive([(seller.near.pk, seller.skus["SOFA"].pk, 1)], actor=PIPELINE)
