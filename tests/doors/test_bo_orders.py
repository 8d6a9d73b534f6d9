"""BO: orders that make no sense together: twice, too late, half, or another's."""

import json
import time
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final

import httpx
import pytest
from django.contrib.auth.models import User

from channels_sync.connectors.strict_json import dump_compact, loads_page
from channels_sync.models import InboxMessage, LineAlarm, ShopCredential, SyncCursor
from fulfillment.models import StageTask
from inventory.models import Reservation
from ordercenter.audit.models import AuditRecord
from ordercenter.catalog.models import Shop
from ordercenter.core.clock import now as clock_now
from ordercenter.core.policy import Role
from ordercenter.orders.contracts import ChannelStatus
from ordercenter.orders.errors import OrderHeld
from ordercenter.orders.models import OrderHold, SalesOrder
from ordercenter.orders.states import Tier
from ordercenter.pipeline import jobs, stages, watch
from ordercenter.pipeline.tally import DOORS as COUNTED
from ordercenter.warroom.selectors import board
from tests.channels_sync.contract_cases import BY_CHANNEL
from tests.doors.doors import DOORS, Door
from tests.doors.polls import Polled
from tests.doors.raw_orders import LINES, lines_of, put, taken
from tests.doors.table import CHANNELS, POLLED, at, not_here, row
from tests.factories import ShopFactory, user_with
from tests.pipeline.seller import (
    Carrier,
    Seller,
    again,
    as_person,
    buyer,
    draft,
    holds,
    line,
    open_seller,
    paid,
    print_label,
    promised,
    refund,
    ship,
    somebody,
    take,
    take_one,
    take_refund,
    tasks,
)

pytestmark = pytest.mark.django_db
S = ChannelStatus


@pytest.fixture
def seller() -> Seller:
    return open_seller()


@pytest.fixture
def boss() -> User:
    return user_with(Role.WAREHOUSE_SUPERVISOR)


@pytest.fixture
def _carrier(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stages, "_ask_carrier", Carrier())


# --- numbers ------------------------------------------------------------------------------------


@row("BO01")
def test_one_number_in_two_shops_is_two_orders(row: str, seller: Seller) -> None:
    told = draft()
    other = ShopFactory.create()
    take(seller.shop, told)
    take(other, told)
    assert SalesOrder.objects.filter(channel_number=told.channel_number).count() == 2


def flags(order: SalesOrder) -> list[str]:
    """What was found odd; what a rule filled in is none of it."""
    rows = AuditRecord.objects.filter(object_type="order", object_id=order.pk)
    found = [flag for record in rows for flag in record.change.get("flags", [])]
    return [flag for flag in found if not flag.startswith("filled:")]


@row("BO02")
@pytest.mark.parametrize("twin", ["ab-1", "AB-1", " Ab-1", "Ab-1 "])
@pytest.mark.parametrize("together", [True, False])
def test_numbers_that_differ_by_case_or_blanks_are_two_orders_and_flagged(
    row: str, seller: Seller, twin: str, *, together: bool
) -> None:
    one, other = draft(channel_number="Ab-1"), draft(channel_number=twin)
    if together:
        orders = take(seller.shop, one, other)
    else:
        orders = [*take(seller.shop, one), *take(seller.shop, other)]
    assert [order.channel_number for order in orders] == ["Ab-1", twin]
    assert flags(orders[1]) == ["与订单 'Ab-1' 的单号只差大小写或空格"]
    assert bool(flags(orders[0])) is together


@row("BO02")
def test_other_numbers_are_nobodys_twins(row: str, seller: Seller) -> None:
    numbers = ("Ab-1", "Ab-2", "3000000000000000001", "3000000000000000002")
    for order in take(seller.shop, *(draft(channel_number=number) for number in numbers)):
        assert flags(order) == []


@row("BO03")
@pytest.mark.usefixtures("_carrier")
def test_a_number_used_again_after_a_year_is_a_case_for_a_person(
    row: str, seller: Seller, boss: User
) -> None:
    old = draft(at=clock_now() - timedelta(days=400))
    order = take_one(seller.shop, old)
    ship(order, boss)
    before = SalesOrder.objects.values("status", "payable_amount", "channel_modified_at").get()
    new = draft(line("LAMP", 3), channel_number=old.channel_number)
    order = take_one(seller.shop, new)
    assert (
        SalesOrder.objects.values("status", "payable_amount", "channel_modified_at").get() == before
    )
    assert holds(order) == {"changed:reused"}
    assert "after_sales" in tasks(order)
    assert promised(order) == {}


# --- too early and too late ---------------------------------------------------------------------


