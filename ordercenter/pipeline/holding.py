"""Holds with an end: placed by people, lifted by time or ahead of the promise; and cards put off.

A hold ends by its own release or at its own end, by nothing else. What has no end waits for a
person. Tier 3 never ends by itself, nor do holds that end by a fact.
"""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Final

from django.contrib.auth.models import AbstractBaseUser
from django.db import connection
from django.utils.translation import gettext as _

from fulfillment import services as fulfillment
from fulfillment.models import Stage, StageTask
from ordercenter.audit.models import Action
from ordercenter.core.actor import PIPELINE, Actor
from ordercenter.core.clock import now as clock_now
from ordercenter.core.errors import InvalidInput
from ordercenter.core.live import announce
from ordercenter.core.policy import Can, require
from ordercenter.orders.errors import NothingToRelease, WrongState
from ordercenter.orders.models import OrderHold
from ordercenter.orders.states import SELF_CLEARING, Disposition, HoldKind, Tier
from ordercenter.pipeline.deadlines import PROMISE_SQL, promise_of, ship_within
from ordercenter.pipeline.decisions import checked_reason, holds_of, take_in_hand
from ordercenter.pipeline.drafts import RUSH_PRIORITY
from ordercenter.pipeline.path import take
from ordercenter.pipeline.publishing import telling_stock
from ordercenter.pipeline.work import HoldDraft, Work, load, write

CODE: Final = "until"
"""A hold of a person that has an end. His freeze (``person``) stands beside it."""
LONGEST_HOLD: Final = timedelta(days=90)
LONGEST_AHEAD: Final = timedelta(days=30)
LONGEST_SNOOZE: Final = timedelta(days=7)
BATCH: Final = 200
EXPIRED: Final = "到期自动解除"
_STAGES: Final = (Stage.FIRST_REVIEW, Stage.FINANCE_CHECK, Stage.AFTER_SALES)

# Promises move; what is to end ahead of one follows it. Few rows: those of the partial index.
_FOLLOW: Final = f"""
    WITH moved AS (
        SELECT h.id, {PROMISE_SQL} - h.release_ahead AS ends_at
        FROM orders_orderhold h JOIN orders_salesorder o ON o.id = h.order_id
        WHERE h.released_at IS NULL AND h.expires_at IS NOT NULL AND h.release_ahead IS NOT NULL
          AND h.expires_at <> {PROMISE_SQL} - h.release_ahead
        FOR NO KEY UPDATE OF h SKIP LOCKED)
    UPDATE orders_orderhold h SET expires_at = moved.ends_at FROM moved WHERE h.id = moved.id
"""  # noqa: S608 - own constant text


@telling_stock()
def hold_until(
    order_id: int,
    *,
    user: AbstractBaseUser,
    actor: Actor,
    seen_version: int,
    reason: str,
    until: datetime | None = None,
    ahead: timedelta | None = None,
    rush_after: bool = False,
    now: datetime | None = None,
) -> None:
    """Hold an order that has not left until a moment, or until so long ahead of its promise.

    Exactly one of ``until`` and ``ahead``. ``rush_after``: afterwards it goes first. A parcel
    that is under way in the house stands still meanwhile. Raises InvalidInput for an end that
    is past or out of reach, WrongState where such a hold is open already.
    """
    require(user, Can.FREEZE)
    reason = checked_reason(reason)
    now = now or clock_now()
    work = take_in_hand(
        order_id, user=user, seen_version=seen_version, what=_("挂起"), claimed=False
    )
    ends_at = _end(work, until=until, ahead=ahead, now=now)
    if work.held_by_code(HoldKind.PERSON, CODE):
        raise WrongState(number=work.number, status=_("已定时挂起"), what=_("再次定时挂起"))
    work.hold(HoldDraft(HoldKind.PERSON, CODE, Tier.REVIEW.value, f"{actor.name}：{reason}"))
    work.action, work.reason = Action.HOLD_OPENED, reason
    take([work], actor=actor, now=now)
    OrderHold.objects.open().filter(order_id=order_id, kind=HoldKind.PERSON, code=CODE).update(
        expires_at=ends_at, release_ahead=ahead, rush_after=rush_after
    )
    fulfillment.stop_parcels(work.id, reason=reason, by=actor.name, now=now, final=False)


