"""Taobao's further calls: each once good and once refused."""

import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from ordercenter.sandbox.book import DONE, Order
from ordercenter.sandbox.platforms.taobao.bodies import item_id
from ordercenter.sandbox.wire import beijing
from tests.sandbox.callers import ALL_TRADE_FIELDS, Bench
from tests.sandbox.test_lists import captured

TRADE_KEY = "trade_fullinfo_get_response"


def code(reply: dict[str, Any]) -> Any:
    """The error's sub code, or its code; None when all is well."""
    error = reply.get("error_response")
    return None if error is None else error.get("sub_code") or error["code"]


def order_of(bench: Bench, lines: int = 1, pieces: int = 1) -> Order:
    """A paid order of so many lines, the first of at least so many pieces."""
    for _ in range(300):
        (order,) = bench.sell_paid("TB01")
        if len(order.lines) == lines and order.lines[0].quantity >= pieces:
            return order
    raise LookupError


def refunded(bench: Bench) -> tuple[Order, str]:
    order = order_of(bench)
    bench.control("refund", shop="TB01", number=order.number)
    return order, order.refunds[0].refund_id


# Lists and details


def test_trades_are_listed_by_creation_whatever_happened_since(bench: Bench) -> None:
    old, new = bench.sell_paid("TB01", 2)
    bench.clock.pass_by(3600)
    bench.book.touch(old)
    when = {"start_created": beijing(old.created), "end_created": beijing(new.created)}
    reply = bench.top("taobao.trades.sold.get", fields="tid", **when)["trades_sold_get_response"]
    assert [row["tid"] for row in reply["trades"]["trade"]] == [int(new.number), int(old.number)]
    assert reply["total_results"] == 2
    long_ago = beijing(bench.clock.now - 100 * 86_400)
    assert code(bench.top("taobao.trades.sold.get", fields="tid", start_created=long_ago)) == (
        "isv.invalid-parameter:start_created"
    )


def test_incrementv_runs_from_the_first_entered_to_the_last(bench: Bench) -> None:
    sold = [int(order.number) for order in bench.sell_paid("TB01", 3)]
    start, end = beijing(bench.clock.now - 60), beijing(bench.clock.now)
    method = "taobao.trades.sold.incrementv.get"
    reply = bench.top(method, fields="tid", start_create=start, end_create=end)
    rows = reply["trades_sold_incrementv_get_response"]["trades"]["trade"]
    assert [row["tid"] for row in rows] == sold
    early = beijing(bench.clock.now - 90_000)
    assert code(bench.top(method, fields="tid", start_create=early, end_create=end)) == (
        "isv.invalid-parameter:end_create"
    )


def test_trades_of_more_than_three_months_ago_are_not_listed(bench: Bench) -> None:
    start = bench.clock.now - 100 * 86_400
    assert code(bench.trades(start, start + 60)) == "isv.invalid-parameter:start_modified"


def test_a_single_refund_is_read_as_it_is_listed(bench: Bench) -> None:
    order, refund_id = refunded(bench)
    fields = "refund_id,tid,refund_fee,status,refund_version"
    row = bench.top("taobao.refund.get", fields=fields, refund_id=refund_id)
    refund = row["refund_get_response"]["refund"]
    assert (refund["tid"], refund["status"]) == (int(order.number), "WAIT_SELLER_AGREE")
    assert refund.keys() == set(fields.split(","))
    missing = bench.top("taobao.refund.get", fields=fields, refund_id="1")
    assert code(missing) == "isv.refund-not-exist"


def test_simplify_takes_the_root_and_the_inner_wrappers_away(bench: Bench) -> None:
    order = order_of(bench)
    plain = bench.top("taobao.trade.fullinfo.get", fields="tid,orders", tid=order.number)
    flat = bench.top(
        "taobao.trade.fullinfo.get", fields="tid,orders", tid=order.number, simplify="true"
    )
    assert flat["trade"]["orders"] == plain[TRADE_KEY]["trade"]["orders"]["order"]
    assert "request_id" in flat


