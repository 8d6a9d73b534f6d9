"""Orders that wait for stock: in turn, none starved, and what people may do about one."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.contrib.auth.models import User

from fulfillment.models import StageTask
from inventory.models import PresalePromise, VirtualWarehouse
from ordercenter.audit.models import AuditRecord
from ordercenter.catalog import gifts
from ordercenter.core.clock import now as clock_now
from ordercenter.core.errors import InvalidInput, NotAllowed, NotFound
from ordercenter.core.policy import Role
from ordercenter.orders.contracts import ChannelStatus
from ordercenter.orders.errors import BadReason, StaleOrder, WrongState
from ordercenter.orders.models import OrderHold, SalesOrder
from ordercenter.pipeline import shortage_acts, shortages
from ordercenter.pipeline.shortage_acts import Seen
from tests.factories import (
    GiftStrategyFactory,
    ShopAssignmentFactory,
    ShopFactory,
    SkuFactory,
    user_with,
)
from tests.pipeline.arrivals import announce
from tests.pipeline.seller import (
    Seller,
    as_person,
    draft,
    holds,
    line,
    open_seller,
    promised,
    take,
    take_one,
    tasks,
)

pytestmark = pytest.mark.django_db
AGREED = "已与买家电话确认"


@pytest.fixture
def seller() -> Seller:
    """Nothing lies on the shelves."""
    return open_seller(stock=0)


@pytest.fixture
def clerk(seller: Seller) -> User:
    user = user_with(Role.CLERK)
    ShopAssignmentFactory.create(user=user, shop=seller.shop)
    return user


def seen(order: SalesOrder, user: User, reason: str = AGREED) -> Seen:
    order.refresh_from_db()
    return Seen(order.pk, order.version, user, as_person(user), reason)


def last_record(order: SalesOrder) -> AuditRecord:
    return AuditRecord.objects.filter(object_type="order", object_id=order.pk).latest("pk")


# --- in turn -----------------------------------------------------------------------------------


def test_who_has_priority_goes_first_and_then_who_paid_first(seller: Seller) -> None:
    at = clock_now() - timedelta(hours=2)
    late, early, rush = take(
        seller.shop,
        draft(paid_at=at + timedelta(minutes=30)),
        draft(paid_at=at),
        draft(paid_at=at + timedelta(minutes=60), buyer_remark="加急"),
    )
    seller.receive("SOFA", 2)
    assert shortages.work_shortages() == "2 of 3 shortages go on"
    assert [promised(order) for order in (rush, early, late)] == [{"SOFA": 1}, {"SOFA": 1}, {}]


def test_orders_no_single_place_can_fill_do_not_starve_those_that_one_can(
    seller: Seller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of what they want lies here and half there: they are not tried at all."""
    monkeypatch.setattr(shortages, "BATCH", 2)
    at = clock_now() - timedelta(hours=2)
    torn = take(seller.shop, *(draft(line("SOFA"), line("LAMP"), paid_at=at) for _ in range(4)))
    plain = take_one(seller.shop, draft(line("VASE")))
    seller.receive("SOFA", 9, seller.near)
    seller.receive("LAMP", 9, seller.far)
    seller.receive("VASE", 1)
    assert shortages.work_shortages() == "1 of 1 shortages go on"
    assert promised(plain) == {"VASE": 1}
    assert [promised(order) for order in torn] == [{}] * 4


def test_stock_of_another_shop_is_nobody_elses_turn(seller: Seller) -> None:
    order = take_one(seller.shop, draft())
    VirtualWarehouse.objects.get(pk=seller.near.pk).shops.add(ShopFactory.create())
    seller.receive("SOFA", 5)
    assert shortages.work_shortages() == "0 of 0 shortages go on"
    assert holds(order) == {"shortage:shortage"}


def test_many_batches_go_in_one_pass(seller: Seller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shortages, "BATCH", 2)
    orders = take(seller.shop, *(draft() for _ in range(7)))
    seller.receive("SOFA", 5)
    assert shortages.work_shortages().startswith("5 of ")
    assert sum(len(promised(order)) for order in orders) == 5


def test_what_is_announced_later_is_promised_to_those_who_wait(seller: Seller) -> None:
    order = take_one(seller.shop, draft(is_presale=True))
    plain = take_one(seller.shop, draft())
    assert shortages.promise_waiting().startswith("0 of 0")
    announce(seller, units=5)
    assert shortages.promise_waiting().startswith("1 of 1")
    assert holds(order) == {"shortage:presale"}
    assert holds(plain) == {"shortage:shortage"}
    assert shortages.promise_waiting().startswith("0 of 0")


