"""Open orders read again after a mapping changed: seen before, done when asked, packed ones not."""

from collections.abc import Callable
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction

from fulfillment.models import Parcel, StageTask
from inventory.models import Reservation, StockLevel
from ordercenter.audit.models import AuditRecord
from ordercenter.catalog.models import Listing, ListingVersion
from ordercenter.catalog.selectors import Shelf
from ordercenter.orders.contracts import OrderDraft
from ordercenter.orders.models import OrderLine, SalesOrder
from ordercenter.pipeline import path, recoding, shortage_acts
from ordercenter.pipeline.invariants import run_all
from ordercenter.pipeline.mapping import Mapped, MappingBusy, map_codes
from ordercenter.pipeline.recoding import Recoded
from ordercenter.pipeline.rereading import Blast, Changed, look
from ordercenter.pipeline.unmapped import Wish
from tests.factories import GiftStrategyFactory
from tests.pipeline.arrivals import announce
from tests.pipeline.seller import (
    Carrier,
    Seller,
    as_person,
    draft,
    holds,
    line,
    open_seller,
    pick,
    print_label,
    promised,
    take,
    take_one,
)
from tests.races.tools import Gap

REASON = "商品资料录错，改正"


def wish(seller: Seller, code: str, target: str, *, seen: int = 1) -> Wish:
    if target == "SET":
        assert seller.bundle is not None
        return Wish(seller.shop.pk, "outer_code", code, None, seller.bundle.pk, seen_version=seen)
    return Wish(seller.shop.pk, "outer_code", code, seller.skus[target].pk, seen_version=seen)


def seen(*wishes: Wish) -> Blast:
    return look(Changed([w.key for w in wishes], targets={w.key: w.target for w in wishes}))


def change(user: User, *wishes: Wish) -> Mapped:
    return map_codes(wishes, user=user, actor=as_person(user), reason=REASON, recode=True)


def goods(order: SalesOrder) -> dict[str, int]:
    lines = OrderLine.objects.filter(order=order, is_dropped=False, sku__isnull=False)
    return {one.sku.code: one.quantity for one in lines if one.sku}


@transaction.atomic
def committed(seller: Seller, *drafts: OrderDraft) -> list[SalesOrder]:
    return take(seller.shop, *drafts)


def again(order: SalesOrder) -> SalesOrder:
    return SalesOrder.objects.get(pk=order.pk)


@pytest.mark.django_db
def test_a_change_of_mind_shows_whom_it_hits_and_what_it_frees(
    seller: Seller, boss: User, carrier: Carrier
) -> None:
    unpaid, _routed, packed = take(
        seller.shop, draft(line("SOFA", 2), paid=False), draft(line("SOFA")), draft(line("SOFA", 4))
    )
    print_label(packed, boss)
    Parcel.objects.filter(order=packed).update(state="packed")
    found = seen(wish(seller, "SOFA", "LAMP"))
    assert (found.orders, found.money, found.packed) == (2, {"CNY": Decimal(300)}, 1)
    assert {(s.stage, s.orders) for s in found.stages} == {("审核通过", 1), ("已分仓", 1)}
    assert {(m.code, m.freed, m.needed) for m in found.stock} == {("SOFA", 3, 0), ("LAMP", 0, 3)}
    assert goods(again(unpaid)) == {"SOFA": 2}
    assert Listing.objects.get(code="SOFA").version == 1
    assert seen(wish(seller, "SOFA", "SOFA")).is_any is False


