"""What warehouses of others last told of themselves, where it came from, and how old it is."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from inventory.models import StockFile, StockPolicy, ToldFigure


@dataclass(frozen=True, slots=True)
class LastTold:
    """The last telling of one level; ``units`` is None where only its warehouse has told."""

    as_of: datetime
    source: str
    is_stale: bool
    """Older than the policy lets figures of others be."""
    units: int | None = None


def last_told(levels: Mapping[int, int], *, now: datetime) -> dict[int, LastTold]:
    """The last telling by level, of those that there is one of; ``levels`` are given with their
    virtual warehouses. A level nothing was told of shows its warehouse's last telling."""
    if not levels:
        return {}
    stale = now - timedelta(hours=StockPolicy.current().told_hours)
    rooms = {
        room: LastTold(as_of, str(StockFile.Source(source).label), as_of < stale)
        for room, as_of, source in StockFile.objects.filter(
            virtual_warehouse__in={*levels.values()}
        )
        .order_by("virtual_warehouse_id", "-as_of")
        .distinct("virtual_warehouse_id")
        .values_list("virtual_warehouse_id", "as_of", "source")
    }
    found = {level: rooms[room] for level, room in levels.items() if room in rooms}
    rows = ToldFigure.objects.filter(level__in=levels)
    for level, units, as_of, source in rows.values_list(
        "level_id", "units", "as_of", "file__source"
    ):
        label = str(StockFile.Source(source).label)
        found[level] = LastTold(as_of, label, as_of < stale, units)
    return found