def test_a_trade_paid_in_two_steps_waits_for_its_balance(bench: Bench) -> None:
    (order,) = bench.sell("TB01", kind="presale")
    fields = "status,type,payment,step_trade_status,step_paid_fee,pay_time"

    def told() -> dict[str, Any]:
        reply = bench.top("taobao.trade.fullinfo.get", fields=fields, tid=order.number)
        trade: dict[str, Any] = reply[TRADE_KEY]["trade"]
        return trade

    first = told()
    assert (first["status"], first["type"]) == ("WAIT_BUYER_PAY", "step")
    assert first["step_trade_status"] == "FRONT_PAID_FINAL_NOPAID"
    assert 0 < float(first["step_paid_fee"]) < float(first["payment"])
    bench.clock.pass_by(200)
    bench.market.tick()
    second = told()
    assert second["step_trade_status"] == "FRONT_PAID_FINAL_PAID"
    assert second["step_paid_fee"] == second["payment"]
    assert (second["status"], "pay_time" in second) == ("WAIT_SELLER_SEND_GOODS", True)


# Parcels


def test_lines_go_in_parcels_of_their_own_until_none_is_left(bench: Bench) -> None:
    order = order_of(bench, lines=2)
    one, two = (line.line_id for line in order.lines)

    def send(number: str, line_id: str) -> Any:
        return code(
            bench.top(
                "taobao.logistics.offline.send", tid=order.number, out_sid=number,
                company_code="SF", is_split="1", sub_tid=line_id,
            )
        )  # fmt: skip

    assert send("SF1", one) is None
    assert order.is_part_shipped
    assert send("SF2", one) == "isv.logistics-offline-service-error:B04"
    assert send("SF2", "1") == "isv.invalid-parameter:sub_tid"
    assert send("SF2", two) is None
    assert order.state == "shipped"


def test_goods_without_shipping_are_shipped_without_a_number(bench: Bench) -> None:
    order = order_of(bench)
    good = bench.top("taobao.logistics.dummy.send", tid=order.number)
    assert good["logistics_dummy_send_response"] == {
        "shipping": {"is_success": True},
        "request_id": good["logistics_dummy_send_response"]["request_id"],
    }
    assert order.shipments[0].is_virtual
    again = bench.top("taobao.logistics.dummy.send", tid=order.number)
    assert code(again) == "isv.logistics-offline-service-error:B04"


def packages(bench: Bench, order: Order, *rows: dict[str, Any]) -> dict[str, Any]:
    method = "alibaba.ascp.logistics.offline.send"
    return bench.top(method, tid=order.number, consign_pkgs=json.dumps(rows))


def package(number: str, line_id: str, pieces: int) -> dict[str, Any]:
    goods = [{"sub_tid": line_id, "num": pieces, "item_type": 0}]
    return {"goods": goods, "company_code": "SF", "out_sid": number}


def test_the_pieces_of_one_line_go_in_several_parcels_and_never_too_many(bench: Bench) -> None:
    order = order_of(bench, pieces=3)
    line, rest = order.lines[0], order.lines[0].quantity - 1
    too_many = packages(
        bench, order, package("SF1", line.line_id, 1), package("SF2", line.line_id, rest + 1)
    )
    assert code(too_many) in {
        "isv.logistics-offline-service-error:B04",
        "isv.invalid-parameter:consign_pkgs",
    }
    assert order.shipments == []
    good = packages(bench, order, package("SF1", line.line_id, 1))
    assert good["alibaba_ascp_logistics_offline_send_response"]["result"] == {"success": True}
    assert (order.state, order.left(line)) == ("wait_ship", rest)
    packages(bench, order, package("SF2", line.line_id, rest))
    assert order.state == "shipped"


