"""Orders and refunds as Pinduoduo writes them (channels.md 4c, 4d)."""

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
from ordercenter.sandbox.wire import beijing, digest, mask_address, mask_name, yuan

if TYPE_CHECKING:
    from ordercenter.sandbox.book import Line, Listed, Order, Refund

NAME, PHONE, FULL_ADDRESS, DETAIL = 5, 6, 7, 8  # data_type of what was decrypted (4c)
SPLIT_PARCEL, RESENT_PARCEL, GIFT_PARCEL = 1, 2, 3  # extra_track_type (4d)
SHIP_WITHIN: Final = 3 * 86_400
AFTER_SALES: Final = {ASKED: 2, AGREED: 4, REFUSED: 6, WITHDRAWN: 9, DONE: 10}
REFUND_STATUS: Final = {ASKED: 2, AGREED: 3, REFUSED: 1, WITHDRAWN: 1, DONE: 4}
ORDER_STATUS: Final = {WAIT_SHIP: 1, ON_HOLD: 1, SHIPPED: 2, FINISHED: 3, CLOSED_REFUNDED: 1}


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
        "gift_delivery_list": extra_parcels(order, GIFT_PARCEL),
        "extra_delivery_list": extra_parcels(order, SPLIT_PARCEL),
        "resend_delivery_list": extra_parcels(order, RESENT_PARCEL),
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


def extra_parcels(order: Order, kind: int) -> list[dict[str, Any]] | None:
    """The parcels beside the first one, told as of ``kind`` (4d)."""
    told = order.extra.get("parcels", {})
    rows = [
        {"tracking_number": parcel.tracking_number, "logistics_id": int(parcel.carrier_code)}
        for parcel in order.shipments[1:]
        if told.get(parcel.tracking_number) == kind
    ]
    return rows or None


def ciphers(order: Order) -> dict[str, tuple[int, str, str]]:
    """By field, what kind of thing it is, its clear text, and its ciphertext (4c)."""
    r = order.receiver
    full = f"{r.province}{r.city}{r.district}{r.address}"
    rows = (
        ("receiver_name", NAME, r.name, "~AgAA{}==~0~"),
        ("receiver_phone", PHONE, r.phone, "${}==$0$"),
        ("receiver_address", DETAIL, r.address, "~AgAA{}==~0~"),
        ("address", FULL_ADDRESS, full, "~AgAA{}==~0~"),
    )
    return {
        field: (kind, text, frame.format(digest("pdd", field, text, length=24)) if text else "")
        for field, kind, text, frame in rows
    }


def receiver_body(order: Order) -> dict[str, Any]:
    """Ciphertext only while to ship and not under review; the place is always clear (4c)."""
    r = order.receiver
    open_now = order.state == WAIT_SHIP
    whose = (order.shop, r.name, r.phone, r.province, r.city, r.district, r.address)
    phone_mask = f"{r.phone[0]}********{r.phone[-2:]}" if r.phone else ""
    hidden = {field: cipher if open_now else "" for field, (_, _, cipher) in ciphers(order).items()}
    return hidden | {
        "country": "中国",
        "country_id": 0,
        "province": r.province,
        "province_id": 1 if r.province else 0,
        "city": r.city,
        "city_id": 2,
        "town": r.district,
        "town_id": 3,
        "receiver_name_mask": mask_name(r.name),
        "receiver_phone_mask": phone_mask,
        "receiver_address_mask": mask_address(r.address),
        "address_mask": f"{r.province}{r.city}{r.district}{mask_address(r.address)}",
        "open_address_id": digest("open", *whose, length=40),
        "open_address_id_2": digest("open2", *whose, length=40),
    }


def goods_of(line: Line | Listed) -> int:
    """The goods a SKU belongs to."""
    return 500_000_000_000 + int(line.platform_sku_id or 0) % 10**9


def item_body(order: Order, line: Line) -> dict[str, Any]:
    sku_id, goods_id = int(line.platform_sku_id or 0), goods_of(line)
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


def refund_facts(order: Order, refund: Refund) -> dict[str, Any]:
    """refund.information.get: numbers in fen, and a list of types of its own (4d)."""
    line = order.lines[0]
    waits = refund.state == ASKED
    return {
        "id": int(refund.refund_id),
        "order_sn": order.number,
        "after_sales_status": AFTER_SALES[refund.state],
        "after_sales_type": 1,  # refund only; the list says 2
        "after_sales_reason": refund.reason,
        "refund_amount": refund.amount_fen,
        "order_amount": order.payable_fen,
        "discount_amount": order.discount_fen,
        "goods_number": line.quantity,
        "goods_price": line.unit_fen,
        "sku_id": line.platform_sku_id or "",
        "confirm_time": when(order.paid),
        "recreated_at": beijing(refund.created),
        "updated_time": beijing(refund.modified),
        "expire_time": beijing(refund.created + SHIP_WITHIN) if waits else None,
        "express_no": "",
        "shipping_name": "",
        "shipping_status": 1 if order.shipments else 0,
        "speed_refund_flag": 0,
        "dispute_refund_status": 0,
        "join_or_not": "0",
        "user_shipping_status": "0",
        "images": [],
        "remark": "",
        "exchange_shipping_detail": None,
    }
