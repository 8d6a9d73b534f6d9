"""What Douyin's documents say: the samples, and every odd but legal shape of them."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from channels_sync.connectors.douyin.connector import DouyinConnector
from channels_sync.connectors.strict_json import dump_compact
from channels_sync.contracts import Document, ErrorClass, Unreadable
from ordercenter.orders.contracts import ChannelStatus, OrderDraft
from tests.channels_sync.douyin_gateway import ACCESS, OK
from tests.channels_sync.platforms import payload

READER = DouyinConnector(ACCESS)
Change = Callable[[dict[str, Any]], None]


def order(**changes: Any) -> bytes:
    row = payload("douyin", "order_searchList_page")["data"]["shop_order_list"][0]
    return dump_compact({**row, **changes})


def order_with_line(**changes: Any) -> bytes:
    row = json.loads(order())
    row["sku_order_list"][0] |= changes
    return dump_compact(row)


def gift_order(**changes: Any) -> OrderDraft:
    """The order with a gift; ``changes`` are made to the gift's line."""
    answer = payload("douyin", "order_orderDetail_discount_gift_encrypted")
    row = answer["data"]["shop_order_detail"]
    row["sku_order_list"][1] |= changes
    return READER.read(dump_compact(row))


def refund(**changes: Any) -> bytes:
    row = payload("douyin", "afterSale_List_page")["data"]["items"][0]
    row["aftersale_info"] |= changes
    return dump_compact(row)


def document(value: Any) -> Document:
    return READER.read_document(dump_compact(value))


# --- orders ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "status", "paid"),
    [
        ({"order_status": 1, "main_status": 1, "pay_time": 0}, ChannelStatus.WAIT_PAY, "0.00"),
        ({"order_status": 105, "main_status": 105}, ChannelStatus.ON_HOLD, "119.00"),
        ({"order_status": 2}, ChannelStatus.WAIT_SHIP, "119.00"),
        ({"order_status": 101, "main_status": 101}, ChannelStatus.PART_SHIPPED, "119.00"),
        ({"order_status": 3, "main_status": 3}, ChannelStatus.SHIPPED, "119.00"),
        ({"order_status": 5, "main_status": 5}, ChannelStatus.FINISHED, "119.00"),
        ({"order_status": 4, "main_status": 21}, ChannelStatus.CLOSED_REFUNDED, "119.00"),
        ({"order_status": 4, "main_status": 4}, ChannelStatus.CLOSED, "119.00"),
        ({"order_status": 4, "main_status": 4, "pay_time": 0}, ChannelStatus.CLOSED_UNPAID, "0.00"),
        ({"order_status": 77, "main_status": 77}, ChannelStatus.UNKNOWN, "119.00"),
        ({"order_status": 2, "pay_type": 0}, ChannelStatus.WAIT_SHIP, "0.00"),
        ({"order_status": 5, "main_status": 5, "pay_type": 0}, ChannelStatus.FINISHED, "119.00"),
    ],
)
def test_a_status_says_what_has_been_paid(
    changes: dict[str, Any], status: ChannelStatus, paid: str
) -> None:
    draft = READER.read(order(**changes))
    assert draft.status is status
    assert draft.paid_amount == Decimal(paid)


def test_a_deposit_is_money_in_and_goods_not_out() -> None:
    phases = [
        {"phase_order_id": "1", "pay_success": 1, "phase_pay_amount": 2000},
        {"phase_order_id": "2", "pay_success": 0, "phase_pay_amount": 0},
    ]
    draft = READER.read(order(order_status=1, main_status=103, order_phase_list=phases))
    assert draft.status is ChannelStatus.DEPOSIT_PAID
    assert draft.paid_amount == Decimal("20.00")
    assert draft.is_presale
    assert not draft.is_paid


def test_freight_is_taken_out_of_the_lines() -> None:
    page = payload("douyin", "order_searchList_page")["data"]["shop_order_list"][1]
    draft = READER.read(dump_compact(page))
    assert [line.amount for line in draft.lines] == [Decimal("119.80"), Decimal("24.90")]
    assert sum(line.amount for line in draft.lines) + draft.freight == draft.payable_amount


