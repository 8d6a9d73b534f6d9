"""What is wrong with the shops' lines, said before anybody asks: lag, silence, dead pushes.

One pass computes what is wrong now; alarms open, rise and close by it. A person is told once
when an alarm opens or rises, not at every pass.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Final

from django.conf import settings
from django.db import connection, transaction

from channels_sync.contracts import ErrorClass
from channels_sync.line import BREAKS_AFTER
from channels_sync.models import LineAlarm, Reconciliation, SyncCursor
from ordercenter.catalog.models import Shop
from ordercenter.core.clock import SHANGHAI
from ordercenter.core.clock import now as clock_now
from ordercenter.core.live import announce
from ordercenter.notices import services as notices
from ordercenter.pipeline.pulling import POLLED

Kind = LineAlarm.Kind
Level = LineAlarm.Level
HISTORY: Final = timedelta(days=14)
RECENT: Final = timedelta(hours=3)
SURE: Final = 7.0
"""Expected arrivals that did not come: by chance once in a thousand times (e**-7)."""
SHORTEST_SILENCE: Final = timedelta(minutes=3)
PUSH_WINDOW: Final = timedelta(minutes=10)
FEWEST_POLLED: Final = 5
"""So many new orders by poll and none by push within the window: the pushes have stopped."""
RUNS_OUT: Final = timedelta(days=3)
CROOKED: Final = timedelta(seconds=90)
LAST_ROWS: Final = 20_000


@dataclass(frozen=True, slots=True)
class Wrong:
    """One thing that is wrong with one shop's line."""

    shop_id: int
    kind: LineAlarm.Kind
    level: LineAlarm.Level
    words: str


def watch_lines(*, now: datetime | None = None) -> str:
    """Open, raise and close the alarms of every line; tell people of what is new."""
    now = now or clock_now()
    found = {(one.shop_id, one.kind.value): one for one in _wrongs(now)}
    told = 0
    with transaction.atomic():
        known = {
            (alarm.shop_id, alarm.kind): alarm
            for alarm in LineAlarm.objects.filter(closed_at=None).select_for_update(of=("self",))
        }
        for key, wrong in found.items():
            told += _open_or_raise(known.get(key), wrong, now=now)
        over = [alarm.pk for key, alarm in known.items() if key not in found]
        LineAlarm.objects.filter(pk__in=over).update(closed_at=now)
        if told or over:
            announce("shops")
    return f"{len(found)} things are wrong, {told} of them new, {len(over)} over"


def _open_or_raise(alarm: LineAlarm | None, wrong: Wrong, *, now: datetime) -> int:
    """Return 1 where people had to be told."""
    if alarm is None:
        alarm = LineAlarm.objects.create(
            shop_id=wrong.shop_id, kind=wrong.kind, level=wrong.level, words=wrong.words[:300],
            opened_at=now, seen_at=now,
        )  # fmt: skip
        is_news = True
    else:
        is_news = alarm.level == Level.WARN and wrong.level is Level.ALARM
        alarm.level, alarm.words, alarm.seen_at = wrong.level, wrong.words[:300], now
        alarm.save(update_fields=["level", "words", "seen_at"])
    if is_news:
        notices.tell(
            key=f"line:{alarm.pk}:{wrong.level}",
            urgency="3" if wrong.level is Level.ALARM else "2",
            title=f"店铺线路{wrong.level.label}：{wrong.kind.label}",
            lines=[wrong.words],
            now=now,
        )
    return int(is_news)


def _wrongs(now: datetime) -> Iterable[Wrong]:
    lines = {
        row.shop_id: row
        for row in SyncCursor.objects.select_related("shop", "shop__credential").filter(
            shop__is_active=True
        )
    }
    running = {pk: row for pk, row in lines.items() if row.is_polled}
    polled = {pk: row for pk, row in running.items() if row.shop.channel in POLLED}
    yield from _lags(polled, now)
    lately = _sold_lately(now)
    yield from _silences(running, lately, now)
    yield from _dead_pushes(polled, now)
    yield from _authorizations(lines.values(), now)
    yield from _breakers(lines.values(), now)
    yield from _missing(lines)
    yield from _dead_letters(lines)
    yield from _crooked_clocks(lines, lately, now)


# --- lag ------------------------------------------------------------------------------------


def lag_of(line: SyncCursor, oldest_waiting: datetime | None, *, now: datetime) -> timedelta:
    """How far behind what we know of a shop may be.

    The longest of: the oldest live message that waits to be worked, and the time a poll is
    overdue. A poll that comes in time is no lag.
    """
    waits = now - oldest_waiting if oldest_waiting else timedelta()
    since = line.last_ok_at
    overdue = timedelta()
    if since is not None:
        overdue = now - since - timedelta(seconds=line.interval_seconds)
    return max(waits, overdue, timedelta())


