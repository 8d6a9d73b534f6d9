"""Pinduoduo (``channels.md`` 4).

Parameters are flat and all text; the outer key of an answer cannot be derived from the method.
The API speaks yuan, as number or text; messages and ``refund.information.get`` speak fen.
Receivers are ciphertext and are emptied after shipping and under risk review. Messages travel
over a WebSocket, not over HTTP.
"""

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any, ClassVar, Final
from urllib.parse import quote

from channels_sync.connectors.base import (
    BaseConnector,
    Listing,
    ListPage,
    Node,
    WithoutPush,
    dump_compact,
    endpoint,
    exchange,
    id_text,
    is_masked_text,
    line_ids,
    loads_strict,
    order_refund_state,
    parse_reply,
    platform_error,
    pull_backwards,
    raise_refusal,
    reading_reply,
    refuse_client_error,
    require_success,
    required_time,
    slices,
    unix_milliseconds,
    unwrap,
)
from channels_sync.contracts import (
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
    Window,
)
from ordercenter.core.money import share_out
from ordercenter.orders.contracts import (
    ChannelStatus,
    EventDraft,
    GiftDraft,
    LineDraft,
    OrderDraft,
    ReceiverDraft,
    RefundDraft,
)

S = ChannelStatus
ZERO: Final = Decimal("0.00")

ORDERS: Final = "pdd.order.number.list.increment.get"
ORDER: Final = "pdd.order.information.get"
REFUNDS: Final = "pdd.refund.list.increment.get"
SEND: Final = "pdd.logistics.online.send"
EXTRA: Final = "pdd.order.upload.extra.logistics"
METHODS: Final[Mapping[str, str]] = {
    "order_sn_increment_get_response": ORDERS,
    "order_info_get_response": ORDER,
    "order_list_get_response": "pdd.order.list.get",
    "refund_increment_get_response": REFUNDS,
    "logistics_online_send_response": SEND,
    "upload_extra_logistics_response": EXTRA,
    "goods_quantity_update_response": "pdd.goods.quantity.update",
    "open_decrypt_batch_response": "pdd.open.decrypt.batch",
    "refund_status_check_response": "pdd.refund.status.check",
    "pop_auth_token_create_response": "pdd.pop.auth.token.create",
    "pop_auth_token_refresh_response": "pdd.pop.auth.token.refresh",
    "response": "pdd.order.note.update",
}
ANSWERS: Final[Mapping[str, str]] = {method: key for key, method in METHODS.items()}

SHIPPING: Final[Mapping[int, ChannelStatus]] = {1: S.WAIT_SHIP, 2: S.SHIPPED, 3: S.FINISHED}
REFUNDING: Final = frozenset({2, 3})
REFUNDED: Final = 4
AFTER_SALES: Final[Mapping[int, str]] = {
    0: "none",
    **dict.fromkeys((2, 3, 4, 5, 7, 8, 31, 32, 33), "in_progress"),
    # 6: the merchant turned it down and may ship. If the buyer asks again, the number changes.
    **dict.fromkeys((6, 9, 11, 12, 13, 17), "closed"),
    10: "refunded",
    **dict.fromkeys((14, 15, 18), "in_progress"),
    16: "done",
    **dict.fromkeys(range(21, 28), "in_progress"),
}
REFUND_ONLY: Final = 2
GOODS_COME_BACK: Final = frozenset({3, 4})

AUTH_CODES: Final = frozenset({"10019", "20004", "20005", "20031"})
RATE_CODES: Final = frozenset({"52101", "70031"})
PLATFORM_CODES: Final = frozenset({"50000", "50001", "50002", "52001", "52002"})
DEGRADED_CODES: Final = frozenset({"52102", "52103", "70033"})
DEGRADED_WAIT: Final = 300
"""Seconds; the platform states none and asks for patience."""



