"""Setting units aside for a shop by form: within what is free, seen fresh, told in words."""

import pytest
from django.test import Client

from inventory import services as inventory
from inventory.models import StockLevel, StockSlice
from ordercenter.audit.models import Action, AuditRecord
from ordercenter.catalog.models import Shop
from ordercenter.core.actor import PIPELINE
from ordercenter.core.policy import Role
from tests.console.conftest import AsRole
from tests.console.test_reference_admin import form_of
from tests.factories import ShopFactory, StockLevelFactory

pytestmark = pytest.mark.django_db
SLICES = "/admin/inventory/stockslice/"


@pytest.fixture
def shop() -> Shop:
    made: Shop = ShopFactory.create()
    return made


@pytest.fixture
def level() -> StockLevel:
    made: StockLevel = StockLevelFactory.create(on_hand=0)
    inventory.receive([(made.virtual_warehouse_id, made.sku_id, 10)], actor=PIPELINE)
    return made


@pytest.fixture
def boss(as_role: AsRole) -> Client:
    return as_role(Role.OPERATIONS_SUPERVISOR)


def set_aside(boss: Client, level: StockLevel, shop: Shop, units: int) -> tuple[int, str]:
    """(status, what the page says)."""
    post = {"level": level.pk, "shop": shop.pk, "units": units, "priority": 10, "seen": 0}
    page = boss.post(f"{SLICES}add/", post)
    return page.status_code, page.content.decode()


def change(row: StockSlice) -> str:
    return f"{SLICES}{row.pk}/change/"


def locked(level: StockLevel) -> int:
    level.refresh_from_db()
    return level.locked


def test_a_slice_is_set_changed_and_ended(boss: Client, level: StockLevel, shop: Shop) -> None:
    assert set_aside(boss, level, shop, 4)[0] == 302
    row = StockSlice.objects.get()
    assert (row.unsold, row.is_active, locked(level)) == (4, True, 4)
    for units in (7, 0):
        post = form_of(boss, change(row)) | {"units": units}
        assert boss.post(change(row), post).status_code == 302
        assert locked(level) == units
    row.refresh_from_db()
    assert not row.is_active
    kept = AuditRecord.objects.filter(action=Action.STOCK_POLICY_CHANGED)
    assert kept.count() == 3
    assert boss.get(SLICES).status_code == 200


def test_more_than_is_free_is_refused_in_words(boss: Client, level: StockLevel, shop: Shop) -> None:
    status, words = set_aside(boss, level, shop, 11)
    assert status == 200
    assert "最多可锁定 10 件" in words
    assert not StockSlice.objects.exists()


def test_a_second_click_changes_nothing_and_another_number_is_told_to_look_again(
    boss: Client, level: StockLevel, shop: Shop
) -> None:
    assert set_aside(boss, level, shop, 4)[0] == 302
    assert set_aside(boss, level, shop, 4)[0] == 302
    status, words = set_aside(boss, level, shop, 5)
    assert (status, locked(level)) == (200, 4)
    assert "已被他人更新" in words


def test_a_form_seen_before_anothers_change_is_refused(
    boss: Client, level: StockLevel, shop: Shop
) -> None:
    set_aside(boss, level, shop, 4)
    row = StockSlice.objects.get()
    seen = form_of(boss, change(row))
    boss.post(change(row), seen | {"units": 6})
    page = boss.post(change(row), seen | {"units": 5})
    assert "已被他人更新" in page.content.decode()
    assert locked(level) == 6
