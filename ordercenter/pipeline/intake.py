"""From the inbox to the path: read a batch of messages, find their orders, take them along.

One transaction a batch: claim, read, decide, write, done. A batch that meets a bug is halved
until the poisoned message stands alone and is parked with its bytes; the others go on.
"""

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Final

from django.contrib.auth.models import AbstractBaseUser
from django.db import DatabaseError, IntegrityError, OperationalError, connection, transaction

from channels_sync import services as channels
from channels_sync.connectors import CONNECTORS
from channels_sync.connectors.field_map import FieldMap
from channels_sync.contracts import (
    Connector,
    MessageKind,
    RawMessage,
    ShopAccess,
    Unreadable,
    WebhookRequest,
)
from channels_sync.field_maps import live_field_map
from channels_sync.models import InboxMessage, ShopCredential
from channels_sync.services import Claimed
from fulfillment import refunds, traces
from ordercenter.audit.models import Action
from ordercenter.audit.services import record
from ordercenter.catalog.models import Shop
from ordercenter.core.actor import PIPELINE, Actor
from ordercenter.core.bulk import next_ids
from ordercenter.core.clock import now as clock_now
from ordercenter.core.errors import InvalidInput, NotFound
from ordercenter.core.live import announce
from ordercenter.core.policy import Can, require
from ordercenter.orders.contracts import OrderDraft, RefundDraft
from ordercenter.orders.models import SalesOrder
from ordercenter.pipeline import addressing, doubts, relining, telling, updates, wishes
from ordercenter.pipeline.drafts import fresh_work
from ordercenter.pipeline.interception import gates
from ordercenter.pipeline.path import take
from ordercenter.pipeline.publishing import telling_stock
from ordercenter.pipeline.work import Work, load, new_lines

logger = logging.getLogger(__name__)
BATCH: Final = 500
SMALLEST: Final = 20
HOLDS_SECONDS: Final = 0.5
"""So long a batch may hold its locks, about."""
KINDS: Final = (MessageKind.ORDER, MessageKind.REFUND)
SCANS: Final = (MessageKind.TRACE,)
Kinds = tuple[MessageKind, ...]


@dataclass(slots=True)
class Passed:
    """What one pass over the inbox came to."""

    messages: int = 0
    orders: int = 0
    parked: int = 0
    seconds: list[float] = field(default_factory=list)


def reader(channel: str, shop_id: int | None = None) -> Connector:
    """A connector that only reads, by the field map that counts for the shop now.

    No secrets, no network. Raises Unreadable where the shop's map no longer fits.
    """
    return _reader(channel, live_field_map(channel, shop_id))


@lru_cache(maxsize=256)
def _reader(channel: str, field_map: FieldMap | None) -> Connector:
    return CONNECTORS[channel](ShopAccess("", "", "", ""), field_map=field_map)


