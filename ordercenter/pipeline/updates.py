"""What a channel tells us about an order we have: paid, closed, held, moved, refunded.

Re-ordered, repeated and late messages end in the same state: an older word than the one we
acted on is ignored, and platform data never closes a hold that a rule or a person placed.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from fulfillment import refunds
from fulfillment import services as fulfillment
from fulfillment.models import Parcel, RefundRequest, Stage, StageTask
from inventory import services as inventory
from ordercenter.audit.models import Action
from ordercenter.core.actor import Actor
from ordercenter.orders.contracts import ChannelStatus, OrderDraft, RefundDraft
from ordercenter.orders.states import OPEN, HoldKind, OrderStatus
from ordercenter.pipeline import cancel, doubts, relining, telling
from ordercenter.pipeline.drafts import (
    Known,
    OaidSource,
    clean,
    deposit,
    known_receiver,
    paid_at,
    receiver_keys,
    receiver_problem,
    region_of,
    sealed_receiver,
    told_mark,
)
from ordercenter.pipeline.path import (
    MONEY,
    awaited_balance,
    awaited_deposit,
    share_over_parts,
    take,
)
from ordercenter.pipeline.publishing import telling_stock
from ordercenter.pipeline.tally import DOORS
from ordercenter.pipeline.work import HoldDraft, Work, load

S = OrderStatus
GIVEN: Final = frozenset({"refunded", "partial"})
"""The money, or a part of it, has gone back."""
GONE: Final = frozenset({S.SHIPPED, S.SIGNED})
OAID_KEPT: Final = timedelta(days=1)
"""So long a receiver's id is not exchanged for another: some platforms give one a call."""
ASKED: Final = "asked"
"""The code of the hold for a buyer's wish that comes with the order."""
ASKED_BY_MESSAGE: Final = "asked_by_message"
"""The same for one that only a message tells: the order's own words say nothing of it."""


def settle_in(
    work: Work,
    draft: OrderDraft,
    open_refunds: Mapping[tuple[int, str], Collection[RefundRequest]],
) -> None:
    """A new order whose channel already says more than "new"."""
    if draft.status.is_closed:
        work.reason = "平台已关闭"
        work.move(S.CANCELED)
        return
    if work.is_test:
        work.hold(_channel("test_order", "1", "平台测试单，不占库存、不发货"))
    elif draft.status in {ChannelStatus.SHIPPED, ChannelStatus.FINISHED}:
        if draft.paid_at is None and not draft.paid_amount:
            work.hold(_channel("shipped_elsewhere", "2", "平台显示已发货，但没有付款记录"))
        else:
            work.hold(_channel("shipped_elsewhere", "1", "平台显示已发货（非本系统发出）"))
    elif hold := channel_hold(draft):
        work.hold(hold)
    if draft.refund_state == "in_progress":
        work.hold(refund_hold("平台有未完结的退款申请"))
    _learn_wish(work, draft)
    _learn_pair(work, draft)
    for request in open_refunds.get((work.shop_id, work.channel_number), ()):
        if request.state in {"in_progress", *GIVEN}:
            _apply_refund(work, request)


def _learn_pair(work: Work, draft: OrderDraft) -> None:
    """One of two orders for one purchase waits for the other (``balances.follow_balances``)."""
    if work.is_test:
        return
    if draft.deposit_number:
        work.hold(awaited_deposit(clean(draft.deposit_number, 64)))
    elif draft.is_deposit:
        work.hold(awaited_balance())


def channel_hold(draft: OrderDraft) -> HoldDraft | None:
    """Why the platform itself does not want the order shipped; None when it does not mind."""
    if draft.status is ChannelStatus.ON_HOLD:
        return _channel("on_hold", "2", f"平台暂缓发货（{draft.status_raw}）")
    if draft.status is ChannelStatus.UNKNOWN:
        return _channel("unknown_status", "2", f"平台状态无法识别：{draft.status_raw[:40]}")
    return None


def _channel(code: str, tier: str, words: str) -> HoldDraft:
    return HoldDraft(HoldKind.CHANNEL, code, tier, words)


def refund_hold(words: str) -> HoldDraft:
    return HoldDraft(HoldKind.REFUND, "refund", "2", words)


def wish_hold(code: str) -> HoldDraft:
    return HoldDraft(HoldKind.ADDRESS_CHANGE, code, "2", "买家申请修改收货地址，等待答复与更新")


