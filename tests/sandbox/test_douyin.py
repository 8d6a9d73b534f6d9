"""Douyin's stand-in: its envelope, its lists from page 0, its ciphers and its pushes."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette

from ordercenter.sandbox.book import DONE, FINISHED, REFUSED, SHIPPED, Book, Order, ShopConfig
from ordercenter.sandbox.platforms.douyin import bodies, gateway, wire
from ordercenter.sandbox.shelf import AT_FIRST
from tests.sandbox.callers import Bench, Clock, Wire
from tests.sandbox.wires import Center, douyin, douyin_text, gaps, pusher_of, sample, vector

VECTORS = ["douyin-hmac-searchlist", "douyin-hmac-cjk-html", "douyin-hmac-nested"]


def search(bench: Bench, start: float, end: float, **params: Any) -> dict[str, Any]:
    wish = {
        "update_time_start": int(start),
        "update_time_end": int(end),
        "order_by": "update_time",
        "order_asc": True,
        "page": 0,
        "size": 100,
    }
    return douyin(bench, "/order/searchList", wish | params)


def window(bench: Bench) -> tuple[float, float]:
    return bench.clock.now - 3600, bench.clock.now + 1


def two_lines(bench: Bench) -> Order:
    """A paid order of at least two lines, none of them a gift."""
    while True:
        order = bench.sell_paid("DY01")[0]
        if len(order.lines) > 1 and not any(line.is_gift for line in order.lines):
            return order


# Getting in


@pytest.mark.parametrize("vector_id", VECTORS)
def test_the_gateway_takes_the_signatures_of_the_vectors(vector_id: str) -> None:
    facts = vector(vector_id)
    params = facts["params"]
    shop = ShopConfig(
        "X1", "验签店", "douyin", "/douyin", params["app_key"], facts["secret"],
        params["access_token"],
    )  # fmt: skip
    book = Book([shop], clock=Clock(float(params["timestamp"])))
    wire = Wire(Starlette(routes=gateway.routes(book)))
    for given, admitted in [
        (facts["expected_signature"], True),
        (facts["expected_signature"].upper(), False),
        *((wrong["value"], False) for wrong in facts.get("wrong_variants", [])),
    ]:
        query = "&".join(f"{key}={value}" for key, value in params.items())
        url = f"/douyin{facts['url_path']}?{query}&sign={given}"
        said = wire._call("POST", url, content=facts["body"].encode()).json()
        assert (said["sub_code"] != "isv.signature-invalid") is admitted


def test_without_a_sign_method_the_old_md5_counts() -> None:
    facts = vector("douyin-md5-legacy")
    assert (
        wire.sign(facts["params"], facts["body"], facts["secret"]) == (facts["expected_signature"])
    )


@pytest.mark.parametrize(
    ("changes", "sub_code"),
    [
        ({"access_token": "another"}, "isv.access-token-no-existed"),
        ({"timestamp": "1772326000"}, "isv.timestamp-invalid"),
        ({"timestamp": "now"}, "isv.timestamp-invalid"),
        ({"v": "1"}, "isv.method-invalid"),
        ({"app_key": "1"}, "isv.app-key-invalid"),
        ({"method": "order.orderDetail"}, "isv.method-invalid"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_own_code(
    bench: Bench, changes: dict[str, str], sub_code: str
) -> None:
    wish = {"update_time_start": 1, "update_time_end": 2, "page": 0, "size": 1}
    assert douyin(bench, "/order/searchList", wish, **changes)["sub_code"] == sub_code


def test_a_body_with_unsorted_keys_does_not_verify(bench: Bench) -> None:
    said = douyin(bench, "/order/orderDetail", '{"shop_order_id": "1"}')
    assert (said["code"], said["sub_code"]) == (40001, "isv.signature-invalid")


def refresh(bench: Bench, token: str = "") -> dict[str, Any]:
    token = token or bench.shop("DY01").refresh_token
    wish = {"grant_type": "refresh_token", "refresh_token": token}
    return douyin(bench, "/token/refresh", wish)


def opens(bench: Bench, token: str) -> str:
    """What the platform says of ``token``: nothing, where it opens the shop."""
    now = int(bench.clock.now)
    wish = {"update_time_start": now - 9, "update_time_end": now, "page": 0, "size": 1}
    return str(douyin(bench, "/order/searchList", wish, access_token=token)["sub_code"])


def test_an_expired_token_is_refused_and_a_new_pair_is_given(bench: Bench) -> None:
    old = bench.shop("DY01").access_token
    assert refresh(bench)["data"]["access_token"] == old
    bench.clock.pass_by(7 * 86_400 + 1)
    assert opens(bench, old) == "isv.access-token-expired"
    fresh = refresh(bench)["data"]
    assert fresh["access_token"] != old
    assert not gaps(sample("douyin/token_create_ok.json")["data"], fresh)
    assert opens(bench, fresh["access_token"]) == ""
    assert opens(bench, old) == "isv.access-token-expired"
    assert refresh(bench)["sub_code"] == "isv.refresh-token-invalid"
    assert refresh(bench, fresh["refresh_token"])["data"]["access_token"] == fresh["access_token"]


def test_within_the_last_hour_the_old_token_lives_one_hour_beside_the_new(bench: Bench) -> None:
    old = bench.shop("DY01").access_token
    bench.clock.pass_by(7 * 86_400 - 1800)
    new = refresh(bench)["data"]["access_token"]
    assert new != old
    bench.clock.pass_by(3000)
    assert (opens(bench, old), opens(bench, new)) == ("", "")
    bench.clock.pass_by(700)
    assert (opens(bench, old), opens(bench, new)) == ("isv.access-token-expired", "")


def test_a_token_killed_by_the_weather_is_over_at_once(bench: Bench) -> None:
    old = bench.shop("DY01").access_token
    bench.book.kill_token("DY01")
    assert opens(bench, old) == "isv.access-token-expired"
    new = refresh(bench)["data"]["access_token"]
    assert (opens(bench, new), opens(bench, old)) == ("", "isv.access-token-no-existed")


def test_a_code_is_good_once(bench: Bench) -> None:
    wish = {"code": bench.book.give_code("DY01"), "grant_type": "authorization_code"}
    assert opens(bench, douyin(bench, "/token/create", wish)["data"]["access_token"]) == ""
    assert douyin(bench, "/token/create", wish)["code"] == 50001


def test_the_shops_own_application_gets_its_token_without_a_code(bench: Bench) -> None:
    wish = {"code": "", "grant_type": "authorization_self", "shop_id": "70000001"}
    told = douyin(bench, "/token/create", wish)["data"]
    assert (told["access_token"], told["expires_in"]) == (bench.shop("DY01").access_token, 604800)
    assert douyin(bench, "/token/create", wish | {"shop_id": "1"})["code"] == 50001


# Reading


def test_orders_have_the_shape_of_the_captured_page(bench: Bench) -> None:
    bench.sell("DY01", 12)
    bench.sell("DY01", 1, "gift_short")
    page = search(bench, *window(bench))
    assert page["data"]["total"] == 13
    assert not gaps(sample("douyin/order_searchList_page.json"), page)


def test_a_shipped_order_with_a_gift_has_the_shape_of_the_captured_detail(bench: Bench) -> None:
    order = bench.sell("DY01", 1, "gift_short")[0]
    ship(bench, order)
    detail = douyin(bench, "/order/orderDetail", {"shop_order_id": order.number})
    wanted = sample("douyin/order_orderDetail_discount_gift_encrypted.json")
    del wanted["data"]["shop_order_detail"]["promotion_detail"]
    wanted["data"]["shop_order_detail"]["sku_order_list"] = [
        {k: v for k, v in row.items() if k not in {"shop_cost_amount", "platform_cost_amount",
                                                   "coupon_info"}}
        for row in wanted["data"]["shop_order_detail"]["sku_order_list"]
    ]  # fmt: skip
    listed = sample("douyin/order_searchList_page.json")["data"]["shop_order_list"][1]
    wanted["data"]["shop_order_detail"]["logistics_info"] = listed["logistics_info"]
    assert not gaps(wanted, detail)
    lines = detail["data"]["shop_order_detail"]["sku_order_list"]
    kinds = [line["given_product_type"] for line in lines]
    assert kinds == ["MASTER"] * (len(lines) - 1) + ["FREE"]
    assert lines[-1]["master_sku_order_id_list"] == [line["order_id"] for line in lines[:-1]]


def test_the_money_of_the_lines_adds_up_to_the_order(bench: Bench) -> None:
    for order in bench.sell("DY01", 20):
        facts = bodies.order_body(bench.shop("DY01"), order)
        lines = facts["sku_order_list"]
        assert sum(line["pay_amount"] for line in lines) == facts["pay_amount"]
        assert sum(line["promotion_amount"] for line in lines) == facts["promotion_amount"]
        assert facts["order_amount"] - facts["promotion_amount"] == facts["pay_amount"]


def test_pages_count_from_zero_and_come_newest_first_unless_asked(bench: Bench) -> None:
    sold = [order.number for order in bench.sell("DY01", 5)]
    start, end = window(bench)
    first = search(bench, start, end, size=2)["data"]
    assert [o["order_id"] for o in first["shop_order_list"]] == sold[:2]
    last = search(bench, start, end, size=2, page=2)["data"]
    assert [o["order_id"] for o in last["shop_order_list"]] == sold[4:]
    newest = search(bench, start, end, size=2, order_asc=False)["data"]
    assert [o["order_id"] for o in newest["shop_order_list"]] == sold[:2:-1]


@pytest.mark.parametrize(
    "changes",
    [
        {"page": -1},
        {"size": 101},
        {"size": "100"},
        {"page": 600},
        {"update_time_end": 1_772_323_000},
        {"update_time_start": 1_700_000_000},
        {"order_by": "pay_time"},
        {"combine_status": [{"order_status": "2"}, {"order_status": "3"}]},
        {"trade_type": 0},
    ],
)
def test_a_bad_parameter_is_a_business_refusal(bench: Bench, changes: dict[str, Any]) -> None:
    said = search(bench, 1_772_323_000, 1_772_327_000, **changes)
    assert (said["code"], said["data"]) == (40004, {})


def test_one_element_of_statuses_filters(bench: Bench) -> None:
    orders = bench.sell_paid("DY01", 3)
    ship(bench, orders[1])
    found = search(bench, *window(bench), combine_status=[{"order_status": "3,101"}])["data"]
    assert [o["order_id"] for o in found["shop_order_list"]] == [orders[1].number]


def test_the_receiver_is_sealed_and_opens_for_its_own_order_only(bench: Bench) -> None:
    mine, other = bench.sell_paid("DY01", 2)
    facts = bodies.order_body(bench.shop("DY01"), mine)
    assert mine.receiver.name not in json.dumps(facts, ensure_ascii=False)
    assert mine.receiver.phone not in json.dumps(facts)
    cipher = facts["encrypt_post_tel"]
    asked = [
        {"auth_id": mine.number, "cipher_text": cipher},
        {"auth_id": other.number, "cipher_text": cipher},
    ]
    opened = douyin(bench, "/order/batchDecrypt", {"cipher_infos": asked})
    assert not gaps(sample("douyin/order_batchDecrypt_ok.json"), opened)
    good, bad = opened["data"]["decrypt_infos"]
    assert (good["err_no"], good["decrypt_text"]) == (0, mine.receiver.phone)
    assert (bad["err_no"], bad["decrypt_text"]) == (300008, "")


def test_orders_to_one_door_share_their_address_id(bench: Bench) -> None:
    cluster = bench.market.sell("address_day", shop="DY01", at_once=True)
    ids = {bodies.order_body(bench.shop("DY01"), o)["open_address_id"] for o in cluster}
    assert len(cluster) == 3
    assert len(ids) == 1


# Writing back


def ship(bench: Bench, order: Order, **params: Any) -> dict[str, Any]:
    wish = {"order_id": order.number, "company_code": "shunfeng", "logistics_code": "SF1"}
    return douyin(bench, "/order/logisticsAdd", wish | params)


def pack(bench: Bench, order: Order, line: int, number: str, request: str) -> dict[str, Any]:
    chosen = order.lines[line]
    return douyin(
        bench,
        "/order/logisticsAddSinglePack",
        {
            "order_id_list": [order.number],
            "shipped_order_info": [
                {"shipped_order_id": chosen.line_id, "shipped_num": chosen.quantity}
            ],
            "company_code": "shunfeng",
            "logistics_code": number,
            "request_id": request,
        },
    )


def test_a_whole_order_ships_once(bench: Bench) -> None:
    order = bench.sell_paid("DY01")[0]
    assert not gaps(sample("douyin/order_logisticsAdd_ok.json"), ship(bench, order))
    assert order.state == SHIPPED
    assert ship(bench, order)["code"] == 50002
    assert len(order.shipments) == 1


def test_lines_ship_in_packs_and_a_request_repeats_without_a_second_pack(bench: Bench) -> None:
    order = two_lines(bench)
    first = pack(bench, order, 0, "SF1", "ship-1")
    assert not gaps(sample("douyin/order_logisticsAddSinglePack_ok.json"), first)
    assert pack(bench, order, 0, "SF1", "ship-1")["data"] == first["data"]
    assert len(order.shipments) == 1
    assert bodies.order_body(bench.shop("DY01"), order)["order_status"] == 101
    assert pack(bench, order, 0, "SF2", "ship-2")["code"] == 50002
    for turn in range(1, len(order.lines)):
        pack(bench, order, turn, f"SF{turn + 2}", f"ship-{turn + 2}")
    assert order.state == SHIPPED


def test_an_open_refund_stops_shipping_unless_it_is_turned_down(bench: Bench) -> None:
    order = bench.sell_paid("DY01")[0]
    bench.market.ask_refund(order)
    assert ship(bench, order)["code"] == 50002
    assert not order.shipments
    assert ship(bench, order, is_reject_refund=True)["code"] == 10000
    assert {refund.state for refund in order.refunds} == {REFUSED}


def test_an_unknown_company_is_refused(bench: Bench) -> None:
    order = bench.sell_paid("DY01")[0]
    assert ship(bench, order, company_code="SF")["code"] == 50002


# Refunds


def test_refunds_are_listed_by_their_change(bench: Bench) -> None:
    order = bench.sell_paid("DY01")[0]
    bench.market.ask_refund(order)
    span = {
        "update_start_time": int(bench.clock.now) - 60,
        "update_end_time": int(bench.clock.now) + 60,
        "order_by": ["update_time asc"],
        "page": 0,
        "size": 100,
    }
    said = douyin(bench, "/afterSale/List", span)
    assert not gaps(sample("douyin/afterSale_List_page.json"), said)
    info = said["data"]["items"][0]["aftersale_info"]
    assert (info["aftersale_status"], info["aftersale_type"]) == (6, 2)
    bench.clock.pass_by(30)
    for refund in order.open_refunds():
        bench.book.settle_refund(order, refund, DONE)
    said = douyin(bench, "/afterSale/List", span)
    statuses = {row["aftersale_info"]["aftersale_status"] for row in said["data"]["items"]}
    assert statuses == {12}
    body = bodies.order_body(bench.shop("DY01"), order)
    assert (body["order_status"], body["main_status"]) == (4, 21)


# Pushing


def test_a_payment_is_pushed_in_the_captured_shape_and_signed(bench: Bench) -> None:
    pusher = pusher_of(bench, "douyin.pushing")
    order = bench.sell("DY01", 1, "low_price")[0]
    center = Center({"code": 0, "msg": "success"})
    assert center.take(pusher.outgoing) == 2
    paid = next(r for r in center.heard if json.loads(r.content)[0]["tag"] == "101")
    wanted = sample("douyin/push_101_paid.json")
    given = json.loads(paid.content)
    assert not gaps(wanted, given)
    data = json.loads(given[0]["data"])
    assert not gaps(json.loads(wanted[0]["data"]), data)
    assert data["p_id"] == int(order.number)
    assert str(paid.url) == "http://127.0.0.1:9/hooks/douyin/DY01/"
    shop = bench.shop("DY01")
    signed = shop.app_key.encode() + paid.content + shop.app_secret.encode()
    assert paid.headers["event-sign"] == hashlib.md5(signed, usedforsecurity=False).hexdigest()
    assert paid.headers["app-id"] == shop.app_key


def test_pushes_sign_as_the_vector_says() -> None:
    facts = vector("douyin-push-event-sign")
    given = wire.event_sign("7000000000000000001", facts["body"].encode(), facts["secret"])
    assert given == facts["expected_signature"]


def test_every_step_of_an_order_has_its_tag(bench: Bench) -> None:
    pusher = pusher_of(bench, "douyin.pushing")
    order = bench.sell("DY01", 1, "low_price")[0]
    bench.book.change_address(order, bench.market.another_receiver(order))
    bench.market.ask_refund(order)
    for refund in list(order.refunds):
        bench.book.settle_refund(order, refund, REFUSED)
    ship(bench, order)
    bench.book.finish(order)
    assert order.state == FINISHED
    center = Center({"code": 0})
    center.take(pusher.outgoing)
    tags = [body[0]["tag"] for body in center.bodies()]
    assert tags == ["100", "101", "105", "200", "204", "102", "103"]
    refund = json.loads(center.bodies()[3][0]["data"])
    assert isinstance(refund["update_time"], str)
    ids = [body[0]["msg_id"] for body in center.bodies()]
    assert len(set(ids)) == len(ids)


def test_a_push_that_is_not_answered_with_code_0_comes_again(bench: Bench) -> None:
    pusher = pusher_of(bench, "douyin.pushing")
    bench.sell("DY01", 1, "low_price")
    deaf = Center({"code": 1})
    assert deaf.take(pusher.outgoing) == 2
    bench.clock.pass_by(2)
    center = Center({"code": 0})
    center.take(pusher.outgoing)
    assert {r.content for r in center.heard} == {r.content for r in deaf.heard}


def test_the_canonical_text_is_what_callers_sign() -> None:
    params = {"b": {"z": 1, "a": "A&B<C>加急😀"}, "a": [2, 1]}
    assert wire.canonical(params) == douyin_text(params)


# Parcels


def multi(bench: Bench, order: Order, packs: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    wish = {"order_id": order.number, "pack_list": packs, "request_id": "multi-1"}
    return douyin(bench, "/order/logisticsAddMultiPack", wish | more)


def three_pieces(bench: Bench) -> Order:
    """A paid order of one line of three pieces."""
    order = bench.sell_paid("DY01")[0]
    while len(order.lines) > 1:
        order = bench.sell_paid("DY01")[0]
    order.lines[0].quantity = 3
    return order


def pieces(order: Order, count: int, number: str) -> dict[str, Any]:
    return {
        "shipped_order_info": [{"shipped_order_id": order.lines[0].line_id, "shipped_num": count}],
        "company_code": "shunfeng",
        "logistics_code": number,
    }


def test_a_line_goes_in_several_parcels_and_never_more_than_was_bought(bench: Bench) -> None:
    order = three_pieces(bench)
    too_many = [pieces(order, 2, "SF1"), pieces(order, 2, "SF2")]
    assert multi(bench, order, too_many)["code"] == 50002
    assert not order.shipments
    said = multi(bench, order, [pieces(order, 2, "SF1"), pieces(order, 1, "SF2")])
    packs = [row["pack_id"] for row in said["data"]["pack_list"]]
    assert len(set(packs)) == 2
    assert order.state == SHIPPED
    again = multi(bench, order, [pieces(order, 2, "SF1"), pieces(order, 1, "SF2")])
    assert [row["pack_id"] for row in again["data"]["pack_list"]] == packs
    assert [s.quantities for s in order.shipments] == [
        {order.lines[0].line_id: 2}, {order.lines[0].line_id: 1},
    ]  # fmt: skip
    listed = bodies.order_body(bench.shop("DY01"), order)["logistics_info"]
    assert [row["product_info"][0]["product_count"] for row in listed] == [2, 1]


def test_pieces_left_over_keep_the_order_part_shipped(bench: Bench) -> None:
    order = three_pieces(bench)
    wish = pieces(order, 2, "SF1") | {"order_id_list": [order.number], "request_id": "r1"}
    assert douyin(bench, "/order/logisticsAddSinglePack", wish)["code"] == 10000
    assert bodies.order_body(bench.shop("DY01"), order)["order_status"] == 101
    rest = pieces(order, 2, "SF2") | {"order_id_list": [order.number], "request_id": "r2"}
    assert douyin(bench, "/order/logisticsAddSinglePack", rest)["code"] == 50002
    assert [s.tracking_number for s in order.shipments] == ["SF1"]


def test_an_open_refund_stops_several_parcels_too(bench: Bench) -> None:
    order = three_pieces(bench)
    bench.market.ask_refund(order)
    assert multi(bench, order, [pieces(order, 3, "SF1")])["code"] == 50002
    assert multi(bench, order, [pieces(order, 3, "SF1")], is_reject_refund=True)["code"] == 10000


def test_a_waybill_is_changed_once_there_is_one(bench: Bench) -> None:
    order = bench.sell_paid("DY01")[0]
    wish = {"order_id": order.number, "company_code": "zhongtong", "logistics_code": "ZT9"}
    assert douyin(bench, "/order/logisticsEdit", wish)["code"] == 50002
    ship(bench, order)
    assert douyin(bench, "/order/logisticsEdit", wish)["code"] == 10000
    assert [(s.carrier_code, s.tracking_number) for s in order.shipments] == [("zhongtong", "ZT9")]
    assert bench.book.records["write"][-1]["kind"] == "reship"
    assert bench.book.records["write"][-1]["before"] == "SF1"


def test_the_companies_can_be_asked_for(bench: Bench) -> None:
    rows = douyin(bench, "/order/logisticsCompanyList", {})["data"]
    assert {"shunfeng", "zhongtong"} <= {row["code"] for row in rows}


# Stock


def listed(bench: Bench, turn: int = 0) -> tuple[int, int]:
    """Product and SKU id of something the shop sells."""
    found = [x for x in bench.shop("DY01").listed if x.platform_sku_id is not None][turn]
    return bodies.product_of("DY01", found.goods), int(found.platform_sku_id or 0)


def sync(bench: Bench, **wish: Any) -> dict[str, Any]:
    product, sku = listed(bench)
    return douyin(bench, "/sku/syncStock", {"product_id": product, "sku_id": sku} | wish)


def shown(bench: Bench) -> int:
    return int(bench.book.records["stock"][-1]["shown"])


def test_a_figure_is_set_or_changed_and_a_change_has_its_effect_once(bench: Bench) -> None:
    assert not gaps(sample("douyin/sku_syncStock_ok.json"), sync(bench, stock_num=12))
    change = {"stock_num": -2, "incremental": True, "idempotent_id": "k1"}
    assert sync(bench, **change)["code"] == 10000
    assert shown(bench) == 10
    again = sync(bench, **change)
    assert (again["code"], again["sub_code"]) == (40003, "isv.idempotent-id-existed")
    assert shown(bench) == 10


@pytest.mark.parametrize(
    ("wish", "code"),
    [
        ({"stock_num": 1, "incremental": True}, 40002),
        ({"stock_num": -1}, 50002),
        ({"stock_num": "5"}, 40004),
        ({}, 40002),
        ({"stock_num": 1, "sku_id": 1}, 50002),
        ({"stock_num": 1, "product_id": 1}, 50002),
    ],
)
def test_a_bad_figure_is_refused_and_shows_nothing(
    bench: Bench, wish: dict[str, Any], code: int
) -> None:
    assert sync(bench, **wish)["code"] == code
    assert not bench.book.records["stock"]


def test_a_sale_lowers_the_figure_and_a_restart_remembers_it(tmp_path: Path) -> None:
    bench = Bench(data_dir=tmp_path)
    sync(bench, stock_num=50)
    order = bench.sell("DY01")[0]
    line = order.lines[0]
    sold = next(x for x in bench.shop("DY01").listed if x.platform_sku_id == line.platform_sku_id)
    product = bodies.product_of("DY01", sold.goods)
    wish = {"product_id": product, "sku_id": int(line.platform_sku_id or 0), "stock_num": 1}
    raised = wish | {"incremental": True, "idempotent_id": "k1"}
    douyin(bench, "/sku/syncStock", raised)
    assert shown(bench) == AT_FIRST - line.quantity + 1
    bench.book.close()
    again = Bench(data_dir=tmp_path, clock=bench.clock)
    assert douyin(again, "/sku/syncStock", raised)["sub_code"] == "isv.idempotent-id-existed"
    douyin(again, "/sku/syncStock", raised | {"idempotent_id": "k2"})
    assert shown(again) == AT_FIRST - line.quantity + 2
    again.book.close()


def test_a_batch_of_figures_is_taken_whole_or_not_at_all(bench: Bench) -> None:
    product, sku = listed(bench)
    rows = [{"sku_id": sku, "sku_type": 0, "stock_num": 7}]
    wish = {"product_id": product, "incremental": False, "sku_sync_list": rows}
    bad = wish | {"sku_sync_list": [*rows, {"sku_id": 1, "sku_type": 0, "stock_num": 3}]}
    assert douyin(bench, "/sku/syncStockBatch", bad)["code"] == 50002
    assert not bench.book.records["stock"]
    assert douyin(bench, "/sku/syncStockBatch", wish)["code"] == 10000
    assert shown(bench) == 7


# Notes, addresses, after-sales


def remark(bench: Bench, order: Order, text: str, **more: str) -> dict[str, Any]:
    return douyin(bench, "/order/addOrderRemark", {"order_id": order.number, "remark": text} | more)


def test_a_note_has_sixty_characters_and_does_not_move_the_order(bench: Bench) -> None:
    order = bench.sell_paid("DY01")[0]
    moved = order.modified
    bench.clock.pass_by(60)
    assert remark(bench, order, "备" * 60, is_add_star="true", star="5")["code"] == 10000
    assert (order.memo, order.flag, order.modified) == ("备" * 60, 5, moved)
    assert remark(bench, order, "备" * 61)["code"] == 50002
    assert remark(bench, order, "x", is_add_star="true", star="6")["code"] == 40004
    assert remark(bench, order, "后写的")["code"] == 10000
    assert (order.memo, order.flag) == ("后写的", 5)


def wish_address(bench: Bench, order: Order, **more: Any) -> dict[str, Any]:
    return bench.control("address_ask", shop=order.shop, number=order.number, **more)


def confirm(bench: Bench, order: Order, said: int) -> dict[str, Any]:
    wish = {"order_id": order.number, "is_approved": said}
    return douyin(bench, "/order/addressConfirm", wish)


def test_a_wish_for_another_address_is_pushed_and_answered(bench: Bench) -> None:
    order = bench.sell_paid("DY01")[0]
    assert confirm(bench, order, 0)["code"] == 50002
    pusher = pusher_of(bench, "douyin.pushing")
    Center({"code": 0}).take(pusher.outgoing)
    before = order.receiver
    assert wish_address(bench, order)["answer_by"] == bench.clock.now + 12 * 3600
    center = Center({"code": 0})
    center.take(pusher.outgoing)
    asked = next(entry for [entry] in center.bodies() if entry["tag"] == "111")
    told = json.loads(asked["data"])["receiver_msg"]
    assert json.loads(told["addr"])["province"]["name"] != ""
    assert confirm(bench, order, 7)["code"] == 40004
    assert confirm(bench, order, 1003)["code"] == 10000
    assert order.receiver is before
    wish_address(bench, order)
    wanted = order.extra["address_wish"]["receiver"]
    assert confirm(bench, order, 0)["code"] == 10000
    assert order.receiver.address == wanted["address"]
    assert [row["approve"] for row in bench.book.records["address_answer"]] == [False, True]


def test_silence_is_a_yes_after_its_time(bench: Bench) -> None:
    order = bench.sell_paid("DY01")[0]
    wish_address(bench, order, silence=100)
    bench.clock.pass_by(99)
    bench.market.tick()
    assert "address_wish" in order.extra
    bench.clock.pass_by(2)
    bench.market.tick()
    assert bench.book.records["address_answer"][-1]["by"] == "platform"
    assert order.address_version == 2


def asked(bench: Bench) -> Order:
    order = bench.sell_paid("DY01")[0]
    bench.market.ask_refund(order)
    return order


def operate(bench: Bench, kind: int, **item: Any) -> dict[str, Any]:
    return douyin(bench, "/afterSale/operate", {"type": kind, "items": [item]})


def test_an_after_sale_is_settled_by_its_version(bench: Bench) -> None:
    order = asked(bench)
    refund = order.refunds[0]
    detail = douyin(bench, "/afterSale/Detail", {"after_sale_id": int(refund.refund_id)})
    info = detail["data"]["process_info"]["after_sale_info"]
    assert (info["after_sale_id"], info["after_sale_status"]) == (int(refund.refund_id), 6)
    stale = operate(bench, 201, aftersale_id=refund.refund_id, update_time=info["update_time"] - 1)
    assert (stale["code"], stale["data"]["items"][0]["status_code"]) == (10001, 1)
    assert refund.state == "asked"
    good = operate(bench, 201, aftersale_id=refund.refund_id, update_time=info["update_time"])
    assert (good["code"], refund.state) == (10000, DONE)
    assert [(stop["refund_id"], stop["stopped"]) for stop in order.stops] == [
        (refund.refund_id, True)
    ]
    assert operate(bench, 999, aftersale_id=refund.refund_id)["code"] == 40004
    assert douyin(bench, "/afterSale/Detail", {"after_sale_id": 1})["code"] == 50002


def test_a_refusal_needs_its_reason(bench: Bench) -> None:
    refund = asked(bench).refunds[0]
    assert operate(bench, 202, aftersale_id=refund.refund_id)["code"] == 10001
    operate(bench, 202, aftersale_id=refund.refund_id, reason="已发货", remark="已交快递")
    assert refund.state == REFUSED


def test_a_parcel_on_its_way_is_stopped_and_another_is_not(bench: Bench) -> None:
    order = bench.sell_paid("DY01")[0]
    ship(bench, order)
    bench.market.ask_refund(order)
    target = {"company_code": "shunfeng", "tracking_no": "SF1"}
    wish = {
        "after_sale_id": int(order.refunds[0].refund_id),
        "op_from": 1,
        "intercept_targets": [target, target | {"tracking_no": "SF2"}],
    }
    said = douyin(bench, "/afterSale/applyLogisticsIntercept", wish)["data"]
    assert [row["is_success"] for row in said["intercept_results"]] == [True, False]
    assert (said["success_count"], said["failed_count"]) == (1, 1)
    empty = wish | {"intercept_targets": []}
    assert douyin(bench, "/afterSale/applyLogisticsIntercept", empty)["code"] == 40002


# Receivers


def test_opening_has_a_quota_and_masking_has_none(bench: Bench) -> None:
    bench.shop("DY01").options["decrypt_quota"] = "2"
    order = bench.sell_paid("DY01")[0]
    facts = bodies.order_body(bench.shop("DY01"), order)
    names = ("encrypt_post_receiver", "encrypt_post_tel")
    ciphers = [facts[name] for name in names] + [facts["post_addr"]["encrypt_detail"]]
    wish = {"cipher_infos": [{"auth_id": order.number, "cipher_text": c} for c in ciphers]}
    masked = douyin(bench, "/order/batchSensitive", wish)["data"]["decrypt_infos"]
    assert [info["err_no"] for info in masked] == [0, 0, 0]
    assert all("*" in info["decrypt_text"] for info in masked)
    opened = douyin(bench, "/order/batchDecrypt", wish)["data"]["decrypt_infos"]
    assert [info["err_no"] for info in opened] == [0, 0, 300021]
    assert (opened[1]["decrypt_text"], opened[2]["decrypt_text"]) == (order.receiver.phone, "")
    bench.clock.pass_by(86_401)
    token = douyin(bench, "/order/batchDecrypt", wish)["data"]["decrypt_infos"]
    assert [info["err_no"] for info in token] == [0, 0, 300021]
    many = {"cipher_infos": wish["cipher_infos"] * 17}
    assert douyin(bench, "/order/batchDecrypt", many)["code"] == 40004


def test_orders_are_listed_by_their_creation(bench: Bench) -> None:
    order = bench.sell_paid("DY01")[0]
    bench.clock.pass_by(3600)
    bench.book.touch(order)
    new = bench.sell("DY01")[0]
    wish = {"page": 0, "size": 100, "order_by": "create_time", "order_asc": True}
    at = int(order.created)
    span = {"create_time_start": at - 5, "create_time_end": at + 5}
    found = douyin(bench, "/order/searchList", wish | span)["data"]["shop_order_list"]
    assert [row["order_id"] for row in found] == [order.number]
    assert new.number != order.number