def test_a_masked_receiver_is_no_evidence() -> None:
    receiver = READER.read(order()).receiver
    assert receiver is not None
    assert receiver.is_masked
    assert receiver.phone == "1********01"
    assert (receiver.province, receiver.city) == ("浙江省", "宁波市")
    assert (receiver.district, receiver.town) == ("鄞州区", "示例街道")
    assert receiver.oaid == "#sandboxOpenAddressId101"
    assert READER.read(order()).evidence.buyer_id == "1@#sandboxDoudianOpenId101"


@pytest.mark.parametrize(
    ("info", "state"),
    [
        ({"after_sale_status": 0}, "none"),
        ({"after_sale_status": 6, "refund_status": 1}, "in_progress"),
        ({"after_sale_status": 7}, "in_progress"),
        ({"after_sale_status": 12, "refund_status": 1}, "in_progress"),
        ({"after_sale_status": 12, "refund_status": 3}, "refunded"),
        ({"after_sale_status": 12, "refund_status": 4}, "in_progress"),
        ({"after_sale_status": 28}, "closed"),
        ({"after_sale_status": 99}, "in_progress"),
    ],
)
def test_what_is_not_known_to_be_over_is_under_way(info: dict[str, Any], state: str) -> None:
    draft = READER.read(order_with_line(after_sale_info=info))
    assert draft.lines[0].refund_state == state


@pytest.mark.parametrize(
    "body",
    [
        order(pay_amount=-1),
        order(pay_amount="119.00"),
        order(pay_amount=True),
        order(create_time=1772323200000),
        order(create_time=None),
        order(sku_order_list=[]),
        order(order_id=" "),
        order_with_line(item_num=0),
        order_with_line(item_num=Decimal("1.5")),
        order_with_line(item_num="1_000"),
        b'{"order_id":"1","order_id":"2"}',
        order()[:-5],
    ],
)
def test_a_broken_order_is_refused_with_words(body: bytes) -> None:
    with pytest.raises(Unreadable) as reason:
        READER.read(body)
    assert str(reason.value)


def test_a_number_above_two_to_the_53_keeps_its_digits() -> None:
    draft = READER.read(order(order_id=6900000000000000101))
    assert draft.channel_number == "6900000000000000101"


@pytest.mark.parametrize(
    ("changes", "state", "returns", "intercept"),
    [
        ({"aftersale_type": 2, "aftersale_status": 6}, "in_progress", False, True),
        (
            {"aftersale_type": 2, "aftersale_status": 12, "refund_status": 3},
            "refunded",
            False,
            True,
        ),
        ({"aftersale_type": 1, "aftersale_status": 7}, "in_progress", False, True),
        ({"aftersale_type": 2, "aftersale_status": 28}, "closed", False, False),
        ({"aftersale_type": 0, "aftersale_status": 7}, "in_progress", True, False),
        ({"aftersale_type": 3, "aftersale_status": 14}, "done", True, False),
        ({"aftersale_type": 6, "aftersale_status": 6}, "in_progress", False, False),
        ({"aftersale_type": 7, "aftersale_status": 8}, "in_progress", False, False),
    ],
)
def test_only_money_without_goods_stops_a_parcel(
    changes: dict[str, Any], state: str, returns: bool, intercept: bool
) -> None:
    draft = READER.read_refund(refund(**changes))
    assert draft.refund_state == state
    assert draft.return_goods is returns
    assert draft.intercept_shipping is intercept


def test_a_refund_of_less_than_the_line_is_partial() -> None:
    changes = {"aftersale_status": 12, "refund_status": 3, "refund_amount": 100}
    assert READER.read_refund(refund(**changes)).refund_state == "partial"


PLAIN = READER.read(order())


def without(row: dict[str, Any], *path: Any) -> None:
    for key in path[:-1]:
        row = row[key]
    del row[path[-1]]


