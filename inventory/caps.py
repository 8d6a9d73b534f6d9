"""Caps on what one hand may hold without paying, so that nobody hoards a shop's stock.

Counted by SKU over unpaid promises: units a buyer, units an address, and a share of what is on
the shelf an IP. An order beyond a cap is not refused: it holds nothing until it is paid. The
limits are ``StockPolicy``'s. An IP may always hold ``IP_FLOOR`` units: behind one there may be a
whole office, and a share of a short shelf would be a unit or two.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from django.db import connection

from inventory.contracts import Buyer, Cap, StockRequest
from inventory.granting import LevelKey, LockedLevels
from inventory.models import StockPolicy

IP_FLOOR: Final = 10
RECENT: Final = timedelta(days=2)
"""Unpaid promises are minutes old; orders placed before this hold none."""

_HELD: Final = """
    SELECT w.kind, w.key, l.sku_id, sum(r.quantity)
    FROM unnest(%(kinds)s::text[], %(keys)s::text[]) AS w(kind, key)
    CROSS JOIN LATERAL (
        SELECT order_id FROM orders_orderevidence WHERE w.kind = 'buyer'
        AND buyer_key = w.key AND buyer_key <> '' AND placed_at > %(since)s
        UNION ALL
        SELECT order_id FROM orders_orderevidence WHERE w.kind = 'address'
        AND address_key = w.key AND address_key <> '' AND placed_at > %(since)s
        UNION ALL
        SELECT order_id FROM orders_orderevidence WHERE w.kind = 'ip'
        AND ip = w.key AND ip <> '' AND placed_at > %(since)s
    ) e
    CROSS JOIN LATERAL (
        SELECT level_id, quantity FROM inventory_reservation
        WHERE order_id = e.order_id AND state = 'active' AND expires_at IS NOT NULL OFFSET 0
    ) r
    JOIN inventory_stocklevel l ON l.id = r.level_id AND l.sku_id = ANY(%(skus)s)
    GROUP BY w.kind, w.key, l.sku_id
    UNION ALL
    SELECT 'limit', v.kind, 0, v.units FROM inventory_stockpolicy p
    CROSS JOIN LATERAL (VALUES ('buyer', p.unpaid_units_per_buyer::numeric),
        ('address', p.unpaid_units_per_address), ('ip', p.unpaid_ip_percent)) AS v(kind, units)
"""


class Caps:
    """What is held unpaid by the buyers of one batch. Read under the locks of the levels.

    One statement, and none where nobody in the batch is unpaid and known.
    """

    def __init__(
        self, requests: Iterable[StockRequest], levels: LockedLevels, *, now: datetime
    ) -> None:
        self._levels = levels
        self._held = Counter[tuple[str, str, int]]()
        policy = StockPolicy()
        self._limits = {
            "buyer": Decimal(policy.unpaid_units_per_buyer),
            "address": Decimal(policy.unpaid_units_per_address),
            "ip": policy.unpaid_ip_percent,
        }
        unpaid = [request for request in requests if _is_capped(request)]
        who = sorted({pair for request in unpaid for pair in _keys(request.buyer)})
        if who:
            skus = {demand.sku_id for request in unpaid for demand in request.demands}
            self._read(who, sorted(skus), since=now - RECENT)

    def _read(
        self, who: Sequence[tuple[str, str]], skus: Sequence[int], *, since: datetime
    ) -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                _HELD,
                {"kinds": [kind for kind, _ in who], "keys": [key for _, key in who],
                 "skus": list(skus), "since": since},
            )  # fmt: skip
            for kind, key, sku, units in cursor.fetchall():
                if kind == "limit":
                    self._limits[key] = units
                else:
                    self._held[kind, key, sku] = int(units)

    def over(self, request: StockRequest, wanted: Mapping[int, int]) -> Cap | None:
        """The first cap this order would go beyond; None where it may be tried."""
        if not _is_capped(request):
            return None
        for kind, key in _keys(request.buyer):
            for sku, units in wanted.items():
                held, limit = self._held[kind, key, sku], self._limit(kind, sku, request.sources)
                if held + units > limit:
                    return Cap(kind, sku, units, held, limit)
        return None

    def count(self, request: StockRequest, wanted: Mapping[int, int]) -> None:
        """The order holds this now."""
        if _is_capped(request):
            for kind, key in _keys(request.buyer):
                for sku, units in wanted.items():
                    self._held[kind, key, sku] += units

    def _limit(self, kind: str, sku: int, sources: Iterable[int]) -> int:
        if kind != "ip":
            return int(self._limits[kind])
        keys: list[LevelKey] = [(source, sku) for source in sources]
        shelf = sum(self._levels[key].on_hand for key in keys if key in self._levels)
        return max(IP_FLOOR, int(shelf * self._limits["ip"] / 100))


def _is_capped(request: StockRequest) -> bool:
    return not request.is_paid and request.expires_at is not None and request.buyer is not None


def _keys(buyer: Buyer | None) -> list[tuple[str, str]]:
    if buyer is None:
        return []
    pairs = [("buyer", buyer.buyer), ("address", buyer.address), ("ip", buyer.ip)]
    return [(kind, key) for kind, key in pairs if key]
