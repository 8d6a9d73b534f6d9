"""From a platform's own words to the shelf: where each order ends, and why it stands still."""

import json
import re
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from channels_sync.connectors.strict_json import dump_compact
from channels_sync.contracts import MessageKind, RawMessage
from channels_sync.models import InboxMessage
from channels_sync.services import store
from fulfillment.models import Parcel, StageTask
from inventory.models import Reservation, StockLevel
from ordercenter.audit.models import AuditRecord
from ordercenter.catalog.models import Listing
from ordercenter.core.actor import PIPELINE
from ordercenter.core.clock import now as clock_now
from ordercenter.orders.contracts import ChannelStatus, GiftDraft, ReceiverDraft
from ordercenter.orders.models import OrderHold, OrderLine, SalesOrder
from ordercenter.pipeline import intake, jobs, shortages
from ordercenter.pipeline.drafts import order_number
from ordercenter.pipeline.path import share_over_parts
from tests.factories import ListingFactory, ShopFactory, SkuFactory, VirtualWarehouseFactory
from tests.pipeline.seller import (
    Seller,
    again,
    draft,
    holds,
    line,
    open_seller,
    paid,
    promised,
    somebody,
    stored,
    take,
    take_one,
    tasks,
    versions,
)

pytestmark = pytest.mark.django_db
PAYLOADS = Path(__file__).parent.parent / "data" / "reference" / "payloads"


# --- the platforms' own payloads ------------------------------------------------------------------


def orders_in(folder: str, name: str) -> list[dict[str, Any]]:
    """The raw orders of a captured answer."""
    told = json.loads((PAYLOADS / folder / name).read_text(encoding="utf-8"), parse_float=Decimal)
    return list(_orders(told))


MARKS = (
    {"tid", "orders"},
    {"orderId", "itemInfoList"},
    {"order_id", "sku_order_list"},
    {"order_sn", "item_list"},
    {"legacyResourceId", "lineItems"},
    {"event", "order"},
)


def _orders(node: Any) -> Any:
    """Whatever looks like an order: it names itself and its state."""
    if isinstance(node, list):
        for one in node:
            yield from _orders(one)
    elif isinstance(node, dict):
        keys = node.keys()
        if any(marks <= keys for marks in MARKS):
            yield node
        else:
            for one in node.values():
                yield from _orders(one)


CAPTURED = [
    ("taobao", "taobao", "trades_sold_increment_get_page.json"),
    ("taobao", "taobao", "trade_fullinfo_get_discount_gift_oaid.json"),
    ("jd", "jd", "pop_order_search_page.json"),
    ("jd", "jd", "pop_order_get_discount_gift_oaid.json"),
    ("douyin", "douyin", "order_searchList_page.json"),
    ("douyin", "douyin", "order_orderDetail_discount_gift_encrypted.json"),
    ("pinduoduo", "pinduoduo", "order_information_get_discount_gift_encrypted.json"),
    ("shopify", "shopify", "orders_page.json"),
    ("shopify", "shopify", "order_detail_discounts_gift.json"),
    ("miniprogram", "crm_webhook", "order_paid.json"),
    ("miniprogram", "crm_webhook", "order_paid_discount_gift.json"),
]


