"""A judgement as the row it is kept in: what it is made of, and the same as JSON text.

A verdict says something of every rule and every fact, and most of that text is the same for
every order: it is written once a program, and of an order only the values are put in.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from json.encoder import encode_basestring
from typing import Any

from ordercenter.core.bulk import dumps
from risk.contracts import NOT_APPLICABLE, Finding, Judgement, Seen
from risk.facts import subject_inputs
from risk.facts.inputs import beside_facts, plain_fact, words_of
from risk.judging import UNKNOWN, compiled, shown
from risk.language import Compare, FactSpec, Program


def tags_of(judgement: Judgement) -> list[str]:
    """The tags of what hit. What tier 1 put right by itself has one only where its rule says so."""
    return [f.tag or f.code for f in judgement.hits if f.tag or f.tier != "1"]


def inputs_of(judgement: Judgement) -> dict[str, Any]:
    """What the judgement rests on, to be made again of (``risk/facts/inputs.py``)."""
    return subject_inputs(judgement.subject, judgement.program, judgement.facts, judgement.around)


def plain(finding: Finding) -> dict[str, Any]:
    """A finding as it is kept: of a rule that did not hit its values and limits."""
    row: dict[str, Any] = {"code": finding.code, "hit": finding.hit, "seen": finding.seen,
                           "limit": finding.limits}  # fmt: skip
    if finding.hit:
        row |= {"tier": finding.tier, "words": finding.words, "orders": finding.orders}
    if finding.error:
        row["error"] = finding.error
    if finding.skipped:
        row["skipped"] = finding.skipped
    return row


@dataclass(frozen=True, slots=True)
class Texts:
    """What ``findings_of``, ``facts_shown`` and ``inputs_of`` say of a judgement, as JSON text."""

    findings: str
    facts: str
    inputs: str


def texts_of(judgement: Judgement) -> Texts:
    """A judgement written down, without making anything of it but text."""
    form, facts = _form(judgement.program), judgement.facts
    found = {finding.code: finding for finding in judgement.found}
    known = {spec: facts.get(spec, UNKNOWN) for spec in judgement.program.specs}
    read = {asked: encode_basestring(shown(asked.one, known[asked.spec])) for asked in form.asked}
    findings = [
        dumps(plain(found[rule.code]))
        if rule.code in found
        else f"{rule.head}{','.join([read[asked] for asked in rule.asked])}{rule.tail}"
        for rule in form.rules
    ]
    labels = [f"{label}:{read[asked]}" for label, asked in form.facts]
    exact = [
        f"{label}:{_exact(facts[asked.spec], form.words.get(asked.spec, ()))}"
        for label, asked in form.facts
        if asked.spec in facts
    ]
    beside = dumps(beside_facts(judgement.subject, judgement.around))
    return Texts(
        f"[{','.join(findings)}]",
        f"{{{','.join(labels)}}}",
        f'{beside[:-1]},"facts":{{{",".join(exact)}}}}}',
    )


def _exact(seen: Seen, words: tuple[str, ...]) -> str:
    """``plain_fact`` as JSON; what most facts are at once."""
    value = seen.value
    if not seen.orders and not seen.detail:
        if value is NOT_APPLICABLE:
            return '"-"'
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, int):
            return str(value)
        if isinstance(value, Decimal):
            return f'"d:{value}"'
    return dumps(plain_fact(seen, words))


@dataclass(frozen=True, slots=True, eq=False)
class _Asked:
    """What is read of a fact: of typed text it depends on the words that are asked for."""

    spec: FactSpec
    one: Compare


@dataclass(frozen=True, slots=True)
class _RuleForm:
    """A rule that did not hit, as JSON around the values it saw."""

    code: str
    head: str
    tail: str
    asked: tuple[_Asked, ...]


@dataclass(frozen=True, slots=True)
class _Form:
    """What the verdicts of a program have in common."""

    rules: tuple[_RuleForm, ...]
    facts: tuple[tuple[str, _Asked], ...]
    """Each by its label, as JSON; of several comparisons the last one, as ``facts_shown``."""
    asked: tuple[_Asked, ...]
    words: Mapping[FactSpec, tuple[str, ...]]


@lru_cache(maxsize=16)
def _form(program: Program) -> _Form:
    known: dict[object, _Asked] = {}
    last: dict[FactSpec, _Asked] = {}
    rules = []
    for ready in compiled(program).rules:
        asked = []
        for one in ready.compares:
            is_text = one.spec.kind.type == "text"
            key = (one.spec, one.value) if is_text else one.spec
            last[one.spec] = known.setdefault(key, _Asked(one.spec, one))
            asked.append(last[one.spec])
        head = f'{{"code":{dumps(ready.rule.code)},"hit":false,"seen":['
        tail = f'],"limit":{dumps(ready.limits)}}}'
        rules.append(_RuleForm(ready.rule.code, head, tail, tuple(asked)))
    facts = tuple((dumps(spec.label), last[spec]) for spec in program.specs)
    words = {spec: tuple(told) for spec, told in words_of(program).items()}
    return _Form(tuple(rules), facts, tuple(known.values()), words)
