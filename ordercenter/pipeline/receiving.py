"""Goods arrive: on the shelf, and to whom they are promised, in one transaction.

The orders that were promised goods of an arrival are locked before the levels and the papers that
``arrivals`` locks.
"""

from collections.abc import Sequence
from dataclasses import dataclass
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
    """Receive of an announced arrival (``arrivals.receive``); promised units go to their orders."""
    waiting = _queue_up(inbound_id)
    received = arrivals.receive(
        inbound_id, receipts, user=user, actor=actor, surplus=surplus, now=now
    )
    waiting.meet(actor=actor, now=now)
    return received


@telling_stock()
def close_inbound(
    inbound_id: int, *, reason: str, user: AnyUser, actor: Actor, now: datetime | None = None
) -> Inbound:
    """Nothing more comes of this arrival (``arrivals.close``); its promises go elsewhere."""
    waiting = _queue_up(inbound_id)
    closed = arrivals.close(inbound_id, reason=reason, user=user, actor=actor, now=now)
    waiting.meet(actor=actor, now=now)
    return closed


@telling_stock()
def reschedule_inbound(
    inbound_id: int, expected_at: datetime, *, reason: str, user: AnyUser, actor: Actor
) -> Inbound:
    """The arrival comes at another time (``arrivals.reschedule``).

    The orders that were promised its goods follow within seconds (``presale.follow_arrivals``).
    """
    return arrivals.reschedule(inbound_id, expected_at, reason=reason, user=user, actor=actor)


@dataclass(frozen=True, slots=True)
class _Waiting:
    """The orders that were promised goods of one arrival, locked."""

    order_ids: Sequence[int]
    room_id: int
    sku_ids: Sequence[int]

    def meet(self, *, actor: Actor, now: datetime | None) -> None:
        presale.meet(
            self.order_ids, virtual_warehouse_id=self.room_id, sku_ids=self.sku_ids, actor=actor,
            now=now,
        )  # fmt: skip


def _queue_up(inbound_id: int) -> _Waiting:
    """Lock who was promised goods of this arrival; whose right it is, ``arrivals`` asks."""
    paper = Inbound.objects.filter(pk=inbound_id).first()
    if paper is None:
        return _Waiting((), 0, ())
    room, skus = paper.virtual_warehouse_id, list(paper.lines.values_list("sku_id", flat=True))
    return _Waiting(presale.queue_up(room, skus), room, skus)
