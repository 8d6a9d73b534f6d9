"""What a command means in this installation: its names, and the interceptions it speaks of."""

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.db.models import Count, Max

from fulfillment.models import CarrierAccount
from ordercenter.catalog.models import Shop, Sku
from ordercenter.orders.models import Interception
from ordercenter.pipeline.interception.commands import KEYS, Command, Parsed
from ordercenter.pipeline.interception.grammar import parse
from ordercenter.pipeline.interception.vocabulary import ShopWord, SkuWord, Thing, Vocabulary

FRESH: Final = 20.0
"""Seconds after which a changed name is surely known; a new one is known at once."""


class _Known:
    """The names of this installation, read again when there are new ones or they are old."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._read_at = 0.0
        self._stamp: tuple[Any, ...] = ()
        self._vocabulary = Vocabulary()

    def get(self) -> Vocabulary:
        stamp = _stamp()
        with self._lock:
            if stamp != self._stamp or time.monotonic() - self._read_at > FRESH:
                # Equal names keep what was worked out of them; that takes longer than reading.
                if (names := _read()) != self._vocabulary:
                    self._vocabulary = names
                self._stamp, self._read_at = stamp, time.monotonic()
            return self._vocabulary

    def forget(self) -> None:
        self._stamp = ()


_known: Final = _Known()


def vocabulary() -> Vocabulary:
    """Every name a command may use here."""
    return _known.get()


def forget() -> None:
    """Read the names again at the next question; for tests and imports."""
    _known.forget()


def _stamp() -> tuple[Any, ...]:
    counts = [
        model.objects.aggregate(n=Count("pk"), last=Max("pk"))
        for model in (Sku, Shop, CarrierAccount)
    ]
    return tuple((one["n"], one["last"]) for one in counts)


def _read() -> Vocabulary:
    return Vocabulary(
        shops=tuple(ShopWord(*row) for row in Shop.objects.values_list("code", "name", "channel")),
        skus=tuple(
            SkuWord(*row)
            for row in Sku.objects.filter(is_active=True).values_list("code", "name", "category")
        ),
        carriers=dict(CarrierAccount.objects.values_list("code", "name")),
    )


def read_command(text: str, *, now: datetime) -> Parsed:
    """Read one command by the names of this installation."""
    return parse(text, vocabulary(), now)


@dataclass(frozen=True, slots=True)
class Meant:
    """The running interceptions a lifting command speaks of."""

    exact: tuple[Interception, ...]
    """Just these: by number, or all that stop exactly what was named."""
    wider: tuple[Interception, ...]
    """These stop what was named, and more; they end whole or not at all."""


def meant_by(command: Command) -> Meant:
    """Which running interceptions a command means; by its number one still to start, too.

    Nothing is guessed: see ``Meant``.
    """
    states = (Interception.State.ACTIVE, Interception.State.PLANNED)
    if command.number:
        return Meant(tuple(Interception.objects.filter(pk=command.number, state__in=states)), ())
    running = list(
        Interception.objects.filter(state=Interception.State.ACTIVE).order_by("-started_at", "pk")
    )
    if command.is_all:
        return Meant(tuple(running), ())
    exact = tuple(row for row in running if _named(row.condition) == _named(command.condition))
    wider = tuple(row for row in running if row not in exact and _touches(row, command.condition))
    return Meant(exact, wider)


def _named(condition: Mapping[str, Any]) -> dict[str, list[Any]]:
    """What a condition stops, without what it leaves out."""
    return {key: sorted(map(tuple, condition.get(key) or [])) for key in KEYS.values()}


def _touches(row: Interception, condition: Mapping[str, Any]) -> bool:
    """Whether it stops something of each kind that was named."""
    asked = {key: values for key, values in _named(condition).items() if values}
    has = _named(row.condition)
    return bool(asked) and all(
        _share(has[key], values, is_place=key == KEYS[Thing.PLACE]) for key, values in asked.items()
    )


def _share(has: Sequence[Any], asked: Sequence[Any], *, is_place: bool) -> bool:
    if not is_place:
        return not set(has).isdisjoint(asked)
    return any(
        all(not a or not b or a == b for a, b in zip(mine, theirs, strict=True))
        for mine in has
        for theirs in asked
    )
