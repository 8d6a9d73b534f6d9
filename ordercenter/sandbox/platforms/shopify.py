"""Shopify as its Admin GraphQL answers and its webhooks tell (channels.md 5a to 5e).

What may be sent to ``graphql.json``: a body ``{"query": text, "variables": object}`` whose
text is one anonymous or named operation, its top fields without fragments, arguments literal
or as ``$variables``, in any spelling of white space:

* ``orders(first: 1..250, after: cursor|null, sortKey: UPDATED_AT|CREATED_AT|ID, reverse: bool,
  query: text)``; the text knows ``updated_at``, ``created_at``, ``name`` and ``id`` with
  ``:``, ``:>``, ``:>=``, ``:<``, ``:<=``, joined by blanks or ``AND``;
* ``order(id: gid)``, ``node(id: gid)``, ``shop``;
* ``fulfillmentCreate(fulfillment: object)``.

The selection is not obeyed: an order comes whole. There is no request for a refund on this
platform: a refund is made by the merchant's help desk and is ``pending`` until the bank has
agreed. So it is here what the other platforms call asked for, and told by ``refunds/create``
twice, pending and at its end, under one refund id (ours).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from starlette.responses import Response
from starlette.routing import Route

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
    Refused,
    Shipment,
    ShopConfig,
)
from ordercenter.sandbox.outgoing import Outgoing, Push, hook, said_ok
from ordercenter.sandbox.platforms.graphql import SyntaxProblem, read_operation
from ordercenter.sandbox.wire import BEIJING, answer, digest, utc, yuan

if TYPE_CHECKING:
    from starlette.requests import Request

    from ordercenter.sandbox.book import Book

LARGEST_PAGE: Final = 250
FIRST_NAME: Final = 1001
LOCATION: Final = 900001
GIFT_LIST_FEN: Final = 1_990
"""What a gift would cost: on this platform a gift is a line discounted by 100 % (5c)."""
BUCKET: Final = 2_000.0
RESTORE_RATE: Final = 100.0  # points a second
OPEN: Final = frozenset({"OPEN", "IN_PROGRESS"})
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
TERM: Final = re.compile(r"""(\w+):(>=|<=|>|<|)(?:'([^']*)'|"([^"]*)"|(\S+))\s*(?:AND\s+)?""")
COMPARE: Final[dict[str, Callable[[float, float], bool]]] = {
    ">=": lambda a, b: a >= b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    "<": lambda a, b: a < b,
    "": lambda a, b: a == b,
}
Arguments = Mapping[str, Any]


@dataclass(slots=True)
class GraphqlError(Exception):
    """An entry of ``errors``; HTTP stays 200."""

    message: str
    code: str = ""

    def body(self) -> dict[str, Any]:
        said: dict[str, Any] = {"message": self.message}
        return {"errors": [said | ({"extensions": {"code": self.code}} if self.code else {})]}


def webhook_hmac(body: bytes, secret: str) -> str:
    """Base64 of the HMAC-SHA256 over the raw body (5e)."""
    return base64.b64encode(hmac.new(secret.encode(), body, hashlib.sha256).digest()).decode()


def routes(book: Book) -> list[Route]:
    path = "/shopify/admin/api/{version}/graphql.json"
    return [Route(path, Admin(book).handle, methods=["POST"])]


class Bucket:
    """The calculated cost of queries leaks out at ``RESTORE_RATE`` (5a)."""

    def __init__(self, now: float) -> None:
        self.left = BUCKET
        self.at = now

    def draw(self, points: int, now: float) -> bool:
        """Take ``points`` if they are there."""
        self.left = min(BUCKET, self.left + (now - self.at) * RESTORE_RATE)
        self.at = now
        if self.left < points:
            return False
        self.left -= points
        return True

    def give_back(self, points: int) -> None:
        self.left = min(BUCKET, self.left + points)

    def told(self, requested: int, actual: int | None) -> dict[str, Any]:
        status = {
            "maximumAvailable": BUCKET,
            "currentlyAvailable": int(self.left),
            "restoreRate": RESTORE_RATE,
        }
        cost = {"requestedQueryCost": requested, "actualQueryCost": actual}
        return {"cost": cost | {"throttleStatus": status}}


