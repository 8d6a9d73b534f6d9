"""A label printed once more: the same number, for a reason that is on record."""

from datetime import timedelta
from typing import Final

from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction
from django.db.models import TextChoices
from django.utils.translation import gettext_lazy as _

from fulfillment.models import Parcel, Waybill
from ordercenter.audit.models import Action, AuditRecord
from ordercenter.core.actor import Actor
from ordercenter.core.clock import now as clock_now
from ordercenter.core.errors import InvalidInput
from ordercenter.orders.errors import OrderCanceled, OrderHeld, WrongState
from ordercenter.pipeline import stages
from ordercenter.pipeline.interception import gates
from ordercenter.pipeline.noting import note

ORDER: Final = "order"
ONE_PRESS: Final = timedelta(seconds=10)
"""The same person's next press within this time is the same one."""


class Why(TextChoices):
    TORN = "torn", _("面单破损或打印不清")
    JAM = "jam", _("打印机卡纸或漏打")
    LOST = "lost", _("面单遗失")
    BOX = "box", _("换箱重贴")


@transaction.atomic
def reprint_label(parcel_id: int, *, why: str, user: AbstractBaseUser, actor: Actor) -> Waybill:
    """Have the live label of a parcel printed again; its number stays.

    Right: PACK, in a warehouse of the user's own. Pressed twice it is on record once. Raises
    InvalidInput without a reason of ``Why``, WrongState where there is no live label or the
    parcel has left, OrderHeld for an order that must stand still.
    """
    if why not in Why.values:
        raise InvalidInput(what=_("请选择补打面单的原因"))
    parcel = stages.reachable(parcel_id, user)
    order = gates.locked_order(parcel.order_id)
    words = stages.stop_words(order)
    if words:
        stop = OrderCanceled if order.status == "canceled" else OrderHeld
        raise stop(number=order.number, words="；".join(words))
    parcel = Parcel.objects.get(pk=parcel_id)
    waybill = Waybill.objects.filter(parcel=parcel, state=Waybill.State.LIVE).first()
    if waybill is None or parcel.state not in {Parcel.State.PICKED, Parcel.State.PACKED}:
        what = _("补打面单")
        raise WrongState(number=order.number, status=parcel.get_state_display(), what=what)
    if not _was_pressed(order.pk, waybill, actor):
        change = {"waybill": waybill.number, "parcel": parcel.number}
        note(order, Action.LABEL_REPRINTED, change, actor=actor, reason=str(Why(why).label))
    return waybill


def _was_pressed(order_id: int, waybill: Waybill, actor: Actor) -> bool:
    return AuditRecord.objects.filter(
        object_type=ORDER, object_id=order_id, action=Action.LABEL_REPRINTED,
        actor_kind=actor.kind, actor_id=actor.id, change__waybill=waybill.number,
        created_at__gt=clock_now() - ONE_PRESS,
    ).exists()  # fmt: skip
