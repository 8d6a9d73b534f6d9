"""What a batch of orders needs to know of the catalog, in a few statements."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from django.db import connection

from ordercenter.catalog.models import CodeType

Key = tuple[int, str, str]
"""(shop, code type, code) of a listing."""
Target = tuple[int | None, int | None]
"""(SKU, bundle); one of them."""
MAPPING_LOCK: Final = 7_205_021
"""Held shared by whoever reads listings into orders, alone by whoever changes them: after a
change has committed, every order that was read the old way can be seen (K20)."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a shop's code stands for. ``conflict``: its two codes name different things."""

    sku_id: int | None
    bundle_id: int | None
    version: int
    conflict: bool = False


@dataclass(frozen=True, slots=True)
class Priced:
    """What a SKU is worth, moment by moment."""

    code: str
    base_price: Decimal
    currency: str
    is_gift: bool
    category: str = ""
    dated: tuple[tuple[datetime, datetime | None, Decimal], ...] = ()
    """(from, until, price); the one that began last comes first."""

    def at(self, moment: datetime) -> Decimal:
        """The price in force: of those that cover the moment the one that began last."""
        for starts_at, ends_at, price in self.dated:
            if starts_at <= moment and (ends_at is None or moment < ends_at):
                return price
        return self.base_price


@dataclass(frozen=True, slots=True)
class Part:
    """So many pieces of a SKU in one bundle."""

    sku_id: int
    pieces: int
    is_active: bool
    priced: Priced

    def weight(self, moment: datetime) -> Decimal:
        """What its pieces are worth: by this the bundle's money is shared out."""
        return self.priced.at(moment) * self.pieces


class Shelf:
    """Listings, bundle parts and prices for one batch."""

    def __init__(
        self, listings: Iterable[tuple[int, str, str, int | None, int | None, int]]
    ) -> None:
        self._listings: dict[Key, Found] = {
            (shop, kind, code): Found(sku, bundle, version)
            for shop, kind, code, sku, bundle, version in listings
        }
        self._parts: dict[int, list[Part]] = {}
        self._read_parts({f.bundle_id for f in self._listings.values() if f.bundle_id})

    @classmethod
    def for_codes(cls, codes: Collection[tuple[int, str]]) -> "Shelf":
        """Read the listings of these (shop, code) pairs.

        They stay as read until the caller's transaction ends.
        """
        if not codes:
            return cls([])
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock_shared(%s)", [MAPPING_LOCK])
            cursor.execute(
                "SELECT shop_id, code_type, code, sku_id, bundle_id, version "
                "FROM catalog_listing WHERE shop_id = ANY(%s) AND code = ANY(%s)",
                [list({shop for shop, _ in codes}), list({code for _, code in codes})],
            )
            return cls(cursor.fetchall())

    def find(self, shop_id: int, platform_sku_id: str, outer_code: str) -> Found | None:
        """What the line is, by the platform's SKU id first, then by the merchant's code.

        Exact spelling only: a look-alike letter is another code.
        """
        by_id = self._listings.get((shop_id, CodeType.SKU_ID, platform_sku_id))
        by_code = self._listings.get((shop_id, CodeType.OUTER_CODE, outer_code))
        if (
            by_id
            and by_code
            and (by_id.sku_id, by_id.bundle_id)
            != (
                by_code.sku_id,
                by_code.bundle_id,
            )
        ):
            return Found(None, None, by_id.version, conflict=True)
        return by_id or by_code

    def listing(self, key: Key) -> Found | None:
        return self._listings.get(key)

    def wish(self, wishes: Mapping[Key, Target]) -> None:
        """Read these listings as they are to be; the version is the one they would have."""
        for key, (sku_id, bundle_id) in wishes.items():
            was = self._listings.get(key)
            if was is None:
                self._listings[key] = Found(sku_id, bundle_id, 1)
            elif (was.sku_id, was.bundle_id) != (sku_id, bundle_id):
                self._listings[key] = replace(
                    was, sku_id=sku_id, bundle_id=bundle_id, version=was.version + 1
                )
        self._read_parts({bundle for _, bundle in wishes.values() if bundle} - set(self._parts))

    def compose(self, bundle_id: int, pieces: Mapping[int, int]) -> None:
        """Read a bundle as if it were made of so many pieces of each SKU."""
        known = _priced(pieces)
        self._parts[bundle_id] = [
            Part(sku, count, known[sku][1], known[sku][0]) for sku, count in pieces.items()
        ]

    def _read_parts(self, bundles: Collection[int]) -> None:
        if not bundles:
            return
        with connection.cursor() as cursor:
            cursor.execute(
                f"SELECT b.id, {_WORTH}, b.bundle_id, b.sku_id, b.quantity "  # noqa: S608 - own columns
                "FROM catalog_bundlepart b JOIN catalog_sku s ON s.id = b.sku_id "
                "LEFT JOIN catalog_skuprice p ON p.sku_id = s.id "
                "WHERE b.bundle_id = ANY(%s) ORDER BY b.id, p.starts_at DESC",
                [list(bundles)],
            )
            rows = cursor.fetchall()
        known = _by_key(rows)
        made = {pk: (bundle, sku, pieces) for pk, *_worth, bundle, sku, pieces in rows}
        for pk, (bundle, sku, pieces) in made.items():
            priced, is_active = known[pk]
            self._parts.setdefault(bundle, []).append(Part(sku, pieces, is_active, priced))

    def parts(self, bundle_id: int | None) -> list[Part]:
        return self._parts.get(bundle_id or 0, [])

    def problem(self, bundle_id: int | None) -> str:
        """Why a bundle cannot be taken apart, in words; empty when it can."""
        return problem_of(self.parts(bundle_id)) if bundle_id else ""

    @staticmethod
    def prices(sku_ids: Collection[int]) -> dict[int, Priced]:
        """What each SKU is worth, in one statement."""
        return {pk: priced for pk, (priced, _) in _priced(sku_ids).items()}