def test_a_waybill_is_changed_once_there_is_one(bench: Bench) -> None:
    order = order_of(bench)
    rows = json.dumps([{"company_code": "ZTO", "out_sid": "ZT1"}])
    method = "alibaba.ascp.logistics.consign.resend"
    assert code(bench.top(method, tid=order.number, consign_pkgs=rows)) == (
        "isv.logistics-resend-service-error:B06"
    )
    bench.top("taobao.logistics.offline.send", tid=order.number, out_sid="SF1", company_code="SF")
    assert code(bench.top(method, tid=order.number, consign_pkgs=rows)) is None
    assert [parcel.tracking_number for parcel in order.shipments] == ["ZT1"]
    assert order.state == "shipped"


def test_the_companies_are_told_with_the_fields_that_are_asked_for(bench: Bench) -> None:
    reply = bench.top("taobao.logistics.companies.get", fields="code,name")
    rows = reply["logistics_companies_get_response"]["logistics_companies"]["logistics_company"]
    assert {"code": "SF", "name": "顺丰速运"} in rows
    assert code(bench.top("taobao.logistics.companies.get")) == 40


# Stock


def sku(bench: Bench, turn: int = 0) -> tuple[str, str]:
    """The SKU id and the item id of something the shop sells."""
    listed = [row for row in bench.shop("TB01").listed if row.platform_sku_id]
    return str(listed[turn].platform_sku_id), str(item_id(listed[turn]))


def skus(bench: Bench, text: str, item: str, way: str = "1") -> dict[str, Any]:
    method = "taobao.skus.quantity.update"
    return bench.top(method, num_iid=item, skuid_quantities=text, type=way)


def shown(reply: dict[str, Any]) -> int:
    quantity: int = reply["skus_quantity_update_response"]["item"]["skus"]["sku"][0]["quantity"]
    return quantity


def test_stock_is_set_or_changed_by_a_difference_and_never_falls_below_none(bench: Bench) -> None:
    code_, item = sku(bench)
    reply = skus(bench, f"{code_}:20", item)
    assert shown(reply) == 20
    sample = captured("taobao", "skus_quantity_update_ok")["skus_quantity_update_response"]
    told = reply["skus_quantity_update_response"]
    assert told.keys() == sample.keys()
    assert told["item"].keys() == sample["item"].keys()
    assert shown(skus(bench, f"{code_}:-3", item, "2")) == 17
    assert shown(skus(bench, f"{code_}:-99", item, "2")) == 0
    assert code(skus(bench, f"{code_}:-1", item)) == "isv.invalid-parameter:quantity"


def test_stock_of_goods_that_are_not_there_is_refused(bench: Bench) -> None:
    code_, item = sku(bench)
    assert code(skus(bench, f"{code_}:1", "690000999999")) == "isv.item-is-not-exist"
    assert code(skus(bench, "123:1", item)) == "isv.sku-not-exist"
    many = ";".join(f"{code_}:1" for _ in range(21))
    assert code(skus(bench, many, item)) == "isv.invalid-parameter:skuid_quantities"
    assert code(skus(bench, f"{code_}:1", item, "3")) == "isv.invalid-parameter:type"


def test_promoted_goods_may_be_raised_and_not_lowered(bench: Bench) -> None:
    code_, item = sku(bench)
    skus(bench, f"{code_}:20", item)
    bench.control("promote", shop="TB01", code=code_)
    refused = "isv.item-quantity-update-service-error:ITEM_IN_PROMOTION"
    assert code(skus(bench, f"{code_}:19", item)) == refused
    assert code(skus(bench, f"{code_}:-1", item, "2")) == refused
    assert shown(skus(bench, f"{code_}:25", item)) == 25
    bench.control("promote", shop="TB01", code=code_, on=False)
    assert shown(skus(bench, f"{code_}:19", item)) == 19


def test_one_item_is_told_its_stock_by_sku_or_by_the_merchants_code(bench: Bench) -> None:
    code_, item = sku(bench)
    listed = next(r for r in bench.shop("TB01").listed if r.platform_sku_id == code_)
    method = "taobao.item.quantity.update"
    for key, value in (("sku_id", code_), ("outer_id", listed.outer_code or "")):
        good = bench.top(method, num_iid=item, quantity="7", **{key: value})
        told = good["item_quantity_update_response"]["item"]
        assert told["skus"]["sku"] == [{"sku_id": int(code_), "quantity": 7}]
    low = bench.top(method, num_iid=item, sku_id=code_, quantity="-8", type="2")
    assert code(low) == "isv.invalid-parameter:quantity"