@pytest.mark.parametrize(("channel", "folder", "name"), CAPTURED)
def test_a_captured_order_goes_from_the_inbox_to_where_it_belongs(
    channel: str, folder: str, name: str
) -> None:
    expected = json.loads((PAYLOADS / folder / "EXPECTED.json").read_text(encoding="utf-8"))
    wanted = {o["platform_order_no"]: o for o in expected["files"][name]["orders"]}
    currency = next(iter(wanted.values()))["currency"]
    shop = ShopFactory.create(channel=channel, currency=currency)
    VirtualWarehouseFactory.create()
    bodies = [RawMessage(MessageKind.ORDER, dump_compact(one)) for one in orders_in(folder, name)]
    store(bodies, source=InboxMessage.Source.PUSH, shop_id=shop.pk)
    passed = intake.run()
    assert (passed.messages, passed.parked) == (len(wanted), 0)
    found = {order.channel_number: order for order in SalesOrder.objects.all()}
    assert found.keys() == wanted.keys()
    for number, order in found.items():
        told = wanted[number]
        assert order.channel_status == told["status"]
        assert order.payable_amount == Decimal(told["payable_amount"])
        assert order.lines.exclude(channel_line_id="").count() == told["line_count"]
        closed = told["status"].startswith("closed")
        assert order.status == ("canceled" if closed else "received")
        assert ("unmapped:unmapped" in holds(order)) is not closed
        assert ("channel:shipped_elsewhere" in holds(order)) == (told["status"] == "shipped")
        assert versions(order) == [1]


@pytest.mark.parametrize(("channel", "folder", "name"), CAPTURED)
def test_the_same_captured_order_goes_through_once_its_codes_are_known(
    channel: str, folder: str, name: str
) -> None:
    told = json.loads((PAYLOADS / folder / "EXPECTED.json").read_text(encoding="utf-8"))
    wanted = told["files"][name]["orders"]
    shop = ShopFactory.create(channel=channel, currency=wanted[0]["currency"])
    room = VirtualWarehouseFactory.create()
    bodies = [RawMessage(MessageKind.ORDER, dump_compact(one)) for one in orders_in(folder, name)]
    store(bodies, source=InboxMessage.Source.PUSH, shop_id=shop.pk)
    intake.run()
    for one in OrderLine.objects.filter(sku=None):
        kind = "sku_id" if one.platform_sku_id else "outer_code"
        code = one.platform_sku_id or one.outer_code
        if not Listing.objects.filter(code=code).exists():
            sku = SkuFactory.create(base_price=Decimal("0.01"), currency=wanted[0]["currency"])
            ListingFactory.create(shop=shop, code_type=kind, code=code, sku=sku)
            StockLevel.objects.create(virtual_warehouse=room, sku=sku, on_hand=100)
    jobs.work_unmapped()
    for order in SalesOrder.objects.exclude(status="canceled"):
        assert "unmapped:unmapped" not in holds(order)
        if order.channel_status == "wait_ship":
            assert order.status in {"routed", "cleared", "reserved"}
        if order.channel_status == "shipped":
            assert promised(order) == {}
        if order.status == "routed":
            assert holds(order) == set()
        assert versions(order) == list(range(1, order.version + 1))


# --- straight through -----------------------------------------------------------------------------


def test_a_clean_paid_order_reaches_the_shelf_in_one_pass(seller: Seller) -> None:
    order = take_one(seller.shop, draft(line("SOFA", 2), line("LAMP")))
    assert (order.status, order.version, holds(order)) == ("routed", 1, set())
    assert promised(order) == {"SOFA": 2, "LAMP": 1}
    parcel = Parcel.objects.get(order=order)
    assert (parcel.warehouse, parcel.state) == (seller.near.warehouse, "planned")
    assert parcel.parcel_lines.count() == 2
    assert tasks(order) == {"pick"}
    record = AuditRecord.objects.get(object_id=order.pk, object_type="order")
    assert record.change["status"] == [
        None, "received", "mapped", "reserved", "cleared", "routed",
    ]  # fmt: skip
    assert record.change["auto"] == ["first_review", "finance_check"]


def test_goods_leave_from_where_they_are_held(seller: Seller) -> None:
    south = draft(receiver=somebody(province="广东省", city="深圳市", district="南山区"))
    order = take_one(seller.shop, south)
    assert Parcel.objects.get(order=order).warehouse == seller.far.warehouse


def test_an_order_with_a_hurry_goes_first_and_a_dear_one_second(seller: Seller) -> None:
    hurry, dear, plain = take(
        seller.shop,
        draft(buyer_remark="今天必须发，急用"),
        draft(line("LAMP", 6)),
        draft(line("RUG")),
    )
    assert [o.priority for o in (hurry, dear, plain)] == [20, 10, 0]
    assert (hurry.is_rush, dear.is_rush) == (True, False)
    queue = StageTask.objects.order_by("-priority").values_list("order_id", flat=True)
    assert list(queue) == [hurry.pk, dear.pk, plain.pk]


