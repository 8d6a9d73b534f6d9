"""What Shopify is told (``channels.md`` 5d): parcels, stock figures, notes."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Final

from channels_sync.connectors.exchange import reading_reply
from channels_sync.connectors.shopify import queries
from channels_sync.connectors.shopify.stock import ShopifyStock
from channels_sync.connectors.shopify.wire import (
    USER_ERRORS,
    all_rows,
    gid,
    not_there_now,
    number_of,
    refused,
)
from channels_sync.connectors.values import Node, merged_note
from channels_sync.contracts import (
    VIRTUAL_CARRIER,
    Memo,
    Rejected,
    ShipLine,
    ShipNotice,
    StockFigure,
    Told,
)

_OPEN: Final = frozenset({"OPEN", "IN_PROGRESS"})
_NOT_SENT: Final = frozenset({"CANCELLED", "ERROR", "FAILURE"})
_NOTE_LIMIT: Final = 5000
"""Unverified; the option ``memo_limit`` goes before it."""


class ShopifyTelling(ShopifyStock):
    """The store hears of parcels, figures and notes, each of which may be told twice."""

    repeatable: ClassVar[frozenset[type]] = frozenset({ShipNotice, StockFigure, Memo})

    # --- parcels ----------------------------------------------------------------------------

    def ship(self, notice: ShipNotice) -> None:
        """Report the parcel on the fulfillment orders that are still open.

        A parcel the order already carries is done; a whole order is done when nothing is open,
        and a further parcel of an order told whole is added to the one told before.
        """
        order = self._parcels(notice.channel_number)
        is_virtual = notice.carrier == VIRTUAL_CARRIER
        carried = not is_virtual and _parcel_of(order, notice.tracking_number) is not None
        if carried and notice.lines:
            return
        with reading_reply():
            groups = _to_ship(self._open_orders(order, notice.channel_number), notice.lines)
        for group in groups:
            self._fulfill(group, notice)
        if not (groups or carried or is_virtual or self._added(order, notice)):
            raise refused("nothing_open", "这张订单没有可以发货的履约单")

    def _parcels(self, channel_number: str) -> Node:
        data = self.ask(queries.PARCELS, {"id": gid("Order", channel_number)})
        if not isinstance(data.get("order"), Mapping):
            raise not_there_now()
        return data.node("order")

    def _open_orders(self, order: Node, channel_number: str) -> "Iterator[_OpenOrder]":
        def more(after: str) -> Node:
            wanted = {"id": gid("Order", channel_number), "after": after}
            data = self.ask(queries.MORE_FULFILLMENT_ORDERS, wanted)
            return data.node("order").node("fulfillmentOrders")

        for row in all_rows(order.node("fulfillmentOrders"), more):
            one = Node.of(row, "fulfillmentOrders")
            if one.text("status") in _OPEN:
                yield _OpenOrder(one.id("id"), _place(one), self._open_lines(one))

    def _open_lines(self, one: Node) -> Iterator[Node]:
        def more(after: str) -> Node:
            data = self.ask(queries.MORE_PARCEL_LINES, {"id": one.id("id"), "after": after})
            return data.node("fulfillmentOrder").node("lineItems")

        for row in all_rows(one.node("lineItems"), more):
            yield Node.of(row, "fulfillmentOrders.lineItems")

    def _fulfill(self, group: Sequence[Mapping[str, Any]], notice: ShipNotice) -> None:
        fulfillment: dict[str, Any] = {
            "lineItemsByFulfillmentOrder": list(group),
            "notifyCustomer": False,
        }
        if notice.carrier != VIRTUAL_CARRIER:
            company = self.carrier_code(notice.carrier)
            number = notice.tracking_number
            fulfillment["trackingInfo"] = {"company": company, "number": number}
        try:
            self.ask(queries.SHIP, {"fulfillment": fulfillment}, writes=True)
        except Rejected as error:
            if error.error.code != USER_ERRORS or not self.knows(notice):
                raise

    def _added(self, order: Node, notice: ShipNotice) -> bool:
        """Put a further tracking number on a parcel of ``notice.others``, if there is one."""
        known = (_parcel_of(order, number) for number in notice.others)
        parcel = next((one for one in known if one is not None), None)
        if parcel is None:
            return False
        numbers = [one.text("number") for one in parcel.nodes("trackingInfo")]
        tracking = {
            "company": self.carrier_code(notice.carrier),
            "numbers": [*filter(None, numbers), notice.tracking_number],
        }
        wanted = {"id": parcel.id("id"), "tracking": tracking}
        self.ask(queries.ADD_TRACKING, wanted, writes=True)
        return True

    # --- notes ------------------------------------------------------------------------------

    def write_memo(self, memo: Memo) -> None:
        """Add a line to the order's note, which buyer and merchant share. There is no flag."""
        note = self._note(memo.channel_number)
        limit = int(self.access.options.get("memo_limit", _NOTE_LIMIT))
        merged = merged_note(note, memo.text, limit=limit)
        if merged is not None:
            change = {"id": gid("Order", memo.channel_number), "note": merged}
            self.ask(queries.WRITE_NOTE, {"input": change}, writes=True)

    def _note(self, channel_number: str) -> str:
        data = self.ask(queries.NOTE, {"id": gid("Order", channel_number)})
        if not isinstance(data.get("order"), Mapping):
            raise not_there_now()
        return data.node("order").text("note")

    # --- asking first -----------------------------------------------------------------------

    def knows(self, told: Told) -> bool | None:
        """Ask the store whether it has heard it: by tracking number, figure or note."""
        if isinstance(told, ShipNotice):
            order = self._parcels(told.channel_number)
            if told.carrier != VIRTUAL_CARRIER:
                return _parcel_of(order, told.tracking_number) is not None
            with reading_reply():
                return not any(self._open_orders(order, told.channel_number))
        if isinstance(told, Memo):
            note = self._note(told.channel_number)
            return merged_note(note, told.text, limit=len(note) + len(told.text) + 1) is None
        if isinstance(told, StockFigure):
            shown = self.level(told, self.location())[1]
            return {told.quantity: True, told.believed: False}.get(shown)
        return None