ODD_SHAPES: dict[str, Change] = {
    "ids as numbers": lambda row: row.update(order_id=int(row["order_id"])),
    "a sub-order's id as a number": lambda row: row["sku_order_list"][0].update(
        order_id=int(row["sku_order_list"][0]["order_id"])
    ),
    "a SKU id as text": lambda row: row["sku_order_list"][0].update(sku_id="1700000000000101"),
    "no product_id_str": lambda row: without(row, "sku_order_list", 0, "product_id_str"),
    "no product_id": lambda row: without(row, "sku_order_list", 0, "product_id"),
    "no main_status": lambda row: without(row, "main_status"),
    "figures as text": lambda row: row.update(
        {key: str(value) for key, value in row.items() if isinstance(value, int)}
    ),
    "no parcels": lambda row: without(row, "logistics_info"),
    "no phases": lambda row: without(row, "order_phase_list"),
    "phases null": lambda row: row.update(order_phase_list=None),
    "no after-sale": lambda row: without(row, "sku_order_list", 0, "after_sale_info"),
    "after-sale null": lambda row: row["sku_order_list"][0].update(after_sale_info=None),
    "after-sale empty": lambda row: row["sku_order_list"][0].update(after_sale_info={}),
    "a line as an object": lambda row: row.update(sku_order_list=row["sku_order_list"][0]),
    "the code in out_sku_id": lambda row: row["sku_order_list"][0].update(
        code="", out_sku_id="LIP-03"
    ),
    "a bundle's parts": lambda row: row["sku_order_list"][0].update(
        bundle_sku_info=[{"product_id": "1", "sku_id": "2", "item_num": 3, "code": "PART"}]
    ),
    "a warehouse": lambda row: row["sku_order_list"][0].update(
        inventory_list=[{"warehouse_id": "1", "out_warehouse_id": "W", "count": 1}]
    ),
    "no freight": lambda row: row.update(post_amount=None),
    "freight of the line null": lambda row: row["sku_order_list"][0].update(post_amount=None),
    "promotion details of next year": lambda row: row.update(promotion_detail={"x": [1, None]}),
    "the mask alone names the place": lambda row: row.update(post_addr={"encrypt_detail": "##x##"}),
}


@pytest.mark.parametrize("change", ODD_SHAPES.values(), ids=ODD_SHAPES.keys())
def test_an_odd_shape_reads_like_the_ordinary_one(change: Change) -> None:
    row = json.loads(order())
    change(row)
    assert READER.read(dump_compact(row)) == PLAIN


def test_a_line_names_its_listing_and_keeps_its_own_number() -> None:
    (line,) = PLAIN.lines
    assert line.platform_item_id == "3500000000000000101"
    assert line.channel_line_id == PLAIN.channel_number  # a sub-order may have the parent's


@pytest.mark.parametrize("never", [0, "0", None, ""])
def test_an_order_never_modified_is_as_old_as_itself(never: Any) -> None:
    draft = READER.read(order(update_time=never))
    assert draft.modified_at == draft.placed_at


@pytest.mark.parametrize("sku_id", [0, "0", "", None])
def test_goods_without_a_sku_have_none(sku_id: Any) -> None:
    assert READER.read(order_with_line(sku_id=sku_id)).lines[0].platform_sku_id is None


def test_blank_codes_are_none() -> None:
    assert READER.read(order_with_line(code=" ", out_sku_id="")).lines[0].outer_code is None


@pytest.mark.parametrize(
    ("changes", "is_gift", "price"),
    [
        ({}, True, "0.00"),
        ({"origin_amount": 2900, "promotion_amount": 2900}, True, "29.00"),
        ({"given_product_type": "", "trade_type": 102}, True, "0.00"),
        ({"given_product_type": "", "trade_type": 0}, False, "0.00"),
        ({"given_product_type": "MASTER", "trade_type": 0}, False, "0.00"),
    ],
)
def test_a_gift_is_what_the_platform_calls_one(
    changes: dict[str, Any], is_gift: bool, price: str
) -> None:
    """A list price of 0 makes none, and a gift may have been discounted to 0."""
    draft = gift_order(**changes)
    assert (draft.lines[1].is_gift, str(draft.lines[1].unit_price)) == (is_gift, price)
    assert str(draft.lines[1].amount) == "0.00"
    assert draft.has_gift is is_gift


def test_two_lines_of_one_number_are_no_order() -> None:
    row = json.loads(order())
    row["sku_order_list"] *= 2
    with pytest.raises(Unreadable, match="子订单号"):
        READER.read(dump_compact(row))


