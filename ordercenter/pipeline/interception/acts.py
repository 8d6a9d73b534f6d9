"""What people do with interceptions: ask, approve, refuse, start, ask for the end, end.

An interception counts from the commit of its row, whatever the number of its orders
(``gates``); their hold rows follow within seconds (``filling``). Two people above the limits of
``InterceptionPolicy``; the end is the CEO's, whom a supervisor asks.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from django.contrib.auth.models import AbstractBaseUser
from django.db import IntegrityError, OperationalError, connection, transaction
from django.utils.translation import gettext_lazy as _

from ordercenter.audit.models import Action
from ordercenter.audit.services import record
from ordercenter.core.actor import Actor, ActorKind
from ordercenter.core.clock import now as clock_now
from ordercenter.core.errors import InvalidInput, NotAllowed, NotFound, OrderCenterError
from ordercenter.core.live import announce
from ordercenter.core.policy import Can, allows, require
from ordercenter.notices import services as notices
from ordercenter.orders.errors import BadReason, SelfApproval
from ordercenter.orders.models import Interception, InterceptionPolicy
from ordercenter.pipeline.interception import filling
from ordercenter.pipeline.interception.filling import OBJECT
from ordercenter.pipeline.interception.gates import (
    GATEKEEPER,
    OPEN_VALUES,
    Condition,
    stand_alone,
    where,
)
from ordercenter.pipeline.interception.moments import A_YEAR

COMMAND: Final = "command"
"""What an actor of the command line begins with: ``command:root``."""
REASON: Final = range(5, 501)
TURN_SECONDS: Final = 2
"""How long the start waits for the transitions under way, while new ones wait behind it. Shorter
than their own patience (``lock_timeout``): then they go first, and it tries again."""
TURNS: Final = 8
State, Source = Interception.State, Interception.Source


class InterceptionOver(OrderCenterError):
    code = "interception_over"
    message = _("这条拦截%(state)s，不能%(what)s")


class GateBusy(OrderCenterError):
    code = "gate_busy"
    message = _("系统正在处理大批订单，拦截没有改变，请稍后再试")


@dataclass(frozen=True, slots=True)
class Wish:
    """A command as it was understood, ready to be carried out."""

    text: str
    """As it was typed or told."""
    condition: Condition
    words: str
    """What was understood, in words everybody reads at the bench."""
    reason: str
    ends_at: datetime | None = None
    begins_at: datetime | None = None
    """When it is to start, if that is still to come (``planned``)."""
    preview: Mapping[str, Any] = field(default_factory=dict)
    """What the asker was shown; kept with it, and with the count and value of the moment."""
    source: Interception.Source = Source.PERSON
    source_key: str = ""
    """The same key from the same source is the same interception, however often it comes."""


@dataclass(frozen=True, slots=True)
class Size:
    """How much a condition stops now."""

    orders: int
    value: Decimal
    """Sum of the payable amounts, each in its order's own currency."""

    def needs_second(self, policy: InterceptionPolicy) -> bool:
        return self.orders > policy.most_orders or self.value > policy.most_value


def size_of(condition: Condition) -> Size:
    """Count the open orders a condition fits, as they are now."""
    sql, params = where(condition)
    with transaction.atomic(), connection.cursor() as cursor:
        if condition.skus or condition.not_skus:
            # Lines have no index by SKU; looking each of their orders up takes five times as long.
            cursor.execute("SET LOCAL enable_nestloop = off")
        cursor.execute(
            "SELECT count(*), coalesce(sum(o.payable_amount), 0) FROM orders_salesorder o "  # noqa: S608 - own text
            f"WHERE o.status = ANY(%s) AND ({sql})",
            [OPEN_VALUES, *params],
        )
        orders, value = cursor.fetchone()
    return Size(orders, value)


# --- begin ----------------------------------------------------------------------------------


