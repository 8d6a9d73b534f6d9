"""What the platform of an order was told, or is to be told, as the order's page shows it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.http import HttpRequest
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from channels_sync.models import OutboundMessage
from ordercenter.core.policy import Can, allows
from ordercenter.orders.models import SalesOrder
from ordercenter.pipeline import telling
from ordercenter.pipeline.wording import in_words

State = OutboundMessage.State
MOST: Final = 50
STATES: Final[Mapping[str, tuple[Promise, str]]] = {
    State.WAITING: (_("待回传"), ""),
    State.DONE: (_("已写入"), "good"),
    State.DEAD: (_("失败"), "bad"),
    State.UNSUPPORTED: (_("平台不支持"), ""),
    State.SUPERSEDED: (_("已被新消息取代"), ""),
    State.SETTLED: (_("已人工处理"), "good"),
}


@dataclass(frozen=True, slots=True)
class Told:
    """One message to the platform. ``level``: good, bad or nothing of note."""

    what: str
    words: str
    state: Promise
    level: str
    is_doubtful: bool
    error: str
    at: datetime
    by: str


def told_of(order_id: int) -> list[Told]:
    """The messages about one order, the latest first."""
    rows = OutboundMessage.objects.filter(order_id=order_id).order_by("-pk")[:MOST]
    return [
        Told(
            what=str(row.get_kind_display()),
            words=in_words(row),
            state=STATES[row.state][0],
            level=STATES[row.state][1],
            is_doubtful=row.is_doubtful and row.state == State.DEAD,
            error="" if row.state == State.DONE else row.error,
            at=row.done_at or row.created_at,
            by=row.settled_by if row.state == State.SETTLED else "",
        )
        for row in rows
    ]


def memo_form(request: HttpRequest, order: SalesOrder) -> dict[str, Any] | None:
    """What the form for a note needs; None where there is no platform or no right."""
    rules = telling.memo_rules(order.shop.channel)
    if rules is None or not allows(request.user, Can.WRITE_MEMO):
        return None
    return {
        "limit": rules.limit,
        "longest": rules.longest,
        "flags": rules.flags,
        "typed": request.POST.get("text", ""),
        "flag": request.POST.get("flag", ""),
    }
