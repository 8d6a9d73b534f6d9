"""The work of the stages: who has what to do, and what doing it changes.

The order row is locked, behind the gates of the interceptions, and its holds are read after the
lock: a stop that comes between is seen at the scan. No lock is held over a carrier call: intent,
call, then a second check.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

import httpx
from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction
from django.db.models import Case, Q, QuerySet, When
from django.utils.translation import gettext_lazy as _

from fulfillment import services as fulfillment
from fulfillment.carriers.account import speaking
from fulfillment.carriers.wire import make_client
from fulfillment.contracts import (
    CarrierError,
    CarrierTryLater,
    CarrierUnknown,
    Contact,
    Goods,
    Issued,
    WaybillRequest,
)
from fulfillment.models import CarrierAccount, Parcel, Stage, StageTask, Waybill
from inventory import services as inventory
from ordercenter.audit.models import Action
from ordercenter.core.actor import PIPELINE, Actor
from ordercenter.core.clock import now as clock_now
from ordercenter.core.errors import InvalidInput, NotFound, OrderCenterError
from ordercenter.core.live import announce
from ordercenter.core.policy import SCOPED, Can, allows, require, roles_of
from ordercenter.orders.contracts import ReceiverDraft
from ordercenter.orders.errors import OrderCanceled, OrderHeld, WrongState
from ordercenter.orders.models import OrderHold, OrderLine, SalesOrder
from ordercenter.orders.states import Disposition, HoldKind, Leaves, OrderStatus
from ordercenter.pipeline import decisions, privacy, telling
from ordercenter.pipeline.drafts import LONGEST_ADDRESS, known_receiver
from ordercenter.pipeline.interception import gates
from ordercenter.pipeline.interception.bench import AtGate, held_first
from ordercenter.pipeline.noting import note
from ordercenter.pipeline.publishing import telling_stock

logger = logging.getLogger(__name__)
INTENT_AGE: Final = timedelta(minutes=2)
RIGHTS: Final[Mapping[Stage, Can]] = {
    Stage.FIRST_REVIEW: Can.EDIT_RECEIVER,
    Stage.FINANCE_CHECK: Can.CONFIRM_PAYMENT,
    Stage.PICK: Can.PICK,
    Stage.PACK: Can.PACK,
    Stage.AFTER_SALES: Can.AFTER_SALES,
    Stage.PUT_BACK: Can.PICK,
}
"""``notify`` has no row: it is the system's own stage."""
IN_WAREHOUSE: Final = frozenset({Stage.PICK, Stage.PACK, Stage.PUT_BACK})


class CarrierRefused(OrderCenterError):
    code = "carrier_refused"
    message = _("快递公司没有给出单号：%(why)s")


@dataclass(frozen=True, slots=True)
class Scan:
    """What a scanned code stands for, and whether it must stop."""

    order: SalesOrder
    parcel: Parcel | None
    task: StageTask | None
    stopped: bool
    words: tuple[str, ...]


def tasks_for(user: AbstractBaseUser) -> QuerySet[StageTask]:
    """Open tasks of the user's roles and scopes, the most urgent first."""
    stages = [stage for stage, right in RIGHTS.items() if allows(user, right)]
    tasks = StageTask.objects.filter(state=StageTask.State.OPEN, stage__in=stages)
    if roles_of(user) <= SCOPED:
        shops = Q(order__shop__shopassignment__user=user.pk) & ~Q(stage__in=IN_WAREHOUSE)
        places = Q(warehouse__warehouseassignment__user=user.pk, stage__in=IN_WAREHOUSE)
        tasks = tasks.filter(shops | places)
    return tasks.select_related("order", "order__shop", "parcel", "warehouse").order_by(
        "-priority", "due_at"
    )


def _mine(task_id: int, user: AbstractBaseUser) -> StageTask:
    task = tasks_for(user).filter(pk=task_id).first()
    if task is None:
        raise NotFound(what=f"任务 {task_id}")
    return task


@transaction.atomic
def claim_task(task_id: int, *, user: AbstractBaseUser) -> StageTask:
    """Take a task in hand; somebody else's stays theirs."""
    task = StageTask.objects.select_for_update().get(pk=_mine(task_id, user).pk)
    if task.assignee_id not in {None, user.pk}:
        raise InvalidInput(what="该任务已有同事在处理")
    task.assignee_id = user.pk
    task.save(update_fields=["assignee"])
    return task


