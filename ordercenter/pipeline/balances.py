"""A purchase that a channel makes two orders of: one takes the deposit, one the balance.

Tied together, the balance's order holds the stock and the promise, and ships the goods once
both are paid; the deposit's order holds nothing and never ships. Both rows are locked for every
act, so that a payment, a cancellation or another tie comes before it or after it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final

from django.contrib.auth.models import AbstractBaseUser
from django.db import connection
from django.utils.translation import gettext as _

from fulfillment import services as fulfillment
from fulfillment.models import Parcel, Stage
from inventory import services as inventory
from ordercenter.audit.models import Action
from ordercenter.core.actor import PIPELINE, Actor
from ordercenter.core.clock import now as clock_now
from ordercenter.core.errors import InvalidInput, NotFound
from ordercenter.core.policy import Can, require
from ordercenter.orders.contracts import ChannelStatus
from ordercenter.orders.errors import BadReason, StaleOrder
from ordercenter.orders.models import OrderHold, SalesOrder
from ordercenter.orders.states import OPEN, HoldKind, OrderStatus
from ordercenter.pipeline import path, promises
from ordercenter.pipeline.publishing import telling_stock
from ordercenter.pipeline.work import HoldDraft, Work, load, write

REASON: Final = range(5, 501)
BATCH: Final = 100
BEFORE_PARCELS: Final = OPEN - {OrderStatus.ROUTED}
_OPEN: Final = [status.value for status in OPEN]

# Orders whose channel named the deposit's order, which is here by now.
_NAMED: Final = """
    SELECT h.order_id, d.id FROM orders_orderhold h
    JOIN orders_salesorder b ON b.id = h.order_id AND b.balance_of_id IS NULL
    JOIN orders_salesorder d ON d.shop_id = b.shop_id AND d.id <> b.id
        AND d.channel_number = h.evidence ->> 'deposit'
    WHERE h.kind = 'payment' AND h.code = 'deposit' AND h.released_at IS NULL
      AND d.status = ANY(%(open)s) AND d.paid_at IS NOT NULL
    ORDER BY h.order_id LIMIT %(limit)s
"""
# Tied orders, and whether the deposit is gone, or in doubt, and whether that is said.
_PAIRS: Final = f"""
    SELECT b.id, d.id, d.number, b.status = 'canceled',
           {path.IS_LOST} AS lost,
           EXISTS (SELECT 1 FROM orders_orderhold h WHERE h.order_id = b.id
               AND h.kind = 'payment' AND h.code = 'deposit' AND h.released_at IS NULL) AS said
    FROM orders_salesorder b JOIN orders_salesorder d ON d.id = b.balance_of_id
    WHERE b.balance_of_id IS NOT NULL AND b.status = ANY(%(tied)s)
"""  # noqa: S608 - own constant text


@dataclass(frozen=True, slots=True)
class Pair:
    """Two orders that may be tied, and why they cannot be."""

    deposit: SalesOrder
    balance: SalesOrder
    problems: tuple[str, ...]
    same_goods: bool
    """Where they are not the same, the balance's goods are shipped."""
    gives_back: int
    """Units the deposit's order holds, which it would give back."""
    is_tied: bool
    """They are one purchase already."""


@dataclass(frozen=True, slots=True)
class Seen:
    """Who acts on an order, as it was when he looked."""

    order_id: int
    version: int
    user: AbstractBaseUser
    actor: Actor
    reason: str


def preview(
    order: SalesOrder, other_number: str, *, as_balance: bool, user: AbstractBaseUser
) -> Pair:
    """What tying ``order`` (the balance, or else the deposit) to the other would come to.

    Changes nothing. Raises NotFound where the user does not see such an order.
    """
    require(user, Can.LINK_BALANCE)
    other = _other(other_number, user)
    balance, deposit = (order, other) if as_balance else (other, order)
    works = {work.id: work for work in load([balance.pk, deposit.pk], lock=False)}
    first, last = works[deposit.pk], works[balance.pk]
    return Pair(
        deposit, balance, tuple(_problems(first, last)), _goods(first) == _goods(last),
        sum(line.quantity for line in first.goods) if first.source_ids else 0,
        is_tied=balance.balance_of_id == deposit.pk,
    )  # fmt: skip


