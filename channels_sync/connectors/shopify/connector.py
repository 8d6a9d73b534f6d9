"""Shopify (``channels.md`` 5).

GraphQL for asking, the REST shape in webhooks: one order reads the same from both. Money is
decimal text in the shop's currency, times are ISO 8601. A refusal often comes with HTTP 200.
"""

import base64
import hashlib
import hmac
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from http import HTTPStatus
from typing import Any, ClassVar, Final

from channels_sync.connectors.base import (
    BaseConnector,
    Node,
    Reply,
    china_time,
    dump_compact,
    endpoint,
    exchange,
    loads_strict,
    optional_id,
    order_refund_state,
    parse_reply,
    platform_error,
    raise_refusal,
    refuse_client_error,
    required_time,
    text_of,
    yuan,
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
    ShipLine,
    ShipNotice,
    TryLater,
    Unreadable,
    WebhookReply,
    WebhookRequest,
    Window,
)
from ordercenter.core.money import FEN
from ordercenter.orders.contracts import (
    ChannelStatus,
    EventDraft,
    EvidenceDraft,
    LineDraft,
    OrderDraft,
    ReceiverDraft,
    RefundDraft,
)

DEFAULT_VERSION: Final = "2026-04"
PAGE_SIZE: Final = 50
_MAX_COST: Final = "MAX_COST_EXCEEDED"
_QUANTA: Final[Mapping[str, Decimal]] = {
    **dict.fromkeys(("JPY", "KRW", "VND", "CLP", "ISK", "XAF", "XOF"), Decimal(1)),
    **dict.fromkeys(("BHD", "JOD", "KWD", "OMR", "TND"), Decimal("0.001")),
}

_MONEY: Final = "{ shopMoney { amount currencyCode } presentmentMoney { amount currencyCode } }"
_ORDER: Final = f"""
id legacyResourceId name createdAt processedAt updatedAt cancelledAt cancelReason closedAt test
currencyCode presentmentCurrencyCode displayFinancialStatus displayFulfillmentStatus note tags
clientIp customer {{ id }} customAttributes {{ key value }}
totalPriceSet {_MONEY} currentTotalPriceSet {_MONEY} totalShippingPriceSet {_MONEY}
totalReceivedSet {_MONEY} totalRefundedSet {_MONEY} taxesIncluded
lineItems(first: 250) {{
  nodes {{
    id sku title name quantity currentQuantity unfulfilledQuantity requiresShipping
    variant {{ id sku }} originalUnitPriceSet {_MONEY}
    discountAllocations {{ allocatedAmountSet {_MONEY} }}
  }}
  pageInfo {{ hasNextPage endCursor }}
}}
shippingAddress {{
  name firstName lastName address1 address2 city province provinceCode country countryCodeV2
  zip phone company
}}
refunds(first: 100) {{
  id legacyResourceId createdAt updatedAt totalRefundedSet {_MONEY}
  refundLineItems(first: 100) {{ nodes {{ quantity restockType lineItem {{ id }} }} }}
  transactions(first: 20) {{ nodes {{ kind status amountSet {_MONEY} }} }}
}}
"""
_ORDERS_QUERY: Final = f"""query($q: String!, $first: Int!, $after: String) {{
orders(first: $first, after: $after, sortKey: UPDATED_AT, query: $q) {{
  nodes {{ {_ORDER} }} pageInfo {{ hasNextPage endCursor }}
}} }}"""
_ORDER_QUERY: Final = f"query($id: ID!) {{ order(id: $id) {{ {_ORDER} }} }}"
_PARCELS_QUERY: Final = """query($id: ID!) { order(id: $id) {
  id fulfillments(first: 100) { status trackingInfo { number company } }
  fulfillmentOrders(first: 50) {
    nodes {
      id status assignedLocation { location { id } }
      lineItems(first: 250) {
        nodes { id remainingQuantity lineItem { id } } pageInfo { hasNextPage }
      }
    }
    pageInfo { hasNextPage }
  }
} }"""
_SHIP: Final = """mutation($fulfillment: FulfillmentInput!) {
fulfillmentCreate(fulfillment: $fulfillment) {
  fulfillment { id status trackingInfo { company number url } } userErrors { field message }
} }"""
_SHOP_QUERY: Final = "query { shop { id } }"
_LIST_METHOD: Final = "query orders(first, after, sortKey: UPDATED_AT, query)"