def _guard(order: SalesOrder) -> None:
    """Refuse whatever would move goods of an order that must stand still."""
    if order.status == OrderStatus.CANCELED:
        raise OrderCanceled(number=order.number)
    if words := _hold_words(order):
        raise OrderHeld(number=order.number, words="；".join(words))
    if words := gates.words_for(order.pk):
        raise AtGate(order.pk, number=order.number, words="；".join(words))


def stop_words(order: SalesOrder) -> tuple[str, ...]:
    """Why the order must stand still, in words; empty when it may go on."""
    if order.status == OrderStatus.CANCELED:
        return ("订单已取消",)
    return tuple(dict.fromkeys((*_hold_words(order), *gates.words_for(order.pk))))


def _hold_words(order: SalesOrder) -> tuple[str, ...]:
    holds = OrderHold.objects.open().filter(order=order).order_by("-tier")
    return tuple(holds.values_list("words", flat=True))


@held_first
@telling_stock()
def finish_task(
    task_id: int, *, user: AbstractBaseUser, actor: Actor, answer: Mapping[str, str] | None = None
) -> None:
    """Finish a task of the user's own; the order moves on by itself. A second click changes
    nothing: the task is no longer open (NotFound)."""
    task = _mine(task_id, user)
    order = gates.locked_order(task.order_id)
    task = _mine(task_id, user)  # again, behind the lock: two people may have clicked
    stage = Stage(task.stage)
    now = clock_now()
    if stage is Stage.PICK:
        _picked(task, order, actor=actor, now=now)
    elif stage is Stage.PACK:
        raise InvalidInput(what="请扫描面单完成打包出库")
    elif stage is Stage.PUT_BACK:
        _done(task, order, actor=actor, now=now)
        telling.answer_stops([order.pk], actor=actor, now=now)
    elif stage is Stage.FINANCE_CHECK:
        _checked(task, order, user=user, actor=actor, now=now)
    elif stage is Stage.FIRST_REVIEW:
        _reviewed(task, order, actor=actor, now=now)
    else:
        _talked(task, order, actor=actor, now=now, answer=answer or {})
    announce("orders", task=task_id)


def _done(
    task: StageTask, order: SalesOrder, *, actor: Actor, now: datetime, **facts: object
) -> None:
    _close(task, actor=actor, now=now)
    note(order, Action.STAGE_DONE, {"stage": task.stage, **facts}, actor=actor)


def _close(task: StageTask, *, actor: Actor, now: datetime) -> None:
    task.state, task.done_at, task.done_by = StageTask.State.DONE, now, actor.name[:150]
    task.save(update_fields=["state", "done_at", "done_by"])


def _picked(task: StageTask, order: SalesOrder, *, actor: Actor, now: datetime) -> None:
    _guard(order)
    assert task.parcel_id is not None
    parcel = Parcel.objects.select_for_update().get(pk=task.parcel_id)
    if parcel.state != Parcel.State.PLANNED:
        raise WrongState(number=order.number, status=parcel.get_state_display(), what="拣货")
    parcel.state = Parcel.State.PICKED
    parcel.save(update_fields=["state"])
    _done(task, order, actor=actor, now=now)
    fulfillment.open_tasks(
        [
            fulfillment.TaskRequest(
                order.pk, Stage.PACK, "", task.priority, parcel.warehouse_id, parcel.pk
            )
        ],
        now=now,
    )


def _checked(
    task: StageTask, order: SalesOrder, *, user: AbstractBaseUser, actor: Actor, now: datetime
) -> None:
    holds = list(
        OrderHold.objects.open()
        .filter(order=order, kind=HoldKind.PAYMENT)
        .values_list("pk", flat=True)
    )
    if holds:
        decisions.release_order(
            order.pk, holds, user=user, actor=actor, seen_version=order.version,
            reason="财务已核对款项",
        )  # fmt: skip
        StageTask.objects.filter(pk=task.pk, state=StageTask.State.OPEN).update(
            state=StageTask.State.DONE, done_at=now, done_by=actor.name[:150]
        )
        return
    _done(task, order, actor=actor, now=now)


def _reviewed(task: StageTask, order: SalesOrder, *, actor: Actor, now: datetime) -> None:
    if OrderHold.objects.open().filter(order=order, kind=HoldKind.INCOMPLETE).exists():
        raise InvalidInput(what="收货信息仍不完整，请先补全")
    returned = OrderHold.objects.open().filter(order=order, disposition=Disposition.RETURNED)
    came_back = returned.update(disposition=Disposition.WAITING)
    _done(task, order, actor=actor, now=now)
    if came_back:
        decisions.judge_again(order.pk, actor=actor, now=now)


