"""Quotas and safety stock in the admin: what is refused, what is recorded, what is told at once."""

from http import HTTPStatus
from typing import Any

import pytest
from django.test import Client

from channels_sync.models import OutboundMessage
from inventory.models import ChannelQuota, SafetyStock, StockBuffer, StockLevel
from ordercenter.audit.models import AuditRecord
from ordercenter.catalog.models import Shop, Sku
from ordercenter.core.policy import Role
from tests.factories import (
    ListingFactory,
    ShopCredentialFactory,
    StockLevelFactory,
    user_with,
)

pytestmark = pytest.mark.django_db
QUOTA = "/admin/inventory/channelquota/"
SAFETY = "/admin/inventory/safetystock/"


@pytest.fixture
def browser() -> Client:
    client = Client()
    client.force_login(user_with(Role.OPERATIONS_SUPERVISOR))
    return client


@pytest.fixture
def level() -> StockLevel:
    """100 on the shelf, 20 of them promised."""
    made: StockLevel = StockLevelFactory.create(on_hand=100, reserved=20)
    return made


@pytest.fixture
def shop(level: StockLevel) -> Shop:
    """Lists what lies there and is told figures."""
    listing = ListingFactory.create(sku=level.sku, shop__channel="jd")
    ShopCredentialFactory.create(shop=listing.shop, options={"push_stock": "on"})
    made: Shop = listing.shop
    return made


def quota(shop: Shop, sku: Sku | None, **changes: Any) -> dict[str, Any]:
    form = {
        "shop": shop.pk, "sku": sku.pk if sku else "", "percent": "100", "plus": "0",
        "minimum": "", "maximum": "", "priority": "10", "is_active": "on", "seen": "0",
    }  # fmt: skip
    return {**form, **changes}


def safety(sku: Sku | None, method: str, value: str, **changes: Any) -> dict[str, Any]:
    form = {
        "sku": sku.pk if sku else "", "method": method, "value": value, "floor": "0", "cap": "",
        "hot_until_0": "", "hot_until_1": "", "is_active": "on",
    }  # fmt: skip
    return {**form, **changes}


def told() -> list[int]:
    rows = OutboundMessage.objects.filter(state="waiting").order_by("pk")
    return [row.payload["quantity"] for row in rows]


def test_a_quota_is_recorded_and_the_shop_told_as_it_is_saved(
    browser: Client, shop: Shop, level: StockLevel
) -> None:
    answer = browser.post(f"{QUOTA}add/", quota(shop, level.sku, percent="50"))
    assert answer.status_code == HTTPStatus.FOUND
    assert told() == [40]
    row = ChannelQuota.objects.get()
    answer = browser.post(
        f"{QUOTA}{row.pk}/change/", quota(shop, level.sku, percent="25", seen="1")
    )
    assert answer.status_code == HTTPStatus.FOUND
    assert told() == [20]
    record = AuditRecord.objects.filter(action="stock_policy_changed").order_by("pk").last()
    assert record is not None
    assert record.change["percent"] == ["50.00", "25.00"]
    assert ChannelQuota.objects.get().version == 2
    browser.post(f"{QUOTA}{row.pk}/delete/", {"post": "yes"})
    assert told() == [80]


def test_a_quota_changed_meanwhile_is_refused(
    browser: Client, shop: Shop, level: StockLevel
) -> None:
    """BS18."""
    row = ChannelQuota.objects.create(shop=shop, sku=level.sku, version=3)
    answer = browser.post(
        f"{QUOTA}{row.pk}/change/", quota(shop, level.sku, percent="25", seen="2")
    )
    assert "已被他人更新" in answer.content.decode()
    assert ChannelQuota.objects.get().percent == 100


def test_minima_that_sum_above_what_is_free_are_refused(
    browser: Client, shop: Shop, level: StockLevel
) -> None:
    """BS16: 80 are free."""
    ChannelQuota.objects.create(shop=ListingFactory.create().shop, sku=level.sku, minimum=50)
    answer = browser.post(f"{QUOTA}add/", quota(shop, level.sku, minimum="31"))
    assert "各店最少合计 81 件，超过可用 80 件" in answer.content.decode()
    assert browser.post(f"{QUOTA}add/", quota(shop, level.sku, minimum="30")).status_code == (
        HTTPStatus.FOUND
    )


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({"percent": "150"}, "100"),
        ({"percent": "-1"}, "0 到 100"),
        ({"minimum": "5", "maximum": "4"}, "最少不能大于最多"),
        ({"minimum": "-5"}, "0"),
    ],
)
def test_a_quota_out_of_bounds_is_refused(
    form: dict[str, str], words: str, browser: Client, shop: Shop, level: StockLevel
) -> None:
    answer = browser.post(f"{QUOTA}add/", quota(shop, level.sku, **form))
    assert words in answer.content.decode()
    assert not ChannelQuota.objects.exists()


@pytest.mark.parametrize(
    ("method", "value", "more"),
    [
        ("percent", "150", {}),
        ("units", "101", {}),
        ("units", "-1", {}),
        ("volatility", "0", {"floor": "101"}),
        ("volatility", "0", {"floor": "5", "cap": "4"}),
    ],
)
def test_safety_stock_above_what_is_there_is_refused(
    method: str, value: str, more: dict[str, str], browser: Client, level: StockLevel
) -> None:
    """BS15."""
    answer = browser.post(f"{SAFETY}add/", safety(level.sku, method, value, **more))
    assert answer.status_code == HTTPStatus.OK
    assert "errornote" in answer.content.decode() or "error" in answer.content.decode()
    assert not SafetyStock.objects.exists()


def test_safety_stock_counts_as_soon_as_it_is_saved(
    browser: Client, shop: Shop, level: StockLevel
) -> None:
    browser.post(f"{SAFETY}add/", safety(level.sku, "units", "30"))
    assert StockBuffer.objects.get().units == 30
    assert told() == [50]
    page = browser.get("/admin/inventory/stockbuffer/").content.decode()
    assert "固定件数，保留 30 件" in page
    row = SafetyStock.objects.get()
    browser.post(f"{SAFETY}{row.pk}/delete/", {"post": "yes"})
    assert told() == [80]
