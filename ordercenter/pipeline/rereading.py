"""Open orders that were read by a mapping as it was: which they are, and what stands for them now.

A line counts as read by a listing when it stands for what the version it names stood for; what
somebody swapped by hand since is left alone.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from django.db import connection

from ordercenter.catalog.models import CodeType
from ordercenter.catalog.selectors import Key, Part, Shelf, Target
from ordercenter.orders.states import OPEN, OrderStatus

_READ_BY_CODE: Final = """
    SELECT DISTINCT o.shop_id, l.platform_sku_id, l.outer_code, l.sku_id, l.bundle_id,
           l.listing_version
    FROM unnest(%(shops)s::bigint[], %(types)s::text[], %(codes)s::text[])
        AS k(shop_id, code_type, code)
    JOIN orders_salesorder o ON o.shop_id = k.shop_id AND o.status = ANY(%(open)s)
    JOIN orders_orderline l ON l.order_id = o.id AND l.bundle_line_id IS NULL
        AND NOT l.is_dropped AND l.listing_version IS NOT NULL
        AND (l.sku_id IS NOT NULL OR l.bundle_id IS NOT NULL)
        AND k.code = CASE k.code_type WHEN 'sku_id' THEN l.platform_sku_id ELSE l.outer_code END
"""
_READ_AS_BUNDLE: Final = """
    SELECT DISTINCT o.shop_id, l.platform_sku_id, l.outer_code, l.sku_id, l.bundle_id,
           l.listing_version
    FROM orders_salesorder o
    JOIN orders_orderline l ON l.order_id = o.id AND l.bundle_line_id IS NULL
        AND NOT l.is_dropped AND l.listing_version IS NOT NULL AND l.bundle_id = ANY(%(bundles)s)
    WHERE o.status = ANY(%(open)s)
"""
_VERSIONS: Final = """
    SELECT c.shop_id, c.code_type, c.code, v.version, v.sku_id, v.bundle_id
    FROM unnest(%s::bigint[], %s::text[], %s::text[]) AS k(shop_id, code_type, code)
    JOIN catalog_listing c ON c.shop_id = k.shop_id AND c.code_type = k.code_type
        AND c.code = k.code
    JOIN catalog_listingversion v ON v.listing_id = c.id
"""
# A line is hit when it is to stand for something else, or its set is made of other parts by now.
_HIT: Final = """
    meant AS (
        SELECT * FROM unnest(%(m_shops)s::bigint[], %(m_ids)s::text[], %(m_codes)s::text[],
            %(m_skus)s::bigint[], %(m_bundles)s::bigint[], %(m_versions)s::int[],
            %(m_to_skus)s::bigint[], %(m_to_bundles)s::bigint[], %(m_made)s::text[])
        AS m(shop_id, platform_sku_id, outer_code, sku_id, bundle_id, version, to_sku, to_bundle,
             made)
    ), part AS (
        SELECT * FROM unnest(%(p_bundles)s::bigint[], %(p_skus)s::bigint[], %(p_pieces)s::int[])
        AS p(bundle_id, sku_id, pieces)
    ), hit AS (
        SELECT l.id AS line_id, o.id AS order_id, o.status, o.currency, o.payable_amount,
               l.quantity, m.to_sku, m.to_bundle,
               EXISTS (SELECT 1 FROM fulfillment_parcel x WHERE x.order_id = o.id
                       AND x.state IN ('packed', 'shipped', 'signed')) AS is_packed
        FROM meant m
        JOIN orders_salesorder o ON o.shop_id = m.shop_id AND o.status = ANY(%(open)s)
        JOIN orders_orderline l ON l.order_id = o.id AND l.bundle_line_id IS NULL
            AND NOT l.is_dropped AND l.platform_sku_id = m.platform_sku_id
            AND l.outer_code = m.outer_code AND l.listing_version = m.version
            AND l.sku_id IS NOT DISTINCT FROM m.sku_id
            AND l.bundle_id IS NOT DISTINCT FROM m.bundle_id
        LEFT JOIN LATERAL (
            SELECT string_agg(p.sku_id || 'x' || p.quantity / l.quantity, ',' ORDER BY p.sku_id)
                   AS made, bool_or(p.listing_version IS NULL) AS by_hand
            FROM orders_orderline p
            WHERE p.order_id = l.order_id AND p.bundle_line_id = l.id AND NOT p.is_dropped
        ) is_now ON true
        WHERE is_now.by_hand IS NOT TRUE
          AND ((m.sku_id, m.bundle_id) IS DISTINCT FROM (m.to_sku, m.to_bundle)
               OR m.made <> coalesce(is_now.made, ''))
    )