def _talked(
    task: StageTask, order: SalesOrder, *, actor: Actor, now: datetime, answer: Mapping[str, str]
) -> None:
    remark = answer.get("note", "").strip()[:400]
    if answer.get("outcome") not in {"resume", "cancel"}:
        raise InvalidInput(what="请选择买家的答复：继续发货，或同意取消")
    said = "买家确认继续发货" if answer["outcome"] == "resume" else "买家同意取消"
    holds = OrderHold.objects.open().filter(order=order, disposition=Disposition.AFTER_SALES)
    for hold in holds:
        hold.evidence = {**hold.evidence, "after_sales": f"{said} {remark}".strip()}
        hold.disposition = Disposition.WAITING
        hold.save(update_fields=["evidence", "disposition"])
    _done(task, order, actor=actor, now=now, answer=f"{said} {remark}".strip())


def scan(code: str, *, user: AbstractBaseUser) -> Scan:
    """Say what a code from the scanner stands for: parcel, tracking or order number.

    What the user may not see does not exist (NotFound).
    """
    code = code.strip()[:64]
    if not (allows(user, Can.PICK) or allows(user, Can.PACK)):
        require(user, Can.PACK)
    parcels = Parcel.objects.select_related("order", "warehouse")
    if roles_of(user) <= SCOPED:
        parcels = parcels.filter(warehouse__warehouseassignment__user=user.pk)
    parcel = (
        parcels.filter(
            Q(number=code)
            | Q(pk__in=Waybill.objects.filter(number=code).exclude(number="").values("parcel"))
            | Q(order__number=code)
        )
        # An order's number stands for what of it lies here still.
        .order_by(Case(When(state__in=fulfillment.BEFORE_HAND_OVER, then=0), default=1), "-pk")
        .first()
    )
    if parcel is None:
        raise NotFound(what=f"单号 {code}")
    words = stop_words(parcel.order)
    if parcel.state in {Parcel.State.STOPPED, Parcel.State.CANCELED} and not words:
        words = ("包裹已被拦截，请退回货位",)
    task = StageTask.objects.filter(parcel=parcel, state=StageTask.State.OPEN).first()
    return Scan(parcel.order, parcel, task, bool(words), words)


def reachable(parcel_id: int, user: AbstractBaseUser) -> Parcel:
    """A parcel the user may pack; what lies in other warehouses does not exist (NotFound)."""
    require(user, Can.PACK)
    parcels = Parcel.objects.filter(pk=parcel_id)
    if roles_of(user) <= SCOPED:
        parcels = parcels.filter(warehouse__warehouseassignment__user=user.pk)
    parcel = parcels.select_related("order", "warehouse").first()
    if parcel is None:
        raise NotFound(what=f"包裹 {parcel_id}")
    return parcel


@held_first
def request_label(
    parcel_id: int,
    *,
    user: AbstractBaseUser,
    actor: Actor,
    client: httpx.Client | None = None,
) -> Waybill:
    """Get the parcel's waybill: the live one again, or a new one from the carrier.

    The intent is committed before the call; after a time-out the next request asks the
    carrier by our reference before anything is ordered again: one parcel, one bill. A number
    that arrives for an order stopped meanwhile is void at once and never printed.
    """
    parcel = reachable(parcel_id, user)
    waybill = _intend(parcel, actor=actor)
    if waybill.state == Waybill.State.LIVE:
        return waybill
    issued = _ask_carrier(waybill, client, actor)
    _refuse_doubtful(waybill, issued)
    return _issue(waybill.pk, issued, actor=actor)


@transaction.atomic
def _intend(parcel: Parcel, *, actor: Actor) -> Waybill:
    order = gates.locked_order(parcel.order_id)
    _guard(order)
    parcel = Parcel.objects.select_for_update().get(pk=parcel.pk)
    if parcel.state not in {Parcel.State.PICKED, Parcel.State.PACKED}:
        raise WrongState(number=order.number, status=parcel.get_state_display(), what="打面单")
    waybill = Waybill.objects.filter(
        parcel=parcel, state__in=[Waybill.State.INTENT, Waybill.State.LIVE]
    ).first()
    if waybill is None:
        tries = Waybill.objects.filter(parcel=parcel).count() + 1
        waybill = Waybill.objects.create(
            parcel=parcel,
            client_reference=f"{parcel.number}-W{tries}",
            carrier=fulfillment.CARRIER,
            created_at=clock_now(),
        )
    return waybill