def _learn_wish(work: Work, draft: OrderDraft) -> None:
    """A buyer who asks for another address stops the order until the platform shows it done."""
    if draft.address_change is not None:
        work.hold(wish_hold(ASKED))
    else:
        work.unhold(HoldKind.ADDRESS_CHANGE, "平台已无改地址申请", code=ASKED)


def learn(work: Work, draft: OrderDraft, *, now: datetime, app_key: str = "") -> None:
    """Let a known order learn what its channel says now; older words change nothing.

    ``app_key`` is the application the channel said it to.
    """
    if draft.modified_at < work.channel_modified_at:
        DOORS.count("older word", str(work.shop_id))
        return
    work.action = Action.ORDER_UPDATED
    if doubts.is_reused(work, draft):
        doubts.hold_reused(work, draft)
        return
    work.change("channel_modified_at", draft.modified_at)
    work.change("channel_status", draft.status.value)
    if draft.refund_state is not None:
        work.change("refund_state", draft.refund_state)
    if draft.seller_memo is not None:
        work.change("seller_memo", clean(draft.seller_memo, 10_000))
    _learn_payment(work, draft)
    if work.status not in OPEN:
        return
    if draft.status.is_closed:
        work.reason = "平台已关闭订单"
        cancel.walk_back(work)
        return
    _learn_channel_hold(work, draft)
    _learn_receiver(work, draft, OaidSource(app_key, now))
    _learn_wish(work, draft)
    if relining.differs(work, draft):
        work.retold = draft
    else:
        work.unhold(HoldKind.CHANGED, "平台已改回原来的商品", code=relining.CODE)
    _learn_refund(work, draft)


def _learn_refund(work: Work, draft: OrderDraft) -> None:
    """The order itself may say that a refund is asked for, and that none is any more."""
    if draft.refund_state == "in_progress":
        work.hold(refund_hold("买家申请退款"))
    elif (
        draft.refund_state == "none"
        and work.held_by(HoldKind.REFUND)
        and not refunds.still_open(work.id)
    ):
        work.unhold(HoldKind.REFUND, "买家撤销或退款关闭")


def _learn_payment(work: Work, draft: OrderDraft) -> None:
    work.change("paid_amount", draft.paid_amount)
    if not work.is_paid:
        work.change("payable_amount", draft.payable_amount)
        work.change("freight", draft.freight)
        _learn_prices(work, draft)
    if not work.deposit_amount and (ahead := deposit(draft)):
        work.change("deposit_amount", ahead)
    if work.deposit_paid_at is None and draft.status is ChannelStatus.DEPOSIT_PAID:
        work.change("deposit_paid_at", draft.modified_at)
    if work.paid_at is None and (at := paid_at(draft)):
        work.action = Action.ORDER_PAID
        work.change("paid_at", at)
    if work.changes.keys() & MONEY:
        work.must_judge = True


def _learn_prices(work: Work, draft: OrderDraft) -> None:
    """Until it is paid the seller may take something off; the rules look at the new price."""
    told = {line.channel_line_id[:64]: line for line in draft.lines}
    for line in work.lines:
        now = told.get(line.channel_line_id)
        if line.bundle_line_id is not None or now is None or now.amount == line.amount:
            continue
        parts = [part for part in work.lines if part.bundle_line_id == line.id]
        shares = share_over_parts(now.amount, [part.amount for part in parts]) if parts else []
        for part, amount in zip(parts, shares, strict=True):
            part.amount, part.priced_now = amount, True
            part.unit_price = (amount / part.quantity).quantize(Decimal("0.01"))
        work.changes[f"amount {line.line_no}"] = [line.amount, now.amount]
        line.amount, line.unit_price, line.priced_now = now.amount, now.unit_price, True
        work.must_judge = work.must_gift = work.row_changed = True


def _learn_channel_hold(work: Work, draft: OrderDraft) -> None:
    if work.is_test:
        return
    if draft.status in {ChannelStatus.SHIPPED, ChannelStatus.FINISHED}:
        if not work.has_left:  # else it was told of the part that has
            work.hold(_channel("shipped_elsewhere", "2", "平台显示已发货，但本系统尚未出库"))
    elif hold := channel_hold(draft):
        work.hold(hold)
    elif work.held_by(HoldKind.CHANNEL):
        work.unhold(HoldKind.CHANNEL, "平台已恢复发货")
        # Nobody has looked at the receiver while the platform kept the order back.
        known = known_receiver(work.receiver_sealed).receiver
        work.receiver_problem = receiver_problem(known, draft.channel)


