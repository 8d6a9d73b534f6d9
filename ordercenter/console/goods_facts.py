"""What the pages of the goods show: SKUs with what they are worth and lack, bundles with parts."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final

from django.db.models import Count, Q, QuerySet
from django.http import QueryDict
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from ordercenter.catalog.models import Bundle, Listing, Sku
from ordercenter.catalog.selectors import Priced, Shelf
from ordercenter.console.listing_facts import MOST_PAGES, number_of
from ordercenter.console.words import money

PER_PAGE: Final = 50
LONGEST_SEARCH: Final = 60
GAPS: Final[dict[str, tuple[Promise, Q]]] = {
    "barcode": (_("没有条码"), Q(barcode="")),
    "weight": (_("没有重量"), Q(weight_grams=0)),
    "price": (_("基准价为 0"), Q(base_price=0, is_gift=False)),
    "cost": (_("没有成本"), Q(cost=None)),
    "color": (_("有颜色没色值"), ~Q(color_name="") & Q(color_hex="")),
    "listing": (_("没有店铺在卖"), Q(listing=None, bundlepart=None, is_gift=False)),
}
"""What somebody should fill in: words, and what finds it among the SKUs in use."""


@dataclass(frozen=True, slots=True)
class Gap:
    """One kind of missing fact and how many SKUs in use lack it."""

    code: str
    words: Promise
    count: int


@dataclass(frozen=True, slots=True)
class Goods:
    """One SKU as the list shows it."""

    sku: Sku
    price: Decimal
    """In force now."""
    until: datetime | None
    """When a dated price in force ends, where one is and does."""
    is_dated: bool
    shops: tuple[tuple[str, int], ...]
    """(shop, listings) that sell it by itself."""

    @property
    def margin(self) -> Decimal | None:
        """Price less cost; None where nobody knows the cost."""
        return None if self.sku.cost is None else self.price - self.sku.cost

    @property
    def margin_words(self) -> str:
        if self.margin is None:
            return "—"
        told = money(self.margin, self.sku.currency)
        return f"{told} {self.margin * 100 / self.price:.0f}%" if self.price else told


@dataclass(frozen=True, slots=True)
class GoodsPage:
    """One page of the list."""

    rows: tuple[Goods, ...]
    gaps: tuple[Gap, ...]
    gap: str
    search: str
    number: int
    has_next: bool
    count: int
    """SKUs in use in all."""


def search_of(query: QueryDict) -> str:
    return query.get("q", "").strip()[:LONGEST_SEARCH].replace("\0", "")


def goods_page(query: QueryDict, *, now: datetime) -> GoodsPage:
    """The SKUs a query asks for, with prices and listings; a handful of statements a page."""
    search, gap = search_of(query), query.get("gap", "")
    number = max(1, number_of(query.get("page", ""), most=MOST_PAGES, otherwise=1))
    found = _found(search, gap)
    start = (number - 1) * PER_PAGE
    skus = list(found.order_by("code")[start : start + PER_PAGE + 1])
    gaps, count = _gaps()
    return GoodsPage(
        tuple(_with_facts(skus[:PER_PAGE], now=now)), gaps, gap if gap in GAPS else "", search,
        number, len(skus) > PER_PAGE, count,
    )  # fmt: skip


def _found(search: str, gap: str) -> QuerySet[Sku]:
    found = Sku.objects.all()
    if gap in GAPS:
        found = found.filter(GAPS[gap][1], is_active=True)
    if search:
        found = found.filter(
            Q(code__icontains=search) | Q(name__icontains=search) | Q(barcode=search)
        )
    return found


def _gaps() -> tuple[tuple[Gap, ...], int]:
    active = Sku.objects.filter(is_active=True)
    counted = active.aggregate(
        skus=Count("pk", distinct=True),
        **{
            code: Count("pk", filter=where, distinct=True) for code, (_words, where) in GAPS.items()
        },
    )
    gaps = (Gap(code, words, counted[code]) for code, (words, _where) in GAPS.items())
    return tuple(gap for gap in gaps if gap.count), counted["skus"]


def _with_facts(skus: Sequence[Sku], *, now: datetime) -> list[Goods]:
    prices = Shelf.prices([sku.pk for sku in skus])
    sold: dict[int, list[tuple[str, int]]] = {}
    listings = (
        Listing.objects.filter(sku__in=skus).values_list("sku_id", "shop__name")
        .annotate(n=Count("pk")).order_by("sku_id", "shop__name")
    )  # fmt: skip
    for sku_id, shop, count in listings:
        if sku_id is not None:
            sold.setdefault(sku_id, []).append((shop, count))
    return [_goods(sku, prices[sku.pk], sold.get(sku.pk, ()), now) for sku in skus]


def _goods(sku: Sku, priced: Priced, shops: Sequence[tuple[str, int]], now: datetime) -> Goods:
    in_force = [
        (starts, ends, price)
        for starts, ends, price in priced.dated
        if starts <= now and (ends is None or now < ends)
    ]
    until = in_force[0][1] if in_force else None
    return Goods(sku, priced.at(now), until, bool(in_force), tuple(shops))


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the form of a bundle: a SKU's code and how many pieces, as typed."""

    code: str
    pieces: str


def bundles_of(search: str) -> QuerySet[Bundle]:
    """Bundles by code or name, with how many listings sell them."""
    found = Bundle.objects.annotate(sold=Count("listing", distinct=True))
    if search:
        found = found.filter(Q(code__icontains=search) | Q(name__icontains=search))
    return found.prefetch_related("bundle_parts__sku").order_by("code")
