"""Taobao is told: parcels in every form, stock by difference, stops, and notes that merge."""

import json
from decimal import Decimal
from typing import Any

import httpx
import pytest

from channels_sync.connectors.taobao.connector import TaobaoConnector
from channels_sync.contracts import (
    VIRTUAL_CARRIER,
    AddressAnswer,
    Memo,
    Rejected,
    ShipLine,
    ShipNotice,
    StockEcho,
    StockFigure,
    StopAnswer,
    StopOutcome,
    TryLater,
    Unsupported,
)
from tests.channels_sync.gateway import NOW, Gateway
from tests.channels_sync.platforms import payload

DETAIL = "taobao.trade.fullinfo.get"
OFFLINE, ONLINE = "taobao.logistics.offline.send", "taobao.logistics.online.send"
DUMMY, PARTS = "taobao.logistics.dummy.send", "alibaba.ascp.logistics.offline.send"
SKUS, ITEM = "taobao.skus.quantity.update", "taobao.item.quantity.update"
STOP, MEMO = "taobao.rdc.aligenius.sendgoods.cancel", "taobao.trade.memo.update"
REFUSED = payload("taobao", "error_invalid_parameter")
NUMBER, BLUE, BLACK = "2600000000000000201", "2600000000000000202", "2600000000000000203"


def gateway(**options: str) -> Gateway[TaobaoConnector]:
    return Gateway(TaobaoConnector, **options)


def detail(invoice_no: str = "", **changes: Any) -> dict[str, Any]:
    """A trade of two lines: two blue cups and one black bag."""
    page = payload("taobao", "trades_sold_increment_get_page")
    trade = page["trades_sold_increment_get_response"]["trades"]["trade"][1]
    for line in trade["orders"]["order"]:
        line["invoice_no"] = invoice_no
    return {"trade_fullinfo_get_response": {"trade": {**trade, **changes}}}


def sent(method: str) -> dict[str, Any]:
    key = method.removeprefix("taobao.").replace(".", "_") + "_response"
    return {key: {"shipping": {"is_success": True}}}


def notice(*lines: ShipLine, carrier: str = "sf") -> ShipNotice:
    number = "" if carrier == VIRTUAL_CARRIER else "SF100"
    return ShipNotice("k-1", NUMBER, carrier, number, NOW, lines)


# --- parcels --------------------------------------------------------------------------------


def test_whole_lines_go_as_a_part_of_the_trade() -> None:
    gate = gateway().on(DETAIL, detail()).on(OFFLINE, sent(OFFLINE))
    gate.shop.ship(notice(ShipLine(BLUE, 2)))
    query = gate.last(OFFLINE)
    assert (query["is_split"], query["sub_tid"]) == ("1", BLUE)
    assert PARTS not in gate.methods()


def test_a_line_over_several_parcels_goes_by_pieces() -> None:
    answer = {"alibaba_ascp_logistics_offline_send_response": {"request_id": "1"}}
    gate = gateway().on(DETAIL, detail()).on(PARTS, answer)
    gate.shop.ship(notice(ShipLine(BLUE, 1), ShipLine(BLACK, 1)))
    query = gate.last(PARTS)
    assert (query["tid"], query["consign_type"]) == (NUMBER, "1")
    (package,) = json.loads(query["consign_pkgs"])
    assert (package["company_code"], package["out_sid"]) == ("SF", "SF100")
    assert [(one["sub_tid"], one["num"]) for one in package["goods"]] == [(BLUE, 1), (BLACK, 1)]
    assert OFFLINE not in gate.methods()


def test_a_no_inside_the_answer_about_pieces_is_a_no() -> None:
    no = {"result": {"success": False, "error_msg": "子订单已发货"}}
    answer = {"alibaba_ascp_logistics_offline_send_response": no}
    gate = gateway().on(DETAIL, detail("SF9")).on(PARTS, answer)
    with pytest.raises(Rejected, match="子订单已发货"):
        gate.shop.ship(notice(ShipLine(BLUE, 1)))


def test_goods_without_a_parcel_are_told_as_such() -> None:
    gate = gateway().on(DUMMY, sent(DUMMY))
    gate.shop.ship(notice(carrier=VIRTUAL_CARRIER))
    assert gate.methods() == [DUMMY]
    assert gate.last(DUMMY)["tid"] == NUMBER