class Admin:
    def __init__(self, book: Book) -> None:
        self.book = book
        self._buckets: dict[str, Bucket] = {}
        self._queries: dict[str, Callable[[ShopConfig, Arguments], Any]] = {
            "orders": self.orders,
            "order": self.order,
            "node": self.order,
            "shop": self.shop,
        }
        self._mutations: dict[str, Callable[[ShopConfig, Arguments], Any]] = {
            "fulfillmentCreate": self.fulfillment_create,
        }

    async def handle(self, request: Request) -> Response:
        if re.fullmatch(r"\d{4}-\d\d|unstable", request.path_params["version"]) is None:
            return answer({"errors": "Not Found"}, status=404)
        shop = self._shop(request.headers.get("x-shopify-access-token", ""))
        if shop is None:
            said = "[API] Invalid API key or access token (unrecognized login or wrong password)"
            return answer({"errors": said}, status=401)
        try:
            wish = json.loads(await request.body())
            query, variables = wish["query"], dict(wish.get("variables") or {})
        except (ValueError, KeyError, TypeError):
            return answer(
                {"errors": {"query": "Required parameter missing or invalid"}}, status=400
            )
        reply = answer(self._answer(shop, str(query), variables))
        reply.headers["X-Shopify-API-Version"] = str(shop.options.get("api_version", "2026-04"))
        return reply

    def _shop(self, token: str) -> ShopConfig | None:
        for shop in self.book.shops.values():
            known = shop.access_token.encode()
            if shop.channel == "shopify" and hmac.compare_digest(known, token.encode()):
                return shop
        return None

    def _answer(self, shop: ShopConfig, query: str, variables: Arguments) -> dict[str, Any]:
        try:
            kind, fields = read_operation(query, variables)
            return self._spend(shop, kind, fields)
        except SyntaxProblem as problem:
            return GraphqlError(f"syntax error, {problem}").body()
        except GraphqlError as error:
            return error.body()

    def _spend(
        self, shop: ShopConfig, kind: str, fields: Mapping[str, Arguments]
    ) -> dict[str, Any]:
        """Answer within what the bucket holds, else THROTTLED with HTTP 200 (5a)."""
        known = self._mutations if kind == "mutation" else self._queries
        if unknown := [name for name in fields if name not in known]:
            on = "Mutation" if kind == "mutation" else "QueryRoot"
            message = f"Field '{unknown[0]}' doesn't exist on type '{on}'"
            raise GraphqlError(message, "undefinedField")
        now = self.book.clock()
        bucket = self._buckets.setdefault(shop.code, Bucket(now))
        pages = [arguments.get("first") for arguments in fields.values()]
        requested = sum(2 + page if isinstance(page, int) else 12 for page in pages)
        if not bucket.draw(requested, now):
            cost = {"extensions": bucket.told(requested, None)}
            return GraphqlError("Throttled", "THROTTLED").body() | cost
        data = {name: known[name](shop, arguments) for name, arguments in fields.items()}
        rows = sum(len(found.get("nodes", ())) for found in data.values() if found)
        actual = min(requested, 2 + rows)
        bucket.give_back(requested - actual)
        return {"data": data, "extensions": bucket.told(requested, actual)}

    # Queries

    def orders(self, shop: ShopConfig, arguments: Arguments) -> dict[str, Any]:
        """A page behind the cursor; the cursor holds the place, so moved rows come again (5b)."""
        first = arguments.get("first")
        if not isinstance(first, int) or not 1 <= first <= LARGEST_PAGE:
            raise GraphqlError("you must provide a `first` value between 1 and 250")
        wanted = search(str(arguments.get("query") or ""))
        place = sort_place(str(arguments.get("sortKey") or "PROCESSED_AT"))
        found = [order for order in self.book.orders(shop.code) if wanted(order)]
        found.sort(key=place, reverse=bool(arguments.get("reverse")))
        if arguments.get("after") is not None:
            mark = read_cursor(arguments["after"])
            behind = place_after(mark, reverse=bool(arguments.get("reverse")))
            found = [order for order in found if behind(place(order))]
        rows = found[:first]
        return {
            "nodes": [order_node(self.book, shop, order) for order in rows],
            "pageInfo": {
                "hasNextPage": len(found) > first,
                "endCursor": cursor(place(rows[-1])) if rows else None,
            },
        }

    def order(self, shop: ShopConfig, arguments: Arguments) -> dict[str, Any] | None:
        """One order with its fulfillment orders, which shipping needs (5d)."""
        order = self.book.get(shop.code, number_of(arguments.get("id"), "Order"))
        if order is None:
            return None
        node = order_node(self.book, shop, order)
        return node | {
            "fulfillmentOrders": {
                "nodes": [fulfillment_order(order)],
                "pageInfo": {"hasNextPage": False, "endCursor": None},
            }
        }

    def shop(self, shop: ShopConfig, arguments: Arguments) -> dict[str, Any]:
        return {
            "id": "gid://shopify/Shop/90000001",
            "name": shop.name,
            "myshopifyDomain": shop_domain(shop),
            "currencyCode": shop.currency,
        }

    # Mutations

    def fulfillment_create(self, shop: ShopConfig, arguments: Arguments) -> dict[str, Any]:
        """fulfillmentCreate: by fulfillment-order ids, not by the order's line ids (5d)."""
        wish = arguments.get("fulfillment")
        if not isinstance(wish, dict):
            raise GraphqlError("Argument 'fulfillment' is required", "missingRequiredArguments")
        tracking = wish.get("trackingInfo")
        tracking = tracking if isinstance(tracking, dict) else {}
        company, number = tracking.get("company"), tracking.get("number")
        if not company or not number:
            return not_fulfilled("Tracking company and number can't be blank")
        try:
            order, line_ids = self._to_fulfill(shop, wish.get("lineItemsByFulfillmentOrder"))
            now = self.book.clock()
            self.book.ship(order, Shipment(str(company), str(number), line_ids, now))
        except Refused as refusal:
            return not_fulfilled(str(refusal))
        made = fulfillment_node(order, order.shipments[-1]) | {"status": "SUCCESS"}
        return {"fulfillment": made, "userErrors": []}

    def _to_fulfill(self, shop: ShopConfig, groups: Any) -> tuple[Order, list[str]]:
        """The order and the lines that are meant: one order has one fulfillment order here."""
        if not isinstance(groups, list) or len(groups) != 1 or not isinstance(groups[0], dict):
            raise Refused("Exactly one fulfillment order must be given.")
        known = number_of(groups[0].get("fulfillmentOrderId"), "FulfillmentOrder")
        order = self.book.get(shop.code, known.removeprefix("7"))
        if order is None:
            raise Refused("Fulfillment order does not exist.")
        whole = fulfillment_order(order)
        if whole["status"] not in OPEN:
            raise Refused("The fulfillment order is not in an open state.")
        left = {n["id"]: n for n in whole["lineItems"]["nodes"] if n["remainingQuantity"] > 0}
        asked = groups[0].get("fulfillmentOrderLineItems")
        if asked is None:
            asked = [{"id": key, "quantity": n["remainingQuantity"]} for key, n in left.items()]
        line_ids: list[str] = []
        for row in (row for row in asked if isinstance(row, dict)):
            node = left.pop(str(row.get("id")), None)
            if node is None or not 1 <= row.get("quantity", 0) <= node["remainingQuantity"]:
                raise Refused("Invalid fulfillment order line item quantity requested.")
            if row["quantity"] != node["remainingQuantity"]:
                raise Refused("The sandbox ships the pieces of one line together.")
            line_ids.append(number_of(node["lineItem"]["id"], "LineItem"))
        if not line_ids:
            raise Refused("Nothing to fulfill.")
        return order, line_ids


