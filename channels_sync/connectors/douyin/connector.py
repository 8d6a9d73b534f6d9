"""Douyin shop 抖店 (``channels.md`` 3).

Integers in fen, times in Unix seconds with 0 for none, lists counted from page 0. The receiver
comes encrypted: what a person reads is masked, and no key may be made of it.
"""

import hashlib
import hmac
import json
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from http import HTTPStatus
from typing import Any, ClassVar, Final

from channels_sync.connectors.base import (
    BaseConnector,
    Listing,
    ListPage,
    Node,
    dump_compact,
    endpoint,
    exchange,
    loads_strict,
    optional_id,
    order_refund_state,
    parse_reply,
    platform_error,
    pull_backwards,
    raise_refusal,
    refuse_client_error,
    required_time,
    slices,
    text_of,
)
from channels_sync.contracts import (
    BadSignature,
    Document,
    ErrorClass,
    Feed,
    MessageKind,
    Page,
    PlatformError,
    RawMessage,
    Rejected,
    ShipNotice,
    TryLater,
    Unreadable,
    WebhookReply,
    WebhookRequest,
    Window,
)
from ordercenter.orders.contracts import (
    ChannelStatus,
    EventDraft,
    EvidenceDraft,
    LineDraft,
    OrderDraft,
    ReceiverDraft,
    RefundDraft,
)

OK: Final = 10000
PAGE_SIZE: Final = 100
NO_MONEY: Final = Decimal("0.00")
_IDEMPOTENT: Final = "isv.idempotent-id-existed"
_ADDRESS_CHECK: Final = "0"
_CASH_ON_DELIVERY: Final = 0
_GIFT: Final = "FREE"

_CLASSES: Final[Mapping[int, ErrorClass]] = {
    10001: ErrorClass.PLATFORM,  # partly failed: a page with holes is not a page
    20000: ErrorClass.PLATFORM,
    20001: ErrorClass.PLATFORM,
    30001: ErrorClass.AUTH,
    30002: ErrorClass.AUTH,
    40001: ErrorClass.AUTH,
    40003: ErrorClass.AUTH,
    50001: ErrorClass.AUTH,
    60000: ErrorClass.RATE_LIMITED,
    90000: ErrorClass.PLATFORM,
}
"""Everything not named is a business refusal (``channels.md`` 3a)."""


_S: Final = ChannelStatus
_STATUS: Final[Mapping[int, ChannelStatus]] = {
    1: _S.WAIT_PAY,
    103: _S.DEPOSIT_PAID,
    105: _S.ON_HOLD,  # paid, not yet released for shipping
    2: _S.WAIT_SHIP,
    101: _S.PART_SHIPPED,
    3: _S.SHIPPED,
    4: _S.CLOSED,
    5: _S.FINISHED,
}
_CLOSED_BY_REFUND: Final = frozenset({21, 22, 39})
"""main_status: refunded before shipping, after shipping, after receipt."""
_DEPOSIT_PAID: Final = 103
_LINE_REFUND: Final[Mapping[int, str]] = {
    0: "none",
    12: "refunded",
    14: "closed",  # exchanged: the goods stay sold
    27: "closed",
    28: "closed",
    29: "closed",
}
"""after_sale_status of a line; anything else is under way, so that nothing ships past it."""
_REFUND_FAILED_OR_WAITING: Final = frozenset({1, 4})
_EXCHANGE_DONE: Final = 14
_REFUND_DONE: Final = 12
_REFUND_CLOSED: Final = frozenset({27, 28, 29})
_GOODS_COME_BACK: Final = frozenset({0, 3, 8})
_MONEY_ONLY: Final = frozenset({1, 2})


