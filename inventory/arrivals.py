"""Goods that come from suppliers: announced, received in parts, more or less than announced.

Locks: levels, then the paper, then its lines; who promises what is to come takes them alike.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from django.db import transaction
from django.db.models import F, QuerySet
from django.utils.translation import gettext as _

from inventory import papers
from inventory.ledger import Move, open_levels, post
from inventory.models import Account, Inbound, InboundLine
from ordercenter.audit.models import Action
from ordercenter.audit.services import record
from ordercenter.core.actor import Actor
from ordercenter.core.clock import now as clock_now
from ordercenter.core.errors import InvalidInput, NotFound
from ordercenter.core.policy import AnyUser, Can, require

PREFIX: Final = "RK"
S: Final = Inbound.State
OPEN: Final = (S.EXPECTED.value, S.PARTLY.value)


@dataclass(frozen=True, slots=True)
class Receipt:
    """What came of one line just now. ``seen``: units that had come when the form was made."""

    line_id: int
    good: int
    defect: int
    seen: int


@dataclass(frozen=True, slots=True)
class Received:
    """What a receipt put on the shelf."""

    inbound: Inbound
    room_id: int
    good: Mapping[int, int] = field(default_factory=dict)
    """Units that can be sold, by SKU."""
    line_ids: tuple[int, ...] = ()


def visible_to(user: AnyUser) -> QuerySet[Inbound]:
    """Papers of the warehouses this user works in."""
    return Inbound.objects.filter(virtual_warehouse__in=papers.rooms_of(user))


def rest_of(line: InboundLine) -> int:
    """Units of a line that have not come; never below none, whatever the surplus."""
    return max(0, line.expected - line.received - line.defect)


@transaction.atomic
def announce(
    room_id: int,
    goods: Mapping[int, int],
    *,
    expected_at: datetime,
    user: AnyUser,
    actor: Actor,
    number: str = "",
    supplier: str = "",
    note: str = "",
    now: datetime | None = None,
) -> Inbound:
    """Write down units by SKU that a supplier sends: they count as inbound, and cannot be sold.

    Safe to repeat with the same ``number``: the first paper is the answer.
    """
    now = now or clock_now()
    papers.room_for(room_id, user)
    wanted = papers.checked_goods(goods)
    inbound, fresh = Inbound.objects.get_or_create(
        number=number or papers.new_number(PREFIX, now),
        defaults={
            "virtual_warehouse_id": room_id,
            "supplier": papers.checked_words(supplier, longest=100),
            "note": papers.checked_words(note),
            "expected_at": expected_at,
            "created_by": actor.name[:80],
            "created_at": now,
        },
    )
    if not fresh:
        return inbound
    InboundLine.objects.bulk_create(
        [InboundLine(inbound=inbound, sku_id=sku, expected=n) for sku, n in sorted(wanted.items())]
    )
    levels = open_levels([room_id], wanted)
    post(
        [
            Move(levels[room_id, sku].pk, Account.OUTSIDE, Account.INBOUND, units)
            for sku, units in wanted.items()
        ],
        reason="announce", document=_paper(inbound), actor=actor, now=now,
    )  # fmt: skip
    _tell(inbound, actor, {"expected": [0, sum(wanted.values())]}, reason=inbound.note)
    return inbound


@transaction.atomic
def receive(
    inbound_id: int,
    receipts: Sequence[Receipt],
    *,
    user: AnyUser,
    actor: Actor,
    surplus: bool = False,
    now: datetime | None = None,
) -> Received:
    """Put what came on the shelf, and what is damaged beside it.

    ``surplus`` says that more than announced is no slip. Raises StalePaper where somebody has
    received of the same line since the form was made, so that one receipt sent twice counts once.
    """
    now = now or clock_now()
    told = [receipt for receipt in receipts if receipt.good or receipt.defect]
    room, sku_ids = goods_of(inbound_id, told, user=user)
    levels = open_levels([room], sku_ids)
    inbound = _locked(inbound_id, user)
    lines = {line.pk: line for line in inbound.lines.order_by("pk").select_for_update(no_key=True)}
    _check(inbound, told, lines, surplus=surplus)
    moves: list[Move] = []
    for receipt in told:
        line = lines[receipt.line_id]
        moves += _moves(receipt, rest_of(line), levels[room, line.sku_id].pk)
        line.received += receipt.good
        line.defect += receipt.defect
    post(moves, reason="receive", document=_paper(inbound), actor=actor, now=now)
    InboundLine.objects.bulk_update([lines[r.line_id] for r in told], ["received", "defect"])
    inbound.state = S.PARTLY if any(rest_of(line) for line in lines.values()) else S.RECEIVED
    inbound.save(update_fields=["state"])
    good = {lines[r.line_id].sku_id: r.good for r in told if r.good}
    _tell(inbound, actor, {
        "received": {str(lines[r.line_id].sku_id): [r.good, r.defect] for r in told},
        "state": inbound.state,
    })  # fmt: skip
    return Received(inbound, room, good, tuple(r.line_id for r in told))


def _check(
    inbound: Inbound,
    receipts: Sequence[Receipt],
    lines: Mapping[int, InboundLine],
    *,
    surplus: bool,
) -> None:
    if not receipts:
        raise InvalidInput(what=_("请填写实收件数"))
    if len({receipt.line_id for receipt in receipts}) != len(receipts):
        raise InvalidInput(what=_("同一行填了两次"))
    for receipt in receipts:
        line = lines[receipt.line_id]
        papers.checked_units(receipt.good)
        papers.checked_units(receipt.defect)
        if receipt.seen != line.received + line.defect:
            raise papers.StalePaper(number=inbound.number)
        over = receipt.good + receipt.defect - rest_of(line)
        if over > 0 and not surplus:
            raise InvalidInput(
                what=_("%(sku)s 比应到多 %(over)d 件；确实多到请勾选“确认多收”")
                % {"sku": line.sku.code, "over": over}
            )


def _moves(receipt: Receipt, rest: int, level: int) -> list[Move]:
    """What came counts against what was announced; what comes beyond that is from outside."""
    moves = []
    for units, target in ((receipt.good, Account.AVAILABLE), (receipt.defect, Account.DEFECT)):
        announced = min(units, rest)
        rest -= announced
        moves.append(Move(level, Account.INBOUND, target, announced))
        moves.append(Move(level, Account.OUTSIDE, target, units - announced))
    return moves


@transaction.atomic
def close(
    inbound_id: int, *, reason: str, user: AnyUser, actor: Actor, now: datetime | None = None
) -> Inbound:
    """Nothing more comes of this paper: what is still out is not expected any longer.

    Closed already, it stays as it is.
    """
    now = now or clock_now()
    words = papers.checked_words(reason, least=2)
    inbound = _seen(inbound_id, user)
    room = inbound.virtual_warehouse_id
    levels = open_levels([room], list(inbound.lines.values_list("sku_id", flat=True)))
    inbound = _locked(inbound_id, user, even_closed=True)
    if inbound.state not in OPEN:
        return inbound
    lines = list(inbound.lines.order_by("pk").select_for_update(no_key=True))
    missing = {line.sku_id: rest_of(line) for line in lines if rest_of(line)}
    post(
        [
            Move(levels[room, sku].pk, Account.INBOUND, Account.OUTSIDE, units)
            for sku, units in missing.items()
        ],
        reason="shortfall", document=_paper(inbound), actor=actor, now=now,
    )  # fmt: skip
    some = any(line.received or line.defect for line in lines)
    inbound.state = S.RECEIVED if some else S.CANCELED
    inbound.save(update_fields=["state"])
    _tell(inbound, actor, {"missing": missing, "state": inbound.state}, reason=words)
    return inbound


@transaction.atomic
def reschedule(
    inbound_id: int, expected_at: datetime, *, reason: str, user: AnyUser, actor: Actor
) -> Inbound:
    """The goods come at another time."""
    words = papers.checked_words(reason, least=2)
    inbound = _locked(inbound_id, user)
    was, inbound.expected_at = inbound.expected_at, expected_at
    inbound.save(update_fields=["expected_at"])
    _tell(inbound, actor, {"expected_at": [was.isoformat(), expected_at.isoformat()]}, reason=words)
    return inbound


def announced(sku_ids: Sequence[int]) -> dict[int, list[InboundLine]]:
    """Lines with units still to come, by SKU, the earliest first."""
    found: dict[int, list[InboundLine]] = {}
    lines = (
        InboundLine.objects.filter(sku_id__in=sku_ids, inbound__state__in=OPEN)
        .filter(expected__gt=F("received") + F("defect"))
        .select_related("inbound__virtual_warehouse")
        .order_by("inbound__expected_at", "pk")
    )
    for line in lines:
        found.setdefault(line.sku_id, []).append(line)
    return found


def goods_of(
    inbound_id: int, receipts: Sequence[Receipt], *, user: AnyUser
) -> tuple[int, set[int]]:
    """(virtual warehouse, SKUs) these receipts speak of. Raises NotAllowed and NotFound."""
    inbound = _seen(inbound_id, user)
    sku_of = dict(inbound.lines.values_list("pk", "sku_id"))
    if any(receipt.line_id not in sku_of for receipt in receipts):
        raise NotFound(what=_("到货明细"))
    return inbound.virtual_warehouse_id, {sku_of[receipt.line_id] for receipt in receipts}


def _seen(inbound_id: int, user: AnyUser) -> Inbound:
    require(user, Can.MOVE_STOCK)
    inbound = visible_to(user).filter(pk=inbound_id).first()
    if inbound is None:
        raise NotFound(what=_("到货单"))
    return inbound


def _locked(inbound_id: int, user: AnyUser, *, even_closed: bool = False) -> Inbound:
    """The paper, so that nobody else works on it."""
    _seen(inbound_id, user)
    inbound = Inbound.objects.select_for_update(no_key=True).get(pk=inbound_id)
    if inbound.state not in OPEN and not even_closed:
        raise papers.PaperClosed(number=inbound.number, state=inbound.get_state_display())
    return inbound


def _paper(inbound: Inbound) -> str:
    return f"inbound:{inbound.pk}"


def _tell(
    inbound: Inbound, actor: Actor, change: Mapping[str, object], *, reason: str = ""
) -> None:
    record(
        Action.STOCK_RECEIVED, object_type="inbound", object_id=inbound.pk, actor=actor,
        change={"number": inbound.number, **change}, reason=reason,
    )  # fmt: skip