def test_the_order_number_tells_channel_time_and_six_digits(seller: Seller) -> None:
    orders = take(seller.shop, *(draft(line("SOFA")) for _ in range(50)))
    assert all(re.fullmatch(r"TB20\d{12}\d{6}", order.number) for order in orders)
    assert len({order.number for order in orders}) == 50


def test_a_million_orders_of_one_second_have_a_million_numbers() -> None:
    at = clock_now()
    numbers = {order_number("jd", pk, at) for pk in range(1, 1_000_001, 97)}
    assert len(numbers) == len(range(1, 1_000_001, 97))
    assert all(number.startswith("JD") for number in numbers)


def test_one_platform_number_in_two_shops_is_two_orders(seller: Seller) -> None:
    other = ShopFactory.create()
    told = draft()
    take(seller.shop, told)
    take(other, told)
    assert SalesOrder.objects.filter(channel_number=told.channel_number).count() == 2


def test_the_same_order_twice_in_a_batch_is_one_by_its_newest_word(seller: Seller) -> None:
    told = draft(paid=False)
    take(seller.shop, paid(told), told)
    order = stored(seller.shop, told)
    assert (order.status, order.version) == ("routed", 1)


def test_telling_an_order_again_unchanged_changes_nothing(seller: Seller) -> None:
    told = draft()
    order = take_one(seller.shop, told)
    for _ in range(3):
        take(seller.shop, told)
    assert versions(stored(seller.shop, told)) == [order.version]
    assert Reservation.objects.count() == 1


# --- paying ---------------------------------------------------------------------------------------


def test_an_unpaid_order_holds_its_goods_for_thirty_minutes_and_waits(seller: Seller) -> None:
    now = clock_now()
    order = take_one(seller.shop, draft(paid=False), now=now)
    assert (order.status, tasks(order)) == ("cleared", set())
    assert Reservation.objects.get().expires_at == now + timedelta(minutes=30)
    jobs.expire_reservations(now=now + timedelta(minutes=30) - timedelta(milliseconds=1))
    assert promised(order) == {"SOFA": 1}
    jobs.expire_reservations(now=now + timedelta(minutes=30))
    assert promised(order) == {}


@pytest.mark.parametrize("paid_up", [True, False])
def test_a_batch_of_forty_asks_the_database_no_more_often_than_one_of_four(
    seller: Seller, paid_up: bool
) -> None:
    asked = []
    for count in (4, 40):
        drafts = [(seller.shop.pk, draft(paid=paid_up)) for _ in range(count)]
        with CaptureQueriesContext(connection) as queries:
            intake.take_drafts(drafts, actor=PIPELINE, now=clock_now())
        asked.append(len(queries))
    assert asked[1] <= asked[0]


def test_a_shop_may_hold_goods_shorter(seller: Seller) -> None:
    seller.shop.unpaid_hold_minutes = 5
    seller.shop.save()
    now = clock_now()
    take(seller.shop, draft(paid=False), now=now)
    assert Reservation.objects.get().expires_at == now + timedelta(minutes=5)


def test_paying_makes_the_promise_last_and_sends_the_order_on(seller: Seller) -> None:
    told = draft(paid=False)
    take(seller.shop, told)
    order = take_one(seller.shop, paid(told))
    assert (order.status, tasks(order)) == ("routed", {"pick"})
    assert Reservation.objects.get().expires_at is None
    assert jobs.expire_reservations(now=clock_now() + timedelta(days=1)) == (
        "no promise has run out"
    )
    assert AuditRecord.objects.filter(action="order_paid", object_id=order.pk).count() == 1