def canonical(params: Mapping[str, Any]) -> str:
    """``param_json``: keys sorted at every level, compact, CJK and ``& < >`` raw."""
    return json.dumps(params, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def sign(secret: str, app_key: str, method: str, body: str, timestamp: str) -> str:
    """Sign one call: the secret is the key *and* wrapped round the text (``channels.md`` 3a)."""
    text = f"{secret}app_key{app_key}method{method}param_json{body}timestamp{timestamp}v2{secret}"
    return hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()


def push_sign(app_key: str, body: bytes, secret: str) -> str:
    """``event-sign`` of a push, over the raw body (``channels.md`` 3e)."""
    text = app_key.encode() + body + secret.encode()
    return hashlib.md5(text, usedforsecurity=False).hexdigest()


class DouyinConnector(BaseConnector):
    """One Douyin shop."""

    channel: ClassVar[str] = "douyin"
    feeds: ClassVar[tuple[Feed, ...]] = (
        Feed("orders", 90 * 86_400, 120),
        Feed("refunds", 90 * 86_400, 120),
    )

    # --- asking -----------------------------------------------------------------------------

    def pull(self, feed: str, window: Window) -> Iterator[Page]:
        """Yield changed orders, then changed refunds, oldest page first.

        Offsets shift when a row leaves the frozen window, whichever way the list is sorted, so
        both lists are read from their last page to page 0.
        """
        page = {"orders": self._order_page, "refunds": self._refund_page}[feed]
        for span in slices(window, self.feed(feed).max_window_seconds):
            yield from pull_backwards(span, self._listing(page))

    def fetch(self, channel_number: str) -> RawMessage:
        answer = self._call("/order/orderDetail", {"shop_order_id": channel_number})
        detail = answer.get("shop_order_detail")
        if not isinstance(detail, Mapping) or not detail:
            raise Rejected(
                PlatformError(ErrorClass.BUSINESS, "no_such_order", "平台没有返回这张订单")
            )
        return RawMessage(MessageKind.ORDER, dump_compact(detail), channel_number)

    def ship(self, notice: ShipNotice) -> None:
        """Report the parcel; a refund that is open makes Douyin refuse, and so it should.

        A repeat is recognized by ``request_id``, or by the parcel already on the order.
        """
        company = self.carrier_code(notice.carrier)
        parcel: dict[str, Any] = {
            "company_code": company,
            "logistics_code": notice.tracking_number,
        }
        if notice.lines:
            path = "/order/logisticsAddSinglePack"
            parcel |= {
                "order_id_list": [notice.channel_number],
                "shipped_order_info": [
                    {"shipped_order_id": line.channel_line_id, "shipped_num": line.quantity}
                    for line in notice.lines
                ],
                "request_id": notice.key,
            }
        else:
            path = "/order/logisticsAdd"
            # True would turn down the buyer's open refund request on the way. Never.
            parcel |= {"order_id": notice.channel_number, "is_reject_refund": False}
        try:
            self._call(path, parcel, writes=True)
        except Rejected as error:
            if error.error.sub_code == _IDEMPOTENT:
                return
            if error.error.klass is ErrorClass.BUSINESS and self._carries(notice):
                return
            raise

    def test(self) -> None:
        end = self.now()
        self._order_page(Window(end - timedelta(minutes=1), end), 0, size=1)

    def _carries(self, notice: ShipNotice) -> bool:
        """Whether the order already shows this parcel: the earlier notice took effect."""
        order = Node.of(loads_strict(self.fetch(notice.channel_number).body))
        return any(
            parcel.text("tracking_no") == notice.tracking_number
            for parcel in order.nodes("logistics_info")
        )

    def _listing(self, ask: "Callable[[Window, int], tuple[int, ListPage]]") -> Listing:
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

    def _order_page(
        self, window: Window, page: int, *, size: int = PAGE_SIZE
    ) -> tuple[int, ListPage]:
        start, end = _seconds(window)
        answer = self._call(
            "/order/searchList",
            {
                "update_time_start": start,
                "update_time_end": end,
                "order_by": "update_time",
                "order_asc": False,
                "page": page,
                "size": size,
            },
        )
        messages = tuple(
            RawMessage(MessageKind.ORDER, dump_compact(row), _number_of(row, "order_id"))
            for row in _rows(answer, "shop_order_list")
        )
        return answer.whole("total"), ListPage(messages)

    def _refund_page(self, window: Window, page: int) -> tuple[int, ListPage]:
        start, end = _seconds(window)
        answer = self._call(
            "/afterSale/List",
            {
                "update_start_time": start,
                "update_end_time": end,
                "order_by": ["update_time desc"],
                "page": page,
                "size": PAGE_SIZE,
            },
        )
        messages = tuple(
            RawMessage(
                MessageKind.REFUND,
                dump_compact(row),
                _number_of(row, "order_info", "shop_order_id"),
            )
            for row in _rows(answer, "items")
        )
        return answer.whole("total"), ListPage(messages)

    def _call(self, path: str, params: Mapping[str, Any], *, writes: bool = False) -> Node:
        """Ask one interface and return its ``data``; raises TryLater or Rejected."""
        body = canonical(params)
        method = path.strip("/").replace("/", ".")
        timestamp = str(int(self.now().timestamp()))
        access = self.access
        request = self.client.build_request(
            "POST",
            endpoint(access.base_url, path),
            params={
                "app_key": access.app_key,
                "method": method,
                "access_token": access.access_token,
                "timestamp": timestamp,
                "v": "2",
                "sign_method": "hmac-sha256",
                "sign": sign(access.app_secret, access.app_key, method, body, timestamp),
            },
            content=body.encode(),
            headers={
                "Content-Type": "application/json;charset=UTF-8",
                "x-open-no-old-err-code": "1",
            },
        )
        reply = exchange(self.client, request, writes=writes)
        refuse_client_error(reply)
        try:
            answer = Node.of(parse_reply(reply.body, writes=writes))
            error = _error_of(answer)
            if error is not None:
                raise_refusal(error, writes=writes)
            return answer.node_or_empty("data")
        except Unreadable as broken:
            failure = platform_error("bad_body", str(broken))
            raise TryLater(failure, outcome_unknown=writes) from broken

    # --- reading ----------------------------------------------------------------------------

    def read(self, body: bytes) -> OrderDraft:
        return read_order(Node.of(loads_strict(body)))

    def read_refund(self, body: bytes) -> RefundDraft:
        return _read_refund(Node.of(loads_strict(body)))

    def read_event(self, body: bytes) -> EventDraft:
        return _read_event(Node.of(loads_strict(body)))

    def read_document(self, body: bytes) -> Document:
        value = loads_strict(body)
        if value and isinstance(value, list):
            events = tuple(
                _read_event(Node.of(one, f"[{index}]"))
                for index, one in enumerate(value)
                if not (isinstance(one, Mapping) and text_of(one.get("tag")) == _ADDRESS_CHECK)
            )
            return Document("event_list", events=events)
        answer = Node.of(value)
        error = _error_of(answer)
        if error is not None:
            return Document("error", error=error)
        return _read_answer(answer.node_or_empty("data"))

    # --- pushes -----------------------------------------------------------------------------

    def verify(self, request: WebhookRequest) -> None:
        """Check ``event-sign`` over the raw body, and that the push is for this application.

        Where the option ``shop_id`` is set, a push for another shop is refused as well: one
        application's secret signs for all its shops.
        """
        access = self.access
        given = request.headers.get("event-sign", "")
        expected = push_sign(access.app_key, request.body, access.app_secret)
        if not access.app_secret or not hmac.compare_digest(given.encode(), expected.encode()):
            raise BadSignature("event-sign")
        if request.headers.get("app-id", access.app_key) != access.app_key:
            raise BadSignature("app-id")
        shop = access.options.get("shop_id")
        if shop and _shops(request.body) - {shop}:
            raise BadSignature("shop_id")

    def split(self, request: WebhookRequest) -> tuple[RawMessage, ...]:
        """One hint for each entry of the array; the platform's check of our address is none."""
        try:
            entries = loads_strict(request.body)
        except Unreadable:
            entries = None
        if not isinstance(entries, list):
            return (RawMessage(MessageKind.UNREADABLE, request.body),)
        return tuple(
            _hint(entry)
            for entry in entries
            if not (isinstance(entry, Mapping) and text_of(entry.get("tag")) == _ADDRESS_CHECK)
        )

    def acknowledge(self, request: WebhookRequest, *, duplicate: bool) -> WebhookReply:
        return WebhookReply(HTTPStatus.OK, b'{"code":0,"msg":"success"}')


def _seconds(window: Window) -> tuple[int, int]:
    """Both ends in whole seconds; the platform wants them different."""
    start, end = int(window.start.timestamp()), int(window.end.timestamp())
    return start, max(end, start + 1)


def _rows(answer: Node, key: str) -> list[Any]:
    rows = answer.get(key)
    return rows if isinstance(rows, list) else []


def _number_of(row: Any, *keys: str) -> str:
    for key in keys:
        row = row.get(key) if isinstance(row, Mapping) else None
    return optional_id(row) or ""


def _error_of(answer: Node) -> PlatformError | None:
    code = answer.whole("code")
    if code == OK:
        return None
    message = answer.first_text("sub_msg", "msg") or ""
    klass = _CLASSES.get(code, ErrorClass.BUSINESS)
    return PlatformError(klass, str(code), message, sub_code=answer.first_text("sub_code"))


def _read_answer(data: Node) -> Document:
    if "shop_order_list" in data.data:
        orders = tuple(map(read_order, data.nodes("shop_order_list")))
        total = data.whole("total")
        page, size = data.whole("page", default=0), data.whole("size", default=PAGE_SIZE)
        facts = {"has_next": (page + 1) * size < total, "total": total, "page": page, "size": size}
        return Document("order_list", orders=orders, facts=_facts("order.searchList", page=facts))
    if "shop_order_detail" in data.data:
        order = read_order(data.node("shop_order_detail"))
        return Document("order", orders=(order,), facts=_facts("order.orderDetail"))
    if "items" in data.data:
        refunds = tuple(map(_read_refund, data.nodes("items")))
        facts = {"has_next": data.boolean("has_more"), "total": data.whole("total")}
        return Document("refund_list", refunds=refunds, facts=_facts("afterSale.List", page=facts))
    if "decrypt_infos" in data.data:
        entries = [
            {"platform_order_no": one.text("auth_id"), "ok": one.whole("err_no", default=0) == 0}
            for one in data.nodes("decrypt_infos")
        ]
        return Document("decrypt", facts=_facts("order.batchDecrypt", entries=entries))
    if "access_token" in data.data:
        token = {
            "access_token": data.text("access_token"),
            "expires_in": data.whole("expires_in"),
            "shop_id": data.optional_id("shop_id"),
            "shop_name": data.given_text("shop_name"),
        }
        return Document("token", facts=token)
    return Document("ack", facts={"ok": True})


def _facts(method: str, **more: object) -> dict[str, object]:
    return {"method": method, **more}


def read_order(order: Node) -> OrderDraft:
    """Normalize one ``shop_order_detail`` (``channels.md`` 3c). Raises Unreadable."""
    lines = tuple(map(_read_line, order.nodes("sku_order_list")))
    if not lines:
        raise Unreadable("订单没有商品行")
    paid_at = order.unix_seconds("pay_time")
    status = _read_status(order, paid=paid_at is not None)
    phases = order.nodes("order_phase_list")
    presale = len(phases) > 1 or any(
        line.whole("pre_sale_type", default=0) for line in order.nodes("sku_order_list")
    )
    return OrderDraft(
        channel=DouyinConnector.channel,
        channel_number=order.id("order_id"),
        status=status,
        status_raw=order.text("order_status"),
        currency="CNY",
        payable_amount=order.fen("pay_amount"),
        paid_amount=_paid_amount(order, status, phases),
        freight=order.fen("post_amount", default=NO_MONEY),
        placed_at=required_time(order.unix_seconds("create_time"), "create_time"),
        modified_at=required_time(order.unix_seconds("update_time"), "update_time"),
        paid_at=paid_at,
        lines=lines,
        receiver=_read_receiver(order),
        evidence=EvidenceDraft(buyer_id=order.text("doudian_open_id")),
        buyer_remark=order.given_text("buyer_words"),
        seller_memo=order.given_text("seller_words"),
        seller_flag=order.optional_whole("seller_remark_stars"),
        refund_state=order_refund_state(lines),
        is_presale=presale,
    )


def _read_status(order: Node, *, paid: bool) -> ChannelStatus:
    state = order.whole("order_status")
    main = order.whole("main_status", default=state)
    if main in _CLOSED_BY_REFUND or state in _CLOSED_BY_REFUND:
        return _S.CLOSED_REFUNDED
    status = _STATUS.get(state, _S.UNKNOWN)
    if status is _S.WAIT_PAY and main == _DEPOSIT_PAID:
        return _S.DEPOSIT_PAID
    if status is _S.CLOSED and not paid:
        return _S.CLOSED_UNPAID
    return status


def _paid_amount(order: Node, status: ChannelStatus, phases: list[Node]) -> Decimal:
    """What has been paid so far: the paid phases of a presale; cash on delivery at the end."""
    if phases:
        paid = [phase for phase in phases if _phase_paid(phase)]
        return sum((phase.fen("phase_pay_amount") for phase in paid), NO_MONEY)
    if status in {_S.WAIT_PAY, _S.CLOSED_UNPAID}:
        return NO_MONEY
    if order.optional_whole("pay_type") == _CASH_ON_DELIVERY and status is not _S.FINISHED:
        return NO_MONEY
    return order.fen("pay_amount")


def _phase_paid(phase: Node) -> bool:
    value = phase.get("pay_success")
    return value in (True, 1, "1", "true")


def _read_line(line: Node) -> LineDraft:
    freight = line.fen("post_amount", default=NO_MONEY)
    return LineDraft(
        channel_line_id=line.id("order_id"),
        platform_sku_id=line.optional_id("sku_id"),
        outer_code=line.first_text("code", "out_sku_id"),
        title=line.text("product_name"),
        quantity=line.quantity("item_num"),
        unit_price=line.fen("origin_amount"),
        amount=max(line.fen("pay_amount") - freight, NO_MONEY),
        is_gift=line.text("given_product_type") == _GIFT,
        refund_state=_line_refund(line.node_or_empty("after_sale_info")),
    )


def _line_refund(info: Node) -> str:
    state = _LINE_REFUND.get(info.whole("after_sale_status", default=0), "in_progress")
    money = info.whole("refund_status", default=0)
    if state == "refunded" and money in _REFUND_FAILED_OR_WAITING:
        return "in_progress"
    return state


def _read_receiver(order: Node) -> ReceiverDraft:
    """Clear text where the platform gives it, else the mask; the id tells same receivers."""
    place = order.node_or_empty("post_addr")
    mask = order.node_or_empty("mask_post_addr")
    name, phone, detail = order.text("post_receiver"), order.text("post_tel"), place.text("detail")
    return ReceiverDraft(
        name=name or order.text("mask_post_receiver"),
        phone=phone or order.text("mask_post_tel"),
        province=_division(place, "province"),
        city=_division(place, "city"),
        district=_division(place, "town"),
        town=_division(place, "street"),
        address=detail or mask.text("detail"),
        is_masked=not (name and phone and detail),
        oaid=order.text("open_address_id"),
    )


def _division(place: Node, key: str) -> str:
    return place.node_or_empty(key).text("name")


def _read_refund(item: Node) -> RefundDraft:
    """Normalize one entry of ``/afterSale/List`` (``channels.md`` 3d). Raises Unreadable."""
    info, order = item.node("aftersale_info"), item.node("order_info")
    kind, status = info.whole("aftersale_type"), info.whole("aftersale_status")
    related = order.nodes("related_order_info")
    state = _refund_state(info, related)
    return RefundDraft(
        channel=DouyinConnector.channel,
        refund_id=info.id("aftersale_id"),
        channel_number=order.id("shop_order_id"),
        channel_line_id=_refunded_line(info, related),
        amount=info.fen("refund_amount"),
        state_raw=str(status),
        refund_state=state,
        return_goods=kind in _GOODS_COME_BACK,
        intercept_shipping=kind in _MONEY_ONLY and state in {"in_progress", "refunded", "partial"},
        modified_at=info.unix_seconds("update_time"),
    )


def _refund_state(info: Node, related: list[Node]) -> str:
    status = info.whole("aftersale_status")
    if status in _REFUND_CLOSED:
        return "closed"
    if status == _EXCHANGE_DONE:
        return "done"
    money = info.whole("refund_status", default=0)
    if status != _REFUND_DONE or money in _REFUND_FAILED_OR_WAITING:
        return "in_progress"
    lines = sum((line.fen("pay_amount", default=NO_MONEY) for line in related), NO_MONEY)
    freight = sum((line.fen("post_amount", default=NO_MONEY) for line in related), NO_MONEY)
    return "refunded" if info.fen("refund_amount") >= lines - freight else "partial"


def _refunded_line(info: Node, related: list[Node]) -> str | None:
    lines = [line.id("sku_order_id") for line in related]
    if len(lines) == 1:
        return lines[0]
    one = info.optional_id("related_id")
    return one if one in lines else None


def _read_event(entry: Node) -> EventDraft:
    """One entry of a push. ``data`` is JSON text inside JSON. Raises Unreadable."""
    data = Node.of(loads_strict(entry.text("data").encode()), "data")
    return EventDraft(
        channel=DouyinConnector.channel,
        event_id=entry.id("msg_id"),
        topic=entry.id("tag"),
        channel_number=data.optional_id("p_id"),
        occurred_at=_occurred_at(data),
    )


def _occurred_at(data: Node) -> datetime | None:
    """A number in order messages, a date text in refund messages; a hint may have none."""
    for key in ("update_time", "pay_time", "create_time"):
        for read in (data.unix_seconds, data.china_time):
            try:
                moment = read(key)
            except Unreadable:
                continue
            if moment is not None:
                return moment
    return None


def _hint(entry: Any) -> RawMessage:
    body = dump_compact(entry)
    try:
        event = _read_event(Node.of(entry))
    except Unreadable:
        return RawMessage(MessageKind.UNREADABLE, body)
    return RawMessage(MessageKind.EVENT, body, event.channel_number or "", event.event_id)


def _shops(body: bytes) -> set[str]:
    """Every shop the entries of a push speak of; what cannot be read speaks of none."""
    try:
        entries = loads_strict(body)
    except Unreadable:
        return set()
    found = set()
    for entry in entries if isinstance(entries, list) else []:
        try:
            data = loads_strict(text_of(entry.get("data")).encode())
            found.add(_number_of(data, "shop_id"))
        except (Unreadable, AttributeError):
            continue
    return found - {""}
