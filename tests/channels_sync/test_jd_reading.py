"""Every odd but legal shape of JD's documents, one by one."""

import json
from copy import deepcopy
from typing import Any

import pytest

from channels_sync.connectors import CONNECTORS
from channels_sync.connectors.field_map import FieldMap
from channels_sync.connectors.jd.connector import ORDER_STATES, JdConnector
from channels_sync.contracts import Document, ErrorClass, Unreadable
from channels_sync.management.commands.read_payload import NOBODY
from ordercenter.orders.contracts import ChannelStatus, OrderDraft, RefundDraft
from tests.channels_sync.platforms import payload

S = ChannelStatus
SEARCH = "jingdong_pop_order_search_responce"
REFUNDS = "jingdong_pop_afs_soa_refundapply_queryPageList_responce"


def orders() -> list[dict[str, Any]]:
    page = payload("jd", "pop_order_search_page")[SEARCH]["searchorderinfo_result"]
    rows: list[dict[str, Any]] = page["orderInfoList"]
    return rows


def full() -> dict[str, Any]:
    detail = payload("jd", "pop_order_get_discount_gift_oaid")
    order: dict[str, Any] = detail["jingdong_pop_order_get_responce"]["orderDetailInfo"][
        "orderInfo"
    ]
    return order


def refund() -> dict[str, Any]:
    row: dict[str, Any] = payload("jd", "afs_refundapply_queryPageList")[REFUNDS]["queryResult"][
        "result"
    ][0]
    return row


def read(order: dict[str, Any]) -> OrderDraft:
    return CONNECTORS["jd"](NOBODY).read(json.dumps(order).encode())


def read_refund(row: dict[str, Any]) -> RefundDraft:
    return CONNECTORS["jd"](NOBODY).read_refund(json.dumps(row).encode())


def document(value: Any) -> Document:
    return CONNECTORS["jd"](NOBODY).read_document(json.dumps(value).encode())


def one(**changes: Any) -> OrderDraft:
    return read({**orders()[0], **changes})


def item(**changes: Any) -> OrderDraft:
    order = orders()[0]
    order["itemInfoList"][0].update(changes)
    return read(order)


def amounts(order: OrderDraft) -> list[str]:
    return [str(line.amount) for line in order.lines]


def error_of(value: Any) -> tuple[str, str]:
    error = document(value).error
    assert error is not None
    return error.klass, error.code


# --- money ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "payable"),
    [
        ({"actualPay": "170.00", "orderPayment": "1.00"}, "170.00"),
        ({"actualPay": "0.00"}, "0.00"),
        ({"actualPay": "", "orderPayment": "100.00", "balanceUsed": "74.00"}, "174.00"),
        ({"balanceUsed": ""}, "174.00"),
        ({"orderPayment": "", "shouldPay": "174.00"}, "174.00"),
        ({"orderPayment": None, "actualPay": "174.00"}, "174.00"),
    ],
)
def test_what_an_order_costs_is_found_where_the_platform_keeps_it(
    changes: dict[str, Any], payable: str
) -> None:
    order = one(**changes)
    assert (str(order.payable_amount), str(order.paid_amount)) == (payable, payable)


def test_an_order_that_tells_no_sum_is_unreadable() -> None:
    with pytest.raises(Unreadable, match="orderPayment"):
        one(orderPayment="", actualPay="", shouldPay="")


@pytest.mark.parametrize("pay_type", ["1-货到付款", "1", "1 - 货到付款"])
@pytest.mark.parametrize(
    ("state", "paid"),
    [
        ("WAIT_SELLER_STOCK_OUT", "0.00"),
        ("LOCKED", "0.00"),
        ("TRADE_CANCELED", "0.00"),
        ("FINISHED_L", "174.00"),
    ],
)
def test_cash_on_delivery_is_unpaid_until_finished(pay_type: str, state: str, paid: str) -> None:
    order = one(payType=pay_type, orderState=state)
    assert (str(order.payable_amount), str(order.paid_amount)) == ("174.00", paid)


def test_cash_that_nobody_gave_yet_still_has_to_be_paid() -> None:
    order = one(payType="1-货到付款", actualPay="0.00", shouldPay="174.00", orderPayment="0.00")
    assert (str(order.payable_amount), str(order.paid_amount)) == ("174.00", "0.00")


