"""What is made of warnings: noted, proposed to a person, or an interception of their own.

A warning is a row before anything is done about it, so a killed worker leaves nothing half:
``hear_again`` goes on with what is due. Told twice it is one; taken back, what it began ends.
"""

import hmac
import logging
import secrets
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from django.conf import settings
from django.db import transaction
from django.utils.translation import gettext_lazy as _

from channels_sync.models import FeedWarning, WarningFeed
from fulfillment import services as fulfillment
from ordercenter.audit.models import Action
from ordercenter.audit.services import record
from ordercenter.catalog.models import Sku
from ordercenter.core.actor import Actor
from ordercenter.core.clock import now as clock_now
from ordercenter.core.errors import InvalidInput, OrderCenterError
from ordercenter.core.live import announce
from ordercenter.core.sealing import seal, unseal
from ordercenter.notices import services as notices
from ordercenter.orders.models import Interception
from ordercenter.pipeline.interception import acts
from ordercenter.pipeline.interception.commands import (
    Command,
    Condition,
    Kind,
    empty_condition,
    words_of,
)
from ordercenter.pipeline.interception.filling import OBJECT
from ordercenter.pipeline.interception.gates import Condition as Gated
from ordercenter.pipeline.interception.lookup import read_command, vocabulary
from ordercenter.pipeline.interception.preview import preview
from ordercenter.pipeline.interception.vocabulary import Thing, plain
from ordercenter.pipeline.interception.warned import Warned, from_json, from_table

logger = logging.getLogger(__name__)
SECRET_PURPOSE: Final = "warning-feed"  # noqa: S105 - what the key is bound to, no secret
REPLAY: Final = timedelta(minutes=5)
"""How far the time of a push may lie from ours; within it the same warning is the same row."""
SETTLED: Final = timedelta(seconds=5)
"""A file that was written to a moment ago is left for the next look."""
LEVEL_WORDS: Final = {1: "蓝色", 2: "黄色", 3: "橙色", 4: "红色"}
State = FeedWarning.State


class BadFeedPush(OrderCenterError):
    """A push that its feed has not signed, or not lately."""

    code = "bad_signature"
    message = _("签名不正确或已过期")
    http_status = HTTPStatus.UNAUTHORIZED


# --- who may speak ------------------------------------------------------------------------------


def new_secret(feed: WarningFeed) -> str:
    """Give the feed a secret of its own, to be shown once; the one before ends."""
    secret = secrets.token_urlsafe(32)
    feed.sealed = seal({"secret": secret}, purpose=SECRET_PURPOSE)
    feed.save(update_fields=["sealed"])
    return secret


def verify(feed: WarningFeed, *, stamp: str, signature: str, body: bytes, now: datetime) -> None:
    """Hold a push against its signature: HMAC-SHA256 of ``stamp.body``, in hex.

    ``stamp`` is in Unix seconds. Raises BadFeedPush, whatever is wrong with it.
    """
    is_number = stamp.isascii() and stamp.isdigit() and len(stamp) <= 12  # noqa: PLR2004
    if not feed.sealed or not is_number or not signature.isascii():
        raise BadFeedPush
    secret = str(unseal(feed.sealed, purpose=SECRET_PURPOSE)["secret"])
    right = hmac.new(secret.encode(), stamp.encode() + b"." + body, "sha256").hexdigest()
    if not hmac.compare_digest(right, signature.strip().lower()):
        raise BadFeedPush
    if abs(now.timestamp() - int(stamp)) > REPLAY.total_seconds():
        raise BadFeedPush


# --- what is said -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Heard:
    """What came of a message: how many warnings ended in which state."""

    counts: dict[str, int]

    def __str__(self) -> str:
        labels = {state.value: str(state.label) for state in State}
        return "、".join(f"{labels[state]} {count}" for state, count in self.counts.items())


def hear_json(feed: WarningFeed, body: bytes, *, now: datetime | None = None) -> Heard:
    """Act on a message in JSON. Raises InvalidInput, having done nothing."""
    return hear(feed, from_json(body), now=now)


def hear(feed: WarningFeed, told: Sequence[Warned], *, now: datetime | None = None) -> Heard:
    """Write down what is warned of, and do what the feed's policy says about each."""
    now = now or clock_now()
    counts: Counter[str] = Counter()
    for one in told:
        row = _written(feed, one, now)
        counts[_act(row, is_over=one.is_over, now=now)] += 1
    WarningFeed.objects.filter(pk=feed.pk).update(heard_at=now)
    announce("orders", feed=feed.pk)
    return Heard(dict(counts))


