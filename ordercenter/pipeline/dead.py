"""Dead letters: what a platform could not be told, for people to send again or to settle."""

from collections.abc import Callable, Collection
from datetime import datetime, timedelta

from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction
from django.db.models import Q, QuerySet

from channels_sync.models import OutboundMessage
from ordercenter.audit.models import Action
from ordercenter.audit.services import Entry, record_many
from ordercenter.core.actor import Actor
from ordercenter.core.clock import now as clock_now
from ordercenter.core.live import announce
from ordercenter.core.policy import Can, require
from ordercenter.orders.errors import BadReason
from ordercenter.pipeline import endings

State = OutboundMessage.State
REASON = range(5, 501)
IN_A_CALL = timedelta(minutes=5)


def needs_people(*, now: datetime | None = None) -> QuerySet[OutboundMessage]:
    """Dead letters, and messages whose outcome has been in doubt for a while; dead ones first."""
    long_ago = (now or clock_now()) - IN_A_CALL
    return OutboundMessage.objects.filter(
        Q(state=State.DEAD) | Q(state=State.WAITING, is_doubtful=True, created_at__lt=long_ago)
    ).order_by("state", "-is_doubtful", "created_at", "pk")


def resend(
    message_ids: Collection[int], *, user: AbstractBaseUser, actor: Actor, reason: str
) -> int:
    """Have dead letters sent again from the start, with all their time; return how many.

    Right: REPLAY_DEAD. What is not dead any more is passed over, so a second click does
    nothing. A platform that can be asked is still asked first; where none can, the person's
    word is what says that nothing happened there.
    """

    def again(message: OutboundMessage, now: datetime) -> None:
        message.state, message.created_at, message.due_at = State.WAITING, now, now
        message.tries, message.error, message.done_at = 0, "", None
        message.settled_by, message.settled_reason = actor.name[:150], reason.strip()

    return _change(
        message_ids, Q(state=State.DEAD), again, Action.MESSAGE_REPLAYED, user=user, actor=actor,
        reason=reason,
    )  # fmt: skip


def settle(
    message_ids: Collection[int], *, user: AbstractBaseUser, actor: Actor, reason: str
) -> int:
    """Put dead or doubtful letters away: somebody has seen to it at the platform. Repeatable.

    Right: REPLAY_DEAD. Returns how many there were. The order's notify stage ends with its
    ship notice.
    """

    def away(message: OutboundMessage, now: datetime) -> None:
        message.state, message.done_at, message.is_doubtful = State.SETTLED, now, False
        message.settled_by, message.settled_reason = actor.name[:150], reason.strip()
        endings.settled(message, now=now)

    open_ones = Q(state=State.DEAD) | Q(state=State.WAITING, is_doubtful=True)
    return _change(
        message_ids, open_ones, away, Action.MESSAGE_SETTLED, user=user, actor=actor,
        reason=reason,
    )  # fmt: skip


@transaction.atomic
def _change(
    message_ids: Collection[int],
    which: Q,
    change: Callable[[OutboundMessage, datetime], None],
    action: Action,
    *,
    user: AbstractBaseUser,
    actor: Actor,
    reason: str,
) -> int:
    require(user, Can.REPLAY_DEAD)
    if len(reason.strip()) not in REASON or "\0" in reason:
        raise BadReason(what="")
    now = clock_now()
    messages = list(
        OutboundMessage.objects.filter(which, pk__in=message_ids)
        .order_by("pk")
        .select_for_update(no_key=True)
    )
    entries = []
    for message in messages:
        was = {"state": message.state, "tries": message.tries, "error": message.error,
               "since": message.created_at}  # fmt: skip
        change(message, now)
        message.save()
        facts = {"key": message.key, "was": was}
        entries.append(Entry(action, "outbound", message.pk, facts, reason.strip()))
    record_many(entries, actor=actor, at=now)
    if messages:
        announce("shops")
        announce("orders", settled=len(messages))
    return len(messages)