@row("BO04")
def test_an_order_canceled_before_it_was_created_is_born_canceled(row: str, seller: Seller) -> None:
    told = draft(paid=False)
    gone = take_one(seller.shop, again(told, 60, status=S.CLOSED_UNPAID, status_raw="TRADE_CLOSED"))
    assert gone.status == "canceled"
    late = take_one(seller.shop, told)
    assert (late.status, late.version, promised(late)) == ("canceled", gone.version, {})
    assert take_one(seller.shop, paid(told, 30)).status == "canceled"


@row("BO04")
def test_a_refund_of_all_before_the_order_came_leaves_nothing_to_ship(
    row: str, seller: Seller
) -> None:
    told = draft()
    take_refund(seller.shop, refund(told, "refunded"))
    order = take_one(seller.shop, told)
    assert (order.status, promised(order)) == ("canceled", {})


@row("BO05")
def test_a_refund_before_the_payment_holds_until_the_platform_is_asked_again(
    row: str, seller: Seller
) -> None:
    told = draft(paid=False)
    take(seller.shop, told)
    take_refund(seller.shop, refund(told))
    order = take_one(seller.shop, told)
    assert holds(order) == {"refund:refund"}
    order = take_one(seller.shop, paid(told, refund_state="in_progress"))
    assert "refund:refund" in holds(order)
    take_refund(seller.shop, refund(told, "closed", modified_at=told.modified_at + timedelta(2)))
    order = take_one(seller.shop, paid(told, 5))
    assert (holds(order), order.status) == (set(), "routed")


@row("BO06")
def test_an_order_shipped_by_others_before_it_was_paid_is_held_and_seen(
    row: str, seller: Seller
) -> None:
    told = draft(status=S.SHIPPED, status_raw="SHIPPED", paid_at=None, paid_amount=Decimal(0))
    order = take_one(seller.shop, told)
    assert (holds(order), promised(order)) == ({"channel:shipped_elsewhere"}, {})
    hold = OrderHold.objects.get()
    assert (hold.tier, hold.words) == (Tier.REVIEW, "平台显示已发货，但没有付款记录")


@row("BO07")
def test_an_order_paid_twice_is_paid_once(row: str, seller: Seller) -> None:
    told = draft(paid=False)
    take(seller.shop, told)
    first = take_one(seller.shop, paid(told, 1))
    second = take_one(seller.shop, paid(told, 9))
    assert (second.paid_at, second.paid_amount) == (first.paid_at, first.paid_amount)
    paying = AuditRecord.objects.filter(object_id=first.pk, action="order_paid")
    assert paying.count() == 1
    assert promised(second) == {"SOFA": 1}


@row("BO08")
def test_an_older_state_after_a_newer_one_is_ignored_and_counted(row: str, seller: Seller) -> None:
    told = draft(paid=False)
    order = take_one(seller.shop, paid(told, 60))
    COUNTED.totals.clear()
    late = take_one(seller.shop, again(told, 30, status=S.CLOSED))
    assert (late.status, late.version) == (order.status, order.version)
    assert COUNTED.totals == {"older word": 1}


# --- words nobody knows -------------------------------------------------------------------------

STATUS: Final = {
    "taobao": ("status",),
    "jd": ("orderState",),
    "pinduoduo": ("order_status",),
    "douyin": ("order_status",),
    "wechat": ("status",),
    "crm_webhook": ("order", "status"),
    "miniprogram": ("order", "status"),
    "openjson": ("status",),
}


