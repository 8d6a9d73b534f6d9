"""A parcel whose buyer wants the money back is caught at the bench.

Until then its label is alive and the platform was told that it is being stopped. Once the
packer has it in hand the label is void, the goods go back to the shelf by a task, and the
platform hears that nothing will be shipped. Should the buyer think better of it, the order is
planned anew.
"""

from typing import Final

from django.contrib.auth.models import AbstractBaseUser

from fulfillment import services as fulfillment
from fulfillment.models import Parcel
from ordercenter.audit.models import Action
from ordercenter.core.actor import Actor
from ordercenter.core.clock import now as clock_now
from ordercenter.core.live import announce
from ordercenter.orders.errors import WrongState
from ordercenter.orders.states import HoldKind, OrderStatus
from ordercenter.pipeline import stages, telling
from ordercenter.pipeline.path import take
from ordercenter.pipeline.publishing import telling_stock
from ordercenter.pipeline.work import load

REASON: Final = "买家申请退款，包裹已在打包台拦下"
IN_HAND: Final = frozenset({Parcel.State.PICKED, Parcel.State.PACKED})


def can_be_caught(found: stages.Scan) -> bool:
    """Whether what was scanned is a parcel to be taken off the bench for a refund."""
    return bool(
        found.parcel
        and found.parcel.state in IN_HAND
        and found.order.holds.filter(kind=HoldKind.REFUND, released_at=None).exists()
    )


@telling_stock()
def catch_parcel(parcel_id: int, *, user: AbstractBaseUser, actor: Actor) -> None:
    """Take a parcel of a refund off the bench; a second press changes nothing.

    Right: PACK, in a warehouse of the user's own. Raises WrongState where the refund was
    withdrawn meanwhile or the parcel has left: then it is not to be caught.
    """
    parcel = stages.reachable(parcel_id, user)
    (work,) = load([parcel.order_id])
    parcel = Parcel.objects.get(pk=parcel_id)
    if parcel.state in {Parcel.State.STOPPED, Parcel.State.CANCELED}:
        return
    if parcel.state not in IN_HAND or not work.held_by(HoldKind.REFUND):
        raise WrongState(number=work.number, status=parcel.get_state_display(), what="拦下")
    now = clock_now()
    fulfillment.take_apart({work.id: REASON}, by=actor.name, now=now)
    work.action, work.reason = Action.PARCEL_STOPPED, REASON
    if work.status is OrderStatus.ROUTED:
        work.move(OrderStatus.CLEARED)
    take([work], actor=actor, now=now)
    telling.answer_stops([work.id], actor=actor, now=now)
    announce("orders", order_id=work.id)
