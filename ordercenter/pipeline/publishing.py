"""Stock figures for the channels: how many pieces of each listing a shop may sell.

A figure is what the shop may show (``inventory.publishable``). It is told when it differs from
what the channel shows by our books, that is the last figure it took less what the shop has sold
since. Whatever moves stock runs inside ``telling_stock``: the figures that change with it are
rows of the outbox before it commits.

Only shops whose option ``push_stock`` is ``on`` are told anything.
"""

import logging
import re
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import psycopg
from django.conf import settings
from django.db import connection, transaction

from channels_sync import outbox
from channels_sync.models import PublishedStock
from inventory import moves
from inventory.publishable import FIGURES, SETS
from ordercenter.core.bulk import dumps
from ordercenter.core.clock import now as clock_now
from ordercenter.pipeline.waking import wake_sender

logger = logging.getLogger(__name__)
LOCK: Final = 7_205_011
FEW: Final = 12
"""Up to so many SKUs their figures are looked up, row by row."""
BY_ITEM: Final = ("taobao", "douyin", "wechat", "pinduoduo")
"""Platforms whose figures name the item as well (``StockFigure``): a listing whose item no order
has named yet, and nobody has typed, is not told."""
TURNS_AT_ONCE: Final = {"wechat": 20}
"""Where a platform refuses figures of one listing that come too often: so many turns may be used
in a row, then it is one every ``PublishedStock.TURN_SECONDS``: 60 a minute (unverified)."""
BY_SKU_ID: Final = ("jd", "wechat")
"""Platforms that know a SKU by their own id alone: a code is refused until an order names it."""
LEFT_ALONE: Final = timedelta(hours=1)
"""A platform that takes no figure for longer than this is not kept a message for."""
LONGEST_WINDOW: Final = 3600.0
_SECONDS: Final = re.compile(r"\d{1,5}(\.\d{1,3})?")
LISTENERS_SECONDS: Final = 5.0
OLD_TELLING: Final = timedelta(minutes=30)
SETTLED: Final = timedelta(minutes=15)
"""Books older than OLD_TELLING are carried forward to this long ago, so that sales are never
added up over days."""

# What each listing is addressed by. A shop's SKU may be listed by its id and by our code, and is
# to be told once: a code whose id no order has named yet is left out beside an id of those goods.
_ADDRESSED: Final = """
    SELECT c.id, c.shop_id, c.sku_id, c.bundle_id, c.platform_item_id AS item,
           CASE c.code_type WHEN 'sku_id' THEN c.code ELSE c.platform_sku_id END AS address,
           CASE c.code_type WHEN 'outer_code' THEN c.code ELSE '' END AS outer_code,
           s.channel, k.options ->> 'stock_window' AS paced
    FROM catalog_listing c
    JOIN catalog_shop s ON s.id = c.shop_id AND s.is_active AND s.channel <> 'file'
    JOIN channels_sync_shopcredential k ON k.shop_id = s.id AND k.options ->> 'push_stock' = 'on'
    WHERE (s.channel <> ALL(%(by_item)s) OR c.platform_item_id <> '')
      AND NOT (c.code_type = 'outer_code' AND c.platform_sku_id <> '' AND EXISTS (
        SELECT 1 FROM catalog_listing d WHERE d.shop_id = c.shop_id AND d.code_type = 'sku_id'
        AND d.code = c.platform_sku_id))
      AND NOT (c.code_type = 'outer_code' AND c.platform_sku_id = '' AND EXISTS (
        SELECT 1 FROM catalog_listing d WHERE d.sku_id = c.sku_id AND d.shop_id = c.shop_id
        AND d.code_type = 'sku_id'))
      AND NOT (c.code_type = 'outer_code' AND c.platform_sku_id = '' AND EXISTS (
        SELECT 1 FROM catalog_listing d WHERE d.bundle_id = c.bundle_id AND d.shop_id = c.shop_id
        AND d.code_type = 'sku_id'))
"""

# Lines as bought in orders placed since a listing's figure was told; %(until)s bounds them.
_SOLD: Final = """
    recent AS (
        SELECT o.shop_id, o.placed_at, l.platform_sku_id AS by_id, l.outer_code AS by_code,
               l.quantity
        FROM orders_salesorder o
        CROSS JOIN LATERAL (
            SELECT n.platform_sku_id, n.outer_code, n.quantity FROM orders_orderline n
            WHERE n.order_id = o.id AND n.bundle_line_id IS NULL OFFSET 0) l
        WHERE o.placed_at > (SELECT min(told_at) FROM target WHERE told IS NOT NULL)
          AND o.placed_at <= %(until)s AND o.status <> 'canceled'
    ), sold AS (
        SELECT id, sum(quantity)::int AS quantity FROM (
            SELECT t.id, r.quantity FROM target t JOIN recent r
                ON r.shop_id = t.shop_id AND r.by_id = t.address AND r.placed_at > t.told_at
            WHERE t.address <> ''
            UNION ALL
            SELECT t.id, r.quantity FROM target t JOIN recent r
                ON r.shop_id = t.shop_id AND r.by_code = t.outer_code AND r.placed_at > t.told_at
            WHERE t.outer_code <> '' AND (t.address = '' OR r.by_id = '')
        ) AS lines GROUP BY id
    )
"""