# Memos and stopped parcels


def test_a_memo_is_added_only_where_there_is_none(bench: Bench) -> None:
    order = order_of(bench)
    method = "taobao.trade.memo.add"
    assert code(bench.top(method, tid=order.number, memo="一", flag="2")) is None
    assert (order.memo, order.flag) == ("一", 2)
    assert code(bench.top(method, tid=order.number, memo="二")) == "isv.trade-memo-exist"


@pytest.mark.parametrize(("characters", "fits"), [(333, True), (334, False)])
def test_a_memo_has_a_thousand_bytes(bench: Bench, *, characters: int, fits: bool) -> None:
    order = order_of(bench)
    said = bench.top("taobao.trade.memo.update", tid=order.number, memo="急" * characters)
    assert (code(said) is None) == fits


def stop(bench: Bench, order: Order, refund_id: str, status: str, msg: str = "") -> dict[str, Any]:
    param = {"refund_id": int(refund_id), "tid": int(order.number), "status": status, "msg": msg}
    method = "taobao.rdc.aligenius.sendgoods.cancel"
    return bench.top(method, param=json.dumps(param, ensure_ascii=False))


def test_a_stopped_parcel_brings_the_money_back_and_a_failure_does_not(bench: Bench) -> None:
    order, refund_id = refunded(bench)
    key = "rdc_aligenius_sendgoods_cancel_response"
    assert stop(bench, order, refund_id, "FAIL", "面单已打印")[key]["result"]["success"] is True
    assert (order.refunds[0].state, order.stops[0]["reason"]) == ("asked", "面单已打印")
    stop(bench, order, refund_id, "SUCCESS")
    assert order.refunds[0].state == DONE
    unknown = stop(bench, order, "1", "SUCCESS")[key]["result"]
    assert (unknown["success"], unknown["error_code"]) == (False, "isv.refund-not-exist")
    assert code(stop(bench, order, refund_id, "MAYBE")) == "isv.invalid-parameter:param"


def test_an_intercept_names_the_version_of_the_refund(bench: Bench) -> None:
    order = order_of(bench)
    bench.top("taobao.logistics.offline.send", tid=order.number, out_sid="SF1", company_code="SF")
    bench.control("refund", shop="TB01", number=order.number)
    refund = order.refunds[0]
    ask = {"refund_id": refund.refund_id}
    method = "taobao.rp.refund.intercept"
    assert code(bench.top(method, refund_version="1", **ask)) == "isv.refund-version-error"
    version = str(int(refund.modified * 1000))
    assert code(bench.top(method, refund_version=version, **ask)) is None
    assert [row["subject"] for row in bench.book.records["write"]][-1] == refund.refund_id


# Privacy


def oaid_of(bench: Bench, order: Order) -> str:
    reply = bench.top("taobao.trade.fullinfo.get", fields=ALL_TRADE_FIELDS, tid=order.number)
    found: str = reply[TRADE_KEY]["trade"]["oaid"]
    return found


def decrypt(bench: Bench, *rows: dict[str, str]) -> dict[str, Any]:
    return bench.top("taobao.top.oaid.decrypt", query_list=json.dumps(rows))


def test_an_oaid_opens_the_receiver_and_a_stale_one_does_not(bench: Bench) -> None:
    order = order_of(bench)
    old = oaid_of(bench, order)
    wish = {"tid": order.number, "oaid": old, "scene": "1001"}
    (row,) = decrypt(bench, wish)["top_oaid_decrypt_response"]["receiver_list"]["receiver"]
    sample = captured("taobao", "top_oaid_decrypt_ok")["top_oaid_decrypt_response"]
    assert row.keys() == sample["receiver_list"]["receiver"][0].keys()
    assert (row["name"], row["matched"]) == (order.receiver.name, True)
    assert row["mobile"].startswith(f"{order.receiver.phone}-")
    bench.control("address", shop="TB01", number=order.number)
    (row,) = decrypt(bench, wish)["top_oaid_decrypt_response"]["receiver_list"]["receiver"]
    assert row == {"tid": order.number, "oaid": old, "matched": False}