def not_fulfilled(why: str) -> dict[str, Any]:
    return {"fulfillment": None, "userErrors": [{"field": ["fulfillment"], "message": why}]}


def number_of(gid: object, kind: str) -> str:
    """The number at the end of a GID of ``kind``; GraphqlError if it is none."""
    match = re.fullmatch(rf"gid://shopify/{kind}/(\d+)", str(gid))
    if match is None:
        raise GraphqlError(f"Invalid global id '{gid}'", "argumentLiteralsIncompatible")
    return match[1]


def gid(kind: str, number: object) -> str:
    return f"gid://shopify/{kind}/{number}"


# The walk over orders


def search(text: str) -> Callable[[Order], bool]:
    """What ``query`` asks for. GraphqlError for what this sandbox cannot search by."""
    tests: list[Callable[[Order], bool]] = []
    at = 0
    text = text.strip()
    while at < len(text):
        match = TERM.match(text, at)
        if match is None:
            raise GraphqlError(f"cannot search by {text[at:]!r}")
        at = match.end()
        tests.append(term(match[1], match[2], match[3] or match[4] or match[5] or ""))
    return lambda order: all(test(order) for test in tests)


def term(field: str, way: str, value: str) -> Callable[[Order], bool]:
    if field in {"updated_at", "created_at"}:
        try:
            bound = datetime.fromisoformat(value).timestamp()
        except ValueError as error:
            raise GraphqlError(f"Invalid timestamp {value!r} for {field}") from error
        compare = COMPARE[way]
        if field == "updated_at":
            return lambda order: compare(int(order.modified), bound)
        return lambda order: compare(int(order.created), bound)
    if field == "id" and not way:
        return lambda order: order.number == value
    if field == "name" and not way:
        return lambda order: str(order.extra.get("name")) == value.removeprefix("#")
    raise GraphqlError(f"cannot search by {field}{way}")


