"""The messages that could not be worked: the head of their bytes as text that does nothing and
names nobody; the bytes themselves to who says why, on record."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction
from django.db.models import BinaryField, F, Func, IntegerField, Q, QuerySet, Value
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from channels_sync.contracts import MessageKind
from channels_sync.models import InboxMessage
from ordercenter.audit.models import Action
from ordercenter.audit.services import record
from ordercenter.core.actor import Actor
from ordercenter.core.errors import NotFound
from ordercenter.core.policy import Can, require
from ordercenter.orders.errors import BadReason
from ordercenter.pipeline.veil import veiled

KINDS: Final[Mapping[str, Promise]] = {
    MessageKind.ORDER: _("订单"),
    MessageKind.REFUND: _("退款"),
    MessageKind.EVENT: _("变更通知"),
    MessageKind.TRACE: _("物流轨迹"),
    MessageKind.UNREADABLE: _("无法辨认"),
}
SHOWN_BYTES: Final = 4_096
SHOWN_RAW: Final = 256 * 1024
REASON: Final = range(5, 501)
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
        text=inert(veiled_head(row)),
    )


def veiled_head(row: Any) -> bytes:
    """The head of the bytes without the people in it."""
    channel = row.shop.channel if row.shop else ""
    return veiled(bytes(row.head), channel=channel, shop_id=row.shop_id).encode()


@transaction.atomic
def raw_text(message_id: int, *, user: AbstractBaseUser, actor: Actor, reason: str) -> str:
    """The bytes as they came, people and all, as inert text. Right: REPLAY_DEAD; on record.

    Raises BadReason, NotFound where the message is not quarantined any more.
    """
    require(user, Can.REPLAY_DEAD)
    if len(reason.strip()) not in REASON or "\0" in reason:
        raise BadReason(what="")
    row = InboxMessage.objects.filter(pk=message_id, state="dead").first()
    if row is None:
        raise NotFound(what=f"隔离消息 {message_id}")
    record(
        Action.RECEIVER_REVEALED, object_type="message", object_id=message_id, actor=actor,
        change={"raw": True}, reason=reason.strip(),
    )  # fmt: skip
    return inert(bytes(row.body)[:SHOWN_RAW], limit=SHOWN_RAW)


def inert(data: bytes, *, limit: int = SHOWN_BYTES) -> str:
    """Bytes as text that does nothing: what cannot be read and what steers is made visible.

    A character cut in two at the end is left out.
    """
    whole = data.decode("utf-8", errors="replace")
    if len(data) == limit:
        whole = whole.rstrip("\N{REPLACEMENT CHARACTER}")
    return "".join(
        char if char.isprintable() or char in "\n\t" else f"\\u{ord(char):04x}" for char in whole
    )
