"""Which field map counts for a shop, and how a new version of one comes to count.

A shop's own live map goes before its channel's, and that before the packaged one. Stored rows
hold what they change of the packaged map and are themselves never changed: an edit is a new
version, which counts once somebody makes it live.
"""

import time
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

from django.contrib.auth.models import AbstractBaseUser
from django.db import IntegrityError, transaction
from django.utils.translation import gettext_lazy as _

from channels_sync.connectors import CONNECTORS
from channels_sync.connectors.field_map import BadFieldMap, FieldMap
from channels_sync.contracts import Unreadable
from channels_sync.models import FieldMap as FieldMapRow
from ordercenter.audit.models import Action
from ordercenter.audit.services import record
from ordercenter.catalog.models import Shop
from ordercenter.core.actor import Actor
from ordercenter.core.errors import InvalidInput, NotFound, OrderCenterError
from ordercenter.core.policy import Can, require

CACHED_SECONDS: Final = 3.0
"""For so long a worker may still read by the map that counted before."""
OBJECT_TYPE: Final = "fieldmap"

_Key = tuple[str, int | None]


class StaleFieldMap(OrderCenterError):
    code = "stale_field_map"
    message = _("字段对照表已被他人更新，请刷新后重试")


# --- which one counts -------------------------------------------------------------------------


class _Live:
    """The live rows of all shops, asked for anew every few seconds."""

    def __init__(self) -> None:
        self._rows: Mapping[_Key, int] = {}
        self._until = 0.0

    def row(self, key: _Key) -> int | None:
        now = time.monotonic()
        if now >= self._until:
            rows = FieldMapRow.objects.filter(is_live=True)
            found = rows.values_list("channel", "shop_id", "pk")
            self._rows = {(channel, shop_id): pk for channel, shop_id, pk in found}
            self._until = now + CACHED_SECONDS
        return self._rows.get(key)

    def forget(self) -> None:
        self._until = 0.0


_LIVE: Final = _Live()


def live_field_map(channel: str, shop_id: int | None) -> FieldMap | None:
    """The map that counts now for a shop's documents; None where the channel has none.

    Follows a change within ``CACHED_SECONDS``. Raises Unreadable where the live version no
    longer fits this program: an order is kept waiting rather than read by another map.
    """
    default = CONNECTORS[channel].default_map
    if default is None:
        return None
    pk = _LIVE.row((channel, shop_id))
    if pk is None and shop_id is not None:
        pk = _LIVE.row((channel, None))
    return default if pk is None else _compiled(pk)


def map_at_the_door(channel: str, shop_id: int) -> FieldMap | None:
    """The map a push is cut up by: a live one that no longer fits gives way to the packaged
    one, because a door keeps what comes, whatever it says."""
    try:
        return live_field_map(channel, shop_id)
    except Unreadable:
        return CONNECTORS[channel].default_map


@lru_cache(maxsize=256)
def _compiled(pk: int) -> FieldMap:
    row = FieldMapRow.objects.get(pk=pk)
    try:
        return packaged(row.channel).changed(row.mapping)
    except BadFieldMap as error:
        words = f"字段对照表 v{row.version} 与本程序不符：{error.problems[0]}"
        raise Unreadable(words) from error


def packaged(channel: str) -> FieldMap:
    """The default of a channel. Raises InvalidInput where it has none."""
    found = CONNECTORS[channel].default_map if channel in CONNECTORS else None
    if found is None:
        raise InvalidInput(what=_("该平台没有字段对照表"))
    return found


# --- new versions -----------------------------------------------------------------------------


def checked(channel: str, mapping: Any) -> FieldMap:
    """Compile what would count; raises InvalidInput naming section, field and reason."""
    try:
        return packaged(channel).changed(mapping)
    except BadFieldMap as error:
        raise InvalidInput(what=str(error)) from error


