"""The WeChat shop (``channels.md`` 6): lists of ids, details one by one, hints by push.

It reads the payments of mini-programs too (发货信息管理), which have neither lines nor a
receiver: those come from the merchant's own database.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from http import HTTPStatus
from typing import Any, ClassVar, Final

from channels_sync.connectors.base import JSON_PUSHES
from channels_sync.connectors.exchange import platform_error, reading_reply
from channels_sync.connectors.field_map import FieldMap
from channels_sync.connectors.strict_json import dump_compact, loads_strict
from channels_sync.connectors.values import Node
from channels_sync.connectors.wechat import pushes, reading
from channels_sync.connectors.wechat.telling import REFUND, WeChatTelling
from channels_sync.contracts import (
    BadSignature,
    Census,
    Document,
    ErrorClass,
    Feed,
    Limit,
    MessageKind,
    Page,
    RawMessage,
    Rejected,
    TryLater,
    Unreadable,
    WebhookReply,
    WebhookRequest,
    Window,
)
from ordercenter.orders.contracts import EventDraft, OrderDraft, RefundDraft

ORDERS: Final = "/channels/ec/order/list/get"
REFUNDS: Final = "/channels/ec/aftersale/getaftersalelist"
PAGE_SIZE: Final = 100
MAX_PAGES: Final = 1000
NARROWEST: Final = 60
ABOUT_AN_ORDER: Final = "channels_ec_order"
LISTED: Final = "listed"
"""The topic of a hint we write ourselves: an order was listed, but had no detail yet."""


class WeChatConnector(WeChatTelling):
    """One WeChat shop."""

    channel: ClassVar[str] = "wechat"
    feeds: ClassVar[tuple[Feed, ...]] = (
        Feed("orders", 7 * 86_400, 60),
        Feed("refunds", 86_400, 60),
    )
    limits: ClassVar[Mapping[str, Limit]] = {"*": Limit(per_second=50, burst=100)}
    """Unverified; the platform's 45011 slows the shop's line down."""
    default_map: ClassVar[FieldMap | None] = FieldMap.packaged("wechat")
    push_types: ClassVar[frozenset[str]] = JSON_PUSHES | {
        "text/xml", "application/xml", "text/plain",
    }  # fmt: skip

    # --- asking -----------------------------------------------------------------------------

    def pull(self, feed: str, window: Window) -> Iterator[Page]:
        """Yield what changed in the window, page by page, each order or refund asked for.

        The list gives ids only. An order the list names and the detail refuses becomes a hint,
        so that it is asked for again by itself; any other failure costs the whole page.
        """
        if feed == "orders":
            span = {"update_time_range": _range(window), "page_size": PAGE_SIZE}
            pages = self._pages(ORDERS, span, "order_id_list")
            read: Callable[[str, datetime], RawMessage] = self._listed_order
        else:
            seconds = _range(window)
            span = {
                "begin_update_time": seconds["start_time"],
                "end_update_time": seconds["end_time"],
            }
            pages = self._pages(REFUNDS, span, "after_sale_order_id_list")
            read = self._listed_refund
        for number, ids in enumerate(pages, 1):
            yield Page(tuple(read(one, window.end) for one in ids), number)

    def fetch(self, channel_number: str) -> RawMessage:
        body = dump_compact(self.order(channel_number).data)
        return RawMessage(MessageKind.ORDER, body, channel_number)

    def census(self, window: Window) -> Census:
        """The numbers of the orders created within the window."""
        span = {"create_time_range": _range(window), "page_size": PAGE_SIZE}
        pages = self._pages(ORDERS, span, "order_id_list")
        return Census(frozenset(number for page in pages for number in page))

    def test(self) -> None:
        now = self.now()
        span = {"update_time_range": _range(Window(now, now)), "page_size": 1, "next_key": ""}
        self.post(ORDERS, span)

    def _pages(self, path: str, asked: Mapping[str, Any], key: str) -> Iterator[list[str]]:
        """Walk a list by its ``next_key``, everything else unchanged."""
        next_key = ""
        for _page in range(MAX_PAGES):
            answer = self.post(path, {**asked, "next_key": next_key})
            if not {"errcode", "has_more", key} & answer.data.keys():
                raise TryLater(platform_error("bad_body", "微信的答复里没有列表"))
            with reading_reply():
                found = reading.ids(answer, key)
                has_more = answer.boolean("has_more")
            yield found
            if not has_more:
                return
            following = answer.text("next_key")
            if not following or following == next_key:
                raise TryLater(platform_error("cursor", "平台称还有下一页，却没有给出新的游标"))
            next_key = following
        raise TryLater(platform_error("page_cap", "平台一直称还有下一页，已停止翻页"))

    def _listed_order(self, number: str, at: datetime) -> RawMessage:
        try:
            return self.fetch(number)
        except TryLater as error:
            if error.error.code != "no_detail":
                raise
        except Rejected as error:
            if error.error.klass is ErrorClass.AUTH:
                raise
        stamp = int(at.timestamp())
        hint = {"Event": LISTED, "CreateTime": stamp, "order_info": {"order_id": number}}
        event_id = f"|{stamp}|{LISTED}|{number}"
        return RawMessage(MessageKind.EVENT, dump_compact(hint), number, event_id)

    def _listed_refund(self, refund_id: str, at: datetime) -> RawMessage:
        """A refund the platform lists but will not tell is kept for a person to see."""
        try:
            answer = self.post(REFUND, {"after_sale_order_id": refund_id})
        except Rejected as error:
            if error.error.klass is ErrorClass.AUTH:
                raise
            told = {"after_sale_order_id": refund_id, "errcode": error.error.code}
            return RawMessage(MessageKind.UNREADABLE, dump_compact(told))
        found = answer.get("after_sale_order")
        if not isinstance(found, Mapping) or not found:
            raise TryLater(platform_error("no_detail", "平台还没有这张售后单的详情"))
        number = Node(found).optional_id("order_id") or ""
        return RawMessage(MessageKind.REFUND, dump_compact(found), number)

    # --- reading ----------------------------------------------------------------------------

    def read(self, body: bytes) -> OrderDraft:
        document = Node.of(loads_strict(body))
        order = document.node("order") if "order" in document.data else document
        return reading.read_order(order, self.field_map)

    def read_refund(self, body: bytes) -> RefundDraft:
        document = Node.of(loads_strict(body))
        key = "after_sale_order"
        refund = document.node(key) if key in document.data else document
        return reading.read_refund(refund, self.field_map)

    def read_event(self, body: bytes) -> EventDraft:
        return reading.read_event(pushes.parse(body), self.field_map)

    def read_document(self, body: bytes) -> Document:
        return reading.read_document(pushes.parse(body), self.field_map)

    # --- pushes -----------------------------------------------------------------------------

    def verify(self, request: WebhookRequest) -> None:
        pushes.check(request, self.access)

    def challenge(self, request: WebhookRequest) -> WebhookReply | None:
        """WeChat checks our address by GET with an ``echostr`` that we say back."""
        if request.method != "GET":
            return None
        echo = pushes.check_echo(request, self.access)
        return WebhookReply(HTTPStatus.OK, echo.encode(), "text/plain")

    def split(self, request: WebhookRequest) -> tuple[RawMessage, ...]:
        """A hint: the message in the clear. What is no event of an order is kept as one too and
        asks for nothing."""
        body = request.body
        try:
            body = pushes.open_push(request, self.access)
            event = self.read_event(body)
        except (BadSignature, Unreadable):
            return (RawMessage(MessageKind.UNREADABLE, body),)
        number = event.channel_number or ""
        if not number and event.topic.startswith(ABOUT_AN_ORDER):
            return (RawMessage(MessageKind.UNREADABLE, body),)
        return (RawMessage(MessageKind.EVENT, body, number, event.event_id, event.occurred_at),)

    def acknowledge(self, request: WebhookRequest, *, duplicate: bool) -> WebhookReply:
        return WebhookReply(HTTPStatus.OK, b"success", "text/plain")


def _range(window: Window) -> dict[str, int]:
    """The window in seconds, at least ``NARROWEST`` of them: WeChat refuses less (31042)."""
    end = int(window.end.timestamp())
    return {"start_time": min(int(window.start.timestamp()), end - NARROWEST), "end_time": end}
