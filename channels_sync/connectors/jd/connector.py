"""JD merchants over JOS (``channels.md`` 2).

The list has neither cursor nor ``has_next``, so it is read from the last page to the first.
JD's message subscription works inside its own cloud only: there is no push here.
"""

from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from typing import Any, ClassVar, Final

from channels_sync.connectors.base import WithoutPush
from channels_sync.connectors.exchange import reading_reply
from channels_sync.connectors.field_map import FieldMap
from channels_sync.connectors.jd import documents
from channels_sync.connectors.jd.orders import read_order, read_refund
from channels_sync.connectors.jd.telling import JdTelling
from channels_sync.connectors.jd.wire import china_text
from channels_sync.connectors.paging import Listing, ListPage, pull_backwards, slices
from channels_sync.connectors.strict_json import dump_compact, loads_strict
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

SEARCH: Final = "jingdong.pop.order.search"
REFUNDS: Final = "jingdong.pop.afs.soa.refundapply.queryPageList"
# Fields not asked for do not come and look like empty values.
ORDER_FIELDS: Final = ",".join(
    (
        "orderId,venderId,orderType,payType,orderTotalPrice,sellerDiscount,orderSellerPrice",
        "freightPrice,orderPayment,balanceUsed,actualPay,shouldPay,orderState,orderStateRemark",
        "returnOrder,parentOrderId,directParentOrderId,orderRemark,venderRemark",
        "venderRemarkLevelFlag,orderStartTime,paymentConfirmTime,modified,orderEndTime,waybill",
        "logisticsId,storeOrder,idSopShipmenttype,open_id_buyer,xid_buyer,couponDetailList",
        "consigneeInfo,itemInfoList",
    )
)
ORDER_STATES: Final = (
    "WAIT_SELLER_STOCK_OUT,WAIT_SELLER_DELIVERY,WAIT_SEND_CODE,WAIT_GOODS_RECEIVE_CONFIRM,"
    "FINISHED_L,TRADE_CANCELED,LOCKED,PAUSE,POP_ORDER_PAUSE"
)
"""Every state that is known: one left out would be a state whose orders never come."""
BY_MODIFICATION: Final = "0"
BY_CREATION: Final = "1"
DAY: Final = 24 * 3600


class JdConnector(WithoutPush, JdTelling):
    """One JD shop. Option ``order_states``: the states to list, joined by commas."""

    channel: ClassVar[str] = "jd"
    feeds: ClassVar[tuple[Feed, ...]] = (
        Feed("orders", 28 * DAY, 120),
        Feed("refunds", 28 * DAY, 120),
    )
    """A month, whatever its length."""
    default_map: ClassVar[FieldMap | None] = FieldMap.packaged("jd")
    page_size: ClassVar[int] = 100
    refund_page_size: ClassVar[int] = 50

    # --- pulling ---

    def pull(self, feed: str, window: Window) -> Iterator[Page]:
        """Yield the orders modified within ``window``, or the refunds applied for or checked.

        A refund application moves by its own clocks: once when the buyer applies, once when
        somebody decides.
        """
        for span in slices(window, self.feed(feed).max_window_seconds):
            if feed == "orders":
                yield from pull_backwards(span, self._orders(BY_MODIFICATION, ORDER_FIELDS))
                continue
            for clock in ("applyTime", "checkTime"):
                yield from pull_backwards(span, self._refunds(clock))

    def census(self, window: Window) -> Census:
        """Ask for the orders created within ``window``; only paid ones and cash ones are listed."""
        numbers = {
            message.channel_number
            for span in slices(window, self.feed("orders").max_window_seconds)
            for page in pull_backwards(span, self._orders(BY_CREATION, "orderId"))
            for message in page.messages
        }
        return Census(frozenset(numbers - {""}))

    def _orders(self, by: str, fields: str) -> Listing:
        return Listing(partial(self._count, by), partial(self._page, by, fields), self.page_size)

    def _search(self, by: str, fields: str, window: Window, number: int) -> Node:
        query = {
            "start_date": china_text(window.start),
            "end_date": china_text(window.end),
            "order_state": self.access.options.get("order_states", ORDER_STATES),
            "optional_fields": fields,
            "page": str(number),
            "page_size": str(self.page_size),
            "sortType": "1",
            "dateType": by,
        }
        return self.call(SEARCH, query).node_or_empty("searchorderinfo_result")

    def _count(self, by: str, window: Window) -> int:
        return _total(self._search(by, "orderId", window, 1), "orderTotal")

    def _page(self, by: str, fields: str, window: Window, number: int) -> ListPage:
        rows = _rows(self._search(by, fields, window, number).get("orderInfoList"))
        return ListPage(tuple(_message(MessageKind.ORDER, row) for row in rows))

    def _refunds(self, clock: str) -> Listing:
        return Listing(
            partial(self._refund_count, clock),
            partial(self._refund_page, clock),
            self.refund_page_size,
        )

    def _search_refunds(self, clock: str, window: Window, number: int) -> Node:
        query = {
            f"{clock}Start": china_text(window.start),
            f"{clock}End": china_text(window.end),
            "pageIndex": number,
            "pageSize": self.refund_page_size,
        }
        return self.call(REFUNDS, query).node_or_empty("queryResult")

    def _refund_count(self, clock: str, window: Window) -> int:
        return _total(self._search_refunds(clock, window, 1), "totalCount")

    def _refund_page(self, clock: str, window: Window, number: int) -> ListPage:
        rows = _rows(self._search_refunds(clock, window, number).get("result"))
        return ListPage(tuple(_message(MessageKind.REFUND, row) for row in rows))

    def fetch(self, channel_number: str) -> RawMessage:
        order = self.order(channel_number, ORDER_FIELDS)
        return RawMessage(MessageKind.ORDER, dump_compact(order.data), channel_number)

    def test(self) -> None:
        end = self.now() - timedelta(seconds=self.feed("orders").settle_seconds)
        self._count(BY_MODIFICATION, Window(end - timedelta(minutes=1), end))

    # --- reading ---

    def read(self, body: bytes) -> OrderDraft:
        return read_order(Node.of(loads_strict(body)), self.field_map)

    def read_refund(self, body: bytes) -> RefundDraft:
        return read_refund(Node.of(loads_strict(body)), self.field_map)

    def read_event(self, body: bytes) -> EventDraft:
        raise Unreadable("京东没有推送消息")

    def read_document(self, body: bytes) -> Document:
        return documents.read_document(body, self.field_map)


def _total(result: Node, key: str) -> int:
    with reading_reply():
        return result.whole(key)


def _rows(value: Any) -> list[Any]:
    with reading_reply():
        return unwrap(value)


def _message(kind: MessageKind, row: Any) -> RawMessage:
    return RawMessage(kind, dump_compact(row), _order_id(row))


def _order_id(row: Any) -> str:
    try:
        return id_text(row["orderId"], "orderId")
    except (Unreadable, KeyError, TypeError):
        return ""
