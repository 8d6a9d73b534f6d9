"""JD as its merchant API answers (channels.md 2a to 2d).

One gateway, one JSON text as parameter, ``responce`` for a key, and a success flag of its own
inside an outer ``"0"`` that says nothing. Unpaid orders are not there.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
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
    Shipment,
    ShopConfig,
)
from ordercenter.sandbox.wire import (
    answer,
    beijing,
    digest,
    form,
    mask_middle,
    mask_name,
    read_beijing,
    whole,
    yuan,
)

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from ordercenter.sandbox.book import Book

CLOCK_TOLERANCE: Final = 360  # 2a
LONGEST_WINDOW: Final = 31 * 86_400  # 2b: one month
LARGEST_PAGE: Final = 100
LARGEST_REFUND_PAGE: Final = 50
LONGEST_REMARK: Final = 500
NEVER: Final = "0001-01-01 00:00:00"
# What must be sent, with the code that says it is missing (2a).
REQUIRED: Final = {
    "method": "14",
    "app_key": "20",
    "timestamp": "7",
    "v": "60",
    "sign": "11",
    "access_token": "18",
}
COMPANIES: Final = frozenset({"467", "463", "1499", "1327", "470", "465", "2087"})
MUNICIPALITIES: Final = frozenset({"北京市", "上海市", "天津市", "重庆市"})
STATE: Final = {
    WAIT_SHIP: ("WAIT_SELLER_STOCK_OUT", "等待出库"),
    SHIPPED: ("WAIT_GOODS_RECEIVE_CONFIRM", "等待确认收货"),
    FINISHED: ("FINISHED_L", "完成"),
    CLOSED_REFUNDED: ("TRADE_CANCELED", "取消"),
    ON_HOLD: ("PAUSE", "暂停"),
}
LOCKED: Final = ("LOCKED", "锁定")
REFUND_STATUS: Final = {ASKED: 0, AGREED: 1, REFUSED: 2, WITHDRAWN: 2, DONE: 3}
SUCCESS: Final = {
    "success": True,
    "englishErrCode": "success",
    "chineseErrCode": "成功",
    "numberCode": 10100000,
}
Serve = Callable[[ShopConfig, Mapping[str, Any]], dict[str, Any]]


@dataclass(slots=True)
class JosError(Exception):
    """An ``error_response``; the code is text."""

    code: str
    zh_desc: str
    en_desc: str

    def body(self) -> dict[str, Any]:
        facts = {"code": self.code, "zh_desc": self.zh_desc, "en_desc": self.en_desc}
        return {"error_response": facts}


def sign(params: Mapping[str, str], secret: str) -> str:
    """Upper-case MD5 over everything sent but ``sign``, wrapped in the secret (2a)."""
    text = "".join(name + params[name] for name in sorted(params) if name != "sign")
    return hashlib.md5(f"{secret}{text}{secret}".encode()).hexdigest().upper()


def read_time(text: str) -> float:
    """``yyyy-MM-dd HH:mm:ss`` in UTC+8, or with milliseconds and zone; ValueError if neither."""
    if re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", text):
        return read_beijing(text)
    return datetime.strptime(text, "%Y-%m-%d %H:%M:%S.%f%z").timestamp()


def bad(name: str) -> JosError:
    return JosError("61", f"参数{name}不合法", f"Invalid parameter {name}")


def routes(book: Book) -> list[Route]:
    return [Route("/jd/routerjson", Gateway(book).handle, methods=["GET", "POST"])]


class Gateway:
    def __init__(self, book: Book) -> None:
        self.book = book

    async def handle(self, request: Request) -> Response:
        params = await form(request)
        try:
            shop = self._admit(params)
            serve = self._method(params["method"])
            body = serve(shop, wanted(params))
        except JosError as error:
            return answer(error.body())
        key = params["method"].replace(".", "_") + "_responce"
        return answer({key: {"code": "0"} | body})

    def _admit(self, params: Mapping[str, str]) -> ShopConfig:
        """Who is calling, proven by signature and token; JosError when not."""
        for name, code in REQUIRED.items():
            if not params.get(name):
                raise JosError(code, f"缺少{name}参数", f"Missing {name}")
        shop = self.book.shop_by_key("jd", params["app_key"])
        if shop is None:
            raise JosError("21", "无效app_key", "Invalid app_key")
        try:
            skew = abs(self.book.clock() - read_time(params["timestamp"]))
        except ValueError:
            skew = CLOCK_TOLERANCE + 1.0
        if skew > CLOCK_TOLERANCE:
            raise JosError("8", "无效的时间戳参数", "Invalid timestamp")
        if params["v"] != "2.0":
            raise bad("v")
        if params["sign"] != sign(params, shop.app_secret):
            raise JosError("12", "无效签名", "Invalid sign")
        if params["access_token"] != shop.access_token:
            raise JosError("19", "无效access_token", "Invalid access_token")
        return shop

    def _method(self, method: str) -> Serve:
        methods: dict[str, Serve] = {
            "jingdong.pop.order.search": self.search,
            "jingdong.pop.order.get": self.get,
            "jingdong.pop.order.shipment": self.shipment,
            "jingdong.pop.order.modifyVenderRemark": self.remark,
            "jingdong.pop.afs.soa.refundapply.queryPageList": self.refunds,
        }
        if method not in methods:
            raise JosError("15", "无效的方法名参数", "Invalid method")
        return methods[method]

    # The methods

    def search(self, shop: ShopConfig, wish: Mapping[str, Any]) -> dict[str, Any]:
        """pop.order.search: at most a month; every field must be asked for (2b)."""
        fields, states = names(wish, "optional_fields"), names(wish, "order_state")
        start, end = window(wish, "start_date", "end_date")
        if end - start > LONGEST_WINDOW:
            raise bad("end_date")
        page, size = number(wish, "page", 1), number(wish, "page_size", 10)
        if page < 1 or not 1 <= size <= LARGEST_PAGE:
            raise bad("page_size")
        if str(wish.get("dateType", "")) == "1":
            every = sorted(self.book.orders(shop.code), key=lambda o: o.created)
            found = [order for order in every if start <= int(order.created) <= end]
        else:
            found = self.book.changed(shop.code, start, end)
        found = [o for o in found if o.paid is not None and state_of(o)[0] in states]
        if str(wish.get("sortType", "1")) == "1":
            found.reverse()
        rows = found[(page - 1) * size : page * size]
        return {
            "searchorderinfo_result": {
                "apiResult": SUCCESS,
                "orderTotal": len(found),
                "orderInfoList": [only(order_body(shop, order), fields) for order in rows],
            }
        }

    def get(self, shop: ShopConfig, wish: Mapping[str, Any]) -> dict[str, Any]:
        fields = names(wish, "optional_fields")
        order = self._find(shop, wish, "order_id")
        if order is None:
            refusal = {
                "success": False,
                "englishErrCode": "order not exist",
                "chineseErrCode": "订单不存在",
                "numberCode": 10100002,
            }
            return {"orderDetailInfo": {"apiResult": refusal}}
        info = only(order_body(shop, order), fields)
        return {"orderDetailInfo": {"apiResult": SUCCESS, "orderInfo": info}}

    def shipment(self, shop: ShopConfig, wish: Mapping[str, Any]) -> dict[str, Any]:
        """pop.order.shipment; the company's number is spelt ``logiCoprId`` (2d)."""
        for name in ("orderId", "logiCoprId", "logiNo"):
            if not wish.get(name):
                raise JosError("60", f"缺少参数{name}", f"Missing parameter {name}")
        order = self._find(shop, wish, "orderId")
        company = str(wish["logiCoprId"])
        if order is None:
            return shipped("10400001", "订单不存在", "order not exist")
        if company not in COMPANIES:
            return shipped("10400005", "物流公司不存在", "logistics company not exist")
        if order.shipments:
            return shipped("10400010", "订单已出库，不能重复出库", "order has been shipped")
        if state_of(order)[0] != "WAIT_SELLER_STOCK_OUT":
            return shipped("10400003", "订单已锁定或已取消，不能出库", "order can not be shipped")
        now = self.book.clock()
        self.book.ship(order, Shipment(company, str(wish["logiNo"]), [], now))
        return shipped("0", "成功", "success")

    def remark(self, shop: ShopConfig, wish: Mapping[str, Any]) -> dict[str, Any]:
        """pop.order.modifyVenderRemark replaces the text; snake case inside (2d)."""
        order = self._find(shop, wish, "order_id")
        flag, text = str(wish.get("flag", "0")), str(wish.get("remark", ""))
        code, said = "0", "成功"
        if order is None:
            code, said = "10100002", "订单号错误"
        elif len(text) > LONGEST_REMARK:
            code, said = "10100039", "备注过长"
        elif flag not in set("012345"):
            code, said = "10100040", "备注等级错误"
        else:
            order.memo, order.flag = text, int(flag)
            self.book.touch(order, "memo_changed")
        return {
            "modifyvenderremark_result": {
                "success": "true" if code == "0" else "false",
                "chinese_err_code": said,
                "english_err_code": "success" if code == "0" else "fail",
                "error_code": code,
            }
        }

    def refunds(self, shop: ShopConfig, wish: Mapping[str, Any]) -> dict[str, Any]:
        """afs.soa.refundapply.queryPageList: asked to cancel before shipping; fen (2d)."""
        page, size = number(wish, "pageIndex", 1), number(wish, "pageSize", 10)
        if not 1 <= page <= 100 or not 1 <= size <= LARGEST_REFUND_PAGE:
            raise bad("pageSize")
        found = [
            (order, refund)
            for order in self.book.orders(shop.code)
            for refund in order.refunds
            if asked_for(order, refund, wish)
        ]
        found.sort(key=lambda pair: (pair[1].created, pair[1].refund_id), reverse=True)
        rows = found[(page - 1) * size : page * size]
        result = [refund_body(*pair) for pair in rows]
        return {"queryResult": {"success": True, "totalCount": len(found), "result": result}}

    def _find(self, shop: ShopConfig, wish: Mapping[str, Any], name: str) -> Order | None:
        """The order, if it has got so far as to be shown to the merchant (2b)."""
        order = self.book.get(shop.code, str(wish.get(name, "")))
        return order if order is not None and order.paid is not None else None


