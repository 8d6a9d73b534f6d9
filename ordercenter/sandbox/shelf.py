"""What the shops of one platform show for sale, and what they were told to show.

A figure falls with every sale and rises again when an order is closed unpaid, as on the
platforms: who sets it races with the buyers, who changes it by a difference does not. Every
figure told is kept in the book (``stock``), so that a restarted sandbox shows the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from ordercenter.sandbox.book import CLOSED_UNPAID, Book, Order, Refused

if TYPE_CHECKING:
    from ordercenter.sandbox.book import Line, Listed, ShopConfig

AT_FIRST: Final = 1_000
"""What is shown of everything until the first figure is told."""


class Shelf:
    """The figures of all shops of ``channel``."""

    def __init__(self, book: Book, channel: str) -> None:
        self.book = book
        self.channel = channel
        self._shown: dict[tuple[str, str], int] = {}
        self._keys: dict[tuple[str, str], Mapping[str, Any]] = {}
        self._calls = len(book.records["stock"])
        self._replay()
        book.on_change(self._changed)
        book.shelves[channel] = self

    def called(self) -> None:
        """A call begins: what is told from here on has its number."""
        self._calls += 1

    def find(
        self, shop: ShopConfig, *, sku_id: str | None = None, outer_code: str | None = None
    ) -> Listed | None:
        """What ``shop`` sells under the one code or, without it, under the other."""
        for listed in shop.listed:
            known = listed.outer_code if sku_id is None else listed.platform_sku_id
            wanted = outer_code if sku_id is None else sku_id
            if wanted and known == wanted:
                return listed
        return None

    def name(self, listed: Listed) -> str:
        """The name under which the figure of ``listed`` is kept."""
        return _name(listed)

    def shown(self, shop: ShopConfig, listed: Listed) -> int:
        """How many pieces may be bought now."""
        return self._shown.get((shop.code, _name(listed)), AT_FIRST)

    def figures(self, shop: ShopConfig) -> dict[str, int]:
        """Everything ``shop`` shows, by SKU id, or by outer code where it has none."""
        return {_name(listed): self.shown(shop, listed) for listed in shop.listed}

    def told(self, shop: ShopConfig, key: str) -> Mapping[str, Any] | None:
        """What was told under the idempotency key ``key`` before, if anything was."""
        return self._keys.get((shop.code, key))

    def change(self, shop: ShopConfig, listed: Listed, difference: int, *, key: str = "") -> int:
        """Raise or lower a figure; Refused where less than nothing would be left."""
        return self._tell(shop, listed, self.shown(shop, listed) + difference, "change", key)

    def put(self, shop: ShopConfig, listed: Listed, quantity: int, *, key: str = "") -> int:
        """Show ``quantity`` from now on; Refused below nothing."""
        return self._tell(shop, listed, quantity, "put", key)

    def _tell(self, shop: ShopConfig, listed: Listed, shown: int, way: str, key: str) -> int:
        if shown < 0:
            raise Refused("库存不能小于零")
        before = self.shown(shop, listed)
        facts = {
            "shop": shop.code,
            "sku": _name(listed),
            "outer_code": listed.outer_code,
            "way": way,
            "before": before,
            "shown": shown,
            "key": key,
            "call": self._calls,
        }
        row = self.book.record("stock", facts)
        self.book.wrote(shop.code, "stock", _name(listed), key=key, way=way, shown=shown)
        self._shown[shop.code, _name(listed)] = shown
        if key:
            self._keys[shop.code, key] = row
        return shown

    # The book

    def _changed(self, order: Order, event: str) -> None:
        if self.book.shops[order.shop].channel != self.channel:
            return
        if event == "created":
            self._take(order, -1)
        elif event == "closed" and order.state == CLOSED_UNPAID:
            self._take(order, 1)

    def _take(self, order: Order, sign: int) -> None:
        for line in order.lines:
            mark = (order.shop, line_name(line))
            self._shown[mark] = max(0, self._shown.get(mark, AT_FIRST) + sign * line.quantity)

    def _replay(self) -> None:
        """Let everything happen again that the book knows of, in the order it happened."""
        mine = {code for code, shop in self.book.shops.items() if shop.channel == self.channel}
        past: list[tuple[float, int, Any]] = []
        for code in mine:
            for order in self.book.orders(code):
                past.append((order.created, -1, order))
                if order.state == CLOSED_UNPAID and order.closed is not None:
                    past.append((order.closed, 1, order))
        past += [(row["at"], 0, row) for row in self.book.records["stock"] if row["shop"] in mine]
        for _, sign, what in sorted(past, key=lambda event: event[0]):
            if isinstance(what, Order):
                self._take(what, sign)
                continue
            self._shown[what["shop"], what["sku"]] = what["shown"]
            if what["key"]:
                self._keys[what["shop"], what["key"]] = what


def _name(listed: Listed) -> str:
    return listed.platform_sku_id or listed.outer_code or listed.goods


def line_name(line: Line) -> str:
    """The name under which ``line`` lowers a figure."""
    return line.platform_sku_id or line.outer_code or line.sku_code
