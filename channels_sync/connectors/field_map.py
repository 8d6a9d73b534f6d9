"""The field map: which field of a platform becomes which of ours, as data.

A map is JSON: sections (``order``, ``line``, ``receiver``, ``refund``, ``evidence``...) of::

    our_field: {"from": ["path", "another.path"], "as": "yuan"}

and, where wanted, ``"values": {their word: ours}``, ``"otherwise": our word``, ``"default":
value``, ``"join": " "``, ``"required": true``, ``"note": "..."``.

* **from**: where to look; the first that holds something wins (null, blank, ``{}`` and ``[]``
  are nothing). Steps go by dots; ``[0]`` picks an entry of a list, ``[]`` goes through all of
  them; a step ending in ``?`` may be left out by the platform (``orders.order?``). A path that
  goes on below a text reads the JSON within it. ``join`` puts all that is found in one text.
* **as**: ``text``, ``id``, ``yuan``, ``fen``, ``whole``, ``quantity``, ``boolean``, ``word``,
  ``list``, ``object``, and the times ``china_time`` (naive is Beijing time, or ISO 8601),
  ``iso_time`` (an offset is a must), ``unix_seconds``, ``unix_milliseconds`` and ``any_time``
  (seconds, ISO or naive). Amounts and times are read as this says; the rest by who asks.
* **values**: their spelling to ours. A word that is not listed is ``otherwise``; of other
  kinds an unlisted value is read as it came. **default** stands in, in the platform's own
  spelling, where nothing is found; with it ``from`` may be empty.

Each connector folder has its default, ``field_map.json``, and is used so::

    class TaobaoConnector(BaseConnector):
        default_map = FieldMap.packaged("taobao")  # the folder's name

        def read(self, body):                      # self.field_map: what was given, else that
            return read_trade(Node.of(loads_strict(body)), self.field_map)

    order = fields.section("order").over(node)     # a section over one Node
    order.id("channel_number"), order.amount("payable_amount"), order.time("paid_at")
    lines = [fields.section("line").over(row) for row in order.nodes("lines")]

An edited map names only what it changes: ``FieldMap.packaged("taobao").changed(edited)``.
Whatever cannot work is refused there (``BadFieldMap``), not when an order comes: unknown
sections and fields, a money field read as a time, a required field without a source.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Protocol

from channels_sync.connectors.field_map_checks import (
    made_up_words,
    misfits,
    problems_of,
    shape_problems,
)
from channels_sync.connectors.field_paths import Getter, getter_of, is_empty, opened, steps_of
from channels_sync.connectors.values import (
    NEVER,
    Node,
    Unbelievable,
    boolean,
    china_time,
    fen,
    given_text,
    id_text,
    optional_id,
    quantity,
    required_time,
    text_of,
    unix_milliseconds,
    unix_seconds,
    unwrap,
    whole,
    yuan,
)
from channels_sync.contracts import Unreadable
from ordercenter.core.money import FEN

FOLDERS: Final = Path(__file__).parent
MAX_PROBLEMS: Final = 20
_DIGITS: Final = re.compile(r"[0-9]{1,12}")
_OFFSET: Final = re.compile(r"(?:Z|[+-][0-9]{2}:?[0-9]{2})\Z")


class BadFieldMap(Exception):
    """A map that cannot be read by; ``problems`` name section, field and reason."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("；".join(problems))
        self.problems = tuple(problems)


# --- times the base has no reader for ---------------------------------------------------------


def iso_time(value: Any, name: str) -> datetime | None:
    """Read ISO 8601 that names its offset; null and blank are none. Raises Unreadable."""
    moment = china_time(value, name)
    if moment is not None and not _OFFSET.search(str(value)):
        raise Unreadable(f"字段 {name} 的时间没有时区")
    return moment


def any_time(value: Any, name: str) -> datetime | None:
    """Read Unix seconds, ISO 8601, or naive text as Beijing time. Raises Unreadable."""
    if isinstance(value, int) or (isinstance(value, str) and _DIGITS.fullmatch(value)):
        return unix_seconds(value, name)
    return china_time(value, name)


class _Amount(Protocol):
    def __call__(self, value: Any, name: str, *, signed: bool, quantum: Decimal) -> Decimal: ...


def _fen(value: Any, name: str, *, signed: bool, quantum: Decimal) -> Decimal:
    return fen(value, name, signed=signed)


