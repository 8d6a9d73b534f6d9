"""Shopify's orders in the shape of its GraphQL (channels.md 5c)."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from ordercenter.sandbox.book import (
    CLOSED_REFUNDED,
    CLOSED_UNPAID,
    DONE,
    FINISHED,
    ON_HOLD,
    OPEN_REFUNDS,
    SHIPPED,
    WAIT_PAY,
    Line,
    Order,
    Refund,
    Shipment,
    ShopConfig,
)
from ordercenter.sandbox.platforms.shopify.wire import GraphqlError, gid
from ordercenter.sandbox.wire import digest, utc, yuan

if TYPE_CHECKING:
    from ordercenter.sandbox.book import Book
    from ordercenter.sandbox.platforms.graphql import Field

FIRST_NAME: Final = 1001
LOCATION: Final = 900001
GIFT_LIST_FEN: Final = 1_990
"""What a gift would cost: on this platform a gift is a line discounted by 100 % (5c)."""
MONEY_REFUNDED: Final = "success"
TRANSACTIONS: Final = {DONE: MONEY_REFUNDED, **dict.fromkeys(OPEN_REFUNDS, "pending")}
# Shopify's own English names and codes; it has no province for Hong Kong, Macao and Taiwan.
PROVINCES: Final = {
    "安徽省": ("Anhui", "AH"), "北京市": ("Beijing", "BJ"), "重庆市": ("Chongqing", "CQ"),
    "福建省": ("Fujian", "FJ"), "甘肃省": ("Gansu", "GS"), "广东省": ("Guangdong", "GD"),
    "广西壮族自治区": ("Guangxi", "GX"), "贵州省": ("Guizhou", "GZ"), "海南省": ("Hainan", "HI"),
    "河北省": ("Hebei", "HE"), "黑龙江省": ("Heilongjiang", "HL"), "河南省": ("Henan", "HA"),
    "湖北省": ("Hubei", "HB"), "湖南省": ("Hunan", "HN"), "内蒙古自治区": ("Inner Mongolia", "NM"),
    "江苏省": ("Jiangsu", "JS"), "江西省": ("Jiangxi", "JX"), "吉林省": ("Jilin", "JL"),
    "辽宁省": ("Liaoning", "LN"), "宁夏回族自治区": ("Ningxia", "NX"), "青海省": ("Qinghai", "QH"),
    "陕西省": ("Shaanxi", "SN"), "山东省": ("Shandong", "SD"), "上海市": ("Shanghai", "SH"),
    "山西省": ("Shanxi", "SX"), "四川省": ("Sichuan", "SC"), "天津市": ("Tianjin", "TJ"),
    "新疆维吾尔自治区": ("Xinjiang", "XJ"), "西藏自治区": ("Tibet", "YZ"),
    "云南省": ("Yunnan", "YN"), "浙江省": ("Zhejiang", "ZJ"),
}  # fmt: skip


def name_of(book: Book, order: Order) -> int:
    """The number people see, given out in the order of first sight."""
    if "name" not in order.extra:
        order.extra["name"] = FIRST_NAME + len(book.records["shopify_name"])
        facts = {"shop": order.shop, "number": order.number, "name": order.extra["name"]}
        book.record("shopify_name", facts)
        book.keep(order)
    return int(order.extra["name"])


def note_of(order: Order) -> str:
    """There is one note: the buyer's, until the merchant writes another over it (5d)."""
    return str(order.extra.get("note", order.remark))


def inventory_item(sku_id: str) -> int:
    """The number of the inventory item of a variant."""
    return int(sku_id) + 1_000


def list_fen(line: Line) -> int:
    """The price of one piece before discounts."""
    return line.unit_fen or (GIFT_LIST_FEN if line.is_gift else 0)


def cut_fen(line: Line) -> int:
    return list_fen(line) * line.quantity - line.amount_fen


def refunded_fen(order: Order) -> int:
    return sum(refund.amount_fen for refund in order.refunds if refund.state == DONE)


