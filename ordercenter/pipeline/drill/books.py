"""Our book held against the platforms' own, order by order.

The sandbox lays its books open at ``/book/ledger``, ``/book/acked``, ``/book/writes`` and
``/book/faults``; nothing here changes anything on either side.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

import httpx
from django.db import connection

from channels_sync.models import OutboundMessage
from ordercenter.catalog.models import Shop
from ordercenter.orders.models import OrderLine, SalesOrder

TIMEOUT: Final = 120.0
SHOWN: Final = 20
PAID_ONLY: Final = frozenset({"jd", "pinduoduo"})
"""Platforms that show an order once it is paid or confirmed (``channels.md`` 2b, 4b)."""
SAME: Final[Mapping[str, frozenset[str]]] = {
    "wait_pay": frozenset({"wait_pay"}),
    "wait_ship": frozenset({"wait_ship", "part_shipped"}),
    "on_hold": frozenset({"on_hold", "wait_ship"}),
    "shipped": frozenset({"shipped", "finished"}),
    "finished": frozenset({"finished", "shipped"}),
    "closed_unpaid": frozenset({"closed_unpaid", "closed"}),
    "closed_refunded": frozenset({"closed_refunded", "closed"}),
}
"""What a platform's state may be called in ours; not every platform tells all apart."""


@dataclass(slots=True)
class Comparison:
    """What two books do not agree on; all lists empty means they are equal."""

    orders: int = 0
    lines: int = 0
    acked: int = 0
    told: int = 0
    missing: list[str] = field(default_factory=list)
    strange: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    differing: list[str] = field(default_factory=list)
    lost_pushes: list[str] = field(default_factory=list)
    untold: list[str] = field(default_factory=list)
    told_twice: list[str] = field(default_factory=list)

    @property
    def is_equal(self) -> bool:
        return not any(self.findings().values())

    def findings(self) -> dict[str, list[str]]:
        return {
            "missing": self.missing,
            "strange": self.strange,
            "doubled": self.doubled,
            "differing": self.differing,
            "lost_pushes": self.lost_pushes,
            "untold": self.untold,
            "told_twice": self.told_twice,
        }

    def as_json(self) -> dict[str, Any]:
        counts = {name: len(rows) for name, rows in self.findings().items()}
        shown = {name: rows[:SHOWN] for name, rows in self.findings().items() if rows}
        return {
            "equal": self.is_equal, "orders": self.orders, "lines": self.lines,
            "acked": self.acked, "told": self.told, **counts, "shown": shown,
        }  # fmt: skip


def compare(sandbox: str) -> Comparison:
    """Compare every shop the sandbox keeps a book for. Raises httpx.HTTPError."""
    found = Comparison()
    with httpx.Client(base_url=sandbox, timeout=TIMEOUT, trust_env=False) as client:
        for shop in Shop.objects.order_by("code"):
            answer = client.get("/book/ledger", params={"shop": shop.code})
            if answer.status_code == httpx.codes.OK:
                _compare_shop(shop, answer.json(), found)
        _compare_acked(client.get("/book/acked").raise_for_status().json()["acked"], found)
        twice = client.get("/book/writes", params={"twice": "1"}).raise_for_status().json()
    found.told_twice = [
        f"{row['shop']} {row['kind']} {row['key']} x{row['effects']}" for row in twice["writes"]
    ]
    _find_doubles(found)
    return found


def faults(sandbox: str) -> dict[str, Any]:
    """What trouble was served, by platform and kind, and how often tokens were renewed."""
    with httpx.Client(base_url=sandbox, timeout=TIMEOUT, trust_env=False) as client:
        told: dict[str, Any] = client.get("/book/faults").raise_for_status().json()
    return told


