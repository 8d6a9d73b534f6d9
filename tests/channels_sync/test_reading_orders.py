"""The odd but legal: states that must not ship, deposits, discounts, shapes and blanks."""

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from channels_sync.connectors import CONNECTORS
from channels_sync.contracts import Unreadable
from channels_sync.management.commands.read_payload import NOBODY
from ordercenter.orders.contracts import ChannelStatus, OrderDraft, RefundDraft
from tests.channels_sync.platforms import PLATFORMS, Jd, Pinduoduo, Taobao, payload

S = ChannelStatus


def read(channel: str, order: dict[str, Any]) -> OrderDraft:
    return CONNECTORS[channel](NOBODY).read(json.dumps(order).encode())


def read_refund(channel: str, refund: dict[str, Any]) -> RefundDraft:
    return CONNECTORS[channel](NOBODY).read_refund(json.dumps(refund).encode())


def trade(**changes: Any) -> OrderDraft:
    return read("taobao", {**Taobao().order(1), **changes})


def trade_with_line(**changes: Any) -> OrderDraft:
    order = Taobao().order(1)
    order["orders"]["order"][0].update(changes)
    return read("taobao", order)


def jd_order(**changes: Any) -> OrderDraft:
    return read("jd", {**Jd().order(1), **changes})


def pdd_order(**changes: Any) -> OrderDraft:
    return read("pinduoduo", {**Pinduoduo().order(1), **changes})


# --- states ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "status", "paid"),
    [
        ({"status": "WAIT_BUYER_PAY", "pay_time": None}, S.WAIT_PAY, "0.00"),
        ({"status": "PAID_FORBID_CONSIGN"}, S.ON_HOLD, "89.00"),
        ({"status": "WAIT_SELLER_SEND_GOODS", "top_hold": 1}, S.ON_HOLD, "89.00"),
        ({"status": "SELLER_CONSIGNED_PART"}, S.PART_SHIPPED, "89.00"),
        ({"status": "TRADE_CLOSED"}, S.CLOSED_REFUNDED, "89.00"),
        ({"status": "TRADE_CLOSED_BY_TAOBAO"}, S.CLOSED_UNPAID, "0.00"),
        ({"status": "A_NEW_WORD"}, S.UNKNOWN, "89.00"),
        ({"status": "A_NEW_WORD", "pay_time": None}, S.UNKNOWN, "0.00"),
        ({"type": "cod", "pay_time": None}, S.WAIT_SHIP, "0.00"),
        ({"type": "cod", "pay_time": None, "status": "TRADE_BUYER_SIGNED"}, S.SHIPPED, "89.00"),
    ],
)
def test_a_taobao_status_tells_whether_goods_may_go(
    changes: dict[str, Any], status: ChannelStatus, paid: str
) -> None:
    order = trade(**changes)
    assert (order.status, str(order.paid_amount)) == (status, paid)
    assert str(order.payable_amount) == "89.00"


def test_a_taobao_deposit_is_money_in_but_goods_stay() -> None:
    order = trade(
        type="step",
        status="WAIT_BUYER_PAY",
        step_trade_status="FRONT_PAID_FINAL_NOPAID",
        step_paid_fee="20.00",
    )
    assert order.status is S.DEPOSIT_PAID
    assert order.is_presale
    assert not order.is_paid
    assert (str(order.paid_amount), str(order.payable_amount)) == ("20.00", "89.00")


@pytest.mark.parametrize(
    ("state", "status"),
    [
        ("LOCKED", S.ON_HOLD),
        ("PAUSE", S.ON_HOLD),
        ("POP_ORDER_PAUSE", S.ON_HOLD),
        ("TRADE_CANCELED", S.CLOSED),
        ("FINISHED_L", S.FINISHED),
        ("SOMETHING_NEW", S.UNKNOWN),
    ],
)
def test_a_locked_jd_order_must_not_go(state: str, status: ChannelStatus) -> None:
    assert jd_order(orderState=state).status is status


def test_jd_cash_on_delivery_is_unpaid_until_collected() -> None:
    assert jd_order(payType="1-货到付款").paid_amount == 0
    collected = jd_order(payType="1-货到付款", orderState="FINISHED_L")
    assert str(collected.paid_amount) == "174.00"


def test_jd_balance_counts_as_paid() -> None:
    order = jd_order(orderPayment="100.00", balanceUsed="74.00")
    assert str(order.payable_amount) == "174.00"
    assert str(jd_order(orderPayment="1.00", actualPay="174.00").payable_amount) == "174.00"


STEP = {"advanced_paid_fee": 5, "step_paid_fee": 5, "step_discount_amount": 0}


