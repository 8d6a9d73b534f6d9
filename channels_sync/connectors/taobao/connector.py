"""Taobao and Tmall over TOP (``channels.md`` 1).

Lists give whole trades, newest change first, so they are read from the last page to the first.
All money read here is yuan text; the fields in fen (``coupon_fee`` and others) repeat what is
already inside ``payment`` and are left alone. Messages travel over a WebSocket, not over HTTP.
"""

import hashlib
import hmac
import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any, ClassVar, Final
from urllib.parse import unquote

from channels_sync.connectors.base import (
    CHINA,
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
from ordercenter.orders.contracts import (
    ChannelStatus,
    EventDraft,
    EvidenceDraft,
    GiftDraft,
    LineDraft,
    OrderDraft,
    ReceiverDraft,
    RefundDraft,
)

S = ChannelStatus
ZERO: Final = Decimal("0.00")

STATUSES: Final[Mapping[str, ChannelStatus]] = {
    "TRADE_NO_CREATE_PAY": S.WAIT_PAY,
    "WAIT_BUYER_PAY": S.WAIT_PAY,
    "PAY_PENDING": S.WAIT_PAY,
    "WAIT_PRE_AUTH_CONFIRM": S.WAIT_PAY,
    "PAID_FORBID_CONSIGN": S.ON_HOLD,
    "WAIT_SELLER_SEND_GOODS": S.WAIT_SHIP,
    "SELLER_CONSIGNED_PART": S.PART_SHIPPED,
    "WAIT_BUYER_CONFIRM_GOODS": S.SHIPPED,
    "TRADE_BUYER_SIGNED": S.SHIPPED,
    "TRADE_FINISHED": S.FINISHED,
    "TRADE_CLOSED": S.CLOSED_REFUNDED,
    "TRADE_CLOSED_BY_TAOBAO": S.CLOSED_UNPAID,
}
REFUND_STATES: Final[Mapping[str, str]] = {
    "": "none",
    "NO_REFUND": "none",
    "WAIT_SELLER_AGREE": "in_progress",
    "WAIT_BUYER_RETURN_GOODS": "in_progress",
    "WAIT_SELLER_CONFIRM_GOODS": "in_progress",
    # The merchant has decided to ship. If the buyer asks again, the word changes back.
    "SELLER_REFUSE_BUYER": "closed",
    "CLOSED": "closed",
    "SUCCESS": "refunded",
}
EXCHANGES: Final = frozenset({"TMALL_EXCHANGE", "TAOBAO_EXCHANGE"})

AUTH_CODES: Final = frozenset({"22", "23", "25", "26", "27", "28", "29"})
PLATFORM_CODES: Final = frozenset({"530"})
PLATFORM_SUB_CODES: Final = ("isp.", "ism.")
BAN: Final = re.compile(r"last for ([0-9]{1,6}) more seconds")

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


def sign(params: Mapping[str, str], secret: str, method: str) -> str:
    """Sign as TOP articleId=101617: sorted ``name + value``, empty ones left out, UTF-8.

    ``md5`` wraps the text in the secret; ``hmac`` (HMAC-MD5) and ``hmac-sha256`` do not.
    """
    joined = "".join(f"{k}{v}" for k, v in sorted(params.items()) if k != "sign" and k and v)
    if method == "md5":
        wrapped = f"{secret}{joined}{secret}".encode()
        return hashlib.md5(wrapped, usedforsecurity=False).hexdigest().upper()
    digests = {"hmac": "md5", "hmac-sha256": "sha256"}
    return hmac.new(secret.encode(), joined.encode(), digests[method]).hexdigest().upper()


def classify(payload: Any) -> PlatformError | None:
    """Tell whether an answer is a refusal and of which class (``channels.md`` 1a)."""
    if not isinstance(payload, Mapping) or "error_response" not in payload:
        return None
    error = Node.of(payload["error_response"], "error_response")
    code = error.text("code")
    sub_code = error.first_text("sub_code")
    message = error.first_text("sub_msg", "msg") or ""
    ban = BAN.search(error.text("sub_msg"))
    return PlatformError(
        _klass(code, sub_code or ""),
        code,
        message,
        sub_code=sub_code,
        retry_after_seconds=int(ban.group(1)) if ban else None,
    )


def _klass(code: str, sub_code: str) -> ErrorClass:
    if code == "7" or sub_code.startswith("accesscontrol.limited"):
        return ErrorClass.RATE_LIMITED
    if code in AUTH_CODES:
        return ErrorClass.AUTH
    transient = sub_code.startswith(PLATFORM_SUB_CODES) or code in PLATFORM_CODES
    if transient or (code == "15" and not sub_code):
        return ErrorClass.PLATFORM
    return ErrorClass.BUSINESS


class TaobaoConnector(WithoutPush, BaseConnector):
    """One Taobao or Tmall shop. Option ``sign_method``: hmac-sha256 (default), hmac or md5."""

    channel: ClassVar[str] = "taobao"
    feeds: ClassVar[tuple[Feed, ...]] = (
        Feed("orders", 24 * 3600, 120),
        Feed("refunds", 24 * 3600, 120),
    )
    page_size: ClassVar[int] = 100

    # --- calls ---

    def _call(self, method: str, business: Mapping[str, str], *, writes: bool = False) -> Node:
        """Call ``method``; return the content of its ``*_response``. Raises ConnectorError."""
        sign_method = self.access.options.get("sign_method", "hmac-sha256")
        params = {
            "app_key": self.access.app_key,
            "format": "json",
            "method": method,
            "session": self.access.access_token,
            "sign_method": sign_method,
            "timestamp": _china_text(self.now()),
            "v": "2.0",
            **business,
        }
        params = {name: value for name, value in params.items() if value}
        params["sign"] = sign(params, self.access.app_secret, sign_method)
        url = endpoint(self.access.base_url, "/router/rest")
        request = self.client.build_request("POST", url, data=params)
        reply = exchange(self.client, request, writes=writes)
        refuse_client_error(reply)
        payload = parse_reply(reply.body, writes=writes)
        with reading_reply(writes=writes):
            error = classify(payload)
        if error:
            raise_refusal(error, writes=writes)
        content = payload.get(_response_key(method)) if isinstance(payload, dict) else None
        if not isinstance(content, dict):
            raise TryLater(
                platform_error("bad_body", "平台的答复缺少应有的内容"), outcome_unknown=writes
            )
        return Node(content, _response_key(method))

    def pull(self, feed: str, window: Window) -> Iterator[Page]:
        """Yield the trades, or the refunds, modified within ``window``."""
        trades = Listing(
            partial(self._count, "taobao.trades.sold.increment.get", "tid"),
            partial(self._page, "taobao.trades.sold.increment.get", TRADE_FIELDS),
            self.page_size,
        )
        refunds = Listing(
            partial(self._count, "taobao.refunds.receive.get", "refund_id"),
            partial(self._page, "taobao.refunds.receive.get", REFUND_FIELDS),
            self.page_size,
        )
        listing = {"orders": trades, "refunds": refunds}[feed]
        for span in slices(window, self.feed(feed).max_window_seconds):
            yield from pull_backwards(span, listing)

    def _query(self, fields: str, window: Window) -> dict[str, str]:
        return {
            "fields": fields,
            "start_modified": _china_text(window.start),
            "end_modified": _china_text(window.end),
            "page_size": str(self.page_size),
        }

    def _count(self, method: str, fields: str, window: Window) -> int:
        # Only without use_has_next does the platform tell the total, and with it the last page.
        query = {**self._query(fields, window), "page_no": "1", "use_has_next": "false"}
        answer = self._call(method, query)
        with reading_reply():
            return answer.whole("total_results")

    def _page(self, method: str, fields: str, window: Window, number: int) -> ListPage:
        query = {
            **self._query(fields, window),
            "page_no": str(number),
            "use_has_next": "true",
        }
        answer = self._call(method, query)
        outer, inner, kind = (
            ("trades", "trade", MessageKind.ORDER)
            if method == "taobao.trades.sold.increment.get"
            else ("refunds", "refund", MessageKind.REFUND)
        )
        with reading_reply():
            rows = unwrap(answer.get(outer), inner)
            has_next = answer.boolean("has_next")
        return ListPage(tuple(_message(kind, row) for row in rows), has_next)

    def fetch(self, channel_number: str) -> RawMessage:
        trade = self._trade(channel_number, TRADE_FIELDS)
        return RawMessage(MessageKind.ORDER, dump_compact(trade.data), channel_number)

    def _trade(self, channel_number: str, fields: str) -> Node:
        query = {"tid": channel_number, "fields": fields, "include_oaid": "include_oaid"}
        answer = self._call("taobao.trade.fullinfo.get", query)
        trade = answer.node_or_empty("trade")
        if _tid(trade.data) != channel_number:
            raise TryLater(platform_error("bad_body", "平台没有给出所查的订单"))
        return trade

    def ship(self, notice: ShipNotice) -> None:
        """Tell Taobao; lines make it a part shipment. A repeat finds the parcel and is done."""
        business = {
            "tid": notice.channel_number,
            "out_sid": notice.tracking_number,
            "company_code": self.carrier_code(notice.carrier),
        }
        if notice.lines:
            business["is_split"] = "1"
            business["sub_tid"] = ",".join(line.channel_line_id for line in notice.lines)
        try:
            answer = self._call("taobao.logistics.offline.send", business, writes=True)
            require_success(answer.node_or_empty("shipping").get("is_success"))
        except Rejected as refusal:
            if refusal.error.klass is not ErrorClass.BUSINESS or not self._has_shipped(notice):
                raise

    def _has_shipped(self, notice: ShipNotice) -> bool:
        """Whether the platform already knows this parcel for every line of the notice."""
        trade = self._trade(notice.channel_number, "tid,status,orders")
        with reading_reply():
            lines = trade.nodes("orders", "order")
        shipped = {line.text("oid"): line.text("invoice_no").strip() for line in lines}
        wanted = [line.channel_line_id for line in notice.lines] or list(shipped)
        return bool(wanted) and all(
            shipped.get(line_id) == notice.tracking_number for line_id in wanted
        )

    def test(self) -> None:
        end = self.now() - timedelta(seconds=self.feed("orders").settle_seconds)
        self._count(
            "taobao.trades.sold.increment.get", "tid", Window(end - timedelta(minutes=1), end)
        )

    # --- reading ---

    def read(self, body: bytes) -> OrderDraft:
        return read_trade(Node.of(loads_strict(body)))

    def read_refund(self, body: bytes) -> RefundDraft:
        return _refund(Node.of(loads_strict(body)))

    def read_event(self, body: bytes) -> EventDraft:
        return _event(Node.of(loads_strict(body)))[0]

    def read_document(self, body: bytes) -> Document:
        payload = Node.of(loads_strict(body))
        if error := classify(payload.data):
            return Document("error", error=error)
        if "access_token" in payload.data:
            return _token(payload)
        if "refund_id" in payload.data:
            return Document("refund_list", refunds=(_refund(payload),))
        if "tid" in payload.data:
            return Document("order", orders=(read_trade(payload),))
        keys = [key for key in payload.data if key.endswith("_response")]
        if len(keys) != 1:
            raise Unreadable("不是淘宝开放平台的答复")
        return _answer(keys[0], payload.node(keys[0]))


def _china_text(moment: datetime) -> str:
    return moment.astimezone(CHINA).strftime("%Y-%m-%d %H:%M:%S")


def _response_key(method: str) -> str:
    return method.removeprefix("taobao.").replace(".", "_") + "_response"


def _tid(row: Any) -> str:
    try:
        return id_text(row["tid"], "tid")
    except (Unreadable, KeyError, TypeError):
        return ""


def _message(kind: MessageKind, row: Any) -> RawMessage:
    return RawMessage(kind, dump_compact(row), _tid(row))


# --- documents ------------------------------------------------------------------------------


def _answer(key: str, answer: Node) -> Document:
    method = "taobao." + key.removesuffix("_response").replace("_", ".")
    if key.startswith("trades_sold_"):
        trades = tuple(read_trade(trade) for trade in answer.nodes("trades", "trade"))
        facts = {"method": method, "page": _page_facts(answer)}
        return Document("order_list", orders=trades, facts=facts)
    if key == "trade_fullinfo_get_response":
        trade = read_trade(answer.node("trade"))
        return Document("order", orders=(trade,), facts={"method": method})
    if key in {"refunds_receive_get_response", "refund_get_response"}:
        rows = answer.nodes("refunds", "refund") or answer.nodes("refund")
        facts = {"method": method, "page": _page_facts(answer)}
        return Document("refund_list", refunds=tuple(map(_refund, rows)), facts=facts)
    special = {"tmc_messages_consume_response": _events, "top_oaid_decrypt_response": _decrypted}
    return special.get(key, _ack)(answer, method)


def _page_facts(answer: Node) -> dict[str, object]:
    return {
        "has_next": answer.boolean("has_next") if "has_next" in answer.data else None,
        "total": answer.optional_whole("total_results"),
    }


def _ack(answer: Node, method: str) -> Document:
    holder = answer.node_or_empty("shipping") if "shipping" in answer.data else answer
    success = holder.get("is_success")
    if success is not None and success not in (True, "true"):
        error = PlatformError(ErrorClass.BUSINESS, "is_success", "平台没有确认操作成功")
        return Document("error", error=error, facts={"method": method})
    return Document("ack", facts={"method": method, "ok": True})


def _decrypted(answer: Node, method: str) -> Document:
    entries = [
        {"platform_order_no": entry.text("tid"), "ok": entry.boolean("matched")}
        for entry in answer.nodes("receiver_list", "receiver")
    ]
    return Document("decrypt", facts={"method": method, "entries": entries})


def _token(payload: Node) -> Document:
    nick = payload.given_text("taobao_user_nick")
    return Document(
        "token",
        facts={
            "access_token": payload.text("access_token"),
            "expires_in": payload.whole("expires_in"),
            "shop_id": payload.optional_id("taobao_user_id"),
            "shop_name": None if nick is None else unquote(nick),
        },
    )


def _events(answer: Node, method: str) -> Document:
    found = [_event(message) for message in answer.nodes("messages", "tmc_message")]
    return Document(
        "event_list",
        events=tuple(event for event, _ in found),
        facts={
            "method": method,
            "event_facts": {event.event_id: {"refund_id": no} for event, no in found if no},
        },
    )


def _event(message: Node) -> tuple[EventDraft, str | None]:
    """Read one TMC message; ``content`` is JSON inside a text and is decoded once."""
    content = Node.of(loads_strict(message.text("content").encode()), message.name("content"))
    event = EventDraft(
        channel=TaobaoConnector.channel,
        event_id=message.id("id"),
        topic=message.id("topic"),
        channel_number=content.optional_id("tid"),
        occurred_at=message.china_time("pub_time"),
    )
    return event, content.optional_id("refund_id")


# --- refunds --------------------------------------------------------------------------------


def _refund(refund: Node) -> RefundDraft:
    raw = refund.id("status")
    state = REFUND_STATES.get(raw, "in_progress")  # an unknown word holds the parcel
    dispute = refund.text("dispute_type")
    returns = refund.boolean("has_good_return") or dispute == "REFUND_AND_RETURN"
    if state == "refunded" and dispute in EXCHANGES:
        state = "done"
    asks_money_only = dispute in {"", "REFUND"} and not returns
    stands = state in {"in_progress", "refunded"}
    return RefundDraft(
        channel=TaobaoConnector.channel,
        refund_id=refund.id("refund_id"),
        channel_number=refund.id("tid"),
        channel_line_id=refund.optional_id("oid"),
        amount=refund.yuan("refund_fee"),
        state_raw=raw,
        refund_state=state,
        return_goods=returns,
        intercept_shipping=asks_money_only and stands,
        modified_at=refund.china_time("modified"),
        phase=refund.first_text("refund_phase"),
    )


# --- orders ---------------------------------------------------------------------------------


def read_trade(trade: Node) -> OrderDraft:
    """Normalise one trade. Raises Unreadable."""
    payable = trade.yuan("payment")
    freight = trade.yuan("post_fee", default=ZERO)
    status = _status(trade)
    lines = _lines(trade, payable - freight)
    paid_at = trade.china_time("pay_time")
    return OrderDraft(
        channel=TaobaoConnector.channel,
        channel_number=trade.id("tid"),
        status=status,
        status_raw=trade.id("status"),
        currency="CNY",
        payable_amount=payable,
        paid_amount=_paid(trade, status, payable),
        freight=freight,
        placed_at=required_time(trade.china_time("created"), trade.name("created")),
        modified_at=required_time(trade.china_time("modified"), trade.name("modified")),
        lines=lines,
        paid_at=paid_at,
        receiver=_receiver(trade),
        evidence=EvidenceDraft(buyer_id=trade.text("buyer_open_uid")),
        gifts_outside_lines=_gifts(trade),
        buyer_remark=trade.given_text("buyer_message"),
        seller_memo=trade.given_text("seller_memo"),
        seller_flag=trade.optional_whole("seller_flag"),
        refund_state=order_refund_state(lines),
        is_presale=trade.text("type") == "step",
    )


def _status(trade: Node) -> ChannelStatus:
    status = STATUSES.get(trade.id("status"), S.UNKNOWN)
    if status is S.WAIT_PAY and trade.text("step_trade_status") == "FRONT_PAID_FINAL_NOPAID":
        return S.DEPOSIT_PAID
    if status is S.WAIT_SHIP and trade.text("top_hold") in {"1", "true"}:
        return S.ON_HOLD
    return status


def _paid(trade: Node, status: ChannelStatus, payable: Decimal) -> Decimal:
    step = trade.text("step_trade_status")
    if step in {"FRONT_PAID_FINAL_NOPAID", "FRONT_PAID_FRONT_FORFEITED"}:
        return trade.yuan("step_paid_fee")
    if trade.text("type") == "cod":
        collected = trade.text("status") in {"TRADE_BUYER_SIGNED", "TRADE_FINISHED"}
        return payable if collected or trade.china_time("pay_time") else ZERO
    unpaid = status in {S.WAIT_PAY, S.CLOSED_UNPAID}
    unsure = status is S.UNKNOWN and trade.china_time("pay_time") is None
    return ZERO if unpaid or unsure else payable


def _lines(trade: Node, goods: Decimal) -> tuple[LineDraft, ...]:
    rows = trade.nodes("orders", "order")
    if not rows:
        raise Unreadable("订单没有商品行")
    alone = len(rows) == 1
    return tuple(_line(row, goods if alone else None) for row in rows)


def _line(row: Node, alone: Decimal | None) -> LineDraft:
    """Normalise a line; ``alone`` is the goods' money when it is the trade's only line."""
    return LineDraft(
        channel_line_id=row.id("oid"),
        platform_sku_id=row.optional_id("sku_id"),
        outer_code=row.first_text("outer_sku_id", "outer_iid"),
        title=row.text("title"),
        quantity=row.quantity("num"),
        unit_price=row.yuan("price"),
        amount=_line_amount(row, alone),
        is_gift=row.boolean("is_free_gift"),
        refund_state=REFUND_STATES.get(row.text("refund_status"), "in_progress"),
    )


def _line_amount(row: Node, alone: Decimal | None) -> Decimal:
    if row.get("divide_order_fee") not in (None, ""):
        return row.yuan("divide_order_fee")
    if alone is not None:
        # A single line's payment equals the trade's and so holds the freight.
        amount = alone
    else:
        amount = row.yuan("payment") - row.yuan("part_mjz_discount", default=ZERO)
    # Below zero the sum will not fit, and finance sees it.
    return max(amount, ZERO)


def _receiver(trade: Node) -> ReceiverDraft | None:
    name = trade.text("receiver_name")
    phone = trade.first_text("receiver_mobile", "receiver_phone") or ""
    address = trade.text("receiver_address")
    receiver = ReceiverDraft(
        name=name,
        phone=phone,
        province=trade.text("receiver_state"),
        city=trade.text("receiver_city"),
        district=trade.text("receiver_district"),
        town=trade.text("receiver_town"),
        address=address,
        is_masked=is_masked_text(name, phone, address),
        oaid=trade.text("oaid"),
    )
    return None if receiver == ReceiverDraft() else receiver


def _gifts(trade: Node) -> tuple[GiftDraft, ...]:
    details = trade.nodes("promotion_details", "promotion_detail")
    return tuple(
        GiftDraft(
            name=detail.text("gift_item_name"),
            quantity=detail.quantity("gift_item_num") if detail.text("gift_item_num") else 1,
            platform_item_id=detail.optional_id("gift_item_id"),
        )
        for detail in details
        if detail.first_text("gift_item_id", "gift_item_name")
    )