"""
_COUNTED: Final = f"""
    WITH {_HIT}, one AS (
        SELECT DISTINCT order_id, status, currency, payable_amount, is_packed FROM hit
    )
    SELECT status, currency, is_packed, count(*), sum(payable_amount) FROM one
    GROUP BY status, currency, is_packed
"""  # noqa: S608 - own constant text
_STOCK: Final = f"""
    WITH {_HIT}, freed AS (
        SELECT v.sku_id, sum(r.quantity) AS units FROM hit
        JOIN orders_orderline l ON l.order_id = hit.order_id
            AND hit.line_id IN (l.id, l.bundle_line_id)
        JOIN inventory_reservation r ON r.line_id = l.id AND r.state = 'active'
        JOIN inventory_stocklevel v ON v.id = r.level_id
        WHERE NOT hit.is_packed GROUP BY v.sku_id
    ), needed AS (
        SELECT coalesce(p.sku_id, hit.to_sku) AS sku_id,
               sum(hit.quantity * coalesce(p.pieces, 1)) AS units
        FROM hit LEFT JOIN part p ON p.bundle_id = hit.to_bundle
        WHERE NOT hit.is_packed GROUP BY 1
    )
    SELECT k.code, k.name, coalesce(f.units, 0), coalesce(n.units, 0), coalesce((
        SELECT sum(v.on_hand - v.reserved) FROM inventory_stocklevel v
        JOIN inventory_virtualwarehouse w ON w.id = v.virtual_warehouse_id
        JOIN inventory_warehouse h ON h.id = w.warehouse_id AND h.is_active
        WHERE v.sku_id = k.id), 0)
    FROM freed f FULL JOIN needed n ON n.sku_id = f.sku_id
    JOIN catalog_sku k ON k.id = coalesce(n.sku_id, f.sku_id)
    ORDER BY k.code LIMIT %(limit)s
"""  # noqa: S608 - own constant text
_NEXT: Final = f"""
    WITH {_HIT} SELECT DISTINCT order_id FROM hit
    WHERE NOT is_packed AND order_id > %(after)s ORDER BY order_id LIMIT %(limit)s