def wanted(params: Mapping[str, str]) -> Mapping[str, Any]:
    """The business parameter: a JSON object as text."""
    try:
        wish = json.loads(params.get("360buy_param_json") or "{}")
    except ValueError as error:
        raise JosError("68", "参数JSON格式错误", "Invalid JSON") from error
    if not isinstance(wish, dict):
        raise JosError("68", "参数JSON格式错误", "Invalid JSON")
    return wish


def names(wish: Mapping[str, Any], name: str) -> frozenset[str]:
    found = frozenset(part.strip() for part in str(wish.get(name) or "").split(",") if part.strip())
    if not found:
        raise JosError("60", f"缺少参数{name}", f"Missing parameter {name}")
    return found


def number(wish: Mapping[str, Any], name: str, default: int) -> int:
    try:
        return whole(str(wish.get(name, default)))
    except ValueError as error:
        raise bad(name) from error


def window(wish: Mapping[str, Any], first: str, last: str) -> tuple[float, float]:
    try:
        start, end = read_beijing(str(wish.get(first))), read_beijing(str(wish.get(last)))
    except ValueError as error:
        raise bad(first) from error
    if start > end:
        raise bad(first)
    return start, end


def asked_for(order: Order, refund: Refund, wish: Mapping[str, Any]) -> bool:
    checked = None if refund.state == ASKED else refund.modified
    times = [("applyTimeStart", "applyTimeEnd", refund.created)]
    if wish.get("checkTimeStart") or wish.get("checkTimeEnd"):
        times.append(("checkTimeStart", "checkTimeEnd", -1.0 if checked is None else checked))
    for first, last, at in times:
        start = read_bound(wish, first, float("-inf"))
        end = read_bound(wish, last, float("inf"))
        if not start <= int(at) <= end:
            return False
    status = wish.get("status")
    if status not in {None, ""} and str(status) != str(REFUND_STATUS[refund.state]):
        return False
    return wish.get("orderId") in {None, "", order.number}


