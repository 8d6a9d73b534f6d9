"""WeChat shop orders and after-sales written down (channels.md 6c, 6d): fen and seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

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
    Receiver,
)
from ordercenter.sandbox.wire import digest, mask_address, mask_middle, mask_name

if TYPE_CHECKING:
    from ordercenter.sandbox.book import Line, Order, Refund, Shipment, ShopConfig

GROUP_WAITING, PART_SHIPPED = 13, 21
STATES: Final = {
    WAIT_PAY: 10,
    ON_HOLD: GROUP_WAITING,
    WAIT_SHIP: 20,
    SHIPPED: 30,
    FINISHED: 100,
    CLOSED_REFUNDED: 200,
    CLOSED_UNPAID: 250,
}
REFUNDS: Final = {
    ASKED: "MERCHANT_PROCESSING",
    AGREED: "PLATFORM_REFUNDING",
    DONE: "MERCHANT_REFUND_SUCCESS",
    REFUSED: "MERCHANT_REJECT_REFUND",
    WITHDRAWN: "USER_CANCELD",  # sic
}
GIFT_LIST_FEN: Final = 990
"""What a gift would cost: here it is a line discounted to nothing (6c, sample)."""
MASKED_AFTER: Final = 7 * 86_400
"""Ours: the reference only says that receivers are masked "after a while"."""
SHIP_WITHIN: Final = 48 * 3_600
REFUND_WITHIN: Final = 48 * 3_600


def openid(shop: ShopConfig, order: Order) -> str:
    return "o" + digest("openid", shop.app_key, order.buyer.buyer_id, length=27)


def product_id(goods: str) -> str:
    return f"1100{int(digest('product', goods, length=12), 16) % 10**10:010d}"


def status_of(order: Order) -> int:
    return PART_SHIPPED if order.is_part_shipped else STATES[order.state]


def transaction_id(order: Order) -> str:
    """WeChat's number of the payment."""
    return f"42000{int(digest('payment', order.number, length=18), 16) % 10**23:023d}"


def list_fen(line: Line) -> int:
    """The price of one piece before discounts."""
    return line.unit_fen or (GIFT_LIST_FEN if line.is_gift else 0)


def cut_fen(line: Line) -> int:
    return list_fen(line) * line.quantity - line.amount_fen


def is_masked(shop: ShopConfig, order: Order, now: float) -> bool:
    """Whether the receiver is hidden by now."""
    after = float(shop.options.get("mask_after_seconds", MASKED_AFTER))
    over = order.state in {FINISHED, CLOSED_REFUNDED, CLOSED_UNPAID}
    return over or now - order.created > after


def order_body(shop: ShopConfig, order: Order, now: float) -> dict[str, Any]:
    """The ``order`` of ``/channels/ec/order/get``."""
    open_refunds = order.open_refunds()
    return {
        "order_id": order.number,
        "status": status_of(order),
        "create_time": int(order.created),
        "update_time": int(order.modified),
        "openid": openid(shop, order),
        "unionid": "",
        "order_detail": {
            "product_infos": [product_body(order, line) for line in order.lines],
            "pay_info": pay_body(order),
            "price_info": price_body(order),
            "delivery_info": delivery_body(shop, order, now),
            "coupon_info": {"user_coupon_id": ""},
            "ext_info": {
                "customer_notes": order.remark,
                "merchant_notes": order.memo,
                "confirm_receipt_time": int(order.finished or 0),
                "order_scene": 1,
            },
            "settle_info": {"commission_fee": 0, "predict_commission_fee": 0},
            "commission_infos": [],
            "sharer_info": None,
        },
        "aftersale_detail": {
            "aftersale_order_list": [{"aftersale_order_id": r.refund_id} for r in order.refunds],
            "on_aftersale_order_cnt": len(open_refunds),
        },
    }


def product_body(order: Order, line: Line) -> dict[str, Any]:
    """``estimate_price`` is filled only where there is a discount (6c)."""
    cut = cut_fen(line)
    body: dict[str, Any] = {
        "product_id": product_id(line.sku_code or line.title),
        "sku_id": line.platform_sku_id or "",
        "thumb_img": f"https://img.example.com/w/{line.platform_sku_id}.png",
        "sku_cnt": line.quantity,
        "sale_price": list_fen(line),
        "market_price": list_fen(line),
        "real_price": line.amount_fen,
        "estimate_price": line.amount_fen if cut else 0,
        "title": line.title,
        "sku_code": line.outer_code or "",
        "out_product_id": "",
        "out_sku_id": "",
        "on_aftersale_sku_cnt": line.quantity if line.refund_state == "in_progress" else 0,
        "finish_aftersale_sku_cnt": line.quantity if line.refund_state == "refunded" else 0,
        "sku_attrs": [{"attr_key": "规格", "attr_value": "默认"}],
        "is_discounted": bool(cut),
        "is_change_price": False,
        "change_price": 0,
        "is_free_gift": line.is_gift,
        "merchant_discounted_price": cut,
        "finder_discounted_price": 0,
        "order_product_coupon_info_list": [],
        "delivery_deadline": int((order.paid or order.created) + SHIP_WITHIN),
        "sku_deliver_info": {
            "stock_type": 0,
            "predict_delivery_time": "",
            "full_payment_presale_delivery_type": 0,
        },
    }
    if line.is_gift:
        main = [
            {
                "product_id": product_id(other.sku_code or other.title),
                "sku_id": other.platform_sku_id or "",
                "cnt": other.quantity,
            }
            for other in order.lines
            if not other.is_gift
        ]
        body["free_gift_info"] = {"main_product_list": main}
    return body


