"""N08: 176 double orders within five minutes, among others that are beyond reproach."""

import time
from dataclasses import dataclass
from typing import Any, Final

from django.db import close_old_connections, connection

from ordercenter.notices.models import Alarm
from ordercenter.pipeline.drill.center import Center
from ordercenter.pipeline.drill.desk import LOOK, Desk, Pace, Placed, Say, wait_for
from ordercenter.pipeline.drill.truth import (
    MARKED_P99,
    SETTLE,
    Watch,
    found_of,
    median_and_p99,
    seconds_to_mark,
    stops_of,
)

TROUBLE: Final = "duplicate"
CLEAN_AT: Final = ("TB01", "DY01", "WX01", "SH01")
"""Shops that show an order nobody has paid yet."""
RULE: Final = "rule:same_sku_5m"
SELLING: Final = 60
"""Seconds in which the first orders come; their doubles follow 15 to 200 seconds later."""
LONGEST: Final = 300.0
TOGETHER: Final = 60.0
"""Seconds in which an earlier order is to be held beside its double."""
MOST_ALARMS: Final = 3


@dataclass(slots=True)
class Result:
    """What came of it. Seconds are from the inbox row to the verdict seen committed."""

    pairs: int = 0
    clean: int = 0
    seconds: float = 0.0
    """From the first order sold to the last double taken in."""
    second_held: int = 0
    first_held: int = 0
    together_seconds: float = 0.0
    """From the last double taken in until every first order was held, too."""
    clean_stopped: int = 0
    labels: int = 0
    """Waybills of any of the doubles."""
    alarms: int = 0
    alarm_count: int = 0
    median: float = 0.0
    p99: float = 0.0

    @property
    def is_good(self) -> bool:
        return (
            0 < self.pairs == self.second_held == self.first_held
            and not (self.clean_stopped or self.labels)
            and self.seconds <= LONGEST
            and 0 < self.alarms <= MOST_ALARMS
            and self.alarm_count >= self.pairs
            and self.p99 <= MARKED_P99
        )


def rehearse(center: Center, *, pairs: int, say: Say) -> Result:
    """Run N08 on a center that is up: one clean order is sold beside every pair."""
    desk, watch, result = Desk(center.sandbox), Watch(), Result(pairs=pairs)
    watch.start()
    began = time.monotonic()
    firsts, doubles, clean = _sell(desk, pairs)
    say(f"{len(firsts)} 对、{len(clean)} 张正常订单，第二张在 15 到 200 秒内跟来")
    wait_for([*firsts, *doubles, *clean], at_most=SETTLE, say=say)
    result.seconds = round(time.monotonic() - began, 1)
    result.together_seconds = _wait_for_both(firsts)
    watch.stop()
    _count(firsts, doubles, clean, result)
    took, unmarked = seconds_to_mark(watch)
    result.median, p99 = median_and_p99(took)
    result.p99 = float("inf") if unmarked else p99
    return result


def _sell(desk: Desk, pairs: int) -> tuple[list[Placed], list[Placed], list[Placed]]:
    """The first orders, their doubles (by the numbers they will have), and clean ones."""
    rows: list[Any] = []
    clean: list[Placed] = []
    pace = Pace.of(SELLING / pairs)
    for turn in range(pairs):
        pace.wait(turn)
        rows += desk.post("/control/sell", {"trouble": TROUBLE, "at_once": False})["orders"]
        clean += desk.sell(CLEAN_AT[turn % len(CLEAN_AT)], count=1)
    doubles = [(row["shop"], row["number"]) for row in rows if row["kinds"]]
    firsts = [(row["shop"], row["number"]) for row in rows if not row["kinds"]]
    return firsts, doubles, clean


def _wait_for_both(firsts: list[Placed]) -> float:
    began = time.monotonic()
    while time.monotonic() - began < TOGETHER:
        found = found_of()
        if all(RULE in found.get(one, frozenset()) for one in firsts):
            break
        time.sleep(LOOK)
        close_old_connections()
    return round(time.monotonic() - began, 1)


def _count(
    firsts: list[Placed], doubles: list[Placed], clean: list[Placed], result: Result
) -> None:
    found = found_of()
    held = {one for one, what in found.items() if RULE in what}
    result.second_held, result.first_held = len(held & {*doubles}), len(held & {*firsts})
    result.clean = len(clean)
    result.clean_stopped = sum(1 for one in clean if stops_of(found.get(one, frozenset())))
    alarms = Alarm.objects.filter(topic__startswith=f"{RULE}:")
    result.alarms = alarms.count()
    result.alarm_count = sum(alarms.values_list("count", flat=True))
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM fulfillment_waybill w JOIN fulfillment_parcel p "
            "ON p.id = w.parcel_id JOIN orders_salesorder o ON o.id = p.order_id "
            "JOIN catalog_shop s ON s.id = o.shop_id JOIN unnest(%s::text[], %s::text[]) "
            "AS v(shop, number) ON v.shop = s.code AND v.number = btrim(o.channel_number)",
            [[shop for shop, _ in doubles], [number for _, number in doubles]],
        )
        result.labels = int(cursor.fetchone()[0])