@pytest.mark.django_db
def test_orders_read_again_change_their_goods_and_their_stock_and_packed_ones_do_not(
    seller: Seller, boss: User, carrier: Carrier
) -> None:
    unpaid, routed, picked, packed = take(
        seller.shop, draft(line("SOFA", 2), paid=False), draft(line("SOFA")),
        draft(line("SOFA", 3)), draft(line("SOFA", 4)),
    )  # fmt: skip
    pick(picked, boss)
    print_label(packed, boss)
    Parcel.objects.filter(order=packed).update(state="packed")
    done = change(boss, wish(seller, "SOFA", "LAMP"))
    assert done == Mapped(changed=1, recoded=Recoded(3))
    for order, units in ((unpaid, 2), (routed, 1), (picked, 3)):
        assert goods(order) == promised(order) == {"LAMP": units}
        assert set(order.lines.values_list("listing_version", flat=True)) == {2}
    assert [again(o).status for o in (unpaid, routed, picked)] == ["cleared", "routed", "routed"]
    assert promised(packed) == {"SOFA": 4}
    assert {p.state for p in Parcel.objects.filter(order=routed)} == {"canceled", "planned"}
    assert {p.state for p in Parcel.objects.filter(order=picked)} == {"stopped", "planned"}
    assert StageTask.objects.filter(order=picked, stage="put_back", state="open").count() == 1
    record = AuditRecord.objects.get(
        object_type="order", object_id=routed.pk, action="line_swapped"
    )
    assert (record.reason, record.change["line 1"]) == (REASON, [["SOFA", 1], ["LAMP", 2]])
    assert record.actor_id == str(boss.pk)
    assert change(boss, wish(seller, "SOFA", "LAMP", seen=2)) == Mapped(unchanged=1)


@pytest.mark.django_db
def test_by_default_only_new_orders_are_read_the_new_way(seller: Seller, boss: User) -> None:
    order = take_one(seller.shop, draft())
    map_codes([wish(seller, "SOFA", "LAMP")], user=boss, actor=as_person(boss), reason=REASON)
    assert goods(order) == promised(order) == {"SOFA": 1}
    # ... and may be read again later, by themselves.
    later = Changed([(seller.shop.pk, "outer_code", "SOFA")])
    assert look(later).orders == 1
    assert recoding.recode(later, user=boss, actor=as_person(boss), reason=REASON) == Recoded(1)
    assert promised(order) == {"LAMP": 1}


@pytest.mark.django_db
def test_a_set_becomes_a_single_thing_and_back_with_its_money_whole(
    seller: Seller, boss: User
) -> None:
    order = take_one(seller.shop, draft(line("SET", 1, "399.99")))
    assert goods(order) == {"LAMP": 2, "RUG": 1}
    change(boss, wish(seller, "SET", "VASE"))
    assert goods(order) == promised(order) == {"VASE": 1}
    change(boss, wish(seller, "SET", "SET", seen=2))
    assert goods(order) == promised(order) == {"LAMP": 2, "RUG": 1}
    whole = order.lines.get(bundle_line=None)
    parts = order.lines.filter(bundle_line=whole)
    assert sum(part.amount for part in parts) == whole.amount == Decimal("399.99")
    assert sum(part.amount for part in parts.filter(is_dropped=True)) == 0


@pytest.mark.django_db
def test_what_is_short_of_the_new_goods_says_so_in_new_words(seller: Seller, boss: User) -> None:
    order = take_one(seller.shop, draft(line("SOFA", 101)))
    assert holds(order) >= {"shortage:shortage"}
    change(boss, wish(seller, "SOFA", "LAMP"))
    (hold,) = order.holds.filter(kind="shortage", released_at=None)
    assert "LAMP" in hold.words
    assert "SOFA" not in hold.words


@pytest.mark.django_db
def test_a_line_somebody_swapped_by_hand_is_left_alone(seller: Seller, boss: User) -> None:
    order = take_one(seller.shop, draft())
    OrderLine.objects.filter(order=order).update(sku=seller.skus["RUG"])
    assert seen(wish(seller, "SOFA", "LAMP")).is_any is False
    assert change(boss, wish(seller, "SOFA", "LAMP")).recoded == Recoded(0)
    assert goods(order) == {"RUG": 1}