_OPEN: Final = frozenset({"OPEN", "IN_PROGRESS"})
_NOT_SENT: Final = frozenset({"CANCELLED", "ERROR", "FAILURE"})

_S: Final = ChannelStatus
_NOT_PAID: Final[Mapping[str, ChannelStatus]] = {
    **dict.fromkeys(("PENDING", "AUTHORIZED", "EXPIRED"), _S.WAIT_PAY),
    "PARTIALLY_PAID": _S.DEPOSIT_PAID,
}
"""AUTHORIZED is a promise of the card, not money."""
_PAID: Final = frozenset({"PAID", "PARTIALLY_REFUNDED"})
_SHIPPING: Final[Mapping[str, ChannelStatus]] = {
    **dict.fromkeys(("UNFULFILLED", "OPEN", "IN_PROGRESS", "PENDING_FULFILLMENT"), _S.WAIT_SHIP),
    **dict.fromkeys(("ON_HOLD", "SCHEDULED", "RESTOCKED", "REQUEST_DECLINED"), _S.ON_HOLD),
    **dict.fromkeys(("PARTIALLY_FULFILLED", "PARTIAL"), _S.PART_SHIPPED),
    "FULFILLED": _S.SHIPPED,
}
_ERRORS: Final[Mapping[str, ErrorClass]] = {
    "THROTTLED": ErrorClass.RATE_LIMITED,
    "ACCESS_DENIED": ErrorClass.AUTH,
    "INTERNAL_SERVER_ERROR": ErrorClass.PLATFORM,
}
_SHOP_IS_SHUT: Final = frozenset(
    {HTTPStatus.PAYMENT_REQUIRED, HTTPStatus.LOCKED, HTTPStatus.NOT_FOUND}
)
_REFUND_UNDER_WAY: Final = frozenset({"pending", "processing"})
_REFUND_FAILED: Final = frozenset({"failure", "error"})


def webhook_sign(secret: str, body: bytes) -> str:
    """``X-Shopify-Hmac-SHA256`` over the raw body (``channels.md`` 5e)."""
    return base64.b64encode(hmac.new(secret.encode(), body, hashlib.sha256).digest()).decode()


