"""The mini-program shop's stand-in: signed tables, signed webhooks, WeChat's shipping desk."""

import hashlib
import hmac
import json
from typing import Any

import httpx
import pytest

from ordercenter.sandbox.book import DONE, SHIPPED, WAIT_SHIP, Order
from ordercenter.sandbox.platforms import crm as platform
from ordercenter.sandbox.wire import beijing
from tests.sandbox.callers import Bench
from tests.sandbox.wires import Center, call, crm, gaps, pusher_of, sample, vector

LONG_AGO = "2020-01-01 00:00:00"


def rows(bench: Bench, path: str = "/crm_order", **query: Any) -> dict[str, Any]:
    wish: dict[str, Any] = {"updated_at": LONG_AGO, "id": 0, "limit": 100} | query
    reply = crm(bench, path, **wish)
    assert reply.status_code == 200
    facts: dict[str, Any] = reply.json()
    return facts


def heard(bench: Bench) -> list[httpx.Request]:
    center = Center({"ok": True, "duplicate": False})
    center.take(pusher_of(bench, "crm").outgoing)
    return center.heard


# The tables


def test_rows_have_the_shape_of_the_captured_page(bench: Bench) -> None:
    bench.sell("MP01", 6)
    bench.sell("MP01", 1, "gift_short")
    wanted, given = sample("crm_webhook/db_rows_page.json"), rows(bench)
    assert not gaps(wanted, given)
    items = [json.loads(row["items_json"]) for row in given["rows"]]
    assert not gaps(json.loads(wanted["rows"][0]["items_json"]), items[0])
    assert items[-1][-1]["is_gift"] is True


def test_a_row_says_all_that_the_webhook_says(bench: Bench) -> None:
    order = bench.sell("MP01", 1, "gift_short")[0]
    row = rows(bench)["rows"][0]
    told = json.loads(heard(bench)[-1].content)["order"]
    assert json.loads(row["items_json"]) == told["items"]
    for name in ("order_no", "status", "total_amount", "discount_amount", "paid_amount"):
        assert row[name] == told[name]
    for name in ("member_no", "nickname", "level", "ip", "device_id"):
        assert row[f"buyer_{name}"] == told["buyer"][name]
    assert (told["buyer"]["ip"], row["receiver_phone"]) == (order.buyer.ip, order.receiver.phone)


def test_the_keyset_walks_over_rows_of_one_second_without_losing_any(bench: Bench) -> None:
    sold = {order.number for _ in range(9) for order in bench.market.sell("", shop="MP01")}
    cursor: dict[str, Any] = {"updated_at": LONG_AGO, "id": 0}
    seen: list[str] = []
    while True:
        page = rows(bench, limit=2, **cursor)
        if not page["rows"]:
            break
        seen += [row["order_no"] for row in page["rows"]]
        cursor = page["next_cursor"]
    assert sorted(seen) == sorted(sold)


def test_until_bounds_the_page(bench: Bench) -> None:
    first, second = bench.sell("MP01", 2)
    page = rows(bench, until=beijing(first.modified))
    assert [row["order_no"] for row in page["rows"]] == [first.number]
    assert second.number in {row["order_no"] for row in rows(bench)["rows"]}


def test_one_order_is_asked_for_by_its_number(bench: Bench) -> None:
    order = bench.sell("MP01")[0]
    found = crm(bench, f"/crm_order/{order.number}").json()
    assert [row["order_no"] for row in found["rows"]] == [order.number]
    assert crm(bench, "/crm_order/MP0").json() == {"table": "crm_order", "rows": []}


def test_refunds_are_rows_that_move_with_their_state(bench: Bench) -> None:
    order = bench.sell_paid("MP01")[0]
    bench.market.ask_refund(order)
    asked = rows(bench, "/crm_refund")
    assert [row["status"] for row in asked["rows"]] == ["pending"]
    bench.clock.pass_by(60)
    bench.book.settle_refund(order, order.refunds[0], DONE)
    done = rows(bench, "/crm_refund", **asked["next_cursor"])
    assert [row["status"] for row in done["rows"]] == ["success"]
    assert done["rows"][0]["refund_no"] == asked["rows"][0]["refund_no"]