def pay_body(order: Order) -> dict[str, Any]:
    paid = order.paid is not None
    return {
        "payment_method": 1,
        "prepay_id": f"wx{digest('prepay', order.number, length=20)}",
        "prepay_time": int(order.created),
        "pay_time": int(order.paid or 0),
        "transaction_id": transaction_id(order) if paid else "",
    }


def price_body(order: Order) -> dict[str, Any]:
    """``merchant_receieve_price`` is spelt that way (6c)."""
    goods = sum(list_fen(line) * line.quantity for line in order.lines)
    cut = sum(cut_fen(line) for line in order.lines)
    return {
        "product_price": goods,
        "order_price": order.payable_fen,
        "freight": order.freight_fen,
        "discounted_price": cut,
        "is_discounted": bool(cut),
        "original_order_price": goods + order.freight_fen,
        "estimate_product_price": goods - cut,
        "is_change_freight": False,
        "change_freight": 0,
        "merchant_receieve_price": order.payable_fen,
        "merchant_discounted_price": cut,
        "finder_discounted_price": 0,
    }


def delivery_body(shop: ShopConfig, order: Order, now: float) -> dict[str, Any]:
    wish = order.extra.get("address_wish")
    masked = is_masked(shop, order, now)
    body: dict[str, Any] = {
        "address_info": address_body(order.receiver, masked=masked),
        "deliver_method": 0,
        "delivery_product_info": [parcel_body(order, parcel) for parcel in order.shipments],
        "ship_done_time": int(order.shipments[-1].at) if not order.unshipped else 0,
        "address_under_review": None,
        "ewaybill_order_code": "",
    }
    if wish is not None:
        body["address_under_review"] = address_body(Receiver(**wish["receiver"]), masked=masked)
        body["address_apply_time"] = int(wish["asked"])
    return body


def address_body(r: Receiver, *, masked: bool) -> dict[str, Any]:
    """``hash_code`` is the same for one receiver, masked or not (6c)."""
    detail = f"{r.town}{r.address}"
    whose = (r.name, r.phone, r.province, r.city, r.district, detail)
    phone = mask_middle(r.phone) if masked else r.phone
    return {
        "user_name": mask_name(r.name) if masked else r.name,
        "postal_code": r.zip,
        "province_name": r.province,
        "city_name": r.city,
        "county_name": r.district,
        "detail_info": mask_address(detail) if masked else detail,
        "national_code": "",
        "tel_number": phone,
        "use_tel_number": 0,
        "tel_number_ext_info": {
            "real_tel_number": phone,
            "virtual_tel_number": "",
            "virtual_tel_expire_time": 0,
            "get_virtual_tel_cnt": 0,
        },
        "hash_code": digest("receiver", *whose),
    }


def parcel_body(order: Order, parcel: Shipment) -> dict[str, Any]:
    held = [line for line in order.lines if not parcel.line_ids or line.line_id in parcel.line_ids]
    return {
        "waybill_id": parcel.tracking_number,
        "delivery_id": parcel.carrier_code,
        "deliver_type": 3 if parcel.is_virtual else 1,
        "delivery_time": int(parcel.at),
        "product_infos": [
            {
                "product_id": product_id(line.sku_code or line.title),
                "sku_id": line.platform_sku_id or "",
                "product_cnt": parcel.quantities.get(line.line_id, line.quantity),
            }
            for line in held
        ],
    }


def aftersale_body(shop: ShopConfig, order: Order, refund: Refund) -> dict[str, Any]:
    """The ``after_sale_order`` of ``getaftersaleorder``: one product of one order (6d)."""
    line = order.line(refund.line_id) if refund.line_id is not None else order.lines[0]
    if line is None:
        message = f"refund {refund.refund_id} is of no line"
        raise LookupError(message)
    return {
        "after_sale_order_id": refund.refund_id,
        "status": REFUNDS[refund.state],
        "openid": openid(shop, order),
        "unionid": "",
        "type": "REFUND",
        "product_info": {
            "product_id": product_id(line.sku_code or line.title),
            "sku_id": line.platform_sku_id or "",
            "count": line.quantity,
            "fast_refund": False,
            "gift_product_list": [],
        },
        "details": {"desc": refund.reason, "receive_product": False, "prove_imgs": []},
        "refund_info": {"amount": refund.amount_fen, "refund_reason": 1},
        "return_info": {"waybill_id": "", "delivery_id": "", "delivery_name": ""},
        "merchant_upload_info": None,
        "create_time": int(refund.created),
        "update_time": int(refund.modified),
        "reason": "OTHERS",
        "reason_text": refund.reason,
        "order_id": order.number,
        "deadline": int(refund.created + REFUND_WITHIN),
    }