class ShopifyConnector(BaseConnector):
    """One Shopify store."""

    channel: ClassVar[str] = "shopify"
    feeds: ClassVar[tuple[Feed, ...]] = (Feed("orders", 60 * 86_400, 60),)

    # --- asking -----------------------------------------------------------------------------

    def pull(self, feed: str, window: Window) -> Iterator[Page]:
        """Yield orders changed since the window's start, ascending, and their refunds.

        The cursor holds the row's own time, so an order that changes meanwhile comes again
        further on and pushes none out of sight. Stops at the first row behind the window.
        """
        after: str | None = None
        number = 0
        while True:
            orders = self._orders(window.start, after)
            nodes = _list(orders, "nodes")
            number += 1
            yield Page(tuple(_messages(nodes)), number)
            info = orders.node_or_empty("pageInfo")
            if not info.boolean("hasNextPage") or _is_behind(nodes, window.end):
                return
            cursor = info.text("endCursor")
            if not cursor or cursor == after:
                raise TryLater(platform_error("cursor", "平台称还有下一页，却没有给出新的游标"))
            after = cursor

    def fetch(self, channel_number: str) -> RawMessage:
        data = self._ask(_ORDER_QUERY, {"id": _gid("Order", channel_number)})
        order = data.get("order")
        if not isinstance(order, Mapping):
            raise _no_such_order()
        return RawMessage(MessageKind.ORDER, dump_compact(order), channel_number)

    def ship(self, notice: ShipNotice) -> None:
        """Report the parcel on the fulfillment orders that are still open.

        A parcel the order already carries is done; a whole order is done when nothing is open.
        """
        order = self._parcels(notice)
        carried = _carries(order, notice.tracking_number)
        if carried and notice.lines:
            return
        groups = _to_ship(order, notice.lines)
        if not groups:
            if carried:
                return
            raise Rejected(
                PlatformError(ErrorClass.BUSINESS, "nothing_open", "这张订单没有可以发货的履约单")
            )
        for group in groups:
            self._fulfill(group, notice)

    def test(self) -> None:
        self._ask(_SHOP_QUERY, {})

    def _parcels(self, notice: ShipNotice) -> Node:
        data = self._ask(_PARCELS_QUERY, {"id": _gid("Order", notice.channel_number)})
        if not isinstance(data.get("order"), Mapping):
            raise _no_such_order()
        return data.node("order")

    def _fulfill(self, group: Sequence[Mapping[str, Any]], notice: ShipNotice) -> None:
        company = self.carrier_code(notice.carrier)
        fulfillment = {
            "lineItemsByFulfillmentOrder": list(group),
            "trackingInfo": {"company": company, "number": notice.tracking_number},
            "notifyCustomer": False,
        }
        try:
            self._ask(_SHIP, {"fulfillment": fulfillment}, writes=True)
        except Rejected as error:
            if error.error.code != "userErrors":
                raise
            if not _carries(self._parcels(notice), notice.tracking_number):
                raise

    def _orders(self, since: datetime, after: str | None) -> Node:
        """One page. A query too dear for the shop's plan is asked again at half the size."""
        start = since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        size = PAGE_SIZE
        while True:
            variables = {"q": f"updated_at:>='{start}'", "first": size, "after": after}
            try:
                return self._ask(_ORDERS_QUERY, variables).node_or_empty("orders")
            except Rejected as error:
                if error.error.code != _MAX_COST or size == 1:
                    raise
                size //= 2

    def _ask(self, query: str, variables: Mapping[str, Any], *, writes: bool = False) -> Node:
        """Ask GraphQL and return ``data``; raises TryLater or Rejected.

        ``data`` and ``errors`` together is half an answer and counts as none.
        """
        version = self.access.options.get("api_version", DEFAULT_VERSION)
        request = self.client.build_request(
            "POST",
            endpoint(self.access.base_url, f"/admin/api/{version}/graphql.json"),
            content=dump_compact({"query": query, "variables": variables}),
            headers={
                "Content-Type": "application/json",
                "X-Shopify-Access-Token": self.access.access_token,
            },
        )
        reply = exchange(self.client, request, writes=writes)
        _refuse_status(reply)
        try:
            answer = Node.of(parse_reply(reply.body, writes=writes))
            error = _error_of(answer)
            if error is not None:
                raise_refusal(error, writes=writes)
            return answer.node("data")
        except Unreadable as broken:
            failure = platform_error("bad_body", str(broken))
            raise TryLater(failure, outcome_unknown=writes) from broken

    # --- reading ----------------------------------------------------------------------------

    def read(self, body: bytes) -> OrderDraft:
        return read_order(Node.of(loads_strict(body)))

    def read_refund(self, body: bytes) -> RefundDraft:
        return _read_refund(Node.of(loads_strict(body)))

    def read_event(self, body: bytes) -> EventDraft:
        event = Node.of(loads_strict(body))
        payload = event.node_or_empty("payload")
        return EventDraft(
            channel=self.channel,
            event_id=event.id("event_id"),
            topic=event.id("topic"),
            channel_number=_order_of(event.text("topic"), payload),
            occurred_at=china_time(event.get("triggered_at"), "triggered_at"),
        )

    def read_document(self, body: bytes) -> Document:
        document = Node.of(loads_strict(body))
        if "data" not in document.data and "errors" not in document.data:
            return _read_webhook(document)
        error = _error_of(document)
        if error is not None:
            return Document("error", error=error)
        data = document.node("data")
        if "orders" in data.data:
            return _read_page(data.node("orders"))
        if "order" in data.data:
            return _order_document("order", [data.node("order")], method="query order(id)")
        return Document("ack", facts={"ok": True})

    # --- pushes -----------------------------------------------------------------------------

    def verify(self, request: WebhookRequest) -> None:
        """Check the HMAC over the raw body, and the shop where ``shop_domain`` is set."""
        secret = self.access.app_secret
        given = request.headers.get("x-shopify-hmac-sha256", "")
        expected = webhook_sign(secret, request.body)
        if not secret or not hmac.compare_digest(given.encode(), expected.encode()):
            raise BadSignature("x-shopify-hmac-sha256")
        shop = self.access.options.get("shop_domain")
        if shop and request.headers.get("x-shopify-shop-domain", shop).lower() != shop.lower():
            raise BadSignature("x-shopify-shop-domain")

    def split(self, request: WebhookRequest) -> tuple[RawMessage, ...]:
        """A whole order or refund as it came; of anything else a hint with its topic."""
        topic = request.headers.get("x-shopify-topic", "")
        event_id = request.headers.get("x-shopify-webhook-id", "")
        try:
            payload = Node.of(loads_strict(request.body))
        except Unreadable:
            return (RawMessage(MessageKind.UNREADABLE, request.body, event_id=event_id),)
        number = _order_of(topic, payload) or ""
        if "line_items" in payload.data and "total_price" in payload.data:
            return (RawMessage(MessageKind.ORDER, request.body, number, event_id),)
        if "refund_line_items" in payload.data:
            number = payload.optional_id("order_id") or ""
            return (RawMessage(MessageKind.REFUND, request.body, number, event_id),)
        if not topic or not event_id:
            return (RawMessage(MessageKind.UNREADABLE, request.body, number, event_id),)
        hint = {
            "topic": topic,
            "event_id": event_id,
            "triggered_at": request.headers.get("x-shopify-triggered-at"),
            "payload": payload.data,
        }
        return (RawMessage(MessageKind.EVENT, dump_compact(hint), number, event_id),)

    def acknowledge(self, request: WebhookRequest, *, duplicate: bool) -> WebhookReply:
        return WebhookReply(HTTPStatus.OK, b"{}")


