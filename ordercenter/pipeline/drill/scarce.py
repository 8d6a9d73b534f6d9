"""N01: 37 units, a thousand buyers at five shops within ten seconds, processes killed meanwhile."""

import time
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from django.db import connection

from inventory import services as inventory
from inventory.models import StockLevel, VirtualWarehouse
from ordercenter.catalog.models import Sku
from ordercenter.core.actor import Actor
from ordercenter.pipeline.drill.center import Center
from ordercenter.pipeline.drill.desk import Desk, Pace, Placed, Say, poll_at_once, wait_for
from ordercenter.pipeline.invariants.run import run_all

CODE: Final = "JZ-1084"
SHOPS: Final = ("TB01", "JD01", "DY01", "PD01", "WX01")
UNITS: Final = 37
SECONDS: Final = 10
A_SECOND: Final = 2
"""Rounds a second in which every shop sells."""
KILLS: Final = {6: "ordercenter.asgi:application", 12: "manage.py work"}
"""In which round what is killed: each once, in the middle of it."""
SETTLE: Final = timedelta(minutes=10)
ACTOR: Final = Actor.job("drill")


@dataclass(slots=True)
class Result:
    """What came of it; ``is_good`` is what N01 asks for, exactly."""

    units: int = 0
    placed: int = 0
    placed_seconds: float = 0.0
    settled_seconds: float = 0.0
    killed: dict[str, int] = field(default_factory=dict)
    taken: int = 0
    by_push: int = 0
    by_poll: int = 0
    reserved: int = 0
    served: int = 0
    short: int = 0
    both: int = 0
    neither: int = 0
    buyers_twice: int = 0
    ledger_before: int = 0
    ledger_after: int = 0
    broken: list[str] = field(default_factory=list)

    @property
    def is_good(self) -> bool:
        return (
            self.taken == self.placed
            and self.reserved == self.served == self.units
            and self.short == self.placed - self.units
            and not (self.both or self.neither or self.buyers_twice or self.broken)
            and self.ledger_before == self.ledger_after == self.units
            and all(self.killed.values())
        )


def rehearse(center: Center, *, buyers: int, say: Say) -> Result:
    """Run N01 on a center that is up and has sold nothing yet."""
    result = Result(units=_leave(UNITS), ledger_before=_ledger())
    placed = _rush(center, buyers, result, say=say)
    say(f"{len(placed)} 单在 {result.placed_seconds} 秒内下完，等待处理完毕")
    result.settled_seconds = wait_for(placed, at_most=SETTLE, say=say)
    _count(placed, result)
    result.ledger_after = _ledger()
    result.broken = [f"{one.code}: {one.broken[0]}" for one in run_all() if one.broken]
    return result


def _leave(units: int) -> int:
    """Bring the free stock of the one SKU up to ``units``; return what there is."""
    sku = Sku.objects.get(code=CODE)
    there = sum(StockLevel.objects.filter(sku=sku).values_list("on_hand", flat=True))
    place = VirtualWarehouse.objects.order_by("pk").first()
    assert place is not None
    inventory.receive([(place.pk, sku.pk, units - there)], actor=ACTOR, reason="drill")
    return sum(level.available for level in StockLevel.objects.filter(sku=sku))


def _rush(center: Center, buyers: int, result: Result, *, say: Say) -> list[Placed]:
    """Everybody buys, evenly over the shops and the seconds; all shops are polled meanwhile."""
    desk, placed = Desk(center.sandbox), list[Placed]()
    rounds = SECONDS * A_SECOND
    pace = Pace.of(1 / A_SECOND)
    for turn in range(rounds):
        pace.wait(turn)
        for place, shop in enumerate(SHOPS):
            share = _share(buyers, turn * len(SHOPS) + place, rounds * len(SHOPS))
            if share:
                placed += desk.sell(shop, count=share, code=CODE)
        poll_at_once(SHOPS)
        if victim := KILLS.get(turn):
            result.killed[victim] = center.kill(victim)
            say(f"SIGKILL {victim}：{result.killed[victim]} 个进程")
    result.placed = len(placed)
    result.placed_seconds = round(time.monotonic() - pace.began, 1)
    return placed


def _share(whole: int, part: int, parts: int) -> int:
    """The ``part``-th of ``parts`` shares that add up to ``whole``."""
    return whole * (part + 1) // parts - whole * part // parts


def _ledger() -> int:
    """Units of the SKU that came from outside, by the movements."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT coalesce(sum(CASE WHEN m.source = 'outside' THEN m.quantity "
            "WHEN m.target = 'outside' THEN -m.quantity ELSE 0 END), 0) "
            "FROM inventory_stockmovement m JOIN inventory_stocklevel l ON l.id = m.level_id "
            "JOIN catalog_sku s ON s.id = l.sku_id WHERE s.code = %s",
            [CODE],
        )
        return int(cursor.fetchone()[0])


_COUNTED: Final = """
    WITH mine AS (
        SELECT o.id, o.shop_id, o.channel_number, e.buyer_key FROM orders_salesorder o
        JOIN orders_orderline l ON l.order_id = o.id JOIN catalog_sku s ON s.id = l.sku_id
        LEFT JOIN orders_orderevidence e ON e.order_id = o.id WHERE s.code = %(code)s
    ), told AS (
        SELECT mine.*, coalesce((SELECT sum(r.quantity) FROM inventory_reservation r
                 WHERE r.order_id = mine.id AND r.state IN ('active', 'consumed')), 0) AS units,
               EXISTS (SELECT 1 FROM orders_orderhold h WHERE h.order_id = mine.id
                 AND h.kind = 'shortage' AND h.released_at IS NULL AND h.words <> '') AS is_short
        FROM mine
    )
    SELECT count(*), sum(units), count(*) FILTER (WHERE units > 0),
           count(*) FILTER (WHERE is_short), count(*) FILTER (WHERE is_short AND units > 0),
           count(*) FILTER (WHERE NOT is_short AND units = 0),
           count(*) - count(DISTINCT (shop_id, channel_number))
             + count(*) FILTER (WHERE buyer_key <> '')
             - count(DISTINCT (shop_id, buyer_key)) FILTER (WHERE buyer_key <> '')
    FROM told
"""


def _count(placed: list[Placed], result: Result) -> None:
    with connection.cursor() as cursor:
        cursor.execute(_COUNTED, {"code": CODE})
        (result.taken, units, result.served, result.short, result.both, result.neither,
         result.buyers_twice) = cursor.fetchone()  # fmt: skip
        result.reserved = int(units or 0)
        cursor.execute(
            "SELECT count(*) FILTER (WHERE source = 'push'), "
            "count(*) FILTER (WHERE source = 'poll') FROM channels_sync_inboxmessage "
            "WHERE kind IN ('order', 'event')"
        )
        result.by_push, result.by_poll = cursor.fetchone()