# While a figure is in a call, the channel is taken to show it.
_FIGURES: Final = f"""
    WITH target AS (
        SELECT a.*, p.version, p.quantity AS figured, p.told, p.told_at, p.refused_until,
               p.turns_until
        FROM ({_ADDRESSED}) a
        LEFT JOIN channels_sync_publishedstock p ON p.listing_id = a.id
        WHERE %(all)s OR a.sku_id = ANY(%(skus)s) OR a.bundle_id IN (
            SELECT bundle_id FROM catalog_bundlepart WHERE sku_id = ANY(%(skus)s))
    ), {_SOLD}, part AS (
        SELECT DISTINCT t.shop_id, t.bundle_id, b.sku_id, b.quantity AS pieces FROM target t
        JOIN catalog_bundlepart b ON b.bundle_id = t.bundle_id
    ), asked AS (
        SELECT shop_id, sku_id FROM target WHERE sku_id IS NOT NULL
        UNION SELECT shop_id, sku_id FROM part
    ), {FIGURES}, {SETS}, figure AS (
        SELECT t.id, coalesce(p.units, b.units, 0) AS quantity FROM target t
        LEFT JOIN publishable p ON p.shop_id = t.shop_id AND p.sku_id = t.sku_id
        LEFT JOIN bundled b ON b.shop_id = t.shop_id AND b.bundle_id = t.bundle_id
    )
    SELECT t.id, t.shop_id, t.address, t.item, t.outer_code, coalesce(t.version, 0), t.figured,
           coalesce(call.quantity, t.told - coalesce(sold.quantity, 0)), t.told_at,
           t.refused_until, figure.quantity, m.id IS NOT NULL, t.turns_until, t.channel, t.paced
    FROM target t JOIN figure ON figure.id = t.id LEFT JOIN sold ON sold.id = t.id
    LEFT JOIN LATERAL (
        SELECT w.id FROM channels_sync_outboundmessage w
        WHERE w.subject = 'stock:' || t.id AND w.subject <> '' AND w.state = 'waiting'
          AND w.payload ->> 'version' = t.version::text LIMIT 1) m ON true
    LEFT JOIN LATERAL (
        SELECT (c.payload ->> 'quantity')::int AS quantity FROM channels_sync_outboundmessage c
        WHERE c.subject = 'stock:' || t.id AND c.subject <> '' AND c.state = 'waiting'
          AND c.is_doubtful ORDER BY c.id DESC LIMIT 1) call ON true
    ORDER BY t.id
"""  # noqa: S608 - own constant text


_BOOKED: Final = f"""
    WITH target AS (
        SELECT a.*, p.told, p.told_at FROM ({_ADDRESSED}) a
        JOIN channels_sync_publishedstock p ON p.listing_id = a.id AND p.told IS NOT NULL
        WHERE a.id = ANY(%(listings)s)
    ), {_SOLD}
    SELECT p.listing_id, p.version, t.told - coalesce(sold.quantity, 0)
    FROM channels_sync_publishedstock p
    LEFT JOIN target t ON t.id = p.listing_id LEFT JOIN sold ON sold.id = p.listing_id
    WHERE p.listing_id = ANY(%(listings)s)
"""  # noqa: S608 - own constant text


@dataclass(frozen=True, slots=True)
class Figure:
    """One listing's figure as just computed, beside what is on the books."""

    listing: int
    shop_id: int
    platform_sku_id: str
    platform_item_id: str
    outer_code: str
    version: int
    figured: int | None
    shown: int | None
    """What the channel shows by our books; None where nobody knows."""
    told_at: datetime | None
    refused_until: datetime | None
    quantity: int
    is_waiting: bool
    """The figure of ``version`` waits to be told."""
    turns_until: datetime | None
    channel: str
    paced: str | None
    """Seconds between two figures of the listing, as the shop's option has it."""

    @property
    def window(self) -> timedelta:
        """At most one figure in so long."""
        if self.paced and _SECONDS.fullmatch(self.paced):
            return timedelta(seconds=min(float(self.paced), LONGEST_WINDOW))
        return timedelta(seconds=settings.STOCK_WINDOW_SECONDS)

    @property
    def turn_at(self) -> datetime | None:
        """When the platform lets the listing be told again, if it counts that."""
        if self.turns_until is None or self.channel not in TURNS_AT_ONCE:
            return None
        seconds = PublishedStock.TURN_SECONDS * (TURNS_AT_ONCE[self.channel] - 1)
        return self.turns_until - timedelta(seconds=seconds)

    @property
    def is_news(self) -> bool:
        """Whether the channel has to be told, and is not about to be."""
        return self.quantity != self.shown and not (
            self.is_waiting and self.quantity == self.figured
        )

    @property
    def is_moot(self) -> bool:
        """Whether what waits need not be told any more."""
        return self.is_waiting and self.quantity == self.shown