def read_bound(wish: Mapping[str, Any], name: str, default: float) -> float:
    if not wish.get(name):
        return default
    try:
        return read_beijing(str(wish[name]))
    except ValueError as error:
        raise bad(name) from error


def shipped(code: str, chinese: str, english: str) -> dict[str, Any]:
    return {
        "sopjosshipment_result": {
            "success": code == "0",
            "chineseErrCode": chinese,
            "englishErrCode": english,
            "errorCode": code,
        }
    }


def only(body: dict[str, Any], fields: frozenset[str]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name in fields or name == "orderId"}


def state_of(order: Order) -> tuple[str, str]:
    if order.state == WAIT_SHIP and order.open_refunds():
        return LOCKED
    return STATE[order.state]  # unpaid orders are never shown


def order_body(shop: ShopConfig, order: Order) -> dict[str, Any]:
    """The whole order with every field this sandbox knows (2c): all text, money in yuan."""
    state, said = state_of(order)
    odd = int(order.number[-1]) % 2 == 1
    balance = min(1_000, order.payable_fen) if order.number.endswith("7") else 0
    waybills: dict[str, list[str]] = {}
    for shipment in order.shipments:
        waybills.setdefault(shipment.carrier_code, []).append(shipment.tracking_number)
    ended = order.finished or order.closed
    body: dict[str, Any] = {
        "orderId": order.number,
        "venderId": shop.options.get("vender_id", "10000001"),
        "orderType": "22",
        "payType": "4-在线支付",
        "orderTotalPrice": yuan(order.goods_fen),
        "sellerDiscount": yuan(order.discount_fen),
        "orderSellerPrice": yuan(order.goods_fen - order.discount_fen),
        "freightPrice": yuan(order.freight_fen),
        "orderPayment": yuan(order.payable_fen - balance),
        "balanceUsed": yuan(balance),
        "orderState": state,
        "orderStateRemark": said,
        "deliveryType": "任意时间",
        "returnOrder": "0",
        "parentOrderId": "0",
        "directParentOrderId": "0",
        "orderRemark": order.remark,
        "venderRemark": order.memo,
        "orderEndTime": NEVER if ended is None else beijing(ended),
        "waybill": "|".join(",".join(numbers) for numbers in waybills.values()),
        "logisticsId": "|".join(waybills),
        "storeOrder": "",
        "idSopShipmenttype": 0,
        "orderSource": "移动端订单",
        "open_id_buyer": "sbx" + digest(shop.app_key, order.buyer.buyer_id, length=29),
        "xid_buyer": "",
        "storeId": "0",
        "orderStartTime": beijing(order.created),
        "paymentConfirmTime": NEVER if order.paid is None else beijing(order.paid),
        "modified": beijing(order.modified),
        "venderRemarkLevelFlag": str(order.flag),
        "couponDetailList": coupons(order),
        "consigneeInfo": consignee(shop, order),
        "itemInfoList": [item_body(line) for line in order.lines],
        "invoiceEasyInfo": {
            "invoiceType": "0",
            "invoiceTitle": "",
            "invoiceContentId": "",
            "invoiceConsigneeEmail": "",
            "invoiceConsigneePhone": "",
            "invoiceCode": "",
        },
        "vatInfo": [],
    }
    if odd:  # the newer group of fields has not reached every order (2c)
        body |= {
            "actualPay": yuan(order.payable_fen),
            "shouldPay": yuan(order.payable_fen),
            "totalSellerDiscount": yuan(order.discount_fen),
        }
    return body