@transaction.atomic
def save_version(
    channel: str,
    shop: Shop | None,
    mapping: Mapping[str, Any],
    *,
    follows: int,
    note: str,
    user: AbstractBaseUser,
    actor: Actor,
    now: datetime,
) -> FieldMapRow:
    """Keep a new version, not yet live. ``follows`` is the newest version its editor saw.

    Right: EDIT_SHOPS. Raises InvalidInput for a map that cannot work, StaleFieldMap where
    somebody else saved meanwhile.
    """
    require(user, Can.EDIT_SHOPS)
    if shop is not None and shop.channel != channel:
        raise InvalidInput(what=_("店铺不属于该平台"))
    checked(channel, mapping)
    rows = FieldMapRow.objects.filter(channel=channel, shop=shop)
    last = rows.order_by("-version").first()
    if (last.version if last else 0) != follows:
        raise StaleFieldMap
    try:
        with transaction.atomic():
            row = FieldMapRow.objects.create(
                channel=channel, shop=shop, version=follows + 1, mapping=mapping, note=note,
                created_by=actor.name, created_at=now,
            )  # fmt: skip
    except IntegrityError as error:
        raise StaleFieldMap from error
    change = {"version": [follows, row.version], **_differences(last, row)}
    _record(row, change, actor=actor, reason=note)
    return row


@transaction.atomic
def make_live(row_id: int, *, user: AbstractBaseUser, actor: Actor, reason: str) -> None:
    """Let this version count from now on, for its shop or its whole channel.

    Right: EDIT_SHOPS. Raises InvalidInput where it no longer fits the packaged map. A version
    that is live already stays so without a record.
    """
    require(user, Can.EDIT_SHOPS)
    row = _family(row_id).get(row_id)
    if row is None:
        raise NotFound(what=f"字段对照表 {row_id}")
    checked(row.channel, row.mapping)
    was = _end_live(row)
    row.is_live = True
    row.save(update_fields=["is_live"])
    if was != row.version:
        _record(row, {"live": [was, row.version]}, actor=actor, reason=reason)
    transaction.on_commit(_LIVE.forget)


@transaction.atomic
def back_to_packaged(row_id: int, *, user: AbstractBaseUser, actor: Actor, reason: str) -> None:
    """Let no stored version count for this row's shop or channel any more. Right: EDIT_SHOPS."""
    require(user, Can.EDIT_SHOPS)
    row = _family(row_id).get(row_id)
    if row is None:
        raise NotFound(what=f"字段对照表 {row_id}")
    was = _end_live(row)
    if was is not None:
        _record(row, {"live": [was, None]}, actor=actor, reason=reason)
    transaction.on_commit(_LIVE.forget)


def _family(row_id: int) -> dict[int, FieldMapRow]:
    """Lock every version of the row's shop or channel, in primary-key order."""
    row = FieldMapRow.objects.filter(pk=row_id).first()
    if row is None:
        return {}
    rows = FieldMapRow.objects.filter(channel=row.channel, shop=row.shop_id)
    return {one.pk: one for one in rows.order_by("pk").select_for_update(of=("self",))}


def _end_live(row: FieldMapRow) -> int | None:
    """End what is live; return its version."""
    live = FieldMapRow.objects.filter(channel=row.channel, shop=row.shop_id, is_live=True)
    was = live.values_list("version", flat=True).first()
    live.update(is_live=False)
    return was


def _differences(last: FieldMapRow | None, row: FieldMapRow) -> dict[str, Any]:
    """``{section.field: [before, after]}`` of what two versions say."""
    before, after = _flat(last.mapping if last else {}), _flat(row.mapping)
    return {
        name: [before.get(name), after.get(name)]
        for name in sorted({*before, *after})
        if before.get(name) != after.get(name)
    }


def _flat(mapping: Mapping[str, Any]) -> dict[str, Any]:
    return {
        f"{section}.{name}": entry
        for section, fields in mapping.items()
        for name, entry in fields.items()
    }


def _record(row: FieldMapRow, change: Mapping[str, Any], *, actor: Actor, reason: str) -> None:
    record(
        Action.FIELD_MAP_CHANGED, object_type=OBJECT_TYPE, object_id=row.pk, actor=actor,
        change=change, reason=reason,
    )  # fmt: skip
