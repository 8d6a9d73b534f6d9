"""What the page of an order says of the other order of its purchase."""

from dataclasses import dataclass

from django.http import HttpRequest

from ordercenter.core.policy import Can, allows
from ordercenter.orders.models import SalesOrder
from ordercenter.orders.states import OPEN, OrderStatus
from ordercenter.pipeline import balances, promises


@dataclass(frozen=True, slots=True)
class PairDesk:
    """The deposit and the balance that an order is one of, and what may be done about it."""

    deposit: SalesOrder | None = None
    balance: SalesOrder | None = None
    may_link: bool = False
    may_undo: bool = False

    @property
    def is_shown(self) -> bool:
        return self.deposit is not None or self.may_link


def pair_desk(request: HttpRequest, order: SalesOrder) -> PairDesk:
    """Empty, apart from the offer to tie, where the order is on its own."""
    may = allows(request.user, Can.LINK_BALANCE)
    is_open = OrderStatus(order.status) in OPEN
    pair = balances.pair_of(order)
    if pair is None:
        kind, code = promises.GOES_WITH
        is_deposit = order.holds.open().filter(kind=kind, code=code).exists()
        return PairDesk(order if is_deposit else None, None, may and is_open, may and is_deposit)
    known = SalesOrder.objects.defer("receiver_sealed").in_bulk(pair)
    deposit, balance = known[pair[0]], known[pair[1]]
    is_live = balance.status != OrderStatus.CANCELED
    undoable = not is_live or OrderStatus(balance.status) in balances.BEFORE_PARCELS
    return PairDesk(deposit, balance, may and is_open and not is_live, may and undoable)
