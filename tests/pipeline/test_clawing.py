"""Paid and short: units come back from other shops, as far as their platforms let them."""

from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection

from channels_sync.contracts import ErrorClass, PlatformError, Rejected, StockEcho, StockFigure
from channels_sync.models import OutboundMessage
from inventory import services as inventory
from inventory import slices
from inventory.models import ClawBack, StockLevel, StockSlice
from ordercenter.audit.models import Action, AuditRecord
from ordercenter.catalog.models import CodeType, Shop
from ordercenter.core.actor import PIPELINE
from ordercenter.core.clock import now as clock_now
from ordercenter.core.policy import Role
from ordercenter.notices.models import Notice
from ordercenter.orders.models import OrderHold, SalesOrder
from ordercenter.orders.states import OrderStatus
from ordercenter.pipeline import publishing, sending, shortages
from ordercenter.pipeline.invariants import Look, look_at
from tests.factories import (
    ListingFactory,
    RobotFactory,
    ShopCredentialFactory,
    ShopFactory,
    user_with,
)
from tests.pipeline.one_by_one import OneByOne
from tests.pipeline.seller import (
    Seller,
    draft,
    holds,
    line,
    open_seller,
    promised,
    somebody,
    take_one,
)

pytestmark = pytest.mark.django_db
PROMOTED = Rejected(PlatformError(ErrorClass.BUSINESS, "stock_locked", "活动商品不能减库存"))


class Channel(OneByOne):
    """A platform that shows figures, and what it was told."""

    repeatable: frozenset[type] = frozenset()

    def __init__(self) -> None:
        self.told: list[tuple[str, int]] = []
        self.answers: list[Exception] = []

    def publish_stock(self, figure: StockFigure) -> StockEcho:
        self.told.append((figure.outer_code, figure.quantity))
        if self.answers:
            raise self.answers.pop(0)
        return StockEcho()

    def knows(self, _told: StockFigure) -> bool | None:
        return None


@pytest.fixture
def channel(monkeypatch: pytest.MonkeyPatch) -> Channel:
    made = Channel()
    monkeypatch.setattr(sending, "connector_for", lambda *_: made)
    publishing.listeners.forget()
    return made


@pytest.fixture
def seller(channel: Channel) -> Seller:
    """Five sofas: every one of them set aside for another shop that is told figures."""
    return open_seller(stock=0)


def partner(seller: Seller, code: str, units: int, priority: int) -> Shop:
    """Another shop, told figures, that has so many of the sofas to itself."""
    shop: Shop = ShopFactory.create(code=code, channel="jd")
    ListingFactory.create(
        shop=shop, code=code, code_type=CodeType.OUTER_CODE, sku=seller.skus["SOFA"]
    )
    ShopCredentialFactory.create(shop=shop, options={"push_stock": "on"})
    seller.receive("SOFA", units)
    boss = user_with(Role.OPERATIONS_SUPERVISOR)
    level = StockLevel.objects.get(sku=seller.skus["SOFA"], virtual_warehouse=seller.near)
    slices.set_slice(
        level.pk, shop.pk, units, user=boss, actor=PIPELINE, priority=priority, expected=0
    )
    return shop


def tell(minutes: float = 0) -> None:
    now = clock_now() + timedelta(minutes=minutes)
    publishing.publish_stock(now=now)
    sending.send_out(now=now)


def buy(seller: Seller, units: int, *, minutes: float = 0, **changes: Any) -> SalesOrder:
    now = clock_now() + timedelta(minutes=minutes)
    return take_one(seller.shop, draft(line("SOFA", units), **changes), now=now)


def held_back(seller: Seller, units: int, *, minutes: float = 0) -> SalesOrder:
    """A paid order that waits for its receiver to be put right: no parcel yet."""
    receiver = somebody(address="", province="江苏省")
    order = buy(seller, units, minutes=minutes, receiver=receiver)
    assert order.status == OrderStatus.RESERVED
    return order


def left(shop: Shop) -> int:
    return StockSlice.objects.get(shop=shop).unsold


def claws(*order: SalesOrder) -> Sequence[tuple[str, int, str]]:
    rows = ClawBack.objects.filter(order_id__in=[one.pk for one in order]).order_by("pk")
    return [(c.slice.shop.code, c.quantity, c.state) for c in rows.select_related("slice__shop")]


def wrong() -> set[str]:
    with connection.cursor() as cursor:
        outcomes = look_at(Look(cursor, clock_now(), 5))
    return {one.code for one in outcomes if not one.holds} - {"I3"}  # no shop is read here


def test_a_paid_order_that_is_short_gets_another_shops_unsold_units_at_once(
    seller: Seller, channel: Channel
) -> None:
    high = partner(seller, "high", 3, 90)
    low = partner(seller, "low", 2, 10)
    tell()
    order = buy(seller, 4)
    assert order.status == OrderStatus.ROUTED
    assert promised(order) == {"SOFA": 4}
    assert claws(order) == [("high", 3, "taken"), ("low", 1, "taken")]
    assert sum(c.amount for c in ClawBack.objects.all()) == Decimal("400.00")
    assert (left(high), left(low)) == (0, 1)
    assert holds(order) == set()
    channel.told.clear()
    tell(minutes=1)
    assert sorted(channel.told) == [("high", 0), ("low", 1)]
    assert wrong() == set()


