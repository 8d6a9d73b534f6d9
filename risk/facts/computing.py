"""Every fact of every order of a batch, by family: a column for each."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from ordercenter.catalog.gifts import Strategy
from risk.contracts import Seen, Subject
from risk.facts.gifts import gift_gap, gift_short, unlocked_available
from risk.facts.history import History
from risk.facts.likeness import Likeness
from risk.facts.lists import Lists
from risk.facts.peers import Peers
from risk.facts.plain import PLAIN
from risk.facts.prices import ListPrices, RunningPrices
from risk.facts.told import Column, said
from risk.language import FactSpec

STOCK: Final[Mapping[str, Callable[[Subject], Seen]]] = {
    "gift_short": gift_short,
    "unlocked_available": unlocked_available,
}


def compute(
    subjects: Sequence[Subject],
    specs: Sequence[FactSpec],
    gifts: Sequence[Strategy] = (),
    *,
    late: bool = False,
) -> list[dict[FactSpec, Seen]]:
    """Every fact of every order of the batch; only what is asked for is read.

    ``late`` as in ``risk/facts/history.py``: orders as they come in, some after younger ones.
    """
    if not subjects or not specs:
        return [{} for _ in subjects]
    families = _families(subjects, specs, gifts, late=late)
    columns = [_column(spec, subjects, families) for spec in specs]
    return [dict(zip(specs, row, strict=True)) for row in zip(*columns, strict=True)]


Family = Callable[[FactSpec], Column]


def _column(spec: FactSpec, subjects: Sequence[Subject], families: Mapping[str, Family]) -> Column:
    name = spec.name if spec.param("base") != "running" else "running"
    if name in families:
        return families[name](spec)
    if name in STOCK:
        return list(map(STOCK[name], subjects))
    values = map(PLAIN[name], subjects)
    return said(values) if spec.kind.type == "bool" else [Seen(value) for value in values]


def _families(
    subjects: Sequence[Subject],
    specs: Sequence[FactSpec],
    gifts: Sequence[Strategy],
    *,
    late: bool,
) -> Mapping[str, Family]:
    """What is computed for the whole batch at once."""
    lists = Lists(subjects, {str(spec.param("list", "")) for spec in specs} - {""})
    peers = Peers(subjects, [s for s in specs if s.keys or s.name == "likeness"], late=late)
    history = History(subjects, peers, lists, late=late)
    prices = ListPrices(subjects)
    running = RunningPrices(subjects, [s for s in specs if s.param("base") == "running"])
    return {
        "orders_in_window": history.orders,
        "money_in_window": history.money,
        "units_in_window": history.units,
        "day_amount": history.day_amounts,
        "likeness": Likeness(subjects, peers, late=late).column,
        "gift_gap": lambda _: [gift_gap(subject, gifts) for subject in subjects],
        "in_list": lambda spec: lists.listed(spec.param("list")),
        "carrier_reach": lambda spec: lists.reach(spec.param("list")),
        "price_ratio": prices.ratios,
        "discount_ratio": prices.discounts,
        "running": running.ratios,
    }
