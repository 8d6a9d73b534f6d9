"""Shopify (``channels.md`` 5).

GraphQL for asking, the REST shape in webhooks: one order reads the same from both. Money is
decimal text in the shop's currency, times are ISO 8601. A refusal often comes with HTTP 200.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, ClassVar, Final

from channels_sync.connectors.exchange import reading_reply
from channels_sync.connectors.field_map import FieldMap
from channels_sync.connectors.shopify import queries, reading
from channels_sync.connectors.shopify.telling import ShopifyTelling
from channels_sync.connectors.shopify.wire import (
    MAX_COST,
    MAX_PAGES,
    all_rows,
    endless,
    gid,
    next_cursor,
    no_such_order,
    number_of,
    rows_of,
)
from channels_sync.connectors.strict_json import dump_compact, loads_strict
from channels_sync.connectors.values import Node, china_time
from channels_sync.contracts import (
    Census,
    Document,
    Feed,
    MessageKind,
    Page,
    RawMessage,
    Rejected,
    Unreadable,
    WebhookReply,
    WebhookRequest,
    Window,
)
from ordercenter.orders.contracts import EventDraft, OrderDraft, RefundDraft

PAGE_SIZE: Final = 50
_POINTS_AN_ORDER: Final = 15.0
"""What one order of a list costs, about; the platform's own word corrects the account."""
_POINTS_OF_IDS: Final = 260.0
_OF_AN_ORDER: Final = ("orders/", "refunds/", "fulfillments/")
_FINE_FRACTION: Final = re.compile(r"(\.[0-9]{6})[0-9]+")


class ShopifyConnector(ShopifyTelling):
    """One Shopify store."""

    feeds: ClassVar[tuple[Feed, ...]] = (Feed("orders", 60 * 86_400, 60),)
    default_map: ClassVar[FieldMap | None] = FieldMap.packaged("shopify")

    # --- asking -----------------------------------------------------------------------------

    def pull(self, feed: str, window: Window) -> Iterator[Page]:
        """Yield orders changed since the window's start, ascending, and their refunds.

        The cursor holds the row's own time, so an order that changes meanwhile comes again
        further on and pushes none out of sight. Stops at the first row behind the window.
        """
        wanted = f"updated_at:>='{_stamp(window.start)}'"
        after: str | None = None
        size = PAGE_SIZE
        for number in range(1, MAX_PAGES + 1):
            orders, size = self._page(wanted, after, size)
            nodes = [self._whole(row) for row in rows_of(orders.data)]
            yield Page(tuple(_messages(nodes)), number)
            with reading_reply():
                after = next_cursor(orders, after)
            if after is None or _is_behind(nodes, window.end):
                return
        raise endless()

    def fetch(self, channel_number: str) -> RawMessage:
        data = self.ask(queries.ORDER, {"id": gid("Order", channel_number)}, cost=_POINTS_AN_ORDER)
        order = data.get("order")
        if not isinstance(order, Mapping):
            raise no_such_order()
        return RawMessage(MessageKind.ORDER, dump_compact(self._whole(order)), channel_number)

    def census(self, window: Window) -> Census:
        """The numbers of the orders created within the window, ids only."""
        wanted = f"created_at:>='{_stamp(window.start)}' AND created_at:<='{_stamp(window.end)}'"

        def page(after: str | None) -> Node:
            asked = {"q": wanted, "after": after}
            return self.ask(queries.CREATED, asked, cost=_POINTS_OF_IDS).node("orders")

        with reading_reply():
            rows = [Node.of(row, "orders") for row in all_rows(page(None), page)]
            return Census(frozenset(number_of(row.get("id")) or row.id("id") for row in rows))

    def test(self) -> None:
        self.ask(queries.SHOP, {})

    def _page(self, wanted: str, after: str | None, size: int) -> tuple[Node, int]:
        """One page and the size it came in: a query too dear for the shop's plan is halved."""
        while True:
            asked = {"q": wanted, "first": size, "after": after}
            try:
                data = self.ask(queries.ORDERS, asked, cost=size * _POINTS_AN_ORDER)
            except Rejected as error:
                if error.error.code != MAX_COST or size == 1:
                    raise
                size //= 2
            else:
                return data.node_or_empty("orders"), size

    def _whole(self, row: Any) -> Any:
        """An order of a list with all its lines: a long one is asked on to its end."""
        items = Node(row).node_or_empty("lineItems") if isinstance(row, Mapping) else Node({})
        if items.node_or_empty("pageInfo").get("hasNextPage") is not True:
            return row

        def more(after: str) -> Node:
            wanted = {"id": row.get("id"), "after": after}
            data = self.ask(queries.MORE_LINES, wanted, cost=_POINTS_OF_IDS)
            return data.node("order").node("lineItems")

        with reading_reply():
            lines = list(all_rows(items, more))
        done = {"hasNextPage": False, "endCursor": None}
        return {**row, "lineItems": {"nodes": lines, "pageInfo": done}}

    # --- reading ----------------------------------------------------------------------------

    def read(self, body: bytes) -> OrderDraft:
        return reading.read_order(Node.of(loads_strict(body)), self.field_map)

    def read_refund(self, body: bytes) -> RefundDraft:
        return reading.read_refund(Node.of(loads_strict(body)), self.field_map)

    def read_event(self, body: bytes) -> EventDraft:
        event = Node.of(loads_strict(body))
        return EventDraft(
            channel=self.channel,
            event_id=event.id("event_id"),
            topic=event.id("topic"),
            channel_number=_order_of(event.text("topic"), event.node_or_empty("payload")),
            occurred_at=china_time(event.get("triggered_at"), "triggered_at"),
        )

    def read_document(self, body: bytes) -> Document:
        return reading.read_document(Node.of(loads_strict(body)), self.field_map)

    # --- pushes -----------------------------------------------------------------------------

    def split(self, request: WebhookRequest) -> tuple[RawMessage, ...]:
        """A whole order or refund as it came; of anything else a hint with its topic."""
        topic = request.headers.get("x-shopify-topic", "")
        event_id = request.headers.get("x-shopify-webhook-id", "")
        try:
            payload = Node.of(loads_strict(request.body))
        except Unreadable:
            return (RawMessage(MessageKind.UNREADABLE, request.body, event_id=event_id),)
        number = _order_of(topic, payload) or ""
        at = _when(request, payload)
        body, kind = request.body, MessageKind.UNREADABLE
        if "line_items" in payload.data and "total_price" in payload.data:
            kind = MessageKind.ORDER
        elif "refund_line_items" in payload.data:
            kind = MessageKind.REFUND
        elif topic and event_id and (number or not topic.startswith(_OF_AN_ORDER)):
            kind = MessageKind.EVENT
            hint = {
                "topic": topic,
                "event_id": event_id,
                "triggered_at": None if at is None else at.isoformat(),
                "payload": payload.data,
            }
            body = dump_compact(hint)
        return (RawMessage(kind, body, number, event_id, at),)

    def acknowledge(self, request: WebhookRequest, *, duplicate: bool) -> WebhookReply:
        return WebhookReply(HTTPStatus.OK, b"{}")