@pytest.mark.parametrize("pay_type", ["2-邮局汇款", "4-在线支付", "5-公司转账", "6-银行卡转账", ""])
def test_other_ways_to_pay_are_paid_when_listed(pay_type: str) -> None:
    assert str(one(payType=pay_type).paid_amount) == "174.00"


def test_a_canceled_order_keeps_what_was_paid() -> None:
    order = read(orders()[2])
    assert (order.status, str(order.paid_amount)) == (S.CLOSED, "35.00")


@pytest.mark.parametrize("empty", ["", None])
def test_empty_figures_are_none(empty: Any) -> None:
    order = one(freightPrice=empty, balanceUsed=empty, sellerDiscount=empty, couponDetailList=[])
    assert str(order.freight) == "0.00"
    assert str(order.payable_amount) == "174.00"


def test_without_a_list_of_discounts_they_are_what_the_lines_cost_too_much() -> None:
    order = full()
    del order["couponDetailList"]
    read_order = read(order)
    assert sum(line.amount for line in read_order.lines) == read_order.payable_amount
    assert amounts(read_order)[2] == "0.00"


@pytest.mark.parametrize("shape", ["nested", "single", "text"])
def test_discounts_come_in_many_shapes(shape: str) -> None:
    order = orders()[0]
    coupons = order["couponDetailList"]
    plain = read(order)
    total = {"orderId": "1", "skuId": "", "couponType": "100", "couponPrice": "25.00"}
    order["couponDetailList"] = {"nested": [coupons], "single": total, "text": json.dumps(coupons)}[
        shape
    ]
    assert read(order) == plain


def test_a_discount_without_a_sum_takes_nothing_off() -> None:
    order = one(couponDetailList=[{"skuId": None, "couponType": "41", "couponPrice": ""}])
    assert amounts(order) == ["199.00"]


def test_a_single_item_discount_of_another_order_is_shared() -> None:
    order = one(couponDetailList=[{"skuId": "404", "couponType": "30", "couponPrice": "25.00"}])
    assert amounts(order) == ["174.00"]


# --- lines ----------------------------------------------------------------------------------


@pytest.mark.parametrize("missing", ["", None, " "])
def test_a_line_may_lack_the_merchants_code(missing: Any) -> None:
    assert item(outerSkuId=missing).lines[0].outer_code is None


def test_a_line_names_the_goods_it_belongs_to() -> None:
    assert item().lines[0].platform_item_id == "200000000101"
    assert item(wareId="0").lines[0].platform_item_id is None


def test_the_same_goods_twice_are_two_lines() -> None:
    order = orders()[0]
    order["itemInfoList"].append(deepcopy(order["itemInfoList"][0]))
    ids = [line.channel_line_id for line in read(order).lines]
    assert ids == ["100000000101", "100000000101#2"]


@pytest.mark.parametrize("price", ["0", "0.00", 0, "0.0"])
def test_a_line_without_a_price_is_a_gift(price: Any) -> None:
    assert item(jdPrice=price).lines[0].is_gift


def test_a_single_item_may_come_without_its_list() -> None:
    order = orders()[0]
    plain = read(order)
    order["itemInfoList"] = order["itemInfoList"][0]
    assert read(order) == plain


# --- states and times -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "status"),
    [
        ("WAIT_SELLER_STOCK_OUT", S.WAIT_SHIP),
        ("WAIT_SELLER_DELIVERY", S.WAIT_SHIP),
        ("WAIT_SEND_CODE", S.WAIT_SHIP),
        ("WAIT_GOODS_RECEIVE_CONFIRM", S.SHIPPED),
        ("PAUSE", S.ON_HOLD),
        ("POP_ORDER_PAUSE", S.ON_HOLD),
        ("LOCKED", S.ON_HOLD),
        ("NEXT_YEARS_WORD", S.UNKNOWN),
    ],
)
def test_every_state_has_its_place(state: str, status: ChannelStatus) -> None:
    order = one(orderState=state)
    assert (order.status, order.status_raw) == (status, state)


def test_every_state_the_table_knows_is_asked_for() -> None:
    known = FieldMap.packaged("jd").source["order"]["status"]["values"]
    assert set(known) == set(ORDER_STATES.split(","))


@pytest.mark.parametrize(
    "never",
    [
        None,
        "",
        "0001-01-01 00:00:00",
        "1970-01-01 00:00:00",
        "0001-01-01 08:05:43",
        "1970-01-01 08:00:00",
    ],
)
def test_never_is_spelt_in_many_ways(never: Any) -> None:
    assert one(paymentConfirmTime=never).paid_at is None
    order = one(modified=never)
    assert order.modified_at == order.paid_at


