"""The paths of a field map: ``receiver.name``, ``items[0].price``, ``goods[].id``, ``a.b?.c``.

``connectors/field_map.py`` says what they mean.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from channels_sync.connectors.strict_json import loads_strict

_STEP: Final = re.compile(r"([^.\[\]?\s]+)((?:\[[0-9]{0,3}\])*)(\??)")
Getter = Callable[[Mapping[str, Any]], Any]


class _Each:
    """The step ``[]``: every entry."""


_EACH: Final = _Each()


@dataclass(frozen=True, slots=True)
class _Loose:
    """A step with ``?``: stays where it is if the key is not there."""

    key: str


Step = str | int | _Each | _Loose


def steps_of(path: str) -> tuple[Step, ...]:
    """Cut a path up; raises ValueError where it is none."""
    steps: list[Step] = []
    for part in path.split("."):
        found = _STEP.fullmatch(part)
        if found is None:
            raise ValueError(path)
        key, brackets, loose = found.groups()
        steps.append(_Loose(key) if loose else key)
        indexes = re.findall(r"\[([0-9]*)\]", brackets)
        steps.extend(int(index) if index else _EACH for index in indexes)
    return tuple(steps)


def getter_of(steps: tuple[Step, ...]) -> Getter:
    """One dict look-up for the usual path of one step, a walk for the others."""
    first = steps[0]
    if len(steps) == 1 and isinstance(first, str):
        return lambda data: data.get(first)
    if any(step is _EACH for step in steps):
        return lambda data: next(
            (value for value in _spread(data, steps) if not is_empty(value)), None
        )
    return lambda data: next(_spread(data, steps), None)


def _spread(value: Any, steps: tuple[Step, ...]) -> Iterator[Any]:
    """Yield what lies at the end of ``steps``; more than one only through ``[]``."""
    for at, step in enumerate(steps):
        value = opened(value)
        if step is _EACH:
            for entry in value if isinstance(value, list) else ():
                yield from _spread(entry, steps[at + 1 :])
            return
        value = _below(value, step)
        if value is None:
            return
    yield value


def _below(value: Any, step: Step) -> Any:
    if isinstance(step, _Loose):
        return value.get(step.key, value) if isinstance(value, Mapping) else value
    if isinstance(value, Mapping):
        return value.get(step) if isinstance(step, str) else None
    if isinstance(value, list) and isinstance(step, int):
        return value[step] if step < len(value) else None
    return None


def opened(value: Any) -> Any:
    """Read JSON inside a text (Douyin ``addr``, ``items_json``); other values as they are."""
    if isinstance(value, str) and value.lstrip()[:1] in {"{", "["}:
        return loads_strict(value.encode(errors="surrogatepass"))
    return value


def is_empty(value: Any) -> bool:
    if value.__class__ is str:
        return not value.strip()
    return value is None or value in ({}, [])
