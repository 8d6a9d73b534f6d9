"""The seller's own mini-program shop: its CRM (channels.md 7) and WeChat's shipping desk (6d).

The CRM is ours to define. It tells of changes by signed webhooks and lets its tables be read
by keyset:

* ``GET /miniprogram/crm_order?updated_at=&id=&until=&limit=``: rows with
  ``(updated_at, id) > (:updated_at, :id) AND updated_at <= :until``, oldest first, at most
  ``limit`` (1 to 500, else 100); ``GET /miniprogram/crm_order/{order_no}``: that row or none;
* ``GET /miniprogram/crm_refund?...``: the refunds, in the same way.

A request carries ``X-Timestamp`` and ``X-Signature`` as a webhook does, signed over
``timestamp + "." + path?query`` as it was sent; an ``X-Event-Id`` is not looked at.
Times in rows are naive text in UTC+8.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
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
    Refused,
    Shipment,
    ShopConfig,
)
from ordercenter.sandbox.outgoing import Outgoing, Push, hook, said_ok
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

CLOCK_TOLERANCE: Final = 300  # 7
LARGEST_PAGE: Final = 500
PAGE: Final = 100
TOKEN_LIVES: Final = 7_200
TOKEN_RENEWED: Final = 300  # seconds before its end a token is replaced
FORCED_A_DAY: Final = 20
FORCED_APART: Final = 30
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
COMPANIES: Final = frozenset({"SF", "ZTO", "YTO", "STO", "YUNDA", "JD", "EMS", "JTSD"})
UPLOAD_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+08:00")
SOME_LINES: Final = "part"
"""Stands for the lines of a part shipment: this wire does not name them."""
NO_TOKEN, EXPIRED_TOKEN, BAD_APPID, BAD_SECRET, BAD_GRANT = 40001, 42001, 40013, 40125, 40002
TOO_OFTEN, NO_QUOTA = 45011, 45009
# What public integrations show of this interface; no stored page lists the codes.
NO_PAYMENT, ALL_GONE, NOT_NOW, BAD_PARAMETERS = 10060001, 10060002, 10060004, 10060014
NOTHING_NEW: Final = 10060023


@dataclass(slots=True)
class WechatError(Exception):
    """``errcode`` with HTTP 200."""

    code: int
    message: str

    def body(self) -> dict[str, Any]:
        return {"errcode": self.code, "errmsg": f"{self.message} rid: sandbox"}


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
    crm, wechat = Crm(book), Wechat(book)
    return [
        Route("/miniprogram/crm_order", crm.orders, methods=["GET"]),
        Route("/miniprogram/crm_order/{order_no}", crm.order, methods=["GET"]),
        Route("/miniprogram/crm_refund", crm.refunds, methods=["GET"]),
        Route("/miniprogram/cgi-bin/stable_token", wechat.stable_token, methods=["POST"]),
        Route(
            "/miniprogram/wxa/sec/order/upload_shipping_info",
            wechat.upload_shipping_info,
            methods=["POST"],
        ),
    ]


# The CRM's tables


class Crm:
    def __init__(self, book: Book) -> None:
        self.book = book

    async def orders(self, request: Request) -> Response:
        try:
            shop = self._admit(request)
            start, row_id, until, limit = keyset(request.query_params, self.book.clock())
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
        rows = [] if order is None else [order_row(self.book, shop, order)]
        return answer({"table": "crm_order", "rows": rows})

    async def refunds(self, request: Request) -> Response:
        try:
            shop = self._admit(request)
            start, row_id, until, limit = keyset(request.query_params, self.book.clock())
        except CrmError as error:
            return answer(error.body(), status=error.status)
        mark = (int(start), row_id)
        # An order changes at least as late as its refunds do.
        found = [
            (order, refund)
            for order in self.book.changed(shop.code, start, self.book.clock())
            for refund in order.refunds
            if mark < (int(refund.modified), int(refund.refund_id))
            and int(refund.modified) <= int(until)
        ]
        found.sort(key=lambda pair: (int(pair[1].modified), int(pair[1].refund_id)))
        return answer(table("crm_refund", [refund_row(*pair) for pair in found[:limit]]))

    def _admit(self, request: Request) -> ShopConfig:
        """The shop whose secret signed the path and query; CrmError (401) when none did."""
        timestamp = request.headers.get("x-timestamp", "")
        given = request.headers.get("x-signature", "")
        try:
            skew = abs(self.book.clock() - whole(timestamp))
        except ValueError as error:
            raise CrmError(401, "bad_signature", "签名不符") from error
        query = request.scope["query_string"]
        sent = request.scope["raw_path"] + (b"?" + query if query else b"")
        for shop in self.book.shops.values():
            expected = crm_signature(shop.app_secret, timestamp, sent)
            same = hmac.compare_digest(expected.encode(), given.encode())
            if shop.channel == "miniprogram" and same:
                if skew > CLOCK_TOLERANCE:
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


# WeChat's shipping desk


class Wechat:
    def __init__(self, book: Book) -> None:
        self.book = book
        # The token of seller.json is as good as new whenever the sandbox starts.
        self._tokens: dict[str, list[tuple[str, float]]] = {
            shop.code: [(shop.access_token, book.clock() + TOKEN_LIVES)]
            for shop in book.shops.values()
            if shop.channel == "miniprogram"
        }
        self._forced: dict[str, list[float]] = {}

    async def stable_token(self, request: Request) -> Response:
        """The same token until shortly before its end; a good answer has no errcode (6a)."""
        try:
            wish = await body_of(request)
            shop = self._owner(wish)
            token, until = self._token(shop, forced=wish.get("force_refresh") is True)
        except WechatError as error:
            return answer(error.body())
        left = int(until - self.book.clock())
        return answer({"access_token": token, "expires_in": left})

    async def upload_shipping_info(self, request: Request) -> Response:
        """One parcel of an own order (6d).

        ``payer`` may be left out, as the CRM does not tell the openid; ``mchid`` is compared
        where the shop's options name one.
        """
        try:
            shop = self._admit(request.query_params.get("access_token", ""))
            wish = await body_of(request)
            order = self._paid_order(shop, wish)
            shipment = self._shipment(wish, order)
            self._ship(order, shipment)
        except WechatError as error:
            return answer(error.body())
        return answer({"errcode": 0, "errmsg": "ok"})

    def _owner(self, wish: Mapping[str, Any]) -> ShopConfig:
        shop = self.book.shop_by_key("miniprogram", str(wish.get("appid", "")))
        if wish.get("grant_type") != "client_credential":
            raise WechatError(BAD_GRANT, "invalid grant_type")
        if shop is None:
            raise WechatError(BAD_APPID, "invalid appid")
        if wish.get("secret") != shop.app_secret:
            raise WechatError(BAD_SECRET, "invalid appsecret")
        return shop

    def _token(self, shop: ShopConfig, *, forced: bool) -> tuple[str, float]:
        tokens, now = self._tokens[shop.code], self.book.clock()
        if forced:
            past = [at for at in self._forced.get(shop.code, []) if at > now - 86_400]
            if past and now - past[-1] < FORCED_APART:
                raise WechatError(TOO_OFTEN, "api freq out of limit")
            if len(past) >= FORCED_A_DAY:
                raise WechatError(NO_QUOTA, "reach max api daily quota limit")
            self._forced[shop.code] = [*past, now]
            tokens.clear()  # a forced token ends the ones before it
        if not tokens or tokens[-1][1] - now <= TOKEN_RENEWED:
            fresh = f"{shop.access_token}-{digest(shop.code, now, length=16)}"
            tokens.append((fresh, now + TOKEN_LIVES))
        return tokens[-1]

    def _admit(self, token: str) -> ShopConfig:
        for code, tokens in self._tokens.items():
            for known, until in tokens:
                if hmac.compare_digest(known.encode(), token.encode()):
                    if until <= self.book.clock():
                        raise WechatError(EXPIRED_TOKEN, "access_token expired")
                    return self.book.shops[code]
        raise WechatError(NO_TOKEN, "invalid credential, access_token is invalid or not latest")

    def _paid_order(self, shop: ShopConfig, wish: Mapping[str, Any]) -> Order:
        """The order whose payment ``order_key`` names, by our number or by WeChat's."""
        key = wish.get("order_key")
        if not isinstance(key, dict):
            raise bad("order_key")
        order: Order | None = None
        if key.get("order_number_type") == 1:
            mchid = shop.options.get("mchid")
            if mchid is None or key.get("mchid") == mchid:
                order = self.book.get(shop.code, str(key.get("out_trade_no", "")))
        elif key.get("order_number_type") == 2:
            wanted = str(key.get("transaction_id", ""))
            every = self.book.orders(shop.code)
            order = next((o for o in every if transaction_id(o) == wanted), None)
        else:
            raise bad("order_number_type")
        if order is None or order.paid is None:
            raise WechatError(NO_PAYMENT, "支付单不存在")
        payer = wish.get("payer")
        if payer is not None and payer != {"openid": openid(shop, order)}:
            raise WechatError(NO_PAYMENT, "支付单不存在：payer 不符")
        return order

    def _shipment(self, wish: Mapping[str, Any], order: Order) -> Shipment:
        mode, parcels = wish.get("delivery_mode"), wish.get("shipping_list")
        if mode not in {1, 2}:
            raise bad("delivery_mode")
        if wish.get("logistics_type") != 1:
            raise bad("logistics_type")
        if mode == 2 and not isinstance(wish.get("is_all_delivered"), bool):
            raise bad("is_all_delivered")
        if UPLOAD_TIME.fullmatch(str(wish.get("upload_time"))) is None:
            raise bad("upload_time")
        if not isinstance(parcels, list) or len(parcels) != 1:
            raise bad("shipping_list")
        company, number = check_parcel(parcels[0])
        whole_order = mode == 1 or wish["is_all_delivered"]
        at = datetime.fromisoformat(str(wish["upload_time"])).timestamp()
        return Shipment(company, number, [] if whole_order else [SOME_LINES], at)

    def _ship(self, order: Order, shipment: Shipment) -> None:
        known = {(s.carrier_code, s.tracking_number) for s in order.shipments}
        if (shipment.carrier_code, shipment.tracking_number) in known:
            raise WechatError(NOTHING_NEW, "发货信息未更新")
        if order.shipments and not order.unshipped:
            raise WechatError(ALL_GONE, "支付单已完成发货，无法继续发货")
        try:
            self.book.ship(order, shipment)
        except Refused as refusal:
            raise WechatError(NOT_NOW, f"支付单处于不可发货的状态：{refusal}") from refusal


