"""What a command comes to: understood, a question, or not understood; and its words."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from ordercenter.core.clock import SHANGHAI
from ordercenter.pipeline.interception.vocabulary import Thing, place_label

LONGEST: Final = 300
MOST_OPTIONS: Final = 8
LONGEST_WORDS: Final = 480
LONGEST_LABEL: Final = 40
COUNTED: Final[Mapping[Thing, str]] = {
    Thing.PLACE: "个地区", Thing.SKU: "种货品", Thing.SHOP: "家店", Thing.CHANNEL: "个平台",
    Thing.CARRIER: "家快递",
}  # fmt: skip
Condition = dict[str, Any]
"""What a gate asks: lists by key, ``not_*`` leave out, ``all`` is everything."""
KEYS: Final[Mapping[Thing, str]] = {
    Thing.PLACE: "places",
    Thing.SKU: "skus",
    Thing.SHOP: "shops",
    Thing.CHANNEL: "channels",
    Thing.CARRIER: "carriers",
}
"""By which key a condition holds what kind of thing."""


class Kind(StrEnum):
    STOP = "stop"
    LIFT = "lift"
    FIND = "find"


VERBS: Final[Mapping[Kind, str]] = {
    Kind.STOP: "暂停发货",
    Kind.LIFT: "解除拦截",
    Kind.FIND: "查订单",
}


@dataclass(frozen=True, slots=True)
class Chip:
    """One thing that was understood."""

    kind: str
    """``verb``, a ``Thing``, ``not`` for what is left out, ``from``, ``until``, ``reason`` or
    ``all``."""
    words: str


@dataclass(frozen=True, slots=True)
class Command:
    """A command that is understood whole."""

    kind: Kind
    condition: Condition
    words: str
    """The condition as a sentence, without its beginning and end."""
    ends_at: datetime | None = None
    begins_at: datetime | None = None
    """When it is to start; None for now."""
    chips: tuple[Chip, ...] = ()
    reason: str = ""
    number: int = 0
    """The interception it names by number; 0 for none."""

    @property
    def is_all(self) -> bool:
        """Whether it stops everything: to be asked about hard."""
        return bool(self.condition.get("all"))


@dataclass(frozen=True, slots=True)
class Option:
    """One answer to a question: what it says, and the command it makes."""

    label: str
    text: str


@dataclass(frozen=True, slots=True)
class Choices:
    """A command that may mean several things."""

    question: str
    options: tuple[Option, ...]
    understood: tuple[Chip, ...] = ()


@dataclass(frozen=True, slots=True)
class NotUnderstood:
    """A command that cannot be carried out as it stands, and how far it was read."""

    understood: tuple[Chip, ...]
    rest: tuple[str, ...]
    hints: tuple[str, ...]


Parsed = Command | Choices | NotUnderstood


def empty_condition() -> Condition:
    """A condition that says nothing yet, with every key there is."""
    keys = [*KEYS.values(), *(f"not_{key}" for key in KEYS.values())]
    return {**{key: [] for key in keys}, "all": False}


def shown(moment: datetime) -> str:
    """A moment for people, in Shanghai: 11月23日 08:00; midnight is the end of its day."""
    here = moment.astimezone(SHANGHAI)
    if here.hour == here.minute == 0:
        before = here - timedelta(days=1)
        return f"{before.month}月{before.day}日 24:00"
    return f"{here.month}月{here.day}日 {here:%H:%M}"


def typed(moment: datetime) -> str:
    """A moment as a command names it without any doubt."""
    return f"到{moment.astimezone(SHANGHAI):%Y-%m-%d %H:%M}"


def shown_start(moment: datetime) -> str:
    """A beginning for people: 11月23日 00:00; midnight is where its day begins."""
    here = moment.astimezone(SHANGHAI)
    return f"{here.month}月{here.day}日 {here:%H:%M}"


def typed_start(moment: datetime) -> str:
    """A beginning as a command names it without any doubt."""
    return f"从{moment.astimezone(SHANGHAI):%Y-%m-%d %H:%M}起"


def words_of(
    condition: Mapping[str, Any],
    label: Callable[[Thing, str], str] = lambda _thing, key: key,
    kind: Kind = Kind.STOP,
) -> str:
    """A condition as a sentence of at most ``LONGEST_WORDS``: 江苏省 且 抖音小店暂停发货，顺丰除外.

    Where it names too much for that, it says how much instead.
    """
    said = ""
    for most in (MOST_OPTIONS, 3, 1):
        said = _sentence(condition, label, kind, most)
        if len(said) <= LONGEST_WORDS:
            break
    return said[:LONGEST_WORDS]


def _sentence(
    condition: Mapping[str, Any], label: Callable[[Thing, str], str], kind: Kind, most: int
) -> str:
    def told(prefix: str) -> Iterator[str]:
        for thing, key in KEYS.items():
            values = condition.get(prefix + key) or []
            labels = [
                place_label((value[0], value[1], value[2]))
                if thing is Thing.PLACE
                else label(thing, value)[:LONGEST_LABEL]
                for value in values
            ]
            if labels:
                more = f"等 {len(labels)} {COUNTED[thing]}" if len(labels) > most else ""
                yield "、".join(labels[:most]) + more

    what = " 且 ".join(told("")) or ("全部订单" if condition.get("all") else "")
    out = "、".join(told("not_"))
    gap = " " if what and what[-1].isascii() else ""
    said = f"{what}{gap}{VERBS[kind]}" if kind is Kind.STOP else f"{VERBS[kind]}：{what}"
    return said + (f"，{out}除外" if out else "")
