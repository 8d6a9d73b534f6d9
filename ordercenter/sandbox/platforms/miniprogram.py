"""WeChat's shipping desk for mini-programs (发货信息管理, channels.md 6d).

It knows payments only: what was bought and where it goes, the shop's own CRM knows.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from starlette.routing import Route

from ordercenter.sandbox.book import (
    CLOSED_REFUNDED,
    FINISHED,
    ON_HOLD,
    SHIPPED,
    WAIT_SHIP,
    Order,
    Refused,
    Shipment,
    ShopConfig,
)
from ordercenter.sandbox.platforms.wechat.bodies import openid, transaction_id
from ordercenter.sandbox.platforms.wechat.tokens import Tokens, WechatError, body_of
from ordercenter.sandbox.wire import answer, whole

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from ordercenter.sandbox.book import Book

COMPANIES: Final = frozenset({"SF", "ZTO", "YTO", "STO", "YUNDA", "JD", "EMS", "JTSD"})
UPLOAD_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+08:00")
SOME_LINES: Final = "part"
"""Stands for the lines of a part shipment: this wire does not name them."""
# What public integrations show of this interface; no stored page lists the codes.
NO_PAYMENT, ALL_GONE, NOT_NOW, BAD_PARAMETERS = 10060001, 10060002, 10060004, 10060014
NOTHING_NEW: Final = 10060023


VIRTUAL_GOODS: Final = 3
# order_state of get_order_list (6d)
TO_SHIP, GONE, CONFIRMED, REFUNDED = 1, 2, 3, 5
STATES: Final = {
    WAIT_SHIP: TO_SHIP,
    ON_HOLD: TO_SHIP,
    SHIPPED: GONE,
    FINISHED: CONFIRMED,
    CLOSED_REFUNDED: REFUNDED,
}
LARGEST_PAGE: Final = 100  # ours
Serve = Callable[[ShopConfig, Mapping[str, Any]], dict[str, Any]]


def routes(book: Book) -> list[Route]:
    return Desk(book).routes()


class Desk:
    def __init__(self, book: Book) -> None:
        self.book = book
        self.tokens = Tokens(book, "miniprogram")
        self._by_payment: dict[tuple[str, str], str] = {}
        for order in book.all_orders():
            self._remember(order, "paid")
        book.on_change(self._remember)

    def routes(self) -> list[Route]:
        doors: dict[str, Serve] = {
            "upload_shipping_info": self.upload_shipping_info,
            "get_order": self.get_order,
            "get_order_list": self.get_order_list,
        }
        token = Route("/miniprogram/cgi-bin/stable_token", self.stable_token, methods=["POST"])
        return [token] + [
            Route(f"/miniprogram/wxa/sec/order/{name}", self._guarded(serve), methods=["POST"])
            for name, serve in doors.items()
        ]

    async def stable_token(self, request: Request) -> Response:
        try:
            return answer(self.tokens.give(await body_of(request)))
        except WechatError as error:
            return answer(error.body())

    def _guarded(self, serve: Serve) -> Callable[[Request], Awaitable[Response]]:
        async def handle(request: Request) -> Response:
            try:
                shop = self.tokens.check(request.query_params.get("access_token", ""))
                said = serve(shop, await body_of(request))
            except WechatError as error:
                return answer(error.body())
            return answer({"errcode": 0, "errmsg": "ok", **said})

        return handle

    # Reading

    def get_order(self, shop: ShopConfig, wish: Mapping[str, Any]) -> dict[str, Any]:
        """One payment, by WeChat's number or by ours (6d)."""
        order: Order | None
        if wish.get("transaction_id"):
            order = self._of_payment(shop, str(wish["transaction_id"]))
        elif wish.get("merchant_trade_no"):
            order = self.book.get(shop.code, str(wish["merchant_trade_no"]))
        else:
            raise bad("transaction_id")
        if order is None or order.paid is None:
            raise WechatError(NO_PAYMENT, "支付单不存在")
        return {"order": payment_body(shop, order)}

    def get_order_list(self, shop: ShopConfig, wish: Mapping[str, Any]) -> dict[str, Any]:
        """Payments by their time, the earliest first; ``last_index`` leads on (6d)."""
        span = wish.get("pay_time_range") or {}
        size, state = wish.get("page_size", LARGEST_PAGE), wish.get("order_state")
        if not isinstance(span, dict):
            raise bad("pay_time_range")
        if not isinstance(size, int) or isinstance(size, bool) or not 1 <= size <= LARGEST_PAGE:
            raise bad("page_size")
        begin, end = span.get("begin_time", 0), span.get("end_time", self.book.clock())
        if not isinstance(begin, int | float) or not isinstance(end, int | float):
            raise bad("pay_time_range")
        rows = sorted(
            (int(order.paid), order.number)
            for order in self.book.paid(shop.code, begin, end)
            if order.paid is not None and state in {None, STATES[order.state]}
        )
        if last := wish.get("last_index"):
            at, _, number = str(last).partition("-")
            rows = [row for row in rows if row > (read_index(at), number)]
        page = [self.book.get(shop.code, number) for _, number in rows[:size]]
        bodies = [payment_body(shop, order) for order in page if order is not None]
        index = f"{rows[:size][-1][0]}-{rows[:size][-1][1]}" if rows else ""
        return {"last_index": index, "has_more": len(rows) > size, "order_list": bodies}

    # Shipping

    def upload_shipping_info(self, shop: ShopConfig, wish: Mapping[str, Any]) -> dict[str, Any]:
        """One parcel of an own order, or none for virtual goods (6d).

        ``payer`` may be left out, as the CRM does not tell the openid; ``mchid`` is compared
        where the shop's options name one.
        """
        order = self._paid_order(shop, wish)
        self._ship(order, self._shipment(wish))
        return {}

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
            order = self._of_payment(shop, str(key.get("transaction_id", "")))
        else:
            raise bad("order_number_type")
        if order is None or order.paid is None:
            raise WechatError(NO_PAYMENT, "支付单不存在")
        payer = wish.get("payer")
        if payer is not None and payer != {"openid": openid(shop, order)}:
            raise WechatError(NO_PAYMENT, "支付单不存在：payer 不符")
        return order

    def _shipment(self, wish: Mapping[str, Any]) -> Shipment:
        mode, kind, parcels = (
            wish.get("delivery_mode"), wish.get("logistics_type"), wish.get("shipping_list"),
        )  # fmt: skip
        if mode not in {1, 2}:
            raise bad("delivery_mode")
        if kind not in {1, VIRTUAL_GOODS}:
            raise bad("logistics_type")
        if mode == 2 and not isinstance(wish.get("is_all_delivered"), bool):
            raise bad("is_all_delivered")
        if UPLOAD_TIME.fullmatch(str(wish.get("upload_time"))) is None:
            raise bad("upload_time")
        if not isinstance(parcels, list) or len(parcels) != 1 or not isinstance(parcels[0], dict):
            raise bad("shipping_list")
        if kind == VIRTUAL_GOODS and not parcels[0].get("item_desc"):
            raise bad("item_desc")
        virtual = kind == VIRTUAL_GOODS
        company, number = ("", "") if virtual else check_parcel(parcels[0])
        whole_order = mode == 1 or wish["is_all_delivered"]
        at = datetime.fromisoformat(str(wish["upload_time"])).timestamp()
        lines = [] if whole_order else [SOME_LINES]
        return Shipment(company, number, lines, at, is_virtual=virtual)

    def _ship(self, order: Order, shipment: Shipment) -> None:
        known = {(s.carrier_code, s.tracking_number) for s in order.shipments if not s.is_virtual}
        if (shipment.carrier_code, shipment.tracking_number) in known:
            raise WechatError(NOTHING_NEW, "发货信息未更新")
        if order.shipments and not order.unshipped:
            raise WechatError(ALL_GONE, "支付单已完成发货，无法继续发货")
        try:
            self.book.ship(order, shipment)
        except Refused as refusal:
            raise WechatError(NOT_NOW, f"支付单处于不可发货的状态：{refusal}") from refusal

    def _of_payment(self, shop: ShopConfig, payment: str) -> Order | None:
        return self.book.get(shop.code, self._by_payment.get((shop.code, payment), ""))

    def _remember(self, order: Order, event: str) -> None:
        if event == "paid" and self.book.shops[order.shop].channel == "miniprogram":
            self._by_payment[order.shop, transaction_id(order)] = order.number