def _other(number: str, user: AbstractBaseUser) -> SalesOrder:
    """An order by our number, or by its channel's."""
    text = number.strip().replace("\0", "")
    seen = SalesOrder.objects.visible_to(user).select_related("shop").defer("receiver_sealed")
    found = seen.filter(number=text.upper()).first()
    others = list(seen.filter(channel_number=text)[:2]) if found is None and text else []
    if found is None and len(others) == 1:
        (found,) = others
    if found is None:
        raise NotFound(what=_("订单 %(number)s") % {"number": text[:64]})
    return found


@telling_stock()
def link(it: Seen, other_number: str, *, as_balance: bool) -> None:
    """Tie the order to the other one, named by a person. Tied to it already, nothing changes.

    Right: LINK_BALANCE. Raises StaleOrder for who looked at an older picture, NotFound, and
    InvalidInput with what stands in the way.
    """
    require(it.user, Can.LINK_BALANCE)
    reason = _reason(it.reason)
    order = SalesOrder.objects.visible_to(it.user).filter(pk=it.order_id).first()
    if order is None:
        raise NotFound(what=_("订单"))
    other = _other(other_number, it.user)
    balance_id, deposit_id = (order.pk, other.pk) if as_balance else (other.pk, order.pk)
    works = {work.id: work for work in load([balance_id, deposit_id])}
    if works[balance_id].balance_of_id == deposit_id != balance_id:
        return
    if works[it.order_id].version != it.version:
        raise StaleOrder(number=works[it.order_id].number)
    _tie(works[deposit_id], works[balance_id], reason=reason, actor=it.actor)


def _tie(deposit: Work, balance: Work, *, reason: str, actor: Actor) -> None:
    """Let two locked orders be one purchase. Raises InvalidInput where they cannot be."""
    if wrong := _problems(deposit, balance):
        raise InvalidInput(what="；".join(wrong))
    now = clock_now()
    promises.retire([deposit], actor=actor, reason=reason, now=now)
    deposit.unhold(HoldKind.SHORTAGE, reason, code="capped")
    for code in ("amount", path.BALANCE):
        deposit.unhold(HoldKind.PAYMENT, reason, code=code)
    deposit.send_back()
    deposit.change("promised_at", None)
    words = _("定金单：货随尾款单 %(number)s 发出，本单不占库存、不发货") % {
        "number": balance.number
    }
    deposit.hold(HoldDraft(*promises.GOES_WITH, "1", words, {"balance": balance.number}))
    deposit.changes["balance"] = [None, balance.number]
    balance.unhold(HoldKind.PAYMENT, reason, code=path.DEPOSIT)
    balance.balance_of_id, balance.must_recount = deposit.id, True
    balance.changes["balance_of"] = [None, deposit.number]
    if balance.deposit_paid_at is None:
        balance.change("deposit_amount", deposit.paid_amount)
        balance.change("deposit_paid_at", deposit.paid_at or deposit.deposit_paid_at)
    for work in (deposit, balance):
        work.action, work.reason, work.row_changed = Action.ORDERS_PAIRED, reason, True
    path.take([deposit, balance], actor=actor, now=now)
    inventory.keep([balance.id])


