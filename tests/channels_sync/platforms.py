"""Three small platforms for the tests: they answer lists as the real ones do, and misbehave.

They know the wire only, nothing of the connectors.
"""

import json
from collections.abc import Callable, Mapping
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import httpx

from channels_sync.connectors import CONNECTORS
from channels_sync.connectors.exchange import make_client
from channels_sync.contracts import Connector, OpenLine, ShopAccess, Window

REFERENCE = Path(__file__).parent.parent / "data" / "reference"
PAYLOADS = REFERENCE / "payloads"
NOW = datetime(2026, 3, 1, 1, 8, 7, tzinfo=UTC)
WINDOW = Window(NOW - timedelta(minutes=25), NOW - timedelta(minutes=5))

Answer = httpx.Response | dict[str, Any] | Exception


def payload(channel: str, name: str) -> dict[str, Any]:
    text = (PAYLOADS / channel / f"{name}.json").read_text(encoding="utf-8")
    document: dict[str, Any] = json.loads(text)
    return document


class Renewing(OpenLine):
    """A line that has another token whenever one is asked for."""

    def __init__(self) -> None:
        self.stale: list[str] = []

    def renew(self, stale_token: str) -> str:
        self.stale.append(stale_token)
        return f"{stale_token}-renewed"


class Platform:
    """One channel's gateway. ``orders`` and ``refunds`` are newest first; ``calls`` is the log."""

    channel = ""
    base_url = "https://gateway.example"

    def __init__(self, orders: int = 0, refunds: int = 0) -> None:
        self.orders = [self.order(n) for n in range(orders)]
        self.refunds = [self.refund(n) for n in range(refunds)]
        self.calls: list[tuple[str, dict[str, str]]] = []
        self.answers: dict[str, Answer] = {}
        self.before: Callable[[str, dict[str, str]], None] = lambda method, query: None
        self.requests: list[httpx.Request] = []
        self.line = Renewing()

    def connector(self, **options: str) -> Connector:
        access = ShopAccess(
            shop_code="t1",
            base_url=self.base_url,
            app_key="20000001",
            app_secret="a-secret",
            access_token="a-token",
            options=options,
        )
        client = make_client(transport=httpx.MockTransport(self._handle))
        return CONNECTORS[self.channel](access, client, lambda: NOW, line=self.line)

    def _handle(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        method, query = self.parse(request)
        self.calls.append((method, query))
        self.before(method, query)
        answer = self.answers.get(method) or self.answer(method, query)
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, httpx.Response) else httpx.Response(200, json=answer)

    def pages(self, method: str) -> list[int]:
        """The page numbers asked of ``method``, in order, the counting call first."""
        return [int(self.page_of(query)) for name, query in self.calls if name == method]

    def numbers(self) -> set[str]:
        return {self.number(order) for order in self.orders}

    def parse(self, request: httpx.Request) -> tuple[str, dict[str, str]]:
        raise NotImplementedError

    def token_of(self, request: httpx.Request) -> str:
        """The token a request was sent with."""
        form = dict(parse_qsl(request.content.decode()))
        return form.get("session") or form["access_token"]

    def answer(self, method: str, query: Mapping[str, str]) -> dict[str, Any]:
        raise NotImplementedError

    def page_of(self, query: Mapping[str, str]) -> str:
        raise NotImplementedError

    def order(self, n: int) -> dict[str, Any]:
        raise NotImplementedError

    def refund(self, n: int) -> dict[str, Any]:
        raise NotImplementedError

    def number(self, order: Mapping[str, Any]) -> str:
        raise NotImplementedError

    def shipped(self, tracking_number: str) -> dict[str, Any]:
        """The detail answer for order 0 with a parcel already on its way."""
        raise NotImplementedError


def _slice(rows: list[Any], number: str, size: str) -> list[Any]:
    start = (int(number) - 1) * int(size)
    return rows[start : start + int(size)]


class Taobao(Platform):
    channel = "taobao"
    list_method = "taobao.trades.sold.increment.get"
    refund_method = "taobao.refunds.receive.get"
    ship_method = "taobao.logistics.offline.send"
    detail_method = "taobao.trade.fullinfo.get"
    refusal = payload("taobao", "error_invalid_parameter")

    def parse(self, request: httpx.Request) -> tuple[str, dict[str, str]]:
        query = dict(parse_qsl(request.content.decode(), keep_blank_values=True))
        return query["method"], query

    def page_of(self, query: Mapping[str, str]) -> str:
        return query["page_no"]

    def order(self, n: int) -> dict[str, Any]:
        page = payload("taobao", "trades_sold_increment_get_page")
        trade = page["trades_sold_increment_get_response"]["trades"]["trade"][0]
        number = 2600000000000001000 + n
        return {**deepcopy(trade), "tid": number, "tid_str": str(number)}

    def refund(self, n: int) -> dict[str, Any]:
        page = payload("taobao", "refunds_receive_get_page")
        refund = page["refunds_receive_get_response"]["refunds"]["refund"][0]
        return {**refund, "refund_id": f"2600000000005{n:05d}"}

    def number(self, order: Mapping[str, Any]) -> str:
        return str(order["tid"])

    def answer(self, method: str, query: Mapping[str, str]) -> dict[str, Any]:
        if method == self.ship_method:
            return payload("taobao", "logistics_offline_send_ok")
        outer, inner, rows = (
            ("trades", "trade", self.orders)
            if method == self.list_method
            else ("refunds", "refund", self.refunds)
        )
        found = _slice(rows, query["page_no"], query["page_size"])
        content: dict[str, Any] = {outer: {inner: found} if found else {}}
        if query["use_has_next"] == "true":
            size = int(query["page_size"])
            content["has_next"] = int(query["page_no"]) * size < len(rows)
        else:
            content["total_results"] = len(rows)
        return {method.removeprefix("taobao.").replace(".", "_") + "_response": content}

    def shipped(self, tracking_number: str) -> dict[str, Any]:
        trade = self.order(0)
        trade["orders"]["order"][0]["invoice_no"] = tracking_number
        return {"trade_fullinfo_get_response": {"trade": trade}}


