"""What a stock figure is addressed to, learned from the orders that name it.

A listing is tied to our goods by one code; platforms want their item and SKU ids besides.
What somebody typed stays.
"""

from collections.abc import Collection
from typing import Final

from django.db import connection, transaction

from ordercenter.orders.contracts import OrderDraft

MOST_KNOWN: Final = 100_000
Named = tuple[int, str, str, str]
"""(shop, platform SKU id, merchant's code, platform item id) as one line tells them."""

_known: set[Named] = set()


def learn(drafts: Collection[tuple[int, OrderDraft]]) -> None:
    """Fill in what these orders tell of listings, once the caller's transaction has committed.

    A line this process has learned from already costs nothing.
    """
    told = {
        (shop_id, line.platform_sku_id or "", line.outer_code or "", line.platform_item_id or "")
        for shop_id, draft in drafts
        for line in draft.lines
        if line.platform_item_id or (line.platform_sku_id and line.outer_code)
    }
    if new := told - _known:
        transaction.on_commit(lambda: _fill_in(sorted(new)), robust=True)


def _fill_in(named: Collection[Named]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE catalog_listing c SET "
            "platform_item_id = CASE c.platform_item_id WHEN '' THEN v.item "
            "ELSE c.platform_item_id END, "
            "platform_sku_id = CASE WHEN c.platform_sku_id = '' AND c.code_type = 'outer_code' "
            "THEN v.sku ELSE c.platform_sku_id END "
            "FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::text[]) "
            "AS v(shop, sku, outer_code, item) WHERE c.shop_id = v.shop "
            "AND (c.code_type = 'sku_id' AND c.code = v.sku "
            "OR c.code_type = 'outer_code' AND c.code = v.outer_code) "
            "AND (c.platform_item_id = '' AND v.item <> '' "
            "OR c.platform_sku_id = '' AND v.sku <> '' AND c.code_type = 'outer_code')",
            [list(column) for column in zip(*named, strict=True)],
        )
    if len(_known) > MOST_KNOWN:
        _known.clear()
    _known.update(named)