@telling_stock()
def unlink(it: Seen) -> None:
    """Let the two be orders of their own again, as long as nothing is on its way to a parcel.

    Right: LINK_BALANCE; from either of the two. What each holds and is owed is looked at anew. A
    deposit whose balance was canceled becomes an ordinary order.
    """
    require(it.user, Can.LINK_BALANCE)
    reason = _reason(it.reason)
    order = SalesOrder.objects.visible_to(it.user).filter(pk=it.order_id).first()
    if order is None:
        raise NotFound(what=_("订单"))
    deposit_id, balance_id = pair_of(order) or (order.pk, 0)
    works = {work.id: work for work in load({deposit_id, balance_id})}
    mine, deposit, balance = works[it.order_id], works[deposit_id], works.get(balance_id)
    if mine.version != it.version or (balance and balance.balance_of_id != deposit_id):
        raise StaleOrder(number=mine.number)
    if not balance and not deposit.held_by_code(*promises.GOES_WITH):
        raise InvalidInput(what=_("这张订单没有关联定金单或尾款单"))
    if balance and balance.status not in {*BEFORE_PARCELS, OrderStatus.CANCELED}:
        raise InvalidInput(
            what=_("尾款单 %(number)s %(status)s，不能再撤销关联")
            % {"number": balance.number, "status": balance.status.label}
        )
    kind, code = promises.GOES_WITH
    deposit.unhold(kind, reason, code=code)
    deposit.changes["balance"] = [balance.number if balance else "—", None]
    if OrderHold.objects.filter(order=deposit_id, kind="payment", code=path.BALANCE).exists():
        deposit.hold(path.awaited_balance())  # its channel said so: it never ships alone
    if balance:
        _untie(deposit, balance, reason=reason)
    both = [deposit, *([balance] if balance else [])]
    for work in both:
        work.action, work.reason, work.row_changed = Action.ORDERS_PAIRED, reason, True
    path.take(both, actor=it.actor, now=clock_now())


def _untie(deposit: Work, balance: Work, *, reason: str) -> None:
    balance.balance_of_id = None
    balance.changes["balance_of"] = [deposit.number, None]
    if balance.status not in OPEN:
        return
    balance.unhold(HoldKind.PAYMENT, reason, code=path.DEPOSIT)
    balance.must_recount = True
    if balance.channel_status != ChannelStatus.DEPOSIT_PAID:
        balance.change("deposit_amount", Decimal(0))
        balance.change("deposit_paid_at", None)
    if not balance.is_paid:
        balance.send_back()  # what it holds is for a time only again


def pair_of(order: SalesOrder) -> tuple[int, int] | None:
    """(deposit, balance) that this order is one of; a canceled balance counts where no other is."""
    if order.balance_of_id:
        return order.balance_of_id, order.pk
    mine = SalesOrder.objects.filter(balance_of=order).order_by("pk").values_list("pk", "status")
    live = sorted(mine, key=lambda row: row[1] == OrderStatus.CANCELED)
    return (order.pk, live[0][0]) if live else None


def _problems(deposit: Work, balance: Work) -> list[str]:
    """Why these two cannot be one purchase, in words."""
    if deposit.id == balance.id:
        return [_("请填写另一张订单")]
    told = [*_misfits(deposit, balance)]
    for what, work in ((_("定金单"), deposit), (_("尾款单"), balance)):
        if work.status not in OPEN:
            told.append(f"{what}{work.status.label}，不能再关联")
        if work.is_test:
            told.append(f"{what}是测试单")
        if work.is_parted:
            told.append(f"{what}分批发货，不能再关联")
    if not deposit.is_paid:
        told.append(_("定金单还没有付款"))
    if deposit.status is OrderStatus.ROUTED and is_packed(deposit.id):
        told.append(_("定金单的包裹已经打包"))
    if deposit.balance_of_id or balance.held_by_code(*promises.GOES_WITH):
        told.append(_("一张订单不能既是定金单又是尾款单"))
    if balance.balance_of_id or _has_balance(deposit.id):
        told.append(_("其中一张已经关联了别的订单"))
    return told


def _misfits(deposit: Work, balance: Work) -> Iterator[str]:
    """What one purchase would have in common, and these two have not."""
    if deposit.shop_id != balance.shop_id:
        yield _("两张订单不是同一家店铺")
    elif not _same_buyer(deposit, balance):
        yield _("两张订单不是同一位买家，或没有可以核对的买家标识")
    if deposit.currency != balance.currency:
        yield _("两张订单的币种不同")
    if balance.placed_at < deposit.placed_at:
        yield _("尾款单的下单时间早于定金单")


def is_packed(order_id: int) -> bool:
    """Whether goods of the order are in a closed box, or have left."""
    boxes = Parcel.objects.filter(order_id=order_id)
    return boxes.filter(state__in=[Parcel.State.PACKED, Parcel.State.SHIPPED]).exists()


