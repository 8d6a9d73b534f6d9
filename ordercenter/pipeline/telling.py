"""What is queued for the platforms and why: parcels that left, stopped parcels, memos.

Each is queued in the transaction of what it tells of, once a key. Stock figures are in
``publishing``, buyers' wishes for another address in ``wishes``.
"""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from channels_sync import outbox
from channels_sync.contracts import StopOutcome
from channels_sync.models import OutboundMessage
from fulfillment import services as fulfillment
from fulfillment.models import Parcel, ParcelLine, RefundRequest, Stage, Waybill
from ordercenter.audit.models import Action
from ordercenter.audit.services import record
from ordercenter.catalog.models import Channel
from ordercenter.core.actor import PIPELINE, Actor
from ordercenter.core.clock import now as clock_now
from ordercenter.core.errors import InvalidInput, NotFound
from ordercenter.core.live import announce
from ordercenter.core.policy import Can, require
from ordercenter.orders.models import OrderLine, SalesOrder
from ordercenter.orders.states import Leaves, OrderStatus
from ordercenter.pipeline.noting import note

Kind = OutboundMessage.Kind
GONE: Final = frozenset({Parcel.State.SHIPPED, Parcel.State.SIGNED})
GIVEN_UP: Final = frozenset({Parcel.State.CANCELED, Parcel.State.STOPPED})

# --- parcels --------------------------------------------------------------------------------


AT_THE_END: Final = frozenset({Channel.JD})
"""Platforms that take an order's parcels in one call: it is made when the last one leaves."""
IN_PARTS: Final[Mapping[str, Promise]] = {
    Channel.JD: _("京东整单只回传一次：最后一个包裹发出时，全部运单号一起回传"),
    Channel.PINDUODUO: _("拼多多按整单发货：首个包裹发出即显示整单已发货，其余作为追加包裹回传"),
    Channel.MINIPROGRAM: _("小程序按包裹回传，最后一个包裹发出时标记全部发货"),
    Channel.FILE: _("表格订单没有平台，不回传"),
}


def in_parts(channel: str) -> str:
    """How the platform hears of an order that leaves in parts, for those who decide it."""
    return str(IN_PARTS.get(channel, _("平台按商品行显示部分发货")))


def shipped(
    order: SalesOrder,
    parcel: Parcel,
    *,
    carrier: str,
    tracking_number: str,
    is_last: bool,
    now: datetime,
) -> None:
    """Have the platform told that a parcel of the locked order has left.

    An order from a sheet has no platform to tell; a parcel of part of an order with nothing in
    it that the platform knows (a gift of ours) is kept on file and said to nobody. A platform
    that takes all parcels in one call hears of them when the last has left (``is_last``).
    """
    channel = order.shop.channel
    if channel == Channel.FILE or (channel in AT_THE_END and not is_last):
        return
    others = Parcel.objects.filter(order=order).exclude(pk=parcel.pk)
    whole, lines = not others.exclude(state__in=GIVEN_UP).exists(), _lines(parcel)
    whole = (whole and is_last) or channel in AT_THE_END
    outbox.queue_out(
        Kind.SHIP,
        shop_id=order.shop_id,
        order_id=order.pk,
        key=f"ship:{parcel.number}:{tracking_number}",
        payload={
            "channel_number": order.channel_number,
            "carrier": carrier,
            "tracking_number": tracking_number,
            "shipped_at": now.isoformat(),
            "lines": lines,
            "whole": whole,
            "last": is_last,
            "others": _told_before(order, parcel),
        },
        now=now,
    )
    if whole or lines:
        fulfillment.open_tasks([fulfillment.TaskRequest(order.pk, Stage.NOTIFY)], now=now)


def no_more(order: SalesOrder, *, now: datetime) -> None:
    """What had not left of the locked order never will: a platform that was to hear of all its
    parcels at the end hears of those that left."""
    if order.shop.channel not in AT_THE_END:
        return
    gone = Waybill.objects.filter(
        parcel__order=order, parcel__state__in=GONE, state=Waybill.State.LIVE
    )
    last = gone.select_related("parcel").order_by("parcel__shipped_at", "pk").last()
    if last is not None:
        shipped(
            order, last.parcel, carrier=last.carrier, tracking_number=last.number, is_last=True,
            now=now,
        )  # fmt: skip


def _lines(parcel: Parcel) -> list[dict[str, object]]:
    """The platform's lines in a parcel and how much of each.

    A bundle's line is in every parcel that holds a part of it, by as many sets as that part
    stands for: a set that leaves in two parcels is on both notices.
    """
    inside = fulfillment.parcel_lines(parcel.pk)
    found: dict[str, int] = {}
    sets = _sets(inside)
    for row in inside:
        line = row.line
        if not line.channel_line_id:
            continue
        if line.bundle_line_id is None:
            units = found.get(line.channel_line_id, 0) + row.quantity
        else:
            units = max(found.get(line.channel_line_id, 0), sets[row.pk])
        found[line.channel_line_id] = units
    return [{"channel_line_id": pk, "quantity": units} for pk, units in found.items()]


