"""Shopify is told of parcels (channels.md 5d): by fulfillment orders, in pieces of lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ordercenter.sandbox.book import Order, Refused, Shipment
from ordercenter.sandbox.platforms.shopify.bodies import (
    fulfillment_id,
    fulfillment_node,
    fulfillment_order,
)
from ordercenter.sandbox.platforms.shopify.wire import Call, GraphqlError, Serve, number_of

if TYPE_CHECKING:
    from ordercenter.sandbox.book import Book, ShopConfig

OPEN: Final = frozenset({"OPEN", "IN_PROGRESS"})
Pieces = dict[str, int]


class Fulfilling:
    def __init__(self, book: Book) -> None:
        self.book = book

    def mutations(self) -> dict[str, Serve]:
        return {
            "fulfillmentCreate": self.create,
            "fulfillmentTrackingInfoUpdate": self.update_tracking,
        }

    def create(self, call: Call) -> dict[str, Any]:
        """fulfillmentCreate; without a number it is of goods that nobody carries."""
        wish = call.field.arguments.get("fulfillment")
        if not isinstance(wish, dict):
            raise GraphqlError("Argument 'fulfillment' is required", "missingRequiredArguments")
        tracking = wish.get("trackingInfo")
        company, number = tracking_of(tracking)
        if tracking and not number:
            return refused("fulfillment", "Tracking number can't be blank")
        try:
            order, pieces = self._to_fulfill(call.shop, wish.get("lineItemsByFulfillmentOrder"))
            now, virtual = self.book.now(order.shop), not number
            parcel = Shipment(company, number, list(pieces), now, pieces, is_virtual=virtual)
            self.book.ship(order, parcel)
        except Refused as refusal:
            return refused("fulfillment", str(refusal))
        return {"fulfillment": fulfillment_node(order, order.shipments[-1]), "userErrors": []}

    def update_tracking(self, call: Call) -> dict[str, Any]:
        """fulfillmentTrackingInfoUpdate: another number for a fulfillment."""
        arguments = call.field.arguments
        wanted = number_of(arguments.get("fulfillmentId"), "Fulfillment")
        company, number = tracking_of(arguments.get("trackingInfoInput"))
        if not number:
            return refused("trackingInfoInput", "Tracking number can't be blank")
        for order in reversed(self.book.orders(call.shop.code)):
            for parcel in order.shipments:
                if fulfillment_id(order, parcel) == wanted:
                    before = parcel.tracking_number
                    parcel.carrier_code, parcel.tracking_number = company, number
                    shop = call.shop.code
                    self.book.wrote(shop, "reship", order.number, key=number, before=before)
                    self.book.touch(order)
                    return {"fulfillment": fulfillment_node(order, parcel), "userErrors": []}
        return refused("fulfillmentId", "Fulfillment does not exist.")

    def _to_fulfill(self, shop: ShopConfig, groups: Any) -> tuple[Order, Pieces]:
        """The order and the pieces meant: one order has one fulfillment order here."""
        if not isinstance(groups, list) or len(groups) != 1 or not isinstance(groups[0], dict):
            raise Refused("Exactly one fulfillment order must be given.")
        known = number_of(groups[0].get("fulfillmentOrderId"), "FulfillmentOrder")
        order = self.book.get(shop.code, known.removeprefix("7"))
        if order is None:
            raise Refused("Fulfillment order does not exist.")
        whole = fulfillment_order(order)
        if whole["status"] not in OPEN:
            raise Refused("The fulfillment order is not in an open state.")
        left = {n["id"]: n for n in whole["lineItems"]["nodes"] if n["remainingQuantity"] > 0}
        asked = groups[0].get("fulfillmentOrderLineItems")
        if asked is None:
            asked = [{"id": key, "quantity": n["remainingQuantity"]} for key, n in left.items()]
        pieces: Pieces = {}
        for row in (row for row in asked if isinstance(row, dict)):
            node = left.pop(str(row.get("id")), None)
            if node is None or not 1 <= row.get("quantity", 0) <= node["remainingQuantity"]:
                raise Refused("Invalid fulfillment order line item quantity requested.")
            pieces[number_of(node["lineItem"]["id"], "LineItem")] = row["quantity"]
        if not pieces:
            raise Refused("Nothing to fulfill.")
        return order, pieces


def tracking_of(told: Any) -> tuple[str, str]:
    """Company and number of a parcel; both empty where nothing is said."""
    told = told if isinstance(told, dict) else {}
    return str(told.get("company") or ""), str(told.get("number") or "")


def refused(name: str, why: str) -> dict[str, Any]:
    return {"fulfillment": None, "userErrors": [{"field": [name], "message": why}]}
