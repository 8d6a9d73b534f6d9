"""Pinduoduo as its open platform answers (channels.md 4a to 4d).

Flat parameters as JSON or form, lists of at most half an hour, answers under keys that cannot
be derived from the method, money now as numbers and now as text, and a receiver in ciphertext
that is there only while the order may be shipped.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from starlette.routing import Route

from ordercenter.sandbox.book import (
    AGREED,
    ASKED,
    CLOSED_REFUNDED,
    DONE,
    FINISHED,
    ON_HOLD,
    REFUSED,
    SHIPPED,
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
    whole,
    yuan,
)

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from ordercenter.sandbox.book import Book

CLOCK_TOLERANCE: Final = 600  # 4a
LONGEST_WINDOW: Final = 1_800  # 4b
LARGEST_PAGE: Final = 100
LONGEST_TAG_NAME: Final = 3
SHIP_WITHIN: Final = 3 * 86_400
# The platform's company numbers [G for all but 85]: the list method tells them.
COMPANIES: Final = {
    1: ("申通快递", "STO"),
    44: ("顺丰快递", "SF"),
    85: ("圆通快递", "YTO"),
    115: ("中通快递", "ZTO"),
    118: ("邮政EMS", "EMS"),
    120: ("京东快递", "JD"),
    121: ("韵达快递", "YUNDA"),
}
AFTER_SALES: Final = {ASKED: 2, AGREED: 4, REFUSED: 6, WITHDRAWN: 9, DONE: 10}
REFUND_STATUS: Final = {ASKED: 2, AGREED: 3, REFUSED: 1, WITHDRAWN: 1, DONE: 4}
ORDER_STATUS: Final = {WAIT_SHIP: 1, ON_HOLD: 1, SHIPPED: 2, FINISHED: 3, CLOSED_REFUNDED: 1}
COMMON: Final = ("type", "client_id", "timestamp", "sign")
REQUEST_ID: Final = "sandbox"
Serve = Callable[[ShopConfig, Mapping[str, str]], tuple[str, dict[str, Any]]]


@dataclass(slots=True)
class PopError(Exception):
    """An ``error_response``."""

    error_code: int
    error_msg: str
    sub_code: str | None = None

    def body(self, now: float) -> dict[str, Any]:
        return {
            "error_response": {
                "error_msg": self.error_msg,
                "sub_msg": self.error_msg,
                "sub_code": self.sub_code,
                "error_code": self.error_code,
                "request_id": f"{int(now)}{REQUEST_ID}{self.error_code}",
            }
        }


def sign(params: Mapping[str, str], secret: str) -> str:
    """Upper-case MD5 over everything sent but ``sign``, wrapped in the secret (4a)."""
    text = "".join(name + params[name] for name in sorted(params) if name != "sign")
    return hashlib.md5(f"{secret}{text}{secret}".encode()).hexdigest().upper()


def invalid(why: str) -> PopError:
    return PopError(10001, why)


def routes(book: Book) -> list[Route]:
    return [Route("/pinduoduo/api/router", Gateway(book).handle, methods=["POST"])]


class Gateway:
    def __init__(self, book: Book) -> None:
        self.book = book

    async def handle(self, request: Request) -> Response:
        now = self.book.clock()
        try:
            params = await flat(request)
            shop = self._admit(params)
            key, body = self._method(params["type"])(shop, params)
        except PopError as error:
            return answer(error.body(now))
        return answer({key: body | {"request_id": f"{int(now)}{REQUEST_ID}"}})

    def _admit(self, params: Mapping[str, str]) -> ShopConfig:
        """Who is calling, proven by signature and token; PopError when not."""
        for name in COMMON:
            if not params.get(name):
                raise invalid(f"公共参数错误:{name}")
        if params.get("data_type", "JSON") != "JSON":
            raise invalid("公共参数错误:data_type")
        shop = self.book.shop_by_key("pinduoduo", params["client_id"])
        if shop is None:
            raise invalid("公共参数错误:client_id")
        try:
            skew = abs(self.book.clock() - whole(params["timestamp"]))
        except ValueError as error:
            raise invalid("公共参数错误:timestamp") from error
        if skew > CLOCK_TOLERANCE:
            raise invalid("公共参数错误:timestamp已过期")
        if params["sign"] != sign(params, shop.app_secret):
            raise PopError(20004, "签名sign校验失败")
        if params.get("access_token") != shop.access_token:
            raise PopError(10019, "access_token已过期", "10019")
        return shop

    def _method(self, name: str) -> Serve:
        methods: dict[str, Serve] = {
            "pdd.order.number.list.increment.get": self.orders,
            "pdd.order.information.get": self.order,
            "pdd.refund.list.increment.get": self.refunds,
            "pdd.refund.status.check": self.refund_check,
            "pdd.logistics.online.send": self.send,
            "pdd.logistics.companies.get": self.companies,
            "pdd.order.note.update": self.note,
        }
        if name not in methods:
            raise invalid("公共参数错误:type")
        return methods[name]

    # The methods

    def orders(self, shop: ShopConfig, params: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
        """number.list.increment.get: half an hour at most, changed last first (4b)."""
        start, end = window(params)
        wanted = {
            "order_status": number(params, "order_status"),
            "refund_status": number(params, "refund_status"),
        }
        number(params, "is_lucky_flag")
        # Only orders that are confirmed, that is paid: the others do not exist yet.
        found = [
            order
            for order in reversed(self.book.changed(shop.code, start, end))
            if order.paid is not None
            and wanted["order_status"] in {5, ORDER_STATUS[order.state]}
            and wanted["refund_status"] in {5, refund_status(order)}
        ]
        rows, has_next = paged(found, params)
        counted = params.get("use_has_next") != "true"
        return "order_sn_increment_get_response", {
            "has_next": False if counted else has_next,
            "order_sn_list": [order_body(order) for order in rows],
            "total_count": len(found) if counted else 0,
        }

    def order(self, shop: ShopConfig, params: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
        return "order_info_get_response", {"order_info": order_body(self._find(shop, params))}

    def refunds(self, shop: ShopConfig, params: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
        """refund.list.increment.get: half an hour at most; yuan as text (4d)."""
        start, end = window(params)
        status = number(params, "after_sales_status")
        kind = number(params, "after_sales_type")
        found = [
            (order, refund)
            for order in self.book.orders(shop.code)
            for refund in order.refunds
            if start <= int(refund.modified) <= end
            and status in {1, AFTER_SALES[refund.state]}
            and kind in {1, 2}
        ]
        found.sort(key=lambda pair: pair[1].modified, reverse=True)
        rows, _ = paged(found, params)
        return "refund_increment_get_response", {
            "total_count": len(found),
            "refund_list": [refund_body(*pair) for pair in rows],
        }

    def refund_check(
        self, shop: ShopConfig, params: Mapping[str, str]
    ) -> tuple[str, dict[str, Any]]:
        """refund.status.check: which of these have an open after-sale (4d)."""
        numbers = [text for text in params.get("order_sns", "").split(",") if text]
        if not numbers:
            raise invalid("order_sns不能为空")
        asked = (self.book.get(shop.code, text) for text in numbers)
        listed = [{"order_sn": o.number} for o in asked if o is not None and o.open_refunds()]
        return "refund_status_check_response", {"order_sns_exists_refund": listed}

    def send(self, shop: ShopConfig, params: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
        """logistics.online.send: the whole order in one parcel; 2 overwrites it (4d)."""
        order = self._find(shop, params)
        company = number(params, "logistics_id")
        tracking = params.get("tracking_number", "")
        if company not in COMPANIES or not tracking:
            raise invalid("快递公司或运单号不合法")
        if order.state == ON_HOLD:
            raise invalid("订单风控审核中，不能发货")
        parcel = Shipment(str(company), tracking, [], self.book.clock())
        if params.get("redelivery_type", "1") == "2" and order.shipments:
            order.shipments = []
        elif order.shipments and order.shipments[0].tracking_number != tracking:
            raise invalid("订单已发货，不能重复发货")
        try:
            self.book.ship(order, parcel)
        except Refused as refusal:
            raise invalid(str(refusal)) from refusal
        return "logistics_online_send_response", {"is_success": True}

    def companies(self, shop: ShopConfig, params: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
        rows = [
            {"id": number, "logistics_company": name, "code": code, "available": 1}
            for number, (name, code) in COMPANIES.items()
        ]
        return "logistics_companies_get_response", {"logistics_companies": rows}

    def note(self, shop: ShopConfig, params: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
        """order.note.update replaces the note; tag and its name come together (4d)."""
        order = self._find(shop, params)
        tag, name = params.get("tag"), params.get("tag_name")
        if (tag is None) != (name is None) or len(name or "") > LONGEST_TAG_NAME:
            raise invalid("tag与tag_name须同时填写，tag_name最多3个字")
        order.memo = params.get("note", "")
        if tag is not None:
            order.flag = number(params, "tag")
        self.book.touch(order, "memo_changed")
        return "response", {"success": True, "error_code": 0, "error_msg": None}

    def _find(self, shop: ShopConfig, params: Mapping[str, str]) -> Order:
        order = self.book.get(shop.code, params.get("order_sn", ""))
        if order is None or order.paid is None:
            raise invalid("订单不存在")
        return order


async def flat(request: Request) -> dict[str, str]:
    """The parameters of a JSON or a form body, each as the text that is signed."""
    if not request.headers.get("content-type", "").startswith("application/json"):
        return await form(request)
    try:
        facts = json.loads(await request.body(), parse_int=str, parse_float=str)
    except ValueError as error:
        raise invalid("请求不是JSON") from error
    if not isinstance(facts, dict):
        raise invalid("请求不是JSON对象")
    texts = {}
    for name, value in facts.items():
        if isinstance(value, bool):
            texts[name] = str(value).lower()
        elif isinstance(value, str):
            texts[name] = value
        elif value is not None:
            raise invalid(f"参数{name}须为JSON文本")
    return texts


def number(params: Mapping[str, str], name: str) -> int:
    try:
        return whole(params.get(name, ""))
    except ValueError as error:
        raise invalid(f"参数{name}不合法") from error


def window(params: Mapping[str, str]) -> tuple[int, int]:
    start, end = number(params, "start_updated_at"), number(params, "end_updated_at")
    if not 0 <= end - start <= LONGEST_WINDOW:
        raise invalid("时间跨度不能超过30分钟")
    return start, end


def paged(found: list[Any], params: Mapping[str, str]) -> tuple[list[Any], bool]:
    page = number(params, "page") if "page" in params else 1
    size = number(params, "page_size") if "page_size" in params else LARGEST_PAGE
    if page < 1 or not 1 <= size <= LARGEST_PAGE:
        raise invalid("page或page_size不合法")
    return found[(page - 1) * size : page * size], page * size < len(found)


def refund_status(order: Order) -> int:
    return REFUND_STATUS[order.refunds[-1].state] if order.refunds else 1


def money(order: Order, fen: int) -> float | str:
    """Yuan, of some orders as JSON numbers and of others as text (4c)."""
    if int(order.number[-1]) % 2:
        return yuan(fen)
    return fen / 100 if fen else 0


def when(at: float | None) -> str | None:
    return None if at is None else beijing(at)


def order_body(order: Order) -> dict[str, Any]:
    """The whole order (4c)."""
    cut = order.discount_fen
    shipment = order.shipments[0] if order.shipments else None
    serial = order.number.replace("-", "")
    confirmed = None if order.paid is None else order.paid + 1
    return {
        "order_sn": order.number,
        "confirm_status": 2 if order.state == CLOSED_REFUNDED else 1,
        "group_status": 1,
        "order_status": ORDER_STATUS[order.state],
        "refund_status": refund_status(order),
        "after_sales_status": AFTER_SALES[order.refunds[-1].state] if order.refunds else 0,
        "risk_control_status": 1 if order.state == ON_HOLD else 0,
        "trade_type": 0,
        "is_pre_sale": 0,
        "is_lucky_flag": 1,
        "is_stock_out": 0,
        "stock_out_handle_status": -1,
        "invoice_status": 0,
        "goods_amount": money(order, order.goods_fen),
        "discount_amount": money(order, cut),
        "platform_discount": money(order, cut // 3),
        "seller_discount": money(order, cut - cut // 3),
        "capital_free_discount": 0,
        "order_change_amount": 0,
        "postage": money(order, order.freight_fen),
        "pay_amount": money(order, order.payable_fen),
        "pay_type": "WEIXIN",
        "pay_no": f"XP00{serial}",
        "pay_time": when(order.paid),
        "created_time": beijing(order.created),
        "confirm_time": when(confirmed),
        "updated_at": beijing(order.modified),
        "last_ship_time": beijing(order.created + SHIP_WITHIN),
        "shipping_time": when(shipment.at if shipment else None),
        "receive_time": when(order.finished),
        "pre_sale_time": None,
        **receiver_body(order),
        "buyer_memo": order.remark,
        "remark": order.memo,
        "remark_tag": order.flag or None,
        "remark_tag_name": {1: "红色", 2: "黄色", 3: "绿色", 4: "蓝色", 5: "紫色"}.get(order.flag),
        "tracking_number": shipment.tracking_number if shipment else "",
        "logistics_id": int(shipment.carrier_code) if shipment else 0,
        "item_list": [item_body(order, line) for line in order.lines],
        "gift_list": [item_body(order, gift) for gift in order.gifts_outside] or None,
        "gift_delivery_list": None,
        "extra_delivery_list": None,
        "resend_delivery_list": None,
        "card_info_list": None,
        "service_fee_detail": None,
        "step_order_info": None,
        "order_tag_list": [
            {"name": "no_trace_delivery", "value": 0},
            {"name": "delivery_one_day", "value": 0},
        ],
        "promotion_detail_list": None,
        "shipping_type": 0,
        "self_contained": 0,
        "duoduo_wholesale": 0,
        "return_freight_payer": 1,
        "free_sf": 0,
        "inner_transaction_id": "",
    }


def receiver_body(order: Order) -> dict[str, Any]:
    """Ciphertext only while to ship and not under review; the place is always clear (4c)."""
    r = order.receiver
    open_now = order.state == WAIT_SHIP

    def cipher(kind: str, text: str, frame: str) -> str:
        if not open_now or not text:
            return ""
        return frame.format(digest("pdd", kind, text, length=24))

    whose = (order.shop, r.name, r.phone, r.province, r.city, r.district, r.address)
    phone_mask = f"{r.phone[0]}********{r.phone[-2:]}" if r.phone else ""
    full = f"{r.province}{r.city}{r.district}{r.address}"
    return {
        "country": "中国",
        "country_id": 0,
        "province": r.province,
        "province_id": 1 if r.province else 0,
        "city": r.city,
        "city_id": 2,
        "town": r.district,
        "town_id": 3,
        "receiver_name": cipher("name", r.name, "~AgAA{}==~0~"),
        "receiver_name_mask": mask_name(r.name),
        "receiver_phone": cipher("phone", r.phone, "${}==$0$"),
        "receiver_phone_mask": phone_mask,
        "receiver_address": cipher("address", r.address, "~AgAA{}==~0~"),
        "receiver_address_mask": mask_address(r.address),
        "address": cipher("full", full, "~AgAA{}==~0~"),
        "address_mask": f"{r.province}{r.city}{r.district}{mask_address(r.address)}",
        "open_address_id": digest("open", *whose, length=40),
        "open_address_id_2": digest("open2", *whose, length=40),
    }


def item_body(order: Order, line: Line) -> dict[str, Any]:
    sku_id = int(line.platform_sku_id or 0)
    goods_id = 500_000_000_000 + sku_id % 10**9
    return {
        "sku_id": sku_id,
        "goods_id": goods_id,
        "outer_id": line.outer_code or "",
        "outer_goods_id": f"G{sku_id % 100_000:05d}",
        "goods_name": line.title,
        "goods_spec": f"{line.title.rsplit(' ', 1)[-1]},标准",
        "goods_count": line.quantity,
        "goods_price": money(order, line.unit_fen),
        "goods_img": f"https://img.example.com/g/{goods_id}.jpeg",
    }


def refund_body(order: Order, refund: Refund) -> dict[str, Any]:
    line = order.lines[0]
    item = item_body(order, line)
    return {
        "id": int(refund.refund_id),
        "order_sn": order.number,
        "after_sales_status": AFTER_SALES[refund.state],
        "after_sales_type": 2,
        "refund_amount": yuan(refund.amount_fen),
        "order_amount": yuan(order.payable_fen),
        "discount_amount": yuan(order.discount_fen),
        "goods_id": item["goods_id"],
        "goods_name": line.title,
        "goods_number": str(line.quantity),
        "goods_price": yuan(line.unit_fen),
        "good_image": item["goods_img"],
        "outer_id": item["outer_id"],
        "outer_goods_id": item["outer_goods_id"],
        "sku_id": str(item["sku_id"]),
        "after_sale_reason": refund.reason,
        "confirm_time": when(order.paid),
        "created_time": beijing(refund.created),
        "updated_time": beijing(refund.modified),
        "tracking_number": "",
        "shipping_name": "",
        "speed_refund_flag": 0,
        "speed_refund_status": "",
        "dispute_refund_status": 0,
        "user_shipping_status": "0",
        "refund_operator_role": 0,
    }
