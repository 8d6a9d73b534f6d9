"""Alarms: what happens often is told as one thing, at once, and again only when it is far more.

An alarm gathers what happens under one topic for a stretch of time from its first hit. People
are told of that first hit at once, again when the count has grown tenfold, and at the end of the
stretch if it has grown at all. The next hit after it begins another: a storm of a hundred and
thirty-six orders is a few messages, and no night is silent because of the one before.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction

from ordercenter.core.actor import ActorKind
from ordercenter.core.clock import SHANGHAI
from ordercenter.core.live import announce
from ordercenter.core.policy import Can, require
from ordercenter.notices.models import Alarm
from ordercenter.notices.services import Telling, tell_many

STRETCH: Final = timedelta(minutes=30)
TENFOLD: Final = 10
EXAMPLES: Final = 5
SHOWN_FOR: Final = timedelta(hours=24)
_TITLE: Final = Alarm._meta.get_field("title").max_length or 0


@dataclass(frozen=True, slots=True)
class Happening:
    """Something that happened under one topic, once for each of ``lines`` (no receiver in them)."""

    topic: str
    urgency: str
    title: str
    note: str
    """Whom it is for, and what to do."""
    lines: Sequence[str]
    addressee: str = ""
    """Whose groups are told (``Addressee``); empty: all."""


def raise_alarms(happened: Sequence[Happening], *, now: datetime) -> None:
    """Add these to the alarms of their topics, and queue what has to be told.

    In the caller's transaction; topics are to be distinct. Locks the open alarms by topic.
    """
    if not happened:
        return
    topics = sorted(one.topic for one in happened)
    rows = Alarm.objects.filter(topic__in=topics, closed_at=None).order_by("topic")
    open_now = {row.topic: row for row in rows.select_for_update()}
    told: list[tuple[Alarm, bool]] = []
    for over in [row for row in open_now.values() if row.ends_at <= now]:
        told.append((over, _close(over, now)))
        del open_now[over.topic]
    _save([row for row, _ in told])
    new, grown = [], []
    for one in sorted(happened, key=lambda one: one.topic):
        row = open_now.get(one.topic)
        if row is None:
            new.append(_opened(one, now))
            continue
        row.count, row.last_at = row.count + len(one.lines), now
        row.urgency = max(row.urgency, one.urgency)
        row.examples = [*row.examples, *one.lines][:EXAMPLES]
        is_told = row.count >= row.told * TENFOLD
        if is_told:
            row.told, row.told_at = row.count, now
        grown.append(row)
        told.append((row, is_told))
    Alarm.objects.bulk_create(new)
    _save(grown)
    _tell([*((row, True) for row in new), *told], now)


def _opened(one: Happening, now: datetime) -> Alarm:
    return Alarm(
        topic=one.topic, urgency=one.urgency, title=one.title[:_TITLE], note=one.note[:_TITLE],
        addressee=one.addressee, count=len(one.lines), told=len(one.lines),
        examples=list(one.lines[:EXAMPLES]),
        opened_at=now, last_at=now, told_at=now, ends_at=now + STRETCH,
    )  # fmt: skip


def _close(row: Alarm, now: datetime) -> bool:
    """End the stretch; return whether people have to be told how far it went."""
    row.closed_at = now
    if row.count == row.told:
        return False
    row.told, row.told_at = row.count, now
    return True


def _save(rows: Sequence[Alarm]) -> None:
    fields = ["count", "told", "urgency", "examples", "last_at", "told_at", "closed_at"]
    if rows:
        Alarm.objects.bulk_update(rows, fields)


def _tell(rows: Sequence[tuple[Alarm, bool]], now: datetime) -> None:
    tell_many([_telling(row) for row, is_told in rows if is_told], now=now)


def _telling(row: Alarm) -> Telling:
    since = row.opened_at.astimezone(SHANGHAI)
    more = row.count - len(row.examples)
    return Telling(
        key=f"alarm:{row.pk}:{row.count}",
        urgency=row.urgency,
        addressee=row.addressee,
        title=f"{row.title} {row.count} 单",
        lines=(
            row.note,
            f"{since:%m-%d %H:%M} 起共 {row.count} 单",
            *row.examples,
            *([f"……另有 {more} 单"] if more else []),
        ),
    )


def close_due(*, now: datetime) -> str:
    """End the stretches that are over, and tell how far each went."""
    with transaction.atomic():
        due = list(
            Alarm.objects.filter(closed_at=None, ends_at__lte=now)
            .order_by("topic")
            .select_for_update(skip_locked=True)
        )
        told = [(row, _close(row, now)) for row in due]
        _save(due)
        _tell(told, now)
        if due:
            announce("orders", alarms=len(due))
    return f"{len(due)} alarms are over"


def standing(*, now: datetime, most: int) -> list[Alarm]:
    """The alarms of the last day that nobody has acknowledged, the worst and latest first."""
    rows = Alarm.objects.unseen().filter(last_at__gte=now - SHOWN_FOR)
    return list(rows.order_by("-urgency", "-last_at", "-pk")[:most])


@transaction.atomic
def acknowledge(pk: int, *, user: AbstractBaseUser, now: datetime) -> bool:
    """Take an alarm off the pages until it is told again; False where there is nothing to take.

    Right: REVIEW. Raises NotAllowed.
    """
    require(user, Can.REVIEW)
    by = f"{ActorKind.PERSON}:{user.pk}"
    found = Alarm.objects.unseen().filter(pk=pk).update(seen_by=by, seen_at=now)
    if found:
        announce("orders", alarm=pk)
    return bool(found)