def sign(params: Mapping[str, str], secret: str) -> str:
    """Sign as open.pinduoduo.com 8EC06C399636041E: md5 over sorted ``name + value``, wrapped.

    Nested values are JSON text and booleans lower-case text before they come here.
    """
    joined = "".join(f"{k}{v}" for k, v in sorted(params.items()) if k != "sign")
    wrapped = f"{secret}{joined}{secret}".encode()
    return hashlib.md5(wrapped, usedforsecurity=False).hexdigest().upper()


def message_path(client_id: str, milliseconds: str, secret: str) -> str:
    """The WebSocket's path: base64 over the 32 hex characters of the md5, not its 16 bytes."""
    joined = f"{client_id}{milliseconds}{secret}".encode()
    digest = hashlib.md5(joined, usedforsecurity=False).hexdigest()
    token = quote(base64.b64encode(digest.encode()).decode(), safe="")
    return f"/message/{client_id}/{milliseconds}/{token}"


def wire_text(value: Any) -> str:
    """Spell a parameter as it is signed and sent: text, lower-case booleans, compact JSON."""
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def classify(payload: Any) -> PlatformError | None:
    """Tell whether an answer is a refusal and of which class (``channels.md`` 4a)."""
    if not isinstance(payload, Mapping):
        return None
    if "error_response" in payload:
        error = Node.of(payload["error_response"], "error_response")
        code = error.text("error_code")
        wait = DEGRADED_WAIT if code in DEGRADED_CODES else None
        return PlatformError(
            _klass(code),
            code,
            error.first_text("sub_msg", "error_msg") or "",
            sub_code=error.first_text("sub_code"),
            retry_after_seconds=wait,
        )
    for key, answer in payload.items():
        if key in METHODS and isinstance(answer, Mapping):
            return _inner_refusal(Node(answer))
    return None


def _inner_refusal(answer: Node) -> PlatformError | None:
    flag = answer.get("is_success" if "is_success" in answer.data else "success")
    if flag not in (False, "false"):
        return None
    code = answer.first_text("error_code") or "is_success"
    return PlatformError(_klass(code), code, answer.first_text("error_msg") or "平台没有确认成功")


def _klass(code: str) -> ErrorClass:
    if code in AUTH_CODES:
        return ErrorClass.AUTH
    if code in RATE_CODES:
        return ErrorClass.RATE_LIMITED
    if code in PLATFORM_CODES or code in DEGRADED_CODES:
        return ErrorClass.PLATFORM
    return ErrorClass.BUSINESS


