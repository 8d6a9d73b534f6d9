"""What is asked of the stock, and what it answers."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

Immovable = Callable[[Collection[int]], Collection[tuple[int, int]]]
"""Of these SKUs, the (shop, SKU) whose figure the shop's platform would not lower at present."""


@dataclass(frozen=True, slots=True)
class Demand:
    """One order line wants so many units of one SKU; ``amount`` is what they sell for.

    Demands of one ``bundle`` are held in one place.
    """

    line_id: int
    sku_id: int
    quantity: int
    amount: Decimal = Decimal(0)
    bundle: int | None = None


@dataclass(frozen=True, slots=True)
class Buyer:
    """Keys by which unpaid orders belong together; empty where nothing was given."""

    buyer: str = ""
    address: str = ""
    ip: str = ""


@dataclass(frozen=True, slots=True)
class StockRequest:
    """All demands of one order: granted whole, or not at all.

    From one place, or, where none has everything, from up to ``most_places`` of them.
    ``beside``: the order holds other stock already, and keeps it; the caller has seen behind
    the order's lock that these lines hold none.

    ``sources`` are virtual warehouses in the order they are to be tried. ``expires_at`` is
    set while the buyer has not paid. ``shop_id`` opens the shop's own slices; for a paid order
    units may be taken back out of other shops' slices. ``buyer`` is whom the caps on unpaid
    orders are counted by.
    """

    order_id: int
    demands: tuple[Demand, ...]
    sources: tuple[int, ...]
    expires_at: datetime | None = None
    shop_id: int | None = None
    is_paid: bool = False
    currency: str = "CNY"
    buyer: Buyer | None = None
    most_places: int = 1
    beside: bool = False


@dataclass(frozen=True, slots=True)
class Shortage:
    """So many units wanted, so many to be had in the best single place."""

    sku_id: int
    wanted: int
    available: int


@dataclass(frozen=True, slots=True)
class Clawed:
    """Units taken out of another shop's slice for one line, and what they sell for."""

    line_id: int
    sku_id: int
    slice_id: int
    shop_id: int
    quantity: int
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Cap:
    """Why an unpaid order holds nothing: too much is held unpaid by the same hand.

    ``kind`` is ``buyer``, ``address`` or ``ip``; ``held`` and ``limit`` are units of the SKU.
    """

    kind: str
    sku_id: int
    wanted: int
    held: int
    limit: int


@dataclass(frozen=True, slots=True)
class Grant:
    """The answer to one request: where the stock is held, or what is short."""

    order_id: int
    virtual_warehouse_id: int | None
    shortages: tuple[Shortage, ...] = ()
    reservations: tuple[int, ...] = ()
    seen: Mapping[int, int] | None = None
    """Units of each SKU left over all sources after this request, for the rules to see."""
    clawed: tuple[Clawed, ...] = ()
    capped: Cap | None = None
    also: tuple[int, ...] = ()
    """The further virtual warehouses, where the stock is held in several."""

    @property
    def places(self) -> tuple[int, ...]:
        """Every virtual warehouse that holds something for it."""
        return () if self.virtual_warehouse_id is None else (self.virtual_warehouse_id, *self.also)

    @property
    def granted(self) -> bool:
        return self.virtual_warehouse_id is not None
