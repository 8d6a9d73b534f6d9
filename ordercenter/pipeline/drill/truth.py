"""The sandbox's ground truth: what it planted against what we held and marked, kind by kind.

A trouble is caught when the rule (or the step of the path) that is there for it found it; another
rule's hold does not count. An order without any trouble that something stops is a false stop.

The openers of a pattern that a later order completes are counted apart: once it is complete the
center looks at them again and holds them beside the one that completed it, so that a reviewer has
both in hand. Of a double order both are to be flagged (``BOTH``): its opener is a trouble like the
second one. What stops an opener and not the order that completed it is a false stop.
"""

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from statistics import quantiles
from typing import Any, Final

from django.contrib.auth.models import User
from django.db import close_old_connections, connection

from ordercenter.catalog.models import Shop
from ordercenter.core.clock import now as clock_now
from ordercenter.pipeline.drill.books import PAID_ONLY
from ordercenter.pipeline.drill.center import Center
from ordercenter.pipeline.drill.desk import Desk, Placed, Say, wait_for
from risk.lists import Told, add_entries

EXPECTED: Final[Mapping[str, frozenset[str]]] = {
    "duplicate": frozenset({"rule:same_sku_5m"}),
    "same_ip": frozenset({"rule:same_ip_10s"}),
    "accounts_on_ip": frozenset({"rule:ip_accounts_10m"}),
    "phone_burst": frozenset({"rule:phone_burst_10m"}),
    "buyer_burst": frozenset({"rule:buyer_3_in_24h"}),
    "two_shops": frozenset({"rule:likeness_85"}),
    "gift_without_main": frozenset({"rule:gift_dependency"}),
    "gift_short": frozenset({"mark:gift_short", "shortage:shortage"}),
    "address_day": frozenset({"rule:address_day_5000"}),
    "stock_short": frozenset({"mark:stock_risk", "shortage:shortage"}),
    "low_price": frozenset({"rule:low_price_85"}),
    "half_price": frozenset({"rule:half_price_60"}),
    "triple": frozenset({"rule:price_address_velocity"}),
    "unmapped": frozenset({"unmapped:unmapped"}),
    "refund_before_ship": frozenset({"refund"}),
    "invalid_receiver": frozenset({"incomplete:receiver"}),
    "restricted_region": frozenset({"rule:restricted_region"}),
    "no_carrier": frozenset({"rule:no_carrier"}),
    "regional_limit": frozenset({"rule:regional_limit"}),
    "blacklisted": frozenset({"rule:blacklist"}),
    "blacklist_frozen": frozenset({"rule:blacklist_freeze"}),
    "cross_border": frozenset({"rule:cross_border"}),
    "high_value": frozenset({"rule:high_value"}),
    "rush": frozenset({"mark:rush"}),
}
"""By kind what finds it: ``kind:code`` of a hold, or ``mark:code`` of a finding that holds
nothing, or the kind of a hold alone. One of them is enough."""
BOTH: Final = {"duplicate": "duplicate_first"}
"""Patterns of which the opener is to be held, too, and what it is counted as."""
EXTRA: Final[Mapping[str, int]] = {
    "restricted_region": 5, "accounts_on_ip": 4, "buyer_burst": 4, "two_shops": 5,
    "blacklisted": 5, "blacklist_frozen": 4, "regional_limit": 4, "no_carrier": 4,
    "cross_border": 4, "high_value": 4, "triple": 4, "rush": 5,
}  # fmt: skip
"""How often the kinds come that the market does not plant by itself."""
CAUGHT: Final = 0.99
STOPPED: Final = 0.01
MARKED_P99: Final = 60.0
MARKED_MEDIAN: Final = 1.0
LINGER: Final = 480.0
"""Seconds after which the slowest pattern begun is complete."""
SETTLE: Final = timedelta(minutes=10)
LOOK: Final = 0.2
BEHIND: Final = 2_000
"""Rows back from the newest that may still have been uncommitted when it was seen."""
SHOWN: Final = 20


