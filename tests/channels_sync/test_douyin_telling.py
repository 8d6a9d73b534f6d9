"""What Douyin is told has one effect, never turns a refund down, and overwrites nothing."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import httpx
import pytest

from channels_sync.connectors.strict_json import dump_compact
from channels_sync.contracts import (
    VIRTUAL_CARRIER,
    AddressAnswer,
    DecryptRequest,
    ErrorClass,
    Memo,
    Rejected,
    ShipLine,
    ShipNotice,
    StockFigure,
    StopAnswer,
    StopOutcome,
    TryLater,
    Unsupported,
)
from tests.channels_sync.douyin_gateway import NOW, OK, Gateway, detail
from tests.channels_sync.platforms import payload

NUMBER = "6900000000000000101"
DONE = {**OK, "data": {}}
IDEMPOTENT = {"code": 40003, "sub_code": "isv.idempotent-id-existed", "msg": "x"}
REFUSED = {"code": 50002, "sub_code": "isv.business-failed", "sub_msg": "订单已发货"}
LOST: dict[str, Any] = {
    "a time-out told": {"code": 20001, "msg": "timeout"},
    "silence": httpx.ReadTimeout("slow"),
    "a bad gateway": httpx.Response(502),
    "half an answer": httpx.Response(200, text="{"),
}


def answering(**answers: Any) -> Gateway:
    """A gateway with an answer for each interface, named by the last part of its path."""
    paths = {
        "logisticsAdd": "/order/logisticsAdd",
        "logisticsAddSinglePack": "/order/logisticsAddSinglePack",
        "logisticsAddMultiPack": "/order/logisticsAddMultiPack",
        "orderDetail": "/order/orderDetail",
        "syncStock": "/sku/syncStock",
        "addOrderRemark": "/order/addOrderRemark",
        "addressConfirm": "/order/addressConfirm",
        "batchDecrypt": "/order/batchDecrypt",
        "cancelSend": "/afterSale/CancelSendGoodsSuccess",
        "operate": "/afterSale/operate",
        "intercept": "/afterSale/applyLogisticsIntercept",
    }
    gateway = Gateway()
    gateway.answers = {paths[name]: answer for name, answer in answers.items()}
    return gateway


# --- parcels --------------------------------------------------------------------------------


def notice(*lines: ShipLine, **changes: Any) -> ShipNotice:
    return replace(ShipNotice("ship-1", NUMBER, "sf", "SF100", NOW, lines), **changes)


def shipped(number: str, *sub_orders: str) -> dict[str, Any]:
    inside = [{"sku_order_id": one, "product_count": 1} for one in sub_orders]
    return detail(logistics_info=[{"tracking_no": number, "product_info": inside}])


def test_a_whole_order_is_shipped_without_turning_down_a_refund() -> None:
    gateway = answering(logisticsAdd=payload("douyin", "order_logisticsAdd_ok"))
    gateway.connector().ship(notice())
    assert gateway.params() == {
        "order_id": NUMBER,
        "company_code": "shunfeng",
        "logistics_code": "SF100",
        "is_reject_refund": False,
    }


def test_a_part_is_shipped_under_the_key_of_its_notice() -> None:
    gateway = answering(logisticsAddSinglePack=payload("douyin", "order_logisticsAddSinglePack_ok"))
    gateway.connector().ship(notice(ShipLine("6900000000000000102", 2)))
    assert gateway.params() == {
        "order_id_list": [NUMBER],
        "shipped_order_info": [{"shipped_order_id": "6900000000000000102", "shipped_num": 2}],
        "company_code": "shunfeng",
        "logistics_code": "SF100",
        "request_id": "ship-1",
    }


def test_a_line_over_two_parcels_is_told_piece_by_piece() -> None:
    gateway = answering(
        logisticsAddSinglePack=payload("douyin", "order_logisticsAddSinglePack_ok"),
        logisticsAddMultiPack={**OK, "data": {"pack_list": []}},
    )
    connector = gateway.connector()
    connector.ship(notice(ShipLine("6900000000000000102", 1)))
    further = notice(ShipLine("6900000000000000102", 1), key="ship-2", tracking_number="SF200")
    connector.ship(replace(further, others=("SF100",)))
    assert gateway.paths() == ["/order/logisticsAddSinglePack", "/order/logisticsAddMultiPack"]
    assert gateway.params() == {
        "order_id": NUMBER,
        "pack_list": [
            {
                "company_code": "shunfeng",
                "logistics_code": "SF200",
                "shipped_order_info": [
                    {"shipped_order_id": "6900000000000000102", "shipped_num": 1}
                ],
            }
        ],
        "request_id": "ship-2",
    }


@pytest.mark.parametrize(
    "sent", [notice(), notice(ShipLine("1", 1)), notice(ShipLine("1", 1), others=("SF1",))]
)
def test_no_parcel_ever_turns_down_a_refund(sent: ShipNotice) -> None:
    gateway = answering(logisticsAdd=DONE, logisticsAddSinglePack=DONE, logisticsAddMultiPack=DONE)
    gateway.connector().ship(sent)
    assert not gateway.params().get("is_reject_refund")
    assert not gateway.params().get("is_refund_reject")


def test_goods_without_a_parcel_go_under_the_company_the_shop_has_named() -> None:
    sent = notice(carrier=VIRTUAL_CARRIER, tracking_number="")
    gateway = answering(logisticsAdd=DONE)
    with pytest.raises(Rejected, match="unknown_carrier"):
        gateway.connector().ship(sent)
    gateway.connector(**{"carrier.virtual": "wuliu-free"}).ship(sent)
    assert gateway.params()["company_code"] == "wuliu-free"
    assert gateway.params()["logistics_code"] == NUMBER


@pytest.mark.parametrize("refusal", [IDEMPOTENT, REFUSED])
def test_the_same_notice_twice_is_a_success(refusal: dict[str, Any]) -> None:
    answering(logisticsAdd=refusal, orderDetail=shipped("SF100")).connector().ship(notice())


@pytest.mark.parametrize("number", ["SF999", "SF1001", ""])
def test_another_parcel_on_a_shipped_order_is_refused(number: str) -> None:
    gateway = answering(logisticsAdd=REFUSED, orderDetail=shipped(number))
    with pytest.raises(Rejected, match="订单已发货"):
        gateway.connector().ship(notice())


def test_a_parcel_told_with_other_lines_is_another() -> None:
    gateway = answering(logisticsAddSinglePack=REFUSED, orderDetail=shipped("SF100", "1"))
    gateway.connector().ship(notice(ShipLine("1", 1)))
    with pytest.raises(Rejected):
        gateway.connector().ship(notice(ShipLine("2", 1)))


@pytest.mark.parametrize("answer", LOST.values(), ids=LOST.keys())
def test_a_lost_answer_leaves_the_outcome_unknown(answer: Any) -> None:
    with pytest.raises(TryLater) as failure:
        answering(logisticsAdd=answer).connector().ship(notice())
    assert failure.value.outcome_unknown


def test_a_call_that_never_left_is_known_not_to_have_worked() -> None:
    with pytest.raises(TryLater) as failure:
        answering(logisticsAdd=httpx.ConnectError("refused")).connector().ship(notice())
    assert not failure.value.outcome_unknown


def test_a_carrier_nobody_named_is_refused_before_any_call() -> None:
    gateway = Gateway()
    with pytest.raises(Rejected, match="unknown_carrier"):
        gateway.connector().ship(notice(carrier="pigeon"))
    assert not gateway.requests


def test_after_a_lost_answer_the_order_tells_whether_the_parcel_was_told() -> None:
    assert answering(orderDetail=shipped("SF100")).connector().knows(notice()) is True
    assert answering(orderDetail=detail()).connector().knows(notice()) is False


# --- stock ----------------------------------------------------------------------------------


def figure(**changes: Any) -> StockFigure:
    plain = StockFigure(
        key="stock-1",
        platform_sku_id="1700000000000101",
        platform_item_id="3500000000000000101",
        outer_code="LIP-03",
        quantity=12,
        believed=20,
    )
    return replace(plain, **changes)


@pytest.mark.parametrize(
    ("believed", "incremental", "number"), [(20, True, -8), (5, True, 7), (None, False, 12)]
)
def test_stock_is_told_as_a_difference_where_the_figure_before_is_known(
    believed: int | None, incremental: bool, number: int
) -> None:
    gateway = answering(syncStock=payload("douyin", "sku_syncStock_ok"))
    gateway.connector().publish_stock(figure(believed=believed))
    assert gateway.params() == {
        "product_id": 3500000000000000101,
        "sku_id": 1700000000000101,
        "incremental": incremental,
        "stock_num": number,
        "idempotent_id": "stock-1",
    }


def test_no_difference_is_not_told() -> None:
    gateway = Gateway()
    gateway.connector().publish_stock(figure(believed=12))
    assert not gateway.requests


def test_a_difference_told_twice_counts_once() -> None:
    answering(syncStock=IDEMPOTENT).connector().publish_stock(figure())


def test_a_listing_without_ids_goes_by_its_code() -> None:
    gateway = answering(syncStock=DONE)
    gateway.connector().publish_stock(figure(platform_sku_id="", platform_item_id=""))
    assert gateway.params()["code"] == "LIP-03"
    with pytest.raises(Rejected, match="no_listing"):
        gateway.connector().publish_stock(figure(platform_sku_id="", outer_code=""))


def test_goods_on_promotion_are_told_by_the_codes_the_shop_has_listed() -> None:
    refusal = {"code": 50002, "sub_code": "isv.stock-in-campaign", "sub_msg": "活动中"}
    with pytest.raises(Rejected) as plain:
        answering(syncStock=refusal).connector().publish_stock(figure())
    assert plain.value.error.code == "50002"
    gateway = answering(syncStock=refusal)
    with pytest.raises(Rejected) as locked:
        gateway.connector(stock_locked="77,isv.stock-in-campaign").publish_stock(figure())
    assert (locked.value.error.code, locked.value.error.message) == ("stock_locked", "活动中")


# --- refunds --------------------------------------------------------------------------------


def stop(outcome: StopOutcome, **changes: Any) -> StopAnswer:
    plain = StopAnswer(
        key="stop-1",
        channel_number=NUMBER,
        refund_id="700000000000000101",
        outcome=outcome,
        words="已拦截",
        amount=Decimal("119.00"),
        version="1772324400",
        tracking_number="SF100",
        carrier="sf",
    )
    return replace(plain, **changes)


def test_a_stopped_parcel_is_told_as_stopped_and_agrees_to_nothing() -> None:
    gateway = answering(cancelSend=DONE)
    gateway.connector().answer_stop(stop(StopOutcome.STOPPED))
    assert gateway.paths() == ["/afterSale/CancelSendGoodsSuccess"]
    assert gateway.params() == {
        "aftersale_id": "700000000000000101",
        "op_time": int(NOW.timestamp()),
    }


def test_a_shop_that_names_the_type_agrees_to_the_version_it_has_seen() -> None:
    gateway = answering(cancelSend=DONE, operate=DONE)
    gateway.connector(agree_refund_type="201").answer_stop(stop(StopOutcome.STOPPED))
    assert gateway.params() == {
        "type": 201,
        "items": [{"aftersale_id": "700000000000000101", "update_time": 1772324400}],
    }


def test_a_parcel_that_has_gone_is_to_be_intercepted() -> None:
    gateway = answering(intercept={**OK, "data": {"intercept_results": [{"is_success": True}]}})
    gateway.connector().answer_stop(stop(StopOutcome.SHIPPED))
    assert gateway.params() == {
        "after_sale_id": 700000000000000101,
        "op_from": 1,
        "intercept_targets": [{"company_code": "shunfeng", "tracking_no": "SF100"}],
    }


def test_an_interception_that_is_refused_says_why() -> None:
    results = [{"is_success": False, "unavailable_reason": "包裹已签收"}]
    gateway = answering(intercept={**OK, "data": {"intercept_results": results}})
    with pytest.raises(Rejected, match="包裹已签收"):
        gateway.connector().answer_stop(stop(StopOutcome.SHIPPED))


@pytest.mark.parametrize(
    "answer",
    [
        stop(StopOutcome.NOT_SYNCED),
        stop(StopOutcome.LABEL_PRINTED),
        stop(StopOutcome.SHIPPED, tracking_number=""),
    ],
)
def test_what_douyin_has_no_way_to_hear_is_not_sent(answer: StopAnswer) -> None:
    gateway = Gateway()
    with pytest.raises(Unsupported):
        gateway.connector().answer_stop(answer)
    assert not gateway.requests


# --- notes and addresses --------------------------------------------------------------------


def noted(note: str, star: int) -> dict[str, Any]:
    return detail(seller_words=note, seller_remark_stars=star)


@pytest.mark.parametrize(
    ("note", "star", "memo", "remark", "flag"),
    [
        ("", 0, Memo("m", NUMBER, "加急"), "加急", "0"),
        ("老客户", 5, Memo("m", NUMBER, "加急"), "老客户\n加急", "5"),
        ("老客户", 5, Memo("m", NUMBER, "加急", 3), "老客户\n加急", "3"),
        ("加急", 0, Memo("m", NUMBER, "加急", 4), "加急", "4"),
    ],
)
def test_a_note_is_added_to_what_stands_there(
    note: str, star: int, memo: Memo, remark: str, flag: str
) -> None:
    gateway = answering(orderDetail=noted(note, star), addOrderRemark=DONE)
    gateway.connector().write_memo(memo)
    assert gateway.params() == {
        "order_id": NUMBER,
        "remark": remark,
        "is_add_star": "true",
        "star": flag,
    }


def test_a_note_that_stands_there_is_not_written_again() -> None:
    gateway = answering(orderDetail=noted("老客户\n加急", 3))
    gateway.connector().write_memo(Memo("m", NUMBER, "加急", 3))
    assert gateway.paths() == ["/order/orderDetail"]


def test_a_note_that_would_grow_too_long_is_refused_and_not_cut() -> None:
    gateway = answering(orderDetail=noted("很" * 58, 0))
    with pytest.raises(Rejected, match="memo_too_long"):
        gateway.connector().write_memo(Memo("m", NUMBER, "加急"))
    assert gateway.paths() == ["/order/orderDetail"]


def test_the_order_tells_whether_a_note_was_written() -> None:
    connector = answering(orderDetail=noted("老客户\n加急", 3)).connector()
    assert connector.knows(Memo("m", NUMBER, "加急")) is True
    assert connector.knows(Memo("m", NUMBER, "加急", 3)) is True
    assert connector.knows(Memo("m", NUMBER, "加急", 5)) is False
    assert connector.knows(Memo("m", NUMBER, "易碎")) is False


@pytest.mark.parametrize(
    ("approve", "options", "told"),
    [(True, {}, 0), (False, {}, 1003), (False, {"address_refusal": "1005"}, 1005)],
)
def test_a_wish_for_another_address_is_approved_or_refused_for_a_reason(
    approve: bool, options: dict[str, str], told: int
) -> None:
    gateway = answering(addressConfirm=DONE)
    gateway.connector(**options).answer_address(AddressAnswer("a", NUMBER, approve))
    assert gateway.params() == {"order_id": NUMBER, "is_approved": told}


@pytest.mark.parametrize(
    "told", [figure(), stop(StopOutcome.STOPPED), AddressAnswer("a", NUMBER, True)]
)
def test_what_the_order_does_not_show_may_be_said_again(told: Any) -> None:
    connector = Gateway().connector()
    assert connector.knows(told) is None
    assert type(told) in connector.repeatable


# --- privacy --------------------------------------------------------------------------------


def request(number: str = NUMBER, **changes: Any) -> DecryptRequest:
    row = detail(**changes)["data"]["shop_order_detail"]
    return DecryptRequest(number, row["open_address_id"], "label", dump_compact(row))


def opened(*entries: dict[str, Any]) -> dict[str, Any]:
    return {**OK, "data": {"decrypt_infos": list(entries), "custom_err": {"err_code": 0}}}


NAME = {"auth_id": NUMBER, "cipher_text": "##sandboxRecvIdx101##sandboxRecvCipher101==#1##"}
PHONE = {"auth_id": NUMBER, "cipher_text": "$$sandboxTelIdx101$sandboxTelCipher101==$1$$"}
PLACE = {"auth_id": NUMBER, "cipher_text": "##sandboxAddrIdx101##sandboxAddrCipher101==#1##"}
ALL_OPEN = (
    {**NAME, "decrypt_text": "林虚构", "err_no": 0},
    {
        **PHONE,
        "decrypt_text": "19900000101-1234",
        "err_no": 0,
        "is_virtual_tel": True,
        "expire_time": 1775000000,
    },
    {**PLACE, "decrypt_text": "虚构路8号", "err_no": 0},
)


def test_a_receiver_is_opened_part_by_part() -> None:
    gateway = answering(batchDecrypt=opened(*ALL_OPEN))
    (found,) = gateway.connector().decrypt([request()])
    assert gateway.params() == {"cipher_infos": [NAME, PHONE, PLACE]}
    assert (found.name, found.phone, found.address) == ("林虚构", "19900000101-1234", "虚构路8号")
    assert found.is_virtual
    assert found.expires_at == datetime.fromtimestamp(1775000000, UTC)
    assert found.error is None
    assert "林虚构" not in repr(found)


def test_a_part_that_fails_spoils_its_own_order_only() -> None:
    other = request("2", encrypt_post_receiver="##n2##", encrypt_post_tel="", post_addr=None)
    answer = opened(*ALL_OPEN, {"auth_id": "2", "cipher_text": "##n2##", "err_no": 300008})
    gateway = answering(batchDecrypt=answer | {"code": 10001})
    first, second = gateway.connector().decrypt([request(), other])
    assert first.name == "林虚构"
    assert second.error is not None
    assert (second.error.code, second.name) == ("300008", "")


def test_half_an_address_is_never_given() -> None:
    payload_of_one_failure = payload("douyin", "order_batchDecrypt_ok")
    (found,) = answering(batchDecrypt=payload_of_one_failure).connector().decrypt([request()])
    assert found.error is not None
    assert (found.name, found.phone, found.address) == ("", "", "")


def test_a_part_the_platform_left_out_is_an_error() -> None:
    (found,) = answering(batchDecrypt=opened(*ALL_OPEN[:2])).connector().decrypt([request()])
    assert found.error is not None
    assert found.error.klass is ErrorClass.PLATFORM


def test_an_order_without_ciphertext_costs_no_call() -> None:
    gateway = Gateway()
    bare: dict[str, Any] = {"encrypt_post_receiver": "", "encrypt_post_tel": "", "post_addr": None}
    unreadable = DecryptRequest("2", "", "label", b"{")
    found = gateway.connector().decrypt([request(**bare), unreadable])
    assert [one.error and one.error.code for one in found] == ["no_ciphertext", "unreadable"]
    assert not gateway.requests


def test_no_call_opens_more_than_fifty_ciphertexts() -> None:
    gateway = answering(batchDecrypt=[opened(), opened()])
    requests = [request(str(n)) for n in range(20)]
    assert len(gateway.connector().decrypt(requests)) == 20
    assert [len(gateway.params(at)["cipher_infos"]) for at in range(2)] == [50, 10]


def test_a_decryption_refused_as_a_whole_is_refused() -> None:
    refusal = {**OK, "data": {"custom_err": {"err_code": 80000, "err_msg": "解密额度已用完"}}}
    with pytest.raises(Rejected, match="解密额度已用完"):
        answering(batchDecrypt=refusal).connector().decrypt([request()])


def groups(*ids: str) -> Sequence[tuple[str, ...]]:
    requests = [DecryptRequest(str(n), oaid, "merge", b"") for n, oaid in enumerate(ids)]
    return Gateway().connector().merge_groups(requests)


def test_orders_may_share_a_parcel_when_the_platform_says_one_receiver() -> None:
    assert groups("#a", "#b", "#a", "", "", "#c", "#b") == [("0", "2"), ("1", "6")]
    assert groups("", " ", "#a") == []
