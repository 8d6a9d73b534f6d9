"""Two SKUs that are one thing: the old one goes, the kept one takes its place everywhere (BS19).

Listings and bundles are re-pointed with their versions, units and promises move by the ledger,
open orders' lines follow. What has been shipped keeps the SKU it was shipped as.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from django.contrib.auth.models import AbstractBaseUser
from django.db import connection, transaction
from django.db.models import Q, Sum

from inventory import merging
from inventory.merged_settings import Settings, carry_settings, settings_of
from inventory.models import Reservation, StockLevel
from ordercenter.audit.models import Action
from ordercenter.audit.services import Entry, record_many
from ordercenter.catalog.models import BundlePart, GiftStrategy, Listing, Sku
from ordercenter.catalog.selectors import Shelf
from ordercenter.core.actor import Actor
from ordercenter.core.clock import now as clock_now
from ordercenter.core.errors import InvalidInput, NotFound
from ordercenter.core.policy import Can, require
from ordercenter.core.readonly import read_only
from ordercenter.orders.states import OPEN
from ordercenter.pipeline.bundles import Recipe, parts_of, write_parts
from ordercenter.pipeline.mapping import stand_alone, write_listings
from ordercenter.pipeline.publishing import telling_stock
from ordercenter.pipeline.unmapped import Wish
from ordercenter.pipeline.work import Work, load, write

TRIES: Final = 3
REASON: Final = "货品合并"
# Lines that still have to be shipped: of open orders, and nothing of them has left.
_LINES: Final = """
    SELECT l.order_id, l.id FROM orders_orderline l
    JOIN orders_salesorder o ON o.id = l.order_id AND o.status = ANY(%(open)s)
    WHERE l.sku_id = %(sku)s AND NOT EXISTS (
        SELECT 1 FROM inventory_reservation r WHERE r.line_id = l.id AND r.state = 'consumed')
