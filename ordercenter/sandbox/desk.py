"""The desk of the sandbox: read its book, and make things happen in it.

``/book/...`` is read by drills and tests to know the truth (see also ``ledger``);
``/control/...`` makes buyers order, pay, change their mind or their address, lines break and
the weather turn (see ``weather`` for what there is). Loopback only: no log-in.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from starlette.responses import Response
from starlette.routing import Route

from ordercenter.sandbox import cheats
from ordercenter.sandbox.book import WAIT_PAY, Order, Refused
from ordercenter.sandbox.market import KINDS, Market
from ordercenter.sandbox.wire import answer

if TYPE_CHECKING:
    from starlette.requests import Request

    from ordercenter.sandbox.book import Book
    from ordercenter.sandbox.faults import Faults

ALIASES: Final = {
    "shipments": "shipment",
    "robot": "robot",
    "waybills": "waybill",
    "memos": "memo",
}
SELL_AT_A_TIME: Final = 200
Handler = Callable[["Request"], Awaitable[Response]]


class Desk:
    def __init__(self, book: Book, market: Market, faults: Faults) -> None:
        self.book = book
        self.market = market
        self.faults = faults

    def routes(self) -> list[Route]:
        reads = {
            "/book/orders": self.orders,
            "/book/order": self.order,
            "/book/truth": self.truth,
            "/book/summary": self.summary,
            "/book/{kind}": self.records,
        }
        acts = {
            "/control/sell": self.sell,
            "/control/rate": self.rate,
            "/control/refund": self.refund,
            "/control/cancel": self.cancel,
            "/control/pay": self.pay,
            "/control/address": self.address,
            "/control/fault": self.fault,
            "/control/nasty": self.nasty,
            "/control/replay": self.replay,
            "/control/promote": self.promote,
            "/control/authorize": self.authorize,
        }
        return [
            Route("/control/weather", _guarded(self.weather), methods=["GET"]),
            *(Route(path, _guarded(act), methods=["GET"]) for path, act in reads.items()),
            *(Route(path, _guarded(act), methods=["POST"]) for path, act in acts.items()),
        ]

    # Reading

    async def orders(self, request: Request) -> Response:
        shop = request.query_params.get("shop")
        found = self.book.all_orders() if shop is None else self.book.orders(self._shop(shop))
        limit = int(request.query_params.get("limit", "0"))
        return answer({"orders": [asdict(order) for order in found[-limit:]]})

    async def order(self, request: Request) -> Response:
        query = request.query_params
        return answer(asdict(self._order(query.get("shop", ""), query.get("number", ""))))

    async def truth(self, request: Request) -> Response:
        """What was planted, order by order. ``kinds`` empty with a ``cluster``: the opener of
        a pattern that only a later order of the cluster completes, itself beyond reproach.
        ``lists``: what has to stand on a seller's lists for the kinds that are of lists."""
        rows = [
            {
                "shop": order.shop,
                "number": order.number,
                "kinds": order.truth,
                "cluster": order.cluster,
                "state": order.state,
                "created": order.created,
                "paid": order.paid,
                "shipped": bool(order.shipments),
                "refunds": len(order.refunds),
            }
            for order in self.book.all_orders()
        ]
        lists = {**cheats.LISTS, "restricted_regions": self.market.seller.restricted_regions}
        return answer({"orders": rows, "lists": lists})

    async def summary(self, request: Request) -> Response:
        every = self.book.all_orders()
        return answer(
            {
                "orders": len(every),
                "by_shop": Counter(order.shop for order in every),
                "by_state": Counter(order.state for order in every),
                "by_trouble": Counter(kind for order in every for kind in order.truth),
                "troubled": sum(1 for order in every if order.truth),
                "records": {kind: len(rows) for kind, rows in self.book.records.items()},
                "shipped_with_open_refund": sum(
                    1 for row in self.book.records["shipment"] if row["refund_open"]
                ),
                "rate": self.market.rate,
                "trouble": self.market.trouble,
                "faults_due": self.faults.due(),
            }
        )

    async def records(self, request: Request) -> Response:
        kind = request.path_params["kind"]
        return answer({kind: self.book.records.get(ALIASES.get(kind, kind), [])})

    # Making things happen

    async def sell(self, request: Request) -> Response:
        """Sell ``count`` times now: clean orders, or one planted ``trouble`` each time.

        With a ``code``: clean paid orders for ``pieces`` of that one thing at ``shop``.
        """
        wish = await _json(request)
        kind = wish.get("trouble") or ""
        if kind not in {"", "mix", *KINDS}:
            raise Refused(f"没有这种异常：{kind}，可用：{'、'.join(sorted(KINDS))}")
        shop = self._shop(wish["shop"]) if wish.get("shop") else None
        sold: list[Order] = []
        code, pieces = wish.get("code"), int(wish.get("pieces", 1))
        for turn in range(int(wish.get("count", 1))):
            if code is not None:
                sold.append(self.market.sell_one(self._shop(wish["shop"]), str(code), pieces))
            else:
                sold += self.market.sell(kind, shop=shop, at_once=bool(wish.get("at_once", True)))
            if turn % SELL_AT_A_TIME == SELL_AT_A_TIME - 1:
                await asyncio.sleep(0)  # the platforms must go on answering meanwhile
        rows = [
            {"shop": o.shop, "number": o.number, "kinds": o.truth, "cluster": o.cluster}
            for o in sold
        ]
        return answer({"orders": rows})

    async def rate(self, request: Request) -> Response:
        """So many orders a second, ``trouble`` of them troubled; ``mix`` weighs some kinds anew."""
        wish = await _json(request)
        mix = {str(kind): int(weight) for kind, weight in wish.get("mix", {}).items()}
        if mix.keys() - KINDS or any(weight < 0 for weight in mix.values()):
            raise Refused(f"mix 只能是这些异常的权重：{'、'.join(sorted(KINDS))}")
        rate = float(wish.get("rate", self.market.rate))
        trouble = float(wish.get("trouble", self.market.trouble))
        if rate < 0 or not 0 <= trouble < 1:
            raise Refused("rate 不能为负，trouble 须在 0 与 1 之间")
        self.market.rate, self.market.trouble = rate, trouble
        self.market.weights.update(mix)
        self.market.still = bool(wish.get("still", self.market.still))
        return answer({"rate": rate, "trouble": trouble, "still": self.market.still})

    async def refund(self, request: Request) -> Response:
        order = await self._wished(request)
        self.market.ask_refund(order)
        return answer({"number": order.number, "refunds": [asdict(r) for r in order.refunds]})

    async def cancel(self, request: Request) -> Response:
        """The buyer backs out: unpaid orders close, of paid ones the money goes back at once."""
        order = await self._wished(request)
        if order.state == WAIT_PAY:
            self.book.close_unpaid(order)
        else:
            self.market.pay_back(order)
        return answer({"number": order.number, "state": order.state})

    async def pay(self, request: Request) -> Response:
        order = await self._wished(request)
        self.book.pay(order)
        return answer({"number": order.number, "state": order.state})

    async def address(self, request: Request) -> Response:
        order = await self._wished(request)
        self.book.change_address(order, self.market.another_receiver(order))
        return answer({"number": order.number, "receiver": asdict(order.receiver)})

    async def fault(self, request: Request) -> Response:
        """One kind of trouble at one platform: for the next ``count`` calls, or, with a
        ``share``, ``seconds`` or any number of its own, as standing weather. ``none`` ends all;
        ``token_expiry`` with a ``count`` kills the tokens of the platform (or ``shop``) now."""
        wish = await _json(request)
        platform, kind = str(wish.pop("platform", "*")), str(wish.pop("kind"))
        standing = wish.keys() - {"count", "shop"}
        if kind == "none":
            self.faults.clear()
            self.book.weather.clear()
        elif kind == "token_expiry" and not standing:
            self._kill_tokens(platform, wish.get("shop"))
        elif standing:
            self._set_weather(platform, kind, wish)
        else:
            with _refused(ValueError):
                self.faults.order(platform, kind, int(wish.get("count", 1)))
        return answer({"due": self.faults.due(), "weather": self.book.weather.standing()})

    async def nasty(self, request: Request) -> Response:
        """``level`` ``all`` (every trouble at once, for ``seconds``, by ``seed``) or ``off``."""
        wish = await _json(request)
        with _refused(ValueError):
            level, seconds = str(wish.get("level")), wish.get("seconds")
            self.book.weather.nasty(level, seconds=seconds, seed=wish.get("seed"))
        self.faults.clear()
        return answer({"weather": self.book.weather.standing()})

    async def weather(self, request: Request) -> Response:
        return answer({"due": self.faults.due(), "weather": self.book.weather.standing()})

    async def replay(self, request: Request) -> Response:
        """Every push of ``shop`` (or ``*``) in [since, until] again, ``rate`` a second."""
        wish = await _json(request)
        code = wish.get("shop", "*")
        shop = None if code == "*" else self._shop(code)
        since, until = float(wish["since"]), float(wish.get("until", self.book.clock()))
        rate, as_is = float(wish.get("rate", 0)), bool(wish.get("as_is", False))
        told: Counter[str] = Counter()
        for outlet in self.book.outlets:
            told.update(outlet.replay(shop, since, until, rate=rate, as_is=as_is))
        return answer(dict(told))

    async def promote(self, request: Request) -> Response:
        """Put the goods of ``code`` on a promotion (``on``), or take them off it."""
        wish = await _json(request)
        shop, code, on = self._shop(wish["shop"]), str(wish["code"]), bool(wish.get("on", True))
        self.book.promote(shop, code, on=on)
        return answer({"shop": shop, "code": code, "on": on})

    async def authorize(self, request: Request) -> Response:
        """The seller lets the application in: a code that is good once."""
        wish = await _json(request)
        return answer({"code": self.book.give_code(self._shop(wish["shop"]))})

    def _kill_tokens(self, platform: str, shop: str | None) -> None:
        codes = [code for code, kept in self.book.shops.items() if kept.channel == platform]
        for code in codes if shop is None else [self._shop(shop)]:
            self.book.kill_token(code)
        self.book.weather.count(platform, "token_expiry")

    def _set_weather(self, platform: str, kind: str, wish: dict[str, Any]) -> None:
        for name in ("count", "shop"):
            wish.pop(name, None)
        with _refused(ValueError, TypeError):
            self.book.weather.order(platform, kind, **wish)

    def _shop(self, code: str) -> str:
        if code not in self.book.shops:
            raise Refused(f"没有店铺 {code}")
        return code

    def _order(self, shop: str, number: str) -> Order:
        if (order := self.book.get(shop, number)) is None:
            raise Refused(f"没有订单 {shop} {number}")
        return order

    async def _wished(self, request: Request) -> Order:
        wish = await _json(request)
        return self._order(str(wish.get("shop", "")), str(wish.get("number", "")))


@contextmanager
def _refused(*kinds: type[Exception]) -> Iterator[None]:
    """Turn what a collaborator cannot make sense of into a refusal."""
    try:
        yield
    except kinds as error:
        raise Refused(str(error)) from error


async def _json(request: Request) -> dict[str, Any]:
    try:
        wish = json.loads(await request.body() or b"{}")
    except ValueError as error:
        raise Refused("请求不是 JSON") from error
    if not isinstance(wish, dict):
        raise Refused("请求须为 JSON 对象")
    return wish


def _guarded(handler: Handler) -> Handler:
    async def handle(request: Request) -> Response:
        try:
            return await handler(request)
        except Refused as refusal:
            return answer({"error": str(refusal)}, status=409)
        except (KeyError, ValueError, TypeError) as error:
            return answer({"error": f"请求有误：{error!r}"}, status=400)

    return handle
