"""What a platform takes out of an order or adds to it, before and after somebody goes for it."""

from dataclasses import replace
from decimal import Decimal

import pytest
from django.contrib.auth.models import User
from django.db import connection

from fulfillment.models import Parcel, StageTask
from inventory.models import StockLevel
from ordercenter.audit.models import AuditRecord
from ordercenter.core.clock import now as clock_now
from ordercenter.core.policy import Role
from ordercenter.pipeline import decisions, jobs, stages
from ordercenter.pipeline.invariants import Look, look_at
from tests.factories import ListingFactory, user_with
from tests.pipeline.seller import (
    Seller,
    again,
    as_person,
    draft,
    hold_ids,
    holds,
    line,
    open_seller,
    pick,
    promised,
    take,
    take_one,
    tasks,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def seller() -> Seller:
    return open_seller()


@pytest.fixture
def boss() -> User:
    return user_with(Role.WAREHOUSE_SUPERVISOR)


def red() -> set[str]:
    with connection.cursor() as cursor:
        return {one.code for one in look_at(Look(cursor, clock_now(), 20)) if not one.holds}


def reserved() -> int:
    return sum(StockLevel.objects.values_list("reserved", flat=True))


def test_a_line_taken_out_gives_its_stock_back_and_the_rest_is_shipped(seller: Seller) -> None:
    first, second = line("SOFA", 2), line("LAMP")
    told = draft(first, second)
    take(seller.shop, told)
    order = take_one(
        seller.shop, again(told, lines=(first,), payable_amount=first.amount)
    )  # fmt: skip
    assert (order.status, holds(order), promised(order)) == ("routed", set(), {"SOFA": 2})
    assert reserved() == 2
    assert order.payable_amount == first.amount
    assert list(order.lines.filter(is_dropped=True).values_list("sku__code", flat=True)) == ["LAMP"]
    assert sorted(order.parcels.values_list("state", flat=True)) == ["canceled", "planned"]
    record = AuditRecord.objects.filter(object_type="order", object_id=order.pk).latest("pk")
    assert record.change["quantity 2"] == [1, 0]
    assert red() == set()


def test_a_line_added_is_mapped_and_reserved(seller: Seller) -> None:
    told = draft(line("SOFA"))
    take(seller.shop, told)
    goods = (*told.lines, line("RUG", 3))
    order = take_one(
        seller.shop, again(told, lines=goods, payable_amount=Decimal(400), paid_amount=Decimal(400))
    )
    assert (order.status, holds(order)) == ("routed", set())
    assert promised(order) == {"SOFA": 1, "RUG": 3}
    assert order.verdicts.count() == 2
    assert red() == set()


def test_more_pieces_that_are_not_to_be_had_are_a_shortage(seller: Seller) -> None:
    told = draft(line("SOFA"))
    take(seller.shop, told)
    more = replace(told.lines[0], quantity=101, amount=Decimal(10_100))
    changed = again(told, lines=(more,), payable_amount=more.amount, paid_amount=more.amount)
    order = take_one(seller.shop, changed)
    assert order.status == "mapped"
    assert holds(order) >= {"shortage:shortage"}
    assert reserved() == 0
    assert red() == set()


def test_a_bundle_bought_twice_over_needs_twice_its_parts(seller: Seller) -> None:
    told = draft(line("SET"))
    take(seller.shop, told)
    two = replace(told.lines[0], quantity=2, amount=Decimal("201.01"))
    changed = again(told, lines=(two,), payable_amount=two.amount, paid_amount=two.amount)
    order = take_one(seller.shop, changed)
    assert promised(order) == {"LAMP": 4, "RUG": 2}
    assert sum(one.amount for one in order.lines.filter(bundle_line__isnull=False)) == two.amount
    assert red() == set()


def test_an_added_line_nobody_has_mapped_stops_the_order_until_somebody_does(
    seller: Seller, boss: User
) -> None:
    told = draft(line("SOFA"))
    take(seller.shop, told)
    goods = (*told.lines, line("NEW-CODE"))
    changed = again(told, lines=goods, payable_amount=Decimal(200), paid_amount=Decimal(200))
    order = take_one(seller.shop, changed)
    assert (order.status, holds(order), promised(order)) == ("mapped", {"unmapped:unmapped"}, {})
    ListingFactory.create(shop=seller.shop, code="NEW-CODE", sku=seller.skus["RUG"])
    jobs.work_unmapped()
    order.refresh_from_db()
    assert (order.status, holds(order)) == ("routed", set())
    assert promised(order) == {"SOFA": 1, "RUG": 1}
    assert red() == set()


def test_lines_counted_by_their_place_keep_what_they_are(seller: Seller) -> None:
    goods = (line("SOFA", channel_line_id="1"), line("LAMP", channel_line_id="2"))
    told = draft(*goods)
    take(seller.shop, told)
    left = replace(goods[1], channel_line_id="1")
    order = take_one(seller.shop, again(told, lines=(left,), payable_amount=left.amount))
    assert promised(order) == {"LAMP": 1}
    kept = order.lines.get(is_dropped=False)
    assert (kept.sku.code if kept.sku else "", kept.channel_line_id) == ("LAMP", "1")


def test_less_money_than_the_goods_cost_waits_for_finance(seller: Seller) -> None:
    first, second = line("SOFA", 2), line("LAMP")
    told = draft(first, second)
    take(seller.shop, told)
    order = take_one(seller.shop, again(told, lines=(first,)))
    assert holds(order) == {"payment:amount"}


@pytest.mark.parametrize("begun", ["picked", "claimed"])
def test_what_somebody_has_gone_for_is_a_persons_decision(
    seller: Seller, boss: User, begun: str
) -> None:
    first, second = line("SOFA", 2), line("LAMP")
    told = draft(first, second)
    order = take_one(seller.shop, told)
    if begun == "picked":
        pick(order, boss)
    else:
        stages.claim_task(StageTask.objects.get(order=order, stage="pick").pk, user=boss)
    changed = again(told, lines=(first,), payable_amount=first.amount)
    order = take_one(seller.shop, changed)
    assert holds(order) == {"changed:lines"}
    assert promised(order) == {"SOFA": 2, "LAMP": 1}
    assert Parcel.objects.get(order=order).state in {"planned", "picked"}


def test_the_same_words_do_not_stop_an_order_twice(seller: Seller, boss: User) -> None:
    first, second = line("SOFA", 2), line("LAMP")
    told = draft(first, second)
    order = take_one(seller.shop, told)
    pick(order, boss)
    changed = again(told, lines=(first,))
    order = take_one(seller.shop, changed)
    decisions.release_order(
        order.pk, hold_ids(order), user=boss, actor=as_person(boss),
        seen_version=order.version, reason="已与买家确认按原单发货",
    )  # fmt: skip
    order = take_one(seller.shop, again(changed, 5))
    assert holds(order) == set()
    order = take_one(seller.shop, again(changed, 9, lines=(second,)))
    assert holds(order) == {"changed:lines"}  # the control: other words do


def test_an_order_whose_goods_come_back_is_held_no_more(seller: Seller, boss: User) -> None:
    first, second = line("SOFA", 2), line("LAMP")
    told = draft(first, second)
    order = take_one(seller.shop, told)
    pick(order, boss)
    take(seller.shop, again(told, lines=(first,)))
    order = take_one(seller.shop, again(told, 5))
    assert holds(order) == set()
    assert "pack" in tasks(order)