def bad(name: str) -> WechatError:
    return WechatError(BAD_PARAMETERS, f"参数错误：{name}")


def check_parcel(parcel: Mapping[str, Any]) -> tuple[str, str]:
    """Company and number; a parcel with SF needs a masked contact (6d)."""
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


def read_index(text: str) -> int:
    try:
        return whole(text)
    except ValueError as error:
        raise bad("last_index") from error


def payment_body(shop: ShopConfig, order: Order) -> dict[str, Any]:
    """A payment as the desk knows it: no lines, no receiver (6d)."""
    parcels = [s for s in order.shipments if not s.is_virtual]
    rows = [
        {"tracking_no": s.tracking_number, "express_company": s.carrier_code, "goods_desc": ""}
        for s in parcels
    ]
    gone = bool(order.shipments) and not order.unshipped
    return {
        "transaction_id": transaction_id(order),
        "merchant_trade_no": order.number,
        "merchant_id": str(shop.options.get("mchid", "1600000001")),
        "sub_merchant_id": "",
        "description": shop.name,
        "paid_amount": order.paid_fen,
        "openid": openid(shop, order),
        "trade_create_time": int(order.created),
        "pay_time": int(order.paid or 0),
        "in_complaint": False,
        "order_state": STATES[order.state],
        "shipping": {
            "delivery_mode": 2 if len(rows) > 1 else 1,
            "logistics_type": VIRTUAL_GOODS if order.shipments and not parcels else 1,
            "finish_shipping": gone,
            "goods_desc": "",
            "finish_shipping_count": 1 if gone else 0,
            "shipping_list": rows,
        },
    }