def waiting_since() -> Mapping[int, datetime]:
    """When the oldest live message that waits came in, by shop."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT shop_id, min(received_at) FROM channels_sync_inboxmessage "
            "WHERE state IN ('new', 'leased') AND lane = 0 AND shop_id IS NOT NULL "
            "GROUP BY shop_id"
        )
        return dict(cursor.fetchall())


def lag_level(lag: timedelta) -> LineAlarm.Level | None:
    """Warn from a minute on, alarm from five (Q021, Q023); both are settings."""
    seconds = lag.total_seconds()
    if seconds >= settings.INTAKE_LAG_ALARM_SECONDS:
        return Level.ALARM
    return Level.WARN if seconds >= settings.INTAKE_LAG_WARN_SECONDS else None


def _lags(lines: Mapping[int, SyncCursor], now: datetime) -> Iterable[Wrong]:
    oldest = waiting_since()
    for pk, line in lines.items():
        lag = lag_of(line, oldest.get(pk), now=now)
        level = lag_level(lag)
        if level is not None:
            yield Wrong(pk, Kind.LAG, level, f"{line.shop.name} 数据延迟 {_minutes(lag)}")


# --- silence --------------------------------------------------------------------------------


@lru_cache(maxsize=2)
def _usual(hour: datetime) -> dict[tuple[int, int], float]:
    """Orders a minute by shop and hour of the day in Shanghai, over the two weeks before."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT shop_id, extract(hour FROM placed_at AT TIME ZONE 'Asia/Shanghai')::int, "
            "count(*)::float / 60 / greatest(1, count(DISTINCT date_trunc('day', placed_at "
            "AT TIME ZONE 'Asia/Shanghai'))) FROM orders_salesorder "
            "WHERE placed_at >= %s AND placed_at < %s GROUP BY 1, 2",
            [hour - HISTORY, hour],
        )
        return {(shop, at): rate for shop, at, rate in cursor.fetchall()}


def expected_per_minute(shop_id: int, now: datetime, *, lately: float) -> float:
    """How many orders a minute this shop should get now.

    What it usually gets at this hour, or what it got lately where that is less: a quiet day is
    no fault. A shop without a history is measured by the last hours alone.
    """
    hour = now.replace(minute=0, second=0, microsecond=0)
    usual = _usual(hour).get((shop_id, now.astimezone(SHANGHAI).hour))
    return lately if usual is None else min(usual, lately)


@dataclass(frozen=True, slots=True)
class Lately:
    """What a shop sold within ``RECENT``."""

    last: datetime
    first: datetime
    count: int
    newest_word: datetime
    """The latest time its platform has stamped."""


def _sold_lately(now: datetime) -> Mapping[int, Lately]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT shop_id, max(received_at), min(received_at), count(*), "
            "max(channel_modified_at) FROM orders_salesorder WHERE placed_at >= %s "
            "GROUP BY shop_id",
            [now - RECENT],
        )
        return {row[0]: Lately(*row[1:]) for row in cursor.fetchall()}


def _silences(
    lines: Mapping[int, SyncCursor], lately: Mapping[int, Lately], now: datetime
) -> Iterable[Wrong]:
    for pk, line in lines.items():
        if pk not in lately:
            continue
        sold = lately[pk]
        quiet = now - sold.last
        minutes = max((sold.last - sold.first).total_seconds() / 60, 1.0)
        rate = expected_per_minute(pk, now, lately=(sold.count - 1) / minutes)
        missed = rate * quiet.total_seconds() / 60
        if quiet >= SHORTEST_SILENCE and missed >= SURE:
            level = Level.ALARM if missed >= 2 * SURE else Level.WARN
            yield Wrong(
                pk, Kind.SILENCE, level,
                f"{line.shop.name} 已 {_minutes(quiet)}没有新订单"
                f"（平时此时每分钟约 {rate:.1f} 单）",
            )  # fmt: skip


