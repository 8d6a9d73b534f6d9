"""Pinduoduo's lists and details (channels.md 4b, 4d)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from ordercenter.sandbox.platforms.pinduoduo.bodies import (
    AFTER_SALES,
    ORDER_STATUS,
    order_body,
    refund_body,
    refund_facts,
    refund_status,
)
from ordercenter.sandbox.platforms.pinduoduo.errors import (
    PopError,
    Serve,
    invalid,
    number,
    paged,
    window,
)
from ordercenter.sandbox.rendered import LastList, Rendered

if TYPE_CHECKING:
    from ordercenter.sandbox.book import Book, Order, ShopConfig

LONGEST_WINDOW: Final = 1_800  # 4b
LONGEST_CONFIRMED: Final = 86_400
REACHES_BACK: Final = 93 * 86_400
CONFIRMED_AFTER: Final = 1  # seconds from payment; the body says the same
NUMBERS_AT_A_TIME: Final = 100
ALL: Final = 5
Answer = tuple[str, dict[str, Any]]


class Reading:
    def __init__(self, book: Book) -> None:
        self.book = book
        self.bodies = Rendered(lambda _, order: order_body(order))
        self.lists = LastList(book)

    def methods(self) -> dict[str, Serve]:
        return {
            "pdd.order.number.list.increment.get": self.increment,
            "pdd.order.list.get": self.confirmed,
            "pdd.order.information.get": self.order,
            "pdd.order.status.get": self.status,
            "pdd.refund.list.increment.get": self.refunds,
            "pdd.refund.information.get": self.refund,
            "pdd.refund.status.check": self.refund_check,
        }

    def increment(self, shop: ShopConfig, params: Mapping[str, str]) -> Answer:
        """number.list.increment.get: half an hour at most, changed last first (4b)."""
        start, end = window(params, "start_updated_at", "end_updated_at", LONGEST_WINDOW)
        number(params, "is_lucky_flag")
        asked = ("changed", start, end, *wishes(params))
        found = self.lists.of(
            shop, asked, lambda: chosen(self.book.changed(shop.code, start, end), params)
        )
        return "order_sn_increment_get_response", self._listed(shop, params, found, "order_sn_list")

    def confirmed(self, shop: ShopConfig, params: Mapping[str, str]) -> Answer:
        """order.list.get: by the time an order was confirmed, a day at most (4b)."""
        start, end = window(params, "start_confirm_at", "end_confirm_at", LONGEST_CONFIRMED)
        if start < self.book.now(shop.code) - REACHES_BACK:
            raise invalid("只能查询成交时间三个月以内的订单")
        first, last = start - CONFIRMED_AFTER, end - CONFIRMED_AFTER
        asked = ("confirmed", start, end, *wishes(params))
        found = self.lists.of(
            shop, asked, lambda: chosen(self.book.paid(shop.code, first, last), params)
        )
        return "order_list_get_response", self._listed(shop, params, found, "order_list")

    def order(self, shop: ShopConfig, params: Mapping[str, str]) -> Answer:
        order = self.find(shop, params)
        if self.book.is_late(order):
            raise no_order()
        return "order_info_get_response", {"order_info": self.bodies.of(shop, order)}

    def status(self, shop: ShopConfig, params: Mapping[str, str]) -> Answer:
        """order.status.get: camel case in the one field (4b)."""
        asked = self._asked(shop, params)
        rows = [
            {
                "orderSn": order.number,
                "order_status": ORDER_STATUS[order.state],
                "refund_status": refund_status(order),
            }
            for order in asked
        ]
        return "order_status_get_response", {"order_status_list": rows}

    def refunds(self, shop: ShopConfig, params: Mapping[str, str]) -> Answer:
        """refund.list.increment.get: half an hour at most; yuan as text (4d)."""
        start, end = window(params, "start_updated_at", "end_updated_at", LONGEST_WINDOW)
        status = number(params, "after_sales_status")
        kind = number(params, "after_sales_type")
        found = [
            pair
            for pair in reversed(self.book.refunds(shop.code, start, end))
            if status in {1, AFTER_SALES[pair[1].state]} and kind in {1, 2}
        ]
        rows, _ = paged(found, params)
        return "refund_increment_get_response", {
            "total_count": len(found),
            "refund_list": [refund_body(*pair) for pair in rows],
        }

    def refund(self, shop: ShopConfig, params: Mapping[str, str]) -> Answer:
        """refund.information.get: the fields stand in the answer itself, without a key."""
        order = self.find(shop, params)
        found = self.book.refund(shop.code, params.get("after_sales_id", ""))
        if not params.get("after_sales_id") and order.refunds:
            found = order, order.refunds[-1]
        if found is None or found[0] is not order:
            raise invalid("售后单不存在")
        return "", refund_facts(*found)

    def refund_check(self, shop: ShopConfig, params: Mapping[str, str]) -> Answer:
        """refund.status.check: which of these have an open after-sale (4d)."""
        asked = self._asked(shop, params)
        rows = [{"order_sn": order.number} for order in asked if order.open_refunds()]
        return "refund_status_check_response", {"order_sns_exists_refund": rows}

    def find(self, shop: ShopConfig, params: Mapping[str, str]) -> Order:
        order = self.book.get(shop.code, params.get("order_sn", ""))
        if order is None or order.paid is None:
            raise no_order()
        return order

    def _asked(self, shop: ShopConfig, params: Mapping[str, str]) -> list[Order]:
        numbers = [text for text in params.get("order_sns", "").split(",") if text]
        if not 1 <= len(numbers) <= NUMBERS_AT_A_TIME:
            raise invalid("order_sns不能为空，且最多100个")
        asked = (self.book.get(shop.code, text) for text in numbers)
        return [order for order in asked if order is not None and order.paid is not None]

    def _listed(
        self, shop: ShopConfig, params: Mapping[str, str], found: list[Order], key: str
    ) -> dict[str, Any]:
        rows, has_next = paged(found, params)
        counted = params.get("use_has_next") != "true"
        return {
            "has_next": False if counted else has_next,
            key: [self.bodies.of(shop, order) for order in rows],
            "total_count": len(found) if counted else 0,
        }


def wishes(params: Mapping[str, str]) -> tuple[int, int]:
    """Which states of the order and of its refund are asked for."""
    return number(params, "order_status"), number(params, "refund_status")


def chosen(found: list[Order], params: Mapping[str, str]) -> list[Order]:
    """Only orders that are confirmed, that is paid: the others do not exist yet."""
    state, refund = wishes(params)
    return [
        order
        for order in reversed(found)
        if order.paid is not None
        and state in {ALL, ORDER_STATUS[order.state]}
        and refund in {ALL, refund_status(order)}
    ]


def no_order() -> PopError:
    return invalid("订单不存在")
