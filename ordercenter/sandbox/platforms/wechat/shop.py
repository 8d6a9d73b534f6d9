"""The WeChat shop's interface (channels.md 6a to 6d): JSON posts, a token in the query.

Lists give ids only; every order is asked for by itself. What no stored page says is chosen
here and marked as ours.
"""

from __future__ import annotations

import base64
import json
from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from starlette.routing import Route

from ordercenter.sandbox.book import DONE, OPEN_REFUNDS, REFUSED, Refused, Shipment
from ordercenter.sandbox.platforms.wechat.bodies import (
    aftersale_body,
    order_body,
    product_id,
    status_of,
)
from ordercenter.sandbox.platforms.wechat.tokens import (
    BAD_BODY,
    TOO_OFTEN,
    WRONG_VERB,
    Tokens,
    WechatError,
    body_of,
)
from ordercenter.sandbox.shelf import Shelf
from ordercenter.sandbox.wire import answer, digest

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from ordercenter.sandbox.book import Book, Line, Listed, Order, Refund, ShopConfig

TOKEN_DOOR: Final = "cgi-bin/stable_token"  # noqa: S105 - a path
LONGEST_WINDOW: Final = 7 * 86_400
LONGEST_REFUND_WINDOW: Final = 86_400
LARGEST_PAGE: Final = 100
KEY_OF_OTHERS, TOO_NARROW = 606006, 31042
# Ours: no stored page lists the shop's business codes; the last one is seen in a public client.
NO_ORDER, NO_REFUND, NO_PRODUCT = 10020050, 10020150, 10020021
NOT_NOW, TOO_MANY, NO_COMPANY, NO_WISH = 10020052, 10020053, 10020054, 10020055
NO_STOCK, ADDRESS_ASKED = 10020056, 10020115
ADD, TAKE, SET = 1, 2, 3
STOCK_UPDATES_A_MINUTE: Final = 60
"""Of one SKU; the limit is real, its size is ours. The shop's option of this name goes first."""
COMPANIES: Final = {
    "SF": "顺丰速运",
    "ZTO": "中通快递",
    "YTO": "圆通速递",
    "STO": "申通快递",
    "YD": "韵达速递",
    "JD": "京东快递",
    "EMS": "EMS",
    "JTSD": "极兔速递",
}
NUMBERS_TOO: Final = frozenset({"order_id", "product_id", "sku_id", "after_sale_order_id"})
Wish = Mapping[str, Any]
Serve = Callable[["ShopConfig", Wish], dict[str, Any]]
Row = tuple[int, str]
"""A time and an id: what lists are sorted by."""


def routes(book: Book) -> list[Route]:
    return [Route("/wechat/{path:path}", Shop(book).handle, methods=["GET", "POST"])]


def bad(name: str) -> WechatError:
    return WechatError(BAD_BODY, f"invalid args: {name}")


