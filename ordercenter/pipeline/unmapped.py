"""Codes nobody has mapped, the orders that wait for them, and what a mapping would do to those.

A *wish* is a listing as somebody would have it. Everything here answers for the catalog as it
would be with the wishes in it, and changes nothing.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from django.db import connection

from ordercenter.catalog.models import CodeType
from ordercenter.orders.states import OPEN

PER_PAGE: Final = 50

# What every line still stands for nothing would stand for. The reading is that of
# ``catalog.selectors.Shelf``: by the platform's SKU id first, two codes that disagree are nobody's
# guess, a bundle without parts or with one that is switched off is no goods.
_FOUND: Final = """
    wish AS (
        SELECT * FROM unnest(%(shops)s::bigint[], %(types)s::text[], %(codes)s::text[],
                             %(skus)s::bigint[], %(bundles)s::bigint[])
        AS w(shop_id, code_type, code, sku_id, bundle_id)
    ), waiting AS MATERIALIZED (
        SELECT o.id AS order_id, o.shop_id, o.currency, o.payable_amount, h.opened_at,
               l.id AS line_id, l.platform_sku_id, l.outer_code, l.title, l.quantity
        FROM orders_orderhold h
        JOIN orders_salesorder o ON o.id = h.order_id AND o.status IN ('received', 'mapped')
        JOIN orders_orderline l ON l.order_id = o.id AND l.bundle_line_id IS NULL
            AND l.sku_id IS NULL AND l.bundle_id IS NULL AND NOT l.is_dropped
        WHERE h.kind = 'unmapped' AND h.released_at IS NULL
    ), told AS (
        SELECT DISTINCT shop_id, platform_sku_id, outer_code FROM waiting
    ), stands AS (
        SELECT t.*,
               coalesce(wi.shop_id, bi.shop_id) IS NOT NULL AS has_id,
               coalesce(wc.shop_id, bc.shop_id) IS NOT NULL AS has_code,
               CASE WHEN wi.shop_id IS NULL THEN bi.sku_id ELSE wi.sku_id END AS id_sku,
               CASE WHEN wi.shop_id IS NULL THEN bi.bundle_id ELSE wi.bundle_id END AS id_bundle,
               CASE WHEN wc.shop_id IS NULL THEN bc.sku_id ELSE wc.sku_id END AS code_sku,
               CASE WHEN wc.shop_id IS NULL THEN bc.bundle_id ELSE wc.bundle_id END AS code_bundle,
               wi.shop_id IS NOT NULL OR wc.shop_id IS NOT NULL AS is_wished
        FROM told t
        LEFT JOIN catalog_listing bi ON bi.shop_id = t.shop_id AND bi.code_type = 'sku_id'
            AND bi.code = t.platform_sku_id AND t.platform_sku_id <> ''
        LEFT JOIN catalog_listing bc ON bc.shop_id = t.shop_id AND bc.code_type = 'outer_code'
            AND bc.code = t.outer_code AND t.outer_code <> ''
        LEFT JOIN wish wi ON wi.shop_id = t.shop_id AND wi.code_type = 'sku_id'
            AND wi.code = t.platform_sku_id AND t.platform_sku_id <> ''
        LEFT JOIN wish wc ON wc.shop_id = t.shop_id AND wc.code_type = 'outer_code'
            AND wc.code = t.outer_code AND t.outer_code <> ''
    ), found AS (
        SELECT shop_id, platform_sku_id, outer_code, is_wished,
               CASE WHEN has_id THEN id_sku ELSE code_sku END AS sku_id,
               CASE WHEN has_id THEN id_bundle ELSE code_bundle END AS bundle_id,
               CASE WHEN NOT has_id AND NOT has_code THEN 'missing'
                    WHEN has_id AND has_code AND (id_sku IS DISTINCT FROM code_sku
                         OR id_bundle IS DISTINCT FROM code_bundle) THEN 'conflict'
                    WHEN CASE WHEN has_id THEN id_bundle ELSE code_bundle END IS NOT NULL
                         AND NOT EXISTS (SELECT 1 FROM catalog_bundlepart p WHERE p.bundle_id =
                             CASE WHEN has_id THEN id_bundle ELSE code_bundle END) THEN 'empty'
                    WHEN EXISTS (SELECT 1 FROM catalog_bundlepart p JOIN catalog_sku k
                             ON k.id = p.sku_id AND NOT k.is_active WHERE p.bundle_id =
                             CASE WHEN has_id THEN id_bundle ELSE code_bundle END) THEN 'broken'
                    ELSE '' END AS problem
        FROM stands
    ), line AS (
        SELECT w.*, f.problem, f.is_wished, f.sku_id, f.bundle_id FROM waiting w JOIN found f
            ON f.shop_id = w.shop_id AND f.platform_sku_id = w.platform_sku_id
            AND f.outer_code = w.outer_code
    )
