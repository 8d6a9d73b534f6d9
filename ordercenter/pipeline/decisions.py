"""What people decide about a held order. Each decision is one transaction.

The order row is locked, the right is checked, and a decision made on an older picture of the
order is refused. What follows (clear, route) happens in the same transaction.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from django.contrib.auth.models import AbstractBaseUser

from fulfillment import services as fulfillment
from fulfillment.models import ParcelStop, Stage, StageTask
from ordercenter.audit.models import Action, AuditRecord
from ordercenter.core.actor import Actor, ActorKind
from ordercenter.core.clock import now as clock_now
from ordercenter.core.errors import InvalidInput, NotFound
from ordercenter.core.policy import Can, allows, require
from ordercenter.orders.contracts import ReceiverDraft
from ordercenter.orders.errors import (
    BadReason,
    NothingToRelease,
    OwnOrder,
    RuleAuthor,
    SelfApproval,
    StaleOrder,
    TooLate,
    WrongState,
)
from ordercenter.orders.models import OrderHold, SalesOrder
from ordercenter.orders.states import OPEN, SELF_CLEARING, Disposition, HoldKind, OrderStatus, Tier
from ordercenter.pipeline import cancel
from ordercenter.pipeline.claims import settle_claim
from ordercenter.pipeline.delegation import require_approval
from ordercenter.pipeline.drafts import (
    is_hidden,
    known_receiver,
    receiver_keys,
    receiver_problem,
    region_of,
    sealed_receiver,
)
from ordercenter.pipeline.pacing import keep_pace
from ordercenter.pipeline.path import take
from ordercenter.pipeline.publishing import telling_stock
from ordercenter.pipeline.work import HoldDraft, HoldKey, Work, load
from risk.separation import author_of_live_change_today

REASON: Final = range(5, 501)
_FIELD_LIMIT: Final = 200
_HIDEABLE: Final = ("name", "phone", "address")


def checked_reason(text: str) -> str:
    """Return the reason without blanks around it, or raise BadReason."""
    text = text.strip()
    if len(text) not in REASON or "\0" in text:
        raise BadReason(what="")
    return text


def must_see(order_id: int, user: AbstractBaseUser) -> None:
    """Raise NotFound where the order does not exist for this user."""
    if not SalesOrder.objects.visible_to(user).filter(pk=order_id).exists():
        raise NotFound(what=f"订单 {order_id}")


def take_in_hand(
    order_id: int,
    *,
    user: AbstractBaseUser,
    seen_version: int | None,
    what: object,
    claimed: bool = True,
) -> Work:
    """Lock one open order as the user saw it, and end his claim on its card.

    Raises StaleOrder where it has changed since, CardTaken where its card is somebody else's.
    ``claimed`` False: the decision does not wait for whoever looks at the card. A version of
    None counts whatever happened, claim or no claim.
    """
    must_see(order_id, user)
    (work,) = load([order_id])
    if seen_version is not None and work.version != seen_version:
        raise StaleOrder(number=work.number)
    if work.status not in OPEN:
        raise WrongState(number=work.number, status=work.status.label, what=what)
    if claimed and seen_version is not None:
        settle_claim(work.id, number=work.number, user=user)
    return work


def _not_own(work: Work, user: AbstractBaseUser) -> None:
    """Who entered an order by hand lets it pass nowhere (X28)."""
    entered = AuditRecord.objects.filter(
        object_type="order", object_id=work.id, version=1, actor_kind=ActorKind.PERSON,
        actor_id=str(user.pk),
    )  # fmt: skip
    if entered.exists():
        raise OwnOrder(number=work.number)


def holds_of(work: Work) -> dict[HoldKey, OrderHold]:
    return {
        (hold.kind, hold.code): hold
        for hold in OrderHold.objects.filter(pk__in=work.open_holds.values())
    }


def _right_to_release(hold: OrderHold) -> Can:
    if hold.tier == Tier.FREEZE:
        return Can.APPROVE_TIER3
    return Can.RELEASE_PAYMENT if hold.kind == HoldKind.PAYMENT else Can.REVIEW


def _may_release(hold: OrderHold, user: AbstractBaseUser) -> bool:
    if hold.kind in SELF_CLEARING or hold.tier == Tier.FREEZE:
        return False
    return allows(user, _right_to_release(hold))


@telling_stock()
def release_order(
    order_id: int,
    hold_ids: Collection[int],
    *,
    user: AbstractBaseUser,
    actor: Actor,
    seen_version: int,
    reason: str,
) -> None:
    """Lift these holds of tiers 1 and 2; the order goes on if nothing else holds it.

    Holds that end by a fact (mapping, stock, the platform) and tier 3 are never lifted here.
    Raises NotAllowed when none is lifted because the right to one is missing.
    """
    if not (allows(user, Can.REVIEW) or allows(user, Can.RELEASE_PAYMENT)):
        require(user, Can.REVIEW)
    reason = checked_reason(reason)
    keep_pace(user)
    work = take_in_hand(order_id, user=user, seen_version=seen_version, what="放行")
    _not_own(work, user)
    asked = [(key, hold) for key, hold in holds_of(work).items() if hold.pk in set(hold_ids)]
    chosen = [(key, hold) for key, hold in asked if _may_release(hold, user)]
    if not chosen:
        for _, hold in asked:
            if (right := _right_to_release(hold)) == Can.APPROVE_TIER3:
                require_approval(user)
            else:
                require(user, right)
        raise NothingToRelease(number=work.number)
    codes = {hold.code for _, hold in chosen if hold.kind == HoldKind.RULE}
    if own := author_of_live_change_today(user, codes):
        raise RuleAuthor(rules="、".join(sorted(own)))
    for key, _ in chosen:
        work.closing[key] = reason
    _go_on(work, Action.HOLD_RELEASED, actor=actor, reason=reason)


def _go_on(
    work: Work, action: Action, *, actor: Actor, reason: str, now: datetime | None = None
) -> None:
    now = now or clock_now()
    work.action, work.reason = action, reason
    closed = set(work.closing)
    take([work], actor=actor, now=now)
    ended = {
        Stage.FIRST_REVIEW: HoldKind.INCOMPLETE,
        Stage.FINANCE_CHECK: HoldKind.PAYMENT,
    }
    stages = [s for s, kind in ended.items() if any(key[0] == kind for key in closed)]
    if not work.held_by():
        stages = [Stage.FIRST_REVIEW, Stage.FINANCE_CHECK, Stage.AFTER_SALES]
    if stages and closed:
        fulfillment.close_tasks(
            [work.id], state=StageTask.State.DONE.value, by=actor.name, now=now, stages=stages
        )


def hand_over(
    order_id: int,
    *,
    user: AbstractBaseUser,
    actor: Actor,
    seen_version: int,
    reason: str,
    disposition: Disposition,
    stage: Stage,
    action: Action,
    note: str = "",
) -> None:
    """Give a held order to a stage of work, with ``note`` (or the reason) on the task.

    In the caller's ``telling_stock``; right REVIEW.
    """
    require(user, Can.REVIEW)
    reason = checked_reason(reason)
    work = take_in_hand(order_id, user=user, seen_version=seen_version, what=disposition.label)
    if not work.open_holds:
        raise NothingToRelease(number=work.number)
    OrderHold.objects.filter(pk__in=work.open_holds.values(), interception=None).update(
        disposition=disposition
    )
    work.action, work.reason, work.row_changed = action, reason, True
    now = clock_now()
    take([work], actor=actor, now=now)
    request = fulfillment.TaskRequest(work.id, stage, note or reason, work.priority)
    fulfillment.close_tasks(
        [work.id], state=StageTask.State.WITHDRAWN.value, by=actor.name, now=now, stages=[stage]
    )
    fulfillment.open_tasks([request], now=now)


@telling_stock()
def return_for_edit(
    order_id: int, *, user: AbstractBaseUser, actor: Actor, seen_version: int, reason: str
) -> None:
    """Give a held order to customer service to be put right; it comes back judged again."""
    hand_over(
        order_id, user=user, actor=actor, seen_version=seen_version, reason=reason,
        disposition=Disposition.RETURNED, stage=Stage.FIRST_REVIEW, action=Action.HOLD_RETURNED,
    )  # fmt: skip


def judge_again(order_id: int, *, actor: Actor, now: datetime) -> None:
    """Have the rules look at an order that was put right. In the caller's ``telling_stock``."""
    (work,) = load([order_id])
    work.must_judge, work.reason = True, "修改后重新审核"
    take([work], actor=actor, now=now)


