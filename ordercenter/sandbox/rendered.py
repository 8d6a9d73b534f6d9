"""What an order looks like on a wire, made once for each of its versions."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ordercenter.sandbox.book import Order, ShopConfig

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
