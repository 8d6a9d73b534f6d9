"""What the end of a message means here: tasks, books and records, by its kind."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.conf import settings
from django.db import connection, transaction

from channels_sync import outbox
from channels_sync.contracts import ConnectorError, StockEcho, StockFigure
from channels_sync.models import OutboundMessage, PublishedStock
from channels_sync.services import storable
from fulfillment import services as fulfillment
from fulfillment.models import RefundRequest, Stage, StageTask
from ordercenter.audit.models import Action
from ordercenter.core.actor import PIPELINE
from ordercenter.core.live import announce
from ordercenter.orders.models import SalesOrder
from ordercenter.pipeline import clawing
from ordercenter.pipeline.noting import note

State = OutboundMessage.State
Kind = OutboundMessage.Kind
STOCK_LOCKED: Final = "stock_locked"
A_MINUTE: Final = timedelta(minutes=1)
NEVER_TOLD: Final = timedelta(days=1)
"""How long a platform that has no way to be told figures is left alone."""


@transaction.atomic
def delivered(message: OutboundMessage, *, now: datetime) -> None:
    """The platform has it; of figures see ``figures_taken``. The second time changes nothing."""
    order = _order_of(message) if message.kind == Kind.SHIP else None
    if not outbox.end(message, State.DONE, now=now):
        return
    if order is not None:
        _written_back(order, message, now=now)
    elif message.kind == Kind.STOP:
        RefundRequest.objects.filter(
            pk=message.payload["request"], version=message.payload["version"]
        ).update(answer=message.payload["outcome"])
    if message.order_id:
        announce("orders", order_id=message.order_id)


def _order_of(message: OutboundMessage) -> SalesOrder | None:
    """The order, locked before the message's row is: orders come first everywhere."""
    return SalesOrder.objects.locked([message.order_id or 0]).first()


def _written_back(order: SalesOrder, message: OutboundMessage, *, now: datetime) -> None:
    """The notify stage is done, and the record says so."""
    _close_notify(order.pk, StageTask.State.DONE, now=now)
    change = {"waybill": message.payload["tracking_number"]}
    note(order, Action.WRITE_BACK_DONE, change, actor=PIPELINE)


def _close_notify(order_id: int, state: StageTask.State, *, now: datetime) -> None:
    fulfillment.close_tasks(
        [order_id], state=state.value, by="system", now=now, stages=[Stage.NOTIFY]
    )


@dataclass(frozen=True, slots=True)
class Taken:
    """A figure a platform took, and what it says it shows of the listing now."""

    message: OutboundMessage
    figure: StockFigure
    echo: StockEcho


@transaction.atomic
def figures_taken(taken: Sequence[Taken], *, now: datetime) -> None:
    """These figures are shown from now on. Repeatable; an older figure never takes a newer
    one's place. Messages first, then the books by listing, as everywhere."""
    ended = outbox.end_all([one.message for one in taken], now=now)
    rows = [_row(one) for one in taken if one.message.pk in ended]
    if not rows:
        return
    with connection.cursor() as cursor:
        cursor.execute(
            "WITH told AS MATERIALIZED (SELECT p.listing_id, v.version, v.shown, v.drift "
            "FROM channels_sync_publishedstock p "
            "JOIN unnest(%s::bigint[], %s::bigint[], %s::int[], %s::int[]) "
            "AS v(listing, version, shown, drift) "
            "ON v.listing = p.listing_id AND p.told_version < v.version "
            "ORDER BY p.listing_id FOR NO KEY UPDATE OF p) "
            "UPDATE channels_sync_publishedstock p SET told = t.shown, told_version = t.version, "
            "told_at = %s, pushed_at = %s, refused_until = NULL, refusal = '', turns_until = "
            "least(greatest(p.turns_until, %s) + make_interval(secs => %s), %s), "
            "drift = coalesce(nullif(t.drift, 0), p.drift), "
            "drift_at = CASE WHEN t.drift <> 0 THEN %s ELSE p.drift_at END "
            "FROM told t WHERE t.listing_id = p.listing_id",
            [*(list(column) for column in zip(*rows, strict=True)), now, now, now,
             PublishedStock.TURN_SECONDS, now + A_MINUTE, now],
        )  # fmt: skip


def _row(one: Taken) -> tuple[int, int, int, int]:
    """(listing, version, what is shown, by how much that is off)."""
    told, said = one.message.payload, one.echo.quantity
    shown = one.figure.quantity if said is None else said
    return told["listing"], told["version"], shown, shown - one.figure.quantity


def in_doubt(message: OutboundMessage) -> None:
    """Nobody knows what the channel shows: the next figure has to be set."""
    if message.kind == Kind.STOCK:
        PublishedStock.objects.filter(listing_id=message.payload["listing"]).update(told=None)


@transaction.atomic
def unsupported(message: OutboundMessage, words: str, *, now: datetime) -> None:
    """The platform has no way to be told: nobody has to see to it, the order shows it."""
    if not outbox.end(message, State.UNSUPPORTED, error=words, now=now):
        return
    if message.kind == Kind.SHIP and message.order_id:
        _close_notify(message.order_id, StageTask.State.WITHDRAWN, now=now)
    elif message.kind == Kind.STOCK:
        _leave_alone(message.shop_id, words, now=now)


def _leave_alone(shop_id: int, words: str, *, now: datetime) -> None:
    """The shop's other figures would meet the same answer. Messages first, as everywhere."""
    rest = OutboundMessage.objects.filter(
        shop_id=shop_id, kind=Kind.STOCK, state=State.WAITING, is_doubtful=False
    )
    outbox.in_turn(rest).update(state=State.SUPERSEDED, error=storable(words, 300), done_at=now)
    PublishedStock.objects.filter(listing__shop_id=shop_id).update(
        refused_until=now + NEVER_TOLD, refusal=storable(words, 200)
    )


def settled(message: OutboundMessage, *, now: datetime) -> None:
    """Somebody has told the platform himself."""
    if message.kind == Kind.SHIP and message.order_id:
        _close_notify(message.order_id, StageTask.State.DONE, now=now)
    in_doubt(message)


def refused(message: OutboundMessage, error: ConnectorError, *, now: datetime) -> bool:
    """Keep a no to a stock figure; True where the figure is tried again by itself.

    Goods on promotion cannot be lowered for a while (code ``stock_locked``). After another no
    the listing's next figure waits as long, so that a broken listing is not told every second.
    """
    if message.kind != Kind.STOCK:
        return False
    wait = timedelta(minutes=settings.STOCK_REFUSED_MINUTES)
    _not_before(message, error.error.message, now + wait)
    locked = STOCK_LOCKED in {error.error.code, error.error.sub_code}
    if locked:
        clawing.refused(message.payload["listing"], error.error.message, now=now)
    return locked and bool(outbox.put_off(message, str(error), wait=wait.total_seconds(), now=now))


def _not_before(message: OutboundMessage, words: str, until: datetime) -> None:
    PublishedStock.objects.filter(listing_id=message.payload["listing"]).update(
        refused_until=until, refusal=storable(words, 200)
    )
