"""Figures go out: what waits for a shop, in as few calls as its platform and its limit allow.

A shop's figures are read, begun and written together, a slice at a time: as many calls as its
limit lets go now. A listing has one figure in a call at most, and the newest of its versions is
the only one that is told.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Final

from channels_sync import outbox
from channels_sync.contracts import (
    Connector,
    ConnectorError,
    StockCall,
    StockEcho,
    StockFigure,
    Unsupported,
)
from channels_sync.models import OutboundMessage
from ordercenter.core.clock import now as clock_now
from ordercenter.pipeline import endings, failing, wording
from ordercenter.pipeline.calling import SideBySide
from ordercenter.pipeline.endings import Taken

State = OutboundMessage.State
CALLS_AT_ONCE: Final = 16
"""So many calls are begun together; a newer figure of one of them waits for all."""
MOOT: Final = "已有更新的库存数字"
Outcome = StockEcho | Exception


def tell(
    messages: Sequence[OutboundMessage],
    connector_of: Callable[[], Connector],
    lines: SideBySide | None,
) -> int:
    """Tell a shop its figures; whatever becomes of each is written. Return how many arrived."""
    waiting, sent, doubts = list(messages), 0, 0
    while waiting:
        figures = _readable(waiting)
        waiting = [message for message in waiting if message.pk in figures]
        if not waiting:
            break
        try:
            connector = connector_of()
            calls = connector.stock_calls([figures[message.pk] for message in waiting])
            calls = calls[: connector.stock_turns(calls[:CALLS_AT_ONCE])]
        except Exception as error:  # noqa: BLE001 - logged there
            _none_can_go(waiting, error)
            break
        told = _Slice(waiting, calls, connector, lines)
        sent += told.make()
        doubts = told.doubts if told.is_answered else doubts + told.doubts
        waiting = [message for message in waiting if message.key not in told.keys]
        until = told.rest_waits_until
        if until is None and doubts >= failing.MOST_DOUBTS:
            until = clock_now() + failing.PROBE
        if until is not None:
            outbox.give_back(waiting, until=until)
            break
    return sent


def _readable(messages: Sequence[OutboundMessage]) -> Mapping[int, StockFigure]:
    """The figures that are still to be told, by message. Of others there is newer news."""
    figures: dict[int, StockFigure] = {}
    try:
        figures = wording.stock_figures(messages)
    except Exception as error:  # noqa: BLE001 - logged there
        if len(messages) == 1:
            failing.unreadable(messages[0], error)
            return {}
        for message in messages:  # what cannot be read holds up no other
            figures |= _readable([message])
        return figures
    for message in messages:
        if message.pk not in figures:
            if message.is_doubtful:
                endings.in_doubt(message)
            outbox.end(message, State.SUPERSEDED, error=MOOT, now=clock_now())
    return figures


def _none_can_go(messages: Sequence[OutboundMessage], error: Exception) -> None:
    """Not one call can be made now: no way, no turn, no credential, or a fault of ours."""
    first, *rest = messages
    if isinstance(error, Unsupported):
        for message in [first, *(one for one in rest if one.is_doubtful)]:
            failing.failed(message, error, doubtful=False)
    elif isinstance(error, ConnectorError):
        ending = failing.failed(first, error, doubtful=first.is_doubtful)
        until = ending.shop_waits_until or ending.kind_waits_until
        outbox.give_back(rest, until=until or clock_now() + failing.PROBE)
    else:
        for message in messages:
            failing.unreadable(message, error)


class _Slice:
    """Calls that are made together, and what came of their figures."""

    def __init__(
        self,
        messages: Sequence[OutboundMessage],
        calls: Sequence[StockCall],
        connector: Connector,
        lines: SideBySide | None,
    ) -> None:
        self.keys = {figure.key for call in calls for figure in call.figures}
        self.doubts = 0
        self.is_answered = False
        """Whether the platform has answered any of them, be it with a no."""
        self.rest_waits_until: datetime | None = None
        self._connector = connector
        self._lines = lines
        chosen = [message for message in messages if message.key in self.keys]
        begun = outbox.begin_all(chosen, now=clock_now())
        self._messages = {message.key: message for message in begun}
        mine = [tuple(f for f in call.figures if f.key in self._messages) for call in calls]
        self._calls = [figures for figures in mine if figures]

    def make(self) -> int:
        """Make the calls and write what came of them; return how many figures arrived."""
        call = partial(_outcomes, self._connector)
        if self._lines is not None and len(self._calls) > 1:
            results = self._lines.at_once(call, self._calls)
        else:
            results = [call(figures) for figures in self._calls]
        told = list(zip(self._calls, results, strict=True))
        taken = [
            Taken(self._messages[figure.key], figure, outcome)
            for figures, outcomes in told
            for figure, outcome in zip(figures, outcomes, strict=True)
            if isinstance(outcome, StockEcho)
        ]
        if taken:
            endings.figures_taken(taken, now=clock_now())
        for figures, outcomes in told:
            self._write_failures(figures, outcomes)
        return len(taken)

    def _write_failures(self, figures: Sequence[StockFigure], outcomes: Sequence[Outcome]) -> None:
        is_doubt = False
        for figure, error in zip(figures, outcomes, strict=True):
            if isinstance(error, StockEcho):
                continue
            message = self._messages[figure.key]
            doubtful = message.is_doubtful or not isinstance(error, ConnectorError)
            ending = failing.failed(message, error, doubtful=doubtful)
            is_doubt = is_doubt or ending.doubtful
            waits = (self.rest_waits_until, ending.shop_waits_until, ending.kind_waits_until)
            self.rest_waits_until = max((one for one in waits if one), default=None)
        self.doubts += is_doubt
        self.is_answered = self.is_answered or not is_doubt


def _outcomes(connector: Connector, figures: Sequence[StockFigure]) -> list[Outcome]:
    """Make one call; a failure of the whole is one of each figure."""
    try:
        return list(connector.publish_figures(figures))
    except Exception as error:  # noqa: BLE001 - written with the message
        return [error for _ in figures]
