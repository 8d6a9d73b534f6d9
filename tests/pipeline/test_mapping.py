"""Codes nobody has mapped: who waits for them, what a mapping does, and what it leaves alone."""

import time
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection

from ordercenter.audit.models import AuditRecord
from ordercenter.catalog.models import Listing, Shop, Sku
from ordercenter.core.actor import Actor
from ordercenter.core.errors import InvalidInput, NotAllowed
from ordercenter.core.policy import Role
from ordercenter.pipeline import jobs, mapping, unmapped
from ordercenter.pipeline.mapping import Mapped, StaleListing, map_codes
from ordercenter.pipeline.unmapped import Wish
from tests.factories import (
    BundleFactory,
    ListingFactory,
    ShopCredentialFactory,
    ShopFactory,
    SkuFactory,
    user_with,
)
from tests.pipeline.seller import Seller, draft, holds, line, open_seller, promised, take, take_one

pytestmark = pytest.mark.django_db
Together = Callable[..., list[Any]]


def wish(seller: Seller, code: str, target: str = "LAMP", **changes: Any) -> Wish:
    values: dict[str, Any] = {"sku_id": seller.skus[target].pk} | changes
    return Wish(seller.shop.pk, values.pop("code_type", "outer_code"), code, **values)


def do(user: User, *wishes: Wish, reason: str = "商家确认") -> Mapped:
    return map_codes(wishes, user=user, actor=Actor.person(user), reason=reason)


def codes(**asked: Any) -> list[tuple[str, str, str, int]]:
    return [(c.platform_sku_id, c.outer_code, c.problem, c.orders) for c in unmapped.queue(**asked)]


# --- the queue ------------------------------------------------------------------------------------


def test_the_queue_counts_orders_once_and_shows_the_worst_first(seller: Seller) -> None:
    take(
        seller.shop,
        draft(line("NEW-1"), line("NEW-1", 2)),
        draft(line("NEW-2"), line("SOFA")),
        draft(line("NEW-2", 3)),
    )
    first, second = unmapped.queue()
    assert (first.outer_code, first.orders, first.pieces) == ("NEW-2", 2, 4)
    assert (second.outer_code, second.orders, second.pieces) == ("NEW-1", 1, 3)
    assert (first.money, second.money) == (Decimal(500), Decimal(300))
    assert (first.code_type, first.code, first.title) == ("outer_code", "NEW-2", "棉麻靠垫")


def test_a_code_of_two_shops_is_two_rows_and_a_shop_can_be_chosen(seller: Seller) -> None:
    other = ShopFactory.create(channel="jd")
    take_one(seller.shop, draft(line("NEW-1")))
    take_one(other, draft(line("NEW-1"), channel="jd"))
    assert {c.shop_id for c in unmapped.queue()} == {seller.shop.pk, other.pk}
    assert [c.shop_id for c in unmapped.queue(shop_id=other.pk)] == [other.pk]
    assert {(s.id, s.codes, s.orders) for s in unmapped.by_shop()} == {
        (seller.shop.pk, 1, 1),
        (other.pk, 1, 1),
    }


def test_only_what_stops_something_is_in_the_queue(seller: Seller) -> None:
    take_one(seller.shop, draft(line("NEW-1"), line("SOFA")))
    assert codes() == [("", "NEW-1", "missing", 1)]
    ListingFactory.create(shop=seller.shop, code="NEW-1", sku=seller.skus["LAMP"])
    assert codes() == []


def test_two_codes_that_disagree_and_a_bundle_without_parts_are_named_as_such(
    seller: Seller,
) -> None:
    ListingFactory.create(shop=seller.shop, code_type="sku_id", code="777", sku=seller.skus["LAMP"])
    empty = BundleFactory.create(code="EMPTY")
    ListingFactory.create(
        shop=seller.shop, code_type="outer_code", code="HOLLOW", sku=None, bundle=empty
    )
    take(seller.shop, draft(line("SOFA", platform_sku_id="777")), draft(line("HOLLOW")))
    assert set(codes()) == {("777", "SOFA", "conflict", 1), ("", "HOLLOW", "empty", 1)}
    assert not any(code.is_mappable for code in unmapped.queue())


def test_an_order_canceled_meanwhile_no_longer_counts(seller: Seller) -> None:
    order = take_one(seller.shop, draft(line("NEW-1")))
    type(order).objects.filter(pk=order.pk).update(status="canceled")
    assert codes() == []


