"""What is nearly gone, as our own shops are told: the words, and how many an order may take."""

import pytest
from django.test import Client

from inventory.models import ChannelQuota, StockLevel, StockPolicy
from ordercenter.catalog.models import CodeType, Shop
from ordercenter.core.policy import Role, Scope
from tests.api.test_orders import refused, speaking_for
from tests.factories import (
    BundleFactory,
    BundlePartFactory,
    ListingFactory,
    ShopFactory,
    StockLevelFactory,
    user_with,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def api() -> Client:
    return speaking_for(user_with(Role.IT), Scope.STOCK_READ)


@pytest.fixture
def shop() -> Shop:
    made: Shop = ShopFactory.create(code="MINI", channel="miniprogram")
    return made


def lists(shop: Shop, code: str, units: int) -> StockLevel:
    level: StockLevel = StockLevelFactory.create(on_hand=units)
    ListingFactory.create(shop=shop, code=code, code_type=CodeType.OUTER_CODE, sku=level.sku)
    return level


def window(api: Client, shop: Shop) -> dict[str, tuple[int, str, int]]:
    answer = api.get(f"/api/window/{shop.code}/")
    assert answer.status_code == 200, answer.content
    return {
        row["code"]: (row["units"], row["text"], row["most_per_order"])
        for row in answer.json()["results"]
    }


def test_below_ten_the_buyer_is_told_and_an_order_takes_two(api: Client, shop: Shop) -> None:
    for code, units in (("TEN", 10), ("NINE", 9), ("TWO", 2), ("ONE", 1), ("NONE", 0)):
        lists(shop, code, units)
    lists(ShopFactory.create(), "OTHER", 1)
    assert window(api, shop) == {
        "NINE": (9, "仅剩9件", 2),
        "TWO": (2, "仅剩2件", 2),
        "ONE": (1, "仅剩1件", 1),
        "NONE": (0, "已售罄", 0),
    }


def test_it_is_the_figure_the_shop_is_told_that_counts(api: Client, shop: Shop) -> None:
    level = lists(shop, "MANY", 100)
    bundle = BundleFactory.create()
    BundlePartFactory.create(bundle=bundle, sku=level.sku, quantity=3)
    ListingFactory.create(
        shop=shop, code="SET", code_type=CodeType.OUTER_CODE, sku=None, bundle=bundle
    )
    ChannelQuota.objects.create(shop=shop, sku=level.sku, maximum=8)
    assert window(api, shop) == {"MANY": (8, "仅剩8件", 2), "SET": (2, "仅剩2件", 2)}


def test_the_thresholds_are_the_policys(api: Client, shop: Shop) -> None:
    StockPolicy.objects.create(few_below=4, few_most_per_order=3)
    lists(shop, "FIVE", 4)
    lists(shop, "THREE", 3)
    assert window(api, shop) == {"THREE": (3, "仅剩3件", 3)}


def test_unknown_shops_and_questions_are_refused(api: Client, shop: Shop) -> None:
    refused(api.get("/api/window/NOBODY/"), "not_found", 404)
    assert api.get(f"/api/window/{shop.code}/?sku=1").status_code == 400
    assert api.post(f"/api/window/{shop.code}/").status_code == 405
