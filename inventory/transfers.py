"""Goods that go from one virtual warehouse to another.

On their way they belong to the warehouse they go to, in transit; what left one and has not come
into the other is never nowhere.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils.translation import gettext as _

from inventory import papers
from inventory.ledger import Move, open_levels, post
from inventory.models import Account, Transfer, TransferLine
from ordercenter.audit.models import Action
from ordercenter.audit.services import record
from ordercenter.core.actor import Actor
from ordercenter.core.clock import now as clock_now
from ordercenter.core.errors import InvalidInput, NotFound
from ordercenter.core.policy import AnyUser, Can, require

PREFIX: Final = "DB"
S: Final = Transfer.State


@dataclass(frozen=True, slots=True)
class Arrival:
    """What came of one line just now, and what did not. ``seen``: units settled before."""

    line_id: int
    received: int
    lost: int
    seen: int


def visible_to(user: AnyUser) -> QuerySet[Transfer]:
    """Transfers that begin or end where this user works."""
    rooms = papers.rooms_of(user)
    return Transfer.objects.filter(Q(source__in=rooms) | Q(target__in=rooms))


def rest_of(line: TransferLine) -> int:
    """Units of a sent line that are still on their way."""
    return line.quantity - line.received - line.lost


@transaction.atomic
def draft(
    source_id: int,
    target_id: int,
    goods: Mapping[int, int],
    *,
    user: AnyUser,
    actor: Actor,
    number: str = "",
    note: str = "",
    now: datetime | None = None,
) -> Transfer:
    """Write down what is to go where; nothing moves yet.

    Safe to repeat with the same ``number``: the first paper is the answer.
    """
    now = now or clock_now()
    if source_id == target_id:
        raise InvalidInput(what=_("调出与调入不能是同一个仓"))
    papers.room_for(source_id, user)
    _open_room(target_id)
    wanted = papers.checked_goods(goods)
    transfer, fresh = Transfer.objects.get_or_create(
        number=number or papers.new_number(PREFIX, now),
        defaults={
            "source_id": source_id,
            "target_id": target_id,
            "note": papers.checked_words(note),
            "created_by": actor.name[:80],
            "created_at": now,
        },
    )
    if fresh:
        TransferLine.objects.bulk_create(
            [
                TransferLine(transfer=transfer, sku_id=sku, quantity=units)
                for sku, units in sorted(wanted.items())
            ]
        )
        _tell(transfer, actor, {"units": [0, sum(wanted.values())]}, reason=transfer.note)
    return transfer


def _open_room(room_id: int) -> None:
    """The place goods go to need not be the sender's, but it has to be open."""
    if not papers.all_rooms().filter(pk=room_id).exists():
        raise InvalidInput(what=_("没有这个仓库，或仓库已停用"))


@transaction.atomic
def send(transfer_id: int, *, user: AnyUser, actor: Actor, now: datetime | None = None) -> Transfer:
    """The goods leave. Never what orders were promised or shops have set aside. Once."""
    now = now or clock_now()
    transfer = _locked(transfer_id, user, end="source_id")
    if transfer.state in {S.SENT, S.RECEIVED}:
        return transfer
    _require(transfer, S.DRAFT)
    lines = list(transfer.lines.select_related("sku").order_by("pk"))
    levels = open_levels([transfer.source_id, transfer.target_id], [line.sku_id for line in lines])
    by_pk = {level.pk: level for level in levels.values()}
    papers.refuse_if_held(
        {levels[transfer.source_id, line.sku_id].pk: line.quantity for line in lines}, by_pk
    )
    moves = []
    for line in lines:
        here = levels[transfer.source_id, line.sku_id].pk
        there = levels[transfer.target_id, line.sku_id].pk
        moves.append(Move(here, Account.AVAILABLE, Account.BETWEEN, line.quantity))
        moves.append(Move(there, Account.BETWEEN, Account.TRANSIT, line.quantity))
    post(moves, reason="transfer", document=_paper(transfer), actor=actor, now=now)
    transfer.state, transfer.sent_at = S.SENT, now
    transfer.save(update_fields=["state", "sent_at"])
    _tell(transfer, actor, {"state": [S.DRAFT, S.SENT]})
    return transfer


