"""BS19: a SKU merged while it is reserved. Both ledgers are kept, reservations follow."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Sum

from fulfillment.models import ParcelLine
from inventory.models import (
    Bin,
    BinPlace,
    ChannelQuota,
    Reservation,
    SafetyStock,
    StockBuffer,
    StockLevel,
    StockMovement,
)
from ordercenter.audit.models import AuditRecord
from ordercenter.catalog.models import Listing, Sku
from ordercenter.core.errors import InvalidInput, NotAllowed
from ordercenter.core.policy import Role
from ordercenter.orders.models import SalesOrder
from ordercenter.pipeline import sku_merge, stages, work
from ordercenter.pipeline.invariants import run_all
from ordercenter.pipeline.sku_merge import Merge, merge_skus, preview
from tests.factories import (
    BundlePartFactory,
    GiftStrategyFactory,
    ListingFactory,
    ShopFactory,
    SkuFactory,
    user_with,
)
from tests.pipeline.seller import (
    Carrier,
    Seller,
    as_person,
    draft,
    line,
    open_seller,
    pick,
    promised,
    ship,
    take,
    take_one,
)

REASON = "同一货品建了两次"


def merge(seller: Seller, user: User, old: str = "LAMP", kept: str = "VASE") -> Merge:
    ids = (seller.skus[old].pk, seller.skus[kept].pk)
    return merge_skus(*ids, user=user, actor=as_person(user), reason=REASON)


@transaction.atomic
def committed(seller: Seller, *drafts: Any) -> list[SalesOrder]:
    return take(seller.shop, *drafts)


def units(code: str) -> tuple[int, int]:
    found = StockLevel.objects.filter(sku__code=code).aggregate(Sum("on_hand"), Sum("reserved"))
    return found["on_hand__sum"], found["reserved__sum"]


@pytest.mark.django_db(transaction=True)
def test_bs19_reservations_follow_and_both_ledgers_are_kept(boss: User, carrier: Carrier) -> None:
    seller = open_seller()
    unpaid, routed, picked, gone, in_set, short = committed(
        seller, draft(line("LAMP", 2), paid=False), draft(line("LAMP", 3)), draft(line("LAMP", 4)),
        draft(line("LAMP", 5)), draft(line("SET", 1, "300")), draft(line("LAMP", 101)),
    )  # fmt: skip
    pick(picked, boss)
    ship(gone, boss)
    until = Reservation.objects.get(order_id=unpaid.pk).expires_at
    before = StockMovement.objects.filter(level__sku__code="LAMP").count()
    seen = preview(seller.skus["LAMP"].pk, seller.skus["VASE"].pk)
    assert (seen.listings, seen.bundles, seen.orders) == (1, ("SET",), 5)
    assert (seen.units, seen.promised, seen.problems) == (195, 11, ())
    merge(seller, boss)
    assert [promised(o) for o in (unpaid, routed, picked)] == [{"VASE": n} for n in (2, 3, 4)]
    assert promised(in_set) == {"VASE": 2, "RUG": 1}
    assert Reservation.objects.get(order_id=unpaid.pk, state="active").expires_at == until
    assert (units("LAMP"), units("VASE")) == ((0, 0), (395, 11))
    assert gone.lines.get().sku == seller.skus["LAMP"]
    assert short.lines.get().sku == seller.skus["VASE"]
    assert {p.sku.code for p in ParcelLine.objects.filter(parcel__order=picked)} == {"VASE"}
    assert StockMovement.objects.filter(level__sku__code="LAMP").count() > before
    paper = StockMovement.objects.filter(document=f"merge:{seller.skus['LAMP'].pk}")
    assert {m.reason for m in paper} == {"merge"}
    listing = Listing.objects.get(code="LAMP")
    assert (listing.sku, listing.version) == (seller.skus["VASE"], 2)
    assert listing.versions.latest("version").reason == f"货品合并：{REASON}"
    assert seller.bundle is not None
    parts = seller.bundle.bundle_parts.values_list("sku__code", "quantity")
    assert set(parts) == {("VASE", 2), ("RUG", 1)}
    assert not Sku.objects.get(code="LAMP").is_active
    assert {one.code: one.broken for one in run_all() if not one.holds} == {}
    # What was picked before the merge leaves as what it is now.
    told = AuditRecord.objects.filter(object_type="order", action="line_swapped")
    assert set(told.values_list("object_id", flat=True)) == {
        o.pk for o in (unpaid, routed, picked, in_set, short)
    }
    with pytest.raises(InvalidInput, match="已停用"):
        merge(seller, boss)
    later = committed(seller, draft(line("LAMP")))[0]
    assert promised(later) == {"VASE": 1}


@pytest.mark.django_db(transaction=True)
def test_what_was_picked_before_a_merge_is_shipped_after_it(boss: User, carrier: Carrier) -> None:
    seller = open_seller()
    (order,) = committed(seller, draft(line("LAMP", 4)))
    parcel, actor = pick(order, boss), as_person(boss)
    merge(seller, boss)
    waybill = stages.request_label(parcel.pk, user=boss, actor=actor)
    stages.ship_parcel(parcel.pk, user=boss, actor=actor, tracking_number=waybill.number)
    order.refresh_from_db()
    assert order.status == "shipped"
    assert units("VASE") == (396, 0)
    assert {one.code: one.broken for one in run_all() if not one.holds} == {}


@pytest.mark.django_db
def test_a_bundle_of_both_is_made_of_as_many_as_before(seller: Seller, boss: User) -> None:
    BundlePartFactory.create(bundle=seller.bundle, sku=seller.skus["VASE"], quantity=3)
    merge(seller, boss)
    assert seller.bundle is not None
    parts = seller.bundle.bundle_parts.values_list("sku__code", "quantity")
    assert set(parts) == {("VASE", 5), ("RUG", 1)}


@pytest.mark.django_db
def test_two_codes_of_one_line_never_disagree_after_a_merge(seller: Seller, boss: User) -> None:
    ListingFactory.create(shop=seller.shop, code_type="sku_id", code="777", sku=seller.skus["LAMP"])
    merge(seller, boss)
    order = take_one(seller.shop, draft(line("LAMP", platform_sku_id="777")))
    assert promised(order) == {"VASE": 1}


@pytest.mark.django_db
def test_what_stands_in_the_way_is_named_and_nothing_is_merged(seller: Seller, boss: User) -> None:
    GiftStrategyFactory.create(code="towel-99", gift_sku=seller.skus["LAMP"])
    StockLevel.objects.filter(sku__code="LAMP").update(inbound=3)
    seller.skus["FLAT"] = SkuFactory.create(code="FLAT", is_active=False)
    with pytest.raises(InvalidInput) as caught:
        merge(seller, boss, kept="FLAT")
    for words in ("FLAT 已停用", "towel-99", "在途的到货"):
        assert words in str(caught.value)
    with pytest.raises(InvalidInput, match="两个不同"):
        merge(seller, boss, kept="LAMP")
    assert Sku.objects.get(code="LAMP").is_active
    assert Listing.objects.get(code="LAMP").version == 1


@pytest.mark.django_db
def test_a_merge_needs_the_right(seller: Seller) -> None:
    with pytest.raises(NotAllowed):
        merge(seller, user_with(Role.REVIEWER))


@pytest.mark.django_db(transaction=True)
def test_an_order_that_comes_during_a_merge_is_taken_along(
    boss: User, monkeypatch: pytest.MonkeyPatch, run_together: Any
) -> None:
    seller = open_seller()
    committed(seller, draft(line("LAMP")))
    tries: list[int] = []

    def load(order_ids: Any) -> Any:
        """Lock what was seen; before that, the first time, one more order comes."""
        tries.append(len(order_ids))
        if len(tries) == 1:
            run_together(lambda: committed(seller, draft(line("LAMP"))))
        return work.load(order_ids)

    monkeypatch.setattr(sku_merge, "load", load)
    merge(seller, boss)
    assert tries == [1, 2]
    assert [promised(order) for order in SalesOrder.objects.all()] == [{"VASE": 1}] * 2


def a_bin(seller: Seller, code: str, *goods: str) -> Bin:
    made = Bin.objects.create(warehouse=seller.near.warehouse, code=code)
    for good in goods:
        made.places.create(sku=seller.skus[good])
    return made


def in_bins(seller: Seller, good: str) -> set[str]:
    places = BinPlace.objects.filter(sku=seller.skus[good])
    return set(places.values_list("bin__code", flat=True))


@pytest.mark.django_db
def test_bins_quotas_and_safety_stock_go_over_where_the_kept_one_has_none(
    seller: Seller, boss: User
) -> None:
    a_bin(seller, "A-01", "LAMP")
    a_bin(seller, "B-02", "LAMP", "VASE")
    old, kept = seller.skus["LAMP"], seller.skus["VASE"]
    other = ShopFactory.create(name="另一家店")
    ChannelQuota.objects.create(shop=seller.shop, sku=old, percent=30)
    ChannelQuota.objects.create(shop=other, sku=old, percent=40)
    ChannelQuota.objects.create(shop=other, sku=kept, percent=70)
    SafetyStock.objects.create(sku=old, method="units", value=5)
    told = preview(old.pk, kept.pk).settings
    assert any("A-01" in one for one in told.carried)
    assert not any("B-02" in one for one in told.carried)
    assert told.left == ("另一家店 的配额",)
    merge(seller, boss)
    assert in_bins(seller, "VASE") == {"A-01", "B-02"}
    assert in_bins(seller, "LAMP") == set()
    shares = ChannelQuota.objects.filter(sku=kept)
    assert dict(shares.values_list("shop", "percent")) == {seller.shop.pk: 30, other.pk: 70}
    assert SafetyStock.objects.get().sku == kept
    assert StockBuffer.objects.get(sku=kept).units == 5
    record = AuditRecord.objects.get(object_type="sku", object_id=kept.pk)
    assert record.change["carried"][1] == list(told.carried)


@pytest.mark.django_db
def test_the_kept_ones_own_safety_stock_stays_in_force(seller: Seller, boss: User) -> None:
    old, kept = seller.skus["LAMP"], seller.skus["VASE"]
    SafetyStock.objects.create(sku=old, method="units", value=5)
    SafetyStock.objects.create(sku=kept, method="units", value=9)
    assert preview(old.pk, kept.pk).settings.left == ("安全库存规则",)
    merge(seller, boss)
    assert SafetyStock.objects.get(sku=kept).value == 9
