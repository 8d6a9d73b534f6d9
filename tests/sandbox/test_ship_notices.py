"""Ship notices and memos: what is taken, what is refused, and that the book knows it."""

from typing import Any

import pytest

from ordercenter.sandbox.book import SHIPPED, WAIT_SHIP, Order
from tests.sandbox.callers import Bench


def send_top(bench: Bench, order: Order, number: str, **params: str) -> dict[str, Any]:
    sent = {"tid": order.number, "out_sid": number, "company_code": "SF"} | params
    return bench.top("taobao.logistics.offline.send", **sent)


def send_jos(bench: Bench, order: Order, number: str) -> dict[str, Any]:
    wish = {"orderId": order.number, "logiCoprId": "467", "logiNo": number}
    answer = bench.jos("jingdong.pop.order.shipment", wish)
    result: dict[str, Any]
    result = answer["jingdong_pop_order_shipment_responce"]["sopjosshipment_result"]
    return result


def send_pop(bench: Bench, order: Order, number: str, **params: str) -> dict[str, Any]:
    sent = {"order_sn": order.number, "logistics_id": "44", "tracking_number": number} | params
    return bench.pop("pdd.logistics.online.send", **sent)


def test_a_notice_ships_the_order_on_each_platform_and_is_written_down(bench: Bench) -> None:
    orders = [bench.sell_paid(shop)[0] for shop in ("TB01", "JD01", "PD01")]
    bench.clock.pass_by(30)
    top = send_top(bench, orders[0], "SF0000000000001")
    assert top["logistics_offline_send_response"]["shipping"] == {"is_success": True}
    assert send_jos(bench, orders[1], "SF0000000000002")["success"] is True
    pop = send_pop(bench, orders[2], "SF0000000000003")
    assert pop["logistics_online_send_response"]["is_success"] is True
    assert [order.state for order in orders] == [SHIPPED] * 3
    assert all(order.modified == bench.clock.now for order in orders)
    told = bench.http.get("/book/shipments").json()["shipments"]
    assert [row["tracking_number"] for row in told] == [
        f"SF000000000000{turn}" for turn in (1, 2, 3)
    ]


def test_taobao_and_jd_refuse_the_same_notice_twice(bench: Bench) -> None:
    orders = [bench.sell_paid(shop)[0] for shop in ("TB01", "JD01")]
    send_top(bench, orders[0], "SF0000000000001")
    again = send_top(bench, orders[0], "SF0000000000001")["error_response"]
    assert again["sub_code"] == "isv.logistics-offline-service-error:B04"
    send_jos(bench, orders[1], "SF0000000000002")
    assert send_jos(bench, orders[1], "SF0000000000002")["errorCode"] == "10400010"
    assert [len(order.shipments) for order in orders] == [1, 1]


def test_pinduoduo_takes_another_parcel_only_as_a_change(bench: Bench) -> None:
    order = bench.sell_paid("PD01")[0]
    send_pop(bench, order, "SF0000000000001")
    assert send_pop(bench, order, "SF0000000000002")["error_response"]["error_code"] == 10001
    changed = send_pop(bench, order, "SF0000000000002", redelivery_type="2")
    assert changed["logistics_online_send_response"]["is_success"] is True
    assert [parcel.tracking_number for parcel in order.shipments] == ["SF0000000000002"]


def test_taobao_ships_a_trade_in_parts(bench: Bench) -> None:
    order = next(o for o in bench.sell_paid("TB01", 40) if len(o.lines) > 1)
    first, rest = order.lines[0].line_id, [line.line_id for line in order.lines[1:]]
    send_top(bench, order, "SF0000000000001", is_split="1", sub_tid=first)
    assert order.state == WAIT_SHIP
    trade = bench.top("taobao.trade.fullinfo.get", tid=order.number, fields="tid,status")
    assert trade["trade_fullinfo_get_response"]["trade"]["status"] == "SELLER_CONSIGNED_PART"
    twice = send_top(bench, order, "SF0000000000002", is_split="1", sub_tid=first)
    assert "B04" in twice["error_response"]["sub_code"]
    send_top(bench, order, "SF0000000000003", is_split="1", sub_tid=",".join(rest))
    assert order.state == SHIPPED


@pytest.mark.parametrize("shop", ["TB01", "JD01", "PD01"])
def test_an_unpaid_or_unknown_order_cannot_be_shipped(bench: Bench, shop: str) -> None:
    order = bench.sell(shop)[0]
    order.state, order.paid = "wait_pay", None
    send: Any = {"TB01": send_top, "JD01": send_jos, "PD01": send_pop}[shop]
    answer = send(bench, order, "SF0000000000001")
    assert "error_response" in answer or answer["success"] is False
    order.number = "1"
    answer = send(bench, order, "SF0000000000001")
    assert "error_response" in answer or answer["success"] is False
    assert not bench.book.records["shipment"]


def test_a_parcel_sent_while_the_buyer_asks_the_money_back_is_marked(bench: Bench) -> None:
    order = bench.sell_paid("TB01")[0]
    bench.control("refund", shop="TB01", number=order.number)
    send_top(bench, order, "SF0000000000001")
    assert bench.http.get("/book/summary").json()["shipped_with_open_refund"] == 1


def test_a_memo_replaces_the_one_before_and_is_at_most_a_thousand_bytes(bench: Bench) -> None:
    order = bench.sell_paid("TB01")[0]
    for text in ("先写的", "后写的"):
        bench.top("taobao.trade.memo.update", tid=order.number, memo=text, flag="3")
    assert (order.memo, order.flag) == ("后写的", 3)
    fits = bench.top("taobao.trade.memo.update", tid=order.number, memo="字" * 333)
    assert "error_response" not in fits
    long = bench.top("taobao.trade.memo.update", tid=order.number, memo="字" * 334)
    assert long["error_response"]["code"] == 41