def test_an_order_nobody_has_paid_for_waits(seller: Seller) -> None:
    partner(seller, "high", 3, 90)
    order = buy(seller, 2, paid=False)
    assert holds(order) == {"shortage:shortage"}
    assert claws(order) == []


def test_once_it_is_paid_the_order_gets_what_it_lacked(seller: Seller) -> None:
    partner(seller, "high", 3, 90)
    order = buy(seller, 2, paid=False)
    SalesOrder.objects.filter(pk=order.pk).update(
        paid_at=clock_now(), paid_amount=order.payable_amount
    )
    shortages.work_shortages()
    order.refresh_from_db()
    assert order.status == OrderStatus.ROUTED
    assert claws(order) == [("high", 2, "taken")]


def test_a_refused_figure_sends_the_order_to_the_next_shops_slice(
    seller: Seller, channel: Channel
) -> None:
    high, low = partner(seller, "high", 3, 90), partner(seller, "low", 2, 10)
    tell()
    order = held_back(seller, 2)
    assert claws(order) == [("high", 2, "taken")]
    channel.answers = [PROMOTED]
    tell(minutes=1)
    order.refresh_from_db()
    assert order.status == OrderStatus.RESERVED
    assert claws(order) == [("high", 2, "refused"), ("low", 2, "taken")]
    assert (left(high), left(low)) == (3, 0)
    assert promised(order) == {"SOFA": 2}
    assert wrong() == set()


def test_refused_everywhere_the_order_is_short_and_says_why(
    seller: Seller, channel: Channel
) -> None:
    high = partner(seller, "high", 3, 90)
    tell()
    order = held_back(seller, 2)
    channel.answers = [PROMOTED]
    tell(minutes=1)
    order.refresh_from_db()
    assert order.status == OrderStatus.MAPPED
    assert "shortage:shortage" in holds(order)
    words = OrderHold.objects.open().get(order=order, kind="shortage").words
    assert "活动商品不能减库存" in words
    assert promised(order) == {}
    assert (left(high), claws(order)) == (3, [("high", 2, "refused")])
    assert wrong() == set()


def test_an_order_with_the_warehouse_keeps_its_units_and_people_are_told_of_the_risk(
    seller: Seller, channel: Channel
) -> None:
    RobotFactory.create(min_tier="1")
    high = partner(seller, "high", 3, 90)
    tell()
    order = buy(seller, 2)
    assert order.status == OrderStatus.ROUTED
    channel.answers = [PROMOTED, PROMOTED]
    tell(minutes=1)
    OutboundMessage.objects.filter(state="waiting").update(due_at=clock_now())
    sending.send_out()
    order.refresh_from_db()
    assert order.status == OrderStatus.ROUTED
    assert promised(order) == {"SOFA": 2}
    assert (left(high), claws(order)) == (1, [("high", 2, "taken")])
    assert "超卖" in ClawBack.objects.get().words
    told = Notice.objects.filter(key__startswith="claw:")
    assert [(n.urgency, order.number in n.text) for n in told] == [("2", True)]
    kept = AuditRecord.objects.filter(action=Action.STOCK_CLAWED_BACK).order_by("pk")
    assert [row.change.get("refused") for row in kept] == [None, "活动商品不能减库存"]
    assert wrong() == set()


def test_a_figure_the_platform_has_taken_since_undoes_nothing(
    seller: Seller, channel: Channel
) -> None:
    partner(seller, "high", 3, 90)
    tell()
    order = held_back(seller, 1)
    tell(minutes=1)
    assert channel.told[-1] == ("high", 2)
    later = held_back(seller, 1, minutes=2)
    channel.answers = [PROMOTED]
    tell(minutes=3)
    assert channel.told[-1] == ("high", 1)
    assert claws(order) == [("high", 1, "taken")]
    assert claws(later) == [("high", 1, "refused")]


def test_a_shop_that_refused_just_now_is_passed_over_at_once(
    seller: Seller, channel: Channel
) -> None:
    partner(seller, "high", 3, 90)
    partner(seller, "low", 2, 10)
    tell()
    first = held_back(seller, 1)
    channel.answers = [PROMOTED]
    tell(minutes=1)
    second = held_back(seller, 1)
    assert claws(first) == [("high", 1, "refused"), ("low", 1, "taken")]
    assert claws(second) == [("low", 1, "taken")]


def test_a_canceled_order_gives_back_what_it_took(seller: Seller) -> None:
    high = partner(seller, "high", 3, 90)
    order = buy(seller, 2)
    inventory.release([order.pk], reason="canceled", actor=PIPELINE)
    assert (left(high), claws(order)) == (3, [("high", 2, "returned")])
