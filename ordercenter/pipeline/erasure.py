"""A buyer asks for erasure: within the years trade records must be kept, that is restriction."""

from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction
from django.utils.translation import gettext_lazy as _

from ordercenter.audit.models import Action
from ordercenter.core.actor import Actor
from ordercenter.core.errors import NotFound
from ordercenter.core.live import announce
from ordercenter.core.policy import Can, require
from ordercenter.core.sealing import seal
from ordercenter.orders.errors import BadReason, WrongState
from ordercenter.orders.models import RECEIVER_PURPOSE, OrderEvidence, SalesOrder
from ordercenter.orders.states import OPEN
from ordercenter.pipeline.drafts import RESTRICTED, known_receiver
from ordercenter.pipeline.noting import note

REASON = range(5, 501)
SHOWN = "（已限制处理）"


@transaction.atomic
def restrict_receiver(order_id: int, *, user: AbstractBaseUser, actor: Actor, reason: str) -> None:
    """Keep an ended order's receiver for the law, and open it to nobody any more. Repeatable.

    Right: RESTRICT_RECEIVER. Nothing is deleted: amounts, goods and history stay, the sealed
    receiver with them; every key to match the person by is gone. Raises WrongState while the
    parcel has not left.
    """
    require(user, Can.RESTRICT_RECEIVER)
    if len(reason.strip()) not in REASON or "\0" in reason:
        raise BadReason(what="")
    order = SalesOrder.objects.visible_to(user).filter(pk=order_id).first()
    if order is None:
        raise NotFound(what=f"订单 {order_id}")
    order = SalesOrder.objects.locked([order_id]).get()
    if order.status in OPEN:
        words = {"number": order.number, "status": order.get_status_display()}
        raise WrongState(**words, what=_("限制处理，请先发货或取消"))
    if known_receiver(order.receiver_sealed).is_restricted:
        return
    order.receiver_sealed = seal({**order.receiver(), RESTRICTED: True}, purpose=RECEIVER_PURPOSE)
    order.receiver_masked = SHOWN
    order.save(update_fields=["receiver_sealed", "receiver_masked"])
    OrderEvidence.objects.filter(order=order).update(
        buyer_key="", device_key="", phone_key="", address_key="", ip="", address_shingles=None
    )
    note(
        order, Action.RECEIVER_EDITED, {"receiver": "***", "restricted": [False, True]},
        actor=actor, reason=reason.strip(),
    )  # fmt: skip
    announce("orders", order_id=order.pk)
