"""A private-domain CRM (channels.md 7): signed webhooks, and tables read by keyset.

Ours to define. The seller's mini-program shop has such a CRM behind it, at ``/miniprogram``;
the CRM of the ``crm_webhook`` shop is at ``/crm``:

* ``GET <base>/crm_order?updated_at=&id=&until=&limit=``: rows with
  ``(updated_at, id) > (:updated_at, :id) AND updated_at <= :until``, oldest first, at most
  ``limit`` (1 to 500, else 100); ``GET <base>/crm_order/{order_no}``: that row or none;
* ``GET <base>/crm_refund?...``: the refunds, in the same way.

A request carries ``X-Timestamp`` and ``X-Signature`` as a webhook does, signed over
``timestamp + "." + path?query`` as it was sent; an ``X-Event-Id`` is not looked at.
Times in rows are naive text in UTC+8.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from starlette.routing import Route

from ordercenter.sandbox.book import (
    AGREED,
    ASKED,
    CLOSED_REFUNDED,
    CLOSED_UNPAID,
    DONE,
    FINISHED,
    ON_HOLD,
    REFUSED,
    SHIPPED,
    WAIT_PAY,
    WAIT_SHIP,
    WITHDRAWN,
    Line,
    Order,
    Refund,
    ShopConfig,
)
from ordercenter.sandbox.outgoing import Push, Teller, hook, said_ok
from ordercenter.sandbox.wire import (
    BEIJING,
    answer,
    beijing,
    digest,
    read_beijing,
    utc,
    whole,
    yuan,
)

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from ordercenter.sandbox.book import Book

CHANNELS: Final = {"miniprogram": "/miniprogram", "crm_webhook": "/crm"}
"""The channels that have a CRM behind them, and where it is read."""
MONEY: Final = frozenset(
    {
        "total_amount", "discount_amount", "freight_amount", "paid_amount", "unit_price", "amount",
    }
)  # fmt: skip
CLOCK_TOLERANCE: Final = 300  # 7
LARGEST_PAGE: Final = 500
PAGE: Final = 100
SOURCE: Final = "private-domain-crm"
STATUS: Final = {
    WAIT_PAY: "unpaid",
    WAIT_SHIP: "paid",
    ON_HOLD: "paid",
    SHIPPED: "shipped",
    FINISHED: "finished",
    CLOSED_UNPAID: "cancelled",
    CLOSED_REFUNDED: "cancelled",
}
REFUND_STATUS: Final = {
    ASKED: "pending",
    AGREED: "pending",
    DONE: "success",
    REFUSED: "refused",
    WITHDRAWN: "cancelled",
}
EVENTS: Final = {
    "created": "order.created",
    "paid": "order.paid",
    "shipped": "order.shipped",
    "finished": "order.finished",
    "closed": "order.cancelled",
}


@dataclass(slots=True)
class CrmError(Exception):
    """A refusal of the CRM in the form of its own error reply."""

    status: int
    code: str
    message: str

    def body(self) -> dict[str, Any]:
        return {"ok": False, "error": {"code": self.code, "message": self.message}}


def crm_signature(secret: str, timestamp: str, signed: bytes) -> str:
    """Lower-case HMAC-SHA256 over the time, a dot, and the bytes (7)."""
    text = timestamp.encode() + b"." + signed
    return hmac.new(secret.encode(), text, hashlib.sha256).hexdigest()


def routes(book: Book) -> list[Route]:
    found = []
    for channel, base in CHANNELS.items():
        crm = Crm(book, channel)
        found += [
            Route(f"{base}/crm_order", crm.orders, methods=["GET"]),
            Route(f"{base}/crm_order/{{order_no}}", crm.order, methods=["GET"]),
            Route(f"{base}/crm_refund", crm.refunds, methods=["GET"]),
        ]
    return found


# The CRM's tables


class Crm:
    def __init__(self, book: Book, channel: str) -> None:
        self.book = book
        self.channel = channel

    async def orders(self, request: Request) -> Response:
        try:
            shop = self._admit(request)
            start, row_id, until, limit = keyset(request.query_params, self.book.now(shop.code))
        except CrmError as error:
            return answer(error.body(), status=error.status)
        found = [
            order
            for order in self.book.changed(shop.code, start, until)
            if (int(order.modified), row_id_of(self.book, order)) > (int(start), row_id)
        ]
        found.sort(key=lambda o: (int(o.modified), row_id_of(self.book, o)))
        rows = [order_row(self.book, shop, order) for order in found[:limit]]
        return answer(table("crm_order", rows))

    async def order(self, request: Request) -> Response:
        try:
            shop = self._admit(request)
        except CrmError as error:
            return answer(error.body(), status=error.status)
        order = self.book.get(shop.code, request.path_params["order_no"])
        rows = (
            [] if order is None or self.book.is_late(order) else [order_row(self.book, shop, order)]
        )
        return answer({"table": "crm_order", "rows": rows})

    async def refunds(self, request: Request) -> Response:
        try:
            shop = self._admit(request)
            start, row_id, until, limit = keyset(request.query_params, self.book.now(shop.code))
        except CrmError as error:
            return answer(error.body(), status=error.status)
        mark = (int(start), row_id)
        found = [
            (order, refund)
            for order, refund in self.book.refunds(shop.code, start, until)
            if mark < (int(refund.modified), int(refund.refund_id))
        ]
        found.sort(key=lambda pair: (int(pair[1].modified), int(pair[1].refund_id)))
        return answer(table("crm_refund", [refund_row(*pair) for pair in found[:limit]]))

    def _admit(self, request: Request) -> ShopConfig:
        """The shop whose secret signed the path and query; CrmError (401) when none did."""
        timestamp = request.headers.get("x-timestamp", "")
        given = request.headers.get("x-signature", "")
        try:
            at = whole(timestamp)
        except ValueError as error:
            raise CrmError(401, "bad_signature", "签名不符") from error
        query = request.scope["query_string"]
        sent = request.scope["raw_path"] + (b"?" + query if query else b"")
        for shop in self.book.shops.values():
            expected = crm_signature(shop.app_secret, timestamp, sent)
            same = hmac.compare_digest(expected.encode(), given.encode())
            if shop.channel == self.channel and same:
                if abs(self.book.now(shop.code) - at) > CLOCK_TOLERANCE:
                    raise CrmError(401, "stale_timestamp", "时间戳超出允许范围")
                return shop
        raise CrmError(401, "bad_signature", "签名不符")


def keyset(query: Mapping[str, str], now: float) -> tuple[float, int, float, int]:
    """The cursor, the end and the size of a page; CrmError (400) when they make no sense."""
    try:
        start, row_id = read_beijing(query["updated_at"]), whole(query.get("id", "0"))
        until = read_beijing(query["until"]) if query.get("until") else now
        limit = whole(query.get("limit", str(PAGE)))
    except (KeyError, ValueError) as error:
        raise CrmError(400, "bad_parameter", "updated_at、id、until 或 limit 不合法") from error
    if not 1 <= limit <= LARGEST_PAGE:
        raise CrmError(400, "bad_parameter", f"limit 须在 1 到 {LARGEST_PAGE} 之间")
    return start, row_id, until, limit


def table(name: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    last = rows[-1] if rows else None
    cursor = None if last is None else {"updated_at": last["updated_at"], "id": last["id"]}
    return {"table": name, "rows": rows, "next_cursor": cursor}


def row_id_of(book: Book, order: Order) -> int:
    """The key of the order's row, given out in the order of first sight."""
    if "row_id" not in order.extra:
        order.extra["row_id"] = 101 + len(book.records["crm_row"])
        book.record("crm_row", {"number": order.number, "row_id": order.extra["row_id"]})
        book.keep(order)
    return int(order.extra["row_id"])


