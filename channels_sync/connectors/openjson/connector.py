"""Any shop system that speaks JSON, described by options and a field map alone.

It may push orders, signed as our own webhook is (``channels.md`` 7), or serve lists by URL, or
both. What it is asked is options of the shop's credential (``docs/connectors.md`` lists them);
what its answers mean is the field map. Nothing of one particular system is in this code.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from http import HTTPStatus
from typing import Any, ClassVar, Final
from urllib.parse import quote, urlencode

from channels_sync.connectors.base import MAX_PUSHED, BaseConnector
from channels_sync.connectors.exchange import (
    Reply,
    endpoint,
    exchange,
    parse_reply,
    platform_error,
    raise_refusal,
    reading_reply,
    refuse_client_error,
)
from channels_sync.connectors.field_map import FieldMap
from channels_sync.connectors.openjson import reading
from channels_sync.connectors.openjson.templates import filled
from channels_sync.connectors.stamped import stamp_sign, verify_stamped
from channels_sync.connectors.strict_json import dump_compact, loads_strict
from channels_sync.connectors.values import CHINA, Node, unwrap
from channels_sync.contracts import (
    Census,
    Document,
    ErrorClass,
    Feed,
    Limit,
    Memo,
    MessageKind,
    Page,
    PlatformError,
    RawMessage,
    Rejected,
    ShipNotice,
    StockEcho,
    StockFigure,
    Told,
    TryLater,
    Unreadable,
    Unsupported,
    WebhookReply,
    WebhookRequest,
    Window,
)
from ordercenter.orders.contracts import EventDraft, OrderDraft, RefundDraft

MAX_PAGES: Final = 1_000
MAX_ROWS: Final = 10_000
"""More rows than this are no page."""
KINDS: Final[Mapping[str, MessageKind]] = {
    "orders": MessageKind.ORDER,
    "refunds": MessageKind.REFUND,
}
_FINAL: Final = frozenset({400, 404, 405, 409, 410, 422})


class OpenJsonConnector(BaseConnector):
    """One shop of a system nobody has written a connector for."""

    channel: ClassVar[str] = reading.CHANNEL
    feeds: ClassVar[tuple[Feed, ...]] = (
        Feed("orders", 24 * 3600, 60),
        Feed("refunds", 24 * 3600, 60),
    )
    limits: ClassVar[Mapping[str, Limit]] = {"*": Limit(per_second=5, burst=10)}
    # Each telling carries its key (``Idempotency-Key``), and a figure is set, not added.
    repeatable: ClassVar[frozenset[type]] = frozenset({ShipNotice, StockFigure})
    default_map: ClassVar[FieldMap | None] = FieldMap.packaged("openjson")

    # --- options ---

    def _option(self, name: str) -> str:
        return self.access.options.get(name, "")

    def _template(self, name: str) -> Any:
        """A JSON option; ``{}`` where there is none. Raises Rejected where it is no JSON."""
        try:
            return loads_strict((self._option(name) or "{}").encode())
        except Unreadable as error:
            words = f"店铺参数 {name} 有误：{error}"
            raise Rejected(PlatformError(ErrorClass.BUSINESS, "bad_option", words)) from error

    def _moment(self, moment: datetime) -> str:
        """A moment as the option ``time_format`` says: iso, china, unix or unix_ms."""
        seconds = int(moment.timestamp())
        spelled = {
            "unix": str(seconds),
            "unix_ms": str(seconds * 1000),
            "china": moment.astimezone(CHINA).strftime("%Y-%m-%d %H:%M:%S"),
        }
        iso = moment.astimezone(CHINA).isoformat(timespec="seconds")
        return spelled.get(self._option("time_format"), iso)

    # --- calls ---

    def _ask(self, interface: str, path: str, query: Mapping[str, Any]) -> Node:
        asked = urlencode({key: text for key, text in query.items() if text not in ("", None)})
        return self._send(interface, "GET", path + (f"?{asked}" if asked else ""), b"")

    def _send(self, interface: str, method: str, path: str, body: bytes, key: str = "") -> Node:
        """Call, and again as the line allows; a ``key`` marks a write. Raises ConnectorError."""
        return self.with_token(lambda: self._once(interface, method, path, body, key))

    def _once(self, interface: str, method: str, path: str, body: bytes, key: str) -> Node:
        writes = bool(key)
        timestamp = str(int(self.now().timestamp()))
        headers = {
            "Content-Type": "application/json",
            "X-Timestamp": timestamp,
            "X-Signature": stamp_sign(self.access.app_secret, timestamp, body),
            **({"Idempotency-Key": key} if key else {}),
        }
        if self.access.access_token:
            prefix = self.access.options.get("auth_prefix", "Bearer ")
            headers[self._option("auth_header") or "Authorization"] = (
                prefix + self.access.access_token
            )
        with self.calling(interface):
            url = endpoint(self.access.base_url, path)
            request = self.client.build_request(method, url, content=body, headers=headers)
            reply = exchange(self.client, request, writes=writes)
            self._refuse_status(reply)
            answer = parse_reply(reply.body, writes=writes)
            with reading_reply(writes=writes):
                node = Node({"rows": answer}) if isinstance(answer, list) else Node.of(answer)
                error = reading.error_of(node, self.field_map)
            if error and (writes or reading.order_node(node, self.field_map) is None):
                raise_refusal(error, writes=writes)
            return node

    def _refuse_status(self, reply: Reply) -> None:
        if reply.status in _FINAL:
            words = f"对方系统拒绝了请求（HTTP {reply.status}）"
            raise Rejected(PlatformError(ErrorClass.BUSINESS, f"http_{reply.status}", words))
        refuse_client_error(reply)

    # --- pulling ---

    def pull(self, feed: str, window: Window) -> Iterator[Page]:
        """Yield what changed within ``window``; nothing where the shop serves no such list."""
        if not self._option(f"{feed}_url"):
            return
        for number, rows in self._pages(feed, f"{feed}_query", window):
            kind = KINDS[feed]
            yield Page(tuple(self._message(kind, row) for row in rows), number)

    def census(self, window: Window) -> Census:
        """The numbers of the orders created within ``window``; option ``census_query``."""
        if not self._option("census_query"):
            raise Unsupported("按下单时间核对")
        pages = self._pages("orders", "census_query", window)
        numbers = (
            self._message(MessageKind.ORDER, row).channel_number for _, r in pages for row in r
        )
        return Census(frozenset(numbers) - {""})

    def _pages(self, feed: str, query: str, window: Window) -> Iterator[tuple[int, list[Any]]]:
        """Walk a list by its cursor or page numbers; raises TryLater where it does not add up."""
        template = self._template(query)
        by_number = "{page}" in self._option(query)
        facts = {"start": self._moment(window.start), "end": self._moment(window.end)}
        cursor, cursors, seen = "", {""}, set[bytes]()
        for number in range(1, MAX_PAGES + 1):
            asked = filled(template, {**facts, "cursor": cursor, "page": number})
            answer = self._ask(feed, self._option(f"{feed}_url"), asked)
            page = self.field_map.section("page").over(answer)
            with reading_reply():
                rows = unwrap(page.raw(feed))
                total = page.optional_whole("total")
                cursor = page.text("next_cursor")
                default = bool(cursor) or (by_number and bool(rows))
                has_next = page.boolean("has_next", default=default)
            if len(rows) > MAX_ROWS or not self._says_something(answer, feed):
                raise TryLater(platform_error("bad_body", "对方系统的答复里没有可用的列表"))
            seen.update(map(dump_compact, rows))
            yield number, rows
            if not has_next:
                break
            if not by_number and cursor in cursors:
                raise TryLater(platform_error("cursor_repeats", "对方系统的翻页游标没有前进"))
            cursors.add(cursor)
        else:
            raise TryLater(platform_error("page_cap", "对方系统一直称还有下一页，已停止翻页"))
        if total is not None and len(seen) < total:
            words = f"对方系统称有 {total} 条，分页只给出 {len(seen)} 条"
            raise TryLater(platform_error("incomplete", words))

    def _says_something(self, answer: Node, feed: str) -> bool:
        """Whether an answer is one of the system's at all: what names no list may be an empty
        one, but then something else in it is known."""
        page = self.field_map.section("page").over(answer)
        told = page.raw(feed) is not None or any(map(page.given, ("total", "has_next")))
        return told or self.field_map.section("answer").over(answer).given("code")

    def _message(self, kind: MessageKind, row: Any, event_id: str = "") -> RawMessage:
        node = Node(row if isinstance(row, Mapping) else {})
        section = "refund" if kind is MessageKind.REFUND else "order"
        inner = self.field_map.section("push").over(node).node_or_empty(section)
        found = (self.field_map.section(section).over(one) for one in (inner, node))
        number = next(filter(None, (one.optional_id("channel_number") for one in found)), "")
        return RawMessage(kind, dump_compact(row), number, event_id)

    def fetch(self, channel_number: str) -> RawMessage:
        order = self._order(channel_number)
        return RawMessage(MessageKind.ORDER, dump_compact(order.data), channel_number)

    def _order(self, channel_number: str) -> Node:
        if not self._option("order_url"):
            raise Unsupported("按单号查询")
        path = self._option("order_url").replace("{number}", quote(channel_number, safe=""))
        answer = self._ask("order", path, {})
        order = reading.order_node(answer, self.field_map)
        asked = channel_number
        if order is None or self._message(MessageKind.ORDER, order.data).channel_number != asked:
            raise TryLater(platform_error("bad_body", "对方系统没有给出所查的订单"))
        return order

    def test(self) -> None:
        now = self.now()
        if not self._option("orders_url"):
            raise Unsupported("连接测试：该店铺只接收推送")
        next(self._pages("orders", "orders_query", Window(now, now)))

    # --- telling ---

    def _tell(self, what: str, number: str, key: str, facts: Mapping[str, Any], lack: str) -> Node:
        """POST the option ``<what>_body``, filled, to ``<what>_url``."""
        if not self._option(f"{what}_url"):
            raise Unsupported(lack)
        path = self._option(f"{what}_url").replace("{number}", quote(number, safe=""))
        body = filled(self._template(f"{what}_body"), {**facts, "number": number, "key": key})
        return self._send(what, "POST", path, dump_compact(body), key)

    def ship(self, notice: ShipNotice) -> None:
        """Tell of a parcel; the other system must take the same ``Idempotency-Key`` once."""
        line = self._template("ship_line") or {"line_no": "{line}", "qty": "{quantity}"}
        facts = {
            "carrier": self.carrier_code(notice.carrier),
            "tracking_number": notice.tracking_number,
            "shipped_at": self._moment(notice.shipped_at),
            "lines": [
                filled(line, {"line": one.channel_line_id, "quantity": one.quantity})
                for one in notice.lines
            ],
        }
        self._tell("ship", notice.channel_number, notice.key, facts, "发货回传")

    @property
    def stock_interface(self) -> str:
        return "stock"

    def publish_stock(self, figure: StockFigure) -> StockEcho:
        facts = {
            "sku_id": figure.platform_sku_id,
            "item_id": figure.platform_item_id,
            "sku_code": figure.outer_code,
            "quantity": figure.quantity,
        }
        self._tell("stock", "", figure.key, facts, "库存同步")
        return StockEcho()

    def write_memo(self, memo: Memo) -> None:
        """Tell of a line to add; where the other system replaces the note, leave it out."""
        facts = {"text": memo.text, "flag": memo.flag}
        self._tell("memo", memo.channel_number, memo.key, facts, "修改备注")

    def knows(self, told: Told) -> bool | None:
        """Ask for the order's parcels; None where its field map does not tell them."""
        if not isinstance(told, ShipNotice) or not self._option("order_url"):
            return None
        parcels = reading.tracking_numbers(self._order(told.channel_number), self.field_map)
        return None if parcels is None else told.tracking_number in parcels

    # --- reading ---

    def read(self, body: bytes) -> OrderDraft:
        document = Node.of(loads_strict(body))
        return reading.read_order(
            reading.order_node(document, self.field_map) or document, self.field_map
        )

    def read_refund(self, body: bytes) -> RefundDraft:
        document = Node.of(loads_strict(body))
        return reading.read_refund(
            reading.refund_node(document, self.field_map) or document, self.field_map
        )

    def read_event(self, body: bytes) -> EventDraft:
        return reading.read_event(Node.of(loads_strict(body)), self.field_map)

    def read_document(self, body: bytes) -> Document:
        value = loads_strict(body)
        node = Node({"rows": value}) if isinstance(value, list) and value else Node.of(value)
        return reading.read_document(node, self.field_map)

    # --- being pushed to ---

    def verify(self, request: WebhookRequest) -> None:
        verify_stamped(self.access, request)

    def split(self, request: WebhookRequest) -> tuple[RawMessage, ...]:
        header = request.headers.get("x-event-id", "")
        try:
            return self._split(Node.of(loads_strict(request.body)), request.body, header)
        except Unreadable:
            return (RawMessage(MessageKind.UNREADABLE, request.body, event_id=header),)

    def _split(self, document: Node, body: bytes, header: str) -> tuple[RawMessage, ...]:
        """One row for a whole order, a refund or a hint; one each for a list of them."""
        push = self.field_map.section("push").over(document)
        event_id = push.optional_id("event_id") or header
        if reading.refund_node(document, self.field_map):
            kind = MessageKind.REFUND
        elif reading.order_node(document, self.field_map):
            kind = MessageKind.ORDER
        elif listed := self._listed(document, event_id):
            return listed
        elif event_id and push.optional_id("channel_number"):
            kind = MessageKind.EVENT
        else:
            raise Unreadable("按字段对照表认不出这是哪一种推送")
        number = push.optional_id("channel_number")
        if kind is not MessageKind.EVENT:
            number = self._message(kind, document.data).channel_number
        return (RawMessage(kind, body, number or "", event_id, push.time("occurred_at")),)

    def _listed(self, document: Node, event_id: str) -> tuple[RawMessage, ...]:
        page = self.field_map.section("page").over(document)
        rows = [(KINDS[name], row) for name in KINDS for row in unwrap(page.raw(name))]
        if len(rows) > MAX_PUSHED:
            raise Unreadable(f"一次推送超过 {MAX_PUSHED} 条")
        return tuple(
            self._message(kind, row, f"{event_id}#{at}" if event_id else "")
            for at, (kind, row) in enumerate(rows)
        )

    def acknowledge(self, request: WebhookRequest, *, duplicate: bool) -> WebhookReply:
        return WebhookReply(HTTPStatus.OK, dump_compact({"ok": True, "duplicate": duplicate}))