class Shop:
    def __init__(self, book: Book) -> None:
        self.book = book
        self.tokens = Tokens(book, "wechat")
        self.shelf = Shelf(book, "wechat")
        self._stock_calls: defaultdict[tuple[str, str], deque[float]] = defaultdict(deque)
        self._doors: dict[str, Serve] = {
            "channels/ec/order/list/get": self.order_list,
            "channels/ec/order/get": self.order_get,
            "channels/ec/order/delivery/send": self.delivery_send,
            "channels/ec/order/deliveryinfo/update": self.delivery_update,
            "channels/ec/order/deliverycompanylist/get": self.companies,
            "channels/ec/order/merchantnotes/update": self.notes_update,
            "channels/ec/order/addressmodify/accept": self.address_accept,
            "channels/ec/order/addressmodify/reject": self.address_reject,
            "channels/ec/aftersale/getaftersalelist": self.aftersale_list,
            "channels/ec/aftersale/getaftersaleorder": self.aftersale_get,
            "channels/ec/aftersale/acceptapply": self.aftersale_accept,
            "channels/ec/aftersale/rejectapply": self.aftersale_reject,
            "channels/ec/product/stock/get": self.stock_get,
            "channels/ec/product/stock/update": self.stock_update,
        }

    async def handle(self, request: Request) -> Response:
        path = request.path_params["path"]
        if path not in self._doors and path != TOKEN_DOOR:
            return answer({"errcode": -1, "errmsg": "no such interface"}, status=404)
        if request.method != "POST":
            return answer(WechatError(WRONG_VERB, "require POST method").body())
        try:
            wish = await body_of(request)
            if path == TOKEN_DOOR:
                return answer(self.tokens.give(wish))
            shop = self.tokens.check(request.query_params.get("access_token", ""))
            said = self._doors[path](shop, wish)
        except WechatError as error:
            return answer(error.body())
        if self.book.weather.strikes("wechat", "odd_shapes"):
            said = odd_shape(said)
        return answer({"errcode": 0, "errmsg": "ok", **said})

    # Reading

    def order_list(self, shop: ShopConfig, wish: Wish) -> dict[str, Any]:
        """Ids of the orders changed, or created, within at most seven days (6b)."""
        updated = span(wish, "update_time_range", LONGEST_WINDOW)
        created = span(wish, "create_time_range", LONGEST_WINDOW)
        if (updated is None) == (created is None):
            raise bad("update_time_range")
        if updated is not None:
            found = self.book.changed(shop.code, *updated)
            rows = [(int(order.modified), order) for order in found]
        else:
            found = self.book.created(shop.code, *(created or (0, 0)))
            rows = [(int(order.created), order) for order in found]
        status = wish.get("status")
        ids = [
            (at, order.number) for at, order in rows if status is None or status_of(order) == status
        ]
        page, more, key = turn_page(sorted(ids), wish)
        return {"order_id_list": page, "has_more": more, "next_key": key}

    def order_get(self, shop: ShopConfig, wish: Wish) -> dict[str, Any]:
        order = self._order(shop, wish)
        if self.book.is_late(order):
            raise WechatError(NO_ORDER, "订单不存在")
        return {"order": order_body(shop, order, self.book.now(shop.code))}

    def companies(self, shop: ShopConfig, wish: Wish) -> dict[str, Any]:
        rows = [{"delivery_id": code, "delivery_name": name} for code, name in COMPANIES.items()]
        return {"company_list": rows}

    # Shipping

    def delivery_send(self, shop: ShopConfig, wish: Wish) -> dict[str, Any]:
        """Parcels with the pieces each holds (6d); all of them or none."""
        order = self._order(shop, wish)
        if "address_wish" in order.extra:
            raise WechatError(ADDRESS_ASKED, "买家申请修改收货地址待处理，暂不能发货")
        parcels = self._parcels(order, wish.get("delivery_list"))
        packed: defaultdict[str, int] = defaultdict(int)
        for parcel in parcels:
            for line_id, pieces in parcel.quantities.items():
                packed[line_id] += pieces
        for line in order.lines:
            if packed[line.line_id] > order.left(line):
                raise WechatError(TOO_MANY, "发货数量超过待发货数量")
        self._ship(order, parcels)
        return {}

    def delivery_update(self, shop: ShopConfig, wish: Wish) -> dict[str, Any]:
        """Replace the parcels of an order that has some (6d)."""
        order = self._order(shop, wish)
        if not order.shipments:
            raise WechatError(NOT_NOW, "订单未发货，不能修改物流信息")
        parcels = self._parcels(order, wish.get("delivery_list"))
        before = [parcel.tracking_number for parcel in order.shipments]
        order.shipments = parcels
        after = [parcel.tracking_number for parcel in parcels]
        self.book.wrote(shop.code, "reship", order.number, key=",".join(after), before=before)
        self.book.touch(order)
        return {}

    def _ship(self, order: Order, parcels: Sequence[Shipment]) -> None:
        for parcel in parcels:
            try:
                self.book.ship(order, parcel)
            except Refused as refusal:
                raise WechatError(NOT_NOW, f"订单状态不可发货：{refusal}") from refusal

    def _parcels(self, order: Order, rows: Any) -> list[Shipment]:
        if not isinstance(rows, list) or not rows:
            raise bad("delivery_list")
        return [self._parcel(order, row) for row in rows]

    def _parcel(self, order: Order, row: Any) -> Shipment:
        if not isinstance(row, dict) or row.get("deliver_type") not in {1, 3}:
            raise bad("deliver_type")
        company, number = str(row.get("delivery_id") or ""), str(row.get("waybill_id") or "")
        if row["deliver_type"] == 1 and (company not in COMPANIES or not number):
            raise WechatError(NO_COMPANY, "快递公司或运单号有误")
        virtual = row["deliver_type"] == 3
        if virtual:
            company, number = "", ""
        products = row.get("product_infos")
        if not isinstance(products, list) or not products:
            raise bad("product_infos")
        pieces: dict[str, int] = {}
        for product in products:
            line, count = self._product(order, product)
            pieces[line.line_id] = pieces.get(line.line_id, 0) + count
        at = self.book.now(order.shop)
        return Shipment(company, number, list(pieces), at, pieces, is_virtual=virtual)

    def _product(self, order: Order, product: Any) -> tuple[Line, int]:
        if not isinstance(product, dict):
            raise bad("product_infos")
        count = product.get("product_cnt")
        if not isinstance(count, int) or isinstance(count, bool) or count < 1:
            raise bad("product_cnt")
        for line in order.lines:
            known = (product_id(line.sku_code or line.title), line.platform_sku_id or "")
            if known == (product.get("product_id"), product.get("sku_id")):
                return line, count
        raise bad("product_id")

    # Notes and addresses

    def notes_update(self, shop: ShopConfig, wish: Wish) -> dict[str, Any]:
        """The merchant's note is replaced (8.18)."""
        order = self._order(shop, wish)
        text = wish.get("merchant_notes")
        if not isinstance(text, str):
            raise bad("merchant_notes")
        self.book.write_memo(order, text)
        return {}

    def address_accept(self, shop: ShopConfig, wish: Wish) -> dict[str, Any]:
        return self._answer_address(shop, wish, approve=True)

    def address_reject(self, shop: ShopConfig, wish: Wish) -> dict[str, Any]:
        return self._answer_address(shop, wish, approve=False)

    def _answer_address(self, shop: ShopConfig, wish: Wish, *, approve: bool) -> dict[str, Any]:
        order = self._order(shop, wish)
        try:
            self.book.answer_address(order, approve=approve)
        except Refused as refusal:
            raise WechatError(NO_WISH, str(refusal)) from refusal
        return {}

    # After-sales

    def aftersale_list(self, shop: ShopConfig, wish: Wish) -> dict[str, Any]:
        """Ids of the after-sales changed, or asked for, within at most 24 hours (6d)."""
        updated = ends(wish, "begin_update_time", "end_update_time", LONGEST_REFUND_WINDOW)
        created = ends(wish, "begin_create_time", "end_create_time", LONGEST_REFUND_WINDOW)
        if (updated is None) == (created is None):
            raise bad("begin_update_time")
        start, end = updated or created or (0, 0)
        # Whatever was asked for in time has changed since then, if it has changed at all.
        last = end if updated else self.book.now(shop.code)
        rows = [
            (int(refund.modified if updated else refund.created), refund.refund_id)
            for _, refund in self.book.refunds(shop.code, start, last)
        ]
        page, more, key = turn_page(sorted(row for row in rows if start <= row[0] <= end), wish)
        return {"after_sale_order_id_list": page, "has_more": more, "next_key": key}

    def aftersale_get(self, shop: ShopConfig, wish: Wish) -> dict[str, Any]:
        order, refund = self._refund(shop, wish)
        return {"after_sale_order": aftersale_body(shop, order, refund)}

    def aftersale_accept(self, shop: ShopConfig, wish: Wish) -> dict[str, Any]:
        """The merchant agrees; of a refund without goods the money goes back at once."""
        return self._settle(shop, wish, DONE, "商家同意退款")

    def aftersale_reject(self, shop: ShopConfig, wish: Wish) -> dict[str, Any]:
        reason = wish.get("reject_reason")
        if not isinstance(reason, str) or not reason:
            raise bad("reject_reason")
        return self._settle(shop, wish, REFUSED, reason)

    def _settle(self, shop: ShopConfig, wish: Wish, state: str, words: str) -> dict[str, Any]:
        order, refund = self._refund(shop, wish)
        if refund.state not in OPEN_REFUNDS:
            raise WechatError(NOT_NOW, "售后单状态不允许此操作")
        self.book.answer_stop(order, refund, stopped=state == DONE, reason=words)
        if refund.state in OPEN_REFUNDS:
            self.book.settle_refund(order, refund, state, words)
        return {}

    # Stock

    def stock_get(self, shop: ShopConfig, wish: Wish) -> dict[str, Any]:
        listed = self._listed(shop, wish)
        shown = self.shelf.shown(shop, listed)
        data = {
            "normal_stock_num": shown,
            "limited_discount_stock_num": 0,
            "warehouse_stocks": [],
            "total_stock_num": shown,
        }
        return {"data": data}

    def stock_update(self, shop: ShopConfig, wish: Wish) -> dict[str, Any]:
        """Add, take or set (6d); setting races with the buyers."""
        listed = self._listed(shop, wish)
        way, num = wish.get("diff_type"), wish.get("num")
        if way not in {ADD, TAKE, SET}:
            raise bad("diff_type")
        if not isinstance(num, int) or isinstance(num, bool) or num < 0:
            raise bad("num")
        self._count_stock_call(shop, listed)
        self.shelf.called()
        try:
            if way == SET:
                self.shelf.put(shop, listed, num)
            else:
                self.shelf.change(shop, listed, num if way == ADD else -num)
        except Refused as refusal:
            raise WechatError(NO_STOCK, str(refusal)) from refusal
        return {"data": {"product_id": wish["product_id"], "sku_id": wish["sku_id"]}}

    def _count_stock_call(self, shop: ShopConfig, listed: Listed) -> None:
        now = self.book.clock()
        calls = self._stock_calls[shop.code, str(listed.platform_sku_id)]
        while calls and calls[0] <= now - 60:
            calls.popleft()
        if len(calls) >= int(shop.options.get("stock_updates_a_minute", STOCK_UPDATES_A_MINUTE)):
            raise WechatError(TOO_OFTEN, "api freq out of limit: stock of one sku")
        calls.append(now)

    def _listed(self, shop: ShopConfig, wish: Wish) -> Listed:
        sku_id = wish.get("sku_id")
        listed = self.shelf.find(shop, sku_id=sku_id) if isinstance(sku_id, str) else None
        if listed is None or wish.get("product_id") != product_id(listed.goods):
            raise WechatError(NO_PRODUCT, "商品或SKU不存在")
        return listed

    # Finding

    def _order(self, shop: ShopConfig, wish: Wish) -> Order:
        number = wish.get("order_id")
        if not isinstance(number, str) or not number:
            raise bad("order_id")
        order = self.book.get(shop.code, number)
        if order is None:
            raise WechatError(NO_ORDER, "订单不存在")
        return order

    def _refund(self, shop: ShopConfig, wish: Wish) -> tuple[Order, Refund]:
        wanted = wish.get("after_sale_order_id")
        if not isinstance(wanted, str) or not wanted:
            raise bad("after_sale_order_id")
        found = self.book.refund(shop.code, wanted)
        if found is None:
            raise WechatError(NO_REFUND, "售后单不存在")
        return found


