"""How many units a shop may show: the one function for promise, push, page and API.

Of a SKU a shop may show what is left of its own slices, and of what is free for everybody the
share its quota allows, after the safety stock; never more than its orders could really take.
Quotas and safety stock say what is shown, never what an order that has come may reserve.

``FIGURES`` and ``SETS`` are the same in SQL, as common table expressions for larger statements.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from django.db import connection

FIGURES: Final = """
    served AS (
        SELECT s.shop_id, v.id AS place, w.id AS warehouse_id
        FROM (SELECT DISTINCT shop_id FROM asked) s
        CROSS JOIN inventory_virtualwarehouse v
        JOIN inventory_warehouse w ON w.id = v.warehouse_id AND w.is_active
        WHERE NOT EXISTS (SELECT 1 FROM inventory_virtualwarehouse_shops x
                          WHERE x.virtualwarehouse_id = v.id)
           OR EXISTS (SELECT 1 FROM inventory_virtualwarehouse_shops x
                      WHERE x.virtualwarehouse_id = v.id AND x.shop_id = s.shop_id)
    ), shelf AS (
        SELECT a.shop_id, a.sku_id, d.place, d.warehouse_id, l.on_hand, l.reserved,
               l.on_hand - l.reserved - l.locked AS free, coalesce(o.unsold, 0) AS own
        FROM asked a JOIN served d ON d.shop_id = a.shop_id
        JOIN inventory_stocklevel l ON l.virtual_warehouse_id = d.place AND l.sku_id = a.sku_id
        LEFT JOIN inventory_stockslice o
            ON o.level_id = l.id AND o.shop_id = a.shop_id AND o.is_active
    ), ruled AS (
        SELECT a.shop_id, a.sku_id, q.id AS quota_id, coalesce(q.percent, 100) AS percent,
               coalesce(q.plus, 0) AS plus, q.minimum, q.maximum, q.priority, q.warehouses,
               coalesce(b.units, 0) AS buffer
        FROM asked a LEFT JOIN inventory_stockbuffer b ON b.sku_id = a.sku_id
        LEFT JOIN LATERAL (
            SELECT c.id, c.percent, c.plus, c.minimum, c.maximum, c.priority,
                   ARRAY(SELECT x.warehouse_id FROM inventory_channelquota_warehouses x
                         WHERE x.channelquota_id = c.id) AS warehouses
            FROM inventory_channelquota c
            WHERE c.shop_id = a.shop_id AND c.is_active
              AND (c.sku_id = a.sku_id OR c.sku_id IS NULL)
            ORDER BY c.sku_id NULLS LAST LIMIT 1) q ON true
    ), summed AS (
        SELECT r.shop_id, r.sku_id, coalesce(sum(f.on_hand), 0)::int AS on_hand,
               coalesce(sum(f.reserved), 0)::int AS reserved,
               coalesce(sum(f.free), 0)::int AS free, coalesce(sum(f.own), 0)::int AS own,
               coalesce(sum(f.free) FILTER (
                   WHERE coalesce(r.warehouses, '{}') = '{}' OR f.warehouse_id = ANY(r.warehouses)
               ), 0)::int AS pool
        FROM ruled r LEFT JOIN shelf f ON f.shop_id = r.shop_id AND f.sku_id = r.sku_id
        GROUP BY r.shop_id, r.sku_id
    ), foremost AS (
        SELECT r.shop_id, r.sku_id, sum(e.minimum) AS units
        FROM ruled r JOIN inventory_channelquota e
            ON e.is_active AND e.minimum > 0 AND e.shop_id <> r.shop_id
           AND (e.priority, e.id) < (r.priority, r.quota_id)
           AND (e.sku_id = r.sku_id OR (e.sku_id IS NULL AND NOT EXISTS (
                SELECT 1 FROM inventory_channelquota x
                WHERE x.shop_id = e.shop_id AND x.sku_id = r.sku_id AND x.is_active)))
        WHERE r.minimum IS NOT NULL
        GROUP BY r.shop_id, r.sku_id
    ), publishable AS (
        SELECT r.shop_id, r.sku_id, s.on_hand, s.reserved, s.free, s.own, s.pool, r.buffer,
               r.quota_id, r.percent, r.plus, r.minimum, r.maximum,
               greatest(0, least(s.own + s.free, r.maximum, greatest(
                   least(coalesce(r.minimum, 0), s.own + s.free - coalesce(e.units, 0)),
                   s.own + floor(greatest(0, s.pool - r.buffer) * r.percent / 100)::int + r.plus
               ))) AS units
        FROM ruled r JOIN summed s ON s.shop_id = r.shop_id AND s.sku_id = r.sku_id
        LEFT JOIN foremost e ON e.shop_id = r.shop_id AND e.sku_id = r.sku_id
    )
"""
"""Wants a CTE ``asked (shop_id, sku_id)`` of distinct pairs before it.

