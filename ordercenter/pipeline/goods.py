"""Goods first seen in a sheet: SKU, listing and opening stock in one go, each with its record.

Only where the mapping asks for it (``docs/import.md``, ``catalog``); without it an unknown code
holds its orders.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Final

from django.db import connection

from channels_sync.sheets.mapping import Catalog, Place
from channels_sync.sheets.orders import CodeSeen
from inventory import services as inventory
from inventory.models import VirtualWarehouse, Warehouse
from inventory.selectors import SourceMap
from ordercenter.audit.models import Action
from ordercenter.audit.services import Entry, record_many
from ordercenter.catalog.models import Bundle, CodeType, Listing, Shop, Sku
from ordercenter.catalog.versions import keep_versions
from ordercenter.core.actor import Actor
from ordercenter.core.errors import InvalidInput
from ordercenter.pipeline.drafts import clean
from ordercenter.pipeline.publishing import telling_stock

LONGEST_CODE: Final = 40
LONGEST_NAME: Final = 120
REASON: Final = "表格导入"
GOODS_LOCK: Final = 7_205_003
"""Two imports at once would both find a SKU missing and both stock it up."""


@dataclass(frozen=True, slots=True)
class Made:
    """How much was made."""

    skus: int
    listings: int


def base_price(prices: Counter[Decimal], *, how: str) -> Decimal:
    """The price a code is measured by: the first one seen, or the lower median of its rows.

    Zero where it was never sold for money. To the fen; nobody is charged by it.
    """
    if not prices:
        return Decimal(0)
    if how == "first":
        return _fen(next(iter(prices)))
    middle = (sum(prices.values()) + 1) // 2
    for price, count in sorted(prices.items()):
        middle -= count
        if middle <= 0:
            return _fen(price)
    raise AssertionError("the counts of a counter add up")


def _fen(price: Decimal) -> Decimal:
    return price.quantize(Decimal("0.01"), rounding=ROUND_HALF_EVEN)


def count_missing_skus(catalog: Catalog, codes: Iterable[str]) -> int:
    """How many SKUs ``create_missing`` would make for codes without a listing."""
    return len(_missing_skus(_fitting(catalog, codes)))


def _fitting(catalog: Catalog, codes: Iterable[str]) -> list[str]:
    return [c for c in codes if len(c) <= LONGEST_CODE and catalog.pattern.fullmatch(c)]


def _missing_skus(codes: Collection[str]) -> list[str]:
    there = set(Sku.objects.filter(code__in=codes).values_list("code", flat=True))
    # A bundle's code names the bundle: orders for it wait until somebody maps it (BS04).
    there |= set(Bundle.objects.filter(code__in=codes).values_list("code", flat=True))
    return [code for code in codes if code not in there]


@telling_stock()
def create_missing(
    shop: Shop, catalog: Catalog, seen: Mapping[str, CodeSeen], *, currency: str, actor: Actor
) -> Made:
    """Tie every fitting code of the sheet to a SKU of the same code, making what is missing.

    A SKU made here gets its opening stock once, in the first virtual warehouse that serves the
    shop. Safe to repeat. Raises InvalidInput where there is no warehouse and none is declared.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [GOODS_LOCK])
    codes = _fitting(catalog, seen)
    fresh = _missing_skus(codes)
    Sku.objects.bulk_create(
        [
            Sku(
                code=code,
                name=clean(seen[code].title or code, LONGEST_NAME),
                base_price=base_price(seen[code].prices, how=catalog.base_price),
                currency=currency,
            )
            for code in fresh
        ],
        ignore_conflicts=True,
        batch_size=2000,
    )
    ids = dict(Sku.objects.filter(code__in=codes).values_list("code", "pk"))
    listings = _tie(shop, ids)
    keep_versions(
        [(row.pk, row.version, row.sku_id, None) for row in listings], actor=actor, reason=REASON
    )
    record_many(
        [
            Entry(Action.CATALOG_CHANGED, "sku", ids[code], {"code": [None, code]}, REASON)
            for code in fresh
        ]
        + [
            Entry(Action.CATALOG_CHANGED, "listing", row.pk, {"code": [None, row.code],
                  "sku": [None, row.sku_id]}, REASON)
            for row in listings
        ],
        actor=actor,
    )  # fmt: skip
    if fresh and catalog.stock:
        _stock_up(shop, catalog, [ids[code] for code in fresh], actor=actor)
    return Made(len(fresh), len(listings))


def _tie(shop: Shop, ids: Mapping[str, int]) -> list[Listing]:
    """Make the listings the shop lacks; return them."""
    listings = Listing.objects.filter(shop=shop, code_type=CodeType.OUTER_CODE)
    there = set(listings.filter(code__in=ids).values_list("code", flat=True))
    return Listing.objects.bulk_create(
        [
            Listing(shop=shop, code_type=CodeType.OUTER_CODE, code=code, sku_id=pk)
            for code, pk in ids.items()
            if code not in there
        ],
        batch_size=2000,
    )


def _stock_up(shop: Shop, catalog: Catalog, sku_ids: Collection[int], *, actor: Actor) -> None:
    sources = SourceMap().for_order(shop.pk, "")
    source = sources[0] if sources else _make_place(catalog.place).pk
    inventory.receive(
        [(source, pk, catalog.stock) for pk in sku_ids], actor=actor, reason="opening stock"
    )
    record_many(
        [
            Entry(Action.STOCK_RECEIVED, "virtual_warehouse", source,
                  {"skus": len(sku_ids), "quantity": catalog.stock}, REASON)
        ],
        actor=actor,
    )  # fmt: skip


def _make_place(place: Place | None) -> VirtualWarehouse:
    if place is None:
        raise InvalidInput(
            what="还没有仓库，期初库存无处可放；请先建立仓库，或在映射文件 catalog.warehouse 中声明"
        )
    warehouse, _ = Warehouse.objects.get_or_create(
        code=place.code,
        defaults={"name": place.name, "province": place.province, "city": place.city},
    )
    virtual, _ = VirtualWarehouse.objects.get_or_create(
        code=place.code.lower(), defaults={"name": place.name, "warehouse": warehouse}
    )
    return virtual
