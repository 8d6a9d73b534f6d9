"""What is received goes to those who wait for it, and the shops hear of it in the same commit."""

from datetime import timedelta

import pytest

from channels_sync.models import OutboundMessage
from inventory import arrivals
from inventory.arrivals import Receipt
from inventory.models import Inbound
from ordercenter.core.clock import now as clock_now
from ordercenter.core.policy import Role
from ordercenter.pipeline import publishing
from ordercenter.pipeline.receiving import close_inbound, receive_inbound
from tests.factories import ShopCredentialFactory, user_with
from tests.inventory.shelves import by, ledger_red
from tests.pipeline.seller import Seller, draft, line, open_seller, promised, take, take_one

pytestmark = pytest.mark.django_db


@pytest.fixture
def seller() -> Seller:
    """Nothing lies on the shelves."""
    return open_seller(stock=0)


def announce(seller: Seller, units: int) -> Inbound:
    return arrivals.announce(
        seller.near.pk, {seller.skus["SOFA"].pk: units},
        expected_at=clock_now() + timedelta(days=2), **by(user_with(Role.WAREHOUSE_SUPERVISOR)),
    )  # fmt: skip


def receive(inbound: Inbound, good: int, *, seen: int = 0) -> None:
    receipt = Receipt(inbound.lines.get().pk, good, 0, seen)
    receive_inbound(inbound.pk, [receipt], **by(user_with(Role.WAREHOUSE_SUPERVISOR)))


def test_goods_received_go_first_to_those_who_were_promised_them(seller: Seller) -> None:
    coming = announce(seller, 3)
    at = clock_now() - timedelta(hours=2)
    later, earlier = take(
        seller.shop,
        draft(line(quantity=2), is_presale=True, at=at + timedelta(minutes=5)),
        draft(line(quantity=2), is_presale=True, at=at),
    )
    receive(coming, 2)
    assert (promised(earlier), promised(later)) == ({"SOFA": 2}, {})
    newcomer = take_one(seller.shop, draft(line(quantity=1)))
    assert promised(newcomer) == {}
    assert ledger_red() == set()


def test_the_figure_of_received_goods_waits_in_the_outbox(seller: Seller) -> None:
    ShopCredentialFactory.create(shop=seller.shop, options={"push_stock": "on"})
    seller.shop.listings.update(platform_item_id="1", platform_sku_id="2")
    publishing.listeners.forget()
    receive(announce(seller, 10), 10)
    told = OutboundMessage.objects.filter(kind="stock", subject__startswith="stock:")
    assert 10 in [message.payload["quantity"] for message in told]


def test_an_arrival_closed_short_is_expected_no_longer(seller: Seller) -> None:
    coming = announce(seller, 10)
    receive(coming, 4)
    closed = close_inbound(
        coming.pk, reason="供应商少发", **by(user_with(Role.WAREHOUSE_SUPERVISOR))
    )
    assert closed.state == "received"
    assert ledger_red() == set()