def line_no(order: Order, line: Line) -> int:
    return order.lines.index(line) + 1


def item_body(order: Order, line: Line) -> dict[str, Any]:
    whole_fen = line.unit_fen * line.quantity
    return {
        "line_no": line_no(order, line),
        "sku_code": line.outer_code or line.platform_sku_id,
        "sku_id": line.platform_sku_id,
        "title": line.title,
        "qty": line.quantity,
        "unit_price": yuan(line.unit_fen),
        "discount_amount": yuan(whole_fen - line.amount_fen),
        "paid_amount": yuan(line.amount_fen),
        "is_gift": line.is_gift,
    }


def order_row(book: Book, shop: ShopConfig, order: Order) -> dict[str, Any]:
    """A row of ``crm_order``; it says all that the webhook says."""
    r, buyer = order.receiver, buyer_body(order)
    items = [item_body(order, line) for line in order.lines]
    return {
        "id": row_id_of(book, order),
        "order_no": order.number,
        "status": STATUS[order.state],
        "currency": shop.currency,
        "total_amount": yuan(order.goods_fen),
        "discount_amount": yuan(order.discount_fen),
        "freight": yuan(order.freight_fen),
        "pay_amount": yuan(order.payable_fen),
        "paid_amount": yuan(order.paid_fen),
        "created_at": beijing(order.created),
        "pay_time": None if order.paid is None else beijing(order.paid),
        "updated_at": beijing(order.modified),
        "buyer_member_no": buyer["member_no"],
        "buyer_nickname": buyer["nickname"],
        "buyer_level": buyer["level"],
        "buyer_ip": buyer["ip"],
        "buyer_device_id": buyer["device_id"],
        "receiver_name": r.name,
        "receiver_phone": r.phone or None,
        "receiver_province": r.province,
        "receiver_city": r.city,
        "receiver_district": r.district,
        "receiver_address": f"{r.town}{r.address}",
        "buyer_remark": order.remark or None,
        "seller_memo": order.memo or None,
        "items_json": json.dumps(items, ensure_ascii=False, separators=(",", ":")),
    }