def test_a_promise_that_runs_out_in_the_moment_of_payment_is_kept(seller: Seller) -> None:
    """The expiry has seen the promise due; the payment gets to the order row before it."""
    order = take_one(seller.shop, draft(paid=False))
    SalesOrder.objects.filter(pk=order.pk).update(paid_at=clock_now())
    jobs.expire_reservations(now=clock_now() + timedelta(minutes=31))
    assert promised(order) == {"SOFA": 1}


def test_paying_after_the_promise_ran_out_gets_goods_if_there_are_any(seller: Seller) -> None:
    told = draft(paid=False)
    order = take_one(seller.shop, told)
    jobs.expire_reservations(now=clock_now() + timedelta(minutes=31))
    order.refresh_from_db()
    assert (order.status, promised(order)) == ("mapped", {})
    order = take_one(seller.shop, paid(told))
    assert (order.status, promised(order)) == ("routed", {"SOFA": 1})
    assert versions(order) == [1, 2, 3]


def test_paying_after_the_goods_went_to_others_is_a_shortage_somebody_sees() -> None:
    seller = open_seller(stock=0)
    seller.receive("SOFA", 1)
    told = draft(paid=False)
    take(seller.shop, told)
    jobs.expire_reservations(now=clock_now() + timedelta(minutes=31))
    other = take_one(seller.shop, draft())
    order = take_one(seller.shop, paid(told))
    assert (other.status, order.status) == ("routed", "mapped")
    assert holds(order) == {"shortage:shortage"}
    assert OrderHold.objects.get(order=order).words == "缺货：SOFA 需 1 件，可用 0 件"
    seller.receive("SOFA", 1)
    assert shortages.work_shortages() == "1 of 1 shortages go on"
    order.refresh_from_db()
    assert (order.status, holds(order)) == ("routed", set())


def test_short_orders_are_served_in_the_order_they_were_paid() -> None:
    seller = open_seller(stock=0)
    now = clock_now()
    late = take_one(seller.shop, draft(paid_at=now))
    early = take_one(seller.shop, draft(paid_at=now - timedelta(hours=1)))
    seller.receive("SOFA", 1)
    shortages.work_shortages()
    late.refresh_from_db()
    early.refresh_from_db()
    assert (early.status, late.status) == ("routed", "mapped")


def test_a_deposit_holds_the_goods_but_ships_nothing(seller: Seller) -> None:
    told = draft(paid=False)
    take(seller.shop, told)
    order = take_one(
        seller.shop, again(told, status=ChannelStatus.DEPOSIT_PAID, paid_amount=Decimal(20))
    )
    jobs.expire_reservations(now=clock_now() + timedelta(hours=1))
    order.refresh_from_db()
    assert (order.status, promised(order), tasks(order)) == ("cleared", {"SOFA": 1}, set())
    assert take_one(seller.shop, paid(told, 2)).status == "routed"


def test_paying_less_than_the_order_costs_waits_for_finance_until_the_rest_comes(
    seller: Seller,
) -> None:
    told = draft(paid_amount=Decimal("60.00"))
    order = take_one(seller.shop, told)
    assert holds(order) == {"payment:underpaid"}
    assert tasks(order) == {"finance_check"}
    order = take_one(seller.shop, again(told, paid_amount=Decimal("100.00")))
    assert (order.status, holds(order), tasks(order)) == ("routed", set(), {"pick"})


@pytest.mark.parametrize("payable", ["99.99", "100.01", "1.00"])
def test_a_total_that_is_not_the_sum_of_its_lines_waits_for_finance(
    seller: Seller, payable: str
) -> None:
    amount = Decimal(payable)
    order = take_one(seller.shop, draft(payable_amount=amount, paid_amount=amount))
    assert holds(order) == {"payment:amount"}
    assert tasks(order) == {"finance_check"}


def test_freight_belongs_to_the_total(seller: Seller) -> None:
    assert take_one(seller.shop, draft(freight=Decimal("8.00"))).status == "routed"