def publish_stock(sku_ids: Collection[int] | None = None, *, now: datetime | None = None) -> int:
    """Queue the figures that differ from what the channels show, for these SKUs (None: all).

    Returns how many. One at a time: figures are computed and counted under one lock, so that
    a higher version always is a later look.
    """
    now = now or clock_now()
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
        found = _figures(sku_ids, now=now)
        moot = [figure for figure in found if figure.is_moot]
        news = [figure for figure in found if figure.is_news and not _is_left_alone(figure, now)]
        outbox.supersede([f"stock:{figure.listing}" for figure in moot + news], now=now)
        _count(news, now=now)
        _queue(news, now=now)
    return len(news)


def _is_left_alone(figure: Figure, now: datetime) -> bool:
    return figure.refused_until is not None and figure.refused_until > now + LEFT_ALONE


def _figures(sku_ids: Collection[int] | None, *, now: datetime) -> list[Figure]:
    """Prepared for a few SKUs: planning takes longer than their figures. Many are planned anew.

    The planner takes every step of the figures for one or two rows and would compare each row
    with each other: among many the steps are joined by hash. What is found by an index is found
    so all the same (the laterals).
    """
    is_few = sku_ids is not None and len(sku_ids) <= FEW
    connection.ensure_connection()
    with connection.wrap_database_errors, psycopg.Cursor(connection.connection) as cursor:
        if not is_few:
            cursor.execute("SET LOCAL enable_nestloop = off")
        cursor.execute(
            _FIGURES,
            {
                "all": sku_ids is None,
                "skus": list(sku_ids or ()),
                "until": now + SETTLED,
                "by_item": list(BY_ITEM),
            },
            prepare=is_few,
        )
        found = [Figure(*row) for row in cursor.fetchall()]
        if not is_few:
            cursor.execute("SET LOCAL enable_nestloop = DEFAULT")
        return found


def _count(news: Sequence[Figure], *, now: datetime) -> None:
    """One more version of each figure."""
    if not news:
        return
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO channels_sync_publishedstock AS p "
            "(listing_id, version, quantity, computed_at, told_version, refusal) "
            "SELECT v.listing, v.version, v.quantity, %s, 0, '' "
            "FROM unnest(%s::bigint[], %s::bigint[], %s::int[]) AS v(listing, version, quantity) "
            "ON CONFLICT (listing_id) DO UPDATE SET version = excluded.version, "
            "quantity = excluded.quantity, computed_at = excluded.computed_at "
            "WHERE p.version < excluded.version",
            [now, [f.listing for f in news], [f.version + 1 for f in news],
             [f.quantity for f in news]],
        )  # fmt: skip


def _queue(news: Sequence[Figure], *, now: datetime) -> None:
    if not news:
        return
    rows = [
        (f.shop_id, f"stock:{f.listing}:{f.version + 1}", f"stock:{f.listing}", dumps(_payload(f)),
         _due(f, now))
        for f in news
    ]  # fmt: skip
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO channels_sync_outboundmessage (shop_id, kind, key, subject, payload, "
            "state, created_at, due_at, tries, is_doubtful, error, settled_by, settled_reason) "
            "SELECT shop, 'stock', key, subject, payload, 'waiting', %s, due, 0, false, '', '', '' "
            "FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::jsonb[], %s::timestamptz[]) "
            "AS v(shop, key, subject, payload, due) ON CONFLICT (key) DO NOTHING",
            [now, *(list(column) for column in zip(*rows, strict=True))],
        )
    wake_sender()


def _payload(figure: Figure) -> dict[str, Any]:
    return {
        "listing": figure.listing,
        "version": figure.version + 1,
        "quantity": figure.quantity,
        "platform_sku_id": figure.platform_sku_id,
        "platform_item_id": figure.platform_item_id,
        "outer_code": figure.outer_code,
    }


def _due(figure: Figure, now: datetime) -> datetime:
    """At most one figure a window, and none while the platform takes none."""
    after = figure.told_at + figure.window if figure.told_at else now
    return max(now, after, figure.turn_at or now, figure.refused_until or now)


@dataclass(frozen=True, slots=True)
class Booked:
    """The version a listing's figure has now, and what the channel shows by our books."""

    version: int
    shown: int | None
    """None where nobody knows."""