def test_a_time_may_carry_milliseconds_and_a_zone() -> None:
    plain = one().modified_at
    assert one(modified="2026-03-01 08:05:00.000+0800").modified_at == plain
    assert one(modified="2026-03-01 08:05:00.683").modified_at.microsecond == 683_000


# --- receivers ------------------------------------------------------------------------------


def receiver_of(**changes: Any) -> Any:
    order = orders()[0]
    order["consigneeInfo"] = {**order["consigneeInfo"], **changes}
    return read(order).receiver


@pytest.mark.parametrize("nothing", [None, [], {}, ""])
def test_an_order_may_come_without_a_receiver(nothing: Any) -> None:
    assert one(consigneeInfo=nothing, vatInfo=[]).receiver is None


def test_a_masked_number_may_stand_in_a_field_of_its_own() -> None:
    receiver = receiver_of(mobile="", telephone="", desen_mobile="199****0101")
    assert (receiver.phone, receiver.is_masked) == ("199****0101", True)


@pytest.mark.parametrize("cipher", ["AAS/abc", "3kF9vQ2Lr8mYx0Tz7BcNwEhJs5UdPgAq6RiOl1Xy4Zk="])
def test_ciphertext_in_place_of_a_name_is_no_name(cipher: str) -> None:
    receiver = receiver_of(fullname=cipher, mobile="19900000101", fullAddress="示例路8号")
    assert receiver.is_masked


def test_ciphertext_in_fields_of_its_own_is_no_name_either() -> None:
    receiver = receiver_of(
        fullname="",
        mobile=None,
        fullAddress="",
        encrypt_fullname="x1",
        encrypt_mobile="y1",
        encrypt_fullAddress="z1",
    )
    assert (receiver.name, receiver.phone, receiver.address) == ("x1", "y1", "z1")
    assert receiver.is_masked


def test_a_clear_receiver_is_not_marked() -> None:
    clear = receiver_of(fullname="方虚构", mobile="19900000101", fullAddress="示例路8号1幢")
    assert not clear.is_masked


# --- refunds --------------------------------------------------------------------------------


def test_a_refund_sum_counts_fen_as_number_or_text() -> None:
    assert str(read_refund(refund()).amount) == "174.00"
    assert str(read_refund({**refund(), "applyRefundSum": "1"}).amount) == "0.01"
    with pytest.raises(Unreadable, match="applyRefundSum"):
        read_refund({**refund(), "applyRefundSum": "174.00"})


def test_a_refund_moves_with_its_decision() -> None:
    applied = read_refund(refund())
    checked = read_refund({**refund(), "status": "2", "checkTime": "2026-03-01 09:00:00"})
    unchecked = read_refund({**refund(), "checkTime": "0001-01-01 00:00:00"})
    assert applied.modified_at == unchecked.modified_at
    assert checked.modified_at is not None
    assert applied.modified_at is not None
    assert checked.modified_at > applied.modified_at


def test_an_unknown_word_about_a_refund_holds_the_parcel() -> None:
    draft = read_refund({**refund(), "status": 9})
    assert (draft.state_raw, draft.refund_state, draft.intercept_shipping) == (
        "9",
        "in_progress",
        True,
    )


# --- documents ------------------------------------------------------------------------------


FLAGS: list[dict[str, Any]] = [
    {"success": "true", "numberCode": "10100000"},
    {"success": True, "numberCode": 10100000},
    {"numberCode": 10100000},
    {},
]


@pytest.mark.parametrize("flags", FLAGS)
def test_a_success_is_spelt_in_many_ways(flags: dict[str, Any]) -> None:
    result = {"apiResult": flags, "orderTotal": "1", "orderInfoList": orders()[:1]}
    found = document({SEARCH: {"code": "0", "searchorderinfo_result": result}})
    assert (found.kind, len(found.orders)) == ("order_list", 1)
    assert found.facts["page"] == {"has_next": None, "total": 1}


@pytest.mark.parametrize(
    "empty",
    [
        {"orderTotal": 0},
        {"orderTotal": "0", "orderInfoList": []},
        {"orderTotal": 0, "orderInfoList": None},
    ],
)
def test_an_empty_list_is_no_order(empty: dict[str, Any]) -> None:
    found = document({SEARCH: {"code": "0", "searchorderinfo_result": empty}})
    assert (found.kind, found.orders) == ("order_list", ())


