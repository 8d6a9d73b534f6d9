"""The sandbox's books laid open, to hold a center's against.

``GET /book/ledger?shop=``: every order of a shop as its platform has it, and the stock it
shows; ``/book/acked``: every push that was taken; ``/book/writes``: every write the center
made, how often it was asked for and how often it took effect; ``/book/faults``: every trouble
that was served. An order's row is made once for each of its versions, so that fifty thousand
orders can be read again and again.
"""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, Final

from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from ordercenter.sandbox.wire import answer

if TYPE_CHECKING:
    from starlette.requests import Request

    from ordercenter.sandbox.book import Book, Order

AT_A_TIME: Final = 500  # rows between two turns of the platforms
JSON: Final = "application/json;charset=UTF-8"


class Ledger:
    def __init__(self, book: Book) -> None:
        self.book = book
        self._rows: dict[tuple[str, str], tuple[int, str]] = {}

    def routes(self) -> list[Route]:
        return [
            Route("/book/ledger", self.ledger),
            Route("/book/acked", self.acked),
            Route("/book/writes", self.writes),
            Route("/book/faults", self.faults),
        ]

    async def ledger(self, request: Request) -> Response:
        """The orders of ``shop`` (changed since ``since``, Unix seconds), and its stock."""
        code = request.query_params.get("shop", "")
        if code not in self.book.shops:
            return answer({"error": f"没有店铺 {code}"}, status=409)
        since = request.query_params.get("since")
        orders = self.book.orders(code)
        if since is not None:
            orders = [order for order in orders if order.modified >= float(since)]
        return StreamingResponse(self._told(code, orders), media_type=JSON)

    async def acked(self, request: Request) -> Response:
        """Every push that was acknowledged, of all shops or of ``shop``."""
        shop = request.query_params.get("shop")
        rows = [
            {
                "event_id": row.get("id", ""),
                "shop": row.get("shop", ""),
                "number": row.get("number", ""),
                "topic": row.get("topic", ""),
                "at": row["at"],
            }
            for row in self.book.records["push"]
            if row["taken"] and shop in {None, row.get("shop")}
        ]
        return answer({"acked": rows})

    async def writes(self, request: Request) -> Response:
        """Every write: with ``twice=1`` only those with a key that took effect more than once."""
        query = request.query_params
        twice = query.get("twice") == "1"
        rows = [
            {"shop": shop, "kind": kind, "subject": subject, "key": key, **counted}
            for (shop, kind, subject, key), counted in self.book.tally.items()
            if query.get("shop") in {None, shop} and query.get("kind") in {None, kind}
            if not twice or (key and counted["effects"] > 1)
        ]
        return answer({"writes": rows})

    async def faults(self, request: Request) -> Response:
        told: defaultdict[str, dict[str, int]] = defaultdict(dict)
        for (platform, kind), times in sorted(self.book.weather.served.items()):
            told[platform][kind] = times
        refreshes: defaultdict[str, int] = defaultdict(int)
        for row in self.book.records["refresh"]:
            refreshes[row["shop"]] += 1
        return answer({"faults": told, "token_refreshes": refreshes})

    async def _told(self, code: str, orders: list[Order]) -> AsyncIterator[str]:
        shop = self.book.shops[code]
        shelf = self.book.shelves.get(shop.channel)
        stock = {} if shelf is None else shelf.figures(shop)
        yield json.dumps({"shop": code, "stock": stock})[:-1] + ',"orders":['
        for first in range(0, len(orders), AT_A_TIME):
            rows = [self._row(order) for order in orders[first : first + AT_A_TIME]]
            yield ("," if first else "") + ",".join(rows)
            await asyncio.sleep(0)
        yield "]}"

    def _row(self, order: Order) -> str:
        place = (order.shop, order.number)
        version, text = self._rows.get(place, (-1, ""))
        if version != order.version:
            text = json.dumps(row_of(order), ensure_ascii=False, separators=(",", ":"))
            self._rows[place] = (order.version, text)
        return text


def row_of(order: Order) -> dict[str, Any]:
    """What counts of an order when two books are compared."""
    return {
        "number": order.number,
        "created": order.created,
        "paid": order.paid,
        "modified": order.modified,
        "state": order.state,
        "payable_fen": order.payable_fen,
        "paid_fen": order.paid_fen,
        "lines": [
            {
                "line_id": line.line_id,
                "sku_id": line.platform_sku_id,
                "outer_code": line.outer_code,
                "quantity": line.quantity,
                "amount_fen": line.amount_fen,
                "is_gift": line.is_gift,
            }
            for line in order.lines
        ],
        "open_refunds": [refund.refund_id for refund in order.open_refunds()],
        "refunds": {refund.refund_id: refund.state for refund in order.refunds},
        "shipments": [
            {
                "carrier_code": shipment.carrier_code,
                "tracking_number": shipment.tracking_number,
                "line_ids": shipment.line_ids,
                "quantities": shipment.quantities,
                "is_virtual": shipment.is_virtual,
            }
            for shipment in order.shipments
        ],
        "memo": order.memo,
        "flag": order.flag,
        "address_version": order.address_version,
        "stops": order.stops,
    }
