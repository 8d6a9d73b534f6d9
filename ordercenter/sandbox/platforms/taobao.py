"""Taobao / Tmall as its open platform answers (channels.md 1a to 1d).

One form POST for every method; errors come with HTTP 200; a field that is not asked for does
not come; lists run from the trade changed last to the one changed first.
"""

from __future__ import annotations

import hashlib
import hmac
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from starlette.responses import Response
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
from ordercenter.sandbox.wire import (
    answer,
    beijing,
    digest,
    form,
    mask_address,
    mask_name,
    read_beijing,
    whole,
    yuan,
)

if TYPE_CHECKING:
    from starlette.requests import Request

    from ordercenter.sandbox.book import Book

CLOCK_TOLERANCE: Final = 600  # 1a
LONGEST_WINDOW: Final = 86_400  # 1b
LARGEST_PAGE: Final = 100
DEFAULT_PAGE: Final = 40
LONGEST_MEMO: Final = 1_000  # bytes
WEEK: Final = 7 * 86_400
# The list must hold these before the platform adds the oaid (1b).
FOR_OAID: Final = frozenset(
    {"receiver_name", "receiver_address", "created", "receiver_mobile", "receiver_phone"}
)
COMPANIES: Final = {
    "SF": "顺丰速运",
    "YTO": "圆通速递",
    "ZTO": "中通快递",
    "STO": "申通快递",
    "YUNDA": "韵达快递",
    "EMS": "EMS",
    "JD": "京东快递",
    "OTHER": "其他",
}
STATUS: Final = {
    WAIT_PAY: "WAIT_BUYER_PAY",
    WAIT_SHIP: "WAIT_SELLER_SEND_GOODS",
    SHIPPED: "WAIT_BUYER_CONFIRM_GOODS",
    FINISHED: "TRADE_FINISHED",
    CLOSED_UNPAID: "TRADE_CLOSED_BY_TAOBAO",
    CLOSED_REFUNDED: "TRADE_CLOSED",
    ON_HOLD: "PAID_FORBID_CONSIGN",
}
REFUND_STATUS: Final = {
    ASKED: "WAIT_SELLER_AGREE",
    AGREED: "WAIT_SELLER_AGREE",  # money is on its way; the list has no word of its own for it
    REFUSED: "SELLER_REFUSE_BUYER",
    WITHDRAWN: "CLOSED",
    DONE: "SUCCESS",
}
LINE_REFUND: Final = {
    "none": "NO_REFUND",
    "in_progress": "WAIT_SELLER_AGREE",
    "refunded": "SUCCESS",
}


@dataclass(slots=True)
class TopError(Exception):
    """An ``error_response``: code, message, and the sub code that tells the cause."""

    code: int
    msg: str
    sub_code: str = ""
    sub_msg: str = ""

    def body(self) -> dict[str, Any]:
        facts: dict[str, Any] = {"code": self.code, "msg": self.msg}
        if self.sub_code:
            facts |= {"sub_code": self.sub_code, "sub_msg": self.sub_msg}
        return {"error_response": facts | {"request_id": f"16sandbox{self.code:04d}"}}


def sign(params: Mapping[str, str], secret: str, method: str) -> str:
    """The TOP signature over ``params`` (1a): md5 is wrapped in the secret, hmac is not."""
    names = sorted(name for name in params if name != "sign")
    text = "".join(name + params[name] for name in names if name and params[name])
    if method == "md5":
        return hashlib.md5(f"{secret}{text}{secret}".encode()).hexdigest().upper()
    hashed = {"hmac": hashlib.md5, "hmac-sha256": hashlib.sha256}[method]
    return hmac.new(secret.encode(), text.encode(), hashed).hexdigest().upper()


def missing(name: str) -> TopError:
    return TopError(40, "Missing required arguments:" + name)


def invalid(name: str, why: str) -> TopError:
    return TopError(41, "Invalid arguments:" + name, f"isv.invalid-parameter:{name}", why)


def business(sub_code: str, sub_msg: str) -> TopError:
    return TopError(15, "Remote service error", sub_code, sub_msg)


def routes(book: Book) -> list[Route]:
    gateway = Gateway(book)
    return [Route("/taobao/router/rest", gateway.handle, methods=["GET", "POST"])]