@dataclass(slots=True)
class Kind:
    """What came of one kind."""

    planted: int = 0
    caught: int = 0
    missed: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Result:
    """What came of it. Seconds are from the inbox row to the verdict seen committed."""

    orders: int = 0
    seconds: float = 0.0
    rate: float = 0.0
    troubled: int = 0
    caught: int = 0
    kinds: dict[str, Kind] = field(default_factory=dict)
    clean: int = 0
    stopped: int = 0
    stopped_by: dict[str, int] = field(default_factory=dict)
    openers: int = 0
    openers_held: int = 0
    """Held together with the order that completed their pattern, by the rule that found it."""
    shown: list[str] = field(default_factory=list)
    """The first orders that were stopped falsely, and by what."""
    missing: list[str] = field(default_factory=list)
    """Orders the platforms show that never reached our book."""
    unmarked: int = 0
    median: float = 0.0
    p99: float = 0.0
    slowest: float = 0.0

    @property
    def is_good(self) -> bool:
        return (
            not self.missing
            and not self.unmarked
            and self.troubled > 0
            and self.caught >= CAUGHT * self.troubled
            and self.stopped <= STOPPED * (self.clean + self.openers)
            and self.p99 <= MARKED_P99
            and self.median < MARKED_MEDIAN
        )


def rehearse(center: Center, *, minutes: float, rate: float, say: Say) -> Result:
    """Sell for so long, let every pattern complete itself, and compare."""
    desk, result, watch = Desk(center.sandbox), Result(rate=rate), Watch()
    _list(desk, say=say)
    watch.start()
    began = time.monotonic()
    desk.post("/control/rate", {"rate": rate, "mix": EXTRA})
    time.sleep(minutes * 60)
    desk.post("/control/rate", {"rate": 0})
    result.seconds = round(time.monotonic() - began, 1)
    say(f"卖了 {result.seconds:.0f} 秒，等各种异常凑齐")
    time.sleep(min(LINGER, minutes * 60))
    desk.post("/control/rate", {"rate": 0, "still": True})
    rows = shown_of(_truth(desk)["orders"])
    wait_for([_place(row) for row in rows], at_most=SETTLE, say=say)
    watch.stop()
    compare(rows, found_of(), result)
    _time(watch, result)
    return result