def problem_of(parts: Collection[Part]) -> str:
    """Why a bundle of these parts cannot be taken apart, in words; empty when it can."""
    if not parts:
        return "组合装没有组成"
    off = [part.priced.code for part in parts if not part.is_active]
    return f"组合装的组成已停用：{'、'.join(off)}" if off else ""


_WORTH: Final = (
    "s.code, s.base_price, s.currency, s.is_gift, s.category, s.is_active, "
    "p.starts_at, p.ends_at, p.base_price"
)


def _priced(sku_ids: Collection[int]) -> dict[int, tuple[Priced, bool]]:
    """(worth, is active) of each SKU."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT s.id, {_WORTH} FROM catalog_sku s "  # noqa: S608 - own columns
            "LEFT JOIN catalog_skuprice p ON p.sku_id = s.id "
            "WHERE s.id = ANY(%s) ORDER BY s.id, p.starts_at DESC",
            [list(sku_ids)],
        )
        return _by_key(cursor.fetchall())


def _by_key(rows: Iterable[tuple[Any, ...]]) -> dict[int, tuple[Priced, bool]]:
    """One worth out of the rows with one key, of which there is one for each dated price."""
    told: dict[int, tuple[tuple[str, Decimal, str, bool, str], bool]] = {}
    dated: dict[int, list[tuple[datetime, datetime | None, Decimal]]] = {}
    for pk, *worth, is_active, starts_at, ends_at, price in (row[:10] for row in rows):
        code, base, currency, is_gift, category = worth
        told[pk] = ((code, base, currency, is_gift, category), is_active)
        if starts_at is not None:
            dated.setdefault(pk, []).append((starts_at, ends_at, price))
    return {
        pk: (Priced(*worth, tuple(dated.get(pk, ()))), is_active)
        for pk, (worth, is_active) in told.items()
    }