"""

_QUEUE: Final = f"""
    WITH {_FOUND}, code AS (
        SELECT shop_id, platform_sku_id, outer_code, problem, order_id, currency, payable_amount,
               min(opened_at) AS opened_at, sum(quantity) AS pieces, max(title) AS title
        FROM line WHERE problem <> '' AND (%(shop)s = 0 OR shop_id = %(shop)s)
        GROUP BY shop_id, platform_sku_id, outer_code, problem, order_id, currency, payable_amount
    )
    SELECT c.shop_id, s.code, s.name, s.currency, c.platform_sku_id, c.outer_code, c.problem,
           (array_agg(c.title ORDER BY c.opened_at DESC, c.order_id DESC))[1],
           count(*), sum(c.pieces),
           coalesce(sum(c.payable_amount) FILTER (WHERE c.currency = s.currency), 0),
           min(c.opened_at)
    FROM code c JOIN catalog_shop s ON s.id = c.shop_id
    GROUP BY c.shop_id, s.code, s.name, s.currency, c.platform_sku_id, c.outer_code, c.problem
    ORDER BY count(*) DESC, min(c.opened_at), c.shop_id, c.outer_code, c.platform_sku_id
    LIMIT %(limit)s OFFSET %(offset)s
"""  # noqa: S608 - own constant text

_BY_SHOP: Final = f"""
    WITH {_FOUND}
    SELECT s.id, s.code, s.name, count(DISTINCT (l.platform_sku_id, l.outer_code)),
           count(DISTINCT l.order_id)
    FROM line l JOIN catalog_shop s ON s.id = l.shop_id
    WHERE l.problem <> '' GROUP BY s.id ORDER BY 5 DESC, s.code
"""  # noqa: S608 - own constant text

_READY: Final = f"""
    WITH {_FOUND}
    SELECT order_id FROM line GROUP BY order_id HAVING bool_and(problem = '')
    ORDER BY min(opened_at), order_id
"""  # noqa: S608 - own constant text

_EFFECTS: Final = f"""
    WITH {_FOUND}, waits AS (
        SELECT order_id, shop_id, currency, payable_amount, bool_and(problem = '') AS goes_on
        FROM line GROUP BY order_id, shop_id, currency, payable_amount HAVING bool_or(is_wished)
    ), taken AS (
        SELECT o.id AS order_id, l.quantity
        FROM wish w
        JOIN orders_salesorder o ON o.shop_id = w.shop_id AND o.status = ANY(%(open)s)
        JOIN orders_orderline l ON l.order_id = o.id AND l.bundle_line_id IS NULL
            AND (l.sku_id IS NOT NULL OR l.bundle_id IS NOT NULL)
            AND w.code = CASE w.code_type WHEN 'sku_id' THEN l.platform_sku_id
                                          ELSE l.outer_code END
    )
    SELECT 'goes_on', currency, count(*), sum(payable_amount) FROM waits WHERE goes_on
        GROUP BY currency
    UNION ALL
    SELECT 'waits', currency, count(*), sum(payable_amount) FROM waits WHERE NOT goes_on
        GROUP BY currency
    UNION ALL
    SELECT 'taken', '', count(DISTINCT order_id), coalesce(sum(quantity), 0) FROM taken
"""  # noqa: S608 - own constant text

_STOCK: Final = f"""
    WITH {_FOUND}, going AS (
        SELECT order_id FROM line GROUP BY order_id
        HAVING bool_or(is_wished) AND bool_and(problem = '')
    ), wanted AS (
        SELECT l.shop_id, coalesce(p.sku_id, l.sku_id) AS sku_id,
               sum(l.quantity * coalesce(p.quantity, 1)) AS quantity
        FROM line l JOIN going USING (order_id)
        LEFT JOIN catalog_bundlepart p ON p.bundle_id = l.bundle_id
        WHERE l.is_wished GROUP BY 1, 2
    ), meant AS (
        SELECT w.shop_id, coalesce(p.sku_id, w.sku_id) AS sku_id FROM wish w
        LEFT JOIN catalog_bundlepart p ON p.bundle_id = w.bundle_id
        UNION SELECT shop_id, sku_id FROM wanted
    )
    SELECT h.name, k.code, k.name, coalesce(n.quantity, 0), coalesce((
        SELECT sum(l.on_hand - l.reserved) FROM inventory_stocklevel l
        JOIN inventory_virtualwarehouse v ON v.id = l.virtual_warehouse_id
        JOIN inventory_warehouse w ON w.id = v.warehouse_id AND w.is_active
        WHERE l.sku_id = m.sku_id AND (
            NOT EXISTS (SELECT 1 FROM inventory_virtualwarehouse_shops x
                        WHERE x.virtualwarehouse_id = v.id)
            OR EXISTS (SELECT 1 FROM inventory_virtualwarehouse_shops x
                       WHERE x.virtualwarehouse_id = v.id AND x.shop_id = m.shop_id))), 0)
    FROM meant m JOIN catalog_sku k ON k.id = m.sku_id JOIN catalog_shop h ON h.id = m.shop_id
    LEFT JOIN wanted n ON n.shop_id = m.shop_id AND n.sku_id = m.sku_id
    ORDER BY coalesce(n.quantity, 0) DESC, k.code, h.code LIMIT %(limit)s
