"""Corrections of what a level has: small ones at once, large ones when a second person agrees."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet, Sum, TextChoices
from django.db.models.functions import Abs
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from inventory import papers
from inventory.ledger import Move, open_levels, post
from inventory.models import Account, Adjustment, StockLevel, StockPolicy
from ordercenter.audit.models import Action
from ordercenter.audit.services import Entry, record_many
from ordercenter.core.actor import Actor
from ordercenter.core.clock import now as clock_now
from ordercenter.core.errors import NotAllowed, NotFound, OrderCenterError
from ordercenter.core.policy import AnyUser, Can, require

S: Final = Adjustment.State
LOOK_BACK: Final = timedelta(hours=24)
"""Corrections of one level by one person are added up over this long, so that a large one cannot
go as many small ones."""


class Kind(TextChoices):
    """What a correction is about."""

    FOUND = "found", gettext_lazy("多出（盘盈、退回上架）")
    GONE = "gone", gettext_lazy("减少（遗失、损耗）")
    TO_DEFECT = "to_defect", gettext_lazy("良品转残次")
    MENDED = "mended", gettext_lazy("残次转良品")
    SCRAPPED = "scrapped", gettext_lazy("残次报废")


_SIGN: Final[Mapping[Kind, int]] = {
    Kind.FOUND: 1, Kind.GONE: -1, Kind.TO_DEFECT: -1, Kind.MENDED: 1, Kind.SCRAPPED: -1,
}  # fmt: skip


class DecidedAlready(OrderCenterError):
    code = "decided_already"
    message = gettext_lazy("这条调整已由 %(who)s 处理：%(state)s")


def visible_to(user: AnyUser) -> QuerySet[Adjustment]:
    """Corrections in the warehouses this user works in."""
    return Adjustment.objects.filter(level__virtual_warehouse__in=papers.rooms_of(user))


def kind_of(adjustment: Adjustment) -> Kind:
    if adjustment.from_defect:
        return Kind.MENDED if adjustment.delta > 0 else Kind.SCRAPPED
    if adjustment.to_defect:
        return Kind.TO_DEFECT
    return Kind.FOUND if adjustment.delta > 0 else Kind.GONE


@transaction.atomic
def adjust(
    room_id: int,
    sku_id: int,
    units: int,
    kind: Kind,
    *,
    reason: str,
    user: AnyUser,
    actor: Actor,
    key: UUID | None = None,
    now: datetime | None = None,
) -> Adjustment:
    """Correct a level by so many units: at once up to the policy's limit, else it waits.

    Safe to repeat with the same ``key``: the first correction is the answer. Raises HeldByOrders
    with the orders touched where what is to go is promised.
    """
    now = now or clock_now()
    papers.room_for(room_id, user)
    papers.checked_goods({sku_id: units})
    words = papers.checked_words(reason, least=2)
    level = open_levels([room_id], [sku_id])[room_id, sku_id]
    if key and (known := Adjustment.objects.filter(key=key).first()):
        return known
    adjustment = Adjustment(
        level=level, delta=_SIGN[kind] * units, to_defect=kind is Kind.TO_DEFECT,
        from_defect=kind in {Kind.MENDED, Kind.SCRAPPED}, reason=words, key=key,
        asked_by=actor.name[:80], asked_by_id=user.pk, asked_at=now,
    )  # fmt: skip
    _refuse_if_held([adjustment], {level.pk: level})
    book([adjustment], user=user, actor=actor, now=now)
    return adjustment


def book(
    adjustments: Sequence[Adjustment],
    *,
    user: AnyUser,
    actor: Actor,
    now: datetime,
    reason: str = "adjust",
) -> int:
    """Write new corrections of locked levels, and make the small ones; return how many these are.

    The caller has looked whether what is to go may go.
    """
    limit = StockPolicy.current().two_person_units
    lately = _corrected_lately([one.level_id for one in adjustments], user, now)
    Adjustment.objects.bulk_create(adjustments)
    small = [one for one in adjustments if lately.get(one.level_id, 0) + abs(one.delta) <= limit]
    _make(small, actor=actor, now=now, reason=reason)
    _tell([one for one in adjustments if one.state == S.WAITING], actor)
    return len(small)


def _corrected_lately(level_ids: Collection[int], user: AnyUser, now: datetime) -> dict[int, int]:
    """Units this person has corrected of each level lately without anybody's consent."""
    mine = Adjustment.objects.filter(
        level__in=level_ids, asked_by_id=user.pk, state=S.APPLIED, decided_by="",
        asked_at__gt=now - LOOK_BACK,
    )  # fmt: skip
    return dict(mine.order_by().values_list("level_id").annotate(units=Sum(Abs("delta"))))


