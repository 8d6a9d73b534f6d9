"""At the bench: who meets a gate there is refused, and the order is held before he is told."""

import logging
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from django.db import OperationalError

from ordercenter.core.clock import now as clock_now
from ordercenter.orders.errors import OrderHeld
from ordercenter.pipeline.interception.gates import GATEKEEPER
from ordercenter.pipeline.path import take
from ordercenter.pipeline.publishing import telling_stock
from ordercenter.pipeline.work import load

P = ParamSpec("P")
R = TypeVar("R")
logger = logging.getLogger(__name__)


class AtGate(OrderHeld):
    """A gate stops this order, and its hold is not written yet."""

    def __init__(self, order_id: int, **facts: object) -> None:
        super().__init__(**facts)
        self.order_id = order_id


def held_first(act: Callable[P, R]) -> Callable[P, R]:
    """Have the order that ``act`` met a gate with held before the refusal goes on.

    Outside the transaction of ``act``, which the refusal undoes.
    """

    @wraps(act)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return act(*args, **kwargs)
        except AtGate as refusal:
            stand(refusal.order_id)
            raise

    return guarded


def stand(order_id: int) -> None:
    """Hold a stored order and stop its parcels, where a gate says so. Repeatable.

    Where the row is busy the sweep that holds all the others finds this one, too.
    """
    try:
        with telling_stock():
            take(load([order_id]), actor=GATEKEEPER, now=clock_now())
    except OperationalError:
        logger.warning("the hold of order %s is left to the sweep", order_id, exc_info=True)