# --- the wire ----------------------------------------------------------------------------------


def _gid(kind: str, number: str) -> str:
    return f"gid://shopify/{kind}/{number}"


def _number(value: Any) -> str | None:
    """The number of a GID or of a REST id; None where there is none."""
    text = optional_id(value)
    return text.rsplit("/", 1)[-1] or None if text else None


def _list(node: Node, key: str) -> list[Any]:
    rows = node.get(key)
    return rows if isinstance(rows, list) else []


def _messages(nodes: Iterable[Any]) -> Iterator[RawMessage]:
    for row in nodes:
        order = row if isinstance(row, Mapping) else {}
        number = _number(order.get("legacyResourceId")) or _number(order.get("id")) or ""
        yield RawMessage(MessageKind.ORDER, dump_compact(row), number)
        for refund in _list(Node(order), "refunds"):
            if isinstance(refund, Mapping):
                whole = {"orderId": order.get("id"), "currency": order.get("currencyCode")}
                body = dump_compact({**whole, **refund})
                yield RawMessage(MessageKind.REFUND, body, number)


def _is_behind(nodes: Sequence[Any], end: datetime) -> bool:
    last = nodes[-1] if nodes else None
    if not isinstance(last, Mapping):
        return False
    try:
        moment = china_time(last.get("updatedAt"), "updatedAt")
    except Unreadable:
        return False
    return moment is not None and moment > end


def _refuse_status(reply: Reply) -> None:
    if reply.status in _SHOP_IS_SHUT:
        raise Rejected(
            PlatformError(
                ErrorClass.BUSINESS,
                f"http_{reply.status}",
                f"店铺已冻结、锁定或地址不对（HTTP {reply.status}）",
            )
        )
    refuse_client_error(reply)


def _no_such_order() -> Rejected:
    return Rejected(PlatformError(ErrorClass.BUSINESS, "no_such_order", "平台没有返回这张订单"))