def coupons(order: Order) -> list[dict[str, str]]:
    """One entry a line whose price was cut, by its SKU; kind 30 is the single item's (2c)."""
    return [
        {
            "orderId": order.number,
            "skuId": line.platform_sku_id or "",
            "couponType": "30",
            "couponPrice": yuan(line.unit_fen * line.quantity - line.amount_fen),
        }
        for line in order.lines
        if line.amount_fen < line.unit_fen * line.quantity
    ]


def consignee(shop: ShopConfig, order: Order) -> dict[str, Any]:
    r = order.receiver
    short = r.province.removesuffix("省")
    if r.province in MUNICIPALITIES:
        short = r.province.removesuffix("市")
    elif "自治区" in r.province:
        short = r.province[: 3 if r.province.startswith("内蒙古") else 2]
    whose = (r.name, r.phone, r.province, r.city, r.district, r.address, order.address_version)
    return {
        "fullname": mask_name(r.name),
        "telephone": "",
        "mobile": mask_middle(r.phone),
        "fullAddress": f"{short}{r.city}{r.district}{r.town}{r.address[:1]}******",
        "province": short,
        "city": r.city,
        "county": r.district,
        "town": r.town,
        "provinceId": "0",
        "cityId": "0",
        "countyId": "0",
        "townId": "0",
        "oaid": "jdoaid" + digest(shop.code, *whose, length=40),
        "desen_mobile": mask_middle(r.phone),
        "desen_telephone": "",
    }


def item_body(line: Line) -> dict[str, Any]:
    body = {
        "skuId": line.platform_sku_id or "",
        "wareId": f"2{(line.platform_sku_id or '00000000000')[1:]}",
        "productNo": "",
        "skuName": line.title if not line.is_gift else f"【赠品】{line.title[3:]}",
        "jdPrice": yuan(line.unit_fen),
        "itemTotal": str(line.quantity),
        "giftPoint": "0",
        "newStoreId": "0",
        "serviceName": "",
        "itemExt": "{}",
    }
    if line.outer_code is not None:  # in rare cases it is not there at all (2c)
        body["outerSkuId"] = line.outer_code
    return body


def refund_body(order: Order, refund: Refund) -> dict[str, Any]:
    checked = refund.state != ASKED
    return {
        "id": int(refund.refund_id),
        "orderId": order.number,
        "buyerId": f"jd_{order.buyer.buyer_id[:3]}***{order.buyer.buyer_id[-2:]}",
        "buyerName": mask_name(order.buyer.name),
        "applyTime": beijing(refund.created),
        "applyRefundSum": refund.amount_fen,
        "status": REFUND_STATUS[refund.state],
        "checkTime": beijing(refund.modified) if checked else None,
        "checkUserName": "系统" if checked else None,
        "reason": refund.reason,
    }