def ask(
    wish: Wish,
    *,
    user: AbstractBaseUser | None,
    actor: Actor,
    propose: bool = False,
    now: datetime | None = None,
) -> Interception:
    """Start an interception, or leave it for a second person above the limits.

    Everything counts as large as it is now, not as the preview was. ``propose`` leaves it for a
    person in any case, and so does a beginning that is still to come: how many orders there will
    be then, nobody can count now. Right: INTERCEPT; without a user only a feed
    and the command line may. A source key that was
    told before gives the interception it made then, as it is now.

    Returns once every order inside carries its hold. Raises InvalidInput, BadReason, NotAllowed.
    """
    _may_begin(wish, user, actor)
    now = now or clock_now()
    _check(wish, now)
    if told := _told_before(wish):
        return told
    size = size_of(wish.condition)
    is_large = size.needs_second(InterceptionPolicy.current())
    is_planned = wish.begins_at is not None and wish.begins_at > now
    waits = propose or wish.condition.all or is_large or is_planned
    row = _row(wish, size, actor, now)
    try:
        with transaction.atomic(durable=True):
            if waits:
                _save_asked(row, actor=actor, now=now)
            else:
                take_turn()
                row.state, row.started_at = State.ACTIVE, now
                row.save()
                told_started(row, actor=actor)
    except IntegrityError:
        if told := _told_before(wish):  # two clicks at one moment: the other was quicker
            return told
        raise
    if not waits:
        filling.hold_all(row.pk)
        row.refresh_from_db()
    return row


def _may_begin(wish: Wish, user: AbstractBaseUser | None, actor: Actor) -> None:
    if user is not None:
        require(user, Can.INTERCEPT)
    elif wish.source != Source.FEED and not _is_command(actor):
        raise NotAllowed(what=Can.INTERCEPT.label)


def _is_command(actor: Actor) -> bool:
    """Whether somebody at the machine's own command line acts, without a name among ours."""
    return actor.kind is ActorKind.JOB and actor.id.partition(":")[0] == COMMAND


def _check(wish: Wish, now: datetime) -> None:
    _reason(wish.reason)
    Condition.read(wish.condition.stored())
    if not wish.words.strip() or len(wish.words) > 500 or len(wish.text) > 300:  # noqa: PLR2004 - the columns
        raise InvalidInput(what="请用 500 字以内说明拦截的内容，指令不超过 300 字")
    if wish.ends_at is not None and wish.ends_at <= now:
        raise InvalidInput(what="到期时间已经过去")
    if wish.begins_at is not None:
        if wish.begins_at > now + A_YEAR:
            raise InvalidInput(what="预约开始最多提前一年")
        if wish.ends_at is not None and wish.ends_at <= wish.begins_at:
            raise InvalidInput(what="到期时间早于开始时间")
    if len(wish.source_key) > 100 or "\0" in wish.text + wish.words + wish.source_key:  # noqa: PLR2004
        raise InvalidInput(what="来源编号过长，或含有无法保存的字符")


def _reason(text: str) -> str:
    text = text.strip()
    if len(text) not in REASON or "\0" in text:
        raise BadReason(what="")
    return text


def _told_before(wish: Wish) -> Interception | None:
    if not wish.source_key:
        return None
    return Interception.objects.filter(source=wish.source, source_key=wish.source_key).first()


def _row(wish: Wish, size: Size, actor: Actor, now: datetime) -> Interception:
    counted = {"orders": size.orders, "value": str(size.value)}
    return Interception(
        text=wish.text, condition=wish.condition.stored(), words=wish.words.strip(),
        reason=_reason(wish.reason), source=wish.source, source_key=wish.source_key,
        preview={**wish.preview, **counted}, asked_by=_id(actor), asked_at=now,
        begins_at=wish.begins_at if wish.begins_at and wish.begins_at > now else None,
        ends_at=wish.ends_at,
    )  # fmt: skip


def _id(actor: Actor) -> str:
    return f"{actor.kind}:{actor.id}"[:64]


def _save_asked(row: Interception, *, actor: Actor, now: datetime) -> None:
    row.state = State.ASKED
    row.save()
    record(
        Action.INTERCEPT_ASKED, object_type=OBJECT, object_id=row.pk, actor=actor,
        change={"condition": row.condition, "words": row.words, "begins_at": row.begins_at},
        reason=row.reason,
    )  # fmt: skip
    notices.tell(
        key=f"intercept:{row.pk}:asked",
        urgency="3",
        title=f"待第二人确认：{row.words}",
        lines=[f"发起：{actor.name}", f"原因：{row.reason}"],
        now=now,
    )
    announce("orders", interception=row.pk)