_AMOUNTS: Final[Mapping[str, _Amount]] = {"yuan": yuan, "fen": _fen}
_TIMES: Final[Mapping[str, Callable[[Any, str], datetime | None]]] = {
    "china_time": china_time,
    "iso_time": iso_time,
    "unix_seconds": unix_seconds,
    "unix_milliseconds": unix_milliseconds,
    "any_time": any_time,
}


# --- rules --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Rule:
    """How one of our fields is found. ``find`` gives the platform's value, ``values`` applied."""

    find: Getter
    label: str
    """What messages call it: the first path, else our name."""
    kind: str
    words: Mapping[str, Any]
    otherwise: Any = None

    def word(self, data: Mapping[str, Any]) -> str | None:
        value = self.find(data)
        if is_empty(value):
            return None
        found = self.words.get(_spelled(value), self.otherwise)
        return None if found is None else str(found)


def _spelled(value: Any) -> str:
    """How a value is written in ``values``."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return text_of(value)


def _nothing(_data: Mapping[str, Any]) -> None:
    return None


def _compile(name: str, entry: Mapping[str, Any]) -> Rule:
    paths = entry.get("from", ())
    getters = [getter_of(steps_of(path)) for path in paths]
    find = getters[0] if len(getters) == 1 else _first_of(getters)
    if "join" in entry:
        find = _joined(getters, entry["join"])
    if "default" in entry:
        find = _or_default(find, entry["default"])
    kind, words = entry["as"], entry.get("values", {})
    if words and kind != "word":
        find = _translated(find, words)
    label = paths[0] if paths else name
    return Rule(find, label, kind, words, entry.get("otherwise"))


def _first_of(getters: Sequence[Getter]) -> Getter:
    def find(data: Mapping[str, Any]) -> Any:
        blank = None
        for get in getters:
            value = get(data)
            if not is_empty(value):
                return value
            if value is not None:
                blank = value
        return blank

    return find if getters else _nothing


def _joined(getters: Sequence[Getter], glue: str) -> Getter:
    def find(data: Mapping[str, Any]) -> Any:
        found = [text for get in getters if (text := text_of(get(data))).strip()]
        return glue.join(found) if found else None

    return find


def _or_default(find: Getter, default: Any) -> Getter:
    def with_default(data: Mapping[str, Any]) -> Any:
        value = find(data)
        return default if is_empty(value) else value

    return with_default


def _translated(find: Getter, words: Mapping[str, Any]) -> Getter:
    def translated(data: Mapping[str, Any]) -> Any:
        value = find(data)
        return words.get(_spelled(value), value)

    return translated


# --- reading by a section -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Section:
    """One section of a map, ready to be laid over an object."""

    rules: Mapping[str, Rule]

    def over(self, node: Node) -> "Fields":
        return Fields(self.rules, node)

    def __contains__(self, name: object) -> bool:
        return name in self.rules


@dataclass(frozen=True, slots=True)
class Fields:
    """One of the platform's objects, read by our names.

    A field the map leaves out is not given: an optional one is empty, a required one raises
    Unreadable with the platform's name for it.
    """

    rules: Mapping[str, Rule]
    node: Node

    def _at(self, name: str) -> tuple[Any, str]:
        rule = self.rules.get(name)
        if rule is None:
            return None, self.node.name(name)
        return rule.find(self.node.data), self.node.name(rule.label)

    def raw(self, name: str) -> Any:
        """What the platform gave, as parsed."""
        rule = self.rules.get(name)
        return None if rule is None else rule.find(self.node.data)

    def given(self, name: str) -> bool:
        """Whether there is anything: not null, blank or an empty list or object."""
        return not is_empty(self.raw(name))

    def text(self, name: str) -> str:
        return text_of(self.raw(name))

    def given_text(self, name: str) -> str | None:
        return given_text(self.raw(name))

    def some_text(self, name: str) -> str | None:
        """A text that is not blank, else None."""
        text = text_of(self.raw(name))
        return text if text.strip() else None

    def id(self, name: str) -> str:
        return id_text(*self._at(name))

    def optional_id(self, name: str) -> str | None:
        return optional_id(self.raw(name))

    def amount(
        self,
        name: str,
        *,
        default: Decimal | None = None,
        signed: bool = False,
        quantum: Decimal = FEN,
    ) -> Decimal:
        """Money in the main unit; ``default`` where there is none, else Unreadable."""
        rule = self.rules.get(name)
        value = None if rule is None else rule.find(self.node.data)
        if default is not None and is_empty(value):
            return default
        if rule is None:
            raise Unreadable(f"缺少字段 {self.node.name(name)}")
        read = _AMOUNTS[rule.kind]
        return read(value, self.node.name(rule.label), signed=signed, quantum=quantum)

    def optional_amount(self, name: str, *, quantum: Decimal = FEN) -> Decimal | None:
        return self.amount(name, quantum=quantum) if self.given(name) else None

    def time(self, name: str) -> datetime | None:
        """An aware moment; None for the platforms' ways to say "never"."""
        rule = self.rules.get(name)
        if rule is None:
            return None
        return _TIMES[rule.kind](rule.find(self.node.data), self.node.name(rule.label))

    def required_time(self, name: str) -> datetime:
        return self._required(self.time(name), name)

    def _required(self, moment: datetime | None, name: str) -> datetime:
        rule = self.rules.get(name)
        return required_time(moment, self.node.name(rule.label if rule else name))

    def claimed_time(self, name: str) -> datetime:
        """A moment as the platform claims it, also one nothing can be of: the house holds such
        an order rather than refuse to read it. Raises Unreadable where none is given."""
        try:
            moment = self.time(name)
        except Unbelievable as error:
            return error.moment
        return NEVER if moment is None and self.given(name) else self._required(moment, name)

    def word(self, name: str) -> str | None:
        """Our word for theirs; None where nothing is given or the word is not listed."""
        rule = self.rules.get(name)
        return None if rule is None else rule.word(self.node.data)

    def whole(self, name: str, *, default: int | None = None) -> int:
        value, label = self._at(name)
        return default if default is not None and is_empty(value) else whole(value, label)

    def optional_whole(self, name: str) -> int | None:
        value, label = self._at(name)
        return None if is_empty(value) else whole(value, label)

    def quantity(self, name: str, *, default: int | None = None) -> int:
        value, label = self._at(name)
        return default if default is not None and is_empty(value) else quantity(value, label)

    def boolean(self, name: str, *, default: bool = False) -> bool:
        value, label = self._at(name)
        return default if is_empty(value) else boolean(value, label)

    def node_or_empty(self, name: str) -> Node:
        """The object there; an empty one if there is none or it is no object."""
        value, label = self._at(name)
        value = opened(value)
        return Node(value if isinstance(value, Mapping) else {}, label)

    def nodes(self, name: str) -> list[Node]:
        """The objects of the list there, however wrapped (``unwrap``). Raises Unreadable."""
        value, label = self._at(name)
        rows = unwrap(opened(value))
        return [Node.of(row, f"{label}[{index}]") for index, row in enumerate(rows)]


