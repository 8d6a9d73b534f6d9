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


def find_refund(book: Book, shop: ShopConfig, refund_id: str) -> tuple[Order, Refund]:
    """The after-sale and its order; DoudianError where there is none."""
    found = book.refund(shop.code, refund_id)
    if found is None:
        raise failed("售后单不存在")
    return found
