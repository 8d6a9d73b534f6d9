"""Pinduoduo 拼多多 (``channels.md`` 4): lists, messages and tokens; writing is ``telling.py``.

Messages travel over a WebSocket, not over HTTP.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Final

from channels_sync.connectors.base import WithoutPush
from channels_sync.connectors.exchange import reading_reply
from channels_sync.connectors.field_map import FieldMap
from channels_sync.connectors.paging import Listing, ListPage, pull_backwards, slices
from channels_sync.connectors.pinduoduo.documents import read_document
from channels_sync.connectors.pinduoduo.messages import MessageLine, message_socket
from channels_sync.connectors.pinduoduo.reading import read_event, read_order, read_refund
from channels_sync.connectors.pinduoduo.telling import PinduoduoTelling
from channels_sync.connectors.pinduoduo.wire import (
    AUTHORIZE,
    CONFIRMED,
    ORDERS,
    REFRESH,
    REFUNDS,
    message_path,
)
from channels_sync.connectors.strict_json import dump_compact, loads_strict
from channels_sync.connectors.values import Node, id_text, unwrap
from channels_sync.contracts import (
    Census,
    Document,
    Feed,
    MessageKind,
    Page,
    RawMessage,
    Tokens,
    Unreadable,
    Window,
)
from ordercenter.orders.contracts import EventDraft, OrderDraft, RefundDraft

HALF_AN_HOUR: Final = 30 * 60
A_DAY: Final = 24 * 60 * 60
ALL: Final = {"order_status": 5, "refund_status": 5}
MESSAGE_URL: Final = "wss://message-api.pinduoduo.com"


class PinduoduoConnector(WithoutPush, PinduoduoTelling):
    """One Pinduoduo shop."""

    feeds: ClassVar[tuple[Feed, ...]] = (
        Feed("orders", HALF_AN_HOUR, 180),
        Feed("refunds", HALF_AN_HOUR, 180),
    )
    listens: ClassVar[bool] = True
    default_map: ClassVar[FieldMap | None] = FieldMap.packaged("pinduoduo")
    page_size: ClassVar[int] = 100

    # --- lists ------------------------------------------------------------------------------

    def pull(self, feed: str, window: Window) -> Iterator[Page]:
        """Yield what was modified within ``window`` in a feed, by half hours."""
        orders = Listing(self._count, self._page, self.page_size)
        refunds = Listing(self._refund_count, self._refund_page, self.page_size)
        listing = {"orders": orders, "refunds": refunds}[feed]
        for span in slices(window, self.feed(feed).max_window_seconds):
            yield from pull_backwards(span, listing)

    def fetch(self, channel_number: str) -> RawMessage:
        order = self.order(channel_number)
        return RawMessage(MessageKind.ORDER, dump_compact(order.data), channel_number)

    def census(self, window: Window) -> Census:
        """The orders confirmed in ``window``: the platform lists none before."""
        numbers: set[str] = set()
        counted = 0
        listing = Listing(self._confirmed_count, self._confirmed_page, self.page_size)
        for span in slices(window, A_DAY):
            counted += self._confirmed_count(span)
            for page in pull_backwards(span, listing):
                numbers |= {message.channel_number for message in page.messages}
        return Census(frozenset(numbers - {""}), counted)

    def test(self) -> None:
        end = self.now() - timedelta(seconds=self.feed("orders").settle_seconds)
        self._count(Window(end - timedelta(minutes=1), end))

    def _list(self, window: Window, page: int, *, use_has_next: bool) -> Node:
        span = _span("updated_at", window)
        query = {**span, **ALL, "is_lucky_flag": 0, **self._paging(page)}
        return self.call(ORDERS, {**query, "use_has_next": use_has_next})

    def _paging(self, page: int) -> dict[str, int]:
        return {"page": page, "page_size": self.page_size}

    def _count(self, window: Window) -> int:
        # Only without use_has_next does the platform tell the total, and with it the last page.
        return _total(self._list(window, 1, use_has_next=False))

    def _page(self, window: Window, number: int) -> ListPage:
        return _page(self._list(window, number, use_has_next=True), "order_sn_list")

    def _confirmed(self, window: Window, page: int, *, use_has_next: bool) -> Node:
        query = {**_span("confirm_at", window), **ALL, **self._paging(page)}
        return self.call(CONFIRMED, {**query, "use_has_next": use_has_next})

    def _confirmed_count(self, window: Window) -> int:
        return _total(self._confirmed(window, 1, use_has_next=False))

    def _confirmed_page(self, window: Window, number: int) -> ListPage:
        return _page(self._confirmed(window, number, use_has_next=True), "order_list")

    def _refunds(self, window: Window, page: int) -> Node:
        kinds = {"after_sales_status": 1, "after_sales_type": 1}
        span = _span("updated_at", window)
        return self.call(REFUNDS, {**span, **kinds, **self._paging(page)})

    def _refund_count(self, window: Window) -> int:
        return _total(self._refunds(window, 1))

    def _refund_page(self, window: Window, number: int) -> ListPage:
        return _page(self._refunds(window, number), "refund_list", MessageKind.REFUND)

    # --- messages ---------------------------------------------------------------------------

    def listen(
        self, take: Callable[[Sequence[RawMessage]], None], stop: Callable[[], bool]
    ) -> None:
        """Receive messages; each is confirmed once ``take`` has stored it.

        One application's line carries the messages of all its shops: with the option
        ``shop_id`` only this shop's are taken. The option ``message_url`` names the host.
        """
        access = self.access
        now = str(int(self.now().timestamp() * 1000))
        path = message_path(access.app_key, now, access.app_secret)
        with message_socket(access.options.get("message_url", MESSAGE_URL), path) as socket:
            mall = access.options.get("shop_id", "")
            MessageLine(socket, take, self._hint, mall=mall).run(stop)

    def _hint(self, body: bytes) -> RawMessage:
        """The inbox row of one message frame."""
        try:
            event = self.read_event(body)
        except Unreadable:
            return RawMessage(MessageKind.UNREADABLE, body)
        kind = MessageKind.EVENT if event.channel_number else MessageKind.NOTE
        number = event.channel_number or ""
        return RawMessage(kind, body, number, event.event_id, event.occurred_at)

    # --- tokens -----------------------------------------------------------------------------

    def exchange_code(self, code: str) -> Tokens:
        return self._tokens(self.call_for_token(AUTHORIZE, {"code": code}))

    def refresh(self, refresh_token: str) -> Tokens:
        """Trade a refresh token; the authorization itself grows no longer."""
        return self._tokens(self.call_for_token(REFRESH, {"refresh_token": refresh_token}))

    def _tokens(self, answer: Node) -> Tokens:
        with reading_reply():
            token = answer.text("access_token")
            if not token:
                raise Unreadable("平台没有给出令牌")
            writes = [self._expiry(answer, level) for level in ("w1_", "w2_")]
            return Tokens(
                access_token=token,
                expires_at=self._expiry(answer, ""),
                refresh_token=answer.text("refresh_token"),
                refresh_expires_at=self._expiry(answer, "refresh_token_"),
                write_expires_at=min(filter(None, writes), default=None),
                shop_id=answer.optional_id("owner_id") or "",
                shop_name=answer.text("owner_name"),
            )

    def _expiry(self, answer: Node, prefix: str) -> datetime | None:
        """``expires_at`` in seconds, else ``expires_in`` from now."""
        if moment := answer.optional_whole(f"{prefix}expires_at"):
            return datetime.fromtimestamp(moment, UTC)
        span = answer.optional_whole(f"{prefix}expires_in")
        return self.now() + timedelta(seconds=span) if span else None

    # --- reading ----------------------------------------------------------------------------

    def read(self, body: bytes) -> OrderDraft:
        return read_order(Node.of(loads_strict(body)), self.field_map)

    def read_refund(self, body: bytes) -> RefundDraft:
        return read_refund(Node.of(loads_strict(body)), self.field_map)

    def read_event(self, body: bytes) -> EventDraft:
        return read_event(Node.of(loads_strict(body)), self.field_map)

    def read_document(self, body: bytes) -> Document:
        return read_document(loads_strict(body), self.field_map)


def _span(what: str, window: Window) -> dict[str, int]:
    return {
        f"start_{what}": int(window.start.timestamp()),
        f"end_{what}": int(window.end.timestamp()),
    }


def _total(answer: Node) -> int:
    with reading_reply():
        return answer.whole("total_count")


def _page(answer: Node, key: str, kind: MessageKind = MessageKind.ORDER) -> ListPage:
    with reading_reply():
        rows = unwrap(answer.get(key))
    messages = tuple(RawMessage(kind, dump_compact(row), _order_sn(row)) for row in rows)
    has_next = answer.get("has_next") in (True, "true") if "has_next" in answer.data else None
    return ListPage(messages, has_next)


def _order_sn(row: Any) -> str:
    try:
        return id_text(row["order_sn"], "order_sn") if isinstance(row, Mapping) else ""
    except (Unreadable, KeyError):
        return ""
