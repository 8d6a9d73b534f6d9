"""The send loop: what waits in the outbox is told to the platforms, with one effect each.

Nothing here holds a transaction over a call. Shops are told side by side, each in order; one
that does not answer stops only itself. What may have had its effect already is asked for before
it is said again.
"""

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

from django.db import transaction

from channels_sync import outbox
from channels_sync.connectors.exchange import make_client
from channels_sync.contracts import (
    Connector,
    ConnectorError,
    ErrorClass,
    Rejected,
    StockFigure,
    Told,
    TryLater,
    Unsupported,
)
from channels_sync.models import OutboundMessage
from ordercenter.core.clock import now as clock_now
from ordercenter.core.live import announce
from ordercenter.pipeline import endings, wording
from ordercenter.pipeline.calling import SideBySide, connector_for, own_fault

logger = logging.getLogger(__name__)
State = OutboundMessage.State
AT_ONCE: Final = 400
MOST_DOUBTS: Final = 2
"""So many calls in a row whose end nobody knows, and a shop is left alone for now."""
PROBE: Final = timedelta(seconds=60)
"""The longest a shop's rest waits because one of its messages could not be told."""
AUTH_WAIT: Final = 300.0
UNKNOWN: Final = "结果不明，请在平台后台核对"
VERBS: Final[Mapping[str, str]] = {
    OutboundMessage.Kind.SHIP: "ship",
    OutboundMessage.Kind.STOCK: "publish_stock",
    OutboundMessage.Kind.STOP: "answer_stop",
    OutboundMessage.Kind.MEMO: "write_memo",
    OutboundMessage.Kind.ADDRESS: "answer_address",
}
"""What a connector does with each kind of message."""


def send_out(*, now: datetime | None = None, lines: SideBySide | None = None) -> str:
    """Tell the platforms what is due, each shop in order; one after the other without ``lines``.

    Safe on several workers at once.
    """
    now = now or clock_now()
    by_shop: dict[int, list[OutboundMessage]] = defaultdict(list)
    for message in outbox.claim_out(limit=AT_ONCE, now=now, busy=lines.busy() if lines else ()):
        by_shop[message.shop_id].append(message)
    jobs = {pk: partial(_send_shop, pk, messages) for pk, messages in by_shop.items()}
    sent = lines.run(jobs) if lines else sum(job() for job in jobs.values())
    return f"{sent} messages delivered"


@dataclass(frozen=True, slots=True)
class Ending:
    """How one message went, as far as the shop's others are concerned."""

    delivered: bool = False
    doubtful: bool = False
    kind_waits: bool = False
    shop_waits_until: datetime | None = None


OVER: Final = Ending()
DELIVERED: Final = Ending(delivered=True)


@dataclass(slots=True)
class _Line:
    """One shop's connector, made when the first message needs it."""

    shop_id: int
    client: Any
    made: Connector | None = None

    @property
    def connector(self) -> Connector:
        if self.made is None:
            self.made = connector_for(self.shop_id, self.client)
        return self.made


def _send_shop(shop_id: int, messages: Sequence[OutboundMessage]) -> int:
    sent = doubts = 0
    limited: set[str] = set()
    with make_client() as client:
        line = _Line(shop_id, client)
        for place, message in enumerate(messages, 1):
            if message.kind in limited:
                continue
            ending = _send(message, line)
            sent += ending.delivered
            doubts = doubts + 1 if ending.doubtful else 0
            if ending.kind_waits:
                limited.add(message.kind)
            until = ending.shop_waits_until
            if until is not None or doubts >= MOST_DOUBTS:
                outbox.give_back(messages[place:], until=until or clock_now() + PROBE)
                break
    return sent


def _send(message: OutboundMessage, line: _Line) -> Ending:
    """Tell one message; whatever becomes of it is written before this returns."""
    try:
        told = wording.read(message)
        connector = line.connector
    except wording.Moot as reason:
        if message.is_doubtful:
            endings.in_doubt(message)
        outbox.end(message, State.SUPERSEDED, error=str(reason), now=clock_now())
        return OVER
    except Exception as error:
        logger.exception("message %s cannot be read", message.pk)
        return _own_fault(message, error, doubtful=message.is_doubtful)
    if not outbox.begin(message, now=clock_now()):
        return OVER
    return _tell(message, told, connector)


