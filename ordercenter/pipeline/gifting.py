"""What people do about gifts: give one by hand, ship without one, see why an order earned none."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from django.contrib.auth.models import AbstractBaseUser
from django.utils.translation import gettext_lazy as _

from fulfillment.models import Parcel
from inventory.selectors import SourceMap
from ordercenter.audit.models import Action, AuditRecord
from ordercenter.catalog import gifts
from ordercenter.catalog.gifts import Earned, Gift, Strategy, judge
from ordercenter.catalog.models import Sku
from ordercenter.core.actor import Actor
from ordercenter.core.clock import now as clock_now
from ordercenter.core.errors import InvalidInput, NotFound, OrderCenterError
from ordercenter.core.policy import Can, require
from ordercenter.orders.errors import BadReason, StaleOrder, WrongState
from ordercenter.orders.models import OrderLine, SalesOrder
from ordercenter.orders.states import OPEN, HoldKind, OrderStatus
from ordercenter.pipeline import gift_facts, giving, regiving
from ordercenter.pipeline.path import take
from ordercenter.pipeline.publishing import telling_stock
from ordercenter.pipeline.work import Line, Work, load, new_lines
from risk import services as risk

REASON: Final = range(5, 501)
MOST: Final = 99
"""More pieces of one gift nobody gives by hand."""


class GiftShort(OrderCenterError):
    code = "gift_short"
    message = _("赠品 %(name)s 库存不足，订单未改动")


# --- by hand --------------------------------------------------------------------------------


@telling_stock()
def give_by_hand(
    order_id: int,
    choice: str,
    quantity: int | None = None,
    *,
    user: AbstractBaseUser,
    actor: Actor,
    seen_version: int,
    reason: str,
) -> None:
    """Add a gift to an order of which nothing is picked. Right: REVIEW.

    ``choice`` is the code of an active strategy for people, or of an active gift SKU. What the
    order holds of the stock stays held. Raises GiftShort, having changed nothing, when the
    order holds its stock already and the gift is not to be had.
    """
    require(user, Can.REVIEW)
    reason = _reason(reason)
    work = _open(order_id, user=user, seen_version=seen_version, what="加赠")
    strategy, gift, pieces = _chosen(work, choice)
    pieces = quantity or pieces
    if not 1 <= pieces <= MOST:
        raise InvalidInput(what=f"赠品件数须为 1 到 {MOST}")
    (pk,) = new_lines(1)
    line = giving.gift_line(work, pk, gift, pieces, strategy or gifts.MANUAL)
    giving.note(work, line, f"{actor.name}：{reason}")
    _hold_anew(work, [line], actor=actor)
    _record(work, actor=actor, reason=reason)


def _chosen(work: Work, choice: str) -> tuple[str, Gift, int]:
    """(strategy or "", gift, pieces) of what was chosen; refused where it does not fit."""
    for row in gifts.strategies():
        if row.is_active and row.is_manual and row.code == choice:
            step = _step(row, work)
            return row.code, step.step.gift, step.step.quantity
    sku = Sku.objects.filter(code=choice, is_gift=True, is_active=True).first()
    if sku is None:
        raise InvalidInput(what="请选择要加赠的赠品")
    return "", Gift(sku.pk, sku.code, sku.name), 1


def _step(row: Strategy, work: Work) -> Earned:
    refunded = gift_facts.refunded_of([work.id]).get(work.id, ())
    basket = gift_facts.basket_of(work, work.lines, row.gifts, refunded)
    verdict = judge(row, basket)
    if not isinstance(verdict, Earned):
        raise InvalidInput(what=f"不符合“{row.name}”：{verdict.words}")
    used = _used_up(row, work.evidence.buyer, is_locked=True)
    if used:
        raise InvalidInput(what=f"不符合“{row.name}”：{used}")
    return verdict


@telling_stock()
def drop_gift(
    order_id: int,
    line_id: int,
    *,
    user: AbstractBaseUser,
    actor: Actor,
    seen_version: int | None = None,
    reason: str,
) -> None:
    """Ship an order without one of its gifts; nothing gives it again. Right: WORK_SHORTAGE.

    The rest goes on at once where only this gift was short. A line that is dropped already is
    left as it is.
    """
    require(user, Can.WORK_SHORTAGE)
    reason = _reason(reason)
    work = _open(order_id, user=user, seen_version=seen_version, what="撤赠")
    line = next((ln for ln in work.lines if ln.id == line_id and ln.is_gift), None)
    if line is None:
        raise NotFound(what=f"赠品行 {line_id}")
    if line.is_dropped:
        return
    work.drop(line)
    if not work.goods:
        raise InvalidInput(what="订单只剩这件赠品，请改为取消订单")
    work.must_gift = False
    giving.note(work, line, f"{actor.name}：{reason}", "declined")
    work.unhold(HoldKind.CHANGED, reason, code=giving.CODE)
    _hold_anew(work, [], actor=actor)
    _record(work, actor=actor, reason=reason)


def _reason(text: str) -> str:
    text = text.strip()
    if len(text) not in REASON:
        raise BadReason(what="")
    return text


def _open(order_id: int, *, user: AbstractBaseUser, seen_version: int | None, what: str) -> Work:
    """Lock an open order of which nothing is picked, as the user saw it."""
    if not SalesOrder.objects.visible_to(user).filter(pk=order_id).exists():
        raise NotFound(what=f"订单 {order_id}")
    (work,) = load([order_id])
    if seen_version is not None and work.version != seen_version:
        raise StaleOrder(number=work.number)
    if work.status not in OPEN - {OrderStatus.RECEIVED}:
        raise WrongState(number=work.number, status=work.status.label, what=what)
    if Parcel.objects.filter(order_id=order_id, state__in=giving.IN_WAREHOUSE).exists():
        raise WrongState(number=work.number, status="包裹已拣货", what=what)
    if work.is_parted or len(work.source_ids) > 1:
        raise WrongState(number=work.number, status="分批发货中", what=what)
    return work


def _hold_anew(work: Work, added: list[Line], *, actor: Actor) -> None:
    """Let the stock follow where the order holds any; otherwise the path asks for it."""
    if work.status is OrderStatus.MAPPED:
        return
    risk.queue_up()  # before any stock is locked, as on the path
    plan = regiving.Plan(work, added, giving.substitutes_of(work, added))
    regiving.rearrange([plan], SourceMap(), actor=actor, now=clock_now())
    if plan.refused:
        raise GiftShort(name=plan.refused[0].title)


def _record(work: Work, *, actor: Actor, reason: str) -> None:
    work.action, work.reason, work.row_changed = Action.GIFTS_GIVEN, reason, True
    take([work], actor=actor, now=clock_now())


# --- why ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Tried:
    """What one strategy says of one order."""

    strategy: Strategy
    gives: str
    """What it gives; empty where it gives nothing."""
    words: str
    distance: float


def try_on(number: str, *, user: AbstractBaseUser) -> tuple[SalesOrder, list[Tried]]:
    """Say of every active strategy whether it would give something to this order now.

    Those that give come first, then the nearest miss. Changes nothing. Raises NotFound for an
    order the user may not know of.
    """
    order = SalesOrder.objects.visible_to(user).filter(number=number.strip()[:32]).first()
    if order is None:
        raise NotFound(what=f"订单 {number.strip()[:32]}")
    rows = [row for row in gifts.read_strategies() if row.is_active]
    lines = list(OrderLine.objects.filter(order=order))
    free = frozenset(sku for row in rows for sku in row.gifts)
    refunded = gift_facts.refunded_of([order.pk]).get(order.pk, ())
    basket = gift_facts.basket_of(order, lines, free, refunded)
    has = {ln.gift_strategy for ln in lines if ln.is_gift and not ln.is_dropped}
    evidence = getattr(order, "evidence", None)
    buyer = evidence.buyer_key if evidence else ""
    found = []
    for row in rows:
        verdict = judge(row, basket)
        if not isinstance(verdict, Earned):
            found.append(Tried(row, "", verdict.words, verdict.distance))
        elif row.code not in has and (used := _used_up(row, buyer)):
            found.append(Tried(row, "", used, 1))
        else:
            step = verdict.step
            found.append(Tried(row, f"{step.gift.name}×{step.quantity}", verdict.words, 0))
    return order, sorted(found, key=lambda tried: (not tried.gives, tried.distance))


def _used_up(row: Strategy, buyer: str, *, is_locked: bool = False) -> str:
    """Which limit of the strategy is reached, in words; empty where none is.

    ``is_locked``: nobody else may give by it until the transaction ends.
    """
    first, each = row.first_orders, row.per_buyer
    if is_locked and row.is_counted:
        first, each = gift_facts.lock_limits([row.id])[row.id]
    if first is not None and gift_facts.given_by([row.code])[row.code] >= first:
        return f"前 {first} 单已送完"
    if each is not None and buyer:
        had = gift_facts.given_to([row.code], [buyer])[row.code, buyer]
        return f"该买家已得 {had} 单，每人限 {each} 单" if had >= each else ""
    return ""


@dataclass(frozen=True, slots=True)
class GiftLine:
    """A gift of an order, which strategy gave it and why, as it was recorded then."""

    line_id: int
    line_no: int
    name: str
    code: str
    quantity: int
    strategy: str
    why: tuple[str, ...]
    is_dropped: bool


KINDLESS: Final = {gifts.PLATFORM: "平台赠送", gifts.MANUAL: "人工赠送", "": "平台赠送"}


def gift_lines(order_id: int) -> Sequence[GiftLine]:
    """Every gift of an order, taken back ones too, with what the record says of each."""
    lines = OrderLine.objects.filter(order_id=order_id, is_gift=True, bundle_line=None)
    rows = list(lines.select_related("sku", "bundle").order_by("line_no"))
    if not rows:
        return []
    why: dict[int, list[str]] = {}
    records = AuditRecord.objects.filter(
        object_type="order", object_id=order_id, change__has_key="gifts"
    ).order_by("pk")
    for change in records.values_list("change", flat=True):
        for entry in change["gifts"]:
            why.setdefault(entry["line"], []).append(entry["words"])
    names = {row.code: row.name for row in gifts.strategies()}
    found = []
    for row in rows:
        goods = row.sku or row.bundle
        strategy = row.gift_strategy
        found.append(
            GiftLine(
                row.pk, row.line_no, row.title, goods.code if goods else row.outer_code,
                row.quantity, KINDLESS.get(strategy) or names.get(strategy, strategy),
                tuple(why.get(row.line_no, ())), row.is_dropped,
            )
        )  # fmt: skip
    return found