"""


class _CameMeanwhile(Exception):
    """Orders for the old SKU came while the others were being locked."""


@dataclass(frozen=True, slots=True)
class Merge:
    """What merging would do, or has done."""

    old: Sku
    kept: Sku
    problems: tuple[str, ...]
    listings: int
    bundles: tuple[str, ...]
    orders: int
    units: int
    promised: int
    settings: Settings


@read_only()
def preview(old_id: int, kept_id: int) -> Merge:
    """What merging would do, and why it cannot be done. Changes nothing."""
    old, kept = _two(old_id, kept_id)
    held = Reservation.objects.filter(level__sku=old, state="active")
    units = StockLevel.objects.filter(sku=old).aggregate(units=Sum("on_hand"))["units"]
    return Merge(
        old, kept, tuple(_problems(old, kept)),
        listings=Listing.objects.filter(sku=old).count(),
        bundles=tuple(
            BundlePart.objects.filter(sku=old).order_by("bundle__code")
            .values_list("bundle__code", flat=True)
        ),
        orders=len({order for order, _ in _lines(old.pk)}),
        units=units or 0,
        promised=held.aggregate(units=Sum("quantity"))["units"] or 0,
        settings=settings_of(old.pk, kept.pk),
    )  # fmt: skip


def merge_skus(
    old_id: int, kept_id: int, *, user: AbstractBaseUser, actor: Actor, reason: str
) -> Merge:
    """Put the kept SKU in the old one's place, all of it or nothing.

    Rights: EDIT_MAPPING and MOVE_STOCK. Raises InvalidInput with what stands in the way; a
    second time there is nothing left to merge, and that is refused as well.
    """
    require(user, Can.EDIT_MAPPING)
    require(user, Can.MOVE_STOCK)
    why = f"{REASON}：{reason}"
    for _attempt in range(TRIES):
        try:
            with telling_stock():
                return _merge(old_id, kept_id, actor=actor, reason=why)
        except _CameMeanwhile:
            continue
    raise InvalidInput(what="这个货品正在大量进单，请稍后再试")


def _two(old_id: int, kept_id: int) -> tuple[Sku, Sku]:
    found = Sku.objects.in_bulk([old_id, kept_id])
    if old_id == kept_id:
        raise InvalidInput(what="请选择两个不同的货品")
    if len(found) < 2:  # noqa: PLR2004 - both of them
        raise NotFound(what="货品")
    return found[old_id], found[kept_id]


def _problems(old: Sku, kept: Sku) -> list[str]:
    told = []
    if not old.is_active and not _is_anywhere(old):
        told.append(f"{old.code} 已停用，没有要合并的")
    if not kept.is_active:
        told.append(f"{kept.code} 已停用")
    if old.is_gift != kept.is_gift:
        told.append("一个是赠品，另一个不是")
    gifts = GiftStrategy.objects.filter(
        Q(gift_sku=old) | Q(substitute=old) | Q(main_skus=old) | Q(tiers__gift_sku=old),
        is_active=True,
    ).distinct()  # fmt: skip
    if names := list(gifts.values_list("code", flat=True)):
        told.append(f"赠品策略还在用它，请先改：{'、'.join(names)}")
    return [*told, *merging.problems(old.pk)]


def _is_anywhere(sku: Sku) -> bool:
    """Whether anything is left of a SKU: units, codes, bundles, lines to be shipped."""
    return (
        Listing.objects.filter(sku=sku).exists()
        or BundlePart.objects.filter(sku=sku).exists()
        or StockLevel.objects.filter(Q(on_hand__gt=0) | Q(defect__gt=0), sku=sku).exists()
        or bool(_lines(sku.pk))
    )


def _lines(sku_id: int) -> list[tuple[int, int]]:
    with connection.cursor() as cursor:
        cursor.execute(_LINES, {"sku": sku_id, "open": [status.value for status in OPEN]})
        return [(order, line) for order, line in cursor.fetchall()]


@transaction.atomic
def _merge(old_id: int, kept_id: int, *, actor: Actor, reason: str) -> Merge:
    works = load({order for order, _ in _lines(old_id)})
    # After this nobody is reading an order by the old mapping; who came before is seen now.
    stand_alone()
    list(Sku.objects.select_for_update(no_key=True).filter(pk__in=[old_id, kept_id]).order_by("pk"))
    rows = _lines(old_id)
    if {order for order, _ in rows} - {work.id for work in works}:
        raise _CameMeanwhile
    done = preview(old_id, kept_id)
    if done.problems:
        raise InvalidInput(what="；".join(done.problems))
    now = clock_now()
    moved = merging.merge_levels(old_id, kept_id, actor=actor, now=now)
    carried = carry_settings(old_id, kept_id).carried
    _repoint_parcels(moved.reservations, kept_id)
    _repoint_listings(old_id, kept_id, actor=actor, reason=reason)
    _repoint_bundles(old_id, kept_id, actor=actor, reason=reason)
    _repoint_lines(works, {line for _, line in rows}, done, reason=reason)
    write([work for work in works if work.touched], actor=actor, now=now)
    Sku.objects.filter(pk=old_id).update(is_active=False)
    entries = [
        Entry(Action.CATALOG_CHANGED, "sku", old_id,
              {"is_active": [True, False], "merged_into": [None, done.kept.code]}, reason),
        Entry(Action.CATALOG_CHANGED, "sku", kept_id,
              {"merged": [None, done.old.code], "units": [None, done.units],
               "carried": [None, list(carried)]}, reason),
    ]  # fmt: skip
    record_many(entries, actor=actor)
    return done


def _repoint_parcels(reservations: Mapping[int, int], kept_id: int) -> None:
    """What lies in a parcel that has not left is of the kept SKU, too."""
    if not reservations:
        return
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE fulfillment_parcelline p SET reservation_id = v.new, sku_id = %s "
            "FROM unnest(%s::bigint[], %s::bigint[]) AS v(old, new) "
            "WHERE p.reservation_id = v.old AND EXISTS (SELECT 1 FROM fulfillment_parcel x "
            "WHERE x.id = p.parcel_id AND x.state IN ('planned', 'picked', 'packed'))",
            [kept_id, list(reservations), list(reservations.values())],
        )


def _repoint_listings(old_id: int, kept_id: int, *, actor: Actor, reason: str) -> None:
    rows = Listing.objects.filter(sku_id=old_id).order_by("shop_id", "code_type", "code")
    wishes = [
        Wish(row.shop_id, row.code_type, row.code, kept_id, seen_version=row.version)
        for row in rows
    ]
    if wishes:
        write_listings(wishes, actor=actor, reason=reason)


def _repoint_bundles(old_id: int, kept_id: int, *, actor: Actor, reason: str) -> None:
    """A bundle of both is made of as many of the kept one as of the two before."""
    ids = list(BundlePart.objects.filter(sku_id=old_id).values_list("bundle_id", flat=True))
    recipes = []
    for bundle_id, seen in parts_of(ids).items():
        parts: dict[int, int] = {}
        for sku, pieces in seen.items():
            kept = kept_id if sku == old_id else sku
            parts[kept] = parts.get(kept, 0) + pieces
        recipes.append(Recipe(bundle_id, parts, seen))
    if recipes:
        write_parts(recipes, actor=actor, reason=reason)


def _repoint_lines(
    works: Sequence[Work], due: Collection[int], told: Merge, *, reason: str
) -> None:
    """Lines of open orders stand for the kept SKU, by the version of their listing that says so."""
    lines = [(work, line) for work in works for line in work.lines if line.id in due]
    shelf = Shelf.for_codes(
        {(work.shop_id, code) for work, line in lines
         for code in (line.platform_sku_id, line.outer_code) if code}
    )  # fmt: skip
    for work, line in lines:
        line.sku_id = told.kept.pk
        found = shelf.find(work.shop_id, line.platform_sku_id, line.outer_code)
        if line.bundle_line_id is None and found and found.sku_id == told.kept.pk:
            line.listing_version = found.version
        line.mapped_now = work.row_changed = True
        work.action, work.reason = Action.LINE_SWAPPED, reason
        work.changes[f"line {line.line_no}"] = [told.old.code, told.kept.code]