def take_turn() -> None:
    """Wait for the transitions under way: what they do is done before, not after.

    Raises GateBusy where one of them takes longer than all turns together.
    """
    for _turn in range(TURNS):
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute(f"SET LOCAL lock_timeout = '{TURN_SECONDS}s'")
                stand_alone()
        except OperationalError:
            continue
        return
    raise GateBusy


def told_started(row: Interception, *, actor: Actor) -> None:
    record(
        Action.INTERCEPT_STARTED, object_type=OBJECT, object_id=row.pk, actor=actor,
        change={"condition": row.condition, "words": row.words, "ends_at": row.ends_at},
        reason=row.reason,
    )  # fmt: skip
    announce("orders", interception=row.pk)


def approve(
    interception_id: int, *, user: AbstractBaseUser, actor: Actor, now: datetime | None = None
) -> Interception:
    """Be the second person: the interception starts, now or at its time.

    Right: INTERCEPT, and not the asker. A second click finds it so and changes
    nothing. Raises SelfApproval, InterceptionOver.
    """
    require(user, Can.INTERCEPT)
    now = now or clock_now()
    with transaction.atomic(durable=True):
        take_turn()
        row = locked_row(interception_id)
        if row.state in {State.ACTIVE, State.PLANNED}:
            return row
        _must_be(row, "确认", State.ASKED)
        if row.asked_by == _id(actor):
            raise SelfApproval(what="")
        if row.ends_at is not None and row.ends_at <= now:
            raise InvalidInput(what="到期时间已经过去，请重新发起")
        row.approved_by = _id(actor)
        if row.begins_at is not None and row.begins_at > now:
            return _plan(row, actor=actor)
        row.state, row.started_at = State.ACTIVE, now
        row.save(update_fields=["state", "started_at", "approved_by"])
        told_started(row, actor=actor)
    filling.hold_all(row.pk)
    row.refresh_from_db()
    return row


def _plan(row: Interception, *, actor: Actor) -> Interception:
    """Leave what two have agreed on to its time (``planned.start_due``)."""
    row.state = State.PLANNED
    row.save(update_fields=["state", "approved_by"])
    record(
        Action.INTERCEPT_ASKED, object_type=OBJECT, object_id=row.pk, actor=actor,
        change={"state": [State.ASKED.value, row.state], "begins_at": row.begins_at},
        reason=row.reason,
    )  # fmt: skip
    announce("orders", interception=row.pk)
    return row


def refuse(
    interception_id: int,
    *,
    user: AbstractBaseUser,
    actor: Actor,
    reason: str,
    now: datetime | None = None,
) -> Interception:
    """Do not start what was asked for, or what is still to start; the asker may withdraw it so,
    too. Right: INTERCEPT."""
    require(user, Can.INTERCEPT)
    reason = _reason(reason)
    with transaction.atomic():
        row = locked_row(interception_id)
        if row.state == State.REFUSED:
            return row
        _must_be(row, "驳回", State.ASKED, State.PLANNED)
        was = row.state
        row.state, row.ended_at, row.ended_by = State.REFUSED, now or clock_now(), _id(actor)
        row.end_reason = reason
        row.save(update_fields=["state", "ended_at", "ended_by", "end_reason"])
        record(
            Action.INTERCEPT_ENDED, object_type=OBJECT, object_id=row.pk, actor=actor,
            change={"state": [was, row.state]}, reason=reason,
        )  # fmt: skip
        announce("orders", interception=row.pk)
    return row


def locked_row(interception_id: int) -> Interception:
    row = Interception.objects.select_for_update(no_key=True).filter(pk=interception_id).first()
    if row is None:
        raise NotFound(what=f"拦截 {interception_id}")
    return row


def _must_be(row: Interception, what: str, *states: Interception.State) -> None:
    if row.state not in states:
        raise InterceptionOver(state=row.get_state_display(), what=what)


# --- end ------------------------------------------------------------------------------------


def lift(
    interception_id: int,
    *,
    user: AbstractBaseUser,
    actor: Actor,
    reason: str,
    now: datetime | None = None,
) -> Interception:
    """End it where the user may (END_INTERCEPT), else ask for its end (INTERCEPT).

    The state of what comes back tells which: still ACTIVE means that the CEO is asked. What is
    still to start is withdrawn by either.
    """
    if Interception.objects.filter(pk=interception_id, state=State.PLANNED).exists():
        return refuse(interception_id, user=user, actor=actor, reason=reason, now=now)
    if allows(user, Can.END_INTERCEPT):
        return end(interception_id, user=user, actor=actor, reason=reason, now=now)
    return ask_end(interception_id, user=user, actor=actor, reason=reason, now=now)