# --- mapping --------------------------------------------------------------------------------------


def test_a_mapped_code_sets_its_orders_free_and_is_on_record(seller: Seller, boss: User) -> None:
    order = take_one(seller.shop, draft(line("NEW-1", 2)))
    assert do(boss, wish(seller, "NEW-1", title="新款")) == Mapped(made=1, goes_on=1)
    order.refresh_from_db()
    assert (order.status, holds(order), promised(order)) == ("routed", set(), {"LAMP": 2})
    listing = Listing.objects.get(code="NEW-1")
    assert (listing.version, listing.title) == (1, "新款")
    record = AuditRecord.objects.get(object_type="listing", object_id=listing.pk)
    assert (record.action, record.reason, record.actor_id) == (
        "catalog_changed", "商家确认", str(boss.pk),
    )  # fmt: skip
    assert record.change["sku"] == [None, seller.skus["LAMP"].pk]


def test_a_second_click_changes_nothing(seller: Seller, boss: User) -> None:
    do(boss, wish(seller, "NEW-1"))
    assert do(boss, wish(seller, "NEW-1")) == Mapped(unchanged=1)
    assert Listing.objects.get(code="NEW-1").version == 1
    assert AuditRecord.objects.filter(object_type="listing").count() == 1


def test_a_change_counts_the_version_up_and_leaves_taken_lines_alone(
    seller: Seller, boss: User
) -> None:
    order = take_one(seller.shop, draft())
    assert do(boss, wish(seller, "SOFA", seen_version=1)) == Mapped(changed=1)
    listing = Listing.objects.get(code="SOFA")
    assert (listing.sku, listing.version) == (seller.skus["LAMP"], 2)
    (mine,) = order.lines.all()
    assert (mine.sku, mine.listing_version) == (seller.skus["SOFA"], 1)
    later = take_one(seller.shop, draft())
    assert later.lines.get().listing_version == 2
    assert promised(later) == {"LAMP": 1}
    record = AuditRecord.objects.get(object_type="listing", object_id=listing.pk)
    assert record.change == {
        "version": [1, 2], "sku": [seller.skus["SOFA"].pk, seller.skus["LAMP"].pk],
    }  # fmt: skip


def test_a_code_may_stand_for_a_bundle(seller: Seller, boss: User) -> None:
    assert seller.bundle is not None
    order = take_one(seller.shop, draft(line("NEW-1", 1, "300")))
    do(boss, wish(seller, "NEW-1", sku_id=None, bundle_id=seller.bundle.pk))
    order.refresh_from_db()
    assert promised(order) == {"LAMP": 2, "RUG": 1}


def test_who_saw_an_older_state_is_refused_and_nothing_of_his_is_kept(
    seller: Seller, boss: User
) -> None:
    do(boss, wish(seller, "NEW-1"))
    with pytest.raises(StaleListing, match="NEW-1"):
        do(boss, wish(seller, "NEW-2"), wish(seller, "NEW-1", "RUG"))
    assert Listing.objects.get(code="NEW-1").sku == seller.skus["LAMP"]
    assert not Listing.objects.filter(code="NEW-2").exists()


@pytest.mark.parametrize("role", [Role.CLERK, Role.IT, Role.CEO, Role.REVIEWER, Role.PICKER])
def test_who_may_not_map_maps_nothing(seller: Seller, role: Role) -> None:
    with pytest.raises(NotAllowed):
        do(user_with(role), wish(seller, "NEW-1"))
    assert not Listing.objects.filter(code="NEW-1").exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"sku_id": None},
        {"sku_id": 10**15},
        {"code": ""},
        {"code": " "},
        {"code": "x" * 101},
        {"code": "a\0b"},
        {"code_type": "title"},
        {"code_type": "sku_id", "code": "9" * 65},
    ],
)
def test_nonsense_is_refused_in_words(seller: Seller, boss: User, changes: dict[str, Any]) -> None:
    code = changes.pop("code", "NEW-1")
    with pytest.raises(InvalidInput):
        do(boss, wish(seller, code, **changes))