def test_another_currency_than_the_shops_waits_for_finance(seller: Seller) -> None:
    order = take_one(seller.shop, draft(currency="USD"))
    assert "payment:amount" in holds(order)
    assert order.status != "routed"


# --- what it is -----------------------------------------------------------------------------------


def test_an_unknown_code_holds_its_order_alone_and_names_it(seller: Seller) -> None:
    unknown, known = take(seller.shop, draft(line("NEW-1"), line("SOFA")), draft())
    assert (unknown.status, holds(unknown)) == ("received", {"unmapped:unmapped"})
    assert OrderHold.objects.get(order=unknown).words == "商品未匹配：NEW-1"
    assert promised(unknown) == {}
    assert known.status == "routed"


def test_a_held_order_goes_on_once_its_code_gets_a_listing(seller: Seller) -> None:
    order = take_one(seller.shop, draft(line("NEW-1")))
    assert jobs.work_unmapped() == "0 of 0 unmapped orders go on"
    ListingFactory.create(shop=seller.shop, code="NEW-1", sku=seller.skus["LAMP"])
    assert jobs.work_unmapped() == "1 of 1 unmapped orders go on"
    order.refresh_from_db()
    assert (order.status, holds(order), promised(order)) == ("routed", set(), {"LAMP": 1})
    assert versions(order) == [1, 2]


def test_a_listing_changed_later_leaves_the_lines_of_taken_orders_alone(seller: Seller) -> None:
    order = take_one(seller.shop, draft())
    Listing.objects.filter(code="SOFA").update(sku=seller.skus["LAMP"], version=2)
    take_one(seller.shop, again(draft(), 5))
    assert order.lines.get().sku == seller.skus["SOFA"]
    assert order.lines.get().listing_version == 1


@pytest.mark.parametrize(
    "code", ["sofa", " SOFA", "SOFA ", "S\u041eFA", "\uff33\uff2f\uff26\uff21", "SOFA\u200b"]
)
def test_a_code_that_only_looks_like_ours_is_another_code(seller: Seller, code: str) -> None:
    assert holds(take_one(seller.shop, draft(line(code)))) == {"unmapped:unmapped"}


def test_two_codes_of_one_line_that_name_two_things_are_a_persons_question(seller: Seller) -> None:
    ListingFactory.create(shop=seller.shop, code_type="sku_id", code="777", sku=seller.skus["LAMP"])
    order = take_one(seller.shop, draft(line("SOFA", platform_sku_id="777")))
    assert holds(order) == {"unmapped:unmapped"}
    assert "指向不同货品" in OrderHold.objects.get(order=order).words


def test_a_set_is_taken_apart_and_its_money_shared_out_to_the_fen(seller: Seller) -> None:
    order = take_one(seller.shop, draft(line("SET", 3, "799.99")))
    whole = order.lines.get(bundle_line=None)
    parts = order.lines.filter(bundle_line=whole)
    assert {(p.sku.code, p.quantity) for p in parts if p.sku} == {("LAMP", 6), ("RUG", 3)}
    assert sum(p.amount for p in parts) == Decimal("799.99")
    assert promised(order) == {"LAMP": 6, "RUG": 3}


@pytest.mark.parametrize("fen", range(1, 40))
def test_shares_always_add_up_and_are_nobodys_loss(fen: int) -> None:
    amount = Decimal(fen) / 100
    weights = [Decimal(3), Decimal(5), Decimal(7)]
    shares = share_over_parts(amount, weights)
    assert sum(shares) == amount
    exact = [amount * weight / 15 for weight in weights]
    assert all(abs(a - b) < Decimal("0.01") for a, b in zip(shares, exact, strict=True))
    assert sum(share_over_parts(amount, [Decimal(0)] * 3)) == amount


def test_a_set_without_parts_is_held_and_holds_nothing(seller: Seller) -> None:
    assert seller.bundle is not None
    seller.bundle.bundle_parts.all().delete()
    order = take_one(seller.shop, draft(line("SET", 1, "300.00")))
    assert holds(order) == {"unmapped:unmapped"}
    assert "没有组成" in OrderHold.objects.get(order=order).words