def test_a_long_shortage_becomes_a_task_again_and_again_and_cancels_nothing(
    seller: Seller,
) -> None:
    now = clock_now()
    order = take_one(seller.shop, draft(at=now - timedelta(days=8)))
    young = take_one(seller.shop, draft())
    assert shortages.remind_shortages() == "1 buyers are to be told of a shortage"
    assert (tasks(order), tasks(young)) == ({"after_sales"}, set())
    assert shortages.remind_shortages() == "0 buyers are to be told of a shortage"
    StageTask.objects.filter(order=order).update(state="done")
    assert shortages.remind_shortages() == "0 buyers are to be told of a shortage"
    later = now + timedelta(days=7, hours=1)
    assert shortages.remind_shortages(now=later) == "2 buyers are to be told of a shortage"
    order.refresh_from_db()
    assert order.status == "mapped"


# --- acts --------------------------------------------------------------------------------------


def test_a_clerk_lets_an_order_wait_for_the_next_arrival(seller: Seller, clerk: User) -> None:
    order = take_one(seller.shop, draft())
    announce(seller)
    done = shortage_acts.wait_for_goods(seen(order, clerk))
    assert "等待到货，预计" in done.words
    assert holds(order) == {"shortage:presale"}
    record = last_record(order)
    assert (record.action, record.actor_id) == ("presale_promised", str(clerk.pk))
    again = shortage_acts.wait_for_goods(seen(order, clerk))
    assert again.words == "已经承诺过到货"
    assert PresalePromise.objects.filter(state="active").count() == 1


def test_waiting_for_nothing_is_refused_and_changes_nothing(seller: Seller, clerk: User) -> None:
    order = take_one(seller.shop, draft())
    with pytest.raises(InvalidInput, match="没有能凑齐"):
        shortage_acts.wait_for_goods(seen(order, clerk))
    unpaid = take_one(seller.shop, draft(paid=False))
    with pytest.raises(InvalidInput, match="没有付款"):
        shortage_acts.wait_for_goods(seen(unpaid, clerk))


def test_a_swapped_line_is_reserved_and_judged_in_the_same_breath(
    seller: Seller, clerk: User
) -> None:
    seller.receive("LAMP", 3)
    order = take_one(seller.shop, draft(line(quantity=2)))
    done = shortage_acts.swap_line(seen(order, clerk), order.lines.get().pk, "LAMP")
    assert done.has_stock
    assert promised(order) == {"LAMP": 2}
    order.refresh_from_db()
    assert order.status == "routed"
    record = last_record(order)
    assert record.action == "line_swapped"
    assert record.change["sku 1"] == ["SOFA", "LAMP"]
    assert record.reason == AGREED
    assert "tier" in record.change


def test_a_swap_that_is_short_as_well_says_what_is_short_now(seller: Seller, clerk: User) -> None:
    order = take_one(seller.shop, draft())
    shortage_acts.swap_line(seen(order, clerk), order.lines.get().pk, "RUG")
    assert OrderHold.objects.open().get(order=order).words == "缺货：RUG 需 1 件，可用 0 件"


def test_a_swap_gives_back_what_was_promised_for_the_line(seller: Seller, clerk: User) -> None:
    coming = announce(seller)
    seller.receive("LAMP", 1)
    order = take_one(seller.shop, draft(is_presale=True))
    shortage_acts.swap_line(seen(order, clerk), order.lines.get().pk, "LAMP")
    coming.refresh_from_db()
    assert (coming.promised, promised(order)) == (0, {"LAMP": 1})


@pytest.mark.parametrize(
    ("code", "reason", "refusal"),
    [
        ("NONE", AGREED, InvalidInput),
        ("SOFA", AGREED, InvalidInput),
        ("GONE", AGREED, InvalidInput),
        ("LAMP", "好", BadReason),
        ("LAMP", "换一个\0货品吧", BadReason),
    ],
)
def test_a_swap_needs_other_goods_and_a_reason(
    seller: Seller, clerk: User, code: str, reason: str, refusal: type[Exception]
) -> None:
    SkuFactory.create(code="GONE", is_active=False)
    order = take_one(seller.shop, draft())
    version = order.version
    with pytest.raises(refusal):
        shortage_acts.swap_line(seen(order, clerk, reason), order.lines.get().pk, code)
    order.refresh_from_db()
    assert order.version == version


def test_dropping_the_short_line_sends_the_rest_and_names_the_refund(
    seller: Seller, clerk: User
) -> None:
    seller.receive("LAMP", 1)
    order = take_one(seller.shop, draft(line("SOFA", 2, "198.00"), line("LAMP")))
    short = order.lines.get(sku__code="SOFA")
    shortage_acts.drop_lines(seen(order, clerk), [short.pk])
    order.refresh_from_db()
    assert (order.status, promised(order)) == ("routed", {"LAMP": 1})
    assert tasks(order) == {"after_sales", "pick"}
    note = StageTask.objects.get(order=order, stage="after_sales").note
    assert "退款 198.00 CNY" in note
    assert last_record(order).action == "line_dropped"
    short.refresh_from_db()
    assert short.is_dropped


