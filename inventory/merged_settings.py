"""What is set for a SKU beside its units, and what of it a merge takes along: bins and rules.

Bins come together, as the goods of both lie where they lie. A quota of a shop, or a safety
stock, goes over where the kept SKU has none; where it has one, that one stays in force.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from django.db.models import F, QuerySet
from django.utils.translation import gettext as _

from inventory.buffers import compute_buffers
from inventory.models import BinPlace, ChannelQuota, SafetyStock


@dataclass(frozen=True, slots=True)
class Settings:
    """In words: what goes over to the kept SKU, and what does not, as it has its own."""

    carried: tuple[str, ...]
    left: tuple[str, ...]


def settings_of(old_id: int, kept_id: int) -> Settings:
    """What a merge would do to what is set for these two."""
    carried = [
        _("库位 %(code)s（%(place)s）")
        % {"code": place.bin.code, "place": place.bin.warehouse.name}
        for place in _bins(old_id, kept_id).select_related("bin__warehouse").order_by("bin")
    ]
    quotas = ChannelQuota.objects.filter(sku=old_id).select_related("shop").order_by("shop")
    goes = set(_quotas(old_id, kept_id).values_list("pk", flat=True))
    carried += _named(quotas, [row.pk for row in quotas if row.pk in goes])
    left = _named(quotas, [row.pk for row in quotas if row.pk not in goes])
    if SafetyStock.objects.filter(sku=old_id).exists():
        (carried if _safety(old_id, kept_id).exists() else left).append(_("安全库存规则"))
    return Settings(tuple(carried), tuple(left))


def _named(quotas: QuerySet[ChannelQuota], keys: Sequence[int]) -> list[str]:
    return [_("%(shop)s 的配额") % {"shop": row.shop.name} for row in quotas if row.pk in keys]


def carry_settings(old_id: int, kept_id: int) -> Settings:
    """Take along what ``settings_of`` names, in the caller's transaction; return it."""
    told = settings_of(old_id, kept_id)
    _bins(old_id, kept_id).update(sku=kept_id)
    BinPlace.objects.filter(sku=old_id).delete()
    _quotas(old_id, kept_id).update(sku=kept_id, version=F("version") + 1)
    if _safety(old_id, kept_id).update(sku=kept_id):
        compute_buffers({old_id, kept_id})
    return told


def _bins(old_id: int, kept_id: int) -> QuerySet[BinPlace]:
    kept = BinPlace.objects.filter(sku=kept_id).values("bin")
    return BinPlace.objects.filter(sku=old_id).exclude(bin__in=kept)


def _quotas(old_id: int, kept_id: int) -> QuerySet[ChannelQuota]:
    kept = ChannelQuota.objects.filter(sku=kept_id).values("shop")
    return ChannelQuota.objects.filter(sku=old_id).exclude(shop__in=kept)


def _safety(old_id: int, kept_id: int) -> QuerySet[SafetyStock]:
    rows = SafetyStock.objects.filter(sku=old_id)
    return rows.none() if SafetyStock.objects.filter(sku=kept_id).exists() else rows