class _NobodyKnows(Exception):
    """It may have had its effect, the platform cannot say, and twice would be once too often."""


def _tell(message: OutboundMessage, told: Told, connector: Connector) -> Ending:
    try:
        echo = _say(message, told, connector)
    except _NobodyKnows:
        return _give_up(message, UNKNOWN, doubtful=True)
    except ConnectorError as error:
        return _failed(message, error, doubtful=message.is_doubtful)
    except Exception as error:
        logger.exception("message %s cannot be sent", message.pk)
        return _own_fault(message, error, doubtful=True)
    endings.delivered(message, told, echo, now=clock_now())
    return DELIVERED


def _say(message: OutboundMessage, told: Told, connector: Connector) -> object:
    """Ask where an earlier try may have had its effect, then say it where it has not.

    Clears ``message.is_doubtful`` once the platform has said that nothing happened.
    """
    if message.is_doubtful:
        had_effect = _ask(connector, told)
        if had_effect:
            return None
        if had_effect is None and not _may_repeat(connector, message, told):
            raise _NobodyKnows
        message.is_doubtful = had_effect is None
    return getattr(connector, VERBS[message.kind])(told)


def _failed(message: OutboundMessage, error: ConnectorError, *, doubtful: bool) -> Ending:
    """The three ways a platform does not take it. ``doubtful``: an earlier try still may count."""
    if isinstance(error, TryLater):
        return _later(message, error, doubtful=doubtful or error.outcome_unknown)
    if isinstance(error, Unsupported):
        endings.unsupported(message, error.error.message, now=clock_now())
        return OVER
    return _rejected(message, error, doubtful=doubtful)


def _ask(connector: Connector, told: Told) -> bool | None:
    """Whether it has had its effect; None where the platform cannot say."""
    try:
        return connector.knows(told)
    except Rejected as refusal:
        if refusal.error.klass is ErrorClass.AUTH:
            raise
        return None


def _may_repeat(connector: Connector, message: OutboundMessage, told: Told) -> bool:
    """Whether it may be said again although nobody knows what became of it.

    A figure that is set, not moved, may; and what a person has looked up before he had it sent.
    """
    if isinstance(told, StockFigure) and told.believed is None:
        return True
    return type(told) in connector.repeatable or bool(message.settled_by)


def _later(message: OutboundMessage, error: TryLater, *, doubtful: bool) -> Ending:
    """It did not go through, or nobody knows."""
    now = clock_now()
    if error.outcome_unknown:
        endings.in_doubt(message)
    due = outbox.put_off(message, str(error), wait=error.wait, doubtful=doubtful, now=now)
    if due is None:
        return _give_up(message, UNKNOWN if doubtful else str(error), doubtful=doubtful)
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
    return Ending(kind_waits=limited, shop_waits_until=None if limited else until)


def _rejected(message: OutboundMessage, error: ConnectorError, *, doubtful: bool) -> Ending:
    """The platform said no. A lost authorization is no word on the message: it waits."""
    now = clock_now()
    if error.error.klass is ErrorClass.AUTH:
        due = outbox.put_off(message, str(error), wait=AUTH_WAIT, doubtful=doubtful, now=now)
        if due is None:
            return _give_up(message, str(error), doubtful=doubtful)
        return _postpone_rest(message, error, due, now=now)
    if endings.refused(message, error, now=now):
        return OVER
    return _give_up(message, str(error))


def _own_fault(message: OutboundMessage, error: Exception, *, doubtful: bool) -> Ending:
    """A fault of ours: the message waits, and holds up no other.

    In the middle of a call it is in doubt like any call that was cut off.
    """
    words = str(TryLater(own_fault(error)))
    if outbox.put_off(message, words, wait=None, doubtful=doubtful, now=clock_now()) is None:
        return _give_up(message, words, doubtful=doubtful)
    return OVER


def _give_up(message: OutboundMessage, words: str, *, doubtful: bool = False) -> Ending:
    """A person has to see it; ``watch`` raises the alarm."""
    message.is_doubtful = doubtful
    with transaction.atomic():
        outbox.end(message, State.DEAD, error=words, now=clock_now())
        announce("shops")
    return OVER
