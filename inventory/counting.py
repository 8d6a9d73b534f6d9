"""Counting the shelves while orders move.

A line keeps what the books said at the moment it was counted. The difference is applied as such:
what was received or shipped since is in the books and is no difference.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Final

from django.db import transaction
from django.db.models import QuerySet
from django.utils.translation import gettext as _

from inventory import papers
from inventory.ledger import Move, open_levels, post
from inventory.models import Account, CountLine, StockCount, StockLevel, StockPolicy
from ordercenter.audit.models import Action
from ordercenter.audit.services import record
from ordercenter.catalog.models import Sku
from ordercenter.core.actor import Actor
from ordercenter.core.clock import now as clock_now
from ordercenter.core.errors import InvalidInput, NotAllowed, NotFound
from ordercenter.core.policy import AnyUser, Can, require

PREFIX: Final = "PD"
S: Final = StockCount.State
MOST_LINES: Final = 5_000


def visible_to(user: AnyUser) -> QuerySet[StockCount]:
    """Counts in the warehouses this user works in."""
    return StockCount.objects.filter(virtual_warehouse__in=papers.rooms_of(user))


def difference_of(line: CountLine) -> int:
    """Units found beyond the books at the moment of counting; nothing while it is not counted."""
    return 0 if line.counted is None else line.counted - line.snapshot


@transaction.atomic
def open_count(
    room_id: int,
    sku_ids: Collection[int] | None = None,
    *,
    user: AnyUser,
    actor: Actor,
    number: str = "",
    now: datetime | None = None,
) -> StockCount:
    """Begin to count these SKUs, or all that the warehouse has (None).

    Safe to repeat with the same ``number``: the first paper is the answer.
    """
    now = now or clock_now()
    papers.room_for(room_id, user)
    if sku_ids is not None:
        papers.checked_goods(dict.fromkeys(sku_ids, 1))
    count, fresh = StockCount.objects.get_or_create(
        number=number or papers.new_number(PREFIX, now),
        defaults={
            "virtual_warehouse_id": room_id,
            "created_by": actor.name[:80],
            "created_by_id": user.pk,
            "created_at": now,
        },
    )
    if not fresh:
        return count
    levels = _levels_to_count(room_id, sku_ids)
    CountLine.objects.bulk_create(
        [CountLine(count=count, level=level, snapshot=level.on_hand) for level in levels],
        batch_size=1000,
    )
    _tell(count, actor, {"lines": [0, len(levels)]})
    return count


def _levels_to_count(room_id: int, sku_ids: Collection[int] | None) -> Sequence[StockLevel]:
    if sku_ids is not None:
        return list(open_levels([room_id], sku_ids).values())
    levels = list(
        StockLevel.objects.filter(virtual_warehouse_id=room_id).order_by("pk")[: MOST_LINES + 1]
    )
    if not 1 <= len(levels) <= MOST_LINES:
        raise InvalidInput(
            what=_("这个仓有 %(n)d 种货品，请选 1 到 %(most)d 种盘点")
            % {"n": len(levels), "most": MOST_LINES}
        )
    return levels


@transaction.atomic
def count_sku(
    count_id: int,
    sku_id: int,
    units: int,
    *,
    user: AnyUser,
    actor: Actor,
    now: datetime | None = None,
) -> CountLine:
    """So many units lie on the shelf just now, whoever they are promised to; counted again, the
    last word stands. What is found and was not to be counted is counted, too.
    """
    now = now or clock_now()
    papers.checked_units(units)
    count = _locked(count_id, user)
    if not Sku.objects.filter(pk=sku_id).exists():
        raise InvalidInput(what=_("没有这个货品"))
    room = count.virtual_warehouse_id
    level = open_levels([room], [sku_id])[room, sku_id]
    line = CountLine.objects.filter(count=count, level=level).first()
    line = line or CountLine(count=count, level=level)
    line.snapshot, line.counted = level.on_hand, units
    line.counted_by, line.counted_by_id, line.counted_at = actor.name[:80], user.pk, now
    line.save()
    return line


@transaction.atomic
def leave_out(count_id: int, line_id: int, *, user: AnyUser, actor: Actor) -> CountLine:
    """This line's figure does not count: it is not applied unless it is counted again."""
    count = _locked(count_id, user, states=(S.OPEN, S.WAITING))
    line = count.lines.filter(pk=line_id).first()
    if line is None:
        raise NotFound(what=_("盘点明细"))
    if line.counted is not None:
        was, line.counted = line.counted, None
        line.save(update_fields=["counted"])
        _tell(count, actor, {"left_out": line.level_id, "counted": [was, None]})
    return line


