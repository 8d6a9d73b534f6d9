"""The catalog: what a listing stands for is what its newest version says."""

from typing import Final

from django.utils.translation import gettext_lazy as _

from ordercenter.pipeline.invariants.shape import Invariant

C1: Final = """
    SELECT '对应关系与它最新的版本记录不一致' AS why, 'listing' AS kind, c.id,
           jsonb_build_object('shop', c.shop_id, 'code', c.code, 'version', c.version,
                              'newest', v.version) AS facts
    FROM catalog_listing c LEFT JOIN LATERAL (
        SELECT version, sku_id, bundle_id FROM catalog_listingversion
        WHERE listing_id = c.id ORDER BY version DESC LIMIT 1
    ) v ON true
    WHERE (v.version, v.sku_id, v.bundle_id) IS DISTINCT FROM (c.version, c.sku_id, c.bundle_id)
"""

INVARIANTS: Final = (Invariant("C1", _("每个平台编码的对应关系与其最新版本记录一致"), C1),)