def test_looks_are_limited_in_number_and_have_a_scene(bench: Bench) -> None:
    order = order_of(bench)
    wish = {"tid": order.number, "oaid": oaid_of(bench, order), "scene": "1001"}
    assert code(decrypt(bench, *[wish] * 21)) == "isv.invalid-parameter:query_list"
    assert code(decrypt(bench, {**wish, "scene": ""})) == "isv.invalid-parameter:query_list"
    bench.shop("TB01").options["decrypt_quota"] = 3
    assert code(decrypt(bench, wish, wish)) is None
    assert code(decrypt(bench, wish, wish)) == "isv.decrypt-quota-exceeded"
    bench.clock.pass_by(86_400)
    assert code(decrypt(bench, wish, wish)) is None


def test_orders_to_one_true_receiver_make_one_group(bench: Bench) -> None:
    (one, two), (other,) = bench.sell("TB01", kind="duplicate"), bench.sell("TB01")
    rows = [{"tid": o.number, "oaid": oaid_of(bench, o)} for o in (one, other, two)]
    reply = bench.top("taobao.top.oaid.merge", merge_list=json.dumps(rows))
    groups = reply["top_oaid_merge_response"]["tid_list"]["string"]
    assert groups == [f"{one.number},{two.number}", other.number]
    rows[0]["oaid"] = "stale"
    refused = bench.top("taobao.top.oaid.merge", merge_list=json.dumps(rows))
    assert code(refused) == "isv.invalid-parameter:merge_list"
    many = json.dumps(rows[1:2] * 101)
    assert code(bench.top("taobao.top.oaid.merge", merge_list=many)) is not None


# Messages


def consumed(bench: Bench, quantity: str = "200") -> list[dict[str, Any]]:
    reply = bench.top("taobao.tmc.messages.consume", group_name="default", quantity=quantity)
    rows: list[dict[str, Any]]
    rows = reply["tmc_messages_consume_response"]["messages"].get("tmc_message", [])
    return rows


def confirm(bench: Bench, rows: list[dict[str, Any]]) -> Any:
    ids = ",".join(str(row["id"]) for row in rows)
    return code(bench.top("taobao.tmc.messages.confirm", s_message_ids=ids))


def test_a_message_comes_until_it_is_confirmed_and_then_no_more(bench: Bench) -> None:
    order = order_of(bench)
    mine = [row for row in consumed(bench) if order.number in row["content"]]
    topics = {row["topic"] for row in mine}
    assert {"taobao_trade_TradeCreate", "taobao_trade_TradeBuyerPay"} <= topics
    assert json.loads(mine[0]["content"])["tid"] == int(order.number)
    assert mine[0]["id"] > 2**53
    assert confirm(bench, mine[:1]) is None
    bench.clock.pass_by(31)
    again = []
    while batch := consumed(bench):
        again += [row["id"] for row in batch]
    assert mine[0]["id"] not in again
    assert mine[1]["id"] in again
    acked = bench.http.get("/book/acked", shop="TB01").json()["acked"]
    assert [(row["event_id"], row["number"]) for row in acked] == [
        (str(mine[0]["id"]), order.number)
    ]


def test_messages_have_the_captured_form_and_need_no_session(bench: Bench) -> None:
    order, refund_id = refunded(bench)
    rows = [row for row in consumed(bench) if refund_id in row["content"]]
    sample = captured("taobao", "tmc_messages_consume")["tmc_messages_consume_response"]
    pattern = sample["messages"]["tmc_message"][1]
    assert rows[0].keys() == pattern.keys()
    assert json.loads(rows[0]["content"]).keys() == json.loads(pattern["content"]).keys()
    assert rows[0]["topic"] == "taobao_refund_RefundCreated"
    assert code(bench.top("taobao.tmc.messages.consume", session="")) is None
    assert code(bench.top("taobao.tmc.messages.consume", session="old")) == "invalid-sessionkey"
    assert order.number in rows[0]["content"]