@telling_stock()
def hand_to_after_sales(
    order_id: int, *, user: AbstractBaseUser, actor: Actor, seen_version: int, reason: str
) -> None:
    """Ask customer service to talk to the buyer; the order stands until they answer."""
    hand_over(
        order_id, user=user, actor=actor, seen_version=seen_version, reason=reason,
        disposition=Disposition.AFTER_SALES, stage=Stage.AFTER_SALES, action=Action.HOLD_HANDED,
    )  # fmt: skip


def freeze_order(order_id: int, *, user: AbstractBaseUser, actor: Actor, reason: str) -> None:
    """Stop an order by hand, wherever it is before hand-over. Safe to repeat.

    Raises TooLate when the parcel has left: customer service then has a case to work, and the
    stop stands on the record as too late.
    """
    require(user, Can.FREEZE)
    reason = checked_reason(reason)
    must_see(order_id, user)
    with telling_stock():
        number = _freeze(order_id, user=user, actor=actor, reason=reason)
    if number:
        raise TooLate(number=number)


def _freeze(order_id: int, *, user: AbstractBaseUser, actor: Actor, reason: str) -> str:
    """Freeze one order; return its number when that came too late, else empty."""
    now = clock_now()
    (work,) = load([order_id])
    if work.status is OrderStatus.SHIPPED:
        told = ParcelStop.objects.filter(parcel__order=order_id, outcome="too_late")
        if not told.exists():
            fulfillment.stop_parcels(work.id, reason=reason, by=actor.name, now=now, final=False)
            work.action, work.reason, work.row_changed = Action.PARCEL_STOPPED, reason, True
            take([work], actor=actor, now=now)
        return work.number
    work = take_in_hand(order_id, user=user, seen_version=None, what="冻结")
    work.hold(HoldDraft(HoldKind.PERSON, "person", "2", f"{actor.name}：{reason}"))
    work.action, work.reason = Action.HOLD_OPENED, reason
    take([work], actor=actor, now=now)
    if work.opening:
        fulfillment.stop_parcels(work.id, reason=reason, by=actor.name, now=now, final=False)
    return ""