def _end(work: Work, *, until: datetime | None, ahead: timedelta | None, now: datetime) -> datetime:
    if (until is None) == (ahead is None):
        raise InvalidInput(what=_("请填写到期时间，或承诺发货前多少小时解除，二选一"))
    if ahead is not None and not timedelta() <= ahead <= LONGEST_AHEAD:
        raise InvalidInput(what=_("承诺前解除最多提前 30 天"))
    ends_at = until or promise_of(work) - (ahead or timedelta())
    if ends_at <= now:
        raise InvalidInput(what=_("到期时间已过"))
    if ends_at - now > LONGEST_HOLD:
        raise InvalidInput(what=_("最多挂起 90 天"))
    return ends_at


def expire_holds(*, now: datetime | None = None) -> str:
    """Lift what has come to its end, and let the orders go on; a full batch at a time."""
    now = now or clock_now()
    with connection.cursor() as cursor:  # by itself: order rows are locked before their holds
        cursor.execute(_FOLLOW, {"ship_within": str(ship_within())})
    with telling_stock():
        works = load(_due(now))
        lifted = _lift(works, now=now)
        if not lifted:
            return "no hold has come to its end"
        take(lifted, actor=PIPELINE, now=now)
        free = [work.id for work in lifted if not work.held_by()]
        fulfillment.close_tasks(
            free, state=StageTask.State.DONE.value, by=PIPELINE.name, now=now, stages=_STAGES
        )
    return f"{len(lifted)} orders are rid of a hold that ended"


def _due(now: datetime) -> list[int]:
    rows = OrderHold.objects.open().filter(expires_at__lte=now)
    rows = rows.exclude(tier=Tier.FREEZE).exclude(kind__in=[kind.value for kind in SELF_CLEARING])
    return list(
        dict.fromkeys(rows.order_by("expires_at").values_list("order_id", flat=True)[:BATCH])
    )


def _lift(works: Collection[Work], *, now: datetime) -> list[Work]:
    """Close what is due on these locked orders, as it stands behind the lock."""
    by_pk = {pk: (work, key) for work in works for key, pk in work.open_holds.items()}
    due = OrderHold.objects.filter(pk__in=by_pk, expires_at__lte=now).exclude(tier=Tier.FREEZE)
    lifted: dict[int, Work] = {}
    for hold in due:
        if HoldKind(hold.kind) in SELF_CLEARING:
            continue
        work, key = by_pk[hold.pk]
        work.closing[key] = EXPIRED
        work.action, work.reason = Action.HOLD_EXPIRED, EXPIRED
        if hold.rush_after:
            work.change("is_rush", True)
            work.change("priority", max(work.priority, RUSH_PRIORITY))
        lifted[work.id] = work
    return list(lifted.values())


def snooze(
    order_id: int,
    until: datetime,
    *,
    user: AbstractBaseUser,
    actor: Actor,
    seen_version: int,
    reason: str,
    now: datetime | None = None,
) -> None:
    """Keep a card off the wall until then, 7 days at most; the order stands all the same.

    A new reason brings it back at once. Raises WrongState for tier 3, InvalidInput for a time
    that is past or too far.
    """
    require(user, Can.REVIEW)
    reason = checked_reason(reason)
    now = now or clock_now()
    if until <= now:
        raise InvalidInput(what=_("暂缓到的时间已过"))
    if until - now > LONGEST_SNOOZE:
        raise InvalidInput(what=_("最多暂缓 7 天"))
    _put_off(
        order_id, until, user=user, actor=actor, seen_version=seen_version, reason=reason, now=now
    )


@telling_stock()
def _put_off(
    order_id: int,
    until: datetime,
    *,
    user: AbstractBaseUser,
    actor: Actor,
    seen_version: int,
    reason: str,
    now: datetime,
) -> None:
    work = take_in_hand(order_id, user=user, seen_version=seen_version, what=_("暂缓"))
    holds = holds_of(work).values()
    if any(hold.tier == Tier.FREEZE for hold in holds):
        raise WrongState(number=work.number, status=Tier.FREEZE.label, what=_("暂缓"))
    waiting = [hold.pk for hold in holds if hold.disposition == Disposition.WAITING]
    if not waiting:
        raise NothingToRelease(number=work.number)
    OrderHold.objects.filter(pk__in=waiting).update(snoozed_until=until)
    work.action, work.reason, work.row_changed = Action.HOLD_SNOOZED, reason, True
    work.changes["snoozed_until"] = [None, until.isoformat()]
    write([work], actor=actor, now=now)
    announce("orders", snoozed=order_id)
