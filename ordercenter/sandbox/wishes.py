"""Buyers who wish for another address once their order stands: ``POST /control/address_ask``.

``{"shop", "number"}``, optionally ``"silence"``: the seconds after which no answer is a yes.
A WeChat shop's buyer changes the address himself within six hours of ordering; later the
merchant has twelve hours to answer (its options ``address_free_seconds`` and
``address_silence_seconds``). Douyin asks the merchant always. ``"review": true`` asks the
merchant however young the order is, so that a drill need not wait for six hours.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from starlette.routing import Route

from ordercenter.sandbox.book import Refused
from ordercenter.sandbox.wire import answer

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from ordercenter.sandbox.book import Order
    from ordercenter.sandbox.market import Market

CHANNELS: Final = frozenset({"wechat", "douyin"})
FREE_SECONDS: Final = 6 * 3_600
SILENCE_SECONDS: Final = 12 * 3_600


def routes(market: Market) -> list[Route]:
    return [Route("/control/address_ask", Wishes(market).ask, methods=["POST"])]


class Wishes:
    def __init__(self, market: Market) -> None:
        self.market = market

    async def ask(self, request: Request) -> Response:
        try:
            wish = json.loads(await request.body())
            order = self._order(wish)
            self._ask(order, wish)
        except Refused as refusal:
            return answer({"error": str(refusal)}, status=409)
        except (KeyError, ValueError, TypeError) as error:
            return answer({"error": f"请求有误：{error!r}"}, status=400)
        open_wish = order.extra.get("address_wish")
        answer_by = None if open_wish is None else open_wish["answer_by"]
        return answer({"number": order.number, "answer_by": answer_by})

    def _order(self, wish: dict[str, Any]) -> Order:
        book = self.market.book
        shop, number = str(wish["shop"]), str(wish["number"])
        order = book.get(shop, number)
        if order is None:
            raise Refused(f"没有订单 {shop} {number}")
        if book.shops[shop].channel not in CHANNELS:
            raise Refused("该平台没有需要商家答复的修改地址申请")
        return order

    def _ask(self, order: Order, wish: dict[str, Any]) -> None:
        book = self.market.book
        shop = book.shops[order.shop]
        free = float(shop.options.get("address_free_seconds", FREE_SECONDS))
        young = shop.channel == "wechat" and book.clock() - order.created <= free
        if young and not wish.get("review"):
            book.change_address(order, self.market.another_receiver(order))
            return
        silence = shop.options.get("address_silence_seconds", SILENCE_SECONDS)
        self.market.ask_address(order, silence=float(wish.get("silence", silence)))