def test_virtual_goods_told_twice_are_told() -> None:
    gate = gateway().on(DUMMY, REFUSED).on(DETAIL, detail(status="TRADE_FINISHED"))
    gate.shop.ship(notice(carrier=VIRTUAL_CARRIER))
    open_trade = detail(status="WAIT_SELLER_SEND_GOODS")
    gate = gateway().on(DUMMY, REFUSED).on(DETAIL, open_trade)
    with pytest.raises(Rejected):
        gate.shop.ship(notice(carrier=VIRTUAL_CARRIER))


def test_a_cash_trade_the_usual_call_refuses_goes_by_the_other() -> None:
    gate = gateway().on(OFFLINE, REFUSED).on(ONLINE, sent(ONLINE))
    gate.on(DETAIL, detail(type="cod"))
    gate.shop.ship(notice())
    assert gate.methods() == [OFFLINE, DETAIL, ONLINE]
    assert gate.last(ONLINE)["out_sid"] == "SF100"


def test_a_parcel_among_others_of_a_line_is_found() -> None:
    gate = gateway().on(DETAIL, detail("SF99,SF100"))
    assert gate.shop.knows(notice()) is True
    assert gate.shop.knows(notice(ShipLine(BLUE, 1))) is True
    assert gateway().on(DETAIL, detail("SF1001")).shop.knows(notice()) is False


def test_a_parcel_and_a_note_may_be_told_again_a_difference_may_not() -> None:
    assert TaobaoConnector.repeatable >= {ShipNotice, Memo, StopAnswer}
    assert StockFigure not in TaobaoConnector.repeatable


# --- stock ----------------------------------------------------------------------------------


def figure(**changes: Any) -> StockFigure:
    plain: dict[str, Any] = {
        "key": "s-1",
        "platform_sku_id": "5100000000101",
        "platform_item_id": "690000000101",
        "outer_code": "TS001",
        "quantity": 20,
        "believed": 23,
    }
    return StockFigure(**{**plain, **changes})


OK = payload("taobao", "skus_quantity_update_ok")


@pytest.mark.parametrize(
    ("believed", "kind", "number"), [(23, "2", "-3"), (18, "2", "2"), (None, "1", "20")]
)
def test_a_figure_goes_as_a_difference_where_the_old_one_is_known(
    believed: int | None, kind: str, number: str
) -> None:
    gate = gateway().on(SKUS, OK)
    assert gate.shop.publish_stock(figure(believed=believed)) == StockEcho(20)
    query = gate.last(SKUS)
    assert query["num_iid"] == "690000000101"
    assert (query["type"], query["skuid_quantities"]) == (kind, f"5100000000101:{number}")


def test_a_figure_that_stands_is_not_sent() -> None:
    gate = gateway()
    assert gate.shop.publish_stock(figure(believed=20)) == StockEcho(None)
    assert gate.sent == []


def test_goods_without_sku_have_their_stock_on_the_item() -> None:
    answer = {"item_quantity_update_response": {"item": {"num_iid": 690000000101, "num": 7}}}
    gate = gateway().on(ITEM, answer)
    assert gate.shop.publish_stock(figure(platform_sku_id="", believed=None)) == StockEcho(7)
    assert (gate.last(ITEM)["quantity"], gate.last(ITEM)["type"]) == ("20", "1")


def test_without_the_item_no_figure_can_be_sent() -> None:
    with pytest.raises(Rejected, match="no_item_id"):
        gateway().shop.publish_stock(figure(platform_item_id=""))


def test_an_echo_that_cannot_be_read_does_not_undo_the_figure() -> None:
    answer = {"skus_quantity_update_response": {"item": {"skus": "?"}}}
    assert gateway().on(SKUS, answer).shop.publish_stock(figure()) == StockEcho(None)


def test_goods_on_promotion_are_locked_by_codes_a_shop_can_name() -> None:
    error = {"code": 15, "msg": "x", "sub_code": "isv.in-campaign", "sub_msg": "活动商品不能减库存"}
    named = gateway(stock_locked_codes="isv.other, isv.in-campaign")
    with pytest.raises(Rejected) as locked:
        named.on(SKUS, {"error_response": error}).shop.publish_stock(figure())
    assert locked.value.error.code == "stock_locked"
    assert locked.value.error.message == "活动商品不能减库存"
    with pytest.raises(Rejected) as plain:
        gateway().on(SKUS, {"error_response": error}).shop.publish_stock(figure())
    assert plain.value.error.code == "15"


