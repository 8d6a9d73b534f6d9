"""What people do about an order that waits for stock: let it wait, swap, drop, try again.

Each act is one transaction on the order as its user saw it: who looks at an older picture is
refused (StaleOrder). Right: WORK_SHORTAGE, within the user's shops.

Sending what is there now and the rest later is in ``parting``.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final

from django.contrib.auth.models import AbstractBaseUser
from django.utils.translation import gettext as _

from fulfillment import services as fulfillment
from fulfillment.models import Stage
from ordercenter.audit.models import Action
from ordercenter.catalog.models import Sku
from ordercenter.core.actor import Actor
from ordercenter.core.clock import now as clock_now
from ordercenter.core.errors import InvalidInput, NotFound, OrderCenterError
from ordercenter.core.policy import Can, require
from ordercenter.orders.errors import BadReason, StaleOrder, WrongState
from ordercenter.orders.models import OrderHold, SalesOrder
from ordercenter.orders.states import HoldKind, OrderStatus, Tier
from ordercenter.pipeline import cancel, promises
from ordercenter.pipeline.path import take
from ordercenter.pipeline.promises import SHORT, WAITS
from ordercenter.pipeline.publishing import telling_stock
from ordercenter.pipeline.work import Line, Work, load

REASON: Final = range(5, 501)
MOST_AT_ONCE: Final = 100


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an act came to, in words."""

    number: str
    has_stock: bool
    words: str


@dataclass(frozen=True, slots=True)
class Seen:
    """Who acts on which order, as it was when he looked."""

    order_id: int
    version: int
    user: AbstractBaseUser
    actor: Actor
    reason: str = ""


Act = Callable[[Seen], Outcome]


def in_hand(it: Seen, what: str) -> Work:
    """A short order of the user's, locked, as the user saw it."""
    require(it.user, Can.WORK_SHORTAGE)
    if not SalesOrder.objects.visible_to(it.user).filter(pk=it.order_id).exists():
        raise NotFound(what=f"订单 {it.order_id}")
    (work,) = load([it.order_id])
    if work.version != it.version:
        raise StaleOrder(number=work.number)
    if work.status is not OrderStatus.MAPPED or not work.held_by(HoldKind.SHORTAGE):
        raise WrongState(number=work.number, status=work.status.label, what=what)
    return work


def checked_reason(text: str) -> str:
    """The reason without blanks around it; raises BadReason."""
    text = text.strip()
    if len(text) not in REASON or "\0" in text:
        raise BadReason(what="")
    return text


def _outcome(work: Work) -> Outcome:
    if work.status is not OrderStatus.MAPPED:
        return Outcome(work.number, True, _("%(status)s") % {"status": work.status.label})
    said = work.opening.get(WAITS) or work.opening.get(SHORT)
    return Outcome(work.number, False, said.words if said else _("仍然缺货"))


@telling_stock()
def try_again(it: Seen) -> Outcome:
    """Try to reserve now, behind whoever is being served this moment."""
    work = in_hand(it, _("重新占用库存"))
    work.reason = it.reason
    take([work], actor=it.actor, now=clock_now())
    return _outcome(work)


@telling_stock()
def wait_for_goods(it: Seen) -> Outcome:
    """Promise the order what is to come first, whatever its shop's rule says.

    Raises InvalidInput where nobody has paid anything or nothing that is to come suffices.
    """
    work = in_hand(it, _("等待到货"))
    if not work.has_money:
        raise InvalidInput(what=_("买家还没有付款，不能承诺到货"))
    if work.held_by_code(HoldKind.SHORTAGE, WAITS[1]):
        return Outcome(work.number, False, _("已经承诺过到货"))
    work.may_wait = True
    work.reason = it.reason or "等待到货"
    take([work], actor=it.actor, now=clock_now())
    if work.status is OrderStatus.MAPPED and WAITS not in work.opening:
        raise InvalidInput(what=_("没有能凑齐这张订单的到货，请先登记到货单"))
    return _outcome(work)