def refund_row(order: Order, refund: Refund) -> dict[str, Any]:
    line = order.line(refund.line_id) if refund.line_id is not None else None
    return {
        "id": int(refund.refund_id),
        "refund_no": f"RF{refund.refund_id}",
        "order_no": order.number,
        "line_no": None if line is None else line_no(order, line),
        "type": "refund_only",
        "status": REFUND_STATUS[refund.state],
        "amount": yuan(refund.amount_fen),
        "reason": refund.reason,
        "created_at": beijing(refund.created),
        "updated_at": beijing(refund.modified),
    }


def buyer_body(order: Order) -> dict[str, str]:
    b = order.buyer
    return {
        "member_no": b.buyer_id,
        "nickname": b.nick,
        "level": ("普通", "银卡", "金卡")[int(digest("level", b.buyer_id, length=4), 16) % 3],
        "ip": b.ip,
        "device_id": b.device_id,
    }


# Webhooks


class Pusher(Teller):
    """Tells the center of every change by their CRM's webhook (7)."""

    def _changed(self, order: Order, event: str) -> None:
        shop = self.book.shops[order.shop]
        if shop.channel not in CHANNELS:
            return
        for refund in order.refunds:
            status = REFUND_STATUS[refund.state]
            if self._is_news(refund.refund_id, status):
                name = "refund.created" if status == "pending" else f"refund.{status}"
                self._put(shop, order, name, {"refund": refund_body(order, refund)})
        name = EVENTS.get(event, "order.updated")
        self._put(shop, order, name, {"order": order_body(shop, order)})

    def _put(self, shop: ShopConfig, order: Order, event: str, payload: Mapping[str, Any]) -> None:
        if self.book.weather.strikes(shop.channel, "odd_shapes"):
            payload = odd_shape(payload)
        now = self.book.clock()
        mark = digest(shop.code, order.number, event, order.modified, now, payload)
        self.outgoing.put(self._push(shop, order, event, payload, mark))

    def _push(
        self, shop: ShopConfig, order: Order, event: str, payload: Mapping[str, Any], mark: str
    ) -> Push:
        """One event, known by ``mark``; signed anew at every attempt."""
        event_id = f"evt_{mark}"
        head = {
            "event": event,
            "event_id": event_id,
            "occurred_at": iso(self.book.now(shop.code)),
            "source": SOURCE,
            "version": "1",
        }
        text = json.dumps({**head, **payload}, ensure_ascii=False, separators=(",", ":"))
        body = text.encode()
        facts = {"shop": shop.code, "number": order.number, "topic": event, "id": event_id}

        def headers() -> dict[str, str]:
            timestamp = str(int(self.book.now(shop.code)))
            return {
                "Content-Type": "application/json",
                "X-Event-Id": event_id,
                "X-Timestamp": timestamp,
                "X-Signature": crm_signature(shop.app_secret, timestamp, body),
            }

        def renewed(word: str) -> Push:
            return self._push(shop, order, event, payload, digest(mark, word))

        url = hook(self.center_url, shop.channel, shop.code)
        return Push(url, body, headers, said_ok, facts, renewed)


def odd_shape(value: Any) -> Any:
    """Money in JSON numbers and times in Unix seconds, as is legal too (7)."""
    if isinstance(value, list):
        return [odd_shape(entry) for entry in value]
    if not isinstance(value, dict):
        return value
    odd: dict[str, Any] = {}
    for name, inner in value.items():
        if name in MONEY and isinstance(inner, str):
            odd[name] = float(inner)
        elif name.endswith("_at") and isinstance(inner, str):
            odd[name] = int(datetime.fromisoformat(inner).timestamp())
        else:
            odd[name] = odd_shape(inner)
    return odd


def iso(at: float | None) -> str | None:
    return None if at is None else utc(at).astimezone(BEIJING).isoformat(timespec="seconds")


def order_body(shop: ShopConfig, order: Order) -> dict[str, Any]:
    r = order.receiver
    cut = order.discount_fen
    return {
        "order_no": order.number,
        "status": STATUS[order.state],
        "currency": shop.currency,
        "created_at": iso(order.created),
        "updated_at": iso(order.modified),
        "paid_at": iso(order.paid),
        "total_amount": yuan(order.goods_fen),
        "discount_amount": yuan(cut),
        "freight_amount": yuan(order.freight_fen),
        "paid_amount": yuan(order.paid_fen),
        "buyer": buyer_body(order),
        "receiver": {
            "name": r.name,
            "phone": r.phone,
            "province": r.province,
            "city": r.city,
            "district": r.district,
            "address": f"{r.town}{r.address}",
        },
        "buyer_remark": order.remark,
        "seller_memo": order.memo,
        "items": [item_body(order, line) for line in order.lines],
        "promotions": [{"type": "coupon", "name": "社群券", "amount": yuan(cut)}] if cut else [],
        "tags": [],
    }


def refund_body(order: Order, refund: Refund) -> dict[str, Any]:
    row = refund_row(order, refund)
    del row["id"]
    return row | {"created_at": iso(refund.created), "updated_at": iso(refund.modified)}
