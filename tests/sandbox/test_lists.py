"""The lists of the three pulled platforms: windows, pages, order, and what is not shown."""

import json
from typing import Any

import pytest

from ordercenter.sandbox.book import DONE, Shipment
from tests.sandbox.callers import VECTORS, Bench

PAYLOADS = VECTORS.parent / "payloads"
DAY = 86_400


def rows_of(answer: dict[str, Any]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]]
    rows = answer["trades_sold_increment_get_response"].get("trades", {}).get("trade", [])
    return rows


def searched(answer: dict[str, Any]) -> dict[str, Any]:
    result: dict[str, Any]
    result = answer["jingdong_pop_order_search_responce"]["searchorderinfo_result"]
    return result


def listed(answer: dict[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = answer["order_sn_increment_get_response"]
    return result


def test_taobao_takes_one_day_and_not_a_second_more(bench: Bench) -> None:
    now = bench.clock.now
    assert "error_response" not in bench.trades(now - DAY, now)
    assert bench.trades(now - DAY - 1, now)["error_response"]["code"] == 41


def test_jd_takes_a_month_and_not_a_second_more(bench: Bench) -> None:
    now = bench.clock.now
    assert "error_response" not in bench.jd_search(now - 31 * DAY, now)
    assert bench.jd_search(now - 31 * DAY - 1, now)["error_response"]["code"] == "61"


def test_pinduoduo_takes_half_an_hour_and_not_a_second_more(bench: Bench) -> None:
    now = bench.clock.now
    assert "error_response" not in bench.pdd_list(now - 1800, now)
    assert bench.pdd_list(now - 1801, now)["error_response"]["error_code"] == 10001


@pytest.mark.parametrize("size", ["0", "101", "x", "-1"])
def test_a_page_size_out_of_bounds_is_refused_everywhere(bench: Bench, size: str) -> None:
    now = bench.clock.now
    assert bench.trades(now - 60, now, page_size=size)["error_response"]["code"] == 41
    assert bench.jd_search(now - 60, now, page_size=size)["error_response"]["code"] == "61"
    assert bench.pdd_list(now - 60, now, page_size=size)["error_response"]["error_code"] == 10001


def test_each_list_runs_from_the_order_changed_last_to_the_first(bench: Bench) -> None:
    for shop in ("TB01", "JD01", "PD01"):
        bench.sell_paid(shop, 6)
    now, start = bench.clock.now, bench.clock.now - 600
    first = bench.book.orders("TB01")[0]
    bench.clock.pass_by(5)
    bench.book.touch(first)
    now = bench.clock.now
    trades = rows_of(bench.trades(start, now))
    assert trades[0]["tid_str"] == first.number
    assert len(trades) == 6
    assert is_descending([row["modified"] for row in trades])
    jd = searched(bench.jd_search(start, now))["orderInfoList"]
    assert len(jd) == 6
    assert is_descending([row["modified"] for row in jd])
    pdd = listed(bench.pdd_list(start, now))["order_sn_list"]
    assert len(pdd) == 6
    assert is_descending([row["updated_at"] for row in pdd])


def is_descending(times: list[str]) -> bool:
    return times == sorted(times, reverse=True) and len(set(times)) > 1


def test_the_pages_of_a_list_hold_every_order_once(bench: Bench) -> None:
    sold = {order.number for order in bench.sell_paid("TB01", 7)}
    start, end = bench.clock.now - 600, bench.clock.now
    total = bench.trades(start, end, page_size="3")["trades_sold_increment_get_response"]
    assert total["total_results"] == 7
    assert "has_next" not in total
    pages = [
        bench.trades(start, end, page_size="3", page_no=str(page), use_has_next="true")
        for page in (1, 2, 3)
    ]
    has_next = [page["trades_sold_increment_get_response"]["has_next"] for page in pages]
    assert has_next == [True, True, False]
    assert sorted(row["tid_str"] for page in pages for row in rows_of(page)) == sorted(sold)


def test_a_row_moves_while_a_reader_pages_forward_and_is_missed(bench: Bench) -> None:
    """What the reference warns of does happen here; a reader from the back loses nothing."""
    bench.sell_paid("TB01", 4)
    start, end = bench.clock.now - 600, bench.clock.now
    last = bench.book.orders("TB01")[-1]
    first_page = rows_of(bench.trades(start, end, page_size="2", page_no="1"))
    bench.clock.pass_by(10)
    bench.book.touch(last)  # leaves the window: the rows behind it move up
    second_page = rows_of(bench.trades(start, end, page_size="2", page_no="2"))
    seen = {row["tid_str"] for row in first_page + second_page}
    assert len(seen) == 3


def test_a_field_not_asked_for_does_not_come(bench: Bench) -> None:
    bench.sell_paid("TB01")
    start, end = bench.clock.now - 60, bench.clock.now
    few = rows_of(bench.trades(start, end, fields="tid,status,orders.oid"))[0]
    assert few.keys() == {"tid", "status", "orders"}
    assert [line.keys() for line in few["orders"]["order"]] == [{"oid"}] * len(
        few["orders"]["order"]
    )
    bench.sell_paid("JD01")
    jd = searched(bench.jd_search(start, bench.clock.now, optional_fields="orderState"))
    assert jd["orderInfoList"][0].keys() == {"orderId", "orderState"}


def test_the_oaid_comes_only_with_the_fields_it_hangs_on(bench: Bench) -> None:
    bench.sell_paid("TB01")
    start, end = bench.clock.now - 60, bench.clock.now
    assert "oaid" in rows_of(bench.trades(start, end))[0]
    poor = "tid,oaid,receiver_name,receiver_address,created,receiver_mobile"
    assert "oaid" not in rows_of(bench.trades(start, end, fields=poor))[0]


def test_an_empty_list_is_an_empty_object_or_no_key_at_all(bench: Bench) -> None:
    now = bench.clock.now
    bodies = [bench.trades(now - 9, now)["trades_sold_increment_get_response"] for _ in range(4)]
    assert {"trades" in body for body in bodies} == {True, False}
    assert all(body.get("trades", {}) == {} for body in bodies)


def test_unpaid_orders_are_shown_by_taobao_only(bench: Bench) -> None:
    for shop in ("TB01", "JD01", "PD01"):
        order = bench.sell(shop)[0]
        order.state, order.paid, order.paid_fen = "wait_pay", None, 0
        bench.book.touch(order)
    start, end = bench.clock.now - 60, bench.clock.now
    assert rows_of(bench.trades(start, end))[0]["status"] == "WAIT_BUYER_PAY"
    assert searched(bench.jd_search(start, end))["orderTotal"] == 0
    assert listed(bench.pdd_list(start, end))["order_sn_list"] == []


def test_the_receiver_is_masked_and_pinduoduo_gives_it_only_while_to_ship(bench: Bench) -> None:
    (taobao,), (jd,), (pdd,) = (bench.sell_paid(shop) for shop in ("TB01", "JD01", "PD01"))
    start, end = bench.clock.now - 60, bench.clock.now
    told = json.dumps(
        [bench.trades(start, end), bench.jd_search(start, end), bench.pdd_list(start, end)],
        ensure_ascii=False,
    )
    for order in (taobao, jd, pdd):
        secrets = (order.receiver.phone, order.receiver.address, order.buyer.ip)
        assert not [text for text in secrets if text in told]
    before = listed(bench.pdd_list(start, end))["order_sn_list"][0]
    assert before["receiver_name"].startswith("~AgAA")
    assert before["receiver_phone"].startswith("$")
    bench.book.ship(pdd, Shipment("44", "SF0000000000001", [], bench.clock.now))
    after = listed(bench.pdd_list(start, end))["order_sn_list"][0]
    hidden = ("receiver_name", "receiver_phone", "receiver_address", "address")
    assert [after[name] for name in hidden] == [""] * 4
    assert after["open_address_id"] == before["open_address_id"]


def test_a_new_address_gets_a_new_oaid(bench: Bench) -> None:
    order = bench.sell_paid("TB01")[0]
    start = bench.clock.now - 60
    old = rows_of(bench.trades(start, bench.clock.now))[0]["oaid"]
    assert "receiver" in bench.control("address", shop="TB01", number=order.number)
    assert rows_of(bench.trades(start, bench.clock.now))[0]["oaid"] != old


@pytest.mark.parametrize("shop", ["TB01", "JD01", "PD01"])
def test_the_money_of_every_order_adds_up_on_the_wire(bench: Bench, shop: str) -> None:
    from_wire = {"TB01": taobao_money, "JD01": jd_money, "PD01": pdd_money}[shop]
    sold = {order.number: order for order in bench.sell_paid(shop, 40)}
    told = from_wire(bench)
    assert told == {number: order.payable_fen for number, order in sold.items()}


def fen(yuan: object) -> int:
    return round(float(str(yuan)) * 100)


def taobao_money(bench: Bench) -> dict[str, int]:
    rows = rows_of(bench.trades(bench.clock.now - 600, bench.clock.now, page_size="100"))
    sums = {}
    for row in rows:
        lines = row["orders"]["order"]
        assert fen(row["payment"]) == sum(line_fen(line, row) for line in lines) + fen(
            row["post_fee"]
        )
        sums[row["tid_str"]] = fen(row["payment"])
    return sums


def line_fen(line: dict[str, Any], trade: dict[str, Any]) -> int:
    if "divide_order_fee" in line:
        return fen(line["divide_order_fee"])
    return fen(line["payment"]) - fen(trade["post_fee"])


def jd_money(bench: Bench) -> dict[str, int]:
    rows = searched(bench.jd_search(bench.clock.now - 600, bench.clock.now))["orderInfoList"]
    sums = {}
    for row in rows:
        items = sum(fen(i["jdPrice"]) * int(i["itemTotal"]) for i in row["itemInfoList"])
        coupons = sum(fen(c["couponPrice"]) for c in row["couponDetailList"])
        assert items == fen(row["orderTotalPrice"])
        assert coupons == fen(row["sellerDiscount"])
        paid = fen(row["orderPayment"]) + fen(row["balanceUsed"])
        assert paid == items - coupons + fen(row["freightPrice"])
        sums[row["orderId"]] = paid
    return sums


def pdd_money(bench: Bench) -> dict[str, int]:
    rows = listed(bench.pdd_list(bench.clock.now - 600, bench.clock.now))["order_sn_list"]
    assert {type(row["pay_amount"]) for row in rows} == {str, float}
    sums = {}
    for row in rows:
        goods = sum(fen(i["goods_price"]) * i["goods_count"] for i in row["item_list"])
        assert goods == fen(row["goods_amount"])
        parts = fen(row["platform_discount"]) + fen(row["seller_discount"])
        assert parts == fen(row["discount_amount"])
        paid = fen(row["pay_amount"])
        assert paid == goods - parts + fen(row["postage"])
        sums[row["order_sn"]] = paid
    return sums


def test_the_shapes_are_those_of_the_captured_pages(bench: Bench) -> None:
    for shop in ("TB01", "JD01", "PD01"):
        for order in bench.sell_paid(shop, 30):
            order.remark = "请发顺丰"
    start, end = bench.clock.now - 600, bench.clock.now
    trade = captured("taobao", "trade_fullinfo_get_discount_gift_oaid")
    sample = trade["trade_fullinfo_get_response"]["trade"]
    optional = {"service_tags", "promotion_details", "trade_from"}
    fields = ",".join(sample)
    for row in rows_of(bench.trades(start, end, fields=fields, page_size="100")):
        assert sample.keys() - optional <= row.keys()
        assert_same_types(sample, row)
    page = captured("jd", "pop_order_get_discount_gift_oaid")
    order = page["jingdong_pop_order_get_responce"]["orderDetailInfo"]["orderInfo"]
    optional = {"actualPay", "shouldPay", "totalSellerDiscount", "orderSign"}
    for row in searched(bench.jd_search(start, end, optional_fields=",".join(order)))[
        "orderInfoList"
    ]:
        assert order.keys() - optional <= row.keys()
        assert_same_types(order, row)
    page = captured("pinduoduo", "order_information_get_discount_gift_encrypted")
    sample = page["order_info_get_response"]["order_info"]
    for row in listed(bench.pdd_list(start, end))["order_sn_list"]:
        assert row.keys() == sample.keys()


def captured(platform: str, name: str) -> dict[str, Any]:
    text = (PAYLOADS / platform / f"{name}.json").read_text(encoding="utf-8")
    facts: dict[str, Any] = json.loads(text)
    return facts


def assert_same_types(sample: dict[str, Any], row: dict[str, Any]) -> None:
    for name in sample.keys() & row.keys():
        assert type(row[name]) is type(sample[name]), name


def test_a_refund_is_told_by_each_platform_in_its_own_unit(bench: Bench) -> None:
    orders = {shop: bench.sell_paid(shop)[0] for shop in ("TB01", "JD01", "PD01")}
    for shop, order in orders.items():
        bench.control("refund", shop=shop, number=order.number)
    now = bench.clock.now
    top = bench.top(
        "taobao.refunds.receive.get",
        fields="refund_id,tid,oid,refund_fee,status,modified",
        start_modified="2026-03-01 09:00:00",
        end_modified="2026-03-01 10:00:00",
    )["refunds_receive_get_response"]["refunds"]["refund"]
    lines = [line for line in orders["TB01"].lines if not line.is_gift]
    assert sum(fen(row["refund_fee"]) for row in top) == sum(line.amount_fen for line in lines)
    assert {row["status"] for row in top} == {"WAIT_SELLER_AGREE"}
    wish = {"pageIndex": "1", "pageSize": "50", "status": "0"}
    jos = bench.jos("jingdong.pop.afs.soa.refundapply.queryPageList", wish)
    (row,) = jos["jingdong_pop_afs_soa_refundapply_queryPageList_responce"]["queryResult"]["result"]
    assert (row["orderId"], row["applyRefundSum"], row["checkTime"]) == (
        orders["JD01"].number,
        orders["JD01"].paid_fen,
        None,
    )
    pop = bench.pop(
        "pdd.refund.list.increment.get", start_updated_at=str(int(now) - 60),
        end_updated_at=str(int(now)), after_sales_status="1", after_sales_type="1",
    )["refund_increment_get_response"]["refund_list"]  # fmt: skip
    assert [fen(row["refund_amount"]) for row in pop] == [orders["PD01"].paid_fen]
    checked = bench.pop("pdd.refund.status.check", order_sns=f"{orders['PD01'].number},x")
    assert checked["refund_status_check_response"]["order_sns_exists_refund"] == [
        {"order_sn": orders["PD01"].number}
    ]


def test_jd_locks_an_order_while_its_buyer_asks_to_cancel(bench: Bench) -> None:
    order = bench.sell_paid("JD01")[0]
    bench.control("refund", shop="JD01", number=order.number)
    start = bench.clock.now - 60
    rows = searched(bench.jd_search(start, bench.clock.now))["orderInfoList"]
    assert rows[0]["orderState"] == "LOCKED"
    wish = {"orderId": order.number, "logiCoprId": "467", "logiNo": "SF0000000000001"}
    sent = bench.jos("jingdong.pop.order.shipment", wish)
    assert sent["jingdong_pop_order_shipment_responce"]["sopjosshipment_result"]["success"] is False
    assert not order.shipments
    for refund in order.open_refunds():
        bench.book.settle_refund(order, refund, DONE)
    rows = searched(bench.jd_search(start, bench.clock.now))["orderInfoList"]
    assert rows[0]["orderState"] == "TRADE_CANCELED"