def test_a_dropped_part_takes_its_whole_bundle_with_it(seller: Seller, clerk: User) -> None:
    seller.receive("LAMP", 9)
    order = take_one(seller.shop, draft(line("SET", 1, "300.00"), line("LAMP")))
    part = order.lines.get(sku__code="RUG")
    shortage_acts.drop_lines(seen(order, clerk), [part.pk])
    assert promised(order) == {"LAMP": 1}
    note = StageTask.objects.get(order=order, stage="after_sales").note
    assert "退款 300.00 CNY" in note


def test_nothing_left_is_a_canceled_order_and_asks_for_that_right(
    seller: Seller, clerk: User, boss: User
) -> None:
    order = take_one(seller.shop, draft())
    pk = order.lines.get().pk
    with pytest.raises(NotAllowed):
        shortage_acts.drop_lines(seen(order, clerk), [pk])
    order.refresh_from_db()
    assert order.status == "mapped"
    shortage_acts.drop_lines(seen(order, boss), [pk])
    order.refresh_from_db()
    assert order.status == "canceled"
    assert tasks(order) == {"after_sales"}


def test_dropping_what_earned_a_gift_takes_the_gift_along(seller: Seller, clerk: User) -> None:
    GiftStrategyFactory.create(
        code="over-150", kind="automatic", gift_sku=seller.skus["TOWEL"],
        min_amount=Decimal("150.00"),
    )  # fmt: skip
    gifts.forget()
    seller.receive("LAMP", 1)
    seller.receive("TOWEL", 1)
    order = take_one(seller.shop, draft(line("SOFA"), line("LAMP")))
    assert order.lines.filter(is_gift=True, is_dropped=False).count() == 1
    shortage_acts.drop_lines(seen(order, clerk), [order.lines.get(sku__code="SOFA").pk])
    assert promised(order) == {"LAMP": 1}


def test_an_unpaid_order_gets_no_refund_task(seller: Seller, clerk: User) -> None:
    order = take_one(seller.shop, draft(line(), line("LAMP"), paid=False))
    shortage_acts.drop_lines(seen(order, clerk), [order.lines.get(sku__code="SOFA").pk])
    assert tasks(order) == set()


def test_an_act_on_an_older_picture_is_refused(seller: Seller, clerk: User) -> None:
    order = take_one(seller.shop, draft())
    old = seen(order, clerk)
    SalesOrder.objects.filter(pk=order.pk).update(version=order.version + 1)
    for act in (
        shortage_acts.try_again,
        shortage_acts.wait_for_goods,
        lambda it: shortage_acts.swap_line(it, 1, "LAMP"),
        lambda it: shortage_acts.drop_lines(it, [1]),
    ):
        with pytest.raises(StaleOrder):
            act(old)


def test_only_short_orders_of_ones_own_shops_are_worked_and_only_with_the_right(
    seller: Seller, clerk: User
) -> None:
    order = take_one(seller.shop, draft())
    with pytest.raises(NotFound):
        shortage_acts.try_again(seen(order, user_with(Role.CLERK, username="elsewhere")))
    with pytest.raises(NotAllowed):
        shortage_acts.try_again(seen(order, user_with(Role.FINANCE)))
    seller.receive("SOFA", 1)
    assert shortage_acts.try_again(seen(order, clerk)).has_stock
    with pytest.raises(WrongState):
        shortage_acts.try_again(seen(order, clerk))


def test_a_bulk_act_answers_for_each_order_by_itself(seller: Seller, clerk: User) -> None:
    announce(seller, units=1)
    first, second = take(seller.shop, draft(), draft())
    stale = take_one(seller.shop, draft())
    rows = [(o.number, seen(o, clerk)) for o in (first, second, stale)]
    SalesOrder.objects.filter(pk=stale.pk).update(version=stale.version + 1)
    answers = shortage_acts.act_on_each(rows, shortage_acts.wait_for_goods)
    assert [one.is_done for one in answers] == [True, False, False]
    assert "没有能凑齐" in answers[1].words
    assert "已被他人更新" in answers[2].words
    with pytest.raises(InvalidInput, match="最多"):
        shortage_acts.act_on_each(rows * 40, shortage_acts.wait_for_goods)


def test_a_deposit_is_worked_like_any_money(seller: Seller, clerk: User) -> None:
    order = take_one(
        seller.shop,
        draft(paid=False, status=ChannelStatus.DEPOSIT_PAID, paid_amount=Decimal(10)),
    )
    seller.receive("SOFA", 1)
    shortages.work_shortages()
    order.refresh_from_db()
    assert (order.status, promised(order)) == ("cleared", {"SOFA": 1})
