"""What bundles are made of: changed in sight of the open orders that hold them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction
from django.utils.translation import gettext_lazy as _

from ordercenter.audit.models import Action
from ordercenter.audit.services import Entry, record_many
from ordercenter.catalog.models import Bundle, BundlePart, Sku
from ordercenter.core.actor import Actor
from ordercenter.core.errors import InvalidInput, OrderCenterError
from ordercenter.core.live import announce
from ordercenter.core.policy import Can, require
from ordercenter.pipeline import recoding
from ordercenter.pipeline.mapping import stand_alone
from ordercenter.pipeline.recoding import Recoded
from ordercenter.pipeline.rereading import Changed

MOST_PARTS: Final = 50
MOST_PIECES: Final = 10_000


class StaleBundle(OrderCenterError):
    code = "stale_bundle"
    message = _("组合装 %(code)s 已被他人改动，请刷新后重试")


@dataclass(frozen=True, slots=True)
class Recipe:
    """A bundle as it is to be made: pieces of each SKU, and as somebody saw it before."""

    bundle_id: int
    parts: Mapping[int, int]
    seen: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class Made:
    """What changing bundles came to."""

    changed: int = 0
    recoded: Recoded = field(default_factory=Recoded)


def parts_of(bundle_ids: Sequence[int]) -> dict[int, dict[int, int]]:
    """Pieces of each SKU, by bundle."""
    found: dict[int, dict[int, int]] = {pk: {} for pk in bundle_ids}
    rows = BundlePart.objects.filter(bundle__in=bundle_ids).order_by("pk")
    for bundle, sku, pieces in rows.values_list("bundle_id", "sku_id", "quantity"):
        found[bundle][sku] = pieces
    return found


def change_parts(
    recipes: Sequence[Recipe],
    *,
    user: AbstractBaseUser,
    actor: Actor,
    reason: str,
    recode: bool = False,
) -> Made:
    """Make the bundles of other parts, all of them or none. Right: EDIT_MAPPING.

    New orders are taken apart the new way; with ``recode`` the open ones as well, unless
    packed. Safe to repeat. Raises StaleBundle for one changed since it was seen, InvalidInput
    for parts there cannot be.
    """
    require(user, Can.EDIT_MAPPING)
    changed = write_parts(recipes, actor=actor, reason=reason)
    if not recode:
        return Made(changed)
    concerned = Changed(bundles=[recipe.bundle_id for recipe in recipes])
    return Made(changed, recoding.recode(concerned, user=user, actor=actor, reason=reason))


@transaction.atomic
def write_parts(recipes: Sequence[Recipe], *, actor: Actor, reason: str) -> int:
    """The writing alone; the caller has seen to the right."""
    stand_alone()
    ids = [recipe.bundle_id for recipe in recipes]
    rows = Bundle.objects.select_for_update(no_key=True).filter(pk__in=ids).order_by("pk")
    bundles = {row.pk: row for row in rows}
    codes = _check(recipes)
    there = parts_of(ids)
    due = [r for r in recipes if there.get(r.bundle_id, {}) != dict(r.parts)]
    for recipe in due:
        if recipe.bundle_id not in bundles:
            raise InvalidInput(what="组合装不存在，请刷新后重试")
        if there[recipe.bundle_id] != dict(recipe.seen):
            raise StaleBundle(code=bundles[recipe.bundle_id].code)
    BundlePart.objects.filter(bundle__in=[r.bundle_id for r in due]).delete()
    BundlePart.objects.bulk_create(
        BundlePart(bundle_id=r.bundle_id, sku_id=sku, quantity=pieces)
        for r in due
        for sku, pieces in r.parts.items()
    )
    record_many(
        [
            Entry(
                Action.CATALOG_CHANGED, "bundle", r.bundle_id,
                {"parts": [_told(there[r.bundle_id], codes), _told(r.parts, codes)]}, reason,
            )
            for r in due
        ],
        actor=actor,
    )  # fmt: skip
    if due:
        announce("orders", bundles=len(due))
    return len(due)


def _told(parts: Mapping[int, int], codes: Mapping[int, str]) -> dict[str, int]:
    return {codes[sku]: pieces for sku, pieces in sorted(parts.items())}


def _check(recipes: Sequence[Recipe]) -> dict[int, str]:
    """Refuse what no bundle can be made of (BS04); return the codes of all SKUs concerned."""
    wanted = {sku for recipe in recipes for sku in {*recipe.parts, *recipe.seen}}
    named = {sku for recipe in recipes for sku in recipe.parts}
    codes = dict(Sku.objects.filter(pk__in=wanted).values_list("pk", "code"))
    if missing := named - set(codes):
        raise InvalidInput(what=f"有 {len(missing)} 个货品不存在，请刷新后重试")
    nested = Bundle.objects.filter(code__in=[codes[sku] for sku in named]).order_by("code")
    if inner := list(nested.values_list("code", flat=True)):
        raise InvalidInput(what=f"组合装里不能再放组合装：{'、'.join(inner)}")
    for recipe in recipes:
        if not 1 <= len(recipe.parts) <= MOST_PARTS:
            raise InvalidInput(what=f"组合装应有 1 到 {MOST_PARTS} 种货品")
        if not all(1 <= pieces <= MOST_PIECES for pieces in recipe.parts.values()):
            raise InvalidInput(what=f"每种货品应为 1 到 {MOST_PIECES} 件")
    return codes
