"""What all papers of the warehouse have in common: who may touch them, and what they name."""

import secrets
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from http import HTTPStatus
from typing import Any, Final

from django.db.models import QuerySet
from django.utils.translation import gettext_lazy as _

from inventory.ledger import free_of
from inventory.models import Reservation, StockLevel, VirtualWarehouse
from ordercenter.catalog.models import Sku
from ordercenter.core.clock import SHANGHAI
from ordercenter.core.errors import InvalidInput, NotFound, OrderCenterError
from ordercenter.core.policy import AnyUser, Can, require, sees_all

MOST_UNITS: Final = 1_000_000
"""The most units of one SKU a paper may name: more is a slip of the finger."""
MOST_LINES: Final = 2_000
MOST_ORDERS: Final = 50
"""Orders a refusal names."""
_LETTERS: Final = "23456789ABCDEFGHJKMNPQRSTUVWXYZ"


class StalePaper(OrderCenterError):
    code = "stale_paper"
    message = _("%(number)s 已被他人更新，请按最新内容核对后重试")


class PaperClosed(OrderCenterError):
    code = "paper_closed"
    message = _("%(number)s %(state)s，不能再操作")


class NotEnough(OrderCenterError):
    code = "not_enough_stock"
    message = _("%(sku)s 没有这么多：只有 %(there)d 件")


class HeldByOrders(OrderCenterError):
    """What is to go is promised. ``orders``: the numbers of the orders touched, newest first."""

    code = "held_by_orders"
    message = _("%(words)s")
    http_status = HTTPStatus.CONFLICT


def new_number(prefix: str, now: datetime) -> str:
    """The number of a paper that is about to be written; made with its form."""
    tail = "".join(secrets.choice(_LETTERS) for _digit in range(5))
    return f"{prefix}{now.astimezone(SHANGHAI):%y%m%d}-{tail}"


def all_rooms() -> QuerySet[VirtualWarehouse]:
    """The virtual warehouses that are open."""
    return VirtualWarehouse.objects.filter(warehouse__is_active=True)


def rooms_of(user: AnyUser) -> QuerySet[VirtualWarehouse]:
    """The virtual warehouses whose goods this user may move."""
    rooms = all_rooms()
    if sees_all(user):
        return rooms
    return rooms.filter(warehouse__warehouseassignment__user=user.pk).distinct()


def room_for(room_id: int, user: AnyUser, right: Can = Can.MOVE_STOCK) -> VirtualWarehouse:
    """A virtual warehouse where this user may do what ``right`` says.

    Raises NotAllowed, InvalidInput where there is none or it is closed, and NotFound where it is
    not the user's.
    """
    require(user, right)
    room = VirtualWarehouse.objects.select_related("warehouse").filter(pk=room_id).first()
    if room is None or not room.warehouse.is_active:
        raise InvalidInput(what=_("没有这个仓库，或仓库已停用"))
    if not rooms_of(user).filter(pk=room_id).exists():
        raise NotFound(what=_("仓库"))
    return room


def checked_goods(goods: Mapping[int, int]) -> dict[int, int]:
    """Units by SKU, as long as there are some, of goods that exist."""
    if not 1 <= len(goods) <= MOST_LINES:
        raise InvalidInput(what=_("请填写 1 到 %(most)d 种货品") % {"most": MOST_LINES})
    known = set(Sku.objects.filter(pk__in=goods).values_list("pk", flat=True))
    if set(goods) - known:
        raise InvalidInput(what=_("没有这个货品"))
    for units in goods.values():
        checked_units(units, least=1)
    return dict(goods)


def checked_units(units: int, *, least: int = 0) -> int:
    if not least <= units <= MOST_UNITS:
        raise InvalidInput(
            what=_("件数须在 %(least)d 到 %(most)d 之间") % {"least": least, "most": MOST_UNITS}
        )
    return units


def checked_words(text: str, *, longest: int = 200, least: int = 0) -> str:
    """Words for a paper, as long as they fit and the database can hold them."""
    words = text.strip()
    if "\0" in words:
        raise InvalidInput(what=_("文字中含有无法保存的字符"))
    if not least <= len(words) <= longest:
        raise InvalidInput(
            what=_("请填写说明，%(least)d 到 %(most)d 个字") % {"least": least, "most": longest}
            if least
            else _("文字不能超过 %(most)d 个字") % {"most": longest}
        )
    return words


def holders(level_ids: Collection[int]) -> dict[int, list[tuple[str, int]]]:
    """(order number, units) promised from each of these levels, newest first, some of them."""
    found: dict[int, list[tuple[str, int]]] = {level: [] for level in level_ids}
    rows = (
        Reservation.objects.filter(level__in=level_ids, state=Reservation.State.ACTIVE)
        .order_by("-pk")
        .values_list("level_id", "line__order__number", "quantity")
    )
    for level, number, units in rows[: MOST_ORDERS * max(1, len(found))]:
        if len(found[level]) < MOST_ORDERS:
            found[level].append((number, units))
    return found


def refuse_if_held(takes: Mapping[int, int], levels: Mapping[int, StockLevel]) -> None:
    """Raise HeldByOrders unless so many units may leave each of these locked levels.

    Names what would be touched: the orders the units are promised to, and what shops have set
    aside.
    """
    short = [pk for pk, units in takes.items() if units > free_of(levels[pk])]
    if not short:
        return
    names = dict(
        Sku.objects.filter(pk__in=[levels[pk].sku_id for pk in short]).values_list("pk", "code")
    )
    told = holders(short)
    words, orders = [], []
    for pk in short:
        level = levels[pk]
        orders += [number for number, _units in told[pk]]
        words.append(_held_words(names[level.sku_id], takes[pk], level, told[pk]))
    raise HeldByOrders(words="；".join(words), orders=orders)


def _held_words(code: str, units: int, level: StockLevel, orders: Sequence[tuple[str, int]]) -> str:
    said: Any = _("%(code)s 要减 %(units)d 件，只有 %(free)d 件未占用") % {
        "code": code, "units": units, "free": max(0, free_of(level)),
    }  # fmt: skip
    if level.locked:
        said += _("，店铺锁定 %(locked)d 件") % {"locked": level.locked}
    if orders:
        shown = "、".join(f"{number}×{n}" for number, n in orders[:10])
        more = _(" 等") if len(orders) > 10 else ""  # noqa: PLR2004 - as many as are shown
        said += _("，涉及订单 %(orders)s%(more)s") % {"orders": shown, "more": more}
    return str(said)
