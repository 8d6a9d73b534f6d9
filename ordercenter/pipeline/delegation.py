"""Who may approve tier 3 now: the CEO, and whom he lets approve from one moment to another.

``core.policy`` stays the one table; a delegation lends the one right, to one person, in his own
name. It ends at its end, when it is taken back, or when the giver is no longer CEO.
"""

from datetime import datetime, timedelta
from typing import Final

from django.contrib.auth.models import AbstractBaseUser, Group, User
from django.db import transaction
from django.db.models import QuerySet
from django.utils.translation import gettext_lazy as _

from ordercenter.audit.models import Action
from ordercenter.audit.services import record
from ordercenter.core.actor import Actor
from ordercenter.core.clock import now as clock_now
from ordercenter.core.errors import InvalidInput, NotAllowed, NotFound, OrderCenterError
from ordercenter.core.live import announce
from ordercenter.core.policy import ALLOWED, AnyUser, Can, Role, allows, require
from ordercenter.orders.errors import BadReason
from ordercenter.orders.models import Delegation

LONGEST: Final = timedelta(days=30)
REASON: Final = range(5, 501)
OBJECT: Final = "delegation"
"""What the audit calls one."""


class AlreadyDelegated(OrderCenterError):
    code = "already_delegated"
    message = _("这段时间已经授权给 %(who)s")


def in_force(now: datetime) -> QuerySet[Delegation]:
    """The delegations that count at this moment, were their givers still CEO."""
    return Delegation.objects.filter(starts_at__lte=now, ends_at__gt=now, revoked_at=None)


def may_approve(user: AnyUser, *, now: datetime | None = None) -> bool:
    """Whether this user may approve tier 3 now, by role or by delegation."""
    if allows(user, Can.APPROVE_TIER3):
        return True
    if not (user.is_authenticated and user.is_active):
        return False
    lent = in_force(now or clock_now()).filter(taker_id=user.pk).select_related("giver")
    return any(allows(row.giver, Can.APPROVE_TIER3) for row in lent)


def require_approval(user: AbstractBaseUser, *, now: datetime | None = None) -> None:
    """Raise NotAllowed unless ``user`` may approve tier 3; keep it so until the commit.

    In the caller's transaction, before any order is locked. The rows the right hangs on are
    locked: who takes it away waits, and who has taken it away is seen (K24).
    """
    if _holds_right(user.pk):
        return
    lent = in_force(now or clock_now()).filter(taker_id=user.pk).order_by("pk")
    if _is_active(user.pk):
        for row in lent.select_for_update(of=("self",)):
            if _holds_right(row.giver_id):
                return
    raise NotAllowed(what=Can.APPROVE_TIER3.label)


def _is_active(user_id: int) -> bool:
    return User.objects.select_for_update(no_key=True).filter(pk=user_id, is_active=True).exists()


def _holds_right(user_id: int) -> bool:
    """Whether the user has a role that approves, read fresh and locked against its loss."""
    roles = [role.value for role in ALLOWED[Can.APPROVE_TIER3]]
    groups = Group.objects.filter(name__in=roles).values_list("pk", flat=True)
    memberships = User.groups.through.objects.filter(user_id=user_id, group_id__in=list(groups))
    # the memberships first: who has none is not locked at all
    return bool(memberships.order_by("pk").select_for_update()) and _is_active(user_id)


@transaction.atomic
def delegate(
    taker: User,
    *,
    starts_at: datetime,
    ends_at: datetime,
    reason: str,
    user: AbstractBaseUser,
    actor: Actor,
    now: datetime | None = None,
) -> Delegation:
    """Let ``taker`` approve from ``starts_at`` until ``ends_at``; asked twice, it is one.

    The taker must be one who may ask for a release himself, and never approves his own request.
    Raises InvalidInput for a time that is past, empty or longer than 30 days.
    """
    require(user, Can.DELEGATE_APPROVAL)
    now = now or clock_now()
    reason = reason.strip()
    if len(reason) not in REASON or "\0" in reason:
        raise BadReason(what="")
    if ends_at <= max(starts_at, now):
        raise InvalidInput(what=_("结束时间要晚于开始时间和现在"))
    if ends_at - starts_at > LONGEST:
        raise InvalidInput(what=_("一次最多授权 30 天"))
    if taker.pk == user.pk:
        raise InvalidInput(what=_("不能授权给自己"))
    if not allows(taker, Can.ASK_TIER3):
        raise InvalidInput(what=_("只能授权给审单员或主管"))
    # Two clicks at once queue here.
    User.objects.select_for_update(no_key=True).get(pk=user.pk)
    overlapping = Delegation.objects.filter(
        giver_id=user.pk, taker=taker, revoked_at=None, starts_at__lt=ends_at,
        ends_at__gt=starts_at,
    )  # fmt: skip
    if overlapping.exists():
        raise AlreadyDelegated(who=taker.get_full_name() or taker.get_username())
    made = Delegation.objects.create(
        giver_id=user.pk, taker=taker, starts_at=starts_at, ends_at=ends_at, reason=reason,
        made_at=now,
    )  # fmt: skip
    change = {"taker": [None, taker.get_username()], "from": starts_at.isoformat(),
              "until": ends_at.isoformat()}  # fmt: skip
    record(Action.APPROVAL_DELEGATED, object_type=OBJECT, object_id=made.pk, actor=actor,
           change=change, reason=reason)  # fmt: skip
    announce("orders", delegated=made.pk)
    return made


@transaction.atomic
def take_back(
    pk: int, *, user: AbstractBaseUser, actor: Actor, now: datetime | None = None
) -> bool:
    """End one delegation before its time. Return whether it still counted."""
    require(user, Can.DELEGATE_APPROVAL)
    row = Delegation.objects.select_for_update().filter(pk=pk).first()
    now = now or clock_now()  # behind the lock: an approval that came first came before it
    if row is None:
        raise NotFound(what=_("这条授权"))
    if row.revoked_at is not None or row.ends_at <= now:
        return False
    row.revoked_at = now
    row.save(update_fields=["revoked_at"])
    record(Action.APPROVAL_DELEGATED, object_type=OBJECT, object_id=pk, actor=actor,
           change={"revoked": [None, now.isoformat()]}, reason=str(_("收回授权")))  # fmt: skip
    announce("orders", delegated=pk)
    return True


def takers() -> QuerySet[User]:
    """Who can be let approve: active people who may ask, and may not approve already."""
    names = [role.value for role in ALLOWED[Can.ASK_TIER3] - ALLOWED[Can.APPROVE_TIER3]]
    ceo = User.objects.filter(groups__name=Role.CEO.value)
    people = User.objects.filter(is_active=True, groups__name__in=names).exclude(pk__in=ceo)
    return people.distinct().order_by("first_name", "username")
