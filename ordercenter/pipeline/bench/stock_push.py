"""From an order at one shop to the lowered figure at every other, by the sandbox's clock.

The sandbox's shops sell at a steady rate; the processes of an installation take the orders in
and tell the other shops. An order counts as told to a shop when the first figure that has it
taken off arrived there: figures are compared by what had been reserved of the SKU up to then,
so an older figure never passes for a newer one. Counted are the shops that can be told of the
goods when selling begins: the others learn of them once an order has named their id there.

* ``order_to_shop``: from the moment of sale to the write in the sandbox's book.
* ``intake``: from the moment of sale to the commit of order and figure; the platform's own push
  or message is in it.
* ``figure_to_shop``: from the figure's computation to the write.
* ``by_channel``: the same for each platform, with the figures it was told, and the
  calls it took them in.
"""

import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import cycle
from typing import Any, Final

from django.db import connection

from channels_sync.models import InboxMessage, OutboundMessage
from ordercenter.catalog.models import Channel
from ordercenter.pipeline import publishing
from ordercenter.pipeline.bench.crew import Crew, Desk, crew, settle
from ordercenter.pipeline.bench.lean import spread
from ordercenter.pipeline.bench.scratch import durability

SELLERS: Final = ("MP01", "CR01", "SH01", "DY01")
"""Shops that tell of an order by a push of their own at once."""
WORKERS: Final = ("intake", "work", "queue", "listen")
WARM: Final = 40
"""Orders a shop sells first: a figure is addressed by what orders have told of the listing."""
LOOK: Final = 0.2
Say = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class Sold:
    """One order's demand of one SKU. ``total`` is what had been reserved of it with this one."""

    shop_id: int
    sku_id: int
    created: float
    kept: float
    total: int


@dataclass(frozen=True, slots=True)
class Telling:
    """One figure a platform took: when it was computed, when it arrived, and how many it says."""

    computed: float
    arrived: float
    quantity: int


def run(*, rate: float, seconds: float, say: Say) -> dict[str, Any]:
    """Sell at ``rate`` for ``seconds`` at the shops that push; how soon the others knew."""
    with crew() as hands:
        hands.start("sandbox", "web")
        desk = Desk(hands.sandbox)
        try:
            return _measure(hands, desk, rate=rate, seconds=seconds, say=say) | {
                "settings": durability()
            }
        finally:
            desk.close()


def _measure(hands: Crew, desk: Desk, *, rate: float, seconds: float, say: Say) -> dict[str, Any]:
    hands.start(*WORKERS)
    shops = _shops()
    for code, (_, channel) in shops.items():
        if channel != Channel.FILE:
            desk.sell(WARM, shop=code)
    settle(hands, _open_work)
    say("warm")
    before, listed = _free(), publishing.tellable()
    began = time.time()
    numbers = _sell(desk, rate=rate, seconds=seconds)
    lasted = time.time() - began
    say(f"{len(numbers)} orders in {lasted:.0f} s")
    settle(hands, _open_work)
    created = {
        (row["shop"], row["number"]): row["created"]
        for code in SELLERS
        for row in desk.get("/book/orders", shop=code)["orders"]
    }
    sold = _sold(numbers, created, shops)
    book = [row for row in desk.get("/book/stock")["stock"] if row["at"] >= began]
    told = _tellings(book, shops, since=began)
    return {
        "orders": len(numbers),
        "orders_per_second": round(len(numbers) / lasted, 1),
        "figures_told": len(book),
        "calls": len({(row["shop"], row["call"]) for row in book}),
        **_compare(
            sold,
            told=told,
            before=before,
            shops=shops,
            listed=listed,
            calls=_calls(book, shops, seconds=lasted),
        ),
    }


def _calls(
    book: Sequence[Mapping[str, Any]], shops: Mapping[str, tuple[int, str]], *, seconds: float
) -> dict[str, dict[str, Any]]:
    """By channel: how many figures it was told, in how many calls."""
    found: dict[str, dict[str, Any]] = {}
    for channel in sorted({shops[row["shop"]][1] for row in book}):
        rows = [row for row in book if shops[row["shop"]][1] == channel]
        calls = len({(row["shop"], row["call"]) for row in rows})
        found[channel] = {
            "figures": len(rows),
            "calls": calls,
            "figures_per_second": round(len(rows) / seconds, 1),
            "calls_per_second": round(calls / seconds, 1),
        }
    return found


def _shops() -> dict[str, tuple[int, str]]:
    """(id, channel) of each shop, by its code."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT code, id, channel FROM catalog_shop WHERE is_active")
        return {code: (pk, channel) for code, pk, channel in cursor.fetchall()}


def _sell(desk: Desk, *, rate: float, seconds: float) -> list[tuple[str, str]]:
    """(shop, number) of every order, one after the other at a steady pace."""
    numbers, start = [], time.perf_counter()
    for n, shop in zip(range(round(rate * seconds)), cycle(SELLERS), strict=False):
        time.sleep(max(0.0, start + n / rate - time.perf_counter()))
        (row,) = desk.post("/control/sell", shop=shop, count=1)["orders"]
        numbers.append((row["shop"], row["number"]))
    return numbers


def _free() -> dict[int, int]:
    """What is free of each SKU over all places; every shop is served by all of them here."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT sku_id, sum(on_hand - reserved - locked)::int FROM inventory_stocklevel "
            "GROUP BY sku_id"
        )
        return dict(cursor.fetchall())