def financial(order: Order) -> str:
    if order.state == CLOSED_UNPAID:
        return "VOIDED"
    if order.paid is None:
        return "PENDING"
    back = refunded_fen(order)
    if order.state == CLOSED_REFUNDED or (back and back >= order.paid_fen):
        return "REFUNDED"
    return "PARTIALLY_REFUNDED" if back else "PAID"


def fulfillment(order: Order) -> str:
    if order.state == ON_HOLD:
        return "ON_HOLD"
    if order.state in {SHIPPED, FINISHED}:
        return "FULFILLED"
    return "PARTIALLY_FULFILLED" if order.shipments else "UNFULFILLED"


def current(line: Line) -> int:
    return 0 if line.refund_state == "refunded" else line.quantity


def unfulfilled(order: Order, line: Line) -> int:
    if order.state in {CLOSED_UNPAID, CLOSED_REFUNDED}:
        return 0
    return min(current(line), order.left(line))


def canceled(order: Order) -> tuple[float | None, str | None]:
    if order.state == CLOSED_UNPAID:
        return order.closed, "OTHER"
    if order.state == CLOSED_REFUNDED and not order.shipments:
        return order.closed, "CUSTOMER"
    return None, None


def zulu(at: float | None) -> str | None:
    return None if at is None else f"{utc(at):%Y-%m-%dT%H:%M:%SZ}"


def bag(fen: int, currency: str) -> dict[str, Any]:
    money = {"amount": yuan(fen), "currencyCode": currency}
    return {"shopMoney": money, "presentmentMoney": dict(money)}


def shop_domain(shop: ShopConfig) -> str:
    return str(shop.options.get("shop_domain", "sandbox-store.myshopify.com"))


def customer_id(order: Order) -> int:
    return int(
        "77" + f"{int(digest('customer', order.buyer.buyer_id, length=10), 16) % 10**11:011d}"
    )


def order_node(book: Book, shop: ShopConfig, order: Order) -> dict[str, Any]:
    """The whole order of GraphQL (5c)."""
    in_currency = shop.currency
    lines = sum(line.amount_fen for line in order.lines)
    paid_back = refunded_fen(order)
    canceled_at, reason = canceled(order)
    sums = {
        "totalPriceSet": order.payable_fen,
        "currentTotalPriceSet": order.payable_fen - paid_back,
        "subtotalPriceSet": lines,
        "totalDiscountsSet": sum(cut_fen(line) for line in order.lines),
        "totalShippingPriceSet": order.freight_fen,
        "totalTaxSet": 0,
        "totalReceivedSet": order.paid_fen,
        "totalRefundedSet": paid_back,
    }
    return {
        "id": gid("Order", order.number),
        "legacyResourceId": order.number,
        "name": f"#{name_of(book, order)}",
        "createdAt": zulu(order.created),
        "processedAt": zulu(order.created),
        "updatedAt": zulu(order.modified),
        "cancelledAt": zulu(canceled_at),
        "cancelReason": reason,
        "closedAt": zulu(order.finished),
        "test": False,
        "currencyCode": in_currency,
        "presentmentCurrencyCode": in_currency,
        "displayFinancialStatus": financial(order),
        "displayFulfillmentStatus": fulfillment(order),
        "note": note_of(order) or None,
        "tags": order.extra.get("tags", []),
        "customAttributes": [],
        "email": email(order),
        "phone": None,
        "clientIp": order.buyer.ip or None,
        "customer": {"id": gid("Customer", customer_id(order))},
        **{name: bag(fen, in_currency) for name, fen in sums.items()},
        "taxesIncluded": True,
        "discountApplications": {"nodes": discount_nodes(order, in_currency)},
        "lineItems": connection([line_node(order, line, in_currency) for line in order.lines]),
        "shippingAddress": address_node(order),
        "refunds": [refund_node(order, refund, in_currency) for refund in order.refunds],
        "fulfillments": [fulfillment_node(order, shipment) for shipment in order.shipments],
    }


def email(order: Order) -> str:
    return f"buyer-{order.buyer.buyer_id}@example.com"


