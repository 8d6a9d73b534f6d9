"""What orders tell of a listing beside its code: the ids a stock figure is addressed to."""

from collections.abc import Iterable
from typing import Final

from ordercenter.audit.models import Action
from ordercenter.audit.services import Entry, record_many
from ordercenter.core.actor import Actor
from ordercenter.core.bulk import prepared_cursor

Address = tuple[int, str, str, str]
"""(shop, merchant's code, the platform's SKU id, its item id) of one order line."""
LONGEST: Final = 64
REASON: Final = "从订单得知"

# Only what is empty is filled, so a typed id stays. A row somebody has in hand is passed over: the
# next order tells the same, and a batch of orders never waits for a listing.
_LEARN: Final = """
    WITH told AS (
        SELECT DISTINCT * FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::text[])
        AS t(shop_id, outer_code, sku, item)
    ), news AS (
        SELECT c.id, t.sku, t.item FROM told t JOIN catalog_listing c
        ON c.shop_id = t.shop_id AND c.code_type = 'sku_id' AND c.code = t.sku
        WHERE c.platform_item_id = '' AND t.item <> ''
        UNION ALL
        SELECT c.id, t.sku, t.item FROM told t JOIN catalog_listing c
        ON c.shop_id = t.shop_id AND c.code_type = 'outer_code' AND c.code = t.outer_code
        WHERE ((c.platform_sku_id = '' AND t.sku <> '')
           OR (c.platform_item_id = '' AND t.item <> '' AND c.platform_sku_id IN ('', t.sku)))
          AND NOT EXISTS (  -- two codes that disagree: nobody knows which of them is right
            SELECT 1 FROM catalog_listing d WHERE d.shop_id = c.shop_id AND d.code_type = 'sku_id'
            AND d.code = t.sku AND (d.sku_id IS DISTINCT FROM c.sku_id
                                    OR d.bundle_id IS DISTINCT FROM c.bundle_id))
    ), due AS (
        SELECT c.id, c.code_type, c.platform_sku_id, c.platform_item_id FROM catalog_listing c
        WHERE c.id IN (SELECT id FROM news) ORDER BY c.id FOR NO KEY UPDATE SKIP LOCKED
    ), once AS (
        SELECT DISTINCT ON (d.id) d.*, n.sku, n.item FROM due d JOIN news n ON n.id = d.id
            AND (d.code_type = 'sku_id' OR d.platform_sku_id IN ('', n.sku))  -- as it is by now
        ORDER BY d.id, n.item = '', n.sku, n.item
    ), learned AS (
        UPDATE catalog_listing c SET
            platform_sku_id = CASE WHEN o.code_type = 'sku_id' OR o.platform_sku_id <> ''
                              THEN o.platform_sku_id ELSE o.sku END,
            platform_item_id = CASE WHEN o.platform_item_id <> ''
                               THEN o.platform_item_id ELSE o.item END
        FROM once o WHERE c.id = o.id
        RETURNING c.id, o.platform_sku_id AS sku_was, c.platform_sku_id AS sku,
                  o.platform_item_id AS item_was, c.platform_item_id AS item
    )
    SELECT * FROM learned ORDER BY id
"""


def learn_addresses(told: Iterable[Address], *, actor: Actor) -> int:
    """Keep the platform's ids with the listings that lack them; return how many listings learned.

    In the caller's transaction, one statement, and one record for each listing that learned
    something. What a code stands for is not touched, and its version stays.
    """
    rows = {one for one in told if (one[2] or one[3]) and len(one[2]) <= LONGEST >= len(one[3])}
    if not rows:
        return 0
    with prepared_cursor() as cursor:
        cursor.execute(_LEARN, [list(column) for column in zip(*rows, strict=True)])
        learned = cursor.fetchall()
    entries = []
    for pk, sku_was, sku, item_was, item in learned:
        pairs = {"platform_sku_id": [sku_was, sku], "platform_item_id": [item_was, item]}
        change = {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
        if change:
            entries.append(Entry(Action.CATALOG_CHANGED, "listing", pk, change, REASON))
    if entries:
        record_many(entries, actor=actor)
    return len(entries)