def test_after_a_silence_nobody_knows_what_the_stock_is() -> None:
    gate = gateway().on(SKUS, httpx.ReadTimeout("x"))
    with pytest.raises(TryLater) as failure:
        gate.shop.publish_stock(figure())
    assert failure.value.outcome_unknown
    assert gate.shop.knows(figure()) is None


# --- stops ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        (StopOutcome.STOPPED, "SUCCESS"),
        (StopOutcome.SHIPPED, "FAIL"),
        (StopOutcome.LABEL_PRINTED, "FAIL"),
        (StopOutcome.NOT_SYNCED, "FAIL"),
    ],
)
def test_a_stop_is_answered_with_what_became_of_it(outcome: StopOutcome, status: str) -> None:
    gate = gateway().on(STOP, {"rdc_aligenius_sendgoods_cancel_response": {"result": {}}})
    answer = StopAnswer("k", NUMBER, "26005", outcome, "已出库", Decimal("89.90"), BLUE, "17")
    gate.shop.answer_stop(answer)
    param = json.loads(gate.last(STOP)["param"])
    assert param == {
        "tid": NUMBER,
        "oid": BLUE,
        "refund_id": "26005",
        "refund_fee": "8990",
        "status": status,
        "msg": "已出库",
        "operate_time": "2026-03-01 09:08:07",
    }


def test_the_call_that_answers_a_stop_can_be_named() -> None:
    gate = gateway(stop_method="taobao.x.y").on("taobao.x.y", {"x_y_response": {}})
    gate.shop.answer_stop(
        StopAnswer("k", NUMBER, "26005", StopOutcome.STOPPED, "", Decimal("1.00"))
    )
    assert gate.methods() == ["taobao.x.y"]


def test_a_buyers_new_address_is_not_asked_for_here() -> None:
    with pytest.raises(Unsupported):
        gateway().shop.answer_address(AddressAnswer("k", NUMBER, approve=True))


# --- notes ----------------------------------------------------------------------------------


def memo(text: str = "客户改大号", flag: int | None = None) -> Memo:
    return Memo("m-1", NUMBER, text, flag)


WRITTEN = payload("taobao", "trade_memo_update_ok")


def noted(note: str | None, flag: int = 1) -> Gateway[TaobaoConnector]:
    return gateway().on(DETAIL, detail(seller_memo=note, seller_flag=flag)).on(MEMO, WRITTEN)


def test_a_note_is_added_to_what_others_wrote() -> None:
    gate = noted("优先发")
    gate.shop.write_memo(memo(flag=3))
    query = gate.last(MEMO)
    assert (query["memo"], query["flag"]) == ("优先发\n客户改大号", "3")
    assert "reset" not in query


def test_a_note_that_is_there_is_not_written_again() -> None:
    gate = noted("优先发\n客户改大号")
    gate.shop.write_memo(memo())
    assert MEMO not in gate.methods()
    gate.shop.write_memo(memo(flag=5))
    assert gate.last(MEMO)["memo"] == "优先发\n客户改大号"
    assert gate.last(MEMO)["flag"] == "5"


def test_a_flag_that_is_not_named_stays() -> None:
    gate = noted(None, flag=4)
    gate.shop.write_memo(memo())
    assert (gate.last(MEMO)["memo"], gate.last(MEMO)["flag"]) == ("客户改大号", "4")


def test_a_long_note_is_cut_by_bytes_and_between_characters() -> None:
    gate = noted("")
    gate.shop.write_memo(memo("客" * 400))
    assert gate.last(MEMO)["memo"] == "客" * 333


def test_a_long_note_told_twice_is_written_once() -> None:
    gate = noted("客" * 333)
    gate.shop.write_memo(memo("客" * 400))
    assert MEMO not in gate.methods()
    assert gate.shop.knows(memo("客" * 400)) is True


def test_what_others_wrote_is_never_dropped_for_a_new_line() -> None:
    gate = noted("满" * 330)
    with pytest.raises(Rejected, match="memo_too_long"):
        gate.shop.write_memo(memo("新的一行备注"))
    assert MEMO not in gate.methods()


def test_a_note_of_several_lines_becomes_one() -> None:
    gate = noted("")
    gate.shop.write_memo(memo("第一\n第二\r\n第三"))
    assert gate.last(MEMO)["memo"] == "第一 第二 第三"


def test_a_note_can_be_asked_for() -> None:
    assert noted("优先发\n客户改大号", 3).shop.knows(memo(flag=3)) is True
    assert noted("优先发\n客户改大号", 3).shop.knows(memo(flag=2)) is False
    assert noted("优先发").shop.knows(memo()) is False
