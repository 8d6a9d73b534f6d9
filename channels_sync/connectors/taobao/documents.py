"""Tell what any document of TOP says (``channels.md`` 1): for people, and for the tests.

With ``simplify=true`` the root and the inner wrapper of lists are gone; both forms are read.
"""

from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import unquote

from channels_sync.connectors.field_map import FieldMap, Fields
from channels_sync.connectors.strict_json import loads_strict
from channels_sync.connectors.taobao.orders import CHANNEL, read_refund, read_trade
from channels_sync.connectors.taobao.wire import classify
from channels_sync.connectors.values import Node
from channels_sync.contracts import Document, ErrorClass, PlatformError, Unreadable
from ordercenter.orders.contracts import EventDraft

Facts = Mapping[str, object]

ROOTLESS: Final[Mapping[str, str]] = {
    "trades": "trades_sold_increment_get",
    "trade": "trade_fullinfo_get",
    "refunds": "refunds_receive_get",
    "refund": "refund_get",
    "messages": "tmc_messages_consume",
    "receiver_list": "top_oaid_decrypt",
    "tid_list": "top_oaid_merge",
    "shipping": "",
    "item": "",
    "is_success": "",
    "result": "",
    "has_next": "trades_sold_increment_get",
    "total_results": "trades_sold_increment_get",
}
"""What an answer without its root is, by the first of these keys it has."""


def read_document(body: bytes, fields: FieldMap) -> Document:
    """Tell what ``body`` says. Raises Unreadable for what is no document of TOP."""
    payload = Node.of(loads_strict(body))
    if error := classify(payload.data):
        return Document("error", error=error)
    return _single(payload, fields) or _reply(payload, fields)


def _single(payload: Node, fields: FieldMap) -> Document | None:
    """One token, message, refund or trade by itself, as the inbox keeps them."""
    keys = payload.data.keys()
    if "access_token" in keys:
        return _token(payload)
    if "topic" in keys:
        return Document("event", events=(read_event(payload, fields)[0],))
    if "refund_id" in keys:
        return Document("refund_list", refunds=(read_refund(payload, fields),))
    if "status" in keys and keys & {"tid", "tid_str"}:
        return Document("order", orders=(read_trade(payload, fields),))
    return None


def _reply(payload: Node, fields: FieldMap) -> Document:
    roots = [key for key in payload.data if key.endswith("_response")]
    if len(roots) == 1:
        name = roots[0].removesuffix("_response")
        return _answer(name, payload.node(roots[0]), fields, {"method": _method(name)})
    rootless = next((key for key in ROOTLESS if key in payload.data), None)
    if rootless is None:
        raise Unreadable("不是淘宝开放平台的答复")
    return _answer(ROOTLESS[rootless], payload, fields, {})


def _method(name: str) -> str:
    dotted = name.replace("_", ".")
    return dotted if dotted.startswith(("alibaba.", "tmall.")) else f"taobao.{dotted}"


def _answer(name: str, answer: Node, fields: FieldMap, facts: Facts) -> Document:
    read = _trades if name.startswith("trades_sold_") else READERS.get(name)
    return _ack(answer, facts) if read is None else read(answer, fields, facts)


def _trade(answer: Node, fields: FieldMap, facts: Facts) -> Document:
    return Document("order", orders=(read_trade(answer.node("trade"), fields),), facts=facts)


def _refunds(answer: Node, fields: FieldMap, facts: Facts) -> Document:
    rows = answer.nodes("refunds", "refund") or answer.nodes("refund")
    refunds = tuple(read_refund(row, fields) for row in rows)
    return Document("refund_list", refunds=refunds, facts={**facts, "page": _page(answer)})


def _merged(answer: Node, _fields: FieldMap, facts: Facts) -> Document:
    return Document("merge", facts={**facts, "groups": merge_groups(answer)})


