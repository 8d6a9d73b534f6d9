"""Taobao's authorization (channels.md 1a): a code for a click, a token for a code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlencode

from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from ordercenter.sandbox.wire import answer, form

if TYPE_CHECKING:
    from starlette.requests import Request

    from ordercenter.sandbox.book import Book, ShopConfig

LIVES: Final = 7_776_000  # seconds, of token and refresh token


class Authorization:
    """``/taobao/oauth/authorize`` (a seller who always says yes) and ``/taobao/oauth/token``."""

    def __init__(self, book: Book) -> None:
        self.book = book

    def routes(self) -> list[Route]:
        return [
            Route("/taobao/oauth/authorize", self.authorize, methods=["GET"]),
            Route("/taobao/oauth/token", self.token, methods=["POST"]),
        ]

    async def authorize(self, request: Request) -> Response:
        query = request.query_params
        shop = self.book.shop_by_key("taobao", query.get("client_id", ""))
        back = query.get("redirect_uri", "")
        if shop is None or not back or query.get("response_type") != "code":
            return refused("invalid_client", "client_id、redirect_uri 或 response_type 不合法")
        joint = "&" if "?" in back else "?"
        told = urlencode({"code": self.book.give_code(shop.code), "state": query.get("state", "")})
        return RedirectResponse(f"{back}{joint}{told}", status_code=302)

    async def token(self, request: Request) -> Response:
        given = await form(request)
        shop = self.book.shop_by_key("taobao", given.get("client_id", ""))
        if shop is None or given.get("client_secret") != shop.app_secret:
            return refused("invalid_client", "client_id 或 client_secret 不正确")
        grant = given.get("grant_type")
        if grant == "refresh_token":
            if not shop.refresh_token or given.get("refresh_token") != shop.refresh_token:
                return refused("invalid_grant", "refresh_token 无效或已过期")
        elif grant == "authorization_code":
            if not self.book.take_code(shop.code, given.get("code", "")):
                return refused("invalid_grant", "code 无效或已过期")
        else:
            return refused("unsupported_grant_type", "grant_type 不合法")
        self.book.renew_token(shop.code, lives=LIVES)
        return answer(granted(shop))


def granted(shop: ShopConfig) -> dict[str, Any]:
    names = ("expires_in", "re_expires_in", "r1_expires_in", "r2_expires_in")
    return {
        "access_token": shop.access_token,
        "token_type": "Bearer",
        "refresh_token": shop.refresh_token,
        **dict.fromkeys((*names, "w1_expires_in", "w2_expires_in"), LIVES),
        "taobao_user_id": str(shop.options.get("user_id", "2200000000001")),
        "taobao_user_nick": quote(str(shop.options.get("seller_nick", shop.name))),
    }


def refused(error: str, why: str) -> Response:
    return answer({"error": error, "error_description": why}, status=400)