@pytest.mark.django_db
def test_a_set_with_a_part_swapped_by_hand_is_left_alone(boss: User) -> None:
    seller = open_seller(stock=0)
    assert seller.bundle is not None
    order = take_one(seller.shop, draft(line("SET", 1, "300")))
    seller.receive("LAMP", 9)
    seller.receive("VASE", 9)
    rug = order.lines.get(sku__code="RUG")
    shortage_acts.swap_line(
        shortage_acts.Seen(order.pk, again(order).version, boss, as_person(boss), REASON),
        rug.pk, "VASE",
    )  # fmt: skip
    assert promised(order) == {"LAMP": 2, "VASE": 1}
    concerned = Changed(bundles=[seller.bundle.pk])
    assert look(concerned).is_any is False
    assert recoding.recode(concerned, user=boss, actor=as_person(boss), reason=REASON) == Recoded()
    assert change(boss, wish(seller, "SET", "LAMP")).recoded == Recoded()
    assert goods(order) == {"LAMP": 2, "VASE": 1}


@pytest.mark.django_db
def test_what_was_promised_of_an_arrival_is_promised_anew_for_the_new_goods(boss: User) -> None:
    seller = open_seller(stock=0)
    sofas = announce(seller, units=10)
    order = take_one(seller.shop, draft(line("SOFA", 4), is_presale=True))
    assert holds(order) == {"shortage:presale"}
    seller.receive("LAMP", 9)
    change(boss, wish(seller, "SOFA", "LAMP"))
    assert (promised(order), holds(order)) == ({"LAMP": 4}, set())
    sofas.refresh_from_db()
    assert sofas.promised == 0
    change(boss, wish(seller, "SOFA", "RUG", seen=2))
    assert (promised(order), holds(order)) == ({}, {"shortage:shortage"})


@pytest.mark.django_db
def test_gifts_are_counted_again_for_the_new_goods(seller: Seller, boss: User) -> None:
    strategy = GiftStrategyFactory.create(
        kind="automatic", gift_sku=seller.skus["TOWEL"], min_amount=0, min_quantity=1
    )
    strategy.main_skus.add(seller.skus["LAMP"])
    order = take_one(seller.shop, draft(line("SOFA")))
    assert promised(order) == {"SOFA": 1}
    change(boss, wish(seller, "SOFA", "LAMP"))
    assert promised(order) == {"LAMP": 1, "TOWEL": 1}
    change(boss, wish(seller, "SOFA", "RUG", seen=2))
    assert promised(order) == {"RUG": 1}


@pytest.mark.django_db
def test_a_code_that_would_disagree_with_its_twin_is_left_alone(seller: Seller, boss: User) -> None:
    Listing.objects.filter(code="LAMP").update(code_type="sku_id", code="777")
    ListingVersion.objects.update(version=1)
    order = take_one(seller.shop, draft(line("SOFA")))
    both = take_one(seller.shop, draft(line("", platform_sku_id="777")))
    OrderLine.objects.filter(order=both).update(outer_code="LAMP-2")
    assert seen(wish(seller, "SOFA", "RUG")).orders == 1
    assert change(boss, wish(seller, "SOFA", "RUG")).recoded == Recoded(1)
    assert (goods(order), goods(both)) == ({"RUG": 1}, {"LAMP": 1})


@pytest.mark.django_db
def test_a_hundred_orders_are_read_again_in_few_statements(
    seller: Seller, boss: User, django_assert_max_num_queries: Any
) -> None:
    StockLevel.objects.update(on_hand=1000)
    orders = take(seller.shop, *(draft(line("SOFA")) for _ in range(100)))
    with django_assert_max_num_queries(75):
        done = change(boss, wish(seller, "SOFA", "LAMP"))
    assert done.recoded.orders == 100
    assert Reservation.objects.filter(state="active", level__sku__code="LAMP").count() == 100
    assert {again(order).status for order in orders} == {"routed"}