@telling_stock()
def ask_release(
    order_id: int, *, user: AbstractBaseUser, actor: Actor, seen_version: int, reason: str
) -> None:
    """Ask the CEO to unfreeze a tier-3 order."""
    require(user, Can.ASK_TIER3)
    reason = checked_reason(reason)
    work = take_in_hand(order_id, user=user, seen_version=seen_version, what="申请解冻")
    frozen = [h.pk for h in holds_of(work).values() if h.tier == Tier.FREEZE]
    if not frozen:
        raise NothingToRelease(number=work.number)
    OrderHold.objects.filter(pk__in=frozen).update(
        disposition=Disposition.ESCALATED, asked_by=f"{actor.kind}:{actor.id}"[:64]
    )
    work.action, work.reason, work.row_changed = Action.RELEASE_ASKED, reason, True
    take([work], actor=actor, now=clock_now())


def _asked(work: Work, actor: Actor) -> list[tuple[HoldKey, OrderHold]]:
    asked = [
        (key, hold)
        for key, hold in holds_of(work).items()
        if hold.tier == Tier.FREEZE and hold.disposition == Disposition.ESCALATED
    ]
    if not asked:
        raise NothingToRelease(number=work.number)
    if any(hold.asked_by == f"{actor.kind}:{actor.id}" for _, hold in asked):
        raise SelfApproval(what="")
    return asked


@telling_stock()
def approve_release(
    order_id: int, *, user: AbstractBaseUser, actor: Actor, seen_version: int, reason: str
) -> None:
    """Unfreeze what somebody else asked for: the CEO, or whom he has let approve meanwhile."""
    require_approval(user)
    reason = checked_reason(reason)
    work = take_in_hand(
        order_id, user=user, seen_version=seen_version, what="批准解冻", claimed=False
    )
    _not_own(work, user)
    for key, _ in _asked(work, actor):
        work.closing[key] = reason
    _go_on(work, Action.HOLD_RELEASED, actor=actor, reason=reason)


@telling_stock()
def refuse_release(
    order_id: int, *, user: AbstractBaseUser, actor: Actor, seen_version: int, reason: str
) -> None:
    """Leave it frozen; the card goes back to the wall with the answer."""
    require_approval(user)
    reason = checked_reason(reason)
    work = take_in_hand(
        order_id, user=user, seen_version=seen_version, what="驳回解冻", claimed=False
    )
    _unask(work, _asked(work, actor), actor=actor, reason=reason)


