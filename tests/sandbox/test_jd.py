"""JD's further calls: each once good and once refused."""

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from ordercenter.sandbox.book import CLOSED_REFUNDED, REFUSED, Order
from tests.sandbox.callers import Bench
from tests.sandbox.test_lists import captured, searched

DAY = 86_400


def inner(reply: dict[str, Any]) -> dict[str, Any]:
    """What stands under the one ``..._responce``."""
    ((key, body),) = reply.items()
    assert key.endswith("_responce")
    found: dict[str, Any] = body
    return found


def ship(bench: Bench, order: Order, company: str, numbers: str) -> dict[str, Any]:
    wish = {"orderId": order.number, "logiCoprId": company, "logiNo": numbers}
    reply = inner(bench.jos("jingdong.pop.order.shipment", wish))
    result: dict[str, Any] = reply["sopjosshipment_result"]
    return result


def test_orders_are_searched_by_creation_whatever_happened_since(bench: Bench) -> None:
    old, new = bench.sell_paid("JD01", 2)
    bench.clock.pass_by(3600)
    bench.book.touch(old)
    rows = searched(bench.jd_search(old.created, new.created, dateType="1", sortType="0"))
    assert [row["orderId"] for row in rows["orderInfoList"]] == [old.number, new.number]
    assert searched(bench.jd_search(old.created, new.created))["orderTotal"] == 1


def test_a_search_reaches_back_three_months_by_change_and_two_years_by_creation(
    bench: Bench,
) -> None:
    start = bench.clock.now - 100 * DAY
    assert bench.jd_search(start, start + DAY)["error_response"]["code"] == "61"
    assert searched(bench.jd_search(start, start + DAY, dateType="1"))["orderTotal"] == 0
    start = bench.clock.now - 800 * DAY
    assert bench.jd_search(start, start + DAY, dateType="1")["error_response"]["code"] == "61"


def test_beyond_page_one_hundred_there_is_nothing_to_ask_for(bench: Bench) -> None:
    now = bench.clock.now
    assert searched(bench.jd_search(now - 60, now, page="100"))["orderInfoList"] == []
    assert bench.jd_search(now - 60, now, page="101")["error_response"]["code"] == "61"


def test_an_order_goes_once_in_parcels_that_are_joined(bench: Bench) -> None:
    order = bench.sell_paid("JD01")[0]
    assert ship(bench, order, "467|9", "SF1|X1")["errorCode"] == "10400005"
    assert ship(bench, order, "467|463", "SF1,SF2|YT1")["success"] is True
    assert [(p.carrier_code, p.tracking_number) for p in order.shipments] == [
        ("467", "SF1"),
        ("467", "SF2"),
        ("463", "YT1"),
    ]
    assert order.state == "shipped"
    wish = {"order_id": order.number, "optional_fields": "waybill,logisticsId"}
    detail = inner(bench.jos("jingdong.pop.order.get", wish))["orderDetailInfo"]["orderInfo"]
    assert (detail["waybill"], detail["logisticsId"]) == ("SF1,SF2|YT1", "467|463")
    sample = inner(captured("jd", "pop_order_shipment_business_error"))
    assert ship(bench, order, "467", "SF3") == sample["sopjosshipment_result"]


def test_a_note_is_read_as_it_was_written(bench: Bench) -> None:
    order = bench.sell_paid("JD01")[0]
    wish = {"order_id": order.number, "flag": "3", "remark": "加急"}
    inner(bench.jos("jingdong.pop.order.modifyVenderRemark", wish))
    method = "jingdong.order.venderRemark.queryByOrderId"
    told = inner(bench.jos(method, {"order_id": order.number}))["venderRemarkQueryResult"]
    assert (told["vender_remark"]["remark"], told["vender_remark"]["flag"]) == ("加急", 3)
    told = inner(bench.jos(method, {"order_id": "1"}))["venderRemarkQueryResult"]
    assert told["api_jos_result"]["success"] is False


def test_stock_is_set_and_not_lowered_while_promoted(bench: Bench) -> None:
    method = "jingdong.stock.write.updateSkuStock"
    code = next(row.platform_sku_id for row in bench.shop("JD01").listed if row.platform_sku_id)
    shelf = bench.book.shelves["jd"]
    assert inner(bench.jos(method, {"skuId": code, "stockNum": "9"}))["success"] is True
    assert shelf.figures(bench.shop("JD01"))[code] == 9
    bench.control("promote", shop="JD01", code=code)
    assert inner(bench.jos(method, {"skuId": code, "stockNum": "8"}))["success"] is False
    assert inner(bench.jos(method, {"skuId": code, "stockNum": "10"}))["success"] is True
    assert inner(bench.jos(method, {"skuId": "1", "stockNum": "8"}))["success"] is False
    assert bench.jos(method, {"skuId": code, "stockNum": "-1"})["error_response"]["code"] == "61"
    assert shelf.figures(bench.shop("JD01"))[code] == 10