def test_nothing_is_mapped_to_what_is_switched_off_or_hollow(seller: Seller, boss: User) -> None:
    old = SkuFactory.create(is_active=False)
    with pytest.raises(InvalidInput):
        do(boss, wish(seller, "NEW-1", sku_id=old.pk))
    with pytest.raises(InvalidInput):
        do(boss, wish(seller, "NEW-1", sku_id=None, bundle_id=BundleFactory.create().pk))
    with pytest.raises(InvalidInput):
        do(boss, wish(seller, "NEW-1"), wish(seller, "NEW-1", "RUG"))


def test_a_code_of_one_shop_says_nothing_of_another(seller: Seller, boss: User) -> None:
    other = ShopFactory.create(channel="jd")
    order = take_one(other, draft(line("NEW-1"), channel="jd"))
    do(boss, wish(seller, "NEW-1"))
    order.refresh_from_db()
    assert holds(order) == {"unmapped:unmapped"}


def test_orders_that_still_wait_for_another_code_do_not_stand_in_the_way(
    seller: Seller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "BATCH", 2)
    take(seller.shop, *(draft(line("NEW-1"), line("NEVER")) for _ in range(3)))
    free = take_one(seller.shop, draft(line("NEW-1")))
    ListingFactory.create(shop=seller.shop, code="NEW-1", sku=seller.skus["LAMP"])
    assert jobs.work_unmapped() == "1 of 1 unmapped orders go on"
    free.refresh_from_db()
    assert free.status == "routed"


@pytest.mark.django_db(transaction=True)
def test_of_two_people_who_map_one_code_differently_one_is_refused(
    run_together: Together,
) -> None:
    seller = open_seller()
    boss, other = user_with(Role.WAREHOUSE_SUPERVISOR), user_with(Role.OPERATIONS_SUPERVISOR)
    results = run_together(
        partial(do, boss, wish(seller, "NEW-1", "LAMP"), wish(seller, "NEW-2", "LAMP")),
        partial(do, other, wish(seller, "NEW-2", "RUG"), wish(seller, "NEW-1", "RUG")),
    )
    assert {type(result) for result in results} == {Mapped, StaleListing}
    rows = Listing.objects.filter(code__startswith="NEW")
    assert len(set(rows.values_list("sku_id", flat=True))) == 1
    assert set(rows.values_list("version", flat=True)) == {1}


@pytest.mark.django_db(transaction=True)
def test_without_the_look_at_the_version_the_second_word_would_win(
    run_together: Together,
) -> None:
    """The control of the test above: what it guards against does happen without the guard."""
    seller = open_seller()
    boss, other = user_with(Role.WAREHOUSE_SUPERVISOR), user_with(Role.OPERATIONS_SUPERVISOR)
    results = run_together(
        partial(do, boss, blind(seller, "LAMP")), partial(do, other, blind(seller, "RUG"))
    )
    assert {type(result) for result in results} == {Mapped}
    assert Listing.objects.get(code="NEW-1").version == 2


def blind(seller: Seller, target: str) -> Wish:
    """A wish that claims to have seen what the other one is about to write."""
    return wish(seller, "NEW-1", target, seen_version=1)


# --- by itself ------------------------------------------------------------------------------------


def automatic(shop: Shop, value: str = "exact") -> None:
    ShopCredentialFactory.create(shop=shop, options={"auto_map": value})


def test_nothing_maps_itself_unless_the_shop_says_so(seller: Seller) -> None:
    SkuFactory.create(code="NEW-1")
    order = take_one(seller.shop, draft(line("NEW-1")))
    assert mapping.map_exact() == "nothing to map"
    automatic(seller.shop, "off")
    assert mapping.map_exact() == "nothing to map"
    assert holds(order) == {"unmapped:unmapped"}


def test_a_shop_that_wants_it_has_exact_codes_mapped_and_nothing_else(seller: Seller) -> None:
    automatic(seller.shop)
    SkuFactory.create(code="NEW-1", name="棉麻靠垫")
    SkuFactory.create(code="NEW-2", name="棉麻靠垫 红色")
    take(
        seller.shop,
        draft(line("NEW-1")),
        draft(line("new-1")),
        draft(line("N\u0415W-1")),
        draft(line("NEW-2", title="棉麻靠垫 蓝色")),
    )
    assert mapping.map_exact() == "1 codes mapped"
    listing = Listing.objects.get(shop=seller.shop, code="NEW-1")
    record = AuditRecord.objects.get(object_type="listing", object_id=listing.pk)
    assert (record.actor_kind, record.actor_id) == ("job", "auto_map")
    assert {code for _, code, *_ in codes()} == {"new-1", "N\u0415W-1", "NEW-2"}
    assert mapping.map_exact() == "0 codes mapped"