class PinduoduoConnector(WithoutPush, BaseConnector):
    """One Pinduoduo shop."""

    channel: ClassVar[str] = "pinduoduo"
    feeds: ClassVar[tuple[Feed, ...]] = (
        Feed("orders", 30 * 60, 180),
        Feed("refunds", 30 * 60, 180),
    )
    page_size: ClassVar[int] = 100

    # --- calls ---

    def _call(self, method: str, business: Mapping[str, Any], *, writes: bool = False) -> Node:
        """Call ``method``; return the content of its answer. Raises ConnectorError."""
        params = {
            "type": method,
            "client_id": self.access.app_key,
            "access_token": self.access.access_token,
            "timestamp": str(int(self.now().timestamp())),
            "data_type": "JSON",
            "version": "V1",
            **{name: wire_text(value) for name, value in business.items()},
        }
        params["sign"] = sign(params, self.access.app_secret)
        url = endpoint(self.access.base_url, "/api/router")
        request = self.client.build_request("POST", url, json=params)
        reply = exchange(self.client, request, writes=writes)
        refuse_client_error(reply)
        payload = parse_reply(reply.body, writes=writes)
        with reading_reply(writes=writes):
            error = classify(payload)
        if error:
            raise_refusal(error, writes=writes)
        content = payload.get(ANSWERS[method]) if isinstance(payload, dict) else None
        if not isinstance(content, dict):
            raise TryLater(
                platform_error("bad_body", "平台的答复缺少应有的内容"), outcome_unknown=writes
            )
        return Node(content, ANSWERS[method])

    def pull(self, feed: str, window: Window) -> Iterator[Page]:
        """Yield the orders modified within ``window``, then its refunds, by half hours."""
        orders = Listing(self._count, self._page, self.page_size)
        refunds = Listing(self._refund_count, self._refund_page, self.page_size)
        listing = {"orders": orders, "refunds": refunds}[feed]
        for span in slices(window, self.feed(feed).max_window_seconds):
            yield from pull_backwards(span, listing)

    def _list(self, window: Window, page: int, *, use_has_next: bool) -> Node:
        query = {
            **_span(window),
            "order_status": 5,
            "refund_status": 5,
            "is_lucky_flag": 0,
            "page": page,
            "page_size": self.page_size,
            "use_has_next": use_has_next,
        }
        return self._call(ORDERS, query)

    def _count(self, window: Window) -> int:
        # Only without use_has_next does the platform tell the total, and with it the last page.
        return _total(self._list(window, 1, use_has_next=False))

    def _page(self, window: Window, number: int) -> ListPage:
        answer = self._list(window, number, use_has_next=True)
        rows = _rows(answer, "order_sn_list")
        has_next = answer.get("has_next") in (True, "true")
        return ListPage(tuple(_message(MessageKind.ORDER, row) for row in rows), has_next)

    def _refunds(self, window: Window, page: int) -> Node:
        query = {
            **_span(window),
            "after_sales_status": 1,
            "after_sales_type": 1,
            "page": page,
            "page_size": self.page_size,
        }
        return self._call(REFUNDS, query)

    def _refund_count(self, window: Window) -> int:
        return _total(self._refunds(window, 1))

    def _refund_page(self, window: Window, number: int) -> ListPage:
        rows = _rows(self._refunds(window, number), "refund_list")
        return ListPage(tuple(_message(MessageKind.REFUND, row) for row in rows))

    def fetch(self, channel_number: str) -> RawMessage:
        order = self._order(channel_number)
        return RawMessage(MessageKind.ORDER, dump_compact(order.data), channel_number)

    def _order(self, channel_number: str) -> Node:
        order = self._call(ORDER, {"order_sn": channel_number}).node_or_empty("order_info")
        if _order_sn(order.data) != channel_number:
            raise TryLater(platform_error("bad_body", "平台没有给出所查的订单"))
        return order

    def ship(self, notice: ShipNotice) -> None:
        """Tell Pinduoduo; a repeat finds the parcel and is done.

        The platform ships an order whole: of several part shipments the first ships it, the
        others are added as further parcels.
        """
        carrier = self.carrier_code(notice.carrier)
        business = {
            "order_sn": notice.channel_number,
            "logistics_id": carrier,
            "tracking_number": notice.tracking_number,
            "redelivery_type": 1,  # 2 would overwrite another parcel's number
        }
        try:
            answer = self._call(SEND, business, writes=True)
            require_success(answer.get("is_success"))
        except Rejected as refusal:
            if refusal.error.klass is not ErrorClass.BUSINESS:
                raise
            order = self._order(notice.channel_number)
            with reading_reply():
                parcels = _parcels(order)
            if notice.tracking_number in parcels:
                return
            if not notice.lines or not order.text("tracking_number").strip():
                raise
            self._add_parcel(notice, carrier)

    def _add_parcel(self, notice: ShipNotice, carrier: str) -> None:
        parcel = {"shipping_id": int(carrier), "tracking_number": notice.tracking_number}
        business = {
            "order_sn": notice.channel_number,
            "extra_track_list": [parcel],
            "extra_track_type": 1,
        }
        self._call(EXTRA, business, writes=True)

    def test(self) -> None:
        end = self.now() - timedelta(seconds=self.feed("orders").settle_seconds)
        self._count(Window(end - timedelta(minutes=1), end))

    # --- reading ---

    def read(self, body: bytes) -> OrderDraft:
        return read_order(Node.of(loads_strict(body)))

    def read_refund(self, body: bytes) -> RefundDraft:
        return _refund(Node.of(loads_strict(body)))

    def read_event(self, body: bytes) -> EventDraft:
        return _event(Node.of(loads_strict(body)))

    def read_document(self, body: bytes) -> Document:
        payload = Node.of(loads_strict(body))
        if error := classify(payload.data):
            return Document("error", error=error)
        if "commandType" in payload.data:
            return _frame(payload)
        if "after_sales_type" in payload.data and "refund_amount" in payload.data:
            return _refund_list((payload,), {})
        if "order_sn" in payload.data:
            return Document("order", orders=(read_order(payload),))
        keys = [key for key in payload.data if key in METHODS]
        if len(keys) != 1:
            raise Unreadable("不是拼多多开放平台的答复")
        return _answer(keys[0], payload.node(keys[0]))


