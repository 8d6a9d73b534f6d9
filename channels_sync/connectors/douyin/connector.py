"""Douyin shop 抖店 (``channels.md`` 3): lists, pushes and tokens; writing is ``telling.py``."""

import hmac
import logging
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any, ClassVar, Final

from channels_sync.connectors.base import MAX_PUSHED
from channels_sync.connectors.douyin.documents import read_document
from channels_sync.connectors.douyin.reading import (
    is_address_check,
    message_data,
    read_event,
    read_order,
    read_refund,
)
from channels_sync.connectors.douyin.telling import DouyinTelling
from channels_sync.connectors.douyin.wire import push_sign
from channels_sync.connectors.exchange import reading_reply
from channels_sync.connectors.field_map import FieldMap
from channels_sync.connectors.paging import Listing, ListPage, pull_backwards, slices
from channels_sync.connectors.strict_json import dump_compact, loads_strict
from channels_sync.connectors.values import Node, optional_id, unwrap
from channels_sync.contracts import (
    BadSignature,
    Census,
    Document,
    Feed,
    MessageKind,
    Page,
    RawMessage,
    Tokens,
    Unreadable,
    WebhookReply,
    WebhookRequest,
    Window,
)
from ordercenter.orders.contracts import EventDraft, OrderDraft, RefundDraft

logger = logging.getLogger(__name__)
PAGE_SIZE: Final = 100
LONGEST_WINDOW: Final = 90 * 86_400
A_MOMENT_FROM: Final = 10**9
"""``expires_in`` from here on is a point in time, not a span (``channels.md`` 3a)."""
REFRESH_OUTLIVES: Final = timedelta(days=7)
"""The access token lives 7 days, the refresh token 14 (``channels.md`` 3a)."""
TAKEN: Final = b'{"code":0,"msg":"success"}'

_OF_AN_ORDER: Final = re.compile(r"[12][0-9]{2}")
"""The tags of messages about orders and refunds (``channels.md`` 3e)."""

Ask = Callable[[Window, int], tuple[int, ListPage]]


