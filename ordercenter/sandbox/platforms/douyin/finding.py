"""Finding a Douyin shop's orders and after-sales by the numbers callers give."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ordercenter.sandbox.platforms.douyin.wire import failed, missing

if TYPE_CHECKING:
    from ordercenter.sandbox.book import Book, Order, Refund, ShopConfig


def find_order(book: Book, shop: ShopConfig, number: Any, name: str) -> Order:
    """The order of that number; DoudianError where there is none."""
    if not isinstance(number, str) or not number:
        raise missing(name)
    order = book.get(shop.code, number)
    if order is None:
        raise failed("订单不存在")
    return order


class Refunds:
    """Finds after-sales by their number."""

    def __init__(self, book: Book) -> None:
        self.book = book
        self._of: dict[tuple[str, str], str] = {}
        for order in book.all_orders():
            self._remember(order, "")
        book.on_change(self._remember)

    def find(self, shop: ShopConfig, refund_id: str) -> tuple[Order, Refund]:
        """The after-sale and its order; DoudianError where there is none."""
        order = self.book.get(shop.code, self._of.get((shop.code, refund_id), ""))
        if order is None:
            raise failed("售后单不存在")
        return order, next(r for r in order.refunds if r.refund_id == refund_id)

    def _remember(self, order: Order, _event: str) -> None:
        if self.book.shops[order.shop].channel == "douyin":
            for refund in order.refunds:
                self._of[order.shop, refund.refund_id] = order.number