@pytest.mark.django_db
def test_what_is_too_much_for_a_page_is_left_to_the_worker(
    seller: Seller, boss: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    orders = take(seller.shop, *(draft(line("SOFA")) for _ in range(5)))
    monkeypatch.setattr(recoding, "BATCH", 2)
    monkeypatch.setattr(recoding, "AT_ONCE", 2)
    queued: list[Any] = []
    monkeypatch.setattr(recoding, "async_task", lambda *told, **_options: queued.append(told))
    done = change(boss, wish(seller, "SOFA", "LAMP"))
    assert done.recoded == Recoded(2, goes_on=True)
    (told,) = queued
    assert told[0] == "ordercenter.pipeline.recoding.recode_rest"
    assert recoding.recode_rest(*told[1:]) == "3 orders read again"
    assert [promised(order) for order in orders] == [{"LAMP": 1}] * 5
    assert recoding.recode_rest(*told[1:]) == "0 orders read again"


@pytest.mark.django_db(transaction=True)
def test_the_books_are_right_after_all_of_it(boss: User, carrier: Carrier) -> None:
    seller = open_seller()
    first, *_ = committed(
        seller, draft(line("SOFA", 2), paid=False), draft(line("SOFA")), draft(line("SET", 2)),
        draft(line("SOFA", 101)),
    )  # fmt: skip
    change(boss, wish(seller, "SOFA", "SET"), wish(seller, "SET", "RUG"))
    assert goods(first) == {"LAMP": 4, "RUG": 2}
    change(boss, wish(seller, "SOFA", "LAMP", seen=2))
    change(boss, wish(seller, "SOFA", "SET", seen=3))
    assert goods(first) == promised(first) == {"LAMP": 4, "RUG": 2}
    assert {one.code: one.broken for one in run_all() if not one.holds} == {}


# --- K20: re-mapping against ingest ---------------------------------------------------------------

Together = Callable[..., list[Any]]


def remap_while_an_order_comes(
    monkeypatch: pytest.MonkeyPatch, run_together: Together, boss: User
) -> SalesOrder:
    """An order is read by the old listing, and not written yet, when the listing changes."""
    seller, gap = open_seller(), Gap()
    told, real = draft(line("SOFA")), path.map_lines

    def map_lines(works: Any, shelf: Shelf) -> None:
        real(works, shelf)
        if any(work.fresh for work in works):
            gap.happened("read")
            gap.wait_for("changed")

    monkeypatch.setattr(path, "map_lines", map_lines)

    def remap() -> None:
        gap.wait_for("read")
        change(boss, wish(seller, "SOFA", "LAMP"))
        gap.happened("changed")

    results = run_together(partial(committed, seller, told), remap)
    assert not [one for one in results if isinstance(one, Exception)], results
    return SalesOrder.objects.get(channel_number=told.channel_number)


@pytest.mark.django_db(transaction=True)
def test_k20_no_order_is_left_behind_by_a_change_it_crossed(
    monkeypatch: pytest.MonkeyPatch, run_together: Together, boss: User
) -> None:
    order = remap_while_an_order_comes(monkeypatch, run_together, boss)
    assert goods(order) == promised(order) == {"LAMP": 1}
    assert {one.code for one in run_all() if not one.holds} == set()


@pytest.mark.django_db(transaction=True)
def test_k20_control_without_the_lock_an_order_is_left_behind(
    monkeypatch: pytest.MonkeyPatch, run_together: Together, boss: User
) -> None:
    monkeypatch.setattr("ordercenter.pipeline.mapping.stand_alone", lambda: None)
    order = remap_while_an_order_comes(monkeypatch, run_together, boss)
    assert goods(order) == {"SOFA": 1}


@pytest.mark.django_db(transaction=True)
def test_a_change_whose_turn_does_not_come_is_refused_in_words(
    run_together: Together, boss: User
) -> None:
    seller, gap = open_seller(), Gap()

    @transaction.atomic
    def read() -> None:
        Shelf.for_codes({(seller.shop.pk, "SOFA")})
        gap.happened("read")
        gap.wait_for("refused")

    def remap() -> None:
        gap.wait_for("read")
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = '50ms'")
        try:
            change(boss, wish(seller, "SOFA", "LAMP"))
        finally:
            gap.happened("refused")

    _, refused = run_together(read, remap)
    assert isinstance(refused, MappingBusy)
    assert Listing.objects.get(code="SOFA").version == 1
