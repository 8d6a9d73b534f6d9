"""The shop window of our own shops: what is nearly gone, and how many of it one order may take.

Marketplaces show their own words; only a mini-program or a store of ours can be told these.
"""

from dataclasses import dataclass

from django.utils.translation import gettext as _

from inventory.models import StockPolicy
from inventory.publishable import publishable, publishable_sets
from ordercenter.catalog.models import Listing


@dataclass(frozen=True, slots=True)
class FewLeft:
    """One listing of which so few units are left that the buyer is to know."""

    code_type: str
    code: str
    units: int
    text: str
    most_per_order: int


def few_left(shop_id: int) -> list[FewLeft]:
    """What the shop lists and has fewer of than ``StockPolicy.few_below``, by code.

    Of everything else there is no word and no limit. The units are those the shop is told.
    """
    policy = StockPolicy.current()
    listings = list(Listing.objects.filter(shop_id=shop_id).order_by("code_type", "code"))
    skus = {(shop_id, one.sku_id) for one in listings if one.sku_id}
    bundles = {(shop_id, one.bundle_id) for one in listings if one.bundle_id}
    single = {figure.sku_id: figure.units for figure in publishable(skus)}
    sets = {bundle: units for (_shop, bundle), units in publishable_sets(bundles).items()}
    found = []
    for one in listings:
        units = single.get(one.sku_id, 0) if one.sku_id else sets.get(one.bundle_id or 0, 0)
        if units < policy.few_below:
            text = _("仅剩%(n)d件") % {"n": units} if units else _("已售罄")
            most = min(units, policy.few_most_per_order)
            found.append(FewLeft(one.code_type, one.code, units, text, most))
    return found
