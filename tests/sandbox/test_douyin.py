"""Douyin's stand-in: its envelope, its lists from page 0, its ciphers and its pushes."""

import hashlib
import json
from typing import Any

import pytest
from starlette.applications import Starlette

from ordercenter.sandbox.book import DONE, FINISHED, REFUSED, SHIPPED, Book, Order, ShopConfig
from ordercenter.sandbox.platforms.douyin import bodies, gateway, wire
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
        wire.sign(facts["params"], facts["body"], facts["secret"])
        == (facts["expected_signature"])
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


def test_an_expired_token_is_refused_and_a_new_pair_is_given(bench: Bench) -> None:
    shop = bench.shop("DY01")
    wish = {"grant_type": "refresh_token", "refresh_token": f"{shop.access_token}-refresh"}
    early = douyin(bench, "/token/refresh", wish)["data"]
    assert early["access_token"] == shop.access_token
    bench.clock.pass_by(7 * 86_400 + 1)
    late = search(bench, *window(bench))
    assert (late["code"], late["sub_code"]) == (40003, "isv.access-token-expired")
    fresh = douyin(bench, "/token/refresh", wish)["data"]
    assert fresh["access_token"] != shop.access_token
    assert not gaps(sample("douyin/token_create_ok.json")["data"], fresh)
    span = {"update_time_start": int(bench.clock.now) - 9, "update_time_end": int(bench.clock.now)}
    said = douyin(
        bench, "/order/searchList", span | {"page": 0, "size": 1},
        access_token=fresh["access_token"],
    )  # fmt: skip
    assert said["code"] == 10000


def test_within_the_last_hour_the_old_token_lives_one_hour_beside_the_new(bench: Bench) -> None:
    shop = bench.shop("DY01")
    bench.clock.pass_by(7 * 86_400 - 1800)
    wish = {"grant_type": "refresh_token", "refresh_token": f"{shop.access_token}-refresh"}
    assert douyin(bench, "/token/refresh", wish)["data"]["access_token"] != shop.access_token
    bench.clock.pass_by(3000)
    assert search(bench, *window(bench))["code"] == 10000
    bench.clock.pass_by(700)
    assert search(bench, *window(bench))["sub_code"] == "isv.access-token-expired"


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
