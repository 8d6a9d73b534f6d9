"""The messages that could not be worked, with the head of their bytes as text that does nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.db.models import BinaryField, F, Func, IntegerField, Q, QuerySet, Value
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from channels_sync.contracts import MessageKind
from channels_sync.models import InboxMessage

KINDS: Final[Mapping[str, Promise]] = {
    MessageKind.ORDER: _("订单"),
    MessageKind.REFUND: _("退款"),
    MessageKind.EVENT: _("变更通知"),
    MessageKind.TRACE: _("物流轨迹"),
    MessageKind.UNREADABLE: _("无法辨认"),
}
SHOWN_BYTES: Final = 4_096
PER_PAGE: Final = 50


@dataclass(frozen=True, slots=True)
class Quarantined:
    """One message that could not be worked, with the head of its bytes as inert text."""

    id: int
    source: str
    shop: str
    kind: str | Promise
    channel_number: str
    received_at: datetime
    reason: str
    attempts: int
    size: int
    text: str

    @property
    def is_cut(self) -> bool:
        return self.size > SHOWN_BYTES


@dataclass(frozen=True, slots=True)
class QuarantinePage:
    """The newest first; ``before`` is where the next page begins."""

    messages: Sequence[Quarantined]
    total: int
    before: int | None


def dead_messages() -> QuerySet[InboxMessage]:
    """Every quarantined message, without its bytes but with their head and size."""
    head = Func(
        F("body"),
        Value(1),
        Value(SHOWN_BYTES),
        function="SUBSTRING",
        output_field=BinaryField(),
    )
    size = Func(F("body"), function="OCTET_LENGTH", output_field=IntegerField())
    return (
        InboxMessage.objects.filter(state="dead")
        .annotate(head=head, size=size)
        .defer("body")
        .select_related("shop")
        .order_by("-pk")
    )


def was_replayed(message_id: int) -> bool:
    """Whether the message is in the inbox and not quarantined, any more."""
    return InboxMessage.objects.filter(pk=message_id).exclude(state="dead").exists()


def quarantine(before: int | None) -> QuarantinePage:
    """Read one page of messages older than ``before``."""
    older = Q(pk__lt=before) if before else Q()
    rows = list(dead_messages().filter(older)[: PER_PAGE + 1])
    shown = [_quarantined(row) for row in rows[:PER_PAGE]]
    following = shown[-1].id if len(rows) > PER_PAGE else None
    total = InboxMessage.objects.filter(state="dead").count()
    return QuarantinePage(shown, total, following)


def _quarantined(row: Any) -> Quarantined:
    return Quarantined(
        id=row.pk,
        source=row.get_source_display(),
        shop=row.shop.name if row.shop else row.carrier,
        kind=KINDS.get(row.kind, row.kind),
        channel_number=row.channel_number,
        received_at=row.received_at,
        reason=row.error,
        attempts=row.attempts,
        size=row.size,
        text=inert(bytes(row.head)),
    )


def inert(data: bytes) -> str:
    """Bytes as text that does nothing: what cannot be read and what steers is made visible.

    A character cut in two at the end is left out.
    """
    whole = data.decode("utf-8", errors="replace")
    if len(data) == SHOWN_BYTES:
        whole = whole.rstrip("\N{REPLACEMENT CHARACTER}")
    return "".join(
        char if char.isprintable() or char in "\n\t" else f"\\u{ord(char):04x}" for char in whole
    )
