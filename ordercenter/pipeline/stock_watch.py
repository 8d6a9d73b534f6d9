"""The safety net below ``telling_stock``: what it did not queue is found and told all the same.

The ledger of movements is the change log; every minute all listings are looked at, and by night
the figures are set anew that no channel has taken for a day.
"""

import time
from datetime import datetime, timedelta
from typing import Final

from django.db import connection, transaction

from ordercenter.core.clock import SHANGHAI
from ordercenter.core.clock import now as clock_now
from ordercenter.pipeline import publishing

SWEEP_SECONDS: Final = 60.0
"""Every so often all listings are looked at: what no movement announces (a new listing, a
canceled order) is found then, and what a movement that committed late would hide."""
LATE: Final = 2_000
"""How many younger movements may be seen before one that commits late."""
RECENT: Final = timedelta(seconds=30)
TOLD_DAILY: Final = timedelta(hours=20)
QUIET_HOURS: Final = range(3, 6)
AGAIN_AT_ONCE: Final = 500
AT_ONCE: Final = 200
"""So many SKUs of a sweep a transaction: orders wait for the lock of all figures meanwhile."""


@transaction.atomic
def tell_again(*, now: datetime | None = None) -> str:
    """Have figures set anew that no channel has taken for a day; at night, when few buy.

    Most platforms cannot be asked what they show: what drifted there unseen ends here. The next
    sweep tells them. Repeatable; what the platform refuses keeps its own time.
    """
    now = now or clock_now()
    if now.astimezone(SHANGHAI).hour not in QUIET_HOURS:
        return "not at this hour"
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [publishing.LOCK])
        cursor.execute(
            "UPDATE channels_sync_publishedstock SET told = NULL WHERE listing_id IN ("
            "SELECT listing_id FROM channels_sync_publishedstock WHERE told IS NOT NULL "
            "AND pushed_at < %s AND (refused_until IS NULL OR refused_until < %s) "
            "ORDER BY pushed_at LIMIT %s)",
            [now - TOLD_DAILY, now, AGAIN_AT_ONCE],
        )
        return f"{cursor.rowcount} figures are told again"


class StockWatch:
    """Finds the SKUs whose stock moved. Keeps its place in memory: the first look is a sweep."""

    def __init__(self) -> None:
        self._seen = 0
        self._swept_at: float | None = None

    def step(self, *, now: datetime | None = None) -> str:
        """Queue the figures of what moved since the last step; every minute, of everything."""
        now = now or clock_now()
        if not publishing.anybody_listens():
            return "no shop is told figures"
        if self._swept_at is None or time.monotonic() - self._swept_at >= SWEEP_SECONDS:
            self._seen = _last_movement()
            publishing.carry_forward(now=now)
            queued = _sweep(now)
            self._swept_at = time.monotonic()
            return f"{queued} figures queued, all looked at"
        moved, self._seen = _moved_since(self._seen, now=now)
        return f"{publishing.publish_stock(moved, now=now) if moved else 0} figures queued"


def _sweep(now: datetime) -> int:
    """Queue what differs, of everything that is listed; return how many."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT DISTINCT coalesce(c.sku_id, b.sku_id) AS sku FROM catalog_listing c "
            "LEFT JOIN catalog_bundlepart b ON b.bundle_id = c.bundle_id ORDER BY sku"
        )
        skus = [row[0] for row in cursor.fetchall() if row[0] is not None]
    return sum(
        publishing.publish_stock(skus[at : at + AT_ONCE], now=now)
        for at in range(0, len(skus), AT_ONCE)
    )


def _last_movement() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT coalesce(max(id), 0) FROM inventory_stockmovement")
        return int(cursor.fetchone()[0])


def _moved_since(seen: int, *, now: datetime) -> tuple[list[int], int]:
    """(SKUs moved by movements younger than ``seen``, the youngest movement).

    Movements a little older are looked at again as long as they are recent.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT l.sku_id, max(m.id) FROM inventory_stockmovement m "
            "JOIN inventory_stocklevel l ON l.id = m.level_id WHERE m.id > %s "
            "AND (m.id > %s OR m.created_at > %s) GROUP BY l.sku_id",
            [seen - LATE, seen, now - RECENT],
        )
        rows = cursor.fetchall()
    return [sku for sku, _ in rows], max([seen, *(last for _, last in rows)])
