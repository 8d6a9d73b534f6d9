"""Pinduoduo's authorization: the tokens are methods of the gateway itself (channels.md 4a)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from ordercenter.sandbox.platforms.pinduoduo.errors import Serve, invalid

if TYPE_CHECKING:
    from ordercenter.sandbox.book import Book, ShopConfig
    from ordercenter.sandbox.platforms.pinduoduo.reading import Answer

LIVES: Final = 1_209_600  # seconds
REFRESH_LIVES: Final = 31_536_000


class Authorization:
    def __init__(self, book: Book) -> None:
        self.book = book

    def methods(self) -> dict[str, Serve]:
        return {
            "pdd.pop.auth.token.create": self.create,
            "pdd.pop.auth.token.refresh": self.refresh,
        }

    def create(self, shop: ShopConfig, params: Mapping[str, str]) -> Answer:
        """A code is good for ten minutes and once; the older token dies."""
        if not self.book.take_code(shop.code, params.get("code", "")):
            raise invalid("code无效或已过期")
        return "pop_auth_token_create_response", self._granted(shop)

    def refresh(self, shop: ShopConfig, params: Mapping[str, str]) -> Answer:
        if not shop.refresh_token or params.get("refresh_token") != shop.refresh_token:
            raise invalid("refresh_token无效或已过期")
        return "pop_auth_token_refresh_response", self._granted(shop)

    def _granted(self, shop: ShopConfig) -> dict[str, Any]:
        self.book.renew_token(shop.code, lives=LIVES)
        now, mall = int(self.book.now(shop.code)), str(shop.options.get("mall_id", "600000001"))
        levels = {
            f"{level}_expires_{kind}": LIVES if kind == "in" else now + LIVES
            for level in ("r1", "r2", "w1", "w2")
            for kind in ("in", "at")
        }
        return {
            "access_token": shop.access_token,
            "expires_in": LIVES,
            "expires_at": now + LIVES,
            "refresh_token": shop.refresh_token,
            "refresh_token_expires_in": REFRESH_LIVES,
            "refresh_token_expires_at": now + REFRESH_LIVES,
            "owner_id": mall,
            "owner_name": f"pdd{mall}",
            "scope": ["pdd.order.number.list.increment.get"],
            **levels,
        }
