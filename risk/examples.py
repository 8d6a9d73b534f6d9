"""What people decided of an order beside what was known of it then, as plain numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from risk.contracts import NOT_APPLICABLE, FactValue
from risk.facts import facts_from_inputs
from risk.language import FactSpec, Program
from risk.registry import NUMBERS

LEARNED: Final = 70
"""Per cent of the decisions, the oldest, that are learned from; the others are the test."""


@dataclass(frozen=True, slots=True)
class Example:
    """One order somebody decided on. ``values`` are of the verdict he had before him."""

    order_id: int
    at: datetime
    stopped: bool
    values: Mapping[FactSpec, float]
    """Numbers, and yes or no as 1 or 0; what was unknown or did not apply is missing."""
    hits: frozenset[str] = frozenset()
    """The rules that had hit."""


def learnable(program: Program) -> tuple[FactSpec, ...]:
    """The facts of a program that are numbers, or yes or no."""
    return tuple(spec for spec in program.specs if spec.kind.type in NUMBERS | {"bool"})


def values_of(program: Program, inputs: Mapping[str, Any]) -> dict[FactSpec, float] | None:
    """The learnable facts of a verdict's inputs; None for a verdict whose inputs were not kept."""
    told = facts_from_inputs(0, program, inputs)
    if told is None:
        return None
    found = {spec: number(told[1][spec].value) for spec in learnable(program)}
    return {spec: value for spec, value in found.items() if value is not None}


def number(value: FactValue) -> float | None:
    if value is None or value is NOT_APPLICABLE or isinstance(value, str | frozenset):
        return None
    return float(value)  # type: ignore[arg-type]


def hits_of(findings: Sequence[Mapping[str, Any]]) -> frozenset[str]:
    """The rules that hit and counted, of a verdict's findings."""
    return frozenset(
        str(one["code"]) for one in findings if one.get("hit") and not one.get("skipped")
    )


def split(
    examples: Sequence[Example], until: datetime | None = None
) -> tuple[list[Example], list[Example]]:
    """The decisions to learn from and the later ones to test on.

    They part at ``until``, or behind the first 70 %; decisions of one moment stay together.
    """
    ordered = sorted(examples, key=lambda one: (one.at, one.order_id))
    if until is None and ordered:
        until = ordered[min(len(ordered) - 1, len(ordered) * LEARNED // 100)].at
    return (
        [one for one in ordered if until is not None and one.at < until],
        [one for one in ordered if until is not None and one.at >= until],
    )