def phases(*paid: Any, amounts: tuple[int, int] = (2000, 9900)) -> list[dict[str, Any]]:
    return [
        {
            "phase_order_id": str(n),
            "total_phase": 2,
            "current_phase": n + 1,
            "pay_success": success,
            "phase_payable_price": amount,
            "phase_pay_amount": amount if success in (True, 1, "1", "true") else 0,
        }
        for n, (success, amount) in enumerate(zip(paid, amounts, strict=True))
    ]


@pytest.mark.parametrize(
    ("changes", "status", "paid"),
    [
        ({"order_status": 1, "main_status": 1, "pay_time": 0}, "wait_pay", (False, False)),
        ({"order_status": 1, "main_status": 103, "pay_time": 0}, "deposit_paid", (True, False)),
        ({"order_status": 1, "main_status": 103, "pay_time": 0}, "deposit_paid", ("true", "0")),
        ({"order_status": 1, "main_status": 1, "pay_time": 0}, "deposit_paid", (1, 0)),
        ({"order_status": 103, "main_status": 103, "pay_time": 0}, "deposit_paid", (True, None)),
        ({"order_status": 2, "main_status": 2}, "wait_ship", (True, True)),
        ({"order_status": 4, "main_status": 4, "pay_time": 0}, "closed_unpaid", (False, False)),
        ({"order_status": 4, "main_status": 4, "pay_time": 0}, "closed", (True, False)),
        ({"order_status": 4, "main_status": 21}, "closed_refunded", (True, True)),
    ],
)
def test_a_presale_tells_by_its_phases_what_has_been_paid(
    changes: dict[str, Any], status: str, paid: tuple[Any, Any]
) -> None:
    draft = READER.read(order(order_phase_list=phases(*paid), **changes))
    expected = sum(
        amount for success, amount in zip(paid, (2000, 9900), strict=True)
        if success in (True, 1, "1", "true")
    )  # fmt: skip
    assert draft.status == status
    assert draft.paid_amount == Decimal(expected) / 100
    assert str(draft.payable_amount) == "119.00"
    assert draft.is_presale


@pytest.mark.parametrize("main", [21, 22, 39, "39"])
def test_a_refunded_order_is_closed_whatever_its_order_status(main: Any) -> None:
    draft = READER.read(order(order_status=4, main_status=main))
    assert draft.status is ChannelStatus.CLOSED_REFUNDED
    assert draft.status_raw == "4"
    assert str(draft.paid_amount) == "119.00"


def test_a_closed_order_whose_lines_are_refunded_is_refunded() -> None:
    done = {"after_sale_status": 12, "after_sale_type": 2, "refund_status": 3}
    row = json.loads(order_with_line(after_sale_info=done))
    row |= {"order_status": 4, "main_status": 4}
    draft = READER.read(dump_compact(row))
    assert (draft.status, draft.refund_state) == (ChannelStatus.CLOSED_REFUNDED, "full")


def test_an_unknown_status_without_payment_has_brought_no_money() -> None:
    draft = READER.read(order(order_status=88, main_status=88, pay_time=0))
    assert draft.status is ChannelStatus.UNKNOWN
    assert str(draft.paid_amount) == "0.00"


@pytest.mark.parametrize("pay_type", [0, "0"])
def test_cash_on_delivery_is_unpaid_until_it_is_collected(pay_type: Any) -> None:
    on_its_way = READER.read(order(order_status=3, main_status=3, pay_type=pay_type, pay_time=0))
    assert (on_its_way.status, str(on_its_way.paid_amount)) == (ChannelStatus.SHIPPED, "0.00")
    collected = READER.read(order(order_status=5, main_status=5, pay_type=pay_type))
    assert str(collected.paid_amount) == "119.00"


