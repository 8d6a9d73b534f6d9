"""The private-domain CRM (``channels.md`` 7): signed webhooks, and its tables of orders and
refunds read by keyset, over HTTP or, with the option ``source`` = ``database``, straight from
its PostgreSQL (secret ``database_url``)."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from http import HTTPStatus
from typing import Any, ClassVar, Final

from channels_sync.connectors.crm import database, reading
from channels_sync.connectors.crm.wire import CrmLine, crm_text, no_such_order
from channels_sync.connectors.field_map import FieldMap, any_time
from channels_sync.connectors.strict_json import dump_compact, loads_strict
from channels_sync.connectors.values import Node, optional_id
from channels_sync.contracts import (
    Census,
    Document,
    ErrorClass,
    Feed,
    MessageKind,
    Page,
    PlatformError,
    RawMessage,
    Rejected,
    Unreadable,
    WebhookReply,
    WebhookRequest,
    Window,
)
from ordercenter.orders.contracts import EventDraft, OrderDraft, RefundDraft

_TABLES: Final[Mapping[str, tuple[str, MessageKind]]] = {
    "orders": ("crm_order", MessageKind.ORDER),
    "refunds": ("crm_refund", MessageKind.REFUND),
}


class CrmConnector(CrmLine):
    """One shop of the seller's own CRM. It is told nothing: it ships nothing itself."""

    channel: ClassVar[str] = "crm_webhook"
    feeds: ClassVar[tuple[Feed, ...]] = (
        Feed("orders", 30 * 86_400, 60),
        Feed("refunds", 30 * 86_400, 60),
    )
    """Rows commit late: a row may appear with a time that has passed already."""
    default_map: ClassVar[FieldMap | None] = FieldMap.packaged("crm")

    # --- asking -----------------------------------------------------------------------------

    @property
    def dsn(self) -> str:
        """The database's address where the shop is read from it; empty for HTTP rows."""
        if self.access.options.get("source") != "database":
            return ""
        if found := self.access.secrets.get("database_url"):
            return found
        words = "没有填写商城数据库的连接地址（database_url）"
        raise Rejected(PlatformError(ErrorClass.AUTH, "no_database_url", words))

    def pull(self, feed: str, window: Window) -> Iterator[Page]:
        """Yield the window's rows by keyset, oldest first."""
        table, kind = _TABLES[feed]
        for number, messages in enumerate(self._messages(table, kind, window), 1):
            yield Page(tuple(messages), number)

    def _messages(
        self, table: str, kind: MessageKind, window: Window
    ) -> Iterator[Iterable[RawMessage]]:
        if not self.dsn:
            for rows in self.walk(table, window.start, window.end):
                yield (_message(kind, row) for row in rows)
            return
        pages = database.walk(self.dsn, table, window.start, window.end)
        while True:
            with self.calling("database"):
                found = next(pages, None)
            if found is None:
                return
            yield (RawMessage(kind, row.body, row.order_no) for row in found)

    def fetch(self, channel_number: str) -> RawMessage:
        if not self.dsn:
            body = dump_compact(self.row(channel_number))
            return RawMessage(MessageKind.ORDER, body, channel_number)
        with self.calling("database"):
            found = database.one(self.dsn, channel_number)
        if len(found) != 1:
            raise no_such_order()
        return RawMessage(MessageKind.ORDER, found[0].body, channel_number)

    def census(self, window: Window) -> Census:
        """The orders created within the window.

        Over HTTP rows go by their last change, which is never before their creation: every row
        changed since the window's start is looked at.
        """
        if self.dsn:
            with self.calling("database"):
                return Census(database.created(self.dsn, window))
        found: set[str] = set()
        for rows in self.walk("crm_order", window.start, self.now()):
            found.update(number for row in rows if (number := _created_in(row, window)))
        return Census(frozenset(found))

    def test(self) -> None:
        if self.dsn:
            with self.calling("database"):
                database.try_out(self.dsn)
            return
        now = self.now()
        self.rows("crm_order", (crm_text(now), 0), now, limit=1)

    # --- reading ----------------------------------------------------------------------------

    def read(self, body: bytes) -> OrderDraft:
        return reading.read_order(Node.of(loads_strict(body)), self.field_map, self.channel)

    def read_refund(self, body: bytes) -> RefundDraft:
        return reading.read_refund(Node.of(loads_strict(body)), self.field_map, self.channel)

    def read_event(self, body: bytes) -> EventDraft:
        return reading.read_event(Node.of(loads_strict(body)), self.field_map, self.channel)

    def read_document(self, body: bytes) -> Document:
        return reading.read_document(Node.of(loads_strict(body)), self.field_map, self.channel)

    # --- pushes -----------------------------------------------------------------------------

    def split(self, request: WebhookRequest) -> tuple[RawMessage, ...]:
        """The whole body, as an order or a refund; the signed ``event_id`` goes before the
        header's, which no signature covers."""
        header = request.headers.get("x-event-id", "")
        try:
            event = Node.of(loads_strict(request.body))
        except Unreadable:
            return (RawMessage(MessageKind.UNREADABLE, request.body, event_id=header),)
        event_id = event.optional_id("event_id") or header
        for key, kind in (("order", MessageKind.ORDER), ("refund", MessageKind.REFUND)):
            if key in event.data:
                number = event.node_or_empty(key).optional_id("order_no") or ""
                at = _moment(event.get("occurred_at"))
                return (RawMessage(kind, request.body, number, event_id, at),)
        return (RawMessage(MessageKind.UNREADABLE, request.body, event_id=event_id),)

    def acknowledge(self, request: WebhookRequest, *, duplicate: bool) -> WebhookReply:
        messages = self.split(request)
        event_id = messages[0].event_id if messages else ""
        reply = {"ok": True, "event_id": event_id, "duplicate": duplicate}
        return WebhookReply(HTTPStatus.OK, dump_compact(reply))


def _message(kind: MessageKind, row: Any) -> RawMessage:
    number = optional_id(row.get("order_no")) if isinstance(row, Mapping) else None
    return RawMessage(kind, dump_compact(row), number or "")


def _created_in(row: Any, window: Window) -> str | None:
    if not isinstance(row, Mapping):
        return None
    created = _moment(row.get("created_at"))
    is_in = created is not None and window.start <= created <= window.end
    return optional_id(row.get("order_no")) if is_in else None


def _moment(value: Any) -> datetime | None:
    try:
        return any_time(value, "")
    except Unreadable:
        return None
