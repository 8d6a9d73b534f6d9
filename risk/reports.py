"""What a back-test says: counted while the orders come in, told as plain JSON."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import combinations
from typing import Any, Final

from ordercenter.core.clock import SHANGHAI
from risk.exemptions import EVERY_RULE
from risk.language import Program, Rule
from risk.setwise.compiling import Hit
from risk.setwise.running import Judged

HOUR: Final = timedelta(hours=1)
HOURS_A_DAY: Final = 24
MOST_PAIRS: Final = 50
REVIEW: Final = "2"
RIGHT, WRONG, UNDECIDED = "right", "wrong", "undecided"


@dataclass(frozen=True, slots=True)
class Staff:
    """Who works the cards off: so many people, each so many cards an hour."""

    people: int
    cards_an_hour: int

    @property
    def capacity(self) -> int:
        return self.people * self.cards_an_hour


@dataclass(slots=True)
class RuleFigures:
    """What one rule hit."""

    rule: Rule
    orders: list[tuple[datetime, int, str]] = field(default_factory=list)
    unknown: int = 0
    exempt: int = 0
    by_hour: Counter[int] = field(default_factory=Counter)
    by_channel: Counter[str] = field(default_factory=Counter)
    decided: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class _Alike:
    """What orders that were hit alike have in common."""

    hit: tuple[RuleFigures, ...]
    unknown: tuple[RuleFigures, ...]
    pairs: tuple[tuple[str, str], ...]
    stopping: tuple[Rule, ...]
    may_excuse: bool


class Tally:
    """Counts judged orders. An order is one card, however many rules stop it."""

    def __init__(self, program: Program) -> None:
        self.rules = {rule.code: RuleFigures(rule) for rule in program.rules}
        self.by_hour: Counter[int] = Counter()
        self.by_channel: Counter[str] = Counter()
        self.pairs: Counter[tuple[str, str]] = Counter()
        self.cards: Counter[datetime] = Counter()
        self.decided: Counter[str] = Counter()
        self.held: dict[str, Decimal] = {}
        self.hit_orders = self.stopped = self.unknown = 0
        self._alike: dict[tuple[Hit, ...], _Alike] = {}

    def add(self, judged: Judged, decision: str, exempt_from: frozenset[str] = frozenset()) -> None:
        """Count one order, what people later decided of it, and the rules it is exempt from."""
        alike = self._look_at(judged.hits)
        for figures in alike.unknown:
            figures.unknown += 1
        if not alike.hit:
            self.unknown += 1
            return
        local = judged.placed_at.astimezone(SHANGHAI)
        for figures in alike.hit:
            self._add_to(figures, judged, local.hour, decision)
        self.hit_orders += 1
        self.by_hour[local.hour] += 1
        self.by_channel[judged.channel] += 1
        for pair in alike.pairs:
            self.pairs[pair] += 1
        stopping = alike.stopping
        if exempt_from:
            for figures in alike.hit:
                figures.exempt += is_excused(figures.rule, exempt_from)
            stopping = tuple([rule for rule in stopping if not is_excused(rule, exempt_from)])
        if stopping:
            self.stopped += 1
            self.decided[decision] += 1
            self.cards[local.replace(minute=0, second=0, microsecond=0)] += 1
            money = self.held.get(judged.currency, Decimal(0))
            self.held[judged.currency] = money + judged.amount

    def may_excuse(self, judged: Judged) -> bool:
        """Whether it matters what the order is exempt from."""
        return self._look_at(judged.hits).may_excuse

    def _look_at(self, hits: tuple[Hit, ...]) -> _Alike:
        """What all orders with these very hits have in common."""
        known = self._alike.get(hits)
        if known is not None:
            return known
        rules = [hit.rule for hit in hits if not hit.is_unknown]
        alike = self._alike[hits] = _Alike(
            tuple([self.rules[rule.code] for rule in rules]),
            tuple([self.rules[hit.rule.code] for hit in hits if hit.is_unknown]),
            tuple(combinations(sorted(rule.code for rule in rules), 2)),
            tuple([rule for rule in rules if stops(rule)]),
            any(rule.outcome.tier == REVIEW for rule in rules),
        )
        return alike

    @staticmethod
    def _add_to(figures: RuleFigures, judged: Judged, hour: int, decision: str) -> None:
        figures.orders.append((judged.placed_at, judged.order_id, judged.number))
        figures.by_hour[hour] += 1
        figures.by_channel[judged.channel] += 1
        figures.decided[decision] += 1


def stops(rule: Rule) -> bool:
    """Whether a hit makes a card: a tag does not, and a shortage has a hold of its own."""
    return rule.outcome.tier >= REVIEW and rule.outcome.queue != "shortage"


def is_excused(rule: Rule, exempt_from: frozenset[str]) -> bool:
    """Whether the customer is trusted as far as this rule goes; tier 3 excuses nobody."""
    return rule.outcome.tier == REVIEW and not exempt_from.isdisjoint({EVERY_RULE, rule.code})


@dataclass(frozen=True, slots=True)
class Report:
    """What the rules would have hit among the orders placed in [since, until)."""

    since: datetime
    until: datetime
    orders: int
    digest: str
    tally: Tally
    staff: Staff
    seconds: float

    def as_json(self, *, most_numbers: int | None = None) -> dict[str, Any]:
        """Plain data; at most so many order numbers a rule, the newest, oldest first."""
        tally = self.tally
        return {
            "since": self.since.isoformat(),
            "until": self.until.isoformat(),
            "digest": self.digest,
            "orders": self.orders,
            "hit_orders": tally.hit_orders,
            "stopped_orders": tally.stopped,
            "rules": [_rule(one, most_numbers) for one in tally.rules.values()],
            "by_hour": _hours(tally.by_hour),
            "by_channel": dict(sorted(tally.by_channel.items())),
            "overlap": [
                {"rules": list(pair), "orders": count}
                for pair, count in tally.pairs.most_common(MOST_PAIRS)
            ],
            "cards_per_hour": self._cards(),
            "precision": _precision(tally.decided),
            "held_amount": {code: str(money) for code, money in sorted(tally.held.items())},
            "unknown": tally.unknown,
            "seconds": round(self.seconds, 3),
        }

    def _cards(self) -> dict[str, Any]:
        """Cards in each hour of the stretch, hours without any among them, against the staff."""
        hours = max(1, -(-(self.until - self.since) // HOUR))
        counts = sorted(self.tally.cards.values())
        full = [0] * max(0, hours - len(counts)) + counts
        peak_at, peak = max(self.tally.cards.items(), key=_by_count, default=(None, 0))
        capacity = self.staff.capacity
        return {
            "mean": round(sum(counts) / hours, 2),
            "p95": full[min(len(full) - 1, len(full) * 95 // 100)],
            "peak": peak,
            "peak_at": peak_at.isoformat() if peak_at else None,
            "staff": self.staff.people,
            "cards_a_person": self.staff.cards_an_hour,
            "capacity": capacity,
            "hours": hours,
            "hours_over": sum(count > capacity for count in counts),
        }


def _by_count(one: tuple[datetime, int]) -> tuple[int, datetime]:
    return one[1], one[0]


def _rule(figures: RuleFigures, most_numbers: int | None) -> dict[str, Any]:
    rule = figures.rule
    numbers = [number for _, _, number in sorted(figures.orders)]
    return {
        "code": rule.code,
        "name": rule.name,
        "tier": rule.outcome.tier,
        "hits": len(numbers),
        "orders": numbers if most_numbers is None else numbers[-most_numbers:],
        "unknown": figures.unknown,
        "exempt": figures.exempt,
        "by_hour": _hours(figures.by_hour),
        "by_channel": dict(sorted(figures.by_channel.items())),
        "precision": _precision(figures.decided),
    }


def _hours(counts: Mapping[int, int]) -> list[int]:
    return [counts.get(hour, 0) for hour in range(HOURS_A_DAY)]


def _precision(decided: Mapping[str, int]) -> dict[str, Any]:
    """How many of the orders that people decided on were stopped rightly."""
    right, wrong = decided.get(RIGHT, 0), decided.get(WRONG, 0)
    share = round(right / (right + wrong), 4) if right + wrong else None
    return {RIGHT: right, WRONG: wrong, UNDECIDED: decided.get(UNDECIDED, 0), "share": share}
