"""Orders and refund applications as JD writes them: all text, money in yuan (channels.md 2c)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

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
)
from ordercenter.sandbox.wire import beijing, digest, mask_middle, mask_name, yuan

if TYPE_CHECKING:
    from ordercenter.sandbox.book import Line, Order, Refund, ShopConfig

NEVER: Final = "0001-01-01 00:00:00"
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
