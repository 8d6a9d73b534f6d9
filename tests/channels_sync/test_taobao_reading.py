"""Every odd but legal shape of Taobao's documents, one by one."""

import json
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest

from channels_sync.connectors import CONNECTORS
from channels_sync.connectors.field_map import FieldMap
from channels_sync.connectors.taobao.connector import TaobaoConnector
from channels_sync.contracts import Document, ErrorClass, Unreadable
from channels_sync.management.commands.read_payload import NOBODY
from ordercenter.orders.contracts import ChannelStatus, OrderDraft, RefundDraft
from tests.channels_sync.platforms import payload

S = ChannelStatus
LIST = "trades_sold_increment_get_response"


def trades() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = payload("taobao", "trades_sold_increment_get_page")[LIST][
        "trades"
    ]["trade"]
    return rows


def full() -> dict[str, Any]:
    page = payload("taobao", "trade_fullinfo_get_discount_gift_oaid")
    trade: dict[str, Any] = page["trade_fullinfo_get_response"]["trade"]
    return trade


def refunds() -> list[dict[str, Any]]:
    page = payload("taobao", "refunds_receive_get_page")
    rows: list[dict[str, Any]] = page["refunds_receive_get_response"]["refunds"]["refund"]
    return rows


def lines(trade: dict[str, Any]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = trade["orders"]["order"]
    return rows


def read(trade: dict[str, Any]) -> OrderDraft:
    return CONNECTORS["taobao"](NOBODY).read(json.dumps(trade).encode())


def read_refund(refund: dict[str, Any]) -> RefundDraft:
    return CONNECTORS["taobao"](NOBODY).read_refund(json.dumps(refund).encode())


def document(value: Any) -> Document:
    return CONNECTORS["taobao"](NOBODY).read_document(json.dumps(value).encode())


def one(**changes: Any) -> OrderDraft:
    return read({**trades()[0], **changes})


def amounts(order: OrderDraft) -> list[str]:
    return [str(line.amount) for line in order.lines]


# --- identity -------------------------------------------------------------------------------


def test_the_number_may_come_as_text_beside_or_in_place_of_the_number() -> None:
    trade = trades()[0]
    for shape in ({"tid": str(trade["tid"])}, {"tid": None}, {"tid": ""}):
        assert read({**trade, **shape}).channel_number == "2600000000000000101"
    del trade["tid"]
    assert read(trade).channel_number == "2600000000000000101"


def test_a_trade_without_any_number_is_unreadable() -> None:
    with pytest.raises(Unreadable, match="tid"):
        one(tid="  ", tid_str="")


def test_numbers_beyond_a_double_keep_their_digits() -> None:
    body = json.dumps(trades()[0]).replace("2600000000000000101", "9223372036854775807")
    order = CONNECTORS["taobao"](NOBODY).read(body.encode())
    assert order.channel_number == order.lines[0].channel_line_id == "9223372036854775807"


def test_a_line_names_the_goods_it_belongs_to() -> None:
    assert [line.platform_item_id for line in read(full()).lines] == [
        "690000000401",
        "690000000402",
    ]


@pytest.mark.parametrize("nothing", ["", None, 0, "0"])
def test_goods_without_sku_have_none_and_fall_back_to_the_item_code(nothing: Any) -> None:
    trade = trades()[0]
    lines(trade)[0].update(sku_id=nothing, outer_sku_id="" if nothing == "" else None)
    (line,) = read(trade).lines
    assert (line.platform_sku_id, line.outer_code) == (None, "PTS001")


def test_a_line_without_any_code_of_the_merchant_has_none() -> None:
    trade = trades()[0]
    lines(trade)[0].update(outer_sku_id=" ", outer_iid="")
    assert read(trade).lines[0].outer_code is None


# --- states ---------------------------------------------------------------------------------


STEPS: list[tuple[dict[str, Any], ChannelStatus, str]] = [
    ({"step_trade_status": "FRONT_NOPAID_FINAL_NOPAID"}, S.WAIT_PAY, "0.00"),
    (
        {"step_trade_status": "FRONT_PAID_FINAL_NOPAID", "step_paid_fee": "20.00"},
        S.DEPOSIT_PAID,
        "20.00",
    ),
    (
        {"status": "WAIT_SELLER_SEND_GOODS", "step_trade_status": "FRONT_PAID_FINAL_PAID"},
        S.WAIT_SHIP,
        "89.00",
    ),
    (
        {
            "status": "TRADE_CLOSED_BY_TAOBAO",
            "step_trade_status": "FRONT_PAID_FRONT_FORFEITED",
            "step_paid_fee": "20.00",
        },
        S.CLOSED_UNPAID,
        "20.00",
    ),
]


@pytest.mark.parametrize(("changes", "status", "paid"), STEPS)
def test_a_presale_trade_goes_step_by_step(
    changes: dict[str, Any], status: ChannelStatus, paid: str
) -> None:
    order = one(**{"type": "step", "status": "WAIT_BUYER_PAY", **changes})
    assert (order.status, str(order.paid_amount)) == (status, paid)
    assert order.is_presale
    assert str(order.payable_amount) == "89.00"
    assert order.is_paid == (status is S.WAIT_SHIP)


@pytest.mark.parametrize(
    ("status", "paid"),
    [
        ("WAIT_SELLER_SEND_GOODS", "0.00"),
        ("WAIT_BUYER_CONFIRM_GOODS", "0.00"),
        ("TRADE_CLOSED", "0.00"),
        ("TRADE_BUYER_SIGNED", "89.00"),
        ("TRADE_FINISHED", "89.00"),
    ],
)
def test_cash_on_delivery_is_unpaid_until_signed_whatever_its_pay_time(
    status: str, paid: str
) -> None:
    assert str(one(type="cod", status=status).paid_amount) == paid


@pytest.mark.parametrize(
    ("word", "status", "paid"),
    [
        ("TRADE_NO_CREATE_PAY", S.WAIT_PAY, "0.00"),
        ("PAY_PENDING", S.WAIT_PAY, "0.00"),
        ("WAIT_PRE_AUTH_CONFIRM", S.WAIT_PAY, "0.00"),
        ("PAID_FORBID_CONSIGN", S.ON_HOLD, "89.00"),
        ("SELLER_CONSIGNED_PART", S.PART_SHIPPED, "89.00"),
        ("TRADE_FINISHED", S.FINISHED, "89.00"),
        ("TRADE_CLOSED", S.CLOSED_REFUNDED, "89.00"),
        ("SOMETHING_OF_NEXT_YEAR", S.UNKNOWN, "89.00"),
    ],
)
def test_every_status_word_has_its_place(word: str, status: ChannelStatus, paid: str) -> None:
    order = one(status=word)
    assert (order.status, order.status_raw, str(order.paid_amount)) == (status, word, paid)


@pytest.mark.parametrize("held", [1, "1", True, "true"])
def test_a_trade_the_platform_holds_must_not_go(held: Any) -> None:
    assert one(top_hold=held).status is S.ON_HOLD
    assert one(top_hold=held, status="SELLER_CONSIGNED_PART").status is S.ON_HOLD
    assert one(top_hold=held, status="TRADE_FINISHED").status is S.FINISHED


@pytest.mark.parametrize("free", [0, "0", False, "false", None, ""])
def test_a_trade_nobody_holds_may_go(free: Any) -> None:
    assert one(top_hold=free).status is S.WAIT_SHIP


def test_an_open_refund_on_one_line_of_two_shows_on_the_order() -> None:
    trade = full()
    lines(trade)[1]["refund_status"] = "WAIT_SELLER_AGREE"
    order = read(trade)
    assert [line.refund_state for line in order.lines] == ["none", "in_progress"]
    assert order.refund_state == "in_progress"


def test_a_refunded_line_leaves_the_order_partly_refunded_and_its_money_as_it_was() -> None:
    trade = full()
    lines(trade)[1]["refund_status"] = "SUCCESS"
    order = read(trade)
    assert order.refund_state == "partial"
    assert str(order.paid_amount) == "318.00"


def test_a_closed_trade_with_all_lines_refunded_is_refunded_in_full() -> None:
    trade = full()
    for line in lines(trade):
        line["refund_status"] = "SUCCESS"
    order = read({**trade, "status": "TRADE_CLOSED"})
    assert (order.status, order.refund_state) == (S.CLOSED_REFUNDED, "full")


# --- money ----------------------------------------------------------------------------------


def test_a_single_line_without_a_share_leaves_the_postage_out() -> None:
    trade = {**trades()[0], "payment": "97.50", "post_fee": "8.50"}
    lines(trade)[0]["payment"] = "97.50"
    assert amounts(read(trade)) == ["89.00"]


def test_lines_without_any_share_split_what_the_trade_costs() -> None:
    trade = full()
    for line in lines(trade):
        del line["divide_order_fee"], line["part_mjz_discount"]
    order = read(trade)
    assert sum(line.amount for line in order.lines) == order.payable_amount
    assert amounts(order) == ["232.45", "85.55"]


def test_one_line_without_a_share_gets_what_the_others_leave() -> None:
    trade = full()
    del lines(trade)[1]["divide_order_fee"], lines(trade)[1]["part_mjz_discount"]
    assert amounts(read(trade)) == ["232.48", "85.52"]


def test_a_line_without_payment_counts_from_its_price() -> None:
    trade = full()
    for line in lines(trade):
        for key in ("divide_order_fee", "part_mjz_discount", "payment", "total_fee"):
            del line[key]
    order = read(trade)
    assert sum(line.amount for line in order.lines) == order.payable_amount


@pytest.mark.parametrize("empty", ["", None])
def test_an_empty_figure_is_no_figure(empty: Any) -> None:
    order = one(post_fee=empty, seller_flag=empty)
    assert (str(order.freight), order.seller_flag) == ("0.00", None)


def test_money_may_come_as_a_json_number() -> None:
    trade = trades()[0]
    body = json.dumps(trade).replace('"89.00"', "89.0").replace('"99.00"', "99")
    order = CONNECTORS["taobao"](NOBODY).read(body.encode())
    assert (str(order.payable_amount), str(order.lines[0].unit_price)) == ("89.00", "99.00")


def test_fields_in_fen_are_no_money_of_ours() -> None:
    extra = {"coupon_fee": 1000, "tmall_coupon_fee": 500, "alipay_point": 7, "pcc_af": 9}
    assert one(**extra) == one()


# --- gifts ----------------------------------------------------------------------------------


@pytest.mark.parametrize("flag", [True, "true"])
def test_a_free_gift_among_the_lines_is_a_gift(flag: Any) -> None:
    trade = full()
    gift = {
        **lines(trade)[1],
        "oid": 2600000000000000404,
        "price": "0.00",
        "payment": "0.00",
        "divide_order_fee": "0.00",
        "is_free_gift": flag,
    }
    lines(trade).append(gift)
    order = read(trade)
    assert [line.is_gift for line in order.lines] == [False, False, True]
    assert amounts(order)[2] == "0.00"


def test_a_gift_that_is_a_line_is_not_given_twice() -> None:
    trade = full()
    gift = {
        **lines(trade)[1],
        "oid": 2600000000000000404,
        "num_iid": 690000000499,
        "price": "0.00",
        "divide_order_fee": "0.00",
        "is_free_gift": True,
    }
    lines(trade).append(gift)
    order = read(trade)
    assert order.gifts_outside_lines == ()
    assert order.has_gift


@pytest.mark.parametrize(("number", "quantity"), [("2", 2), (3, 3), ("", 1), (None, 1)])
def test_a_promotions_gift_may_leave_its_number_out(number: Any, quantity: int) -> None:
    trade = full()
    trade["promotion_details"]["promotion_detail"][2]["gift_item_num"] = number
    (gift,) = read(trade).gifts_outside_lines
    assert (gift.platform_item_id, gift.quantity) == ("690000000499", quantity)


def test_a_promotion_that_gives_nothing_away_is_no_gift() -> None:
    blank = {"gift_item_id": "", "gift_item_name": "", "gift_item_num": "0"}
    trade = full()
    trade["promotion_details"]["promotion_detail"] = [
        {**detail, **blank} for detail in trade["promotion_details"]["promotion_detail"]
    ]
    assert not read(trade).has_gift


# --- shapes ---------------------------------------------------------------------------------


def _single(trade: dict[str, Any]) -> None:
    trade["orders"]["order"] = lines(trade)[0]


def _simplified(trade: dict[str, Any]) -> None:
    trade["orders"] = lines(trade)
    trade["promotion_details"] = trade["promotion_details"]["promotion_detail"]


def _simplified_single(trade: dict[str, Any]) -> None:
    trade["orders"] = lines(trade)[0]


def _nested(trade: dict[str, Any]) -> None:
    trade["orders"]["order"] = [lines(trade)]


SHAPES = [_single, _simplified, _simplified_single, _nested]


@pytest.mark.parametrize("reshape", SHAPES, ids=[shape.__name__[1:] for shape in SHAPES])
def test_lists_come_in_many_shapes(reshape: Callable[[dict[str, Any]], None]) -> None:
    plain = trades()[0]
    odd = deepcopy(plain)
    reshape(odd)
    assert read(odd) == read(plain)


@pytest.mark.parametrize("nothing", [{}, [], None, "", {"promotion_detail": {}}])
def test_no_promotions_are_spelt_in_many_ways(nothing: Any) -> None:
    assert one(promotion_details=nothing).gifts_outside_lines == ()


def test_a_county_ruled_by_its_province_has_no_city() -> None:
    receiver = one(receiver_state="河南省", receiver_city="", receiver_district="济源市").receiver
    assert receiver is not None
    assert (receiver.province, receiver.city, receiver.district) == ("河南省", "", "济源市")


def test_a_landline_stands_in_for_the_mobile() -> None:
    receiver = one(receiver_mobile="", receiver_phone="0571-8888****").receiver
    assert receiver is not None
    assert receiver.phone == "0571-8888****"


def test_a_trade_may_come_without_any_receiver() -> None:
    trade = {key: value for key, value in trades()[0].items() if not key.startswith("receiver")}
    del trade["oaid"]
    assert read(trade).receiver is None


@pytest.mark.parametrize(
    "never", [None, "", "1970-01-01 08:00:00", "0001-01-01 00:00:00", "0001-01-01 08:05:43"]
)
def test_never_is_spelt_in_many_ways(never: Any) -> None:
    assert one(status="WAIT_BUYER_PAY", pay_time=never).paid_at is None


def test_a_time_may_carry_milliseconds_and_a_zone() -> None:
    plain = one().modified_at
    assert one(modified="2026-03-01 08:40:11.000+0800").modified_at == plain
    assert one(modified="2026-03-01T00:40:11Z").modified_at == plain


# --- refunds --------------------------------------------------------------------------------


def test_a_refund_keeps_the_version_an_answer_needs() -> None:
    assert [read_refund(row).version for row in refunds()] == ["1772327400000", "1772328000000"]


@pytest.mark.parametrize(
    ("changes", "state", "returns", "intercept"),
    [
        ({"dispute_type": None}, "in_progress", False, True),
        ({"dispute_type": "OTHERS"}, "in_progress", False, True),
        ({"status": "WAIT_BUYER_RETURN_GOODS"}, "in_progress", True, False),
        ({"status": "WAIT_SELLER_CONFIRM_GOODS"}, "in_progress", True, False),
        ({"status": "A_NEW_WORD"}, "in_progress", False, True),
        ({"dispute_type": "TAOBAO_EXCHANGE", "status": "SUCCESS"}, "done", False, False),
        ({"dispute_type": "REPAIR"}, "in_progress", False, False),
        ({"dispute_type": "RESHIPPING", "status": "SUCCESS"}, "done", False, False),
        ({"has_good_return": "true"}, "in_progress", True, False),
        ({"has_good_return": "false"}, "in_progress", False, True),
    ],
)
def test_every_kind_of_dispute(
    changes: dict[str, Any], state: str, returns: bool, intercept: bool
) -> None:
    draft = read_refund({**refunds()[0], **changes})
    assert (draft.refund_state, draft.return_goods, draft.intercept_shipping) == (
        state,
        returns,
        intercept,
    )


def test_an_exchange_may_name_no_money() -> None:
    draft = read_refund({**refunds()[0], "dispute_type": "TMALL_EXCHANGE", "refund_fee": ""})
    assert str(draft.amount) == "0.00"
    with pytest.raises(Unreadable, match="refund_fee"):
        read_refund({**refunds()[0], "refund_fee": ""})


# --- documents ------------------------------------------------------------------------------


def test_an_answer_without_its_root_reads_the_same() -> None:
    page = payload("taobao", "trades_sold_increment_get_page")[LIST]
    simplified = {
        "has_next": True,
        "trades": [{**row, "orders": lines(row)} for row in page["trades"]["trade"]],
        "request_id": "1",
    }
    found = document(simplified)
    assert found.kind == "order_list"
    assert found.orders == document({LIST: page}).orders
    assert found.facts["page"] == {"has_next": True, "total": None}


@pytest.mark.parametrize(
    ("simplified", "kind"),
    [
        ({"trade": full(), "request_id": "1"}, "order"),
        ({"refunds": refunds(), "has_next": False, "request_id": "1"}, "refund_list"),
        ({"refund": refunds()[0], "request_id": "1"}, "refund_list"),
        ({"has_next": False, "request_id": "1"}, "order_list"),
        ({"shipping": {"is_success": True}, "request_id": "1"}, "ack"),
        ({"is_success": "true", "request_id": "1"}, "ack"),
        ({"tid_list": ["1,2"], "request_id": "1"}, "merge"),
    ],
)
def test_each_kind_of_answer_may_lose_its_root(simplified: dict[str, Any], kind: str) -> None:
    assert document(simplified).kind == kind


def test_rows_asked_for_by_number_alone_are_numbers() -> None:
    rows = [{"tid": 2600000000000000101, "created": "2026-03-01 08:12:30"}, {"tid": 2}]
    found = document({"trades_sold_get_response": {"trades": {"trade": rows}, "total_results": 2}})
    assert (found.kind, found.orders) == ("order_list", ())
    assert found.facts["order_nos"] == ["2600000000000000101", "2"]
    assert found.facts["page"] == {"has_next": None, "total": 2}


def test_one_refund_may_be_asked_for() -> None:
    found = document({"refund_get_response": {"refund": refunds()[0]}})
    assert [refund.refund_id for refund in found.refunds] == ["260000000000500101"]


def test_merge_candidates_are_groups_of_numbers() -> None:
    answer = {"tid_list": {"string": ["11,22", "33"]}}
    found = document({"top_oaid_merge_response": answer})
    assert found.facts["groups"] == [("11", "22"), ("33",)]
    assert document({"top_oaid_merge_response": {}}).facts["groups"] == []


def test_a_flag_that_says_no_is_an_error_inside_a_success() -> None:
    for flag in (False, "false"):
        answer = {"logistics_offline_send_response": {"shipping": {"is_success": flag}}}
        error = document(answer).error
        assert error is not None
        assert error.klass is ErrorClass.BUSINESS


ERRORS = [
    ({"code": 7, "sub_code": "accesscontrol.limited-by-app-access-count"}, "rate_limited"),
    ({"code": 7, "sub_code": "accesscontrol.limited-by-app-api-access-count"}, "rate_limited"),
    ({"code": 25, "msg": "Invalid signature"}, "auth"),
    ({"code": 26, "msg": "Missing session"}, "auth"),
    ({"code": "27", "sub_code": "invalid-sessionkey"}, "auth"),
    ({"code": 40, "msg": "Missing required arguments:fields"}, "business"),
    ({"code": 41, "sub_code": "isv.invalid-parameter"}, "business"),
    ({"code": 15, "sub_code": "isp.top-remote-connection-timeout-tmall"}, "platform"),
    ({"code": 15, "sub_code": "ism.json-decode-error"}, "platform"),
    ({"code": 15, "sub_code": "isv.trade-not-exist"}, "business"),
    ({"code": 15}, "platform"),
    ({"code": 530}, "platform"),
]


@pytest.mark.parametrize(("error", "klass"), ERRORS)
def test_a_refusal_is_classed_by_its_codes(error: dict[str, Any], klass: str) -> None:
    told = document({"error_response": {"msg": "x", "request_id": "1", **error}}).error
    assert told is not None
    assert (told.klass, told.code) == (klass, str(error["code"]))
    flat = document({"msg": "x", "request_id": "1", **error}).error
    assert flat == told


def test_the_day_quota_says_how_long_it_lasts() -> None:
    words = "This ban will last for 51234 more seconds"
    error = {"code": 7, "msg": "App Call Limited", "sub_msg": words}
    told = document({"error_response": error}).error
    assert told is not None
    assert told.retry_after_seconds == 51234


def test_the_token_server_refuses_in_its_own_words() -> None:
    told = document({"error": "invalid_grant", "error_description": "code expired"}).error
    assert told is not None
    assert (told.klass, told.code, told.message) == (
        ErrorClass.AUTH,
        "invalid_grant",
        "code expired",
    )


# --- messages -------------------------------------------------------------------------------


def messages() -> list[dict[str, Any]]:
    page = payload("taobao", "tmc_messages_consume")["tmc_messages_consume_response"]
    rows: list[dict[str, Any]] = page["messages"]["tmc_message"]
    return rows


def test_one_message_by_itself_is_an_event() -> None:
    found = document(messages()[0])
    assert found.kind == "event"
    (event,) = found.events
    assert (event.event_id, event.channel_number) == ("7600000000000000101", "2600000000000000101")
    assert event.occurred_at is not None
    assert event.occurred_at.isoformat() == "2026-03-01T08:13:06+08:00"


@pytest.mark.parametrize("content", ["", None, "{}", {}])
def test_a_message_may_be_about_no_trade(content: Any) -> None:
    (event,) = document({**messages()[0], "content": content}).events
    assert event.channel_number is None


@pytest.mark.parametrize("content", ['{"tid":1', '"{\\"tid\\":1}"', "[1]", "x"])
def test_a_message_with_broken_content_is_unreadable(content: str) -> None:
    with pytest.raises(Unreadable):
        document({**messages()[0], "content": content})


# --- the field table ------------------------------------------------------------------------


def test_an_edited_table_is_what_is_read_by() -> None:
    edited = FieldMap.packaged("taobao").changed(
        {"order": {"seller_memo": {"from": ["trade_memo"]}}}
    )
    body = json.dumps({**trades()[0], "trade_memo": "新字段"}).encode()
    assert TaobaoConnector(NOBODY, field_map=edited).read(body).seller_memo == "新字段"
    assert TaobaoConnector(NOBODY).read(body).seller_memo is None
