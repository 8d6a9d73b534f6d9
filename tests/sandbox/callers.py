"""A sandbox without a network or a clock of its own, and people who know how to call it."""

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
from starlette.types import ASGIApp

from ordercenter.sandbox.app import Sandbox, build
from ordercenter.sandbox.book import Book, Order, ShopConfig
from ordercenter.sandbox.platforms.jd import gateway as jd
from ordercenter.sandbox.platforms.pinduoduo import gateway as pinduoduo
from ordercenter.sandbox.platforms.taobao import gateway as taobao
from ordercenter.sandbox.seller import Seller, load_seller
from ordercenter.sandbox.wire import beijing

VECTORS = Path(__file__).parent.parent / "data" / "reference" / "signing_vectors.json"
NOW = 1_772_327_287.0  # 2026-03-01 09:08:07 in Beijing
ALL_TRADE_FIELDS = (
    "tid,tid_str,type,status,payment,total_fee,discount_fee,post_fee,created,pay_time,modified,"
    "buyer_message,has_buyer_message,seller_memo,seller_flag,buyer_nick,buyer_open_uid,num,"
    "receiver_name,receiver_state,receiver_city,receiver_district,receiver_address,"
    "receiver_mobile,receiver_phone,orders,promotion_details,consign_time,end_time"
)
ALL_ORDER_FIELDS = (
    "orderId,orderState,orderTotalPrice,sellerDiscount,orderSellerPrice,freightPrice,orderPayment,"
    "balanceUsed,actualPay,orderStartTime,paymentConfirmTime,modified,couponDetailList,"
    "consigneeInfo,itemInfoList,orderRemark,venderRemark,waybill,logisticsId,open_id_buyer"
)


class Clock:
    """Time is what the test says it is."""

    def __init__(self, now: float = NOW) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def pass_by(self, seconds: float) -> None:
        self.now += seconds


class Wire:
    """Calls an application as over HTTP, one call at a time."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    def get(self, path: str, **params: str) -> httpx.Response:
        return self._call("GET", path, params=params)

    def post(self, path: str, *, data: Any = None, json: Any = None) -> httpx.Response:
        return self._call("POST", path, data=data, json=json)

    def _call(self, method: str, path: str, **sent: Any) -> httpx.Response:
        async def call() -> httpx.Response:
            transport = httpx.ASGITransport(self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://sandbox") as client:
                return await client.request(method, path, **sent)

        return asyncio.run(call())


class Bench:
    """One sandbox on one book, and a client for each platform."""

    def __init__(
        self,
        *,
        data_dir: Path | None = None,
        clock: Clock | None = None,
        rate: float = 0.0,
        trouble: float = 0.0,
        seed: int = 1,
    ) -> None:
        self.clock = clock or Clock()
        self.seller: Seller = load_seller()
        self.book = Book(self.seller.shops, data_dir, self.clock)
        self.sandbox: Sandbox = build(
            self.book, self.seller, center="http://127.0.0.1:9", rate=rate, trouble=trouble,
            seed=seed,
        )  # fmt: skip
        self.market = self.sandbox.market
        self.http = Wire(self.sandbox.app)

    def shop(self, code: str) -> ShopConfig:
        return self.book.shops[code]

    def sell(self, shop: str, count: int = 1, kind: str = "") -> list[Order]:
        """Sell in ``shop``, a second apart."""
        sold: list[Order] = []
        for _ in range(count):
            self.clock.pass_by(1)
            sold += self.market.sell(kind, shop=shop, at_once=True)
        return sold

    def sell_paid(self, shop: str, count: int = 1) -> list[Order]:
        sold = self.sell(shop, count)
        for order in sold:
            if order.paid is None:
                self.book.pay(order)
        return sold

    def top(self, method: str, **params: str) -> dict[str, Any]:
        shop = self.shop("TB01")
        sent = {
            "app_key": shop.app_key,
            "method": method,
            "session": shop.access_token,
            "timestamp": beijing(self.clock.now),
            "v": "2.0",
            "format": "json",
            "sign_method": "hmac-sha256",
        } | params
        sent.setdefault("sign", taobao.sign(sent, shop.app_secret, sent["sign_method"]))
        return body(self.http.post("/taobao/router/rest", data=sent))

    def trades(self, start: float, end: float, **params: str) -> dict[str, Any]:
        return self.top(
            "taobao.trades.sold.increment.get",
            **{
                "fields": ALL_TRADE_FIELDS,
                "start_modified": beijing(start),
                "end_modified": beijing(end),
            }
            | params,
        )

    def jos(self, method: str, wish: Mapping[str, Any], **params: str) -> dict[str, Any]:
        shop = self.shop("JD01")
        sent = {
            "method": method,
            "app_key": shop.app_key,
            "access_token": shop.access_token,
            "timestamp": beijing(self.clock.now),
            "v": "2.0",
            "360buy_param_json": json.dumps(wish, ensure_ascii=False),
        } | params
        sent.setdefault("sign", jd.sign(sent, shop.app_secret))
        return body(self.http.post("/jd/routerjson", data=sent))

    def jd_search(self, start: float, end: float, **wish: str) -> dict[str, Any]:
        return self.jos(
            "jingdong.pop.order.search",
            {
                "start_date": beijing(start),
                "end_date": beijing(end),
                "order_state": "WAIT_SELLER_STOCK_OUT,LOCKED,PAUSE,TRADE_CANCELED,"
                "WAIT_GOODS_RECEIVE_CONFIRM,FINISHED_L",
                "optional_fields": ALL_ORDER_FIELDS,
                "page": "1",
                "page_size": "100",
                "sortType": "1",
                "dateType": "0",
            }
            | wish,
        )

    def pop(self, kind: str, **params: str) -> dict[str, Any]:
        shop = self.shop("PD01")
        sent = {
            "type": kind,
            "client_id": shop.app_key,
            "access_token": shop.access_token,
            "timestamp": str(int(self.clock.now)),
            "data_type": "JSON",
            "version": "V1",
        } | params
        sent.setdefault("sign", pinduoduo.sign(sent, shop.app_secret))
        return body(self.http.post("/pinduoduo/api/router", json=sent))

    def pdd_list(self, start: float, end: float, **params: str) -> dict[str, Any]:
        return self.pop(
            "pdd.order.number.list.increment.get",
            **{
                "start_updated_at": str(int(start)),
                "end_updated_at": str(int(end)),
                "order_status": "5",
                "refund_status": "5",
                "is_lucky_flag": "0",
            }
            | params,
        )

    def control(self, verb: str, **wish: Any) -> dict[str, Any]:
        return body(self.http.post(f"/control/{verb}", json=wish))


def body(response: httpx.Response) -> dict[str, Any]:
    facts: dict[str, Any] = response.json()
    return facts


def vectors(platform: str) -> list[dict[str, Any]]:
    """The signing vectors of ``platform`` that sign a call, published and computed."""
    every = json.loads(VECTORS.read_text(encoding="utf-8"))
    return [
        vector
        for vector in every
        if vector["platform"] == platform and {"method", "type"} & vector.get("params", {}).keys()
    ]
