"""What any document of Douyin is: an answer, a push, or one order or refund by itself."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from channels_sync.connectors.douyin.reading import (
    is_address_check,
    read_event,
    read_order,
    read_refund,
)
from channels_sync.connectors.douyin.wire import PARTLY_FAILED, error_of
from channels_sync.connectors.field_map import FieldMap
from channels_sync.connectors.values import Node
from channels_sync.contracts import Document, Unreadable

PAGE_SIZE: Final = 100
"""What a list has where it does not say."""


def read_document(value: Any, fields: FieldMap) -> Document:
    """Tell what ``value`` is. Raises Unreadable."""
    if value and isinstance(value, list):
        return _push(value, fields)
    answer = Node.of(value)
    if "tag" in answer.data and "msg_id" in answer.data:
        return _push([value], fields)
    if "code" not in answer.data:
        if (read := _reader_of(answer)) is None:
            raise Unreadable("不是抖店开放平台的报文")
        return read(answer, fields)
    error = error_of(answer)
    data = answer.node_or_empty("data")
    read = _reader_of(data)
    if error is None:
        return read(data, fields) if read else Document("ack", facts={"ok": True})
    if error.code == str(PARTLY_FAILED) and read:
        found = read(data, fields)
        return Document(
            found.kind,
            orders=found.orders,
            refunds=found.refunds,
            facts={**found.facts, "partly_failed": True},
        )
    return Document("error", error=error)


def _push(entries: list[Any], fields: FieldMap) -> Document:
    events = tuple(
        read_event(Node.of(entry, f"[{index}]"), fields)
        for index, entry in enumerate(entries)
        if not is_address_check(entry)
    )
    return Document("event_list", events=events)


def _facts(method: str, **more: object) -> Mapping[str, object]:
    return {"method": method, **more}


def _order_list(data: Node, fields: FieldMap) -> Document:
    orders = tuple(read_order(row, fields) for row in data.nodes("shop_order_list"))
    total = data.whole("total")
    page, size = data.whole("page", default=0), data.whole("size", default=PAGE_SIZE)
    facts = {"has_next": (page + 1) * size < total, "total": total, "page": page, "size": size}
    return Document("order_list", orders=orders, facts=_facts("order.searchList", page=facts))


def _refund_list(data: Node, fields: FieldMap) -> Document:
    refunds = tuple(read_refund(row, fields) for row in data.nodes("items"))
    facts = {"has_next": data.boolean("has_more"), "total": data.optional_whole("total")}
    return Document("refund_list", refunds=refunds, facts=_facts("afterSale.List", page=facts))


def _refund(data: Node, fields: FieldMap) -> Document:
    method = "afterSale.Detail" if "process_info" in data.data else "afterSale.List"
    return Document("refund_list", refunds=(read_refund(data, fields),), facts=_facts(method))


def _order_detail(data: Node, fields: FieldMap) -> Document:
    return _one_order(data.node("shop_order_detail"), fields)


def _one_order(data: Node, fields: FieldMap) -> Document:
    return Document("order", orders=(read_order(data, fields),), facts=_facts("order.orderDetail"))


def _decrypted(data: Node, _fields: FieldMap) -> Document:
    entries = [
        {
            "platform_order_no": one.text("auth_id"),
            "ok": one.whole("err_no", default=0) == 0,
            "code": str(one.whole("err_no", default=0)),
        }
        for one in data.nodes("decrypt_infos")
    ]
    return Document("decrypt", facts=_facts("order.batchDecrypt", entries=entries))


def _token(data: Node, _fields: FieldMap) -> Document:
    return Document(
        "token",
        facts={
            "access_token": data.text("access_token"),
            "expires_in": data.optional_whole("expires_in"),
            "shop_id": data.optional_id("shop_id"),
            "shop_name": data.given_text("shop_name"),
        },
    )


def _intercepted(data: Node, _fields: FieldMap) -> Document:
    """Each parcel of a wish to intercept is granted or refused by itself."""
    entries = [
        {
            "tracking_number": one.text("tracking_no"),
            "ok": one.boolean("is_success"),
            "reason": one.first_text("unavailable_reason"),
        }
        for one in data.nodes("intercept_results")
    ]
    ok = all(entry["ok"] for entry in entries)
    facts = _facts("afterSale.applyLogisticsIntercept", ok=ok, entries=entries)
    return Document("ack", facts=facts)


Reader = Callable[[Node, FieldMap], Document]

_READERS: Final[Mapping[str, Reader]] = {
    "shop_order_list": _order_list,
    "shop_order_detail": _order_detail,
    "sku_order_list": _one_order,
    "items": _refund_list,
    "has_more": _refund_list,
    "process_info": _refund,
    "aftersale_info": _refund,
    "decrypt_infos": _decrypted,
    "access_token": _token,
    "intercept_results": _intercepted,
}
"""By the key that tells a document's kind."""


def _reader_of(data: Node) -> Reader | None:
    found = next((read for key, read in _READERS.items() if key in data.data), None)
    if found is None and {"page", "total"} <= data.data.keys():
        return _order_list  # an empty list may be left out with its key
    return found
