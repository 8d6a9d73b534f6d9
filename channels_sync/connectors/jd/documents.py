"""Tell what any document of JOS says (``channels.md`` 2): for people, and for the tests."""

from collections.abc import Iterator, Mapping
from typing import Any

from channels_sync.connectors.field_map import FieldMap
from channels_sync.connectors.jd.orders import read_order, read_refund
from channels_sync.connectors.jd.wire import classify
from channels_sync.connectors.strict_json import loads_strict
from channels_sync.connectors.values import Node
from channels_sync.contracts import Document, Unreadable


def read_document(body: bytes, fields: FieldMap) -> Document:
    """Tell what ``body`` says. Raises Unreadable for what is no document of JOS."""
    payload = Node.of(loads_strict(body))
    if error := classify(payload.data):
        return Document("error", error=error)
    if "access_token" in payload.data:
        return _token(payload)
    if "applyRefundSum" in payload.data:
        return Document("refund_list", refunds=(read_refund(payload, fields),))
    if "orderId" in payload.data:
        return Document("order", orders=(read_order(payload, fields),))
    roots = [key for key in payload.data if key.endswith("_responce")]
    if len(roots) != 1:
        raise Unreadable("不是京东开放平台的答复")
    method = roots[0].removesuffix("_responce").replace("_", ".")
    return _answer(payload.node(roots[0]), fields, {"method": method})


def _answer(answer: Node, fields: FieldMap, facts: Mapping[str, object]) -> Document:
    """The answers differ by call in the name of the result, not in what lies within."""
    for result in _results(answer):
        keys = result.data.keys()
        if keys & {"orderInfoList", "orderTotal"}:
            return _orders(result, fields, facts)
        if "orderInfo" in keys:
            order = read_order(result.node("orderInfo"), fields)
            return Document("order", orders=(order,), facts=facts)
        if keys & {"totalCount", "applyRefundSum"} or _holds_refunds(result):
            return _refunds(result, fields, facts)
    return Document("ack", facts={**facts, "ok": True})


def _results(answer: Node) -> Iterator[Node]:
    yield answer
    for key, value in answer.data.items():
        if isinstance(value, Mapping):
            yield Node(value, answer.name(key))


def _orders(result: Node, fields: FieldMap, facts: Mapping[str, object]) -> Document:
    orders = tuple(read_order(row, fields) for row in result.nodes("orderInfoList"))
    page = {"has_next": None, "total": result.optional_whole("orderTotal")}
    return Document("order_list", orders=orders, facts={**facts, "page": page})


def _holds_refunds(result: Node) -> bool:
    rows: Any = result.get("result")
    first = rows[0] if isinstance(rows, list) and rows else rows
    return isinstance(first, Mapping) and "applyRefundSum" in first


def _refunds(result: Node, fields: FieldMap, facts: Mapping[str, object]) -> Document:
    rows = [result] if "applyRefundSum" in result.data else result.nodes("result")
    refunds = tuple(read_refund(row, fields) for row in rows)
    page = {"has_next": None, "total": result.optional_whole("totalCount")}
    return Document("refund_list", refunds=refunds, facts={**facts, "page": page})


def _token(payload: Node) -> Document:
    return Document(
        "token",
        facts={
            "access_token": payload.text("access_token"),
            "expires_in": payload.optional_whole("expires_in"),
            "shop_id": None,  # the answer names the user, not the shop
            "shop_name": None,
        },
    )