@pytest.mark.parametrize(
    ("info", "state"),
    [
        ({"after_sale_status": 12, "after_sale_type": 3, "refund_status": 0}, "closed"),
        ({"after_sale_status": 13, "after_sale_type": 3}, "in_progress"),
        ({"after_sale_status": 14, "after_sale_type": 3}, "closed"),
        ({"after_sale_status": 12, "after_sale_type": 7}, "closed"),
        ({"after_sale_status": 12, "after_sale_type": 6, "refund_status": 3}, "partial"),
        ({"after_sale_status": 27}, "closed"),
        ({"after_sale_status": 29}, "closed"),
        ({"after_sale_status": 11}, "in_progress"),
        ({"after_sale_status": 51, "refund_status": 1}, "closed"),
        ({"after_sale_status": 28, "refund_status": 1}, "closed"),
    ],
)
def test_a_line_is_refunded_only_when_its_money_is_back(info: dict[str, Any], state: str) -> None:
    assert READER.read(order_with_line(after_sale_info=info)).lines[0].refund_state == state


def test_an_order_with_one_of_two_lines_refunded_is_partly_refunded() -> None:
    row = payload("douyin", "order_searchList_page")["data"]["shop_order_list"][1]
    row["sku_order_list"][1]["after_sale_info"] = {"after_sale_status": 12, "refund_status": 3}
    assert READER.read(dump_compact(row)).refund_state == "partial"


# --- receivers ------------------------------------------------------------------------------


def test_a_receiver_in_the_clear_is_not_marked() -> None:
    clear = {
        "post_receiver": "林虚构",
        "post_tel": "19900000101",
        "post_addr": {"province": {"name": "浙江省"}, "detail": "虚构路8号"},
    }
    receiver = READER.read(order(**clear)).receiver
    assert receiver is not None
    assert not receiver.is_masked
    assert (receiver.name, receiver.address) == ("林虚构", "虚构路8号")


@pytest.mark.parametrize("text", ["##idx##cipher#1##", "$$idx$cipher$1$$", "某*"])
def test_a_ciphertext_or_a_mask_in_the_place_of_a_name_is_marked(text: str) -> None:
    changes = {"post_receiver": text, "post_tel": "19900000101", "mask_post_receiver": "某*"}
    address = {"detail": "虚构路8号"}
    receiver = READER.read(order(**changes, post_addr=address)).receiver
    assert receiver is not None
    assert receiver.is_masked
    assert receiver.name == "某*"


def test_an_order_without_any_receiver_has_none() -> None:
    nothing = dict.fromkeys(
        ("mask_post_receiver", "mask_post_tel", "mask_post_addr", "post_addr", "open_address_id")
    )
    assert READER.read(order(**nothing)).receiver is None


# --- refunds --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("told", "state", "returns", "intercept"),
    [
        ((2, 12, 1), "in_progress", False, True),
        ((2, 12, 2), "in_progress", False, True),
        ((2, 12, 4), "in_progress", False, True),
        ((2, 27, 0), "closed", False, False),
        ((2, 29, 0), "closed", False, False),
        ((2, 99, 0), "in_progress", False, True),
        ((4, 12, 3), "refunded", False, True),
        ((3, 12, 0), "done", True, False),
        ((3, 13, 0), "in_progress", True, False),
        ((7, 12, 0), "done", False, False),
        ((8, 12, 0), "done", True, False),
        ((6, 12, 3), "refunded", False, False),
        ((99, 6, 0), "in_progress", False, False),
    ],
)
def test_a_refund_is_read_by_type_status_and_money(
    told: tuple[int, int, int], state: str, returns: bool, intercept: bool
) -> None:
    names = ("aftersale_type", "aftersale_status", "refund_status")
    draft = READER.read_refund(refund(**dict(zip(names, told, strict=True))))
    assert (draft.refund_state, draft.return_goods, draft.intercept_shipping) == (
        state,
        returns,
        intercept,
    )


def test_a_refund_carries_the_version_its_answer_needs() -> None:
    draft = READER.read_refund(refund())
    assert draft.version == "1772324400"
    assert draft.modified_at == datetime.fromtimestamp(1772324400, UTC)


def test_a_refund_of_several_lines_names_the_related_one_or_none() -> None:
    row = json.loads(refund())
    other = {**row["order_info"]["related_order_info"][0], "sku_order_id": "6900000000000000777"}
    row["order_info"]["related_order_info"].append(other)
    assert READER.read_refund(dump_compact(row)).channel_line_id == "6900000000000000101"
    row["aftersale_info"]["related_id"] = "6900000000000000000"
    assert READER.read_refund(dump_compact(row)).channel_line_id is None