def _ask_carrier(waybill: Waybill, client: httpx.Client | None, actor: Actor) -> Issued:
    account = CarrierAccount.objects.filter(code=waybill.carrier, is_active=True).first()
    if account is None:
        raise CarrierRefused(why="没有可用的快递账号，请联系 IT")
    request = _waybill_request(waybill, account, actor)
    try:
        with client or make_client() as line:
            carrier = speaking(account, line)
            try:
                return carrier.create(request)
            except CarrierUnknown:
                found = carrier.find(waybill.client_reference)
                return found or carrier.create(request)
    except (CarrierTryLater, CarrierUnknown) as error:
        Waybill.objects.filter(pk=waybill.pk).update(error=error.fault.message[:300])
        raise CarrierRefused(why=f"{error.fault.message}，请稍后重试") from error
    except CarrierError as error:
        Waybill.objects.filter(pk=waybill.pk, state=Waybill.State.INTENT).update(
            state=Waybill.State.FAILED, error=error.fault.message[:300]
        )
        raise CarrierRefused(why=error.fault.message) from error


def settle_intents(*, now: datetime | None = None) -> str:
    """Ask the carriers what became of label requests nobody repeated: adopt the number or let go.

    After ``INTENT_AGE`` an intent is either live, void, or failed, so that no bill is ever for a
    number that we do not know.
    """
    now = now or clock_now()
    old = Waybill.objects.filter(
        state=Waybill.State.INTENT, created_at__lte=now - INTENT_AGE
    ).order_by("pk")[:100]
    settled = 0
    for waybill in old:
        account = CarrierAccount.objects.filter(code=waybill.carrier, is_active=True).first()
        if account is None:
            continue
        try:
            with make_client() as line:
                found = speaking(account, line).find(waybill.client_reference)
        except CarrierError as error:
            logger.warning("carrier %s does not answer: %s", waybill.carrier, error.fault.code)
            continue
        if found is None:
            Waybill.objects.filter(pk=waybill.pk, state=Waybill.State.INTENT).update(
                state=Waybill.State.FAILED, error="快递公司没有这张单"
            )
        else:
            try:
                _refuse_doubtful(waybill, found)
            except CarrierRefused:
                continue
            _issue(waybill.pk, found, actor=PIPELINE)
        settled += 1
    return f"{settled} label requests settled"


def _label_receiver(order: SalesOrder, account: CarrierAccount, actor: Actor) -> ReceiverDraft:
    """Where the parcel goes, whole and clear.

    What the channel masked goes to the carrier as it is only where the account says that its
    interface knows masked receivers (option ``takes_masked``); elsewhere the platform is asked
    to open it for this label. Raises RevealRefused where it does not.
    """
    if str(account.options.get("takes_masked", "")) == "yes":
        told = known_receiver(order.receiver_sealed).receiver
    else:
        told = privacy.for_label(order, actor=actor)
    if not (told.name and told.phone and told.address):
        raise InvalidInput(what="收货信息不完整，不能打面单，请先补全")
    if len(told.address) > LONGEST_ADDRESS:
        raise InvalidInput(what="详细地址过长，面单放不下，请先核对修改")
    return told


def _waybill_request(waybill: Waybill, account: CarrierAccount, actor: Actor) -> WaybillRequest:
    parcel = waybill.parcel
    told, place = _label_receiver(parcel.order, account, actor), parcel.warehouse
    lines = fulfillment.parcel_lines(parcel.pk)
    return WaybillRequest(
        client_reference=waybill.client_reference,
        sender=Contact(
            place.contact or place.name, place.phone, place.province, place.city, place.district,
            place.address, str(account.options.get("company", "")),
        ),
        receiver=Contact(
            told.name, told.phone, told.province, told.city, told.district, told.address
        ),
        goods=tuple(Goods(line.sku.name, line.quantity) for line in lines),
        weight_grams=sum(line.sku.weight_grams * line.quantity for line in lines),
    )  # fmt: skip


def _refuse_doubtful(waybill: Waybill, issued: Issued) -> None:
    """A number that is none yet, or another parcel's, never becomes a label."""
    if issued.needs_check:
        raise CarrierRefused(why="快递公司正在人工核对收件地址，请几分钟后再试")
    others = Waybill.objects.filter(carrier=waybill.carrier, number=issued.number)
    if not issued.number.strip() or others.exclude(pk=waybill.pk).exists():
        words = f"快递公司给出的单号无效或已被使用：{issued.number[:40]}"
        Waybill.objects.filter(pk=waybill.pk, state=Waybill.State.INTENT).update(
            state=Waybill.State.FAILED, error=words
        )
        raise CarrierRefused(why=words)