def _same_buyer(one: Work, other: Work) -> bool:
    """By what the channel tells its buyers apart by; else by a phone that is known in clear."""
    if one.evidence.buyer and other.evidence.buyer:
        return one.evidence.buyer == other.evidence.buyer
    return bool(one.evidence.phone) and one.evidence.phone == other.evidence.phone


def _has_balance(deposit_id: int) -> bool:
    live = SalesOrder.objects.filter(balance_of=deposit_id)
    return live.exclude(status=OrderStatus.CANCELED).exists()


def _goods(work: Work) -> list[tuple[int | None, int]]:
    return sorted((line.sku_id, line.quantity) for line in work.goods if line.sku_id)


def _reason(text: str) -> str:
    text = text.strip()
    if len(text) not in REASON or "\0" in text:
        raise BadReason(what="")
    return text


# --- by itself -----------------------------------------------------------------------------------


def follow_balances(*, now: datetime | None = None) -> str:
    """Tie what channels named, and let each of two tied orders feel what befell the other.

    A deposit canceled or asked back holds the order of the balance; a balance that was canceled
    leaves the deposit standing, for after-sales to settle.
    """
    now = now or clock_now()
    with connection.cursor() as cursor:
        cursor.execute(_NAMED, {"open": _OPEN, "limit": BATCH})
        named = cursor.fetchall()
        cursor.execute(_PAIRS, {"tied": [*_OPEN, OrderStatus.CANCELED.value]})
        pairs = cursor.fetchall()
    tied = sum(_tie_named(balance, deposit) for balance, deposit in named)
    changed = 0
    for balance, deposit, number, is_canceled, lost, said in pairs:
        if is_canceled:
            changed += _balance_is_gone(balance, deposit, now=now)
        elif lost != said:
            changed += _deposit_is_in_doubt(balance, deposit, number, lost=lost, now=now)
    return f"{tied} balances tied to their deposits, {changed} pairs looked after"


@telling_stock()
def _tie_named(balance_id: int, deposit_id: int) -> bool:
    works = {work.id: work for work in load([balance_id, deposit_id])}
    deposit, balance = works[deposit_id], works[balance_id]
    if _problems(deposit, balance):
        return False  # it stays held, and people see why it waits
    _tie(deposit, balance, reason="平台写明了定金单", actor=PIPELINE)
    return True


@telling_stock()
def _deposit_is_in_doubt(
    balance_id: int, deposit_id: int, number: str, *, lost: bool, now: datetime
) -> bool:
    works = {work.id: work for work in load([balance_id, deposit_id])}
    balance = works[balance_id]
    if balance.balance_of_id != deposit_id or balance.status not in OPEN:
        return False
    if lost:
        balance.hold(path.lost_deposit(number))
        balance.tasks.append(path.finance_task(number))
    else:
        balance.unhold(HoldKind.PAYMENT, "定金单已恢复", code=path.DEPOSIT)
    path.take([balance], actor=PIPELINE, now=now)
    return True


@telling_stock()
def _balance_is_gone(balance_id: int, deposit_id: int, *, now: datetime) -> bool:
    """Untie a canceled balance. The deposit stays held: it never ships alone."""
    works = {work.id: work for work in load([balance_id, deposit_id])}
    deposit, balance = works[deposit_id], works[balance_id]
    if balance.balance_of_id != deposit_id or balance.status is not OrderStatus.CANCELED:
        return False
    if deposit.status in OPEN:
        words = f"尾款单 {balance.number} 已取消，定金单不会发货，请与买家处理定金"
        request = fulfillment.TaskRequest(deposit.id, Stage.AFTER_SALES, words, deposit.priority)
        fulfillment.open_tasks([request], now=now)
    balance.balance_of_id, balance.row_changed = None, True
    balance.changes["balance_of"] = [deposit.number, None]
    balance.action, balance.reason = Action.ORDERS_PAIRED, "尾款单已取消"
    write([balance], actor=PIPELINE, now=now)
    return True