Place = tuple[int, int]


def sort_place(key: str) -> Callable[[Order], Place]:
    if key == "UPDATED_AT":
        return lambda order: (int(order.modified), int(order.number))
    if key in {"CREATED_AT", "PROCESSED_AT"}:
        return lambda order: (int(order.created), int(order.number))
    if key == "ID":
        return lambda order: (int(order.number), 0)
    raise GraphqlError(f"sortKey {key} is not known here", "argumentLiteralsIncompatible")


def cursor(place: Place) -> str:
    text = json.dumps({"last_value": place[0], "last_id": place[1]}, separators=(",", ":"))
    return base64.b64encode(text.encode()).decode()


def read_cursor(text: object) -> Place:
    try:
        facts = json.loads(base64.b64decode(str(text), validate=True))
        return int(facts["last_value"]), int(facts["last_id"])
    except (ValueError, KeyError, TypeError) as error:
        raise GraphqlError(f"`{text}` is not a valid cursor.") from error


def place_after(mark: Place, *, reverse: bool) -> Callable[[Place], bool]:
    return lambda place: place < mark if reverse else place > mark


# Writing orders down


def name_of(book: Book, order: Order) -> int:
    """The number people see, given out in the order of first sight."""
    if "name" not in order.extra:
        order.extra["name"] = FIRST_NAME + len(book.records["shopify_name"])
        facts = {"shop": order.shop, "number": order.number, "name": order.extra["name"]}
        book.record("shopify_name", facts)
        book.keep(order)
    return int(order.extra["name"])


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
    if order.state in {CLOSED_UNPAID, CLOSED_REFUNDED} or line not in order.unshipped:
        return 0
    return current(line)


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
        "note": order.remark or None,
        "tags": [],
        "customAttributes": [],
        "email": email(order),
        "phone": None,
        "clientIp": order.buyer.ip or None,
        "customer": {"id": gid("Customer", customer_id(order))},
        **{name: bag(fen, in_currency) for name, fen in sums.items()},
        "taxesIncluded": True,
        "discountApplications": {"nodes": discount_nodes(order, in_currency)},
        "lineItems": {
            "nodes": [line_node(order, line, in_currency) for line in order.lines],
            "pageInfo": {"hasNextPage": False, "endCursor": None},
        },
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
        stock = gid("InventoryItem", int(line.platform_sku_id) + 1_000)
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
        "lineItems": {"nodes": rows, "pageInfo": {"hasNextPage": False, "endCursor": None}},
    }


# Webhooks