Defines ``shelf`` (shop_id, sku_id, place, warehouse_id, on_hand, reserved, free, own: one row a
virtual warehouse that serves the shop) and ``publishable``, one row a pair: ``on_hand``,
``reserved``, ``free`` (promised to nobody and in no slice) and ``own`` (unsold of the shop's
slices) over all places that serve the shop; ``pool`` the part of ``free`` in the warehouses its
quota names; ``buffer``, ``quota_id``, ``percent``, ``plus``, ``minimum``, ``maximum`` the rules
it came out of; ``units`` the figure to show. Where there is too little for the minimum of every
shop, those of lower ``priority`` numbers get theirs first.
"""

SETS: Final = """
    together AS (
        SELECT n.shop_id, n.bundle_id, d.place,
               min((coalesce(f.free, 0) + coalesce(f.own, 0)) / n.pieces) AS sets
        FROM part n JOIN served d ON d.shop_id = n.shop_id
        LEFT JOIN shelf f
            ON f.shop_id = n.shop_id AND f.sku_id = n.sku_id AND f.place = d.place
        GROUP BY n.shop_id, n.bundle_id, d.place
    ), bundled AS (
        SELECT n.shop_id, n.bundle_id,
               least(min(p.units / n.pieces), coalesce((
                   SELECT sum(t.sets) FROM together t
                   WHERE t.shop_id = n.shop_id AND t.bundle_id = n.bundle_id), 0))::int AS units
        FROM part n JOIN publishable p ON p.shop_id = n.shop_id AND p.sku_id = n.sku_id
        GROUP BY n.shop_id, n.bundle_id
    )
"""
"""Wants ``FIGURES`` and a CTE ``part (shop_id, bundle_id, sku_id, pieces)`` before it, whose
SKUs ``asked`` names, too. Defines ``bundled (shop_id, bundle_id, units)``.

An order leaves from one virtual warehouse: what a set is made of has to lie together. Of no part
more is shown than the part alone may show.
"""


@dataclass(frozen=True, slots=True)
class Publishable:
    """What one shop may show of one SKU, in units, and how that came out. See ``FIGURES``."""

    shop_id: int
    sku_id: int
    on_hand: int
    reserved: int
    free: int
    own: int
    pool: int
    buffer: int
    quota_id: int | None
    units: int


def publishable(pairs: Collection[tuple[int, int]] | None = None) -> list[Publishable]:
    """The figures of these (shop, SKU) pairs; None: of all that active shops list.

    Ordered by SKU, then shop. Parts of listed bundles count as listed.
    """
    asked, params = _asked(pairs)
    with connection.cursor() as cursor:
        cursor.execute(
            f"WITH {asked}, {FIGURES} SELECT shop_id, sku_id, on_hand, reserved, free, own, "  # noqa: S608 - own constant text
            "pool, buffer, quota_id, units FROM publishable ORDER BY sku_id, shop_id",
            params,
        )
        return [Publishable(*row) for row in cursor.fetchall()]


def publishable_sets(pairs: Collection[tuple[int, int]]) -> dict[tuple[int, int], int]:
    """How many whole sets each (shop, bundle) may show."""
    shops, bundles = _columns(pairs)
    with connection.cursor() as cursor:
        cursor.execute(
            "WITH part AS (SELECT DISTINCT v.shop_id, v.bundle_id, b.sku_id, "  # noqa: S608 - own constant text
            "b.quantity AS pieces FROM unnest(%s::bigint[], %s::bigint[]) AS v(shop_id, bundle_id) "
            "JOIN catalog_bundlepart b ON b.bundle_id = v.bundle_id), "
            f"asked AS (SELECT DISTINCT shop_id, sku_id FROM part), {FIGURES}, {SETS} "
            "SELECT shop_id, bundle_id, units FROM bundled",
            [shops, bundles],
        )
        return {(shop, bundle): units for shop, bundle, units in cursor.fetchall()}


def _asked(pairs: Collection[tuple[int, int]] | None) -> tuple[str, Sequence[list[int]]]:
    if pairs is None:
        return (
            "asked AS (SELECT DISTINCT c.shop_id, coalesce(c.sku_id, b.sku_id) AS sku_id "
            "FROM catalog_listing c JOIN catalog_shop s ON s.id = c.shop_id AND s.is_active "
            "LEFT JOIN catalog_bundlepart b ON b.bundle_id = c.bundle_id "
            "WHERE coalesce(c.sku_id, b.sku_id) IS NOT NULL)",
            [],
        )
    return (
        "asked AS (SELECT DISTINCT * FROM unnest(%s::bigint[], %s::bigint[]) "
        "AS v(shop_id, sku_id))",
        _columns(pairs),
    )


def _columns(pairs: Collection[tuple[int, int]]) -> tuple[list[int], list[int]]:
    return [first for first, _ in pairs], [second for _, second in pairs]
