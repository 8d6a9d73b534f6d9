"""Walk an order back: the parcel is stopped, the stock given back, the tasks withdrawn.

An order of which a part has left is not canceled any more: what has not left is taken out of it,
and it is shipped. What has left is after-sales' case.

Two halves, because an order is decided first and written once: ``walk_back`` decides,
``finish`` undoes what other apps hold once the order row says canceled. Both belong into one
transaction; the database refuses a canceled order that still holds stock at commit.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from fulfillment import services as fulfillment
from fulfillment.models import Parcel, StageTask
from inventory import services as inventory
from ordercenter.audit.models import Action
from ordercenter.core.actor import Actor
from ordercenter.orders.models import SalesOrder
from ordercenter.orders.states import OrderStatus
from ordercenter.pipeline import promises, telling
from ordercenter.pipeline.noting import note
from ordercenter.pipeline.work import Work


def walk_back(work: Work) -> None:
    """Cancel an order in hand, or what has not left of it: every hold ends with it."""
    work.action, work.ends = Action.ORDER_CANCELED, True
    for key in list(work.open_holds):
        work.closing[key] = work.reason or "订单已取消"
    work.opening.clear()
    work.tasks.clear()
    work.must_judge = False
    if not work.has_left:
        work.move(OrderStatus.CANCELED)
        return
    for line in work.to_send:
        work.drop(line)
    work.must_gift = False
    for status in ON_THE_WAY[ON_THE_WAY.index(work.status) + 1 :]:
        work.move(status)


ON_THE_WAY: Final = (
    OrderStatus.MAPPED, OrderStatus.RESERVED, OrderStatus.CLEARED, OrderStatus.ROUTED,
)  # fmt: skip


def finish(works: Sequence[Work], *, actor: Actor, now: datetime) -> None:
    """Give back what orders hold that were walked back; what has left in part is shipped with
    that. Repeatable."""
    if not works:
        return
    ids = [work.id for work in works]
    reasons = {work.id: work.reason or "订单已取消" for work in works}
    fulfillment.close_tasks(
        ids,
        state=StageTask.State.WITHDRAWN.value,
        by="system",
        now=now,
        stages=[s for s in fulfillment.DEFAULT_MINUTES if s.value != "put_back"],
    )
    fulfillment.stop_many(reasons, by=actor.name, now=now, final=True)
    inventory.release(ids, reason="canceled", actor=actor, now=now)
    promises.release(ids, reason="canceled", now=now)
    for order in SalesOrder.objects.select_related("shop").filter(
        pk__in=[work.id for work in works if work.has_left], status=OrderStatus.ROUTED
    ):
        close_parted(order, actor=actor, now=now)
    telling.answer_stops(ids, actor=actor, now=now)


def close_parted(order: SalesOrder, *, actor: Actor, now: datetime) -> None:
    """Nothing of the locked order is to follow what has left: it is shipped, or signed."""
    note(order, Action.ORDER_MOVED, {}, actor=actor, to=OrderStatus.SHIPPED)
    telling.no_more(order, now=now)
    if not Parcel.objects.filter(order=order, state=Parcel.State.SHIPPED).exists():
        note(order, Action.ORDER_SIGNED, {}, actor=actor, to=OrderStatus.SIGNED)