def _trades(answer: Node, fields: FieldMap, facts: Facts) -> Document:
    """A page of trades; rows asked for by their numbers alone are numbers, not orders."""
    trades, numbers = [], []
    for row in answer.nodes("trades", "trade"):
        if row.data.keys() <= {"tid", "tid_str", "created"}:
            numbers.append(row.id("tid"))
        else:
            trades.append(read_trade(row, fields))
    listed = {"order_nos": numbers} if numbers else {}
    facts = {**facts, "page": _page(answer), **listed}
    return Document("order_list", orders=tuple(trades), facts=facts)


def _page(answer: Node) -> dict[str, object]:
    return {
        "has_next": answer.boolean("has_next") if "has_next" in answer.data else None,
        "total": answer.optional_whole("total_results"),
    }


def _ack(answer: Node, facts: Facts) -> Document:
    """An acknowledgement, unless a success flag inside says no."""
    for holder in (answer, answer.node_or_empty("shipping"), answer.node_or_empty("result")):
        for flag in ("is_success", "success"):
            if holder.get(flag) in (False, "false"):
                words = holder.first_text("error_msg", "error_info", "err_message", "msg")
                error = PlatformError(ErrorClass.BUSINESS, flag, words or "平台没有确认操作成功")
                return Document("error", error=error, facts=facts)
    return Document("ack", facts={**facts, "ok": True})


def _decrypted(answer: Node, _fields: FieldMap, facts: Facts) -> Document:
    entries = [
        {"platform_order_no": entry.text("tid"), "ok": entry.boolean("matched")}
        for entry in answer.nodes("receiver_list", "receiver")
    ]
    return Document("decrypt", facts={**facts, "entries": entries})


def merge_groups(answer: Node) -> list[tuple[str, ...]]:
    """Read ``tid_list``: each text names the trades that go to one receiver."""
    held = answer.get("tid_list")
    texts = held.get("string") if isinstance(held, Mapping) else held
    rows = [texts] if isinstance(texts, str) else texts or []
    if not isinstance(rows, list) or not all(isinstance(row, str) for row in rows):
        raise Unreadable("字段 tid_list 不是文本的列表")
    return [tuple(no.strip() for no in row.split(",") if no.strip()) for row in rows]


def _token(payload: Node) -> Document:
    nick = payload.given_text("taobao_user_nick")
    return Document(
        "token",
        facts={
            "access_token": payload.text("access_token"),
            "expires_in": payload.optional_whole("expires_in"),
            "shop_id": payload.optional_id("taobao_user_id"),
            "shop_name": None if nick is None else unquote(nick),
        },
    )


# --- messages ---------------------------------------------------------------------------------


def _events(answer: Node, fields: FieldMap, facts: Facts) -> Document:
    found = [read_event(message, fields) for message in answer.nodes("messages", "tmc_message")]
    refunds = {event.event_id: {"refund_id": refund} for event, refund in found if refund}
    return Document(
        "event_list",
        events=tuple(event for event, _ in found),
        facts={**facts, "event_facts": refunds},
    )


def read_event(message: Node, fields: FieldMap) -> tuple[EventDraft, str | None]:
    """Read one TMC message and the refund it is about. Raises Unreadable.

    ``content`` is JSON inside a text and is decoded once; topics about goods name no trade.
    """
    event = fields.section("event").over(message)
    content = fields.section("content").over(_content(event))
    draft = EventDraft(
        channel=CHANNEL,
        event_id=event.id("event_id"),
        topic=event.id("topic"),
        channel_number=content.optional_id("channel_number"),
        occurred_at=event.time("occurred_at"),
    )
    return draft, content.optional_id("refund_id")


def _content(event: Fields) -> Node:
    raw = event.raw("content")
    if isinstance(raw, str):
        raw = loads_strict(raw.encode(errors="surrogatepass")) if raw.strip() else {}
    return Node.of({} if raw is None else raw, "content")


READERS: Final[Mapping[str, Callable[[Node, FieldMap, Facts], Document]]] = {
    "trade_fullinfo_get": _trade,
    "trade_get": _trade,
    "refunds_receive_get": _refunds,
    "refund_get": _refunds,
    "tmc_messages_consume": _events,
    "top_oaid_decrypt": _decrypted,
    "top_oaid_merge": _merged,
}
"""By the name of the answer; lists of trades go by their common beginning."""
