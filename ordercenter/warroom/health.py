"""How the line to each shop is doing: what comes in, what goes out, what stands still and why."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from django.db.models import BinaryField, Count, F, Func, IntegerField, Max, Min, Q, QuerySet, Value
from django.utils.functional import Promise
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from channels_sync.contracts import MessageKind
from channels_sync.models import InboxMessage, OutboundMessage, SyncCursor
from ordercenter.catalog.models import Channel, Shop
from ordercenter.warroom.advice import (
    DEAD_LETTERS,
    NEVER_READ,
    NO_CREDENTIAL,
    SILENT,
    Advice,
    advice,
)
from ordercenter.warroom.selectors import MANY_FAILURES, Level, is_silent, level

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
class Trouble:
    """One thing that is wrong with a line, in the system's words and in ours."""

    advice: Advice
    code: str = ""
    message: str = ""
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Waiting:
    """Rows that wait or were given up on one line."""

    count: int = 0
    oldest: timedelta | None = None
    dead: int = 0


@dataclass(frozen=True, slots=True)
class ShopHealth:
    """One shop's line. Ages are None where a thing has not happened yet."""

    shop: Shop
    channel: str | Promise
    mode: str
    last_ok: timedelta | None
    last_push: timedelta | None
    lag: timedelta | None
    failures: int
    next_due_at: datetime | None
    inbox: Waiting
    outbox: Waiting
    troubles: Sequence[Trouble]
    level: Level


@dataclass(frozen=True, slots=True)
class Health:
    """All lines as of ``drawn_at``, the worst first."""

    drawn_at: datetime
    shops: Sequence[ShopHealth]
    carriers: Mapping[str, Waiting]

    @property
    def quarantined(self) -> int:
        rows = [row.inbox for row in self.shops] + list(self.carriers.values())
        return sum(row.dead for row in rows)


@dataclass(slots=True)
class _Ends:
    """What waits at both ends, by shop; what carriers pushed, by carrier."""

    inbox: dict[int, Waiting] = field(default_factory=dict)
    outbox: dict[int, Waiting] = field(default_factory=dict)
    carriers: dict[str, Waiting] = field(default_factory=dict)
    last_words: dict[int, OutboundMessage] = field(default_factory=dict)


def health(now: datetime) -> Health:
    """Read every line in seven questions."""
    ends = _Ends()
    _read_inbox(ends, now)
    _read_outbox(ends, now)
    shops = Shop.objects.select_related("cursor", "credential").order_by("-is_active", "code")
    rows = [_shop_health(shop, ends, now) for shop in shops]
    order = {Level.BAD: 0, Level.WARN: 1, Level.GOOD: 2}
    rows.sort(key=lambda row: (not row.shop.is_active, order[row.level]))
    return Health(now, rows, ends.carriers)


def _read_inbox(ends: _Ends, now: datetime) -> None:
    # Two questions, because each has a partial index of its own.
    opened = (
        InboxMessage.objects.filter(state__in=["new", "leased"])
        .values("shop_id", "carrier")
        .annotate(count=Count("pk"), oldest=Min("received_at"))
    )
    dead = (
        InboxMessage.objects.filter(state="dead")
        .values("shop_id", "carrier")
        .annotate(count=Count("pk"))
    )
    found = {(row["shop_id"], row["carrier"]): row for row in opened}
    lost = {(row["shop_id"], row["carrier"]): row["count"] for row in dead}
    for shop_id, carrier in sorted({*found, *lost}, key=str):
        row = found.get((shop_id, carrier))
        waiting = _waiting(row, lost.get((shop_id, carrier), 0), now)
        if shop_id is None:
            ends.carriers[carrier] = waiting
        else:
            ends.inbox[shop_id] = waiting


def _read_outbox(ends: _Ends, now: datetime) -> None:
    waiting = (
        OutboundMessage.objects.filter(state="waiting")
        .values("shop_id")
        .annotate(count=Count("pk"), oldest=Min("created_at"))
    )
    dead = (
        OutboundMessage.objects.filter(state="dead")
        .values("shop_id")
        .annotate(count=Count("pk"), newest=Max("pk"))
    )
    found = {row["shop_id"]: row for row in waiting}
    lost = {row["shop_id"]: row for row in dead}
    newest = OutboundMessage.objects.in_bulk([row["newest"] for row in lost.values()])
    for shop_id in {*found, *lost}:
        count = lost[shop_id]["count"] if shop_id in lost else 0
        ends.outbox[shop_id] = _waiting(found.get(shop_id), count, now)
        if shop_id in lost:
            ends.last_words[shop_id] = newest[lost[shop_id]["newest"]]


def _waiting(row: Mapping[str, Any] | None, dead: int, now: datetime) -> Waiting:
    if row is None:
        return Waiting(dead=dead)
    return Waiting(row["count"], _age(now, row["oldest"]), dead)


def _age(now: datetime, moment: datetime | None) -> timedelta | None:
    return None if moment is None else max(now - moment, timedelta())


def _shop_health(shop: Shop, ends: _Ends, now: datetime) -> ShopHealth:
    cursor: SyncCursor | None = getattr(shop, "cursor", None)
    troubles = _troubles(shop, cursor, ends.last_words.get(shop.pk), now)
    inbox = ends.inbox.get(shop.pk, Waiting())
    outbox = ends.outbox.get(shop.pk, Waiting())
    failures = cursor.failures if cursor else 0
    last_ok = _age(now, cursor.last_ok_at) if cursor else None
    silent = cursor is not None and is_silent(last_ok, cursor.interval_seconds)
    return ShopHealth(
        shop=shop,
        channel=Channel(shop.channel).label,
        mode=_mode(shop, cursor),
        last_ok=last_ok,
        last_push=_age(now, cursor.last_push_at) if cursor else None,
        lag=_age(now, cursor.position) if cursor else None,
        failures=failures,
        next_due_at=cursor.next_due_at if cursor else None,
        inbox=inbox,
        outbox=outbox,
        troubles=troubles,
        level=level(
            warn=bool(troubles) or inbox.dead > 0,
            bad=shop.is_active and (silent or failures >= MANY_FAILURES or outbox.dead > 0),
        ),
    )


def _mode(shop: Shop, cursor: SyncCursor | None) -> str:
    if shop.channel == Channel.FILE:
        return gettext("表格导入")
    if cursor is None:
        return gettext("未开通同步")
    words = gettext("每 %(seconds)d 秒轮询") % {"seconds": cursor.interval_seconds}
    return words + gettext("，并接收推送") if cursor.last_push_at else words


def _troubles(
    shop: Shop, cursor: SyncCursor | None, last_words: OutboundMessage | None, now: datetime
) -> list[Trouble]:
    found = []
    if cursor is not None and cursor.failures:
        what = advice(cursor.error_class, cursor.error_code)
        found.append(Trouble(what, cursor.error_code, cursor.error_message, cursor.last_error_at))
    elif shop.channel != Channel.FILE and not hasattr(shop, "credential"):
        found.append(Trouble(NO_CREDENTIAL))
    elif cursor is not None and cursor.last_ok_at is None:
        found.append(Trouble(NEVER_READ))
    elif cursor is not None and is_silent(_age(now, cursor.last_ok_at), cursor.interval_seconds):
        found.append(Trouble(SILENT))
    if last_words is not None:
        found.append(Trouble(DEAD_LETTERS, last_words.key, last_words.error, last_words.done_at))
    return found


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
