"""The tables of the stock, by subject."""

from inventory.models.documents import (
    Adjustment,
    CountLine,
    Inbound,
    InboundLine,
    PresalePromise,
    StockCount,
    StockFile,
    StockProof,
    ToldFigure,
    Transfer,
    TransferLine,
)
from inventory.models.levels import (
    Account,
    Reservation,
    StockLevel,
    StockLevelQuerySet,
    StockMovement,
    StockSlice,
)
from inventory.models.places import (
    Bin,
    BinPlace,
    VirtualWarehouse,
    Warehouse,
    WarehouseAssignment,
)
from inventory.models.quotas import (
    ChannelQuota,
    ClawBack,
    SafetyStock,
    StockBuffer,
    StockPolicy,
)
from inventory.models.replenishing import ReplenishSnooze

__all__ = [
    "Account",
    "Adjustment",
    "Bin",
    "BinPlace",
    "ChannelQuota",
    "ClawBack",
    "CountLine",
    "Inbound",
    "InboundLine",
    "PresalePromise",
    "ReplenishSnooze",
    "Reservation",
    "SafetyStock",
    "StockBuffer",
    "StockCount",
    "StockFile",
    "StockLevel",
    "StockLevelQuerySet",
    "StockMovement",
    "StockPolicy",
    "StockProof",
    "StockSlice",
    "ToldFigure",
    "Transfer",
    "TransferLine",
    "VirtualWarehouse",
    "Warehouse",
    "WarehouseAssignment",
]