def _unask(
    work: Work, asked: Collection[tuple[HoldKey, OrderHold]], *, actor: Actor, reason: str
) -> None:
    OrderHold.objects.filter(pk__in=[hold.pk for _, hold in asked]).update(
        disposition=Disposition.WAITING, asked_by=""
    )
    work.action, work.reason, work.row_changed = Action.RELEASE_REFUSED, reason, True
    take([work], actor=actor, now=clock_now())


@telling_stock()
def withdraw_request(
    order_id: int, *, user: AbstractBaseUser, actor: Actor, seen_version: int, reason: str
) -> None:
    """Take the own request back before it was answered; the order stays frozen on the wall."""
    require(user, Can.ASK_TIER3)
    reason = checked_reason(reason)
    work = take_in_hand(order_id, user=user, seen_version=seen_version, what="撤回申请")
    me = f"{actor.kind}:{actor.id}"
    own = [(key, hold) for key, hold in holds_of(work).items()
           if hold.disposition == Disposition.ESCALATED and hold.asked_by == me]  # fmt: skip
    if not own:
        raise NothingToRelease(number=work.number)
    _unask(work, own, actor=actor, reason=reason)


@telling_stock()
def cancel_order(
    order_id: int, *, user: AbstractBaseUser, actor: Actor, seen_version: int, reason: str
) -> None:
    """Cancel an order that has not left; its stock goes back and its parcel is stopped."""
    require(user, Can.CANCEL)
    reason = checked_reason(reason)
    work = take_in_hand(order_id, user=user, seen_version=seen_version, what="取消")
    if any(hold.tier == Tier.FREEZE for hold in holds_of(work).values()):
        raise WrongState(number=work.number, status=Tier.FREEZE.label, what="取消，请先申请解冻")
    now = clock_now()
    work.reason = reason
    cancel.walk_back(work)
    take([work], actor=actor, now=now)
    cancel.finish([work], actor=actor, now=now)


@telling_stock()
def edit_receiver(
    order_id: int,
    *,
    user: AbstractBaseUser,
    actor: Actor,
    seen_version: int,
    receiver: Mapping[str, str],
) -> None:
    """Put name, phone or address right; the order is judged again and the wall sees it.

    Raises InvalidInput with what is still missing.
    """
    require(user, Can.EDIT_RECEIVER)
    work = take_in_hand(order_id, user=user, seen_version=seen_version, what="修改收货信息")
    known = known_receiver(work.receiver_sealed)
    draft = _receiver(receiver, known.receiver)
    if problem := receiver_problem(draft):
        raise InvalidInput(what=problem)
    sealed, shown = sealed_receiver(draft, told=known.told, oaid_from=known.oaid_from)
    province, city, district = region_of(draft)
    for name, value in (
        ("province", province), ("city", city), ("district", district),
        ("receiver_masked", shown), ("receiver_sealed", sealed),
    ):  # fmt: skip
        work.change(name, value)
    work.goes_to(*receiver_keys(_clear_parts(draft), work.shop_id))
    work.unhold(HoldKind.INCOMPLETE, "已补全收货信息", code="receiver")
    work.must_judge = True
    OrderHold.objects.filter(
        pk__in=work.open_holds.values(), disposition=Disposition.RETURNED
    ).update(disposition=Disposition.WAITING)
    _go_on(work, Action.RECEIVER_EDITED, actor=actor, reason="修改收货信息")
    fulfillment.void_labels(work.id, now=clock_now())
    fulfillment.close_tasks(
        [work.id], state=StageTask.State.DONE.value, by=actor.name, now=clock_now(),
        stages=[Stage.FIRST_REVIEW],
    )  # fmt: skip


def _receiver(fields: Mapping[str, str], known: ReceiverDraft) -> ReceiverDraft:
    """What was typed. A part that stays as the channel masked it is masked still, and the
    channel's id of the receiver stays with it."""
    typed: dict[str, Any] = {}
    for name in ("name", "phone", "province", "city", "district", "address"):
        value = str(fields.get(name, "")).strip()
        if len(value) > _FIELD_LIMIT and value != getattr(known, name):
            raise InvalidInput(what="收货信息过长")
        typed[name] = value
    draft = ReceiverDraft(**typed)
    if any(is_hidden(getattr(draft, part)) for part in _HIDEABLE):
        return replace(draft, is_masked=True, oaid=known.oaid)
    return draft


def _clear_parts(draft: ReceiverDraft) -> ReceiverDraft:
    """A receiver to make keys of: what is masked is left out."""
    hidden = {part: "" for part in _HIDEABLE if is_hidden(getattr(draft, part))}
    return replace(draft, **hidden, is_masked=False, oaid="")