@pytest.mark.parametrize(
    ("changes", "status", "paid"),
    [
        ({"risk_control_status": 1}, S.ON_HOLD, "34.90"),
        ({"group_status": 0}, S.ON_HOLD, "34.90"),
        ({"confirm_status": 0}, S.ON_HOLD, "34.90"),
        ({"confirm_status": 0, "pay_time": None}, S.WAIT_PAY, "0.00"),
        ({"confirm_status": 2, "pay_time": None}, S.CLOSED_UNPAID, "0.00"),
        ({"confirm_status": 2}, S.CLOSED, "34.90"),
        ({"group_status": 2, "refund_status": 4}, S.CLOSED_REFUNDED, "34.90"),
        ({"refund_status": 4}, S.CLOSED_REFUNDED, "34.90"),
        ({"refund_status": 4, "order_status": 2}, S.SHIPPED, "34.90"),
        ({"order_status": 3}, S.FINISHED, "34.90"),
        ({"order_status": 9}, S.UNKNOWN, "34.90"),
        ({"step_order_info": {**STEP, "step_trade_status": 0}}, S.WAIT_PAY, "0.00"),
        ({"step_order_info": {**STEP, "step_trade_status": 1}}, S.DEPOSIT_PAID, "5.00"),
        ({"step_order_info": {**STEP, "step_trade_status": 2}}, S.WAIT_SHIP, "34.90"),
    ],
)
def test_a_pinduoduo_order_goes_only_when_every_axis_allows(
    changes: dict[str, Any], status: ChannelStatus, paid: str
) -> None:
    order = pdd_order(**changes)
    assert (order.status, str(order.paid_amount)) == (status, paid)


# --- refunds --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("WAIT_SELLER_AGREE", "in_progress"),
        ("SELLER_REFUSE_BUYER", "closed"),
        ("A_NEW_WORD", "in_progress"),
        ("SUCCESS", "refunded"),
        ("CLOSED", "closed"),
        ("NO_REFUND", "none"),
        (None, "none"),
    ],
)
def test_an_open_taobao_refund_shows_on_its_line(state: str | None, expected: str) -> None:
    order = trade_with_line(refund_status=state)
    assert order.lines[0].refund_state == expected
    assert order.refund_state == {"refunded": "full", "closed": "none"}.get(expected, expected)


@pytest.mark.parametrize(
    ("changes", "state", "returns", "intercept"),
    [
        ({}, "in_progress", False, True),
        ({"status": "SUCCESS"}, "refunded", False, True),
        ({"status": "CLOSED"}, "closed", False, False),
        ({"status": "SELLER_REFUSE_BUYER"}, "closed", False, False),
        ({"has_good_return": True}, "in_progress", True, False),
        ({"dispute_type": "REFUND_AND_RETURN"}, "in_progress", True, False),
        ({"dispute_type": "TMALL_EXCHANGE"}, "in_progress", False, False),
        ({"dispute_type": "TMALL_EXCHANGE", "status": "SUCCESS"}, "done", False, False),
        ({"dispute_type": "RESHIPPING"}, "in_progress", False, False),
    ],
)
def test_only_money_asked_for_without_goods_stops_a_taobao_parcel(
    changes: dict[str, Any], state: str, returns: bool, intercept: bool
) -> None:
    draft = read_refund("taobao", {**Taobao().refund(1), **changes})
    assert (draft.refund_state, draft.return_goods, draft.intercept_shipping) == (
        state,
        returns,
        intercept,
    )


@pytest.mark.parametrize(
    ("status", "state", "intercept"),
    [
        (0, "in_progress", True),
        ("1", "in_progress", True),
        (2, "closed", False),
        (3, "refunded", True),
        (4, "closed", False),
    ],
)
def test_a_jd_application_counts_fen(status: Any, state: str, intercept: bool) -> None:
    draft = read_refund("jd", {**Jd().refund(1), "status": status})
    assert (draft.refund_state, draft.intercept_shipping) == (state, intercept)
    assert str(draft.amount) == "174.00"


@pytest.mark.parametrize(
    ("status", "kind", "state", "intercept"),
    [
        (2, 2, "in_progress", True),
        (10, 2, "refunded", True),
        (6, 2, "closed", False),
        (12, 2, "closed", False),
        (3, 3, "in_progress", False),
        (16, 4, "done", False),
        (32, 5, "in_progress", False),
        (99, 2, "in_progress", True),
    ],
)
def test_a_pinduoduo_refund_is_read_by_status_and_type(
    status: int, kind: int, state: str, intercept: bool
) -> None:
    changes = {"after_sales_status": status, "after_sales_type": str(kind)}
    draft = read_refund("pinduoduo", {**Pinduoduo().refund(1), **changes})
    assert (draft.refund_state, draft.intercept_shipping) == (state, intercept)


