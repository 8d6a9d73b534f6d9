"""The send loop: what waits in the outbox is told to the platforms.

Nothing here holds a transaction over a call. Shops are told side by side, each in order; one
shop's trouble never holds up another's.
"""

import logging
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from django.db import transaction

from channels_sync import outbox
from channels_sync.connectors.base import make_client
from channels_sync.contracts import Rejected, ShipLine, ShipNotice, TryLater
from channels_sync.models import OutboundMessage
from channels_sync.services import storable
from fulfillment import services as fulfillment
from fulfillment.models import Stage, StageTask
from ordercenter.audit.models import Action
from ordercenter.audit.services import record
from ordercenter.core.actor import PIPELINE
from ordercenter.core.clock import now as clock_now
from ordercenter.core.live import announce
from ordercenter.orders.models import SalesOrder
from ordercenter.pipeline.calling import connector_for, in_parallel, own_fault

logger = logging.getLogger(__name__)
AT_ONCE: Final = 200


def send_out(*, now: datetime | None = None) -> str:
    """Tell the platforms what is due; the shops side by side, each in order."""
    now = now or clock_now()
    by_shop: dict[int, list[OutboundMessage]] = defaultdict(list)
    for message in outbox.claim_out(limit=AT_ONCE, now=now):
        by_shop[message.shop_id].append(message)
    sent = in_parallel(
        [lambda s=shop, m=messages: _send_shop(s, m) for shop, messages in by_shop.items()]  # type: ignore[misc]
    )
    return f"{sent} messages delivered"


def _send_shop(shop_id: int, messages: Sequence[OutboundMessage]) -> int:
    sent = 0
    with make_client() as client:
        for message in messages:
            try:
                connector_for(shop_id, client).ship(_notice(message))
            except TryLater as error:
                outbox.put_off(message, str(error), wait=error.wait, now=clock_now())
                if not error.outcome_unknown:
                    break
            except Rejected as error:
                _give_up(message, error)
            except Exception as error:
                logger.exception("message %s cannot be sent", message.pk)
                fault = str(TryLater(own_fault(error)))
                outbox.put_off(message, fault, wait=None, now=clock_now())
            else:
                _delivered(message)
                sent += 1
    return sent


def _notice(message: OutboundMessage) -> ShipNotice:
    told = message.payload
    lines = () if told["whole"] else tuple(
        ShipLine(line["channel_line_id"], line["quantity"]) for line in told["lines"]
    )  # fmt: skip
    return ShipNotice(
        key=message.key,
        channel_number=told["channel_number"],
        carrier=told["carrier"],
        tracking_number=told["tracking_number"],
        shipped_at=datetime.fromisoformat(told["shipped_at"]),
        lines=lines,
    )


@transaction.atomic
def _delivered(message: OutboundMessage) -> None:
    """The platform has it: the notify stage is done, and the record says so."""
    now = clock_now()
    order = SalesOrder.objects.locked([message.order_id]).get()
    changed = OutboundMessage.objects.filter(
        pk=message.pk, state=OutboundMessage.State.WAITING
    ).update(state=OutboundMessage.State.DONE, done_at=now, error="")
    if not changed:
        return
    fulfillment.close_tasks(
        [order.pk], state=StageTask.State.DONE.value, by="system", now=now, stages=[Stage.NOTIFY]
    )
    order.version += 1
    order.save(update_fields=["version"])
    record(
        Action.WRITE_BACK_DONE, object_type="order", object_id=order.pk, actor=PIPELINE,
        change={"status": [order.status], "waybill": message.payload["tracking_number"]},
        version=order.version,
    )  # fmt: skip
    announce("orders", order_id=order.pk)


def _give_up(message: OutboundMessage, error: Rejected) -> None:
    """The platform said no: repeating changes nothing, so a person has to see it."""
    with transaction.atomic():
        OutboundMessage.objects.filter(pk=message.pk).update(
            state=OutboundMessage.State.DEAD,
            error=storable(str(error), 300),
            done_at=clock_now(),
        )
        announce("shops")
