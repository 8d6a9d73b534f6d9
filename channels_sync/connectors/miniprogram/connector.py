"""Our own mini-program shop: orders from the private-domain CRM, shipping told to WeChat.

The CRM's wire is ours to define (``channels.md`` 7): signed webhooks, and rows of ``crm_order``
and ``crm_refund`` read by keyset. WeChat knows the payment only and wants to hear of the parcel
(``channels.md`` 6a, 6d).
"""

import hashlib
import hmac
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from http import HTTPStatus
from typing import Any, ClassVar, Final
from urllib.parse import quote, urlencode

from channels_sync.connectors.base import (
    CHINA,
    BaseConnector,
    Node,
    china_time,
    dump_compact,
    endpoint,
    exchange,
    line_ids,
    loads_strict,
    optional_id,
    order_refund_state,
    parse_reply,
    platform_error,
    raise_refusal,
    reading_reply,
    refuse_client_error,
    required_time,
    unix_seconds,
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

SKEW_SECONDS: Final = 300
PAGE_SIZE: Final = 200
NO_MONEY: Final = Decimal("0.00")
_TIMESTAMP: Final = re.compile(r"[0-9]{1,10}")
_SECONDS_TEXT: Final = re.compile(r"[0-9]{9,10}")

_S: Final = ChannelStatus
_STATUS: Final[Mapping[str, ChannelStatus]] = {
    "unpaid": _S.WAIT_PAY,
    "deposit_paid": _S.DEPOSIT_PAID,
    "paid": _S.WAIT_SHIP,
    "shipped": _S.SHIPPED,
    "finished": _S.FINISHED,
    "cancelled": _S.CLOSED,
}
_UNPAID: Final = frozenset({_S.WAIT_PAY, _S.DEPOSIT_PAID, _S.CLOSED_UNPAID})
_REFUND: Final[Mapping[str, str]] = {
    "pending": "in_progress",
    "success": "refunded",
    "refused": "closed",
    "cancelled": "closed",
}
_EXCHANGE: Final = "exchange"
_REFUND_ONLY: Final = "refund_only"
_REFUND_TYPES: Final = frozenset({_REFUND_ONLY, "return_refund", _EXCHANGE})

_TOKEN_CODES: Final = frozenset({40001, 40014, 42001})
_WECHAT: Final[Mapping[int, ErrorClass]] = {
    **dict.fromkeys((*_TOKEN_CODES, 40013, 40125, 40164, 48001, 61004), ErrorClass.AUTH),
    **dict.fromkeys((45009, 45011), ErrorClass.RATE_LIMITED),
    -1: ErrorClass.PLATFORM,
}
_NOTHING_NEW: Final = 10060023
"""The same parcel was reported before. Seen in public integrations, in no stored document."""
_CRM: Final[Mapping[str, ErrorClass]] = {
    "bad_signature": ErrorClass.AUTH,
    "stale_timestamp": ErrorClass.AUTH,
    "unknown_key": ErrorClass.AUTH,
    "rate_limited": ErrorClass.RATE_LIMITED,
    "busy": ErrorClass.PLATFORM,
}
_NEEDS_CONTACT: Final = "sf"
_SHORTEST_PHONE: Final = 8


def crm_sign(secret: str, timestamp: str, signed: bytes) -> str:
    """``X-Signature``: hex HMAC-SHA256 of ``timestamp.`` and the raw body, or path and query."""
    text = timestamp.encode() + b"." + signed
    return hmac.new(secret.encode(), text, hashlib.sha256).hexdigest()


class MiniProgramConnector(BaseConnector):
    """One mini-program shop."""

    channel: ClassVar[str] = "miniprogram"
    feeds: ClassVar[tuple[Feed, ...]] = (
        Feed("orders", 30 * 86_400, 60),
        Feed("refunds", 30 * 86_400, 60),
    )
    """Rows commit late: a row may appear with a time that has passed already."""

    # --- asking -----------------------------------------------------------------------------

    def pull(self, feed: str, window: Window) -> Iterator[Page]:
        """Yield the window's order rows, or its refund rows, by keyset, oldest first."""
        table, kind = {
            "orders": ("/crm_order", MessageKind.ORDER),
            "refunds": ("/crm_refund", MessageKind.REFUND),
        }[feed]
        yield from self._walk(table, kind, window)

    def fetch(self, channel_number: str) -> RawMessage:
        row = self._row(channel_number)
        return RawMessage(MessageKind.ORDER, dump_compact(row.data), channel_number)

    def ship(self, notice: ShipNotice) -> None:
        """Tell WeChat of the parcel, by the merchant number and our order number.

        The option ``mchid`` names the merchant. A parcel that holds every line is told as the
        whole order; one that does not leaves the order open at WeChat, which does not know our
        lines.
        """
        parcel: dict[str, Any] = {
            "tracking_no": notice.tracking_number,
            "express_company": self.carrier_code(notice.carrier),
            "item_desc": f"订单 {notice.channel_number}",
        }
        mode: dict[str, Any] = {"delivery_mode": 1}
        if notice.lines or notice.carrier == _NEEDS_CONTACT:
            row = self._row(notice.channel_number)
            parcel |= _contact(row) if notice.carrier == _NEEDS_CONTACT else {}
            with reading_reply():
                if notice.lines and not self._is_whole(row, notice):
                    mode = {"delivery_mode": 2, "is_all_delivered": False}
        body = self._shipping_info(notice, parcel) | mode
        try:
            self._wechat("/wxa/sec/order/upload_shipping_info", body)
        except Rejected as error:
            if error.error.code != str(_NOTHING_NEW):
                raise

    def test(self) -> None:
        now = self.now()
        self._rows("/crm_order", (_crm_time(now), 0), _crm_time(now), limit=1)
        self._token(fresh=False)

    def _walk(self, path: str, kind: MessageKind, window: Window) -> Iterator[Page]:
        """Ask ``(updated_at, id) > cursor`` until a page is short; the cursor must move."""
        cursor = (_crm_time(window.start), 0)
        until = _crm_time(window.end)
        number = 0
        while True:
            rows = self._rows(path, cursor, until, limit=PAGE_SIZE)
            number += 1
            yield Page(tuple(_message(kind, row) for row in rows), number)
            if len(rows) < PAGE_SIZE:
                return
            following = _cursor(rows[-1])
            if following <= cursor:
                raise TryLater(platform_error("cursor", "商城的下一页没有前进，已停止翻页"))
            cursor = following

    def _rows(self, path: str, cursor: tuple[str, int], until: str, *, limit: int) -> list[Any]:
        query: dict[str, str | int] = {
            "updated_at": cursor[0],
            "id": cursor[1],
            "until": until,
            "limit": limit,
        }
        answer = self._get(path, query)
        rows = answer.get("rows")
        if not isinstance(rows, list):
            raise TryLater(platform_error("bad_body", "商城的答复里没有 rows"))
        return rows

    def _get(self, path: str, query: Mapping[str, str | int]) -> Node:
        """Ask the CRM; the signature covers path and query exactly as they are sent."""
        url = endpoint(self.access.base_url, path) + (f"?{urlencode(query)}" if query else "")
        request = self.client.build_request("GET", url)
        timestamp = str(int(self.now().timestamp()))
        request.headers["X-Timestamp"] = timestamp
        request.headers["X-Signature"] = crm_sign(
            self.access.app_secret, timestamp, request.url.raw_path
        )
        reply = exchange(self.client, request)
        if reply.status in {HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND}:
            code = f"http_{reply.status}"
            raise Rejected(
                PlatformError(ErrorClass.BUSINESS, code, f"商城拒绝了请求（HTTP {reply.status}）")
            )
        refuse_client_error(reply)
        with reading_reply():
            answer = Node.of(parse_reply(reply.body))
            error = _crm_error(answer)
            if error is not None:
                raise_refusal(error)
            return answer

    def _row(self, channel_number: str) -> Node:
        """The order's row, bare or in whatever the CRM wraps a single one."""
        answer = self._get(f"/crm_order/{quote(channel_number, safe='')}", {})
        found: Any = answer.data
        for key in ("rows", "row", "order"):
            found = answer.get(key) if key in answer.data else found
        if isinstance(found, list):
            found = found[0] if len(found) == 1 else None
        if not isinstance(found, Mapping) or optional_id(found.get("order_no")) != channel_number:
            raise Rejected(
                PlatformError(ErrorClass.BUSINESS, "no_such_order", "商城没有返回这张订单")
            )
        return Node(found)

    def _is_whole(self, row: Node, notice: ShipNotice) -> bool:
        """Whether the parcel holds every piece of the order."""
        order = self.read(dump_compact(row.data))
        sent = {line.channel_line_id: line.quantity for line in notice.lines}
        return all(sent.get(line.channel_line_id, 0) >= line.quantity for line in order.lines)

    def _shipping_info(self, notice: ShipNotice, parcel: Mapping[str, Any]) -> dict[str, Any]:
        key: dict[str, Any] = {"order_number_type": 1, "out_trade_no": notice.channel_number}
        if mchid := self.access.options.get("mchid"):
            key["mchid"] = mchid
        sent = notice.shipped_at.astimezone(CHINA).isoformat(timespec="milliseconds")
        return {
            "order_key": key,
            "logistics_type": 1,
            "shipping_list": [parcel],
            "upload_time": sent,
        }

    def _wechat(self, path: str, body: Mapping[str, Any]) -> Node:
        """Write to WeChat; a token that died early is renewed once."""
        try:
            return self._post(path, body, token=self._token(fresh=False))
        except Rejected as error:
            if error.error.code not in {str(code) for code in _TOKEN_CODES}:
                raise
        return self._post(path, body, token=self._token(fresh=True))

    def _token(self, *, fresh: bool) -> str:
        """``stable_token`` gives the same token until it ends; ``fresh`` asks for a new one."""
        answer = self._post(
            "/cgi-bin/stable_token",
            {
                "grant_type": "client_credential",
                "appid": self.access.app_key,
                "secret": self.access.app_secret,
                "force_refresh": fresh,
            },
        )
        token = answer.text("access_token")
        if not token:
            raise TryLater(platform_error("bad_body", "微信没有给出 access_token"))
        return token

    def _post(self, path: str, body: Mapping[str, Any], *, token: str = "") -> Node:
        writes = bool(token)
        request = self.client.build_request(
            "POST",
            endpoint(self.access.base_url, path),
            params={"access_token": token} if token else None,
            content=dump_compact(body),
            headers={"Content-Type": "application/json"},
        )
        reply = exchange(self.client, request, writes=writes)
        refuse_client_error(reply)
        with reading_reply(writes=writes):
            answer = Node.of(parse_reply(reply.body, writes=writes))
            error = _wechat_error(answer)
            if error is not None:
                raise_refusal(error, writes=writes)
            return answer

    # --- reading ----------------------------------------------------------------------------

    def read(self, body: bytes) -> OrderDraft:
        document = Node.of(loads_strict(body))
        return self._read_row(document) if "items_json" in document.data else self._read(document)

    def read_refund(self, body: bytes) -> RefundDraft:
        return self._read_refund(Node.of(loads_strict(body)))

    def read_event(self, body: bytes) -> EventDraft:
        event = Node.of(loads_strict(body))
        inner = event.node_or_empty("order").data or event.node_or_empty("refund").data
        return EventDraft(
            channel=self.channel,
            event_id=event.id("event_id"),
            topic=event.id("event"),
            channel_number=optional_id(inner.get("order_no")),
            occurred_at=crm_time(event, "occurred_at"),
        )

    def read_document(self, body: bytes) -> Document:
        document = Node.of(loads_strict(body))
        if "rows" in document.data:
            return self._read_page(document)
        if "order" in document.data or "items_json" in document.data:
            return Document("order", orders=(self.read(body),))
        if "refund" in document.data or "refund_no" in document.data:
            return Document("refund_list", refunds=(self._read_refund(document),))
        error = _crm_error(document) or _wechat_error(document)
        if error is not None:
            return Document("error", error=error)
        if "access_token" in document.data:
            facts = {
                "access_token": document.text("access_token"),
                "expires_in": document.whole("expires_in"),
                "shop_id": None,
                "shop_name": None,
            }
            return Document("token", facts=facts)
        if document.get("ok") is True or "errcode" in document.data:
            return Document("ack", facts={"ok": True})
        raise Unreadable("认不出这是商城的哪一种报文")

    def _read_page(self, page: Node) -> Document:
        facts = {"page": {"next_cursor": page.get("next_cursor")}}
        rows = page.nodes("rows")
        if page.text("table") == "crm_refund":
            refunds = tuple(map(self._read_refund, rows))
            return Document("refund_list", refunds=refunds, facts=facts)
        return Document("order_list", orders=tuple(map(self._read_row, rows)), facts=facts)

    def _read(self, document: Node) -> OrderDraft:
        """Read an order as webhooks carry it (``channels.md`` 7)."""
        order = document.node("order") if "order" in document.data else document
        freight = order.yuan("freight_amount")
        payable = order.yuan("total_amount") - order.yuan("discount_amount") + freight
        if payable < 0:
            raise Unreadable("优惠大于订单金额")
        paid = order.yuan("paid_amount")
        buyer = order.node_or_empty("buyer")
        status = _read_status(order, paid)
        lines = _read_lines(order.nodes("items"))
        return OrderDraft(
            channel=self.channel,
            channel_number=order.id("order_no"),
            status=status,
            status_raw=order.text("status"),
            currency=order.id("currency"),
            payable_amount=payable,
            paid_amount=NO_MONEY if status is _S.WAIT_PAY else paid,
            freight=freight,
            placed_at=required_time(crm_time(order, "created_at"), "created_at"),
            modified_at=required_time(crm_time(order, "updated_at"), "updated_at"),
            paid_at=crm_time(order, "paid_at"),
            lines=lines,
            receiver=_receiver(order.node_or_empty("receiver"), ""),
            evidence=EvidenceDraft(
                buyer_id=buyer.text("member_no"),
                device_id=buyer.text("device_id"),
                ip=buyer.text("ip"),
            ),
            buyer_remark=order.given_text("buyer_remark"),
            seller_memo=order.given_text("seller_memo"),
            refund_state=order_refund_state(lines),
        )

    def _read_row(self, row: Node) -> OrderDraft:
        """Read a row of ``crm_order``. Its amounts are in CNY: the table has no currency."""
        items = row.get("items_json")
        if isinstance(items, str):
            items = loads_strict(items.encode())
        if not isinstance(items, list):
            raise Unreadable("items_json 不是列表")
        nodes = [Node.of(item, f"items_json[{index}]") for index, item in enumerate(items)]
        lines = _read_lines(nodes)
        payable = row.yuan("pay_amount")
        paid_at = crm_time(row, "pay_time")
        status = _read_status(row, payable if paid_at else NO_MONEY)
        settled = paid_at is not None if status is _S.UNKNOWN else status not in _UNPAID
        paid = payable if settled else NO_MONEY
        return OrderDraft(
            channel=self.channel,
            channel_number=row.id("order_no"),
            status=status,
            status_raw=row.text("status"),
            currency=row.first_text("currency") or "CNY",
            payable_amount=payable,
            paid_amount=row.yuan("paid_amount", default=paid),
            freight=row.yuan("freight", default=NO_MONEY),
            placed_at=required_time(crm_time(row, "created_at"), "created_at"),
            modified_at=required_time(crm_time(row, "updated_at"), "updated_at"),
            paid_at=paid_at,
            lines=lines,
            receiver=_receiver(row, "receiver_"),
            evidence=EvidenceDraft(
                buyer_id=row.text("buyer_member_no"),
                device_id=row.text("buyer_device_id"),
                ip=row.text("buyer_ip"),
            ),
            buyer_remark=row.given_text("buyer_remark"),
            seller_memo=row.given_text("seller_memo"),
            refund_state=order_refund_state(lines),
        )

    def _read_refund(self, document: Node) -> RefundDraft:
        """Read a refund, of a webhook or a row of ``crm_refund``."""
        refund = document.node("refund") if "refund" in document.data else document
        kind, raw = refund.id("type"), refund.id("status")
        if kind not in _REFUND_TYPES or raw not in _REFUND:
            raise Unreadable("不认识的退款类型或状态")
        state = _REFUND[raw]
        if kind == _EXCHANGE and state == "refunded":
            state = "done"
        moment = crm_time(refund, "updated_at") or crm_time(document, "occurred_at")
        return RefundDraft(
            channel=self.channel,
            refund_id=refund.id("refund_no"),
            channel_number=refund.id("order_no"),
            channel_line_id=refund.optional_id("line_no"),
            amount=refund.yuan("amount"),
            state_raw=raw,
            refund_state=state,
            return_goods=kind != _REFUND_ONLY,
            intercept_shipping=kind == _REFUND_ONLY and state != "closed",
            modified_at=moment or crm_time(refund, "created_at"),
        )

    # --- pushes -----------------------------------------------------------------------------

    def verify(self, request: WebhookRequest) -> None:
        """Check the signature over time and raw body, and that the time is within 300 s."""
        secret = self.access.app_secret
        timestamp = request.headers.get("x-timestamp", "")
        given = request.headers.get("x-signature", "")
        if not secret or not _TIMESTAMP.fullmatch(timestamp):
            raise BadSignature("x-timestamp")
        expected = crm_sign(secret, timestamp, request.body)
        if not hmac.compare_digest(given.encode(), expected.encode()):
            raise BadSignature("x-signature")
        if abs(request.received_at.timestamp() - int(timestamp)) > SKEW_SECONDS:
            raise BadSignature("stale")

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
                return (RawMessage(kind, request.body, number, event_id),)
        return (RawMessage(MessageKind.UNREADABLE, request.body, event_id=event_id),)

    def acknowledge(self, request: WebhookRequest, *, duplicate: bool) -> WebhookReply:
        messages = self.split(request)
        event_id = messages[0].event_id if messages else ""
        reply = {"ok": True, "event_id": event_id, "duplicate": duplicate}
        return WebhookReply(HTTPStatus.OK, dump_compact(reply))


class CrmConnector(MiniProgramConnector):
    """The same wire under the name the reference payloads give it."""

    channel: ClassVar[str] = "crm_webhook"


# --- values ------------------------------------------------------------------------------------


def crm_time(node: Node, key: str) -> datetime | None:
    """ISO 8601 with offset, Unix seconds, or naive text in Beijing time. Raises Unreadable."""
    value = node.get(key)
    if isinstance(value, int) or (isinstance(value, str) and _SECONDS_TEXT.fullmatch(value)):
        return unix_seconds(value, node.name(key))
    return china_time(value, node.name(key))


def _crm_time(moment: datetime) -> str:
    return moment.astimezone(CHINA).strftime("%Y-%m-%d %H:%M:%S")


def _cursor(row: Any) -> tuple[str, int]:
    """Where the next page starts; a row without a place would lose all that follow."""
    with reading_reply():
        node = Node.of(row, "rows[-1]")
        moment = required_time(crm_time(node, "updated_at"), "updated_at")
        return (_crm_time(moment), node.whole("id"))


def _message(kind: MessageKind, row: Any) -> RawMessage:
    number = optional_id(row.get("order_no")) if isinstance(row, Mapping) else None
    return RawMessage(kind, dump_compact(row), number or "")


def _read_status(order: Node, paid: Decimal) -> ChannelStatus:
    status = _STATUS.get(order.id("status"), _S.UNKNOWN)
    return _S.CLOSED_UNPAID if status is _S.CLOSED and not paid else status


def _read_lines(items: list[Node]) -> tuple[LineDraft, ...]:
    if not items:
        raise Unreadable("订单没有商品行")
    ids = line_ids(item.optional_id("line_no") or str(at) for at, item in enumerate(items, 1))
    return tuple(_read_line(item, one) for item, one in zip(items, ids, strict=True))


def _read_line(item: Node, line_id: str) -> LineDraft:
    quantity, unit = item.quantity("qty"), item.yuan("unit_price")
    off = item.yuan("discount_amount", default=NO_MONEY)
    if off > unit * quantity:
        raise Unreadable(f"{item.path} 的优惠大于商品金额")
    return LineDraft(
        channel_line_id=line_id,
        platform_sku_id=None,
        outer_code=item.first_text("sku_code"),
        title=item.text("title"),
        quantity=quantity,
        unit_price=unit,
        amount=item.yuan("paid_amount", default=unit * quantity - off),
        is_gift=item.boolean("is_gift"),
    )


def _contact(row: Node) -> dict[str, Any]:
    """The receiver's phone as WeChat wants it with SF parcels: masked (``channels.md`` 6d)."""
    phone = row.text("receiver_phone") or row.node_or_empty("receiver").text("phone")
    if len(phone) < _SHORTEST_PHONE:
        return {}
    masked = phone if "*" in phone else f"{phone[:3]}****{phone[-4:]}"
    return {"contact": {"receiver_contact": masked}}


def _receiver(node: Node, prefix: str) -> ReceiverDraft:
    return ReceiverDraft(
        name=node.text(f"{prefix}name"),
        phone=node.text(f"{prefix}phone"),
        province=node.text(f"{prefix}province"),
        city=node.text(f"{prefix}city"),
        district=node.text(f"{prefix}district"),
        address=node.text(f"{prefix}address"),
    )


def _crm_error(answer: Node) -> PlatformError | None:
    error = answer.get("error")
    if answer.get("ok") is not False and error is None:
        return None
    found = Node(error) if isinstance(error, Mapping) else Node({})
    code = found.text("code") or "refused"
    return PlatformError(_CRM.get(code, ErrorClass.BUSINESS), code, found.text("message"))


def _wechat_error(answer: Node) -> PlatformError | None:
    """A good token has no ``errcode`` at all."""
    code = answer.whole("errcode", default=0)
    if code == 0:
        return None
    klass = _WECHAT.get(code, ErrorClass.BUSINESS)
    return PlatformError(klass, str(code), answer.text("errmsg"))