"""  # noqa: S608 - own constant text


@dataclass(frozen=True, slots=True)
class Wish:
    """One listing as it should be: a shop's code and what it is to stand for."""

    shop_id: int
    code_type: str
    code: str
    sku_id: int | None = None
    bundle_id: int | None = None
    seen_version: int = 0
    """The version of the listing the wish was made in sight of; 0 where there was none."""
    title: str = ""

    @property
    def key(self) -> tuple[int, str, str]:
        return (self.shop_id, self.code_type, self.code)

    @property
    def target(self) -> tuple[int | None, int | None]:
        return (self.sku_id, self.bundle_id)


@dataclass(frozen=True, slots=True)
class UnmappedCode:
    """One code of one shop that holds orders up."""

    shop_id: int
    shop_code: str
    shop_name: str
    currency: str
    platform_sku_id: str
    outer_code: str
    problem: str
    """missing; conflict: its two codes name different goods; empty: a bundle without parts;
    broken: a bundle with a part that is switched off."""
    title: str
    orders: int
    pieces: int
    money: Decimal
    """What its orders come to, in the shop's currency."""
    since: datetime

    @property
    def code_type(self) -> str:
        """By which of its codes it is best mapped: the merchant's own, where there is one."""
        return CodeType.OUTER_CODE if self.outer_code else CodeType.SKU_ID

    @property
    def code(self) -> str:
        return self.outer_code or self.platform_sku_id

    @property
    def is_mappable(self) -> bool:
        """Whether a new listing is what it lacks."""
        return self.problem == "missing" and bool(self.code)


@dataclass(frozen=True, slots=True)
class ShopCount:
    """How many codes of one shop wait, and how many orders for them."""

    id: int
    code: str
    name: str
    codes: int
    orders: int


@dataclass(frozen=True, slots=True)
class Money:
    currency: str
    amount: Decimal


@dataclass(frozen=True, slots=True)
class StockEffect:
    """How many pieces of a SKU the orders set free would want, and how many there are."""

    shop: str
    code: str
    name: str
    wanted: int
    available: int

    @property
    def short(self) -> int:
        return max(0, self.wanted - self.available)


@dataclass(frozen=True, slots=True)
class Effects:
    """What the wishes would do to open orders."""

    goes_on: int
    money: tuple[Money, ...]
    still_waits: int
    """Orders with one of the codes that wait for another code as well."""
    untouched: int
    """Open orders whose lines were mapped before; they stay as they are."""
    untouched_pieces: int
    stock: tuple[StockEffect, ...]


def queue(*, shop_id: int = 0, skip: int = 0, limit: int = PER_PAGE) -> list[UnmappedCode]:
    """Codes that hold orders up, those with most orders first. ``shop_id`` 0: of every shop."""
    facts = {"shop": shop_id, "limit": limit, "offset": skip}
    return [UnmappedCode(*row) for row in _ask(_QUEUE, (), **facts)]


def by_shop() -> list[ShopCount]:
    return [ShopCount(*row) for row in _ask(_BY_SHOP, ())]


def ready(wishes: Sequence[Wish] = (), *, limit: int | None = None) -> list[int]:
    """Held orders all of whose codes have got a listing since, oldest first."""
    rows = _ask(_READY + (" LIMIT %(limit)s" if limit else ""), wishes, limit=limit)
    return [pk for (pk,) in rows]


def effects(wishes: Sequence[Wish], *, most_goods: int = 50) -> Effects:
    """What the wishes would do, in two statements."""
    goes_on = still_waits = untouched = pieces = 0
    money = []
    asked = _ask(_EFFECTS, wishes, open=[status.value for status in OPEN])
    for what, currency, orders, total in asked:
        if what == "goes_on":
            goes_on += orders
            money.append(Money(currency, total))
        elif what == "waits":
            still_waits += orders
        else:
            untouched, pieces = orders, int(total)
    stock = (
        StockEffect(shop, code, name, int(wanted), int(available))
        for shop, code, name, wanted, available in _ask(_STOCK, wishes, limit=most_goods)
    )
    return Effects(goes_on, tuple(money), still_waits, untouched, pieces, tuple(stock))


def _ask(query: str, wishes: Collection[Wish], **facts: Any) -> list[tuple[Any, ...]]:
    wished: dict[str, Any] = {
        "shops": [w.shop_id for w in wishes],
        "types": [w.code_type for w in wishes],
        "codes": [w.code for w in wishes],
        "skus": [w.sku_id for w in wishes],
        "bundles": [w.bundle_id for w in wishes],
    }
    with connection.cursor() as cursor:
        cursor.execute(query, {**wished, **facts})
        rows: list[tuple[Any, ...]] = cursor.fetchall()
    return rows
