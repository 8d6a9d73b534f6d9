"""JD: tokens, turns, counting; and told parcels, stock, stops and notes."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest

from channels_sync.connectors.jd.connector import JdConnector
from channels_sync.connectors.jd.wire import sign
from channels_sync.contracts import (
    VIRTUAL_CARRIER,
    AddressAnswer,
    DecryptRequest,
    ErrorClass,
    Limit,
    Memo,
    Rejected,
    ShipNotice,
    StockEcho,
    StockFigure,
    StopAnswer,
    StopOutcome,
    TryLater,
    Unsupported,
    Window,
)
from tests.channels_sync.gateway import NOW, Gateway
from tests.channels_sync.platforms import payload

DETAIL, SEARCH = "jingdong.pop.order.get", "jingdong.pop.order.search"
SHIP, MEMO = "jingdong.pop.order.shipment", "jingdong.pop.order.modifyVenderRemark"
STOCK = "jingdong.stock.write.updateSkuStock"
STOP = "jingdong.pop.afs.soa.refundapply.replyRefund"
NUMBER = "300000000401"
OK = payload("jd", "pop_order_shipment_ok")
REFUSED = payload("jd", "pop_order_shipment_business_error")
RENEW, TRADE_CODE = "/oauth2/refresh_token", "/oauth2/access_token"


def gateway(**options: str) -> Gateway[JdConnector]:
    return Gateway(JdConnector, **options)


def detail(**changes: Any) -> dict[str, Any]:
    found = payload("jd", "pop_order_get_discount_gift_oaid")
    found["jingdong_pop_order_get_responce"]["orderDetailInfo"]["orderInfo"] |= changes
    return found


# --- tokens and turns -----------------------------------------------------------------------


@pytest.mark.parametrize("code", ["18", "19"])
def test_a_stale_token_is_renewed_once_and_the_call_signed_anew(code: str) -> None:
    stale = {"error_response": {"code": code, "zh_desc": "x"}}
    gate = gateway().on(DETAIL, stale, detail())
    assert gate.shop.fetch(NUMBER).channel_number == NUMBER
    assert gate.line.renewed == ["a-token"]
    forms = [dict(httpx.QueryParams(one.content.decode())) for one in gate.requests]
    assert [form["access_token"] for form in forms] == ["a-token", "fresh-token"]
    assert forms[1]["sign"] == sign(forms[1], "a-secret")


def test_a_token_that_stays_stale_is_for_the_seller() -> None:
    gate = gateway().on(DETAIL, payload("jd", "error_invalid_token"))
    with pytest.raises(Rejected) as refusal:
        gate.shop.fetch(NUMBER)
    assert refusal.value.error.klass is ErrorClass.AUTH
    assert len(gate.sent) == 2


def test_every_call_takes_its_turn_and_tells_how_it_went() -> None:
    gate = gateway(**{f"limit.{DETAIL}": "3"})
    gate.on(DETAIL, payload("jd", "error_call_limited"), detail())
    with pytest.raises(TryLater):
        gate.shop.fetch(NUMBER)
    gate.shop.fetch(NUMBER)
    assert gate.line.entered == [(DETAIL, Limit(3, 3))] * 2
    assert gate.line.went == [(DETAIL, "2"), (DETAIL, "passed")]


def test_new_tokens_are_asked_for_as_jd_wants() -> None:
    gate = gateway().on(RENEW, payload("jd", "oauth_token"))
    tokens = gate.shop.refresh("r-1")
    (request,) = gate.requests
    assert (request.method, request.url.host) == ("GET", "open-oauth.jd.com")
    assert gate.last(RENEW) == {
        "app_key": "20000001",
        "app_secret": "a-secret",
        "grant_type": "refresh_token",
        "refresh_token": "r-1",
    }
    assert (tokens.access_token, tokens.refresh_token) == ("sandbox-jd-token", "sandbox-jd-refresh")
    assert tokens.expires_at == NOW + timedelta(days=30)
    assert tokens.shop_id == ""


def test_a_code_is_traded_at_the_address_the_shop_sets() -> None:
    gate = gateway(auth_url="http://127.0.0.1:9").on(TRADE_CODE, payload("jd", "oauth_token"))
    gate.shop.exchange_code("c-1")
    assert gate.last(TRADE_CODE)["code"] == "c-1"
    assert gate.requests[0].url.port == 9
    url = httpx.URL(gate.shop.authorize_url("https://oc.example/back", "s"))
    assert url.path == "/oauth2/to_login"
    assert dict(url.params)["app_key"] == "20000001"
    assert dict(url.params)["state"] == "s"


@pytest.mark.parametrize(
    "answer", [payload("jd", "oauth_error"), httpx.Response(400, json={"code": 400, "msg": "x"})]
)
def test_a_refused_renewal_is_a_matter_of_the_authorization(answer: Any) -> None:
    with pytest.raises(Rejected) as refusal:
        gateway().on(RENEW, answer).shop.refresh("r-1")
    assert refusal.value.error.klass is ErrorClass.AUTH
    assert "a-secret" not in str(refusal.value)


def test_an_answer_without_a_token_is_asked_for_later() -> None:
    with pytest.raises(TryLater, match="bad_body"):
        gateway().on(RENEW, {"expires_in": 1}).shop.refresh("r-1")


# --- counting -------------------------------------------------------------------------------


def made(numbers: Sequence[int]) -> Any:
    def answer(query: dict[str, str]) -> dict[str, Any]:
        start = (int(query["page"]) - 1) * int(query["page_size"])
        rows = [{"orderId": str(n)} for n in numbers[start : start + int(query["page_size"])]]
        result = {"orderTotal": len(numbers), "orderInfoList": rows}
        return {
            "jingdong_pop_order_search_responce": {"code": "0", "searchorderinfo_result": result}
        }

    return answer


def test_a_census_counts_the_orders_made_within_a_window() -> None:
    gate = gateway().on(SEARCH, made(range(1, 251)))
    census = gate.shop.census(Window(NOW - timedelta(days=1), NOW))
    assert census.numbers == {str(n) for n in range(1, 251)}
    query = gate.last(SEARCH)
    assert (query["dateType"], query["optional_fields"]) == ("1", "orderId")
    assert query["start_date"] == "2026-02-28 09:08:07"


def test_a_census_of_two_months_is_asked_for_in_spans_jd_takes() -> None:
    gate = gateway().on(SEARCH, made([1]))
    census = gate.shop.census(Window(NOW - timedelta(days=56), NOW))
    assert census.numbers == {"1"}
    assert len({query["start_date"] for _, query in gate.sent}) == 2


def test_the_states_to_list_can_be_set() -> None:
    gate = gateway(order_states="LOCKED,A_NEW_STATE").on(SEARCH, made([]))
    gate.shop.test()
    assert gate.last(SEARCH)["order_state"] == "LOCKED,A_NEW_STATE"


# --- parcels --------------------------------------------------------------------------------


def notice(number: str = "SF100", others: tuple[str, ...] = (), carrier: str = "sf") -> ShipNotice:
    return ShipNotice("k-1", NUMBER, carrier, number, NOW, (), others)


def test_the_parcels_of_an_order_go_together() -> None:
    gate = gateway().on(SHIP, OK)
    gate.shop.ship(notice("SF101", ("SF100",)))
    assert gate.last(SHIP)["logiNo"] == "SF100,SF101"
    gate.shop.ship(notice("SF100", ("SF100",)))
    assert gate.last(SHIP)["logiNo"] == "SF100"


def test_a_parcel_after_the_order_was_taken_cannot_be_told() -> None:
    gate = gateway().on(SHIP, REFUSED).on(DETAIL, detail(waybill="SF100"))
    with pytest.raises(Unsupported):
        gate.shop.ship(notice("SF101", ("SF100",)))
    with pytest.raises(Rejected) as plain:
        gate.shop.ship(notice("SF101"))
    assert not isinstance(plain.value, Unsupported)


def test_parcels_are_found_among_those_of_several_carriers() -> None:
    gate = gateway().on(DETAIL, detail(waybill="JD9, SF100|YT8"))
    assert gate.shop.knows(notice()) is True
    assert gate.shop.knows(notice("YT8")) is True
    assert gate.shop.knows(notice("SF10")) is False


def test_goods_without_a_parcel_cannot_be_told() -> None:
    with pytest.raises(Unsupported):
        gateway().shop.ship(notice("", carrier=VIRTUAL_CARRIER))


# --- stock ----------------------------------------------------------------------------------


FIGURE = StockFigure("s-1", "100000000101", "200000000101", "RICE", 20, 23)


def stocked(**answer: Any) -> dict[str, Any]:
    return {"jingdong_stock_write_updateSkuStock_responce": {"code": "0", **answer}}


def test_stock_is_set_whatever_the_center_believes() -> None:
    gate = gateway(store_id="7").on(STOCK, stocked(success=True))
    for figure in (FIGURE, replace(FIGURE, believed=None)):
        assert gate.shop.publish_stock(figure) == StockEcho(None)
        assert gate.last(STOCK) == {"skuId": "100000000101", "stockNum": "20", "storeId": "7"}
    assert StockFigure in JdConnector.repeatable


def test_the_call_that_sets_stock_can_be_named() -> None:
    method = "jingdong.ware.stock.sku.set"
    answer = {"jingdong_ware_stock_sku_set_responce": {"code": "0"}}
    gate = gateway(stock_method=method).on(method, answer)
    gate.shop.publish_stock(FIGURE)
    assert gate.methods() == [method]


def test_locked_stock_is_told_by_codes_a_shop_can_name() -> None:
    refusal = stocked(success=False, errorCode="10900", errorMessage="促销中")
    with pytest.raises(Rejected) as locked:
        gateway(stock_locked_codes="10900").on(STOCK, refusal).shop.publish_stock(FIGURE)
    assert (locked.value.error.code, locked.value.error.sub_code) == ("stock_locked", "10900")
    with pytest.raises(Rejected) as plain:
        gateway().on(STOCK, refusal).shop.publish_stock(FIGURE)
    assert plain.value.error.code == "10900"


def test_without_a_sku_no_figure_can_be_sent() -> None:
    with pytest.raises(Rejected, match="no_sku_id"):
        gateway().shop.publish_stock(replace(FIGURE, platform_sku_id=""))


# --- stops ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (StopOutcome.STOPPED, {"status": "1", "outWareStatus": "2"}),
        (StopOutcome.LABEL_PRINTED, {"status": "2", "outWareStatus": "2", "rejectType": "5"}),
        (StopOutcome.SHIPPED, {"status": "2", "outWareStatus": "1", "rejectType": "1"}),
    ],
)
def test_a_stop_is_answered_with_what_became_of_it(
    outcome: StopOutcome, expected: dict[str, str]
) -> None:
    key = "jingdong_pop_afs_soa_refundapply_replyRefund_responce"
    gate = gateway(answer_refunds="on").on(
        STOP, {key: {"code": "0", "replyResult": {"success": True}}}
    )
    answer = StopAnswer("k", NUMBER, "900000101", outcome, "已打单", Decimal("174.00"))
    gate.shop.answer_stop(answer)
    common = {"id": "900000101", "checkUserName": "ERP", "remark": "已打单"}
    assert gate.last(STOP) == {**common, **expected}
    gate.shop.answer_stop(replace(answer, words=""))
    assert gate.last(STOP)["remark"] != ""
    no = {"success": False, "errorCode": "10300002", "errorDesc": "退款单已审核"}
    refused = gateway(answer_refunds="on").on(STOP, {key: {"code": "0", "replyResult": no}})
    with pytest.raises(Rejected, match="退款单已审核"):
        refused.shop.answer_stop(answer)


def test_nobodys_money_is_decided_about_unless_the_shop_says_so() -> None:
    gate = gateway()
    answer = StopAnswer("k", NUMBER, "1", StopOutcome.STOPPED, "", Decimal("174.00"))
    with pytest.raises(Unsupported, match="answer_refunds"):
        gate.shop.answer_stop(answer)
    assert not gate.sent


def test_jd_asks_for_no_new_address_and_shows_no_receiver() -> None:
    with pytest.raises(Unsupported):
        gateway().shop.answer_address(AddressAnswer("k", NUMBER, approve=True))
    with pytest.raises(Unsupported):
        gateway().shop.decrypt([DecryptRequest(NUMBER, "o", "1", b"{}")])


# --- notes ----------------------------------------------------------------------------------


WRITTEN = payload("jd", "pop_order_modifyVenderRemark_ok")


def noted(note: str | None = "VIP", flag: str = "2") -> Gateway[JdConnector]:
    changes = {"venderRemark": note, "venderRemarkLevelFlag": flag}
    return gateway().on(DETAIL, detail(**changes)).on(MEMO, WRITTEN)


def memo(text: str = "客户改大号", flag: int | None = None) -> Memo:
    return Memo("m-1", NUMBER, text, flag)


def test_a_note_is_added_to_what_others_wrote() -> None:
    gate = noted()
    gate.shop.write_memo(memo())
    assert gate.last(MEMO) == {"order_id": NUMBER, "remark": "VIP\n客户改大号", "flag": "2"}
    gate.shop.write_memo(memo(flag=5))
    assert gate.last(MEMO)["flag"] == "5"


def test_a_note_that_is_there_is_not_written_again() -> None:
    gate = noted("VIP\n客户改大号")
    gate.shop.write_memo(memo())
    assert MEMO not in gate.methods()
    assert gate.shop.knows(memo()) is True
    assert gate.shop.knows(memo(flag=3)) is False
    assert gate.shop.knows(memo("别的")) is False


def test_without_a_flag_none_is_sent() -> None:
    gate = noted("", flag="")
    gate.shop.write_memo(memo())
    assert gate.last(MEMO) == {"order_id": NUMBER, "remark": "客户改大号"}


def test_a_note_jd_does_not_show_is_not_taken_for_an_empty_one() -> None:
    gate = noted(None)
    with pytest.raises(TryLater, match="no_memo"):
        gate.shop.write_memo(memo())
    assert MEMO not in gate.methods()


def test_what_others_wrote_is_never_dropped_for_a_new_line() -> None:
    gate = noted("满" * 498)
    with pytest.raises(Rejected, match="memo_too_long"):
        gate.shop.write_memo(memo())
    assert MEMO not in gate.methods()


def test_a_long_note_is_cut_to_what_jd_takes() -> None:
    gate = noted("")
    gate.shop.write_memo(memo("长" * 600))
    assert gate.last(MEMO)["remark"] == "长" * 500


def test_of_stock_nobody_can_tell() -> None:
    assert gateway().shop.knows(FIGURE) is None