def test_a_wrong_signature_or_a_stale_time_is_401(bench: Bench) -> None:
    stale = crm(bench, "/crm_order", timestamp=int(bench.clock.now) - 301, updated_at=LONG_AGO)
    assert (stale.status_code, stale.json()["error"]["code"]) == (401, "stale_timestamp")
    at = str(int(bench.clock.now))
    secret = bench.shop("MP01").app_secret
    signed = f"{at}./miniprogram/crm_order?updated_at=2020-01-01+00%3A00%3A00"
    headers = {
        "X-Timestamp": at,
        "X-Signature": hmac.new(secret.encode(), signed.encode(), hashlib.sha256).hexdigest(),
    }
    path = "/miniprogram/crm_order?updated_at=2020-01-01+00%3A00%3A00"
    assert call(bench, "GET", path, headers=headers).status_code == 200
    moved = call(bench, "GET", path + "&limit=5", headers=headers)
    assert moved.status_code == 401
    assert moved.json() == sample("crm_webhook/error_reply_bad_signature.json")
    assert call(bench, "GET", path).status_code == 401


@pytest.mark.parametrize(
    "query", [{"limit": 0}, {"limit": 501}, {"updated_at": "yesterday"}, {"id": "x"}]
)
def test_a_bad_parameter_is_400(bench: Bench, query: dict[str, Any]) -> None:
    wish: dict[str, Any] = {"updated_at": LONG_AGO, "id": 0} | query
    reply = crm(bench, "/crm_order", **wish)
    assert reply.status_code == 400


# Webhooks


def test_the_signature_is_the_vectors() -> None:
    facts = vector("crm-webhook-own")
    given = platform.crm_signature(
        facts["secret"], facts["headers"]["X-Timestamp"], facts["body"].encode()
    )
    assert given == facts["expected_signature"]


def test_a_payment_is_told_in_the_captured_shape_and_signed(bench: Bench) -> None:
    bench.sell("MP01", 1, "gift_short")
    paid = next(r for r in heard(bench) if json.loads(r.content)["event"] == "order.paid")
    given = json.loads(paid.content)
    wanted = sample("crm_webhook/order_paid_discount_gift.json")
    assert not gaps(wanted | {"order": wanted["order"] | {"tags": []}}, given)
    assert given["event_id"] == paid.headers["X-Event-Id"]
    text = paid.headers["X-Timestamp"].encode() + b"." + paid.content
    secret = bench.shop("MP01").app_secret.encode()
    expected = hmac.new(secret, text, hashlib.sha256).hexdigest()
    assert paid.headers["X-Signature"] == expected
    assert str(paid.url) == "http://127.0.0.1:9/hooks/miniprogram/MP01/"


def test_a_repeated_webhook_is_the_same_event_signed_anew(bench: Bench) -> None:
    bench.sell("MP01", 1, "low_price")
    deaf = Center(status=500)
    outgoing = pusher_of(bench, "crm").outgoing
    deaf.take(outgoing)
    bench.clock.pass_by(400)
    again = heard(bench)
    assert {r.headers["X-Event-Id"] for r in deaf.heard} == {r.headers["X-Event-Id"] for r in again}
    assert int(again[0].headers["X-Timestamp"]) == int(bench.clock.now)


def test_a_refund_is_told_when_asked_and_when_done(bench: Bench) -> None:
    order = bench.sell("MP01", 1, "low_price")[0]
    bench.market.ask_refund(order)
    bench.book.settle_refund(order, order.refunds[0], DONE)
    told = [json.loads(request.content) for request in heard(bench)]
    refunds = [event for event in told if "refund" in event]
    assert [event["event"] for event in refunds] == ["refund.created", "refund.success"]
    assert not gaps(sample("crm_webhook/refund_created.json"), refunds[0])