# --- the map ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class FieldMap:
    """A whole map, compiled. ``source`` is the JSON it was made of, whole."""

    source: Mapping[str, Mapping[str, Mapping[str, Any]]]
    _sections: Mapping[str, Section] = field(repr=False)

    @classmethod
    def parse(cls, source: Any) -> "FieldMap":
        """Compile a whole map. Raises BadFieldMap naming every section and field at fault."""
        if problems := list(problems_of(source)):
            raise BadFieldMap(problems[:MAX_PROBLEMS])
        sections = {
            name: Section({key: _compile(key, entry) for key, entry in fields.items()})
            for name, fields in source.items()
        }
        return cls(source, sections)

    @classmethod
    def packaged(cls, folder: str) -> "FieldMap":
        """The default of the connector in ``connectors/<folder>/``."""
        return _packaged(folder)

    def section(self, name: str) -> Section:
        """One section; a name the map does not have reads everything as not given."""
        return self._sections.get(name, _NO_SECTION)

    def changed(self, edited: Any) -> "FieldMap":
        """This map with what ``edited`` says otherwise.

        Fields ``edited`` does not name stay; of a field it names, the settings it does not name
        stay, and null takes one away; ``"from": []`` without a default takes a field out.
        Raises BadFieldMap for what is not in this map, for another kind of value, and for a
        required field taken out.
        """
        if problems := list(shape_problems(edited)):
            raise BadFieldMap(problems[:MAX_PROBLEMS])
        problems = list(misfits(edited, self.source))
        whole_map = {
            name: {
                key: {**entry, **edited.get(name, {}).get(key, {})} for key, entry in fields.items()
            }
            for name, fields in self.source.items()
        }
        problems += made_up_words(whole_map, self.source)
        if problems:
            raise BadFieldMap(problems[:MAX_PROBLEMS])
        return FieldMap.parse(whole_map)


_NO_SECTION: Final = Section({})


def _merged(entry: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in {**entry, **change}.items() if value is not None}


@lru_cache(maxsize=64)
def _packaged(folder: str) -> FieldMap:
    path = FOLDERS / folder / "field_map.json"
    return FieldMap.parse(json.loads(path.read_text(encoding="utf-8")))