class Gateway:
    def __init__(self, book: Book) -> None:
        self.book = book
        self._turns = itertools.count()
        self._requests = itertools.count(1)

    async def handle(self, request: Request) -> Response:
        params = await form(request)
        if params.get("format") != "json":
            # Whoever does not ask for JSON gets XML, and cannot read it.
            return Response(
                '<?xml version="1.0" encoding="utf-8" ?><error_response><code>41</code>'
                "<msg>Invalid arguments:format</msg></error_response>",
                media_type="text/xml;charset=UTF-8",
            )
        try:
            shop = self._admit(params)
            method, serve = self._method(params)
            body = serve(shop, params)
        except TopError as error:
            return answer(error.body())
        key = method.removeprefix("taobao.").replace(".", "_") + "_response"
        return answer({key: body | {"request_id": f"16sandbox{next(self._requests):08d}"}})

    def _admit(self, params: Mapping[str, str]) -> ShopConfig:
        """Who is calling, proven by signature and token; TopError when not."""
        for name in ("app_key", "method", "timestamp", "v", "sign_method", "sign"):
            if not params.get(name):
                raise missing(name)
        shop = self.book.shop_by_key("taobao", params["app_key"])
        if shop is None:
            raise TopError(29, "Invalid app Key")
        try:
            skew = abs(self.book.clock() - read_beijing(params["timestamp"]))
        except ValueError as error:
            raise invalid("timestamp", "时间格式应为 yyyy-MM-dd HH:mm:ss") from error
        if skew > CLOCK_TOLERANCE:
            raise invalid("timestamp", "时间戳与服务器相差超过10分钟")
        if params["sign_method"] not in {"md5", "hmac", "hmac-sha256"}:
            raise invalid("sign_method", "不支持的签名方法")
        if params["sign"] != sign(params, shop.app_secret, params["sign_method"]):
            raise TopError(25, "Invalid Signature")
        if not params.get("session"):
            raise TopError(26, "Missing session")
        if params["session"] != shop.access_token:
            raise TopError(27, "Invalid session", "invalid-sessionkey", "session不存在或已过期")
        return shop

    def _method(
        self, params: Mapping[str, str]
    ) -> tuple[str, Callable[[ShopConfig, Mapping[str, str]], dict[str, Any]]]:
        methods = {
            "taobao.trades.sold.increment.get": self.trades,
            "taobao.trade.fullinfo.get": self.trade,
            "taobao.refunds.receive.get": self.refunds,
            "taobao.logistics.offline.send": self.send,
            "taobao.trade.memo.update": self.memo,
        }
        method = params["method"]
        if method not in methods:
            raise TopError(22, "Invalid method")
        return method, methods[method]

    # The methods

    def trades(self, shop: ShopConfig, params: Mapping[str, str]) -> dict[str, Any]:
        """trades.sold.increment.get: at most one day, changed last first (1b)."""
        fields = fields_of(params)
        start, end = window(params, "start_modified", "end_modified")
        if end - start > LONGEST_WINDOW:
            raise invalid("end_modified", "查询时间跨度不能超过一天")
        found = [
            order
            for order in reversed(self.book.changed(shop.code, start, end))
            if params.get("status") in {None, "", status_of(order)}
        ]
        rows, facts = self._page(found, params)
        trades = [self._trade(shop, order, fields) for order in rows]
        return facts | self._wrapped("trades", "trade", trades)

    def trade(self, shop: ShopConfig, params: Mapping[str, str]) -> dict[str, Any]:
        fields = fields_of(params)
        return {"trade": self._trade(shop, self._find(shop, params), fields)}

    def refunds(self, shop: ShopConfig, params: Mapping[str, str]) -> dict[str, Any]:
        """refunds.receive.get: changed last first (1d)."""
        fields = fields_of(params)
        start, end = window(params, "start_modified", "end_modified")
        found = [
            (order, refund)
            for order in self.book.orders(shop.code)
            for refund in order.refunds
            if start <= int(refund.modified) <= end
            and params.get("status") in {None, "", REFUND_STATUS[refund.state]}
        ]
        found.sort(key=lambda pair: pair[1].modified, reverse=True)
        rows, facts = self._page(found, params)
        refunds = [only(refund_body(shop, *pair), fields) for pair in rows]
        return facts | self._wrapped("refunds", "refund", refunds)

    def send(self, shop: ShopConfig, params: Mapping[str, str]) -> dict[str, Any]:
        """logistics.offline.send: a shipped trade is refused, with the same parcel too."""
        for name in ("tid", "out_sid", "company_code"):
            if not params.get(name):
                raise missing(name)
        order = self._find(shop, params)
        if params["company_code"] not in COMPANIES:
            raise business("isv.logistics-offline-service-error:B01", "物流公司不存在")
        line_ids = part_of(order, params)
        gone = order.state not in {WAIT_SHIP, SHIPPED} or not order.unshipped
        unshipped = {line.line_id for line in order.unshipped}
        if order.shipments and (gone or not unshipped.issuperset(line_ids)):
            raise business(
                "isv.logistics-offline-service-error:B04", "物流订单状态不合法：该订单已发货"
            )
        shipment = Shipment(params["company_code"], params["out_sid"], line_ids, self.book.clock())
        try:
            self.book.ship(order, shipment)
        except Refused as refusal:
            raise business("isv.logistics-offline-service-error:B05", str(refusal)) from refusal
        return {"shipping": {"is_success": True}}

    def memo(self, shop: ShopConfig, params: Mapping[str, str]) -> dict[str, Any]:
        """trade.memo.update replaces the text; ``reset`` clears it (1d)."""
        if not params.get("tid"):
            raise missing("tid")
        text = params.get("memo", "")
        if len(text.encode()) > LONGEST_MEMO:
            raise invalid("memo", "备注不能超过1000个字节")
        flag = params.get("flag", "0")
        if flag not in set("012345"):
            raise invalid("flag", "旗帜取值为0到5")
        order = self._find(shop, params)
        reset = params.get("reset") == "true"
        order.memo, order.flag = "" if reset else text, int(flag)
        self.book.touch(order, "memo_changed")
        return {"trade": {"tid": int(order.number), "modified": beijing(order.modified)}}

    # Their pieces

    def _find(self, shop: ShopConfig, params: Mapping[str, str]) -> Order:
        if not params.get("tid"):
            raise missing("tid")
        order = self.book.get(shop.code, params["tid"])
        if order is None:
            raise business("isv.trade-not-exist", "交易不存在")
        return order

    def _page(
        self, found: list[Any], params: Mapping[str, str]
    ) -> tuple[list[Any], dict[str, Any]]:
        page = number(params, "page_no", 1)
        size = number(params, "page_size", DEFAULT_PAGE)
        if page < 1:
            raise invalid("page_no", "页码从1开始")
        if not 1 <= size <= LARGEST_PAGE:
            raise invalid("page_size", "每页条数为1到100")
        rows = found[(page - 1) * size : page * size]
        if params.get("use_has_next") == "true":
            return rows, {"has_next": page * size < len(found)}
        return rows, {"total_results": len(found)}

    def _wrapped(self, outer: str, inner: str, rows: list[Any]) -> dict[str, Any]:
        """Lists are wrapped twice; an empty one is ``{}`` one time and no key the next."""
        if rows:
            return {outer: {inner: rows}}
        return {outer: {}} if next(self._turns) % 2 else {}

    def _trade(self, shop: ShopConfig, order: Order, fields: frozenset[str]) -> dict[str, Any]:
        trade = trade_body(shop, order)
        if not fields.issuperset(FOR_OAID):
            trade.pop("oaid")
        else:
            fields |= {"oaid"}
        return only(trade, fields)


