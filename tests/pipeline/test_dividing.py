"""Dividing an order over warehouses, where its shop lets it and no single one has everything."""

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError

from inventory.models import Reservation
from ordercenter.catalog.models import Shop
from ordercenter.orders.models import SalesOrder
from ordercenter.pipeline import shortages
from tests.factories import VirtualWarehouseFactory
from tests.pipeline.seller import (
    Carrier,
    Seller,
    draft,
    holds,
    line,
    open_seller,
    promised,
    refund,
    take_one,
    take_refund,
)
from tests.pipeline.test_parting import broken, inside, leaves, live, send, told_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def seller() -> Seller:
    """Sofas lie in the near warehouse, lamps and rugs in the far one; the shop divides orders."""
    return open_divided(2)


def open_divided(most: int, **changes: str) -> Seller:
    seller = open_seller(stock=0, **changes)
    Shop.objects.filter(pk=seller.shop.pk).update(most_parcels=most)
    seller.receive("SOFA", 10)
    seller.receive("LAMP", 10, seller.far)
    seller.receive("RUG", 10, seller.far)
    return seller


def both(seller: Seller) -> SalesOrder:
    return take_one(seller.shop, draft(line("SOFA", 2), line("LAMP")))


def test_by_default_no_order_is_divided() -> None:
    seller = open_divided(1)
    order = both(seller)
    assert holds(order) == {"shortage:shortage"}
    assert promised(order) == {}


def test_each_warehouse_sends_what_it_has(seller: Seller, boss: User, carrier: Carrier) -> None:
    order = both(seller)
    assert (order.status, holds(order)) == ("routed", set())
    near, far = sorted(live(order), key=lambda parcel: parcel.warehouse_id)
    assert (inside(near), inside(far)) == ({"SOFA": 2}, {"LAMP": 1})
    assert (near.warehouse, far.warehouse) == (seller.near.warehouse, seller.far.warehouse)
    assert broken() == {}
    send(far, boss)
    order.refresh_from_db()
    assert (order.status, leaves(order)) == ("routed", {"SOFA": "", "LAMP": "gone"})
    assert broken() == {}
    send(near, boss)
    order.refresh_from_db()
    assert order.status == "shipped"
    first, second = told_of(order)
    assert (first.payload["last"], second.payload["last"]) == (False, True)
    assert broken() == {}


def test_one_warehouse_that_has_everything_sends_everything(seller: Seller) -> None:
    seller.receive("SOFA", 5, seller.far)
    order = both(seller)
    (parcel,) = live(order)
    assert parcel.warehouse == seller.far.warehouse
    assert inside(parcel) == {"SOFA": 2, "LAMP": 1}


def test_a_bundle_is_never_divided(seller: Seller) -> None:
    seller.receive("VASE", 5)
    third = VirtualWarehouseFactory.create(warehouse__rank=9)
    rug = seller.skus["RUG"].pk
    whole = take_one(seller.shop, draft(line("SOFA"), line("SET", 1, "300")))
    far = next(one for one in live(whole) if one.warehouse == seller.far.warehouse)
    assert inside(far) == {"LAMP": 2, "RUG": 1}
    seller.receive("RUG", 5, third)
    taken = take_one(seller.shop, draft(line("RUG", 9)))  # of rugs the far one has none left
    assert taken.status == "routed"
    short = take_one(seller.shop, draft(line("SOFA"), line("SET", 1, "300")))
    assert holds(short) == {"shortage:shortage"}
    assert not Reservation.objects.filter(order_id=short.pk, level__sku=rug).exists()
    assert broken() == {}


def test_no_more_parcels_than_the_shop_allows() -> None:
    seller = open_divided(2)
    third = VirtualWarehouseFactory.create(warehouse__rank=9)
    seller.receive("VASE", 5, third)
    told = draft(line("SOFA"), line("LAMP"), line("VASE"))
    order = take_one(seller.shop, told)
    assert holds(order) == {"shortage:shortage"}
    Shop.objects.filter(pk=seller.shop.pk).update(most_parcels=3)
    shortages.work_shortages()
    order.refresh_from_db()
    assert order.status == "routed"
    assert len(live(order)) == 3
    assert broken() == {}


def test_a_short_order_is_divided_once_its_parts_are_there(seller: Seller) -> None:
    order = take_one(seller.shop, draft(line("SOFA"), line("VASE")))
    assert holds(order) == {"shortage:shortage"}
    seller.receive("VASE", 1, seller.far)
    assert shortages.work_shortages().startswith("1 of 1")
    assert len(live(order)) == 2


def test_a_refund_stops_both_and_cancels_both(seller: Seller, boss: User) -> None:
    told = draft(line("SOFA", 2), line("LAMP"))
    order = take_one(seller.shop, told)
    take_refund(seller.shop, refund(told))
    assert holds(order) == {"refund:refund"}
    take_refund(seller.shop, refund(told, "refunded"))
    order.refresh_from_db()
    assert (order.status, promised(order), live(order)) == ("canceled", {}, [])
    assert broken() == {}


def test_the_database_refuses_a_senseless_number_of_parcels(seller: Seller) -> None:
    with pytest.raises(IntegrityError):
        Shop.objects.filter(pk=seller.shop.pk).update(most_parcels=0)
