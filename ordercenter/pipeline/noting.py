"""One more version of an order that is changed outside the path, and its record."""

from collections.abc import Mapping

from ordercenter.audit.models import Action
from ordercenter.audit.services import record
from ordercenter.core.actor import Actor
from ordercenter.orders.models import SalesOrder
from ordercenter.orders.states import OrderStatus


def note(
    order: SalesOrder,
    action: Action,
    change: Mapping[str, object],
    *,
    actor: Actor,
    to: OrderStatus | None = None,
    reason: str = "",
) -> None:
    """Count a locked order's version up, move it if ``to`` says so, and write the record."""
    was = order.status
    order.status, order.version = to or was, order.version + 1
    order.save(update_fields=["status", "version"])
    path = [was, order.status] if to else [was]
    record(
        action, object_type="order", object_id=order.pk, actor=actor,
        change={"status": [str(s) for s in path], **change}, reason=reason, version=order.version,
    )  # fmt: skip
