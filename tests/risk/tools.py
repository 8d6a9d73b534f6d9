"""Rules, facts and orders for tests that need no database."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from ordercenter.core.clock import SHANGHAI
from risk.contracts import NOT_APPLICABLE, FactValue, Seen, Subject
from risk.language import FactSpec, Program, read_rules
from risk.registry import FACTS, NUMBERS

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=SHANGHAI)
WORDS = ("加急", "vip", "送人", "急", "x")
PLACES = ("江苏省", "浙江省", "广东省")
ASKED: tuple[dict[str, Any], ...] = (
    {"fact": "amount"},
    {"fact": "units"},
    {"fact": "price_ratio"},
    {"fact": "orders_in_window", "keys": ["buyer"], "window_seconds": 300},
    {"fact": "hour"},
    {"fact": "is_rush"},
    {"fact": "in_list", "list": "blacklist"},
    {"fact": "province"},
    {"fact": "missing"},
    {"fact": "remark"},
)


def rule(*conditions: Any, code: str = "r", tier: str = "2", **more: Any) -> dict[str, Any]:
    """A rule all of whose conditions must hold; ``outcome`` may be given more of."""
    outcome = {"tier": tier, **more.pop("outcome", {})}
    return {"code": code, "when": {"all": list(conditions)}, "outcome": outcome, **more}


def program(*rules: dict[str, Any], version: int = 1) -> Program:
    return read_rules(version, list(rules))


def subject(**changes: Any) -> Subject:
    """An order of nobody in particular."""
    values: dict[str, Any] = {
        "order_id": 1, "number": "n", "placed_at": NOON, "amount": Decimal(100), "buyer": "",
        "device": "", "phone": "", "address": "", "ip": "", "lines": (),
    }  # fmt: skip
    return Subject(**{**values, **changes})


def value_of(told: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Values that the language takes for this fact."""
    kind = FACTS[told["fact"]].type
    if kind == "bool":
        return st.booleans()
    if kind == "ratio":
        return st.integers(0, 200).map(lambda n: f"{n // 100}.{n % 100:02}")
    if kind == "money":
        return st.integers(0, 20_000).map(lambda n: f"{n // 100}.{n % 100:02}")
    if kind in NUMBERS:
        return st.integers(0, 9).map(str)
    pool = {"province": PLACES, "missing": ("name", "phone", "city"), "remark": WORDS}
    return st.lists(st.sampled_from(pool[told["fact"]]), min_size=1, max_size=3, unique=True)


@st.composite
def comparisons(draw: st.DrawFn) -> dict[str, Any]:
    told = draw(st.sampled_from(ASKED))
    op = draw(st.sampled_from(FACTS[told["fact"]].ops))
    return {**told, "op": op, "value": draw(value_of(told))}


conditions = st.recursive(
    comparisons(),
    lambda parts: st.one_of(
        st.lists(parts, min_size=1, max_size=3).map(lambda found: {"all": found}),
        st.lists(parts, min_size=1, max_size=3).map(lambda found: {"any": found}),
        parts.map(lambda part: {"not": part}),
    ),
    max_leaves=6,
)


def known_value(spec: FactSpec) -> st.SearchStrategy[FactValue]:
    """Values that a fact of this kind can have."""
    kind = spec.kind.type
    if kind == "bool":
        return st.booleans()
    if kind == "ratio":
        return st.fractions(0, 2, max_denominator=100)
    if kind == "money":
        return st.integers(0, 20_000).map(lambda n: Decimal(n) / 100)
    if kind == "text":
        return st.lists(st.sampled_from((*WORDS, "好", "的")), max_size=4).map("".join)
    if kind == "set":
        pool = PLACES if spec.name == "province" else ("name", "phone", "city", "amount")
        return st.frozensets(st.sampled_from(pool), max_size=2)
    return st.integers(0, 9)


def seen_of(draw: st.DrawFn, asked: Program) -> dict[FactSpec, Seen]:
    """A value for every fact, some unknown and some that do not apply."""
    odd = st.sampled_from((None, NOT_APPLICABLE))
    return {
        spec: Seen(draw(st.one_of(known_value(spec), known_value(spec), known_value(spec), odd)))
        for spec in asked.specs
    }


@st.composite
def judged(draw: st.DrawFn) -> tuple[Program, dict[FactSpec, Seen]]:
    """Rules of random conditions and random facts for them."""
    found = draw(st.lists(conditions, min_size=1, max_size=4))
    tiers = st.sampled_from(("0", "1", "2", "3"))
    asked = program(*(rule(one, code=f"r{n}", tier=draw(tiers)) for n, one in enumerate(found)))
    return asked, seen_of(draw, asked)


@st.composite
def batches(draw: st.DrawFn) -> tuple[Program, list[dict[FactSpec, Seen]]]:
    """The same for several orders; the last is like the first."""
    asked, first = draw(judged())
    return asked, [first, *[seen_of(draw, asked) for _ in range(3)], first]
