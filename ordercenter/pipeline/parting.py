"""Ship in parts: what is there goes now, the rest when there is stock for it.

A line goes whole, and a bundle with all its parts. What waits (``Leaves.LATER``) holds no stock
and keeps its turn among the shortages; once one place has all of it, it leaves in a parcel of its
own. The order itself stays one: one status, one set of holds, one conversation with its platform.
It is shipped when nothing of it is to follow.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final

from django.utils.translation import gettext as _

from fulfillment import services as fulfillment
from fulfillment.models import Stage
from inventory.selectors import SourceMap, promisable
from ordercenter.audit.models import Action
from ordercenter.core.clock import now as clock_now
from ordercenter.core.errors import InvalidInput, NotFound
from ordercenter.core.policy import Can, require
from ordercenter.orders.errors import StaleOrder, WrongState
from ordercenter.orders.models import OrderHold, SalesOrder
from ordercenter.orders.states import Leaves, OrderStatus, Tier
from ordercenter.pipeline import cancel, promises
from ordercenter.pipeline.path import take
from ordercenter.pipeline.publishing import telling_stock
from ordercenter.pipeline.shortage_acts import (
    Outcome,
    Seen,
    checked_reason,
    in_hand,
    refund_of,
)
from ordercenter.pipeline.work import Line, Work, load

BY_ITSELF: Final = "先发现货，其余补发"
Places = Mapping[tuple[int, int], int]
"""Units an order could take, by (virtual warehouse, SKU)."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What would leave now from which place, and what would wait."""

    place: int
    now: Sequence[Line]
    later: Sequence[Line]
    other: int | None = None
    """The place that has all that would wait, by the figures looked at: it sends it at once."""


def divide(work: Work, places: Sequence[int], free: Places) -> Parts | None:
    """What goes now: the most worth that one place has; None where that is nothing that was
    bought, or where nothing would be left to wait."""
    best: tuple[Decimal, Parts] | None = None
    for place in places:
        now = _fitting(work.to_send, place, free)
        later = [line for line in work.to_send if line.id not in now]
        taken = [line for line in work.to_send if line.id in now]
        if not later or all(line.is_gift for line in taken):
            continue
        worth = refund_of(taken)
        if best is None or worth > best[0]:
            best = (worth, Parts(place, taken, later))
    if best is None:
        return None
    parts = best[1]
    others = (one for one in places if len(_fitting(parts.later, one, free)) == len(parts.later))
    return replace(parts, other=next(others, None))


def _fitting(lines: Iterable[Line], place: int, free: Places) -> set[int]:
    """Lines a place has whole, in their order; the parts of a bundle together or not at all."""
    together: dict[int, list[Line]] = {}
    for line in lines:
        together.setdefault(line.bundle_line_id or line.id, []).append(line)
    left: dict[int, int] = {}
    fitting: set[int] = set()
    for group in together.values():
        wanted: dict[int, int] = {}
        for line in group:
            sku = line.sku_id or 0
            wanted[sku] = wanted.get(sku, 0) + line.quantity
            left.setdefault(sku, free.get((place, sku), 0))
        if all(left[sku] >= units for sku, units in wanted.items()):
            for sku, units in wanted.items():
                left[sku] -= units
            fitting |= {line.id for line in group}
    return fitting


def look(work: Work) -> Parts | None:
    """What sending a part would come to by the figures of this moment; nothing is held."""
    sources = SourceMap()
    skus = {line.sku_id for line in work.to_send if line.sku_id}
    free = promisable(work.shop_id, skus)
    return divide(work, sources.for_order(work.shop_id, work.province), free)


def look_at_each(works: Sequence[Work]) -> dict[int, Parts]:
    """What parting each of these orders would come to, one after the other; those that can be."""
    sources = SourceMap()
    skus = {line.sku_id for work in works for line in work.to_send if line.sku_id}
    free = {shop: promisable(shop, skus) for shop in {work.shop_id for work in works}}
    found: dict[int, Parts] = {}
    for work in works:
        if not work.is_paid:
            continue
        places = sources.for_order(work.shop_id, work.province)
        parts = divide(work, places, free[work.shop_id])
        if parts is None:
            continue
        found[work.id] = parts
        for line in parts.now:
            key = (parts.place, line.sku_id or 0)
            for figures in free.values():
                if key in figures:
                    figures[key] -= line.quantity
    return found


