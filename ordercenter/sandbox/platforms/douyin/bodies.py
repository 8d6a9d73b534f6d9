"""Douyin orders and after-sales written down (channels.md 3c, 3d): fen and Unix seconds.

The receiver is encrypted; ``/order/batchDecrypt`` opens it for the order it belongs to.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

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
    Receiver,
    Refund,
    Shipment,
    ShopConfig,
)
from ordercenter.sandbox.wire import digest, mask_address, mask_name

COMPANIES: Final = {
    "shunfeng": "顺丰速运",
    "zhongtong": "中通快递",
    "yuantong": "圆通快递",
    "shentong": "申通快递",
    "yunda": "韵达快递",
    "jd": "京东快递",
    "ems": "EMS",
    "jtexpress": "极兔速递",
}
TO_PAY, PAID, TO_SHIP, PART_SHIPPED, GONE, CLOSED, ENDED = 1, 105, 2, 101, 3, 4, 5
STATES: Final = {
    WAIT_PAY: (TO_PAY, "待支付"),
    ON_HOLD: (PAID, "已支付"),
    WAIT_SHIP: (TO_SHIP, "待发货"),
    SHIPPED: (GONE, "已发货"),
    FINISHED: (ENDED, "已完成"),
    CLOSED_UNPAID: (CLOSED, "已取消"),
    CLOSED_REFUNDED: (CLOSED, "已关闭"),
}
REFUNDED_UNSHIPPED, REFUNDED_SHIPPED = 21, 22
# after_sale_status and refund_status of each state of a refund (3c, 3d)
REFUNDS: Final = {
    ASKED: (6, 1),
    AGREED: (12, 1),
    DONE: (12, 3),
    REFUSED: (27, 0),
    WITHDRAWN: (28, 0),
}
BEFORE_SHIPPING, AFTER_SHIPPING = 2, 1


def shop_id(shop: ShopConfig) -> int:
    return int(shop.options.get("shop_id", "70000001"))


def some_id(prefix: str, *parts: object) -> int:
    """A 19-digit number that stands for ``parts``, beyond what a double can hold."""
    return int(prefix + f"{int(digest(*parts, length=15), 16) % 10**15:015d}")


def status_of(order: Order) -> tuple[int, str]:
    if order.is_part_shipped:
        return PART_SHIPPED, "部分发货"
    return STATES[order.state]


def main_status(order: Order) -> int:
    if order.state == CLOSED_REFUNDED:
        return REFUNDED_SHIPPED if order.shipments else REFUNDED_UNSHIPPED
    return status_of(order)[0]


def ciphers(order: Order) -> dict[str, tuple[int, str]]:
    """What each cipher text of ``order`` says: address 1, name 2, phone 3."""
    wish = wished(order)
    found: dict[str, tuple[int, str]] = {}
    for r in (order.receiver,) if wish is None else (order.receiver, wish):
        name, phone, address = sealed(order, r)
        found |= {name: (2, r.name), phone: (3, r.phone), address: (1, r.address)}
    return {cipher: clear for cipher, clear in found.items() if cipher}


def wished(order: Order) -> Receiver | None:
    """The address the buyer wishes for, while that is open."""
    wish = order.extra.get("address_wish")
    return None if wish is None else Receiver(**wish["receiver"])


def sealed(order: Order, r: Receiver) -> tuple[str, str, str]:
    """Name, phone and address: an index that equal clear texts share, and a cipher of the order."""

    def seal(clear: str, mark: str) -> str:
        if not clear:
            return ""
        index = digest("index", clear, length=16)
        cipher = digest("cipher", order.number, order.address_version, clear, length=24)
        if mark == "$":
            return f"$${index}${cipher}==$1$$"
        return f"##{index}##{cipher}==#1##"

    return seal(r.name, "#"), seal(r.phone, "$"), seal(r.address, "#")


def product_of(shop: str, goods: str) -> int:
    return some_id("3500", shop, goods)


def place(r: Receiver, detail: Mapping[str, str]) -> dict[str, Any]:
    parts = {"province": r.province, "city": r.city, "town": r.district, "street": r.town}
    named = {
        key: {"name": name, "id": str(some_id("", key, name))[:6] if name else "0"}
        for key, name in parts.items()
    }
    return named | dict(detail)


def receiver_body(order: Order) -> dict[str, Any]:
    r = order.receiver
    name, phone, address = sealed(order, r)
    whose = (r.name, r.phone, r.province, r.city, r.district, r.town, r.address)
    return {
        "post_receiver": "",
        "encrypt_post_receiver": name,
        "post_tel": "",
        "encrypt_post_tel": phone,
        "post_addr": place(r, {"detail": "", "encrypt_detail": address}),
        "mask_post_receiver": mask_name(r.name),
        "mask_post_tel": f"1********{r.phone[-2:]}" if r.phone else "",
        "mask_post_addr": place(r, {"detail": mask_address(r.address)}),
        "open_address_id": "#" + digest("address", *whose, length=40),
    }


def order_body(shop: ShopConfig, order: Order) -> dict[str, Any]:
    """The whole order, in a list as in detail (3c)."""
    status, said = status_of(order)
    ship_time = order.shipments[0].at if order.shipments else 0
    cut = order.discount_fen
    return {
        "order_id": order.number,
        "shop_id": shop_id(shop),
        "shop_name": shop.name,
        "order_level": 2,
        "order_type": 0,
        "order_status": status,
        "order_status_desc": said,
        "main_status": main_status(order),
        "main_status_desc": said,
        "create_time": int(order.created),
        "pay_time": int(order.paid or 0),
        "update_time": int(order.modified),
        "finish_time": int(order.finished or 0),
        "ship_time": int(ship_time),
        "exp_ship_time": int((order.paid or order.created) + 48 * 3600),
        "order_expire_time": 1800,
        "cancel_reason": "买家未付款" if order.state == CLOSED_UNPAID else "",
        "buyer_words": order.remark,
        "seller_words": order.memo,
        "seller_remark_stars": order.flag,
        "b_type": 2,
        "sub_b_type": 1,
        "pay_type": 2,
        "order_amount": order.goods_fen + order.freight_fen,
        "pay_amount": order.payable_fen,
        "post_amount": order.freight_fen,
        "post_origin_amount": order.freight_fen,
        "post_promotion_amount": 0,
        "post_insurance_amount": 0,
        "modify_amount": 0,
        "modify_post_amount": 0,
        "promotion_amount": cut,
        "promotion_shop_amount": cut,
        "promotion_platform_amount": 0,
        "promotion_talent_amount": 0,
        "promotion_pay_amount": 0,
        "total_promotion_amount": cut,
        "tax_amount": 0,
        "doudian_open_id": "1@#" + digest(shop.app_key, order.buyer.buyer_id, length=40),
        "logistics_info": [logistics_body(order, shipment) for shipment in order.shipments],
        "order_phase_list": [],
        "sku_order_list": [line_body(order, line) for line in order.lines],
        "shop_order_tag_ui": [],
        "promotion_detail": promotion_body(cut) if cut else None,
        **receiver_body(order),
    }


def promotion_body(cut: int) -> dict[str, Any]:
    none = {"total_amount": 0, "coupon_amount": 0, "full_discount_amount": 0}
    none_listed: dict[str, Any] = {"coupon_info": [], "full_discount_info": []}
    campaign = {
        "campaign_id": 74000000002,
        "campaign_type": 100,
        "campaign_name": "店铺满减",
        "campaign_amount": cut,
        "campaign_sub_type": 0,
        "share_discount_cost": {"platform_cost": 0, "shop_cost": cut, "author_cost": 0},
    }
    shop = none | {"total_amount": cut, "full_discount_amount": cut, "coupon_info": []}
    others = none | {"redpack_amount": 0, "redpack_info": []} | none_listed
    return {
        "shop_discount_detail": shop | {"full_discount_info": [campaign]},
        "platform_discount_detail": others | {"gold_coin_amount": 0},
        "kol_discount_detail": others,
    }


def line_body(order: Order, line: Line) -> dict[str, Any]:
    """A sub-order; the first carries the freight. Gifts are lines marked FREE (3c)."""
    product = product_of(order.shop, line.sku_code or line.title)
    freight = order.freight_fen if line is order.lines[0] else 0
    whole_fen = line.unit_fen * line.quantity
    cut = whole_fen - line.amount_fen
    status = status_of(order)[0]
    if status == PART_SHIPPED:
        status = TO_SHIP if line in order.unshipped else GONE
    masters = [other.line_id for other in order.lines if not other.is_gift]
    gifted = any(other.is_gift for other in order.lines)
    given = {"given_product_activity_type": "NORMAL", "given_product_activity_value": ""}
    body: dict[str, Any] = {
        "order_id": line.line_id,
        "parent_order_id": order.number,
        "order_level": 3,
        "order_type": 0,
        "trade_type": 102 if line.is_gift else 0,
        "order_status": status,
        "main_status": status,
        "product_id": product,
        "product_id_str": str(product),
        "sku_id": int(line.platform_sku_id or 0),
        "code": line.outer_code or "",
        "out_sku_id": "",
        "out_product_id": "",
        "product_name": line.title,
        "spec": [{"name": "规格", "value": "默认"}],
        "item_num": line.quantity,
        "origin_amount": line.unit_fen,
        "sum_amount": whole_fen,
        "order_amount": whole_fen + freight,
        "pay_amount": line.amount_fen + freight,
        "post_amount": freight,
        "promotion_amount": cut,
        "promotion_shop_amount": cut,
        "promotion_platform_amount": 0,
        "promotion_talent_amount": 0,
        "promotion_pay_amount": 0,
        "goods_type": 0,
        "pre_sale_type": 0,
        "given_product_type": "FREE" if line.is_gift else ("MASTER" if gifted else ""),
        "master_sku_order_id_list": masters if line.is_gift else [],
        "after_sale_info": line_aftersale(order, line),
        "inventory_list": [],
        "campaign_info": [],
        "reduce_stock_type": 1,
        "has_tax": False,
        "receive_type": 1,
    }
    return body | ({"given_product_activity_info": given} if line.is_gift else {})


def line_aftersale(order: Order, line: Line) -> dict[str, int]:
    mine = [r for r in order.refunds if r.line_id in {None, line.line_id}]
    if not mine:
        return {"after_sale_status": 0, "after_sale_type": 0, "refund_status": 0}
    status, money = REFUNDS[mine[-1].state]
    kind = aftersale_type(order, mine[-1])
    return {"after_sale_status": status, "after_sale_type": kind, "refund_status": money}


def aftersale_type(order: Order, refund: Refund) -> int:
    """Refund before or after shipping: what was true when it was asked."""
    gone = any(shipment.at <= refund.created for shipment in order.shipments)
    return AFTER_SHIPPING if gone else BEFORE_SHIPPING


def logistics_body(order: Order, shipment: Shipment) -> dict[str, Any]:
    lines = [
        line for line in order.lines if not shipment.line_ids or line.line_id in shipment.line_ids
    ]
    return {
        "tracking_no": shipment.tracking_number,
        "company": shipment.carrier_code,
        "company_name": COMPANIES.get(shipment.carrier_code, shipment.carrier_code),
        "ship_time": int(shipment.at),
        "delivery_id": str(some_id("7100", order.number, shipment.tracking_number)),
        "product_info": [
            shipped_body(order, line, shipment.quantities.get(line.line_id, line.quantity))
            for line in lines
        ],
    }


def shipped_body(order: Order, line: Line, pieces: int) -> dict[str, Any]:
    product = product_of(order.shop, line.sku_code or line.title)
    return {
        "product_name": line.title,
        "price": line.unit_fen,
        "outer_sku_id": line.outer_code or "",
        "sku_id": int(line.platform_sku_id or 0),
        "product_count": pieces,
        "product_id": product,
        "product_id_str": str(product),
        "sku_order_id": line.line_id,
        "sku_specs": [],
    }


def aftersale_body(order: Order, refund: Refund) -> dict[str, Any]:
    """One entry of /afterSale/List (3d)."""
    lines = [line for line in order.lines if refund.line_id in {None, line.line_id}]
    status, money = REFUNDS[refund.state]
    kind = aftersale_type(order, refund)
    kind_text = "未发货仅退款" if kind == BEFORE_SHIPPING else "已发货仅退款"
    return {
        "aftersale_info": {
            "aftersale_id": refund.refund_id,
            "aftersale_order_type": 1,
            "aftersale_type": kind,
            "aftersale_status": status,
            "related_id": refund.line_id or order.number,
            "apply_time": int(refund.created),
            "create_time": int(refund.created),
            "update_time": int(refund.modified),
            "status_deadline": int(refund.created + 48 * 3600),
            "refund_amount": refund.amount_fen,
            "refund_post_amount": 0,
            "aftersale_num": sum(line.quantity for line in lines),
            "part_type": 0,
            "aftersale_refund_type": 0,
            "refund_type": 0,
            "arbitrate_status": 0,
            "refund_status": 0 if refund.state == ASKED else money,
            "refund_tax_amount": 0,
            "return_promotion_amount": 0,
            "got_pkg": 0,
            "return_logistics_code": "",
            "remark": refund.answer,
            "order_logistics": [],
        },
        "order_info": {
            "shop_order_id": order.number,
            "order_flag": order.flag,
            "related_order_info": [related_body(order, line) for line in lines],
        },
        "text_part": {
            "aftersale_status_text": "",
            "aftersale_type_text": kind_text,
            "reason_text": refund.reason,
        },
        "seller_logs": [],
    }


def related_body(order: Order, line: Line) -> dict[str, Any]:
    freight = order.freight_fen if line is order.lines[0] else 0
    return {
        "sku_order_id": line.line_id,
        "order_status": status_of(order)[0],
        "pay_amount": line.amount_fen + freight,
        "post_amount": freight,
        "item_num": line.quantity,
        "aftersale_pay_amount": line.amount_fen,
        "aftersale_item_num": line.quantity,
        "given_sku_order_ids": [],
    }


def aftersale_detail(order: Order, refund: Refund) -> dict[str, Any]:
    """/afterSale/Detail: the same after-sale with numbers for ids (3d)."""
    lines = [line for line in order.lines if refund.line_id in {None, line.line_id}]
    status, money = REFUNDS[refund.state]
    kind = aftersale_type(order, refund)
    info = {
        "after_sale_id": int(refund.refund_id),
        "after_sale_status": status,
        "after_sale_status_desc": "",
        "after_sale_type": kind,
        "after_sale_type_text": "未发货仅退款" if kind == BEFORE_SHIPPING else "已发货仅退款",
        "refund_status": 0 if refund.state == ASKED else money,
        "refund_total_amount": refund.amount_fen,
        "refund_post_amount": 0,
        "real_refund_amount": refund.amount_fen if refund.state == DONE else 0,
        "apply_time": int(refund.created),
        "update_time": int(refund.modified),
        "status_deadline": int(refund.created + 48 * 3600),
        "reason": refund.reason,
        "reason_remark": refund.answer,
        "after_sale_apply_count": sum(line.quantity for line in lines),
        "got_pkg": 0,
        "part_type": 0,
    }
    parcels = [
        {
            "tracking_no": s.tracking_number,
            "company_name": COMPANIES.get(s.carrier_code, s.carrier_code),
            "company_code": s.carrier_code,
            "logistics_time": int(s.at),
        }
        for s in order.shipments
    ]
    return {
        "process_info": {
            "after_sale_info": info,
            "arbitrate_info": None,
            "logistics_info": {"order": parcels, "return": None, "exchange": None},
            "record_logs_list": [],
        },
        "order_info": {
            "shop_order_id": int(order.number),
            "sku_order_infos": [
                {
                    "sku_order_id": int(line.line_id),
                    "order_status": status_of(order)[0],
                    "pay_amount": line.amount_fen,
                    "item_quantity": line.quantity,
                    "after_sale_item_count": line.quantity,
                    "product_name": line.title,
                    "product_id": product_of(order.shop, line.sku_code or line.title),
                    "sku_id": int(line.platform_sku_id or 0),
                    "shop_sku_code": line.outer_code or "",
                }
                for line in lines
            ],
        },
    }
