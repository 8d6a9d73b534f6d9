"""Whose figures can be lowered: a platform on promotion takes no lower stock for a while."""

from collections.abc import Collection

from django.db import connection


def immovable(sku_ids: Collection[int]) -> set[tuple[int, int]]:
    """Of these SKUs, the (shop, SKU) a platform has lately refused a figure of, sets included."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT DISTINCT c.shop_id, coalesce(c.sku_id, b.sku_id) "
            "FROM channels_sync_publishedstock p JOIN catalog_listing c ON c.id = p.listing_id "
            "LEFT JOIN catalog_bundlepart b ON b.bundle_id = c.bundle_id "
            "WHERE p.refused_until > now() AND coalesce(c.sku_id, b.sku_id) = ANY(%s)",
            [list(sku_ids)],
        )
        return {(shop, sku) for shop, sku in cursor.fetchall()}