NO = {"success": False, "englishErrCode": "x", "chineseErrCode": "没有", "numberCode": 10100002}


@pytest.mark.parametrize(
    "flags", [NO, {**NO, "success": "false"}, {"numberCode": "10100002", "chineseErrCode": "没有"}]
)
def test_a_refusal_inside_a_success_is_found(flags: dict[str, Any]) -> None:
    answer = {"code": "0", "orderDetailInfo": {"apiResult": flags, "orderInfo": None}}
    assert error_of({"jingdong_pop_order_get_responce": answer}) == ("business", "10100002")


def test_a_refusal_at_the_answers_own_level_is_found() -> None:
    answer = {"code": "0", "success": False, "errorMessage": "库存不足"}
    told = document({"jingdong_stock_write_updateSkuStock_responce": answer}).error
    assert told is not None
    assert (told.klass, told.message) == (ErrorClass.BUSINESS, "库存不足")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"code": "66", "errorMessage": "后端不可用"}, ("platform", "66")),
        ({"code": 19, "errorMessage": "无效token"}, ("auth", "19")),
        ({"error_response": {"code": 2, "zh_desc": "x"}}, ("rate_limited", "2")),
        ({"error_response": {"code": "8", "zh_desc": "x"}}, ("auth", "8")),
        ({"error_response": {"code": "12", "zh_desc": "x"}}, ("auth", "12")),
        ({"error_response": {"code": "43", "en_desc": "system error"}}, ("platform", "43")),
        ({"error_response": {"code": "60", "zh_desc": "x"}}, ("business", "60")),
        ({"error_response": {"code": "67", "zh_desc": "x"}}, ("platform", "67")),
        ({"error_response": {"code": "71", "zh_desc": "x"}}, ("business", "71")),
        ({"error_response": {"code": "10100046", "zh_desc": "x"}}, ("platform", "10100046")),
        ({"jingdong_x_responce": {"code": "65", "zh_desc": "x"}}, ("platform", "65")),
        ({"code": 402, "msg": "invalid code", "requestId": "1"}, ("auth", "402")),
    ],
)
def test_a_refusal_is_classed_by_its_code_at_whichever_level(
    value: dict[str, Any], expected: tuple[str, str]
) -> None:
    assert error_of(value) == expected


def test_a_detail_by_the_older_call_reads_the_same() -> None:
    answer = {"code": "0", "orderDetailInfo": {"orderInfo": full()}}
    found = document({"jingdong_pop_order_enGet_responce": answer})
    assert (found.kind, found.orders) == ("order", (read(full()),))


def test_one_application_by_its_number_is_a_refund() -> None:
    key = "jingdong_pop_afs_soa_refundapply_queryById_responce"
    for result in ({"success": True, "result": refund()}, {"success": True, **refund()}):
        found = document({key: {"code": "0", "queryResult": result}})
        assert [one.refund_id for one in found.refunds] == ["900000101"]


def test_a_token_may_come_with_a_code_of_success() -> None:
    found = document({**payload("jd", "oauth_token"), "code": 0, "msg": "success"})
    assert (found.kind, found.facts["access_token"]) == ("token", "sandbox-jd-token")


def test_a_note_that_was_asked_for_is_an_answer_not_an_error() -> None:
    flags = {"success": True, "result_code": "10100000", "result_describe": "成功"}
    result = {"api_jos_result": flags, "vender_remark": {"remark": "VIP", "flag": 2}}
    key = "jingdong_order_venderRemark_queryByOrderId_responce"
    assert document({key: {"code": "0", "venderRemarkQueryResult": result}}).kind == "ack"


def test_a_row_of_a_list_by_itself_reads_as_it_does_there() -> None:
    assert document(orders()[0]).orders == (read(orders()[0]),)
    assert document(refund()).refunds == (read_refund(refund()),)


# --- the field table ------------------------------------------------------------------------


def test_an_edited_table_is_what_is_read_by() -> None:
    edited = FieldMap.packaged("jd").changed({"line": {"outer_code": {"from": ["productNo"]}}})
    order = orders()[0]
    order["itemInfoList"][0]["productNo"] = "P-1"
    body = json.dumps(order).encode()
    assert JdConnector(NOBODY, field_map=edited).read(body).lines[0].outer_code == "P-1"
    assert JdConnector(NOBODY).read(body).lines[0].outer_code == "RICE-5KG"