@telling_stock()
def swap_line(it: Seen, line_id: int, sku_code: str) -> Outcome:
    """Send other goods for a line, as agreed with the buyer; reserved and judged at once."""
    reason = checked_reason(it.reason)
    work = in_hand(it, _("换货"))
    line = _line(work, line_id)
    sku = Sku.objects.filter(code=sku_code.strip(), is_active=True).first()
    if sku is None:
        raise InvalidInput(what=_("没有编码为 %(code)s 的在售货品") % {"code": sku_code.strip()})
    if sku.pk == line.sku_id:
        raise InvalidInput(what=_("换成的货品与原来相同"))
    was = Sku.objects.in_bulk([line.sku_id])[line.sku_id].code
    now = clock_now()
    promises.retire([work], actor=it.actor, reason=reason, now=now)
    line.sku_id, line.mapped_now = sku.pk, True
    work.must_judge = work.must_gift = True
    line.listing_version = None  # no listing says so: no change of one takes it back
    work.action, work.reason = Action.LINE_SWAPPED, reason
    work.changes[f"sku {line.line_no}"] = [was, sku.code]
    take([work], actor=it.actor, now=now)
    return _outcome(work)


def _line(work: Work, line_id: int) -> Line:
    for line in work.to_send:
        if line.id == line_id:
            return line
    raise InvalidInput(what=_("该行已变动，请刷新后重试"))


@telling_stock()
def drop_lines(it: Seen, line_ids: Collection[int]) -> Outcome:
    """Send the order without these lines; after-sales is told how much to pay back.

    A bundle goes whole. Where nothing bought is left the order is canceled, which asks for the
    right CANCEL as well.
    """
    reason = checked_reason(it.reason)
    work = in_hand(it, _("取消缺货行"))
    dropped = [line for line in bought_of(work, line_ids) if not line.is_dropped]
    if not dropped:
        raise InvalidInput(what=_("请选择要取消的商品行"))
    now = clock_now()
    back = refund_of(dropped) if work.has_money else Decimal(0)
    words = _("已取消缺货商品 %(goods)s，请为买家退款 %(amount)s %(currency)s") % {
        "goods": "、".join(f"{ln.title[:20]} ×{ln.quantity}" for ln in dropped),
        "amount": back,
        "currency": work.currency,
    }
    for line in dropped:
        work.drop(line)
        work.changes[f"dropped {line.line_no}"] = [False, True]
    work.reason = reason
    if nothing_left(work):
        _cancel(work, it, now=now)
    else:
        promises.retire([work], actor=it.actor, reason=reason, now=now)
        work.action = Action.LINE_DROPPED
        take([work], actor=it.actor, now=now)
    if back:
        task = fulfillment.TaskRequest(work.id, Stage.AFTER_SALES, words, work.priority)
        fulfillment.open_tasks([task], now=now)
    return _outcome(work)


def bought_of(work: Work, line_ids: Collection[int]) -> list[Line]:
    """The lines as bought that these belong to: a part stands for its bundle."""
    wanted = {ln.bundle_line_id or ln.id for ln in work.lines if ln.id in set(line_ids)}
    return [ln for ln in work.lines if ln.id in wanted]


def refund_of(lines: Sequence[Line]) -> Decimal:
    """What the buyer gave for these lines."""
    return sum((line.amount for line in lines), Decimal(0))


def nothing_left(work: Work) -> bool:
    """Whether only presents would be sent, or nothing."""
    return all(line.is_gift for line in work.goods)  # what has left counts: it was sent


def _cancel(work: Work, it: Seen, *, now: datetime) -> None:
    require(it.user, Can.CANCEL)
    holds = OrderHold.objects.filter(pk__in=work.open_holds.values(), tier=Tier.FREEZE)
    if holds.exists():
        raise WrongState(number=work.number, status=Tier.FREEZE.label, what=_("取消，请先申请解冻"))
    cancel.walk_back(work)
    take([work], actor=it.actor, now=now)
    cancel.finish([work], actor=it.actor, now=now)


@dataclass(frozen=True, slots=True)
class Answer:
    """What one row of a bulk act came to."""

    number: str
    is_done: bool
    words: str


def act_on_each(seen: Sequence[tuple[str, Seen]], act: Act) -> list[Answer]:
    """Act on each order by itself, in this order; a refusal stays with its order.

    Raises InvalidInput for more than ``MOST_AT_ONCE``.
    """
    if len(seen) > MOST_AT_ONCE:
        raise InvalidInput(what=_("一次最多处理 %(n)d 单") % {"n": MOST_AT_ONCE})
    answers = []
    for number, it in seen:
        try:
            done = act(it)
        except OrderCenterError as refusal:
            answers.append(Answer(number, False, str(refusal)))
        else:
            answers.append(Answer(number, True, done.words))
    return answers
