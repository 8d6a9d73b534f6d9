"""Rules match an order by where it goes now, not by where it was to go at first."""

from decimal import Decimal

import pytest
from django.contrib.auth.models import User

from ordercenter.orders.models import OrderEvidence
from ordercenter.pipeline import decisions
from tests.pipeline.seller import (
    Seller,
    again,
    as_person,
    draft,
    holds,
    line,
    somebody,
    take,
    take_one,
)

pytestmark = pytest.mark.django_db
CROWDED = somebody(77)


def test_a_buyer_who_moves_to_a_crowded_address_is_found_there(seller: Seller) -> None:
    take_one(seller.shop, draft(line(quantity=40), receiver=CROWDED))
    told = draft(line(quantity=20), paid=False)
    order = take_one(seller.shop, told)
    assert "rule:address_day_5000" not in holds(order)
    take(seller.shop, again(told, receiver=CROWDED))
    assert "rule:address_day_5000" in holds(order)


def test_who_comes_after_a_moved_buyer_is_counted_with_him(seller: Seller) -> None:
    told = draft(line(quantity=40), paid=False)
    take_one(seller.shop, told)
    take(seller.shop, again(told, receiver=CROWDED))
    later = take_one(seller.shop, draft(line(quantity=20), receiver=CROWDED))
    assert "rule:address_day_5000" in holds(later)


def test_an_address_put_right_by_hand_is_matched_from_then_on(seller: Seller, boss: User) -> None:
    take_one(seller.shop, draft(line(quantity=40), receiver=CROWDED))
    order = take_one(seller.shop, draft(line(quantity=20), receiver=somebody(province="")))
    fields = ("name", "phone", "province", "city", "district", "address")
    decisions.edit_receiver(
        order.pk, user=boss, actor=as_person(boss), seen_version=order.version,
        receiver={name: getattr(CROWDED, name) for name in fields},
    )  # fmt: skip
    assert "rule:address_day_5000" in holds(order)


def test_masked_data_takes_no_key_away(seller: Seller) -> None:
    told = draft(line(), receiver=somebody(5))
    order = take_one(seller.shop, told)
    before = OrderEvidence.objects.get(order=order).address_key
    masked = somebody(5, name="王**", phone="199****0005", address="星湖街*号", is_masked=True)
    take(seller.shop, again(told, receiver=masked))
    assert before
    assert OrderEvidence.objects.get(order=order).address_key == before


def test_a_price_changed_before_payment_counts_with_its_new_amount(seller: Seller) -> None:
    told = draft(line(quantity=2), paid=False)
    order = take_one(seller.shop, told)
    cheaper = line(quantity=2, amount="180.00")
    take(seller.shop, again(told, lines=(cheaper,), payable_amount=Decimal(180)))
    assert OrderEvidence.objects.get(order=order).amount == Decimal(180)
