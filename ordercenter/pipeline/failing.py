"""What becomes of a message that did not get through: tried again, refused, or given up."""

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.db import transaction

from channels_sync import outbox
from channels_sync.contracts import ConnectorError, ErrorClass, TryLater, Unsupported
from channels_sync.models import OutboundMessage
from ordercenter.core.clock import now as clock_now
from ordercenter.core.live import announce
from ordercenter.pipeline import endings
from ordercenter.pipeline.calling import own_fault

logger = logging.getLogger(__name__)
State = OutboundMessage.State
PROBE: Final = timedelta(seconds=60)
"""The longest a shop's rest waits because one of its messages could not be told."""
MOST_DOUBTS: Final = 2
"""So many calls in a row whose end nobody knows, and a shop is left alone for now."""
AUTH_WAIT: Final = 300.0
UNKNOWN: Final = "结果不明，请在平台后台核对"


@dataclass(frozen=True, slots=True)
class Ending:
    """How one message went, as far as the shop's others are concerned."""

    delivered: bool = False
    doubtful: bool = False
    kind_waits_until: datetime | None = None
    shop_waits_until: datetime | None = None


OVER: Final = Ending()
DELIVERED: Final = Ending(delivered=True)


def failed(message: OutboundMessage, error: Exception, *, doubtful: bool) -> Ending:
    """The ways a message does not get through. ``doubtful``: an earlier try still may count."""
    if isinstance(error, TryLater):
        return _later(message, error, doubtful=doubtful or error.outcome_unknown)
    if isinstance(error, Unsupported):
        endings.unsupported(message, error.error.message, now=clock_now())
        return OVER
    if isinstance(error, ConnectorError):
        return _rejected(message, error, doubtful=doubtful)
    logger.error("message %s cannot be sent", message.pk, exc_info=error)
    return _own_fault(message, error, doubtful=doubtful)


def unreadable(message: OutboundMessage, error: Exception) -> Ending:
    """A fault of ours before anything was said."""
    logger.error("message %s cannot be read", message.pk, exc_info=error)
    return _own_fault(message, error, doubtful=message.is_doubtful)


def _later(message: OutboundMessage, error: TryLater, *, doubtful: bool) -> Ending:
    """It did not go through, or nobody knows."""
    now = clock_now()
    if error.outcome_unknown:
        endings.in_doubt(message)
    due = outbox.put_off(message, str(error), wait=error.wait, doubtful=doubtful, now=now)
    if due is None:
        return give_up(message, UNKNOWN if doubtful else str(error), doubtful=doubtful)
    if error.outcome_unknown:
        return Ending(doubtful=True)
    return _postpone_rest(message, error, due, now=now)


def _postpone_rest(
    message: OutboundMessage, error: ConnectorError, due: datetime, *, now: datetime
) -> Ending:
    """Leave the shop's others alone too; what limits one interface holds up its kind only."""
    limited = error.error.klass is ErrorClass.RATE_LIMITED
    stated = error.error.retry_after_seconds is not None
    until = due if stated else min(due, now + PROBE)
    outbox.postpone(message.shop_id, until=until, kind=message.kind if limited else "")
    return Ending(kind_waits_until=until) if limited else Ending(shop_waits_until=until)


def _rejected(message: OutboundMessage, error: ConnectorError, *, doubtful: bool) -> Ending:
    """The platform said no. A lost authorization is no word on the message: it waits."""
    now = clock_now()
    if error.error.klass is ErrorClass.AUTH:
        due = outbox.put_off(message, str(error), wait=AUTH_WAIT, doubtful=doubtful, now=now)
        if due is None:
            return give_up(message, str(error), doubtful=doubtful)
        return _postpone_rest(message, error, due, now=now)
    if endings.refused(message, error, now=now):
        return OVER
    return give_up(message, str(error))


def _own_fault(message: OutboundMessage, error: Exception, *, doubtful: bool) -> Ending:
    """A fault of ours: the message waits, and holds up no other.

    In the middle of a call it is in doubt like any call that was cut off.
    """
    words = str(TryLater(own_fault(error)))
    if outbox.put_off(message, words, wait=None, doubtful=doubtful, now=clock_now()) is None:
        return give_up(message, words, doubtful=doubtful)
    return OVER


def give_up(message: OutboundMessage, words: str, *, doubtful: bool = False) -> Ending:
    """A person has to see it; ``watch`` raises the alarm."""
    message.is_doubtful = doubtful
    with transaction.atomic():
        outbox.end(message, State.DEAD, error=words, now=clock_now())
        announce("shops")
    return OVER
