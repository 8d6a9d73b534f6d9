"""Who may speak for a Douyin shop until when (channels.md 3a)."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from ordercenter.sandbox.platforms.douyin.bodies import shop_id
from ordercenter.sandbox.platforms.douyin.wire import DoudianError, Wish
from ordercenter.sandbox.wire import digest

if TYPE_CHECKING:
    from ordercenter.sandbox.book import Book, ShopConfig

ACCESS_LIVES: Final = 7 * 86_400
REFRESH_LIVES: Final = 14 * 86_400
LAST_HOUR: Final = 3_600


class Tokens:
    """The pairs of access and refresh token of every shop.

    The pair of ``seller.json`` is as good as new whenever the sandbox starts: nobody could
    refresh it while it stood still. Pairs that were asked for are kept in the book. What the
    book calls dead (``kill_token``) is over at once, with every token before it.
    """

    def __init__(self, book: Book) -> None:
        self.book = book
        self._pairs: dict[str, list[dict[str, Any]]] = {}
        now = book.clock()
        for shop in book.shops.values():
            kept = [row for row in book.records["douyin_token"] if row["shop"] == shop.code]
            first = {
                "access": shop.access_token,
                "refresh": shop.refresh_token or f"{shop.access_token}-refresh",
                "until": now + ACCESS_LIVES,
                "refresh_until": now + REFRESH_LIVES,
            }
            self._pairs[shop.code] = kept or [first]

    def check(self, shop: ShopConfig, token: str) -> None:
        """Raise DoudianError unless ``token`` opens ``shop`` now."""
        for pair in self._pairs[shop.code]:
            if hmac.compare_digest(pair["access"].encode(), token.encode()):
                if pair["until"] <= self.book.clock() or self._is_killed(shop):
                    raise DoudianError(40003, "isv.access-token-expired", "access_token已过期")
                return
        raise DoudianError(40003, "isv.access-token-no-existed", "access_token不存在")

    def create(self, shop: ShopConfig, wish: Wish) -> dict[str, Any]:
        """/token/create: for the shop's own application, or for a code the seller's yes gave."""
        grant = wish.get("grant_type")
        if grant == "authorization_code":
            if not self.book.take_code(shop.code, str(wish.get("code", ""))):
                raise DoudianError(50001, "isv.authorization-code-invalid", "code无效或已使用")
            return self._told(shop, self._renew(shop))
        if grant != "authorization_self":
            raise DoudianError(50001, "isv.grant-type-invalid", "grant_type不支持")
        if str(wish.get("shop_id", "")) != str(shop_id(shop)):
            raise DoudianError(50001, "isv.shop-not-authorized", "店铺未授权给该应用")
        pair = self._pairs[shop.code][-1]
        if pair["until"] <= self.book.clock() or self._is_killed(shop):
            pair = self._renew(shop)
        return self._told(shop, pair)

    def refresh(self, shop: ShopConfig, wish: Wish) -> dict[str, Any]:
        """The same pair until its last hour, then a new one; the old lives on for an hour."""
        pair = self._pairs[shop.code][-1]
        now = self.book.clock()
        if (
            wish.get("grant_type") != "refresh_token"
            or wish.get("refresh_token") != pair["refresh"]
        ):
            raise DoudianError(50001, "isv.refresh-token-invalid", "refresh_token无效")
        if pair["refresh_until"] <= now:
            raise DoudianError(50001, "isv.refresh-token-expired", "refresh_token已过期")
        if self._is_killed(shop):
            return self._told(shop, self._renew(shop))
        if pair["until"] - now > LAST_HOUR:
            self.book.record("refresh", {"shop": shop.code})
            return self._told(shop, pair)
        if pair["until"] > now:
            pair["until"] = now + LAST_HOUR
        return self._told(shop, self._renew(shop))

    def _is_killed(self, shop: ShopConfig) -> bool:
        """Whether the book has put an end to the tokens since the last pair was given."""
        return bool(shop.access_token != self._pairs[shop.code][-1]["access"])

    def _renew(self, shop: ShopConfig) -> dict[str, Any]:
        now, pairs = self.book.clock(), self._pairs[shop.code]
        if self._is_killed(shop):
            pairs.clear()
        pair = self.book.record(
            "douyin_token",
            {
                "shop": shop.code,
                "access": self.book.renew_token(shop.code, lives=ACCESS_LIVES),
                "refresh": digest("refresh", shop.code, now, len(pairs)),
                "until": now + ACCESS_LIVES,
                "refresh_until": now + REFRESH_LIVES,
            },
        )
        pairs.append(pair)
        return pair

    def _told(self, shop: ShopConfig, pair: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "access_token": pair["access"],
            "expires_in": int(pair["until"] - self.book.clock()),
            "refresh_token": pair["refresh"],
            "scope": "SCOPE",
            "shop_id": shop_id(shop),
            "shop_name": shop.name,
            "authority_id": "",
            "auth_subject_type": "",
        }