@transaction.atomic
def _issue(waybill_id: int, issued: Issued, *, actor: Actor) -> Waybill:
    """Second check, behind the lock: live, or void because the order was stopped meanwhile."""
    parcel_order = Waybill.objects.values_list("parcel__order_id", flat=True).get(pk=waybill_id)
    order = gates.locked_order(parcel_order)
    waybill = Waybill.objects.select_for_update().get(pk=waybill_id)
    now = clock_now()
    if waybill.state == Waybill.State.LIVE:
        return waybill
    waybill.number, waybill.facts, waybill.issued_at = issued.number, dict(issued.facts), now
    stopped = waybill.state != Waybill.State.INTENT or bool(stop_words(order))
    waybill.state = Waybill.State.VOID if stopped else Waybill.State.LIVE
    waybill.voided_at = now if stopped else None
    action = Action.WAYBILL_VOIDED if stopped else Action.WAYBILL_ISSUED
    if not stopped:
        waybill.order_version = order.version + 1
        Parcel.objects.filter(pk=waybill.parcel_id).update(state=Parcel.State.PACKED)
    waybill.save()
    note(order, action, {"waybill": issued.number}, actor=actor)
    announce("orders", order_id=order.pk)
    return waybill


@held_first
@telling_stock()
def ship_parcel(
    parcel_id: int, *, user: AbstractBaseUser, actor: Actor, tracking_number: str
) -> None:
    """The parcel leaves: shelf deducted, ship notice queued, order shipped. Repeatable.

    Raises OrderHeld when a stop came in between, InvalidInput when the label scanned is not
    this parcel's.
    """
    parcel = reachable(parcel_id, user)
    order = gates.locked_order(parcel.order_id)
    parcel = Parcel.objects.select_for_update().get(pk=parcel.pk)
    waybill = Waybill.objects.filter(parcel=parcel, state=Waybill.State.LIVE).first()
    if waybill is None or waybill.number != tracking_number.strip():
        if parcel.state not in {Parcel.State.SHIPPED, Parcel.State.SIGNED}:
            _guard(order)  # a stop explains more than a label that is void because of it
        raise InvalidInput(what="扫描的面单与本包裹不符，请核对后重扫")
    if parcel.state in {Parcel.State.SHIPPED, Parcel.State.SIGNED}:
        return
    _guard(order)
    if parcel.state != Parcel.State.PACKED:
        raise WrongState(number=order.number, status=parcel.get_state_display(), what="出库")
    now = clock_now()
    reservations = list(parcel.parcel_lines.values_list("reservation_id", flat=True))
    inventory.consume(reservations, order_id=order.pk, reason="ship", actor=actor, now=now)
    parcel.state, parcel.shipped_at = Parcel.State.SHIPPED, now
    parcel.shipped_version = order.version + 1
    parcel.save(update_fields=["state", "shipped_at", "shipped_version"])
    StageTask.objects.filter(parcel=parcel, state=StageTask.State.OPEN).update(
        state=StageTask.State.DONE, done_at=now, done_by=actor.name[:150]
    )
    is_last = leaves_last(order, parcel)
    note(
        order, Action.PARCEL_SHIPPED, {"parcel": parcel.number, "waybill": waybill.number},
        actor=actor, to=OrderStatus.SHIPPED if is_last else None,
    )  # fmt: skip
    telling.shipped(
        order, parcel, carrier=waybill.carrier, tracking_number=waybill.number, is_last=is_last,
        now=now,
    )  # fmt: skip
    announce("orders", order_id=order.pk)


def leaves_last(order: SalesOrder, parcel: Parcel) -> bool:
    """Whether nothing of the locked order is to follow the parcel that leaves now.

    Where something is, the parcel's lines are marked as gone: they are not sent again.
    """
    follows = (
        Parcel.objects.filter(order=order, state__in=fulfillment.BEFORE_HAND_OVER).exists()
        or order.lines.filter(leaves=Leaves.LATER, is_dropped=False).exists()
    )
    if follows:
        inside = parcel.parcel_lines.values("line_id")
        OrderLine.objects.filter(pk__in=inside).update(leaves=Leaves.GONE)
    return not follows


def amounts(order: SalesOrder) -> dict[str, Decimal]:
    """The figures finance compares side by side, in the order's currency."""
    goods = sum(order.lines.filter(bundle_line=None).values_list("amount", flat=True), Decimal(0))
    return {
        "goods": goods,
        "freight": order.freight,
        "payable": order.payable_amount,
        "paid": order.paid_amount,
        "difference": order.paid_amount - order.payable_amount,
    }