def discounts(order: Order) -> list[tuple[str, int]]:
    """The discount applications by title, with what they took off; gifts have their own."""
    plain = sum(cut_fen(line) for line in order.lines if not line.is_gift)
    given = sum(cut_fen(line) for line in order.lines if line.is_gift)
    found = [("店铺优惠", plain), ("满额赠品", given)]
    return [(title, fen) for title, fen in found if fen]


def discount_index(order: Order, line: Line) -> int:
    titles = [title for title, _ in discounts(order)]
    return titles.index("满额赠品" if line.is_gift else "店铺优惠")


def discount_nodes(order: Order, currency: str) -> list[dict[str, Any]]:
    nodes = []
    for index, (title, fen) in enumerate(discounts(order)):
        gift = title == "满额赠品"
        money = {"__typename": "MoneyV2", "amount": yuan(fen), "currencyCode": currency}
        whole = {"__typename": "PricingPercentageValue", "percentage": 100.0}
        nodes.append(
            {
                "__typename": "AutomaticDiscountApplication",
                "index": index,
                "title": title,
                "allocationMethod": "EACH" if gift else "ACROSS",
                "targetType": "LINE_ITEM",
                "targetSelection": "EXPLICIT" if gift else "ALL",
                "value": whole if gift else money,
            }
        )
    return nodes


def line_node(order: Order, line: Line, currency: str) -> dict[str, Any]:
    variant = None
    if line.platform_sku_id is not None:
        stock = gid("InventoryItem", inventory_item(line.platform_sku_id))
        variant = {
            "id": gid("ProductVariant", line.platform_sku_id),
            "sku": line.outer_code,
            "inventoryItem": {"id": stock},
        }
    allocated = []
    if cut := cut_fen(line):
        index = discount_index(order, line)
        allocated.append(
            {
                "allocatedAmountSet": bag(cut, currency),
                "discountApplication": {
                    "__typename": "AutomaticDiscountApplication",
                    "index": index,
                },
            }
        )
    return {
        "id": gid("LineItem", line.line_id),
        "sku": line.outer_code,
        "title": line.title,
        "name": line.title,
        "quantity": line.quantity,
        "currentQuantity": current(line),
        "unfulfilledQuantity": unfulfilled(order, line),
        "requiresShipping": True,
        "variant": variant,
        "originalUnitPriceSet": bag(list_fen(line), currency),
        "discountedUnitPriceSet": bag(0 if line.is_gift else list_fen(line), currency),
        "discountAllocations": allocated,
        "customAttributes": [],
    }


def address_facts(order: Order) -> dict[str, str | None]:
    """There is no field for the district: it opens ``address1``."""
    r = order.receiver
    province, code = PROVINCES.get(r.province, (None, None))
    return {
        "first": r.name[1:],
        "last": r.name[:1],
        "name": f"{r.name[:1]} {r.name[1:]}".strip(),
        "address1": f"{r.district}{r.town}{r.address}",
        "city": r.city,
        "province": province,
        "code": code,
        "zip": r.zip or None,
        "phone": f"+86{r.phone}" if r.phone else None,
    }


def address_node(order: Order) -> dict[str, Any]:
    facts = address_facts(order)
    return {
        "name": facts["name"],
        "firstName": facts["first"],
        "lastName": facts["last"],
        "address1": facts["address1"],
        "address2": "",
        "city": facts["city"],
        "province": facts["province"],
        "provinceCode": facts["code"],
        "country": "China",
        "countryCodeV2": "CN",
        "zip": facts["zip"],
        "phone": facts["phone"],
        "company": None,
    }


def refund_lines(order: Order, refund: Refund) -> Iterable[Line]:
    return (line for line in order.lines if refund.line_id in {None, line.line_id})


def restock(order: Order, refund: Refund) -> str:
    """``cancel``: the goods had not left. ``no_restock``: the money alone goes back."""
    gone = any(shipment.at <= refund.created for shipment in order.shipments)
    return "no_restock" if gone else "cancel"