# WeChat


def token(bench: Bench, **changed: Any) -> dict[str, Any]:
    shop = bench.shop("MP01")
    wish = {
        "grant_type": "client_credential",
        "appid": shop.app_key,
        "secret": shop.app_secret,
        "force_refresh": False,
    }
    reply = call(bench, "POST", "/miniprogram/cgi-bin/stable_token", json=wish | changed)
    facts: dict[str, Any] = reply.json()
    return facts


def upload(bench: Bench, order: Order, number: str = "SF1", **changed: Any) -> dict[str, Any]:
    path = "/miniprogram/wxa/sec/order/upload_shipping_info"
    key = {"order_number_type": 1, "out_trade_no": order.number}
    if mchid := bench.shop("MP01").options.get("mchid"):
        key["mchid"] = mchid
    parcel = {
        "tracking_no": number,
        "express_company": "SF",
        "item_desc": "家居用品",
        "contact": {"consignor_contact": "199****9001"},
    }
    wish = {
        "order_key": key,
        "delivery_mode": 1,
        "logistics_type": 1,
        "shipping_list": [parcel | changed.pop("parcel", {})],
        "upload_time": "2026-03-01T09:10:00.000+08:00",
    }
    access = changed.pop("access_token", token(bench).get("access_token", ""))
    reply = call(bench, "POST", f"{path}?access_token={access}", json=wish | changed)
    assert reply.status_code == 200
    facts: dict[str, Any] = reply.json()
    return facts


def test_the_stable_token_stays_until_shortly_before_its_end(bench: Bench) -> None:
    first = token(bench)
    assert not gaps(sample("wechat/stable_token_ok.json"), first)
    assert "errcode" not in first
    bench.clock.pass_by(3600)
    assert token(bench) == first | {"expires_in": 3600}
    bench.clock.pass_by(3500)
    assert token(bench)["access_token"] != first["access_token"]


def test_forcing_a_token_ends_the_old_one_and_has_its_limits(bench: Bench) -> None:
    old = token(bench)["access_token"]
    order = bench.sell_paid("MP01")[0]
    assert token(bench, force_refresh=True)["access_token"] != old
    assert upload(bench, order, access_token=old)["errcode"] == 40001
    assert token(bench, force_refresh=True)["errcode"] == 45011
    for _ in range(19):
        bench.clock.pass_by(31)
        assert "errcode" not in token(bench, force_refresh=True)
    bench.clock.pass_by(31)
    assert token(bench, force_refresh=True)["errcode"] == 45009


@pytest.mark.parametrize(
    ("changed", "code"),
    [({"secret": "x"}, 40125), ({"appid": "x"}, 40013), ({"grant_type": "x"}, 40002)],
)
def test_a_token_is_not_for_everyone(bench: Bench, changed: dict[str, str], code: int) -> None:
    assert token(bench, **changed)["errcode"] == code


def test_an_uploaded_parcel_ships_the_order_and_repeats_change_nothing(bench: Bench) -> None:
    order = bench.sell_paid("MP01")[0]
    assert upload(bench, order) == sample("wechat/wxa_sec_upload_shipping_info_ok.json")
    assert order.state == SHIPPED
    assert upload(bench, order)["errcode"] == 10060023
    assert upload(bench, order, "SF2")["errcode"] == 10060002
    assert [s.tracking_number for s in order.shipments] == ["SF1"]


