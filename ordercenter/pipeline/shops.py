"""A shop begins and starts. What happens to its line in between is in ``lines``."""

from datetime import timedelta
from typing import Final

from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction
from django.utils.translation import gettext as _

from channels_sync.models import ShopCredential
from ordercenter.audit.models import Action
from ordercenter.audit.services import record
from ordercenter.catalog.models import Channel, Shop
from ordercenter.core.actor import Actor
from ordercenter.core.clock import now as clock_now
from ordercenter.core.errors import InvalidInput, NotFound
from ordercenter.core.live import announce
from ordercenter.core.policy import Can, require
from ordercenter.pipeline import lines
from ordercenter.pipeline.schedules import sync_schedules

LONGEST_FIRST_BACKFILL: Final = 30
"""Days."""


@transaction.atomic
def open_shop(
    *,
    user: AbstractBaseUser,
    actor: Actor,
    channel: str,
    code: str,
    name: str,
    currency: str,
) -> Shop:
    """Begin to connect a shop: it exists and does nothing yet. Right: EDIT_SHOPS.

    Asked again in the same words it returns the shop it made. Raises InvalidInput where the
    code is taken, upper and lower case alike.
    """
    require(user, Can.EDIT_SHOPS)
    facts = {"name": name, "channel": channel, "currency": currency}
    alike = Shop.objects.filter(code__iexact=code).exclude(code=code)
    if alike.exists():
        raise InvalidInput(what=_("店铺编码 %(code)s 已被使用（不分大小写）") % {"code": code})
    shop, is_new = Shop.objects.get_or_create(code=code, defaults={**facts, "is_active": False})
    if is_new:
        _record(shop, actor, {"code": [None, code], **{k: [None, v] for k, v in facts.items()}})
        return shop
    if shop.is_active or any(getattr(shop, key) != value for key, value in facts.items()):
        raise InvalidInput(what=_("店铺编码 %(code)s 已被使用") % {"code": code})
    return shop


@transaction.atomic
def start_shop(
    shop_id: int,
    *,
    user: AbstractBaseUser,
    actor: Actor,
    mode: str = "",
    interval_seconds: int = 0,
    backfill_days: int = 0,
) -> None:
    """Have a shop read and told things from now on. Right: EDIT_SHOPS.

    ``backfill_days`` of the past are read as well, 0 to 30. A shop that is started already is
    left as it is. Raises InvalidInput while there is nothing to speak for it with.
    """
    require(user, Can.EDIT_SHOPS)
    shop = Shop.objects.select_for_update().filter(pk=shop_id).first()
    if shop is None:
        raise NotFound(what=f"店铺 {shop_id}")
    if shop.is_active:
        return
    if not 0 <= backfill_days <= LONGEST_FIRST_BACKFILL:
        raise InvalidInput(what=_("首次补拉最多 %(days)d 天") % {"days": LONGEST_FIRST_BACKFILL})
    if shop.channel != Channel.FILE:
        if not ShopCredential.objects.filter(pk=shop_id).exists():
            raise InvalidInput(what=_("请先填写接口凭据"))
        lines.set_mode(
            shop_id, user=user, actor=actor, mode=mode, interval_seconds=interval_seconds
        )
    shop.is_active = True
    shop.save(update_fields=["is_active"])
    _record(shop, actor, {"is_active": [False, True]})
    if backfill_days:
        now = clock_now()
        lines.ask_backfill(
            shop_id, start=now - timedelta(days=backfill_days), end=now, user=user, actor=actor,
            reason=_("首次接入"),
        )  # fmt: skip
    sync_schedules()


def _record(shop: Shop, actor: Actor, change: dict[str, list[object]]) -> None:
    record(Action.SHOP_CHANGED, object_type="shop", object_id=shop.pk, actor=actor, change=change)
    announce("shops")