def bad(name: str) -> WechatError:
    return WechatError(BAD_PARAMETERS, f"参数错误：{name}")


async def body_of(request: Request) -> dict[str, Any]:
    try:
        wish = json.loads(await request.body())
    except ValueError as error:
        raise WechatError(47001, "data format error") from error
    if not isinstance(wish, dict):
        raise WechatError(47001, "data format error")
    return wish


def check_parcel(parcel: Any) -> tuple[str, str]:
    """Company and number; a parcel with SF needs a masked contact (6d)."""
    if not isinstance(parcel, dict):
        raise bad("shipping_list")
    for name in ("tracking_no", "express_company", "item_desc"):
        if not parcel.get(name):
            raise bad(name)
    company = str(parcel["express_company"])
    if company not in COMPANIES:
        raise bad("express_company")
    if company == "SF":
        contact = parcel.get("contact")
        given = [text for text in contact.values() if text] if isinstance(contact, dict) else []
        if not given or not all("*" in str(text) for text in given):
            raise bad("contact：顺丰须提供掩码后的联系方式")
    return company, str(parcel["tracking_no"])


def transaction_id(order: Order) -> str:
    """WeChat's number of the payment."""
    return f"42000{int(digest('payment', order.number, length=18), 16) % 10**23:023d}"