class DouyinConnector(DouyinTelling):
    """One Douyin shop."""

    feeds: ClassVar[tuple[Feed, ...]] = (
        Feed("orders", LONGEST_WINDOW, 120),
        Feed("refunds", LONGEST_WINDOW, 120),
    )
    default_map: ClassVar[FieldMap | None] = FieldMap.packaged("douyin")

    # --- lists ------------------------------------------------------------------------------

    def pull(self, feed: str, window: Window) -> Iterator[Page]:
        """Yield what changed in a feed, oldest page first.

        Offsets shift when a row leaves the frozen window, whichever way the list is sorted, so
        both lists are read from their last page to page 0.
        """
        ask = {"orders": self._changed_orders, "refunds": self._changed_refunds}[feed]
        for span in slices(window, self.feed(feed).max_window_seconds):
            yield from pull_backwards(span, _listing(ask))

    def fetch(self, channel_number: str) -> RawMessage:
        detail = self.order(channel_number)
        return RawMessage(MessageKind.ORDER, dump_compact(detail.data), channel_number)

    def census(self, window: Window) -> Census:
        """The orders created in ``window``, paid or not, and the platform's count of them."""
        numbers: set[str] = set()
        counted = 0
        for span in slices(window, LONGEST_WINDOW):
            total, _ = self._created_orders(span, 0, size=1)
            counted += total
            for page in pull_backwards(span, _listing(self._created_orders)):
                numbers |= {message.channel_number for message in page.messages}
        return Census(frozenset(numbers - {""}), counted)

    def test(self) -> None:
        end = self.now()
        self._changed_orders(Window(end - timedelta(minutes=1), end), 0, size=1)

    def _changed_orders(
        self, window: Window, page: int, *, size: int = PAGE_SIZE
    ) -> tuple[int, ListPage]:
        return self._orders("update_time", window, page, size)

    def _created_orders(
        self, window: Window, page: int, *, size: int = PAGE_SIZE
    ) -> tuple[int, ListPage]:
        return self._orders("create_time", window, page, size)

    def _orders(self, by: str, window: Window, page: int, size: int) -> tuple[int, ListPage]:
        start, end = _seconds(window)
        span = {f"{by}_start": start, f"{by}_end": end}
        paging = {"order_by": by, "order_asc": False, "page": page, "size": size}
        answer = self.call("/order/searchList", {**span, **paging})
        return _list_page(answer, "shop_order_list", MessageKind.ORDER, ("order_id",))

    def _changed_refunds(self, window: Window, page: int) -> tuple[int, ListPage]:
        start, end = _seconds(window)
        query = {
            "update_start_time": start,
            "update_end_time": end,
            "order_by": ["update_time desc"],
            "page": page,
            "size": PAGE_SIZE,
        }
        answer = self.call("/afterSale/List", query)
        number = ("order_info", "shop_order_id")
        return _list_page(answer, "items", MessageKind.REFUND, number)

    # --- tokens -----------------------------------------------------------------------------

    def exchange_code(self, code: str) -> Tokens:
        """Trade a code, or, for a shop's own application, its ``shop_id`` (option)."""
        wish: dict[str, Any] = {"code": code, "grant_type": "authorization_code"}
        if not code:
            shop_id = self.access.options.get("shop_id", "")
            wish |= {"grant_type": "authorization_self", "shop_id": shop_id}
        return self._tokens(self.call_for_token("/token/create", wish))

    def refresh(self, refresh_token: str) -> Tokens:
        """Trade a refresh token; earlier than an hour before its end the pair stays the same."""
        wish = {"grant_type": "refresh_token", "refresh_token": refresh_token}
        return self._tokens(self.call_for_token("/token/refresh", wish))

    def _tokens(self, data: Node) -> Tokens:
        with reading_reply():
            expires_at = self._expiry(data.optional_whole("expires_in"))
            return Tokens(
                access_token=_token(data),
                expires_at=expires_at,
                refresh_token=data.text("refresh_token"),
                refresh_expires_at=expires_at and expires_at + REFRESH_OUTLIVES,
                shop_id=data.optional_id("shop_id") or "",
                shop_name=data.text("shop_name"),
            )

    def _expiry(self, seconds: int | None) -> datetime | None:
        if not seconds:
            return None
        if seconds > A_MOMENT_FROM:
            return datetime.fromtimestamp(seconds, UTC)
        return self.now() + timedelta(seconds=seconds)

    # --- reading ----------------------------------------------------------------------------

    def read(self, body: bytes) -> OrderDraft:
        return read_order(Node.of(loads_strict(body)), self.field_map)

    def read_refund(self, body: bytes) -> RefundDraft:
        return read_refund(Node.of(loads_strict(body)), self.field_map)

    def read_event(self, body: bytes) -> EventDraft:
        return read_event(Node.of(loads_strict(body)), self.field_map)

    def read_document(self, body: bytes) -> Document:
        return read_document(loads_strict(body), self.field_map)

    # --- pushes -----------------------------------------------------------------------------

    def verify(self, request: WebhookRequest) -> None:
        """Check ``event-sign`` over the raw body, and that the push is for this application.

        Where the option ``shop_id`` is set, a push for another shop is refused as well: one
        application's secret signs for all its shops.
        """
        access = self.access
        given = request.headers.get("event-sign", "").encode()
        secrets = [secret for secret in (access.app_secret, access.old_app_secret) if secret]
        # Every secret is tried: the time taken tells nothing of which one fits.
        fits = [
            hmac.compare_digest(given, push_sign(access.app_key, request.body, secret).encode())
            for secret in secrets
        ]
        if not any(fits):
            raise BadSignature("event-sign")
        if not fits[0]:
            logger.info("shop %s: a push was signed with the old secret", access.shop_code)
        if request.headers.get("app-id", access.app_key) != access.app_key:
            raise BadSignature("app-id")
        shop = access.options.get("shop_id")
        if shop and _shops(request.body) - {shop}:
            raise BadSignature("shop_id")

    def challenge(self, request: WebhookRequest) -> WebhookReply | None:
        """Answer the check of our address: a push of nothing but entries with tag 0."""
        entries = _entries(request.body)
        if not entries or not all(is_address_check(entry) for entry in entries):
            return None
        self.verify(request)
        return WebhookReply(HTTPStatus.OK, TAKEN)

    def split(self, request: WebhookRequest) -> tuple[RawMessage, ...]:
        """One hint for each entry of the array; the platform's check of our address is none."""
        entries = _entries(request.body)
        if entries is None or len(entries) > MAX_PUSHED:
            return (RawMessage(MessageKind.UNREADABLE, request.body),)
        return tuple(self._hint(entry) for entry in entries if not is_address_check(entry))

    def _hint(self, entry: Any) -> RawMessage:
        body = dump_compact(entry)
        try:
            event = self.read_event(body)
        except Unreadable:
            return RawMessage(MessageKind.UNREADABLE, body)
        number = event.channel_number or ""
        # Goods and materials have messages too: of no order, and nothing is to be done.
        kind = MessageKind.EVENT if number else MessageKind.NOTE
        if not number and _OF_AN_ORDER.fullmatch(event.topic):
            kind = MessageKind.UNREADABLE
        return RawMessage(kind, body, number, event.event_id, event.occurred_at)

    def acknowledge(self, request: WebhookRequest, *, duplicate: bool) -> WebhookReply:
        return WebhookReply(HTTPStatus.OK, TAKEN)


