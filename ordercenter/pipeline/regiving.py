"""Give and take gifts where an order holds its stock already, without ever letting go of it.

Everything is held anew in one go, in the place that holds it now if that has the gifts. What
does not fit is undone, and the order keeps what it had.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from django.db import connection, transaction

from fulfillment import services as fulfillment
from inventory import services as inventory
from inventory.contracts import Demand, StockRequest
from inventory.selectors import SourceMap
from ordercenter.catalog.gifts import Gift
from ordercenter.core.actor import Actor
from ordercenter.orders.states import OrderStatus
from ordercenter.pipeline.work import Line, Work

REASON = "赠品有变，重新配货"


@dataclass(slots=True)
class Plan:
    """An order in hand whose lines are as they should be; ``added`` are not held yet."""

    work: Work
    added: list[Line]
    substitutes: Mapping[int, Gift] = field(default_factory=dict)
    refused: list[Line] = field(default_factory=list)
    """What was asked for and is not to be had; taken out of the order again."""
    swapped: list[Line] = field(default_factory=list)
    """Added lines that are the substitute."""

    @property
    def is_needed(self) -> bool:
        """Whether what the order holds has to change at all."""
        return bool(self.added) or any(ln.dropped_now and ln.is_dropped for ln in self.work.lines)

    def give_in(self) -> None:
        """Do with less: the substitutes where there are any, else without the new gifts."""
        swappable = [ln for ln in self.added if ln.id in self.substitutes]
        if swappable and not self.swapped:
            self.swapped = swappable
            for line in swappable:
                gift = self.substitutes[line.id]
                line.sku_id, line.title = gift.sku_id, gift.name
            return
        self.refused, self.added, self.swapped = [*self.refused, *self.added], [], []
        gone = {line.id for line in self.refused}
        self.work.lines[:] = [ln for ln in self.work.lines if ln.id not in gone]


def rearrange(
    plans: Sequence[Plan],
    sources: SourceMap,
    *,
    batch: Sequence[Work] = (),
    actor: Actor,
    now: datetime,
) -> None:
    """Hold the stock of these orders anew, by their lines as they are now.

    In the caller's transaction, orders locked. An order that gives in goes before the others,
    so that what it held is there for it; so it ends with every order held. ``batch``: all
    orders of the transaction, whose levels are locked with these, by primary key.
    """
    todo = [plan for plan in plans if plan.is_needed]
    if not todo:
        return
    _lock_ahead(todo, batch, sources)
    expiries = _expiries([plan.work.id for plan in todo])
    while short := _attempt(todo, sources, expiries, actor=actor, now=now):
        for plan in short:
            if not plan.added:
                message = f"{plan.work.number}: what it held is gone"
                raise RuntimeError(message)
            plan.give_in()
        todo = [*short, *(plan for plan in todo if plan not in short)]
        todo = [plan for plan in todo if plan.is_needed]
    _unpack([plan.work for plan in todo], actor=actor, now=now)


def _lock_ahead(plans: Sequence[Plan], batch: Sequence[Work], sources: SourceMap) -> None:
    """Lock every level that may be touched in one go, by primary key, before any is changed."""
    works = [*(plan.work for plan in plans), *batch]
    skus = {ln.sku_id for work in works for ln in work.lines if ln.sku_id}
    skus |= {gift.sku_id for plan in plans for gift in plan.substitutes.values()}
    inventory.lock_ahead([work.id for work in works], sources.all, skus)


def _places(work: Work, sources: SourceMap) -> tuple[int, ...]:
    """Where it is held now first."""
    now = work.source_ids
    others = sources.for_order(work.shop_id, work.province)
    return (*now, *(place for place in others if place not in now))


def _expiries(order_ids: Collection[int]) -> dict[int, datetime | None]:
    """Until when each order's stock is kept: a promise is not made longer by a gift."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT order_id, min(expires_at) FROM inventory_reservation "
            "WHERE order_id = ANY(%s) AND state = 'active' GROUP BY order_id",
            [list(order_ids)],
        )
        return dict(cursor.fetchall())


def _attempt(
    plans: Sequence[Plan],
    sources: SourceMap,
    expiries: Mapping[int, datetime | None],
    *,
    actor: Actor,
    now: datetime,
) -> list[Plan]:
    """Let go of everything and take it again, or change nothing and tell who is short."""
    works = [plan.work for plan in plans]
    if not works:
        return []
    with transaction.atomic():
        inventory.release([work.id for work in works], reason="gifts", actor=actor, now=now)
        requests = [
            _request(plan, _places(plan.work, sources), expiries.get(plan.work.id))
            for plan in plans
        ]
        grants = inventory.reserve_many(requests, actor=actor, now=now)
        short = [plan for plan, grant in zip(plans, grants, strict=True) if not grant.granted]
        if short:
            transaction.set_rollback(True)
            return short
    for work, grant in zip(works, grants, strict=True):
        work.source_ids = grant.places
    return []


def _request(plan: Plan, places: tuple[int, ...], expires_at: datetime | None) -> StockRequest:
    """What only loses something stays where it is."""
    work = plan.work
    goods = [(ln.id, ln.sku_id, ln.quantity, ln.amount) for ln in work.goods if ln.sku_id]
    return StockRequest(
        order_id=work.id,
        demands=tuple(Demand(*one) for one in goods),
        sources=places if plan.added else places[:1],
        expires_at=expires_at,
        shop_id=work.shop_id,
        is_paid=work.is_paid,
        currency=work.currency,
    )


def _unpack(works: Sequence[Work], *, actor: Actor, now: datetime) -> None:
    """Parcels that were planned are planned anew, with what their orders hold by now."""
    routed = [work for work in works if work.status is OrderStatus.ROUTED]
    if not routed:
        return
    reasons = {work.id: REASON for work in routed}
    fulfillment.stop_many(reasons, by=actor.name, now=now, final=True)
    for work in routed:
        work.move(OrderStatus.CLEARED)
