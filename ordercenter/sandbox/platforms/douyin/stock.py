"""Douyin is told how many pieces to sell (channels.md 3d)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ordercenter.sandbox.book import Refused
from ordercenter.sandbox.platforms.douyin.bodies import product_of
from ordercenter.sandbox.platforms.douyin.wire import (
    DoudianError,
    Serve,
    Wish,
    bad,
    failed,
    flag,
    missing,
    number,
)
from ordercenter.sandbox.shelf import Shelf

if TYPE_CHECKING:
    from ordercenter.sandbox.book import Book, Listed, ShopConfig


class Stock:
    def __init__(self, book: Book) -> None:
        self.shelf = Shelf(book, "douyin")

    def methods(self) -> dict[str, Serve]:
        return {"sku.syncStock": self.sync, "sku.syncStockBatch": self.sync_batch}

    def sync(self, shop: ShopConfig, wish: Wish) -> dict[str, Any]:
        """One SKU, set or changed; a change needs an ``idempotent_id``."""
        key = self._key(shop, wish)
        rows = [(self._listed(shop, wish, wish), number(wish, "stock_num"))]
        self._tell(shop, rows, incremental=flag(wish, "incremental"), key=key)
        return {}

    def sync_batch(self, shop: ShopConfig, wish: Wish) -> dict[str, Any]:
        """SKUs of one product: all or none."""
        key, rows = self._key(shop, wish), wish.get("sku_sync_list")
        if not isinstance(rows, list) or not rows or not all(isinstance(r, dict) for r in rows):
            raise missing("sku_sync_list")
        told = [(self._listed(shop, wish, row), number(row, "stock_num")) for row in rows]
        self._tell(shop, told, incremental=flag(wish, "incremental"), key=key)
        return {}

    def _key(self, shop: ShopConfig, wish: Wish) -> str:
        """The idempotency key of a change; DoudianError where it has had its effect."""
        key = str(wish.get("idempotent_id", ""))
        if not flag(wish, "incremental"):
            return ""
        if not key:
            raise missing("idempotent_id")
        if self.shelf.told(shop, key) is not None:
            raise DoudianError(40003, "isv.idempotent-id-existed", "幂等ID已存在，请勿重复请求")
        return key

    def _listed(self, shop: ShopConfig, wish: Wish, row: Wish) -> Listed:
        """The SKU meant by its id or its code, of the product named."""
        sku_id, code = row.get("sku_id"), row.get("code")
        if sku_id is not None and not isinstance(sku_id, int):
            raise bad("sku_id")
        if sku_id is not None:
            listed = self.shelf.find(shop, sku_id=str(sku_id))
        else:
            listed = self.shelf.find(shop, outer_code=str(code or ""))
        if listed is None or number(wish, "product_id") != product_of(shop.code, listed.goods):
            raise failed("商品或规格不存在")
        return listed

    def _tell(
        self, shop: ShopConfig, rows: list[tuple[Listed, int]], *, incremental: bool, key: str
    ) -> None:
        self.shelf.called()
        for listed, amount in rows:
            after = self.shelf.shown(shop, listed) + amount if incremental else amount
            if after < 0:
                raise failed("库存不能小于零")
        try:
            for listed, amount in rows:
                if incremental:
                    self.shelf.change(shop, listed, amount, key=key)
                else:
                    self.shelf.put(shop, listed, amount)
        except Refused as refusal:  # the same SKU twice in one batch
            raise failed(str(refusal)) from refusal