def test_a_set_is_short_as_a_whole() -> None:
    seller = open_seller(stock=0)
    seller.receive("LAMP", 100)
    order = take_one(seller.shop, draft(line("SET", 1, "300.00")))
    assert holds(order) == {"shortage:shortage"}
    assert promised(order) == {}


def test_a_gift_named_outside_the_lines_is_a_line_and_needs_stock(seller: Seller) -> None:
    ListingFactory.create(
        shop=seller.shop, code_type="sku_id", code="90001", sku=seller.skus["TOWEL"]
    )
    order = take_one(
        seller.shop, draft(gifts_outside_lines=(GiftDraft("毛巾", 2, platform_item_id="90001"),))
    )
    assert promised(order) == {"SOFA": 1, "TOWEL": 2}
    assert order.has_gift
    assert holds(order) == {"rule:gift_dependency"}  # nobody said when there is one


def test_an_order_without_lines_is_held(seller: Seller) -> None:
    order = take_one(
        seller.shop, draft(lines=(), payable_amount=Decimal(0), paid_amount=Decimal(0))
    )
    assert holds(order) == {"incomplete:no_lines"}


# --- to whom --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("receiver", "words"),
    [
        (None, "没有收货人"),
        (somebody(1, name=" "), "缺少姓名"),
        (somebody(1, phone=""), "缺少电话"),
        (somebody(1, province=""), "缺少省份"),
        (somebody(1, address=""), "缺少详细地址"),
        (somebody(1, province="火星省"), "省份不认识"),
        (somebody(1, city="杭州市", district=""), "省市不符"),
    ],
)
def test_a_receiver_no_parcel_could_find_waits_for_first_review(
    seller: Seller, receiver: ReceiverDraft | None, words: str
) -> None:
    order = take_one(seller.shop, draft(receiver=receiver))
    assert holds(order) == {"incomplete:receiver"}
    assert tasks(order) == {"first_review"}
    assert words in OrderHold.objects.get(order=order).words
    assert order.status == "reserved"


def test_a_platform_that_completes_the_receiver_ends_the_wait_and_the_task(seller: Seller) -> None:
    told = draft(receiver=somebody(1, phone=""))
    take(seller.shop, told)
    order = take_one(seller.shop, again(told, receiver=somebody(1)))
    assert (order.status, holds(order), tasks(order)) == ("routed", set(), {"pick"})


def test_no_receiver_is_readable_in_the_audit_trail_or_a_hold(seller: Seller) -> None:
    told = draft(receiver=somebody(1, name="独孤求败", phone="13912345678", address="金鸡湖路99号"))
    take(seller.shop, told)
    take(seller.shop, again(told, receiver=somebody(1, name="独孤求败", phone="13912345679",
                                                    address="金鸡湖路100号")))  # fmt: skip
    texts = json.dumps(list(AuditRecord.objects.values_list("change", "reason")))
    texts += json.dumps(list(OrderHold.objects.values_list("words", "evidence")))
    for secret in ("独孤求败", "1391234567", "金鸡湖路"):
        assert secret not in texts
        assert json.dumps(secret).strip('"') not in texts


# --- not ours to ship -----------------------------------------------------------------------------


def test_a_test_order_keeps_out_of_the_stock_whatever_happens_to_it(seller: Seller) -> None:
    told = draft(is_test=True, paid=False)
    take(seller.shop, told)
    order = take_one(seller.shop, paid(told))
    assert (order.status, holds(order)) == ("received", {"channel:test_order"})
    assert not Reservation.objects.exists()
    assert tasks(order) == set()


@pytest.mark.parametrize("status", [ChannelStatus.SHIPPED, ChannelStatus.FINISHED])
def test_an_order_somebody_else_has_shipped_takes_nothing_from_the_shelf(
    seller: Seller, status: ChannelStatus
) -> None:
    order = take_one(seller.shop, draft(status=status))
    assert holds(order) == {"channel:shipped_elsewhere"}
    assert promised(order) == {}


