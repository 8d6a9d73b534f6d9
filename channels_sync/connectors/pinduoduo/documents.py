"""What any document of Pinduoduo is: an answer, a frame, or one order or refund by itself."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from channels_sync.connectors.field_map import FieldMap
from channels_sync.connectors.pinduoduo.reading import (
    is_refund_detail,
    read_event,
    read_order,
    read_refund,
    refunded_skus,
)
from channels_sync.connectors.pinduoduo.wire import (
    CONFIRMED,
    METHODS,
    ORDERS,
    REFUND,
    REFUNDS,
    classify,
)
from channels_sync.connectors.values import Node
from channels_sync.contracts import Document, Unreadable


def read_document(value: Any, fields: FieldMap) -> Document:
    """Tell what ``value`` is. Raises Unreadable."""
    payload = Node.of(value)
    if error := classify(payload.data):
        return Document("error", error=error)
    if "commandType" in payload.data:
        return _frame(payload, fields)
    if _is_refund(payload):
        return _refund_list((payload,), {}, fields)
    if "order_sn" in payload.data:
        return Document("order", orders=(read_order(payload, fields),))
    keys = [key for key in payload.data if key.endswith("response")]
    if len(keys) != 1:
        raise Unreadable("不是拼多多开放平台的答复")
    return _answer(METHODS.get(keys[0], ""), payload.node(keys[0]), fields)


def _is_refund(node: Node) -> bool:
    return "after_sales_type" in node.data and "refund_amount" in node.data


def _frame(frame: Node, fields: FieldMap) -> Document:
    """A message, or a frame that keeps the line: HeartBeat and Ack say nothing."""
    if frame.text("commandType") != "Common":
        return Document("event_list")
    return Document("event_list", events=(read_event(frame, fields),))


def _answer(method: str, answer: Node, fields: FieldMap) -> Document:
    if _is_refund(answer):
        # Its outer key is not known for sure; "response" is the note's as well.
        return _refund_list((answer,), {"method": REFUND}, fields, detail=True)
    facts = {"method": method or None}
    read = next((read for key, read in _READERS.items() if key in answer.data), None)
    if read or (read := _LISTS.get(method)):  # an empty list may be left out with its key
        return read(answer, facts, fields)
    if not method and not {"is_success", "success"} & answer.data.keys():
        raise Unreadable("不是拼多多开放平台的答复")
    return Document("ack", facts={**facts, "ok": True})


def _order_list(answer: Node, facts: Mapping[str, object], fields: FieldMap) -> Document:
    name = "order_sn_list" if "order_sn_list" in answer.data else "order_list"
    orders = tuple(read_order(order, fields) for order in answer.nodes(name))
    return Document("order_list", orders=orders, facts={**facts, "page": _page_facts(answer)})


def _order_info(answer: Node, facts: Mapping[str, object], fields: FieldMap) -> Document:
    order = read_order(answer.node("order_info"), fields)
    return Document("order", orders=(order,), facts=facts)


def _refunds(answer: Node, facts: Mapping[str, object], fields: FieldMap) -> Document:
    page = {**facts, "page": _page_facts(answer)}
    return _refund_list(answer.nodes("refund_list"), page, fields)


def _page_facts(answer: Node) -> dict[str, object]:
    """With ``has_next`` the platform gives 0 for a total it has not counted."""
    if answer.get("has_next") is not None:
        return {"has_next": answer.boolean("has_next"), "total": None}
    return {"has_next": None, "total": answer.optional_whole("total_count")}


def _refund_list(
    refunds: Sequence[Node],
    facts: Mapping[str, object],
    fields: FieldMap,
    *,
    detail: bool | None = None,
) -> Document:
    return Document(
        "refund_list",
        refunds=tuple(
            read_refund(one, fields, detail=is_refund_detail(one) if detail is None else detail)
            for one in refunds
        ),
        facts={**facts, "refund_facts": refunded_skus(refunds, fields)},
    )


def _token(answer: Node, facts: Mapping[str, object], _fields: FieldMap) -> Document:
    return Document(
        "token",
        facts={
            **facts,
            "access_token": answer.text("access_token"),
            "expires_in": answer.optional_whole("expires_in"),
            "shop_id": answer.optional_id("owner_id"),
            "shop_name": answer.given_text("owner_name"),
        },
    )


def _decrypted(answer: Node, facts: Mapping[str, object], _fields: FieldMap) -> Document:
    entries = [
        {
            "platform_order_no": entry.text("data_tag"),
            "ok": entry.whole("error_code", default=0) == 0,
            "code": str(entry.whole("error_code", default=0)),
        }
        for entry in answer.nodes("data_decrypt_list")
    ]
    return Document("decrypt", facts={**facts, "entries": entries})


def _open_refunds(answer: Node, facts: Mapping[str, object], _fields: FieldMap) -> Document:
    rows = answer.nodes("order_sns_exists_refund")
    numbers = [row.first_text("order_sn", "orderSn") for row in rows]
    return Document("ack", facts={**facts, "ok": True, "open_refunds": numbers})


def _states(answer: Node, facts: Mapping[str, object], _fields: FieldMap) -> Document:
    """``order.status.get`` spells the number in camel case (``channels.md`` 4b)."""
    entries = [
        {
            "platform_order_no": row.first_text("orderSn", "order_sn"),
            "order_status": row.optional_whole("order_status"),
            "refund_status": row.optional_whole("refund_status"),
        }
        for row in answer.nodes("order_status_list")
    ]
    return Document("ack", facts={**facts, "ok": True, "entries": entries})


Reader = Callable[[Node, Mapping[str, object], FieldMap], Document]

_READERS: Final[Mapping[str, Reader]] = {
    "order_sn_list": _order_list,
    "order_list": _order_list,
    "order_info": _order_info,
    "refund_list": _refunds,
    "access_token": _token,
    "data_decrypt_list": _decrypted,
    "order_sns_exists_refund": _open_refunds,
    "order_status_list": _states,
}
"""By the key that tells an answer's kind."""
_LISTS: Final[Mapping[str, Reader]] = {
    ORDERS: _order_list,
    CONFIRMED: _order_list,
    REFUNDS: _refunds,
}
