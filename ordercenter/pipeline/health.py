"""How the line to each shop is doing: what comes in, what goes out, what stands still and why."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from django.db.models import Count, Max, Min, QuerySet
from django.utils.functional import Promise
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from channels_sync.line import BREAKS_AFTER
from channels_sync.models import (
    Backfill,
    InboxMessage,
    LineAlarm,
    OutboundMessage,
    ShopCredential,
    SyncCursor,
)
from ordercenter.catalog.models import Channel, Shop
from ordercenter.pipeline.advice import (
    DEAD_LETTERS,
    NEVER_READ,
    NO_CREDENTIAL,
    SILENT,
    Advice,
    advice,
)
from ordercenter.pipeline.pulling import POLLED
from ordercenter.pipeline.watch import RUNS_OUT, lag_level, lag_of, open_alarms, waiting_since

MANY_FAILURES: Final = 3
MINUTE: Final = 60


class Level(StrEnum):
    """How bad: the class of a row on a page."""

    GOOD = ""
    WARN = "warn"
    BAD = "bad"


def level(*, warn: bool, bad: bool) -> Level:
    return Level.BAD if bad else Level.WARN if warn else Level.GOOD


def is_silent(last_ok: timedelta | None, interval_seconds: int) -> bool:
    """Whether a shop has not been read for five intervals and five minutes."""
    limit = max(timedelta(seconds=5 * interval_seconds), timedelta(minutes=5))
    return last_ok is not None and last_ok > limit


RISKS: Final[Mapping[str, tuple[Promise, Level]]] = {
    SyncCursor.Mode.EVENT: (_("超卖风险低：推送到达即处理，轮询兜底"), Level.GOOD),
    SyncCursor.Mode.TIMED: (_("超卖风险中高：两次读取之间的订单不占库存"), Level.WARN),
    SyncCursor.Mode.MANUAL: (_("超卖风险很高：没有人点“立即读取”就不会有新订单"), Level.BAD),
}
"""What each way to keep a shop fresh risks (Q118)."""


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
class Expiry:
    """When a right runs out; ``left`` is negative once it has."""

    label: str | Promise
    at: datetime
    left: timedelta

    @property
    def is_over(self) -> bool:
        return self.left <= timedelta()

    @property
    def level(self) -> Level:
        return level(warn=self.left <= RUNS_OUT, bad=self.left <= timedelta(days=1))


@dataclass(frozen=True, slots=True)
class Mode:
    """How a shop is kept fresh, and what that risks."""

    words: str
    risk: str | Promise = ""
    level: Level = Level.GOOD


@dataclass(frozen=True, slots=True)
class ShopHealth:
    """One shop's line. Ages are None where a thing has not happened yet."""

    shop: Shop
    channel: str | Promise
    mode: Mode
    last_ok: timedelta | None
    last_push: timedelta | None
    lag: timedelta | None
    lag_level: Level
    failures: int
    next_due_at: datetime | None
    paused_at: datetime | None
    paused_by: str
    broken_until: datetime | None
    expiry: Expiry | None
    inbox: Waiting
    outbox: Waiting
    backfill: Backfill | None
    alarms: Sequence[LineAlarm]
    troubles: Sequence[Trouble]
    level: Level
    is_unfinished: bool
    """Set up to some step and never started."""


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
    oldest_live: Mapping[int, datetime] = field(default_factory=dict)
    alarms: Mapping[int, Sequence[LineAlarm]] = field(default_factory=dict)
    backfills: Mapping[int, Backfill] = field(default_factory=dict)


def health(now: datetime) -> Health:
    """Read every line in nine questions, however many shops there are."""
    shops = list(Shop.objects.select_related("cursor", "credential").order_by("-is_active", "code"))
    ends = _read(shops, now)
    rows = [_shop_health(shop, ends, now) for shop in shops]
    order = {Level.BAD: 0, Level.WARN: 1, Level.GOOD: 2}
    rows.sort(key=lambda row: (not row.shop.is_active, not row.is_unfinished, order[row.level]))
    return Health(now, rows, ends.carriers)


def health_of(shop: Shop, now: datetime) -> ShopHealth:
    """Read one line."""
    return _shop_health(shop, _read([shop], now), now)


def _read(shops: Sequence[Shop], now: datetime) -> _Ends:
    ends = _Ends(oldest_live=waiting_since(), alarms=open_alarms(shops))
    _read_inbox(ends, now)
    _read_outbox(ends, now)
    running = Backfill.objects.filter(shop__in=shops, state__in=["waiting", "running"])
    ends.backfills = {row.shop_id: row for row in running}
    return ends


def _read_inbox(ends: _Ends, now: datetime) -> None:
    # Two questions, because each has a partial index of its own.
    opened = _counted(InboxMessage.objects.filter(state__in=["new", "leased"]))
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


