"""Taobao and Tmall over TOP (``channels.md`` 1).

Lists give whole trades, newest change first, so they are read from the last page to the first.
Messages are asked for, not pushed: TOP has no HTTP push.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, ClassVar, Final

from channels_sync.connectors.base import WithoutPush
from channels_sync.connectors.exchange import reading_reply
from channels_sync.connectors.field_map import FieldMap
from channels_sync.connectors.paging import Listing, ListPage, pull_backwards, slices
from channels_sync.connectors.strict_json import dump_compact, loads_strict
from channels_sync.connectors.taobao import documents
from channels_sync.connectors.taobao.messages import TaobaoMessages
from channels_sync.connectors.taobao.orders import read_refund, read_trade
from channels_sync.connectors.taobao.privacy import TaobaoPrivacy
from channels_sync.connectors.taobao.telling import TaobaoTelling
from channels_sync.connectors.taobao.wire import china_text
from channels_sync.connectors.values import Node, id_text, unwrap
from channels_sync.contracts import (
    Census,
    Document,
    Feed,
    MessageKind,
    Page,
    RawMessage,
    Unreadable,
    Window,
)
from ordercenter.orders.contracts import EventDraft, OrderDraft, RefundDraft

# Fields not asked for do not come and look like empty values.
TRADE_FIELDS: Final = ",".join(
    (
        "tid,tid_str,type,status,step_trade_status,step_paid_fee,payment,total_fee,discount_fee",
        "adjust_fee,post_fee,received_payment,created,pay_time,modified,consign_time,end_time",
        "buyer_message,has_buyer_message,seller_memo,seller_flag,buyer_nick,buyer_open_uid,num",
        "is_part_consign,top_hold,service_tags,receiver_name,receiver_state,receiver_city",
        "receiver_district,receiver_town,receiver_address,receiver_zip,receiver_mobile",
        "receiver_phone,oaid,orders,promotion_details",
    )
)
REFUND_FIELDS: Final = (
    "refund_id,tid,oid,refund_fee,total_fee,payment,status,good_status,has_good_return,reason,"
    "created,modified,refund_phase,refund_version,dispute_type,sid,company_name,sku,outer_id,"
    "num,price"
)


@dataclass(frozen=True, slots=True)
class _List:
    """One of TOP's lists: how it is asked and what its rows are."""

    method: str
    fields: str
    count_fields: str
    by: str
    outer: str
    inner: str
    kind: MessageKind


TRADES: Final = _List(
    "taobao.trades.sold.increment.get",
    TRADE_FIELDS,
    "tid",
    "modified",
    "trades",
    "trade",
    MessageKind.ORDER,
)
REFUNDS: Final = _List(
    "taobao.refunds.receive.get",
    REFUND_FIELDS,
    "refund_id",
    "modified",
    "refunds",
    "refund",
    MessageKind.REFUND,
)
CREATED: Final = _List(
    "taobao.trades.sold.get",
    "tid,created",
    "tid",
    "created",
    "trades",
    "trade",
    MessageKind.ORDER,
)


class TaobaoConnector(WithoutPush, TaobaoMessages, TaobaoTelling, TaobaoPrivacy):
    """One Taobao or Tmall shop. Its options stand at the parts it is made of."""

    channel: ClassVar[str] = "taobao"
    feeds: ClassVar[tuple[Feed, ...]] = (
        Feed("orders", 24 * 3600, 120),
        Feed("refunds", 24 * 3600, 120),
    )
    default_map: ClassVar[FieldMap | None] = FieldMap.packaged("taobao")
    page_size: ClassVar[int] = 100

    # --- pulling ---

    def pull(self, feed: str, window: Window) -> Iterator[Page]:
        """Yield the trades, or the refunds, modified within ``window``."""
        listing = self._listing({"orders": TRADES, "refunds": REFUNDS}[feed])
        for span in slices(window, self.feed(feed).max_window_seconds):
            yield from pull_backwards(span, listing)

    def census(self, window: Window) -> Census:
        """Ask for the trades created within ``window``; the list reaches back 3 months."""
        totals: list[int] = []

        def count(span: Window) -> int:
            totals.append(self._count(CREATED, span))
            return totals[-1]

        listing = Listing(count, partial(self._page, CREATED), self.page_size)
        numbers = frozenset(
            message.channel_number
            for page in pull_backwards(window, listing)
            for message in page.messages
        )
        return Census(numbers - {""}, totals[0])

    def _listing(self, rows: _List) -> Listing:
        return Listing(partial(self._count, rows), partial(self._page, rows), self.page_size)

    def _query(self, rows: _List, fields: str, window: Window, number: int) -> dict[str, str]:
        return {
            "fields": fields,
            f"start_{rows.by}": china_text(window.start),
            f"end_{rows.by}": china_text(window.end),
            "page_no": str(number),
            "page_size": str(self.page_size),
        }

    def _count(self, rows: _List, window: Window) -> int:
        # Only without use_has_next does the platform tell the total, and with it the last page.
        query = self._query(rows, rows.count_fields, window, 1)
        answer = self.call(rows.method, {**query, "use_has_next": "false"})
        with reading_reply():
            return answer.whole("total_results")

    def _page(self, rows: _List, window: Window, number: int) -> ListPage:
        query = self._query(rows, rows.fields, window, number)
        answer = self.call(rows.method, {**query, "use_has_next": "true"})
        with reading_reply():
            found = unwrap(answer.get(rows.outer), rows.inner)
            has_next = answer.boolean("has_next")
        return ListPage(tuple(_message(rows.kind, row) for row in found), has_next)

    def fetch(self, channel_number: str) -> RawMessage:
        trade = self.trade(channel_number, TRADE_FIELDS)
        return RawMessage(MessageKind.ORDER, dump_compact(trade.data), channel_number)

    def test(self) -> None:
        end = self.now() - timedelta(seconds=self.feed("orders").settle_seconds)
        self._count(TRADES, Window(end - timedelta(minutes=1), end))

    # --- reading ---

    def read(self, body: bytes) -> OrderDraft:
        return read_trade(Node.of(loads_strict(body)), self.field_map)

    def read_refund(self, body: bytes) -> RefundDraft:
        return read_refund(Node.of(loads_strict(body)), self.field_map)

    def read_event(self, body: bytes) -> EventDraft:
        return documents.read_event(Node.of(loads_strict(body)), self.field_map)[0]

    def read_document(self, body: bytes) -> Document:
        return documents.read_document(body, self.field_map)


def _message(kind: MessageKind, row: Any) -> RawMessage:
    return RawMessage(kind, dump_compact(row), _tid(row))


def _tid(row: Any) -> str:
    try:
        return id_text(row.get("tid") or row.get("tid_str"), "tid")
    except (Unreadable, AttributeError):
        return ""
