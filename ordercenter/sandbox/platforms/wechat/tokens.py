"""WeChat's tokens and errors, the same for shops and mini-programs (channels.md 6a)."""

from __future__ import annotations

import hmac
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request

    from ordercenter.sandbox.book import Book, ShopConfig

TOKEN_LIVES: Final = 7_200
TOKEN_RENEWED: Final = 300  # seconds before its end a token is replaced
FORCED_A_DAY: Final = 20
FORCED_APART: Final = 30
NO_TOKEN, BAD_TOKEN, EXPIRED_TOKEN = 40001, 40014, 42001
BAD_APPID, BAD_SECRET, BAD_GRANT = 40013, 40125, 40002
TOO_OFTEN, NO_QUOTA = 45011, 45009
NOT_JSON, WRONG_VERB, BAD_BODY = 47001, 43001, 40097


@dataclass(slots=True)
class WechatError(Exception):
    """``errcode`` with HTTP 200."""

    code: int
    message: str

    def body(self) -> dict[str, Any]:
        return {"errcode": self.code, "errmsg": f"{self.message} rid: sandbox"}


async def body_of(request: Request) -> dict[str, Any]:
    try:
        wish = json.loads(await request.body())
    except ValueError as error:
        raise WechatError(NOT_JSON, "data format error") from error
    if not isinstance(wish, dict):
        raise WechatError(NOT_JSON, "data format error")
    return wish


class Tokens:
    """The tokens of all shops of ``channel``.

    The token of ``seller.json`` is as good as new whenever the sandbox starts. What the book
    calls dead (``kill_token``) is over at once.
    """

    def __init__(self, book: Book, channel: str) -> None:
        self.book = book
        self.channel = channel
        self._since = book.clock()
        self._former: dict[str, tuple[str, float]] = {}
        self._forced: dict[str, list[float]] = {}

    def give(self, wish: Mapping[str, Any]) -> dict[str, Any]:
        """Answer ``stable_token``: the same token until shortly before its end.

        A good answer has no errcode. Raises WechatError.
        """
        shop = self._owner(wish)
        forced = wish.get("force_refresh") is True
        now = self.book.clock()
        if forced:
            self._count_force(shop, now)
        if forced or self._until(shop) - now <= TOKEN_RENEWED:
            # A forced token ends the one before it; else that lives to its own end.
            former = (shop.access_token, now if forced else self._until(shop))
            self.book.renew_token(shop.code, lives=TOKEN_LIVES)
            self._former[shop.code] = former
        else:
            self.book.record("refresh", {"shop": shop.code})
        return {"access_token": shop.access_token, "expires_in": int(self._until(shop) - now)}

    def check(self, token: str) -> ShopConfig:
        """Return the shop that ``token`` opens now; WechatError when it opens none."""
        now = self.book.clock()
        for shop in self.book.shops.values():
            if shop.channel != self.channel:
                continue
            former, former_until = self._former.get(shop.code, ("", 0.0))
            if hmac.compare_digest(shop.access_token.encode(), token.encode()):
                if self._until(shop) <= now:
                    raise WechatError(EXPIRED_TOKEN, "access_token expired")
                return shop
            if former == token and former_until > now and not self._is_killed(shop):
                return shop
        raise WechatError(NO_TOKEN, "invalid credential, access_token is invalid or not latest")

    def _until(self, shop: ShopConfig) -> float:
        """When the shop's token ends."""
        return self._since + TOKEN_LIVES if shop.token_until is None else shop.token_until

    def _is_killed(self, shop: ShopConfig) -> bool:
        return shop.token_until == 0.0

    def _count_force(self, shop: ShopConfig, now: float) -> None:
        past = [at for at in self._forced.get(shop.code, []) if at > now - 86_400]
        if past and now - past[-1] < FORCED_APART:
            raise WechatError(TOO_OFTEN, "api freq out of limit")
        if len(past) >= FORCED_A_DAY:
            raise WechatError(NO_QUOTA, "reach max api daily quota limit")
        self._forced[shop.code] = [*past, now]

    def _owner(self, wish: Mapping[str, Any]) -> ShopConfig:
        shop = self.book.shop_by_key(self.channel, str(wish.get("appid", "")))
        if wish.get("grant_type") != "client_credential":
            raise WechatError(BAD_GRANT, "invalid grant_type")
        if shop is None:
            raise WechatError(BAD_APPID, "invalid appid")
        if wish.get("secret") != shop.app_secret:
            raise WechatError(BAD_SECRET, "invalid appsecret")
        return shop
