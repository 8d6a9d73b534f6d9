"""What there is of an order's goods at this moment, for whoever has to decide about it."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from inventory.models import Reservation, VirtualWarehouse
from inventory.selectors import Arrival, SourceMap, next_arrivals, promisable
from ordercenter.catalog.models import BundlePart
from ordercenter.console.access import may_any
from ordercenter.console.selectors import Line
from ordercenter.core.policy import AnyUser, Can
from ordercenter.orders.models import OrderLine, SalesOrder

SEERS = (Can.VIEW_STOCK, Can.WORK_SHORTAGE)


@dataclass(frozen=True, slots=True)
class StockNow:
    """Units an order of this shop could still take, of one line's goods; sets for a bundle.

    ``here`` is the place that holds the order's goods, or would be tried first; None where no
    place serves the shop.
    """

    place: str
    here: int | None
    elsewhere: int
    held: int
    """Units of this line the order holds already."""
    sku_id: int | None
    arrival: Arrival | None

    @property
    def next_at(self) -> datetime | None:
        return self.arrival.at if self.arrival else None


def lines_with_stock(
    user: AnyUser, order: SalesOrder, lines: Sequence[Line]
) -> list[tuple[Line, StockNow | None]]:
    """The lines of a page, each with the stock behind it where the user may know."""
    found = _stock(order) if may_any(user, SEERS) else {}
    return [(line, found.get(line.pk)) for line in lines]


def _stock(order: SalesOrder) -> dict[int, StockNow]:
    rows = list(OrderLine.objects.filter(order=order, bundle_line=None).exclude(
        sku=None, bundle=None))  # fmt: skip
    needs = _needs(rows)
    skus = {sku for parts in needs.values() for sku in parts}
    if not skus:
        return {}
    sources = SourceMap().for_order(order.shop_id, order.province)
    units = promisable(order.shop_id, skus)
    held, holds_at = _held(order)
    here = holds_at or (sources[0] if sources else 0)
    place = VirtualWarehouse.objects.filter(pk=here).values_list("name", flat=True).first()
    coming = next_arrivals(skus, sources)

    def whole(source: int, parts: Mapping[int, int]) -> int:
        """Whole sets of the parts in one place."""
        return min(max(0, units.get((source, sku), 0)) // n for sku, n in parts.items())

    return {
        row.pk: StockNow(
            place or "",
            whole(here, needs[row.pk]) if here else None,
            sum(whole(source, needs[row.pk]) for source in sources if source != here),
            held.get(row.pk, 0),
            row.sku_id,
            coming.get(row.sku_id or 0),
        )
        for row in rows
        if needs[row.pk]
    }


def _needs(rows: Sequence[OrderLine]) -> dict[int, dict[int, int]]:
    """The pieces of each SKU one unit of a line is made of, by line."""
    bundles = {row.bundle_id for row in rows if row.bundle_id}
    parts: defaultdict[int, dict[int, int]] = defaultdict(dict)
    told = BundlePart.objects.filter(bundle_id__in=bundles) if bundles else []
    for part in told:
        parts[part.bundle_id][part.sku_id] = part.quantity
    return {row.pk: {row.sku_id: 1} if row.sku_id else parts[row.bundle_id or 0] for row in rows}


def _held(order: SalesOrder) -> tuple[dict[int, int], int]:
    """(units held by line, the virtual warehouse that holds them or 0)."""
    rows = Reservation.objects.filter(order_id=order.pk, state=Reservation.State.ACTIVE)
    told = list(rows.values_list("line_id", "quantity", "level__virtual_warehouse_id"))
    return {line: quantity for line, quantity, _ in told}, told[0][2] if told else 0
