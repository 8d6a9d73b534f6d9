"""Goods that need no parcel: vouchers, downloads, services."""

from datetime import datetime

from django.contrib.auth.models import AbstractBaseUser

from channels_sync.contracts import VIRTUAL_CARRIER
from fulfillment.models import Parcel, ParcelLine, StageTask
from inventory import services as inventory
from ordercenter.audit.models import Action
from ordercenter.core.actor import Actor
from ordercenter.core.clock import now as clock_now
from ordercenter.core.errors import InvalidInput, NotFound
from ordercenter.core.live import announce
from ordercenter.core.policy import SCOPED, Can, require, roles_of
from ordercenter.orders.errors import OrderHeld, WrongState
from ordercenter.orders.models import SalesOrder
from ordercenter.orders.states import OrderStatus
from ordercenter.pipeline import stages, telling
from ordercenter.pipeline.interception import gates
from ordercenter.pipeline.noting import note
from ordercenter.pipeline.publishing import telling_stock

UNTOUCHED = (Parcel.State.PLANNED, Parcel.State.PICKED)


@telling_stock()
def ship_virtual(order_id: int, *, user: AbstractBaseUser, actor: Actor) -> None:
    """Hand an order of virtual goods over without a parcel, and have its platform told.

    Right: PACK, within the user's warehouses. Virtual are goods without weight; one that has
    some is refused (InvalidInput), and so is an order that is held or not routed. Repeatable.
    """
    require(user, Can.PACK)
    parcels = Parcel.objects.filter(order_id=order_id).exclude(state__in=telling.GIVEN_UP)
    if roles_of(user) <= SCOPED:
        parcels = parcels.filter(warehouse__warehouseassignment__user=user.pk)
    if not parcels.exists():
        raise NotFound(what=f"订单 {order_id}")
    order = gates.locked_order(order_id)
    if order.status == OrderStatus.SHIPPED:
        return
    if words := stages.stop_words(order):
        raise OrderHeld(number=order.number, words="；".join(words))
    waiting = list(parcels.filter(state__in=UNTOUCHED).order_by("pk").select_for_update())
    here = parcels.exclude(state__in=telling.GONE).count()
    if order.status != OrderStatus.ROUTED or not waiting or len(waiting) != here:
        raise WrongState(number=order.number, status=order.get_status_display(), what="无物流发货")
    if ParcelLine.objects.filter(parcel__in=waiting, sku__weight_grams__gt=0).exists():
        raise InvalidInput(what="订单里有需要寄送的货品，不能无物流发货")
    now = clock_now()
    for parcel in waiting:
        _hand_over(order, parcel, actor=actor, now=now)
    announce("orders", order_id=order.pk)


def _hand_over(order: SalesOrder, parcel: Parcel, *, actor: Actor, now: datetime) -> None:
    reservations = list(parcel.parcel_lines.values_list("reservation_id", flat=True))
    inventory.consume(reservations, order_id=order.pk, reason="ship", actor=actor, now=now)
    parcel.state, parcel.shipped_at = Parcel.State.SHIPPED, now
    parcel.shipped_version = order.version + 1
    parcel.save(update_fields=["state", "shipped_at", "shipped_version"])
    StageTask.objects.filter(parcel=parcel, state=StageTask.State.OPEN).update(
        state=StageTask.State.DONE, done_at=now, done_by=actor.name[:150]
    )
    is_last = stages.leaves_last(order, parcel)
    note(
        order, Action.PARCEL_SHIPPED, {"parcel": parcel.number}, actor=actor,
        to=OrderStatus.SHIPPED if is_last else None,
    )  # fmt: skip
    telling.shipped(
        order, parcel, carrier=VIRTUAL_CARRIER, tracking_number="", is_last=is_last, now=now
    )