@pytest.fixture
def door(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@at(
    "BO09",
    POLLED,
    but={
        "shopify": "its status is of three axes: an unknown word on one of them"
        " is read as not paid or not shipped (channels.md 5c)"
    },
)
def test_a_status_nobody_knows_holds_the_order_with_the_word(door: str) -> None:
    told = loads_page(BY_CHANNEL[door].order_body())
    odd: Any = 987 if door in {"pinduoduo", "douyin", "wechat"} else "A_NEW_WORD"
    told = put(told, STATUS[door], odd)
    if door == "douyin":
        told["sku_order_list"] = [{**one, "order_status": odd} for one in told["sku_order_list"]]
    (message,) = taken(door, dump_compact(told))
    assert message.state == "done", message.error
    hold = OrderHold.objects.open().get(kind="channel")
    assert (hold.code, hold.tier) == ("unknown_status", "2")
    assert str(odd) in hold.words


@row("BO10")
def test_a_test_order_stays_out_of_the_stock_and_off_the_board(row: str, seller: Seller) -> None:
    before = board(clock_now())
    order = take_one(seller.shop, draft(is_test=True))
    after = board(clock_now())
    assert not Reservation.objects.exists()
    assert holds(order) == {"channel:test_order"}
    assert (after.statuses, after.stages, after.holds) == (
        before.statuses, before.stages, before.holds,
    )  # fmt: skip
    take(seller.shop, draft())
    assert board(clock_now()).statuses != before.statuses  # the control


# --- lines --------------------------------------------------------------------------------------


@row("BO11")
def test_an_order_without_lines_is_held(row: str, seller: Seller) -> None:
    order = take_one(seller.shop, replace(draft(), lines=()))
    assert "incomplete:no_lines" in holds(order)


@at("BO11", POLLED)
def test_an_order_whose_lines_did_not_come_is_parked_and_can_be_played_again(door: str) -> None:
    """Gateways leave fields out: no lines told is not known to be none."""
    told = put(loads_page(BY_CHANNEL[door].order_body()), LINES[door], [])
    (message,) = taken(door, dump_compact(told))
    assert (message.state, bool(message.error)) == ("dead", True)
    assert not SalesOrder.objects.exists()


@row("BO12")
def test_an_order_of_500_lines_is_taken_in_two_seconds(row: str, seller: Seller) -> None:
    told = draft(*(line("SOFA" if n % 2 else "LAMP", amount="1.00") for n in range(500)))
    began = time.monotonic()
    order = take_one(seller.shop, told)
    assert time.monotonic() - began < 2
    assert order.lines.count() == 500


OWN_IDS: Final = dict.fromkeys(
    ("jd", "pinduoduo", "wechat"),
    "its lines have no ids: two of one SKU are told apart by their place",
)


@at("BO13", POLLED, but=OWN_IDS)
def test_two_lines_of_one_id_are_parked(door: str) -> None:
    told = loads_page(BY_CHANNEL[door].order_body())
    first = lines_of(told, door)[0]
    (message,) = taken(door, dump_compact(put(told, LINES[door], [first, first])))
    assert message.state == "dead"
    assert not SalesOrder.objects.exists()


@row("BO14")
def test_a_line_that_vanishes_gives_its_stock_back_and_is_recorded(
    row: str, seller: Seller
) -> None:
    first, second = line("SOFA", 2), line("LAMP")
    told = draft(first, second)
    take(seller.shop, told)
    order = take_one(seller.shop, again(told, lines=(first,), payable_amount=first.amount))
    assert (promised(order), holds(order)) == ({"SOFA": 2}, set())
    record = AuditRecord.objects.filter(object_type="order", object_id=order.pk).latest("pk")
    assert record.change["quantity 2"] == [1, 0]


@row("BO15")
@pytest.mark.usefixtures("_carrier")
def test_more_pieces_after_packing_stop_the_packing(row: str, seller: Seller, boss: User) -> None:
    one = line("SOFA")
    told = draft(one)
    order = take_one(seller.shop, told)
    waybill = print_label(order, boss)
    order = take_one(seller.shop, again(told, lines=(replace(one, quantity=5),)))
    assert holds(order) == {"changed:lines"}
    with pytest.raises(OrderHeld):
        stages.ship_parcel(
            waybill.parcel_id, user=boss, actor=as_person(boss), tracking_number=waybill.number
        )


@row("BO16")
def test_a_parent_told_with_its_children_counts_each_line_once(row: str) -> None:
    """Douyin tells the parent and each sub-order; both lead to the one order."""
    body = BY_CHANNEL["douyin"].order_body()
    told = loads_page(body)
    child = told["sku_order_list"][0]
    assert child["parent_order_id"] == told["order_id"] or child["order_id"] == told["order_id"]
    reader = BY_CHANNEL["douyin"].reader()
    for s_id in (child["order_id"], told["order_id"]):
        inner = {"p_id": told["order_id"], "s_ids": [s_id], "shop_id": 1}
        event = {"tag": "101", "msg_id": f"m-{s_id}", "data": json.dumps(inner)}
        number = reader.read_event(json.dumps(event).encode()).channel_number
        assert number == str(told["order_id"])
    later = put(told, ("update_time",), told["update_time"] + 1)
    assert {row.state for row in taken("douyin", body, dump_compact(later))} == {"done"}
    assert SalesOrder.objects.get().lines.count() == len(told["sku_order_list"])


not_here("BO17", "parcels are not merged yet (ADR 0011); orders that may be are shown together")


@row("BO18")
def test_a_deposit_holds_goods_and_ships_nothing(row: str, seller: Seller) -> None:
    told = draft(paid=False, status=S.DEPOSIT_PAID, is_presale=True, paid_amount=Decimal(20))
    order = take_one(seller.shop, told)
    assert (order.status, promised(order)) == ("cleared", {"SOFA": 1})
    assert Reservation.objects.get().expires_at is None
    assert not StageTask.objects.filter(order=order).exists()
    assert take_one(seller.shop, paid(told)).status == "routed"


@row("BO19")
def test_a_gift_without_its_main_line_is_held_by_the_gift_rule(row: str, seller: Seller) -> None:
    gift = line("TOWEL", is_gift=True, amount="0.00", unit_price=Decimal(0))
    order = take_one(seller.shop, draft(gift))
    assert "rule:gift_dependency" in holds(order)


# --- who is allowed -----------------------------------------------------------------------------


@pytest.fixture
def hook(request: pytest.FixtureRequest) -> Door:
    return DOORS[request.param]().open()


@pytest.mark.parametrize(
    "hook", [pytest.param(name, id=f"BO20-{name}") for name in CHANNELS], indirect=True
)
def test_a_shop_without_authorization_takes_nothing_at_its_door(hook: Door) -> None:
    pushed = hook.push()
    Shop.objects.update(is_active=False)
    assert pushed.post().status_code == 401
    Shop.objects.update(is_active=True)
    row = ShopCredential.objects.get()
    row.set_secrets(app_secret="")
    row.save()
    assert pushed.post().status_code == 401
    assert not InboxMessage.objects.exists()


@at("BO20", POLLED)
def test_a_revoked_authorization_stops_the_poll_alarms_and_drops_nothing(door: str) -> None:
    polled = Polled(door)
    try:
        polled.sell(2)
        before = polled.position()
        polled.spoil = lambda answer: httpx.Response(401, content=b"{}")
        polled.poll()
        assert polled.position() == before
        assert SyncCursor.objects.get().error_class == "auth"
        watch.watch_lines()
        assert LineAlarm.objects.filter(kind=LineAlarm.Kind.AUTH, closed_at=None).exists()
        polled.recover()
        polled.poll()
        assert polled.kept() == 2
    finally:
        polled.close()


@row("BO21")
@pytest.mark.usefixtures("_carrier")
def test_an_address_changed_after_the_label_voids_it_and_stops_the_parcel(
    row: str, seller: Seller, boss: User
) -> None:
    told = draft()
    order = take_one(seller.shop, told)
    waybill = print_label(order, boss)
    order = take_one(seller.shop, again(told, receiver=somebody(address="平江路9号")))
    waybill.refresh_from_db()
    assert (waybill.state, holds(order)) == ("void", {"address_change:address"})
    assert order.parcels.get().stops.count() == 1
    with pytest.raises(OrderHeld):
        stages.request_label(waybill.parcel_id, user=boss, actor=as_person(boss))


# --- who buys too much --------------------------------------------------------------------------


@row("BO22")
def test_the_same_goods_twice_in_five_minutes_flag_both_orders(row: str, seller: Seller) -> None:
    at_noon = clock_now()
    who = buyer("b1")
    first = take_one(seller.shop, draft(at=at_noon, evidence=who))
    second = take_one(seller.shop, draft(at=at_noon + timedelta(minutes=4), evidence=who))
    jobs.look_again()
    assert "rule:same_sku_5m" in holds(first) & holds(second)


@row("BO23")
def test_the_fourth_order_of_a_phone_in_ten_minutes_is_frozen(row: str, seller: Seller) -> None:
    at_noon = clock_now()
    told = [
        draft(line(code), at=at_noon + timedelta(minutes=n), receiver=somebody(1))
        for n, code in enumerate(("SOFA", "LAMP", "RUG", "VASE"))
    ]
    orders = take(seller.shop, *told)
    frozen = OrderHold.objects.open().filter(code="phone_burst_10m")
    assert set(frozen.values_list("order_id", flat=True)) == {order.pk for order in orders}
    assert {hold.tier for hold in frozen} == {Tier.FREEZE}
    fewer = take(
        seller.shop, *(draft(line(code), receiver=somebody(2)) for code in ("SOFA", "LAMP"))
    )
    assert all("rule:phone_burst_10m" not in holds(order) for order in fewer)


@row("BO24")
def test_one_address_over_five_thousand_a_day_is_flagged(row: str, seller: Seller) -> None:
    dear = [draft(line(amount=amount), receiver=somebody(1)) for amount in ("3000.00", "2000.01")]
    orders = take(seller.shop, *dear)
    assert all("rule:address_day_5000" in holds(order) for order in orders[-1:])
    exact = [draft(line(amount="2500.00"), receiver=somebody(2)) for _ in range(2)]
    assert all("rule:address_day_5000" not in holds(order) for order in take(seller.shop, *exact))