@transaction.atomic
def _written(feed: WarningFeed, one: Warned, now: datetime) -> FeedWarning:
    """The warning's row as it is said now. What it has begun goes on as it began."""
    row, is_new = FeedWarning.objects.get_or_create(
        feed=feed, key=one.key,
        defaults={"level": one.level, "words": one.words, "body": one.body(), "heard_at": now,
                  "starts_at": one.starts, "ends_at": one.ends},
    )  # fmt: skip
    if is_new:
        return row
    row = FeedWarning.objects.select_for_update().get(pk=row.pk)
    was_quiet = row.state in {State.NOTED, State.FAILED, State.WAITING}
    if was_quiet and not one.is_over:
        row.body, row.starts_at, row.state = one.body(), one.starts, State.HEARD
    row.level, row.words, row.ends_at, row.heard_at = one.level, one.words, one.ends, now
    row.save()
    return row


def _act(row: FeedWarning, *, is_over: bool, now: datetime) -> str:
    """Do what is to be done about one warning now; return the state it ends in."""
    if is_over or (row.ends_at is not None and row.ends_at <= now):
        _end(row, now)
    elif row.state in {State.ASKED, State.STARTED}:
        _prolong(row, now)
    elif row.state != State.ENDED:
        _begin(row, now)
    return row.state


def _begin(row: FeedWarning, now: datetime) -> None:
    feed = row.feed
    if row.starts_at is not None and row.starts_at > now:
        _settle(row, State.WAITING)
    elif row.level < feed.least_level:
        _settle(row, State.NOTED, f"低于{LEVEL_WORDS[feed.least_level]}")
    elif row.body.get("carriers") and not _is_ours(row.body["carriers"]):
        _settle(row, State.NOTED, "不是在用的快递公司")
    else:
        _intercept(row, now)


def _is_ours(carriers: Sequence[str]) -> bool:
    """Whether the carrier we ship with is among those that are named."""
    known = vocabulary()
    own = {
        name.text
        for names in known.by_start.values()
        for name in names
        if name.thing is Thing.CARRIER and name.key == fulfillment.CARRIER
    }
    return any(plain(carrier) in own for carrier in carriers)


def _intercept(row: FeedWarning, now: datetime) -> None:
    feed = row.feed
    try:
        condition = condition_of(row.body, now=now)
        words = words_of(condition, vocabulary().label)
        seen = preview(condition, ends_at=row.ends_at, now=now)
        made = acts.ask(
            acts.Wish(
                text=row.words, condition=Gated.read(condition), words=words,
                reason=f"{feed.name}{LEVEL_WORDS[row.level]}预警：{row.words}"[:500],
                ends_at=row.ends_at, preview=seen.stored(), source=Interception.Source.FEED,
                source_key=f"{feed.code}:{row.key}",
            ),
            user=None, actor=actor_of(feed), now=now,
            propose=feed.policy == WarningFeed.Policy.PROPOSE,
        )  # fmt: skip
    except OrderCenterError as fault:
        _settle(row, State.FAILED, str(fault))
        notices.tell(
            key=f"warning:{row.pk}:{now:%Y%m%d}", urgency="2", title=f"预警无法处理：{feed.name}",
            lines=[row.words, str(fault)], now=now,
        )  # fmt: skip
        return
    row.interception = made
    is_running = made.state == Interception.State.ACTIVE
    _settle(row, State.STARTED if is_running else State.ASKED)


def condition_of(body: dict[str, Any], *, now: datetime) -> Condition:
    """What a warning stops. Raises InvalidInput for a place or a SKU that is not known."""
    condition = empty_condition()
    for name in body.get("places") or []:
        found = read_command(f"{name} 暂停发货", now=now)
        is_plain = (
            isinstance(found, Command)
            and found.kind is Kind.STOP
            and [key for key, value in found.condition.items() if value] == ["places"]
        )
        if not is_plain:
            raise InvalidInput(what=f"认不出地区“{name}”，请写省市区全称")
        assert isinstance(found, Command)
        condition["places"] += [
            place for place in found.condition["places"] if place not in condition["places"]
        ]
    wanted = list(dict.fromkeys(body.get("skus") or []))
    known = set(Sku.objects.filter(code__in=wanted).values_list("code", flat=True))
    if missing := [code for code in wanted if code not in known]:
        raise InvalidInput(what=f"没有货品编码 {'、'.join(missing[:5])}")
    condition["skus"] = wanted
    if not condition["places"] and not condition["skus"]:
        raise InvalidInput(what="预警没有写明地区或货品，需人工处理")
    return condition


def actor_of(feed: WarningFeed) -> Actor:
    return Actor.job(f"feed:{feed.code}")


def _settle(row: FeedWarning, state: FeedWarning.State, note: str = "") -> None:
    row.state, row.note = state, note[:300]
    row.save(update_fields=["state", "note", "interception"])