def _error_of(answer: Node) -> PlatformError | None:
    """The refusal in an answer, if any: GraphQL ``errors`` or a mutation's ``userErrors``."""
    errors = answer.get("errors")
    if errors:
        return _graphql_error(answer, errors if isinstance(errors, list) else [errors])
    data = answer.get("data")
    for result in data.values() if isinstance(data, Mapping) else ():
        found = result.get("userErrors") if isinstance(result, Mapping) else None
        if found:
            words = "；".join(Node.of(one, "userErrors").text("message") for one in found)
            return PlatformError(ErrorClass.BUSINESS, "userErrors", words)
    return None


def _graphql_error(answer: Node, errors: Sequence[Any]) -> PlatformError:
    found = [Node(one) for one in errors if isinstance(one, Mapping)]
    codes = [one.node_or_empty("extensions").text("code") for one in found]
    words = "；".join(one.text("message") for one in found) or text_of(errors[0])
    code = next((one for one in codes if one in _ERRORS), next(filter(None, codes), "errors"))
    klass = _ERRORS.get(code, ErrorClass.BUSINESS)
    if klass is ErrorClass.BUSINESS and _has_data(answer):
        return PlatformError(ErrorClass.PLATFORM, "partial", words)
    wait = _wait(answer) if klass is ErrorClass.RATE_LIMITED else None
    return PlatformError(klass, code, words, retry_after_seconds=wait)


def _has_data(answer: Node) -> bool:
    data = answer.get("data")
    return isinstance(data, Mapping) and any(value is not None for value in data.values())


def _wait(answer: Node) -> int | None:
    """Seconds until the bucket holds what the query asked for."""
    cost = answer.node_or_empty("extensions").node_or_empty("cost")
    bucket = cost.node_or_empty("throttleStatus")
    asked, left = cost.get("requestedQueryCost"), bucket.get("currentlyAvailable")
    rate = bucket.get("restoreRate")
    if not all(isinstance(one, int | Decimal) for one in (asked, left, rate)) or not rate:
        return None
    return max(1, math.ceil(Decimal(asked - left) / Decimal(rate)))


def _carries(order: Node, number: str) -> bool:
    return any(
        tracking.text("number") == number
        for parcel in order.nodes("fulfillments")
        if parcel.text("status") not in _NOT_SENT
        for tracking in parcel.nodes("trackingInfo")
    )


def _to_ship(order: Node, lines: Sequence[ShipLine]) -> list[list[Mapping[str, Any]]]:
    """What to name in ``fulfillmentCreate``, by location: one call takes one location only.

    Raises Rejected when the open fulfillment orders hold less than ``lines`` ask for.
    """
    orders = order.node("fulfillmentOrders")
    wanted = {line.channel_line_id: line.quantity for line in lines}
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for one in orders.nodes("nodes"):
        if one.text("status") not in _OPEN:
            continue
        entry: dict[str, Any] = {"fulfillmentOrderId": one.id("id")}
        if lines:
            entry["fulfillmentOrderLineItems"] = _take(one.node("lineItems"), wanted)
            if not entry["fulfillmentOrderLineItems"]:
                continue
        place = one.node_or_empty("assignedLocation").node_or_empty("location").text("id")
        groups.setdefault(place, []).append(entry)
    if any(wanted.values()) or orders.node_or_empty("pageInfo").boolean("hasNextPage"):
        raise Rejected(PlatformError(ErrorClass.BUSINESS, "not_open", "履约单里没有足够的待发数量"))
    return list(groups.values())


def _take(items: Node, wanted: dict[str, int]) -> list[Mapping[str, Any]]:
    taken: list[Mapping[str, Any]] = []
    for item in items.nodes("nodes"):
        line = _number(item.node("lineItem").get("id")) or ""
        quantity = min(wanted.get(line, 0), item.whole("remainingQuantity"))
        if quantity > 0:
            wanted[line] -= quantity
            taken.append({"id": item.id("id"), "quantity": quantity})
    return taken


# --- documents ---------------------------------------------------------------------------------


def _order_document(kind: str, orders: Sequence[Node], **facts: Any) -> Document:
    found = tuple(map(read_order, orders))
    names = {
        draft.channel_number: {"name": order.text("name")}
        for draft, order in zip(found, orders, strict=True)
    }
    return Document(kind, orders=found, facts={**facts, "order_facts": names})