def _listing(ask: Ask) -> Listing:
    """A list counted from page 1 over one counted from page 0; its first page is asked once."""
    first: dict[Window, ListPage] = {}

    def count(window: Window) -> int:
        total, first[window] = ask(window, 0)
        return total

    def page(window: Window, number: int) -> ListPage:
        if number == 1 and window in first:  # a list of one page is not asked for twice
            return first.pop(window)
        first.clear()
        return ask(window, number - 1)[1]

    return Listing(count, page, PAGE_SIZE)


def _list_page(
    answer: Node, key: str, kind: MessageKind, number: tuple[str, ...]
) -> tuple[int, ListPage]:
    with reading_reply():
        rows = unwrap(answer.get(key))
        total = answer.whole("total")
    messages = (RawMessage(kind, dump_compact(row), _number_of(row, *number)) for row in rows)
    return total, ListPage(tuple(messages))


def _seconds(window: Window) -> tuple[int, int]:
    """Both ends in whole seconds; the platform wants them different."""
    start, end = int(window.start.timestamp()), int(window.end.timestamp())
    return start, max(end, start + 1)


def _number_of(row: Any, *keys: str) -> str:
    for key in keys:
        row = row.get(key) if isinstance(row, Mapping) else None
    return optional_id(row) or ""


def _entries(body: bytes) -> list[Any] | None:
    """The entries of a push; a lone entry is a list of one; None for anything else."""
    try:
        found = loads_strict(body)
    except Unreadable:
        return None
    if isinstance(found, Mapping):
        return [found] if "tag" in found else None
    return found if isinstance(found, list) else None


def _shops(body: bytes) -> set[str]:
    """Every shop the entries of a push speak of; what cannot be read speaks of none."""
    found = set()
    for entry in _entries(body) or ():
        try:
            found.add(message_data(Node.of(entry)).optional_id("shop_id"))
        except Unreadable:
            continue
    return {shop for shop in found if shop}


def _token(data: Node) -> str:
    if token := data.text("access_token"):
        return token
    raise Unreadable("平台没有给出令牌")
