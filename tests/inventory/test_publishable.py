"""The one figure: what a shop may show, by its slices, its quota, and what is kept back."""

from decimal import Decimal
from typing import Any

import pytest

from inventory.models import ChannelQuota, StockBuffer, StockLevel, StockSlice, VirtualWarehouse
from inventory.publishable import Publishable, publishable, publishable_sets
from ordercenter.catalog.models import Bundle, Shop, Sku
from ordercenter.core.clock import now as clock_now
from tests.factories import (
    BundleFactory,
    BundlePartFactory,
    ListingFactory,
    ShopFactory,
    SkuFactory,
    StockLevelFactory,
    VirtualWarehouseFactory,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def shop() -> Shop:
    made: Shop = ShopFactory.create()
    return made


@pytest.fixture
def sku() -> Sku:
    made: Sku = SkuFactory.create()
    return made


@pytest.fixture
def near(sku: Sku) -> StockLevel:
    """60 on the shelf, 10 of them promised."""
    made: StockLevel = StockLevelFactory.create(sku=sku, on_hand=60, reserved=10)
    return made


@pytest.fixture
def far(sku: Sku) -> StockLevel:
    """50 more elsewhere."""
    made: StockLevel = StockLevelFactory.create(sku=sku, on_hand=50)
    return made


def figure(shop: Shop, sku: Sku) -> Publishable:
    (found,) = publishable([(shop.pk, sku.pk)])
    return found


def keep_back(sku: Sku, units: int) -> None:
    StockBuffer.objects.create(sku=sku, units=units, computed_at=clock_now())


def set_aside(level: StockLevel, shop: Shop, units: int, unsold: int | None = None) -> StockSlice:
    left = units if unsold is None else unsold
    StockLevel.objects.filter(pk=level.pk).update(locked=left)
    return StockSlice.objects.create(level=level, shop=shop, quantity=units, unsold=left)


def test_without_rules_a_shop_shows_what_is_free_everywhere(
    shop: Shop, sku: Sku, near: StockLevel, far: StockLevel
) -> None:
    found = figure(shop, sku)
    assert (found.on_hand, found.reserved, found.free, found.own) == (110, 10, 100, 0)
    assert (found.pool, found.buffer, found.quota_id, found.units) == (100, 0, None, 100)


def test_what_nobody_has_shows_nothing(shop: Shop, sku: Sku) -> None:
    assert figure(shop, sku).units == 0


@pytest.mark.parametrize(
    ("rule", "units"),
    [
        ({"percent": 50}, 50),
        ({"percent": Decimal("33.33")}, 33),
        ({"percent": 0}, 0),
        ({"percent": 50, "plus": 7}, 57),
        ({"percent": 50, "plus": -60}, 0),
        ({"plus": 20}, 100),
        ({"percent": 10, "minimum": 30}, 30),
        ({"percent": 10, "minimum": 400}, 100),
        ({"maximum": 15}, 15),
        ({"percent": 0, "maximum": 0, "minimum": 0}, 0),
        ({"percent": 50, "is_active": False}, 100),
    ],
)
def test_a_quota_says_how_much_is_shown_and_never_more_than_there_is(
    rule: dict[str, Any], units: int, shop: Shop, sku: Sku, near: StockLevel
) -> None:
    StockLevelFactory.create(sku=sku, on_hand=50)
    ChannelQuota.objects.create(shop=shop, sku=sku, **rule)
    assert figure(shop, sku).units == units


def test_a_rule_of_its_own_goes_before_the_shops_rule_for_all(
    shop: Shop, sku: Sku, near: StockLevel
) -> None:
    ChannelQuota.objects.create(shop=shop, percent=10)
    assert figure(shop, sku).units == 5
    own = ChannelQuota.objects.create(shop=shop, sku=sku, percent=80)
    assert (figure(shop, sku).units, figure(shop, sku).quota_id) == (40, own.pk)
    ChannelQuota.objects.filter(pk=own.pk).update(is_active=False)
    assert figure(shop, sku).units == 5


def test_another_shops_rule_is_none_of_ours(shop: Shop, sku: Sku, near: StockLevel) -> None:
    ChannelQuota.objects.create(shop=ShopFactory.create(), sku=sku, percent=1)
    assert figure(shop, sku).units == 50


def test_a_quota_of_chosen_warehouses_shows_those_alone(
    shop: Shop, sku: Sku, near: StockLevel, far: StockLevel
) -> None:
    quota = ChannelQuota.objects.create(shop=shop, sku=sku)
    quota.warehouses.add(far.virtual_warehouse.warehouse)
    found = figure(shop, sku)
    assert (found.free, found.pool, found.units) == (100, 50, 50)


def test_safety_stock_is_taken_off_before_the_share(
    shop: Shop, sku: Sku, near: StockLevel, far: StockLevel
) -> None:
    keep_back(sku, 20)
    assert figure(shop, sku).units == 80
    ChannelQuota.objects.create(shop=shop, percent=50)
    assert figure(shop, sku).units == 40


def test_safety_stock_above_what_there_is_shows_nothing(
    shop: Shop, sku: Sku, near: StockLevel
) -> None:
    keep_back(sku, 51)
    assert figure(shop, sku).units == 0


def test_a_shops_own_slice_is_shown_whole_and_to_nobody_else(
    shop: Shop, sku: Sku, near: StockLevel
) -> None:
    set_aside(near, shop, 30, unsold=25)
    keep_back(sku, 5)
    ChannelQuota.objects.create(shop=shop, sku=sku, percent=10)
    found = figure(shop, sku)
    assert (found.own, found.free, found.units) == (25, 25, 27)
    assert figure(ShopFactory.create(), sku).units == 20


def test_a_slice_that_ended_is_shown_no_more(shop: Shop, sku: Sku, near: StockLevel) -> None:
    made = set_aside(near, shop, 30)
    StockSlice.objects.filter(pk=made.pk).update(is_active=False, unsold=0)
    StockLevel.objects.filter(pk=near.pk).update(locked=0)
    assert (figure(shop, sku).own, figure(shop, sku).units) == (0, 50)


def test_places_of_other_shops_and_closed_warehouses_do_not_count(
    shop: Shop, sku: Sku, near: StockLevel, far: StockLevel
) -> None:
    near.virtual_warehouse.shops.add(ShopFactory.create())
    assert figure(shop, sku).units == 50
    far.virtual_warehouse.warehouse.is_active = False
    far.virtual_warehouse.warehouse.save()
    assert figure(shop, sku).units == 0


def test_all_that_active_shops_list_is_asked_for_when_nothing_is_named(
    shop: Shop, sku: Sku, near: StockLevel
) -> None:
    ListingFactory.create(shop=shop, sku=sku)
    bundle = BundleFactory.create()
    part = BundlePartFactory.create(bundle=bundle).sku
    ListingFactory.create(shop=shop, sku=None, bundle=bundle)
    ListingFactory.create(shop=ShopFactory.create(is_active=False), sku=sku)
    assert {(f.shop_id, f.sku_id) for f in publishable()} == {
        (shop.pk, sku.pk),
        (shop.pk, part.pk),
    }


@pytest.fixture
def bundle(sku: Sku) -> Bundle:
    """Two of ``sku`` and one of another."""
    made: Bundle = BundleFactory.create()
    BundlePartFactory.create(bundle=made, sku=sku, quantity=2)
    BundlePartFactory.create(bundle=made, quantity=1)
    return made


def test_a_set_is_shown_where_its_parts_lie_together(
    shop: Shop, sku: Sku, bundle: Bundle, near: StockLevel, far: StockLevel
) -> None:
    """25 pairs near, 25 far; of the other part 3 near, 40 far, 9 where there is no pair."""
    second = bundle.bundle_parts.exclude(sku=sku).get().sku
    elsewhere: VirtualWarehouse = VirtualWarehouseFactory.create()
    for place, units in (
        (near.virtual_warehouse, 3), (far.virtual_warehouse, 40), (elsewhere, 9)
    ):  # fmt: skip
        StockLevelFactory.create(virtual_warehouse=place, sku=second, on_hand=units)
    assert publishable_sets([(shop.pk, bundle.pk)]) == {(shop.pk, bundle.pk): 28}


def test_a_set_shows_no_more_of_a_part_than_the_part_may(
    shop: Shop, sku: Sku, bundle: Bundle, near: StockLevel
) -> None:
    second = bundle.bundle_parts.exclude(sku=sku).get().sku
    StockLevelFactory.create(virtual_warehouse=near.virtual_warehouse, sku=second, on_hand=100)
    ChannelQuota.objects.create(shop=shop, sku=sku, maximum=11)
    assert publishable_sets([(shop.pk, bundle.pk)]) == {(shop.pk, bundle.pk): 5}
    keep_back(second, 97)
    assert publishable_sets([(shop.pk, bundle.pk)]) == {(shop.pk, bundle.pk): 3}


def test_where_there_is_too_little_for_every_minimum_the_first_priority_is_met_first(
    sku: Sku, near: StockLevel
) -> None:
    """50 are free, 80 wanted."""
    first, second, third = ShopFactory.create_batch(3)
    ChannelQuota.objects.create(shop=third, sku=sku, percent=0, minimum=30, priority=3)
    ChannelQuota.objects.create(shop=first, sku=sku, percent=0, minimum=20, priority=1)
    ChannelQuota.objects.create(shop=second, percent=0, minimum=30, priority=2)
    shown = [figure(shop, sku).units for shop in (first, second, third)]
    assert shown == [20, 30, 0]
