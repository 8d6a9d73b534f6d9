"""A change of stock and the figures it changes are one transaction, whatever door it came by."""

from collections.abc import Callable
from contextlib import nullcontext
from datetime import timedelta

import pytest
from django.db import DatabaseError, transaction

from channels_sync import services as channels
from channels_sync.connectors.strict_json import dump_compact
from channels_sync.contracts import MessageKind, RawMessage
from channels_sync.models import InboxMessage, OutboundMessage, PublishedStock
from inventory import moves
from inventory.models import StockLevel
from ordercenter.catalog.models import CodeType, Shop
from ordercenter.core.clock import now as clock_now
from ordercenter.core.policy import Role
from ordercenter.pipeline import decisions, intake, jobs, publishing, shortages, stock_watch
from ordercenter.pipeline.publishing import publish_stock, telling_stock
from tests.factories import (
    ListingFactory,
    RefundRequestFactory,
    ShopCredentialFactory,
    ShopFactory,
    user_with,
)
from tests.pipeline.seller import (
    REASON,
    Seller,
    as_person,
    draft,
    line,
    open_seller,
    take_one,
)
from tests.pipeline.test_intake import trade

pytestmark = pytest.mark.django_db
MINUTE = timedelta(minutes=1)
Door = Callable[[Seller], None]


@pytest.fixture
def seller() -> Seller:
    """Of every good 20 near and 20 far."""
    return open_seller(stock=20)


@pytest.fixture
def other(seller: Seller) -> Shop:
    """A second shop of the same goods, which is told figures."""
    shop: Shop = ShopFactory.create(channel="jd")
    ListingFactory.create(
        shop=shop, code="other-sofa", code_type=CodeType.OUTER_CODE, sku=seller.skus["SOFA"]
    )
    ShopCredentialFactory.create(shop=shop, options={"push_stock": "on"})
    return shop


def settle(shop: Shop) -> None:
    """The platform has taken every figure there is."""
    publish_stock()
    OutboundMessage.objects.filter(shop=shop).update(state="done")
    now = clock_now()
    for row in PublishedStock.objects.filter(listing__shop=shop):
        row.told, row.told_version, row.told_at = row.quantity, row.version, now
        row.save()


def queued(shop: Shop) -> list[int]:
    rows = OutboundMessage.objects.filter(shop=shop, kind="stock", state="waiting")
    return [row.payload["quantity"] for row in rows]


def free(seller: Seller) -> int:
    levels = StockLevel.objects.filter(sku=seller.skus["SOFA"])
    return sum(level.available - level.locked for level in levels)


def arrival(seller: Seller) -> None:
    body = dump_compact(trade(5))
    message = RawMessage(MessageKind.ORDER, body, str(trade(5)["tid"]))
    channels.store([message], source=InboxMessage.Source.POLL, shop_id=seller.shop.pk)
    assert intake.run().orders == 1


def prepare_unpaid(seller: Seller) -> None:
    take_one(seller.shop, draft(line("SOFA", 3), paid=False), now=clock_now() - 60 * MINUTE)


def expiry(_seller: Seller) -> None:
    assert jobs.expire_reservations() == "1 promises ran out"


def prepare_short(seller: Seller) -> None:
    take_one(seller.shop, draft(line("SOFA", 25)))
    seller.receive("SOFA", 10)


def shortage_ends(_seller: Seller) -> None:
    assert shortages.work_shortages() == "1 of 1 shortages go on"


def prepare_unmapped(seller: Seller) -> None:
    take_one(seller.shop, draft(line("NEW-CODE", 2)))
    ListingFactory.create(shop=seller.shop, code="NEW-CODE", sku=seller.skus["SOFA"])


def mapping(_seller: Seller) -> None:
    assert jobs.work_unmapped() == "1 of 1 unmapped orders go on"


def prepare_order(seller: Seller) -> None:
    take_one(seller.shop, draft(line("SOFA", 4)))


def cancel(seller: Seller) -> None:
    user = user_with(Role.WAREHOUSE_SUPERVISOR)
    order = seller.shop.salesorder_set.get()
    decisions.cancel_order(
        order.pk, user=user, actor=as_person(user), seen_version=order.version, reason=REASON
    )


def prepare_crossed_refund(seller: Seller) -> None:
    """Taken in beside its order, each by a worker of its own: the two did not meet."""
    told = draft(line("SOFA", 4))
    take_one(seller.shop, told)
    RefundRequestFactory.create(
        shop=seller.shop, channel_number=told.channel_number, order=None, state="refunded",
        amount=told.paid_amount, intercept_shipping=True,
    )  # fmt: skip


def refund_found(_seller: Seller) -> None:
    assert jobs.tie_refunds() == "1 refunds found their order"


DOORS: list[tuple[Door | None, Door]] = [
    (None, arrival),
    (prepare_unpaid, expiry),
    (prepare_short, shortage_ends),
    (prepare_unmapped, mapping),
    (prepare_order, cancel),
    (prepare_crossed_refund, refund_found),
]


@pytest.mark.parametrize(("prepare", "door"), DOORS, ids=[door.__name__ for _, door in DOORS])
def test_every_door_that_moves_stock_queues_the_new_figure_before_it_commits(
    prepare: Door | None, door: Door, seller: Seller, other: Shop
) -> None:
    if prepare:
        prepare(seller)
    settle(other)
    before = free(seller)
    door(seller)
    assert free(seller) != before
    assert queued(other) == [free(seller)]


@pytest.mark.parametrize(("prepare", "door"), DOORS, ids=[door.__name__ for _, door in DOORS])
def test_without_the_collector_no_door_would_tell_anything(
    prepare: Door | None,
    door: Door,
    seller: Seller,
    other: Shop,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The control of the test above."""
    if prepare:
        prepare(seller)
    settle(other)
    monkeypatch.setattr(moves, "collecting", lambda: nullcontext(set()))
    door(seller)
    assert queued(other) == []


def test_figure_and_stock_are_rolled_back_together(seller: Seller, other: Shop) -> None:
    settle(other)
    with transaction.atomic():
        arrival(seller)
        assert queued(other) == [39]
        transaction.set_rollback(True)
    assert (queued(other), free(seller)) == ([], 40)


def test_of_nested_doors_the_outermost_tells_once(
    seller: Seller, other: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle(other)
    asked: list[list[int]] = []
    monkeypatch.setattr(publishing, "publish_stock", lambda skus: asked.append(list(skus)))
    with telling_stock():
        with telling_stock():
            seller.receive("SOFA", 1)
        assert asked == []
        seller.receive("LAMP", 1)
    assert asked == [sorted([seller.skus["SOFA"].pk, seller.skus["LAMP"].pk])]
    assert not moves.is_collecting()


def test_where_nobody_listens_nothing_is_computed(
    seller: Seller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing, "publish_stock", lambda _skus: pytest.fail("computed"))
    arrival(seller)


def test_figures_that_cannot_be_computed_cost_no_order(
    seller: Seller, other: Shop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The sweep finds them."""
    settle(other)

    def broken(*_args: object, **_named: object) -> None:
        raise DatabaseError("canceling statement due to lock timeout")

    with monkeypatch.context() as patch:
        patch.setattr(publishing, "_figures", broken)
        arrival(seller)
    assert (queued(other), free(seller)) == ([], 39)
    assert "left to the next sweep" in caplog.text
    stock_watch.StockWatch().step()
    assert queued(other) == [39]