def ask_end(
    interception_id: int,
    *,
    user: AbstractBaseUser | None,
    actor: Actor,
    reason: str,
    now: datetime | None = None,
) -> Interception:
    """Ask the CEO to end it. Right: INTERCEPT; the command line may ask, too.

    Asked for already: nothing changes.
    """
    if user is not None:
        require(user, Can.INTERCEPT)
    elif not _is_command(actor):
        raise NotAllowed(what=Can.INTERCEPT.label)
    reason = _reason(reason)
    with transaction.atomic():
        row = locked_row(interception_id)
        if row.state != State.ACTIVE:
            raise InterceptionOver(state=row.get_state_display(), what="申请解除")
        if row.end_asked_by:
            return row
        row.end_asked_by, row.end_reason = _id(actor), reason
        row.save(update_fields=["end_asked_by", "end_reason"])
        record(
            Action.INTERCEPT_ASKED, object_type=OBJECT, object_id=row.pk, actor=actor,
            change={"end": [None, "asked"]}, reason=reason,
        )  # fmt: skip
        notices.tell(
            key=f"intercept:{row.pk}:end", urgency="3", title=f"申请解除拦截：{row.words}",
            lines=[f"申请：{actor.name}", f"原因：{reason}"], now=now or clock_now(),
        )  # fmt: skip
        announce("orders", interception=row.pk)
    return row


def end(
    interception_id: int,
    *,
    user: AbstractBaseUser | None,
    actor: Actor,
    reason: str,
    now: datetime | None = None,
) -> Interception:
    """End it and lift its own holds, no others; the worker takes the freed orders on.

    Right: END_INTERCEPT; without a user only what a feed started. A second click changes
    nothing. Returns once the last of its holds is lifted, or left to the worker.
    """
    if user is not None:
        require(user, Can.END_INTERCEPT)
    reason = _reason(reason)
    return _end(interception_id, State.LIFTED, user=user, actor=actor, reason=reason, now=now)


def expire_due(*, now: datetime | None = None) -> str:
    """End what has run its time; what nobody has approved by then does not start any more."""
    now = now or clock_now()
    Interception.objects.filter(state=State.ASKED, ends_at__lte=now).update(
        state=State.EXPIRED, ended_at=now, ended_by=_id(GATEKEEPER), freed_at=now,
        end_reason="到期时仍未确认",
    )  # fmt: skip
    due = Interception.objects.filter(state=State.ACTIVE, ends_at__lte=now).order_by("pk")
    ids = list(due.values_list("pk", flat=True))
    for pk in ids:
        _end(pk, State.EXPIRED, user=None, actor=GATEKEEPER, reason="已到期", now=now)
    return f"{len(ids)} interceptions have run their time"


def _end(
    interception_id: int,
    state: Interception.State,
    *,
    user: AbstractBaseUser | None,
    actor: Actor,
    reason: str,
    now: datetime | None,
) -> Interception:
    now = now or clock_now()
    with transaction.atomic(durable=True):
        # Nobody who has read this gate as running still holds an order after its end.
        take_turn()
        row = locked_row(interception_id)
        if row.state in {State.LIFTED, State.EXPIRED}:
            return row
        if row.state != State.ACTIVE:
            raise InterceptionOver(state=row.get_state_display(), what="解除")
        if user is None and state == State.LIFTED and row.source != Source.FEED:
            raise NotAllowed(what=Can.END_INTERCEPT.label)
        row.state, row.ended_at, row.ended_by, row.end_reason = state, now, _id(actor), reason
        row.save(update_fields=["state", "ended_at", "ended_by", "end_reason"])
        record(
            Action.INTERCEPT_ENDED, object_type=OBJECT, object_id=row.pk, actor=actor,
            change={"state": [State.ACTIVE.value, row.state]}, reason=reason,
        )  # fmt: skip
        announce("orders", interception=row.pk)
    filling.release_all(row.pk, now=now)
    row.refresh_from_db()
    return row
