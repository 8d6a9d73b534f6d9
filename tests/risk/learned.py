"""Decisions with a hidden truth that a good miner has to find."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random

from risk.examples import Example
from risk.language import FactSpec

AMOUNT = FactSpec("amount")
RATIO = FactSpec("price_ratio")
DISCOUNT = FactSpec("discount_ratio")
RUSH = FactSpec("is_rush")
BUYER = FactSpec("orders_in_window", (("keys", ("buyer",)), ("window_seconds", 86400)))
BEGAN = datetime(2026, 3, 1, tzinfo=UTC)


def decisions(
    many: int, truth: Callable[[Example], bool], *, noise: float = 0.05, seed: int = 5
) -> list[Example]:
    """Orders at random that people stop where ``truth`` says so, and now and then otherwise."""
    random = Random(seed)  # noqa: S311 - made-up orders
    found = []
    for number in range(many):
        values = {
            AMOUNT: round(random.uniform(10_000, 30_000), 2),
            RATIO: round(random.uniform(0.7, 1.0), 3),
            DISCOUNT: round(random.uniform(0, 0.4), 3),
            RUSH: float(random.random() < 0.3),
            BUYER: float(random.randint(1, 6)),
        }
        hits = {"high_value"} | ({"low"} if values[RATIO] < 0.85 else set())
        at = BEGAN + timedelta(minutes=number)
        one = Example(number, at, stopped=False, values=values, hits=frozenset(hits))
        found.append(replace(one, stopped=truth(one) is not (random.random() < noise)))
    return found


def cheap_and_often(one: Example) -> bool:
    return one.values[RATIO] < 0.85 and one.values[BUYER] >= 3


def shuffled(examples: Sequence[Example], seed: int = 7) -> list[Example]:
    """The same decisions dealt out anew: nothing is left to be found."""
    told = [one.stopped for one in examples]
    Random(seed).shuffle(told)  # noqa: S311 - made-up orders
    return [replace(one, stopped=stop) for one, stop in zip(examples, told, strict=True)]