# --- money ----------------------------------------------------------------------------------


def test_a_single_taobao_line_does_not_swallow_the_freight() -> None:
    order = Taobao().order(1)
    order |= {"payment": "97.00", "post_fee": "8.00"}
    order["orders"]["order"][0]["payment"] = "97.00"
    draft = read("taobao", order)
    assert str(draft.lines[0].amount) == "89.00"
    assert str(draft.freight) == "8.00"


def test_taobao_lines_without_a_share_take_their_discount_off() -> None:
    page = payload("taobao", "trade_fullinfo_get_discount_gift_oaid")
    order = page["trade_fullinfo_get_response"]["trade"]
    for line in order["orders"]["order"]:
        del line["divide_order_fee"]
    draft = read("taobao", order)
    assert [str(line.amount) for line in draft.lines] == ["232.48", "85.52"]


def test_jd_takes_a_single_item_discount_off_its_own_line_and_shares_the_rest() -> None:
    detail = payload("jd", "pop_order_get_discount_gift_oaid")
    order = detail["jingdong_pop_order_get_responce"]["orderDetailInfo"]["orderInfo"]
    blender, cloth, gift = read("jd", order).lines
    # 499 - 30 = 469 and 28 share 73: 68.887... and 4.112...
    assert (blender.amount, cloth.amount, gift.amount) == (
        Decimal("400.11"),
        Decimal("23.89"),
        Decimal("0.00"),
    )
    assert [line.is_gift for line in (blender, cloth, gift)] == [False, False, True]


def test_jd_coupons_may_come_as_a_nested_list() -> None:
    order = Jd().order(1)
    order["couponDetailList"] = [order["couponDetailList"]]
    assert read("jd", order) == read("jd", Jd().order(1))


@pytest.mark.parametrize(
    "draft",
    [
        lambda: trade_with_line(divide_order_fee="88.99"),
        lambda: trade_with_line(divide_order_fee="8900.00"),
        lambda: jd_order(orderPayment="1.74"),
        lambda: jd_order(couponDetailList=[{"couponType": "100", "couponPrice": "9999.00"}]),
        lambda: pdd_order(pay_amount=1, postage=2),
    ],
)
def test_figures_that_do_not_fit_are_left_to_be_seen(draft: Callable[[], OrderDraft]) -> None:
    """They are read, not quarantined, and never bent until they add up."""
    order = draft()
    assert sum((line.amount for line in order.lines), order.freight) != order.payable_amount
    assert all(line.amount >= 0 for line in order.lines)


def test_two_pinduoduo_lines_share_what_was_paid() -> None:
    order = Pinduoduo().order(1)
    item = order["item_list"][0]
    order["item_list"] = [item, {**item, "goods_price": "10.10", "goods_count": "3"}]
    draft = read("pinduoduo", order)
    assert sum(line.amount for line in draft.lines) == Decimal("34.90")
    assert len({line.channel_line_id for line in draft.lines}) == 2


@pytest.mark.parametrize(
    ("order", "field", "value"),
    [
        (trade, "payment", "89.001"),
        (trade, "payment", "-1.00"),
        (trade, "payment", None),
        (trade, "created", None),
        (trade, "created", "2026-02-30 00:00:00"),
        (trade, "modified", ""),
        (trade, "status", None),
        (trade, "orders", {}),
        (trade, "orders", "none"),
        (jd_order, "orderPayment", "1,74"),
        (jd_order, "orderId", None),
        (jd_order, "orderState", {}),
        (jd_order, "itemInfoList", None),
        (jd_order, "orderStartTime", None),
        (pdd_order, "pay_amount", "x"),
        (pdd_order, "order_status", True),
        (pdd_order, "item_list", []),
        (pdd_order, "updated_at", None),
        (pdd_order, "step_order_info", {"step_trade_status": "soon"}),
    ],
)
def test_an_order_without_what_it_needs_is_unreadable(
    order: Callable[..., OrderDraft], field: str, value: Any
) -> None:
    with pytest.raises(Unreadable):
        order(**{field: value})