@pytest.mark.parametrize("quantity", ["9", "201"])
def test_a_batch_of_messages_has_its_bounds(bench: Bench, quantity: str) -> None:
    assert code(bench.top("taobao.tmc.messages.consume", quantity=quantity)) == (
        "isv.invalid-parameter:quantity"
    )
    many = ",".join(["1"] * 201)
    assert code(bench.top("taobao.tmc.messages.confirm", s_message_ids=many)) is not None


def test_only_permitted_topics_are_told(bench: Bench) -> None:
    topic = "taobao_trade_TradeMemoModified"
    assert code(bench.top("taobao.tmc.user.permit", topics=topic)) is None
    order = order_of(bench)
    bench.book.write_memo(order, "改")
    assert {row["topic"] for row in consumed(bench)} == {topic}
    bench.top("taobao.tmc.user.cancel")
    bench.clock.pass_by(60)
    confirm(bench, consumed(bench))
    bench.book.write_memo(order, "再改")
    assert consumed(bench) == []


def test_the_weather_doubles_and_silences_messages_too(bench: Bench) -> None:
    bench.control("fault", platform="taobao", kind="duplicates", share=1, times=3)
    bench.book.write_memo(order := order_of(bench), "改")
    ids = []
    while batch := consumed(bench):
        ids += [row["id"] for row in batch if row["topic"].endswith("MemoModified")]
    assert (len(ids), len(set(ids))) == (3, 1)
    bench.control("fault", kind="none")
    bench.control("fault", platform="taobao", kind="silent_webhooks", seconds=60)
    bench.book.write_memo(order, "再改")
    bench.clock.pass_by(31)
    texts = []
    while batch := consumed(bench):
        texts += [row["topic"] for row in batch]
    assert texts.count("taobao_trade_TradeMemoModified") == 3  # the first one's, unconfirmed


def test_messages_are_replayed_under_new_ids_or_the_old_ones(bench: Bench) -> None:
    order = order_of(bench)
    while consumed(bench):
        pass
    bench.clock.pass_by(1)
    since = bench.clock.now
    bench.book.write_memo(order, "改")
    (first,) = consumed(bench)
    confirm(bench, [first])
    bench.control("replay", shop="TB01", since=since, as_is=True)
    (same,) = [r for r in consumed(bench) if r["content"] == first["content"]]
    assert same["id"] == first["id"]
    confirm(bench, [same])
    bench.control("replay", shop="TB01", since=since)
    (new,) = [r for r in consumed(bench) if r["content"] == first["content"]]
    assert new["id"] != first["id"]


# Authorization


def test_a_click_gives_a_code_and_a_code_a_token_once(bench: Bench) -> None:
    shop = bench.shop("TB01")
    page = bench.http.get(
        "/taobao/oauth/authorize", response_type="code", client_id=shop.app_key,
        redirect_uri="http://127.0.0.1/back?a=1", state="s",
    )  # fmt: skip
    assert page.status_code == 302
    given = parse_qs(urlsplit(page.headers["location"]).query)
    assert (given["a"], given["state"]) == (["1"], ["s"])
    wish = {
        "client_id": shop.app_key, "client_secret": shop.app_secret,
        "grant_type": "authorization_code", "code": given["code"][0],
    }  # fmt: skip
    told = bench.http.post("/taobao/oauth/token", data=wish).json()
    assert told.keys() == captured("taobao", "oauth_token").keys()
    assert told["access_token"] == shop.access_token
    again = bench.http.post("/taobao/oauth/token", data=wish)
    assert (again.status_code, again.json()["error"]) == (400, "invalid_grant")
    wrong = bench.http.post("/taobao/oauth/token", data=wish | {"client_secret": "x"})
    assert wrong.json()["error"] == "invalid_client"
