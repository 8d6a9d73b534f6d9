"""Walk an order back: the parcel is stopped, the stock given back, the tasks withdrawn.

Two halves, because an order is decided first and written once: ``walk_back`` decides,
``finish`` undoes what other apps hold once the order row says canceled. Both belong into one
transaction; the database refuses a canceled order that still holds stock at commit.
"""

from collections.abc import Sequence
from datetime import datetime

from fulfillment import services as fulfillment
from fulfillment.models import StageTask
from inventory import services as inventory
from ordercenter.audit.models import Action
from ordercenter.core.actor import Actor
from ordercenter.orders.states import OrderStatus
from ordercenter.pipeline import promises, telling
from ordercenter.pipeline.work import Work


def walk_back(work: Work) -> None:
    """Cancel an order in hand: every hold ends with it."""
    work.action = Action.ORDER_CANCELED
    for key in list(work.open_holds):
        work.closing[key] = work.reason or "订单已取消"
    work.opening.clear()
    work.tasks.clear()
    work.must_judge = False
    work.move(OrderStatus.CANCELED)


def finish(works: Sequence[Work], *, actor: Actor, now: datetime) -> None:
    """Give back what canceled orders hold. Repeatable."""
    if not works:
        return
    ids = [work.id for work in works]
    reasons = {work.id: work.reason or "订单已取消" for work in works}
    fulfillment.stop_many(reasons, by=actor.name, now=now, final=True)
    inventory.release(ids, reason="canceled", actor=actor, now=now)
    promises.release(ids, reason="canceled", now=now)
    fulfillment.close_tasks(
        ids,
        state=StageTask.State.WITHDRAWN.value,
        by="system",
        now=now,
        stages=[s for s in fulfillment.DEFAULT_MINUTES if s.value != "put_back"],
    )
    telling.answer_stops(ids, actor=actor, now=now)