def _span(window: Window) -> dict[str, int]:
    return {
        "start_updated_at": int(window.start.timestamp()),
        "end_updated_at": int(window.end.timestamp()),
    }


def _total(answer: Node) -> int:
    with reading_reply():
        return answer.whole("total_count")


def _rows(answer: Node, key: str) -> list[Any]:
    with reading_reply():
        return unwrap(answer.get(key))


def _order_sn(row: Any) -> str:
    try:
        return id_text(row["order_sn"], "order_sn")
    except (Unreadable, KeyError, TypeError):
        return ""


def _message(kind: MessageKind, row: Any) -> RawMessage:
    return RawMessage(kind, dump_compact(row), _order_sn(row))


def _parcels(order: Node) -> set[str]:
    """Every tracking number the order has already."""
    numbers = {order.text("tracking_number").strip()}
    for key in ("extra_delivery_list", "resend_delivery_list", "gift_delivery_list"):
        numbers |= {parcel.text("tracking_number").strip() for parcel in order.nodes(key)}
    return numbers - {""}


# --- documents ------------------------------------------------------------------------------


def _answer(key: str, answer: Node) -> Document:
    method = METHODS[key]
    if "order_sn_list" in answer.data or "order_list" in answer.data:
        name = "order_sn_list" if "order_sn_list" in answer.data else "order_list"
        orders = tuple(read_order(order) for order in answer.nodes(name))
        facts = {"method": method, "page": _page_facts(answer)}
        return Document("order_list", orders=orders, facts=facts)
    if method == ORDER:
        order = read_order(answer.node("order_info"))
        return Document("order", orders=(order,), facts={"method": method})
    if method == REFUNDS:
        facts = {"method": method, "page": _page_facts(answer)}
        return _refund_list(answer.nodes("refund_list"), facts)
    if "access_token" in answer.data:
        return _token(answer, method)
    if "data_decrypt_list" in answer.data:
        return _decrypted(answer, method)
    return Document("ack", facts={"method": method, "ok": True})


def _page_facts(answer: Node) -> dict[str, object]:
    """With ``has_next`` the platform gives 0 for a total it has not counted."""
    if "has_next" in answer.data:
        return {"has_next": answer.boolean("has_next"), "total": None}
    return {"has_next": None, "total": answer.optional_whole("total_count")}


def _refund_list(refunds: Sequence[Node], facts: Mapping[str, object]) -> Document:
    skus = {
        refund.text("id"): {"platform_sku_id": refund.optional_id("sku_id")} for refund in refunds
    }
    return Document(
        "refund_list",
        refunds=tuple(_refund(refund) for refund in refunds),
        facts={**facts, "refund_facts": skus},
    )


def _token(answer: Node, method: str) -> Document:
    return Document(
        "token",
        facts={
            "method": method,
            "access_token": answer.text("access_token"),
            "expires_in": answer.whole("expires_in"),
            "shop_id": answer.optional_id("owner_id"),
            "shop_name": answer.given_text("owner_name"),
        },
    )


