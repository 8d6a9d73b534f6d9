"""What a verdict was made of, as exact JSON, and back: the same inputs give the same verdict.

Numbers are kept exactly (``d:`` decimal, ``r:`` ratio). Of typed text only the words stay that
some rule asks for, so that a remark is not copied; they judge as the whole text would.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Any, Final

from risk.contracts import NOT_APPLICABLE, Around, Facts, FactValue, Seen, Subject, SubjectLine
from risk.language import Compare, FactSpec, Program, compares

_NOT_APPLICABLE: Final = "-"
_FORMAT: Final = 1


def subject_inputs(
    subject: Subject, program: Program, facts: Facts, around: Around
) -> dict[str, Any]:
    """Everything a judgement of this order by this program rests on."""
    return {"facts": plain_facts(program, facts), **beside_facts(subject, around)}


def plain_facts(program: Program, facts: Facts) -> dict[str, Any]:
    """Every fact by its label, exactly."""
    words = words_of(program)
    return {
        spec.label: plain_fact(facts[spec], words.get(spec, ()))
        for spec in program.specs
        if spec in facts
    }


def beside_facts(subject: Subject, around: Around) -> dict[str, Any]:
    """What a judgement rests on but the facts: where the order lies, what speaks for it."""
    told: dict[str, Any] = {
        "v": _FORMAT,
        "of": [
            subject.shop, subject.channel, str(subject.amount), subject.placed_at.isoformat(),
            sorted(subject.categories),
        ],
    }  # fmt: skip
    if around.spent:
        told["spent"] = sorted(around.spent)
    if around.exempt:
        told["exempt"] = sorted(around.exempt)
    if around.is_history:
        told["history"] = True
    return told


def facts_from_inputs(
    order_id: int, program: Program, inputs: Mapping[str, Any]
) -> tuple[Subject, dict[FactSpec, Seen], Around] | None:
    """What ``judge`` takes, out of a verdict's inputs; None where the verdict has none.

    The program is to be the one of the verdict's version; a fact that it asks and the inputs do
    not have is unknown.
    """
    if inputs.get("v") != _FORMAT:
        return None
    shop, channel, amount, placed_at, categories = inputs["of"]
    lines = tuple(SubjectLine(0, "", 1, Decimal(0), None, is_gift=False, category=one)
                  for one in categories)  # fmt: skip
    subject = Subject(
        order_id, "", datetime.fromisoformat(placed_at), Decimal(amount), "", "", "", "", "",
        lines, shop=shop, channel=channel,
    )  # fmt: skip
    told = inputs["facts"]
    facts = {spec: _seen(told.get(spec.label)) for spec in program.specs}
    around = Around(
        frozenset(inputs.get("spent", ())),
        frozenset(inputs.get("exempt", ())),
        bool(inputs.get("history")),
    )
    return subject, facts, around


@lru_cache(maxsize=16)
def words_of(program: Program) -> Mapping[FactSpec, Sequence[str]]:
    """The words each text is asked for."""
    found: dict[FactSpec, list[str]] = {}
    asked: list[Compare] = [one for rule in program.rules for one in compares(rule.when)]
    for one in asked:
        if one.spec.kind.type == "text" and isinstance(one.value, tuple):
            found.setdefault(one.spec, []).extend(one.value)
    return found


def plain_fact(seen: Seen, words: Sequence[str]) -> Any:
    """One fact as JSON takes it; of typed text only these words."""
    value = _encoded(seen.value, words)
    if not seen.orders and not seen.detail:
        return value
    told: dict[str, Any] = {"v": value}
    if seen.orders:
        told["o"] = seen.orders
    if seen.detail:
        told["d"] = seen.detail
    return told


def _encoded(value: FactValue, words: Sequence[str]) -> Any:
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, Decimal):
        return f"d:{value}"
    if isinstance(value, Fraction):
        return f"r:{value}"
    if isinstance(value, frozenset):
        return sorted(value)
    if isinstance(value, str):
        return "t:" + "\n".join(dict.fromkeys(word for word in words if word in value))
    return _NOT_APPLICABLE


def _seen(told: Any) -> Seen:
    if isinstance(told, Mapping):
        return Seen(_decoded(told["v"]), tuple(told.get("o", ())), told.get("d", ""))
    return Seen(_decoded(told))


def _decoded(told: Any) -> FactValue:
    if told is None or isinstance(told, bool | int):
        return told
    if isinstance(told, list):
        return frozenset(told)
    if told == _NOT_APPLICABLE:
        return NOT_APPLICABLE
    kind, _, text = str(told).partition(":")
    if kind == "d":
        return Decimal(text)
    return Fraction(text) if kind == "r" else text