# Windows and pages


def ends(wish: Wish, first: str, last: str, longest: int) -> tuple[int, int] | None:
    """Both ends in seconds, or None where neither is named."""
    if first not in wish and last not in wish:
        return None
    start, end = wish.get(first), wish.get(last)
    if not isinstance(start, int) or not isinstance(end, int):
        raise bad(first)
    if start >= end:
        raise WechatError(TOO_NARROW, "time range is too narrow")
    if end - start > longest:
        raise bad(f"{first}: time range is too long")
    return start, end


def span(wish: Wish, name: str, longest: int) -> tuple[int, int] | None:
    told = wish.get(name)
    if told is None:
        return None
    if not isinstance(told, dict):
        raise bad(name)
    return ends(told, "start_time", "end_time", longest)


def turn_page(rows: list[Row], wish: Wish) -> tuple[list[str], bool, str]:
    """The page behind ``next_key``, whether more follow, and the key of the next.

    A key is good for the very parameters it was given with: else 606006 (6a).
    """
    size = wish.get("page_size", LARGEST_PAGE)
    if not isinstance(size, int) or isinstance(size, bool) or not 1 <= size <= LARGEST_PAGE:
        raise bad("page_size")
    asked = {name: value for name, value in wish.items() if name != "next_key"}
    mark = digest(json.dumps(asked, sort_keys=True), length=16)
    if key := wish.get("next_key"):
        last = read_key(str(key), mark)
        rows = [row for row in rows if row > last]
    page = rows[:size]
    place = json.dumps([mark, *page[-1]]) if page else json.dumps([mark, 0, ""])
    following = base64.urlsafe_b64encode(place.encode()).decode()
    return [number for _, number in page], len(rows) > size, following


def read_key(key: str, mark: str) -> Row:
    try:
        given, at, number = json.loads(base64.urlsafe_b64decode(key))
    except (ValueError, TypeError) as error:
        raise bad("next_key") from error
    if given != mark:
        raise WechatError(KEY_OF_OTHERS, "next_key does not match the parameters")
    return int(at), str(number)


def odd_shape(value: Any) -> Any:
    """Without what is empty, ids in numbers and the time of payment in text: legal too (8.3)."""
    if isinstance(value, list):
        return [odd_shape(entry) for entry in value]
    if not isinstance(value, dict):
        return value
    odd: dict[str, Any] = {}
    for name, inner in value.items():
        if inner is None or inner == []:
            continue
        if name in NUMBERS_TOO and isinstance(inner, str) and inner.isdigit():
            odd[name] = int(inner)
        else:
            odd[name] = str(inner) if name == "pay_time" else odd_shape(inner)
    return odd