def _decrypted(answer: Node, method: str) -> Document:
    entries = [
        {
            "platform_order_no": entry.text("data_tag"),
            "ok": entry.whole("error_code", default=0) == 0,
            "code": entry.text("error_code"),
        }
        for entry in answer.nodes("data_decrypt_list")
    ]
    return Document("decrypt", facts={"method": method, "entries": entries})


def _frame(frame: Node) -> Document:
    if frame.text("commandType") != "Common":
        return Document("event_list")
    return Document("event_list", events=(_event(frame),))


def _event(frame: Node) -> EventDraft:
    """Read one message frame; ``content`` is JSON inside a text and is decoded once."""
    message = frame.node("message")
    content = Node.of(loads_strict(message.text("content").encode()), message.name("content"))
    return EventDraft(
        channel=PinduoduoConnector.channel,
        event_id=frame.id("id"),
        topic=message.id("type"),
        channel_number=content.optional_id("tid"),
        occurred_at=unix_milliseconds(frame.get("time"), "time"),
    )


# --- refunds --------------------------------------------------------------------------------


def _refund(refund: Node) -> RefundDraft:
    """Read a row of the refund list; its amount is yuan and its type list starts with "all"."""
    raw = refund.whole("after_sales_status")
    kind = refund.whole("after_sales_type")
    state = AFTER_SALES.get(raw, "in_progress")  # an unknown word holds the parcel
    stands = state in {"in_progress", "refunded"}
    return RefundDraft(
        channel=PinduoduoConnector.channel,
        refund_id=refund.id("id"),
        channel_number=refund.id("order_sn"),
        channel_line_id=None,
        amount=refund.yuan("refund_amount"),
        state_raw=str(raw),
        refund_state=state,
        return_goods=kind in GOODS_COME_BACK,
        intercept_shipping=kind == REFUND_ONLY and stands,
        modified_at=refund.china_time("updated_time"),
    )


# --- orders ---------------------------------------------------------------------------------


def read_order(order: Node) -> OrderDraft:
    """Normalise one order. Raises Unreadable."""
    payable = order.yuan("pay_amount")
    freight = order.yuan("postage", default=ZERO)
    status = _status(order)
    lines = _lines(order, payable - freight)
    placed_at = order.china_time("created_time") or order.china_time("confirm_time")
    return OrderDraft(
        channel=PinduoduoConnector.channel,
        channel_number=order.id("order_sn"),
        status=status,
        status_raw=_status_raw(order),
        currency="CNY",
        payable_amount=payable,
        paid_amount=_paid(order, status, payable),
        freight=freight,
        placed_at=required_time(placed_at, "created_time"),
        modified_at=required_time(order.china_time("updated_at"), "updated_at"),
        lines=lines,
        paid_at=order.china_time("pay_time"),
        receiver=_receiver(order),
        gifts_outside_lines=_gifts(order),
        buyer_remark=order.given_text("buyer_memo"),
        seller_memo=order.given_text("remark"),
        seller_flag=order.optional_whole("remark_tag"),
        refund_state=order_refund_state(lines),
        is_presale=order.text("is_pre_sale") == "1" or order.text("trade_type") == "1",
    )


def _status(order: Node) -> ChannelStatus:
    """May ship: confirmed, group complete, order_status 1, no risk review, not refunded."""
    confirm = order.whole("confirm_status", default=1)
    group = order.whole("group_status", default=1)
    refunded = order.whole("refund_status", default=1) == REFUNDED
    step = _step(order)
    if confirm == 2 or group == 2:  # noqa: PLR2004 - cancelled, group failed
        return S.CLOSED_REFUNDED if refunded else S.CLOSED
    if step in {0, 1}:
        return S.DEPOSIT_PAID if step else S.WAIT_PAY
    if confirm == 0 and order.china_time("pay_time") is None:
        return S.WAIT_PAY
    status = SHIPPING.get(order.whole("order_status"), S.UNKNOWN)
    if status is not S.WAIT_SHIP:
        return status
    if refunded:
        return S.CLOSED_REFUNDED
    under_review = order.whole("risk_control_status", default=0) != 0
    return S.ON_HOLD if under_review or confirm != 1 or group != 1 else S.WAIT_SHIP