def transaction_status(refund: Refund) -> str:
    return TRANSACTIONS.get(refund.state, "failure")


def refund_node(order: Order, refund: Refund, currency: str) -> dict[str, Any]:
    status = transaction_status(refund)
    back = refund.amount_fen if status == MONEY_REFUNDED else 0
    rows = [
        {
            "quantity": line.quantity,
            "restockType": restock(order, refund).upper(),
            "lineItem": {"id": gid("LineItem", line.line_id)},
        }
        for line in refund_lines(order, refund)
    ]
    transaction = {
        "id": gid("OrderTransaction", f"5{refund.refund_id}"),
        "kind": "REFUND",
        "status": status.upper(),
        "gateway": "alipay",
        "amountSet": bag(refund.amount_fen, currency),
    }
    return {
        "id": gid("Refund", refund.refund_id),
        "legacyResourceId": refund.refund_id,
        "createdAt": zulu(refund.created),
        "updatedAt": zulu(refund.modified),
        "note": refund.reason,
        "totalRefundedSet": bag(back, currency),
        "refundLineItems": {"nodes": rows},
        "transactions": {"nodes": [transaction]},
    }


def fulfillment_id(order: Order, shipment: Shipment) -> str:
    return f"77{int(digest(order.number, shipment.tracking_number, length=11), 16) % 10**11:011d}"


def fulfillment_node(order: Order, shipment: Shipment) -> dict[str, Any]:
    tracking = {
        "company": shipment.carrier_code,
        "number": shipment.tracking_number,
        "url": None,
    }
    number = fulfillment_id(order, shipment)
    return {"id": gid("Fulfillment", number), "status": "SUCCESS", "trackingInfo": [tracking]}


def fulfillment_order(order: Order) -> dict[str, Any]:
    """The one fulfillment order of the one location; ids are the order's and lines' with a
    digit before them."""
    rows = [
        {
            "id": gid("FulfillmentOrderLineItem", f"6{line.line_id}"),
            "remainingQuantity": unfulfilled(order, line),
            "totalQuantity": line.quantity,
            "lineItem": {"id": gid("LineItem", line.line_id)},
        }
        for line in order.lines
    ]
    status = "OPEN"
    if order.state in {CLOSED_UNPAID, CLOSED_REFUNDED}:
        status = "CANCELLED"
    elif order.state in {ON_HOLD, WAIT_PAY}:
        status = "ON_HOLD"
    elif not any(row["remainingQuantity"] for row in rows):
        status = "CLOSED"
    elif order.shipments:
        status = "IN_PROGRESS"
    return {
        "id": gid("FulfillmentOrder", f"7{order.number}"),
        "status": status,
        "assignedLocation": {"location": {"id": gid("Location", LOCATION)}},
        "lineItems": connection(rows),
    }


# Connections


def connection(nodes: Sequence[Any]) -> dict[str, Any]:
    """All of ``nodes`` on one page."""
    return {"nodes": list(nodes), "pageInfo": {"hasNextPage": False, "endCursor": None}}


def turned(whole: Mapping[str, Any], asked: Field | None, most: int) -> dict[str, Any]:
    """The page of an inner connection that ``asked`` is for; at most ``most`` nodes of it (5b)."""
    nodes, arguments = whole["nodes"], {} if asked is None else asked.arguments
    first = arguments.get("first", len(nodes))
    if not isinstance(first, int) or isinstance(first, bool) or first < 0:
        raise GraphqlError("you must provide a valid `first` value")
    start = 0 if arguments.get("after") is None else place_of(str(arguments["after"]))
    end = start + min(first, most)
    last = None if start == end else base64.b64encode(str(min(end, len(nodes))).encode()).decode()
    info = {"hasNextPage": end < len(nodes), "endCursor": last}
    return {"nodes": nodes[start:end], "pageInfo": info}


def place_of(cursor: str) -> int:
    try:
        return int(base64.b64decode(cursor, validate=True))
    except ValueError as error:
        raise GraphqlError(f"`{cursor}` is not a valid cursor.") from error