def _learn_receiver(work: Work, draft: OrderDraft, source: OaidSource) -> None:
    """Masked or empty data never replaces better; a moved buyer after review stops the order.

    What we put right ourselves stays until the channel says something it had not said before.
    """
    told = draft.receiver
    if told is None or not (told.name and told.address):
        return
    known = known_receiver(work.receiver_sealed)
    province, city, district = region_of(told)
    same_region = (work.province, work.city, work.district) == (province, city, district)
    if known.told == told_mark(told):
        _learn_oaid(work, draft, known, source)
        return
    if same_region and told.is_masked and known.receiver.name and not known.receiver.is_masked:
        return
    sealed, shown = sealed_receiver(told, oaid_from=source)
    for name, value in (
        ("province", province),
        ("city", city),
        ("district", district),
        ("receiver_masked", shown),
        ("receiver_sealed", sealed),
    ):
        work.change(name, value)
    work.goes_to(*receiver_keys(told, work.shop_id))
    work.unhold(HoldKind.ADDRESS_CHANGE, "平台已更新收货地址", code=ASKED_BY_MESSAGE)
    reviewed = not work.held_by_code(HoldKind.INCOMPLETE, "receiver")
    work.receiver_problem = receiver_problem(told, draft.channel)
    if not work.receiver_problem:
        work.unhold(HoldKind.INCOMPLETE, "平台已补全收货信息", code="receiver")
    work.must_judge = True
    waiting = not work.is_paid or "paid_at" in work.changes or not reviewed
    if work.status is S.CLEARED and waiting:
        work.move(S.RESERVED)  # nobody has worked on it yet: the rules look again, that is all
    elif work.status in {S.CLEARED, S.ROUTED}:
        work.hold(
            HoldDraft(HoldKind.ADDRESS_CHANGE, "address", "2", "审核通过后买家修改了收货地址")
        )


def _learn_oaid(work: Work, draft: OrderDraft, known: Known, source: OaidSource) -> None:
    """The same receiver under the id of another week or application: nobody new, nothing to
    judge, and no label is void. The platform opens the receiver by the new id only."""
    assert draft.receiver is not None
    oaid, was = draft.receiver.oaid, known.oaid_from
    if oaid in {"", known.receiver.oaid}:
        return
    same_app = was is not None and was.app_key == source.app_key
    if known.receiver.oaid and same_app and was and source.at - was.at < OAID_KEPT:
        return
    receiver = replace(known.receiver, oaid=oaid)
    work.receiver_sealed, _shown = sealed_receiver(
        receiver, told=known.told if known.is_ours else "", oaid_from=source
    )
    work.changes["receiver_oaid"] = ["***", "***"]
    work.row_changed = True
    if known.is_ours:
        return
    work.goes_to(*receiver_keys(receiver, work.shop_id))
    if work.held_by_code(HoldKind.INCOMPLETE, "receiver"):
        work.receiver_problem = receiver_problem(receiver, draft.channel)
        if not work.receiver_problem:
            work.unhold(HoldKind.INCOMPLETE, "平台已补全收货信息", code="receiver")


def follow_up(works: Sequence[Work], *, actor: Actor, now: datetime) -> None:
    """What the new state of known orders means for stock and parcels. After ``take``."""
    kept = [w.id for w in works if "paid_at" in w.changes or w.channel_status == "deposit_paid"]
    if kept:
        inventory.keep(kept)
    _end_tasks(works, actor=actor, now=now)
    stopped: dict[int, str] = {}
    for work in works:
        if work.status is not S.ROUTED and not work.is_parted:
            continue
        if "receiver_sealed" in work.changes:
            fulfillment.void_labels(work.id, now=now)
        if stopping := [d for d in work.opening.values() if d.kind in STOPPING]:
            stopped[work.id] = stopping[0].words
    if stopped:
        fulfillment.stop_many(stopped, by=actor.name, now=now, final=False)
    cancel.finish([w for w in works if w.ends], actor=actor, now=now)


