"""JD's authorization (channels.md 2a): a code for a click, a token for a code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from ordercenter.sandbox.wire import answer, digest, form

if TYPE_CHECKING:
    from starlette.requests import Request

    from ordercenter.sandbox.book import Book, ShopConfig

LIVES: Final = 2_592_000  # seconds


class Authorization:
    """``/jd/oauth2/to_login`` (a seller who always says yes), ``access_token``,
    ``refresh_token``."""

    def __init__(self, book: Book) -> None:
        self.book = book

    def routes(self) -> list[Route]:
        return [
            Route("/jd/oauth2/to_login", self.authorize, methods=["GET"]),
            Route("/jd/oauth2/access_token", self.token, methods=["GET", "POST"]),
            Route("/jd/oauth2/refresh_token", self.refresh, methods=["GET", "POST"]),
        ]

    async def authorize(self, request: Request) -> Response:
        query = request.query_params
        shop = self.book.shop_by_key("jd", query.get("app_key", ""))
        back = query.get("redirect_uri", "")
        if shop is None or not back or query.get("response_type") != "code":
            return refused("invalid app_key, redirect_uri or response_type")
        joint = "&" if "?" in back else "?"
        told = urlencode({"code": self.book.give_code(shop.code), "state": query.get("state", "")})
        return RedirectResponse(f"{back}{joint}{told}", status_code=302)

    async def token(self, request: Request) -> Response:
        given = await form(request)
        shop = self._application(given)
        if shop is None:
            return refused("invalid app_key or app_secret")
        if given.get("grant_type") != "authorization_code":
            return refused("invalid grant_type")
        if not self.book.take_code(shop.code, given.get("code", "")):
            return refused("invalid code")
        return self._granted(shop)

    async def refresh(self, request: Request) -> Response:
        given = await form(request)
        shop = self._application(given)
        if shop is None:
            return refused("invalid app_key or app_secret")
        if given.get("grant_type") != "refresh_token":
            return refused("invalid grant_type")
        if not shop.refresh_token or given.get("refresh_token") != shop.refresh_token:
            return refused("invalid refresh_token")
        return self._granted(shop)

    def _application(self, given: dict[str, str]) -> ShopConfig | None:
        shop = self.book.shop_by_key("jd", given.get("app_key", ""))
        return shop if shop is not None and given.get("app_secret") == shop.app_secret else None

    def _granted(self, shop: ShopConfig) -> Response:
        self.book.renew_token(shop.code, lives=LIVES)
        told: dict[str, Any] = {
            "access_token": shop.access_token,
            "expires_in": LIVES,
            "refresh_token": shop.refresh_token,
            "scope": "snsapi_base",
            "open_id": "sbx" + digest("open", shop.code, length=24),
            "xid": "o*" + digest("xid", shop.code, length=20),
            "uid": str(shop.options.get("vender_id", "10000001")),
        }
        return answer(told)


def refused(why: str) -> Response:
    return answer({"code": 400, "msg": why, "requestId": "sandbox0001"})
