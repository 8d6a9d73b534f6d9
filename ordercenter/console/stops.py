"""What is stopped just now, in a line each: the banner of the wall, the tasks and the bench."""

from dataclasses import dataclass

from django.db.models import QuerySet

from ordercenter.orders.models import Interception
from ordercenter.pipeline.interception.commands import shown


@dataclass(frozen=True, slots=True)
class Running:
    """One line of the banner everybody reads."""

    pk: int
    words: str
    until: str
    reason: str


def banner(*, most: int = 4) -> tuple[list[Running], int]:
    """What is stopped just now, the latest first, and how many more there are."""
    found = list(_running().only("words", "ends_at", "reason")[: most + 1])
    more = _running().count() - most if len(found) > most else 0
    lines = [
        Running(one.pk, one.words, shown(one.ends_at) if one.ends_at else "", one.reason)
        for one in found[:most]
    ]
    return lines, max(0, more)


def _running() -> QuerySet[Interception]:
    running = Interception.objects.filter(state=Interception.State.ACTIVE)
    return running.order_by("-started_at", "-pk")
