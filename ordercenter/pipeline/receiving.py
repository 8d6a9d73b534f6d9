"""Goods arrive: on the shelf, and to whom they are promised, in one transaction.

Papers are locked before orders, and orders before levels: who wants the orders that wait for an
arrival takes them between the paper and ``arrivals.receive``.
"""

from collections.abc import Sequence
from datetime import datetime

from inventory import arrivals
from inventory.arrivals import Receipt, Received
from inventory.models import Inbound
from ordercenter.core.actor import Actor
from ordercenter.core.policy import AnyUser
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
    """Receive of an announced arrival (``arrivals.receive``)."""
    return arrivals.receive(inbound_id, receipts, user=user, actor=actor, surplus=surplus, now=now)


@telling_stock()
def close_inbound(
    inbound_id: int, *, reason: str, user: AnyUser, actor: Actor, now: datetime | None = None
) -> Inbound:
    """Nothing more comes of this arrival (``arrivals.close``)."""
    return arrivals.close(inbound_id, reason=reason, user=user, actor=actor, now=now)


@telling_stock()
def reschedule_inbound(
    inbound_id: int, expected_at: datetime, *, reason: str, user: AnyUser, actor: Actor
) -> Inbound:
    """The arrival comes at another time (``arrivals.reschedule``)."""
    return arrivals.reschedule(inbound_id, expected_at, reason=reason, user=user, actor=actor)