def fields_of(params: Mapping[str, str]) -> frozenset[str]:
    names = frozenset(name.strip() for name in params.get("fields", "").split(",") if name.strip())
    if not names:
        raise missing("fields")
    return names


def only(body: dict[str, Any], fields: frozenset[str]) -> dict[str, Any]:
    """What was asked for, and nothing else. ``orders.oid`` asks for one field of the lines."""
    chosen = {name: value for name, value in body.items() if name in fields}
    parts = {name.partition(".")[2] for name in fields if name.startswith("orders.")}
    if parts and "orders" not in fields and "orders" in body:
        lines = body["orders"]["order"]
        chosen["orders"] = {
            "order": [{k: v for k, v in line.items() if k in parts} for line in lines]
        }
    return chosen


def window(params: Mapping[str, str], first: str, last: str) -> tuple[float, float]:
    for name in (first, last):
        if not params.get(name):
            raise missing(name)
    try:
        start, end = read_beijing(params[first]), read_beijing(params[last])
    except ValueError as error:
        raise invalid(first, "时间格式应为 yyyy-MM-dd HH:mm:ss") from error
    if start > end:
        raise invalid(first, "开始时间不能晚于结束时间")
    return start, end


def number(params: Mapping[str, str], name: str, default: int) -> int:
    try:
        return whole(params.get(name) or str(default))
    except ValueError as error:
        raise invalid(name, "应为整数") from error


