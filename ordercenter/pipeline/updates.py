"""What a channel tells us about an order we have: paid, closed, held, moved, refunded.

Re-ordered, repeated and late messages end in the same state: an older word than the one we
acted on is ignored, and platform data never closes a hold that a rule or a person placed.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from fulfillment import refunds
from fulfillment import services as fulfillment
from fulfillment.models import Parcel, RefundRequest, Stage
from inventory import services as inventory
from ordercenter.audit.models import Action
from ordercenter.core.actor import Actor
from ordercenter.orders.contracts import ChannelStatus, OrderDraft, RefundDraft
from ordercenter.orders.states import HoldKind, OrderStatus
from ordercenter.pipeline import cancel
from ordercenter.pipeline.drafts import paid_at, receiver_problem, region_of, sealed_receiver
from ordercenter.pipeline.path import take
from ordercenter.pipeline.work import HoldDraft, Work, load

S = OrderStatus
GONE = frozenset({S.SHIPPED, S.SIGNED})


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
        work.hold(_channel("shipped_elsewhere", "1", "平台显示已发货（非本系统发出）"))
    elif hold := channel_hold(draft):
        work.hold(hold)
    waiting = open_refunds.get((work.shop_id, work.channel_number), ())
    if draft.refund_state == "in_progress" or any(r.stops_shipping for r in waiting):
        work.hold(refund_hold("平台有未完结的退款申请"))


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


def learn(work: Work, draft: OrderDraft, *, now: datetime) -> None:
    """Let a known order learn what its channel says now; older words change nothing."""
    if draft.modified_at < work.channel_modified_at:
        return
    work.action = Action.ORDER_UPDATED
    work.change("channel_modified_at", draft.modified_at)
    if work.status is S.CANCELED:
        return
    work.change("channel_status", draft.status.value)
    if draft.refund_state is not None:
        work.change("refund_state", draft.refund_state)
    if draft.seller_memo is not None and work.seller_memo != draft.seller_memo:
        work.change("seller_memo", draft.seller_memo[:10_000])
    if work.status in GONE:
        return
    if draft.status.is_closed:
        work.reason = "平台已关闭订单"
        cancel.walk_back(work)
        return
    _learn_payment(work, draft)
    _learn_channel_hold(work, draft)
    _learn_receiver(work, draft)
    _learn_lines(work, draft)
    if draft.refund_state == "in_progress":
        work.hold(refund_hold("买家申请退款"))


def _learn_payment(work: Work, draft: OrderDraft) -> None:
    work.change("paid_amount", draft.paid_amount)
    if draft.payable_amount != work.payable_amount and not work.is_paid:
        work.change("payable_amount", draft.payable_amount)
    if work.paid_at is None and (at := paid_at(draft)):
        work.action = Action.ORDER_PAID
        work.change("paid_at", at)


def _learn_channel_hold(work: Work, draft: OrderDraft) -> None:
    if work.is_test:
        return
    if draft.status in {ChannelStatus.SHIPPED, ChannelStatus.FINISHED}:
        work.hold(_channel("shipped_elsewhere", "2", "平台显示已发货，但本系统尚未出库"))
    elif hold := channel_hold(draft):
        work.hold(hold)
    else:
        work.unhold(HoldKind.CHANNEL, "平台已恢复发货")


def _learn_receiver(work: Work, draft: OrderDraft) -> None:
    """Masked or empty data never replaces better; a moved buyer after review stops the order."""
    told = draft.receiver
    if told is None or not (told.name and told.address):
        return
    sealed, shown = sealed_receiver(told)
    province, city, district = region_of(told)
    before = (work.province, work.city, work.district, work.receiver_masked)
    if before == (province, city, district, shown):
        return
    for name, value in (
        ("province", province),
        ("city", city),
        ("district", district),
        ("receiver_masked", shown),
        ("receiver_sealed", sealed),
    ):
        work.change(name, value)
    work.receiver_problem = receiver_problem(told)
    if not work.receiver_problem:
        work.unhold(HoldKind.INCOMPLETE, "平台已补全收货信息", code="receiver")
    work.must_judge = True
    if work.status in {S.CLEARED, S.ROUTED}:
        work.hold(
            HoldDraft(HoldKind.ADDRESS_CHANGE, "address", "2", "审核通过后买家修改了收货地址")
        )


def _learn_lines(work: Work, draft: OrderDraft) -> None:
    bought = sorted(
        (ln.platform_sku_id, ln.outer_code, ln.quantity)
        for ln in work.lines
        if ln.bundle_line_id is None and ln.channel_line_id
    )
    told = sorted(
        ((ln.platform_sku_id or "")[:64], (ln.outer_code or "")[:100], ln.quantity)
        for ln in draft.lines
    )
    if bought != told:
        words = "平台修改了订单商品，与已接收的不一致，请与买家确认"
        work.hold(HoldDraft(HoldKind.CHANGED, "lines", "2", words))


def follow_up(works: Sequence[Work], *, actor: Actor, now: datetime) -> None:
    """What the new state of known orders means for stock and parcels. After ``take``."""
    paid = [w.id for w in works if "paid_at" in w.changes]
    if paid:
        inventory.keep(paid)
    for work in works:
        if "receiver_sealed" in work.changes and work.status is S.ROUTED:
            fulfillment.void_labels(work.id, now=now)
        stopping = [d for d in work.opening.values() if d.kind in STOPPING]
        if work.status is S.ROUTED and stopping:
            fulfillment.stop_parcels(
                work.id, reason=stopping[0].words, by=actor.name, now=now, final=False
            )
    cancel.finish([w for w in works if w.status is S.CANCELED and w.passed], actor=actor, now=now)


STOPPING = frozenset(
    {HoldKind.REFUND, HoldKind.ADDRESS_CHANGE, HoldKind.CHANGED, HoldKind.CHANNEL, HoldKind.PERSON}
)


def take_refunds(drafts: Sequence[tuple[int, RefundDraft]], *, actor: Actor, now: datetime) -> None:
    """Keep refunds and act on them: stop what has not left, open a case for what has.

    A refund may come before its order; the order finds it when it is born.
    """
    changed = refunds.keep(drafts, now=now)
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


def _apply_refund(work: Work, request: RefundRequest) -> None:
    if work.status is S.CANCELED or work.status in GONE:
        return
    if request.state == "in_progress" and request.intercept_shipping:
        work.hold(refund_hold(f"买家申请退款 ¥{request.amount}，不得发货"))
    elif request.state == "refunded" and request.intercept_shipping:
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
    elif request.state in {"closed", "none"} and not refunds.still_open(work.id):
        work.unhold(HoldKind.REFUND, "买家撤销或退款关闭")


def _too_late(
    works: Sequence[Work],
    by_order: Mapping[int, Sequence[RefundRequest]],
    *,
    actor: Actor,
    now: datetime,
) -> None:
    """Refunds that met a parcel on its way: say so, and give the case to after-sales."""
    for work in works:
        asked = [r for r in by_order[work.id] if r.state == "in_progress"]
        if work.status not in GONE or not asked:
            continue
        stopped = Parcel.objects.filter(order_id=work.id, state=Parcel.State.SHIPPED).exists()
        reason = f"发货后退款 ¥{asked[0].amount}"
        if stopped and asked[0].intercept_shipping:
            fulfillment.stop_parcels(work.id, reason=reason, by=actor.name, now=now, final=False)
        else:
            fulfillment.open_tasks(
                [fulfillment.TaskRequest(work.id, Stage.AFTER_SALES, reason)], now=now
            )