@transaction.atomic
def receive(
    transfer_id: int,
    arrivals: Sequence[Arrival],
    *,
    user: AnyUser,
    actor: Actor,
    reason: str = "",
    now: datetime | None = None,
) -> Transfer:
    """What came can be sold here; what was lost on the way is gone, for a reason.

    Raises StalePaper where somebody has received of the same line since the form was made.
    """
    now = now or clock_now()
    transfer = _locked(transfer_id, user, end="target_id")
    _require(transfer, S.SENT)
    lines = {line.pk: line for line in transfer.lines.order_by("pk")}
    told = [arrival for arrival in arrivals if arrival.received or arrival.lost]
    words = papers.checked_words(reason, least=2 if any(a.lost for a in told) else 0)
    _check(transfer, told, lines)
    room = transfer.target_id
    levels = open_levels([room], {lines[a.line_id].sku_id for a in told})
    moves = []
    for arrival in told:
        line = lines[arrival.line_id]
        level = levels[room, line.sku_id].pk
        moves.append(Move(level, Account.TRANSIT, Account.AVAILABLE, arrival.received))
        moves.append(Move(level, Account.TRANSIT, Account.OUTSIDE, arrival.lost))
        line.received += arrival.received
        line.lost += arrival.lost
    post(moves, reason="transfer", document=_paper(transfer), actor=actor, now=now)
    TransferLine.objects.bulk_update([lines[a.line_id] for a in told], ["received", "lost"])
    if not any(rest_of(line) for line in lines.values()):
        transfer.state, transfer.received_at = S.RECEIVED, now
        transfer.save(update_fields=["state", "received_at"])
    settled = {str(lines[a.line_id].sku_id): [a.received, a.lost] for a in told}
    _tell(transfer, actor, {"received": settled, "state": transfer.state}, reason=words)
    return transfer


def _check(
    transfer: Transfer, arrivals: Sequence[Arrival], lines: Mapping[int, TransferLine]
) -> None:
    if not arrivals or len({arrival.line_id for arrival in arrivals}) != len(arrivals):
        raise InvalidInput(what=_("请填写实收件数，每行一次"))
    for arrival in arrivals:
        line = lines.get(arrival.line_id)
        if line is None:
            raise NotFound(what=_("调拨明细"))
        papers.checked_units(arrival.received)
        papers.checked_units(arrival.lost)
        if arrival.seen != line.received + line.lost:
            raise papers.StalePaper(number=transfer.number)
        if arrival.received + arrival.lost > rest_of(line):
            raise InvalidInput(
                what=_("%(sku)s 在途只有 %(rest)d 件；多到的请收完后做库存调整")
                % {"sku": line.sku.code, "rest": rest_of(line)}
            )


@transaction.atomic
def cancel(transfer_id: int, *, user: AnyUser, actor: Actor) -> Transfer:
    """Nothing goes. Only while nothing has gone."""
    transfer = _locked(transfer_id, user, end="source_id")
    if transfer.state == S.CANCELED:
        return transfer
    _require(transfer, S.DRAFT)
    transfer.state = S.CANCELED
    transfer.save(update_fields=["state"])
    _tell(transfer, actor, {"state": [S.DRAFT, S.CANCELED]})
    return transfer


def _locked(transfer_id: int, user: AnyUser, *, end: str) -> Transfer:
    """The paper, so that nobody else works on it; ``end`` is where the user has to work."""
    require(user, Can.MOVE_STOCK)
    transfer = Transfer.objects.select_for_update(no_key=True).filter(pk=transfer_id).first()
    if transfer is None or not visible_to(user).filter(pk=transfer.pk).exists():
        raise NotFound(what=_("调拨单"))
    papers.room_for(getattr(transfer, end), user)
    return transfer


def _require(transfer: Transfer, state: Transfer.State) -> None:
    if transfer.state != state:
        raise papers.PaperClosed(number=transfer.number, state=transfer.get_state_display())


def _paper(transfer: Transfer) -> str:
    return f"transfer:{transfer.pk}"


def _tell(
    transfer: Transfer, actor: Actor, change: Mapping[str, object], *, reason: str = ""
) -> None:
    record(
        Action.STOCK_MOVED, object_type="transfer", object_id=transfer.pk, actor=actor,
        change={"number": transfer.number, **change}, reason=reason,
    )  # fmt: skip