def shown_of(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The orders a platform shows: some show none that nobody has paid."""
    channels = dict(Shop.objects.values_list("code", "channel"))
    return [
        row for row in rows if row["paid"] is not None or channels[row["shop"]] not in PAID_ONLY
    ]


def compare(
    rows: Sequence[Mapping[str, Any]], found: Mapping[Placed, frozenset[str]], result: Result
) -> None:
    """Count every order of the truth by what we found of it."""
    stopped_by: Counter[str] = Counter()
    completed: defaultdict[str, set[str]] = defaultdict(set)
    both: dict[str, str] = {}
    for row in rows:
        if row["kinds"] and row["cluster"]:
            completed[row["cluster"]] |= stops_of(found.get(_place(row), frozenset()))
            for kind in BOTH.keys() & set(row["kinds"]):
                both[row["cluster"]] = kind
    for row in rows:
        result.orders += 1
        ours = found.get(_place(row))
        if ours is None:
            result.missing.append(f"{row['shop']} {row['number']}")
        elif row["kinds"]:
            _count_trouble(row, ours, result)
        else:
            if double := both.get(row["cluster"]):
                _count_kind(row, ours, BOTH[double], EXPECTED[double], result)
            stopped_by.update(_count_clean(row, stops_of(ours), completed, result))
    result.stopped_by = dict(stopped_by.most_common())


def stops_of(found: frozenset[str]) -> set[str]:
    """What stops an order, as ``kind:code``; a mark stops nothing."""
    return {one for one in found if ":" in one and not one.startswith("mark:")}


def _count_clean(
    row: Mapping[str, Any], stops: set[str], completed: Mapping[str, set[str]], result: Result
) -> set[str]:
    """Count an order that nothing is wrong with; return what stops it falsely."""
    if row["cluster"]:
        with_others = stops & completed.get(row["cluster"], set())
        result.openers += 1
        result.openers_held += bool(with_others)
        stops = stops - with_others
    else:
        result.clean += 1
    if stops:
        result.stopped += 1
        if len(result.shown) < SHOWN:
            told = f"{row['shop']} {row['number']} {row['cluster']}".rstrip()
            result.shown.append(f"{told}: {' '.join(sorted(stops))}")
    return stops


def _count_trouble(row: Mapping[str, Any], ours: frozenset[str], result: Result) -> None:
    for name in row["kinds"]:
        if name == "refund_before_ship" and not row["refunds"]:
            continue  # nobody has asked for the money back yet
        _count_kind(row, ours, name, EXPECTED[name], result)


def _count_kind(
    row: Mapping[str, Any], ours: frozenset[str], name: str, wanted: frozenset[str], result: Result
) -> None:
    kind = result.kinds.setdefault(name, Kind())
    kind.planted += 1
    result.troubled += 1
    if wanted & ours:
        kind.caught += 1
        result.caught += 1
    elif len(kind.missed) < SHOWN:
        kind.missed.append(f"{row['shop']} {row['number']}: {' '.join(sorted(ours)) or '-'}")


def _place(row: Mapping[str, Any]) -> Placed:
    return row["shop"], row["number"]


_FOUND: Final = """
    SELECT s.code, btrim(o.channel_number), array_remove(array_cat(
        (SELECT array_agg(DISTINCT h.kind || ':' || h.code) FROM orders_orderhold h
         WHERE h.order_id = o.id AND h.tier >= '2'),
        (SELECT array_agg(DISTINCT 'mark:' || (f ->> 'code')) FROM risk_verdict v,
           jsonb_array_elements(v.findings) f
         WHERE v.order_id = o.id AND (f ->> 'hit')::boolean)), NULL)
    FROM orders_salesorder o JOIN catalog_shop s ON s.id = o.shop_id
"""


def found_of() -> dict[Placed, frozenset[str]]:
    """By order every hold of tier 2 and 3 it ever had, and every finding of any verdict."""
    with connection.cursor() as cursor:
        cursor.execute(_FOUND)
        rows = cursor.fetchall()
    return {
        (shop, number): frozenset(found or ()) | {one.partition(":")[0] for one in found or ()}
        for shop, number, found in rows
    }


def _truth(desk: Desk) -> Any:
    return desk.client.get("/book/truth").raise_for_status().json()


def _list(desk: Desk, *, say: Say) -> None:
    """Put on the lists what a seller would have there, through the door people use."""
    user = User.objects.get(username="yunying")
    for code, values in _truth(desk)["lists"].items():
        told = [Told(str(value)) for value in values]
        added = add_entries(code, told, user=user, reason="演练")
        say(f"名单 {code}：{added.added} 条" + "".join(f"；{bad.words}" for bad in added.bad))


class Watch(threading.Thread):
    """Writes down when each order's first mark is seen by somebody else: it is committed then.

    A verdict's own time is that of its batch's beginning. An order that cannot be mapped has no
    verdict; its hold is its mark.
    """

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.seen: dict[int, datetime] = {}
        self._newest = 0
        self._over = threading.Event()

    def run(self) -> None:
        while not self._over.wait(LOOK):
            self._look()
        self._look()
        close_old_connections()
        connection.close()

    def stop(self) -> None:
        self._over.set()
        self.join(timeout=60)

    def _look(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT o.id FROM orders_salesorder o WHERE o.id > %s AND ("
                "EXISTS (SELECT 1 FROM risk_verdict v WHERE v.order_id = o.id) OR "
                "EXISTS (SELECT 1 FROM orders_orderhold h WHERE h.order_id = o.id))",
                [self._newest - BEHIND],
            )
            rows = [pk for (pk,) in cursor.fetchall()]
        now = clock_now()
        for pk in rows:
            self.seen.setdefault(pk, now)
        self._newest = max([self._newest, *rows])


def _time(watch: Watch, result: Result) -> None:
    took, result.unmarked = seconds_to_mark(watch)
    if len(took) > 1:
        result.median, result.p99 = median_and_p99(took)
        result.slowest = round(max(took), 3)


def median_and_p99(took: Sequence[float]) -> tuple[float, float]:
    """Of at least two."""
    hundredths = quantiles(took, n=100, method="inclusive")
    return round(hundredths[49], 3), round(hundredths[98], 3)


def seconds_to_mark(watch: Watch) -> tuple[list[float], int]:
    """Seconds from an order's first message in the inbox to its first mark; how many have none."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT o.id, min(m.received_at) FROM orders_salesorder o "
            "JOIN channels_sync_inboxmessage m ON m.shop_id = o.shop_id "
            "AND m.channel_number = o.channel_number GROUP BY o.id"
        )
        arrived = dict(cursor.fetchall())
    seen = watch.seen
    took = [(seen[pk] - at).total_seconds() for pk, at in arrived.items() if pk in seen]
    return took, len(arrived.keys() - seen.keys())