# --- before it counts -----------------------------------------------------------------------------


def test_effects_tell_who_goes_on_who_waits_and_who_is_left_alone(
    seller: Seller, django_assert_num_queries: Any
) -> None:
    take(
        seller.shop,
        draft(line("NEW-1", 3)),
        draft(line("NEW-1"), line("SOFA")),
        draft(line("NEW-1"), line("NEW-2")),
        draft(line("NEW-2")),
        draft(line("SOFA")),
    )
    with django_assert_num_queries(2):
        found = unmapped.effects([wish(seller, "NEW-1")])
    assert (found.goes_on, found.still_waits, found.untouched) == (2, 1, 0)
    assert [(m.currency, m.amount) for m in found.money] == [("CNY", Decimal(500))]
    assert [(s.code, s.wanted, s.available, s.short) for s in found.stock] == [("LAMP", 4, 200, 0)]
    assert codes() == [("", "NEW-1", "missing", 3), ("", "NEW-2", "missing", 2)]


def test_effects_of_a_change_name_the_orders_it_will_not_rewrite(seller: Seller) -> None:
    take(seller.shop, draft(line("SOFA", 2)), draft(line("SOFA")), draft(line("LAMP")))
    found = unmapped.effects([wish(seller, "SOFA", "RUG", seen_version=1)])
    assert (found.goes_on, found.still_waits) == (0, 0)
    assert (found.untouched, found.untouched_pieces) == (2, 3)
    assert [(s.code, s.wanted, s.available) for s in found.stock] == [("RUG", 0, 200)]


def test_effects_see_through_bundles_and_say_what_is_short() -> None:
    seller = open_seller(stock=0)
    seller.receive("LAMP", 3)
    assert seller.bundle is not None
    take_one(seller.shop, draft(line("NEW-1", 2, "600")))
    found = unmapped.effects([wish(seller, "NEW-1", sku_id=None, bundle_id=seller.bundle.pk)])
    assert {(s.code, s.wanted, s.available, s.short) for s in found.stock} == {
        ("LAMP", 4, 3, 1),
        ("RUG", 2, 0, 2),
    }


def test_a_change_that_ends_a_conflict_sets_its_order_free(seller: Seller, boss: User) -> None:
    ListingFactory.create(shop=seller.shop, code_type="sku_id", code="777", sku=seller.skus["LAMP"])
    order = take_one(seller.shop, draft(line("SOFA", platform_sku_id="777")))
    mending = wish(seller, "777", "SOFA", code_type="sku_id", seen_version=1)
    assert unmapped.effects([mending]).goes_on == 1
    assert do(boss, mending).goes_on == 1
    order.refresh_from_db()
    assert promised(order) == {"SOFA": 1}


def test_what_the_preview_promises_is_what_happens(seller: Seller, boss: User) -> None:
    take(seller.shop, *(draft(line("NEW-1"), line(f"NEW-{n % 3}")) for n in range(9)))
    wishes = [wish(seller, "NEW-1"), wish(seller, "NEW-2", "RUG")]
    promised_free = unmapped.effects(wishes).goes_on
    assert do(boss, *wishes).goes_on == promised_free == 6
    assert unmapped.ready() == []


# --- many -----------------------------------------------------------------------------------------


def test_5000_codes_are_mapped_in_a_few_statements(seller: Seller, boss: User) -> None:
    Sku.objects.bulk_create(
        Sku(code=f"K{n}", name="货", base_price=Decimal(1)) for n in range(5_000)
    )
    ids = dict(Sku.objects.filter(code__startswith="K").values_list("code", "pk"))
    wishes = [wish(seller, f"C{n}", sku_id=ids[f"K{n}"]) for n in range(5_000)]
    began = time.perf_counter()
    assert do(boss, *wishes) == Mapped(made=5_000)
    counting = Counting()
    with connection.execute_wrapper(counting):
        assert do(boss, *wishes) == Mapped(unchanged=5_000)
    assert counting.statements < 15
    assert time.perf_counter() - began < 20


class Counting:
    """Counts the statements of a connection."""

    def __init__(self) -> None:
        self.statements = 0

    def __call__(self, execute: Any, *args: Any) -> Any:
        self.statements += 1
        return execute(*args)