@pytest.mark.parametrize(
    "status",
    [ChannelStatus.CLOSED, ChannelStatus.CLOSED_UNPAID, ChannelStatus.CLOSED_REFUNDED],
)
def test_an_order_that_comes_closed_is_born_canceled_and_needs_nobody(
    seller: Seller, status: ChannelStatus
) -> None:
    told = draft(status=status, receiver=None, payable_amount=Decimal(7))
    order = take_one(seller.shop, told)
    assert (order.status, holds(order), tasks(order)) == ("canceled", set(), set())
    assert promised(order) == {}
    late = take_one(seller.shop, again(told, -60, status=ChannelStatus.WAIT_SHIP))
    assert (late.status, late.version) == ("canceled", 1)


def test_a_platforms_pause_is_kept_and_ends_when_the_platform_says_so(seller: Seller) -> None:
    told = draft(status=ChannelStatus.ON_HOLD, status_raw="risk")
    order = take_one(seller.shop, told)
    assert (order.status, holds(order)) == ("cleared", {"channel:on_hold"})
    assert promised(order) == {"SOFA": 1}
    order = take_one(seller.shop, again(told, status=ChannelStatus.WAIT_SHIP))
    assert (order.status, holds(order), tasks(order)) == ("routed", set(), {"pick"})


def test_a_pause_on_the_way_to_the_packer_stops_the_parcel(seller: Seller) -> None:
    told = draft()
    take(seller.shop, told)
    order = take_one(seller.shop, again(told, status=ChannelStatus.ON_HOLD))
    assert holds(order) == {"channel:on_hold"}
    assert order.parcels.get().stops.get().reason.startswith("平台暂缓发货")
    order = take_one(seller.shop, again(told, 2))
    assert (order.status, holds(order)) == ("routed", set())


@pytest.mark.parametrize("status", [ChannelStatus.ON_HOLD, ChannelStatus.UNKNOWN])
def test_when_a_pause_ends_the_receiver_is_looked_at_after_all(
    seller: Seller, status: ChannelStatus
) -> None:
    told = draft(status=status, receiver=somebody(1, phone=""))
    assert "incomplete:receiver" not in holds(take_one(seller.shop, told))
    order = take_one(seller.shop, again(told, status=ChannelStatus.WAIT_SHIP))
    assert holds(order) == {"incomplete:receiver"}
    order = take_one(
        seller.shop, again(told, 2, status=ChannelStatus.WAIT_SHIP, receiver=somebody(1))
    )
    assert order.status == "routed"


def test_a_status_word_nobody_knows_is_held_with_the_word(seller: Seller) -> None:
    order = take_one(seller.shop, draft(status=ChannelStatus.UNKNOWN, status_raw="WAIT_MOON"))
    assert holds(order) == {"channel:unknown_status"}
    assert "WAIT_MOON" in OrderHold.objects.get(order=order).words


# --- typed text -----------------------------------------------------------------------------------


def test_what_a_buyer_types_is_kept_as_data_without_controls(seller: Seller) -> None:
    told = draft(
        buyer_remark="好\x00的\u202e{{7*7}}<script>alert(1)</script>", seller_memo="a\x07b"
    )
    order = take_one(seller.shop, told)
    assert order.buyer_remark == "好�的�{{7*7}}<script>alert(1)</script>"
    order = take_one(seller.shop, again(told, seller_memo="x\x00y"))
    assert order.seller_memo == "x�y"
    order = take_one(seller.shop, again(told, 2, seller_memo="x\x00y"))
    record = AuditRecord.objects.filter(object_id=order.pk).latest("pk")
    assert "seller_memo" not in record.change


def test_ids_longer_than_a_browser_can_count_keep_every_digit(seller: Seller) -> None:
    told = replace(draft(), channel_number="9007199254740993001")
    assert take_one(seller.shop, told).channel_number == "9007199254740993001"
