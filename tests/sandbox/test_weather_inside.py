"""The weather reaches Douyin, Shopify, WeChat and the CRM: late, odd, expired, skewed, replayed."""

import hashlib
import hmac
import json
from typing import Any

import httpx
import pytest

from ordercenter.sandbox.book import Order
from tests.sandbox.callers import Bench
from tests.sandbox.wires import Center, call, crm, douyin, graphql, pusher_of

PUSHERS = {
    "DY01": "douyin.pushing",
    "SH01": "shopify.webhooks",
    "WX01": "wechat.pushing",
    "MP01": "platforms.crm",
}


def wechat(bench: Bench, path: str, token: str = "", **wish: Any) -> dict[str, Any]:
    token = token or bench.shop("WX01").access_token
    facts: dict[str, Any] = call(
        bench, "POST", f"/wechat/channels/ec{path}?access_token={token}", json=wish
    ).json()
    return facts


def detail(bench: Bench, order: Order) -> bool:
    """Whether the platform shows the order."""
    if order.shop == "DY01":
        said = douyin(bench, "/order/orderDetail", {"shop_order_id": order.number})
        return bool(said["code"] == 10000)
    if order.shop == "SH01":
        query = "query($id: ID!) { order(id: $id) { id } }"
        found = graphql(bench, query, id=f"gid://shopify/Order/{order.number}")
        return found["data"]["order"] is not None
    if order.shop == "WX01":
        return bool(wechat(bench, "/order/get", order_id=order.number)["errcode"] == 0)
    return bool(crm(bench, f"/crm_order/{order.number}").json()["rows"])


@pytest.mark.parametrize("shop", sorted(PUSHERS))
def test_a_detail_comes_late(bench: Bench, shop: str) -> None:
    channel = bench.shop(shop).channel
    bench.book.weather.order(channel, "late_detail", share=1.0, late=20)
    order = bench.sell_paid(shop)[0]
    assert detail(bench, order) is False
    bench.clock.pass_by(21)
    assert detail(bench, order) is True
    assert bench.book.weather.served[channel, "late_detail"] == 1


@pytest.mark.parametrize("shop", sorted(PUSHERS))
def test_a_replay_has_other_ids_unless_it_is_as_it_was(bench: Bench, shop: str) -> None:
    outgoing = pusher_of(bench, PUSHERS[shop]).outgoing
    outgoing.twice = 0.0

    def ids() -> list[str]:
        known = len(bench.book.records["push"])
        for _ in range(8):  # what nobody takes is given up
            Center(status=200).take(outgoing)
            bench.clock.pass_by(100)
        return sorted(row["id"] for row in bench.book.records["push"][known:])

    bench.sell(shop, 1, "low_price")
    first = ids()
    assert len(first) == len(set(first)) >= 2
    span = {"since": 0, "until": bench.clock.now}
    said = bench.control("replay", shop=shop, **span)
    assert (said["renewed"], said["as_they_were"]) == (len(first), 0)
    assert not set(first) & set(ids())
    bench.control("replay", shop=shop, as_is=True, **span)
    assert ids() == first


@pytest.mark.parametrize("shop", ["DY01", "WX01"])
def test_a_platforms_clock_may_be_ahead(bench: Bench, shop: str) -> None:
    bench.book.weather.order(bench.shop(shop).channel, "clock_skew", offset=500)
    order = bench.sell_paid(shop)[0]
    assert order.modified == bench.clock.now + 500
    if shop == "DY01":
        wish = {"shop_order_id": order.number}
        ours = str(int(bench.clock.now) - 200)
        said = douyin(bench, "/order/orderDetail", wish, timestamp=ours)
        assert said["sub_code"] == "isv.timestamp-invalid"


def test_wechats_tokens_die_and_are_given_anew(bench: Bench) -> None:
    order, shop = bench.sell_paid("WX01")[0], bench.shop("WX01")
    old = shop.access_token
    bench.book.kill_token("WX01")
    assert wechat(bench, "/order/get", old, order_id=order.number)["errcode"] == 40001
    grant = {"grant_type": "client_credential", "appid": shop.app_key, "secret": shop.app_secret}
    fresh = call(bench, "POST", "/wechat/cgi-bin/stable_token", json=grant).json()["access_token"]
    assert wechat(bench, "/order/get", fresh, order_id=order.number)["errcode"] == 0
    assert wechat(bench, "/order/get", old, order_id=order.number)["errcode"] == 40001


def test_a_shop_without_refresh_keeps_its_token_in_general_weather(bench: Bench) -> None:
    bench.book.weather.order("*", "token_expiry", share=1.0)
    assert "data" in graphql(bench, "{ shop { name } }")
    bench.book.weather.order("shopify", "token_expiry", share=1.0)
    headers = {"X-Shopify-Access-Token": bench.shop("SH01").access_token}
    path = "/shopify/admin/api/2026-04/graphql.json"
    body = {"query": "{ shop { name } }"}
    assert call(bench, "POST", path, json=body, headers=headers).status_code == 401


def test_odd_shapes_are_the_same_order_in_other_words(bench: Bench) -> None:
    douyins, wechats = bench.sell_paid("DY01")[0], bench.sell_paid("WX01")[0]
    for channel in ("douyin", "wechat"):
        bench.book.weather.order(channel, "odd_shapes", share=1.0)
    said = douyin(bench, "/order/orderDetail", {"shop_order_id": douyins.number})
    odd = said["data"]["shop_order_detail"]
    assert odd["order_id"] == int(douyins.number)
    assert "logistics_info" not in odd
    order = wechat(bench, "/order/get", order_id=wechats.number)["order"]
    assert order["order_id"] == int(wechats.number)
    assert isinstance(order["order_detail"]["pay_info"]["pay_time"], str)
    assert "commission_infos" not in order["order_detail"]


def test_a_renewed_push_is_signed_anew(bench: Bench) -> None:
    outgoing = pusher_of(bench, "douyin.pushing").outgoing
    bench.sell("DY01", 1, "low_price")
    bench.control("replay", shop="DY01", since=0, until=bench.clock.now)
    center = Center({"code": 0})
    center.take(outgoing)
    shop = bench.shop("DY01")
    for request in center.heard:
        signed = shop.app_key.encode() + request.content + shop.app_secret.encode()
        expected = hashlib.md5(signed, usedforsecurity=False).hexdigest()
        assert hmac.compare_digest(request.headers["event-sign"], expected)
    assert len({json.loads(r.content)[0]["msg_id"] for r in center.heard}) == len(center.heard)


def test_ledger_and_writes_show_what_the_center_told(bench: Bench) -> None:
    order = bench.sell_paid("WX01")[0]
    wechat(bench, "/order/merchantnotes/update", order_id=order.number, merchant_notes="备注")
    told: httpx.Response = bench.http.get("/book/ledger", shop="WX01")
    facts = told.json()
    assert [row["memo"] for row in facts["orders"]] == ["备注"]
    assert set(facts["stock"].values()) >= {1_000}
    writes = bench.http.get("/book/writes", shop="WX01").json()["writes"]
    assert [(row["kind"], row["effects"]) for row in writes] == [("memo", 1)]