def test_the_detail_of_a_refund_reads_like_its_row_in_the_list() -> None:
    """``/afterSale/Detail`` has int64 ids and other names (channels.md 3d)."""
    info = {
        "after_sale_id": 700000000000000101,
        "after_sale_status": 6,
        "after_sale_type": 2,
        "refund_status": 1,
        "refund_total_amount": 11900,
        "update_time": 1772324400,
    }
    line = {"sku_order_id": 6900000000000000101, "pay_amount": 11900, "post_amount": 0}
    data = {
        "process_info": {"after_sale_info": info},
        "order_info": {"shop_order_id": 6900000000000000101, "sku_order_infos": [line]},
    }
    found = document({**OK, "data": data})
    assert found.kind == "refund_list"
    assert found.refunds == (READER.read_refund(refund()),)


# --- messages -------------------------------------------------------------------------------


def entry(tag: Any, **data: Any) -> dict[str, Any]:
    return {"tag": tag, "msg_id": f"m-{tag}", "data": json.dumps(data, ensure_ascii=False)}


def event(tag: Any, **data: Any) -> Any:
    return READER.read_event(dump_compact(entry(tag, **data)))


@pytest.mark.parametrize("number", [6900000000000000201, "6900000000000000201"])
def test_a_message_names_its_order_by_number_or_by_text(number: Any) -> None:
    found = event("206", p_id=number, s_id=1, aftersale_id=7)
    assert (found.topic, found.channel_number) == ("206", "6900000000000000201")


@pytest.mark.parametrize(
    ("time", "moment"),
    [
        (1772327287, datetime.fromtimestamp(1772327287, UTC)),
        ("1772327287", datetime.fromtimestamp(1772327287, UTC)),
        ("2026-03-01 09:08:07", datetime(2026, 3, 1, 1, 8, 7, tzinfo=UTC)),
        ("2026-03-01T09:08:07+08:00", datetime(2026, 3, 1, 1, 8, 7, tzinfo=UTC)),
        ("yesterday", None),
        (0, None),
    ],
)
def test_a_message_may_tell_its_time_as_a_number_or_a_date(
    time: Any, moment: datetime | None
) -> None:
    assert event("200", p_id=1, update_time=time).occurred_at == moment


def test_a_message_about_several_sub_orders_is_about_their_parent() -> None:
    assert event("108", p_id=69, s_ids=[1, 2, 3]).channel_number == "69"


def test_data_may_come_as_an_object_and_is_decoded_once() -> None:
    plain = {"tag": "101", "msg_id": "m", "data": {"p_id": 69}}
    assert READER.read_event(dump_compact(plain)).channel_number == "69"
    twice = {**plain, "data": json.dumps(json.dumps({"p_id": 69}))}
    with pytest.raises(Unreadable):
        READER.read_event(dump_compact(twice))


ADDRESS = {
    "province": {"name": "江苏省", "id": "32"},
    "city": {"name": "南京市", "id": "3201"},
    "town": {"name": "玄武区", "id": "320102"},
    "street": {"name": "示例街道", "id": "1"},
    "detail": "",
    "encrypt_detail": "##x##y#1##",
}


def test_a_wish_for_another_address_says_where_to() -> None:
    wish = {"addr": json.dumps(ADDRESS, ensure_ascii=False), "name": "", "encrypt_name": "##"}
    found = event("111", p_id=69, apply_time=1772327287, post_receiver_msg=wish)
    assert found.address_change is not None
    assert found.address_change.asked_at == datetime.fromtimestamp(1772327287, UTC)
    assert found.address_change.answer_by is None
    receiver = found.address_change.receiver
    assert (receiver.province, receiver.city, receiver.district) == ("江苏省", "南京市", "玄武区")
    assert receiver.is_masked


def test_a_wish_whose_address_is_broken_is_a_wish_all_the_same() -> None:
    found = event("111", p_id=69, apply_time=1772327287, receiver_msg={"addr": "{half"})
    assert found.address_change is not None
    assert found.address_change.receiver is None
    assert event("105", p_id=69, receiver_msg={"addr": "{half"}).address_change is None