def _read_page(orders: Node) -> Document:
    info = orders.node_or_empty("pageInfo")
    page = {"has_next": info.boolean("hasNextPage"), "next_cursor": info.given_text("endCursor")}
    return _order_document("order_list", orders.nodes("nodes"), method=_LIST_METHOD, page=page)


def _read_webhook(payload: Node) -> Document:
    if "refund_line_items" in payload.data:
        return Document("refund_list", refunds=(_read_refund(payload),))
    if "line_items" in payload.data or "lineItems" in payload.data:
        return _order_document("order", [payload])
    raise Unreadable("认不出这是 Shopify 的哪一种报文")


def _order_of(topic: str, payload: Node) -> str | None:
    """The order a webhook speaks of: its own id for ``orders/*``, else ``order_id``."""
    if topic.startswith("orders/") or "line_items" in payload.data:
        return _number(payload.get("id"))
    return _number(payload.get("order_id"))


# --- orders ------------------------------------------------------------------------------------


class _Money:
    """Reads amounts of one currency, exact to its smallest coin."""

    def __init__(self, currency: str) -> None:
        self.currency = currency
        self.quantum = _QUANTA.get(currency, FEN)
        self.zero = Decimal(0).quantize(self.quantum)

    def text(self, node: Node, key: str) -> Decimal:
        return yuan(node.get(key), node.name(key), quantum=self.quantum)

    def bag(self, node: Node, key: str) -> Decimal:
        """``shopMoney`` of a MoneyBag; another currency than the order's is refused."""
        money = node.node(key).node("shopMoney")
        if money.text("currencyCode") != self.currency:
            raise Unreadable(f"字段 {node.name(key)} 的币种与订单不一致")
        return self.text(money, "amount")


def read_order(order: Node) -> OrderDraft:
    """Normalize an order of either shape (``channels.md`` 5c). Raises Unreadable."""
    return _read_graphql(order) if "lineItems" in order.data else _read_rest(order)


def _read_graphql(order: Node) -> OrderDraft:
    items = order.node("lineItems")
    if items.node_or_empty("pageInfo").boolean("hasNextPage"):
        raise Unreadable("订单超过 250 行，没有读全")
    money = _Money(order.id("currencyCode"))
    lines = tuple(_graphql_line(line, money) for line in items.nodes("nodes"))
    financial = order.text("displayFinancialStatus")
    fulfillment = order.text("displayFulfillmentStatus")
    paid = money.bag(order, "totalReceivedSet")
    status = _status(
        financial,
        fulfillment,
        canceled=order.get("cancelledAt") is not None,
        archived=order.get("closedAt") is not None,
        paid=paid,
    )
    return OrderDraft(
        channel=ShopifyConnector.channel,
        channel_number=_required(order, "legacyResourceId", "id"),
        status=status,
        status_raw=f"{financial}/{fulfillment}",
        currency=money.currency,
        payable_amount=money.bag(order, "totalPriceSet"),
        paid_amount=paid,
        freight=money.bag(order, "totalShippingPriceSet"),
        placed_at=required_time(china_time(order.get("createdAt"), "createdAt"), "createdAt"),
        modified_at=required_time(china_time(order.get("updatedAt"), "updatedAt"), "updatedAt"),
        paid_at=_paid_at(order.get("processedAt"), paid),
        lines=_some(lines),
        receiver=_receiver(order.get("shippingAddress")),
        evidence=EvidenceDraft(
            buyer_id=_number(order.node_or_empty("customer").get("id")) or "",
            ip=order.text("clientIp"),
        ),
        buyer_remark=order.given_text("note"),
        refund_state=_order_refund(financial, lines, order),
        is_test=order.boolean("test"),
    )


def _graphql_line(line: Node, money: _Money) -> LineDraft:
    unit = money.bag(line, "originalUnitPriceSet")
    off = [money.bag(one, "allocatedAmountSet") for one in line.nodes("discountAllocations")]
    variant = line.node_or_empty("variant")
    return _line(
        line,
        unit,
        sum(off, money.zero),
        variant=_number(variant.get("id")),
        left=line.whole("currentQuantity", default=line.quantity("quantity")),
    )


