"""The platform's own ids, learned from the orders that name them."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from django.db import OperationalError, connection, transaction

from ordercenter.audit.models import AuditRecord
from ordercenter.catalog import learning
from ordercenter.catalog.learning import Address, learn_addresses
from ordercenter.catalog.models import Listing, Shop
from ordercenter.core.actor import PIPELINE
from tests.factories import ListingFactory, ShopFactory

pytestmark = pytest.mark.django_db


def learn(*told: Address) -> int:
    with transaction.atomic():
        return learn_addresses(told, actor=PIPELINE)


def ids(listing: Listing) -> tuple[str, str]:
    listing.refresh_from_db()
    return listing.platform_sku_id, listing.platform_item_id


def by_code(shop: Shop, code: str = "SOFA", **fields: Any) -> Listing:
    listing: Listing = ListingFactory.create(shop=shop, code_type="outer_code", code=code, **fields)
    return listing


@pytest.fixture
def shop() -> Shop:
    made: Shop = ShopFactory.create()
    return made


def test_a_listing_learns_both_ids_and_it_is_on_record(shop: Shop) -> None:
    listing = by_code(shop)
    assert learn((shop.pk, "SOFA", "777", "9001")) == 1
    assert ids(listing) == ("777", "9001")
    assert listing.version == 1
    record = AuditRecord.objects.get(object_type="listing", object_id=listing.pk)
    assert record.change == {"platform_sku_id": ["", "777"], "platform_item_id": ["", "9001"]}


def test_a_listing_by_the_platforms_id_lacks_only_the_item(shop: Shop) -> None:
    listing = ListingFactory.create(shop=shop, code_type="sku_id", code="777")
    assert learn((shop.pk, "SOFA", "777", "9001")) == 1
    assert ids(listing) == ("", "9001")


def test_what_is_known_or_typed_stays_and_leaves_no_record(shop: Shop) -> None:
    listing = by_code(shop, platform_sku_id="1", platform_item_id="2")
    assert learn((shop.pk, "SOFA", "777", "9001")) == 0
    assert ids(listing) == ("1", "2")
    assert not AuditRecord.objects.exists()


def test_an_item_id_is_only_taken_from_the_same_sku(shop: Shop) -> None:
    listing = by_code(shop, platform_sku_id="1")
    assert learn((shop.pk, "SOFA", "777", "9001")) == 0
    assert learn((shop.pk, "SOFA", "1", "9002")) == 1
    assert ids(listing) == ("1", "9002")


def test_codes_that_disagree_teach_nothing(shop: Shop) -> None:
    listing = by_code(shop)
    by_id = ListingFactory.create(shop=shop, code_type="sku_id", code="777")
    assert learn((shop.pk, "SOFA", "777", "")) == 0
    assert ids(listing) == ("", "")
    Listing.objects.filter(pk=by_id.pk).update(sku=listing.sku)
    assert learn((shop.pk, "SOFA", "777", "")) == 1


def test_one_code_told_with_two_ids_learns_one_whole_pair(shop: Shop) -> None:
    listing = by_code(shop)
    assert learn((shop.pk, "SOFA", "777", "9001"), (shop.pk, "SOFA", "778", "9002")) == 1
    assert ids(listing) == ("777", "9001")


def test_another_shops_listing_and_empty_or_endless_ids_teach_nothing(shop: Shop) -> None:
    listing = by_code(ShopFactory.create())
    mine = by_code(shop)
    assert learn((shop.pk, "SOFA", "", ""), (shop.pk, "SOFA", "7" * 65, "")) == 0
    assert learn((shop.pk, "OTHER", "777", "9001")) == 0
    assert ids(listing) == ids(mine) == ("", "")


@pytest.mark.django_db(transaction=True)
def test_two_batches_that_learn_the_same_learn_it_once(
    run_together: Callable[..., list[Any]],
) -> None:
    shop = ShopFactory.create()
    rows = [by_code(shop, f"C{n}") for n in range(40)]
    told = [(shop.pk, f"C{n}", str(n), f"9{n}") for n in range(40)]
    results = run_together(partial(learn, *told), partial(learn, *reversed(told)))
    assert all(isinstance(result, int) for result in results), results
    assert AuditRecord.objects.count() == 40
    assert {ids(row) for row in rows} == {(str(n), f"9{n}") for n in range(40)}


@pytest.mark.django_db(transaction=True)
def test_a_batch_of_orders_never_waits_for_a_listing_in_somebodys_hand(
    run_together: Callable[..., list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = ShopFactory.create()
    listing = by_code(shop)
    told = (shop.pk, "SOFA", "777", "9001")

    def impatient() -> int:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL lock_timeout = '200ms'")
            return learn_addresses([told], actor=PIPELINE)

    def beside_a_person() -> Any:
        with transaction.atomic():
            Listing.objects.select_for_update().get(pk=listing.pk)
            return run_together(impatient)[0]

    assert beside_a_person() == 0
    patient = learning._LEARN.replace(" SKIP LOCKED", "")
    monkeypatch.setattr(learning, "_LEARN", patient)
    assert isinstance(beside_a_person(), OperationalError)  # the control
    assert learn(told) == 1