# --- documents ------------------------------------------------------------------------------


def test_an_empty_list_may_be_left_out_with_its_key() -> None:
    found = document({**OK, "data": {"page": 0, "size": 100, "total": 0}})
    assert (found.kind, found.orders) == ("order_list", ())
    found = document({**OK, "data": {"has_more": False, "total": 0}})
    assert (found.kind, found.refunds) == ("refund_list", ())
    found = document({**OK, "data": {"page": 0, "size": 9, "total": 0, "shop_order_list": None}})
    assert (found.kind, found.orders) == ("order_list", ())


@pytest.mark.parametrize("data", [None, {}, [], ""])
def test_a_success_without_data_is_an_acknowledgement(data: Any) -> None:
    found = document({**OK, "data": data})
    assert (found.kind, found.facts["ok"]) == ("ack", True)


@pytest.mark.parametrize("code", [10000, "10000"])
def test_a_code_may_come_as_text(code: Any) -> None:
    assert document({"code": code, "msg": "success"}).kind == "ack"


def test_an_effect_that_was_had_before_is_a_success() -> None:
    answer = {"code": 40003, "sub_code": "isv.idempotent-id-existed", "msg": "x", "data": {}}
    assert document(answer).error is None


def test_an_answer_that_failed_in_part_is_read_entry_by_entry() -> None:
    answer = payload("douyin", "order_batchDecrypt_ok") | {"code": 10001, "msg": "部分失败"}
    found = document(answer)
    assert found.kind == "decrypt"
    assert found.facts["partly_failed"] is True
    entries: Any = found.facts["entries"]
    assert [one["ok"] for one in entries] == [True, True, False]
    assert document({"code": 10001, "msg": "部分失败"}).kind == "error"


@pytest.mark.parametrize(
    ("code", "sub_code", "klass"),
    [
        (30001, "isv.auth-closed", ErrorClass.AUTH),
        (30002, "isv.ip-not-allowed", ErrorClass.AUTH),
        (40001, "isv.signature-invalid", ErrorClass.AUTH),
        (40003, "isv.timestamp-invalid", ErrorClass.AUTH),
        (40002, "isv.parameter-invalid", ErrorClass.BUSINESS),
        (50001, "", ErrorClass.AUTH),
        (50002, "isv.business-failed", ErrorClass.BUSINESS),
        (70000, "", ErrorClass.BUSINESS),
        (80000, "", ErrorClass.BUSINESS),
        (90000, "", ErrorClass.PLATFORM),
    ],
)
def test_an_error_document_has_its_class(code: int, sub_code: str, klass: ErrorClass) -> None:
    error = document({"code": code, "msg": "m", "sub_code": sub_code, "sub_msg": "why"}).error
    assert error is not None
    assert (error.klass, error.code, error.sub_code) == (klass, str(code), sub_code or None)
    assert error.message == "why"


def test_one_entry_of_a_push_is_read_as_a_push_of_one() -> None:
    found = document(entry("101", p_id=69))
    assert [one.channel_number for one in found.events] == ["69"]


def test_the_check_of_our_address_is_no_event() -> None:
    assert document([{"tag": "0", "msg_id": "0", "data": "2026-03-01T09:08:07+08:00"}]).events == ()


def test_an_order_by_itself_is_an_order() -> None:
    found = READER.read_document(order())
    assert (found.kind, found.orders) == ("order", (PLAIN,))


def test_an_expiry_may_be_a_moment() -> None:
    answer = payload("douyin", "token_create_ok")
    answer["data"]["expires_in"] = 1775000000
    assert document(answer).facts["expires_in"] == 1775000000


def test_a_granted_and_a_refused_interception_are_told_apart() -> None:
    results = [
        {"tracking_no": "SF1", "is_success": True},
        {"tracking_no": "SF2", "is_success": False, "unavailable_reason": "包裹已签收"},
    ]
    facts = document({**OK, "data": {"intercept_results": results}}).facts
    assert facts["ok"] is False
    entries: Any = facts["entries"]
    assert [one["reason"] for one in entries] == [None, "包裹已签收"]