def part_of(order: Order, params: Mapping[str, str]) -> list[str]:
    """The lines of a part shipment; none means all of them."""
    if params.get("is_split", "0") != "1":
        return []
    line_ids = [text for text in params.get("sub_tid", "").split(",") if text]
    if not line_ids:
        raise missing("sub_tid")
    if any(order.line(line_id) is None for line_id in line_ids):
        raise invalid("sub_tid", "子订单不属于该交易")
    return line_ids


def status_of(order: Order) -> str:
    return "SELLER_CONSIGNED_PART" if order.is_part_shipped else STATUS[order.state]


def oaid(shop: ShopConfig, order: Order) -> str:
    """Same receiver, same week, same shop: same oaid; a new address has a new one."""
    r = order.receiver
    whose = (r.name, r.phone, r.province, r.city, r.district, r.address)
    week = int(order.created // WEEK)
    return "1Sbx" + digest(shop.code, *whose, order.address_version, week, length=60)


def trade_body(shop: ShopConfig, order: Order) -> dict[str, Any]:
    """The whole trade with every field this sandbox knows (1c)."""
    several = len(order.lines) > 1
    body: dict[str, Any] = {
        "tid": int(order.number),
        "tid_str": order.number,
        "type": "fixed",
        "status": status_of(order),
        "trade_from": "WAP,WAP",
        "seller_nick": shop.options.get("seller_nick", shop.name),
        "buyer_nick": mask_name(order.buyer.nick),
        "buyer_open_uid": "AAH" + digest(shop.app_key, order.buyer.buyer_id, length=28),
        "created": beijing(order.created),
        "modified": beijing(order.modified),
        "num": 0 if several else order.lines[0].quantity,
        "payment": yuan(order.payable_fen),
        "total_fee": yuan(order.goods_fen),
        "discount_fee": yuan(order.discount_fen if several else 0),
        "adjust_fee": "0.00",
        "post_fee": yuan(order.freight_fen),
        "received_payment": yuan(order.paid_fen if order.state == FINISHED else 0),
        "coupon_fee": 0,
        "has_buyer_message": bool(order.remark),
        "seller_flag": order.flag,
        "seller_memo": order.memo,
        "shipping_type": "express",
        "is_part_consign": order.is_part_shipped,
        "orders": {"order": [line_body(shop, order, line) for line in order.lines]},
    }
    times = {"pay_time": order.paid, "end_time": order.finished or order.closed}
    if order.shipments:
        times["consign_time"] = order.shipments[0].at
    body |= {name: beijing(at) for name, at in times.items() if at is not None}
    if order.remark:
        body["buyer_message"] = order.remark
    if details := promotions(order):
        body["promotion_details"] = {"promotion_detail": details}
    return body | receiver_body(shop, order)


def receiver_body(shop: ShopConfig, order: Order) -> dict[str, Any]:
    receiver = order.receiver
    return {
        "receiver_name": mask_name(receiver.name),
        "receiver_state": receiver.province,
        "receiver_city": receiver.city,
        "receiver_district": receiver.district,
        "receiver_town": receiver.town,
        "receiver_address": mask_address(receiver.address),
        "receiver_zip": receiver.zip,
        "receiver_mobile": f"*******{receiver.phone[-4:]}" if receiver.phone else "",
        "receiver_phone": "",
        "oaid": oaid(shop, order),
    }


def line_body(shop: ShopConfig, order: Order, line: Line) -> dict[str, Any]:
    """One sub-order. A lone one carries the trade's payment, postage included (1c)."""
    several = len(order.lines) > 1
    full = line.unit_fen * line.quantity
    cut = full - line.amount_fen
    body: dict[str, Any] = {
        "oid": int(line.line_id),
        "oid_str": line.line_id,
        "num_iid": item_id(line),
        "sku_id": line.platform_sku_id or "",
        "outer_iid": f"SPU-{item_id(line) % 100_000:05d}" if line.outer_code else "",
        "outer_sku_id": line.outer_code or "",
        "title": line.title,
        "num": line.quantity,
        "price": yuan(line.unit_fen),
        "total_fee": yuan(full if several else line.amount_fen),
        "discount_fee": yuan(0 if several else cut),
        "adjust_fee": "0.00",
        "payment": yuan(full if several else order.payable_fen),
        "refund_status": LINE_REFUND[line.refund_state],
        "status": line_status(order, line),
        "cid": 50010850,
        "seller_type": "B",
        "buyer_rate": False,
        "seller_rate": False,
        "is_oversold": False,
        "is_daixiao": False,
        "order_from": "WAP,WAP",
        "pic_path": f"https://img.example.com/i/{item_id(line)}.jpg",
        "snapshot_url": f"v:{line.line_id}_1",
    }
    if line.platform_sku_id is None:  # goods without SKU: the merchant's code is the item's
        body |= {"outer_iid": line.outer_code or "", "outer_sku_id": ""}
    if several:
        body |= {"part_mjz_discount": yuan(cut), "divide_order_fee": yuan(line.amount_fen)}
    if line.is_gift:
        body["is_free_gift"] = True
    elif order.gifts_outside or any(other.is_gift for other in order.lines):
        body["has_gift"] = True
    refund = next((r for r in order.refunds if r.line_id in {None, line.line_id}), None)
    if refund is not None:
        body["refund_id"] = refund.refund_id
    for shipment in order.shipments:
        if not shipment.line_ids or line.line_id in shipment.line_ids:
            body |= {
                "logistics_company": COMPANIES.get(shipment.carrier_code, "其他"),
                "invoice_no": shipment.tracking_number,
                "consign_time": beijing(shipment.at),
                "shipping_type": "express",
            }
    return body


def line_status(order: Order, line: Line) -> str:
    if line.refund_state == "refunded":
        return STATUS[CLOSED_REFUNDED]
    if order.is_part_shipped and line not in order.unshipped:
        return STATUS[SHIPPED]
    return STATUS[order.state]


def item_id(line: Line) -> int:
    """The item a SKU belongs to; made of the code where the platform gave no SKU id."""
    if line.platform_sku_id:
        return 690_000_000_000 + int(line.platform_sku_id) % 100_000
    return 690_000_100_000 + int(digest(line.outer_code, length=4), 16)


def promotions(order: Order) -> list[dict[str, Any]]:
    """What was taken off, and the gifts that are named nowhere else (1c)."""
    tid, several = int(order.number), len(order.lines) > 1
    details: list[dict[str, Any]] = []
    if order.discount_fen:
        details.append(
            {
                "id": tid,
                "promotion_name": "店铺满减" if several else "限时直降",
                "promotion_desc": f"立减{yuan(order.discount_fen)}元",
                "promotion_id": f"{'mjs' if several else 'shopvip'}-{tid % 10**9}_{tid % 10**8}",
                "discount_fee": yuan(order.discount_fen),
            }
        )
    details.extend(
        {
            "id": int(order.lines[0].line_id),
            "promotion_name": "满额赠",
            "promotion_desc": f"赠{gift.title.removeprefix('赠品 ')}",
            "promotion_id": f"mjs-{tid % 10**9}_{item_id(gift) % 10**8}",
            "discount_fee": "0.00",
            "gift_item_id": str(item_id(gift)),
            "gift_item_name": gift.title,
            "gift_item_num": str(gift.quantity),
        }
        for gift in order.gifts_outside
    )
    return details


def refund_body(shop: ShopConfig, order: Order, refund: Refund) -> dict[str, Any]:
    line = next((x for x in order.lines if x.line_id == refund.line_id), order.lines[0])
    received = order.state == FINISHED
    return {
        "refund_phase": "aftersale" if received else "onsale",
        "dispute_type": "REFUND",
        "has_good_return": False,
        "cs_status": 1,
        "advance_status": 0,
        "seller_nick": shop.options.get("seller_nick", shop.name),
        "buyer_nick": mask_name(order.buyer.nick),
        "good_status": "BUYER_RECEIVED" if received else "BUYER_NOT_RECEIVED",
        "refund_id": refund.refund_id,
        "tid": int(order.number),
        "oid": int(line.line_id),
        "num_iid": item_id(line),
        "sku": f"{line.platform_sku_id or ''}|{line.title}",
        "outer_id": line.outer_code or "",
        "title": line.title,
        "num": line.quantity,
        "price": yuan(line.unit_fen),
        "total_fee": yuan(line.unit_fen * line.quantity),
        "payment": "0.00",
        "refund_fee": yuan(refund.amount_fen),
        "status": REFUND_STATUS[refund.state],
        "order_status": status_of(order),
        "reason": refund.reason,
        "desc": "",
        "created": beijing(refund.created),
        "modified": beijing(refund.modified),
        "refund_version": int(refund.modified * 1000),
    }