def _dead_pushes(lines: Mapping[int, SyncCursor], now: datetime) -> Iterable[Wrong]:
    """Shops that used to be pushed to and now only find their orders by asking (F46)."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT shop_id, count(*) FILTER (WHERE source = 'push'), "
            "count(DISTINCT channel_number) FILTER (WHERE source = 'poll' AND kind = 'order') "
            "FROM channels_sync_inboxmessage WHERE id > coalesce((SELECT max(id) "
            "FROM channels_sync_inboxmessage), 0) - %s AND received_at >= %s "
            "AND shop_id IS NOT NULL GROUP BY shop_id",
            [LAST_ROWS, now - PUSH_WINDOW],
        )
        counts = {shop: (pushed, polled) for shop, pushed, polled in cursor.fetchall()}
    for pk, line in lines.items():
        pushed, found = counts.get(pk, (0, 0))
        was_pushed = line.last_push_at is not None and line.last_push_at < now - PUSH_WINDOW / 2
        should_push = line.mode == SyncCursor.Mode.EVENT and was_pushed
        if should_push and not pushed and found >= FEWEST_POLLED:
            yield Wrong(
                pk, Kind.NO_PUSH, Level.ALARM,
                f"{line.shop.name} 的推送已中断：近 10 分钟轮询到 {found} 单而推送为零，"
                "请到平台重新订阅",
            )  # fmt: skip


# --- the rest -------------------------------------------------------------------------------


def _authorizations(lines: Iterable[SyncCursor], now: datetime) -> Iterable[Wrong]:
    for line in lines:
        name = line.shop.name
        credential = getattr(line.shop, "credential", None)
        if line.error_class == ErrorClass.AUTH:
            yield Wrong(line.pk, Kind.AUTH, Level.ALARM, f"{name} 授权失效：{line.error_message}")
            continue
        if credential is None:
            continue
        at = credential.refresh_expires_at
        if at is not None and at <= now + RUNS_OUT:
            level = Level.ALARM if at <= now + timedelta(days=1) else Level.WARN
            when = "已到期" if at <= now else f"将于 {at.astimezone(SHANGHAI):%m-%d %H:%M} 到期"
            yield Wrong(line.pk, Kind.AUTH, level, f"{name} 的授权{when}，请店主重新授权")


def _breakers(lines: Iterable[SyncCursor], now: datetime) -> Iterable[Wrong]:
    for line in lines:
        if line.open_until is not None and line.broken >= BREAKS_AFTER:
            yield Wrong(
                line.pk, Kind.BREAKER, Level.WARN,
                f"{line.shop.name} 的平台连续 {line.broken} 次没有应答，已暂停调用并自动试探",
            )  # fmt: skip


def _missing(lines: Mapping[int, SyncCursor]) -> Iterable[Wrong]:
    short: dict[int, int] = {}
    rows = Reconciliation.objects.filter(state=Reconciliation.State.SHORT, shop_id__in=lines)
    for row in rows:
        short[row.shop_id] = short.get(row.shop_id, 0) + len(row.missing)
    for pk, count in short.items():
        yield Wrong(
            pk, Kind.MISSING, Level.ALARM,
            f"{lines[pk].shop.name} 对单后仍缺 {count} 单，补拉未成功，请到店铺页处理",
        )  # fmt: skip


def _dead_letters(lines: Mapping[int, SyncCursor]) -> Iterable[Wrong]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT shop_id, sum(n)::int FROM ("
            "SELECT shop_id, count(*) AS n FROM channels_sync_outboundmessage "
            "WHERE state = 'dead' GROUP BY 1 UNION ALL "
            "SELECT shop_id, count(*) FROM channels_sync_inboxmessage "
            "WHERE state = 'dead' AND shop_id IS NOT NULL GROUP BY 1) AS dead GROUP BY 1"
        )
        rows: list[Any] = cursor.fetchall()
    for pk, count in rows:
        if pk in lines:
            yield Wrong(
                pk, Kind.DEAD, Level.WARN,
                f"{lines[pk].shop.name} 有 {count} 条消息无法处理或送达，请查看原因并重试",
            )  # fmt: skip


def _crooked_clocks(
    lines: Mapping[int, SyncCursor], lately: Mapping[int, Lately], now: datetime
) -> Iterable[Wrong]:
    for pk, sold in lately.items():
        if pk in lines and sold.newest_word > now + CROOKED:
            ahead = math.ceil((sold.newest_word - now).total_seconds())
            yield Wrong(
                pk, Kind.CLOCK, Level.WARN,
                f"{lines[pk].shop.name} 的平台时间比本机快 {ahead} 秒，请检查本机时钟",
            )  # fmt: skip


def _minutes(span: timedelta) -> str:
    seconds = int(span.total_seconds())
    return f"{seconds // 60} 分钟" if seconds >= 60 else f"{seconds} 秒"  # noqa: PLR2004


def open_alarms(shops: Iterable[Shop]) -> dict[int, list[LineAlarm]]:
    """Open alarms by shop, the worst first."""
    found: dict[int, list[LineAlarm]] = {}
    rows = LineAlarm.objects.filter(closed_at=None, shop__in=list(shops)).order_by(
        "level", "opened_at"
    )
    for alarm in rows:
        found.setdefault(alarm.shop_id, []).append(alarm)
    return found
