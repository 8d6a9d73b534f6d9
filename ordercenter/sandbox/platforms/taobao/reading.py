"""The lists and details of trades and refunds (channels.md 1b, 1d)."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from ordercenter.sandbox.platforms.taobao.bodies import (
    REFUND_STATUS,
    refund_body,
    status_of,
    trade_body,
)
from ordercenter.sandbox.platforms.taobao.errors import (
    Serve,
    TopError,
    business,
    fields_of,
    invalid,
    moment,
    number,
    required,
    window,
)
from ordercenter.sandbox.rendered import LastList, Rendered

if TYPE_CHECKING:
    from ordercenter.sandbox.book import Book, Order, ShopConfig

LONGEST_WINDOW: Final = 86_400  # 1b
REACHES_BACK: Final = 93 * 86_400  # trades of the last three months
LARGEST_PAGE: Final = 100
DEFAULT_PAGE: Final = 40
# The list must hold these before the platform adds the oaid (1b).
FOR_OAID: Final = frozenset(
    {"receiver_name", "receiver_address", "created", "receiver_mobile", "receiver_phone"}
)


class Reading:
    def __init__(self, book: Book) -> None:
        self.book = book
        self.bodies = Rendered(trade_body)
        self.lists = LastList(book)
        self._turns = itertools.count()

    def methods(self) -> dict[str, Serve]:
        return {
            "taobao.trades.sold.increment.get": self.increment,
            "taobao.trades.sold.incrementv.get": self.incrementv,
            "taobao.trades.sold.get": self.sold,
            "taobao.trade.fullinfo.get": self.trade,
            "taobao.refunds.receive.get": self.refunds,
            "taobao.refund.get": self.refund,
        }

    def increment(self, shop: ShopConfig, params: Mapping[str, str]) -> dict[str, Any]:
        """trades.sold.increment.get: at most one day, changed last first (1b)."""
        start, end = self._span(shop, params, "start_modified", "end_modified")
        asked = ("increment", start, end, params.get("status"))
        found = self.lists.of(
            shop, asked, lambda: chosen(self.book.changed(shop.code, start, end)[::-1], params)
        )
        return self._listed(shop, params, found)

    def incrementv(self, shop: ShopConfig, params: Mapping[str, str]) -> dict[str, Any]:
        """trades.sold.incrementv.get: by the time of entry, entered first first (1b)."""
        start, end = self._span(shop, params, "start_create", "end_create")
        found = chosen(self.book.changed(shop.code, start, end), params)
        return self._listed(shop, params, found)

    def sold(self, shop: ShopConfig, params: Mapping[str, str]) -> dict[str, Any]:
        """trades.sold.get: by creation, created last first; three months if no time is named."""
        now = self.book.now(shop.code)
        named = params.get("start_created"), params.get("end_created")
        start = moment(params, "start_created") if named[0] else now - REACHES_BACK
        end = moment(params, "end_created") if named[1] else now
        if start > end or start < now - REACHES_BACK:
            raise invalid("start_created", "只能查询三个月内的订单")
        found = chosen(self.book.created(shop.code, start, end)[::-1], params)
        return self._listed(shop, params, found)

    def trade(self, shop: ShopConfig, params: Mapping[str, str]) -> dict[str, Any]:
        fields = fields_of(params)
        order = self.find(shop, params)
        if self.book.is_late(order):
            raise no_trade()
        return {"trade": self._trade(shop, order, fields)}

    def refunds(self, shop: ShopConfig, params: Mapping[str, str]) -> dict[str, Any]:
        """refunds.receive.get: changed last first (1d)."""
        fields = fields_of(params)
        start, end = window(params, "start_modified", "end_modified")
        status = params.get("status")
        found = [
            pair
            for pair in reversed(self.book.refunds(shop.code, start, end))
            if status in {None, "", REFUND_STATUS[pair[1].state]}
        ]
        rows, facts = self._page(found, params)
        refunds = [only(refund_body(shop, *pair), fields) for pair in rows]
        return facts | self._wrapped("refunds", "refund", refunds)

    def refund(self, shop: ShopConfig, params: Mapping[str, str]) -> dict[str, Any]:
        fields = fields_of(params)
        required(params, "refund_id")
        found = self.book.refund(shop.code, params["refund_id"])
        if found is None:
            raise business("isv.refund-not-exist", "退款单不存在")
        return {"refund": only(refund_body(shop, *found), fields)}

    def find(self, shop: ShopConfig, params: Mapping[str, str]) -> Order:
        required(params, "tid")
        order = self.book.get(shop.code, params["tid"])
        if order is None:
            raise no_trade()
        return order

    # Their pieces

    def _span(
        self, shop: ShopConfig, params: Mapping[str, str], first: str, last: str
    ) -> tuple[float, float]:
        start, end = window(params, first, last)
        if end - start > LONGEST_WINDOW:
            raise invalid(last, "查询时间跨度不能超过一天")
        if start < self.book.now(shop.code) - REACHES_BACK:
            raise invalid(first, "只能查询三个月内的订单")
        return start, end

    def _listed(
        self, shop: ShopConfig, params: Mapping[str, str], found: list[Order]
    ) -> dict[str, Any]:
        fields = fields_of(params)
        rows, facts = self._page(found, params)
        trades = [self._trade(shop, order, fields) for order in rows]
        return facts | self._wrapped("trades", "trade", trades)

    def _page(
        self, found: list[Any], params: Mapping[str, str]
    ) -> tuple[list[Any], dict[str, Any]]:
        page = number(params, "page_no", 1)
        size = number(params, "page_size", DEFAULT_PAGE)
        if page < 1:
            raise invalid("page_no", "页码从1开始")
        if not 1 <= size <= LARGEST_PAGE:
            raise invalid("page_size", "每页条数为1到100")
        rows = found[(page - 1) * size : page * size]
        if params.get("use_has_next") == "true":
            return rows, {"has_next": page * size < len(found)}
        return rows, {"total_results": len(found)}

    def _wrapped(self, outer: str, inner: str, rows: list[Any]) -> dict[str, Any]:
        """Lists are wrapped twice; an empty one is ``{}`` one time and no key the next."""
        if rows:
            return {outer: {inner: rows}}
        return {outer: {}} if next(self._turns) % 2 else {}

    def _trade(self, shop: ShopConfig, order: Order, fields: frozenset[str]) -> dict[str, Any]:
        if fields.issuperset(FOR_OAID):
            return only(self.bodies.of(shop, order), fields | {"oaid"})
        return only(self.bodies.of(shop, order), fields - {"oaid"})


def chosen(found: list[Order], params: Mapping[str, str]) -> list[Order]:
    status = params.get("status")
    return [order for order in found if status_of(order) == status] if status else found


def no_trade() -> TopError:
    return business("isv.trade-not-exist", "交易不存在")


def only(body: dict[str, Any], fields: frozenset[str]) -> dict[str, Any]:
    """What was asked for, and nothing else. ``orders.oid`` asks for one field of the lines."""
    chosen = {name: value for name, value in body.items() if name in fields}
    parts = {name.partition(".")[2] for name in fields if name.startswith("orders.")}
    if parts and "orders" not in fields and "orders" in body:
        lines = body["orders"]["order"]
        chosen["orders"] = {
            "order": [{k: v for k, v in line.items() if k in parts} for line in lines]
        }
    return chosen