def _end_tasks(works: Sequence[Work], *, actor: Actor, now: datetime) -> None:
    """What the channel has put right by itself is nobody's task any more."""
    for kind, stage in ENDED_BY.items():
        ended = [w.id for w in works if any(key[0] == kind for key in w.closing)]
        if ended:
            fulfillment.close_tasks(
                ended, state=StageTask.State.WITHDRAWN.value, by=actor.name, now=now,
                stages=[stage],
            )  # fmt: skip


ENDED_BY: Final = {
    HoldKind.INCOMPLETE: Stage.FIRST_REVIEW,
    HoldKind.PAYMENT: Stage.FINANCE_CHECK,
}
STOPPING: Final = frozenset(
    {HoldKind.REFUND, HoldKind.ADDRESS_CHANGE, HoldKind.CHANGED, HoldKind.CHANNEL,
     HoldKind.PERSON, HoldKind.RULE}
)  # fmt: skip


def take_refunds(drafts: Sequence[tuple[int, RefundDraft]], *, actor: Actor, now: datetime) -> None:
    """Keep refunds and act on them: stop what has not left, open a case for what has.

    A refund may come before its order; the order finds it when it is born.
    """
    _act(refunds.keep(drafts, now=now), actor=actor, now=now)


@telling_stock()
def tie_refunds(*, actor: Actor, now: datetime) -> int:
    """Find the orders of refunds that crossed them on the way in; return how many.

    A refund and its order taken in at one moment, each by a worker of its own, do not see
    each other.
    """
    found = refunds.crossed(since=now - timedelta(days=2))
    _act(found, actor=actor, now=now)
    return len(found)


def _act(changed: Sequence[RefundRequest], *, actor: Actor, now: datetime) -> None:
    if not changed:
        return
    by_order: dict[int, list[RefundRequest]] = defaultdict(list)
    for request in changed:
        if request.order_id:
            by_order[request.order_id].append(request)
    works = load(by_order)
    for work in works:
        work.action = Action.ORDER_UPDATED
        for request in by_order[work.id]:
            _apply_refund(work, request)
    take(works, actor=actor, now=now)
    follow_up([w for w in works if w.touched], actor=actor, now=now)
    _too_late(works, by_order, actor=actor, now=now)
    telling.answer_stops(by_order, actor=actor, now=now)


def _apply_refund(work: Work, request: RefundRequest) -> None:
    if work.status is S.CANCELED or work.status in GONE:
        return
    if request.state == "in_progress" and request.intercept_shipping:
        work.hold(refund_hold(f"买家申请退款 ¥{request.amount}，不得发货"))
    elif request.state in GIVEN and request.intercept_shipping:
        if request.amount >= work.paid_amount or work.channel_status.startswith("closed"):
            work.reason = "发货前全额退款"
            cancel.walk_back(work)
        else:
            work.hold(
                HoldDraft(
                    HoldKind.CHANGED, "part_refund", "2",
                    f"部分退款 ¥{request.amount} 已成功，请确认剩余商品后放行",
                )
            )  # fmt: skip
            work.unhold(HoldKind.REFUND, "退款已完成")
            work.refunded.append((request.channel_line_id, request.amount))
            work.must_gift = True
    elif request.state in {"closed", "none"} and not refunds.still_open(work.id):
        work.unhold(HoldKind.REFUND, "买家撤销或退款关闭")


def _too_late(
    works: Sequence[Work],
    by_order: Mapping[int, Sequence[RefundRequest]],
    *,
    actor: Actor,
    now: datetime,
) -> None:
    """Refunds that met a parcel on its way: say so, and give the case to after-sales.

    A refund that was given without ever being asked for is a case as well.
    """
    for work in works:
        if work.status not in GONE:
            continue
        asked = [r for r in by_order[work.id] if r.state == "in_progress"]
        given = [r for r in by_order[work.id] if r.state in GIVEN]
        if given and not asked and not fulfillment.had_task(work.id, Stage.AFTER_SALES):
            asked = given
        if not asked:
            continue
        stopped = Parcel.objects.filter(order_id=work.id, state=Parcel.State.SHIPPED).exists()
        reason = f"发货后退款 ¥{asked[0].amount}"
        if stopped and asked[0].intercept_shipping:
            fulfillment.stop_parcels(work.id, reason=reason, by=actor.name, now=now, final=False)
        else:
            fulfillment.open_tasks(
                [fulfillment.TaskRequest(work.id, Stage.AFTER_SALES, reason)], now=now
            )
