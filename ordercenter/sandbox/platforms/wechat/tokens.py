"""WeChat's tokens and errors, the same for shops and mini-programs (channels.md 6a)."""

from __future__ import annotations

import hmac
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from ordercenter.sandbox.wire import digest

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

    The token of ``seller.json`` is as good as new whenever the sandbox starts.
    """

    def __init__(self, book: Book, channel: str) -> None:
        self.book = book
        self.channel = channel
        self._tokens: dict[str, list[tuple[str, float]]] = {
            shop.code: [(shop.access_token, book.clock() + TOKEN_LIVES)]
            for shop in book.shops.values()
            if shop.channel == channel
        }
        self._forced: dict[str, list[float]] = {}

    def give(self, wish: Mapping[str, Any]) -> dict[str, Any]:
        """Answer ``stable_token``: the same token until shortly before its end.

        A good answer has no errcode. Raises WechatError.
        """
        shop = self._owner(wish)
        token, until = self._token(shop, forced=wish.get("force_refresh") is True)
        return {"access_token": token, "expires_in": int(until - self.book.clock())}

    def check(self, token: str) -> ShopConfig:
        """Return the shop that ``token`` opens now; WechatError when it opens none."""
        for code, tokens in self._tokens.items():
            for known, until in tokens:
                if hmac.compare_digest(known.encode(), token.encode()):
                    if until <= self.book.clock():
                        raise WechatError(EXPIRED_TOKEN, "access_token expired")
                    return self.book.shops[code]
        raise WechatError(NO_TOKEN, "invalid credential, access_token is invalid or not latest")

    def _owner(self, wish: Mapping[str, Any]) -> ShopConfig:
        shop = self.book.shop_by_key(self.channel, str(wish.get("appid", "")))
        if wish.get("grant_type") != "client_credential":
            raise WechatError(BAD_GRANT, "invalid grant_type")
        if shop is None:
            raise WechatError(BAD_APPID, "invalid appid")
        if wish.get("secret") != shop.app_secret:
            raise WechatError(BAD_SECRET, "invalid appsecret")
        return shop

    def _token(self, shop: ShopConfig, *, forced: bool) -> tuple[str, float]:
        tokens, now = self._tokens[shop.code], self.book.clock()
        if forced:
            past = [at for at in self._forced.get(shop.code, []) if at > now - 86_400]
            if past and now - past[-1] < FORCED_APART:
                raise WechatError(TOO_OFTEN, "api freq out of limit")
            if len(past) >= FORCED_A_DAY:
                raise WechatError(NO_QUOTA, "reach max api daily quota limit")
            self._forced[shop.code] = [*past, now]
            tokens.clear()  # a forced token ends the ones before it
        if not tokens or tokens[-1][1] - now <= TOKEN_RENEWED:
            fresh = f"{shop.access_token}-{digest(shop.code, now, length=16)}"
            tokens.append((fresh, now + TOKEN_LIVES))
        return tokens[-1]