def _read_rest(order: Node) -> OrderDraft:
    money = _Money(order.id("currency"))
    lines = tuple(_rest_line(line, money) for line in order.nodes("line_items"))
    financial = order.text("financial_status")
    fulfillment = order.given_text("fulfillment_status")
    payable = money.text(order, "total_price")
    paid = max(
        payable
        - yuan(
            order.get("total_outstanding"), "total_outstanding", signed=True, quantum=money.quantum
        ),
        money.zero,
    )
    status = _status(
        financial.upper(),
        (fulfillment or "UNFULFILLED").upper(),
        canceled=order.get("cancelled_at") is not None,
        archived=order.get("closed_at") is not None,
        paid=paid,
    )
    return OrderDraft(
        channel=ShopifyConnector.channel,
        channel_number=_required(order, "id"),
        status=status,
        status_raw=f"{financial}/{fulfillment or 'null'}",
        currency=money.currency,
        payable_amount=payable,
        paid_amount=paid,
        freight=_rest_freight(order, money),
        placed_at=required_time(china_time(order.get("created_at"), "created_at"), "created_at"),
        modified_at=required_time(china_time(order.get("updated_at"), "updated_at"), "updated_at"),
        paid_at=_paid_at(order.get("processed_at"), paid),
        lines=_some(lines),
        receiver=_receiver(order.get("shipping_address")),
        evidence=EvidenceDraft(
            buyer_id=_number(order.node_or_empty("customer").get("id")) or "",
            ip=order.text("browser_ip") or order.node_or_empty("client_details").text("browser_ip"),
        ),
        buyer_remark=order.given_text("note"),
        refund_state=_order_refund(financial.upper(), lines, order),
        is_test=order.boolean("test"),
    )


def _rest_line(line: Node, money: _Money) -> LineDraft:
    off = [money.text(one, "amount") for one in line.nodes("discount_allocations")]
    if not off and line.get("total_discount") is not None:
        off = [money.text(line, "total_discount")]
    return _line(
        line,
        money.text(line, "price"),
        sum(off, money.zero),
        variant=_number(line.get("variant_id")),
        left=line.whole("current_quantity", default=line.quantity("quantity")),
    )


def _rest_freight(order: Node, money: _Money) -> Decimal:
    prices = (
        money.text(one, "discounted_price" if one.get("discounted_price") is not None else "price")
        for one in order.nodes("shipping_lines")
    )
    return sum(prices, money.zero)


def _line(line: Node, unit: Decimal, off: Decimal, *, variant: str | None, left: int) -> LineDraft:
    quantity = line.quantity("quantity")
    gross = unit * quantity
    amount = gross - off
    if amount < 0:
        raise Unreadable(f"{line.path} 的优惠大于商品金额")
    state = "none" if left >= quantity else "partial"
    return LineDraft(
        channel_line_id=_required(line, "id"),
        platform_sku_id=variant,
        outer_code=line.first_text("sku"),
        title=line.text("title"),
        quantity=quantity,
        unit_price=unit,
        amount=amount,
        is_gift=gross > 0 and amount == 0,
        refund_state=state if left > 0 else "refunded",
    )


def _required(node: Node, *keys: str) -> str:
    for key in keys:
        if found := _number(node.get(key)):
            return found
    raise Unreadable(f"缺少字段 {node.name(keys[0])}")


def _some(lines: tuple[LineDraft, ...]) -> tuple[LineDraft, ...]:
    if not lines:
        raise Unreadable("订单没有商品行")
    return lines


def _paid_at(value: Any, paid: Decimal) -> datetime | None:
    """Shopify tells when an order was processed, which is when it was paid, if it was."""
    return china_time(value, "processedAt") if paid > 0 else None


def _status(
    financial: str, fulfillment: str, *, canceled: bool, archived: bool, paid: Decimal
) -> ChannelStatus:
    """One status of Shopify's two. What no table names is UNKNOWN and will be held."""
    if financial == "REFUNDED":
        return _S.CLOSED_REFUNDED
    if financial == "VOIDED" or canceled:
        return _S.CLOSED if paid else _S.CLOSED_UNPAID
    if financial not in _PAID:
        return _NOT_PAID.get(financial, _S.UNKNOWN)
    status = _SHIPPING.get(fulfillment, _S.UNKNOWN)
    return _S.FINISHED if status is _S.SHIPPED and archived else status


