"""What carriers tell of our parcels: every scan once, and the last one signs the order."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime

from django.db.models import Exists, OuterRef

from fulfillment.carriers.account import reading
from fulfillment.contracts import CarrierPush, TraceEventDraft, TraceStatus, UnreadablePush
from fulfillment.models import Parcel, TraceEvent, Waybill
from ordercenter.audit.models import Action
from ordercenter.audit.services import Entry, record_many
from ordercenter.core.actor import Actor
from ordercenter.core.live import announce
from ordercenter.orders.models import SalesOrder
from ordercenter.orders.states import OrderStatus


def take_pushes(
    pushes: Sequence[tuple[int, str, bytes]], *, actor: Actor, now: datetime
) -> dict[int, str]:
    """Read pushed scans (message, carrier, bytes); return the unreadable with their reasons."""
    unreadable: dict[int, str] = {}
    told: dict[str, list[TraceEventDraft]] = defaultdict(list)
    for pk, carrier, body in pushes:
        try:
            told[carrier] += reading(carrier).read_push(CarrierPush("", {}, body))
        except UnreadablePush as reason:
            unreadable[pk] = str(reason)
    for carrier, events in sorted(told.items()):
        take_events(carrier, events, actor=actor, now=now)
    return unreadable


def take_events(
    carrier: str, events: Sequence[TraceEventDraft], *, actor: Actor, now: datetime
) -> int:
    """Keep scans of our own live numbers; another carrier's or a stranger's number is ignored.

    Return how many were new. A scan told twice is kept once.
    """
    numbers = {event.number for event in events}
    known = Waybill.objects.filter(carrier=carrier, number__in=numbers, state=Waybill.State.LIVE)
    waybills = {w.number: w for w in known}
    rows = [
        TraceEvent(
            waybill=waybills[e.number],
            event_id=e.event_id[:100],
            code=e.code[:16],
            status=e.status.value if e.status else "",
            text=e.text[:500],
            place=e.place[:100],
            occurred_at=e.occurred_at,
        )
        for e in events
        if e.number in waybills
    ]
    before = TraceEvent.objects.filter(waybill__in=waybills.values()).count()
    TraceEvent.objects.bulk_create(rows, ignore_conflicts=True)
    delivered = {
        waybills[e.number].parcel_id: e.occurred_at
        for e in events
        if e.status is TraceStatus.DELIVERED and e.number in waybills
    }
    if delivered:
        _sign(delivered, actor=actor, now=now)
    if rows:
        announce("orders", traces=len(rows))
    return TraceEvent.objects.filter(waybill__in=waybills.values()).count() - before


def _sign(delivered: dict[int, datetime], *, actor: Actor, now: datetime) -> None:
    """Parcels that arrived; an order is signed when none of its parcels is still on its way."""
    order_ids = set(Parcel.objects.filter(pk__in=delivered).values_list("order_id", flat=True))
    orders = list(SalesOrder.objects.locked(order_ids))
    for parcel in Parcel.objects.filter(pk__in=delivered, state=Parcel.State.SHIPPED):
        parcel.state, parcel.signed_at = Parcel.State.SIGNED, delivered[parcel.pk]
        parcel.save(update_fields=["state", "signed_at"])
    on_the_way = Parcel.objects.filter(
        order=OuterRef("pk"), state__in=[Parcel.State.PLANNED, Parcel.State.PICKED,
                                         Parcel.State.PACKED, Parcel.State.SHIPPED],
    )  # fmt: skip
    done = SalesOrder.objects.filter(
        ~Exists(on_the_way), pk__in=order_ids, status=OrderStatus.SHIPPED
    ).values_list("pk", flat=True)
    signed = set(done)
    entries = []
    for order in orders:
        if order.pk in signed:
            order.status, order.version = OrderStatus.SIGNED, order.version + 1
            order.save(update_fields=["status", "version"])
            entries.append(
                Entry(Action.ORDER_SIGNED, "order", order.pk,
                      {"status": ["shipped", "signed"]}, "", order.version)
            )  # fmt: skip
    record_many(entries, actor=actor, at=now)