@transaction.atomic
def submit(
    count_id: int, *, user: AnyUser, actor: Actor, now: datetime | None = None
) -> StockCount:
    """Counting is over. Applied at once where no line differs by more than the policy's limit;
    else a second person decides. Raises HeldByOrders as ``approve`` does.
    """
    now = now or clock_now()
    count = _locked(count_id, user, states=(S.OPEN, S.WAITING, S.APPLIED))
    if count.state != S.OPEN:
        return count
    lines = _counted(count)
    if not lines:
        raise InvalidInput(what=_("还没有盘任何货品"))
    count.submitted_by, count.submitted_by_id, count.submitted_at = actor.name[:80], user.pk, now
    if largest(lines) <= StockPolicy.current().two_person_units:
        return _apply(count, actor=actor, now=now)
    count.state = S.WAITING
    count.save()
    _tell(count, actor, {"state": [S.OPEN, S.WAITING]})
    return count


@transaction.atomic
def approve(
    count_id: int, *, user: AnyUser, actor: Actor, now: datetime | None = None
) -> StockCount:
    """A second person agrees: each difference is added to what the level has by now.

    Raises NotAllowed for who opened, counted or submitted, and HeldByOrders naming the orders
    where a difference would take what is promised; nothing is applied then.
    """
    now = now or clock_now()
    require(user, Can.APPROVE_STOCK)
    count = _locked(count_id, user, right=Can.APPROVE_STOCK, states=(S.WAITING, S.APPLIED))
    if count.state == S.APPLIED:
        return count
    counters = count.lines.filter(counted_by_id=user.pk).exists()
    if counters or user.pk in {count.submitted_by_id, count.created_by_id}:
        raise NotAllowed(what=_("复核自己参与的盘点"))
    return _apply(count, actor=actor, now=now)


@transaction.atomic
def reopen(count_id: int, *, reason: str, user: AnyUser, actor: Actor) -> StockCount:
    """The second person does not believe it: count again."""
    require(user, Can.APPROVE_STOCK)
    words = papers.checked_words(reason, least=2)
    count = _locked(count_id, user, right=Can.APPROVE_STOCK, states=(S.OPEN, S.WAITING))
    if count.state == S.WAITING:
        count.state = S.OPEN
        count.save(update_fields=["state"])
        _tell(count, actor, {"state": [S.WAITING, S.OPEN]}, reason=words)
    return count


@transaction.atomic
def cancel(
    count_id: int, *, reason: str, user: AnyUser, actor: Actor, now: datetime | None = None
) -> StockCount:
    """Nothing of it is applied."""
    words = papers.checked_words(reason, least=2)
    count = _locked(count_id, user, states=(S.OPEN, S.WAITING, S.CANCELED))
    if count.state != S.CANCELED:
        was, count.state = count.state, S.CANCELED
        count.closed_by, count.closed_at = actor.name[:80], now or clock_now()
        count.save()
        _tell(count, actor, {"state": [was, S.CANCELED]}, reason=words)
    return count


def largest(lines: Sequence[CountLine]) -> int:
    """The largest difference of any line, in units."""
    return max((abs(difference_of(line)) for line in lines), default=0)


def _counted(count: StockCount) -> list[CountLine]:
    return list(count.lines.filter(counted__isnull=False).order_by("level"))


def _apply(count: StockCount, *, actor: Actor, now: datetime) -> StockCount:
    lines = [line for line in _counted(count) if difference_of(line)]
    levels = StockLevel.objects.locked([line.level_id for line in lines])
    papers.refuse_if_held(
        {line.level_id: -difference_of(line) for line in lines if difference_of(line) < 0}, levels
    )
    post(
        [_move(line) for line in lines],
        reason="count", document=f"count:{count.pk}", actor=actor, now=now,
    )  # fmt: skip
    was, count.state = count.state, S.APPLIED
    count.closed_by, count.closed_at = actor.name[:80], now
    count.save()
    found = {str(line.level_id): [line.snapshot, line.counted] for line in lines}
    _tell(count, actor, {"state": [was, S.APPLIED], "differences": found})
    return count


def _move(line: CountLine) -> Move:
    units = difference_of(line)
    ends = (Account.OUTSIDE, Account.AVAILABLE)
    source, target = ends if units > 0 else ends[::-1]
    return Move(line.level_id, source, target, abs(units))


def _locked(
    count_id: int,
    user: AnyUser,
    *,
    right: Can = Can.MOVE_STOCK,
    states: Collection[StockCount.State] = (S.OPEN,),
) -> StockCount:
    """The paper, so that nobody else works on it."""
    require(user, right)
    count = StockCount.objects.select_for_update(no_key=True).filter(pk=count_id).first()
    if count is None or not visible_to(user).filter(pk=count_id).exists():
        raise NotFound(what=_("盘点单"))
    if count.state not in states:
        raise papers.PaperClosed(number=count.number, state=count.get_state_display())
    return count


def _tell(
    count: StockCount, actor: Actor, change: Mapping[str, object], *, reason: str = ""
) -> None:
    record(
        Action.STOCK_COUNTED, object_type="stock_count", object_id=count.pk, actor=actor,
        change={"number": count.number, **change}, reason=reason,
    )  # fmt: skip
