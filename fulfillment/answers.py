"""Buyers' wishes for another address: kept as they are told, one open wish an order."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from fulfillment.models import AddressRequest

State = AddressRequest.State
SAME_WISH: Final = timedelta(hours=1)
"""How long a wish without a time of its own is taken for the one just answered."""


@dataclass(frozen=True, slots=True)
class Wish:
    """One order's wish as its channel tells it. ``shown`` is fit for a screen."""

    order_id: int
    shop_id: int
    channel_number: str
    asked_at: datetime | None
    answer_by: datetime | None
    shown: str


def keep(wishes: Sequence[Wish], *, now: datetime) -> int:
    """Open a request for every wish that is new; return how many.

    The caller holds the orders' locks. One that stands open learns its newest deadline and
    address; one that was answered is not opened again.
    """
    opened = 0
    for wish in wishes:
        last = AddressRequest.objects.filter(order_id=wish.order_id).order_by("-pk").first()
        if last is not None and last.state == State.OPEN:
            last.answer_by, last.shown = wish.answer_by, wish.shown[:200]
            last.save(update_fields=["answer_by", "shown"])
        elif last is None or not is_answered(last, wish.asked_at, now=now):
            AddressRequest.objects.create(
                shop_id=wish.shop_id,
                channel_number=wish.channel_number,
                order_id=wish.order_id,
                asked_at=wish.asked_at or now,
                answer_by=wish.answer_by,
                shown=wish.shown[:200],
            )
            opened += 1
    return opened


def is_answered(last: AddressRequest, asked_at: datetime | None, *, now: datetime) -> bool:
    """Whether a wish asked at that time is the one that ``last`` settled."""
    if last.state == State.OPEN:
        return False
    if asked_at is not None:
        return last.asked_at >= asked_at
    return last.decided_at is not None and last.decided_at > now - SAME_WISH


def refused(order_ids: Collection[int]) -> dict[int, AddressRequest]:
    """The last request of each of these orders, where it was refused."""
    rows = (
        AddressRequest.objects.filter(order_id__in=order_ids)
        .order_by("order_id", "-pk")
        .distinct("order_id")
    )
    return {row.order_id: row for row in rows if row.state == State.REFUSED}


def gone(order_ids: Collection[int], *, now: datetime) -> int:
    """The buyers of these orders want nothing any more, as far as nobody has answered."""
    return AddressRequest.objects.filter(order_id__in=order_ids, state=State.OPEN).update(
        state=State.GONE, decided_at=now
    )


def lapse(*, now: datetime) -> int:
    """Requests whose time ran out: the platform takes silence for consent."""
    return AddressRequest.objects.filter(state=State.OPEN, answer_by__lte=now).update(
        state=State.LAPSED, decided_at=now
    )