def _counted(rows: QuerySet[InboxMessage]) -> Iterable[Mapping[str, Any]]:
    return rows.values("shop_id", "carrier").annotate(count=Count("pk"), oldest=Min("received_at"))


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
    credential: ShopCredential | None = getattr(shop, "credential", None)
    troubles = _troubles(shop, cursor, ends.last_words.get(shop.pk), now)
    lag = _lag(shop, cursor, ends.oldest_live.get(shop.pk), now)
    expiry = _expiry(credential, now)
    alarms = ends.alarms.get(shop.pk, ())
    inbox, outbox = (end.get(shop.pk, Waiting()) for end in (ends.inbox, ends.outbox))
    failures = cursor.failures if cursor else 0
    late = _level_of_lag(lag)
    fears = [late, expiry.level if expiry else Level.GOOD]
    fears += [Level.BAD if one.level == LineAlarm.Level.ALARM else Level.WARN for one in alarms]
    return ShopHealth(
        shop=shop,
        channel=Channel(shop.channel).label,
        mode=mode_of(shop, cursor),
        last_ok=_age(now, cursor.last_ok_at) if cursor else None,
        last_push=_age(now, cursor.last_push_at) if cursor else None,
        lag=lag,
        lag_level=late,
        failures=failures,
        next_due_at=cursor.next_due_at if cursor else None,
        paused_at=cursor.paused_at if cursor else None,
        paused_by=cursor.paused_by if cursor else "",
        broken_until=_broken_until(cursor, now),
        expiry=expiry,
        inbox=inbox,
        outbox=outbox,
        backfill=ends.backfills.get(shop.pk),
        alarms=alarms,
        troubles=troubles,
        level=level(
            warn=bool(troubles) or inbox.dead > 0 or Level.WARN in fears or _is_paused(cursor),
            bad=shop.is_active
            and (
                _is_quiet(shop, cursor, now)
                or failures >= MANY_FAILURES
                or outbox.dead > 0
                or Level.BAD in fears
            ),
        ),
        is_unfinished=is_unfinished(shop),
    )


def is_unfinished(shop: Shop) -> bool:
    """Whether a shop was begun to be connected and never started."""
    cursor: SyncCursor | None = getattr(shop, "cursor", None)
    heard = cursor is not None and (cursor.last_ok_at or cursor.last_push_at)
    return not shop.is_active and not heard


def _is_read(shop: Shop, cursor: SyncCursor | None) -> bool:
    """Whether the shop is to be read by itself now."""
    return shop.is_active and cursor is not None and cursor.is_polled and shop.channel in POLLED


def _is_paused(cursor: SyncCursor | None) -> bool:
    return cursor is not None and cursor.paused_at is not None


def _is_quiet(shop: Shop, cursor: SyncCursor | None, now: datetime) -> bool:
    if cursor is None or not _is_read(shop, cursor):
        return False
    return is_silent(_age(now, cursor.last_ok_at), cursor.interval_seconds)


def _lag(
    shop: Shop, cursor: SyncCursor | None, oldest: datetime | None, now: datetime
) -> timedelta | None:
    if cursor is None or not _is_read(shop, cursor) or cursor.last_ok_at is None:
        return None
    return lag_of(cursor, oldest, now=now)


def _level_of_lag(lag: timedelta | None) -> Level:
    found = lag_level(lag) if lag is not None else None
    return level(warn=found is not None, bad=found is LineAlarm.Level.ALARM)


def _broken_until(cursor: SyncCursor | None, now: datetime) -> datetime | None:
    if cursor is None or cursor.broken < BREAKS_AFTER or cursor.open_until is None:
        return None
    return cursor.open_until if cursor.open_until > now else None


def _expiry(credential: ShopCredential | None, now: datetime) -> Expiry | None:
    """The right that runs out first and that no worker renews."""
    if credential is None:
        return None
    ends = [(credential.refresh_expires_at, _("授权"))]
    write = credential.write_expires_at
    if write is not None and (write <= now or not credential.secrets().get("refresh_token")):
        ends.append((write, _("写权限")))
    known = [(at, label) for at, label in ends if at is not None]
    if not known:
        return None
    at, label = min(known, key=lambda end: end[0])
    return Expiry(label, at, at - now)


def mode_of(shop: Shop, cursor: SyncCursor | None) -> Mode:
    """Say how a shop is kept fresh and what that risks."""
    if shop.channel == Channel.FILE:
        return Mode(gettext("表格导入"))
    if cursor is None:
        return Mode(gettext("未开通同步"))
    risk, risk_level = RISKS[cursor.mode]
    every = _every(cursor.interval_seconds)
    words = {
        SyncCursor.Mode.EVENT: gettext("实时推送，每 %(every)s轮询"),
        SyncCursor.Mode.TIMED: gettext("定时，每 %(every)s轮询"),
        SyncCursor.Mode.MANUAL: gettext("手动读取"),
    }[SyncCursor.Mode(cursor.mode)]
    return Mode(words % {"every": every}, risk, risk_level)


def _every(seconds: int) -> str:
    if seconds % MINUTE:
        return gettext("%(n)d 秒") % {"n": seconds}
    return gettext("%(n)d 分钟") % {"n": seconds // MINUTE}


def _troubles(
    shop: Shop, cursor: SyncCursor | None, last_words: OutboundMessage | None, now: datetime
) -> list[Trouble]:
    found = []
    if cursor is not None and cursor.failures:
        what = advice(
            cursor.error_class, cursor.error_code, channel=shop.channel,
            message=cursor.error_message,
        )  # fmt: skip
        found.append(Trouble(what, cursor.error_code, cursor.error_message, cursor.last_error_at))
    elif shop.channel != Channel.FILE and not hasattr(shop, "credential"):
        found.append(Trouble(NO_CREDENTIAL))
    elif cursor is not None and cursor.last_ok_at is None and _is_read(shop, cursor):
        found.append(Trouble(NEVER_READ))
    elif _is_quiet(shop, cursor, now):
        found.append(Trouble(SILENT))
    if last_words is not None:
        found.append(Trouble(DEAD_LETTERS, last_words.key, last_words.error, last_words.done_at))
    return found
