"""Trades and refunds as Taobao writes them (channels.md 1c, 1d)."""

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
)
from ordercenter.sandbox.wire import beijing, digest, mask_address, mask_name, yuan

if TYPE_CHECKING:
    from ordercenter.sandbox.book import Line, Listed, Order, Refund, ShopConfig

WEEK: Final = 7 * 86_400
COLORS: Final = 3
"""So many SKUs of the demo seller are one item in as many colors."""
BUNDLES_FROM: Final = 8_000
"""From this SKU number on things come in one kind only."""
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
    return body | step_body(order) | receiver_body(shop, order)


def step_body(order: Order) -> dict[str, str]:
    """A trade paid in two steps waits to be paid until the balance is in (1c)."""
    deposit = order.extra.get("deposit_fen")
    if deposit is None:
        return {}
    step = "FRONT_PAID_FINAL_NOPAID" if order.state == WAIT_PAY else "FRONT_PAID_FINAL_PAID"
    if order.state == CLOSED_UNPAID:
        step = "FRONT_PAID_FRONT_FORFEITED"
    paid = yuan(order.paid_fen)
    return {"type": "step", "step_trade_status": step, "step_paid_fee": paid}


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


def item_id(line: Line | Listed) -> int:
    """The item a SKU belongs to, with its other two colors; made of the code where the platform
    gave no SKU id."""
    if line.platform_sku_id:
        number = int(line.platform_sku_id) % 100_000
        color = (number - 1) % 1_000 % COLORS if number % 10_000 < BUNDLES_FROM else 0
        return 690_000_000_000 + number - color
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