def openid(shop: ShopConfig, order: Order) -> str:
    return "o" + digest("openid", shop.app_key, order.buyer.buyer_id, length=27)


# Webhooks


class Pusher:
    """Tells the center of every change by the CRM's webhook (7)."""

    def __init__(self, book: Book, center_url: str, outgoing: Outgoing | None = None) -> None:
        self.book = book
        self.center_url = center_url
        self.outgoing = outgoing or Outgoing(book)
        self._told: dict[str, str] = {}
        book.on_change(self._changed)

    async def run(self) -> None:
        await self.outgoing.run()

    def _changed(self, order: Order, event: str) -> None:
        shop = self.book.shops[order.shop]
        if shop.channel != "miniprogram":
            return
        for refund in order.refunds:
            status = REFUND_STATUS[refund.state]
            if self._told.get(refund.refund_id) != status:
                self._told[refund.refund_id] = status
                name = "refund.created" if status == "pending" else f"refund.{status}"
                self._put(shop, order, name, {"refund": refund_body(order, refund)})
        name = EVENTS.get(event, "order.updated")
        self._put(shop, order, name, {"order": order_body(shop, order)})

    def _put(self, shop: ShopConfig, order: Order, event: str, payload: Mapping[str, Any]) -> None:
        now = self.book.clock()
        event_id = f"evt_{digest(shop.code, order.number, event, order.modified, now, payload)}"
        head = {
            "event": event,
            "event_id": event_id,
            "occurred_at": iso(now),
            "source": SOURCE,
            "version": "1",
        }
        text = json.dumps({**head, **payload}, ensure_ascii=False, separators=(",", ":"))
        body = text.encode()
        facts = {"shop": shop.code, "number": order.number, "topic": event, "id": event_id}

        def headers() -> dict[str, str]:
            timestamp = str(int(self.book.clock()))
            return {
                "Content-Type": "application/json",
                "X-Event-Id": event_id,
                "X-Timestamp": timestamp,
                "X-Signature": crm_signature(shop.app_secret, timestamp, body),
            }

        url = hook(self.center_url, "miniprogram", shop.code)
        self.outgoing.put(Push(url, body, headers, said_ok, facts))


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