def booked(listings: Sequence[int]) -> dict[int, Booked]:
    """How the books of these listings stand now; those without books are left out."""
    connection.ensure_connection()
    with connection.wrap_database_errors, psycopg.Cursor(connection.connection) as cursor:
        cursor.execute(
            _BOOKED,
            {
                "listings": list(listings),
                "until": clock_now() + SETTLED,
                "by_item": list(BY_ITEM),
            },
            prepare=True,
        )
        return {pk: Booked(version, shown) for pk, version, shown in cursor.fetchall()}


def tellable() -> set[tuple[int, int]]:
    """(shop, SKU) of single goods a shop can be told of now.

    It takes figures at all, and it is known how it calls the goods.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT a.shop_id, a.sku_id FROM ({_ADDRESSED}) a "  # noqa: S608 - own constant text
            "JOIN catalog_shop s ON s.id = a.shop_id "
            "LEFT JOIN channels_sync_publishedstock p ON p.listing_id = a.id "
            "WHERE a.sku_id IS NOT NULL AND (s.channel <> ALL(%(by_sku_id)s) OR a.address <> '') "
            "AND (p.refused_until IS NULL OR p.refused_until <= %(left_alone)s)",
            {
                "by_item": list(BY_ITEM),
                "by_sku_id": list(BY_SKU_ID),
                "left_alone": clock_now() + LEFT_ALONE,
            },
        )
        return set(cursor.fetchall())


def shown_now(row: PublishedStock) -> int | None:
    """What the channel shows of one listing by our books; None where nobody knows."""
    found = booked([row.listing_id]).get(row.listing_id)
    return found.shown if found else None


def _shown_of_all(*, until: datetime, told_before: datetime) -> dict[int, int]:
    """What the listings told before then show by our books as of ``until``."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"WITH target AS (SELECT a.*, p.told, p.told_at FROM ({_ADDRESSED}) a "  # noqa: S608 - own constant text
            "JOIN channels_sync_publishedstock p ON p.listing_id = a.id AND p.told IS NOT NULL "
            f"WHERE p.told_at <= %(before)s), {_SOLD} "
            "SELECT t.id, t.told - coalesce(sold.quantity, 0) FROM target t "
            "LEFT JOIN sold ON sold.id = t.id",
            {"until": until, "before": told_before, "by_item": list(BY_ITEM)},
        )
        return dict(cursor.fetchall())


@transaction.atomic
def carry_forward(*, now: datetime) -> int:
    """Take what was sold up to a while ago off the books of figures told long ago."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
    to = now - SETTLED
    shown = _shown_of_all(until=to, told_before=now - OLD_TELLING)
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE channels_sync_publishedstock p SET told = v.shown, told_at = %s "
            "FROM unnest(%s::bigint[], %s::int[]) AS v(listing, shown) "
            "WHERE p.listing_id = v.listing AND p.told IS NOT NULL AND p.told_at <= %s",
            [to, list(shown), list(shown.values()), now - OLD_TELLING],
        )
        return int(cursor.rowcount)


@contextmanager
def telling_stock() -> Iterator[None]:
    """A transaction at whose end the figures of what moved in it are queued, and commit with it.

    Also a decorator, in the place of ``transaction.atomic``. Inside another one it is a part of
    that: the outermost computes, last before the commit, since whoever computes holds the lock
    of all figures until then. Figures that cannot be computed undo nothing of the work: that is
    logged, and the next sweep finds them.
    """
    with transaction.atomic():
        if moves.is_collecting():
            yield
            return
        with moves.collecting() as levels:
            yield
        if levels and listeners.are_there():
            _tell_moved(levels)


def _tell_moved(levels: Collection[int]) -> None:
    try:
        publish_stock(_skus_of(levels))
    except Exception:
        logger.exception("figures of %s levels are left to the next sweep", len(levels))


def _skus_of(levels: Collection[int]) -> list[int]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT DISTINCT sku_id FROM inventory_stocklevel WHERE id = ANY(%s)", [list(levels)]
        )
        return [row[0] for row in cursor.fetchall()]


class _Listeners:
    """Whether any shop is told figures; asked again every few seconds, not at every order."""

    def __init__(self) -> None:
        self._there = False
        self._asked_at: float | None = None

    def are_there(self) -> bool:
        if self._asked_at is None or time.monotonic() - self._asked_at >= LISTENERS_SECONDS:
            self._there, self._asked_at = anybody_listens(), time.monotonic()
        return self._there

    def forget(self) -> None:
        """Ask anew the next time."""
        self._asked_at = None


listeners: Final = _Listeners()


def anybody_listens() -> bool:
    """Whether any shop is told figures at all."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT EXISTS (SELECT 1 FROM channels_sync_shopcredential "
            "WHERE options ->> 'push_stock' = 'on')"
        )
        return bool(cursor.fetchone()[0])