def test_a_split_delivery_ships_the_order_with_its_last_parcel(bench: Bench) -> None:
    order = bench.sell_paid("MP01")[0]
    upload(bench, order, "SF1", delivery_mode=2, is_all_delivered=False)
    assert order.state == WAIT_SHIP
    upload(bench, order, "SF2", delivery_mode=2, is_all_delivered=True)
    assert order.state == SHIPPED


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"access_token": "x"}, 40001),
        ({"parcel": {"contact": {}}}, 10060014),
        ({"parcel": {"contact": {"consignor_contact": "19900009001"}}}, 10060014),
        ({"parcel": {"express_company": "shunfeng"}}, 10060014),
        ({"upload_time": "2026-03-01 09:10:00"}, 10060014),
        ({"delivery_mode": 3}, 10060014),
        ({"delivery_mode": 2}, 10060014),
        ({"order_key": {"order_number_type": 1, "out_trade_no": "MP0"}}, 10060001),
        ({"payer": {"openid": "another"}}, 10060001),
    ],
)
def test_a_bad_upload_is_refused_with_http_200(
    bench: Bench, changed: dict[str, Any], code: int
) -> None:
    order = bench.sell_paid("MP01")[0]
    assert upload(bench, order, **changed)["errcode"] == code
    assert not order.shipments


def test_an_unpaid_order_has_no_payment_to_ship(bench: Bench) -> None:
    order = bench.sell("MP01")[0]
    while order.paid is not None:
        order = bench.sell("MP01")[0]
    assert upload(bench, order)["errcode"] == 10060001


# What the desk knows of payments


def desk(bench: Bench, name: str, **wish: Any) -> dict[str, Any]:
    path = f"/miniprogram/wxa/sec/order/{name}?access_token={token(bench)['access_token']}"
    facts: dict[str, Any] = call(bench, "POST", path, json=wish).json()
    return facts


def test_a_payment_is_known_without_its_lines(bench: Bench) -> None:
    order = bench.sell_paid("MP01")[0]
    found = desk(bench, "get_order", merchant_trade_no=order.number)["order"]
    assert not gaps(sample("wechat/wxa_sec_get_order_list.json")["order_list"][0], found)
    by_payment = desk(bench, "get_order", transaction_id=found["transaction_id"])
    assert by_payment["order"] == found
    assert (found["paid_amount"], found["order_state"]) == (order.payable_fen, 1)
    assert desk(bench, "get_order", merchant_trade_no="MP0")["errcode"] == 10060001
    assert desk(bench, "get_order")["errcode"] == 10060014


def test_payments_are_listed_page_by_page_and_by_state(bench: Bench) -> None:
    sold = bench.sell_paid("MP01", 5)
    upload(bench, sold[0])
    first = desk(bench, "get_order_list", page_size=2)
    assert not gaps(sample("wechat/wxa_sec_get_order_list.json"), first)
    seen, page = [row["merchant_trade_no"] for row in first["order_list"]], first
    while page["has_more"]:
        page = desk(bench, "get_order_list", page_size=2, last_index=page["last_index"])
        seen += [row["merchant_trade_no"] for row in page["order_list"]]
    by_payment = sorted(sold, key=lambda o: (int(o.paid or 0), o.number))
    assert seen == [order.number for order in by_payment]
    gone = desk(bench, "get_order_list", order_state=2)["order_list"]
    assert [row["merchant_trade_no"] for row in gone] == [sold[0].number]
    assert gone[0]["shipping"]["shipping_list"][0]["tracking_no"] == "SF1"
    span = {"begin_time": int(bench.clock.now) + 5, "end_time": int(bench.clock.now) + 9}
    assert desk(bench, "get_order_list", pay_time_range=span)["order_list"] == []
    assert desk(bench, "get_order_list", page_size=101)["errcode"] == 10060014


def test_virtual_goods_need_no_tracking_number(bench: Bench) -> None:
    order = bench.sell_paid("MP01")[0]
    nothing = {"tracking_no": "", "express_company": "", "contact": {}}
    assert upload(bench, order, logistics_type=3, parcel=nothing)["errcode"] == 0
    assert (order.state, order.shipments[0].is_virtual) == (SHIPPED, True)
    found = desk(bench, "get_order", merchant_trade_no=order.number)["order"]["shipping"]
    assert (found["logistics_type"], found["shipping_list"]) == (3, [])
    other = bench.sell_paid("MP01")[0]
    assert upload(bench, other, logistics_type=2)["errcode"] == 10060014