def _step(order: Node) -> int | None:
    """How far a deposit order is: 0 nothing, 1 deposit, 2 all paid; None for other orders."""
    return order.node_or_empty("step_order_info").optional_whole("step_trade_status")


def _status_raw(order: Node) -> str:
    """``order_status`` and every axis that is not at its ordinary value."""
    ordinary = {
        "confirm_status": 1,
        "group_status": 1,
        "refund_status": 1,
        "risk_control_status": 0,
    }
    parts = [f"order_status={order.whole('order_status')}"]
    for key, value in ordinary.items():
        if (found := order.whole(key, default=value)) != value:
            parts.append(f"{key}={found}")
    if (step := _step(order)) is not None:
        parts.append(f"step_trade_status={step}")
    return ",".join(parts)


def _paid(order: Node, status: ChannelStatus, payable: Decimal) -> Decimal:
    if status is S.WAIT_PAY:
        return ZERO
    if _step(order) in {0, 1}:
        return order.node("step_order_info").yuan("step_paid_fee", default=ZERO)
    closed_unpaid = status is S.CLOSED and order.china_time("pay_time") is None
    return ZERO if closed_unpaid else payable


def _lines(order: Node, goods: Decimal) -> tuple[LineDraft, ...]:
    rows = order.nodes("item_list")
    if not rows:
        raise Unreadable("订单没有商品行")
    # Less paid than the freight costs: the sum will not fit, and finance sees it.
    goods = max(goods, ZERO)
    ids = line_ids(row.optional_id("sku_id") or row.id("goods_id") for row in rows)
    weights = [row.yuan("goods_price") * row.quantity("goods_count") for row in rows]
    amounts = [goods] if len(rows) == 1 else share_out(goods, weights)
    state = _line_refund_state(order)
    return tuple(
        LineDraft(
            channel_line_id=line_id,
            platform_sku_id=row.optional_id("sku_id"),
            outer_code=row.first_text("outer_id"),
            title=row.text("goods_name"),
            quantity=row.quantity("goods_count"),
            unit_price=row.yuan("goods_price"),
            amount=amount,
            refund_state=state,
        )
        for line_id, row, amount in zip(ids, rows, amounts, strict=True)
    )


def _line_refund_state(order: Node) -> str:
    refund = order.whole("refund_status", default=1)
    if refund == REFUNDED:
        return "refunded"
    if refund in REFUNDING:
        return "in_progress"
    state = AFTER_SALES.get(order.whole("after_sales_status", default=0), "in_progress")
    return "closed" if state == "done" else state


def _receiver(order: Node) -> ReceiverDraft | None:
    """Show the masked text while the ciphertext is given; empty ciphertext is "not given"."""
    name, phone = _shown(order, "receiver_name"), _shown(order, "receiver_phone")
    address = _shown(order, "receiver_address")
    receiver = ReceiverDraft(
        name=name,
        phone=phone,
        province=order.text("province"),
        city=order.text("city"),
        district=order.text("town"),
        address=address,
        is_masked=is_masked_text(name, phone, address) or _is_ciphertext(name, phone, address),
        oaid=order.text("open_address_id"),
    )
    return None if receiver == ReceiverDraft() else receiver


def _shown(order: Node, key: str) -> str:
    given = order.text(key)
    return order.first_text(f"{key}_mask") or given if given.strip() else ""


def _is_ciphertext(*texts: str) -> bool:
    return any(text.startswith(("~", "$")) for text in texts)


def _gifts(order: Node) -> tuple[GiftDraft, ...]:
    return tuple(
        GiftDraft(
            name=gift.text("goods_name"),
            quantity=gift.quantity("goods_count"),
            platform_item_id=gift.optional_id("goods_id"),
            platform_sku_id=gift.optional_id("sku_id"),
            outer_code=gift.first_text("outer_id"),
        )
        for gift in order.nodes("gift_list")
    )
