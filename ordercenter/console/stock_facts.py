"""What the pages of the stock read beside the levels: filters, published figures, shops' lines."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from django.db.models import Q
from django.http import QueryDict
from django.utils.translation import gettext as _

from channels_sync.models import PublishedStock
from inventory.health import DAYS, PERIODS, Alarm, HealthPage, Sort, Wanted
from inventory.models import Warehouse
from inventory.publishable import publishable, publishable_sets
from ordercenter.catalog.models import BundlePart, CodeType, Listing, Shop, Sku
from ordercenter.console.listing_facts import number_of
from ordercenter.pipeline.health import Level, Mode, mode_of
from ordercenter.pipeline.publishing import BY_ITEM, BY_SKU_ID

MOST_PAGES: Final = 10_000
DRIFT_SHOWN: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Choices:
    """What there is to filter by."""

    warehouses: Sequence[Warehouse]
    shops: Sequence[Shop]
    categories: Sequence[str]

    @property
    def regions(self) -> list[str]:
        return sorted({one.province for one in self.warehouses if one.province})


def choices() -> Choices:
    goods = Sku.objects.exclude(category="").order_by("category")
    return Choices(
        list(Warehouse.objects.all()),
        list(Shop.objects.filter(is_active=True).select_related("cursor")),
        list(goods.values_list("category", flat=True).distinct()),
    )


def wanted_of(query: QueryDict, found: Choices) -> Wanted:
    """Which part of the stock an address asks for. Nonsense in it falls back to all."""

    def known(name: str, values: Collection[str], otherwise: str = "") -> str:
        return value if (value := query.get(name, "")) in values else otherwise

    def key(name: str, rows: Iterable[Warehouse | Shop]) -> int:
        pk = number_of(query.get(name, ""), most=2**62)
        return pk if pk in {row.pk for row in rows} else 0

    days = number_of(query.get("days", ""), most=365)
    return Wanted(
        region=known("region", found.regions),
        warehouse_id=key("warehouse", found.warehouses),
        shop_id=key("shop", found.shops),
        category=known("category", found.categories),
        alarm=known("alarm", Alarm.values),
        search=query.get("q", "").replace("\0", "").strip()[:60],
        days=days if days in PERIODS else DAYS,
        sort=known("sort", Sort.values, Sort.ALARM.value),
        page=max(1, number_of(query.get("page", ""), most=MOST_PAGES, otherwise=1)),
    )


_NAMES: Final = (
    ("region", "region"), ("warehouse", "warehouse_id"), ("shop", "shop_id"),
    ("category", "category"), ("alarm", "alarm"), ("q", "search"), ("days", "days"),
    ("sort", "sort"), ("page", "page"),
)  # fmt: skip


def query_of(wanted: Wanted, **changes: Any) -> str:
    """The address that asks for this part with ``changes``; defaults are left out."""
    told, plain = replace(wanted, **changes), Wanted()
    address = QueryDict(mutable=True)
    for name, attribute in _NAMES:
        value = getattr(told, attribute)
        if value != getattr(plain, attribute):
            address[name] = str(value)
    return "?" + address.urlencode()


@dataclass(frozen=True, slots=True)
class AlarmChip:
    alarm: Alarm | None
    label: str
    count: int
    query: str
    is_on: bool


def alarm_chips(page: HealthPage) -> list[AlarmChip]:
    """One chip an alarm with its number of SKUs; pressing the chosen one again lets go."""
    wanted = page.wanted
    chips = [
        AlarmChip(None, _("全部货品"), sum(page.counts.values()),
                  query_of(wanted, alarm="", page=1), not wanted.alarm)
    ]  # fmt: skip
    for alarm in Alarm:
        is_on = alarm.value == wanted.alarm
        query = query_of(wanted, alarm="" if is_on else alarm.value, page=1)
        chips.append(AlarmChip(alarm, str(alarm.label), page.counts.get(alarm, 0), query, is_on))
    return chips


@dataclass(frozen=True, slots=True)
class Shown:
    """What one shop shows of one listing: the figure now, the last one told, and how that went."""

    listing: Listing
    figure: int
    """What it should show now."""
    told: int | None
    told_at: datetime | None
    words: str
    level: Level
    refusal: str = ""

    @property
    def shop(self) -> Shop:
        return self.listing.shop


def shown_by_sku(
    sku_ids: Collection[int], *, now: datetime, with_bundles: bool = False
) -> Mapping[int, list[Shown]]:
    """The listings of these SKUs by SKU, the shops in order; ``with_bundles`` also those of the
    bundles the SKUs are part of."""
    asked = Q(sku_id__in=sku_ids)
    if with_bundles:
        asked |= Q(bundle__in=BundlePart.objects.filter(sku_id__in=sku_ids).values("bundle"))
    listings = list(
        Listing.objects.filter(asked, shop__is_active=True)
        .select_related("shop__credential", "bundle", "published")
        .defer("shop__credential__sealed")
        .order_by("shop__code", "code")
    )
    listings = _once(listings)
    figures = _figures(listings)
    parts = _skus_of(listings)
    found: defaultdict[int, list[Shown]] = defaultdict(list)
    for listing in listings:
        one = _shown(listing, figures.get(listing.pk, 0), now)
        for sku_id in parts.get(listing.bundle_id or 0) or [listing.sku_id or 0]:
            if sku_id in sku_ids:
                found[sku_id].append(one)
    return found


def _once(listings: Sequence[Listing]) -> list[Listing]:
    """Without codes whose goods the shop lists by their id too: it is told of the id alone."""
    by_id = [one for one in listings if one.code_type == CodeType.SKU_ID]
    ids = {(one.shop_id, one.code) for one in by_id}
    goods = {(one.shop_id, one.sku_id, one.bundle_id) for one in by_id}

    def is_double(one: Listing) -> bool:
        if one.platform_sku_id:
            return (one.shop_id, one.platform_sku_id) in ids
        return (one.shop_id, one.sku_id, one.bundle_id) in goods

    return [one for one in listings if one.code_type == CodeType.SKU_ID or not is_double(one)]


def _skus_of(listings: Iterable[Listing]) -> Mapping[int, list[int]]:
    bundles = {one.bundle_id for one in listings if one.bundle_id}
    found: defaultdict[int, list[int]] = defaultdict(list)
    if bundles:
        rows = BundlePart.objects.filter(bundle_id__in=bundles)
        for bundle_id, sku_id in rows.values_list("bundle_id", "sku_id"):
            found[bundle_id].append(sku_id)
    return found


def _figures(listings: Sequence[Listing]) -> dict[int, int]:
    """The publishable figure of each listing."""
    pairs = {(one.shop_id, one.sku_id) for one in listings if one.sku_id}
    sets = {(one.shop_id, one.bundle_id) for one in listings if one.bundle_id}
    by_pair = {(f.shop_id, f.sku_id): f.units for f in publishable(list(pairs))} if pairs else {}
    by_set = publishable_sets(list(sets)) if sets else {}
    return {
        one.pk: by_pair.get((one.shop_id, one.sku_id or 0), 0)
        if one.sku_id
        else by_set.get((one.shop_id, one.bundle_id or 0), 0)
        for one in listings
    }


def _shown(listing: Listing, figure: int, now: datetime) -> Shown:
    books: PublishedStock | None = getattr(listing, "published", None)
    credential = getattr(listing.shop, "credential", None)
    told, told_at = (books.told, books.pushed_at) if books else (None, None)
    if credential is None or credential.options.get("push_stock") != "on":
        return Shown(listing, figure, told, told_at, _("未开启推送"), Level.GOOD)
    if listing.shop.channel in BY_ITEM and not listing.platform_item_id:
        return Shown(listing, figure, told, told_at, _("缺平台商品编号，还不能推送"), Level.WARN)
    if books and books.refused_until and books.refused_until > now:
        words = _("平台拒绝，稍后再试")
        return Shown(listing, figure, told, told_at, words, Level.BAD, books.refusal)
    if listing.shop.channel in BY_SKU_ID and not _has_id(listing):
        return Shown(listing, figure, told, told_at, _("缺平台规格编号，还不能推送"), Level.WARN)
    if books is None:
        return Shown(listing, figure, None, None, _("还没有推送过"), Level.WARN)
    words, level = _("已告知"), Level.GOOD
    if books.told_version < books.version:
        words, level = _("等待发送"), Level.WARN
    elif books.drift and books.drift_at and books.drift_at > now - DRIFT_SHOWN:
        words = _("平台显示与告知差 %(n)+d 件，已重新告知") % {"n": books.drift}
        level = Level.WARN
    return Shown(listing, figure, told, told_at, words, level, books.refusal)


def _has_id(listing: Listing) -> bool:
    return listing.code_type == CodeType.SKU_ID or bool(listing.platform_sku_id)


@dataclass(frozen=True, slots=True)
class LineMode:
    """How one shop is kept in step, and what that risks (Q118)."""

    shop: Shop
    mode: Mode


def modes(shops: Iterable[Shop]) -> list[LineMode]:
    return [LineMode(shop, mode_of(shop, getattr(shop, "cursor", None))) for shop in shops]
