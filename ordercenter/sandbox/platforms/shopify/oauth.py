"""Shopify's authorization (channels.md 5a): a merchant who always says yes."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, urlencode

from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from ordercenter.sandbox.platforms.shopify.bodies import shop_domain
from ordercenter.sandbox.wire import answer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request

    from ordercenter.sandbox.book import Book

SCOPE: Final = "read_orders,write_orders,read_inventory,write_inventory,write_fulfillments"


def query_hmac(items: Mapping[str, str], secret: str) -> str:
    """Lower-case HMAC-SHA256 over the sorted, form-encoded items, ``hmac`` left out (5a)."""
    kept = sorted((name, text) for name, text in items.items() if name not in {"hmac", "signature"})
    return hmac.new(secret.encode(), urlencode(kept).encode(), hashlib.sha256).hexdigest()


class Authorization:
    def __init__(self, book: Book) -> None:
        self.book = book

    def routes(self) -> list[Route]:
        return [
            Route("/shopify/admin/oauth/authorize", self.authorize, methods=["GET"]),
            Route("/shopify/admin/oauth/access_token", self.access_token, methods=["POST"]),
        ]

    async def authorize(self, request: Request) -> Response:
        """Send the browser back with a code, signed."""
        query = request.query_params
        shop = self.book.shop_by_key("shopify", query.get("client_id", ""))
        back = query.get("redirect_uri", "")
        if shop is None or not back:
            return answer({"error": "invalid_request"}, status=400)
        items = {
            "code": self.book.give_code(shop.code),
            "shop": shop_domain(shop),
            "state": query.get("state", ""),
            "timestamp": str(int(self.book.now(shop.code))),
        }
        items["hmac"] = query_hmac(items, shop.app_secret)
        joint = "&" if "?" in back else "?"
        return RedirectResponse(f"{back}{joint}{urlencode(items)}", status_code=302)

    async def access_token(self, request: Request) -> Response:
        """A token that does not end, for a code; JSON or form."""
        given = read_pairs(await request.body())
        shop = self.book.shop_by_key("shopify", str(given.get("client_id", "")))
        if shop is None or given.get("client_secret") != shop.app_secret:
            return answer({"error": "invalid_client"}, status=400)
        if not self.book.take_code(shop.code, str(given.get("code", ""))):
            said = "The authorization code was not found or was already used"
            return answer({"error": "invalid_request", "error_description": said}, status=400)
        return answer({"access_token": self.book.renew_token(shop.code), "scope": SCOPE})


def read_pairs(body: bytes) -> dict[str, Any]:
    try:
        told = json.loads(body)
    except ValueError:
        return dict(parse_qsl(body.decode("utf-8", errors="replace")))
    return told if isinstance(told, dict) else {}