@transaction.atomic
def _prolong(row: FeedWarning, now: datetime) -> None:
    """What runs, or waits for a person, ends when the feed says now."""
    assert row.interception is not None
    it = Interception.objects.select_for_update(no_key=True).get(pk=row.interception.pk)
    is_open = it.state in {Interception.State.ASKED, Interception.State.ACTIVE}
    if not is_open or it.ends_at == row.ends_at:
        return
    was, it.ends_at = it.ends_at, row.ends_at
    it.save(update_fields=["ends_at"])
    record(
        Action.INTERCEPT_STARTED, object_type=OBJECT, object_id=it.pk,
        actor=actor_of(row.feed), change={"ends_at": [was, row.ends_at]}, reason=row.words,
    )  # fmt: skip


def _end(row: FeedWarning, now: datetime) -> None:
    """What the warning began is over; what a person refused or ended already stays so."""
    it = row.interception
    if it is not None:
        it.refresh_from_db()
        words = f"{row.feed.name}已解除预警"
        if it.state == Interception.State.ACTIVE:
            acts.end(it.pk, user=None, actor=actor_of(row.feed), reason=words, now=now)
        elif it.state == Interception.State.ASKED:
            _withdraw(it.pk, actor=actor_of(row.feed), reason=words, now=now)
    _settle(row, State.ENDED)


@transaction.atomic
def _withdraw(interception_id: int, *, actor: Actor, reason: str, now: datetime) -> None:
    """What was proposed and nobody has confirmed is no question any more."""
    it = Interception.objects.select_for_update(no_key=True).get(pk=interception_id)
    if it.state != Interception.State.ASKED:
        return
    it.state, it.ended_at, it.ended_by = Interception.State.REFUSED, now, f"job:{actor.id}"[:64]
    it.end_reason = reason
    it.save(update_fields=["state", "ended_at", "ended_by", "end_reason"])
    record(
        Action.INTERCEPT_ENDED, object_type=OBJECT, object_id=it.pk, actor=actor,
        change={"state": [Interception.State.ASKED.value, it.state]}, reason=reason,
    )  # fmt: skip
    announce("orders", interception=it.pk)


# --- what nobody pushes -------------------------------------------------------------------------


def hear_again(*, now: datetime | None = None) -> str:
    """Begin what has come due, finish what a killed worker left, end what has run its time."""
    now = now or clock_now()
    due = FeedWarning.objects.filter(feed__is_active=True).select_related("feed", "interception")
    begun = [
        _act(row, is_over=False, now=now)
        for row in due.filter(state__in=[State.WAITING, State.HEARD]).order_by("pk")[:200]
        if row.starts_at is None or row.starts_at <= now
    ]
    over = due.filter(state__in=[State.ASKED, State.STARTED], ends_at__lte=now).order_by("pk")
    ended = [_act(row, is_over=True, now=now) for row in over[:200]]
    return f"{len(begun)} warnings begun, {len(ended)} ended"


def folder_of(feed: WarningFeed) -> Path:
    """Where files of this feed are dropped."""
    return Path(settings.DATA_DIR) / "feeds" / feed.code


def read_folders(*, now: datetime | None = None) -> str:
    """Take in every file that lies in a feed's folder; ``done/`` or ``bad/`` keeps it after."""
    now = now or clock_now()
    taken = refused = 0
    for feed in WarningFeed.objects.filter(is_active=True):
        folder = folder_of(feed)
        if not folder.is_dir():
            continue
        for path in sorted(folder.iterdir()):
            if not path.is_file() or not _is_settled(path, now):
                continue
            try:
                hear(feed, read_file(path), now=now)
            except OrderCenterError as fault:
                refused += 1
                _put(path, folder / "bad", now, str(fault))
                continue
            taken += 1
            _put(path, folder / "done", now)
    return f"{taken} warning files taken, {refused} refused"


def _is_settled(path: Path, now: datetime) -> bool:
    is_whole = not path.name.startswith(".") and path.suffix.lower() in {".json", ".csv", ".xlsx"}
    return is_whole and now.timestamp() - path.stat().st_mtime >= SETTLED.total_seconds()


def read_file(path: Path, name: str = "") -> list[Warned]:
    """The warnings of one file, by the ending of its name. Raises InvalidInput."""
    if (name or path.name).lower().endswith(".json"):
        return from_json(path.read_bytes())
    return from_table(path)


def _put(path: Path, folder: Path, now: datetime, fault: str = "") -> None:
    folder.mkdir(exist_ok=True)
    kept = folder / f"{now:%Y%m%dT%H%M%S}-{path.name}"
    shutil.move(path, kept)
    if fault:
        kept.with_name(f"{kept.name}.error.txt").write_text(fault, encoding="utf-8")
        logger.warning("a warning file was refused: %s", kept.name)