def _compare_shop(shop: Shop, ledger: Mapping[str, Any], found: Comparison) -> None:
    theirs = {
        row["number"]: row
        for row in ledger["orders"]
        if row["paid"] is not None or shop.channel not in PAID_ONLY
    }
    ours = {
        order.channel_number: order
        for order in SalesOrder.objects.filter(shop=shop).only(
            "channel_number", "channel_status", "payable_amount", "paid_amount", "status"
        )
    }
    found.orders += len(theirs)
    found.missing += [f"{shop.code} {number}" for number in sorted(theirs.keys() - ours.keys())]
    known = {row["number"] for row in ledger["orders"]}
    found.strange += [f"{shop.code} {number}" for number in sorted(ours.keys() - known)]
    pieces = _pieces(shop)
    told = _told(shop)
    for number in theirs.keys() & ours.keys():
        row, order = theirs[number], ours[number]
        found.lines += len(row["lines"])
        why = [*_differences(row, order), *_line_differences(row, pieces.get(order.pk, []))]
        if why:
            found.differing.append(f"{shop.code} {number}: {'; '.join(why)}")
        parcels = {parcel["tracking_number"] for parcel in row["shipments"]}
        for tracking in told.get(order.pk, ()):
            found.told += 1
            if tracking not in parcels:
                found.untold.append(f"{shop.code} {number} {tracking}")


def _differences(row: Mapping[str, Any], order: SalesOrder) -> Iterable[str]:
    if order.payable_amount != Decimal(row["payable_fen"]) / 100:
        yield f"payable {order.payable_amount} for {row['payable_fen']}"
    paid = Decimal(row["paid_fen"]) / 100
    if not row["state"].startswith("closed") and order.paid_amount != paid:
        yield f"paid {order.paid_amount} for {row['paid_fen']}"
    if order.channel_status not in SAME.get(row["state"], frozenset()):
        yield f"{order.channel_status} for {row['state']}"


def _pieces(shop: Shop) -> dict[int, list[int]]:
    """Pieces of every line as bought, by order."""
    rows: dict[int, list[int]] = {}
    bought = OrderLine.objects.filter(order__shop=shop, bundle_line=None).exclude(
        channel_line_id=""
    )
    for pk, quantity in bought.values_list("order_id", "quantity"):
        rows.setdefault(pk, []).append(quantity)
    return rows


def _line_differences(row: Mapping[str, Any], ours: Iterable[int]) -> Iterable[str]:
    theirs, mine = sorted(line["quantity"] for line in row["lines"]), sorted(ours)
    if theirs != mine:
        yield f"pieces {mine} for {theirs}"


def _told(shop: Shop) -> dict[int, list[str]]:
    """Tracking numbers the platform has confirmed to us, by order."""
    told: dict[int, list[str]] = {}
    rows = OutboundMessage.objects.filter(shop=shop, kind="ship", state="done")
    for pk, payload in rows.values_list("order_id", "payload"):
        if pk is not None and payload.get("tracking_number"):
            told.setdefault(pk, []).append(payload["tracking_number"])
    return told


def _compare_acked(acked: Iterable[Mapping[str, Any]], found: Comparison) -> None:
    """Every push we answered with 2xx is in the inbox."""
    events = {(row["shop"], str(row["event_id"])) for row in acked if row["event_id"]}
    found.acked = len(events)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT v.shop, v.event FROM unnest(%s::text[], %s::text[]) AS v(shop, event) "
            "JOIN catalog_shop s ON s.code = v.shop WHERE NOT EXISTS ("
            "SELECT 1 FROM channels_sync_inboxmessage m WHERE m.shop_id = s.id "
            "AND m.event_id = v.event)",
            [[shop for shop, _ in events], [event for _, event in events]],
        )
        found.lost_pushes = [f"{shop} {event}" for shop, event in cursor.fetchall()]


def _find_doubles(found: Comparison) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT s.code, btrim(o.channel_number), count(*) FROM orders_salesorder o "
            "JOIN catalog_shop s ON s.id = o.shop_id GROUP BY 1, 2 HAVING count(*) > 1"
        )
        found.doubled = [f"{shop} {number} x{count}" for shop, number, count in cursor.fetchall()]
