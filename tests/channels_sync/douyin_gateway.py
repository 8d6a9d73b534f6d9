"""Douyin's gateway for the tests: it checks every signature, and lists as the real one does.

It knows the wire only, nothing of the connector.
"""

import hashlib
import hmac
import json
from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from channels_sync.connectors.douyin.connector import DouyinConnector
from channels_sync.connectors.exchange import make_client
from channels_sync.contracts import ShopAccess, Window
from tests.channels_sync.platforms import Renewing, payload

NOW = datetime(2026, 3, 1, 1, 8, 7, tzinfo=UTC)
WINDOW = Window(NOW - timedelta(minutes=30), NOW - timedelta(minutes=2))
ACCESS = ShopAccess(
    shop_code="DY01",
    base_url="https://openapi.example",
    app_key="7000000000000000001",
    app_secret="sandbox-douyin-secret",
    access_token="sandbox-douyin-token",
)
OK = {"code": 10000, "msg": "success", "sub_code": "", "sub_msg": ""}


class Gateway:
    """Answers lists as Douyin does: from page 0, newest first unless asked otherwise."""

    def __init__(self, orders: int = 0, refunds: int = 0) -> None:
        first = payload("douyin", "order_searchList_page")["data"]["shop_order_list"][0]
        refund = payload("douyin", "afterSale_List_page")["data"]["items"][0]
        self.orders = [
            {**deepcopy(first), "order_id": f"69{n:017d}", "update_time": 1772323800 + n}
            for n in range(orders)
        ]
        self.refunds = [deepcopy(refund) for _ in range(refunds)]
        for n, one in enumerate(self.refunds):
            one["aftersale_info"]["aftersale_id"] = f"70{n:016d}"
        self.requests: list[httpx.Request] = []
        self.answers: dict[str, Any] = {}
        self.after_list: Any = lambda page: None
        self.line = Renewing()

    def connector(self, **options: str) -> DouyinConnector:
        access = replace(ACCESS, options=options)
        client = make_client(transport=httpx.MockTransport(self._handle))
        return DouyinConnector(access, client, lambda: NOW, line=self.line)

    def params(self, at: int = -1) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.requests[at].content)
        return found

    def paths(self) -> list[str]:
        return [request.url.path for request in self.requests]

    def _handle(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        check_signature(request)
        params = json.loads(request.content)
        answer = self.answers.get(request.url.path)
        if isinstance(answer, list):
            answer = answer.pop(0)
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, httpx.Response):
            return answer
        if answer is None:
            answer = self._list(request.url.path, params)
        return httpx.Response(200, json=answer)

    def _list(self, path: str, params: dict[str, Any]) -> dict[str, Any]:
        page, size = params["page"], params["size"]
        if path == "/order/searchList":
            by = params["order_by"]
            rows = sorted(self.orders, key=lambda row: row[by], reverse=not params["order_asc"])
            found = rows[page * size : (page + 1) * size]
            data = {"page": page, "size": size, "total": len(rows), "shop_order_list": found}
            self.after_list(page)
        else:
            found = self.refunds[page * size : (page + 1) * size]
            more = (page + 1) * size < len(self.refunds)
            data = {"items": found, "has_more": more, "total": len(self.refunds)}
        return {**OK, "data": data}


def check_signature(request: httpx.Request) -> None:
    """The gateway's own reading of ``channels.md`` 3a."""
    query = dict(request.url.params)
    body = request.content.decode()
    assert body == json.dumps(
        json.loads(body), ensure_ascii=False, sort_keys=True, separators=(",", ":")
    )
    secret = ACCESS.app_secret
    text = (
        secret + "app_key" + query["app_key"] + "method" + query["method"] + "param_json" + body
    ) + ("timestamp" + query["timestamp"] + "v" + query["v"] + secret)
    found = hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()
    assert query["sign"] == found
    assert query["sign_method"] == "hmac-sha256"
    assert query["method"] == request.url.path.strip("/").replace("/", ".")


def detail(**changes: Any) -> dict[str, Any]:
    """The answer to one order asked for: the first of the list's payload, with ``changes``."""
    row = payload("douyin", "order_searchList_page")["data"]["shop_order_list"][0]
    return {**OK, "data": {"shop_order_detail": {**row, **changes}}}
