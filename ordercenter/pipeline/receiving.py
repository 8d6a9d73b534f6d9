"""Goods arrive: on the shelf, and to whom they are promised, in one transaction.

Who was promised what comes is served in the transaction that receives it, before anybody else
can take a unit.
"""

from collections.abc import Sequence
from datetime import datetime

from inventory import arrivals
from inventory.arrivals import Receipt, Received
from inventory.models import Inbound
from ordercenter.core.actor import Actor
from ordercenter.core.policy import AnyUser
from ordercenter.pipeline import presale
from ordercenter.pipeline.publishing import telling_stock


@telling_stock()
def receive_inbound(
    inbound_id: int,
    receipts: Sequence[Receipt],
    *,
    user: AnyUser,
    actor: Actor,
    surplus: bool = False,
    now: datetime | None = None,
) -> Received:
    """Receive of an announced arrival (``arrivals.receive``), and serve who waited for it."""
    room, sku_ids = arrivals.goods_of(inbound_id, receipts, user=user)
    queued = presale.queue_up(room, sku_ids)
    received = arrivals.receive(
        inbound_id, receipts, user=user, actor=actor, surplus=surplus, now=now
    )
    presale.meet(queued, virtual_warehouse_id=room, sku_ids=sku_ids, actor=actor, now=now)
    return received


@telling_stock()
def close_inbound(
    inbound_id: int, *, reason: str, user: AnyUser, actor: Actor, now: datetime | None = None
) -> Inbound:
    """Nothing more comes of this arrival (``arrivals.close``).

    Who was promised it is promised the next one by ``presale.follow_arrivals``, soon.
    """
    return arrivals.close(inbound_id, reason=reason, user=user, actor=actor, now=now)


@telling_stock()
def reschedule_inbound(
    inbound_id: int, expected_at: datetime, *, reason: str, user: AnyUser, actor: Actor
) -> Inbound:
    """The arrival comes at another time (``arrivals.reschedule``); promises follow soon."""
    return arrivals.reschedule(inbound_id, expected_at, reason=reason, user=user, actor=actor)