# --- the wire ----------------------------------------------------------------------------------


def _stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _messages(nodes: Iterable[Any]) -> Iterator[RawMessage]:
    for row in nodes:
        order = row if isinstance(row, Mapping) else {}
        number = number_of(order.get("legacyResourceId")) or number_of(order.get("id")) or ""
        yield RawMessage(MessageKind.ORDER, dump_compact(row), number)
        for refund in rows_of(order.get("refunds")):
            if isinstance(refund, Mapping):
                whole = {"orderId": order.get("id"), "currency": order.get("currencyCode")}
                body = dump_compact({**whole, **refund})
                yield RawMessage(MessageKind.REFUND, body, number)


def _is_behind(nodes: Sequence[Any], end: datetime) -> bool:
    last = nodes[-1] if nodes else None
    moment = _moment(last.get("updatedAt")) if isinstance(last, Mapping) else None
    return moment is not None and moment > end


def _moment(value: Any) -> datetime | None:
    """A time as Shopify writes it, fractions down to nanoseconds cut; None where it is none."""
    try:
        return china_time(_FINE_FRACTION.sub(r"\1", value) if isinstance(value, str) else value, "")
    except Unreadable:
        return None


def _when(request: WebhookRequest, payload: Node) -> datetime | None:
    """When a push was set off, else what its body says of the last change."""
    triggered = _moment(request.headers.get("x-shopify-triggered-at"))
    return triggered or _moment(payload.get("updated_at"))


def _order_of(topic: str, payload: Node) -> str | None:
    """The order a webhook speaks of: its own id for ``orders/*``, else ``order_id``."""
    if topic == "orders/edited":
        return number_of(payload.node_or_empty("order_edit").get("order_id"))
    if topic.startswith("orders/") or "line_items" in payload.data:
        return number_of(payload.get("id"))
    return number_of(payload.get("order_id"))
