"""JD merchants over JOS (``channels.md`` 2).

Answers are spelt ``*_responce`` and carry a second success flag inside; an outer code "0" says
nothing. Orders are yuan text, refund applications count fen. The list has neither cursor nor
``has_next``, so it is read from the last page to the first. JD's message subscription works
inside its own cloud only: there is no push here.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any, ClassVar, Final

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
    EvidenceDraft,
    LineDraft,
    OrderDraft,
    ReceiverDraft,
    RefundDraft,
)

S = ChannelStatus
ZERO: Final = Decimal("0.00")

STATUSES: Final[Mapping[str, ChannelStatus]] = {
    "WAIT_SELLER_STOCK_OUT": S.WAIT_SHIP,
    "WAIT_SELLER_DELIVERY": S.WAIT_SHIP,
    "WAIT_SEND_CODE": S.WAIT_SHIP,
    "WAIT_GOODS_RECEIVE_CONFIRM": S.SHIPPED,
    "FINISHED_L": S.FINISHED,
    "TRADE_CANCELED": S.CLOSED,
    "LOCKED": S.ON_HOLD,
    "PAUSE": S.ON_HOLD,
    "POP_ORDER_PAUSE": S.ON_HOLD,
}
REFUND_STATES: Final[Mapping[str, str]] = {
    "0": "in_progress",
    "1": "in_progress",  # the merchant approved; JD's finance pays
    "2": "closed",
    "3": "refunded",
    "4": "closed",
}

SUCCESS: Final = frozenset({"0", "10100000", "success", ""})
RATE_CODES: Final = frozenset({"2"})
AUTH_CODES: Final = frozenset(
    {"7", "8", "11", "12", "18", "19", "20", "21", "24", "25", "64", "73", "79", "80", "88", "89"}
)
PLATFORM_CODES: Final = frozenset({"43", "65", "66", "67", "10100046"})

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


def sign(params: Mapping[str, str], secret: str) -> str:
    """Sign as open.jd.com listId=2643: md5 over sorted ``name + value`` wrapped in the secret.

    ``360buy_param_json`` is one value, byte for byte the text that is sent.
    """
    joined = "".join(f"{k}{v}" for k, v in sorted(params.items()) if k != "sign")
    wrapped = f"{secret}{joined}{secret}".encode()
    return hashlib.md5(wrapped, usedforsecurity=False).hexdigest().upper()


def classify(payload: Any) -> PlatformError | None:
    """Tell whether an answer is a refusal, at whichever level it hides (``channels.md`` 2a)."""
    if not isinstance(payload, Mapping):
        return None
    if "error_response" in payload:
        error = Node.of(payload["error_response"], "error_response")
        return _refusal(error.text("code"), error.first_text("zh_desc", "en_desc"))
    flat = Node(payload)
    if "errorMessage" in payload and flat.text("code") not in SUCCESS:
        return _refusal(flat.text("code"), flat.first_text("errorMessage"))
    if {"code", "msg"} <= payload.keys():  # the token endpoint
        return PlatformError(ErrorClass.AUTH, flat.text("code"), flat.text("msg"))
    answers = [value for key, value in payload.items() if key.endswith("_responce")]
    for answer in answers:
        if error_inside := _inner_refusal(answer):
            return error_inside
    return None


def _inner_refusal(answer: Any) -> PlatformError | None:
    if not isinstance(answer, Mapping):
        return None
    if (code := Node(answer).text("code")) not in SUCCESS:
        return _refusal(code, Node(answer).first_text("zh_desc", "errorMessage", "en_desc"))
    for result in answer.values():
        flags = result.get("apiResult", result) if isinstance(result, Mapping) else {}
        if isinstance(flags, Mapping) and flags.get("success") in (False, "false"):
            inner = Node(flags)
            code = inner.first_text("errorCode", "numberCode", "error_code", "resultCode") or "0"
            words = inner.first_text("chineseErrCode", "chinese_err_code", "englishErrCode")
            return _refusal(code, words)
    return None


def _refusal(code: str, message: str | None) -> PlatformError:
    klass = ErrorClass.BUSINESS
    if code in RATE_CODES:
        klass = ErrorClass.RATE_LIMITED
    elif code in AUTH_CODES:
        klass = ErrorClass.AUTH
    elif code in PLATFORM_CODES:
        klass = ErrorClass.PLATFORM
    return PlatformError(klass, code, message or "")


class JdConnector(WithoutPush, BaseConnector):
    """One JD shop."""

    channel: ClassVar[str] = "jd"
    feeds: ClassVar[tuple[Feed, ...]] = (
        Feed("orders", 28 * 24 * 3600, 120),
        Feed("refunds", 28 * 24 * 3600, 120),
    )
    """A month, whatever its length."""
    page_size: ClassVar[int] = 100
    refund_page_size: ClassVar[int] = 50

    # --- calls ---

    def _call(self, method: str, business: Mapping[str, Any], *, writes: bool = False) -> Node:
        """Call ``method``; return the content of its ``*_responce``. Raises ConnectorError."""
        now = self.now().astimezone(CHINA)
        params = {
            "360buy_param_json": json.dumps(business, ensure_ascii=False, separators=(",", ":")),
            "access_token": self.access.access_token,
            "app_key": self.access.app_key,
            "format": "json",
            "method": method,
            "timestamp": f"{now:%Y-%m-%d %H:%M:%S}.{now.microsecond // 1000:03d}+0800",
            "v": "2.0",
        }
        params["sign"] = sign(params, self.access.app_secret)
        url = endpoint(self.access.base_url, "/routerjson")
        request = self.client.build_request("POST", url, data=params)
        reply = exchange(self.client, request, writes=writes)
        refuse_client_error(reply)
        payload = parse_reply(reply.body, writes=writes)
        with reading_reply(writes=writes):
            error = classify(payload)
        if error:
            raise_refusal(error, writes=writes)
        key = method.replace(".", "_") + "_responce"
        content = payload.get(key) if isinstance(payload, dict) else None
        if not isinstance(content, dict):
            raise TryLater(
                platform_error("bad_body", "平台的答复缺少应有的内容"), outcome_unknown=writes
            )
        return Node(content, key)

    def pull(self, feed: str, window: Window) -> Iterator[Page]:
        """Yield the orders modified within ``window``, then the refunds applied for or checked.

        A refund application moves by its own clocks: once when the buyer applies, once when
        somebody decides.
        """
        orders = Listing(self._count, self._page, self.page_size)
        for span in slices(window, self.feed(feed).max_window_seconds):
            if feed == "orders":
                yield from pull_backwards(span, orders)
                continue
            for clock in ("applyTime", "checkTime"):
                refunds = Listing(
                    partial(self._refund_count, clock),
                    partial(self._refund_page, clock),
                    self.refund_page_size,
                )
                yield from pull_backwards(span, refunds)

    def _search(self, window: Window, page: int, *, size: int, fields: str) -> Node:
        query = {
            "start_date": _china_text(window.start),
            "end_date": _china_text(window.end),
            "order_state": ",".join(STATUSES),
            "optional_fields": fields,
            "page": str(page),
            "page_size": str(size),
            "sortType": "1",
            "dateType": "0",
        }
        return self._call(SEARCH, query).node_or_empty("searchorderinfo_result")

    def _count(self, window: Window) -> int:
        return _total(self._search(window, 1, size=self.page_size, fields="orderId"), "orderTotal")

    def _page(self, window: Window, number: int) -> ListPage:
        result = self._search(window, number, size=self.page_size, fields=ORDER_FIELDS)
        rows = _rows(result.get("orderInfoList"))
        return ListPage(tuple(_message(MessageKind.ORDER, row) for row in rows))

    def _refunds(self, clock: str, window: Window, page: int) -> Node:
        query = {
            f"{clock}Start": _china_text(window.start),
            f"{clock}End": _china_text(window.end),
            "pageIndex": page,
            "pageSize": self.refund_page_size,
        }
        return self._call(REFUNDS, query).node_or_empty("queryResult")

    def _refund_count(self, clock: str, window: Window) -> int:
        return _total(self._refunds(clock, window, 1), "totalCount")

    def _refund_page(self, clock: str, window: Window, number: int) -> ListPage:
        rows = _rows(self._refunds(clock, window, number).get("result"))
        return ListPage(tuple(_message(MessageKind.REFUND, row) for row in rows))

    def fetch(self, channel_number: str) -> RawMessage:
        order = self._order(channel_number, ORDER_FIELDS)
        return RawMessage(MessageKind.ORDER, dump_compact(order.data), channel_number)

    def _order(self, channel_number: str, fields: str) -> Node:
        query = {"order_id": channel_number, "optional_fields": fields}
        detail = self._call("jingdong.pop.order.get", query).node_or_empty("orderDetailInfo")
        order = detail.node_or_empty("orderInfo")
        if _order_id(order.data) != channel_number:
            raise TryLater(platform_error("bad_body", "平台没有给出所查的订单"))
        return order

    def ship(self, notice: ShipNotice) -> None:
        """Tell JD; it takes one shipment an order. A repeat finds the parcel and is done."""
        business = {
            "orderId": notice.channel_number,
            "logiCoprId": self.carrier_code(notice.carrier),  # spelt so by JD
            "logiNo": notice.tracking_number,
        }
        try:
            answer = self._call("jingdong.pop.order.shipment", business, writes=True)
            require_success(answer.node_or_empty("sopjosshipment_result").get("success"))
        except Rejected as refusal:
            if refusal.error.klass is not ErrorClass.BUSINESS or not self._has_shipped(notice):
                raise

    def _has_shipped(self, notice: ShipNotice) -> bool:
        order = self._order(notice.channel_number, "orderId,orderState,waybill,logisticsId")
        # "|" stands between companies, "," between the parcels of one.
        waybills = order.text("waybill").replace("|", ",").split(",")
        return notice.tracking_number in {waybill.strip() for waybill in waybills}

    def test(self) -> None:
        end = self.now() - timedelta(seconds=self.feed("orders").settle_seconds)
        self._count(Window(end - timedelta(minutes=1), end))

    # --- reading ---

    def read(self, body: bytes) -> OrderDraft:
        return read_order(Node.of(loads_strict(body)))

    def read_refund(self, body: bytes) -> RefundDraft:
        return _refund(Node.of(loads_strict(body)))

    def read_event(self, body: bytes) -> EventDraft:
        raise Unreadable("京东没有推送消息")

    def read_document(self, body: bytes) -> Document:
        payload = Node.of(loads_strict(body))
        if error := classify(payload.data):
            return Document("error", error=error)
        if "access_token" in payload.data:
            return _token(payload)
        if "applyRefundSum" in payload.data:
            return Document("refund_list", refunds=(_refund(payload),))
        if "orderId" in payload.data:
            return Document("order", orders=(read_order(payload),))
        keys = [key for key in payload.data if key.endswith("_responce")]
        if len(keys) != 1:
            raise Unreadable("不是京东开放平台的答复")
        return _answer(keys[0], payload.node(keys[0]))


def _china_text(moment: datetime) -> str:
    return moment.astimezone(CHINA).strftime("%Y-%m-%d %H:%M:%S")


def _total(result: Node, key: str) -> int:
    with reading_reply():
        return result.whole(key)


def _rows(value: Any) -> list[Any]:
    with reading_reply():
        return unwrap(value)


def _order_id(row: Any) -> str:
    try:
        return id_text(row["orderId"], "orderId")
    except (Unreadable, KeyError, TypeError):
        return ""


def _message(kind: MessageKind, row: Any) -> RawMessage:
    return RawMessage(kind, dump_compact(row), _order_id(row))


# --- documents ------------------------------------------------------------------------------


def _answer(key: str, answer: Node) -> Document:
    method = key.removesuffix("_responce").replace("_", ".")
    if method == SEARCH:
        result = answer.node("searchorderinfo_result")
        orders = tuple(read_order(order) for order in result.nodes("orderInfoList"))
        page = {"has_next": None, "total": result.optional_whole("orderTotal")}
        return Document("order_list", orders=orders, facts={"method": method, "page": page})
    if method == "jingdong.pop.order.get":
        order = read_order(answer.node("orderDetailInfo").node("orderInfo"))
        return Document("order", orders=(order,), facts={"method": method})
    if method == REFUNDS:
        result = answer.node("queryResult")
        refunds = tuple(_refund(refund) for refund in result.nodes("result"))
        page = {"has_next": None, "total": result.optional_whole("totalCount")}
        return Document("refund_list", refunds=refunds, facts={"method": method, "page": page})
    return Document("ack", facts={"method": method, "ok": True})


def _token(payload: Node) -> Document:
    return Document(
        "token",
        facts={
            "access_token": payload.text("access_token"),
            "expires_in": payload.whole("expires_in"),
            "shop_id": None,  # the answer names the user, not the shop
            "shop_name": None,
        },
    )


# --- refunds --------------------------------------------------------------------------------


def _refund(refund: Node) -> RefundDraft:
    """Read an application to cancel before shipping; its sum counts fen."""
    raw = refund.id("status")
    state = REFUND_STATES.get(raw, "in_progress")  # an unknown word holds the parcel
    return RefundDraft(
        channel=JdConnector.channel,
        refund_id=refund.id("id"),
        channel_number=refund.id("orderId"),
        channel_line_id=None,
        amount=refund.fen("applyRefundSum"),
        state_raw=raw,
        refund_state=state,
        return_goods=False,
        intercept_shipping=state in {"in_progress", "refunded"},
        modified_at=refund.china_time("checkTime") or refund.china_time("applyTime"),
    )


# --- orders ---------------------------------------------------------------------------------


def read_order(order: Node) -> OrderDraft:
    """Normalise one order. Raises Unreadable."""
    payable = _payable(order)
    status = STATUSES.get(order.id("orderState"), S.UNKNOWN)
    lines = _lines(order)
    return OrderDraft(
        channel=JdConnector.channel,
        channel_number=order.id("orderId"),
        status=status,
        status_raw=order.id("orderState"),
        currency="CNY",
        payable_amount=payable,
        paid_amount=_paid(order, status, payable),
        freight=order.yuan("freightPrice", default=ZERO),
        placed_at=required_time(order.china_time("orderStartTime"), "orderStartTime"),
        modified_at=required_time(order.china_time("modified"), "modified"),
        lines=lines,
        paid_at=order.china_time("paymentConfirmTime"),
        receiver=_receiver(order.node_or_empty("consigneeInfo")),
        evidence=EvidenceDraft(buyer_id=order.first_text("open_id_buyer", "xid_buyer") or ""),
        buyer_remark=order.given_text("orderRemark"),
        seller_memo=order.given_text("venderRemark"),
        seller_flag=order.optional_whole("venderRemarkLevelFlag"),
        refund_state=order_refund_state(lines),
    )


def _payable(order: Node) -> Decimal:
    if order.first_text("actualPay"):
        return order.yuan("actualPay")
    return order.yuan("orderPayment") + order.yuan("balanceUsed", default=ZERO)


def _paid(order: Node, status: ChannelStatus, payable: Decimal) -> Decimal:
    """Cash on delivery (pay type 1) is unpaid until collected; other orders are listed paid."""
    on_delivery = order.text("payType").partition("-")[0].strip() == "1"
    return ZERO if on_delivery and status is not S.FINISHED else payable


def _lines(order: Node) -> tuple[LineDraft, ...]:
    rows = order.nodes("itemInfoList")
    if not rows:
        raise Unreadable("订单没有商品行")
    ids = line_ids(row.id("skuId") for row in rows)
    amounts = _line_amounts(order, rows)
    return tuple(
        LineDraft(
            channel_line_id=line_id,
            platform_sku_id=row.optional_id("skuId"),
            outer_code=row.first_text("outerSkuId"),
            title=row.text("skuName"),
            quantity=row.quantity("itemTotal"),
            unit_price=row.yuan("jdPrice"),
            amount=amount,
            is_gift=row.yuan("jdPrice") == 0,
            refund_state=None,
        )
        for line_id, row, amount in zip(ids, rows, amounts, strict=True)
    )


def _line_amounts(order: Node, rows: Sequence[Node]) -> list[Decimal]:
    """Take the discounts off the lines; JD gives no shares of its own.

    A single-item discount (type 30, the only one that names its SKU) comes off its own line,
    everything else is shared by what is left. Gifts have nothing to share.
    """
    amounts = [row.yuan("jdPrice") * row.quantity("itemTotal") for row in rows]
    coupons = order.nodes("couponDetailList")
    if not coupons:
        shared = order.yuan("sellerDiscount", default=ZERO)
    else:
        shared = ZERO
        for coupon in coupons:
            shared += _off_its_line(coupon, rows, amounts)
    # A discount beyond the goods cannot come off them: the sum will not fit, and finance sees it.
    shares = share_out(min(shared, sum(amounts, ZERO)), amounts)
    return [amount - share for amount, share in zip(amounts, shares, strict=True)]


def _off_its_line(coupon: Node, rows: Sequence[Node], amounts: list[Decimal]) -> Decimal:
    """Take a single-item discount off its line; return what all lines have to share."""
    price = coupon.yuan("couponPrice")
    sku = coupon.optional_id("skuId")
    for index, row in enumerate(rows):
        if sku is not None and row.text("skuId") == sku and amounts[index] >= price:
            amounts[index] -= price
            return ZERO
    return price


def _receiver(consignee: Node) -> ReceiverDraft | None:
    name = consignee.text("fullname")
    phone = consignee.first_text("mobile", "telephone", "desen_mobile", "desen_telephone") or ""
    address = consignee.text("fullAddress")
    receiver = ReceiverDraft(
        name=name,
        phone=phone,
        province=consignee.text("province"),
        city=consignee.text("city"),
        district=consignee.text("county"),
        town=consignee.text("town"),
        address=address,
        is_masked=is_masked_text(name, phone, address) or _is_ciphertext(name, phone, address),
        oaid=consignee.text("oaid"),
    )
    return None if receiver == ReceiverDraft() else receiver


def _is_ciphertext(*texts: str) -> bool:
    """Older shops get ``AAS/...`` in place of the text."""
    return any(text.startswith("AAS/") for text in texts)