def _order_refund(financial: str, lines: Sequence[LineDraft], order: Node) -> str | None:
    """A refund the bank has not settled is under way, whatever the lines say."""
    if financial == "REFUNDED":
        return "full"
    moves = (
        move.text("status").lower()
        for refund in order.nodes("refunds")
        for move in refund.nodes("transactions", "nodes")
    )
    if any(status in _REFUND_UNDER_WAY for status in moves):
        return "in_progress"
    state = order_refund_state(lines)
    return "partial" if state == "none" and financial == "PARTIALLY_REFUNDED" else state


def _receiver(value: Any) -> ReceiverDraft | None:
    """None for digital goods. Shopify knows no district and encrypts nothing."""
    if not isinstance(value, Mapping):
        return None
    address = Node(value)
    street = (address.first_text("address1"), address.first_text("address2"))
    return ReceiverDraft(
        name=address.text("name"),
        phone=address.text("phone"),
        province=address.text("province"),
        city=address.text("city"),
        address=" ".join(filter(None, street)),
    )


# --- refunds -----------------------------------------------------------------------------------


def _read_refund(refund: Node) -> RefundDraft:
    """Normalize a refund of either shape. Raises Unreadable."""
    if "refund_line_items" in refund.data:
        return _rest_refund(refund)
    money = _Money(refund.id("currency"))
    moves = refund.node_or_empty("transactions").nodes("nodes")
    paid_back = _Move(money.bag(refund, "totalRefundedSet"), "success")
    items = refund.node_or_empty("refundLineItems").nodes("nodes")
    created = refund.get("updatedAt") or refund.get("createdAt")
    return _refund(
        refund,
        number=_required(refund, "orderId"),
        lines={_required(item.node("lineItem"), "id") for item in items},
        kinds={item.text("restockType").lower() for item in items},
        moves=[
            _Move(money.bag(one, "amountSet"), one.text("status").lower())
            for one in moves
            if one.text("kind").lower() == "refund"
        ]
        or [paid_back],
        at=china_time(created, "createdAt"),
    )


def _rest_refund(refund: Node) -> RefundDraft:
    """Money is in ``transactions``; ``subtotal`` of a line is a number and only informs."""
    moves = [one for one in refund.nodes("transactions") if one.text("kind") == "refund"]
    items = refund.nodes("refund_line_items")
    at = refund.get("processed_at") or refund.get("created_at")
    return _refund(
        refund,
        number=_required(refund, "order_id"),
        lines={_required(item, "line_item_id") for item in items},
        kinds={item.text("restock_type") for item in items},
        moves=[
            _Move(_Money(one.text("currency")).text(one, "amount"), one.text("status"))
            for one in moves
        ],
        at=china_time(at, "processed_at"),
    )


@dataclass(frozen=True, slots=True)
class _Move:
    """One movement of money back to the buyer; ``status`` in lower case."""

    amount: Decimal
    status: str


def _refund(
    refund: Node,
    *,
    number: str,
    lines: set[str],
    kinds: set[str],
    moves: Sequence[_Move],
    at: datetime | None,
) -> RefundDraft:
    raw = next((one.status for one in moves if one.status != "success"), "success")
    counted = [one.amount for one in moves if one.status not in _REFUND_FAILED]
    amount = sum(counted, Decimal("0.00"))
    state = "refunded"
    if raw in _REFUND_UNDER_WAY:
        state = "in_progress"
    elif raw in _REFUND_FAILED and not amount:
        state = "closed"
    back = "return" in kinds
    return RefundDraft(
        channel=ShopifyConnector.channel,
        refund_id=_required(refund, "legacyResourceId", "id"),
        channel_number=number,
        channel_line_id=next(iter(lines)) if len(lines) == 1 else None,
        amount=amount,
        state_raw=raw,
        refund_state=state,
        return_goods=back,
        intercept_shipping=not back and state != "closed",
        modified_at=at,
    )