class Pusher:
    """Tells the center of every change by webhooks in the REST shape (5e)."""

    def __init__(self, book: Book, center_url: str, outgoing: Outgoing | None = None) -> None:
        self.book = book
        self.center_url = center_url
        self.outgoing = outgoing or Outgoing(book)
        self._told: dict[str, str] = {}
        book.on_change(self._changed)

    async def run(self) -> None:
        await self.outgoing.run()

    def _changed(self, order: Order, event: str) -> None:
        shop = self.book.shops[order.shop]
        if shop.channel != "shopify":
            return
        for refund in order.refunds:
            status = transaction_status(refund)
            if self._told.get(refund.refund_id) != status:
                self._told[refund.refund_id] = status
                self._put(shop, order, "refunds/create", refund_body(order, refund, shop))
        for topic in topics(order, event):
            self._put(shop, order, topic, order_rest(self.book, shop, order))

    def _put(self, shop: ShopConfig, order: Order, topic: str, payload: Mapping[str, Any]) -> None:
        # Ruby writes slashes with a backslash; who reads and dumps again loses the signature.
        text = json.dumps(payload, ensure_ascii=False, separators=(",", ":")).replace("/", "\\/")
        body = text.encode()
        event = digest(shop.code, order.number, topic, order.modified, text, length=32)
        headers = {
            "Content-Type": "application/json",
            "X-Shopify-Topic": topic,
            "X-Shopify-Hmac-SHA256": webhook_hmac(body, shop.app_secret),
            "X-Shopify-Shop-Domain": shop_domain(shop),
            "X-Shopify-API-Version": str(shop.options.get("api_version", "2026-04")),
            "X-Shopify-Webhook-Id": uuid_of(event),
            "X-Shopify-Event-Id": uuid_of(digest("event", event)),
            "X-Shopify-Triggered-At": f"{utc(self.book.clock()):%Y-%m-%dT%H:%M:%S.%fZ}",
        }
        facts = {
            "shop": shop.code,
            "number": order.number,
            "topic": topic,
            "id": headers["X-Shopify-Webhook-Id"],
        }
        url = hook(self.center_url, "shopify", shop.code)
        self.outgoing.put(Push(url, body, lambda: headers, said_ok, facts))


def uuid_of(text: str) -> str:
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:32]}"


def topics(order: Order, event: str) -> tuple[str, ...]:
    if event == "created":
        return ("orders/create",)
    if event == "paid":
        return ("orders/paid", "orders/updated")
    if event == "closed" and canceled(order)[0] is not None:
        return ("orders/cancelled", "orders/updated")
    return ("orders/updated",)


def zoned(at: float | None) -> str | None:
    """In the shop's zone with its offset, as webhooks write it (5c)."""
    return None if at is None else utc(at).astimezone(BEIJING).isoformat(timespec="seconds")


def order_rest(book: Book, shop: ShopConfig, order: Order) -> dict[str, Any]:
    """The REST shape: snake case, numeric ids, money as text (5c)."""
    number, lines = name_of(book, order), order.lines
    canceled_at, reason = canceled(order)
    shown = fulfillment(order)
    cuts = sum(cut_fen(line) for line in lines)
    subtotal = sum(line.amount_fen for line in lines)
    return {
        "id": int(order.number),
        "admin_graphql_api_id": gid("Order", order.number),
        "name": f"#{number}",
        "order_number": number,
        "number": number - 1000,
        "confirmed": True,
        "test": False,
        "created_at": zoned(order.created),
        "updated_at": zoned(order.modified),
        "processed_at": zoned(order.created),
        "cancelled_at": zoned(canceled_at),
        "cancel_reason": None if reason is None else reason.lower(),
        "closed_at": zoned(order.finished),
        "currency": shop.currency,
        "presentment_currency": shop.currency,
        "financial_status": financial(order).lower(),
        "fulfillment_status": {"FULFILLED": "fulfilled", "PARTIALLY_FULFILLED": "partial"}.get(
            shown
        ),
        "total_price": yuan(order.payable_fen),
        "current_total_price": yuan(order.payable_fen - refunded_fen(order)),
        "subtotal_price": yuan(subtotal),
        "total_discounts": yuan(cuts),
        "total_line_items_price": yuan(subtotal + cuts),
        "total_tax": "0.00",
        "total_outstanding": yuan(order.payable_fen if order.paid is None else 0),
        "note": order.remark or None,
        "note_attributes": [],
        "tags": "",
        "discount_codes": [],
        "discount_applications": [
            {"type": "automatic", "title": title, "value": yuan(fen), "value_type": "fixed_amount"}
            for title, fen in discounts(order)
        ],
        "email": email(order),
        "phone": None,
        "browser_ip": order.buyer.ip or None,
        "client_details": {
            "browser_ip": order.buyer.ip or None,
            "accept_language": "zh-CN",
            "user_agent": "Mozilla/5.0 (sandbox)",
        },
        "customer": {
            "id": customer_id(order),
            "email": email(order),
            "first_name": order.buyer.name[1:],
            "last_name": order.buyer.name[:1],
            "phone": f"+86{order.buyer.phone}" if order.buyer.phone else None,
        },
        "line_items": [line_rest(order, line, shop) for line in lines],
        "shipping_lines": [
            {
                "id": 1,
                "title": "标准快递",
                "price": yuan(order.freight_fen),
                "discounted_price": yuan(order.freight_fen),
                "code": "STD",
            }
        ],
        "shipping_address": address_rest(order),
        "billing_address": None,
        "fulfillments": [fulfillment_rest(order, shipment) for shipment in order.shipments],
        "refunds": [refund_body(order, refund, shop) for refund in order.refunds],
        "payment_gateway_names": ["alipay"],
        "source_name": "web",
        "taxes_included": True,
    }


