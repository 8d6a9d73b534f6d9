"""Buyers who ask for another address: heard, held, answered in time.

A wish comes with the order or by a message of its own, and holds the order until the platform
shows it no more, or the receiver changes. Nothing is shipped to either address meanwhile.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction
from django.utils.translation import gettext_lazy as _

from channels_sync import outbox
from channels_sync.models import OutboundMessage
from fulfillment import answers
from fulfillment.answers import Wish
from fulfillment.models import AddressRequest
from ordercenter.audit.models import Action
from ordercenter.core.actor import PIPELINE, Actor
from ordercenter.core.clock import now as clock_now
from ordercenter.core.errors import InvalidInput, NotFound, OrderCenterError
from ordercenter.core.live import announce
from ordercenter.core.masking import mask_name, mask_phone
from ordercenter.core.policy import Can, require
from ordercenter.orders.contracts import AddressChangeDraft, OrderDraft, ReceiverDraft
from ordercenter.orders.models import SalesOrder
from ordercenter.orders.states import OPEN, HoldKind
from ordercenter.pipeline import updates
from ordercenter.pipeline.drafts import clean, region_of
from ordercenter.pipeline.path import take
from ordercenter.pipeline.publishing import telling_stock
from ordercenter.pipeline.updates import ASKED, ASKED_BY_MESSAGE, wish_hold
from ordercenter.pipeline.work import Work, load

OrderKey = tuple[int, str]
SHORTEST: Final = 2
LONGEST: Final = 200


class Answered(OrderCenterError):
    code = "answered"
    message = _("该申请%(state)s，无需再次答复")


def shown(receiver: ReceiverDraft | None) -> str:
    """A wished-for address as a page may show it."""
    if receiver is None:
        return ""
    region = "".join(region_of(receiver))
    name, phone = receiver.name, receiver.phone
    if not receiver.is_masked:
        name, phone = mask_name(name), mask_phone(phone)
    return clean(f"{region}{receiver.town} {name} {phone}".strip(), 200)


def _wish(shop_id: int, order_id: int, channel_number: str, change: AddressChangeDraft) -> Wish:
    return Wish(
        order_id, shop_id, channel_number, change.asked_at, change.answer_by,
        shown(change.receiver),
    )  # fmt: skip


def unanswered(
    drafts: Mapping[OrderKey, OrderDraft], known: Mapping[OrderKey, int], *, now: datetime
) -> dict[OrderKey, OrderDraft]:
    """The drafts without the wishes we have refused: a platform shows them a while longer."""
    asking = {
        known[key]: draft.address_change
        for key, draft in drafts.items()
        if draft.address_change is not None and key in known
    }
    if not asking:
        return dict(drafts)
    refused = answers.refused(asking)
    over = {
        pk
        for pk, last in refused.items()
        if answers.is_answered(last, asking[pk].asked_at, now=now)
    }
    return {
        key: replace(draft, address_change=None) if known.get(key) in over else draft
        for key, draft in drafts.items()
    }


def keep(works: Sequence[Work], drafts: Mapping[OrderKey, OrderDraft], *, now: datetime) -> None:
    """Keep the wishes these orders came with; end those that are shown no more. After ``take``."""
    asked = []
    for work in works:
        draft = drafts[work.shop_id, work.channel_number]
        if draft.address_change and draft.modified_at >= work.channel_modified_at:
            asked.append(_wish(work.shop_id, work.id, work.channel_number, draft.address_change))
    key = (HoldKind.ADDRESS_CHANGE.value, ASKED)
    ended = [work.id for work in works if key in work.open_holds and key in work.closing]
    if asked:
        answers.keep(asked, now=now)
    if ended:
        answers.gone(ended, now=now)


@telling_stock()
def hear(shop_id: int, channel_number: str, change: AddressChangeDraft, *, now: datetime) -> bool:
    """Take a wish that came by a message of its own; False where its order is not known yet."""
    order_ids = SalesOrder.objects.filter(
        shop_id=shop_id, channel_number=channel_number
    ).values_list("pk", flat=True)
    works = load(list(order_ids))
    if not works:
        return False
    (work,) = works
    last = AddressRequest.objects.filter(order_id=work.id).order_by("-pk").first()
    if last is not None and answers.is_answered(last, change.asked_at, now=now):
        return True
    if work.status in OPEN:
        work.action = Action.ORDER_UPDATED
        work.hold(wish_hold(ASKED_BY_MESSAGE))
        take([work], actor=PIPELINE, now=now)
        updates.follow_up([work], actor=PIPELINE, now=now)
    answers.keep([_wish(shop_id, work.id, channel_number, change)], now=now)
    announce("orders", order_id=work.id)
    return True


@telling_stock()
def answer(
    request_id: int, *, approve: bool, reason: str, user: AbstractBaseUser, actor: Actor
) -> AddressRequest:
    """Say yes or no to a buyer; the platform is told before its deadline.

    Right: EDIT_RECEIVER. A no needs a reason and lets the order go on. After a yes it stands
    until the platform sends the new address. Raises Answered where somebody was quicker.
    """
    require(user, Can.EDIT_RECEIVER)
    visible = SalesOrder.objects.visible_to(user)
    found = AddressRequest.objects.filter(pk=request_id, order__in=visible).first()
    if found is None:
        raise NotFound(what=f"改地址申请 {request_id}")
    reason = " ".join(reason.split())
    if len(reason) > LONGEST or "\0" in reason or (not approve and len(reason) < SHORTEST):
        raise InvalidInput(what=f"请填写拒绝的原因，{SHORTEST} 到 {LONGEST} 个字")
    (work,) = load([found.order_id])
    request = AddressRequest.objects.select_for_update().get(pk=found.pk)
    if request.state != AddressRequest.State.OPEN:
        raise Answered(state=request.get_state_display())
    now = clock_now()
    request.state = AddressRequest.State.APPROVED if approve else AddressRequest.State.REFUSED
    request.decided_by, request.decided_at = actor.name[:150], now
    request.reason = reason
    request.save(update_fields=["state", "decided_by", "decided_at", "reason"])
    _queue(request, approve=approve, now=now)
    if not approve:
        for code in (ASKED, ASKED_BY_MESSAGE):
            work.unhold(HoldKind.ADDRESS_CHANGE, f"已拒绝改地址：{reason}", code=code)
    work.action, work.reason, work.row_changed = Action.ADDRESS_ANSWERED, reason, True
    work.changes["address_request"] = [request.pk, request.state]
    take([work], actor=actor, now=now)
    return request


def _queue(request: AddressRequest, *, approve: bool, now: datetime) -> None:
    outbox.queue_out(
        OutboundMessage.Kind.ADDRESS,
        shop_id=request.shop_id,
        order_id=request.order_id,
        key=f"address:{request.pk}",
        payload={
            "channel_number": request.channel_number,
            "approve": approve,
            "words": request.reason,
        },
        answer_by=request.answer_by,
        now=now,
    )


@transaction.atomic
def lapse(*, now: datetime | None = None) -> str:
    """Mark the wishes nobody answered in time; their orders wait for the new address."""
    lapsed = answers.lapse(now=now or clock_now())
    if lapsed:
        announce("orders", lapsed=lapsed)
    return f"{lapsed} wishes for another address lapsed"