def _sets(inside: Sequence[ParcelLine]) -> dict[int, int]:
    """How many sets of its bundle each row of a parcel stands for, rounded up."""
    parts = [row for row in inside if row.line.bundle_line_id]
    if not parts:
        return {}
    bundles = OrderLine.objects.in_bulk({row.line.bundle_line_id for row in parts})
    found = {}
    for row in parts:
        bundle = bundles[row.line.bundle_line_id or 0]
        # By the lines, as the bundle was when it was taken apart; it may be made of others now.
        each = row.line.quantity // bundle.quantity
        found[row.pk] = min(bundle.quantity, -(-row.quantity // max(each, 1)))
    return found


def _told_before(order: SalesOrder, parcel: Parcel) -> list[str]:
    """The tracking numbers of the order's parcels that left before this one."""
    return list(
        Waybill.objects.filter(
            parcel__order=order, parcel__state__in=GONE, state=Waybill.State.LIVE
        )
        .exclude(parcel=parcel)
        .exclude(number="")
        .order_by("parcel__shipped_at", "pk")
        .values_list("number", flat=True)
    )


# --- refunds that stop a parcel -------------------------------------------------------------

NOT_SYNCED_AFTER: Final = timedelta(minutes=5)
"""How long an order may be on its way to us before its refund is answered without it."""
FORGET_AFTER: Final = timedelta(days=2)
BETTER: Final = {
    "": 0,
    StopOutcome.NOT_SYNCED: 1,
    StopOutcome.LABEL_PRINTED: 2,
    StopOutcome.STOPPED: 3,
    StopOutcome.SHIPPED: 3,
}
"""How much each answer knows: one that knows more may take another's place, never the reverse."""
WORDS: Final = {
    StopOutcome.STOPPED: "订单已拦下，不会发货",
    StopOutcome.NOT_SYNCED: "订单尚未同步到系统",
    StopOutcome.LABEL_PRINTED: "面单已打印，正在拦截",
    StopOutcome.SHIPPED: "包裹已发出",
}


@dataclass(frozen=True, slots=True)
class _Found:
    """What became of the parcel a refund wants stopped."""

    outcome: StopOutcome
    waybill: Waybill | None = None


def answer_stops(order_ids: Collection[int], *, actor: Actor, now: datetime) -> int:
    """Answer the open refunds of these orders as their parcels stand; return how many.

    In the transaction of what decided it. Repeatable: an answer is queued once, and again only
    when more is known, or when the platform counts a new version of the refund.
    """
    requests = list(
        RefundRequest.objects.filter(
            order_id__in=order_ids, state="in_progress", intercept_shipping=True
        )
        .select_related("order", "shop")
        .order_by("pk")
    )
    return sum(
        _answer(request, _outcome(request), actor=actor, now=now)
        for request in requests
        if request.shop.channel != Channel.FILE
    )


def _outcome(request: RefundRequest) -> _Found:
    order = request.order
    assert order is not None
    parcels = Parcel.objects.filter(order=order)
    if request.channel_line_id:
        with_line = parcels.filter(parcel_lines__line__channel_line_id=request.channel_line_id)
        waits = order.lines.filter(channel_line_id=request.channel_line_id, leaves=Leaves.LATER)
        parcels = with_line if with_line.exists() or waits.exists() else parcels
    waybills = Waybill.objects.filter(
        parcel__in=parcels, state=Waybill.State.LIVE
    ).order_by("-pk")  # fmt: skip
    if parcels.filter(state__in=GONE).exists():
        return _Found(StopOutcome.SHIPPED, waybills.filter(parcel__state__in=GONE).first())
    printed = waybills.first()
    if order.status != OrderStatus.CANCELED and printed is not None:
        return _Found(StopOutcome.LABEL_PRINTED, printed)
    return _Found(StopOutcome.STOPPED)


def _answer(request: RefundRequest, found: _Found, *, actor: Actor, now: datetime) -> bool:
    subject = f"stop:{request.pk}"
    told = [
        message.payload["outcome"]
        for message in OutboundMessage.objects.filter(
            kind=Kind.STOP, key__startswith=f"{subject}:{request.version}:"
        )
        if message.payload["version"] == request.version
    ]
    known = max((BETTER[StopOutcome(one)] for one in told), default=0)
    if BETTER[found.outcome] <= known:
        return False
    outbox.supersede([subject], now=now)
    waybill = found.waybill
    outbox.queue_out(
        Kind.STOP,
        shop_id=request.shop_id,
        order_id=request.order_id,
        key=f"{subject}:{request.version}:{found.outcome}",
        subject=subject,
        payload={
            "request": request.pk,
            "channel_number": request.channel_number,
            "refund_id": request.refund_id,
            "channel_line_id": request.channel_line_id,
            "amount": str(request.amount),
            "version": request.version,
            "outcome": found.outcome.value,
            "words": WORDS[found.outcome],
            "tracking_number": waybill.number if waybill else "",
            "carrier": waybill.carrier if waybill else "",
        },
        now=now,
    )
    record(
        Action.STOP_ANSWERED, object_type="refund", object_id=request.pk, actor=actor,
        change={"answer": [request.answer, found.outcome.value], "version": request.version},
    )  # fmt: skip
    return True


@transaction.atomic
def answer_unknown(*, now: datetime | None = None) -> str:
    """Tell the platforms of refunds whose orders have not reached us for a while."""
    now = now or clock_now()
    lost = (
        RefundRequest.objects.filter(
            order=None, state="in_progress", intercept_shipping=True,
            created_at__lte=now - NOT_SYNCED_AFTER, created_at__gte=now - FORGET_AFTER,
        )
        .exclude(shop__channel=Channel.FILE)
        .order_by("pk")
        .select_for_update(no_key=True, skip_locked=True, of=("self",))
    )  # fmt: skip
    found = _Found(StopOutcome.NOT_SYNCED)
    answered = sum(_answer(request, found, actor=PIPELINE, now=now) for request in lost)
    return f"{answered} refunds of unknown orders answered"


# --- memos ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class MemoRules:
    """What a platform takes as a merchant's note. ``flags`` are its own numbers."""

    longest: int = 500
    in_bytes: bool = False
    flags: tuple[tuple[int, str], ...] = ()

    def fits(self, text: str) -> bool:
        return len(text.encode() if self.in_bytes else text) <= self.longest

    @property
    def limit(self) -> str:
        if self.in_bytes:
            return f"{self.longest} 字节（约 {self.longest // 3} 个汉字）"
        return f"{self.longest} 个字"


_COLORS: Final = ((1, "红"), (2, "黄"), (3, "绿"), (4, "蓝"), (5, "紫"))
_STARS: Final = tuple((n, "★" * n if n else "无") for n in range(6))
MEMOS: Final[Mapping[str, MemoRules]] = {
    Channel.TAOBAO: MemoRules(1000, in_bytes=True, flags=((0, "灰"), *_COLORS)),
    Channel.JD: MemoRules(500, flags=((0, "灰"), *_COLORS)),
    Channel.DOUYIN: MemoRules(60, flags=_STARS),
    Channel.PINDUODUO: MemoRules(flags=_COLORS),
}
"""``channels.md`` 1d, 2d, 3d, 4d; where it names no length it is the house's own."""


def memo_rules(channel: str) -> MemoRules | None:
    """What may be noted on orders of this channel; None where there is no platform."""
    return None if channel == Channel.FILE else MEMOS.get(channel, MemoRules())


@transaction.atomic
def write_memo(
    order_id: int,
    text: str,
    flag: int | None,
    *,
    user: AbstractBaseUser,
    actor: Actor,
    seen_version: int,
) -> bool:
    """Queue a note on the order for its platform; False where this very post came before.

    Right: WRITE_MEMO. Raises InvalidInput where it is empty, too long or has a flag the
    platform does not know. What others noted there stays.
    """
    require(user, Can.WRITE_MEMO)
    if not SalesOrder.objects.visible_to(user).filter(pk=order_id).exists():
        raise NotFound(what=f"订单 {order_id}")
    order = SalesOrder.objects.locked([order_id]).get()
    text = _checked_memo(order.shop.channel, " ".join(text.split()), flag)
    print_ = hashlib.blake2b(f"{flag}\0{text}".encode(), digest_size=8).hexdigest()
    new = outbox.queue_out(
        Kind.MEMO,
        shop_id=order.shop_id,
        order_id=order.pk,
        key=f"memo:{order.pk}:{seen_version}:{print_}",
        payload={"channel_number": order.channel_number, "text": text, "flag": flag},
        now=clock_now(),
    )
    if new:
        note(order, Action.MEMO_WRITTEN, {"characters": len(text), "flag": flag}, actor=actor)
        announce("orders", order_id=order.pk)
    return new


def _checked_memo(channel: str, text: str, flag: int | None) -> str:
    rules = memo_rules(channel)
    if rules is None:
        raise InvalidInput(what="该订单没有平台，不能回写备注")
    if not text and flag is None:
        raise InvalidInput(what="请填写备注或选择标记")
    if "\0" in text or any("\ud800" <= sign <= "\udfff" for sign in text):
        raise InvalidInput(what="备注中含有无法保存的字符")
    if not rules.fits(text):
        raise InvalidInput(what=f"备注太长：该平台最多 {rules.limit}")
    if flag is not None and flag not in dict(rules.flags):
        raise InvalidInput(what="该平台没有这个标记")
    return text
