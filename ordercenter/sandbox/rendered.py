"""What is made once and read often: orders as a wire writes them, and lists that are paged."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ordercenter.sandbox.book import Book, Order, ShopConfig

Make = Callable[["ShopConfig", "Order"], dict[str, Any]]


class Rendered:
    """The bodies of ``make``, kept while the order stays as it was. Not to be changed."""

    def __init__(self, make: Make) -> None:
        self._make = make
        self._kept: dict[tuple[str, str], tuple[int, dict[str, Any]]] = {}

    def of(self, shop: ShopConfig, order: Order) -> dict[str, Any]:
        place = (shop.code, order.number)
        kept = self._kept.get(place)
        if kept is None or kept[0] != order.version:
            kept = (order.version, self._make(shop, order))
            self._kept[place] = kept
        return kept[1]


class LastList:
    """The list each shop is paging through: made once, until an order of the shop changes.

    Under ``moving_rows`` it is made for every page: reading it is what moves the rows.
    """

    def __init__(self, book: Book) -> None:
        self.book = book
        self._last: dict[str, tuple[int, Hashable, list[Order]]] = {}

    def of(self, shop: ShopConfig, asked: Hashable, make: Callable[[], list[Order]]) -> list[Order]:
        """What ``make`` gives for the wish ``asked``."""
        changes = self.book.changes[shop.code]
        known = self._last.get(shop.code)
        if known is not None and known[:2] == (changes, asked):
            return known[2]
        found = make()
        if self.book.weather.spell(shop.channel, "moving_rows") is None:
            self._last[shop.code] = (changes, asked, found)
        else:
            self._last.pop(shop.code, None)
        return found