class Pace:
    """How many messages the next batch takes, by how long the last one took.

    A batch holds the stock levels of all its orders until it commits, and a packer's page gives
    up on a lock after three seconds (``lock_timeout``). On a machine that is slow at the moment
    batches get smaller, so that a scan at the bench comes in between.
    """

    def __init__(self) -> None:
        self.limit = BATCH

    def took(self, messages: int, seconds: float) -> None:
        """Learn from a batch of so many messages."""
        if messages:
            aim = int(messages * HOLDS_SECONDS / max(seconds, 0.001))
            self.limit = min(BATCH, max(SMALLEST, (self.limit + aim) // 2))


def run(*, limit: int = BATCH, actor: Actor = PIPELINE) -> Passed:
    """Work one batch off the inbox; return what became of it. Safe on several workers.

    Orders and refunds go together, carriers' scans by themselves: each pass locks all its
    order rows at once.
    """
    result = Passed()
    for kinds in (KINDS, SCANS):
        _attempt(kinds, None, limit=limit, actor=actor, result=result)
    return result


def _attempt(
    kinds: Kinds,
    only: Collection[int] | None,
    *,
    limit: int,
    actor: Actor,
    result: Passed,
    again: bool = True,
) -> None:
    claimed: list[Claimed] = []
    try:
        with telling_stock():
            _be_patient()
            claimed = channels.claim(kinds, limit=limit, only=only)
            if claimed:
                _work_off(claimed, actor=actor, result=result)
    except Exception as error:
        ids = [message.id for message in claimed]
        if isinstance(error, IntegrityError | OperationalError) and again:
            # Two workers met on one order, or a lock took too long: the second look sees it.
            _attempt(kinds, ids or only, limit=limit, actor=actor, result=result, again=False)
            return
        if not ids:
            raise
        _isolate(kinds, ids, error, actor=actor, result=result)


def _be_patient() -> None:
    """Batches wait for each other longer than a page may: nobody sits in front of them."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL lock_timeout = '30s'")


def _isolate(
    kinds: Kinds, ids: Sequence[int], error: Exception, *, actor: Actor, result: Passed
) -> None:
    """Halve the batch around a failure; what fails alone waits, and is parked in the end."""
    if len(ids) == 1:
        logger.error("message %s failed: %s", ids[0], type(error).__name__, exc_info=error)
        reason = f"处理失败：{type(error).__name__}"
        if isinstance(error, DatabaseError):
            channels.try_again(ids, reason, now=clock_now())
        else:
            channels.park({ids[0]: reason}, now=clock_now())
            result.parked += 1
        return
    middle = len(ids) // 2
    for half in (ids[:middle], ids[middle:]):
        _attempt(kinds, half, limit=len(half), actor=actor, result=result)


def _work_off(claimed: Sequence[Claimed], *, actor: Actor, result: Passed) -> None:
    now = clock_now()
    orders, refund_drafts, unreadable = _read(claimed)
    gates.share()
    pushed = [m for m in claimed if m.kind == MessageKind.TRACE]
    unreadable |= traces.take_pushes(
        [(m.id, m.carrier, m.body) for m in pushed], actor=actor, now=now
    )
    _lock_ahead(orders, refund_drafts)
    result.orders += len(take_drafts(orders, actor=actor, now=now))
    updates.take_refunds(refund_drafts, actor=actor, now=now)
    if unreadable:
        channels.park(unreadable, now=now)
        result.parked += len(unreadable)
    channels.done([m.id for m in claimed if m.id not in unreadable], now=now)
    result.messages += len(claimed)


def _read(
    claimed: Sequence[Claimed],
) -> tuple[list[tuple[int, OrderDraft]], list[tuple[int, RefundDraft]], dict[int, str]]:
    """(orders, refunds, unreadable) of a batch, each with its shop or the reason."""
    orders: list[tuple[int, OrderDraft]] = []
    refund_drafts: list[tuple[int, RefundDraft]] = []
    unreadable: dict[int, str] = {}
    for message in claimed:
        if message.shop_id is None:
            continue
        try:
            if message.kind == MessageKind.ORDER:
                made = reader(message.channel, message.shop_id)
                orders.append((message.shop_id, _of_distinct_lines(made.read(message.body))))
            elif message.kind == MessageKind.REFUND:
                draft = reader(message.channel, message.shop_id).read_refund(message.body)
                refund_drafts.append((message.shop_id, draft))
        except Unreadable as reason:
            unreadable[message.id] = str(reason)
    return orders, refund_drafts, unreadable


def _of_distinct_lines(draft: OrderDraft) -> OrderDraft:
    """The order, unless two of its lines go by one id: nobody could tell them apart later."""
    ids = [line.channel_line_id for line in draft.lines]
    if len(set(ids)) < len(ids):
        raise Unreadable("两行商品的行号相同")
    return draft


def _lock_ahead(
    orders: Sequence[tuple[int, OrderDraft]], refund_drafts: Sequence[tuple[int, RefundDraft]]
) -> None:
    """Lock every stored order of the batch in primary-key order before anything else.

    Refunds are worked after the drafts have locked stock; an order first locked then would
    turn the lock order round.
    """
    keys = {(shop, draft.channel_number) for shop, draft in orders}
    keys |= {(shop, draft.channel_number) for shop, draft in refund_drafts}
    known = _known(keys)
    list(SalesOrder.objects.locked(known.values()).values_list("pk", flat=True))


def take_drafts(
    drafts: Sequence[tuple[int, OrderDraft]], *, actor: Actor, now: datetime
) -> dict[int, int]:
    """Take new orders in and let known ones learn what changed; return the new versions.

    The same order told several times counts once, by the platform's newest word.
    """
    newest: dict[tuple[int, str], OrderDraft] = {}
    unsure: set[tuple[int, str]] = set()
    for shop_id, draft in drafts:
        key = (shop_id, draft.channel_number)
        if key in newest and doubts.contradict(newest[key], draft):
            unsure.add(key)
        if key not in newest or newest[key].modified_at <= draft.modified_at:
            newest[key] = draft
    if not newest:
        return {}
    known = _known(newest)
    newest = wishes.unanswered(newest, known, now=now)
    apps = _app_keys({shop_id for shop_id, _ in newest})
    works = load(known.values())
    before = {work.id: work.channel_modified_at for work in works}
    for work in works:
        draft = newest[work.shop_id, work.channel_number]
        updates.learn(work, draft, now=now, app_key=apps.get(work.shop_id, ""))
    relining.follow(works)
    fresh = {key: draft for key, draft in newest.items() if key not in known}
    born = _born(fresh, apps, now=now)
    open_refunds = refunds.waiting([(work.shop_id, work.channel_number) for work in born])
    twins = doubts.near_twins(fresh)
    for work in born:
        key = (work.shop_id, work.channel_number)
        updates.settle_in(work, fresh[key], open_refunds)
        doubts.settle(work, fresh[key], twins.get(key, ()), now=now)
    unsure |= {(w.shop_id, w.channel_number) for w in doubts.disputed(works, before)}
    versions = take([*works, *born], actor=actor, now=now)
    addressing.learn([(shop_id, draft) for (shop_id, _), draft in newest.items()])
    refunds.adopt(open_refunds, {(w.shop_id, w.channel_number): w.id for w in born})
    wishes.keep([*works, *born], newest, now=now)
    updates.follow_up([w for w in works if w.touched], actor=actor, now=now)
    if open_refunds:
        telling.answer_stops([work.id for work in born], actor=actor, now=now)
    _ask_again([(shop_id, newest[shop_id, number]) for shop_id, number in sorted(unsure)])
    return versions


def _ask_again(orders: Sequence[tuple[int, OrderDraft]]) -> None:
    """Two words of one second say different things: only the platform knows which is the last."""
    for shop_id, draft in orders:
        asked = doubts.question(draft)
        hint = RawMessage(MessageKind.EVENT, asked.encode(), draft.channel_number, asked)
        channels.store([hint], source=InboxMessage.Source.FETCH, shop_id=shop_id)


def _known(keys: Collection[tuple[int, str]]) -> dict[tuple[int, str], int]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT o.shop_id, o.channel_number, o.id FROM unnest(%s::bigint[], %s::text[]) "
            "AS v(shop_id, number) JOIN orders_salesorder o "
            "ON o.shop_id = v.shop_id AND o.channel_number = v.number",
            [[shop for shop, _ in keys], [number for _, number in keys]],
        )
        return {(shop, number): pk for shop, number, pk in cursor.fetchall()}


def _app_keys(shop_ids: Collection[int]) -> dict[int, str]:
    """The application each shop speaks through: receivers' ids hold for one alone."""
    rows = ShopCredential.objects.filter(pk__in=shop_ids)
    return dict(rows.values_list("shop_id", "app_key"))


def _born(
    fresh: Mapping[tuple[int, str], OrderDraft], apps: Mapping[int, str], *, now: datetime
) -> list[Work]:
    if not fresh:
        return []
    shops = Shop.objects.in_bulk({shop_id for shop_id, _ in fresh})
    ids = next_ids(SalesOrder, len(fresh))
    counts = [len(d.lines) + len(d.gifts_outside_lines) for d in fresh.values()]
    line_ids = new_lines(sum(counts))
    works = []
    start = 0
    for pk, ((shop_id, _), draft), count in zip(ids, fresh.items(), counts, strict=True):
        keys = line_ids[start : start + count]
        start += count
        works.append(
            fresh_work(
                draft, shops[shop_id], pk=pk, line_ids=keys, now=now,
                app_key=apps.get(shop_id, ""),
            )
        )  # fmt: skip
    return works


@transaction.atomic
def replay(message_id: int, *, user: AbstractBaseUser, actor: Actor, reason: str) -> None:
    """Put a quarantined message back into the inbox. Right: REPLAY_DEAD.

    A push whose kind nobody could tell is cut again, by what the program and the shop's field
    map say now; where it still says nothing it is refused (InvalidInput) and stays.
    """
    require(user, Can.REPLAY_DEAD)
    message = InboxMessage.objects.select_for_update().filter(pk=message_id, state="dead").first()
    if message is None:
        raise NotFound(what=f"隔离消息 {message_id}")
    if message.kind == MessageKind.UNREADABLE:
        _cut_again(message)
    else:
        message.state, message.attempts, message.leased_until = "new", 0, None
        message.save(update_fields=["state", "attempts", "leased_until"])
    record(
        Action.MESSAGE_REPLAYED, object_type="message", object_id=message.pk, actor=actor,
        reason=reason,
    )  # fmt: skip
    announce("shops")


def _cut_again(message: InboxMessage) -> None:
    if message.shop is None:
        raise InvalidInput(what="报文仍无法识别，不能重放")
    body = bytes(message.body)
    pushed = WebhookRequest("POST", "", {}, {}, body, message.received_at)
    found = reader(message.shop.channel, message.shop.pk).split(pushed)
    if not found or any(one.kind is MessageKind.UNREADABLE for one in found):
        raise InvalidInput(what="报文仍无法识别，不能重放；请先修改字段对照或联系 IT")
    channels.store(found, source=InboxMessage.Source.PUSH, shop_id=message.shop.pk)
    channels.done([message.pk], now=clock_now())
