"""What a SKU is worth when, what a bundle may be made of, and what becomes of its orders."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.core.exceptions import ValidationError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inventory.models import Reservation
from ordercenter.catalog.models import Bundle, BundlePart, Sku, SkuPrice
from ordercenter.catalog.selectors import Shelf
from ordercenter.core.clock import now as clock_now
from ordercenter.pipeline import jobs
from ordercenter.pipeline.path import share_over_parts
from tests.factories import BundleFactory, BundlePartFactory, SkuFactory
from tests.pipeline.seller import Seller, draft, holds, line, open_seller, take_one

fen = st.integers(0, 10**12).map(lambda n: Decimal(n) / 100)


@pytest.fixture
def seller(db: None) -> Seller:
    return open_seller()


# --- dated prices ---------------------------------------------------------------------------------


@pytest.mark.django_db
def test_of_several_prices_the_one_that_began_last_counts_until_it_ends() -> None:
    sku, at = SkuFactory.create(base_price=Decimal(100)), clock_now()
    hour = timedelta(hours=1)
    for price, begins, ends in ((90, -10, None), (50, -1, 1), (70, 2, 3)):
        SkuPrice.objects.create(
            sku=sku, base_price=price, starts_at=at + begins * hour,
            ends_at=at + ends * hour if ends is not None else None,
        )  # fmt: skip
    priced = Shelf.prices([sku.pk])[sku.pk]
    seen = [priced.at(at + hours * hour) for hours in (-11, -10, -2, -1, 0, 1, 2, 3)]
    assert seen == [100, 90, 90, 50, 50, 90, 70, 90]


def test_rules_compare_with_the_price_in_force_when_the_order_was_placed(seller: Seller) -> None:
    at = clock_now() - timedelta(minutes=10)
    cheap = take_one(seller.shop, draft(line("SOFA", 1, "45"), at=at))
    assert any(hold.startswith("rule:") for hold in holds(cheap))
    SkuPrice.objects.create(
        sku=seller.skus["SOFA"],
        base_price=Decimal(45),
        starts_at=at,
        ends_at=at + timedelta(hours=1),
    )
    meanwhile = take_one(seller.shop, draft(line("SOFA", 1, "45"), at=at))
    before = take_one(seller.shop, draft(line("SOFA", 1, "45"), at=at - timedelta(seconds=1)))
    assert holds(meanwhile) == set()
    assert any(hold.startswith("rule:") for hold in holds(before))


def test_a_set_shares_its_money_by_the_prices_in_force(seller: Seller) -> None:
    at = clock_now()
    SkuPrice.objects.create(
        sku=seller.skus["RUG"], base_price=Decimal(200), starts_at=at - timedelta(hours=1)
    )
    order = take_one(seller.shop, draft(line("SET", 1, "400"), at=at))
    parts = order.lines.filter(bundle_line__isnull=False).order_by("line_no")
    assert list(parts.values_list("sku__code", "amount")) == [
        ("LAMP", Decimal(200)), ("RUG", Decimal(200)),
    ]  # fmt: skip


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    amount=fen,
    parts=st.lists(st.tuples(fen, st.integers(1, 50)), min_size=1, max_size=20),
)
def test_no_fen_of_a_set_is_lost_or_made(amount: Decimal, parts: list[tuple[Decimal, int]]) -> None:
    shares = share_over_parts(amount, [price * pieces for price, pieces in parts])
    assert sum(shares) == amount
    assert all(share >= 0 and share == share.quantize(Decimal("0.01")) for share in shares)
    for share, (price, _pieces) in zip(shares, parts, strict=True):
        assert price or not share or not any(p for p, _ in parts)


# --- BS04: a bundle in itself ---------------------------------------------------------------------


@pytest.mark.django_db
def test_a_set_and_a_sku_cannot_go_by_one_code() -> None:
    bundle, sku = BundleFactory.create(code="SET-1"), SkuFactory.create(code="ONE")
    with pytest.raises(ValidationError, match="已有组合装用这个编码"):
        Sku(code="SET-1", name="靠垫", base_price=Decimal(1)).full_clean()
    with pytest.raises(ValidationError, match="不能包含它自己"):
        Bundle(code="ONE", name="套装").full_clean()
    sku.full_clean()
    bundle.full_clean()


@pytest.mark.django_db
def test_a_set_cannot_hold_a_set() -> None:
    inner = SkuFactory.create(code="SET-2")
    BundleFactory.create(code="SET-2")
    outer = BundleFactory.create(code="SET-1")
    with pytest.raises(ValidationError, match="不能再放组合装"):
        BundlePart(bundle=outer, sku=inner, quantity=1).full_clean()


# --- BS05: a bundle with a missing part -----------------------------------------------------------


@pytest.mark.parametrize("missing", ["switched off", "none at all"])
def test_a_set_with_a_missing_part_holds_its_order_and_nothing_is_reserved(
    seller: Seller, missing: str
) -> None:
    assert seller.bundle is not None
    if missing == "none at all":
        seller.bundle.bundle_parts.all().delete()
    else:
        Sku.objects.filter(code="RUG").update(is_active=False)
    order = take_one(seller.shop, draft(line("SET", 1, "300"), line("SOFA")))
    assert (order.status, holds(order)) == ("received", {"unmapped:unmapped"})
    assert "RUG" in order.holds.get().words or missing == "none at all"
    assert not Reservation.objects.exists()
    jobs.work_unmapped()
    order.refresh_from_db()
    assert order.status == "received"
    if missing == "none at all":
        BundlePartFactory.create(bundle=seller.bundle, sku=seller.skus["LAMP"], quantity=2)
    Sku.objects.update(is_active=True)
    jobs.work_unmapped()
    order.refresh_from_db()
    assert order.status == "routed"


# --- what a SKU may say of itself -----------------------------------------------------------------


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("color_hex", "C0392B"), ("color_hex", "#C0392"), ("color_hex", "#GGGGGG"),
        ("color_hex", "red;x:1"), ("picture", "http://img.example/a.jpg"),
        ("picture", "javascript:alert(1)"), ("picture", "data:text/html,x"),
    ],
)  # fmt: skip
def test_a_colour_that_is_none_and_a_picture_not_behind_tls_are_refused(
    field: str, text: str
) -> None:
    sku = SkuFactory.build(code="X", **{field: text})
    with pytest.raises(ValidationError) as caught:
        sku.full_clean()
    assert set(caught.value.message_dict) == {field}


@pytest.mark.django_db
def test_a_colour_is_kept_in_capitals() -> None:
    sku = SkuFactory.build(code="X", color_hex=" #c0392b ")
    sku.clean()
    assert sku.color_hex == "#C0392B"