def _sold(
    numbers: Sequence[tuple[str, str]],
    created: Mapping[tuple[str, str], float],
    shops: Mapping[str, tuple[int, str]],
) -> list[Sold]:
    """What the orders took of each SKU, in the order of the ledger."""
    when = {(shops[code][0], number): created[code, number] for code, number in numbers}
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT o.shop_id, o.channel_number, l.sku_id, m.quantity, m.created_at "
            "FROM inventory_stockmovement m "
            "JOIN inventory_reservation r ON r.id = m.reservation_id "
            "JOIN orders_salesorder o ON o.id = r.order_id "
            "JOIN inventory_stocklevel l ON l.id = m.level_id "
            "JOIN unnest(%s::bigint[], %s::text[]) AS v(shop, number) "
            "ON v.shop = o.shop_id AND v.number = o.channel_number "
            "WHERE m.source = 'available' AND m.target = 'reserved' ORDER BY m.id",
            [[shop for shop, _ in when], [number for _, number in when]],
        )
        rows = cursor.fetchall()
    totals: dict[int, int] = defaultdict(int)
    found = []
    for shop, number, sku, units, at in rows:
        totals[sku] += units
        found.append(Sold(shop, sku, when[shop, number], at.timestamp(), totals[sku]))
    return found


def _tellings(
    book: Sequence[Mapping[str, Any]], shops: Mapping[str, tuple[int, str]], *, since: float
) -> dict[tuple[int, int], list[Telling]]:
    """By (shop, SKU): what each platform was told of single goods, in the order of arrival."""
    written: dict[tuple[int, str], list[float]] = defaultdict(list)
    for row in book:
        for name in {row["sku"], row["outer_code"]} - {None, ""}:
            written[shops[row["shop"]][0], name].append(row["at"])
    messages = OutboundMessage.objects.filter(
        kind="stock", state="done", created_at__gte=datetime.fromtimestamp(since, UTC)
    ).order_by("done_at")
    skus = _listed_skus()
    found: dict[tuple[int, int], list[Telling]] = defaultdict(list)
    for message in messages.iterator():
        told, end = message.payload, message.done_at
        sku = skus.get(told["listing"])
        if sku is None or end is None:
            continue
        name = told["platform_sku_id"] or told["outer_code"]
        moments = written[message.shop_id, name]
        place = bisect_left(moments, end.timestamp()) - 1
        computed = message.created_at.timestamp()
        if place >= 0 and moments[place] >= computed:
            arrived = moments[place]
            found[message.shop_id, sku].append(Telling(computed, arrived, told["quantity"]))
    return found


def _listed_skus() -> dict[int, int]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT id, sku_id FROM catalog_listing WHERE sku_id IS NOT NULL")
        return dict(cursor.fetchall())


def _compare(
    sold: Sequence[Sold],
    *,
    told: Mapping[tuple[int, int], Sequence[Telling]],
    before: Mapping[int, int],
    shops: Mapping[str, tuple[int, str]],
    listed: Collection[tuple[int, int]],
    calls: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    channels = dict(shops.values())
    by_channel: dict[str, list[float]] = defaultdict(list)
    legs: dict[str, list[float]] = defaultdict(list)
    whole, last_leg, missing = [], [], 0
    for order in sold:
        for shop_id, first in _first_tellings(order, told, before, listed):
            if first is None:
                missing += 1
                continue
            whole.append(first.arrived - order.created)
            last_leg.append(first.arrived - first.computed)
            by_channel[channels[shop_id]].append(whole[-1])
            legs[channels[shop_id]].append(last_leg[-1])
    return {
        "pairs_of_order_and_shop": len(whole) + missing,
        "never_told": missing,
        "order_to_shop_seconds": spread(whole),
        "figure_to_shop_seconds": spread(last_leg),
        "intake_seconds": spread(order.kept - order.created for order in sold),
        "by_channel": {
            name: {
                **calls.get(name, {}),
                "order_to_shop_seconds": spread(values),
                "figure_to_shop_seconds": spread(legs[name]),
            }
            for name, values in sorted(by_channel.items())
        },
    }


def _first_tellings(
    order: Sold,
    told: Mapping[tuple[int, int], Sequence[Telling]],
    before: Mapping[int, int],
    listed: Collection[tuple[int, int]],
) -> Iterator[tuple[int, Telling | None]]:
    """The first figure each other shop was told that has the order taken off."""
    most = before[order.sku_id] - order.total
    for shop_id in sorted(shop for shop, sku in listed if sku == order.sku_id):
        if shop_id == order.shop_id:
            continue
        rows = told.get((shop_id, order.sku_id), ())
        yield (
            shop_id,
            next(
                (row for row in rows if row.quantity <= most and row.arrived >= order.created), None
            ),
        )


def _open_work() -> int:
    inbox = InboxMessage.objects.filter(state__in=["new", "leased"]).count()
    return inbox + OutboundMessage.objects.filter(kind="stock", state="waiting").count()