@pytest.mark.parametrize("quantity", [0, -1, "1.5", "1_000", "\uff11", True, 10**9, None])
@pytest.mark.parametrize(
    ("platform", "path", "field"),
    [
        (Taobao, ("orders", "order"), "num"),
        (Jd, ("itemInfoList",), "itemTotal"),
        (Pinduoduo, ("item_list",), "goods_count"),
    ],
    ids=["taobao", "jd", "pinduoduo"],
)
def test_a_line_without_a_sound_quantity_is_unreadable(
    platform: type[Any], path: tuple[str, ...], field: str, quantity: Any
) -> None:
    order = platform().order(1)
    rows = order
    for key in path:
        rows = rows[key]
    rows[0][field] = quantity
    with pytest.raises(Unreadable, match=field):
        read(platform.channel, order)


# --- shapes ---------------------------------------------------------------------------------


def _texts(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _texts(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_texts(item) for item in value]
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if value is None or isinstance(value, str) else str(value)


@pytest.mark.parametrize("platform", PLATFORMS, ids=[p.channel for p in PLATFORMS])
def test_numbers_and_flags_may_come_as_text(platform: type[Any]) -> None:
    order = platform().order(1)
    assert read(platform.channel, _texts(order)) == read(platform.channel, order)
    refund = platform().refund(1)
    assert read_refund(platform.channel, _texts(refund)) == read_refund(platform.channel, refund)


@pytest.mark.parametrize("platform", PLATFORMS, ids=[p.channel for p in PLATFORMS])
def test_unknown_fields_are_passed_over(platform: type[Any]) -> None:
    order = platform().order(1)
    extended = {**order, "a_field_of_next_year": {"deep": [1, None]}}
    assert read(platform.channel, extended) == read(platform.channel, order)


def test_taobao_lists_may_lose_their_wrapper_or_hold_a_single_object() -> None:
    order = Taobao().order(1)
    plain = read("taobao", order)
    line = order["orders"]["order"][0]
    assert read("taobao", {**order, "orders": {"order": line}}) == plain
    assert read("taobao", {**order, "orders": [line]}) == plain
    empties: tuple[Any, ...] = ({}, None, [], {"promotion_detail": []})
    for empty in empties:
        assert read("taobao", {**order, "promotion_details": empty}) == plain


@pytest.mark.parametrize("empty", [{}, {"trades": {}}, {"trades": {"trade": []}}, {"trades": None}])
def test_an_empty_taobao_list_is_no_order(empty: dict[str, Any]) -> None:
    body = json.dumps({"trades_sold_increment_get_response": {"has_next": False, **empty}})
    document = CONNECTORS["taobao"](NOBODY).read_document(body.encode())
    assert (document.kind, document.orders) == ("order_list", ())


def test_an_object_where_a_text_is_due_is_as_missing() -> None:
    order = trade(buyer_message={"x": 1}, seller_memo=[], receiver_name={"a": 1})
    assert (order.buyer_remark, order.seller_memo) == (None, None)
    assert order.receiver is not None
    assert order.receiver.name == ""


def test_a_hostile_remark_is_kept_as_typed() -> None:
    remark = "<script>alert(1)</script> ' OR 1=1 -- %s {0} {{7*7}}"
    assert trade(buyer_message=remark).buyer_remark == remark


# --- people ---------------------------------------------------------------------------------


def test_evidence_is_what_the_platform_states() -> None:
    assert trade().evidence.buyer_id == "AAHsandboxopenuid0000000101"
    assert jd_order().evidence.buyer_id == "sandboxOpenIdBuyer0101"
    assert pdd_order().evidence.buyer_id == ""


def test_masked_and_ciphered_receivers_are_marked() -> None:
    for order in (trade(), jd_order(), pdd_order()):
        assert order.receiver is not None
        assert order.receiver.is_masked
        assert order.receiver.oaid
    ciphered = {**Jd().order(1)["consigneeInfo"], "fullname": "AAS/xyz", "mobile": "", "town": ""}
    ciphered["fullAddress"] = ""
    receiver = jd_order(consigneeInfo=ciphered).receiver
    assert receiver is not None
    assert receiver.is_masked
    bare = pdd_order(receiver_name_mask="", receiver_phone_mask="", receiver_address_mask="")
    assert bare.receiver is not None
    assert bare.receiver.is_masked


def test_a_clear_receiver_is_not_marked() -> None:
    order = trade(
        receiver_name="林虚构", receiver_mobile="19900000101", receiver_address="示例路8号"
    )
    assert order.receiver is not None
    assert not order.receiver.is_masked


def test_an_emptied_pinduoduo_receiver_gives_nothing_to_overwrite_with() -> None:
    order = pdd_order(receiver_name="", receiver_phone="", receiver_address="")
    assert order.receiver is not None
    assert (order.receiver.name, order.receiver.phone, order.receiver.address) == ("", "", "")
    assert order.receiver.province == "江西省"
