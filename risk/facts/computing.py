"""Every fact of every order of a batch, by family."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from ordercenter.catalog.gifts import Strategy
from risk.contracts import Seen, Subject
from risk.facts.gifts import gift_gap, gift_short, unlocked_available
from risk.facts.history import History
from risk.facts.likeness import Likeness
from risk.facts.lists import Lists
from risk.facts.plain import PLAIN
from risk.facts.prices import RunningPrices, discount_ratio, price_ratio
from risk.language import FactSpec

SEEN: Final[Mapping[str, Callable[[Subject], Seen]]] = {
    "price_ratio": price_ratio,
    "discount_ratio": discount_ratio,
    "gift_short": gift_short,
    "unlocked_available": unlocked_available,
}
"""Facts of the order alone that say more than their value."""
Ask = Callable[[int], Seen]


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
    if not subjects:
        return []
    asks = _asks(subjects, specs, gifts, late=late)
    return [{spec: ask(n) for spec, ask in asks} for n in range(len(subjects))]


def _asks(
    subjects: Sequence[Subject],
    specs: Sequence[FactSpec],
    gifts: Sequence[Strategy],
    *,
    late: bool,
) -> list[tuple[FactSpec, Ask]]:
    lists = Lists(subjects, {str(spec.param("list", "")) for spec in specs} - {""})
    history = History(subjects, [s for s in specs if s.keys], lists, late=late)
    likeness = Likeness(subjects, [s for s in specs if s.name == "likeness"], late=late)
    running = RunningPrices(subjects, [s for s in specs if s.param("base") == "running"])
    families: dict[str, Callable[[int, FactSpec], Seen]] = {
        "orders_in_window": history.orders,
        "money_in_window": history.money,
        "units_in_window": history.units,
        "day_amount": history.day_amount,
        "likeness": likeness.likeness,
        "gift_gap": lambda n, _spec: gift_gap(subjects[n], gifts),
        "in_list": lambda n, spec: lists.on_list(subjects[n], spec.param("list")),
        "carrier_reach": lambda n, spec: lists.reach(subjects[n], spec.param("list")),
    }

    def ask(spec: FactSpec) -> Ask:
        if spec.param("base") == "running":
            return lambda n: running.ratio(n, spec)
        if spec.name in families:
            family = families[spec.name]
            return lambda n: family(n, spec)
        if spec.name in SEEN:
            seen = SEEN[spec.name]
            return lambda n: seen(subjects[n])
        plain = PLAIN[spec.name]
        return lambda n: Seen(plain(subjects[n]))

    return [(spec, ask(spec)) for spec in specs]
