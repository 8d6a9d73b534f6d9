"""Shopify's Admin GraphQL (channels.md 5a to 5d).

What may be sent to ``graphql.json``: a body ``{"query": text, "variables": object}`` whose
text is one anonymous or named operation, arguments literal or as ``$variables``, in any
spelling of white space:

* ``orders(first: 1..250, after: cursor|null, sortKey: UPDATED_AT|CREATED_AT|ID, reverse: bool,
  query: text)``; the text knows ``updated_at``, ``created_at``, ``name`` and ``id`` with
  ``:``, ``:>``, ``:>=``, ``:<``, ``:<=``, joined by blanks or ``AND``;
* ``order(id: gid)``, ``node(id: gid)``, ``shop``, and what ``inventory`` and ``fulfilling`` name.

The selection is not obeyed: an order comes whole. But its ``lineItems`` and
``fulfillmentOrders`` are turned in the pages that are asked for; the shop's option
``inner_page`` makes them shorter still. There is no request for a refund on this platform: a
refund is made by the merchant's help desk and is ``pending`` until the bank has agreed. So it
is here what the other platforms call asked for, and told by ``refunds/create`` twice, pending
and at its end, under one refund id (ours).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from starlette.routing import Route

from ordercenter.sandbox.platforms.graphql import Field, SyntaxProblem, read_operation
from ordercenter.sandbox.platforms.shopify.bodies import (
    connection,
    fulfillment_order,
    order_node,
    shop_domain,
    turned,
)
from ordercenter.sandbox.platforms.shopify.fulfilling import Fulfilling
from ordercenter.sandbox.platforms.shopify.inventory import Inventory
from ordercenter.sandbox.platforms.shopify.oauth import Authorization
from ordercenter.sandbox.platforms.shopify.walk import (
    EVER,
    cursor,
    place_after,
    read_cursor,
    search,
    sort_place,
)
from ordercenter.sandbox.platforms.shopify.wire import (
    Bucket,
    Call,
    GraphqlError,
    Serve,
    gid,
    number_of,
)
from ordercenter.sandbox.rendered import Rendered
from ordercenter.sandbox.wire import answer

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from ordercenter.sandbox.book import Book, Order, ShopConfig

LARGEST_PAGE: Final = 250
OLDEST_VERSION: Final = "2025-07"
"""What is older falls forward to this one (5a)."""


def routes(book: Book) -> list[Route]:
    path = "/shopify/admin/api/{version}/graphql.json"
    return [Route(path, Admin(book).handle, methods=["POST"]), *Authorization(book).routes()]


class Admin:
    def __init__(self, book: Book) -> None:
        self.book = book
        self.rendered = Rendered(lambda shop, order: order_node(book, shop, order))
        self._buckets: dict[str, Bucket] = {}
        inventory, fulfilling = Inventory(book), Fulfilling(book)
        self._queries: dict[str, Serve] = {
            "orders": self.orders,
            "order": self.order,
            "node": self.order,
            "shop": self.shop,
            **inventory.queries(),
        }
        self._mutations: dict[str, Serve] = {
            "orderUpdate": self.order_update,
            **fulfilling.mutations(),
            **inventory.mutations(),
        }

    async def handle(self, request: Request) -> Response:
        version = request.path_params["version"]
        if re.fullmatch(r"\d{4}-\d\d|unstable", version) is None:
            return answer({"errors": "Not Found"}, status=404)
        shop = self._shop(request.headers.get("x-shopify-access-token", ""))
        if shop is None:
            said = "[API] Invalid API key or access token (unrecognized login or wrong password)"
            return answer({"errors": said}, status=401)
        try:
            wish = json.loads(await request.body())
            query, variables = wish["query"], dict(wish.get("variables") or {})
        except (ValueError, KeyError, TypeError):
            return answer(
                {"errors": {"query": "Required parameter missing or invalid"}}, status=400
            )
        spoken = max(version, OLDEST_VERSION)
        reply = answer(self._answer(shop, spoken, str(query), variables))
        reply.headers["X-Shopify-API-Version"] = spoken
        return reply

    def _shop(self, token: str) -> ShopConfig | None:
        for shop in self.book.shops.values():
            if shop.channel == "shopify" and self.book.takes_token(shop, token):
                return shop
        return None

    def _answer(
        self, shop: ShopConfig, version: str, query: str, variables: Mapping[str, Any]
    ) -> dict[str, Any]:
        try:
            kind, fields = read_operation(query, variables)
            return self._spend(shop, version, kind, fields)
        except SyntaxProblem as problem:
            return GraphqlError(f"syntax error, {problem}").body()
        except GraphqlError as error:
            return error.body()

    def _spend(
        self, shop: ShopConfig, version: str, kind: str, fields: Mapping[str, Field]
    ) -> dict[str, Any]:
        """Answer within what the bucket holds, else THROTTLED with HTTP 200 (5a)."""
        known = self._mutations if kind == "mutation" else self._queries
        if unknown := [field.name for field in fields.values() if field.name not in known]:
            on = "Mutation" if kind == "mutation" else "QueryRoot"
            message = f"Field '{unknown[0]}' doesn't exist on type '{on}'"
            raise GraphqlError(message, "undefinedField")
        now = self.book.clock()
        bucket = self._buckets.setdefault(shop.code, Bucket(shop, now))
        requested = sum(_points(field) for field in fields.values())
        if not bucket.draw(requested, now):
            cost = {"extensions": bucket.told(requested, None)}
            return GraphqlError("Throttled", "THROTTLED").body() | cost
        data = {
            response: known[field.name](Call(shop, version, field))
            for response, field in fields.items()
        }
        rows = sum(_rows(found) for found in data.values() if found)
        actual = min(requested, 2 + rows)
        bucket.give_back(requested - actual)
        told: dict[str, Any] = {"data": data, "extensions": bucket.told(requested, actual)}
        listed = data.get("orders")
        if listed and listed["nodes"] and self.book.weather.strikes("shopify", "odd_shapes"):
            # Part of an answer: with errors beside it the page is not complete.
            listed["nodes"][-1] = None
            path = ["orders", "nodes", len(listed["nodes"]) - 1]
            told["errors"] = [{"message": "Internal error", "path": path}]
        return told

    # Orders

    def orders(self, call: Call) -> dict[str, Any]:
        """A page behind the cursor; the cursor holds the place, so moved rows come again (5b)."""
        shop, arguments = call.shop, call.field.arguments
        first = arguments.get("first")
        if not isinstance(first, int) or not 1 <= first <= LARGEST_PAGE:
            raise GraphqlError("you must provide a `first` value between 1 and 250")
        wanted = search(str(arguments.get("query") or ""))
        place = sort_place(str(arguments.get("sortKey") or "PROCESSED_AT"))
        if "created_at" in wanted.spans:
            every = self.book.created(shop.code, *wanted.spans["created_at"])
        else:
            every = self.book.changed(shop.code, *wanted.spans.get("updated_at", EVER))
        found = [order for order in every if wanted.fits(order)]
        reverse = bool(arguments.get("reverse"))
        found.sort(key=place, reverse=reverse)
        if arguments.get("after") is not None:
            behind = place_after(read_cursor(arguments["after"]), reverse=reverse)
            found = [order for order in found if behind(place(order))]
        rows = found[:first]
        return {
            "nodes": [self._node(call, order) for order in rows],
            "pageInfo": {
                "hasNextPage": len(found) > first,
                "endCursor": cursor(place(rows[-1])) if rows else None,
            },
        }

    def order(self, call: Call) -> dict[str, Any] | None:
        """One order with its fulfillment orders, which shipping needs (5d)."""
        number = number_of(call.field.arguments.get("id"), "Order")
        order = self.book.get(call.shop.code, number)
        if order is None or self.book.is_late(order):
            return None
        return self._node(call, order)

    def _node(self, call: Call, order: Order) -> dict[str, Any]:
        """The order, its inner connections turned to the page that is asked for."""
        whole = self.rendered.of(call.shop, order)
        most = int(call.shop.options.get("inner_page", LARGEST_PAGE))
        lines = turned(whole["lineItems"], call.field.inner("lineItems"), most)
        shipping = fulfillment_order(order)
        asked = call.field.inner("fulfillmentOrders", "lineItems")
        shipping["lineItems"] = turned(shipping["lineItems"], asked, most)
        orders = turned(connection([shipping]), call.field.inner("fulfillmentOrders"), most)
        return {**whole, "lineItems": lines, "fulfillmentOrders": orders}

    def order_update(self, call: Call) -> dict[str, Any]:
        """orderUpdate: note and tags are replaced (5d)."""
        wish = call.field.arguments.get("input")
        if not isinstance(wish, dict):
            raise GraphqlError("Argument 'input' is required", "missingRequiredArguments")
        order = self.book.get(call.shop.code, number_of(wish.get("id"), "Order"))
        if order is None:
            told = [{"field": ["id"], "message": "Order does not exist"}]
            return {"order": None, "userErrors": told}
        tags = wish.get("tags")
        if tags is not None:
            order.extra["tags"] = tags if isinstance(tags, list) else str(tags).split(",")
        if "note" in wish:
            order.extra["note"] = str(wish["note"] or "")
            self.book.write_memo(order, order.extra["note"])
        else:
            self.book.touch(order)
        node = self.rendered.of(call.shop, order)
        kept = {name: node[name] for name in ("id", "note", "tags")}
        return {"order": kept, "userErrors": []}

    def shop(self, call: Call) -> dict[str, Any]:
        return {
            "id": gid("Shop", 90000001),
            "name": call.shop.name,
            "myshopifyDomain": shop_domain(call.shop),
            "currencyCode": call.shop.currency,
        }


def _points(field: Field) -> int:
    """What a field may cost at most, by the rows it asks for."""
    ids, first = field.arguments.get("ids"), field.arguments.get("first")
    if isinstance(ids, list):
        return 2 + len(ids)
    return 2 + first if isinstance(first, int) else 12


def _rows(found: Any) -> int:
    return len(found) if isinstance(found, list) else len(found.get("nodes", ()))
