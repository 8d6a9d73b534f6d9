"""Goods that are announced, and goods that come."""

from datetime import datetime, timedelta

from django.contrib.auth.models import User

from inventory import arrivals
from inventory.arrivals import Receipt
from inventory.models import InboundLine, VirtualWarehouse
from ordercenter.core.actor import PIPELINE
from ordercenter.core.clock import now as clock_now
from ordercenter.core.policy import Role
from ordercenter.pipeline import receiving
from tests.factories import user_with
from tests.pipeline.seller import Seller


def _keeper() -> User:
    return User.objects.filter(username="keeper").first() or user_with(
        Role.WAREHOUSE_SUPERVISOR, username="keeper"
    )


def announce(
    seller: Seller,
    code: str = "SOFA",
    units: int = 10,
    *,
    days: float = 3,
    place: VirtualWarehouse | None = None,
) -> InboundLine:
    """A supplier says what comes and when."""
    paper = arrivals.announce(
        (place or seller.near).pk, {seller.skus[code].pk: units},
        expected_at=clock_now() + timedelta(days=days), user=_keeper(), actor=PIPELINE,
    )  # fmt: skip
    return paper.lines.get()


def arrive(line: InboundLine, good: int, *, defect: int = 0, closed: bool = False) -> None:
    """So many come in good order; ``closed`` when no more will."""
    line.refresh_from_db()
    receipt = Receipt(line.pk, good, defect, line.received + line.defect)
    receiving.receive_inbound(line.inbound_id, [receipt], user=_keeper(), actor=PIPELINE)
    if closed:
        call_off(line)


def call_off(line: InboundLine) -> None:
    receiving.close_inbound(line.inbound_id, reason="供应商缺货", user=_keeper(), actor=PIPELINE)


def put_off(line: InboundLine, to: datetime) -> None:
    receiving.reschedule_inbound(
        line.inbound_id, to, reason="供应商改期", user=_keeper(), actor=PIPELINE
    )