class Jd(Platform):
    channel = "jd"
    list_method = "jingdong.pop.order.search"
    refund_method = "jingdong.pop.afs.soa.refundapply.queryPageList"
    ship_method = "jingdong.pop.order.shipment"
    detail_method = "jingdong.pop.order.get"
    refusal = payload("jd", "pop_order_shipment_business_error")

    def parse(self, request: httpx.Request) -> tuple[str, dict[str, str]]:
        query = dict(parse_qsl(request.content.decode(), keep_blank_values=True))
        return query["method"], json.loads(query["360buy_param_json"])

    def page_of(self, query: Mapping[str, str]) -> str:
        return query["page"]

    def order(self, n: int) -> dict[str, Any]:
        page = payload("jd", "pop_order_search_page")
        result = page["jingdong_pop_order_search_responce"]["searchorderinfo_result"]
        return {**deepcopy(result["orderInfoList"][0]), "orderId": f"300000{n:06d}"}

    def refund(self, n: int) -> dict[str, Any]:
        page = payload("jd", "afs_refundapply_queryPageList")
        key = "jingdong_pop_afs_soa_refundapply_queryPageList_responce"
        return {**page[key]["queryResult"]["result"][0], "id": 900000000 + n}

    def number(self, order: Mapping[str, Any]) -> str:
        return str(order["orderId"])

    def answer(self, method: str, query: Mapping[str, str]) -> dict[str, Any]:
        key = method.replace(".", "_") + "_responce"
        if method == self.ship_method:
            return payload("jd", "pop_order_shipment_ok")
        if method == self.list_method:
            rows = _slice(self.orders, query["page"], query["page_size"])
            flags = {"success": "true", "numberCode": "10100000"}
            result = {"apiResult": flags, "orderTotal": str(len(self.orders))}
            if rows:
                result["orderInfoList"] = rows
            return {key: {"code": "0", "searchorderinfo_result": result}}
        found = _slice(self.refunds, query["pageIndex"], query["pageSize"])
        content = {"success": True, "totalCount": len(self.refunds), "result": found}
        return {key: {"code": "0", "queryResult": content}}

    def shipped(self, tracking_number: str) -> dict[str, Any]:
        detail = payload("jd", "pop_order_get_discount_gift_oaid")
        info = detail["jingdong_pop_order_get_responce"]["orderDetailInfo"]["orderInfo"]
        info |= {"orderId": self.order(0)["orderId"], "waybill": f"JD9,{tracking_number}|YT8"}
        return detail


class Pinduoduo(Platform):
    channel = "pinduoduo"
    list_method = "pdd.order.number.list.increment.get"
    refund_method = "pdd.refund.list.increment.get"
    ship_method = "pdd.logistics.online.send"
    detail_method = "pdd.order.information.get"
    refusal = {"error_response": {"error_code": 50008, "error_msg": "订单已发货", "sub_code": "1"}}

    def parse(self, request: httpx.Request) -> tuple[str, dict[str, str]]:
        query = json.loads(request.content)
        return query["type"], query

    def token_of(self, request: httpx.Request) -> str:
        return str(json.loads(request.content)["access_token"])

    def page_of(self, query: Mapping[str, str]) -> str:
        return query["page"]

    def order(self, n: int) -> dict[str, Any]:
        page = payload("pinduoduo", "order_number_list_increment_page")
        row = page["order_sn_increment_get_response"]["order_sn_list"][0]
        return {**deepcopy(row), "order_sn": f"260301-{n:015d}"}

    def refund(self, n: int) -> dict[str, Any]:
        page = payload("pinduoduo", "refund_list_increment_page")
        row = page["refund_increment_get_response"]["refund_list"][0]
        return {**row, "id": 91000000000 + n}

    def number(self, order: Mapping[str, Any]) -> str:
        return str(order["order_sn"])

    def answer(self, method: str, query: Mapping[str, str]) -> dict[str, Any]:
        if method == self.ship_method:
            return payload("pinduoduo", "logistics_online_send_ok")
        if method == "pdd.order.upload.extra.logistics":
            return payload("pinduoduo", "upload_extra_logistics_ok")
        if method == "pdd.order.list.get":
            return {"order_list_get_response": self._orders("order_list", query)}
        if method == self.refund_method:
            found = _slice(self.refunds, query["page"], query["page_size"])
            content = {"total_count": len(self.refunds), "refund_list": found or None}
            return {"refund_increment_get_response": content}
        return {"order_sn_increment_get_response": self._orders("order_sn_list", query)}

    def _orders(self, key: str, query: Mapping[str, str]) -> dict[str, Any]:
        rows = _slice(self.orders, query["page"], query["page_size"])
        if query["use_has_next"] == "true":
            more = int(query["page"]) * int(query["page_size"]) < len(self.orders)
            return {key: rows, "total_count": 0, "has_next": more}
        return {key: rows, "total_count": len(self.orders)}

    def shipped(self, tracking_number: str) -> dict[str, Any]:
        detail = payload("pinduoduo", "order_information_get_discount_gift_encrypted")
        info = detail["order_info_get_response"]["order_info"]
        info |= {"order_sn": self.order(0)["order_sn"], "tracking_number": tracking_number}
        return detail


PLATFORMS = (Taobao, Jd, Pinduoduo)