class _OpenOrder:
    """A fulfillment order that may still be shipped from one place."""

    __slots__ = ("id", "lines", "place")

    def __init__(self, id_: str, place: str, lines: Iterator[Node]) -> None:
        self.id = id_
        self.place = place
        self.lines = lines


def _place(one: Node) -> str:
    return one.node_or_empty("assignedLocation").node_or_empty("location").text("id")


def _parcel_of(order: Node, number: str) -> Node | None:
    """The fulfillment that carries a tracking number."""
    for parcel in order.nodes("fulfillments"):
        if parcel.text("status") in _NOT_SENT:
            continue
        if any(tracking.text("number") == number for tracking in parcel.nodes("trackingInfo")):
            return parcel
    return None


def _to_ship(
    orders: Iterator[_OpenOrder], lines: Sequence[ShipLine]
) -> list[list[Mapping[str, Any]]]:
    """What to name in ``fulfillmentCreate``, by location: one call takes one location only.

    Raises Rejected when the open fulfillment orders hold less than ``lines`` ask for.
    """
    wanted: dict[str, int] = {}
    for line in lines:
        wanted[line.channel_line_id] = wanted.get(line.channel_line_id, 0) + line.quantity
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for one in orders:
        entry: dict[str, Any] = {"fulfillmentOrderId": one.id}
        if lines:
            entry["fulfillmentOrderLineItems"] = _take(one.lines, wanted)
            if not entry["fulfillmentOrderLineItems"]:
                continue
        groups.setdefault(one.place, []).append(entry)
    if any(wanted.values()):
        raise refused("not_open", "履约单里没有足够的待发数量")
    return list(groups.values())


def _take(items: Iterator[Node], wanted: dict[str, int]) -> list[Mapping[str, Any]]:
    taken: list[Mapping[str, Any]] = []
    for item in items:
        line = number_of(item.node("lineItem").get("id")) or ""
        quantity = min(wanted.get(line, 0), item.whole("remainingQuantity"))
        if quantity > 0:
            wanted[line] -= quantity
            taken.append({"id": item.id("id"), "quantity": quantity})
    return taken