@telling_stock()
def ship_part(it: Seen, line_ids: Collection[int] = ()) -> Outcome:
    """Send now what one place has of the order; the rest waits for stock, and is sent then.

    ``line_ids`` are the lines its user saw go now; without them it is what there is. Raises
    InvalidInput where that cannot be had (any more), or nobody has paid.
    """
    work = in_hand(it, _("先发一部分"))
    if not work.is_paid:
        raise InvalidInput(what=_("买家还没有付清，不能先发一部分"))
    if work.held_by_code(*promises.GOES_WITH):
        raise InvalidInput(what=_("定金单的货随尾款单发出"))
    parts = look(work)
    if parts is None:
        raise InvalidInput(what=_("没有一个仓有其中任何一行的整行现货，不能先发一部分"))
    if line_ids and {line.id for line in parts.now} != set(line_ids):
        raise InvalidInput(what=_("现货已经变动，请按现在的预览重新确认"))
    now = clock_now()
    reason = it.reason or BY_ITSELF
    promises.retire([work], actor=it.actor, reason=reason, now=now)
    promises.release([work.id], reason="parted", now=now)
    work.part(parts.now, Leaves.FIRST)
    work.part(parts.later, Leaves.LATER)
    work.prefers, work.action, work.reason = parts.place, Action.ORDER_PARTED, reason
    take([work], actor=it.actor, now=now)
    if work.status is OrderStatus.MAPPED:
        raise InvalidInput(what=_("现货刚被别的订单占用，请刷新后重试"))
    words = _("先发 %(now)s；待补 %(later)s") % {"now": said(parts.now), "later": said(parts.later)}
    return Outcome(work.number, True, words)


def said(lines: Iterable[Line]) -> str:
    """Lines in words."""
    return "、".join(f"{line.title[:20]} ×{line.quantity}" for line in lines)


def _waiting(it: Seen, what: str) -> Work:
    """An order of the user's, part of which waits, as the user saw it."""
    require(it.user, Can.WORK_SHORTAGE)
    if not SalesOrder.objects.visible_to(it.user).filter(pk=it.order_id).exists():
        raise NotFound(what=f"订单 {it.order_id}")
    (work,) = load([it.order_id])
    if work.version != it.version:
        raise StaleOrder(number=work.number)
    if not work.rest or work.status is OrderStatus.MAPPED:
        raise WrongState(number=work.number, status=work.status.label, what=what)
    return work


@telling_stock()
def try_rest(it: Seen) -> Outcome:
    """Try now to reserve what waits, behind whoever is being served this moment."""
    work = _waiting(it, _("补发"))
    work.fills_rest, work.reason = True, it.reason
    take([work], actor=it.actor, now=clock_now())
    if work.rest:
        return Outcome(work.number, False, _("待补的货品仍然缺货"))
    return Outcome(work.number, True, _("待补的货品已占到库存，另发一个包裹"))


@telling_stock()
def send_whole(it: Seen) -> Outcome:
    """Take the decision back: the order is tried whole again, and waits where it is short.

    Raises WrongState once somebody has gone for its goods, or a part has left.
    """
    work = _waiting(it, _("改回整单发货"))
    if fulfillment.begun([work.id]):
        raise WrongState(
            number=work.number, status=_("已开始拣货"), what=_("改回整单发货")
        )  # fmt: skip
    work.action, work.reason = Action.ORDER_PARTED, it.reason or "改回整单发货"
    work.must_judge = True
    work.send_back()
    take([work], actor=it.actor, now=clock_now())
    if work.status is OrderStatus.MAPPED:
        return Outcome(work.number, False, _("已改回整单，继续等待缺货的货品"))
    return Outcome(work.number, True, _("已改回整单，库存已齐"))


@telling_stock()
def drop_rest(it: Seen) -> Outcome:
    """Send nothing more of what waits; after-sales is told how much to pay back.

    Where all else has left the order is shipped with that, and its holds end: while there are
    any, the right CANCEL is asked for as well, and a frozen order is left alone.
    """
    reason = checked_reason(it.reason)
    work = _waiting(it, _("取消待补商品"))
    dropped, ends = _bought(work), not work.to_hold
    for line in dropped:
        work.drop(line)
        work.changes[f"dropped {line.line_no}"] = [False, True]
    work.must_gift, work.reason = False, reason
    if ends and work.held_by():
        _may_end(work, it)
    now = clock_now()
    if ends:
        cancel.walk_back(work)
    work.action = Action.ORDER_CANCELED if work.closing else Action.LINE_DROPPED
    take([work], actor=it.actor, now=now)
    if ends:
        cancel.finish([work], actor=it.actor, now=now)
    _tell_after_sales(work, dropped)
    return Outcome(work.number, True, _("待补的商品已取消，不再发"))


def _bought(work: Work) -> list[Line]:
    """The lines as bought that wait: a part stands for its bundle."""
    waiting = {line.bundle_line_id or line.id for line in work.rest}
    return [line for line in work.lines if line.id in waiting]


def _may_end(work: Work, it: Seen) -> None:
    require(it.user, Can.CANCEL)
    if OrderHold.objects.filter(pk__in=work.open_holds.values(), tier=Tier.FREEZE).exists():
        raise WrongState(number=work.number, status=Tier.FREEZE.label, what=_("取消，请先申请解冻"))


def _tell_after_sales(work: Work, dropped: Sequence[Line]) -> None:
    back = refund_of(dropped)
    if not back:
        return
    words = _("已取消待补商品 %(goods)s，请为买家退款 %(amount)s %(currency)s") % {
        "goods": said(dropped), "amount": back, "currency": work.currency,
    }  # fmt: skip
    task = fulfillment.TaskRequest(work.id, Stage.AFTER_SALES, words, work.priority)
    fulfillment.open_tasks([task], now=clock_now())