def review(bench: Bench, refund_id: str, status: str, **more: str) -> dict[str, Any]:
    wish = {"status": status, "id": refund_id, "checkUserName": "客服", "remark": "已拦截"}
    return bench.jos("jingdong.pop.afs.soa.refundapply.replyRefund", wish | more)


@pytest.mark.parametrize("status", ["1", "2"])
def test_a_review_of_a_refund_is_the_answer_to_the_buyer(bench: Bench, status: str) -> None:
    order = bench.sell_paid("JD01")[0]
    bench.control("refund", shop="JD01", number=order.number)
    (refund,) = order.refunds
    assert review(bench, refund.refund_id, "2")["error_response"]["code"] == "61"
    told = inner(review(bench, refund.refund_id, status, rejectType="1"))["replyResult"]
    assert told["success"] is True
    if status == "1":
        assert (refund.state, order.state) == ("done", CLOSED_REFUNDED)
    else:
        assert (refund.state, order.state) == (REFUSED, "wait_ship")
    assert [stop["stopped"] for stop in order.stops] == [status == "1"]
    again = inner(review(bench, refund.refund_id, status, rejectType="1"))["replyResult"]
    assert again["success"] is False
    assert inner(review(bench, "1", "1"))["replyResult"]["success"] is False


def test_refunds_are_found_by_application_and_by_review(bench: Bench) -> None:
    order = bench.sell_paid("JD01")[0]
    bench.control("refund", shop="JD01", number=order.number)
    asked = order.refunds[0].created
    bench.clock.pass_by(300)
    review(bench, order.refunds[0].refund_id, "1")
    at = "2026-03-01 09:%02d:00"
    method = "jingdong.pop.afs.soa.refundapply.queryPageList"

    def total(**wish: str) -> int:
        found = inner(bench.jos(method, {"pageIndex": "1", "pageSize": "50"} | wish))
        count: int = found["queryResult"]["totalCount"]
        return count

    assert asked < bench.clock.now
    assert total(applyTimeStart=at % 8, applyTimeEnd=at % 10) == 1
    assert total(applyTimeStart=at % 12, applyTimeEnd=at % 20) == 0
    assert total(checkTimeStart=at % 12, checkTimeEnd=at % 20) == 1
    assert total(status="0") == 0
    assert total(status="3", orderId=order.number) == 1


def test_the_companies_are_told_with_the_fields_that_are_asked_for(bench: Bench) -> None:
    method = "360buy.get.vender.all.delivery.company"
    rows = inner(bench.jos(method, {"fields": "id,name"}))["delivery_companies"]
    assert {"id": 467, "name": "顺丰快递"} in rows
    assert bench.jos(method, {})["error_response"]["code"] == "60"


def test_odd_shapes_are_text_and_lists_in_lists(bench: Bench) -> None:
    while not (order := bench.sell_paid("JD01")[0]).discount_fen:
        pass
    bench.control("fault", platform="jd", kind="odd_shapes", share=1)
    wish = {"order_id": order.number, "optional_fields": "couponDetailList,itemInfoList"}
    told = inner(bench.jos("jingdong.pop.order.get", wish))["orderDetailInfo"]
    assert told["apiResult"]["success"] == "true"
    assert told["orderInfo"]["couponDetailList"][0][0]["orderId"] == order.number


def test_a_click_gives_a_code_a_code_a_token_and_that_a_new_one(bench: Bench) -> None:
    shop = bench.shop("JD01")
    page = bench.http.get(
        "/jd/oauth2/to_login", app_key=shop.app_key, response_type="code",
        redirect_uri="http://127.0.0.1/back", state="s",
    )  # fmt: skip
    code = parse_qs(urlsplit(page.headers["location"]).query)["code"][0]
    mine = {"app_key": shop.app_key, "app_secret": shop.app_secret}
    path = "/jd/oauth2/access_token"
    told = bench.http.get(path, grant_type="authorization_code", code=code, **mine).json()
    assert told.keys() == captured("jd", "oauth_token").keys()
    spent = bench.http.get(path, grant_type="authorization_code", code=code, **mine).json()
    assert spent.keys() == captured("jd", "oauth_error").keys()
    path, wish = "/jd/oauth2/refresh_token", {"grant_type": "refresh_token", **mine}
    new = bench.http.get(path, refresh_token=told["refresh_token"], **wish).json()
    assert new["access_token"] != told["access_token"]
    method, wish = "360buy.get.vender.all.delivery.company", {"fields": "id"}
    old = bench.jos(method, wish, access_token=told["access_token"])
    assert old["error_response"]["code"] == "19"
    assert "error_response" not in bench.jos(method, wish, access_token=new["access_token"])
    wrong = bench.http.get(path, refresh_token="x", grant_type="refresh_token", **mine).json()
    assert wrong == captured("jd", "oauth_error")
