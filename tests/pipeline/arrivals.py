"""Goods that are announced, and goods that come."""

from datetime import datetime, timedelta
from itertools import count

from django.db import transaction

from inventory import services as inventory
from inventory.models import Inbound, InboundLine, VirtualWarehouse
from ordercenter.core.actor import PIPELINE
from ordercenter.core.clock import now as clock_now
from ordercenter.pipeline import presale
from ordercenter.pipeline.presale import Met
from tests.pipeline.seller import Seller

NUMBERS = count(1)


def announce(
    seller: Seller,
    code: str = "SOFA",
    units: int = 10,
    *,
    days: float = 3,
    place: VirtualWarehouse | None = None,
) -> InboundLine:
    """A supplier says what comes and when."""
    at = clock_now()
    paper = Inbound.objects.create(
        number=f"IN-{next(NUMBERS)}", virtual_warehouse=place or seller.near, created_by="test",
        expected_at=at + timedelta(days=days), created_at=at,
    )  # fmt: skip
    return InboundLine.objects.create(inbound=paper, sku=seller.skus[code], expected=units)


def arrive(line: InboundLine, good: int, *, defect: int = 0, closed: bool = False) -> Met:
    """So many come in good order; ``closed`` when no more will."""
    paper = line.inbound
    place, skus = paper.virtual_warehouse_id, [line.sku_id]
    with transaction.atomic():
        queued = presale.queue_up(place, skus)
        if good:
            inventory.receive([(place, line.sku_id, good)], actor=PIPELINE)
        line.refresh_from_db()
        line.received += good
        line.defect += defect
        line.save(update_fields=["received", "defect"])
        done = closed or line.received + line.defect >= line.expected
        paper.state = Inbound.State.RECEIVED if done else Inbound.State.PARTLY
        paper.save(update_fields=["state"])
        return presale.meet(queued, virtual_warehouse_id=place, sku_ids=skus, actor=PIPELINE)


def put_off(line: InboundLine, to: datetime) -> None:
    Inbound.objects.filter(pk=line.inbound_id).update(expected_at=to)
