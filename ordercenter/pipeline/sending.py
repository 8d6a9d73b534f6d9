"""The send loop: what waits in the outbox is told to the platforms, with one effect each.

Nothing here holds a transaction over a call. Shops are told side by side, each in order; one
that does not answer stops only itself. What may have had its effect already is asked for before
it is said again.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Final

from channels_sync import outbox
from channels_sync.contracts import Connector, ConnectorError, ErrorClass, Rejected, Told
from channels_sync.models import OutboundMessage
from ordercenter.core.clock import now as clock_now
from ordercenter.pipeline import endings, failing, figures_out, wording
from ordercenter.pipeline.calling import SideBySide, connector_for, speaking_for
from ordercenter.pipeline.failing import UNKNOWN, Ending

State = OutboundMessage.State
Kind = OutboundMessage.Kind
AT_ONCE: Final = 400
VERBS: Final[Mapping[str, str]] = {
    Kind.SHIP: "ship",
    Kind.STOP: "answer_stop",
    Kind.MEMO: "write_memo",
    Kind.ADDRESS: "answer_address",
}
"""What a connector does with each kind of message; of figures see ``figures_out``."""


def send_out(*, now: datetime | None = None, lines: SideBySide | None = None) -> str:
    """Tell the platforms what is due, each shop in order; one after the other without ``lines``.

    Safe on several workers at once.
    """
    now = now or clock_now()
    by_shop: dict[int, list[OutboundMessage]] = defaultdict(list)
    for message in outbox.claim_out(limit=AT_ONCE, now=now, busy=lines.busy() if lines else ()):
        by_shop[message.shop_id].append(message)
    jobs = {pk: partial(_send_shop, pk, messages, lines) for pk, messages in by_shop.items()}
    sent = lines.run(jobs) if lines else sum(job() for job in jobs.values())
    return f"{sent} messages delivered"


def _send_shop(shop_id: int, messages: Sequence[OutboundMessage], lines: SideBySide | None) -> int:
    """Tell a shop its messages, figures last and together; return how many arrived."""
    figures = [one for one in messages if one.kind == Kind.STOCK]
    others = [one for one in messages if one.kind != Kind.STOCK]
    with speaking_for(shop_id, connector_for, lines) as connector:
        sent, until = _send_others(others, connector)
        if until is not None:
            outbox.give_back(figures, until=until)
            return sent
        return sent + figures_out.tell(figures, connector, lines)


def _send_others(
    messages: Sequence[OutboundMessage], connector: Callable[[], Connector]
) -> tuple[int, datetime | None]:
    """(how many were delivered, until when the shop is left alone)."""
    sent = doubts = 0
    limited: dict[str, datetime] = {}
    for place, message in enumerate(messages, 1):
        if message.kind in limited:
            outbox.give_back([message], until=limited[message.kind])
            continue
        ending = _send(message, connector)
        sent += ending.delivered
        doubts = doubts + 1 if ending.doubtful else 0
        if ending.kind_waits_until is not None:
            limited[message.kind] = ending.kind_waits_until
        until = ending.shop_waits_until
        if until is not None or doubts >= failing.MOST_DOUBTS:
            until = until or clock_now() + failing.PROBE
            outbox.give_back(messages[place:], until=until)
            return sent, until
    return sent, None


def _send(message: OutboundMessage, connector_of: Callable[[], Connector]) -> Ending:
    """Tell one message; whatever becomes of it is written before this returns."""
    try:
        told = wording.read(message)
        connector = connector_of()
    except wording.Moot as reason:
        outbox.end(message, State.SUPERSEDED, error=str(reason), now=clock_now())
        return failing.OVER
    except Exception as error:  # noqa: BLE001 - logged there
        return failing.unreadable(message, error)
    if not outbox.begin(message, now=clock_now()):
        return failing.OVER
    return _tell(message, told, connector)


class _NobodyKnows(Exception):
    """It may have had its effect, the platform cannot say, and twice would be once too often."""


def _tell(message: OutboundMessage, told: Told, connector: Connector) -> Ending:
    try:
        _say(message, told, connector)
    except _NobodyKnows:
        return failing.give_up(message, UNKNOWN, doubtful=True)
    except ConnectorError as error:
        return failing.failed(message, error, doubtful=message.is_doubtful)
    except Exception as error:  # noqa: BLE001 - logged there
        return failing.failed(message, error, doubtful=True)
    endings.delivered(message, now=clock_now())
    return failing.DELIVERED


def _say(message: OutboundMessage, told: Told, connector: Connector) -> None:
    """Ask where an earlier try may have had its effect, then say it where it has not.

    Clears ``message.is_doubtful`` once the platform has said that nothing happened.
    """
    if message.is_doubtful:
        had_effect = _ask(connector, told)
        if had_effect:
            return
        if had_effect is None and not _may_repeat(connector, message, told):
            raise _NobodyKnows
        message.is_doubtful = had_effect is None
    getattr(connector, VERBS[message.kind])(told)


def _ask(connector: Connector, told: Told) -> bool | None:
    """Whether it has had its effect; None where the platform cannot say."""
    try:
        return connector.knows(told)
    except Rejected as refusal:
        if refusal.error.klass is ErrorClass.AUTH:
            raise
        return None


def _may_repeat(connector: Connector, message: OutboundMessage, told: Told) -> bool:
    """Whether it may be said again although nobody knows what became of it: where that is the
    same again, and where a person has looked it up before he had it sent."""
    return type(told) in connector.repeatable or bool(message.settled_by)