@transaction.atomic
def decide(
    adjustment_id: int,
    *,
    agree: bool,
    user: AnyUser,
    actor: Actor,
    note: str = "",
    now: datetime | None = None,
) -> Adjustment:
    """A second person agrees, and the correction is made, or refuses it for a reason.

    Decided the same way already by the same person, it stays as it is. Raises NotAllowed for who
    asked, DecidedAlready, and HeldByOrders where what is to go has been promised meanwhile.
    """
    now = now or clock_now()
    require(user, Can.APPROVE_STOCK)
    words = papers.checked_words(note, least=0 if agree else 2)
    adjustment = Adjustment.objects.select_for_update(no_key=True).filter(pk=adjustment_id).first()
    if adjustment is None or not visible_to(user).filter(pk=adjustment_id).exists():
        raise NotFound(what=_("库存调整"))
    wanted = S.APPLIED if agree else S.REFUSED
    if adjustment.state != S.WAITING:
        if adjustment.state == wanted and adjustment.decided_by == actor.name[:80]:
            return adjustment
        raise DecidedAlready(
            who=adjustment.decided_by or adjustment.asked_by, state=adjustment.get_state_display()
        )
    if adjustment.asked_by_id == user.pk:
        raise NotAllowed(what=_("复核自己提交的调整"))
    adjustment.decided_by, adjustment.decision_note = actor.name[:80], words
    if agree:
        levels = StockLevel.objects.locked([adjustment.level_id])
        _refuse_if_held([adjustment], levels)
        _make([adjustment], actor=actor, now=now)
    else:
        adjustment.state, adjustment.decided_at = S.REFUSED, now
        adjustment.save()
        _tell([adjustment], actor)
    return adjustment


def _make(
    adjustments: Sequence[Adjustment], *, actor: Actor, now: datetime, reason: str = "adjust"
) -> None:
    """Make these corrections of levels that are locked and were looked at."""
    for adjustment in adjustments:
        adjustment.state, adjustment.decided_at = S.APPLIED, now
    post([_move(adjustment) for adjustment in adjustments], reason=reason, actor=actor, now=now)
    Adjustment.objects.bulk_update(
        adjustments, ["state", "decided_at", "decided_by", "decision_note"]
    )
    _tell(adjustments, actor)


def _move(adjustment: Adjustment) -> Move:
    ends = {
        Kind.FOUND: (Account.OUTSIDE, Account.AVAILABLE),
        Kind.GONE: (Account.AVAILABLE, Account.OUTSIDE),
        Kind.TO_DEFECT: (Account.AVAILABLE, Account.DEFECT),
        Kind.MENDED: (Account.DEFECT, Account.AVAILABLE),
        Kind.SCRAPPED: (Account.DEFECT, Account.OUTSIDE),
    }
    source, target = ends[kind_of(adjustment)]
    paper = f"adjustment:{adjustment.pk}"
    return Move(adjustment.level_id, source, target, abs(adjustment.delta), paper)


def _refuse_if_held(adjustments: Sequence[Adjustment], levels: Mapping[int, StockLevel]) -> None:
    """Refuse what would take promised units, or more defect ones than there are."""
    takes = {a.level_id: -a.delta for a in adjustments if a.delta < 0 and not a.from_defect}
    papers.refuse_if_held(takes, levels)
    for adjustment in adjustments:
        level = levels[adjustment.level_id]
        if adjustment.from_defect and level.defect < abs(adjustment.delta):
            raise papers.NotEnough(sku=_("残次品"), there=level.defect)


def _tell(adjustments: Sequence[Adjustment], actor: Actor) -> None:
    record_many(
        [
            Entry(
                Action.STOCK_ADJUSTED, "adjustment", one.pk,
                {
                    "level": one.level_id, "units": one.delta, "kind": kind_of(one).value,
                    "state": one.state,
                },
                one.decision_note or one.reason,
            )
            for one in adjustments
        ],
        actor=actor,
    )  # fmt: skip
