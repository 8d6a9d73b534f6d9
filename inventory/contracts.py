"""What is asked of the stock, and what it answers."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Demand:
    """One order line wants so many units of one SKU."""

    line_id: int
    sku_id: int
    quantity: int


@dataclass(frozen=True, slots=True)
class StockRequest:
    """All demands of one order: granted whole from one place, or not at all.

    ``sources`` are virtual warehouses in the order they are to be tried. ``expires_at`` is
    set while the buyer has not paid.
    """

    order_id: int
    demands: tuple[Demand, ...]
    sources: tuple[int, ...]
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Shortage:
    """So many units wanted, so many to be had in the best single place."""

    sku_id: int
    wanted: int
    available: int


@dataclass(frozen=True, slots=True)
class Grant:
    """The answer to one request: where the stock is held, or what is short."""

    order_id: int
    virtual_warehouse_id: int | None
    shortages: tuple[Shortage, ...] = ()
    reservations: tuple[int, ...] = ()
    seen: Mapping[int, int] | None = None
    """Units of each SKU left over all sources after this request, for the rules to see."""

    @property
    def granted(self) -> bool:
        return self.virtual_warehouse_id is not None