def line_rest(order: Order, line: Line, shop: ShopConfig) -> dict[str, Any]:
    price, cut = yuan(list_fen(line)), cut_fen(line)
    money = {"amount": price, "currency_code": shop.currency}
    allocated = []
    if cut:
        off = {"amount": yuan(cut), "currency_code": shop.currency}
        allocated.append(
            {
                "amount": yuan(cut),
                "amount_set": {"shop_money": off, "presentment_money": dict(off)},
                "discount_application_index": discount_index(order, line),
            }
        )
    left = unfulfilled(order, line)
    shipped = bool(order.shipments) and line not in order.unshipped
    product = int(digest("product", line.sku_code or line.title, length=10), 16) % 10**11
    return {
        "id": int(line.line_id),
        "variant_id": int(line.platform_sku_id) if line.platform_sku_id else None,
        "product_id": int(f"13{product:011d}"),
        "sku": line.outer_code,
        "title": line.title,
        "name": line.title,
        "quantity": line.quantity,
        "current_quantity": current(line),
        "fulfillable_quantity": left,
        "fulfillment_status": "fulfilled" if shipped else None,
        "gift_card": False,
        "grams": 500,
        "price": price,
        "price_set": {"shop_money": money, "presentment_money": dict(money)},
        "total_discount": "0.00",
        "discount_allocations": allocated,
        "properties": [],
        "requires_shipping": True,
        "taxable": True,
        "vendor": shop.name,
        "tax_lines": [],
        "duties": [],
    }


def address_rest(order: Order) -> dict[str, Any]:
    facts = address_facts(order)
    return {
        "first_name": facts["first"],
        "last_name": facts["last"],
        "name": facts["name"],
        "address1": facts["address1"],
        "address2": None,
        "city": facts["city"],
        "province": facts["province"],
        "province_code": facts["code"],
        "country": "China",
        "country_code": "CN",
        "zip": facts["zip"],
        "phone": facts["phone"],
        "latitude": None,
        "longitude": None,
        "company": None,
    }


def fulfillment_rest(order: Order, shipment: Shipment) -> dict[str, Any]:
    return {
        "id": int(fulfillment_id(order, shipment)),
        "order_id": int(order.number),
        "status": "success",
        "created_at": zoned(shipment.at),
        "tracking_company": shipment.carrier_code,
        "tracking_number": shipment.tracking_number,
        "tracking_numbers": [shipment.tracking_number],
    }


def refund_body(order: Order, refund: Refund, shop: ShopConfig) -> dict[str, Any]:
    """refunds/create: line sums are JSON numbers, the transaction's money is text."""
    kind = restock(order, refund)
    number = int(refund.refund_id)
    rows = [
        {
            "id": number * 100 + turn,
            "line_item_id": int(line.line_id),
            "location_id": LOCATION,
            "quantity": line.quantity,
            "restock_type": kind,
            "subtotal": line.amount_fen / 100,
            "total_tax": 0.0,
        }
        for turn, line in enumerate(refund_lines(order, refund), 1)
    ]
    return {
        "id": number,
        "order_id": int(order.number),
        "created_at": zoned(refund.created),
        "processed_at": zoned(refund.modified),
        "note": refund.reason,
        "restock": kind != "no_restock",
        "user_id": None,
        "admin_graphql_api_id": gid("Refund", refund.refund_id),
        "refund_line_items": rows,
        "transactions": [
            {
                "id": number * 10 + 1,
                "order_id": int(order.number),
                "kind": "refund",
                "status": transaction_status(refund),
                "amount": yuan(refund.amount_fen),
                "currency": shop.currency,
                "gateway": "alipay",
            }
        ],
        "order_adjustments": [],
    }