"""  # noqa: S608 - own constant text


@dataclass(frozen=True, slots=True)
class Reading:
    """How lines of open orders were read: the same codes, target and version."""

    shop_id: int
    platform_sku_id: str
    outer_code: str
    sku_id: int | None
    bundle_id: int | None
    version: int

    @property
    def target(self) -> Target:
        return (self.sku_id, self.bundle_id)

    @property
    def keys(self) -> tuple[Key, Key]:
        """The listings it can have been read by."""
        return (
            (self.shop_id, CodeType.SKU_ID.value, self.platform_sku_id),
            (self.shop_id, CodeType.OUTER_CODE.value, self.outer_code),
        )


@dataclass(frozen=True, slots=True)
class Changed:
    """What was, or would be, changed: listings by key, bundles by id.

    ``targets`` and ``parts`` say how it would be; what they do not name counts as it is.
    """

    keys: Collection[Key] = ()
    bundles: Collection[int] = ()
    targets: Mapping[Key, Target] = field(default_factory=dict)
    parts: Mapping[int, Mapping[int, int]] = field(default_factory=dict)
    """Pieces of each SKU by bundle."""


@dataclass(frozen=True, slots=True)
class StageCount:
    """Orders of one stage."""

    stage: str
    orders: int


@dataclass(frozen=True, slots=True)
class StockMove:
    """Units of a SKU that would be given back and wanted, and how many are free at present."""

    code: str
    name: str
    freed: int
    needed: int
    available: int

    @property
    def short(self) -> int:
        return max(0, self.needed - self.freed - self.available)


@dataclass(frozen=True, slots=True)
class Blast:
    """What re-coding the open orders would come to."""

    orders: int
    """That would be re-coded."""
    money: Mapping[str, Decimal]
    """Their value by currency."""
    stages: tuple[StageCount, ...]
    packed: int
    """Orders with a parcel packed already: they stay as they are."""
    stock: tuple[StockMove, ...]

    @property
    def is_any(self) -> bool:
        return bool(self.orders or self.packed)


def look(changed: Changed, *, most_goods: int = 50) -> Blast:
    """What a change does to open orders. Changes nothing."""
    shelf, meant = _meant(changed)
    if not meant:
        return Blast(0, {}, (), 0, ())
    facts = _facts(meant, shelf)
    orders: dict[str, int] = {}
    money: dict[str, Decimal] = {}
    packed = 0
    for status, currency, is_packed, count, total in _ask(_COUNTED, facts):
        if is_packed:
            packed += count
            continue
        orders[status] = orders.get(status, 0) + count
        money[currency] = money.get(currency, Decimal(0)) + total
    stages = tuple(
        StageCount(str(status.label), orders[status.value])
        for status in OrderStatus
        if status.value in orders
    )
    stock = (
        StockMove(code, name, int(freed), int(needed), int(available))
        for code, name, freed, needed, available in _ask(_STOCK, {**facts, "limit": most_goods})
    )
    return Blast(sum(orders.values()), money, stages, packed, tuple(stock))


def following(changed: Changed, *, after: int, limit: int) -> list[int]:
    """The next open orders, by key, that were read by what has changed since."""
    shelf, meant = _meant(changed)
    if not meant:
        return []
    facts = {**_facts(meant, shelf), "after": after, "limit": limit}
    return [pk for (pk,) in _ask(_NEXT, facts)]


def _meant(changed: Changed) -> tuple[Shelf, dict[Reading, Target]]:
    """The readings in open orders that a change concerns, and what each would stand for."""
    found: set[Reading] = set()
    if changed.keys:
        shops, types, codes = (list(column) for column in zip(*changed.keys, strict=True))
        facts = {"shops": shops, "types": types, "codes": codes}
        found |= {Reading(*row) for row in _ask(_READ_BY_CODE, facts)}
    if changed.bundles:
        facts = {"bundles": list(changed.bundles)}
        found |= {Reading(*row) for row in _ask(_READ_AS_BUNDLE, facts)}
    return meanings(found, changed)


def meanings(
    readings: Collection[Reading], changed: Changed
) -> tuple[Shelf, dict[Reading, Target]]:
    """What these readings stand for once the change is made; those nobody can tell are left out.

    Left out is what was swapped by hand, whose two codes disagree, or whose bundle is not whole.
    """
    codes = {(r.shop_id, code) for r in readings for code in (r.platform_sku_id, r.outer_code)}
    shelf = Shelf.for_codes({(shop, code) for shop, code in codes if code})
    shelf.wish(changed.targets)
    for bundle_id, parts in changed.parts.items():
        shelf.compose(bundle_id, parts)
    versions = _versions({key for reading in readings for key in reading.keys if key[2]})
    meant: dict[Reading, Target] = {}
    for reading in readings:
        told = {versions[key, reading.version] for key in reading.keys
                if (key, reading.version) in versions}  # fmt: skip
        if told and reading.target not in told:
            continue
        found = shelf.find(reading.shop_id, reading.platform_sku_id, reading.outer_code)
        if found is None or found.conflict or shelf.problem(found.bundle_id):
            continue
        meant[reading] = (found.sku_id, found.bundle_id)
    return shelf, meant


def _versions(keys: Collection[Key]) -> dict[tuple[Key, int], Target]:
    """What each version of these listings stood for."""
    if not keys:
        return {}
    with connection.cursor() as cursor:
        cursor.execute(_VERSIONS, [list(column) for column in zip(*keys, strict=True)])
        return {
            ((shop, kind, code), version): (sku, bundle)
            for shop, kind, code, version, sku, bundle in cursor.fetchall()
        }


def made_of(parts: Iterable[Part]) -> str:
    """A bundle's composition as one text, to be compared."""
    return ",".join(f"{p.sku_id}x{p.pieces}" for p in sorted(parts, key=lambda part: part.sku_id))


def _facts(meant: Mapping[Reading, Target], shelf: Shelf) -> dict[str, Any]:
    rows = list(meant.items())
    bundles = {bundle for _, bundle in meant.values() if bundle}
    parts = [(bundle, part) for bundle in bundles for part in shelf.parts(bundle)]
    return {
        "m_shops": [r.shop_id for r, _ in rows],
        "m_ids": [r.platform_sku_id for r, _ in rows],
        "m_codes": [r.outer_code for r, _ in rows],
        "m_skus": [r.sku_id for r, _ in rows],
        "m_bundles": [r.bundle_id for r, _ in rows],
        "m_versions": [r.version for r, _ in rows],
        "m_to_skus": [sku for _, (sku, _) in rows],
        "m_to_bundles": [bundle for _, (_, bundle) in rows],
        "m_made": [made_of(shelf.parts(bundle)) for _, (_, bundle) in rows],
        "p_bundles": [bundle for bundle, _ in parts],
        "p_skus": [part.sku_id for _, part in parts],
        "p_pieces": [part.pieces for _, part in parts],
    }


def _ask(query: str, facts: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query, {"open": [status.value for status in OPEN], **facts})
        rows: list[tuple[Any, ...]] = cursor.fetchall()
    return rows
