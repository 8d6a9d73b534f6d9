"""Tell people: a notice is a row first; sending it is somebody else's trouble."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import httpx
from cryptography.exceptions import InvalidTag
from django.db import transaction
from django.db.models import F

from ordercenter.core.sealing import seal, unseal
from ordercenter.notices.models import Notice, Robot
from ordercenter.notices.senders import SendLater, SendRefused
from ordercenter.notices.senders.dingtalk import DingTalkAccess, DingTalkSender

SECRET_PURPOSE: Final = "robot"  # noqa: S105 - what the key is bound to, no secret
LEASE: Final = timedelta(seconds=60)
A_MINUTE: Final = 18  # the robot falls silent for ten minutes after twenty
MOST_TRIES: Final = 10
NEVER_QUIET: Final = "3"
"""From this urgency on nobody's quiet hours count."""


def seal_secrets(*, access_token: str, secret: str, keyword: str = "") -> bytes:
    return seal(
        {"access_token": access_token, "secret": secret, "keyword": keyword},
        purpose=SECRET_PURPOSE,
    )


def tell(*, key: str, urgency: str, title: str, lines: Sequence[str], now: datetime) -> int:
    """Queue a notice to every active robot that takes this urgency; once a key and robot.

    Returns how many robots had not been told it. ``lines`` hold order numbers and reasons, never
    a receiver.
    """
    before = Notice.objects.filter(key=key[:100]).count()
    tell_many([Telling(key, urgency, title, lines)], now=now)
    return Notice.objects.filter(key=key[:100]).count() - before


@dataclass(frozen=True, slots=True)
class Telling:
    """One thing to be told, once a key and robot; ``lines`` never hold a receiver."""

    key: str
    urgency: str
    title: str
    lines: Sequence[str]
    addressee: str = ""
    """Whose groups are told (``Addressee``); empty: all."""


def tell_many(tellings: Sequence[Telling], *, now: datetime) -> None:
    """Queue many notices as ``tell`` does, in two statements; each to its addressee's groups."""
    if not tellings:
        return
    robots = list(Robot.objects.filter(is_active=True))
    rows = [
        Notice(
            robot=robot, key=one.key[:100], urgency=one.urgency, title=one.title[:100],
            text="\n".join(one.lines), created_at=now, due_at=now,
        )
        for one in tellings
        for robot in _told(robots, one)
    ]  # fmt: skip
    Notice.objects.bulk_create(rows, ignore_conflicts=True)


def _told(robots: Sequence[Robot], one: Telling) -> Sequence[Robot]:
    """The robots of its addressee; all that take its urgency where no group is his.

    A notice to nobody would be lost: better a group too many.
    """
    able = [robot for robot in robots if robot.min_tier <= one.urgency]
    if not one.addressee:
        return able
    his = [r for r in able if not r.addressees or one.addressee in r.addressees]
    return his or able


def send_due(client: httpx.Client, *, now: datetime) -> str:
    """Send what is due, the most urgent first, within each robot's limit."""
    sent = failed = 0
    for robot in Robot.objects.filter(is_active=True):
        recently = Notice.objects.filter(
            robot=robot, sent_at__gte=now - timedelta(minutes=1)
        ).count()
        mine = _claim(robot, limit=max(0, A_MINUTE - recently), now=now)
        for place, notice in enumerate(mine, 1):
            if not _send(robot, notice, client, now=now):
                failed += 1
                _leave(mine[place:], until=notice.pk)
                break
            sent += 1
    return f"{sent} notices sent, {failed} failed"


def _claim(robot: Robot, *, limit: int, now: datetime) -> list[Notice]:
    with transaction.atomic():
        due = Notice.objects.filter(robot=robot, state=Notice.State.WAITING, due_at__lte=now)
        if robot.is_quiet(now):
            due = due.filter(urgency__gte=NEVER_QUIET)
        mine = list(
            due.order_by("-urgency", "created_at", "pk").select_for_update(skip_locked=True)[:limit]
        )
        Notice.objects.filter(pk__in=[n.pk for n in mine]).update(
            due_at=now + LEASE, tries=F("tries") + 1
        )
    return mine


def _leave(notices: Sequence[Notice], *, until: int) -> None:
    """Not tried, so not counted: they wait as long as the one that failed before them."""
    due_at = Notice.objects.values_list("due_at", flat=True).get(pk=until)
    Notice.objects.filter(pk__in=[n.pk for n in notices]).update(
        due_at=due_at, tries=F("tries") - 1
    )


def _send(robot: Robot, notice: Notice, client: httpx.Client, *, now: datetime) -> bool:
    rows = Notice.objects.filter(pk=notice.pk)
    try:
        secrets: dict[str, Any] = unseal(robot.sealed, purpose=SECRET_PURPOSE)
    except InvalidTag:
        rows.update(state=Notice.State.DEAD, error="机器人密钥无法打开，请重新填写")
        return False
    access = DingTalkAccess(
        robot.base_url, secrets["access_token"], secrets["secret"], secrets.get("keyword", "")
    )
    sender = DingTalkSender(access, client)
    try:
        sender.send(notice.title, notice.text)
    except SendLater as error:
        wait = timedelta(seconds=error.wait or 60)
        dead = notice.tries + 1 >= MOST_TRIES
        rows.update(
            state=Notice.State.DEAD if dead else Notice.State.WAITING,
            due_at=now + wait, error=str(error)[:300],
        )  # fmt: skip
        return False
    except SendRefused as error:
        rows.update(state=Notice.State.DEAD, error=str(error)[:300])
        return False
    rows.update(state=Notice.State.SENT, sent_at=now, error="")
    return True
