"""Trust the customer behind a card for a while, and let the order go in the same act."""

from collections.abc import Collection
from datetime import timedelta
from typing import Final

from django.contrib.auth.models import AbstractBaseUser
from django.utils.translation import gettext as _

from ordercenter.core.actor import Actor
from ordercenter.core.clock import now as clock_now
from ordercenter.core.errors import InvalidInput
from ordercenter.core.policy import Can, require
from ordercenter.pipeline import decisions
from ordercenter.pipeline.publishing import telling_stock
from risk import exemptions

DAYS: Final = (7, 30, 90, 180)


@telling_stock()
def trust_customer(
    order_id: int,
    hold_ids: Collection[int],
    *,
    key: str,
    days: int,
    user: AbstractBaseUser,
    actor: Actor,
    seen_version: int,
    reason: str,
) -> None:
    """Exempt the customer from every rule of tier 2 for ``days``, and lift these holds.

    Both or neither. ``key`` says by what the customer is recognized. Rights EDIT_LISTS and
    REVIEW; whatever refuses a release refuses this.
    """
    require(user, Can.EDIT_LISTS)
    if days not in DAYS:
        raise InvalidInput(what=_("请选择信任多少天"))
    now = clock_now()
    decisions.release_order(
        order_id, hold_ids, user=user, actor=actor, seen_version=seen_version, reason=reason
    )
    exemptions.exempt(
        order_id, key=key, until=now + timedelta(days=days), reason=reason, user=user, actor=actor,
        now=now,
    )  # fmt: skip
