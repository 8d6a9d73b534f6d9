"""What a batch of orders needs to know of the catalog, in a few statements."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from decimal import Decimal

from django.db import connection

from ordercenter.catalog.models import CodeType


@dataclass(frozen=True, slots=True)
class Found:
    """What a shop's code stands for. ``conflict``: its two codes name different things."""

    sku_id: int | None
    bundle_id: int | None
    version: int
    conflict: bool = False


class Shelf:
    """Listings, bundle parts and prices for one batch."""

    def __init__(
        self, listings: Iterable[tuple[int, str, str, int | None, int | None, int]]
    ) -> None:
        self._listings = {
            (shop, kind, code): Found(sku, bundle, version)
            for shop, kind, code, sku, bundle, version in listings
        }
        self._parts: dict[int, list[tuple[int, int, Decimal]]] = {}
        bundles = {f.bundle_id for f in self._listings.values() if f.bundle_id}
        if bundles:
            self._read_parts(bundles)

    @classmethod
    def for_codes(cls, codes: Collection[tuple[int, str]]) -> "Shelf":
        """Read the listings of these (shop, code) pairs."""
        if not codes:
            return cls([])
        with connection.cursor() as cursor:
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

    def _read_parts(self, bundles: Collection[int]) -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT p.bundle_id, p.sku_id, p.quantity, s.base_price "
                "FROM catalog_bundlepart p JOIN catalog_sku s ON s.id = p.sku_id "
                "WHERE p.bundle_id = ANY(%s) ORDER BY p.id",
                [list(bundles)],
            )
            for bundle, sku, quantity, price in cursor.fetchall():
                self._parts.setdefault(bundle, []).append((sku, quantity, price))

    def parts(self, bundle_id: int | None) -> list[tuple[int, int, Decimal]]:
        """(SKU, pieces in one bundle, base price) of each part."""
        return self._parts.get(bundle_id or 0, [])

    @staticmethod
    def prices(sku_ids: Collection[int]) -> dict[int, tuple[str, Decimal, str, bool]]:
        """(code, base price, currency, is a gift) of each SKU."""
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT id, code, base_price, currency, is_gift FROM catalog_sku "
                "WHERE id = ANY(%s)",
                [list(sku_ids)],
            )
            return {pk: (code, price, cur, gift) for pk, code, price, cur, gift in cursor}
